/* fuzz.h: what the libFuzzer targets share: an arena an input, diagnostics that are made but not shown, and tables of
 * names and dims that do not outlive the input, so that memory that grows is a leak. */
#ifndef FUZZ_H
#define FUZZ_H

#include "frontend/frontend.h"

#include <errno.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_unseen(void *ctx, const Diag *d)
{
	if (!d->message[0])
		bug("an empty diagnostic");
}

static inline Arena *fuzz_begin(void)
{
	diag_handler(fuzz_unseen, NULL);
	diag_reset();
	return arena_new();
}

static inline void fuzz_end(Arena *a)
{
	arena_free(a);
	dims_forget();
	intern_forget();
}

#endif
