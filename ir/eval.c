/* eval.c: the reference evaluator. Every value a dense row-major array of doubles (i32 and bool are exact in
 * them), every op a plain loop. Values are never changed once made, so that sources and reshapes can share
 * memory; stores and outputs reach the Env after the last op, so all reads see the old state. */
#include "ir/ir.h"

#include <math.h>

enum { MAX_ELEMS = 1 << 30 };

typedef struct Named { const char *name; Tensor *t; } Named;
typedef struct Bound { const char *sym; int64_t value; } Bound;
struct Env {
	Arena *arena;
	Vec(Bound) dims;
	Vec(Named) tensors;
};

typedef struct Run {
	const Graph *g;
	Env *env;
	Arena *arena;              /* goes with the run */
	ValueMap *index;           /* into done */
	Vec(Tensor *) done;
	Vec(Named) results;        /* stores and outputs */
	bool failed;
} Run;

/* Env */

Env *env_new(Arena *a)
{
	Env *e = NEW(a, Env);
	e->arena = a;
	return e;
}

void env_dim(Env *e, const char *sym, int64_t value)
{
	sym = intern(sym);
	for (int i = 0; i < e->dims.len; i++)
		if (e->dims.at[i].sym == sym) {
			e->dims.at[i].value = value;
			return;
		}
	vec_push(e->arena, &e->dims, ((Bound){sym, value}));
}

Tensor *env_get(Env *e, const char *name)
{
	name = intern(name);
	for (int i = 0; i < e->tensors.len; i++)
		if (e->tensors.at[i].name == name)
			return e->tensors.at[i].t;
	return NULL;
}

Tensor *env_set(Env *e, const char *name, int rank, const int64_t *shape, const double *data)
{
	Tensor *t = env_get(e, name);
	if (!t) {
		t = NEW(e->arena, Tensor);
		vec_push(e->arena, &e->tensors, ((Named){intern(name), t}));
	}
	int64_t n = 1, had = t->n;
	t->type = (Type){.dt = DT_F32, .rank = rank};
	for (int i = 0; i < rank; i++) {
		t->shape[i] = shape[i];
		t->type.dim[i] = dim_const(shape[i]);
		n *= shape[i];
	}
	t->n = n;
	if (!t->at || n > had)
		t->at = NEW_ARRAY(e->arena, double, n);
	if (data)
		memmove(t->at, data, sizeof(double) * (size_t)n);
	else
		memset(t->at, 0, sizeof(double) * (size_t)n);
	return t;
}

bool env_look(void *env, const char *sym, int64_t *value)
{
	const Env *e = env;
	for (int i = 0; i < e->dims.len; i++)
		if (e->dims.at[i].sym == sym) {
			*value = e->dims.at[i].value;
			return true;
		}
	return false;
}

/* The run */

static void fail(Run *r, const Value *v, const char *what)
{
	r->failed = true;
	diag_error((Loc){0}, "E0920", "evaluating %s of %s: %s", op_info[v->op].text, r->g->name, what);
}

static bool look_dim(void *ctx, const char *sym, int64_t *value)
{
	const Env *e = ctx;
	for (int i = 0; i < e->dims.len; i++)
		if (e->dims.at[i].sym == sym) {
			*value = e->dims.at[i].value;
			return true;
		}
	return false;
}

static int64_t extent(Run *r, const Value *v, const Dim *d)
{
	int64_t n;
	if (dim_eval(d, look_dim, r->env, &n))
		return n;
	fail(r, v, internf("dimension %s has no value", dim_text(d)));
	return 0;
}

static double *fresh(Run *r, Tensor *t) { return t->at = NEW_ARRAY(r->arena, double, t->n); }

static Tensor *tensor_of(Run *r, const Value *v)
{
	Tensor *t = NEW(r->arena, Tensor);
	t->type = v->type;
	t->n = 1;
	for (int i = 0; i < v->type.rank && !r->failed; i++) {
		t->shape[i] = extent(r, v, v->type.dim[i]);
		if (t->shape[i] < 0 || (t->shape[i] && t->n > MAX_ELEMS / t->shape[i]))
			fail(r, v, internf("axis %d has %lld elements", i, (long long)t->shape[i]));
		else
			t->n *= t->shape[i];
	}
	return t;
}

