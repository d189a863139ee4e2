/* micro_bf16.c: the register tile of contractions of bf16: acc (h,nr) = or += A (h,k) B (k,nr) in f32, in three ways (Target.bf16).
 *
 * k goes in pairs: A's rows are consecutive in memory, so that a pair is 32 bits; B's panels have (k, c) and (k + 1, c) side by
 * side. An odd k ends in a pair whose second half is zero on both sides.
 *
 * BF16_CONVERT  each half becomes an f32; the product of two bf16 is exact in f32, so that a multiply-add rounds once with or
 *               without fma: all such targets compute the same bits.
 * BF16_DOT      vdpbf16ps: both products of a pair are added with a rounding each.
 * BF16_TILES    tdpbf16ps: 16 pairs at once, even and odd k summed apart, then both added to acc; tiles of 16 x 16 sums, two by two.
 * The last two take denormals as zeros and flush them (Intel, SDM vol. 2, VDPBF16PS, TDPBF16PS). Each way the order of a sum depends on k
 * alone, if blocks of k are multiples of 32: not on its place in a tile, nor on how rows, columns or k are divided. */
#include "backend/gen.h"

enum { MAX_ROWS = 16, MAX_COLS = 4, TILE = 16 };
enum { P_A, P_LDA, P_B, P_PAIRS, P_ACC, P_FIRST, P_RIGHT, P_RSTEP, P_H };       /* as the f32 tile's */

int tile_unroll_bf16(const Target *t)
{
	return t->bf16 == BF16_TILES ? TILE : TILE_UNROLL;
}


static LLVMValueRef select_if(Gen *g, LLVMIntPredicate p, LLVMValueRef a, int64_t n, LLVMValueRef yes, LLVMValueRef no)
{
	return LLVMBuildSelect(g->b, LLVMBuildICmp(g->b, p, a, gen_i64(g, n), ""), yes, no, "");
}

/* Tiles */

static LLVMValueRef imm8(Gen *g, int n) { return LLVMConstInt(g->i8, (unsigned)n, 0); }

static void put_byte(Gen *g, LLVMValueRef at, int offset, LLVMValueRef x, unsigned bits)
{
	LLVMValueRef v = LLVMBuildTrunc(g->b, x, LLVMIntTypeInContext(g->ctx, bits), "");
	LLVMSetAlignment(LLVMBuildStore(g->b, v, gen_at(g, at, gen_i64(g, offset), 1)), 1);
}

/* void (h0, h1, pairs): tiles 0..3 are sums of h0 and h1 rows, 4 and 5 A's rows of so many pairs, 6 and 7 B's pairs. */
static LLVMValueRef configure_function(const Gen *outer)
{
	LLVMValueRef fn = LLVMGetNamedFunction(outer->mod, "sn_tiles_configure");
	if (fn)
		return fn;
	Gen s = gen_helper_begin(outer, "sn_tiles_configure", "iii"), *g = &s;
	LLVMValueRef h[2] = { LLVMGetParam(g->fn, 0), LLVMGetParam(g->fn, 1) }, pairs = LLVMGetParam(g->fn, 2);
	LLVMTypeRef lines = LLVMArrayType2(g->i64, 8);
	LLVMValueRef at = gen_var(g, lines), full = gen_i64(g, 4 * TILE);
	LLVMBuildStore(g->b, LLVMConstNull(lines), at);
	put_byte(g, at, 0, gen_i64(g, 1), 8);                    /* palette 1 */
	for (int i = 0; i < 8; i++) {
		LLVMValueRef rows = i < 4 ? h[i / 2] : i < 6 ? h[i - 4] : pairs;
		bool left = i == 4 || i == 5;
		put_byte(g, at, 16 + 2 * i, left ? gen_mul(g, pairs, gen_i64(g, 4)) : full, 16);
		put_byte(g, at, 48 + i, rows, 8);
	}
	gen_call_plain(g, "llvm.x86.ldtilecfg", &at, 1);
	return gen_helper_end(g);
}

