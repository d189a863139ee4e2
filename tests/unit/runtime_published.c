/* Real tokenizers, where the data is (SINTER_TEST_DATA or ../shared/data): GPT-2, BERT and Llama 2 against llama.cpp's published ids, from
 * Hugging Face's files and from GGUF's vocabularies; RoBERTa and T5 against ids known of them. */
#include "tests/gguf_vocab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static char dir[] = "/tmp/sn_published_XXXXXX";

static char *data_path(const char *name) {
	const char *root = getenv("SINTER_TEST_DATA");
	char *path = sn_format("%s/tokenizers/%s", root ? root : "../shared/data", name);
	if (sn_exists(path))
		return path;
	printf("skipped: %s is absent\n", path);
	free(path);
	return NULL;
}

/* Ids with what the post-processor adds where `whole`. */
static SnIds encoded(const SnTokenizer *t, const char *text, size_t n, bool whole) {
	SnIds plain = {0}, ids = {0}, types = {0};
	assert_int_equal(sn_encode(t, text, n, "test", &plain), SN_OK);
	if (!whole)
		return plain;
	sn_post_process(t, &plain, NULL, &ids, &types);
	assert_int_equal(ids.n, types.n);
	free(plain.at);
	free(types.at);
	return ids;
}

static void expect(const SnTokenizer *t, const char *text, bool whole, const int32_t *want, int64_t n) {
	SnIds ids = encoded(t, text, strlen(text), whole);
	assert_int_equal(ids.n, n);
	assert_memory_equal(ids.at, want, sizeof *want * (size_t)n);
	free(ids.at);
}

/* Texts separated by a line, ids a line each. exact: decoding gives the text back. */
static void published(const SnTokenizer *t, const char *name, bool exact) {
	static const char mark[] = "\n__ggml_vocab_test__\n";
	char *in = sn_format("%s.inp", name), *out = sn_format("%s.out", name), *inp = data_path(in), *outp = data_path(out);
	SnFile texts, ids;
	assert_int_equal(sn_file_map(&texts, inp), SN_OK);
	assert_int_equal(sn_file_map(&ids, outp), SN_OK);
	const char *line = ids.at, *text = texts.at, *end = texts.at + texts.n;
	int count = 0;
	for (; text < end; count++) {
		const char *stop = memmem(text, (size_t)(end - text), mark, sizeof mark - 1);
		size_t n = (size_t)((stop ? stop : end) - text);
		SnIds got = encoded(t, text, n, false);
		int64_t k = 0;
		for (char *after; *line != '\n'; line = after, k++) {
			assert_true(k < got.n);
			assert_int_equal(got.at[k], strtol(line, &after, 10));
			while (*after == ' ')
				after++;
		}
		assert_int_equal(got.n, k);
		line++;
		SnStr back = {0}, pieces = {0};
		assert_int_equal(sn_decode(t, got.at, got.n, false, &back), SN_OK);
		for (int64_t i = 0; i < got.n; i++)
			sn_decode_piece(t, got.at[i], !i, &pieces);
		assert_int_equal(back.n, pieces.n);       /* token by token it is the same text */
		if (back.n)
			assert_memory_equal(back.s, pieces.s, back.n);
		if (exact && n)
			assert_memory_equal(back.s, text, n);
		free(back.s);
		free(pieces.s);
		free(got.at);
		text += n + sizeof mark - 1;
	}
	assert_true(count > 40);
	sn_file_unmap(&texts);
	sn_file_unmap(&ids);
	free(in);
	free(out);
	free(inp);
	free(outp);
}

static SnTokenizer *of_gguf(const char *name) {
	char *path = data_path(name);
	if (!path)
		return NULL;
	json_t *json = gguf_vocab(path);
	assert_non_null(json);
	char *made = sn_format("%s/gguf.json", dir), *dump = json_dumps(json, JSON_COMPACT);
	assert_int_equal(sn_file_write(made, dump, strlen(dump)), SN_OK);
	SnTokenizer *t = sn_tokenizer_open(made, NULL, 0);
	assert_non_null(t);
	free(dump);
	free(made);
	free(path);
	json_decref(json);
	return t;
}

