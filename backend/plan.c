/* plan.c: every buffer's place, before anything runs. Offsets count from the arena's start: first what stays (params,
 * states and inputs, by name, the same for all functions of an entry), then each function's temporaries, which
 * all share one region since functions run one at a time.
 *
 * Values that are one memory are one object: a stored value and its state, a scatter_add and its first operand, a
 * kernel's output and an operand that dies in the same kernel and is read there element by element where the
 * output is written. Objects get offsets largest first, each at the lowest place free throughout its lifetime
 * (the greedy-by-size strategy of Pisarchyk & Lee 2020, sec. 5.2). Sizes are those at the symbols' bounds; above 2^62
 * bytes they stop growing, and the entry is refused. */
#include "backend/backend.h"

#include <stdlib.h>

enum { ALIGN = 64, PAGE = 4096 };
#define MOST ((int64_t)1 << 62)

/* A piece of memory of one function. Launches are numbered from 0. */
typedef struct Object {
	Value *root;
	int64_t bytes, offset;
	int first, last;         /* first launch that writes it; last that uses it */
	int same;                /* union-find: index of the object it is one with, or its own */
	bool fixed;              /* a source: in the persistent region */
} Object;

typedef struct Planner {
	Module *m;
	const Target *t;
	Plan *plan;
	Graph *g;                /* the function at hand */
	Arena *scratch;          /* its own */
	ClusterList launches;
	Vec(Object) objects;
	ValueMap *index;         /* root -> object */
	bool huge;               /* some size is above MOST */
} Planner;

static int64_t plus(Planner *p, int64_t a, int64_t b)
{
	int64_t n;
	if (!__builtin_add_overflow(a, b, &n) && n <= MOST)
		return n;
	p->huge = true;
	return MOST;
}

static int64_t times(Planner *p, int64_t a, int64_t b)
{
	int64_t n;
	if (!__builtin_mul_overflow(a, b, &n) && n <= MOST)
		return n;
	p->huge = true;
	return MOST;
}

static int64_t aligned(Planner *p, int64_t n)
{
	return plus(p, n, ALIGN - 1) / ALIGN * ALIGN;
}

static int64_t bound(const Graph *g, const Dim *d)
{
	int64_t n;
	if (!graph_bound(g, d, &n))
		bug("%s: no bound is known for %s", g->name, dim_text(d));
	return n;
}

/* An operand in panel order: on the right columns padded to whole panels, batch by batch; k of bf16 to whole pairs, of blocks to those. */
static int64_t pack_bytes(Planner *p, const Value *v)
{
	Spec s;
	int side = v->a.side;
	int64_t n = 1, k = 1, rest = 1;
	const char *e = spec_parse(v->a.spec, &s);
	if (e)
		bug("pack \"%s\": %s", v->a.spec, e);
	for (int i = 0; i < v->type.rank; i++) {
		char c = s.at[side][i];
		bool column = strchr(s.at[2], c) && !strchr(s.at[!side], c);
		int64_t *part = !strchr(s.at[2], c) ? &k : column ? &n : &rest;
		*part = times(p, *part, bound(p->g, v->type.dim[i]));
	}
	int64_t nr = side ? tile_columns(p->t, v->type.dt) : 1, pair = v->type.dt == DT_BF16 ? 2 : 1;
	if (v->a.format)
		return times(p, quant_bytes(p->t, v->a.format, k, n), rest);
	n = times(p, times(p, plus(p, n, nr - 1) / nr * nr, plus(p, k, pair - 1) / pair * pair), rest);
	return times(p, n, dtype_size[v->type.dt]);
}

static int64_t bytes_of(Planner *p, const Value *v)
{
	if (in_panels(v))
		return pack_bytes(p, v);
	return times(p, bound(p->g, type_elems(v->type)), dtype_size[v->type.dt]);
}

/* Persistent slots */

static Slot *slot_named(Plan *plan, const Value *v)
{
	int i = plan_named(plan, v);
	return i < 0 ? NULL : &plan->slots.at[i];
}

static bool is_source(const Value *v)
{
	return v->op == OP_PARAM || v->op == OP_STATE || v->op == OP_INPUT;
}

