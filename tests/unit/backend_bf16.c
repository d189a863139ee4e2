/* backend_bf16.c: bf16: rounding, and contraction kernels of rounded operands against the reference evaluator: awkward sizes,
 * operands stored in any order, batches, epilogues, weights packed ahead; each way this processor can multiply them, every
 * vector width, and the same bits for any number of threads.
 *
 * Both sides round the same f32 alike, exactly. A sum of K products in f32 is then off by at most K 2^-24 sum |a||b| (Higham 2002, sec. 3.1),
 * and K 2^-125 where dot instructions take denormals as zero. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "backend/backend.h"
#include "passes/passes.h"
#include "tests/numeric.h"
#include "tests/targets.h"

enum { WAYS = 6 };

/* Each way that this processor can go; 0 where it can't. */
static bool way(int i, Target *t)
{
	static const char *const level[] = { "native", "native", "native", "x86-64-v2", "x86-64-v3", "x86-64-v4" };
	if (target_only())
		return i == 0 && target_find(target_only(), t);
	Target native;
	if (!target_find("native", &native) || !target_find(level[i], t) || t->lanes > native.lanes)
		return false;
	if (i == 1 && (native.lanes < 16 || !strstr(native.features, "+avx512bf16")))
		return false;
	t->bf16 = i == 1 ? BF16_DOT : i == 2 ? BF16_CONVERT : t->bf16;
	return true;
}

typedef struct Case {
	const char *spec;             /* "mk,kn->mn" */
	const char *stored[2];        /* the operands' axes as they lie in memory; NULL: as in spec */
	const char *extents;          /* "m12 n32 k256"; "m:5": a run-time dimension */
	bool ahead, tail;             /* operand 1 is a parameter, packed ahead; something follows */
} Case;

typedef struct Build { Builder b; Dims dims; const Dim *extent[128]; } Build;

static void read_extents(Build *b, const char *text)
{
	while (*text) {
		int letter = *text++;
		bool symbolic = *text == ':';
		char *end;
		int64_t n = strtol(text + symbolic, &end, 10);
		b->extent[letter] = dim_const(n);
		if (symbolic) {
			const char *name = internf("D%c", letter);
			graph_sym(b->b.g, name, n);
			b->dims.at[b->dims.n++] = (Sym){ name, n };
			b->extent[letter] = dim_sym(name);
		}
		text = end + (*end == ' ');
	}
}

/* An operand as it is stored, seen in the order of the spec. */
static Value *operand(Build *b, const Case *c, int side, const char *letters, int n)
{
	const char *stored = c->stored[side] ? c->stored[side] : letters;
	const Dim *d[MAX_RANK];
	int8_t perm[MAX_RANK];
	bool same = true;
	for (int i = 0; i < n; i++) {
		d[i] = b->extent[(int)stored[i]];
		perm[i] = (int8_t)((const char *)memchr(stored, letters[i], (size_t)n) - stored);
		same &= perm[i] == i;
	}
	Value *v = b_source(&b->b, side && c->ahead ? OP_PARAM : OP_INPUT, side ? "y" : "x", type_make(DT_F32, n, d));
	return same ? v : b_transpose(&b->b, v, perm);
}

static Graph *graph_of(Arena *a, const Case *c, Dims *dims, bool bound)
{
	Build b = { .b.g = graph_new(a, "bf16") };
	Spec s;
	assert_null(spec_parse(c->spec, &s));
	read_extents(&b, c->extents);
	Value *in[2];
	for (int side = 0; side < 2; side++)
		in[side] = operand(&b, c, side, s.at[side], s.n[side]);
	for (int side = 0; side < 2 && bound; side++)
		in[side] = b_unary(&b.b, OP_ABS, in[side]);
	Value *r = b_contract(&b.b, in[0], in[1], c->spec);
	if (c->tail && !bound) {
		Value *last = b_source(&b.b, OP_INPUT, "bias", type_make(DT_F32, 1, &r->type.dim[r->type.rank - 1]));
		r = b_binary(&b.b, OP_ADD, r, last);
		b_output(&b.b, "rounded", b_convert(&b.b, b_convert(&b.b, r, DT_BF16), DT_F32));
	}
	b_output(&b.b, "r", r);
	if (!bound)
		assert_true(passes_run(b.b.g, "precision,cse", NULL));
	*dims = b.dims;
	return b.b.g;
}

static int64_t products(const Case *c)
{
	int64_t k = 1;
	for (const char *p = c->extents; *p;) {
		int letter = *p++;
		char *end;
		int64_t n = strtol(p + (*p == ':'), &end, 10);
		k *= strchr(strchr(c->spec, '>'), letter) ? 1 : n;
		p = end + (*end == ' ');
	}
	return k;
}

static void within(const Case *c, const char *what, Env *got, Env *want, Env *scale)
{
	Tensor *x = env_get(got, "r"), *y = env_get(want, "r"), *s = env_get(scale, "r");
	double k = (double)products(c);
	assert_int_equal(x->n, y->n);
	for (int64_t i = 0; i < x->n; i++) {
		double bound = (k + 2) * 0x1p-24 * (s->at[i] * 1.01 + (c->tail ? 1 : 0)) + k * 0x1p-125;
		if (!(fabs(x->at[i] - y->at[i]) <= bound))
			fail_msg("%s %s on %s: element %ld is %.9g, must be %.9g +- %.2g", c->spec, c->extents, what, (long)i, x->at[i], y->at[i], bound);
	}
	Tensor *h = env_get(got, "rounded");
	for (int64_t i = 0; h && i < h->n; i++)
		assert_true(h->at[i] == round_bf16(x->at[i]));
}

static void check_case(const Case *c)
{
	Target t;
	for (int i = 0; i < WAYS; i++) {
		if (!way(i, &t))
			continue;
		Arena *a = arena_new();
		Dims dims;
		Graph *g = graph_of(a, c, &dims, false), *bound = graph_of(a, c, &dims, true);
		Env *want = fill_env(g, &dims, 1, 1), *scale = fill_env(bound, &dims, 1, 1), *got[3];
		assert_true(graph_eval(g, want) && graph_eval(bound, scale));
		assert_true(passes_run(g, c->ahead ? "layout_packed,fuse,schedule" : "layout,fuse,schedule", &(PassOptions){ .verify_each = true }));
		for (int n = 0; n < 3; n++) {
			got[n] = fill_env(g, &dims, 1, 1);
			assert_true(backend_run(g, got[n], &t, n + 1));
			within(c, internf("%s, way %d, %d threads", t.name, t.bf16, n + 1), got[n], want, scale);
			assert_memory_equal(env_get(got[n], "r")->at, env_get(got[0], "r")->at, sizeof(double) * (size_t)env_get(got[0], "r")->n);
		}
		arena_free(a);
	}
}

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

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(rounding), cmocka_unit_test(sizes), cmocka_unit_test(layouts) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
