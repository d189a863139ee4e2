/* shape.c: functions that move elements: concat, unstack, expand, transpose, rearrange; and positions, zeros. */
#include "frontend/elab.h"

static const Val poison = { .kind = V_POISON };

static bool all_tensors(Call *c)
{
	for (int i = 0; i < c->rest.len; i++)
		if (c->rest.at[i].val.kind != V_TENSOR) {
			err(c->e, c->rest.at[i].loc, "E0443", "`%s` wants tensors, got %s", c->fn,
			    val_describe(c->e, c->rest.at[i].val));
			return false;
		}
	if (c->rest.len == 0)
		err(c->e, c->loc, "E0440", "`%s` is called without tensors", c->fn);
	return c->rest.len > 0;
}

Val fn_concat(Call *c)
{
	Elab *e = c->e;
	Value *in[64];
	Type t;
	int n = c->rest.len;
	if (!all_tensors(c))
		return poison;
	if (n > COUNT(in))
		return fail(e, c->loc, "E0431", "`concat` takes at most %d tensors", COUNT(in));
	Val first = c->rest.at[0].val;
	int axis = axis_of(e, first, c->arg[1], c->expr[1], arg_loc(c, 1));
	if (axis < 0)
		return poison;
	for (int i = 0; i < n; i++)
		in[i] = c->rest.at[i].val.t;
	Attrs a = { .axis = axis };
	for (int i = 1; i < n; i++)
		if (op_type(OP_CONCAT, (Value *[]){ in[0], in[i] }, 2, &a, &t)) {
			Val v = fail(e, c->rest.at[i].loc, "E0405", "`concat` cannot join %s and %s", show_type(e, in[0]->type),
			             show_type(e, in[i]->type));
			note(e, c->loc, "all axes but axis %d must be equal", axis);
			return v;
		}
	Val v = val_tensor(b_concat(&e->b, in, n, axis));
	v.rows = first.rows;
	return v;
}

Val fn_unstack(Call *c)
{
	Elab *e = c->e;
	Val x = c->arg[0];
	int64_t n;
	if (x.kind != V_TENSOR)
		return fail(e, arg_loc(c, 0), "E0443", "`unstack` wants a tensor, got %s", val_describe(e, x));
	int axis = c->expr[1] ? axis_of(e, x, c->arg[1], c->expr[1], arg_loc(c, 1)) : 0;
	if (axis < 0)
		return poison;
	if (x.t->type.rank == 0 || !dim_is_const(x.t->type.dim[axis], &n))
		return fail(e, c->loc, "E0447", "`unstack` needs an axis of known extent; axis %d of %s is not", axis, val_describe(e, x));
	Vec(Val) parts = {0};
	for (int i = 0; i < n; i++)
		vec_push(e->arena, &parts, drop_axis(e, slice_axis(e, x, axis, dim_const(i), dim_const(1)), axis));
	return val_list(e, parts.at, parts.len);
}

static bool dims_of_list(Elab *e, Val list, Loc loc, Type *t)
{
	if (list.kind != V_LIST || list.nitems > MAX_RANK) {
		err(e, loc, "E0448", "a shape is wanted, like [B,T,D], got %s", val_describe(e, list));
		return false;
	}
	t->rank = list.nitems;
	for (int i = 0; i < list.nitems; i++) {
		if (list.items[i].kind != V_INT) {
			err(e, loc, "E0448", "an extent must be an integer, got %s", val_describe(e, list.items[i]));
			return false;
		}
		t->dim[i] = list.items[i].n;
		if (!extent_ok(e, loc, t->dim[i]))
			return false;
	}
	return true;
}

Val fn_expand(Call *c)
{
	Elab *e = c->e;
	Val x = c->arg[0];
	Type to, got;
	if (x.kind != V_TENSOR)
		return fail(e, arg_loc(c, 0), "E0443", "`expand` wants a tensor, got %s", val_describe(e, x));
	to = x.t->type;
	if (!dims_of_list(e, c->arg[1], arg_loc(c, 1), &to))
		return poison;
	got = to;
	if (op_type(OP_EXPAND, &x.t, 1, NULL, &got))
		return fail(e, c->loc, "E0405", "%s cannot be expanded to %s", val_describe(e, x), show_type(e, to));
	x.t = b_expand(&e->b, x.t, to);
	return x;
}

