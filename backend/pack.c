/* pack.c: contraction operands into panel order, as pack kernels and as the function that contract kernels call for
 * the panels of a raw right operand. The order (docs/ir.md, "Kernels") is what the register tile reads: k-major,
 * consecutive, whatever the source's strides were.
 *
 * Three ways to move a panel: rows of it where the source is dense across the panel; blocks transposed in registers
 * where it is dense along k; one element at a time where it is neither. Sources whose axes do not join have an
 * offset for each column. */
#include "backend/gen.h"

enum { SPAN = 8, CHUNK = 32 };    /* left panels that take turns; the k of a turn */
enum { DST, SRC, SK, SW, K, COLS, NPARAM };

typedef struct Panel {
	Gen g;
	int side, nv;              /* vectors across a panel */
	DType from;                /* the source's: f32, or bf16 or f16 that becomes f32 */
	LLVMValueRef p[NPARAM], width;
} Panel;

static int vectors_across(const Target *t, int side) { return ((side ? t->nr : t->mr) + t->lanes - 1) / t->lanes; }

/* src + k*sk + c*sw */
static LLVMValueRef source(Panel *p, LLVMValueRef k, LLVMValueRef c)
{
	Gen *g = &p->g;
	LLVMValueRef at = LLVMBuildNSWAdd(g->b, LLVMBuildNSWMul(g->b, k, p->p[SK], ""), LLVMBuildNSWMul(g->b, c, p->p[SW], ""), "");
	return gen_at(g, p->p[SRC], at, dtype_size[p->from]);
}

static LLVMValueRef target(Panel *p, LLVMValueRef k, LLVMValueRef c)
{
	Gen *g = &p->g;
	return gen_at(g, p->p[DST], LLVMBuildNSWAdd(g->b, LLVMBuildNSWMul(g->b, k, p->width, ""), c, ""), 4);
}

/* Lanes of the vector from column `first` on that the panel has; NULL: all of them. */
static LLVMValueRef lanes_of(Panel *p, LLVMValueRef first, bool whole)
{
	return whole ? NULL : gen_mask(&p->g, LLVMBuildNSWSub(p->g.b, p->p[COLS], first, ""));
}

/* Side 1 has zeros behind the last column, side 0 nothing. */
static void put(Panel *p, LLVMValueRef vector, LLVMValueRef to, LLVMValueRef mask)
{
	Gen *g = &p->g;
	if (p->side && mask) {
		vector = LLVMBuildSelect(g->b, mask, vector, LLVMConstNull(g->vf), "");
		mask = NULL;
	}
	gen_store(g, DT_F32, vector, to, mask);
}

static void copy_rows(Panel *p, bool whole)
{
	Gen *g = &p->g;
	LLVMValueRef mask[8];
	for (int v = 0; v < p->nv; v++)
		mask[v] = lanes_of(p, gen_i64(g, v * g->t->lanes), whole);
	Loop l = gen_loop_begin(g, gen_i64(g, 0), p->p[K], gen_i64(g, 1));
	LLVMValueRef ahead = LLVMBuildNSWAdd(g->b, l.iv, gen_i64(g, ROWS_AHEAD), "");
	for (int v = 0; v < p->nv; v++) {
		LLVMValueRef c = gen_i64(g, v * g->t->lanes);
		if (v * g->t->lanes * dtype_size[p->from] % 64 == 0)
			gen_prefetch(g, source(p, ahead, c), 1);
		put(p, gen_load(g, p->from, source(p, l.iv, c), g->t->lanes, mask[v]), target(p, l.iv, c), mask[v]);
	}
	gen_loop_end(g, &l);
}

/* Swaps the off-diagonal s x s blocks of each 2s x 2s block, s = 1, 2, 4..: log2(lanes) rounds of two-operand
 * shuffles. (Eklundh 1972, "A fast computer method for matrix transposing".) */
