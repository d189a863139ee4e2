/* backend_counted.c: kernels of extents that the graph counts itself, which may be 0: every kind of kernel over rows that
 * some or none of are chosen, against the evaluator; and kernels of equal experts are one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "backend/backend.h"
#include "tests/kernels.h"
#include "tests/targets.h"

enum { EXPERTS = 3 };

static Type shape(DType dt, const char *text)
{
	Type t = { .dt = dt };
	while (*text) {
		t.dim[t.rank++] = dim_parse(&text);
		text += *text == ',';
	}
	return t;
}

static Value *source(Builder *b, Op op, const char *name, DType dt, const char *dims)
{
	return b_source(b, op, intern(name), shape(dt, dims));
}

/* What an expert makes of its rows: a product, a bias, a norm over rows, sums over and along the counted axis. */
static Value *expert(Builder *b, int i, Value *x)
{
	Value *w = source(b, OP_PARAM, internf("w%d", i), DT_F32, "5,7"), *u = source(b, OP_PARAM, internf("u%d", i), DT_F32, "5,7");
	Value *y = b_contract(b, x, w, "md,fd->mf");
	y = b_unary(b, OP_TANH, b_binary(b, OP_ADD, y, source(b, OP_PARAM, internf("c%d", i), DT_F32, "5")));
	Value *scale = b_unary(b, OP_RSQRT, b_binary(b, OP_ADD, b_reduce(b, OP_SUM, b_binary(b, OP_MUL, y, y), 2), b_const(b, DT_F32, 0.1)));
	y = b_contract(b, b_binary(b, OP_MUL, y, scale), u, "mf,fd->md");
	b_output(b, internf("columns%d", i), b_reduce(b, OP_SUM, y, 1));
	b_output(b, internf("all%d", i), b_reduce(b, OP_SUM, y, 3));
	b_output(b, internf("gram%d", i), b_contract(b, y, x, "md,me->de"));
	b_output(b, internf("count%d", i), b_binary(b, OP_MUL, b_dim(b, dim_mul(y->type.dim[0], dim_const(2))), b_const(b, DT_I32, 3)));
	return y;
}

static Graph *routed(void)
{
	Graph *g = graph_new(test_arena(), "routed");
	graph_sym(g, "N", 40);
	Builder b = { .g = g };
	Value *x = source(&b, OP_PARAM, "x", DT_F32, "N,7"), *chosen = source(&b, OP_INPUT, "chosen", DT_BOOL, "N,3");
	Value *sum = build(&b, OP_CONST, NULL, 0, &(Attrs){ .value = 0 }, &x->type);
	for (int i = 0; i < EXPERTS; i++) {
		Value *mine = b_reshape(&b, b_slice(&b, chosen, 1, dim_const(i), dim_const(1)), shape(DT_BOOL, "N"));
		Value *at = b_nonzero(&b, mine, internf("rows.%d", i));
		sum = b_scatter_add(&b, sum, at, expert(&b, i, b_gather(&b, x, at)));
	}
	b_output(&b, "y", sum);
	Value *r = b_binary(&b, OP_MUL, sum, source(&b, OP_INPUT, "r", DT_F32, "N,7"));
	b_output(&b, "loss", b_reshape(&b, b_reduce(&b, OP_SUM, r, 3), type_scalar(DT_F32)));
	return g;
}

static Graph *step(void)
{
	Graph *g = routed();
	Module *m = module_new(g->arena);
	for (int i = 0; i < g->vals.len; i++)
		if (g->vals.at[i]->op == OP_PARAM)
			vec_push(m->arena, &m->params, ((Param){ .name = g->vals.at[i]->a.name, .type = g->vals.at[i]->type }));
	autodiff(g, m);
	return g;
}

/* Which rows expert i takes: none, all, every third, the last alone, as `how` says. */
static bool takes(int how, int64_t row, int64_t n, int i)
{
	switch ((how + i) % 4) {
	case 0: return false;
	case 1: return true;
	case 2: return row % 3 == 1;
	default: return row == n - 1;
	}
}

static Env *filled(const Graph *g, int64_t n, int how)
{
	Env *e = fill_env(g, &(Dims){ 1, { { "N", n } } }, 7, 0);
	Tensor *t = env_get(e, "chosen");
	for (int64_t k = 0; k < t->n; k++)
		t->at[k] = takes(how, k / EXPERTS, n, (int)(k % EXPERTS));
	return e;
}

