/* kernels.h: checks on graphs on their way to kernels, for the tests of layout, fuse, schedule and plan. */
#ifndef TESTS_KERNELS_H
#define TESTS_KERNELS_H

#include "passes/passes.h"
#include "tests/gpt.h"
#include "tests/numeric.h"

/* The training step of a GPT, simplified, with gradients, expanded. */
static inline Graph *kernels_step(GptShape s)
{
	Module *m = gpt_module_of(test_arena(), s);
	Graph *g = graph_copy(entry_graph(m->entries.at[0], "forward"), "train.step");
	if (!passes_run(g, "simplify,cse,dce", NULL))
		bug("simplify");
	autodiff(g, m);
	if (!passes_run(g, "simplify,cse,dce", NULL))
		bug("simplify after autodiff");
	return g;
}

/* Largest difference between what the two graphs store and output for the same random sources. */
static inline double kernels_differ(const Graph *a, const Graph *b, const Dims *d, int ids)
{
	Env *x = fill_env(a, d, 7, ids), *y = fill_env(a, d, 7, ids);
	double worst = 0;
	if (!graph_eval(a, x) || !graph_eval(b, y))
		return INFINITY;
	for (int i = 0; i < a->vals.len; i++) {
		const Value *v = a->vals.at[i];
		const char *name = v->op == OP_OUTPUT ? v->a.name : v->op == OP_STORE ? v->in[0]->a.name : NULL;
		if (name)
			worst = fmax(worst, difference(env_get(y, name), env_get(x, name)));
	}
	return worst;
}

/* NULL, or what of the graph is not as layout promises. */
static inline const char *kernels_unresolved(const Graph *g)
{
	View w;
	for (int i = 0; i < g->vals.len; i++) {
		Value *v = g->vals.at[i];
		if (v->type.dt != DT_NONE && !view_of(v, &w))
			return internf("%d: %s has no place", i, op_info[v->op].text);
		if (v->op == OP_CONTRACT && !contract_laid_out(v))
			return internf("%d: contract's operands are not as kernels want them", i);
	}
	return NULL;
}

/* NULL, or the first illegal kernel. */
static inline const char *kernels_illegal(Graph *g)
{
	ClusterList l = clusters_of(g);
	for (int i = 0; i < l.len; i++) {
		const char *e = cluster_illegal(l.at[i]);
		if (e)
			return internf("%s kernel %d: %s", kernel_kind_name[l.at[i]->kind], l.at[i]->id, e);
	}
	for (int i = 0; i < g->vals.len; i++) {
		Value *v = g->vals.at[i];
		if (op_info[v->op].lower != LOWER_NONE && !v->kernel)
			return internf("%d: %s is in no kernel", i, op_info[v->op].text);
	}
	return NULL;
}

static inline void kernels_print(FILE *f, const Graph *g)
{
	Str s = {0};
	graph_print(&s, g);
	fputs(s.at, f);
	str_free(&s);
}

#endif
