/* backend_flash.c: attention's kernels, forward and backward: what flash, flash_lse and flash_grad mean against attention
 * and its gradient by expansion, in double precision; the kernels against the evaluator at awkward sizes, with every
 * option, on every vector width this processor has; the same bits for any number of threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "backend/backend.h"
#include "passes/passes.h"
#include "tests/numeric.h"
#include "tests/targets.h"

/* Extents in the order B T S H G K W; T and S are run-time dimensions. mask, bias: the operand's extents as letters of
 * BHTS, 1 where it is one; q_across: queries lie [B,K,H,T], keys [B,G,K,S], as caches have them. */
typedef struct Case {
	int at[7];
	int causal, window, keys;
	const char *mask, *bias;
	double softcap, dropout;
	bool across, fixed;
} Case;

static const Case cases[] = {
	{ .at = { 1, 1, 1, 1, 1, 1, 1 } },
	{ .at = { 2, 3, 3, 2, 2, 3, 5 }, .causal = 1 },
	{ .at = { 1, 17, 17, 3, 1, 17, 7 }, .causal = 1 },
	{ .at = { 2, 7, 65, 4, 2, 8, 16 }, .causal = 1 },
	{ .at = { 1, 131, 131, 2, 1, 64, 64 }, .causal = 1 },
	{ .at = { 1, 97, 193, 1, 1, 33, 65 } },
	{ .at = { 1, 70, 70, 2, 2, 16, 48 }, .causal = 1, .window = 13 },
	{ .at = { 1, 200, 200, 1, 1, 8, 8 }, .causal = 1, .window = 70 },
	{ .at = { 1, 37, 150, 2, 1, 24, 24 }, .window = 40 },
	{ .at = { 3, 19, 67, 2, 2, 12, 20 }, .keys = 1 },
	{ .at = { 2, 130, 70, 4, 1, 16, 16 }, .mask = "BHTS", .bias = "1HTS" },
	{ .at = { 2, 13, 70, 4, 2, 16, 16 }, .mask = "TS", .bias = "H1S", .causal = 1, .keys = 1 },
	{ .at = { 1, 66, 66, 2, 2, 10, 10 }, .bias = "HT1", .softcap = 0.7, .causal = 1 },
	{ .at = { 2, 67, 66, 3, 3, 40, 9 }, .dropout = 0.3, .keys = 1 },
	{ .at = { 1, 100, 100, 4, 2, 80, 96 }, .causal = 1, .dropout = 0.1, .softcap = 3 },
	{ .at = { 2, 33, 90, 2, 1, 20, 130 }, .across = true, .causal = 1 },
	{ .at = { 1, 9, 12, 2, 2, 5, 6 }, .fixed = true, .causal = 1 },
	{ .at = { 1, 40, 40, 1, 1, 256, 256 }, .fixed = true, .causal = 1, .bias = "S" },
	{ .at = { 1, 1, 200, 8, 2, 64, 64 }, .across = true, .keys = 1 },
	{ .at = { 2, 1, 130, 22, 2, 24, 40 }, .causal = 1, .window = 70 },
	{ .at = { 2, 1, 67, 6, 3, 40, 9 }, .dropout = 0.3, .keys = 1 },
	{ .at = { 1, 25, 9, 1, 1, 4, 4 }, .causal = 1 },      /* the first queries see no key */
};

typedef struct Made { Graph *g; Module *m; Dims dims; } Made;

static const Dim *extent(Made *u, const Case *c, int i)
{
	if ((i != 1 && i != 2) || c->fixed)
		return dim_const(c->at[i]);
	const char *sym = c->at[1] == c->at[2] || i == 1 ? "T" : "S";
	graph_sym(u->g, sym, c->at[i] + 3);
	return dim_sym(sym);
}

static Value *tensor(Made *u, Builder *b, const char *name, Op op, DType dt, int rank, const Dim *const *dims)
{
	Type t = type_make(dt, rank, dims);
	if (op == OP_PARAM)
		vec_push(u->m->arena, &u->m->params, ((Param){ .name = intern(name), .type = t }));
	return b_source(b, op, intern(name), t);
}