/* For tiles of h rows, of which the lower two have one at least. */
static void configure(Gen *g, LLVMValueRef h, LLVMValueRef pairs)
{
	LLVMValueRef n = gen_i64(g, TILE), h0 = select_if(g, LLVMIntSLT, h, TILE, h, n);
	LLVMValueRef h1 = select_if(g, LLVMIntSGT, h, TILE, LLVMBuildNSWSub(g->b, h, n, ""), gen_i64(g, 1));
	gen_helper_call(g, configure_function(g), (LLVMValueRef[]){ h0, h1, pairs }, 3);
}

LLVMValueRef gen_tiles_begin(Gen *g)
{
	LLVMValueRef rows = gen_var(g, g->i64);
	LLVMBuildStore(g->b, gen_i64(g, 2 * TILE), rows);
	if (g->t->bf16 == BF16_TILES)
		configure(g, gen_i64(g, 2 * TILE), gen_i64(g, TILE));
	return rows;
}

void gen_tiles_height(Gen *g, LLVMValueRef rows, LLVMValueRef h)
{
	if (g->t->bf16 != BF16_TILES)
		return;
	LLVMValueRef differs = LLVMBuildSub(g->b, h, LLVMBuildLoad2(g->b, g->i64, rows, ""), "");
	If other = gen_if(g, LLVMBuildICmp(g->b, LLVMIntNE, differs, gen_i64(g, 0), ""));
	configure(g, h, gen_i64(g, TILE));
	LLVMBuildStore(g->b, h, rows);
	gen_end_if(g, &other);
}

void gen_tiles_end(Gen *g)
{
	if (g->t->bf16 == BF16_TILES)
		gen_call_plain(g, "llvm.x86.tilerelease", NULL, 0);
}

bool gen_uses_tiles(LLVMModuleRef mod)
{
	return LLVMGetNamedFunction(mod, "sn_tiles_configure") != NULL;
}

static void tile_load(Gen *g, int tile, LLVMValueRef at, LLVMValueRef pitch)
{
	gen_call_plain(g, "llvm.x86.tileloadd64", (LLVMValueRef[]){ imm8(g, tile), at, pitch }, 3);
}

/* Sums of tile i: 16 rows by 16 columns of acc. */
static LLVMValueRef sums_at(Gen *g, LLVMValueRef acc, int i)
{
	return gen_at(g, acc, gen_i64(g, (i / 2 * TILE * g->t->nr + i % 2 * TILE) * 4), 1);
}

/* The tiles of sums in use: all four, or the upper two. */
static void tiles_start(Gen *g, int sums, LLVMValueRef acc, LLVMValueRef first, LLVMValueRef pitch)
{
	LLVMBasicBlockRef zero = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "zero");
	LLVMBasicBlockRef more = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "continue");
	LLVMBasicBlockRef go = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "go");
	LLVMBuildCondBr(g->b, LLVMBuildICmp(g->b, LLVMIntNE, first, gen_i64(g, 0), ""), zero, more);
	LLVMPositionBuilderAtEnd(g->b, zero);
	for (int i = 0; i < sums; i++)
		gen_call_plain(g, "llvm.x86.tilezero", (LLVMValueRef[]){ imm8(g, i) }, 1);
	LLVMBuildBr(g->b, go);
	LLVMPositionBuilderAtEnd(g->b, more);
	for (int i = 0; i < sums; i++)
		tile_load(g, i, sums_at(g, acc, i), pitch);
	LLVMBuildBr(g->b, go);
	LLVMPositionBuilderAtEnd(g->b, go);
}

/* The turn's share of what is fetched ahead. */
static void fetch_lines(Gen *g, const LLVMValueRef *p, LLVMValueRef turn, int lines)
{
	LLVMValueRef first = gen_mul(g, turn, gen_i64(g, lines));
	for (int i = 0; i < lines; i++)
		gen_prefetch(g, gen_at(g, p[P_RIGHT], gen_mul(g, gen_add(g, first, gen_i64(g, i)), p[P_RSTEP]), 1), 2);
}

