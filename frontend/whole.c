/* whole.c: metrics of a whole set: f1, macro_f1, matthews, pearson. They are no means over calls, so a call puts out what adds up, as
 * "whole:<metric>:<name>", and the runtime makes the number of the sums (runtime/whole.c):
 *   of labels  (3,C): how often each label was told and true, was told, was true (the prelude's label_counts);
 *   of numbers (6): their count, both means, both sums of squares and of products about the means (moments). */
#include "frontend/elab.h"

#include <string.h>

static const struct { const char *name, *sums; bool labels; } wholes[] = {
	{ "f1", "label_counts", true }, { "macro_f1", "label_counts", true }, { "matthews", "label_counts", true }, { "pearson", "moments", false },
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

/* The call's two operands, as label_counts and moments take them. */
static bool operands(Elab *e, const Expr *x, int which, Val out[2])
{
	int n = 0;
	bool labels = wholes[which].labels;
	for (const Arg *a = x->args; a; a = a->next, n++) {
		Val v = n < 2 && !a->name ? eval(e, a->value) : (Val){ .kind = V_NONE };
		if (v.kind == V_POISON)
			return false;
		if (v.kind != V_TENSOR || v.t->type.dt != (labels && n ? DT_I32 : DT_F32)) {
			err(e, a->value->loc, "E0443", labels ? "`%s` wants logits and labels" : "`%s` wants two tensors of numbers", wholes[which].name);
			return false;
		}
		place(e, x->loc);
		out[n] = v;
		out[n].t = flat(e, v.t, labels && n == 0 && v.t->type.rank ? 1 : 0);
	}
	if (n != 2)
		err(e, x->loc, "E0443", labels ? "`%s` wants logits and labels" : "`%s` wants two tensors of numbers", wholes[which].name);
	return n == 2;
}

void whole_metric(Elab *e, const char *name, const Expr *x)
{
	int which = whole_of(x);
	Val args[2];
	if (!operands(e, x, which, args))
		return;
	Val v = call_prelude(e, wholes[which].sums, x->loc, args, 2);
	place(e, x->loc);
	if (v.kind == V_TENSOR)
		b_output(&e->b, internf("whole:%s:%s", wholes[which].name, name), v.t);
}

Val fn_whole(Call *c)
{
	return fail(c->e, c->loc, "E0607", "`%s` is no mean over calls, so it stands alone: metric x = %s(..)", c->fn, c->fn);
}
