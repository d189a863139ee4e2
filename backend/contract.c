/* contract.c: contraction kernels around the register tile.
 *
 * For a thread's range of (batch, block of rows, panel of columns, tile), in groups of panels:
 *
 *   for each block of k:                        as choose_blocks() has it: shallow, a panel's share of it stays in
 *                                               first-level cache; deep, a left tile's
 *     for each strip of the row block's tiles:  their k share stays in second-level cache; shallow blocks are one strip, but of few k;
 *                                               left operands whose columns are consecutive are packed here, into scratch
 *       for each panel of the group:            raw right operands are packed here by the first strip, into scratch
 *         for each left tile of the strip:
 *           tile += A B; behind the last block of k: the epilogue, from the accumulators to memory
 *
 * Accumulators between blocks of k wait in scratch. Every element's sum runs in ascending k in one chain, so results
 * depend neither on the blocks nor on the threads. Left operands whose rows are consecutive are read where they lie.
 * Scratch: accumulator tiles, the blocks of one panel or of a group's, the left strip. */
#include "backend/gen.h"

/* Panels that share a pass over the left tiles, when k has several blocks: of full row blocks, and of low ones, whose
 * accumulators take less room. */
enum { GROUP = 4, MOST_GROUP = 8 };

/* Blocks of k are multiples of this. */
enum { K_STEP = QUANT_BLOCK };

/* How operand 0 lies: in panel order; raw with rows consecutive in k, or columns consecutive in m. */
typedef enum Left { PANELS, ROWS, COLUMNS } Left;

enum { MAX_VECTORS = 4 };

typedef struct Contract {
	Gen *g;
	Axes x;
	Left left;
	Access a, b;                              /* raw operands 0 and 1 */
	bool packed;                              /* operand 1 is in panel order */
	QuantSource blocks_of;                    /* operand 1, where it is kept in blocks: panels are unpacked as raw ones are packed */
	const Dim *ld, *sk, *sn;                  /* of a raw operand 0: between rows or columns; of a raw operand 1 */
	int64_t kc, rows, left_bytes;             /* largest block of k; largest row block, left tiles; of a packed left block */
	LLVMValueRef kmost, most;                 /* the same, as this launch's extents have it */
	LLVMValueRef l2;                          /* bytes of the second-level cache, at most the target's: scratch is for those */
	LLVMValueRef deep;                        /* i1: blocks of k are; NULL: never */
	bool once, strided;                       /* k is one block; low tiles read operand 1 as it lies */
	LLVMValueRef m, n, k, tiles, panels, blocks, step, kstep;  /* extents; counts; tiles a row block; k a block */
	LLVMValueRef strip, strips;               /* tiles of a row block that take their turn together; i1: there are several */
	LLVMValueRef group;                       /* panels of a group: the lower the row block, the more */
	LLVMValueRef a_base, b_base;
	LLVMValueRef panel_at, left_at;           /* scratch for one panel's block, and for the left block of COLUMNS */
	LLVMValueRef tile_fn, panel_fn, block_fn;
	LLVMValueRef narrow_fn[MAX_VECTORS];      /* tiles of 1.. vectors a row, for a last panel of so many; NULL: it is wider, or may be */
	LLVMValueRef right_fn;                    /* a full tile that packs operand 1; NULL unless its rows lie as tiles read them */
	Epilogue e;
} Contract;

/* Tiles tile..end, a strip of the row block block..stop; count panels. */
typedef struct Task { LLVMValueRef batch, block, stop, tile, end, panel, count; } Task;
typedef struct Block { LLVMValueRef k, n, first, last; } Block;             /* k.. n of them; first, last: i1 */


/* A panel's block of k fills the first-level cache; left tiles stream past it. */
static int64_t k_block(const Target *t)
{
	return t->l1 / (t->nr * 4) / K_STEP * K_STEP;
}

/* A share of the second-level cache in eighths, in tiles of kc: as the target has it, and as it is where the program runs. */
typedef struct Tiles { int64_t most; LLVMValueRef here; } Tiles;

static Tiles tiles_of(Contract *c, int eighths, int64_t kc)
{
	Gen *g = c->g;
	int64_t unit = g->t->mr * kc * 4 * 8;
	LLVMValueRef here = gen_bin(g, LLVMUDiv, gen_mul(g, c->l2, gen_i64(g, eighths)), gen_i64(g, unit));
	return (Tiles){ MAX(1, g->t->l2 * eighths / unit), gen_at_least_1(g, here) };
}

/* Tiles from which on the packing of a deep block is small beside their multiply-adds, and the panels that are enough to
 * share out among threads without cutting rows as well. */
enum { DEEP_TILES = 64, DEEP_PANELS = 16 };

/* The left block's share of the second-level cache, the rest of which is for accumulators and what is ahead; and what a
 * row block of deep blocks may have, strips of which take turns. */
enum { LEFT_EIGHTHS = 5, DEEP_EIGHTHS = 24 };

/* A strip's share of the second-level cache: STRIP_NUM / STRIP_DEN. */
enum { STRIP_NUM = 3, STRIP_DEN = 8 };

/* Panels that the strips of a row block share: the more, the less often left columns are packed. */
enum { STRIP_GROUP = 16 };

/* A left tile's deep block takes two thirds of the first-level cache, and panels come from the second: accumulators wait in
 * memory less often. 0 where that is not twice as deep at least. */
static int64_t deep_block(const Target *t)
{
	int64_t deep = t->l1 * 2 / 3 / (t->mr * 4) / K_STEP * K_STEP;
	return deep >= 2 * k_block(t) ? deep : 0;
}

/* A raw panel that is copied row by row leaves room beside it, where that makes few blocks. */
static int64_t shallow_block(const Contract *c, bool across)
{
	int64_t most = k_block(c->g->t), fixed;
	bool few = dim_is_const(axes_extent(&c->x, c->x.k), &fixed) && fixed > most && fixed <= 3 * most;
	return few && across && deep_block(c->g->t) ? most * 3 / 4 / K_STEP * K_STEP : most;
}

