/* contract_bf16.c: contraction kernels of bf16 operands around their register tile (micro_bf16.c), whose sums go through contract.c's
 * epilogue.
 *
 * For a thread's range of (batch, block of rows, panel of columns), in groups of panels:
 *
 *   for each block of k:                   a panel's share of it fills half of the first-level cache, or, as AMX's tiles are so fast
 *                                          that bringing sums to and fro costs more than they do, a thirty-second of the second's
 *     for each panel of the group:         raw right operands are woven into pairs here, in scratch
 *       for each tile of the row block:    the block's k share of all of them, and AMX's waiting sums, stay in second-level cache
 *         tile += A B, fetching a share of the next panel; behind the last block of k: the epilogue
 *
 * Left operands have rows of whole pairs, raw or packed. Blocks of k are multiples of 32, so that sums depend on k alone.
 * Scratch: accumulator tiles, one panel's block. */
#include "backend/gen.h"

enum { GROUP = 8, STEP = 32 };            /* panels that share a pass over the left tiles, when k has several blocks; see micro_bf16.c */
enum { LINES = 8 };                       /* fetched ahead every so many pairs (tile_unroll_bf16) */

typedef struct Contract {
	Gen *g;
	Axes x;
	Access a, b;                              /* raw operands */
	bool packed[2], panels_lie;               /* operand 1 is in panels as tiles read them */
	QuantSource blocks_of;                    /* operand 1, where it is kept in blocks */
	const Dim *sk, *sn, *sm;                  /* strides of a raw operand 1; of operand 0's rows */
	int64_t kc, rows;                         /* largest block of k; largest row block, tiles */
	bool once;                                /* k is one block */
	LLVMValueRef m, n, k, pairs, tiles, panels, blocks, step, kstep, group;
	LLVMValueRef base[2], panel_at, tile_fn, panel_fn, height;   /* height: gen_tiles_begin()'s */
	Epilogue e;
} Contract;

typedef struct Task { LLVMValueRef batch, tile, end, panel, count; } Task;   /* tiles tile..end, count panels */
typedef struct Block { LLVMValueRef k, n, first, last; } Block;             /* k.. n of them; first, last: i1 */


static LLVMValueRef whole_pairs(Gen *g, LLVMValueRef k)
{
	return gen_bin(g, LLVMLShr, gen_add(g, k, gen_i64(g, 1)), gen_i64(g, 1));
}

static void operands(Contract *c, Value *v)
{
	Gen *g = c->g;
	for (int side = 0; side < 2; side++) {
		c->base[side] = gen_base(g, v->in[side]);
		c->packed[side] = in_panels(v->in[side]);
	}
	if (!c->packed[0]) {
		c->a = axes_access(&c->x, c->x.in[0], v->in[0]->type, gen_view(g, v->in[0]));
		c->sm = axes_stride(&c->x, c->x.m, &c->a);
		const Dim *sk = axes_stride(&c->x, c->x.k, &c->a);
		if (!c->sm || !sk || !dim_is(sk, 1))
			bug("contract \"%s\": layout left an operand 0 that should be packed", v->a.spec);
	}
	c->blocks_of = (QuantSource){ c->packed[1] ? v->in[1]->a.format : QUANT_NONE, c->base[1], gen_dim(g, axes_extent(&c->x, c->x.k)),
		gen_dim(g, axes_extent(&c->x, c->x.n)) };
	c->panels_lie = c->packed[1] && !c->blocks_of.format;
	c->tile_fn = gen_tile_bf16(g, c->panels_lie ? LINES : 0);
	if (c->packed[1])
		return;
	c->b = axes_access(&c->x, c->x.in[1], v->in[1]->type, gen_view(g, v->in[1]));
	c->sk = axes_stride(&c->x, c->x.k, &c->b);
	c->sn = axes_stride(&c->x, c->x.n, &c->b);
	if (!c->sk || !c->sn)
		bug("contract \"%s\": layout left an operand whose axes do not lie as one", v->a.spec);
	c->panel_fn = gen_panel_bf16(g, c->sk, c->sn);
}

