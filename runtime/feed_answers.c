/* feed_answers.c: the feeder of questions with answers: the labels of a window are the places of the answer's first and last token in its
 * row; 0 and 0, where [CLS] is, if the answer is not in it as a whole, or there is none. Answers that are told are judged by the contexts' texts. */
#include "runtime/tables.h"

#include <stdlib.h>

/* Tokens of the window that have a part of the answer, if it has all of it. */
static void find(const SnWindows *w, const SnWindow *one, const SnGold *gold, int32_t *first, int32_t *last)
{
	const int32_t *from = w->from.at + one->first, *to = w->to.at + one->first;
	int64_t a = 0, b = one->n - 1;
	*first = *last = 0;
	if (!gold || from[0] > gold->from || to[b] < gold->to)
		return;
	while (a < one->n && to[a] <= gold->from)
		a++;
	while (b >= 0 && from[b] >= gold->to)
		b--;
	if (a > b)
		return;
	*first = (int32_t)(one->base + a);
	*last = (int32_t)(one->base + b);
}

static void forget(void *truth)
{
	sn_reading_close(truth);
	free(truth);
}

static int read_answers(SnTexts *x, const SnAsked *a, SnTable *unused)
{
	if (!x->label || !x->last || x->tags || x->value || x->ids[1])
		return sn_fail(SN_USAGE, "answers(..) has an answer's first and last token: %s wants two inputs id(T)[B] beside its tokens", sn_text(a->entry->name));
	SnReading *r = x->truth = sn_alloc(sizeof *r);
	x->forget = forget;
	int code = sn_questions_read(&r->q, a->o, a->path, true);
	if (!code)
		code = sn_reading_settle(r, a->o, a->checkpoint);
	if (!code)
		code = sn_windows_open(&r->w, a->o, x, &r->q);
	if (!code)
		code = sn_data_check(a->o, x->tokenizer, &x->pool, a->path);
	if (!code && a->use == SN_USE_TRAIN)
		sn_reading_remember(r, a->data);
	x->windows = r->w.at;
	x->labels = sn_alloc(sizeof *x->labels * (size_t)(r->w.n + 1));
	x->lasts = sn_alloc(sizeof *x->lasts * (size_t)(r->w.n + 1));
	for (int64_t i = 0; i < r->w.n && !code; i++) {
		const SnQuestion *one = &r->q.at[r->w.at[i].question];
		find(&r->w, &r->w.at[i], one->ngold ? &one->gold[0] : NULL, &x->labels[i], &x->lasts[i]);
	}
	return code;
}

/* --- metrics */

/* (2,B,T): scores of first and of last tokens. */
static void add(SnMeans *m, int i, const SnSession *s)
{
	enum { UNIT = sizeof(SnFound) / sizeof(double) };
	const SnTexts *x = m->in->own;
	const SnReading *r = x->truth;
	const float *first = (const float *)(s->arena + m->slot[i]->offset), *last = first + m->npick * s->dims[x->T];
	_Static_assert(UNIT * sizeof(double) == sizeof(SnFound), "whole numbers of doubles");
	SnFound *found = sn_means_total(m, i, UNIT * r->q.n);
	for (int64_t k = 0; k < m->npick; k++)
		sn_reading_look(r, x->at[m->pick[k]].row, first + k * s->dims[x->T], last + k * s->dims[x->T], found);
}

static double at(const SnMeans *m, int i)
{
	const SnTexts *x = m->in->own;
	SnMarks marks = sn_reading_judge(x->truth, (const void *)m->total[i]);
	double n = (double)(marks.n[0] + marks.n[1]);
	return (sn_means_is(sn_means_kind(m, i), "exact_match") ? marks.exact[0] + marks.exact[1] : marks.f1[0] + marks.f1[1]) / n;
}

static int open_answers(SnInputs *in, const SnAsked *a)
{
	static const SnWholes judge = {add, at};
	int code = sn_examples_open(in, a, read_answers);
	in->judge = &judge;
	in->unit = "windows";
	return code;
}

static const SnFlag answers_flags[] = {
	{"question-column", 0, SN_T_STR, "data.question", SN_F_TABLES, "NAME", "of JSON lines, the question (question)"},
	{"context-column", 0, SN_T_STR, "data.context", SN_F_TABLES, "NAME", "of JSON lines, the text that has the answer (context)"},
	{"answers-column", 0, SN_T_STR, "data.answers", SN_F_TABLES, "NAME", "of JSON lines, the answers (answers)"},
	SN_FORMAT_FLAG(SN_F_TABLES, "jsonl (by the file's name)"),
	{"stride", 0, SN_T_COUNT, "data.stride", SN_F_TABLES, "N", "tokens that a window of a long context shares with the next (128)"},
	{"max-answer", 0, SN_T_POSITIVE, "data.answer", SN_F_TABLES, "N", "longest answer in tokens (30)"},
	{"null-threshold", 0, SN_T_REAL, "data.null_threshold", SN_F_TABLES, "X", "no answer is told where its score is above the best answer's by more (0)"},
	SN_DATA_FLAG("questions as for training, with answers or without; - reads standard input"),
	SN_TOKENIZER_FLAG,
	{"question", 0, SN_T_STR, "question", SN_F_INFER, "TEXT", "the question (or the first argument)"},
	{"context", 0, SN_T_STR, "context", SN_F_INFER, "TEXT", "the text that has the answer (or the second)"},
	SN_SCORE_FLAG("of --data with answers: print exact match and F1 in place of answers"),
};
const SnFeeder sn_feeder_answers = {.wants = "questions with contexts and answers", .open = open_answers,
	.extras = {answers_flags, (int)(sizeof answers_flags / sizeof *answers_flags), SN_MAX_TEXTS}, .infer = sn_reader_main};
