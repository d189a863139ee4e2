/* elem.c: one op on registers: the elementwise ops, const, iota, dimval and random, as a table indexed by Op.
 * Operands are scalars, or vectors of the target's lanes; f32, i32 or (bool) i1; a bf16 is an f32 whose
 * lower half is zero, an f16 an f32 that a half can be, an i8 an i32. */
#include "backend/gen.h"

typedef struct Elem {
	Gen *g;
	const Value *v;
	LLVMValueRef *in, index;
	int lanes;
} Elem;

typedef LLVMValueRef Emit1(Elem *);

static bool is_float(const Elem *e) { return e->v->nin && e->v->in[0]->type.dt == DT_F32; }

/* 0, 1, .. along the lanes */
static LLVMValueRef lane_numbers(Gen *g)
{
	LLVMValueRef lane[64];

	for (int i = 0; i < g->t->lanes; i++)
		lane[i] = gen_i32(g, i);
	return LLVMConstVector(lane, (unsigned)g->t->lanes);
}

static LLVMValueRef shaped(Elem *e, LLVMValueRef scalar)
{
	return e->lanes == 1 ? scalar : gen_splat(e->g, scalar);
}

/* e->index as i32, continued along the lanes */
static LLVMValueRef indices(Elem *e)
{
	LLVMValueRef i = shaped(e, LLVMBuildTrunc(e->g->b, e->index, e->g->i32, ""));
	return e->lanes == 1 ? i : LLVMBuildAdd(e->g->b, i, lane_numbers(e->g), "");
}

static LLVMValueRef emit_const(Elem *e)
{
	double x = e->v->a.value;

	if (e->v->type.dt == DT_F32)
		return shaped(e, gen_f32(e->g, x));
	if (e->v->type.dt == DT_I32)
		return shaped(e, gen_i32(e->g, (int64_t)x));
	return shaped(e, LLVMConstInt(e->g->i1, x != 0, 0));
}

static LLVMValueRef emit_dimval(Elem *e)
{
	return shaped(e, LLVMBuildTrunc(e->g->b, gen_dim(e->g, e->v->a.size), e->g->i32, ""));
}

static LLVMValueRef emit_iota(Elem *e) { return indices(e); }

static LLVMValueRef emit_random(Elem *e)
{
	LLVMValueRef stream = LLVMBuildTrunc(e->g->b, gen_number(e->g, (Value *)e->v), e->g->i32, "");
	return gen_philox(e->g, e->in[0], shaped(e, stream), indices(e));
}

static LLVMValueRef emit_neg(Elem *e)
{
	return is_float(e) ? LLVMBuildFNeg(e->g->b, e->in[0], "") : LLVMBuildNeg(e->g->b, e->in[0], "");
}

static LLVMValueRef intrinsic1(Elem *e, const char *name)
{
	return gen_call(e->g, name, LLVMTypeOf(e->in[0]), e->in, 1);
}

static LLVMValueRef emit_abs(Elem *e) { return intrinsic1(e, "llvm.fabs"); }
static LLVMValueRef emit_sqrt(Elem *e) { return intrinsic1(e, "llvm.sqrt"); }
static LLVMValueRef emit_exp(Elem *e) { return vec_exp(e->g, e->in[0]); }
static LLVMValueRef emit_log(Elem *e) { return vec_log(e->g, e->in[0]); }
static LLVMValueRef emit_rsqrt(Elem *e) { return vec_rsqrt(e->g, e->in[0]); }
static LLVMValueRef emit_tanh(Elem *e) { return vec_tanh(e->g, e->in[0]); }
static LLVMValueRef emit_erf(Elem *e) { return vec_erf(e->g, e->in[0]); }
static LLVMValueRef emit_sin(Elem *e) { return vec_sin(e->g, e->in[0]); }
static LLVMValueRef emit_cos(Elem *e) { return vec_cos(e->g, e->in[0]); }
static LLVMValueRef emit_sigmoid(Elem *e) { return vec_sigmoid(e->g, e->in[0]); }
static LLVMValueRef emit_pow(Elem *e) { return vec_pow(e->g, e->in[0], e->in[1]); }
static LLVMValueRef emit_same(Elem *e) { return e->in[0]; }
static LLVMValueRef emit_not(Elem *e) { return LLVMBuildNot(e->g->b, e->in[0], ""); }

