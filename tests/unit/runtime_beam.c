/* Beam search and what carries it, on a program made by hand: the logits of the next token depend on the last two tokens
 * of the cache, so that sequences whose caches are not reordered as they branch get others' scores; and on a source that
 * encode keeps. Held against all sequences there are. */
#include "runtime/generate.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { V = 5, W = 32, N = 12, END = 4 };
enum { A_IDS = 0, A_NEXT = 4096, A_CACHE = 8192, A_ONCE = A_CACHE + 4 * W * N, A_SOURCE = A_ONCE + 4 * W, A_BYTES = A_SOURCE + 4096 };
#define ARGS const int64_t *args, char *arena, const int64_t *dims, int64_t tid, int64_t n, char *scratch

/* dims: B, T, T.all, T.ring4 */
static double logit(int source, int before, int last, int id) {
	return (double)(sn_hash32((int[]){source, before, last, id}, 4 * sizeof(int), 5) % 1000) / 250;
}

static int rings_seen;

static void k_step(ARGS) {
	int32_t *ids = (int32_t *)(arena + A_IDS), *cache = (int32_t *)(arena + A_CACHE), *source = (int32_t *)(arena + A_ONCE);
	float *next = (float *)(arena + A_NEXT);
	assert_int_equal(dims[3], dims[2] < 4 ? dims[2] : 4);
	rings_seen++;
	for (int64_t b = 0; b < dims[0]; b++) {
		int32_t *row = cache + b * N;
		for (int64_t t = 0; t < dims[1]; t++)
			row[dims[2] - dims[1] + t] = ids[b * dims[1] + t];
		for (int id = 0; id < V; id++)
			next[b * V + id] = (float)logit(source[b], dims[2] > 1 ? row[dims[2] - 2] : -1, row[dims[2] - 1], id);
	}
}

static void k_encode(ARGS) {
	memcpy(arena + A_ONCE, arena + A_SOURCE, 4 * (size_t)dims[0]);
}

static void step_shapes(const int64_t *dims, int64_t *out) {
	out[0] = dims[0], out[1] = dims[1], out[2] = dims[0], out[3] = V;
}

static void encode_shapes(const int64_t *dims, int64_t *out) {
	out[0] = dims[0];
}

static const int64_t no[1], cache_dims[] = {W, N}, once_dims[] = {W};
static const SnAxis ids_axes[] = {{0, 1, 0, "B"}, {1, 1, 0, "T"}}, next_axes[] = {{0, 1, 0, "B"}, {-1, 0, V, "V"}}, once_axes[] = {{0, 1, 0, "B"}};
static const SnSlot step_slots[] = {{"said", 0, SN_I32, 2, A_IDS, ids_axes, V, 0}, {"next", 1, SN_F32, 2, A_NEXT, next_axes, 0, 0}};
static const SnSlot encode_slots[] = {{"source", 0, SN_I32, 1, A_SOURCE, once_axes, 0, 0}};
static const SnLaunch step_launch[] = {{k_step, no, "step", 1, 0}}, encode_launch[] = {{k_encode, no, "encode", 1, 0}};
static const SnFunction functions[] = {{"step", step_launch, 1, step_slots, 2, step_shapes, NULL, NULL, 0, NULL, 0, NULL, NULL, 0},
                                       {"encode", encode_launch, 1, encode_slots, 1, encode_shapes, NULL, NULL, 0, NULL, 0, NULL, NULL, 0}};
static const SnTensor tensors[] = {
	{.name = "cache.0", .kind = 1, .dtype = SN_I32, .rank = 2, .dims = cache_dims, .offset = A_CACHE, .bytes = 4 * W * N},
	{.name = "once.0", .kind = 1, .dtype = SN_I32, .rank = 1, .dims = once_dims, .offset = A_ONCE, .bytes = 4 * W, .axes = once_axes},
};
static const SnSym syms[] = {{"B", W}, {"T", 3}, {"T.all", N}, {"T.ring4", 4}};
static const SnEntry entry = {SN_GENERATE, "generate", "", NULL, 0, functions, 2, tensors, 2, syms, 4, A_BYTES, 0, 0, 0, 0, NULL, NULL, NULL};
const SnProgram sn_program;

