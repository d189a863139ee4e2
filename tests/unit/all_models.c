/* all_models.c: model files through the whole compiler, against the evaluator on the frontend's own graph: losses,
 * metrics and gradients of a training step, evaluation, and generation with caches, split into calls in several ways. Each
 * function is compiled once a target and called at several sizes; 1, 2 and 3 threads must give the same bits. Compiling
 * takes the time: each model's step runs on native and one other target, evaluation on one of them and generation on the
 * other, by turns; SINTER_ALL_TARGETS=1 runs everything on all. Runs from the repository's root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/backend.h"
#include "frontend/frontend.h"
#include "passes/passes.h"
#include "tests/numeric.h"

#define MODELS TEST_DIR "/models/"
enum { IDS = 97, TARGETS = 3, SEED = 77 };

typedef struct Case {
	const char *path, *text;  /* a file, or its text */
	const char *sets[10];     /* as --set; ends with NULL */
	const char *entries[3];   /* those to build; none: all */
	const char *still;        /* the setting without dropout, what evaluation is held against; NULL: sets is */
	bool noisy;               /* there is dropout that no setting turns off */
} Case;

/* Labels that may be ignored: among them all of them, when there is one. */
static const char ignored_labels[] =
	"config { V: dim = 101; N: dim = 8; D: dim = 7 }\ndim B, T <= N\n"
	"model M(tokens: id(V)[B,T]) -> [B,T,V] {\n"
	"  wte: embedding(V -> D)\n  q, k, v: linear(D -> [1,D])\n  o: linear([1,D] -> D)\n"
	"  x = wte(tokens)\n  x += o(attention(q(x), k(x), v(x), mask=causal))\n  return unembed(x, wte)\n}\n"
	"train(tokens: id(V)[B,T], labels: id(V)?[B,T]) {\n"
	"  loss cross_entropy(M(tokens), labels, smoothing=0.1)\n  metric right = accuracy(M(tokens), labels)\n"
	"  batch 3, micro=3, T=8\n}\n";

static const Case cases[] = {
	{ .path = MODELS "all_ones.sinter" },
	{ .path = MODELS "attention_by_hand.sinter" },
	{ .path = MODELS "bigram.sinter" },
	{ .path = MODELS "grouped_queries.sinter", .sets = { "L=1" } },
	{ .path = MODELS "head_bias.sinter" },
	{ .path = MODELS "one_head.sinter", .sets = { "V=101", "N=37", "train.T=37" } },
	{ .path = MODELS "parallel.sinter", .sets = { "L=1" } },
	{ .path = MODELS "regression.sinter" },
	{ .path = MODELS "shared_layer.sinter", .still = "p=0.0" },
	{ .path = MODELS "static_arguments.sinter", .sets = { "L=2" } },
	{ .path = MODELS "two_heads.sinter" },
	{ .path = MODELS "wide_vocabulary.sinter", .sets = { "V=3001" }, .noisy = true },
	{ .path = "models/gpt2.sinter", .still = "p=0.0",
	  .sets = { "V=101", "N=19", "D=24", "H=3", "L=1", "train.batch=4", "train.micro=2", "train.T=19" } },
	{ .path = "models/llama.sinter",
	  .sets = { "V=101", "N=19", "D=24", "F=29", "H=4", "G=2", "L=1", "train.micro=2", "train.T=19" },
	  .entries = { "train", "generate" } },
	{ .text = ignored_labels },
};

typedef struct Subject {
	const char *name;
	bool noisy;
	Arena *arena;
	Module *raw, *still, *made;   /* as the frontend gives it; without dropout; after the passes */
	Target targets[TARGETS];
	int ntargets;
	bool evals[TARGETS], generates[TARGETS];   /* on that target; every one has its training step */
} Subject;

/* Builds */

