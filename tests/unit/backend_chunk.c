/* backend_chunk.c: heads of language models, their losses and gradients, in chunks of rows, of those with a label alone, too: what they compute is what they computed
 * whole, by the evaluator and by kernels, at every number of rows there is room for; gradients are slopes; threads change no bit; and
 * nothing of the logits' size is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "backend/backend.h"
#include "tests/kernels.h"
#include "tests/targets.h"

enum { B_MOST = 4, T_MOST = 5, V = 37, D = 7 };
enum { TIED = 1, STORED_IN_OUT = 2, BIAS = 4, CAP = 8, MASK = 16, SMOOTH = 32, Z_LOSS = 64, TWO = 128, ALL = 256, COUNTED = 256 };
static const ChunkSizes small = { .rows = 6, .chunks = 64, .bytes = 0 };
enum { CHUNKS = 4 };   /* of 20 rows: 5 each */

static Value *source(Builder *b, Op op, const char *name, DType dt, int rank, const Dim *x, const Dim *y, const Dim *z)
{
	return b_source(b, op, intern(name), type_make(dt, rank, (const Dim *[]){ x, y, z }));
}

static Value *constant(Builder *b, double x) { return b_const(b, DT_F32, x); }

static Value *mul(Builder *b, Value *x, Value *y) { return b_binary(b, OP_MUL, x, y); }
static Value *add(Builder *b, Value *x, Value *y) { return b_binary(b, OP_ADD, x, y); }

static Value *logits(Builder *b, int how, Value *x, Value *w)
{
	Value *z = b_contract(b, x, w, how & STORED_IN_OUT ? "btd,dv->btv" : "btd,vd->btv");
	if (how & BIAS)
		z = add(b, z, source(b, OP_PARAM, "bias", DT_F32, 1, dim_const(V), NULL, NULL));
	return how & CAP ? mul(b, b_unary(b, OP_TANH, mul(b, z, constant(b, 0.5))), constant(b, 2)) : z;
}

static Value *per_row(Builder *b, int how, Value *z, Value *label)
{
	Value *top = b_unary(b, OP_STOP, b_reduce(b, OP_RMAX, z, 4)), *zero = constant(b, 0);
	Value *e = b_unary(b, OP_EXP, b_binary(b, OP_SUB, z, top));
	Value *lse = add(b, b_unary(b, OP_LOG, b_reduce(b, OP_SUM, e, 4)), top);
	Value *classes = b_iota(b, 0, type_make(DT_I32, 1, (const Dim *[]){ dim_const(V) }));
	Value *hit = b_reduce(b, OP_SUM, b_select(b, b_binary(b, OP_EQ, classes, label), z, zero), 4);
	if (how & SMOOTH)
		hit = add(b, mul(b, hit, constant(b, 0.9)), mul(b, b_reduce(b, OP_SUM, z, 4), constant(b, 0.1 / V)));
	Value *loss = b_binary(b, OP_SUB, lse, hit);
	return how & Z_LOSS ? add(b, loss, mul(b, mul(b, lse, lse), constant(b, 0.01))) : loss;
}

/* Labels of V and above don't count where there is a mask. */
static Value *mean(Builder *b, int how, Value *row, Value *label)
{
	Value *valid = b_binary(b, OP_LT, label, b_const(b, DT_I32, V)), *sum, *n;
	if (how & MASK) {
		sum = b_reduce(b, OP_SUM, b_select(b, valid, row, constant(b, 0)), 7);
		n = b_binary(b, OP_MAX, b_reduce(b, OP_SUM, b_convert(b, valid, DT_F32), 7), constant(b, 1));
	} else {
		sum = b_reduce(b, OP_SUM, row, 7);
		n = b_convert(b, b_dim(b, type_elems(row->type)), DT_F32);
	}
	return b_reshape(b, b_binary(b, OP_DIV, sum, n), type_scalar(DT_F32));
}

/* The rows of v (B,T,n) whose label counts, as (1,rows,n). */
static Value *counted_rows(Builder *b, Value *v, Value *at)
{
	const Dim *n = v->type.dim[2];
	Value *all = b_reshape(b, v, type_make(v->type.dt, 2, (const Dim *[]){ dim_mul(v->type.dim[0], v->type.dim[1]), n }));
	Value *rows = b_gather(b, all, at);
	return b_reshape(b, rows, type_make(v->type.dt, 3, (const Dim *[]){ dim_const(1), at->type.dim[0], n }));
}

