/* quant.c: right operands of contractions kept in blocks of whole numbers (ir/quant.c): packing them, and unpacking a panel's block of k into
 * the order that a register tile reads.
 *
 *     columns in groups of `lanes`, a group block by block along k, zeros behind the last column and the last k:
 *     block:  lanes scales in f16 | rows of lanes dwords, a dword a column
 *     q8_0:   8 rows; byte j of row r is element 4r + j, plus 128
 *     q4_0:   4 rows; the low halves of the bytes are elements 8r..8r+3, the high ones 8r+4..8r+7, plus 8
 *
 * Four consecutive k of a column in a dword are what integer dot products take (vpdpbusd, tdpbusd, udot); the offset makes them unsigned. One
 * order serves tiles of any width, and a matrix is read as one stretch of memory a group. */
#include "backend/gen.h"


static int64_t block_bytes(const Target *t, Quant q)
{
	return t->lanes * (2 + QUANT_BLOCK * quant_bits[q] / 8);
}

int64_t quant_bytes(const Target *t, Quant q, int64_t k, int64_t n)
{
	return (n + t->lanes - 1) / t->lanes * ((k + QUANT_BLOCK - 1) / QUANT_BLOCK) * block_bytes(t, q);
}

/* Bytes from one group to the next. */
static LLVMValueRef group_pitch(Gen *g, const QuantSource *s)
{
	return gen_mul(g, gen_ceil_div(g, s->k, gen_i64(g, QUANT_BLOCK)), gen_i64(g, block_bytes(g->t, s->format)));
}

LLVMValueRef gen_quant_at(Gen *g, const QuantSource *s, LLVMValueRef batch, LLVMValueRef column, LLVMValueRef k)
{
	LLVMValueRef groups = gen_ceil_div(g, s->n, gen_i64(g, g->t->lanes)), group = gen_bin(g, LLVMUDiv, column, gen_i64(g, g->t->lanes));
	LLVMValueRef at = gen_mul(g, gen_add(g, gen_mul(g, batch, groups), group), group_pitch(g, s));
	LLVMValueRef block = gen_bin(g, LLVMUDiv, k, gen_i64(g, QUANT_BLOCK));
	return gen_at(g, s->base, gen_add(g, at, gen_mul(g, block, gen_i64(g, block_bytes(g->t, s->format)))), 1);
}

static LLVMValueRef splat_i32(Gen *g, int64_t n) { return gen_splat(g, gen_i32(g, n)); }
static LLVMValueRef splat_f32(Gen *g, double x) { return gen_splat(g, gen_f32(g, x)); }
static LLVMValueRef as_bits(Gen *g, LLVMValueRef v) { return LLVMBuildBitCast(g->b, v, g->vi, ""); }

static LLVMValueRef load(Gen *g, LLVMTypeRef type, LLVMValueRef at, int align)
{
	LLVMValueRef v = LLVMBuildLoad2(g->b, type, at, "");
	LLVMSetAlignment(v, (unsigned)align);
	return v;
}

static void store(Gen *g, LLVMValueRef v, LLVMValueRef at, int align)
{
	LLVMSetAlignment(LLVMBuildStore(g->b, v, at), (unsigned)align);
}

static LLVMTypeRef halves(Gen *g) { return LLVMVectorType(LLVMInt16TypeInContext(g->ctx), (unsigned)g->t->lanes); }

LLVMValueRef gen_quant_scales(Gen *g, LLVMValueRef block) { return gen_half_value(g, load(g, halves(g), block, 2), g->t->lanes); }

/* Packing: a group's block comes into scratch row by row of k, as floats; then its scales, then its rows of dwords. */

typedef struct Packer { Gen *g; Quant format; LLVMValueRef rows, to, inverse; } Packer;

static LLVMValueRef row(Packer *p, LLVMValueRef k)
{
	Gen *g = p->g;
	return load(g, g->vf, gen_at(g, p->rows, gen_mul(g, k, gen_i64(g, g->t->lanes)), 4), 4);
}

static void fold(Gen *g, const char *intrinsic, LLVMValueRef var, LLVMValueRef x)
{
	LLVMValueRef in[2] = { LLVMBuildLoad2(g->b, g->vf, var, ""), x };
	LLVMBuildStore(g->b, gen_call(g, intrinsic, g->vf, in, 2), var);
}

