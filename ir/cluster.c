/* cluster.c: kernels as fuse has marked them (Value.kernel), gathered, put in an order in which they can run,
 * and checked against docs/ir.md "Kernels". The same check serves fuse (may these values be one kernel?) and
 * the backend (is what I was given lowerable?). */
#include "ir/ir.h"

const char *const kernel_kind_name[K_COUNT] = {
	[K_ROWS] = "rows", [K_COLS] = "cols", [K_CONTRACT] = "contract", [K_SCATTER] = "scatter", [K_PACK] = "pack",
	[K_NONZERO] = "nonzero", [K_FLASH] = "flash",
};

static Lower lower(const Value *v) { return op_info[v->op].lower; }

static bool in_cluster(const Cluster *c, const Value *v) { return v->kernel == c->id; }

/* Gathering */

static void widen(Type *space, Type t)
{
	Type wide;
	if (type_broadcast(*space, t, &wide))
		*space = wide;
}

static int last_wide_axis(Type t)
{
	int i = t.rank - 1;
	while (i >= 0 && dim_is(t.dim[i], 1))
		i--;
	return i;
}

/* The axes a reduction really reduces, as axes of the space. */
static uint32_t reduced_axes(const Value *v, Type space)
{
	Type t = v->in[0]->type;
	uint32_t mask = 0;
	for (int i = 0; i < t.rank; i++)
		if (v->a.axes >> i & 1 && !dim_is(t.dim[i], 1))
			mask |= 1u << (i + space.rank - t.rank);
	return mask;
}

static uint32_t last_axis_mask(Type space)
{
	int last = last_wide_axis(space);
	return last < 0 ? 0 : 1u << last;
}

static void set_kind(Cluster *c)
{
	for (int i = 0; i < c->vals.len; i++) {
		Value *v = c->vals.at[i];
		Lower l = lower(v);
		static const KernelKind kinds[] = {
			[LOWER_CONTRACT] = K_CONTRACT, [LOWER_PACK] = K_PACK, [LOWER_SCATTER] = K_SCATTER, [LOWER_NONZERO] = K_NONZERO,
			[LOWER_FLASH] = K_FLASH,
		};
		KernelKind kind = (int)l < COUNT(kinds) ? kinds[l] : K_ROWS;
		if (kind != K_ROWS && !c->anchor) {
			c->kind = kind;
			c->anchor = v;
			c->space = v->type;
		}
	}
	if (c->anchor)
		return;
	Type space = type_scalar(DT_F32);
	for (int i = 0; i < c->vals.len; i++) {
		Value *v = c->vals.at[i];
		widen(&space, lower(v) == LOWER_REDUCE ? v->in[0]->type : v->type);
	}
	c->space = space;
	for (int i = 0; i < c->vals.len; i++) {
		Value *v = c->vals.at[i];
		uint32_t axes = lower(v) == LOWER_REDUCE ? reduced_axes(v, space) : 0;
		if (axes && axes != last_axis_mask(space)) {
			c->kind = K_COLS;
			c->anchor = v;
			c->space = v->in[0]->type;
			return;
		}
	}
}

static void add_once(Arena *a, ValueList *l, Value *v)
{
	for (int i = 0; i < l->len; i++)
		if (l->at[i] == v)
			return;
	vec_push(a, l, v);
}

static Cluster *find_cluster(const ClusterList *all, int id)
{
	for (int i = all->len - 1; i >= 0; i--)
		if (all->at[i]->id == id)
			return all->at[i];
	return NULL;
}

static ClusterList gather(Arena *a, Graph *g)
{
	ClusterList all = {0};
	int most = 0;
	for (int i = 0; i < g->vals.len; i++)
		most = MAX(most, g->vals.at[i]->kernel);
	Cluster **by_id = most <= 4 * g->vals.len + 1024 ? NEW_ARRAY(a, Cluster *, most + 1) : NULL;
	for (int i = 0; i < g->vals.len; i++) {
		Value *v = g->vals.at[i];
		if (!v->kernel)
			continue;
		Cluster *c = by_id ? by_id[v->kernel] : find_cluster(&all, v->kernel);
		if (!c) {
			c = NEW(a, Cluster);
			c->id = v->kernel;
			vec_push(a, &all, c);
			if (by_id)
				by_id[v->kernel] = c;
		}
		vec_push(a, &c->vals, v);
	}
	return all;
}

