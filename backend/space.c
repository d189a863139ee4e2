/* space.c: a cluster over its iteration space: which axes can be walked as one, where every operand lies, which
 * members differ along the vector axis. Values are computed in value.c.
 *
 * Axes of extent 1 go; neighbours merge where every Read continues from one into the other. */
#include "backend/space.h"

static Read *read_new(Space *sp, Value *v)
{
	Read *r = NEW(sp->g->arena_mem, Read);

	r->v = v;
	for (int i = 0; i < MAX_RANK; i++)
		r->stride[i] = dim_const(0);
	return r;
}

/* The one read of its value with its strides. */
static Read *read_add(Space *sp, Read *r)
{
	for (int i = 0; i < sp->reads.len; i++) {
		Read *old = sp->reads.at[i];
		if (old->v == r->v && !memcmp(old->stride, r->stride, sizeof r->stride))
			return old;
	}
	vec_push(sp->g->arena_mem, &sp->reads, r);
	return r;
}

/* Axis j of a shape of `rank` axes is axis j + (space's rank - rank) of the space. Those before its first have
 * extent 1. */
static void set_stride(Space *sp, Read *r, int j, int rank, const Dim *stride)
{
	int a = j + sp->c->space.rank - rank;
	if (a >= 0)
		r->stride[a] = stride;
}

static Read *read_memory(Space *sp, Value *v)
{
	const View *view = gen_view(sp->g, v);
	Read *r = read_new(sp, v);

	for (int j = 0; j < v->type.rank; j++)
		if (!dim_is(v->type.dim[j], 1))
			set_stride(sp, r, j, v->type.rank, view->stride[j]);
	return read_add(sp, r);
}

static Read *read_coordinate(Space *sp, const Value *v, int axis)
{
	Read *r = read_new(sp, NULL);

	if (!dim_is(v->type.dim[axis], 1))
		set_stride(sp, r, axis, v->type.rank, dim_const(1));
	return read_add(sp, r);
}

static Read *read_linear(Space *sp, const Value *v)
{
	Read *r = read_new(sp, NULL);
	const Dim *stride = dim_const(1);

	for (int j = v->type.rank - 1; j >= 0; j--) {
		if (!dim_is(v->type.dim[j], 1))
			set_stride(sp, r, j, v->type.rank, stride);
		stride = dim_mul(stride, v->type.dim[j]);
	}
	return read_add(sp, r);
}

/* The table's axes from 1 on are the result's last; ids' axes its first. */
static void read_gather(Space *sp, Node *n)
{
	Value *v = n->v, *table = v->in[0], *ids = v->in[1];
	const View *tv = gen_view(sp->g, table), *iv = gen_view(sp->g, ids);
	Read *row = read_new(sp, table), *at = read_new(sp, ids);

	for (int j = 1; j < table->type.rank; j++)
		if (!dim_is(table->type.dim[j], 1))
			set_stride(sp, row, ids->type.rank + j - 1, v->type.rank, tv->stride[j]);
	for (int j = 0; j < ids->type.rank; j++)
		if (!dim_is(ids->type.dim[j], 1))
			set_stride(sp, at, j, v->type.rank, iv->stride[j]);
	n->mem[0] = read_add(sp, row);
	n->mem[1] = read_add(sp, at);
}

static bool made_in_place(const Value *v) { return v->op == OP_CONST || v->op == OP_DIMVAL; }

/* A constant seen through views is the constant. */
static Value *constant_behind(Value *v)
{
	v = view_base(v);
	return made_in_place(v) ? v : NULL;
}

Node *space_node(Space *sp, const Value *v)
{
	for (int i = 0; i < sp->nodes.len; i++)
		if (sp->nodes.at[i]->v == v)
			return sp->nodes.at[i];
	return NULL;
}

static Node *node_new(Space *sp, Value *v)
{
	Node *n = NEW(sp->g->arena_mem, Node);

	n->v = v;
	vec_push(sp->g->arena_mem, &sp->nodes, n);
	return n;
}

static void node_operand(Space *sp, Node *n, int i)
{
	Value *x = n->v->in[i], *constant;

	if ((n->in[i] = space_node(sp, x)))
		return;
	if ((constant = constant_behind(x)))
		n->in[i] = space_node(sp, constant) ? space_node(sp, constant) : node_new(sp, constant);
	else
		n->mem[i] = read_memory(sp, x);
}

static bool reduces(const Value *v)
{
	const Type *t;

	if (!(op_info[v->op].flags & OPF_REDUCE))
		return false;
	t = &v->in[0]->type;
	for (int j = 0; j < t->rank; j++)
		if (v->a.axes >> j & 1 && !dim_is(t->dim[j], 1))
			return true;
	return false;
}

static void node_make(Space *sp, Value *v)
{
	Node *n = space_node(sp, v) ? space_node(sp, v) : node_new(sp, v);

	n->nin = v->nin;
	n->reduces = reduces(v);
	if (v->op == OP_GATHER) {
		read_gather(sp, n);
		return;
	}
	if (v->op == OP_IOTA || v->op == OP_PAD)
		n->index = read_coordinate(sp, v, v->a.axis);
	if (v->op == OP_RANDOM)
		n->index = read_linear(sp, v);
	for (int i = 0; i < v->nin; i++)
		node_operand(sp, n, i);
}

