/* flash_grad.c: attention's gradients to q, k and v from the rows' log-sum-exp, without a matrix of scores or
 * probabilities, which are computed again (Dao et al. 2022, "FlashAttention", algorithm 4).
 *
 * For a thread's range of (batch, key head):
 *
 *   for each block of keys:                               K and V packed in the orders the products want
 *     for each query head of the key head, each chunk of its rows that see some of the block:    Q and dY packed
 *       for each tile of the chunk:  P = e^(scale Q K^T - lse),  dS = scale P (dY V^T - d),  dq += dS K
 *       dV += P^T dY,  dK += dS^T Q
 *     dk, dv = dK, dV
 *
 * A thread has a key head to itself, so that dq is summed in memory without atomics, and all sums run in one order:
 * blocks, heads, chunks and rows ascending. Scratch: packed operands, a chunk's P and dS, one block's dK and dV. */
#include "backend/flash.h"

enum { CHUNK_ROWS = 96 };

typedef struct Backward {
	Flash *f;
	Gen *g;
	Value *dy, *lse, *d;       /* flash_grad's own operands */
	Value *dq, *dk, *dv;       /* members; NULL: not wanted */
	int64_t chunk;             /* rows: whole tiles */
	LLVMValueRef key_fn, value_fn;
	LLVMValueRef keys_t, values_t, keys;   /* packed block: (K,keys), (W,keys), (keys,K) */
	LLVMValueRef queries, dys;             /* packed chunk: (rows,K), (rows,W) */
	LLVMValueRef s, ds;                    /* a tile's products: panels of (mr,nr) */
	LLVMValueRef p, dp;                    /* the chunk's P under dropout, and dS: (rows,keys) */
	LLVMValueRef row, sum_k, sum_v;        /* a tile of dq; dK, dV: tiles of mr keys, each panel after panel */
} Backward;

/* A block of keys of one key head; within it, a chunk lo.. of `rows` rows of query head `head`. */
typedef struct Block { LLVMValueRef b, group, key, count, head, lo, rows; } Block;

static LLVMValueRef splat_of(Backward *w, Value *x, const LLVMValueRef *at, int axis, LLVMValueRef t)
{
	Gen *g = w->g;
	LLVMValueRef p = flash_row(w->f, x, at, x->type.rank);
	if (axis >= 0 && !dim_is(x->type.dim[axis], 1))
		p = gen_at(g, p, gen_mul(g, t, flash_stride(w->f, x, axis)), 4);
	return gen_splat(g, gen_load(g, DT_F32, p, 1, NULL));
}

static LLVMValueRef times(Gen *g, LLVMValueRef a, LLVMValueRef b) { return LLVMBuildFMul(g->b, a, b, ""); }
static LLVMValueRef minus(Gen *g, LLVMValueRef a, LLVMValueRef b) { return LLVMBuildFSub(g->b, a, b, ""); }

/* Vector v of a row: probabilities under dropout, and the scores' gradients. */
typedef struct Pair { LLVMValueRef p, ds; } Pair;

static Pair probabilities(Backward *w, const Row *at, int v, bool edge, LLVMValueRef s, LLVMValueRef dp, LLVMValueRef lse, LLVMValueRef d)
{
	Gen *g = w->g;
	Score x = flash_score(w->f, s, at, v, edge);
	LLVMValueRef p = vec_exp(g, minus(g, x.x, lse)), kept = flash_kept(w->f, at, v);
	LLVMValueRef ds = times(g, p, minus(g, kept ? times(g, dp, kept) : dp, d));
	if (x.tanh)
		ds = times(g, ds, minus(g, gen_splat(g, gen_f32(g, 1)), times(g, x.tanh, x.tanh)));
	ds = times(g, ds, gen_splat(g, gen_f32(g, w->f->v->a.scale)));
	if (x.inside)
		ds = LLVMBuildSelect(g->b, x.inside, ds, LLVMConstNull(g->vf), "");
	return (Pair){ kept ? times(g, p, kept) : p, ds };
}

/* A row: where its products are, where its results go. */
typedef struct Place { Row at; LLVMValueRef s, dp, to_p, to_ds, lse, d; bool edge; } Place;

/* Its v-th vector behind `at`, `from` and `to` floats on. */
static void vector(Backward *w, const Place *k, LLVMValueRef from, LLVMValueRef to, int v)
{
	Gen *g = w->g;
	LLVMValueRef s = f_load(g, gen_at(g, k->s, from, 4), 0), dp = f_load(g, gen_at(g, k->dp, from, 4), 0);
	Pair x = probabilities(w, &k->at, v, k->edge, s, dp, k->lse, k->d);
	f_store(g, x.p, gen_at(g, k->to_p, to, 4), 0);
	f_store(g, x.ds, gen_at(g, k->to_ds, to, 4), 0);
}

