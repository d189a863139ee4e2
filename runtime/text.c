/* text.c: UTF-8 as RFC 3629 defines it: no overlong forms, no surrogates, nothing above U+10FFFF. */
#include "runtime/sn.h"

int sn_utf8_read(const char *s, size_t n, uint32_t *code)
{
	if (!n)
		return 0;
	const unsigned char *p = (const unsigned char *)s;
	uint32_t c = p[0];
	if (c < 0x80) {
		*code = c;
		return 1;
	}
	int len = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	if (c < 0xC2 || c > 0xF4 || n < (size_t)len)
		return 0;
	c &= 0x7Fu >> len;
	for (int i = 1; i < len; i++) {
		if ((p[i] & 0xC0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3F);
	}
	if (c < least[len] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
		return 0;
	*code = c;
	return len;
}

int sn_utf8_write(char out[4], uint32_t c)
{
	int len = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
	for (int i = len - 1; i > 0; i--, c >>= 6)
		out[i] = (char)(0x80 | (c & 0x3F));
	out[0] = (char)(lead[len] | c);
	return len;
}

size_t sn_utf8_valid(const char *s, size_t n)
{
	size_t at = 0;
	while (at < n) {
		uint32_t c;
		int len = (unsigned char)s[at] < 0x80 ? 1 : sn_utf8_read(s + at, n - at, &c);
		if (!len)
			return at;
		at += (size_t)len;
	}
	return n;
}

/* Bytes of s that begin a character but don't end it, or one that can't begin any. */
static size_t broken(const char *s, size_t n)
{
	unsigned char c = (unsigned char)s[0], d = n > 1 ? (unsigned char)s[1] : 0;
	size_t len = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2, k = 1;
	unsigned char least = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80, most = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
	if (c < 0xC2 || c > 0xF4 || d < least || d > most)
		return 1;
	while (k < len && k < n && (s[k] & 0xC0) == 0x80)
		k++;
	return k;
}

void sn_utf8_mend(SnStr *out, const char *s, size_t n)
{
	for (size_t at = 0; at < n;) {
		size_t valid = sn_utf8_valid(s + at, n - at);
		sn_str_add(out, s + at, valid);
		at += valid;
		if (at < n) {
			sn_str_add(out, "\xEF\xBF\xBD", 3);
			at += broken(s + at, n - at);
		}
	}
}

size_t sn_utf8_after(const char *s, size_t n, size_t at)
{
	uint32_t c;
	return at < n ? at + (size_t)sn_utf8_read(s + at, n - at, &c) : n + 1;
}

/* An unfinished character is one to three last bytes that begin one longer than they are. */
size_t sn_utf8_whole(const char *s, size_t n)
{
	for (size_t back = 1; back <= 3 && back <= n; back++) {
		unsigned char c = (unsigned char)s[n - back];
		if (c < 0x80)
			return n;
		if (c >= 0xC0)
			return (size_t)(c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2) > back ? n - back : n;
	}
	return n;
}
