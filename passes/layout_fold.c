/* layout_fold.c: views that need no memory. A constant or an index seen through a view is another constant or index;
 * elementwise ops broadcast by themselves, so an expand goes below them or away; a contraction writes the
 * order its only reader wants; a concat of reshaped pieces is a reshaped concat, whose pieces can be computed
 * in place. */
#include "passes/layout.h"

static Value *constant(Builder *b, const Value *v, Type t)
{
	return build(b, OP_CONST, NULL, 0, &v->a, &t);
}

static Value *index_of(Builder *b, const Value *v, int axis, Type t)
{
	Type given = t;
	given.dt = v->type.dt;
	return b_iota(b, axis, given);
}

/* The axis of the reshaped index along which it counts: reshapes that only add or drop axes of extent 1. -1: others. */
static int counted_axis(const Value *index, const Type *to)
{
	int at = -1, i = 0;
	for (int k = 0; k < to->rank; k++) {
		if (dim_is(to->dim[k], 1))
			continue;
		while (i < index->type.rank && dim_is(index->type.dim[i], 1))
			i++;
		if (i == index->type.rank || index->type.dim[i] != to->dim[k])
			return -1;
		if (i == index->a.axis)
			at = k;
		i++;
	}
	return at;
}

static Value *fold_reshape(Builder *b, Value *v)
{
	Value *x = v->in[0];
	if (x->op == OP_CONST)
		return constant(b, x, v->type);
	if (x->op != OP_IOTA)
		return NULL;
	int axis = counted_axis(x, &v->type);
	return axis < 0 ? NULL : index_of(b, x, axis, v->type);
}

static Value *fold_expand(Builder *b, Value *v)
{
	Value *x = v->in[0];
	if (type_eq(x->type, v->type))
		return x;
	if (x->op == OP_CONST)
		return constant(b, x, v->type);
	int axis = x->a.axis + v->type.rank - x->type.rank;
	bool counts = x->op == OP_IOTA && x->type.dim[x->a.axis] == v->type.dim[axis];
	return counts ? index_of(b, x, axis, v->type) : NULL;
}

static Value *fold_slice(Builder *b, Value *v)
{
	return v->in[0]->op == OP_CONST ? constant(b, v->in[0], v->type) : NULL;
}

static bool is_batch(const Spec *s, char c)
{
	return strchr(s->at[0], c) && strchr(s->at[1], c);
}

/* transpose(contract): the contraction in the transposed order, unless that puts a batch letter innermost. */
static Value *fold_contract(Builder *b, Value *v, Value *c)
{
	Spec s;
	char out[MAX_RANK + 1] = {0};
	if (spec_parse(c->a.spec, &s))
		return NULL;
	for (int i = 0; i < s.n[2]; i++)
		out[i] = s.at[2][v->a.perm[i]];
	if (is_batch(&s, out[s.n[2] - 1]))
		return NULL;
	return b_contract(b, c->in[0], c->in[1], internf("%s,%s->%s", s.at[0], s.at[1], out));
}

static Value *fold_transpose(Builder *b, Value *v)
{
	Value *x = v->in[0];
	bool same = true;
	for (int i = 0; i < v->type.rank; i++) {
		same &= v->a.perm[i] == i;
		if (x->op == OP_IOTA && v->a.perm[i] == x->a.axis)
			return index_of(b, x, i, v->type);
	}
	if (same)
		return x;
	if (x->op == OP_CONST)
		return constant(b, x, v->type);
	return x->op == OP_CONTRACT && x->uses == 1 ? fold_contract(b, v, x) : NULL;
}

/* Elementwise over expands: over what they expand; the result is expanded if it turned out smaller. */
static Value *fold_expanded(Builder *b, Value *v)
{
	Value *in[3];
	Type t;
	bool found = false;
	for (int i = 0; i < v->nin; i++) {
		in[i] = v->in[i];
		for (; in[i]->op == OP_EXPAND; found = true)
			in[i] = in[i]->in[0];
	}
	if (!found || op_type(v->op, in, v->nin, &v->a, &t))
		return NULL;
	Value *r = build(b, v->op, in, v->nin, &v->a, NULL);
	return type_eq(r->type, v->type) ? r : b_expand(b, r, v->type);
}

/* Does the reshape only add or drop axes of extent 1? */
static bool only_units(const Type *a, const Type *b)
{
	int i = 0;
	for (int k = 0; k < b->rank; k++) {
		if (dim_is(b->dim[k], 1))
			continue;
		while (i < a->rank && dim_is(a->dim[i], 1))
			i++;
		if (i == a->rank || a->dim[i++] != b->dim[k])
			return false;
	}
	while (i < a->rank && dim_is(a->dim[i], 1))
		i++;
	return i == a->rank;
}

