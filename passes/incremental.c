/* incremental.c: from the graph over a whole sequence to the step that takes only its new tokens. First each value
 * is classified by how it depends on the generated axis T; then caches and offsets are put in. T becomes the
 * number of new tokens, the new symbol S the length after the call.
 *
 *   CONSTANT  not at all: the same at each step
 *   LOCAL     has the axis T; element t depends on tokens up to t alone
 *   LAST      has no such axis any more; made from the last position
 *
 * Anything else that touches T is refused where it happens, with the reason. */
#include "passes/passes.h"

/* The most new tokens a call takes: a longer prompt takes several calls. It bounds what a call needs in memory
 * (attention's scores grow with new tokens x context), and is enough for contractions to run at full speed. */
enum { CHUNK = 512 };

typedef enum Kind { CONSTANT, LOCAL, LAST, REFUSED } Kind;
typedef struct Dep { Kind kind; int axis; } Dep;

typedef struct Inc {
	Graph *g;
	const char *sym;         /* name of T */
	const Dim *T, *S, *past; /* past = S - T */
	Dep *dep;                /* by id */
	Value **cached[2];       /* by id: as keys and as values, over all S positions */
	int caches;
} Inc;

static const Dep constant = { CONSTANT, -1 }, last = { LAST, -1 }, refused = { REFUSED, -1 };

static Dep local(int axis)
{
	return (Dep){ LOCAL, axis };
}

PRINTF(3, 4) static Dep refuse(const Value *v, const char *code, const char *fmt, ...)
{
	char why[300];
	va_list args;
	va_start(args, fmt);
	vsnprintf(why, sizeof why, fmt, args);
	va_end(args);
	diag_error((Loc){ 0 }, code, "%s:%d:%d: generating needs a cache, but %s", v->loc.file ? v->loc.file : "?",
		v->loc.line, v->loc.col, why);
	if (v->path)
		diag_note((Loc){ 0 }, "in %s", v->path);
	return refused;
}

static bool has_T(const Inc *c, const Dim *d)
{
	return d && dim_subst(d, c->sym, dim_const(1)) != d;
}

/* The one axis whose extent is T: -1 if no extent has T in it, -2 if another has or several have. */
static int time_axis(const Inc *c, Type t)
{
	int axis = -1;
	for (int i = 0; i < t.rank; i++)
		if (has_T(c, t.dim[i]))
			axis = axis == -1 && t.dim[i] == c->T ? i : -2;
	return axis;
}

static Dep from_type(const Inc *c, const Value *v)
{
	int axis = time_axis(c, v->type);
	if (axis == -2) {
		Str s = { 0 };
		type_print(&s, v->type);
		Dep d = refuse(v, "E0804", "the shape %s of %s is not one axis of %s", s.at, op_info[v->op].text, c->sym);
		str_free(&s);
		return d;
	}
	return axis < 0 ? constant : local(axis);
}

static Dep dep_source(Inc *c, Value *v)
{
	return from_type(c, v);
}

static Dep dep_dimval(Inc *c, Value *v)
{
	return has_T(c, v->a.size) ? refuse(v, "E0803", "the length of the whole sequence is used as a number") : constant;
}

static Dep dep_random(Inc *c, Value *v)
{
	Dep d = from_type(c, v);
	return d.kind == LOCAL ? refuse(v, "E0807", "random numbers are drawn over the sequence") : d;
}

/* What two operands with these dependences, axes already the result's, give together. */
static Dep together(Value *v, Dep a, Dep b)
{
	if (a.kind == REFUSED || b.kind == REFUSED)
		return refused;
	if (a.kind == CONSTANT || b.kind == CONSTANT)
		return a.kind == CONSTANT ? b : a;
	if (a.kind != b.kind)
		return refuse(v, "E0806", "%s gives the last position's value to earlier ones", op_info[v->op].text);
	if (a.kind == LOCAL && a.axis != b.axis)
		return refuse(v, "E0806", "%s sets every position against every other", op_info[v->op].text);
	return a;
}

static Dep shifted(Dep d, int by)
{
	if (d.kind == LOCAL)
		d.axis += by;
	return d;
}

static Dep dep_elementwise(Inc *c, Value *v)
{
	Dep d = constant;
	for (int i = 0; i < v->nin; i++)
		d = together(v, d, shifted(c->dep[v->in[i]->id], v->type.rank - v->in[i]->type.rank));
	return d;
}

static Dep dep_reduce(Inc *c, Value *v)
{
	Dep d = c->dep[v->in[0]->id];
	if (d.kind == LOCAL && v->a.axes >> d.axis & 1)
		return refuse(v, "E0802", "%s runs over the whole sequence", op_info[v->op].text);
	return d;
}

