/* raise_mask.c: which keys a query may see by their positions, read off comparisons of indices: key <= query is causal,
 * query - key < w a window. What else a mask says stays a mask. */
#include "passes/raise.h"

#include <math.h>

/* A value that counts along one axis of the scores: position + add. */
typedef struct Counts { bool good, last; int axis; const Dim *extent; double add; } Counts;

static const Counts no_count = { 0 };

/* The axis of the reshaped value before which as much stands. */
static int reshaped_axis(const Value *v, int axis)
{
	const Dim *before = dim_const(1), *sofar = dim_const(1);
	for (int i = 0; i < axis; i++)
		before = dim_mul(before, v->in[0]->type.dim[i]);
	for (int i = 0; i < v->type.rank; i++) {
		if (sofar == before && v->type.dim[i] == v->in[0]->type.dim[axis])
			return i;
		sofar = dim_mul(sofar, v->type.dim[i]);
	}
	return -1;
}

static Counts counts(const Value *v);

static Counts shifted(const Value *v)
{
	double x;
	for (int i = 0; i < 2; i++) {
		if (!const_value(v->in[1 - i], &x) || (v->op == OP_SUB && i == 1))
			continue;
		Counts c = counts(v->in[i]);
		c.axis += v->type.rank - v->in[i]->type.rank;
		c.add += v->op == OP_SUB ? -x : x;
		return c;
	}
	return no_count;
}

static Counts sliced(const Value *v)
{
	Counts c = counts(v->in[0]);
	if (!c.good || v->a.axis != c.axis)
		return c;
	c.last = dim_is(v->a.len, 1) && v->a.start == dim_sub(c.extent, dim_const(1));
	c.good = c.last;
	return c;
}

static Counts transposed(const Value *v)
{
	Counts c = counts(v->in[0]);
	for (int i = 0; i < v->type.rank && c.good; i++)
		if (v->a.perm[i] == c.axis) {
			c.axis = i;
			return c;
		}
	return no_count;
}

/* Along which axis v counts, in its own axes. */
static Counts counts(const Value *v)
{
	Counts c;
	switch (v->op) {
	case OP_IOTA: return (Counts){ true, false, v->a.axis, v->type.dim[v->a.axis], 0 };
	case OP_ADD: case OP_SUB: return shifted(v);
	case OP_SLICE: return sliced(v);
	case OP_TRANSPOSE: return transposed(v);
	case OP_TO_F32: case OP_TO_I32: return counts(v->in[0]);
	case OP_EXPAND:
		c = counts(v->in[0]);
		c.axis += v->type.rank - v->in[0]->type.rank;
		return c;
	case OP_RESHAPE:
		c = counts(v->in[0]);
		c.axis = c.good ? reshaped_axis(v, c.axis) : -1;
		c.good &= c.axis >= 0;
		return c;
	default: return no_count;
	}
}

/* v as an operand of what has the scores' rank: is it the position of the key, or of the query? */
static bool is_key(const Raised *r, Counts c, int rank)
{
	return c.good && !c.last && c.axis + r->type.rank - rank == r->at.key;
}

static bool is_query(const Raised *r, Counts c, int rank)
{
	const Dim *S = r->type.dim[r->at.key];
	return c.good && c.extent == S && (c.last || c.axis + r->type.rank - rank == r->at.query);
}

/* a <= b + d. True if that is said now by causal or window alone. */
static bool take(Raised *r, const Value *m, Value *a, Value *b, double d)
{
	Counts x = counts(a), y = counts(b);
	int rank = m->type.rank;
	x.axis += rank - a->type.rank;
	y.axis += rank - b->type.rank;
	d += y.add - x.add;
	if (is_key(r, x, rank) && is_query(r, y, rank) && d <= 0) {
		r->causal = true;
		return d == 0;
	}
	if (!is_query(r, x, rank) || !is_key(r, y, rank) || d < 0 || d >= 1 << 30)
		return false;
	int window = (int)floor(d) + 1;
	r->window = r->window ? MIN(r->window, window) : window;
	return true;
}

/* True if m (or its negation) is said by causal and window. */
static bool by_positions(Raised *r, const Value *m, bool negated)
{
	bool whole = m->nin == 2 && m->in[0]->type.dt == DT_I32;
	if (m->op == OP_NOT)
		return by_positions(r, m->in[0], !negated);
	if (m->op == OP_EXPAND)
		return m->in[0]->type.rank == m->type.rank && by_positions(r, m->in[0], negated);
	if ((m->op != OP_LE && m->op != OP_LT) || !whole)
		return false;
	if (negated)   /* not a <= b: b <= a - 1; not a < b: b <= a */
		return take(r, m, m->in[1], m->in[0], m->op == OP_LE ? -1 : 0);
	return take(r, m, m->in[0], m->in[1], m->op == OP_LE ? 0 : -1);
}

/* The parts that all have to hold. */
static void split(Builder *b, Raised *r, Value *m, bool negated, Value **rest)
{
	if (m->op == (negated ? OP_OR : OP_AND)) {
		split(b, r, m->in[0], negated, rest);
		split(b, r, m->in[1], negated, rest);
	} else if (m->op == OP_NOT) {
		split(b, r, m->in[0], !negated, rest);
	} else if (!by_positions(r, m, negated)) {
		m = negated ? b_unary(b, OP_NOT, m) : m;
		*rest = *rest ? b_binary(b, OP_AND, *rest, m) : m;
	}
}

void raise_positions(Builder *b, Raised *r)
{
	Value *rest = NULL;
	for (int i = 0; i < r->masks.len; i++)
		split(b, r, r->masks.at[i], false, &rest);
	r->masks.len = 0;
	if (rest)
		vec_push(b->g->arena, &r->masks, rest);
}
