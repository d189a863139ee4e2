/* diag.c: what is said to the user, on stderr in order of occurrence, as text or as a JSON object a line.
 * A message with a place shows the line it points at, underlined; a range over several lines is underlined
 * to the end of its first. */
#include "support/support.h"

#include <ctype.h>
#include <stdlib.h>

static struct {
	int errors;
	bool json;
	int limit, said, hidden;   /* most to show as text; so far; left out */
	void (*take)(void *, const Diag *);
	void *ctx;
} state;

Loc loc_join(Loc a, Loc b)
{
	if (!a.src)
		return b;
	if (b.src != a.src)
		return a;
	return (Loc){a.src, MIN(a.at, b.at), MAX(a.end, b.end)};
}

int loc_line(Loc l)
{
	if (!l.src)
		return 0;
	int lo = 0, hi = l.src->nlines;   /* how many lines begin at or before l.at */
	while (lo < hi) {
		int mid = lo + (hi - lo) / 2;
		if (l.src->lines[mid] <= l.at)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo + 1;
}

static uint32_t line_start(Loc l)
{
	int line = loc_line(l);
	return line > 1 ? l.src->lines[line - 2] : 0;
}

/* Characters, not bytes: continuation bytes of UTF-8 don't count. */
static int width(const char *s, uint32_t from, uint32_t to)
{
	int n = 0;
	for (uint32_t i = from; i < to; i++)
		n += ((unsigned char)s[i] & 0xc0) != 0x80;
	return n;
}

/* Far into a line its bytes are counted: every op has a place, and a line can be the whole file. */
int loc_col(Loc l)
{
	enum { FAR = 4096 };
	if (!l.src)
		return 0;
	uint32_t start = line_start(l), at = MIN(l.at, (uint32_t)l.src->len);
	return 1 + (at - start > FAR ? (int)(at - start) : width(l.src->text, start, at));
}

enum { SHOWN = 160 };   /* columns of a source line shown at most; longer lines show a window */

static void show_line(Str *s, Loc l)
{
	const char *t = l.src->text;
	uint32_t start = line_start(l), end = start, at = MIN(l.at, (uint32_t)l.src->len);
	while (end < l.src->len && t[end] != '\n')
		end++;
	if (at - start > SHOWN / 2)
		start = at - SHOWN / 2;
	end = MIN(end, start + SHOWN);
	int line = loc_line(l), under = MAX(1, width(t, at, MIN(MAX(l.end, at), end)));
	str_printf(s, "%5d | ", line);
	for (uint32_t i = start; i < end; i++)
		str_put(s, (unsigned char)t[i] < 32 ? " " : &t[i], 1);
	str_printf(s, "\n      | %*s", width(t, start, MIN(at, end)), "");
	for (int i = 0; i < under; i++)
		str_puts(s, "^");
	str_puts(s, "\n");
}

static void json_diag(Str *s, const char *kind, const char *code, Loc l, const char *msg)
{
	str_printf(s, "{\"kind\":\"%s\"", kind);
	if (code)
		str_printf(s, ",\"code\":\"%s\"", code);
	if (l.src) {
		str_puts(s, ",\"file\":");
		str_json(s, l.src->name);
		str_printf(s, ",\"line\":%d,\"column\":%d,\"start\":%u,\"end\":%u", loc_line(l), loc_col(l), l.at, l.end);
	}
	str_puts(s, ",\"message\":");
	str_json(s, msg);
	str_puts(s, "}\n");
}

static void text_diag(Str *s, const char *kind, const char *code, Loc l, const char *msg)
{
	if (l.src)
		str_printf(s, "%s:%d:%d: ", l.src->name, loc_line(l), loc_col(l));
	str_puts(s, kind);
	if (code)
		str_printf(s, "[%s]", code);
	str_printf(s, ": %s\n", msg);
	if (l.src)
		show_line(s, l);
}

/* Counts what is said, and leaves notes out with what they belong to. What has no place is about the whole, and shown. */
static bool over_limit(const char *kind, Loc l)
{
	bool main = kind[0] == 'e' || kind[0] == 'w';
	if (main && !l.src)
		return false;
	state.said += main;
	bool over = state.limit && state.said > state.limit;
	state.hidden += over && main;
	return over;
}

static void PRINTF(4, 0) say(const char *kind, const char *code, Loc l, const char *fmt, va_list ap)
{
	Str msg = {0}, s = {0};
	str_vprintf(&msg, fmt, ap);
	if (state.take) {
		state.take(state.ctx, &(Diag){kind, code, l, msg.at});
		str_free(&msg);
		return;
	}
	if (!state.json && over_limit(kind, l)) {
		str_free(&msg);
		return;
	}
	(state.json ? json_diag : text_diag)(&s, kind, code, l, msg.at);
	fflush(stdout);
	fwrite(s.at, 1, s.len, stderr);
	str_free(&msg);
	str_free(&s);
}

void diag_error(Loc l, const char *code, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	say("error", code, l, fmt, ap);
	va_end(ap);
	state.errors++;
}

void diag_warning(Loc l, const char *code, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	say("warning", code, l, fmt, ap);
	va_end(ap);
}

void diag_note(Loc l, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	say("note", NULL, l, fmt, ap);
	va_end(ap);
}

void diag_help(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	say("help", NULL, (Loc){0}, fmt, ap);
	va_end(ap);
}

int diag_errors(void)
{
	return state.errors;
}

void diag_limit(int most)
{
	state.limit = most;
}

void diag_close(void)
{
	if (state.hidden)
		fprintf(stderr, "and %d more errors and warnings, not shown\n", state.hidden);
	state.hidden = 0;
}

void diag_json(bool on)
{
	state.json = on;
}

void diag_handler(void (*take)(void *ctx, const Diag *), void *ctx)
{
	state.take = take;
	state.ctx = ctx;
}

void diag_reset(void)
{
	state.errors = state.said = state.hidden = 0;
}

/* Optimal string alignment distance (Damerau-Levenshtein with adjacent transpositions), ignoring case. */
static int distance(const char *a, const char *b)
{
	enum { MOST = 64 };
	int n = (int)strlen(a), m = (int)strlen(b);
	if (n > MOST || m > MOST)
		return MOST;
	int d[MOST + 1][MOST + 1];
	for (int i = 0; i <= n; i++)
		d[i][0] = i;
	for (int j = 0; j <= m; j++)
		d[0][j] = j;
	for (int i = 1; i <= n; i++)
		for (int j = 1; j <= m; j++) {
			int x = tolower((unsigned char)a[i - 1]), y = tolower((unsigned char)b[j - 1]);
			d[i][j] = MIN(MIN(d[i - 1][j], d[i][j - 1]) + 1, d[i - 1][j - 1] + (x != y));
			if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) && tolower((unsigned char)a[i - 2]) == y)
				d[i][j] = MIN(d[i][j], d[i - 2][j - 2] + 1);
		}
	return d[n][m];
}

const char *diag_nearest(const char *name, const char *const *names, int n)
{
	const char *best = NULL;
	int least = MAX(1, (int)strlen(name) / 3) + 1;
	for (int i = 0; i < n; i++) {
		int d = names[i] ? distance(name, names[i]) : least;
		if (d < least && (strlen(name) > 1 || d == 0)) {
			least = d;
			best = names[i];
		}
	}
	return best;
}

void fatal(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fputs("sinter: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(1);
}

void bug(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fputs("sinter: internal error: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputs("\nThis is a fault of the compiler, not of the model file. Please report it with that file.\n", stderr);
	va_end(ap);
	abort();
}