/* Of axes as letters of BHTS. */
static Value *scores(Made *u, Builder *b, const Case *c, const char *name, DType dt, const char *axes)
{
	const Dim *dims[4];
	int n = (int)strlen(axes);
	for (int i = 0; i < n; i++)
		dims[i] = axes[i] == '1' ? dim_const(1) : extent(u, c, axes[i] == 'B' ? 0 : axes[i] == 'H' ? 3 : axes[i] == 'T' ? 1 : 2);
	return tensor(u, b, name, OP_INPUT, dt, n, dims);
}

static Value *across(Made *u, Builder *b, const char *name, const Dim *const *d)
{
	Value *x = tensor(u, b, name, OP_PARAM, DT_F32, 4, (const Dim *const[]){ d[0], d[2], d[3], d[1] });
	return b_transpose(b, x, (int8_t[]){ 0, 3, 1, 2 });
}

static Value *operand(Made *u, Builder *b, const Case *c, const char *name, int t, int h, int k)
{
	const Dim *const d[] = { extent(u, c, 0), extent(u, c, t), extent(u, c, h), extent(u, c, k) };
	return c->across ? across(u, b, name, d) : tensor(u, b, name, OP_PARAM, DT_F32, 4, d);
}

static Value *attention(Made *u, Builder *b, const Case *c, Op op)
{
	Attrs a = { .causal = c->causal, .window = c->window, .keys = c->keys, .mask = c->mask != NULL, .bias = c->bias != NULL,
		.softcap = c->softcap, .dropout = c->dropout, .scale = 1.3, .stream = 5 };
	Value *in[7] = { operand(u, b, c, "q", 1, 3, 5), operand(u, b, c, "k", 2, 4, 5), operand(u, b, c, "v", 2, 4, 6) };
	int n = 3;
	if (c->keys)
		in[n++] = scores(u, b, c, "keys", DT_BOOL, "BS");
	if (c->mask)
		in[n++] = scores(u, b, c, "mask", DT_BOOL, c->mask);
	if (c->bias)
		in[n++] = scores(u, b, c, "bias", DT_F32, c->bias);
	if (c->dropout > 0)
		in[n++] = b_source(b, OP_INPUT, intern("seed"), type_scalar(DT_I32));
	return build(b, op, in, n, &a, NULL);
}

/* y and loss = sum of y w, and where `step` the gradients to q, k and v. */
static Made make(Arena *a, const Case *c, Op op, bool step)
{
	Made u = { .g = graph_new(a, "g"), .m = module_new(a) };
	Builder b = { .g = u.g };
	Value *y = attention(&u, &b, c, op), *w = b_source(&b, OP_INPUT, intern("w"), y->type);
	b_output(&b, intern("y"), y);
	b_output(&b, intern("loss"), b_reshape(&b, b_reduce(&b, OP_SUM, b_binary(&b, OP_MUL, y, w), 15), type_scalar(DT_F32)));
	if (step)
		autodiff(u.g, u.m);
	for (int i = 0; i < u.g->syms.len; i++)
		u.dims.at[u.dims.n++] = (Sym){ u.g->syms.at[i].name, u.g->syms.at[i].bound - 3 };
	return u;
}

static Env *values(const Made *u)
{
	Env *e = fill_env(u->g, &u->dims, 3, 8);
	double no = 0;
	if (env_get(e, "accumulate"))
		env_set(e, "accumulate", 0, NULL, &no);
	return e;
}

static const char *const results[] = { "y", "grad.q", "grad.k", "grad.v" };

static double worst_of(Env *got, Env *want)
{
	double worst = 0;
	for (int i = 0; i < COUNT(results); i++)
		if (env_get(want, results[i]))
			worst = fmax(worst, difference(env_get(got, results[i]), env_get(want, results[i])));
	return worst;
}

