/* fuse_contract.c: epilogues. What follows a contraction element by element, in its result's shape, is computed
 * before the result leaves the registers.
 *
 * First the largest set that could follow is found, then what gains nothing is taken off its end: a value whose
 * operands leave the kernel anyway and whose readers are rows kernels, which can compute it themselves. */
#include "passes/fuse.h"

typedef struct Grow {
	Fusion *f;
	Value *c;              /* the contraction */
	Spec s;
	int set[MAX_MEMBERS];  /* in order, the contraction first */
	int n;
} Grow;

/* Letters of m (side 0) or n (side 1). */
static bool in_group(const Spec *s, int side, char letter)
{
	return !strchr(s->at[!side], letter);
}

/* Along the group's axes of the result: does x vary along all of them with one stride, or along none? */
static bool uniform(const Grow *w, Value *x, const View *view, int side)
{
	const Type *r = &w->c->type;
	int axes[MAX_RANK] = {0}, n = 0, absent = 0, shift = r->rank - x->type.rank;
	const Dim *extent, *stride;
	for (int i = 0; i < r->rank; i++) {
		if (!in_group(&w->s, side, w->s.at[2][i]) || dim_is(r->dim[i], 1))
			continue;
		if (i < shift || dim_is(x->type.dim[i - shift], 1))
			absent++;
		else
			axes[n++] = i - shift;
	}
	if (n && absent)
		return false;
	if (!view_group(x, view, axes, n, &extent, &stride))
		return false;
	return side == 0 || !n || dim_is(stride, 1) || dim_is(stride, 0);
}

static bool fits_result(const Type *x, const Type *r)
{
	Type t;
	Type bare = *r;
	bare.dt = x->dt;
	return type_broadcast(*x, bare, &t) && same_dims(&t, r);
}

static bool reads_memory(const Grow *w, Value *x)
{
	View view;
	if (!fits_result(&x->type, &w->c->type) || !view_of(x, &view))
		return false;
	return uniform(w, x, &view, 0) && uniform(w, x, &view, 1);
}

/* Clones of the free x: constants and run-time extents as scalars for members, of the full shape below clones. */
static bool reads_free(const Grow *w, Value *x, bool below)
{
	switch (x->op) {
	case OP_CONST: return true;
	case OP_IOTA: return x->type.rank <= w->c->type.rank && fits_result(&x->type, &w->c->type);
	case OP_DIMVAL: return true;
	case OP_RANDOM: return same_dims(&x->type, &w->c->type) && reads_memory(w, x->in[0]);
	default: break;
	}
	bool wide = false;
	for (int i = 0; i < x->nin; i++) {
		Value *o = x->in[i];
		bool is_free = w->f->role[o->id] == R_FREE;
		if (!(is_free ? reads_free(w, o, true) : reads_memory(w, o)))
			return false;
		wide |= is_free ? o->op != OP_DIMVAL : same_dims(&o->type, &w->c->type);
	}
	return wide && fits_result(&x->type, &w->c->type);
}

Value *free_for_epilogue(Builder *b, Value *v, Value **in, const Type *space)
{
	Type t = *space;
	t.dt = v->type.dt;
	if (v->op == OP_IOTA)
		return b_iota(b, v->a.axis + space->rank - v->type.rank, t);
	if (v->op == OP_RANDOM || v->op == OP_DIMVAL)
		return build(b, v->op, in, v->nin, &v->a, op_type_given(v->op) ? &v->type : NULL);
	if (v->op == OP_CONST)
		return build(b, OP_CONST, NULL, 0, &v->a, &t);
	return build(b, v->op, in, v->nin, &v->a, NULL);
}

static bool in_set(const Grow *w, int id)
{
	for (int i = w->n - 1; i >= 0; i--)
		if (w->set[i] == id)
			return true;
	return false;
}

static bool operands_fit(const Grow *w, const Value *u)
{
	for (int i = 0; i < u->nin; i++) {
		Value *o = u->in[i];
		if (in_set(w, o->id))
			continue;
		if (!(w->f->role[o->id] == R_FREE ? reads_free(w, o, false) : reads_memory(w, o)))
			return false;
	}
	return true;
}

/* What is placed must be walkable as the result is. */
static bool place_fits(const Grow *w, Value *u)
{
	return !u->dest || reads_memory(w, u);
}

