/* fuse.c: which values are computed by one kernel (docs/ir.md, "Kernels"). Nothing but numbers is given: Value.kernel.
 *
 * Three rounds, each on what the ones before left: what follows a contraction element by element joins it;
 * reductions over leading axes take what is computed for them alone; everything else grows into kernels that
 * go row by row. A join is made only if kernels stay without cycles (dag.c). Values that are cheaper computed
 * than read (R_FREE) belong to no kernel during this: every kernel that reads one gets a clone at the end. */
#include "passes/fuse.h"

bool is_elementwise(const Value *v)
{
	return op_info[v->op].flags & OPF_ELEMENTWISE;
}

int row_axis(const Type *t)
{
	int i = t->rank - 1;
	while (i > 0 && dim_is(t->dim[i], 1))
		i--;
	return MAX(i, 0);
}

static uint32_t row_mask(const Type *t)
{
	return t->rank ? 1u << row_axis(t) : 0;
}

/* Over its operand's row axis alone? */
static bool reduces_rows(const Value *v)
{
	const Type *t = &v->in[0]->type;
	uint32_t axes = 0;
	for (int i = 0; i < t->rank; i++)
		if (v->a.axes >> i & 1 && !dim_is(t->dim[i], 1))
			axes |= 1u << i;
	return !(axes & ~row_mask(t));
}

bool member_of(Fusion *f, const Value *v, int rep)
{
	return f->role[v->id] == R_MEMBER && dag_rep(f->d, v->id) == rep;
}

bool leaves(Fusion *f, const Value *v)
{
	int rep = dag_rep(f->d, v->id);
	if (v->dest)
		return true;
	for (int i = f->first_user[v->id]; i < f->first_user[v->id + 1]; i++)
		if (!member_of(f, f->g->vals.at[f->users[i]], rep))
			return true;
	return false;
}

int members_of(Fusion *f, int rep, int *out)
{
	int n = 0, node = rep;
	do {
		int at = n++;
		for (; at > 0 && out[at - 1] > node; at--)
			out[at] = out[at - 1];
		out[at] = node;
		node = f->d->next[node];
	} while (node != rep && n <= MAX_MEMBERS);
	return n;
}

bool join(Fusion *f, int a, int b)
{
	a = dag_rep(f->d, a);
	b = dag_rep(f->d, b);
	if (a == b)
		return true;
	Group first = f->group[a];
	first.n += f->group[b].n;
	if (!dag_join(f->d, a, b))
		return false;
	f->group[dag_rep(f->d, a)] = first;
	return true;
}

/* The state that v is computed into, by a store that made no copy. */
static Value *stored_to(Fusion *f, const Value *v)
{
	for (int i = f->first_user[v->id]; i < f->first_user[v->id + 1]; i++) {
		Value *u = f->g->vals.at[f->users[i]];
		if (u->op == OP_STORE && u->in[1] == v)
			return u->in[0];
		if (op_info[u->op].flags & OPF_VIEW || (u->op == OP_SCATTER_ADD && u->in[0] == v)) {
			Value *t = stored_to(f, u);
			if (t)
				return t;
		}
	}
	return NULL;
}

/* Element by element where it is written: the same elements in the same order, read by a value of that many. */
static bool reads_in_place(const Value *reader, Value *operand, const Value *target)
{
	View w;
	if (!view_of(operand, &w) || w.root != target)
		return true;
	return is_elementwise(reader) && view_contiguous(&w, operand->type) && dim_is(w.offset, 0) &&
	       type_elems(operand->type) == type_elems(target->type) && type_elems(reader->type) == type_elems(target->type);
}

static bool all_in_place(Fusion *f, const int *members, int n, const Value *target)
{
	for (int i = 0; i < n; i++) {
		const Value *v = f->g->vals.at[members[i]];
		for (int k = 0; k < v->nin; k++)
			if (!reads_in_place(v, v->in[k], target))
				return false;
	}
	return true;
}

Value *overwritten_by(Fusion *f, const Value *v)
{
	return v->dest && v->dest->op == OP_WRITE ? store_target(v->dest) : stored_to(f, v);
}

bool hazard(Fusion *f, const int *members, int n)
{
	for (int i = 0; i < n; i++) {
		const Value *target = overwritten_by(f, f->g->vals.at[members[i]]);
		if (target && !all_in_place(f, members, n, target))
			return true;
	}
	return false;
}

/* Roles */

enum { FREE_DEPTH = 4 };

