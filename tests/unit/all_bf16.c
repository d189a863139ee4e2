/* all_bf16.c: whole models with `precision bf16`, or caches in bf16, f16 or q8_0: a training step's loss and gradients, evaluation, and generation (a prompt, then two
 * tokens), compiled, against the evaluator, in each way this processor can multiply bf16.
 *
 * K are the kernels' results, F the evaluator's of the graph made without the pass `precision`, in double throughout. E are the
 * evaluator's of K's graph, in double, but that each to_bf16, to_f16 and to_i8 takes what the kernels stored for it: an f32 rounding can take a value to
 * the other side of a tie, and would then show everywhere behind it. What is stored is held by itself. With u = 2^-8 (2^-11 of f16 alone; 2^-7 where there is i8),
 * e = 4 sqrt(n K) 2^-24, K the longest sum and n the largest number of roundings on a path (f32's own error, for independent roundings:
 * Higham & Mary 2019, "A new approach to probabilistic rounding error analysis", theorem 2.4 with lambda = 4):
 *
 * each element that kernels have rounded is within u |x| + e max|x| of the x that E has in front of it (of i8: within 1/2 + e max|x|);
 * each result of K is within e of E's in norm: all products and sums are of what was rounded, and in f32 (measured: e / 20 at most; a
 * rounding left out would make some u / 3, a hundred e);
 * the results are within n u of F's in norm, each scaled by its own, in the mean of squares: a rounded operand changes a contraction's
 * result by u in norm if nothing cancels (first order; Higham 2002, sec. 3.4). Measured: 0.01 to 1.9 u, n between 5 and 59. */
#include "tests/subject.h"

static const Case cases[] = {
	{ .path = "models/gpt2.sinter", .precision = "bf16",
	  .sets = { "V=101", "N=19", "D=24", "H=3", "L=2", "p=0.0", "train.batch=4", "train.micro=2", "train.T=19" } },
	{ .path = "models/llama.sinter", .precision = "bf16", .entries = { "train", "generate" },
	  .sets = { "V=101", "N=19", "D=24", "F=29", "H=4", "G=2", "L=1", "train.micro=2", "train.T=19" } },
	{ .path = "models/llama.sinter", .precision = "bf16", .entries = { "generate" },
	  .sets = { "V=101", "N=19", "D=24", "F=29", "H=4", "G=2", "L=2", "generate.cache=bf16" } },
	{ .path = "models/gpt2.sinter", .precision = "f32", .entries = { "generate" },
	  .sets = { "V=101", "N=19", "D=24", "H=3", "L=2", "generate.cache=bf16" } },
	{ .path = "models/llama.sinter", .precision = "bf16", .entries = { "generate" },
	  .sets = { "V=101", "N=19", "D=24", "F=29", "H=4", "G=2", "L=2", "generate.cache=f16" } },
	{ .path = "models/gpt2.sinter", .precision = "f32", .entries = { "generate" },
	  .sets = { "V=101", "N=19", "D=24", "H=3", "L=2", "generate.cache=f16" } },
	{ .path = "models/gpt2.sinter", .precision = "f32", .entries = { "generate" },
	  .sets = { "V=101", "N=19", "D=192", "H=3", "L=2", "generate.cache=q8_0" } },
	{ .path = "models/llama.sinter", .precision = "f32", .entries = { "generate" },
	  .sets = { "V=101", "N=19", "D=24", "F=29", "H=4", "G=2", "L=1", "generate.cache=q8_0" } },
	{ .path = "models/whisper.sinter", .preset = "nano", .precision = "bf16", .sets = { "train.batch=2", "T=19" } },
};

enum { WAYS = 4 };

/* Native as it is, with dot products, and by conversion with fma and without; 0 where this processor can't. */
static bool way(int i, Target *t)
{
	static const char *const level[WAYS] = { "native", "native", "x86-64-v3", "x86-64-v2" };
	if (target_only())
		return i == 0 && target_find(target_only(), t);
	Target native;
	if (!target_find("native", &native) || !target_find(level[i], t) || t->lanes > native.lanes)
		return false;
	if (i == 1 && (native.bf16 != BF16_TILES || !strstr(native.features, "+avx512bf16")))
		return false;
	t->bf16 = i == 1 ? BF16_DOT : t->bf16;
	return true;
}

/* The relative error of what a rounding gives; 0: v is none. */
static double unit_of(const Value *v)
{
	return v->op == OP_TO_BF16 ? 0x1p-8 : v->op == OP_TO_F16 ? 0x1p-11 : v->op == OP_TO_I8 ? 0x1p-7 : 0;
}

/* Of g: the largest number of roundings on a path, the error of f32 behind them, of its longest sum, and the coarsest rounding's. */
typedef struct Bounds { double roundings, f32, unit; } Bounds;

static int64_t extent_of(const Dim *d, const Dims *dims)
{
	int64_t n;
	return dim_eval(d, dims_look, (void *)dims, &n) ? n : 1;
}

