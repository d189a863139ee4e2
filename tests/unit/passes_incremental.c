/* incremental: what a generate entry may do along its sequence, held against the whole sequence chunk by chunk; and
 * what it may not, with the reason it is given. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <unistd.h>

#include "passes/passes.h"
#include "tests/numeric.h"

typedef Value *Make(Builder *, Value *x);   /* x f32[B,T,4] */

static Type type(DType dt, const char *text)
{
	Type t = { .dt = dt };
	while (*text) {
		t.dim[t.rank++] = dim_parse(&text);
		text += *text == ',';
	}
	return t;
}

static Value *par(Builder *b, const char *name, const char *dims)
{
	return b_source(b, OP_PARAM, intern(name), type(DT_F32, dims));
}

/* tokens i32[B,T] -> x -> make(x) -> its last position, `next` */
static Graph *forward(Make *make)
{
	Graph *g = graph_new(test_arena(), "generate.forward");
	graph_sym(g, "B", 3);
	graph_sym(g, "T", 9);
	Builder b = { .g = g, .loc = { "m.sinter", 27, 3 } };
	Value *tokens = b_source(&b, OP_INPUT, "tokens", type(DT_I32, "B,T"));
	Value *y = make(&b, b_gather(&b, par(&b, "wte", "11,4"), tokens));
	for (int i = 0; i < y->type.rank; i++)
		if (y->type.dim[i] == dim_sym("T")) {
			y = b_slice(&b, y, i, dim_sub(dim_sym("T"), dim_const(1)), dim_const(1));
			break;
		}
	b_output(&b, "next", y);
	return g;
}

static bool run_incremental(Graph *g)
{
	Module *m = module_new(g->arena);
	return incremental(g, m, &(Entry){ .kind = ENTRY_GENERATE, .name = "generate" });
}

static Tensor *advance(const Graph *g, Env *e, int from, int to)
{
	double ids[2 * 9];
	for (int b = 0; b < 2; b++)
		for (int t = from; t < to; t++)
			ids[b * (to - from) + t - from] = (b * 5 + t * 3) % 11;
	env_set(e, "tokens", 2, (const int64_t[]){ 2, to - from }, ids);
	env_dim(e, "T", to - from);
	env_dim(e, "S", to);
	assert_true(graph_eval(g, e));
	return env_get(e, "next");
}

static void agrees(Make *make)
{
	static const int chunks[] = { 2, 1, 1, 4, 1 };
	Graph *whole = forward(make), *step = graph_copy(whole, "generate.step");
	assert_true(run_incremental(step));
	assert_true(graph_verify(step));
	Dims d = { 3, { { "B", 2 }, { "T", 1 }, { "S", 1 } } };
	Env *a = fill_env(whole, &d, 3, 11), *b = fill_env(step, &d, 3, 11);
	for (int i = 0, at = 0; i < COUNT(chunks); at += chunks[i++]) {
		Tensor *got = advance(step, b, at, at + chunks[i]);
		assert_true(difference(got, advance(whole, a, 0, at + chunks[i])) < 1e-12);
	}
}

static Value *attend(Builder *b, Value *q, Value *k, Value *v, Attrs a, Value *extra)
{
	a.scale = 0.5;
	Value *in[] = { q, k, v, extra };
	return build(b, OP_ATTENTION, in, extra ? 4 : 3, &a, NULL);
}

static Value *heads(Builder *b, Value *x, const char *dims)
{
	return b_reshape(b, x, type(DT_F32, dims));
}

/* Allowed */

static Value *positions_by_slice(Builder *b, Value *x)
{
	Value *wpe = b_slice(b, par(b, "wpe", "9,4"), 0, dim_const(0), dim_sym("T"));
	return b_binary(b, OP_ADD, x, wpe);
}

static Value *rotation(Builder *b, Value *x)
{
	Value *t = b_iota(b, 0, type(DT_I32, "T,1"));
	return b_binary(b, OP_MUL, x, b_unary(b, OP_COS, b_convert(b, t, DT_F32)));
}

