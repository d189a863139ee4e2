/* cost.c: arithmetic and memory traffic of single ops, as if each read its operands from memory and wrote its
 * result there. One transcendental counts as one operation; a multiply-add as two. */
#include "ir/ir.h"

#include <math.h>

typedef struct Sizes { DimLookup *look; void *ctx; } Sizes;

static double count(const Sizes *s, const Dim *d)
{
	int64_t n;
	return dim_eval(d, s->look, s->ctx, &n) ? (double)n : 0;
}

static double elems(const Sizes *s, Type t) { return count(s, type_elems(t)); }

static double bytes(const Sizes *s, Type t) { return elems(s, t) * dtype_size[t.dt]; }

static double traffic(const Sizes *s, const Value *v)
{
	double sum = bytes(s, v->type);
	for (int i = 0; i < v->nin; i++)
		sum += bytes(s, v->in[i]->type);
	return sum;
}

static Cost cost_none(const Sizes *s, const Value *v) { return (Cost){0, 0}; }

static Cost cost_elem(const Sizes *s, const Value *v)
{
	bool computes = op_info[v->op].flags & OPF_ELEMENTWISE && v->op != OP_COPY;
	return (Cost){computes ? elems(s, v->type) : 0, traffic(s, v)};
}

static Cost cost_reduce(const Sizes *s, const Value *v)
{
	return (Cost){elems(s, v->in[0]->type), traffic(s, v)};
}

/* Twice the product of all letters: the result's elements times the summed extents. */
static Cost cost_contract(const Sizes *s, const Value *v)
{
	Spec spec;
	double n = elems(s, v->type);
	if (spec_parse(v->a.spec, &spec))
		return (Cost){0, 0};
	for (int i = 0; i < spec.n[0]; i++)
		if (!strchr(spec.at[2], spec.at[0][i]))
			n *= count(s, v->in[0]->type.dim[i]);
	return (Cost){2 * n, traffic(s, v)};
}

static Cost cost_move(const Sizes *s, const Value *v) { return (Cost){0, traffic(s, v)}; }

/* Only the rows named by the ids are touched: read and written. */
static Cost cost_gather(const Sizes *s, const Value *v)
{
	return (Cost){0, bytes(s, v->in[1]->type) + 2 * bytes(s, v->type)};
}

static Cost cost_scatter(const Sizes *s, const Value *v)
{
	Type rows = v->in[2]->type;
	return (Cost){elems(s, rows), bytes(s, v->in[1]->type) + 3 * bytes(s, rows)};
}

/* Fused ops: the sum of their expansion's arithmetic; traffic as if nothing in between went to memory. */
static Cost cost_expanded(const Sizes *s, const Value *v)
{
	Arena *scratch = arena_new();
	Builder b = {.g = graph_new(scratch, "cost")};
	expand_op(&b, (Value *)v);
	Cost c = graph_cost(b.g, s->look, s->ctx);
	c.bytes = traffic(s, v);
	arena_free(scratch);
	return c;
}

/* As contractions of the expansion: scores and result; gradients without the scores' second computation. */
static Cost cost_flash(const Sizes *s, const Value *v)
{
	Type q = v->in[0]->type;
	double scores = elems(s, q) / fmax(1, count(s, q.dim[3])) * count(s, v->in[1]->type.dim[1]);
	double k = 2 * scores * count(s, q.dim[3]), w = 2 * scores * count(s, v->in[2]->type.dim[3]);
	double flops = v->op == OP_FLASH_LSE ? 0 : v->op == OP_FLASH || v->a.wrt == 0 ? k + w : v->a.wrt == 1 ? k : w;
	return (Cost){flops, traffic(s, v)};
}

static Cost (*const rules[])(const Sizes *, const Value *) = {
	[LOWER_NONE] = cost_none,
	[LOWER_ELEM] = cost_elem,
	[LOWER_REDUCE] = cost_reduce,
	[LOWER_CONTRACT] = cost_contract,
	[LOWER_PACK] = cost_move,
	[LOWER_SCATTER] = cost_scatter,
	[LOWER_NONZERO] = cost_move,
	[LOWER_GATHER] = cost_gather,
	[LOWER_EXPAND] = cost_expanded,
	[LOWER_FLASH] = cost_flash,
};

Cost value_cost(const Value *v, DimLookup *look, void *ctx)
{
	return rules[op_info[v->op].lower](&(Sizes){look, ctx}, v);
}

Cost graph_cost(const Graph *g, DimLookup *look, void *ctx)
{
	Cost sum = {0, 0};
	for (int i = 0; i < g->vals.len; i++) {
		Cost c = value_cost(g->vals.at[i], look, ctx);
		sum.flops += c.flops;
		sum.bytes += c.bytes;
	}
	return sum;
}
