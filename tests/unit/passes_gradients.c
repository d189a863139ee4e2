/* Every gradient rule of the table against finite differences of the reference evaluator, at awkward shapes and
 * with broadcasting. An op that has a rule and no case here fails. Also what finite differences cannot tell: ties,
 * stop, integers, refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "passes/passes.h"
#include "tests/numeric.h"

static const Dims dims = { 2, { { "B", 2 }, { "T", 5 } } };

static Type shape(DType dt, const char *text)
{
	Type t = { .dt = dt };
	while (*text) {
		t.dim[t.rank++] = dim_parse(&text);
		text += *text == ',';
	}
	return t;
}

/* A parameter of shape "B,T,3". A name that begins with p has values in [0.5, 1.5), others in [-1, 1). */
static Value *par(Builder *b, const char *name, const char *dims_text)
{
	return b_source(b, OP_PARAM, intern(name), shape(DT_F32, dims_text));
}

static Value *ids(Builder *b, const char *dims_text)
{
	return b_source(b, OP_INPUT, intern("ids"), shape(DT_I32, dims_text));
}

static Value *flags(Builder *b, const char *dims_text)
{
	return b_source(b, OP_INPUT, intern("flags"), shape(DT_BOOL, dims_text));
}

#define UNARY(NAME, op, name) static Value *NAME(Builder *b) { return b_unary(b, op, par(b, name, "B,T,3")); }
UNARY(case_neg, OP_NEG, "x")
UNARY(case_abs, OP_ABS, "x")
UNARY(case_exp, OP_EXP, "x")
UNARY(case_log, OP_LOG, "p")
UNARY(case_sqrt, OP_SQRT, "p")
UNARY(case_rsqrt, OP_RSQRT, "p")
UNARY(case_tanh, OP_TANH, "x")
UNARY(case_erf, OP_ERF, "x")
UNARY(case_sin, OP_SIN, "x")
UNARY(case_cos, OP_COS, "x")
UNARY(case_sigmoid, OP_SIGMOID, "x")
UNARY(case_copy, OP_COPY, "x")

/* Same shapes; a missing axis; stretched both ways; a scalar. */
#define BINARY(NAME, op, x, y) \
	static Value *NAME##_same(Builder *b) { return b_binary(b, op, par(b, x, "B,T,3"), par(b, y, "B,T,3")); } \
	static Value *NAME##_lead(Builder *b) { return b_binary(b, op, par(b, x, "B,T,3"), par(b, y, "T,1")); } \
	static Value *NAME##_both(Builder *b) { return b_binary(b, op, par(b, x, "7,1"), par(b, y, "B,1,3")); } \
	static Value *NAME##_scalar(Builder *b) { return b_binary(b, op, par(b, x, ""), par(b, y, "2,3")); }
BINARY(case_add, OP_ADD, "x", "y")
BINARY(case_sub, OP_SUB, "x", "y")
BINARY(case_mul, OP_MUL, "x", "y")
BINARY(case_div, OP_DIV, "x", "py")
BINARY(case_pow, OP_POW, "px", "y")
BINARY(case_max, OP_MAX, "x", "y")
BINARY(case_min, OP_MIN, "x", "y")

static Value *case_twice(Builder *b)
{
	Value *x = par(b, "x", "3,5");
	return b_binary(b, OP_MUL, x, x);
}

static Value *case_select(Builder *b)
{
	return b_select(b, flags(b, "T,1"), par(b, "x", "B,1,3"), par(b, "y", "3"));
}

static Value *case_sum_last(Builder *b) { return b_reduce(b, OP_SUM, par(b, "x", "B,T,3"), 4); }
static Value *case_sum_first(Builder *b) { return b_reduce(b, OP_SUM, par(b, "x", "B,T,3"), 3); }
static Value *case_rmax_last(Builder *b) { return b_reduce(b, OP_RMAX, par(b, "x", "B,T,3"), 4); }
static Value *case_rmax_two(Builder *b) { return b_reduce(b, OP_RMAX, par(b, "x", "B,T,3"), 5); }

static Value *case_reshape(Builder *b)
{
	return b_reshape(b, par(b, "x", "B,T,6"), shape(DT_F32, "B*T,3,2"));
}

