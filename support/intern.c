/* intern.c: one copy of each string for the life of the process: open addressing, FNV-1a. */
#include "support/support.h"

#include <stdlib.h>

static struct { const char **at; size_t cap, len; Arena *arena; } table;

static uint64_t hash_of(const char *s, size_t n)
{
	uint64_t h = 14695981039346656037u;
	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)s[i]) * 1099511628211u;
	return h;
}

static const char **slot_of(const char *s, size_t n)
{
	size_t i = hash_of(s, n) & (table.cap - 1);
	while (table.at[i] && (strncmp(table.at[i], s, n) != 0 || table.at[i][n] != '\0'))
		i = (i + 1) & (table.cap - 1);
	return &table.at[i];
}

static void grow(void)
{
	const char **old = table.at;
	size_t n = table.cap;
	table.cap = n ? n * 2 : 1024;
	table.at = calloc(table.cap, sizeof *table.at);
	if (!table.at)
		fatal("out of memory");
	for (size_t i = 0; i < n; i++)
		if (old[i])
			*slot_of(old[i], strlen(old[i])) = old[i];
	free(old);
}

const char *intern_n(const char *s, size_t n)
{
	if (!table.arena)
		table.arena = arena_new();
	if (2 * (table.len + 1) > table.cap)
		grow();
	const char **slot = slot_of(s, n);
	if (!*slot) {
		*slot = arena_strndup(table.arena, s, n);
		table.len++;
	}
	return *slot;
}

void intern_forget(void)
{
	if (table.arena)
		arena_free(table.arena);
	free(table.at);
	memset(&table, 0, sizeof table);
}

const char *intern(const char *s)
{
	return intern_n(s, strlen(s));
}

const char *internf(const char *fmt, ...)
{
	Str s = {0};
	va_list ap;
	va_start(ap, fmt);
	str_vprintf(&s, fmt, ap);
	va_end(ap);
	const char *p = intern_n(s.at, s.len);
	str_free(&s);
	return p;
}
