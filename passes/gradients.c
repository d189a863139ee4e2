/* gradients.c: one gradient rule for each differentiable op, named by ops.def's grad column; the table at the end
 * does not compile while a rule is missing.
 *
 * A rule is given v, the gradient dy of v's type, and fills dx[i] with the gradient of operand i, or leaves NULL
 * where none flows. dx[i] may still have the broadcast shape: the driver (autodiff.c) sums it down. Rules use
 * the result rather than the operand where that saves keeping the operand (exp, tanh, sqrt, ..). */
#include "passes/passes.h"

#include <math.h>

static Value *num(Builder *b, double x)
{
	return b_const(b, DT_F32, x);
}

static Value *mul(Builder *b, Value *x, Value *y)
{
	return b_binary(b, OP_MUL, x, y);
}

static Value *times(Builder *b, Value *x, double c)
{
	return mul(b, x, num(b, c));
}

static void grad_neg(Builder *b, Value *v, Value *dy, Value **dx)
{
	dx[0] = b_unary(b, OP_NEG, dy);
}

static void grad_abs(Builder *b, Value *v, Value *dy, Value **dx)
{
	Value *zero = num(b, 0), *x = v->in[0];
	Value *below = b_select(b, b_binary(b, OP_LT, x, zero), b_unary(b, OP_NEG, dy), zero);
	dx[0] = b_select(b, b_binary(b, OP_LT, zero, x), dy, below);
}

static void grad_exp(Builder *b, Value *v, Value *dy, Value **dx)
{
	dx[0] = mul(b, dy, v);
}

static void grad_log(Builder *b, Value *v, Value *dy, Value **dx)
{
	dx[0] = b_binary(b, OP_DIV, dy, v->in[0]);
}

/* y = sqrt(x): dy / (2 y) */
static void grad_sqrt(Builder *b, Value *v, Value *dy, Value **dx)
{
	dx[0] = b_binary(b, OP_DIV, times(b, dy, 0.5), v);
}

/* y = x^(-1/2): -dy y^3 / 2 */
static void grad_rsqrt(Builder *b, Value *v, Value *dy, Value **dx)
{
	dx[0] = mul(b, times(b, dy, -0.5), mul(b, mul(b, v, v), v));
}

/* dy (1 - y^2), multiplied out so that every step follows from dy and can be computed behind it */
static void grad_tanh(Builder *b, Value *v, Value *dy, Value **dx)
{
	dx[0] = b_binary(b, OP_SUB, dy, mul(b, mul(b, dy, v), v));
}

/* 2/sqrt(pi) e^(-x^2) (Abramowitz & Stegun 7.1.1) */
static void grad_erf(Builder *b, Value *v, Value *dy, Value **dx)
{
	Value *e = b_unary(b, OP_EXP, b_unary(b, OP_NEG, mul(b, v->in[0], v->in[0])));
	dx[0] = mul(b, dy, times(b, e, 2 / sqrt(M_PI)));
}

static void grad_sin(Builder *b, Value *v, Value *dy, Value **dx)
{
	dx[0] = mul(b, dy, b_unary(b, OP_COS, v->in[0]));
}

static void grad_cos(Builder *b, Value *v, Value *dy, Value **dx)
{
	dx[0] = b_unary(b, OP_NEG, mul(b, dy, b_unary(b, OP_SIN, v->in[0])));
}

/* dy y (1 - y), likewise */
static void grad_sigmoid(Builder *b, Value *v, Value *dy, Value **dx)
{
	Value *t = mul(b, dy, v);
	dx[0] = b_binary(b, OP_SUB, t, mul(b, t, v));
}

static void grad_add(Builder *b, Value *v, Value *dy, Value **dx)
{
	dx[0] = dx[1] = dy;
}

static void grad_sub(Builder *b, Value *v, Value *dy, Value **dx)
{
	dx[0] = dy;
	dx[1] = b_unary(b, OP_NEG, dy);
}

/* A square's two gradients are equal: one, doubled. */
static void grad_mul(Builder *b, Value *v, Value *dy, Value **dx)
{
	dx[0] = mul(b, dy, v->in[1]);
	if (v->in[0] == v->in[1])
		dx[0] = times(b, dx[0], 2);
	else
		dx[1] = mul(b, dy, v->in[0]);
}