static Value *causal(Builder *b, Value *x)
{
	Value *h = heads(b, x, "B,T,2,2"), *k = b_binary(b, OP_MUL, h, par(b, "k", "2,2"));
	return attend(b, h, k, h, (Attrs){ .causal = 1 }, NULL);
}

static Value *shared_keys(Builder *b, Value *x)
{
	Value *k = heads(b, rotation(b, x), "B,T,1,4");
	Value *one = attend(b, k, k, k, (Attrs){ .causal = 1 }, NULL);
	return attend(b, b_binary(b, OP_ADD, one, k), k, one, (Attrs){ .causal = 1 }, NULL);
}

static Value *query_of_the_last(Builder *b, Value *x)
{
	Value *h = heads(b, x, "B,T,1,4");
	Value *q = b_slice(b, h, 1, dim_sub(dim_sym("T"), dim_const(1)), dim_const(1));
	return attend(b, q, h, h, (Attrs){ 0 }, NULL);
}

static Value *constant_keys(Builder *b, Value *x)
{
	Value *k = b_expand(b, par(b, "k", "1,6,1,4"), type(DT_F32, "B,6,1,4"));
	return attend(b, heads(b, x, "B,T,1,4"), k, k, (Attrs){ 0 }, NULL);
}

static Value *moved_about(Builder *b, Value *x)
{
	Value *y = b_transpose(b, x, (const int8_t[]){ 2, 1, 0 });             /* [4,T,B] */
	y = b_slice(b, y, 0, dim_const(1), dim_const(2));
	y = b_concat(b, (Value *[]){ y, b_pad(b, y, 0, dim_const(0), dim_const(1)) }, 2, 0);   /* [5,T,B] */
	y = b_contract(b, y, par(b, "w", "5,3"), "ftb,fn->btn");
	return b_reduce(b, OP_SUM, build(b, OP_SOFTMAX, &y, 1, &(Attrs){ .axis = 2 }, NULL), 1);
}

static void test_allowed(void **state)
{
	static Make *const all[] = { positions_by_slice, rotation, causal, shared_keys, query_of_the_last, constant_keys,
		moved_about };
	for (int i = 0; i < COUNT(all); i++)
		agrees(all[i]);
}

static void test_one_cache_for_shared_keys(void **state)
{
	Graph *g = forward(shared_keys);
	assert_true(run_incremental(g));
	int states = 0;
	for (int i = 0; i < g->vals.len; i++)
		states += g->vals.at[i]->op == OP_STATE;
	assert_int_equal(states, 3);   /* k as keys, k as values, and the second attention's values */
}

/* Refused */

static Value *no_mask(Builder *b, Value *x)
{
	Value *h = heads(b, x, "B,T,1,4");
	return attend(b, h, h, h, (Attrs){ 0 }, NULL);
}

static Value *key_mask(Builder *b, Value *x)
{
	Value *h = heads(b, x, "B,T,1,4"), *keys = b_source(b, OP_INPUT, "keys", type(DT_BOOL, "B,T"));
	return attend(b, h, h, h, (Attrs){ .causal = 1, .keys = 1 }, keys);
}

static Value *dropped(Builder *b, Value *x)
{
	Value *h = heads(b, x, "B,T,1,4"), *seed = b_source(b, OP_INPUT, "seed", type(DT_I32, ""));
	return attend(b, h, h, h, (Attrs){ .causal = 1, .dropout = 0.1 }, seed);
}

