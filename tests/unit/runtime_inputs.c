/* inputs.c on an entry made by hand: what a file must have, where it is wrong, and what lies in the arena after a call's
 * examples were filled in: B on a first and on a later axis, two values an example, a table without B. Also training from
 * such a file by the hand-made bigram: killed and resumed, the order of examples, and what `rename` does to names. */
#include "tests/unit/runtime_bigram.h"

/* --- an entry: a f32[2,B,3], b i32[2*B] of ids below 9 or -100, c bool[T], d f32[], e f32[T*T] */
enum { AT_A = 0, AT_B = 1024, AT_C = 2048, AT_D = 3072, AT_E = 4096, AT_BYTES = 8192 };

static void own_shapes(const int64_t *dims, int64_t *out) {
	const int64_t all[] = {2, dims[0], 3, 2 * dims[0], dims[1], dims[1] * dims[1]};
	memcpy(out, all, sizeof all);
}

static const SnAxis axes_a[] = {{-1, 0, 2, "2"}, {0, 1, 0, "B"}, {-1, 0, 3, "3"}}, axes_b[] = {{0, 2, 0, "2*B"}}, axes_c[] = {{1, 1, 0, "T"}},
	axes_e[] = {{-2, 0, 0, "T^2"}};
static const SnSlot own_slots[] = {{"a", 0, SN_F32, 3, AT_A, axes_a, 0, 0}, {"b", 0, SN_I32, 1, AT_B, axes_b, 9, 1}, {"c", 0, SN_BOOL, 1, AT_C, axes_c, 0, 0},
	{"d", 0, SN_F32, 0, AT_D, NULL, 0, 0}, {"e", 0, SN_F32, 1, AT_E, axes_e, 0, 0}, {"seed", 0, SN_I32, 0, 0, NULL, 0, 0}};
static const SnFunction own_function[] = {{"run", NULL, 0, own_slots, COUNT(own_slots), own_shapes, NULL, NULL, 0, NULL, 0, NULL, NULL, 0}};
static const SnSym own_syms[] = {{"B", 2}, {"T", 3}};
static const SnEntry own = {SN_INFER, "own", "", NULL, 0, own_function, 1, NULL, 0, own_syms, 2, AT_BYTES, 0, 0, 0, 0, NULL, NULL, NULL};

typedef struct Part { const char *name, *dtype, *shape; int size; int64_t n; const void *at; } Part;

static void put_parts(const char *name, const Part *parts, int count) {
	SnStr header = {0}, all = {0};
	int64_t at = 0;
	for (int i = 0; i < count; i++) {
		int64_t end = at + parts[i].n * parts[i].size;
		sn_str_printf(&header, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%lld,%lld]}", i ? "," : "{", parts[i].name, parts[i].dtype,
		              parts[i].shape, (long long)at, (long long)end);
		at = end;
	}
	sn_str_printf(&header, "}");
	for (int i = 0; i < 8; i++)
		sn_str_add(&all, (char[]){(char)(header.n >> (8 * i))}, 1);
	sn_str_add(&all, header.s, header.n);
	for (int i = 0; i < count; i++)
		sn_str_add(&all, parts[i].at, (size_t)(parts[i].n * parts[i].size));
	put(name, all.s, all.n);
	free(header.s);
	free(all.s);
}

/* Four examples: a[o,i,k] = 100 o + 10 i + k, b = 2 i and 2 i + 1 */
static double a_of[24];
static int64_t b_of[8];
static const uint8_t c_of[] = {1, 0};
static const float d_of[] = {7.5f}, e_of[] = {1, 2, 3, 4};
static Part good[5];

static void make_good(void) {
	for (int o = 0; o < 2; o++)
		for (int i = 0; i < 4; i++)
			for (int k = 0; k < 3; k++)
				a_of[(o * 4 + i) * 3 + k] = 100 * o + 10 * i + k;
	for (int i = 0; i < 8; i++)
		b_of[i] = i == 5 ? -100 : i;
	good[0] = (Part){"a", "F64", "[2,4,3]", 8, 24, a_of};
	good[1] = (Part){"b", "I64", "[8]", 8, 8, b_of};
	good[2] = (Part){"c", "U8", "[2]", 1, 2, c_of};
	good[3] = (Part){"d", "F32", "[]", 4, 1, d_of};
	good[4] = (Part){"e", "F32", "[4]", 4, 4, e_of};
}

static int open_parts(SnInputs *in, const Part *parts, int n, const char *const *except) {
	static char *path;
	put_parts("in", parts, n);
	free(path);
	path = in_dir("in");
	return sn_inputs_open(in, &own, own_function, path, except);
}

