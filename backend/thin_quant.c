/* thin_quant.c: contractions with an operand 1 in blocks (quant.c) that multiply whole numbers where they are: decoding, and with dot products of
 * bytes any number of rows.
 *
 *     x (m,k) in scratch            blocks of a group of `lanes` columns, one after another in memory
 *     [x x x x | x x x x | ..]  x   [scales, 32 rows of whole numbers] [scales, ..] ..  = acc (m,lanes), then the epilogue
 *
 * By f32: whole numbers become f32 in registers, sum_b scale_b (sum_k x_k q_k), the inner sum in CHAINS parts. By bytes, beside bf16 where the target
 * has dot products of them: x is rounded to blocks of 8 bits, too (ir/quant.c, with an f32 scale), and four products are an instruction:
 * sum_b (scale_b scale_xb) (sum_k xq_k q_k), the inner sum exact. So the weights are all that comes from memory, once for ROW_BLOCK
 * rows, and lines AHEAD_BYTES behind are fetched meanwhile; a group's blocks stay in the caches for all tiles of rows. The order of a sum
 * depends on the target alone: neither on m nor on the threads. */
#include "backend/gen.h"

enum { AHEAD_BYTES = 4096, CHAINS = 4, FEW_CHAINS = 2 };      /* the latter where registers are few */
enum { ROWS = 4, BYTE_ROWS = 16, ROW_BLOCK = 512 };            /* of a tile, by f32 and by bytes; of x in scratch */


static int64_t whole_blocks(int64_t k) { return (k + QUANT_BLOCK - 1) / QUANT_BLOCK * QUANT_BLOCK; }

static bool by_bytes(const Target *t, DType left) { return t->dot8 && left == DT_BF16; }

/* Tiles of AMX are faster than bytes once they are full. */
int64_t thin_quant_rows(const Target *t, DType left)
{
	return !by_bytes(t, left) ? ROWS : t->bf16 == BF16_TILES ? BYTE_ROWS : INT64_MAX;
}

static int tile_height(bool bytes) { return bytes ? BYTE_ROWS : ROWS; }

/* x in scratch: rows of f32, and where bytes are for rows of these, with a scale and an offset for each block. */
typedef struct Left { bool bytes; LLVMValueRef f32, q, scale, offset, pitch, blocks; } Left;

typedef struct Rows { Gen g; Quant format; int h, chains; Left x; } Rows;

static LLVMValueRef row_at(Gen *g, LLVMValueRef base, LLVMValueRef pitch, int r, LLVMValueRef i, int size)
{
	return gen_at(g, base, gen_add(g, gen_mul(g, gen_i64(g, r), pitch), i), size);
}

static LLVMValueRef spread(Gen *g, LLVMTypeRef type, LLVMValueRef at)
{
	LLVMValueRef x = LLVMBuildLoad2(g->b, type, at, "");
	LLVMSetAlignment(x, 4);
	return gen_splat(g, x);
}

/* acc[r] += scale * (x_r . q), of one block. */
static void block_f32(Rows *m, LLVMValueRef at, LLVMValueRef b, LLVMValueRef *acc)
{
	Gen *g = &m->g;
	int a_row = 32 / quant_bits[m->format];
	LLVMValueRef sum[ROWS][CHAINS] = { { 0 } }, q[8], first = gen_mul(g, b, gen_i64(g, QUANT_BLOCK));
	for (int k = 0; k < QUANT_BLOCK; k++) {
		if (k % a_row == 0)
			gen_quant_row(g, m->format, at, k / a_row, q);
		for (int r = 0; r < m->h; r++) {
			LLVMValueRef *s = &sum[r][k % m->chains];
			LLVMValueRef x = spread(g, g->f32, row_at(g, m->x.f32, m->x.pitch, r, gen_add(g, first, gen_i64(g, k)), 4));
			*s = *s ? vec_fma(g, x, q[k % a_row], *s) : LLVMBuildFMul(g->b, x, q[k % a_row], "");
		}
	}
	LLVMValueRef scale = gen_quant_scales(g, at);
	for (int r = 0; r < m->h; r++) {
		for (int n = m->chains / 2; n; n /= 2)
			for (int i = 0; i < n; i++)
				sum[r][i] = LLVMBuildFAdd(g->b, sum[r][i], sum[r][i + n], "");
		acc[r] = vec_fma(g, scale, sum[r][0], acc[r]);
	}
}

