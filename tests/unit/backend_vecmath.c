/* backend_vecmath.c: the vector functions against libm in double: dense sweeps of f32 over the whole line, on every
 * target this machine can run. The bounds are those of docs/vecmath.md; errors are in units in the last place of
 * the f32 nearest the true result, results beyond f32's range must be infinite. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "backend/backend.h"
#include "tests/targets.h"

enum { N = 1 << 18 };

typedef struct Case {
	Op op;
	double (*truth)(double);
	double lo, hi;       /* arguments tested densely and uniformly; outside: special values and every exponent */
	double bound;        /* ulp */
	bool everywhere;     /* bound holds for all floats, not in [lo, hi] alone */
} Case;

static double true_rsqrt(double x) { return 1 / sqrt(x); }
static double true_sigmoid(double x) { return 1 / (1 + exp(-x)); }

static const Case cases[] = {
	{ OP_EXP, exp, -104, 89, 2, true },
	{ OP_LOG, log, 0.4, 2.5, 2, true },
	{ OP_TANH, tanh, -10, 10, 3, true },
	{ OP_ERF, erf, -4.5, 4.5, 3, true },
	{ OP_SIN, sin, -1e5, 1e5, 2, false },
	{ OP_COS, cos, -1e5, 1e5, 2, false },
	{ OP_SIN, sin, -7, 7, 2, false },
	{ OP_COS, cos, -7, 7, 2, false },
	{ OP_SIGMOID, true_sigmoid, -80, 90, 3, false },
	{ OP_SQRT, sqrt, 0, 10, 0.5001, true },
	{ OP_RSQRT, true_rsqrt, 1e-3, 10, 1.5, true },
};

/* |got - want| in units of the spacing of floats at want. */
static double ulps(float got, double want) {
	int e;

	if (isnan(want) || isnan(got))
		return isnan(want) && isnan(got) ? 0 : 1e30;
	if (isinf(got) || isinf((float)want))
		return (double)got == (double)(float)want ? 0 : isinf((float)want) && fabsf(got) > 3.4028e38f ? 1 : 1e30;
	frexp(want, &e);
	e = e - 24 < -149 ? -149 : e - 24;
	return fabs((double)got - want) / ldexp(1, e);
}

static void mark(Graph *g) {
	for (int i = 0; i < g->vals.len; i++)
		if (op_info[g->vals.at[i]->op].lower == LOWER_ELEM)
			g->vals.at[i]->kernel = 1;
}

/* op on x (and y for two operands), through a compiled kernel */
static Tensor *apply(Arena *a, const Target *t, Op op, int n, const double *x, const double *y) {
	Graph *g = graph_new(a, "vecmath");
	Builder b = { .g = g };
	Type type = type_make(DT_F32, 1, (const Dim *[]){ dim_const(n) });
	Value *in = b_source(&b, OP_INPUT, intern("x"), type), *in2, *out;
	Env *env = env_new(a);
	int64_t shape[1] = { n };

	env_set(env, "x", 1, shape, x);
	if (y) {
		env_set(env, "y", 1, shape, y);
		in2 = b_source(&b, OP_INPUT, intern("y"), type);
		out = b_binary(&b, op, in, in2);
	} else {
		out = b_unary(&b, op, in);
	}
	b_output(&b, intern("out"), out);
	mark(g);
	assert_true(backend_run(g, env, t, 1));
	return env_get(env, "out");
}

static float from_bits(uint32_t bits) {
	union { uint32_t u; float f; } x = { .u = bits };
	return x.f;
}

static void check_case(const Target *t, const Case *c, const double *x, int n) {
	Arena *a = arena_new();
	Tensor *out = apply(a, t, c->op, n, x, NULL);
	double worst = 0, at = 0;

	for (int i = 0; i < n; i++) {
		double u = ulps((float)out->at[i], c->truth(x[i]));
		if (u > worst) {
			worst = u;
			at = x[i];
		}
	}
	if (getenv("VERBOSE"))
		print_message("%-10s %-8s [%g, %g]: %.3f ulp at %.9g\n", t->name, op_info[c->op].text, c->lo, c->hi, worst, at);
	if (worst > c->bound)
		fail_msg("%s on %s: %g ulp at %.9g (bound %g)", op_info[c->op].text, t->name, worst, at, c->bound);
	arena_free(a);
}

