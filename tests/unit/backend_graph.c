/* backend_graph.c: whole functions of a small GPT, compiled and run against the evaluator on the same graph: a training
 * step with dropout and accumulation, the optimizer's update, evaluation, preparation and steps of generation. Every
 * target, 1 and 3 threads with the same bits; and a module emitted as LLVM, assembly and object, twice the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "backend/backend.h"
#include "passes/passes.h"
#include "tests/gpt.h"
#include "tests/numeric.h"
#include "tests/targets.h"


static void set_scalar(Env *e, const char *name, double x) { env_set(e, name, 0, NULL, &x); }

/* What the runtime passes, and second moments that are not negative. */
static Env *fill(const Graph *g, const Dims *d, int ids) {
	static const struct { const char *name; double x; } scalars[] = {
		{ "lr", 1e-2 }, { "beta1", 0.9 }, { "beta2", 0.99 }, { "eps", 1e-6 }, { "decay", 0.1 }, { "clip", 1 },
		{ "scale", 0.5 }, { "c1", 0.1 }, { "c2", 0.02 }, { "accumulate", 1 }, { "seed", 1234 },
	};
	Env *e = fill_env(g, d, 3, ids);

	for (int i = 0; i < COUNT(scalars); i++)
		if (env_get(e, scalars[i].name))
			set_scalar(e, scalars[i].name, scalars[i].x);
	for (int i = 0; i < g->vals.len; i++) {
		const Value *v = g->vals.at[i];
		Tensor *t = v->op == OP_STATE && !strncmp(v->a.name, "v.", 2) ? env_get(e, v->a.name) : NULL;
		for (int64_t k = 0; t && k < t->n; k++)
			t->at[k] = fabs(t->at[k]) + 0.1;
	}
	return e;
}

static const char *result_name(const Value *v) {
	return v->op == OP_STORE ? store_target(v->in[0])->a.name : v->op == OP_OUTPUT ? v->a.name : NULL;
}

static void compare_results(const Graph *g, Env *got, Env *want, const char *what) {
	for (int i = 0; i < g->vals.len; i++) {
		const char *name = result_name(g->vals.at[i]);
		double d = name ? difference(env_get(got, name), env_get(want, name)) : 0;
		if (!(d < 2e-4))
			fail_msg("%s of %s, %s: error %g", name, g->name, what, d);
	}
}

static void same_bits(const Graph *g, Env *a, Env *b, int threads) {
	for (int i = 0; i < g->vals.len; i++) {
		const char *name = result_name(g->vals.at[i]);
		if (name && memcmp(env_get(a, name)->at, env_get(b, name)->at, sizeof(double) * (size_t)env_get(a, name)->n))
			fail_msg("%s of %s: %d threads give other bits", name, g->name, threads);
	}
}

/* All targets, or the last alone; there 1 and 3 threads. */
static void check_graph(Graph *g, const Dims *d, int ids, bool all) {
	Env *want = fill(g, d, ids), *one = NULL;
	Target t;

	assert_true(graph_eval(g, want));
	for (int k = all ? 0 : target_count() - 1; k < target_count(); k++)
		for (int threads = 1; threads <= (target_is_last(k) ? 3 : 1); threads += 2) {
			Env *got = fill(g, d, ids);
			assert_true(target_find(target_name(k), &t));
			assert_true(backend_run(g, got, &t, threads));
			compare_results(g, got, want, target_name(k));
			if (threads == 1)
				one = got;
			else
				same_bits(g, one, got, threads);
		}
}

static Module *gpt_without(GptShape s, const char *without) {
	Module *m = gpt_module_of(test_arena(), s);

	m->name = "gpt";
	assert_true(passes_module(m, &(PassOptions){ .without = without, .verify_each = true }));
	return m;
}

static Module *gpt(GptShape s) { return gpt_without(s, NULL); }

static bool is_forward(const Graph *g) { return strstr(g->name, ".forward") != NULL; }

static void check_entry(Entry *e, const Dims *d, int ids, bool all) {
	for (int i = 0; i < e->graphs.len; i++)
		if (!is_forward(e->graphs.at[i]))
			check_graph(e->graphs.at[i], d, ids, all);
}