/* Strided copying: everything that moves elements comes down to it. */

static void strides_of(const Tensor *t, int64_t *stride)
{
	int64_t step = 1;
	for (int i = t->type.rank - 1; i >= 0; i--) {
		stride[i] = step;
		step *= t->shape[i];
	}
}

static void move(int rank, const int64_t *shape, double *to, const int64_t *ts, const double *from, const int64_t *fs)
{
	if (rank == 0) {
		*to = *from;
		return;
	}
	if (rank == 1) {
		for (int64_t i = 0; i < shape[0]; i++)
			to[i * ts[0]] = from[i * fs[0]];
		return;
	}
	for (int64_t i = 0; i < shape[0]; i++)
		move(rank - 1, shape + 1, to + i * ts[0], ts + 1, from + i * fs[0], fs + 1);
}

/* t's elements as the shape of `as` has them, stretched where t's extent is 1. */
static const double *stretched(Run *r, const Tensor *t, const Tensor *as)
{
	if (t->n == as->n)
		return t->at;
	int64_t ts[MAX_RANK], fs[MAX_RANK], own[MAX_RANK];
	strides_of(as, ts);
	strides_of(t, own);
	int lead = as->type.rank - t->type.rank;
	for (int i = 0; i < as->type.rank; i++)
		fs[i] = i >= lead && t->shape[i - lead] == as->shape[i] ? own[i - lead] : 0;
	double *to = NEW_ARRAY(r->arena, double, as->n);
	move(as->type.rank, as->shape, to, ts, t->at, fs);
	return to;
}

/* The rules: v's operands are in[], its result goes to out, whose shape is set. */
#define EVAL(name) static void eval_##name(Run *r, const Value *v, Tensor *const *in, Tensor *out)

EVAL(source)
{
	Tensor *t = env_get(r->env, v->a.name);
	if (!t) {
		fail(r, v, internf("%s has no value", v->a.name));
		return;
	}
	bool fits = t->type.rank == v->type.rank;
	for (int i = 0; fits && i < v->type.rank; i++)
		fits = t->shape[i] == out->shape[i];
	if (!fits)
		fail(r, v, internf("%s has another shape", v->a.name));
	out->at = t->at;
}

EVAL(const)
{
	double *to = fresh(r, out);
	for (int64_t i = 0; i < out->n; i++)
		to[i] = v->a.value;
}

EVAL(iota)
{
	int64_t stride[MAX_RANK];
	strides_of(out, stride);
	double *to = fresh(r, out);
	for (int64_t i = 0; i < out->n; i++)
		to[i] = (double)(i / stride[v->a.axis] % out->shape[v->a.axis]);
}

EVAL(dimval) { *fresh(r, out) = (double)extent(r, v, v->a.size); }

double random_uniform(uint32_t seed, uint32_t stream, uint32_t index)
{
	uint32_t x0 = index, x1 = stream, key = seed;
	for (int round = 0; round < 10; round++) {
		uint64_t product = (uint64_t)x0 * 0xD256D193u;
		x0 = (uint32_t)(product >> 32) ^ key ^ x1;
		x1 = (uint32_t)product;
		key += 0x9E3779B9u;
	}
	return (double)(x0 >> 8) * 0x1p-24;
}

EVAL(random)
{
	double *to = fresh(r, out);
	uint32_t seed = (uint32_t)(int64_t)in[0]->at[0];
	for (int64_t i = 0; i < out->n; i++)
		to[i] = random_uniform(seed, (uint32_t)v->a.stream, (uint32_t)i);
}

#define EVAL1(name, expr) \
	EVAL(name) { \
		double *to = fresh(r, out); \
		const double *px = in[0]->at; \
		for (int64_t i = 0; i < out->n; i++) { \
			double x = px[i]; \
			to[i] = (expr); \
		} \
	}
