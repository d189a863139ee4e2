/* types.c: declared types against values. A call matches each argument with its parameter's type: run-time dims
 * (B, T) that the callee has not bound yet are bound by it, all other extents must be equal. */
#include "frontend/elab.h"

typedef struct Want { DType dt; bool scalar; ValKind kind; const Dim *rows; bool optional; } Want;

const char *loc_text(Loc l)
{
	return l.src && l.end > l.at ? intern_n(l.src->text + l.at, l.end - l.at) : "?";
}

static bool scalar_kind(const char *elem, ValKind *kind)
{
	static const struct { const char *name; ValKind kind; } kinds[] = {
		{ "mask", V_MASK }, { "dim", V_INT }, { "int", V_INT }, { "float", V_FLOAT }, { "bool", V_BOOL },
		{ "rope", V_CALL }, { "oneof", V_STRING }, { "string", V_STRING },
	};
	for (int i = 0; i < COUNT(kinds); i++)
		if (strcmp(elem, kinds[i].name) == 0)
			return *kind = kinds[i].kind, true;
	return false;
}

static bool unknown_elem(Elab *e, TypeExpr *te)
{
	static const char *const names[] = { "f32", "i32", "bool", "id", "mask", "dim", "int", "float", "rope", "oneof" };
	if (strcmp(te->elem, "bf16") == 0 || strcmp(te->elem, "f16") == 0) {
		unsupported(e, te->loc, "the type `%s`", te->elem);
		return false;
	}
	err(e, te->loc, "E0415", "there is no type `%s`", te->elem);
	suggest_among(e, te->elem, names, COUNT(names));
	return false;
}

DType type_expr_dt(const TypeExpr *te)
{
	if (!te->elem || strcmp(te->elem, "f32") == 0)
		return DT_F32;
	if (strcmp(te->elem, "i32") == 0 || strcmp(te->elem, "id") == 0)
		return DT_I32;
	return strcmp(te->elem, "bool") == 0 && te->has_shape ? DT_BOOL : DT_NONE;
}

/* What a type wants, but for its shape. */
static bool elem_of(Elab *e, TypeExpr *te, Want *w)
{
	*w = (Want){ .dt = type_expr_dt(te), .kind = V_TENSOR };
	if (te->tuple) {
		err(e, te->loc, "E0416", "several tensors are possible as a result only");
		return false;
	}
	if (te->elem && strcmp(te->elem, "id") == 0) {
		w->optional = te->optional;
		if (te->elem_args && !te->elem_args->next)
			return eval_extent(e, te->elem_args, &w->rows);
		err(e, te->loc, "E0417", "id wants the rows of its table: id(V)");
		return false;
	}
	w->scalar = w->dt == DT_NONE;
	return !w->scalar || scalar_kind(te->elem, &w->kind) || unknown_elem(e, te);
}

/* Shapes */

static int shape_len(TypeExpr *te, bool *rest)
{
	int n = 0;
	*rest = false;
	for (Expr *x = te->shape; x; x = x->next) {
		*rest |= x->kind == E_ELLIPSIS;
		n += x->kind != E_ELLIPSIS;
	}
	return n;
}

/* The one run-time dim of x that the callee has not bound; NULL if all are. */
static const char *free_dim(Frame *f, Expr *x)
{
	if (!x)
		return NULL;
	if (x->kind == E_NAME) {
		bool fresh = !frame_var(f, x->name) && !frame_dim(f, x->name) && unit_dim(f->unit, x->name, NULL);
		return fresh && !unit_config(f->unit, x->name, NULL) ? x->name : NULL;
	}
	const char *a = free_dim(f, x->a);
	return a ? a : free_dim(f, x->b);
}

/* T + 1 = extent: T = extent - 1. */
static void solve(Elab *e, Frame *f, Expr *x, const char *name, const Dim *extent)
{
	int64_t k;
	const char *unknown = intern("?");
	Frame trial = *f;
	trial.dims.at = NULL;
	trial.dims.len = trial.dims.cap = 0;
	for (int i = 0; i < f->dims.len; i++)
		vec_push(e->arena, &trial.dims, f->dims.at[i]);
	frame_bind(e, &trial, name, dim_sym(unknown));
	Val v = eval_in(e, &trial, x);
	if (v.kind != V_INT)
		return;
	const Dim *rest = dim_subst(v.n, unknown, dim_const(0));
	const Dim *slope = dim_sub(dim_subst(v.n, unknown, dim_const(1)), rest);
	const Dim *left = dim_sub(extent, rest);
	if (dim_is_const(slope, &k) && k > 0)
		frame_bind(e, f, name, k == 1 ? left : dim_div(left, slope));
}