Val fn_transpose(Call *c)
{
	Elab *e = c->e;
	Val x = c->arg[0], order = c->arg[1];
	int8_t perm[MAX_RANK] = {0};
	int rank = x.kind == V_TENSOR ? x.t->type.rank : 0;
	if (x.kind != V_TENSOR || rank < 2)
		return fail(e, arg_loc(c, 0), "E0443", "`transpose` wants a tensor of two axes or more, got %s", val_describe(e, x));
	for (int i = 0; i < rank; i++)
		perm[i] = (int8_t)i;
	perm[rank - 1] = (int8_t)(rank - 2);
	perm[rank - 2] = (int8_t)(rank - 1);
	if (order.kind != V_NONE) {
		if (order.kind != V_LIST || order.nitems != rank)
			return fail(e, arg_loc(c, 1), "E0448", "the order of %d axes is wanted", rank);
		for (int i = 0; i < rank; i++) {
			int64_t n = -1;
			bool ok = order.items[i].kind == V_INT && dim_is_const(order.items[i].n, &n);
			perm[i] = (int8_t)(ok && n >= 0 && n < rank ? n : rank);
		}
	}
	Attrs a = {0};
	Type t;
	memcpy(a.perm, perm, sizeof perm);
	if (op_type(OP_TRANSPOSE, &x.t, 1, &a, &t))
		return fail(e, arg_loc(c, 1), "E0448", "this is no order of the %d axes of %s", rank, val_describe(e, x));
	x.t = b_transpose(&e->b, x.t, perm);
	return x;
}

/* rearrange: both sides split into atoms, which are permuted. */

/* dim: NULL for a name that only tells axes apart, until it is found. */
typedef struct Atoms {
	int n, axes, of[MAX_RANK];
	const char *label[MAX_RANK];
	const Dim *dim[MAX_RANK];
	Expr *at[MAX_RANK];
	bool ok;
} Atoms;

const char *label_of(Expr *x)
{
	Str s = {0};
	ast_print_expr(&s, x);
	const char *text = intern(s.at ? s.at : "");
	str_free(&s);
	return text;
}

static void add_atoms(Elab *e, Expr *x, int axis, Atoms *a)
{
	if (x->kind == E_BINARY && x->op == B_MUL) {
		add_atoms(e, x->a, axis, a);
		add_atoms(e, x->b, axis, a);
		return;
	}
	if (x->kind == E_NUMBER && x->is_int && x->integer == 1)
		return;   /* an axis of extent 1 comes and goes freely */
	if (a->n == MAX_RANK || axis >= MAX_RANK) {
		err(e, x->loc, "E0411", "a tensor has at most %d axes", MAX_RANK);
		a->ok = false;
		return;
	}
	a->label[a->n] = label_of(x);
	a->of[a->n] = axis;
	a->at[a->n] = x;
	if (!is_free_label(e, x))
		a->ok &= eval_extent(e, x, &a->dim[a->n]);
	a->n++;
}

static Atoms atoms_of(Elab *e, Expr *list)
{
	Atoms a = { .ok = list->kind == E_LIST };
	if (!a.ok)
		err(e, list->loc, "E0448", "a shape is wanted, like [B,T,D]");
	for (Expr *x = a.ok ? list->kids : NULL; x; x = x->next)
		add_atoms(e, x, a.axes++, &a);
	return a;
}

/* The extent of a free label: what the other factors leave of its axis; NULL where that is not to be known. */
static const Dim *rest_of_axis(const Atoms *a, int i, Type t)
{
	const Dim *others = dim_const(1);
	int64_t n, whole;
	if (a->axes != t.rank)
		return NULL;
	for (int k = 0; k < a->n; k++) {
		if (k == i || a->of[k] != a->of[i])
			continue;
		if (!a->dim[k])
			return NULL;
		others = dim_mul(others, a->dim[k]);
	}
	const Dim *axis = t.dim[a->of[i]];
	bool counted = dim_is_const(others, &n) && dim_is_const(axis, &whole);
	return dim_is(others, 1) ? axis : counted && whole % n != 0 ? NULL : dim_div_exact(axis, others);
}

/* Extents of free labels: on the left those of x's axes, on the right those on the left. False after an error. */
static bool find_labels(Elab *e, Atoms *from, Atoms *to, Type t)
{
	Atoms *side[2] = { from, to };
	for (int s = 0; s < 2; s++)
		for (int i = 0; i < side[s]->n; i++) {
			if (s == 0 && !from->dim[i])
				from->dim[i] = rest_of_axis(from, i, t);
			for (int k = 0; s == 1 && !to->dim[i] && k < from->n; k++)
				if (from->label[k] == to->label[i])
					to->dim[i] = from->dim[k];
			if (!side[s]->dim[i] && !eval_extent(e, side[s]->at[i], &side[s]->dim[i]))
				return false;
		}
	return true;
}