/* Row r of the tile that begins at the chunk's row `first`. */
static void row(Backward *w, const Block *k, LLVMValueRef first, LLVMValueRef r, bool edge)
{
	Gen *g = w->g;
	Flash *f = w->f;
	LLVMValueRef i = gen_add(g, first, r), t = gen_add(g, k->lo, i), nr = gen_i64(g, f->block.nr);
	Row at = { k->b, k->head, t, k->key, k->count };
	LLVMValueRef lse = splat_of(w, w->lse, (LLVMValueRef[]){ k->b, k->head }, 2, t);
	LLVMValueRef d = splat_of(w, w->d, (LLVMValueRef[]){ k->b, t, k->head }, -1, NULL);
	LLVMValueRef s = gen_at(g, w->s, gen_mul(g, r, nr), 4), ds = gen_at(g, w->ds, gen_mul(g, r, nr), 4);
	LLVMValueRef to = gen_mul(g, i, gen_i64(g, f->keys)), lanes = gen_i64(g, g->t->lanes);
	Place from = { at, s, ds, gen_at(g, w->p, to, 4), gen_at(g, w->dp, to, 4), lse, d, edge };
	if (!flash_loops(f)) {
		for (int v = 0; v < f->keys / g->t->lanes; v++)
			vector(w, &from, gen_i64(g, width_at(f, &f->block, v)), gen_i64(g, v * g->t->lanes), v);
		return;
	}
	Loop l = gen_loop_begin(g, gen_i64(g, 0), gen_i64(g, f->keys / g->t->lanes), gen_i64(g, 1));
	from.at = flash_row_from(f, at, l.iv);
	vector(w, &from, width_at_any(f, &f->block, l.iv), gen_mul(g, l.iv, lanes), 0);
	gen_loop_end(g, &l);
}

static void rows(Backward *w, const Block *k, LLVMValueRef first, LLVMValueRef h, bool edge)
{
	Loop l = gen_loop_begin(w->g, gen_i64(w->g, 0), h, gen_i64(w->g, 1));
	row(w, k, first, l.iv, edge);
	gen_loop_end(w->g, &l);
}

static void rows_of_tile(Backward *w, const Block *k, LLVMValueRef first, LLVMValueRef h)
{
	Gen *g = w->g;
	if (flash_loops(w->f)) {
		rows(w, k, first, h, true);
		return;
	}
	If edge = gen_if(g, flash_edge(w->f, gen_add(g, k->lo, first), h, k->key, k->count));
	rows(w, k, first, h, true);
	gen_else(g, &edge);
	rows(w, k, first, h, false);
	gen_end_if(g, &edge);
}

/* dq's rows from t on: as they are, plus the tile's. */
static void add_rows(Backward *w, const Block *k, LLVMValueRef t, LLVMValueRef h)
{
	Gen *g = w->g;
	Flash *f = w->f;
	Loop l = gen_loop_begin(g, gen_i64(g, 0), h, gen_i64(g, 1));
	LLVMValueRef from = gen_at(g, w->row, gen_mul(g, l.iv, gen_i64(g, f->wk.nr)), 4);
	LLVMValueRef to = flash_row(f, w->dq, (LLVMValueRef[]){ k->b, gen_add(g, t, l.iv), k->head }, 4);
	for (int v = 0; v < width_vectors(f, &f->wk); v++) {
		LLVMValueRef p = gen_at(g, to, gen_i64(g, v * g->t->lanes), 4), mask = width_mask(f, &f->wk, v);
		LLVMValueRef x = gen_load(g, DT_F32, p, g->t->lanes, mask);
		gen_store(g, DT_F32, LLVMBuildFAdd(g->b, x, f_load(g, from, width_at(f, &f->wk, v)), ""), p, mask);
	}
	gen_loop_end(g, &l);
}

static void tile(Backward *w, const Block *k, LLVMValueRef first)
{
	Gen *g = w->g;
	Flash *f = w->f;
	LLVMValueRef t = gen_add(g, k->lo, first), h = gen_min(g, gen_sub(g, k->rows, first), gen_i64(g, f->mr));
	LLVMValueRef at[] = { k->b, t, k->head }, panels = gen_ceil_div(g, k->count, gen_i64(g, f->block.nr));
	flash_multiply(f, &f->block, &(Product){ .a = flash_row(f, f->q, at, 4), .lda = flash_stride(f, f->q, 1), .b = w->keys_t,
		.k = gen_i64(g, f->wk.extent), .acc = w->s, .h = h, .panels = panels, .first = true });
	flash_multiply(f, &f->block, &(Product){ .a = flash_row(f, w->dy, at, 4), .lda = flash_stride(f, w->dy, 1), .b = w->values_t,
		.k = gen_i64(g, f->ww.extent), .acc = w->ds, .h = h, .panels = panels, .first = true });
	rows_of_tile(w, k, first, h);
	if (!w->dq)
		return;
	LLVMValueRef keys = gen_i64(g, f->keys);
	flash_multiply(f, &f->wk, &(Product){ .a = gen_at(g, w->dp, gen_mul(g, first, keys), 4), .lda = keys, .b = w->keys,
		.k = k->count, .acc = w->row, .h = h, .first = true });
	add_rows(w, k, t, h);
}

