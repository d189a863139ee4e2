/* expand.c: tier-two ops (softmax, attention) into primitives, by their meaning in the IR (expand_op). An
 * expansion may use tier-two ops itself, so the walk repeats until none is left. */
#include "passes/passes.h"

static bool expand_once(Graph *g)
{
	bool found = false;
	ValueList old = graph_take(g);
	for (int i = 0; i < old.len; i++) {
		Value *v = old.at[i];
		if (op_info[v->op].lower != LOWER_EXPAND) {
			graph_keep(g, v);
			continue;
		}
		for (int k = 0; k < v->nin; k++)
			v->in[k] = v->in[k]->repl;
		Builder b = { .g = g, .loc = v->loc, .path = v->path, .grad = v->grad };
		int first = g->vals.len;
		v->repl = expand_op(&b, v);
		for (int k = first; k < g->vals.len; k++)
			g->vals.at[k]->repl = g->vals.at[k];
		found = true;
	}
	return found;
}

void expand(Graph *g)
{
	while (expand_once(g))
		;
}