/* The same by bytes. Those of weights are unsigned, with an offset that the sums begin with. */
static void block_bytes(Rows *m, LLVMValueRef at, LLVMValueRef b, LLVMValueRef *acc)
{
	Gen *g = &m->g;
	const char *dot = g->t->lanes == 16 ? "llvm.x86.avx512.vpdpbusd.512" : "llvm.x86.avx512.vpdpbusd.256";
	LLVMValueRef q[QUANT_BLOCK / 4], scale = gen_quant_scales(g, at), first = gen_mul(g, b, gen_i64(g, QUANT_BLOCK));
	gen_quant_bytes(g, m->format, at, q);
	for (int r = 0; r < m->h; r++) {
		LLVMValueRef sum = spread(g, g->i32, row_at(g, m->x.offset, m->x.blocks, r, b, 4));
		for (int i = 0; i < QUANT_BLOCK / 4; i++) {
			LLVMValueRef x = spread(g, g->i32, row_at(g, m->x.q, m->x.pitch, r, gen_add(g, first, gen_i64(g, 4 * i)), 1));
			sum = gen_call_plain(g, dot, (LLVMValueRef[]){ sum, q[i], x }, 3);
		}
		LLVMValueRef both = LLVMBuildFMul(g->b, scale, spread(g, g->f32, row_at(g, m->x.scale, m->x.blocks, r, b, 4)), "");
		acc[r] = vec_fma(g, both, LLVMBuildSIToFP(g->b, sum, g->vf, ""), acc[r]);
	}
}

enum { P_ACC, P_F32, P_Q, P_SCALE, P_OFFSET, P_PITCH, P_BLOCKS, P_SRC, P_PARAMS };

/* void (acc, x.., src): h rows of `lanes` sums at acc, nr apart. */
static LLVMValueRef rows_function(const Gen *outer, Quant format, bool bytes, int h)
{
	const char *name = internf("sn_few_%s%s_%dx%d", quant_name[format], bytes ? "_bytes" : "", h, outer->t->nr);
	LLVMValueRef fn = LLVMGetNamedFunction(outer->mod, name), acc[BYTE_ROWS], var[BYTE_ROWS], p[P_PARAMS];
	if (fn)
		return fn;
	Rows m = { .g = gen_helper_begin(outer, name, "pppppiip"), .format = format, .h = h, .chains = outer->t->vregs < 32 ? FEW_CHAINS : CHAINS };
	Gen *g = &m.g;
	for (unsigned i = 0; i < P_PARAMS; i++)
		p[i] = LLVMGetParam(g->fn, i);
	m.x = (Left){ bytes, p[P_F32], p[P_Q], p[P_SCALE], p[P_OFFSET], p[P_PITCH], p[P_BLOCKS] };
	int64_t size = quant_bytes(g->t, format, QUANT_BLOCK, g->t->lanes);
	for (int r = 0; r < h; r++)
		LLVMBuildStore(g->b, LLVMConstNull(g->vf), var[r] = gen_var(g, g->vf));
	Loop l = gen_loop_begin(g, gen_i64(g, 0), p[P_BLOCKS], gen_i64(g, 1));
	LLVMValueRef at = gen_at(g, p[P_SRC], gen_mul(g, l.iv, gen_i64(g, size)), 1);
	for (int64_t i = 0; i < size; i += 64)
		gen_prefetch(g, gen_at(g, at, gen_i64(g, AHEAD_BYTES + i), 1), 2);
	for (int r = 0; r < h; r++)
		acc[r] = LLVMBuildLoad2(g->b, g->vf, var[r], "");
	(bytes ? block_bytes : block_f32)(&m, at, l.iv, acc);
	for (int r = 0; r < h; r++)
		LLVMBuildStore(g->b, acc[r], var[r]);
	gen_loop_end(g, &l);
	for (int r = 0; r < h; r++)
		gen_store(g, DT_F32, LLVMBuildLoad2(g->b, g->vf, var[r], ""), gen_at(g, p[P_ACC], gen_i64(g, r * g->t->nr), 4), NULL);
	return gen_helper_end(g);
}

