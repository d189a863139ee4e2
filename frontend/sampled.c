/* sampled.c: losses over an embedding's rows that look at a label and a few random rows only: sampled_softmax and bce.
 *
 * The random rows are drawn anew in each step, with replacement, and shared by all positions of it (as in TensorFlow's
 * sampled_softmax_loss), so that scoring them is one contraction. A draw that is a position's own label, or the table's padding,
 * doesn't count there. Where nothing is trained sampled_softmax is the cross-entropy over all rows, and bce draws the same
 * rows each time. */
#include "frontend/elab.h"

#include <math.h>

static const Val poison = { .kind = V_POISON };
static const double HIT = -1e30;   /* the score of an accidental hit */

typedef struct Sampled {
	Value *h;        /* (N,D) */
	Layer *table;
	Value *labels;   /* i32 (N,1) */
	Value *valid;    /* bool (N,1); NULL: all */
	const Dim *n;    /* N */
	int64_t count;   /* of draws */
	bool log_uniform;
} Sampled;

static Value *f32(Builder *b, double x) { return b_const(b, DT_F32, x); }

static const Dim *positions_of(Type h)
{
	const Dim *n = dim_const(1);
	for (int i = 0; i < h.rank - 1; i++)
		n = dim_mul(n, h.dim[i]);
	return n;
}

static bool labels_fit(Type h, Val l, const Dim *rows, Elab *e)
{
	if (l.kind != V_TENSOR || l.t->type.dt != DT_I32 || l.t->type.rank != h.rank - 1)
		return false;
	for (int i = 0; i < h.rank - 1; i++)
		if (l.t->type.dim[i] != h.dim[i])
			return false;
	return !l.rows || l.rows == rows || never_above(e, l.rows, rows);
}

static bool draws(Call *c, int i, int64_t otherwise, int64_t *n)
{
	Val v = c->arg[i];
	*n = otherwise;
	if (v.kind != V_NONE && v.kind != V_INT) {
		err(c->e, arg_loc(c, i), "E0432", "`negatives` is a whole number, got %s", val_describe(c->e, v));
		return false;
	}
	if (v.kind == V_INT && !compile_time(c->e, arg_loc(c, i), v.n, "`negatives`"))
		return false;
	if (v.kind == V_INT)
		dim_is_const(v.n, n);
	if (*n >= 1)
		return true;
	err(c->e, arg_loc(c, i), "E0450", "`negatives` is at least 1, got %lld", (long long)*n);
	return false;
}

static bool sampled_args(Call *c, int negatives, int64_t otherwise, Sampled *s)
{
	Elab *e = c->e;
	Builder *b = &e->b;
	Val table = c->arg[1], l = c->arg[2];
	Value *h = want_float(c, 0);
	if (!h)
		return false;
	if (table.kind != V_LAYER || table.layer->kind != LK_EMBEDDING) {
		err(e, arg_loc(c, 1), "E0429", "`%s` wants an embedding, got %s", c->fn, val_describe(e, table));
		return false;
	}
	*s = (Sampled){ .table = table.layer, .n = positions_of(h->type) };
	Type t = h->type;
	if (t.rank < 1 || t.dim[t.rank - 1] != s->table->out[0] || !labels_fit(t, l, s->table->in[0], e)) {
		err(e, c->loc, "E0455", "`%s` with `%s` wants [..,%s] and its ids [..], got %s and %s", c->fn, s->table->name,
		    show_dim(e, s->table->out[0]), show_type(e, t), val_describe(e, l));
		return false;
	}
	const Dim *one = dim_const(1);
	s->h = b_reshape(b, h, type_make(DT_F32, 2, (const Dim *[]){ s->n, t.dim[t.rank - 1] }));
	s->labels = b_reshape(b, l.t, type_make(DT_I32, 2, (const Dim *[]){ s->n, one }));
	s->valid = l.optional ? b_binary(b, OP_LE, b_const(b, DT_I32, 0), s->labels) : NULL;
	return draws(c, negatives, otherwise, &s->count);
}

/* Drawing. Uniform, or P(id) = log((id + 2) / (id + 1)) / log(V + 1) for tables sorted by how frequent their rows are. */

