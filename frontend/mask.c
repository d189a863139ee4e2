/* mask.c: masks: trees of predicates over query and key. Attention takes what it has attributes for (causal, a window, keys)
 * from the conjunction at the top; the rest becomes a bool tensor of primitives over indices, which fuses with the scores
 * and is never in memory. Whether a mask implies `causal` is decided on the tree. */
#include "frontend/elab.h"

typedef enum MaskKind {
	MK_ALL, MK_CAUSAL,
	MK_WINDOW,       /* |p - s| < width */
	MK_KEYS,         /* t[b,s] */
	MK_PAIRS,        /* t broadcasts to [B,H,T,S]; of rank 3 it is [B,T,S] */
	MK_AND, MK_OR, MK_NOT,
	MK_UNKNOWN,      /* a block's own parameter in check mode */
} MaskKind;

struct Mask {
	MaskKind kind;
	const Mask *a, *b;
	Value *t;
	const Dim *width;
};

static Val mask_val(Elab *e, Mask m)
{
	Mask *p = NEW(e->arena, Mask);
	*p = m;
	return (Val){ .kind = V_MASK, .mask = p };
}

Val mask_named(Elab *e, const char *name)
{
	return mask_val(e, (Mask){ .kind = strcmp(name, "causal") == 0 ? MK_CAUSAL : MK_ALL });
}

Val mask_placeholder(Elab *e)
{
	return mask_val(e, (Mask){ .kind = MK_UNKNOWN });
}

Val mask_binary(Elab *e, BinOp op, Val a, Val b)
{
	bool and = op == B_MASK_AND;
	if (a.mask->kind == MK_ALL)   /* all & x is x, all | x is all */
		return and ? b : a;
	if (b.mask->kind == MK_ALL)
		return and ? a : b;
	return mask_val(e, (Mask){ .kind = and ? MK_AND : MK_OR, .a = a.mask, .b = b.mask });
}

Val mask_not(Elab *e, Val v)
{
	return mask_val(e, (Mask){ .kind = MK_NOT, .a = v.mask });
}

/* Functions that make masks */

static bool bool_tensor(Call *c, int lo, int hi, const char *want)
{
	Val v = c->arg[0];
	int rank = v.kind == V_TENSOR ? v.t->type.rank : 0;
	if (v.kind == V_TENSOR && v.t->type.dt == DT_BOOL && rank >= lo && rank <= hi)
		return true;
	err(c->e, arg_loc(c, 0), "E0443", "`%s` wants %s, got %s", c->fn, want, val_describe(c->e, v));
	return false;
}

/* keys(real): queries see the keys for which real[b,s] */
Val fn_keys(Call *c)
{
	if (!bool_tensor(c, 2, 2, "bool[B,S]"))
		return (Val){ .kind = V_POISON };
	return mask_val(c->e, (Mask){ .kind = MK_KEYS, .t = c->arg[0].t });
}

/* pairs(x): queries see the keys for which x[t,s], x[b,t,s] or x[b,h,t,s] */
Val fn_pairs(Call *c)
{
	if (!bool_tensor(c, 2, MASK_RANK, "bool[T,S], bool[B,T,S] or bool[B,H,T,S]"))
		return (Val){ .kind = V_POISON };
	return mask_val(c->e, (Mask){ .kind = MK_PAIRS, .t = c->arg[0].t });
}

/* window(w): queries see keys less than w positions away */
Val fn_window(Call *c)
{
	Val v = c->arg[0];
	int64_t n;
	if (v.kind != V_INT)
		return fail(c->e, arg_loc(c, 0), "E0443", "`window` wants a whole number, got %s", val_describe(c->e, v));
	if (dim_is_const(v.n, &n) && n < 1)
		return fail(c->e, arg_loc(c, 0), "E0450", "a window is at least 1 wide, got %lld", (long long)n);
	if (!compile_time(c->e, arg_loc(c, 0), v.n, "a window's width"))
		return (Val){ .kind = V_POISON };
	return mask_val(c->e, (Mask){ .kind = MK_WINDOW, .width = v.n });
}

/* Against attention's shapes */

static Type pairs_type(const Mask *m)
{
	Type t = m->t->type;
	if (t.rank != 3)
		return t;
	t = (Type){ DT_BOOL, MASK_RANK, { t.dim[0], dim_const(1), t.dim[1], t.dim[2] } };
	return t;
}

static bool tensor_fits(const Mask *m, const Dim *const *scores)
{
	Type t = m->t->type, all = type_make(DT_BOOL, MASK_RANK, scores), out;
	if (m->kind == MK_KEYS)
		return (t.dim[0] == scores[0] || dim_is(t.dim[0], 1)) && t.dim[1] == scores[3];
	return type_broadcast(all, pairs_type(m), &out) && type_eq(out, all);
}

