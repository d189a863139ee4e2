/* feed_words.c: the feeder of words with tags: a label stands on the first piece of each word, what else there is has none. */
#include "runtime/tables.h"

#include <stdint.h>
#include <stdlib.h>

enum { IGNORED = -100 };

/* The tags of all words as a table of one column, whose labels are read as others' are. */
static int read_tags(const SnAsked *a, const SnWords *w, int most, int32_t **out)
{
	const char *column = sn_str(a->o, "data.label", "tags");
	SnTable t = {.path = w->table.path, .columns = &column, .ncolumn = 1, .cells = w->tags, .nrow = w->nword};
	t.lines = sn_alloc(sizeof *t.lines * (size_t)w->nword);
	for (int64_t i = 0; i < w->n; i++)
		for (int64_t k = w->first[i]; k < w->first[i + 1]; k++)
			t.lines[k] = w->lines[i];
	int code = sn_labels_read(out, a, &t, 0, most);
	free(t.lines);
	return code;
}

static int read_words(SnTexts *x, const SnAsked *a, SnTable *unused)
{
	SnWords w = {0};
	SnIds pieces = {0};
	int32_t *labels = NULL;
	if (!x->tags || x->label || x->value || x->ids[1])
		return sn_fail(SN_USAGE, "words(..) has a tag for each token: %s wants one input id(C)?[B,T] beside its tokens", sn_text(a->entry->name));
	int code = sn_words_read(&w, a->o, a->path, true);
	if (!code)
		code = sn_words_encode(&w, x, &pieces);
	if (!code)
		code = sn_data_check(a->o, x->tokenizer, &x->pool, a->path);
	if (!code)
		code = read_tags(a, &w, (int)x->tags->rows, &labels);
	x->labels = sn_alloc(sizeof *x->labels * (size_t)(x->pool.n + 1));
	for (int64_t k = 0; k < x->pool.n && !code; k++)
		x->labels[k] = pieces.at[k] < 0 ? IGNORED : labels[pieces.at[k]];
	free(labels);
	free(pieces.at);
	sn_words_close(&w);
	return code;
}

/* Metrics are means over words. */
static double weigh(const SnInputs *in, int64_t first, int64_t n)
{
	const SnTexts *x = in->own;
	int64_t words = 0;
	for (int64_t i = first; i < first + n; i++)
		for (int64_t k = 0; k < x->at[i].n[0]; k++)
			words += x->labels[x->at[i].at[0] + k] != IGNORED;
	return (double)words;
}

static int open_words(SnInputs *in, const SnAsked *a)
{
	int code = sn_examples_open(in, a, read_words);
	in->weight = weigh;
	in->unit = "words";
	return code;
}

#define COLUMNS(kinds) \
	{"tokens-column", 0, SN_T_STR, "data.tokens", kinds, "NAME", "of JSON lines, the list of words (tokens)"}, \
	{"label-column", 0, SN_T_STR, "data.label", kinds, "NAME", "of JSON lines, the list of their tags (tags)"}, \
	{"format", 0, SN_T_STR, "data.format", kinds, "FORM", "conll or jsonl (by the file's name)"}

static const SnFlag words_flags[] = {
	COLUMNS(SN_F_KEPT | SN_F_EVAL | SN_F_INFER),
	{"data", 'd', SN_T_PATH, "data.file", SN_F_INFER, "FILE", "texts, a line each, or words as for training; - reads standard input"},
	{"tokenizer", 0, SN_T_TOKENIZER, "data.tokenizer", SN_F_INFER, "NAME", "byte, a tokenizer.json, a merges.txt, or their directory"},
	{"text-column", 0, SN_T_STR, "data.text", SN_F_INFER, "NAME", "of JSON lines, a text in place of words (text)"},
	{"score", 0, SN_T_SWITCH, "score", SN_F_INFER, NULL, "of --data with tags: print accuracy and the entities' F1 in place of tags"},
};
const SnFeeder sn_feeder_words = {.wants = "words with tags", .open = open_words,
	.extras = {words_flags, (int)(sizeof words_flags / sizeof *words_flags), SN_MAX_TEXTS}, .infer = sn_tag_main};
