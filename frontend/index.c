/* index.c: x[i, lo:hi, ..., none], layers[i], layer.field, and what can be proved about dims at their bounds. */
#include "frontend/elab.h"

const Dim *at_bounds(Elab *e, const Dim *d)
{
	for (int i = 0; i < e->bounds.len; i++)
		if (e->bounds.at[i].bound)
			d = dim_subst(d, e->bounds.at[i].name, e->bounds.at[i].bound);
	return d;
}

bool never_above(Elab *e, const Dim *a, const Dim *b)
{
	int64_t n;
	if (dim_is_const(dim_sub(a, b), &n))
		return n <= 0;
	return dim_is_const(dim_sub(at_bounds(e, a), b), &n) && n <= 0;
}

bool surely_above(Elab *e, const Dim *a, const Dim *b)
{
	int64_t n;
	if (dim_is_const(dim_sub(a, b), &n))
		return n > 0;
	return dim_is_const(dim_sub(at_bounds(e, a), b), &n) && n > 0;
}

Val slice_axis(Elab *e, Val x, int axis, const Dim *start, const Dim *len)
{
	if (dim_is(start, 0) && len == x.t->type.dim[axis])
		return x;
	x.t = b_slice(&e->b, x.t, axis, start, len);
	return x;
}

Val drop_axis(Elab *e, Val x, int axis)
{
	Type t = x.t->type;
	for (int i = axis; i + 1 < t.rank; i++)
		t.dim[i] = t.dim[i + 1];
	t.rank--;
	x.t = b_reshape(&e->b, x.t, t);
	return x;
}

static Val add_axis(Elab *e, Val x, int axis, Loc loc)
{
	Type t = x.t->type;
	if (t.rank == MAX_RANK)
		return fail(e, loc, "E0411", "a tensor has at most %d axes", MAX_RANK);
	for (int i = t.rank; i > axis; i--)
		t.dim[i] = t.dim[i - 1];
	t.dim[axis] = dim_const(1);
	t.rank++;
	x.t = b_reshape(&e->b, x.t, t);
	return x;
}

static const Dim *from_end(const Dim *i, const Dim *extent)
{
	int64_t n;
	return dim_is_const(i, &n) && n < 0 ? dim_add(extent, i) : i;
}

static bool negative(const Dim *d)
{
	int64_t n;
	return dim_is_const(d, &n) && n < 0;
}

static Val out_of_range(Elab *e, Loc loc, const char *what, const Dim *extent)
{
	return fail(e, loc, "E0412", "%s is out of range: the axis has extent %s", what, show_dim(e, extent));
}

static Val pick(Elab *e, Val x, int axis, Expr *sub)
{
	const Dim *extent = x.t->type.dim[axis], *i;
	Val v = eval(e, sub);
	if (v.kind == V_TENSOR) {
		v = fail(e, sub->loc, "E0413", "a subscript is an integer or a slice, got %s", val_describe(e, v));
		help(e, "an embedding is indexed by calling it: `wte(ids)`");
		return v;
	}
	if (v.kind == V_POISON)
		return v;
	if (v.kind != V_INT)
		return fail(e, sub->loc, "E0413", "a subscript is an integer or a slice, got %s", val_describe(e, v));
	i = from_end(v.n, extent);
	if (negative(i) || surely_above(e, dim_add(i, dim_const(1)), extent))
		return out_of_range(e, sub->loc, internf("index %s", dim_text(v.n)), extent);
	return drop_axis(e, slice_axis(e, x, axis, i, dim_const(1)), axis);
}

static Val cut(Elab *e, Val x, int axis, Expr *sub)
{
	const Dim *extent = x.t->type.dim[axis], *lo = dim_const(0), *hi = extent;
	if ((sub->a && !eval_int(e, sub->a, "a slice's start", &lo)) || (sub->b && !eval_int(e, sub->b, "a slice's end", &hi)))
		return (Val){ .kind = V_POISON };
	lo = from_end(lo, extent);
	hi = from_end(hi, extent);
	const Dim *len = dim_sub(hi, lo);
	if (negative(lo) || surely_above(e, hi, extent))
		return out_of_range(e, sub->loc, internf("%s:%s", dim_text(lo), dim_text(hi)), extent);
	if (negative(len) || dim_is(len, 0))
		return fail(e, sub->loc, "E0412", "the slice %s:%s is empty", dim_text(lo), dim_text(hi));
	return slice_axis(e, x, axis, lo, len);
}

static int axes_taken(Expr *subs)
{
	int n = 0;
	for (Expr *s = subs; s; s = s->next)
		n += s->kind != E_ELLIPSIS && s->kind != E_NONE;
	return n;
}