static void find_scales(Packer *p)
{
	Gen *g = p->g;
	bool wide = p->format == QUANT_Q8_0;
	LLVMValueRef zero = LLVMConstNull(g->vf), least = gen_var(g, g->vf), most = gen_var(g, g->vf);
	LLVMBuildStore(g->b, zero, least);
	LLVMBuildStore(g->b, zero, most);
	Loop k = gen_loop_begin(g, gen_i64(g, 0), gen_i64(g, QUANT_BLOCK), gen_i64(g, 1));
	LLVMValueRef x = row(p, k.iv);
	fold(g, "llvm.minnum", least, x);
	fold(g, "llvm.maxnum", most, x);
	gen_loop_end(g, &k);
	LLVMValueRef lo = LLVMBuildLoad2(g->b, g->vf, least, ""), hi = LLVMBuildLoad2(g->b, g->vf, most, "");
	LLVMValueRef below = LLVMBuildFCmp(g->b, LLVMRealOGT, LLVMBuildFNeg(g->b, lo, ""), hi, "");
	x = LLVMBuildSelect(g->b, below, lo, hi, "");
	if (wide)
		x = gen_call(g, "llvm.fabs", g->vf, &x, 1);
	LLVMValueRef scale = LLVMBuildFDiv(g->b, x, splat_f32(g, wide ? 127 : -8), "");
	LLVMValueRef some = LLVMBuildFCmp(g->b, LLVMRealUNE, scale, zero, "");
	p->inverse = LLVMBuildSelect(g->b, some, LLVMBuildFDiv(g->b, splat_f32(g, 1), scale, ""), zero, "");
	store(g, gen_half_bits(g, scale, g->t->lanes), p->to, 2);
}

/* Element k of each column, made unsigned. */
static LLVMValueRef quantized(Packer *p, LLVMValueRef k)
{
	Gen *g = p->g;
	bool wide = p->format == QUANT_Q8_0;
	LLVMValueRef x[2] = { LLVMBuildFMul(g->b, row(p, k), p->inverse, ""), splat_f32(g, wide ? -127 : -8) };
	x[0] = gen_call(g, "llvm.maxnum", g->vf, x, 2);
	x[1] = splat_f32(g, wide ? 127 : 7);
	x[0] = gen_call(g, "llvm.minnum", g->vf, x, 2);
	LLVMValueRef q = LLVMBuildFPToSI(g->b, gen_call(g, "llvm.rint", g->vf, x, 1), g->vi, "");
	return LLVMBuildAdd(g->b, q, splat_i32(g, wide ? 128 : 8), "");
}

static void put_rows(Packer *p)
{
	Gen *g = p->g;
	int a_row = 32 / quant_bits[p->format], lanes = g->t->lanes;
	Loop r = gen_loop_begin(g, gen_i64(g, 0), gen_i64(g, QUANT_BLOCK / a_row), gen_i64(g, 1));
	LLVMValueRef first = gen_mul(g, r.iv, gen_i64(g, a_row)), dword = LLVMConstNull(g->vi);
	for (int i = 0; i < a_row; i++) {
		LLVMValueRef q = quantized(p, gen_add(g, first, gen_i64(g, i)));
		dword = LLVMBuildOr(g->b, dword, LLVMBuildShl(g->b, q, splat_i32(g, i % 4 * 8 + i / 4 * 4), ""), "");
	}
	store(g, dword, gen_at(g, gen_at(g, p->to, gen_i64(g, lanes * 2), 1), gen_mul(g, r.iv, gen_i64(g, lanes)), 4), 2);
	gen_loop_end(g, &r);
}

typedef struct Operand { LLVMValueRef base, sk, sn, panel_fn; } Operand;      /* as it lies in memory */

/* The k of a block that there are come from memory, the others are zeros. */
static void fetch_rows(Packer *p, const Operand *from, LLVMValueRef src, LLVMValueRef n, LLVMValueRef cols)
{
	Gen *g = p->g;
	LLVMValueRef k = gen_min(g, n, gen_i64(g, QUANT_BLOCK));
	gen_helper_call(g, from->panel_fn, (LLVMValueRef[]){ p->rows, src, from->sk, from->sn, k, cols }, 6);
	Loop z = gen_loop_begin(g, k, gen_i64(g, QUANT_BLOCK), gen_i64(g, 1));
	store(g, LLVMConstNull(g->vf), gen_at(g, p->rows, gen_mul(g, z.iv, gen_i64(g, g->t->lanes)), 4), 4);
	gen_loop_end(g, &z);
}