/* How many numbers each element of v sums. */
static int64_t summed(const Value *v, const Dims *dims)
{
	Spec s;
	int64_t n = 1;
	if (v->op == OP_CONTRACT && !spec_parse(v->a.spec, &s))
		for (int i = 0; i < s.n[0]; i++)
			n *= strchr(s.at[2], s.at[0][i]) ? 1 : extent_of(v->in[0]->type.dim[i], dims);
	for (int i = 0; v->op == OP_SUM && i < v->type.rank; i++)
		n *= v->a.axes >> i & 1 ? extent_of(v->in[0]->type.dim[i], dims) : 1;
	return n;
}

static Bounds bounds_of(Graph *g, const Dims *d)
{
	graph_number(g);
	int *n = NEW_ARRAY(g->arena, int, g->vals.len), most = 0;
	double unit = 0;
	int64_t sum = 1;
	for (int i = 0; i < g->vals.len; i++) {
		const Value *v = g->vals.at[i];
		for (int k = 0; k < v->nin; k++)
			n[i] = MAX(n[i], n[v->in[k]->id]);
		n[i] += unit_of(v) > 0;
		unit = fmax(unit, unit_of(v));
		most = MAX(most, n[i]);
		sum = MAX(sum, summed(v, d));
	}
	return (Bounds){ most, 4 * sqrt((double)sum * most) * 0x1p-24, unit };
}

/* A result: an output, or a gradient stored; NULL if v is none. */
static const char *result_of(const Value *v)
{
	const char *name = v->op == OP_STORE ? store_target(v->in[0])->a.name : v->op == OP_OUTPUT ? v->a.name : NULL;
	return name && (v->op == OP_OUTPUT || strncmp(name, "grad.", 5) == 0) ? name : NULL;
}

static double norm_of(const Tensor *x, const Tensor *y)
{
	double sum = 0;
	assert_int_equal(x->n, y ? y->n : x->n);
	for (int64_t i = 0; i < x->n; i++) {
		double d = x->at[i] - (y ? y->at[i] : 0);
		sum += d * d;
	}
	return sqrt(sum);
}

/* Between the results of g in a and b, scaled by those in `scale`: the largest, or in the mean of squares. */
static double distance(const Graph *g, Env *a, Env *b, Env *scale, bool largest)
{
	double sum = 0, most = 0;
	int n = 0;
	for (int i = 0; i < g->vals.len; i++) {
		const char *name = result_of(g->vals.at[i]);
		double size = name ? norm_of(env_get(scale, name), NULL) : 0;
		if (size == 0)
			continue;
		double d = norm_of(env_get(a, name), env_get(b, name)) / size;
		sum += d * d;
		most = fmax(most, d);
		n++;
	}
	assert_true(n > 0);
	return largest ? most : sqrt(sum / n);
}

/* Each rounding of K's graph gives what it stores; E's graph takes that, and gives what is in front of it. */
static Graph *forced(Graph *g)
{
	Graph *e = graph_copy(g, g->name);
	int n = g->vals.len;
	for (int i = 0; i < n; i++) {
		Builder k = { .g = g }, b = { .g = e };
		Value *v = e->vals.at[i];
		if (unit_of(v) == 0)
			continue;
		b_output(&k, internf("rounded.%d", i), g->vals.at[i]);
		b_output(&b, internf("before.%d", i), v->in[0]);
		v->op = OP_INPUT;
		v->nin = 0;
		v->a.name = internf("rounded.%d", i);
	}
	return e;
}

static void take_rounded(const Graph *e, Env *from, Env *to)
{
	for (int i = 0; i < e->vals.len; i++) {
		const Value *v = e->vals.at[i];
		if (v->op != OP_INPUT || strncmp(v->a.name, "rounded.", 8))
			continue;
		Tensor *t = env_get(from, v->a.name);
		env_set(to, v->a.name, t->type.rank, t->shape, t->at);
	}
}

static bool is_rounded(const Type *t, double got, double x, double f32)
{
	double half = t->dt == DT_F16 ? half_value(half_bits((float)got)) : t->dt == DT_BF16 ? round_bf16(got) : rint(got);
	double by = t->dt == DT_F16 ? 0x1p-11 * fabs(x) + 0x1p-25 : t->dt == DT_BF16 ? 0x1p-8 * fabs(x) : 0.5;
	return got == half && fabs(got - x) <= by + f32;
}

static void check_rounded(const char *what, const Graph *e, Env *env, double f32)
{
	for (int i = 0; i < e->vals.len; i++) {
		const Value *v = e->vals.at[i];
		if (v->op != OP_INPUT || strncmp(v->a.name, "rounded.", 8))
			continue;
		Tensor *got = env_get(env, v->a.name), *x = env_get(env, internf("before.%s", v->a.name + 8));
		double most = 0;
		assert_int_equal(got->n, x->n);
		for (int64_t k = 0; k < x->n; k++)
			most = fmax(most, fabs(x->at[k]));
		for (int64_t k = 0; k < x->n; k++)
			if (!is_rounded(&v->type, got->at[k], x->at[k], f32 * most))
				fail_msg("%s: element %ld of %s is %.9g, rounded from %.9g", what, (long)k, v->a.name, got->at[k], x->at[k]);
	}
}

