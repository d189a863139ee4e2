/* value.c: computing the members of a Space at one place: a scalar a row for narrow ones, a vector a block for wide
 * ones, each once. What is loaded is what the Read says; gather and pad read under conditions. */
#include "backend/space.h"

bool space_transcendental(Op op)
{
	return op == OP_EXP || op == OP_LOG || op == OP_TANH || op == OP_ERF || op == OP_SIN || op == OP_COS ||
	       op == OP_SIGMOID || op == OP_POW || op == OP_RANDOM;
}

void space_row(Space *sp, const LLVMValueRef *at)
{
	Gen *g = sp->g;

	for (int k = 0; k < sp->reads.len; k++) {
		Read *r = sp->reads.at[k];
		r->offset = gen_i64(g, 0);
		r->scalar = r->vec = NULL;
		for (int a = 0; a < sp->n; a++)
			if (a != sp->vax && !dim_is(r->stride[a], 0)) {
				LLVMValueRef step = LLVMBuildNSWMul(g->b, at[a], gen_dim(g, r->stride[a]), "");
				r->offset = LLVMBuildNSWAdd(g->b, r->offset, step, "");
			}
	}
	for (int k = 0; k < sp->nodes.len; k++)
		sp->nodes.at[k]->scalar = sp->nodes.at[k]->vec = NULL;
}

void space_block(Space *sp, LLVMValueRef i, LLVMValueRef mask)
{
	sp->i = i;
	sp->mask = mask;
	for (int k = 0; k < sp->reads.len; k++)
		sp->reads.at[k]->vec = NULL;
	for (int k = 0; k < sp->nodes.len; k++)
		sp->nodes.at[k]->vec = NULL;
}

static bool steps(const Space *sp, const Read *r) { return !dim_is(r->stride[sp->vax], 0); }
static bool consecutive(const Space *sp, const Read *r) { return dim_is(r->stride[sp->vax], 1); }

/* Elements from the row's first to the block's first. */
static LLVMValueRef along(Space *sp, const Read *r)
{
	if (consecutive(sp, r))
		return sp->i;
	return LLVMBuildNSWMul(sp->g->b, sp->i, gen_dim(sp->g, r->stride[sp->vax]), "");
}

/* A coordinate or linear index as i32. */
static LLVMValueRef number(Space *sp, const Read *r, bool vector)
{
	Gen *g = sp->g;
	LLVMValueRef lane[64], first, step;

	if (!vector)
		return LLVMBuildTrunc(g->b, r->offset, g->i32, "");
	if (!steps(sp, r))
		return gen_splat(g, LLVMBuildTrunc(g->b, r->offset, g->i32, ""));
	first = LLVMBuildTrunc(g->b, LLVMBuildAdd(g->b, r->offset, along(sp, r), ""), g->i32, "");
	for (int i = 0; i < g->t->lanes; i++)
		lane[i] = gen_i32(g, i);
	step = gen_splat(g, LLVMBuildTrunc(g->b, gen_dim(g, r->stride[sp->vax]), g->i32, ""));
	step = LLVMBuildMul(g->b, step, LLVMConstVector(lane, (unsigned)g->t->lanes), "");
	return LLVMBuildAdd(g->b, gen_splat(g, first), step, "");
}

/* One element a lane, at base + index[lane] elements; index is <lanes x i64> or NULL for a stride along the vector
 * axis. Lanes out of use read what lane 0 reads. */
static LLVMValueRef load_lanes(Space *sp, DType dt, LLVMValueRef base, LLVMValueRef stride)
{
	Gen *g = sp->g;
	LLVMValueRef v = LLVMGetPoison(gen_type(g, dt, g->t->lanes)), off, x, used;

	for (int k = 0; k < g->t->lanes; k++) {
		off = LLVMBuildNSWMul(g->b, stride, gen_i64(g, k), "");
		if (sp->mask && k) {
			used = LLVMBuildExtractElement(g->b, sp->mask, gen_i32(g, k), "");
			off = LLVMBuildSelect(g->b, used, off, gen_i64(g, 0), "");
		}
		x = gen_load(g, dt, gen_at(g, base, off, dtype_size[dt]), 1, NULL);
		v = LLVMBuildInsertElement(g->b, v, x, gen_i32(g, k), "");
	}
	return v;
}

static LLVMValueRef load_scalar(Space *sp, Read *r)
{
	DType dt = r->v->type.dt;

	if (!r->scalar)
		r->scalar = gen_load(sp->g, dt, gen_at(sp->g, gen_base(sp->g, r->v), r->offset, dtype_size[dt]), 1, NULL);
	return r->scalar;
}

static LLVMValueRef row_start(Space *sp, const Read *r)
{
	return gen_at(sp->g, gen_base(sp->g, r->v), r->offset, dtype_size[r->v->type.dt]);
}

