/* split.c: pre-tokenizers. Each takes a piece of text and hands on smaller ones to the next, which does so at once: no list of a
 * text's words is ever made. */
#include "runtime/tokens.h"

#include <stdlib.h>
#include <string.h>

#define GPT2_PATTERN "'(?:[stmd]|re|ve|ll)| ?+\\p{L}++| ?+\\p{N}++| ?+[^\\s\\p{L}\\p{N}]++|\\s+(?!\\S)|\\s+"
#define WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}"

typedef enum Behavior { REMOVED, ISOLATED, MERGED_WITH_PREVIOUS, MERGED_WITH_NEXT, CONTIGUOUS } Behavior;
enum { ALWAYS, FIRST, NEVER };
typedef struct Stage Stage;
typedef bool Test(const Stage *, uint32_t);
struct Stage {
	int (*run)(SnSplitting *, int stage, SnPiece);
	Behavior behavior;
	bool invert;
	SnPattern *pattern;           /* what matches: a pattern, a text, or characters */
	SnSpan text;
	Test *test;
	uint32_t code;                /* a delimiter */
	bool prefix, cut;             /* ByteLevel's add_prefix_space; Metaspace's split */
	int scheme;                   /* Metaspace's: ALWAYS, FIRST, NEVER */
	size_t length;                /* FixedLength's */
	char replacement[5];          /* Metaspace's */
};
struct SnSplitter { Stage at[SN_MAX_STAGES]; int n; json_t *json; };
struct SnSplitting {
	const SnSplitter *z;
	SnMatcher *matcher[SN_MAX_STAGES];
	SnStr spare[SN_MAX_STAGES];   /* rewritten pieces */
	SnSink *sink;
	void *ctx;
};

/* --- GPT-2's alphabet: printable bytes are themselves, the others 256, 257, .. in their order */

