/* generate.c: the prompt goes through the model in as few calls as its bound of T allows, then one token a call, the
 * cache growing with it, until the limit, a stop text, or the cache's end. Text leaves in whole UTF-8 characters, and
 * not before it is sure that it doesn't begin a stop text. */
#include "runtime/sn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct Generator {
	const SnOptions *o;
	const SnFunction *step;
	const SnSlot *tokens, *next;
	SnSession s;
	SnTokenizer *tokenizer;
	SnSampler sampler;
	int64_t chunk, room;          /* bounds of T and S */
	int64_t cached;               /* tokens in the cache */
	int64_t V;                    /* ids that can be drawn */
	const char *stop[SN_MAX_LIST];
	int32_t stop_id[SN_MAX_LIST]; /* -1: a text, not a token */
	int nstop;
	SnStr text;                   /* generated so far */
	size_t printed;
} Generator;

/* --- text out */

/* Bytes that are no UTF-8 leave as U+FFFD. */
static void emit(const char *s, size_t n)
{
	for (size_t at = 0; at < n;) {
		uint32_t code;
		int k = sn_utf8_read(s + at, n - at, &code);
		if (k)
			fwrite(s + at, 1, (size_t)k, stdout);
		else
			fputs("\xEF\xBF\xBD", stdout);
		at += k ? (size_t)k : 1;
	}
	fflush(stdout);
}

/* How many of the last bytes could begin a stop text. */
static size_t held(const Generator *g, const char *s, size_t n)
{
	size_t most = 0;
	for (int i = 0; i < g->nstop; i++) {
		size_t len = strlen(g->stop[i]);
		for (size_t k = len > n ? n : len - 1; g->stop_id[i] < 0 && k > most; k--)
			if (!memcmp(s + n - k, g->stop[i], k))
				most = k;
	}
	return most;
}

/* Prints what is sure; true if a stop text has come. */
static bool advance(Generator *g)
{
	const char *s = g->text.s + g->printed, *first = NULL;
	size_t n = g->text.n - g->printed;
	for (int i = 0; i < g->nstop; i++) {
		const char *at = g->stop_id[i] < 0 ? memmem(s, n, g->stop[i], strlen(g->stop[i])) : NULL;
		if (at && (!first || at < first))
			first = at;
	}
	size_t sure = first ? (size_t)(first - s) : sn_utf8_whole(s, n - held(g, s, n));
	emit(s, sure);
	g->printed += sure;
	return first != NULL;
}

/* --- the model */

static const float *feed(Generator *g, const int32_t *ids, int64_t n)
{
	*sn_dim(&g->s, "T") = n;
	*sn_dim(&g->s, "S") = g->cached + n;
	memcpy(g->s.arena + g->tokens->offset, ids, sizeof *ids * (size_t)n);
	sn_call(&g->s, g->step);
	g->cached += n;
	return (const float *)(g->s.arena + g->next->offset);
}

static const float *prefill(Generator *g, const SnIds *prompt)
{
	const float *logits = NULL;
	for (int64_t at = 0; at < prompt->n; at += g->chunk)
		logits = feed(g, prompt->at + at, prompt->n - at < g->chunk ? prompt->n - at : g->chunk);
	return logits;
}

static bool stops(const Generator *g, int32_t id)
{
	for (int i = 0; i < g->nstop; i++)
		if (g->stop_id[i] == id)
			return true;
	return false;
}

static bool usable(const float *logits, int64_t V)
{
	for (int64_t i = 0; i < V; i++)
		if (isnan(logits[i]))
			return false;
	return true;
}

/* Returns an exit code; *count: tokens drawn. */
static int decode(Generator *g, const float *logits, int64_t limit, int64_t *count)
{
	for (*count = 0; *count < limit;) {
		if (!usable(logits, g->V))
			return sn_fail(SN_FAIL, "the model's output is not a number");
		int32_t id = sn_sample(&g->sampler, logits, g->V, g->cached);
		++*count;
		if (stops(g, id))
			break;
		size_t n;
		const char *piece = sn_decode(g->tokenizer, id, &n);
		sn_str_add(&g->text, piece, n);
		if (advance(g))
			return SN_OK;
		if (*count == limit)
			break;
		if (g->cached == g->room) {
			sn_note("\nstopped: the model's context of %lld tokens is full", (long long)g->room);
			break;
		}
		logits = feed(g, &id, 1);
	}
	emit(g->text.s + g->printed, g->text.n - g->printed);
	return SN_OK;
}

