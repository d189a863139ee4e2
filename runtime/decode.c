/* decode.c: decoders: from a list of tokens to a list of texts, one after another; what the last leaves is put together. A token that is
 * decoded alone, as it is generated, goes the same way: what depends on neighbours then depends on whether it is the first. */
#include "runtime/tokens.h"

#include <stdlib.h>
#include <string.h>

typedef struct Stage Stage;
typedef struct Context { bool piece, first, fused; } Context;   /* fused: the list is one text by now */
struct Stage {
	int (*run)(const Stage *, Context *, const SnStrings *, SnStrings *out);
	SnReplace by;                 /* Replace; of others the text that they look for */
	int64_t start, stop;
	bool flag;                    /* WordPiece's cleanup; Metaspace's prefix */
};
struct SnDecoder { Stage at[SN_MAX_STAGES]; int n; bool blanks; json_t *json; };   /* blanks: no decoder, tokens with blanks between */

void sn_strings_add(SnStrings *l, const char *s, size_t n)
{
	if (l->n == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 64;
		l->end = sn_realloc(l->end, sizeof *l->end * (size_t)l->cap);
	}
	sn_str_add(&l->text, s, n);
	l->end[l->n++] = l->text.n;
}

void sn_strings_close(SnStrings *l)
{
	free(l->text.s);
	free(l->end);
}

static SnSpan string_at(const SnStrings *l, int64_t i)
{
	size_t from = i ? l->end[i - 1] : 0;
	return (SnSpan){l->text.s + from, l->end[i] - from};
}

/* --- stages */

static int byte_level(const Stage *g, Context *x, const SnStrings *in, SnStrings *out)
{
	SnStr bytes = {0}, text = {0};
	for (int64_t i = 0; i < in->n; i++) {
		SnSpan s = string_at(in, i);
		char *room = sn_alloc(s.n + 1);
		sn_str_add(&bytes, room, sn_bytes_of(s.at, s.n, room));
		free(room);
	}
	if (!x->piece)
		sn_utf8_mend(&text, bytes.s ? bytes.s : "", bytes.n);
	const SnStr *all = x->piece ? &bytes : &text;
	sn_strings_add(out, all->s ? all->s : "", all->n);
	free(bytes.s);
	free(text.s);
	x->fused = true;
	return SN_OK;
}

