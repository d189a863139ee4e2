/* Dims: normal form, division, text. */
#include "ir/ir.h"

#include <setjmp.h>
#include <cmocka.h>

static const Dim *D(const char *text) {
	const char *p = text;
	const Dim *d = dim_parse(&p);
	if (!d || *p)
		fail_msg("cannot parse %s", text);
	return d;
}

static void equalities(void **state) {
	static const char *const same[][2] = {
		{"T + T", "2*T"}, {"T - T", "0"}, {"B*T", "T*B"}, {"(B + 1)*(B - 1)", "B^2 - 1"},
		{"(2*A)/2", "A"}, {"(3*H*K)/K", "3*H"}, {"(3*H*K)/(H*K)", "3"}, {"(2*A - 1)/2 + 1", "A"},
		{"(2*A + 1)/2", "A"}, {"(4*A + 2)/4", "A"}, {"(2*T + 3)/4", "(T + 1)/2"}, {"(2*T)/4", "T/2"},
		{"(T/2)/3", "T/6"}, {"((T + 1)/2)/2", "(T + 1)/4"}, {"(B*T)/(B*S)", "T/S"}, {"(T + 4)/4", "T/4 + 1"},
		{"(B*T + B)/(T + 1)", "B"}, {"(A^2 - B^2)/(A - B)", "A + B"}, {"7/2", "3"}, {"(0 - 7)/2", "-4"},
		{"(B*T*768)/64", "12*B*T"}, {"T/(0 - 1)", "-T"}, {"(5*T)/(2)", "2*T + T/2"}, {"0/T", "0"}, {"T/T", "1"},
		{"(B*T + 5)/B", "T + 5/B"},
	};
	for (int i = 0; i < COUNT(same); i++)
		if (D(same[i][0]) != D(same[i][1]))
			fail_msg("%s is %s, not %s", same[i][0], dim_text(D(same[i][0])), same[i][1]);
	static const char *const differ[][2] = {
		{"T/2*2", "T"}, {"(T + 1)/2", "T/2"}, {"B", "T"}, {"B*T", "B + T"}, {"(D/H)*H", "D"}, {"T^2", "T"},
	};
	for (int i = 0; i < COUNT(differ); i++)
		assert_ptr_not_equal(D(differ[i][0]), D(differ[i][1]));
}

static void texts(void **state) {
	static const char *const text[] = {
		"0", "1", "-3", "T", "2*T - 1", "(R + 1)/2", "S - T", "B*T*768", "T/2", "3*(T/2)", "B*(T/2)", "T/(2*S)",
		"A*B^2 + A*B + 5", "-T", "(T/S)/U", "-(T/2)", "1/T", "(A*B)/(C + D)", "(T/3)^2", "h.0.T#2 + 1",
	};
	for (int i = 0; i < COUNT(text); i++) {
		const Dim *d = D(text[i]);
		if (D(dim_text(d)) != d)
			fail_msg("%s prints as %s, which is another dim", text[i], dim_text(d));
	}
	assert_string_equal(dim_text(D("T*2-1")), "2*T - 1");
	assert_string_equal(dim_text(D("(1+R)/2")), "(R + 1)/2");
	assert_string_equal(dim_text(D("S-T")), "S - T");
	assert_string_equal(dim_text(D("T-S")), "T - S");
	assert_string_equal(dim_text(dim_div_exact(dim_sym("D"), dim_sym("H"))), "D/H");
	static const char *const wrong[] = {"", "+", "T +", "(T", "2**3", "T/0", "T^0", "99999999999999999999", "/", "T^"};
	for (int i = 0; i < COUNT(wrong); i++) {
		const char *p = wrong[i];
		if (dim_parse(&p))
			fail_msg("%s is read", wrong[i]);
	}
}

static void exact_division(void **state) {
	const Dim *d = dim_sym("D"), *h = dim_sym("H"), *k = dim_div_exact(d, h), *b = dim_sym("B");
	assert_ptr_equal(dim_mul(h, k), d);
	assert_ptr_equal(dim_mul(k, h), d);
	assert_ptr_equal(dim_mul(dim_mul(b, k), h), dim_mul(b, d));
	assert_ptr_equal(dim_mul(dim_mul(h, k), dim_const(3)), dim_mul(dim_const(3), d));
	assert_ptr_equal(dim_div(dim_mul(h, dim_mul(k, b)), d), b);
	assert_ptr_equal(dim_mul(dim_const(2), dim_div_exact(d, dim_const(2))), d);
	assert_ptr_equal(dim_mul(dim_div_exact(d, dim_add(h, b)), dim_add(b, h)), d);
	assert_ptr_equal(dim_div_exact(d, k), h);
	assert_ptr_equal(dim_div_exact(dim_mul(dim_const(6), dim_mul(d, b)), dim_mul(dim_const(2), k)), dim_mul(dim_const(3), dim_mul(h, b)));
	assert_ptr_equal(dim_mul(dim_div_exact(b, k), k), b);
	assert_ptr_not_equal(dim_mul(dim_div(d, h), h), d);
	assert_ptr_equal(dim_mul(dim_mul(dim_div(d, h), k), h), dim_mul(dim_div(d, h), d));
	assert_ptr_equal(dim_mul(dim_mul(k, dim_div(d, h)), h), dim_mul(dim_div(d, h), d));
	assert_ptr_equal(dim_mul(dim_div(d, h), k), dim_mul(k, dim_div(d, h)));
	assert_ptr_equal(dim_subst(dim_subst(k, "D", dim_const(768)), "H", dim_const(12)), dim_const(64));
	assert_ptr_equal(dim_div_exact(dim_const(768), dim_const(12)), dim_const(64));
	const DimFactor *f;
	int n;
	assert_int_equal(dim_terms(k), 1);
	assert_int_equal(dim_term(k, 0, &f, &n), 1);
	assert_true(n == 1 && !f->sym && f->num == d && f->den == h && f->power == 1);
}

