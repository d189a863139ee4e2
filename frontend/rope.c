/* rope.c: what positions do: rotary embeddings, relative buckets. In check mode only shapes are checked.
 *
 * Rotary positions (Su et al. 2021, sec. 3.2): pair i of a head turns by position * theta^(-2i/K). Pairs are elements i and
 * i + K/2 (GPT-NeoX, Llama), or with interleaved=true 2i and 2i + 1 (the paper, GPT-J). dims=n turns the first n alone. */
#include "frontend/elab.h"

#include <math.h>

static const Val poison = { .kind = V_POISON };

/* Scalings of the frequencies */

typedef enum RopeArg { RA_FACTOR, RA_LOW, RA_HIGH, RA_ORIGINAL, RA_FAST, RA_SLOW, RA_ATTENTION, RA_COUNT } RopeArg;
static const char *const arg_name[RA_COUNT] = {
	[RA_FACTOR] = "factor", [RA_LOW] = "low", [RA_HIGH] = "high", [RA_ORIGINAL] = "original",
	[RA_FAST] = "fast", [RA_SLOW] = "slow", [RA_ATTENTION] = "attention",
};

typedef struct Rope { const struct RopeForm *form; double arg[RA_COUNT], theta; int64_t half; } Rope;
typedef Value *RopeScale(Builder *, Value *freq, const Rope *);
typedef struct RopeForm {
	const char *name;
	RopeScale *scale;
	RopeArg order[RA_COUNT]; int n, needed;   /* its arguments in order; the first `needed` must be given */
	double fast, slow;                        /* defaults */
} RopeForm;

static Value *f32(Builder *b, double x) { return b_const(b, DT_F32, x); }

/* x * mul + add, clamped to [0, 1] */
static Value *ramp(Builder *b, Value *x, double mul, double add)
{
	Value *s = b_binary(b, OP_ADD, b_binary(b, OP_MUL, x, f32(b, mul)), f32(b, add));
	return b_binary(b, OP_MIN, b_binary(b, OP_MAX, s, f32(b, 0)), f32(b, 1));
}

/* freq * (1/factor + keep * (1 - 1/factor)): kept where keep is 1, divided where it is 0 */
static Value *blend(Builder *b, Value *freq, Value *keep, double factor)
{
	Value *s = b_binary(b, OP_MUL, keep, f32(b, 1 - 1 / factor));
	return b_binary(b, OP_MUL, freq, b_binary(b, OP_ADD, s, f32(b, 1 / factor)));
}

/* Positions are divided by the factor (Chen et al. 2023). */
static Value *scale_linear(Builder *b, Value *freq, const Rope *r)
{
	return b_binary(b, OP_MUL, freq, f32(b, 1 / r->arg[RA_FACTOR]));
}

/* Llama 3.1's frequencies (Dubey et al. 2024): slow ones are divided by the factor, fast ones kept, between them blended,
 * by how often they turn over the original context. */
static Value *scale_llama3(Builder *b, Value *freq, const Rope *r)
{
	double turns = r->arg[RA_ORIGINAL] / (2 * M_PI), low = r->arg[RA_LOW], high = r->arg[RA_HIGH];
	return blend(b, freq, ramp(b, freq, turns / (high - low), -low / (high - low)), r->arg[RA_FACTOR]);
}

/* The pair that turns `turns` times over the original context. */
static double pair_turning(const Rope *r, double turns)
{
	return (double)r->half * log(r->arg[RA_ORIGINAL] / (turns * 2 * M_PI)) / log(r->theta);
}

/* YaRN (Peng et al. 2023, sec. 3.2): pairs before the one that turns `fast` times are kept, those behind the one that turns
 * `slow` times divided, between them blended by number. */
static Value *scale_yarn(Builder *b, Value *freq, const Rope *r)
{
	double lo = fmax(floor(pair_turning(r, r->arg[RA_FAST])), 0);
	double hi = fmin(ceil(pair_turning(r, r->arg[RA_SLOW])), (double)(2 * r->half - 1));
	if (hi <= lo)
		hi = lo + 0.001;
	Value *i = b_convert(b, b_iota(b, 0, type_make(DT_I32, 1, (const Dim *[]){ dim_const(r->half) })), DT_F32);
	Value *divided = ramp(b, i, 1 / (hi - lo), -lo / (hi - lo));
	return blend(b, freq, b_binary(b, OP_SUB, f32(b, 1), divided), r->arg[RA_FACTOR]);
}