/* o, which broadcasts to the shape `from`, as what broadcasts alike to `to`, `from` but for axes of extent 1. */
static Value *respread(Builder *b, Value *o, const Type *from, const Type *to)
{
	const Dim *dims[MAX_RANK];
	int k = from->rank - 1;
	if (!o->type.rank)
		return o;
	for (int i = to->rank - 1; i >= 0; i--) {
		dims[i] = dim_const(1);
		if (dim_is(to->dim[i], 1))
			continue;
		while (dim_is(from->dim[k], 1))
			k--;
		int at = k-- - (from->rank - o->type.rank);
		if (at >= 0)
			dims[i] = o->type.dim[at];
	}
	return with_axes(b, o, to->rank, dims);
}

static bool computed(const Value *v)
{
	Lower l = op_info[v->op].lower;
	return l != LOWER_NONE && !(op_info[v->op].flags & OPF_SOURCE);
}

static bool reshapes(const Value *v, const Type *from)
{
	return v->op == OP_RESHAPE && type_same_dims(&v->in[0]->type, from);
}

/* Elementwise behind a result whose axes of extent 1 were dropped or added: done in the result's own shape, so that
 * both can be one kernel; the reshape goes behind. */
static Value *fold_units(Builder *b, Value *v)
{
	Value *in[3], *x = NULL;
	for (int i = 0; i < v->nin && !x; i++) {
		const Value *r = v->in[i];
		if (r->op == OP_RESHAPE && type_same_dims(&r->type, &v->type) && computed(r->in[0]) && only_units(&r->in[0]->type, &r->type))
			x = r->in[0];
	}
	if (!x || type_same_dims(&x->type, &v->type))
		return NULL;
	for (int i = 0; i < v->nin; i++)
		in[i] = reshapes(v->in[i], &x->type) ? v->in[i]->in[0] : respread(b, v->in[i], &v->type, &x->type);
	return b_reshape(b, build(b, v->op, in, v->nin, &v->a, NULL), v->type);
}

/* One value a row of p. */
static bool narrow(const Value *x, const Value *p)
{
	return x->type.rank == p->type.rank && dim_is(x->type.dim[p->type.rank - 1], 1);
}

/* p = e / s or e (1 / s), with e = exp(..) and s one value a row: s, and *e; else NULL. */
static Value *softmax_sum(const Value *p, Value **e)
{
	if (p->op != OP_DIV && p->op != OP_MUL)
		return NULL;
	int at = p->in[0]->op == OP_EXP ? 0 : 1;
	Value *other = p->in[!at];
	*e = p->in[at];
	if ((*e)->op != OP_EXP || !narrow(other, p))
		return NULL;
	if (p->op == OP_DIV)
		return at == 0 ? other : NULL;
	bool inverse = other->op == OP_DIV && other->in[0]->op == OP_CONST && other->in[0]->a.value == 1;
	return inverse && narrow(other->in[1], p) ? other->in[1] : NULL;
}

/* The e of a softmax p read by p's backward part: p s, since p is kept for a contraction anyway (marked in e). */
static Value *fold_softmax_exp(Builder *b, Value *v)
{
	Value *in[3], *same;
	bool found = false;
	for (int i = 0; i < v->nin; i++) {
		Value *e = in[i] = v->in[i], *p = e->op == OP_EXP && !e->grad && e->mark ? ((Value *)e->mark)->repl : NULL;
		Value *s = p && v->grad ? softmax_sum(p, &same) : NULL;
		if (!s || same != e)
			continue;
		in[i] = b_binary(b, OP_MUL, p, s);
		found = true;
	}
	return found ? build(b, v->op, in, v->nin, &v->a, NULL) : NULL;
}

/* The axis of x's shape where the concat's axis begins, such that pieces of x's shape join there; -1: none. */
static int joining_axis(const Value *concat, const Value *x)
{
	const Dim *before = dim_const(1), *sofar = dim_const(1);
	for (int i = 0; i < concat->a.axis; i++)
		before = dim_mul(before, concat->type.dim[i]);
	for (int p = 0; p < x->type.rank; p++) {
		if (sofar == before && (!dim_is(x->type.dim[p], 1) || p == x->type.rank - 1))
			return p;
		sofar = dim_mul(sofar, x->type.dim[p]);
	}
	return -1;
}

static bool joins(const Type *a, const Type *b, int axis)
{
	if (a->rank != b->rank)
		return false;
	for (int i = 0; i < a->rank; i++)
		if (i != axis && a->dim[i] != b->dim[i])
			return false;
	return true;
}

