/* dce.c: drops what no store or output needs. Inputs stay: they are the function's signature. What counts an extent
 * stays with what has that extent, else its symbol goes too. */
#include "passes/passes.h"

static void keep_count(void *live, Value *nonzero)
{
	((bool *)live)[nonzero->id] = true;
}

static void drop_symbol(Graph *g, const char *sym)
{
	int n = 0;
	for (int i = 0; i < g->syms.len; i++)
		if (g->syms.at[i].name != sym)
			g->syms.at[n++] = g->syms.at[i];
	g->syms.len = n;
}

void dce(Graph *g)
{
	graph_number(g);
	bool *live = NEW_ARRAY(g->arena, bool, g->vals.len);
	Counted *counted = counted_of(g->arena, g);
	for (int i = g->vals.len - 1; i >= 0; i--) {
		Value *v = g->vals.at[i];
		if (op_info[v->op].flags & OPF_ROOT || v->op == OP_INPUT)
			live[i] = true;
		for (int k = 0; live[i] && k < v->nin; k++)
			live[v->in[k]->id] = true;
		if (live[i])
			counted_uses(counted, v, keep_count, live);
	}
	ValueList old = graph_take(g);
	for (int i = 0; i < old.len; i++) {
		old.at[i]->repl = old.at[i];
		if (live[i])
			graph_keep(g, old.at[i]);
		else if (is_counting(old.at[i]))
			drop_symbol(g, counted_sym(old.at[i]));
	}
}