static bool look(void *ctx, const char *sym, int64_t *v) {
	*v = sym[0] == 'T' ? 7 : 3;
	return sym[0] != 'X';
}

static void evaluation(void **state) {
	static const struct { const char *text; int64_t value; } row[] = {
		{"T", 7}, {"2*T - 1", 13}, {"(T + 1)/2", 4}, {"T/2", 3}, {"T^2*S", 147}, {"(S - T)/3", -2}, {"5", 5}, {"0", 0},
		{"T/S*S", 6},
	};
	int64_t v;
	for (int i = 0; i < COUNT(row); i++) {
		assert_true(dim_eval(D(row[i].text), look, NULL, &v));
		assert_int_equal(v, row[i].value);
	}
	assert_false(dim_eval(D("X + 1"), look, NULL, &v));
	assert_false(dim_eval(D("T/(S - 3)"), look, NULL, &v));
}

/* Every rewriting of a quotient keeps its value: compared over a grid with plain arithmetic. */
static int64_t floordiv(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

static int64_t grid_T, grid_S;
static bool look_grid(void *ctx, const char *sym, int64_t *v) {
	*v = sym[0] == 'T' ? grid_T : grid_S;
	return true;
}

static void division_is_floor(void **state) {
	const Dim *T = dim_sym("T"), *S = dim_sym("S");
	for (int a = -5; a <= 5; a++)
		for (int b = -3; b <= 3; b++)
			for (int c = -4; c <= 9; c++)
				for (int den = 1; den <= 6; den++) {
					const Dim *num = dim_add(dim_add(dim_mul(dim_const(a), dim_mul(T, S)), dim_mul(dim_const(b), S)), dim_const(c));
					const Dim *q = dim_div(num, dim_const(den)), *p = dim_div(num, dim_mul(dim_const(den), S));
					const Dim *two = dim_div(q, dim_const(3));
					for (grid_T = 1; grid_T < 4; grid_T++)
						for (grid_S = 1; grid_S < 4; grid_S++) {
							int64_t n = a * grid_T * grid_S + b * grid_S + c, v;
							assert_true(dim_eval(q, look_grid, NULL, &v));
							assert_int_equal(v, floordiv(n, den));
							assert_true(dim_eval(p, look_grid, NULL, &v));
							assert_int_equal(v, floordiv(n, den * grid_S));
							assert_true(dim_eval(two, look_grid, NULL, &v));
							assert_int_equal(v, floordiv(floordiv(n, den), 3));
						}
				}
}

static void bounds(void **state) {
	Arena *a = arena_new();
	Graph *g = graph_new(a, "g");
	graph_sym(g, "T", 64);
	graph_sym(g, "B", 1);
	graph_sym(g, "B", 4);
	static const struct { const char *text; int64_t bound; } row[] = {
		{"768*B*T", 768 * 256}, {"T - 1", 64}, {"T/2", 32}, {"(T + 1)/2", 32}, {"T - B", 64}, {"12", 12}, {"T/B", 64},
		{"T/(2*B)", 32},
	};
	int64_t v;
	for (int i = 0; i < COUNT(row); i++) {
		assert_true(graph_bound(g, D(row[i].text), &v));
		assert_int_equal(v, row[i].bound);
	}
	assert_false(graph_bound(g, D("U"), &v));
	arena_free(a);
}

/* Beyond its limits a polynomial becomes opaque, and coefficients saturate: values stay right, nothing breaks. */
static void extremes(void **state) {
	const Dim *wide = dim_const(1), *x = dim_const(1);
	for (int i = 0; i < 16; i++)
		wide = dim_mul(wide, dim_add(dim_sym(internf("w%d", i)), dim_const(1)));
	int64_t v;
	assert_true(dim_eval(wide, look, NULL, &v));
	assert_true(v == (int64_t)1 << 32);
	for (int i = 0; i < 100; i++)
		x = dim_mul(x, dim_sym(internf("x%d", i)));
	x = dim_mul(x, x);
	assert_true(dim_terms(x) == 1);
	assert_true(dim_is(dim_mul(dim_const(INT64_MAX), dim_const(2)), INT64_MAX));
	assert_ptr_equal(dim_subst(D("T*S + T/2"), "T", dim_const(4)), D("4*S + 2"));
	assert_ptr_equal(dim_subst(D("T*S"), "U", dim_const(4)), D("S*T"));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equalities), cmocka_unit_test(texts), cmocka_unit_test(exact_division),
		cmocka_unit_test(evaluation), cmocka_unit_test(division_is_floor), cmocka_unit_test(bounds),
		cmocka_unit_test(extremes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
