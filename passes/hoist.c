/* hoist.c: what depends on parameters alone is computed once, in the function `prepare`, and kept in states
 * "hoist.<n>": packed weights, and copies, contractions, reductions and lookups of parameters. Cheap values
 * (elementwise, views, constants) are computed where they are used.
 *
 * A state that holds a pack carries the pack's `side`, `spec` and `format`: its memory is in panel order, and larger than
 * its type where the pack pads its last panel. */
#include "passes/passes.h"

typedef struct Kept { const Value *what; Attrs state; } Kept;   /* a value of prepare, and the state it is stored in */
typedef struct Hoist {
	Graph *step, *prepare;   /* step: the function at hand */
	bool *fixed;         /* by id: depends on params and constants alone */
	bool *moved;         /* by id: is read from a state now */
	int before;          /* values of prepare that other functions brought */
	Vec(Kept) kept;
} Hoist;

/* Roots and values with a run-time extent are part of the call. */
static bool fixed_here(const Value *v)
{
	if (op_info[v->op].flags & OPF_ROOT || v->op == OP_INPUT || v->op == OP_STATE || v->op == OP_RANDOM)
		return false;
	if (v->op == OP_WRITE || (v->op == OP_DIMVAL && !dim_is_const(v->a.size, NULL)))
		return false;
	return dim_is_const(type_elems(v->type), NULL);
}

static void mark_fixed(Hoist *h)
{
	for (int i = 0; i < h->step->vals.len; i++) {
		Value *v = h->step->vals.at[i];
		h->fixed[i] = fixed_here(v);
		for (int k = 0; k < v->nin; k++)
			h->fixed[i] &= h->fixed[v->in[k]->id];
	}
}

/* Kernels expect the left operand's pack beside them, and a concat its operands in their places. */
static bool worth_it(const Hoist *h, const Value *v)
{
	if (v->dest && !h->fixed[v->dest->id])
		return false;
	switch (v->op) {
	case OP_PACK:
		return v->a.side == 1;
	case OP_COPY:
	case OP_CONTRACT:
	case OP_SUM:
	case OP_RMAX:
	case OP_GATHER:
	case OP_SCATTER_ADD:
	case OP_CONCAT:
		return true;
	default:
		return false;
	}
}

/* What another function has brought already; of this one's, packs and what they show (a weight that chunks of rows pack again and
 * again), but no value that another may be computed over. Places inside a concat stay apart. */
static Value *there_already(const Hoist *h, const Value *c)
{
	bool own = c->op == OP_PACK || op_info[c->op].flags & (OPF_VIEW | OPF_SOURCE);
	int n = own ? h->prepare->vals.len : h->before;
	for (int i = 0; i < n && !c->dest; i++) {
		Value *v = h->prepare->vals.at[i];
		if (!v->dest && v->op != OP_STORE && same_computation(v, c))
			return v;
	}
	return NULL;
}

/* Copies v and what it depends on into prepare. */
static Value *into_prepare(Hoist *h, Value *v)
{
	if (v->repl)
		return v->repl;
	Value *c = NEW(h->prepare->arena, Value);
	*c = *v;
	c->in = NEW_ARRAY(h->prepare->arena, Value *, v->nin);
	for (int k = 0; k < v->nin; k++)
		c->in[k] = into_prepare(h, v->in[k]);
	Value *had = there_already(h, c);
	if (had)
		return v->repl = had;
	vec_push(h->prepare->arena, &h->prepare->vals, c);
	return v->repl = c;
}

/* The state that holds a value of prepare. */
static Attrs state_of(Hoist *h, const Value *v, Value *c)
{
	for (int i = 0; i < h->kept.len; i++)
		if (h->kept.at[i].what == c)
			return h->kept.at[i].state;
	Attrs a = { .name = internf("hoist.%d", h->kept.len) };
	if (v->op == OP_PACK) {
		a.side = v->a.side;
		a.spec = v->a.spec;
		a.format = v->a.format;
	}
	Builder b = { .g = h->prepare, .loc = v->loc, .path = v->path };
	b_store(&b, build(&b, OP_STATE, NULL, 0, &a, &v->type), c);
	vec_push(h->prepare->arena, &h->kept, ((Kept){ c, a }));
	return a;
}

/* In step v becomes the state; in prepare what it was is stored there. */
static void move(Hoist *h, Value *v)
{
	v->a = state_of(h, v, into_prepare(h, v));
	v->op = OP_STATE;
	v->nin = 0;
	v->kernel = 0;
	v->dest = NULL;
	h->moved[v->id] = true;
}

/* v is fixed and something of each call needs it: moves it, or what is worth moving behind it. */
static void need(Hoist *h, Value *v)
{
	if (h->moved[v->id])
		return;
	if (worth_it(h, v)) {
		move(h, v);
		return;
	}
	for (int k = 0; k < v->nin; k++)
		need(h, v->in[k]);
}

/* Places inside a concat that came along stay; others are gone. */
static void follow_places(Graph *prepare, int from)
{
	for (int i = from; i < prepare->vals.len; i++) {
		Value *v = prepare->vals.at[i];
		v->dest = v->dest ? v->dest->repl : NULL;
	}
}

static void hoist_from(Hoist *h, Graph *step)
{
	h->before = h->prepare->vals.len;
	h->step = step;
	graph_number(step);
	h->fixed = NEW_ARRAY(step->arena, bool, step->vals.len);
	h->moved = NEW_ARRAY(step->arena, bool, step->vals.len);
	mark_fixed(h);
	for (int i = 0; i < step->vals.len; i++)
		step->vals.at[i]->repl = NULL;
	for (int i = 0; i < step->vals.len; i++) {
		Value *v = step->vals.at[i];
		for (int k = 0; !h->fixed[i] && k < v->nin; k++)
			if (h->fixed[v->in[k]->id])
				need(h, v->in[k]);
	}
	follow_places(h->prepare, h->before);
	dce(step);
}

Graph *hoist(Graph *const *functions, int n, const Entry *e)
{
	Hoist h = { .prepare = graph_new(functions[0]->arena, internf("%s.prepare", e->name)) };
	for (int i = 0; i < n; i++)
		hoist_from(&h, functions[i]);
	return h.prepare;
}
