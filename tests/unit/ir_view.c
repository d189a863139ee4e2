/* Views: offset and strides found for a chain of views are held against the evaluator's elements. */
#include "ir/ir.h"

#include <setjmp.h>
#include <cmocka.h>

enum { B = 2, T = 3 };

static bool look(void *ctx, const char *sym, int64_t *v) {
	*v = *sym == 'B' ? B : T;
	return true;
}

static int64_t value_of(const Dim *d) {
	int64_t v;
	assert_true(dim_eval(d, look, NULL, &v));
	return v;
}

/* x: f32[B,T,4,6] counting from 0, as is s; the body's last line makes %9. */
static Graph *parse(Arena *a, const char *body) {
	const char *text = arena_printf(a,
		"graph g(B <= 4, T <= 8) {\n%%0 = input {name=\"x\"} : f32[B,T,4,6]\n%%1 = state {name=\"s\"} : f32[B,8,4,6]\n%s\n"
		"output %%9 {name=\"out\"}\n}\n", body);
	Graph *g = graph_parse(a, source_text(a, "view.ir", text), NULL);
	if (!g || !graph_verify(g))
		fail_msg("%s", body);
	return g;
}

static Env *env(Arena *a) {
	static double x[B * 8 * 24];
	for (int i = 0; i < COUNT(x); i++)
		x[i] = i;
	Env *e = env_new(a);
	env_dim(e, "B", B);
	env_dim(e, "T", T);
	env_set(e, "x", 4, (int64_t[]){B, T, 4, 6}, x);
	env_set(e, "s", 4, (int64_t[]){B, 8, 4, 6}, x);
	return e;
}

static Value *last(Graph *g) { return g->vals.at[g->vals.len - 1]->in[0]; }

/* The address that the view gives to element i is, as the root counts, the element's own value. */
static void check_elements(const Value *v, const View *w, const Tensor *t, const char *what) {
	for (int64_t i = 0; i < t->n; i++) {
		int64_t at = value_of(w->offset), rest = i;
		for (int axis = t->type.rank - 1; axis >= 0; axis--) {
			at += rest % t->shape[axis] * value_of(w->stride[axis]);
			rest /= t->shape[axis];
		}
		if (t->at[i] != (double)at)
			fail_msg("%s: element %lld is at %lld, not %g", what, (long long)i, (long long)at, t->at[i]);
	}
}

static void resolved(void **state) {
	static const char *const body[] = {
		"%9 = transpose %0 {perm=[2,0,3,1]}",
		"%9 = windows %0 {axis=3, len=3, step=1}",
		"%8 = windows %0 {axis=3, len=3, step=2}\n%9 = windows %8 {axis=2, len=2, step=2}",
		"%8 = transpose %0 {perm=[0,3,1,2]}\n%7 = windows %8 {axis=1, len=4, step=2}\n%9 = slice %7 {axis=1, start=1, len=1}",
		"%8 = windows %0 {axis=3, len=3, step=3}\n%9 = reshape %8 : f32[B,T,4,6]",
		"%9 = slice %0 {axis=2, start=1, len=2}",
		"%2 = slice %0 {axis=3, start=2, len=3}\n%9 = slice %2 {axis=1, start=T - 1, len=1}",
		"%9 = reshape %0 : f32[B*T,24]",
		"%9 = reshape %0 : f32[B*T*24]",
		"%9 = reshape %0 : f32[1,B,1,T,2,2,6]",
		"%9 = reshape %0 : f32[B,T,3,8]",
		"%2 = slice %0 {axis=3, start=0, len=4}\n%9 = reshape %2 : f32[B,T,4,2,2]",
		"%2 = slice %0 {axis=3, start=1, len=4}\n%9 = reshape %2 : f32[B*T,2,2,4]",
		"%2 = slice %0 {axis=1, start=0, len=1}\n%9 = reshape %2 : f32[B,24]",
		"%2 = slice %0 {axis=2, start=3, len=1}\n%9 = reshape %2 : f32[B*T,6]",
		"%2 = transpose %0 {perm=[0,2,1,3]}\n%9 = reshape %2 : f32[B,2,2,T,6]",
		"%2 = transpose %0 {perm=[2,3,0,1]}\n%9 = reshape %2 : f32[24,B*T]",
		"%2 = slice %0 {axis=1, start=0, len=1}\n%3 = expand %2 : f32[B,T,4,6]\n%9 = reshape %3 : f32[B,T,24]",
		"%2 = slice %0 {axis=0, start=1, len=1}\n%3 = reshape %2 : f32[T,4,6]\n%9 = expand %3 : f32[5,T,4,6]",
		"%2 = slice %0 {axis=3, start=0, len=1}\n%3 = expand %2 : f32[B,T,4,6]\n%9 = transpose %3 {perm=[3,2,1,0]}",
	};
	for (int i = 0; i < COUNT(body); i++) {
		Arena *a = arena_new();
		Graph *g = parse(a, body[i]);
		View w;
		if (!view_of(last(g), &w))
			fail_msg("%s is no view", body[i]);
		assert_ptr_equal(w.root, g->vals.at[0]);
		Env *e = env(a);
		assert_true(graph_eval(g, e));
		check_elements(last(g), &w, env_get(e, "out"), body[i]);
		arena_free(a);
	}
}

