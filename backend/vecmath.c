/* vecmath.c: exp, log, tanh, erf, sin, cos, sigmoid, rsqrt and pow on vectors (or scalars) of f32, as straight LLVM IR.
 *
 * No calls, no tables, no branches; special values go through by order of comparisons and selects (a comparison with
 * NaN is false). Every polynomial is our own minimax fit (Remez 1934, second algorithm, run in 40 digits), its
 * approximation error stated; bounds in ulp (of the correctly rounded result) hold with and without fused
 * multiply-add and are held by tests/unit/backend_vecmath.c. docs/vecmath.md has the table. */
#include "backend/gen.h"

static LLVMTypeRef like(Gen *g, LLVMValueRef x, LLVMTypeRef scalar)
{
	LLVMTypeRef t = LLVMTypeOf(x);
	return LLVMGetTypeKind(t) == LLVMVectorTypeKind ? LLVMVectorType(scalar, LLVMGetVectorSize(t)) : scalar;
}

/* The number c in the shape of x (float or double). */
static LLVMValueRef num(LLVMValueRef x, double c)
{
	LLVMTypeRef t = LLVMTypeOf(x);
	LLVMValueRef lane[64], one;

	if (LLVMGetTypeKind(t) != LLVMVectorTypeKind)
		return LLVMConstReal(t, c);
	one = LLVMConstReal(LLVMGetElementType(t), c);
	for (unsigned i = 0; i < LLVMGetVectorSize(t); i++)
		lane[i] = one;
	return LLVMConstVector(lane, LLVMGetVectorSize(t));
}

/* The integer c in the shape of the integer vector or scalar x. */
static LLVMValueRef whole(LLVMValueRef x, int64_t c)
{
	LLVMTypeRef t = LLVMTypeOf(x);
	LLVMValueRef lane[64], one;

	if (LLVMGetTypeKind(t) != LLVMVectorTypeKind)
		return LLVMConstInt(t, (unsigned long long)c, 1);
	one = LLVMConstInt(LLVMGetElementType(t), (unsigned long long)c, 1);
	for (unsigned i = 0; i < LLVMGetVectorSize(t); i++)
		lane[i] = one;
	return LLVMConstVector(lane, LLVMGetVectorSize(t));
}

static LLVMValueRef add(Gen *g, LLVMValueRef a, LLVMValueRef b) { return LLVMBuildFAdd(g->b, a, b, ""); }
static LLVMValueRef sub(Gen *g, LLVMValueRef a, LLVMValueRef b) { return LLVMBuildFSub(g->b, a, b, ""); }
static LLVMValueRef mul(Gen *g, LLVMValueRef a, LLVMValueRef b) { return LLVMBuildFMul(g->b, a, b, ""); }

static LLVMValueRef unary(Gen *g, const char *intrinsic, LLVMValueRef x)
{
	return gen_call(g, intrinsic, LLVMTypeOf(x), &x, 1);
}

static LLVMValueRef select_if(Gen *g, LLVMRealPredicate p, LLVMValueRef a, LLVMValueRef b,
			      LLVMValueRef yes, LLVMValueRef no) {
	return LLVMBuildSelect(g->b, LLVMBuildFCmp(g->b, p, a, b, ""), yes, no, "");
}

/* x within [lo, hi]; NaN stays. */
static LLVMValueRef clamp(Gen *g, LLVMValueRef x, double lo, double hi)
{
	x = select_if(g, LLVMRealOLT, x, num(x, lo), num(x, lo), x);
	return select_if(g, LLVMRealOGT, x, num(x, hi), num(x, hi), x);
}

LLVMValueRef vec_fma(Gen *g, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c)
{
	LLVMValueRef in[3] = { a, b, c };

	if (!g->t->fma)
		return add(g, mul(g, a, b), c);
	return gen_call(g, "llvm.fma", LLVMTypeOf(a), in, 3);
}

/* c[0] + c[1] x + ... (Horner) */
static LLVMValueRef poly(Gen *g, LLVMValueRef x, const double *c, int n)
{
	LLVMValueRef y = num(x, c[n - 1]);

	for (int i = n - 2; i >= 0; i--)
		y = vec_fma(g, y, x, num(x, c[i]));
	return y;
}

