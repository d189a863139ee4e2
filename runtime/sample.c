/* sample.c: drawing the next token. Order of the filters: temperature, top-k, top-p, min-p, as Hugging Face's
 * generation has it. Ids are dealt into buckets by probability, and a bucket is put in order when the likeliest before it are
 * taken: no more is sorted than is asked for, and flat distributions of large vocabularies cost little more than peaked ones. Equal
 * logits are ordered by id: the draw is a function of (logits, settings, seed, position) alone. */
#include "runtime/sn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STREAM = 0x73616D70 };   /* apart from the streams of weights and batches */
enum { BUCKETS = 4096, OCTAVE_BUCKETS = 8 };   /* log2 of the buckets from p to 2p: those below 2^-16 share the last */

void sn_sampler_open(SnSampler *s, int64_t V)
{
	s->probs = sn_alloc(sizeof *s->probs * (size_t)V);
	s->order = sn_alloc(sizeof *s->order * (size_t)V);
	s->end = sn_alloc(sizeof *s->end * BUCKETS);
	s->adjusted = sn_alloc(sizeof *s->adjusted * (size_t)V);
	s->counts = sn_alloc(sizeof *s->counts * (size_t)V);
}

void sn_sampler_close(SnSampler *s)
{
	free(s->probs);
	free(s->order);
	free(s->end);
	free(s->adjusted);
	free(s->counts);
	s->probs = s->adjusted = NULL;
	s->order = NULL;
	s->end = s->counts = NULL;
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

/* Ascending as probabilities of 0 to 1 descend, then as ids ascend. */
static uint64_t rank_of(float p, int64_t id)
{
	uint32_t bits, one = 0x3f800000;
	memcpy(&bits, &p, sizeof bits);
	return (uint64_t)(bits < one ? one - bits : 0) << 32 | (uint32_t)id;
}

static uint32_t bucket_of(uint64_t rank)
{
	uint64_t at = rank >> (32 + 23 - OCTAVE_BUCKETS);
	return at < BUCKETS ? (uint32_t)at : BUCKETS - 1;
}

/* s->order by buckets, unordered within; s->end[b]: where bucket b ends. */
static void deal(SnSampler *s, int64_t V)
{
	int32_t before = 0;
	memset(s->end, 0, sizeof *s->end * BUCKETS);
	for (int64_t i = 0; i < V; i++)
		s->end[bucket_of(rank_of(s->probs[i], i))]++;
	for (int b = 0; b < BUCKETS; b++) {
		int32_t n = s->end[b];
		s->end[b] = before;
		before += n;
	}
	for (int64_t i = 0; i < V; i++) {
		uint64_t rank = rank_of(s->probs[i], i);
		s->order[s->end[bucket_of(rank)]++] = rank;
	}
}

static int ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

static void sort(uint64_t *at, int64_t n)
{
	if (n > 64) {
		qsort(at, (size_t)n, sizeof *at, ascending);
		return;
	}
	for (int64_t i = 1; i < n; i++) {
		uint64_t x = at[i];
		int64_t to = i;
		for (; to > 0 && at[to - 1] > x; to--)
			at[to] = at[to - 1];
		at[to] = x;
	}
}

/* How many of s->order's first, of which `sorted` are in their places, are so with the next bucket. */
static int64_t sort_next(SnSampler *s, int64_t sorted)
{
	int64_t end = s->end[bucket_of(s->order[sorted])];
	sort(s->order + sorted, end - sorted);
	return end;
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

static int32_t id_at(const SnSampler *s, int64_t rank) { return (int32_t)(uint32_t)s->order[rank]; }

/* How many of the likeliest stay, which are then the first of s->order; *sum: their probabilities'. */
static int64_t keep(SnSampler *s, int64_t V, double *sum)
{
	int64_t sorted = 0, limit = s->top_k > 0 && s->top_k < V ? s->top_k : V;
	if (limit < V) {
		while (sorted < limit)
			sorted = sort_next(s, sorted);
		*sum = 0;
		for (int64_t i = 0; i < limit; i++)
			*sum += s->probs[id_at(s, i)];
	}
	double reach = s->top_p < 1 ? *sum * s->top_p : INFINITY, total = 0;
	int64_t kept = 0;
	while (kept < limit && (kept == 0 || total < reach)) {
		if (kept == sorted)
			sorted = sort_next(s, sorted);
		float p = s->probs[id_at(s, kept)];
		if (kept && p < s->min_p)
			break;
		total += p;
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
	deal(s, V);
	int64_t kept = keep(s, V, &sum);
	double r = u * sum;
	for (int64_t i = 0; i < kept; i++)
		if ((r -= s->probs[id_at(s, i)]) < 0)
			return id_at(s, i);
	return id_at(s, kept - 1);
}