#define EVAL2(name, expr) \
	EVAL(name) { \
		double *to = fresh(r, out); \
		const double *pa = stretched(r, in[0], out), *pb = stretched(r, in[1], out); \
		for (int64_t i = 0; i < out->n; i++) { \
			double a = pa[i], b = pb[i]; \
			to[i] = (expr); \
		} \
	}
/* i32 wraps around, as the kernels' does. */
#define EVAL2I(name, op) \
	EVAL2(name, out->type.dt == DT_I32 ? (double)(int32_t)(uint32_t)((uint64_t)(int64_t)a op (uint64_t)(int64_t)b) : a op b)

static double to_int(double x)
{
	if (isnan(x))
		return 0;
	return x <= INT32_MIN ? INT32_MIN : x >= INT32_MAX ? INT32_MAX : trunc(x);
}

double round_bf16(double x)
{
	float f = (float)x;
	uint32_t bits;
	memcpy(&bits, &f, sizeof bits);
	if (isnan(f))
		return x;
	bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
	memcpy(&f, &bits, sizeof f);
	return (double)f;
}

static double to_i8(double x) { return isnan(x) ? 0 : fmin(fmax(nearbyint((double)(float)x), -127), 127); }

EVAL1(neg, -x)
EVAL1(abs, fabs(x))
EVAL1(exp, exp(x))
EVAL1(log, log(x))
EVAL1(sqrt, sqrt(x))
EVAL1(rsqrt, 1 / sqrt(x))
EVAL1(tanh, tanh(x))
EVAL1(erf, erf(x))
EVAL1(sin, sin(x))
EVAL1(cos, cos(x))
EVAL1(sigmoid, 1 / (1 + exp(-x)))
EVAL1(not, x == 0)
EVAL1(to_i32, to_int(x))
EVAL1(to_bf16, round_bf16(x))
EVAL1(to_f16, half_value(half_bits((float)x)))
EVAL1(to_i8, to_i8(x))
EVAL2I(add, +)
EVAL2I(sub, -)
EVAL2I(mul, *)
EVAL2(div, a / b)
EVAL2(pow, pow(a, b))
EVAL2(max, a >= b ? a : b)
EVAL2(min, a <= b ? a : b)
EVAL2(eq, a == b)
EVAL2(ne, a != b)
EVAL2(lt, a < b)
EVAL2(le, a <= b)
EVAL2(and, a != 0 && b != 0)
EVAL2(or, a != 0 || b != 0)

EVAL(identity) { out->at = in[0]->at; }
EVAL(reshape) { out->at = in[0]->at; }

/* The places of a tensor along some of its axes, in their order, and along the others. */
typedef struct Along { int64_t n[2], stride[2][MAX_RANK], shape[2][MAX_RANK]; int rank[2]; } Along;

static Along along_letters(const Tensor *t, const char *letters, const char *others)
{
	Along a = { .n = { 1, 1 } };
	int64_t stride = t->n;
	for (int i = 0; i < t->type.rank; i++) {
		bool inside = !strchr(others, letters[i]);
		int at = a.rank[inside]++;
		stride /= t->shape[i] ? t->shape[i] : 1;
		a.shape[inside][at] = t->shape[i];
		a.stride[inside][at] = stride;
		a.n[inside] *= t->shape[i];
	}
	return a;
}

static int64_t place_along(const Along *a, bool inside, int64_t i)
{
	int64_t at = 0;
	for (int axis = a->rank[inside] - 1; axis >= 0; axis--) {
		at += i % a->shape[inside][axis] * a->stride[inside][axis];
		i /= a->shape[inside][axis];
	}
	return at;
}

/* The elements from..to along k of one row or column: what their block has of them. */
static void round_block(Quant format, const Along *a, const double *from, double *to, int64_t row, int64_t k)
{
	float x[QUANT_BLOCK] = { 0 };
	int64_t n = MIN(QUANT_BLOCK, a->n[1] - k);
	for (int64_t i = 0; i < n; i++)
		x[i] = (float)from[row + place_along(a, true, k + i)];
	QuantBlock b = quant_block(format, x);
	for (int64_t i = 0; i < n; i++)
		to[row + place_along(a, true, k + i)] = (double)b.scale * b.q[i];
}