/* Raw panels that are transposed gain from deep blocks only where there would be many shallow ones. */
static bool may_be_deep(const Contract *c, bool across)
{
	int64_t fixed;
	bool few = dim_is_const(axes_extent(&c->x, c->x.k), &fixed) && fixed <= 3 * k_block(c->g->t);
	return deep_block(c->g->t) && (c->packed || across || !few);
}

/* Packed panels have deep blocks however few they are, unless left columns are packed: scratch has room for shallow ones of those. */
static bool always_deep(const Contract *c)
{
	return c->packed && c->left != COLUMNS;
}

/* Deep blocks, where they may be, for packed panels and for raw ones that many tiles share: these may be more than the second-level
 * cache holds, strips of them take turns. */
static void choose_blocks(Contract *c)
{
	Gen *g = c->g;
	bool across = c->sn && dim_is(c->sn, 1);
	int64_t shallow = shallow_block(c, across), fixed;
	Tiles low = tiles_of(c, LEFT_EIGHTHS, shallow);
	const Dim *k = axes_extent(&c->x, c->x.k);
	c->kc = shallow;
	c->rows = low.most;
	c->left_bytes = low.most * (shallow * g->t->mr + 16) * 4;
	c->kmost = gen_i64(g, shallow);
	c->most = low.here;
	if (may_be_deep(c, across)) {
		LLVMValueRef panels = LLVMBuildICmp(g->b, LLVMIntSGE, c->panels, gen_i64(g, DEEP_PANELS), "");
		LLVMValueRef tiles = LLVMBuildICmp(g->b, LLVMIntSGE, c->tiles, gen_i64(g, DEEP_TILES), "");
		c->kc = deep_block(g->t);
		Tiles rows = tiles_of(c, DEEP_EIGHTHS, c->kc);
		c->rows = MAX(low.most, rows.most);
		c->left_bytes = MAX(c->left_bytes, g->t->l2 * STRIP_NUM / STRIP_DEN + c->rows * 64);
		c->deep = c->packed ? panels : LLVMBuildAnd(g->b, panels, tiles, "");
		c->kmost = always_deep(c) ? gen_i64(g, c->kc) : LLVMBuildSelect(g->b, c->deep, gen_i64(g, c->kc), c->kmost, "");
		c->most = LLVMBuildSelect(g->b, c->deep, rows.here, c->most, "");
	}
	c->once = dim_is_const(k, &fixed) && fixed <= (always_deep(c) ? c->kc : shallow);
}

/* So few steps of k that writing results is most of the work: a strip is a few tiles, whose panels follow each other along its rows. Down a
 * panel, each row's piece of it would be in a page of its own, and its outer lines be written twice. */
enum { FEW_STEPS = K_STEP, FEW_TILES = 4 };

static LLVMValueRef few_steps(Contract *c)
{
	return LLVMBuildICmp(c->g->b, LLVMIntSLE, c->k, gen_i64(c->g, FEW_STEPS), "");
}

/* Shallow blocks are one strip; of deep ones a strip's share of k is what stays in second-level cache. */
static void choose_strips(Contract *c)
{
	Gen *g = c->g;
	LLVMValueRef few = few_steps(c);
	c->strip = LLVMBuildSelect(g->b, few, gen_min(g, c->step, gen_i64(g, FEW_TILES)), c->step, "");
	c->strips = LLVMBuildICmp(g->b, LLVMIntSLT, c->strip, c->step, "");
	if (!c->deep)
		return;
	LLVMValueRef bytes = gen_mul(g, c->kstep, gen_i64(g, g->t->mr * 4));
	LLVMValueRef share = gen_bin(g, LLVMUDiv, gen_mul(g, c->l2, gen_i64(g, STRIP_NUM)), gen_i64(g, STRIP_DEN));
	LLVMValueRef most = gen_at_least_1(g, gen_bin(g, LLVMUDiv, share, bytes));
	LLVMValueRef strip = gen_ceil_div(g, c->step, gen_ceil_div(g, c->step, most));
	c->strip = LLVMBuildSelect(g->b, few, c->strip, LLVMBuildSelect(g->b, c->deep, strip, c->step, ""), "");
	c->strips = LLVMBuildICmp(g->b, LLVMIntSLT, c->strip, c->step, "");
}

static LLVMValueRef several_blocks(Contract *c)
{
	return LLVMBuildICmp(c->g->b, LLVMIntSGT, c->k, c->kmost, "");
}

/* Panels a thread from which on it has whole ones: half a panel costs the packing of a whole one. */
enum { WHOLE_PANELS = 16 };

static LLVMValueRef whole_panels(Contract *c)
{
	Gen *g = c->g;
	LLVMValueRef batches = gen_dim(g, axes_extent(&c->x, c->x.batch)), most = gen_mul(g, g->nth, gen_i64(g, WHOLE_PANELS));
	return LLVMBuildICmp(g->b, LLVMIntSGE, gen_mul(g, batches, c->panels), most, "");
}

/* What is multiplied for a row where threads that share rows lose more by writing to one line than by packing all panels each: up to
 * so many multiply-adds, and so many for each row that they share. */
enum { ROW_WORK = 1 << 17, ROW_PACKING = 256 };

/* Panels a thread up to which dividing the packing of left columns is worth packing each panel for every thread. */
enum { ROW_PANELS = 4 };

