/* subject.h: a model file on its way through the compiler, for tests: built, its functions compiled and called on random values,
 * results compared bit by bit between numbers of threads and with the evaluator's. */
#ifndef TESTS_SUBJECT_H
#define TESTS_SUBJECT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/backend.h"
#include "frontend/frontend.h"
#include "passes/passes.h"
#include "tests/numeric.h"
#include "tests/targets.h"

enum { IDS = 97, SEED = 77 };

typedef struct Case {
	const char *path, *text;  /* a file, or its text */
	const char *sets[10];     /* as --set; ends with NULL */
	const char *entries[3];   /* those to build; none: all */
	const char *tap;          /* values of these names are outputs, too; NULL: none */
	const char *still;        /* the setting without dropout, what evaluation is held against; NULL: sets is */
	const char *preset;
	const char *precision;    /* of all entries, whatever the file says; NULL: f32 */
	bool noisy;               /* there is dropout that no setting turns off */
	bool own_eval;            /* what is evaluated is not what is trained, but for dropout */
} Case;

typedef struct Subject {
	const char *name;
	bool noisy, own_eval;
	Arena *arena;
	Module *raw, *still, *made;   /* as the frontend gives it; without dropout; after the passes */
	const Entry *trained;         /* of `made`: the one whose gradients are looked at */
	Target targets[MOST_TARGETS];
	int ntargets;
	bool evals[MOST_TARGETS], generates[MOST_TARGETS];   /* on that target; every one has its training step */
} Subject;

/* Builds */

static inline Module *build_case(Arena *a, const char *path, const Case *c, const char *more)
{
	const char *sets[COUNT(c->sets) + 1];
	FrontendOptions o = { .preset = c->preset, .sets = sets, .entries = c->entries };
	o.taps = &c->tap;
	o.ntaps = c->tap != NULL;
	while (c->entries[o.nentries])
		o.nentries++;
	for (; c->sets[o.nsets]; o.nsets++)
		sets[o.nsets] = c->sets[o.nsets];
	if (more)
		sets[o.nsets++] = more;
	diag_reset();
	Module *m = frontend_build(a, path, &o);
	if (!m)
		fail_msg("%s does not build", path);
	module_set_precision(m, c->precision ? c->precision : "f32");   /* slopes and bounds are f32's, since roundings have none */
	return m;
}

static inline void choose_targets(Subject *s, int turn)
{
	bool all = getenv("SINTER_ALL_TARGETS") != NULL || target_count() == 1;
	for (int i = 0; i < target_count(); i++) {
		int n = s->ntargets;
		if (!all && i != 0 && i != 1 + turn % 2)
			continue;
		s->evals[n] = all || n == turn / 2 % 2;
		s->generates[n] = all || n != turn / 2 % 2;
		assert_true(target_find(target_name(target_count() - 1 - i), &s->targets[s->ntargets++]));
	}
}

static inline Subject subject(const Case *c, int turn)
{
	char path[64];
	Subject s = { .name = c->path ? c->path : "the text", .noisy = c->noisy, .own_eval = c->own_eval, .arena = test_arena() };
	snprintf(path, sizeof path, "/tmp/sinter_all_%d.sinter", (int)getpid());
	if (c->text)
		assert_true(file_write_atomic(path, c->text, strlen(c->text)));
	const char *file = c->path ? c->path : path;
	s.raw = build_case(s.arena, file, c, NULL);
	s.still = c->still ? build_case(s.arena, file, c, c->still) : s.raw;
	s.made = build_case(s.arena, file, c, NULL);
	if (c->text)
		unlink(path);
	assert_true(passes_module(s.made, NULL));
	choose_targets(&s, turn);
	return s;
}

static inline Entry *entry_of(const Module *m, EntryKind kind)
{
	for (int i = 0; i < m->entries.len; i++)
		if (m->entries.at[i]->kind == kind)
			return m->entries.at[i];
	return NULL;
}

/* The entry's function of this name; NULL if it has none. */
static inline Graph *function(const Entry *e, const char *name)
{
	for (int i = 0; i < e->graphs.len; i++) {
		const char *dot = strrchr(e->graphs.at[i]->name, '.');
		if (dot && strcmp(dot + 1, name) == 0)
			return e->graphs.at[i];
	}
	return NULL;
}

/* Values */

static inline const EntryInput *input_of(const Entry *en, const char *name)
{
	for (int i = 0; i < en->inputs.len; i++)
		if (strcmp(en->inputs.at[i].name, name) == 0)
			return &en->inputs.at[i];
	return NULL;
}

/* Parameters small; states not numbers, for nothing may read what was never stored; of ids that may be ignored every third
 * is. */
static inline void set_values(const Value *v, const EntryInput *in, Tensor *t)
{
	for (int64_t i = 0; i < t->n; i++) {
		if (v->op == OP_PARAM)
			t->at[i] *= 0.3;
		if (v->op == OP_STATE)
			t->at[i] = v->type.dt == DT_F32 ? NAN : 0;
		if (in && in->optional && i % 3 == 0)
			t->at[i] = -100;
	}
	if (strcmp(v->a.name, "accumulate") == 0)
		t->at[0] = 0;
	if (strcmp(v->a.name, "seed") == 0)
		t->at[0] = SEED;
}