static LLVMValueRef load_vector(Space *sp, Read *r, LLVMValueRef mask)
{
	DType dt = r->v->type.dt;
	LLVMValueRef at = gen_at(sp->g, row_start(sp, r), along(sp, r), dtype_size[dt]);

	if (consecutive(sp, r))
		return gen_load(sp->g, dt, at, sp->g->t->lanes, mask);
	return load_lanes(sp, dt, at, gen_dim(sp->g, r->stride[sp->vax]));
}

static LLVMValueRef read_value(Space *sp, Read *r, bool vector)
{
	if (!vector)
		return load_scalar(sp, r);
	if (!r->vec)
		r->vec = steps(sp, r) ? load_vector(sp, r, sp->mask) : gen_splat(sp->g, load_scalar(sp, r));
	return r->vec;
}

LLVMValueRef space_read(Space *sp, Read *r) { return read_value(sp, r, true); }

void space_load_narrow(Space *sp, Read *r)
{
	if (!steps(sp, r))
		load_scalar(sp, r);
}

static LLVMValueRef operand(Space *sp, Node *n, int i, bool vector)
{
	if (n->mem[i])
		return read_value(sp, n->mem[i], vector);
	return vector ? space_vector(sp, n->in[i]) : space_scalar(sp, n->in[i]);
}

static LLVMValueRef zero_of(Space *sp, const Value *v, bool vector)
{
	return LLVMConstNull(gen_type(sp->g, v->type.dt, vector ? sp->g->t->lanes : 1));
}

/* valid: index within the table, as i1; *row: the row's first element, row 0 where it is not valid. */
static LLVMValueRef table_row(Space *sp, const Node *n, LLVMValueRef id, LLVMValueRef *row)
{
	Gen *g = sp->g;
	const Read *r = n->mem[0];
	LLVMValueRef wide = LLVMBuildSExt(g->b, id, g->i64, ""), valid, size;

	size = gen_dim(g, r->v->type.dim[0]);
	valid = LLVMBuildICmp(g->b, LLVMIntULT, wide, size, "");
	wide = LLVMBuildSelect(g->b, valid, wide, gen_i64(g, 0), "");
	wide = LLVMBuildNSWMul(g->b, wide, gen_dim(g, gen_view(g, r->v)->stride[0]), "");
	wide = LLVMBuildNSWAdd(g->b, wide, r->offset, "");
	*row = gen_at(g, gen_base(g, r->v), wide, dtype_size[r->v->type.dt]);
	return valid;
}

/* Ids that differ along the lanes: one lookup a lane. */
static LLVMValueRef gather_lanes(Space *sp, Node *n)
{
	Gen *g = sp->g;
	DType dt = n->v->type.dt;
	LLVMValueRef ids = read_value(sp, n->mem[1], true), v = LLVMGetPoison(gen_type(g, dt, g->t->lanes));
	LLVMValueRef id, valid, row, x, off, used, step = gen_i64(g, 0);

	if (steps(sp, n->mem[0]))
		step = gen_dim(g, n->mem[0]->stride[sp->vax]);
	for (int k = 0; k < g->t->lanes; k++) {
		id = LLVMBuildExtractElement(g->b, ids, gen_i32(g, k), "");
		off = LLVMBuildNSWMul(g->b, LLVMBuildNSWAdd(g->b, sp->i, gen_i64(g, k), ""), step, "");
		if (sp->mask) {
			used = LLVMBuildExtractElement(g->b, sp->mask, gen_i32(g, k), "");
			id = LLVMBuildSelect(g->b, used, id, gen_i32(g, 0), "");
			off = LLVMBuildSelect(g->b, used, off, gen_i64(g, 0), "");
		}
		valid = table_row(sp, n, id, &row);
		x = gen_load(g, dt, gen_at(g, row, off, dtype_size[dt]), 1, NULL);
		x = LLVMBuildSelect(g->b, valid, x, LLVMConstNull(LLVMTypeOf(x)), "");
		v = LLVMBuildInsertElement(g->b, v, x, gen_i32(g, k), "");
	}
	return v;
}

static LLVMValueRef gather(Space *sp, Node *n, bool vector)
{
	Gen *g = sp->g;
	DType dt = n->v->type.dt;
	LLVMValueRef valid, row, x;

	if (vector && steps(sp, n->mem[1]))
		return gather_lanes(sp, n);
	valid = table_row(sp, n, load_scalar(sp, n->mem[1]), &row);
	if (!vector) {
		x = gen_load(g, dt, row, 1, NULL);
	} else {
		row = gen_at(g, row, along(sp, n->mem[0]), dtype_size[dt]);
		x = consecutive(sp, n->mem[0]) ? gen_load(g, dt, row, g->t->lanes, sp->mask) :
			load_lanes(sp, dt, row, gen_dim(g, n->mem[0]->stride[sp->vax]));
	}
	return LLVMBuildSelect(g->b, valid, x, zero_of(sp, n->v, vector), "");
}

