/* graph.c: libFuzzer target of the graph's text: what parses and obeys the rules prints to text that reads back to
 * the same text. */
#include "tests/fuzz/fuzz.h"

static Str printed(const Graph *g)
{
	Str s = {0};
	graph_print(&s, g);
	return s;
}

static void round_trip(Arena *a, const Graph *g)
{
	Str once = printed(g);
	Graph *again = graph_parse(a, source_bytes(a, "printed", once.at, once.len), NULL);
	if (!again || !graph_verify(again))
		bug("the printed graph does not read back:\n%s", once.at);
	Str twice = printed(again);
	if (once.len != twice.len || memcmp(once.at, twice.at, once.len))
		bug("the printed graph reads back to another:\n%s\n---\n%s", once.at, twice.at);
	str_free(&once);
	str_free(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Arena *a = fuzz_begin();
	const Source *src = source_bytes(a, "0", (const char *)data, size);
	const char *at = src->text;
	for (Graph *g; (g = graph_parse(a, src, &at)) && diag_errors() == 0;)
		if (graph_verify(g))
			round_trip(a, g);
	fuzz_end(a);
	return 0;
}
