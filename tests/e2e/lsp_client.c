/* lsp_client.c: plays a script of an editor's messages to a language server and checks what comes back.
 * usage: lsp_client SCRIPT SERVER ARGUMENT...; exit code 0 if every check holds, else a line for each that does not.
 *
 * Lines of a script ("#" starts a comment; @DIR@ becomes the directory named by LSP_DIR, @TEXT:file@ a file
 * as the inside of a JSON string):
 *   send JSON         one message, framed; "jsonrpc" is added
 *   raw TEXT          bytes as they are; \r \n \0 \\ are escapes
 *   wait ID           the response to request ID (other messages are kept); it is what the checks below look at
 *   diag URI VERSION  the diagnostics published for that version of the document; "-" for any
 *   null              the next message that has neither id nor method of its own: an error about nothing in particular
 *   is PATH JSON      PATH: keys and indices apart by "."; "" for the whole
 *   has PATH TEXT     the string at PATH contains TEXT
 *   lacks PATH TEXT   it does not
 *   none ID           no response to ID has come so far
 *   sleep MS
 *   exit CODE         closes the server's input; it ends with CODE */
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATIENCE = 20000 };   /* ms for one message; analyses under a sanitizer are slow */

static struct {
	int in, out, line, failed;
	pid_t pid;
	char *buf; size_t len, cap;
	json_t *kept[4096]; int nkept;
	json_t *now;
} c;

static void complain(const char *what, const char *arg)
{
	char *now = c.now ? json_dumps(c.now, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
	printf("line %d: %s: %s; got %.600s\n", c.line, what, arg, now ? now : "nothing");
	free(now);
	c.failed++;
}

static void put(const char *p, size_t n)
{
	while (n) {
		ssize_t k = write(c.out, p, n);
		if (k <= 0) {
			complain("the server takes no input", "");
			exit(1);
		}
		p += k;
		n -= (size_t)k;
	}
}

static void put_message(const char *text)
{
	json_error_t err;
	json_t *m = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, &err);
	if (!m) {
		complain("the script's JSON is broken", err.text);
		exit(2);
	}
	if (json_is_object(m))
		json_object_set_new(m, "jsonrpc", json_string("2.0"));
	char *body = json_dumps(m, JSON_COMPACT | JSON_ENCODE_ANY), head[64];
	int n = snprintf(head, sizeof head, "Content-Length: %zu\r\n\r\n", strlen(body));
	put(head, (size_t)n);
	put(body, strlen(body));
	free(body);
	json_decref(m);
}

static void put_raw(const char *p)
{
	static const char from[] = "rn0\\", to[] = "\r\n\0\\";
	for (; *p; p++) {
		const char *hit = *p == '\\' && p[1] ? strchr(from, p[1]) : NULL;
		put(hit ? &to[hit - from] : p, 1);
		p += hit != NULL;
	}
}

/* One more message off the wire; NULL when the server has ended or says nothing. */
static json_t *receive(int patience)
{
	for (;;) {
		char *end = c.len ? memmem(c.buf, c.len, "\r\n\r\n", 4) : NULL;
		if (end) {
			size_t body = strncasecmp(c.buf, "Content-Length: ", 16) == 0 ? strtoul(c.buf + 16, NULL, 10) : 0;
			size_t head = (size_t)(end + 4 - c.buf);
			if (c.len >= head + body) {
				json_t *m = json_loadb(c.buf + head, body, JSON_ALLOW_NUL, NULL);
				memmove(c.buf, c.buf + head + body, c.len -= head + body);
				if (!m)
					complain("the server's JSON is broken", "");
				return m;
			}
		}
		struct pollfd fd = { c.in, POLLIN, 0 };
		if (poll(&fd, 1, patience) <= 0)
			return NULL;
		if (c.cap - c.len < 65536)
			c.buf = realloc(c.buf, c.cap = c.cap * 2 + 131072);
		ssize_t n = read(c.in, c.buf + c.len, 65536);
		if (n <= 0)
			return NULL;
		c.len += (size_t)n;
	}
}

typedef bool Wanted(json_t *m, json_t *key, json_t *version);

static bool is_response(json_t *m, json_t *key, json_t *version)
{
	return !json_object_get(m, "method") && json_equal(json_object_get(m, "id"), key);
}

static bool is_diagnostics(json_t *m, json_t *key, json_t *version)
{
	const char *method = json_string_value(json_object_get(m, "method"));
	json_t *params = json_object_get(m, "params");
	return method && strcmp(method, "textDocument/publishDiagnostics") == 0 && json_equal(json_object_get(params, "uri"), key) &&
	       (!version || json_equal(json_object_get(params, "version"), version));
}

static void await(Wanted *wanted, json_t *key, json_t *version, const char *what)
{
	json_decref(c.now);
	c.now = NULL;
	for (int i = 0; i < c.nkept; i++)
		if (wanted(c.kept[i], key, version)) {
			c.now = c.kept[i];
			memmove(&c.kept[i], &c.kept[i + 1], sizeof c.kept[0] * (size_t)(--c.nkept - i));
			return;
		}
	for (json_t *m; (m = receive(PATIENCE));) {
		if (wanted(m, key, version)) {
			c.now = m;
			return;
		}
		if (c.nkept < (int)(sizeof c.kept / sizeof *c.kept))
			c.kept[c.nkept++] = m;
	}
	complain("no answer", what);
}