/* lo <= coordinate < lo + len; for a vector a mask. */
static LLVMValueRef pad_inside(Space *sp, Node *n, bool vector)
{
	Gen *g = sp->g;
	LLVMValueRef at = number(sp, n->index, vector), len, lo;

	lo = LLVMBuildTrunc(g->b, gen_dim(g, n->v->a.lo), g->i32, "");
	len = LLVMBuildTrunc(g->b, gen_dim(g, n->v->in[0]->type.dim[n->v->a.axis]), g->i32, "");
	at = LLVMBuildSub(g->b, at, vector ? gen_splat(g, lo) : lo, "");
	return LLVMBuildICmp(g->b, LLVMIntULT, at, vector ? gen_splat(g, len) : len, "");
}

/* Element offset of what the padding before the operand takes up. */
static LLVMValueRef pad_shift(Space *sp, const Node *n)
{
	const Value *x = n->v->in[0];
	int axis = n->v->a.axis;

	if (dim_is(x->type.dim[axis], 1))
		return gen_i64(sp->g, 0);
	return gen_dim(sp->g, dim_mul(n->v->a.lo, gen_view(sp->g, n->mem[0]->v)->stride[axis]));
}

static LLVMValueRef pad_lanes(Space *sp, Node *n, LLVMValueRef first, LLVMValueRef inside)
{
	Gen *g = sp->g;
	DType dt = n->v->type.dt;
	LLVMValueRef v = LLVMGetPoison(gen_type(g, dt, g->t->lanes)), off, x, in;
	LLVMValueRef step = gen_dim(g, n->mem[0]->stride[sp->vax]);

	if (sp->mask)
		inside = LLVMBuildAnd(g->b, inside, sp->mask, "");
	for (int k = 0; k < g->t->lanes; k++) {
		in = LLVMBuildExtractElement(g->b, inside, gen_i32(g, k), "");
		off = LLVMBuildNSWAdd(g->b, first, LLVMBuildNSWMul(g->b, step, gen_i64(g, k), ""), "");
		off = LLVMBuildSelect(g->b, in, off, gen_i64(g, 0), "");
		x = gen_load(g, dt, gen_at(g, gen_base(g, n->mem[0]->v), off, dtype_size[dt]), 1, NULL);
		x = LLVMBuildSelect(g->b, in, x, LLVMConstNull(LLVMTypeOf(x)), "");
		v = LLVMBuildInsertElement(g->b, v, x, gen_i32(g, k), "");
	}
	return v;
}

static LLVMValueRef pad(Space *sp, Node *n, bool vector)
{
	Gen *g = sp->g;
	Read *r = n->mem[0];
	DType dt = n->v->type.dt;
	bool across = vector && steps(sp, n->index);       /* padding along the vector axis */
	LLVMValueRef inside = pad_inside(sp, n, across), off, mask, x;

	off = LLVMBuildNSWSub(g->b, r->offset, pad_shift(sp, n), "");
	if (!across)
		off = LLVMBuildSelect(g->b, inside, off, gen_i64(g, 0), "");
	if (vector && steps(sp, r))
		off = LLVMBuildNSWAdd(g->b, off, along(sp, r), "");
	if (across && !consecutive(sp, r))
		return pad_lanes(sp, n, off, inside);
	mask = across && sp->mask ? LLVMBuildAnd(g->b, inside, sp->mask, "") : across ? inside : sp->mask;
	off = gen_at(g, gen_base(g, r->v), off, dtype_size[dt]);
	if (across || (vector && consecutive(sp, r)))
		x = gen_load(g, dt, off, g->t->lanes, mask);
	else if (vector && steps(sp, r))
		x = load_lanes(sp, dt, off, gen_dim(g, r->stride[sp->vax]));
	else
		x = gen_load(g, dt, off, 1, NULL);
	if (across)
		return x;
	x = LLVMBuildSelect(g->b, inside, x, LLVMConstNull(LLVMTypeOf(x)), "");
	return vector && !steps(sp, r) ? gen_splat(g, x) : x;
}

