/* Unicode: properties, lower case and normalisation forms against utf8proc itself, whose tables the runtime's come from: every code
 * point, every two that may meet in composition, and long random runs of letters and marks. */
#include "runtime/tokens.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>
#include <cmocka.h>

static const struct { bool compat, compose; int options; } forms[] = {
	{false, false, UTF8PROC_DECOMPOSE}, {false, true, UTF8PROC_COMPOSE}, {true, false, UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT},
	{true, true, UTF8PROC_COMPOSE | UTF8PROC_COMPAT},
};

static size_t text_of(char *out, const uint32_t *codes, size_t n) {
	size_t len = 0;
	for (size_t i = 0; i < n; i++)
		len += (size_t)sn_utf8_write(out + len, codes[i]);
	return len;
}

static void compare(const uint32_t *codes, size_t n) {
	static char text[4096];
	size_t len = text_of(text, codes, n);
	for (int f = 0; f < 4; f++) {
		SnStr ours = {0};
		utf8proc_uint8_t *theirs;
		sn_uni_normal(&ours, text, len, forms[f].compat, forms[f].compose);
		utf8proc_ssize_t k = utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)len, &theirs, (utf8proc_option_t)(forms[f].options | UTF8PROC_STABLE));
		assert_true(k >= 0);
		if ((size_t)k != ours.n || (k && memcmp(ours.s, theirs, ours.n)))
			fail_msg("form %d of U+%04X U+%04X ..", f, (unsigned)codes[0], (unsigned)codes[n > 1]);
		free(theirs);
		free(ours.s);
	}
}

static bool is_scalar(uint32_t c) {
	return c && c < 0x110000 && (c < 0xD800 || c > 0xDFFF);
}

static void code_points(void **state) {
	for (uint32_t c = 1; c < 0x110000; c++) {
		if (!is_scalar(c))
			continue;
		if (c < 0x30000)
			compare(&c, 1);
		uint32_t low[2];
		int n = sn_uni_lower(c, low);
		assert_int_equal(n, c == 0x130 ? 2 : 1);
		assert_int_equal(low[0], c == 0x130 ? 'i' : (uint32_t)utf8proc_tolower((utf8proc_int32_t)c));
		utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
		int class = sn_uni_class(c);
		assert_int_equal(class == SN_U_MN, k == UTF8PROC_CATEGORY_MN);
		assert_int_equal(class == SN_U_PUNCT, k >= UTF8PROC_CATEGORY_PC && k <= UTF8PROC_CATEGORY_PO);
		assert_int_equal(class == SN_U_NUMBER, k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO);
		assert_int_equal(class == SN_U_CONTROL, k == UTF8PROC_CATEGORY_CC || k == UTF8PROC_CATEGORY_CF || k == UTF8PROC_CATEGORY_CO);
		assert_int_equal(sn_uni_mark(c), utf8proc_get_property((utf8proc_int32_t)c)->combining_class);
	}
}

/* Every two characters that begin or end a decomposition, and Hangul's. */
static void pairs(void **state) {
	static uint32_t first[4096], second[1024];
	size_t nfirst = 0, nsecond = 0;
	static bool is_second[0x110000];
	for (uint32_t c = 1; c < 0x30000; c++) {
		utf8proc_int32_t parts[32];
		int last = 0;
		utf8proc_ssize_t n = is_scalar(c) ? utf8proc_decompose_char((utf8proc_int32_t)c, parts, 32, UTF8PROC_DECOMPOSE, &last) : 0;
		if (n < 2 || (c >= 0xAC00 && c < 0xD7A4 && c % 5))
			continue;
		if (nfirst < 4096)
			first[nfirst++] = c;
		if (nfirst < 4096 && (nfirst == 1 || first[nfirst - 2] != (uint32_t)parts[0]))
			first[nfirst++] = (uint32_t)parts[0];
		for (utf8proc_ssize_t i = 1; i < n; i++)
			if (!is_second[parts[i]] && nsecond < 1024) {
				is_second[parts[i]] = true;
				second[nsecond++] = (uint32_t)parts[i];
			}
	}
	assert_true(nfirst > 2000 && nsecond > 80);
	for (size_t i = 0; i < nfirst; i++)
		for (size_t k = 0; k < nsecond; k++)
			compare((uint32_t[]){first[i], second[k]}, 2);
}

static void runs(void **state) {
	uint32_t seed = 1;
	static const uint32_t spans[][2] = {{'a', 'z'}, {0xC0, 0x24F}, {0x300, 0x36F}, {0x300, 0x330}, {0x590, 0x5C7}, {0x900, 0xDFF}, {0x1100, 0x11FF},
		{0x1AB0, 0x1ACE}, {0xAC00, 0xAD00}, {0x1E00, 0x1EFF}, {0x1D100, 0x1D1FF}, {0x3040, 0x30FF}, {0xFB00, 0xFFFF}};
	for (int round = 0; round < 20000; round++) {
		uint32_t codes[200];
		size_t n = round % 200 ? 1 + (size_t)round % 12 : 200;
		for (size_t i = 0; i < n; i++) {
			seed = seed * 1664525u + 1013904223u;
			const uint32_t *s = spans[(seed >> 8) % (sizeof spans / sizeof *spans)];
			if (n == 200 && i)
				s = spans[2];           /* more marks than are sorted by insertion */
			codes[i] = s[0] + (seed >> 16) % (s[1] - s[0] + 1);
		}
		compare(codes, n);
	}
}

static void white(void **state) {
	static const uint32_t yes[] = {9, 10, 11, 12, 13, ' ', 0x85, 0xA0, 0x1680, 0x2000, 0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000};
	static const uint32_t no[] = {8, 14, 0x1F, '!', 0x84, 0x180E, 0x200B, 0x2060, 0xFEFF};
	for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
		assert_true(sn_uni_white(yes[i]));
	for (size_t i = 0; i < sizeof no / sizeof *no; i++)
		assert_false(sn_uni_white(no[i]));
}

static int setup(void **state) {
	sn_uni_load();
	return 0;
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(code_points), cmocka_unit_test(pairs), cmocka_unit_test(runs), cmocka_unit_test(white)};
	return cmocka_run_group_tests(tests, setup, NULL);
}
