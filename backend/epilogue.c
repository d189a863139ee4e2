/* epilogue.c: what follows a contraction in its kernel: elementwise members on the accumulators, a vector of a row at
 * a time, and the stores. Operands from outside are addressed by the contraction's letters, so that full-shape
 * operands, biases, row scales and scalars are all the same case with strides that are 0 or not. */
#include "backend/gen.h"

/* Where one vector of the result lies. */
typedef struct Place {
	LLVMValueRef batch, m, n, mask, left;   /* left: columns from n to the panel's end; mask NULL: all lanes */
	LLVMValueRef acc;                       /* the contraction's vector */
	bool stream;                            /* stores go past the caches */
} Place;

static Access access_of(const Axes *x, Type t, const View *view)
{
	size_t rank = strlen(x->out);
	if ((size_t)t.rank > rank)
		bug("epilogue operand of rank %d behind a contraction of rank %zu", t.rank, rank);
	return axes_access(x, x->out + rank - (size_t)t.rank, t, view);
}

/* random counts elements row-major in its own shape; iota counts along its axis. */
static View counting_view(const Value *v)
{
	View view = { .offset = dim_const(0) };
	const Dim *stride = dim_const(1);
	for (int i = v->type.rank - 1; i >= 0; i--) {
		view.stride[i] = v->op == OP_RANDOM ? stride : dim_const(i == v->a.axis);
		stride = dim_mul(stride, v->type.dim[i]);
	}
	return view;
}

/* Is the output written by whole lines, wherever its first element is at a line's start? */
static bool streams(const Gen *g, const Epilogue *e, int i)
{
	const Value *v = e->c->outs.at[i];
	const Dim *sn = axes_stride(e->x, e->x->n, &e->out[i]), *sm = axes_stride(e->x, e->x->m, &e->out[i]);
	int64_t n, step;
	return v->type.dt == DT_F32 && g->t->nr * 4 % 64 == 0 && dim_is_const(type_elems(v->type), &n) && n * 4 >= 2 * g->t->l2 &&
		sn && dim_is(sn, 1) && sm && dim_is_const(sm, &step) && step % 16 == 0;
}

/* Large outputs that will have left the caches before anyone reads them go past them, unless an operand of their shape is read: its
 * lines may be the same. Reading them first, only to write all of them, costs as much as writing. */
static bool all_stream(const Gen *g, const Epilogue *e)
{
	const Cluster *c = e->c;
	if (!g->ka->far)
		return false;
	for (int i = 0; i < c->ins.len; i++)
		if (c->ins.at[i] != c->anchor->in[0] && c->ins.at[i] != c->anchor->in[1] && type_same_dims(&c->ins.at[i]->type, &c->space))
			return false;
	for (int i = 0; i < c->outs.len; i++)
		if (!streams(g, e, i))
			return false;
	return true;
}

Epilogue epilogue_of(Gen *g, const Cluster *c, const Axes *x)
{
	Epilogue e = { .c = c, .x = x };
	e.in = NEW_ARRAY(g->arena_mem, Access, c->ins.len + 1);
	e.out = NEW_ARRAY(g->arena_mem, Access, c->outs.len + 1);
	e.member = NEW_ARRAY(g->arena_mem, Access, c->vals.len + 1);
	for (int i = 0; i < c->ins.len; i++)
		if (c->ins.at[i] != c->anchor->in[0] && c->ins.at[i] != c->anchor->in[1])
			e.in[i] = access_of(x, c->ins.at[i]->type, gen_view(g, c->ins.at[i]));
	for (int i = 0; i < c->outs.len; i++)
		e.out[i] = access_of(x, c->outs.at[i]->type, gen_view(g, c->outs.at[i]));
	for (int i = 0; i < c->vals.len; i++) {
		Value *v = c->vals.at[i];
		if (v->op == OP_RANDOM || v->op == OP_IOTA) {
			View view = counting_view(v);
			e.member[i] = access_of(x, v->type, &view);
		}
	}
	e.stream = all_stream(g, &e);
	return e;
}

/* Element offset of column n + l; the other letters' part is `row`. */
static LLVMValueRef offset_at(Gen *g, Epilogue *e, const Access *a, LLVMValueRef row, LLVMValueRef n)
{
	return LLVMBuildNSWAdd(g->b, row, gen_offset(g, e->x, e->x->n, a, n), "");
}

