/* backend_rows.c: rows, cols and scatter kernels against the evaluator: every op that has code, alone and in random
 * chains, at awkward sizes, on every level this machine can run, and (native) the same bits on 1, 2 and 3 threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "backend/backend.h"
#include "passes/passes.h"
#include "tests/numeric.h"
#include "tests/targets.h"


typedef struct Shape { int rank; int64_t dim[4]; } Shape;
static const Shape shapes[] = {
	{ 1, { 1 } }, { 1, { 3 } }, { 1, { 8 } }, { 1, { 17 } }, { 1, { 1009 } }, { 2, { 3, 7 } }, { 2, { 5, 16 } },
	{ 2, { 7, 33 } }, { 2, { 13, 1 } }, { 2, { 37, 65 } }, { 3, { 2, 3, 15 } }, { 3, { 4, 1, 9 } }, { 4, { 2, 3, 5, 31 } },
};

/* The first axis may be the symbol T, with a bound above its value: what is planned and what is run differ. */
typedef struct Build {
	Builder b;
	Type type;                      /* f32 */
	Value *x, *y, *row, *col;       /* full shape; constant along all but the last axis; along the last */
	Value *i, *j, *p, *q, *ids;     /* i32, bool; ids i32 of the first axis */
	Value *seed;
} Build;

static Type retyped(Type t, DType dt) {
	t.dt = dt;
	return t;
}

static Type shape_type(Shape s, bool symbolic) {
	Type t = { .dt = DT_F32, .rank = s.rank };
	for (int a = 0; a < s.rank; a++)
		t.dim[a] = dim_const(s.dim[a]);
	if (symbolic)
		t.dim[0] = dim_sym(intern("T"));
	return t;
}

static Value *source(Build *u, const char *name, Type t) { return b_source(&u->b, OP_INPUT, intern(name), t); }

static void build_sources(Build *u, Graph *g, Shape s, bool symbolic) {
	Type t = shape_type(s, symbolic), last = type_make(DT_F32, 1, &t.dim[s.rank - 1]), col = t;

	*u = (Build){ .b = { .g = g }, .type = t };
	if (symbolic)
		graph_sym(g, "T", s.dim[0] + 3);
	col.dim[s.rank - 1] = dim_const(1);
	u->x = source(u, "x", t);
	u->y = source(u, "y", t);
	u->row = source(u, "row", last);
	u->col = source(u, "col", col);
	u->i = source(u, "i", retyped(t, DT_I32));
	u->j = source(u, "j", retyped(last, DT_I32));
	u->p = source(u, "p", retyped(t, DT_BOOL));
	u->q = source(u, "q", retyped(t, DT_BOOL));
	u->ids = source(u, "ids", type_make(DT_I32, 1, &t.dim[0]));
	u->seed = source(u, "seed", type_scalar(DT_I32));
}

