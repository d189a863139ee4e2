/* merge: the evaluator before and after, bit for bit, on ways of reading weights, widths, biases and readers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "passes/passes.h"
#include "tests/numeric.h"

static const Dims dims = { 1, { { "N", 5 } } };

static int count(const Graph *g, Op op)
{
	int n = 0;
	for (int i = 0; i < g->vals.len; i++)
		n += g->vals.at[i]->op == op;
	return n;
}

static Value *source(Builder *b, Op op, const char *name, const Dim *rows, int64_t columns)
{
	return b_source(b, op, intern(name), type_make(DT_F32, 2, (const Dim *[]){ rows, dim_const(columns) }));
}

/* x times a weight of its own, [columns,7] or [7,columns], and a bias or none. */
static Value *product(Builder *b, Value *x, const char *name, int64_t columns, bool across, bool bias)
{
	Value *w = across ? source(b, OP_PARAM, name, dim_const(7), columns) : source(b, OP_PARAM, name, dim_const(columns), 7);
	Value *y = b_contract(b, x, w, across ? "nd,de->ne" : "nd,ed->ne");
	if (!bias)
		return y;
	return b_binary(b, OP_ADD, y, b_source(b, OP_PARAM, internf("%s.bias", name), type_make(DT_F32, 1, (const Dim *[]){ dim_const(columns) })));
}

/* Same numbers, and so many contractions left. */
static void merges(Builder *b, int left)
{
	Graph *after = graph_copy(b->g, "after");
	assert_true(passes_run(after, "merge,dce", &(PassOptions){ .verify_each = true }));
	Env *e = fill_env(b->g, &dims, 1, 1), *f = fill_env(b->g, &dims, 1, 1);
	assert_true(graph_eval(b->g, e) && graph_eval(after, f));
	for (int i = 0; i < b->g->vals.len; i++) {
		const Value *v = b->g->vals.at[i];
		if (v->op == OP_OUTPUT && difference(env_get(f, v->a.name), env_get(e, v->a.name)) > 0)
			fail_msg("output %s differs", v->a.name);
	}
	assert_int_equal(count(after, OP_CONTRACT), left);
}

static Builder begin(Value **x)
{
	Builder b = { .g = graph_new(test_arena(), "g") };
	graph_sym(b.g, "N", 8);
	*x = source(&b, OP_INPUT, "x", dim_sym("N"), 7);
	return b;
}

static void test_widths(void **state)
{
	for (int c = 0; c < 8; c++) {
		Value *x;
		Builder b = begin(&x);
		bool across = c & 1, bias = c & 2, first_alone = c & 4;
		b_output(&b, "q", product(&b, x, "q", 11, across, bias || first_alone));
		b_output(&b, "k", b_unary(&b, OP_EXP, product(&b, x, "k", 1, across, bias)));
		b_output(&b, "v", product(&b, x, "v", 64, across, bias));
		merges(&b, 1);
	}
}

/* A second group reads what the first one made; a value used twice has no bias of its own. */
static void test_one_behind_the_other(void **state)
{
	Value *x;
	Builder b = begin(&x);
	Value *y = product(&b, x, "a", 7, false, true), *z = product(&b, x, "b", 7, false, true);
	Value *u = b_binary(&b, OP_SUB, product(&b, y, "c", 3, true, false), product(&b, y, "d", 3, true, true));
	b_output(&b, "u", u);
	b_output(&b, "z", b_binary(&b, OP_ADD, z, z));
	b_output(&b, "alone", product(&b, z, "e", 5, true, true));
	merges(&b, 3);
}

static void test_what_stays_apart(void **state)
{
	Value *x;
	Builder b = begin(&x);
	Value *gate = product(&b, x, "gate", 5, false, false), *up = product(&b, x, "up", 5, false, false);
	b_output(&b, "gated", b_binary(&b, OP_MUL, b_unary(&b, OP_SIGMOID, gate), up));
	b_output(&b, "across", product(&b, x, "across", 5, true, false));
	merges(&b, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_widths), cmocka_unit_test(test_one_behind_the_other), cmocka_unit_test(test_what_stays_apart),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
