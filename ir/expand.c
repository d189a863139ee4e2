/* expand.c: what the tier-two ops mean, in primitives. This is their definition: gradients and the reference
 * evaluator come from here, kernels for them must agree with it.
 *
 * Masked scores are MASKED, finite, so that no kernel ever meets inf - inf. A row with no key left gives zeros:
 * its maximum counts as no less than MASKED_MAX, so that every e^(score - max) is 0, and the sum as no less
 * than 1/2, which no other row's is (it contains e^0). */
#include "ir/ir.h"

static const double MASKED = -1e30, MASKED_MAX = -1e20;

static Value *f32(Builder *b, double x) { return b_const(b, DT_F32, x); }

static Value *softmax(Builder *b, Value *x, int axis, bool may_be_empty)
{
	Value *top = b_reduce(b, OP_RMAX, x, 1u << axis);
	if (may_be_empty)
		top = b_binary(b, OP_MAX, top, f32(b, MASKED_MAX));
	Value *e = b_unary(b, OP_EXP, b_binary(b, OP_SUB, x, b_unary(b, OP_STOP, top)));
	Value *sum = b_reduce(b, OP_SUM, e, 1u << axis);
	if (may_be_empty)
		sum = b_binary(b, OP_MAX, sum, f32(b, 0.5));
	return b_binary(b, OP_DIV, e, sum);
}

static Value *expand_softmax(Builder *b, Value *v) { return softmax(b, v->in[0], v->a.axis, false); }

/* s <= t + (S - T), as bool[T,S] */
static Value *causal_mask(Builder *b, const Dim *T, const Dim *S)
{
	const Dim *one = dim_const(1);
	Value *t = b_iota(b, 0, type_make(DT_I32, 2, (const Dim *[]){T, one}));
	Value *s = b_iota(b, 1, type_make(DT_I32, 2, (const Dim *[]){one, S}));
	if (S != T)
		t = b_binary(b, OP_ADD, t, b_dim(b, dim_sub(S, T)));
	return b_binary(b, OP_LE, s, t);
}

/* bool[B,S] where the scores have `rank` axes, B first and S last */
static Value *key_mask(Builder *b, Value *keys, int rank)
{
	Type t = {.dt = DT_BOOL, .rank = rank};
	for (int i = 1; i < rank - 1; i++)
		t.dim[i] = dim_const(1);
	t.dim[0] = keys->type.dim[0];
	t.dim[rank - 1] = keys->type.dim[1];
	return b_reshape(b, keys, t);
}

/* A bias with its head axis, if it has one, split into groups: [..,H,T,S] to [..,G,R,T,S]. */
static Value *split_bias(Builder *b, Value *bias, const Dim *G, const Dim *R)
{
	Type from = bias->type, to = from;
	if (from.rank < 3)
		return bias;
	int h = from.rank - 3;
	bool one = dim_is(from.dim[h], 1);
	to.rank = from.rank + 1;
	to.dim[h] = one ? from.dim[h] : G;
	to.dim[h + 1] = one ? from.dim[h] : R;
	for (int i = h + 1; i < from.rank; i++)
		to.dim[i + 1] = from.dim[i];
	return b_reshape(b, bias, to);
}

static Value *apply_dropout(Builder *b, Value *p, Value *seed, const Attrs *a)
{
	Value *kept = b_binary(b, OP_LE, f32(b, a->dropout), b_random(b, seed, a->stream, p->type));
	Value *scaled = b_binary(b, OP_MUL, p, f32(b, 1 / (1 - a->dropout)));
	return b_select(b, kept, scaled, f32(b, 0));
}

/* Probabilities from scores [B,H,T,S], or [B,G,R,T,S] for grouped heads: query head g*R + r reads key head g. */
static Value *attend(Builder *b, Value *v, Value *x, const Dim *T, const Dim *S, const Dim *G, const Dim *R)
{
	const Attrs *a = &v->a;
	int next = 3, rank = x->type.rank;
	Value *keys = a->keys ? v->in[next++] : NULL, *bias = a->bias ? v->in[next++] : NULL, *mask = NULL;
	x = b_binary(b, OP_MUL, x, f32(b, a->scale));
	if (bias)
		x = b_binary(b, OP_ADD, x, rank == 5 ? split_bias(b, bias, G, R) : bias);
	if (a->causal)
		mask = causal_mask(b, T, S);
	if (keys) {
		Value *m = key_mask(b, keys, rank);
		mask = mask ? b_binary(b, OP_AND, mask, m) : m;
	}
	if (mask)
		x = b_select(b, mask, x, f32(b, MASKED));
	x = softmax(b, x, rank - 1, keys || (a->causal && S != T));
	return a->dropout > 0 ? apply_dropout(b, x, v->in[next], a) : x;
}

static Value *expand_attention(Builder *b, Value *v)
{
	Value *q = v->in[0], *k = v->in[1];
	Type t = q->type;
	const Dim *H = t.dim[2], *G = k->type.dim[2], *S = k->type.dim[1];
	if (H == G) {
		Value *x = b_contract(b, q, k, "bthk,bshk->bhts");
		return b_contract(b, attend(b, v, x, t.dim[1], S, NULL, NULL), v->in[2], "bhts,bshk->bthk");
	}
	const Dim *R = dim_div_exact(H, G);
	Type split = {.dt = DT_F32, .rank = 5, .dim = {t.dim[0], t.dim[1], G, R, t.dim[3]}};
	Value *x = b_contract(b, b_reshape(b, q, split), k, "btgrk,bsgk->bgrts");
	x = attend(b, v, x, t.dim[1], S, G, R);
	return b_reshape(b, b_contract(b, x, v->in[2], "bgrts,bsgk->btgrk"), t);
}

static Value *(*const rules[OP_COUNT])(Builder *, Value *) = {
	[OP_SOFTMAX] = expand_softmax,
	[OP_ATTENTION] = expand_attention,
};

Value *expand_op(Builder *b, Value *v)
{
	if (!rules[v->op])
		bug("%s has no expansion", op_info[v->op].text);
	Builder saved = *b;
	*b = (Builder){.g = saved.g, .loc = v->loc, .path = v->path, .grad = v->grad};
	Value *out = rules[v->op](b, v);
	*b = saved;
	return out;
}
