/* shape.c: functions that move elements, and contractions: concat, unstack, expand, transpose, rearrange, einsum,
 * `@`, positions, zeros, one_hot. */
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

typedef struct Atoms { int n, axes; const char *label[MAX_RANK]; const Dim *dim[MAX_RANK]; int of[MAX_RANK]; bool ok; } Atoms;

static const char *label_of(Expr *x)
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
	if (!from.ok || !to.ok)
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

/* Contractions */

const char *contract_last(int rank, bool in_out)
{
	char a[MAX_RANK + 1] = {0};
	for (int i = 0; i < rank - 1; i++)
		a[i] = (char)('a' + i);
	return internf(in_out ? "%sk,kn->%sn" : "%sk,nk->%sn", a, a);
}

static Val contract(Elab *e, Loc loc, Value *a, Value *b, const char *spec, const char *what)
{
	Type t;
	Value *in[2] = { a, b };
	Attrs at = { .spec = spec };
	if (op_type(OP_CONTRACT, in, 2, &at, &t)) {
		Val v = fail(e, loc, "E0405", "`%s` cannot contract %s with %s", what, show_type(e, a->type), show_type(e, b->type));
		return v;
	}
	return val_tensor(b_contract(&e->b, a, b, spec));
}

Val matmul(Elab *e, Loc loc, Val a, Val b)
{
	bool ok = a.kind == V_TENSOR && b.kind == V_TENSOR && a.t->type.dt == DT_F32 && b.t->type.dt == DT_F32;
	if (!ok)
		return fail(e, loc, "E0407", "`@` wants two float tensors, got %s and %s", val_describe(e, a), val_describe(e, b));
	int n = a.t->type.rank, m = b.t->type.rank;
	if (n < 2 || m < 2 || (m > 2 && m != n))
		return fail(e, loc, "E0405", "`@` cannot contract %s with %s", val_describe(e, a), val_describe(e, b));
	char batch[MAX_RANK + 1] = {0}, right[MAX_RANK + 1] = {0};
	for (int i = 0; i < n - 2; i++)
		batch[i] = (char)('a' + i);
	if (m > 2)
		strcpy(right, batch);
	return contract(e, loc, a.t, b.t, internf("%smk,%skn->%smn", batch, right, batch), "@");
}

typedef struct Letters { const char *label[32]; int n; } Letters;

/* [B,T,H,K] as "abcd"; the same label has the same letter. */
static bool spell(Elab *e, Expr *list, Letters *l, char *out)
{
	int n = 0;
	if (!list || list->kind != E_LIST) {
		err(e, list ? list->loc : (Loc){0}, "E0448", "`einsum` is told shapes: einsum([M,K], [K,N] -> [M,N], a, b)");
		return false;
	}
	for (Expr *x = list->kids; x; x = x->next) {
		const char *label = label_of(x);
		int i = 0;
		while (i < l->n && l->label[i] != label)
			i++;
		if (n == MAX_RANK || i == COUNT(l->label)) {
			err(e, x->loc, "E0411", "a tensor has at most %d axes", MAX_RANK);
			return false;
		}
		if (i == l->n)
			l->label[l->n++] = label;
		out[n++] = (char)(i < 26 ? 'a' + i : 'A' + i - 26);
	}
	out[n] = 0;
	return true;
}

/* A name that is no dim here only tells axes apart: S in [B,S,H,K] of a tensor [B,T,H,K]. */
static bool is_free_label(Elab *e, Expr *x)
{
	Frame *f = e->frame;
	return x->kind == E_NAME && !frame_var(f, x->name) && !frame_dim(f, x->name) && !unit_config(f->unit, x->name, NULL);
}

/* What einsum is told of an operand, against the operand. */
static bool told_right(Elab *e, Expr *list, Val x)
{
	int i = 0;
	for (Expr *k = list->kids; k; k = k->next, i++) {
		const Dim *d;
		if (i < x.t->type.rank && is_free_label(e, k))
			continue;
		if (i < x.t->type.rank && !eval_int(e, k, "an extent", &d))
			return false;
		if (i < x.t->type.rank && d == x.t->type.dim[i])
			continue;
		err(e, list->loc, "E0405", "`einsum` is told %s, got %s", loc_text(list->loc), val_describe(e, x));
		return false;
	}
	if (i == x.t->type.rank)
		return true;
	err(e, list->loc, "E0405", "`einsum` is told %s, got %s", loc_text(list->loc), val_describe(e, x));
	return false;
}

Val fn_einsum(Call *c)
{
	Elab *e = c->e;
	Arg *first = c->raw, *second = first ? first->next : NULL, *a = second ? second->next : NULL, *b = a ? a->next : NULL;
	char sa[MAX_RANK + 1], sb[MAX_RANK + 1], so[MAX_RANK + 1];
	Letters l = {0};
	if (!b || b->next || second->value->kind != E_ARROW)
		return fail(e, c->loc, "E0448", "`einsum` of two tensors: einsum([M,K], [K,N] -> [M,N], a, b)");
	if (!spell(e, first->value, &l, sa) || !spell(e, second->value->a, &l, sb) || !spell(e, second->value->b, &l, so))
		return poison;
	Val x = eval(e, a->value), y = eval(e, b->value);
	if (x.kind == V_POISON || y.kind == V_POISON)
		return poison;
	if (x.kind != V_TENSOR || y.kind != V_TENSOR)
		return fail(e, c->loc, "E0443", "`einsum` wants two tensors, got %s and %s", val_describe(e, x), val_describe(e, y));
	if (!told_right(e, first->value, x) || !told_right(e, second->value->a, y))
		return poison;
	return contract(e, c->loc, x.t, y.t, internf("%s,%s->%s", sa, sb, so), "einsum");
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

Val fn_one_hot(Call *c)
{
	Elab *e = c->e;
	Val ids = c->arg[0], n = c->arg[1];
	if (ids.kind != V_TENSOR || ids.t->type.dt != DT_I32 || n.kind != V_INT || ids.t->type.rank == MAX_RANK)
		return fail(e, c->loc, "E0443", "`one_hot` wants ids and their number, got %s and %s", val_describe(e, ids),
		            val_describe(e, n));
	if (!extent_ok(e, arg_loc(c, 1), n.n))
		return poison;
	Type t = ids.t->type;
	t.dim[t.rank++] = dim_const(1);
	Value *at = b_iota(&e->b, 0, type_make(DT_I32, 1, &n.n));
	Value *hit = b_binary(&e->b, OP_EQ, at, b_reshape(&e->b, ids.t, t));
	return val_tensor(b_convert(&e->b, hit, DT_F32));
}
