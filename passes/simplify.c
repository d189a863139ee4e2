/* simplify.c: the pass: applies the rules of fold.c, algebra.c, movement.c and slices.c in the order of the graph,
 * until none applies. Each round is linear; a rule's result is looked at again in the next round. Dead values go
 * first, as rules count uses. Values that already have a kernel or a place are left alone. */
#include "passes/passes.h"

static Value *simplify_value(Builder *b, Value *v)
{
	if (v->kernel || v->dest || v->a.once)
		return NULL;
	Value *r = simplify_const(b, v);
	if (!r)
		r = simplify_algebra(b, v);
	if (!r)
		r = simplify_movement(b, v);
	return r || v->op != OP_SLICE ? r : simplify_slice(b, v);
}

/* True if something changed. */
static bool simplify_round(Graph *g)
{
	dce(g);
	graph_number(g);
	simplify_note_slices(g);
	return graph_rewrite(g, simplify_value);
}

void simplify(Graph *g)
{
	while (simplify_round(g))
		;
	dce(g);
	for (int i = 0; i < g->vals.len; i++)
		g->vals.at[i]->mark = NULL;
}