static LLVMValueRef row_offset(Gen *g, Epilogue *e, const Access *a, const Place *p)
{
	LLVMValueRef batch = gen_offset(g, e->x, e->x->batch, a, p->batch);
	return LLVMBuildNSWAdd(g->b, batch, gen_offset(g, e->x, e->x->m, a, p->m), "");
}

static LLVMValueRef lane_column(Gen *g, const Place *p, int lane)
{
	LLVMValueRef last = LLVMBuildNSWSub(g->b, p->left, gen_i64(g, 1), ""), l = gen_i64(g, lane);
	LLVMValueRef inside = LLVMBuildICmp(g->b, LLVMIntSLT, l, p->left, "");
	return LLVMBuildNSWAdd(g->b, p->n, LLVMBuildSelect(g->b, inside, l, last, ""), "");
}

/* Columns that are not neighbours in memory: lane by lane; those behind the last repeat it. */
static LLVMValueRef load_scattered(Gen *g, Epilogue *e, DType dt, const Access *a, LLVMValueRef base, LLVMValueRef row,
	const Place *p)
{
	LLVMValueRef v = LLVMGetPoison(gen_type(g, dt, g->t->lanes));
	for (int l = 0; l < g->t->lanes; l++) {
		LLVMValueRef at = offset_at(g, e, a, row, lane_column(g, p, l));
		LLVMValueRef one = gen_load(g, dt, gen_at(g, base, at, dtype_size[dt]), 1, NULL);
		v = LLVMBuildInsertElement(g->b, v, one, gen_i32(g, l), "");
	}
	return v;
}

static LLVMValueRef load_operand(Gen *g, Epilogue *e, int i, const Place *p)
{
	Value *v = e->c->ins.at[i];
	const Access *a = &e->in[i];
	const Dim *sn = axes_stride(e->x, e->x->n, a);
	DType dt = v->type.dt;
	LLVMValueRef base = gen_base(g, v), row = row_offset(g, e, a, p);
	if (sn && dim_is(sn, 0))
		return gen_splat(g, gen_load(g, dt, gen_at(g, base, row, dtype_size[dt]), 1, NULL));
	if (!sn || !dim_is(sn, 1))
		return load_scattered(g, e, dt, a, base, row, p);
	return gen_load(g, dt, gen_at(g, base, offset_at(g, e, a, row, p->n), dtype_size[dt]), g->t->lanes, p->mask);
}

/* Lane by lane, those inside. */
static void store_scattered(Gen *g, Epilogue *e, DType dt, const Access *a, LLVMValueRef base, LLVMValueRef row,
	const Place *p, LLVMValueRef v)
{
	LLVMValueRef lanes = gen_i64(g, g->t->lanes);
	LLVMValueRef few = LLVMBuildICmp(g->b, LLVMIntSLT, p->left, lanes, "");
	Loop l = gen_loop_begin(g, gen_i64(g, 0), LLVMBuildSelect(g->b, few, p->left, lanes, ""), gen_i64(g, 1));
	LLVMValueRef at = offset_at(g, e, a, row, LLVMBuildNSWAdd(g->b, p->n, l.iv, ""));
	LLVMValueRef one = LLVMBuildExtractElement(g->b, v, l.iv, "");
	gen_store(g, dt, one, gen_at(g, base, at, dtype_size[dt]), NULL);
	gen_loop_end(g, &l);
}

static void store_output(Gen *g, Epilogue *e, int i, const Place *p, LLVMValueRef v)
{
	Value *out = e->c->outs.at[i];
	const Access *a = &e->out[i];
	const Dim *sn = axes_stride(e->x, e->x->n, a);
	DType dt = out->type.dt;
	LLVMValueRef base = gen_base(g, out), row = row_offset(g, e, a, p);
	if (p->stream)
		gen_stream(g, v, gen_at(g, base, offset_at(g, e, a, row, p->n), 4));
	else if (sn && (dim_is(sn, 1) || dim_is(axes_extent(e->x, e->x->n), 1)))
		gen_store(g, dt, v, gen_at(g, base, offset_at(g, e, a, row, p->n), dtype_size[dt]), p->mask);
	else
		store_scattered(g, e, dt, a, base, row, p, v);
}

