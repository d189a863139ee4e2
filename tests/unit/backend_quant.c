/* backend_quant.c: weights in blocks: the arithmetic of a block against its definition in double precision, kernels that quantise against
 * ir/quant.c, bit for bit, and contractions with them against the reference evaluator. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/contractions.h"

#include <math.h>

/* All f16 but NaN and infinity are their own nearest; between two of them the nearer, ties to the even one; beyond the largest, that. */
static void halves(void **state)
{
	for (uint32_t h = 0; h < 0x7c00; h++) {
		float x = half_value((uint16_t)h), next = half_value((uint16_t)MIN(h + 1, 0x7bff)), mid = (x + next) / 2;
		assert_int_equal(half_bits(x), h);
		assert_int_equal(half_bits(-x), h | 0x8000);
		if (h + 1 < 0x7c00) {
			assert_int_equal(half_bits(mid), h + (h & 1));
			assert_int_equal(half_bits(nextafterf(mid, 0)), h);
			assert_int_equal(half_bits(nextafterf(mid, 1e9f)), h + 1);
		}
	}
	assert_true(half_value(0x3c00) == 1 && half_value(0xc000) == -2 && half_value(1) == 0x1p-24f && half_value(0x7bff) == 65504);
	assert_int_equal(half_bits(1e9f), 0x7bff);
	assert_int_equal(half_bits(-INFINITY), 0xfbff);
}

/* What ir/quant.c promises of the error, and that a block of a block's values is that block. */
static void blocks(void **state)
{
	static const double size[] = { 1, 1e-3, 1e-7, 3e4, 0 };
	for (int i = 0; i < 400; i++) {
		Quant format = i % 2 ? QUANT_Q8_0 : QUANT_Q4_0;
		double magnitude = size[i / 2 % COUNT(size)], most = 0;
		float x[QUANT_BLOCK], again[QUANT_BLOCK];
		for (int k = 0; k < QUANT_BLOCK; k++) {
			x[k] = (float)(magnitude * random_at((uint64_t)i, "x", k) * (k % 7 ? 1 : 0.01));
			most = fmax(most, fabs(x[k]));
		}
		QuantBlock b = quant_block(format, x);
		double scale = most / (format == QUANT_Q8_0 ? 127 : 8), off = most * 0x1p-11 + 0x1p-25 * 127 + scale * 1e-5;
		for (int k = 0; k < QUANT_BLOCK; k++) {
			double error = fabs((double)b.scale * b.q[k] - x[k]);
			bool cut = format == QUANT_Q4_0 && b.q[k] == 7;
			if (!(error <= scale * (cut ? 1 : 0.5) + off))
				fail_msg("%s: %g becomes %d * %g", quant_name[format], x[k], b.q[k], b.scale);
			again[k] = b.scale * b.q[k];
		}
		QuantBlock c = quant_block(format, again);
		assert_true(c.scale == b.scale && (b.scale == 0 || !memcmp(c.q, b.q, sizeof b.q)));
	}
}

/* The identity times blocks is what they hold: kernels must have made the evaluator's, whatever the order in memory. */
static void packed_bits(void **state)
{
	static const char *const extents[] = { "m32 n1 k32", "m45 n19 k45", "m100 n33 k100", "m64 n50 k64" };
	for (int i = 0; i < 8; i++) {
		Case c = { .spec = "mk,kn->mn", .stored = { NULL, i % 4 / 2 ? "nk" : NULL }, .extents = extents[i / 2], .ahead = true, .f32 = true,
			.format = i % 2 ? QUANT_Q8_0 : QUANT_Q4_0 };
		Target t;
		for (int w = 0; w < WAYS; w++) {
			if (!way(w, &t))
				continue;
			Arena *a = arena_new();
			Dims dims;
			Graph *g = graph_of(a, &c, &dims, false);
			Env *want = fill_env(g, &dims, 1, 1), *got = fill_env(g, &dims, 1, 1);
			Tensor *one[2] = { env_get(want, "x"), env_get(got, "x") };
			for (int64_t k = 0; k < one[0]->n; k++)
				one[0]->at[k] = one[1]->at[k] = k % (one[0]->shape[1] + 1) == 0;
			assert_true(passes_run(g, "layout_packed,fuse,schedule", &(PassOptions){ .verify_each = true }) && graph_eval(g, want));
			assert_true(backend_run(g, got, &t, 2));
			Tensor *x = env_get(want, "r"), *y = env_get(got, "r");
			for (int64_t k = 0; k < x->n; k++)
				if ((float)x->at[k] != (float)y->at[k])
					fail_msg("%s of %s on %s: element %ld is %a, must be %a", quant_name[c.format], c.extents, t.name, (long)k, y->at[k], x->at[k]);
			arena_free(a);
		}
	}
}

/* Both formats, one beside f32, one beside bf16; which of them turns with the cases. */
static void check_formats(Case c, int turn)
{
	c.ahead = true;
	for (int i = 0; i < 2; i++) {
		c.format = i ? QUANT_Q8_0 : QUANT_Q4_0;
		c.f32 = (i + turn) % 2;
		check_case(&c);
	}
}