/* x to the nearest integer, as a float and as an i32; |x| < 2^22. Adding 1.5 * 2^23 leaves the integer in the low
 * bits of the sum; unlike a conversion it is defined for NaN. */
static LLVMValueRef round_i32(Gen *g, LLVMValueRef x, LLVMValueRef scale, LLVMValueRef *as_int)
{
	const double magic = 12582912.0;
	LLVMValueRef sum = vec_fma(g, x, scale, num(x, magic));
	LLVMValueRef bits = LLVMBuildBitCast(g->b, sum, like(g, x, g->i32), "");

	*as_int = LLVMBuildSub(g->b, bits, whole(bits, 0x4b400000), "");
	return sub(g, sum, num(x, magic));
}

/* 2^n for n in [-126, 127]: the exponent field. */
static LLVMValueRef two_to(Gen *g, LLVMValueRef n, LLVMTypeRef type)
{
	LLVMValueRef e = LLVMBuildAdd(g->b, n, whole(n, 127), "");
	return LLVMBuildBitCast(g->b, LLVMBuildShl(g->b, e, whole(e, 23), ""), type, "");
}

/* r = x - n ln 2 with n = round(x / ln 2), ln 2 in two parts of which the first has 10 bits, so that n times it is
 * exact (Cody & Waite 1980, ch. 6); and q with e^r = 1 + r + r^2 q, |r| <= ln2/2, relative error 3.3e-9. */
typedef struct ExpParts { LLVMValueRef n, nf, r, q; } ExpParts;

static ExpParts exp_reduce(Gen *g, LLVMValueRef x)
{
	static const double c[] = { 0.49999993051, 0.166665147891, 0.0416684567387, 0.00836941904746, 0.00138131469211 };
	ExpParts e;

	e.nf = round_i32(g, x, num(x, 1.44269504088896341), &e.n);
	e.r = vec_fma(g, e.nf, num(x, -0.693359375), x);
	e.r = vec_fma(g, e.nf, num(x, 2.12194440054690583e-4), e.r);
	e.q = poly(g, e.r, c, COUNT(c));
	return e;
}

/* y 2^n, n from -152 to 130, beyond the exponent's range at both ends: in two halves, or by AVX-512's own
 * instruction. */
static LLVMValueRef scale_by(Gen *g, LLVMValueRef y, const ExpParts *e)
{
	LLVMTypeRef type = LLVMTypeOf(y);
	LLVMValueRef half, rest;

	if (g->t->lanes == 16 && type == g->vf) {
		LLVMValueRef in[5] = { y, e->nf, LLVMConstNull(type), LLVMConstInt(LLVMInt16TypeInContext(g->ctx), 0xffff, 0),
				       gen_i32(g, 4 /* current rounding */) };
		return gen_call_plain(g, "llvm.x86.avx512.mask.scalef.ps.512", in, 5);
	}
	half = LLVMBuildAShr(g->b, e->n, whole(e->n, 1), "");
	rest = LLVMBuildSub(g->b, e->n, half, "");
	return LLVMBuildFMul(g->b, mul(g, y, two_to(g, half, type)), two_to(g, rest, type), "");
}

/* e^x, <= 2 ulp also for denormal results; inf above 88.7228, 0 below -103.97. Arguments far below, such as masked
 * scores, never reach the scaling: a product that underflows costs a hundred cycles on x86. */
LLVMValueRef vec_exp(Gen *g, LLVMValueRef x)
{
	LLVMValueRef zero = num(x, 0), gone = LLVMBuildFCmp(g->b, LLVMRealOLT, x, num(x, -104), ""), y;
	ExpParts e;

	x = select_if(g, LLVMRealOGT, x, num(x, 90), num(x, 90), x);
	e = exp_reduce(g, LLVMBuildSelect(g->b, gone, zero, x, ""));
	y = add(g, vec_fma(g, mul(g, e.r, e.r), e.q, e.r), num(x, 1));
	return LLVMBuildSelect(g->b, gone, zero, scale_by(g, y, &e), "");
}