static Value *case_transpose(Builder *b)
{
	return b_transpose(b, par(b, "x", "B,T,3,4"), (const int8_t[]){ 2, 0, 3, 1 });
}

static Value *case_slice(Builder *b)
{
	return b_slice(b, par(b, "x", "B,T,3"), 1, dim_const(1), dim_sub(dim_sym("T"), dim_const(2)));
}

static Value *case_slices_of_one(Builder *b)
{
	Value *x = par(b, "x", "4,7");
	Value *first = b_slice(b, x, 1, dim_const(0), dim_const(5)), *end = b_slice(b, x, 1, dim_const(2), dim_const(5));
	return b_binary(b, OP_MUL, first, end);
}

/* Windows apart, touching, overlapping, with a rest behind the last, of one axis and of two. */
static Value *case_windows_apart(Builder *b) { return b_windows(b, par(b, "x", "T,7"), 1, dim_const(2), 3); }
static Value *case_windows_touching(Builder *b) { return b_windows(b, par(b, "x", "7,B"), 0, dim_const(3), 3); }
static Value *case_windows_1(Builder *b) { return b_windows(b, par(b, "x", "B,T"), 1, dim_const(3), 1); }
static Value *case_windows_2(Builder *b) { return b_windows(b, par(b, "x", "B,T + 1"), 1, dim_const(3), 2); }
static Value *case_windows_images(Builder *b)
{
	return b_windows(b, b_windows(b, par(b, "x", "B,5,6"), 1, dim_const(3), 2), 3, dim_const(4), 1);
}

static Value *case_expand(Builder *b) { return b_expand(b, par(b, "x", "T,1"), shape(DT_F32, "B,T,3")); }

static Value *case_concat(Builder *b)
{
	Value *x = par(b, "x", "B,T,2");
	return b_concat(b, (Value *[]){ x, par(b, "y", "B,3,2"), x }, 3, 1);
}

static Value *case_pad(Builder *b) { return b_pad(b, par(b, "x", "B,T"), 1, dim_const(2), dim_sym("B")); }

static Value *case_contract(Builder *b) { return b_contract(b, par(b, "x", "B,T,3"), par(b, "y", "3,7"), "btd,dn->btn"); }
static Value *case_contract_tied(Builder *b) { return b_contract(b, par(b, "x", "B,T,3"), par(b, "y", "7,3"), "btd,vd->btv"); }
static Value *case_contract_batch(Builder *b) { return b_contract(b, par(b, "x", "B,T,2,3"), par(b, "y", "B,7,2,3"), "bthk,bshk->bhts"); }
static Value *case_contract_outer(Builder *b) { return b_contract(b, par(b, "x", "3"), par(b, "y", "T,2"), "a,bc->cab"); }
static Value *case_contract_all(Builder *b) { return b_contract(b, par(b, "x", "3,T"), par(b, "y", "T,3"), "ab,ba->"); }
static Value *case_contract_twice(Builder *b)
{
	Value *x = par(b, "x", "5,5");
	return b_contract(b, x, x, "ab,cb->ca");
}

static Value *case_gather(Builder *b) { return b_gather(b, par(b, "x", "7,3,2"), ids(b, "B,T")); }

static Value *case_scatter_add(Builder *b)
{
	return b_scatter_add(b, par(b, "x", "7,3"), ids(b, "B,T"), par(b, "y", "B,T,3"));
}

static Value *case_softmax(Builder *b)
{
	return build(b, OP_SOFTMAX, (Value *[]){ par(b, "x", "B,T,3") }, 1, &(Attrs){ .axis = 1 }, NULL);
}

static Value *case_attention(Builder *b)
{
	Value *in[] = { par(b, "q", "B,T,4,3"), par(b, "k", "B,T,2,3"), par(b, "v", "B,T,2,3") };
	return build(b, OP_ATTENTION, in, 3, &(Attrs){ .causal = 1, .scale = 0.7 }, NULL);
}

static Value *case_attention_masked(Builder *b)
{
	Value *in[] = { par(b, "q", "B,T,2,3"), par(b, "k", "B,7,2,3"), par(b, "v", "B,7,2,3"), flags(b, "B,7"),
		par(b, "bias", "2,1,7") };
	return build(b, OP_ATTENTION, in, 5, &(Attrs){ .keys = 1, .bias = 1, .scale = 0.7 }, NULL);
}