/* English, put together again: as Hugging Face's clean_up_tokenization. */
static void clean(SnStr *s)
{
	static const char *const pairs[][2] = {{" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"}, {" n't", "n't"}, {" 'm", "'m"},
		{" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
	for (size_t i = 0; i < sizeof pairs / sizeof *pairs && s->n; i++) {
		SnStr next = {0};
		SnReplace r = {.text = {pairs[i][0], strlen(pairs[i][0])}, .content = {pairs[i][1], strlen(pairs[i][1])}};
		sn_replace_run(&r, s->s, s->n, &next);
		free(s->s);
		*s = next;
	}
}

static int wordpiece(const Stage *g, Context *x, const SnStrings *in, SnStrings *out)
{
	for (int64_t i = 0; i < in->n; i++) {
		SnSpan s = string_at(in, i);
		SnStr text = {0};
		bool head = !i && x->first, goes_on = !head && g->by.text.n && s.n >= g->by.text.n && !memcmp(s.at, g->by.text.at, g->by.text.n);
		if (!head && !goes_on)
			sn_str_add(&text, " ", 1);
		size_t cut = goes_on ? g->by.text.n : 0;
		sn_str_add(&text, s.at + cut, s.n - cut);
		if (g->flag)
			clean(&text);
		sn_strings_add(out, text.s ? text.s : "", text.n);
		free(text.s);
	}
	return SN_OK;
}

static int metaspace(const Stage *g, Context *x, const SnStrings *in, SnStrings *out)
{
	for (int64_t i = 0; i < in->n; i++) {
		SnStr text = {0};
		bool gone = !i && x->first && g->flag;
		SnReplace r = {.text = g->by.text, .content = {" ", !gone}};
		sn_replace_run(&r, string_at(in, i).at, string_at(in, i).n, &text);
		sn_strings_add(out, text.s, text.n);
		free(text.s);
	}
	return SN_OK;
}

static int byte_named(SnSpan s)
{
	if (s.n != 6 || memcmp(s.at, "<0x", 3) || s.at[5] != '>')
		return -1;
	char digits[3] = {s.at[3], s.at[4], 0}, *end;
	bool plain = strspn(digits, "0123456789abcdefABCDEF") == 2;
	return plain ? (int)strtol(digits, &end, 16) : -1;
}

/* Bytes that together are UTF-8 are that text, else each is U+FFFD. */
static void end_bytes(const Context *x, SnStr *bytes, SnStrings *out)
{
	if (bytes->n && (x->piece || sn_utf8_valid(bytes->s, bytes->n) == bytes->n))
		sn_strings_add(out, bytes->s, bytes->n);
	else
		for (size_t i = 0; i < bytes->n; i++)
			sn_strings_add(out, "\xEF\xBF\xBD", 3);
	bytes->n = 0;
}

static int byte_fallback(const Stage *g, Context *x, const SnStrings *in, SnStrings *out)
{
	SnStr bytes = {0};
	for (int64_t i = 0; i < in->n; i++) {
		SnSpan s = string_at(in, i);
		int byte = byte_named(s);
		if (byte >= 0) {
			sn_str_add(&bytes, &(char){(char)byte}, 1);
			continue;
		}
		end_bytes(x, &bytes, out);
		sn_strings_add(out, s.at, s.n);
	}
	end_bytes(x, &bytes, out);
	free(bytes.s);
	return SN_OK;
}

static int fuse(const Stage *g, Context *x, const SnStrings *in, SnStrings *out)
{
	sn_strings_add(out, in->text.s ? in->text.s : "", in->text.n);
	x->fused = true;
	return SN_OK;
}

/* At most start and stop times the character; of a text that goes on elsewhere only what is at hand. */
static int strip(const Stage *g, Context *x, const SnStrings *in, SnStrings *out)
{
	for (int64_t i = 0; i < in->n; i++) {
		SnSpan s = string_at(in, i);
		bool begins = !x->piece || !x->fused || x->first, ends = !x->piece || !x->fused;
		for (int64_t k = 0; begins && k < g->start && s.n >= g->by.text.n && !memcmp(s.at, g->by.text.at, g->by.text.n); k++)
			s = (SnSpan){s.at + g->by.text.n, s.n - g->by.text.n};
		for (int64_t k = 0; ends && k < g->stop && s.n >= g->by.text.n && !memcmp(s.at + s.n - g->by.text.n, g->by.text.at, g->by.text.n); k++)
			s.n -= g->by.text.n;
		sn_strings_add(out, s.at, s.n);
	}
	return SN_OK;
}

/* Each by itself. */
static int replace_each(const SnReplace *r, const SnStrings *in, SnStrings *out)
{
	int code = SN_OK;
	SnStr text = {0};
	for (int64_t i = 0; i < in->n && !code; i++) {
		SnSpan s = string_at(in, i);
		text.n = 0;
		code = sn_replace_run(r, s.at, s.n, &text);
		sn_strings_add(out, text.s, text.n);
	}
	free(text.s);
	return code;
}

static int replace(const Stage *g, Context *x, const SnStrings *in, SnStrings *out)
{
	return replace_each(&g->by, in, out);
}

/* The end of a word is a blank, but for the last. */
static int bpe_decoder(const Stage *g, Context *x, const SnStrings *in, SnStrings *out)
{
	for (int64_t i = 0; i < in->n; i++) {
		SnStr text = {0};
		SnReplace r = {.text = g->by.text, .content = {" ", x->piece || i + 1 < in->n}};
		sn_replace_run(&r, string_at(in, i).at, string_at(in, i).n, &text);
		sn_strings_add(out, text.s, text.n);
		free(text.s);
	}
	return SN_OK;
}

/* --- reading */

static int read_wordpiece(Stage *g, json_t *j, const char *path)
{
	g->by.text = sn_text_of(json_object_get(j, "prefix"));
	g->flag = sn_flag_of(j, "cleanup", true);
	return g->by.text.at ? SN_OK : sn_fail(SN_DATA, "%s: the decoder WordPiece has no prefix", path);
}

static int read_metaspace(Stage *g, json_t *j, const char *path)
{
	const char *scheme = json_string_value(json_object_get(j, "prepend_scheme"));
	g->by.text = sn_text_of(json_object_get(j, "replacement"));
	g->flag = scheme ? strcmp(scheme, "never") != 0 : sn_flag_of(j, "add_prefix_space", true);
	return g->by.text.n ? SN_OK : sn_fail(SN_DATA, "%s: the decoder Metaspace has no replacement", path);
}

static int read_strip(Stage *g, json_t *j, const char *path)
{
	g->by.text = sn_text_of(json_object_get(j, "content"));
	g->start = json_integer_value(json_object_get(j, "start"));
	g->stop = json_integer_value(json_object_get(j, "stop"));
	return g->by.text.n ? SN_OK : sn_fail(SN_DATA, "%s: the decoder Strip has no content", path);
}

static int read_replace(Stage *g, json_t *j, const char *path)
{
	return sn_replace_read(&g->by, j, "decoder", path);
}

static int read_bpe(Stage *g, json_t *j, const char *path)
{
	g->by.text = sn_text_of(json_object_get(j, "suffix"));
	if (!g->by.text.at)
		g->by.text = (SnSpan){"</w>", 4};
	return SN_OK;
}

static const struct {
	const char *name;
	int (*read)(Stage *, json_t *, const char *path);         /* NULL: no options */
	int (*run)(const Stage *, Context *, const SnStrings *, SnStrings *out);
} kinds[] = {
	{"ByteLevel", NULL, byte_level}, {"WordPiece", read_wordpiece, wordpiece}, {"Metaspace", read_metaspace, metaspace}, {"ByteFallback", NULL, byte_fallback},
	{"Fuse", NULL, fuse}, {"Strip", read_strip, strip}, {"Replace", read_replace, replace}, {"BPEDecoder", read_bpe, bpe_decoder},
};

SnDecoder *sn_decoder_open(json_t *json, const char *path)
{
	json_t *stages[SN_MAX_STAGES];
	SnDecoder *d = sn_alloc(sizeof *d);
	d->json = json_incref(json);
	d->blanks = !json || json_is_null(json);
	int n, code = sn_stage_list(json, "decoders", "decoder", path, stages, &n);
	for (int i = 0; i < n && !code; i++) {
		int kind = sn_stage_find(stages[i], "decoder", &kinds[0].name, sizeof *kinds, sizeof kinds / sizeof *kinds, path);
		if (kind < 0) {
			code = SN_DATA;
			break;
		}
		Stage *g = &d->at[d->n++];
		g->run = kinds[kind].run;
		code = kinds[kind].read ? kinds[kind].read(g, stages[i], path) : SN_OK;
	}
	if (!code)
		return d;
	sn_decoder_close(d);
	return NULL;
}

void sn_decoder_close(SnDecoder *d)
{
	if (!d)
		return;
	for (int i = 0; i < d->n; i++)
		sn_pattern_close(d->at[i].by.pattern);
	json_decref(d->json);
	free(d);
}

int sn_decoder_run(const SnDecoder *d, SnStrings *l, bool piece, bool first, SnStr *out)
{
	Context x = {.piece = piece, .first = first};
	int code = SN_OK;
	for (int i = 0; i < d->n && !code; i++) {
		SnStrings next = {0};
		sn_str_add(&next.text, "", 0);
		code = d->at[i].run(&d->at[i], &x, l, &next);
		sn_strings_close(l);
		*l = next;
	}
	for (int64_t i = 0; i < l->n; i++) {
		SnSpan s = string_at(l, i);
		if (d->blanks && (i || !first))
			sn_str_add(out, " ", 1);
		sn_str_add(out, s.at, s.n);
	}
	return code;
}
