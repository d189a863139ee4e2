/* reduce.c: which axis is meant, and functions along axes: sum, mean, var, max, min, softmax. */
#include "frontend/elab.h"

static const Val poison = { .kind = V_POISON };

/* Axes */

/* An expression of the prelude stands for each of its calls. */
static Loc call_of(const Elab *e)
{
	return e->in_prelude ? e->user : (Loc){0};
}

static int recall(Elab *e, Expr *x)
{
	Loc call = call_of(e);
	for (int i = 0; i < e->axes.len; i++) {
		const AxisFact *f = &e->axes.at[i];
		if (f->expr == x && f->call.src == call.src && f->call.at == call.at)
			return f->from_end;
	}
	return 0;
}

static int axis_of_dim(Elab *e, Val x, const Dim *d, Expr *ex, Loc loc)
{
	int found = -1, n = 0, rank = x.t->type.rank, known = recall(e, ex);
	if (known > 0 && known <= rank && x.t->type.dim[rank - known] == d)
		return rank - known;
	for (int i = 0; i < rank; i++)
		if (x.t->type.dim[i] == d)
			n++, found = i;
	if (n == 1) {
		vec_push(e->arena, &e->axes, ((AxisFact){ ex, call_of(e), rank - found }));
		return found;
	}
	err(e, loc, "E0444", n ? "%s has more than one axis %s" : "%s has no axis %s", val_describe(e, x), show_dim(e, d));
	help(e, "an axis can be given by its number, -1 is the last");
	return -1;
}

int axis_of(Elab *e, Val x, Val axis, Expr *ex, Loc loc)
{
	int64_t n;
	int rank = x.t->type.rank;
	if (axis.kind == V_NONE || !ex)
		return rank - 1;
	if (axis.kind != V_INT) {
		err(e, loc, "E0445", "an axis is a number or a dim, got %s", val_describe(e, axis));
		return -1;
	}
	if (!axis.literal)
		return axis_of_dim(e, x, axis.n, ex, loc);
	dim_is_const(axis.n, &n);
	if (n >= -rank && n < rank)
		return (int)(n < 0 ? n + rank : n);
	err(e, loc, "E0446", "%s has no axis %lld", val_describe(e, x), (long long)n);
	return -1;
}

/* Reductions */

Value *scalar_of(Elab *e, Value *x)
{
	return b_reshape(&e->b, x, type_scalar(x->type.dt));
}

static const Dim *extent_of(Value *x, uint32_t axes)
{
	const Dim *n = dim_const(1);
	for (int i = 0; i < x->type.rank; i++)
		if (axes >> i & 1)
			n = dim_mul(n, x->type.dim[i]);
	return n;
}

Value *reduce_mean(Elab *e, Value *x, uint32_t axes)
{
	int64_t n;
	const Dim *count = extent_of(x, axes);
	Value *sum = b_reduce(&e->b, OP_SUM, x, axes);
	if (dim_is_const(count, &n) && n > 0)
		return b_binary(&e->b, OP_MUL, sum, b_const(&e->b, DT_F32, 1 / (double)n));
	return b_binary(&e->b, OP_DIV, sum, val_value(e, val_int(count)));
}

static Value *drop_axes(Elab *e, Value *x, uint32_t axes)
{
	Type t = { .dt = x->type.dt };
	for (int i = 0; i < x->type.rank; i++)
		if (!(axes >> i & 1))
			t.dim[t.rank++] = x->type.dim[i];
	return b_reshape(&e->b, x, t);
}

/* `where=` has the axes of x up to the reduced one; as a tensor that broadcasts to x. */
static Value *where_arg(Call *c, int i, Value *x, int axis)
{
	Elab *e = c->e;
	Val w = c->arg[i];
	if (w.kind != V_TENSOR || w.t->type.dt != DT_BOOL) {
		err(e, arg_loc(c, i), "E0443", "`where` is a bool tensor, got %s", val_describe(e, w));
		return NULL;
	}
	Type t = x->type, out, want = w.t->type;
	t.dt = DT_BOOL;
	for (int k = axis + 1; want.rank == axis + 1 && k < t.rank; k++)
		want.dim[k] = dim_const(1);
	if (want.rank == axis + 1)
		want.rank = t.rank;
	if (!type_broadcast(t, want, &out) || !type_eq(out, t)) {
		err(e, arg_loc(c, i), "E0405", "`where` is %s, which does not fit %s", val_describe(e, w), show_type(e, x->type));
		return NULL;
	}
	return b_reshape(&e->b, w.t, want);
}