static Value *case_attention_windowed(Builder *b)
{
	Value *in[] = { par(b, "q", "B,T,4,3"), par(b, "k", "B,T,2,3"), par(b, "v", "B,T,2,3"), flags(b, "4,1,T") };
	return build(b, OP_ATTENTION, in, 4, &(Attrs){ .causal = 1, .window = 2, .mask = 1, .scale = 0.7, .softcap = 0.5 }, NULL);
}

static Value *case_flash(Builder *b)
{
	Value *in[] = { par(b, "q", "B,T,4,3"), par(b, "k", "B,T,2,3"), par(b, "v", "B,T,2,5") };
	return build(b, OP_FLASH, in, 3, &(Attrs){ .causal = 1, .scale = 0.7 }, NULL);
}

static Value *case_flash_masked(Builder *b)
{
	Value *in[] = { par(b, "q", "B,T,4,3"), par(b, "k", "B,7,2,3"), par(b, "v", "B,7,2,3"), flags(b, "B,7"),
		b_source(b, OP_INPUT, "mask", shape(DT_BOOL, "4,1,7")),
		b_source(b, OP_INPUT, "bias", shape(DT_F32, "T,7")), b_source(b, OP_INPUT, "seed", type_scalar(DT_I32)) };
	return build(b, OP_FLASH, in, 7, &(Attrs){ .keys = 1, .mask = 1, .bias = 1, .scale = 0.7, .softcap = 0.5, .dropout = 0.3 }, NULL);
}

/* Rows through a product, if chosen, as an expert's tokens are. */
static Value *case_counted(Builder *b)
{
	Value *x = par(b, "x", "7,3"), *at = b_nonzero(b, flags(b, "7"), "M");
	Value *y = b_contract(b, b_gather(b, x, at), par(b, "k", "3,4"), "md,dn->mn");
	y = b_binary(b, OP_MUL, b_unary(b, OP_TANH, y), b_gather(b, par(b, "s", "7,1"), at));
	return b_scatter_add(b, par(b, "base", "7,4"), at, y);
}

#define FOUR(OP, name) { OP, name##_same }, { OP, name##_lead }, { OP, name##_both }, { OP, name##_scalar }
static const struct Case { Op op; Value *(*make)(Builder *); } cases[] = {
	{ OP_NEG, case_neg }, { OP_ABS, case_abs }, { OP_EXP, case_exp }, { OP_LOG, case_log }, { OP_SQRT, case_sqrt },
	{ OP_RSQRT, case_rsqrt }, { OP_TANH, case_tanh }, { OP_ERF, case_erf }, { OP_SIN, case_sin },
	{ OP_COS, case_cos }, { OP_SIGMOID, case_sigmoid }, { OP_COPY, case_copy },
	FOUR(OP_ADD, case_add), FOUR(OP_SUB, case_sub), FOUR(OP_MUL, case_mul), FOUR(OP_DIV, case_div),
	FOUR(OP_POW, case_pow), FOUR(OP_MAX, case_max), FOUR(OP_MIN, case_min), { OP_MUL, case_twice },
	{ OP_SELECT, case_select }, { OP_SUM, case_sum_last }, { OP_SUM, case_sum_first },
	{ OP_RMAX, case_rmax_last }, { OP_RMAX, case_rmax_two }, { OP_RESHAPE, case_reshape },
	{ OP_TRANSPOSE, case_transpose }, { OP_SLICE, case_slice }, { OP_SLICE, case_slices_of_one },
	{ OP_EXPAND, case_expand }, { OP_WINDOWS, case_windows_apart }, { OP_WINDOWS, case_windows_touching },
	{ OP_WINDOWS, case_windows_1 }, { OP_WINDOWS, case_windows_2 }, { OP_WINDOWS, case_windows_images }, { OP_CONCAT, case_concat }, { OP_PAD, case_pad },
	{ OP_CONTRACT, case_contract }, { OP_CONTRACT, case_contract_tied }, { OP_CONTRACT, case_contract_batch },
	{ OP_CONTRACT, case_contract_outer }, { OP_CONTRACT, case_contract_all }, { OP_CONTRACT, case_contract_twice },
	{ OP_GATHER, case_gather }, { OP_SCATTER_ADD, case_scatter_add },
	{ OP_SOFTMAX, case_softmax }, { OP_ATTENTION, case_attention }, { OP_ATTENTION, case_attention_masked },
	{ OP_ATTENTION, case_attention_windowed }, { OP_GATHER, case_counted },
	{ OP_FLASH, case_flash }, { OP_FLASH, case_flash_masked },
};

