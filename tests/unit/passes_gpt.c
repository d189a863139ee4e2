/* The passes on a small GPT: its whole gradient against finite differences, every pass by evaluation before and
 * after, generation token by token and in chunks against the whole sequence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "passes/passes.h"
#include "tests/gpt.h"
#include "tests/numeric.h"

static const GptShape shape = { .B = 3, .T = 8, .V = 11, .D = 6, .H = 2, .L = 2 };
static const Dims dims = { 2, { { "B", 2 }, { "T", 5 } } };

static Graph *step_graph(const Module *m)
{
	Graph *g = graph_copy(entry_graph(m->entries.at[0], "forward"), "train.step");
	autodiff(g, m);
	return g;
}

static void set_scalar(Env *e, const char *name, double x)
{
	env_set(e, name, 0, NULL, &x);
}

/* Every 7th coordinate of every parameter. */
static double gradient_error(GptShape s)
{
	Module *m = gpt_module_of(test_arena(), s);
	Graph *f = entry_graph(m->entries.at[0], "forward"), *g = step_graph(m);
	assert_true(graph_verify(g));
	Env *e = fill_env(g, &dims, 1, s.V);
	set_scalar(e, "accumulate", 0);
	assert_true(graph_eval(g, e));
	double worst = 0;
	for (int i = 0; i < m->params.len; i++) {
		Tensor *p = env_get(e, m->params.at[i].name);
		Tensor *d = env_get(e, internf("grad.%s", m->params.at[i].name));
		assert_non_null(d);
		assert_int_equal(d->n, p->n);
		for (int64_t k = 0; k < p->n; k += 7) {
			double want = slope(f, e, "loss", &p->at[k], 1e-3);
			worst = fmax(worst, fabs(d->at[k] - want) / fmax(1e-2, fabs(want)));
		}
	}
	return worst;
}

static void test_gradient(void **state)
{
	assert_true(gradient_error(shape) < 1e-7);
}

static void test_gradient_with_dropout(void **state)
{
	GptShape s = shape;
	s.dropout = 0.2;
	assert_true(gradient_error(s) < 1e-7);
}

static void test_accumulate(void **state)
{
	Module *m = gpt_module_of(test_arena(), shape);
	Graph *g = step_graph(m);
	Env *once = fill_env(g, &dims, 1, shape.V), *twice = fill_env(g, &dims, 1, shape.V);
	set_scalar(once, "accumulate", 0);
	assert_true(graph_eval(g, once));
	for (int i = 0; i < 2; i++) {
		set_scalar(twice, "accumulate", i);
		assert_true(graph_eval(g, twice));
	}
	Tensor *a = env_get(once, "grad.h.0.mlp.c_fc.weight"), *b = env_get(twice, "grad.h.0.mlp.c_fc.weight");
	assert_true(fabs(a->at[3]) > 1e-6);
	for (int64_t i = 0; i < a->n; i++)
		assert_true(fabs(2 * a->at[i] - b->at[i]) < 1e-12);
}

static void test_frozen_and_unused(void **state)
{
	Module *m = gpt_module_of(test_arena(), shape);
	Param unused = { .name = "extra", .type = gpt_type(DT_F32, 1, dim_const(3), NULL, NULL, NULL, NULL) };
	vec_push(m->arena, &m->params, unused);
	module_param(m, "wpe.weight")->frozen = true;
	Graph *g = step_graph(m);
	Env *e = fill_env(g, &dims, 1, shape.V);
	set_scalar(e, "accumulate", 0);
	assert_true(graph_eval(g, e));
	assert_null(env_get(e, "grad.wpe.weight"));
	Tensor *t = env_get(e, "grad.extra");
	assert_true(t && t->n == 3 && t->at[0] == 0 && t->at[2] == 0);
}

static void test_backward_says_where_it_is_from(void **state)
{
	Graph *g = step_graph(gpt_module_of(test_arena(), shape));
	int n = 0;
	for (int i = 0; i < g->vals.len; i++) {
		const Value *v = g->vals.at[i];
		if (!v->grad || !v->path || strcmp(v->path, "h.1.mlp.c_fc") != 0)
			continue;
		n++;
		assert_int_equal(v->loc.line, 3);
	}
	assert_true(n > 10);
}

