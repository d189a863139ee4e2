/* whole.c: metrics of a whole set, made of sums over calls (frontend/whole.c says what a call puts out). Only programs that have such a
 * metric link this (SnFunction.wholes).
 *
 * f1 is of the second of two labels, and of more labels as macro_f1: the mean over the labels, 0 for one that is neither told nor
 * true. matthews: Gorodkin 2004, eq. 8, which with two labels is Matthews' own; 0 where its denominator is. pearson: moments of
 * calls are put together about the common mean (Chan, Golub & LeVeque 1983), so that a large mean costs no digits. */
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

static bool is_of_numbers(const SnSlot *s)
{
	return s->rank == 1;
}

/* n, mean a, mean b, (a-mean)^2, (b-mean)^2, (a-mean)(b-mean) */
static void merge(double *m, const float *x)
{
	double n = m[0] + (double)x[0], share = n > 0 ? (double)x[0] / n : 0, da = (double)x[1] - m[1], db = (double)x[2] - m[2];
	m[3] += (double)x[3] + da * da * m[0] * share;
	m[4] += (double)x[4] + db * db * m[0] * share;
	m[5] += (double)x[5] + da * db * m[0] * share;
	m[1] += da * share;
	m[2] += db * share;
	m[0] = n;
}

static void add(SnMeans *m, int i, const SnSession *s)
{
	const float *x = (const float *)(s->arena + m->slot[i]->offset);
	int64_t n = elems(s, m->f, m->slot[i]);
	if (!m->total[i]) {
		m->total[i] = sn_alloc(sizeof *m->total[i] * (size_t)n);
		memset(m->total[i], 0, sizeof *m->total[i] * (size_t)n);
		m->ntotal[i] = n;
	}
	if (is_of_numbers(m->slot[i])) {
		merge(m->total[i], x);
		return;
	}
	for (int64_t k = 0; k < n; k++)
		m->total[i][k] += (double)x[k];
}

/* --- t: hits (C), told (C), true (C) */

static double f1_of(const double *t, int64_t C, int64_t label)
{
	double all = t[C + label] + t[2 * C + label];
	return all > 0 ? 2 * t[label] / all : 0;
}

static double macro_f1(const double *t, int64_t C)
{
	double sum = 0;
	for (int64_t i = 0; i < C; i++)
		sum += f1_of(t, C, i);
	return sum / (double)C;
}

static double f1(const double *t, int64_t C)
{
	return C == 2 ? f1_of(t, C, 1) : macro_f1(t, C);
}

static double matthews(const double *t, int64_t C)
{
	double hits = 0, all = 0, both = 0, told = 0, true_ = 0;
	for (int64_t i = 0; i < C; i++) {
		double p = t[C + i], y = t[2 * C + i];
		hits += t[i], all += y, both += p * y, told += p * p, true_ += y * y;
	}
	double under = (all * all - told) * (all * all - true_);
	return under > 0 ? (hits * all - both) / sqrt(under) : 0;
}

static double pearson(const double *t, int64_t n)
{
	(void)n;
	return t[5] / sqrt(t[3] * t[4]);
}

static double at(const SnMeans *m, int i)
{
	static const struct { const char *name; double (*of)(const double *, int64_t); } kinds[] = {
		{"f1:", f1}, {"macro_f1:", macro_f1}, {"matthews:", matthews}, {"pearson:", pearson},
	};
	const char *kind = m->slot[i]->name + SN_WHOLE;
	for (size_t k = 0; m->total[i] && k < sizeof kinds / sizeof *kinds; k++)
		if (!strncmp(kind, kinds[k].name, strlen(kinds[k].name)))
			return kinds[k].of(m->total[i], m->ntotal[i] / 3);
	return (double)NAN;
}

const SnWholes sn_wholes = {.add = add, .at = at};