void gen_transpose(Gen *g, LLVMValueRef *row)
{
	int lanes = g->t->lanes;
	for (int s = 1; s < lanes; s *= 2)
		for (int i = 0; i < lanes; i++) {
			if (i & s)
				continue;
			LLVMValueRef lo[64], hi[64], a = row[i], b = row[i + s];
			for (int l = 0; l < lanes; l++) {
				lo[l] = gen_i32(g, l & s ? lanes + l - s : l);
				hi[l] = gen_i32(g, l & s ? lanes + l : l + s);
			}
			row[i] = LLVMBuildShuffleVector(g->b, a, b, LLVMConstVector(lo, (unsigned)lanes), "");
			row[i + s] = LLVMBuildShuffleVector(g->b, a, b, LLVMConstVector(hi, (unsigned)lanes), "");
		}
}

/* A vector of a panel where it has no columns. */
static void put_zeros(Panel *p, LLVMValueRef first)
{
	Gen *g = &p->g;
	Loop l = gen_loop_begin(g, gen_i64(g, 0), p->p[K], gen_i64(g, 1));
	gen_store(g, DT_F32, LLVMConstNull(g->vf), target(p, l.iv, first), NULL);
	gen_loop_end(g, &l);
}

/* lanes columns from `first` on. Columns behind the last are read from the last again. The last block of k starts
 * early rather than ends late: what it moves twice is the same. */
static void copy_transposed(Panel *p, LLVMValueRef first, bool whole)
{
	Gen *g = &p->g;
	int lanes = g->t->lanes;
	LLVMValueRef row[64], mask = lanes_of(p, first, whole);
	LLVMValueRef last = LLVMBuildNSWSub(g->b, p->p[K], gen_i64(g, lanes), "");
	LLVMValueRef end = LLVMBuildNSWSub(g->b, p->p[COLS], gen_i64(g, 1), "");
	Loop l = gen_loop_begin(g, gen_i64(g, 0), p->p[K], gen_i64(g, lanes));
	LLVMValueRef k = gen_min(g, l.iv, last);
	for (int i = 0; i < lanes; i++) {
		LLVMValueRef c = LLVMBuildNSWAdd(g->b, first, gen_i64(g, i), "");
		row[i] = gen_load(g, p->from, source(p, k, whole ? c : gen_min(g, c, end)), lanes, NULL);
	}
	gen_transpose(g, row);
	for (int i = 0; i < lanes; i++)
		put(p, row[i], target(p, LLVMBuildNSWAdd(g->b, k, gen_i64(g, i), ""), first), mask);
	gen_loop_end(g, &l);
}

static void copy_elements(Panel *p)
{
	Gen *g = &p->g;
	Loop k = gen_loop_begin(g, gen_i64(g, 0), p->p[K], gen_i64(g, 1));
	Loop c = gen_loop_begin(g, gen_i64(g, 0), p->p[COLS], gen_i64(g, 1));
	gen_store(g, DT_F32, gen_load(g, p->from, source(p, k.iv, c.iv), 1, NULL), target(p, k.iv, c.iv), NULL);
	gen_loop_end(g, &c);
	Loop z = gen_loop_begin(g, p->p[COLS], p->width, gen_i64(g, 1));
	gen_store(g, DT_F32, gen_f32(g, 0), target(p, k.iv, z.iv), NULL);
	gen_loop_end(g, &z);
	gen_loop_end(g, &k);
}

typedef enum Way { DENSE_ACROSS, DENSE_ALONG, ANY } Way;

static void branch(Gen *g, LLVMValueRef cond, LLVMBasicBlockRef *yes, LLVMBasicBlockRef *no)
{
	*yes = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "yes");
	*no = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "no");
	LLVMBuildCondBr(g->b, cond, *yes, *no);
	LLVMPositionBuilderAtEnd(g->b, *yes);
}