static Type type_of_atoms(const Atoms *a, bool whole)
{
	Type t = { .dt = DT_F32, .rank = whole ? a->axes : a->n };
	for (int i = 0; i < t.rank; i++)
		t.dim[i] = dim_const(1);
	for (int i = 0; i < a->n; i++) {
		const Dim **d = &t.dim[whole ? a->of[i] : i];
		*d = dim_mul(*d, a->dim[i]);
	}
	return t;
}

/* perm[i]: which atom of `from` is atom i of `to`; equal labels in their order. */
static bool match_atoms(const Atoms *from, const Atoms *to, int8_t *perm)
{
	uint32_t taken = 0;
	if (from->n != to->n)
		return false;
	for (int i = 0; i < to->n; i++) {
		int k = 0;
		while (k < from->n && (taken >> k & 1 || from->label[k] != to->label[i]))
			k++;
		if (k == from->n)
			return false;
		taken |= 1u << k;
		perm[i] = (int8_t)k;
	}
	return true;
}

Val fn_rearrange(Call *c)
{
	Elab *e = c->e;
	Val x = c->arg[0];
	Expr *how = c->expr[1];
	int8_t perm[MAX_RANK] = {0};
	if (x.kind != V_TENSOR)
		return fail(e, arg_loc(c, 0), "E0443", "`rearrange` wants a tensor, got %s", val_describe(e, x));
	if (how->kind != E_ARROW)
		return fail(e, how->loc, "E0448", "`rearrange` is told both shapes: rearrange(x, [B,D,A] -> [B,A,D])");
	Atoms from = atoms_of(e, how->a), to = atoms_of(e, how->b);
	if (!from.ok || !to.ok || !find_labels(e, &from, &to, x.t->type))
		return poison;
	Type whole = type_of_atoms(&from, true), split = type_of_atoms(&from, false), last = type_of_atoms(&to, true);
	whole.dt = split.dt = last.dt = x.t->type.dt;
	if (!type_eq(whole, x.t->type))
		return fail(e, how->a->loc, "E0405", "`rearrange` is told %s, got %s", show_type(e, whole), val_describe(e, x));
	if (!match_atoms(&from, &to, perm))
		return fail(e, how->loc, "E0449", "both sides of `->` must have the same factors");
	Value *v = type_eq(split, whole) ? x.t : b_reshape(&e->b, x.t, split);
	v = b_transpose(&e->b, v, perm);
	x.t = type_eq(v->type, last) ? v : b_reshape(&e->b, v, last);
	return x;
}

/* Made from nothing */

Val fn_positions(Call *c)
{
	Elab *e = c->e;
	if (c->arg[0].kind != V_INT)
		return fail(e, arg_loc(c, 0), "E0443", "`%s` wants a dim, got %s", c->fn, val_describe(e, c->arg[0]));
	if (!extent_ok(e, arg_loc(c, 0), c->arg[0].n))
		return poison;
	Type t = type_make(DT_I32, 1, &c->arg[0].n);
	Val v = val_tensor(b_iota(&e->b, 0, t));
	v.rows = c->arg[0].n;
	return v;
}

/* zeros([B,T]), zeros(id(S)[B,T]) */
Val fn_zeros(Call *c)
{
	Elab *e = c->e;
	Expr *x = c->expr[0], *shape = x->kind == E_LIST ? x->kids : x->kind == E_INDEX ? x->kids : NULL;
	Expr *elem = x->kind == E_INDEX ? x->a : NULL;
	bool id = elem && elem->kind == E_CALL && elem->a->kind == E_NAME && strcmp(elem->a->name, "id") == 0 && elem->args;
	bool f32 = !elem || (elem->kind == E_NAME && strcmp(elem->name, "f32") == 0);
	const Dim *dims[MAX_RANK], *rows = NULL;
	int n;
	if ((x->kind != E_LIST && x->kind != E_INDEX) || (!id && !f32))
		return fail(e, x->loc, "E0448", "`zeros` wants a type: zeros([B,T,D]) or zeros(id(V)[B,T])");
	if (!dims_of_exprs(e, shape, dims, &n) || (id && !eval_extent(e, elem->args->value, &rows)))
		return poison;
	Type t = type_make(id ? DT_I32 : DT_F32, n, dims);
	Val v = val_tensor(b_expand(&e->b, b_const(&e->b, t.dt, 0), t));
	v.rows = rows;
	return v;
}