static void fills(void **state) {
	SnInputs in;
	SnSession s;
	make_good();
	assert_int_equal(open_parts(&in, good, 5, NULL), SN_OK);
	assert_int_equal(in.examples, 4);
	assert_int_equal(in.batch, 0);
	assert_int_equal(in.dims[1], 2);
	assert_int_equal(sn_session_open(&s, &own, 1), SN_OK);
	sn_inputs_fill(&in, &s, (int64_t[]){3, 1}, 2, SN_FIXED);
	assert_true(s.dims[0] == 2 && s.dims[1] == 2);
	char *arena = s.arena;
	static const float a[] = {30, 31, 32, 10, 11, 12, 130, 131, 132, 110, 111, 112};
	static const int32_t b[] = {6, 7, 2, 3};
	assert_memory_equal(F32(AT_A), a, sizeof a);
	assert_memory_equal(I32(AT_B), b, sizeof b);
	assert_true(arena[AT_C] == 1 && arena[AT_C + 1] == 0);
	assert_true(F32(AT_D)[0] == 7.5f);
	assert_memory_equal(F32(AT_E), e_of, sizeof e_of);
	sn_inputs_fill(&in, &s, NULL, 1, SN_FIXED);
	assert_true(s.dims[0] == 1 && F32(AT_A)[3] == 100 && I32(AT_B)[1] == 1);
	sn_inputs_fill(&in, &s, (int64_t[]){2}, 1, SN_FIXED);
	assert_true(I32(AT_B)[0] == 4 && I32(AT_B)[1] == -100);
	sn_session_close(&s);
	sn_inputs_close(&in);
}

/* The good file with one part changed, or left out (name NULL). */
static void refuses(int which, Part other) {
	Part parts[5];
	SnInputs in;
	int n = 0;
	make_good();
	for (int i = 0; i < 5; i++)
		if (i != which)
			parts[n++] = good[i];
		else if (other.name)
			parts[n++] = other;
	if (open_parts(&in, parts, n, NULL) != SN_DATA)
		fail_msg("taken: %s %s %s", other.name ? other.name : "without one", other.dtype, other.shape);
	assert_int_equal(in.n, 0);
}

static void refused(void **state) {
	static const int64_t nine[] = {0, 1, 2, 3, 4, 5, 6, 9}, minus[] = {0, 1, 2, 3, 4, 5, 6, -1}, eight[9] = {0};
	static const uint64_t most[] = {0, 1, 2, 3, 4, 5, 6, UINT64_MAX};
	static const uint8_t two[] = {1, 2}, many[] = {1, 1, 1, 1, 1, 1, 1, 1};
	static const float zeros[32] = {0};
	const Part bad[] = {
		{NULL, NULL, NULL, 0, 0, NULL}, {"aa", "F64", "[2,4,3]", 8, 24, a_of}, {"a", "F64", "[2,3,4]", 8, 24, a_of}, {"a", "F64", "[24]", 8, 24, a_of},
		{"a", "F32", "[2,3,3]", 4, 18, zeros}, {"a", "F32", "[2,0,3]", 4, 0, zeros}, {"a", "I64", "[2,4,3]", 8, 24, a_of},
		{"b", "I64", "[8]", 8, 8, nine}, {"b", "I64", "[8]", 8, 8, minus}, {"b", "U64", "[8]", 8, 8, most}, {"b", "I64", "[9]", 8, 9, eight},
		{"b", "F32", "[8]", 4, 8, zeros}, {"b", "BOOL", "[8]", 1, 8, many}, {"c", "U8", "[2]", 1, 2, two}, {"c", "U8", "[4]", 1, 4, many},
		{"c", "I8", "[2]", 1, 2, many}, {"d", "F32", "[1]", 4, 1, zeros}, {"e", "F32", "[5]", 4, 5, zeros}, {"e", "F8_E4M3", "[4]", 1, 4, zeros},
	};
	static const int which[] = {0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 4, 4};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		refuses(which[i], bad[i]);
	SnInputs in;
	Part more[6];
	make_good();
	memcpy(more, good, sizeof good);
	more[5] = (Part){"seed", "I32", "[]", 4, 1, zeros};
	assert_int_equal(open_parts(&in, more, 6, NULL), SN_DATA);   /* the compiler's own is not the user's to give */
}

static void excepted_inputs(void **state) {
	static const char *const except[] = {"b", "e", NULL};
	SnInputs in;
	make_good();
	good[1] = good[2];
	good[2] = good[3];
	assert_int_equal(open_parts(&in, good, 3, except), SN_OK);
	assert_int_equal(in.n, 3);
	sn_inputs_close(&in);
	assert_int_equal(open_parts(&in, good, 3, NULL), SN_DATA);
}

/* --- the bigram on files */

static void put_tokens(const char *name, int64_t rows, int64_t len) {
	int32_t *ids = sn_alloc(sizeof *ids * (size_t)(rows * len));
	for (int64_t i = 0; i < rows * len; i++)
		ids[i] = (int32_t)(i * i % 7 + i / len % 5);
	char *shape = sn_format("[%lld,%lld]", (long long)rows, (long long)len);
	put_parts(name, &(Part){"tokens", "I32", shape, 4, rows * len, ids}, 1);
	free(shape);
	free(ids);
}

