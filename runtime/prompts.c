/* prompts.c: what generation begins with: one prompt of the command line, or a file of them. */
#include "runtime/sn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *sn_read_stdin(size_t *n)
{
	SnStr s = {0};
	char buf[4096];
	sn_str_add(&s, "", 0);
	ssize_t got;
	while ((got = read(STDIN_FILENO, buf, sizeof buf)) > 0)
		sn_str_add(&s, buf, (size_t)got);
	*n = s.n;
	if (got == 0)
		return s.s;
	sn_fail(SN_DATA, "standard input: %s", strerror(errno));
	free(s.s);
	return NULL;
}

static void add(SnPrompts *p, char *text)
{
	if (p->n == p->cap)
		p->at = sn_realloc(p->at, sizeof *p->at * (size_t)(p->cap = p->cap ? 2 * p->cap : 16));
	p->at[p->n++] = text;
}

/* {"prompt": "..", ..}, or {"text": ".."} */
static int add_json(SnPrompts *p, const char *line, size_t n, const char *path, long number)
{
	json_error_t e;
	json_t *j = json_loadb(line, n, JSON_ALLOW_NUL, &e);
	if (!j)
		return sn_fail(SN_DATA, "%s:%ld:%d: %s", path, number, e.column, e.text);
	json_t *text = json_object_get(j, "prompt");
	if (!text)
		text = json_object_get(j, "text");
	int code = SN_OK;
	if (!json_is_string(text) || strlen(json_string_value(text)) != json_string_length(text))
		code = sn_fail(SN_DATA, "%s:%ld: wants an object with a text \"prompt\" (or \"text\")", path, number);
	else
		add(p, sn_format("%s", json_string_value(text)));
	json_decref(j);
	return code;
}

/* A prompt a line; of json lines, which are told by the file's name or, of standard input, by its first letter, a field. Empty lines are none. */
static int add_lines(SnPrompts *p, const char *s, size_t n, const char *path, bool json)
{
	long number = 0;
	int code = SN_OK;
	bool marked = n >= 3 && !memcmp(s, "\xEF\xBB\xBF", 3);   /* as some editors mark UTF-8 */
	for (size_t at = marked ? 3 : 0; at < n && !code;) {
		const char *end = memchr(s + at, '\n', n - at);
		size_t len = end ? (size_t)(end - s) - at : n - at, text = len;
		number++;
		if (text && s[at + text - 1] == '\r')
			text--;
		if (memchr(s + at, 0, text))
			code = sn_fail(SN_DATA, "%s:%ld: has a zero byte", path, number);
		else if (text && json)
			code = add_json(p, s + at, text, path, number);
		else if (text)
			add(p, sn_format("%.*s", (int)text, s + at));
		at += len + 1;
	}
	return code;
}

int sn_prompts_read(SnPrompts *p, const char *path)
{
	*p = (SnPrompts){0};
	int code;
	if (!strcmp(path, "-")) {
		size_t n;
		char *s = sn_read_stdin(&n);
		if (!s)
			return SN_DATA;
		code = add_lines(p, s, n, "standard input", *s == '{');
		free(s);
	} else {
		SnFile f;
		size_t len = strlen(path);
		if ((code = sn_file_map(&f, path)))
			return code;
		code = add_lines(p, f.at, f.n, path, len > 6 && !strcmp(path + len - 6, ".jsonl"));
		sn_file_unmap(&f);
	}
	if (!code && !p->n)
		code = sn_fail(SN_DATA, "%s has no prompts", path);
	return code;
}

void sn_prompts_close(SnPrompts *p)
{
	for (int64_t i = 0; i < p->n; i++)
		free(p->at[i]);
	free(p->at);
	*p = (SnPrompts){0};
}