static bool same_bits(Env *x, Env *y)
{
	for (int i = 0; i < COUNT(results); i++) {
		Tensor *a = env_get(x, results[i]), *b = env_get(y, results[i]);
		if (a && memcmp(a->at, b->at, sizeof *a->at * (size_t)a->n))
			return false;
	}
	return true;
}

static void test_meaning(void **state)
{
	for (int i = 0; i < COUNT(cases); i++) {
		Arena *a = arena_new();
		Made x = make(a, &cases[i], OP_FLASH, true), y = make(a, &cases[i], OP_ATTENTION, true);
		Env *got = values(&x), *want = values(&y);
		assert_true(graph_verify(x.g) && graph_eval(x.g, got) && graph_eval(y.g, want));
		double worst = worst_of(got, want);
		if (!(worst < 1e-11))
			fail_msg("case %d: flash and attention differ by %g", i, worst);
		arena_free(a);
	}
}

static int flash_kernels(Graph *g)
{
	ClusterList l = clusters_of(g);
	int n = 0;
	for (int i = 0; i < l.len; i++)
		n += l.at[i]->kind == K_FLASH;
	return n;
}

static void check_kernels(const Case *c, int i, bool step)
{
	for (int t = 0; t < target_count(); t++) {
		Arena *a = arena_new();
		Target target;
		Made u = make(a, c, OP_FLASH, step);
		Env *want = values(&u), *one = values(&u), *three = values(&u);
		assert_true(target_find(target_name(t), &target) && graph_eval(u.g, want));
		assert_true(passes_run(u.g, "simplify,cse,dce,layout,fuse,schedule", NULL) && graph_verify(u.g));
		if (flash_kernels(u.g) != (step ? 2 : 1))
			fail_msg("case %d has %d kernels of attention", i, flash_kernels(u.g));
		assert_true(backend_run(u.g, one, &target, 1) && backend_run(u.g, three, &target, 3));
		double worst = worst_of(one, want);
		if (!(worst < 4e-6 + c->at[5] * 0x1p-24))   /* sums of K products (Higham 2002, sec. 3.1) */
			fail_msg("case %d on %s, %s: wrong by %g", i, target_name(t), step ? "backward" : "forward", worst);
		if (!same_bits(one, three))
			fail_msg("case %d on %s: other bits on 3 threads", i, target_name(t));
		arena_free(a);
	}
}

static void test_forward(void **state)
{
	for (int i = 0; i < COUNT(cases); i++)
		check_kernels(&cases[i], i, false);
}

static void test_backward(void **state)
{
	for (int i = 0; i < COUNT(cases); i++)
		check_kernels(&cases[i], i, true);
}

/* One compiled graph at several extents below the bound. */
static void test_run_time_extents(void **state)
{
	static const int lengths[] = { 1, 5, 6, 64, 65, 129 };
	Case c = { .at = { 1, 129, 129, 4, 2, 16, 24 }, .causal = 1 };
	Arena *a = arena_new();
	Made u = make(a, &c, OP_FLASH, true), reference = make(a, &c, OP_FLASH, true);
	Target t;
	assert_true(target_find(target_main(), &t) && passes_run(u.g, "simplify,cse,dce,layout,fuse,schedule", NULL));
	Compiled *k = backend_load(u.g, &t);
	assert_non_null(k);
	for (int i = 0; i < COUNT(lengths); i++) {
		u.dims.at[0].bound = reference.dims.at[0].bound = lengths[i];
		Env *got = values(&u), *want = values(&reference);
		assert_true(backend_call(k, got, 2) && graph_eval(reference.g, want));
		double worst = worst_of(got, want);
		if (!(worst < 6e-6))
			fail_msg("T = %d: wrong by %g", lengths[i], worst);
	}
	backend_unload(k);
	arena_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_meaning), cmocka_unit_test(test_forward), cmocka_unit_test(test_backward),
		cmocka_unit_test(test_run_time_extents),
	};
	return cmocka_run_group_tests_name("backend_flash", tests, NULL, NULL);
}
