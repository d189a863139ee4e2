/* thin.c: contractions of few rows (M <= THIN_ROWS at run time: decoding), which are as fast as weights come from memory.
 *
 *     A (m,k)               B: one panel after another, k-major: a share is one stretch of memory
 *     [mr rows]  x  block   [b b b]
 *     [..     ]     of k    [b b b] ..        = acc (m,nr), then the epilogue
 *                           [b b b]   <- fetched into the second-level cache while the block before is multiplied
 *
 * Rows that one tile takes at once have k whole, and each step fetches what lies AHEAD_BYTES behind its own row of B. More rows,
 * or a height that takes several tiles, go k block by block: a block stays in first-level cache while all tiles read it, and
 * they share out the fetching of the next. Panels that stay in caches are fetched by nobody: each such instruction takes the place of
 * a load. So every line of B comes from memory once, whatever M. Accumulators between blocks
 * wait in scratch. Of bf16 a step is a pair of k, as wide as an f32. Sums are the register tile's, one chain in ascending k: which
 * kernel computes an element, and how threads divide the panels, does not show in its bits. */
#include "backend/gen.h"

enum { AHEAD_BYTES = 4096, BLOCK_SHARE = 4 };   /* a block takes 1 / BLOCK_SHARE of the first-level cache */

static LLVMValueRef below(Gen *g, LLVMValueRef a, LLVMValueRef b) { return LLVMBuildICmp(g->b, LLVMIntSLT, a, b, ""); }

/* Lines of a panel that a turn of the tile's loop reads. */
static int lines_of(const Gen *g, const Thin *t)
{
	return g->ka->near ? 0 : MAX(1, g->t->nr * 4 * t->unroll / 64);
}

/* i1: one tile takes all rows at once. */
static LLVMValueRef at_once(Gen *g, const Thin *t)
{
	if (t->any)
		return LLVMConstInt(g->i1, 1, 0);
	LLVMValueRef full = LLVMBuildICmp(g->b, LLVMIntEQ, t->m, gen_i64(g, g->t->mr), "");
	return LLVMBuildOr(g->b, below(g, t->m, gen_i64(g, LOW_ROWS + 1)), full, "");
}

/* A panel's sums over the k of one block, for all rows. */
typedef struct Block { LLVMValueRef batch, right, k, n, ahead; bool once; } Block;

static void tiles(Gen *g, const Thin *t, const Block *b)
{
	int lines = b->once ? lines_of(g, t) : (lines_of(g, t) + 1) / 2;
	LLVMValueRef fn = t->tile(g, t->ctx, lines);
	LLVMValueRef first = LLVMBuildZExt(g->b, LLVMBuildICmp(g->b, LLVMIntEQ, b->k, gen_i64(g, 0), ""), g->i64, "");
	LLVMValueRef share = gen_mul(g, gen_bin(g, LLVMUDiv, b->n, gen_i64(g, t->unroll)), gen_i64(g, lines * 64));
	Loop i = gen_loop_begin(g, gen_i64(g, 0), t->m, gen_i64(g, g->t->mr));
	LLVMValueRef tile = gen_bin(g, LLVMUDiv, i.iv, gen_i64(g, g->t->mr)), h = gen_min(g, gen_sub(g, t->m, i.iv), gen_i64(g, g->t->mr));
	LLVMValueRef a = t->left(t->ctx, b->batch, tile, b->k, h), acc = gen_at(g, g->scratch, gen_mul(g, i.iv, gen_i64(g, g->t->nr)), 4);
	LLVMValueRef ahead = gen_at(g, b->ahead, gen_mul(g, tile, share), 1);
	gen_helper_call(g, fn, (LLVMValueRef[]){ a, t->lda ? t->lda : h, b->right, b->n, acc, first, ahead, gen_i64(g, 64), h }, TILE_PARAMS + 1);
	gen_loop_end(g, &i);
}

static void blocks(Gen *g, const Thin *t, LLVMValueRef batch, LLVMValueRef right)
{
	int64_t deep = MAX(t->unroll, g->t->l1 / BLOCK_SHARE / (g->t->nr * 4) / t->unroll * t->unroll);
	LLVMValueRef row = gen_i64(g, g->t->nr), step = gen_i64(g, deep);
	LLVMValueRef end = LLVMBuildSelect(g->b, below(g, t->steps, gen_i64(g, 1)), gen_i64(g, 1), t->steps, "");   /* sums of nothing are 0 */
	Loop k = gen_loop_begin(g, gen_i64(g, 0), end, step);
	Block b = { .batch = batch, .k = k.iv, .n = gen_min(g, gen_sub(g, t->steps, k.iv), step) };
	b.right = gen_at(g, right, gen_mul(g, k.iv, row), 4);
	b.ahead = gen_at(g, b.right, gen_mul(g, b.n, row), 4);
	tiles(g, t, &b);
	gen_loop_end(g, &k);
}

static void panel(Gen *g, const Thin *t, LLVMValueRef batch, LLVMValueRef panel)
{
	LLVMBasicBlockRef whole = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "whole"), some = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "blocks");
	LLVMBasicBlockRef done = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "summed");
	LLVMValueRef right = t->right(t->ctx, batch, panel), n = gen_mul(g, panel, gen_i64(g, g->t->nr));
	LLVMBuildCondBr(g->b, at_once(g, t), whole, some);
	LLVMPositionBuilderAtEnd(g->b, whole);
	tiles(g, t, &(Block){ .batch = batch, .right = right, .k = gen_i64(g, 0), .n = t->steps, .once = true,
		.ahead = gen_at(g, right, gen_i64(g, AHEAD_BYTES), 1) });
	LLVMBuildBr(g->b, done);
	LLVMPositionBuilderAtEnd(g->b, some);
	blocks(g, t, batch, right);
	LLVMBuildBr(g->b, done);
	LLVMPositionBuilderAtEnd(g->b, done);
	gen_epilogue(g, t->e, g->scratch, batch, gen_i64(g, 0), t->m, n, gen_min(g, gen_sub(g, t->n, n), gen_i64(g, g->t->nr)));
}

int64_t gen_thin(Gen *g, const Thin *t)
{
	LLVMValueRef lo, hi, none = below(g, t->m, gen_i64(g, 1)), all = gen_mul(g, t->batches, t->panels);
	gen_share(g, LLVMBuildSelect(g->b, none, gen_i64(g, 0), all, ""), &lo, &hi);
	Loop l = gen_loop_begin(g, lo, hi, gen_i64(g, 1));
	panel(g, t, gen_bin(g, LLVMUDiv, l.iv, t->panels), gen_bin(g, LLVMURem, l.iv, t->panels));
	gen_loop_end(g, &l);
	return (THIN_ROWS + g->t->mr) * g->t->nr * 4;
}