static bool runs_in_kernels(const Value *v)
{
	Lower l = op_info[v->op].lower;
	return l == LOWER_ELEM || l == LOWER_REDUCE || l == LOWER_GATHER;
}

/* Ops of a few instructions: doing them again costs less than a pass through memory. */
static bool light(Op op)
{
	switch (op) {
	case OP_NEG: case OP_ABS: case OP_NOT: case OP_TO_F32: case OP_TO_I32: case OP_TO_BF16: case OP_TO_F16: case OP_TO_I8: case OP_ADD: case OP_SUB: case OP_MUL:
	case OP_MAX: case OP_MIN: case OP_EQ: case OP_NE: case OP_LT: case OP_LE: case OP_AND: case OP_OR: case OP_SELECT:
	case OP_STOP:
		return true;
	default:
		return false;
	}
}

/* In memory throughout the call, and not overwritten (marked by mark_overwritten). */
static bool stays(Value *v)
{
	View w;
	const Value *root = view_root(v);
	if (root->mark || (root->op != OP_PARAM && root->op != OP_STATE && root->op != OP_INPUT))
		return false;
	return view_of(v, &w);
}

static void mark_overwritten(Graph *g)
{
	for (int i = 0; i < g->vals.len; i++)
		g->vals.at[i]->mark = NULL;
	for (int i = 0; i < g->vals.len; i++) {
		Value *v = g->vals.at[i];
		if (v->op == OP_STORE || v->op == OP_WRITE)
			store_target(v->in[0])->mark = g;
	}
}

/* Ops needed to compute v from what stays in memory; more than FREE_DEPTH: too much, or impossible. */
static int free_cost(const Value *v)
{
	int n = 1;
	if (op_info[v->op].flags & OPF_CHEAP)
		return v->op == OP_RANDOM && !stays(v->in[0]) ? FREE_DEPTH + 1 : v->op == OP_RANDOM;
	if (!light(v->op))
		return FREE_DEPTH + 1;
	for (int i = 0; i < v->nin && n <= FREE_DEPTH; i++)
		n += stays(v->in[i]) ? 0 : free_cost(v->in[i]);
	return n;
}

/* Every reader is a member of a kernel or free itself. */
static bool read_by_members(Fusion *f, const Value *v)
{
	if (v->dest || f->first_user[v->id] == f->first_user[v->id + 1])
		return false;
	for (int i = f->first_user[v->id]; i < f->first_user[v->id + 1]; i++) {
		const Value *u = f->g->vals.at[f->users[i]];
		if (!is_elementwise(u) && op_info[u->op].lower != LOWER_REDUCE)
			return false;
	}
	return true;
}

static Role role_of(Fusion *f, const Value *v)
{
	if (op_info[v->op].lower == LOWER_NONE)
		return R_NONE;
	if (!runs_in_kernels(v))
		return R_MEMBER;
	bool cheap = op_info[v->op].flags & OPF_CHEAP;
	return (cheap || is_elementwise(v)) && free_cost(v) <= FREE_DEPTH && read_by_members(f, v) ? R_FREE : R_MEMBER;
}

static void index_users(Fusion *f)
{
	Graph *g = f->g;
	int n = g->vals.len, total = 0;
	f->first_user = NEW_ARRAY(g->arena, int, n + 2);
	for (int i = 0; i < n; i++)
		total += g->vals.at[i]->nin;
	f->users = NEW_ARRAY(g->arena, int, total + 1);
	for (int i = 0; i < n; i++)
		for (int k = 0; k < g->vals.at[i]->nin; k++)
			f->first_user[g->vals.at[i]->in[k]->id + 2]++;
	for (int i = 2; i < n + 2; i++)
		f->first_user[i] += f->first_user[i - 1];
	for (int i = 0; i < n; i++)
		for (int k = 0; k < g->vals.at[i]->nin; k++)
			f->users[f->first_user[g->vals.at[i]->in[k]->id + 1]++] = i;
}

static KernelKind first_kind(const Value *v)
{
	switch (op_info[v->op].lower) {
	case LOWER_CONTRACT: return K_CONTRACT;
	case LOWER_PACK: return K_PACK;
	case LOWER_SCATTER: return K_SCATTER;
	case LOWER_NONZERO: return K_NONZERO;
	case LOWER_FLASH: return K_FLASH;
	case LOWER_REDUCE: return reduces_rows(v) ? K_ROWS : K_COLS;
	default: return K_ROWS;
	}
}

