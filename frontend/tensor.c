/* tensor.c: operators on tensors: elementwise ops with broadcasting, powers, remainders. What doesn't fit is reported with both
 * shapes. */
#include "frontend/elab.h"

static const Val poison = { .kind = V_POISON };

void place(Elab *e, Loc loc)
{
	loc = at_user(e, loc);
	if (loc.src)
		e->b.loc = (Where){ loc.src->name, loc_line(loc), loc_col(loc), loc };
}

/* A number beside an i32 tensor is i32, if it is an integer; beside others f32. */
static Value *operand(Elab *e, Val v, DType beside)
{
	int64_t n;
	if (v.kind != V_INT || beside != DT_I32)
		return val_value(e, v);
	return dim_is_const(v.n, &n) || e->symbolic ? b_const(&e->b, DT_I32, dim_is_const(v.n, &n) ? (double)n : 1)
		: b_dim(&e->b, v.n);
}

static void note_misfit(Elab *e, Loc loc, Type a, Type b)
{
	for (int i = 1; i <= MIN(a.rank, b.rank); i++) {
		const Dim *x = a.dim[a.rank - i], *y = b.dim[b.rank - i];
		if (x == y || dim_is(x, 1) || dim_is(y, 1))
			continue;
		note(e, loc, "counted from the right, axis %d is %s on one side and %s on the other", i, show_dim(e, x),
		     show_dim(e, y));
		return;
	}
}

static const char *op_sign(Op op)
{
	static const char *const sign[OP_COUNT] = {
		[OP_ADD] = "+", [OP_SUB] = "-", [OP_MUL] = "*", [OP_DIV] = "/", [OP_POW] = "^", [OP_EQ] = "==", [OP_NE] = "!=",
		[OP_LT] = "<", [OP_LE] = "<=", [OP_SELECT] = "where", [OP_RMAX] = "max",
	};
	return sign[op] ? sign[op] : op_info[op].text;
}

static bool one_dtype(Op op, Value **in, int n)
{
	for (int i = 1; i < n; i++)
		if (in[i]->type.dt != in[0]->type.dt)
			return op == OP_SELECT;
	return true;
}

static bool fits(Elab *e, Loc loc, Op op, Value **in, int n)
{
	Type t = in[0]->type;
	for (int i = 1; i < n; i++) {
		Type next;
		if (!type_broadcast(t, in[i]->type, &next)) {
			err(e, loc, "E0405", "`%s` cannot combine %s with %s", op_sign(op), show_type(e, t), show_type(e, in[i]->type));
			note_misfit(e, loc, t, in[i]->type);
			return false;
		}
		t = next;
	}
	return true;
}

/* i32 beside f32 is the usual reason of a rejected op. */
static Val wrong_types(Elab *e, Loc loc, Op op, Value **in, int n)
{
	const char *got = show_type(e, in[0]->type);
	for (int i = 1; i < n; i++)
		got = internf("%s %s %s", got, i == n - 1 ? "and" : ",", show_type(e, in[i]->type));
	Val v = fail(e, loc, "E0406", "`%s` cannot take %s", op_sign(op), got);
	for (int i = 0; i < n; i++)
		if (in[i]->type.dt != DT_F32) {
			help(e, "`f32(x)` converts %s to floats", dtype_name[in[i]->type.dt]);
			break;
		}
	return v;
}

Val tensor_op(Elab *e, Loc loc, Op op, const Val *v, int n)
{
	Value *in[3];
	DType beside = DT_F32;
	for (int i = 0; i < n; i++) {
		if (v[i].kind == V_POISON)
			return poison;
		if (v[i].kind != V_TENSOR && !val_is_number(v[i]) && v[i].kind != V_BOOL)
			return fail(e, loc, "E0407", "`%s` wants tensors or numbers, got %s", op_sign(op), val_describe(e, v[i]));
		if (v[i].kind == V_TENSOR && v[i].t->type.dt == DT_I32)
			beside = DT_I32;
	}
	place(e, loc);
	for (int i = 0; i < n; i++)
		in[i] = operand(e, v[i], beside);
	if (!one_dtype(op, in, n))
		return wrong_types(e, loc, op, in, n);
	if (!fits(e, loc, op, in, n))
		return poison;
	Type t;
	Attrs a = {0};
	if (op_type(op, in, n, &a, &t))
		return wrong_types(e, loc, op, in, n);
	return val_tensor(build(&e->b, op, in, n, &a, NULL));
}

/* Powers with a known small exponent are products and roots. */
static Val tensor_pow(Elab *e, Loc loc, Val a, Val b)
{
	double p;
	Val one = val_float(1), aa[2] = { a, a };
	if (a.kind != V_TENSOR || !val_number(b, &p))
		return tensor_op(e, loc, OP_POW, (Val[]){ a, b }, 2);
	if (p == 2)
		return tensor_op(e, loc, OP_MUL, aa, 2);
	if (p == 3)
		return tensor_op(e, loc, OP_MUL, (Val[]){ tensor_op(e, loc, OP_MUL, aa, 2), a }, 2);
	if (p == 0.5)
		return tensor_op(e, loc, OP_SQRT, &a, 1);
	if (p == -0.5)
		return tensor_op(e, loc, OP_RSQRT, &a, 1);
	if (p == -1)
		return tensor_op(e, loc, OP_DIV, (Val[]){ one, a }, 2);
	return tensor_op(e, loc, OP_POW, (Val[]){ a, b }, 2);
}

