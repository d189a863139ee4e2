/* Which kernels' outputs have left the caches by the time they are read. */
#include "ir/ir.h"

#include <setjmp.h>
#include <cmocka.h>

/* Each of a row's kernels writes 32 MiB, but the last. */
static const struct Row { const char *body; const char *far; } rows[] = {
	{"%1 = neg %0 !k1\n%2 = exp %1 !k2\n%3 = tanh %2 !k3\noutput %3 {name=\"y\"}", "..."},
	{"%1 = neg %0 !k1\n%2 = exp %0 !k2\n%3 = mul %2, %1 !k3\noutput %3 {name=\"y\"}", "F.."},
	{"%1 = neg %0 !k1\n%2 = exp %0 !k2\n%3 = reshape %1 : f32[4096,2048]\n%4 = tanh %3 !k3\noutput %4 {name=\"y\"}\noutput %2 {name=\"z\"}", "FF."},
	{"%1 = neg %0 !k1\n%2 = exp %0 !k2\n%3 = mul %2, %1 !k3\n%4 = mul %1, %1 !k4\noutput %3 {name=\"y\"}\noutput %4 {name=\"z\"}", "F.F."},
};

static void distances(void **state)
{
	for (int r = 0; r < COUNT(rows); r++) {
		Arena *a = arena_new();
		const char *text = arena_printf(a, "graph g() {\n%%0 = input {name=\"x\"} : f32[2048,4096]\n%s\n}\n", rows[r].body);
		Graph *g = graph_parse(a, source_text(a, "reach.ir", text), NULL);
		assert_non_null(g);
		ClusterList l = clusters_of(g);
		const bool *far = far_outputs(a, &l);
		assert_int_equal(l.len, strlen(rows[r].far));
		for (int k = 0; k < l.len; k++)
			if (far[k] != (rows[r].far[k] == 'F'))
				fail_msg("graph %d, kernel %d", r, k);
		arena_free(a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(distances) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
