/* backend_bf16.c: bf16: rounding, and contraction kernels of rounded operands against the reference evaluator: awkward sizes,
 * operands stored in any order, batches, epilogues, weights packed ahead; each way this processor can multiply them, every
 * vector width, and the same bits for any number of threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/contractions.h"

/* Ties, both neighbours of ties, the largest numbers, infinities, denormals, NaN: kernels and evaluator, bit for bit. */
static void rounding(void **state)
{
	static const uint32_t bits[][2] = {   /* f32, and its upper half rounded */
		{ 0x3f800000, 0x3f80 }, { 0x3f808000, 0x3f80 }, { 0x3f818000, 0x3f82 }, { 0x3f808001, 0x3f81 }, { 0x3f817fff, 0x3f81 },
		{ 0xbf808000, 0xbf80 }, { 0xbf818000, 0xbf82 }, { 0x7f7f7fff, 0x7f7f }, { 0x7f7f8000, 0x7f80 }, { 0x7f7fffff, 0x7f80 },
		{ 0xff7fffff, 0xff80 }, { 0x7f800000, 0x7f80 }, { 0xff800000, 0xff80 }, { 0, 0 }, { 0x80000000, 0x8000 },
		{ 1, 0 }, { 0x8000, 0 }, { 0x8001, 1 }, { 0x18000, 2 }, { 0x007fffff, 0x0080 }, { 0x807f8000, 0x8080 }, { 0x00010000, 1 },
		{ 0x7fc00000, 0x7fc0 }, { 0x7f800001, 0x7fc0 }, { 0xffffffff, 0xffff } };
	Target t;
	for (int w = 0; w < WAYS; w++) {
		if (!way(w, &t))
			continue;
		Arena *a = arena_new();
		Builder b = { .g = graph_new(a, "round") };
		const Dim *n = dim_const(COUNT(bits));
		Value *x = b_source(&b, OP_INPUT, "x", type_make(DT_F32, 1, &n));
		b_output(&b, "y", b_convert(&b, b_unary(&b, OP_COPY, b_convert(&b, x, DT_BF16)), DT_F32));
		double in[COUNT(bits)];
		for (int i = 0; i < COUNT(bits); i++) {
			float f;
			memcpy(&f, &bits[i][0], sizeof f);
			in[i] = f;
		}
		Env *e = env_new(a), *k = env_new(a);
		env_set(e, "x", 1, (int64_t[]){ COUNT(bits) }, in);
		env_set(k, "x", 1, (int64_t[]){ COUNT(bits) }, in);
		assert_true(graph_eval(b.g, e) && passes_run(b.g, "layout,fuse,schedule", NULL) && backend_run(b.g, k, &t, 2));
		for (int i = 0; i < COUNT(bits); i++) {
			uint32_t upper = bits[i][1] << 16;
			float f, is = (float)env_get(k, "y")->at[i], was = (float)env_get(e, "y")->at[i];
			memcpy(&f, &upper, sizeof f);
			if (isnan(f) ? !isnan(is) || !isnan(was) : memcmp(&f, &is, 4) || memcmp(&f, &was, 4))
				fail_msg("%08x on %s: %a, evaluated %a, must be %a", bits[i][0], t.name, is, was, f);
		}
		arena_free(a);
	}
}

/* Edges of tiles (8, 32 rows; 16, 32, 48 columns), pairs and steps of 32, blocks of k. */
static void sizes(void **state)
{
	static const int64_t size[] = { 1, 2, 3, 16, 17, 31, 32, 33, 48, 49, 67, 130 };
	uint64_t pick = 1;
	for (int i = 0; i < 16; i++) {
		int64_t d[3];
		for (int j = 0; j < 3; j++) {
			pick = pick * 6364136223846793005u + 1442695040888963407u;
			d[j] = MAX(2, size[(pick >> 40) % COUNT(size)]);
		}
		Case c = { .spec = "mk,kn->mn", .extents = internf(i % 3 == 1 ? "m:%ld n%ld k:%ld" : "m%ld n%ld k%ld", (long)d[0], (long)d[1], (long)d[2]) };
		c.tail = i % 4 == 2;
		c.ahead = i % 2 && i % 3 != 1;
		check_case(&c);
	}
}

