/* map.c: a table from values (or interned names) to numbers, keyed by address, open addressing. Only ever looked up,
 * never walked, so addresses cannot influence results. */
#include "ir/ir.h"

typedef struct Slot { const void *key; int n; } Slot;
struct ValueMap { Arena *arena; Slot *at; int len, cap; };

ValueMap *vmap_new(Arena *a)
{
	ValueMap *m = NEW(a, ValueMap);
	m->arena = a;
	m->cap = 64;
	m->at = NEW_ARRAY(a, Slot, m->cap);
	return m;
}

static Slot *find(const ValueMap *m, const void *key)
{
	uint64_t h = (uint64_t)(uintptr_t)key * 0x9e3779b97f4a7c15u;
	for (uint64_t i = h >> 32;; i++) {
		Slot *s = &m->at[i & (uint64_t)(m->cap - 1)];
		if (!s->key || s->key == key)
			return s;
	}
}

static void grow(ValueMap *m)
{
	ValueMap old = *m;
	m->cap *= 2;
	m->at = NEW_ARRAY(m->arena, Slot, m->cap);
	for (int i = 0; i < old.cap; i++)
		if (old.at[i].key)
			*find(m, old.at[i].key) = old.at[i];
}

void vmap_put(ValueMap *m, const void *key, int n)
{
	if (m->len * 2 >= m->cap)
		grow(m);
	Slot *s = find(m, key);
	m->len += !s->key;
	*s = (Slot){key, n};
}

int vmap_get(const ValueMap *m, const void *key)
{
	const Slot *s = find(m, key);
	return s->key ? s->n : -1;
}
