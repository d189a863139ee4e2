/* select.c: functions that find and fetch elements: gather, argmax, top_k, nonzero. Ties go to the lowest index. */
#include "frontend/elab.h"

#include <math.h>

static const Val poison = { .kind = V_POISON };

static Value *i32(Builder *b, int64_t n) { return b_const(b, DT_I32, (double)n); }

/* Below all numbers that count; finite, so that no kernel meets inf - inf. */
static const double LOWEST = -3e38;

static Value *dim_value(Elab *e, const Dim *d)
{
	int64_t n;
	return dim_is_const(d, &n) ? i32(&e->b, n) : b_dim(&e->b, d);
}

static bool is_ids(Val v)
{
	return v.kind == V_TENSOR && v.t->type.dt == DT_I32;
}

/* gather */

static int common_axes(Type x, Type ids)
{
	int n = 0;
	while (n < ids.rank && n < x.rank - 1 && x.dim[n] == ids.dim[n])
		n++;
	return n;
}

/* The axis that ids index: the one asked for, else the one whose dim they are ids of, else the one behind the axes that both
 * have in common. -1 after an error. */
static int gathered_axis(Call *c, Val x, Val ids)
{
	Type t = x.t->type;
	int found = -1, n = 0;
	if (c->expr[2])
		return axis_of(c->e, x, c->arg[2], c->expr[2], arg_loc(c, 2));
	for (int i = 0; i < t.rank && ids.rows; i++)
		if (t.dim[i] == ids.rows)
			found = i, n++;
	return n == 1 ? found : common_axes(t, ids.t->type);
}

/* Indices out of range of n become -1, which fetches zeros. */
static Value *in_range(Elab *e, Value *ids, const Dim *n)
{
	Builder *b = &e->b;
	Value *ok = b_binary(b, OP_AND, b_binary(b, OP_LE, i32(b, 0), ids), b_binary(b, OP_LT, ids, dim_value(e, n)));
	return b_select(b, ok, ids, i32(b, -1));
}

static const Dim *product(Type t, int from, int to)
{
	const Dim *p = dim_const(1);
	for (int i = from; i < to; i++)
		p = dim_mul(p, t.dim[i]);
	return p;
}

/* Row numbers in x with its first axes up to `axis` made one: the batch's number times the extent, and the index. */
static Value *flat_ids(Elab *e, Value *ids, Type x, int axis)
{
	Builder *b = &e->b;
	Type flat = { DT_I32, 2, { product(ids->type, 0, axis), product(ids->type, axis, ids->type.rank) } };
	Value *row = b_iota(b, 0, type_make(DT_I32, 2, (const Dim *[]){ flat.dim[0], dim_const(1) }));
	Value *at = b_reshape(b, ids, flat);
	Value *all = b_binary(b, OP_ADD, at, b_binary(b, OP_MUL, row, dim_value(e, x.dim[axis])));
	all = b_select(b, b_binary(b, OP_LE, i32(b, 0), at), all, i32(b, -1));
	return b_reshape(b, all, type_make(DT_I32, 1, (const Dim *[]){ dim_mul(flat.dim[0], flat.dim[1]) }));
}

/* x (A..,N,C..), ids (A..,I..) of N: (A..,I..,C..) */
static Value *gather_batched(Elab *e, Value *x, Value *ids, int axis)
{
	Builder *b = &e->b;
	Type t = x->type, table = { t.dt, 1, { product(t, 0, axis + 1) } }, out = { t.dt, 0, {0} };
	for (int i = 0; i < ids->type.rank; i++)
		out.dim[out.rank++] = ids->type.dim[i];
	for (int i = axis + 1; i < t.rank; i++) {
		table.dim[table.rank++] = t.dim[i];
		out.dim[out.rank++] = t.dim[i];
	}
	if (table.rank == 1)   /* rows of one element */
		table.dim[table.rank++] = dim_const(1);
	Value *rows = b_gather(b, b_reshape(b, x, table), flat_ids(e, in_range(e, ids, t.dim[axis]), t, axis));
	return b_reshape(b, rows, out);
}

static bool batches_agree(Type x, Type ids, int axis)
{
	if (ids.rank < axis || ids.rank + x.rank - axis - 1 > MAX_RANK)
		return false;
	for (int i = 0; i < axis; i++)
		if (x.dim[i] != ids.dim[i])
			return false;
	return true;
}

