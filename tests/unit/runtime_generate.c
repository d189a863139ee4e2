/* Generation, evaluation, info and the command line on the hand-made bigram. */
#include "tests/unit/runtime_bigram.h"

static int trained(void **state) {
	if (setup(state))
		return -1;
	expect_run(0, "train --data corpus.txt --out run --save-every 0");
	return 0;
}

static void expect_out(const char *text) {
	size_t n = 0;
	char *s = get("out", &n);
	assert_non_null(s);
	assert_string_equal(s, text);
	free(s);
}

static void greedy(void **state) {
	expect_run(0, "generate -m run -p he -n 3");
	expect_in("err", "2/2 tensors matched");
	size_t n = 0;
	char *first = get("out", &n);
	assert_true(n == 6 && !memcmp(first, "he", 2));
	expect_run(0, "generate -m run -p he -n 3 -t 3");
	expect_out(first);
	expect_run(0, "generate -m run/last/model.safetensors --tokenizer run/last -p he -n 3");
	expect_out(first);
	expect_run(0, "generate -m run -p he -n 3 --no-echo -q");
	expect_out(first + 2);
	free(first);
}

/* A prompt longer than T's bound of 5 goes in pieces; the answer depends on its last character alone. */
static void chunks(void **state) {
	size_t n = 0;
	expect_run(0, "generate -m run -p hello,world,hollow -n 1 --no-echo");
	char *one = get("out", &n);
	expect_run(0, "generate -m run -p w -n 1 --no-echo");
	expect_out(one);
	free(one);
}

static void end_of_context(void **state) {
	expect_run(0, "generate -m run -p hello -n 1000 --temp 1");
	expect_in("err", "context of 32 tokens is full");
	expect_in("err", "generated 28,");
	expect_run(3, "generate -m run -p hellohellohellohellohellohellohellohello");
	expect_in("err", "the model's context is 32");
}

static void sampling(void **state) {
	size_t n = 0;
	expect_run(0, "generate -m run -p h -n 20 --temp 1 --seed 3");
	char *a = get("out", &n);
	expect_run(0, "generate -m run -p h -n 20 --temp 1 --seed 3 -t 1");
	expect_out(a);
	expect_run(0, "generate -m run -p h -n 20 --temp 1 --seed 4");
	char *b = get("out", &n);
	assert_string_not_equal(a, b);
	free(a);
	free(b);
	expect_run(0, "generate -m run -p h -n 20 --top-k 1 --temp 1");
	a = get("out", &n);
	expect_run(0, "generate -m run -p h -n 20");
	expect_out(a);
	free(a);
}

static void stop_text(void **state) {
	expect_run(0, "generate -m run -p w -n 30 --temp 1 --seed 3 --stop l --stop zzz");
	size_t n = 0;
	char *out = get("out", &n);
	assert_null(strchr(out, 'l'));
	free(out);
}

static void from_stdin(void **state) {
	put_text("prompt", "hello");
	char *path = in_dir("prompt");
	fflush(NULL);
	int saved = dup(0), fd = open(path, O_RDONLY);
	dup2(fd, 0);
	expect_run(0, "generate -m run -p - -n 1");
	dup2(saved, 0);
	close(fd);
	close(saved);
	free(path);
	size_t n = 0;
	char *out = get("out", &n);
	assert_true(n == 7 && !memcmp(out, "hello", 5));
	free(out);
}

static void refusals(void **state) {
	expect_run(2, "generate -p he");
	expect_in("err", "-m DIR");
	expect_run(0, "generate --random -p he --temp 0.5 -n 4 --tokenizer run/last");
	expect_run(2, "generate -m run --random -p he");
	expect_in("err", "--random exclude each other");
	expect_run(2, "eval -m run --random --data corpus.txt");
	expect_run(3, "generate -m nowhere -p he");
	expect_run(3, "generate -m . -p he");
	expect_run(3, "generate -m run -p xyz");
	expect_in("err", "U+0078");
	expect_run(2, "generate -m run --temp hot");
	expect_run(2, "generate -m run --top-p 1.5");
	expect_run(2, "generate -m run -n -3");
	expect_run(2, "generate -m run -n 1.5");
}

