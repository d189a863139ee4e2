/* backend_plan.c: the memory plan. What is in memory at the same time never overlaps, by a count of its own made from the
 * kernels alone; and random graphs, full of states, views and values that die early, give the evaluator's results when run
 * in the planned memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "backend/backend.h"
#include "tests/kernels.h"
#include "tests/random_graph.h"
#include "tests/targets.h"

static const Dims dims = { 2, { { "B", 2 }, { "T", 5 } } };

#define EXTERNAL_REGION ((int64_t)1 << 48)   /* external ones have offsets of their own */

/* A root's memory and the launches from its first write to its last read. */
typedef struct Use {
	Value *root;
	int64_t at, bytes;
	int first, last;
} Use;
typedef struct Uses { Use at[8192]; int n; } Uses;

static void note_use(Uses *u, const Plan *p, const Graph *g, Value *v, int launch)
{
	View w;
	int64_t n;
	assert_true(view_of(v, &w));
	for (int i = 0; i < u->n; i++)
		if (u->at[i].root == w.root) {
			u->at[i].first = MIN(u->at[i].first, launch);
			u->at[i].last = MAX(u->at[i].last, launch);
			return;
		}
	assert_true(u->n < COUNT(u->at));
	assert_true(graph_bound(g, type_elems(w.root->type), &n));
	int64_t bytes = n * dtype_size[w.root->type.dt];
	int64_t region = plan_external(p, w.root) ? EXTERNAL_REGION : 0;
	u->at[u->n++] = (Use){ w.root, region + plan_offset(p, w.root), bytes, launch, launch };
}

static void collect(Uses *u, const Plan *p, Graph *g, const ClusterList *l)
{
	u->n = 0;
	for (int i = 0; i < g->vals.len; i++) {
		Value *v = g->vals.at[i];
		if (v->op == OP_PARAM || v->op == OP_STATE || v->op == OP_INPUT) {
			note_use(u, p, g, v, -1);
			note_use(u, p, g, v, l->len);
		}
		if (v->op == OP_OUTPUT)
			note_use(u, p, g, v->in[0], l->len);
	}
	for (int k = 0; k < l->len; k++) {
		for (int i = 0; i < l->at[k]->outs.len; i++)
			note_use(u, p, g, l->at[k]->outs.at[i], k);
		for (int i = 0; i < l->at[k]->ins.len; i++)
			note_use(u, p, g, l->at[k]->ins.at[i], k);
	}
}

/* The kernel reads the root's elements, in their order, by elementwise ops and reductions, and in no other way. */
static bool reads_by_place(const Cluster *c, const Value *root)
{
	bool found = false;
	for (int i = 0; i < c->vals.len; i++)
		for (int k = 0; k < c->vals.at[i]->nin; k++) {
			View w;
			Value *o = c->vals.at[i]->in[k];
			if (o->kernel == c->id || !view_of(o, &w) || w.root != root)
				continue;
			if (!(op_info[c->vals.at[i]->op].flags & (OPF_ELEMENTWISE | OPF_REDUCE)) || !view_contiguous(&w, o->type))
				return false;
			found = true;
		}
	return found;
}

/* b takes a's place in the launch where a dies, which reads a element by element. */
static bool handed_over(const ClusterList *l, const Use *a, const Use *b)
{
	return a->last == b->first && a->at == b->at && a->last >= 0 && a->last < l->len && reads_by_place(l->at[a->last], a->root);
}

/* The memory is a state's, or a scatter_add's operand's, by what the graph says. */
static bool meant(Graph *g, const Use *a, const Use *b)
{
	for (int i = 0; i < g->vals.len; i++) {
		Value *v = g->vals.at[i];
		View w;
		if (v->op == OP_STORE && v->in[0]->a.name == a->root->a.name && view_of(v->in[1], &w))
			for (Value *x = w.root;; x = w.root) {
				if (x == b->root)
					return true;
				if (x->op != OP_SCATTER_ADD || !view_of(x->in[0], &w))
					break;
			}
		if (v->op == OP_SCATTER_ADD && v == b->root && view_of(v->in[0], &w) && w.root == a->root)
			return true;
	}
	return false;
}