static Value *mean(Builder *b, Value *x) { return b_binary(b, OP_ADD, x, b_reduce(b, OP_SUM, x, 2)); }
static Value *merged(Builder *b, Value *x) { return b_reshape(b, x, type(DT_F32, "B*T,4")); }
static Value *shifted(Builder *b, Value *x)
{
	Value *y = b_slice(b, x, 1, dim_const(0), dim_sub(dim_sym("T"), dim_const(1)));
	return b_pad(b, y, 1, dim_const(1), dim_const(0));
}
static Value *padded(Builder *b, Value *x) { return b_pad(b, x, 1, dim_const(1), dim_const(0)); }
static Value *doubled(Builder *b, Value *x) { return b_concat(b, (Value *[]){ x, x }, 2, 1); }
static Value *gram(Builder *b, Value *x) { return b_contract(b, x, x, "btd,bsd->bts"); }
static Value *covariance(Builder *b, Value *x) { return b_contract(b, x, x, "btd,bte->bde"); }
static Value *by_length(Builder *b, Value *x)
{
	return b_binary(b, OP_DIV, x, b_convert(b, b_dim(b, dim_sym("T")), DT_F32));
}
static Value *last_to_all(Builder *b, Value *x)
{
	return b_binary(b, OP_ADD, x, b_slice(b, x, 1, dim_sub(dim_sym("T"), dim_const(1)), dim_const(1)));
}
static Value *noise(Builder *b, Value *x)
{
	return b_binary(b, OP_ADD, x, b_random(b, b_source(b, OP_INPUT, "seed", type(DT_I32, "")), 0, x->type));
}
static Value *softmax_over_time(Builder *b, Value *x)
{
	return build(b, OP_SOFTMAX, &x, 1, &(Attrs){ .axis = 1 }, NULL);
}
static Value *kept(Builder *b, Value *x)
{
	Value *y = b_slice(b, x, 1, dim_sub(dim_sym("T"), dim_const(1)), dim_const(1));
	Value *first = b_slice(b, y, 0, dim_const(0), dim_const(1));
	b_store(b, b_source(b, OP_STATE, "h", type(DT_F32, "1,1,4")), first);
	return x;
}

static const struct Refusal { Make *make; const char *code, *why; } refusals[] = {
	{ no_mask, "E0801", "attention at line 27 has no causal mask" },
	{ key_mask, "E0807", "attention at line 27 masks keys" },
	{ dropped, "E0807", "attention at line 27 has dropout" },
	{ mean, "E0802", "sum runs over the whole sequence" },
	{ softmax_over_time, "E0802", "softmax runs over the whole sequence" },
	{ covariance, "E0802", "a product is summed over the whole sequence" },
	{ by_length, "E0803", "the length of the whole sequence is used" },
	{ merged, "E0804", "a reshape mixes T with other axes" },
	{ shifted, "E0805", "neither all of it nor its last position" },
	{ padded, "E0805", "padding shifts positions" },
	{ doubled, "E0805", "a concatenation runs along the sequence" },
	{ gram, "E0806", "sets every position against every other" },
	{ last_to_all, "E0806", "gives the last position's value to earlier ones" },
	{ noise, "E0807", "random numbers are drawn" },
	{ kept, "E0808", "store depends on the sequence" },
};

/* What incremental says on stderr. */
static const char *said(Graph *g)
{
	static char text[4096];
	FILE *f = tmpfile();
	int old = dup(2);
	fflush(stderr);
	dup2(fileno(f), 2);
	bool good = run_incremental(g);
	fflush(stderr);
	dup2(old, 2);
	close(old);
	rewind(f);
	text[fread(text, 1, sizeof text - 1, f)] = 0;
	fclose(f);
	return good ? "" : text;
}

static void test_refused(void **state)
{
	for (int i = 0; i < COUNT(refusals); i++) {
		diag_reset();
		const char *text = said(forward(refusals[i].make));
		if (diag_errors() != 1 || !strstr(text, refusals[i].code) || !strstr(text, refusals[i].why) || !strstr(text, "m.sinter:27"))
			fail_msg("refusal %d: %d errors, want one of \"%s %s\", got:\n%s", i, diag_errors(), refusals[i].code,
				refusals[i].why, text);
	}
	diag_reset();
}

static void test_refused_without_tokens(void **state)
{
	Graph *g = graph_new(test_arena(), "generate.forward");
	assert_non_null(strstr(said(g), "E0809"));
	diag_reset();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_allowed),
		cmocka_unit_test(test_one_cache_for_shared_keys),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_refused_without_tokens),
	};
	return cmocka_run_group_tests_name("passes_incremental", tests, NULL, NULL);
}
