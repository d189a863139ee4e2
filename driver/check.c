/* check.c: `sinter check FILE`: every error of a model file, over symbolic dims. */
#include "driver/driver.h"
#include "frontend/frontend.h"

static const FlagInfo flags[] = {
	{"json", NULL, NULL, "print one JSON object a diagnostic"},
};

static int run(Arena *a, const Flags *f)
{
	if (f->rest.len != 1) {
		diag_error((Loc){0}, NULL, "sinter check wants one model file");
		return EXIT_USAGE;
	}
	diag_json(flag(f, "json") != NULL);
	FrontendOptions o = {0};
	return frontend_check(a, f->rest.at[0], &o) && diag_errors() == 0 ? EXIT_OK : EXIT_FAIL;
}

const Command command_check = {"check", "FILE", "report every error of a model file", flags, COUNT(flags), run};