static Dep dep_softmax(Inc *c, Value *v)
{
	Dep d = c->dep[v->in[0]->id];
	return d.kind == LOCAL && v->a.axis == d.axis ? refuse(v, "E0802", "softmax runs over the whole sequence") : d;
}

/* The axis must stay one: as many elements before it as were. */
static Dep dep_reshape(Inc *c, Value *v)
{
	Dep d = c->dep[v->in[0]->id];
	if (d.kind != LOCAL)
		return d;
	const Dim *before = dim_const(1), *outer = dim_const(1);
	for (int i = 0; i < d.axis; i++)
		before = dim_mul(before, v->in[0]->type.dim[i]);
	for (int i = 0; i < v->type.rank; i++) {
		if (outer == before && v->type.dim[i] == c->T)
			return local(i);
		outer = dim_mul(outer, v->type.dim[i]);
	}
	return refuse(v, "E0804", "a reshape mixes %s with other axes", c->sym);
}

static Dep dep_transpose(Inc *c, Value *v)
{
	Dep d = c->dep[v->in[0]->id];
	for (int i = 0; d.kind == LOCAL && i < v->type.rank; i++)
		if (v->a.perm[i] == d.axis)
			return local(i);
	return d;
}

static Dep dep_slice(Inc *c, Value *v)
{
	Dep d = c->dep[v->in[0]->id];
	bool over = has_T(c, v->a.start) || has_T(c, v->a.len);
	if (d.kind == CONSTANT && v->a.len == c->T && !has_T(c, v->a.start))
		return local(v->a.axis);   /* the first T rows of a table: moves along with the offset */
	if (d.kind != LOCAL || v->a.axis != d.axis)
		return over && d.kind != REFUSED ? refuse(v, "E0805", "a slice of another axis depends on %s", c->sym) : d;
	if (v->a.len == c->T && dim_is(v->a.start, 0))
		return d;
	if (dim_is(v->a.len, 1) && v->a.start == dim_sub(c->T, dim_const(1)))
		return last;
	return refuse(v, "E0805", "a slice along the sequence is neither all of it nor its last position");
}

static Dep dep_expand(Inc *c, Value *v)
{
	Dep d = c->dep[v->in[0]->id], to = from_type(c, v);
	return together(v, shifted(d, v->type.rank - v->in[0]->type.rank), to);
}

static Dep dep_concat(Inc *c, Value *v)
{
	Dep d = dep_elementwise(c, v);
	if (d.kind == LOCAL && d.axis == v->a.axis)
		return refuse(v, "E0805", "a concatenation runs along the sequence");
	return d;
}

static Dep dep_pad(Inc *c, Value *v)
{
	Dep d = c->dep[v->in[0]->id];
	if (d.kind == LOCAL && d.axis == v->a.axis)
		return refuse(v, "E0805", "padding shifts positions along the sequence");
	if (d.kind != REFUSED && (has_T(c, v->a.lo) || has_T(c, v->a.hi)))
		return refuse(v, "E0805", "padding depends on %s", c->sym);
	return d;
}

/* Letters: that of T must be in the result, and be one letter. */
static Dep dep_contract(Inc *c, Value *v)
{
	Spec s;
	Dep d = constant;
	if (spec_parse(v->a.spec, &s))
		bug("incremental: spec %s", v->a.spec);
	for (int side = 0; side < 2; side++) {
		Dep x = c->dep[v->in[side]->id];
		if (x.kind == LOCAL) {
			const char *at = strchr(s.at[2], s.at[side][x.axis]);
			if (!at)
				return refuse(v, "E0802", "a product is summed over the whole sequence");
			x = local((int)(at - s.at[2]));
		}
		d = together(v, d, x);
	}
	return d;
}

static Dep dep_gather(Inc *c, Value *v)
{
	Dep table = c->dep[v->in[0]->id], ids = c->dep[v->in[1]->id];
	if (table.kind == LOCAL && table.axis == 0)
		return refuse(v, "E0806", "positions are looked up by number");
	return together(v, shifted(table, v->in[1]->type.rank - 1), ids);
}

/* The operands behind q, k, v must not reach along the sequence. */
static bool extras_bad(Inc *c, Value *v)
{
	int at = 3;
	if (v->a.dropout > 0) {
		refuse(v, "E0807", "attention at line %d has dropout", v->loc.line);
		return true;
	}
	if (v->a.keys && c->dep[v->in[at++]->id].kind != CONSTANT) {
		refuse(v, "E0807", "attention at line %d masks keys of the generated sequence", v->loc.line);
		return true;
	}
	if (v->a.bias && c->dep[v->in[at]->id].kind != CONSTANT) {
		refuse(v, "E0807", "attention at line %d has a bias over the generated sequence", v->loc.line);
		return true;
	}
	return false;
}

