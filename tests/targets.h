/* targets.h: the targets that tests hold kernels on: those whose code this machine runs, or the one that the environment's
 * SINTER_TEST_TARGET names: another processor's runs under an emulator (backend/emulate.c; `make check-aarch64`). */
#ifndef TESTS_TARGETS_H
#define TESTS_TARGETS_H

#include "backend/backend.h"
#include <stdlib.h>

enum { MOST_TARGETS = 3 };

static inline const char *target_only(void) { return getenv("SINTER_TEST_TARGET"); }
static inline int target_count(void) { return target_only() ? 1 : MOST_TARGETS; }
static inline bool target_is_last(int i) { return i == target_count() - 1; }

/* The last is what users get without --target. */
static inline const char *target_name(int i)
{
	static const char *const names[MOST_TARGETS] = { "x86-64-v2", "x86-64-v3", "native" };
	return target_only() ? target_only() : names[i];
}

static inline const char *target_main(void) { return target_name(target_count() - 1); }

#endif
