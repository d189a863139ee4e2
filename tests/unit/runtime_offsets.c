/* offsets.c: the bytes of a text that its tokens are from, through normalizers, pre-tokenizers and models, by tokenizers made here and by real ones where the
 * data is (SINTER_TEST_DATA or ../shared/data), whose places are Hugging Face's library's; and that ids are the same as without places. */
#include "runtime/sn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static char dir[] = "/tmp/sn_offsets_XXXXXX";

/* want: "token" of the text for each id, as from-to, with blanks between; NULL: lost. */
static void expect(const SnTokenizer *t, const char *text, const char *want) {
	SnOffsets *o = sn_offsets_open(t);
	SnPlaces p = {{0}, {0}, {0}};
	SnIds plain = {0};
	SnStr got = {0};
	bool lost;
	for (int round = 0; round < 2; round++) {   /* what is kept between texts changes nothing */
		p.ids.n = p.from.n = p.to.n = plain.n = got.n = 0;
		assert_int_equal(sn_offsets_add(o, text, strlen(text), "test", &p, &lost), SN_OK);
		assert_int_equal(lost, want == NULL);
		assert_int_equal(sn_encode(t, text, strlen(text), "test", &plain), SN_OK);
		if (lost)
			continue;
		assert_int_equal(plain.n, p.ids.n);
		assert_true(!plain.n || !memcmp(plain.at, p.ids.at, sizeof *plain.at * (size_t)plain.n));
		sn_str_add(&got, "", 0);
		for (int64_t i = 0; i < p.ids.n; i++)
			sn_str_printf(&got, "%s%d-%d", i ? " " : "", p.from.at[i], p.to.at[i]);
		assert_string_equal(got.s, want);
	}
	free(got.s);
	free(plain.at);
	sn_places_close(&p);
	sn_offsets_close(o);
}

static SnTokenizer *of_text(const char *json) {
	char *path = sn_format("%s/t.json", dir);
	assert_int_equal(sn_file_write(path, json, strlen(json)), SN_OK);
	SnTokenizer *t = sn_tokenizer_open(path, NULL, 0);
	free(path);
	assert_non_null(t);
	return t;
}

static SnTokenizer *of_stages(const char *normalizer, const char *splitter) {
	char *json = sn_format("{\"normalizer\":%s,\"pre_tokenizer\":%s,\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"?\","
	                       "\"continuing_subword_prefix\":\"##\","
	                       "\"vocab\":{\"?\":0,\"ab\":1,\"##c\":2,\"e\":3,\"##e\":4,\"\\u00e9\":5,\"##\\u00e9\":6,\"c\":7,"
	                       "\"\\uac00\":8,\"i\":9,\"##\\u0307\":10}}}", normalizer, splitter);
	SnTokenizer *t = of_text(json);
	free(json);
	return t;
}

static void stages(const char *normalizer, const char *splitter, const char *text, const char *want) {
	SnTokenizer *t = of_stages(normalizer, splitter);
	expect(t, text, want);
	sn_tokenizer_close(t);
}

static const char blanks[] = "{\"type\":\"WhitespaceSplit\"}";

static void test_wordpiece(void **state) {
	stages("null", blanks, "abc  x ab", "0-2 2-3 5-6 7-9");
	stages("null", blanks, "abcx e", "0-4 5-6");
	stages("null", "{\"type\":\"BertPreTokenizer\"}", "ab,e", "0-2 2-3 3-4");
	stages("null", blanks, "", "");
	stages("null", blanks, "  ", "");
}

