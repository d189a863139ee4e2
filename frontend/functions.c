/* functions.c: the table of built-in functions, how their arguments are found, arithmetic and reductions.
 * What is a few lines over these is in the prelude, in the language itself. */
#include "frontend/elab.h"

#include <math.h>

static const Val poison = { .kind = V_POISON };

Loc arg_loc(Call *c, int i)
{
	return c->expr[i] ? c->expr[i]->loc : c->loc;
}

Value *want_float(Call *c, int i)
{
	Val v = c->arg[i];
	if (val_is_number(v))
		return val_value(c->e, v);
	if (v.kind == V_TENSOR && v.t->type.dt == DT_F32)
		return v.t;
	err(c->e, arg_loc(c, i), "E0443", "`%s` wants a float tensor, got %s", c->fn, val_describe(c->e, v));
	if (v.kind == V_TENSOR)
		help(c->e, "`f32(x)` converts to floats");
	return NULL;
}

/* Elementwise */

static double of_number(Op op, double x)
{
	switch (op) {
	case OP_EXP:     return exp(x);
	case OP_LOG:     return log(x);
	case OP_SQRT:    return sqrt(x);
	case OP_RSQRT:   return 1 / sqrt(x);
	case OP_TANH:    return tanh(x);
	case OP_ERF:     return erf(x);
	case OP_SIN:     return sin(x);
	case OP_COS:     return cos(x);
	case OP_SIGMOID: return 1 / (1 + exp(-x));
	case OP_ABS:     return fabs(x);
	default:         return x;
	}
}

static Val fn_unary(Call *c)
{
	double x;
	if (val_is_number(c->arg[0]))
		return val_number(c->arg[0], &x) ? val_float(of_number(c->op, x)) : val_unknown(V_FLOAT);
	Value *v = want_float(c, 0);
	return v ? tensor_op(c->e, c->loc, c->op, &c->arg[0], 1) : poison;
}

static Val fn_binary(Call *c)
{
	double x, y;
	Val a = c->arg[0], b = c->arg[1];
	if (!val_is_number(a) || !val_is_number(b))
		return tensor_op(c->e, c->loc, c->op, c->arg, 2);
	bool ints = a.kind == V_INT && b.kind == V_INT;
	if (!val_number(a, &x) || !val_number(b, &y))
		return ints ? val_int(dim_sym(internf("%s(%s,%s)", c->fn, dim_text(a.n), dim_text(b.n)))) : val_unknown(V_FLOAT);
	bool first = c->op == OP_MAX ? x >= y : x <= y;
	return first ? a : b;
}

static Val fn_where(Call *c)
{
	Val v = c->arg[0];
	if (v.kind != V_TENSOR || v.t->type.dt != DT_BOOL)
		return fail(c->e, arg_loc(c, 0), "E0443", "`where` chooses by a bool tensor, got %s", val_describe(c->e, v));
	return tensor_op(c->e, c->loc, OP_SELECT, c->arg, 3);
}

static Val fn_convert(Call *c)
{
	Val v = c->arg[0];
	DType to = c->op == OP_TO_F32 ? DT_F32 : DT_I32;
	if (val_is_number(v) && to == DT_F32)
		return val_tensor(val_value(c->e, v));
	if (v.kind != V_TENSOR)
		return fail(c->e, arg_loc(c, 0), "E0443", "`%s` converts a tensor, got %s", c->fn, val_describe(c->e, v));
	return val_tensor(b_convert(&c->e->b, v.t, to));
}

/* Axes */

static int recall(Elab *e, Expr *x)
{
	for (int i = 0; i < e->axes.len; i++)
		if (e->axes.at[i].expr == x)
			return e->axes.at[i].from_end;
	return 0;
}

