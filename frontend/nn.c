/* nn.c: what simple layers do with their input (linear, embedding, norms), and attention, rope, dropout, unembed.
 * In check mode attention and rope only check shapes: what they are made of is not the user's business. */
#include "frontend/elab.h"

#include <math.h>

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
	Value *y = b_contract(&e->b, in, matrix(e, l->weight), contract_last(in->type.rank, l->in_out));
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

static bool probability(Call *c, int i, double *p)
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

/* The input that random streams start from; made when the first of them is. */
static Value *seed(Elab *e)
{
	if (!e->seed)
		e->seed = b_source(&e->b, OP_INPUT, intern("seed"), type_scalar(DT_I32));
	return e->seed;
}

Val fn_dropout(Call *c)
{
	Elab *e = c->e;
	Builder *b = &e->b;
	double p;
	Value *x = want_float(c, 0);
	if (!x || !probability(c, 1, &p))
		return poison;
	if (!e->training || p == 0)
		return val_tensor(x);
	Value *u = b_random(b, seed(e), e->streams++, x->type);
	Value *drop = b_binary(b, OP_LT, u, b_const(b, DT_F32, p));
	Value *kept = b_binary(b, OP_MUL, x, b_const(b, DT_F32, 1 / (1 - p)));
	return val_tensor(b_select(b, drop, b_const(b, DT_F32, 0), kept));
}

/* Attention */

Val fn_keys(Call *c)
{
	Val v = c->arg[0], m = { .kind = V_MASK };
	if (v.kind != V_TENSOR || v.t->type.dt != DT_BOOL || v.t->type.rank != 2)
		return fail(c->e, arg_loc(c, 0), "E0443", "`keys` wants bool[B,S], got %s", val_describe(c->e, v));
	m.mask.keys = v.t;
	return m;
}