static void evaluates(void **state) {
	expect_run(0, "eval -m run --data corpus.txt");
	expect_in("out", "perplexity");
	size_t n = 0;
	char *all = get("out", &n), want[64];
	char *path = in_dir("corpus.txt");
	SnFile f;
	assert_int_equal(sn_file_map(&f, path), SN_OK);
	snprintf(want, sizeof want, "tokens %zu\n", f.n - 1);   /* every token but the first */
	sn_file_unmap(&f);
	free(path);
	assert_non_null(strstr(all, want));
	double loss = atof(all + 5);
	assert_true(loss > 0.3 && loss < 1.6);
	expect_run(0, "eval -m run --data corpus.txt --context 3 --batch 1 -t 3");
	char *other = get("out", &n);
	assert_float_equal(atof(other + 5), loss, 1e-4);   /* a bigram sees one token: any context is the same */
	free(all);
	free(other);
	expect_run(0, "eval -m run --data corpus.txt --eval-batches 2");
	expect_in("out", "tokens 64\n");
	expect_run(2, "eval --data corpus.txt");
	expect_run(2, "eval -m run --data corpus.txt --context 9");
	expect_run(2, "eval -m run --data corpus.txt --batch 7");
	expect_in("err", "--batch 7 is not a multiple of the compiled micro-batch 4");
	expect_run(0, "eval -m run --data corpus.txt --batch 12");
	expect_run(0, "eval -m run --data corpus.txt --batch 3");
}

static void bad_data(void **state) {
	put("empty.txt", "", 0);
	put_text("short.txt", "hello");
	put_text("latin1.txt", "h\xE9llo w\xF6rld hello world");
	put_text("wide.txt", "abcdefghijklmnopqrstuvwxyz0123456789");
	expect_run(3, "train --out n");
	expect_in("err", "default.txt");
	expect_run(2, "docs --out n");
	expect_in("err", "--data FILE");
	expect_run(3, "train --out n --data missing.txt");
	expect_run(3, "train --out n --data corpus.txt --valid missing.txt");
	put_corpus("default.txt");
	expect_run(3, "train --out n");
	expect_in("err", "valid.txt");
	put_corpus("valid.txt");
	expect_run(0, "train --out v --steps 1 --save-every 0");
	expect_run(3, "train --out n --data empty.txt");
	expect_run(3, "train --out n --data short.txt");
	expect_in("err", "one sequence needs 9");
	expect_run(3, "train --out n --data latin1.txt");
	expect_in("err", "line 1, byte 1: not valid UTF-8");
	expect_run(3, "train --out n --data wide.txt");
	expect_in("err", "--set V=36");
	expect_run(3, "train --out n --data corpus.txt --tokenizer byte");
	expect_in("err", "--set V=256");
	expect_run(3, "train --out n --data .");
	expect_run(3, "eval -m run --data wide.txt");
}

/* The tokenizer's vocabulary shows what was read: the field's texts and the newline after each. */
static void json_lines(void **state) {
	put_text("docs.jsonl", "{\"text\":\"abab\",\"id\":7}\n\n{\"id\":8,\"text\":\"bc\\u0064a\"}");
	expect_run(0, "docs --out j --data docs.jsonl");
	expect_in("j/last/tokenizer.json", "[10,97,98,99,100]");
	put_text("bad.jsonl", "{\"text\":\"hello world\"}\n{\"txt\":1}\n");
	expect_run(3, "docs --out b --data bad.jsonl");
	expect_in("err", "bad.jsonl:2: no text field \"text\"");
	put_text("bad.jsonl", "{\"text\":\"hello world\"\n");
	expect_run(3, "docs --out b --data bad.jsonl");
	expect_in("err", "bad.jsonl:1: not valid JSON");
}

static void commands(void **state) {
	expect_run(2, "");
	expect_in("err", "generate");
	expect_run(0, "--help");
	expect_in("out", "A bigram model, by hand.");
	expect_in("out", "vocabulary");
	expect_run(0, "--version");
	expect_in("out", "jansson");
	expect_run(2, "genrate");
	expect_in("err", "did you mean generate?");
	expect_run(2, "train --leraning-rate 3");
	expect_run(2, "train --bach 8");
	expect_in("err", "did you mean --batch?");
	expect_run(2, "train --temp 1");   /* not this command's */
	expect_run(2, "train --lr");
	expect_run(2, "train stray");
	expect_run(0, "train --help");
	expect_in("out", "--weight-decay");
	expect_in("out", "[0.05]");
	expect_run(0, "generate --help");
	expect_in("out", "--top-k");
	expect_run(0, "info --tensors -t2");
	expect_in("out", "parameters: 600 in 2 tensors");
	expect_in("out", "model.table.weight [24,24] decay");
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(greedy), cmocka_unit_test(chunks), cmocka_unit_test(end_of_context), cmocka_unit_test(sampling),
		cmocka_unit_test(stop_text), cmocka_unit_test(from_stdin), cmocka_unit_test(refusals), cmocka_unit_test(evaluates),
		cmocka_unit_test(bad_data), cmocka_unit_test(json_lines), cmocka_unit_test(commands),
	};
	return cmocka_run_group_tests(tests, trained, teardown);
}
