/* generate.c: one prompt goes through the model, then a token a call, until the limit, a stop text or token, or the context's end; or a beam
 * search does (beam.c); or a file of prompts does, several at a time; or a conversation, turn by turn, which goes on from what is in the
 * caches. With --ids ids leave instead of text, and with --prompt-ids too nothing needs a tokenizer. */
#include "runtime/generate.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct Generator {
	const SnOptions *o;
	SnSession s;
	SnStepper m;
	SnTokenizer *tokenizer;       /* NULL: ids alone */
	SnSampler sampler;
	SnStops stops;
	SnSequences q;
	SnDraft draft;
	const SnChat *chat;           /* NULL: prompts are texts to go on from */
	bool ids, json;               /* what leaves: ids, not text; objects */
	int64_t V;                    /* ids that can be drawn */
	int64_t left;                 /* drawn ids, or bytes of text, that have left */
	int64_t known;                /* tokens given, in all */
	double began, asked, prefill; /* the clock: when work began, when the prompts at hand were (0: their first token was drawn); seconds up to first tokens */
} Generator;

/* --- a prompt's ids */

/* What an empty prompt starts from: the tokenizer's start or end of text, else a line's end, else id 0. */
static int32_t start_id(const SnTokenizer *t)
{
	int32_t id = sn_bos(t);
	if (id < 0)
		id = sn_special(t, "<|endoftext|>");
	SnStr piece = {0};
	for (int32_t i = 0; id < 0 && i < sn_tokenizer_size(t); i++) {
		piece.n = 0;
		sn_decode_piece(t, i, false, &piece);
		if (piece.n == 1 && piece.s[0] == '\n')
			id = i;
	}
	free(piece.s);
	return id < 0 ? 0 : id;
}

static int encode_text(const Generator *g, const char *text, const char *which, SnIds *ids)
{
	int32_t bos = sn_bos(g->tokenizer);
	SnStr turn = {0};
	if (bos >= 0)
		sn_ids_add(ids, bos);
	if (g->chat) {
		sn_chat_ask(&turn, g->chat, sn_str(g->o, "system", NULL), text, true);
		text = turn.s;
	}
	int code = sn_encode(g->tokenizer, text, strlen(text), which, ids);
	if (!code && bos >= 0 && ids->n > 1 && ids->at[1] == bos)
		memmove(ids->at, ids->at + 1, sizeof *ids->at * (size_t)--ids->n);
	if (!code && !ids->n)
		sn_ids_add(ids, start_id(g->tokenizer));
	free(turn.s);
	return code;
}

/* "0,17 4": numbers with commas or blanks between them */
static int read_ids(const char *text, SnIds *ids)
{
	for (const char *p = text; *p;) {
		char *end;
		errno = 0;
		long id = strtol(p, &end, 10);
		if (end == p || errno || id < 0 || id > INT32_MAX)
			return sn_fail(SN_USAGE, "--prompt-ids wants ids of 0 or more with commas between them, not \"%s\"", text);
		sn_ids_add(ids, (int32_t)id);
		p = end + strspn(end, ", ");
		if (*p && p == end)
			return sn_fail(SN_USAGE, "--prompt-ids wants ids of 0 or more with commas between them, not \"%s\"", text);
	}
	return ids->n ? SN_OK : sn_fail(SN_USAGE, "--prompt-ids is empty");
}

/* which: "the prompt", "prompt 3" */
static int check_ids(const Generator *g, const SnIds *ids, const char *which, bool given)
{
	for (int64_t i = 0; i < ids->n; i++)
		if (ids->at[i] >= g->m.V)
			return sn_fail(SN_DATA, "%s has token id %d, but the model's vocabulary is %lld%s", which, ids->at[i], (long long)g->m.V,
			               given ? "" : ": is it the model's tokenizer?");
	if (ids->n > g->m.room)
		return sn_fail(SN_DATA, "%s has %lld tokens; the model's context is %lld", which, (long long)ids->n, (long long)g->m.room);
	return SN_OK;
}

