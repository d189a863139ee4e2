/* flash_forward.c: attention's result, and the rows' log-sum-exp where that is wanted, without a matrix of scores.
 *
 * For a thread's range of (batch, key head, block of query rows):
 *
 *   for each block of keys that some of the rows see:     packed here, keys transposed
 *     for each query head of the key head, each tile of its rows that sees some of the block:
 *       scores = Q K^T; the rows' maxima grow, and what was summed under old ones shrinks; result += e^(score - max) V
 *   result / sum
 *
 * (Milakov & Gimelshein 2018, "Online normalizer calculation for softmax"; Dao et al. 2022, "FlashAttention", algorithm 1,
 * with the division left to the end as in Dao 2023, sec. 3.1.) A row's blocks come in ascending order whatever the tile, so
 * that results do not depend on threads. Scratch: packed blocks, a tile of scores and of probabilities, the rows' state.
 *
 * Where there is one position (a token decoded) and several query heads share a key head, a tile's rows are heads: one pass over
 * the packed block serves them all, and sums of several rows hide each other's latency. Bits are the same. */
#include "backend/flash.h"

#include <float.h>

/* Rows of all query heads that share a packed block: packing is then a thirtieth of the products. */
enum { ROWS = 192 };

typedef struct Forward {
	Flash *f;
	Gen *g;
	int64_t tiles;             /* of one query head in a block of rows */
	LLVMValueRef by_heads;     /* i1: a tile's rows are query heads of the one position; NULL: never */
	LLVMValueRef keys, values; /* a packed block: (K,keys) and (keys,W) */
	LLVMValueRef s, p;         /* a tile's scores, panel after panel of mr rows; its probabilities, (mr,keys) */
	LLVMValueRef o, top, sum;  /* by tile: results (panels,mr,nr); maxima (mr); sums, a vector a row (mr,lanes) */
	Value *y, *lse;            /* members; NULL: not wanted */
} Forward;

/* Rows t.. (h of them) of query head `head`, or position t of heads `head`.., and where their state is; the block's first key and number
 * of keys. */
typedef struct Tile { LLVMValueRef b, head, t, h, o, top, sum, key, count; } Tile;

static LLVMValueRef either(Forward *w, LLVMValueRef by_heads, LLVMValueRef by_rows)
{
	return w->by_heads ? LLVMBuildSelect(w->g->b, w->by_heads, by_heads, by_rows, "") : by_rows;
}

/* Of a tile's row r. */
static LLVMValueRef head_of(Forward *w, const Tile *t, LLVMValueRef r) { return either(w, gen_add(w->g, t->head, r), t->head); }
static LLVMValueRef position_of(Forward *w, const Tile *t, LLVMValueRef r) { return either(w, t->t, gen_add(w->g, t->t, r)); }
static LLVMValueRef positions(Forward *w, const Tile *t) { return either(w, gen_i64(w->g, 1), t->h); }

static LLVMValueRef shuffled(Gen *g, LLVMValueRef x, int by)
{
	LLVMValueRef lane[64];
	for (int i = 0; i < g->t->lanes; i++)
		lane[i] = gen_i32(g, i ^ by);
	return LLVMBuildShuffleVector(g->b, x, x, LLVMConstVector(lane, (unsigned)g->t->lanes), "");
}

static LLVMValueRef greater(Gen *g, LLVMValueRef a, LLVMValueRef b)
{
	return LLVMBuildSelect(g->b, LLVMBuildFCmp(g->b, LLVMRealOGT, a, b, ""), a, b, "");
}

/* The greatest or the sum of all lanes, in every lane. */
static LLVMValueRef across(Gen *g, LLVMValueRef x, bool sum)
{
	for (int by = g->t->lanes / 2; by; by /= 2) {
		LLVMValueRef other = shuffled(g, x, by);
		x = sum ? LLVMBuildFAdd(g->b, x, other, "") : greater(g, x, other);
	}
	return x;
}

