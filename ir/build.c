/* build.c: making graphs. Builders infer types by the op's rule, append to the graph and return the value.
 * A violated rule here is the compiler's own fault: bug(). */
#include "ir/ir.h"

Graph *graph_new(Arena *arena, const char *name)
{
	Graph *g = NEW(arena, Graph);
	g->arena = arena;
	g->name = intern(name);
	return g;
}

void graph_sym(Graph *g, const char *name, int64_t bound)
{
	name = intern(name);
	for (int i = 0; i < g->syms.len; i++)
		if (g->syms.at[i].name == name) {
			g->syms.at[i].bound = bound;
			return;
		}
	vec_push(g->arena, &g->syms, ((Sym){name, bound}));
}

/* Bounds of a dim: each symbol lies in [1, bound]. */

static bool look_bound(const Graph *g, const char *sym, int64_t *bound)
{
	for (int i = 0; i < g->syms.len; i++)
		if (g->syms.at[i].name == sym) {
			*bound = g->syms.at[i].bound;
			return true;
		}
	return false;
}

static int64_t times(int64_t a, int64_t b)
{
	int64_t r;
	return __builtin_mul_overflow(a, b, &r) ? INT64_MAX : r;
}

static int64_t plus(int64_t a, int64_t b)
{
	int64_t r;
	return __builtin_add_overflow(a, b, &r) ? INT64_MAX : r;
}

/* A lower bound of a divisor: its value with every symbol 1 if no term is negative, else 1. */
static int64_t least(const Dim *d)
{
	int64_t sum = 0;
	for (int i = 0; i < dim_terms(d); i++) {
		const DimFactor *f;
		int n;
		int64_t c = dim_term(d, i, &f, &n);
		if (c < 0)
			return 1;
		for (int j = 0; j < n; j++)
			c = f[j].sym ? c : 0;
		sum = plus(sum, c);
	}
	return MAX(sum, 1);
}

static bool factor_bound(const Graph *g, const DimFactor *f, int64_t *bound)
{
	if (f->sym)
		return look_bound(g, f->sym, bound);
	if (!graph_bound(g, f->num, bound))
		return false;
	*bound /= least(f->den);
	return true;
}

bool graph_bound(const Graph *g, const Dim *d, int64_t *bound)
{
	int64_t sum = 0;
	for (int i = 0; i < dim_terms(d); i++) {
		const DimFactor *f;
		int n;
		int64_t c = dim_term(d, i, &f, &n), b;
		bool negative = c < 0;
		for (int j = 0; j < n; j++) {
			if (!factor_bound(g, &f[j], &b))
				return false;
			for (int p = 0; p < f[j].power && !negative; p++)
				c = times(c, b);
		}
		sum = plus(sum, negative ? 0 : c);
	}
	*bound = sum;
	return true;
}

/* Values */

Value *build(Builder *b, Op op, Value *const *in, int nin, const Attrs *a, const Type *given)
{
	Type t = given ? *given : type_scalar(DT_NONE);
	const char *e = op_type(op, in, nin, a, &t);
	if (e)
		bug("building %s in %s at %s:%d: %s", op_info[op].text, b->g->name, b->loc.file ? b->loc.file : "?", b->loc.line, e);
	Value *v = NEW(b->g->arena, Value);
	v->op = op;
	v->type = t;
	if (a)
		v->a = *a;
	v->nin = nin;
	v->in = NEW_ARRAY(b->g->arena, Value *, nin);
	for (int i = 0; i < nin; i++)
		v->in[i] = in[i];
	v->path = b->path;
	v->loc = b->loc;
	v->grad = b->grad;
	vec_push(b->g->arena, &b->g->vals, v);
	return v;
}

static Value *unary(Builder *b, Op op, Value *x, Attrs a) { return build(b, op, &x, 1, &a, NULL); }