EVAL(pack)
{
	Spec s;
	if (!v->a.format) {
		out->at = in[0]->at;
		return;
	}
	if (spec_parse(v->a.spec, &s))
		bug("pack \"%s\"", v->a.spec);
	double *to = fresh(r, out);
	Along a = along_letters(in[0], s.at[v->a.side], s.at[2]);
	for (int64_t i = 0; i < a.n[0]; i++)
		for (int64_t k = 0; k < a.n[1]; k += QUANT_BLOCK)
			round_block(v->a.format, &a, in[0]->at, to, place_along(&a, false, i), k);
}

EVAL(select)
{
	double *to = fresh(r, out);
	const double *c = stretched(r, in[0], out), *a = stretched(r, in[1], out), *b = stretched(r, in[2], out);
	for (int64_t i = 0; i < out->n; i++)
		to[i] = c[i] != 0 ? a[i] : b[i];
}

typedef struct Reduction { bool max; int rank; const int64_t *shape, *from, *to; } Reduction;

static void reduce(const Reduction *k, int axis, double *to, const double *from)
{
	if (axis == k->rank) {
		*to = !k->max ? *to + *from : *from >= *to || isnan(*from) ? *from : *to;
		return;
	}
	for (int64_t i = 0; i < k->shape[axis]; i++)
		reduce(k, axis + 1, to + i * k->to[axis], from + i * k->from[axis]);
}

static void reduce_into(Run *r, const Value *v, const Tensor *x, Tensor *out, bool max)
{
	int64_t from[MAX_RANK], to[MAX_RANK];
	strides_of(x, from);
	strides_of(out, to);
	for (int i = 0; i < x->type.rank; i++)
		if (v->a.axes >> i & 1)
			to[i] = 0;
	fresh(r, out);
	for (int64_t i = 0; max && i < out->n; i++)
		out->at[i] = -INFINITY;
	Reduction k = {max, x->type.rank, x->shape, from, to};
	reduce(&k, 0, out->at, x->at);
}

EVAL(sum) { reduce_into(r, v, in[0], out, false); }
EVAL(rmax) { reduce_into(r, v, in[0], out, true); }

EVAL(transpose)
{
	int64_t ts[MAX_RANK], own[MAX_RANK], fs[MAX_RANK];
	strides_of(out, ts);
	strides_of(in[0], own);
	for (int i = 0; i < v->type.rank; i++)
		fs[i] = own[v->a.perm[i]];
	move(v->type.rank, out->shape, fresh(r, out), ts, in[0]->at, fs);
}

/* Copies `part` into `whole` from `start` along the axis, or out of it. No elements may begin anywhere: a counted extent of 0. */
static void place(Run *r, const Value *v, Tensor *whole, Tensor *part, int64_t start, bool out_of)
{
	int axis = v->a.axis;
	if (!part->shape[axis])
		return;
	if (start < 0 || start + part->shape[axis] > whole->shape[axis]) {
		fail(r, v, internf("elements %lld to %lld of an axis of %lld", (long long)start,
		                   (long long)(start + part->shape[axis]), (long long)whole->shape[axis]));
		return;
	}
	int64_t ws[MAX_RANK], ps[MAX_RANK];
	strides_of(whole, ws);
	strides_of(part, ps);
	double *at = whole->at + start * ws[axis];
	if (out_of)
		move(part->type.rank, part->shape, part->at, ps, at, ws);
	else
		move(part->type.rank, part->shape, at, ws, part->at, ps);
}

EVAL(slice)
{
	fresh(r, out);
	place(r, v, in[0], out, extent(r, v, v->a.start), true);
}