/* Vector by vector of columns, whole ones without masks: one loop, as transposing is many instructions. */
static void transpose_panel(Panel *p)
{
	Gen *g = &p->g;
	int lanes = g->t->lanes, width = p->side ? g->t->nr : g->t->mr;
	Loop v = gen_loop_begin(g, gen_i64(g, 0), gen_i64(g, width), gen_i64(g, lanes));
	LLVMValueRef left = LLVMBuildNSWSub(g->b, p->p[COLS], v.iv, "");
	If full = { 0 };
	if (width >= lanes) {
		full = gen_if(g, LLVMBuildICmp(g->b, LLVMIntSGE, left, gen_i64(g, lanes), ""));
		copy_transposed(p, v.iv, true);
		gen_else(g, &full);
	}
	If some = gen_if(g, LLVMBuildICmp(g->b, LLVMIntSGT, left, gen_i64(g, 0), ""));
	copy_transposed(p, v.iv, false);
	gen_else(g, &some);
	if (p->side)
		put_zeros(p, v.iv);
	gen_end_if(g, &some);
	if (width >= lanes)
		gen_end_if(g, &full);
	gen_loop_end(g, &v);
}

/* Whole panels without masks, if they fill their vectors. */
static void copy_panel_rows(Panel *p)
{
	Gen *g = &p->g;
	int width = p->side ? g->t->nr : g->t->mr;
	if (width == p->nv * g->t->lanes) {
		LLVMBasicBlockRef yes, no;
		branch(g, LLVMBuildICmp(g->b, LLVMIntEQ, p->p[COLS], gen_i64(g, width), ""), &yes, &no);
		copy_rows(p, true);
		LLVMBuildRetVoid(g->b);
		LLVMPositionBuilderAtEnd(g->b, no);
	}
	copy_rows(p, false);
}

LLVMValueRef gen_panel_function(const Gen *outer, int side, DType from, const Dim *sk, const Dim *sw)
{
	Way way = sw && dim_is(sw, 1) ? DENSE_ACROSS : sk && dim_is(sk, 1) ? DENSE_ALONG : ANY;
	char name[48];
	snprintf(name, sizeof name, "sn_panel%dx%d_%s%s%s", side, side ? outer->t->nr : outer->t->mr, way == DENSE_ACROSS ? "across" : way == DENSE_ALONG ? "along" : "any",
		from == DT_F32 ? "" : "_", from == DT_F32 ? "" : dtype_name[from]);
	LLVMValueRef fn = LLVMGetNamedFunction(outer->mod, name);
	if (fn)
		return fn;
	LLVMValueRef any = way == DENSE_ALONG ? gen_panel_function(outer, side, from, NULL, NULL) : NULL;
	Panel p = { .g = gen_helper_begin(outer, name, "ppiiii"), .side = side, .from = from };
	Gen *g = &p.g;
	for (int i = 0; i < NPARAM; i++)
		p.p[i] = LLVMGetParam(g->fn, (unsigned)i);
	p.nv = vectors_across(g->t, side);
	p.width = side ? gen_i64(g, g->t->nr) : p.p[COLS];
	if (way == ANY) {
		copy_elements(&p);
		return gen_helper_end(g);
	}
	if (way == DENSE_ALONG) {
		LLVMBasicBlockRef few, more;
		branch(g, LLVMBuildICmp(g->b, LLVMIntSLT, p.p[K], gen_i64(g, g->t->lanes), ""), &few, &more);
		gen_helper_call(g, any, p.p, NPARAM);
		LLVMBuildRetVoid(g->b);
		LLVMPositionBuilderAtEnd(g->b, more);
		p.p[SK] = gen_i64(g, 1);
		transpose_panel(&p);
	} else {
		p.p[SW] = gen_i64(g, 1);
		copy_panel_rows(&p);
	}
	return gen_helper_end(g);
}

/* `count` consecutive floats. */
static void copy_some(Gen *g, LLVMValueRef from, LLVMValueRef to, int count)
{
	LLVMValueRef x = LLVMBuildLoad2(g->b, LLVMVectorType(g->f32, (unsigned)count), from, "");
	LLVMSetAlignment(x, 4);
	LLVMSetAlignment(LLVMBuildStore(g->b, x, to), 4);
}

