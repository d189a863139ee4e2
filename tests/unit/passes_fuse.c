/* fuse and schedule: every kernel can be lowered, nothing computed has changed, and GPT-2's training step comes down to the
 * kernels one expects. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/kernels.h"
#include "tests/random_graph.h"

static const Dims dims = { 2, { { "B", 2 }, { "T", 5 } } };

static void check(Graph *g, int ids)
{
	static void (*const passes[])(Graph *) = { fuse, schedule };
	layout(g);
	Graph *before = graph_copy(g, g->name);
	for (int i = 0; i < COUNT(passes); i++) {
		passes[i](g);
		assert_true(graph_verify(g));
		const char *e = kernels_illegal(g);
		assert_string_equal(e ? e : "", "");
		assert_true(kernels_differ(before, g, &dims, ids) == 0);
	}
}

static void gpt_keeps_its_bits(void **state)
{
	check(kernels_step((GptShape){ .B = 2, .T = 5, .V = 11, .D = 8, .H = 2, .L = 2 }), 11);
	check(kernels_step((GptShape){ .B = 3, .T = 7, .V = 13, .D = 6, .H = 3, .L = 1 }), 13);
	check(kernels_step((GptShape){ .B = 2, .T = 6, .V = 17, .D = 4, .H = 1, .L = 2, .dropout = 0.25 }), 17);
}

static void random_graphs_keep_their_bits(void **state)
{
	for (int seed = 0; seed < 2000; seed++) {
		Arena *a = arena_new();
		Graph *g = random_graph(a, (uint64_t)seed);
		if (seed % 2)
			assert_true(passes_run(g, "simplify,cse,dce", NULL));
		check(g, 4);
		arena_free(a);
	}
}

static int kernels_of(int layers, double dropout, Graph **g)
{
	*g = kernels_step((GptShape){ .B = 4, .T = 64, .V = 50257, .D = 768, .H = 12, .L = layers, .dropout = dropout });
	assert_true(passes_run(*g, "layout,fuse,schedule", NULL));
	return clusters_of(*g).len;
}

static void gpt2_has_few_kernels(void **state)
{
	Graph *g;
	for (int i = 0; i < 2; i++) {
		int one = kernels_of(1, i * 0.1, &g), two = kernels_of(2, i * 0.1, &g);
		print_message("GPT-2 124M train.step, dropout %g: %d kernels a layer, %d besides\n", i * 0.1, two - one, 2 * one - two);
		assert_true(two - one <= 48);
		assert_true(2 * one - two <= 16);
	}
}

/* The kernel of the last value of this op: how many of its kind it holds, and the tensors it writes. */
static const Cluster *kernel_with(Graph *g, Op op, const char *path, bool grad)
{
	ClusterList l = clusters_of(g);
	for (int i = l.len - 1; i >= 0; i--)
		for (int k = 0; k < l.at[i]->vals.len; k++) {
			const Value *v = l.at[i]->vals.at[k];
			if (v->op == op && v->grad == grad && (!path || (v->path && !strcmp(v->path, path))))
				return l.at[i];
		}
	fail_msg("no kernel with %s", op_info[op].text);
	return NULL;
}

static void layers_fuse_as_they_should(void **state)
{
	Graph *g;
	kernels_of(1, 0, &g);
	const Cluster *gelu = kernel_with(g, OP_TANH, "h.0.mlp.c_fc", false);
	assert_int_equal(gelu->kind, K_CONTRACT);
	ClusterList l = clusters_of(g);
	for (int i = 0; i < l.len; i++)
		for (int k = 0; k < l.at[i]->vals.len; k++)
			if (l.at[i]->vals.at[k]->op == OP_TANH)
				assert_true(l.at[i]->outs.len <= 2);       /* the input of gelu and its output; back: one */
	const Cluster *softmax = kernel_with(g, OP_EXP, "h.0.attn", false);
	assert_int_equal(softmax->kind, K_ROWS);
	int wide = 0, sums = 0;
	for (int i = 0; i < softmax->outs.len; i++)
		wide += type_eq(softmax->outs.at[i]->type, softmax->space);
	assert_int_equal(wide, 1);                                    /* probabilities, not e^x too */
	const Cluster *entropy = kernel_with(g, OP_EXP, NULL, false);
	for (int i = 0; i < entropy->vals.len; i++)
		sums += op_info[entropy->vals.at[i]->op].lower == LOWER_REDUCE;
	assert_int_equal(sums, 3);                                    /* maximum, sum, label's score: one kernel with the gradient */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gpt_keeps_its_bits),
		cmocka_unit_test(random_graphs_keep_their_bits),
		cmocka_unit_test(gpt2_has_few_kernels),
		cmocka_unit_test(layers_fuse_as_they_should),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
