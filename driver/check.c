/* check.c: `sinter check FILE...`: every error of model files, over symbolic dims. */
#include "driver/driver.h"

int run_check(Arena *a, const Flags *f)
{
	bool ok = true;
	for (int i = 0; i < f->rest.len; i++) {
		FrontendOptions o = {0};
		ok &= frontend_check(a, f->rest.at[i], &o);
	}
	return ok && diag_errors() == 0 ? EXIT_OK : EXIT_FAIL;
}
