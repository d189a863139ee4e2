/* explain_paths.c: which tokens a score comes of: gradient times input, and integrated gradients (Sundararajan et al. 2017) along the straight
 * way from a baseline's embeddings to the text's. A call of `attribute` gives the score at one point of the way and its derivative to each token's
 * part.
 *
 * The way is cut into panels of a 4-point Gauss-Legendre rule. The score at both ends of a panel is known, so each panel's error is, too:
 * the worst is cut in two until all of them together are within half of what completeness allows, or there were too many calls. */
#include "runtime/explain.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { POINTS = 4, MOST_TIMES = 16 };
static const double TOLERANCE = 0.01;   /* of the difference of scores */
static const double node[POINTS] = {-0.8611363115940526, -0.3399810435848563, 0.3399810435848563, 0.8611363115940526};
static const double weight[POINTS] = {0.3478548451374538, 0.6521451548625461, 0.6521451548625461, 0.3478548451374538};

typedef struct Panel { double a, b, from, to, error, *sum; } Panel;   /* sum: (T) its part of the integral */
typedef struct Way {
	SnExplain *x;
	const SnFunction *f;
	int32_t *baseline;            /* (T) */
	Panel *panel;
	int n, evaluations;
} Way;

/* --- calls */

static void *input(Way *w, const char *name)
{
	const SnSlot *s = sn_slot(w->f, name, false);
	return s ? w->x->s.arena + s->offset : NULL;
}

static void put_rows(Way *w, const double *alpha, int64_t n)
{
	SnExplain *x = w->x;
	float *part = input(w, "alpha");
	int32_t *base = input(w, "baseline"), *place = input(w, "position"), *target = input(w, "target");
	for (int64_t r = 0; r < n; r++) {
		for (int64_t i = 0; i < x->T; i++)
			part[r * x->T + i] = (float)alpha[r];
		memcpy(base + r * x->T, w->baseline, sizeof *base * (size_t)x->T);
		target[r] = x->target.id;
		if (place)
			place[r] = (int32_t)x->target.row;
	}
	sn_set_f32(&x->s, w->f, "normalise", sn_given(x->o, "log_probability"));
}

/* The score at n points of the way, and (unless NULL) its derivatives (n,T) there. SN_USAGE */
static int evaluate(Way *w, const double *alpha, int64_t n, double *score, double *slope)
{
	SnExplain *x = w->x;
	for (int64_t done = 0; done < n;) {
		int64_t rows = n - done < x->rows ? n - done : x->rows;
		int code = sn_explain_inputs(x, w->f, rows);
		if (code)
			return code;
		put_rows(w, alpha + done, rows);
		sn_call(&x->s, w->f);
		const float *F = (const float *)(x->s.arena + sn_slot(w->f, "score", true)->offset);
		const float *d = (const float *)(x->s.arena + sn_slot(w->f, "attribution", true)->offset);
		for (int64_t r = 0; r < rows; r++)
			score[done + r] = (double)F[r];
		for (int64_t i = 0; i < rows * x->T && slope; i++)
			slope[done * x->T + i] = (double)d[i];
		done += rows;
		w->evaluations += (int)rows;
	}
	return SN_OK;
}

/* --- panels */

/* p's ends are known: the integral over it, and what it lacks. */
static int integrate(Way *w, Panel *p)
{
	int64_t T = w->x->T;
	double alpha[POINTS], score[POINTS], total = 0, half = (p->b - p->a) / 2;
	double *slope = sn_alloc(sizeof *slope * (size_t)(POINTS * T));
	p->sum = sn_alloc(sizeof *p->sum * (size_t)T);
	for (int k = 0; k < POINTS; k++)
		alpha[k] = p->a + half * (1 + node[k]);
	int code = evaluate(w, alpha, POINTS, score, slope);
	for (int k = 0; k < POINTS && !code; k++)
		for (int64_t i = 0; i < T; i++) {
			p->sum[i] += half * weight[k] * slope[k * T + i];
			total += half * weight[k] * slope[k * T + i];
		}
	p->error = fabs(total - (p->to - p->from));
	free(slope);
	return code;
}

static int begin(Way *w, int panels)
{
	double *at = sn_alloc(2 * sizeof *at * (size_t)(panels + 1)), *score = at + panels + 1;
	for (int i = 0; i <= panels; i++)
		at[i] = (double)i / panels;
	int code = evaluate(w, at, panels + 1, score, NULL);
	for (; w->n < panels && !code; w->n++) {
		Panel *p = &w->panel[w->n];
		*p = (Panel){.a = at[w->n], .b = at[w->n + 1], .from = score[w->n], .to = score[w->n + 1]};
		code = integrate(w, p);
	}
	free(at);
	return code;
}