/* y = p/q: dp = dy/q, dq = -dp y */
static void grad_div(Builder *b, Value *v, Value *dy, Value **dx)
{
	dx[0] = b_binary(b, OP_DIV, dy, v->in[1]);
	dx[1] = b_unary(b, OP_NEG, mul(b, dx[0], v));
}

/* y = p^q for p >= 0: dp = dy q p^(q-1), 0 where q is 0; dq = dy y log p, 0 where p is 0 */
static void grad_pow(Builder *b, Value *v, Value *dy, Value **dx)
{
	Value *p = v->in[0], *q = v->in[1], *zero = num(b, 0);
	Value *lower = b_binary(b, OP_POW, p, b_binary(b, OP_SUB, q, num(b, 1)));
	dx[0] = b_select(b, b_binary(b, OP_EQ, q, zero), zero, mul(b, dy, mul(b, q, lower)));
	Value *slope = mul(b, dy, mul(b, v, b_unary(b, OP_LOG, p)));
	dx[1] = b_select(b, b_binary(b, OP_LT, zero, p), slope, zero);
}

/* dy to operand 0 where `first`, else to operand 1 */
static void split(Builder *b, Value *first, Value *dy, Value **dx)
{
	dx[0] = b_select(b, first, dy, num(b, 0));
	dx[1] = b_select(b, first, num(b, 0), dy);
}

static void grad_max(Builder *b, Value *v, Value *dy, Value **dx)
{
	split(b, b_binary(b, OP_LE, v->in[1], v->in[0]), dy, dx);
}

static void grad_min(Builder *b, Value *v, Value *dy, Value **dx)
{
	split(b, b_binary(b, OP_LE, v->in[0], v->in[1]), dy, dx);
}

static void grad_select(Builder *b, Value *v, Value *dy, Value **dx)
{
	split(b, v->in[0], dy, dx + 1);
}

static void grad_sum(Builder *b, Value *v, Value *dy, Value **dx)
{
	dx[0] = b_expand(b, dy, v->in[0]->type);
}

/* Equal maxima share: each gets dy / how many there are. */
static void grad_rmax(Builder *b, Value *v, Value *dy, Value **dx)
{
	Value *top = b_binary(b, OP_EQ, v->in[0], v);
	Value *count = b_reduce(b, OP_SUM, b_convert(b, top, DT_F32), v->a.axes);
	dx[0] = b_select(b, top, b_binary(b, OP_DIV, dy, count), num(b, 0));
}

static void grad_reshape(Builder *b, Value *v, Value *dy, Value **dx)
{
	dx[0] = b_reshape(b, dy, v->in[0]->type);
}

static void grad_transpose(Builder *b, Value *v, Value *dy, Value **dx)
{
	int8_t back[MAX_RANK] = { 0 };
	for (int i = 0; i < v->type.rank; i++)
		back[v->a.perm[i]] = (int8_t)i;
	dx[0] = b_transpose(b, dy, back);
}

static void grad_slice(Builder *b, Value *v, Value *dy, Value **dx)
{
	const Dim *rest = dim_sub(v->in[0]->type.dim[v->a.axis], dim_add(v->a.start, v->a.len));
	dx[0] = b_pad(b, dy, v->a.axis, v->a.start, rest);
}

/* Element i*step + q*step + r of the operand was element q*step + r of window i: dy's windows cut into pieces of `step`,
 * piece q shifted by q windows, and added up. With windows that don't overlap there is one piece, and nothing to add. */
static Value *window_piece(Builder *b, Value *v, Value *dy, int64_t q, int64_t pieces)
{
	int64_t len, step = v->a.step;
	int axis = v->a.axis;
	dim_is_const(v->a.len, &len);
	int64_t wide = MIN(step, len - q * step);
	Value *x = b_slice(b, dy, axis + 1, dim_const(q * step), dim_const(wide));
	x = b_pad(b, x, axis + 1, dim_const(0), dim_const(step - wide));
	return b_pad(b, x, axis, dim_const(q), dim_const(pieces - 1 - q));
}