static bool printable(int b)
{
	return (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
}

uint32_t sn_byte_code(unsigned char b)
{
	if (printable(b))
		return b;
	return b <= ' ' ? 256u + b : b < 0xA1 ? 256u + 33 + (b - 0x7Fu) : 256u + 67;
}

/* The byte of a character; -1. */
static int byte_of(uint32_t c)
{
	if (c < 256)
		return printable((int)c) ? (int)c : -1;
	if (c < 256 + 33)
		return (int)c - 256;
	return c < 256 + 67 ? (int)c - 256 - 33 + 0x7F : c == 256 + 67 ? 0xAD : -1;
}

size_t sn_bytes_of(const char *s, size_t n, char *out)
{
	size_t len = 0;
	for (size_t at = 0; at < n;) {
		uint32_t c;
		int k = sn_utf8_read(s + at, n - at, &c), b = k ? byte_of(c) : -1;
		if (b < 0) {
			memcpy(out, s, n);
			return n;
		}
		out[len++] = (char)b;
		at += (size_t)k;
	}
	return len;
}

/* --- cutting at matches */

static int next(SnSplitting *x, int stage, SnPiece p)
{
	if (!p.n)
		return SN_OK;
	return stage + 1 < x->z->n ? x->z->at[stage + 1].run(x, stage + 1, p) : x->sink(x->ctx, p);
}

/* Spans of a piece come in order, each a match or what lies between matches; a piece waits where the next span may join it. */
typedef struct Cut { SnSplitting *x; int stage; SnPiece whole; size_t from, to; bool waits, was; } Cut;

static int hand_on(Cut *c, size_t from, size_t to)
{
	return next(c->x, c->stage, (SnPiece){c->whole.s + from, to - from, c->whole.first && !from});
}

static int release(Cut *c)
{
	int code = c->waits ? hand_on(c, c->from, c->to) : SN_OK;
	c->waits = false;
	return code;
}

/* Either the span joins what waits, or that goes and the span waits. */
static int join(Cut *c, bool joins, size_t from, size_t to)
{
	int code = SN_OK;
	if (!joins || !c->waits) {
		code = release(c);
		c->from = from;
	}
	c->to = to;
	c->waits = true;
	return code;
}

static int span(Cut *c, Behavior behavior, size_t from, size_t to, bool match)
{
	bool was = c->was;
	c->was = match;
	switch (behavior) {
	case REMOVED: return match ? SN_OK : hand_on(c, from, to);
	case ISOLATED: return hand_on(c, from, to);
	case CONTIGUOUS: return join(c, match == was, from, to);
	case MERGED_WITH_PREVIOUS: return join(c, match && !was, from, to);
	case MERGED_WITH_NEXT:
		if (match)
			return join(c, false, from, to);
		join(c, true, c->waits ? c->from : from, to);
		return release(c);
	}
	return SN_OK;
}

/* The next match from `at` on: 1 and its place, 0: none. */
static int find(SnSplitting *x, int stage, SnPiece p, size_t at, size_t *from, size_t *to)
{
	const Stage *g = &x->z->at[stage];
	if (g->pattern)
		return sn_matcher_next(x->matcher[stage], p.s, p.n, at, from, to);
	if (g->text.at) {
		const char *found = g->text.n ? memmem(p.s + at, p.n - at, g->text.at, g->text.n) : NULL;
		*from = found ? (size_t)(found - p.s) : 0;
		*to = *from + g->text.n;
		return found != NULL;
	}
	for (int k; at < p.n; at += (size_t)k) {
		uint32_t c;
		k = sn_utf8_read(p.s + at, p.n - at, &c);
		if (g->test(g, c)) {
			*from = at;
			*to = at + (size_t)k;
			return 1;
		}
	}
	return 0;
}

static int cut(SnSplitting *x, int stage, SnPiece p)
{
	const Stage *g = &x->z->at[stage];
	Cut c = {.x = x, .stage = stage, .whole = p};
	size_t done = 0, from, to;
	int found = 1, code = SN_OK;
	for (size_t at = 0; !code && at <= p.n && (found = find(x, stage, p, at, &from, &to)) > 0;) {
		if (from > done)
			code = span(&c, g->behavior, done, from, g->invert);
		if (!code && to > from)
			code = span(&c, g->behavior, from, to, !g->invert);
		done = to;
		at = to > from ? to : sn_utf8_after(p.s, p.n, to);
	}
	if (found < 0)
		return sn_fail(SN_DATA, "the tokenizer's pattern failed (PCRE2 error %d)", found);
	if (!code && done < p.n)
		code = span(&c, g->behavior, done, p.n, g->invert);
	return code ? code : release(&c);
}

/* --- stages that rewrite */

static void byte_chars(SnStr *out, const char *s, size_t n)
{
	char buf[256];
	size_t k = 0;
	for (size_t i = 0; i < n; i++) {
		unsigned char b = (unsigned char)s[i];
		if (b > ' ' && b < 0x7F)
			buf[k++] = s[i];
		else
			k += (size_t)sn_utf8_write(buf + k, sn_byte_code(b));
		if (k > sizeof buf - 4 || i + 1 == n) {
			sn_str_add(out, buf, k);
			k = 0;
		}
	}
}

/* As the last of ByteLevel's two halves: each piece in GPT-2's alphabet. */
static int to_alphabet(SnSplitting *x, int stage, SnPiece p)
{
	SnStr *out = &x->spare[stage];
	out->n = 0;
	byte_chars(out, p.s, p.n);
	return next(x, stage, (SnPiece){out->s, out->n, p.first});
}

/* The first half: a space before, and GPT-2's pattern. */
static int byte_level(SnSplitting *x, int stage, SnPiece p)
{
	const Stage *g = &x->z->at[stage];
	SnStr *out = &x->spare[stage];
	if (g->prefix && p.s[0] != ' ') {
		out->n = 0;
		sn_str_add(out, " ", 1);
		sn_str_add(out, p.s, p.n);
		p = (SnPiece){out->s, out->n, p.first};
	}
	return g->pattern ? cut(x, stage, p) : next(x, stage, p);
}

static int metaspace(SnSplitting *x, int stage, SnPiece p)
{
	const Stage *g = &x->z->at[stage];
	size_t k = strlen(g->replacement);
	bool there = p.s[0] == ' ' || (p.n >= k && !memcmp(p.s, g->replacement, k));
	SnStr *out = &x->spare[stage];
	out->n = 0;
	if (!there && (g->scheme == ALWAYS || (g->scheme == FIRST && p.first)))
		sn_str_add(out, g->replacement, k);
	for (size_t at = 0; at < p.n;) {
		const char *space = memchr(p.s + at, ' ', p.n - at);
		size_t n = (space ? (size_t)(space - p.s) : p.n) - at;
		sn_str_add(out, p.s + at, n);
		if (space)
			sn_str_add(out, g->replacement, k);
		at += n + (space != NULL);
	}
	SnPiece all = {out->s, out->n, p.first};
	return g->cut ? cut(x, stage, all) : next(x, stage, all);
}

static int fixed_length(SnSplitting *x, int stage, SnPiece p)
{
	int code = SN_OK;
	for (size_t at = 0, to; at < p.n && !code; at = to) {
		to = at;
		for (size_t i = 0; i < x->z->at[stage].length && to < p.n; i++)
			to = sn_utf8_after(p.s, p.n, to);
		code = next(x, stage, (SnPiece){p.s + at, to - at, p.first && !at});
	}
	return code;
}

/* --- what matches */

static bool is_white(const Stage *g, uint32_t c)
{
	return sn_uni_white(c);
}

static bool is_punct(const Stage *g, uint32_t c)
{
	return sn_uni_punct(c);
}

static bool is_number(const Stage *g, uint32_t c)
{
	return sn_uni_class(c) == SN_U_NUMBER;
}

static bool is_delimiter(const Stage *g, uint32_t c)
{
	return c == g->code;
}

/* --- reading: adds one stage or more */

static int read_behavior(json_t *j, Behavior otherwise, Behavior *out, const char *path)
{
	static const char *const names[] = {[REMOVED] = "Removed", [ISOLATED] = "Isolated", [MERGED_WITH_PREVIOUS] = "MergedWithPrevious",
		[MERGED_WITH_NEXT] = "MergedWithNext", [CONTIGUOUS] = "Contiguous"};
	const char *given = json_string_value(json_object_get(j, "behavior"));
	*out = otherwise;
	if (!given)
		return SN_OK;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		*out = (Behavior)i;
		if (!strcasecmp(given, names[i]))
			return SN_OK;
	}
	return sn_fail(SN_DATA, "%s: the pre-tokenizer %s has an unknown behavior \"%s\"", path, sn_type_of(j), given);
}

