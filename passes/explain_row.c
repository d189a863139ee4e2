/* explain_row.c: one position of scores [B,T,V], at `position` i32[B], without the others': of a language model's logits T - 1 rows of T are nobody's
 * concern where a token is explained.
 *
 * From the scores backward a value whose row b is made of row b of its operands is made at the position alone, [B,1,..]: so far as nothing else
 * wants the whole of it. Behind that, what is whole anyway (attention, the residual stream below the last layer) is gathered from. */
#include "passes/passes.h"

typedef struct Rows {
	Graph *g;
	Builder b;
	int n;                    /* values there were */
	Type like;                /* of the scores: [B,T,..] */
	bool *row, *whole;        /* by id: wanted at the position, everywhere */
	Value **at;               /* by id: at the position */
	Value *flat;              /* i32[B]: the position among all B*T */
	Value *position;
} Rows;

static bool has_rows(const Rows *r, const Value *v)
{
	return v->type.rank >= 2 && v->type.dim[0] == r->like.dim[0] && v->type.dim[1] == r->like.dim[1];
}

/* Operand o of an elementwise v has an axis for T, by broadcasting from the right. */
static bool varies(const Value *v, const Value *o)
{
	int axis = 1 - (v->type.rank - o->type.rank);
	return axis >= 0 && !dim_is(o->type.dim[axis], 1);
}

/* Which operand of a contraction has the rows, its first two axes as the result's; -1: it is not made row by row. */
static int side_of(const Value *v)
{
	Spec s;
	if (spec_parse(v->a.spec, &s))
		return -1;
	char row = s.at[2][1];
	int side = strchr(s.at[0], row) ? 0 : 1;
	return !strchr(s.at[!side], row) && s.at[side][0] == s.at[2][0] && s.at[side][1] == row ? side : -1;
}

static bool elementwise_by_row(const Rows *r, const Value *v)
{
	bool good = true;
	for (int i = 0; i < v->nin; i++)
		good &= !varies(v, v->in[i]) || (v->in[i]->type.rank == v->type.rank && has_rows(r, v->in[i]));
	return good;
}

/* Is row b of v made of row b of operands that have rows (mask: which)? */
static bool by_row(const Rows *r, const Value *v, uint32_t *mask)
{
	int side;
	*mask = 1;
	if (op_info[v->op].flags & OPF_ELEMENTWISE) {
		*mask = 0;
		for (int i = 0; i < v->nin; i++)
			*mask |= varies(v, v->in[i]) ? 1u << i : 0;
		return *mask && elementwise_by_row(r, v);
	}
	switch (v->op) {
	case OP_SUM: case OP_RMAX: return !(v->a.axes & 3) && has_rows(r, v->in[0]);
	case OP_SOFTMAX: case OP_SLICE: return v->a.axis > 1 && has_rows(r, v->in[0]);
	case OP_RESHAPE: return has_rows(r, v->in[0]);
	case OP_TRANSPOSE: return v->a.perm[0] == 0 && v->a.perm[1] == 1;
	case OP_CONTRACT:
		side = side_of(v);
		*mask = 1u << (side == 1);
		return side >= 0 && has_rows(r, v->in[side]);
	default: return false;
	}
}

/* What is wanted of each value, users before what they use. */
static void want(Rows *r)
{
	for (int i = r->n - 1; i >= 0; i--) {
		const Value *v = r->g->vals.at[i];
		uint32_t mask = 0;
		if (!r->row[i] && !r->whole[i])
			continue;
		bool alone = r->row[i] && !r->whole[i] && by_row(r, v, &mask);
		r->whole[i] = !alone;
		for (int k = 0; k < v->nin; k++)
			*(alone && mask >> k & 1 ? &r->row[v->in[k]->id] : &r->whole[v->in[k]->id]) = true;
	}
}

static Value *fetched(Rows *r, Value *v)
{
	Builder *b = &r->b;
	bool truth = v->type.dt == DT_BOOL;
	Type t = v->type, table = { .rank = 2, .dim = { dim_mul(t.dim[0], t.dim[1]), dim_const(1) } };
	for (int i = 2; i < t.rank; i++)
		table.dim[1] = dim_mul(table.dim[1], t.dim[i]);
	Value *x = truth ? b_convert(b, v, DT_F32) : v;
	table.dt = x->type.dt;
	t.dt = x->type.dt;
	t.dim[1] = dim_const(1);
	x = b_reshape(b, b_gather(b, b_reshape(b, x, table), r->flat), t);
	return truth ? b_binary(b, OP_LT, b_const(b, DT_F32, 0), x) : x;
}

static Value *alone(Rows *r, const Value *v, uint32_t mask)
{
	Value *in[3];
	Type t = v->type;
	t.dim[1] = dim_const(1);
	for (int k = 0; k < v->nin; k++)
		in[k] = mask >> k & 1 ? r->at[v->in[k]->id] : v->in[k];
	return build(&r->b, v->op, in, v->nin, &v->a, op_type_given(v->op) ? &t : NULL);
}

static void count_from_start(Rows *r)
{
	Builder *b = &r->b;
	const Dim *T = r->like.dim[1];
	int64_t n;
	Value *row = b_iota(b, 0, type_make(DT_I32, 1, &r->like.dim[0]));
	Value *extent = dim_is_const(T, &n) ? b_const(b, DT_I32, (double)n) : b_dim(b, T);
	r->flat = b_binary(b, OP_ADD, b_binary(b, OP_MUL, row, extent), r->position);
}

Value *explain_row(Graph *g, Value *x, Value *position)
{
	graph_number(g);
	Rows r = { .g = g, .b = { .g = g, .loc = x->loc, .path = x->path }, .n = g->vals.len, .like = x->type, .position = position };
	r.row = NEW_ARRAY(g->arena, bool, r.n);
	r.whole = NEW_ARRAY(g->arena, bool, r.n);
	r.at = NEW_ARRAY(g->arena, Value *, r.n);
	r.row[x->id] = true;
	want(&r);
	count_from_start(&r);
	for (int i = 0; i < r.n; i++) {
		Value *v = g->vals.at[i];
		uint32_t mask;
		if (!r.row[i])
			continue;
		r.b.loc = v->loc;
		r.b.path = v->path;
		r.at[i] = !r.whole[i] && by_row(&r, v, &mask) ? alone(&r, v, mask) : fetched(&r, v);
	}
	return r.at[x->id];
}
