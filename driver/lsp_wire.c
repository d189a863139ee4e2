/* lsp_wire.c: the base protocol (LSP 3.17, "Base Protocol"): header lines, an empty line, Content-Length bytes of JSON.
 * A header that makes no sense is skipped line by line until one does. */
#include "driver/lsp.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

enum { MOST_MESSAGE = 64 << 20, MOST_HEADER = 8 << 10 };

static void drop(Str *s, size_t n)
{
	memmove(s->at, s->at + n, s->len - n);
	s->len -= n;
	s->at[s->len] = '\0';
}

/* Where the header ends, just behind its empty line; 0: not yet. */
static size_t header_end(const Str *s)
{
	for (const char *p = s->at; (p = memchr(p, '\n', (size_t)(s->at + s->len - p))); p++) {
		if (p[1] == '\n')
			return (size_t)(p + 2 - s->at);
		if (p[1] == '\r' && p[2] == '\n')
			return (size_t)(p + 3 - s->at);
	}
	return 0;
}

/* Content-Length; -1 if there is none, or more than one number can say. */
static int64_t content_length(const char *header, size_t len)
{
	static const char name[] = "Content-Length:";
	for (const char *p = header, *end = header + len; p && p < end; p = memchr(p, '\n', (size_t)(end - p)), p = p ? p + 1 : NULL) {
		if (strncasecmp(p, name, sizeof name - 1) != 0)
			continue;
		p += sizeof name - 1;
		while (*p == ' ' || *p == '\t')
			p++;
		char *stop;
		errno = 0;
		long long n = strtoll(p, &stop, 10);
		bool good = isdigit((unsigned char)*p) && errno == 0 && (*stop == '\r' || *stop == '\n' || *stop == ' ');
		return good ? n : -1;
	}
	return -1;
}

/* True if a whole header was skipped, or bytes of a body that is too large. */
static bool skip_bad(Server *s)
{
	if (s->skip) {
		size_t n = MIN(s->skip, s->in.len);
		drop(&s->in, n);
		s->skip -= n;
		return s->skip == 0;
	}
	size_t end = header_end(&s->in);
	if (end && content_length(s->in.at, end) >= 0)
		return false;
	if (!end && s->in.len < MOST_HEADER)
		return false;
	const char *line = memchr(s->in.at, '\n', s->in.len);
	fprintf(stderr, "sinter lsp: a header without Content-Length is skipped\n");
	drop(&s->in, line ? (size_t)(line + 1 - s->in.at) : s->in.len);
	return true;
}

json_t *wire_next(Server *s, bool *bad)
{
	*bad = false;
	while (s->in.len && skip_bad(s))
		;
	size_t head = s->in.len && !s->skip ? header_end(&s->in) : 0;
	if (!head)
		return NULL;
	int64_t n = content_length(s->in.at, head);
	if (n > MOST_MESSAGE) {
		drop(&s->in, head);
		s->skip = (size_t)n;
		*bad = true;
		return NULL;
	}
	if (s->in.len - head < (size_t)n)
		return NULL;
	json_error_t err;
	json_t *m = json_loadb(s->in.at + head, (size_t)n, JSON_ALLOW_NUL | JSON_DECODE_ANY, &err);
	drop(&s->in, head + (size_t)n);
	*bad = !m;
	return m;
}

static void write_all(const char *p, size_t n)
{
	while (n) {
		ssize_t k = write(STDOUT_FILENO, p, n);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			fatal("the editor is gone: %s", strerror(errno));
		p += k;
		n -= (size_t)k;
	}
}

void wire_send(json_t *message)
{
	json_object_set_new(message, "jsonrpc", json_string("2.0"));
	char *body = json_dumps(message, JSON_COMPACT);
	json_decref(message);
	if (!body)
		fatal("out of memory");
	Str s = {0};
	str_printf(&s, "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
	write_all(s.at, s.len);
	str_free(&s);
	free(body);
}

void wire_result(json_t *id, json_t *result)
{
	wire_send(json_pack("{s:O, s:o}", "id", id, "result", result));
}

void wire_error(json_t *id, int code, const char *text)
{
	json_t *m = json_pack("{s:{s:i, s:s}}", "error", "code", code, "message", text);
	json_object_set_new(m, "id", id ? json_incref(id) : json_null());
	wire_send(m);
}

void wire_notify(const char *method, json_t *params)
{
	wire_send(json_pack("{s:s, s:o}", "method", method, "params", params));
}