static void drop_axis(Space *sp, int a)
{
	sp->n--;
	for (int k = a; k < sp->n; k++) {
		sp->extent[k] = sp->extent[k + 1];
		sp->first[k] = sp->first[k + 1];
		for (int i = 0; i < sp->reads.len; i++)
			sp->reads.at[i]->stride[k] = sp->reads.at[i]->stride[k + 1];
	}
}

static bool continues(const Space *sp, int a)
{
	for (int i = 0; i < sp->reads.len; i++) {
		const Read *r = sp->reads.at[i];
		if (r->stride[a] != dim_mul(r->stride[a + 1], sp->extent[a + 1]))
			return false;
	}
	return true;
}

static bool barrier(const Space *sp, int a, uint32_t apart)
{
	for (int k = sp->first[a]; k < sp->first[a + 1]; k++)
		if (apart >> k & 1)
			return true;
	return false;
}

/* Axis a + 1 becomes the merged one (its strides are the inner ones); a goes. */
static void merge(Space *sp, uint32_t apart)
{
	for (int a = sp->n - 1; a >= 0; a--)
		if (dim_is(sp->extent[a], 1) && sp->n > 1)
			drop_axis(sp, a);
	for (int a = sp->n - 2; a >= 0; a--)
		if (!barrier(sp, a, apart) && continues(sp, a)) {
			sp->extent[a + 1] = dim_mul(sp->extent[a], sp->extent[a + 1]);
			sp->first[a + 1] = sp->first[a];
			drop_axis(sp, a);
		}
}

int64_t space_bound(Space *sp, const Dim *d)
{
	Graph g = { .name = "", .syms = { (Sym *)sp->g->syms, sp->g->nsyms, sp->g->nsyms } };
	int64_t bound;

	if (!graph_bound(&g, d, &bound))
		bug("no bound for extent %s", dim_text(d));
	return bound;
}

/* What a vector along axis a is loaded or stored for at once, not lane by lane. */
static int together(const Space *sp, int a)
{
	int n = 0;

	for (int i = 0; i < sp->reads.len; i++)
		n += dim_is(sp->reads.at[i]->stride[a], 0) || dim_is(sp->reads.at[i]->stride[a], 1);
	return n;
}

/* Arithmetic that takes longer than going to memory lane by lane. */
static bool computes_much(const Space *sp)
{
	for (int i = 0; i < sp->nodes.len; i++)
		if (space_transcendental(sp->nodes.at[i]->v->op))
			return true;
	return false;
}

/* The last axis, unless it is too short to fill vectors, another is longer and no worse to walk, and nothing is reduced along it. */
static int choose_vector_axis(Space *sp, bool may_choose)
{
	int last = sp->n - 1, best = last;
	bool much = computes_much(sp);

	if (!may_choose || space_bound(sp, sp->extent[best]) > 4)
		return best;
	for (int a = last - 1; a >= 0; a--)
		if (space_bound(sp, sp->extent[a]) > space_bound(sp, sp->extent[best]) && (much || together(sp, a) >= together(sp, last)))
			best = a;
	return best;
}

static bool differs(const Space *sp, const Read *r)
{
	return r && !dim_is(r->stride[sp->vax], 0);
}

/* Merged axes a reduction goes along. */
static uint32_t reduced_axes(const Space *sp, const Value *v)
{
	const Type *t = &v->in[0]->type;
	uint32_t mask = 0;

	for (int j = 0; j < t->rank; j++) {
		int k = j + sp->c->space.rank - t->rank;
		if (!(v->a.axes >> j & 1) || dim_is(t->dim[j], 1))
			continue;
		for (int a = 0; a < sp->n; a++)
			if (sp->first[a] <= k && (a == sp->n - 1 || k < sp->first[a + 1]))
				mask |= 1u << a;
	}
	return mask;
}

/* In graph order, so operands come first; constants made in place are narrow and of level 0 as they are. */
static void classify(Space *sp, Node *n)
{
	n->wide = differs(sp, n->index);
	for (int i = 0; i < n->nin; i++) {
		n->wide |= differs(sp, n->mem[i]) || (n->in[i] && n->in[i]->wide);
		if (n->in[i])
			n->level = MAX(n->level, n->in[i]->level);
	}
	n->level += n->reduces;
	if (n->reduces) {
		uint32_t along = reduced_axes(sp, n->v);
		sp->reduced |= along;
		n->wide &= !(along >> sp->vax & 1);
	}
}

Space *space_make(Gen *g, const Cluster *c, uint32_t apart)
{
	Space *sp = NEW(g->arena_mem, Space);
	bool reducing = false;

	sp->g = g;
	sp->c = c;
	for (int i = 0; i < c->vals.len; i++) {
		node_make(sp, c->vals.at[i]);
		reducing |= space_node(sp, c->vals.at[i])->reduces;
	}
	for (int i = 0; i < c->outs.len; i++)
		space_node(sp, c->outs.at[i])->out = read_memory(sp, c->outs.at[i]);
	sp->n = c->space.rank;
	for (int a = 0; a < sp->n; a++) {
		sp->extent[a] = c->space.dim[a];
		sp->first[a] = a;
	}
	if (!sp->n)
		sp->extent[sp->n++] = dim_const(1);
	merge(sp, apart);
	sp->vax = choose_vector_axis(sp, !reducing);
	for (int i = 0; i < c->vals.len; i++)
		classify(sp, space_node(sp, c->vals.at[i]));
	return sp;
}
