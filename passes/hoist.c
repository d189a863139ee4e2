/* hoist.c: what depends on parameters alone is computed once, in the function `prepare`, and kept in states
 * "hoist.<n>": packed weights, and copies, contractions, reductions and lookups of parameters. Cheap values
 * (elementwise, views, constants) are computed where they are used.
 *
 * A state that holds a pack carries the pack's `side` and `spec`: its memory is in panel order, and larger than
 * its type where the pack pads its last panel. */
#include "passes/passes.h"

typedef struct Hoist {
	Graph *step, *prepare;
	bool *fixed;         /* by id: depends on params and constants alone */
	bool *moved;         /* by id: is read from a state now */
	int n;
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
	vec_push(h->prepare->arena, &h->prepare->vals, c);
	return v->repl = c;
}

/* In step v becomes the state; in prepare what it was is stored there. */
static void move(Hoist *h, Value *v)
{
	Value *c = into_prepare(h, v);
	Attrs a = { .name = internf("hoist.%d", h->n++) };
	if (v->op == OP_PACK) {
		a.side = v->a.side;
		a.spec = v->a.spec;
	}
	Builder b = { .g = h->prepare, .loc = v->loc, .path = v->path };
	b_store(&b, build(&b, OP_STATE, NULL, 0, &a, &v->type), c);
	v->op = OP_STATE;
	v->a = a;
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
static void follow_places(Graph *prepare)
{
	for (int i = 0; i < prepare->vals.len; i++) {
		Value *v = prepare->vals.at[i];
		v->dest = v->dest ? v->dest->repl : NULL;
	}
}

Graph *hoist(Graph *step, Entry *e)
{
	Hoist h = { .step = step, .prepare = graph_new(step->arena, internf("%s.prepare", e->name)) };
	graph_number(step);
	h.fixed = NEW_ARRAY(step->arena, bool, step->vals.len);
	h.moved = NEW_ARRAY(step->arena, bool, step->vals.len);
	mark_fixed(&h);
	for (int i = 0; i < step->vals.len; i++)
		step->vals.at[i]->repl = NULL;
	for (int i = 0; i < step->vals.len; i++) {
		Value *v = step->vals.at[i];
		for (int k = 0; !h.fixed[i] && k < v->nin; k++)
			if (h.fixed[v->in[k]->id])
				need(&h, v->in[k]);
	}
	follow_places(h.prepare);
	dce(step);
	return h.prepare;
}