static Dep dep_attention(Inc *c, Value *v)
{
	Dep q = c->dep[v->in[0]->id], k = together(v, c->dep[v->in[1]->id], c->dep[v->in[2]->id]);
	if (q.kind == REFUSED || k.kind == REFUSED || extras_bad(c, v))
		return refused;
	if ((q.kind == LOCAL && q.axis != 1) || (k.kind == LOCAL && k.axis != 1))
		return refuse(v, "E0806", "attention at line %d does not have %s as its second axis", v->loc.line, c->sym);
	if (k.kind != LOCAL && v->a.causal && q.kind == LOCAL)
		return refuse(v, "E0801", "attention at line %d is causal over keys of another sequence", v->loc.line);
	if (k.kind != LOCAL)
		return together(v, q, k);
	if (q.kind == LOCAL && !v->a.causal)
		return refuse(v, "E0801", "attention at line %d has no causal mask", v->loc.line);
	return q.kind == LOCAL ? q : last;
}

/* Anything may leave; what is kept between calls may not depend on the sequence. */
static Dep dep_output(Inc *c, Value *v)
{
	return c->dep[v->in[0]->id].kind == REFUSED ? refused : constant;
}

static Dep dep_effect(Inc *c, Value *v)
{
	for (int i = 0; i < v->nin; i++)
		if (c->dep[v->in[i]->id].kind != CONSTANT)
			return refuse(v, "E0808", "%s depends on the sequence", op_info[v->op].text);
	return constant;
}

typedef Dep DepRule(Inc *, Value *);
static DepRule *const dep_rule[OP_COUNT] = {
	[OP_PARAM] = dep_source, [OP_STATE] = dep_source, [OP_INPUT] = dep_source, [OP_CONST] = dep_source,
	[OP_IOTA] = dep_source, [OP_DIMVAL] = dep_dimval, [OP_RANDOM] = dep_random, [OP_SUM] = dep_reduce,
	[OP_RMAX] = dep_reduce, [OP_RESHAPE] = dep_reshape, [OP_TRANSPOSE] = dep_transpose, [OP_SLICE] = dep_slice,
	[OP_EXPAND] = dep_expand, [OP_CONCAT] = dep_concat, [OP_PAD] = dep_pad, [OP_CONTRACT] = dep_contract,
	[OP_GATHER] = dep_gather, [OP_OUTPUT] = dep_output, [OP_SOFTMAX] = dep_softmax, [OP_ATTENTION] = dep_attention,
};

static bool classify(Inc *c)
{
	bool good = true;
	for (int i = 0; i < c->g->vals.len; i++) {
		Value *v = c->g->vals.at[i];
		DepRule *rule = dep_rule[v->op];
		if (!rule)
			rule = op_info[v->op].flags & OPF_ELEMENTWISE ? dep_elementwise : dep_effect;
		c->dep[i] = rule(c, v);
		good &= c->dep[i].kind != REFUSED;
	}
	return good;
}

/* How a cache lies: axis i of it is axis order[i] of (B,T,G,K). Keys have positions innermost, as the product with
 * queries runs along them side by side; values have them outside of K. */
static const int8_t cache_order[2][4] = { { 0, 2, 3, 1 }, { 0, 2, 1, 3 } };
static const int8_t cache_back[2][4] = { { 0, 3, 1, 2 }, { 0, 2, 1, 3 } };
static const int cache_axis[2] = { 3, 2 };

/* x (B,T,G,K) over all positions so far, (B,S,G,K): the state cache.<n> at the bounds, written from S - T on. */
static Value *cache(Inc *c, Builder *b, Value *x, int which)
{
	Value **done = &c->cached[which][x->id];
	if (*done)
		return *done;
	Value *new = b_transpose(b, x->repl, cache_order[which]);
	Type t = new->type, now = t;
	for (int i = 0; i < t.rank; i++) {
		int64_t bound;
		if (!graph_bound(c->g, t.dim[i], &bound))
			bug("incremental: an extent of a cache has no bound");
		t.dim[i] = dim_const(bound);
		if (i != cache_axis[which] && t.dim[i] != now.dim[i])
			new = b_pad(b, new, i, dim_const(0), dim_sub(t.dim[i], now.dim[i]));
	}
	now.dim[cache_axis[which]] = c->S;
	Value *state = b_source(b, OP_STATE, internf("cache.%d", c->caches++), t);
	Value *all = b_write(b, state, new, cache_axis[which], c->past);
	b_store(b, state, all);
	for (int i = 0; i < t.rank; i++)
		if (t.dim[i] != now.dim[i])
			all = b_slice(b, all, i, dim_const(0), now.dim[i]);
	return *done = b_transpose(b, all, cache_back[which]);
}

