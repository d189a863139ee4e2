/* copy.c: copying graphs, and redirecting values to what stands for them. */
#include "passes/passes.h"

static Value *copy_value(Arena *arena, const Value *v)
{
	Value *c = NEW(arena, Value);
	*c = *v;
	c->in = NEW_ARRAY(arena, Value *, v->nin ? v->nin : 1);
	for (int i = 0; i < v->nin; i++)
		c->in[i] = v->in[i]->repl;
	c->repl = c;
	c->mark = NULL;
	return c;
}

Graph *graph_copy_to(Arena *arena, const Graph *g, const char *name)
{
	Graph *new = graph_new(arena, name);
	vec_reserve_(arena, (void **)&new->vals.at, &new->vals.cap, g->vals.len, sizeof *new->vals.at);
	for (int i = 0; i < g->syms.len; i++)
		graph_sym(new, g->syms.at[i].name, g->syms.at[i].bound);
	for (int i = 0; i < g->vals.len; i++) {
		Value *v = g->vals.at[i];
		v->repl = copy_value(arena, v);
		vec_push(arena, &new->vals, v->repl);
	}
	for (int i = 0; i < new->vals.len; i++)   /* a dest comes after what is placed in it */
		if (new->vals.at[i]->dest)
			new->vals.at[i]->dest = new->vals.at[i]->dest->repl;
	return new;
}

Graph *graph_copy(const Graph *g, const char *name)
{
	return graph_copy_to(g->arena, g, name);
}

void graph_redirect(Graph *g)
{
	for (int i = 0; i < g->vals.len; i++) {
		Value *v = g->vals.at[i];
		for (int k = 0; k < v->nin; k++)
			v->in[k] = v->in[k]->repl;
		if (v->dest)
			v->dest = v->dest->repl;
	}
}