/* Rows of a tile, n at a time: in a loop, or once if the height has that bit. */
static void some_rows(Gen *g, LLVMValueRef *p, LLVMValueRef m, Quant format, bool bytes, int n)
{
	LLVMValueRef in[P_PARAMS], lo = 2 * n > tile_height(bytes) ? gen_i64(g, 0) : LLVMBuildAnd(g->b, m, gen_i64(g, -2 * n), "");
	Loop l = gen_loop_begin(g, lo, LLVMBuildAnd(g->b, m, gen_i64(g, -n), ""), gen_i64(g, n));
	LLVMValueRef row = gen_mul(g, l.iv, p[P_PITCH]), block = gen_mul(g, l.iv, p[P_BLOCKS]);
	memcpy(in, p, sizeof in);
	in[P_ACC] = gen_at(g, p[P_ACC], gen_mul(g, l.iv, gen_i64(g, g->t->nr)), 4);
	in[P_F32] = gen_at(g, p[P_F32], row, 4);
	in[P_Q] = gen_at(g, p[P_Q], row, 1);
	in[P_SCALE] = gen_at(g, p[P_SCALE], block, 4);
	in[P_OFFSET] = gen_at(g, p[P_OFFSET], block, 4);
	gen_helper_call(g, rows_function(g, format, bytes, n), in, P_PARAMS);
	gen_loop_end(g, &l);
}

/* void (acc, x.., src, m): m rows. */
static LLVMValueRef any_rows_function(const Gen *outer, Quant format, bool bytes)
{
	const char *name = internf("sn_few_%s%s_%d", quant_name[format], bytes ? "_bytes" : "", outer->t->nr);
	LLVMValueRef fn = LLVMGetNamedFunction(outer->mod, name), p[P_PARAMS];
	if (fn)
		return fn;
	Gen s = gen_helper_begin(outer, name, "pppppiipi"), *g = &s;
	for (unsigned i = 0; i < P_PARAMS; i++)
		p[i] = LLVMGetParam(g->fn, i);
	for (int n = tile_height(bytes); n; n /= 2)
		some_rows(g, p, LLVMGetParam(g->fn, P_PARAMS), format, bytes, n);
	return gen_helper_end(g);
}

/* An element of the left operand as f32. */
static LLVMValueRef left_element(Gen *g, const QuantThin *t, LLVMValueRef base, LLVMValueRef r, LLVMValueRef k, int lanes)
{
	LLVMValueRef at = gen_at(g, base, gen_add(g, gen_mul(g, r, t->sm), gen_mul(g, k, t->sk)), dtype_size[t->left_type]);
	return gen_load(g, t->left_type, at, lanes, NULL);
}

/* Row r as f32, with zeros up to whole blocks. */
static void copy_row(Gen *g, const QuantThin *t, LLVMValueRef base, LLVMValueRef r, LLVMValueRef to, LLVMValueRef pitch)
{
	int lanes = t->dense ? g->t->lanes : 1;
	LLVMValueRef one = gen_i64(g, 1), whole = gen_i64(g, t->k / lanes * lanes);
	Loop k = gen_loop_begin(g, gen_i64(g, 0), whole, gen_i64(g, lanes));
	gen_store(g, DT_F32, left_element(g, t, base, r, k.iv, lanes), gen_at(g, to, k.iv, 4), NULL);
	gen_loop_end(g, &k);
	Loop rest = gen_loop_begin(g, whole, gen_i64(g, t->k), one);
	gen_store(g, DT_F32, left_element(g, t, base, r, rest.iv, 1), gen_at(g, to, rest.iv, 4), NULL);
	gen_loop_end(g, &rest);
	Loop z = gen_loop_begin(g, gen_i64(g, t->k), pitch, one);
	gen_store(g, DT_F32, gen_f32(g, 0), gen_at(g, to, z.iv, 4), NULL);
	gen_loop_end(g, &z);
}

