/* slices.c: simplify's rule for a value of which only one and the same slice is used: the slice is taken of its
 * operands instead, so that no more is computed than is read. What generation reads of the logits is the last
 * position's: so the last layer behind its attention, and the product with the vocabulary, run for one position
 * alone.
 *
 * simplify_note_slices() notes for each value, in Value.mark, the slice that all its users take. */
#include "passes/passes.h"

typedef struct Demand {
	bool mixed;        /* users want different things */
	Value *slice;      /* one of the users, which are equal */
	Value *pushed;     /* what stands for it */
} Demand;

static bool same_slice(const Value *a, const Value *b)
{
	return a->a.axis == b->a.axis && a->a.start == b->a.start && a->a.len == b->a.len;
}

void simplify_note_slices(Graph *g)
{
	Demand *all = NEW_ARRAY(g->arena, Demand, g->vals.len);
	for (int i = 0; i < g->vals.len; i++)
		g->vals.at[i]->mark = &all[i];
	for (int i = 0; i < g->vals.len; i++) {
		Value *v = g->vals.at[i];
		for (int k = 0; k < v->nin; k++) {
			Demand *d = v->in[k]->mark;
			d->mixed |= v->op != OP_SLICE || (d->slice && !same_slice(d->slice, v));
			d->slice = v;
		}
	}
}

/* The slice s of operand x, axes counted from the right as broadcasting does; x itself where it is stretched. */
static Value *right_slice(Builder *b, const Value *s, Value *x)
{
	int axis = s->a.axis - (s->type.rank - x->type.rank);
	if (axis < 0 || dim_is(x->type.dim[axis], 1))
		return x;
	return b_slice(b, x, axis, s->a.start, s->a.len);
}

static Value *through_elementwise(Builder *b, const Value *s, Value *x)
{
	Value *in[3];
	for (int i = 0; i < x->nin; i++)
		in[i] = right_slice(b, s, x->in[i]);
	return build(b, x->op, in, x->nin, &x->a, NULL);
}

/* Ops of one operand, `axis` of which is the axis sliced. */
static Value *through_unary(Builder *b, const Value *s, Value *x, int axis)
{
	Value *in = b_slice(b, x->in[0], axis, s->a.start, s->a.len);
	return build(b, x->op, &in, 1, &x->a, op_type_given(x->op) ? &s->type : NULL);
}

static Value *through_reduce(Builder *b, const Value *s, Value *x)
{
	return x->a.axes >> s->a.axis & 1 ? NULL : through_unary(b, s, x, s->a.axis);
}

static Value *through_other_axis(Builder *b, const Value *s, Value *x)
{
	return x->a.axis == s->a.axis ? NULL : through_unary(b, s, x, s->a.axis);
}

static Value *through_transpose(Builder *b, const Value *s, Value *x)
{
	return through_unary(b, s, x, x->a.perm[s->a.axis]);
}

/* The operand's axis with the same extent and as many elements before it. */
static Value *through_reshape(Builder *b, const Value *s, Value *x)
{
	Type from = x->in[0]->type;
	const Dim *before = dim_const(1), *outer = dim_const(1);
	for (int i = 0; i < s->a.axis; i++)
		before = dim_mul(before, x->type.dim[i]);
	for (int i = 0; i < from.rank; i++) {
		if (outer == before && from.dim[i] == x->type.dim[s->a.axis])
			return through_unary(b, s, x, i);
		outer = dim_mul(outer, from.dim[i]);
	}
	return NULL;
}

static Value *through_expand(Builder *b, const Value *s, Value *x)
{
	return b_expand(b, right_slice(b, s, x->in[0]), s->type);
}

static Value *through_concat(Builder *b, const Value *s, Value *x)
{
	if (x->a.axis == s->a.axis)
		return NULL;
	Value **in = NEW_ARRAY(b->g->arena, Value *, x->nin);
	for (int i = 0; i < x->nin; i++)
		in[i] = b_slice(b, x->in[i], s->a.axis, s->a.start, s->a.len);
	return b_concat(b, in, x->nin, x->a.axis);
}

static Value *through_contract(Builder *b, const Value *s, Value *x)
{
	Spec spec;
	Value *in[2];
	if (spec_parse(x->a.spec, &spec))
		return NULL;
	for (int side = 0; side < 2; side++) {
		const char *at = strchr(spec.at[side], spec.at[2][s->a.axis]);
		in[side] = at ? b_slice(b, x->in[side], (int)(at - spec.at[side]), s->a.start, s->a.len) : x->in[side];
	}
	return b_contract(b, in[0], in[1], x->a.spec);
}

static Value *through_gather(Builder *b, const Value *s, Value *x)
{
	if (s->a.axis >= x->in[1]->type.rank)
		return NULL;
	return b_gather(b, x->in[0], b_slice(b, x->in[1], s->a.axis, s->a.start, s->a.len));
}

/* A mask or bias, which broadcasts to [B,H,T,S], for the queries that are left. */
static Value *slice_scores(Builder *b, const Value *s, Value *x)
{
	int axis = x->type.rank - 2;
	return axis < 0 || dim_is(x->type.dim[axis], 1) ? x : b_slice(b, x, axis, s->a.start, s->a.len);
}

/* Queries are independent of each other; under a mask by position their end must stay the keys' end. */
static Value *through_attention(Builder *b, const Value *s, Value *x)
{
	bool at_end = dim_add(s->a.start, s->a.len) == x->type.dim[1];
	if (s->a.axis != 1 || x->a.dropout > 0 || ((x->a.causal || x->a.window) && !at_end))
		return NULL;
	Value **in = NEW_ARRAY(b->g->arena, Value *, x->nin);
	int extras = 3 + !!x->a.keys;
	for (int i = 0; i < x->nin; i++)
		in[i] = i >= extras ? slice_scores(b, s, x->in[i]) : i ? x->in[i] : b_slice(b, x->in[0], 1, s->a.start, s->a.len);
	return build(b, OP_ATTENTION, in, x->nin, &x->a, NULL);
}

typedef Value *Push(Builder *, const Value *slice, Value *x);
static Push *const pushes[OP_COUNT] = {
	[OP_SUM] = through_reduce, [OP_RMAX] = through_reduce, [OP_SOFTMAX] = through_other_axis,
	[OP_PAD] = through_other_axis, [OP_TRANSPOSE] = through_transpose, [OP_RESHAPE] = through_reshape,
	[OP_EXPAND] = through_expand, [OP_CONCAT] = through_concat, [OP_CONTRACT] = through_contract,
	[OP_GATHER] = through_gather, [OP_ATTENTION] = through_attention,
};

Value *simplify_slice(Builder *b, Value *v)
{
	Value *x = v->in[0];
	Demand *d = x->mark;
	if (!d || d->mixed || x->kernel || x->dest || x->a.once)
		return NULL;
	if (!same_slice(d->slice, v))   /* of a value that x has just come to stand for: x was noted for another slice */
		return NULL;
	if (d->pushed)
		return d->pushed;
	Push *push = pushes[x->op];
	if (!push && op_info[x->op].flags & OPF_ELEMENTWISE && x->op != OP_COPY)
		push = through_elementwise;
	Builder at_x = { .g = b->g, .loc = x->loc, .path = x->path, .grad = x->grad };
	return d->pushed = push ? push(&at_x, v, x) : NULL;
}