static Module *build_case(Arena *a, const char *path, const Case *c, const char *more)
{
	const char *sets[COUNT(c->sets) + 1];
	FrontendOptions o = { .sets = sets, .entries = c->entries };
	while (c->entries[o.nentries])
		o.nentries++;
	for (; c->sets[o.nsets]; o.nsets++)
		sets[o.nsets] = c->sets[o.nsets];
	if (more)
		sets[o.nsets++] = more;
	diag_reset();
	Module *m = frontend_build(a, path, &o);
	if (!m)
		fail_msg("%s does not build", path);
	return m;
}

static void choose_targets(Subject *s, int turn)
{
	static const char *const names[TARGETS] = { "native", "x86-64-v3", "x86-64-v2" };
	bool all = getenv("SINTER_ALL_TARGETS") != NULL;
	for (int i = 0; i < TARGETS; i++) {
		int n = s->ntargets;
		if (!all && i != 0 && i != 1 + turn % 2)
			continue;
		s->evals[n] = all || n == turn / 2 % 2;
		s->generates[n] = all || n != turn / 2 % 2;
		assert_true(target_find(names[i], &s->targets[s->ntargets++]));
	}
}

static Subject subject(const Case *c, int turn)
{
	char path[64];
	Subject s = { .name = c->path ? c->path : "the text", .noisy = c->noisy, .arena = test_arena() };
	snprintf(path, sizeof path, "/tmp/sinter_all_%d.sinter", (int)getpid());
	if (c->text)
		assert_true(file_write_atomic(path, c->text, strlen(c->text)));
	const char *file = c->path ? c->path : path;
	s.raw = build_case(s.arena, file, c, NULL);
	s.still = c->still ? build_case(s.arena, file, c, c->still) : s.raw;
	s.made = build_case(s.arena, file, c, NULL);
	if (c->text)
		unlink(path);
	assert_true(passes_module(s.made, NULL));
	choose_targets(&s, turn);
	return s;
}

static Entry *entry_of(const Module *m, EntryKind kind)
{
	for (int i = 0; i < m->entries.len; i++)
		if (m->entries.at[i]->kind == kind)
			return m->entries.at[i];
	return NULL;
}

/* The entry's function of this name; NULL if it has none. */
static Graph *function(const Entry *e, const char *name)
{
	for (int i = 0; i < e->graphs.len; i++) {
		const char *dot = strrchr(e->graphs.at[i]->name, '.');
		if (dot && strcmp(dot + 1, name) == 0)
			return e->graphs.at[i];
	}
	return NULL;
}

/* Values */

/* Parameters small; states not numbers, for nothing may read what was never stored; one label in three ignored. */
static void set_values(const Value *v, Tensor *t)
{
	bool labels = strcmp(v->a.name, "labels") == 0;
	for (int64_t i = 0; i < t->n; i++) {
		if (v->op == OP_PARAM)
			t->at[i] *= 0.3;
		if (v->op == OP_STATE)
			t->at[i] = v->type.dt == DT_F32 ? NAN : 0;
		if (labels && i % 3 == 0)
			t->at[i] = -100;
	}
	if (strcmp(v->a.name, "accumulate") == 0)
		t->at[0] = 0;
	if (strcmp(v->a.name, "seed") == 0)
		t->at[0] = SEED;
}

/* Values for g's dimensions, inputs, and whatever parameters and states e does not hold yet. */
static void fill(Env *e, const Graph *g, const Dims *d)
{
	for (int i = 0; i < d->n; i++)
		env_dim(e, d->at[i].name, d->at[i].bound);
	for (int i = 0; i < g->vals.len; i++) {
		Value *v = g->vals.at[i];
		bool kept = v->op == OP_PARAM || v->op == OP_STATE;
		if (v->op == OP_INPUT || (kept && !env_get(e, v->a.name)))
			set_values(v, fill_source(e, v, d, 5, IDS));
	}
}

static Env *evaluated(const Subject *s, const Graph *g, const Dims *d)
{
	Env *e = env_new(s->arena);
	fill(e, g, d);
	if (!graph_eval(g, e))
		fail_msg("%s: the evaluator fails", s->name);
	return e;
}