static void grad_windows(Builder *b, Value *v, Value *dy, Value **dx)
{
	int64_t len, step = v->a.step;
	int axis = v->a.axis;
	if (!dim_is_const(v->a.len, &len))
		bug("autodiff: windows of %s elements", dim_text(v->a.len));
	int64_t pieces = (len + step - 1) / step;
	Value *sum = NULL;
	for (int64_t q = 0; q < pieces; q++) {
		Value *x = window_piece(b, v, dy, q, pieces);
		sum = sum ? b_binary(b, OP_ADD, sum, x) : x;
	}
	Type flat = v->in[0]->type;
	flat.dim[axis] = dim_mul(sum->type.dim[axis], dim_const(step));
	const Dim *last = dim_mul(dim_sub(v->type.dim[axis], dim_const(1)), dim_const(step)), *used = dim_add(last, v->a.len);
	sum = b_slice(b, b_reshape(b, sum, flat), axis, dim_const(0), used);
	dx[0] = b_pad(b, sum, axis, dim_const(0), dim_sub(v->in[0]->type.dim[axis], used));
}

/* The driver's un-broadcasting is all there is to do. */
static void grad_broadcast(Builder *b, Value *v, Value *dy, Value **dx)
{
	dx[0] = dy;
}

static void grad_concat(Builder *b, Value *v, Value *dy, Value **dx)
{
	const Dim *at = dim_const(0);
	for (int i = 0; i < v->nin; i++) {
		const Dim *len = v->in[i]->type.dim[v->a.axis];
		dx[i] = b_slice(b, dy, v->a.axis, at, len);
		at = dim_add(at, len);
	}
}

static void grad_pad(Builder *b, Value *v, Value *dy, Value **dx)
{
	dx[0] = b_slice(b, dy, v->a.axis, v->a.lo, v->in[0]->type.dim[v->a.axis]);
}

static void grad_copy(Builder *b, Value *v, Value *dy, Value **dx)
{
	dx[0] = dy;
}

/* The gradient of the operand with letters `own` is the contraction of dy (letters `res`) with the other operand.
 * The operands' order is such that the last letter wanted comes from operand 1, as kernels like it. */
static Value *grad_operand(Builder *b, const char *own, const char *other, Value *x, const char *res, Value *dy)
{
	size_t n = strlen(own);
	if (n && strchr(other, own[n - 1]))
		return b_contract(b, dy, x, internf("%s,%s->%s", res, other, own));
	return b_contract(b, x, dy, internf("%s,%s->%s", other, res, own));
}

static void grad_contract(Builder *b, Value *v, Value *dy, Value **dx)
{
	Spec s;
	const char *e = spec_parse(v->a.spec, &s);
	if (e)
		bug("autodiff: %s", e);
	dx[0] = grad_operand(b, s.at[0], s.at[1], v->in[1], s.at[2], dy);
	dx[1] = grad_operand(b, s.at[1], s.at[0], v->in[0], s.at[2], dy);
}

static void grad_gather(Builder *b, Value *v, Value *dy, Value **dx)
{
	Value *zeros = build(b, OP_CONST, NULL, 0, &(Attrs){ .value = 0 }, &v->in[0]->type);
	dx[0] = b_scatter_add(b, zeros, v->in[1], dy);
}

static void grad_scatter_add(Builder *b, Value *v, Value *dy, Value **dx)
{
	dx[0] = dy;
	dx[2] = b_gather(b, dy, v->in[1]);
}

/* From the rows' log-sum-exp, which the forward kernel leaves, and sum dy y over W: probabilities are computed again. There is
 * none for a bias that is trained: pass flash leaves such an attention alone. */
static void grad_flash(Builder *b, Value *v, Value *dy, Value **dx)
{
	Value *in[10];
	int n = v->nin;
	memcpy(in, v->in, sizeof *in * (size_t)n);
	in[n + FLASH_DY] = dy;
	in[n + FLASH_LSE] = build(b, OP_FLASH_LSE, v->in, n, &v->a, NULL);
	in[n + FLASH_D] = b_reduce(b, OP_SUM, mul(b, dy, v), 1u << 3);
	for (int i = 0; i < 3; i++) {
		Attrs a = v->a;
		a.wrt = i;
		dx[i] = build(b, OP_FLASH_GRAD, in, n + 3, &a, NULL);
	}
}

/* Marks tier-two ops: the driver expands them before it differentiates. */
static void grad_expand(Builder *b, Value *v, Value *dy, Value **dx)
{
	bug("autodiff: %s was not expanded", op_info[v->op].text);
}

bool grad_expands(Op op)
{
	return grad_rule[op] == grad_expand;
}

#define grad_none NULL
GradRule *const grad_rule[OP_COUNT] = {
#define OP(NAME, text, lo, hi, attrs, type, grad, eval, lower, flags, doc) [OP_##NAME] = grad_##grad,
#include "ir/ops.def"
};
