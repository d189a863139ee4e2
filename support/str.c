/* str.c: text buffers on the heap, always NUL-terminated once written to. */
#include "support/support.h"

#include <stdlib.h>

static void reserve(Str *s, size_t more)
{
	if (s->cap - s->len > more)
		return;
	size_t cap = MAX(s->cap * 2, s->len + more + 1);
	char *at = realloc(s->at, MAX(cap, (size_t)64));
	if (!at)
		fatal("out of memory");
	s->at = at;
	s->cap = MAX(cap, (size_t)64);
}

void str_put(Str *s, const char *p, size_t n)
{
	reserve(s, n);
	if (n)
		memcpy(s->at + s->len, p, n);
	s->len += n;
	s->at[s->len] = '\0';
}

void str_puts(Str *s, const char *p)
{
	str_put(s, p, strlen(p));
}

void str_json(Str *s, const char *p)
{
	if (!p) {
		str_puts(s, "null");
		return;
	}
	str_puts(s, "\"");
	for (; *p; p++) {
		if (*p == '"' || *p == '\\')
			str_printf(s, "\\%c", *p);
		else if ((unsigned char)*p < 32)
			str_printf(s, "\\u%04x", *p);
		else
			str_put(s, p, 1);
	}
	str_puts(s, "\"");
}

void str_vprintf(Str *s, const char *fmt, va_list ap)
{
	va_list again;
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, ap);
	if (n < 0)
		bug("bad format \"%s\"", fmt);
	reserve(s, (size_t)n);
	vsnprintf(s->at + s->len, (size_t)n + 1, fmt, again);
	va_end(again);
	s->len += (size_t)n;
}

void str_printf(Str *s, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	str_vprintf(s, fmt, ap);
	va_end(ap);
}

bool str_write(const Str *s, FILE *out)
{
	return s->len == 0 || fwrite(s->at, 1, s->len, out) == s->len;   /* `at` is NULL before the first str_ call */
}

void str_free(Str *s)
{
	free(s->at);
	*s = (Str){0};
}