static void trains(void **state) {
	put_tokens("t", 23, 7);
	expect_run(0, "train -i t --out a --steps 30 --schedule constant");
	expect_in("a/metrics.jsonl", "\"examples\":240");
	expect_run(0, "train -i t --out b --steps 30 -t 3 -q --schedule constant");
	expect_same("a/last/model.safetensors", "b/last/model.safetensors");
	expect_run(0, "train -i t --out c --steps 11 -q --schedule constant");
	expect_run(0, "train --resume c --steps 30 -q");
	expect_same("a/last/model.safetensors", "c/last/model.safetensors");
	expect_in("c/last/state.json", "\"examples\": 240");
	expect_run(0, "eval -m a -i t --json");
	expect_in("out", "\"examples\":23}");
	put_tokens("t", 24, 7);
	expect_run(3, "train --resume c --steps 40");
	expect_in("err", "not what this run began with");
	expect_run(0, "train --resume c --steps 40 -i t");
}

/* Killed at any point, then resumed: the same bits, also of the example that comes next. */
static void killed(void **state) {
	put_tokens("t", 23, 7);
	expect_run(0, "train -i t --out whole --steps 40 -q");
	setenv("SN_TEST_SLOW", "1500", 1);
	int code = 1000, kills = 0;
	for (useconds_t wait = 9000; code >= 1000; wait += 9000) {
		char *last = in_dir("k/last/state.json");
		pid_t pid = start(sn_exists(last) ? "train --resume k" : "train -i t --out k --steps 40 -q", 0);
		free(last);
		usleep(wait);
		kill(pid, SIGKILL);
		code = finish(pid);
		kills += code >= 1000;
	}
	unsetenv("SN_TEST_SLOW");
	assert_int_equal(code, 0);
	assert_true(kills >= 2);
	expect_same("whole/last/model.safetensors", "k/last/model.safetensors");
	expect_same("whole/last/optimizer.safetensors", "k/last/optimizer.safetensors");
}

/* Within each pass every example comes once, and passes differ. */
static void order(void **state) {
	SnOptions o = {.program = &sn_program, .entry = (const SnEntry *)sn_program.entries, .saved = json_object()};
	char *path = in_dir("t");
	put_tokens("t", 21, 7);
	json_object_set_new(o.saved, "data.inputs", json_string(path));
	json_object_set_new(o.saved, "data.valid_fraction", json_real(0));
	SnSession s;
	SnSource src;
	SnBatch b = {3, 0, 1};
	assert_int_equal(sn_session_open(&s, o.entry, 1), SN_OK);
	assert_int_equal(sn_source_open(&src, &s, &o, sn_function(o.entry, "step"), NULL, &b), SN_OK);
	int64_t passes[3][21];
	for (int64_t at = 0; at < 63; at += 3) {
		sn_source_fill(&src, &s, at / 3, at);
		memcpy(&passes[at / 21][at % 21], src.pick, sizeof *src.pick * 3);
	}
	for (int p = 0; p < 3; p++) {
		uint32_t seen = 0;
		for (int i = 0; i < 21; i++)
			seen |= 1u << passes[p][i];
		assert_int_equal(seen, (1 << 21) - 1);
	}
	assert_true(memcmp(passes[0], passes[1], sizeof passes[0]) && memcmp(passes[1], passes[2], sizeof passes[0]));
	sn_source_fill(&src, &s, 0, 30);   /* any place, without those before it */
	assert_memory_equal(src.pick, &passes[1][9], sizeof *src.pick * 3);
	sn_source_close(&src);
	sn_session_close(&s);
	json_decref(o.saved);
	free(path);
}

static void expect_renamed(const char *name, const char *want) {
	char *got = sn_renamed(&sn_program, name);
	if (want)
		assert_string_equal(got, want);
	else
		assert_null(got);
	free(got);
}

static void renamed(void **state) {
	expect_renamed("model.tabel.weight", "model.table.weight");
	expect_renamed("tabel", "table");
	expect_renamed("tabel.x.tabel", "table.x.table");
	expect_renamed("old.table.gamma", "model.table.weight");
	expect_renamed("old.h.0.gamma", "model.h.0.weight");
	expect_renamed("net.old.a.gamma.old.b.gamma", "net.model.a.weight.model.b.weight");
	expect_renamed("old.tabel.gamma", "model.table.weight");   /* one after the other */
	expect_renamed("model.tabels.weight", NULL);
	expect_renamed("model.stabel", NULL);
	expect_renamed("old..gamma", NULL);
	expect_renamed("old.table.gammas", NULL);
	expect_renamed("", NULL);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fills), cmocka_unit_test(refused), cmocka_unit_test(excepted_inputs), cmocka_unit_test(trains),
		cmocka_unit_test(killed), cmocka_unit_test(order), cmocka_unit_test(renamed),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
