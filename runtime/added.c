/* added.c: added tokens, found leftmost and longest first, as Hugging Face's library has it: those that are not "normalized" in the
 * text as it is, the others, normalized themselves, in what the normalizers make of the rest. */
#include "runtime/tokens.h"

#include <stdlib.h>
#include <string.h>

static void enter(SnAddedTokens *a, int which, SnSpan text, int32_t index)
{
	if (!text.n)
		return;
	if (!a->tries[which])
		a->tries[which] = sn_trie_open();
	sn_trie_add(a->tries[which], text.at, text.n, index);
	a->starts[which][(unsigned char)text.at[0]] = true;
}

static int read_one(SnAddedTokens *a, json_t *j, const SnNormalizer *z, const char *path)
{
	json_t *id = json_object_get(j, "id");
	SnSpan text = sn_text_of(json_object_get(j, "content"));
	bool special = sn_flag_of(j, "special", false);
	if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= SN_MAX_ID || !text.n)
		return sn_fail(SN_DATA, "%s: added token %d has no valid id or content", path, a->n);
	char *copy = sn_alloc(text.n + 1);
	memcpy(copy, text.at, text.n);
	a->at[a->n] = (SnAdded){.id = (int32_t)json_integer_value(id), .text = {copy, text.n}, .special = special, .single_word = sn_flag_of(j, "single_word", false),
		.lstrip = sn_flag_of(j, "lstrip", false), .rstrip = sn_flag_of(j, "rstrip", false), .normalized = sn_flag_of(j, "normalized", !special)};
	const SnAdded *t = &a->at[a->n++];
	if (!t->normalized || sn_normalizer_is_empty(z)) {
		enter(a, t->normalized, t->text, a->n - 1);
		return SN_OK;
	}
	SnStr normal = {0};
	int code = sn_normalize(z, copy, text.n, &normal);
	enter(a, 1, (SnSpan){normal.s, normal.n}, a->n - 1);
	free(normal.s);
	return code;
}

int sn_added_open(SnAddedTokens *a, json_t *list, const SnNormalizer *z, const char *path)
{
	*a = (SnAddedTokens){.at = sn_alloc(sizeof *a->at * (json_array_size(list) + 1))};
	sn_uni_load();
	bool words = false;
	size_t i;
	json_t *j;
	int code = SN_OK;
	json_array_foreach(list, i, j) {
		code = code ? code : read_one(a, j, z, path);
		words |= sn_flag_of(j, "single_word", false);
	}
	if (words && !code)
		a->word = sn_pattern_open("[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]", path);
	return code;
}

void sn_added_close(SnAddedTokens *a)
{
	for (int i = 0; i < a->n; i++)
		free((char *)a->at[i].text.at);
	free(a->at);
	sn_trie_close(a->tries[0]);
	sn_trie_close(a->tries[1]);
	sn_pattern_close(a->word);
}

/* Where the last character before `at` begins. */
static size_t before(const char *s, size_t at)
{
	do
		at--;
	while (at && (s[at] & 0xC0) == 0x80);
	return at;
}

static bool is_word(const SnAddedTokens *a, const char *s, size_t n)
{
	size_t from, to;
	SnMatcher *m = sn_matcher_open(a->word);
	bool found = sn_matcher_next(m, s, n, 0, &from, &to) == 1;
	sn_matcher_close(m);
	return found;
}

static bool stands_alone(const SnAddedTokens *a, const char *s, size_t n, size_t from, size_t to)
{
	size_t left = from ? before(s, from) : 0, right = sn_utf8_after(s, n, to);
	return !(from && is_word(a, s + left, from - left)) && !(to < n && is_word(a, s + to, right - to));
}

static size_t blanks_before(const char *s, size_t least, size_t at)
{
	uint32_t c;
	while (at > least) {
		size_t from = before(s, at);
		sn_utf8_read(s + from, at - from, &c);
		if (!sn_uni_white(c))
			break;
		at = from;
	}
	return at > least ? at : least;
}

static size_t blanks_behind(const char *s, size_t n, size_t at)
{
	uint32_t c;
	for (int k; at < n; at += (size_t)k) {
		k = sn_utf8_read(s + at, n - at, &c);
		if (!sn_uni_white(c))
			break;
	}
	return at;
}

int sn_added_cut(const SnAddedTokens *a, bool raw, SnPiece p, SnAddedSink *sink, void *ctx)
{
	const SnTrie *trie = a->tries[!raw];
	const bool *starts = a->starts[!raw];
	size_t done = 0;
	int code = SN_OK;
	for (size_t at = 0, len = 0; trie && at < p.n && !code; at += len) {
		int32_t index = starts[(unsigned char)p.s[at]] ? sn_trie_longest(trie, 0, p.s + at, p.n - at, &len) : -1;
		if (index < 0)
			len = 1;
		if (index < 0 || at < done || (a->at[index].single_word && !stands_alone(a, p.s, p.n, at, at + len)))
			continue;
		const SnAdded *t = &a->at[index];
		size_t from = t->lstrip ? blanks_before(p.s, done, at) : at, to = t->rstrip ? blanks_behind(p.s, p.n, at + len) : at + len;
		if (from > done)
			code = sink(ctx, (SnPiece){p.s + done, from - done, p.first && !done}, NULL);
		if (!code)
			code = sink(ctx, (SnPiece){p.s + from, to - from, p.first && !from}, t);
		done = to;
	}
	return !code && done < p.n ? sink(ctx, (SnPiece){p.s + done, p.n - done, p.first && !done}, NULL) : code;
}