/* One case an op: the op on fitting operands. */
typedef Value *MakeOp(Build *, Op);
static Value *positive(Build *u, Value *x) { return b_binary(&u->b, OP_ADD, b_unary(&u->b, OP_ABS, x), b_const(&u->b, DT_F32, 0.25)); }
static Value *unary(Build *u, Op op) { return b_unary(&u->b, op, u->x); }
static Value *unary_positive(Build *u, Op op) { return b_unary(&u->b, op, positive(u, u->x)); }
static Value *unary_bool(Build *u, Op op) { return b_unary(&u->b, op, u->p); }
static Value *unary_int(Build *u, Op op) { return b_unary(&u->b, op, u->i); }
static Value *to_i32(Build *u, Op op) { return b_unary(&u->b, op, b_binary(&u->b, OP_MUL, u->x, b_const(&u->b, DT_F32, 9))); }
static Value *to_bf16(Build *u, Op op) { return b_convert(&u->b, b_unary(&u->b, op, u->x), DT_F32); }
static Value *to_i8(Build *u, Op op) { return b_convert(&u->b, b_unary(&u->b, op, b_binary(&u->b, OP_MUL, u->x, b_const(&u->b, DT_F32, 90.5))), DT_F32); }
static Value *binary(Build *u, Op op) { return b_binary(&u->b, op, u->x, u->row); }
static Value *binary_positive(Build *u, Op op) { return b_binary(&u->b, op, positive(u, u->x), positive(u, u->y)); }
static Value *compare(Build *u, Op op) { return b_binary(&u->b, op, u->i, u->j); }
static Value *binary_bool(Build *u, Op op) { return b_binary(&u->b, op, u->p, u->q); }
static Value *selecting(Build *u, Op op) { return b_select(&u->b, u->p, u->x, u->col); }
static Value *constant(Build *u, Op op) { return b_binary(&u->b, OP_MUL, u->x, b_const(&u->b, DT_F32, -1.5)); }
static Value *iota(Build *u, Op op) { return b_binary(&u->b, OP_ADD, u->i, b_iota(&u->b, u->type.rank - 1, retyped(u->type, DT_I32))); }
static Value *dimval(Build *u, Op op) { return b_binary(&u->b, OP_ADD, u->i, b_dim(&u->b, dim_add(u->type.dim[0], dim_const(3)))); }
static Value *uniform(Build *u, Op op) { return b_binary(&u->b, OP_ADD, u->x, b_random(&u->b, u->seed, 5, u->type)); }
static Value *reduce(Build *u, Op op) { return b_reduce(&u->b, op, b_binary(&u->b, OP_MUL, u->x, u->y), 1u << (u->type.rank - 1)); }
static Value *pad(Build *u, Op op) { return b_pad(&u->b, u->x, u->type.rank - 1, dim_const(2), dim_const(3)); }
static Value *gather(Build *u, Op op) { return b_gather(&u->b, u->y, u->ids); }
static Value *scatter(Build *u, Op op) {
	Value *zero = b_unary(&u->b, OP_COPY, b_binary(&u->b, OP_MUL, u->x, b_const(&u->b, DT_F32, 0.5)));
	return b_scatter_add(&u->b, zero, u->ids, u->y);
}

static MakeOp *const makers[OP_COUNT] = {
	[OP_CONST] = constant, [OP_IOTA] = iota, [OP_DIMVAL] = dimval, [OP_RANDOM] = uniform, [OP_NEG] = unary,
	[OP_ABS] = unary, [OP_EXP] = unary, [OP_LOG] = unary_positive, [OP_SQRT] = unary_positive,
	[OP_RSQRT] = unary_positive, [OP_TANH] = unary, [OP_ERF] = unary, [OP_SIN] = unary, [OP_COS] = unary,
	[OP_SIGMOID] = unary, [OP_STOP] = unary, [OP_NOT] = unary_bool, [OP_TO_F32] = unary_int, [OP_TO_I32] = to_i32,
	[OP_TO_BF16] = to_bf16, [OP_TO_F16] = to_bf16, [OP_TO_I8] = to_i8,
	[OP_ADD] = binary, [OP_SUB] = binary, [OP_MUL] = binary, [OP_DIV] = binary_positive, [OP_POW] = binary_positive,
	[OP_MAX] = binary, [OP_MIN] = binary, [OP_EQ] = compare, [OP_NE] = compare, [OP_LT] = compare, [OP_LE] = compare,
	[OP_AND] = binary_bool, [OP_OR] = binary_bool, [OP_SELECT] = selecting, [OP_SUM] = reduce, [OP_RMAX] = reduce,
	[OP_PAD] = pad, [OP_COPY] = unary, [OP_GATHER] = gather, [OP_SCATTER_ADD] = scatter,
};

/* Kernels that contraction's and attention's own tests cover, and backend_counted. */
static bool elsewhere(Lower l) {
	return l == LOWER_NONE || l == LOWER_EXPAND || l == LOWER_CONTRACT || l == LOWER_PACK || l == LOWER_NONZERO ||
	       l == LOWER_FLASH;
}

static void test_every_op_has_a_case(void **state) {
	for (int op = 0; op < OP_COUNT; op++)
		if (!elsewhere(op_info[op].lower) && !makers[op])
			fail_msg("no case for op %s", op_info[op].text);
}

static Dims dims_for(Shape s) { return (Dims){ 1, { { intern("T"), s.dim[0] } } }; }

/* Every output of g as the evaluator has it. */
static void compare_outputs(const Graph *g, Env *got, Env *want, double tolerance, const char *what) {
	for (int i = 0; i < g->vals.len; i++) {
		const Value *v = g->vals.at[i];
		double worst = v->op == OP_OUTPUT ? difference(env_get(got, v->a.name), env_get(want, v->a.name)) : 0;
		if (!(worst <= tolerance))
			fail_msg("%s: `%s` is wrong by %g", what, v->a.name, worst);
	}
}

