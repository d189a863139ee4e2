/* feed_table.c: the feeder of tables: a row is a text or a pair of texts, with a label or a number to learn where the entry has an input for it. */
#include "runtime/tables.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- columns */

static bool is_filled(const SnTable *t, int column)
{
	for (int64_t i = 0; i < t->nrow; i++)
		if (sn_table_cell(t, i, column).s)
			return true;
	return false;
}

/* A pair's second text is there, or not, as the file has the column; asked for by name it has to be. */
static int find_pair(const SnTable *t, const SnOptions *o, const char *name, int *column)
{
	if (sn_overridden(o, "data.pair"))
		return sn_table_find(t, name, "--pair-column", column);
	*column = name ? sn_table_column(t, name) : -1;
	if (*column >= 0 && !is_filled(t, *column))
		*column = -1;
	return SN_OK;
}

/* Nothing tells the form of standard input: rows of a table would be taken for texts as they stand. */
static void note_form(const SnTable *t, const SnOptions *o, int text)
{
	SnCell first = t->nrow ? sn_table_cell(t, 0, text) : (SnCell){0};
	const char *form = !first.n ? NULL : first.s[0] == '{' ? "jsonl" : memchr(first.s, '\t', first.n) ? "tsv" : NULL;
	if (form && !strcmp(t->path, "standard input") && !sn_overridden(o, "data.format"))
		sn_note("standard input is read as a text a line; is it a table, say --format %s", form);
}

int sn_rows_open(SnTable *t, SnColumns *c, const SnOptions *o, const char *path, bool labelled)
{
	const char *text = sn_str(o, "data.text", "text"), *pair = sn_str(o, "data.pair", NULL), *label = sn_str(o, "data.label", "label");
	const char *fields[3] = {text};
	int n = 1;
	SnForm form;
	*t = (SnTable){0};
	*c = (SnColumns){-1, -1, -1};
	if (pair)
		fields[n++] = pair;
	if (labelled)
		fields[n++] = label;
	int code = sn_table_form(path, sn_str(o, "data.format", NULL), &form);
	if (!code)
		code = sn_table_open(t, path, form, sn_overridden(o, "data.bare"), fields, n);
	if (!code && form == SN_LINES)
		text = "text";
	if (!code)
		code = sn_table_find(t, text, "--text-column", &c->text);
	if (!code)
		code = find_pair(t, o, pair, &c->pair);
	if (!code && labelled)
		code = sn_table_find(t, label, "--label-column", &c->label);
	if (!code && form == SN_LINES)
		note_form(t, o, c->text);
	return code;
}

static int lacks(const SnTable *t, int64_t row, int column)
{
	return sn_fail(SN_DATA, "%s:%lld: no \"%s\"", t->path, (long long)t->lines[row], t->columns[column]);
}

/* --- labels */

static void list(SnStr *out, const SnNames *names)
{
	enum { SHOWN = 8 };
	for (int i = 0; i < names->n && i < SHOWN; i++)
		sn_str_printf(out, "%s%s", i ? ", " : "", names->at[i]);
	if (names->n > SHOWN)
		sn_str_printf(out, ", ..");
}

static bool all_known(const SnTable *t, int column, const SnNames *names)
{
	for (int64_t i = 0; i < t->nrow; i++) {
		SnCell c = sn_table_cell(t, i, column);
		if (c.s && sn_names_find(names, c.s, c.n) < 0)
			return false;
	}
	return names->n > 0;
}

static void numbers(SnNames *names, int n)
{
	sn_names_close(names);
	for (int i = 0; i < n; i++) {
		char number[16];
		sn_names_add(names, number, (size_t)snprintf(number, sizeof number, "%d", i));
	}
}

/* The table's own labels, in order; a table whose labels are numbers below the model's has these. */
static int learn_names(SnNames *names, const SnTable *t, int column, int most)
{
	sn_names_close(names);
	for (int64_t i = 0; i < t->nrow; i++) {
		SnCell c = sn_table_cell(t, i, column);
		if (c.s && sn_names_find(names, c.s, c.n) < 0 && names->n <= 4096)
			sn_names_add(names, c.s, c.n);
	}
	sn_names_sort(names);
	if (sn_names_are_numbers(names, most))
		numbers(names, most);
	if (names->n <= most)
		return SN_OK;
	SnStr s = {0};
	list(&s, names);
	int code = sn_fail(SN_DATA, "%s: %d labels in column \"%s\" (%s), and this program has %d: build it with --set C=%d, or name another column with --label-column",
	                   t->path, names->n, t->columns[column], s.s, most, names->n);
	free(s.s);
	return code;
}