static void check_plan(const Plan *p, Graph *g)
{
	static Uses u;
	ClusterList l = clusters_of(g);
	collect(&u, p, g, &l);
	for (int i = 0; i < u.n; i++)
		for (int k = 0; k < u.n; k++) {
			const Use *a = &u.at[i], *b = &u.at[k];
			if (i == k || a->first > b->first)
				continue;
			bool together = a->last >= b->first && b->last >= a->first;
			bool same = a->at < b->at + b->bytes && b->at < a->at + a->bytes;
			if (together && same && !handed_over(&l, a, b) && !handed_over(&l, b, a) && !meant(g, a, b) && !meant(g, b, a))
				fail_msg("%s: %s (%d-%d) and %s (%d-%d) overlap at %lld", g->name, op_info[a->root->op].text, a->first,
				         a->last, op_info[b->root->op].text, b->first, b->last, (long long)a->at);
			assert_int_equal(a->at % 64, 0);
			assert_true(a->at + a->bytes <= (a->at < EXTERNAL_REGION ? p->persistent + p->arena : EXTERNAL_REGION + p->external));
		}
}

static Entry *entry_of(Graph *g, Module **m)
{
	Entry *e = NEW(g->arena, Entry);
	*m = module_new(g->arena);
	*e = (Entry){ .kind = ENTRY_INFER, .name = "test" };
	vec_push(g->arena, &e->graphs, g);
	return e;
}

static Graph *kernels_of_random(Arena *a, int seed)
{
	Graph *g = random_graph(a, (uint64_t)seed);
	assert_true(passes_run(g, seed % 2 ? "simplify,cse,dce,layout,fuse,schedule" : "layout,fuse,schedule", NULL));
	return g;
}

static void random_graphs_do_not_overlap(void **state)
{
	Target t;
	assert_true(target_find("x86-64-v3", &t));
	for (int seed = 0; seed < 1500; seed++) {
		Arena *a = arena_new();
		Module *m;
		Graph *g = kernels_of_random(a, seed);
		Entry *e = entry_of(g, &m);
		check_plan(plan_entry(m, e, &t), g);
		arena_free(a);
	}
}

static void gpt_does_not_overlap(void **state)
{
	static const GptShape shapes[] = {
		{ .B = 2, .T = 5, .V = 11, .D = 8, .H = 2, .L = 3 },
		{ .B = 3, .T = 9, .V = 37, .D = 12, .H = 3, .L = 2, .dropout = 0.1 },
	};
	Target t;
	assert_true(target_find("x86-64-v3", &t));
	for (int i = 0; i < COUNT(shapes); i++) {
		Module *m = gpt_module_of(test_arena(), shapes[i]);
		assert_true(passes_module(m, NULL));
		for (int k = 0; k < m->entries.len; k++) {
			Entry *e = m->entries.at[k];
			const Plan *p = plan_entry(m, e, &t);
			for (int j = 0; j < e->graphs.len; j++)
				if (!strstr(e->graphs.at[j]->name, ".forward"))
					check_plan(p, e->graphs.at[j]);
		}
	}
}

static void fill_scalars(Env *e, const Graph *g)
{
	for (int i = 0; i < g->vals.len; i++) {
		const Value *v = g->vals.at[i];
		if (v->op == OP_INPUT && v->type.dt == DT_I32 && !v->type.rank)
			env_set(e, v->a.name, 0, NULL, (double[]){ 41 });
	}
}

/* Sums of products of random numbers: relative to the largest in the tensor. */
static double error_of(const Tensor *got, const Tensor *want)
{
	double worst = 0, size = 1;
	for (int64_t i = 0; i < want->n; i++)
		size = fmax(size, fabs(want->at[i]));
	for (int64_t i = 0; i < want->n; i++)
		worst = fmax(worst, fabs(got->at[i] - want->at[i]) / size);
	return worst;
}