/* gather(x, ids, axis): x (A..,N,C..) at ids (A..,I..): (A..,I..,C..); an index out of range gives zeros. */
Val fn_gather(Call *c)
{
	Elab *e = c->e;
	Val x = c->arg[0], ids = c->arg[1];
	if (x.kind != V_TENSOR || x.t->type.dt == DT_BOOL || x.t->type.rank == 0)
		return fail(e, arg_loc(c, 0), "E0443", "`gather` wants a tensor, got %s", val_describe(e, x));
	if (!is_ids(ids))
		return fail(e, arg_loc(c, 1), "E0443", "`gather` wants ids, got %s", val_describe(e, ids));
	int axis = gathered_axis(c, x, ids);
	if (axis < 0)
		return poison;
	const Dim *n = x.t->type.dim[axis];
	if (!batches_agree(x.t->type, ids.t->type, axis)) {
		fail(e, c->loc, "E0405", "`gather` cannot fetch from axis %d of %s at %s", axis, val_describe(e, x), val_describe(e, ids));
		note(e, c->loc, "the axes before axis %d must be those of the ids", axis);
		return poison;
	}
	if (ids.rows && ids.rows != n && !never_above(e, ids.rows, n))
		return fail(e, arg_loc(c, 1), "E0427", "axis %d of %s has %s elements, these are ids of %s", axis, val_describe(e, x),
		            show_dim(e, n), show_dim(e, ids.rows));
	Val v = val_tensor(axis == 0 && x.t->type.rank > 1 ? b_gather(&e->b, x.t, in_range(e, ids.t, n))
	                                                   : gather_batched(e, x.t, ids.t, axis));
	v.rows = x.rows;
	v.optional = x.optional;
	return v;
}

/* argmax, top_k */

static Value *index_of_axis(Builder *b, Type t, int axis)
{
	Type i = { DT_I32, t.rank - axis, { t.dim[axis] } };
	for (int k = 1; k < i.rank; k++)
		i.dim[k] = dim_const(1);
	return b_iota(b, 0, i);
}

/* The lowest index along `axis` where hit is true, the axis' extent if there is none; keeps the axis. */
static Value *first_hit(Elab *e, Value *hit, Value *index, int axis, const Dim *n)
{
	Builder *b = &e->b;
	Value *minus = b_binary(b, OP_SUB, i32(b, 0), index), *none = b_binary(b, OP_SUB, i32(b, 0), dim_value(e, n));
	Value *last = b_reduce(b, OP_RMAX, b_select(b, hit, minus, none), 1u << axis);
	return b_binary(b, OP_SUB, i32(b, 0), last);
}

static Value *without_axis(Builder *b, Value *x, int axis)
{
	Type t = x->type;
	for (int i = axis; i + 1 < t.rank; i++)
		t.dim[i] = t.dim[i + 1];
	t.rank--;
	return b_reshape(b, x, t);
}

/* argmax(x, axis): id of the axis' extent */
Val fn_argmax(Call *c)
{
	Elab *e = c->e;
	Builder *b = &e->b;
	Val x = c->arg[0];
	if (x.kind != V_TENSOR || x.t->type.dt == DT_BOOL || x.t->type.rank == 0)
		return fail(e, arg_loc(c, 0), "E0443", "`argmax` wants a tensor of numbers, got %s", val_describe(e, x));
	int axis = axis_of(e, x, c->arg[1], c->expr[1], arg_loc(c, 1));
	if (axis < 0)
		return poison;
	Type t = x.t->type;
	Value *index = index_of_axis(b, t, axis);
	Value *hit = b_binary(b, OP_EQ, x.t, b_reduce(b, OP_RMAX, x.t, 1u << axis));
	Val v = val_tensor(without_axis(b, first_hit(e, hit, index, axis, t.dim[axis]), axis));
	v.rows = t.dim[axis];
	return v;
}

/* exclude: ids (B..,E) of x (B..,V): whether each of x's elements is named. Named elements are counted by adding ones at
 * their place in a tensor of zeros: one addition a name, whatever V is. */
static Value *excluded(Elab *e, Value *x, Value *ids)
{
	Builder *b = &e->b;
	Type t = x->type;
	int axis = t.rank - 1;
	const Dim *one = dim_const(1), *all = type_elems(t), *named = type_elems(ids->type);
	Value *zeros = b_expand(b, b_const(b, DT_F32, 0), type_make(DT_F32, 2, (const Dim *[]){ all, one }));
	Value *ones = b_expand(b, b_const(b, DT_F32, 1), type_make(DT_F32, 2, (const Dim *[]){ named, one }));
	Value *count = b_scatter_add(b, zeros, flat_ids(e, in_range(e, ids, t.dim[axis]), t, axis), ones);
	return b_binary(b, OP_LT, b_const(b, DT_F32, 0), b_reshape(b, count, t));
}

static bool exclude_arg(Call *c, Value *x, Value **out)
{
	Elab *e = c->e;
	Val ids = c->arg[2];
	int axis = x->type.rank - 1;
	*out = NULL;
	if (ids.kind == V_NONE)
		return true;
	if (is_ids(ids) && ids.t->type.rank >= axis && batches_agree(x->type, ids.t->type, axis)
	    && (!ids.rows || ids.rows == x->type.dim[axis] || never_above(e, ids.rows, x->type.dim[axis]))) {
		*out = e->symbolic ? NULL : excluded(e, x, ids.t);
		return true;
	}
	err(e, arg_loc(c, 2), "E0443", "`exclude` of %s wants ids of its last axis, got %s", show_type(e, x->type), val_describe(e, ids));
	return false;
}

typedef struct Best { Value *at, *value; } Best;   /* (B..,1) */