static Value *masked_mean(Elab *e, Value *x, Value *where, uint32_t axes)
{
	Builder *b = &e->b;
	Type full = x->type;
	full.dt = DT_BOOL;
	Value *ones = b_convert(b, type_eq(where->type, full) ? where : b_expand(b, where, full), DT_F32);
	Value *n = b_binary(b, OP_MAX, b_reduce(b, OP_SUM, ones, axes), b_const(b, DT_F32, 1));
	Value *kept = b_select(b, where, x, b_const(b, DT_F32, 0));
	return b_binary(b, OP_DIV, b_reduce(b, OP_SUM, kept, axes), n);
}

typedef enum Reduction { R_SUM, R_MEAN, R_MAX, R_MIN, R_VAR } Reduction;

static Value *mean_of(Elab *e, Value *x, Value *where, uint32_t axes)
{
	return where ? masked_mean(e, x, where, axes) : reduce_mean(e, x, axes);
}

static Value *reduce(Elab *e, Reduction r, Value *x, Value *where, uint32_t axes)
{
	Builder *b = &e->b;
	if (r == R_MIN)
		return b_unary(b, OP_NEG, reduce(e, R_MAX, b_unary(b, OP_NEG, x), where, axes));
	if (r == R_SUM || r == R_MAX) {
		if (where)
			x = b_select(b, where, x, b_const(b, DT_F32, r == R_MAX ? -1e30 : 0));
		return b_reduce(b, r == R_SUM ? OP_SUM : OP_RMAX, x, axes);
	}
	Value *mean = mean_of(e, x, where, axes);
	if (r == R_MEAN)
		return mean;
	Value *centred = b_binary(b, OP_SUB, x, mean);
	return mean_of(e, b_binary(b, OP_MUL, centred, centred), where, axes);
}

static Val reduction(Call *c, Reduction r)
{
	Elab *e = c->e;
	Value *x = want_float(c, 0), *where = NULL;
	if (!x)
		return poison;
	int axis = c->expr[1] ? axis_of(e, val_tensor(x), c->arg[1], c->expr[1], arg_loc(c, 1)) : x->type.rank - 1;
	if (c->expr[1] && axis < 0)
		return poison;
	uint32_t axes = c->expr[1] ? 1u << axis : (1u << x->type.rank) - 1;
	bool everywhere = c->arg[2].kind == V_BOOL && c->arg[2].known && c->arg[2].f != 0;
	if (c->expr[2] && !everywhere && !(where = where_arg(c, 2, x, axis)))
		return poison;
	if (!axes)
		return val_tensor(x);
	Value *y = reduce(e, r, x, where, axes);
	bool keep = c->arg[3].kind == V_BOOL && c->arg[3].f != 0;
	return val_tensor(keep ? y : drop_axes(e, y, axes));
}

Val fn_sum(Call *c) { return reduction(c, R_SUM); }
Val fn_mean(Call *c) { return reduction(c, R_MEAN); }
Val fn_var(Call *c) { return reduction(c, R_VAR); }

/* max(x, axis) is a reduction; max(a, b) of two tensors or a float is elementwise. */
static Val extreme(Call *c, Reduction r, Op op)
{
	bool pair = c->expr[1] && (c->arg[1].kind == V_TENSOR || c->arg[1].kind == V_FLOAT || val_is_number(c->arg[0]));
	if (!pair)
		return reduction(c, r);
	c->op = op;
	return fn_binary(c);
}

Val fn_max(Call *c) { return extreme(c, R_MAX, OP_MAX); }
Val fn_min(Call *c) { return extreme(c, R_MIN, OP_MIN); }

/* softmax(x, axis=-1) */
Val fn_softmax(Call *c)
{
	Value *x = want_float(c, 0);
	int axis = x ? axis_of(c->e, val_tensor(x), c->arg[1], c->expr[1], arg_loc(c, 1)) : -1;
	if (axis < 0)
		return poison;
	Attrs a = { .axis = axis };
	return val_tensor(build(&c->e->b, OP_SOFTMAX, &x, 1, &a, NULL));
}
