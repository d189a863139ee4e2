/* fold.c: simplify's constant folding. Every constant is a splat, so the result of an elementwise op or a
 * movement of constants is a splat again. Computed in double; i32 wraps as the kernels do. */
#include "passes/passes.h"

#include <math.h>

bool const_value(const Value *v, double *x)
{
	if (v->op != OP_CONST)
		return false;
	*x = v->a.value;
	return true;
}

static double fold_neg(double x) { return -x; }
static double fold_rsqrt(double x) { return 1 / sqrt(x); }
static double fold_sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double fold_same(double x) { return x; }
static double fold_not(double x) { return x == 0; }
static double fold_to_i32(double x) { return trunc(x); }

static double fold_add(double x, double y) { return x + y; }
static double fold_sub(double x, double y) { return x - y; }
static double fold_mul(double x, double y) { return x * y; }
static double fold_div(double x, double y) { return x / y; }
static double fold_max(double x, double y) { return x > y ? x : y; }
static double fold_min(double x, double y) { return x < y ? x : y; }
static double fold_eq(double x, double y) { return x == y; }
static double fold_ne(double x, double y) { return x != y; }
static double fold_lt(double x, double y) { return x < y; }
static double fold_le(double x, double y) { return x <= y; }
static double fold_and(double x, double y) { return x != 0 && y != 0; }
static double fold_or(double x, double y) { return x != 0 || y != 0; }

typedef double Fold1(double);
static Fold1 *const fold1[OP_COUNT] = {
	[OP_NEG] = fold_neg, [OP_ABS] = fabs, [OP_EXP] = exp, [OP_LOG] = log, [OP_SQRT] = sqrt,
	[OP_RSQRT] = fold_rsqrt, [OP_TANH] = tanh, [OP_ERF] = erf, [OP_SIN] = sin, [OP_COS] = cos,
	[OP_SIGMOID] = fold_sigmoid, [OP_STOP] = fold_same, [OP_NOT] = fold_not, [OP_TO_F32] = fold_same,
	[OP_TO_I32] = fold_to_i32, [OP_RMAX] = fold_same, [OP_RESHAPE] = fold_same, [OP_TRANSPOSE] = fold_same,
	[OP_SLICE] = fold_same, [OP_WINDOWS] = fold_same, [OP_EXPAND] = fold_same,
};

typedef double Fold2(double, double);
static Fold2 *const fold2[OP_COUNT] = {
	[OP_ADD] = fold_add, [OP_SUB] = fold_sub, [OP_MUL] = fold_mul, [OP_DIV] = fold_div, [OP_POW] = pow,
	[OP_MAX] = fold_max, [OP_MIN] = fold_min, [OP_EQ] = fold_eq, [OP_NE] = fold_ne, [OP_LT] = fold_lt,
	[OP_LE] = fold_le, [OP_AND] = fold_and, [OP_OR] = fold_or,
};

/* i32 arithmetic wraps; a float out of range has no defined conversion and stays as it is written. */
static bool fits(DType dt, double *x)
{
	if (dt != DT_I32)
		return true;
	if (!(fabs(*x) < 9e15))
		return false;
	*x = (double)(int32_t)(uint32_t)(uint64_t)(int64_t)*x;
	return true;
}

static Value *splat(Builder *b, Type t, double x)
{
	if (!fits(t.dt, &x))
		return NULL;
	return build(b, OP_CONST, NULL, 0, &(Attrs){ .value = x }, &t);
}

/* Concatenations of one constant; zeros padded with zeros, gathered from or added by rows of zeros. */
static Value *fold_places(Builder *b, Value *v)
{
	double x, y;
	if (!const_value(v->in[0], &x))
		return NULL;
	if ((v->op == OP_PAD || v->op == OP_GATHER) && x == 0)
		return splat(b, v->type, 0);
	if (v->op == OP_SCATTER_ADD && const_value(v->in[2], &y) && y == 0)
		return v->in[0];
	if (v->op != OP_CONCAT)
		return NULL;
	for (int i = 1; i < v->nin; i++)
		if (!const_value(v->in[i], &y) || x != y)
			return NULL;
	return splat(b, v->type, x);
}

/* Sources whose value the shape alone decides. */
static Value *fold_source(Builder *b, Value *v)
{
	int64_t n;
	if (v->op == OP_DIMVAL && dim_is_const(v->a.size, &n))
		return splat(b, v->type, (double)n);
	if (v->op == OP_IOTA && dim_is(v->type.dim[v->a.axis], 1))
		return splat(b, v->type, 0);
	return NULL;
}

Value *simplify_const(Builder *b, Value *v)
{
	double x, y, z;
	if (v->nin == 0)
		return fold_source(b, v);
	if (v->nin == 1 && fold1[v->op] && const_value(v->in[0], &x))
		return splat(b, v->type, fold1[v->op](x));
	if (v->nin == 2 && fold2[v->op] && const_value(v->in[0], &x) && const_value(v->in[1], &y))
		return splat(b, v->type, fold2[v->op](x, y));
	if (v->op == OP_SELECT && const_value(v->in[0], &x) && const_value(v->in[1], &y) && const_value(v->in[2], &z))
		return splat(b, v->type, x != 0 ? y : z);
	return fold_places(b, v);
}
