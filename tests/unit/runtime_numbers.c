/* Random numbers, sampling, threads: what must hold whatever the program. */
#include "tests/unit/runtime_bigram.h"

#include <stdatomic.h>
#include <sys/stat.h>

static void philox(void **state) {
	static const uint32_t known[][5] = {{0, 0, 0, 0xff1dae59, 0x6cd10df2}, {~0u, ~0u, ~0u, 0x2c3f628b, 0xab4fd7ad},
		{0x243f6a88, 0x85a308d3, 0x13198a2e, 0xdd7ce038, 0xf62a4c12}};
	for (int i = 0; i < 3; i++) {
		SnPair p = sn_philox(known[i][0], known[i][1], known[i][2]);
		assert_int_equal(p.a, known[i][3]);
		assert_int_equal(p.b, known[i][4]);
	}
}

static void normals(void **state) {
	enum { COUNTED = 1 << 20 };
	float *x = sn_alloc(sizeof *x * COUNTED), part[777];
	sn_normals(x, 0, COUNTED, 7, 0, 1);
	double mean = 0, square = 0, fourth = 0, neighbours = 0;
	int beyond = 0;
	for (int i = 0; i < COUNTED; i++) {
		mean += x[i];
		square += (double)x[i] * x[i];
		fourth += pow(x[i], 4);
		neighbours += i ? (double)x[i] * x[i - 1] : 0;
		beyond += fabsf(x[i]) > 2;
	}
	assert_float_equal(mean / COUNTED, 0, 0.004);
	assert_float_equal(square / COUNTED, 1, 0.006);
	assert_float_equal(fourth / COUNTED, 3, 0.04);
	assert_float_equal(neighbours / COUNTED, 0, 0.004);
	assert_float_equal((double)beyond / COUNTED, 0.0455, 0.001);
	sn_normals(part, 514, 777, 7, 0, 1);
	assert_memory_equal(part, x + 514, sizeof part);   /* the same wherever the range is cut */
	sn_normals(part, 0, 777, 8, 0, 1);
	assert_true(memcmp(part, x, sizeof part));
	free(x);
}

/* Initial weights of every kind, the same on 1 and 3 threads. */
static const int64_t big[] = {1000, 11};
static const SnTensor drawn[] = {
	{.name = "normal", .dtype = SN_F32, .rank = 2, .dims = big, .offset = 0, .bytes = 44000, .init = 2, .a = 1, .b = 0.5},
	{.name = "uniform", .dtype = SN_F32, .rank = 2, .dims = big, .offset = 1 << 16, .bytes = 44000, .init = 3, .a = -2, .b = 3},
	{.name = "cut", .dtype = SN_F32, .rank = 2, .dims = big, .offset = 2 << 16, .bytes = 44000, .init = 4, .a = 0, .b = 0.02},
	{.name = "ones", .dtype = SN_F32, .rank = 2, .dims = big, .offset = 3 << 16, .bytes = 44000, .init = 1, .a = 1, .b = 0},
};
static const SnEntry drawing = {SN_TRAIN, "drawing", "", NULL, 0, NULL, 0, drawn, 4, NULL, 0, 4 << 16, 0, 0, 0, 0, NULL, NULL, NULL};

static void initial_weights(void **state) {
	SnSession one, three;
	assert_int_equal(sn_session_open(&one, &drawing, 1), SN_OK);
	assert_int_equal(sn_session_open(&three, &drawing, 3), SN_OK);
	assert_int_equal((uintptr_t)three.arena % (2 << 20), 0);
	sn_init_params(&one, 5);
	sn_init_params(&three, 5);
	assert_memory_equal(one.arena, three.arena, 4 << 16);
	const float *normal = (float *)one.arena, *uniform = (float *)(one.arena + (1 << 16)), *cut = (float *)(one.arena + (2 << 16)), *ones = (float *)(one.arena + (3 << 16));
	double mean = 0, square = 0, middle = 0;
	for (int i = 0; i < 11000; i++) {
		mean += cut[i];
		square += (double)cut[i] * cut[i];
		middle += uniform[i];
		assert_true(fabsf(cut[i]) <= 0.04f);
		assert_true(uniform[i] >= -2 && uniform[i] < 3 && ones[i] == 1);
	}
	assert_float_equal(middle / 11000, 0.5, 0.06);
	assert_float_equal(mean / 11000, 0, 0.001);
	assert_float_equal(sqrt(square / 11000), 0.02 * 0.8796, 0.0005);   /* of a normal cut at two deviations */
	float alone[2];
	sn_normals(alone, 0, 2, sn_hash32("normal", 6, 5), 1, 0.5);
	assert_true(alone[0] == normal[0] && alone[1] == normal[1]);       /* a stream of its name alone */
	sn_session_close(&one);
	sn_session_close(&three);
}