static Env *called(const Subject *s, const Graph *g, Compiled *c, const Dims *d, int threads)
{
	Env *e = env_new(s->arena);
	fill(e, g, d);
	if (!backend_call(c, e, threads))
		fail_msg("%s: %s does not run", s->name, g->name);
	return e;
}

static const char *dims_text(const Dims *d)
{
	return internf("B=%d T=%d", (int)d->at[0].bound, (int)d->at[1].bound);
}

/* Comparisons */

static void same_bits(const Subject *s, const Graph *g, Env *a, Env *b, int threads)
{
	for (int i = 0; i < g->vals.len; i++) {
		const Value *v = g->vals.at[i];
		if (v->op != OP_OUTPUT && v->op != OP_STORE)
			continue;
		const char *name = v->op == OP_STORE ? store_target(v->in[0])->a.name : v->a.name;
		Tensor *x = env_get(a, name), *y = env_get(b, name);
		if (memcmp(x->at, y->at, sizeof *x->at * (size_t)x->n))
			fail_msg("%s: %s of %s: %d threads give other bits", s->name, name, g->name, threads);
	}
}

static void same_outputs(const Subject *s, const Graph *g, Env *got, Env *want, const char *what)
{
	for (int i = 0; i < g->vals.len; i++) {
		const Value *v = g->vals.at[i];
		if (v->op != OP_OUTPUT)
			continue;
		double d = difference(env_get(got, v->a.name), env_get(want, v->a.name));
		if (!(d < 1e-4))
			fail_msg("%s: %s of %s, %s: error %g", s->name, v->a.name, g->name, what, d);
	}
}

/* On 1, 2 and 3 threads, against want where it is given. The result of one thread. */
static Env *check_call(const Subject *s, const Graph *g, Compiled *c, const Dims *d, Env *want, const char *target)
{
	Env *one = called(s, g, c, d, 1);
	if (want)
		same_outputs(s, g, one, want, internf("%s %s", target, dims_text(d)));
	for (int threads = 2; threads <= 3; threads++)
		same_bits(s, g, one, called(s, g, c, d, threads), threads);
	return one;
}

/* Gradients */

/* The gradient of the parameter v as the step stored it; NULL for frozen ones, and only for them. */
static Tensor *gradient_of(const Subject *s, const Value *v, Env *got)
{
	Tensor *t = env_get(got, internf("grad.%s", v->a.name));
	if (!t != module_param(s->made, v->a.name)->frozen)
		fail_msg("%s: %s %s a gradient", s->name, v->a.name, t ? "is frozen but has" : "lacks");
	return t;
}

/* Its largest element and its last, each against the slope of the loss there. */
static void check_elements(const Subject *s, const Graph *forward, Env *e, const Value *v, const Tensor *grad)
{
	Tensor *x = env_get(e, v->a.name);
	int64_t at[2] = { 0, x->n - 1 };
	for (int64_t i = 0; i < x->n; i++)
		if (fabs(grad->at[i]) > fabs(grad->at[at[0]]))
			at[0] = i;
	for (int i = 0; i < COUNT(at); i++) {
		double want = slope(forward, e, "loss", &x->at[at[i]], 1e-4), got = grad->at[at[i]];
		if (!(fabs(got - want) < 1e-5 + 1e-3 * fabs(want)))
			fail_msg("%s: grad.%s[%lld] is %.8g, not %.8g", s->name, v->a.name, (long long)at[i], got, want);
	}
}

/* Moves all parameters that learn by h along a fixed random direction; their gradients' product with it. */
static double move(const Subject *s, const Graph *forward, Env *e, Env *got, double h)
{
	double along = 0;
	for (int i = 0; i < forward->vals.len; i++) {
		const Value *v = forward->vals.at[i];
		Tensor *grad = v->op == OP_PARAM ? gradient_of(s, v, got) : NULL;
		for (int64_t k = 0; grad && k < grad->n; k++) {
			double u = random_at(11, v->a.name, k);
			env_get(e, v->a.name)->at[k] += h * u;
			along += u * grad->at[k];
		}
	}
	return along;
}