static Value *fold_concat(Builder *b, Value *v)
{
	Value **in = NEW_ARRAY(b->g->arena, Value *, v->nin);
	int axis = v->in[0]->op == OP_RESHAPE ? joining_axis(v, v->in[0]->in[0]) : -1;
	if (axis < 0)
		return NULL;
	for (int i = 0; i < v->nin; i++) {
		in[i] = v->in[i]->in[0];
		if (v->in[i]->op != OP_RESHAPE || !joins(&in[i]->type, &in[0]->type, axis))
			return NULL;
	}
	return b_reshape(b, b_concat(b, in, v->nin, axis), v->type);
}

/* The rows 0, 1, .. of a table are a slice of it. */
static Value *fold_gather(Builder *b, Value *v)
{
	Value *table = v->in[0], *ids = v->in[1];
	int64_t rows, n;
	if (ids->op != OP_IOTA || ids->type.rank != 1 || !dim_is_const(table->type.dim[0], &rows))
		return NULL;
	if (!graph_bound(b->g, ids->type.dim[0], &n) || n > rows)
		return NULL;
	return b_slice(b, table, 0, dim_const(0), ids->type.dim[0]);
}

/* A reduction of what was stretched: of the thing itself, stretched afterwards; a sum counts each element as often as
 * it was repeated along the reduced axes. */
static Value *fold_reduce(Builder *b, Value *v)
{
	Value *x = v->in[0];
	const Dim *dims[MAX_RANK], *times = dim_const(1);
	if (x->op != OP_EXPAND)
		return NULL;
	Type t = x->type, from = x->in[0]->type;
	for (int i = 0; i < t.rank; i++) {
		int k = i - (t.rank - from.rank);
		dims[i] = k < 0 ? dim_const(1) : from.dim[k];
		if (v->a.axes >> i & 1 && dims[i] != t.dim[i])
			times = dim_mul(times, t.dim[i]);
	}
	Value *r = b_reduce(b, v->op, with_axes(b, x->in[0], t.rank, dims), v->a.axes);
	if (v->op == OP_SUM && !dim_is(times, 1)) {
		Value *n = b_dim(b, times);
		r = b_binary(b, OP_MUL, r, v->type.dt == DT_F32 ? b_convert(b, n, DT_F32) : n);
	}
	return type_eq(r->type, v->type) ? r : b_expand(b, r, v->type);
}

/* Rows 0, 1, .. added to: the sum with the rows and zeros behind. */
static Value *fold_scatter(Builder *b, Value *v)
{
	Value *base = v->in[0], *ids = v->in[1];
	int64_t rows, n;
	if (ids->op != OP_IOTA || ids->type.rank != 1 || !dim_is_const(base->type.dim[0], &rows))
		return NULL;
	if (!graph_bound(b->g, ids->type.dim[0], &n) || n > rows)
		return NULL;
	Value *x = v->in[2];
	if (ids->type.dim[0] != base->type.dim[0])
		x = b_pad(b, x, 0, dim_const(0), dim_sub(base->type.dim[0], ids->type.dim[0]));
	return b_binary(b, OP_ADD, base, x);
}

static Value *fold_elementwise(Builder *b, Value *v)
{
	static Value *(*const rules[])(Builder *, Value *) = { fold_expanded, fold_units, fold_softmax_exp };
	Value *last = NULL;
	for (int i = 0; i < COUNT(rules) && op_info[v->op].flags & OPF_ELEMENTWISE; i++) {
		Value *r = rules[i](b, v);
		if (r)
			last = v = r;
	}
	return last;
}

static Value *fold(Builder *b, Value *v)
{
	if (op_info[v->op].flags & OPF_ELEMENTWISE)
		return fold_elementwise(b, v);
	switch (v->op) {
	case OP_RESHAPE: return fold_reshape(b, v);
	case OP_EXPAND: return fold_expand(b, v);
	case OP_SLICE: case OP_WINDOWS: return fold_slice(b, v);
	case OP_TRANSPOSE: return fold_transpose(b, v);
	case OP_CONCAT: return fold_concat(b, v);
	case OP_GATHER: return fold_gather(b, v);
	case OP_SCATTER_ADD: return fold_scatter(b, v);
	case OP_SUM: case OP_RMAX: return fold_reduce(b, v);
	default: return NULL;
	}
}

/* In the mark of an e^x: the softmax made of it that a contraction reads through views. */
static void find_softmax(Graph *g)
{
	for (int i = 0; i < g->vals.len; i++)
		g->vals.at[i]->mark = NULL;
	for (int i = 0; i < g->vals.len; i++) {
		Value *c = g->vals.at[i], *e;
		for (int k = 0; c->op == OP_CONTRACT && k < 2; k++) {
			Value *p = view_base(c->in[k]);
			if (softmax_sum(p, &e))
				e->mark = p;
		}
	}
}

void layout_fold(Graph *g)
{
	find_softmax(g);
	graph_number(g);
	graph_rewrite(g, fold);
}
