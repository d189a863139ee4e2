/* The TextMate grammar (docs/editors): it is valid, its patterns compile, it knows every word the frontend knows, and
 * tokenising the models gives sane scopes. The tokeniser here is TextMate's own in small: at each place the pattern
 * that matches first wins, of two the one listed first; begin/end rules nest. Runs from the repository's root. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <jansson.h>
#include <pcre2.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include "frontend/elab.h"   /* before cmocka.h, which makes a macro of a name in it */
#include "frontend/syntax.h"
#include "frontend/parse.h"

#include <cmocka.h>

#include "tests/arena.h"

enum { MAX_DEPTH = 64, MAX_RULES = 200 };

static json_t *grammar;
static struct { const char *text; pcre2_code *code; } compiled[400];
static int ncompiled;

static pcre2_code *regex(const char *text)
{
	int err;
	PCRE2_SIZE at;
	for (int i = 0; i < ncompiled; i++)
		if (compiled[i].text == text)
			return compiled[i].code;
	pcre2_code *code = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, PCRE2_UTF, &err, &at, NULL);
	if (!code)
		fail_msg("the pattern `%s` does not compile at %zu", text, (size_t)at);
	assert_true(ncompiled < COUNT(compiled));
	compiled[ncompiled].text = text;
	return compiled[ncompiled++].code = code;
}

/* Tokenising */

typedef struct Line { const char *text; size_t len; const char *scope[4096]; } Line;   /* of each byte */
typedef struct State { json_t *stack[MAX_DEPTH]; int depth; } State;                    /* open begin/end rules */

static json_t *resolved(json_t *rule)
{
	const char *include = json_string_value(json_object_get(rule, "include"));
	if (!include)
		return rule;
	assert_int_equal(include[0], '#');
	json_t *to = json_object_get(json_object_get(grammar, "repository"), include + 1);
	if (!to)
		fail_msg("the grammar has no %s", include);
	return to;
}

static int flatten(json_t *list, json_t **out, int n)
{
	size_t i;
	json_t *r;
	json_array_foreach(list, i, r) {
		json_t *to = resolved(r);
		json_t *inner = json_object_get(to, "patterns");
		if (inner && !json_object_get(to, "begin"))
			n = flatten(inner, out, n);
		else
			out[n++] = to;
		assert_true(n < MAX_RULES);
	}
	return n;
}

static bool find(const char *pattern, const Line *l, size_t from, size_t ovector[20])
{
	pcre2_match_data *m = pcre2_match_data_create(10, NULL);
	int n = pcre2_match(regex(pattern), (PCRE2_SPTR)l->text, l->len, from, 0, m, NULL);
	for (int i = 0; i < 20; i++)
		ovector[i] = n > 0 && i < 2 * n ? pcre2_get_ovector_pointer(m)[i] : PCRE2_UNSET;
	pcre2_match_data_free(m);
	return n > 0;
}

static void paint(Line *l, size_t from, size_t to, const char *scope)
{
	for (size_t i = from; scope && i < to; i++)
		l->scope[i] = scope;
}

static void paint_match(Line *l, json_t *rule, const char *captures, const size_t *ov)
{
	const char *index;
	json_t *c;
	paint(l, ov[0], ov[1], json_string_value(json_object_get(rule, "name")));
	json_object_foreach(json_object_get(rule, captures), index, c) {
		int i = atoi(index);
		if (ov[2 * i] != PCRE2_UNSET)
			paint(l, ov[2 * i], ov[2 * i + 1], json_string_value(json_object_get(c, "name")));
	}
}

static const char *string_of(json_t *rule, const char *key)
{
	return json_string_value(json_object_get(rule, key));
}

/* The rule that matches first from `at` on; NULL: none in this line. */
static json_t *first_rule(const Line *l, size_t at, json_t **rules, int n, size_t ov[20])
{
	json_t *best = NULL;
	for (int i = 0; i < n; i++) {
		size_t mine[20];
		const char *pattern = string_of(rules[i], "match") ? string_of(rules[i], "match") : string_of(rules[i], "begin");
		assert_non_null(pattern);
		if (!find(pattern, l, at, mine) || (best && mine[0] >= ov[0]))
			continue;
		best = rules[i];
		memcpy(ov, mine, sizeof mine);
	}
	return best;
}

static void tokenise(Line *l, State *s)
{
	size_t at = 0;
	for (int steps = 0; at <= l->len && steps < 20000; steps++) {
		json_t *top = s->depth ? s->stack[s->depth - 1] : grammar, *rules[MAX_RULES];
		size_t ov[20], end[20];
		int n = flatten(json_object_get(top, "patterns"), rules, 0);
		json_t *rule = first_rule(l, at, rules, n, ov);
		bool ends = s->depth && find(string_of(top, "end"), l, at, end) && (!rule || end[0] <= ov[0]);
		size_t next = ends ? end[0] : rule ? ov[0] : l->len;
		paint(l, at, next, s->depth ? string_of(top, "name") : NULL);
		if (!ends && !rule)
			return;
		if (ends) {
			paint_match(l, top, "endCaptures", end);
			s->depth--;
			at = end[1];
			continue;
		}
		paint_match(l, rule, string_of(rule, "begin") ? "beginCaptures" : "captures", ov);
		if (string_of(rule, "begin")) {
			assert_true(s->depth < MAX_DEPTH);
			s->stack[s->depth++] = rule;
		}
		assert_true(ov[1] > at || string_of(rule, "begin"));
		at = ov[1];
	}
}