static void unresolved(void **state) {
	static const char *const body[] = {
		"%2 = transpose %0 {perm=[0,2,1,3]}\n%9 = reshape %2 : f32[B,4*T,6]",
		"%2 = slice %0 {axis=3, start=0, len=4}\n%9 = reshape %2 : f32[B,T,16]",
		"%2 = slice %0 {axis=3, start=0, len=3}\n%9 = reshape %2 : f32[B,T,6,2]",
		"%2 = slice %0 {axis=1, start=0, len=2}\n%9 = reshape %2 : f32[2*B,24]",
		"%2 = slice %0 {axis=3, start=0, len=1}\n%3 = expand %2 : f32[B,T,4,6]\n%9 = reshape %3 : f32[B,T,24]",
	};
	for (int i = 0; i < COUNT(body); i++) {
		Arena *a = arena_new();
		View w;
		if (view_of(last(parse(a, body[i])), &w))
			fail_msg("%s is taken for a view", body[i]);
		arena_free(a);
	}
}

/* Values placed in a concat or a state lie in its memory, behind what is before them. */
static void places(void **state) {
	Arena *a = arena_new();
	View w;
	Graph *g = parse(a,
		"%2 = neg %0 : f32[B,T,4,6] dest=%4\n%3 = exp %0 : f32[B,T,4,6] dest=%4\n"
		"%4 = concat %2, %3 {axis=2} : f32[B,T,8,6]\n%9 = slice %3 {axis=3, start=2, len=1}");
	assert_true(view_of(last(g), &w));
	assert_int_equal(w.root->op, OP_CONCAT);
	assert_int_equal(value_of(w.offset), 4 * 6 + 2);
	assert_int_equal(value_of(w.stride[0]), T * 48);
	assert_int_equal(value_of(w.stride[1]), 48);
	assert_int_equal(value_of(w.stride[2]), 6);
	g = parse(a,
		"%2 = neg %0 : f32[B,T,4,6] dest=%3\n%3 = write %1, %2 {axis=1, start=5 - T}\n%9 = slice %3 {axis=1, start=0, len=5}");
	assert_true(view_of(last(g), &w));
	assert_ptr_equal(w.root, g->vals.at[1]);
	assert_true(view_of(g->vals.at[2], &w));
	assert_ptr_equal(w.root, g->vals.at[1]);
	assert_int_equal(value_of(w.offset), 2 * 24);
	assert_int_equal(value_of(w.stride[0]), 8 * 24);
	assert_ptr_equal(store_target(g->vals.at[3]), g->vals.at[1]);
	assert_ptr_equal(store_target(g->vals.at[0]), g->vals.at[0]);
	arena_free(a);
}

static void groups(void **state) {
	static const struct { const char *body; int n, axes[4]; bool joins; int64_t extent, stride; } row[] = {
		{"%9 = transpose %0 {perm=[2,0,1,3]}", 2, {1, 2}, true, B * T, 24},
		{"%9 = transpose %0 {perm=[2,0,1,3]}", 2, {0, 3}, true, 24, 1},
		{"%9 = transpose %0 {perm=[2,0,1,3]}", 2, {0, 1}, false, 0, 0},
		{"%9 = transpose %0 {perm=[2,0,1,3]}", 2, {2, 1}, false, 0, 0},
		{"%9 = transpose %0 {perm=[2,0,1,3]}", 1, {3}, true, 6, 1},
		{"%9 = transpose %0 {perm=[2,0,1,3]}", 0, {0}, true, 1, 0},
		{"%9 = slice %0 {axis=2, start=0, len=1}", 3, {0, 1, 2}, true, B * T, 24},
		{"%9 = slice %0 {axis=2, start=0, len=1}", 2, {2, 3}, true, 6, 1},
		{"%9 = slice %0 {axis=1, start=0, len=2}", 2, {0, 1}, false, 0, 0},
	};
	for (int i = 0; i < COUNT(row); i++) {
		Arena *a = arena_new();
		Value *v = last(parse(a, row[i].body));
		View w;
		const Dim *extent, *stride;
		assert_true(view_of(v, &w));
		assert_int_equal(view_group(v, &w, row[i].axes, row[i].n, &extent, &stride), row[i].joins);
		if (row[i].joins) {
			assert_int_equal(value_of(extent), row[i].extent);
			assert_int_equal(value_of(stride), row[i].stride);
		}
		arena_free(a);
	}
}

static void contiguity(void **state) {
	static const struct { const char *body; bool yes; } row[] = {
		{"%9 = reshape %0 : f32[B*T,24]", true},
		{"%9 = slice %0 {axis=0, start=1, len=1}", true},
		{"%9 = slice %0 {axis=1, start=0, len=1}", false},
		{"%9 = transpose %0 {perm=[1,0,2,3]}", false},
	};
	for (int i = 0; i < COUNT(row); i++) {
		Arena *a = arena_new();
		Value *v = last(parse(a, row[i].body));
		View w;
		assert_true(view_of(v, &w));
		assert_int_equal(view_contiguous(&w, v->type), row[i].yes);
		arena_free(a);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(resolved), cmocka_unit_test(unresolved), cmocka_unit_test(places), cmocka_unit_test(groups),
		cmocka_unit_test(contiguity),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
