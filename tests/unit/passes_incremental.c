/* incremental: what a generate entry may do along its sequence, held against the whole sequence chunk by chunk; and
 * what it may not, with the reason it is given. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <unistd.h>

#include "tests/said.h"
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
	Builder b = { .g = g, .loc = { .file = "m.sinter", .line = 27, .col = 3 } };
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

/* chunk: bound of T in the step; 0: what the pass takes. *encode (may be NULL): the function, or NULL. */
static bool run_with(Graph *g, int chunk, Graph **encode)
{
	Entry e = { .kind = ENTRY_GENERATE, .name = "generate" };
	if (chunk)
		vec_push(g->arena, &e.settings, ((Setting){ .key = "chunk", .num = chunk, .is_num = true }));
	bool good = incremental(g, module_new(g->arena), &e);
	if (encode)
		*encode = entry_graph(&e, "encode");
	return good;
}

static bool run_incremental(Graph *g)
{
	return run_with(g, 0, NULL);
}

/* wrong: added to the ids */
static void feed(const Graph *g, Env *e, int from, int to, int wrong)
{
	double ids[2 * 9];
	for (int b = 0; b < 2; b++)
		for (int t = from; t < to; t++)
			ids[b * (to - from) + t - from] = (b * 5 + t * 3 + wrong) % 11;
	env_set(e, "tokens", 2, (const int64_t[]){ 2, to - from }, ids);
	env_dim(e, "T", to - from);
	for (int i = 0; i < g->syms.len; i++)
		if (strncmp(g->syms.at[i].name, "T.", 2) == 0)
			env_dim(e, g->syms.at[i].name, MIN(to, g->syms.at[i].bound));
	assert_true(graph_eval(g, e));
}

static Tensor *advance(const Graph *g, Env *e, int from, int to)
{
	feed(g, e, from, to, 0);
	return env_get(e, "next");
}

/* In calls of 2, 1, 1, .. tokens; `chunk` as run_with() has it: no call crosses a multiple of it. */
static Graph *agrees_with(Make *make, int chunk, const int *calls, int n)
{
	Graph *whole = forward(make), *step = graph_copy(whole, "generate.step"), *encode;
	assert_true(run_with(step, chunk, &encode));
	assert_true(graph_verify(step));
	Dims d = { 4, { { "B", 2 }, { "T", 1 }, { "T.all", 1 }, { "S", 5 } } };
	for (int i = 0; i < step->syms.len; i++)
		if (strncmp(step->syms.at[i].name, "T.ring", 6) == 0)
			d.at[d.n++] = (Sym){ step->syms.at[i].name, 1 };
	Env *a = fill_env(whole, &d, 3, 11), *b = fill_env(step, &d, 3, 11);
	if (encode) {
		assert_true(graph_verify(encode));
		fill_into(b, encode, &d, 3, 11);
		assert_true(graph_eval(encode, b));
	}
	for (int i = 0, at = 0; i < n; at += calls[i++]) {
		Tensor *got = advance(step, b, at, at + calls[i]);
		assert_true(difference(got, advance(whole, a, 0, at + calls[i])) < 1e-12);
	}
	return step;
}