/* i1: each thread has its own rows of few panels, not its own panels. */
static LLVMValueRef by_rows(Contract *c)
{
	Gen *g = c->g;
	LLVMValueRef work = gen_mul(g, c->k, c->n), yes = LLVMBuildICmp(g->b, LLVMIntSLE, work, gen_mul(g, c->m, gen_i64(g, ROW_PACKING)), "");
	yes = LLVMBuildAnd(g->b, yes, LLVMBuildICmp(g->b, LLVMIntSLE, work, gen_i64(g, ROW_WORK), ""), "");
	if (c->left == COLUMNS) {
		LLVMValueRef few = LLVMBuildICmp(g->b, LLVMIntSLE, c->panels, gen_mul(g, g->nth, gen_i64(g, ROW_PANELS)), "");
		few = LLVMBuildAnd(g->b, few, LLVMBuildICmp(g->b, LLVMIntSLT, c->n, c->m, ""), "");
		yes = LLVMBuildOr(g->b, yes, few, "");
	}
	return LLVMBuildAnd(g->b, yes, LLVMBuildNot(g->b, whole_panels(c), ""), "");
}

/* Extents may be 0 at run time (rows that were counted: ir/counted.c), what is divided by never is. */
static void extents(Contract *c)
{
	Gen *g = c->g;
	c->m = gen_dim(g, axes_extent(&c->x, c->x.m));
	c->n = gen_dim(g, axes_extent(&c->x, c->x.n));
	c->k = gen_dim(g, axes_extent(&c->x, c->x.k));
	c->tiles = gen_at_least_1(g, gen_ceil_div(g, c->m, gen_i64(g, g->t->mr)));
	c->panels = gen_ceil_div(g, c->n, gen_i64(g, g->t->nr));
	c->l2 = gen_cache_bytes(g);
	choose_blocks(c);
	LLVMValueRef several = several_blocks(c), most = c->most;
	if (c->left == COLUMNS && !c->deep)   /* lower blocks leave room for more panels, that the packing of a block is for */
		most = LLVMBuildSelect(g->b, several, gen_at_least_1(g, gen_bin(g, LLVMUDiv, most, gen_i64(g, 2))), most, "");
	most = LLVMBuildSelect(g->b, by_rows(c), gen_min(g, most, gen_ceil_div(g, c->tiles, g->nth)), most, "");
	c->blocks = gen_ceil_div(g, c->tiles, most);
	c->step = gen_ceil_div(g, c->tiles, c->blocks);
	LLVMValueRef each = gen_ceil_div(g, c->k, gen_at_least_1(g, gen_ceil_div(g, c->k, c->kmost)));
	c->kstep = gen_mul(g, gen_at_least_1(g, gen_ceil_div(g, each, gen_i64(g, K_STEP))), gen_i64(g, K_STEP));
	choose_strips(c);
	LLVMValueRef room = gen_mul(g, c->most, gen_i64(g, GROUP)), all = c->panels;
	c->group = gen_min(g, gen_bin(g, LLVMUDiv, room, c->step), gen_i64(g, MOST_GROUP));
	if (!c->packed)
		all = LLVMBuildSelect(g->b, c->strips, gen_i64(g, STRIP_GROUP), all, "");
	c->group = LLVMBuildSelect(g->b, several, c->group, all, "");
}

/* Vectors of the last panel that hold columns; 0: not known when compiling. */
static int last_vectors(const Contract *c)
{
	const Target *t = c->g->t;
	int64_t n;
	if (!dim_is_const(axes_extent(&c->x, c->x.n), &n))
		return 0;
	return (int)(((n + t->nr - 1) % t->nr + t->lanes) / t->lanes);
}

static void narrow_tiles(Contract *c)
{
	Gen *g = c->g;
	int last = last_vectors(c);
	for (int v = 1; v < g->t->nr / g->t->lanes; v++)
		if (!last || v == last)
			c->narrow_fn[v] = gen_tile_function(g, (TileKind){ .rows = c->left == ROWS, .strided = c->strided && g->t->masks, .vectors = v });
}

static void left_operand(Contract *c, Value *v)
{
	Gen *g = c->g;
	Value *left = v->in[0];
	c->a_base = gen_base(g, left);
	c->left = PANELS;
	if (!in_panels(left)) {
		c->a = axes_access(&c->x, c->x.in[0], left->type, gen_view(g, left));
		const Dim *sm = axes_stride(&c->x, c->x.m, &c->a), *sk = axes_stride(&c->x, c->x.k, &c->a);
		bool rows = sk && (dim_is(sk, 1) || dim_is(axes_extent(&c->x, c->x.k), 1));
		bool columns = sm && (dim_is(sm, 1) || dim_is(axes_extent(&c->x, c->x.m), 1));
		if (!sm || !sk || !(rows || columns))
			bug("contract \"%s\": layout left an operand 0 that should be packed", v->a.spec);
		c->left = rows ? ROWS : COLUMNS;
		c->ld = rows ? sm : sk;
	}
	c->strided = c->left == ROWS;
	c->tile_fn = gen_tile_function(g, (TileKind){ .rows = c->left == ROWS, .strided = c->strided });
	narrow_tiles(c);
	c->block_fn = c->left == COLUMNS ? gen_block_function(g) : NULL;
}

static void right_operand(Contract *c, Value *v)
{
	Gen *g = c->g;
	Value *right = v->in[1];
	c->b_base = gen_base(g, right);
	c->blocks_of = (QuantSource){ in_panels(right) ? right->a.format : QUANT_NONE, c->b_base, gen_dim(g, axes_extent(&c->x, c->x.k)),
		gen_dim(g, axes_extent(&c->x, c->x.n)) };
	c->packed = in_panels(right) && !c->blocks_of.format;
	if (in_panels(right))
		return;
	c->b = axes_access(&c->x, c->x.in[1], right->type, gen_view(g, right));
	c->sk = axes_stride(&c->x, c->x.k, &c->b);
	c->sn = axes_stride(&c->x, c->x.n, &c->b);
	if (!c->sk || !c->sn)
		bug("contract \"%s\": layout left an operand whose axes do not lie as one", v->a.spec);
	c->panel_fn = gen_panel_function(g, 1, DT_F32, c->sk, c->sn);
	if (dim_is(c->sn, 1) && g->t->fma)          /* else registers are too few */
		c->right_fn = gen_full_tile_function(g, (TileKind){ .rows = c->left == ROWS, .packs_right = true });
}

