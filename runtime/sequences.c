/* sequences.c: several sequences through the model at once. All have as many tokens in the caches: each call takes as many more
 * as the sequence has that is known the least far ahead, which is one where something is drawn. So prompts of different
 * lengths need no padding: a longer one is fed while a shorter one is drawn. Those that have ended leave their row. */
#include "runtime/sn.h"

#include <math.h>
#include <stdlib.h>

static bool usable(const float *logits, int64_t V)
{
	for (int64_t i = 0; i < V; i++)
		if (isnan(logits[i]))
			return false;
	return true;
}

static int draw(SnSequences *q, SnAnswer *a, const float *logits)
{
	int64_t cached = q->m->cached;
	if (!usable(logits, q->V))
		return sn_fail(SN_FAIL, "the model's output is not a number");
	if (sn_answer_drawn(a) < q->limit) {
		const float *z = sn_penalised(q->sampler, logits, q->V, a->ids.at, a->ids.n, a->prompt);
		int32_t id = sn_sample(q->sampler, z, q->V, cached);
		if (q->logprobs >= 0)
			sn_answer_logprob(a, q->tokenizer, logits, q->V, id, q->logprobs);
		sn_answer_add(a, q->tokenizer, q->stops, id);
		q->drawn++;
	}
	if (a->finish == SN_GOING && sn_answer_drawn(a) >= q->limit)
		sn_answer_end(a, SN_LIMIT);
	else if (a->finish == SN_GOING && cached == q->m->room)
		sn_answer_end(a, SN_FULL);
	else if (a->finish == SN_GOING && q->interrupted && *q->interrupted)
		sn_answer_end(a, SN_LIMIT);
	if (q->said)
		q->said(q->ctx, a);
	return SN_OK;
}

/* Feeds what is known of all of them, as far as one call goes; logits (n, V). */
static const float *feed(SnSequences *q, SnAnswer *const *row, int64_t n, int32_t *ids)
{
	int64_t cached = q->m->cached, now = q->m->chunk - cached % q->m->chunk;
	for (int64_t r = 0; r < n; r++)
		now = row[r]->ids.n - cached < now ? row[r]->ids.n - cached : now;
	for (int64_t r = 0; r < n; r++)
		for (int64_t i = 0; i < now; i++)
			ids[r * now + i] = row[r]->ids.at[cached + i];
	return sn_stepper_feed(q->m, ids, now);
}

/* The rows of those that go on, in the same order; their number, or -1 after a message. */
static int64_t drop_ended(SnSequences *q, SnAnswer **row, int64_t n, int32_t *from)
{
	int64_t kept = 0;
	for (int64_t r = 0; r < n; r++)
		if (row[r]->finish == SN_GOING) {
			from[kept] = (int32_t)r;
			row[kept++] = row[r];
		}
	if (kept && kept < n && !sn_stepper_branch(q->m, from, kept)) {
		sn_fail(SN_FAIL, "%s can't go on with some sequences of several: its states don't tell them apart", sn_text(q->m->s->entry->name));
		return -1;
	}
	return kept;
}

int sn_sequences_run(SnSequences *q, SnAnswer **row, int64_t n)
{
	int32_t *ids = sn_alloc(sizeof *ids * (size_t)(n * q->m->chunk)), *from = sn_alloc(sizeof *from * (size_t)n);
	int code = SN_OK;
	while (n > 0 && !code) {
		const float *logits = feed(q, row, n, ids);
		for (int64_t r = 0; r < n && !code; r++)
			if (row[r]->ids.n == q->m->cached)
				code = draw(q, row[r], logits + r * q->m->V);
		if (!code && (n = drop_ended(q, row, n, from)) < 0)
			code = SN_FAIL;
	}
	free(ids);
	free(from);
	return code;
}
