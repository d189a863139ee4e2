/* expr.c: expressions. Integers are dims (polynomials over symbols), so that shape arithmetic and plain
 * arithmetic are one; floats and bools may be unknown in check mode; everything else builds values. */
#include "frontend/elab.h"

#include <math.h>

static const Val poison = { .kind = V_POISON };

enum { MAX_WORK = 1000000, MAX_NESTED = 1000 };   /* steps in all; eval() within eval(): 8 MiB of stack suffice with the sanitizers too */

bool work_left(Elab *e, Loc loc, int n)
{
	if (e->spent)
		return false;
	if ((e->work += n) <= MAX_WORK)
		return true;
	err(e, loc, "E0313", "expanded, this is more than %d million operations", MAX_WORK / 1000000);
	help(e, "functions, repeats and loops are expanded where they are used: those within each other multiply");
	e->spent = true;
	return false;
}

bool item_open(const Elab *e, const Item *it)
{
	for (int i = 0; i < e->open.len; i++)
		if (e->open.at[i] == it)
			return true;
	return false;
}

Val eval_in(Elab *e, Frame *f, Expr *x)
{
	Frame *saved = e->frame;
	e->frame = f;
	Val v = eval(e, x);
	e->frame = saved;
	return v;
}

bool eval_int(Elab *e, Expr *x, const char *what, const Dim **out)
{
	Val v = eval(e, x);
	if (v.kind == V_INT)
		return *out = v.n, true;
	if (v.kind != V_POISON)
		err(e, x->loc, "E0401", "%s must be an integer, got %s", what, val_describe(e, v));
	return false;
}

bool is_literal(const Expr *x)
{
	return x->kind == E_NUMBER || (x->kind == E_UNARY && x->a->kind == E_NUMBER);
}

bool extent_ok(Elab *e, Loc loc, const Dim *d)
{
	int64_t n;
	if (!dim_is_const(d, &n) || (n >= 1 && n <= INT32_MAX))
		return true;
	err(e, loc, "E0456", "an extent is at least 1 and below 2^31, got %lld", (long long)n);
	return false;
}

bool eval_extent(Elab *e, Expr *x, const Dim **out)
{
	return eval_int(e, x, "an extent", out) && extent_ok(e, x->loc, *out);
}

static bool has_runtime_dim(Elab *e, const Dim *d)
{
	for (int i = 0; i < e->bounds.len; i++)
		if (dim_subst(d, e->bounds.at[i].name, dim_const(1)) != d)
			return true;
	return false;
}

bool compile_time(Elab *e, Loc loc, const Dim *d, const char *what)
{
	if (dim_is_const(d, NULL) || (e->symbolic && !has_runtime_dim(e, d)))
		return true;
	err(e, loc, "E0402", "%s must be known when compiling, got the run-time dim %s", what, show_dim(e, d));
	help(e, "run-time dims take their values when the program runs; a number or a config value is fixed when compiling");
	return false;
}

bool eval_const_int(Elab *e, Expr *x, const char *what, int64_t *out)
{
	const Dim *d;
	if (!eval_int(e, x, what, &d))
		return false;
	return compile_time(e, x->loc, d, what) && dim_is_const(d, out);
}

/* Integers */

/* Division of compile-time integers must come out even, but that of a sum, which rounds down as sizes of strided
 * convolutions do: (I - P)/R + 1. That of run-time dims rounds down. NULL after an error. */
static const Dim *int_div(Elab *e, Loc loc, const Dim *a, const Dim *b, bool of_sum)
{
	int64_t x, y;
	if (dim_is(b, 0)) {
		err(e, loc, "E0403", "division by zero");
		return NULL;
	}
	if (of_sum || has_runtime_dim(e, a) || has_runtime_dim(e, b))
		return dim_div(a, b);
	if (!dim_is_const(a, &x) || !dim_is_const(b, &y))
		return dim_div_exact(a, b);
	if (x % y == 0)
		return dim_const(x / y);
	err(e, loc, "E0404", "%lld is not divisible by %lld", (long long)x, (long long)y);
	if (!e->in_prelude)
		help(e, "for a fraction write one of them as a float: %lld.0", (long long)y);
	return NULL;
}