static void batches(void **state) {
	int32_t text[100], a[3][5], b[3][5];
	for (int i = 0; i < 100; i++)
		text[i] = i;
	SnIds ids = {text, 100, 100};
	bool seen[96] = {0};
	for (int64_t micro = 0; micro < 400; micro++) {
		sn_data_batch(&ids, a[0], 3, 5, 1, micro);
		for (int r = 0; r < 3; r++) {
			seen[a[r][0]] = true;
			for (int i = 1; i < 5; i++)
				assert_int_equal(a[r][i], a[r][0] + i);
		}
	}
	for (int i = 0; i < 96; i++)
		assert_true(seen[i]);
	sn_data_batch(&ids, a[0], 3, 5, 1, 7);
	sn_data_batch(&ids, b[0], 3, 5, 1, 7);
	assert_memory_equal(a, b, sizeof a);
	sn_data_batch(&ids, b[0], 3, 5, 2, 7);
	assert_true(memcmp(a, b, sizeof a));
}

/* Draws many times; share[i]: how often id i came. */
static void draw(SnSampler *s, const float *logits, int64_t V_, double *share) {
	enum { DRAWS = 20000 };
	sn_sampler_open(s, V_);
	memset(share, 0, sizeof *share * (size_t)V_);
	for (int i = 0; i < DRAWS; i++)
		share[sn_sample(s, logits, V_, i)] += 1.0 / DRAWS;
	sn_sampler_close(s);
}

static void expect_shares(SnSampler s, const double want[5]) {
	const float logits[5] = {logf(0.1f), logf(0.4f), logf(0.2f), logf(0.25f), logf(0.05f)};
	double share[5];
	draw(&s, logits, 5, share);
	for (int i = 0; i < 5; i++)
		assert_float_equal(share[i], want[i], want[i] ? 0.015 : 0);
}

static void sampler(void **state) {
	expect_shares((SnSampler){.temperature = 0, .top_p = 1}, (double[]){0, 1, 0, 0, 0});
	expect_shares((SnSampler){.temperature = 1, .top_p = 1, .seed = 1}, (double[]){0.1, 0.4, 0.2, 0.25, 0.05});
	expect_shares((SnSampler){.temperature = 1, .top_p = 1, .top_k = 1}, (double[]){0, 1, 0, 0, 0});
	expect_shares((SnSampler){.temperature = 1, .top_p = 1, .top_k = 2}, (double[]){0, 0.4 / 0.65, 0, 0.25 / 0.65, 0});
	expect_shares((SnSampler){.temperature = 1, .top_p = 1, .top_k = 99}, (double[]){0.1, 0.4, 0.2, 0.25, 0.05});
	expect_shares((SnSampler){.temperature = 1, .top_p = 0.6}, (double[]){0, 0.4 / 0.65, 0, 0.25 / 0.65, 0});
	expect_shares((SnSampler){.temperature = 1, .top_p = 0}, (double[]){0, 1, 0, 0, 0});
	expect_shares((SnSampler){.temperature = 1, .top_p = 0.7, .top_k = 3}, (double[]){0, 0.4 / 0.65, 0, 0.25 / 0.65, 0});
	expect_shares((SnSampler){.temperature = 1, .top_p = 1, .min_p = 0.4}, (double[]){0, 0.4 / 0.85, 0.2 / 0.85, 0.25 / 0.85, 0});
	double squares = 0.01 + 0.16 + 0.04 + 0.0625 + 0.0025;
	expect_shares((SnSampler){.temperature = 0.5, .top_p = 1}, (double[]){0.01 / squares, 0.16 / squares, 0.04 / squares, 0.0625 / squares, 0.0025 / squares});
}