/* void (a, lda, b, steps, acc, first, right, rstep): 16 pairs a step, rows as configured, lda bytes apart; `high`: more than 16. */
static LLVMValueRef steps_function(const Gen *outer, bool high, int lines)
{
	const char *name = internf("sn_tiles%d_lines%d", high ? 2 * TILE : TILE, lines);
	LLVMValueRef fn = LLVMGetNamedFunction(outer->mod, name), p[P_H];
	if (fn)
		return fn;
	Gen s = gen_helper_begin(outer, name, "pipipipi"), *g = &s;
	for (unsigned i = 0; i < COUNT(p); i++)
		p[i] = LLVMGetParam(g->fn, i);
	LLVMValueRef pitch = gen_i64(g, g->t->nr * 4), below = gen_at(g, p[P_A], gen_mul(g, p[P_LDA], gen_i64(g, TILE)), 1);
	int sums = high ? 4 : 2;
	tiles_start(g, sums, p[P_ACC], p[P_FIRST], pitch);
	Loop l = gen_loop_begin(g, gen_i64(g, 0), p[P_PAIRS], gen_i64(g, 1));
	LLVMValueRef k = gen_mul(g, l.iv, gen_i64(g, 4 * TILE)), b = gen_at(g, p[P_B], gen_mul(g, l.iv, gen_i64(g, TILE * g->t->nr * 4)), 1);
	tile_load(g, 6, b, pitch);
	tile_load(g, 4, gen_at(g, p[P_A], k, 1), p[P_LDA]);
	tile_load(g, 7, gen_at(g, b, gen_i64(g, 4 * TILE), 1), pitch);
	if (high)
		tile_load(g, 5, gen_at(g, below, k, 1), p[P_LDA]);
	for (int i = 0; i < sums; i++)
		gen_call_plain(g, "llvm.x86.tdpbf16ps", (LLVMValueRef[]){ imm8(g, i), imm8(g, 4 + i / 2), imm8(g, 6 + i % 2) }, 3);
	fetch_lines(g, p, l.iv, lines);
	gen_loop_end(g, &l);
	for (int i = 0; i < sums; i++)
		gen_call_plain(g, "llvm.x86.tilestored64", (LLVMValueRef[]){ imm8(g, i), sums_at(g, p[P_ACC], i), pitch }, 3);
	return gen_helper_end(g);
}

/* The steps, and the last pairs, which have a configuration of their own. */
static void tiles_of_height(Gen *g, LLVMValueRef *p, bool high, int lines)
{
	LLVMValueRef n = gen_i64(g, TILE), fn = steps_function(g, high, lines), in[P_H];
	LLVMValueRef steps = gen_bin(g, LLVMUDiv, p[P_PAIRS], n), rest = gen_bin(g, LLVMURem, p[P_PAIRS], n);
	memcpy(in, p, sizeof in);
	in[P_LDA] = gen_mul(g, p[P_LDA], gen_i64(g, 2));
	in[P_PAIRS] = steps;
	LLVMValueRef part = LLVMBuildSub(g->b, p[P_PAIRS], rest, "");
	If some = gen_if(g, LLVMBuildICmp(g->b, LLVMIntNE, select_if(g, LLVMIntEQ, rest, 0, n, part), gen_i64(g, 0), ""));   /* of no pairs: zeros */
	gen_helper_call(g, fn, in, P_H);
	gen_end_if(g, &some);
	If last = gen_if(g, LLVMBuildICmp(g->b, LLVMIntNE, rest, gen_i64(g, 0), ""));
	configure(g, p[P_H], rest);
	in[P_A] = gen_at(g, p[P_A], gen_mul(g, steps, gen_i64(g, 4 * TILE)), 1);
	in[P_B] = gen_at(g, p[P_B], gen_mul(g, steps, gen_i64(g, TILE * g->t->nr * 4)), 1);
	in[P_RIGHT] = gen_at(g, p[P_RIGHT], gen_mul(g, gen_mul(g, steps, gen_i64(g, lines)), p[P_RSTEP]), 1);
	in[P_PAIRS] = gen_i64(g, 1);
	in[P_FIRST] = select_if(g, LLVMIntEQ, steps, 0, p[P_FIRST], gen_i64(g, 0));
	gen_helper_call(g, fn, in, P_H);
	configure(g, p[P_H], n);
	gen_end_if(g, &last);
}