/* Task: a group of one batch. */
void gen_pack_quant(Gen *g, const Cluster *c, KernelArgs *ka)
{
	Value *pack = c->anchor, *in = pack->in[0];
	const Target *outer = g->t;
	Target narrow = *outer;
	narrow.nr = outer->lanes;
	g->t = &narrow;
	Axes x = axes_of(pack->a.spec, NULL, &pack->type);
	Access a = axes_access(&x, x.in[1], in->type, gen_view(g, in));
	const Dim *sk = axes_stride(&x, x.k, &a), *sn = axes_stride(&x, x.n, &a);
	if (pack->a.side != 1 || !sk || !sn)
		bug("pack \"%s\": not an operand to be kept in blocks", pack->a.spec);
	Operand from = { gen_base(g, in), gen_dim(g, sk), gen_dim(g, sn), gen_panel_function(g, 1, DT_F32, sk, sn) };
	Packer p = { .g = g, .format = pack->a.format, .rows = g->scratch };
	QuantSource to = { p.format, gen_base(g, pack), gen_dim(g, axes_extent(&x, x.k)), gen_dim(g, axes_extent(&x, x.n)) };
	LLVMValueRef lo, hi, lanes = gen_i64(g, outer->lanes), groups = gen_ceil_div(g, to.n, gen_i64(g, outer->lanes));
	gen_share(g, gen_mul(g, gen_dim(g, axes_extent(&x, x.batch)), groups), &lo, &hi);
	Loop l = gen_loop_begin(g, lo, hi, gen_i64(g, 1));
	LLVMValueRef batch = gen_bin(g, LLVMUDiv, l.iv, groups), column = gen_mul(g, gen_bin(g, LLVMURem, l.iv, groups), lanes);
	LLVMValueRef src = gen_add(g, gen_offset(g, &x, x.batch, &a, batch), gen_mul(g, column, from.sn));
	Loop k = gen_loop_begin(g, gen_i64(g, 0), to.k, gen_i64(g, QUANT_BLOCK));
	p.to = gen_quant_at(g, &to, batch, column, k.iv);
	fetch_rows(&p, &from, gen_at(g, from.base, gen_add(g, src, gen_mul(g, k.iv, from.sk)), 4), gen_sub(g, to.k, k.iv), gen_min(g, gen_sub(g, to.n, column), lanes));
	find_scales(&p);
	put_rows(&p);
	gen_loop_end(g, &k);
	gen_loop_end(g, &l);
	ka->scratch = QUANT_BLOCK * outer->lanes * 4;
	g->t = outer;
}

/* Unpacking */

void gen_quant_row(Gen *g, Quant q, LLVMValueRef block, int r, LLVMValueRef *element)
{
	int lanes = g->t->lanes, bits = quant_bits[q], a_row = 32 / bits;
	LLVMValueRef v = load(g, g->vi, gen_at(g, block, gen_i64(g, lanes * 2 + r * lanes * 4), 1), 2);
	v = LLVMBuildXor(g->b, v, splat_i32(g, bits == 8 ? 0x80808080 : 0x88888888), "");
	for (int i = 0; i < a_row; i++) {
		int from = i % 4 * 8 + i / 4 * 4;
		LLVMValueRef x = LLVMBuildShl(g->b, v, splat_i32(g, 32 - bits - from), "");
		element[i] = LLVMBuildSIToFP(g->b, LLVMBuildAShr(g->b, x, splat_i32(g, 32 - bits), ""), g->vf, "");
	}
}

void gen_quant_bytes(Gen *g, Quant q, LLVMValueRef block, LLVMValueRef *row)
{
	int lanes = g->t->lanes, bits = quant_bits[q], parts = 8 / bits;
	for (int i = 0; i < QUANT_BLOCK / 4; i++) {
		LLVMValueRef v = load(g, g->vi, gen_at(g, block, gen_i64(g, lanes * 2 + i / parts * lanes * 4), 1), 2);
		v = i % parts ? LLVMBuildLShr(g->b, v, splat_i32(g, bits), "") : v;
		row[i] = bits == 8 ? v : LLVMBuildAnd(g->b, v, splat_i32(g, 0x0f0f0f0f), "");
	}
}