/* Row of k by row of k, as they lie: a row's lines are read once, one after another. */
LLVMValueRef gen_block_function(const Gen *outer)
{
	enum { B_DST, B_SRC, B_SK, B_K, B_COUNT, B_PITCH, B_PARAMS };
	LLVMValueRef fn = LLVMGetNamedFunction(outer->mod, "sn_block"), p[B_PARAMS];
	if (fn)
		return fn;
	Gen s = gen_helper_begin(outer, "sn_block", "ppiiii"), *g = &s;
	for (unsigned i = 0; i < B_PARAMS; i++)
		p[i] = LLVMGetParam(g->fn, i);
	LLVMValueRef mr = gen_i64(g, g->t->mr), panels = gen_bin(g, LLVMUDiv, p[B_COUNT], mr);
	LLVMValueRef whole = gen_bin(g, LLVMMul, panels, mr), low = LLVMBuildNSWSub(g->b, p[B_COUNT], whole, "");
	LLVMValueRef last = gen_at(g, p[B_DST], gen_bin(g, LLVMMul, panels, p[B_PITCH]), 4);
	LLVMValueRef ahead = gen_bin(g, LLVMMul, p[B_SK], gen_i64(g, ROWS_AHEAD));
	Loop k = gen_loop_begin(g, gen_i64(g, 0), p[B_K], gen_i64(g, 1));
	LLVMValueRef src = gen_at(g, p[B_SRC], gen_bin(g, LLVMMul, k.iv, p[B_SK]), 4);
	LLVMValueRef dst = gen_at(g, p[B_DST], gen_bin(g, LLVMMul, k.iv, mr), 4);
	Loop i = gen_loop_begin(g, gen_i64(g, 0), panels, gen_i64(g, 1));
	LLVMValueRef from = gen_at(g, src, gen_bin(g, LLVMMul, i.iv, mr), 4);
	gen_prefetch(g, gen_at(g, from, ahead, 4), 1);
	copy_some(g, from, gen_at(g, dst, gen_bin(g, LLVMMul, i.iv, p[B_PITCH]), 4), g->t->mr);
	gen_loop_end(g, &i);
	Loop r = gen_loop_begin(g, gen_i64(g, 0), low, gen_i64(g, 1));
	LLVMValueRef to = gen_at(g, last, LLVMBuildNSWAdd(g->b, gen_bin(g, LLVMMul, k.iv, low), r.iv, ""), 4);
	copy_some(g, gen_at(g, gen_at(g, src, whole, 4), r.iv, 4), to, 1);
	gen_loop_end(g, &r);
	gen_loop_end(g, &k);
	return gen_helper_end(g);
}

typedef struct Packing {
	Gen *g;
	int side, span;            /* panels that go together */
	Axes x;
	Access from;
	const char *across;        /* the letters across the panels */
	const Dim *sk, *sw;
	LLVMValueRef k, n, panels, size, chunk, fn, to, src;   /* extents; elements of a batch; k that goes together */
} Packing;

/* Panel i of batch b, from k on. */
static void one_panel(Packing *p, LLVMValueRef b, LLVMValueRef i, LLVMValueRef k)
{
	Gen *g = p->g;
	LLVMValueRef w = gen_i64(g, p->side ? g->t->nr : g->t->mr), first = LLVMBuildNSWMul(g->b, i, w, "");
	LLVMValueRef cols = gen_min(g, LLVMBuildNSWSub(g->b, p->n, first, ""), w);
	LLVMValueRef row = gen_bin(g, LLVMMul, k, p->side ? w : cols);
	LLVMValueRef to = LLVMBuildNSWAdd(g->b, gen_bin(g, LLVMMul, b, p->size), gen_bin(g, LLVMMul, first, p->k), "");
	LLVMValueRef at = LLVMBuildNSWAdd(g->b, gen_offset(g, &p->x, p->x.batch, &p->from, b),
		gen_offset(g, &p->x, p->across, &p->from, first), "");
	at = LLVMBuildNSWAdd(g->b, at, gen_bin(g, LLVMMul, k, gen_dim(g, p->sk)), "");
	gen_helper_call(g, p->fn, (LLVMValueRef[]){ gen_at(g, p->to, LLVMBuildNSWAdd(g->b, to, row, ""), 4), gen_at(g, p->src, at, 4),
		gen_dim(g, p->sk), gen_dim(g, p->sw), gen_min(g, LLVMBuildNSWSub(g->b, p->k, k, ""), p->chunk), cols }, NPARAM);
}

