/* lsp_answer.c: hover, definition, references, symbols, completion, quick fixes: looked up in a document's index.
 * An answer may be null: nothing is known there. Formatting needs no index. */
#include "driver/lsp.h"

#include <stdlib.h>

static int compare(Pos a, Pos b)
{
	if (a.line != b.line)
		return a.line < b.line ? -1 : 1;
	return (a.ch > b.ch) - (a.ch < b.ch);
}

/* Both ends count: an editor asks with the cursor behind a word too. */
static bool holds(json_t *range, Pos p)
{
	Pos from, to;
	return pos_of_json(json_object_get(range, "start"), &from) && pos_of_json(json_object_get(range, "end"), &to) &&
	       compare(from, p) <= 0 && compare(p, to) <= 0;
}

static json_t *fact_at(Doc *d, json_t *params)
{
	Pos p;
	size_t i;
	json_t *f;
	if (!pos_of_json(json_object_get(params, "position"), &p))
		return NULL;
	json_array_foreach(json_object_get(d->index, "facts"), i, f)
		if (holds(json_object_get(f, "range"), p))
			return f;
	return NULL;
}

static bool has_position(json_t *params)
{
	Pos p;
	return pos_of_json(json_object_get(params, "position"), &p);
}

static json_t *hover(Server *s, Doc *d, json_t *params)
{
	json_t *f = fact_at(d, params), *text = json_object_get(f, "text");
	if (!has_position(params))
		return NULL;
	if (!json_is_string(text))
		return json_null();
	return json_pack("{s:{s:s, s:O}, s:O}", "contents", "kind", "markdown", "value", text, "range", json_object_get(f, "range"));
}

static json_t *definition(Server *s, Doc *d, json_t *params)
{
	json_t *def = json_object_get(fact_at(d, params), "def");
	if (!has_position(params))
		return NULL;
	return def ? json_incref(def) : json_null();
}

/* Every name of the document with the same definition. */
static json_t *uses_of(Doc *d, json_t *params, bool with_uri)
{
	json_t *def = json_object_get(fact_at(d, params), "def"), *list = json_array(), *f;
	size_t i;
	if (!has_position(params)) {
		json_decref(list);
		return NULL;
	}
	json_array_foreach(json_object_get(d->index, "facts"), i, f) {
		if (!def || json_is_null(def) || !json_equal(json_object_get(f, "def"), def))
			continue;
		json_t *range = json_object_get(f, "range");
		json_array_append_new(list, with_uri ? json_pack("{s:s, s:O}", "uri", d->uri, "range", range)
		                                     : json_pack("{s:O}", "range", range));
	}
	return list;
}

static json_t *references(Server *s, Doc *d, json_t *params)
{
	return uses_of(d, params, true);
}

static json_t *highlight(Server *s, Doc *d, json_t *params)
{
	return uses_of(d, params, false);
}

static json_t *symbols(Server *s, Doc *d, json_t *params)
{
	json_t *list = json_object_get(d->index, "symbols");
	return list ? json_incref(list) : json_array();
}

static json_t *completion(Server *s, Doc *d, json_t *params)
{
	static const char *const words[] = {
		"config", "preset", "dim", "require", "block", "fn", "model", "weights", "train", "eval", "generate", "infer", "explain", "use", "from",
		"repeat", "as", "of", "param", "at", "return", "for", "in", "if", "else", "and", "or", "not", "true", "false", "none",
	};
	Pos p;
	size_t i;
	json_t *o, *list = json_array();
	if (!pos_of_json(json_object_get(params, "position"), &p)) {
		json_decref(list);
		return NULL;
	}
	json_array_foreach(json_object_get(d->index, "offers"), i, o) {
		json_t *scope = json_object_get(o, "scope");
		if (json_is_null(scope) || holds(scope, p))
			json_array_append(list, json_object_get(o, "item"));
	}
	for (int k = 0; k < COUNT(words); k++)
		json_array_append_new(list, json_pack("{s:s, s:i}", "label", words[k], "kind", 14));
	return list;
}

static bool overlap(json_t *a, json_t *b)
{
	Pos from, to;
	return pos_of_json(json_object_get(b, "start"), &from) && pos_of_json(json_object_get(b, "end"), &to) &&
	       (holds(a, from) || holds(a, to) || holds(b, (Pos){ json_integer_value(json_object_get(json_object_get(a, "start"), "line")),
	       json_integer_value(json_object_get(json_object_get(a, "start"), "character")) }));
}

/* The nearest name in place of an unknown one. */
static json_t *code_action(Server *s, Doc *d, json_t *params)
{
	json_t *range = json_object_get(params, "range"), *list = json_array(), *g;
	size_t i;
	json_array_foreach(json_object_get(d->index, "diagnostics"), i, g) {
		json_t *at = json_object_get(g, "range"), *fix = json_object_get(json_object_get(g, "data"), "fix");
		if (!fix || !overlap(at, range))
			continue;
		Str title = {0};
		str_printf(&title, "change to `%s`", json_string_value(fix));
		json_array_append_new(list, json_pack("{s:s, s:s, s:[O], s:b, s:{s:{s:[{s:O, s:O}]}}}", "title", title.at, "kind", "quickfix",
			"diagnostics", g, "isPreferred", 1, "edit", "changes", d->uri, "range", at, "newText", fix));
		str_free(&title);
	}
	return list;
}

/* One edit of the whole text; none if it is in form already; null for a text with syntax errors. */
static json_t *format(Server *s, Doc *d, json_t *params)
{
	Arena *a = arena_new();
	Str out = {0};
	json_t *edits = json_array();
	Lines lines = lines_of(a, d->text.at, d->text.len);
	Pos end = lines_pos(&lines, d->text.len, s->enc);
	if (!frontend_format(a, source_bytes(a, d->path, d->text.at, d->text.len), &out)) {
		json_decref(edits);
		edits = json_null();
	} else if (out.len != d->text.len || memcmp(out.at, d->text.at, out.len) != 0) {
		json_array_append_new(edits, json_pack("{s:{s:{s:i, s:i}, s:{s:I, s:I}}, s:s%}", "range", "start", "line", 0, "character", 0,
			"end", "line", (json_int_t)end.line, "character", (json_int_t)end.ch, "newText", out.at, out.len));
	}
	str_free(&out);
	arena_free(a);
	intern_forget();   /* the server itself keeps no names */
	return edits;
}

static const struct { const char *method; Answer *answer; } answers[] = {
	{ "textDocument/hover", hover }, { "textDocument/definition", definition }, { "textDocument/references", references },
	{ "textDocument/documentHighlight", highlight }, { "textDocument/documentSymbol", symbols },
	{ "textDocument/completion", completion }, { "textDocument/codeAction", code_action }, { "textDocument/formatting", format },
};

Answer *answer_find(const char *method)
{
	for (int i = 0; i < COUNT(answers); i++)
		if (strcmp(answers[i].method, method) == 0)
			return answers[i].answer;
	return NULL;
}
