/* The verifier: each rule broken once, by hand, is reported with its code; sound graphs pass in silence. */
#include "tests/said.h"
#include "ir/ir.h"

#include <setjmp.h>
#include <unistd.h>
#include <cmocka.h>

static char said[1 << 14];

static bool verify(const Graph *g) {
	Said caught = said_begin();
	bool ok = graph_verify(g);
	said_end(caught, said, sizeof said);
	return ok;
}

/* %0 param w, %1 state s, %2 input x, %3 neg, %4 add, %5 concat of %3 and %4 (both placed), store, output */
static Graph *sound(Arena *a) {
	Graph *g = graph_parse(a, source_text(a, "v.ir",
		"graph g(T <= 8) {\n%0 = param {name=\"w\"} : f32[T,4]\n%1 = state {name=\"s\"} : f32[T,4]\n"
		"%2 = input {name=\"x\"} : f32[T,4]\n%3 = neg %2 : f32[T,4] !k1 dest=%5\n"
		"%4 = add %3, %0 : f32[T,4] !k2 dest=%5 loc=\"m.sinter\":7:1\n%5 = concat %3, %4 {axis=1}\n"
		"store %1, %4\noutput %5 {name=\"y\"}\n}\n"), NULL);
	assert_non_null(g);
	return g;
}

static Value *at(Graph *g, int i) { return g->vals.at[i]; }

static void swapped(Graph *g) {
	Value *v = at(g, 3);
	g->vals.at[3] = g->vals.at[4];
	g->vals.at[4] = v;
}

static void removed(Graph *g) {
	for (int i = 3; i + 1 < g->vals.len; i++)
		g->vals.at[i] = g->vals.at[i + 1];
	g->vals.len--;
}

static void doubled(Graph *g) { vec_push(g->arena, &g->vals, at(g, 3)); }
static void wrong_type(Graph *g) { at(g, 4)->type.dim[1] = dim_const(5); }
static void wrong_dtype(Graph *g) { at(g, 2)->type.dt = DT_I32; }
static void no_operand(Graph *g) { at(g, 3)->nin = 0; }
static void no_name(Graph *g) { at(g, 7)->a.name = NULL; }
static void bad_axis(Graph *g) { at(g, 5)->a.axis = 2; }
static void no_value(Graph *g) { at(g, 7)->in[0] = at(g, 6); }
static void store_to_input(Graph *g) { at(g, 6)->in[0] = at(g, 2); }
static void two_outputs(Graph *g) { b_output(&(Builder){.g = g}, "y", at(g, 2)); }
static void two_stores(Graph *g) { b_store(&(Builder){.g = g}, at(g, 1), at(g, 2)); }
static void two_sources(Graph *g) { b_source(&(Builder){.g = g}, OP_STATE, "w", at(g, 0)->type); }
static void dest_backward(Graph *g) { at(g, 4)->dest = at(g, 3); }
static void dest_no_user(Graph *g) { at(g, 1)->dest = at(g, 5); }
static void dest_twice(Graph *g) { at(g, 5)->in[0] = at(g, 4), at(g, 3)->dest = NULL; }
static void dest_of_view(Graph *g) { at(g, 5)->in[0] = at(g, 2), at(g, 2)->dest = at(g, 5), at(g, 3)->dest = NULL; }
static void unknown_symbol(Graph *g) { g->syms.len = 0; }
static void kernel_of_none(Graph *g) { at(g, 5)->kernel = 3; }
/* Something shaped by a count: before it, twice counted, a source. */
static void late_count(Graph *g) {
	Builder b = {.g = g};
	Value *m = b_source(&b, OP_INPUT, "m", type_make(DT_BOOL, 1, (const Dim *[]){dim_sym("T")})), *n = b_nonzero(&b, m, "M");
	b_output(&b, "z", build(&b, OP_CONST, NULL, 0, &(Attrs){.value = 1}, &(Type){DT_F32, 1, {n->type.dim[0]}}));
	g->vals.at[g->vals.len - 3] = g->vals.at[g->vals.len - 2];
	g->vals.at[g->vals.len - 2] = n;
}
static void two_counts(Graph *g) {
	Builder b = {.g = g};
	Value *m = b_source(&b, OP_INPUT, "m", type_make(DT_BOOL, 1, (const Dim *[]){dim_sym("T")}));
	b_nonzero(&b, m, "M");
	b_nonzero(&b, m, "M");
}
static void counted_source(Graph *g) {
	Builder b = {.g = g};
	Value *m = b_source(&b, OP_INPUT, "m", type_make(DT_BOOL, 1, (const Dim *[]){dim_sym("T")}));
	b_source(&b, OP_INPUT, "z", b_nonzero(&b, m, "M")->type);
}
static void kernel_cycle(Graph *g) {
	Builder b = {.g = g};
	Value *v = b_unary(&b, OP_NEG, b_slice(&b, at(g, 4), 1, dim_const(0), dim_const(1)));
	v->kernel = 1;
	b_output(&b, "z", v);
}

static void rules(void **state) {
	static const struct { void (*harm)(Graph *); const char *code; } row[] = {
		{swapped, "E0910"}, {removed, "E0910"}, {doubled, "E0910"}, {wrong_type, "E0912"}, {wrong_dtype, "E0911"},
		{no_operand, "E0911"}, {no_name, "E0913"}, {bad_axis, "E0911"}, {no_value, "E0911"}, {store_to_input, "E0911"},
		{two_outputs, "E0914"}, {two_stores, "E0915"}, {two_sources, "E0914"}, {dest_backward, "E0916"},
		{dest_no_user, "E0916"}, {dest_twice, "E0916"}, {dest_of_view, "E0916"}, {unknown_symbol, "E0917"}, {kernel_of_none, "E0918"},
		{kernel_cycle, "E0918"}, {late_count, "E0919"}, {two_counts, "E0919"}, {counted_source, "E0919"},
	};
	for (int i = 0; i < COUNT(row); i++) {
		Arena *a = arena_new();
		Graph *g = sound(a);
		assert_true(verify(g));
		assert_string_equal(said, "");
		row[i].harm(g);
		if (verify(g))
			fail_msg("row %d (%s) passes", i, row[i].code);
		if (!strstr(said, row[i].code))
			fail_msg("row %d (%s) says %s", i, row[i].code, said);
		arena_free(a);
	}
	diag_reset();
}

