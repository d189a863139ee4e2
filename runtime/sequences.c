/* sequences.c: several sequences through the model at once. All have as many tokens in the caches: each call takes as many more
 * as the sequence has that is known the least far ahead, which is one where something is drawn. So prompts of different
 * lengths need no padding: a longer one is fed while a shorter one is drawn. Those that have ended leave their row. */
#include "runtime/generate.h"

#include <math.h>
#include <stdlib.h>

static bool usable(const float *logits, int64_t V)
{
	for (int64_t i = 0; i < V; i++)
		if (isnan(logits[i]))
			return false;
	return true;
}

/* cached: tokens that the logits were made behind */
static int draw(SnSequences *q, SnAnswer *a, const float *logits, int64_t cached)
{
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

/* How many drafts the next call has room for: within the context and the limit, and not across what the step's calls may not cross. */
static int64_t wanted(const SnSequences *q, const SnAnswer *a)
{
	const SnStepper *m = q->m;
	int64_t n = q->draft->most, known = m->cached + 1;
	int64_t most[] = {q->limit - sn_answer_drawn(a) - 1, m->room - known, m->chunk - m->cached % m->chunk - 1};
	for (int i = 0; i < 3; i++)
		n = most[i] < n ? most[i] : n;
	return n;
}

/* The token that is known and the drafts behind it; draws as long as drafts are what is drawn, and once more. */
static int draw_drafted(SnSequences *q, SnAnswer *a, int32_t *x)
{
	SnStepper *m = q->m;
	int64_t base = m->cached, want = wanted(q, a), n = 0;
	int code = want > 0 ? sn_draft_propose(q->draft, &a->ids, want, x + 1, &n) : SN_OK;
	if (code)
		return code;
	x[0] = a->ids.at[base];
	const float *logits = n ? sn_stepper_verify(m, x, n + 1) : sn_stepper_feed(m, x, 1);
	for (int64_t i = 0; i <= n && !code && a->finish == SN_GOING; i++) {
		code = draw(q, a, logits + i * m->V, base + i + 1);
		if (i == n || code || a->ids.at[a->ids.n - 1] != x[i + 1])
			break;
		q->draft->taken++;
	}
	m->cached = a->ids.n - 1;
	return code;
}

static int run_drafted(SnSequences *q, SnAnswer *a)
{
	SnStepper *m = q->m;
	int32_t *x = sn_alloc(sizeof *x * (size_t)(q->draft->most + 1));
	int code = SN_OK;
	if (a->ids.n - m->cached > 1)
		sn_stepper_prefill(m, a->ids.at + m->cached, a->ids.n - m->cached - 1);
	while (a->finish == SN_GOING && !code)
		code = draw_drafted(q, a, x);
	free(x);
	return code;
}

int sn_sequences_run(SnSequences *q, SnAnswer **row, int64_t n)
{
	if (n == 1 && q->draft)
		return run_drafted(q, row[0]);
	int32_t *ids = sn_alloc(sizeof *ids * (size_t)(n * q->m->chunk)), *from = sn_alloc(sizeof *from * (size_t)n);
	int code = SN_OK;
	while (n > 0 && !code) {
		const float *logits = feed(q, row, n, ids);
		for (int64_t r = 0; r < n && !code; r++)
			if (row[r]->ids.n == q->m->cached)
				code = draw(q, row[r], logits + r * q->m->V, q->m->cached);
		if (!code && (n = drop_ended(q, row, n, from)) < 0)
			code = SN_FAIL;
	}
	free(ids);
	free(from);
	return code;
}
