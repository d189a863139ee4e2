/* merges.c: the merge rules of a byte-pair encoding and their application to one word: symbols in a doubly linked
 * list, candidate merges in a heap ordered by (rank, place); candidates that no longer hold are skipped when they come
 * up. A word of n bytes takes O(n log n), however long. */
#include "runtime/sn.h"

#include <stdlib.h>

typedef struct Rule { uint64_t pair; int32_t rank, merged; } Rule;   /* rank -1: free */
struct SnMerges { Rule *rules; uint64_t mask; };

typedef struct Symbol { int32_t id, before, after; } Symbol;         /* id -1: merged away; before, after: -1 at the ends */
typedef struct Candidate { int32_t rank, at, left, right, merged; } Candidate;

static uint64_t pair_of(int32_t left, int32_t right)
{
	return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

static uint64_t place(const SnMerges *m, uint64_t pair)
{
	pair ^= pair >> 29;
	pair *= 0x9E3779B97F4A7C15u;
	return (pair >> 32) & m->mask;
}

SnMerges *sn_merges_open(int64_t n)
{
	SnMerges *m = sn_alloc(sizeof *m);
	uint64_t size = 16;
	while (size < (uint64_t)n * 2)
		size *= 2;
	m->mask = size - 1;
	m->rules = sn_alloc(sizeof *m->rules * size);
	for (uint64_t i = 0; i < size; i++)
		m->rules[i].rank = -1;
	return m;
}

void sn_merges_close(SnMerges *m)
{
	if (m)
		free(m->rules);
	free(m);
}

/* The pair's rule, or the free place where it would stand. */
static Rule *lookup(const SnMerges *m, uint64_t pair)
{
	uint64_t i = place(m, pair);
	while (m->rules[i].rank >= 0 && m->rules[i].pair != pair)
		i = (i + 1) & m->mask;
	return &m->rules[i];
}

void sn_merges_add(SnMerges *m, int32_t left, int32_t right, int32_t rank, int32_t merged)
{
	uint64_t pair = pair_of(left, right);
	Rule *r = lookup(m, pair);
	if (r->rank < 0)
		*r = (Rule){pair, rank, merged};
}

static bool sooner(const Candidate *a, const Candidate *b)
{
	return a->rank < b->rank || (a->rank == b->rank && a->at < b->at);
}

static void heap_push(Candidate *heap, int64_t *n, Candidate c)
{
	int64_t at = (*n)++;
	while (at > 0 && sooner(&c, &heap[(at - 1) / 2])) {
		heap[at] = heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	heap[at] = c;
}

static Candidate heap_pop(Candidate *heap, int64_t *n)
{
	Candidate top = heap[0], last = heap[--*n];
	int64_t at = 0;
	for (;;) {
		int64_t child = 2 * at + 1;
		if (child >= *n)
			break;
		if (child + 1 < *n && sooner(&heap[child + 1], &heap[child]))
			child++;
		if (!sooner(&heap[child], &last))
			break;
		heap[at] = heap[child];
		at = child;
	}
	heap[at] = last;
	return top;
}

static void propose(const SnMerges *m, const Symbol *s, int32_t at, Candidate *heap, int64_t *n)
{
	if (at < 0 || s[at].after < 0)
		return;
	int32_t left = s[at].id, right = s[s[at].after].id;
	const Rule *r = lookup(m, pair_of(left, right));
	if (r->rank >= 0)
		heap_push(heap, n, (Candidate){r->rank, at, left, right, r->merged});
}

static void merge(Symbol *s, int32_t at, int32_t merged)
{
	int32_t gone = s[at].after;
	s[at].id = merged;
	s[at].after = s[gone].after;
	if (s[gone].after >= 0)
		s[s[gone].after].before = at;
	s[gone].id = -1;
}

/* Each merge removes a symbol and proposes two: never more than 3n candidates. */
static void reserve(SnWord *w, int64_t n)
{
	if (n <= w->cap)
		return;
	w->cap = n * 2;
	w->symbols = sn_realloc(w->symbols, sizeof(Symbol) * (size_t)w->cap);
	w->heap = sn_realloc(w->heap, sizeof(Candidate) * 3 * (size_t)w->cap);
}

int64_t sn_merges_apply(const SnMerges *m, SnWord *w, int32_t *ids, int64_t n)
{
	reserve(w, n);
	Symbol *s = w->symbols;
	Candidate *heap = w->heap;
	int64_t waiting = 0;
	for (int32_t i = 0; i < n; i++)
		s[i] = (Symbol){ids[i], i - 1, i + 1 < n ? i + 1 : -1};
	for (int32_t i = 0; i + 1 < n; i++)
		propose(m, s, i, heap, &waiting);
	while (waiting) {
		Candidate c = heap_pop(heap, &waiting);
		if (s[c.at].id != c.left || s[c.at].after < 0 || s[s[c.at].after].id != c.right)
			continue;
		merge(s, c.at, c.merged);
		propose(m, s, s[c.at].before, heap, &waiting);
		propose(m, s, c.at, heap, &waiting);
	}
	int64_t left = 0;
	for (int32_t i = 0; i >= 0 && n; i = s[i].after)
		ids[left++] = s[i].id;
	return left;
}
