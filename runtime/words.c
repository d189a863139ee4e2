/* words.c: sentences as words: lists of a file (CoNLL's columns, JSON lines), or texts cut at blanks and punctuation. Each word is encoded by
 * itself, from the second one on with a blank before it, which byte-level tokenizers keep in the piece and BERT's drops. */
#include "runtime/tables.h"
#include "runtime/tokens.h"

#include <stdlib.h>
#include <string.h>

static int wrong(const SnWords *w, int64_t row, const char *why)
{
	char *place = sn_words_place(w, row);
	int code = sn_fail(SN_DATA, "%s: %s", place, why);
	free(place);
	return code;
}

/* --- sentences */

static int64_t add_sentence(SnWords *w, const char *text, json_t *list, int64_t line)
{
	if (w->n == w->cap) {
		w->cap = w->cap ? w->cap * 2 : 64;
		w->lists = sn_realloc(w->lists, sizeof *w->lists * (size_t)w->cap);
		w->texts = sn_realloc(w->texts, sizeof *w->texts * (size_t)w->cap);
		w->lines = sn_realloc(w->lines, sizeof *w->lines * (size_t)w->cap);
		w->first = sn_realloc(w->first, sizeof *w->first * (size_t)(w->cap + 1));
	}
	w->lists[w->n] = list;
	w->texts[w->n] = text;
	w->lines[w->n] = line;
	w->first[w->n++] = w->nword;
	w->first[w->n] = w->nword;
	return w->n - 1;
}

static void add_word(SnWords *w, const char *s, size_t n, int64_t at)
{
	if (w->nword == w->capword) {
		w->capword = w->capword ? w->capword * 2 : 256;
		w->words = sn_realloc(w->words, sizeof *w->words * (size_t)w->capword);
		w->tags = sn_realloc(w->tags, sizeof *w->tags * (size_t)w->capword);
		w->at = sn_realloc(w->at, sizeof *w->at * (size_t)w->capword);
	}
	w->words[w->nword] = (SnCell){s, n};
	w->tags[w->nword] = (SnCell){0};
	w->at[w->nword++] = at;
	w->first[w->n] = w->nword;
}

int sn_words_split(SnWords *w, const char *text, int64_t line)
{
	size_t n = strlen(text), from = 0;
	int64_t row = add_sentence(w, text, NULL, line);
	sn_uni_load();
	if (sn_utf8_valid(text, n) < n)
		return wrong(w, row, "not valid UTF-8");
	for (size_t at = 0, k; at < n; at += k) {
		uint32_t c;
		k = (size_t)sn_utf8_read(text + at, n - at, &c);
		bool blank = sn_uni_white(c), apart = sn_uni_punct(c);
		if ((blank || apart) && at > from)
			add_word(w, text + from, at - from, (int64_t)from);
		if (apart)
			add_word(w, text + at, k, (int64_t)at);
		if (blank || apart)
			from = at + k;
	}
	if (n > from)
		add_word(w, text + from, n - from, (int64_t)from);
	return w->first[row] < w->nword ? SN_OK : wrong(w, row, "no words in it");
}

/* A list of strings, of a cell's JSON; whole numbers (tags of other tools' files) become strings. NULL after a message. */
static json_t *list_of(const SnWords *w, int64_t line, SnCell c, const char *name, bool numbers)
{
	json_t *list = c.s ? json_loadb(c.s, c.n, 0, NULL) : NULL, *j;
	bool fits = json_is_array(list);
	size_t i;
	json_array_foreach(list, i, j) {
		if (numbers && json_is_integer(j)) {
			char number[32];
			snprintf(number, sizeof number, "%lld", (long long)json_integer_value(j));
			json_array_set_new(list, i, json_string(number));
		}
		fits &= json_string_length(json_array_get(list, i)) > 0;
	}
	if (fits)
		return list;
	sn_fail(SN_DATA, "%s:%lld: \"%s\" is no list of %s, [\"..\", ..]", w->table.path, (long long)line, name, numbers ? "tags" : "words");
	json_decref(list);
	return NULL;
}

static int take_tags(SnWords *w, int64_t row, SnCell c, const char *name)
{
	int64_t from = w->first[row], n = w->first[row + 1] - from;
	json_t *tags = list_of(w, w->lines[row], c, name, true);
	if (!tags)
		return SN_DATA;
	if ((int64_t)json_array_size(tags) != n) {
		int code = sn_fail(SN_DATA, "%s:%lld: %lld tags of %lld words", w->table.path, (long long)w->lines[row], (long long)json_array_size(tags), (long long)n);
		json_decref(tags);
		return code;
	}
	for (int64_t i = 0; i < n; i++) {
		json_t *j = json_array_get(tags, (size_t)i);
		w->tags[from + i] = (SnCell){json_string_value(j), json_string_length(j)};
	}
	w->tagged++;
	json_array_append_new(w->lists[row], tags);   /* owns them */
	return SN_OK;
}

static int take_list(SnWords *w, SnCell c, const char *name, int64_t line)
{
	json_t *words = list_of(w, line, c, name, false), *j;
	if (!words)
		return SN_DATA;
	int64_t row = add_sentence(w, NULL, sn_json_pack("[o]", words), line);
	size_t i;
	json_array_foreach(words, i, j)
		add_word(w, json_string_value(j), json_string_length(j), -1);
	return w->first[row] < w->nword ? SN_OK : wrong(w, row, "no words in it");
}

typedef struct Columns { int tokens, tags, text; } Columns;   /* -1 */

