/* metrics.c: the numbers a function puts out (its f32[] outputs: the loss and the entry's metrics), averaged over calls, but for
 * those of a whole set, which whole.c adds up. A perplexity is e to a mean, so that its logarithms are averaged: over calls, too, it is e to the mean loss. */
#include "runtime/sn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_whole(const SnSlot *s)
{
	return !strncmp(s->name, "whole:", SN_WHOLE);
}

static void add_slot(SnMeans *m, const SnSlot *s)
{
	if (m->n == SN_MAX_METRICS)
		return;
	m->slot[m->n] = s;
	m->name[m->n++] = is_whole(s) ? strrchr(s->name, ':') + 1 : s->name;
}

void sn_means_open(SnMeans *m, const SnFunction *f)
{
	*m = (SnMeans){.f = f};
	const SnSlot *loss = sn_slot(f, "loss", true), *s = f->slots;
	if (loss)
		add_slot(m, loss);
	for (int64_t i = 0; i < f->nslot; i++)
		if (s[i].output && s[i].dtype == SN_F32 && (s[i].rank == 0 || is_whole(&s[i])) && &s[i] != loss && !sn_is_tap(&s[i]))
			add_slot(m, &s[i]);
}

void sn_means_close(SnMeans *m)
{
	for (int i = 0; i < m->n; i++)
		free(m->total[i]);
	*m = (SnMeans){0};
}

static bool is_perplexity(const char *name)
{
	return strstr(name, "perplexity") || strstr(name, "ppl");
}

void sn_means_add(SnMeans *m, const SnSession *s, double weight)
{
	for (int i = 0; i < m->n; i++) {
		float x;
		if (m->slot[i]->rank) {
			((const SnWholes *)m->f->wholes)->add(m, i, s);
			continue;
		}
		memcpy(&x, s->arena + m->slot[i]->offset, sizeof x);
		m->sum[i] += (is_perplexity(m->name[i]) ? log((double)x) : (double)x) * weight;
	}
	m->weight += weight;
}

double sn_means_at(const SnMeans *m, int i)
{
	if (m->slot[i]->rank)
		return ((const SnWholes *)m->f->wholes)->at(m, i);
	double mean = m->weight > 0 ? m->sum[i] / m->weight : NAN;
	return is_perplexity(m->name[i]) ? exp(mean) : mean;
}

double sn_means_find(const SnMeans *m, const char *name)
{
	for (int i = 0; i < m->n; i++)
		if (!strcmp(m->name[i], name))
			return sn_means_at(m, i);
	return NAN;
}

bool sn_metric_grows(const char *name)
{
	static const char *const small[] = {"loss", "perplexity", "ppl", "error", "mse", "mae", "nll"};
	for (size_t i = 0; i < sizeof small / sizeof *small; i++)
		if (strstr(name, small[i]))
			return false;
	return true;
}

void sn_json_number(SnStr *out, double x)
{
	if (isfinite(x))
		sn_str_printf(out, "%.9g", x);
	else
		sn_str_printf(out, "null");
}

void sn_json_string(SnStr *out, const char *s)
{
	json_t *j = json_string(s);
	char *text = j ? json_dumps(j, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
	sn_str_printf(out, "%s", text ? text : "null");
	free(text);
	json_decref(j);
}

void sn_means_json(SnStr *out, const SnMeans *m, const char *without)
{
	int n = 0;
	for (int i = 0; i < m->n; i++) {
		if (without && !strcmp(m->name[i], without))
			continue;
		sn_str_printf(out, "%s\"%s\":", n++ ? "," : "", sn_text(m->name[i]));
		sn_json_number(out, sn_means_at(m, i));
	}
}

void sn_means_text(SnStr *out, const SnMeans *m, const char *without, int digits)
{
	int n = 0;
	for (int i = 0; i < m->n; i++)
		if (!without || strcmp(m->name[i], without))
			sn_str_printf(out, "%s%s %.*f", n++ ? "  " : "", sn_text(m->name[i]), digits, sn_means_at(m, i));
}