static void agrees(Make *make)
{
	static const int calls[] = { 2, 1, 1, 4, 1 };
	agrees_with(make, 0, calls, COUNT(calls));
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

/* keys(ids != 0), as where padding is masked */
static Value *key_mask(Builder *b, Value *x)
{
	Value *h = heads(b, x, "B,T,1,4"), *y = b_reduce(b, OP_SUM, x, 4);
	Value *keys = b_binary(b, OP_LT, b_const(b, DT_F32, -1.2), b_reshape(b, y, type(DT_F32, "B,T")));
	return attend(b, h, h, h, (Attrs){ .causal = 1, .keys = 1 }, keys);
}

/* rows(t) - rows(s) of positions, as relative() makes it */
static Value *distance(Builder *b)
{
	return b_binary(b, OP_SUB, b_iota(b, 0, type(DT_I32, "T,1")), b_iota(b, 1, type(DT_I32, "1,T")));
}

static Value *relative_bias(Builder *b, Value *x)
{
	Value *h = heads(b, x, "B,T,2,2");
	Value *near = b_binary(b, OP_MAX, b_binary(b, OP_MIN, distance(b), b_const(b, DT_I32, 5)), b_const(b, DT_I32, 0));
	Value *bias = b_transpose(b, b_gather(b, par(b, "rel", "6,2"), near), (const int8_t[]){ 2, 0, 1 });
	return attend(b, h, h, h, (Attrs){ .causal = 1, .bias = 1 }, bias);
}

/* a bias that depends on both positions' tokens */
static Value *content_bias(Builder *b, Value *x)
{
	Value *h = heads(b, x, "B,T,1,4"), *s = b_contract(b, x, b_binary(b, OP_MUL, x, par(b, "u", "4")), "btd,bsd->bts");
	return attend(b, h, h, h, (Attrs){ .causal = 1, .bias = 1 }, b_reshape(b, s, type(DT_F32, "B,1,T,T")));
}

static Value *banded_mask(Builder *b, Value *x)
{
	Value *h = heads(b, x, "B,T,1,4"), *band = b_binary(b, OP_LT, distance(b), b_const(b, DT_I32, 3));
	return attend(b, h, h, h, (Attrs){ .causal = 1, .mask = 1 }, band);
}

static Value *window(Builder *b, Value *x)
{
	Value *h = heads(b, x, "B,T,1,4");
	return attend(b, h, h, h, (Attrs){ .causal = 1, .window = 3, .softcap = 2 }, NULL);
}

static Value *last_against_keys(Builder *b, Value *x)
{
	Value *h = heads(b, x, "B,T,1,4"), *q = b_slice(b, h, 1, dim_sub(dim_sym("T"), dim_const(1)), dim_const(1));
	Value *t = b_slice(b, b_iota(b, 0, type(DT_I32, "T,1")), 0, dim_sub(dim_sym("T"), dim_const(1)), dim_const(1));
	Value *d = b_binary(b, OP_SUB, t, b_iota(b, 1, type(DT_I32, "1,T")));
	return attend(b, q, h, h, (Attrs){ .causal = 1, .bias = 1 }, b_binary(b, OP_MUL, b_convert(b, d, DT_F32), par(b, "slope", "1,1")));
}

/* positions of all sequences in one axis, and back */
static Value *merged(Builder *b, Value *x)
{
	Value *y = b_contract(b, b_reshape(b, x, type(DT_F32, "B*T,4")), par(b, "w", "4,4"), "nd,de->ne");
	return b_reshape(b, y, type(DT_F32, "B,T,4"));
}

/* a source that does not run along T: its sum is computed once, by encode */
static Value *source_of(Builder *b)
{
	graph_sym(b->g, "S", 7);
	return b_gather(b, par(b, "src", "11,4"), b_source(b, OP_INPUT, "source", type(DT_I32, "B,S")));
}

static Value *cross(Builder *b, Value *x)
{
	Value *m = b_contract(b, source_of(b), par(b, "wk", "4,4"), "bsd,de->bse"), *k = heads(b, m, "B,S,2,2");
	Value *real = b_source(b, OP_INPUT, "real", type(DT_BOOL, "B,S")), *q = heads(b, x, "B,T,2,2");
	Value *in[] = { q, k, heads(b, b_unary(b, OP_TANH, m), "B,S,2,2"), real };
	return build(b, OP_ATTENTION, in, 4, &(Attrs){ .scale = 0.5, .keys = 1 }, NULL);
}

static Value *mean_of_source(Builder *b, Value *x)
{
	Value *m = b_reduce(b, OP_SUM, source_of(b), 2);
	return b_binary(b, OP_ADD, x, b_contract(b, x, m, "btd,bsd->bts"));
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
		moved_about, key_mask, relative_bias, content_bias, banded_mask, window, last_against_keys, merged, cross,
		mean_of_source };
	for (int i = 0; i < COUNT(all); i++)
		agrees(all[i]);
}

/* Rings: a window of 1 or 3, calls of 2 at most: a ring of 2 or 4 positions of 9. */

static Value *windowed(Builder *b, Value *x, int w)
{
	Value *h = heads(b, x, "B,T,2,2"), *k = b_binary(b, OP_MUL, h, par(b, "k", "2,2"));
	return attend(b, h, k, h, (Attrs){ .causal = 1, .window = w }, NULL);
}

static Value *window_1(Builder *b, Value *x) { return windowed(b, x, 1); }
static Value *window_3(Builder *b, Value *x) { return windowed(b, x, 3); }

static Value *window_with_keys(Builder *b, Value *x)
{
	Value *h = heads(b, x, "B,T,1,4"), *y = b_reduce(b, OP_SUM, x, 4);
	Value *keys = b_binary(b, OP_LT, b_const(b, DT_F32, -1.2), b_reshape(b, y, type(DT_F32, "B,T")));
	return attend(b, h, h, h, (Attrs){ .causal = 1, .keys = 1, .window = 3 }, keys);
}

