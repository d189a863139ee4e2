/* nn.c: what simple layers do with their input (linear, embedding, norms), dropout and unembed. */
#include "frontend/elab.h"

static const Val poison = { .kind = V_POISON };

/* Layers */

static const char *wanted(Elab *e, const Dim *const *dims, int n)
{
	const char *s = show_dims(e, dims, n);
	return internf("[.., %s", s + 1);
}

static bool ends_in(Type t, const Dim *const *dims, int n)
{
	if (t.dt != DT_F32 || t.rank < n)
		return false;
	for (int i = 0; i < n; i++)
		if (t.dim[t.rank - n + i] != dims[i])
			return false;
	return true;
}

static bool check_input(Elab *e, Layer *l, Val x, Loc loc)
{
	if (x.kind == V_TENSOR && ends_in(x.t->type, l->in, l->nin))
		return true;
	err(e, loc, "E0425", "`%s` wants %s, got %s", l->name, wanted(e, l->in, l->nin), val_describe(e, x));
	note(e, l->loc, "declared here");
	return false;
}

/* The last n axes made one. */
static Value *flatten(Elab *e, Value *x, int n)
{
	Type t = x->type;
	const Dim *p = dim_const(1);
	for (int i = t.rank - n; i < t.rank; i++)
		p = dim_mul(p, t.dim[i]);
	t.rank -= n - 1;
	t.dim[t.rank - 1] = p;
	return n == 1 ? x : b_reshape(&e->b, x, t);
}

/* The last axis made n axes. */
static Value *unflatten(Elab *e, Value *x, const Dim *const *dims, int n)
{
	Type t = x->type;
	t.rank--;
	for (int i = 0; i < n; i++)
		t.dim[t.rank++] = dims[i];
	return n == 1 ? x : b_reshape(&e->b, x, t);
}

/* A weight stored [out,in,1] is the matrix [out,in]. */
static Value *matrix(Elab *e, Weight *w)
{
	Value *v = weight_value(e, w);
	Type t = v->type;
	if (t.rank == 2)
		return v;
	t.rank = 2;
	return b_reshape(&e->b, v, t);
}

static Val apply_linear(Elab *e, Layer *l, Val x, Loc loc)
{
	if (!check_input(e, l, x, loc))
		return poison;
	if (x.t->type.rank - l->nin + l->nout > MAX_RANK)
		return fail(e, loc, "E0411", "a tensor has at most %d axes", MAX_RANK);
	Value *in = flatten(e, x.t, l->nin);
	Value *w = adapter_merge(e, l, matrix(e, l->weight));
	Value *y = adapter_apply(e, l, in, b_contract(&e->b, in, w, contract_last(in->type.rank, l->in_out)));
	if (l->bias)
		y = b_binary(&e->b, OP_ADD, y, weight_value(e, l->bias));
	return val_tensor(unflatten(e, y, l->out, l->nout));
}

static void suggest_table(Elab *e, Val ids, Loc loc)
{
	for (int i = 0; i < e->frame->vars.len; i++) {
		Var *v = &e->frame->vars.at[i];
		bool table = v->declared && v->val.kind == V_LAYER && v->val.layer->kind == LK_EMBEDDING;
		if (!table || v->val.layer->in[0] != ids.rows)
			continue;
		help(e, "did you mean `%s(%.*s)`?", v->name, (int)MIN(loc.end - loc.at, 60u), loc.src ? loc.src->text + loc.at : "");
		return;
	}
}

static bool check_ids(Elab *e, Layer *l, Val ids, Loc loc)
{
	if (ids.kind != V_TENSOR || ids.t->type.dt != DT_I32) {
		err(e, loc, "E0427", "`%s` is a table of %s rows, indexed by ids, got %s", l->name, show_dim(e, l->in[0]),
		    val_describe(e, ids));
		note(e, l->loc, "declared here");
		return false;
	}
	if (ids.optional) {
		err(e, loc, "E0428", "%s may hold -100, which indexes nothing", val_describe(e, ids));
		return false;
	}
	if (!ids.rows || ids.rows == l->in[0] || never_above(e, ids.rows, l->in[0]))
		return true;
	err(e, loc, "E0427", "`%s` has %s rows, these are ids of %s", l->name, show_dim(e, l->in[0]),
	    show_dim(e, at_bounds(e, ids.rows)));
	note(e, l->loc, "declared here");
	suggest_table(e, ids, loc);
	for (int i = 0; i < e->bounds.len; i++)
		if (!e->bounds.at[i].bound && dim_sym(e->bounds.at[i].name) == ids.rows)
			help(e, "`dim %s <= %s` bounds it", e->bounds.at[i].name, show_dim(e, l->in[0]));
	return false;
}