static Val index_tensor(Elab *e, Val x, Expr *at)
{
	int axis = 0, taken = axes_taken(at->kids), rank = x.t->type.rank;
	if (taken > rank)
		return fail(e, at->loc, "E0414", "%d subscripts for %s", taken, val_describe(e, x));
	for (Expr *s = at->kids; s; s = s->next) {
		int before = x.t->type.rank;
		if (s->kind == E_ELLIPSIS) {
			axis += rank - taken;
			continue;
		}
		if (s->kind == E_NONE)
			x = add_axis(e, x, axis, s->loc);
		else
			x = s->kind == E_SLICE ? cut(e, x, axis, s) : pick(e, x, axis, s);
		if (x.kind == V_POISON)
			return x;
		axis += s->kind == E_NONE || x.t->type.rank == before;
	}
	return x;
}

static bool one_index(Elab *e, Expr *at, const Dim **i)
{
	if (!at->kids || at->kids->next || at->kids->kind == E_SLICE || at->kids->kind == E_ELLIPSIS) {
		err(e, at->loc, "E0413", "one index is wanted here");
		return false;
	}
	return eval_int(e, at->kids, "an index", i);
}

static Val index_layers(Elab *e, Layer *l, Expr *at)
{
	const Dim *i;
	int64_t n;
	if (l->kind != LK_REPEAT)
		return fail(e, at->loc, "E0306", "`%s` is not a repeated layer", l->name);
	if (!one_index(e, at, &i))
		return (Val){ .kind = V_POISON };
	if (!compile_time(e, at->kids->loc, i, "a layer's number"))
		return (Val){ .kind = V_POISON };
	i = from_end(i, l->count);
	if (negative(i) || surely_above(e, dim_add(i, dim_const(1)), l->count))
		return fail(e, at->kids->loc, "E0412", "`%s` has %s layers", l->name, show_dim(e, l->count));
	if (e->symbolic || !dim_is_const(i, &n))
		n = 0;
	if (l->kids[n]->kind == LK_PARAM)
		return val_tensor(weight_value(e, l->kids[n]->weight));
	return (Val){ .kind = V_LAYER, .layer = l->kids[n] };
}

static Val index_list(Elab *e, Val list, Expr *at)
{
	const Dim *i;
	int64_t n;
	if (!one_index(e, at, &i))
		return (Val){ .kind = V_POISON };
	if (!compile_time(e, at->kids->loc, i, "a list's index"))
		return (Val){ .kind = V_POISON };
	if (list.nitems == 0 && e->symbolic)
		return (Val){ .kind = V_POISON };   /* a loop may fill it */
	if (!dim_is_const(i, &n))
		return list.items[0];   /* check mode: a config value decides */
	if (!list.known && (n < -list.nitems || n >= list.nitems))
		return list.items[list.nitems - 1];
	n += n < 0 ? list.nitems : 0;
	if (n < 0 || n >= list.nitems)
		return fail(e, at->kids->loc, "E0412", "index %lld is out of range: the list has %d", (long long)n, list.nitems);
	return list.items[n];
}

Val eval_index(Elab *e, Expr *x)
{
	Val base = eval(e, x->a);
	place(e, x->loc);
	switch (base.kind) {
	case V_POISON: return base;
	case V_TENSOR: return index_tensor(e, base, x);
	case V_LAYER:  return index_layers(e, base.layer, x);
	case V_LIST:   return index_list(e, base, x);
	default:       return fail(e, x->loc, "E0413", "%s cannot be indexed", val_describe(e, base));
	}
}

/* Fields */

static Val no_field(Elab *e, Layer *l, Expr *x)
{
	NameList names = {0};
	for (int i = 0; l->frame && i < l->frame->vars.len; i++)
		if (l->frame->vars.at[i].declared)
			vec_push(e->arena, &names, l->frame->vars.at[i].name);
	if (l->weight)
		vec_push(e->arena, &names, "weight");
	if (l->bias)
		vec_push(e->arena, &names, "bias");
	Val v = fail(e, x->loc, "E0305", "`%s` has no field `%s`", l->name, x->name);
	suggest(e, x->name, names.at, names.len);
	if (l->kind == LK_REPEAT)
		help(e, "`%s` is repeated; one of its layers is `%s[i]`", l->name, l->name);
	return v;
}

/* The name alone of `layer.name`. */
static Loc field_loc(const Expr *x)
{
	return (Loc){ x->loc.src, x->loc.end - (uint32_t)strlen(x->name), x->loc.end };
}

Val layer_field(Elab *e, Layer *l, Expr *x)
{
	l->used = true;
	Var *v = l->kind == LK_BLOCK ? frame_var(l->frame, x->name) : NULL;
	if (v && v->declared) {
		v->used = true;
		fact_value(e, field_loc(x), x->name, v->val, v->loc);
		if (v->val.kind == V_LAYER && v->val.layer->kind == LK_PARAM)
			return val_tensor(weight_value(e, v->val.layer->weight));
		return v->val;
	}
	Weight *w = strcmp(x->name, "weight") == 0 ? l->weight : strcmp(x->name, "bias") == 0 ? l->bias : NULL;
	if (!w)
		return no_field(e, l, x);
	Val value = val_tensor(weight_value(e, w));
	fact_value(e, field_loc(x), x->name, value, w->loc);
	return value;
}