/* log x, <= 2 ulp. x = 2^e m with m in [sqrt(1/2), sqrt 2); log m = f - f^2/2 + f^3 P(f), f = m - 1 (the scheme of
 * Moshier's Cephes), P fitted to 7.5e-10. Negative: NaN; 0: -inf; denormals are scaled up first. */
LLVMValueRef vec_log(Gen *g, LLVMValueRef x)
{
	static const double c[] = { 0.33333312606, -0.250000095794, 0.200021184995, -0.166679969442, 0.142195565047,
		-0.124055701188, 0.118881116835, -0.116757548284, 0.0674688780734 };
	LLVMTypeRef type = LLVMTypeOf(x), it = like(g, x, g->i32);
	LLVMValueRef small = LLVMBuildFCmp(g->b, LLVMRealOLT, x, num(x, 1.17549435e-38), "");
	LLVMValueRef up = LLVMBuildSelect(g->b, small, mul(g, x, num(x, 8388608)), x, "");
	LLVMValueRef bits = LLVMBuildBitCast(g->b, up, it, ""), e, m, f, ff, y, ef;

	/* subtracting the bits of sqrt(1/2) puts the cut between exponents there */
	e = LLVMBuildSub(g->b, bits, whole(bits, 0x3f3504f3), "");
	e = LLVMBuildAShr(g->b, e, whole(bits, 23), "");
	m = LLVMBuildSub(g->b, bits, LLVMBuildShl(g->b, e, whole(bits, 23), ""), "");
	f = sub(g, LLVMBuildBitCast(g->b, m, type, ""), num(x, 1));
	ef = LLVMBuildSIToFP(g->b, e, type, "");
	ef = LLVMBuildSelect(g->b, small, sub(g, ef, num(x, 23)), ef, "");
	ff = mul(g, f, f);
	y = mul(g, mul(g, ff, f), poly(g, f, c, COUNT(c)));
	y = vec_fma(g, ef, num(x, -2.12194440054690583e-4), y);
	y = vec_fma(g, ff, num(x, -0.5), y);
	y = vec_fma(g, ef, num(x, 0.693359375), add(g, f, y));
	y = select_if(g, LLVMRealOGT, x, num(x, 3.40282347e38), x, y);
	y = select_if(g, LLVMRealOEQ, x, num(x, 0), num(x, -__builtin_inf()), y);
	return select_if(g, LLVMRealOGE, x, num(x, 0), y, num(x, __builtin_nan("")));
}

/* tanh x = E / (E + 2), E = e^2|x| - 1, <= 3 ulp. E = 2^n (r + r^2 q) + (2^n - 1) keeps its relative accuracy near 0;
 * 2^n - 1 is exact for n < 25, and beyond |x| = 9.02 the result rounds to 1. */
LLVMValueRef vec_tanh(Gen *g, LLVMValueRef x)
{
	LLVMTypeRef type = LLVMTypeOf(x);
	LLVMValueRef a = unary(g, "llvm.fabs", x), s, em1, in[2];
	ExpParts e;

	a = select_if(g, LLVMRealOGT, a, num(x, 9.5), num(x, 9.5), a);
	e = exp_reduce(g, add(g, a, a));
	s = two_to(g, e.n, type);
	em1 = vec_fma(g, s, vec_fma(g, mul(g, e.r, e.r), e.q, e.r), sub(g, s, num(x, 1)));
	in[0] = LLVMBuildFDiv(g->b, em1, add(g, em1, num(x, 2)), "");
	in[1] = x;
	return gen_call(g, "llvm.copysign", type, in, 2);
}

/* erf x, <= 3 ulp. |x| < 0.9: x P(x^2), P fitted to 1.3e-8. Else 1 - e^Q(|x|), Q = log erfc fitted so that the error in
 * erf is 6.7e-11; at 4 the result is 1. */