/* One slot a name, as large as its largest use; kinds in order, so that a checkpoint's tensors lie together. */
static void add_sources(Planner *p, Graph *g, Op kind)
{
	p->g = g;
	for (int i = 0; i < g->vals.len; i++) {
		Value *v = g->vals.at[i];
		if (v->op != kind)
			continue;
		Slot *s = slot_named(p->plan, v);
		int64_t bytes = bytes_of(p, v);
		if (s)
			s->bytes = MAX(s->bytes, bytes);
		else
			plan_add(p->m->arena, p->plan, (Slot){ .value = v, .bytes = bytes, .first = -1, .last = -1 });
	}
}

static void place_source(Planner *p, Slot *s, int64_t *end)
{
	s->offset = *end;
	*end = plus(p, *end, aligned(p, s->bytes));
}

static bool is_prepared(const Value *v)
{
	return v->op == OP_STATE && strncmp(v->a.name, "hoist.", 6) == 0;
}

/* What prepare leaves comes first, in pages of its own, so that a file can be mapped there. */
static void place_sources(Planner *p)
{
	Plan *plan = p->plan;
	for (int i = 0; i < plan->slots.len; i++)
		if (is_prepared(plan->slots.at[i].value))
			place_source(p, &plan->slots.at[i], &plan->persistent);
	plan->persistent = plan->prepared = plus(p, plan->persistent, PAGE - 1) / PAGE * PAGE;
	for (int i = 0; i < plan->slots.len; i++)
		if (!is_prepared(plan->slots.at[i].value) && !plan->slots.at[i].external)
			place_source(p, &plan->slots.at[i], &plan->persistent);
}

static void place_external(Planner *p)
{
	Plan *plan = p->plan;
	for (External e = EXTERNAL_ROWS; e <= EXTERNAL_PREPARED; e++) {
		for (int i = 0; i < plan->slots.len; i++)
			if (plan->slots.at[i].external == e)
				place_source(p, &plan->slots.at[i], &plan->external);
		if (e == EXTERNAL_ROWS)
			plan->looked_up = plan->external;
	}
}

/* Objects of a function */

static Object *object(Planner *p, const Value *root)
{
	int i = vmap_get(p->index, root);
	return i < 0 ? NULL : &p->objects.at[i];
}

static int same(Planner *p, int i)
{
	while (p->objects.at[i].same != i)
		i = p->objects.at[i].same;
	return i;
}

/* The object that stands for all that are one with root's. */
static Object *whole(Planner *p, const Value *root)
{
	int i = vmap_get(p->index, root);
	if (i < 0)
		bug("%s: %s is used and nobody computes it", p->g->name, op_info[root->op].text);
	return &p->objects.at[same(p, i)];
}

static void unite(Planner *p, const Value *a, const Value *b)
{
	Object *x = whole(p, a), *y = whole(p, b);
	if (x == y)
		return;
	if (y->fixed) {
		Object *t = x;
		x = y;
		y = t;
	}
	if (y->fixed)
		bug("%s: %s and %s would be one memory", p->g->name, x->root->a.name, y->root->a.name);
	y->same = x->same;
	x->bytes = MAX(x->bytes, y->bytes);
	x->first = MIN(x->first, y->first);
	x->last = MAX(x->last, y->last);
}

static void use(Planner *p, Value *v, int launch)
{
	View w;
	if (!view_of(v, &w))
		bug("%s: %s has no place in memory", p->g->name, op_info[v->op].text);
	Object *o = object(p, w.root);
	if (!o) {
		vmap_put(p->index, w.root, p->objects.len);
		Object new = { .root = w.root, .bytes = bytes_of(p, w.root), .first = launch, .last = launch };
		new.same = p->objects.len;
		new.fixed = is_source(w.root);
		vec_push(p->scratch, &p->objects, new);
		return;
	}
	o->first = MIN(o->first, launch);
	o->last = MAX(o->last, launch);
}