static Graph *head(int how)
{
	const Dim *B = dim_sym("B"), *T = dim_sym("T"), *v = dim_const(V), *d = dim_const(D), *one = dim_const(1);
	Builder b = { .g = graph_new(test_arena(), "head") };
	bool across = how & STORED_IN_OUT;
	graph_sym(b.g, "B", B_MOST);
	graph_sym(b.g, "T", T_MOST);
	Value *x = source(&b, OP_PARAM, "x", DT_F32, 3, B, T, d), *ids = source(&b, OP_INPUT, "ids", DT_I32, 2, B, T, NULL);
	Value *w = source(&b, OP_PARAM, "w", DT_F32, 2, across ? d : v, across ? v : d, NULL);
	Value *label = b_reshape(&b, ids, type_make(DT_I32, 3, (const Dim *[]){ B, T, one }));
	if (how & TIED)
		x = add(&b, x, b_gather(&b, w, ids));
	if (how & COUNTED) {
		Value *counts = b_binary(&b, OP_LT, label, b_const(&b, DT_I32, V));
		Value *at = b_nonzero(&b, b_reshape(&b, counts, type_make(DT_BOOL, 1, (const Dim *[]){ dim_mul(B, T) })), "rows");
		x = counted_rows(&b, x, at);
		label = counted_rows(&b, label, at);
	}
	Value *loss = mean(&b, how, per_row(&b, how, logits(&b, how, x, w), label), label);
	if (how & TWO) {
		Value *w2 = source(&b, OP_PARAM, "w2", DT_F32, 2, v, d, NULL);
		Value *other = mean(&b, how, per_row(&b, how, logits(&b, BIAS, x, w2), label), label);
		loss = add(&b, loss, mul(&b, other, constant(&b, 0.3)));
	}
	b_output(&b, "loss", loss);
	return b.g;
}

static Graph *step_of(const Graph *forward)
{
	Graph *g = graph_copy(forward, "step");
	Module *m = module_new(g->arena);
	for (int i = 0; i < g->vals.len; i++)
		if (g->vals.at[i]->op == OP_PARAM)
			vec_push(m->arena, &m->params, ((Param){ .name = g->vals.at[i]->a.name, .type = g->vals.at[i]->type }));
	autodiff(g, m);
	assert_true(passes_run(g, "simplify,cse,simplify,cse,dce", NULL));
	return g;
}

static Graph *chunked(const Graph *g, int want)
{
	Graph *c = graph_copy(g, "chunked");
	int n = 0;
	chunk_to(c, &small);
	assert_true(graph_verify(c));
	for (int i = 0; i < c->vals.len; i++)
		n += is_counting(c->vals.at[i]);
	assert_int_equal(n, want);
	return c;
}

static const int kinds[] = {
	0, TIED, STORED_IN_OUT | BIAS, TIED | MASK | SMOOTH, CAP | BIAS | MASK, Z_LOSS | SMOOTH, TWO | TIED | MASK, ALL - 1 - STORED_IN_OUT, COUNTED | MASK,
	COUNTED | TIED | MASK | BIAS | TWO,
};
static const struct { int B, T; } sizes[] = { { 4, 5 }, { 3, 5 }, { 1, 5 }, { 2, 3 }, { 1, 1 }, { 4, 4 } };

static int chunks_of(int how) { return (how & TWO ? 2 * CHUNKS : CHUNKS) + (how & COUNTED ? 1 : 0); }

static Env *filled(const Graph *g, int size, bool accumulate)
{
	Env *e = fill_env(g, &(Dims){ 2, { { "B", sizes[size].B }, { "T", sizes[size].T } } }, 5, V + 3);
	if (env_get(e, "accumulate"))
		env_get(e, "accumulate")->at[0] = accumulate;
	return e;
}

/* Largest difference of what the graph stores and outputs. */
static double apart(const Graph *g, Env *x, Env *y)
{
	double worst = 0;
	for (int i = 0; i < g->vals.len; i++) {
		const Value *v = g->vals.at[i];
		const char *name = v->op == OP_STORE ? v->in[0]->a.name : v->op == OP_OUTPUT ? v->a.name : NULL;
		if (name)
			worst = fmax(worst, difference(env_get(x, name), env_get(y, name)));
	}
	return worst;
}

static void keeps_its_meaning(const Graph *g, const Graph *c)
{
	for (int i = 0; i < 2 * COUNT(sizes); i++) {
		Env *want = filled(g, i / 2, i % 2), *got = filled(c, i / 2, i % 2);
		assert_true(graph_eval(g, want) && graph_eval(c, got));
		assert_true(apart(g, got, want) < 1e-12);
	}
}

static void test_evaluated(void **state)
{
	for (int k = 0; k < COUNT(kinds); k++) {
		Graph *forward = head(kinds[k]), *step = step_of(forward);
		keeps_its_meaning(step, chunked(step, chunks_of(kinds[k])));
		keeps_its_meaning(forward, chunked(forward, chunks_of(kinds[k])));
	}
}

static void test_slopes(void **state)
{
	static const char *const params[] = { "x", "w", "w2" };
	int how = TWO | TIED | MASK | CAP;
	Graph *f = head(how), *c = chunked(step_of(f), chunks_of(how));
	Env *e = filled(c, 1, false);
	assert_true(graph_eval(c, e));
	for (int i = 0; i < COUNT(params); i++) {
		Tensor *p = env_get(e, params[i]), *d = env_get(e, internf("grad.%s", params[i]));
		for (int64_t k = 0; k < p->n; k += 11) {
			double want = slope(f, e, "loss", &p->at[k], 1e-3);
			assert_true(fabs(d->at[k] - want) / fmax(1e-2, fabs(want)) < 1e-7);
		}
	}
}