static LLVMValueRef emit_to_f32(Elem *e)
{
	LLVMTypeRef type = gen_type(e->g, DT_F32, e->lanes);
	DType from = e->v->in[0]->type.dt;

	if (from == DT_F32 || from == DT_BF16 || from == DT_F16)
		return e->in[0];
	return from == DT_I32 || from == DT_I8 ? LLVMBuildSIToFP(e->g->b, e->in[0], type, "") : LLVMBuildUIToFP(e->g->b, e->in[0], type, "");
}

/* Toward zero; beyond i32's range its ends, NaN 0. */
static LLVMValueRef emit_to_i32(Elem *e)
{
	LLVMTypeRef type = gen_type(e->g, DT_I32, e->lanes);
	DType from = e->v->in[0]->type.dt;

	if (from == DT_I32)
		return e->in[0];
	if (from == DT_BOOL)
		return LLVMBuildZExt(e->g->b, e->in[0], type, "");
	return gen_call2(e->g, "llvm.fptosi.sat", type, LLVMTypeOf(e->in[0]), e->in, 1);
}

static LLVMValueRef emit_to_bf16(Elem *e)
{
	Gen *g = e->g;
	LLVMTypeRef bits = gen_type(g, DT_I32, e->lanes);
	LLVMValueRef x = LLVMBuildBitCast(g->b, e->in[0], bits, ""), half = shaped(e, gen_i32(g, 16));
	LLVMValueRef even = LLVMBuildAnd(g->b, LLVMBuildLShr(g->b, x, half, ""), shaped(e, gen_i32(g, 1)), "");
	LLVMValueRef up = LLVMBuildAdd(g->b, LLVMBuildAdd(g->b, x, shaped(e, gen_i32(g, 0x7fff)), ""), even, "");
	LLVMValueRef quiet = LLVMBuildOr(g->b, x, shaped(e, gen_i32(g, 0x400000)), "");
	LLVMValueRef nan = LLVMBuildFCmp(g->b, LLVMRealUNO, e->in[0], e->in[0], "");
	x = LLVMBuildAnd(g->b, LLVMBuildSelect(g->b, nan, quiet, up, ""), shaped(e, gen_i32(g, -65536)), "");
	return LLVMBuildBitCast(g->b, x, gen_type(g, DT_F32, e->lanes), "");
}

static LLVMValueRef emit_to_f16(Elem *e) { return gen_half_value(e->g, gen_half_bits(e->g, e->in[0], e->lanes), e->lanes); }

static LLVMValueRef emit_to_i8(Elem *e)
{
	Gen *g = e->g;
	LLVMTypeRef i32 = gen_type(g, DT_I32, e->lanes);
	LLVMValueRef most = shaped(e, gen_i32(g, 127)), least = shaped(e, gen_i32(g, -127)), even = intrinsic1(e, "llvm.roundeven");
	LLVMValueRef x = gen_call2(g, "llvm.fptosi.sat", i32, LLVMTypeOf(even), &even, 1);
	x = LLVMBuildSelect(g->b, LLVMBuildICmp(g->b, LLVMIntSGT, x, most, ""), most, x, "");
	return LLVMBuildSelect(g->b, LLVMBuildICmp(g->b, LLVMIntSLT, x, least, ""), least, x, "");
}

/* The product's factors where x is one, so that a sum with it becomes a fused multiply-add. */
static bool is_product(LLVMValueRef x, LLVMValueRef *a, LLVMValueRef *b)
{
	if (!LLVMIsAInstruction(x) || LLVMGetInstructionOpcode(x) != LLVMFMul)
		return false;
	*a = LLVMGetOperand(x, 0);
	*b = LLVMGetOperand(x, 1);
	return true;
}