/* Values for g's dimensions, inputs, and whatever parameters and states e does not hold yet. */
static inline void fill(Env *e, const Graph *g, const Entry *en, const Dims *d)
{
	for (int i = 0; i < d->n; i++)
		env_dim(e, d->at[i].name, d->at[i].bound);
	for (int i = 0; i < g->vals.len; i++) {
		Value *v = g->vals.at[i];
		bool kept = v->op == OP_PARAM || v->op == OP_STATE;
		const EntryInput *in = v->op == OP_INPUT ? input_of(en, v->a.name) : NULL;
		int ids = in && in->rows ? (int)MIN(in->rows, IDS) : IDS;
		if (v->op == OP_INPUT || (kept && !env_get(e, v->a.name)))
			set_values(v, in, fill_source(e, v, d, 5, ids));
	}
}

static inline Env *evaluated(const Subject *s, const Graph *g, const Entry *en, const Dims *d)
{
	Env *e = env_new(s->arena);
	fill(e, g, en, d);
	if (!graph_eval(g, e))
		fail_msg("%s: the evaluator fails", s->name);
	return e;
}

/* A function, compiled, with the one that must run before it. */
typedef struct Function { const Entry *entry; Graph *g, *prepare; Compiled *compiled, *prepares; } Function;

static inline Function function_load(const Entry *en, const char *name, const Target *t)
{
	Function f = { .entry = en, .g = function(en, name) };
	bool hoisted = en->kind != ENTRY_TRAIN;
	assert_non_null(f.g);
	assert_non_null(f.compiled = backend_load(f.g, t));
	if (hoisted && (f.prepare = function(en, "prepare")))
		assert_non_null(f.prepares = backend_load(f.prepare, t));
	return f;
}

static inline void function_unload(Function *f)
{
	backend_unload(f->compiled);
	if (f->prepares)
		backend_unload(f->prepares);
}

/* An environment after `prepare`, whatever the sizes are. */
static inline Env *prepared(const Subject *s, const Function *f, int threads)
{
	Env *e = env_new(s->arena);
	if (!f->prepare)
		return e;
	Dims one = dims_given(f->prepare);
	for (int i = 0; i < one.n; i++)
		one.at[i].bound = 1;
	fill(e, f->prepare, f->entry, &one);
	if (!backend_call(f->prepares, e, threads))
		fail_msg("%s: %s does not run", s->name, f->prepare->name);
	return e;
}

static inline Env *called(const Subject *s, const Function *f, const Dims *d, int threads)
{
	Env *e = prepared(s, f, threads);
	fill(e, f->g, f->entry, d);
	if (!backend_call(f->compiled, e, threads))
		fail_msg("%s: %s does not run", s->name, f->g->name);
	return e;
}

static inline const char *dims_text(const Dims *d)
{
	const char *text = "";
	for (int i = 0; i < d->n; i++)
		text = internf("%s%s%s=%d", text, i ? " " : "", d->at[i].name, (int)d->at[i].bound);
	return text;
}

/* One element, few, and the bounds: within the bounds of this graph, each once. */
static inline int sizes_of(const Graph *g, Dims *d)
{
	static const int wish[][2] = { { 1, 1 }, { 2, 5 }, { 1, 8 }, { 1 << 20, 1 << 20 } };
	int n = 0;
	for (int i = 0; i < COUNT(wish); i++) {
		Dims x = dims_given(g);
		bool news = n == 0;
		for (int k = 0; k < x.n; k++) {
			Sym sym = x.at[k];
			bool batch = strcmp(sym.name, "B") == 0;
			int64_t want = wish[i][!batch] + (strcmp(sym.name, "S") == 0 && i == 1 ? 2 : 0);
			x.at[k].bound = MIN(sym.bound, want);
			news |= n > 0 && x.at[k].bound != d[n - 1].at[k].bound;
		}
		if (news)
			d[n++] = x;
	}
	return n;
}

/* Comparisons */

static inline void same_bits(const Subject *s, const Graph *g, Env *a, Env *b, int threads)
{
	for (int i = 0; i < g->vals.len; i++) {
		const Value *v = g->vals.at[i];
		if (v->op != OP_OUTPUT && v->op != OP_STORE)
			continue;
		const char *name = v->op == OP_STORE ? store_target(v->in[0])->a.name : v->a.name;
		Tensor *x = env_get(a, name), *y = env_get(b, name);
		if (memcmp(x->at, y->at, sizeof *x->at * (size_t)x->n))
			fail_msg("%s: %s of %s: %d threads give other bits", s->name, name, g->name, threads);
	}
}

static inline void same_outputs(const Subject *s, const Graph *g, Env *got, Env *want, const char *what)
{
	for (int i = 0; i < g->vals.len; i++) {
		const Value *v = g->vals.at[i];
		if (v->op != OP_OUTPUT)
			continue;
		double d = difference(env_get(got, v->a.name), env_get(want, v->a.name));
		if (!(d < 1e-4))
			fail_msg("%s: %s of %s, %s: error %g", s->name, v->a.name, g->name, what, d);
	}
}

/* On 1, 2 and 3 threads, against want where it is given. The result of one thread. */
static inline Env *check_call(const Subject *s, const Function *f, const Dims *d, Env *want, const char *target)
{
	Env *one = called(s, f, d, 1);
	if (want)
		same_outputs(s, f->g, one, want, internf("%s %s", target, dims_text(d)));
	for (int threads = 2; threads <= 3; threads++)
		same_bits(s, f->g, one, called(s, f, d, threads), threads);
	return one;
}

#endif
