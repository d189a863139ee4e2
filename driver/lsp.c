/* lsp.c: `sinter lsp`: the Language Server Protocol 3.17 over standard input and output. One loop waits for the editor and
 * for running analyses. A document is analysed when it has been quiet for a moment, or at once when a request needs its
 * index; requests wait for the index of the text they are about, and are answered in the order in which they came. */
#include "driver/lsp.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* Starting and stopping */

static const char *const encoding_name[] = { [ENC_UTF16] = "utf-16", [ENC_UTF8] = "utf-8", [ENC_UTF32] = "utf-32" };

/* utf-8 if the editor offers it, for then nothing has to be counted; what every editor has is utf-16. */
static Encoding choose_encoding(json_t *offered)
{
	size_t i;
	json_t *e;
	json_array_foreach(offered, i, e)
		if (json_is_string(e) && strcmp(json_string_value(e), "utf-8") == 0)
			return ENC_UTF8;
	json_t *first = json_array_get(offered, 0);
	bool wide = json_array_size(offered) == 1 && json_is_string(first) && strcmp(json_string_value(first), "utf-32") == 0;
	return wide ? ENC_UTF32 : ENC_UTF16;
}

static json_t *capabilities(const Server *s)
{
	return json_pack("{s:s, s:{s:b, s:i, s:b}, s:b, s:b, s:b, s:b, s:b, s:b, s:{s:[s]}, s:{}}",
		"positionEncoding", encoding_name[s->enc],
		"textDocumentSync", "openClose", 1, "change", 2, "save", 1,
		"hoverProvider", 1, "definitionProvider", 1, "referencesProvider", 1, "documentHighlightProvider", 1,
		"documentSymbolProvider", 1, "documentFormattingProvider", 1,
		"codeActionProvider", "codeActionKinds", "quickfix", "completionProvider");
}

static void initialize(Server *s, json_t *id, json_t *params)
{
	json_t *caps = json_object_get(params, "capabilities");
	json_t *publish = json_object_get(json_object_get(caps, "textDocument"), "publishDiagnostics");
	if (s->started) {
		wire_error(id, RPC_INVALID, "the server is initialized already");
		return;
	}
	s->started = true;
	s->enc = choose_encoding(json_object_get(json_object_get(caps, "general"), "positionEncodings"));
	s->related = json_is_true(json_object_get(publish, "relatedInformation"));
	wire_result(id, json_pack("{s:o, s:{s:s, s:s}}", "capabilities", capabilities(s),
	                          "serverInfo", "name", "sinter", "version", SINTER_VERSION));
}

/* Requests that wait */

static void pending_drop(Server *s, Pending **at)
{
	Pending *p = *at;
	*at = p->next;
	json_decref(p->id);
	json_decref(p->params);
	json_decref(p->method);
	free(p);
}

static void pending_add(Server *s, Doc *d, json_t *id, json_t *method, json_t *params)
{
	Pending **last = &s->pending, *p = calloc(1, sizeof *p);
	if (!p)
		fatal("out of memory");
	*p = (Pending){ NULL, json_incref(id), json_incref(method), json_incref(params), d };
	while (*last)
		last = &(*last)->next;
	*last = p;
	if (d->dirty)
		d->due = 0;
}

static void give_answer(Server *s, Pending *p)
{
	json_t *result = answer_find(json_string_value(p->method))(s, p->doc, p->params);
	if (result)
		wire_result(p->id, result);
	else
		wire_error(p->id, RPC_BAD_PARAMS, "a position is wanted");
}

static void answer_waiting(Server *s, const Doc *d)
{
	for (Pending **p = &s->pending; *p;)
		if ((*p)->doc == d) {
			give_answer(s, *p);
			pending_drop(s, p);
		} else {
			p = &(*p)->next;
		}
}

static void refuse_waiting(Server *s, const Doc *d, int code, const char *text)
{
	for (Pending **p = &s->pending; *p;)
		if ((*p)->doc == d || !d) {
			wire_error((*p)->id, code, text);
			pending_drop(s, p);
		} else {
			p = &(*p)->next;
		}
}

