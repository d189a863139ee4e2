/* draft.c: speculative decoding: a smaller model proposes tokens, which go through the large one in one call (Leviathan et al. 2023, "Fast
 * Inference from Transformers via Speculative Decoding"). The small one is another executable of Sinter's, a process that answers on a socket.
 *
 * It proposes its likeliest token each time, so that what the paper accepts with probability p(x) is here what the large model draws anyway: the token at a
 * place is drawn as without drafts, from the same logits with the same random number, and drafts count as far as they are what was drawn. So
 * the text is the same, whatever proposes.
 *
 * Messages, in the machine's own order of bytes: once Hello from the small one; then Ask, n ids behind it, and the answer: a count and as many ids. */
#include "runtime/generate.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAGIC = 0x534E4401 };
typedef struct Hello { int64_t magic, V; uint64_t tokenizer; } Hello;
typedef struct Ask { int64_t keep, n, want; } Ask;   /* of what it has cached; new tokens; proposals */

static bool put(int fd, const void *at, size_t n)
{
	for (const char *p = at; n;) {
		ssize_t did = send(fd, p, n, MSG_NOSIGNAL);
		if (did < 0 && errno == EINTR)
			continue;
		if (did <= 0)
			return false;
		p += did;
		n -= (size_t)did;
	}
	return true;
}

static bool get(int fd, void *at, size_t n)
{
	for (char *p = at; n;) {
		ssize_t did = recv(fd, p, n, 0);
		if (did < 0 && errno == EINTR)
			continue;
		if (did <= 0)
			return false;
		p += did;
		n -= (size_t)did;
	}
	return true;
}

/* What ids mean. */
static uint64_t meaning(const SnTokenizer *t)
{
	SnSum sum;
	SnStr token = {0};
	sn_sum_start(&sum);
	for (int32_t i = 0; t && i < sn_tokenizer_size(t); i++) {
		token.n = 0;
		sn_token_text(t, i, &token);
		sn_sum_add(&sum, &token.n, sizeof token.n);
		if (token.n)
			sn_sum_add(&sum, token.s, token.n);
	}
	free(token.s);
	return sn_sum_end(&sum);
}

/* --- the large model's side */

static void become(const SnOptions *o, const char *exe, int fd)
{
	const char *model = sn_str(o, "draft_model", NULL), *tokenizer = sn_str(o, "data.tokenizer", NULL);
	const char *argv[16] = {exe, o->entry->name, "--propose", "-q"};
	char *threads = sn_given(o, "threads") ? sn_format("%.0f", sn_num(o, "threads", 1)) : NULL;
	int n = 4;
	if (model)
		argv[n++] = "-m", argv[n++] = model;
	else if (sn_given(o, "random"))
		argv[n++] = "--random";
	if (threads)
		argv[n++] = "-t", argv[n++] = threads;
	if (sn_given(o, "data.tokenizer"))
		argv[n++] = "--tokenizer", argv[n++] = tokenizer;
	if (sn_given(o, "ids") && sn_given(o, "prompt_ids"))
		argv[n++] = "--ids", argv[n++] = "--prompt-ids", argv[n++] = "0";
	if (sn_given(o, "chat"))
		signal(SIGINT, SIG_IGN);            /* it ends an answer there, and reaches both */
	if (dup2(fd, STDIN_FILENO) < 0 || dup2(fd, STDOUT_FILENO) < 0)
		_exit(SN_FAIL);
	execvp(exe, (char **)argv);
	sn_fail(SN_FAIL, "can't run %s: %s", exe, strerror(errno));
	_exit(SN_FAIL);
}

/* Seconds that an answer may take: a program that isn't one of ours may never give it. */
static int patience(void)
{
	const char *said = getenv("SN_DRAFT_SECONDS");
	return said && atoi(said) > 0 ? atoi(said) : 120;
}

/* Of what get() did not get. */
static int silent(const char *what)
{
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return sn_fail(SN_FAIL, "%s has not answered for %d s (SN_DRAFT_SECONDS)", what, patience());
	return SN_OK;
}

static int start(SnDraft *d, const SnOptions *o)
{
	const char *exe = sn_str(o, "draft_program", "");
	int ends[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
		return sn_fail(SN_FAIL, "no socket for --draft: %s", strerror(errno));
	d->pid = fork();
	if (d->pid == 0)
		become(o, exe, ends[1]);
	close(ends[1]);
	d->fd = ends[0];
	setsockopt(d->fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){.tv_sec = patience()}, sizeof(struct timeval));
	return d->pid < 0 ? sn_fail(SN_FAIL, "can't run %s: %s", exe, strerror(errno)) : SN_OK;
}

