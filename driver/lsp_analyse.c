/* lsp_analyse.c: one analysis: a child process checks a document and writes its index to a pipe, as JSON: ready-made
 * diagnostics and symbols, facts with their ranges, names to offer. It is bounded in time and memory; whatever ends
 * it early is shown as a diagnostic. */
#include "driver/lsp.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_SECONDS = 10, MOST_DIAGNOSTICS = 200 };
#define MOST_MEMORY ((rlim_t)4 << 30)

/* The child */

typedef struct Said { const char *kind, *code, *text; Loc loc; Vec(Diag) more; } Said;

typedef struct Analysis {
	Arena *arena;
	Server *server;
	Doc *doc;
	const Source *root;
	Facts *facts;
	Vec(Said) said;
	Vec(const Source *) files; Vec(Lines) lines;   /* of each */
} Analysis;

static const char *copy(Analysis *a, const char *s)
{
	return s ? arena_strndup(a->arena, s, strlen(s)) : NULL;
}

static void hear(void *ctx, const Diag *d)
{
	Analysis *a = ctx;
	bool main = strcmp(d->kind, "error") == 0 || strcmp(d->kind, "warning") == 0;
	Diag kept = { d->kind, d->code, d->loc, copy(a, d->message) };
	if (main)
		vec_push(a->arena, &a->said, ((Said){ .kind = kept.kind, .code = copy(a, kept.code), .text = kept.message, .loc = kept.loc }));
	else if (a->said.len)
		vec_push(a->arena, &a->said.at[a->said.len - 1].more, kept);
}

static Source *read_noted(void *ctx, Arena *arena, const char *path)
{
	Analysis *a = ctx;
	Source *s = doc_read(a->server, arena, path);
	if (s && !a->root)
		a->root = s;
	if (s)
		vec_push(a->arena, &a->files, s);
	return s;
}

static const Lines *lines_in(Analysis *a, const Source *s)
{
	for (int i = 0; i < a->lines.len; i++)
		if (a->lines.at[i].text == s->text)
			return &a->lines.at[i];
	vec_push(a->arena, &a->lines, lines_of(a->arena, s->text, s->len));
	return &a->lines.at[a->lines.len - 1];
}

static json_t *pos_json(Pos p)
{
	return json_pack("{s:I, s:I}", "line", (json_int_t)p.line, "character", (json_int_t)p.ch);
}

static json_t *range_json(Analysis *a, Loc l)
{
	Pos from = {0}, to = {0};
	if (l.src) {
		const Lines *lines = lines_in(a, l.src);
		from = lines_pos(lines, l.at, a->server->enc);
		to = lines_pos(lines, MAX(l.at, l.end), a->server->enc);
	}
	return json_pack("{s:o, s:o}", "start", pos_json(from), "end", pos_json(to));
}

/* Null where the editor could not open it: the compiler's own prelude. */
static json_t *location_json(Analysis *a, Loc l)
{
	for (int i = 0; i < a->files.len; i++) {
		if (l.src != a->files.at[i])
			continue;
		char *uri = uri_of_path(l.src->name);
		json_t *j = json_pack("{s:s, s:o}", "uri", l.src == a->root ? a->doc->uri : uri, "range", range_json(a, l));
		free(uri);
		return j;
	}
	return json_null();
}

/* A name that could stand in place of what the error is about: from "did you mean `x`?", if that is one word. */
static const char *fix_of(Analysis *a, const Said *s)
{
	static const char start[] = "did you mean `";
	bool word = s->loc.src == a->root && s->loc.end > s->loc.at;
	for (uint32_t i = s->loc.at; word && i < s->loc.end; i++) {
		unsigned char c = (unsigned char)s->loc.src->text[i];
		word = c == '_' || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
	}
	for (int i = 0; word && i < s->more.len; i++) {
		const char *m = s->more.at[i].message, *end = strchr(m, '?');
		if (strncmp(m, start, sizeof start - 1) != 0 || !end || end[-1] != '`')
			continue;
		m += sizeof start - 1;
		size_t n = (size_t)(end - 1 - m);
		return strcspn(m, " (`") == n ? arena_strndup(a->arena, m, n) : NULL;
	}
	return NULL;
}

/* Where in this document an error in another file is shown: at the `use` that names it, or the first, which may lead there. */
static Loc shown_at(Analysis *a, Loc l)
{
	if (l.src == a->root || !l.src || !a->facts)
		return l.src == a->root ? l : (Loc){0};
	for (int i = 0; i < a->facts->uses.len; i++) {
		const FactUse *u = &a->facts->uses.at[i];
		const char *slash = strrchr(l.src->name, '/'), *name = slash ? slash + 1 : l.src->name, *tail = strrchr(u->file, '/');
		if (strcmp(tail ? tail + 1 : u->file, name) == 0)
			return u->loc;
	}
	return a->facts->uses.len ? a->facts->uses.at[0].loc : (Loc){0};
}