static Stage *new_stage(SnSplitter *z, Stage g)
{
	if (z->n == SN_MAX_STAGES)
		return NULL;
	z->at[z->n] = g;
	return &z->at[z->n++];
}

static int add(SnSplitter *z, Stage g, const char *path)
{
	return new_stage(z, g) ? SN_OK : sn_fail(SN_DATA, "%s: more than %d pre-tokenizers", path, SN_MAX_STAGES);
}

static int add_pattern(SnSplitter *z, Stage g, const char *pattern, const char *path)
{
	int code = add(z, g, path);
	if (code)
		return code;
	z->at[z->n - 1].pattern = sn_pattern_open(pattern, path);
	return z->at[z->n - 1].pattern ? SN_OK : SN_DATA;
}

static int read_byte_level(SnSplitter *z, json_t *j, const char *path)
{
	Stage g = {.run = byte_level, .behavior = ISOLATED, .prefix = sn_flag_of(j, "add_prefix_space", true)};
	int code = sn_flag_of(j, "use_regex", true) ? add_pattern(z, g, GPT2_PATTERN, path) : add(z, g, path);
	return code ? code : add(z, (Stage){.run = to_alphabet}, path);
}

static int read_split(SnSplitter *z, json_t *j, const char *path)
{
	json_t *pattern = json_object_get(j, "pattern");
	const char *regex = json_string_value(json_object_get(pattern, "Regex"));
	Stage g = {.run = cut, .invert = sn_flag_of(j, "invert", false), .text = sn_text_of(json_object_get(pattern, "String"))};
	int code = read_behavior(j, ISOLATED, &g.behavior, path);
	if (code)
		return code;
	if (!regex && !g.text.at)
		return sn_fail(SN_DATA, "%s: the pre-tokenizer Split has no pattern", path);
	return regex ? add_pattern(z, g, regex, path) : add(z, g, path);
}

static int read_metaspace(SnSplitter *z, json_t *j, const char *path)
{
	static const char *const schemes[] = {[ALWAYS] = "always", [FIRST] = "first", [NEVER] = "never"};
	const char *scheme = json_string_value(json_object_get(j, "prepend_scheme"));
	SnSpan text = sn_text_of(json_object_get(j, "replacement"));
	Stage g = {.run = metaspace, .behavior = MERGED_WITH_NEXT, .test = is_delimiter, .cut = sn_flag_of(j, "split", true)};
	if (!text.at)
		text = (SnSpan){"\xE2\x96\x81", 3};
	if (!text.n || text.n > 4 || (size_t)sn_utf8_read(text.at, text.n, &g.code) != text.n)
		return sn_fail(SN_DATA, "%s: the pre-tokenizer Metaspace's replacement is not one character", path);
	memcpy(g.replacement, text.at, text.n);
	if (!sn_flag_of(j, "add_prefix_space", true))
		g.scheme = NEVER;
	for (g.scheme = scheme ? ALWAYS : g.scheme; scheme && strcmp(scheme, schemes[g.scheme]); g.scheme++)
		if (g.scheme == NEVER)
			return sn_fail(SN_DATA, "%s: the pre-tokenizer Metaspace has an unknown prepend_scheme \"%s\"", path, scheme);
	return add(z, g, path);
}