static void same_bits(const Graph *g, Env *a, Env *b, const char *what) {
	for (int i = 0; i < g->vals.len; i++) {
		const Value *v = g->vals.at[i];
		Tensor *x = v->op == OP_OUTPUT ? env_get(a, v->a.name) : NULL;
		if (x && memcmp(x->at, env_get(b, v->a.name)->at, sizeof(double) * (size_t)x->n))
			fail_msg("%s: more threads give other bits of `%s`", what, v->a.name);
	}
}

/* g by the evaluator before the passes, then compiled on every target and number of threads. */
static void compare_runs(Graph *g, Shape s, double tolerance, const char *what) {
	Dims d = dims_for(s);
	Env *want = fill_env(g, &d, 11, (int)s.dim[0] + 1), *got, *one = NULL;
	Target target;

	assert_true(graph_eval(g, want));
	if (!passes_run(g, "layout,fuse,schedule", NULL))
		fail_msg("%s: passes", what);
	for (int k = 0; k < target_count(); k++)
		for (int threads = 1; threads <= (target_is_last(k) ? 3 : 1); threads++) {
			const char *where = internf("%s, %lldx%lld.., %s", what, (long long)s.dim[0], (long long)s.dim[1], target_name(k));
			assert_true(target_find(target_name(k), &target));
			got = fill_env(g, &d, 11, (int)s.dim[0] + 1);
			assert_true(backend_run(g, got, &target, threads));
			compare_outputs(g, got, want, tolerance, where);
			if (threads == 1)
				one = got;
			else
				same_bits(g, one, got, where);
		}
}

/* Each op at a third of the shapes; neighbours in the table take the others. */
static void test_single_ops(void **state) {
	for (int op = 0; op < OP_COUNT; op++)
		for (int s = op % 3; s < COUNT(shapes) && makers[op]; s += 3) {
			Arena *a = arena_new();
			Graph *g = graph_new(a, "single");
			Build u;
			build_sources(&u, g, shapes[s], s % 2);
			b_output(&u.b, intern("out"), makers[op](&u, (Op)op));
			compare_runs(g, shapes[s], 4e-6, op_info[op].text);
			arena_free(a);
		}
}

