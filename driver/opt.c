/* opt.c: `sinter opt FILE`: runs passes over graphs in text and writes graphs in text. */
#include "driver/driver.h"
#include "passes/passes.h"

#include <errno.h>

static const FlagInfo flags[] = {
	{"passes", "p", "A,B", "passes to run, in this order (`sinter docs passes` lists them)"},
	{"print-after-all", NULL, NULL, "print the graph after every pass"},
	{"verify-each", NULL, NULL, "verify the graph after every pass"},
	{"stats", NULL, NULL, "print values, kernels, FLOPs and bytes after every pass"},
	{"output", "o", "FILE", "write there instead of to standard output"},
};

static bool write_out(const char *path, const Str *s)
{
	if (!path)
		return fwrite(s->at, 1, s->len, stdout) == s->len;
	if (file_write_atomic(path, s->at, s->len))
		return true;
	diag_error((Loc){0}, NULL, "can't write %s: %s", path, strerror(errno));
	return false;
}

/* Reads, transforms and prints every graph of the file. */
static bool transform(Arena *a, const Source *src, const char *list, const PassOptions *o, Str *out)
{
	const char *p = src->text;
	int graphs = 0;
	for (Graph *g; (g = graph_parse(a, src, &p)); graphs++) {
		if (!graph_verify(g) || (list && !passes_run(g, list, o)))
			return false;
		graph_print(out, g);
	}
	if (!graphs && !diag_errors())
		diag_error((Loc){0}, NULL, "%s holds no graph", src->name);
	return diag_errors() == 0;
}

static int run(Arena *a, const Flags *f)
{
	if (f->rest.len != 1) {
		diag_error((Loc){0}, NULL, "sinter opt wants one graph file");
		return EXIT_USAGE;
	}
	Source *src = source_read(a, f->rest.at[0]);
	if (!src) {
		diag_error((Loc){0}, NULL, "can't read %s: %s", f->rest.at[0], strerror(errno));
		return EXIT_FAIL;
	}
	PassOptions o = {
		.print_after_all = flag(f, "print-after-all") != NULL, .verify_each = VERIFY_ALWAYS || flag(f, "verify-each") != NULL,
		.stats = flag(f, "stats") != NULL, .out = stderr,
	};
	Str out = {0};
	bool ok = transform(a, src, flag(f, "passes"), &o, &out) && write_out(flag(f, "output"), &out);
	str_free(&out);
	return ok ? EXIT_OK : EXIT_FAIL;
}

const Command command_opt = {"opt", "FILE", "run passes over a graph in text", flags, COUNT(flags), run};
