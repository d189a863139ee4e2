/* algebra.c: simplify's rules for elementwise ops and reductions. All but two (the reciprocal of a row's divisor, the
 * gradient of a softmax) keep the bits, the sign of zero aside: x*0 is not 0 where x is infinite or not a number. */
#include "passes/passes.h"

#include <math.h>
#include <stdlib.h>

/* x with v's type: x may have been broadcast by v. */
static Value *as(Builder *b, Value *v, Value *x)
{
	return b_expand(b, x, v->type);
}

static bool is_const(const Value *v, double want)
{
	double x;
	return const_value(v, &x) && x == want;
}

typedef Value *Rule(Builder *, Value *v);

static Value *neg_rule(Builder *b, Value *v)
{
	Value *x = v->in[0];
	if (x->op == OP_NEG)
		return x->in[0];
	return x->op == OP_SUB ? b_binary(b, OP_SUB, x->in[1], x->in[0]) : NULL;
}

static Value *not_rule(Builder *b, Value *v)
{
	return v->in[0]->op == OP_NOT ? v->in[0]->in[0] : NULL;
}

static Value *convert_rule(Builder *b, Value *v)
{
	return v->in[0]->type.dt == v->type.dt ? v->in[0] : NULL;
}

static Value *add_rule(Builder *b, Value *v)
{
	for (int i = 0; i < 2; i++) {
		Value *x = v->in[i], *y = v->in[1 - i];
		if (is_const(y, 0))
			return as(b, v, x);
		if (y->op == OP_NEG)
			return b_binary(b, OP_SUB, x, y->in[0]);
	}
	return NULL;
}

static Value *sub_rule(Builder *b, Value *v)
{
	Value *x = v->in[0], *y = v->in[1];
	if (is_const(y, 0))
		return as(b, v, x);
	if (is_const(x, 0) && v->type.dt == DT_F32)
		return as(b, v, b_unary(b, OP_NEG, y));
	return y->op == OP_NEG ? b_binary(b, OP_ADD, x, y->in[0]) : NULL;
}

/* The other factor of the product m, of which x is one; NULL if it is not. */
static Value *other_factor(const Value *m, const Value *x)
{
	if (m->op != OP_MUL)
		return NULL;
	return m->in[0] == x ? m->in[1] : m->in[1] == x ? m->in[0] : NULL;
}

/* Is s = sum(x p) over an axis along which r does not vary, for p = e r? Then p. */
static Value *softmax_in(const Value *s, const Value *x, const Value *e, const Value *r)
{
	if (s->op != OP_SUM || s->in[0]->op != OP_MUL)
		return NULL;
	Value *p = other_factor(s->in[0], x);
	int rank = s->type.rank;
	if (!p || other_factor(p, e) != r || r->type.rank != rank || !type_eq(x->type, p->type))
		return NULL;
	for (int i = 0; i < rank; i++)
		if (s->a.axes >> i & 1 && !dim_is(r->type.dim[i], 1))
			return NULL;
	return p;
}

/* The gradient of a softmax p = e r as it comes from that of a quotient, (g r - sum(g r p)) e, is (g - sum(g p)) p:
 * the backward half needs p alone. */
static Value *softmax_gradient(Builder *b, Value *diff, Value *e)
{
	if (diff->op != OP_SUB || diff->in[0]->op != OP_MUL)
		return NULL;
	Value *x = diff->in[0];
	for (int i = 0; i < 2; i++) {
		Value *g = x->in[i], *p = softmax_in(diff->in[1], x, e, x->in[1 - i]);
		if (!p || !type_eq(g->type, p->type))
			continue;
		Value *sum = b_reduce(b, OP_SUM, b_binary(b, OP_MUL, g, p), diff->in[1]->a.axes);
		return b_binary(b, OP_MUL, b_binary(b, OP_SUB, g, sum), p);
	}
	return NULL;
}

static Value *mul_rule(Builder *b, Value *v)
{
	double c;
	for (int i = 0; i < 2; i++) {
		Value *r = softmax_gradient(b, v->in[i], v->in[1 - i]);
		if (r)
			return r;
	}
	for (int i = 0; i < 2; i++) {
		Value *x = v->in[i], *y = v->in[1 - i];
		if (is_const(y, 1))
			return as(b, v, x);
		if (is_const(y, 0) && v->type.dt == DT_I32)
			return as(b, v, y);
		if (is_const(y, -1) && v->type.dt == DT_F32)
			return as(b, v, b_unary(b, OP_NEG, x));
		if (x->op == OP_NEG && const_value(y, &c))
			return b_binary(b, OP_MUL, x->in[0], b_const(b, DT_F32, -c));
	}
	return NULL;
}

/* One divisor for a whole row. */
static bool divides_rows(const Value *v)
{
	Type d = v->in[1]->type;
	int rank = v->type.rank;
	if (rank == 0 || dim_is(v->type.dim[rank - 1], 1))
		return false;
	return d.rank == 0 || dim_is(d.dim[d.rank - 1], 1);
}