static Fusion fusion_new(Graph *g)
{
	Fusion f = { .g = g, .d = dag_new(g) };
	int n = g->vals.len;
	f.role = NEW_ARRAY(g->arena, Role, n);
	f.group = NEW_ARRAY(g->arena, Group, n);
	f.stored = NEW_ARRAY(g->arena, bool, n);
	index_users(&f);
	mark_overwritten(g);
	for (int i = 0; i < n; i++) {
		Value *v = g->vals.at[i];
		f.role[i] = role_of(&f, v);
		KernelKind k = first_kind(v);
		f.group[i] = (Group){ .kind = k, .n = 1, .anchor = k == K_ROWS ? NULL : v };
		f.group[i].space = op_info[v->op].lower == LOWER_REDUCE ? v->in[0]->type : v->type;
	}
	return f;
}

/* Numbers and clones */

typedef struct Clones {
	Fusion *f;
	Value ***operands;        /* of each value, as they were before clones took their place */
	int rep, kernel;
	const Type *space;        /* of a contraction: its epilogue's clones have the full shape */
	Vec(Value *) from, to;    /* made for the current kernel */
} Clones;

static Value *clone_once(Clones *c, Value *v);

/* Is v computed again in the kernel of these clones, which is not its own? */
static bool is_cloned(const Clones *c, const Value *v)
{
	const Fusion *f = c->f;
	if (f->role[v->id] != R_MEMBER)
		return f->role[v->id] == R_FREE;
	return !f->stored[v->id] && dag_rep(f->d, v->id) != c->rep;
}

static Value *clone(Clones *c, Value *v)
{
	Graph *g = c->f->g;
	Builder b = { .g = g, .loc = v->loc, .path = v->path, .grad = v->grad };
	Value *in[3];
	for (int i = 0; i < v->nin; i++) {
		Value *o = c->operands[v->id][i];
		in[i] = is_cloned(c, o) ? clone_once(c, o) : o->repl;
	}
	Value *r = c->space ? free_for_epilogue(&b, v, in, c->space)
	                    : build(&b, v->op, in, v->nin, &v->a, op_type_given(v->op) ? &v->type : NULL);
	r->kernel = c->kernel;
	r->repl = r;
	return r;
}

/* The clone of v in the kernel; one for all its readers there. */
static Value *clone_once(Clones *c, Value *v)
{
	for (int i = 0; i < c->from.len; i++)
		if (c->from.at[i] == v)
			return c->to.at[i];
	Value *r = clone(c, v);
	vec_push(c->f->g->arena, &c->from, v);
	vec_push(c->f->g->arena, &c->to, r);
	return r;
}

static void number_kernels(Fusion *f, int *number)
{
	int next = 1;
	for (int i = 0; i < f->d->n; i++) {
		int rep = f->d->at[i];
		if (rep >= 0 && f->role[rep] == R_MEMBER)
			number[rep] = next++;
	}
}

/* Rebuilds the list with each kernel's free operands in front of its members. */
static void finish(Fusion *f)
{
	Graph *g = f->g;
	int *number = NEW_ARRAY(g->arena, int, g->vals.len);
	number_kernels(f, number);
	Clones *per = NEW_ARRAY(g->arena, Clones, g->vals.len);
	Value ***operands = NEW_ARRAY(g->arena, Value **, g->vals.len);
	ValueList old = graph_take(g);
	for (int i = 0; i < old.len; i++) {
		Value *v = old.at[i];
		operands[i] = v->in;
		if (f->role[i] == R_FREE)
			continue;
		v->in = NEW_ARRAY(g->arena, Value *, v->nin);
		int rep = dag_rep(f->d, i);
		Clones *c = &per[rep];
		c->f = f;
		c->operands = operands;
		c->rep = rep;
		c->kernel = number[rep];
		c->space = f->group[rep].kind == K_CONTRACT ? &f->group[rep].anchor->type : NULL;
		for (int k = 0; k < v->nin; k++)
			v->in[k] = is_cloned(c, operands[i][k]) ? clone_once(c, operands[i][k]) : operands[i][k];
		v->kernel = f->role[i] == R_MEMBER ? number[rep] : 0;
		graph_keep(g, v);
	}
}

void fuse(Graph *g)
{
	Fusion f = fusion_new(g);
	if (part_runs(g, PART_epilogues))
		fuse_epilogues(&f);
	fuse_flash(&f);
	if (part_runs(g, PART_cols))
		fuse_cols(&f);
	if (part_runs(g, PART_rows))
		fuse_rows(&f);
	fuse_recompute(&f);
	finish(&f);
	dce(g);
	graph_number(g);
}
