/* sample.c: drawing the next token. Order of the filters: temperature, top-k, top-p, min-p, as Hugging Face's
 * generation has it. The likeliest are taken off a heap, so that no more is sorted than is asked for. Equal logits are
 * ordered by id: the draw is a function of (logits, settings, seed, position) alone. */
#include "runtime/sn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STREAM = 0x73616D70 };   /* apart from the streams of weights and batches */

void sn_sampler_open(SnSampler *s, int64_t V)
{
	s->probs = sn_alloc(sizeof *s->probs * (size_t)V);
	s->heap = sn_alloc(sizeof *s->heap * (size_t)V);
	s->adjusted = sn_alloc(sizeof *s->adjusted * (size_t)V);
	s->counts = sn_alloc(sizeof *s->counts * (size_t)V);
}

void sn_sampler_close(SnSampler *s)
{
	free(s->probs);
	free(s->heap);
	free(s->adjusted);
	free(s->counts);
	s->probs = s->adjusted = NULL;
	s->heap = s->counts = NULL;
}

double sn_log_sum(const float *logits, int64_t V)
{
	double top = -INFINITY, sum = 0;
	for (int64_t i = 0; i < V; i++)
		top = logits[i] > top || isnan(logits[i]) ? logits[i] : top;
	for (int64_t i = 0; i < V; i++)
		sum += exp(logits[i] - top);
	return top + log(sum);
}

/* counts: of an id 1 + how often it was drawn; zeros again behind it. */
const float *sn_penalised(SnSampler *s, const float *logits, int64_t V, const int32_t *ids, int64_t n, int64_t prompt)
{
	bool repetition = s->repetition > 0 && s->repetition != 1;
	if (!repetition && s->presence == 0 && s->frequency == 0)
		return logits;
	memcpy(s->adjusted, logits, sizeof *logits * (size_t)V);
	for (int64_t i = 0; i < n; i++)
		if (ids[i] < V)
			s->counts[ids[i]] += (s->counts[ids[i]] == 0) + (i >= prompt);
	for (int64_t i = 0; i < n; i++) {
		int32_t id = ids[i], drawn = id < V ? s->counts[id] - 1 : -1;
		if (drawn < 0)
			continue;
		double z = logits[id];
		if (repetition)
			z = z > 0 ? z / s->repetition : z * s->repetition;
		s->adjusted[id] = (float)(z - (drawn ? s->presence : 0) - drawn * s->frequency);
		s->counts[id] = 0;
	}
	return s->adjusted;
}

int32_t sn_likeliest(const float *logits, int64_t V)
{
	int32_t best = 0;
	for (int64_t i = 1; i < V; i++)
		if (logits[i] > logits[best])
			best = (int32_t)i;
	return best;
}

static bool before(const float *p, int32_t a, int32_t b)
{
	return p[a] > p[b] || (p[a] == p[b] && a < b);
}

static void sink(const float *p, int32_t *heap, int64_t n, int64_t at)
{
	for (;;) {
		int64_t child = 2 * at + 1;
		if (child >= n)
			return;
		if (child + 1 < n && before(p, heap[child + 1], heap[child]))
			child++;
		if (before(p, heap[at], heap[child]))
			return;
		int32_t t = heap[at];
		heap[at] = heap[child];
		heap[child] = t;
		at = child;
	}
}

/* Moves the next likeliest to the heap's end: after k pops the k likeliest stand at heap[n-1], heap[n-2], ... */
static int32_t pop(const float *p, int32_t *heap, int64_t *n)
{
	int32_t top = heap[0];
	heap[0] = heap[--*n];
	heap[*n] = top;
	sink(p, heap, *n, 0);
	return top;
}

/* Unnormalised probabilities, the likeliest being 1. Returns their sum. */
static double exponentials(const SnSampler *s, const float *logits, int64_t V)
{
	float top = logits[sn_likeliest(logits, V)];
	double sum = 0;
	for (int64_t i = 0; i < V; i++) {
		s->probs[i] = (float)exp((double)(logits[i] - top) / s->temperature);
		sum += s->probs[i];
	}
	return sum;
}

static int32_t draw_any(const SnSampler *s, int64_t V, double r)
{
	int32_t last = 0;
	for (int64_t i = 0; i < V; i++) {
		if (!(s->probs[i] > 0))
			continue;
		last = (int32_t)i;
		if ((r -= s->probs[i]) < 0)
			break;
	}
	return last;
}

/* How many of the likeliest stay, they being popped one by one; *sum: their probabilities'. */
static int64_t keep(const SnSampler *s, int64_t V, double *sum)
{
	int64_t n = V, limit = s->top_k > 0 && s->top_k < V ? s->top_k : V;
	if (limit < V) {
		*sum = 0;
		for (int64_t i = 0; i < limit; i++)
			*sum += s->probs[pop(s->probs, s->heap, &n)];
	}
	double reach = s->top_p < 1 ? *sum * s->top_p : INFINITY, total = 0;
	int64_t kept = 0;
	while (kept < limit && (kept == 0 || total < reach)) {
		int32_t id = limit < V ? s->heap[V - 1 - kept] : pop(s->probs, s->heap, &n);
		if (kept && s->probs[id] < s->min_p)
			break;
		total += s->probs[id];
		kept++;
	}
	*sum = total;
	return kept;
}

int32_t sn_sample(SnSampler *s, const float *logits, int64_t V, int64_t position)
{
	if (s->temperature <= 0)
		return sn_likeliest(logits, V);
	double sum = exponentials(s, logits, V);
	double u = sn_uniform((uint32_t)position, STREAM, s->seed);
	bool all = (s->top_k <= 0 || s->top_k >= V) && s->top_p >= 1 && s->min_p <= 0;
	if (all || !(sum > 0))
		return draw_any(s, V, u * sum);
	for (int64_t i = 0; i < V; i++)
		s->heap[i] = (int32_t)i;
	for (int64_t i = V / 2; i-- > 0;)
		sink(s->probs, s->heap, V, i);
	int64_t kept = keep(s, V, &sum);
	double r = u * sum;
	for (int64_t i = 0; i < kept; i++)
		if ((r -= s->probs[s->heap[V - 1 - i]]) < 0)
			return s->heap[V - 1 - i];
	return s->heap[V - kept];
}
