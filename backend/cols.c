/* cols.c: cols kernels: reductions over [outer][reduced][inner] along the middle, elementwise members before and after.
 *
 * Vectors lie along the inner axis; threads take tasks of (outer index, a few vectors), walk the reduced axes in order
 * with accumulators in registers, folded every 64 rows, and run the members after the reduction on what they hold.
 * Where everything is reduced vectors lie along the last reduced axis and one thread does the whole. */
#include "backend/space.h"

typedef struct Cols {
	Gen *g;
	Space *sp;
	int unroll;
	const Dim *length;         /* of the vector axis */
	LLVMValueRef at[MAX_RANK];
} Cols;

enum { BLOCK = 64 };

static bool is_reduced(const Cluster *c, int axis)
{
	return c->anchor->a.axes >> axis & 1;
}

/* Axes of extent 1 belong to either side. */
static uint32_t keep_apart(const Cluster *c)
{
	uint32_t apart = 0;
	int before = -1;

	for (int a = 0; a < c->space.rank; a++) {
		if (dim_is(c->space.dim[a], 1))
			continue;
		if (before >= 0 && is_reduced(c, before) != is_reduced(c, a))
			apart |= 1u << before;
		before = a;
	}
	return apart;
}

/* Phase 0: what the reductions need; phase 1: what comes after. */
static void need(Node *n, int phase)
{
	if (!n || n->phases >> phase & 1 || (phase == 1 && n->reduces))
		return;
	n->phases |= 1u << phase;
	for (int i = 0; i < n->nin; i++)
		need(n->in[i], phase);
}

static void plan_phases(Cols *c)
{
	for (int k = 0; k < c->sp->nodes.len; k++) {
		Node *n = c->sp->nodes.at[k];
		if (n->reduces)
			need(n, 0);
		if (n->out)
			need(n, 1);
	}
}

static void prepare(Cols *c, int phase)
{
	for (int k = 0; k < c->sp->nodes.len; k++) {
		Node *n = c->sp->nodes.at[k];
		if (!(n->phases >> phase & 1))
			continue;
		if (!n->reduces)
			space_prepare(c->sp, n);
		else if (n->mem[0])
			space_load_narrow(c->sp, n->mem[0]);
	}
}

/* The product of the extents of the reduced (or the other) axes but the vector axis. */
static const Dim *count(const Cols *c, bool reduced)
{
	const Dim *n = dim_const(1);

	for (int a = 0; a < c->sp->n; a++)
		if (a != c->sp->vax && (c->sp->reduced >> a & 1) == reduced)
			n = dim_mul(n, c->sp->extent[a]);
	return n;
}

/* Sets the indices of the reduced (or the other) axes from their linear index. */
static void decompose(Cols *c, bool reduced, LLVMValueRef index)
{
	Space *sp = c->sp;
	Gen *g = c->g;
	int outermost = -1;

	for (int a = sp->n - 1; a >= 0; a--)
		if (a != sp->vax && (sp->reduced >> a & 1) == reduced)
			outermost = a;
	for (int a = sp->n - 1; a >= 0; a--) {
		if (a == sp->vax || (sp->reduced >> a & 1) != reduced)
			continue;
		c->at[a] = LLVMIsNull(index) ? index : a == outermost ? index : gen_bin(g, LLVMURem, index, gen_dim(g, sp->extent[a]));
		index = a == outermost || LLVMIsNull(index) ? index : gen_bin(g, LLVMUDiv, index, gen_dim(g, sp->extent[a]));
	}
}

static LLVMValueRef lesser(Gen *g, LLVMValueRef a, LLVMValueRef b)
{
	return LLVMBuildSelect(g->b, LLVMBuildICmp(g->b, LLVMIntSLT, a, b, ""), a, b, "");
}