/* The row `pad` gets no gradient. */
static Value *freeze_pad(Elab *e, Layer *l, Value *ids, Value *y)
{
	int64_t pad = 0;
	dim_is_const(l->pad.n, &pad);
	Value *is_pad = b_binary(&e->b, OP_EQ, ids, b_const(&e->b, DT_I32, (double)pad));
	Type t = is_pad->type;
	t.dim[t.rank++] = dim_const(1);
	return b_select(&e->b, b_reshape(&e->b, is_pad, t), b_unary(&e->b, OP_STOP, y), y);
}

static Val apply_embedding(Elab *e, Layer *l, Val ids, Loc loc)
{
	if (!check_ids(e, l, ids, loc))
		return poison;
	if (ids.t->type.rank == MAX_RANK)
		return fail(e, loc, "E0411", "a tensor has at most %d axes", MAX_RANK);
	Value *y = b_gather(&e->b, weight_value(e, l->weight), ids.t);
	return val_tensor(l->pad.kind == V_INT ? freeze_pad(e, l, ids.t, y) : y);
}

static Val apply_norm(Elab *e, Layer *l, Val x, Loc loc)
{
	if (!check_input(e, l, x, loc))
		return poison;
	Val args[4] = { x, val_tensor(weight_value(e, l->weight)), l->eps };
	if (l->plus_one)
		args[1] = tensor_op(e, loc, OP_ADD, (Val[]){ args[1], val_float(1) }, 2);
	if (l->kind == LK_RMSNORM)
		return call_prelude(e, "rmsnorm_of", loc, args, 3);
	if (!l->bias)
		return call_prelude(e, "layernorm_unbiased_of", loc, args, 3);
	args[3] = args[2];
	args[2] = val_tensor(weight_value(e, l->bias));
	return call_prelude(e, "layernorm_of", loc, args, 4);
}

Val apply_layer(Elab *e, Layer *l, Val x, Loc loc)
{
	switch (l->kind) {
	case LK_LINEAR:    return apply_linear(e, l, x, loc);
	case LK_EMBEDDING: return apply_embedding(e, l, x, loc);
	case LK_CONV:      return apply_conv(e, l, x, loc);
	default:           return apply_norm(e, l, x, loc);
	}
}

/* unembed(x, table): logits over the rows of an embedding */
Val fn_unembed(Call *c)
{
	Elab *e = c->e;
	Val table = c->arg[1];
	Value *x = want_float(c, 0);
	if (!x)
		return poison;
	if (table.kind != V_LAYER || table.layer->kind != LK_EMBEDDING)
		return fail(e, arg_loc(c, 1), "E0429", "`unembed` wants an embedding, got %s", val_describe(e, table));
	Layer *l = table.layer;
	if (!ends_in(x->type, l->out, 1)) {
		err(e, arg_loc(c, 0), "E0425", "`unembed` with `%s` wants %s, got %s", l->name, wanted(e, l->out, 1),
		    show_type(e, x->type));
		note(e, l->loc, "declared here");
		return poison;
	}
	return val_tensor(b_contract(&e->b, x, weight_value(e, l->weight), contract_last(x->type.rank, false)));
}

/* Dropout */

bool probability(Call *c, int i, double *p)
{
	Val v = c->arg[i];
	*p = 0;
	if (v.kind == V_NONE)
		return true;
	if (!val_is_number(v)) {
		err(c->e, arg_loc(c, i), "E0432", "`dropout` is a probability, got %s", val_describe(c->e, v));
		return false;
	}
	if (val_number(v, p) && (*p < 0 || *p >= 1)) {
		err(c->e, arg_loc(c, i), "E0450", "a probability of dropout is at least 0 and below 1, got %g", *p);
		return false;
	}
	return true;
}

/* Made when the first random stream is. */
Value *seed_input(Elab *e)
{
	if (!e->seed)
		e->seed = b_source(&e->b, OP_INPUT, intern("seed"), type_scalar(DT_I32));
	return e->seed;
}

Value *drop_out(Elab *e, Value *x, double p)
{
	Builder *b = &e->b;
	Value *u = b_random(b, seed_input(e), e->streams++, x->type);
	Value *drop = b_binary(b, OP_LT, u, b_const(b, DT_F32, p));
	Value *kept = b_binary(b, OP_MUL, x, b_const(b, DT_F32, 1 / (1 - p)));
	return b_select(b, drop, b_const(b, DT_F32, 0), kept);
}

Val fn_dropout(Call *c)
{
	double p;
	Value *x = want_float(c, 0);
	if (!x || !probability(c, 1, &p))
		return poison;
	return val_tensor(c->e->training && p > 0 ? drop_out(c->e, x, p) : x);
}