/* Floats from one tile of a packed left block to the next: not a power of two, for its rows of k not to share a set. */
static LLVMValueRef block_pitch(Contract *c)
{
	Gen *g = c->g;
	return gen_add(g, gen_mul(g, c->kstep, gen_i64(g, g->t->mr)), gen_i64(g, 16));
}

/* Where the left tile has its k-th column in operand 0. */
static LLVMValueRef left_source(Contract *c, const Task *t, LLVMValueRef i, LLVMValueRef k, LLVMValueRef h)
{
	Gen *g = c->g;
	LLVMValueRef first = gen_mul(g, i, gen_i64(g, g->t->mr));
	if (c->left == PANELS) {
		LLVMValueRef row = gen_add(g, gen_mul(g, t->batch, c->m), first);
		return gen_at(g, c->a_base, gen_add(g, gen_mul(g, row, c->k), gen_mul(g, k, h)), 4);
	}
	LLVMValueRef ld = gen_dim(g, c->ld), at = gen_offset(g, &c->x, c->x.batch, &c->a, t->batch);
	LLVMValueRef in = c->left == ROWS ? gen_add(g, gen_mul(g, first, ld), k) : gen_add(g, first, gen_mul(g, k, ld));
	return gen_at(g, c->a_base, gen_add(g, at, in), 4);
}

/* The right panel's block, where it is. */
static LLVMValueRef right_source(Contract *c, LLVMValueRef batch, LLVMValueRef panel, LLVMValueRef k)
{
	Gen *g = c->g;
	LLVMValueRef nr = gen_i64(g, g->t->nr), n = gen_mul(g, panel, nr);
	if (c->packed) {
		LLVMValueRef column = gen_add(g, gen_mul(g, gen_mul(g, batch, c->panels), nr), n);
		return gen_at(g, c->b_base, gen_add(g, gen_mul(g, column, c->k), gen_mul(g, k, nr)), 4);
	}
	if (c->blocks_of.format)
		return gen_quant_at(g, &c->blocks_of, batch, n, k);
	LLVMValueRef at = gen_add(g, gen_offset(g, &c->x, c->x.batch, &c->b, batch), gen_mul(g, k, gen_dim(g, c->sk)));
	return gen_at(g, c->b_base, gen_add(g, at, gen_mul(g, n, gen_dim(g, c->sn))), 4);
}

/* Scratch of the group's j-th panel: the same for all where a panel is not wanted again. */
static LLVMValueRef panel_slot(Contract *c, LLVMValueRef j)
{
	Gen *g = c->g;
	LLVMValueRef slot = LLVMBuildSelect(g->b, c->strips, j, gen_i64(g, 0), "");
	return gen_at(g, c->panel_at, gen_mul(g, slot, gen_mul(g, c->kstep, gen_i64(g, g->t->nr))), 4);
}

/* A panel's block at `at`, rows ldb floats apart. Where `packs` (i1; NULL: never) the first tile is to bring it there from src. */
typedef struct Right { LLVMValueRef at, ldb, src, packs, cols; } Right;

/* A low tile that alone reads a panel has it from where it lies, if its last vector is whole or masked; a first tile of full size packs it on the way. */
static LLVMValueRef without_packing(Contract *c, const Task *t, Right *r, LLVMValueRef here)
{
	Gen *g = c->g;
	LLVMValueRef mr = gen_i64(g, g->t->mr), whole = LLVMBuildICmp(g->b, LLVMIntEQ, r->cols, gen_i64(g, g->t->nr), "");
	LLVMValueRef full = LLVMBuildICmp(g->b, LLVMIntSGE, gen_sub(g, c->m, gen_mul(g, t->tile, mr)), mr, "");
	LLVMValueRef alone = LLVMBuildICmp(g->b, LLVMIntEQ, gen_sub(g, t->stop, t->block), gen_i64(g, 1), "");
	LLVMValueRef narrow = LLVMBuildICmp(g->b, LLVMIntSLE, r->cols, gen_i64(g, g->t->masks ? g->t->nr - g->t->lanes : 0), "");
	LLVMValueRef low = LLVMBuildAnd(g->b, LLVMBuildAnd(g->b, LLVMBuildOr(g->b, whole, narrow, ""), alone, ""), LLVMBuildNot(g->b, full, ""), "");
	if (c->right_fn)
		r->packs = LLVMBuildAnd(g->b, here, LLVMBuildAnd(g->b, whole, full, ""), "");
	if (!c->strided)
		return c->right_fn ? r->packs : LLVMConstInt(g->i1, 0, 0);
	r->at = LLVMBuildSelect(g->b, low, r->src, r->at, "");
	r->ldb = LLVMBuildSelect(g->b, low, gen_dim(g, c->sk), r->ldb, "");
	return c->right_fn ? LLVMBuildOr(g->b, low, r->packs, "") : low;
}

/* Others are packed here, by the first strip alone. */
static Right right_panel(Contract *c, const Task *t, LLVMValueRef j, const Block *b)
{
	Gen *g = c->g;
	LLVMValueRef nr = gen_i64(g, g->t->nr), panel = gen_add(g, t->panel, j);
	LLVMValueRef cols = gen_min(g, gen_sub(g, c->n, gen_mul(g, panel, nr)), nr);
	Right r = { .src = right_source(c, t->batch, panel, b->k), .cols = cols, .ldb = nr };
	if (c->packed) {
		r.at = r.src;
		return r;
	}
	r.at = panel_slot(c, j);
	LLVMValueRef here = LLVMBuildICmp(g->b, LLVMIntEQ, t->tile, t->block, "");
	if (c->sn && dim_is(c->sn, 1))
		here = LLVMBuildAnd(g->b, here, LLVMBuildNot(g->b, without_packing(c, t, &r, here), ""), "");
	If i = gen_if(g, here);
	if (c->blocks_of.format)
		gen_unpack(g, &c->blocks_of, DT_F32, r.at, r.src, b->n, cols);
	else
		gen_helper_call(g, c->panel_fn, (LLVMValueRef[]){ r.at, r.src, gen_dim(g, c->sk), gen_dim(g, c->sn), b->n, cols }, 6);
	gen_end_if(g, &i);
	return r;
}

