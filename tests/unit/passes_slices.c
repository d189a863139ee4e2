/* The slice rules of simplify, op by op: the same numbers, and the op itself runs on the slice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "passes/passes.h"
#include "tests/numeric.h"

static const Dims dims = { 2, { { "B", 2 }, { "T", 5 } } };

static Type type(DType dt, const char *text)
{
	Type t = { .dt = dt };
	while (*text) {
		t.dim[t.rank++] = dim_parse(&text);
		text += *text == ',';
	}
	return t;
}

static Value *in(Builder *b, const char *name, const char *shape)
{
	return b_source(b, OP_INPUT, intern(name), type(DT_F32, shape));
}

static Value *tail(Builder *b, Value *x, int axis)
{
	return b_slice(b, x, axis, dim_sub(dim_sym("T"), dim_const(2)), dim_const(2));
}

static Value *elementwise(Builder *b)
{
	Value *x = b_binary(b, OP_ADD, in(b, "x", "B,T,3"), in(b, "y", "T,1"));
	return tail(b, b_binary(b, OP_MUL, x, in(b, "z", "3")), 1);
}
static Value *choice(Builder *b)
{
	Value *c = b_source(b, OP_INPUT, "c", type(DT_BOOL, "T,1"));
	return tail(b, b_select(b, c, in(b, "x", "B,T,3"), b_const(b, DT_F32, 7)), 1);
}
static Value *sum(Builder *b) { return tail(b, b_reduce(b, OP_SUM, in(b, "x", "B,T,3"), 5), 1); }
static Value *top(Builder *b) { return tail(b, b_reduce(b, OP_RMAX, in(b, "x", "B,T,3"), 4), 1); }
static Value *softmax(Builder *b)
{
	Value *x = in(b, "x", "B,T,3");
	return tail(b, build(b, OP_SOFTMAX, &x, 1, &(Attrs){ .axis = 2 }, NULL), 1);
}
static Value *pad(Builder *b) { return tail(b, b_pad(b, in(b, "x", "B,T"), 0, dim_const(1), dim_const(2)), 1); }
static Value *turn(Builder *b)
{
	return tail(b, b_transpose(b, in(b, "x", "B,T,3"), (const int8_t[]){ 2, 0, 1 }), 2);
}
static Value *shape(Builder *b) { return tail(b, b_reshape(b, in(b, "x", "B,2,T,3,2"), type(DT_F32, "2*B,T,6")), 1); }
static Value *stretch(Builder *b) { return tail(b, b_expand(b, in(b, "x", "T,1"), type(DT_F32, "B,T,3")), 1); }
static Value *join(Builder *b)
{
	return tail(b, b_concat(b, (Value *[]){ in(b, "x", "T,3"), in(b, "y", "T,2") }, 2, 1), 0);
}
static Value *left(Builder *b) { return tail(b, b_contract(b, in(b, "x", "B,T,3"), in(b, "y", "3,4"), "btd,dn->nbt"), 2); }
static Value *both(Builder *b) { return tail(b, b_contract(b, in(b, "x", "T,3"), in(b, "y", "T,3,4"), "td,tdn->tn"), 0); }
static Value *right(Builder *b) { return tail(b, b_contract(b, in(b, "x", "3"), in(b, "y", "T,3"), "d,td->t"), 0); }
static Value *rows(Builder *b)
{
	return tail(b, b_gather(b, in(b, "x", "7,3"), b_source(b, OP_INPUT, "ids", type(DT_I32, "B,T"))), 1);
}
static Value *columns(Builder *b)
{
	return b_slice(b, b_gather(b, in(b, "x", "7,3"), b_source(b, OP_INPUT, "ids", type(DT_I32, "B,T"))), 2, dim_const(1), dim_const(2));
}
static Value *attend(Builder *b, int causal)
{
	Value *x[] = { in(b, "q", "B,T,2,3"), in(b, "k", "B,T,1,3"), in(b, "v", "B,T,1,3") };
	return build(b, OP_ATTENTION, x, 3, &(Attrs){ .scale = 0.6, .causal = causal }, NULL);
}
static Value *causal(Builder *b) { return tail(b, attend(b, 1), 1); }
static Value *first_of_all(Builder *b) { return b_slice(b, attend(b, 0), 1, dim_const(0), dim_const(1)); }
static Value *first_of_causal(Builder *b) { return b_slice(b, attend(b, 1), 1, dim_const(0), dim_const(1)); }
static Value *masked(Builder *b)
{
	Value *x[] = { in(b, "q", "B,T,4,3"), in(b, "k", "B,T,2,3"), in(b, "v", "B,T,2,3"),
		b_source(b, OP_INPUT, "m", type(DT_BOOL, "B,1,T,1")), in(b, "bias", "4,T,T") };
	return tail(b, build(b, OP_ATTENTION, x, 5, &(Attrs){ .scale = 0.6, .window = 2, .mask = 1, .bias = 1 }, NULL), 1);
}
/* Slices of one value through slices that are all of it: each keeps its own place. */
static Value *two_of_one(Builder *b)
{
	Value *x = b_unary(b, OP_EXP, in(b, "x", "T,3")), *all = b_slice(b, x, 0, dim_const(0), dim_sym("T"));
	return b_binary(b, OP_SUB, b_slice(b, all, 1, dim_const(0), dim_const(1)), b_slice(b, all, 1, dim_const(2), dim_const(1)));
}
static Value *reduced_axis(Builder *b)
{
	Value *x = in(b, "x", "B,T,3");
	return tail(b, build(b, OP_SOFTMAX, &x, 1, &(Attrs){ .axis = 1 }, NULL), 1);
}
static Value *also_whole(Builder *b)
{
	Value *x = b_unary(b, OP_EXP, in(b, "x", "T,3"));
	b_output(b, "whole", x);
	return tail(b, x, 0);
}

