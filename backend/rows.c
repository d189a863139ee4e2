/* rows.c: rows kernels: chains of elementwise ops, gathers and pads, with reductions along the last axis between.
 *
 * Threads take rows (or, where everything is one contiguous axis, ranges of 64 elements). Within a row reductions cut
 * the work into phases, each one loop over the vector axis: phase p computes the reductions whose operands need p
 * reductions before them. What a later phase needs again is recomputed, or kept in scratch if transcendental.
 * Wide outputs are stored in the last phase only, narrow ones at the row's end, and all values of a block are computed
 * before the first is stored: so an output may lie in place of any operand with the same place for each element. */
#include "backend/space.h"

typedef struct Rows {
	Gen *g;
	Space *sp;
	int phases, unroll;
	const Dim *length;         /* of the vector axis */
	bool blocks;               /* rows so long that sums are summed by blocks */
	Vec(Node *) wide, narrow;  /* outputs by where they are stored */
} Rows;

enum { FLAT = 64, BLOCK = 64 };    /* elements a thread's range is a multiple of; vector steps in a block of sums */

/* Reductions go along the last axis that is not 1: it stays apart from those before it. */
static uint32_t keep_apart(const Cluster *c)
{
	int last = c->space.rank - 1;

	while (last > 0 && dim_is(c->space.dim[last], 1))
		last--;
	for (int i = 0; i < c->vals.len && last > 0; i++)
		if (op_info[c->vals.at[i]->op].flags & OPF_REDUCE)
			return 1u << (last - 1);
	return 0;
}

static bool reduced_in(const Node *n, int phase) { return n->reduces && n->level == phase + 1; }

/* Marks what phase p computes to get n's value. */
static void need(Rows *r, Node *n, int p)
{
	if (!n || n->phases >> p & 1 || (n->reduces && n->level <= p))
		return;
	n->phases |= 1u << p;
	if (n->wide && space_transcendental(n->v->op) && n->phases & ((1u << p) - 1))
		return;                                    /* will come from scratch */
	for (int i = 0; i < n->nin; i++)
		need(r, n->in[i], p);
}

static void sort_outputs(Rows *r)
{
	for (int i = 0; i < r->sp->nodes.len; i++) {
		Node *n = r->sp->nodes.at[i];
		if (!n->out)
			continue;
		if (n->wide || !dim_is(n->out->stride[r->sp->vax], 0)) {
			vec_push(r->g->arena_mem, &r->wide, n);
			r->phases = MAX(r->phases, n->level + 1);
		} else {
			vec_push(r->g->arena_mem, &r->narrow, n);
		}
	}
}

static void plan_phases(Rows *r)
{
	Space *sp = r->sp;
	int stashed = 0;

	for (int i = 0; i < sp->nodes.len; i++)
		r->phases = MAX(r->phases, sp->nodes.at[i]->reduces ? sp->nodes.at[i]->level : 0);
	sort_outputs(r);
	for (int p = 0; p < r->phases; p++)
		for (int i = 0; i < sp->nodes.len; i++)
			if (reduced_in(sp->nodes.at[i], p))
				need(r, sp->nodes.at[i], p);
	for (int i = 0; i < r->wide.len; i++)
		need(r, r->wide.at[i], r->phases - 1);
	for (int i = 0; i < sp->nodes.len; i++) {
		Node *n = sp->nodes.at[i];
		if (n->wide && space_transcendental(n->v->op) && n->phases & (n->phases - 1))
			n->stash = ++stashed;
	}
}

/* Bytes of a stashed row: whole vectors, and whole cache lines. */
static int64_t pitch(int64_t length) { return (length * 4 + 127) / 64 * 64; }

static void place_stash(Rows *r, KernelArgs *ka)
{
	Gen *g = r->g;
	LLVMValueRef n = gen_dim(g, r->length);

	n = LLVMBuildNSWAdd(g->b, LLVMBuildNSWMul(g->b, n, gen_i64(g, 4), ""), gen_i64(g, 127), "");
	r->sp->stash_pitch = LLVMBuildAnd(g->b, n, gen_i64(g, -64), "");
	ka->scratch = 0;
	for (int i = 0; i < r->sp->nodes.len; i++)
		if (r->sp->nodes.at[i]->stash)
			ka->scratch += pitch(space_bound(r->sp, r->length));
}