static int64_t rows_of(const Sampled *s)
{
	int64_t n = 1;
	dim_is_const(s->table->in[0], &n);
	return n;
}

/* i32 [count] */
static Value *draw(Elab *e, const Sampled *s)
{
	Builder *b = &e->b;
	double V = (double)rows_of(s);
	const Dim *n = dim_const(s->count);
	Value *key = e->training ? seed_input(e) : b_const(b, DT_I32, 0);
	Value *u = b_random(b, key, e->streams++, type_make(DT_F32, 1, &n));
	if (s->log_uniform)
		u = b_binary(b, OP_SUB, b_unary(b, OP_EXP, b_binary(b, OP_MUL, u, f32(b, log(V + 1)))), f32(b, 1));
	else
		u = b_binary(b, OP_MUL, u, f32(b, V));
	return b_binary(b, OP_MIN, b_convert(b, u, DT_I32), b_const(b, DT_I32, V - 1));
}

/* log of how often an id is expected among the draws */
static Value *log_expected(Elab *e, const Sampled *s, Value *ids)
{
	Builder *b = &e->b;
	double V = (double)rows_of(s);
	if (!s->log_uniform)
		return f32(b, log((double)s->count / V));
	Value *i = b_convert(b, b_binary(b, OP_MAX, ids, b_const(b, DT_I32, 0)), DT_F32);
	Value *p = b_binary(b, OP_SUB, b_unary(b, OP_LOG, b_binary(b, OP_ADD, i, f32(b, 2))),
	                    b_unary(b, OP_LOG, b_binary(b, OP_ADD, i, f32(b, 1))));
	return b_unary(b, OP_LOG, b_binary(b, OP_MUL, p, f32(b, (double)s->count / log(V + 1))));
}

typedef struct Scores { Value *label, *drawn, *ids, *counts; } Scores;   /* (N,1), (N,count), i32 [count], bool (N,count) */

static Scores scores_of(Elab *e, const Sampled *s)
{
	Builder *b = &e->b;
	Value *w = weight_value(e, s->table->weight);
	const Dim *D = s->table->out[0];
	Scores x = { .ids = draw(e, s) };
	Value *own = b_reshape(b, b_gather(b, w, s->labels), type_make(DT_F32, 2, (const Dim *[]){ s->n, D }));
	x.label = b_reduce(b, OP_SUM, b_binary(b, OP_MUL, s->h, own), 1u << 1);
	x.drawn = b_contract(b, s->h, b_gather(b, w, x.ids), "ak,nk->an");
	x.counts = b_binary(b, OP_NE, x.ids, s->labels);
	if (s->table->pad.kind == V_INT) {
		int64_t pad = 0;
		dim_is_const(s->table->pad.n, &pad);
		x.counts = b_binary(b, OP_AND, x.counts, b_binary(b, OP_NE, x.ids, b_const(b, DT_I32, (double)pad)));
	}
	return x;
}

/* Mean of x (N,1) over the labels that count. */
static Value *mean_of(Elab *e, const Sampled *s, Value *x)
{
	Builder *b = &e->b;
	if (!s->valid)
		return scalar_of(e, reduce_mean(e, x, 3));
	Value *n = scalar_of(e, b_reduce(b, OP_SUM, b_convert(b, s->valid, DT_F32), 3));
	Value *sum = scalar_of(e, b_reduce(b, OP_SUM, b_select(b, s->valid, x, f32(b, 0)), 3));
	return b_binary(b, OP_DIV, sum, b_binary(b, OP_MAX, n, f32(b, 1)));
}

/* -log of the label's share of e^score among itself and the draws, each score less log of how often its id is expected among
 * the draws (Jean et al. 2015, sec. 3; Bengio & Senecal 2008). */