static int index_of(const ValueList *list, const Value *v)
{
	for (int i = 0; i < list->len; i++)
		if (list->at[i] == v)
			return i;
	return -1;
}

/* A member's vector. Counted members that stretch along the columns have one value for all lanes. */
static LLVMValueRef member(Gen *g, Epilogue *e, int i, const Place *p, LLVMValueRef *operands)
{
	Value *v = e->c->vals.at[i];
	if (v == e->c->anchor)
		return p->acc;
	if (v->op != OP_RANDOM && v->op != OP_IOTA)
		return gen_elem(g, v, operands, NULL, g->t->lanes);
	const Access *a = &e->member[i];
	const Dim *sn = axes_stride(e->x, e->x->n, a);
	if (!sn || !(dim_is(sn, 0) || dim_is(sn, 1)))
		bug("epilogue: %s along columns that are not one axis", op_info[v->op].text);
	LLVMValueRef x = gen_elem(g, v, operands, offset_at(g, e, a, row_offset(g, e, a, p), p->n), g->t->lanes);
	return dim_is(sn, 1) ? x : gen_splat(g, LLVMBuildExtractElement(g->b, x, gen_i32(g, 0), ""));
}

static void one_vector(Gen *g, Epilogue *e, const Place *p)
{
	const Cluster *c = e->c;
	LLVMValueRef *in = NEW_ARRAY(g->arena_mem, LLVMValueRef, c->ins.len + 1);
	LLVMValueRef *val = NEW_ARRAY(g->arena_mem, LLVMValueRef, c->vals.len + 1), operand[4];
	for (int i = 0; i < c->vals.len; i++) {
		Value *v = c->vals.at[i];
		for (int k = 0; k < v->nin && v != c->anchor; k++) {
			int at = index_of(&c->vals, v->in[k]), from = index_of(&c->ins, v->in[k]);
			if (at < 0 && !in[from])
				in[from] = load_operand(g, e, from, p);
			operand[k] = at < 0 ? in[from] : val[at];
		}
		val[i] = member(g, e, i, p, operand);
	}
	for (int i = 0; i < c->outs.len; i++)
		store_output(g, e, i, p, val[index_of(&c->vals, c->outs.at[i])]);
}

/* Are all panels known to be whole? */
static bool whole_panels(const Gen *g, const Epilogue *e)
{
	int64_t n;
	return dim_is_const(axes_extent(e->x, e->x->n), &n) && n % g->t->nr == 0;
}

static void to(Gen *g, LLVMBasicBlockRef there)
{
	LLVMBuildBr(g->b, there);
	LLVMPositionBuilderAtEnd(g->b, there);
}

static void past(Gen *g, LLVMValueRef cond, LLVMBasicBlockRef there)
{
	LLVMBasicBlockRef here = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "vector");
	LLVMBuildCondBr(g->b, cond, there, here);
	LLVMPositionBuilderAtEnd(g->b, here);
}

/* A row's vectors; those that hold no columns are left out. */
static void rows(Gen *g, Epilogue *e, LLVMValueRef acc, Place p, LLVMValueRef m, LLVMValueRef h, LLVMValueRef n,
	LLVMValueRef cols, bool masked)
{
	int lanes = g->t->lanes;
	Loop r = gen_loop_begin(g, gen_i64(g, 0), h, gen_i64(g, 1));
	p.m = LLVMBuildNSWAdd(g->b, m, r.iv, "");
	LLVMValueRef row = gen_at(g, acc, LLVMBuildNSWMul(g->b, r.iv, gen_i64(g, g->t->nr), ""), 4);
	LLVMBasicBlockRef done = masked ? LLVMAppendBasicBlockInContext(g->ctx, g->fn, "row") : NULL;
	for (int v = 0; v < g->t->nr / lanes; v++) {
		LLVMValueRef c = gen_i64(g, v * lanes);
		if (masked && v)
			past(g, LLVMBuildICmp(g->b, LLVMIntSLE, cols, c, ""), done);
		p.n = LLVMBuildNSWAdd(g->b, n, c, "");
		p.left = LLVMBuildNSWSub(g->b, cols, c, "");
		p.mask = masked ? gen_mask(g, p.left) : NULL;
		p.acc = gen_load(g, DT_F32, gen_at(g, row, c, 4), lanes, NULL);
		one_vector(g, e, &p);
	}
	if (masked)
		to(g, done);
	gen_loop_end(g, &r);
}