static Val op2(Elab *e, Loc loc, Op op, Val a, Val b)
{
	return tensor_op(e, loc, op, (Val[]){ a, b }, 2);
}

static Val convert(Elab *e, Val v, DType to)
{
	return v.kind == V_TENSOR ? val_tensor(b_convert(&e->b, v.t, to)) : v;
}

/* x less the multiple of b that brings it near [0, b), for i32: the quotient of floats is off by little, so the second time
 * leaves at most one b too much or too few. */
static Val near_rest(Elab *e, Loc loc, Val a, Val b)
{
	Val q = op2(e, loc, OP_DIV, convert(e, a, DT_F32), convert(e, b, DT_F32));
	return op2(e, loc, OP_SUB, a, op2(e, loc, OP_MUL, b, convert(e, q, DT_I32)));
}

/* Whether r is on the wrong side of the limit: below it (op says whether at it counts), as b > 0 sees it, or above it. */
static Val beyond(Elab *e, Loc loc, Op op, Val r, Val b, Val limit, bool below)
{
	Val zero = b.t->type.dt == DT_I32 ? val_int(dim_const(0)) : val_float(0);
	Val up = op2(e, loc, OP_LT, zero, b), down = op2(e, loc, OP_LT, b, zero);
	Val less = op2(e, loc, op, r, limit), more = op2(e, loc, op, limit, r);
	return op2(e, loc, OP_OR, op2(e, loc, OP_AND, below ? less : more, up), op2(e, loc, OP_AND, below ? more : less, down));
}

/* a - b * (a / b rounded down): it has b's sign. */
static Val tensor_mod(Elab *e, Loc loc, Val a, Val b)
{
	bool ints = (a.kind == V_INT || (a.kind == V_TENSOR && a.t->type.dt == DT_I32))
		&& (b.kind == V_INT || (b.kind == V_TENSOR && b.t->type.dt == DT_I32));
	DType dt = ints ? DT_I32 : DT_F32;
	Value *in[2] = { operand(e, a, dt), operand(e, b, dt) };
	Type t;
	if (!in[0] || !in[1] || in[0]->type.dt != dt || in[1]->type.dt != dt || !type_broadcast(in[0]->type, in[1]->type, &t))
		return fail(e, loc, "E0405", "`%%` cannot combine %s with %s", val_describe(e, a), val_describe(e, b));
	Val n = val_tensor(in[1]), zero = ints ? val_int(dim_const(0)) : val_float(0);
	Val r = ints ? near_rest(e, loc, near_rest(e, loc, a, n), n) : op2(e, loc, OP_SUB, a, op2(e, loc, OP_MUL, n,
		convert(e, convert(e, op2(e, loc, OP_DIV, a, n), DT_I32), DT_F32)));
	Val under = beyond(e, loc, OP_LT, r, n, zero, true);
	r = tensor_op(e, loc, OP_SELECT, (Val[]){ under, op2(e, loc, OP_ADD, r, n), r }, 3);
	Val over = beyond(e, loc, OP_LE, r, n, n, false);
	return tensor_op(e, loc, OP_SELECT, (Val[]){ over, op2(e, loc, OP_SUB, r, n), r }, 3);
}

static bool is_truth(Val v)
{
	return v.kind == V_BOOL || (v.kind == V_TENSOR && v.t->type.dt == DT_BOOL);
}

static Val as_number(Elab *e, Val v)
{
	return v.kind == V_BOOL ? val_float(v.f) : val_tensor(b_convert(&e->b, v.t, DT_F32));
}

Val tensor_binary(Elab *e, Loc loc, BinOp op, Val a, Val b)
{
	static const Op ops[B_COUNT] = {
		[B_ADD] = OP_ADD, [B_SUB] = OP_SUB, [B_MUL] = OP_MUL, [B_DIV] = OP_DIV, [B_EQ] = OP_EQ, [B_NE] = OP_NE,
		[B_LT] = OP_LT, [B_LE] = OP_LE, [B_AND] = OP_AND, [B_OR] = OP_OR, [B_MASK_AND] = OP_AND, [B_MASK_OR] = OP_OR,
	};
	if (op == B_POW)
		return tensor_pow(e, loc, a, b);
	if (op == B_MATMUL)
		return matmul(e, loc, a, b);
	if (op == B_GT || op == B_GE)
		return tensor_op(e, loc, op == B_GT ? OP_LT : OP_LE, (Val[]){ b, a }, 2);
	if (op == B_MOD)
		return tensor_mod(e, loc, a, b);
	if ((op == B_EQ || op == B_NE) && is_truth(a) && is_truth(b))
		return op2(e, loc, ops[op], as_number(e, a), as_number(e, b));
	return tensor_op(e, loc, ops[op], (Val[]){ a, b }, 2);
}