static Value *given(Builder *b, Op op, Value *x, Attrs a, Type t) { return build(b, op, &x, x != NULL, &a, &t); }

Value *b_source(Builder *b, Op op, const char *name, Type t)
{
	return given(b, op, NULL, (Attrs){.name = intern(name)}, t);
}

Value *b_const(Builder *b, DType dt, double value)
{
	return given(b, OP_CONST, NULL, (Attrs){.value = value}, type_scalar(dt));
}

Value *b_iota(Builder *b, int axis, Type t) { return given(b, OP_IOTA, NULL, (Attrs){.axis = axis}, t); }

Value *b_dim(Builder *b, const Dim *d)
{
	Attrs a = {.size = d};
	return build(b, OP_DIMVAL, NULL, 0, &a, NULL);
}

Value *b_unary(Builder *b, Op op, Value *x) { return unary(b, op, x, (Attrs){0}); }

Value *b_binary(Builder *b, Op op, Value *x, Value *y) { return build(b, op, (Value *[]){x, y}, 2, NULL, NULL); }

Value *b_select(Builder *b, Value *cond, Value *x, Value *y)
{
	return build(b, OP_SELECT, (Value *[]){cond, x, y}, 3, NULL, NULL);
}

Value *b_convert(Builder *b, Value *x, DType dt)
{
	if (x->type.dt == dt)
		return x;
	if (dt == DT_F32)
		return b_unary(b, OP_TO_F32, x);
	if (dt == DT_I32)
		return b_unary(b, OP_TO_I32, x);
	if (dt == DT_BF16 || dt == DT_F16)
		return b_unary(b, dt == DT_BF16 ? OP_TO_BF16 : OP_TO_F16, x);
	if (dt != DT_BOOL)
		bug("convert to %s", dtype_name[dt]);
	return b_binary(b, OP_NE, x, b_const(b, x->type.dt, 0));
}

Value *b_random(Builder *b, Value *seed, int stream, Type t)
{
	return given(b, OP_RANDOM, seed, (Attrs){.stream = stream}, t);
}

Value *b_reduce(Builder *b, Op op, Value *x, uint32_t axes) { return unary(b, op, x, (Attrs){.axes = axes}); }

Value *b_reshape(Builder *b, Value *x, Type t)
{
	return type_eq(x->type, t) ? x : given(b, OP_RESHAPE, x, (Attrs){0}, t);
}

Value *b_transpose(Builder *b, Value *x, const int8_t *perm)
{
	Attrs a = {0};
	bool moves = false;
	for (int i = 0; i < x->type.rank; i++) {
		a.perm[i] = perm[i];
		moves |= perm[i] != i;
	}
	return moves ? unary(b, OP_TRANSPOSE, x, a) : x;
}

Value *b_slice(Builder *b, Value *x, int axis, const Dim *start, const Dim *len)
{
	return unary(b, OP_SLICE, x, (Attrs){.axis = axis, .start = start, .len = len});
}

Value *b_windows(Builder *b, Value *x, int axis, const Dim *len, int step)
{
	return unary(b, OP_WINDOWS, x, (Attrs){.axis = axis, .len = len, .step = step});
}

Value *b_expand(Builder *b, Value *x, Type t)
{
	return type_eq(x->type, t) ? x : given(b, OP_EXPAND, x, (Attrs){0}, t);
}

Value *b_concat(Builder *b, Value *const *in, int n, int axis)
{
	Attrs a = {.axis = axis};
	return n == 1 ? in[0] : build(b, OP_CONCAT, in, n, &a, NULL);
}

Value *b_pad(Builder *b, Value *x, int axis, const Dim *lo, const Dim *hi)
{
	return unary(b, OP_PAD, x, (Attrs){.axis = axis, .lo = lo, .hi = hi});
}

Value *b_contract(Builder *b, Value *x, Value *y, const char *spec)
{
	Attrs a = {.spec = intern(spec)};
	return build(b, OP_CONTRACT, (Value *[]){x, y}, 2, &a, NULL);
}