static bool qkv(Call *c, Value **in)
{
	Elab *e = c->e;
	static const char *const shape[3] = { "[B,T,H,K]", "[B,S,G,K]", "[B,S,G,K]" };
	for (int i = 0; i < 3; i++) {
		if (!(in[i] = want_float(c, i)))
			return false;
		if (in[i]->type.rank != 4) {
			err(e, arg_loc(c, i), "E0451", "`attention` wants %s, got %s", shape[i], show_type(e, in[i]->type));
			return false;
		}
	}
	Type q = in[0]->type, k = in[1]->type, v = in[2]->type;
	if (type_eq(k, v) && q.dim[0] == k.dim[0] && q.dim[3] == k.dim[3])
		return true;
	err(e, c->loc, "E0451", "`attention` cannot combine q %s, k %s and v %s", show_type(e, q), show_type(e, k), show_type(e, v));
	note(e, arg_loc(c, 1), "k and v have equal shapes; their batch and head width are those of q");
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

static bool mask_arg(Call *c, Mask *m, Type q, Type k)
{
	Elab *e = c->e;
	Val v = c->arg[3];
	*m = (Mask){0};
	if (v.kind == V_NONE)
		return true;
	if (v.kind != V_MASK) {
		err(e, arg_loc(c, 3), "E0453", "`mask` is a mask such as causal, got %s", val_describe(e, v));
		if (v.kind == V_TENSOR && v.t->type.dt == DT_BOOL)
			help(e, "`keys(x)` makes a mask of a bool tensor");
		return false;
	}
	*m = v.mask;
	Type want = type_make(DT_BOOL, 2, (const Dim *[]){ q.dim[0], k.dim[1] });
	if (!m->keys || type_eq(m->keys->type, want))
		return true;
	err(e, arg_loc(c, 3), "E0453", "`keys` of %s do not fit keys of %s", show_type(e, m->keys->type), show_type(e, want));
	return false;
}

static bool bias_arg(Call *c, Value **bias, Type q, Type k)
{
	Elab *e = c->e;
	Type t = type_make(DT_F32, 4, (const Dim *[]){ q.dim[0], q.dim[2], q.dim[1], k.dim[1] }), out;
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

static Value *build_attention(Call *c, Value **in, Mask m, Value *bias, Attrs a)
{
	Elab *e = c->e;
	Value *all[6] = { in[0], in[1], in[2] };
	int n = 3;
	if (m.keys)
		all[n++] = m.keys;
	if (bias)
		all[n++] = bias;
	if (a.dropout > 0)
		all[n++] = seed(e);
	a.causal = m.causal;
	a.keys = m.keys != NULL;
	a.bias = bias != NULL;
	a.stream = a.dropout > 0 ? e->streams++ : 0;
	return build(&e->b, OP_ATTENTION, all, n, &a, NULL);
}

Val fn_attention(Call *c)
{
	Elab *e = c->e;
	Value *in[3], *bias;
	Mask m;
	Attrs a = {0};
	if (!qkv(c, in) || !heads_divide(c, in[0]->type, in[1]->type))
		return poison;
	Type q = in[0]->type, k = in[1]->type;
	if (!mask_arg(c, &m, q, k) || !bias_arg(c, &bias, q, k) || !scale_arg(c, q, &a.scale) || !probability(c, 7, &a.dropout))
		return poison;
	if (c->arg[6].kind != V_NONE)
		return unsupported(e, arg_loc(c, 6), "`softcap`");
	if (e->symbolic)
		return val_tensor(b_source(&e->b, OP_INPUT, "attention", q));
	if (!e->training)
		a.dropout = 0;
	return val_tensor(build_attention(c, in, m, bias, a));
}

/* Rotary positions (Su et al. 2021) in the halves convention: element i turns with element i + K/2. */

typedef struct RopeKind { const char *name; double factor, low, high, original; } RopeKind;

static double call_number(Val v, int i)
{
	double x = 0;
	val_number(v.items[i], &x);
	return x;
}

static bool rope_args(Call *c, Val v, RopeKind *k)
{
	static const char *const names[4] = { "factor", "low", "high", "original" };
	double *at[4] = { &k->factor, &k->low, &k->high, &k->original };
	int next = 0, count = strcmp(v.s, "linear") == 0 ? 1 : 4;
	uint32_t given = 0;
	for (int i = 0; i < v.nitems; i++) {
		int slot = v.names[i] ? 0 : next++;
		while (v.names[i] && slot < count && strcmp(names[slot], v.names[i]) != 0)
			slot++;
		if (slot >= count) {
			err(c->e, arg_loc(c, 2), "E0430", "`%s` has no argument `%s`", v.s, v.names[i] ? v.names[i] : "so many");
			return false;
		}
		*at[slot] = call_number(v, i);
		given |= 1u << slot;
	}
	for (int i = 0; i < count; i++)
		if (!(given >> i & 1) || *at[i] <= 0) {
			err(c->e, arg_loc(c, 2), "E0440", "`%s` needs a positive `%s`", v.s, names[i]);
			return false;
		}
	return true;
}

static bool rope_kind(Call *c, RopeKind *k)
{
	Val v = c->arg[2];
	*k = (RopeKind){ .name = "none" };
	if (v.kind == V_NONE || (v.kind == V_CALL && !v.s))
		return true;
	if (v.kind != V_CALL) {
		err(c->e, arg_loc(c, 2), "E0454", "`scale` is none, linear(f) or llama3(..), got %s", val_describe(c->e, v));
		return false;
	}
	k->name = v.s;
	if (strcmp(v.s, "linear") == 0 || strcmp(v.s, "llama3") == 0)
		return rope_args(c, v, k);
	unsupported(c->e, arg_loc(c, 2), "`rope` scaled by `%s`", v.s);
	return false;
}

/* Llama 3.1's frequencies: slow ones are divided by the factor, fast ones kept, between them interpolated. */
static Value *llama3_scale(Builder *b, Value *freq, RopeKind k)
{
	double turns = k.original / (2 * M_PI);   /* of a frequency over the original context */
	Value *s = b_binary(b, OP_MUL, freq, b_const(b, DT_F32, turns / (k.high - k.low)));
	s = b_binary(b, OP_SUB, s, b_const(b, DT_F32, k.low / (k.high - k.low)));
	s = b_binary(b, OP_MIN, b_binary(b, OP_MAX, s, b_const(b, DT_F32, 0)), b_const(b, DT_F32, 1));
	s = b_binary(b, OP_MUL, s, b_const(b, DT_F32, 1 - 1 / k.factor));
	return b_binary(b, OP_MUL, freq, b_binary(b, OP_ADD, s, b_const(b, DT_F32, 1 / k.factor)));
}

/* theta^(-2i/K) for i < K/2: f32[half] */
static Value *frequencies(Builder *b, double theta, int64_t half, RopeKind k)
{
	const Dim *n = dim_const(half);
	Value *i = b_convert(b, b_iota(b, 0, type_make(DT_I32, 1, &n)), DT_F32);
	Value *f = b_unary(b, OP_EXP, b_binary(b, OP_MUL, i, b_const(b, DT_F32, -log(theta) / (double)half)));
	if (strcmp(k.name, "linear") == 0)
		return b_binary(b, OP_MUL, f, b_const(b, DT_F32, 1 / k.factor));
	return strcmp(k.name, "llama3") == 0 ? llama3_scale(b, f, k) : f;
}

/* x (..,T,H,K), angles (T,1,K/2) */
static Value *rotate(Builder *b, Value *x, Value *angle, int64_t half)
{
	int last = x->type.rank - 1;
	const Dim *n = dim_const(half);
	Value *cos = b_unary(b, OP_COS, angle), *sin = b_unary(b, OP_SIN, angle);
	Value *lo = b_slice(b, x, last, dim_const(0), n), *hi = b_slice(b, x, last, n, n);
	Value *a = b_binary(b, OP_SUB, b_binary(b, OP_MUL, lo, cos), b_binary(b, OP_MUL, hi, sin));
	Value *z = b_binary(b, OP_ADD, b_binary(b, OP_MUL, hi, cos), b_binary(b, OP_MUL, lo, sin));
	return b_concat(b, (Value *[]){ a, z }, 2, last);
}

Val fn_rope(Call *c)
{
	Elab *e = c->e;
	Builder *b = &e->b;
	RopeKind kind;
	double theta = 10000;
	int64_t width;
	Value *x = want_float(c, 0);
	if (!x)
		return poison;
	if (c->arg[1].kind != V_NONE && !val_is_number(c->arg[1]))
		return fail(e, arg_loc(c, 1), "E0432", "`theta` is a number, got %s", val_describe(e, c->arg[1]));
	if (x->type.rank < 3)
		return fail(e, arg_loc(c, 0), "E0454", "`rope` wants [..,T,H,K], got %s", show_type(e, x->type));
	if (c->arg[3].kind != V_NONE)
		return unsupported(e, arg_loc(c, 3), "`rope` of some dims only");
	if (!rope_kind(c, &kind))
		return poison;
	if (e->symbolic || !dim_is_const(x->type.dim[x->type.rank - 1], &width))
		return val_tensor(b_source(b, OP_INPUT, "rope", x->type));
	if (width % 2)
		return fail(e, c->loc, "E0454", "`rope` turns pairs; a head width of %lld is odd", (long long)width);
	val_number(c->arg[1], &theta);
	const Dim *T = x->type.dim[x->type.rank - 3], *one = dim_const(1);
	Value *at = b_convert(b, b_iota(b, 0, type_make(DT_I32, 1, &T)), DT_F32);
	at = b_reshape(b, at, type_make(DT_F32, 3, (const Dim *[]){ T, one, one }));
	return val_tensor(rotate(b, x, b_binary(b, OP_MUL, at, frequencies(b, theta, width / 2, kind)), width / 2));
}
