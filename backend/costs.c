/* costs.c: arithmetic and traffic of values and kernels as extents, so that a program can say at run time what its calls took.
 * The arithmetic is what ir/cost.c counts; the traffic is what a kernel that works from memory can't avoid: each operand
 * and each output once, of a table the rows that are picked. A function's costs are a table: few products of its symbols, and for each
 * cost the numbers that these are multiplied by (sn_costs in runtime/session.c reads it). */
#include "backend/gen.h"

static const Dim *flash_flops(const Value *v)
{
	Type q = v->in[0]->type;
	const Dim *K = q.dim[3], *W = v->in[2]->type.dim[3], *both = dim_add(K, W);
	const Dim *n = v->op == OP_FLASH_LSE ? dim_const(0) : v->op == OP_FLASH || v->a.wrt == 0 ? both : v->a.wrt == 1 ? K : W;
	n = dim_mul(dim_mul(n, dim_const(2)), v->in[1]->type.dim[1]);
	return dim_mul(dim_mul(n, q.dim[0]), dim_mul(q.dim[1], q.dim[2]));
}

const Dim *value_flops(const Value *v)
{
	const Dim *n = type_elems(v->type);
	Spec spec;

	if (op_info[v->op].lower == LOWER_REDUCE)
		return type_elems(v->in[0]->type);
	if (op_info[v->op].lower == LOWER_SCATTER)
		return type_elems(v->in[2]->type);
	if (op_info[v->op].flags & OPF_ELEMENTWISE && v->op != OP_COPY)
		return n;
	if (op_info[v->op].lower == LOWER_FLASH)
		return flash_flops(v);
	if (v->op != OP_CONTRACT || spec_parse(v->a.spec, &spec))
		return dim_const(0);
	for (int i = 0; i < spec.n[0]; i++)
		if (!strchr(spec.at[2], spec.at[0][i]))
			n = dim_mul(n, v->in[0]->type.dim[i]);
	return dim_mul(n, dim_const(2));
}

const Dim *cluster_flops(const Cluster *c)
{
	const Dim *n = dim_const(0);

	for (int i = 0; i < c->vals.len; i++)
		n = dim_add(n, value_flops(c->vals.at[i]));
	return n;
}

static const Dim *bytes_of(const Value *v)
{
	if (in_panels(v) && v->a.format)
		return dim_div(dim_mul(type_elems(v->type), dim_const(2 + QUANT_BLOCK * quant_bits[v->a.format] / 8)), dim_const(QUANT_BLOCK));
	return dim_mul(type_elems(v->type), dim_const(dtype_size[v->type.dt]));
}

/* The members that read v only pick rows of it, or add to some: what they move of it; NULL if one reads all of it. */
static const Dim *picked(const Cluster *c, const Value *v)
{
	const Dim *n = dim_const(0);

	for (int i = 0; i < c->vals.len; i++) {
		const Value *u = c->vals.at[i];
		for (int k = 0; k < u->nin; k++) {
			if (u->in[k] != v)
				continue;
			if (k || (u->op != OP_GATHER && u->op != OP_SCATTER_ADD))
				return NULL;
			n = dim_add(n, bytes_of(u->op == OP_GATHER ? u : u->in[2]));
		}
	}
	return n;
}

const Dim *cluster_bytes(const Cluster *c)
{
	const Dim *n = dim_const(0), *part;

	for (int i = 0; i < c->ins.len; i++) {
		part = picked(c, c->ins.at[i]);
		n = dim_add(n, part ? part : bytes_of(c->ins.at[i]));
	}
	for (int i = 0; i < c->outs.len; i++)
		n = dim_add(n, bytes_of(c->kind == K_SCATTER ? c->anchor->in[2] : c->outs.at[i]));
	return n;
}

/* The table */

static int product_index(CostTable *t, CostProduct product)
{
	for (int i = 0; i < t->products.len; i++)
		if (t->products.at[i].f == product.f)
			return i;
	if (t->products.len == 1 << 15)
		bug("too many products of extents");
	vec_push(t->arena, &t->products, product);
	return t->products.len - 1;
}

/* A term: the number from bit 16 on, below it which product, in bit 0 whether it is the last. What has no room is as good as the largest. */
static void add_terms(CostTable *t, const Dim *d)
{
	const int64_t most = INT64_MAX >> 16;
	int n = dim_terms(d);

	if (!n)
		vec_push(t->arena, &t->terms, product_index(t, (CostProduct){ NULL, 0 }) << 1 | 1);
	for (int i = 0; i < n; i++) {
		CostProduct product;
		int64_t coef = dim_term(d, i, &product.f, &product.n);
		coef = MAX(-most, MIN(most, coef));
		vec_push(t->arena, &t->terms, coef * 65536 + product_index(t, product) * 2 + (i == n - 1));
	}
}

int cost_index(CostTable *t, const Dim *flops, const Dim *bytes)
{
	for (int i = 0; i < t->costs.len; i++)
		if (t->costs.at[i].flops == flops && t->costs.at[i].bytes == bytes)
			return i;
	vec_push(t->arena, &t->costs, ((LaunchCost){ flops, bytes }));
	add_terms(t, flops);
	add_terms(t, bytes);
	return t->costs.len - 1;
}
