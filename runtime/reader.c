/* reader.c: an infer entry that finds answers in contexts, cut out of the text by their tokens' places; or tells that there is none. Against answers that
 * the data has: exact matches and F1 (squad.c). */
#include "runtime/tables.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Reading {
	SnPredict p;
	SnReading r;
	SnFound *found;               /* (questions) */
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
	sn_questions_add(&r->r.q, question, context);
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
	return path ? sn_questions_read(&r->r.q, o, path, false) : take_arguments(r);
}

/* --- judging */

/* exact, f1 and how many questions, with what the official evaluation puts before their names. */
static void put_marks(SnStr *s, const char *prefix, const char *total, double exact, double f1, int64_t n)
{
	sn_str_printf(s, "%s\"%sexact\":", s->n > 1 ? "," : "", prefix);
	sn_json_number(s, exact / (double)n);
	sn_str_printf(s, ",\"%sf1\":", prefix);
	sn_json_number(s, f1 / (double)n);
	sn_str_printf(s, ",\"%s%s\":%lld", prefix, total, (long long)n);
}

static int judge(Reading *r)
{
	SnMarks m = sn_reading_judge(&r->r, r->found);
	int64_t n = m.n[0] + m.n[1];
	SnStr s = {0};
	if (!n)
		return sn_given(r->p.o, "score") ? sn_fail(SN_DATA, "--score wants --data with answers") : SN_OK;
	sn_str_printf(&s, "{");
	put_marks(&s, "", "questions", m.exact[0] + m.exact[1], m.f1[0] + m.f1[1], n);
	if (m.n[1] && m.n[0])
		put_marks(&s, "HasAns_", "total", m.exact[0], m.f1[0], m.n[0]);
	if (m.n[1])
		put_marks(&s, "NoAns_", "total", m.exact[1], m.f1[1], m.n[1]);
	sn_str_printf(&s, "}");
	sn_predict_score(&r->p, s.s);
	free(s.s);
	return SN_OK;
}

/* --- out */

static void member(SnStr *s, const char *name, const char *text)
{
	sn_str_printf(s, "%s\"%s\":", s->n > 1 ? "," : "", name);
	sn_json_string(s, text);
}

/* Its share among all spans, and no answer where that may be told. */
static double share(const Reading *r, const SnFound *f)
{
	bool none = sn_reading_is_none(&r->r, f);
	double others = r->r.nullable && !none ? exp(f->none - f->best) : 0;
	return none ? 1 / (1 + f->sum * exp(f->best - f->none)) : 1 / (f->sum + others);
}

static void print_one(Reading *r, int64_t i, SnStr *s)
{
	const SnQuestion *q = &r->r.q.at[i];
	const SnFound *f = &r->found[i];
	SnCell told = sn_reading_told(&r->r, r->found, i);
	char *answer = sn_format("%.*s", (int)told.n, told.s);
	int64_t start = sn_characters(q->context.s, f->from);
	s->n = 0;
	sn_str_printf(s, "{");
	if (q->id.s)
		member(s, "id", q->id.s);
	member(s, "question", q->question.s);
	member(s, "answer", answer);
	sn_str_printf(s, ",\"score\":");
	sn_json_number(s, share(r, f));
	if (sn_reading_is_none(&r->r, f))
		sn_str_printf(s, ",\"start\":null,\"end\":null");
	else
		sn_str_printf(s, ",\"start\":%lld,\"end\":%lld", (long long)start, (long long)(start + sn_characters(answer, f->to - f->from)));
	if (r->r.nullable) {
		sn_str_printf(s, ",\"null_score_diff\":");
		sn_json_number(s, f->none - f->best);
	}
	sn_str_printf(s, "}\n");
	sn_predict_put(&r->p, s);
	free(answer);
}

/* --- the command */

static int encode(SnPredict *p)
{
	Reading *r = p->own;
	int code = take(r);
	if (!code)
		code = sn_reading_settle(&r->r, p->o, p->checkpoint);
	if (!code)
		code = sn_windows_open(&r->r.w, p->o, &p->x, &r->r.q);
	p->n = p->x.n;
	p->source = r->r.q.path;
	return code;
}

static bool fits(const SnPredict *p)
{
	bool fits = p->nout == 2;
	for (int i = 0; i < p->nout; i++)
		fits &= p->out[i].along && p->out[i].inner == 1 && p->out[i].slot->dtype == SN_F32;
	return fits;
}

static int show(SnPredict *p)
{
	Reading *r = p->own;
	SnStr s = {0};
	r->found = sn_alloc(sizeof *r->found * (size_t)r->r.q.n);
	for (int64_t i = 0; i < r->r.w.n; i++)
		sn_reading_look(&r->r, i, p->out[0].rows[i], p->out[1].rows[i], r->found);
	int code = judge(r);
	for (int64_t i = 0; i < r->r.q.n && !code && (p->filed || !sn_given(p->o, "score")); i++)
		print_one(r, i, &s);
	free(s.s);
	return code;
}

int sn_reader_main(const SnOptions *o)
{
	static const SnPredictWay way = {"answers", "answers(..) are in one row with the question", encode, show, fits,
		"answers(..) wants the results f32[B,T] and f32[B,T], of first and last tokens", "windows"};
	Reading r = {.p = {.o = o, .own = &r}};
	int code = sn_predict(&r.p, &way);
	sn_reading_close(&r.r);
	free(r.found);
	return code;
}