static void bind_dims(Elab *e, Frame *f, Expr **dims, Type t, int n, bool plain)
{
	for (int i = 0; i < n; i++) {
		const char *name = dims[i] ? free_dim(f, dims[i]) : NULL;
		if (!name || (dims[i]->kind == E_NAME) != plain)
			continue;
		if (plain)
			frame_bind(e, f, name, t.dim[i]);
		else
			solve(e, f, dims[i], name, t.dim[i]);
	}
}

/* Axis by axis what the declared shape says; NULL where "..." stands. False if the rank can't fit. */
static bool line_up(TypeExpr *te, int rank, Expr **dims)
{
	bool rest;
	int n = shape_len(te, &rest), i = 0;
	if (rest ? rank < n : rank != n)
		return false;
	for (Expr *x = te->shape; x; x = x->next) {
		if (x->kind != E_ELLIPSIS) {
			dims[i++] = x;
			continue;
		}
		for (int k = 0; k < rank - n; k++)
			dims[i++] = NULL;
	}
	return true;
}

static bool rest_fits(Frame *f, Expr **dims, Type t)
{
	const Dim *got[MAX_RANK];
	int n = 0;
	for (int i = 0; i < t.rank; i++)
		if (!dims[i])
			got[n++] = t.dim[i];
	if (f->nrest < 0) {
		memcpy(f->rest, got, sizeof *got * (size_t)n);
		f->nrest = n;
		return true;
	}
	return n == f->nrest && memcmp(got, f->rest, sizeof *got * (size_t)n) == 0;
}

static bool has_rest(TypeExpr *te)
{
	bool rest;
	shape_len(te, &rest);
	return rest;
}

/* [...] alone: a number fits it and binds nothing, arithmetic broadcasts it. */
static bool any_shape(TypeExpr *te)
{
	bool rest;
	return shape_len(te, &rest) == 0 && rest;
}

/* Index of the first axis that does not fit; rank if all do; -1 if the rank is wrong. */
static int misfit_axis(Elab *e, Frame *f, TypeExpr *te, Type t, const Dim **want)
{
	Expr *dims[MAX_RANK];
	if (!line_up(te, t.rank, dims))
		return -1;
	if (has_rest(te) && !rest_fits(f, dims, t))
		return -1;
	bind_dims(e, f, dims, t, t.rank, true);
	bind_dims(e, f, dims, t, t.rank, false);
	for (int i = 0; i < t.rank; i++) {
		if (!dims[i])
			continue;
		Val v = eval_in(e, f, dims[i]);
		if (v.kind != V_INT || v.n == t.dim[i])
			continue;
		*want = v.n;
		return i;
	}
	return t.rank;
}

/* Each bound run-time dim against its declared bound (T <= N). */
static bool within_bounds(Elab *e, Frame *f, Loc at, const char *callee)
{
	for (int i = 0; i < f->dims.len; i++) {
		Unit *owner;
		DimBinding b = f->dims.at[i];
		DimDecl *d = unit_dim(f->unit, b.name, &owner);
		int64_t n;
		if (dim_is_const(b.dim, &n) && n < 1) {
			err(e, at, "E0418", "`%s` would get %s = %lld", callee, b.name, (long long)n);
			return false;
		}
		if (!d || !d->bound)
			continue;
		Val v = eval_in(e, frame_new(e, owner, NULL), d->bound);
		bool fixed = at_bounds(e, b.dim) == b.dim;   /* an extent of its own, as a picture's patches are: planned as it is */
		if (v.kind != V_INT || fixed || !surely_above(e, b.dim, v.n))
			continue;
		err(e, at, "E0418", "`%s` takes %s <= %s, here it can be %s", callee, b.name, show_dim(e, v.n),
		    show_dim(e, at_bounds(e, b.dim)));
		note(e, d->loc, "the bound is declared here");
		return false;
	}
	return true;
}

/* A quotient that is known to come out even and one that rounds down are written alike. */
static void note_axis(Elab *e, Loc loc, int axis, const Dim *want, const Dim *got)
{
	const char *w = show_dim(e, want), *g = show_dim(e, got);
	note(e, loc, "axis %d must be %s, here it is %s%s", axis, w, g, strcmp(w, g) == 0 ? ": one of them rounds down" : "");
	if (strcmp(w, g) == 0)
		help(e, "a config value such as `R: dim = I / P` says that a division comes out even");
}