static Value *window_with_bias(Builder *b, Value *x)
{
	Value *h = heads(b, x, "B,T,2,2"), *table = b_slice(b, par(b, "pos", "9,1"), 0, dim_const(0), dim_sym("T"));
	Value *near = b_binary(b, OP_MAX, b_binary(b, OP_MIN, distance(b), b_const(b, DT_I32, 5)), b_const(b, DT_I32, 0));
	Value *bias = b_transpose(b, b_gather(b, par(b, "rel", "6,2"), near), (const int8_t[]){ 2, 0, 1 });
	bias = b_binary(b, OP_ADD, bias, b_reshape(b, table, type(DT_F32, "1,T")));
	Value *band = b_binary(b, OP_NE, distance(b), b_const(b, DT_I32, 1)), *in[] = { h, h, h, band, bias };
	return build(b, OP_ATTENTION, in, 5, &(Attrs){ .causal = 1, .window = 3, .mask = 1, .bias = 1, .scale = 0.5 }, NULL);
}

/* two layers, two windows, the larger's keys shared: one ring for both readers */
static Value *window_shared(Builder *b, Value *x)
{
	Value *h = heads(b, x, "B,T,1,4"), *y = attend(b, h, h, h, (Attrs){ .causal = 1, .window = 2 }, NULL);
	return attend(b, y, h, b_binary(b, OP_MUL, h, h), (Attrs){ .causal = 1, .window = 4 }, NULL);
}

static Value *window_of_the_last(Builder *b, Value *x)
{
	Value *h = heads(b, x, "B,T,1,4"), *q = b_slice(b, h, 1, dim_sub(dim_sym("T"), dim_const(1)), dim_const(1));
	return attend(b, q, h, h, (Attrs){ .causal = 1, .window = 3 }, NULL);
}

static Value *window_and_all(Builder *b, Value *x)
{
	Value *h = heads(b, x, "B,T,1,4"), *y = attend(b, h, h, h, (Attrs){ .causal = 1, .window = 2 }, NULL);
	return attend(b, y, h, h, (Attrs){ .causal = 1 }, NULL);
}

/* The most positions that a cache of g has. */
static int64_t positions(const Graph *g)
{
	int64_t most = 0, n;
	for (int i = 0; i < g->vals.len; i++)
		for (int k = 1; g->vals.at[i]->op == OP_STATE && k < g->vals.at[i]->type.rank; k++)
			if (dim_is_const(g->vals.at[i]->type.dim[k], &n))
				most = MAX(most, n);
	return most;
}

static void test_rings(void **state)
{
	static const struct { Make *make; int64_t ring; } all[] = {
		{ window_1, 2 }, { window_3, 4 }, { window_with_keys, 4 }, { window_with_bias, 4 }, { window_shared, 6 },
		{ window_of_the_last, 4 }, { window_and_all, 9 },
	};
	static const int ones[] = { 1, 1, 1, 1, 1, 1, 1, 1, 1 }, twos[] = { 2, 2, 2, 2, 1 }, mixed_calls[] = { 2, 1, 1, 2, 1, 1, 1 };
	for (int i = 0; i < COUNT(all); i++) {
		agrees_with(all[i].make, 2, ones, COUNT(ones));
		agrees_with(all[i].make, 2, twos, COUNT(twos));
		Graph *step = agrees_with(all[i].make, 2, mixed_calls, COUNT(mixed_calls));
		if (positions(step) != all[i].ring)
			fail_msg("case %d: caches of %lld positions, want %lld", i, (long long)positions(step), (long long)all[i].ring);
	}
}

