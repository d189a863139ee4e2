/* raise_attention: attention written out in many ways is found, and means the same; what looks like it and is not stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "passes/passes.h"
#include "tests/numeric.h"

/* letters: b batch, t and s positions, g and h key heads, r query heads of one, k and v widths */
typedef struct Shape { const char *q, *k, *scores, *v, *out; } Shape;
typedef struct Form {
	Shape s;
	bool bias, keys, swapped, inverted, added;   /* operands swapped; where(not m, low, x); x + where(m, 0, low) */
	int window;
	double cap;
	int query, batch, key;                        /* axes of the scores; batch -1 */
} Form;

static const Dim *extent(char c)
{
	switch (c) {
	case 'b': return dim_sym("B");
	case 't': case 's': return dim_sym("T");
	case 'g': case 'h': return dim_const(2);
	case 'r': return dim_const(3);
	default: return dim_const(4);
	}
}

static Type shape_of(const char *letters, DType dt)
{
	Type t = { .dt = dt };
	for (; *letters; letters++)
		t.dim[t.rank++] = extent(*letters);
	return t;
}

/* i32 that counts along one axis of the scores */
static Value *counting(Builder *b, const Form *f, int axis)
{
	Type t = { .dt = DT_I32, .rank = (int)strlen(f->s.scores) };
	for (int i = 0; i < t.rank; i++)
		t.dim[i] = i == axis ? dim_sym("T") : dim_const(1);
	return b_reshape(b, b_iota(b, 0, type_make(DT_I32, 1, (const Dim *[]){ dim_sym("T") })), t);
}

static Value *mask_of(Builder *b, const Form *f)
{
	Value *t = counting(b, f, f->query), *s = counting(b, f, f->key), *m = b_binary(b, OP_LE, s, t);
	if (f->window)
		m = b_binary(b, OP_AND, b_binary(b, OP_LT, b_binary(b, OP_SUB, t, b_const(b, DT_I32, f->window)), s), m);
	if (!f->keys)
		return m;
	Type k = { .dt = DT_BOOL, .rank = (int)strlen(f->s.scores) };
	for (int i = 0; i < k.rank; i++)
		k.dim[i] = i == f->key ? dim_sym("T") : i == f->batch ? dim_sym("B") : dim_const(1);
	return b_binary(b, OP_AND, m, b_source(b, OP_INPUT, "real", k));
}

static Value *masked(Builder *b, const Form *f, Value *x)
{
	Value *m = mask_of(b, f), *low = b_const(b, DT_F32, -1e30);
	if (f->added)
		return b_binary(b, OP_ADD, b_select(b, m, b_const(b, DT_F32, 0), low), x);
	return f->inverted ? b_select(b, b_unary(b, OP_NOT, m), low, x) : b_select(b, m, x, low);
}

static Value *product(Builder *b, Value *x, Value *y, const char *lx, const char *ly, const char *out, bool swapped)
{
	return swapped ? b_contract(b, y, x, internf("%s,%s->%s", ly, lx, out)) : b_contract(b, x, y, internf("%s,%s->%s", lx, ly, out));
}

static Graph *written(const Form *f)
{
	Graph *g = graph_new(test_arena(), "g.forward");
	graph_sym(g, "B", 3);
	graph_sym(g, "T", 9);
	Builder b = { .g = g };
	Value *q = b_source(&b, OP_INPUT, "q", shape_of(f->s.q, DT_F32)), *k = b_source(&b, OP_INPUT, "k", shape_of(f->s.k, DT_F32));
	Value *v = b_source(&b, OP_INPUT, "v", shape_of(f->s.v, DT_F32));
	Value *x = product(&b, q, k, f->s.q, f->s.k, f->s.scores, f->swapped);
	x = b_binary(&b, OP_DIV, x, b_const(&b, DT_F32, 1.5));
	if (f->cap > 0)
		x = b_binary(&b, OP_MUL, b_const(&b, DT_F32, f->cap), b_unary(&b, OP_TANH, b_binary(&b, OP_DIV, x, b_const(&b, DT_F32, f->cap))));
	if (f->bias)
		x = b_binary(&b, OP_ADD, x, b_source(&b, OP_INPUT, "bias", shape_of(f->s.scores + 1, DT_F32)));
	x = masked(&b, f, x);
	x = build(&b, OP_SOFTMAX, &x, 1, &(Attrs){ .axis = f->key }, NULL);
	b_output(&b, "y", product(&b, x, v, f->s.scores, f->s.v, f->s.out, f->swapped));
	return g;
}