bool mask_fits(Elab *e, Loc loc, const Mask *m, const Dim *const *scores)
{
	if ((m->a && !mask_fits(e, loc, m->a, scores)) || (m->b && !mask_fits(e, loc, m->b, scores)))
		return false;
	if (!m->t || tensor_fits(m, scores))
		return true;
	const Dim *keys[2] = { scores[0], scores[3] };
	bool k = m->kind == MK_KEYS;
	err(e, loc, "E0453", "`%s` of %s do not fit %s of %s", k ? "keys" : "pairs", show_type(e, m->t->type), k ? "keys" : "scores",
	    k ? internf("bool%s", show_dims(e, keys, 2)) : show_dims(e, scores, MASK_RANK));
	return false;
}

/* As tensors */

static Value *index_along(Builder *b, int axis, const Dim *extent)
{
	const Dim *dims[2] = { dim_const(1), dim_const(1) };
	dims[axis] = extent;
	return b_iota(b, axis, type_make(DT_I32, 2, dims));
}

/* p - s, i32[T,S] */
static Value *distance(Builder *b, const Dim *const *scores)
{
	Value *t = index_along(b, 0, scores[2]);
	if (scores[2] != scores[3])
		t = b_binary(b, OP_ADD, t, b_dim(b, dim_sub(scores[3], scores[2])));
	return b_binary(b, OP_SUB, t, index_along(b, 1, scores[3]));
}

static Value *i32(Builder *b, int64_t n)
{
	return b_const(b, DT_I32, (double)n);
}

static int64_t width_of(const Mask *m)
{
	int64_t n = 1;
	dim_is_const(m->width, &n);
	return MIN(n, 1 << 30);
}

static Value *window_tensor(Builder *b, const Mask *m, const Dim *const *scores)
{
	Value *d = distance(b, scores);
	Value *far = b_binary(b, OP_MAX, d, b_binary(b, OP_SUB, i32(b, 0), d));
	return b_binary(b, OP_LT, far, i32(b, width_of(m)));
}

static Value *keys_tensor(Builder *b, const Mask *m)
{
	Type t = m->t->type;
	return b_reshape(b, m->t, (Type){ DT_BOOL, MASK_RANK, { t.dim[0], dim_const(1), dim_const(1), t.dim[1] } });
}

/* bool, broadcasting to the scores */
static Value *tensor_of(Builder *b, const Mask *m, const Dim *const *scores)
{
	switch (m->kind) {
	case MK_CAUSAL: return b_binary(b, OP_LE, i32(b, 0), distance(b, scores));
	case MK_WINDOW: return window_tensor(b, m, scores);
	case MK_KEYS:   return keys_tensor(b, m);
	case MK_PAIRS:  return m->t->type.rank == 3 ? b_reshape(b, m->t, pairs_type(m)) : m->t;
	case MK_AND:    return b_binary(b, OP_AND, tensor_of(b, m->a, scores), tensor_of(b, m->b, scores));
	case MK_OR:     return b_binary(b, OP_OR, tensor_of(b, m->a, scores), tensor_of(b, m->b, scores));
	case MK_NOT:    return b_unary(b, OP_NOT, tensor_of(b, m->a, scores));
	case MK_ALL:
	case MK_UNKNOWN: break;
	}
	return b_const(b, DT_BOOL, 1);
}

/* As attention's attributes and operands */

static bool implies_causal(const Mask *m)
{
	switch (m->kind) {
	case MK_CAUSAL: return true;
	case MK_AND:    return implies_causal(m->a) || implies_causal(m->b);
	case MK_OR:     return implies_causal(m->a) && implies_causal(m->b);
	default:        return false;
	}
}

static Value *both(Builder *b, Value *x, Value *y)
{
	return x ? b_binary(b, OP_AND, x, y) : y;
}

/* Attention's window looks back alone: ahead, only `causal` bounds what a query sees. */
static void take_window(Builder *b, const Mask *m, const Dim *const *scores, MaskParts *p)
{
	int64_t n = width_of(m);
	p->window = p->window ? MIN(p->window, n) : n;
	if (!p->causal)
		p->mask = both(b, p->mask, b_binary(b, OP_LT, b_binary(b, OP_SUB, i32(b, 0), distance(b, scores)), i32(b, n)));
}

static void take_parts(Builder *b, const Mask *m, const Dim *const *scores, MaskParts *p)
{
	switch (m->kind) {
	case MK_AND:
		take_parts(b, m->a, scores, p);
		take_parts(b, m->b, scores, p);
		break;
	case MK_WINDOW:
		take_window(b, m, scores, p);
		break;
	case MK_KEYS:
		p->keys = both(b, p->keys, m->t);
		break;
	case MK_PAIRS: case MK_OR: case MK_NOT:
		p->mask = both(b, p->mask, tensor_of(b, m, scores));
		break;
	case MK_ALL: case MK_CAUSAL: case MK_UNKNOWN:
		break;
	}
}

MaskParts mask_lower(Elab *e, const Mask *m, const Dim *const *scores)
{
	MaskParts p = { .causal = implies_causal(m) };
	take_parts(&e->b, m, scores, &p);
	return p;
}
