/* scatter.c: scatter kernels: rows of values added to a table at given indices, in the order of the indices.
 *
 * Threads divide the columns, so that each element has one writer and one order: no atomics, and bits that do not
 * depend on the number of threads. The table is operand 0's memory; the result is the same memory. */
#include "backend/gen.h"

typedef struct Scatter {
	Gen *g;
	Value *base, *ids, *values, *out;
	LLVMValueRef id_offset, value_offset;     /* elements, at the current id */
} Scatter;

static const Dim *columns(const Scatter *s)
{
	const Dim *n = dim_const(1);

	for (int j = 1; j < s->base->type.rank; j++)
		n = dim_mul(n, s->base->type.dim[j]);
	return n;
}

/* Offsets of id number `index`: in ids, and of its row in values. */
static void at_id(Scatter *s, LLVMValueRef index)
{
	Gen *g = s->g;
	const View *iv = gen_view(g, s->ids), *vv = gen_view(g, s->values);
	LLVMValueRef at;

	s->id_offset = s->value_offset = gen_i64(g, 0);
	for (int j = s->ids->type.rank - 1; j >= 0; j--) {
		LLVMValueRef n = gen_dim(g, s->ids->type.dim[j]);
		at = j ? gen_bin(g, LLVMURem, index, n) : index;
		index = j ? gen_bin(g, LLVMUDiv, index, n) : index;
		s->id_offset = LLVMBuildNSWAdd(g->b, s->id_offset,
			LLVMBuildNSWMul(g->b, at, gen_dim(g, iv->stride[j]), ""), "");
		s->value_offset = LLVMBuildNSWAdd(g->b, s->value_offset,
			LLVMBuildNSWMul(g->b, at, gen_dim(g, vv->stride[j]), ""), "");
	}
}

/* The offset of column `c` of a row: its index along the row's axes (from `first` on) times their strides. */
static LLVMValueRef column(Gen *g, const Type *t, const View *view, int first, LLVMValueRef c)
{
	LLVMValueRef sum = gen_i64(g, 0), at;

	for (int j = t->rank - 1; j >= first; j--) {
		LLVMValueRef n = gen_dim(g, t->dim[j]);
		at = j > first ? gen_bin(g, LLVMURem, c, n) : c;
		c = j > first ? gen_bin(g, LLVMUDiv, c, n) : c;
		sum = LLVMBuildNSWAdd(g->b, sum, LLVMBuildNSWMul(g->b, at, gen_dim(g, view->stride[j]), ""), "");
	}
	return sum;
}

/* Whether the row's axes, from `first` on, lie contiguously. */
static bool contiguous(const Type *t, const View *view, int first)
{
	const Dim *stride = dim_const(1);

	for (int j = t->rank - 1; j >= first; j--) {
		if (!dim_is(t->dim[j], 1) && view->stride[j] != stride)
			return false;
		stride = dim_mul(stride, t->dim[j]);
	}
	return true;
}

static LLVMValueRef plus(Gen *g, DType dt, LLVMValueRef a, LLVMValueRef b)
{
	return gen_bin(g, dt == DT_F32 ? LLVMFAdd : LLVMAdd, a, b);
}

static void add_vectors(Scatter *s, LLVMValueRef to, LLVMValueRef from, LLVMValueRef lo, LLVMValueRef hi)
{
	Gen *g = s->g;
	DType dt = s->out->type.dt;
	int lanes = g->t->lanes, size = dtype_size[dt];
	LLVMValueRef whole, x, y, p;

	whole = LLVMBuildNSWSub(g->b, hi, lo, "");
	whole = LLVMBuildNSWAdd(g->b, lo, LLVMBuildAnd(g->b, whole, gen_i64(g, -lanes), ""), "");
	Loop l = gen_loop_begin(g, lo, whole, gen_i64(g, lanes));
	p = gen_at(g, to, l.iv, size);
	x = gen_load(g, dt, p, lanes, NULL);
	y = gen_load(g, dt, gen_at(g, from, l.iv, size), lanes, NULL);
	gen_store(g, dt, plus(g, dt, x, y), p, NULL);
	gen_loop_end(g, &l);
	l = gen_loop_begin(g, whole, hi, gen_i64(g, 1));
	p = gen_at(g, to, l.iv, size);
	x = gen_load(g, dt, p, 1, NULL);
	y = gen_load(g, dt, gen_at(g, from, l.iv, size), 1, NULL);
	gen_store(g, dt, plus(g, dt, x, y), p, NULL);
	gen_loop_end(g, &l);
}