static int ask(const Generator *g, const char *text, const char *which, SnAnswer *a)
{
	const char *given = text ? NULL : sn_str(g->o, "prompt_ids", NULL);
	SnIds ids = {0};
	int code = given ? read_ids(given, &ids) : encode_text(g, text ? text : "", which, &ids);
	if (!code)
		code = check_ids(g, &ids, which, given != NULL);
	if (!code)
		sn_answer_ask(a, ids.at, ids.n);
	a->begins = !given && !g->chat && (!text || !*text);
	free(ids.at);
	return code;
}

/* --- what leaves */

static void print_ids(Generator *g, const SnAnswer *a, int64_t from, int64_t to)
{
	for (int64_t i = from; i < to; i++)
		printf(i ? " %d" : "%d", a->ids.at[i]);
	fflush(stdout);
}

/* The prompt, before it goes through the model. */
static void echo(Generator *g, const char *text, const SnAnswer *a)
{
	if (sn_given(g->o, "no_echo") || g->json || g->chat)
		return;
	if (g->ids)
		print_ids(g, a, 0, a->prompt);
	SnStr of_ids = {0};
	for (int64_t i = 0; i < a->prompt && !g->ids && !text; i++)
		sn_decode_piece(g->tokenizer, a->ids.at[i], !i, &of_ids);
	if (!g->ids)
		sn_emit(text ? text : of_ids.s, text ? strlen(text) : of_ids.n);
	free(of_ids.s);
}

/* The first token after a prompt, or after those that are fed together. */
static void first_token(void *ctx, SnAnswer *a)
{
	Generator *g = ctx;
	if (g->asked > 0)
		g->prefill += sn_clock() - g->asked;
	g->asked = 0;
}

/* What has come since, of the one sequence there is. */
static void stream(void *ctx, SnAnswer *a)
{
	Generator *g = ctx;
	first_token(g, a);
	if (g->json)
		return;
	if (g->ids && sn_given(g->o, "no_echo") && !g->left && sn_answer_drawn(a))
		printf("%d", a->ids.at[a->prompt]), g->left = 1;
	if (g->ids) {
		print_ids(g, a, a->prompt + g->left, a->ids.n);
		g->left = sn_answer_drawn(a);
	} else if (a->text.n) {
		sn_emit(a->text.s + g->left, a->sure - (size_t)g->left);
		g->left = (int64_t)a->sure;
	}
	if (a->finish == SN_FULL)
		sn_note("\nstopped: the model's context of %lld tokens is full", (long long)g->m.room);
}