/* One function in its three meanings, with the environments that calls of it go on with. */
typedef struct Trio { const Entry *entry; Function kernels; Graph *forced, *exact; Env *k, *e, *f; } Trio;

static Env *evaluated_first(const Subject *s, const Entry *en)
{
	Graph *g = en->kind != ENTRY_TRAIN ? function(en, "prepare") : NULL;
	Env *e = env_new(s->arena);
	Dims one = { 0 };
	if (!g)
		return e;
	fill(e, g, en, &one);
	assert_true(graph_eval(g, e));
	return e;
}

static Trio trio(const Subject *s, const Entry *bf16, const Entry *f32, const char *name, const Target *t)
{
	Graph *g = function(bf16, name), *e = forced(g);
	Trio x = { .entry = bf16, .kernels = function_load(bf16, name, t), .forced = e, .exact = function(f32, name) };
	x.k = prepared(s, &x.kernels, 2);
	x.e = evaluated_first(s, bf16);
	x.f = evaluated_first(s, f32);
	return x;
}

static void call(const Subject *s, Trio *x, const Dims *d, const char *target)
{
	const char *what = internf("%s: %s on %s, %s", s->name, x->forced->name, target, dims_text(d));
	Bounds b = bounds_of(x->kernels.g, d);
	fill(x->k, x->kernels.g, x->entry, d);
	assert_true(backend_call(x->kernels.compiled, x->k, 2));
	fill(x->e, x->forced, x->entry, d);
	take_rounded(x->forced, x->k, x->e);
	fill(x->f, x->exact, x->entry, d);
	assert_true(graph_eval(x->forced, x->e) && graph_eval(x->exact, x->f));
	check_rounded(what, x->forced, x->e, b.f32);
	double error = distance(x->exact, x->k, x->e, x->f, true), effect = distance(x->exact, x->e, x->f, x->f, false);
	if (!(b.roundings > 0 && effect > 0 && effect <= b.roundings * b.unit))
		fail_msg("%s: %g roundings make %g", what, b.roundings, effect);
	if (!(error <= b.f32))
		fail_msg("%s: kernels are %g from the graph, more than %g", what, error, b.f32);
}

/* Of few elements and of all there may be; a single token's attention has no gradient. */
static void check_plain(const Subject *s, const Entry *bf16, const Entry *f32, const char *name, const Target *t, const char *target)
{
	Dims d[4];
	Trio x = trio(s, bf16, f32, name, t);
	int n = sizes_of(x.kernels.g, d);
	for (int i = MIN(1, n - 1); i < n; i += MAX(1, n - 2))
		call(s, &x, &d[i], target);
	function_unload(&x.kernels);
}

/* T tokens, behind which the sequence has S, of a batch of two. */
static Dims tokens(const Graph *g, int T, int S)
{
	Dims d = dims_given(g);
	for (int i = 0; i < d.n; i++) {
		bool derived = strchr(d.at[i].name, '.'), batch = strcmp(d.at[i].name, "B") == 0;
		d.at[i].bound = MIN(d.at[i].bound, derived ? S : batch ? 2 : T);
	}
	return d;
}

static void check_generation(const Subject *s, const Entry *bf16, const Entry *f32, const Target *t, const char *target)
{
	Trio x = trio(s, bf16, f32, "step", t);
	for (int S = 5; S < 8; S++) {
		Dims d = tokens(x.kernels.g, S == 5 ? 5 : 1, S);
		call(s, &x, &d, target);
	}
	function_unload(&x.kernels);
}

static void check_entry(const Subject *s, const Entry *bf16, const Entry *f32, const Target *t, const char *target)
{
	if (bf16->kind == ENTRY_TRAIN)
		check_plain(s, bf16, f32, "step", t, target);
	if (bf16->kind == ENTRY_TRAIN || bf16->kind == ENTRY_EVAL)
		check_plain(s, bf16, f32, "eval", t, target);
	if (bf16->kind == ENTRY_GENERATE && !function(bf16, "encode"))
		check_generation(s, bf16, f32, t, target);
}

static void check_case(void **state)
{
	const Case *c = *state;
	Case wide = *c;
	wide.precision = "f32";
	for (int i = 0; wide.sets[i]; i++)
		if (strncmp(wide.sets[i], "generate.cache=", 15) == 0)
			wide.sets[i] = "generate.cache=f32";
	Subject s = subject(c, 0);
	Module *f32 = build_case(s.arena, c->path, &wide, NULL);
	assert_true(passes_module(f32, NULL));
	for (int i = 0; i < WAYS; i++) {
		Target t;
		for (int e = 0; way(i, &t) && e < s.made->entries.len; e++)
			check_entry(&s, s.made->entries.at[e], f32->entries.at[e], &t, internf("%s, way %d", t.name, t.bf16));
	}
}

int main(void)
{
	struct CMUnitTest tests[COUNT(cases)];
	for (int i = 0; i < COUNT(cases); i++)
		tests[i] = (struct CMUnitTest){ cases[i].path, check_case, NULL, NULL, (void *)&cases[i] };
	return _cmocka_run_group_tests("models in bf16", tests, COUNT(tests), NULL, NULL);
}