static bool mismatch(Elab *e, ParamDecl *p, Val v, Loc at, const char *callee)
{
	err(e, at, "E0420", "`%s` wants %s: %s, got %s", callee, p->name, loc_text(p->type->loc), val_describe(e, v));
	if (v.kind == V_LAYER && v.layer->kind != LK_REPEAT)
		help(e, "a layer is called: `%s(x)`", v.layer->name);
	if (v.kind == V_TENSOR && v.t->type.dt != DT_F32 && !p->type->elem)
		help(e, "`f32(x)` converts to floats");
	return false;
}

static bool match_tensor(Elab *e, Frame *f, ParamDecl *p, Want w, Val *v, Loc at, const char *callee)
{
	const Dim *want = NULL;
	bool number = val_is_number(*v) && w.dt == DT_F32;
	if (number)
		*v = val_tensor(val_value(e, *v));
	if (number && any_shape(p->type))
		return true;
	if (v->kind != V_TENSOR || v->t->type.dt != w.dt)
		return mismatch(e, p, *v, at, callee);
	int axis = misfit_axis(e, f, p->type, v->t->type, &want);
	if (axis < v->t->type.rank) {
		mismatch(e, p, *v, at, callee);
		if (axis >= 0)
			note_axis(e, p->loc, axis, want, v->t->type.dim[axis]);
		else if (has_rest(p->type) && f->nrest >= 0)
			note(e, p->loc, "`...` stands for %s here", show_dims(e, f->rest, f->nrest));
		return false;
	}
	if (w.rows && v->rows && v->rows != w.rows && !never_above(e, v->rows, w.rows)) {
		mismatch(e, p, *v, at, callee);
		note(e, p->loc, "ids of one table do not index another");
		return false;
	}
	if (w.rows && v->optional && !w.optional) {
		mismatch(e, p, *v, at, callee);
		note(e, p->loc, "id(..)? may hold -100, which indexes nothing");
		return false;
	}
	v->rows = w.rows;
	v->optional &= w.optional;
	return true;
}

/* A known string that a oneof does not have. */
static bool no_choice(Elab *e, ParamDecl *p, Val v, Loc at)
{
	NameList names = {0};
	if (v.kind != V_STRING || !v.known || !p->type->elem_args)
		return false;
	for (Expr *x = p->type->elem_args; x; x = x->next) {
		if (x->name == v.s)
			return false;
		if (x->name)
			vec_push(e->arena, &names, x->name);
	}
	err(e, at, "E0714", "`%s` cannot be \"%s\"", p->name, v.s);
	suggest_among(e, v.s, names.at, names.len);
	return true;
}

static bool match_scalar(Elab *e, ParamDecl *p, Want w, Val *v, Loc at, const char *callee)
{
	double x;
	if (w.kind == V_FLOAT && v->kind == V_INT)
		*v = val_number(*v, &x) ? val_float(x) : val_unknown(V_FLOAT);
	if (v->kind == w.kind || (w.kind == V_CALL && v->kind == V_NONE))
		return !no_choice(e, p, *v, at);
	mismatch(e, p, *v, at, callee);
	if (w.kind == V_MASK && v->kind == V_TENSOR && v->t->type.dt == DT_BOOL)
		help(e, "`keys(x)` makes a mask of a bool tensor");
	return false;
}

/* id(V) of a V that is a run-time dim of the callee's: the argument's table has as many rows. False: it has no table. */
static bool bind_rows(Elab *e, Frame *f, const TypeExpr *te, const Val *arg)
{
	Expr *rows = te->elem_args;
	if (type_expr_dt(te) != DT_I32 || !rows || rows->kind != E_NAME || !free_dim(f, rows))
		return true;
	if (arg->kind != V_TENSOR || !arg->rows)
		return false;
	frame_bind(e, f, rows->name, arg->rows);
	return true;
}

bool match_param(Elab *e, Frame *callee, ParamDecl *p, Val *arg, Loc at, const char *name)
{
	Want w;
	Frame *saved = e->frame;
	if (arg->kind == V_POISON)
		return false;
	if (arg->kind == V_NONE && p->init && p->init->kind == E_NONE)
		return true;
	if (!bind_rows(e, callee, p->type, arg))
		return mismatch(e, p, *arg, at, name);
	e->frame = callee;
	bool ok = elem_of(e, p->type, &w);
	e->frame = saved;
	if (!ok)
		return false;
	if (w.scalar)
		return match_scalar(e, p, w, arg, at, name);
	return match_tensor(e, callee, p, w, arg, at, name) && within_bounds(e, callee, at, name);
}

