/* lsp_docs.c: the open documents, edits of them, positions in them, and the URIs they are known by. A position counts
 * characters of a line in UTF-16 units unless the editor agreed on another unit (LSP 3.17, "Position"). */
#include "driver/lsp.h"

#include <ctype.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { QUIET = 40 };   /* ms without an edit before a document is analysed */

int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* URIs (RFC 3986) */

static char *path_of_uri(const char *uri)
{
	static const char scheme[] = "file://";
	Str s = {0};
	if (strncmp(uri, scheme, sizeof scheme - 1) != 0) {
		str_puts(&s, uri);
		return s.at;
	}
	const char *p = strchr(uri + sizeof scheme - 1, '/');   /* behind the host, if one is named */
	for (p = p ? p : ""; *p; p++) {
		char hex[3] = { p[0] == '%' ? p[1] : 0, p[0] == '%' && p[1] ? p[2] : 0, 0 }, c = *p;
		if (isxdigit((unsigned char)hex[0]) && isxdigit((unsigned char)hex[1])) {
			c = (char)strtol(hex, NULL, 16);
			p += 2;
		}
		str_put(&s, &c, 1);
	}
	str_puts(&s, "");
	return s.at;
}

char *uri_of_path(const char *path)
{
	Str s = {0};
	if (path[0] != '/') {
		str_puts(&s, path);
		return s.at;
	}
	str_puts(&s, "file://");
	for (const unsigned char *p = (const unsigned char *)path; *p; p++)
		if (isalnum(*p) || strchr("-._~/!$&'()*+,;=:@", *p))
			str_put(&s, (const char *)p, 1);
		else
			str_printf(&s, "%%%02X", *p);
	return s.at;
}

/* Positions */

/* Bytes of the character at p, and how many units it counts. Text is UTF-8: it came as JSON, or was checked. */
static size_t char_len(const char *p, const char *end, Encoding enc, int *units)
{
	unsigned char c = (unsigned char)*p;
	size_t n = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : c >= 0xC0 ? 2 : 1;
	n = MIN(n, (size_t)(end - p));
	*units = enc == ENC_UTF8 ? (int)n : enc == ENC_UTF16 && n == 4 ? 2 : 1;
	return n;
}

/* The start of the next line; NULL if this is the last. Lines end in \n, \r\n or \r. */
static const char *next_line(const char *p, const char *end)
{
	while (p < end && *p != '\n' && *p != '\r')
		p++;
	if (p == end)
		return NULL;
	return *p == '\r' && p + 1 < end && p[1] == '\n' ? p + 2 : p + 1;
}

size_t pos_offset(const char *text, size_t len, Pos pos, Encoding enc)
{
	const char *p = text, *end = text + len;
	for (int64_t i = 0; i < pos.line; i++)
		if (!(p = next_line(p, end)))
			return len;
	for (int64_t left = pos.ch; left > 0 && p < end && *p != '\n' && *p != '\r';) {
		int units;
		size_t n = char_len(p, end, enc, &units);
		if (units > left)
			break;
		left -= units;
		p += n;
	}
	return (size_t)(p - text);
}

Lines lines_of(Arena *a, const char *text, size_t len)
{
	Lines l = { .text = text, .len = len };
	for (const char *p = text, *end = text + len; p; p = next_line(p, end))
		vec_push(a, &l.at, (uint32_t)(p - text));
	return l;
}

Pos lines_pos(const Lines *l, size_t offset, Encoding enc)
{
	int lo = 0, hi = l->at.len;
	offset = MIN(offset, l->len);
	while (hi - lo > 1) {
		int mid = lo + (hi - lo) / 2;
		if (l->at.at[mid] <= offset)
			lo = mid;
		else
			hi = mid;
	}
	Pos pos = { lo, 0 };
	for (const char *p = l->text + l->at.at[lo], *to = l->text + offset, *end = l->text + l->len; p < to;) {
		int units;
		p += char_len(p, end, enc, &units);
		pos.ch += units;
	}
	return pos;
}

