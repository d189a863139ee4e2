/* options.c: what build, summary and names say alike about a model file's config. */
#include "driver/driver.h"

FrontendOptions options_of(Arena *a, const Flags *f)
{
	FrontendOptions o = {.preset = flag(f, "preset"), .config_json = flag(f, "config"), .adapter = flag(f, "adapter")};
	o.nsets = flag_all(a, f, "set", &o.sets);
	return o;
}