/* loss = sum of w * y, w a random input */
static void output_loss(Builder *b, Value *y)
{
	Value *w = b_source(b, OP_INPUT, intern("w"), y->type);
	Value *s = b_binary(b, OP_MUL, y, w);
	if (s->type.rank > 0)
		s = b_reduce(b, OP_SUM, s, (1u << s->type.rank) - 1);
	b_output(b, "loss", b_reshape(b, s, type_scalar(DT_F32)));
}

static Module *module_of(const Graph *g)
{
	Module *m = module_new(g->arena);
	for (int i = 0; i < g->vals.len; i++) {
		const Value *v = g->vals.at[i];
		if (v->op == OP_PARAM && !module_param(m, v->a.name))
			vec_push(m->arena, &m->params, ((Param){ .name = v->a.name, .type = v->type }));
	}
	return m;
}

static Env *environment(const Graph *g)
{
	Env *e = fill_env(g, &dims, 5, 8);
	for (int i = 0; i < g->vals.len; i++) {
		const Value *v = g->vals.at[i];
		Tensor *t = v->op == OP_PARAM && v->a.name[0] == 'p' ? env_get(e, v->a.name) : NULL;
		for (int64_t k = 0; t && k < t->n; k++)
			t->at[k] = 1 + t->at[k] / 2;
	}
	double no = 0;
	env_set(e, "accumulate", 0, NULL, &no);
	return e;
}

static Graph *new_graph(const char *name)
{
	Graph *g = graph_new(test_arena(), name);
	graph_sym(g, "B", 4);
	graph_sym(g, "T", 8);
	return g;
}

/* Largest error of any gradient, and whether the forward graph has the op. */
static double error_of(const struct Case *c, bool *has_op, const char *passes)
{
	Graph *f = new_graph("forward");
	Builder b = { .g = f };
	output_loss(&b, c->make(&b));
	for (int i = 0; i < f->vals.len; i++)
		*has_op |= f->vals.at[i]->op == c->op;
	Module *m = module_of(f);
	Graph *g = graph_copy(f, "step");
	autodiff(g, m);
	assert_true(passes_run(g, passes, NULL));
	assert_true(graph_verify(g));
	Env *e = environment(g);
	assert_true(graph_eval(g, e));
	double worst = 0;
	for (int i = 0; i < m->params.len; i++) {
		Tensor *p = env_get(e, m->params.at[i].name), *d = env_get(e, internf("grad.%s", m->params.at[i].name));
		assert_true(p && d && p->n == d->n);
		for (int64_t k = 0; k < p->n; k++)
			worst = fmax(worst, fabs(d->at[k] - slope(f, e, "loss", &p->at[k], 1e-3)));
	}
	return worst;
}

static void check_all(const char *passes)
{
	for (int i = 0; i < COUNT(cases); i++) {
		bool has_op = false;
		double error = error_of(&cases[i], &has_op, passes);
		if (!has_op || !(error < 1e-8))
			fail_msg("case %d of %s: error %g%s", i, op_info[cases[i].op].text, error, has_op ? "" : ", op not in graph");
	}
}

static void test_every_rule(void **state)
{
	check_all("");
}

static void test_every_rule_simplified(void **state)
{
	check_all("simplify,cse,dce");
}

static void test_no_op_is_left_out(void **state)
{
	for (int op = 0; op < OP_COUNT; op++) {
		bool found = grad_rule[op] == NULL;
		for (int i = 0; i < COUNT(cases); i++)
			found |= cases[i].op == (Op)op;
		if (!found)
			fail_msg("%s has a gradient rule and no case", op_info[op].text);
	}
}

/* The gradient of sum(w * y) where w is all ones, for given x (and y). */
static Tensor *gradient_at(Value *(*make)(Builder *), const char *of, int n, const double *x, const double *y)
{
	Graph *g = new_graph("tie");
	Builder b = { .g = g };
	output_loss(&b, make(&b));
	autodiff(g, module_of(g));
	Env *e = environment(g);
	Tensor *w = env_get(e, "w");
	for (int64_t i = 0; i < w->n; i++)
		w->at[i] = 1;
	env_set(e, "x", 1, (const int64_t[]){ n }, x);
	if (y)
		env_set(e, "y", 1, (const int64_t[]){ n }, y);
	assert_true(graph_eval(g, e));
	return env_get(e, internf("grad.%s", of));
}

