/* safetensors files, good and bad, and the matching of their tensors with a program's parameters. */
#include "tests/unit/runtime_bigram.h"

/* Writes a file of this header and n bytes of zeros after it. */
static void put_st(const char *name, const char *header, size_t n) {
	SnStr s = {0};
	uint64_t length = strlen(header);
	for (int i = 0; i < 8; i++)
		sn_str_add(&s, (char[]){(char)(length >> (8 * i))}, 1);
	sn_str_add(&s, header, length);
	for (size_t i = 0; i < n; i++)
		sn_str_add(&s, "", 1);
	put(name, s.s, s.n);
	free(s.s);
}

static int opens(const char *name) {
	SnSafetensors f;
	char *path = in_dir(name);
	int code = sn_st_open(&f, path);
	if (!code)
		sn_st_close(&f);
	free(path);
	return code;
}

#define TENSOR(name, dtype, shape, from, to) "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #from "," #to "]}"

static void good_files(void **state) {
	put_st("s", "{" TENSOR("b", "F32", "[2]", 8, 16) "," TENSOR("a", "F32", "[1,2]", 0, 8) ",\"__metadata__\":{\"x\":\"y\"}}  ", 16);
	assert_int_equal(opens("s"), SN_OK);
	put_st("s", "{" TENSOR("scalar", "BF16", "[]", 0, 2) "," TENSOR("none", "F32", "[0,7]", 2, 2) "," TENSOR("ids", "I64", "[1]", 2, 10) "}", 10);
	assert_int_equal(opens("s"), SN_OK);
	put_st("s", "{}", 0);
	assert_int_equal(opens("s"), SN_OK);
}

static void bad_files(void **state) {
	static const struct { const char *header; size_t n; } bad[] = {
		{"{" TENSOR("a", "F32", "[2]", 0, 8) "}", 7},                                           /* cut short */
		{"{" TENSOR("a", "F32", "[2]", 0, 8) "}", 9},                                           /* bytes behind */
		{"{" TENSOR("a", "F32", "[2]", 0, 8) "," TENSOR("b", "F32", "[2]", 4, 12) "}", 12},      /* overlap */
		{"{" TENSOR("a", "F32", "[2]", 0, 8) "," TENSOR("b", "F32", "[2]", 12, 20) "}", 20},     /* hole */
		{"{" TENSOR("a", "F32", "[2]", 0, 8) "," TENSOR("a", "F32", "[2]", 8, 16) "}", 16},      /* twice */
		{"{" TENSOR("a", "F32", "[3]", 0, 8) "}", 8},                                           /* shape and bytes */
		{"{" TENSOR("a", "F32", "[-2]", 0, 8) "}", 8},
		{"{" TENSOR("a", "F32", "[4294967296,4294967296]", 0, 0) "}", 0},                       /* product is 2^64 = 0 */
		{"{" TENSOR("a", "F32", "[4611686018427387904]", 0, 0) "}", 0},                         /* bytes are 2^64 = 0 */
		{"{" TENSOR("a", "F32", "[9223372036854775808]", 0, 0) "}", 0},
		{"{" TENSOR("a", "F32", "[1,1,1,1,1,1,1,1,1]", 0, 4) "}", 4},
		{"{" TENSOR("a", "F32", "[2]", 8, 0) "}", 8},
		{"{" TENSOR("a", "F32", "[2]", -8, 0) "}", 8},
		{"{" TENSOR("a", "Q4", "[2]", 0, 8) "}", 8},
		{"{" TENSOR("a", "F32", "2", 0, 8) "}", 8},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8},
		{"{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8},
		{"{\"a\":7}", 8}, {"[]", 0}, {"", 0}, {"{\"a\":", 0}, {"{} x", 0}, {"{\"\xFF\":1}", 0},
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		put_st("s", bad[i].header, bad[i].n);
		if (opens("s") != SN_DATA)
			fail_msg("accepted: %s with %zu bytes", bad[i].header, bad[i].n);
	}
	put("s", "\x10\0\0", 3);
	assert_int_equal(opens("s"), SN_DATA);
	put("s", "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF{}", 10);
	assert_int_equal(opens("s"), SN_DATA);
	put("s", "\x09\0\0\0\0\0\0\0{}", 10);
	assert_int_equal(opens("s"), SN_DATA);
}

