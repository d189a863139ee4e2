/* flash_kept.c: blocks of keys and values that a cache keeps as i8 with scales (op dequant), packed as flash.c packs others: keys
 * (K,keys), values (keys,W), panel after panel. A vector of keys runs along positions, each with a scale of its own for
 * every block of the head; a vector of values runs along the head and lies within a block. */
#include "backend/flash.h"

/* A vector of x along an axis from p on, of which `left` elements are there. */
static LLVMValueRef vector_along(Flash *f, Value *x, int axis, LLVMValueRef p, LLVMValueRef left)
{
	Gen *g = f->g;
	DType dt = x->type.dt;
	if (dim_is(gen_view(g, x)->stride[axis], 1))
		return gen_load(g, dt, p, g->t->lanes, gen_mask(g, left));
	LLVMValueRef v = LLVMGetUndef(gen_type(g, dt, g->t->lanes)), last = gen_max(g, gen_sub(g, left, gen_i64(g, 1)), gen_i64(g, 0));
	for (int i = 0; i < g->t->lanes; i++) {
		LLVMValueRef at = gen_mul(g, gen_min(g, gen_i64(g, i), last), flash_stride(f, x, axis));
		v = LLVMBuildInsertElement(g->b, v, gen_load(g, dt, gen_at(g, p, at, dtype_size[dt]), 1, NULL), gen_i32(g, i), "");
	}
	return v;
}

static LLVMValueRef scaled(Gen *g, LLVMValueRef q, LLVMValueRef by)
{
	return LLVMBuildFMul(g->b, LLVMBuildSIToFP(g->b, q, g->vf, ""), by, "");
}

/* x's element i along an axis from p on */
static LLVMValueRef further(Flash *f, Value *x, LLVMValueRef p, int axis, LLVMValueRef i)
{
	return gen_at(f->g, p, gen_mul(f->g, i, flash_stride(f, x, axis)), dtype_size[x->type.dt]);
}

static int64_t block_of(const Flash *f, const Value *x, int scale)
{
	int64_t n = 0;
	dim_is_const(dim_div_exact(x->type.dim[3], f->in.scales[scale]->type.dim[3]), &n);
	return n;
}

void flash_dequant_keys(Flash *f, const LLVMValueRef *at, LLVMValueRef to, LLVMValueRef count)
{
	Gen *g = f->g;
	const Width *w = &f->block;
	Value *scales = f->in.scales[0];
	int64_t n = block_of(f, f->k, 0), vectors = f->keys / g->t->lanes;
	LLVMValueRef from = flash_row(f, f->k, at, 4), scale = flash_row(f, scales, at, 4), by[64];
	Loop blocks = gen_loop_begin(g, gen_i64(g, 0), gen_i64(g, f->wk.extent / n), gen_i64(g, 1));
	for (int64_t v = 0; v < vectors; v++) {
		LLVMValueRef first = gen_i64(g, v * g->t->lanes), p = further(f, scales, further(f, scales, scale, 3, blocks.iv), 1, first);
		by[v] = vector_along(f, scales, 1, p, gen_sub(g, count, first));
	}
	LLVMValueRef row = gen_mul(g, blocks.iv, gen_i64(g, n));
	Loop l = gen_loop_begin(g, row, gen_add(g, row, gen_i64(g, n)), gen_i64(g, 1));
	for (int64_t v = 0; v < vectors; v++) {
		LLVMValueRef first = gen_i64(g, v * g->t->lanes), p = further(f, f->k, further(f, f->k, from, 3, l.iv), 1, first);
		LLVMValueRef x = scaled(g, vector_along(f, f->k, 1, p, gen_sub(g, count, first)), by[v]);
		int64_t place = v / w->nv * w->nr * f->wk.extent + v % w->nv * g->t->lanes;
		gen_store(g, DT_F32, x, gen_at(g, to, gen_add(g, gen_mul(g, l.iv, gen_i64(g, w->nr)), gen_i64(g, place)), 4), NULL);
	}
	gen_loop_end(g, &l);
	gen_loop_end(g, &blocks);
}

void flash_dequant_values(Flash *f, const LLVMValueRef *at, LLVMValueRef to, LLVMValueRef count)
{
	Gen *g = f->g;
	const Width *w = &f->ww;
	Value *scales = f->in.scales[1];
	int64_t n = block_of(f, f->val, 1);
	LLVMValueRef from = flash_row(f, f->val, at, 4), scale = flash_row(f, scales, at, 4);
	Loop l = gen_loop_begin(g, gen_i64(g, 0), count, gen_i64(g, 1));
	for (int v = 0; v < width_vectors(f, w); v++) {
		int64_t first = (int64_t)v * g->t->lanes, panel = v / w->nv;
		LLVMValueRef p = further(f, scales, further(f, scales, scale, 1, l.iv), 3, gen_i64(g, first / n));
		LLVMValueRef by = gen_splat(g, gen_load(g, DT_F16, p, 1, NULL));
		p = further(f, f->val, further(f, f->val, from, 1, l.iv), 3, gen_i64(g, first));
		LLVMValueRef x = scaled(g, vector_along(f, f->val, 3, p, gen_i64(g, w->extent - first)), by);
		LLVMValueRef place = gen_add(g, gen_mul(g, count, gen_i64(g, panel * w->nr)), gen_mul(g, l.iv, gen_i64(g, w->nr)));
		gen_store(g, DT_F32, x, gen_at(g, to, gen_add(g, place, gen_i64(g, v % w->nv * g->t->lanes)), 4), NULL);
	}
	gen_loop_end(g, &l);
}