static void cancel(Server *s, json_t *params)
{
	json_t *id = json_object_get(params, "id");
	for (Pending **p = &s->pending; *p; p = &(*p)->next)
		if (json_equal((*p)->id, id)) {
			wire_error(id, LSP_CANCELLED, "cancelled");
			pending_drop(s, p);
			return;
		}
}

/* What was asked before `shutdown` is answered before it. */
static void answer_shutdown(Server *s)
{
	if (!s->shutdown || s->pending)
		return;
	wire_result(s->shutdown, json_null());
	json_decref(s->shutdown);
	s->shutdown = NULL;
}

/* Documents */

static void publish(Server *s, const Doc *d, json_t *diagnostics)
{
	json_t *params = json_pack("{s:s, s:O}", "uri", d->uri, "diagnostics", diagnostics);
	if (d->version)
		json_object_set(params, "version", d->version);
	wire_notify("textDocument/publishDiagnostics", params);
}

static Doc *doc_of(Server *s, json_t *params)
{
	return doc_find(s, json_string_value(json_object_get(json_object_get(params, "textDocument"), "uri")));
}

static void did_open(Server *s, json_t *params)
{
	json_t *doc = json_object_get(params, "textDocument"), *uri = json_object_get(doc, "uri"), *text = json_object_get(doc, "text");
	if (!json_is_string(uri) || !json_is_string(text))
		return;
	Doc *old = doc_find(s, json_string_value(uri));
	if (old)
		refuse_waiting(s, old, LSP_MODIFIED, "the document was opened anew");
	doc_open(s, json_string_value(uri), json_string_value(text), json_string_length(text), json_object_get(doc, "version"));
}

static void did_change(Server *s, json_t *params)
{
	Doc *d = doc_of(s, params);
	json_t *change, *version = json_object_get(json_object_get(params, "textDocument"), "version");
	size_t i;
	if (!d)
		return;
	json_array_foreach(json_object_get(params, "contentChanges"), i, change)
		if (!doc_change(s, d, change))
			fprintf(stderr, "sinter lsp: a change without text or with a strange range is ignored\n");
	json_decref(d->version);
	d->version = json_incref(version);
	doc_dirty(s, d);
	for (Pending *p = s->pending; p; p = p->next)   /* which wait for the new text now */
		p->doc->due = p->doc->dirty ? 0 : p->doc->due;
}

static void did_save(Server *s, json_t *params)
{
	Doc *d = doc_of(s, params);
	if (d)
		doc_dirty(s, d);
}

static void did_close(Server *s, json_t *params)
{
	Doc *d = doc_of(s, params);
	if (!d)
		return;
	refuse_waiting(s, d, LSP_MODIFIED, "the document was closed");
	json_t *none = json_array();
	publish(s, d, none);
	json_decref(none);
	doc_close(s, d);
}

static void files_changed(Server *s, json_t *params)
{
	for (Doc *d = s->docs; d; d = d->next)
		doc_dirty(s, d);
}

static void begun(Server *s, json_t *params)
{
}

static void leave(Server *s, json_t *params)
{
	s->done = true;
	s->code = s->stopping ? EXIT_OK : EXIT_FAIL;
}

/* Dispatch */

static const struct { const char *method; void (*take)(Server *, json_t *params); } notifications[] = {
	{ "initialized", begun }, { "exit", leave }, { "$/cancelRequest", cancel }, { "textDocument/didOpen", did_open },
	{ "textDocument/didChange", did_change }, { "textDocument/didSave", did_save }, { "textDocument/didClose", did_close },
	{ "workspace/didChangeWatchedFiles", files_changed },
};

static void notification(Server *s, const char *method, json_t *params)
{
	for (int i = 0; i < COUNT(notifications); i++)
		if (strcmp(notifications[i].method, method) == 0 && (s->started || notifications[i].take == leave)) {
			notifications[i].take(s, params);
			return;
		}
}

static void document_request(Server *s, json_t *id, json_t *method, json_t *params)
{
	Doc *d = doc_of(s, params);
	if (!d) {
		wire_error(id, RPC_BAD_PARAMS, "no such document is open");
		return;
	}
	pending_add(s, d, id, method, params);
	if (d->index && !d->dirty)
		answer_waiting(s, d);
}

