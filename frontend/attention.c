/* attention.c: attention(q, k, v, ..): its arguments against one another, and the op. In check mode only shapes are checked:
 * what the op is made of is not the user's business. */
#include "frontend/elab.h"

#include <math.h>

static const Val poison = { .kind = V_POISON };

static bool qkv(Call *c, Value **in)
{
	Elab *e = c->e;
	static const char *const shape[3] = { "[B,T,H,K]", "[B,S,G,K]", "[B,S,G,W]" };
	for (int i = 0; i < 3; i++) {
		if (!(in[i] = want_float(c, i)))
			return false;
		if (in[i]->type.rank != 4) {
			err(e, arg_loc(c, i), "E0451", "`attention` wants %s, got %s", shape[i], show_type(e, in[i]->type));
			return false;
		}
	}
	Type q = in[0]->type, k = in[1]->type, v = in[2]->type;
	if (memcmp(k.dim, v.dim, 3 * sizeof *k.dim) == 0 && q.dim[0] == k.dim[0] && q.dim[3] == k.dim[3])
		return true;
	err(e, c->loc, "E0451", "`attention` cannot combine q %s, k %s and v %s", show_type(e, q), show_type(e, k), show_type(e, v));
	note(e, arg_loc(c, 1), "v is as long as k, with as many heads; the batch and width of k are those of q");
	return false;
}

static bool heads_divide(Call *c, Type q, Type k)
{
	int64_t h, g;
	if (!dim_is_const(q.dim[2], &h) || !dim_is_const(k.dim[2], &g) || (g > 0 && h % g == 0))
		return true;
	err(c->e, c->loc, "E0452", "%lld query heads are no multiple of %lld key and value heads", (long long)h, (long long)g);
	return false;
}

static bool mask_arg(Call *c, const Mask **m, const Dim *const *scores)
{
	Elab *e = c->e;
	Val v = c->arg[3];
	*m = NULL;
	if (v.kind == V_NONE)
		return true;
	if (v.kind != V_MASK) {
		err(e, arg_loc(c, 3), "E0453", "`mask` is a mask such as causal, got %s", val_describe(e, v));
		if (v.kind == V_TENSOR && v.t->type.dt == DT_BOOL)
			help(e, v.t->type.rank == 2 ? "`keys(x)` makes a mask of a bool tensor" : "`pairs(x)` makes a mask of a bool tensor");
		return false;
	}
	*m = v.mask;
	return mask_fits(e, arg_loc(c, 3), v.mask, scores);
}

static bool bias_arg(Call *c, Value **bias, const Dim *const *scores)
{
	Elab *e = c->e;
	Type t = type_make(DT_F32, MASK_RANK, scores), out;
	*bias = NULL;
	if (c->arg[4].kind == V_NONE)
		return true;
	if (!(*bias = want_float(c, 4)))
		return false;
	if (type_broadcast(t, (*bias)->type, &out) && type_eq(out, t))
		return true;
	err(e, arg_loc(c, 4), "E0453", "a bias of %s does not fit scores of %s", show_type(e, (*bias)->type), show_type(e, t));
	return false;
}

static bool scale_arg(Call *c, Type q, double *scale)
{
	int64_t width = 1;
	dim_is_const(q.dim[3], &width);
	*scale = 1 / sqrt((double)width);
	if (c->arg[5].kind == V_NONE || val_number(c->arg[5], scale) || val_is_number(c->arg[5]))
		return true;
	err(c->e, arg_loc(c, 5), "E0432", "`scale` is a number, got %s", val_describe(c->e, c->arg[5]));
	return false;
}

/* 0: no cap */
static bool softcap_arg(Call *c, double *cap)
{
	Val v = c->arg[6];
	*cap = 0;
	if (v.kind == V_NONE)
		return true;
	if (!val_is_number(v)) {
		err(c->e, arg_loc(c, 6), "E0432", "`softcap` is a number, got %s", val_describe(c->e, v));
		return false;
	}
	if (!val_number(v, cap) || *cap > 0)
		return true;
	err(c->e, arg_loc(c, 6), "E0450", "a soft cap is above 0, got %g", *cap);
	return false;
}

static Value *build_attention(Elab *e, Value **in, const Mask *m, const Dim *const *scores, Value *bias, Attrs a)
{
	MaskParts p = m ? mask_lower(e, m, scores) : (MaskParts){0};
	Value *all[7] = { in[0], in[1], in[2] };
	int n = 3;
	if (p.keys && p.keys->type.dim[0] != scores[0])
		p.keys = b_expand(&e->b, p.keys, type_make(DT_BOOL, 2, (const Dim *[]){ scores[0], scores[3] }));
	if (p.keys)
		all[n++] = p.keys;
	if (p.mask)
		all[n++] = p.mask;
	if (bias)
		all[n++] = bias;
	if (a.dropout > 0)
		all[n++] = seed_input(e);
	a.causal = p.causal;
	a.window = (int)p.window;
	a.keys = p.keys != NULL;
	a.mask = p.mask != NULL;
	a.bias = bias != NULL;
	a.stream = a.dropout > 0 ? e->streams++ : 0;
	return build(&e->b, OP_ATTENTION, all, n, &a, NULL);
}

/* attention(q, k, v, mask, bias, scale, softcap, dropout): softmax(scale q k + bias) v (Vaswani et al. 2017, sec. 3.2.1);
 * softcap c: scores become c tanh(score / c) (Gemma team 2024, sec. 2). Heads of q share those of k and v in groups; the result
 * is as wide as v. */
Val fn_attention(Call *c)
{
	Elab *e = c->e;
	Value *in[3], *bias;
	const Mask *m;
	Attrs a = {0};
	if (!qkv(c, in) || !heads_divide(c, in[0]->type, in[1]->type))
		return poison;
	Type q = in[0]->type, k = in[1]->type;
	const Dim *scores[MASK_RANK] = { q.dim[0], q.dim[2], q.dim[1], k.dim[1] };
	if (!mask_arg(c, &m, scores) || !bias_arg(c, &bias, scores) || !scale_arg(c, q, &a.scale) || !softcap_arg(c, &a.softcap)
	    || !probability(c, 7, &a.dropout))
		return poison;
	if (e->symbolic) {
		q.dim[3] = in[2]->type.dim[3];
		return val_tensor(b_source(&e->b, OP_INPUT, "attention", q));
	}
	if (!e->training)
		a.dropout = 0;
	return val_tensor(build_attention(e, in, m, scores, bias, a));
}
