/* reader.c: an infer entry that finds answers in contexts: of all spans of all windows the one whose first and last token have the greatest sum
 * of scores, cut out of the text by its tokens' places. Against answers that the data has: exact matches and the F1 of words, as the
 * evaluation of SQuAD 1.1 has them (Rajpurkar et al. 2016). */
#include "runtime/tables.h"
#include "runtime/tokens.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Found { double best, sum; int32_t from, to; } Found;   /* sum: of e^(score - best) of all spans; bytes of the context */
typedef struct Reading {
	SnPredict p;
	SnQuestions q;
	SnWindows w;
	Found *found;                 /* (q.n) */
	int64_t judged;
	double exact, f1;             /* sums */
} Reading;

/* --- questions */

static int take_arguments(Reading *r)
{
	const SnOptions *o = r->p.o;
	const char *question = sn_str(o, "question", NULL), *context = sn_str(o, "context", NULL);
	int next = 0;
	if (!question && next < o->ntext)
		question = o->text[next++];
	if (!context && next < o->ntext)
		context = o->text[next++];
	if (!question || !context || next < o->ntext)
		return sn_fail(SN_USAGE, "%s wants a question and a context: both as arguments, --question TEXT --context TEXT, or --data FILE of them",
		               sn_text(o->entry->name));
	if (sn_utf8_valid(question, strlen(question)) < strlen(question) || sn_utf8_valid(context, strlen(context)) < strlen(context))
		return sn_fail(SN_USAGE, "the question or the context is not valid UTF-8");
	sn_questions_add(&r->q, question, context);
	return SN_OK;
}

static int take(Reading *r)
{
	const SnOptions *o = r->p.o;
	const char *path = sn_str(o, "data.file", NULL);
	bool arguments = o->ntext || sn_given(o, "question") || sn_given(o, "context");
	if (path && arguments)
		return sn_fail(SN_USAGE, "a question on the command line and --data exclude each other");
	if (o->ntext == 1 && !strcmp(o->text[0], "-") && !sn_given(o, "question") && !sn_given(o, "context"))
		path = "-";
	return path ? sn_questions_read(&r->q, o, path, false) : take_arguments(r);
}

/* --- spans */

static void add_span(Found *f, double score, int32_t from, int32_t to)
{
	if (score > f->best) {
		f->sum = f->sum * exp(f->best - score) + 1;
		*f = (Found){score, f->sum, from, to};
	} else {
		f->sum += exp(score - f->best);
	}
}

static void search(Reading *r, int64_t row)
{
	const SnWindow *w = &r->w.at[row];
	const float *starts = (const float *)r->p.out[0].rows[row] + w->base, *ends = (const float *)r->p.out[1].rows[row] + w->base;
	const int32_t *from = r->w.from.at + w->first, *to = r->w.to.at + w->first;
	int64_t most = (int64_t)sn_num(r->p.o, "data.answer", 30);
	for (int64_t a = 0; a < w->n; a++)
		for (int64_t b = a; b < w->n && b < a + most; b++)
			add_span(&r->found[w->question], (double)starts[a] + (double)ends[b], from[a], to[b]);
}

/* --- exact match and F1 */

typedef struct Word { const char *s; size_t n; } Word;
typedef struct Answer { SnStr text; Word *words; int64_t n; } Answer;

static void lower(const char *s, size_t n, SnStr *out)
{
	sn_str_add(out, "", 0);
	for (size_t at = 0, k; at < n; at += k) {
		uint32_t c, low[2];
		char text[4];
		k = (size_t)sn_utf8_read(s + at, n - at, &c);
		if (c < 0x80 && sn_uni_punct(c))
			continue;
		if (sn_uni_white(c)) {
			sn_str_add(out, " ", 1);
			continue;
		}
		int count = sn_uni_lower(c, low);
		for (int i = 0; i < count; i++)
			sn_str_add(out, text, (size_t)sn_utf8_write(text, low[i]));
	}
}

static bool is_article(Word w)
{
	return (w.n == 1 && *w.s == 'a') || (w.n == 2 && !memcmp(w.s, "an", 2)) || (w.n == 3 && !memcmp(w.s, "the", 3));
}

/* Lower case, without ASCII's punctuation and without articles; in words. */
static Answer answer_of(const char *s, size_t n)
{
	Answer a = {{0}, NULL, 0};
	lower(s, n, &a.text);
	a.words = sn_alloc(sizeof *a.words * (a.text.n / 2 + 1));
	for (const char *at = a.text.s; *(at += strspn(at, " "));) {
		Word w = {at, strcspn(at, " ")};
		if (!is_article(w))
			a.words[a.n++] = w;
		at += w.n;
	}
	return a;
}

static void answer_free(Answer *a)
{
	free(a->text.s);
	free(a->words);
}

static bool same_word(Word a, Word b)
{
	return a.n == b.n && !memcmp(a.s, b.s, a.n);
}

static bool same_answer(const Answer *a, const Answer *b)
{
	bool same = a->n == b->n;
	for (int64_t i = 0; i < a->n && same; i++)
		same = same_word(a->words[i], b->words[i]);
	return same;
}

