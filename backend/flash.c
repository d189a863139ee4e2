/* flash.c: what attention's forward and backward kernels share. Both go through the keys in blocks that stay in
 * first-level cache and make their inner products with contraction's register tiles, whose width is chosen by
 * the heads' (64 columns are one panel of 64, not two of 48). Scores exist for one tile of queries and one block of keys.
 *
 * A block is at an edge for a tile of queries where it is not full or positions hide some of its keys from some of them:
 * what looks at positions is emitted twice, with and without. */
#include "backend/flash.h"

#include <math.h>

static const double MASKED = -1e30;   /* as in ir/expand.c */

LLVMValueRef f_load(Gen *g, LLVMValueRef p, int64_t element)
{
	return gen_load(g, DT_F32, gen_at(g, p, gen_i64(g, element), 4), g->t->lanes, NULL);
}

void f_store(Gen *g, LLVMValueRef vector, LLVMValueRef p, int64_t element)
{
	gen_store(g, DT_F32, vector, gen_at(g, p, gen_i64(g, element), 4), NULL);
}

/* Widths */

/* Six rows by four vectors leave room for a row of four and the broadcast element; fewer vectors where that wastes less. */
static int query_rows(const Target *t) { return t->vregs == 32 ? 6 : t->mr; }

static int most_vectors(const Target *t) { return t->vregs == 32 ? 4 : t->nr / t->lanes; }

Width flash_width(const Target *t, int64_t extent)
{
	int vectors = (int)((extent + t->lanes - 1) / t->lanes), most = most_vectors(t);
	Width w = { .t = *t, .extent = extent };
	w.panels = (vectors + most - 1) / most;
	w.nv = (vectors + w.panels - 1) / w.panels;
	w.nr = w.nv * t->lanes;
	w.t.mr = query_rows(t);
	w.t.nr = w.nr;
	return w;
}

int64_t width_floats(const Width *w) { return (int64_t)w->panels * w->nr; }

int width_vectors(const Flash *f, const Width *w)
{
	return (int)((w->extent + f->g->t->lanes - 1) / f->g->t->lanes);
}

int64_t width_at(const Flash *f, const Width *w, int v)
{
	return (int64_t)(v / w->nv) * f->mr * w->nr + v % w->nv * f->g->t->lanes;
}

LLVMValueRef width_at_any(Flash *f, const Width *w, LLVMValueRef v)
{
	Gen *g = f->g;
	LLVMValueRef lanes = gen_i64(g, f->g->t->lanes), nv = gen_i64(g, w->nv);
	if (w->panels == 1)
		return gen_mul(g, v, lanes);
	return gen_add(g, gen_mul(g, gen_bin(g, LLVMUDiv, v, nv), gen_i64(g, (int64_t)f->mr * w->nr)), gen_mul(g, gen_bin(g, LLVMURem, v, nv), lanes));
}

LLVMValueRef width_mask(Flash *f, const Width *w, int v)
{
	int64_t left = w->extent - (int64_t)v * f->g->t->lanes;
	return left >= f->g->t->lanes ? NULL : gen_mask(f->g, gen_i64(f->g, left));
}

LLVMValueRef flash_take(Flash *f, int64_t floats)
{
	LLVMValueRef p = gen_at(f->g, f->g->scratch, gen_i64(f->g, f->used), 1);
	f->used += (floats * 4 + 63) / 64 * 64;
	return p;
}

void flash_clear(Gen *g, LLVMValueRef p, int64_t floats)
{
	Loop l = gen_loop_begin(g, gen_i64(g, 0), gen_i64(g, floats), gen_i64(g, g->t->lanes));
	gen_store(g, DT_F32, LLVMConstNull(g->vf), gen_at(g, p, l.iv, 4), NULL);
	gen_loop_end(g, &l);
}

/* Operands */

LLVMValueRef flash_stride(Flash *f, Value *x, int axis)
{
	return gen_dim(f->g, gen_view(f->g, x)->stride[axis]);
}

