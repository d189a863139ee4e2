/* fuse_recompute.c: tensors that need not be kept. A value read in other kernels by elementwise ops or reductions alone is
 * computed again in each of them, if that takes a few operations on tensors that are kept anyway and still alive
 * there: half of gelu's derivative from the activation's input, a norm's scaled values from the centred ones. That
 * saves a tensor's memory, a write and sometimes a read; no other tensor lives longer for it. */
#include "passes/fuse.h"

/* Weights of operations by the instructions they take; a tensor's way through memory is worth BUDGET. */
enum { BUDGET = 32, NEAR = 60 };

static int weight(Op op)
{
	switch (op) {
	case OP_EXP: case OP_LOG: case OP_TANH: case OP_ERF: case OP_SIGMOID: return 14;
	case OP_SIN: case OP_COS: case OP_POW: return 30;
	case OP_DIV: case OP_SQRT: case OP_RSQRT: return 6;
	default: return 1;
	}
}

typedef struct Recompute {
	Fusion *f;
	int *last;       /* by value: place in the order of the last kernel that reads it from memory */
	int kernel;      /* the reader being asked about: its representative */
	int left;        /* of the budget */
	int *seen;       /* by id: the value it was last asked for as a reader, plus 1 */
	int *behind;     /* by value: what recomputing those behind it, up to tensors that are kept, takes already */
	int small[MAX_MEMBERS], nsmall;   /* values, one a row, that would have to be stored for it */
} Recompute;

static int place(const Fusion *f, int node)
{
	return f->d->pos[dag_rep(f->d, node)];
}

/* In memory while the reader runs, whether or not v is computed again. */
static bool alive(const Recompute *r, const Value *o)
{
	return r->last[o->id] + NEAR >= r->f->d->pos[r->kernel];
}

static bool fits_kernel(const Recompute *r, Value *v, bool stored)
{
	Fusion *f = r->f;
	const Group *g = &f->group[r->kernel];
	Type t, bare = g->space;
	bare.dt = v->type.dt;
	if (g->kind == K_CONTRACT)
		return stored ? epilogue_reads(f, g->anchor, v) : type_same_dims(&v->type, &g->space);
	if (stored || f->role[v->id] == R_FREE)
		return type_broadcast(v->type, bare, &t) && type_same_dims(&t, &g->space);
	return type_same_dims(&v->type, &g->space);
}

/* One value a row of a rows kernel: so little that it may be stored for this. */
static bool is_small(const Fusion *f, const Value *o)
{
	const Group *g = &f->group[dag_rep(f->d, o->id)];
	const Type *t = &o->type;
	if (f->role[o->id] != R_MEMBER || g->kind != K_ROWS || t->rank != g->space.rank || type_same_dims(t, &g->space))
		return false;
	int row = row_axis(&g->space);
	for (int i = 0; i < t->rank; i++)
		if (i == row ? !dim_is(t->dim[i], 1) : t->dim[i] != g->space.dim[i])
			return false;
	return true;
}

static bool store_small(Recompute *r, const Value *o)
{
	if (!is_small(r->f, o) || r->nsmall == MAX_MEMBERS)
		return false;
	r->small[r->nsmall++] = o->id;
	return true;
}

/* Can the reader compute v from what is kept? */
static bool possible(Recompute *r, Value *v)
{
	Fusion *f = r->f;
	r->left -= weight(v->op);
	if (!is_elementwise(v) || r->left < 0 || !fits_kernel(r, v, false))
		return false;
	for (int i = 0; i < v->nin; i++) {
		Value *o = v->in[i];
		if (f->role[o->id] == R_FREE) {
			if (!(f->group[r->kernel].kind == K_CONTRACT ? epilogue_reads(f, f->group[r->kernel].anchor, o)
			                                             : fits_kernel(r, o, false)))
				return false;
			continue;
		}
		bool kept = (f->role[o->id] == R_MEMBER ? f->stored[o->id] && alive(r, o) : alive(r, o)) || store_small(r, o);
		if (kept ? !fits_kernel(r, o, true) : f->role[o->id] != R_MEMBER || !possible(r, o))
			return false;
	}
	return true;
}

/* The reader u can take a clone: an operand that it does not need in memory. */
static bool takes_clone(Fusion *f, const Value *u)
{
	if (f->role[u->id] != R_MEMBER || !(is_elementwise(u) || op_info[u->op].lower == LOWER_REDUCE))
		return false;
	const Group *g = &f->group[dag_rep(f->d, u->id)];
	return g->kind != K_COLS || !type_same_dims(&u->type, &g->anchor->type) || op_info[u->op].lower == LOWER_REDUCE;
}