/* A strided copy whose source strides overlap. */
EVAL(windows)
{
	int64_t own[MAX_RANK], fs[MAX_RANK], ts[MAX_RANK];
	int axis = v->a.axis;
	strides_of(in[0], own);
	strides_of(out, ts);
	for (int i = 0; i < v->type.rank; i++)
		fs[i] = i == axis ? own[axis] * v->a.step : own[i - (i > axis)];
	move(v->type.rank, out->shape, fresh(r, out), ts, in[0]->at, fs);
}

EVAL(expand) { out->at = (double *)stretched(r, in[0], out); }   /* fused ops don't come here: eval_expanded */

EVAL(concat)
{
	fresh(r, out);
	int64_t at = 0;
	for (int i = 0; i < v->nin; i++) {
		place(r, v, out, in[i], at, false);
		at += in[i]->shape[v->a.axis];
	}
}

EVAL(pad)
{
	fresh(r, out);
	place(r, v, out, in[0], extent(r, v, v->a.lo), false);
}

EVAL(write)
{
	memcpy(fresh(r, out), in[0]->at, sizeof(double) * (size_t)out->n);
	place(r, v, out, in[1], extent(r, v, v->a.start), false);
}

/* A contraction as loops over the result's letters, then over the summed ones; st: the operands' strides. */
typedef struct Loops { int n, outer; int64_t count[2 * MAX_RANK], st[3][2 * MAX_RANK]; } Loops;

static double dot(const Loops *l, int axis, const double *a, const double *b)
{
	if (axis == l->n)
		return *a * *b;
	double sum = 0;
	if (axis == l->n - 1) {
		for (int64_t i = 0; i < l->count[axis]; i++)
			sum += a[i * l->st[0][axis]] * b[i * l->st[1][axis]];
		return sum;
	}
	for (int64_t i = 0; i < l->count[axis]; i++)
		sum += dot(l, axis + 1, a + i * l->st[0][axis], b + i * l->st[1][axis]);
	return sum;
}

static void products(const Loops *l, int axis, double *to, const double *a, const double *b)
{
	if (axis == l->outer) {
		*to = dot(l, axis, a, b);
		return;
	}
	for (int64_t i = 0; i < l->count[axis]; i++)
		products(l, axis + 1, to + i * l->st[2][axis], a + i * l->st[0][axis], b + i * l->st[1][axis]);
}

static void add_loop(Loops *l, char letter, const Spec *s, const Tensor *const t[3])
{
	for (int k = 0; k < 3; k++) {
		const char *at = strchr(s->at[k], letter);
		if (!at)
			continue;
		int64_t stride[MAX_RANK];
		strides_of(t[k], stride);
		l->count[l->n] = t[k]->shape[at - s->at[k]];
		l->st[k][l->n] = stride[at - s->at[k]];
	}
	l->n++;
}

EVAL(contract)
{
	Spec s;
	if (spec_parse(v->a.spec, &s))
		bug("contract with a bad spec");
	const Tensor *const t[3] = {in[0], in[1], out};
	Loops l = {0};
	for (int i = 0; i < s.n[2]; i++)
		add_loop(&l, s.at[2][i], &s, t);
	l.outer = l.n;
	for (int i = 0; i < s.n[0]; i++)
		if (!strchr(s.at[2], s.at[0][i]))
			add_loop(&l, s.at[0][i], &s, t);
	products(&l, 0, fresh(r, out), in[0]->at, in[1]->at);
}

static int64_t row_size(const Tensor *table)
{
	int64_t n = 1;
	for (int i = 1; i < table->type.rank; i++)
		n *= table->shape[i];
	return n;
}

EVAL(gather)
{
	int64_t row = row_size(in[0]);
	double *to = fresh(r, out);
	for (int64_t i = 0; i < in[1]->n; i++) {
		double id = in[1]->at[i];
		if (id >= 0 && id < (double)in[0]->shape[0])
			memcpy(to + i * row, in[0]->at + (int64_t)id * row, sizeof(double) * (size_t)row);
	}
}

