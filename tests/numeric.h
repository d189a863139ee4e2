/* numeric.h: evaluating graphs on random tensors, for the tests: environments filled from a graph's sources,
 * comparison of tensors, derivatives by finite differences. Deterministic. */
#ifndef TESTS_NUMERIC_H
#define TESTS_NUMERIC_H

#include <math.h>
#include <stdlib.h>

#include "ir/ir.h"
#include "tests/arena.h"

typedef struct Dims { int n; Sym at[8]; } Dims;   /* values of symbols, in `bound` */

/* The graph's symbols that a caller gives values: those it counts itself left out. */
static inline Dims dims_given(const Graph *g)
{
	Dims d = { 0 };
	Counted *c = counted_of(g->arena, g);
	for (int i = 0; i < g->syms.len; i++) {
		if (counted_by(c, g->syms.at[i].name))
			continue;
		if (d.n == COUNT(d.at))
			bug("%s: too many dimensions for a test", g->name);
		d.at[d.n++] = g->syms.at[i];
	}
	return d;
}

static inline bool dims_look(void *ctx, const char *sym, int64_t *value)
{
	const Dims *d = ctx;
	for (int i = 0; i < d->n; i++)
		if (strcmp(d->at[i].name, sym) == 0) {
			*value = d->at[i].bound;
			return true;
		}
	return false;
}

/* Uniform in [-1, 1): splitmix64 (Steele et al. 2014) of seed and name and index, so that a tensor's values do not
 * depend on which others there are. */
static inline double random_at(uint64_t seed, const char *name, int64_t i)
{
	uint64_t z = seed;
	for (const char *p = name; *p; p++)
		z = (z ^ (uint64_t)*p) * 0x100000001b3u;
	z += (uint64_t)(i + 1) * 0x9E3779B97F4A7C15u;
	z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
	z = (z ^ z >> 27) * 0x94D049BB133111EBu;
	return (double)((z ^ z >> 31) >> 11) / 4503599627370496.0 - 1;
}

/* Random values for one source: f32 in [-1,1), i32 in [0,ids), bool either. */
static inline Tensor *fill_source(Env *e, const Value *v, const Dims *d, uint64_t seed, int ids)
{
	int64_t shape[MAX_RANK] = { 0 };
	for (int i = 0; i < v->type.rank; i++)
		if (!dim_eval(v->type.dim[i], dims_look, (void *)d, &shape[i]))
			bug("the test gives no value for %s", dim_text(v->type.dim[i]));
	Tensor *t = env_set(e, v->a.name, v->type.rank, shape, NULL);
	for (int64_t i = 0; i < t->n; i++) {
		double u = random_at(seed, v->a.name, i);
		t->at[i] = v->type.dt == DT_F32 ? u : v->type.dt == DT_BOOL ? u > 0 : floor((u + 1) / 2 * ids);
	}
	return t;
}

/* An environment with values for the symbols and all sources of g. */
static inline void fill_into(Env *e, const Graph *g, const Dims *d, uint64_t seed, int ids)
{
	for (int i = 0; i < d->n; i++)
		env_dim(e, d->at[i].name, d->at[i].bound);
	for (int i = 0; i < g->vals.len; i++) {
		Op op = g->vals.at[i]->op;
		if (op == OP_PARAM || op == OP_STATE || op == OP_INPUT)
			fill_source(e, g->vals.at[i], d, seed, ids);
	}
}

static inline Env *fill_env(const Graph *g, const Dims *d, uint64_t seed, int ids)
{
	Env *e = env_new(g->arena);
	fill_into(e, g, d, seed, ids);
	return e;
}

/* Largest |x - y| / max(1, |y|); infinite if the shapes differ or something is not a number. */
static inline double difference(const Tensor *x, const Tensor *y)
{
	double worst = 0;
	if (!x || !y || x->n != y->n)
		return INFINITY;
	for (int64_t i = 0; i < x->n; i++) {
		if (x->at[i] == y->at[i])
			continue;
		double d = fabs(x->at[i] - y->at[i]) / fmax(1, fabs(y->at[i]));
		if (isnan(d) && !(isnan(x->at[i]) && isnan(y->at[i])))
			return INFINITY;
		worst = fmax(worst, d);
	}
	return worst;
}

static inline double scalar_of(const Graph *g, Env *e, const char *name)
{
	if (!graph_eval(g, e))
		return NAN;
	Tensor *t = env_get(e, name);
	return t ? t->at[0] : NAN;
}

/* d output / d (*x), x in a tensor of e, by the five-point stencil (Abramowitz & Stegun 25.3.6): error O(h^4). */
static inline double slope(const Graph *g, Env *e, const char *output, double *x, double h)
{
	static const double at[4] = { -2, -1, 1, 2 }, weight[4] = { 1, -8, 8, -1 };
	double old = *x, sum = 0;
	for (int i = 0; i < 4; i++) {
		*x = old + at[i] * h;
		sum += weight[i] * scalar_of(g, e, output);
	}
	*x = old;
	return sum / (12 * h);
}

#endif