/* Types as such */

bool dims_of_exprs(Elab *e, Expr *list, const Dim **dims, int *n)
{
	*n = 0;
	for (Expr *x = list; x; x = x->next) {
		if (x->kind == E_ELLIPSIS) {
			for (int i = 0; i < e->frame->nrest && *n < MAX_RANK; i++)
				dims[(*n)++] = e->frame->rest[i];
			continue;
		}
		if (*n == MAX_RANK) {
			err(e, x->loc, "E0411", "a tensor has at most %d axes", MAX_RANK);
			return false;
		}
		if (!eval_extent(e, x, &dims[(*n)++]))
			return false;
	}
	return true;
}

bool type_of_expr(Elab *e, TypeExpr *te, Type *t, const Dim **rows)
{
	Want w;
	const Dim *dims[MAX_RANK];
	int n;
	if (!elem_of(e, te, &w))
		return false;
	if (w.scalar) {
		err(e, te->loc, "E0419", "a tensor type is wanted here, got `%s`", loc_text(te->loc));
		return false;
	}
	if (!dims_of_exprs(e, te->shape, dims, &n))
		return false;
	*t = type_make(w.dt, n, dims);
	if (rows)
		*rows = w.rows;
	return true;
}

Val placeholder(Elab *e, TypeExpr *te, const char *name, Loc loc)
{
	Want w;
	Type t;
	if (!elem_of(e, te, &w))
		return (Val){ .kind = V_POISON };
	if (w.scalar) {
		if (w.kind == V_MASK)
			return mask_placeholder(e);
		Val v = val_unknown(w.kind);
		v.n = dim_sym(name);
		return v;
	}
	if (!type_of_expr(e, te, &t, NULL))
		return (Val){ .kind = V_POISON };
	Val v = val_tensor(b_source(&e->b, OP_INPUT, name, t));
	v.rows = w.rows;
	v.optional = w.optional;
	return v;
}

/* Results */

/* What a nonzero counted has a name of its own in the result of the fn or block that called it, as in `-> [M,D]`. */
static void bind_counted(Elab *e, TypeExpr *te, Type t)
{
	Expr *dims[MAX_RANK];
	if (!line_up(te, t.rank, dims))
		return;
	for (int i = 0; i < t.rank; i++)
		if (dims[i] && dims[i]->kind == E_NAME && free_dim(e->frame, dims[i]) && is_counted(e, t.dim[i]))
			frame_bind(e, e->frame, dims[i]->name, t.dim[i]);
}

static bool match_one(Elab *e, TypeExpr *te, Val v, Loc at, const char *what)
{
	Want w;
	Type t;
	if (v.kind == V_POISON || !elem_of(e, te, &w))
		return false;
	if (w.scalar ? v.kind == w.kind || (w.kind == V_FLOAT && v.kind == V_INT) : v.kind == V_TENSOR) {
		if (w.scalar)
			return true;
		bind_counted(e, te, v.t->type);
		if (!type_of_expr(e, te, &t, NULL))
			return false;
		bool other = w.rows && v.rows && v.rows != w.rows && !never_above(e, v.rows, w.rows);
		if (type_eq(t, v.t->type) && !other)
			return true;
	}
	err(e, at, "E0421", "%s is declared to return %s, but this is %s", what, loc_text(te->loc), val_describe(e, v));
	note(e, te->loc, "declared here");
	return false;
}

bool match_result(Elab *e, TypeExpr *te, Val v, Loc at, const char *what)
{
	int n = 0;
	if (!te->tuple)
		return match_one(e, te, v, at, what);
	for (TypeExpr *m = te->tuple; m; m = m->next)
		n++;
	if (v.kind == V_POISON)
		return false;
	if (v.kind != V_LIST || v.nitems != n) {
		err(e, at, "E0421", "%s is declared to return %d tensors, but this is %s", what, n, val_describe(e, v));
		note(e, te->loc, "declared here");
		return false;
	}
	bool ok = true;
	int i = 0;
	for (TypeExpr *m = te->tuple; m; m = m->next)
		ok &= match_one(e, m, v.items[i++], at, what);
	return ok;
}
