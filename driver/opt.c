/* opt.c: `sinter opt FILE`: runs passes over graphs in text and writes graphs in text. */
#include "driver/driver.h"
#include "passes/passes.h"

#include <errno.h>

enum { MAX_GRAPHS = 10000 };   /* in one file */

static bool write_out(const char *path, const Str *s)
{
	if (!path)
		return str_write(s, stdout);
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
		if (graphs == MAX_GRAPHS) {
			diag_error((Loc){0}, NULL, "%s holds more than %d graphs", src->name, MAX_GRAPHS);
			return false;
		}
		if (!graph_verify(g) || (list && !passes_run(g, list, o)))
			return false;
		graph_print(out, g);
	}
	if (!graphs && !diag_errors())
		diag_error((Loc){0}, NULL, "%s holds no graph", src->name);
	return diag_errors() == 0;
}

int run_opt(Arena *a, const Flags *f)
{
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
