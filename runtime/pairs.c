/* pairs.c: what BERT is pre-trained on, as published (Devlin et al. 2018, sec. 3.1 and appendix A.1; the order of the choices is that of
 * google-research/bert's create_pretraining_data.py). An example is a chunk of a document's sentences that fills the row, cut at a
 * sentence into A and what follows it; for every second one B is of another document. Where the chunks begin is drawn once,
 * all else is drawn anew each time an example is taken, from a stream of its own: no order of drawing changes anything. */
#include "runtime/sn.h"

#include <stdlib.h>
#include <string.h>

static const double SHORT = 0.1;              /* of the examples are shorter, so that short ones are known, too */

/* --- random numbers of one example */

SnDraws sn_draws(uint32_t key, int64_t number)
{
	uint32_t high = (uint32_t)(number >> 32);
	return (SnDraws){0, (uint32_t)number, high ? sn_hash32(&high, sizeof high, key) : key};
}

static int64_t below(SnDraws *d, int64_t n)
{
	return sn_below(n, d->at++, d->stream, d->key);
}

static double uniform(SnDraws *d)
{
	return sn_uniform(d->at++, d->stream, d->key);
}

/* Of n coins, those that show heads. */
static int64_t heads(SnDraws *d, int64_t n)
{
	int64_t count = 0;
	for (; n > 0; n -= 64) {
		SnPair x = sn_philox(d->at++, d->stream, d->key);
		uint64_t coins = (uint64_t)x.a << 32 | x.b;
		count += __builtin_popcountll(n < 64 ? coins & ((1ull << n) - 1) : coins);
	}
	return count;
}

/* --- chunks */

static int64_t document_of(const SnPairs *p, int64_t sentence)
{
	int64_t low = p->from, high = p->to;
	while (high - low > 1) {
		int64_t middle = low + (high - low) / 2;
		if (p->corpus->document[middle] <= sentence)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* Sentences from `first` on that have `target` tokens, or all up to the document's end; two at least where there are, so that one can follow. */
static int64_t chunk(const SnPairs *p, int64_t first, int64_t end, int64_t target)
{
	const int64_t *at = p->corpus->sentence;
	int64_t n = 1, least = p->single ? 1 : 2;
	while (first + n < end && (n < least || at[first + n] - at[first] < target))
		n++;
	return n;
}

static void add_chunk(SnPairs *p, int64_t first)
{
	if (!(p->n & (p->n - 1)))
		p->first = sn_realloc(p->first, sizeof *p->first * (size_t)(p->n ? 2 * p->n : 1));
	p->first[p->n++] = first;
}

/* A chunk follows the one before it, or only its A, where B was another document's: nothing goes to waste. */
static void plan_document(SnPairs *p, int64_t from, int64_t to, SnDraws *d)
{
	for (int64_t at = from; at < to;) {
		int64_t n = chunk(p, at, to, p->room), first = n > 1 ? 1 + below(d, n - 1) : 1;
		bool other = !p->single && uniform(d) < 0.5;
		bool alone = !p->single && n == 1;
		add_chunk(p, alone && at > from ? at - 1 : at);
		p->alone += alone && at == from;
		at += other ? first : n;
	}
}

void sn_pairs_plan(SnPairs *p, const SnCorpus *c, int64_t from, int64_t to, int64_t room, bool single, uint32_t key)
{
	*p = (SnPairs){.corpus = c, .from = from, .to = to, .room = room, .single = single};
	for (int64_t k = from; k < to; k++) {
		SnDraws d = sn_draws(key, k - from);
		plan_document(p, c->document[k], c->document[k + 1], &d);
	}
}

void sn_pairs_close(SnPairs *p)
{
	free(p->first);
	*p = (SnPairs){0};
}

/* --- one example */

static SnStretch stretch(const SnPairs *p, int64_t first, int64_t end)
{
	const int64_t *at = p->corpus->sentence;
	return (SnStretch){at[first], at[end] - at[first]};
}

/* Sentences from any on of any other document, up to `want` tokens. */
static SnStretch elsewhere(const SnPairs *p, int64_t document, int64_t want, SnDraws *d)
{
	const SnCorpus *c = p->corpus;
	int64_t k = p->from + below(d, p->to - p->from - 1);
	k += k >= document;
	int64_t from = c->document[k], end = c->document[k + 1], first = from + below(d, end - from), n = 1;
	while (first + n < end && c->sentence[first + n] - c->sentence[first] < want)
		n++;
	return stretch(p, first, first + n);
}

static void cut(SnStretch *s, int64_t n, SnDraws *d)
{
	int64_t front = heads(d, n);
	s->at += front;
	s->n -= n;
}

/* As one token after another goes from the longer (of equals from B), at its front or at its back as a coin says. */
static void truncate_pair(SnStretch *a, SnStretch *b, int64_t room, SnDraws *d)
{
	int64_t over = a->n + b->n - room, more = a->n - b->n, first = more > 0 ? more : -more;
	if (over <= 0)
		return;
	first = first < over ? first : over;
	int64_t of_a = (more > 0 ? first : 0) + (over - first) / 2;
	cut(a, of_a, d);
	cut(b, over - of_a, d);
}

SnPairDrawn sn_pairs_draw(const SnPairs *p, int64_t example, SnDraws *d)
{
	int64_t first = p->first[example], document = document_of(p, first), end = p->corpus->document[document + 1];
	int64_t target = !p->single && uniform(d) < SHORT ? 2 + below(d, p->room - 1) : p->room, n = chunk(p, first, end, target);
	int64_t cut_at = n > 1 ? 1 + below(d, n - 1) : 1;
	SnPairDrawn x = {.other = !p->single && (n == 1 || uniform(d) < 0.5)};
	x.a = stretch(p, first, first + (p->single ? n : cut_at));
	if (x.other)
		x.b = elsewhere(p, document, target - x.a.n, d);
	else if (!p->single)
		x.b = stretch(p, first + cut_at, first + n);
	truncate_pair(&x.a, &x.b, p->room, d);
	return x;
}

/* --- masks */

void sn_mask(const SnMasking *m, int32_t *tokens, int32_t *labels, int32_t *places, int64_t nplace, int64_t want, SnDraws *d)
{
	want = want < 1 ? 1 : want;
	for (int64_t i = 0; i < want && i < nplace; i++) {
		int64_t k = i + below(d, nplace - i);
		int32_t at = places[k];
		places[k] = places[i];
		labels[at] = tokens[at];
		double u = uniform(d);
		if (u < 0.8)
			tokens[at] = m->mask;
		else if (u < 0.9)
			tokens[at] = m->words[below(d, m->nword)];
	}
}