void sn_data_remember(SnData *data, json_t *config)
{
	if (!data->said)
		data->said = json_object();
	json_object_set_new(data->said, "config", config);
}

/* What a run was trained with, or what its weights came with; training on other labels names them anew. */
static int find_names(SnNames *names, const SnAsked *a, const SnTable *t, int column, int most)
{
	json_t *said = json_object_get(a->data->said, "config");
	int code = said ? sn_names_from(names, said) : sn_names_read(names, a->checkpoint);
	if (!code && a->use == SN_USE_TRAIN && (names->n > most || !all_known(t, column, names)))
		code = learn_names(names, t, column, most);
	else if (!code && !names->n)
		numbers(names, most);
	if (!code && a->use == SN_USE_TRAIN)
		sn_data_remember(a->data, sn_names_json(names));
	return code;
}

static int label(const SnTable *t, int64_t row, int column, const SnNames *names, int32_t *out)
{
	SnCell c = sn_table_cell(t, row, column);
	if (!c.s)
		return lacks(t, row, column);
	*out = sn_names_find(names, c.s, c.n);
	if (*out >= 0)
		return SN_OK;
	SnStr s = {0};
	list(&s, names);
	int code = sn_fail(SN_DATA, "%s:%lld: the label \"%s\" is none of %s", t->path, (long long)t->lines[row], c.s, s.s ? s.s : "the model's");
	free(s.s);
	return code;
}

int sn_labels_read(int32_t **out, SnNames *names, const SnAsked *a, const SnTable *t, int column, int most)
{
	*names = (SnNames){0};
	int code = find_names(names, a, t, column, most);
	*out = sn_alloc(sizeof **out * (size_t)t->nrow);
	for (int64_t i = 0; i < t->nrow && !code; i++)
		code = label(t, i, column, names, *out + i);
	return code;
}

static int read_values(SnTexts *x, const SnTable *t, int column)
{
	x->values = sn_alloc(sizeof *x->values * (size_t)t->nrow);
	for (int64_t i = 0; i < t->nrow; i++) {
		SnCell c = sn_table_cell(t, i, column);
		char *end = NULL;
		errno = 0;
		double v = c.s ? strtod(c.s, &end) : 0;
		if (!c.s)
			return lacks(t, i, column);
		if (!c.n || *end || errno || !isfinite(v))
			return sn_fail(SN_DATA, "%s:%lld: \"%s\" in column \"%s\" is no number", t->path, (long long)t->lines[i], c.s, t->columns[column]);
		x->values[i] = (float)v;
	}
	return SN_OK;
}

/* --- the feeder */

static int add_rows(SnTexts *x, const SnTable *t, const SnColumns *c)
{
	int code = SN_OK;
	for (int64_t i = 0; i < t->nrow && !code; i++) {
		SnCell a = sn_table_cell(t, i, c->text), b = c->pair >= 0 ? sn_table_cell(t, i, c->pair) : (SnCell){0};
		if (!a.s)
			return lacks(t, i, c->text);
		if (x->ids[1] && !b.s)
			return c->pair >= 0 ? lacks(t, i, c->pair) : sn_fail(SN_DATA, "%s: a column of second texts is wanted: name it with --pair-column", t->path);
		char *what = sn_format("%s:%lld", t->path, (long long)t->lines[i]);
		code = sn_texts_add(x, a, b, what);
		free(what);
	}
	return code;
}

static void fill(const SnInputs *in, SnSession *s, const int64_t *pick, int64_t n, int64_t drawn)
{
	sn_texts_fill(in->own, s, pick, n);
}

static void arrange(const SnInputs *in, int64_t *order, int64_t n, int64_t batch, int64_t offset, uint32_t key)
{
	sn_texts_bucket(in->own, order, n, batch, offset, key);
}

static void close_rows(SnInputs *in)
{
	sn_texts_close(in->own);
	free(in->own);
}

static uint64_t hash(const SnTexts *x)
{
	uint64_t h = sn_hash64(x->pool.at, sizeof *x->pool.at * (size_t)x->pool.n, 0);
	h = sn_hash64(x->at, sizeof *x->at * (size_t)x->n, h);
	if (x->labels)
		h = sn_hash64(x->labels, sizeof *x->labels * (size_t)(x->tags ? x->pool.n : x->n), h);
	if (x->lasts)
		h = sn_hash64(x->lasts, sizeof *x->lasts * (size_t)x->n, h);
	return x->values ? sn_hash64(x->values, sizeof *x->values * (size_t)x->n, h) : h;
}

