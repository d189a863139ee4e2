/* charsmap.c: SentencePiece's precompiled normalisation, as Hugging Face's library applies it: a double-array trie (Darts) from text to
 * places among NUL-terminated replacements. A grapheme of under 6 bytes is replaced as a whole by what its shortest prefix in the
 * trie stands for, else each character by itself. */
#include "runtime/tokens.h"

#include <stdlib.h>
#include <string.h>

struct SnCharsmap {
	char *bytes;                  /* decoded: size of the trie, the trie, the replacements */
	const uint32_t *units;
	size_t nunits;
	const char *text;
	size_t ntext;
	SnPattern *grapheme;
};

static int digit_of(char c)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;
	return at ? (int)(at - digits) : -1;
}

/* Returns the number of bytes, or -1. out has room for 3 of every 4. */
static long from_base64(SnSpan in, char *out)
{
	long n = 0;
	uint32_t bits = 0;
	int have = 0;
	while (in.n && in.at[in.n - 1] == '=')
		in.n--;
	for (size_t i = 0; i < in.n; i++) {
		int d = digit_of(in.at[i]);
		if (d < 0)
			return -1;
		bits = bits << 6 | (uint32_t)d;
		have += 6;
		if (have >= 8) {
			have -= 8;
			out[n++] = (char)(bits >> have);
		}
	}
	return n;
}

SnCharsmap *sn_charsmap_open(SnSpan base64, const char *path)
{
	SnCharsmap *m = sn_alloc(sizeof *m);
	m->bytes = sn_alloc(base64.n + 8);
	long n = base64.at ? from_base64(base64, m->bytes) : -1;
	uint32_t trie = 0;
	if (n >= 4)
		memcpy(&trie, m->bytes, 4);
	bool ok = n >= 8 && trie >= 4 && trie % 4 == 0 && trie <= (uint64_t)n - 4;
	if (ok) {
		m->units = (const uint32_t *)(const void *)(m->bytes + 4);
		m->nunits = trie / 4;
		m->text = m->bytes + 4 + trie;
		m->ntext = (size_t)n - 4 - trie;
		ok = m->ntext && !m->text[m->ntext - 1] && sn_utf8_valid(m->text, m->ntext) == m->ntext;
	}
	if (!ok)
		sn_fail(SN_DATA, "%s: the normalizer's precompiled_charsmap is damaged", path);
	m->grapheme = ok ? sn_pattern_open("\\X", path) : NULL;
	if (m->grapheme)
		return m;
	sn_charsmap_close(m);
	return NULL;
}

void sn_charsmap_close(SnCharsmap *m)
{
	if (!m)
		return;
	sn_pattern_close(m->grapheme);
	free(m->bytes);
	free(m);
}

/* A unit of a Darts double array (Kudo's Darts-clone): label, whether a value hangs below, and where its children are. */
static uint32_t offset_of(uint32_t unit)
{
	return (unit >> 10) << ((unit & 1u << 9) >> 6);
}

/* The replacement for the shortest prefix of s that has one; NULL. */
static const char *replacement(const SnCharsmap *m, const char *s, size_t n)
{
	size_t at = offset_of(m->units[0]);
	for (size_t i = 0; i < n && s[i]; i++) {
		at ^= (unsigned char)s[i];
		if (at >= m->nunits || (m->units[at] & (1u << 31 | 0xFF)) != (unsigned char)s[i])
			return NULL;
		uint32_t unit = m->units[at];
		at ^= offset_of(unit);
		if (!(unit >> 8 & 1))
			continue;
		size_t value = at < m->nunits ? m->units[at] & 0x7FFFFFFF : m->ntext;
		return value < m->ntext && (m->text[value] & 0xC0) != 0x80 ? m->text + value : NULL;
	}
	return NULL;
}

static void put(const SnCharsmap *m, const char *s, size_t n, SnStr *out)
{
	const char *whole = n < 6 ? replacement(m, s, n) : NULL;
	if (whole) {
		sn_str_add(out, whole, strlen(whole));
		return;
	}
	for (size_t at = 0; at < n;) {
		uint32_t c;
		size_t k = (size_t)sn_utf8_read(s + at, n - at, &c);
		const char *one = replacement(m, s + at, k);
		sn_str_add(out, one ? one : s + at, one ? strlen(one) : k);
		at += k;
	}
}

/* ASCII but CR before ASCII is a grapheme. */
static bool is_alone(const char *s, size_t n)
{
	return (unsigned char)s[0] < 0x80 && s[0] != '\r' && (n == 1 || (unsigned char)s[1] < 0x80);
}

void sn_charsmap_run(const SnCharsmap *m, const char *s, size_t n, SnStr *out)
{
	SnMatcher *matcher = sn_matcher_open(m->grapheme);
	for (size_t at = 0; at < n;) {
		size_t from = at, to = at;
		if (is_alone(s + at, n - at))
			to = at + 1;
		else if (sn_matcher_next(matcher, s, n, at, &from, &to) <= 0 || to == at)
			to = n;               /* can't be: every text has a grapheme */
		put(m, s + at, to - at, out);
		at = to;
	}
	sn_matcher_close(matcher);
}