static int take_row(SnWords *w, int64_t i, const Columns *c, bool labelled)
{
	const SnTable *t = &w->table;
	SnCell tokens = c->tokens >= 0 ? sn_table_cell(t, i, c->tokens) : (SnCell){0}, tags = c->tags >= 0 ? sn_table_cell(t, i, c->tags) : (SnCell){0};
	SnCell text = c->text >= 0 ? sn_table_cell(t, i, c->text) : (SnCell){0};
	if (!tokens.s && (labelled || !text.s))
		return sn_fail(SN_DATA, "%s:%lld: no \"%s\"", t->path, (long long)t->lines[i], c->tokens >= 0 ? t->columns[c->tokens] : "text");
	if (labelled && !tags.s)
		return sn_fail(SN_DATA, "%s:%lld: no \"%s\"", t->path, (long long)t->lines[i], t->columns[c->tags]);
	int code = tokens.s ? take_list(w, tokens, t->columns[c->tokens], t->lines[i]) : sn_words_split(w, text.s, t->lines[i]);
	return !code && tokens.s && tags.s ? take_tags(w, w->n - 1, tags, t->columns[c->tags]) : code;
}

/* Columns of words that end in .tsv are CoNLL's. */
static int form_of(const SnOptions *o, const char *path, bool labelled, SnForm *form)
{
	int code = sn_table_form(path, sn_str(o, "data.format", NULL), form);
	if (!code && *form == SN_TSV)
		*form = SN_CONLL;
	if (!code && (*form == SN_CSV || (labelled && *form == SN_LINES)))
		return sn_fail(SN_USAGE, "%s: words and their tags are two columns with a blank line behind each sentence (--format conll), or lists of JSON lines (jsonl)", path);
	return code;
}

int sn_words_read(SnWords *w, const SnOptions *o, const char *path, bool labelled)
{
	const char *fields[] = {sn_str(o, "data.tokens", "tokens"), sn_str(o, "data.label", "tags"), sn_str(o, "data.text", "text")};
	SnForm form;
	*w = (SnWords){0};
	int code = form_of(o, path, labelled, &form);
	if (!code)
		code = sn_table_open(&w->table, path, form, false, fields, 3);
	bool named = form == SN_JSONL;
	Columns c = {-1, -1, -1};
	if (!code) {
		c.tokens = sn_table_column(&w->table, named ? fields[0] : "tokens");
		c.tags = sn_table_column(&w->table, named ? fields[1] : "tags");
		c.text = sn_table_column(&w->table, named ? fields[2] : "text");
	}
	for (int64_t i = 0; i < w->table.nrow && !code; i++)
		code = take_row(w, i, &c, labelled);
	return code;
}

void sn_words_close(SnWords *w)
{
	for (int64_t i = 0; i < w->n; i++)
		json_decref(w->lists[i]);
	sn_table_close(&w->table);
	free(w->lists);
	free(w->texts);
	free(w->lines);
	free(w->first);
	free(w->words);
	free(w->tags);
	free(w->at);
	*w = (SnWords){0};
}

char *sn_words_place(const SnWords *w, int64_t i)
{
	return w->table.path ? sn_format("%s:%lld", w->table.path, (long long)w->lines[i]) : sn_format("text %lld", (long long)i + 1);
}

/* --- rows */

typedef struct Row { SnIds ids, first; } Row;   /* first: of each id the word that it begins; -1 */

static int encode_word(SnEncoder *e, const SnWords *w, int64_t row, int64_t i, SnStr *spaced, const char *what, Row *r)
{
	int64_t before = r->ids.n;
	spaced->n = 0;
	sn_str_add(spaced, " ", i > w->first[row]);
	sn_str_add(spaced, w->words[i].s, w->words[i].n);
	int code = sn_encoder_add(e, spaced->s, spaced->n, what, &r->ids);
	for (int64_t k = before; k < r->ids.n; k++)
		sn_ids_add(&r->first, k == before ? (int32_t)i : -1);
	return code;
}

static void put_row(SnTexts *t, Row *r, SnIds *pieces)
{
	SnIds places = {0};
	sn_texts_put(t, &r->ids, NULL);
	sn_places(t->tokenizer, r->ids.n, -1, &places);
	for (int64_t k = 0; k < places.n; k++)
		sn_ids_add(pieces, places.at[k] < 0 ? -1 : r->first.at[places.at[k]]);
	free(places.at);
}

static int encode_row(SnEncoder *e, const SnWords *w, int64_t row, SnTexts *t, SnStr *spaced, SnIds *pieces)
{
	Row r = {{0}, {0}};
	char *what = sn_words_place(w, row);
	int64_t room = t->most - t->special[0], i = w->first[row];
	int code = SN_OK;
	for (; i < w->first[row + 1] && r.ids.n <= room && !code; i++)
		code = encode_word(e, w, row, i, spaced, what, &r);
	if (!code && !r.ids.n)
		code = sn_fail(SN_DATA, "%s: words without any token", what);
	t->cut += r.ids.n > room;
	r.ids.n = r.ids.n > room ? room : r.ids.n;
	if (!code)
		put_row(t, &r, pieces);
	free(what);
	free(r.ids.at);
	free(r.first.at);
	return code;
}

int sn_words_encode(const SnWords *w, SnTexts *t, SnIds *pieces)
{
	SnEncoder *e = sn_encoder_open(t->tokenizer);
	SnStr spaced = {0};
	int code = w->nword > INT32_MAX ? sn_fail(SN_DATA, "%s: more words than 2^31", w->table.path) : SN_OK;
	for (int64_t i = 0; i < w->n && !code; i++)
		code = encode_row(e, w, i, t, &spaced, pieces);
	free(spaced.s);
	sn_encoder_close(e);
	if (!code && t->cut)
		sn_note("%s: %lld of %lld sentences are longer than %lld tokens and were cut", w->table.path ? w->table.path : "the text", (long long)t->cut,
		        (long long)w->n, (long long)t->most);
	return code;
}
