/* model.c: libFuzzer target of the model language: parse, print, check over symbols, and elaborate what is right.
 * Facts for editors are made of every input, however broken. An input may hold several files, apart by lines "%%": the
 * first is the model, the others are "1", "2", .. for `use`. */
#include "frontend/ast.h"
#include "tests/fuzz/fuzz.h"

typedef struct Parts { const char *at; size_t len; } Parts;

static Source *part(Arena *a, const Parts *p, int wanted, const char *name)
{
	const char *at = p->at, *end = p->at + p->len;
	for (; wanted > 0; wanted--) {
		const char *cut = memmem(at, (size_t)(end - at), "\n%%\n", 4);
		if (!cut) {
			errno = ENOENT;
			return NULL;
		}
		at = cut + 4;
	}
	const char *cut = memmem(at, (size_t)(end - at), "\n%%\n", 4);
	return source_bytes(a, name, at, (size_t)((cut ? cut : end) - at));
}

static Source *read_part(void *ctx, Arena *a, const char *path)
{
	return part(a, ctx, atoi(path), path);
}

/* What the printer makes of a file without errors reads back to the same. */
static void print_twice(Arena *a, const Source *src)
{
	Str once = {0}, twice = {0};
	int before = diag_errors();
	File *f = parse_text(a, src);
	if (diag_errors() == before) {
		ast_print(&once, f);
		f = parse_text(a, source_bytes(a, "printed", once.at ? once.at : "", once.len));
		ast_print(&twice, f);
		if (diag_errors() != before || once.len != twice.len || (once.len && memcmp(once.at, twice.at, once.len)))
			bug("the printed file does not read back:\n%s\n---\n%s", once.at ? once.at : "", twice.at ? twice.at : "");
	}
	str_free(&once);
	str_free(&twice);
}

/* Formatting what is formatted changes nothing. (That it keeps all tokens, the formatter checks itself.) */
static void format_twice(Arena *a, const Source *src)
{
	Str once = {0}, twice = {0};
	bool done = frontend_format(a, src, &once) && frontend_format(a, source_bytes(a, "formatted", once.at, once.len), &twice);
	if (once.len && (!done || once.len != twice.len || memcmp(once.at, twice.at, once.len)))
		bug("formatting again changes:\n%s\n---\n%s", once.at, twice.at ? twice.at : "");
	str_free(&once);
	str_free(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Parts parts = {(const char *)data, size};
	FrontendOptions options = {.read = read_part, .read_ctx = &parts};
	Arena *a = fuzz_begin();
	print_twice(a, part(a, &parts, 0, "0"));
	format_twice(a, part(a, &parts, 0, "0"));
	diag_reset();
	frontend_facts(a, "0", &options);
	diag_reset();
	Module *m = frontend_build(a, "0", &options);
	for (int i = 0; m && i < m->entries.len; i++)
		for (int k = 0; k < m->entries.at[i]->graphs.len; k++)
			if (!graph_verify(m->entries.at[i]->graphs.at[k]))
				bug("the frontend made a graph that breaks the rules");
	fuzz_end(a);
	return 0;
}