/* Independent accumulators hide the latency of additions; long bodies need fewer. */
static int choose_unroll(const Rows *r)
{
	int64_t n, vectors = 4;
	int heavy = 0;

	if (dim_is_const(r->length, &n))
		vectors = n / r->g->t->lanes;
	for (int i = 0; i < r->sp->nodes.len; i++)
		heavy += r->sp->nodes.at[i]->wide ? space_transcendental(r->sp->nodes.at[i]->v->op) ? 8 : 1 : 0;
	if (vectors >= 4 && heavy <= 8)
		return 4;
	return vectors >= 2 && heavy <= 24 ? 2 : 1;
}

/* One block of the current phase: reductions step into accumulator `u`; in the last phase outputs are stored. */
static void body(Rows *r, int phase, int u, LLVMValueRef i, LLVMValueRef mask)
{
	Space *sp = r->sp;

	space_block(sp, i, mask);
	reduce_take(sp, phase + 1, u);
	if (phase < r->phases - 1)
		return;
	for (int k = 0; k < r->wide.len; k++)
		space_vector(sp, r->wide.at[k]);
	for (int k = 0; k < r->wide.len; k++)
		space_store(sp, r->wide.at[k], r->wide.at[k]->vec, true);
}

/* Whether the length is a multiple of n whatever the symbols are. Ranges within it then have no rest either: those of
 * threads begin at multiples of FLAT, those of blocks at multiples of the step. */
static bool multiple_of(const Dim *length, int n)
{
	const DimFactor *f;
	int nf;

	for (int i = 0; i < dim_terms(length); i++)
		if (dim_term(length, i, &f, &nf) % n)
			return false;
	return true;
}

/* The end of the whole steps that fit between lo and hi. */
static LLVMValueRef whole_steps(Gen *g, LLVMValueRef lo, LLVMValueRef hi, LLVMValueRef step)
{
	LLVMValueRef n = gen_bin(g, LLVMUDiv, LLVMBuildNSWSub(g->b, hi, lo, ""), step);
	return LLVMBuildNSWAdd(g->b, lo, LLVMBuildNSWMul(g->b, n, step, ""), "");
}

/* Whole vectors from lo as far as they go in steps of `unroll`, then single ones, the last with a mask. */
static void vector_loop(Rows *r, int phase, int unroll, LLVMValueRef lo, LLVMValueRef hi)
{
	Gen *g = r->g;
	int lanes = g->t->lanes;
	LLVMValueRef step = gen_i64(g, lanes * unroll), whole = hi, left;

	if (!multiple_of(r->length, lanes * unroll))
		whole = whole_steps(g, lo, hi, step);
	if (!LLVMIsAConstantInt(whole) || LLVMConstIntGetSExtValue(whole) > 0) {
		Loop l = gen_loop_begin(g, lo, whole, step);
		for (int u = 0; u < unroll; u++)
			body(r, phase, u, LLVMBuildNSWAdd(g->b, l.iv, gen_i64(g, u * lanes), ""), NULL);
		gen_loop_end(g, &l);
	}
	if (whole == hi)
		return;
	Loop l = gen_loop_begin(g, whole, hi, gen_i64(g, lanes));
	left = LLVMBuildNSWSub(g->b, hi, l.iv, "");
	left = LLVMBuildSelect(g->b, LLVMBuildICmp(g->b, LLVMIntSLT, left, gen_i64(g, lanes), ""), left, gen_i64(g, lanes), "");
	body(r, phase, 0, l.iv, gen_mask(g, left));
	gen_loop_end(g, &l);
}

static void prepare(Rows *r, int phase)
{
	for (int k = 0; k < r->sp->nodes.len; k++) {
		Node *n = r->sp->nodes.at[k];
		if (!(n->phases >> phase & 1))
			continue;
		if (!n->reduces)
			space_prepare(r->sp, n);
		else if (n->mem[0])
			space_load_narrow(r->sp, n->mem[0]);
	}
}

