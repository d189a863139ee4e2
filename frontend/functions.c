/* functions.c: the table of built-in functions, how their arguments are found, and arithmetic.
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

Val fn_binary(Call *c)
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

/* valid(labels): where they are not ignored; true, if none of them may be */
static Val fn_valid(Call *c)
{
	Builder *b = &c->e->b;
	Val v = c->arg[0];
	if (v.kind != V_TENSOR || v.t->type.dt != DT_I32)
		return fail(c->e, arg_loc(c, 0), "E0443", "`valid` wants labels, got %s", val_describe(c->e, v));
	return v.optional ? val_tensor(b_binary(b, OP_LE, b_const(b, DT_I32, 0), v.t)) : val_bool(true);
}

#define REDUCTION "x, axis?, where?, keep?"
static const Builtin builtins[] = {
	{ "exp", "x", fn_unary, OP_EXP }, { "log", "x", fn_unary, OP_LOG }, { "sqrt", "x", fn_unary, OP_SQRT },
	{ "rsqrt", "x", fn_unary, OP_RSQRT }, { "tanh", "x", fn_unary, OP_TANH }, { "erf", "x", fn_unary, OP_ERF },
	{ "sin", "x", fn_unary, OP_SIN }, { "cos", "x", fn_unary, OP_COS }, { "sigmoid", "x", fn_unary, OP_SIGMOID },
	{ "abs", "x", fn_unary, OP_ABS }, { "stop", "x", fn_unary, OP_STOP },
	{ "maximum", "a, b", fn_binary, OP_MAX }, { "minimum", "a, b", fn_binary, OP_MIN }, { "min", REDUCTION, fn_min, 0 },
	{ "max", REDUCTION, fn_max, 0 }, { "sum", REDUCTION, fn_sum, 0 }, { "mean", REDUCTION, fn_mean, 0 },
	{ "var", REDUCTION, fn_var, 0 },
	{ "where", "cond, a, b", fn_where, 0 }, { "f32", "x", fn_convert, OP_TO_F32 }, { "i32", "x", fn_convert, OP_TO_I32 },
	{ "softmax", "x, axis?", fn_softmax, 0 },
	{ "concat", "*, axis?", fn_concat, 0 }, { "unstack", "x, axis?", fn_unstack, 0 },
	{ "expand", "x, shape", fn_expand, 0 }, { "transpose", "x, axes?", fn_transpose, 0 },
	{ "rearrange", "x, 'how", fn_rearrange, 0 }, { "einsum", "'*", fn_einsum, 0 },
	{ "positions", "n", fn_positions, 0 }, { "index", "n", fn_positions, 0 }, { "zeros", "'type", fn_zeros, 0 },
	{ "attention", "q, k, v, mask?, bias?, scale?, softcap?, dropout?", fn_attention, 0 },
	{ "rope", "x, theta?, scale?, dims?, interleaved?", fn_rope, 0 }, { "dropout", "x, p", fn_dropout, 0 },
	{ "unembed", "x, table", fn_unembed, 0 }, { "keys", "real", fn_keys, 0 }, { "window", "width", fn_window, 0 }, { "pairs", "see", fn_pairs, 0 },
	{ "valid", "labels", fn_valid, 0 },
	{ "gather", "x, ids, axis?", fn_gather, 0 }, { "argmax", "x, axis?", fn_argmax, 0 },
	{ "top_k", "x, k, exclude?", fn_top_k, 0 }, { "nonzero", "x", fn_nonzero, 0 }, { "relative", "queries, keys, buckets, max, both?", fn_relative, 0 },
	{ "f1", "logits, labels", fn_whole, 0 }, { "macro_f1", "logits, labels", fn_whole, 0 }, { "matthews", "logits, labels", fn_whole, 0 },
	{ "pearson", "a, b", fn_whole, 0 }, { "spearman", "a, b", fn_whole, 0 },
	{ "entity_f1", "logits", fn_whole, 0 }, { "entity_precision", "logits", fn_whole, 0 }, { "entity_recall", "logits", fn_whole, 0 },
	{ "exact_match", "first, last", fn_whole, 0 }, { "answer_f1", "first, last", fn_whole, 0 },
	{ "bce", "logits, targets, labels?, negatives?", fn_bce, 0 },
	{ "sampled_softmax", "h, table, labels, negatives?, log_uniform?", fn_sampled_softmax, 0 },
	{ "moe", "x, gate, experts, top?, 'scores?", fn_moe, 0 },
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
	if (strcmp(b->params, "'*") == 0)
		return b->fn(&c);
	int n = split_params(b->params, params);
	if (!take_args(&c, params, n, x->args))
		return poison;
	place(e, x->loc);
	return b->fn(&c);
}
