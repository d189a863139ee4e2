/* The functions passes make of a module: AdamW against numbers worked out by hand, hoisting, and the whole road on a
 * small GPT, every function evaluated against the frontend's graph. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "passes/passes.h"
#include "tests/gpt.h"
#include "tests/numeric.h"

static void set_scalar(Env *e, const char *name, double x)
{
	env_set(e, name, 0, NULL, &x);
}

/* AdamW */

static Type vector(int n)
{
	return gpt_type(DT_F32, 1, dim_const(n), NULL, NULL, NULL, NULL);
}

/* p[2] with decay, q[1] without, f[1] frozen */
static Graph *update_graph(void)
{
	Module *m = module_new(test_arena());
	vec_push(m->arena, &m->params, ((Param){ .name = "p", .type = vector(2), .decay = true }));
	vec_push(m->arena, &m->params, ((Param){ .name = "q", .type = vector(1) }));
	vec_push(m->arena, &m->params, ((Param){ .name = "f", .type = vector(1), .decay = true, .frozen = true }));
	Graph *g = optimizer_update(m->arena, m, &(Entry){ .kind = ENTRY_TRAIN, .name = "train" });
	assert_true(graph_verify(g));
	assert_string_equal(g->name, "train.update");
	return g;
}

static Env *update_env(const Graph *g, double clip)
{
	static const struct { const char *name; double value; } inputs[] = {
		{ "lr", 0.1 }, { "beta1", 0.9 }, { "beta2", 0.99 }, { "eps", 1e-3 }, { "decay", 0.2 }, { "scale", 0.5 },
		{ "c1", 0.1 }, { "c2", 0.01 },
	};
	Env *e = env_new(g->arena);
	for (int i = 0; i < COUNT(inputs); i++)
		set_scalar(e, inputs[i].name, inputs[i].value);
	set_scalar(e, "clip", clip);
	env_set(e, "p", 1, (const int64_t[]){ 2 }, (const double[]){ 1, -2 });
	env_set(e, "grad.p", 1, (const int64_t[]){ 2 }, (const double[]){ 0.5, 4 });
	env_set(e, "m.p", 1, (const int64_t[]){ 2 }, (const double[]){ 0.1, 0.2 });
	env_set(e, "v.p", 1, (const int64_t[]){ 2 }, (const double[]){ 0.01, 0.04 });
	env_set(e, "q", 1, (const int64_t[]){ 1 }, (const double[]){ 3 });
	env_set(e, "grad.q", 1, (const int64_t[]){ 1 }, (const double[]){ -2 });
	env_set(e, "m.q", 1, (const int64_t[]){ 1 }, NULL);
	env_set(e, "v.q", 1, (const int64_t[]){ 1 }, NULL);
	return e;
}

static void near(Env *e, const char *name, int i, double want)
{
	double got = env_get(e, name)->at[i];
	if (fabs(got - want) > 1e-14)
		fail_msg("%s[%d] is %.17g, must be %.17g", name, i, got, want);
}

/* Norm of 0.5 * (0.5, 4, -2) is 2.25; clipped to 1 the factor is 0.5 / 2.25 = 2/9. */
static void test_adamw_clipped(void **state)
{
	Graph *g = update_graph();
	Env *e = update_env(g, 1);
	assert_true(graph_eval(g, e));
	near(e, "grad_norm", 0, 2.25);
	near(e, "m.p", 0, 0.09 + 0.1 * (1.0 / 9));
	near(e, "v.p", 0, 0.0099 + 0.01 / 81);
	near(e, "p", 0, 0.8791080416121015);
	near(e, "p", 1, -2.083316499514513);
	near(e, "v.p", 1, 0.04750123456790124);
	near(e, "m.q", 0, -0.4 / 9);
	near(e, "q", 0, 3.0997755051134948);
	assert_null(env_get(e, "f"));
}

