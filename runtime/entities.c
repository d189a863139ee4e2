/* entities.c: spans of tags B-X I-X .., as CoNLL's evaluation counts them (Tjong Kim Sang and De Meulder 2003): one is right if its first and last
 * word and its type are. */
#include "runtime/tables.h"

#include <math.h>
#include <string.h>

typedef struct Span { int64_t from, to; const char *type; } Span;

static const char *type_of(const char *tag)
{
	return tag && (tag[0] == 'B' || tag[0] == 'I') && tag[1] == '-' ? tag + 2 : NULL;
}

/* The entity that begins at *at or behind it, before n; an I without a B before it begins one. */
static bool next_entity(const char *const *tags, int64_t n, int64_t *at, Span *e)
{
	while (*at < n && !type_of(tags[*at]))
		++*at;
	if (*at == n)
		return false;
	*e = (Span){*at, *at + 1, type_of(tags[*at])};
	while (e->to < n && tags[e->to] && tags[e->to][0] == 'I' && type_of(tags[e->to]) && !strcmp(type_of(tags[e->to]), e->type))
		e->to++;
	*at = e->to;
	return true;
}

void sn_entities_add(SnEntities *count, const char *const *truth, const char *const *told, int64_t n)
{
	int64_t i = 0, k = 0;
	Span a, b;
	bool x = next_entity(truth, n, &i, &a), y = next_entity(told, n, &k, &b);
	while (x || y) {
		bool both = x && y && a.from == b.from;
		count->both += both && a.to == b.to && !strcmp(a.type, b.type);
		bool first = both || (x && (!y || a.from < b.from)), second = both || !first;
		count->true_ += first;
		count->told += second;
		if (first)
			x = next_entity(truth, n, &i, &a);
		if (second)
			y = next_entity(told, n, &k, &b);
	}
}

static double share(int64_t part, int64_t of, const SnEntities *e)
{
	return of ? (double)part / (double)of : e->true_ || e->told ? 0 : (double)NAN;
}

double sn_entities_precision(const SnEntities *e)
{
	return share(e->both, e->told, e);
}

double sn_entities_recall(const SnEntities *e)
{
	return share(e->both, e->true_, e);
}

double sn_entities_f1(const SnEntities *e)
{
	return share(2 * e->both, e->true_ + e->told, e);
}