static const struct Case { Op op; Value *(*make)(Builder *); bool pushed; } cases[] = {
	{ OP_ADD, elementwise, true }, { OP_MUL, elementwise, true }, { OP_SELECT, choice, true }, { OP_SUM, sum, true },
	{ OP_RMAX, top, true }, { OP_SOFTMAX, softmax, true }, { OP_PAD, pad, true }, { OP_TRANSPOSE, turn, true },
	{ OP_RESHAPE, shape, true }, { OP_EXPAND, stretch, true }, { OP_CONCAT, join, true },
	{ OP_CONTRACT, left, true }, { OP_CONTRACT, both, true }, { OP_CONTRACT, right, true }, { OP_GATHER, rows, true },
	{ OP_ATTENTION, causal, true }, { OP_ATTENTION, first_of_all, true }, { OP_ATTENTION, masked, true },
	{ OP_GATHER, columns, false }, { OP_ATTENTION, first_of_causal, false }, { OP_SOFTMAX, reduced_axis, false },
	{ OP_EXP, also_whole, false }, { OP_EXP, two_of_one, false },
};

/* Is a slice taken of an op of this kind? */
static bool sliced(const Graph *g, Op op)
{
	for (int i = 0; i < g->vals.len; i++)
		if (g->vals.at[i]->op == OP_SLICE && g->vals.at[i]->in[0]->op == op)
			return true;
	return false;
}

static void test_each_op(void **state)
{
	for (int i = 0; i < COUNT(cases); i++) {
		Graph *g = graph_new(test_arena(), "g");
		graph_sym(g, "B", 4);
		graph_sym(g, "T", 8);
		Builder b = { .g = g };
		b_output(&b, "y", cases[i].make(&b));
		Graph *after = graph_copy(g, "after");
		assert_true(passes_run(after, "simplify", &(PassOptions){ .verify_each = true }));
		Env *x = fill_env(g, &dims, 2, 7), *y = fill_env(g, &dims, 2, 7);
		assert_true(graph_eval(g, x) && graph_eval(after, y));
		if (difference(env_get(y, "y"), env_get(x, "y")) > 1e-15 || sliced(after, cases[i].op) == cases[i].pushed)
			fail_msg("case %d: the slice of %s is %s", i, op_info[cases[i].op].text, cases[i].pushed ? "wrong or left" : "pushed");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_op),
	};
	return cmocka_run_group_tests_name("passes_slices", tests, NULL, NULL);
}