static bool at_end(void *ctx, const int32_t *ids, int64_t n) {
	return ids[n - 1] == END;
}

/* The best of all sequences of at most `left` more tokens: score by length of those that end, or are cut at the limit. */
static void brute(int source, const int32_t *ids, int64_t from, int64_t n, int64_t limit, double sum, double *best, int32_t *out, int64_t *count) {
	bool ended = n > from && ids[n - 1] == END;
	if (ended || n - from == limit) {
		double score = sum / (double)(n - from);
		if (score > *best) {
			*best = score;
			*count = n - from;
			memcpy(out, ids + from, sizeof *ids * (size_t)*count);
		}
		return;
	}
	double all = 0;
	for (int id = 0; id < V; id++)
		all += exp((float)logit(source, n > 1 ? ids[n - 2] : -1, ids[n - 1], id));
	for (int id = 0; id < V; id++) {
		int32_t next[N];
		memcpy(next, ids, sizeof *ids * (size_t)n);
		next[n] = id;
		brute(source, next, from, n + 1, limit, sum + (float)logit(source, n > 1 ? ids[n - 2] : -1, ids[n - 1], id) - log(all), best, out, count);
	}
}

static SnIds search(int source, const int32_t *prompt, int64_t n, int64_t width, int64_t limit) {
	SnSession s;
	SnStepper m;
	SnIds out = {0};
	assert_int_equal(sn_session_open(&s, &entry, 2), SN_OK);
	assert_int_equal(sn_stepper_open(&m, &s), SN_OK);
	assert_int_equal(m.V, V);
	assert_int_equal(m.chunk, 3);
	assert_int_equal(m.room, N);
	assert_int_equal(m.width, W);
	*(int32_t *)(s.arena + A_SOURCE) = source;
	sn_call(&s, m.encode);
	const float *logits = sn_stepper_prefill(&m, prompt, n);
	SnBeam b = {.width = width, .limit = limit, .V = V, .ends = at_end};
	assert_int_equal(sn_beam_search(&m, &b, logits, &out), SN_OK);
	sn_stepper_close(&m);
	sn_session_close(&s);
	return out;
}

/* 32 sequences of at most 3 tokens leave nothing out: 4 + 16 go on. */
static void finds_the_best(void **state) {
	static const int32_t prompt[] = {0, 1, 2, 3};
	for (int source = 0; source < 20; source++) {
		double best = -INFINITY;
		int32_t want[N], ids[N];
		int64_t n = 0, len = 1 + source % 4;
		memcpy(ids, prompt, sizeof prompt);
		brute(source, ids, len, len, 3, 0, &best, want, &n);
		SnIds got = search(source, prompt, len, W, 3);
		assert_int_equal(got.n, n);
		assert_memory_equal(got.at, want, sizeof *want * (size_t)n);
		free(got.at);
	}
}

/* A beam of one is what taking the likeliest each time gives. */
static void one_is_greedy(void **state) {
	for (int source = 0; source < 10; source++) {
		int32_t ids[N] = {3, 1};
		int64_t n = 2;
		while (n < 2 + 6 && (n == 2 || ids[n - 1] != END)) {
			int best = 0;
			for (int id = 1; id < V; id++)
				if ((float)logit(source, ids[n - 2], ids[n - 1], id) > (float)logit(source, ids[n - 2], ids[n - 1], best))
					best = id;
			ids[n++] = best;
		}
		SnIds got = search(source, ids, 2, 1, 6);
		assert_int_equal(got.n, n - 2);
		assert_memory_equal(got.at, ids + 2, sizeof *ids * (size_t)got.n);
		free(got.at);
	}
}

/* Wider beams are never worse at the same length of search, and the context's end stops them. */
static void ends_with_the_context(void **state) {
	static const int32_t prompt[] = {0, 1, 2, 3, 2, 1, 0};
	SnIds got = search(3, prompt, 7, 4, 100);
	assert_true(got.n >= 1 && got.n <= N - 7 + 1);
	free(got.at);
	assert_true(rings_seen > 0);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_the_best), cmocka_unit_test(one_is_greedy), cmocka_unit_test(ends_with_the_context),
	};
	return cmocka_run_group_tests_name("runtime_beam", tests, NULL, NULL);
}