/* What depends on the source alone is not in the step; cross keys and values lie as the products want them. */
static void test_once(void **state)
{
	Graph *g = forward(cross), *encode;
	assert_true(run_with(g, 0, &encode));
	assert_non_null(encode);
	int gathers = 0, onces = 0;
	for (int i = 0; i < g->vals.len; i++) {
		const Value *v = g->vals.at[i];
		gathers += v->op == OP_GATHER;
		assert_false(v->op == OP_INPUT && strcmp(v->a.name, "tokens") != 0);
		assert_false(v->op == OP_TANH || v->op == OP_CONTRACT);
		if (v->op == OP_STATE && strncmp(v->a.name, "once.", 5) == 0) {
			onces++;
			const char *t = type_text(v->type);
			assert_true(!strcmp(t, "f32[B,2,2,S]") || !strcmp(t, "f32[B,2,S,2]") || !strcmp(t, "bool[B,S]"));
		}
	}
	assert_int_equal(gathers, 1);
	assert_int_equal(onces, 3);
	for (int i = 0; i < encode->vals.len; i++)
		assert_false(encode->vals.at[i]->op == OP_INPUT && strcmp(encode->vals.at[i]->a.name, "tokens") == 0);
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

static Value *dropped(Builder *b, Value *x)
{
	Value *h = heads(b, x, "B,T,1,4"), *seed = b_source(b, OP_INPUT, "seed", type(DT_I32, ""));
	return attend(b, h, h, h, (Attrs){ .causal = 1, .dropout = 0.1 }, seed);
}

static Value *mean(Builder *b, Value *x) { return b_binary(b, OP_ADD, x, b_reduce(b, OP_SUM, x, 2)); }
static Value *mixed(Builder *b, Value *x) { return b_reshape(b, x, type(DT_F32, "B,4,T")); }
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
/* keys that know the last position */
static Value *last_to_keys(Builder *b, Value *x)
{
	Value *h = heads(b, last_to_all(b, x), "B,T,1,4");
	return attend(b, heads(b, x, "B,T,1,4"), h, h, (Attrs){ .causal = 1 }, NULL);
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
	{ dropped, "E0807", "attention at line 27 has dropout" },
	{ mean, "E0802", "sum runs over the whole sequence" },
	{ softmax_over_time, "E0802", "softmax runs over the whole sequence" },
	{ covariance, "E0802", "a product is summed over the whole sequence" },
	{ by_length, "E0803", "the length of the whole sequence is used" },
	{ mixed, "E0804", "a reshape mixes T with other axes" },
	{ shifted, "E0805", "neither all of it nor its last position" },
	{ padded, "E0805", "padding shifts positions" },
	{ doubled, "E0805", "a concatenation runs along the sequence" },
	{ gram, "E0806", "sets every position against every other" },
	{ last_to_all, "E0806", "gives the last position's value to earlier ones" },
	{ last_to_keys, "E0806", "gives the last position's value to earlier ones" },
	{ noise, "E0807", "random numbers are drawn" },
	{ kept, "E0808", "store depends on the sequence" },
};

/* What incremental says on stderr. */
static const char *said(Graph *g)
{
	static char text[4096];
	Said caught = said_begin();
	bool good = run_incremental(g);
	said_end(caught, text, sizeof text);
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

/* Logits behind every token, and wrong tokens taken back: a call from an earlier place on writes over them. */

static Make *heads_of_logits;

static Value *logits(Builder *b, Value *x) { return b_reshape(b, heads_of_logits(b, x), type(DT_F32, "B,T,4")); }

static void every_position(Make *make, int chunk)
{
	heads_of_logits = make;
	Graph *whole = forward(logits), *verify = graph_copy(whole, "generate.verify");
	Entry e = { .kind = ENTRY_GENERATE, .name = "generate" };
	assert_true(incremental_every(verify, &e) && run_with(verify, chunk, NULL));
	incremental_most(verify, 3);
	assert_true(graph_verify(verify));
	Dims d = { 3, { { "B", 2 }, { "T", 1 }, { "T.all", 1 } } };
	for (int i = 0; i < verify->syms.len; i++)
		if (strncmp(verify->syms.at[i].name, "T.ring", 6) == 0)
			d.at[d.n++] = (Sym){ verify->syms.at[i].name, 1 };
	Env *a = fill_env(whole, &d, 3, 11), *b = fill_env(verify, &d, 3, 11);
	for (int from = 0; from < 9; from += 3) {
		feed(verify, b, from, from + 3, 4);
		feed(verify, b, from, from + 1, 0);
		feed(verify, b, from + 1, from + 3, 7);
		feed(verify, b, from, from + 3, 0);
		Tensor *all = env_get(b, "logits");
		for (int t = 0; t < 3; t++) {
			Tensor *next = advance(whole, a, 0, from + t + 1);
			assert_int_equal(next->n * 3, all->n);
			for (int i = 0; i < next->n; i++) {
				int row = i / 4, of = i % 4;
				assert_true(fabs(next->at[i] - all->at[(row * 3 + t) * 4 + of]) < 1e-12);
			}
		}
	}
}

static void test_every_position(void **state)
{
	every_position(causal, 0);
	every_position(causal, 3);
	every_position(shared_keys, 3);
	every_position(rotation, 3);
	every_position(window_1, 3);
	every_position(window_3, 3);
	every_position(window_with_keys, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_allowed),
		cmocka_unit_test(test_rings),
		cmocka_unit_test(test_once),
		cmocka_unit_test(test_one_cache_for_shared_keys),
		cmocka_unit_test(test_every_position),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_refused_without_tokens),
	};
	return cmocka_run_group_tests_name("passes_incremental", tests, NULL, NULL);
}