static Value *softmax_loss(Elab *e, const Sampled *s)
{
	Builder *b = &e->b;
	Scores x = scores_of(e, s);
	Value *label = b_binary(b, OP_SUB, x.label, log_expected(e, s, s->labels));
	Value *drawn = b_binary(b, OP_SUB, x.drawn, log_expected(e, s, x.ids));
	drawn = b_select(b, x.counts, drawn, f32(b, HIT));
	Value *top = b_unary(b, OP_STOP, b_binary(b, OP_MAX, label, b_reduce(b, OP_RMAX, drawn, 1u << 1)));
	Value *sum = b_reduce(b, OP_SUM, b_unary(b, OP_EXP, b_binary(b, OP_SUB, drawn, top)), 1u << 1);
	sum = b_binary(b, OP_ADD, sum, b_unary(b, OP_EXP, b_binary(b, OP_SUB, label, top)));
	return b_binary(b, OP_SUB, b_binary(b, OP_ADD, b_unary(b, OP_LOG, sum), top), label);
}

/* sampled_softmax(h, table, labels, negatives=256, log_uniform=false): the cross-entropy of unembed(h, table) and labels,
 * estimated. */
Val fn_sampled_softmax(Call *c)
{
	Elab *e = c->e;
	Sampled s;
	Val lu = c->arg[4];
	if (!sampled_args(c, 3, 256, &s))
		return poison;
	if (lu.kind != V_NONE && lu.kind != V_BOOL)
		return fail(e, arg_loc(c, 4), "E0432", "`log_uniform` is true or false, got %s", val_describe(e, lu));
	s.log_uniform = lu.kind == V_BOOL && lu.f != 0;
	if (e->symbolic)
		return val_tensor(b_source(&e->b, OP_INPUT, "sampled_softmax", type_scalar(DT_F32)));
	if (e->training)
		return val_tensor(mean_of(e, &s, softmax_loss(e, &s)));
	Val all[2] = { val_tensor(b_contract(&e->b, c->arg[0].t, weight_value(e, s.table->weight),
	                                     contract_last(c->arg[0].t->type.rank, false))), c->arg[2] };
	return call_prelude(e, "cross_entropy", c->loc, all, 2);
}

/* The label against 1, each draw that counts against 0, summed (Kang & McAuley 2018, sec. III.E). */
static Val sampled_bce(Call *c)
{
	Elab *e = c->e;
	Builder *b = &e->b;
	Sampled s;
	if (!sampled_args(c, 3, 1, &s))
		return poison;
	if (e->symbolic)
		return val_tensor(b_source(b, OP_INPUT, "bce", type_scalar(DT_F32)));
	Scores x = scores_of(e, &s);
	Val label = val_tensor(b_unary(b, OP_NEG, x.label)), drawn = val_tensor(x.drawn);
	Value *good = call_prelude(e, "softplus", c->loc, &label, 1).t;
	Value *bad = b_select(b, x.counts, call_prelude(e, "softplus", c->loc, &drawn, 1).t, f32(b, 0));
	Value *sum = b_binary(b, OP_ADD, good, b_reduce(b, OP_SUM, bad, 1u << 1));
	return val_tensor(mean_of(e, &s, sum));
}

/* bce(logits, targets): the mean binary cross-entropy, targets f32 in [0,1] or bool of the logits' shape.
 * bce(h, table, labels, negatives=1): each label's row of an embedding against random rows. */
Val fn_bce(Call *c)
{
	Elab *e = c->e;
	Val y = c->arg[1];
	if (y.kind == V_LAYER)
		return sampled_bce(c);
	Value *x = want_float(c, 0);
	if (!x)
		return poison;
	if (c->expr[2] || c->expr[3])
		return fail(e, c->loc, "E0431", "`bce` of logits takes targets alone; with an embedding it takes labels and `negatives`");
	if (y.kind == V_TENSOR && y.t->type.dt == DT_BOOL)
		y = val_tensor(b_convert(&e->b, y.t, DT_F32));
	if (y.kind != V_TENSOR || y.t->type.dt != DT_F32 || !type_same_dims(&y.t->type, &x->type))
		return fail(e, c->loc, "E0455", "`bce` of logits %s wants targets of that shape, got %s", show_type(e, x->type), val_describe(e, y));
	Value *loss = call_prelude(e, "logistic", c->loc, (Val[]){ val_tensor(x), y }, 2).t;
	return val_tensor(loss->type.rank ? scalar_of(e, reduce_mean(e, loss, (1u << loss->type.rank) - 1)) : loss);
}