/* The accumulators of the group's j-th panel and a tile: all of them wait when k has several blocks. With one block the
 * same few lines serve every tile and stay in first-level cache. */
static LLVMValueRef accumulators(Contract *c, const Task *t, LLVMValueRef j, LLVMValueRef i)
{
	Gen *g = c->g;
	if (c->once)
		return g->scratch;
	LLVMValueRef at = gen_add(g, gen_mul(g, j, c->step), gen_sub(g, i, t->block));
	at = LLVMBuildSelect(g->b, several_blocks(c), at, gen_i64(g, 0), "");
	return gen_at(g, g->scratch, gen_mul(g, at, gen_i64(g, g->t->mr * g->t->nr)), 4);
}

/* Where the line is that a tile prefetches first, and the bytes to its next: the i-th of a pass over a panel's
 * block fetches a part of what will be read as the right operand behind it. */
typedef struct Ahead { LLVMValueRef at, stride; } Ahead;

static Ahead either(Gen *g, LLVMValueRef cond, Ahead a, Ahead b)
{
	return (Ahead){ LLVMBuildSelect(g->b, cond, a.at, b.at, ""), LLVMBuildSelect(g->b, cond, a.stride, b.stride, "") };
}

static LLVMValueRef last_strip(Contract *c, const Task *t)
{
	return LLVMBuildICmp(c->g->b, LLVMIntSGE, t->end, t->stop, "");
}

/* The panel after this one in the group at the same k, or the first for the next strip; behind the last strip, the group's first
 * at the next k, or the next group. Past the operand's end it is an address like any other: prefetches do not fault. */
static LLVMValueRef next_source(Contract *c, const Task *t, const Block *b, LLVMValueRef j)
{
	Gen *g = c->g;
	LLVMValueRef next = gen_add(g, j, gen_i64(g, 1)), zero = gen_i64(g, 0), strip = last_strip(c, t);
	LLVMValueRef more = LLVMBuildICmp(g->b, LLVMIntSLT, next, t->count, "");
	LLVMValueRef done = LLVMBuildAnd(g->b, b->last, strip, "");
	LLVMValueRef behind = LLVMBuildSelect(g->b, done, t->count, zero, "");
	LLVMValueRef k = LLVMBuildSelect(g->b, done, zero, gen_add(g, b->k, b->n), "");
	LLVMValueRef same = LLVMBuildOr(g->b, more, LLVMBuildNot(g->b, strip, ""), "");
	LLVMValueRef panel = gen_add(g, t->panel, LLVMBuildSelect(g->b, more, next, behind, ""));
	return right_source(c, t->batch, panel, LLVMBuildSelect(g->b, same, b->k, k, ""));
}

/* Lines of a panel in the order of the steps that would use them: one after another where it is packed; where it is
 * dense across, the i-th tile takes the (i mod lines)-th line of each row, of rows that do not start at lines all but the
 * first, which was the last of the panel before; where dense along k, the i-th line of each column. Tiles behind those that
 * have fetched all of it stay on one line: more would push out what is needed. */
static Ahead look_ahead(Contract *c, const Task *t, LLVMValueRef source, LLVMValueRef i)
{
	Gen *g = c->g;
	if (c->blocks_of.format)       /* unpacking reads a few streams in order, which the hardware foresees */
		return (Ahead){ source, gen_i64(g, 0) };
	LLVMValueRef turn = gen_sub(g, i, t->tile), at, stride;
	LLVMValueRef steps = gen_bin(g, LLVMUDiv, c->kstep, gen_i64(g, TILE_UNROLL));   /* lines a tile fetches */
	int64_t lines = MAX(1, g->t->nr * 4 / 64), tiles = lines * TILE_UNROLL;
	if (c->packed) {
		at = gen_mul(g, turn, gen_mul(g, steps, gen_i64(g, 64)));
		stride = gen_i64(g, 64);
	} else if (dim_is(c->sk, 1)) {
		at = gen_mul(g, turn, gen_i64(g, 64));
		stride = gen_mul(g, gen_dim(g, c->sn), gen_i64(g, 4));
		tiles = c->kc * 4 / 64;
	} else {
		stride = gen_mul(g, gen_dim(g, c->sk), gen_i64(g, 4));
		at = gen_mul(g, gen_bin(g, LLVMURem, turn, gen_i64(g, lines)), gen_i64(g, 64));
		at = gen_add(g, at, gen_mul(g, gen_bin(g, LLVMUDiv, turn, gen_i64(g, lines)), gen_mul(g, stride, steps)));
		at = gen_add(g, at, gen_i64(g, MIN(64, g->t->nr * 4) - 4));
	}
	LLVMValueRef wanted = LLVMBuildICmp(g->b, LLVMIntSLT, turn, gen_i64(g, tiles), ""), none = gen_i64(g, 0);
	return (Ahead){ gen_at(g, source, LLVMBuildSelect(g->b, wanted, at, none, ""), 1),
		LLVMBuildSelect(g->b, wanted, stride, none, "") };
}

/* What the tile fetches for the panel behind its own: from where that is packed already, for a strip behind the first. The tiles of
 * a strip share it out. */