/* Difference of all that g stores and outputs, after the passes. */
static double changed_by(Graph *g, const char *passes, int ids)
{
	Graph *after = graph_copy(g, g->name);
	assert_true(passes_run(after, passes, &(PassOptions){ .verify_each = true }));
	Env *a = fill_env(g, &dims, 1, ids), *b = fill_env(g, &dims, 1, ids);
	assert_true(graph_eval(g, a) && graph_eval(after, b));
	double worst = 0;
	for (int i = 0; i < g->vals.len; i++) {
		const Value *v = g->vals.at[i];
		const char *name = v->op == OP_STORE ? v->in[0]->a.name : v->op == OP_OUTPUT ? v->a.name : NULL;
		if (name)
			worst = fmax(worst, difference(env_get(b, name), env_get(a, name)));
	}
	return worst;
}

static void test_passes_keep_values(void **state)
{
	static const char *const lists[] = { "simplify", "cse", "dce", "expand", "simplify,cse,dce",
		"expand,cse,simplify,dce,cse" };
	GptShape s = shape;
	s.dropout = 0.1;
	Module *m = gpt_module_of(test_arena(), s);
	Graph *forward = entry_graph(m->entries.at[0], "forward"), *step = step_graph(m);
	Graph *update = optimizer_update(m->arena, m, m->entries.at[0]);
	for (int i = 0; i < COUNT(lists); i++) {
		assert_true(changed_by(forward, lists[i], s.V) < 1e-13);
		assert_true(changed_by(step, lists[i], s.V) < 1e-12);
		assert_true(changed_by(update, lists[i], s.V) < 1e-13);
	}
}

static int count(const Graph *g, Op op)
{
	int n = 0;
	for (int i = 0; i < g->vals.len; i++)
		n += g->vals.at[i]->op == op;
	return n;
}

/* Values of the backward half that read a forward value of this op. */
static int gradients_reading(const Graph *g, Op op)
{
	int n = 0;
	for (int i = 0; i < g->vals.len; i++)
		for (int k = 0; k < g->vals.at[i]->nin; k++)
			n += g->vals.at[i]->grad && !g->vals.at[i]->in[k]->grad && g->vals.at[i]->in[k]->op == op;
	return n;
}

/* What the passes are there for: q, k, v gradients are one concat, the embedding's lookup adds in place. */
static void test_step_is_clean(void **state)
{
	Graph *g = step_graph(gpt_module_of(test_arena(), shape));
	assert_true(passes_run(g, "simplify,cse,simplify,cse,dce", NULL));
	assert_int_equal(count(g, OP_PAD), 0);
	assert_int_equal(count(g, OP_EXP), shape.L + 1);
	assert_int_equal(gradients_reading(g, OP_EXP), 1);   /* softmax's gradient needs its result alone; the loss's its e^z */
	assert_int_equal(count(g, OP_STOP), 0);
	assert_int_equal(count(g, OP_CONCAT), shape.L);
	assert_int_equal(count(g, OP_SCATTER_ADD), 2);
	for (int i = 0; i < g->vals.len; i++)
		if (g->vals.at[i]->op == OP_SCATTER_ADD)
			assert_int_not_equal(g->vals.at[i]->in[0]->op, OP_CONST);
	int before = g->vals.len;
	assert_true(passes_run(g, "simplify,cse,dce", NULL));
	assert_int_equal(g->vals.len, before);
}

/* Generation */

/* Feeds tokens [from, to) to the step; returns the logits behind the last. */
static Tensor *advance(const Graph *g, Env *e, int from, int to, int batch)
{
	double ids[64];
	int64_t shape2[2] = { batch, to - from };
	for (int b = 0; b < batch; b++)
		for (int t = from; t < to; t++)
			ids[b * (to - from) + t - from] = (b * 5 + t * 3) % 11;
	env_set(e, "tokens", 2, shape2, ids);
	env_dim(e, "T", to - from);
	env_dim(e, "T.all", to);
	assert_true(graph_eval(g, e));
	return env_get(e, "next");
}