static const RopeForm forms[] = {
	{ "linear", scale_linear, { RA_FACTOR }, 1, 1, 0, 0 },
	{ "llama3", scale_llama3, { RA_FACTOR, RA_LOW, RA_HIGH, RA_ORIGINAL }, 4, 4, 0, 0 },
	{ "yarn", scale_yarn, { RA_FACTOR, RA_ORIGINAL, RA_FAST, RA_SLOW, RA_ATTENTION }, 5, 2, 32, 1 },
};

static int slot_of(const RopeForm *f, const char *name, int next)
{
	if (!name)
		return next < f->n ? next : -1;
	for (int i = 0; i < f->n; i++)
		if (strcmp(arg_name[f->order[i]], name) == 0)
			return i;
	return -1;
}

static bool scale_args(Call *c, Val v, Rope *r)
{
	const RopeForm *f = r->form;
	int next = 0;
	uint32_t given = 0;
	r->arg[RA_FAST] = f->fast;
	r->arg[RA_SLOW] = f->slow;
	for (int i = 0; i < v.nitems; i++) {
		int at = slot_of(f, v.names[i], next);
		next += !v.names[i];
		if (at < 0) {
			err(c->e, arg_loc(c, 2), "E0430", "`%s` has no argument `%s`", v.s, v.names[i] ? v.names[i] : "so many");
			return false;
		}
		val_number(v.items[i], &r->arg[f->order[at]]);
		given |= 1u << at;
	}
	for (int i = 0; i < f->n; i++)
		if ((given >> i & 1 || i < f->needed) && r->arg[f->order[i]] <= 0) {
			err(c->e, arg_loc(c, 2), "E0440", "`%s` needs a positive `%s`", v.s, arg_name[f->order[i]]);
			return false;
		}
	/* the temperature of attention, as a factor of cos and sin: Peng et al. 2023, sec. 3.3 */
	if (r->arg[RA_ATTENTION] == 0 && strcmp(f->name, "yarn") == 0)
		r->arg[RA_ATTENTION] = 0.1 * log(r->arg[RA_FACTOR]) + 1;
	return true;
}

static bool scale_arg(Call *c, Rope *r)
{
	Val v = c->arg[2];
	const char *names[COUNT(forms)];
	if (v.kind == V_NONE || (v.kind == V_CALL && !v.s))
		return true;
	if (v.kind != V_CALL) {
		err(c->e, arg_loc(c, 2), "E0454", "`scale` is none, linear(f), llama3(..) or yarn(..), got %s", val_describe(c->e, v));
		return false;
	}
	for (int i = 0; i < COUNT(forms); i++) {
		names[i] = forms[i].name;
		if (strcmp(v.s, forms[i].name) == 0)
			r->form = &forms[i];
	}
	if (r->form)
		return scale_args(c, v, r);
	err(c->e, arg_loc(c, 2), "E0454", "`rope` has no scaling `%s`", v.s);
	suggest_among(c->e, v.s, names, COUNT(names));
	return false;
}

/* Turning */

/* theta^(-i/half) for i < half: f32[half] */
static Value *frequencies(Builder *b, const Rope *r)
{
	const Dim *n = dim_const(r->half);
	Value *i = b_convert(b, b_iota(b, 0, type_make(DT_I32, 1, &n)), DT_F32);
	Value *f = b_unary(b, OP_EXP, b_binary(b, OP_MUL, i, f32(b, -log(r->theta) / (double)r->half)));
	return r->form ? r->form->scale(b, f, r) : f;
}

typedef struct Turn { Value *cos, *sin; } Turn;

/* (T,1,half) */
static Turn turn_of(Builder *b, const Rope *r, const Dim *T)
{
	const Dim *one = dim_const(1);
	Value *at = b_convert(b, b_iota(b, 0, type_make(DT_I32, 1, &T)), DT_F32);
	at = b_reshape(b, at, type_make(DT_F32, 3, (const Dim *[]){ T, one, one }));
	Value *angle = b_binary(b, OP_MUL, at, frequencies(b, r));
	Turn t = { b_unary(b, OP_COS, angle), b_unary(b, OP_SIN, angle) };
	if (r->arg[RA_ATTENTION] > 0) {
		t.cos = b_binary(b, OP_MUL, t.cos, f32(b, r->arg[RA_ATTENTION]));
		t.sin = b_binary(b, OP_MUL, t.sin, f32(b, r->arg[RA_ATTENTION]));
	}
	return t;
}