/* Clip 0 means none, and a clip above the norm changes nothing. */
static void test_adamw_not_clipped(void **state)
{
	Graph *g = update_graph();
	const double clips[] = { 0, 5 };
	for (int i = 0; i < 2; i++) {
		Env *e = update_env(g, clips[i]);
		assert_true(graph_eval(g, e));
		near(e, "grad_norm", 0, 2.25);
		near(e, "m.p", 1, 0.38);
		near(e, "p", 0, 0.8680140161273993);
		near(e, "p", 1, -2.0946397071726524);
		near(e, "q", 0, 3.0999000999000996);
	}
}

static void test_adamw_without_gradient(void **state)
{
	Graph *g = update_graph();
	Env *e = update_env(g, 1);
	env_set(e, "grad.p", 1, (const int64_t[]){ 2 }, NULL);
	env_set(e, "grad.q", 1, (const int64_t[]){ 1 }, NULL);
	assert_true(graph_eval(g, e));
	near(e, "grad_norm", 0, 0);
	near(e, "q", 0, 3);
	near(e, "m.p", 0, 0.09);
}

/* Hoisting */

static Value *packed(Builder *b, Value *x, int side, const char *spec)
{
	return build(b, OP_PACK, &x, 1, &(Attrs){ .side = side, .spec = spec }, NULL);
}

/* y = x (2 w)', z = x + (a copy of w's first row), and w itself: only the pack and the copy are worth a state. The copy
 * of an input is the call's; a product of parameters moves as a whole, with its left operand's pack. */
static Graph *hoistable(void)
{
	Graph *g = graph_new(test_arena(), "generate.step");
	graph_sym(g, "T", 4);
	Builder b = { .g = g };
	const char *spec = intern("tk,nk->tn");
	Type tx = gpt_type(DT_F32, 2, dim_sym("T"), dim_const(3), NULL, NULL, NULL);
	Type tw = gpt_type(DT_F32, 2, dim_const(5), dim_const(3), NULL, NULL, NULL);
	Value *x = b_source(&b, OP_INPUT, "x", tx), *w = b_source(&b, OP_PARAM, "w", tw);
	Value *w2 = b_binary(&b, OP_MUL, w, b_const(&b, DT_F32, 2));
	Value *y = b_contract(&b, packed(&b, x, 0, spec), packed(&b, w2, 1, spec), spec);
	Value *row = b_unary(&b, OP_COPY, b_slice(&b, w, 0, dim_const(0), dim_const(1)));
	b_output(&b, "y", y);
	b_output(&b, "z", b_binary(&b, OP_ADD, x, row));
	Value *given = b_source(&b, OP_INPUT, "given", gpt_type(DT_F32, 1, dim_const(3), NULL, NULL, NULL, NULL));
	b_output(&b, "u", b_binary(&b, OP_ADD, x, b_unary(&b, OP_COPY, given)));
	Value *gram = b_contract(&b, packed(&b, w, 0, intern("ak,bk->ab")), w, "ak,bk->ab");
	b_output(&b, "t", b_binary(&b, OP_ADD, gram, b_reduce(&b, OP_SUM, x, 3)));
	b_output(&b, "v", b_binary(&b, OP_ADD, x, b_slice(&b, w, 0, dim_const(1), dim_const(1))));
	return g;
}

static int count(const Graph *g, Op op)
{
	int n = 0;
	for (int i = 0; i < g->vals.len; i++)
		n += g->vals.at[i]->op == op;
	return n;
}

/* Values that prepare must overwrite. */
static void fill_states(Env *e, const Graph *prepare, const Dims *d)
{
	for (int i = 0; i < prepare->vals.len; i++)
		if (prepare->vals.at[i]->op == OP_STATE)
			fill_source(e, prepare->vals.at[i], d, 1, 1);
}

