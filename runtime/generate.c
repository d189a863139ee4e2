/* generate.c: the prompt goes through the model (stepper.c), then one token a call, until the limit, a stop text, or the
 * context's end; or a beam search does (beam.c). Text leaves in whole UTF-8 characters, and not before it is sure that it
 * doesn't begin a stop text. With --ids ids leave instead, and with --prompt-ids too nothing needs a tokenizer. */
#include "runtime/sn.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct Generator {
	const SnOptions *o;
	SnSession s;
	SnStepper m;
	SnTokenizer *tokenizer;       /* NULL: ids alone */
	SnSampler sampler;
	bool ids;                     /* print ids, not text */
	bool begun;                   /* of ids: one is printed */
	bool first;                   /* what is generated next begins a text: the prompt has none */
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

static void print_id(Generator *g, int32_t id)
{
	printf(g->begun ? " %d" : "%d", id);
	g->begun = true;
	fflush(stdout);
}

/* One more token, as text or id; true if a stop text has come. */
static bool add_token(Generator *g, int32_t id)
{
	if (g->ids)
		print_id(g, id);
	if (!g->tokenizer)
		return false;
	sn_decode_piece(g->tokenizer, id, g->first, &g->text);
	g->first = false;
	if (!g->ids)
		return advance(g);
	for (int i = 0; i < g->nstop; i++)
		if (g->stop_id[i] < 0 && memmem(g->text.s, g->text.n, g->stop[i], strlen(g->stop[i])))
			return true;
	return false;
}

/* Returns an exit code; *count: tokens drawn. */
static int decode(Generator *g, const float *logits, int64_t limit, int64_t *count)
{
	for (*count = 0; *count < limit;) {
		if (!usable(logits, g->V))
			return sn_fail(SN_FAIL, "the model's output is not a number");
		int32_t id = sn_sample(&g->sampler, logits, g->V, g->m.cached);
		++*count;
		if (stops(g, id))
			break;
		if (add_token(g, id))
			return SN_OK;
		if (*count == limit)
			break;
		if (g->m.cached == g->m.room) {
			sn_note("\nstopped: the model's context of %lld tokens is full", (long long)g->m.room);
			break;
		}
		logits = sn_stepper_feed(&g->m, &id, 1);
	}
	if (!g->ids)
		emit(g->text.s + g->printed, g->text.n - g->printed);
	return SN_OK;
}

/* Does a sequence of the beam end with its last id? The text is made anew each time: stops are few and short. */
static bool ends(void *ctx, const int32_t *ids, int64_t n)
{
	Generator *g = ctx;
	SnStr text = {0};
	bool found = stops(g, ids[n - 1]), texts = false;
	for (int i = 0; i < g->nstop; i++)
		texts |= g->stop_id[i] < 0;
	for (int64_t i = 0; i < n && texts && g->tokenizer && !found; i++)
		sn_decode_piece(g->tokenizer, ids[i], false, &text);
	for (int i = 0; i < g->nstop && text.n; i++)
		found |= g->stop_id[i] < 0 && memmem(text.s, text.n, g->stop[i], strlen(g->stop[i]));
	free(text.s);
	return found;
}

