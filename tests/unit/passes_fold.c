/* Folding of constants: every op that simplify computes, against the evaluator, at telling values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "passes/passes.h"
#include "tests/numeric.h"

static const double values[] = { -2.5, -1, 0, 0.5, 1, 3, 7 };

static Builder begin(void)
{
	return (Builder){ .g = graph_new(test_arena(), "g") };
}

/* y's value before and after simplify agree, and no op is left. */
static void folds(Builder *b, Value *y)
{
	Graph *g = b->g;
	b_output(b, "y", y);
	Graph *after = graph_copy(g, "after");
	assert_true(passes_run(after, "simplify", &(PassOptions){ .verify_each = true }));
	Env *e = env_new(g->arena), *f = env_new(g->arena);
	assert_true(graph_eval(g, e) && graph_eval(after, f));
	if (difference(env_get(f, "y"), env_get(e, "y")) > 0 || after->vals.len != 2)
		fail_msg("%s of %g: %g, must be %g", op_info[y->op].text, y->nin ? y->in[0]->a.value : 0, env_get(f, "y")->at[0],
			env_get(e, "y")->at[0]);
}

static void test_one_operand(void **state)
{
	static const Op ops[] = { OP_NEG, OP_ABS, OP_EXP, OP_LOG, OP_SQRT, OP_RSQRT, OP_TANH, OP_ERF, OP_SIN, OP_COS, OP_SIGMOID,
		OP_STOP, OP_TO_F32, OP_TO_I32 };
	for (int i = 0; i < COUNT(ops); i++)
		for (int k = 0; k < COUNT(values); k++) {
			Builder b = begin();
			folds(&b, b_unary(&b, ops[i], b_const(&b, DT_F32, values[k])));
		}
}

static void test_two_operands(void **state)
{
	static const Op ops[] = { OP_ADD, OP_SUB, OP_MUL, OP_DIV, OP_POW, OP_MAX, OP_MIN, OP_EQ, OP_NE, OP_LT, OP_LE };
	for (int i = 0; i < COUNT(ops); i++)
		for (int k = 0; k < COUNT(values) * COUNT(values); k++) {
			Builder b = begin();
			double x = values[k / COUNT(values)], y = values[k % COUNT(values)];
			folds(&b, b_binary(&b, ops[i], b_const(&b, DT_F32, x), b_const(&b, DT_F32, y)));
		}
}

static void test_logic(void **state)
{
	for (int k = 0; k < 8; k++) {
		Builder b = begin();
		Value *x = b_const(&b, DT_BOOL, k & 1), *y = b_const(&b, DT_BOOL, k >> 1 & 1);
		Value *z = b_binary(&b, k & 4 ? OP_AND : OP_OR, x, b_unary(&b, OP_NOT, y));
		folds(&b, b_select(&b, z, b_const(&b, DT_F32, 3), b_const(&b, DT_F32, 4)));
	}
}

static void test_integers_wrap(void **state)
{
	Builder b = begin();
	Value *big = b_const(&b, DT_I32, 2147483647);
	folds(&b, b_binary(&b, OP_ADD, big, big));
	b = begin();
	folds(&b, b_binary(&b, OP_MUL, b_const(&b, DT_I32, 1 << 20), b_const(&b, DT_I32, -(1 << 13))));
}

static void test_movement(void **state)
{
	Type t = { .dt = DT_F32, .rank = 2, .dim = { dim_const(3), dim_const(4) } }, flat = { .dt = DT_F32, .rank = 1, .dim = { dim_const(12) } };
	Builder b = begin();
	Value *x = b_expand(&b, b_const(&b, DT_F32, 2), t), *zero = b_expand(&b, b_const(&b, DT_F32, 0), t);
	x = b_concat(&b, (Value *[]){ b_transpose(&b, x, (const int8_t[]){ 1, 0 }), b_transpose(&b, x, (const int8_t[]){ 1, 0 }) }, 2, 1);
	x = b_reduce(&b, OP_RMAX, b_slice(&b, x, 0, dim_const(1), dim_const(2)), 2);
	zero = b_reshape(&b, b_pad(&b, zero, 1, dim_const(0), dim_const(0)), flat);
	folds(&b, b_binary(&b, OP_ADD, x, zero));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_operand), cmocka_unit_test(test_two_operands), cmocka_unit_test(test_logic),
		cmocka_unit_test(test_integers_wrap), cmocka_unit_test(test_movement),
	};
	return cmocka_run_group_tests_name("passes_fold", tests, NULL, NULL);
}