/* All reduced rows into the sums of `unroll` vectors from element i on. */
static void accumulate(Cols *c, int unroll, LLVMValueRef i, LLVMValueRef mask)
{
	Gen *g = c->g;
	LLVMValueRef rows = gen_dim(g, count(c, true)), end;

	reduce_open(c->sp, 1, unroll);
	Loop block = gen_loop_begin(g, gen_i64(g, 0), rows, gen_i64(g, BLOCK));
	end = lesser(g, LLVMBuildNSWAdd(g->b, block.iv, gen_i64(g, BLOCK), ""), rows);
	Loop row = gen_loop_begin(g, block.iv, end, gen_i64(g, 1));
	decompose(c, true, row.iv);
	space_row(c->sp, c->at);
	prepare(c, 0);
	for (int u = 0; u < unroll; u++) {
		space_block(c->sp, LLVMBuildNSWAdd(g->b, i, gen_i64(g, u * g->t->lanes), ""), mask);
		reduce_take(c->sp, 1, u);
	}
	gen_loop_end(g, &row);
	reduce_fold(c->sp, 1, unroll);
	gen_loop_end(g, &block);
}

/* The members after the reduction, at index 0 of the reduced axes. */
static void after(Cols *c, int unroll, LLVMValueRef i, LLVMValueRef mask)
{
	Gen *g = c->g;
	Space *sp = c->sp;

	decompose(c, true, gen_i64(g, 0));
	space_row(sp, c->at);
	prepare(c, 1);
	for (int u = 0; u < unroll; u++) {
		space_block(sp, LLVMBuildNSWAdd(g->b, i, gen_i64(g, u * g->t->lanes), ""), mask);
		for (int k = 0; k < sp->nodes.len; k++)
			if (sp->nodes.at[k]->reduces)
				sp->nodes.at[k]->vec = reduce_vector(sp, sp->nodes.at[k], u);
		for (int k = 0; k < sp->nodes.len; k++)
			if (sp->nodes.at[k]->out)
				space_vector(sp, sp->nodes.at[k]);
		for (int k = 0; k < sp->nodes.len; k++)
			if (sp->nodes.at[k]->out)
				space_store(sp, sp->nodes.at[k], sp->nodes.at[k]->vec, true);
	}
}

static void group(Cols *c, int unroll, LLVMValueRef i, LLVMValueRef mask)
{
	accumulate(c, unroll, i, mask);
	after(c, unroll, i, mask);
}

/* Columns from i to the end of the row, one masked vector at a time. */
static void ragged(Cols *c, LLVMValueRef i, LLVMValueRef n)
{
	Gen *g = c->g;
	int lanes = g->t->lanes;
	Loop l = gen_loop_begin(g, i, n, gen_i64(g, lanes));
	LLVMValueRef left = LLVMBuildNSWSub(g->b, n, l.iv, "");

	group(c, 1, l.iv, gen_mask(g, lesser(g, left, gen_i64(g, lanes))));
	gen_loop_end(g, &l);
}

static void task(Cols *c, LLVMValueRef i)
{
	Gen *g = c->g;
	LLVMValueRef n = gen_dim(g, c->length), end = LLVMBuildNSWAdd(g->b, i, gen_i64(g, c->unroll * g->t->lanes), "");
	LLVMBasicBlockRef whole, part, done;
	int64_t fixed;

	if (dim_is_const(c->length, &fixed) && fixed % (c->unroll * g->t->lanes) == 0) {
		group(c, c->unroll, i, NULL);
		return;
	}
	whole = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "whole");
	part = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "part");
	done = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "next");
	LLVMBuildCondBr(g->b, LLVMBuildICmp(g->b, LLVMIntSLE, end, n, ""), whole, part);
	LLVMPositionBuilderAtEnd(g->b, whole);
	group(c, c->unroll, i, NULL);
	LLVMBuildBr(g->b, done);
	LLVMPositionBuilderAtEnd(g->b, part);
	ragged(c, i, n);
	LLVMBuildBr(g->b, done);
	LLVMPositionBuilderAtEnd(g->b, done);
}

static void by_columns(Cols *c)
{
	Gen *g = c->g;
	LLVMValueRef width = gen_i64(g, c->unroll * g->t->lanes), n = gen_dim(g, c->length), blocks, lo, hi;

	blocks = LLVMBuildNSWAdd(g->b, n, gen_i64(g, c->unroll * g->t->lanes - 1), "");
	blocks = gen_bin(g, LLVMUDiv, blocks, width);
	gen_share(g, LLVMBuildNSWMul(g->b, gen_dim(g, count(c, false)), blocks, ""), &lo, &hi);
	Loop l = gen_loop_begin(g, lo, hi, gen_i64(g, 1));
	decompose(c, false, gen_bin(g, LLVMUDiv, l.iv, blocks));
	task(c, LLVMBuildNSWMul(g->b, gen_bin(g, LLVMURem, l.iv, blocks), width, ""));
	gen_loop_end(g, &l);
}