/* All gradients at once: the loss's slope along a direction in the space of the parameters. */
static void check_direction(const Subject *s, const Graph *forward, Env *e, Env *got, const Dims *d)
{
	static const double step[4] = { -2, 1, 2, 1 }, weight[4] = { 1, -8, 8, -1 };   /* -2, -1, 1, 2 in turn */
	const double h = 1e-5;
	double want = 0, along = move(s, forward, e, got, 0);
	for (int i = 0; i < COUNT(step); i++) {
		move(s, forward, e, got, step[i] * h);
		want += weight[i] * scalar_of(forward, e, "loss") / (12 * h);
	}
	move(s, forward, e, got, -2 * h);
	if (!(fabs(along - want) < 1e-4 + 1e-3 * fabs(want)))
		fail_msg("%s, %s: slope %.8g by the gradients, not %.8g", s->name, dims_text(d), along, want);
}

static void check_gradients(const Subject *s, const Graph *forward, Env *e, Env *got, const Dims *d, bool elements)
{
	check_direction(s, forward, e, got, d);
	for (int i = 0; elements && i < forward->vals.len; i++) {
		const Value *v = forward->vals.at[i];
		Tensor *grad = v->op == OP_PARAM ? gradient_of(s, v, got) : NULL;
		if (grad)
			check_elements(s, forward, e, v, grad);
	}
}

/* Training */

static int64_t bound_of(const Graph *g, const char *sym)
{
	for (int i = 0; i < g->syms.len; i++)
		if (strcmp(g->syms.at[i].name, sym) == 0)
			return g->syms.at[i].bound;
	return 1;
}

/* One element, few, and the bounds: within the bounds of this model, each once. */
static int sizes_of(const Graph *g, Dims *d)
{
	static const int wish[][2] = { { 1, 1 }, { 2, 5 }, { 1, 8 }, { 1 << 20, 1 << 20 } };
	int64_t B = bound_of(g, "B"), T = bound_of(g, "T");
	int n = 0;
	for (int i = 0; i < COUNT(wish); i++) {
		Dims x = { 2, { { "B", MIN(B, wish[i][0]) }, { "T", MIN(T, wish[i][1]) } } };
		if (n == 0 || x.at[0].bound != d[n - 1].at[0].bound || x.at[1].bound != d[n - 1].at[1].bound)
			d[n++] = x;
	}
	return n;
}

/* One function of an entry on a target, at all sizes, against the graph `reference` if there is one. */
typedef struct Check { Graph *g, *reference; bool gradients; } Check;

static void check_function(const Subject *s, const Check *c, const Target *t, bool elements)
{
	Dims sizes[4];
	int n = sizes_of(c->g, sizes);
	Compiled *compiled = backend_load(c->g, t);
	assert_non_null(compiled);
	for (int i = 0; i < n; i++) {
		Env *want = c->reference ? evaluated(s, c->reference, &sizes[i]) : NULL;
		Env *got = check_call(s, c->g, compiled, &sizes[i], want, t->name);
		if (c->gradients)
			check_gradients(s, c->reference, want, got, &sizes[i], elements && i == MIN(1, n - 1));
	}
	backend_unload(compiled);
}

static void check_training(const Subject *s)
{
	Entry *made = entry_of(s->made, ENTRY_TRAIN);
	Graph *forward = function(entry_of(s->raw, ENTRY_TRAIN), "forward");
	Graph *still = function(entry_of(s->still, ENTRY_TRAIN), "forward");
	Check step = { .g = function(made, "step"), .reference = forward, .gradients = true };
	Check eval = { .g = function(made, "eval"), .reference = s->noisy ? NULL : still };
	for (int k = 0; k < s->ntargets; k++) {
		check_function(s, &step, &s->targets[k], k == 0);
		if (s->evals[k])
			check_function(s, &eval, &s->targets[k], false);
	}
}