/* Evenly spaced arguments, then a sweep through the bits of all floats. */
static void test_sweeps(void **state) {
	static double x[N];
	Target t;

	for (int k = 0; k < target_count(); k++) {
		if (!target_find(target_name(k), &t))
			fail_msg("no such target");
		for (int i = 0; i < COUNT(cases); i++) {
			for (int j = 0; j < N; j++)
				x[j] = (float)(cases[i].lo + (cases[i].hi - cases[i].lo) * (j + 0.5) / N);
			check_case(&t, &cases[i], x, N);
			for (int j = 0; j < N && cases[i].everywhere; j++)
				x[j] = from_bits((uint32_t)j * (uint32_t)(0x100000000ull / N) + 77);
			if (cases[i].everywhere)
				check_case(&t, &cases[i], x, N);
		}
	}
}

static void test_special_values(void **state) {
	const double inf = INFINITY, x[] = { 0, -0.0, inf, -inf, NAN, 1e-45, -1e-45, 88.72, 88.73, -103.9, -104.1, 3e38, -3e38 };
	Target t;

	assert_true(target_find(target_main(), &t));
	for (int i = 0; i < COUNT(cases); i++) {
		double y[COUNT(x)];
		for (int j = 0; j < COUNT(x); j++)
			y[j] = (float)x[j];
		Case c = cases[i];
		if (!c.everywhere)
			for (int j = 0; j < COUNT(x); j++)
				y[j] = fabs(y[j]) < 80 || isnan(y[j]) ? y[j] : 0;
		check_case(&t, &c, y, COUNT(x));
	}
}

static void test_pow(void **state) {
	static double x[N], y[N];
	Target t;

	for (int k = 0; k < target_count(); k++) {
		assert_true(target_find(target_name(k), &t));
		Arena *a = arena_new();
		for (int j = 0; j < N; j++) {
			x[j] = from_bits((uint32_t)j * 4099u % 0x7f800000u);
			y[j] = (float)((j % 1999 - 999) / 37.0);
		}
		x[0] = 0; y[0] = 2; x[1] = 0; y[1] = 0; x[2] = 0; y[2] = -1; x[3] = 7; y[3] = 0; x[4] = INFINITY; y[4] = 2;
		x[5] = INFINITY; y[5] = -2; x[6] = 1; y[6] = 27; x[7] = 10000; y[7] = -0.5f;
		Tensor *out = apply(a, &t, OP_POW, N, x, y);
		double worst = 0;
		for (int j = 0; j < N; j++) {
			double u = ulps((float)out->at[j], pow(x[j], y[j]));
			worst = fmax(worst, u);
			if (u > 1)
				fail_msg("pow(%g, %g) = %g, not %g", x[j], y[j], out->at[j], pow(x[j], y[j]));
		}
		if (getenv("VERBOSE"))
			print_message("%-10s pow: %.3f ulp\n", t.name, worst);
		arena_free(a);
	}
}

/* The streams must be those of the reference, bit for bit. */
static void test_random(void **state) {
	Target t;

	for (int k = 0; k < target_count(); k++) {
		assert_true(target_find(target_name(k), &t));
		Arena *a = arena_new();
		Graph *g = graph_new(a, "random");
		Builder b = { .g = g };
		Type type = type_make(DT_F32, 2, (const Dim *[]){ dim_const(7), dim_const(1013) });
		Value *seed = b_source(&b, OP_INPUT, intern("seed"), type_scalar(DT_I32));
		Env *env = env_new(a);
		double key = -123456789;
		b_output(&b, intern("out"), b_random(&b, seed, 3, type));
		mark(g);
		env_set(env, "seed", 0, NULL, &key);
		assert_true(backend_run(g, env, &t, 2));
		for (int i = 0; i < 7 * 1013; i++)
			assert_true(env_get(env, "out")->at[i] == random_uniform((uint32_t)-123456789, 3, (uint32_t)i));
		arena_free(a);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sweeps), cmocka_unit_test(test_special_values), cmocka_unit_test(test_pow),
		cmocka_unit_test(test_random),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
