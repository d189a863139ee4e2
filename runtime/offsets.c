/* offsets.c: where in a text each of its pieces is from. The tokenizer's stages are run once more with an eye on places, so that encoding
 * without them costs nothing: added tokens and most pre-tokenizers hand on parts of the text itself; byte-level ones words in GPT-2's alphabet,
 * whose bytes follow one another in the text; a normalizer's result is laid against the results of the text's characters, each with the
 * marks on it. Where this does not come out, no places are told: `lost`. */
#include "runtime/tokens.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ASCII = 128 };
typedef struct Extent { int32_t from, to; } Extent;           /* bytes of the text */

struct SnOffsets {
	const SnTokenizer *t;
	SnStages g;
	bool trims;
	SnSplitting *splitting;
	SnScratch scratch;
	SnStr normal, one, two, bytes, ascii[ASCII];   /* ascii: what the normalizer makes of each; n 0 and s NULL: not asked yet */
	SnIds ids;                    /* of a word */
	Extent *map;                  /* (normal.n) */
	size_t room;
	const char *text;             /* the text at hand */
	size_t n;
	const char *base;             /* what is cut into words: the normalizer's result, or a part of the text; of basen bytes */
	size_t basen, at;             /* at: behind the last word in it */
	bool mapped;                  /* by map; or: base is the text's */
	SnPlaces *out;
	bool lost;
};

/* --- results */

static void put(SnOffsets *o, int32_t id, size_t from, size_t to)
{
	while (from > 0 && from < o->n && (o->text[from] & 0xC0) == 0x80)
		from--;
	while (to < o->n && (o->text[to] & 0xC0) == 0x80)
		to++;
	sn_ids_add(&o->out->ids, id);
	sn_ids_add(&o->out->from, (int32_t)from);
	sn_ids_add(&o->out->to, (int32_t)to);
}

/* Bytes from..to of base. Byte-level pieces have blanks that are no part of what they stand for. */
static void put_part(SnOffsets *o, int32_t id, size_t from, size_t to)
{
	size_t start = o->mapped ? 0 : (size_t)(o->base - o->text);
	size_t a = start + from, b = start + to;
	if (o->mapped) {
		a = from < o->basen ? (size_t)o->map[from].from : o->n;
		b = to > from ? (size_t)o->map[to - 1].to : a;
	}
	for (; o->trims && a < b && o->text[a] == ' '; a++)
		;
	for (; o->trims && b > a && o->text[b - 1] == ' '; b--)
		;
	put(o, id, a, b);
}

/* --- the model */

static size_t count(const char *s, size_t n)
{
	size_t chars = 0;
	for (size_t i = 0; i < n; i++)
		chars += (s[i] & 0xC0) != 0x80;
	return chars;
}

/* The part of a word from byte `at` on that a token stands for: its length, 0 where it is none. */
static size_t length_of(const SnOffsets *o, SnPiece w, size_t at, int32_t id)
{
	SnSpan token = o->g.model->lex.tokens[id];
	if (at && o->g.model->kind == &sn_wordpiece && token.n > 2 && !memcmp(token.at, "##", 2))
		token = (SnSpan){token.at + 2, token.n - 2};
	return token.n <= w.n - at && !memcmp(token.at, w.s + at, token.n) ? token.n : 0;
}

/* The word's tokens, where it is base[from..to): in GPT-2's alphabet a character is a byte, and the first of them may be a blank that is not there. */
static void put_word(SnOffsets *o, SnPiece w, size_t from, size_t to, bool alphabet, size_t skip)
{
	const SnModel *m = o->g.model;
	o->ids.n = 0;
	m->kind->word(m, &o->scratch, w.s, w.n, &o->ids);
	size_t at = 0;
	for (int64_t i = 0; i < o->ids.n; i++) {
		size_t k = length_of(o, w, at, o->ids.at[i]);
		if (!k && o->ids.n == 1 && o->ids.at[0] == m->unk) {
			put_part(o, m->unk, from, to);
			return;
		}
		o->lost |= !k;
		size_t a = alphabet ? count(w.s, at) : at, b = alphabet ? count(w.s, at + k) : at + k;
		put_part(o, o->ids.at[i], from + (a > skip ? a - skip : 0), from + (b > skip ? b - skip : 0));
		at += k;
	}
	o->lost |= at != w.n;
}

/* --- words */