static LLVMValueRef first_lane(Gen *g, LLVMValueRef x) { return LLVMBuildExtractElement(g->b, x, gen_i32(g, 0), ""); }

static LLVMValueRef scaled_by(Gen *g, LLVMValueRef p, int64_t element, LLVMValueRef by)
{
	LLVMValueRef x = LLVMBuildFMul(g->b, f_load(g, p, element), by, "");
	f_store(g, x, p, element);
	return x;
}

/* A new maximum: everything summed so far by e^(old - new). */
static void shrink(Forward *w, LLVMValueRef old, LLVMValueRef new, LLVMValueRef top, LLVMValueRef sum, LLVMValueRef o)
{
	Gen *g = w->g;
	If grew = gen_if(g, LLVMBuildFCmp(g->b, LLVMRealOLT, old, new, ""));
	LLVMValueRef by = gen_splat(g, vec_exp(g, LLVMBuildFSub(g->b, old, new, "")));
	gen_store(g, DT_F32, new, top, NULL);
	scaled_by(g, sum, 0, by);
	for (int v = 0; v < width_vectors(w->f, &w->f->ww); v++)
		scaled_by(g, o, width_at(w->f, &w->f->ww, v), by);
	gen_end_if(g, &grew);
}

/* A row's probabilities under dropout, from scores where the products were: returns the sums by lane of what dropout takes away, too. */
static LLVMValueRef drop(Forward *w, const Row *at, LLVMValueRef scores, LLVMValueRef under, LLVMValueRef to)
{
	Gen *g = w->g;
	Flash *f = w->f;
	int lanes = g->t->lanes;
	LLVMValueRef all = gen_var(g, g->vf);
	LLVMBuildStore(g->b, LLVMConstNull(g->vf), all);
	Loop l = gen_loop_begin(g, gen_i64(g, 0), gen_i64(g, f->keys / lanes), gen_i64(g, 1));
	Row here = flash_row_from(f, *at, l.iv);
	LLVMValueRef x = f_load(g, gen_at(g, scores, width_at_any(f, &f->block, l.iv), 4), 0);
	LLVMValueRef e = vec_exp(g, LLVMBuildFSub(g->b, x, under, ""));
	LLVMBuildStore(g->b, LLVMBuildFAdd(g->b, LLVMBuildLoad2(g->b, g->vf, all, ""), e, ""), all);
	f_store(g, LLVMBuildFMul(g->b, e, flash_kept(f, &here, 0), ""), gen_at(g, to, gen_mul(g, l.iv, gen_i64(g, lanes)), 4), 0);
	gen_loop_end(g, &l);
	return LLVMBuildLoad2(g->b, g->vf, all, "");
}

/* Scores of row r into probabilities. */
static void row(Forward *w, const Tile *t, LLVMValueRef r, bool edge)
{
	Gen *g = w->g;
	Flash *f = w->f;
	int lanes = g->t->lanes, n = f->keys / lanes;
	Row at = { t->b, head_of(w, t, r), position_of(w, t, r), t->key, t->count };
	LLVMValueRef x[64], best = NULL, all = NULL, from = gen_at(g, w->s, gen_mul(g, r, gen_i64(g, f->block.nr)), 4);
	for (int v = 0; v < n; v++) {
		x[v] = flash_score(f, f_load(g, from, width_at(f, &f->block, v)), &at, v, edge).x;
		best = v ? greater(g, best, x[v]) : x[v];
		if (flash_loops(f))
			f_store(g, x[v], from, width_at(f, &f->block, v));
	}
	LLVMValueRef top = gen_at(g, t->top, r, 4), sum = gen_at(g, t->sum, gen_mul(g, r, gen_i64(g, lanes)), 4);
	LLVMValueRef old = gen_load(g, DT_F32, top, 1, NULL), new = greater(g, first_lane(g, across(g, best, false)), old);
	shrink(w, old, new, top, sum, gen_at(g, t->o, gen_mul(g, r, gen_i64(g, f->ww.nr)), 4));
	LLVMValueRef to = gen_at(g, w->p, gen_mul(g, r, gen_i64(g, f->keys)), 4), under = gen_splat(g, new);
	if (flash_loops(f))
		all = drop(w, &at, from, under, to);
	for (int v = 0; v < n && !flash_loops(f); v++) {
		LLVMValueRef e = vec_exp(g, LLVMBuildFSub(g->b, x[v], under, ""));
		all = v ? LLVMBuildFAdd(g->b, all, e, "") : e;
		f_store(g, e, to, v * lanes);
	}
	f_store(g, LLVMBuildFAdd(g->b, f_load(g, sum, 0), all, ""), sum, 0);
}