/* Extents may be 0 at run time (rows that were counted: ir/counted.c), what is divided by never is. */
static void extents(Contract *c)
{
	Gen *g = c->g;
	const Target *t = g->t;
	bool tiles = t->bf16 == BF16_TILES;
	int64_t fixed;
	c->m = gen_dim(g, axes_extent(&c->x, c->x.m));
	c->n = gen_dim(g, axes_extent(&c->x, c->x.n));
	c->k = gen_dim(g, axes_extent(&c->x, c->x.k));
	c->pairs = whole_pairs(g, c->k);
	c->tiles = gen_at_least_1(g, gen_ceil_div(g, c->m, gen_i64(g, t->mr)));
	c->panels = gen_ceil_div(g, c->n, gen_i64(g, t->nr));
	c->kc = MAX(STEP, (tiles ? t->l2 / 32 : t->l1 / 2) / (t->nr * 2) / STEP * STEP);
	c->once = dim_is_const(axes_extent(&c->x, c->x.k), &fixed) && fixed <= c->kc;
	if (c->once)
		c->kc = MAX(STEP, (fixed + STEP - 1) / STEP * STEP);
	c->rows = MAX(1, t->l2 / 2 / (t->mr * c->kc * 2 + (tiles && !c->once ? GROUP * t->mr * t->nr * 4 : 0)));
	c->blocks = gen_ceil_div(g, c->tiles, gen_i64(g, c->rows));
	c->step = gen_ceil_div(g, c->tiles, c->blocks);
	LLVMValueRef several = LLVMBuildICmp(g->b, LLVMIntSGT, c->k, gen_i64(g, c->kc), "");
	c->group = LLVMBuildSelect(g->b, several, gen_i64(g, GROUP), c->panels, "");
	LLVMValueRef each = gen_ceil_div(g, c->k, gen_at_least_1(g, gen_ceil_div(g, c->k, gen_i64(g, c->kc))));
	c->kstep = gen_mul(g, gen_at_least_1(g, gen_ceil_div(g, each, gen_i64(g, STEP))), gen_i64(g, STEP));
}

static LLVMValueRef row_pitch(Contract *c)
{
	return c->packed[0] ? gen_mul(c->g, c->pairs, gen_i64(c->g, 2)) : gen_dim(c->g, c->sm);
}

static LLVMValueRef left_source(Contract *c, const Task *t, LLVMValueRef i, LLVMValueRef k)
{
	Gen *g = c->g;
	LLVMValueRef first = gen_mul(g, i, gen_i64(g, g->t->mr)), batch;
	if (c->packed[0])
		batch = gen_mul(g, gen_mul(g, t->batch, c->m), row_pitch(c));
	else
		batch = gen_offset(g, &c->x, c->x.batch, &c->a, t->batch);
	return gen_at(g, c->base[0], gen_add(g, batch, gen_add(g, gen_mul(g, first, row_pitch(c)), k)), 2);
}

/* Where the panel has its k-th row, packed or raw. */
static LLVMValueRef right_source(Contract *c, LLVMValueRef batch, LLVMValueRef panel, LLVMValueRef k)
{
	Gen *g = c->g;
	LLVMValueRef nr = gen_i64(g, g->t->nr), n = gen_mul(g, panel, nr);
	if (c->packed[1]) {
		LLVMValueRef column = gen_add(g, gen_mul(g, gen_mul(g, batch, c->panels), nr), n);
		return gen_at(g, c->base[1], gen_add(g, gen_mul(g, gen_mul(g, column, c->pairs), gen_i64(g, 2)), gen_mul(g, k, nr)), 2);
	}
	LLVMValueRef at = gen_add(g, gen_offset(g, &c->x, c->x.batch, &c->b, batch), gen_mul(g, k, gen_dim(g, c->sk)));
	return gen_at(g, c->base[1], gen_add(g, at, gen_mul(g, n, gen_dim(g, c->sn))), 2);
}

/* The panel's block in pairs, packed, or unpacked from blocks or woven here. */
static LLVMValueRef right_panel(Contract *c, const Task *t, LLVMValueRef panel, const Block *b)
{
	Gen *g = c->g;
	LLVMValueRef nr = gen_i64(g, g->t->nr), n = gen_mul(g, panel, nr), cols = gen_min(g, gen_sub(g, c->n, n), nr);
	if (c->panels_lie)
		return right_source(c, t->batch, panel, b->k);
	if (c->blocks_of.format) {
		gen_unpack(g, &c->blocks_of, DT_BF16, c->panel_at, gen_quant_at(g, &c->blocks_of, t->batch, n, b->k), b->n, cols);
		return c->panel_at;
	}
	LLVMValueRef in[6] = { c->panel_at, right_source(c, t->batch, panel, b->k), gen_dim(g, c->sk), gen_dim(g, c->sn), b->n, cols };
	gen_helper_call(g, c->panel_fn, in, 6);
	return c->panel_at;
}