/* Generation */

typedef struct Generator {
	Graph *forward, *prepare, *step;   /* prepare may be NULL */
	Compiled *compiled;                /* step */
	Env *env;                          /* holds the caches */
	const char *tokens;                /* the input's name */
} Generator;

static const char *input_name(const Graph *g)
{
	for (int i = 0; i < g->vals.len; i++)
		if (g->vals.at[i]->op == OP_INPUT)
			return g->vals.at[i]->a.name;
	fail_msg("%s has no input", g->name);
	return NULL;
}

/* Tokens first, first + 1, .. of one sequence that all calls share. */
static void set_tokens(Env *e, const char *name, int first, int n)
{
	for (int i = 0; i < n; i++)
		env_get(e, name)->at[i] = ((first + i) * 17 + 3) % IDS;
}

/* T more tokens behind S - T: the same `next` as from all S at once. */
static void check_next(const Subject *s, Generator *g, int T, int S, int threads, const char *what)
{
	Dims all = { 2, { { "B", 1 }, { "T", S } } }, part = { 3, { { "B", 1 }, { "T", T }, { "S", S } } };
	Env *want = env_new(s->arena);
	fill(want, g->forward, &all);
	set_tokens(want, g->tokens, 0, S);
	fill(g->env, g->step, &part);
	set_tokens(g->env, g->tokens, S - T, T);
	assert_true(graph_eval(g->forward, want));
	assert_true(backend_call(g->compiled, g->env, threads));
	double d = difference(env_get(g->env, "next"), env_get(want, "next"));
	if (!(d < 1e-4))
		fail_msg("%s: next at T=%d S=%d, %s, %d threads: error %g", s->name, T, S, what, threads, d);
}

/* What depends on the parameters alone. */
static Env *prepared(const Subject *s, const Generator *g, const Target *t)
{
	Dims one = { 3, { { "B", 1 }, { "T", 1 }, { "S", 1 } } };
	Env *e = env_new(s->arena);
	if (!g->prepare)
		return e;
	fill(e, g->prepare, &one);
	assert_true(backend_run(g->prepare, e, t, 2));
	return e;
}

/* Every split starts over; the caches then hold what an earlier sequence left there. */
static void check_generation(const Subject *s, const Target *t)
{
	static const int splits[][5] = { { 1, 1, 1, 1 }, { 3, 1, 1, 2 }, { 2, 4, 1, 1 }, { 5, 3 }, { 8 } };
	Entry *made = entry_of(s->made, ENTRY_GENERATE), *raw = entry_of(s->raw, ENTRY_GENERATE);
	if (!made)
		return;
	Generator g = { .forward = function(raw, "forward"), .prepare = function(made, "prepare"), .step = function(made, "step") };
	g.tokens = input_name(g.forward);
	g.env = prepared(s, &g, t);
	g.compiled = backend_load(g.step, t);
	assert_non_null(g.compiled);
	for (int i = 0; i < COUNT(splits); i++)
		for (int k = 0, S = 0; splits[i][k]; k++) {
			S += splits[i][k];
			check_next(s, &g, splits[i][k], S, 1 + (i + k) % 3, t->name);
		}
	backend_unload(g.compiled);
}

static void check_case(void **state)
{
	const Case *c = *state;
	Subject s = subject(c, (int)(c - cases));
	check_training(&s);
	for (int k = 0; k < s.ntargets; k++)
		if (s.generates[k])
			check_generation(&s, &s.targets[k]);
}

int main(void)
{
	struct CMUnitTest tests[COUNT(cases)];
	for (int i = 0; i < COUNT(cases); i++) {
		const char *name = cases[i].path ? cases[i].path : "ignored labels";
		tests[i] = (struct CMUnitTest){ name, check_case, NULL, NULL, (void *)&cases[i] };
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