/* sum (keys,width) += A^T B: A (rows,keys), B (rows,width) packed. */
static void add_products(Backward *w, const Block *k, const Width *width, LLVMValueRef a, LLVMValueRef b, LLVMValueRef sum)
{
	Gen *g = w->g;
	Flash *f = w->f;
	Loop l = gen_loop_begin(g, gen_i64(g, 0), k->count, gen_i64(g, f->mr));
	flash_multiply(f, width, &(Product){ .a = gen_at(g, a, l.iv, 4), .lda = gen_i64(g, f->keys), .b = b, .k = k->rows,
		.acc = gen_at(g, sum, gen_mul(g, l.iv, gen_i64(g, width_floats(width))), 4),
		.h = gen_min(g, gen_sub(g, k->count, l.iv), gen_i64(g, f->mr)), .columns = true });
	gen_loop_end(g, &l);
}

static void chunk(Backward *w, const Block *k)
{
	Gen *g = w->g;
	Flash *f = w->f;
	LLVMValueRef at[] = { k->b, k->lo, k->head };
	Loop l = gen_loop_begin(g, gen_i64(g, 0), k->rows, gen_i64(g, f->mr));
	tile(w, k, l.iv);
	gen_loop_end(g, &l);
	if (w->dv) {
		flash_pack_rows(f, w->dy, &f->ww, flash_row(f, w->dy, at, 4), w->dys, k->rows);
		add_products(w, k, &f->ww, w->p, w->dys, w->sum_v);
	}
	if (w->dk) {
		flash_pack_rows(f, f->q, &f->wk, flash_row(f, f->q, at, 4), w->queries, k->rows);
		add_products(w, k, &f->wk, w->dp, w->queries, w->sum_k);
	}
}

/* The chunks of rows from the tile of the first that sees one of the block's keys to the last that does. */
static void chunks(Backward *w, Block *k)
{
	Gen *g = w->g;
	Flash *f = w->f;
	const Attrs *a = &f->v->a;
	LLVMValueRef lo = gen_i64(g, 0), hi = f->T, mr = gen_i64(g, f->mr), most = gen_i64(g, w->chunk);
	if (a->causal)
		lo = gen_mul(g, gen_bin(g, LLVMUDiv, gen_max(g, lo, gen_sub(g, k->key, f->past)), mr), mr);
	if (a->window)
		hi = gen_min(g, hi, gen_add(g, gen_sub(g, gen_add(g, k->key, k->count), gen_i64(g, 1)), gen_sub(g, gen_i64(g, a->window), f->past)));
	Loop r = gen_loop_begin(g, gen_i64(g, 0), gen_i64(g, f->R), gen_i64(g, 1));
	Loop l = gen_loop_begin(g, lo, hi, most);
	k->head = gen_add(g, gen_mul(g, k->group, gen_i64(g, f->R)), r.iv);
	k->lo = l.iv;
	k->rows = gen_min(g, gen_sub(g, hi, l.iv), most);
	chunk(w, k);
	gen_loop_end(g, &l);
	gen_loop_end(g, &r);
}

static void finish(Backward *w, const Block *k, Value *out, const Width *width, LLVMValueRef sum)
{
	Gen *g = w->g;
	Flash *f = w->f;
	LLVMValueRef mr = gen_i64(g, f->mr);
	Loop l = gen_loop_begin(g, gen_i64(g, 0), k->count, gen_i64(g, 1));
	LLVMValueRef r = gen_bin(g, LLVMURem, l.iv, mr), from = gen_mul(g, gen_sub(g, l.iv, r), gen_i64(g, width_floats(width)));
	from = gen_at(g, sum, gen_add(g, from, gen_mul(g, r, gen_i64(g, width->nr))), 4);
	LLVMValueRef to = flash_row(f, out, (LLVMValueRef[]){ k->b, gen_add(g, k->key, l.iv), k->group }, 4);
	for (int v = 0; v < width_vectors(f, width); v++)
		gen_store(g, DT_F32, f_load(g, from, width_at(f, width, v)), gen_at(g, to, gen_i64(g, v * g->t->lanes), 4),
			width_mask(f, width, v));
	gen_loop_end(g, &l);
}