int sn_draft_open(SnDraft *d, const SnOptions *o, const SnTokenizer *t, int64_t V, int64_t most)
{
	*d = (SnDraft){.fd = -1, .most = most, .V = V};
	if (!sn_given(o, "draft_program"))
		return sn_given(o, "draft_model") ? sn_fail(SN_USAGE, "--draft-model is the weights of --draft PROGRAM") : SN_OK;
	if (!most)
		return sn_fail(SN_USAGE, "this program was compiled to take no drafts: build it with --set %s.draft=4", sn_text(o->entry->name));
	Hello h;
	int code = start(d, o);
	if (code)
		return code;
	errno = 0;
	if (!get(d->fd, &h, sizeof h) || h.magic != MAGIC)
		return silent(sn_str(o, "draft_program", "")) ? SN_FAIL : sn_fail(SN_FAIL, "%s proposes nothing", sn_str(o, "draft_program", ""));
	if (h.V != V || h.tokenizer != meaning(t))
		return sn_fail(SN_DATA, "%s has another vocabulary: drafts are for models of one tokenizer", sn_str(o, "draft_program", ""));
	return SN_OK;
}

void sn_draft_close(SnDraft *d)
{
	free(d->theirs.at);
	d->theirs = (SnIds){0};
	if (d->pid <= 0)
		return;
	close(d->fd);
	kill(d->pid, SIGKILL);                      /* a program of another's may not care for the end of its input, nor for SIGTERM */
	while (waitpid(d->pid, NULL, 0) < 0 && errno == EINTR)
		;
	d->pid = 0;
}

int sn_draft_propose(SnDraft *d, const SnIds *ids, int64_t want, int32_t *out, int64_t *count)
{
	Ask ask = {.want = want};
	while (ask.keep < d->theirs.n && ask.keep < ids->n - 1 && d->theirs.at[ask.keep] == ids->at[ask.keep])
		ask.keep++;
	ask.n = ids->n - ask.keep;
	errno = 0;
	bool good = put(d->fd, &ask, sizeof ask) && put(d->fd, ids->at + ask.keep, sizeof *out * (size_t)ask.n) && get(d->fd, count, sizeof *count);
	if (!good || *count < 0 || *count > want || !get(d->fd, out, sizeof *out * (size_t)*count))
		return silent("the program that proposes drafts") ? SN_FAIL : sn_fail(SN_FAIL, "the program that proposes drafts has ended");
	for (int64_t i = 0; i < *count; i++)
		if (out[i] < 0 || out[i] >= d->V)
			return sn_fail(SN_FAIL, "the program that proposes drafts proposes id %d, but the vocabulary is %lld", out[i], (long long)d->V);
	d->theirs.n = ask.keep;
	for (int64_t i = ask.keep; i < ids->n && *count; i++)
		sn_ids_add(&d->theirs, ids->at[i]);
	for (int64_t i = 0; i + 1 < *count; i++)
		sn_ids_add(&d->theirs, out[i]);
	d->proposed += *count;
	return SN_OK;
}

/* --- the small model's side */

/* Tokens ids[0..n) behind the `keep` that it has of what came before, and its proposals; their number. None where its context is full. */
static int64_t propose(SnStepper *m, int64_t V, const Ask *ask, const int32_t *ids, int32_t *out)
{
	int64_t n = 0;
	m->cached = ask->keep;
	if (ask->keep + ask->n > m->room)
		return 0;
	const float *logits = sn_stepper_prefill(m, ids, ask->n);
	while (n < ask->want) {
		out[n] = sn_likeliest(logits, V);
		if (++n == ask->want || m->cached == m->room)
			break;
		logits = sn_stepper_feed(m, &out[n - 1], 1);
	}
	return n;
}

int sn_draft_serve(SnStepper *m, const SnTokenizer *t, int64_t V)
{
	Hello h = {.magic = MAGIC, .V = m->V, .tokenizer = meaning(t)};
	Ask ask;
	if (!put(STDOUT_FILENO, &h, sizeof h))
		return sn_fail(SN_USAGE, "--propose is for a program that was given --draft");
	sn_stepper_restart(m, 1);
	while (get(STDIN_FILENO, &ask, sizeof ask)) {
		if (ask.keep < 0 || ask.keep > m->cached || ask.n < 1 || ask.n > INT32_MAX || ask.want < 1 || ask.want > INT32_MAX)
			return sn_fail(SN_FAIL, "--propose was asked for what can't be");
		int32_t *ids = sn_alloc(sizeof *ids * (size_t)(ask.n + ask.want)), *out = ids + ask.n;
		bool good = get(STDIN_FILENO, ids, sizeof *ids * (size_t)ask.n);
		int64_t n = good ? propose(m, V, &ask, ids, out) : 0;
		good = good && put(STDOUT_FILENO, &n, sizeof n) && put(STDOUT_FILENO, out, sizeof *out * (size_t)n);
		free(ids);
		if (!good)
			break;
	}
	return SN_OK;
}
