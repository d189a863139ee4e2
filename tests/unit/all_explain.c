/* all_explain.c: the functions of explain entries, compiled, against the evaluator in double precision: attention's weights, the lens, and
 * attributions against finite differences of the score. Taps against what the evaluator has for the values of those names. Runs from the
 * repository's root. */
#include "tests/subject.h"

#define SMALL "V=61", "D=24", "F=29", "L=2", "explain.B=2", "explain.T=7"

static const Case cases[] = {
	{ .path = "models/bert.sinter", .preset = "nano", .sets = { SMALL, "H=3" }, .entries = { "explain" } },
	{ .path = "models/gpt2.sinter", .preset = "nano", .sets = { SMALL, "H=3" }, .entries = { "explain" } },
	{ .path = "models/llama.sinter", .preset = "nano", .sets = { SMALL, "H=4", "G=2" }, .entries = { "explain" } },   /* grouped heads */
};

static const char *const softmax_by_hand =
	"config { V: dim = 61; D: dim = 24 }\ndim B, T <= 7\n"
	"block Mix(x: [B,T,D]) -> [B,T,D] {\n  q, k, v: linear(D -> D)\n"
	"  p = softmax(q(x) @ transpose(k(x)) * 0.2, axis=-1)\n  return p @ v(x)\n}\n"
	"model M(tokens: id(V)[B,T]) -> [B,3] {\n  wte: embedding(V -> D)\n  mix: repeat 2 of Mix\n  out: linear(D -> 3)\n"
	"  return out(mean(mix(wte(tokens)), T))\n}\n"
	"explain(tokens: id(V)[B,T]) {\n  return M(tokens)\n}\n";

static Graph *copy(Subject *s, const Entry *e, const char *name)
{
	return graph_copy_to(s->arena, function(e, "forward"), name);
}

/* What run leaves is what the frontend's graph has, its attention as one op or not. */
static void check_run(Subject *s, const Target *t)
{
	const Entry *e = entry_of(s->made, ENTRY_EXPLAIN);
	Function run = function_load(e, "run", t);
	const Graph *forward = function(e, "forward");
	Dims d = dims_given(run.g);
	Env *got = check_call(s, &run, &d, NULL, t->name), *want = evaluated(s, forward, e, &d);
	int same = 0;
	for (int i = 0; i < forward->vals.len; i++) {
		const Value *v = forward->vals.at[i];
		if (v->op != OP_OUTPUT)
			continue;
		same++;
		if (!(difference(env_get(got, v->a.name), env_get(want, v->a.name)) < 1e-4))
			fail_msg("%s: run's %s", s->name, v->a.name);
	}
	assert_true(same >= 3);   /* a score, and two streams */
	function_unload(&run);
}

/* Rows are distributions, and mixing the values by them is what attention does. */
static void check_weights(Subject *s, const Target *t)
{
	Entry *e = entry_of(s->made, ENTRY_EXPLAIN);
	Graph *g = copy(s, e, "explain.run");
	assert_true(passes_run(g, "raise_attention,simplify,cse,simplify,cse,dce,raise_attention", NULL));
	explain_run(g, s->made, e);
	int n = g->vals.len, maps = 0;
	for (int i = 0; i < n; i++) {
		Value *v = g->vals.at[i], *w = i + 1 < n ? v : NULL;
		Builder b = { .g = g };
		if (v->op != OP_ATTENTION)
			continue;
		for (int k = i; k < n && w == v; k++)
			if (g->vals.at[k]->op == OP_OUTPUT && strcmp(g->vals.at[k]->a.name, internf("attention:%s", v->path ? v->path : "attention")) == 0)
				w = g->vals.at[k]->in[0];
		const Dim *H = v->type.dim[2], *G = v->in[2]->type.dim[2], *R = dim_div_exact(H, G);
		Type five = w->type;
		five.rank = 5;
		five.dim[1] = G, five.dim[2] = R, five.dim[3] = w->type.dim[2], five.dim[4] = w->type.dim[3];
		Value *mixed = b_contract(&b, b_reshape(&b, w, five), v->in[2], "bgrts,bsgk->btgrk");
		b_output(&b, internf("mixed%d", maps), b_reshape(&b, mixed, v->type));
		b_output(&b, internf("attended%d", maps++), v);
	}
	assert_int_equal(maps, 2);
	Dims d = dims_given(g);
	Env *want = evaluated(s, g, e, &d);
	for (int i = 0; i < maps; i++)
		assert_true(difference(env_get(want, internf("mixed%d", i)), env_get(want, internf("attended%d", i))) < 1e-12);
	Function run = function_load(e, "run", t);
	Env *got = called(s, &run, &d, 2);
	for (int i = 0; i < g->vals.len; i++) {
		const char *name = g->vals.at[i]->op == OP_OUTPUT ? g->vals.at[i]->a.name : "";
		if (strncmp(name, "attention:", 10))
			continue;
		Tensor *x = env_get(got, name);
		assert_true(difference(x, env_get(want, name)) < 1e-5);
		int64_t S = x->shape[3];
		for (int64_t r = 0; r < x->n / S; r++) {
			double sum = 0;
			for (int64_t k = 0; k < S; k++)
				sum += x->at[r * S + k];
			if (fabs(sum - 1) > 1e-5 && !(sum == 0 && strstr(s->name, "bert")))   /* a query may see no real key */
				fail_msg("%s: a row of %s sums to %g", s->name, name, sum);
		}
	}
	function_unload(&run);
}