static void test_normalizers(void **state) {
	stages("{\"type\":\"Lowercase\"}", blanks, "ABc E", "0-2 2-3 4-5");
	stages("{\"type\":\"Lowercase\"}", blanks, "\xC4\xB0 ab", "0-2 0-2 3-5");                       /* a capital I with a dot is two characters in lower case */
	stages("{\"type\":\"NFC\"}", blanks, "ab e\xCC\x81 e", "0-2 3-6 7-8");
	stages("{\"type\":\"NFD\"}", blanks, "\xC3\xA9 ab", "0-2 3-5");                                  /* unknown as a whole */
	stages("{\"type\":\"NFC\"}", blanks, "\xE1\x84\x80\xE1\x85\xA1 e", "0-6 7-8");                   /* Hangul's parts */
	stages("{\"type\":\"BertNormalizer\"}", blanks, "\xC3\x89\t E\xCC\x81\x63 \xE4\xB8\xAD\x65", "0-2 4-5 7-8 9-12 12-13");
	stages("{\"type\":\"BertNormalizer\"}", blanks, "a\xE2\x80\x8B\x62", "0-5");                     /* what lies between is of the token */
	stages("{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFD\"},{\"type\":\"StripAccents\"},{\"type\":\"Lowercase\"}]}", blanks, "\xC3\x89 ABC", "0-2 3-5 5-6");
	stages("{\"type\":\"Replace\",\"pattern\":{\"String\":\"x\"},\"content\":\"ab\"}", blanks, "xc e", "0-1 1-2 3-4");
}

static void test_lost(void **state) {
	stages("{\"type\":\"Strip\"}", blanks, " ab e", NULL);
	stages("{\"type\":\"Replace\",\"pattern\":{\"String\":\"xx\"},\"content\":\"ab\"}", blanks, "xx e", NULL);
	stages("null", "{\"type\":\"Metaspace\"}", "ab e", NULL);
}

static void test_plain(void **state) {
	SnTokenizer *t = sn_tokenizer_open("byte", NULL, 0);
	expect(t, "\xC3\xA9x", "0-1 1-2 2-3");
	sn_tokenizer_close(t);
	t = sn_tokenizer_open("char", "x\xC3\xA9", 3);
	expect(t, "\xC3\xA9x", "0-2 2-3");
	sn_tokenizer_close(t);
}

static SnTokenizer *published(const char *name) {
	const char *root = getenv("SINTER_TEST_DATA");
	char *path = sn_format("%s/tokenizers/%s", root ? root : "../shared/data", name);
	SnTokenizer *t = sn_exists(path) ? sn_tokenizer_open(path, NULL, 0) : NULL;
	if (!t)
		printf("skipped: %s is absent\n", path);
	free(path);
	return t;
}

static void test_bert(void **state) {
	SnTokenizer *t = published("bert-base-uncased.tokenizer.json");
	if (!t)
		skip();
	/* caf\u00e9 re\u0301sume\u0301, \u4e2d unaffable! \U1F600 [MASK] */
	expect(t, "Caf\xC3\xA9 re\xCC\x81sume\xCC\x81, \xE4\xB8\xAD unaffable! \xF0\x9F\x98\x80\n[MASK]", "0-5 6-14 16-17 18-21 22-25 25-28 28-31 31-32 33-37 38-44");
	sn_tokenizer_close(t);
}

static void test_roberta(void **state) {
	SnTokenizer *t = published("roberta-base.tokenizer.json");
	if (!t)
		skip();
	expect(t, "Hello  world caf\xC3\xA9 \xF0\x9F\x98\x80 <mask>\n ok", "0-5 6-6 7-12 13-18 19-23 19-23 24-30 30-31 32-34");   /* blanks are trimmed */
	sn_tokenizer_close(t);
	t = published("gpt2.merges.txt");
	if (!t)
		skip();
	expect(t, "Hello world", "0-5 5-11");
	sn_tokenizer_close(t);
}

static void test_t5(void **state) {
	SnTokenizer *t = published("t5-small.tokenizer.json");
	if (!t)
		skip();
	expect(t, "Hello  world", NULL);
	sn_tokenizer_close(t);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wordpiece), cmocka_unit_test(test_normalizers), cmocka_unit_test(test_lost), cmocka_unit_test(test_plain), cmocka_unit_test(test_bert),
		cmocka_unit_test(test_roberta), cmocka_unit_test(test_t5),
	};
	if (!mkdtemp(dir))
		return 1;
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	sn_remove_tree(dir);
	return failed;
}
