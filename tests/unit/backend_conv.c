/* backend_conv.c: convolutions as pad, windows and contraction: the value by plain loops, the kernels against the
 * evaluator, forward and backward, at awkward sizes; and that the forward road copies no windows to memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "backend/backend.h"
#include "tests/kernels.h"
#include "tests/targets.h"

typedef struct Conv { int rank, channels, out, size[2], kernel[2], step[2], pad[2], groups; bool symbolic; } Conv;

static const Conv convs[] = {
	{ 1, 3, 5, { 11 }, { 3 }, { 1 }, { 1 }, 1, true }, { 1, 7, 17, { 37 }, { 3 }, { 2 }, { 1 }, 1, true },
	{ 1, 1, 1, { 8 }, { 3 }, { 1 }, { 0 }, 1, false }, { 1, 4, 9, { 19 }, { 5 }, { 3 }, { 2 }, 1, true },
	{ 1, 6, 8, { 64 }, { 3 }, { 1 }, { 1 }, 2, true }, { 1, 3, 4, { 10 }, { 1 }, { 2 }, { 0 }, 1, false },
	{ 2, 3, 10, { 32, 48 }, { 16, 16 }, { 16, 16 }, { 0, 0 }, 1, false },
	{ 2, 2, 6, { 9, 7 }, { 3, 3 }, { 1, 1 }, { 1, 1 }, 1, false }, { 2, 3, 5, { 10, 13 }, { 3, 2 }, { 2, 1 }, { 1, 0 }, 1, true },
	{ 2, 3, 33, { 17, 19 }, { 4, 4 }, { 4, 4 }, { 0, 0 }, 1, true }, { 2, 5, 4, { 6, 40 }, { 1, 9 }, { 1, 1 }, { 0, 4 }, 1, false },
	{ 2, 4, 6, { 12, 12 }, { 3, 3 }, { 1, 1 }, { 1, 1 }, 2, false },
};
enum { BATCH = 3 };

static Dims dims_of(const Conv *c)
{
	return (Dims){ 3, { { "B", BATCH }, { "N0", c->size[0] }, { "N1", MAX(c->size[1], 1) } } };
}

static const Dim *extent(const Conv *c, int axis)
{
	return c->symbolic ? dim_sym(internf("N%d", axis)) : dim_const(c->size[axis]);
}

/* [B,C,n..] and [D,C/G,k..] to [B,m..,D], as "bGcxiyj,GDcij->bxyGD". */
static Value *build_conv(Builder *b, const Conv *c, Value *x, Value *w)
{
	const Dim *one = dim_const(1);
	for (int i = 0; i < c->rank; i++)
		if (c->pad[i])
			x = b_pad(b, x, 2 + i, dim_const(c->pad[i]), dim_const(c->pad[i]));
	for (int i = c->rank - 1; i >= 0; i--)
		x = b_windows(b, x, 2 + i, dim_const(c->kernel[i]), c->step[i]);
	if (c->groups == 1)
		return b_contract(b, x, w, c->rank == 1 ? "bcxi,dci->bxd" : "bcxiyj,dcij->bxyd");
	const Dim *g = dim_const(c->groups), *ci = dim_const(c->channels / c->groups), *di = dim_const(c->out / c->groups);
	Type t = { .dt = DT_F32, .rank = x->type.rank + 1, .dim = { x->type.dim[0], g, ci } };
	for (int i = 2; i < x->type.rank; i++)
		t.dim[i + 1] = x->type.dim[i];
	Type u = { .dt = DT_F32, .rank = w->type.rank + 1, .dim = { g, di } };
	for (int i = 1; i < w->type.rank; i++)
		u.dim[i + 1] = w->type.dim[i];
	Value *y = b_contract(b, b_reshape(b, x, t), b_reshape(b, w, u), c->rank == 1 ? "bgcxi,gdci->bxgd" : "bgcxiyj,gdcij->bxygd");
	t = y->type;
	t.rank--;
	t.dim[t.rank - 1] = dim_mul(dim_const(c->out), one);
	return b_reshape(b, y, t);
}

static Graph *forward(const Conv *c)
{
	Graph *g = graph_new(test_arena(), "conv");
	graph_sym(g, "B", 4);
	graph_sym(g, "N0", c->size[0] + 3);
	graph_sym(g, "N1", c->size[1] + 2);
	Builder b = { .g = g };
	Type x = { .dt = DT_F32, .rank = 2 + c->rank, .dim = { dim_sym("B"), dim_const(c->channels) } };
	Type w = { .dt = DT_F32, .rank = 2 + c->rank, .dim = { dim_const(c->out), dim_const(c->channels / c->groups) } };
	for (int i = 0; i < c->rank; i++) {
		x.dim[2 + i] = extent(c, i);
		w.dim[2 + i] = dim_const(c->kernel[i]);
	}
	Value *y = build_conv(&b, c, b_source(&b, OP_PARAM, "x", x), b_source(&b, OP_PARAM, "w", w));
	y = b_unary(&b, OP_TANH, b_binary(&b, OP_ADD, y, b_source(&b, OP_PARAM, "bias", type_make(DT_F32, 1, &w.dim[0]))));
	b_output(&b, "y", y);
	Value *r = b_binary(&b, OP_MUL, y, b_source(&b, OP_INPUT, "r", y->type));
	b_output(&b, "loss", b_reshape(&b, b_reduce(&b, OP_SUM, r, (1u << y->type.rank) - 1), type_scalar(DT_F32)));
	return g;
}