/* One block of x as bytes: q8_0's arithmetic (ir/quant.c), but that the scale stays f32. */
static void round_block(Gen *g, Quant weights, LLVMValueRef from, LLVMValueRef q, LLVMValueRef scale_at, LLVMValueRef offset_at)
{
	int lanes = g->t->lanes, n = QUANT_BLOCK / lanes;
	LLVMValueRef x[QUANT_BLOCK], most = LLVMConstNull(g->vf), sum = LLVMConstNull(g->vi), zero = gen_f32(g, 0);
	for (int i = 0; i < n; i++) {
		x[i] = gen_load(g, DT_F32, gen_at(g, from, gen_i64(g, i * lanes), 4), lanes, NULL);
		LLVMValueRef in[2] = { most, gen_call(g, "llvm.fabs", g->vf, &x[i], 1) };
		most = gen_call(g, "llvm.maxnum", g->vf, in, 2);
	}
	LLVMValueRef scale = LLVMBuildFDiv(g->b, gen_call(g, "llvm.vector.reduce.fmax", g->vf, &most, 1), gen_f32(g, 127), "");
	LLVMValueRef inverse = LLVMBuildFDiv(g->b, gen_f32(g, 1), scale, "");
	inverse = gen_splat(g, LLVMBuildSelect(g->b, LLVMBuildFCmp(g->b, LLVMRealOGT, scale, zero, ""), inverse, zero, ""));
	for (int i = 0; i < n; i++) {
		LLVMValueRef in[2] = { LLVMBuildFMul(g->b, x[i], inverse, ""), gen_splat(g, gen_f32(g, -127)) };
		in[0] = gen_call(g, "llvm.maxnum", g->vf, in, 2);
		in[1] = gen_splat(g, gen_f32(g, 127));
		in[0] = gen_call(g, "llvm.minnum", g->vf, in, 2);
		LLVMValueRef v = LLVMBuildFPToSI(g->b, gen_call(g, "llvm.rint", g->vf, in, 1), g->vi, "");
		sum = LLVMBuildAdd(g->b, sum, v, "");
		LLVMValueRef bytes = LLVMBuildTrunc(g->b, v, LLVMVectorType(g->i8, (unsigned)lanes), "");
		LLVMSetAlignment(LLVMBuildStore(g->b, bytes, gen_at(g, q, gen_i64(g, i * lanes), 1)), 1);
	}
	LLVMValueRef all = gen_call(g, "llvm.vector.reduce.add", g->vi, &sum, 1);
	gen_store(g, DT_F32, scale, scale_at, NULL);
	gen_store(g, DT_I32, LLVMBuildMul(g->b, all, gen_i32(g, -(1 << (quant_bits[weights] - 1))), ""), offset_at, NULL);
}

/* Rows of the left operand from `first` on. */
static void take_left(Gen *g, const QuantThin *t, LLVMValueRef base, const Left *x, LLVMValueRef first, LLVMValueRef rows)
{
	LLVMValueRef one = gen_i64(g, 1), zero = gen_i64(g, 0);
	Loop r = gen_loop_begin(g, zero, rows, one);
	LLVMValueRef row = gen_mul(g, r.iv, x->pitch), to = gen_at(g, x->f32, x->bytes ? zero : row, 4);
	copy_row(g, t, base, gen_add(g, first, r.iv), to, x->pitch);
	if (x->bytes) {
		Loop b = gen_loop_begin(g, zero, x->blocks, one);
		LLVMValueRef k = gen_mul(g, b.iv, gen_i64(g, QUANT_BLOCK)), i = gen_add(g, gen_mul(g, r.iv, x->blocks), b.iv);
		round_block(g, t->right.format, gen_at(g, to, k, 4), gen_at(g, x->q, gen_add(g, row, k), 1), gen_at(g, x->scale, i, 4), gen_at(g, x->offset, i, 4));
		gen_loop_end(g, &b);
	}
	gen_loop_end(g, &r);
}

/* Panels of a block of rows: tile by tile of rows, in which groups of columns take turns. */
typedef struct Task { LLVMValueRef batch, first, rows; } Task;