LLVMValueRef flash_row(Flash *f, Value *x, const LLVMValueRef *at, int rank)
{
	Gen *g = f->g;
	LLVMValueRef sum = gen_i64(g, 0);
	for (int i = 0; i < x->type.rank - 1; i++)
		if (!dim_is(x->type.dim[i], 1))
			sum = gen_add(g, sum, gen_mul(g, at[i + rank - x->type.rank], flash_stride(f, x, i)));
	return gen_at(g, gen_base(g, x), sum, dtype_size[x->type.dt]);
}

static int64_t whole(const Dim *d)
{
	int64_t n = 0;
	dim_is_const(d, &n);
	return n;
}

static bool look_bound(void *ctx, const char *sym, int64_t *bound)
{
	const Gen *g = ctx;
	for (int i = 0; i < g->nsyms; i++)
		if (g->syms[i].name == sym) {
			*bound = g->syms[i].bound;
			return true;
		}
	return false;
}

/* Keys of a block: 64, fewer where there hardly are so many. */
static int64_t keys_of(Gen *g, const Dim *S)
{
	int64_t n;
	return dim_eval(S, look_bound, g, &n) && n < 64 ? MAX(n, 1) : 64;
}

Flash flash_of(Gen *g, const Cluster *c)
{
	Value *v = c->anchor, *q = v->in[0], *k = v->in[1];
	Flash f = { .g = g, .c = c, .v = v, .q = q, .k = k, .val = v->in[2], .in = flash_extras(v), .mr = query_rows(g->t) };
	f.R = whole(dim_div_exact(q->type.dim[2], k->type.dim[2]));
	f.wk = flash_width(g->t, whole(q->type.dim[3]));
	f.ww = flash_width(g->t, whole(f.val->type.dim[3]));
	f.block = flash_width(g->t, keys_of(g, k->type.dim[1]));
	f.keys = f.block.panels * f.block.nr;
	f.block.extent = f.keys;
	f.B = gen_dim(g, q->type.dim[0]);
	f.T = gen_dim(g, q->type.dim[1]);
	f.S = gen_dim(g, k->type.dim[1]);
	f.G = gen_dim(g, k->type.dim[2]);
	f.past = gen_dim(g, dim_sub(k->type.dim[1], q->type.dim[1]));
	return f;
}

/* Scores */

/* The index of each lane's key, i32. */
static LLVMValueRef key_index(Flash *f, const Row *r, int v)
{
	Gen *g = f->g;
	LLVMValueRef lane[64], first = gen_add(g, r->key, gen_i64(g, v * g->t->lanes));
	for (int i = 0; i < g->t->lanes; i++)
		lane[i] = gen_i32(g, i);
	first = gen_splat(g, LLVMBuildTrunc(g->b, first, g->i32, ""));
	return LLVMBuildAdd(g->b, first, LLVMConstVector(lane, (unsigned)g->t->lanes), "");
}

static LLVMValueRef and(Gen *g, LLVMValueRef a, LLVMValueRef b)
{
	return a && b ? LLVMBuildAnd(g->b, a, b, "") : a ? a : b;
}

static LLVMValueRef by_position(Flash *f, const Row *r, int v)
{
	Gen *g = f->g;
	const Attrs *a = &f->v->a;
	if (!a->causal && !a->window)
		return NULL;
	LLVMValueRef s = key_index(f, r, v), p = LLVMBuildTrunc(g->b, gen_add(g, r->t, f->past), g->i32, ""), past = NULL, near = NULL;
	if (a->causal)
		past = LLVMBuildICmp(g->b, LLVMIntSLE, s, gen_splat(g, p), "");
	if (a->window)
		near = LLVMBuildICmp(g->b, LLVMIntSGT, s, gen_splat(g, LLVMBuildSub(g->b, p, gen_i32(g, MIN(a->window, 1 << 30)), "")), "");
	return and(g, past, near);
}

