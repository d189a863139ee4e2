/* chunk_region.c: what can be computed a chunk of rows at a time (chunk.c), found from a contraction whose result is too large to
 * be kept whole.
 *
 * From the seed on, values of its shape and what their rows come to ([rows.., 1]) are inside, and so are contractions that
 * leave the rows (the gradient of the seed's operand); sums over rows are added up (the gradient of the weights). A region
 * is one only if nothing else reads a value of the seed's shape, nothing inside depends on what all rows make together, and
 * some reduction along V is inside: else it is a layer like others, whose result the backward part wants. */
#include "passes/chunk.h"

bool chunk_is_wide(const Region *r, const Value *v)
{
	return type_same_dims(&v->type, &r->wide);
}

/* [rows.., 1] */
static bool is_narrow(const Region *r, const Value *v)
{
	Type t = r->wide;
	t.dim[r->nr] = dim_const(1);
	return type_same_dims(&v->type, &t);
}

/* Inside, and of the seed's size. */
static bool is_large(const Region *r, const Value *v)
{
	return r->part[v->id] == INSIDE && !r->whole[v->id] && !is_narrow(r, v);
}

/* The extent of row axis i as o is broadcast to [rows.., V]; 1 where it has no such axis. */
static const Dim *row_extent(const Region *r, const Value *o, int i)
{
	int at = i - (r->nr + 1 - o->type.rank);
	return at < 0 ? dim_const(1) : o->type.dim[at];
}

bool chunk_varies(const Region *r, const Value *o)
{
	for (int i = 0; i < r->nr; i++)
		if (!dim_is(row_extent(r, o, i), 1))
			return true;
	return false;
}

/* Contractions */

static int run_of(const char *letters, int n, const char *want, int nwant)
{
	int at = -1;
	for (int i = 0; i < n; i++) {
		const char *is = memchr(want, letters[i], (size_t)nwant);
		if (is && at < 0)
			at = i;
		if (is && is - want != i - at)
			return -2;
	}
	return at < 0 || (at + nwant <= n && letters[at + nwant - 1] == want[nwant - 1]) ? at : -2;
}

int chunk_letters(const Region *r, const Value *v, const Spec *s, int t)
{
	for (int from = 0; from < 3; from++) {
		const Value *x = from < 2 ? v->in[from] : v;
		if (from == 2 || r->part[x->id] == INSIDE)
			return run_of(s->at[t], s->n[t], &s->at[from][r->first[x->id]], r->nr);
	}
	return -1;
}

/* A contraction of values outside that makes [rows.., V]: rows of one operand with all of the other. */
static bool makes_wide(const Region *r, const Value *v)
{
	Spec s;
	if (v->op != OP_CONTRACT || !chunk_is_wide(r, v) || spec_parse(v->a.spec, &s))
		return false;
	int run[2] = { run_of(s.at[0], s.n[0], s.at[2], r->nr), run_of(s.at[1], s.n[1], s.at[2], r->nr) };
	char V = s.at[2][r->nr];
	bool in[2] = { strchr(s.at[0], V) != NULL, strchr(s.at[1], V) != NULL };
	return (run[0] >= 0 && run[1] == -1 && !in[0]) || (run[1] >= 0 && run[0] == -1 && !in[1]);
}

/* One that reads something inside. */
static Part part_of_contract(Region *r, const Value *v)
{
	Spec s;
	if (spec_parse(v->a.spec, &s))
		return AFTER;
	for (int i = 0; i < 2; i++)
		if (r->part[v->in[i]->id] == INSIDE && !is_large(r, v->in[i]))
			return AFTER;
	int side = r->part[v->in[0]->id] == INSIDE ? 0 : 1;
	int other = chunk_letters(r, v, &s, !side), result = chunk_letters(r, v, &s, 2);
	const Value *o = v->in[!side];
	bool both = r->part[o->id] == INSIDE;
	if (result >= 0 && other == -1 && !both) {
		r->first[v->id] = result;
		r->whole[v->id] = true;
		return INSIDE;
	}
	bool summed = result == -1 && other >= 0 && (!both || other == r->first[o->id]);
	return summed ? SUMMED : AFTER;
}

/* Elementwise ops, reductions, views */

/* Can an elementwise op or a reduction inside have the rows of a chunk of this operand, without its being in memory as a whole
 * where it is of the seed's shape? */
static bool takes(const Region *r, const Value *o)
{
	if (r->part[o->id] == INSIDE)
		return !r->whole[o->id] && r->first[o->id] == 0;
	if (o->type.rank > r->nr + 1)
		return false;
	return !chunk_varies(r, o) || dim_is(o->type.dim[o->type.rank - 1], 1) || chunk_again(r, o);
}