static void lower(Graph *g)
{
	assert_true(passes_run(g, "layout,fuse,schedule", &(PassOptions){ .verify_each = true }));
	assert_null(kernels_illegal(g));
}

/* Compiled against the evaluator; threads against one thread, bit by bit. */
static void runs(const Graph *g, Graph *c, const char *target, const char *what)
{
	Target t;
	assert_true(target_find(target, &t));
	Compiled *code = backend_load(c, &t);
	assert_non_null(code);
	for (int i = 0; i < 2 * COUNT(sizes); i++) {
		Env *want = filled(g, i / 2, i % 2), *got[3];
		assert_true(graph_eval(g, want));
		for (int n = 0; n < 3; n++) {
			got[n] = filled(c, i / 2, i % 2);
			assert_true(backend_call(code, got[n], 1 + n));
			if (apart(g, got[n], got[0]) != 0)
				fail_msg("%s on %s: %d threads change bits", what, target, n + 1);
		}
		double d = apart(g, got[0], want);
		if (!(d < 2e-5))
			fail_msg("%s on %s, %d x %d rows: error %g", what, target, sizes[i / 2].B, sizes[i / 2].T, d);
	}
	backend_unload(code);
}

static void test_compiled(void **state)
{
	for (int k = 0; k < COUNT(kinds); k++) {
		Graph *forward = head(kinds[k]), *step = step_of(forward);
		Graph *a = chunked(step, chunks_of(kinds[k])), *b = chunked(forward, chunks_of(kinds[k]));
		lower(a);
		lower(b);
		for (int t = 0; t < target_count(); t++) {
			runs(step, a, target_name(t), internf("step %#x", kinds[k]));
			runs(forward, b, target_name(t), internf("forward %#x", kinds[k]));
		}
	}
}

/* Rows of which none is left over, rows of a number known when compiling, one axis of them. */
static void test_fixed_rows(void **state)
{
	for (int n = 7; n < 40; n += 8) {
		Builder b = { .g = graph_new(test_arena(), "fixed") };
		const Dim *rows = dim_const(n), *d = dim_const(3);
		Value *x = source(&b, OP_PARAM, "x", DT_F32, 2, rows, d, NULL), *w = source(&b, OP_PARAM, "w", DT_F32, 2, d, dim_const(19), NULL);
		Value *z = b_contract(&b, x, w, "nd,dv->nv");
		Value *lse = b_unary(&b, OP_LOG, b_reduce(&b, OP_SUM, b_unary(&b, OP_EXP, z), 2));
		b_output(&b, "loss", b_reshape(&b, b_reduce(&b, OP_SUM, lse, 3), type_scalar(DT_F32)));
		Graph *step = step_of(b.g), *c = chunked(step, (n + 5) / 6);
		Env *want = fill_env(step, &(Dims){ 0 }, 3, 0), *got = fill_env(c, &(Dims){ 0 }, 3, 0);
		Target t;
		lower(c);
		assert_true(graph_eval(step, want) && target_find(target_main(), &t) && backend_run(c, got, &t, 2));
		assert_true(apart(step, got, want) < 2e-5);
	}
}

/* What is read whole, is no loss, or wants the loss of all rows first stays as it is. */
static void test_left_alone(void **state)
{
	for (int how = 0; how < 4; how++) {
		Builder b = { .g = graph_new(test_arena(), "alone") };
		Value *x = source(&b, OP_PARAM, "x", DT_F32, 2, dim_const(20), dim_const(3), NULL);
		Value *w = source(&b, OP_PARAM, "w", DT_F32, 2, dim_const(3), dim_const(19), NULL);
		Value *z = b_contract(&b, x, w, "nd,dv->nv");
		Value *row = b_reduce(&b, OP_SUM, b_unary(&b, OP_EXP, z), how == 1 ? 1 : 2);
		Value *sum = b_reshape(&b, b_reduce(&b, OP_SUM, row, 3), type_scalar(DT_F32));
		b_output(&b, "loss", how == 2 ? mul(&b, sum, sum) : sum);
		if (how == 0)
			b_output(&b, "scores", z);
		chunked(step_of(b.g), how == 3 ? CHUNKS : 0);
	}
}

/* At sizes of their own, no logits are left in the step of a model with a large vocabulary. */
static void test_sizes(void **state)
{
	Graph *g = kernels_step((GptShape){ .B = 4, .T = 1024, .V = 50257, .D = 32, .H = 1, .L = 1 });
	int64_t most = 0, n;
	chunk(g);
	lower(g);
	for (int i = 0; i < g->vals.len; i++)
		if (g->vals.at[i]->op == OP_CONTRACT && graph_bound(g, type_elems(g->vals.at[i]->type), &n))
			most = MAX(most, n);
	assert_int_equal(most, 512 * 50257);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_evaluated), cmocka_unit_test(test_slopes), cmocka_unit_test(test_compiled),
		cmocka_unit_test(test_fixed_rows), cmocka_unit_test(test_left_alone), cmocka_unit_test(test_sizes),
	};
	return cmocka_run_group_tests_name("backend_chunk", tests, NULL, NULL);
}