static void messages(void **state) {
	Arena *a = arena_new();
	Graph *g = sound(a);
	wrong_type(g);
	assert_false(verify(g));
	assert_non_null(strstr(said, "g: %4 = add (m.sinter:7): has type f32[T,5], its operands make f32[T,4]"));
	arena_free(a);
	diag_reset();
}

/* Type rules say what is wrong with operands; the frontend passes the text on. */
static void type_rules(void **state) {
	static const char *const row[][2] = {
		{"%9 = add %0, %1", "operands are f32[T,4] and i32[T]"},
		{"%9 = add %0, %2", "shapes f32[T,4] and f32[T,3] do not fit"},
		{"%9 = exp %1", "must be f32"},
		{"%9 = not %1", "must be bool"},
		{"%9 = select %1, %0, %0", "must be bool"},
		{"%9 = sum %0 {axes=[]}", "axes 0 of a tensor of rank 2"},
		{"%9 = reshape %0 : f32[T,5]", "f32[T,4] cannot be reshaped to f32[T,5]"},
		{"%9 = expand %0 : f32[5,4]", "cannot be expanded"},
		{"%9 = transpose %0 {perm=[0,0]}", "no permutation"},
		{"%9 = slice %0 {axis=1, start=3, len=2}", "2 elements from 3 on of an axis of 4"},
		{"%9 = windows %0 {axis=1, len=5, step=1}", "windows of 5 elements, 1 apart, of an axis of 4"},
		{"%9 = windows %0 {axis=1, len=2, step=0}", "windows of 2 elements, 0 apart"},
		{"%9 = windows %0 {axis=1, len=T, step=1}", "windows of T elements"},
		{"%9 = windows %0 {axis=2, len=1, step=1}", "axis 2 of a tensor of rank 2"},
		{"%9 = concat %0, %2 {axis=0}", "do not fit"},
		{"%9 = pad %0 {axis=2, lo=0, hi=0}", "axis 2 of a tensor of rank 2"},
		{"%9 = contract %0, %2 {spec=\"ab,ab->a\"}", "letter b of \"ab,ab->a\" is both 4 and 3"},
		{"%9 = contract %0, %2 {spec=\"ab,cd->ac\"}", "letter b is in operand 0 alone"},
		{"%9 = contract %0, %2 {spec=\"ab,ad->abe\"}", "letter e of the result is in no operand"},
		{"%9 = contract %0, %2 {spec=\"aa,ad->ad\"}", "repeats a letter"},
		{"%9 = contract %0, %2 {spec=\"abc,ad->bcd\"}", "gives it 3 axes"},
		{"%9 = gather %0, %0", "must be i32"},
		{"%9 = scatter_add %0, %1, %0", "" /* fits: [T,4] rows of [T] ids */},
		{"%9 = softmax %0 {axis=2}", "axis 2 of a tensor of rank 2"},
		{"%9 = iota {axis=0} : f32[3]", "iota makes i32"},
		{"%9 = random %1 {stream=0} : f32[3]", "the seed must be i32[]"},
		{"%9 = neg %0, %0", "neg with 2 operands"},
		{"%9 = attention %0, %0, %0 {stream=0, causal=1, keys=0, bias=0, scale=1, dropout=0}", "must be f32 of rank 4"},
		{"%9 = attention %3, %3, %3 {stream=0, causal=1, keys=1, bias=0, scale=1, dropout=0}", "operands do not match"},
		{"%9 = attention %3, %3, %3, %1 {mask=1, scale=1}", "mask is i32[T], must broadcast to bool[1,4,T,T]"},
		{"%9 = attention %3, %3, %3 {window=-1, scale=1}", "must not be negative"},
		{"%9 = nonzero %0 : i32[M]", "must be bool of rank 1"},
		{"%8 = lt %1, %1\n%9 = nonzero %8 : i32[2*M]", "one extent, a symbol"},
		{"%8 = lt %1, %1\n%9 = nonzero %8 : f32[M]", "one extent, a symbol"},
		{"%9 = attention %3, %4, %4 {stream=0, causal=1, keys=0, bias=0, scale=1, dropout=0}", "3 key heads do not divide 4 query heads"},
	};
	for (int i = 0; i < COUNT(row); i++) {
		Arena *a = arena_new();
		const char *text = arena_printf(a,
			"graph g(T <= 8) {\n%%0 = input {name=\"a\"} : f32[T,4]\n%%1 = input {name=\"b\"} : i32[T]\n"
			"%%2 = input {name=\"c\"} : f32[T,3]\n%%3 = input {name=\"q\"} : f32[1,T,4,2]\n"
			"%%4 = input {name=\"k\"} : f32[1,T,3,2]\n%s\n}\n", row[i][0]);
		Said caught = said_begin();
		Graph *g = graph_parse(a, source_text(a, "t.ir", text), NULL);
		said_end(caught, said, sizeof said);
		if (!strstr(said, row[i][1]) || (g != NULL) != !*row[i][1])
			fail_msg("%s says %s", row[i][0], said);
		arena_free(a);
	}
	diag_reset();
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(rules), cmocka_unit_test(messages), cmocka_unit_test(type_rules)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
