/* optimizer.c: the update function of training: AdamW with decoupled weight decay, or Adam with the decay in the gradient, and
 * clipping by the global norm (Loshchilov & Hutter 2019, algorithm 2; Kingma & Ba 2015, algorithm 1; Pascanu et al. 2013,
 * algorithm 1), in primitives over the states grad.<p>, m.<p>, v.<p>; with `ema`, also the weights' exponential moving
 * average in ema.<p> (Polyak & Juditsky 1992 on averaging; the decay is an input of each call). The order of all sums is fixed by the parameters' order and shapes alone. */
#include "passes/passes.h"

typedef struct Update {
	Builder b;
	Value *lr, *beta1, *beta2, *eps, *decay, *clip, *scale, *c1, *c2;
	Value *factor;   /* f32[]: what gradients are multiplied by: scale and clipping */
	Value *ema;      /* NULL: no averages */
	bool coupled;    /* Adam: decay * p is added to the gradient */
} Update;

static Value *scalar_input(Builder *b, const char *name)
{
	return b_source(b, OP_INPUT, name, type_scalar(DT_F32));
}

static Value *mul(Builder *b, Value *x, Value *y)
{
	return b_binary(b, OP_MUL, x, y);
}

static Value *state_of(Builder *b, const char *kind, const Param *p)
{
	return b_source(b, OP_STATE, internf("%s.%s", kind, p->name), p->type);
}

static bool trained(const Param *p)
{
	return !p->frozen && p->type.dt == DT_F32;
}

/* Sum of squares, f32[]: along the last axis first, so that rows are summed side by side. */
static Value *square_sum(Builder *b, Value *x)
{
	int rank = x->type.rank;
	Value *s = mul(b, x, x);
	if (rank > 0)
		s = b_reduce(b, OP_SUM, s, 1u << (rank - 1));
	if (rank > 1)
		s = b_reduce(b, OP_SUM, s, (1u << (rank - 1)) - 1);
	return b_reshape(b, s, type_scalar(DT_F32));
}

/* Sum of n scalars by halves. */
static Value *sum_of(Builder *b, Value *const *at, int n)
{
	if (n == 0)
		return b_const(b, DT_F32, 0);
	if (n == 1)
		return at[0];
	return b_binary(b, OP_ADD, sum_of(b, at, n / 2), sum_of(b, at + n / 2, n - n / 2));
}

/* scale * sqrt(sum of squares of all gradients) */
static Value *global_norm(Update *u, const Module *m)
{
	Vec(Value *) squares = { 0 };
	for (int i = 0; i < m->params.len; i++) {
		const Param *p = &m->params.at[i];
		if (!trained(p))
			continue;
		u->b.path = p->name;
		vec_push(u->b.g->arena, &squares, square_sum(&u->b, state_of(&u->b, "grad", p)));
	}
	u->b.path = NULL;
	return mul(&u->b, u->scale, b_unary(&u->b, OP_SQRT, sum_of(&u->b, squares.at, squares.len)));
}

/* scale * min(1, clip / norm); clip 0: scale */
static Value *clip_factor(Update *u, Value *norm)
{
	Builder *b = &u->b;
	Value *one = b_const(b, DT_F32, 1);
	Value *shrink = b_binary(b, OP_MIN, one, b_binary(b, OP_DIV, u->clip, norm));
	Value *on = b_binary(b, OP_LT, b_const(b, DT_F32, 0), u->clip);
	return mul(b, u->scale, b_select(b, on, shrink, one));
}

/* beta * old + (1 - beta) * x */
static Value *moment(Builder *b, Value *beta, Value *old, Value *x)
{
	Value *rest = b_binary(b, OP_SUB, b_const(b, DT_F32, 1), beta);
	return b_binary(b, OP_ADD, mul(b, beta, old), mul(b, rest, x));
}

static void update_param(Update *u, const Param *p)
{
	Builder *b = &u->b;
	b->path = p->name;
	Value *w = b_source(b, OP_PARAM, p->name, p->type);
	Value *m_old = state_of(b, "m", p), *v_old = state_of(b, "v", p);
	Value *g = mul(b, state_of(b, "grad", p), u->factor);
	if (p->decay && u->coupled)
		g = b_binary(b, OP_ADD, g, mul(b, u->decay, w));
	Value *m = moment(b, u->beta1, m_old, g);
	Value *v = moment(b, u->beta2, v_old, mul(b, g, g));
	Value *root = b_unary(b, OP_SQRT, b_binary(b, OP_DIV, v, u->c2));
	Value *step = b_binary(b, OP_DIV, b_binary(b, OP_DIV, m, u->c1), b_binary(b, OP_ADD, root, u->eps));
	if (p->decay && !u->coupled)
		step = b_binary(b, OP_ADD, step, mul(b, u->decay, w));
	b_store(b, m_old, m);
	b_store(b, v_old, v);
	Value *next = b_binary(b, OP_SUB, w, mul(b, u->lr, step));
	b_store(b, w, next);
	if (u->ema) {
		Value *old = state_of(b, "ema", p);
		b_store(b, old, moment(b, u->ema, old, next));
	}
}

static bool is_adam(const Entry *e)
{
	const Setting *kind = entry_setting(e, "optimizer.kind");
	return kind && kind->str && strcmp(kind->str, "adam") == 0;
}

static bool keeps_average(const Entry *e)
{
	const Setting *ema = entry_setting(e, "ema");
	return ema && ema->is_num && ema->num > 0;
}

Graph *optimizer_update(Arena *arena, const Module *m, const Entry *e)
{
	Update u = { .b = { .g = graph_new(arena, internf("%s.update", e->name)) } };
	Builder *b = &u.b;
	u.lr = scalar_input(b, "lr");
	u.beta1 = scalar_input(b, "beta1");
	u.beta2 = scalar_input(b, "beta2");
	u.eps = scalar_input(b, "eps");
	u.decay = scalar_input(b, "decay");
	u.clip = scalar_input(b, "clip");
	u.scale = scalar_input(b, "scale");
	u.c1 = scalar_input(b, "c1");
	u.c2 = scalar_input(b, "c2");
	u.ema = keeps_average(e) ? scalar_input(b, "ema") : NULL;
	u.coupled = is_adam(e);
	Value *norm = global_norm(&u, m);
	u.factor = clip_factor(&u, norm);
	for (int i = 0; i < m->params.len; i++)
		if (trained(&m->params.at[i]))
			update_param(&u, &m->params.at[i]);
	u.b.path = NULL;
	b_output(b, "grad_norm", norm);
	return b->g;
}