static void test_hoist(void **state)
{
	Graph *whole = hoistable(), *step = graph_copy(whole, whole->name);
	Graph *prepare = hoist(&step, 1, &(Entry){ .kind = ENTRY_GENERATE, .name = "generate" });
	assert_true(graph_verify(step) && graph_verify(prepare));
	assert_string_equal(prepare->name, "generate.prepare");
	assert_int_equal(count(prepare, OP_STORE), 3);
	assert_int_equal(count(prepare, OP_INPUT), 0);
	assert_int_equal(count(step, OP_STATE), 3);
	assert_int_equal(count(step, OP_PACK), 1);
	assert_int_equal(count(step, OP_PARAM), 1);
	for (int i = 0; i < step->vals.len; i++) {
		Value *v = step->vals.at[i];
		if (v->op == OP_CONTRACT)
			assert_true(v->in[1]->op == OP_STATE && v->in[1]->a.side == 1 && v->in[1]->a.spec == v->a.spec);
	}
	Dims d = { 1, { { "T", 3 } } };
	Env *a = fill_env(whole, &d, 1, 1), *b = fill_env(whole, &d, 1, 1);
	fill_states(b, prepare, &d);
	assert_true(graph_eval(whole, a) && graph_eval(prepare, b) && graph_eval(step, b));
	assert_true(difference(env_get(b, "y"), env_get(a, "y")) == 0);
	assert_true(difference(env_get(b, "z"), env_get(a, "z")) == 0);
	assert_true(difference(env_get(b, "v"), env_get(a, "v")) == 0);
	assert_true(difference(env_get(b, "u"), env_get(a, "u")) == 0);
	assert_true(difference(env_get(b, "t"), env_get(a, "t")) == 0);
}

/* A left operand's pack stays beside its contraction, even if it depends on parameters alone. */
/* Two functions that use the same are prepared for once, and read the same states. */
static void test_hoist_shares(void **state)
{
	const Entry e = { .kind = ENTRY_GENERATE, .name = "generate" };
	Graph *one = hoistable(), *a = graph_copy(one, one->name), *b = graph_copy(one, "generate.encode");
	Graph *alone = hoist(&one, 1, &e), *both = hoist((Graph *const[]){ a, b }, 2, &e);
	assert_true(graph_verify(both) && graph_verify(a) && graph_verify(b));
	assert_int_equal(both->vals.len, alone->vals.len);
	assert_int_equal(a->vals.len, b->vals.len);
	for (int i = 0; i < a->vals.len; i++)
		if (a->vals.at[i]->op == OP_STATE)
			assert_string_equal(a->vals.at[i]->a.name, b->vals.at[i]->a.name);
}

static void test_hoist_leaves_left_packs(void **state)
{
	Graph *g = graph_new(test_arena(), "generate.step");
	graph_sym(g, "T", 4);
	Builder b = { .g = g };
	const char *spec = intern("ak,bk->ab");
	Value *w = b_source(&b, OP_PARAM, "w", gpt_type(DT_F32, 2, dim_const(5), dim_const(3), NULL, NULL, NULL));
	Value *x = b_source(&b, OP_INPUT, "x", gpt_type(DT_F32, 2, dim_sym("T"), dim_const(3), NULL, NULL, NULL));
	b_output(&b, "y", b_contract(&b, packed(&b, w, 0, spec), x, spec));
	Graph *prepare = hoist(&g, 1, &(Entry){ .kind = ENTRY_GENERATE, .name = "generate" });
	assert_int_equal(count(g, OP_PACK), 1);
	assert_int_equal(prepare->vals.len, 0);
}

/* The whole road */

static const GptShape shape = { .B = 3, .T = 8, .V = 11, .D = 6, .H = 2, .L = 2 };
static const Dims dims = { 2, { { "B", 2 }, { "T", 5 } } };

static Module *built(GptShape s)
{
	Module *m = gpt_module_of(test_arena(), s);
	for (int i = 0; i < m->params.len; i++)
		if (i == 3)
			m->params.at[i].frozen = true;
	assert_true(passes_module(m, &(PassOptions){ .verify_each = true }));
	return m;
}