/* The step made of m's generate.forward against `whole`. */
static void generate_module(Module *m, const Graph *whole, int batch, const int *chunks, const char *passes)
{
	Entry *gen = m->entries.at[1];
	Graph *step = graph_copy(entry_graph(gen, "forward"), "generate.step");
	assert_true(incremental(step, m, gen));
	assert_true(graph_verify(step));
	assert_true(passes_run(step, passes, &(PassOptions){ .verify_each = true }));
	Dims d = { 3, { { "B", batch }, { "T", 1 }, { "T.all", 1 } } };
	Env *a = fill_env(whole, &d, 3, 11), *b = fill_env(step, &d, 3, 11);
	for (int at = 0; *chunks; at += *chunks++) {
		Tensor *got = advance(step, b, at, at + *chunks, batch);
		Tensor *want = advance(whole, a, 0, at + *chunks, batch);
		assert_int_equal(want->n, batch * shape.V);
		assert_true(difference(got, want) < 1e-12);
	}
}

static void generate_against_whole(int bound, int batch, const int *chunks, const char *passes)
{
	GptShape s = shape;
	s.B = bound;
	Module *m = gpt_module_of(test_arena(), s);
	generate_module(m, entry_graph(m->entries.at[1], "forward"), batch, chunks, passes);
}

static void test_token_by_token(void **state)
{
	generate_against_whole(1, 1, (const int[]){ 1, 1, 1, 1, 1, 1, 1, 1, 0 }, "expand");
}

static void test_in_chunks(void **state)
{
	generate_against_whole(1, 1, (const int[]){ 3, 1, 2, 1, 1, 0 }, "expand,simplify,cse,dce");
}

/* Only the last position's logits are computed, and the last layer behind its attention for that position. */
static void test_logits_of_the_last_alone(void **state)
{
	Graph *g = graph_copy(entry_graph(gpt_module_of(test_arena(), shape)->entries.at[1], "forward"), "generate.forward");
	assert_true(passes_run(g, "simplify,cse,dce", NULL));
	int whole = 0, one = 0;
	for (int i = 0; i < g->vals.len; i++) {
		const Value *v = g->vals.at[i];
		whole += v->op == OP_CONTRACT && v->type.dim[1] == dim_sym("T");
		one += v->op == OP_CONTRACT && dim_is(v->type.dim[1], 1);
	}
	assert_int_equal(whole, 4 * (shape.L - 1) + 1);
	assert_int_equal(one, 3 + 1);
}

static void generate_simplified(const int *chunks, int bound, int batch)
{
	GptShape s = shape;
	s.B = bound;
	Module *m = gpt_module_of(test_arena(), s);
	Graph *whole = entry_graph(m->entries.at[1], "forward");
	Graph *copy = graph_copy(whole, whole->name);
	assert_true(passes_run(copy, "simplify,cse,dce", NULL));
	m->entries.at[1]->graphs.at[0] = copy;
	generate_module(m, whole, batch, chunks, "expand,simplify,cse,dce");
}

static void test_simplified_first(void **state)
{
	generate_simplified((const int[]){ 3, 1, 2, 1, 1, 0 }, 1, 1);
	generate_simplified((const int[]){ 1, 4, 1, 1, 0 }, 3, 2);
}

static void test_in_batches(void **state)
{
	generate_against_whole(3, 2, (const int[]){ 4, 1, 3, 0 }, "expand,simplify,cse,dce");
	generate_against_whole(3, 3, (const int[]){ 1, 5, 1, 1, 0 }, "expand,simplify,cse,dce");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gradient),
		cmocka_unit_test(test_gradient_with_dropout),
		cmocka_unit_test(test_accumulate),
		cmocka_unit_test(test_frozen_and_unused),
		cmocka_unit_test(test_backward_says_where_it_is_from),
		cmocka_unit_test(test_passes_keep_values),
		cmocka_unit_test(test_step_is_clean),
		cmocka_unit_test(test_token_by_token),
		cmocka_unit_test(test_in_chunks),
		cmocka_unit_test(test_in_batches),
		cmocka_unit_test(test_logits_of_the_last_alone),
		cmocka_unit_test(test_simplified_first),
	};
	return cmocka_run_group_tests_name("passes_gpt", tests, NULL, NULL);
}