static int64_t result_extent(const Conv *c, int i)
{
	return i < c->rank ? (c->size[i] + 2 * c->pad[i] - c->kernel[i]) / c->step[i] + 1 : 1;
}

/* One result by the definition. */
static double by_loops(const Conv *c, const Tensor *x, const Tensor *w, int64_t b, int64_t r0, int64_t r1, int d)
{
	double sum = 0;
	int per = c->channels / c->groups, g = d / (c->out / c->groups), k1 = c->rank > 1 ? c->kernel[1] : 1;
	int64_t n1 = c->rank > 1 ? c->size[1] : 1;
	for (int ci = 0; ci < per; ci++)
		for (int i = 0; i < c->kernel[0]; i++)
			for (int j = 0; j < k1; j++) {
				int64_t p = r0 * c->step[0] + i - c->pad[0], q = c->rank > 1 ? r1 * c->step[1] + j - c->pad[1] : 0;
				if (p < 0 || p >= c->size[0] || q < 0 || q >= n1)
					continue;
				sum += x->at[((b * c->channels + g * per + ci) * c->size[0] + p) * n1 + q] *
				       w->at[((d * per + ci) * c->kernel[0] + i) * k1 + j];
			}
	return sum;
}

static void test_meaning(void **state)
{
	for (int k = 0; k < COUNT(convs); k++) {
		const Conv *c = &convs[k];
		Dims dims = dims_of(c);
		Graph *g = forward(c);
		Env *e = fill_env(g, &dims, 3, 0);
		assert_true(graph_verify(g) && graph_eval(g, e));
		const Tensor *x = env_get(e, "x"), *w = env_get(e, "w"), *bias = env_get(e, "bias"), *y = env_get(e, "y");
		int64_t m0 = result_extent(c, 0), m1 = result_extent(c, 1);
		assert_int_equal(y->n, BATCH * m0 * m1 * c->out);
		for (int64_t i = 0; i < y->n; i++) {
			int d = (int)(i % c->out);
			int64_t at = i / c->out;
			double want = tanh(by_loops(c, x, w, at / m1 / m0, at / m1 % m0, at % m1, d) + bias->at[d]);
			if (!(fabs(y->at[i] - want) < 1e-12))
				fail_msg("convolution %d: element %lld is %g, not %g", k, (long long)i, y->at[i], want);
		}
	}
}

static Graph *step(const Conv *c)
{
	Graph *g = forward(c);
	Module *m = module_new(g->arena);
	for (int i = 0; i < g->vals.len; i++)
		if (g->vals.at[i]->op == OP_PARAM)
			vec_push(m->arena, &m->params, ((Param){ .name = g->vals.at[i]->a.name, .type = g->vals.at[i]->type }));
	autodiff(g, m);
	return g;
}

static void check_kernels(Graph *g, const Conv *c, int index, const char *what, double tolerance)
{
	Dims dims = dims_of(c);
	Env *want = fill_env(g, &dims, 5, 0);
	assert_true(graph_eval(g, want));
	assert_true(passes_run(g, "simplify,cse,simplify,dce,layout,fuse,schedule", &(PassOptions){ .verify_each = true }));
	assert_null(kernels_illegal(g));
	for (int t = 0; t < target_count(); t++) {
		Target target;
		Env *got = fill_env(g, &dims, 5, 0);
		assert_true(target_find(target_name(t), &target) && backend_run(g, got, &target, 1 + t));
		for (int i = 0; i < g->vals.len; i++) {
			const Value *v = g->vals.at[i];
			const char *name = v->op == OP_STORE ? v->in[0]->a.name : v->op == OP_OUTPUT ? v->a.name : NULL;
			double d = name ? difference(env_get(got, name), env_get(want, name)) : 0;
			if (!(d < tolerance))
				fail_msg("convolution %d, %s, %s: %s is %g off", index, what, target_name(t), name, d);
		}
	}
}

static void test_kernels(void **state)
{
	for (int k = 0; k < COUNT(convs); k++) {
		check_kernels(forward(&convs[k]), &convs[k], k, "forward", 2e-5);
		check_kernels(step(&convs[k]), &convs[k], k, "step", 2e-4);
	}
}

/* The windows reach the pack: nothing computes a value with as many elements as they have. */
static void test_no_copy_of_windows(void **state)
{
	for (int k = 0; k < COUNT(convs); k++) {
		Graph *g = forward(&convs[k]);
		assert_true(passes_run(g, "simplify,cse,dce,layout", NULL));
		int packs = 0;
		for (int i = 0; i < g->vals.len; i++) {
			const Value *v = g->vals.at[i];
			assert_false(v->op == OP_COPY && v->type.rank > 2 + convs[k].rank);
			packs += v->op == OP_PACK && v->a.side == 0;
		}
		assert_true(packs == 1 || convs[k].out == 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_meaning), cmocka_unit_test(test_kernels), cmocka_unit_test(test_no_copy_of_windows),
	};
	return cmocka_run_group_tests_name("backend_conv", tests, NULL, NULL);
}
