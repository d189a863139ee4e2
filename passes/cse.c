/* cse.c: one value for equal computations: same op, attributes, type and operands (Muchnick 1997, sec. 12.2,
 * by hashing). Values marked `once` and roots (store, output) stay apart. a+b and b+a are one; max and min of
 * swapped operands are not, as their gradient on a tie goes to the first. The first of equals stays, with its
 * path and location. */
#include "passes/passes.h"

typedef struct Table { Value **slot; size_t mask; } Table;

static uint64_t mix(uint64_t h, uint64_t x)
{
	h = (h ^ x) * 0x9E3779B97F4A7C15u;
	return h ^ h >> 29;
}

static uint64_t bits(double x)
{
	uint64_t u;
	memcpy(&u, &x, sizeof u);
	return u;
}

static uint64_t pointer(const void *p)
{
	return (uint64_t)(uintptr_t)p;
}

/* Attributes as numbers, kind by kind; the op decides which of them count. */
#define BITS_INT(field) (uint64_t)(int64_t)a->field
#define BITS_MASK(field) (uint64_t)a->field
#define BITS_STR(field) pointer(a->field)
#define BITS_DIM(field) pointer(a->field)
#define BITS_QUANT(field) a->field
#define BITS_F64(field) bits(a->field)
#define BITS_PERM(field) perm_bits(a->field)

static uint64_t perm_bits(const int8_t *perm)
{
	uint64_t u;
	memcpy(&u, perm, sizeof u);
	return u;
}

static uint64_t hash_attrs(uint64_t h, uint32_t mask, const Attrs *a)
{
#define X(field, kind) if (mask & A_##field) h = mix(h, BITS_##kind(field));
	ATTRS(X)
#undef X
	return h;
}

static bool same_attrs(uint32_t mask, const Attrs *x, const Attrs *y)
{
	const Attrs *a;
#define X(field, kind) if (mask & A_##field) { \
		a = x; uint64_t u = BITS_##kind(field); \
		a = y; if (u != BITS_##kind(field)) return false; }
	ATTRS(X)
#undef X
	return true;
}

static bool commutes(const Value *v)
{
	return op_info[v->op].flags & OPF_COMMUTES && v->op != OP_MAX && v->op != OP_MIN;
}

static uint64_t hash(const Value *v)
{
	uint64_t h = mix(v->op, (uint64_t)v->type.dt << 8 | (uint64_t)v->type.rank);
	for (int i = 0; i < v->type.rank; i++)
		h = mix(h, pointer(v->type.dim[i]));
	if (commutes(v))
		h = mix(h, pointer(v->in[0]) + pointer(v->in[1]));
	else
		for (int i = 0; i < v->nin; i++)
			h = mix(h, pointer(v->in[i]));
	return hash_attrs(h, op_info[v->op].attrs, &v->a);
}

static bool same_operands(const Value *x, const Value *y)
{
	if (commutes(x) && x->in[0] == y->in[1] && x->in[1] == y->in[0])
		return true;
	for (int i = 0; i < x->nin; i++)
		if (x->in[i] != y->in[i])
			return false;
	return true;
}

bool same_computation(const Value *x, const Value *y)
{
	if (x->op != y->op || x->nin != y->nin || !type_eq(x->type, y->type))
		return false;
	return same_operands(x, y) && same_attrs(op_info[x->op].attrs, &x->a, &y->a);
}

/* The value of the table that equals v; v itself, now in the table, if there was none. */
static Value *find(Table *t, Value *v)
{
	size_t i = hash(v) & t->mask;
	for (; t->slot[i]; i = (i + 1) & t->mask)
		if (same_computation(t->slot[i], v))
			return t->slot[i];
	return t->slot[i] = v;
}

static Table table_new(Arena *arena, int values)
{
	size_t n = 64;
	while (n < 2 * (size_t)values)
		n *= 2;
	return (Table){ NEW_ARRAY(arena, Value *, n), n - 1 };
}

static bool mergeable(const Value *v)
{
	return !v->a.once && !v->kernel && !v->dest && !(op_info[v->op].flags & OPF_ROOT);
}

void cse(Graph *g)
{
	graph_number(g);
	Table t = table_new(g->arena, g->vals.len);
	ValueList old = graph_take(g);
	for (int i = 0; i < old.len; i++) {
		Value *v = old.at[i];
		for (int k = 0; k < v->nin; k++)
			v->in[k] = v->in[k]->repl;
		Value *first = mergeable(v) ? find(&t, v) : v;
		v->repl = v;
		if (first == v)
			graph_keep(g, v);
		v->repl = first;
	}
}