static void layouts(void **state)
{
	static const Case cases[] = {
		{ .spec = "mk,kn->mn", .stored = { "km", "nk" }, .extents = "m33 n50 k70" }, { .spec = "mk,kn->mn", .stored = { "km", NULL }, .extents = "m40 n33 k67" },
		{ .spec = "mk,kn->mn", .stored = { NULL, "nk" }, .extents = "m17 n35 k33" }, { .spec = "mk,nk->mn", .stored = { "km", "kn" }, .extents = "m:37 n:19 k:65" },
		{ .spec = "mk,nk->mn", .stored = { NULL, NULL }, .extents = "m3 n7 k5" }, { .spec = "mk,kn->mn", .stored = { "km", "nk" }, .extents = "m2 n3 k2" },
		{ .spec = "bhtk,bhsk->bhts", .stored = { "bthk", "bshk" }, .extents = "b2 h3 t17 s19 k16", .tail = true },
		{ .spec = "bhts,bhsk->bhtk", .stored = { NULL, "bshk" }, .extents = "b2 h3 t:17 s:19 k16" }, { .spec = "bts,bsk->btk", .stored = { "bst", "bks" }, .extents = "b3 t33 s34 k35" },
		{ .spec = "btd,dn->btn", .stored = { NULL, NULL }, .extents = "b2 t21 d48 n65", .ahead = true, .tail = true },
		{ .spec = "btd,nd->btn", .stored = { NULL, NULL }, .extents = "b:2 t:21 d64 n65", .ahead = true },
		{ .spec = "btd,btn->dn", .stored = { NULL, NULL }, .extents = "b:2 t:33 d47 n65" },
		{ .spec = "mk,kn->mn", .stored = { "km", "kn" }, .extents = "m64 n96 k:1000" }, { .spec = "mk,kn->mn", .stored = { NULL, "nk" }, .extents = "m70 n:70 k1001", .tail = true },
		{ .spec = "mk,kn->mn", .stored = { NULL, NULL }, .extents = "m700 n100 k770", .ahead = true },
		{ .spec = "mk,kn->mn", .stored = { "km", NULL }, .extents = "m1300 n40 k515", .tail = true },
	};
	for (int i = 0; i < COUNT(cases); i++)
		check_case(&cases[i]);
}

/* Few rows of weights packed ahead: each height of tiles; k in blocks, halves of pairs, less than a step. */
static void thin(void **state)
{
	static const Case cases[] = {
		{ .spec = "mk,kn->mn", .extents = "m:1 n101 k1031", .ahead = true }, { .spec = "mk,kn->mn", .extents = "m2 n33 k3", .ahead = true },
		{ .spec = "mk,kn->mn", .extents = "m:3 n48 k1024", .ahead = true, .tail = true }, { .spec = "mk,kn->mn", .extents = "m:4 n101 k1030", .ahead = true },
		{ .spec = "mk,kn->mn", .extents = "m:7 n47 k259", .ahead = true }, { .spec = "mk,kn->mn", .extents = "m:8 n49 k517", .ahead = true, .tail = true },
		{ .spec = "mk,kn->mn", .stored = { "km", NULL }, .extents = "m:11 n145 k77", .ahead = true },
		{ .spec = "mk,kn->mn", .extents = "m16 n145 k1031", .ahead = true }, { .spec = "mk,kn->mn", .extents = "m:17 n145 k1031", .ahead = true },
		{ .spec = "bmk,bkn->bmn", .extents = "b3 m:2 n35 k21", .ahead = true },
	};
	for (int i = 0; i < COUNT(cases); i++)
		check_case(&cases[i]);
}

/* A row's bits are the same whatever rows are beside it: alone, in thin.c's loop, in lower tiles, in full ones. */
static void neighbours(void **state)
{
	enum { MOST = 70 };
	static const int64_t heights[] = { 1, 2, 5, 16, 17, 32, 33, MOST };
	Case c = { .spec = "mk,kn->mn", .extents = "m:70 n67 k1037", .ahead = true };
	Target t;
	for (int w = 0; w < WAYS; w++) {
		if (!way(w, &t))
			continue;
		Arena *a = arena_new();
		Dims dims;
		Graph *g = graph_of(a, &c, &dims, false);
		assert_true(passes_run(g, "layout_packed,fuse,schedule", NULL));
		Env *most = fill_env(g, &dims, 1, 1);
		assert_true(backend_run(g, most, &t, 2));
		for (int i = 0; i < COUNT(heights); i++) {
			dims.at[0].bound = heights[i];
			Env *e = fill_env(g, &dims, 1, 1);
			memcpy(env_get(e, "y")->at, env_get(most, "y")->at, sizeof(double) * (size_t)env_get(most, "y")->n);
			memcpy(env_get(e, "x")->at, env_get(most, "x")->at, sizeof(double) * (size_t)env_get(e, "x")->n);
			assert_true(backend_run(g, e, &t, 2));
			assert_memory_equal(env_get(e, "r")->at, env_get(most, "r")->at, sizeof(double) * (size_t)env_get(e, "r")->n);
		}
		arena_free(a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(rounding), cmocka_unit_test(sizes), cmocka_unit_test(layouts),
		cmocka_unit_test(thin), cmocka_unit_test(neighbours) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
