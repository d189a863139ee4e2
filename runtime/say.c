/* say.c: messages, memory and strings. Messages go to stderr with the program's name before them; memory that cannot
 * be had ends the program (the big allocation, the arena, is not made here). */
#include "runtime/sn.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

int sn_fail(int code, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fflush(stdout);
	fprintf(stderr, "%s: ", program_invocation_short_name);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	return code;
}

void sn_note(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
}

void *sn_alloc(size_t bytes)
{
	void *p = calloc(1, bytes ? bytes : 1);
	if (!p)
		exit(sn_fail(SN_FAIL, "out of memory (%zu bytes)", bytes));
	return p;
}

void *sn_realloc(void *p, size_t bytes)
{
	p = realloc(p, bytes ? bytes : 1);
	if (!p)
		exit(sn_fail(SN_FAIL, "out of memory (%zu bytes)", bytes));
	return p;
}

void sn_str_add(SnStr *s, const char *text, size_t n)
{
	if (s->n + n + 1 > s->cap) {
		s->cap = (s->n + n + 1) * 2;
		s->s = sn_realloc(s->s, s->cap);
	}
	memcpy(s->s + s->n, text, n);
	s->n += n;
	s->s[s->n] = 0;
}

static char *vformat(const char *fmt, va_list ap)
{
	char *text;
	if (vasprintf(&text, fmt, ap) < 0)
		exit(sn_fail(SN_FAIL, "out of memory"));
	return text;
}

void sn_str_printf(SnStr *s, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	char *text = vformat(fmt, ap);
	va_end(ap);
	sn_str_add(s, text, strlen(text));
	free(text);
}

char *sn_format(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	char *text = vformat(fmt, ap);
	va_end(ap);
	return text;
}

static int min3(int a, int b, int c)
{
	int m = a < b ? a : b;
	return m < c ? m : c;
}

/* Optimal string alignment distance: insertions, deletions, substitutions, swaps of neighbours. Three rows. */
static int distance(const char *a, const char *b)
{
	enum { MAX = 128 };
	int rows[3][MAX + 1];
	int na = (int)strlen(a), nb = (int)strlen(b);
	if (na > MAX || nb > MAX)
		return MAX;
	int *before = rows[0], *last = rows[1], *row = rows[2];
	for (int j = 0; j <= nb; j++)
		last[j] = j;
	for (int i = 1; i <= na; i++) {
		row[0] = i;
		for (int j = 1; j <= nb; j++) {
			row[j] = min3(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < row[j])
				row[j] = before[j - 2] + 1;
		}
		int *free_row = before;
		before = last;
		last = row;
		row = free_row;
	}
	return last[nb];
}

const char *sn_nearest(const char *name, const char *const *names, int n)
{
	const char *best = NULL;
	int length = (int)strlen(name), best_distance = length / 3 + 1;
	for (int i = 0; i < n; i++) {
		if (abs((int)strlen(names[i]) - length) >= best_distance)
			continue;
		int d = distance(name, names[i]);
		if (d < best_distance) {
			best_distance = d;
			best = names[i];
		}
	}
	return best;
}

bool sn_glob(const char *p, const char *s)
{
	const char *star = NULL, *retry = NULL;
	while (*s) {
		if (*p == '*') {
			star = p++;
			retry = s;
		} else if (*p == '?' || *p == *s) {
			p++;
			s++;
		} else if (star) {
			p = star + 1;
			s = ++retry;
		} else {
			return false;
		}
	}
	while (*p == '*')
		p++;
	return !*p;
}

const char *sn_bytes_text(char buf[32], double bytes)
{
	static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	int u = 0;
	while (bytes >= 1024 && u < 4) {
		bytes /= 1024;
		u++;
	}
	snprintf(buf, 32, u ? "%.1f %s" : "%.0f %s", bytes, unit[u]);
	return buf;
}

/* --- JSON from a form of it */

typedef struct Pack { const char *at; va_list ap; } Pack;

static void skip(Pack *p)
{
	p->at += strspn(p->at, " ,:");
}

static json_t *value_of(Pack *p)
{
	json_t *j;
	skip(p);
	switch (*p->at++) {
	case 's': return json_string(va_arg(p->ap, const char *));
	case 'i': return json_integer(va_arg(p->ap, int));
	case 'I': return json_integer(va_arg(p->ap, json_int_t));
	case 'f': return json_real(va_arg(p->ap, double));
	case 'b': return json_boolean(va_arg(p->ap, int));
	case 'o': return va_arg(p->ap, json_t *);
	case 'O': return json_incref(va_arg(p->ap, json_t *));
	case '[':
		for (j = json_array(), skip(p); *p->at != ']'; skip(p))
			json_array_append_new(j, value_of(p));
		p->at++;
		return j;
	case '{':
		for (j = json_object(), skip(p); *p->at++ != '}'; skip(p)) {   /* an s */
			const char *key = va_arg(p->ap, const char *);
			json_object_set_new(j, key, value_of(p));
		}
		return j;
	default: return json_null();
	}
}

json_t *sn_json_pack(const char *fmt, ...)
{
	Pack p = {.at = fmt};
	va_start(p.ap, fmt);
	json_t *j = value_of(&p);
	va_end(p.ap);
	return j;
}