/* The two halves of pairs, turned. */
static void turned(Builder *b, Turn t, Value **x, Value **y)
{
	Value *a = b_binary(b, OP_SUB, b_binary(b, OP_MUL, *x, t.cos), b_binary(b, OP_MUL, *y, t.sin));
	*y = b_binary(b, OP_ADD, b_binary(b, OP_MUL, *y, t.cos), b_binary(b, OP_MUL, *x, t.sin));
	*x = a;
}

/* x (..,T,H,2*half): pairs (i, i + half) */
static Value *rotate_halves(Builder *b, Value *x, Turn t, int64_t half, Value *rest)
{
	int last = x->type.rank - 1;
	const Dim *n = dim_const(half);
	Value *part[3] = { b_slice(b, x, last, dim_const(0), n), b_slice(b, x, last, n, n), rest };
	turned(b, t, &part[0], &part[1]);
	return b_concat(b, part, rest ? 3 : 2, last);
}

/* x (..,T,H,2*half): pairs (2i, 2i + 1) */
static Value *rotate_neighbours(Builder *b, Value *x, Turn t, int64_t half, Value *rest)
{
	Type pairs = x->type, one;
	int last = pairs.rank;
	pairs.dim[pairs.rank - 1] = dim_const(half);
	one = pairs;
	pairs.dim[pairs.rank++] = dim_const(2);
	one.dim[one.rank++] = dim_const(1);
	Value *p = b_reshape(b, x, pairs);
	Value *part[2];
	for (int i = 0; i < 2; i++) {
		Type flat = one;
		flat.rank--;
		part[i] = b_reshape(b, b_slice(b, p, last, dim_const(i), dim_const(1)), flat);
	}
	turned(b, t, &part[0], &part[1]);
	for (int i = 0; i < 2; i++)
		part[i] = b_reshape(b, part[i], one);
	Value *y = b_reshape(b, b_concat(b, part, 2, last), x->type);
	return rest ? b_concat(b, (Value *[]){ y, rest }, 2, last - 1) : y;
}

static bool theta_arg(Call *c, double *theta)
{
	*theta = 10000;
	if (c->arg[1].kind != V_NONE && !val_is_number(c->arg[1])) {
		err(c->e, arg_loc(c, 1), "E0432", "`theta` is a number, got %s", val_describe(c->e, c->arg[1]));
		return false;
	}
	if (!val_number(c->arg[1], theta) || *theta > 1)
		return true;
	err(c->e, arg_loc(c, 1), "E0450", "`theta` is above 1, got %g", *theta);
	return false;
}

/* How many elements of a head turn; 0: not known. */
static bool dims_arg(Call *c, const Dim *width, int64_t *n)
{
	Elab *e = c->e;
	Val v = c->arg[3];
	const Dim *d = v.kind == V_NONE ? width : v.n;
	*n = 0;
	if (v.kind != V_NONE && v.kind != V_INT) {
		err(e, arg_loc(c, 3), "E0432", "`dims` is a whole number, got %s", val_describe(e, v));
		return false;
	}
	if (!dim_is_const(d, n))
		return true;
	if (*n > 0 && *n % 2 == 0 && !surely_above(e, d, width))
		return true;
	err(e, c->loc, "E0454", "`rope` turns pairs of a head's %s elements; %lld is %s", show_dim(e, width), (long long)*n,
	    *n % 2 ? "odd" : "out of range");
	return false;
}

Val fn_rope(Call *c)
{
	Elab *e = c->e;
	Builder *b = &e->b;
	Rope r = {0};
	int64_t n;
	Value *x = want_float(c, 0);
	if (!x || !theta_arg(c, &r.theta))
		return poison;
	Type t = x->type;
	int last = t.rank - 1;
	if (t.rank < 3)
		return fail(e, arg_loc(c, 0), "E0454", "`rope` wants [..,T,H,K], got %s", show_type(e, t));
	if (!scale_arg(c, &r) || !dims_arg(c, t.dim[last], &n))
		return poison;
	if (c->arg[4].kind != V_NONE && c->arg[4].kind != V_BOOL)
		return fail(e, arg_loc(c, 4), "E0432", "`interleaved` is true or false, got %s", val_describe(e, c->arg[4]));
	if (e->symbolic || n == 0)
		return val_tensor(b_source(b, OP_INPUT, "rope", t));
	r.half = n / 2;
	const Dim *turning = dim_const(n);
	Value *rest = turning == t.dim[last] ? NULL : b_slice(b, x, last, turning, dim_sub(t.dim[last], turning));
	Value *front = rest ? b_slice(b, x, last, dim_const(0), turning) : x;
	Turn by = turn_of(b, &r, t.dim[t.rank - 3]);
	bool interleaved = c->arg[4].kind == V_BOOL && c->arg[4].f != 0;
	return val_tensor((interleaved ? rotate_neighbours : rotate_halves)(b, front, by, r.half, rest));
}