/* Panels as wide as a part of a line (left ones, of rows far apart) share it: some of them take turns, a chunk of k at a
 * time, so that it is still there for the next. Others go one by one. */
static void pack_share(Packing *p)
{
	Gen *g = p->g;
	LLVMValueRef lo, hi;
	gen_share(g, gen_bin(g, LLVMMul, gen_dim(g, axes_extent(&p->x, p->x.batch)), p->panels), &lo, &hi);
	Loop l = gen_loop_begin(g, lo, hi, gen_i64(g, 1));
	LLVMValueRef b = gen_bin(g, LLVMUDiv, l.iv, p->panels), i = gen_bin(g, LLVMURem, l.iv, p->panels);
	LLVMValueRef left = gen_min(g, LLVMBuildNSWSub(g->b, hi, l.iv, ""), LLVMBuildNSWSub(g->b, p->panels, i, ""));
	l.step = gen_min(g, left, gen_i64(g, p->span));
	Loop k = gen_loop_begin(g, gen_i64(g, 0), p->k, p->chunk);
	Loop j = gen_loop_begin(g, gen_i64(g, 0), l.step, gen_i64(g, 1));
	one_panel(p, b, LLVMBuildNSWAdd(g->b, i, j.iv, ""), k.iv);
	gen_loop_end(g, &j);
	gen_loop_end(g, &k);
	gen_loop_end(g, &l);
}

/* Sources whose axes do not join, as the overlapping windows of a convolution: each column has an offset of its own,
 * and k is walked in runs of its innermost letters. What im2col (Chellapilla et al. 2006) would write to memory first is
 * read in place. */
typedef struct Gathered {
	Panel p;
	int width;                 /* columns of a whole panel */
	LLVMValueRef off[64];      /* of each column, elements; those behind the last repeat it */
} Gathered;

/* The letters of k before its longest run of innermost ones that walk as one axis. */
static int outer_letters(const Packing *p)
{
	int n = 0;
	while (!axes_stride(&p->x, p->x.k + n, &p->from))
		n++;
	return n;
}

static LLVMValueRef column(Gathered *t, int c, LLVMValueRef k)
{
	Gen *g = &t->p.g;
	LLVMValueRef at = LLVMBuildNSWMul(g->b, k, t->p.p[SK], "");
	return gen_at(g, t->p.p[SRC], LLVMBuildNSWAdd(g->b, at, t->off[MIN(c, t->width - 1)], ""), 4);
}

static void gather_elements(Gathered *t)
{
	Gen *g = &t->p.g;
	int lanes = g->t->lanes;
	Loop k = gen_loop_begin(g, gen_i64(g, 0), t->p.p[K], gen_i64(g, 1));
	for (int v = 0; v < t->p.nv; v++) {
		LLVMValueRef row = LLVMGetPoison(g->vf);
		for (int i = 0; i < lanes; i++) {
			LLVMValueRef x = gen_load(g, DT_F32, column(t, v * lanes + i, k.iv), 1, NULL);
			row = LLVMBuildInsertElement(g->b, row, x, gen_i32(g, i), "");
		}
		put(&t->p, row, target(&t->p, k.iv, gen_i64(g, v * lanes)), lanes_of(&t->p, gen_i64(g, v * lanes), false));
	}
	gen_loop_end(g, &k);
}