static void list_objects(Planner *p)
{
	Graph *g = p->g;
	int n = p->launches.len;
	for (int i = 0; i < g->vals.len; i++)
		if (is_source(g->vals.at[i]))
			use(p, g->vals.at[i], 0);
	for (int k = 0; k < n; k++) {
		const Cluster *c = p->launches.at[k];
		for (int i = 0; i < c->outs.len; i++)
			use(p, c->outs.at[i], k);
		for (int i = 0; i < c->ins.len; i++)
			use(p, c->ins.at[i], k);
	}
	for (int i = 0; i < g->vals.len; i++)
		if (g->vals.at[i]->op == OP_OUTPUT)
			use(p, g->vals.at[i]->in[0], n);
}

static const Value *root_of(Value *v)
{
	View w;
	return view_of(v, &w) ? w.root : v;
}

/* Stores and scatter_adds: one memory by what they mean. */
static void unite_effects(Planner *p)
{
	for (int i = 0; i < p->g->vals.len; i++) {
		Value *v = p->g->vals.at[i];
		if (v->op == OP_SCATTER_ADD)
			unite(p, v, root_of(v->in[0]));
		if (v->op == OP_STORE)
			unite(p, v->in[0], root_of(v->in[1]));
	}
}

/* In place */

/* Shows all of its root's elements in their order. */
static bool shows_all(Value *v, View *w)
{
	return view_of(v, w) && view_contiguous(w, v->type) && dim_is(w->offset, 0) &&
	       type_elems(v->type) == type_elems(w->root->type);
}

/* Kernels read what a vector needs before they store it, and rows kernels store in their last phase alone; so an output
 * may take the memory of an operand of its shape. Not of a contraction's own operands, nor what is read otherwise too. */
static bool elementwise_operand(const Cluster *c, const Value *x, const Value *out)
{
	if (!type_same_dims(&x->type, &out->type) || !type_same_dims(&x->type, &c->space) ||
	    dtype_size[x->type.dt] != dtype_size[out->type.dt])
		return false;
	for (int i = 0; i < c->vals.len; i++) {
		const Value *v = c->vals.at[i];
		bool by_place = op_info[v->op].flags & (OPF_ELEMENTWISE | OPF_REDUCE);
		for (int k = 0; k < v->nin && !by_place; k++)
			if (v->in[k] == x)
				return false;
	}
	return true;
}

/* Other operands of the kernel that show the same memory. */
static bool seen_twice(Planner *p, const Cluster *c, const Value *x)
{
	Object *o = whole(p, root_of((Value *)x));
	int n = 0;
	for (int i = 0; i < c->ins.len; i++)
		n += whole(p, root_of(c->ins.at[i])) == o;
	for (int i = 0; i < c->outs.len; i++)
		n += whole(p, root_of(c->outs.at[i])) == o;
	return n > 1;
}

static bool dies_here(Planner *p, Value *x, int launch)
{
	View w;
	if (!shows_all(x, &w))
		return false;
	Object *o = whole(p, w.root);
	return !o->fixed && o->last == launch && o->first < launch;
}

static bool begins_here(Planner *p, Value *out, int launch)
{
	View w;
	if (!shows_all(out, &w) || w.root != out)
		return false;
	Object *o = whole(p, out);
	return !o->fixed && o->first == launch;
}

static void reuse(Planner *p, const Cluster *c, int launch, Value *out)
{
	if (!begins_here(p, out, launch))
		return;
	for (int i = 0; i < c->ins.len; i++) {
		Value *x = c->ins.at[i];
		if (!elementwise_operand(c, x, out) || !dies_here(p, x, launch) || seen_twice(p, c, x))
			continue;
		unite(p, root_of(x), out);
		return;
	}
}

static void reuse_operands(Planner *p)
{
	for (int k = 0; k < p->launches.len; k++) {
		const Cluster *c = p->launches.at[k];
		for (int i = 0; i < c->outs.len && (c->kind == K_ROWS || c->kind == K_CONTRACT); i++)
			reuse(p, c, k, c->outs.at[i]);
	}
}

/* Offsets of temporaries */

static int by_size(const void *a, const void *b)
{
	const Object *x = *(Object *const *)a, *y = *(Object *const *)b;
	if (x->bytes != y->bytes)
		return x->bytes < y->bytes ? 1 : -1;
	if (x->first != y->first)
		return x->first < y->first ? -1 : 1;
	return x->same - y->same;
}

