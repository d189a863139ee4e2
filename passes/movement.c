/* movement.c: simplify's rules for views, concatenation, padding and scattering. What decides is the normal form
 * of dims: a slice lies inside an operand only if the difference of their ends is a constant of the right sign. */
#include "passes/passes.h"

typedef Value *Rule(Builder *, Value *v);

/* 0 <= d for every value of its symbols, as far as constants tell */
static bool not_negative(const Dim *d)
{
	int64_t n;
	return dim_is_const(d, &n) && n >= 0;
}

static bool at_most(const Dim *a, const Dim *b)
{
	return not_negative(dim_sub(b, a));
}

static Value *reshape_rule(Builder *b, Value *v)
{
	Value *x = v->in[0];
	if (type_eq(x->type, v->type))
		return x;
	return x->op == OP_RESHAPE ? b_reshape(b, x->in[0], v->type) : NULL;
}

/* Axes of extent 1 may go anywhere: if the others keep their order it is a reshape. */
static bool order_kept(const Value *v)
{
	int last = -1;
	for (int i = 0; i < v->type.rank; i++) {
		if (dim_is(v->type.dim[i], 1))
			continue;
		if (v->a.perm[i] < last)
			return false;
		last = v->a.perm[i];
	}
	return true;
}

static Value *transpose_rule(Builder *b, Value *v)
{
	Value *x = v->in[0];
	int8_t perm[MAX_RANK] = { 0 };
	if (order_kept(v))
		return b_reshape(b, x, v->type);
	if (x->op != OP_TRANSPOSE)
		return NULL;
	for (int i = 0; i < v->type.rank; i++)
		perm[i] = x->a.perm[v->a.perm[i]];
	return b_transpose(b, x->in[0], perm);
}

/* The slice lies within one operand of the concatenation. */
static Value *slice_of_concat(Builder *b, Value *v)
{
	Value *x = v->in[0];
	const Dim *end = dim_add(v->a.start, v->a.len), *at = dim_const(0);
	for (int i = 0; i < x->nin; i++) {
		const Dim *next = dim_add(at, x->in[i]->type.dim[v->a.axis]);
		if (at_most(at, v->a.start) && at_most(end, next))
			return b_slice(b, x->in[i], v->a.axis, dim_sub(v->a.start, at), v->a.len);
		at = next;
	}
	return NULL;
}

static Value *slice_of_pad(Builder *b, Value *v)
{
	Value *x = v->in[0];
	const Dim *first = x->a.lo, *last = dim_add(first, x->in[0]->type.dim[v->a.axis]);
	const Dim *end = dim_add(v->a.start, v->a.len);
	if (at_most(first, v->a.start) && at_most(end, last))
		return b_slice(b, x->in[0], v->a.axis, dim_sub(v->a.start, first), v->a.len);
	if (at_most(end, first) || at_most(last, v->a.start))
		return build(b, OP_CONST, NULL, 0, &(Attrs){ .value = 0 }, &v->type);
	return NULL;
}

/* Along a stretched axis all slices are alike. */
static Value *slice_of_expand(Builder *b, Value *v)
{
	Value *x = v->in[0]->in[0];
	int axis = v->a.axis - (v->type.rank - x->type.rank);
	return axis < 0 || dim_is(x->type.dim[axis], 1) ? b_expand(b, x, v->type) : NULL;
}

static Value *slice_rule(Builder *b, Value *v)
{
	Value *x = v->in[0];
	if (type_eq(x->type, v->type) && dim_is(v->a.start, 0))
		return x;
	if (x->op == OP_EXPAND)
		return slice_of_expand(b, v);
	if (x->op != OP_SLICE && x->op != OP_CONCAT && x->op != OP_PAD)
		return NULL;
	if (x->a.axis != v->a.axis)
		return NULL;
	if (x->op == OP_SLICE)
		return b_slice(b, x->in[0], v->a.axis, dim_add(x->a.start, v->a.start), v->a.len);
	return x->op == OP_CONCAT ? slice_of_concat(b, v) : slice_of_pad(b, v);
}

static Value *expand_rule(Builder *b, Value *v)
{
	Value *x = v->in[0];
	if (type_eq(x->type, v->type))
		return x;
	return x->op == OP_EXPAND ? b_expand(b, x->in[0], v->type) : NULL;
}

/* A concatenation inside one along the same axis is one. */
static Value *concat_rule(Builder *b, Value *v)
{
	Vec(Value *) parts = { 0 };
	for (int i = 0; i < v->nin; i++) {
		Value *x = v->in[i];
		bool same = x->op == OP_CONCAT && x->a.axis == v->a.axis;
		for (int k = 0; k < (same ? x->nin : 1); k++)
			vec_push(b->g->arena, &parts, same ? x->in[k] : x);
	}
	return parts.len == v->nin && v->nin > 1 ? NULL : b_concat(b, parts.at, parts.len, v->a.axis);
}

static Value *pad_rule(Builder *b, Value *v)
{
	Value *x = v->in[0];
	if (dim_is(v->a.lo, 0) && dim_is(v->a.hi, 0))
		return x;
	if (x->op != OP_PAD || x->a.axis != v->a.axis)
		return NULL;
	return b_pad(b, x->in[0], v->a.axis, dim_add(v->a.lo, x->a.lo), dim_add(x->a.hi, v->a.hi));
}

typedef struct Terms { int n; Value *at[16]; } Terms;