/* Scope of the first place where `part` stands in the text; "" for none. */
static const char *scope_in(const char *text, const char *part)
{
	static Line l;
	State s = {0};
	for (const char *p = text, *end; *p; p = *end ? end + 1 : end) {
		end = strchrnul(p, '\n');
		memset(&l, 0, sizeof l);
		l.text = p;
		l.len = (size_t)(end - p);
		assert_true(l.len < COUNT(l.scope));
		tokenise(&l, &s);
		const char *hit = memmem(p, l.len, part, strlen(part));
		if (hit)
			return l.scope[hit - p] ? l.scope[hit - p] : "";
	}
	return "";
}

static void wants(const char *text, const char *part, const char *scope)
{
	const char *got = scope_in(text, part);
	if (strncmp(got, scope, strlen(scope)) != 0)
		fail_msg("`%s` in `%s` has the scope \"%s\", not \"%s\"", part, text, got, scope);
}

/* Tests */

static int load(void **state)
{
	json_error_t err;
	grammar = json_load_file("docs/editors/sinter.tmLanguage.json", JSON_REJECT_DUPLICATES, &err);
	if (!grammar)
		print_error("%s\n", err.text);
	return grammar ? 0 : -1;
}

static int unload(void **state)
{
	for (int i = 0; i < ncompiled; i++)
		pcre2_code_free(compiled[i].code);
	json_decref(grammar);
	return 0;
}

static void compile_all(json_t *j)
{
	const char *key;
	json_t *value;
	size_t i;
	if (json_is_array(j))
		json_array_foreach(j, i, value)
			compile_all(value);
	json_object_foreach(j, key, value) {
		if (!strcmp(key, "match") || !strcmp(key, "begin") || !strcmp(key, "end"))
			assert_non_null(regex(json_string_value(value)));
		if (!strcmp(key, "name") && json_is_string(value) && value != json_object_get(grammar, "name"))
			assert_non_null(strstr(json_string_value(value), ".sinter"));
		compile_all(value);
	}
}

static void every_pattern_compiles(void **state)
{
	assert_string_equal(string_of(grammar, "scopeName"), "source.sinter");
	compile_all(grammar);
	assert_true(ncompiled > 20);
}

static void words_of_the_frontend(void **state)
{
	Elab e = { .arena = test_arena() };
	NameList names = {0};
	builtin_names(&e, &names);
	assert_true(names.len > 30);
	for (int i = 0; i < names.len; i++)
		wants(internf("  y = %s(x)", names.at[i]), names.at[i], "support.function");
	FILE *f = fopen("models/prelude.sinter", "r");
	char line[512], name[64];
	assert_non_null(f);
	while (fgets(line, sizeof line, f))
		if (sscanf(line, "fn %63[a-z_0-9]", name) == 1)
			wants(internf("  y = %s(x)", name), name, "support.function");
	fclose(f);
	names.len = 0;
	layer_kinds(&e, &names);
	for (int i = 0; i < names.len; i++) {
		wants(internf("  y: %s(D)", names.at[i]), names.at[i], "support.class.layer");
		wants(internf("  y: repeat L of %s(D)", names.at[i]), names.at[i], "support.class.layer");
	}
}

static void keywords(void **state)
{
	static const char *const in[] = {   /* where each stands as a keyword */
		[T_USE - T_AND] = "use A from \"f\"", [T_CONFIG - T_AND] = "config {", [T_PRESET - T_AND] = "preset p {",
		[T_DIM - T_AND] = "dim B", [T_BLOCK - T_AND] = "block A(", [T_FN - T_AND] = "fn f(", [T_MODEL - T_AND] = "model M(",
		[T_WEIGHTS - T_AND] = "weights {", [T_TRAIN - T_AND] = "train(x", [T_EVAL - T_AND] = "eval(x",
		[T_GENERATE - T_AND] = "generate(x", [T_EXPLAIN - T_AND] = "explain(x", [T_INFER - T_AND] = "infer name(x", [T_FROM - T_AND] = "V: dim = 1 from vocab",
		[T_WITH - T_AND] = "use A from \"f\" with {",
	};
	for (int k = T_AND; keyword_text(k); k++) {
		const char *word = keyword_text(k), *text = k - T_AND < COUNT(in) && in[k - T_AND] ? in[k - T_AND] : internf("a = b %s c", word);
		const char *scope = scope_in(text, word);
		if (strncmp(scope, "keyword", 7) != 0 && strncmp(scope, "storage", 7) != 0 && strncmp(scope, "constant.language", 17) != 0)
			fail_msg("`%s` in `%s` has the scope \"%s\"", word, text, scope);
	}
}

