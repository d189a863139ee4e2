/* export.c: `sinter export DIR -o FILE.gguf`: a directory of safetensors, config.json and tokenizer.json as a GGUF file. */
#include "convert/convert.h"
#include "driver/driver.h"

int run_export(Arena *a, const Flags *f)
{
	const char *path = flag(f, "output"), *dtype = flag(f, "dtype");
	if (!path) {
		diag_error((Loc){0}, NULL, "`sinter export` wants -o FILE.gguf, where to write");
		return EXIT_USAGE;
	}
	return model_to_gguf(a, f->rest.at[0], dtype ? (Elem)elem_named(dtype) : EL_COUNT, path);
}