/* Relative positions */

static bool dim_arg(Call *c, int i)
{
	Elab *e = c->e;
	if (c->arg[i].kind == V_INT)
		return extent_ok(e, arg_loc(c, i), c->arg[i].n);
	err(e, arg_loc(c, i), "E0443", "`%s` wants a dim, got %s", c->fn, val_describe(e, c->arg[i]));
	return false;
}

/* The first distance of far bucket j of n: near * (max / near)^(j / n), rounded up. */
static double threshold(int64_t near, int64_t max, int64_t j, int64_t n)
{
	double at = (double)near * pow((double)max / (double)near, (double)j / (double)n);
	return fabs(at - round(at)) < 1e-6 ? round(at) : ceil(at);
}

/* The bucket of a distance >= 0: itself below n/2, then n - n/2 of logarithmic width up to max. The logarithm is n - n/2 - 1
 * comparisons with whole numbers, so that no rounding decides. */
static Value *bucket_of(Builder *b, Value *distance, int64_t n, int64_t max)
{
	int64_t near = n / 2;
	Value *bucket = b_binary(b, OP_MIN, distance, b_const(b, DT_I32, (double)near));
	for (int64_t j = 1; j < n - near; j++) {
		Value *from = b_const(b, DT_I32, threshold(near, max, j, n - near));
		bucket = b_binary(b, OP_ADD, bucket, b_convert(b, b_binary(b, OP_LE, from, distance), DT_I32));
	}
	return bucket;
}

static Value *relative(Builder *b, const Dim *T, const Dim *S, int64_t n, int64_t max, bool both)
{
	const Dim *one = dim_const(1);
	Value *zero = b_const(b, DT_I32, 0);
	Value *t = b_iota(b, 0, type_make(DT_I32, 2, (const Dim *[]){ T, one }));
	Value *s = b_iota(b, 1, type_make(DT_I32, 2, (const Dim *[]){ one, S }));
	Value *back = b_binary(b, OP_SUB, t, s);
	if (!both)
		return bucket_of(b, b_binary(b, OP_MAX, back, zero), n, max);
	Value *ahead = b_binary(b, OP_SUB, zero, back);
	Value *side = b_binary(b, OP_MUL, b_convert(b, b_binary(b, OP_LT, back, zero), DT_I32), b_const(b, DT_I32, (double)(n / 2)));
	return b_binary(b, OP_ADD, bucket_of(b, b_binary(b, OP_MAX, back, ahead), n / 2, max), side);
}

/* relative(T, S, buckets, max, both): the bucket of query t and key s, id(buckets)[T,S] (Raffel et al. 2019, sec. 2.1; the
 * formula is mesh_tensorflow's _relative_position_bucket): distances t - s below half of the buckets have their own, farther
 * ones share buckets of logarithmic width up to `max`, beyond it the last. both=true: half of the buckets are for s > t;
 * else those count as distance 0. */
Val fn_relative(Call *c)
{
	Elab *e = c->e;
	int64_t n, max;
	Val both = c->arg[4];
	if (!dim_arg(c, 0) || !dim_arg(c, 1) || !dim_arg(c, 2) || !dim_arg(c, 3))
		return poison;
	if (both.kind != V_NONE && both.kind != V_BOOL)
		return fail(e, arg_loc(c, 4), "E0432", "`both` is true or false, got %s", val_describe(e, both));
	bool two_sided = both.kind == V_NONE || both.f != 0;
	Type t = type_make(DT_I32, 2, (const Dim *[]){ c->arg[0].n, c->arg[1].n });
	Val v = { .kind = V_TENSOR, .rows = c->arg[2].n };
	if (!compile_time(e, arg_loc(c, 2), c->arg[2].n, "`buckets`") || !compile_time(e, arg_loc(c, 3), c->arg[3].n, "`max`"))
		return poison;
	if (!dim_is_const(c->arg[2].n, &n) || !dim_is_const(c->arg[3].n, &max)) {
		v.t = b_source(&e->b, OP_INPUT, "relative", t);
		return v;
	}
	int64_t side = two_sided ? n / 2 : n;
	if (side < 2 || (two_sided && n % 2) || max <= side / 2)
		return fail(e, c->loc, "E0450", "`relative` wants an even number of buckets and `max` above a quarter of it, got %lld and %lld",
		            (long long)n, (long long)max);
	v.t = relative(&e->b, t.dim[0], t.dim[1], n, max, two_sided);
	return v;
}