static void places(void **state)
{
	wants("x = 1 # a \"b\" c", "b", "comment");
	wants("s = \"a # b\" + c", "# b", "string");
	wants("s = \"a # b\" + c", "c", "variable");
	wants("s = \"a\\n\\q\"", "\\n", "constant.character.escape");
	wants("s = \"a\\n\\q\"", "\\q", "invalid");
	wants("s = \"open\nx = y", "y", "variable");
	wants("  c_fc: linear(D -> 4*D, stored=in_out)", "c_fc", "variable.other.member");
	wants("  c_fc: linear(D -> 4*D, stored=in_out)", "D", "constant.other.dim");
	wants("  c_fc: linear(D -> 4*D, stored=in_out)", "stored", "variable.parameter");
	wants("  c_fc: linear(D -> 4*D, stored=in_out)", "->", "keyword.operator.arrow");
	wants("  h: repeat L as i of Layer(i)", "Layer", "entity.name.function.call");
	wants("block A(x: [B,T,D], m: mask) -> [B]", "x", "variable.parameter");
	wants("block A(x: [B,T,D], m: mask) -> [B]", "mask", "support.type");
	wants("model M(tokens: id(V)[B,T]) -> [B]", "id", "support.type");
	wants("  optimizer adamw(lr=6e-4)", "optimizer", "keyword.other.setting");
	wants("  optimizer adamw(lr=6e-4)", "6e-4", "constant.numeric");
	wants("  loss = x", "loss", "variable");
	wants("f(at=1, weights=2)", "at", "variable.parameter");
	wants("x = rope(q, theta=t)", "rope", "support.function");
	wants("  r: rope = none  from rope_scaling", "rope", "support.type");
	wants("clip 128_256", "128_256", "constant.numeric");
}

/* Of the file's own tokens: each is painted as what the lexer says it is. */
static void check_token(const char *path, const Line *l, const char *text, Token t, size_t line_at)
{
	const char *scope = l->scope[t.at - line_at] ? l->scope[t.at - line_at] : "";
	bool fine = *scope && strncmp(scope, "invalid", 7) != 0 && strncmp(scope, "comment", 7) != 0;
	if (t.kind == T_STRING)
		fine = strncmp(scope, "string", 6) == 0;
	else if (t.kind == T_NUMBER)
		fine = strncmp(scope, "constant.numeric", 16) == 0;
	else if (kind_is_word(t.kind))
		fine &= strncmp(scope, "keyword.operator.a", 18) != 0 && strncmp(scope, "punctuation", 11) != 0;
	if (!fine)
		fail_msg("%s: `%.*s` in `%.*s` has the scope \"%s\"", path, (int)(t.end - t.at), text + t.at, (int)l->len, l->text, scope);
}

/* What lies between two tokens and is not blank is a comment. */
static void check_gap(const char *path, const Line *l, size_t from, size_t to)
{
	for (size_t i = from; i < to && i < l->len; i++)
		if (!strchr(" \t\r", l->text[i]) && (!l->scope[i] || strncmp(l->scope[i], "comment", 7) != 0))
			fail_msg("%s: `%.*s` has the scope \"%s\" at %zu", path, (int)l->len, l->text, l->scope[i] ? l->scope[i] : "", i);
}

static void check_file(const char *path)
{
	static Line l;
	Arena *a = test_arena();
	Source *src = source_read(a, path);
	assert_non_null(src);
	Syntax *s = NEW(a, Syntax);
	*s = (Syntax){ .arena = a, .src = src, .file = NEW(a, File), .pos = -1 };
	lex_tokens(s);
	State state = {0};
	int k = 0;
	for (const char *p = src->text, *end; *p; p = *end ? end + 1 : end) {
		end = strchrnul(p, '\n');
		memset(&l, 0, sizeof l);
		l.text = p;
		l.len = (size_t)(end - p);
		tokenise(&l, &state);
		size_t at = (size_t)(p - src->text), done = 0;
		for (; k < s->tokens.len && s->tokens.at[k].at < at + l.len && s->tokens.at[k].kind != T_EOF; k++) {
			check_token(path, &l, src->text, s->tokens.at[k], at);
			check_gap(path, &l, done, s->tokens.at[k].at - at);
			done = s->tokens.at[k].end - at;
		}
		check_gap(path, &l, done, l.len);
	}
	assert_int_equal(state.depth, 0);
	assert_true(k > 100);
}

static void models_have_sane_scopes(void **state)
{
	static const char *const names[] = { "gpt2", "llama", "bert", "minilm", "vit", "whisper", "sasrec", "clip", "t5", "mixtral" };
	for (int i = 0; i < COUNT(names); i++)
		check_file(internf("models/%s.sinter", names[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_pattern_compiles), cmocka_unit_test(words_of_the_frontend), cmocka_unit_test(keywords),
		cmocka_unit_test(places), cmocka_unit_test(models_have_sane_scopes),
	};
	return cmocka_run_group_tests(tests, load, unload);
}