static void test_road_makes_all_functions(void **state)
{
	Module *m = built(shape);
	static const char *const train[] = { "forward", "step", "eval", "update" }, *const gen[] = { "forward", "step", "prepare" };
	for (int i = 0; i < COUNT(train); i++)
		assert_non_null(entry_graph(m->entries.at[0], train[i]));
	for (int i = 0; i < COUNT(gen); i++)
		assert_non_null(entry_graph(m->entries.at[1], gen[i]));
	Graph *step = entry_graph(m->entries.at[0], "step");
	for (int i = 0; i < step->vals.len; i++)
		if (step->vals.at[i]->op == OP_CONTRACT)
			assert_int_not_equal(step->vals.at[i]->kernel, 0);
}

/* Copies print alike, kernels and places included, and share no value with the original. */
static void test_copies_are_whole(void **state)
{
	Graph *step = entry_graph(built(shape)->entries.at[0], "step"), *copy = graph_copy(step, step->name);
	Str a = { 0 }, b = { 0 };
	graph_print(&a, step);
	graph_print(&b, copy);
	assert_non_null(strstr(a.at, "dest="));
	assert_string_equal(a.at, b.at);
	for (int i = 0; i < step->vals.len; i++)
		assert_ptr_not_equal(step->vals.at[i], copy->vals.at[i]);
	str_free(&a);
	str_free(&b);
}

/* The finished step against autodiff alone. */
static void test_road_keeps_training(void **state)
{
	GptShape s = shape;
	s.dropout = 0.1;
	Module *m = built(s);
	Graph *step = entry_graph(m->entries.at[0], "step");
	Graph *plain = graph_copy(entry_graph(m->entries.at[0], "forward"), "plain");
	autodiff(plain, m);
	Env *a = fill_env(plain, &dims, 1, s.V), *b = fill_env(plain, &dims, 1, s.V);
	assert_true(graph_eval(plain, a) && graph_eval(step, b));
	assert_true(difference(env_get(b, "loss"), env_get(a, "loss")) < 1e-12);
	int trained = 0;
	for (int i = 0; i < m->params.len; i++) {
		const char *name = internf("grad.%s", m->params.at[i].name);
		if (m->params.at[i].frozen)
			continue;
		trained++;
		assert_true(difference(env_get(b, name), env_get(a, name)) < 1e-11);
	}
	assert_int_equal(trained, m->params.len - 1);
}

static void test_road_keeps_eval(void **state)
{
	Module *m = built(shape);
	Graph *plain = entry_graph(m->entries.at[0], "forward"), *eval = entry_graph(m->entries.at[0], "eval");
	Env *a = fill_env(plain, &dims, 1, shape.V), *b = fill_env(plain, &dims, 1, shape.V);
	assert_true(graph_eval(plain, a) && graph_eval(eval, b));
	assert_true(difference(env_get(b, "loss"), env_get(a, "loss")) < 1e-12);
}

static void test_road_keeps_update(void **state)
{
	Module *m = built(shape);
	Graph *plain = optimizer_update(m->arena, m, m->entries.at[0]), *update = entry_graph(m->entries.at[0], "update");
	Env *a = fill_env(plain, &dims, 1, 1), *b = fill_env(plain, &dims, 1, 1);
	for (int i = 0; i < m->params.len; i++) {   /* second moments are squares */
		const char *name = internf("v.%s", m->params.at[i].name);
		for (int64_t k = 0; env_get(a, name) && k < env_get(a, name)->n; k++)
			env_get(b, name)->at[k] = env_get(a, name)->at[k] = fabs(env_get(a, name)->at[k]);
	}
	static const char *const positive[] = { "beta1", "beta2", "eps", "clip", "scale", "c1", "c2" };
	for (int i = 0; i < COUNT(positive); i++) {
		set_scalar(a, positive[i], 0.1 + 0.1 * i);
		set_scalar(b, positive[i], 0.1 + 0.1 * i);
	}
	assert_true(graph_eval(plain, a) && graph_eval(update, b));
	assert_true(difference(env_get(b, "grad_norm"), env_get(a, "grad_norm")) < 1e-13);
	for (int i = 0; i < m->params.len; i++) {
		const char *name = m->params.at[i].name;
		if (!m->params.at[i].frozen)
			assert_true(difference(env_get(b, name), env_get(a, name)) < 1e-12);
	}
}