/* The nearest bf16, ties away from zero, as the upper half of its bits. */
static LLVMValueRef rounded(Gen *g, LLVMValueRef x)
{
	return LLVMBuildAdd(g->b, as_bits(g, x), splat_i32(g, 0x8000), "");
}

/* One block of a group to rows of `nr` columns, of f32 or of pairs of bf16. */
static void unpack_block(Gen *g, Quant q, DType dt, LLVMValueRef block, LLVMValueRef dst)
{
	int a_row = 32 / quant_bits[q], align = g->t->lanes * 4;
	LLVMValueRef scale = gen_quant_scales(g, block), x[8];
	for (int k = 0; k < QUANT_BLOCK; k++) {
		if (k % a_row == 0)
			gen_quant_row(g, q, block, k / a_row, x);
		LLVMValueRef *e = &x[k % a_row];
		*e = LLVMBuildFMul(g->b, *e, scale, "");
		LLVMValueRef to = gen_at(g, dst, gen_i64(g, (dt == DT_BF16 ? k / 2 : k) * g->t->nr), 4);
		if (dt == DT_F32)
			store(g, *e, to, align);
		else if (k % 2) {
			LLVMValueRef lo = LLVMBuildLShr(g->b, rounded(g, e[-1]), splat_i32(g, 16), "");
			LLVMValueRef hi = LLVMBuildAnd(g->b, rounded(g, e[0]), splat_i32(g, -65536), "");
			store(g, LLVMBuildOr(g->b, lo, hi, ""), to, align);
		}
	}
}

/* void (dst, src, blocks, groups, pitch): of so many groups, pitch bytes apart; columns of groups that the panel lacks are zeros. */
static LLVMValueRef unpack_function(const Gen *outer, Quant q, DType dt)
{
	enum { DST, SRC, BLOCKS, GROUPS, PITCH, PARAMS };
	const char *name = internf("sn_unpack_%s_%s_%d", quant_name[q], dtype_name[dt], outer->t->nr);
	LLVMValueRef fn = LLVMGetNamedFunction(outer->mod, name), p[PARAMS];
	if (fn)
		return fn;
	Gen s = gen_helper_begin(outer, name, "ppiii"), *g = &s;
	for (unsigned i = 0; i < PARAMS; i++)
		p[i] = LLVMGetParam(g->fn, i);
	int lanes = g->t->lanes, width = g->t->nr / lanes, rows = dt == DT_BF16 ? QUANT_BLOCK / 2 : QUANT_BLOCK;
	LLVMValueRef one = gen_i64(g, 1), bytes = gen_i64(g, block_bytes(g->t, q)), zero = gen_i64(g, 0);
	Loop i = gen_loop_begin(g, zero, p[GROUPS], one);
	LLVMValueRef dst = gen_at(g, p[DST], gen_mul(g, i.iv, gen_i64(g, lanes)), 4), src = gen_at(g, p[SRC], gen_mul(g, i.iv, p[PITCH]), 1);
	Loop b = gen_loop_begin(g, zero, p[BLOCKS], one);
	unpack_block(g, q, dt, gen_at(g, src, gen_mul(g, b.iv, bytes), 1), gen_at(g, dst, gen_mul(g, b.iv, gen_i64(g, rows * g->t->nr)), 4));
	gen_loop_end(g, &b);
	gen_loop_end(g, &i);
	Loop z = gen_loop_begin(g, p[GROUPS], gen_i64(g, width), one);
	Loop r = gen_loop_begin(g, zero, gen_mul(g, p[BLOCKS], gen_i64(g, rows)), one);
	LLVMValueRef at = gen_add(g, gen_mul(g, r.iv, gen_i64(g, g->t->nr)), gen_mul(g, z.iv, gen_i64(g, lanes)));
	store(g, LLVMConstNull(g->vi), gen_at(g, p[DST], at, 4), lanes * 4);
	gen_loop_end(g, &r);
	gen_loop_end(g, &z);
	return gen_helper_end(g);
}

void gen_unpack(Gen *g, const QuantSource *s, DType dt, LLVMValueRef dst, LLVMValueRef src, LLVMValueRef k, LLVMValueRef cols)
{
	LLVMValueRef in[5] = { dst, src, gen_ceil_div(g, k, gen_i64(g, QUANT_BLOCK)), gen_ceil_div(g, cols, gen_i64(g, g->t->lanes)), group_pitch(g, s) };
	gen_helper_call(g, unpack_function(g, s->format, dt), in, 5);
}