static double place_of(int64_t row) { return row ? 2 : 4; }

/* Of scores that differ by position the lens has one each. */
static double lens_apart(const Tensor *lens, const Tensor *run)
{
	double worst = 0;
	if (lens->n == run->n)
		return difference(lens, run);
	int64_t V = run->shape[2], T = run->shape[1];
	assert_int_equal(lens->n, run->shape[0] * V);
	for (int64_t b = 0; b < run->shape[0]; b++)
		for (int64_t i = 0; i < V; i++)
			worst = fmax(worst, fabs(lens->at[b * V + i] - run->at[(b * T + (int64_t)place_of(b)) * V + i]));
	return worst;
}

/* The last stream through the lens gives the scores. */
static void check_lens(Subject *s, const Target *t)
{
	const Entry *e = entry_of(s->made, ENTRY_EXPLAIN);
	Function run = function_load(e, "run", t), lens = function_load(e, "lens", t);
	Dims d = dims_given(lens.g);
	Env *from = called(s, &run, &d, 1), *to = prepared(s, &lens, 1);
	const Graph *forward = function(e, "forward");
	const char *last = NULL;
	fill(to, lens.g, e, &d);
	for (int i = 0; i < forward->vals.len; i++)
		if (forward->vals.at[i]->op == OP_OUTPUT && strncmp(forward->vals.at[i]->a.name, "residual:", 9) == 0)
			last = forward->vals.at[i]->a.name;
	Tensor *stream = env_get(from, last), *input = env_get(to, "residual");
	assert_int_equal(stream->n, input->n);
	memcpy(input->at, stream->at, sizeof *stream->at * (size_t)stream->n);
	Tensor *place = env_get(to, "position");
	for (int64_t i = 0; place && i < place->n; i++)
		place->at[i] = place_of(i);
	assert_true(backend_call(lens.compiled, to, 2));
	for (int i = 0; i < lens.g->vals.len; i++) {
		const Value *v = lens.g->vals.at[i];
		if (v->op == OP_OUTPUT && !(lens_apart(env_get(to, v->a.name), env_get(from, v->a.name)) < 1e-5))
			fail_msg("%s: the last layer's %s through the lens", s->name, v->a.name);
	}
	function_unload(&run);
	function_unload(&lens);
}

static void put_all(Env *e, const char *name, double x)
{
	Tensor *t = env_get(e, name);
	for (int64_t i = 0; t && i < t->n; i++)
		t->at[i] = x;
}

/* Row 0 and row 1 ask for different places and classes. */
static void put_target(Env *e)
{
	Tensor *place = env_get(e, "position"), *target = env_get(e, "target");
	for (int64_t i = 0; i < target->n; i++) {
		if (place)
			place->at[i] = place_of(i);
		target->at[i] = (double)(i ? 0 : 1);
	}
}

static double asked(const Tensor *score, Env *e, int64_t row)
{
	Tensor *place = env_get(e, "position"), *target = env_get(e, "target");
	int64_t C = score->shape[score->type.rank - 1], T = place ? score->shape[1] : 1;
	return score->at[(row * T + (place ? (int64_t)place->at[row] : 0)) * C + (int64_t)target->at[row]];
}

/* With alpha 1 the score is the text's, with alpha 0 the baseline's. */
static void check_ends(Subject *s, const Graph *g, const Entry *e, const Dims *d, const char *score)
{
	Graph *forward = function(e, "forward");
	for (int end = 0; end < 2; end++) {
		Env *way = env_new(s->arena), *plain = env_new(s->arena);
		fill(way, g, e, d);
		fill(plain, forward, e, d);
		put_target(way);
		put_all(way, "alpha", end);
		put_all(way, "normalise", 0);
		if (!end)
			memcpy(env_get(plain, "tokens")->at, env_get(way, "baseline")->at, sizeof(double) * (size_t)env_get(plain, "tokens")->n);
		assert_true(graph_eval(g, way) && graph_eval(forward, plain));
		for (int64_t r = 0; r < 2; r++)
			assert_float_equal(env_get(way, "score")->at[r], asked(env_get(plain, score), way, r), 1e-10);
	}
}