static int take_word(void *ctx, SnPiece w)
{
	SnOffsets *o = ctx;
	uintptr_t base = (uintptr_t)o->base, s = (uintptr_t)w.s;
	if (s >= base && s + w.n <= base + o->basen) {
		put_word(o, w, s - base, s - base + w.n, false, 0);
		o->at = s - base + w.n;
		return SN_OK;
	}
	o->bytes.n = 0;
	sn_str_add(&o->bytes, w.s, w.n);
	size_t n = sn_bytes_of(w.s, w.n, o->bytes.s), left = o->basen - o->at;
	size_t skip = n && o->bytes.s[0] == ' ' && (!left || o->base[o->at] != ' ');
	if (n - skip > left || memcmp(o->bytes.s + skip, o->base + o->at, n - skip)) {
		o->lost = true;
		return SN_OK;
	}
	put_word(o, w, o->at, o->at + n - skip, true, skip);
	o->at += n - skip;
	return SN_OK;
}

static int take_normal(void *ctx, SnPiece t, const SnAdded *added)
{
	SnOffsets *o = ctx;
	o->at = (size_t)(t.s - o->base);
	if (!added)
		return sn_split(o->splitting, t, take_word, o);
	put_part(o, added->id, o->at, o->at + t.n);
	return SN_OK;
}

/* --- normalizers */

/* A character with the marks, or Hangul's vowels and ends, that may become one with it. */
static size_t cluster(const char *s, size_t n)
{
	uint32_t c;
	size_t at = (size_t)sn_utf8_read(s, n, &c);
	while (at < n && (unsigned char)s[at] >= 0x80) {
		size_t k = (size_t)sn_utf8_read(s + at, n - at, &c);
		if (!sn_uni_mark(c) && !(c >= 0x1160 && c <= 0x11FF))
			break;
		at += k;
	}
	return at;
}

static int normal_of(SnOffsets *o, const char *s, size_t n, SnStr *spare, const SnStr **out)
{
	bool ascii = n == 1 && (unsigned char)*s < ASCII;
	SnStr *to = ascii ? &o->ascii[(unsigned char)*s] : spare;
	*out = to;
	return ascii && to->s ? SN_OK : sn_normalize(o->g.normalizer, s, n, to);
}

static void map(SnOffsets *o, size_t at, size_t n, size_t from, size_t to)
{
	for (size_t i = at; i < at + n; i++)
		o->map[i] = (Extent){(int32_t)from, (int32_t)to};
}

/* Each character of a cluster whose own results make up the cluster's has its own; else all of it is of all. */
static int align_cluster(SnOffsets *o, const char *s, size_t n, size_t *at)
{
	const SnStr *all, *part;
	size_t from = (size_t)(s - o->text), done = 0;
	int code = normal_of(o, s, n, &o->one, &all);
	if (code)
		return code;
	if (all->n > o->normal.n - *at || memcmp(all->s, o->normal.s + *at, all->n)) {
		o->lost = true;
		return SN_OK;
	}
	map(o, *at, all->n, from, from + n);
	for (size_t i = 0, k; i < n && !code && n > 1; i += k) {
		k = sn_utf8_after(s, n, i) - i;
		code = normal_of(o, s + i, k, &o->two, &part);
		if (code || part->n > all->n - done || memcmp(part->s, all->s + done, part->n))
			break;
		map(o, *at + done, part->n, from + i, from + i + k);
		done += part->n;
	}
	if (n > 1 && done != all->n)
		map(o, *at, all->n, from, from + n);
	*at += all->n;
	return code;
}

static int align(SnOffsets *o, SnPiece t)
{
	int code = sn_normalize(o->g.normalizer, t.s, t.n, &o->normal);
	size_t at = 0;
	if (o->normal.n > o->room) {
		o->room = o->normal.n * 2;
		o->map = sn_realloc(o->map, sizeof *o->map * o->room);
	}
	for (size_t i = 0, k; i < t.n && !code && !o->lost; i += k) {
		k = cluster(t.s + i, t.n - i);
		code = align_cluster(o, t.s + i, k, &at);
	}
	o->lost |= at != o->normal.n;
	return code;
}

static int take_raw(void *ctx, SnPiece t, const SnAdded *added)
{
	SnOffsets *o = ctx;
	if (added) {
		o->mapped = false;
		o->base = t.s;
		o->basen = t.n;
		put_part(o, added->id, 0, t.n);
		return SN_OK;
	}
	o->mapped = !sn_normalizer_is_empty(o->g.normalizer);
	int code = o->mapped ? align(o, t) : SN_OK;
	if (code || o->lost)
		return code;
	o->base = o->mapped ? o->normal.s : t.s;
	o->basen = o->mapped ? o->normal.n : t.n;
	return sn_added_cut(o->g.added, false, (SnPiece){o->base, o->basen, t.first}, take_normal, o);
}

