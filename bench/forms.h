/* forms.h: a layer's contractions as the compiler leaves them, for benches: forward and packed, X (M,K) W (K,N) -> Y (M,N); dX, dY W^T;
 * dW, X^T dY; the same as products for other libraries; the machine's peak; medians. For one file to include, behind bundle.h. */
#ifndef BENCH_FORMS_H
#define BENCH_FORMS_H

#include "bench/blas.h"
#include "bench/bundle.h"
#include "passes/passes.h"

/* tied: the weight is stored [N,K], as GPT-2's output layer is the token embedding. */
typedef struct Shape { int64_t k, n; bool tied; } Shape;
enum { FORWARD, PACKED, DX, DW, FORMS };
static const char *const form_name[FORMS] = { "forward", "packed", "dX", "dW" };
static const char *const specs[2][FORMS] = {
	{ [FORWARD] = "mk,kn->mn", [PACKED] = "mk,kn->mn", [DX] = "mn,kn->mk", [DW] = "mk,mn->kn" },
	{ [FORWARD] = "mk,nk->mn", [PACKED] = "mk,nk->mn", [DX] = "mn,nk->mk", [DW] = "mn,mk->nk" },
};

static Cluster *cluster(Arena *a, KernelKind kind, Value *v)
{
	Cluster *c = NEW(a, Cluster);
	c->kind = kind;
	c->anchor = v;
	c->space = v->type;
	vec_push(a, &c->vals, v);
	for (int i = 0; i < v->nin; i++)
		vec_push(a, &c->ins, v->in[i]);
	vec_push(a, &c->outs, v);
	return c;
}

/* The launches of one form: timed[0..*n], and what packs the weight ahead (-1: nothing does). As layout leaves them. */
typedef struct Form { int timed[3], n, ahead; } Form;

/* M is the symbol of that name, at most `rows`. */
static Form form(Arena *a, Bundle *k, int which, const Shape *shape, int64_t rows, DType dt)
{
	Graph *g = graph_new(a, "gemm");
	Builder b = { .g = g };
	graph_sym(g, "M", rows);
	const Dim *m = dim_sym("M"), *kd = dim_const(shape->k), *n = dim_const(shape->n);
	const Dim *stored[2] = { shape->tied ? n : kd, shape->tied ? kd : n };
	const char *spec = specs[shape->tied][which];
	Value *x = b_source(&b, OP_INPUT, "x", type_make(dt, 2, (const Dim *[]){ m, kd }));
	Value *dy = b_source(&b, OP_INPUT, "dy", type_make(dt, 2, (const Dim *[]){ m, n }));
	Value *w = b_source(&b, OP_PARAM, "w", type_make(dt, 2, stored));
	bool dy_left = which == DX || (which == DW && shape->tied);
	b_output(&b, "y", b_contract(&b, dy_left ? dy : x, which != DW ? w : dy_left ? x : dy, spec));
	if (which == PACKED)
		layout_packed(g);
	else
		layout(g);
	Form f = { .ahead = -1 };
	for (int i = 0; i < g->vals.len; i++) {
		Value *v = g->vals.at[i];
		v->mark = NULL;
		if (v->op != OP_PACK && v->op != OP_CONTRACT)
			continue;
		k->far = which == DW;         /* gradients of weights wait for the optimiser */
		int at = bundle_add(k, cluster(a, v->op == OP_PACK ? K_PACK : K_CONTRACT, v));
		if (which == PACKED && v->op == OP_PACK && v->a.side == 1)
			f.ahead = at;
		else
			f.timed[f.n++] = at;
	}
	return f;
}

/* The form as a product of matrices of elements of `size` bytes at the arena's begin, into c: what they hold does not matter. */
static Product product(char *arena, float *c, int64_t size, int64_t m, int which, const Shape *s)
{
	char *x = arena, *w = x + m * s->k * size, *dy = w + s->k * s->n * size;
	if (which == DX)
		return (Product){ m, s->k, s->n, false, !s->tied, dy, w, c };
	if (which == DW)
		return s->tied ? (Product){ s->n, s->k, m, true, false, dy, x, c } : (Product){ s->k, s->n, m, true, false, x, dy, c };
	return (Product){ m, s->n, s->k, false, s->tied, x, w, c };
}

/* GFLOP/s on all threads. */
static double peak(const Peak *p, int threads, int reps, bool cpu)
{
	int64_t dim = 0;
	return p->flops * threads / bundle_run(&p->launch, 1, NULL, &dim, threads, reps, cpu) * 1e-9;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double median(double *x, int n)
{
	qsort(x, (size_t)n, sizeof *x, ascending);
	return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

#endif