static void test_training(void **state) {
	GptShape s = { .B = 3, .T = 24, .V = 67, .D = 24, .H = 3, .L = 2, .dropout = 0.1 };
	static const Dims dims[] = { { 2, { { "B", 2 }, { "T", 19 } } }, { 2, { { "B", 3 }, { "T", 24 } } }, { 2, { { "B", 1 }, { "T", 1 } } } };
	Module *m = gpt(s);

	for (int i = 0; i < COUNT(dims); i++)
		check_entry(m->entries.at[0], &dims[i], s.V, i == 0);
}

/* What can be left out of the road leaves a correct program. */
static void test_without_parts(void **state) {
	GptShape s = { .B = 3, .T = 24, .V = 67, .D = 24, .H = 3, .L = 2, .dropout = 0.1 };
	static const Dims d = { 3, { { "B", 2 }, { "T", 19 }, { "T.all", 19 } } };

	for (const PassInfo *p = pass_info; p < pass_info + pass_count; p++) {
		Module *m = p->part_of ? gpt_without(s, p->name) : NULL;
		for (int i = 0; m && i < m->entries.len; i++)
			if (m->entries.at[i]->kind == ENTRY_TRAIN)
				check_entry(m->entries.at[i], &d, s.V, false);
	}
}

static void test_generation(void **state) {
	GptShape s = { .B = 2, .T = 24, .V = 67, .D = 24, .H = 3, .L = 2 };
	static const Dims dims[] = {
		{ 3, { { "B", 2 }, { "T", 7 }, { "T.all", 7 } } }, { 3, { { "B", 1 }, { "T", 1 }, { "T.all", 20 } } }, { 3, { { "B", 2 }, { "T", 3 }, { "T.all", 24 } } },
	};
	Module *m = gpt(s);

	for (int i = 0; i < COUNT(dims); i++)
		check_entry(m->entries.at[1], &dims[i], s.V, i == 0);
}

static Source *emitted(Arena *a, Emit emit, const char *path) {
	GptShape s = { .B = 2, .T = 16, .V = 31, .D = 16, .H = 2, .L = 2 };
	Target t;

	assert_true(target_find("x86-64-v3", &t));
	assert_true(backend_build(gpt(s), &(BackendOptions){ .target = &t, .emit = emit, .out = path }));
	return source_read(a, path);
}

static void test_emission_is_deterministic(void **state) {
	static const Emit kinds[] = { EMIT_LLVM, EMIT_ASM, EMIT_OBJ, EMIT_PLAN };
	char path[] = "/tmp/sinter_emit_XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	close(fd);
	for (int i = 0; i < COUNT(kinds); i++) {
		Arena *a = arena_new();
		Source *x = emitted(a, kinds[i], path), *y = emitted(a, kinds[i], path);
		assert_true(x && y && x->len > 1000 && x->len == y->len && !memcmp(x->text, y->text, x->len));
		if (kinds[i] != EMIT_OBJ && kinds[i] != EMIT_PLAN)
			assert_non_null(strstr(x->text, "sn_program"));
		arena_free(a);
	}
	unlink(path);
}

static void test_debug_information(void **state) {
	GptShape s = { .B = 2, .T = 16, .V = 31, .D = 16, .H = 2, .L = 2 };
	char path[] = "/tmp/sinter_debug_XXXXXX";
	int fd = mkstemp(path);
	Arena *a = arena_new();
	Target t;

	assert_true(fd >= 0 && target_find("x86-64-v3", &t));
	close(fd);
	assert_true(backend_build(gpt(s), &(BackendOptions){ .target = &t, .emit = EMIT_LLVM, .out = path, .debug = true }));
	Source *ll = source_read(a, path);
	unlink(path);
	assert_non_null(ll);
	assert_non_null(strstr(ll->text, "!DISubprogram(name: \"sn_k0_"));
	assert_non_null(strstr(ll->text, "!DILocation(line: "));
	arena_free(a);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_training), cmocka_unit_test(test_generation), cmocka_unit_test(test_emission_is_deterministic),
		cmocka_unit_test(test_debug_information), cmocka_unit_test(test_without_parts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
