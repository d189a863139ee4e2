/* reduce.c: sum and rmax over a Space: accumulators in registers (stack slots that mem2reg lifts), one vector for each
 * step of the unrolled loop, and the horizontal end. The order is fixed by the shapes alone.
 *
 * Accumulators are folded into sums block by block and start again: the error of a long sum grows with the number of
 * blocks and the length of one, not with their product (Higham 2002, sec. 4.2). */
#include "backend/space.h"

static LLVMValueRef start(Gen *g, const Value *v, int lanes)
{
	LLVMValueRef one = v->type.dt == DT_F32 ? gen_f32(g, v->op == OP_SUM ? 0 : -__builtin_inf()) :
						  gen_i32(g, v->op == OP_SUM ? 0 : INT32_MIN);
	return lanes == 1 ? one : gen_splat(g, one);
}

static LLVMValueRef step(Gen *g, const Value *v, LLVMValueRef acc, LLVMValueRef x)
{
	bool f = v->type.dt == DT_F32;
	LLVMValueRef more;

	if (v->op == OP_SUM)
		return gen_bin(g, f ? LLVMFAdd : LLVMAdd, acc, x);
	more = f ? LLVMBuildFCmp(g->b, LLVMRealOGT, x, acc, "") : LLVMBuildICmp(g->b, LLVMIntSGT, x, acc, "");
	return LLVMBuildSelect(g->b, more, x, acc, "");
}

static LLVMValueRef masked(Gen *g, const Value *v, LLVMValueRef x, LLVMValueRef mask)
{
	return mask ? LLVMBuildSelect(g->b, mask, x, start(g, v, g->t->lanes), "") : x;
}

static LLVMValueRef across(Gen *g, const Value *v, LLVMValueRef vec)
{
	for (int half = g->t->lanes / 2; half; half /= 2) {
		LLVMValueRef from[64], moved;
		for (int i = 0; i < g->t->lanes; i++)
			from[i] = i < half ? gen_i32(g, i + half) : LLVMGetPoison(g->i32);
		moved = LLVMBuildShuffleVector(g->b, vec, LLVMGetPoison(LLVMTypeOf(vec)),
					       LLVMConstVector(from, (unsigned)g->t->lanes), "");
		vec = step(g, v, vec, moved);
	}
	return LLVMBuildExtractElement(g->b, vec, gen_i32(g, 0), "");
}

static LLVMTypeRef vector_type(Space *sp, const Node *n)
{
	return gen_type(sp->g, n->v->type.dt, sp->g->t->lanes);
}

static LLVMValueRef load(Space *sp, const Node *n, LLVMValueRef slot)
{
	return LLVMBuildLoad2(sp->g->b, vector_type(sp, n), slot, "");
}

static bool at_level(const Node *n, int level) { return n->reduces && n->level == level; }

bool reduce_any(const Space *sp, int level)
{
	for (int k = 0; k < sp->nodes.len; k++)
		if (at_level(sp->nodes.at[k], level))
			return true;
	return false;
}

void reduce_open(Space *sp, int level, int unroll)
{
	Gen *g = sp->g;

	for (int k = 0; k < sp->nodes.len; k++) {
		Node *n = sp->nodes.at[k];
		for (int u = 0; u < unroll && at_level(n, level); u++) {
			n->acc[u] = n->acc[u] ? n->acc[u] : gen_var(g, vector_type(sp, n));
			n->sum[u] = n->sum[u] ? n->sum[u] : gen_var(g, vector_type(sp, n));
			LLVMBuildStore(g->b, start(g, n->v, g->t->lanes), n->acc[u]);
			LLVMBuildStore(g->b, start(g, n->v, g->t->lanes), n->sum[u]);
		}
	}
}

void reduce_take(Space *sp, int level, int u)
{
	Gen *g = sp->g;

	for (int k = 0; k < sp->nodes.len; k++) {
		Node *n = sp->nodes.at[k];
		if (!at_level(n, level))
			continue;
		LLVMValueRef x = n->mem[0] ? space_read(sp, n->mem[0]) : space_vector(sp, n->in[0]);
		x = step(g, n->v, load(sp, n, n->acc[u]), masked(g, n->v, x, sp->mask));
		LLVMBuildStore(g->b, x, n->acc[u]);
	}
}

void reduce_fold(Space *sp, int level, int unroll)
{
	Gen *g = sp->g;

	for (int k = 0; k < sp->nodes.len; k++) {
		Node *n = sp->nodes.at[k];
		for (int u = 0; u < unroll && at_level(n, level); u++) {
			LLVMValueRef sum = step(g, n->v, load(sp, n, n->sum[u]), load(sp, n, n->acc[u]));
			LLVMBuildStore(g->b, sum, n->sum[u]);
			LLVMBuildStore(g->b, start(g, n->v, g->t->lanes), n->acc[u]);
		}
	}
}

LLVMValueRef reduce_vector(Space *sp, const Node *n, int u) { return load(sp, n, n->sum[u]); }

void reduce_close(Space *sp, int level, int unroll)
{
	Gen *g = sp->g;

	for (int k = 0; k < sp->nodes.len; k++) {
		Node *n = sp->nodes.at[k];
		LLVMValueRef part[4];
		if (!at_level(n, level))
			continue;
		for (int u = 0; u < unroll; u++)
			part[u] = load(sp, n, n->sum[u]);
		for (int w = unroll / 2; w; w /= 2)
			for (int u = 0; u < w; u++)
				part[u] = step(g, n->v, part[u], part[u + w]);
		n->scalar = across(g, n->v, part[0]);
	}
}