static void request(Server *s, json_t *id, json_t *method, json_t *params)
{
	const char *name = json_string_value(method);
	if (s->stopping)
		wire_error(id, RPC_INVALID, "the server is shutting down");
	else if (strcmp(name, "initialize") == 0)
		initialize(s, id, params);
	else if (!s->started)
		wire_error(id, LSP_NOT_STARTED, "`initialize` comes first");
	else if (strcmp(name, "shutdown") == 0) {
		s->stopping = true;
		s->shutdown = json_incref(id);
	} else if (answer_find(name))
		document_request(s, id, method, params);
	else
		wire_error(id, RPC_NO_METHOD, "no such method");
}

static void dispatch(Server *s, json_t *m)
{
	json_t *id = json_object_get(m, "id"), *method = json_object_get(m, "method"), *params = json_object_get(m, "params");
	bool answer = json_object_get(m, "result") || json_object_get(m, "error");
	bool known_id = !id || json_is_integer(id) || json_is_string(id);
	if (!json_is_object(m) || (!json_is_string(method) && !answer) || !known_id)
		wire_error(NULL, RPC_INVALID, "no request of JSON-RPC 2.0");
	else if (json_is_string(method) && id)
		request(s, id, method, params);
	else if (json_is_string(method))
		notification(s, json_string_value(method), params);
}

static void take_messages(Server *s)
{
	json_t *m;
	bool bad;
	while (!s->done && ((m = wire_next(s, &bad)) || bad)) {
		if (bad)
			wire_error(NULL, RPC_PARSE, "no JSON, or far too much of it");
		else
			dispatch(s, m);
		json_decref(m);
		answer_shutdown(s);
	}
}

/* The loop */

static void read_editor(Server *s)
{
	char chunk[64 << 10];
	ssize_t n = read(STDIN_FILENO, chunk, sizeof chunk);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		leave(s, NULL);
		return;
	}
	str_put(&s->in, chunk, (size_t)n);
	take_messages(s);
}

/* ms until the next analysis is due; -1: none is. */
static int until_due(const Server *s)
{
	int64_t now = now_ms(), least = -1;
	for (const Doc *d = s->docs; d; d = d->next)
		if (d->dirty && (least < 0 || d->due - now < least))
			least = MAX(d->due - now, (int64_t)0);
	return (int)least;
}

static void start_due(Server *s)
{
	for (Doc *d = s->docs; d; d = d->next)
		if (d->dirty && d->due <= now_ms())
			analysis_start(s, d);
}

static Doc *doc_reading(Server *s, int fd)
{
	for (Doc *d = s->docs; d; d = d->next)
		if (d->child && d->fd == fd)
			return d;
	return NULL;
}

static void read_analysis(Server *s, Doc *d)
{
	if (!analysis_read(d))
		return;
	publish(s, d, json_object_get(d->index, "diagnostics"));
	answer_waiting(s, d);
	answer_shutdown(s);
}

static void wait_for_news(Server *s)
{
	Arena *a = arena_new();
	Vec(struct pollfd) fds = {0};
	vec_push(a, &fds, ((struct pollfd){ STDIN_FILENO, POLLIN, 0 }));
	for (Doc *d = s->docs; d; d = d->next)
		if (d->child)
			vec_push(a, &fds, ((struct pollfd){ d->fd, POLLIN, 0 }));
	int n = poll(fds.at, (nfds_t)fds.len, until_due(s));
	if (n < 0 && errno != EINTR)
		fatal("poll: %s", strerror(errno));
	for (int i = 1; n > 0 && i < fds.len; i++) {
		Doc *d = fds.at[i].revents ? doc_reading(s, fds.at[i].fd) : NULL;
		if (d)
			read_analysis(s, d);
	}
	if (n > 0 && fds.at[0].revents)
		read_editor(s);
	arena_free(a);
}

static void unheard(void *ctx, const Diag *d)
{
}

int run_lsp(Arena *a, const Flags *f)
{
	Server s = {0};
	signal(SIGPIPE, SIG_IGN);
	diag_handler(unheard, NULL);   /* of the parent's own: formatting a broken text */
	while (!s.done) {
		start_due(&s);
		wait_for_news(&s);
	}
	refuse_waiting(&s, NULL, LSP_CANCELLED, "the server ends");
	answer_shutdown(&s);
	while (s.docs)
		doc_close(&s, s.docs);
	str_free(&s.in);
	return s.code;
}