/* Can u's kernel compute v itself? */
static bool reader_can(Recompute *r, Value *v, const Value *u, int spent, int *most)
{
	Fusion *f = r->f;
	r->kernel = dag_rep(f->d, u->id);
	r->left = BUDGET - spent;
	const Group *g = &f->group[r->kernel];
	if (g->kind == K_COLS && !varies_inside(f, v, &g->space))
		return false;
	if (!takes_clone(f, u) || g->n >= MAX_MEMBERS || !possible(r, v))
		return false;
	*most = MAX(*most, BUDGET - r->left);
	return true;
}

/* Can the kernels of all that read x? A reader that is not stored is computed again by its own readers, from v too. */
static bool readers_can(Recompute *r, Value *v, const Value *x, int spent, int *most)
{
	Fusion *f = r->f;
	int own = dag_rep(f->d, v->id);
	for (int i = f->first_user[x->id]; i < f->first_user[x->id + 1]; i++) {
		const Value *u = f->g->vals.at[f->users[i]];
		if (r->seen[u->id] == v->id + 1)
			continue;
		r->seen[u->id] = v->id + 1;
		if (!member_of(f, u, own) && !reader_can(r, v, u, spent, most))
			return false;
		bool again = f->role[u->id] == R_MEMBER && is_elementwise(u) && !f->stored[u->id];
		if (again && !readers_can(r, v, u, spent, most))
			return false;
	}
	return true;
}

static bool every_reader(Recompute *r, Value *v)
{
	int spent = r->behind[v->id], most = spent;
	r->nsmall = 0;
	if (!readers_can(r, v, v, spent, &most))
		return false;
	r->behind[v->id] = most;
	return true;
}

/* What is computed again in one kernel may be computed again with that in the next: a chain of such values (the sum of
 * a residual stream's gradients) must not grow with the depth of the model, so all of it shares one budget. */
static void note_behind(Recompute *r, const Value *v)
{
	Fusion *f = r->f;
	for (int i = f->first_user[v->id]; i < f->first_user[v->id + 1]; i++) {
		int u = f->users[i];
		if (f->role[u] == R_MEMBER && !f->stored[u])
			r->behind[v->id] = MAX(r->behind[v->id], r->behind[u]);
	}
}

/* Through views, concats and writes too: what reads them reads v's memory. */
static void note_reads(Recompute *r)
{
	Fusion *f = r->f;
	for (int i = f->g->vals.len - 1; i >= 0; i--) {
		const Value *v = f->g->vals.at[i];
		bool source = op_info[v->op].flags & OPF_SOURCE && f->role[i] == R_NONE;
		r->last[i] = source ? f->d->n : -1;
		for (int k = f->first_user[i]; k < f->first_user[i + 1]; k++) {
			int u = f->users[k];
			int at = f->role[u] == R_MEMBER ? place(f, u) : f->role[u] == R_NONE ? r->last[u] : -1;
			if (f->g->vals.at[u]->op == OP_OUTPUT)
				at = f->d->n;
			r->last[i] = MAX(r->last[i], at);
		}
	}
}

/* States that are overwritten are not alive behind the kernel that does it. */
static void forget_overwritten(Recompute *r)
{
	Fusion *f = r->f;
	for (int i = 0; i < f->g->vals.len; i++) {
		View w;
		Value *v = f->g->vals.at[i];
		bool views = f->role[i] == R_NONE && v->type.dt != DT_NONE && view_of(v, &w);
		if (views && w.root->mark)
			r->last[i] = -NEAR - 1;
	}
}

void fuse_recompute(Fusion *f)
{
	Recompute r = { .f = f, .last = NEW_ARRAY(f->g->arena, int, f->g->vals.len) };
	r.behind = NEW_ARRAY(f->g->arena, int, f->g->vals.len);
	r.seen = NEW_ARRAY(f->g->arena, int, f->g->vals.len);
	note_reads(&r);
	forget_overwritten(&r);
	for (int i = 0; i < f->g->vals.len; i++)
		f->stored[i] = f->role[i] == R_MEMBER && leaves(f, f->g->vals.at[i]);
	for (int i = f->g->vals.len - 1; i >= 0; i--) {
		Value *v = f->g->vals.at[i];
		note_behind(&r, v);
		if (!f->stored[i] || !is_elementwise(v) || v->dest || is_small(f, v) || !every_reader(&r, v))
			continue;
		f->stored[i] = false;
		for (int k = 0; k < r.nsmall; k++)
			f->stored[r.small[k]] = true;
	}
}
