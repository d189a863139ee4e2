/* arena.h: arenas that live until the test program ends, for the graphs that a test builds in passing and that nobody
 * owns. Those made here are freed at exit: what a leak checker reports then is a leak of the code under test. */
#ifndef TESTS_ARENA_H
#define TESTS_ARENA_H

#include <stdlib.h>

#include "support/support.h"

typedef struct KeptArena { Arena *arena; struct KeptArena *older; } KeptArena;   /* lies in its own arena */
static KeptArena *kept_arenas;

static inline void free_kept_arenas(void)
{
	for (KeptArena *k = kept_arenas, *older; k; k = older) {
		older = k->older;
		arena_free(k->arena);
	}
	kept_arenas = NULL;
}

static inline Arena *test_arena(void)
{
	Arena *a = arena_new();
	KeptArena *k = NEW(a, KeptArena);
	if (!kept_arenas && atexit(free_kept_arenas) != 0)
		fatal("atexit");
	*k = (KeptArena){ a, kept_arenas };
	kept_arenas = k;
	return a;
}

#endif