/* Outside: is it of the seed's shape, and can it be made chunk by chunk? */
static bool made_again(const Region *r, const Value *v)
{
	if (!chunk_is_wide(r, v))
		return false;
	if (v->op == OP_CONST || (v->op == OP_IOTA && v->a.axis == r->nr) || makes_wide(r, v))
		return true;
	bool again = op_info[v->op].flags & OPF_ELEMENTWISE || v->op == OP_EXPAND;
	for (int i = 0; again && i < v->nin; i++)
		again = takes(r, v->in[i]);
	return again;
}

bool chunk_again(const Region *r, const Value *v)
{
	Again *known = &r->again[v->id];
	if (*known == UNKNOWN)
		*known = made_again(r, v) ? AGAIN : NOT_AGAIN;
	return *known == AGAIN;
}

static Part part_of_elementwise(const Region *r, const Value *v)
{
	bool inside = chunk_is_wide(r, v) || is_narrow(r, v);
	for (int i = 0; inside && i < v->nin; i++)
		inside = takes(r, v->in[i]);
	return inside ? INSIDE : AFTER;
}

/* The axes of rows; one of extent 1 need not be reduced for a sum over all rows. */
static uint32_t row_axes(const Region *r)
{
	uint32_t rows = 0;
	for (int i = 0; i < r->nr; i++)
		rows |= dim_is(r->wide.dim[i], 1) ? 0 : 1u << i;
	return rows;
}

static Part part_of_reduce(const Region *r, const Value *v)
{
	const Value *x = v->in[0];
	uint32_t rows = row_axes(r);
	if (!takes(r, x) || !chunk_is_wide(r, x))
		return AFTER;
	if (v->a.axes == 1u << r->nr)
		return INSIDE;
	return v->op == OP_SUM && (v->a.axes & rows) == rows ? SUMMED : AFTER;
}

static Part part_of_transpose(Region *r, const Value *v)
{
	const Value *x = v->in[0];
	int at = 0;
	if (r->whole[x->id])
		return AFTER;
	while (v->a.perm[at] != r->first[x->id])
		at++;
	for (int i = 0; i < r->nr; i++)
		if (at + i >= v->type.rank || v->a.perm[at + i] != r->first[x->id] + i)
			return AFTER;
	r->first[v->id] = at;
	return INSIDE;
}

/* The part of a value that depends on the region. */
static Part part_of(Region *r, const Value *v)
{
	for (int i = 0; i < v->nin; i++)
		if (r->part[v->in[i]->id] > INSIDE)
			return AFTER;
	if (op_info[v->op].flags & OPF_ELEMENTWISE)
		return part_of_elementwise(r, v);
	switch (v->op) {
	case OP_SUM: case OP_RMAX: return part_of_reduce(r, v);
	case OP_TRANSPOSE: return part_of_transpose(r, v);
	case OP_CONTRACT: return part_of_contract(r, v);
	default: return AFTER;
	}
}

static bool depends(const Region *r, const Value *v)
{
	for (int i = 0; i < v->nin; i++)
		if (r->part[v->in[i]->id] != OUTSIDE)
			return true;
	return false;
}

/* Reads something of the seed's size that is inside. */
static bool reads_large(const Region *r, const Value *v)
{
	for (int i = 0; i < v->nin; i++)
		if (is_large(r, v->in[i]))
			return true;
	return false;
}

/* Most contractions are none's seed and end within a few values, before what has the graph's size is walked or allocated twice. */
bool chunk_region(Graph *g, const Value *seed, Region *r)
{
	int n = g->vals.len;
	bool reduces = false;
	*r = (Region){ .g = g, .seed = seed, .wide = seed->type, .nr = seed->type.rank - 1, .rows = dim_const(1) };
	if (!makes_wide(r, seed))
		return false;
	for (int i = 0; i < r->nr; i++)
		r->rows = dim_mul(r->rows, seed->type.dim[i]);
	r->part = NEW_ARRAY(g->arena, Part, n);
	r->first = NEW_ARRAY(g->arena, int, n);
	r->whole = NEW_ARRAY(g->arena, bool, n);
	r->again = NEW_ARRAY(g->arena, Again, n);
	r->part[seed->id] = INSIDE;
	for (int i = seed->id + 1; i < n; i++) {
		const Value *v = g->vals.at[i];
		if (!depends(r, v))
			continue;
		r->part[i] = part_of(r, v);
		if (r->part[i] == AFTER && reads_large(r, v))
			return false;
		reduces |= r->part[i] == INSIDE && op_info[v->op].flags & OPF_REDUCE;
	}
	return reduces;
}
