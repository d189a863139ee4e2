/* fuse_cols.c: reductions over leading or middle axes. Each takes what is computed for it alone, element by element,
 * and what follows in the reduced shape; reductions of one shape that read the same tensor go together. */
#include "passes/fuse.h"

static bool is_cols(Fusion *f, int node)
{
	return f->role[node] == R_MEMBER && f->group[dag_rep(f->d, node)].kind == K_COLS;
}

static bool single(Fusion *f, const Value *v)
{
	return f->role[v->id] == R_MEMBER && is_elementwise(v) && f->d->next[v->id] == v->id;
}

static bool room(Fusion *f, int rep)
{
	return f->group[rep].n < MAX_MEMBERS;
}

static int index_in(const int *set, int n, int id)
{
	for (int i = 0; i < n; i++)
		if (set[i] == id)
			return i;
	return -1;
}

/* Nothing that is reduced depends on what was reduced before; the set is in no order. */
static bool one_pass(Fusion *f, int *set, int n, const Value *anchor)
{
	bool after[2 * (MAX_MEMBERS + 1)] = {0};
	for (int i = 1; i < n; i++) {
		int v = set[i], at = i;
		for (; at > 0 && set[at - 1] > v; at--)
			set[at] = set[at - 1];
		set[at] = v;
	}
	for (int i = 0; i < n; i++) {
		const Value *v = f->g->vals.at[set[i]];
		bool reduces = op_info[v->op].lower == LOWER_REDUCE;
		for (int k = 0; k < v->nin; k++) {
			int o = index_in(set, i, v->in[k]->id);
			after[i] |= o >= 0 && after[o];
		}
		if (after[i] && (reduces || !type_same_dims(&v->type, &anchor->type)))
			return false;
		after[i] |= reduces;
	}
	return true;
}

/* One join of v into the kernel of anchor, if that is allowed. */
static bool take(Fusion *f, Value *anchor, Value *v)
{
	int set[MAX_MEMBERS + 2], n = members_of(f, dag_rep(f->d, anchor->id), set);
	set[n++] = v->id;
	return one_pass(f, set, n, anchor) && !hazard(f, set, n) && join(f, anchor->id, v->id);
}

static bool read_only_by(Fusion *f, const Value *v, int rep)
{
	for (int i = f->first_user[v->id]; i < f->first_user[v->id + 1]; i++)
		if (!member_of(f, f->g->vals.at[f->users[i]], rep))
			return false;
	return !v->dest;
}

/* Does x change along the axis of the space, going by what it is computed from? What leaves its kernel does. */
static bool varies(Fusion *f, Value *x, const Type *space, int axis)
{
	View w;
	int at = axis - (space->rank - x->type.rank);
	if (at < 0 || dim_is(x->type.dim[at], 1) || x->op == OP_CONST)
		return false;
	if (x->op == OP_IOTA)
		return x->a.axis == at;
	if (f->role[x->id] == R_NONE)
		return view_of(x, &w) && !dim_is(w.stride[at], 0);
	bool any = !is_elementwise(x) || (f->role[x->id] == R_MEMBER && leaves(f, x));
	for (int i = 0; i < x->nin && !any; i++)
		any = varies(f, x->in[i], space, axis);
	return any;
}

bool varies_inside(Fusion *f, const Value *o, const Type *space)
{
	bool any = false;
	for (int i = 0; i < o->nin && !any; i++)
		any = varies(f, o->in[i], space, row_axis(space));
	return any;
}

/* Elementwise operands of v, of the space's shape, that nobody else reads; and theirs. */
static void take_producers(Fusion *f, Value *anchor, const Value *v)
{
	for (int i = 0; i < v->nin; i++) {
		int rep = dag_rep(f->d, anchor->id);
		Value *o = v->in[i];
		const Type *space = &f->group[rep].space;
		if (single(f, o) && room(f, rep) && type_same_dims(&o->type, space) && read_only_by(f, o, rep) &&
		    varies_inside(f, o, space) && take(f, anchor, o))
			take_producers(f, anchor, o);
	}
}

static bool follows(Fusion *f, const Value *anchor, const Value *u)
{
	if (!single(f, u) || !type_same_dims(&u->type, &anchor->type))
		return false;
	for (int i = 0; i < u->nin; i++) {
		Type t, bare = u->in[i]->type;
		bare.dt = u->type.dt;
		if (!type_broadcast(bare, u->type, &t) || !type_same_dims(&t, &u->type))
			return false;
	}
	return true;
}

/* Readers of the result in its shape; v itself may then stay inside. */
static void take_followers(Fusion *f, Value *anchor, const Value *v)
{
	for (int i = f->first_user[v->id]; i < f->first_user[v->id + 1]; i++) {
		Value *u = f->g->vals.at[f->users[i]];
		if (follows(f, anchor, u) && room(f, dag_rep(f->d, anchor->id)) && take(f, anchor, u))
			take_followers(f, anchor, u);
	}
}

static bool same_reduction(const Value *a, const Value *b)
{
	return type_same_dims(&a->in[0]->type, &b->in[0]->type) && type_same_dims(&a->type, &b->type);
}

/* The kernels of a and b together, if they reduce alike. */
static void join_alike(Fusion *f, int a, int b)
{
	int ra = dag_rep(f->d, a), rb = dag_rep(f->d, b), set[2 * (MAX_MEMBERS + 1)];
	if (ra == rb || !same_reduction(f->group[ra].anchor, f->group[rb].anchor) ||
	    f->group[ra].n + f->group[rb].n > MAX_MEMBERS)
		return;
	int n = members_of(f, ra, set);
	n += members_of(f, rb, set + n);
	if (one_pass(f, set, n, f->group[ra].anchor) && !hazard(f, set, n))
		join(f, MIN(ra, rb), MAX(ra, rb));
}

/* Kernels that read v: the first that reduces takes in the others. */
static void join_readers(Fusion *f, const Value *v)
{
	int first = -1;
	for (int i = f->first_user[v->id]; i < f->first_user[v->id + 1]; i++) {
		int u = f->users[i];
		const Value *r = f->g->vals.at[u];
		if (!is_cols(f, u) || (is_elementwise(r) && type_same_dims(&r->type, &f->group[dag_rep(f->d, u)].anchor->type)))
			continue;
		if (first >= 0)
			join_alike(f, first, u);
		else
			first = u;
	}
}

void fuse_cols(Fusion *f)
{
	int n = f->g->vals.len;
	for (int i = 0; i < n; i++) {
		Value *v = f->g->vals.at[i];
		if (op_info[v->op].lower == LOWER_REDUCE && is_cols(f, i)) {
			take_producers(f, v, v);
			take_followers(f, v, v);
		}
	}
	for (int i = 0; i < n; i++)
		if (f->role[i] != R_FREE)
			join_readers(f, f->g->vals.at[i]);
	for (int i = 0; i < n; i++) {
		Value *v = f->g->vals.at[i];
		if (is_cols(f, i))
			take_producers(f, f->group[dag_rep(f->d, i)].anchor, v);
	}
}
