/* loss.c: losses and metrics over all classes: cross_entropy, accuracy, hit_rate, ndcg, perplexity. Labels of type id(V)? may be ignored (any negative one is, by custom -100);
 * means are over the others. */
#include "frontend/elab.h"

static const Val poison = { .kind = V_POISON };

typedef struct Labelled {
	Value *z;       /* logits (..,V) */
	Value *ids;     /* labels (..,1) */
	Value *valid;   /* bool (..,1); NULL: all are */
	uint32_t last;  /* mask of the last axis */
} Labelled;

static bool labels_fit(Type z, Val l)
{
	if (l.kind != V_TENSOR || l.t->type.dt != DT_I32 || l.t->type.rank != z.rank - 1)
		return false;
	for (int i = 0; i < z.rank - 1; i++)
		if (z.dim[i] != l.t->type.dim[i])
			return false;
	return true;
}

static bool labelled(Call *c, Labelled *out)
{
	Elab *e = c->e;
	Val l = c->arg[1];
	Val first = c->arg[0];
	bool swapped = first.kind == V_TENSOR && first.t->type.dt == DT_I32 && l.kind == V_TENSOR && l.t->type.dt == DT_F32;
	Value *z = swapped ? NULL : want_float(c, 0);
	if (swapped) {
		err(e, c->loc, "E0455", "`%s` wants logits, then labels, got %s and %s", c->fn, val_describe(e, first), val_describe(e, l));
		help(e, "exchange the two arguments");
	}
	if (!z)
		return false;
	if (z->type.rank < 1 || !labels_fit(z->type, l)) {
		err(e, c->loc, "E0455", "`%s` of logits %s wants labels %s, got %s", c->fn, show_type(e, z->type),
		    show_dims(e, z->type.dim, MAX(z->type.rank - 1, 0)), val_describe(e, l));
		return false;
	}
	const Dim *classes = z->type.dim[z->type.rank - 1];
	if (l.rows && l.rows != classes && !never_above(e, l.rows, classes)) {
		err(e, arg_loc(c, 1), "E0455", "the logits have %s classes, the labels are %s", show_dim(e, classes), val_describe(e, l));
		return false;
	}
	Type t = l.t->type;
	t.dim[t.rank++] = dim_const(1);
	out->z = z;
	out->ids = b_reshape(&e->b, l.t, t);
	out->valid = l.optional ? b_binary(&e->b, OP_LE, b_const(&e->b, DT_I32, 0), out->ids) : NULL;
	out->last = 1u << (z->type.rank - 1);
	return true;
}

/* The label's logit, as a sum over "is it the label's column": its gradient is elementwise. */
static Value *picked(Builder *b, const Labelled *l)
{
	const Dim *classes = l->z->type.dim[l->z->type.rank - 1];
	Value *at = b_iota(b, 0, type_make(DT_I32, 1, &classes));
	Value *hit = b_select(b, b_binary(b, OP_EQ, at, l->ids), l->z, b_const(b, DT_F32, 0));
	return b_reduce(b, OP_SUM, hit, l->last);
}

/* Mean of x (..,1) over the labels that count, as a scalar. */
static Value *mean_over_labels(Elab *e, const Labelled *l, Value *x)
{
	Builder *b = &e->b;
	uint32_t all = (1u << x->type.rank) - 1;
	if (!l->valid) {
		Value *sum = scalar_of(e, b_reduce(b, OP_SUM, x, all));
		return b_binary(b, OP_DIV, sum, val_value(e, val_int(type_elems(x->type))));
	}
	Value *n = scalar_of(e, b_reduce(b, OP_SUM, b_convert(b, l->valid, DT_F32), all));
	Value *sum = scalar_of(e, b_reduce(b, OP_SUM, b_select(b, l->valid, x, b_const(b, DT_F32, 0)), all));
	return b_binary(b, OP_DIV, sum, b_binary(b, OP_MAX, n, b_const(b, DT_F32, 1)));
}

/* log sum e^z, shifted by the maximum */
static Value *log_sum_exp(Builder *b, const Labelled *l)
{
	Value *top = b_unary(b, OP_STOP, b_reduce(b, OP_RMAX, l->z, l->last));
	Value *sum = b_reduce(b, OP_SUM, b_unary(b, OP_EXP, b_binary(b, OP_SUB, l->z, top)), l->last);
	return b_binary(b, OP_ADD, b_unary(b, OP_LOG, sum), top);
}