LLVMValueRef vec_erf(Gen *g, LLVMValueRef x)
{
	static const double p[] = { 1.12837915219, -0.376125118804, 0.112820138794, -0.0267740308455, 0.00500439961543,
		-0.000604970918073 };
	static const double q[] = { 0.000166669163652, -1.12947602427, -0.633426236466, -0.108192078572, 0.0250620916727,
		-0.00414914334204, 0.000429911537064, -2.06993335952e-5 };
	LLVMValueRef a = unary(g, "llvm.fabs", x), b, near, far, in[2];

	b = select_if(g, LLVMRealOGT, a, num(x, 4), num(x, 4), a);
	near = mul(g, x, poly(g, mul(g, b, b), p, COUNT(p)));
	in[0] = sub(g, num(x, 1), vec_exp(g, poly(g, b, q, COUNT(q))));
	in[1] = x;
	far = gen_call(g, "llvm.copysign", LLVMTypeOf(x), in, 2);
	return select_if(g, LLVMRealOLT, a, num(x, 0.9), near, far);
}

/* 1/(1 + e^-x), <= 3 ulp where the result is normal. */
LLVMValueRef vec_sigmoid(Gen *g, LLVMValueRef x)
{
	LLVMValueRef e = vec_exp(g, LLVMBuildFNeg(g->b, x, ""));
	return LLVMBuildFDiv(g->b, num(x, 1), add(g, e, num(x, 1)), "");
}

/* 1/sqrt x, each step correctly rounded: <= 1.5 ulp. */
LLVMValueRef vec_rsqrt(Gen *g, LLVMValueRef x)
{
	return LLVMBuildFDiv(g->b, num(x, 1), unary(g, "llvm.sqrt", x), "");
}

/* sin (quarter 0) or cos (quarter 1), <= 2 ulp for |x| <= 1e5. The reduction by multiples of pi/2 is done in double
 * with pi/2 in two parts (Cody & Waite 1980, ch. 8; the first part has 33 bits: n times it is exact to n = 2^20), the
 * polynomials on [-pi/4, pi/4] in f32 (errors 4.1e-9, 1.3e-10). Up to 2^30 the absolute error grows to 1e-6;
 * beyond, the result is NaN. */
static LLVMValueRef circular(Gen *g, LLVMValueRef x, int quarter)
{
	static const double s[] = { -0.166666538634, 0.00833211302494, -0.000195087391768 };
	static const double c[] = { 0.0416666443692, -0.001388725155, 2.44256881707e-5 };
	const double magic = 6755399441055744.0;   /* 1.5 * 2^52 */
	LLVMTypeRef it = like(g, x, g->i32);
	LLVMValueRef a, wide, n, k, r, rr, sn, cs, odd, sign, y, in[3];

	a = unary(g, "llvm.fabs", x);
	x = select_if(g, LLVMRealOLE, a, num(x, 1073741824), x, num(x, __builtin_nan("")));
	wide = LLVMBuildFPExt(g->b, x, like(g, x, LLVMDoubleTypeInContext(g->ctx)), "");
	n = add(g, mul(g, wide, num(wide, 0.63661977236758134308)), num(wide, magic));
	k = LLVMBuildBitCast(g->b, n, like(g, x, g->i64), "");
	k = LLVMBuildTrunc(g->b, k, it, "");
	k = LLVMBuildAdd(g->b, k, whole(k, quarter), "");
	n = sub(g, n, num(wide, magic));
	in[0] = sub(g, wide, mul(g, n, num(wide, 1.57079632673412561417)));
	in[1] = mul(g, n, num(wide, 6.07710050650619224932e-11));
	r = LLVMBuildFPTrunc(g->b, sub(g, in[0], in[1]), LLVMTypeOf(x), "");
	rr = mul(g, r, r);
	sn = vec_fma(g, mul(g, rr, r), poly(g, rr, s, COUNT(s)), r);
	cs = vec_fma(g, mul(g, rr, rr), poly(g, rr, c, COUNT(c)), vec_fma(g, rr, num(x, -0.5), num(x, 1)));
	odd = LLVMBuildTrunc(g->b, k, like(g, x, g->i1), "");
	y = LLVMBuildSelect(g->b, odd, cs, sn, "");
	sign = LLVMBuildShl(g->b, LLVMBuildAnd(g->b, k, whole(k, 2), ""), whole(k, 30), "");
	sign = LLVMBuildXor(g->b, LLVMBuildBitCast(g->b, y, it, ""), sign, "");
	return LLVMBuildBitCast(g->b, sign, LLVMTypeOf(x), "");
}

