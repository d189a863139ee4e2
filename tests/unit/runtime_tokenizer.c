/* Tokenizers: UTF-8, char and byte vocabularies, byte-level BPE on a small hand-made file. runtime_stages.c has the other stages,
 * runtime_published.c real tokenizers against published ids. */
#include "runtime/sn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static char dir[] = "/tmp/sn_tokenizer_XXXXXX";

static char *written(const char *name, const char *text) {
	char *path = sn_format("%s/%s", dir, name);
	assert_int_equal(sn_file_write(path, text, strlen(text)), SN_OK);
	return path;
}

static void expect_ids(const SnTokenizer *t, const char *text, size_t n, const int32_t *want, int64_t count) {
	SnIds ids = {0};
	assert_int_equal(sn_encode(t, text, n, "test", &ids), SN_OK);
	assert_int_equal(ids.n, count);
	for (int64_t i = 0; i < count; i++)
		assert_int_equal(ids.at[i], want[i]);
	free(ids.at);
}

static void utf8(void **state) {
	static const struct { const char *s; int len; uint32_t code; } cases[] = {
		{"a", 1, 'a'}, {"\xC3\xA9", 2, 0xE9}, {"\xE2\x82\xAC", 3, 0x20AC}, {"\xF0\x9F\xA6\x99", 4, 0x1F999},
		{"\xC0\x80", 0, 0}, {"\xE0\x80\x80", 0, 0}, {"\xED\xA0\x80", 0, 0}, {"\xF4\x90\x80\x80", 0, 0}, {"\x80", 0, 0},
		{"\xE2\x82", 0, 0}, {"\xF5\x80\x80\x80", 0, 0},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint32_t code = 0;
		assert_int_equal(sn_utf8_read(cases[i].s, strlen(cases[i].s), &code), cases[i].len);
		char back[4];
		if (!cases[i].len)
			continue;
		assert_int_equal(code, cases[i].code);
		assert_int_equal(sn_utf8_write(back, code), cases[i].len);
		assert_memory_equal(back, cases[i].s, (size_t)cases[i].len);
	}
	assert_int_equal(sn_utf8_whole("ab\xE2\x82", 4), 2);
	assert_int_equal(sn_utf8_whole("ab\xE2\x82\xAC", 5), 5);
	assert_int_equal(sn_utf8_whole("\xF0", 1), 0);
	assert_int_equal(sn_utf8_valid("ab\xFFz", 4), 2);
}

static void chars(void **state) {
	SnTokenizer *t = sn_tokenizer_open("char", "bé\nab", strlen("bé\nab"));
	assert_non_null(t);
	assert_int_equal(sn_tokenizer_size(t), 4);
	expect_ids(t, "éab\n", strlen("éab\n"), (int32_t[]){3, 1, 2, 0}, 4);
	char *path = sn_format("%s/char.json", dir);
	assert_int_equal(sn_tokenizer_save(t, path), SN_OK);
	SnTokenizer *again = sn_tokenizer_open(path, NULL, 0);
	assert_non_null(again);
	assert_string_equal(sn_tokenizer_kind(again), "char");
	expect_ids(again, "éab\n", strlen("éab\n"), (int32_t[]){3, 1, 2, 0}, 4);
	SnIds ids = {0};
	assert_int_equal(sn_encode(t, "ax", 2, "test", &ids), SN_DATA);
	assert_int_equal(sn_encode(t, "a\xFF", 2, "test", &ids), SN_DATA);
	assert_null(sn_tokenizer_open("char", "a\xFF", 2));
	free(ids.at);
	free(path);
	sn_tokenizer_close(again);
	sn_tokenizer_close(t);
}

/* A vocabulary of 12: bytes a b c space newline, merges "a b", "ab c", "Ġ a" (in pair form), one added token. */
static const char small[] =
	"{\"added_tokens\":[{\"id\":11,\"content\":\"<end>\",\"lstrip\":true}],\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},"
	"\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"\\u0120\":3,\"\\u010a\":4,\"ab\":5,\"abc\":6,\"\\u0120a\":7,\"<\":8,\"e\":9,\"bb\":10},"
	"\"merges\":[\"a b\",\"ab c\",[\"\\u0120\",\"a\"],[\"b\",\"b\"]]}}";

static void small_bpe(void **state) {
	char *path = written("small.json", small);
	SnTokenizer *t = sn_tokenizer_open(path, NULL, 0);
	assert_non_null(t);
	assert_int_equal(sn_tokenizer_size(t), 12);
	expect_ids(t, "abcab", 5, (int32_t[]){6, 5}, 2);
	expect_ids(t, "abc abc a", 9, (int32_t[]){6, 3, 6, 7}, 4);
	expect_ids(t, "bbb", 3, (int32_t[]){10, 1}, 2);   /* leftmost of equal ranks */
	expect_ids(t, "ab  <end>abc<e", 14, (int32_t[]){5, 11, 6, 8, 9}, 5);
	assert_int_equal(sn_special(t, "<end>"), 11);
	SnIds ids = {0};
	assert_int_equal(sn_encode(t, "xyz", 3, "test", &ids), SN_DATA);   /* no such bytes */
	free(ids.at);
	char *copy = sn_format("%s/copy.json", dir);
	assert_int_equal(sn_tokenizer_save(t, copy), SN_OK);
	SnTokenizer *again = sn_tokenizer_open(copy, NULL, 0);
	expect_ids(again, "abcab", 5, (int32_t[]){6, 5}, 2);
	sn_tokenizer_close(again);
	sn_tokenizer_close(t);
	free(copy);
	free(path);
}

/* Llama 3's form: a pattern of its own, whole words before merges, a start token. "ab" is in the vocabulary without a
 * merge; the pattern cuts numbers into single digits, and leaves the text between its matches as words. */
