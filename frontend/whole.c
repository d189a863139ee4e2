/* whole.c: metrics of a whole set: f1, pearson, entity_f1 and so on. They are no means over calls, so a call puts out what adds up, as
 * "whole:<metric>:<name>", and the runtime makes the number of the sums (runtime/whole.c):
 *   of labels  (3,C): how often each label was told and true, was told, was true (the prelude's label_counts);
 *   of numbers (6): their count, both means, both sums of squares and of products about the means (moments); of ranks (2,n) the numbers.
 * Or, where the texts decide, what it tells, as "told:<metric>:<name>", which the feeder of the entry's data judges (SnInputs.judge):
 *   of tags    (B,T): the likeliest of each token;
 *   of answers (2,B,T): scores of first and of last tokens. */
#include "frontend/elab.h"

#include <string.h>

typedef enum Operands { LABELS, NUMBERS, TAGS, PLACES } Operands;

static const struct { const char *name, *sums; Operands takes; } wholes[] = {
	{ "f1", "label_counts", LABELS }, { "macro_f1", "label_counts", LABELS }, { "matthews", "label_counts", LABELS },
	{ "pearson", "moments", NUMBERS }, { "spearman", "both", NUMBERS },
	{ "entity_f1", "told_tags", TAGS }, { "entity_precision", "told_tags", TAGS }, { "entity_recall", "told_tags", TAGS },
	{ "exact_match", "both", PLACES }, { "answer_f1", "both", PLACES },
};

/* What each takes: how many, in words; of told ones also the data whose feeder judges them. */
static const struct { int n; const char *wants, *data; } takes[] = {
	[LABELS] = { 2, "logits and labels", NULL }, [NUMBERS] = { 2, "two tensors of numbers", NULL },
	[TAGS] = { 1, "logits [B,T,C]", "words" }, [PLACES] = { 2, "scores [B,T] of first and of last tokens", "answers" },
};

static int whole_of(const Expr *x)
{
	for (int i = 0; i < COUNT(wholes); i++)
		if (x->kind == E_CALL && x->a->kind == E_NAME && strcmp(x->a->name, wholes[i].name) == 0)
			return i;
	return -1;
}

bool is_whole_metric(const Expr *x)
{
	return whole_of(x) >= 0;
}

/* All axes but the last `keep` as one. */
static Value *flat(Elab *e, Value *x, int keep)
{
	Type t = x->type;
	int first = t.rank - keep;
	const Dim *n = dim_const(1);
	for (int i = 0; i < first; i++)
		n = dim_mul(n, t.dim[i]);
	Type to = { t.dt, 1 + keep, { n } };
	for (int i = 0; i < keep; i++)
		to.dim[1 + i] = t.dim[first + i];
	return b_reshape(&e->b, x, to);
}

static bool fits(Operands how, int i, const Val *v)
{
	if (v->kind != V_TENSOR || v->t->type.dt != (how == LABELS && i ? DT_I32 : DT_F32))
		return false;
	return how == TAGS ? v->t->type.rank == 3 : how != PLACES || v->t->type.rank == 2;
}

/* The call's operands, as the prelude's function takes them. */
static bool operands(Elab *e, const Expr *x, int which, Val out[2])
{
	Operands how = wholes[which].takes;
	int n = 0;
	for (const Arg *a = x->args; a; a = a->next, n++) {
		Val v = n < takes[how].n && !a->name ? eval(e, a->value) : (Val){ .kind = V_NONE };
		if (v.kind == V_POISON)
			return false;
		if (!fits(how, n, &v)) {
			err(e, a->value->loc, "E0443", "`%s` wants %s", wholes[which].name, takes[how].wants);
			return false;
		}
		place(e, x->loc);
		out[n] = v;
		if (!takes[how].data)
			out[n].t = flat(e, v.t, how == LABELS && n == 0 && v.t->type.rank ? 1 : 0);
	}
	if (n != takes[how].n)
		err(e, x->loc, "E0443", "`%s` wants %s", wholes[which].name, takes[how].wants);
	return n == takes[how].n;
}

/* Is the entry's data `source`? */
static bool is_fed_by(const Elab *e, const char *source)
{
	for (const Stmt *s = e->entry->body; s; s = s->next)
		for (const Arg *a = s->kind == S_SETTING && strcmp(s->setting, "data") == 0 ? s->args : NULL; a; a = a->next)
			if (a->value->kind == E_CALL && a->value->a->kind == E_NAME && strcmp(a->value->a->name, source) == 0)
				return true;
	return false;
}

void whole_metric(Elab *e, const char *name, const Expr *x)
{
	int which = whole_of(x);
	const char *data = takes[wholes[which].takes].data;
	Val args[2];
	if (data && !is_fed_by(e, data)) {
		err(e, x->loc, "E0607", "`%s` is judged by texts, so the entry wants `data %s(..)`", wholes[which].name, data);
		return;
	}
	if (!operands(e, x, which, args))
		return;
	Val v = call_prelude(e, wholes[which].sums, x->loc, args, takes[wholes[which].takes].n);
	place(e, x->loc);
	bool judged = !data || !e->training;   /* a training's step is not */
	if (v.kind == V_TENSOR && judged)
		b_output(&e->b, internf("%s:%s:%s", data ? "told" : "whole", wholes[which].name, name), v.t);
}

Val fn_whole(Call *c)
{
	return fail(c->e, c->loc, "E0607", "`%s` is no mean over calls, so it stands alone: metric x = %s(..)", c->fn, c->fn);
}
