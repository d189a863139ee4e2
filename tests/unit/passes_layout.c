/* layout: afterwards every operand has its place, contractions are canonical, and nothing computed has changed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/kernels.h"

static const Dims dims = { 2, { { "B", 2 }, { "T", 5 } } };

/* Sizes that are 1, prime, and one past a tile. */
static const GptShape shapes[] = {
	{ .B = 2, .T = 5, .V = 11, .D = 8, .H = 2, .L = 2 },
	{ .B = 3, .T = 7, .V = 13, .D = 6, .H = 3, .L = 1 },
	{ .B = 3, .T = 5, .V = 9, .D = 4, .H = 1, .L = 1 },
	{ .B = 2, .T = 6, .V = 17, .D = 4, .H = 4, .L = 2, .dropout = 0.25 },
};

static void gpt_keeps_its_values(void **state)
{
	for (int i = 0; i < COUNT(shapes); i++) {
		Graph *g = kernels_step(shapes[i]), *before = graph_copy(g, g->name);
		layout(g);
		assert_true(graph_verify(g));
		const char *e = kernels_unresolved(g);
		assert_string_equal(e ? e : "", "");
		assert_true(kernels_differ(before, g, &dims, shapes[i].V) < 1e-12);
		fuse(g);
		assert_true(graph_verify(g));
		e = kernels_illegal(g);
		assert_string_equal(e ? e : "", "");
		assert_true(kernels_differ(before, g, &dims, shapes[i].V) < 1e-12);
		schedule(g);
		assert_true(graph_verify(g));
		e = kernels_illegal(g);
		assert_string_equal(e ? e : "", "");
		assert_true(kernels_differ(before, g, &dims, shapes[i].V) < 1e-12);
		if (getenv("PRINT"))
			kernels_print(stdout, g);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gpt_keeps_its_values),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
