/* external.c: parameters that need no place in the arena, as no call of a step reads all of them: those that only `prepare`
 * reads, which packs or copies what steps want, and tables of which steps look up rows. The program reads them where a
 * checkpoint's mapping has them. What steps read as a whole stays in the arena, whose pages are large. */
#include "backend/backend.h"

static External least(External a, External b)
{
	return a < b ? a : b;
}

/* How v uses its k-th operand, in prepare or in another function. */
static External use_of(const Value *v, int k, bool prepare)
{
	if (op_info[v->op].flags & OPF_ROOT)
		return EXTERNAL_NOT;
	if (prepare)
		return EXTERNAL_PREPARED;
	return v->op == OP_GATHER && k == 0 ? EXTERNAL_ROWS : EXTERNAL_NOT;
}

static void mark_in(Plan *plan, const Graph *g, bool prepare)
{
	for (int i = 0; i < g->vals.len; i++) {
		Value *v = g->vals.at[i];
		for (int k = 0; k < v->nin && !(op_info[v->op].flags & OPF_VIEW); k++) {
			View w;
			if (!view_of(v->in[k], &w) || w.root->op != OP_PARAM)
				continue;
			Slot *s = &plan->slots.at[plan_named(plan, w.root)];
			s->external = least(s->external, use_of(v, k, prepare));
		}
	}
}

void external_mark(Plan *plan, const Entry *e)
{
	const Graph *prepare = entry_graph(e, "prepare");
	for (int i = 0; prepare && i < plan->slots.len; i++) {
		const Value *v = plan->slots.at[i].value;
		plan->slots.at[i].external = v->op == OP_PARAM && v->type.dt == DT_F32 ? EXTERNAL_PREPARED : EXTERNAL_NOT;
	}
	for (int i = 0; prepare && i < e->graphs.len; i++)
		if (graph_is_function(e->graphs.at[i]))
			mark_in(plan, e->graphs.at[i], e->graphs.at[i] == prepare);
}