static void compare(const Graph *g, Env *got, Env *want, const char *what)
{
	for (int i = 0; i < g->vals.len; i++) {
		const Value *v = g->vals.at[i];
		const char *name = v->op == OP_STORE ? v->in[0]->a.name : v->op == OP_OUTPUT ? v->a.name : NULL;
		double d = name ? difference(env_get(got, name), env_get(want, name)) : 0;
		if (!(d < 2e-5))
			fail_msg("%s, %s: error %g", name, what, d);
	}
}

static void check(Graph *g, const char *layout)
{
	static const int64_t sizes[] = { 1, 2, 7, 40 };
	Graph *plain = graph_copy(g, "plain");
	assert_true(passes_run(g, internf("simplify,cse,simplify,cse,dce,%s,fuse,schedule", layout), &(PassOptions){ .verify_each = true }));
	assert_null(kernels_illegal(g));
	for (int t = 0; t < target_count(); t++) {
		Target target;
		assert_true(target_find(target_name(t), &target));
		Compiled *c = backend_load(g, &target);
		assert_non_null(c);
		for (int k = 0; k < COUNT(sizes) * 4; k++) {
			Env *want = filled(plain, sizes[k / 4], k % 4), *got = filled(g, sizes[k / 4], k % 4);
			assert_true(graph_eval(plain, want) && backend_call(c, got, 1 + k % 3));
			compare(plain, got, want, internf("%s, %d rows, choice %d", target_name(t), (int)sizes[k / 4], k % 4));
		}
		backend_unload(c);
	}
}

static void test_forward(void **state) { check(routed(), "layout"); }
static void test_forward_packed(void **state) { check(routed(), "layout_packed"); }
static void test_step(void **state) { check(step(), "layout"); }

/* The counts of an expert that is not there are 0, whatever memory held, and its products; of one that takes all, N. */
static void counts(const char *passes)
{
	Graph *g = routed();
	Env *e = filled(g, 7, 0);
	Target t;
	assert_true(passes_run(g, passes, NULL) && target_find(target_main(), &t) && backend_run(g, e, &t, 2));
	assert_true(env_get(e, "count0")->at[0] == 0 && env_get(e, "count1")->at[0] == 42 && env_get(e, "count2")->at[0] == 12);
	for (int64_t i = 0; i < env_get(e, "gram0")->n; i++)
		assert_true(env_get(e, "gram0")->at[i] == 0);
}

static void test_counts(void **state) { counts("simplify,dce,layout,fuse,schedule"); }
static void test_counts_bf16(void **state) { counts("precision,simplify,dce,layout,fuse,schedule"); }

/* A row that nobody takes is 0; the weights of an expert without rows are not read: they may be anything. */
static void test_nobody(void **state)
{
	Graph *g = routed();
	Env *e = filled(g, 7, 0);
	Target t;
	for (int64_t i = 0; i < env_get(e, "w0")->n; i++)
		env_get(e, "w0")->at[i] = NAN;
	assert_true(passes_run(g, "simplify,dce,layout,fuse,schedule", NULL) && target_find(target_main(), &t) && backend_run(g, e, &t, 1));
	for (int64_t i = 0; i < env_get(e, "y")->n; i++)
		assert_false(isnan(env_get(e, "y")->at[i]));
	assert_true(env_get(e, "all0")->at[0] == 0);
}

/* Nothing comes before the count that shapes it, whatever the passes do; dce keeps a count that only a shape needs. */
static void test_order(void **state)
{
	Graph *g = graph_new(test_arena(), "order");
	graph_sym(g, "N", 9);
	Builder b = { .g = g };
	Value *at = b_nonzero(&b, source(&b, OP_INPUT, "m", DT_BOOL, "N"), "M");
	Value *ones = build(&b, OP_CONST, NULL, 0, &(Attrs){ .value = 1 }, &(Type){ DT_F32, 1, { at->type.dim[0] } });
	b_output(&b, "n", b_reduce(&b, OP_SUM, ones, 1));
	Env *e = fill_env(g, &(Dims){ 1, { { "N", 9 } } }, 1, 0);
	double n = 0;
	for (int i = 0; i < 9; i++)
		n += env_get(e, "m")->at[i];
	assert_true(passes_run(g, "simplify,cse,dce,layout,fuse,schedule", &(PassOptions){ .verify_each = true }));
	Target t;
	assert_true(target_find(target_main(), &t) && backend_run(g, e, &t, 3));
	assert_true(env_get(e, "n")->at[0] == n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forward), cmocka_unit_test(test_forward_packed), cmocka_unit_test(test_step),
		cmocka_unit_test(test_counts), cmocka_unit_test(test_counts_bf16), cmocka_unit_test(test_nobody), cmocka_unit_test(test_order),
	};
	return cmocka_run_group_tests_name("backend_counted", tests, NULL, NULL);
}
