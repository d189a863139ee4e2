/* feed_words.c: the feeder of words with tags: a label stands on the first piece of each word, what else there is has none. Metrics of entities are
 * judged by the words' own tags: those that were cut off are not told. */
#include "runtime/tables.h"

#include <stdint.h>
#include <stdlib.h>

enum { IGNORED = -100 };

/* What is so of the words, beside the rows of their pieces. */
typedef struct Truth {
	SnNames names;                /* of tags */
	int32_t *tags;                /* of all words */
	int64_t *first;               /* of each sentence's words, and the end */
	SnIds pieces;                 /* of each id of all rows the word that it begins; -1 */
} Truth;

static void forget(void *truth)
{
	Truth *t = truth;
	sn_names_close(&t->names);
	free(t->tags);
	free(t->first);
	free(t->pieces.at);
	free(t);
}

/* The tags of all words as a table of one column, whose labels are read as others' are. */
static int read_tags(const SnAsked *a, const SnWords *w, int most, Truth *out)
{
	const char *column = sn_str(a->o, "data.label", "tags");
	SnTable t = {.path = w->table.path, .columns = &column, .ncolumn = 1, .cells = w->tags, .nrow = w->nword};
	t.lines = sn_alloc(sizeof *t.lines * (size_t)w->nword);
	for (int64_t i = 0; i < w->n; i++)
		for (int64_t k = w->first[i]; k < w->first[i + 1]; k++)
			t.lines[k] = w->lines[i];
	int code = sn_labels_read(&out->tags, &out->names, a, &t, 0, most);
	free(t.lines);
	return code;
}

static int read_words(SnTexts *x, const SnAsked *a, SnTable *unused)
{
	SnWords w = {0};
	if (!x->tags || x->label || x->value || x->ids[1])
		return sn_fail(SN_USAGE, "words(..) has a tag for each token: %s wants one input id(C)?[B,T] beside its tokens", sn_text(a->entry->name));
	Truth *t = x->truth = sn_alloc(sizeof *t);
	x->forget = forget;
	int code = sn_words_read(&w, a->o, a->path, true);
	if (!code)
		code = sn_words_encode(&w, x, &t->pieces);
	if (!code)
		code = sn_data_check(a->o, x->tokenizer, &x->pool, a->path);
	if (!code)
		code = read_tags(a, &w, (int)x->tags->rows, t);
	x->labels = sn_alloc(sizeof *x->labels * (size_t)(x->pool.n + 1));
	for (int64_t k = 0; k < x->pool.n && !code; k++)
		x->labels[k] = t->pieces.at[k] < 0 ? IGNORED : t->tags[t->pieces.at[k]];
	t->first = w.first;
	w.first = NULL;
	sn_words_close(&w);
	return code;
}

/* --- metrics */

static const char *name_of(const Truth *t, int32_t tag)
{
	return tag < t->names.n ? t->names.at[tag] : NULL;
}

/* told: the row's tags, one a token */
static void judge_row(const SnTexts *x, const SnText *row, const int32_t *told, SnEntities *count)
{
	const Truth *t = x->truth;
	int64_t from = t->first[row->row], n = t->first[row->row + 1] - from;
	const char **truth = sn_alloc(sizeof *truth * (size_t)(2 * n)), **said = truth + n;
	for (int64_t i = 0; i < n; i++)
		truth[i] = name_of(t, t->tags[from + i]);
	for (int64_t k = 0; k < row->n[0]; k++)
		if (t->pieces.at[row->at[0] + k] >= 0)
			said[t->pieces.at[row->at[0] + k] - from] = name_of(t, told[k]);
	sn_entities_add(count, truth, said, n);
	free(truth);
}

static void add(SnMeans *m, int i, const SnSession *s)
{
	const SnTexts *x = m->in->own;
	const int32_t *told = (const int32_t *)(s->arena + m->slot[i]->offset);
	SnEntities *count = sn_means_total(m, i, sizeof *count / sizeof(double));
	for (int64_t k = 0; k < m->npick; k++)
		judge_row(x, &x->at[m->pick[k]], told + k * s->dims[x->T], count);
}

static double at(const SnMeans *m, int i)
{
	const char *kind = sn_means_kind(m, i);
	const SnEntities *count = (const void *)m->total[i];
	return sn_means_is(kind, "entity_f1") ? sn_entities_f1(count) : sn_means_is(kind, "entity_recall") ? sn_entities_recall(count) : sn_entities_precision(count);
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
	static const SnWholes judge = {add, at};
	int code = sn_examples_open(in, a, read_words);
	in->judge = &judge;
	in->weight = weigh;
	in->unit = "words";
	return code;
}

static const SnFlag words_flags[] = {
	{"tokens-column", 0, SN_T_STR, "data.tokens", SN_F_TABLES, "NAME", "of JSON lines, the list of words (tokens)"},
	{"label-column", 0, SN_T_STR, "data.label", SN_F_TABLES, "NAME", "of JSON lines, the list of their tags (tags)"},
	SN_FORMAT_FLAG(SN_F_TABLES, "conll or jsonl (by the file's name)"),
	SN_DATA_FLAG("texts, a line each, or words as for training; - reads standard input"),
	SN_TOKENIZER_FLAG,
	{"text-column", 0, SN_T_STR, "data.text", SN_F_INFER, "NAME", "of JSON lines, a text in place of words (text)"},
	SN_SCORE_FLAG("of --data with tags: print accuracy and the entities' F1 in place of tags"),
};
const SnFeeder sn_feeder_words = {.wants = "words with tags", .open = open_words,
	.extras = {words_flags, (int)(sizeof words_flags / sizeof *words_flags), SN_MAX_TEXTS}, .infer = sn_tag_main};