static void panel(Gen *g, const QuantThin *t, const Task *k, LLVMValueRef i, const Left *x)
{
	LLVMValueRef nr = gen_i64(g, g->t->nr), n = gen_mul(g, i, nr), cols = gen_min(g, gen_sub(g, t->right.n, n), nr);
	LLVMValueRef fn = any_rows_function(g, t->right.format, x->bytes), high = gen_i64(g, tile_height(x->bytes));
	Loop m = gen_loop_begin(g, gen_i64(g, 0), k->rows, high);
	LLVMValueRef h = gen_min(g, gen_sub(g, k->rows, m.iv), high), row = gen_mul(g, m.iv, x->pitch), block = gen_mul(g, m.iv, x->blocks);
	LLVMValueRef in[P_PARAMS + 1] = { [P_F32] = gen_at(g, x->f32, row, 4), [P_Q] = gen_at(g, x->q, row, 1), [P_SCALE] = gen_at(g, x->scale, block, 4),
		[P_OFFSET] = gen_at(g, x->offset, block, 4), [P_PITCH] = x->pitch, [P_BLOCKS] = x->blocks, [P_PARAMS] = h };
	Loop c = gen_loop_begin(g, gen_i64(g, 0), cols, gen_i64(g, g->t->lanes));
	in[P_ACC] = gen_at(g, g->scratch, c.iv, 4);
	in[P_SRC] = gen_quant_at(g, &t->right, k->batch, gen_add(g, n, c.iv), gen_i64(g, 0));
	gen_helper_call(g, fn, in, P_PARAMS + 1);
	gen_loop_end(g, &c);
	gen_epilogue(g, t->e, g->scratch, k->batch, gen_add(g, k->first, m.iv), h, n, cols);
	gen_loop_end(g, &m);
}

/* Where x goes, `from` bytes into scratch; *end: behind it. */
static Left left_place(Gen *g, const QuantThin *t, int64_t from, int64_t *end)
{
	int64_t rows = MIN(ROW_BLOCK, thin_quant_rows(g->t, t->left_type)), pitch = whole_blocks(t->k), blocks = pitch / QUANT_BLOCK;
	Left x = { .bytes = by_bytes(g->t, t->left_type), .pitch = gen_i64(g, pitch), .blocks = gen_i64(g, blocks) };
	int64_t f32 = (x.bytes ? 1 : rows) * pitch * 4, q = x.bytes ? rows * pitch : 0, each = x.bytes ? rows * blocks * 4 : 0;
	x.f32 = gen_at(g, g->scratch, gen_i64(g, from), 1);
	x.q = gen_at(g, x.f32, gen_i64(g, f32), 1);
	x.scale = gen_at(g, x.q, gen_i64(g, q), 1);
	x.offset = gen_at(g, x.scale, gen_i64(g, each), 1);
	*end = from + f32 + q + 2 * each;
	return x;
}

int64_t gen_thin_quant(Gen *g, const QuantThin *t)
{
	int64_t end;
	LLVMValueRef lo, hi, one = gen_i64(g, 1), zero = gen_i64(g, 0), nr = gen_i64(g, g->t->nr), most = gen_i64(g, ROW_BLOCK);
	Left x = left_place(g, t, tile_height(by_bytes(g->t, t->left_type)) * g->t->nr * 4, &end);
	LLVMValueRef panels = gen_bin(g, LLVMUDiv, gen_add(g, t->right.n, gen_sub(g, nr, one)), nr);
	gen_share(g, panels, &lo, &hi);
	Loop b = gen_loop_begin(g, zero, t->batches, one);
	Loop m = gen_loop_begin(g, zero, t->m, most);
	Task k = { b.iv, m.iv, gen_min(g, gen_sub(g, t->m, m.iv), most) };
	take_left(g, t, t->left(t->ctx, b.iv), &x, k.first, k.rows);
	Loop l = gen_loop_begin(g, lo, hi, one);
	panel(g, t, &k, l.iv, &x);
	gen_loop_end(g, &l);
	gen_loop_end(g, &m);
	gen_loop_end(g, &b);
	return end;
}
