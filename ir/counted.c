/* counted.c: symbols that a nonzero sets while the graph runs ("counted" ones), such as how many tokens an expert gets.
 *
 * Such a symbol is an extent like any other but for two things: it may be 0, and whatever is shaped by it comes after
 * its nonzero, though no operand may lead there: passes that order or drop values ask here. */
#include "ir/ir.h"

struct Counted {
	ValueMap *at;              /* symbol's name: index in by */
	Vec(Value *) by;
};

bool is_counting(const Value *v) { return v->op == OP_NONZERO; }

const char *counted_sym(const Value *v)
{
	const DimFactor *f;
	int n;
	const Dim *d = v->type.dim[0];
	bool symbol = dim_terms(d) == 1 && dim_term(d, 0, &f, &n) == 1 && n == 1 && f->sym && f->power == 1;
	return symbol ? f->sym : NULL;
}

Counted *counted_of(Arena *a, const Graph *g)
{
	Counted *c = NULL;
	for (int i = 0; i < g->vals.len; i++) {
		Value *v = g->vals.at[i];
		if (!is_counting(v))
			continue;
		if (!c) {
			c = NEW(a, Counted);
			c->at = vmap_new(a);
		}
		vmap_put(c->at, counted_sym(v), c->by.len);
		vec_push(a, &c->by, v);
	}
	return c;
}

Value *counted_by(const Counted *c, const char *sym)
{
	int at = c ? vmap_get(c->at, sym) : -1;
	return at < 0 ? NULL : c->by.at[at];
}

void counted_in_dim(const Counted *c, const Dim *d, CountedUse *use, void *ctx)
{
	for (int i = 0; c && d && i < dim_terms(d); i++) {
		const DimFactor *f;
		int n;
		dim_term(d, i, &f, &n);
		for (int k = 0; k < n; k++) {
			Value *by = f[k].sym ? counted_by(c, f[k].sym) : NULL;
			if (by)
				use(ctx, by);
			if (!f[k].sym) {
				counted_in_dim(c, f[k].num, use, ctx);
				counted_in_dim(c, f[k].den, use, ctx);
			}
		}
	}
}

static void in_STR(const Counted *c, const char *const *x, CountedUse *use, void *ctx) {}
static void in_F64(const Counted *c, const double *x, CountedUse *use, void *ctx) {}
static void in_INT(const Counted *c, const int *x, CountedUse *use, void *ctx) {}
static void in_MASK(const Counted *c, const uint32_t *x, CountedUse *use, void *ctx) {}
static void in_QUANT(const Counted *c, const Quant *x, CountedUse *use, void *ctx) {}
static void in_PERM(const Counted *c, const int8_t (*x)[MAX_RANK], CountedUse *use, void *ctx) {}
static void in_DIM(const Counted *c, const Dim *const *x, CountedUse *use, void *ctx) { counted_in_dim(c, *x, use, ctx); }

void counted_uses(const Counted *c, const Value *v, CountedUse *use, void *ctx)
{
	if (!c || is_counting(v))
		return;
	for (int i = 0; i < v->type.rank; i++)
		counted_in_dim(c, v->type.dim[i], use, ctx);
#define X(field, kind) \
	if (op_info[v->op].attrs & A_##field) \
		in_##kind(c, &v->a.field, use, ctx);
	ATTRS(X)
#undef X
}