static int64_t padded_keys(const Backward *w)
{
	return (w->f->keys + w->f->mr - 1) / w->f->mr * w->f->mr;
}

static void block(Backward *w, Block *k)
{
	Gen *g = w->g;
	Flash *f = w->f;
	LLVMValueRef at[] = { k->b, k->key, k->group };
	LLVMValueRef keys = flash_row(f, f->k, at, 4), values = flash_row(f, f->val, at, 4);
	flash_pack_transposed(f, f->k, w->key_fn, f->wk.extent, keys, w->keys_t, k->count);
	flash_pack_transposed(f, f->val, w->value_fn, f->ww.extent, values, w->values_t, k->count);
	if (w->dq)
		flash_pack_rows(f, f->k, &f->wk, keys, w->keys, k->count);
	if (w->dk)
		flash_clear(g, w->sum_k, padded_keys(w) * width_floats(&f->wk));
	if (w->dv)
		flash_clear(g, w->sum_v, padded_keys(w) * width_floats(&f->ww));
	chunks(w, k);
	if (w->dk)
		finish(w, k, w->dk, &f->wk, w->sum_k);
	if (w->dv)
		finish(w, k, w->dv, &f->ww, w->sum_v);
}

/* Zeros for dq's rows of the key head. */
static void clear_rows(Backward *w, const Block *k)
{
	Gen *g = w->g;
	Flash *f = w->f;
	Loop t = gen_loop_begin(g, gen_i64(g, 0), f->T, gen_i64(g, 1));
	Loop r = gen_loop_begin(g, gen_i64(g, 0), gen_i64(g, f->R), gen_i64(g, 1));
	LLVMValueRef head = gen_add(g, gen_mul(g, k->group, gen_i64(g, f->R)), r.iv);
	LLVMValueRef to = flash_row(f, w->dq, (LLVMValueRef[]){ k->b, t.iv, head }, 4);
	for (int v = 0; v < width_vectors(f, &f->wk); v++)
		gen_store(g, DT_F32, LLVMConstNull(g->vf), gen_at(g, to, gen_i64(g, v * g->t->lanes), 4), width_mask(f, &f->wk, v));
	gen_loop_end(g, &r);
	gen_loop_end(g, &t);
}

static void tasks(Backward *w)
{
	Gen *g = w->g;
	Flash *f = w->f;
	LLVMValueRef lo, hi, keys = gen_i64(g, f->keys);
	gen_share(g, gen_mul(g, f->B, f->G), &lo, &hi);
	Loop l = gen_loop_begin(g, lo, hi, gen_i64(g, 1));
	Block k = { .b = gen_bin(g, LLVMUDiv, l.iv, f->G), .group = gen_bin(g, LLVMURem, l.iv, f->G) };
	if (w->dq)
		clear_rows(w, &k);
	Loop j = gen_loop_begin(g, gen_i64(g, 0), f->S, keys);
	k.key = j.iv;
	k.count = gen_min(g, gen_sub(g, f->S, j.iv), keys);
	block(w, &k);
	gen_loop_end(g, &j);
	gen_loop_end(g, &l);
}

static void take_scratch(Backward *w)
{
	Flash *f = w->f;
	int64_t keys = f->keys, wk = width_floats(&f->wk), ww = width_floats(&f->ww);
	w->keys_t = flash_take(f, f->wk.extent * keys);
	w->values_t = flash_take(f, f->ww.extent * keys);
	w->keys = flash_take(f, keys * wk);
	w->queries = flash_take(f, w->chunk * wk);
	w->dys = flash_take(f, w->chunk * ww);
	w->s = flash_take(f, f->mr * keys);
	w->ds = flash_take(f, f->mr * keys);
	w->p = flash_take(f, w->chunk * keys);
	w->dp = flash_take(f, w->chunk * keys);
	w->row = flash_take(f, f->mr * wk);
	w->sum_k = flash_take(f, padded_keys(w) * wk);
	w->sum_v = flash_take(f, padded_keys(w) * ww);
}

void gen_flash_backward(Flash *f)
{
	Value **own = f->v->in + f->v->nin - 3;
	Backward w = { .f = f, .g = f->g, .dy = own[FLASH_DY], .lse = own[FLASH_LSE], .d = own[FLASH_D] };
	Value **const out[] = { &w.dq, &w.dk, &w.dv };
	for (int i = 0; i < f->c->vals.len; i++)
		*out[f->c->vals.at[i]->a.wrt] = f->c->vals.at[i];
	w.chunk = CHUNK_ROWS / f->mr * f->mr;
	w.key_fn = flash_panels_along(f, f->k, &f->block, true);
	w.value_fn = flash_panels_along(f, f->val, &f->block, true);
	take_scratch(&w);
	tasks(&w);
}