/* p's second half becomes a panel of its own. */
static int cut(Way *w, Panel *p)
{
	Panel *q = &w->panel[w->n++];
	double middle = (p->a + p->b) / 2, score;
	int code = evaluate(w, &middle, 1, &score, NULL);
	free(p->sum);
	*q = (Panel){.a = middle, .b = p->b, .from = score, .to = p->to};
	*p = (Panel){.a = p->a, .b = middle, .from = p->from, .to = score};
	if (!code)
		code = integrate(w, p);
	return code ? code : integrate(w, q);
}

static Panel *worst(Way *w, double *error)
{
	Panel *p = w->panel;
	*error = 0;
	for (int i = 0; i < w->n; i++) {
		*error += w->panel[i].error;
		if (w->panel[i].error > p->error)
			p = &w->panel[i];
	}
	return p;
}

static int refine(Way *w, int most, double difference)
{
	double error;
	Panel *p = worst(w, &error);
	int code = SN_OK;
	for (; !code && error > TOLERANCE / 2 * fabs(difference) && w->evaluations + 2 * POINTS + 1 <= most; p = worst(w, &error))
		code = cut(w, p);
	return code;
}

static int integrated(Way *w, int steps)
{
	SnAttribution *a = &w->x->a;
	int panels = (steps + POINTS - 1) / POINTS, most = MOST_TIMES * panels * POINTS;
	w->panel = sn_alloc(sizeof *w->panel * (size_t)(panels + most / (2 * POINTS) + 2));
	int code = begin(w, panels);
	a->from = w->panel[0].from;
	a->to = w->panel[panels - 1].to;
	if (!code)
		code = refine(w, most, a->to - a->from);
	for (int i = 0; i < w->n && !code; i++)
		for (int64_t k = 0; k < w->x->T; k++)
			a->integrated[k] += w->panel[i].sum[k];
	for (int64_t k = 0; k < w->x->T; k++)
		a->sum += a->integrated[k];
	a->error = fabs(a->sum - (a->to - a->from));
	a->holds = a->error <= TOLERANCE * fabs(a->to - a->from);
	a->evaluations = w->evaluations;
	return code;
}

/* --- baselines */

static int32_t special_of(const SnExplain *x, const char *const *names, int n)
{
	int32_t id = -1;
	for (int i = 0; i < n && id < 0; i++)
		id = sn_special(x->data.tokenizer, names[i]);
	return id;
}

/* An id that no table has stands for zeros. Without a flag: the mask, which a model has learnt to read as "some word"; else zeros. */
static int find_baseline(SnExplain *x, int32_t *id)
{
	static const char *const mask[] = {"[MASK]", "<mask>"}, *const pad[] = {"[PAD]", "<pad>"}, *const unk[] = {"[UNK]", "<unk>"};
	const char *name = sn_str(x->o, "baseline", NULL);
	*id = -1;
	if (!name)
		name = special_of(x, mask, 2) >= 0 ? "mask" : "zero";
	x->a.baseline = name;
	if (!strcmp(name, "zero"))
		return SN_OK;
	*id = !strcmp(name, "mask") ? special_of(x, mask, 2) : !strcmp(name, "pad") ? special_of(x, pad, 2) : !strcmp(name, "unk") ? special_of(x, unk, 2)
	    : sn_special(x->data.tokenizer, name);
	return *id >= 0 ? SN_OK : sn_fail(SN_USAGE, "--baseline %s: wants zero, mask, pad, unk or a special token, and the tokenizer has no such one", name);
}

/* What the post-processor put stays in the baseline: it is no part of the text. */
static int32_t *baseline_ids(const SnExplain *x, int32_t id)
{
	int32_t *at = sn_alloc(sizeof *at * (size_t)x->T);
	for (int64_t i = 0; i < x->T; i++)
		at[i] = x->places.at[i] < 0 ? x->ids.at[i] : id;
	return at;
}

int sn_explain_attribute(SnExplain *x)
{
	int32_t id, *zeros = sn_alloc(sizeof *zeros * (size_t)x->T);
	double one = 1, score;
	Way w = {.x = x, .f = x->target.of->attribute, .baseline = zeros};
	x->a.gradient = sn_alloc(sizeof(double) * (size_t)x->T);
	x->a.integrated = sn_alloc(sizeof(double) * (size_t)x->T);
	for (int64_t i = 0; i < x->T; i++)
		zeros[i] = -1;
	int code = find_baseline(x, &id);
	if (!code)
		code = evaluate(&w, &one, 1, &score, x->a.gradient);
	w.baseline = baseline_ids(x, id);
	if (!code)
		code = integrated(&w, (int)sn_num(x->o, "steps", 32));
	for (int i = 0; i < w.n; i++)
		free(w.panel[i].sum);
	free(w.panel);
	free(w.baseline);
	free(zeros);
	return code;
}