static void set_ins(Arena *a, Cluster *c)
{
	for (int i = 0; i < c->vals.len; i++)
		for (int j = 0; j < c->vals.at[i]->nin; j++)
			if (!in_cluster(c, c->vals.at[i]->in[j]))
				add_once(a, &c->ins, c->vals.at[i]->in[j]);
}

/* Members that a value outside reads, or that are placed. */
static void set_outs(Arena *a, const Graph *g, const ClusterList *all)
{
	Arena *scratch = arena_new();
	ValueMap *leaves = vmap_new(scratch);
	for (int i = 0; i < g->vals.len; i++) {
		Value *v = g->vals.at[i];
		if (v->dest)
			vmap_put(leaves, v, 1);
		for (int j = 0; j < v->nin; j++)
			if (v->in[j]->kernel != v->kernel)
				vmap_put(leaves, v->in[j], 1);
	}
	for (int k = 0; k < all->len; k++) {
		Cluster *c = all->at[k];
		for (int i = 0; i < c->vals.len; i++)
			if (vmap_get(leaves, c->vals.at[i]) == 1)
				vec_push(a, &c->outs, c->vals.at[i]);
	}
	arena_free(scratch);
}

/* Order: depth first from the kernels in order of their first member, what a kernel reads before it. */

typedef struct Sorter {
	Arena *arena, *scratch;
	ClusterList all, sorted;
	ValueMap *owner;           /* of members: index in all */
	ValueMap *walked;          /* values of no kernel, done with */
	enum { NEW_, OPEN_, PLACED_ } *state;   /* by index in all */
	const Cluster *cycle[2];
} Sorter;

static void visit(Sorter *s, int k);

/* The kernels behind v, through values that are no kernel's. */
static void visit_value(Sorter *s, const Value *v, const Cluster *reader)
{
	int k = vmap_get(s->owner, v);
	if (k >= 0) {
		if (s->state[k] == OPEN_ && s->cycle[0] == s->cycle[1]) {
			s->cycle[0] = reader;
			s->cycle[1] = s->all.at[k];
		}
		if (s->state[k] == NEW_)
			visit(s, k);
		return;
	}
	if (vmap_get(s->walked, v) >= 0)
		return;
	for (int i = 0; i < v->nin; i++)
		visit_value(s, v->in[i], reader);
	vmap_put(s->walked, v, 1);
}

static void visit(Sorter *s, int k)
{
	Cluster *c = s->all.at[k];
	s->state[k] = OPEN_;
	for (int i = 0; i < c->ins.len; i++)
		visit_value(s, c->ins.at[i], c);
	s->state[k] = PLACED_;
	vec_push(s->arena, &s->sorted, c);
}

static Sorter sort(Arena *a, Graph *g)
{
	Sorter s = {.arena = a, .scratch = arena_new(), .all = gather(a, g)};
	s.owner = vmap_new(s.scratch);
	s.walked = vmap_new(s.scratch);
	s.state = arena_alloc(s.scratch, sizeof *s.state * (size_t)(s.all.len + 1));
	for (int k = 0; k < s.all.len; k++) {
		Cluster *c = s.all.at[k];
		set_kind(c);
		set_ins(a, c);
		for (int i = 0; i < c->vals.len; i++)
			vmap_put(s.owner, c->vals.at[i], k);
	}
	set_outs(a, g, &s.all);
	for (int k = 0; k < s.all.len; k++)
		if (s.state[k] == NEW_)
			visit(&s, k);
	arena_free(s.scratch);
	return s;
}

ClusterList clusters_in(Arena *a, Graph *g)
{
	Sorter s = sort(a, g);
	if (s.cycle[0] != s.cycle[1])   /* one that needs itself is for cluster_illegal() to say */
		bug("%s: kernels %d and %d need each other", g->name, s.cycle[0]->id, s.cycle[1]->id);
	return s.sorted;
}

ClusterList clusters_of(Graph *g) { return clusters_in(g->arena, g); }

bool clusters_cycle(Graph *g, int *a, int *b)
{
	Arena *scratch = arena_new();
	Sorter s = sort(scratch, g);
	bool found = s.cycle[0] != NULL;
	if (found) {
		*a = s.cycle[0]->id;
		*b = s.cycle[1]->id;
	}
	arena_free(scratch);
	return found;
}

/* Legality. Shapes are compared with the space right-aligned. */

/* The extent of t along axis i of the space; 1 where t has no such axis. */
static const Dim *along(Type t, Type space, int i)
{
	int at = i - (space.rank - t.rank);
	return at < 0 ? dim_const(1) : t.dim[at];
}

