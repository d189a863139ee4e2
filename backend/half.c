/* half.c: IEEE 754's half (f16) in memory, an f32 in registers: by instructions where the target has them, else by whole numbers. Both give
 * the bits of half_bits() and half_value() of ir/quant.c. Scalars (lanes 1) or vectors. */
#include "backend/gen.h"

enum { LEAST_NORMAL = 113 << 23, OFFSET = 112 << 23, INFINITE = 0x7f800000 };   /* as f32 */

typedef struct Half { Gen *g; int lanes; LLVMTypeRef f32, i32, memory; } Half;

static LLVMTypeRef wide(LLVMTypeRef one, int lanes) { return lanes == 1 ? one : LLVMVectorType(one, (unsigned)lanes); }

static Half half_of(Gen *g, int lanes)
{
	return (Half){ g, lanes, gen_type(g, DT_F32, lanes), gen_type(g, DT_I32, lanes), wide(LLVMInt16TypeInContext(g->ctx), lanes) };
}

static LLVMTypeRef instructions(const Half *h) { return wide(LLVMHalfTypeInContext(h->g->ctx), h->lanes); }

static LLVMValueRef number(const Half *h, double x)
{
	return h->lanes == 1 ? gen_f32(h->g, x) : gen_splat(h->g, gen_f32(h->g, x));
}

static LLVMValueRef bits(const Half *h, int64_t x)
{
	return h->lanes == 1 ? gen_i32(h->g, x) : gen_splat(h->g, gen_i32(h->g, x));
}

static LLVMValueRef as(const Half *h, LLVMTypeRef type, LLVMValueRef v) { return LLVMBuildBitCast(h->g->b, v, type, ""); }

/* NaN, which is no smaller, stays. */
static LLVMValueRef at_most(const Half *h, LLVMValueRef x, double most)
{
	LLVMValueRef beyond = LLVMBuildFCmp(h->g->b, most > 0 ? LLVMRealOGT : LLVMRealOLT, x, number(h, most), "");
	return LLVMBuildSelect(h->g->b, beyond, number(h, most), x, "");
}

LLVMValueRef gen_half_bits(Gen *g, LLVMValueRef x, int lanes)
{
	Half h = half_of(g, lanes);
	x = at_most(&h, at_most(&h, x, 65504), -65504);
	if (g->t->halves)
		return as(&h, h.memory, LLVMBuildFPTrunc(g->b, x, instructions(&h), ""));
	LLVMValueRef all = as(&h, h.i32, x), size = LLVMBuildAnd(g->b, all, bits(&h, 0x7fffffff), ""), half = number(&h, 0.5);
	LLVMValueRef small = LLVMBuildSub(g->b, as(&h, h.i32, LLVMBuildFAdd(g->b, as(&h, h.f32, size), half, "")), as(&h, h.i32, half), "");
	LLVMValueRef even = LLVMBuildAnd(g->b, LLVMBuildLShr(g->b, size, bits(&h, 13), ""), bits(&h, 1), "");
	LLVMValueRef normal = LLVMBuildAdd(g->b, LLVMBuildAdd(g->b, size, bits(&h, 0xfff - OFFSET), ""), even, "");
	LLVMValueRef is_small = LLVMBuildICmp(g->b, LLVMIntULT, size, bits(&h, LEAST_NORMAL), "");
	LLVMValueRef is_nan = LLVMBuildICmp(g->b, LLVMIntUGT, size, bits(&h, INFINITE), "");
	LLVMValueRef sign = LLVMBuildAnd(g->b, LLVMBuildLShr(g->b, all, bits(&h, 16), ""), bits(&h, 0x8000), "");
	size = LLVMBuildSelect(g->b, is_small, small, LLVMBuildLShr(g->b, normal, bits(&h, 13), ""), "");
	size = LLVMBuildSelect(g->b, is_nan, bits(&h, 0x7e00), size, "");
	return LLVMBuildTrunc(g->b, LLVMBuildOr(g->b, sign, size, ""), h.memory, "");
}

LLVMValueRef gen_half_value(Gen *g, LLVMValueRef v, int lanes)
{
	Half h = half_of(g, lanes);
	if (g->t->halves)
		return LLVMBuildFPExt(g->b, as(&h, instructions(&h), v), h.f32, "");
	v = LLVMBuildZExt(g->b, v, h.i32, "");
	LLVMValueRef sign = LLVMBuildShl(g->b, LLVMBuildAnd(g->b, v, bits(&h, 0x8000), ""), bits(&h, 16), "");
	LLVMValueRef size = LLVMBuildShl(g->b, LLVMBuildAnd(g->b, v, bits(&h, 0x7fff), ""), bits(&h, 13), "");
	LLVMValueRef finite = as(&h, h.i32, LLVMBuildFMul(g->b, as(&h, h.f32, size), number(&h, 0x1p112), ""));
	LLVMValueRef ends = LLVMBuildICmp(g->b, LLVMIntUGE, size, bits(&h, 0x7c00 << 13), "");
	size = LLVMBuildSelect(g->b, ends, LLVMBuildOr(g->b, size, bits(&h, INFINITE), ""), finite, "");
	return as(&h, h.f32, LLVMBuildOr(g->b, size, sign, ""));
}
