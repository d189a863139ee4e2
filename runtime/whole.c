/* whole.c: metrics of a whole set, made of what calls put out (frontend/whole.c says what). Only programs that have such a
 * metric link this (SnFunction.wholes).
 *
 * f1 is of the second of two labels, and of more labels as macro_f1: the mean over the labels, 0 for one that is neither told nor
 * true. matthews: Gorodkin 2004, eq. 8, which with two labels is Matthews' own; 0 where its denominator is, as one label alone was told, or is true.
 * pearson: moments of calls are put together about the common mean (Chan, Golub & LeVeque 1983), so that a large mean costs no digits. spearman: Pearson's
 * of ranks, of equals their mean; the numbers themselves are kept. Both are NaN where either side is constant: there is no correlation with it. */
#include "runtime/sn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int64_t elems(const SnSession *s, const SnFunction *f, const SnSlot *slot)
{
	int64_t shape[SN_MAX_RANK] = {0}, n = 1;
	sn_slot_shape(s, f, slot, shape);
	for (int64_t i = 0; i < slot->rank; i++)
		n *= shape[i];
	return n;
}

/* --- what becomes of a call's n numbers */

static void add_up(SnMeans *m, int i, const float *x, int64_t n)
{
	double *total = sn_means_total(m, i, n);
	for (int64_t k = 0; k < n; k++)
		total[k] += (double)x[k];
}

/* n, mean a, mean b, (a-mean)^2, (b-mean)^2, (a-mean)(b-mean) */
static void merge(SnMeans *means, int i, const float *x, int64_t count)
{
	double *m = sn_means_total(means, i, count);
	double n = m[0] + (double)x[0], share = n > 0 ? (double)x[0] / n : 0, da = (double)x[1] - m[1], db = (double)x[2] - m[2];
	m[3] += (double)x[3] + da * da * m[0] * share;
	m[4] += (double)x[4] + db * db * m[0] * share;
	m[5] += (double)x[5] + da * db * m[0] * share;
	m[1] += da * share;
	m[2] += db * share;
	m[0] = n;
}

/* (2,n) numbers of a, then of b, become pairs behind those that are there. */
static void keep(SnMeans *m, int i, const float *x, int64_t n)
{
	int64_t had = m->ntotal[i];
	double *pairs = (double *)sn_means_total(m, i, had + n) + had;
	for (int64_t k = 0; k < n; k++)
		pairs[k % (n / 2) * 2 + (k >= n / 2)] = (double)x[k];
}

/* --- t: hits (C), told (C), true (C) */

static double f1_of(const double *t, int64_t C, int64_t label)
{
	double all = t[C + label] + t[2 * C + label];
	return all > 0 ? 2 * t[label] / all : 0;
}

static double macro_f1(const double *t, int64_t n)
{
	int64_t C = n / 3;
	double sum = 0;
	for (int64_t i = 0; i < C; i++)
		sum += f1_of(t, C, i);
	return sum / (double)C;
}

static double f1(const double *t, int64_t n)
{
	return n == 6 ? f1_of(t, 2, 1) : macro_f1(t, n);
}

static double matthews(const double *t, int64_t n)
{
	int64_t C = n / 3;
	double hits = 0, all = 0, both = 0, told = 0, true_ = 0;
	for (int64_t i = 0; i < C; i++) {
		double p = t[C + i], y = t[2 * C + i];
		hits += t[i], all += y, both += p * y, told += p * p, true_ += y * y;
	}
	double under = (all * all - told) * (all * all - true_);
	return under > 0 ? (hits * all - both) / sqrt(under) : 0;
}

/* --- correlations */

/* Equal numbers, whose mean in f32 may be off by its last bit. */
static bool constant(double n, double mean, double squares)
{
	return !(squares > n * mean * mean * 0x1p-46);
}

static double pearson(const double *t, int64_t n)
{
	(void)n;
	bool none = constant(t[0], t[1], t[3]) || constant(t[0], t[2], t[4]);
	return none ? (double)NAN : t[5] / sqrt(t[3]) / sqrt(t[4]);
}

typedef struct Ranked { double x; int64_t i; } Ranked;

static int by_value(const void *a, const void *b)
{
	const Ranked *p = a, *q = b;
	return (p->x > q->x) - (p->x < q->x);
}

/* rank[i] of pairs[i][side], from 1 on; of equals the mean of theirs. False where one is no number. */
static bool rank_all(const double *pairs, int side, int64_t n, Ranked *sorted, double *rank)
{
	for (int64_t i = 0; i < n; i++) {
		sorted[i] = (Ranked){pairs[2 * i + side], i};
		if (isnan(sorted[i].x))
			return false;
	}
	qsort(sorted, (size_t)n, sizeof *sorted, by_value);
	for (int64_t i = 0, to; i < n; i = to) {
		for (to = i + 1; to < n && !by_value(&sorted[to], &sorted[i]); to++)
			;
		for (int64_t k = i; k < to; k++)
			rank[sorted[k].i] = (double)(i + 1 + to) / 2;
	}
	return true;
}

static double spearman(const double *pairs, int64_t count)
{
	int64_t n = count / 2;
	double *a = sn_alloc(sizeof *a * (size_t)n), *b = sn_alloc(sizeof *b * (size_t)n), mean = (double)(n + 1) / 2;
	Ranked *sorted = sn_alloc(sizeof *sorted * (size_t)n);
	bool numbers = rank_all(pairs, 0, n, sorted, a) && rank_all(pairs, 1, n, sorted, b);
	double m[6] = {(double)n, mean, mean};
	for (int64_t i = 0; i < n && numbers; i++) {
		m[3] += (a[i] - mean) * (a[i] - mean);
		m[4] += (b[i] - mean) * (b[i] - mean);
		m[5] += (a[i] - mean) * (b[i] - mean);
	}
	free(a);
	free(b);
	free(sorted);
	return pearson(m, 6);
}

/* --- all of them */

typedef struct Kind {
	const char *name;
	void (*add)(SnMeans *, int i, const float *, int64_t n);
	double (*of)(const double *total, int64_t n);
} Kind;

static const Kind *kind_of(const SnMeans *m, int i)
{
	static const Kind kinds[] = {
		{"f1", add_up, f1}, {"macro_f1", add_up, macro_f1}, {"matthews", add_up, matthews}, {"pearson", merge, pearson}, {"spearman", keep, spearman},
	};
	const Kind *k = kinds;
	while (!sn_means_is(sn_means_kind(m, i), k->name))
		k++;
	return k;
}

static void add(SnMeans *m, int i, const SnSession *s)
{
	kind_of(m, i)->add(m, i, (const float *)(s->arena + m->slot[i]->offset), elems(s, m->f, m->slot[i]));
}

static double at(const SnMeans *m, int i)
{
	return kind_of(m, i)->of(m->total[i], m->ntotal[i]);
}

const SnWholes sn_wholes = {.add = add, .at = at};