static void tiles_body(Gen *g, LLVMValueRef *p, int lines)
{
	LLVMBasicBlockRef low = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "low");
	LLVMBasicBlockRef high = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "high");
	LLVMBuildCondBr(g->b, LLVMBuildICmp(g->b, LLVMIntSLE, p[P_H], gen_i64(g, TILE), ""), low, high);
	LLVMPositionBuilderAtEnd(g->b, low);
	tiles_of_height(g, p, false, lines);
	LLVMBuildRetVoid(g->b);
	LLVMPositionBuilderAtEnd(g->b, high);
	tiles_of_height(g, p, true, lines);
}

/* Vectors */

typedef struct Half { LLVMValueRef lo, hi, bits; } Half;    /* of pairs: as two f32; or as they are */

static Half halves(Gen *g, LLVMValueRef bits)
{
	if (g->t->bf16 == BF16_DOT)
		return (Half){ .bits = LLVMBuildBitCast(g->b, bits, LLVMVectorType(LLVMBFloatTypeInContext(g->ctx), 2 * (unsigned)g->t->lanes), "") };
	LLVMValueRef lo = LLVMBuildShl(g->b, bits, gen_splat(g, gen_i32(g, 16)), "");
	LLVMValueRef hi = LLVMBuildAnd(g->b, bits, gen_splat(g, gen_i32(g, -65536)), "");
	return (Half){ LLVMBuildBitCast(g->b, lo, g->vf, ""), LLVMBuildBitCast(g->b, hi, g->vf, ""), NULL };
}

static LLVMValueRef multiply_add(Gen *g, const Half *a, const Half *b, LLVMValueRef acc)
{
	if (a->bits)
		return gen_call_plain(g, "llvm.x86.avx512bf16.dpbf16ps.512", (LLVMValueRef[]){ acc, a->bits, b->bits }, 3);
	return vec_fma(g, a->hi, b->hi, vec_fma(g, a->lo, b->lo, acc));
}

static LLVMValueRef load_bits(Gen *g, LLVMTypeRef type, LLVMValueRef at, int align)
{
	LLVMValueRef v = LLVMBuildLoad2(g->b, type, at, "");
	LLVMSetAlignment(v, (unsigned)align);
	return v;
}

typedef struct Rows { Gen g; int h, nv; LLVMValueRef p[P_H], row[MAX_ROWS], acc[MAX_ROWS][MAX_COLS]; } Rows;   /* acc: variables */

static LLVMValueRef sum_at(Rows *m, int r, int v)
{
	return gen_at(&m->g, m->p[P_ACC], gen_i64(&m->g, r * m->g.t->nr + v * m->g.t->lanes), 4);
}

/* Zeros where `first`, else what acc holds. */
static void rows_start(Rows *m)
{
	Gen *g = &m->g;
	for (int r = 0; r < m->h; r++)
		for (int v = 0; v < m->nv; v++)
			LLVMBuildStore(g->b, LLVMConstNull(g->vf), m->acc[r][v] = gen_var(g, g->vf));
	If more = gen_if(g, LLVMBuildICmp(g->b, LLVMIntEQ, m->p[P_FIRST], gen_i64(g, 0), ""));
	for (int r = 0; r < m->h; r++)
		for (int v = 0; v < m->nv; v++)
			LLVMBuildStore(g->b, gen_load(g, DT_F32, sum_at(m, r, v), g->t->lanes, NULL), m->acc[r][v]);
	gen_end_if(g, &more);
}

static void rows_step(Rows *m, LLVMValueRef pair)
{
	Gen *g = &m->g;
	Half b[MAX_COLS];
	LLVMValueRef at = gen_at(g, m->p[P_B], gen_mul(g, pair, gen_i64(g, g->t->nr)), 4);
	for (int v = 0; v < m->nv; v++)
		b[v] = halves(g, load_bits(g, g->vi, gen_at(g, at, gen_i64(g, v * g->t->lanes), 4), g->t->lanes * 4));
	for (int r = 0; r < m->h; r++) {
		Half a = halves(g, gen_splat(g, load_bits(g, g->i32, gen_at(g, m->row[r], pair, 4), 2)));
		for (int v = 0; v < m->nv; v++) {
			LLVMValueRef sum = LLVMBuildLoad2(g->b, g->vf, m->acc[r][v], "");
			LLVMBuildStore(g->b, multiply_add(g, &a, &b[v], sum), m->acc[r][v]);
		}
	}
}

