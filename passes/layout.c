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

/* A copy of x, of which those who share a kernel share one: they follow each other in the graph (passes/flash.c). */
static Value *shared_copy(Builder *b, Value *x)
{
	enum { NEAR = 64 };
	for (int i = b->g->vals.len - 1; i >= MAX(0, b->g->vals.len - NEAR); i--) {
		Value *v = b->g->vals.at[i];
		if (v->op == OP_COPY && v->in[0] == x && !v->dest)
			return v;
	}
	return b_unary(b, OP_COPY, x);
}

/* Rows that kernels read in vectors lie one element behind the other. */
static Value *legal_flash(Builder *b, Value *v)
{
	Value *in[10];
	bool good = true;
	for (int i = 0; i < v->nin; i++) {
		bool dense = flash_dense(v, i);
		in[i] = dense ? v->in[i] : shared_copy(b, v->in[i]);
		good &= dense;
	}
	return good ? NULL : build(b, v->op, in, v->nin, &v->a, NULL);
}

static Value *legal(Builder *b, Value *v)
{
	if (op_info[v->op].lower == LOWER_FLASH)
		return legal_flash(b, v);
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
