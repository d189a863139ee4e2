/* pace.c: a unit of work to hold processor times against, so that a bound means the same on a machine that is slow or shares its
 * cores: what compilers do, small allocations, hash tables, pointers, branches that nobody foresees; and nothing of Sinter's. Prints a sum. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct Node { struct Node *next; uint64_t key; int uses; } Node;
enum { SLOTS = 1 << 15, ROUNDS = 20, KEYS = 120000 };

static uint64_t mixed(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

static Node *find(Node **table, uint64_t key)
{
	Node **at = &table[key % SLOTS];
	for (; *at; at = &(*at)->next)
		if ((*at)->key == key)
			return *at;
	Node *n = calloc(1, sizeof *n);
	if (!n)
		exit(1);
	n->key = key;
	return *at = n;
}

static uint64_t round_of(uint64_t seed)
{
	Node **table = calloc(SLOTS, sizeof *table), *next;
	uint64_t sum = 0;
	for (uint64_t i = 0; i < KEYS; i++) {
		Node *n = find(table, mixed(seed + i * i % 99991));
		if (n->uses++ % 3 == 0)
			sum += mixed(n->key) % 7 ? n->key : i;
	}
	for (int i = 0; i < SLOTS; i++)
		for (Node *n = table[i]; n; n = next) {
			next = n->next;
			free(n);
		}
	free(table);
	return sum;
}

int main(void)
{
	uint64_t sum = 0;
	for (uint64_t i = 0; i < ROUNDS; i++)
		sum += round_of(i << 32);
	printf("%llu\n", (unsigned long long)sum);
	return 0;
}
