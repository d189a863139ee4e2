/* autodiff.c: reverse-mode differentiation of a graph (Griewank & Walther 2008, ch. 3), by one walk backward
 * over its list. Invariants: a value has a gradient only if it is f32, depends on a trained parameter and
 * the loss depends on it; gradients have exactly their value's type; what is made for value v carries v's path
 * and location and grad = true. */
#include "passes/passes.h"

typedef struct Tape {
	Graph *g;
	const Module *m;   /* NULL: the gradient is to an input */
	const char *to;    /* its name */
	Value *loss;
	int n;             /* forward values: g->vals.at[0..n) */
	bool *active;      /* by id: depends on a trained parameter */
	Value **grad;      /* by id: sum of contributions so far; NULL for none */
	ValueList sources; /* values that read trained parameters, in the graph's order */
	ValueMap *first;   /* interned name of a parameter: its first in sources */
	int *next;         /* by index in sources: the next of that name; 0 for none */
	Value *accumulate; /* input bool[] */
} Tape;

static bool trained(const Tape *t, const Value *v)
{
	if (!t->m)
		return v->op == OP_INPUT && strcmp(v->a.name, t->to) == 0;
	const Param *p = v->op == OP_PARAM ? module_param((Module *)t->m, v->a.name) : NULL;
	return p && !p->frozen && v->type.dt == DT_F32;
}

static bool has_active_operand(const Tape *t, const Value *v)
{
	for (int i = 0; i < v->nin; i++)
		if (t->active[v->in[i]->id])
			return true;
	return false;
}

static bool trains_a_bias(const Tape *t, const Value *v)
{
	return v->op == OP_FLASH && v->a.bias && t->active[flash_extras(v).bias->id];
}

static void mark_active(Tape *t)
{
	for (int i = 0; i < t->n; i++) {
		Value *v = t->g->vals.at[i];
		if (trained(t, v)) {
			t->active[i] = true;
			vec_push(t->g->arena, &t->sources, v);
		} else if (v->type.dt == DT_F32 && v->op != OP_STOP && has_active_operand(t, v)) {
			if (trains_a_bias(t, v))
				bug("autodiff: flash has no gradient to its bias");
			t->active[i] = grad_rule[v->op] != NULL;
			if (!t->active[i] && v->uses)
				diag_error((Loc){ 0 }, "E1011", "%s:%d:%d: %s has no gradient, and a parameter reaches the loss through it",
					v->loc.file ? v->loc.file : "?", v->loc.line, v->loc.col, op_info[v->op].text);
		}
	}
}

/* Brings a gradient to its value's type: sums over stretched axes, expands over missing ones. */
static Value *fit(Builder *b, Value *d, Type want)
{
	if (type_eq(d->type, want))
		return d;
	int lead = d->type.rank - want.rank;
	uint32_t axes = 0;
	for (int i = 0; i < d->type.rank; i++)
		if (!dim_is(d->type.dim[i], 1) && (i < lead || dim_is(want.dim[i - lead], 1)))
			axes |= 1u << i;
	if (axes)
		d = b_reduce(b, OP_SUM, d, axes);
	if (lead > 0) {
		Type tail = d->type;
		tail.rank = want.rank;
		for (int i = 0; i < want.rank; i++)
			tail.dim[i] = d->type.dim[i + lead];
		d = b_reshape(b, d, tail);
	}
	return type_eq(d->type, want) ? d : b_expand(b, d, want);
}

static void contribute(Tape *t, Builder *b, Value *to, Value *d)
{
	d = fit(b, d, to->type);
	Value **sum = &t->grad[to->id];
	*sum = *sum ? b_binary(b, OP_ADD, *sum, d) : d;
}

static void propagate(Tape *t, Value *v)
{
	Builder b = { .g = t->g, .loc = v->loc, .path = v->path, .grad = true };
	Value **dx = NEW_ARRAY(t->g->arena, Value *, v->nin);
	grad_rule[v->op](&b, v, t->grad[v->id], dx);
	for (int i = 0; i < v->nin; i++)
		if (dx[i] && t->active[v->in[i]->id])
			contribute(t, &b, v->in[i], dx[i]);
}

static Value *find_loss(const Graph *g)
{
	for (int i = 0; i < g->vals.len; i++)
		if (g->vals.at[i]->op == OP_OUTPUT && strcmp(g->vals.at[i]->a.name, "loss") == 0)
			return g->vals.at[i]->in[0];
	return NULL;
}

static void expand_if_needed(Graph *g)
{
	for (int i = 0; i < g->vals.len; i++)
		if (grad_expands(g->vals.at[i]->op)) {
			expand(g);
			return;
		}
}

static void index_sources(Tape *t)
{
	Arena *a = t->g->arena;
	t->first = vmap_new(a);
	t->next = NEW_ARRAY(a, int, t->sources.len + 1);
	for (int i = t->sources.len - 1; i >= 0; i--) {
		const char *name = intern(t->sources.at[i]->a.name);
		t->next[i] = MAX(vmap_get(t->first, name), 0);
		vmap_put(t->first, name, i);
	}
}