/* select(narrow condition, memory, 0): memory is not touched where the condition does not hold. */
static LLVMValueRef guarded(Space *sp, Node *n)
{
	Gen *g = sp->g;
	Read *r = n->mem[1];
	LLVMValueRef cond;

	if (!g->t->masks || !r || r->vec || !consecutive(sp, r) || r->v->type.dt == DT_BOOL || !n->in[2] ||
	    n->in[2]->v->op != OP_CONST || n->in[2]->v->a.value != 0)
		return NULL;
	if (n->in[0] ? n->in[0]->wide : steps(sp, n->mem[0]))
		return NULL;
	cond = operand(sp, n, 0, true);
	return load_vector(sp, r, sp->mask ? LLVMBuildAnd(g->b, cond, sp->mask, "") : cond);
}

static LLVMValueRef compute(Space *sp, Node *n, bool vector)
{
	Gen *g = sp->g;
	LLVMValueRef in[3] = { NULL, NULL, NULL }, x;

	gen_locate(g, n->v);
	if (n->v->op == OP_GATHER)
		return gather(sp, n, vector);
	if (n->v->op == OP_PAD)
		return pad(sp, n, vector);
	if (n->v->op == OP_IOTA)
		return number(sp, n->index, vector);
	if (n->v->op == OP_SELECT && vector && (x = guarded(sp, n)))
		return x;
	for (int i = 0; i < n->nin; i++)
		in[i] = operand(sp, n, i, vector);
	if (n->v->op == OP_RANDOM) {
		x = LLVMBuildTrunc(g->b, gen_number(g, n->v), g->i32, "");
		return gen_philox(g, in[0], vector ? gen_splat(g, x) : x, number(sp, n->index, vector));
	}
	if (op_info[n->v->op].flags & OPF_REDUCE)
		return in[0];              /* along extents of 1 */
	return gen_elem(g, n->v, in, NULL, vector ? g->t->lanes : 1);
}

LLVMValueRef space_scalar(Space *sp, Node *n)
{
	if (!n->scalar) {
		if (n->reduces)
			bug("a reduction is used before it is done");
		n->scalar = compute(sp, n, false);
	}
	return n->scalar;
}

/* Scratch holds stashed values one after another, each padded to whole vectors. */
static LLVMValueRef stash_at(Space *sp, const Node *n)
{
	Gen *g = sp->g;
	LLVMValueRef at = LLVMBuildNSWMul(g->b, sp->stash_pitch, gen_i64(g, n->stash - 1), "");

	return gen_at(g, gen_at(g, g->scratch, at, 1), sp->i, dtype_size[n->v->type.dt]);
}

static LLVMValueRef wide_vector(Space *sp, Node *n)
{
	bool earlier = n->stash && n->phases & ((1u << sp->phase) - 1);
	LLVMValueRef v;

	if (earlier)
		return gen_load(sp->g, n->v->type.dt, stash_at(sp, n), sp->g->t->lanes, NULL);
	v = compute(sp, n, true);
	if (n->stash)
		gen_store(sp->g, n->v->type.dt, v, stash_at(sp, n), NULL);
	return v;
}

LLVMValueRef space_vector(Space *sp, Node *n)
{
	if (!n->vec)
		n->vec = n->wide ? wide_vector(sp, n) : gen_splat(sp->g, space_scalar(sp, n));
	return n->vec;
}

void space_prepare(Space *sp, Node *n)
{
	if (!n->wide) {
		space_scalar(sp, n);
		return;
	}
	if (n->v->op == OP_PAD)
		return;
	for (int i = 0; i < n->nin; i++) {
		bool table = n->v->op == OP_GATHER && i == 0;
		if (n->in[i] && !n->in[i]->wide)
			space_scalar(sp, n->in[i]);
		else if (!n->in[i] && !table)
			space_load_narrow(sp, n->mem[i]);
	}
}

void space_store(Space *sp, Node *n, LLVMValueRef value, bool vector)
{
	Gen *g = sp->g;
	Read *r = n->out;
	DType dt = n->v->type.dt;
	LLVMValueRef at = row_start(sp, r), step, x, off, used;

	if (!vector || !steps(sp, r)) {
		gen_store(g, dt, value, at, NULL);
		return;
	}
	at = gen_at(g, at, along(sp, r), dtype_size[dt]);
	if (consecutive(sp, r)) {
		gen_store(g, dt, value, at, sp->mask);
		return;
	}
	step = gen_dim(g, r->stride[sp->vax]);
	for (int k = g->t->lanes - 1; k >= 0; k--) {       /* lane 0 last: unused lanes write there first */
		x = LLVMBuildExtractElement(g->b, value, gen_i32(g, k), "");
		off = LLVMBuildNSWMul(g->b, step, gen_i64(g, k), "");
		if (sp->mask && k) {
			used = LLVMBuildExtractElement(g->b, sp->mask, gen_i32(g, k), "");
			off = LLVMBuildSelect(g->b, used, off, gen_i64(g, 0), "");
		}
		gen_store(g, dt, x, gen_at(g, at, off, dtype_size[dt]), NULL);
	}
}
