/* explain_lens.c: what needs no gradients: attention rollout (Abnar & Zuidema 2020), log-probabilities of a text's tokens, and the logit lens
 * (nostalgebraist 2020): what the model would say were each layer its last. */
#include "runtime/explain.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- rollout: the product over layers of (mean over heads + identity) / 2, a residual connection counting as much as attention */

static void add_layer(const SnMap *m, const double *before, double *after)
{
	int64_t T = m->T;
	for (int64_t t = 0; t < T; t++)
		for (int64_t s = 0; s < T; s++) {
			double share = t == s ? 0.5 : 0;
			for (int64_t h = 0; h < m->H; h++)
				share += 0.5 / (double)m->H * (double)m->at[(h * T + t) * T + s];
			for (int64_t k = 0; k < T && share != 0; k++)
				after[t * T + k] += share * before[s * T + k];
		}
}

void sn_explain_rollout(SnExplain *x)
{
	size_t bytes = sizeof(double) * (size_t)(x->T * x->T);
	double *before = sn_alloc(bytes), *after = sn_alloc(bytes);
	int layers = 0;
	for (int64_t i = 0; i < x->T; i++)
		before[i * x->T + i] = 1;
	for (int i = 0; i < x->nmaps; i++) {
		if (x->maps[i].T != x->T || x->maps[i].S != x->T)
			continue;
		memset(after, 0, bytes);
		add_layer(&x->maps[i], before, after);
		double *swap = before;
		before = after;
		after = swap;
		layers++;
	}
	free(after);
	if (layers)
		x->rollout = before;
	else
		free(before);
}

/* --- log-probabilities */

void sn_explain_logprobs(SnExplain *x)
{
	const SnScores *of = x->target.of;
	if (!x->causal || !of->placed)
		return;
	x->logprob = sn_alloc(sizeof *x->logprob * (size_t)x->T);
	x->rank = sn_alloc(sizeof *x->rank * (size_t)x->T);
	x->logprob[0] = NAN;
	for (int64_t i = 1; i < x->T; i++) {
		const float *row = sn_explain_row(of, i - 1);
		int32_t id = x->ids.at[i];
		x->logprob[i] = (double)row[id] - sn_log_sum(row, of->C);
		for (int64_t k = 0; k < of->C; k++)
			x->rank[i] += row[k] > row[id] || (row[k] == row[id] && k < id);
	}
}

/* --- the lens */

int sn_explain_lens(SnExplain *x)
{
	const SnScores *of = x->target.of;
	const SnSlot *in = x->lens ? sn_slot(x->lens, "residual", false) : NULL, *out = x->lens ? sn_slot(x->lens, of->slot->name, true) : NULL;
	const SnSlot *place = x->lens ? sn_slot(x->lens, "position", false) : NULL;
	if (!in || !out || !x->nstreams)
		return SN_OK;
	int64_t shape[SN_MAX_RANK] = {0};
	x->through = sn_alloc(sizeof *x->through * (size_t)x->nstreams);
	x->shares = sn_alloc(sizeof *x->shares * (size_t)x->nstreams);
	for (int i = 0; i < x->nstreams; i++) {
		int n, code = sn_explain_inputs(x, x->lens, 1);
		if (code)
			return code;
		sn_slot_shape(&x->s, x->lens, in, shape);
		memcpy(x->s.arena + in->offset, x->streams[i].at, sizeof(float) * (size_t)(shape[0] * shape[1] * shape[2]));
		if (place)
			*(int32_t *)(x->s.arena + place->offset) = (int32_t)(x->target.row < 0 ? 0 : x->target.row);
		sn_call(&x->s, x->lens);
		const float *row = (const float *)(x->s.arena + out->offset);   /* of the one position */
		sn_likeliest_few(row, of->C, x->through[i], &n);
		x->shares[i] = sn_share(row, of->C, x->target.id);
	}
	return SN_OK;
}