/* As copy_transposed, with columns anywhere. */
static void gather_transposed(Gathered *t)
{
	Gen *g = &t->p.g;
	int lanes = g->t->lanes;
	LLVMValueRef row[64], last = LLVMBuildNSWSub(g->b, t->p.p[K], gen_i64(g, lanes), "");
	for (int v = 0; v < t->p.nv; v++) {
		LLVMValueRef mask = lanes_of(&t->p, gen_i64(g, v * lanes), false);
		Loop l = gen_loop_begin(g, gen_i64(g, 0), t->p.p[K], gen_i64(g, lanes));
		LLVMValueRef k = gen_min(g, l.iv, last);
		for (int i = 0; i < lanes; i++)
			row[i] = gen_load(g, DT_F32, column(t, v * lanes + i, k), lanes, NULL);
		gen_transpose(g, row);
		for (int i = 0; i < lanes; i++)
			put(&t->p, row[i], target(&t->p, LLVMBuildNSWAdd(g->b, k, gen_i64(g, i), ""), gen_i64(g, v * lanes)), mask);
		gen_loop_end(g, &l);
	}
}

/* Where the columns happen to follow one another (in the middle of a row of windows one step apart) rows are copied. */
static void gather_runs(Gathered *t)
{
	Gen *g = &t->p.g;
	LLVMBasicBlockRef dense, other, next = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "next");
	LLVMValueRef apart = gen_i64(g, 0), src = t->p.p[SRC];
	for (int c = 1; c < t->width; c++) {
		LLVMValueRef here = LLVMBuildNSWAdd(g->b, t->off[0], gen_min(g, gen_i64(g, c),
			LLVMBuildNSWSub(g->b, t->p.p[COLS], gen_i64(g, 1), "")), "");
		apart = LLVMBuildOr(g->b, apart, LLVMBuildXor(g->b, here, t->off[c], ""), "");
	}
	branch(g, LLVMBuildICmp(g->b, LLVMIntEQ, apart, gen_i64(g, 0), ""), &dense, &other);
	t->p.p[SRC] = gen_at(g, src, t->off[0], 4);
	t->p.p[SW] = gen_i64(g, 1);
	copy_rows(&t->p, false);
	LLVMBuildBr(g->b, next);
	LLVMPositionBuilderAtEnd(g->b, other);
	t->p.p[SRC] = src;
	gather_elements(t);
	LLVMBuildBr(g->b, next);
	LLVMPositionBuilderAtEnd(g->b, next);
}

static bool dense_across(const Packing *p)
{
	size_t n = strlen(p->across);
	return n && dim_is(p->from.stride[(int)p->across[n - 1]], 1);
}