/* The same draw from all ids, sorted: what the buckets of sample.c must not change. */
enum { IDS = 5000 };
typedef struct Ranked { float p; int32_t id; } Ranked;

static int likelier(const void *a, const void *b) {
	const Ranked *x = a, *y = b;
	return x->p != y->p ? (x->p < y->p) - (x->p > y->p) : (x->id > y->id) - (x->id < y->id);
}

static int32_t drawn_plainly(const SnSampler *s, const float *logits, int64_t n, int64_t position) {
	Ranked all[IDS];
	double sum = 0, total = 0;
	float top = logits[sn_likeliest(logits, n)];
	for (int32_t i = 0; i < n; i++) {
		all[i] = (Ranked){(float)exp((double)(logits[i] - top) / s->temperature), i};
		sum += all[i].p;
	}
	qsort(all, (size_t)n, sizeof *all, likelier);
	int64_t limit = s->top_k && s->top_k < n ? s->top_k : n, kept = 0;
	if (limit < n)
		sum = 0;
	for (int64_t i = 0; limit < n && i < limit; i++)
		sum += all[i].p;
	for (; kept < limit && (!kept || (total < (s->top_p < 1 ? sum * s->top_p : INFINITY) && all[kept].p >= s->min_p)); kept++)
		total += all[kept].p;
	double r = sn_uniform((uint32_t)position, 0x73616D70, s->seed) * total;
	for (int64_t i = 0; i < kept; i++)
		if ((r -= all[i].p) < 0)
			return all[i].id;
	return all[kept - 1].id;
}

static void sampler_sorts(void **state) {
	static float logits[IDS];
	const int64_t sizes[] = {1, 2, 65, 512, IDS};
	const double spread[] = {0, 0.01, 1, 30};     /* of equals, of a bucket or few, of many, of more than there are */
	const SnSampler ways[] = {{.temperature = 1, .top_p = 0.9}, {.temperature = 0.7, .top_p = 1, .top_k = 40},
	                          {.temperature = 1.3, .top_p = 0.95, .top_k = 200, .min_p = 0.01}};
	for (int k = 0; k < 5 * 4 * 3; k++) {
		SnSampler s = ways[k / 20];
		int64_t n = sizes[k % 5];
		for (int64_t i = 0; i < n; i++)
			logits[i] = (float)(spread[k / 5 % 4] * (sn_uniform((uint32_t)i, 1, 2) - 0.5));
		s.seed = 7;
		sn_sampler_open(&s, n);
		for (int i = 0; i < 50; i++)
			assert_int_equal(sn_sample(&s, logits, n, i), drawn_plainly(&s, logits, n, i));
		sn_sampler_close(&s);
	}
}

enum { LAPS = 3000, MOST = 7 };
typedef struct Lap { SnPool *pool; int64_t sum[MOST]; int64_t total; _Atomic int64_t runs; } Lap;

/* Each thread adds to a plain cell, thread 0 sums all cells between barriers: wrong unless the barrier orders memory. */
static void laps(void *ctx, int tid, int n) {
	Lap *l = ctx;
	for (int i = 0; i < LAPS; i++) {
		l->sum[tid] += i + tid;
		sn_pool_barrier(l->pool, tid);
		if (tid == 0)
			for (int k = 0; k < n; k++)
				l->total += l->sum[k];
		sn_pool_barrier(l->pool, tid);
	}
	atomic_fetch_add(&l->runs, 1);
}

static void lockstep(void **state) {
	for (int n = 1; n <= MOST; n += 2) {
		Lap l = {.pool = sn_pool_start(n)};
		sn_pool_run(l.pool, laps, &l);
		sn_pool_run(l.pool, laps, &l);
		int64_t want = 0, cell = 0, more = 0;
		for (int k = 0; k < n; k++)
			more += k;
		for (int i = 0; i < 2 * LAPS; i++) {
			cell += (int64_t)(i % LAPS) * n + more;
			want += cell;
		}
		assert_int_equal(l.total, want);
		assert_int_equal(atomic_load(&l.runs), 2 * n);
		sn_pool_stop(l.pool);
	}
}