static void run_and_compare(Graph *plain, Graph *g, const Target *t, int seed)
{
	Env *want = fill_env(plain, &dims, (uint64_t)seed, 4), *got = fill_env(plain, &dims, (uint64_t)seed, 4);
	fill_scalars(want, plain);
	fill_scalars(got, plain);
	assert_true(graph_eval(plain, want));
	assert_true(backend_run(g, got, t, 1 + seed % 3));
	for (int i = 0; i < g->vals.len; i++) {
		const Value *v = g->vals.at[i];
		const char *name = v->op == OP_OUTPUT ? v->a.name : v->op == OP_STORE ? v->in[0]->a.name : NULL;
		if (name && !(error_of(env_get(got, name), env_get(want, name)) < 1e-4))
			fail_msg("seed %d: %s is off by %g", seed, name, error_of(env_get(got, name), env_get(want, name)));
	}
}

static void random_graphs_run(void **state)
{
	int from = getenv("SEED") ? atoi(getenv("SEED")) : 0, n = getenv("SEEDS") ? atoi(getenv("SEEDS")) : 40;
	for (int seed = from; seed < from + n; seed++) {
		Arena *a = arena_new();
		Target t;
		if (getenv("SEEDS"))
			fprintf(stderr, "seed %d\n", seed);
		assert_true(target_find(target_name(seed % 2), &t));
		run_and_compare(random_graph(a, (uint64_t)seed), kernels_of_random(a, seed), &t, seed);
		arena_free(a);
	}
}

static void plan_is_printed(void **state)
{
	Module *m = gpt_module();
	Target t;
	Str s = {0};
	assert_true(target_find("x86-64-v3", &t) && passes_module(m, NULL));
	const Plan *p = plan_entry(m, m->entries.at[0], &t);
	plan_print(&s, p, m->entries.at[0]);
	char first[128];
	snprintf(first, sizeof first, "memory of train: %lld bytes\n", (long long)(p->persistent + p->arena));
	assert_memory_equal(s.at, first, strlen(first));
	assert_non_null(strstr(s.at, "train.step: "));
	assert_non_null(strstr(s.at, "  parameters "));
	str_free(&s);
}

/* Sizes whose product or whose sum is beyond 64 bits are refused, by the entry's name, and never wrap. */
static void too_much_is_refused(void **state)
{
	static const int64_t extents[][2] = { { 1LL << 31, 1LL << 31 }, { 1LL << 30, 1LL << 29 }, { 1LL << 30, 1LL << 28 } };
	Target t;
	assert_true(target_find("x86-64-v3", &t));
	for (int i = 0; i < COUNT(extents); i++) {
		Arena *a = arena_new();
		Graph *g = graph_new(a, "test.run");
		Builder b = { .g = g };
		Module *m;
		Entry *e = entry_of(g, &m);
		Type type = type_make(DT_F32, 2, (const Dim *[]){ dim_const(extents[i][0]), dim_const(extents[i][1]) });
		Value *sum = b_binary(&b, OP_ADD, b_source(&b, OP_INPUT, intern("x"), type), b_source(&b, OP_INPUT, intern("y"), type));
		b_output(&b, intern("z"), sum);
		assert_true(passes_run(g, "layout,fuse,schedule", NULL));
		diag_reset();
		Plan *p = plan_entry(m, e, &t);
		assert_int_equal(p != NULL, i == 2);   /* three times 2^64, 2^61, 2^60 bytes */
		assert_int_equal(diag_errors(), i != 2);
		diag_reset();
		arena_free(a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_graphs_do_not_overlap),
		cmocka_unit_test(gpt_does_not_overlap),
		cmocka_unit_test(random_graphs_run),
		cmocka_unit_test(plan_is_printed),
		cmocka_unit_test(too_much_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