/* Every cut and every changed byte of the header of a real file is refused or read, never a crash. */
static void damaged(void **state) {
	expect_run(0, "train --data corpus.txt --out run --steps 3");
	size_t n = 0;
	char *s = get("run/last/model.safetensors", &n);
	for (size_t cut = 0; cut < n; cut += cut < 300 ? 1 : 97) {
		put("s", s, cut);
		assert_int_equal(opens("s"), SN_DATA);
	}
	for (size_t at = 0; at < 300; at++) {
		char old = s[at];
		s[at] ^= 0x15;
		put("s", s, n);
		opens("s");
		s[at] = old;
	}
	free(s);
}

static void conversions(void **state) {
	static const uint16_t half[] = {0x3C00, 0xC000, 0x0001, 0x8400, 0x7BFF, 0x7C00}, brain[] = {0x3F80, 0xC000, 0x7F80};
	static const float want[] = {1, -2, 0x1p-24f, -0x1p-14f, 65504, INFINITY};
	SnStTensor t = {.kind = SN_ST_F16, .elems = 6, .at = (const char *)half, .bytes = 12};
	float got[6];
	sn_st_read(&t, got);
	for (int i = 0; i < 6; i++)
		assert_true(got[i] == want[i]);
	t = (SnStTensor){.kind = SN_ST_BF16, .elems = 3, .at = (const char *)brain, .bytes = 6};
	sn_st_read(&t, got);
	assert_true(got[0] == 1 && got[1] == -2 && got[2] == INFINITY);
	static const uint8_t e4m3[] = {0x38, 0xC0, 0x01, 0x7E, 0x08, 0xFF}, e5m2[] = {0x3C, 0xC0, 0x01, 0x7B, 0x04, 0xFC};
	static const float want4[] = {1, -2, 0x1p-9f, 448, 0x1p-6f}, want5[] = {1, -2, 0x1p-16f, 57344, 0x1p-14f};
	t = (SnStTensor){.kind = SN_ST_F8_E4M3, .elems = 6, .at = (const char *)e4m3, .bytes = 6};
	sn_st_read(&t, got);
	assert_true(!memcmp(got, want4, sizeof want4) && isnan(got[5]));
	t = (SnStTensor){.kind = SN_ST_F8_E5M2, .elems = 6, .at = (const char *)e5m2, .bytes = 6};
	sn_st_read(&t, got);
	assert_true(!memcmp(got, want5, sizeof want5) && got[5] == -INFINITY);
	static const int8_t bytes[] = {-128, 0, 127};
	t = (SnStTensor){.kind = SN_ST_I8, .elems = 3, .at = (const char *)bytes, .bytes = 3};
	sn_st_read(&t, got);
	assert_true(got[0] == -128 && got[1] == 0 && got[2] == 127);
	static const double doubles[] = {0.1, 1e300};
	t = (SnStTensor){.kind = SN_ST_F64, .elems = 2, .at = (const char *)doubles, .bytes = 16};
	sn_st_read(&t, got);
	assert_true(got[0] == 0.1f && got[1] == INFINITY);
}

#define TABLE_T(name) TENSOR(name, "F32", "[24,24]", 0, 2304)
#define BIAS_T(name) TENSOR(name, "F32", "[24]", 2304, 2400)
#define TRY "generate -m s --tokenizer run/last -p h -n 1"