/* Whole panels at lines' starts go past the caches. */
static LLVMValueRef at_lines(Gen *g, Epilogue *e, Place p, LLVMValueRef m, LLVMValueRef n, LLVMValueRef cols)
{
	LLVMValueRef yes = LLVMBuildICmp(g->b, LLVMIntEQ, cols, gen_i64(g, g->t->nr), "");
	p.m = m;
	for (int i = 0; i < e->c->outs.len; i++) {
		const Access *a = &e->out[i];
		LLVMValueRef at = gen_at(g, gen_base(g, e->c->outs.at[i]), offset_at(g, e, a, row_offset(g, e, a, &p), n), 4);
		LLVMValueRef low = LLVMBuildAnd(g->b, LLVMBuildPtrToInt(g->b, at, g->i64, ""), gen_i64(g, 63), "");
		yes = LLVMBuildAnd(g->b, yes, LLVMBuildICmp(g->b, LLVMIntEQ, low, gen_i64(g, 0), ""), "");
	}
	return yes;
}

void gen_epilogue(Gen *g, Epilogue *e, LLVMValueRef acc, LLVMValueRef batch, LLVMValueRef m, LLVMValueRef h,
	LLVMValueRef n, LLVMValueRef cols)
{
	Place p = { .batch = batch };
	if (g->t->masks && !e->stream) {
		rows(g, e, acc, p, m, h, n, cols, !whole_panels(g, e));
		return;
	}
	LLVMBasicBlockRef whole = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "whole");
	LLVMBasicBlockRef edge = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "edge");
	LLVMBasicBlockRef done = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "stored");
	LLVMBuildCondBr(g->b, e->stream ? at_lines(g, e, p, m, n, cols) : LLVMBuildICmp(g->b, LLVMIntEQ, cols, gen_i64(g, g->t->nr), ""),
		whole, edge);
	LLVMPositionBuilderAtEnd(g->b, whole);
	p.stream = e->stream;
	rows(g, e, acc, p, m, h, n, cols, false);
	LLVMBuildBr(g->b, done);
	p.stream = false;
	LLVMPositionBuilderAtEnd(g->b, edge);
	rows(g, e, acc, p, m, h, n, cols, true);
	LLVMBuildBr(g->b, done);
	LLVMPositionBuilderAtEnd(g->b, done);
}

/* One row of a memory of full shape. Rows that do not start at lines straddle one more than they fill. Lines behind the last column
 * are the next row's, which may be another thread's. */
static void prefetch_row(Gen *g, Epilogue *e, Value *v, const Access *a, const Place *p)
{
	const Dim *sn = axes_stride(e->x, e->x->n, a), *sm = axes_stride(e->x, e->x->m, a);
	int size = dtype_size[v->type.dt];
	int64_t step;
	if (!sn || !dim_is(sn, 1))
		return;
	LLVMValueRef at = gen_at(g, gen_base(g, v), offset_at(g, e, a, row_offset(g, e, a, p), p->n), size);
	LLVMValueRef last = LLVMBuildNSWSub(g->b, LLVMBuildNSWMul(g->b, p->left, gen_i64(g, size), ""), gen_i64(g, 1), "");
	for (int byte = 0; byte < g->t->nr * size; byte += 64)
		gen_prefetch(g, gen_at(g, at, gen_min(g, gen_i64(g, byte), last), 1), 2);
	if (!sm || !dim_is_const(sm, &step) || step * size % 64)
		gen_prefetch(g, gen_at(g, at, last, 1), 2);
}

void gen_epilogue_ahead(Gen *g, Epilogue *e, LLVMValueRef batch, LLVMValueRef m, LLVMValueRef h, LLVMValueRef n, LLVMValueRef cols)
{
	Place p = { .batch = batch, .n = n, .left = whole_panels(g, e) ? gen_i64(g, g->t->nr) : cols };
	if (e->stream)
		return;
	Loop r = gen_loop_begin(g, gen_i64(g, 0), h, gen_i64(g, 1));
	p.m = LLVMBuildNSWAdd(g->b, m, r.iv, "");
	for (int i = 0; i < e->c->outs.len; i++)
		prefetch_row(g, e, e->c->outs.at[i], &e->out[i], &p);
	gen_loop_end(g, &r);
}