static SnTokenizer *of_file(const char *name) {
	char *path = data_path(name);
	SnTokenizer *t = path ? sn_tokenizer_open(path, NULL, 0) : NULL;
	free(path);
	return t;
}

static void gpt2(void **state) {
	SnTokenizer *t = of_file("gpt2.merges.txt");
	if (!t)
		skip();
	assert_int_equal(sn_tokenizer_size(t), 50257);
	published(t, "gpt-2", true);
	expect(t, "Hi<|endoftext|>Hi", false, (int32_t[]){17250, 50256, 17250}, 3);
	char *copy = sn_format("%s/gpt2.json", dir);
	assert_int_equal(sn_tokenizer_save(t, copy), SN_OK);
	SnTokenizer *again = sn_tokenizer_open(copy, NULL, 0);
	expect(again, "Hello world", false, (int32_t[]){15496, 995}, 2);
	sn_tokenizer_close(again);
	sn_tokenizer_close(t);
	free(copy);
}

static void gpt2_gguf(void **state) {
	SnTokenizer *t = of_gguf("ggml-vocab-gpt-2.gguf");
	if (!t)
		skip();
	published(t, "gpt-2", true);
	sn_tokenizer_close(t);
}

static void bert(void **state) {
	SnTokenizer *t = of_file("bert-base-uncased.tokenizer.json");
	if (!t)
		skip();
	assert_string_equal(sn_tokenizer_kind(t), "wordpiece");
	published(t, "bert-bge", false);
	expect(t, "Hello [MASK]!", true, (int32_t[]){101, 7592, 103, 999, 102}, 5);
	sn_tokenizer_close(t);
}

static void bert_gguf(void **state) {
	SnTokenizer *t = of_gguf("ggml-vocab-bert-bge.gguf");
	if (!t)
		skip();
	published(t, "bert-bge", false);
	expect(t, "Hello!", true, (int32_t[]){101, 7592, 999, 102}, 4);
	sn_tokenizer_close(t);
}

static void llama_gguf(void **state) {
	SnTokenizer *t = of_gguf("ggml-vocab-llama-spm.gguf");
	if (!t)
		skip();
	published(t, "llama-spm", true);
	assert_int_equal(sn_bos(t), 1);
	assert_int_equal(sn_eos(t), -1);
	sn_tokenizer_close(t);
}

static void roberta(void **state) {
	SnTokenizer *t = of_file("roberta-base.tokenizer.json");
	if (!t)
		skip();
	assert_int_equal(sn_tokenizer_size(t), 50265);
	expect(t, "Hello world  <mask>", true, (int32_t[]){0, 31414, 232, 50264, 2}, 5);
	SnIds a = encoded(t, "a", 1, false), b = encoded(t, "b", 1, false), ids = {0}, types = {0};
	sn_post_process(t, &a, &b, &ids, &types);
	assert_int_equal(ids.n, 6);
	assert_memory_equal(ids.at, ((int32_t[]){0, a.at[0], 2, 2, b.at[0], 2}), 24);
	free(a.at);
	free(b.at);
	free(ids.at);
	free(types.at);
	sn_tokenizer_close(t);
}

static void t5(void **state) {
	SnTokenizer *t = of_file("t5-small.tokenizer.json");
	if (!t)
		skip();
	assert_string_equal(sn_tokenizer_kind(t), "unigram");
	expect(t, "translate English to German: Hello.", true, (int32_t[]){13959, 1566, 12, 2968, 10, 8774, 5, 1}, 8);
	expect(t, "Hi <extra_id_0> \xEF\xAC\x81", true, (int32_t[]){2018, 32099, 361, 1}, 4);   /* U+FB01 is "fi" */
	SnStr text = {0};
	assert_int_equal(sn_decode(t, (int32_t[]){13959, 1566, 1}, 3, true, &text), SN_OK);
	assert_string_equal(text.s, "translate English");
	free(text.s);
	sn_tokenizer_close(t);
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
		cmocka_unit_test(gpt2), cmocka_unit_test(gpt2_gguf), cmocka_unit_test(bert), cmocka_unit_test(bert_gguf), cmocka_unit_test(llama_gguf),
		cmocka_unit_test(roberta), cmocka_unit_test(t5),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