static json_t *at_path(const char *path)
{
	json_t *j = c.now;
	char *copy = strdup(path), *save = NULL;
	for (char *k = strtok_r(copy, ".", &save); k; k = strtok_r(NULL, ".", &save))
		j = json_is_array(j) ? json_array_get(j, strtoul(k, NULL, 10)) : json_object_get(j, k);
	free(copy);
	return j;
}

static void check(const char *how, char *rest)
{
	char *space = strchr(rest, ' '), *want = space ? space + 1 : rest + strlen(rest);
	char path[200];
	snprintf(path, sizeof path, "%.*s", (int)(space ? space - rest : (long)strlen(rest)), rest);
	json_t *got = at_path(path);
	if (strcmp(how, "is") == 0) {
		json_t *j = json_loads(want, JSON_DECODE_ANY, NULL);
		if (!json_equal(got, j))
			complain(how, rest);
		json_decref(j);
		return;
	}
	char *dumped = got && !json_is_string(got) ? json_dumps(got, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
	const char *text = dumped ? dumped : json_string_value(got);
	if (!text || (strstr(text, want) != NULL) != (strcmp(how, "has") == 0))
		complain(how, rest);
	free(dumped);
}

static void none(const char *id)
{
	json_t *key = json_loads(id, JSON_DECODE_ANY, NULL);
	for (json_t *m; c.nkept < 4000 && (m = receive(50));)
		c.kept[c.nkept++] = m;
	for (int i = 0; i < c.nkept; i++)
		if (is_response(c.kept[i], key, NULL))
			complain("an answer came", id);
	json_decref(key);
}

static void end(int code)
{
	int status;
	close(c.out);
	while (receive(PATIENCE))
		;
	waitpid(c.pid, &status, 0);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != code) {
		printf("line %d: the server ended with status 0x%x, wanted %d\n", c.line, status, code);
		c.failed++;
	}
}

static void run_line(char *line)
{
	char *rest = strchr(line, ' ');
	rest = rest ? (*rest = 0, rest + 1) : line + strlen(line);
	if (strcmp(line, "send") == 0)
		put_message(rest);
	else if (strcmp(line, "raw") == 0)
		put_raw(rest);
	else if (strcmp(line, "wait") == 0)
		await(is_response, json_loads(rest, JSON_DECODE_ANY, NULL), NULL, rest);
	else if (strcmp(line, "null") == 0)
		await(is_response, json_null(), NULL, "an error about nothing");
	else if (strcmp(line, "diag") == 0) {
		char *version = strrchr(rest, ' ');
		*version++ = 0;
		await(is_diagnostics, json_string(rest), *version == '-' ? NULL : json_loads(version, JSON_DECODE_ANY, NULL), rest);
	} else if (strcmp(line, "none") == 0)
		none(rest);
	else if (strcmp(line, "sleep") == 0)
		usleep((unsigned)atoi(rest) * 1000);
	else if (strcmp(line, "exit") == 0)
		end(atoi(rest));
	else if (strcmp(line, "is") == 0 || strcmp(line, "has") == 0 || strcmp(line, "lacks") == 0)
		check(line, rest);
	else {
		complain("the script says", line);
		exit(2);
	}
}

static void put_text(FILE *to, const char *path)
{
	static char text[1 << 20];
	FILE *f = fopen(path, "r");
	size_t n = f ? fread(text, 1, sizeof text, f) : 0;
	json_t *j = json_stringn(text, n);
	char *dumped = json_dumps(j, JSON_ENCODE_ANY);
	if (!f || !n || !dumped) {
		complain("cannot read", path);
		exit(2);
	}
	fprintf(to, "%.*s", (int)strlen(dumped) - 2, dumped + 1);
	free(dumped);
	json_decref(j);
	fclose(f);
}

/* @..@ replaced; on the heap */
static char *filled(const char *line)
{
	const char *dir = getenv("LSP_DIR") ? getenv("LSP_DIR") : "";
	char *out = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&out, &n);
	for (const char *p = line; *p;)
		if (strncmp(p, "@DIR@", 5) == 0) {
			fputs(dir, f);
			p += 5;
		} else if (strncmp(p, "@TEXT:", 6) == 0) {
			char path[300];
			int len = (int)strcspn(p + 6, "@");
			snprintf(path, sizeof path, "%.*s", len, p + 6);
			put_text(f, path);
			p += 7 + len;
		} else {
			fputc(*p++, f);
		}
	fclose(f);
	return out;
}

static void start(char **argv)
{
	int to[2], from[2];
	if (pipe(to) || pipe(from) || (c.pid = fork()) < 0)
		exit(2);
	if (c.pid == 0) {
		dup2(to[0], 0);
		dup2(from[1], 1);
		close(to[1]);
		close(from[0]);
		execvp(argv[0], argv);
		_exit(127);
	}
	close(to[0]);
	close(from[1]);
	c.out = to[1];
	c.in = from[0];
}

int main(int argc, char **argv)
{
	FILE *script = argc > 2 ? fopen(argv[1], "r") : NULL;
	char *line = NULL;
	size_t cap = 0;
	if (!script)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	start(argv + 2);
	for (ssize_t n; (n = getline(&line, &cap, script)) >= 0;) {
		c.line++;
		while (n > 0 && line[n - 1] == '\n')
			line[--n] = 0;
		if (n == 0 || line[0] == '#')
			continue;
		char *text = filled(line);
		run_line(text);
		free(text);
	}
	return c.failed ? 1 : 0;
}