static int first_of(const Tape *t, const char *name) { return vmap_get(t->first, intern(name)); }

/* Sum of the gradients of all values that read the parameter; zeros if the loss does not depend on it. */
static Value *param_gradient(Tape *t, Builder *b, const Param *p)
{
	Value *sum = NULL;
	for (int i = first_of(t, p->name); i >= 0; i = t->next[i] ? t->next[i] : -1) {
		Value *d = t->grad[t->sources.at[i]->id];
		if (d)
			sum = sum ? b_binary(b, OP_ADD, sum, d) : d;
	}
	return sum ? sum : build(b, OP_CONST, NULL, 0, &(Attrs){ .value = 0 }, &p->type);
}

/* grad.<p> becomes the gradient, plus its old value where `accumulate`: written so that all of it follows from g,
 * and can be done where g is computed. */
static void store_gradient(Tape *t, Builder *b, const Param *p)
{
	Value *g = param_gradient(t, b, p);
	Value *state = b_source(b, OP_STATE, internf("grad.%s", p->name), p->type);
	b_store(b, state, b_select(b, t->accumulate, b_binary(b, OP_ADD, g, state), g));
}

/* The first value that reads this parameter? All others come after it. */
static bool first_of_name(const Tape *t, const Value *v)
{
	int i = first_of(t, v->a.name);
	return i >= 0 && t->sources.at[i] == v;
}

/* The walk backward. A parameter's gradient is stored as soon as the last contribution is there, so that what it
 * is made of need not live to the end. */
static void walk(Tape *t)
{
	for (int i = t->n - 1; i >= 0; i--) {
		Value *v = t->g->vals.at[i];
		if (t->active[i] && t->grad[i] && grad_rule[v->op])
			propagate(t, v);
		if (!t->m || !trained(t, v) || !first_of_name(t, v))
			continue;
		Builder b = { .g = t->g, .loc = v->loc, .path = v->path, .grad = true };
		store_gradient(t, &b, module_param((Module *)t->m, v->a.name));
	}
}

/* Parameters that the graph does not read. */
static void store_others(Tape *t)
{
	Builder b = { .g = t->g, .grad = true };
	for (int i = 0; i < t->m->params.len; i++) {
		const Param *p = &t->m->params.at[i];
		if (first_of(t, p->name) < 0 && !p->frozen && p->type.dt == DT_F32)
			store_gradient(t, &b, p);
	}
}

/* Once gradients are there, stop means nothing any more. */
static void bypass_stops(Graph *g)
{
	for (int i = 0; i < g->vals.len; i++) {
		Value *v = g->vals.at[i];
		v->repl = v->op == OP_STOP ? v->in[0]->repl : v;
	}
	graph_redirect(g);
	dce(g);
}

/* The tape of the graph's output `loss`, which has its gradient; .g is NULL after diag_error. */
static Tape begin(Graph *g, const Module *m, const char *to)
{
	expand_if_needed(g);
	graph_number(g);
	Value *loss = find_loss(g);
	if (!loss || loss->type.dt != DT_F32 || loss->type.rank != 0) {
		diag_error((Loc){ 0 }, "E1012", "%s: no output `loss` of type f32[]", g->name);
		return (Tape){ 0 };
	}
	Tape t = { .g = g, .m = m, .to = to, .loss = loss, .n = g->vals.len };
	t.active = NEW_ARRAY(g->arena, bool, t.n);
	t.grad = NEW_ARRAY(g->arena, Value *, t.n);
	mark_active(&t);
	index_sources(&t);
	Builder b = { .g = g, .loc = loss->loc, .path = loss->path, .grad = true };
	t.grad[loss->id] = b_const(&b, DT_F32, 1);
	return t;
}

void autodiff(Graph *g, const Module *m)
{
	Tape t = begin(g, m, NULL);
	if (!t.g)
		return;
	Builder b = { .g = g, .loc = t.loss->loc, .path = t.loss->path, .grad = true };
	t.accumulate = b_source(&b, OP_INPUT, "accumulate", type_scalar(DT_BOOL));
	walk(&t);
	store_others(&t);
	bypass_stops(g);
}

void autodiff_input(Graph *g, const char *input, const char *output)
{
	Tape t = begin(g, NULL, input);
	if (!t.g)
		return;
	walk(&t);
	Value *to = t.sources.len ? t.sources.at[0] : NULL, *d = to ? t.grad[to->id] : NULL;
	if (!to)
		bug("autodiff: there is no input %s", input);
	Builder b = { .g = g, .loc = to->loc, .path = to->path, .grad = true };
	b_output(&b, output, d ? d : build(&b, OP_CONST, NULL, 0, &(Attrs){ .value = 0 }, &to->type));
	bypass_stops(g);
}