static LLVMValueRef emit_add(Elem *e)
{
	LLVMValueRef a, b;

	if (!is_float(e))
		return LLVMBuildAdd(e->g->b, e->in[0], e->in[1], "");
	if (e->g->t->fma && is_product(e->in[0], &a, &b))
		return vec_fma(e->g, a, b, e->in[1]);
	if (e->g->t->fma && is_product(e->in[1], &a, &b))
		return vec_fma(e->g, a, b, e->in[0]);
	return LLVMBuildFAdd(e->g->b, e->in[0], e->in[1], "");
}

static LLVMValueRef emit_sub(Elem *e)
{
	LLVMValueRef a, b;

	if (!is_float(e))
		return LLVMBuildSub(e->g->b, e->in[0], e->in[1], "");
	if (e->g->t->fma && is_product(e->in[0], &a, &b))
		return vec_fma(e->g, a, b, LLVMBuildFNeg(e->g->b, e->in[1], ""));
	if (e->g->t->fma && is_product(e->in[1], &a, &b))
		return vec_fma(e->g, LLVMBuildFNeg(e->g->b, a, ""), b, e->in[0]);
	return LLVMBuildFSub(e->g->b, e->in[0], e->in[1], "");
}

static LLVMValueRef emit_mul(Elem *e)
{
	return gen_bin(e->g, is_float(e) ? LLVMFMul : LLVMMul, e->in[0], e->in[1]);
}

static LLVMValueRef emit_div(Elem *e) { return gen_bin(e->g, LLVMFDiv, e->in[0], e->in[1]); }

static LLVMValueRef compare(Elem *e, LLVMRealPredicate f, LLVMIntPredicate i)
{
	return is_float(e) ? LLVMBuildFCmp(e->g->b, f, e->in[0], e->in[1], "") :
			     LLVMBuildICmp(e->g->b, i, e->in[0], e->in[1], "");
}

static LLVMValueRef emit_eq(Elem *e) { return compare(e, LLVMRealOEQ, LLVMIntEQ); }
static LLVMValueRef emit_ne(Elem *e) { return compare(e, LLVMRealUNE, LLVMIntNE); }
static LLVMValueRef emit_lt(Elem *e) { return compare(e, LLVMRealOLT, LLVMIntSLT); }
static LLVMValueRef emit_le(Elem *e) { return compare(e, LLVMRealOLE, LLVMIntSLE); }
static LLVMValueRef emit_and(Elem *e) { return gen_bin(e->g, LLVMAnd, e->in[0], e->in[1]); }
static LLVMValueRef emit_or(Elem *e) { return gen_bin(e->g, LLVMOr, e->in[0], e->in[1]); }

/* With a NaN on either side the result is b: x86's max and min as they are. */
static LLVMValueRef emit_max(Elem *e)
{
	LLVMValueRef c = compare(e, LLVMRealOGT, LLVMIntSGT);
	return LLVMBuildSelect(e->g->b, c, e->in[0], e->in[1], "");
}

static LLVMValueRef emit_min(Elem *e)
{
	LLVMValueRef c = compare(e, LLVMRealOLT, LLVMIntSLT);
	return LLVMBuildSelect(e->g->b, c, e->in[0], e->in[1], "");
}

static LLVMValueRef emit_select(Elem *e)
{
	return LLVMBuildSelect(e->g->b, e->in[0], e->in[1], e->in[2], "");
}