/* void (a, lda, b, pairs, acc, first, right, rstep) for h rows. */
static LLVMValueRef rows_function(const Gen *outer, int h, int lines)
{
	const char *name = internf("sn_bf16_%dx%d_lines%d", h, outer->t->nr, lines);
	LLVMValueRef fn = LLVMGetNamedFunction(outer->mod, name);
	if (fn)
		return fn;
	Rows m = { .g = gen_helper_begin(outer, name, "pipipipi"), .h = h, .nv = outer->t->nr / outer->t->lanes };
	Gen *g = &m.g;
	for (unsigned i = 0; i < P_H; i++)
		m.p[i] = LLVMGetParam(g->fn, i);
	for (int r = 0; r < h; r++) {          /* a register each: see microkernel.c */
		LLVMValueRef p = gen_at(g, m.p[P_A], gen_mul(g, gen_i64(g, r), m.p[P_LDA]), 2);
		m.row[r] = gen_call(g, "llvm.launder.invariant.group", g->ptr, &p, 1);
	}
	rows_start(&m);
	LLVMValueRef whole = LLVMBuildAnd(g->b, m.p[P_PAIRS], gen_i64(g, -TILE_UNROLL), "");
	Loop l = gen_loop_begin(g, gen_i64(g, 0), whole, gen_i64(g, TILE_UNROLL));
	for (int i = 0; i < TILE_UNROLL; i++)
		rows_step(&m, gen_add(g, l.iv, gen_i64(g, i)));
	fetch_lines(g, m.p, gen_bin(g, LLVMUDiv, l.iv, gen_i64(g, TILE_UNROLL)), lines);
	gen_loop_end(g, &l);
	Loop last = gen_loop_begin(g, whole, m.p[P_PAIRS], gen_i64(g, 1));
	rows_step(&m, last.iv);
	gen_loop_end(g, &last);
	for (int r = 0; r < h; r++)
		for (int v = 0; v < m.nv; v++)
			gen_store(g, DT_F32, LLVMBuildLoad2(g->b, g->vf, m.acc[r][v], ""), sum_at(&m, r, v), NULL);
	return gen_helper_end(g);
}

/* Rows lo..hi of a tile, n at a time. */
static void some_rows(Gen *g, LLVMValueRef *p, LLVMValueRef lo, LLVMValueRef hi, int n, int lines)
{
	LLVMValueRef in[P_H];
	Loop l = gen_loop_begin(g, lo, hi, gen_i64(g, n));
	memcpy(in, p, sizeof in);
	in[P_A] = gen_at(g, p[P_A], gen_mul(g, l.iv, p[P_LDA]), 2);
	in[P_ACC] = gen_at(g, p[P_ACC], gen_mul(g, l.iv, gen_i64(g, g->t->nr)), 4);
	gen_helper_call(g, rows_function(g, n, lines), in, P_H);
	gen_loop_end(g, &l);
}

/* A full tile has its own height; the rows of a lower one are done 8, 4, 2 and 1 at a time. */
static void rows_body(Gen *g, LLVMValueRef *p, int lines)
{
	LLVMValueRef done = gen_i64(g, 0);
	int mr = g->t->mr, below = 8;
	for (int n = mr; n >= 1; n = n == mr ? below : n / 2) {
		while (below >= mr && below > 0)
			below /= 2;
		LLVMValueRef left = LLVMBuildNSWSub(g->b, p[P_H], done, ""), size = gen_i64(g, n);
		LLVMValueRef end = gen_add(g, done, gen_mul(g, gen_bin(g, LLVMUDiv, left, size), size));
		some_rows(g, p, done, end, n, lines);
		done = end;
	}
}

LLVMValueRef gen_tile_bf16(const Gen *outer, int lines)
{
	const char *name = internf("sn_tile_bf16_lines%d", lines);
	LLVMValueRef fn = LLVMGetNamedFunction(outer->mod, name), p[P_H + 1];
	if (fn)
		return fn;
	Gen s = gen_helper_begin(outer, name, "pipipipii"), *g = &s;
	for (unsigned i = 0; i <= P_H; i++)
		p[i] = LLVMGetParam(g->fn, i);
	if (g->t->bf16 == BF16_TILES)
		tiles_body(g, p, lines);
	else
		rows_body(g, p, lines);
	return gen_helper_end(g);
}