static Tensor *advance(const Graph *g, Env *e, int from, int to, int batch)
{
	double ids[64];
	for (int b = 0; b < batch; b++)
		for (int t = from; t < to; t++)
			ids[b * (to - from) + t - from] = (b * 5 + t * 3) % 11;
	env_set(e, "tokens", 2, (const int64_t[]){ batch, to - from }, ids);
	env_dim(e, "B", batch);
	env_dim(e, "T", to - from);
	env_dim(e, "T.all", to);
	assert_true(graph_eval(g, e));
	return env_get(e, "next");
}

static void check_generation(int bound, int batch)
{
	static const int chunks[] = { 3, 1, 1, 2, 1 };
	GptShape s = shape;
	s.B = bound;
	Module *m = built(s);
	Entry *gen = m->entries.at[1];
	Graph *whole = entry_graph(gen, "forward"), *step = entry_graph(gen, "step"), *prepare = entry_graph(gen, "prepare");
	Dims d = { 3, { { "B", batch }, { "T", 1 }, { "T.all", 1 } } };
	Env *a = fill_env(whole, &d, 3, 11), *b = fill_env(step, &d, 3, 11);
	for (int i = 0; i < prepare->vals.len; i++)
		if (prepare->vals.at[i]->op == OP_PARAM)
			fill_source(b, prepare->vals.at[i], &d, 3, 11);
	assert_true(graph_eval(prepare, b));
	for (int i = 0, at = 0; i < COUNT(chunks); at += chunks[i++]) {
		Tensor *got = advance(step, b, at, at + chunks[i], batch);
		assert_true(difference(got, advance(whole, a, 0, at + chunks[i], batch)) < 1e-12);
	}
}

static void test_road_keeps_generation(void **state)
{
	check_generation(1, 1);
	check_generation(3, 2);
}

/* The runner */

static void test_runner_refuses(void **state)
{
	Graph *g = gpt_forward(test_arena(), shape);
	diag_reset();
	assert_false(passes_run(g, "simplify,nonsense", NULL));
	assert_int_equal(diag_errors(), 1);
	assert_false(passes_run(g, "layout", NULL));
	assert_int_equal(diag_errors(), 2);
	assert_true(passes_run(g, "expand, layout", NULL));
	diag_reset();
}

static void test_runner_prints(void **state)
{
	char text[65536];
	FILE *f = tmpfile();
	const char *after[] = { "cse", NULL };
	Graph *g = gpt_forward(test_arena(), shape);
	assert_true(passes_run(g, "simplify,cse,dce", &(PassOptions){ .print_after = after, .stats = true, .out = f }));
	rewind(f);
	text[fread(text, 1, sizeof text - 1, f)] = 0;
	fclose(f);
	assert_non_null(strstr(text, "# after cse\ngraph train.forward"));
	assert_null(strstr(text, "# after dce"));
	assert_non_null(strstr(text, "simplify"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_adamw_clipped),
		cmocka_unit_test(test_adamw_not_clipped),
		cmocka_unit_test(test_adamw_without_gradient),
		cmocka_unit_test(test_hoist),
		cmocka_unit_test(test_hoist_shares),
		cmocka_unit_test(test_hoist_leaves_left_packs),
		cmocka_unit_test(test_road_makes_all_functions),
		cmocka_unit_test(test_copies_are_whole),
		cmocka_unit_test(test_road_keeps_training),
		cmocka_unit_test(test_road_keeps_eval),
		cmocka_unit_test(test_road_keeps_update),
		cmocka_unit_test(test_road_keeps_generation),
		cmocka_unit_test(test_runner_refuses),
		cmocka_unit_test(test_runner_prints),
	};
	return cmocka_run_group_tests_name("passes_functions", tests, NULL, NULL);
}