static void run_phase(Rows *r, int phase, LLVMValueRef lo, LLVMValueRef hi)
{
	Gen *g = r->g;
	bool sums = reduce_any(r->sp, phase + 1);
	int unroll = sums ? r->unroll : 1;

	r->sp->phase = phase;
	prepare(r, phase);
	reduce_open(r->sp, phase + 1, unroll);
	if (sums && r->blocks) {
		LLVMValueRef step = gen_i64(g, BLOCK * unroll * g->t->lanes), end;
		Loop l = gen_loop_begin(g, lo, hi, step);
		end = LLVMBuildNSWAdd(g->b, l.iv, step, "");
		end = LLVMBuildSelect(g->b, LLVMBuildICmp(g->b, LLVMIntSLT, end, hi, ""), end, hi, "");
		vector_loop(r, phase, unroll, l.iv, end);
		reduce_fold(r->sp, phase + 1, unroll);
		gen_loop_end(g, &l);
	} else {
		vector_loop(r, phase, unroll, lo, hi);
		reduce_fold(r->sp, phase + 1, unroll);
	}
	reduce_close(r->sp, phase + 1, unroll);
}

static void row(Rows *r, const LLVMValueRef *at, LLVMValueRef lo, LLVMValueRef hi)
{
	space_row(r->sp, at);
	for (int p = 0; p < r->phases; p++)
		run_phase(r, p, lo, hi);
	for (int i = 0; i < r->narrow.len; i++)
		space_scalar(r->sp, r->narrow.at[i]);
	for (int i = 0; i < r->narrow.len; i++)
		space_store(r->sp, r->narrow.at[i], r->narrow.at[i]->scalar, false);
}

/* Everything is one axis: threads take ranges of it. */
static void flat(Rows *r)
{
	Gen *g = r->g;
	LLVMValueRef n = gen_dim(g, r->length), unit = gen_i64(g, FLAT), lo, hi, at[1] = { NULL };

	gen_share(g, gen_bin(g, LLVMUDiv, LLVMBuildNSWAdd(g->b, n, gen_i64(g, FLAT - 1), ""), unit), &lo, &hi);
	lo = LLVMBuildNSWMul(g->b, lo, unit, "");
	hi = LLVMBuildNSWMul(g->b, hi, unit, "");
	hi = LLVMBuildSelect(g->b, LLVMBuildICmp(g->b, LLVMIntSLT, hi, n, ""), hi, n, "");
	row(r, at, lo, hi);
}

static void by_rows(Rows *r)
{
	Gen *g = r->g;
	Space *sp = r->sp;
	const Dim *rows = dim_const(1);
	LLVMValueRef lo, hi, left, at[MAX_RANK] = { NULL };
	int outer = -1;

	for (int a = 0; a < sp->n; a++)
		if (a != sp->vax)
			rows = dim_mul(rows, sp->extent[a]);
	gen_share(g, gen_dim(g, rows), &lo, &hi);
	Loop l = gen_loop_begin(g, lo, hi, gen_i64(g, 1));
	left = l.iv;
	for (int a = 0; a < sp->n && outer < 0; a++)
		outer = a != sp->vax ? a : -1;
	for (int a = sp->n - 1; a >= 0; a--) {
		if (a == sp->vax)
			continue;
		at[a] = a == outer ? left : gen_bin(g, LLVMURem, left, gen_dim(g, sp->extent[a]));
		left = a == outer ? left : gen_bin(g, LLVMUDiv, left, gen_dim(g, sp->extent[a]));
	}
	row(r, at, gen_i64(g, 0), gen_dim(g, r->length));
	gen_loop_end(g, &l);
}

void gen_rows_kernel(Gen *g, const Cluster *c, KernelArgs *ka)
{
	Rows r = { .g = g, .sp = space_make(g, c, keep_apart(c)) };

	r.length = r.sp->extent[r.sp->vax];
	r.blocks = space_bound(r.sp, r.length) > 8192;
	r.unroll = choose_unroll(&r);
	plan_phases(&r);
	place_stash(&r, ka);
	if (r.sp->n == 1 && !keep_apart(c) && r.wide.len)
		flat(&r);
	else
		by_rows(&r);
}