static int axis_of_dim(Elab *e, Val x, const Dim *d, Expr *ex, Loc loc)
{
	int found = -1, n = 0, rank = x.t->type.rank, known = recall(e, ex);
	if (known > 0 && known <= rank && x.t->type.dim[rank - known] == d)
		return rank - known;
	for (int i = 0; i < rank; i++)
		if (x.t->type.dim[i] == d)
			n++, found = i;
	if (n == 1) {
		vec_push(e->arena, &e->axes, ((AxisFact){ ex, rank - found }));
		return found;
	}
	err(e, loc, "E0444", n ? "%s has more than one axis %s" : "%s has no axis %s", val_describe(e, x), show_dim(e, d));
	help(e, "an axis can be given by its number, -1 is the last");
	return -1;
}

int axis_of(Elab *e, Val x, Val axis, Expr *ex, Loc loc)
{
	int64_t n;
	int rank = x.t->type.rank;
	if (axis.kind == V_NONE || !ex)
		return rank - 1;
	if (axis.kind != V_INT) {
		err(e, loc, "E0445", "an axis is a number or a dim, got %s", val_describe(e, axis));
		return -1;
	}
	if (!is_literal(ex))
		return axis_of_dim(e, x, axis.n, ex, loc);
	dim_is_const(axis.n, &n);
	if (n >= -rank && n < rank)
		return (int)(n < 0 ? n + rank : n);
	err(e, loc, "E0446", "%s has no axis %lld", val_describe(e, x), (long long)n);
	return -1;
}

/* Reductions */

Value *scalar_of(Elab *e, Value *x)
{
	return b_reshape(&e->b, x, type_scalar(x->type.dt));
}

static const Dim *extent_of(Value *x, uint32_t axes)
{
	const Dim *n = dim_const(1);
	for (int i = 0; i < x->type.rank; i++)
		if (axes >> i & 1)
			n = dim_mul(n, x->type.dim[i]);
	return n;
}

Value *reduce_mean(Elab *e, Value *x, uint32_t axes)
{
	int64_t n;
	const Dim *count = extent_of(x, axes);
	Value *sum = b_reduce(&e->b, OP_SUM, x, axes);
	if (dim_is_const(count, &n) && n > 0)
		return b_binary(&e->b, OP_MUL, sum, b_const(&e->b, DT_F32, 1 / (double)n));
	return b_binary(&e->b, OP_DIV, sum, val_value(e, val_int(count)));
}

static Value *drop_axes(Elab *e, Value *x, uint32_t axes)
{
	Type t = { .dt = x->type.dt };
	for (int i = 0; i < x->type.rank; i++)
		if (!(axes >> i & 1))
			t.dim[t.rank++] = x->type.dim[i];
	return b_reshape(&e->b, x, t);
}

/* `where=` has the axes of x up to the reduced one; as a tensor that broadcasts to x. */
static Value *where_arg(Call *c, int i, Value *x, int axis)
{
	Elab *e = c->e;
	Val w = c->arg[i];
	if (w.kind != V_TENSOR || w.t->type.dt != DT_BOOL) {
		err(e, arg_loc(c, i), "E0443", "`where` is a bool tensor, got %s", val_describe(e, w));
		return NULL;
	}
	Type t = x->type, out, want = w.t->type;
	t.dt = DT_BOOL;
	for (int k = axis + 1; want.rank == axis + 1 && k < t.rank; k++)
		want.dim[k] = dim_const(1);
	if (want.rank == axis + 1)
		want.rank = t.rank;
	if (!type_broadcast(t, want, &out) || !type_eq(out, t)) {
		err(e, arg_loc(c, i), "E0405", "`where` is %s, which does not fit %s", val_describe(e, w), show_type(e, x->type));
		return NULL;
	}
	return b_reshape(&e->b, w.t, want);
}

static Value *masked_mean(Elab *e, Value *x, Value *where, uint32_t axes)
{
	Builder *b = &e->b;
	Type full = x->type;
	full.dt = DT_BOOL;
	Value *ones = b_convert(b, type_eq(where->type, full) ? where : b_expand(b, where, full), DT_F32);
	Value *n = b_binary(b, OP_MAX, b_reduce(b, OP_SUM, ones, axes), b_const(b, DT_F32, 1));
	Value *kept = b_select(b, where, x, b_const(b, DT_F32, 0));
	return b_binary(b, OP_DIV, b_reduce(b, OP_SUM, kept, axes), n);
}