/* Where the line is that a tile fetches first, and the bytes to its next. */
typedef struct Ahead { LLVMValueRef at, stride; } Ahead;

/* The tile's share of the packed panel whose turn is next: in the group, in the next block of k, or in the next group. Tiles behind
 * those that have fetched all of it stay on one line. A raw panel is fetched while the one before is woven. */
static Ahead right_ahead(Contract *c, const Task *t, const Block *b, LLVMValueRef j, LLVMValueRef i)
{
	Gen *g = c->g;
	LLVMValueRef next = gen_add(g, j, gen_i64(g, 1)), zero = gen_i64(g, 0), turn = gen_sub(g, i, t->tile);
	if (!c->panels_lie)
		return (Ahead){ c->panel_at, zero };
	LLVMValueRef more = LLVMBuildICmp(g->b, LLVMIntSLT, next, t->count, "");
	LLVMValueRef behind = LLVMBuildSelect(g->b, b->last, t->count, zero, ""), deeper = LLVMBuildSelect(g->b, b->last, zero, gen_add(g, b->k, b->n), "");
	LLVMValueRef source = right_source(c, t->batch, gen_add(g, t->panel, LLVMBuildSelect(g->b, more, next, behind, "")),
		LLVMBuildSelect(g->b, more, b->k, deeper, ""));
	int unroll = tile_unroll_bf16(g->t), lines = MAX(1, g->t->nr * 4 * unroll / 64), tiles = (lines + LINES - 1) / LINES;
	LLVMValueRef share = gen_mul(g, gen_bin(g, LLVMUDiv, b->n, gen_i64(g, 2 * unroll)), gen_i64(g, LINES * 64));
	LLVMValueRef wanted = LLVMBuildICmp(g->b, LLVMIntSLT, turn, gen_i64(g, tiles), "");
	return (Ahead){ gen_at(g, source, LLVMBuildSelect(g->b, wanted, gen_mul(g, turn, share), zero, ""), 1),
		LLVMBuildSelect(g->b, wanted, gen_i64(g, 64), zero, "") };
}

/* The accumulators of the group's j-th panel and a tile: all of them wait when k has several blocks. */
static LLVMValueRef accumulators(Contract *c, const Task *t, LLVMValueRef j, LLVMValueRef i)
{
	Gen *g = c->g;
	if (c->once)
		return g->scratch;
	LLVMValueRef at = gen_add(g, gen_mul(g, j, c->step), gen_sub(g, i, t->tile));
	LLVMValueRef several = LLVMBuildICmp(g->b, LLVMIntSGT, c->k, gen_i64(g, c->kc), "");
	at = LLVMBuildSelect(g->b, several, at, gen_i64(g, 0), "");
	return gen_at(g, g->scratch, gen_mul(g, at, gen_i64(g, g->t->mr * g->t->nr)), 4);
}

/* Before the last block of k: the lines that the epilogue will write. */
static void fetch_outputs(Contract *c, const Task *t, LLVMValueRef j, LLVMValueRef i, const Block *b, LLVMValueRef h)
{
	Gen *g = c->g;
	If last = gen_if(g, b->last);
	LLVMValueRef nr = gen_i64(g, g->t->nr), n = gen_mul(g, gen_add(g, t->panel, j), nr);
	gen_epilogue_ahead(g, &c->e, t->batch, gen_mul(g, i, gen_i64(g, g->t->mr)), h, n, gen_min(g, gen_sub(g, c->n, n), nr));
	gen_end_if(g, &last);
}

/* Behind it: what follows the contraction. */
static void finish_tile(Contract *c, const Task *t, LLVMValueRef j, LLVMValueRef i, const Block *b, LLVMValueRef acc, LLVMValueRef h)
{
	Gen *g = c->g;
	If last = gen_if(g, b->last);
	LLVMValueRef nr = gen_i64(g, g->t->nr), n = gen_mul(g, gen_add(g, t->panel, j), nr);
	gen_epilogue(g, &c->e, acc, t->batch, gen_mul(g, i, gen_i64(g, g->t->mr)), h, n, gen_min(g, gen_sub(g, c->n, n), nr));
	gen_end_if(g, &last);
}