static bool broadcasts(Type t, Type space)
{
	for (int i = 0; i < t.rank - space.rank; i++)
		if (!dim_is(t.dim[i], 1))
			return false;
	for (int i = 0; i < space.rank; i++) {
		const Dim *d = along(t, space, i);
		if (d != space.dim[i] && !dim_is(d, 1))
			return false;
	}
	return true;
}

/* The same extents, leading ones aside. */
static bool covers(Type t, Type space)
{
	if (!broadcasts(t, space))
		return false;
	for (int i = 0; i < space.rank; i++)
		if (along(t, space, i) != space.dim[i])
			return false;
	return true;
}

static const char *why(const Value *v, const char *text)
{
	Str s = {0};
	type_print(&s, v->type);
	const char *out = internf("%s %s %s", op_info[v->op].text, s.at, text);
	str_free(&s);
	return out;
}

static bool reads_member(const Cluster *c, const Value *v)
{
	if (v->kernel)
		return in_cluster(c, v);
	for (int i = 0; i < v->nin; i++)
		if (reads_member(c, v->in[i]))
			return true;
	return false;
}

static const char *bad_ins(const Cluster *c)
{
	View w;
	for (int i = 0; i < c->ins.len; i++) {
		Value *v = c->ins.at[i];
		if (v->type.dt == DT_NONE || !view_of(v, &w))
			return why(v, "is read and has no place in memory");
		bool view = op_info[v->op].flags & OPF_VIEW || v->op == OP_CONCAT || v->op == OP_WRITE;
		if (view && reads_member(c, v))
			return why(v, "shows the kernel's own result through memory");
	}
	return NULL;
}

/* Operands that must come from memory. */
static const char *bad_memory_operands(const Cluster *c, const Value *v)
{
	bool indexed = lower(v) == LOWER_GATHER || v->op == OP_PAD;
	for (int i = 0; indexed && i < v->nin; i++)
		if (in_cluster(c, v->in[i]))
			return why(v, "needs its operands in memory");
	return NULL;
}

static bool generic_member(const Value *v)
{
	Lower l = lower(v);
	return l == LOWER_ELEM || l == LOWER_REDUCE || l == LOWER_GATHER;
}

static const char *illegal_rows(const Cluster *c)
{
	Type outer = c->space;
	int last = last_wide_axis(c->space);
	if (last >= 0)
		outer.dim[last] = dim_const(1);
	for (int i = 0; i < c->vals.len; i++) {
		Value *v = c->vals.at[i];
		if (!generic_member(v))
			return why(v, "cannot be computed in a rows kernel");
		const char *e = bad_memory_operands(c, v);
		if (e)
			return e;
		if (!broadcasts(v->type, c->space))
			return why(v, "does not fit the iteration space");
		if (lower(v) == LOWER_REDUCE) {
			uint32_t axes = reduced_axes(v, c->space);
			if (!broadcasts(v->in[0]->type, c->space) || (axes && axes != last_axis_mask(c->space)))
				return why(v, "reduces other axes than the last");
		}
	}
	for (int i = 0; i < c->outs.len; i++)
		if (!covers(c->outs.at[i]->type, c->space) && !covers(c->outs.at[i]->type, outer))
			return why(c->outs.at[i], "leaves a rows kernel with neither the space's shape nor one value a row");
	return NULL;
}

/* [outer][reduced][inner]: the reduced axes are neighbours, and not the last alone. */
static const char *bad_reduced_axes(const Cluster *c, uint32_t axes)
{
	uint32_t all = 0;
	int runs = 0;
	bool before = false;
	for (int i = 0; i < c->space.rank; i++) {
		if (dim_is(c->space.dim[i], 1))
			continue;
		bool now = axes >> i & 1;
		runs += now && !before;
		before = now;
		all |= 1u << i;
	}
	if (runs > 1)
		return why(c->anchor, "reduces axes that are not neighbours");
	if (before && axes != all)
		return why(c->anchor, "reduces the last axis along with others");
	return NULL;
}

static bool after_reduce(const Cluster *c, const bool *after, const Value *v)
{
	if (lower(v) == LOWER_REDUCE)
		return true;
	for (int i = 0; i < v->nin; i++)
		for (int j = 0; j < c->vals.len; j++)
			if (c->vals.at[j] == v->in[i] && after[j])
				return true;
	return false;
}