/* A checksum is a format: its values stay. It depends on the bytes and not on the pieces they come in, and every bit
 * counts, also two of one place in words a lane apart. */
static void checksums(void **state) {
	enum { SIZE = 331 };
	char x[SIZE];
	for (int i = 0; i < SIZE; i++)
		x[i] = (char)(i * 7 + (i >> 3));
	uint64_t whole = sn_sum(x, SIZE);
	assert_true(sn_sum("", 0) == 0xC4640654B12E7DFE && whole == 0x7D72E5745855F6B4);
	for (size_t cut = 1; cut < SIZE; cut++) {
		SnSum s;
		sn_sum_start(&s);
		for (size_t at = 0; at < SIZE; at += cut)
			sn_sum_add(&s, x + at, SIZE - at < cut ? SIZE - at : cut);
		assert_true(sn_sum_end(&s) == whole);
		assert_true(sn_sum(x, cut) != whole);
	}
	for (int bit = 0; bit < 8 * SIZE; bit++) {
		x[bit / 8] ^= (char)(1 << bit % 8);
		assert_true(sn_sum(x, SIZE) != whole);
		int other = (bit / 8 + 32) % SIZE;
		x[other] ^= (char)(1 << bit % 8);
		assert_true(sn_sum(x, SIZE) != whole);
		x[other] ^= (char)(1 << bit % 8);
		x[bit / 8] ^= (char)(1 << bit % 8);
	}
	char zeros[64] = {0};
	assert_true(sn_sum(zeros, 31) != sn_sum(zeros, 32) && sn_sum(zeros, 0) != sn_sum(zeros, 32));
}

static void too_big(void **state) {
	SnEntry e = drawing;
	e.arena_bytes = (int64_t)1 << 60;
	SnSession s;
	assert_int_equal(sn_session_open(&s, &e, 1), SN_FAIL);
}

static void write_text(const char *path, const char *text) {
	FILE *f = fopen(path, "w");
	assert_true(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

/* As Linux describes them: an instruction cache, first-level data, a second level of a core with two threads, or of a
 * cluster of four cores; no such directory. */
static void caches(void **state) {
	static const struct { const char *file, *text; } files[] = {
		{"index0/level", "1\n"}, {"index0/type", "Instruction\n"}, {"index0/size", "64K\n"},
		{"index1/level", "1\n"}, {"index1/type", "Data\n"}, {"index1/size", "48K\n"}, {"index1/shared_cpu_map", "1\n"},
		{"index2/level", "2\n"}, {"index2/type", "Unified\n"}, {"index2/size", "2M\n"}, {"index2/shared_cpu_map", "00000000,00000003\n"},
	};
	char dir[] = "/tmp/sinter_caches_XXXXXX", path[128];
	assert_non_null(mkdtemp(dir));
	assert_int_equal(sn_cache_bytes(dir, 2), 0);
	for (int i = 0; i < COUNT(files); i++) {
		snprintf(path, sizeof path, "%s/%.6s", dir, files[i].file);
		mkdir(path, 0700);
		snprintf(path, sizeof path, "%s/%s", dir, files[i].file);
		write_text(path, files[i].text);
	}
	assert_int_equal(sn_cache_bytes(dir, 1), 48 << 10);
	assert_int_equal(sn_cache_bytes(dir, 2), 2 << 20);
	assert_int_equal(sn_cache_bytes(dir, 3), 0);
	write_text(path, "f\n");
	assert_int_equal(sn_cache_bytes(dir, 2), 1 << 20);
	for (int i = COUNT(files) - 1; i >= 0; i--) {
		snprintf(path, sizeof path, "%s/%s", dir, files[i].file);
		unlink(path);
		*strrchr(path, '/') = 0;
		rmdir(path);
	}
	assert_int_equal(rmdir(dir), 0);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(philox), cmocka_unit_test(normals), cmocka_unit_test(initial_weights), cmocka_unit_test(batches),
		cmocka_unit_test(sampler), cmocka_unit_test(sampler_sorts), cmocka_unit_test(lockstep), cmocka_unit_test(checksums), cmocka_unit_test(too_big), cmocka_unit_test(caches),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