static void rows(Forward *w, const Tile *t, bool edge)
{
	Loop l = gen_loop_begin(w->g, gen_i64(w->g, 0), t->h, gen_i64(w->g, 1));
	row(w, t, l.iv, edge);
	gen_loop_end(w->g, &l);
}

/* Looking at positions is little beside random numbers: then all blocks do. */
static void rows_of_tile(Forward *w, const Tile *t)
{
	if (flash_loops(w->f)) {
		rows(w, t, true);
		return;
	}
	If edge = gen_if(w->g, flash_edge(w->f, t->t, positions(w, t), t->key, t->count));
	rows(w, t, true);
	gen_else(w->g, &edge);
	rows(w, t, false);
	gen_end_if(w->g, &edge);
}

static LLVMValueRef query(Forward *w, const Tile *t)
{
	return flash_row(w->f, w->f->q, (LLVMValueRef[]){ t->b, t->t, t->head }, 4);
}

static void tile(Forward *w, const Tile *t)
{
	Gen *g = w->g;
	Flash *f = w->f;
	flash_multiply(f, &f->block, &(Product){ .a = query(w, t), .lda = either(w, flash_stride(f, f->q, 2), flash_stride(f, f->q, 1)), .b = w->keys,
		.k = gen_i64(g, f->wk.extent), .acc = w->s, .h = t->h, .panels = gen_ceil_div(g, t->count, gen_i64(g, f->block.nr)), .first = true });
	rows_of_tile(w, t);
	flash_multiply(f, &f->ww, &(Product){ .a = w->p, .lda = gen_i64(g, f->keys), .b = w->values, .k = t->count, .acc = t->o, .h = t->h });
}

/* Does some row of t.. see one of the keys? Those of the block's first are not behind all rows, its last not before. */
static LLVMValueRef sees(Forward *w, const Tile *t)
{
	Gen *g = w->g;
	const Attrs *a = &w->f->v->a;
	LLVMValueRef p = gen_add(g, t->t, w->f->past), last = gen_add(g, p, gen_sub(g, positions(w, t), gen_i64(g, 1)));
	LLVMValueRef some = LLVMConstInt(g->i1, 1, 0), end = gen_add(g, t->key, gen_sub(g, t->count, gen_i64(g, 1)));
	if (a->causal)
		some = LLVMBuildICmp(g->b, LLVMIntSLE, t->key, last, "");
	if (a->window)
		some = LLVMBuildAnd(g->b, some, LLVMBuildICmp(g->b, LLVMIntSLT, gen_sub(g, p, end), gen_i64(g, a->window), ""), "");
	return some;
}

/* The thread's task: rows lo..hi of the query heads of key head `group`. */
typedef struct Task { LLVMValueRef b, group, lo, hi; } Task;

