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
	bool changed = false;
	dce(g);
	graph_number(g);
	simplify_note_slices(g);
	ValueList old = graph_take(g);
	for (int i = 0; i < old.len; i++) {
		Value *v = old.at[i];
		for (int k = 0; k < v->nin; k++)
			v->in[k] = v->in[k]->repl;
		Builder b = { .g = g, .loc = v->loc, .path = v->path, .grad = v->grad };
		int first = g->vals.len;
		Value *r = simplify_value(&b, v);
		for (int k = first; k < g->vals.len; k++)
			g->vals.at[k]->repl = g->vals.at[k];
		if (r)
			v->repl = r;
		else
			graph_keep(g, v);
		changed |= r != NULL;
	}
	return changed;
}

void simplify(Graph *g)
{
	while (simplify_round(g))
		;
	dce(g);
	for (int i = 0; i < g->vals.len; i++)
		g->vals.at[i]->mark = NULL;
}