static Value *with_caches(Inc *c, Builder *b, Value *v)
{
	Value **in = NEW_ARRAY(c->g->arena, Value *, v->nin);
	for (int i = 0; i < v->nin; i++)
		in[i] = i == 1 || i == 2 ? cache(c, b, v->in[i], i - 1) : v->in[i]->repl;
	return build(b, v->op, in, v->nin, &v->a, NULL);
}

/* What stands for v in the step; NULL: v itself. */
static Value *step_value(Inc *c, Builder *b, Value *v)
{
	Dep d = c->dep[v->id];
	if (v->op == OP_ATTENTION && c->dep[v->in[1]->id].kind == LOCAL)
		return with_caches(c, b, v);
	if (v->op == OP_SLICE && c->dep[v->in[0]->id].kind == CONSTANT && d.kind == LOCAL)
		return b_slice(b, v->in[0]->repl, v->a.axis, dim_add(v->a.start, c->past), v->a.len);
	if (v->op == OP_IOTA && d.kind == LOCAL && v->a.axis == d.axis)
		return b_binary(b, OP_ADD, b_iota(b, v->a.axis, v->type), b_dim(b, c->past));
	return NULL;
}

static void rewrite(Inc *c)
{
	ValueList old = graph_take(c->g);
	for (int i = 0; i < old.len; i++) {
		Value *v = old.at[i];
		Builder b = { .g = c->g, .loc = v->loc, .path = v->path, .grad = v->grad };
		int first = c->g->vals.len;
		Value *r = step_value(c, &b, v);
		for (int k = first; k < c->g->vals.len; k++)
			c->g->vals.at[k]->repl = c->g->vals.at[k];
		if (r)
			v->repl = r;
		else
			graph_keep(c->g, v);
	}
}

/* A symbol whose bound is 1 is 1: so a batch of one needs no loop and no padding of caches. */
static void settle_symbols(Graph *g, const char *but)
{
	for (int i = 0; i < g->syms.len; i++) {
		const char *sym = g->syms.at[i].name;
		if (g->syms.at[i].bound != 1 || sym == but)
			continue;
		for (int k = 0; k < g->vals.len; k++) {
			Value *v = g->vals.at[k];
			const Dim **at[] = { &v->a.start, &v->a.len, &v->a.lo, &v->a.hi, &v->a.size };
			for (int j = 0; j < COUNT(at); j++)
				*at[j] = *at[j] ? dim_subst(*at[j], sym, dim_const(1)) : NULL;
			for (int j = 0; j < v->type.rank; j++)
				v->type.dim[j] = dim_subst(v->type.dim[j], sym, dim_const(1));
		}
	}
}

/* The symbol that is the last extent of the input `tokens`; NULL after diag_error. */
static const Sym *generated_axis(const Graph *g)
{
	for (int i = 0; i < g->vals.len; i++) {
		const Value *v = g->vals.at[i];
		if (v->op != OP_INPUT || strcmp(v->a.name, "tokens") != 0 || v->type.rank == 0)
			continue;
		for (int k = 0; k < g->syms.len; k++)
			if (dim_sym(g->syms.at[k].name) == v->type.dim[v->type.rank - 1])
				return &g->syms.at[k];
	}
	diag_error((Loc){ 0 }, "E0809", "%s: generating needs an input `tokens` whose last extent is a run-time dimension",
		g->name);
	return NULL;
}

bool incremental(Graph *g, Module *m, Entry *e)
{
	const Sym *time = generated_axis(g);
	if (!time)
		return false;
	for (int i = 0; i < g->syms.len; i++)
		if (strcmp(g->syms.at[i].name, "S") == 0) {
			diag_error((Loc){ 0 }, "E0809", "%s: the dimension S is the generated length's own name", g->name);
			return false;
		}
	Inc c = { .g = g, .sym = time->name, .T = dim_sym(time->name), .S = dim_sym(intern("S")) };
	c.past = dim_sub(c.S, c.T);
	settle_symbols(g, time->name);
	graph_number(g);
	c.dep = NEW_ARRAY(g->arena, Dep, g->vals.len);
	for (int i = 0; i < 2; i++)
		c.cached[i] = NEW_ARRAY(g->arena, Value *, g->vals.len);
	if (!classify(&c))
		return false;
	int64_t longest = time->bound;
	graph_sym(g, "S", longest);
	graph_sym(g, c.sym, MIN(longest, CHUNK));
	rewrite(&c);
	return true;
}
