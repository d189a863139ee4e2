/* feed_answers.c: the feeder of questions with answers: the labels of a window are the places of the answer's first and last token in its
 * row; 0 and 0, where [CLS] is, if the answer is not in it as a whole. */
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

static int read_answers(SnTexts *x, const SnAsked *a, SnTable *unused)
{
	SnQuestions q = {0};
	SnWindows w = {0};
	if (!x->label || !x->last || x->tags || x->value || x->ids[1])
		return sn_fail(SN_USAGE, "answers(..) has an answer's first and last token: %s wants two inputs id(T)[B] beside its tokens", sn_text(a->entry->name));
	int code = sn_questions_read(&q, a->o, a->path, true);
	if (!code)
		code = sn_windows_open(&w, a->o, x, &q);
	if (!code)
		code = sn_data_check(a->o, x->tokenizer, &x->pool, a->path);
	x->labels = sn_alloc(sizeof *x->labels * (size_t)(w.n + 1));
	x->lasts = sn_alloc(sizeof *x->lasts * (size_t)(w.n + 1));
	for (int64_t i = 0; i < w.n && !code; i++) {
		const SnQuestion *one = &q.at[w.at[i].question];
		find(&w, &w.at[i], one->ngold ? &one->gold[0] : NULL, &x->labels[i], &x->lasts[i]);
	}
	sn_windows_close(&w);
	sn_questions_close(&q);
	return code;
}

static int open_answers(SnInputs *in, const SnAsked *a)
{
	int code = sn_examples_open(in, a, read_answers);
	in->unit = "windows";
	return code;
}

#define COLUMNS(kinds) \
	{"question-column", 0, SN_T_STR, "data.question", kinds, "NAME", "of JSON lines, the question (question)"}, \
	{"context-column", 0, SN_T_STR, "data.context", kinds, "NAME", "of JSON lines, the text that has the answer (context)"}, \
	{"answers-column", 0, SN_T_STR, "data.answers", kinds, "NAME", "of JSON lines, the answers (answers)"}, \
	{"format", 0, SN_T_STR, "data.format", kinds, "FORM", "jsonl (by the file's name)"}, \
	{"stride", 0, SN_T_COUNT, "data.stride", kinds, "N", "tokens that a window of a long context shares with the next (128)"}

static const SnFlag answers_flags[] = {
	COLUMNS(SN_F_KEPT | SN_F_EVAL | SN_F_INFER),
	{"data", 'd', SN_T_PATH, "data.file", SN_F_INFER, "FILE", "questions as for training, with answers or without; - reads standard input"},
	{"tokenizer", 0, SN_T_TOKENIZER, "data.tokenizer", SN_F_INFER, "NAME", "byte, a tokenizer.json, a merges.txt, or their directory"},
	{"question", 0, SN_T_STR, "question", SN_F_INFER, "TEXT", "the question (or the first argument)"},
	{"context", 0, SN_T_STR, "context", SN_F_INFER, "TEXT", "the text that has the answer (or the second)"},
	{"max-answer", 0, SN_T_POSITIVE, "data.answer", SN_F_INFER, "N", "longest answer in tokens (30)"},
	{"score", 0, SN_T_SWITCH, "score", SN_F_INFER, NULL, "of --data with answers: print exact match and F1 in place of answers"},
};
const SnFeeder sn_feeder_answers = {.wants = "questions with contexts and answers", .open = open_answers,
	.extras = {answers_flags, (int)(sizeof answers_flags / sizeof *answers_flags), SN_MAX_TEXTS}, .infer = sn_reader_main};