static int read_rows(SnTexts *x, const SnAsked *a, SnTable *t)
{
	SnColumns c;
	SnNames names = {0};
	if (x->tags)
		return sn_fail(SN_USAGE, "%s learns a tag for each word: its data is words(..), not a table of texts", sn_text(a->entry->name));
	if (x->last)
		return sn_fail(SN_USAGE, "%s learns two places: its data is answers(..), not a table of texts", sn_text(a->entry->name));
	int code = sn_rows_open(t, &c, a->o, a->path, x->label || x->value);
	if (!code)
		code = add_rows(x, t, &c);
	if (!code && x->label)
		code = sn_labels_read(&x->labels, &names, a, t, c.label, (int)x->label->rows);
	sn_names_close(&names);
	if (!code && x->value)
		code = read_values(x, t, c.label);
	if (!code)
		code = sn_data_check(a->o, x->tokenizer, &x->pool, a->path);
	if (!code && x->cut)
		sn_note("%s: %lld of %lld rows are longer than %lld tokens and were cut", a->path, (long long)x->cut, (long long)x->n, (long long)x->most);
	return code;
}

/* What is judged by comes by length; a training's own last part, too. */
static void order(SnInputs *in, SnTexts *x, const SnAsked *a)
{
	bool train = a->use == SN_USE_TRAIN;
	double share = train && !sn_data_valid(a->o) ? sn_num(a->o, "data.valid_fraction", 0.1) : 0;
	int64_t kept = train ? x->n - (int64_t)((double)x->n * share) : 0;
	while (x->windows && kept > 0 && kept < x->n && x->windows[kept].question == x->windows[kept - 1].question)
		kept--;
	in->trained = train && kept < x->n ? kept : 0;
	sn_texts_order(x, train ? kept : 0);
}

int sn_examples_open(SnInputs *in, const SnAsked *a, SnReadRows *read)
{
	SnTexts *x = sn_alloc(sizeof *x);
	SnTable t = {0};
	*in = (SnInputs){.batch = -1, .file = {.path = a->path}, .own = x, .fill = fill, .arrange = arrange, .close = close_rows, .unit = "examples"};
	int code = a->data->tokenizer ? SN_OK : sn_data_tokenizer(a->data, a->o, a->checkpoint, a->path);
	if (!code)
		code = sn_texts_open(x, a);
	if (!code)
		code = read(x, a, &t);
	sn_table_close(&t);
	in->examples = x->n;
	in->hash = code ? 0 : hash(x);
	if (!code)
		order(in, x, a);
	if (code)
		sn_inputs_close(in);
	return code;
}

static int open_table(SnInputs *in, const SnAsked *a)
{
	return sn_examples_open(in, a, read_rows);
}

#define COLUMNS(kinds) \
	{"text-column", 0, SN_T_STR, "data.text", kinds, "NAME", "column of the texts (text)"}, \
	{"pair-column", 0, SN_T_STR, "data.pair", kinds, "NAME", "column of second texts, of pairs"}, \
	SN_FORMAT_FLAG(kinds, "tsv, csv, jsonl, conll or txt (by the file's name)"), \
	{"no-header", 0, SN_T_SWITCH, "data.bare", kinds, NULL, "the first row of tsv or csv is data: columns are called 1, 2, .."}

static const SnFlag table_flags[] = {
	COLUMNS(SN_F_KEPT | SN_F_EVAL),
	{"label-column", 0, SN_T_STR, "data.label", SN_F_KEPT | SN_F_EVAL, "NAME", "column of what is learnt (label)"},
};
static const SnFlag texts_flags[] = {
	SN_DATA_FLAG("texts, a line each, or a table of them; - reads standard input"),
	SN_TOKENIZER_FLAG,
	COLUMNS(SN_F_INFER),
	{"pair", 0, SN_T_STR, "pair", SN_F_INFER, "TEXT", "second text to the one given, of pairs"},
	{"top", 0, SN_T_POSITIVE, "top", SN_F_INFER, "N", "of a mask, how many tokens are shown"},
};
#define COUNT(a) ((int)(sizeof(a) / sizeof(a)[0]))
const SnFeeder sn_feeder_table = {.wants = "a table with columns of texts and labels", .open = open_table, .extras = {table_flags, COUNT(table_flags), 0}};
const SnFeeder sn_feeder_texts = {.wants = "texts", .open = open_table, .extras = {texts_flags, COUNT(texts_flags), SN_MAX_TEXTS}, .infer = sn_predict_main};