static json_t *related_json(Analysis *a, const Said *s, Str *text)
{
	json_t *list = json_array();
	if (s->loc.src && s->loc.src != a->root)
		json_array_append_new(list, json_pack("{s:o, s:s}", "location", location_json(a, s->loc), "message", s->text));
	for (int i = 0; i < s->more.len; i++) {
		const Diag *d = &s->more.at[i];
		json_t *at = d->loc.src && a->server->related ? location_json(a, d->loc) : json_null();
		if (json_is_null(at))
			str_printf(text, "\n%s: %s", d->kind, d->message);
		else
			json_array_append_new(list, json_pack("{s:O, s:s}", "location", at, "message", d->message));
		json_decref(at);
	}
	return list;
}

static json_t *diagnostic_json(Analysis *a, const Said *s)
{
	Str text = {0};
	bool warning = strcmp(s->kind, "warning") == 0;
	if (s->loc.src && s->loc.src != a->root)
		str_printf(&text, "%s:%d:%d: ", s->loc.src->name, loc_line(s->loc), loc_col(s->loc));
	str_puts(&text, s->text);
	json_t *related = related_json(a, s, &text);
	json_t *d = json_pack("{s:o, s:i, s:s, s:s}", "range", range_json(a, shown_at(a, s->loc)), "severity", warning ? 2 : 1,
	                      "source", "sinter", "message", text.at);
	if (s->code)
		json_object_set_new(d, "code", json_string(s->code));
	if (s->code && (!strcmp(s->code, "W0301") || !strcmp(s->code, "W0302") || !strcmp(s->code, "W0303")))
		json_object_set_new(d, "tags", json_pack("[i]", 1));   /* unnecessary */
	if (json_array_size(related) && a->server->related)
		json_object_set(d, "relatedInformation", related);
	const char *fix = fix_of(a, s);
	if (fix)
		json_object_set_new(d, "data", json_pack("{s:s}", "fix", fix));
	json_decref(related);
	str_free(&text);
	return d;
}

static json_t *diagnostics_json(Analysis *a)
{
	json_t *list = json_array();
	for (int i = 0; i < MIN(a->said.len, MOST_DIAGNOSTICS); i++)
		json_array_append_new(list, diagnostic_json(a, &a->said.at[i]));
	return list;
}

static json_t *facts_json(Analysis *a)
{
	json_t *list = json_array();
	for (int i = 0; i < a->facts->facts.len; i++) {
		const Fact *f = &a->facts->facts.at[i];
		json_array_append_new(list, json_pack("{s:o, s:s?, s:o}", "range", range_json(a, f->loc), "text", f->text,
		                                      "def", location_json(a, f->def)));
	}
	return list;
}

static json_t *symbols_json(Analysis *a, const SymbolList *symbols)
{
	static const int kinds[SYM_KINDS] = {   /* SymbolKind of LSP */
		[SYM_CONFIG] = 2, [SYM_VALUE] = 14, [SYM_DIM] = 26, [SYM_BLOCK] = 5, [SYM_FN] = 12, [SYM_MODEL] = 5,
		[SYM_ENTRY] = 24, [SYM_LAYER] = 8,
	};
	json_t *list = json_array();
	for (int i = 0; i < symbols->len; i++) {
		const FileSymbol *s = &symbols->at[i];
		json_array_append_new(list, json_pack("{s:s, s:i, s:o, s:o, s:o}", "name", s->name, "kind", kinds[s->kind],
			"range", range_json(a, s->loc), "selectionRange", range_json(a, s->name_loc), "children", symbols_json(a, &s->kids)));
	}
	return list;
}

static json_t *offers_json(Analysis *a)
{
	static const int kinds[SYM_KINDS] = {   /* CompletionItemKind */
		[SYM_CONFIG] = 9, [SYM_VALUE] = 6, [SYM_DIM] = 25, [SYM_BLOCK] = 7, [SYM_FN] = 3, [SYM_MODEL] = 7,
		[SYM_ENTRY] = 23, [SYM_LAYER] = 5,
	};
	json_t *list = json_array();
	for (int i = 0; i < a->facts->offers.len; i++) {
		const Offer *o = &a->facts->offers.at[i];
		json_array_append_new(list, json_pack("{s:{s:s, s:i, s:s*}, s:o}", "item", "label", o->name, "kind", kinds[o->kind],
			"detail", o->detail, "scope", o->scope.src ? range_json(a, o->scope) : json_null()));
	}
	return list;
}