LLVMValueRef vec_sin(Gen *g, LLVMValueRef x) { return circular(g, x, 0); }
LLVMValueRef vec_cos(Gen *g, LLVMValueRef x) { return circular(g, x, 1); }

/* log2 of a positive double vector that came from f32: exponent plus 2/ln2 atanh((m-1)/(m+1)), error 2.8e-14. */
static LLVMValueRef log2_double(Gen *g, LLVMValueRef x)
{
	static const double c[] = { 2.8853900817778452179, 0.96179669412302842313, 0.57707793931085194775,
		0.41220958258456342805, 0.31989135034706354407, 0.28311564420421920667 };
	LLVMTypeRef type = LLVMTypeOf(x);
	LLVMValueRef bits = LLVMBuildBitCast(g->b, x, like(g, x, g->i64), ""), e, m, s;

	e = LLVMBuildSub(g->b, bits, whole(bits, 0x3fe6a09e667f3bcd), "");
	e = LLVMBuildAShr(g->b, e, whole(bits, 52), "");
	m = LLVMBuildSub(g->b, bits, LLVMBuildShl(g->b, e, whole(bits, 52), ""), "");
	m = LLVMBuildBitCast(g->b, m, type, "");
	s = LLVMBuildFDiv(g->b, sub(g, m, num(x, 1)), add(g, m, num(x, 1)), "");
	e = LLVMBuildTrunc(g->b, e, like(g, x, g->i32), "");
	return add(g, LLVMBuildSIToFP(g->b, e, type, ""), mul(g, s, poly(g, mul(g, s, s), c, COUNT(c))));
}

/* 2^x in double, relative error 4.4e-11; x within [-160, 160]. */
static LLVMValueRef exp2_double(Gen *g, LLVMValueRef x)
{
	static const double c[] = { 0.99999999995855110769, 0.69314718074237029668, 0.24022651228753014579,
		0.055504103218978774206, 0.0096180231479150004922, 0.0013333937404485906677, 0.00015470606208734072959,
		1.5200883530349555335e-05 };
	const double magic = 6755399441055744.0;
	LLVMValueRef n = add(g, x, num(x, magic)), k, y;

	k = LLVMBuildBitCast(g->b, n, like(g, x, g->i64), "");
	y = poly(g, sub(g, x, sub(g, n, num(x, magic))), c, COUNT(c));
	k = LLVMBuildShl(g->b, k, whole(k, 52), "");   /* the low bits of n's sum: added to y's exponent */
	y = LLVMBuildBitCast(g->b, y, LLVMTypeOf(k), "");
	return LLVMBuildBitCast(g->b, LLVMBuildAdd(g->b, y, k, ""), LLVMTypeOf(x), "");
}

/* a^b for a >= 0, <= 1 ulp: 2^(b log2 a) in double. b = 0 gives 1; a = 0 gives 0 or (b < 0) inf; a < 0 gives NaN. */
LLVMValueRef vec_pow(Gen *g, LLVMValueRef a, LLVMValueRef b)
{
	LLVMTypeRef wide = like(g, a, LLVMDoubleTypeInContext(g->ctx));
	LLVMValueRef inf = num(a, __builtin_inf()), zero = num(a, 0), e, y, edge, neg;

	e = log2_double(g, LLVMBuildFPExt(g->b, a, wide, ""));
	e = mul(g, e, LLVMBuildFPExt(g->b, b, wide, ""));
	y = exp2_double(g, clamp(g, e, -160, 160));
	y = LLVMBuildFPTrunc(g->b, y, LLVMTypeOf(a), "");
	neg = LLVMBuildFCmp(g->b, LLVMRealOLT, b, zero, "");
	edge = LLVMBuildSelect(g->b, neg, inf, zero, "");
	y = select_if(g, LLVMRealOEQ, a, zero, edge, y);
	edge = LLVMBuildSelect(g->b, neg, zero, inf, "");
	y = select_if(g, LLVMRealOEQ, a, inf, edge, y);
	y = select_if(g, LLVMRealOGE, a, zero, y, num(a, __builtin_nan("")));
	y = select_if(g, LLVMRealUNO, b, b, b, y);
	return select_if(g, LLVMRealOEQ, b, zero, num(a, 1), y);
}
