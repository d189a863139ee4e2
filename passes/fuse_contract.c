/* fuse_contract.c: epilogues. What follows a contraction element by element, in its result's shape, is computed
 * before the result leaves the registers.
 *
 * First the largest set that could follow is found, with what is computed for it alone; then those ends are cut off
 * that rows and cols kernels can compute and without which fewer tensors are written. */
#include "passes/fuse.h"

typedef struct Grow {
	Fusion *f;
	Value *c;              /* the contraction */
	Spec s;
	int set[MAX_MEMBERS + 2];  /* in order, the contraction first */
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
	return type_broadcast(*x, bare, &t) && type_same_dims(&t, r);
}

static bool reads_memory(const Grow *w, Value *x)
{
	View view;
	if (x == w->c->in[0] || x == w->c->in[1])   /* read as a contraction's operand, not by place */
		return false;
	if (!fits_result(&x->type, &w->c->type) || !view_of(x, &view))
		return false;
	return uniform(w, x, &view, 0) && uniform(w, x, &view, 1);
}

/* Lanes go along n: an index that counts along one of several of its axes is no arithmetic sequence there. */
static bool counts_evenly(const Grow *w, const Value *iota)
{
	const Type *r = &w->c->type;
	int axis = iota->a.axis + r->rank - iota->type.rank, several = 0;
	if (axis < 0 || !in_group(&w->s, 1, w->s.at[2][axis]))
		return true;
	for (int i = 0; i < r->rank; i++)
		several += in_group(&w->s, 1, w->s.at[2][i]) && !dim_is(r->dim[i], 1);
	return several == 1;
}

