/* dce.c: drops what no store or output needs. Inputs stay: they are the function's signature. */
#include "passes/passes.h"

void dce(Graph *g)
{
	graph_number(g);
	bool *live = NEW_ARRAY(g->arena, bool, g->vals.len);
	for (int i = g->vals.len - 1; i >= 0; i--) {
		Value *v = g->vals.at[i];
		if (op_info[v->op].flags & OPF_ROOT || v->op == OP_INPUT)
			live[i] = true;
		for (int k = 0; live[i] && k < v->nin; k++)
			live[v->in[k]->id] = true;
	}
	ValueList old = graph_take(g);
	for (int i = 0; i < old.len; i++) {
		old.at[i]->repl = old.at[i];
		if (live[i])
			graph_keep(g, old.at[i]);
	}
}