static void print_json(const Generator *g, const SnAnswer *a, const char *text)
{
	json_t *j = sn_answer_json(a, text, g->tokenizer != NULL, g->ids || !g->tokenizer);
	json_dumpf(j, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
	json_decref(j);
}

static int finished(const Generator *g)
{
	fflush(stdout);
	return ferror(stdout) ? sn_fail(SN_FAIL, "can't write to standard output") : SN_OK;
}

static void timing(const Generator *g, int64_t sequences)
{
	double decoding = sn_clock() - g->began - g->prefill;
	int64_t again = g->q.drawn - sequences;
	if (sn_given(g->o, "quiet"))
		return;
	if (g->q.draft)
		sn_note("drafts: %lld tokens proposed, %lld taken", (long long)g->draft.proposed, (long long)g->draft.taken);
	sn_note("prompt %lld tokens, %.3f s, %.1f/s; generated %lld, %.3f s, %.1f/s", (long long)g->known, g->prefill, g->prefill > 0 ? (double)g->known / g->prefill : 0,
	        (long long)g->q.drawn, decoding, again > 0 ? (double)again / decoding : 0);
}

/* --- beam search */

/* Does a sequence of the beam end with its last id? The text is made anew each time: stops are few and short. */
static bool ends(void *ctx, const int32_t *ids, int64_t n)
{
	Generator *g = ctx;
	SnStr text = {0};
	bool texts = false;
	for (int i = 0; i < g->stops.n; i++)
		texts |= g->stops.id[i] < 0;
	for (int64_t i = 0; i < n && texts && g->tokenizer; i++)
		sn_decode_piece(g->tokenizer, ids[i], false, &text);
	bool found = sn_stops_at(&g->stops, ids[n - 1]) || (text.n && sn_stops_in(&g->stops, text.s, text.n));
	free(text.s);
	return found;
}

static int beam(Generator *g, SnAnswer *a, int64_t width)
{
	const float *logits = sn_stepper_prefill(&g->m, a->ids.at, a->ids.n);
	SnIds out = {0};
	SnBeam b = {.width = width, .limit = g->q.limit, .V = g->V, .ends = ends, .ctx = g};
	first_token(g, a);
	int code = b.limit > 0 ? sn_beam_search(&g->m, &b, logits, &out) : SN_OK;
	g->q.drawn = out.n;
	for (int64_t i = 0; i < out.n && a->finish == SN_GOING; i++)
		sn_answer_add(a, g->tokenizer, &g->stops, out.at[i]);
	if (a->finish == SN_GOING)
		sn_answer_end(a, SN_LIMIT);
	free(out.at);
	if (!code)
		stream(g, a);
	return code;
}

/* Sequences to follow: what the entry or --beam says, unless a flag asks for drawing; *width: 0 or 1: none. */
static int beam_width(const Generator *g, int64_t *width)
{
	static const char *const drawing[] = {"sample.temperature", "sample.top_k", "sample.top_p", "sample.min_p"};
	bool draws = false;
	*width = (int64_t)sn_num(g->o, "sample.beam", 0);
	for (int i = 0; i < 4; i++)
		draws |= sn_given(g->o, drawing[i]);
	if ((draws || g->chat || sn_given(g->o, "prompts")) && !sn_given(g->o, "sample.beam"))
		*width = 0;
	if (*width > 1 && *width > g->m.width)
		return sn_fail(SN_USAGE, "--beam %lld: this program was compiled for %lld sequences at most: build it with --set %s.B=%lld",
		               (long long)*width, (long long)g->m.width, sn_text(g->o->entry->name), (long long)*width);
	if (*width > 1 && (sn_given(g->o, "prompts") || g->chat || g->q.logprobs >= 0 || g->q.draft))
		return sn_fail(SN_USAGE, "--beam goes with one prompt, and without --logprobs and --draft");
	return SN_OK;
}

/* --- one prompt */

static int one(Generator *g, const char *text)
{
	SnAnswer a = {0}, *row = &a;
	int64_t width = 0;
	int code = ask(g, text, "the prompt", &a);
	if (!code)
		code = beam_width(g, &width);
	g->began = g->asked = sn_clock();
	g->known = a.prompt;
	if (!code)
		code = sn_stepper_encode(&g->m, g->o, g->tokenizer);
	if (!code) {
		echo(g, text, &a);
		g->q.said = stream;
		code = width > 1 ? beam(g, &a, width) : sn_sequences_run(&g->q, &row, 1);
	}
	if (!code && g->json)
		print_json(g, &a, text);
	else if (!code)
		putchar('\n');
	if (!code)
		code = finished(g);
	if (!code)
		timing(g, 1);
	sn_answer_close(&a);
	return code;
}

/* --- a file of prompts */

static const char separator[] = "----";

static void print_answer(const Generator *g, const SnAnswer *a, const char *text, bool first)
{
	if (g->json) {
		print_json(g, a, text);
		return;
	}
	if (!first)
		puts(separator);
	if (g->ids) {
		for (int64_t i = sn_given(g->o, "no_echo") ? a->prompt : 0, k = 0; i < a->ids.n; i++)
			printf(k++ ? " %d" : "%d", a->ids.at[i]);
	} else {
		if (!sn_given(g->o, "no_echo") && !g->chat)
			sn_emit(text, strlen(text));
		if (a->text.n)
			sn_emit(a->text.s, a->text.n);
	}
	putchar('\n');
	fflush(stdout);
}

static int by_length(const void *a, const void *b)
{
	const SnAnswer *x = *(SnAnswer *const *)a, *y = *(SnAnswer *const *)b;
	return x->prompt != y->prompt ? (x->prompt < y->prompt ? -1 : 1) : x < y ? -1 : x > y;
}

/* Those of like lengths go together; answers leave in the file's order, as soon as those before have. */
static int in_batches(Generator *g, const SnPrompts *p, SnAnswer *a)
{
	SnAnswer **order = sn_alloc(sizeof *order * (size_t)p->n);
	int64_t printed = 0, n;
	int code = SN_OK;
	for (int64_t i = 0; i < p->n; i++)
		order[i] = &a[i];
	qsort(order, (size_t)p->n, sizeof *order, by_length);
	for (int64_t at = 0; at < p->n && !code; at += n) {
		n = g->q.draft ? 1 : p->n - at < g->m.width ? p->n - at : g->m.width;
		sn_stepper_restart(&g->m, n);
		g->asked = sn_clock();
		code = sn_sequences_run(&g->q, order + at, n);
		for (; !code && printed < p->n && a[printed].finish != SN_GOING; printed++)
			print_answer(g, &a[printed], p->at[printed], printed == 0);
	}
	free(order);
	return code ? code : finished(g);
}

static int many(Generator *g, const SnPrompts *p)
{
	int64_t width;
	int code = beam_width(g, &width);
	if (!code && g->m.encode)
		return sn_fail(SN_USAGE, "%s reads a source beside its prompt: --prompts is for models without one", sn_text(g->o->entry->name));
	SnAnswer *a = sn_alloc(sizeof *a * (size_t)p->n);
	for (int64_t i = 0; i < p->n && !code; i++) {
		char which[32];
		snprintf(which, sizeof which, "prompt %lld", (long long)i + 1);
		code = ask(g, p->at[i], which, &a[i]);
		g->known += a[i].prompt;
	}
	g->began = sn_clock();
	g->q.said = first_token;
	if (!code)
		code = in_batches(g, p, a);
	if (!code)
		timing(g, p->n);
	for (int64_t i = 0; i < p->n; i++)
		sn_answer_close(&a[i]);
	free(a);
	return code;
}

/* --- a conversation */

static volatile int interrupted;

static void on_interrupt(int sig)
{
	interrupted = 1;
}

/* One line of standard input without its end; NULL at the end of it. */
static char *read_line(bool asks)
{
	char *line = NULL;
	size_t cap = 0;
	if (asks)
		fprintf(stderr, "> ");
	ssize_t n = getline(&line, &cap, stdin);
	if (n < 0) {
		free(line);
		return NULL;
	}
	while (n && (line[n - 1] == '\n' || line[n - 1] == '\r'))
		line[--n] = 0;
	return line;
}

/* The next turn behind what the caches hold; where that is full, behind nothing. */
static int say(Generator *g, SnAnswer *a, const char *text)
{
	SnStr turn = {0};
	SnIds ids = {0};
	bool first = a->ids.n == 0;
	if (a->finish == SN_STOPPED && a->ids.n && sn_stops_at(&g->stops, a->ids.at[a->ids.n - 1]))
		a->ids.n--;                         /* the template has it, too */
	if (first && sn_bos(g->tokenizer) >= 0)
		sn_ids_add(&ids, sn_bos(g->tokenizer));
	sn_chat_ask(&turn, g->chat, sn_str(g->o, "system", NULL), text, first);
	int code = sn_encode(g->tokenizer, turn.s, turn.n, "what you said", &ids);
	if (!code)
		code = check_ids(g, &ids, "what you said", false);
	bool fits = a->ids.n + ids.n <= g->m.room;
	if (!code && fits)
		sn_answer_ask(a, ids.at, ids.n);
	free(turn.s);
	free(ids.at);
	if (code || fits)
		return code;
	sn_note("the model's context of %lld tokens is full: the conversation begins anew", (long long)g->m.room);
	a->ids.n = 0;
	a->finish = SN_GOING;
	sn_stepper_restart(&g->m, 1);
	return say(g, a, text);
}

static int talk(Generator *g)
{
	struct sigaction act = {.sa_handler = on_interrupt}, old;
	SnAnswer a = {0}, *row = &a;
	bool asks = isatty(STDIN_FILENO);
	int code = SN_OK, refused = SN_OK;
	char *line;
	if (g->m.encode)
		return sn_fail(SN_USAGE, "%s reads a source beside its prompt: it can't chat", sn_text(g->o->entry->name));
	if (asks && !sn_given(g->o, "quiet"))
		sn_note("Ctrl-C ends an answer, Ctrl-D the conversation; /clear begins it anew");
	sigaction(SIGINT, &act, &old);
	g->q.interrupted = &interrupted;
	g->q.said = stream;
	sn_stepper_restart(&g->m, 1);
	while (!code && (interrupted = 0, line = read_line(asks))) {
		if (!strcmp(line, "/clear")) {
			a.ids.n = 0;
			sn_stepper_restart(&g->m, 1);
		} else if (*line) {
			g->left = 0;
			if ((refused = say(g, &a, line))) {     /* said why; what was said before still counts */
				free(line);
				continue;
			}
			code = sn_sequences_run(&g->q, &row, 1);
			if (!code && g->json)
				print_json(g, &a, line);
			else if (!code)
				putchar('\n');
			if (!code)
				code = finished(g);
		}
		free(line);
	}
	sigaction(SIGINT, &old, NULL);
	sn_answer_close(&a);
	return code ? code : interrupted ? SN_INTERRUPTED : refused;
}

/* --- opening */

static int open_tokenizer(Generator *g, const char *checkpoint)
{
	g->ids = sn_given(g->o, "ids");
	if (g->ids && sn_given(g->o, "prompt_ids") && !sn_given(g->o, "source"))
		return SN_OK;
	g->tokenizer = sn_data_weights_tokenizer(g->o, checkpoint, ", or --prompt-ids and --ids");
	return g->tokenizer ? SN_OK : SN_DATA;
}

/* A token of its own, or, where there are ids alone, the number of one; -1: a text. */
static int32_t stop_id(const Generator *g, const char *text)
{
	char *end;
	if (g->tokenizer)
		return sn_special(g->tokenizer, text);
	long id = strtol(text, &end, 10);
	return *end || id < 0 || id > INT32_MAX ? -1 : (int32_t)id;
}

static void add_stop(Generator *g, const char *text)
{
	SnStops *s = &g->stops;
	if (!*text || s->n == SN_MAX_LIST)
		return;
	s->text[s->n] = text;
	s->id[s->n++] = stop_id(g, text);
}

/* What the checkpoint says ends a text: an id, or a list of them. */
static void add_ends(Generator *g, json_t *config)
{
	json_t *e = json_object_get(config, "eos_token_id");
	for (size_t i = 0; i < (json_is_array(e) ? json_array_size(e) : 1); i++) {
		json_t *id = json_is_array(e) ? json_array_get(e, i) : e;
		if (json_is_integer(id) && json_integer_value(id) >= 0 && json_integer_value(id) < g->m.V && g->stops.n < SN_MAX_LIST)
			g->stops.id[g->stops.n++] = (int32_t)json_integer_value(id);
	}
}

static int find_ends(Generator *g, const char *checkpoint)
{
	static const char *const files[] = {"generation_config.json", "config.json"};
	int before = g->stops.n;
	for (int i = 0; i < 2 && g->stops.n == before && checkpoint && sn_is_dir(checkpoint); i++) {
		char *path = sn_format("%s/%s", checkpoint, files[i]);
		json_t *config = sn_exists(path) ? sn_json_read(path) : json_object();
		free(path);
		if (!config)
			return SN_DATA;
		add_ends(g, config);
		json_decref(config);
	}
	return SN_OK;
}

/* The flags' stops, else the entry's; and what always ends a text or a turn. */
static int find_stops(Generator *g, const char *checkpoint)
{
	const SnOptions *o = g->o;
	for (int i = 0; i < o->nstop; i++)
		add_stop(g, o->stop[i]);
	for (int i = 0; !o->nstop && i < SN_MAX_LIST; i++) {
		char key[24];
		snprintf(key, sizeof key, "stop.%d", i);
		const SnSetting *s = sn_setting(o->entry->settings, o->entry->nsetting, key);
		if (!s || !s->str)
			break;
		add_stop(g, s->str);
	}
	if (g->chat)
		add_stop(g, sn_chat_stop(g->chat));
	return sn_given(o, "ignore_eos") ? SN_OK : find_ends(g, checkpoint);
}

static void open_sampler(Generator *g, int64_t V)
{
	const SnOptions *o = g->o;
	g->sampler = (SnSampler){.temperature = sn_num(o, "sample.temperature", 1), .top_p = sn_num(o, "sample.top_p", 1),
		.min_p = sn_num(o, "sample.min_p", 0), .top_k = (int)fmin(sn_num(o, "sample.top_k", 0), 1 << 30), .seed = (uint32_t)sn_num(o, "seed", 1),
		.repetition = sn_num(o, "sample.repetition_penalty", 1), .presence = sn_num(o, "sample.presence_penalty", 0),
		.frequency = sn_num(o, "sample.frequency_penalty", 0)};
	sn_sampler_open(&g->sampler, V);
}

static int open_all(Generator *g, const char *checkpoint)
{
	const SnOptions *o = g->o;
	int code = open_tokenizer(g, checkpoint);
	if (!code && sn_given(o, "chat"))
		code = g->tokenizer ? sn_chat_find(o, checkpoint, &g->chat) : sn_fail(SN_USAGE, "--chat is for texts, not ids");
	if (!code)
		code = sn_session_start(&g->s, o->entry, o);
	if (!code)
		code = sn_stepper_open(&g->m, &g->s);
	if (!code)
		code = sn_model_load(&g->s, o, checkpoint);
	if (code)
		return code;
	int64_t known = g->tokenizer ? sn_tokenizer_size(g->tokenizer) : g->m.V;
	g->V = g->m.V < known ? g->m.V : known;
	open_sampler(g, g->m.V);
	if ((code = find_stops(g, checkpoint)))
		return code;
	g->json = sn_given(o, "json") || sn_given(o, "logprobs");
	g->q = (SnSequences){.m = &g->m, .tokenizer = g->tokenizer, .sampler = &g->sampler, .stops = &g->stops, .V = g->V, .ctx = g,
		.limit = (int64_t)sn_num(o, "limit", 128), .logprobs = sn_given(o, "logprobs") ? (int64_t)sn_num(o, "logprobs", 0) : -1};
	if ((code = sn_prepare(&g->s, o)) || sn_given(o, "propose"))
		return code;
	code = sn_draft_open(&g->draft, o, g->tokenizer, g->m.V, g->m.drafts);
	g->q.draft = g->draft.pid > 0 ? &g->draft : NULL;
	return code;
}

static int run(Generator *g, const SnPrompts *p)
{
	if (sn_given(g->o, "propose"))
		return sn_draft_serve(&g->m, g->tokenizer, g->V);
	if (p->n)
		return many(g, p);
	if (g->chat && !sn_given(g->o, "prompt"))
		return talk(g);
	if (!g->tokenizer || (sn_given(g->o, "prompt_ids") && !sn_given(g->o, "prompt")))
		return one(g, NULL);
	const char *prompt = sn_str(g->o, "prompt", "");
	if (strcmp(prompt, "-"))
		return one(g, prompt);
	size_t n;
	char *piped = sn_read_stdin(&n);
	if (!piped)
		return SN_DATA;
	int code = strlen(piped) == n ? one(g, piped) : sn_fail(SN_DATA, "standard input has a zero byte");
	free(piped);
	return code;
}

int sn_generate_main(const SnOptions *o)
{
	SnPrompts prompts = {0};
	char *checkpoint;
	if (sn_given(o, "prompts") && (sn_given(o, "prompt") || sn_given(o, "prompt_ids")))
		return sn_fail(SN_USAGE, "--prompts excludes --prompt and --prompt-ids");
	int code = sn_model_find(o, &checkpoint);
	if (code)
		return code;
	Generator g = {.o = o};
	if (sn_given(o, "prompts"))
		code = sn_prompts_read(&prompts, sn_str(o, "prompts", "-"));
	if (!code)
		code = open_all(&g, checkpoint);
	const SnStepTaps *taps = sn_taps_asked(o) ? o->entry->taps : NULL;
	if (!code && taps)
		code = taps->open(o, &g.m);
	if (!code)
		code = run(&g, &prompts);
	if (!code && taps)
		code = taps->write(&g.m);
	if (taps)
		taps->close(&g.m);
	sn_draft_close(&g.draft);
	sn_sampler_close(&g.sampler);
	sn_stepper_close(&g.m);
	sn_tokenizer_close(g.tokenizer);
	sn_session_close(&g.s);
	sn_prompts_close(&prompts);
	free(checkpoint);
	return code;
}
