/* metrics.c: the numbers a function puts out (its f32[] outputs: the loss and the entry's metrics), averaged over calls, but for
 * those of a whole set, which whole.c adds up, or whoever has made the examples judges. A perplexity is e to a mean, so that its logarithms are averaged:
 * over calls, too, it is e to the mean loss. */
#include "runtime/sn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool begins(const SnSlot *s, const char *prefix)
{
	return !strncmp(s->name, prefix, strlen(prefix));
}

/* Who makes the metric's number; NULL: it is a mean. */
static const SnWholes *maker(const SnMeans *m, const SnSlot *s)
{
	if (begins(s, "told:"))
		return m->in ? m->in->judge : NULL;
	return begins(s, "whole:") ? m->f->wholes : NULL;
}

static void add_slot(SnMeans *m, const SnSlot *s)
{
	if (m->n == SN_MAX_METRICS)
		return;
	m->slot[m->n] = s;
	m->name[m->n++] = s->rank ? strrchr(s->name, ':') + 1 : s->name;
}

void sn_means_open(SnMeans *m, const SnFunction *f, const SnInputs *in)
{
	*m = (SnMeans){.f = f, .in = in};
	const SnSlot *loss = sn_slot(f, "loss", true), *s = f->slots;
	if (loss)
		add_slot(m, loss);
	for (int64_t i = 0; i < f->nslot; i++)
		if (s[i].output && ((s[i].dtype == SN_F32 && s[i].rank == 0) || maker(m, &s[i])) && &s[i] != loss && !sn_is_tap(&s[i]))
			add_slot(m, &s[i]);
}

const char *sn_means_kind(const SnMeans *m, int i)
{
	return strchr(m->slot[i]->name, ':') + 1;
}

void *sn_means_total(SnMeans *m, int i, int64_t n)
{
	if (m->ntotal[i] < n) {
		m->total[i] = sn_realloc(m->total[i], sizeof *m->total[i] * (size_t)n);
		memset(m->total[i] + m->ntotal[i], 0, sizeof *m->total[i] * (size_t)(n - m->ntotal[i]));
		m->ntotal[i] = n;
	}
	return m->total[i];
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
			maker(m, m->slot[i])->add(m, i, s);
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
		return m->total[i] ? maker(m, m->slot[i])->at(m, i) : (double)NAN;
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