/* With smoothing s the target is (1-s) on the label and s spread over all classes (Szegedy et al. 2016, sec. 7). */
Val fn_cross_entropy(Call *c)
{
	Elab *e = c->e;
	Builder *b = &e->b;
	Labelled l;
	double s = 0;
	if (!labelled(c, &l))
		return poison;
	if (c->arg[2].kind != V_NONE && !val_is_number(c->arg[2]))
		return fail(e, arg_loc(c, 2), "E0432", "`smoothing` is a number, got %s", val_describe(e, c->arg[2]));
	val_number(c->arg[2], &s);
	Value *target = picked(b, &l);
	if (s > 0) {
		Value *mean = reduce_mean(e, l.z, l.last);
		target = b_binary(b, OP_ADD, b_binary(b, OP_MUL, target, b_const(b, DT_F32, 1 - s)),
		                  b_binary(b, OP_MUL, mean, b_const(b, DT_F32, s)));
	}
	return val_tensor(mean_over_labels(e, &l, b_binary(b, OP_SUB, log_sum_exp(b, &l), target)));
}

/* How many logits are greater than the label's, f32 (..,1). */
static Value *rank_of(Builder *b, const Labelled *l)
{
	Value *greater = b_convert(b, b_binary(b, OP_LT, picked(b, l), l->z), DT_F32);
	return b_reduce(b, OP_SUM, greater, l->last);
}

static bool cutoff(Call *c, double *k)
{
	Elab *e = c->e;
	Val v = c->arg[2];
	if (v.kind != V_NONE && (v.kind != V_INT || (!val_number(v, k) && !e->symbolic))) {
		err(e, arg_loc(c, 2), "E0432", "`k` is a number of classes, got %s", val_describe(e, v));
		return false;
	}
	return true;
}

/* accuracy(logits, labels, k=1), hit_rate(scores, labels, k=10): the share of labels among the k greatest logits. */
Val fn_accuracy(Call *c)
{
	Elab *e = c->e;
	Builder *b = &e->b;
	Labelled l;
	double k = strcmp(c->fn, "hit_rate") == 0 ? 10 : 1;
	if (!labelled(c, &l) || !cutoff(c, &k))
		return poison;
	Value *hit = b_convert(b, b_binary(b, OP_LT, rank_of(b, &l), b_const(b, DT_F32, k)), DT_F32);
	return val_tensor(mean_over_labels(e, &l, hit));
}

/* ndcg(scores, labels, k=10), with one relevant item a row: the mean of 1/log2(2 + rank), 0 from rank k on (Jarvelin &
 * Kekalainen 2002; rank 0 is the best). */
Val fn_ndcg(Call *c)
{
	Elab *e = c->e;
	Builder *b = &e->b;
	Labelled l;
	double k = 10;
	if (!labelled(c, &l) || !cutoff(c, &k))
		return poison;
	Value *rank = rank_of(b, &l);
	Value *log = b_unary(b, OP_LOG, b_binary(b, OP_ADD, rank, b_const(b, DT_F32, 2)));
	Value *gain = b_binary(b, OP_DIV, b_const(b, DT_F32, 0.69314718055994531), log);
	gain = b_select(b, b_binary(b, OP_LT, rank, b_const(b, DT_F32, k)), gain, b_const(b, DT_F32, 0));
	return val_tensor(mean_over_labels(e, &l, gain));
}

/* perplexity(loss), perplexity(logits, labels): e to the cross-entropy */
Val fn_perplexity(Call *c)
{
	Val loss = c->expr[1] ? fn_cross_entropy(c) : c->arg[0];
	if (loss.kind == V_POISON)
		return loss;
	if (loss.kind == V_TENSOR && loss.t->type.rank > 0)
		return fail(c->e, arg_loc(c, 0), "E0443", "`perplexity` wants a loss, or logits and labels, got %s", val_describe(c->e, loss));
	return tensor_op(c->e, c->loc, OP_EXP, &loss, 1);
}
