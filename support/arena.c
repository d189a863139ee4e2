/* arena.c: memory by lifetime: blocks linked from the newest, each allocation zeroed and 16-byte aligned.
 * The last allocation of the newest block can grow in place, which makes growing arrays cheap. */
#include "support/support.h"

#include <stdlib.h>

enum { FIRST_BLOCK = 64 << 10, MOST_BLOCK = 8 << 20, ALIGN = 16 };

typedef struct Block { struct Block *older; size_t used, size; char at[] __attribute__((aligned(ALIGN))); } Block;
struct Arena { Block *newest; };

static size_t aligned(size_t n)
{
	if (n > SIZE_MAX - ALIGN)
		fatal("out of memory: an allocation of %zu bytes", n);
	return (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

Arena *arena_new(void)
{
	Arena *a = calloc(1, sizeof *a);
	if (!a)
		fatal("out of memory");
	return a;
}

void arena_free(Arena *a)
{
	for (Block *b = a->newest, *older; b; b = older) {
		older = b->older;
		free(b);
	}
	free(a);
}

static Block *block_for(Arena *a, size_t need)
{
	size_t size = a->newest ? MIN(a->newest->size * 2, (size_t)MOST_BLOCK) : FIRST_BLOCK;
	size = MAX(size, need);
	Block *b = calloc(1, sizeof *b + size);
	if (!b)
		fatal("out of memory: could not get %zu bytes", size);
	b->size = size;
	b->older = a->newest;
	return a->newest = b;
}

void *arena_alloc(Arena *a, size_t bytes)
{
	size_t need = aligned(bytes);
	Block *b = a->newest;
	if (!b || b->size - b->used < need)
		b = block_for(a, need);
	void *p = b->at + b->used;
	b->used += need;
	return p;
}

void *arena_grow(Arena *a, void *old, size_t old_bytes, size_t new_bytes)
{
	Block *b = a->newest;
	size_t had = aligned(old_bytes), need = aligned(new_bytes);
	if (old && b && (char *)old + had == b->at + b->used && b->size - (b->used - had) >= need) {
		b->used += need - had;
		return old;
	}
	void *p = arena_alloc(a, new_bytes);
	if (old)
		memcpy(p, old, old_bytes);
	return p;
}

char *arena_strndup(Arena *a, const char *s, size_t n)
{
	char *p = arena_alloc(a, n + 1);
	memcpy(p, s, n);
	return p;
}

char *arena_printf(Arena *a, const char *fmt, ...)
{
	Str s = {0};
	va_list ap;
	va_start(ap, fmt);
	str_vprintf(&s, fmt, ap);
	va_end(ap);
	char *p = arena_strndup(a, s.at, s.len);
	str_free(&s);
	return p;
}

void vec_reserve_(Arena *a, void **at, int *cap, int want, size_t size)
{
	if (want <= *cap)
		return;
	int more = *cap > 0x3fffffff ? 0x7fffffff : MAX(8, *cap * 2);
	*at = arena_grow(a, *at, (size_t)*cap * size, (size_t)more * size);
	*cap = more;
}