static Ahead right_ahead(Contract *c, const Task *t, const Block *b, LLVMValueRef j, LLVMValueRef i)
{
	Gen *g = c->g;
	Ahead raw = look_ahead(c, t, next_source(c, t, b, j), i);
	if (c->packed || !c->deep)
		return raw;
	LLVMValueRef next = gen_add(g, j, gen_i64(g, 1)), more = LLVMBuildICmp(g->b, LLVMIntSLT, next, t->count, "");
	LLVMValueRef later = LLVMBuildICmp(g->b, LLVMIntSGT, t->tile, t->block, "");
	LLVMValueRef slot = panel_slot(c, LLVMBuildSelect(g->b, more, next, gen_i64(g, 0), ""));
	LLVMValueRef lines = gen_bin(g, LLVMUDiv, c->kstep, gen_i64(g, TILE_UNROLL));
	Ahead packed = { gen_at(g, slot, gen_mul(g, gen_sub(g, i, t->tile), gen_mul(g, lines, gen_i64(g, 64))), 1), gen_i64(g, 64) };
	LLVMValueRef is = LLVMBuildSelect(g->b, more, later, LLVMBuildNot(g->b, last_strip(c, t), ""), "");
	return either(g, LLVMBuildAnd(g->b, is, c->strips, ""), packed, raw);
}

static LLVMValueRef height(Contract *c, LLVMValueRef i)
{
	Gen *g = c->g;
	LLVMValueRef mr = gen_i64(g, g->t->mr);
	return gen_min(g, gen_sub(g, c->m, gen_mul(g, i, mr)), mr);
}

/* Emits `if (cond) { fn(in); goto done; }`; no cond: always. */
static void call_if(Gen *g, LLVMValueRef cond, LLVMValueRef fn, LLVMValueRef *in, int nin, LLVMBasicBlockRef done)
{
	LLVMBasicBlockRef other = NULL;
	if (cond) {
		LLVMBasicBlockRef yes = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "yes");
		other = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "no");
		LLVMBuildCondBr(g->b, cond, yes, other);
		LLVMPositionBuilderAtEnd(g->b, yes);
	}
	gen_helper_call(g, fn, in, nin);
	LLVMBuildBr(g->b, done);
	LLVMPositionBuilderAtEnd(g->b, other ? other : done);
}

/* The tile's sums; in: the tile function's TILE_PARAMS. The first of the row block may have to pack. */
static void multiply(Contract *c, const Task *t, const Right *r, LLVMValueRef i, LLVMValueRef h, const LLVMValueRef *in)
{
	Gen *g = c->g;
	LLVMBasicBlockRef done = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "multiplied");
	LLVMValueRef args[TILE_PARAMS + 3];
	memcpy(args, in, sizeof *in * TILE_PARAMS);
	if (r->packs) {
		LLVMValueRef first = LLVMBuildICmp(g->b, LLVMIntEQ, i, t->tile, "");
		args[TILE_PARAMS] = r->src;
		args[TILE_PARAMS + 1] = gen_dim(g, c->sk);
		call_if(g, LLVMBuildAnd(g->b, first, r->packs, ""), c->right_fn, args, TILE_PARAMS + 2, done);
	}
	args[TILE_PARAMS] = h;
	args[TILE_PARAMS + 1] = r->ldb;
	args[TILE_PARAMS + 2] = r->cols;
	int more = c->strided ? 2 : 0;
	for (int v = 1; v < MAX_VECTORS; v++)
		if (c->narrow_fn[v])
			call_if(g, LLVMBuildICmp(g->b, LLVMIntSLE, r->cols, gen_i64(g, v * g->t->lanes), ""), c->narrow_fn[v], args, TILE_PARAMS + 1 + (g->t->masks ? more : 0), done);
	call_if(g, NULL, c->tile_fn, args, TILE_PARAMS + 1 + more, done);
}

/* The tile's block of k as the tile function reads it. */
static LLVMValueRef left_tile(Contract *c, const Task *t, const Block *b, LLVMValueRef i, LLVMValueRef h)
{
	Gen *g = c->g;
	if (c->left != COLUMNS)
		return left_source(c, t, i, b->k, h);
	return gen_at(g, c->left_at, gen_mul(g, gen_sub(g, i, t->tile), block_pitch(c)), 4);
}

static void one_panel(Contract *c, const Task *t, const Block *b, LLVMValueRef j, const Right *r)
{
	Gen *g = c->g;
	LLVMValueRef n = gen_mul(g, gen_add(g, t->panel, j), gen_i64(g, g->t->nr));
	LLVMValueRef first = LLVMBuildZExt(g->b, b->first, g->i64, "");
	Loop i = gen_loop_begin(g, t->tile, t->end, gen_i64(g, 1));
	LLVMValueRef h = height(c, i.iv), acc = accumulators(c, t, j, i.iv), m = gen_mul(g, i.iv, gen_i64(g, g->t->mr));
	Ahead right = right_ahead(c, t, b, j, i.iv);
	If last = gen_if(g, b->last);
	gen_epilogue_ahead(g, &c->e, t->batch, m, h, n, r->cols);
	gen_end_if(g, &last);
	multiply(c, t, r, i.iv, h, (LLVMValueRef[TILE_PARAMS]){ left_tile(c, t, b, i.iv, h), c->left == ROWS ? gen_dim(g, c->ld) : h,
		r->at, b->n, acc, first, right.at, right.stride });
	last = gen_if(g, b->last);
	gen_epilogue(g, &c->e, acc, t->batch, m, h, n, r->cols);
	gen_end_if(g, &last);
	gen_loop_end(g, &i);
}