static json_t *files_json(Analysis *a)
{
	json_t *list = json_array();
	for (int i = 0; i < a->files.len; i++)
		json_array_append_new(list, json_string(a->files.at[i]->name));
	return list;
}

static void write_out(int fd, json_t *j)
{
	char *text = json_dumps(j, JSON_COMPACT);
	for (size_t n = text ? strlen(text) : 0, done = 0; done < n;) {
		ssize_t k = write(fd, text + done, n - done);
		if (k < 0 && errno != EINTR)
			_exit(1);
		done += k > 0 ? (size_t)k : 0;
	}
}

static void analyse(Server *s, Doc *d, int fd)
{
	Analysis *a = &(Analysis){ .arena = arena_new(), .server = s, .doc = d };
	FrontendOptions options = { .read = read_noted, .read_ctx = a };
	diag_handler(hear, a);
	diag_reset();
	a->facts = frontend_facts(a->arena, d->path, &options);
	json_t *index = json_pack("{s:o, s:o}", "diagnostics", diagnostics_json(a), "files", files_json(a));
	if (a->facts) {
		json_object_set_new(index, "facts", facts_json(a));
		json_object_set_new(index, "symbols", symbols_json(a, &a->facts->symbols));
		json_object_set_new(index, "offers", offers_json(a));
	}
	write_out(fd, index);
}

static void limit(int what, rlim_t most)
{
	struct rlimit r = { most, most };
	setrlimit((__rlimit_resource_t)what, &r);
}

static void child(Server *s, Doc *d, int fd)
{
	int null = open("/dev/null", O_RDWR);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);    /* the editor's messages and the answers are the parent's */
		dup2(null, STDOUT_FILENO);
	}
	limit(RLIMIT_CPU, MOST_SECONDS);
	limit(RLIMIT_CORE, 0);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)   /* their shadows are larger */
	limit(RLIMIT_AS, MOST_MEMORY);
#endif
	analyse(s, d, fd);
	_exit(0);
}

/* The parent */

void analysis_drop(Doc *d)
{
	if (d->child) {
		kill(d->child, SIGKILL);
		while (waitpid(d->child, NULL, 0) < 0 && errno == EINTR)
			;
		close(d->fd);
	}
	d->child = 0;
	d->fd = -1;
	d->in.len = 0;
}

void analysis_start(Server *s, Doc *d)
{
	int fd[2];
	analysis_drop(d);
	if (pipe2(fd, O_CLOEXEC) != 0)
		fatal("could not make a pipe: %s", strerror(errno));
	pid_t pid = fork();
	if (pid < 0)
		fatal("could not start an analysis: %s", strerror(errno));
	if (pid == 0)
		child(s, d, fd[1]);
	close(fd[1]);
	d->child = pid;
	d->fd = fd[0];
	d->dirty = false;
}

/* The index of an analysis that ended before its time. */
static json_t *failed_index(int status)
{
	Str s = {0};
	if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGKILL))
		str_printf(&s, "this file takes longer to check than %d seconds", MOST_SECONDS);
	else
		str_printf(&s, "the compiler failed on this text (%s %d); please report it with the file",
		           WIFSIGNALED(status) ? "signal" : "exit code", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	json_t *at = pos_json((Pos){0});
	json_t *index = json_pack("{s:[{s:{s:O, s:O}, s:i, s:s, s:s}], s:[]}", "diagnostics", "range", "start", at, "end", at,
	                          "severity", 1, "source", "sinter", "message", s.at, "files");
	json_decref(at);
	str_free(&s);
	return index;
}

static void finish(Doc *d)
{
	int status = 0;
	while (waitpid(d->child, &status, 0) < 0 && errno == EINTR)
		;
	close(d->fd);
	d->child = 0;
	d->fd = -1;
	json_t *index = d->in.len ? json_loadb(d->in.at, d->in.len, JSON_ALLOW_NUL, NULL) : NULL;
	d->in.len = 0;
	d->index = index ? index : failed_index(status);
	json_decref(d->files);
	d->files = json_incref(json_object_get(d->index, "files"));
}

bool analysis_read(Doc *d)
{
	char chunk[64 << 10];
	ssize_t n = read(d->fd, chunk, sizeof chunk);
	if (n < 0 && errno == EINTR)
		return false;
	if (n > 0) {
		str_put(&d->in, chunk, (size_t)n);
		return false;
	}
	finish(d);
	return true;
}