/* Division by a power of two is a multiplication, to the bit; rows are multiplied by the reciprocal, which costs
 * one more rounding and saves a division for each element. */
static Value *div_rule(Builder *b, Value *v)
{
	double c;
	int e;
	Value *x = v->in[0], *y = v->in[1];
	if (is_const(y, 1))
		return as(b, v, x);
	if (const_value(y, &c) && fabs(frexp(c, &e)) == 0.5 && abs(e) < 100)
		return as(b, v, b_binary(b, OP_MUL, x, b_const(b, DT_F32, 1 / c)));
	if (is_const(x, 1) || !divides_rows(v))
		return NULL;
	return b_binary(b, OP_MUL, x, b_binary(b, OP_DIV, b_const(b, DT_F32, 1), y));
}

static Value *pow_rule(Builder *b, Value *v)
{
	Value *x = v->in[0];
	if (is_const(v->in[1], 1))
		return as(b, v, x);
	if (is_const(v->in[1], 2))
		return as(b, v, b_binary(b, OP_MUL, x, x));
	return is_const(v->in[1], 0.5) ? as(b, v, b_unary(b, OP_SQRT, x)) : NULL;
}

static Value *extreme_rule(Builder *b, Value *v)
{
	return v->in[0] == v->in[1] ? v->in[0] : NULL;
}

/* and, or: `unit` leaves the other operand as it is, the other constant decides. */
static Value *logic_rule(Builder *b, Value *v)
{
	double c, unit = v->op == OP_AND;
	if (v->in[0] == v->in[1])
		return v->in[0];
	for (int i = 0; i < 2; i++)
		if (const_value(v->in[i], &c))
			return as(b, v, (c != 0) == (unit != 0) ? v->in[1 - i] : v->in[i]);
	return NULL;
}

static Value *select_rule(Builder *b, Value *v)
{
	double c;
	if (const_value(v->in[0], &c))
		return as(b, v, c != 0 ? v->in[1] : v->in[2]);
	if (v->in[1] == v->in[2])
		return as(b, v, v->in[1]);
	if (v->in[0]->op == OP_NOT)
		return b_select(b, v->in[0]->in[0], v->in[2], v->in[1]);
	return NULL;
}

/* Axes of extent 1 need no reducing; a sum of negatives is the negative of the sum. */
static Value *reduce_rule(Builder *b, Value *v)
{
	if (v->op == OP_SUM && v->in[0]->op == OP_NEG)
		return b_unary(b, OP_NEG, b_reduce(b, OP_SUM, v->in[0]->in[0], v->a.axes));
	uint32_t axes = v->a.axes;
	for (int i = 0; i < v->type.rank; i++)
		if (dim_is(v->in[0]->type.dim[i], 1))
			axes &= ~(1u << i);
	if (axes == v->a.axes)
		return NULL;
	return axes ? b_reduce(b, v->op, v->in[0], axes) : v->in[0];
}

static Rule *const rules[OP_COUNT] = {
	[OP_NEG] = neg_rule, [OP_NOT] = not_rule, [OP_TO_F32] = convert_rule, [OP_TO_I32] = convert_rule,
	[OP_ADD] = add_rule, [OP_SUB] = sub_rule, [OP_MUL] = mul_rule, [OP_DIV] = div_rule, [OP_POW] = pow_rule,
	[OP_MAX] = extreme_rule, [OP_MIN] = extreme_rule, [OP_AND] = logic_rule, [OP_OR] = logic_rule,
	[OP_SELECT] = select_rule, [OP_SUM] = reduce_rule, [OP_RMAX] = reduce_rule,
};

/* The operand without its stretching. A const becomes a scalar one: it stretches by itself. */
static Value *unstretched(Builder *b, Value *x)
{
	if (x->op == OP_EXPAND)
		return x->in[0];
	if (x->op == OP_CONST && x->type.rank > 0)
		return b_const(b, x->type.dt, x->a.value);
	return x;
}

/* Elementwise ops stretch their operands themselves: expansions in front of one go away, or behind it where
 * nothing else has the full shape, so that it is computed on the small one. */
static Value *stretch_rule(Builder *b, Value *v)
{
	if (!(op_info[v->op].flags & OPF_ELEMENTWISE) || v->op == OP_COPY)
		return NULL;
	Value *in[3];
	bool any = false;
	for (int i = 0; i < v->nin; i++) {
		in[i] = unstretched(b, v->in[i]);
		any |= in[i] != v->in[i];
	}
	return any ? as(b, v, build(b, v->op, in, v->nin, &v->a, NULL)) : NULL;
}

Value *simplify_algebra(Builder *b, Value *v)
{
	Value *r = rules[v->op] ? rules[v->op](b, v) : NULL;
	return r ? r : stretch_rule(b, v);
}
