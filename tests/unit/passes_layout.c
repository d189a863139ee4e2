/* layout: afterwards every operand has its place, contractions are canonical, and nothing computed has changed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/kernels.h"
#include "tests/random_graph.h"

static const Dims dims = { 2, { { "B", 2 }, { "T", 5 } } };

/* Sizes that are 1, prime, and one past a tile. */
static const GptShape shapes[] = {
	{ .B = 2, .T = 5, .V = 11, .D = 8, .H = 2, .L = 2 },
	{ .B = 3, .T = 7, .V = 13, .D = 6, .H = 3, .L = 1 },
	{ .B = 3, .T = 5, .V = 9, .D = 4, .H = 1, .L = 1 },
	{ .B = 2, .T = 6, .V = 17, .D = 4, .H = 4, .L = 2, .dropout = 0.25 },
};

static void check(Graph *g, void (*pass)(Graph *), int ids)
{
	Graph *before = graph_copy(g, g->name);
	pass(g);
	assert_true(graph_verify(g));
	const char *e = kernels_unresolved(g);
	assert_string_equal(e ? e : "", "");
	assert_true(kernels_differ(before, g, &dims, ids) < 1e-12);
}

static void gpt_keeps_its_values(void **state)
{
	for (int i = 0; i < COUNT(shapes); i++) {
		check(kernels_step(shapes[i]), layout, shapes[i].V);
		check(kernels_step(shapes[i]), layout_packed, shapes[i].V);
	}
}

static void random_graphs_keep_their_values(void **state)
{
	for (int seed = 0; seed < 1000; seed++) {
		Arena *a = arena_new();
		check(random_graph(a, (uint64_t)seed), seed % 2 ? layout : layout_packed, 4);
		arena_free(a);
	}
}

static int count(const Graph *g, Op op)
{
	int n = 0;
	for (int i = 0; i < g->vals.len; i++)
		n += g->vals.at[i]->op == op;
	return n;
}

static Graph *laid_out(const char *body)
{
	Arena *a = test_arena();
	const char *text = internf("graph g(B <= 3, T <= 6) {\n%s}\n", body);
	Graph *g = graph_parse(a, source_text(a, "test", text), NULL);
	assert_non_null(g);
	check(g, layout, 4);
	return g;
}

static const Value *only(const Graph *g, Op op)
{
	assert_int_equal(count(g, op), 1);
	for (int i = 0; i < g->vals.len; i++)
		if (g->vals.at[i]->op == op)
			return g->vals.at[i];
	return NULL;
}

static void transposed_result_is_written_in_order(void **state)
{
	Graph *g = laid_out("%0 = input {name=\"a\"} : f32[B,T,4]\n %1 = input {name=\"b\"} : f32[B,4,3]\n"
	                    "%2 = contract %0, %1 {spec=\"btk,bkn->btn\"} : f32[B,T,3]\n"
	                    "%3 = transpose %2 {perm=[1,0,2]} : f32[T,B,3]\n output %3 {name=\"o\"}\n");
	assert_int_equal(count(g, OP_TRANSPOSE) + count(g, OP_COPY), 0);
	assert_string_equal(only(g, OP_CONTRACT)->a.spec, "btk,bkn->tbn");
}

static void n_is_innermost(void **state)
{
	Graph *g = laid_out("%0 = input {name=\"a\"} : f32[T,4]\n %1 = input {name=\"b\"} : f32[3,4]\n"
	                    "%2 = contract %0, %1 {spec=\"tk,nk->nt\"} : f32[3,T]\n output %2 {name=\"o\"}\n");
	assert_string_equal(only(g, OP_CONTRACT)->a.spec, "nk,kt->nt");
	assert_int_equal(count(g, OP_COPY), 0);
}

static void matrix_times_vector_is_no_contraction(void **state)
{
	Graph *g = laid_out("%0 = input {name=\"a\"} : f32[T,4]\n %1 = input {name=\"b\"} : f32[4]\n"
	                    "%2 = contract %0, %1 {spec=\"tk,k->t\"} : f32[T]\n output %2 {name=\"o\"}\n");
	assert_int_equal(count(g, OP_CONTRACT), 0);
	assert_int_equal(count(g, OP_SUM), 1);
}

static void grouped_heads_repeat_the_key_by_stride(void **state)
{
	Graph *g = laid_out("%0 = input {name=\"p\"} : f32[B,2,3,T,5]\n %1 = input {name=\"v\"} : f32[B,5,2,4]\n"
	                    "%2 = contract %0, %1 {spec=\"bgrts,bsgk->btgrk\"} : f32[B,T,2,3,4]\n output %2 {name=\"o\"}\n");
	assert_int_equal(count(g, OP_COPY), 0);
	assert_int_equal(count(g, OP_EXPAND), 1);
}

static void concat_is_computed_in_place(void **state)
{
	Graph *g = laid_out("%0 = input {name=\"a\"} : f32[B,3]\n %1 = exp %0 : f32[B,3]\n"
	                    "%2 = concat %1, %0 {axis=1} : f32[B,6]\n output %2 {name=\"o\"}\n");
	assert_ptr_equal(only(g, OP_EXP)->dest, only(g, OP_CONCAT));
	assert_ptr_equal(only(g, OP_COPY)->dest, only(g, OP_CONCAT));
}

static void states_swap(void **state)
{
	Graph *g = laid_out("%0 = state {name=\"a\"} : f32[3]\n %1 = state {name=\"b\"} : f32[3]\n store %0, %1\n store %1, %0\n");
	assert_int_equal(count(g, OP_COPY), 3);   /* one value waits outside */
}

static void reductions_step_by_step(void **state)
{
	Graph *g = laid_out("%0 = input {name=\"a\"} : f32[B,T,3,4]\n %1 = sum %0 {axes=[0,2,3]} : f32[1,T,1,1]\n output %1 {name=\"o\"}\n");
	assert_int_equal(count(g, OP_SUM), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gpt_keeps_its_values),
		cmocka_unit_test(random_graphs_keep_their_values),
		cmocka_unit_test(transposed_result_is_written_in_order),
		cmocka_unit_test(n_is_innermost),
		cmocka_unit_test(matrix_times_vector_is_no_contraction),
		cmocka_unit_test(grouped_heads_repeat_the_key_by_stride),
		cmocka_unit_test(concat_is_computed_in_place),
		cmocka_unit_test(states_swap),
		cmocka_unit_test(reductions_step_by_step),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