static void names(void **state) {
	put_st("s", "{" TABLE_T("model.table.weight") "," BIAS_T("model.bias") "}", 2400);
	expect_run(0, TRY);
	put_st("s", "{" TABLE_T("table.weight") "," BIAS_T("bias") "}", 2400);
	expect_run(0, TRY);
	expect_in("err", "2/2 tensors matched (no \"model.\" prefix)");
	put_st("s", "{" TABLE_T("net.model.table.weight") "," BIAS_T("net.model.bias") "}", 2400);
	expect_run(0, TRY);
	expect_in("err", "(with the prefix \"net.\")");
	put_st("s", "{" TABLE_T("model.table.weight") "," BIAS_T("model.bias") "," TENSOR("model.attn.mask", "BOOL", "[4]", 2400, 2404) "}", 2404);
	expect_run(0, TRY);   /* ignored by the program's glob */
	put_st("s", "{" TABLE_T("net.tabel.weight") "," BIAS_T("net.bias") "}", 2400);
	expect_run(3, TRY);   /* two prefixes at once are none */
	put_st("s", "{" TABLE_T("tabel.weight") "," BIAS_T("bias") "}", 2400);
	expect_run(0, TRY);
	expect_in("err", "2/2 tensors matched (no \"model.\" prefix), 1 of the file's renamed");
	put_st("s", "{" TABLE_T("old.tabel.gamma") "," BIAS_T("model.bias") "}", 2400);
	expect_run(0, TRY);
	put_st("s", "{" TABLE_T("model.table.weight") "," TENSOR("model.tabel.weight", "F32", "[24]", 2304, 2400) "}", 2400);
	expect_run(3, TRY);
	expect_in("err", "model.tabel.weight becomes model.table.weight");
	put_st("s", "{" TABLE_T("model.table.weight") "," BIAS_T("model.biass") "}", 2400);
	expect_run(3, TRY);
	expect_in("err", "model.bias: not in the file; nearest: model.biass");
	expect_in("err", "1/2 tensors matched");
	put_st("s", "{" TABLE_T("model.table.weight") "," BIAS_T("model.bias") "," TENSOR("model.extra", "F32", "[1]", 2400, 2404) "}", 2404);
	expect_run(3, TRY);
	expect_in("err", "model.extra: the model has no such parameter");
	put_st("s", "{" TENSOR("model.table.weight", "F32", "[576]", 0, 2304) "," BIAS_T("model.bias") "}", 2400);
	expect_run(3, TRY);
	expect_in("err", "the model has [24,24], the file F32 [576]");
	put_st("s", "{" TENSOR("model.table.weight", "I32", "[24,24]", 0, 2304) "," BIAS_T("model.bias") "}", 2400);
	expect_run(3, TRY);
	expect_in("err", "dtype I32");
	put_st("s", "{" TENSOR("model.table.weight", "BF16", "[24,24]", 0, 1152) "," TENSOR("model.bias", "F8_E4M3", "[24]", 1152, 1176) "}", 1176);
	expect_run(0, TRY);
	expect_in("err", "2/2 tensors matched");
}

/* A checkpoint cut into two files, under an index. */
static void shards(void **state) {
	expect_run(0, "train --data corpus.txt --out sh --steps 1 -q");
	char *path = in_dir("cut");
	assert_int_equal(sn_mkdirs(path), SN_OK);
	put_st("cut/1.safetensors", "{" TABLE_T("model.table.weight") "}", 2304);
	put_st("cut/2.safetensors", "{" TENSOR("model.bias", "F32", "[24]", 0, 96) "}", 96);
	put_text("cut/model.safetensors.index.json", "{\"weight_map\":{\"model.table.weight\":\"1.safetensors\",\"model.bias\":\"2.safetensors\"}}");
	expect_run(0, "generate -m cut --tokenizer sh/last -p h -n 1");
	expect_in("err", "2/2 tensors matched");
	put_text("cut/model.safetensors.index.json", "{\"weight_map\":{\"model.table.weight\":\"1.safetensors\",\"model.bias\":\"../2.safetensors\"}}");
	expect_run(3, "generate -m cut --tokenizer sh/last -p h -n 1");
	put_text("cut/model.safetensors.index.json", "{\"weight_map\":{\"model.table.weight\":\"1.safetensors\",\"model.bias\":\"1.safetensors\"}}");
	expect_run(3, "generate -m cut --tokenizer sh/last -p h -n 1");
	expect_in("err", "model.bias is not in 1.safetensors");
	put_text("cut/model.safetensors.index.json", "{\"weight_map\":{\"model.table.weight\":\"2.safetensors\",\"model.bias\":\"1.safetensors\"}}");
	expect_run(3, "generate -m cut --tokenizer sh/last -p h -n 1");
	expect_in("err", "is not in 2.safetensors");
	put_text("cut/model.safetensors.index.json", "{\"weight_map\":{\"model.table.weight\":\"1.safetensors\",\"model.bias\":\"3.safetensors\"}}");
	expect_run(3, "generate -m cut --tokenizer sh/last -p h -n 1");
	expect_in("err", "3.safetensors: No such file");
	put_text("cut/model.safetensors.index.json", "{\"weight_map\":{\"model.bias\":\"1.safetensors\",\"model.bias\":\"2.safetensors\"}}");
	expect_run(3, "generate -m cut --tokenizer sh/last -p h -n 1");
	put_text("cut/model.safetensors.index.json", "{\"weight_map\":{\"model.bias\":7}}");
	expect_run(3, "generate -m cut --tokenizer sh/last -p h -n 1");
	put_st("cut/2.safetensors", "{" TABLE_T("model.table.weight") "}", 2304);
	put_text("cut/model.safetensors.index.json", "{\"weight_map\":{\"model.table.weight\":\"1.safetensors\",\"model.bias\":\"2.safetensors\"}}");
	expect_run(3, "generate -m cut --tokenizer sh/last -p h -n 1");
	expect_in("err", "model.table.weight is in two of its files");
	free(path);
}