/* Panel i of batch b. */
static void gathered_panel(Packing *p, LLVMValueRef b, LLVMValueRef i)
{
	Gen *g = p->g;
	Gathered t = { .p = { .g = *g, .side = p->side, .nv = vectors_across(g->t, p->side) },
		.width = p->side ? g->t->nr : g->t->mr };
	LLVMValueRef w = gen_i64(g, t.width), first = LLVMBuildNSWMul(g->b, i, w, ""), end = LLVMBuildNSWSub(g->b, p->n, gen_i64(g, 1), "");
	LLVMValueRef batch = gen_offset(g, &p->x, p->x.batch, &p->from, b);
	t.p.p[COLS] = gen_min(g, LLVMBuildNSWSub(g->b, p->n, first, ""), w);
	t.p.width = p->side ? w : t.p.p[COLS];
	for (int c = 0; c < t.width; c++) {
		LLVMValueRef at = gen_min(g, LLVMBuildNSWAdd(g->b, first, gen_i64(g, c), ""), end);
		t.off[c] = LLVMBuildNSWAdd(g->b, batch, gen_offset(g, &p->x, p->across, &p->from, at), "");
	}
	char outer[MAX_RANK + 1] = { 0 };
	int n = outer_letters(p);
	memcpy(outer, p->x.k, (size_t)n);
	const Dim *run = axes_extent(&p->x, p->x.k + n), *sk = axes_stride(&p->x, p->x.k + n, &p->from);
	LLVMValueRef to = LLVMBuildNSWAdd(g->b, gen_bin(g, LLVMMul, b, p->size), gen_bin(g, LLVMMul, first, p->k), "");
	LLVMValueRef rows = gen_bin(g, LLVMMul, gen_dim(g, run), t.p.width);
	Loop l = gen_loop_begin(g, gen_i64(g, 0), gen_dim(g, axes_extent(&p->x, outer)), gen_i64(g, 1));
	t.p.p[DST] = gen_at(g, p->to, LLVMBuildNSWAdd(g->b, to, gen_bin(g, LLVMMul, l.iv, rows), ""), 4);
	t.p.p[SRC] = gen_at(g, p->src, gen_offset(g, &p->x, outer, &p->from, l.iv), 4);
	t.p.p[K] = gen_dim(g, run);
	t.p.p[SK] = gen_dim(g, sk);
	int64_t length;
	if (dim_is(sk, 1) && dim_is_const(run, &length) && length >= g->t->lanes)
		gather_transposed(&t);
	else if (dense_across(p))
		gather_runs(&t);
	else
		gather_elements(&t);
	gen_loop_end(g, &l);
}

static void gathered_share(Packing *p)
{
	Gen *g = p->g;
	LLVMValueRef lo, hi;
	gen_share(g, gen_bin(g, LLVMMul, gen_dim(g, axes_extent(&p->x, p->x.batch)), p->panels), &lo, &hi);
	Loop l = gen_loop_begin(g, lo, hi, gen_i64(g, 1));
	gathered_panel(p, gen_bin(g, LLVMUDiv, l.iv, p->panels), gen_bin(g, LLVMURem, l.iv, p->panels));
	gen_loop_end(g, &l);
}

/* Task: one panel of one batch. */
void gen_pack_kernel(Gen *g, const Cluster *c, KernelArgs *ka)
{
	Value *pack = c->anchor, *src = pack->in[0];
	int side = pack->a.side, width = side ? g->t->nr : g->t->mr;
	ka->scratch = 0;
	if (pack->a.format) {
		gen_pack_quant(g, c, ka);
		return;
	}
	if (src->type.dt == DT_BF16) {
		gen_pack_bf16(g, c, ka);
		return;
	}
	Packing p = { .g = g, .side = side, .x = axes_of(pack->a.spec, side ? NULL : &pack->type, side ? &pack->type : NULL) };
	p.from = axes_access(&p.x, p.x.in[side], src->type, gen_view(g, src));
	p.across = side ? p.x.n : p.x.m;
	p.sk = axes_stride(&p.x, p.x.k, &p.from);
	p.sw = axes_stride(&p.x, p.across, &p.from);
	bool joined = p.sk && p.sw, share = !side && joined && dim_is(p.sw, 1);
	p.k = gen_dim(g, axes_extent(&p.x, p.x.k));
	p.n = gen_dim(g, axes_extent(&p.x, p.across));
	p.span = share ? SPAN : 1;
	p.chunk = share ? gen_i64(g, CHUNK) : p.k;
	p.to = gen_base(g, pack);
	p.src = gen_base(g, src);
	LLVMValueRef w = gen_i64(g, width);
	p.panels = gen_bin(g, LLVMUDiv, LLVMBuildNSWAdd(g->b, p.n, gen_i64(g, width - 1), ""), w);
	p.size = gen_bin(g, LLVMMul, p.k, side ? gen_bin(g, LLVMMul, p.panels, w) : p.n);
	if (joined) {
		p.fn = gen_panel_function(g, side, DT_F32, p.sk, p.sw);
		pack_share(&p);
	} else {
		gathered_share(&p);
	}
}