/* The strip's left tiles into scratch. */
static void pack_block(Contract *c, const Task *t, const Block *b)
{
	Gen *g = c->g;
	LLVMValueRef mr = gen_i64(g, g->t->mr), first = gen_mul(g, t->tile, mr);
	LLVMValueRef cols = gen_sub(g, gen_min(g, gen_mul(g, t->end, mr), c->m), first);
	gen_helper_call(g, c->block_fn, (LLVMValueRef[]){ c->left_at, left_source(c, t, t->tile, b->k, NULL), gen_dim(g, c->ld), b->n,
		cols, block_pitch(c) }, 6);
}

static void strip(Contract *c, const Task *t, const Block *b)
{
	Gen *g = c->g;
	if (c->left == COLUMNS)
		pack_block(c, t, b);
	Loop j = gen_loop_begin(g, gen_i64(g, 0), t->count, gen_i64(g, 1));
	Right r = right_panel(c, t, j.iv, b);
	one_panel(c, t, b, j.iv, &r);
	gen_loop_end(g, &j);
}

static void group(Contract *c, const Task *t)
{
	Gen *g = c->g;
	Task s = *t;
	Loop k = gen_loop_begin(g, gen_i64(g, 0), gen_at_least_1(g, c->k), c->kstep);   /* sums of nothing are 0 */
	LLVMValueRef left = gen_sub(g, c->k, k.iv);
	Block b = { .k = k.iv, .n = gen_min(g, left, c->kstep) };
	b.first = LLVMBuildICmp(g->b, LLVMIntEQ, k.iv, gen_i64(g, 0), "");
	b.last = LLVMBuildICmp(g->b, LLVMIntSLE, left, c->kstep, "");
	Loop i = gen_loop_begin(g, t->block, t->stop, c->strip);
	s.tile = i.iv;
	s.end = gen_min(g, gen_add(g, i.iv, c->strip), t->stop);
	strip(c, &s, &b);
	gen_loop_end(g, &i);
	gen_loop_end(g, &k);
}

/* A place in the order of work (batch, row block, panel, tile), tiles innermost: panels before it, over batches and row blocks; tiles of
 * the next one before it. */
typedef struct Point { LLVMValueRef panel, tile; } Point;

static LLVMValueRef block_tiles(Contract *c, LLVMValueRef block)
{
	Gen *g = c->g;
	return gen_min(g, c->step, gen_sub(g, c->tiles, gen_mul(g, block, c->step)));
}

/* x: vectors of tiles, in the order of work. */
static Point point_at(Contract *c, LLVMValueRef x)
{
	Gen *g = c->g;
	LLVMValueRef nv = gen_i64(g, g->t->nr / g->t->lanes), vectors = gen_at_least_1(g, gen_ceil_div(g, c->n, gen_i64(g, g->t->lanes)));
	LLVMValueRef all = gen_mul(g, c->tiles, vectors), batch = gen_bin(g, LLVMUDiv, x, all), in_batch = gen_sub(g, x, gen_mul(g, batch, all));
	LLVMValueRef high = gen_mul(g, c->step, vectors), block = gen_bin(g, LLVMUDiv, in_batch, high), in_block = gen_sub(g, in_batch, gen_mul(g, block, high));
	LLVMValueRef tiles = block_tiles(c, block), whole = gen_mul(g, tiles, nv), panel = gen_bin(g, LLVMUDiv, in_block, whole);
	LLVMValueRef width = gen_min(g, nv, gen_sub(g, vectors, gen_mul(g, panel, nv))), rest = gen_sub(g, in_block, gen_mul(g, panel, whole));
	LLVMValueRef tile = gen_bin(g, LLVMUDiv, gen_add(g, rest, gen_bin(g, LLVMUDiv, width, gen_i64(g, 2))), width);
	LLVMValueRef next = LLVMBuildICmp(g->b, LLVMIntSGE, tile, tiles, "");
	Point p = { .tile = LLVMBuildSelect(g->b, next, gen_i64(g, 0), tile, "") };
	p.panel = gen_add(g, gen_mul(g, gen_add(g, gen_mul(g, batch, c->blocks), block), c->panels), gen_add(g, panel, LLVMBuildZExt(g->b, next, g->i64, "")));
	return p;
}

static void shares(Contract *c, Point *lo, Point *hi)
{
	Gen *g = c->g;
	LLVMValueRef batches = gen_dim(g, axes_extent(&c->x, c->x.batch)), from, to, zero = gen_i64(g, 0);
	LLVMValueRef none = LLVMBuildICmp(g->b, LLVMIntSLT, c->m, gen_i64(g, 1), ""), all = gen_mul(g, gen_mul(g, batches, c->blocks), c->panels);
	LLVMValueRef whole = whole_panels(c);
	LLVMValueRef units = gen_mul(g, gen_mul(g, batches, c->tiles), gen_ceil_div(g, c->n, gen_i64(g, g->t->lanes)));
	gen_share(g, LLVMBuildSelect(g->b, none, zero, LLVMBuildSelect(g->b, whole, all, units, ""), ""), &from, &to);
	*lo = point_at(c, from);
	*hi = point_at(c, to);
	lo->panel = LLVMBuildSelect(g->b, whole, from, lo->panel, "");
	hi->panel = LLVMBuildSelect(g->b, whole, to, hi->panel, "");
	lo->tile = LLVMBuildSelect(g->b, whole, zero, lo->tile, "");
	hi->tile = LLVMBuildSelect(g->b, whole, zero, hi->tile, "");
}

/* Threads share tiles where panels are few. A group ends with the panels or with the thread's share, whose first and last panel may
 * be parts. */