static int read_whitespace(SnSplitter *z, json_t *j, const char *path)
{
	return add_pattern(z, (Stage){.run = cut, .behavior = REMOVED, .invert = true}, "[" WORD "]+|[^" WORD "\\s]+", path);
}

static int read_whitespace_split(SnSplitter *z, json_t *j, const char *path)
{
	return add(z, (Stage){.run = cut, .behavior = REMOVED, .test = is_white}, path);
}

static int read_bert(SnSplitter *z, json_t *j, const char *path)
{
	int code = read_whitespace_split(z, j, path);
	return code ? code : add(z, (Stage){.run = cut, .behavior = ISOLATED, .test = is_punct}, path);
}

static int read_punctuation(SnSplitter *z, json_t *j, const char *path)
{
	Stage g = {.run = cut, .test = is_punct};
	int code = read_behavior(j, ISOLATED, &g.behavior, path);
	return code ? code : add(z, g, path);
}

static int read_digits(SnSplitter *z, json_t *j, const char *path)
{
	return add(z, (Stage){.run = cut, .behavior = sn_flag_of(j, "individual_digits", false) ? ISOLATED : CONTIGUOUS, .test = is_number}, path);
}

static int read_delimiter(SnSplitter *z, json_t *j, const char *path)
{
	SnSpan text = sn_text_of(json_object_get(j, "delimiter"));
	Stage g = {.run = cut, .behavior = REMOVED, .test = is_delimiter};
	if (!text.n || (size_t)sn_utf8_read(text.at, text.n, &g.code) != text.n)
		return sn_fail(SN_DATA, "%s: the pre-tokenizer CharDelimiterSplit's delimiter is not one character", path);
	return add(z, g, path);
}

static int read_fixed_length(SnSplitter *z, json_t *j, const char *path)
{
	json_t *length = json_object_get(j, "length");
	json_int_t n = length ? json_integer_value(length) : 5;
	if (n < 1)
		return sn_fail(SN_DATA, "%s: the pre-tokenizer FixedLength's length is not a number above 0", path);
	return add(z, (Stage){.run = fixed_length, .length = (size_t)n}, path);
}

static const struct { const char *name; int (*read)(SnSplitter *, json_t *, const char *path); } kinds[] = {
	{"ByteLevel", read_byte_level}, {"Whitespace", read_whitespace}, {"WhitespaceSplit", read_whitespace_split}, {"BertPreTokenizer", read_bert},
	{"Metaspace", read_metaspace}, {"Split", read_split}, {"Punctuation", read_punctuation}, {"Digits", read_digits}, {"CharDelimiterSplit", read_delimiter},
	{"FixedLength", read_fixed_length},
};

SnSplitter *sn_splitter_open(json_t *json, const char *path)
{
	json_t *stages[SN_MAX_STAGES];
	SnSplitter *z = sn_alloc(sizeof *z);
	z->json = json_incref(json);
	int n, code = sn_stage_list(json, "pretokenizers", "pre-tokenizer", path, stages, &n);
	for (int i = 0; i < n && !code; i++) {
		int kind = sn_stage_find(stages[i], "pre-tokenizer", &kinds[0].name, sizeof *kinds, sizeof kinds / sizeof *kinds, path);
		code = kind < 0 ? SN_DATA : kinds[kind].read(z, stages[i], path);
		sn_uni_load();
	}
	if (!code)
		return z;
	sn_splitter_close(z);
	return NULL;
}

void sn_splitter_close(SnSplitter *z)
{
	if (!z)
		return;
	for (int i = 0; i < z->n; i++)
		sn_pattern_close(z->at[i].pattern);
	json_decref(z->json);
	free(z);
}

SnSplitting *sn_splitting_open(const SnSplitter *z)
{
	SnSplitting *x = sn_alloc(sizeof *x);
	x->z = z;
	for (int i = 0; i < z->n; i++)
		x->matcher[i] = z->at[i].pattern ? sn_matcher_open(z->at[i].pattern) : NULL;
	return x;
}

void sn_splitting_close(SnSplitting *x)
{
	for (int i = 0; i < x->z->n; i++) {
		sn_matcher_close(x->matcher[i]);
		free(x->spare[i].s);
	}
	free(x);
}

int sn_split(SnSplitting *x, SnPiece p, SnSink *sink, void *ctx)
{
	x->sink = sink;
	x->ctx = ctx;
	if (!p.n)
		return SN_OK;
	return x->z->n ? x->z->at[0].run(x, 0, p) : sink(ctx, p);
}