static bool is_sum(const Expr *x)
{
	return x->kind == E_BINARY && (x->op == B_ADD || x->op == B_SUB);
}

static Val eval_quotient(Elab *e, Expr *x)
{
	Val a = eval(e, x->a), b = eval(e, x->b);
	if (a.kind != V_INT || b.kind != V_INT || !is_sum(x->a))
		return eval_binary(e, x->loc, B_DIV, a, b);
	const Dim *q = int_div(e, x->loc, a.n, b.n, true);
	return q ? val_int(q) : poison;
}

static Val int_mod(Elab *e, Loc loc, const Dim *a, const Dim *b)
{
	if (dim_is(b, 0))
		return fail(e, loc, "E0403", "division by zero");
	return val_int(dim_sub(a, dim_mul(b, dim_div(a, b))));
}

/* Of an exponent that check mode does not know: written with a minus, as K^-n. */
static bool below_zero(const Dim *d)
{
	return dim_text(d)[0] == '-' && !strstr(dim_text(d), " + ");
}

/* 2^i of an unknown i is an integer of its own. */
static Val int_pow(const Dim *a, const Dim *b)
{
	int64_t x, n;
	if (!dim_is_const(b, &n))
		return below_zero(b) ? val_unknown(V_FLOAT) : val_int(dim_sym(internf("(%s)^(%s)", dim_text(a), dim_text(b))));
	if (n < 0)
		return dim_is_const(a, &x) ? val_float(pow((double)x, (double)n)) : val_unknown(V_FLOAT);
	const Dim *r = dim_const(1);
	for (int64_t i = 0; i < n && i < 64; i++)
		r = dim_mul(r, a);
	return val_int(r);
}

static Val int_compare(BinOp op, const Dim *a, const Dim *b)
{
	int64_t d;
	if (!dim_is_const(dim_sub(a, b), &d))
		return val_unknown(V_BOOL);
	switch (op) {
	case B_EQ: return val_bool(d == 0);
	case B_NE: return val_bool(d != 0);
	case B_LT: return val_bool(d < 0);
	case B_GT: return val_bool(d > 0);
	case B_LE: return val_bool(d <= 0);
	default:   return val_bool(d >= 0);
	}
}

enum { MAX_FORMULA = 400 };   /* terms and factors of one integer: each use of it walks them */

static Val not_too_large(Elab *e, Loc loc, Val v)
{
	if (v.kind != V_INT || dim_weight(v.n) <= MAX_FORMULA)
		return v;
	return fail(e, loc, "E0459", "this formula of dims has more than %d terms and factors", MAX_FORMULA);
}

static Val int_op(Elab *e, Loc loc, BinOp op, const Dim *a, const Dim *b)
{
	const Dim *q;
	switch (op) {
	case B_ADD: return val_int(dim_add(a, b));
	case B_SUB: return val_int(dim_sub(a, b));
	case B_MUL: return val_int(dim_mul(a, b));
	case B_DIV: return (q = int_div(e, loc, a, b, false)) ? val_int(q) : poison;
	case B_MOD: return int_mod(e, loc, a, b);
	case B_POW: return int_pow(a, b);
	default:    return int_compare(op, a, b);
	}
}

static Val int_binary(Elab *e, Loc loc, BinOp op, const Dim *a, const Dim *b)
{
	return not_too_large(e, loc, int_op(e, loc, op, a, b));
}

/* Floats, bools, strings */

static bool is_compare(BinOp op)
{
	return op == B_EQ || op == B_NE || op == B_LT || op == B_GT || op == B_LE || op == B_GE;
}

static Val float_binary(Elab *e, Loc loc, BinOp op, Val a, Val b)
{
	double x, y;
	if (!val_number(a, &x) || !val_number(b, &y))
		return val_unknown(is_compare(op) ? V_BOOL : V_FLOAT);
	switch (op) {
	case B_ADD: return val_float(x + y);
	case B_SUB: return val_float(x - y);
	case B_MUL: return val_float(x * y);
	case B_DIV: return y == 0 ? fail(e, loc, "E0403", "division by zero") : val_float(x / y);
	case B_MOD: return val_float(fmod(x, y));
	case B_POW: return val_float(pow(x, y));
	case B_EQ:  return val_bool(x == y);
	case B_NE:  return val_bool(x != y);
	case B_LT:  return val_bool(x < y);
	case B_GT:  return val_bool(x > y);
	case B_LE:  return val_bool(x <= y);
	default:    return val_bool(x >= y);
	}
}