static void check_attribution(Subject *s, const Target *t, int which, const char *score)
{
	const Entry *e = entry_of(s->made, ENTRY_EXPLAIN);
	Function f = function_load(e, internf("attribute%d", which), t);
	Graph *g = copy(s, e, "explain.attribute");
	explain_attribute(g, which);
	Dims d = dims_given(g);
	check_ends(s, g, e, &d, score);
	Env *got = prepared(s, &f, 1), *want = env_new(s->arena);
	fill(got, f.g, e, &d);
	fill(want, g, e, &d);
	put_target(got);
	put_target(want);
	assert_true(backend_call(f.compiled, got, 2));
	Tensor *a = env_get(got, "attribution"), *alpha = env_get(want, "alpha");
	double some = 0;
	for (int64_t i = 0; i < a->n; i++) {
		double exact = slope(g, want, "loss", &alpha->at[i], 1e-3);
		some = fmax(some, fabs(exact));
		if (!(fabs(a->at[i] - exact) < 1e-4 * fmax(1, fabs(exact))))
			fail_msg("%s: attribution %d of %s is %g, not %g", s->name, (int)i, score, a->at[i], exact);
	}
	assert_true(some > 1e-3);
	function_unload(&f);
}

static void check_entry(Subject *s)
{
	const Graph *forward = function(entry_of(s->made, ENTRY_EXPLAIN), "forward");
	const Target *t = &s->targets[0];
	check_run(s, t);
	check_weights(s, t);
	check_lens(s, t);
	for (int i = 0, which = 0; i < forward->vals.len; i++)
		if (forward->vals.at[i]->op == OP_OUTPUT && !strchr(forward->vals.at[i]->a.name, ':'))
			check_attribution(s, t, which++, forward->vals.at[i]->a.name);
}

static void bert_is_explained(void **state) { Subject s = subject(&cases[0], 0); check_entry(&s); }
static void gpt2_is_explained(void **state) { Subject s = subject(&cases[1], 0); check_entry(&s); }
static void llama_is_explained(void **state) { Subject s = subject(&cases[2], 0); check_entry(&s); }

/* Attention that is written out has maps, too. */
static void written_attention_is_explained(void **state)
{
	Case c = { .text = softmax_by_hand, .sets = { "explain.B=2" } };
	Subject s = subject(&c, 0);
	check_entry(&s);
}

/* Every value that has a name, though in the untapped program hardly one of them is in memory. */
static void check_taps(const char *path, EntryKind kind, const char *entry, const char *fn, const char *expected)
{
	Case c = { .path = path, .preset = "nano", .sets = { "L=2", internf("%s.T=7", entry), internf("%s.B=2", entry) }, .entries = { entry }, .tap = "*" };
	Subject s = subject(&c, 0);
	const Entry *e = entry_of(s.made, kind);
	const Graph *forward = function(e, "forward");
	Function f = function_load(e, fn, &s.targets[0]);
	Dims d = dims_given(f.g);
	Env *got = check_call(&s, &f, &d, NULL, s.targets[0].name), *want = evaluated(&s, forward, e, &d);
	int taps = 0;
	bool seen = false;
	for (int i = 0; i < forward->vals.len; i++) {
		const Value *v = forward->vals.at[i];
		if (v->op != OP_OUTPUT || strncmp(v->a.name, "tap:", 4))
			continue;
		taps++;
		seen |= strcmp(v->a.name + 4, expected) == 0;
		if (!(difference(env_get(got, v->a.name), env_get(want, v->a.name)) < 1e-4))
			fail_msg("%s: %s is another", path, v->a.name);
	}
	assert_true(taps > 20 && seen);
	function_unload(&f);
}

static void taps_are_the_values_of_their_names(void **state)
{
	check_taps("models/bert.sinter", ENTRY_INFER, "fill", "run", "bert.encoder.layer.1.a");
	check_taps("models/gpt2.sinter", ENTRY_TRAIN, "train", "eval", "h.1.x#2");
	check_taps("models/llama.sinter", ENTRY_EXPLAIN, "explain", "run", "model.layers.0.self_attn.q");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bert_is_explained), cmocka_unit_test(gpt2_is_explained), cmocka_unit_test(llama_is_explained),
		cmocka_unit_test(written_attention_is_explained), cmocka_unit_test(taps_are_the_values_of_their_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