/* The greatest element behind `last` in the order by value, then index. Each step reads x and two numbers a row alone, so that
 * all of them become one kernel. */
static Best next_best(Elab *e, Value *x, Value *index, const Best *last)
{
	Builder *b = &e->b;
	int axis = x->type.rank - 1;
	Value *left = NULL, *open = x;
	if (last) {
		Value *tied = b_binary(b, OP_AND, b_binary(b, OP_EQ, x, last->value), b_binary(b, OP_LT, last->at, index));
		left = b_binary(b, OP_OR, b_binary(b, OP_LT, x, last->value), tied);
		open = b_select(b, left, x, b_const(b, DT_F32, -INFINITY));
	}
	Best best = { .value = b_reduce(b, OP_RMAX, open, 1u << axis) };
	Value *hit = b_binary(b, OP_EQ, x, best.value);
	best.at = first_hit(e, left ? b_binary(b, OP_AND, left, hit) : hit, index, axis, x->type.dim[axis]);
	return best;
}

static Val pair(Elab *e, Value *ids, Value *values, const Dim *rows)
{
	Val v[2] = { val_tensor(ids), val_tensor(values) };
	v[0].rows = rows;
	return val_list(e, v, 2);
}

/* In check mode, and where k is not known. */
static Val any_top_k(Elab *e, Type t, const Dim *k)
{
	Type ids = t;
	const Dim *rows = t.dim[t.rank - 1];
	ids.dt = DT_I32;
	t.dim[t.rank - 1] = ids.dim[t.rank - 1] = k;
	return pair(e, b_source(&e->b, OP_INPUT, "top_k", ids), b_source(&e->b, OP_INPUT, "top_k", t), rows);
}

enum { MAX_TOP = 256 };

/* top_k(x, k, exclude): ids of the k greatest elements along the last axis, and their values, greatest first. Excluded ones
 * come last, with the value -3e38. */
Val fn_top_k(Call *c)
{
	Elab *e = c->e;
	Value *x = want_float(c, 0), *gone;
	Val k = c->arg[1];
	int64_t n;
	if (!x)
		return poison;
	if (x->type.rank == 0)
		return fail(e, arg_loc(c, 0), "E0443", "`top_k` wants a tensor, got one number");
	if (k.kind != V_INT || !extent_ok(e, arg_loc(c, 1), k.n))
		return k.kind == V_INT ? poison : fail(e, arg_loc(c, 1), "E0432", "`k` is a whole number, got %s", val_describe(e, k));
	int axis = x->type.rank - 1;
	const Dim *extent = x->type.dim[axis];
	if (surely_above(e, k.n, extent))
		return fail(e, arg_loc(c, 1), "E0412", "`top_k` of %s elements cannot give %s", show_dim(e, extent), show_dim(e, k.n));
	if (!exclude_arg(c, x, &gone))
		return poison;
	if (!compile_time(e, arg_loc(c, 1), k.n, "`k`"))
		return poison;
	if (dim_is_const(k.n, &n) && n > MAX_TOP)
		return fail(e, arg_loc(c, 1), "E0412", "`top_k` gives at most %d, got %lld", MAX_TOP, (long long)n);
	if (e->symbolic)
		return any_top_k(e, x->type, k.n);
	dim_is_const(k.n, &n);
	if (gone)
		x = b_select(&e->b, gone, b_const(&e->b, DT_F32, LOWEST), x);
	Value *ids[MAX_TOP], *values[MAX_TOP], *index = index_of_axis(&e->b, x->type, axis);
	Best best;
	for (int64_t i = 0; i < n; i++) {
		best = next_best(e, x, index, i ? &best : NULL);
		ids[i] = best.at;
		values[i] = best.value;
	}
	return pair(e, b_concat(&e->b, ids, (int)n, axis), b_concat(&e->b, values, (int)n, axis), extent);
}

/* nonzero */

bool is_counted(const Elab *e, const Dim *d)
{
	for (int i = 0; i < e->counted.len; i++)
		if (e->counted.at[i] == d)
			return true;
	return false;
}

/* nonzero(x): ids of where x, bool (N), is true, ascending. Their number is a run-time dim of its own, which may be 0. */
Val fn_nonzero(Call *c)
{
	Elab *e = c->e;
	Val x = c->arg[0];
	if (x.kind != V_TENSOR || x.t->type.dt != DT_BOOL || x.t->type.rank != 1)
		return fail(e, arg_loc(c, 0), "E0443", "`nonzero` wants a bool tensor of one axis, got %s", val_describe(e, x));
	const Dim *n = x.t->type.dim[0];
	const char *name = internf("rows.%d", e->symbolic ? e->counted.len : e->b.g->syms.len);
	Type t = type_make(DT_I32, 1, (const Dim *[]){ dim_sym(name) });
	Val v = val_tensor(e->symbolic ? b_source(&e->b, OP_INPUT, "nonzero", t) : b_nonzero(&e->b, x.t, name));
	vec_push(e->arena, &e->counted, t.dim[0]);
	v.rows = n;
	return v;
}