/* Clones of the free x: constants and run-time extents as scalars for members, of the full shape below clones. */
static bool reads_free(const Grow *w, Value *x, bool below)
{
	switch (x->op) {
	case OP_CONST: return true;
	case OP_IOTA:
		return x->type.rank <= w->c->type.rank && fits_result(&x->type, &w->c->type) && counts_evenly(w, x);
	case OP_DIMVAL: return true;
	case OP_RANDOM: return type_same_dims(&x->type, &w->c->type) && reads_memory(w, x->in[0]);
	default: break;
	}
	bool wide = false;
	for (int i = 0; i < x->nin; i++) {
		Value *o = x->in[i];
		bool is_free = w->f->role[o->id] == R_FREE;
		if (!(is_free ? reads_free(w, o, true) : reads_memory(w, o)))
			return false;
		wide |= is_free ? o->op != OP_DIMVAL : type_same_dims(&o->type, &w->c->type);
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

static bool operand_fits(const Grow *w, Value *o)
{
	return in_set(w, o->id) || (w->f->role[o->id] == R_FREE ? reads_free(w, o, false) : reads_memory(w, o));
}

static bool operands_fit(const Grow *w, const Value *u)
{
	for (int i = 0; i < u->nin; i++)
		if (!operand_fits(w, u->in[i]))
			return false;
	return true;
}

/* What is placed must be walkable as the result is. */
static bool place_fits(const Grow *w, Value *u)
{
	return !u->dest || reads_memory(w, u);
}

/* An elementwise op in no kernel yet, of the result's shape and the same direction of the computation. */
static bool candidate(const Grow *w, const Value *u)
{
	const Fusion *f = w->f;
	return f->role[u->id] == R_MEMBER && is_elementwise(u) && f->d->next[u->id] == u->id && w->n < MAX_MEMBERS &&
	       u->grad == w->c->grad && type_same_dims(&u->type, &w->c->type) && !in_set(w, u->id);
}

static bool no_harm(Grow *w)
{
	return w->n <= MAX_MEMBERS && !dag_cyclic(w->f->d, w->set, w->n) && !hazard(w->f, w->set, w->n);
}

/* Operands of u that are computed for it alone come along; the set is as before where that does not work out. */
static void take_producers(Grow *w, const Value *u)
{
	for (int i = 0; i < u->nin; i++) {
		Value *o = u->in[i];
		int before = w->n;
		if (!candidate(w, o) || o->dest || w->f->first_user[o->id + 1] - w->f->first_user[o->id] != 1 || !operands_fit(w, o))
			continue;
		w->set[w->n++] = o->id;
		if (no_harm(w))
			take_producers(w, o);
		else
			w->n = before;
	}
}

/* Is u for the epilogue of a later contraction, whose result it reads too? In this one's it would hold up what else reads this result:
 * of sums of many products each would wait for the last. */
static bool for_later(const Grow *w, const Value *u)
{
	for (int i = 0; i < u->nin; i++) {
		const Value *o = u->in[i];
		if (o->op == OP_CONTRACT && o->id > w->c->id && o->grad == u->grad && type_same_dims(&o->type, &u->type))
			return true;
	}
	return false;
}

/* Adds u with its producers if that can be one kernel. */
static bool take(Grow *w, Value *u)
{
	if (!candidate(w, u) || for_later(w, u) || !operands_fit(w, u) || !place_fits(w, u))
		return false;
	w->set[w->n++] = u->id;
	if (!no_harm(w)) {
		w->n--;
		return false;
	}
	take_producers(w, u);
	return true;
}

static void grow(Grow *w)
{
	const Fusion *f = w->f;
	for (bool more = true; more;) {
		more = false;
		for (int i = 0; i < w->n; i++)
			for (int k = f->first_user[w->set[i]]; k < f->first_user[w->set[i] + 1]; k++)
				more |= take(w, f->g->vals.at[f->users[k]]);
	}
}

/* Tensors that the members not in `cut` write. */
static int outputs(const Grow *w, const bool *cut)
{
	const Fusion *f = w->f;
	int n = 0;
	for (int i = 0; i < w->n; i++) {
		bool out = f->g->vals.at[w->set[i]]->dest != NULL;
		for (int k = f->first_user[w->set[i]]; k < f->first_user[w->set[i] + 1] && !cut[i]; k++) {
			int at = 0;
			while (at < w->n && w->set[at] != f->users[k])
				at++;
			out |= at == w->n || cut[at];
		}
		n += out && !cut[i];
	}
	return n;
}

/* Marks u and all members that need it; false if one of them is read by what is no elementwise op or reduction. */
static bool cut_from(const Grow *w, int u, bool *cut)
{
	const Fusion *f = w->f;
	const Value *v = f->g->vals.at[w->set[u]];
	cut[u] = true;
	if (v->dest)
		return false;
	for (int k = f->first_user[v->id]; k < f->first_user[v->id + 1]; k++) {
		const Value *r = f->g->vals.at[f->users[k]];
		if (!is_elementwise(r) && op_info[r->op].lower != LOWER_REDUCE)
			return false;
		for (int i = 0; i < w->n; i++)
			if (w->set[i] == r->id && !cut[i] && !cut_from(w, i, cut))
				return false;
	}
	return true;
}

static void drop(Grow *w, const bool *cut)
{
	int n = 0;
	for (int i = 0; i < w->n; i++)
		if (!cut[i])
			w->set[n++] = w->set[i];
	w->n = n;
}

/* Leaves to rows and cols kernels what makes this one write more tensors than without it. */
static void prune(Grow *w)
{
	static const bool none[MAX_MEMBERS + 2];
	for (int u = 1; u < w->n; u++) {
		bool cut[MAX_MEMBERS + 2] = {0};
		if (!cut_from(w, u, cut) || outputs(w, cut) >= outputs(w, none))
			continue;
		drop(w, cut);
		u = 0;
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
	int wanted[MAX_MEMBERS + 2], n = w->n;
	memcpy(wanted, w->set, sizeof *wanted * (size_t)n);
	w->n = 1;
	for (int i = 1; i < n; i++) {
		Value *u = w->f->g->vals.at[wanted[i]];
		if (operands_fit(w, u) && join(w->f, w->c->id, u->id))
			w->set[w->n++] = u->id;
	}
}

bool epilogue_reads(Fusion *f, Value *contract, Value *operand)
{
	Grow w = { .f = f, .c = contract };
	if (spec_parse(contract->a.spec, &w.s))
		bug("contract \"%s\"", contract->a.spec);
	return f->role[operand->id] == R_FREE ? reads_free(&w, operand, true) : reads_memory(&w, operand);
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