static void bad_checkpoints(void **state) {
	static const char *const broken[] = {"state.json", "optimizer.safetensors", "model.safetensors", "tokenizer.json"};
	for (size_t i = 0; i < 4; i++) {
		expect_run(0, "train --data corpus.txt --out c --steps 3");
		char *name = sn_format("c/last/%s", broken[i]);
		put(name, "{\"format\":1", 11);
		expect_run(3, "train --resume c --steps 4");
		expect_in("err", broken[i]);
		free(name);
		char *path = in_dir("c"), *command = sn_format("rm -rf %s", path);
		assert_int_equal(system(command), 0);
		free(path);
		free(command);
	}
	expect_run(3, "train --resume nowhere");
}

static void flip(const char *name, size_t from_end) {
	size_t n = 0;
	char *s = get(name, &n);
	s[n - from_end] ^= 4;
	put(name, s, n);
	free(s);
}

/* One bit of a weight, a moment, a number of the state: each says which file it is, and put right all is well again. */
static void checksums(void **state) {
	expect_run(0, "train --data corpus.txt --out h --steps 3 --save-every 3");
	flip("h/last/model.safetensors", 6);
	expect_run(3, "train --resume h --steps 4");
	expect_in("err", "last/model.safetensors: damaged");
	expect_run(3, "train --data corpus.txt --out h2 -m h/last");
	flip("h/last/model.safetensors", 6);
	flip("h/last/optimizer.safetensors", 900);
	expect_run(3, "train --resume h --steps 4");
	expect_in("err", "last/optimizer.safetensors: damaged");
	flip("h/last/optimizer.safetensors", 900);
	flip("h/best/model.safetensors", 2);
	expect_run(3, "generate -m h -p h -n 1");
	expect_in("err", "best/model.safetensors: damaged");
	expect_run(3, "generate -m h/best/model.safetensors --tokenizer h/best -p h -n 1");
	expect_run(3, "eval -m h --data corpus.txt");
	flip("h/best/model.safetensors", 2);
	expect_run(0, "eval -m h --data corpus.txt");
	size_t n = 0;
	char *s = get("h/last/state.json", &n), *step = strstr(s, "\"step\": 3");
	assert_non_null(step);
	step[8] = '2';
	put("h/last/state.json", s, n);
	expect_run(3, "train --resume h --steps 4");
	expect_in("err", "state.json: damaged");
	step[8] = '3';
	put("h/last/state.json", s, n);
	expect_run(0, "train --resume h --steps 4");
	free(s);
}

static void globs(void **state) {
	assert_true(sn_glob("*.mask", "h.0.attn.mask"));
	assert_true(sn_glob("h.?.*.bias", "h.3.attn.bias"));
	assert_true(sn_glob("*", ""));
	assert_false(sn_glob("*.mask", "h.0.mask.x"));
	assert_false(sn_glob("h.?.bias", "h.10.bias"));
	assert_false(sn_glob("a", ""));
	static const char *const list[] = {"batch", "beta1", "steps"};
	assert_string_equal(sn_nearest("bacth", list, 3), "batch");
	assert_null(sn_nearest("quite-other", list, 3));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_files), cmocka_unit_test(bad_files), cmocka_unit_test(damaged), cmocka_unit_test(conversions),
		cmocka_unit_test(names), cmocka_unit_test(shards), cmocka_unit_test(bad_checkpoints), cmocka_unit_test(checksums), cmocka_unit_test(globs),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