static Emit1 *const emitters[OP_COUNT] = {
	[OP_CONST] = emit_const, [OP_IOTA] = emit_iota, [OP_DIMVAL] = emit_dimval, [OP_RANDOM] = emit_random,
	[OP_NEG] = emit_neg, [OP_ABS] = emit_abs, [OP_EXP] = emit_exp, [OP_LOG] = emit_log, [OP_SQRT] = emit_sqrt,
	[OP_RSQRT] = emit_rsqrt, [OP_TANH] = emit_tanh, [OP_ERF] = emit_erf, [OP_SIN] = emit_sin, [OP_COS] = emit_cos,
	[OP_SIGMOID] = emit_sigmoid, [OP_STOP] = emit_same, [OP_NOT] = emit_not, [OP_TO_F32] = emit_to_f32,
	[OP_TO_I32] = emit_to_i32, [OP_TO_BF16] = emit_to_bf16, [OP_TO_F16] = emit_to_f16, [OP_TO_I8] = emit_to_i8,
	[OP_ADD] = emit_add, [OP_SUB] = emit_sub, [OP_MUL] = emit_mul, [OP_DIV] = emit_div,
	[OP_POW] = emit_pow, [OP_MAX] = emit_max, [OP_MIN] = emit_min, [OP_EQ] = emit_eq, [OP_NE] = emit_ne,
	[OP_LT] = emit_lt, [OP_LE] = emit_le, [OP_AND] = emit_and, [OP_OR] = emit_or, [OP_SELECT] = emit_select,
	[OP_COPY] = emit_same,
};

LLVMValueRef gen_elem(Gen *g, Value *v, LLVMValueRef *operands, LLVMValueRef index, int lanes)
{
	Elem e = { .g = g, .v = v, .in = operands, .index = index, .lanes = lanes };

	if (!emitters[v->op])
		bug("no kernel code for op %s", op_info[v->op].text);
	return emitters[v->op](&e);
}

/* n in the shape of t, an i64 or a vector of them. */
static LLVMValueRef wide_const(LLVMTypeRef t, uint64_t n)
{
	LLVMValueRef lane[64];

	if (LLVMGetTypeKind(t) != LLVMVectorTypeKind)
		return LLVMConstInt(t, n, 0);
	for (unsigned i = 0; i < LLVMGetVectorSize(t); i++)
		lane[i] = LLVMConstInt(LLVMGetElementType(t), n, 0);
	return LLVMConstVector(lane, LLVMGetVectorSize(t));
}

/* Philox2x32 with 10 rounds (Salmon, Moraes, Dror & Shaw 2011, sec. 3.3): key seed, counter (index, stream); the
 * top 24 bits of the first word as a float in [0, 1). Words stay in the low halves of 64-bit lanes, whose high
 * halves a widening multiplication ignores. */
LLVMValueRef gen_philox(Gen *g, LLVMValueRef seed, LLVMValueRef stream, LLVMValueRef index)
{
	LLVMTypeRef narrow = LLVMTypeOf(index), wide = g->i64, real = g->f32;
	LLVMValueRef x, y, key, p, bump, low, half;

	if (LLVMGetTypeKind(narrow) == LLVMVectorTypeKind) {
		wide = LLVMVectorType(g->i64, LLVMGetVectorSize(narrow));
		real = LLVMVectorType(g->f32, LLVMGetVectorSize(narrow));
	}
	x = LLVMBuildZExt(g->b, index, wide, "");
	y = LLVMBuildZExt(g->b, stream, wide, "");
	key = LLVMBuildZExt(g->b, seed, wide, "");
	bump = wide_const(wide, 0x9E3779B9);
	low = wide_const(wide, 0xFFFFFFFF);
	half = wide_const(wide, 32);
	for (int round = 0; round < 10; round++) {
		p = LLVMBuildMul(g->b, LLVMBuildAnd(g->b, x, low, ""), wide_const(wide, 0xD256D193), "");
		x = LLVMBuildXor(g->b, LLVMBuildLShr(g->b, p, half, ""), LLVMBuildXor(g->b, key, y, ""), "");
		y = p;
		key = LLVMBuildAdd(g->b, key, bump, "");
	}
	x = LLVMBuildLShr(g->b, LLVMBuildAnd(g->b, x, low, ""), wide_const(wide, 8), "");
	x = LLVMBuildSIToFP(g->b, LLVMBuildTrunc(g->b, x, narrow, ""), real, "");
	p = LLVMGetTypeKind(narrow) == LLVMVectorTypeKind ? gen_splat(g, gen_f32(g, 1.0 / 16777216)) : gen_f32(g, 1.0 / 16777216);
	return LLVMBuildFMul(g->b, x, p, "");
}
