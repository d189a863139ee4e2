/* bpe.c: byte-pair encoding (Sennrich et al. 2016): a word's characters, merged by rules in their order. Byte-level ones
 * (GPT-2, RoBERTa, Llama 3) have words in GPT-2's alphabet; SentencePiece's (Llama 2) fall back to bytes for what they lack. */
#include "runtime/tokens.h"

#include <stdlib.h>
#include <string.h>

enum { NEAR = 0x200, MAX_AFFIX = 64, JOINTS = 1 << 20 };

typedef struct Bpe {
	SnMerges *merges;
	int32_t near_id[NEAR];        /* of single characters; -1 */
	int32_t byte_id[256];
	bool fuse, fallback, whole;   /* fuse_unk, byte_fallback, ignore_merges */
	SnSpan prefix, suffix;        /* of symbols that go on in a word; of a word's last */
	uint8_t *joints;              /* bits: two characters (hashed) may stand beside each other in what a rule makes */
	json_t *json;
} Bpe;

static int32_t char_id(const SnModel *m, const char *s, size_t n, uint32_t code)
{
	const Bpe *b = m->own;
	return code < NEAR ? b->near_id[code] : sn_lexicon_find(&m->lex, s, n);
}

static uint32_t joint_of(uint32_t a, uint32_t b)
{
	uint64_t h = ((uint64_t)a << 21 | b) * 0x9E3779B97F4A7C15u;
	return (uint32_t)(h >> 40) & (JOINTS - 1);
}

static bool is_joint(const Bpe *b, uint32_t x, uint32_t y)
{
	uint32_t i = joint_of(x, y);
	return b->joints[i / 8] >> i % 8 & 1;
}

/* --- reading */

/* A merge is "a b" or ["a", "b"]. */
static bool merge_parts(json_t *j, SnSpan part[2])
{
	if (json_is_string(j)) {
		SnSpan all = sn_text_of(j);
		const char *space = memchr(all.at, ' ', all.n);
		if (!space || memchr(space + 1, ' ', all.n - (size_t)(space + 1 - all.at)))
			return false;
		part[0] = (SnSpan){all.at, (size_t)(space - all.at)};
		part[1] = (SnSpan){space + 1, all.n - part[0].n - 1};
	} else {
		part[0] = sn_text_of(json_array_get(j, 0));
		part[1] = sn_text_of(json_array_get(j, 1));
		if (json_array_size(j) != 2)
			return false;
	}
	return part[0].n && part[1].n;
}

static void add_joints(Bpe *b, SnSpan token)
{
	uint32_t before = 0, c;
	for (size_t at = 0; at < token.n; before = c) {
		size_t from = at;
		at += (size_t)sn_utf8_read(token.at + at, token.n - at, &c);
		if (from) {
			uint32_t i = joint_of(before, c);
			b->joints[i / 8] |= (uint8_t)(1u << i % 8);
		}
	}
}

/* ranks: of results, where all ways to one are one rule; NULL: every merge is its own */
static int load_merge(SnModel *m, json_t *j, size_t at, int32_t *ranks, const char *path)
{
	Bpe *b = m->own;
	SnSpan part[2];
	if (!merge_parts(j, part))
		return sn_fail(SN_DATA, "%s: merge %zu is not a pair", path, at + 1);
	size_t cut = part[1].n >= b->prefix.n ? b->prefix.n : part[1].n;
	SnStr both = {0};
	sn_str_add(&both, part[0].at, part[0].n);
	sn_str_add(&both, part[1].at + cut, part[1].n - cut);
	int32_t left = sn_lexicon_find(&m->lex, part[0].at, part[0].n), right = sn_lexicon_find(&m->lex, part[1].at, part[1].n);
	int32_t merged = sn_lexicon_find(&m->lex, both.s, both.n);
	free(both.s);
	if (left < 0 || right < 0 || merged < 0)
		return sn_fail(SN_DATA, "%s: merge %zu, \"%s %s\": the vocabulary lacks a part or the result", path, at + 1, part[0].at, json_is_string(j) ? "" : part[1].at);
	int32_t rank = (int32_t)at;
	if (ranks)
		rank = ranks[merged] = ranks[merged] >= 0 ? ranks[merged] : rank;
	sn_merges_add(b->merges, left, right, rank, merged);
	add_joints(b, m->lex.tokens[merged]);
	return SN_OK;
}

static int load_merges(SnModel *m, json_t *json, const char *path)
{
	Bpe *b = m->own;
	json_t *list = json_object_get(json, "merges"), *j;
	if (!json_is_array(list))
		return sn_fail(SN_DATA, "%s: no model.merges", path);
	int32_t *ranks = sn_flag_of(json, "merges_by_result", false) ? sn_alloc(sizeof *ranks * ((size_t)m->lex.size + 1)) : NULL;
	if (ranks)
		memset(ranks, -1, sizeof *ranks * (size_t)m->lex.size);
	b->merges = sn_merges_open((int64_t)json_array_size(list));
	b->joints = sn_alloc(JOINTS / 8);
	size_t i;
	int code = SN_OK;
	json_array_foreach(list, i, j)
		code = code ? code : load_merge(m, j, i, ranks, path);
	free(ranks);
	return code;
}

