/* expand.c: what the tier-two ops mean, in primitives. This is their definition: gradients and the reference
 * evaluator come from here, kernels for them must agree with it.
 *
 * Masked scores are MASKED, finite, so that no kernel ever meets inf - inf. A row with no key left gives zeros:
 * its maximum counts as no less than MASKED_MAX, so that every e^(score - max) is 0, and the sum as no less
 * than 1/2, which no other row's is (it contains e^0). */
#include "ir/ir.h"

static const double MASKED = -1e30, MASKED_MAX = -1e20;

/* A window as wide as any axis: wider ones are no different, and positions less it stay in i32. */
enum { WIDEST = 1 << 30 };

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

static Value *both(Builder *b, Value *mask, Value *m)
{
	return mask && m ? b_binary(b, OP_AND, mask, m) : mask ? mask : m;
}

/* Of query t, which is at position p = t + (S - T), and key s: s <= p where causal, p < s + window where there is a
 * window; as bool[T,S]. NULL: neither. */
static Value *position_mask(Builder *b, const Attrs *a, const Dim *T, const Dim *S)
{
	if (!a->causal && !a->window)
		return NULL;
	const Dim *one = dim_const(1);
	Value *p = b_iota(b, 0, type_make(DT_I32, 2, (const Dim *[]){T, one})), *near = NULL;
	Value *s = b_iota(b, 1, type_make(DT_I32, 2, (const Dim *[]){one, S}));
	if (S != T)
		p = b_binary(b, OP_ADD, p, b_dim(b, dim_sub(S, T)));
	Value *past = a->causal ? b_binary(b, OP_LE, s, p) : NULL;
	if (a->window)
		near = b_binary(b, OP_LT, b_binary(b, OP_SUB, p, b_const(b, DT_I32, MIN(a->window, WIDEST))), s);
	return both(b, past, near);
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

/* A bias or mask with its head axis, if it has one, split into groups: [..,H,T,S] to [..,G,R,T,S]. */
static Value *split_heads(Builder *b, Value *bias, const Dim *G, const Dim *R)
{
	Type from = bias->type, to = from;
	if (from.rank < 3 || !G)
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

/* How an attention's heads are split: query head g*R + r reads key head g. G NULL: one each, and no axis for r. */
typedef struct Heads { const Dim *T, *S, *G, *R; } Heads;

/* Scores [B,H,T,S], or [B,G,R,T,S] for grouped heads, as softmax takes them. */
typedef struct Scores {
	Value *x, *tanh;           /* tanh: of the scaled scores over the cap; NULL without one */
	bool may_be_empty;         /* a query may see no key */
} Scores;

static Scores scores(Builder *b, Value *v, Value *x, Heads h)
{
	const Attrs *a = &v->a;
	FlashExtras in = flash_extras(v);
	Scores s = {0};
	Value *mask = position_mask(b, a, h.T, h.S);
	x = b_binary(b, OP_MUL, x, f32(b, a->scale));
	if (a->softcap > 0) {
		s.tanh = b_unary(b, OP_TANH, b_binary(b, OP_MUL, x, f32(b, 1 / a->softcap)));
		x = b_binary(b, OP_MUL, s.tanh, f32(b, a->softcap));
	}
	if (in.bias)
		x = b_binary(b, OP_ADD, x, split_heads(b, in.bias, h.G, h.R));
	s.may_be_empty = in.keys || in.mask || (mask && h.S != h.T);
	if (in.keys)
		mask = both(b, mask, key_mask(b, in.keys, x->type.rank));
	if (in.mask)
		mask = both(b, mask, split_heads(b, in.mask, h.G, h.R));
	s.x = mask ? b_select(b, mask, x, f32(b, MASKED)) : x;
	return s;
}

static Value *dropped(Builder *b, Value *v, Value *x)
{
	return v->a.dropout > 0 ? apply_dropout(b, x, flash_extras(v).seed, &v->a) : x;
}

static Value *attend(Builder *b, Value *v, Value *x, Heads h)
{
	Scores s = scores(b, v, x, h);
	return dropped(b, v, softmax(b, s.x, x->type.rank - 1, s.may_be_empty));
}

/* Keys (operand 1) or values (2) as a cache keeps them */
static Value *widened(Builder *b, const Value *v, int operand)
{
	Value *x = v->in[operand];
	if (x->type.dt == DT_I8)
		return build(b, OP_DEQUANT, (Value *[]){x, v->in[v->nin - 3 + operand]}, 2, NULL, NULL);
	return x->type.dt == DT_F32 ? x : b_unary(b, OP_TO_F32, x);
}

/* [B,H,T,S], or [B,G,R,T,S] where R query heads share a key head */
static Value *probabilities(Builder *b, Value *v)
{
	Value *q = v->in[0], *k = widened(b, v, 1);
	Type t = q->type;
	const Dim *H = t.dim[2], *G = k->type.dim[2], *S = k->type.dim[1];
	if (H == G)
		return attend(b, v, b_contract(b, q, k, "bthk,bshk->bhts"), (Heads){.T = t.dim[1], .S = S});
	const Dim *R = dim_div_exact(H, G);
	Type split = {.dt = DT_F32, .rank = 5, .dim = {t.dim[0], t.dim[1], G, R, t.dim[3]}};
	return attend(b, v, b_contract(b, b_reshape(b, q, split), k, "btgrk,bsgk->bgrts"), (Heads){t.dim[1], S, G, R});
}

static Value *expand_attention(Builder *b, Value *v)
{
	Value *p = probabilities(b, v), *x = widened(b, v, 2);
	return p->type.rank == 4 ? b_contract(b, p, x, "bhts,bshk->bthk") : b_reshape(b, b_contract(b, p, x, "bgrts,bsgk->btgrk"), v->type);
}

Value *attention_weights(Builder *b, Value *v)
{
	Type q = v->in[0]->type;
	return b_reshape(b, probabilities(b, v), type_make(DT_F32, 4, (const Dim *[]){q.dim[0], q.dim[2], q.dim[1], v->in[1]->type.dim[1]}));
}

static Heads heads_of(const Value *v)
{
	Type q = v->in[0]->type, k = v->in[1]->type;
	return (Heads){q.dim[1], k.dim[1], k.dim[2], dim_div_exact(q.dim[2], k.dim[2])};
}

/* [B,T,H,X] as [B,T,G,R,X] */
static Value *split(Builder *b, Value *x, Heads h)
{
	Type t = x->type;
	return b_reshape(b, x, (Type){.dt = t.dt, .rank = 5, .dim = {t.dim[0], t.dim[1], h.G, h.R, t.dim[3]}});
}

static Value *expand_dequant(Builder *b, Value *v)
{
	Type q = v->in[0]->type, s = v->in[1]->type;
	int last = q.rank - 1;
	const Dim *n = dim_div_exact(q.dim[last], s.dim[last]);
	q.dim[last] = s.dim[last];
	q.dim[last + 1] = n;
	q.rank++;
	s.dim[last + 1] = dim_const(1);
	s.rank++;
	Value *x = b_unary(b, OP_TO_F32, b_reshape(b, v->in[0], q)), *by = b_unary(b, OP_TO_F32, b_reshape(b, v->in[1], s));
	return b_reshape(b, b_binary(b, OP_MUL, x, by), v->type);
}

/* log sum e^x = max + log sum e^(x - max); with the bounds of softmax above where a query sees no key. */
static Value *expand_flash_lse(Builder *b, Value *v)
{
	Heads h = heads_of(v);
	Scores s = scores(b, v, b_contract(b, split(b, v->in[0], h), widened(b, v, 1), "btgrk,bsgk->bgrts"), h);
	Value *top = b_reduce(b, OP_RMAX, s.x, 1u << 4);
	if (s.may_be_empty)
		top = b_binary(b, OP_MAX, top, f32(b, MASKED_MAX));
	Value *sum = b_reduce(b, OP_SUM, b_unary(b, OP_EXP, b_binary(b, OP_SUB, s.x, top)), 1u << 4);
	if (s.may_be_empty)
		sum = b_binary(b, OP_MAX, sum, f32(b, 0.5));
	return b_reshape(b, b_binary(b, OP_ADD, top, b_unary(b, OP_LOG, sum)), v->type);
}

/* [B,T,H,1] as [B,G,R,T,1] */
static Value *by_rows(Builder *b, Value *x, Heads h)
{
	return b_transpose(b, split(b, x, h), (int8_t[]){0, 2, 3, 1, 4});
}

/* p = e^(s - lse); dv = p^T dy; ds = p (dy v^T - d), d = sum of dy y; dq = scale ds k, dk = scale ds^T q (Dao et al. 2022,
 * FlashAttention, appendix B.2), with p's dropout in front of both products and the cap's slope behind ds. */
static Value *expand_flash_grad(Builder *b, Value *v)
{
	Heads h = heads_of(v);
	Value *q = split(b, v->in[0], h), *k = v->in[1], **own = v->in + v->nin - 3, *dy = split(b, own[FLASH_DY], h), *dx;
	Scores s = scores(b, v, b_contract(b, q, k, "btgrk,bsgk->bgrts"), h);
	const Dim *const rows[] = {q->type.dim[0], h.G, h.R, h.T, dim_const(1)};
	Value *lse = b_reshape(b, own[FLASH_LSE], type_make(DT_F32, 5, rows));
	Value *p = b_unary(b, OP_EXP, b_binary(b, OP_SUB, s.x, lse));
	if (v->a.wrt == 2)
		return b_contract(b, dropped(b, v, p), dy, "bgrts,btgrk->bsgk");
	Value *dp = dropped(b, v, b_contract(b, dy, v->in[2], "btgrk,bsgk->bgrts"));
	Value *ds = b_binary(b, OP_MUL, p, b_binary(b, OP_SUB, dp, by_rows(b, own[FLASH_D], h)));
	if (s.tanh)
		ds = b_binary(b, OP_MUL, ds, b_binary(b, OP_SUB, f32(b, 1), b_binary(b, OP_MUL, s.tanh, s.tanh)));
	ds = b_binary(b, OP_MUL, ds, f32(b, v->a.scale));
	dx = v->a.wrt ? b_contract(b, ds, q, "bgrts,btgrk->bsgk") : b_contract(b, ds, k, "bgrts,bsgk->btgrk");
	return v->a.wrt ? dx : b_reshape(b, dx, v->type);
}

static Value *(*const rules[OP_COUNT])(Builder *, Value *) = {
	[OP_SOFTMAX] = expand_softmax,
	[OP_DEQUANT] = expand_dequant,
	[OP_ATTENTION] = expand_attention,
	[OP_FLASH] = expand_attention,
	[OP_FLASH_LSE] = expand_flash_lse,
	[OP_FLASH_GRAD] = expand_flash_grad,
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