static const char split[] =
	"{\"added_tokens\":[{\"id\":8,\"content\":\"<s>\"}],\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":["
	"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[ab]+|1\"},\"behavior\":\"Isolated\",\"invert\":false},"
	"{\"type\":\"ByteLevel\",\"add_prefix_space\":%s,\"use_regex\":false}]},"
	"\"post_processor\":{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\"},{\"type\":\"TemplateProcessing\","
	"\"single\":[{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\"}}],\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":[8]}}}]},"
	"\"model\":{\"type\":\"BPE\",\"ignore_merges\":%s,\"vocab\":{\"a\":0,\"b\":1,\"1\":2,\"2\":3,\"ab\":4,\"11\":5,\"22\":6,\"\\u0120\":7},"
	"\"merges\":[\"1 1\",\"2 2\"]}}";

static void split_bpe(void **state) {
	static const struct { const char *space, *whole, *text; int32_t ids[8]; int64_t n; } cases[] = {
		{"false", "true", "ab1122abb", {4, 2, 2, 6, 0, 1, 1}, 7}, {"false", "false", "ab1122abb", {0, 1, 2, 2, 6, 0, 1, 1}, 8},
		{"true", "true", "ab<s>1", {7, 0, 1, 8, 7, 2}, 6}, {"true", "true", " ab<s> 1", {7, 7, 0, 1, 8, 7, 7, 2}, 8},   /* a space before each piece of Split */
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char *json = sn_format(split, cases[i].space, cases[i].whole), *path = written("split.json", json);
		SnTokenizer *t = sn_tokenizer_open(path, NULL, 0);
		assert_non_null(t);
		assert_int_equal(sn_bos(t), 8);
		expect_ids(t, cases[i].text, strlen(cases[i].text), cases[i].ids, cases[i].n);
		sn_tokenizer_close(t);
		free(path);
		free(json);
	}
}

/* A word of a million letters: quadratic merging would take hours. */
static void long_word(void **state) {
	enum { N = 1000000 };
	char *path = written("small.json", small), *text = sn_alloc(N);
	SnTokenizer *t = sn_tokenizer_open(path, NULL, 0);
	memset(text, 'b', N);
	SnIds ids = {0};
	assert_int_equal(sn_encode(t, text, N, "test", &ids), SN_OK);
	assert_int_equal(ids.n, N / 2);
	free(ids.at);
	free(text);
	free(path);
	sn_tokenizer_close(t);
}

static void refused(void **state) {
	static const char *const bad[] = {
		"{\"model\":{\"type\":\"Unigram\",\"vocab\":[]}}",
		"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\"]]}}",
		"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",\"b\"]]}}",
		"{\"model\":{\"type\":\"Unigram\",\"unk_id\":1,\"vocab\":[[\"a\",1]]}}",
		"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",1],[\"a\",2],[\"b\",1e999]]}}",
		"{\"model\":{\"type\":\"Bigram\",\"vocab\":{}}}",
		"{\"model\":{\"type\":\"WordPiece\"}}",
		"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":0,\"b\":0}}}",
		"{\"model\":{\"type\":\"BPE\",\"dropout\":0.1,\"vocab\":{},\"merges\":[]}}",
		"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":-1},\"merges\":[]}}",
		"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":999999999},\"merges\":[]}}",
		"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a b\"]},\"pre_tokenizer\":{\"type\":\"ByteLevel\"}}",
		"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"ab\"]},\"pre_tokenizer\":{\"type\":\"ByteLevel\"}}",
		"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[[\"a\",\"a\",\"a\"]]}}",
		"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]},\"pre_tokenizer\":{\"type\":\"UnicodeScripts\"}}",
		"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]},\"pre_tokenizer\":{\"type\":\"Split\"}}",
		"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]},\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"}}}",
		"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]},\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},\"behavior\":\"Kept\"}}",
		"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]},\"pre_tokenizer\":{\"type\":\"Metaspace\",\"prepend_scheme\":\"often\"}}",
		"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]},\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\"}}",
		"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]},\"normalizer\":{\"type\":\"Romanize\"}}",
		"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]},\"normalizer\":{\"type\":\"Sequence\"}}",
		"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]},\"normalizer\":{\"type\":\"Replace\",\"pattern\":{}}}",
		"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]},\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAAA\"}}",
		"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]},\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"CAAAAAAAAAAAAAAAYWI=\"}}",
		"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]},\"decoder\":{\"type\":\"Morse\"}}",
		"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]},\"post_processor\":{\"type\":\"BertProcessing\"}}",
		"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]},\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"x\"}}]}}",
		"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]},\"added_tokens\":[{\"id\":-1,\"content\":\"x\"}]}",
		"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]},\"added_tokens\":[{\"id\":1,\"content\":\"\"}]}",
		"{\"sinter\":\"char\",\"codepoints\":[97,97]}", "{\"sinter\":\"char\",\"codepoints\":[-3]}", "{\"sinter\":\"word\"}", "{\"model\":", "[]", "{}",
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		char *path = written("bad.json", bad[i]);
		SnTokenizer *t = sn_tokenizer_open(path, NULL, 0);
		if (t)
			fail_msg("accepted: %s", bad[i]);
		free(path);
	}
	assert_null(sn_tokenizer_open("/nonexistent/tokenizer.json", NULL, 0));
	assert_null(sn_tokenizer_open(dir, NULL, 0));
}

static int setup(void **state) {
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state) {
	sn_remove_tree(dir);
	return 0;
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(utf8), cmocka_unit_test(chars), cmocka_unit_test(small_bpe), cmocka_unit_test(split_bpe), cmocka_unit_test(long_word),
		cmocka_unit_test(refused),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