static Val bool_binary(BinOp op, Val a, Val b)
{
	bool and = op == B_AND;
	if (a.known && (a.f != 0) != and)   /* false and .., true or .. */
		return a;
	if (b.known && (b.f != 0) != and)
		return b;
	return a.known && b.known ? val_bool(and ? a.f != 0 && b.f != 0 : a.f != 0 || b.f != 0) : val_unknown(V_BOOL);
}

static Val same_or_not(BinOp op, Val a, Val b)
{
	if (!a.known || !b.known)
		return val_unknown(V_BOOL);
	bool eq = a.kind == V_STRING ? a.s == b.s : a.f == b.f;
	return val_bool(eq == (op == B_EQ));
}

/* Lists */

/* In check mode a loop runs once, so that nobody knows how long what it makes longer is. */
static Val list_join(Elab *e, Val a, Val b)
{
	Vec(Val) items = {0};
	for (int i = 0; i < a.nitems + b.nitems; i++)
		vec_push(e->arena, &items, i < a.nitems ? a.items[i] : b.items[i - a.nitems]);
	Val v = val_list(e, items.at, items.len);
	v.known = !e->symbolic;
	return v;
}

/* Any two values */

static Val keys_wanted(Elab *e, Loc loc, Val a, Val b)
{
	Val other = a.kind == V_MASK ? b : a;
	if (other.kind == V_MASK)
		return fail(e, loc, "E0408", "masks are joined by `&` and `|`, and not compared or computed with");
	Val v = fail(e, loc, "E0408", "a mask combines with masks only, got %s", val_describe(e, other));
	if (other.kind == V_TENSOR && other.t->type.dt == DT_BOOL)
		help(e, "`keys(x)` makes a mask of a bool tensor");
	return v;
}

static Val list_misfit(Elab *e, Loc loc, BinOp op, Val a, Val b)
{
	Val v = fail(e, loc, "E0407", "`%s` cannot combine %s with %s", binop_text[op], val_describe(e, a), val_describe(e, b));
	if (op == B_ADD)
		help(e, "`xs + [x]` makes a list longer by an element");
	return v;
}

Val eval_binary(Elab *e, Loc loc, BinOp op, Val a, Val b)
{
	if (a.kind == V_POISON || b.kind == V_POISON)
		return poison;
	if (a.kind == V_MASK && b.kind == V_MASK && (op == B_MASK_AND || op == B_MASK_OR))
		return mask_binary(e, op, a, b);
	if (a.kind == V_MASK || b.kind == V_MASK)
		return keys_wanted(e, loc, a, b);
	if (a.kind == V_LIST && b.kind == V_LIST && op == B_ADD)
		return work_left(e, loc, a.nitems + b.nitems) ? list_join(e, a, b) : poison;
	if (a.kind == V_LIST || b.kind == V_LIST)
		return list_misfit(e, loc, op, a, b);
	if (a.kind == V_TENSOR || b.kind == V_TENSOR)
		return tensor_binary(e, loc, op, a, b);
	bool arithmetic = op <= B_POW && op != B_MATMUL;
	if (a.kind == V_INT && b.kind == V_INT && (arithmetic || is_compare(op)))
		return int_binary(e, loc, op, a.n, b.n);
	if (val_is_number(a) && val_is_number(b) && (arithmetic || is_compare(op)))
		return float_binary(e, loc, op, a, b);
	if (a.kind == V_BOOL && b.kind == V_BOOL && (op == B_AND || op == B_OR))
		return bool_binary(op, a, b);
	if (a.kind == b.kind && (a.kind == V_BOOL || a.kind == V_STRING) && (op == B_EQ || op == B_NE))
		return same_or_not(op, a, b);
	if ((a.kind == V_NONE || b.kind == V_NONE) && (op == B_EQ || op == B_NE))
		return a.kind == V_CALL || b.kind == V_CALL ? val_unknown(V_BOOL) : val_bool((a.kind == b.kind) == (op == B_EQ));
	return fail(e, loc, "E0407", "`%s` cannot combine %s with %s", binop_text[op], val_describe(e, a), val_describe(e, b));
}