/* --- the prompt */

static char *read_stdin(void)
{
	SnStr s = {0};
	char buf[4096];
	sn_str_add(&s, "", 0);
	for (ssize_t n; (n = read(STDIN_FILENO, buf, sizeof buf)) > 0;)
		sn_str_add(&s, buf, (size_t)n);
	return s.s;
}

/* What an empty prompt starts from: the tokenizer's start or end of text, else a line's end, else id 0. */
static int32_t start_id(const SnTokenizer *t)
{
	int32_t id = sn_bos(t);
	if (id < 0)
		id = sn_special(t, "<|endoftext|>");
	for (int32_t i = 0; id < 0 && i < sn_tokenizer_size(t); i++) {
		size_t n;
		const char *piece = sn_decode(t, i, &n);
		if (n == 1 && *piece == '\n')
			id = i;
	}
	return id < 0 ? 0 : id;
}

static int encode_prompt(const Generator *g, const char *text, SnIds *ids)
{
	int32_t bos = sn_bos(g->tokenizer);
	if (bos >= 0)
		sn_ids_add(ids, bos);
	int code = sn_encode(g->tokenizer, text, strlen(text), "the prompt", ids);
	if (!code && bos >= 0 && ids->n > 1 && ids->at[1] == bos)
		memmove(ids->at, ids->at + 1, sizeof *ids->at * (size_t)--ids->n);
	if (!code && !ids->n)
		sn_ids_add(ids, start_id(g->tokenizer));
	for (int64_t i = 0; i < ids->n && !code; i++)
		if (ids->at[i] >= g->V)
			code = sn_fail(SN_DATA, "the prompt has token id %d, but the model's vocabulary is %lld: is it the model's tokenizer?", ids->at[i], (long long)g->V);
	if (!code && ids->n > g->room)
		code = sn_fail(SN_DATA, "the prompt has %lld tokens; the model's context is %lld", (long long)ids->n, (long long)g->room);
	return code;
}

static void timing(const Generator *g, int64_t prompt, double prefill_time, int64_t count, double decode_time)
{
	if (sn_given(g->o, "quiet"))
		return;
	sn_note("prompt %lld tokens, %.3f s, %.1f/s; generated %lld, %.3f s, %.1f/s", (long long)prompt, prefill_time, (double)prompt / prefill_time,
	        (long long)count, decode_time, count > 1 ? (double)(count - 1) / decode_time : 0);
}

static int generate(Generator *g, const char *text)
{
	SnIds ids = {0};
	int64_t limit = (int64_t)sn_num(g->o, "limit", 128), count = 0;
	int code = encode_prompt(g, text, &ids);
	if (!code) {
		if (!sn_given(g->o, "no_echo"))
			emit(text, strlen(text));
		double started = sn_clock();
		const float *logits = prefill(g, &ids);
		double prefilled = sn_clock();
		code = decode(g, logits, limit, &count);
		double ended = sn_clock();
		if (isatty(STDOUT_FILENO) || !code)
			putchar('\n');
		fflush(stdout);
		if (!code && ferror(stdout))
			code = sn_fail(SN_FAIL, "can't write to standard output");
		if (!code)
			timing(g, ids.n, prefilled - started, count, ended - prefilled);
	}
	free(ids.at);
	return code;
}

/* --- opening */

static int find_parts(Generator *g)
{
	const SnEntry *e = g->o->entry;
	g->step = sn_function(e, "step");
	if (!g->step)
		return sn_fail(SN_FAIL, "%s has no step", sn_text(e->name));
	g->tokens = sn_tokens_slot(g->step);
	g->next = sn_slot(g->step, "next", true);
	g->chunk = sn_bound(e, "T");
	g->room = sn_bound(e, "S");
	if (!g->tokens)
		return SN_FAIL;
	if (!g->next || g->next->dtype != SN_F32 || g->chunk < 1 || g->room < 1)
		return sn_fail(SN_FAIL, "%s can't generate: it needs an output next f32[B,V] and dimensions T and S", sn_text(e->name));
	return SN_OK;
}

static const char *named_tokenizer(const SnOptions *o)
{
	const char *name = sn_str(o, "data.tokenizer", NULL);
	const SnEntry *e = o->program->entries;
	for (int64_t i = 0; i < o->program->nentry && !name; i++) {
		const SnSetting *s = sn_setting(e[i].settings, e[i].nsetting, "data.tokenizer");
		name = s && s->str && strcmp(s->str, "char") ? s->str : NULL;
	}
	return name;
}