static const Form forms[] = {
	{ { "bthk", "bshk", "bhts", "bshv", "bthv" }, .query = 2, .key = 3 },
	{ { "bhtk", "bhsk", "bhts", "bhsv", "bhtv" }, .query = 2, .key = 3, .swapped = true, .bias = true, .added = true },
	{ { "btk", "bsk", "bts", "bsv", "btv" }, .query = 1, .key = 2, .cap = 2, .inverted = true },
	{ { "tk", "sk", "ts", "sv", "tv" }, .query = 0, .key = 1, .batch = -1, .window = 3 },
	{ { "btgrk", "bsgk", "bgrts", "bsgv", "btgrv" }, .query = 3, .key = 4, .bias = true, .window = 4, .cap = 3 },
	{ { "rtk", "sk", "rts", "sv", "trv" }, .query = 1, .key = 2, .batch = -1 },
	{ { "kgtb", "sbgk", "sbgt", "vbsg", "vtgb" }, .query = 3, .key = 0, .batch = 1, .swapped = true },
	{ { "bthk", "bshk", "bhts", "bshv", "bthv" }, .query = 2, .key = 3, .keys = true, .bias = true, .added = true },
};

static int attentions(const Graph *g, Op op)
{
	int n = 0;
	for (int i = 0; i < g->vals.len; i++)
		n += g->vals.at[i]->op == op;
	return n;
}

/* A row without a key is 0 in one and a mean in the other: the first key is real. */
static void same_values(const Graph *a, const Graph *b, int B, int T)
{
	Dims d = { 2, { { "B", B }, { "T", T } } };
	Env *x = fill_env(a, &d, 7, 2), *y = fill_env(b, &d, 7, 2);
	for (int i = 0; i < B && env_get(x, "real"); i++)
		env_get(x, "real")->at[i * T] = env_get(y, "real")->at[i * T] = 1;
	assert_true(graph_eval(a, x));
	assert_true(graph_eval(b, y));
	assert_true(difference(env_get(y, "y"), env_get(x, "y")) < 1e-12);
}

static void test_found(void **state)
{
	for (int i = 0; i < COUNT(forms); i++)
		for (int clean = 0; clean < 2; clean++) {
			Graph *g = written(&forms[i]), *r = graph_copy(g, "g.raised");
			if (clean)
				assert_true(passes_run(r, "simplify,cse,simplify,cse,dce", NULL));
			raise_attention(r);
			assert_true(graph_verify(r));
			if (attentions(r, OP_ATTENTION) != 1 || attentions(r, OP_SOFTMAX))
				fail_msg("form %d is not found", i);
			same_values(g, r, 2, 7);
			same_values(g, r, 3, 1);
		}
}

static void test_positions_are_attributes(void **state)
{
	for (int i = 0; i < COUNT(forms); i++) {
		Graph *r = written(&forms[i]);
		raise_attention(r);
		for (int k = 0; k < r->vals.len; k++) {
			const Value *v = r->vals.at[k];
			if (v->op != OP_ATTENTION)
				continue;
			assert_int_equal(v->a.causal, 1);
			assert_int_equal(v->a.window, forms[i].window);
			assert_int_equal(v->a.mask, forms[i].keys);
			assert_int_equal(v->a.bias, forms[i].bias);
		}
	}
}

/* Keys behind the query by d: causal only for d = 0; a future of one is no causal mask and stays what it is. */
static void test_other_masks_stay(void **state)
{
	for (int d = -1; d <= 1; d++) {
		Graph *g = graph_new(test_arena(), "g.forward");
		graph_sym(g, "T", 9);
		Builder b = { .g = g };
		Form f = { .s = { "tk", "sk", "ts", "sv", "tv" }, .query = 0, .key = 1 };
		Value *q = b_source(&b, OP_INPUT, "q", shape_of("tk", DT_F32)), *k = b_source(&b, OP_INPUT, "k", shape_of("sk", DT_F32));
		Value *late = b_binary(&b, OP_ADD, counting(&b, &f, 0), b_const(&b, DT_I32, d));
		Value *x = b_select(&b, b_binary(&b, OP_LE, counting(&b, &f, 1), late), b_contract(&b, q, k, "tk,sk->ts"), b_const(&b, DT_F32, -1e30));
		x = build(&b, OP_SOFTMAX, &x, 1, &(Attrs){ .axis = 1 }, NULL);
		b_output(&b, "y", b_contract(&b, x, k, "ts,sk->tk"));
		raise_attention(g);
		for (int i = 0; i < g->vals.len; i++)
			if (g->vals.at[i]->op == OP_ATTENTION) {
				assert_int_equal(g->vals.at[i]->a.causal, d <= 0);
				assert_int_equal(g->vals.at[i]->a.mask, d != 0);
			}
		assert_int_equal(attentions(g, OP_ATTENTION), 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_found),
		cmocka_unit_test(test_positions_are_attributes),
		cmocka_unit_test(test_other_masks_stay),
	};
	return cmocka_run_group_tests_name("passes_raise", tests, NULL, NULL);
}