static Val eval_unary(Elab *e, Expr *x)
{
	Val v = eval(e, x->a);
	if (v.kind == V_POISON)
		return v;
	if (x->op == B_NOT && v.kind == V_BOOL)
		return v.known ? val_bool(v.f == 0) : v;
	if (x->op == B_NOT && v.kind == V_MASK)
		return mask_not(e, v);
	if (x->op == B_NOT && v.kind == V_TENSOR)
		return tensor_op(e, x->loc, OP_NOT, &v, 1);
	if (x->op == B_NEG && v.kind == V_INT) {
		v.n = dim_sub(dim_const(0), v.n);
		return v;
	}
	if (x->op == B_NEG && v.kind == V_FLOAT)
		return v.known ? val_float(-v.f) : v;
	if (x->op == B_NEG && v.kind == V_TENSOR)
		return tensor_op(e, x->loc, OP_NEG, &v, 1);
	return fail(e, x->loc, "E0407", "`%s` cannot take %s", x->op == B_NEG ? "-" : "not", val_describe(e, v));
}

/* a if b else c, decided when compiling; check mode looks at both sides where it can't know. */
static Val eval_ternary(Elab *e, Expr *x)
{
	Val cond = eval(e, x->b);
	if (cond.kind == V_POISON)
		return cond;
	if (cond.kind != V_BOOL) {
		Val v = fail(e, x->b->loc, "E0409", "a condition is true or false, got %s", val_describe(e, cond));
		if (cond.kind == V_TENSOR)
			help(e, "`where(c, a, b)` chooses element by element");
		return v;
	}
	if (cond.known)
		return eval(e, cond.f != 0 ? x->a : x->c);
	Val a = eval(e, x->a), c = eval(e, x->c);
	return a.kind == V_NONE || a.kind == V_POISON ? c : a;
}

static Val eval_list(Elab *e, Expr *x)
{
	Vec(Val) items = {0};
	for (Expr *k = x->kids; k; k = k->next)
		vec_push(e->arena, &items, eval(e, k));
	return val_list(e, items.at, items.len);
}

static Val eval_field(Elab *e, Expr *x)
{
	Val base = eval(e, x->a);
	if (base.kind == V_POISON)
		return base;
	if (base.kind != V_LAYER)
		return fail(e, x->loc, "E0305", "%s has no field `%s`", val_describe(e, base), x->name);
	return layer_field(e, base.layer, x);
}

static Val eval_kind(Elab *e, Expr *x)
{
	Val a;
	switch (x->kind) {
	case E_NAME:     return name_lookup(e, x);
	case E_NUMBER:   return x->is_int ? val_literal(x->integer) : val_float(x->number);
	case E_STRING:   return val_string(x->name);
	case E_TRUE:     return val_bool(true);
	case E_FALSE:    return val_bool(false);
	case E_NONE:     return val_none();
	case E_LIST:     return eval_list(e, x);
	case E_CALL:     return eval_call(e, x);
	case E_INDEX:    return eval_index(e, x);
	case E_FIELD:    return eval_field(e, x);
	case E_UNARY:    return eval_unary(e, x);
	case E_BINARY:
		if (x->op == B_DIV)
			return eval_quotient(e, x);
		a = eval(e, x->a);
		return eval_binary(e, x->loc, x->op, a, eval(e, x->b));
	case E_TERNARY:  return eval_ternary(e, x);
	case E_ARROW:    return fail(e, x->loc, "E0410", "`->` belongs in a layer's declaration or in rearrange and einsum");
	case E_SLICE:
	case E_ELLIPSIS: return fail(e, x->loc, "E0410", "a slice belongs between [ and ]");
	case E_ERROR:    break;
	}
	return poison;
}

Val eval(Elab *e, Expr *x)
{
	if (!work_left(e, x->loc, 1))
		return poison;
	if (e->nest >= MAX_NESTED)
		return fail(e, x->loc, "E0310", "calls and expressions are nested too deeply");
	e->nest++;
	Val v = eval_kind(e, x);
	e->nest--;
	return v;
}