/* Calls `each` for the tiles of the task; b, head, t, h and the state's places are set. */
static void each_tile(Forward *w, const Task *k, Tile t, void (*each)(Forward *, Tile *))
{
	Gen *g = w->g;
	Flash *f = w->f;
	LLVMValueRef mr = gen_i64(g, f->mr), one = gen_i64(g, 1), R = gen_i64(g, f->R);
	Loop r = gen_loop_begin(g, gen_i64(g, 0), R, either(w, mr, one));
	Loop l = gen_loop_begin(g, k->lo, k->hi, mr);
	LLVMValueRef i = gen_add(g, gen_mul(g, r.iv, either(w, one, gen_i64(g, w->tiles * f->mr))), gen_sub(g, l.iv, k->lo));   /* its first row's state */
	t.b = k->b;
	t.head = gen_add(g, gen_mul(g, k->group, R), r.iv);
	t.t = l.iv;
	t.h = gen_min(g, either(w, gen_sub(g, R, r.iv), gen_sub(g, k->hi, l.iv)), mr);
	t.o = gen_at(g, w->o, gen_mul(g, i, gen_i64(g, width_floats(&f->ww))), 4);
	t.top = gen_at(g, w->top, i, 4);
	t.sum = gen_at(g, w->sum, gen_mul(g, i, gen_i64(g, g->t->lanes)), 4);
	each(w, &t);
	gen_loop_end(g, &l);
	gen_loop_end(g, &r);
}

static void visit(Forward *w, Tile *t)
{
	If seen = gen_if(w->g, sees(w, t));
	tile(w, t);
	gen_end_if(w->g, &seen);
}

/* A row that may see no key counts from as low as it does in ir/expand.c, others from below all scores. */
static double lowest(const Flash *f)
{
	const Attrs *a = &f->v->a;
	bool may_be_empty = f->in.keys || f->in.mask || ((a->causal || a->window) && f->q->type.dim[1] != f->k->type.dim[1]);
	return may_be_empty ? -1e20 : -FLT_MAX;
}

static void begin(Forward *w, Tile *t)
{
	Gen *g = w->g;
	flash_clear(g, t->o, w->f->mr * width_floats(&w->f->ww));
	flash_clear(g, t->sum, (int64_t)w->f->mr * g->t->lanes);
	Loop l = gen_loop_begin(g, gen_i64(g, 0), t->h, gen_i64(g, 1));
	gen_store(g, DT_F32, gen_f32(g, lowest(w->f)), gen_at(g, t->top, l.iv, 4), NULL);
	gen_loop_end(g, &l);
}

/* A sum is at least 1, e^0, but for rows that saw nothing. */
static void end(Forward *w, Tile *t)
{
	Gen *g = w->g;
	Flash *f = w->f;
	Loop l = gen_loop_begin(g, gen_i64(g, 0), t->h, gen_i64(g, 1));
	LLVMValueRef r = l.iv, at = position_of(w, t, r), head = head_of(w, t, r);
	LLVMValueRef sum = across(g, f_load(g, gen_at(g, t->sum, gen_mul(g, r, gen_i64(g, g->t->lanes)), 4), 0), true);
	sum = greater(g, sum, gen_splat(g, gen_f32(g, 0.5)));
	if (w->lse) {
		LLVMValueRef top = gen_load(g, DT_F32, gen_at(g, t->top, r, 4), 1, NULL);
		LLVMValueRef to = flash_row(f, w->lse, (LLVMValueRef[]){ t->b, head }, 3);
		to = gen_at(g, to, gen_mul(g, at, flash_stride(f, w->lse, 2)), 4);
		gen_store(g, DT_F32, LLVMBuildFAdd(g->b, top, vec_log(g, first_lane(g, sum)), ""), to, NULL);
	}
	LLVMValueRef one = LLVMBuildFDiv(g->b, gen_splat(g, gen_f32(g, 1)), sum, "");
	LLVMValueRef from = gen_at(g, t->o, gen_mul(g, r, gen_i64(g, f->ww.nr)), 4);
	LLVMValueRef to = w->y ? flash_row(f, w->y, (LLVMValueRef[]){ t->b, at, head }, 4) : NULL;
	for (int v = 0; to && v < width_vectors(f, &f->ww); v++) {
		LLVMValueRef x = LLVMBuildFMul(g->b, f_load(g, from, width_at(f, &f->ww, v)), one, "");
		gen_store(g, DT_F32, x, gen_at(g, to, gen_i64(g, v * g->t->lanes), 4), width_mask(f, &f->ww, v));
	}
	gen_loop_end(g, &l);
}