typedef enum Reduction { R_SUM, R_MEAN, R_MAX, R_VAR } Reduction;

static Value *reduce(Elab *e, Reduction r, Value *x, Value *where, uint32_t axes)
{
	Builder *b = &e->b;
	if (where && r == R_MEAN)
		return masked_mean(e, x, where, axes);
	if (where)
		x = b_select(b, where, x, b_const(b, DT_F32, r == R_MAX ? -1e30 : 0));
	if (r == R_SUM || r == R_MAX)
		return b_reduce(b, r == R_SUM ? OP_SUM : OP_RMAX, x, axes);
	Value *mean = reduce_mean(e, x, axes);
	if (r == R_MEAN)
		return mean;
	Value *centred = b_binary(b, OP_SUB, x, mean);
	return reduce_mean(e, b_binary(b, OP_MUL, centred, centred), axes);
}

static Val reduction(Call *c, Reduction r)
{
	Elab *e = c->e;
	Value *x = want_float(c, 0), *where = NULL;
	if (!x)
		return poison;
	int axis = c->expr[1] ? axis_of(e, val_tensor(x), c->arg[1], c->expr[1], arg_loc(c, 1)) : x->type.rank - 1;
	if (c->expr[1] && axis < 0)
		return poison;
	uint32_t axes = c->expr[1] ? 1u << axis : (1u << x->type.rank) - 1;
	if (c->expr[2] && r == R_VAR)
		return unsupported(e, arg_loc(c, 2), "`where` of `var`");
	if (c->expr[2] && !(where = where_arg(c, 2, x, axis)))
		return poison;
	if (!axes)
		return val_tensor(x);
	Value *y = reduce(e, r, x, where, axes);
	bool keep = c->arg[3].kind == V_BOOL && c->arg[3].f != 0;
	return val_tensor(keep ? y : drop_axes(e, y, axes));
}

static Val fn_sum(Call *c) { return reduction(c, R_SUM); }
static Val fn_mean(Call *c) { return reduction(c, R_MEAN); }
static Val fn_var(Call *c) { return reduction(c, R_VAR); }

/* max(x, axis) is a reduction; max(a, b) of two tensors or a float is elementwise. */
static Val fn_max(Call *c)
{
	bool pair = c->expr[1] && (c->arg[1].kind == V_TENSOR || c->arg[1].kind == V_FLOAT || val_is_number(c->arg[0]));
	if (!pair)
		return reduction(c, R_MAX);
	c->op = OP_MAX;
	return fn_binary(c);
}

static Val fn_softmax(Call *c)
{
	Elab *e = c->e;
	Value *x = want_float(c, 0);
	int axis = x ? axis_of(e, val_tensor(x), c->arg[1], c->expr[1], arg_loc(c, 1)) : -1;
	if (axis < 0)
		return poison;
	Attrs a = { .axis = axis };
	return val_tensor(build(&e->b, OP_SOFTMAX, &x, 1, &a, NULL));
}

static Val fn_log_softmax(Call *c)
{
	Elab *e = c->e;
	Builder *b = &e->b;
	Value *x = want_float(c, 0);
	int axis = x ? axis_of(e, val_tensor(x), c->arg[1], c->expr[1], arg_loc(c, 1)) : -1;
	if (axis < 0)
		return poison;
	Value *top = b_unary(b, OP_STOP, b_reduce(b, OP_RMAX, x, 1u << axis));
	Value *low = b_binary(b, OP_SUB, x, top);
	Value *sum = b_reduce(b, OP_SUM, b_unary(b, OP_EXP, low), 1u << axis);
	return val_tensor(b_binary(b, OP_SUB, low, b_unary(b, OP_LOG, sum)));
}