static int load_affix(SnSpan *out, json_t *json, const char *key, const char *path)
{
	*out = sn_text_of(json_object_get(json, key));
	return out->n > MAX_AFFIX ? sn_fail(SN_DATA, "%s: model.%s has more than %d bytes", path, key, MAX_AFFIX) : SN_OK;
}

static int bpe_open(SnModel *m, json_t *json, const char *path)
{
	Bpe *b = m->own = sn_alloc(sizeof *b);
	b->json = json_incref(json);
	if (json_number_value(json_object_get(json, "dropout")) > 0)
		return sn_fail(SN_DATA, "%s: model.dropout is not known: the same text would have other ids each time", path);
	int code = sn_lexicon_open(&m->lex, json_object_get(json, "vocab"), path);
	if (!code)
		code = load_affix(&b->prefix, json, "continuing_subword_prefix", path);
	if (!code)
		code = load_affix(&b->suffix, json, "end_of_word_suffix", path);
	if (!code)
		code = load_merges(m, json, path);
	if (code)
		return code;
	sn_model_unk(m, json);
	b->fuse = sn_flag_of(json, "fuse_unk", false);
	b->fallback = sn_flag_of(json, "byte_fallback", false);
	b->whole = sn_flag_of(json, "ignore_merges", false);
	sn_lexicon_bytes(&m->lex, b->byte_id);
	for (uint32_t c = 0; c < NEAR; c++) {
		char text[4];
		b->near_id[c] = sn_lexicon_find(&m->lex, text, (size_t)sn_utf8_write(text, c));
	}
	return SN_OK;
}

static void bpe_close(SnModel *m)
{
	Bpe *b = m->own;
	sn_merges_close(b->merges);
	free(b->joints);
	json_decref(b->json);
	free(b);
}

/* --- encoding */

/* The symbol of a character with what its place adds; -1. */
static int32_t symbol_id(const SnModel *m, const char *s, size_t n, uint32_t code, bool first, bool last)
{
	const Bpe *b = m->own;
	size_t before = first ? 0 : b->prefix.n, after = last ? b->suffix.n : 0;
	if (!before && !after)
		return char_id(m, s, n, code);
	char text[2 * MAX_AFFIX + 4];
	if (before)
		memcpy(text, b->prefix.at, before);
	memcpy(text + before, s, n);
	if (after)
		memcpy(text + before + n, b->suffix.at, after);
	return sn_lexicon_find(&m->lex, text, before + n + after);
}

static bool by_bytes(const Bpe *b, const char *s, size_t n, SnIds *out)
{
	for (size_t i = 0; i < n; i++)
		if (b->byte_id[(unsigned char)s[i]] < 0)
			return false;
	for (size_t i = 0; i < n; i++)
		sn_ids_add(out, b->byte_id[(unsigned char)s[i]]);
	return true;
}

/* An unknown token waits: those that follow it may be one with it. */
static void symbols(const SnModel *m, SnScratch *x, const char *s, size_t n, SnIds *out)
{
	const Bpe *b = m->own;
	bool waits = false;
	for (size_t at = 0; at < n;) {
		uint32_t code;
		size_t k = (size_t)sn_utf8_read(s + at, n - at, &code);
		int32_t id = symbol_id(m, s + at, k, code, !at, at + k == n);
		if (id >= 0) {
			if (waits)
				sn_ids_add(out, m->unk);
			waits = false;
			sn_ids_add(out, id);
		} else if (!b->fallback || !by_bytes(b, s + at, k, out)) {
			if (m->unk < 0)
				sn_model_lacks(x, s + at, k);
			else if (waits && !b->fuse)
				sn_ids_add(out, m->unk);
			waits = m->unk >= 0;
		}
		at += k;
	}
	if (waits)
		sn_ids_add(out, m->unk);
}

static void bpe_word(const SnModel *m, SnScratch *x, const char *s, size_t n, SnIds *out)
{
	const Bpe *b = m->own;
	int32_t id = b->whole ? sn_lexicon_find(&m->lex, s, n) : -1;
	if (id >= 0) {
		sn_ids_add(out, id);
		return;
	}
	int64_t first = out->n;
	symbols(m, x, s, n, out);
	if (out->n > first + 1)
		out->n = first + sn_merges_apply(b->merges, &x->merge, out->at + first, out->n - first);
}

/* No rule makes anything that has these two neighbours inside, so what is before and behind them is merged apart. */
static size_t bpe_part(const SnModel *m, const char *s, size_t n)
{
	const Bpe *b = m->own;
	if (b->whole || b->prefix.n || b->suffix.n)
		return n;
	uint32_t before = 0, c;
	size_t from = 0, k;
	for (size_t at = 0; at < n; at += k, before = c) {
		k = (size_t)sn_utf8_read(s + at, n - at, &c);
		if (at && !is_joint(b, before, c) && char_id(m, s + from, at - from, before) >= 0 && char_id(m, s + at, k, c) >= 0)
			return at;
		from = at;
	}
	return n;
}

const SnModelKind sn_bpe = {bpe_open, bpe_word, bpe_part, bpe_close};