static void pack(Forward *w, const LLVMValueRef *at, LLVMValueRef count)
{
	Flash *f = w->f;
	if (f->k->type.dt == DT_I8) {
		flash_dequant_keys(f, at, w->keys, count);
		flash_dequant_values(f, at, w->values, count);
		return;
	}
	flash_pack_transposed(f, f->k, flash_panels_along(f, f->k, &f->block, true), f->wk.extent, flash_row(f, f->k, at, 4), w->keys, count);
	flash_pack_rows(f, f->val, &f->ww, flash_row(f, f->val, at, 4), w->values, count);
}

/* The blocks of keys from the first that the task's first row sees to the last that its last row sees. */
static void blocks(Forward *w, const Task *k)
{
	Gen *g = w->g;
	Flash *f = w->f;
	const Attrs *a = &f->v->a;
	LLVMValueRef lo = gen_i64(g, 0), hi = f->S, keys = gen_i64(g, f->keys);
	if (a->causal)
		hi = gen_min(g, hi, gen_add(g, k->hi, f->past));
	if (a->window) {
		lo = gen_max(g, lo, gen_sub(g, gen_add(g, gen_add(g, k->lo, f->past), gen_i64(g, 1)), gen_i64(g, a->window)));
		lo = gen_mul(g, gen_bin(g, LLVMUDiv, lo, keys), keys);
	}
	Loop l = gen_loop_begin(g, lo, hi, keys);
	Tile t = { .key = l.iv, .count = gen_min(g, keys, gen_sub(g, f->S, l.iv)) };
	LLVMValueRef at[] = { k->b, l.iv, k->group };
	pack(w, at, t.count);
	each_tile(w, k, t, visit);
	gen_loop_end(g, &l);
}

static void tasks(Forward *w)
{
	Gen *g = w->g;
	Flash *f = w->f;
	LLVMValueRef rows = gen_i64(g, w->tiles * f->mr), each = gen_ceil_div(g, f->T, gen_i64(g, w->tiles * f->mr)), lo, hi;
	gen_share(g, gen_mul(g, gen_mul(g, f->B, f->G), each), &lo, &hi);
	Loop l = gen_loop_begin(g, lo, hi, gen_i64(g, 1));
	LLVMValueRef outer = gen_bin(g, LLVMUDiv, l.iv, each);
	Task k = { .b = gen_bin(g, LLVMUDiv, outer, f->G), .group = gen_bin(g, LLVMURem, outer, f->G) };
	k.lo = gen_mul(g, gen_bin(g, LLVMURem, l.iv, each), rows);
	k.hi = gen_min(g, gen_add(g, k.lo, rows), f->T);
	each_tile(w, &k, (Tile){ 0 }, begin);
	blocks(w, &k);
	each_tile(w, &k, (Tile){ 0 }, end);
	gen_loop_end(g, &l);
}

void gen_flash_forward(Flash *f)
{
	Gen *g = f->g;
	Forward w = { .f = f, .g = g, .tiles = MAX(1, ROWS / (f->R * f->mr)) };
	int64_t rows = f->R * w.tiles * f->mr;
	for (int i = 0; i < f->c->vals.len; i++)
		*(f->c->vals.at[i]->op == OP_FLASH ? &w.y : &w.lse) = f->c->vals.at[i];
	if (f->R > 1)
		w.by_heads = LLVMBuildICmp(g->b, LLVMIntEQ, f->T, gen_i64(g, 1), "");
	w.keys = flash_take(f, f->wk.extent * f->keys);
	w.values = flash_take(f, f->keys * width_floats(&f->ww));
	w.s = flash_take(f, (int64_t)f->mr * f->keys);
	w.p = flash_take(f, (int64_t)f->mr * f->keys);
	w.o = flash_take(f, rows * width_floats(&f->ww));
	w.top = flash_take(f, rows);
	w.sum = flash_take(f, rows * g->t->lanes);
	tasks(&w);
}