static void add_elements(Scatter *s, LLVMValueRef to, LLVMValueRef from, LLVMValueRef lo, LLVMValueRef hi)
{
	Gen *g = s->g;
	DType dt = s->out->type.dt;
	int size = dtype_size[dt];
	Loop l = gen_loop_begin(g, lo, hi, gen_i64(g, 1));
	LLVMValueRef p, q;

	p = gen_at(g, to, column(g, &s->out->type, gen_view(g, s->out), 1, l.iv), size);
	q = gen_at(g, from, column(g, &s->values->type, gen_view(g, s->values), s->ids->type.rank, l.iv), size);
	gen_store(g, dt, plus(g, dt, gen_load(g, dt, p, 1, NULL), gen_load(g, dt, q, 1, NULL)), p, NULL);
	gen_loop_end(g, &l);
}

static void add_row(Scatter *s, LLVMValueRef id, LLVMValueRef lo, LLVMValueRef hi)
{
	Gen *g = s->g;
	int size = dtype_size[s->out->type.dt];
	const View *ov = gen_view(g, s->out), *vv = gen_view(g, s->values);
	LLVMValueRef to, from;

	to = gen_at(g, gen_base(g, s->out), LLVMBuildNSWMul(g->b, id, gen_dim(g, ov->stride[0]), ""), size);
	from = gen_at(g, gen_base(g, s->values), s->value_offset, size);
	if (contiguous(&s->out->type, ov, 1) && contiguous(&s->values->type, vv, s->ids->type.rank))
		add_vectors(s, to, from, lo, hi);
	else
		add_elements(s, to, from, lo, hi);
}

/* This thread's columns: whole cache lines. */
static void share_columns(Scatter *s, LLVMValueRef *lo, LLVMValueRef *hi)
{
	Gen *g = s->g;
	LLVMValueRef n = gen_dim(g, columns(s)), unit = gen_i64(g, 16);

	gen_share(g, gen_bin(g, LLVMUDiv, LLVMBuildNSWAdd(g->b, n, gen_i64(g, 15), ""), unit), lo, hi);
	*lo = LLVMBuildNSWMul(g->b, *lo, unit, "");
	*hi = LLVMBuildNSWMul(g->b, *hi, unit, "");
	*hi = LLVMBuildSelect(g->b, LLVMBuildICmp(g->b, LLVMIntSLT, *hi, n, ""), *hi, n, "");
}

void gen_scatter_kernel(Gen *g, const Cluster *c, KernelArgs *ka)
{
	Value *v = c->anchor;
	Scatter s = { .g = g, .base = v->in[0], .ids = v->in[1], .values = v->in[2], .out = v };
	LLVMValueRef lo, hi, id, inside;
	LLVMBasicBlockRef add, next;

	ka->scratch = 0;
	share_columns(&s, &lo, &hi);
	Loop l = gen_loop_begin(g, gen_i64(g, 0), gen_dim(g, type_elems(s.ids->type)), gen_i64(g, 1));
	at_id(&s, l.iv);
	id = gen_load(g, DT_I32, gen_at(g, gen_base(g, s.ids), s.id_offset, 4), 1, NULL);
	id = LLVMBuildSExt(g->b, id, g->i64, "");
	add = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "add");
	next = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "next");
	inside = LLVMBuildICmp(g->b, LLVMIntULT, id, gen_dim(g, s.base->type.dim[0]), "");
	LLVMBuildCondBr(g->b, inside, add, next);
	LLVMPositionBuilderAtEnd(g->b, add);
	add_row(&s, id, lo, hi);
	LLVMBuildBr(g->b, next);
	LLVMPositionBuilderAtEnd(g->b, next);
	gen_loop_end(g, &l);
}