static const char *bad_cols_member(const Cluster *c, const bool *after, int i, uint32_t axes)
{
	Value *v = c->vals.at[i];
	Type reduced = c->anchor->type;
	if (lower(v) == LOWER_REDUCE) {
		if (!covers(v->in[0]->type, c->space) || reduced_axes(v, c->space) != axes)
			return why(v, "reduces another shape or other axes than the kernel's first reduction");
		for (int j = 0; j < i; j++)
			if (c->vals.at[j] == v->in[0] && after[j])
				return why(v, "reduces what was reduced before");
		return NULL;
	}
	if (!generic_member(v))
		return why(v, "cannot be computed in a cols kernel");
	if (after[i] ? !broadcasts(v->type, reduced) : !broadcasts(v->type, c->space))
		return why(v, after[i] ? "is not of the reduced shape" : "does not fit the iteration space");
	return bad_memory_operands(c, v);
}

static const char *illegal_cols(const Cluster *c)
{
	uint32_t axes = reduced_axes(c->anchor, c->space);
	const char *e = bad_reduced_axes(c, axes);
	Arena *scratch = arena_new();
	bool *after = NEW_ARRAY(scratch, bool, c->vals.len);
	for (int i = 0; !e && i < c->vals.len; i++) {
		after[i] = after_reduce(c, after, c->vals.at[i]);
		e = bad_cols_member(c, after, i, axes);
	}
	for (int i = 0; !e && i < c->vals.len; i++)
		for (int j = 0; !e && j < c->outs.len; j++)
			if (c->outs.at[j] == c->vals.at[i] && (!after[i] || !covers(c->vals.at[i]->type, c->anchor->type)))
				e = why(c->vals.at[i], "leaves a cols kernel without being reduced");
	arena_free(scratch);
	return e;
}

/* Contractions: axes by role. */

typedef enum Role { ROLE_BATCH, ROLE_M, ROLE_N, ROLE_K } Role;

static Role role(const Spec *s, char letter)
{
	if (!strchr(s->at[2], letter))
		return ROLE_K;
	if (!strchr(s->at[1], letter))
		return ROLE_M;
	return strchr(s->at[0], letter) ? ROLE_BATCH : ROLE_N;
}

/* The axes of tensor `side` with this role, in the order of the result (of operand 0 for k). */
static int axes_of(const Spec *s, int side, Role want, int *axes)
{
	const char *order = want == ROLE_K ? s->at[0] : s->at[2];
	int n = 0;
	for (const char *l = order; *l; l++) {
		const char *at = strchr(s->at[side], *l);
		if (at && role(s, *l) == want)
			axes[n++] = (int)(at - s->at[side]);
	}
	return n;
}

/* Do the axes of this role join? *steps: one by one through memory. */
static bool walks(Value *v, const Spec *s, int side, Role want, bool *steps)
{
	View w;
	int axes[MAX_RANK];
	const Dim *extent, *stride;
	int n = axes_of(s, side, want, axes);
	if (!view_of(v, &w) || !view_group(v, &w, axes, n, &extent, &stride))
		return false;
	*steps = dim_is(stride, 1) || dim_is(extent, 1);
	return true;
}

/* Are operand 0's rows, or its columns, consecutive in memory? */
static bool dense(Value *v, const Spec *s)
{
	bool m, k;
	return walks(v, s, 0, ROLE_M, &m) && walks(v, s, 0, ROLE_K, &k) && (m || k);
}

static const char *bad_contract_operands(Value *v, const Spec *s)
{
	Value *a = v->in[0], *b = v->in[1];
	for (int i = 1; i < s->n[2]; i++)
		if (role(s, s->at[2][i - 1]) == ROLE_N && role(s, s->at[2][i]) != ROLE_N)
			return why(v, "has other axes behind those of operand 1 alone");
	if (a->op == OP_PACK ? a->a.side != 0 : !dense(a, s))
		return why(v, "needs operand 0 packed, or consecutive in k or in m");
	if (a->type.dt == DT_BF16 && b->type.dt == DT_F32 && !(in_panels(b) && b->a.format))
		return why(v, "has f32 beside bf16 that is not kept in blocks");
	if (b->op == OP_PACK)
		return b->a.side == 1 ? NULL : why(v, "has operand 1 packed for the other side");
	bool steps;
	if (!walks(b, s, 1, ROLE_N, &steps) || !walks(b, s, 1, ROLE_K, &steps))
		return why(v, "has an operand 1 whose axes do not join");
	return NULL;
}

bool contract_laid_out(Value *v)
{
	Spec s;
	return !spec_parse(v->a.spec, &s) && !bad_contract_operands(v, &s);
}