Value *b_gather(Builder *b, Value *table, Value *ids) { return b_binary(b, OP_GATHER, table, ids); }

Value *b_scatter_add(Builder *b, Value *base, Value *ids, Value *rows)
{
	return build(b, OP_SCATTER_ADD, (Value *[]){base, ids, rows}, 3, NULL, NULL);
}

Value *b_nonzero(Builder *b, Value *mask, const char *sym)
{
	int64_t bound;
	if (!graph_bound(b->g, mask->type.dim[0], &bound))
		bug("%s: nonzero of an extent without bound", b->g->name);
	graph_sym(b->g, sym, bound);
	return given(b, OP_NONZERO, mask, (Attrs){0}, type_make(DT_I32, 1, (const Dim *[]){dim_sym(intern(sym))}));
}

Value *b_write(Builder *b, Value *dst, Value *src, int axis, const Dim *start)
{
	Attrs a = {.axis = axis, .start = start};
	return build(b, OP_WRITE, (Value *[]){dst, src}, 2, &a, NULL);
}

Value *b_store(Builder *b, Value *target, Value *value) { return b_binary(b, OP_STORE, target, value); }

Value *b_output(Builder *b, const char *name, Value *x)
{
	return unary(b, OP_OUTPUT, x, (Attrs){.name = intern(name)});
}

/* Rewriting */

void graph_number(Graph *g)
{
	for (int i = 0; i < g->vals.len; i++) {
		g->vals.at[i]->id = i;
		g->vals.at[i]->uses = 0;
	}
	for (int i = 0; i < g->vals.len; i++)
		for (int j = 0; j < g->vals.at[i]->nin; j++)
			g->vals.at[i]->in[j]->uses++;
}

ValueList graph_take(Graph *g)
{
	ValueList old;
	memcpy(&old, &g->vals, sizeof old);
	memset(&g->vals, 0, sizeof g->vals);
	vec_reserve_(g->arena, (void **)&g->vals.at, &g->vals.cap, old.len, sizeof *g->vals.at);
	for (int i = 0; i < old.len; i++)
		old.at[i]->repl = NULL;
	return old;
}

void graph_keep(Graph *g, Value *v)
{
	for (int i = 0; i < v->nin; i++) {
		if (!v->in[i]->repl)
			bug("%s: operand %d of %s is kept before the operand itself", g->name, i, op_info[v->op].text);
		v->in[i] = v->in[i]->repl;
	}
	if (v->dest && v->dest->repl)
		v->dest = v->dest->repl;
	v->repl = v;
	vec_push(g->arena, &g->vals, v);
}

static bool is_new(const Graph *g, const Value *r, int first)
{
	for (int i = first; i < g->vals.len; i++)
		if (g->vals.at[i] == r)
			return true;
	return false;
}

/* r is used as v was; a new one also has v's place in the old graph. */
static void stand_in(Value *v, Value *r, bool new)
{
	v->repl = r;
	r->uses += v->uses;
	if (!new)
		return;
	r->mark = v->mark;
	r->id = v->id;
}

bool graph_rewrite(Graph *g, RewriteRule *rule)
{
	bool changed = false;
	ValueList old = graph_take(g);
	for (int i = 0; i < old.len; i++) {
		Value *v = old.at[i];
		for (int k = 0; k < v->nin; k++)
			v->in[k] = v->in[k]->repl;
		Builder b = { .g = g, .loc = v->loc, .path = v->path, .grad = v->grad };
		int first = g->vals.len;
		Value *r = rule(&b, v);
		for (int k = first; k < g->vals.len; k++)
			g->vals.at[k]->repl = g->vals.at[k];
		if (r)
			stand_in(v, r, is_new(g, r, first));
		else
			graph_keep(g, v);
		changed |= r != NULL;
	}
	return changed;
}