/* A vector of a mask's or bias' row. */
static LLVMValueRef extra(Flash *f, Value *x, const LLVMValueRef *at, int rank, const Row *r, int v, LLVMValueRef inside)
{
	Gen *g = f->g;
	LLVMValueRef p = flash_row(f, x, at, rank);
	int size = dtype_size[x->type.dt];
	if (!x->type.rank || dim_is(x->type.dim[x->type.rank - 1], 1))
		return gen_splat(g, gen_load(g, x->type.dt, p, 1, NULL));
	p = gen_at(g, p, gen_add(g, r->key, gen_i64(g, v * g->t->lanes)), size);
	return gen_load(g, x->type.dt, p, g->t->lanes, inside);
}

static LLVMValueRef number(Gen *g, double x) { return gen_splat(g, gen_f32(g, x)); }

static LLVMValueRef times(Gen *g, LLVMValueRef a, LLVMValueRef b) { return LLVMBuildFMul(g->b, a, b, ""); }

Score flash_score(Flash *f, LLVMValueRef product, const Row *r, int v, bool edge)
{
	Gen *g = f->g;
	const Attrs *a = &f->v->a;
	LLVMValueRef at[4] = { r->b, r->h, r->t, NULL }, seen = edge ? by_position(f, r, v) : NULL;
	Score s = { .x = times(g, product, number(g, a->scale)) };
	if (edge)
		s.inside = gen_mask(g, gen_sub(g, r->count, gen_i64(g, v * g->t->lanes)));
	if (a->softcap > 0) {
		s.tanh = vec_tanh(g, times(g, s.x, number(g, 1 / a->softcap)));
		s.x = times(g, s.tanh, number(g, a->softcap));
	}
	if (f->in.bias)
		s.x = LLVMBuildFAdd(g->b, s.x, extra(f, f->in.bias, at, 4, r, v, s.inside), "");
	if (f->in.keys)
		seen = and(g, seen, extra(f, f->in.keys, at, 2, r, v, s.inside));
	if (f->in.mask)
		seen = and(g, seen, extra(f, f->in.mask, at, 4, r, v, s.inside));
	if (seen)
		s.x = LLVMBuildSelect(g->b, seen, s.x, number(g, MASKED), "");
	if (edge)
		s.x = LLVMBuildSelect(g->b, s.inside, s.x, number(g, -INFINITY), "");
	return s;
}

LLVMValueRef flash_edge(Flash *f, LLVMValueRef t, LLVMValueRef h, LLVMValueRef key, LLVMValueRef count)
{
	Gen *g = f->g;
	const Attrs *a = &f->v->a;
	LLVMValueRef edge = LLVMBuildICmp(g->b, LLVMIntSLT, count, gen_i64(g, f->keys), ""), p = gen_add(g, t, f->past), hides;
	if (a->causal) {
		hides = LLVMBuildICmp(g->b, LLVMIntSGT, gen_add(g, key, gen_i64(g, f->keys - 1)), p, "");
		edge = LLVMBuildOr(g->b, edge, hides, "");
	}
	if (a->window) {
		hides = LLVMBuildICmp(g->b, LLVMIntSGE, gen_sub(g, gen_add(g, p, h), gen_add(g, key, gen_i64(g, 1))), gen_i64(g, a->window), "");
		edge = LLVMBuildOr(g->b, edge, hides, "");
	}
	return edge;
}

LLVMValueRef flash_kept(Flash *f, const Row *r, int v)
{
	Gen *g = f->g;
	const Attrs *a = &f->v->a;
	if (!f->in.seed)
		return NULL;
	LLVMValueRef H = gen_mul(g, f->G, gen_i64(g, f->R)), row = gen_add(g, gen_mul(g, gen_add(g, gen_mul(g, r->b, H), r->h), f->T), r->t);
	Row from = *r;
	from.key = gen_add(g, gen_mul(g, row, f->S), r->key);   /* the probabilities' linear index */
	LLVMValueRef seed = gen_splat(g, gen_load(g, DT_I32, gen_base(g, f->in.seed), 1, NULL));
	LLVMValueRef stream = gen_splat(g, LLVMBuildTrunc(g->b, gen_number(g, f->v), g->i32, ""));
	LLVMValueRef u = gen_philox(g, seed, stream, key_index(f, &from, v));
	LLVMValueRef kept = LLVMBuildFCmp(g->b, LLVMRealOLE, number(g, a->dropout), u, "");
	return LLVMBuildSelect(g->b, kept, number(g, 1 / (1 - a->dropout)), LLVMConstNull(g->vf), "");
}