/* Few rows and many; edges of tiles, groups of columns, blocks. */
static void sizes(void **state)
{
	static const int64_t m[] = { 1, 2, 3, 4, 5, 8, 16, 17, 33, 70 }, size[] = { 2, 3, 15, 16, 17, 31, 32, 33, 48, 49, 67, 130 };
	uint64_t pick = 1;
	for (int i = 0; i < 20; i++) {
		pick = pick * 6364136223846793005u + 1442695040888963407u;
		long n = (long)size[(pick >> 40) % COUNT(size)], k = (long)size[(pick >> 50) % COUNT(size)];
		check_formats((Case){ .spec = i % 2 ? "mk,nk->mn" : "mk,kn->mn", .extents = internf(i % 3 ? "m:%ld n%ld k%ld" : "m%ld n%ld k%ld", MAX(2, (long)m[i % COUNT(m)]), n, k),
			.tail = i % 4 == 2 }, i / 2);
	}
}

static void layouts(void **state)
{
	static const Case cases[] = {
		{ .spec = "mk,kn->mn", .stored = { NULL, "nk" }, .extents = "m17 n35 k33" }, { .spec = "btd,dn->btn", .extents = "b2 t21 d48 n65", .tail = true },
		{ .spec = "bthk,hkd->btd", .extents = "b1 t:1 h3 k20 d65" }, { .spec = "bthk,dhk->btd", .extents = "b2 t:7 h3 k20 d65" },
		{ .spec = "btd,dhk->bthk", .extents = "b1 t:4 d48 h5 k12" }, { .spec = "bmk,bkn->bmn", .extents = "b3 m4 k70 n35" },
		{ .spec = "bmk,bnk->bmn", .extents = "b3 m40 k70 n35" }, { .spec = "mk,kn->mn", .stored = { "km", NULL }, .extents = "m6 n100 k330" },
		{ .spec = "mk,kn->nm", .extents = "m20 n30 k40" }, { .spec = "mk,kn->mn", .extents = "m70 n50 k1100", .tail = true },
		{ .spec = "mk,nk->mn", .extents = "m:1 n300 k1100" }, { .spec = "mk,nk->mn", .extents = "m:3 n200 k1100", .tail = true },
	};
	for (int i = 0; i < COUNT(cases); i++)
		check_formats(cases[i], i / 2);
}

/* sum_b scale_b scale_xb (sum_k xq_k q_k), row by column, of x rounded to bf16 and then to bytes; *size: the same of magnitudes. */
static double by_bytes(Quant format, const double *x, const double *w, int k, double *size)
{
	double sum = 0;
	*size = 0;
	for (int b = 0; b < k; b += QUANT_BLOCK) {
		float row[QUANT_BLOCK] = { 0 }, column[QUANT_BLOCK] = { 0 }, most = 0;
		int dot = 0;
		for (int i = 0; i < MIN(QUANT_BLOCK, k - b); i++) {
			row[i] = (float)round_bf16(x[b + i]);
			column[i] = (float)w[b + i];
			most = fmaxf(most, fabsf(row[i]));
		}
		float scale = most / 127, inverse = 1 / scale;
		QuantBlock q = quant_block(format, column);
		for (int i = 0; i < QUANT_BLOCK; i++)
			dot += (int)rintf(fminf(fmaxf(row[i] * inverse, -127), 127)) * q.q[i];
		sum += (double)scale * q.scale * dot;
		*size += fabs((double)scale * q.scale * dot);
	}
	return sum;
}

/* Where the target has dot products of bytes, few rows are exactly what thin_quant.c says. */
static void bytes(void **state)
{
	Target t;
	enum { M = 7, N = 35, K = 77 };
	if (target_only() || !target_find("native", &t) || !t.dot8)
		skip();
	for (int format = QUANT_Q8_0; format < QUANT_COUNT; format++) {
		Case c = { .spec = "mk,nk->mn", .extents = "m7 n35 k77", .ahead = true, .format = (Quant)format };
		Arena *a = arena_new();
		Dims dims;
		Graph *g = graph_of(a, &c, &dims, false);
		Env *e = fill_env(g, &dims, 1, 1);
		assert_true(passes_run(g, "layout_packed,fuse,schedule", NULL) && backend_run(g, e, &t, 2));
		Tensor *x = env_get(e, "x"), *y = env_get(e, "y"), *r = env_get(e, "r");
		for (int i = 0; i < M * N; i++) {
			double size, want = by_bytes((Quant)format, x->at + i / N * K, y->at + i % N * K, K, &size);
			if (!(fabs(r->at[i] - want) <= 8 * 0x1p-24 * size))
				fail_msg("%s: element %d is %.9g, must be %.9g", quant_name[format], i, r->at[i], want);
		}
		arena_free(a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(halves), cmocka_unit_test(blocks), cmocka_unit_test(packed_bits), cmocka_unit_test(sizes),
		cmocka_unit_test(layouts), cmocka_unit_test(bytes) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