static int open_tokenizer(Generator *g, const char *checkpoint)
{
	const char *name = sn_given(g->o, "data.tokenizer") ? sn_str(g->o, "data.tokenizer", NULL) : NULL;
	char *brought = sn_format("%s/tokenizer.json", checkpoint ? checkpoint : "."), *older = sn_format("%s/merges.txt", checkpoint ? checkpoint : ".");
	if (!name && checkpoint && sn_exists(brought))
		name = brought;
	if (!name && checkpoint && sn_exists(older))
		name = older;
	if (!name)
		name = checkpoint ? named_tokenizer(g->o) : "byte";   /* random weights make sense of no tokenizer */
	int code = SN_OK;
	if (!name || !strcmp(name, "char"))
		code = sn_fail(SN_DATA, "no tokenizer beside the weights: give one with --tokenizer");
	else if (!(g->tokenizer = sn_tokenizer_open(name, "", 0)))
		code = SN_DATA;
	free(brought);
	free(older);
	return code;
}

static int load(Generator *g, const char *checkpoint)
{
	if (checkpoint)
		return sn_weights_load(&g->s, g->o->program, checkpoint);
	sn_init_params(&g->s, (uint32_t)sn_num(g->o, "seed", 1));
	return SN_OK;
}

static void find_stops(Generator *g)
{
	const SnOptions *o = g->o;
	for (int i = 0; i < o->nstop; i++)
		g->stop[g->nstop++] = o->stop[i];
	for (int i = 0; !o->nstop && i < SN_MAX_LIST; i++) {
		char key[24];
		snprintf(key, sizeof key, "stop.%d", i);
		const SnSetting *s = sn_setting(o->entry->settings, o->entry->nsetting, key);
		if (!s || !s->str)
			break;
		g->stop[g->nstop++] = s->str;
	}
	int kept = 0;
	for (int i = 0; i < g->nstop; i++)
		if (*g->stop[i]) {
			g->stop[kept] = g->stop[i];
			g->stop_id[kept++] = sn_special(g->tokenizer, g->stop[i]);
		}
	g->nstop = kept;
}

static void open_sampler(Generator *g, int64_t V)
{
	const SnOptions *o = g->o;
	g->sampler = (SnSampler){.temperature = sn_num(o, "sample.temperature", 1), .top_p = sn_num(o, "sample.top_p", 1),
		.min_p = sn_num(o, "sample.min_p", 0), .top_k = (int)fmin(sn_num(o, "sample.top_k", 0), 1 << 30), .seed = (uint32_t)sn_num(o, "seed", 1)};
	sn_sampler_open(&g->sampler, V);
}

static int open_all(Generator *g, const char *checkpoint)
{
	int code = find_parts(g);
	if (!code)
		code = open_tokenizer(g, checkpoint);
	if (!code)
		code = sn_session_open(&g->s, g->o->entry, (int)sn_num(g->o, "threads", sn_cores()));
	if (!code)
		code = load(g, checkpoint);
	if (code)
		return code;
	int64_t shape[SN_MAX_RANK] = {0}, *B = sn_dim(&g->s, "B");
	if (B)
		*B = 1;
	*sn_dim(&g->s, "T") = *sn_dim(&g->s, "S") = 1;
	sn_slot_shape(&g->s, g->step, g->next, shape);
	int64_t V = shape[g->next->rank - 1], known = sn_tokenizer_size(g->tokenizer);
	g->V = V < known ? V : known;
	open_sampler(g, V);
	find_stops(g);
	const SnFunction *prepare = sn_function(g->o->entry, "prepare");
	if (prepare)
		sn_call(&g->s, prepare);
	return SN_OK;
}

int sn_generate_main(const SnOptions *o)
{
	const char *prompt = sn_str(o, "prompt", "");
	char *checkpoint;
	int code = sn_model_find(o, &checkpoint);
	if (code)
		return code;
	Generator g = {.o = o};
	char *piped = !strcmp(prompt, "-") ? read_stdin() : NULL;
	code = open_all(&g, checkpoint);
	if (!code)
		code = generate(&g, piped ? piped : prompt);
	sn_sampler_close(&g.sampler);
	sn_tokenizer_close(g.tokenizer);
	sn_session_close(&g.s);
	free(g.text.s);
	free(piped);
	free(checkpoint);
	return code;
}
