/* fuse_rows.c: kernels that go row by row. A value joins the kernels of its operands, from the first to the last, where
 * the joined kernel has one iteration space, reduces along its rows alone, and writes nothing but full rows
 * or one value a row. Softmax, norms, cross-entropy, their gradients and an optimiser's update become one
 * kernel each where their dependences allow it. */
#include "passes/fuse.h"

/* Tensors read and written by one kernel. */
enum { MAX_TENSORS = 40 };

static bool is_rows(Fusion *f, const Value *v)
{
	return f->role[v->id] == R_MEMBER && f->group[dag_rep(f->d, v->id)].kind == K_ROWS;
}

static const Dim *along(const Type *t, const Type *space, int axis)
{
	int i = axis - (space->rank - t->rank);
	return i < 0 ? dim_const(1) : t->dim[i];
}

static bool within(const Type *t, const Type *space)
{
	if (t->rank > space->rank)
		return false;
	for (int i = 0; i < space->rank; i++) {
		const Dim *d = along(t, space, i);
		if (d != space->dim[i] && !dim_is(d, 1))
			return false;
	}
	return true;
}

/* Of the space's shape but for its row axis, where it may be 1. */
static bool full_rows(const Type *t, const Type *space)
{
	int row = row_axis(space);
	for (int i = 0; i < space->rank; i++)
		if (along(t, space, i) != space->dim[i] && i != row)
			return false;
	return true;
}

static bool needs_memory(const Value *v)
{
	return v->op == OP_GATHER || v->op == OP_PAD || v->op == OP_RANDOM;
}

typedef struct Union {
	Fusion *f;
	int a, b;                      /* representatives */
	Type space;
	int set[2 * (MAX_MEMBERS + 1)], n;
} Union;

static bool in_union(Union *u, const Value *v)
{
	return member_of(u->f, v, u->a) || member_of(u->f, v, u->b);
}

static bool leaves_union(Union *u, const Value *v)
{
	const Fusion *f = u->f;
	for (int i = f->first_user[v->id]; i < f->first_user[v->id + 1]; i++)
		if (!in_union(u, f->g->vals.at[f->users[i]]))
			return true;
	return v->dest != NULL;
}

static bool member_fits(Union *u, const Value *v)
{
	if (!within(&v->type, &u->space))
		return false;
	if (op_info[v->op].lower == LOWER_REDUCE) {
		const Type *t = &v->in[0]->type;
		int row = row_axis(t) + u->space.rank - t->rank;
		if (!within(t, &u->space) || row != row_axis(&u->space) || along(t, &u->space, row) != u->space.dim[row])
			return false;
	}
	for (int i = 0; needs_memory(v) && i < v->nin; i++)
		if (in_union(u, v->in[i]))
			return false;
	return !leaves_union(u, v) || full_rows(&v->type, &u->space);
}

/* A part that would be computed again for rows it does not depend on must be slight. */
static bool repeats_little(Union *u, const Value *v)
{
	if (full_rows(&v->type, &u->space))
		return true;
	return is_elementwise(v) && v->op != OP_EXP && v->op != OP_LOG && v->op != OP_TANH && v->op != OP_ERF &&
	       v->op != OP_POW && v->op != OP_SIN && v->op != OP_COS && v->op != OP_SQRT && v->op != OP_RSQRT;
}

/* What is computed in a state's memory must be of the space's shape: smaller values may be computed more than once, which
 * would read what was already overwritten. */
static bool overwrites_once(Union *u, const Value *v)
{
	return type_same_dims(&v->type, &u->space) || !overwritten_by(u->f, v);
}

static int count_tensors(Union *u)
{
	int n = 0;
	for (int i = 0; i < u->n; i++) {
		const Value *v = u->f->g->vals.at[u->set[i]];
		n += leaves_union(u, v);
		for (int k = 0; k < v->nin; k++)
			n += !in_union(u, v->in[k]) && u->f->role[v->in[k]->id] != R_FREE;
	}
	return n;
}

static bool union_space(Union *u)
{
	Type a = u->f->group[u->a].space, b = u->f->group[u->b].space;
	a.dt = b.dt = DT_F32;
	if (!type_broadcast(a, b, &u->space))
		return false;
	return within(&a, &u->space) && within(&b, &u->space);
}

static bool union_fits(Union *u)
{
	Fusion *f = u->f;
	if (f->group[u->a].n + f->group[u->b].n > MAX_MEMBERS || !union_space(u))
		return false;
	u->n = members_of(f, u->a, u->set);
	u->n += members_of(f, u->b, u->set + u->n);
	for (int i = 0; i < u->n; i++) {
		const Value *v = f->g->vals.at[u->set[i]];
		if (!member_fits(u, v) || !repeats_little(u, v) || !overwrites_once(u, v))
			return false;
	}
	return count_tensors(u) <= MAX_TENSORS && !hazard(f, u->set, u->n);
}

static bool try_join(Fusion *f, const Value *x, const Value *v)
{
	Union u = { .f = f, .a = dag_rep(f->d, x->id), .b = dag_rep(f->d, v->id) };
	if (u.a == u.b || !union_fits(&u) || !join(f, u.a, u.b))
		return false;
	f->group[dag_rep(f->d, u.a)].space = u.space;
	return true;
}

/* Kernels that read the same tensor of their space's shape become one, if they are near. */
static void join_readers(Fusion *f, const Value *x)
{
	const Value *first = NULL;
	if (f->role[x->id] == R_FREE)
		return;
	for (int i = f->first_user[x->id]; i < f->first_user[x->id + 1]; i++) {
		const Value *u = f->g->vals.at[f->users[i]];
		if (!is_rows(f, u) || needs_memory(u) || !type_same_dims(&x->type, &f->group[dag_rep(f->d, u->id)].space))
			continue;
		if (first)
			try_join(f, first, u);
		else
			first = u;
	}
}

void fuse_rows(Fusion *f)
{
	int n = f->g->vals.len;
	for (int i = 0; i < n; i++) {
		Value *v = f->g->vals.at[i];
		for (int k = 0; is_rows(f, v) && k < v->nin; k++)
			if (is_rows(f, v->in[k]))
				try_join(f, v->in[k], v);
	}
	for (int i = 0; i < n; i++)
		join_readers(f, f->g->vals.at[i]);
}