Row flash_row_from(Flash *f, Row r, LLVMValueRef v)
{
	LLVMValueRef keys = gen_mul(f->g, v, gen_i64(f->g, f->g->t->lanes));
	r.key = gen_add(f->g, r.key, keys);
	r.count = gen_sub(f->g, r.count, keys);
	return r;
}

bool flash_loops(const Flash *f) { return f->in.seed; }

/* Products */

LLVMValueRef flash_panels_along(Flash *f, Value *x, const Width *w, bool transposed)
{
	const View *view = gen_view(f->g, x);
	Gen shaped = *f->g;
	shaped.t = &w->t;
	return transposed ? gen_panel_function(&shaped, 1, x->type.dt, view->stride[3], view->stride[1]) :
			    gen_panel_function(&shaped, 1, x->type.dt, view->stride[1], view->stride[3]);
}

void flash_pack_transposed(Flash *f, Value *x, LLVMValueRef fn, int64_t k, LLVMValueRef from, LLVMValueRef to, LLVMValueRef count)
{
	Gen *g = f->g;
	LLVMValueRef along = flash_stride(f, x, 3), across = flash_stride(f, x, 1), nr = gen_i64(g, f->block.nr);
	Loop l = gen_loop_begin(g, gen_i64(g, 0), count, nr);
	gen_helper_call(g, fn, (LLVMValueRef[]){ gen_at(g, to, gen_mul(g, l.iv, gen_i64(g, k)), 4),
		gen_at(g, from, gen_mul(g, l.iv, across), dtype_size[x->type.dt]), along, across, gen_i64(g, k), gen_min(g, gen_sub(g, count, l.iv), nr) }, 6);
	gen_loop_end(g, &l);
}

void flash_pack_rows(Flash *f, Value *x, const Width *w, LLVMValueRef from, LLVMValueRef to, LLVMValueRef rows)
{
	Gen *g = f->g;
	LLVMValueRef fn = flash_panels_along(f, x, w, false), along = flash_stride(f, x, 1), across = flash_stride(f, x, 3);
	for (int p = 0; p < w->panels; p++) {
		int64_t first = (int64_t)p * w->nr;
		gen_helper_call(g, fn, (LLVMValueRef[]){ gen_at(g, to, gen_mul(g, rows, gen_i64(g, first)), 4),
			gen_at(g, from, gen_mul(g, across, gen_i64(g, first)), dtype_size[x->type.dt]), along, across, rows,
			gen_i64(g, MIN(w->nr, w->extent - first)) }, 6);
	}
}

void flash_multiply(Flash *f, const Width *w, const Product *p)
{
	Gen *g = f->g, shaped = *g;
	shaped.t = &w->t;
	LLVMValueRef fn = gen_tile_function(&shaped, (TileKind){ .rows = !p->columns, .apart = p->columns }), none = gen_i64(g, 0);
	LLVMValueRef nr = gen_i64(g, w->nr);
	Loop l = gen_loop_begin(g, none, p->panels ? p->panels : gen_i64(g, w->panels), gen_i64(g, 1));
	LLVMValueRef b = gen_at(g, p->b, gen_mul(g, l.iv, gen_mul(g, p->k, nr)), 4);
	LLVMValueRef acc = gen_at(g, p->acc, gen_mul(g, l.iv, gen_i64(g, (int64_t)f->mr * w->nr)), 4);
	gen_helper_call(g, fn, (LLVMValueRef[]){ p->a, p->lda, b, p->k, acc, gen_i64(g, p->first), b, none, p->h }, TILE_PARAMS + 1);
	gen_loop_end(g, &l);
}

void gen_flash_kernel(Gen *g, const Cluster *c, KernelArgs *ka)
{
	Flash f = flash_of(g, c);
	if (c->anchor->op == OP_FLASH_GRAD)
		gen_flash_backward(&f);
	else
		gen_flash_forward(&f);
	ka->scratch = f.used;
}