static void one_panel(Contract *c, const Task *t, const Block *b, LLVMValueRef j)
{
	Gen *g = c->g;
	LLVMValueRef right = right_panel(c, t, gen_add(g, t->panel, j), b), pairs = whole_pairs(g, b->n);
	Loop i = gen_loop_begin(g, t->tile, t->end, gen_i64(g, 1));
	LLVMValueRef mr = gen_i64(g, g->t->mr), h = gen_min(g, gen_sub(g, c->m, gen_mul(g, i.iv, mr)), mr), acc = accumulators(c, t, j, i.iv);
	Ahead ahead = right_ahead(c, t, b, j, i.iv);
	fetch_outputs(c, t, j, i.iv, b, h);
	gen_tiles_height(g, c->height, h);
	gen_helper_call(g, c->tile_fn, (LLVMValueRef[]){ left_source(c, t, i.iv, b->k), row_pitch(c), right, pairs, acc,
		LLVMBuildZExt(g->b, b->first, g->i64, ""), ahead.at, ahead.stride, h }, TILE_PARAMS + 1);
	finish_tile(c, t, j, i.iv, b, acc, h);
	gen_loop_end(g, &i);
}

static void group(Contract *c, const Task *t)
{
	Gen *g = c->g;
	Loop k = gen_loop_begin(g, gen_i64(g, 0), gen_at_least_1(g, c->k), c->kstep);   /* sums of nothing are 0 */
	LLVMValueRef left = gen_sub(g, c->k, k.iv);
	Block b = { .k = k.iv, .n = gen_min(g, left, c->kstep) };
	b.first = LLVMBuildICmp(g->b, LLVMIntEQ, k.iv, gen_i64(g, 0), "");
	b.last = LLVMBuildICmp(g->b, LLVMIntSLE, left, c->kstep, "");
	Loop j = gen_loop_begin(g, gen_i64(g, 0), t->count, gen_i64(g, 1));
	one_panel(c, t, &b, j.iv);
	gen_loop_end(g, &j);
	gen_loop_end(g, &k);
}

/* Tasks are (batch, row block, panel), panels innermost; a group ends with the panels or with the thread's share. */
static void tasks(Contract *c)
{
	Gen *g = c->g;
	LLVMValueRef lo, hi, batches = gen_dim(g, axes_extent(&c->x, c->x.batch)), zero = gen_i64(g, 0);
	LLVMValueRef none = LLVMBuildICmp(g->b, LLVMIntSLT, c->m, gen_i64(g, 1), ""), all = gen_mul(g, gen_mul(g, batches, c->blocks), c->panels);
	gen_share(g, LLVMBuildSelect(g->b, none, zero, all, ""), &lo, &hi);
	Loop l = gen_loop_begin(g, lo, hi, gen_i64(g, 1));
	LLVMValueRef outer = gen_bin(g, LLVMUDiv, l.iv, c->panels);
	Task t = { .panel = gen_bin(g, LLVMURem, l.iv, c->panels), .batch = gen_bin(g, LLVMUDiv, outer, c->blocks) };
	t.tile = gen_mul(g, gen_bin(g, LLVMURem, outer, c->blocks), c->step);
	t.end = gen_min(g, gen_add(g, t.tile, c->step), c->tiles);
	t.count = gen_min(g, gen_min(g, c->group, gen_sub(g, hi, l.iv)), gen_sub(g, c->panels, t.panel));
	group(c, &t);
	l.step = t.count;
	gen_loop_end(g, &l);
}

static LLVMValueRef quant_left(void *ctx, LLVMValueRef batch)
{
	Contract *c = ctx;
	return left_source(c, &(Task){ .batch = batch }, gen_i64(c->g, 0), gen_i64(c->g, 0));
}

static int64_t few_beside_blocks(Contract *c)
{
	Gen *g = c->g;
	QuantThin t = { .right = c->blocks_of, .ctx = c, .left = quant_left, .left_type = DT_BF16, .dense = true, .m = c->m, .sm = row_pitch(c),
		.sk = gen_i64(g, 1), .batches = gen_dim(g, axes_extent(&c->x, c->x.batch)), .e = &c->e };
	if (!dim_is_const(axes_extent(&c->x, c->x.k), &t.k))
		bug("a parameter in blocks has a run-time extent");
	return gen_thin_quant(g, &t);
}