/* One block of the vector axis, from lo to hi, into all accumulators. */
static void along(Cols *c, LLVMValueRef lo, LLVMValueRef hi)
{
	Gen *g = c->g;
	int lanes = g->t->lanes;
	LLVMValueRef step = gen_i64(g, lanes * c->unroll), whole, left;

	whole = gen_bin(g, LLVMUDiv, LLVMBuildNSWSub(g->b, hi, lo, ""), step);
	whole = LLVMBuildNSWAdd(g->b, lo, LLVMBuildNSWMul(g->b, whole, step, ""), "");
	Loop l = gen_loop_begin(g, lo, whole, step);
	for (int u = 0; u < c->unroll; u++) {
		space_block(c->sp, LLVMBuildNSWAdd(g->b, l.iv, gen_i64(g, u * lanes), ""), NULL);
		reduce_take(c->sp, 1, u);
	}
	gen_loop_end(g, &l);
	l = gen_loop_begin(g, whole, hi, gen_i64(g, lanes));
	left = lesser(g, LLVMBuildNSWSub(g->b, hi, l.iv, ""), gen_i64(g, lanes));
	space_block(c->sp, l.iv, gen_mask(g, left));
	reduce_take(c->sp, 1, 0);
	gen_loop_end(g, &l);
}

static void store_narrow(Cols *c)
{
	Space *sp = c->sp;

	for (int k = 0; k < sp->nodes.len; k++)
		if (sp->nodes.at[k]->out)
			space_scalar(sp, sp->nodes.at[k]);
	for (int k = 0; k < sp->nodes.len; k++)
		if (sp->nodes.at[k]->out)
			space_store(sp, sp->nodes.at[k], sp->nodes.at[k]->scalar, false);
}

/* The last axis is reduced too: a task is an outer index, its sums end in scalars. */
static void whole(Cols *c)
{
	Gen *g = c->g;
	LLVMValueRef lo, hi, n = gen_dim(g, c->length), step = gen_i64(g, BLOCK * c->unroll * g->t->lanes), end;

	gen_share(g, gen_dim(g, count(c, false)), &lo, &hi);
	Loop outer = gen_loop_begin(g, lo, hi, gen_i64(g, 1));
	decompose(c, false, outer.iv);
	reduce_open(c->sp, 1, c->unroll);
	Loop row = gen_loop_begin(g, gen_i64(g, 0), gen_dim(g, count(c, true)), gen_i64(g, 1));
	decompose(c, true, row.iv);
	space_row(c->sp, c->at);
	prepare(c, 0);
	Loop block = gen_loop_begin(g, gen_i64(g, 0), n, step);
	end = lesser(g, LLVMBuildNSWAdd(g->b, block.iv, step, ""), n);
	along(c, block.iv, end);
	reduce_fold(c->sp, 1, c->unroll);
	gen_loop_end(g, &block);
	gen_loop_end(g, &row);
	decompose(c, true, gen_i64(g, 0));
	space_row(c->sp, c->at);
	reduce_close(c->sp, 1, c->unroll);
	store_narrow(c);
	gen_loop_end(g, &outer);
}

/* Accumulators and sums of all reductions should stay in registers. */
static int choose_unroll(const Cols *c)
{
	int reductions = 0;
	int64_t n, vectors = 4;

	for (int k = 0; k < c->sp->nodes.len; k++)
		reductions += c->sp->nodes.at[k]->reduces;
	if (dim_is_const(c->length, &n))
		vectors = (n + c->g->t->lanes - 1) / c->g->t->lanes;
	if (vectors >= 4 && reductions <= 2)
		return 4;
	return vectors >= 2 && reductions <= 4 ? 2 : 1;
}

void gen_cols_kernel(Gen *g, const Cluster *c, KernelArgs *ka)
{
	Cols cols = { .g = g, .sp = space_make(g, c, keep_apart(c)) };

	ka->scratch = 0;
	cols.length = cols.sp->extent[cols.sp->vax];
	cols.unroll = choose_unroll(&cols);
	plan_phases(&cols);
	if (cols.sp->reduced >> cols.sp->vax & 1)
		whole(&cols);
	else
		by_columns(&cols);
}