static Value *make_max(Builder *b) { return b_binary(b, OP_MAX, par(b, "x", "3"), par(b, "y", "3")); }
static Value *make_min(Builder *b) { return b_binary(b, OP_MIN, par(b, "x", "3"), par(b, "y", "3")); }
static Value *make_rmax(Builder *b) { return b_reduce(b, OP_RMAX, par(b, "x", "4"), 1); }
static Value *make_abs(Builder *b) { return b_unary(b, OP_ABS, par(b, "x", "3")); }
static Value *make_pow(Builder *b) { return b_binary(b, OP_POW, par(b, "x", "3"), par(b, "y", "3")); }

static void equals(const Tensor *t, int n, const double *want)
{
	assert_non_null(t);
	assert_int_equal(t->n, n);
	for (int i = 0; i < n; i++)
		assert_true(t->at[i] == want[i]);
}

static void test_ties(void **state)
{
	const double x[] = { 1, 2, 3 }, y[] = { 1, 3, 2 }, four[] = { 5, 1, 5, 5 }, kink[] = { -2, 0, 2 };
	equals(gradient_at(make_max, "x", 3, x, y), 3, (const double[]){ 1, 0, 1 });
	equals(gradient_at(make_max, "y", 3, x, y), 3, (const double[]){ 0, 1, 0 });
	equals(gradient_at(make_min, "x", 3, x, y), 3, (const double[]){ 1, 1, 0 });
	equals(gradient_at(make_min, "y", 3, x, y), 3, (const double[]){ 0, 0, 1 });
	equals(gradient_at(make_rmax, "x", 4, four, NULL), 4, (const double[]){ 1 / 3.0, 0, 1 / 3.0, 1 / 3.0 });
	equals(gradient_at(make_abs, "x", 3, kink, NULL), 3, (const double[]){ -1, 0, 1 });
}

/* At 0 the rules of x^y give 0, not 0 times infinity. */
static void test_pow_at_zero(void **state)
{
	const double x[] = { 0, 0, 2 }, y[] = { 2, 0, 0 };
	equals(gradient_at(make_pow, "x", 3, x, y), 3, (const double[]){ 0, 0, 0 });
	equals(gradient_at(make_pow, "y", 3, x, y), 3, (const double[]){ 0, 0, log(2) });
}

static Value *make_stopped(Builder *b)
{
	Value *x = par(b, "x", "3");
	return b_binary(b, OP_MUL, x, b_unary(b, OP_STOP, x));
}

static void test_stop(void **state)
{
	const double x[] = { 1, 2, 3 };
	equals(gradient_at(make_stopped, "x", 3, x, NULL), 3, x);
}

static Value *make_rounded(Builder *b)
{
	Value *x = par(b, "x", "3");
	return b_convert(b, b_convert(b, x, DT_I32), DT_F32);
}

static void test_nothing_flows_through_integers(void **state)
{
	const double x[] = { 1, 2, 3 };
	equals(gradient_at(make_rounded, "x", 3, x, NULL), 3, (const double[]){ 0, 0, 0 });
}

static void test_refuses(void **state)
{
	Graph *g = new_graph("write");
	Builder b = { .g = g };
	output_loss(&b, b_write(&b, par(&b, "x", "7"), par(&b, "y", "3"), 0, dim_const(1)));
	diag_reset();
	autodiff(g, module_of(g));
	assert_int_equal(diag_errors(), 1);
	diag_reset();
	Graph *none = new_graph("none");
	autodiff(none, module_of(none));
	assert_int_equal(diag_errors(), 1);
	diag_reset();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_rule),
		cmocka_unit_test(test_every_rule_simplified),
		cmocka_unit_test(test_no_op_is_left_out),
		cmocka_unit_test(test_ties),
		cmocka_unit_test(test_pow_at_zero),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_nothing_flows_through_integers),
		cmocka_unit_test(test_refuses),
	};
	return cmocka_run_group_tests_name("passes_gradients", tests, NULL, NULL);
}