/* --- opening */

/* Does a byte-level post-processor, or RoBERTa's, leave blanks out of places? */
static bool trims(json_t *post)
{
	const char *type = sn_type_of(post);
	json_t *list = json_object_get(post, "processors"), *j;
	size_t i;
	bool any = (!strcmp(type, "ByteLevel") || !strcmp(type, "RobertaProcessing")) && sn_flag_of(post, "trim_offsets", true);
	json_array_foreach(list, i, j)
		any |= trims(j);
	return any;
}

SnOffsets *sn_offsets_open(const SnTokenizer *t)
{
	SnOffsets *o = sn_alloc(sizeof *o);
	size_t n;
	const char *text = sn_tokenizer_stages(t, &o->g, &n);
	o->t = t;
	if (!text)
		return o;
	json_t *root = json_loadb(text, n, 0, NULL);
	o->trims = trims(json_object_get(root, "post_processor"));
	json_decref(root);
	sn_uni_load();
	o->splitting = sn_splitting_open(o->g.splitter);
	return o;
}

void sn_offsets_close(SnOffsets *o)
{
	if (!o)
		return;
	if (o->splitting)
		sn_splitting_close(o->splitting);
	sn_scratch_close(&o->scratch);
	SnStr *all[] = {&o->normal, &o->one, &o->two, &o->bytes};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		free(all[i]->s);
	for (int i = 0; i < ASCII; i++)
		free(o->ascii[i].s);
	free(o->ids.at);
	free(o->map);
	free(o);
}

/* Tokenizers of bytes and of characters: each id is the next one. */
static int add_plain(SnOffsets *o, const char *s, size_t n, const char *what)
{
	int64_t first = o->out->ids.n;
	bool bytes = !strcmp(sn_tokenizer_kind(o->t), "byte");
	int code = sn_encode(o->t, s, n, what, &o->out->ids);
	size_t at = 0;
	for (int64_t i = first; i < o->out->ids.n && !code; i++) {
		size_t to = bytes ? at + 1 : sn_utf8_after(s, n, at);
		sn_ids_add(&o->out->from, (int32_t)at);
		sn_ids_add(&o->out->to, (int32_t)to);
		at = to;
	}
	return code;
}

int sn_offsets_add(SnOffsets *o, const char *s, size_t n, const char *what, SnPlaces *out, bool *lost)
{
	o->text = s;
	o->n = n;
	o->out = out;
	o->lost = *lost = false;
	o->scratch.is_bad = false;
	if (n > INT32_MAX)
		return sn_fail(SN_DATA, "%s: a text of more than 2 GB", what);
	if (!o->splitting)
		return add_plain(o, s, n, what);
	if (sn_utf8_valid(s, n) < n)
		return sn_fail(SN_DATA, "%s: byte %zu: not valid UTF-8", what, sn_utf8_valid(s, n));
	int code = sn_added_cut(o->g.added, true, (SnPiece){s, n, true}, take_raw, o);
	if (!code && o->scratch.is_bad)
		code = sn_fail(SN_DATA, "%s: the tokenizer's vocabulary has nothing for the character U+%04X, and no unknown token", what, (unsigned)o->scratch.bad);
	*lost = o->lost;
	return code;
}

void sn_places_close(SnPlaces *p)
{
	free(p->ids.at);
	free(p->from.at);
	free(p->to.at);
	*p = (SnPlaces){0};
}

void sn_places(const SnTokenizer *t, int64_t na, int64_t nb, SnIds *out)
{
	SnIds marks[2] = {{0}}, types = {0};
	for (int64_t k = 0; k < na; k++)
		sn_ids_add(&marks[0], (int32_t)(SN_SECOND + k));
	for (int64_t k = 0; k < nb; k++)
		sn_ids_add(&marks[1], (int32_t)(2 * SN_SECOND + k));
	int64_t first = out->n;
	sn_post_process(t, &marks[0], nb < 0 ? NULL : &marks[1], out, &types);
	for (int64_t k = first; k < out->n; k++)
		out->at[k] = out->at[k] < SN_SECOND ? -1 : out->at[k] - SN_SECOND;   /* ids of special tokens are below it */
	free(marks[0].at);
	free(marks[1].at);
	free(types.at);
}