/* What is asked of a placed object, close together: every object is held against all placed before it. */
typedef struct Extent { int first, last; int64_t offset, end; } Extent;

/* placed is in the order of offsets; puts o into the first gap among those that live when it does. */
static void place_object(Planner *p, Extent *placed, int n, Object *o)
{
	int64_t at = 0, bytes = aligned(p, o->bytes), end = bytes;
	for (int i = 0; i < n; i++) {
		const Extent *x = &placed[i];
		if (x->last < o->first || x->first > o->last || x->end <= at)
			continue;
		if (x->offset >= end)
			break;
		at = x->end;
		end = plus(p, at, bytes);
	}
	o->offset = at;
	int lo = 0, hi = n;   /* behind all at its offset or below */
	while (lo < hi) {
		int mid = (lo + hi) / 2;
		if (placed[mid].offset > at)
			hi = mid;
		else
			lo = mid + 1;
	}
	memmove(&placed[lo + 1], &placed[lo], sizeof *placed * (size_t)(n - lo));
	placed[lo] = (Extent){ o->first, o->last, at, plus(p, at, bytes) };
}

static int64_t place_temporaries(Planner *p)
{
	Arena *scratch = arena_new();
	Object **list = NEW_ARRAY(scratch, Object *, p->objects.len + 1);
	Extent *placed = NEW_ARRAY(scratch, Extent, p->objects.len + 1);
	int64_t top = 0;
	int n = 0;
	for (int i = 0; i < p->objects.len; i++)
		if (p->objects.at[i].same == i && !p->objects.at[i].fixed)
			list[n++] = &p->objects.at[i];
	qsort(list, (size_t)n, sizeof *list, by_size);
	for (int i = 0; i < n; i++) {
		place_object(p, placed, i, list[i]);
		top = MAX(top, plus(p, list[i]->offset, aligned(p, list[i]->bytes)));
	}
	arena_free(scratch);
	return top;
}

static void add_slots(Planner *p)
{
	for (int i = 0; i < p->objects.len; i++) {
		Object *o = &p->objects.at[i], *w = whole(p, o->root);
		const Slot *kept = w->fixed ? slot_named(p->plan, w->root) : NULL;
		Slot s = { .value = o->root, .bytes = o->bytes, .first = o->first, .last = o->last };
		s.offset = kept ? kept->offset : plus(p, p->plan->persistent, w->offset);
		s.external = kept ? kept->external : EXTERNAL_NOT;
		if (w->fixed)
			s.first = s.last = -1;
		if (!kept || kept->value != o->root)
			plan_add(p->m->arena, p->plan, s);
	}
}

static void plan_function(Planner *p, Graph *g)
{
	Arena *scratch = arena_new();
	p->g = g;
	p->scratch = scratch;
	p->launches = clusters_in(scratch, g);
	memset(&p->objects, 0, sizeof p->objects);
	p->index = vmap_new(scratch);
	list_objects(p);
	unite_effects(p);
	reuse_operands(p);
	p->plan->arena = MAX(p->plan->arena, place_temporaries(p));
	add_slots(p);
	arena_free(scratch);
}

Plan *plan_entry(Module *m, Entry *e, const Target *t)
{
	static const Op kinds[] = { OP_PARAM, OP_STATE, OP_INPUT };
	Planner p = { .m = m, .t = t, .plan = NEW(m->arena, Plan) };
	for (int k = 0; k < COUNT(kinds); k++)
		for (int i = 0; i < e->graphs.len; i++)
			if (graph_is_function(e->graphs.at[i]))
				add_sources(&p, e->graphs.at[i], kinds[k]);
	external_mark(p.plan, e);
	place_sources(&p);
	place_external(&p);
	for (int i = 0; i < e->graphs.len; i++)
		if (graph_is_function(e->graphs.at[i]))
			plan_function(&p, e->graphs.at[i]);
	plus(&p, plus(&p, p.plan->persistent, p.plan->arena), p.plan->external);
	if (!p.huge)
		return p.plan;
	diag_error((Loc){ 0 }, NULL, "%s needs more than 2^62 bytes of memory at the bounds of its dims", e->name);
	diag_help("lower the bounds: --set T=1024, or `batch .., micro=4, T=1024` in the entry");
	return NULL;
}