static Val fn_l2_normalize(Call *c)
{
	Elab *e = c->e;
	Builder *b = &e->b;
	Value *x = want_float(c, 0);
	int axis = x ? axis_of(e, val_tensor(x), c->arg[1], c->expr[1], arg_loc(c, 1)) : -1;
	if (axis < 0)
		return poison;
	Value *sum = b_reduce(b, OP_SUM, b_binary(b, OP_MUL, x, x), 1u << axis);
	Value *r = b_unary(b, OP_RSQRT, b_binary(b, OP_MAX, sum, b_const(b, DT_F32, 1e-24)));
	return val_tensor(b_binary(b, OP_MUL, x, r));
}

static Val fn_unsupported(Call *c)
{
	return unsupported(c->e, c->loc, "`%s`", c->fn);
}

#define REDUCTION "x, axis?, where?, keep?"
static const Builtin builtins[] = {
	{ "exp", "x", fn_unary, OP_EXP }, { "log", "x", fn_unary, OP_LOG }, { "sqrt", "x", fn_unary, OP_SQRT },
	{ "rsqrt", "x", fn_unary, OP_RSQRT }, { "tanh", "x", fn_unary, OP_TANH }, { "erf", "x", fn_unary, OP_ERF },
	{ "sin", "x", fn_unary, OP_SIN }, { "cos", "x", fn_unary, OP_COS }, { "sigmoid", "x", fn_unary, OP_SIGMOID },
	{ "abs", "x", fn_unary, OP_ABS }, { "stop", "x", fn_unary, OP_STOP },
	{ "maximum", "a, b", fn_binary, OP_MAX }, { "minimum", "a, b", fn_binary, OP_MIN }, { "min", "a, b", fn_binary, OP_MIN },
	{ "max", REDUCTION, fn_max, 0 }, { "sum", REDUCTION, fn_sum, 0 }, { "mean", REDUCTION, fn_mean, 0 },
	{ "var", REDUCTION, fn_var, 0 },
	{ "where", "cond, a, b", fn_where, 0 }, { "f32", "x", fn_convert, OP_TO_F32 }, { "i32", "x", fn_convert, OP_TO_I32 },
	{ "softmax", "x, axis?", fn_softmax, 0 }, { "log_softmax", "x, axis?", fn_log_softmax, 0 },
	{ "l2_normalize", "x, axis?", fn_l2_normalize, 0 },
	{ "concat", "*, axis?", fn_concat, 0 }, { "unstack", "x, axis?", fn_unstack, 0 },
	{ "expand", "x, shape", fn_expand, 0 }, { "transpose", "x, axes?", fn_transpose, 0 },
	{ "rearrange", "x, 'how", fn_rearrange, 0 }, { "einsum", "'*", fn_einsum, 0 },
	{ "positions", "n", fn_positions, 0 }, { "index", "n", fn_positions, 0 }, { "zeros", "'type", fn_zeros, 0 },
	{ "one_hot", "ids, n", fn_one_hot, 0 },
	{ "attention", "q, k, v, mask?, bias?, scale?, softcap?, dropout?", fn_attention, 0 },
	{ "rope", "x, theta?, scale?, dims?", fn_rope, 0 }, { "dropout", "x, p", fn_dropout, 0 },
	{ "unembed", "x, table", fn_unembed, 0 }, { "keys", "real", fn_keys, 0 },
	{ "cross_entropy", "logits, labels, smoothing?", fn_cross_entropy, 0 },
	{ "accuracy", "logits, labels, k?", fn_accuracy, 0 },
	{ "window", "*", fn_unsupported, 0 }, { "gather", "*", fn_unsupported, 0 }, { "argmax", "*", fn_unsupported, 0 },
	{ "top_k", "*", fn_unsupported, 0 }, { "relative", "*", fn_unsupported, 0 }, { "sinusoids", "*", fn_unsupported, 0 },
	{ "moe", "*", fn_unsupported, 0 }, { "splice", "*", fn_unsupported, 0 }, { "bce", "*", fn_unsupported, 0 },
	{ "sampled_softmax", "*", fn_unsupported, 0 }, { "hit_rate", "*", fn_unsupported, 0 },
	{ "ndcg", "*", fn_unsupported, 0 },
};