EVAL(scatter_add)
{
	int64_t row = row_size(in[0]);
	double *to = fresh(r, out);
	memcpy(to, in[0]->at, sizeof(double) * (size_t)out->n);
	for (int64_t i = 0; i < in[1]->n; i++) {
		double id = in[1]->at[i];
		if (id >= 0 && id < (double)in[0]->shape[0])
			for (int64_t j = 0; j < row; j++)
				to[(int64_t)id * row + j] += in[2]->at[i * row + j];
	}
}

EVAL(nonzero)
{
	double *to = fresh(r, out);
	for (int64_t i = 0; i < in[0]->n; i++)
		if (in[0]->at[i] != 0)
			*to++ = (double)i;
}

/* Its result's extent is what it sets. */
static void count(Run *r, const Value *v, const Tensor *mask)
{
	int64_t n = 0;
	for (int64_t i = 0; i < mask->n; i++)
		n += mask->at[i] != 0;
	env_dim(r->env, counted_sym(v), n);
}

EVAL(store) { vec_push(r->arena, &r->results, ((Named){v->in[0]->a.name, in[1]})); }
EVAL(output) { vec_push(r->arena, &r->results, ((Named){v->a.name, in[0]})); }

typedef void EvalRule(Run *, const Value *, Tensor *const *, Tensor *);
static EvalRule *const rules[OP_COUNT] = {
#define OP(NAME, text, lo, hi, attrs, type, grad, eval, lower, flags, doc) [OP_##NAME] = eval_##eval,
#include "ir/ops.def"
};

static void finish(Run *r, const Value *v, Tensor *t)
{
	vmap_put(r->index, v, r->done.len);
	vec_push(r->arena, &r->done, t);
}

static void eval_value(Run *r, Value *v);

/* Evaluates v's expansion; it reads v's operands, which are done. */
static void eval_expanded(Run *r, Value *v)
{
	Graph *g = graph_new(r->arena, r->g->name);
	Builder b = {.g = g};
	Value *meaning = expand_op(&b, v);
	for (int i = 0; i < g->vals.len && !r->failed; i++)
		eval_value(r, g->vals.at[i]);
	if (!r->failed)
		finish(r, v, r->done.at[vmap_get(r->index, meaning)]);
}

static void eval_value(Run *r, Value *v)
{
	if (op_info[v->op].flags & OPF_FUSED) {
		eval_expanded(r, v);
		return;
	}
	Tensor **in = NEW_ARRAY(r->arena, Tensor *, v->nin + 1);
	for (int i = 0; i < v->nin; i++) {
		int at = vmap_get(r->index, v->in[i]);
		if (at < 0)
			bug("%s: operand %d of %s is not evaluated before it", r->g->name, i, op_info[v->op].text);
		in[i] = r->done.at[at];
	}
	if (is_counting(v))
		count(r, v, in[0]);
	Tensor *out = tensor_of(r, v);
	if (r->failed)
		return;
	rules[v->op](r, v, in, out);
	finish(r, v, out);
}

static void publish(Run *r)
{
	for (int i = 0; i < r->results.len; i++) {
		Tensor *from = r->results.at[i].t;
		Tensor *t = env_set(r->env, r->results.at[i].name, from->type.rank, from->shape, from->at);
		t->type.dt = from->type.dt;
	}
}

/* A result may be a source itself, which publishing another may overwrite: it is copied first. */
static void detach(Run *r)
{
	for (int i = 0; i < r->results.len; i++) {
		Tensor *copy = NEW(r->arena, Tensor);
		*copy = *r->results.at[i].t;
		memcpy(fresh(r, copy), r->results.at[i].t->at, sizeof(double) * (size_t)copy->n);
		r->results.at[i].t = copy;
	}
}

bool graph_eval(const Graph *g, Env *env)
{
	Run r = {.g = g, .env = env, .arena = arena_new()};
	r.index = vmap_new(r.arena);
	for (int i = 0; i < g->vals.len && !r.failed; i++)
		eval_value(&r, g->vals.at[i]);
	if (!r.failed) {
		detach(&r);
		publish(&r);
	}
	arena_free(r.arena);
	return !r.failed;
}