static int decode_beam(Generator *g, const float *logits, int64_t width, int64_t limit, int64_t *count)
{
	SnIds out = {0};
	SnBeam b = {.width = width, .limit = limit, .V = g->V, .ends = ends, .ctx = g};
	int code = limit > 0 ? sn_beam_search(&g->m, &b, logits, &out) : SN_OK;
	*count = out.n;
	for (int64_t i = 0; i < out.n && !stops(g, out.at[i]); i++)
		if (add_token(g, out.at[i]))
			break;
	bool stopped = g->nstop && out.n && ends(g, out.at, out.n);
	if (!g->ids && !code && !stopped)
		emit(g->text.s + g->printed, g->text.n - g->printed);
	free(out.at);
	return code;
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

static int encode_text(const Generator *g, const char *text, SnIds *ids)
{
	int32_t bos = sn_bos(g->tokenizer);
	if (bos >= 0)
		sn_ids_add(ids, bos);
	int code = sn_encode(g->tokenizer, text, strlen(text), "the prompt", ids);
	if (!code && bos >= 0 && ids->n > 1 && ids->at[1] == bos)
		memmove(ids->at, ids->at + 1, sizeof *ids->at * (size_t)--ids->n);
	if (!code && !ids->n)
		sn_ids_add(ids, start_id(g->tokenizer));
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

static int encode_prompt(const Generator *g, const char *text, SnIds *ids)
{
	const char *given = sn_str(g->o, "prompt_ids", NULL);
	int code = given ? read_ids(given, ids) : encode_text(g, text, ids);
	for (int64_t i = 0; i < ids->n && !code; i++)
		if (ids->at[i] >= g->m.V)
			code = sn_fail(SN_DATA, "the prompt has token id %d, but the model's vocabulary is %lld%s", ids->at[i], (long long)g->m.V,
			               given ? "" : ": is it the model's tokenizer?");
	if (!code && ids->n > g->m.room)
		code = sn_fail(SN_DATA, "the prompt has %lld tokens; the model's context is %lld", (long long)ids->n, (long long)g->m.room);
	return code;
}

static void echo(Generator *g, const char *text, const SnIds *ids)
{
	if (sn_given(g->o, "no_echo"))
		return;
	for (int64_t i = 0; i < ids->n && g->ids; i++)
		print_id(g, ids->at[i]);
	SnStr begun = {0};
	for (int64_t i = 0; i < ids->n && !g->ids && sn_given(g->o, "prompt_ids"); i++)
		sn_decode_piece(g->tokenizer, ids->at[i], !i, &begun);
	emit(begun.s ? begun.s : "", begun.n);
	free(begun.s);
	if (!g->ids && !sn_given(g->o, "prompt_ids"))
		emit(text, strlen(text));
}

/* Sequences to follow: what the entry or --beam says, unless a flag asks for drawing; *width: 0 or 1: none. */
static int beam_width(const Generator *g, int64_t *width)
{
	static const char *const drawing[] = {"sample.temperature", "sample.top_k", "sample.top_p", "sample.min_p"};
	bool draws = false;
	*width = (int64_t)sn_num(g->o, "sample.beam", 0);
	for (int i = 0; i < 4; i++)
		draws |= sn_given(g->o, drawing[i]);
	if (draws && !sn_given(g->o, "sample.beam"))
		*width = 0;
	if (*width > 1 && *width > g->m.width)
		return sn_fail(SN_USAGE, "--beam %lld: this program was compiled for %lld sequences at most: build it with --set %s.B=%lld",
		               (long long)*width, (long long)g->m.width, sn_text(g->o->entry->name), (long long)*width);
	return SN_OK;
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
	int64_t limit = (int64_t)sn_num(g->o, "limit", 128), count = 0, width = 0;
	int code = encode_prompt(g, text, &ids);
	g->first = !*text && !sn_given(g->o, "prompt_ids");
	if (!code)
		code = beam_width(g, &width);
	double started = sn_clock();
	if (!code)
		code = sn_stepper_encode(&g->m, g->o, g->tokenizer);
	if (!code) {
		echo(g, text, &ids);
		const float *logits = sn_stepper_prefill(&g->m, ids.at, ids.n);
		double prefilled = sn_clock();
		code = width > 1 ? decode_beam(g, logits, width, limit, &count) : decode(g, logits, limit, &count);
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
	g->ids = sn_given(g->o, "ids");
	if (g->ids && sn_given(g->o, "prompt_ids") && !sn_given(g->o, "source"))
		return SN_OK;
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
		code = sn_fail(SN_DATA, "no tokenizer beside the weights: give one with --tokenizer (byte or a file), or --prompt-ids and --ids");
	else if (!(g->tokenizer = sn_tokenizer_open(name, "", 0)))
		code = SN_DATA;
	free(brought);
	free(older);
	return code;
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
			g->stop_id[kept++] = stop_id(g, g->stop[i]);
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
	int code = open_tokenizer(g, checkpoint);
	if (!code)
		code = sn_session_start(&g->s, g->o->entry, g->o);
	if (!code)
		code = sn_stepper_open(&g->m, &g->s);
	if (!code)
		code = sn_model_load(&g->s, g->o, checkpoint);
	if (code)
		return code;
	int64_t known = g->tokenizer ? sn_tokenizer_size(g->tokenizer) : g->m.V;
	g->V = g->m.V < known ? g->m.V : known;
	open_sampler(g, g->m.V);
	find_stops(g);
	return sn_prepare(&g->s, g->o);
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
	sn_stepper_close(&g.m);
	sn_tokenizer_close(g.tokenizer);
	sn_session_close(&g.s);
	free(g.text.s);
	free(piped);
	free(checkpoint);
	return code;
}