static void tasks(Contract *c)
{
	Gen *g = c->g;
	LLVMValueRef zero = gen_i64(g, 0), one = gen_i64(g, 1);
	Point lo, hi;
	shares(c, &lo, &hi);
	LLVMValueRef part = LLVMBuildICmp(g->b, LLVMIntSGT, hi.tile, zero, "");
	Loop l = gen_loop_begin(g, lo.panel, gen_add(g, hi.panel, LLVMBuildZExt(g->b, part, g->i64, "")), one);
	LLVMValueRef outer = gen_bin(g, LLVMUDiv, l.iv, c->panels), block = gen_bin(g, LLVMURem, outer, c->blocks);
	Task t = { .panel = gen_bin(g, LLVMURem, l.iv, c->panels), .batch = gen_bin(g, LLVMUDiv, outer, c->blocks) };
	LLVMValueRef first = LLVMBuildICmp(g->b, LLVMIntEQ, l.iv, lo.panel, ""), last = LLVMBuildICmp(g->b, LLVMIntEQ, l.iv, hi.panel, "");
	LLVMValueRef begin = LLVMBuildSelect(g->b, first, lo.tile, zero, ""), base = gen_mul(g, block, c->step);
	t.block = gen_add(g, base, begin);
	t.stop = gen_add(g, base, LLVMBuildSelect(g->b, last, hi.tile, block_tiles(c, block), ""));
	LLVMValueRef left = gen_at_least_1(g, gen_sub(g, hi.panel, l.iv)), rest = LLVMBuildICmp(g->b, LLVMIntSGT, begin, zero, "");
	t.count = LLVMBuildSelect(g->b, rest, one, gen_min(g, gen_min(g, c->group, left), gen_sub(g, c->panels, t.panel)), "");
	group(c, &t);
	l.step = t.count;
	gen_loop_end(g, &l);
}

static LLVMValueRef thin_left(void *ctx, LLVMValueRef batch, LLVMValueRef tile, LLVMValueRef k, LLVMValueRef h)
{
	return left_source(ctx, &(Task){ .batch = batch }, tile, k, h);
}

static LLVMValueRef thin_right(void *ctx, LLVMValueRef batch, LLVMValueRef panel)
{
	Contract *c = ctx;
	return right_source(c, batch, panel, gen_i64(c->g, 0));
}

static LLVMValueRef thin_tile(const Gen *g, void *ctx, int lines)
{
	return gen_tile_function(g, (TileKind){ .rows = ((Contract *)ctx)->left == ROWS, .lines = lines });
}

static LLVMValueRef quant_left(void *ctx, LLVMValueRef batch)
{
	return left_source(ctx, &(Task){ .batch = batch }, gen_i64(((Contract *)ctx)->g, 0), gen_i64(((Contract *)ctx)->g, 0), ((Contract *)ctx)->m);
}

/* Rows in panel order are one tile: so few are no more than its own. */
static int64_t few_beside_blocks(Contract *c)
{
	Gen *g = c->g;
	bool dense = c->left == ROWS;
	QuantThin t = { .right = c->blocks_of, .ctx = c, .left = quant_left, .left_type = DT_F32, .dense = dense, .m = c->m,
		.batches = gen_dim(g, axes_extent(&c->x, c->x.batch)), .e = &c->e };
	t.sm = dense ? gen_dim(g, c->ld) : gen_i64(g, 1);
	t.sk = dense ? gen_i64(g, 1) : c->left == PANELS ? c->m : gen_dim(g, c->ld);
	if (!dim_is_const(axes_extent(&c->x, c->x.k), &t.k))
		bug("a parameter in blocks has a run-time extent");
	return gen_thin_quant(g, &t);
}

static int64_t few_beside_panels(Contract *c)
{
	Gen *g = c->g;
	return gen_thin(g, &(Thin){ .ctx = c, .left = thin_left, .right = thin_right, .tile = thin_tile, .m = c->m, .n = c->n,
		.steps = c->k, .panels = c->panels, .batches = gen_dim(g, axes_extent(&c->x, c->x.batch)), .lda = c->left == ROWS ? gen_dim(g, c->ld) : NULL,
		.unroll = TILE_UNROLL, .e = &c->e });
}

/* Few rows of weights packed ahead are thin.c's, of those in blocks thin_quant.c's; the rest of the kernel is for others. NULL, or where both meet. */
static LLVMBasicBlockRef thin(Contract *c, int64_t *scratch)
{
	Gen *g = c->g;
	bool blocks = c->blocks_of.format != QUANT_NONE;
	int64_t m, most = blocks ? thin_quant_rows(g->t, DT_F32) : THIN_ROWS;
	if (!(blocks || (c->packed && c->left != COLUMNS)) || (dim_is_const(axes_extent(&c->x, c->x.m), &m) && m > most))
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

void gen_contract_kernel(Gen *g, const Cluster *cluster, KernelArgs *ka)
{
	Value *v = cluster->anchor;
	if (v->in[0]->type.dt == DT_BF16) {
		gen_contract_bf16(g, cluster, ka);
		return;
	}
	Contract c = { .g = g, .x = axes_of(v->a.spec, &v->in[0]->type, &v->in[1]->type) };
	left_operand(&c, v);
	right_operand(&c, v);
	extents(&c);
	c.e = epilogue_of(g, cluster, &c.x);
	int64_t tile = (int64_t)g->t->mr * g->t->nr * 4, scratch = (c.once ? 1 : GROUP * c.rows) * tile;
	c.panel_at = gen_at(g, g->scratch, gen_i64(g, scratch), 1);
	scratch += c.packed ? 0 : MAX((c.deep ? STRIP_GROUP : 1) * c.kc, STRIP_GROUP * FEW_STEPS) * g->t->nr * 4;
	c.left_at = gen_at(g, g->scratch, gen_i64(g, (scratch + 63) / 64 * 64), 1);
	scratch += c.left == COLUMNS ? 64 + c.left_bytes : 0;
	LLVMBasicBlockRef done = thin(&c, &scratch);
	tasks(&c);
	if (done)
		gen_goto(g, done);
	if (c.e.stream && g->t->arch == ARCH_X86_64)   /* elsewhere a barrier's release orders them as any store */
		gen_call_plain(g, "llvm.x86.sse.sfence", NULL, 0);
	ka->scratch = scratch;
}