static double f1_of(const Answer *a, const Answer *b)
{
	bool *used = sn_alloc((size_t)b->n + 1);
	int64_t common = 0;
	for (int64_t i = 0; i < a->n; i++)
		for (int64_t k = 0; k < b->n; k++)
			if (!used[k] && same_word(a->words[i], b->words[k])) {
				used[k] = true;
				common++;
				break;
			}
	free(used);
	if (!a->n || !b->n)
		return a->n == b->n;
	return 2 * (double)common / (double)(a->n + b->n);
}

static void judge_one(Reading *r, int64_t i)
{
	const SnQuestion *q = &r->q.at[i];
	Answer said = answer_of(q->context.s + r->found[i].from, (size_t)(r->found[i].to - r->found[i].from));
	double exact = 0, f1 = 0;
	for (int k = 0; k < q->ngold; k++) {
		Answer gold = answer_of(q->gold[k].text, strlen(q->gold[k].text));
		exact = same_answer(&said, &gold) ? 1 : exact;
		f1 = fmax(f1, f1_of(&said, &gold));
		answer_free(&gold);
	}
	answer_free(&said);
	r->judged++;
	r->exact += exact;
	r->f1 += f1;
}

static int judge(Reading *r)
{
	bool asked = sn_given(r->p.o, "score");
	for (int64_t i = 0; i < r->q.n; i++)
		if (r->q.at[i].ngold)
			judge_one(r, i);
	if (asked && !r->judged)
		return sn_fail(SN_DATA, "--score wants --data with answers");
	if (!r->judged)
		return SN_OK;
	SnStr s = {0};
	sn_str_printf(&s, "{\"exact\":");
	sn_json_number(&s, r->exact / (double)r->judged);
	sn_str_printf(&s, ",\"f1\":");
	sn_json_number(&s, r->f1 / (double)r->judged);
	sn_str_printf(&s, ",\"questions\":%lld}", (long long)r->judged);
	if (asked)
		printf("%s\n", s.s);
	else if (!sn_given(r->p.o, "quiet"))
		sn_note("%s", s.s);
	free(s.s);
	return SN_OK;
}

/* --- out */

static void print_one(const Reading *r, int64_t i, SnStr *s)
{
	const SnQuestion *q = &r->q.at[i];
	const Found *f = &r->found[i];
	char *answer = sn_format("%.*s", (int)(f->to - f->from), q->context.s + f->from);
	int64_t start = sn_characters(q->context.s, f->from);
	s->n = 0;
	sn_str_printf(s, "{");
	if (q->id.s) {
		sn_str_printf(s, "\"id\":");
		sn_json_string(s, q->id.s);
		sn_str_printf(s, ",");
	}
	sn_str_printf(s, "\"question\":");
	sn_json_string(s, q->question.s);
	sn_str_printf(s, ",\"answer\":");
	sn_json_string(s, answer);
	sn_str_printf(s, ",\"score\":");
	sn_json_number(s, 1 / f->sum);
	sn_str_printf(s, ",\"start\":%lld,\"end\":%lld}\n", (long long)start, (long long)(start + sn_characters(answer, f->to - f->from)));
	fwrite(s->s, 1, s->n, stdout);
	free(answer);
}

/* --- the command */

static int ready(Reading *r, const char *checkpoint)
{
	SnPredict *p = &r->p;
	int code = sn_given(p->o, "output") ? sn_fail(SN_USAGE, "answers are printed: -o FILE is for the results of --inputs FILE") : sn_predict_open(p, checkpoint);
	if (!code && p->x.ids[1])
		code = sn_fail(SN_USAGE, "%s has two texts apart: answers(..) are in one row with the question", sn_text(p->o->entry->name));
	if (!code)
		code = take(r);
	if (!code)
		code = sn_windows_open(&r->w, p->o, &p->x, &r->q);
	p->n = p->x.n;
	if (!code)
		code = sn_data_check(p->o, p->x.tokenizer, &p->x.pool, r->q.path ? r->q.path : "the text");
	if (!code)
		code = sn_predict_ready(p, checkpoint);
	bool fits = p->nout == 2;
	for (int i = 0; i < p->nout; i++)
		fits &= p->out[i].along && p->out[i].inner == 1 && p->out[i].slot->dtype == SN_F32;
	return code || fits ? code : sn_fail(SN_USAGE, "%s: answers(..) wants the results f32[B,T] and f32[B,T], of first and last tokens", sn_text(p->o->entry->name));
}

static void find_all(Reading *r)
{
	r->found = sn_alloc(sizeof *r->found * (size_t)r->q.n);
	for (int64_t i = 0; i < r->q.n; i++)
		r->found[i].best = -INFINITY;
	for (int64_t i = 0; i < r->w.n; i++)
		search(r, i);
}

int sn_reader_main(const SnOptions *o)
{
	Reading r = {.p = {.o = o, .run = sn_function(o->entry, "run")}};
	char *checkpoint = NULL;
	SnStr s = {0};
	int code = sn_model_find(o, &checkpoint);
	if (!code)
		code = ready(&r, checkpoint);
	if (!code) {
		sn_predict_run(&r.p);
		find_all(&r);
		sn_uni_load();
		code = judge(&r);
	}
	for (int64_t i = 0; i < r.q.n && !code && !sn_given(o, "score"); i++)
		print_one(&r, i, &s);
	if (!code)
		sn_predict_note(&r.p, r.w.n, "windows");
	sn_windows_close(&r.w);
	sn_predict_close(&r.p);
	sn_questions_close(&r.q);
	free(r.found);
	free(s.s);
	free(checkpoint);
	return code;
}
