/* expand.c: tier-two ops (softmax, attention) into primitives, by their meaning in the IR (expand_op). An
 * expansion may use tier-two ops itself, so the walk repeats until none is left. */
#include "passes/passes.h"

static Value *expanded(Builder *b, Value *v)
{
	return op_info[v->op].lower == LOWER_EXPAND ? expand_op(b, v) : NULL;
}

void expand(Graph *g)
{
	while (graph_rewrite(g, expanded))
		;
}
