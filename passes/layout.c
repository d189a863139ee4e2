/* layout.c: makes every operand of every future kernel resolvable (docs/ir.md, "Kernels"): reductions one kernel
 * can do, contractions canonical and packed, copies in front of reshapes that no strides describe, and places for
 * what is computed into other values' memory.
 *
 * After it, view_of() holds for every value; values that exist nowhere in memory (constants, indices, random
 * numbers) are read by elementwise ops and reductions alone. */
#include "passes/layout.h"

Value *with_axes(Builder *b, Value *x, int rank, const Dim *const *dims)
{
	Type t = type_make(x->type.dt, rank, dims);
	return type_eq(t, x->type) ? x : b_reshape(b, x, t);
}

/* A reshape that strides can't describe reads a copy. */
static Value *legal_reshape(Builder *b, Value *v)
{
	View w;
	if (view_of(v, &w))
		return NULL;
	return b_reshape(b, b_unary(b, OP_COPY, v->in[0]), v->type);
}

static Value *legal(Builder *b, Value *v)
{
	switch (v->op) {
	case OP_SUM: case OP_RMAX: return legal_reduce(b, v->op, v->in[0], v->a.axes);
	case OP_CONTRACT: return legal_contract(b, v->in[0], v->in[1], v->a.spec, false, v->mark);
	case OP_RESHAPE: return legal_reshape(b, v);
	default: return NULL;
	}
}

static Value *legal_ahead(Builder *b, Value *v)
{
	if (v->op != OP_CONTRACT)
		return legal(b, v);
	return legal_contract(b, v->in[0], v->in[1], v->a.spec, true, v->mark);
}

static void mark(void *v, Value *nonzero)
{
	((Value *)v)->mark = nonzero;
}

/* Marks what has a counted extent (the attributes of contractions have none). */
static void mark_counted(Graph *g)
{
	Counted *c = counted_of(g->arena, g);
	for (int i = 0; i < g->vals.len; i++) {
		g->vals.at[i]->mark = NULL;
		counted_uses(c, g->vals.at[i], mark, g->vals.at[i]);
	}
}

static void lay_out(Graph *g, RewriteRule *rule)
{
	layout_fold(g);
	dce(g);
	mark_counted(g);
	graph_number(g);
	graph_rewrite(g, rule);
	dce(g);
	layout_place(g);
	dce(g);
}

void layout(Graph *g)
{
	lay_out(g, legal);
}

void layout_packed(Graph *g)
{
	lay_out(g, legal_ahead);
}