static unsigned next_random(unsigned *state) {
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

/* Chains of ops that keep values near 1, reductions along the last axis among them. */
static Value *chain(Build *u, unsigned *seed, int length) {
	static const Op un[] = { OP_TANH, OP_SIGMOID, OP_SIN, OP_NEG, OP_ERF, OP_EXP };
	static const Op bin[] = { OP_ADD, OP_SUB, OP_MUL, OP_MAX, OP_MIN };
	Value *pool[64] = { u->x, u->y, u->row, u->col };
	int n = 4, axis = u->type.rank - 1;

	for (int k = 0; k < length; k++) {
		Value *a = pool[next_random(seed) % (unsigned)n], *c = pool[next_random(seed) % (unsigned)n], *v;
		unsigned kind = next_random(seed) % 8;
		if (kind < 2)
			v = b_unary(&u->b, un[next_random(seed) % COUNT(un)], b_unary(&u->b, OP_TANH, a));
		else if (kind < 6)
			v = b_unary(&u->b, OP_SIGMOID, b_binary(&u->b, bin[next_random(seed) % COUNT(bin)], a, c));
		else if (kind == 6)
			v = b_select(&u->b, u->p, a, c);
		else
			v = b_binary(&u->b, OP_MUL, b_reduce(&u->b, next_random(seed) % 2 ? OP_SUM : OP_RMAX, b_binary(&u->b, OP_MUL, a, u->x), 1u << axis),
				     b_const(&u->b, DT_F32, 0.01));
		pool[n++] = v;
	}
	b_output(&u->b, intern("middle"), pool[4 + next_random(seed) % (unsigned)(n - 4)]);
	b_output(&u->b, intern("mask"), b_binary(&u->b, OP_LT, pool[n - 1], pool[n - 2]));
	return b_binary(&u->b, OP_ADD, pool[n - 1], b_binary(&u->b, OP_ADD, pool[n - 2], pool[n - 3]));
}

static void test_random_chains(void **state) {
	unsigned seed = 7;

	for (int k = 0; k < 40; k++) {
		Arena *a = arena_new();
		Graph *g = graph_new(a, "chain");
		Shape s = shapes[k % COUNT(shapes)];
		Build u;
		build_sources(&u, g, s, k % 2);
		b_output(&u.b, intern("out"), chain(&u, &seed, 4 + k % 20));
		compare_runs(g, s, 2e-5, internf("chain %d", k));
		arena_free(a);
	}
}

/* Several kernels in a row, so that memory is reused in place, with views, placement in a concat and sums of both
 * kinds between them. */
static void test_random_graphs(void **state) {
	unsigned seed = 23;

	for (int k = 0; k < 24; k++) {
		Arena *a = arena_new();
		Graph *g = graph_new(a, "graph");
		Shape s = shapes[5 + k % (COUNT(shapes) - 5)];
		Build u;
		build_sources(&u, g, s, k % 2);
		int8_t perm[MAX_RANK];
		for (int i = 0; i < s.rank; i++)
			perm[i] = (int8_t)(s.rank - 1 - i);
		for (int round = 0; round < 3; round++) {
			Value *v = b_unary(&u.b, OP_TANH, b_transpose(&u.b, u.x, perm)), *sum;
			v = b_transpose(&u.b, b_binary(&u.b, OP_MUL, v, b_const(&u.b, DT_F32, 0.7)), perm);
			sum = b_reduce(&u.b, OP_SUM, b_binary(&u.b, OP_MUL, v, u.y), (1u << (s.rank - 1)) - 1);
			u.y = b_unary(&u.b, OP_SIN, b_binary(&u.b, OP_ADD, v, sum));
			Value *both[] = { u.y, b_unary(&u.b, OP_NEG, v) };
			v = b_concat(&u.b, both, 2, s.rank - 1);
			u.x = b_slice(&u.b, b_unary(&u.b, OP_COS, v), s.rank - 1, dim_const(1), u.type.dim[s.rank - 1]);
			b_output(&u.b, internf("x%d", round), u.x);
		}
		b_output(&u.b, intern("out"), chain(&u, &seed, 5));
		compare_runs(g, s, 5e-5, internf("graph %d", k));
		arena_free(a);
	}
}

static int kernels_in(Graph *g) { return clusters_of(g).len; }

static Value *mean(Build *u, Value *x) {
	int last = u->type.rank - 1;
	Value *n = b_unary(&u->b, OP_TO_F32, b_dim(&u->b, u->type.dim[last]));
	return b_binary(&u->b, OP_DIV, b_reduce(&u->b, OP_SUM, x, 1u << last), n);
}

static Value *layernorm(Build *u) {
	Value *h = b_binary(&u->b, OP_ADD, u->x, u->y), *m = mean(u, h), *d = b_binary(&u->b, OP_SUB, h, m), *v, *r;
	v = mean(u, b_binary(&u->b, OP_MUL, d, d));
	r = b_unary(&u->b, OP_RSQRT, b_binary(&u->b, OP_ADD, v, b_const(&u->b, DT_F32, 1e-5)));
	return b_binary(&u->b, OP_MUL, b_binary(&u->b, OP_MUL, d, r), u->row);
}

static Value *softmax(Build *u) {
	uint32_t last = 1u << (u->type.rank - 1);
	Value *e = b_unary(&u->b, OP_EXP, b_binary(&u->b, OP_SUB, u->x, b_reduce(&u->b, OP_RMAX, u->x, last)));
	return b_binary(&u->b, OP_DIV, e, b_reduce(&u->b, OP_SUM, e, last));
}

static Value *cross_entropy(Build *u) {
	uint32_t last = 1u << (u->type.rank - 1);
	Value *m = b_reduce(&u->b, OP_RMAX, u->x, last), *z = b_binary(&u->b, OP_SUB, u->x, m), *hit, *label;
	Value *lse = b_unary(&u->b, OP_LOG, b_reduce(&u->b, OP_SUM, b_unary(&u->b, OP_EXP, z), last));
	label = b_unary(&u->b, OP_TO_I32, b_unary(&u->b, OP_ABS, u->col));
	hit = b_binary(&u->b, OP_EQ, b_iota(&u->b, u->type.rank - 1, retyped(u->type, DT_I32)), label);
	hit = b_reduce(&u->b, OP_SUM, b_select(&u->b, hit, z, b_const(&u->b, DT_F32, 0)), last);
	return b_binary(&u->b, OP_SUB, lse, hit);
}

/* What a transformer is made of must be one kernel each. */
static void test_idioms_are_one_kernel(void **state) {
	static const struct { const char *name; Value *(*make)(Build *); } idioms[] = {
		{ "layernorm", layernorm }, { "softmax", softmax }, { "cross entropy", cross_entropy },
	};

	for (int k = 0; k < COUNT(idioms); k++)
		for (int s = 5; s < COUNT(shapes); s++) {
			if (shapes[s].dim[shapes[s].rank - 1] == 1)
				continue;
			Arena *a = arena_new();
			Graph *g = graph_new(a, "idiom");
			Build u;
			build_sources(&u, g, shapes[s], s % 2);
			b_output(&u.b, intern("out"), idioms[k].make(&u));
			compare_runs(g, shapes[s], 1e-5, idioms[k].name);
			assert_int_equal(kernels_in(g), 1);
			arena_free(a);
		}
}

/* Sums over leading, middle and all axes, with members before and after. */
static void test_cols(void **state) {
	static const struct { Shape s; uint32_t axes; } cases[] = {
		{ { 2, { 7, 33 } }, 1 }, { { 2, { 130, 64 } }, 1 }, { { 2, { 37, 5 } }, 1 }, { { 3, { 3, 67, 17 } }, 2 },
		{ { 3, { 5, 3, 129 } }, 3 }, { { 4, { 2, 3, 5, 31 } }, 6 }, { { 3, { 2, 30, 9 } }, 7 }, { { 2, { 3, 40001 } }, 3 },
		{ { 4, { 5, 1, 7, 16 } }, 5 }, { { 1, { 1009 } }, 1 },
	};

	for (int k = 0; k < 2 * COUNT(cases); k++) {
		Arena *a = arena_new();
		Graph *g = graph_new(a, "cols");
		Shape s = cases[k / 2].s;
		Build u;
		build_sources(&u, g, s, k % 2);
		Value *v = b_reduce(&u.b, OP_SUM, b_binary(&u.b, OP_MUL, u.x, u.row), cases[k / 2].axes), *w;
		w = b_reduce(&u.b, OP_RMAX, b_unary(&u.b, OP_ABS, u.x), cases[k / 2].axes);
		b_output(&u.b, intern("out"), b_binary(&u.b, OP_MUL, b_binary(&u.b, OP_ADD, v, w), b_const(&u.b, DT_F32, 0.5)));
		compare_runs(g, s, 2e-5, "cols");
		arena_free(a);
	}
}

/* Views, pads of other axes, tables of higher rank. */
static void test_movement(void **state) {
	Shape s = { 3, { 5, 7, 19 } };

	for (int k = 0; k < 6; k++) {
		Arena *a = arena_new();
		Graph *g = graph_new(a, "movement");
		Build u;
		build_sources(&u, g, s, false);
		const int8_t perm[] = { 2, 0, 1 };
		Value *v = k == 0 ? b_transpose(&u.b, u.x, perm) : k == 1 ? b_slice(&u.b, u.x, 2, dim_const(3), dim_const(11)) :
			   k == 2 ? b_pad(&u.b, u.x, 0, dim_const(1), dim_const(2)) : k == 3 ? b_pad(&u.b, u.x, 1, dim_const(0), dim_const(4)) :
			   k == 4 ? b_pad(&u.b, b_transpose(&u.b, u.x, perm), 2, dim_const(2), dim_const(1)) : b_gather(&u.b, u.x, u.i);
		if (k == 5) {
			Value *table = b_reduce(&u.b, OP_SUM, b_transpose(&u.b, u.x, perm), 6);
			v = b_gather(&u.b, b_reshape(&u.b, table, type_make(DT_F32, 1, (const Dim *[]){ dim_const(19) })), u.i);
		}
		b_output(&u.b, intern("out"), b_unary(&u.b, OP_NEG, v));
		compare_runs(g, s, 1e-5, internf("movement %d", k));
		arena_free(a);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_op_has_a_case), cmocka_unit_test(test_single_ops),
		cmocka_unit_test(test_random_chains), cmocka_unit_test(test_random_graphs), cmocka_unit_test(test_idioms_are_one_kernel),
		cmocka_unit_test(test_cols), cmocka_unit_test(test_movement),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
