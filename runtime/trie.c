/* trie.c: a trie over bytes. Its edges are one hash table, (node, byte) to node: one look a byte, and no node has room it does
 * not use. */
#include "runtime/tokens.h"

#include <stdlib.h>
#include <string.h>

typedef struct Edge { uint32_t key; int32_t to; } Edge;       /* key: node * 256 + byte; to 0: free */
struct SnTrie {
	Edge *edges;
	uint32_t mask;
	int32_t *values;              /* of nodes */
	int32_t n, cap;               /* nodes; room for */
};
enum { MAX_NODES = 1 << 24 };

SnTrie *sn_trie_open(void)
{
	SnTrie *t = sn_alloc(sizeof *t);
	t->mask = 255;
	t->edges = sn_alloc(sizeof *t->edges * (t->mask + 1));
	t->cap = 128;
	t->values = sn_alloc(sizeof *t->values * (size_t)t->cap);
	t->values[0] = -1;
	t->n = 1;
	return t;
}

void sn_trie_close(SnTrie *t)
{
	if (!t)
		return;
	free(t->edges);
	free(t->values);
	free(t);
}

static inline Edge *edge_at(const SnTrie *t, uint32_t key)
{
	uint32_t i = (key * 0x9E3779B1u) >> 8 & t->mask;
	while (t->edges[i].to && t->edges[i].key != key)
		i = (i + 1) & t->mask;
	return &t->edges[i];
}

static void grow(SnTrie *t)
{
	Edge *old = t->edges;
	uint32_t n = t->mask + 1;
	t->mask = n * 2 - 1;
	t->edges = sn_alloc(sizeof *t->edges * (size_t)n * 2);
	for (uint32_t i = 0; i < n; i++)
		if (old[i].to)
			*edge_at(t, old[i].key) = old[i];
	free(old);
}

static int32_t go(SnTrie *t, int32_t node, unsigned char c)
{
	Edge *e = edge_at(t, (uint32_t)node << 8 | c);
	if (e->to)
		return e->to;
	if (t->n == MAX_NODES)
		exit(sn_fail(SN_FAIL, "a vocabulary of more than %d bytes", MAX_NODES));
	*e = (Edge){(uint32_t)node << 8 | c, t->n};
	if (t->n == t->cap) {
		t->cap *= 2;
		t->values = sn_realloc(t->values, sizeof *t->values * (size_t)t->cap);
	}
	t->values[t->n] = -1;
	int32_t made = t->n++;
	if ((uint32_t)t->n * 2 > t->mask)
		grow(t);
	return made;
}

void sn_trie_add(SnTrie *t, const char *s, size_t n, int32_t value)
{
	int32_t node = 0;
	for (size_t i = 0; i < n; i++)
		node = go(t, node, (unsigned char)s[i]);
	t->values[node] = value;
}

int32_t sn_trie_step(const SnTrie *t, int32_t node, unsigned char c)
{
	const Edge *e = edge_at(t, (uint32_t)node << 8 | c);
	return e->to ? e->to : -1;
}

int32_t sn_trie_value(const SnTrie *t, int32_t node)
{
	return t->values[node];
}

int32_t sn_trie_longest(const SnTrie *t, int32_t node, const char *s, size_t n, size_t *len)
{
	int32_t best = -1;
	for (size_t i = 0; i < n; i++) {
		node = sn_trie_step(t, node, (unsigned char)s[i]);
		if (node < 0)
			break;
		if (t->values[node] >= 0) {
			best = t->values[node];
			*len = i + 1;
		}
	}
	return best;
}