bool pos_of_json(json_t *j, Pos *pos)
{
	json_t *line = json_object_get(j, "line"), *ch = json_object_get(j, "character");
	if (!json_is_integer(line) || !json_is_integer(ch))
		return false;
	*pos = (Pos){ json_integer_value(line), json_integer_value(ch) };
	return pos->line >= 0 && pos->ch >= 0;
}

/* Documents */

Doc *doc_find(Server *s, const char *uri)
{
	for (Doc *d = s->docs; uri && d; d = d->next)
		if (strcmp(d->uri, uri) == 0)
			return d;
	return NULL;
}

static void doc_free(Doc *d)
{
	analysis_drop(d);
	json_decref(d->index);
	json_decref(d->files);
	json_decref(d->version);
	str_free(&d->text);
	str_free(&d->in);
	free(d->uri);
	free(d->path);
	free(d);
}

Doc *doc_open(Server *s, const char *uri, const char *text, size_t len, json_t *version)
{
	Doc *old = doc_find(s, uri), *d = calloc(1, sizeof *d);
	if (old)
		doc_close(s, old);
	if (!d || !(d->uri = strdup(uri)))
		fatal("out of memory");
	d->path = path_of_uri(uri);
	d->fd = -1;
	d->version = json_incref(version);
	str_put(&d->text, text, len);
	d->next = s->docs;
	s->docs = d;
	doc_dirty(s, d);
	return d;
}

/* Requests that wait for it are answered first, by the caller. */
void doc_close(Server *s, Doc *d)
{
	doc_dirty(s, d);
	for (Doc **p = &s->docs; *p; p = &(*p)->next)
		if (*p == d) {
			*p = d->next;
			break;
		}
	doc_free(d);
}

bool doc_change(Server *s, Doc *d, json_t *change)
{
	json_t *text = json_object_get(change, "text"), *range = json_object_get(change, "range");
	Pos from, to;
	if (!json_is_string(text))
		return false;
	Str out = {0};
	if (!range) {
		str_put(&out, json_string_value(text), json_string_length(text));
	} else {
		if (!pos_of_json(json_object_get(range, "start"), &from) || !pos_of_json(json_object_get(range, "end"), &to))
			return false;
		size_t a = pos_offset(d->text.at, d->text.len, from, s->enc), b = pos_offset(d->text.at, d->text.len, to, s->enc);
		str_put(&out, d->text.at, a);
		str_put(&out, json_string_value(text), json_string_length(text));
		str_put(&out, d->text.at + MAX(a, b), d->text.len - MAX(a, b));
	}
	str_free(&d->text);
	d->text = out;
	return true;
}

static bool same_file(const char *a, const char *b)
{
	if (strcmp(a, b) == 0)
		return true;
	char *x = realpath(a, NULL), *y = x ? realpath(b, NULL) : NULL;
	bool same = y && strcmp(x, y) == 0;
	free(x);
	free(y);
	return same;
}

static bool has_read(const Doc *d, const char *path)
{
	size_t i;
	json_t *file;
	json_array_foreach(d->files, i, file)
		if (same_file(json_string_value(file), path))
			return true;
	return false;
}

void doc_dirty(Server *s, const Doc *changed)
{
	for (Doc *d = s->docs; d; d = d->next) {
		if (d != changed && !has_read(d, changed->path))
			continue;
		analysis_drop(d);
		json_decref(d->index);
		d->index = NULL;
		d->dirty = true;
		d->due = now_ms() + QUIET;
	}
}

Source *doc_read(void *server, Arena *a, const char *path)
{
	for (Doc *d = ((Server *)server)->docs; d; d = d->next)
		if (same_file(d->path, path))
			return source_bytes(a, path, d->text.at, d->text.len);
	return source_read(a, path);
}