static bool could_follow(Grow *w, Value *u)
{
	Fusion *f = w->f;
	bool alone = f->role[u->id] == R_MEMBER && is_elementwise(u) && f->d->next[u->id] == u->id;
	if (!alone || w->n >= MAX_MEMBERS || u->grad != w->c->grad || !same_dims(&u->type, &w->c->type))
		return false;
	if (!operands_fit(w, u) || !place_fits(w, u))
		return false;
	w->set[w->n] = u->id;
	return !dag_cyclic(f->d, w->set, w->n + 1) && !hazard(f, w->set, w->n + 1);
}

/* Adds readers of members until none fits; the set stays in the graph's order. */
static void grow(Grow *w)
{
	for (bool more = true; more;) {
		more = false;
		for (int i = 0; i < w->n; i++) {
			Fusion *f = w->f;
			for (int k = f->first_user[w->set[i]]; k < f->first_user[w->set[i] + 1]; k++) {
				Value *u = f->g->vals.at[f->users[k]];
				if (in_set(w, u->id) || !could_follow(w, u))
					continue;
				w->n++;
				more = true;
			}
		}
	}
}

static bool read_in_set(const Grow *w, int id)
{
	const Fusion *f = w->f;
	for (int k = f->first_user[id]; k < f->first_user[id + 1]; k++)
		if (in_set(w, f->users[k]))
			return true;
	return false;
}

/* Is the value read outside the set, or by u alone inside it? */
static bool leaves_anyway(const Grow *w, const Value *o, int u)
{
	const Fusion *f = w->f;
	for (int k = f->first_user[o->id]; k < f->first_user[o->id + 1]; k++)
		if (f->users[k] != u && !in_set(w, f->users[k]))
			return true;
	return o->dest != NULL;
}

static bool rows_could(const Grow *w, const Value *u)
{
	const Fusion *f = w->f;
	if (u->dest)
		return false;
	for (int k = f->first_user[u->id]; k < f->first_user[u->id + 1]; k++) {
		const Value *r = f->g->vals.at[f->users[k]];
		if (!(is_elementwise(r) || (op_info[r->op].lower == LOWER_REDUCE && reduces_rows(r))))
			return false;
	}
	return true;
}

static bool gains_nothing(const Grow *w, const Value *u)
{
	if (read_in_set(w, u->id) || !rows_could(w, u))
		return false;
	for (int i = 0; i < u->nin; i++)
		if (in_set(w, u->in[i]->id) && !leaves_anyway(w, u->in[i], u->id))
			return false;
	return true;
}

static void prune(Grow *w)
{
	for (bool more = true; more;) {
		more = false;
		for (int i = w->n - 1; i > 0; i--) {
			if (!gains_nothing(w, w->f->g->vals.at[w->set[i]]))
				continue;
			memmove(&w->set[i], &w->set[i + 1], sizeof *w->set * (size_t)(--w->n - i));
			more = true;
		}
	}
}

static void sort_set(Grow *w)
{
	for (int i = 1; i < w->n; i++) {
		int v = w->set[i], at = i;
		for (; at > 0 && w->set[at - 1] > v; at--)
			w->set[at] = w->set[at - 1];
		w->set[at] = v;
	}
}

/* Joins in order; what can't be joined by itself leaves those that need it out too. */
static void join_set(Grow *w)
{
	int wanted[MAX_MEMBERS], n = w->n;
	memcpy(wanted, w->set, sizeof *wanted * (size_t)n);
	w->n = 1;
	for (int i = 1; i < n; i++) {
		Value *u = w->f->g->vals.at[wanted[i]];
		if (operands_fit(w, u) && join(w->f, w->c->id, u->id))
			w->set[w->n++] = u->id;
	}
}

void fuse_epilogues(Fusion *f)
{
	for (int i = 0; i < f->g->vals.len; i++) {
		Value *v = f->g->vals.at[i];
		if (v->op != OP_CONTRACT)
			continue;
		Grow w = { .f = f, .c = v, .set = { i }, .n = 1 };
		if (spec_parse(v->a.spec, &w.s))
			bug("contract \"%s\"", v->a.spec);
		grow(&w);
		prune(&w);
		sort_set(&w);
		join_set(&w);
	}
}