static LLVMValueRef thin_left(void *ctx, LLVMValueRef batch, LLVMValueRef tile, LLVMValueRef step, LLVMValueRef h)
{
	Contract *c = ctx;
	return left_source(c, &(Task){ .batch = batch }, tile, gen_mul(c->g, step, gen_i64(c->g, 2)));
}

static LLVMValueRef thin_right(void *ctx, LLVMValueRef batch, LLVMValueRef panel)
{
	Contract *c = ctx;
	return right_source(c, batch, panel, gen_i64(c->g, 0));
}

static LLVMValueRef thin_tile(const Gen *g, void *ctx, int lines)
{
	return gen_tile_bf16(g, lines);
}

static int64_t few_beside_panels(Contract *c)
{
	Gen *g = c->g;
	gen_tiles_height(g, c->height, gen_at_least_1(g, c->m));
	return gen_thin(g, &(Thin){ .ctx = c, .left = thin_left, .right = thin_right, .tile = thin_tile, .m = c->m, .n = c->n,
		.steps = c->pairs, .panels = c->panels, .batches = gen_dim(g, axes_extent(&c->x, c->x.batch)), .lda = row_pitch(c),
		.unroll = tile_unroll_bf16(g->t), .any = g->t->bf16 == BF16_TILES, .e = &c->e });
}

/* Few rows of weights packed ahead are thin.c's, of those in blocks thin_quant.c's; the rest of the kernel is for others. NULL, or where both meet. */
static LLVMBasicBlockRef thin(Contract *c, int64_t *scratch)
{
	Gen *g = c->g;
	bool blocks = c->blocks_of.format != QUANT_NONE;
	int64_t m, most = blocks ? thin_quant_rows(g->t, DT_BF16) : THIN_ROWS;
	if (!c->packed[1] || (dim_is_const(axes_extent(&c->x, c->x.m), &m) && m > most))
		return NULL;
	LLVMBasicBlockRef few = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "few"), many = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "many");
	LLVMBasicBlockRef done = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "both");
	LLVMBuildCondBr(g->b, LLVMBuildICmp(g->b, LLVMIntSLE, c->m, gen_i64(g, most), ""), few, many);
	LLVMPositionBuilderAtEnd(g->b, few);
	int64_t bytes = blocks ? few_beside_blocks(c) : few_beside_panels(c);
	*scratch = MAX(*scratch, bytes);
	LLVMBuildBr(g->b, done);
	LLVMPositionBuilderAtEnd(g->b, many);
	return done;
}

static void by_tiles(Contract *c, int64_t *scratch)
{
	Gen *g = c->g;
	c->height = gen_tiles_begin(g);
	LLVMBasicBlockRef done = thin(c, scratch);
	tasks(c);
	if (done)
		gen_goto(g, done);
	gen_tiles_end(g);
}

void gen_contract_bf16(Gen *g, const Cluster *cluster, KernelArgs *ka)
{
	Value *v = cluster->anchor;
	const Target *outer = g->t;
	Target t = *outer;
	t.mr = tile_rows(outer, DT_BF16);
	t.nr = tile_columns(outer, DT_BF16);
	g->t = &t;
	Contract c = { .g = g, .x = axes_of(v->a.spec, &v->in[0]->type, &v->in[1]->type) };
	operands(&c, v);
	extents(&c);
	c.e = epilogue_of(g, cluster, &c.x);
	int64_t tile = (int64_t)t.mr * t.nr * 4, sums = (c.once ? 1 : GROUP * c.rows) * tile;
	int64_t scratch = sums + (c.panels_lie ? 0 : c.kc * t.nr * 2);
	c.panel_at = gen_at(g, g->scratch, gen_i64(g, sums), 1);
	if (c.blocks_of.format && thin_quant_rows(g->t, DT_BF16) == INT64_MAX)
		scratch = few_beside_blocks(&c);
	else
		by_tiles(&c, &scratch);
	if (c.e.stream && outer->arch == ARCH_X86_64)   /* see contract.c */
		gen_call_plain(g, "llvm.x86.sse.sfence", NULL, 0);
	ka->scratch = scratch;
	g->t = outer;
}