/* Does x vary along all, some or none of the result's axes with this role? Extents of 1 don't count. */
typedef struct Varies { bool some, all; } Varies;

static Varies varies(const Spec *s, Type x, Type result, Role want)
{
	Varies v = {false, true};
	for (int i = 0; i < result.rank; i++) {
		if (role(s, s->at[2][i]) != want || dim_is(result.dim[i], 1))
			continue;
		bool here = !dim_is(along(x, result, i), 1);
		v.some |= here;
		v.all &= here;
	}
	return v;
}

/* An operand of the epilogue: of the result's shape, scalar, a bias or a row scale. */
static const char *bad_epilogue_operand(const Cluster *c, Value *x, const Spec *s)
{
	if (!broadcasts(x->type, c->space))
		return why(x, "does not fit the contraction's result");
	Varies m = varies(s, x->type, c->space, ROLE_M), n = varies(s, x->type, c->space, ROLE_N);
	if ((m.some && !m.all) || (n.some && !n.all))
		return why(x, "varies along a part of the rows or columns");
	View w;
	if (!view_of(x, &w))
		return why(x, "has no place in memory");
	for (Role want = ROLE_M; want <= ROLE_N; want++) {
		int axes[MAX_RANK], k = 0;
		for (int i = 0; i < c->space.rank; i++)
			if (role(s, s->at[2][i]) == want && i >= c->space.rank - x->type.rank)
				axes[k++] = i - (c->space.rank - x->type.rank);
		const Dim *extent, *stride;
		if (!view_group(x, &w, axes, k, &extent, &stride))
			return why(x, "has rows or columns that do not join");
	}
	return NULL;
}

static bool recomputed(const Value *v) { return op_info[v->op].flags & OPF_CHEAP; }

static const char *bad_epilogue_member(const Cluster *c, const Value *v, const Spec *s)
{
	bool elementwise = op_info[v->op].flags & OPF_ELEMENTWISE;
	if (!elementwise && !recomputed(v))
		return why(v, "cannot be computed behind a contraction");
	if (recomputed(v) ? !broadcasts(v->type, c->space) : !covers(v->type, c->space))
		return why(v, "is not of the contraction's shape");
	for (int i = 0; i < v->nin; i++) {
		const char *e = in_cluster(c, v->in[i]) ? NULL : bad_epilogue_operand(c, v->in[i], s);
		if (e)
			return e;
	}
	return NULL;
}

static const char *illegal_contract(const Cluster *c)
{
	Spec s;
	const char *e = spec_parse(c->anchor->a.spec, &s);
	if (!e)
		e = bad_contract_operands(c->anchor, &s);
	for (int i = 0; !e && i < 2; i++)
		if (in_cluster(c, c->anchor->in[i]))
			e = why(c->anchor, "has an operand in its own kernel");
	for (int i = 0; !e && i < c->vals.len; i++)
		if (c->vals.at[i] != c->anchor)
			e = bad_epilogue_member(c, c->vals.at[i], &s);
	for (int i = 0; !e && i < c->outs.len; i++)
		e = covers(c->outs.at[i]->type, c->space) ? bad_epilogue_operand(c, c->outs.at[i], &s)
		                                          : why(c->outs.at[i], "is not of the contraction's shape");
	return e;
}

static const char *illegal_pack(const Cluster *c)
{
	Value *v = c->anchor;
	Spec s;
	if (c->vals.len > 1)
		return "a pack is a kernel of its own";
	const char *e = spec_parse(v->a.spec, &s);
	if (e)
		return e;
	int side = v->a.side;
	if (side < 0 || side > 1 || s.n[side] != v->type.rank)
		return why(v, "does not match its spec");
	return NULL;
}

static const char *illegal_scatter(const Cluster *c)
{
	return c->vals.len > 1 ? "a scatter_add is a kernel of its own" : NULL;
}

static const char *illegal_nonzero(const Cluster *c)
{
	return c->vals.len > 1 ? "a nonzero is a kernel of its own" : NULL;
}

static const char *(*const legal[K_COUNT])(const Cluster *) = {
	[K_ROWS] = illegal_rows,
	[K_COLS] = illegal_cols,
	[K_CONTRACT] = illegal_contract,
	[K_SCATTER] = illegal_scatter,
	[K_PACK] = illegal_pack,
	[K_NONZERO] = illegal_nonzero,
	[K_FLASH] = flash_illegal,
};

const char *cluster_illegal(const Cluster *c)
{
	const char *e = bad_ins(c);
	return e ? e : legal[c->kind](c);
}