const Builtin *builtin_find(const char *name)
{
	for (int i = 0; i < COUNT(builtins); i++)
		if (strcmp(builtins[i].name, name) == 0)
			return &builtins[i];
	return NULL;
}

void builtin_names(Elab *e, NameList *out)
{
	for (int i = 0; i < COUNT(builtins); i++)
		vec_push(e->arena, out, builtins[i].name);
}

/* Arguments */

typedef struct Param1 { const char *name; bool optional, raw; } Param1;

static int split_params(const char *p, Param1 *out)
{
	int n = 0;
	while (*p) {
		size_t len = strcspn(p, ",");
		Param1 q = { .raw = *p == '\'' };
		q.optional = p[len - 1] == '?';
		q.name = intern_n(p + q.raw, len - q.raw - q.optional);
		out[n++] = q;
		p += len + strspn(p + len, ", ");
	}
	return n;
}

static int find_param(const Param1 *p, int n, const char *name)
{
	for (int i = 0; i < n; i++)
		if (strcmp(p[i].name, name) == 0)
			return i;
	return -1;
}

static bool unknown_named(Call *c, const Param1 *p, int n, Arg *a)
{
	const char *names[MAX_PARAMS];
	for (int i = 0; i < n; i++)
		names[i] = p[i].name;
	err(c->e, a->loc, "E0430", "`%s` has no argument `%s`", c->fn, a->name);
	suggest_among(c->e, a->name, names, n);
	return false;
}

static bool take_arg(Call *c, const Param1 *p, int n, Arg *a, int *next)
{
	bool star = n > 0 && strcmp(p[0].name, "*") == 0;
	if (!a->name && star) {
		vec_push(c->e->arena, &c->rest, ((ArgVal){ NULL, eval(c->e, a->value), a->value->loc }));
		return true;
	}
	int i = a->name ? find_param(p, n, a->name) : (*next)++;
	if (a->name && i < 0)
		return unknown_named(c, p, n, a);
	if (i >= n) {
		err(c->e, a->value->loc, "E0431", "`%s` takes %d argument%s", c->fn, n, n == 1 ? "" : "s");
		return false;
	}
	if (c->expr[i]) {
		err(c->e, a->loc, "E0439", "`%s` is given twice", p[i].name);
		return false;
	}
	c->expr[i] = a->value;
	c->arg[i] = p[i].raw ? val_none() : eval(c->e, a->value);
	return true;
}

static bool take_args(Call *c, const Param1 *p, int n, Arg *args)
{
	bool ok = true;
	int next = 0;
	for (Arg *a = args; a; a = a->next)
		ok &= take_arg(c, p, n, a, &next);
	for (int i = 0; i < n; i++)
		if (ok && !c->expr[i] && !p[i].optional && strcmp(p[i].name, "*") != 0) {
			err(c->e, c->loc, "E0440", "`%s` is called without its argument `%s`", c->fn, p[i].name);
			ok = false;
		}
	for (int i = 0; i < n; i++)
		ok &= c->arg[i].kind != V_POISON;
	for (int i = 0; i < c->rest.len; i++)
		ok &= c->rest.at[i].val.kind != V_POISON;
	return ok;
}

Val builtin_call(Elab *e, const Builtin *b, Expr *x)
{
	Param1 params[MAX_PARAMS];
	Call c = { .e = e, .loc = x->loc, .fn = b->name, .op = b->op, .raw = x->args };
	for (int i = 0; i < MAX_PARAMS; i++)
		c.arg[i] = val_none();
	if (b->fn == fn_unsupported || strcmp(b->params, "'*") == 0)
		return b->fn(&c);
	int n = split_params(b->params, params);
	if (!take_args(&c, params, n, x->args))
		return poison;
	place(e, x->loc);
	return b->fn(&c);
}