/* The terms of a tree of additions whose inner nodes have no other use. False if there are too many. */
static bool collect_terms(Value *v, bool root, Type t, Terms *sum)
{
	if (v->op == OP_ADD && (root || v->uses == 1) && type_eq(v->type, t))
		return collect_terms(v->in[0], false, t, sum) && collect_terms(v->in[1], false, t, sum);
	if (sum->n == COUNT(sum->at))
		return false;
	sum->at[sum->n++] = v;
	return true;
}

/* Puts first among terms[from..] the pad that begins where `at` is; false if there is none. */
static bool next_pad(Terms *sum, int from, const Dim *at)
{
	for (int i = from; i < sum->n; i++)
		if (sum->at[i]->a.lo == at) {
			Value *v = sum->at[i];
			sum->at[i] = sum->at[from];
			sum->at[from] = v;
			return true;
		}
	return false;
}

/* The term that nobody's end meets begins the row. */
static const Dim *first_start(const Terms *sum, int axis)
{
	for (int i = 0; i < sum->n; i++) {
		bool follows = false;
		for (int k = 0; k < sum->n; k++) {
			const Value *p = sum->at[k];
			follows |= dim_add(p->a.lo, p->in[0]->type.dim[axis]) == sum->at[i]->a.lo;
		}
		if (!follows)
			return sum->at[i]->a.lo;
	}
	return dim_const(0);
}

/* Pads that lie side by side along one axis add up to a pad of their concatenation: what the gradients of
 * slices of one value (q, k, v) are. */
static Value *add_of_pads(Builder *b, Value *v)
{
	Terms sum = { 0 };
	Value *parts[COUNT(sum.at)];
	if (!collect_terms(v, true, v->type, &sum))
		return NULL;
	int axis = sum.at[0]->a.axis;
	for (int i = 0; i < sum.n; i++)
		if (sum.at[i]->op != OP_PAD || sum.at[i]->a.axis != axis || !type_eq(sum.at[i]->type, v->type))
			return NULL;
	const Dim *lo = first_start(&sum, axis), *at = lo;
	for (int i = 0; i < sum.n; i++) {
		if (!next_pad(&sum, i, at))
			return NULL;
		parts[i] = sum.at[i]->in[0];
		at = dim_add(at, parts[i]->type.dim[axis]);
	}
	return b_pad(b, b_concat(b, parts, sum.n, axis), axis, lo, sum.at[sum.n - 1]->a.hi);
}

/* x + scatter_add(y, ids, rows) = scatter_add(x + y, ids, rows), in place then; where y is 0 the sum goes. The rows
 * are added in another order. */
static Value *add_of_scatter(Builder *b, Value *v)
{
	for (int i = 0; i < 2; i++) {
		Value *s = v->in[i], *x = v->in[1 - i];
		if (s->op != OP_SCATTER_ADD || s->uses != 1 || !type_eq(x->type, v->type) || !type_eq(s->type, v->type))
			continue;
		double y;
		bool zero = const_value(s->in[0], &y) && y == 0;
		Value *base = zero ? x : b_binary(b, OP_ADD, x, s->in[0]);
		return b_scatter_add(b, base, s->in[1], s->in[2]);
	}
	return NULL;
}

/* select(c, scatter_add(y, ids, rows) + x, the same scatter_add), as sums of gradients are: the rows are added to
 * select(c, y + x, y). */
static Value *select_rule(Builder *b, Value *v)
{
	Value *sum = v->in[1], *s = v->in[2];
	if (sum->op != OP_ADD || sum->uses != 1 || s->op != OP_SCATTER_ADD || s->uses != 2 || !type_eq(sum->type, v->type))
		return NULL;
	if (!type_eq(s->type, v->type) || (sum->in[0] != s && sum->in[1] != s))
		return NULL;
	Value *x = sum->in[sum->in[0] == s];
	Value *base = b_select(b, v->in[0], b_binary(b, OP_ADD, s->in[0], x), s->in[0]);
	return b_scatter_add(b, base, s->in[1], s->in[2]);
}

static Value *add_rule(Builder *b, Value *v)
{
	Value *r = add_of_scatter(b, v);
	return r ? r : add_of_pads(b, v);
}

/* A contraction reads its operands in any order of axes. */
static Value *contract_rule(Builder *b, Value *v)
{
	Spec s;
	Value *in[2] = { v->in[0], v->in[1] };
	if (spec_parse(v->a.spec, &s))
		return NULL;
	for (int side = 0; side < 2; side++) {
		Value *x = in[side];
		char old[MAX_RANK + 1];
		if (x->op != OP_TRANSPOSE)
			continue;
		memcpy(old, s.at[side], sizeof old);
		for (int i = 0; i < s.n[side]; i++)
			s.at[side][x->a.perm[i]] = old[i];
		in[side] = x->in[0];
	}
	if (in[0] == v->in[0] && in[1] == v->in[1])
		return NULL;
	return b_contract(b, in[0], in[1], internf("%s,%s->%s", s.at[0], s.at[1], s.at[2]));
}

static Rule *const rules[OP_COUNT] = {
	[OP_RESHAPE] = reshape_rule, [OP_TRANSPOSE] = transpose_rule, [OP_SLICE] = slice_rule, [OP_EXPAND] = expand_rule,
	[OP_CONCAT] = concat_rule, [OP_PAD] = pad_rule, [OP_ADD] = add_rule, [OP_CONTRACT] = contract_rule,
	[OP_SELECT] = select_rule,
};

Value *simplify_movement(Builder *b, Value *v)
{
	return rules[v->op] ? rules[v->op](b, v) : NULL;
}
