/* conv.c: conv1d and conv2d: (B,C,n..) to (B,D,m..), m = (n + 2 pad - kernel)/stride + 1, as PyTorch counts and stores
 * them (weight [D,C,k..], bias [D]). The input is padded, seen as windows, and contracted with the weight; the result lies
 * with its channels innermost and is seen with them second. */
#include "frontend/elab.h"

static const Val poison = { .kind = V_POISON };

/* Declarations */

/* kernel=3, or kernel=[3, 5]: a number for each axis, at least `least`. */
static void sizes(LayerArgs *a, const Layer *l, const char *name, int64_t least, const Dim **out)
{
	Expr *x = layer_named(a, name), *one = x;
	int64_t n;
	int given = 0;
	for (int i = 0; i < l->axes; i++)
		out[i] = dim_const(least);
	if (!x)
		return;
	for (one = x->kind == E_LIST ? x->kids : x; one && a->ok; one = x->kind == E_LIST ? one->next : NULL) {
		const Dim *d = NULL;
		a->ok &= eval_int(a->e, one, name, &d);
		if (a->ok && dim_is_const(d, &n) && n < least) {
			err(a->e, one->loc, "E0457", "`%s` is at least %lld, this is %lld", name, (long long)least, (long long)n);
			a->ok = false;
		}
		for (int i = 0; a->ok && i < l->axes; i++)
			if (x->kind != E_LIST || i == given)
				out[i] = d;
		given++;
	}
	if (!a->ok || x->kind != E_LIST || given == l->axes)
		return;
	err(a->e, x->loc, "E0457", "`%s` has %d number%s, `%s` has %d", name, given, given == 1 ? "" : "s", a->layer, l->axes);
	a->ok = false;
}

static void make_conv(LayerArgs *a, Layer *l, int axes)
{
	static const char *const names[] = { "kernel", "stride", "pad", "bias" };
	l->kind = LK_CONV;
	l->axes = axes;
	layer_allow(a, 1, names, COUNT(names));
	layer_widths(a, l);
	if (a->ok && (l->nin != 1 || l->nout != 1)) {
		err(a->e, a->loc, "E0433", "`%s` maps channels to channels: %s(C -> D, kernel=3)", a->layer, a->layer);
		a->ok = false;
	}
	if (a->ok && !layer_named(a, "kernel")) {
		err(a->e, a->loc, "E0457", "`%s` needs the size of its kernel: %s(C -> D, kernel=3)", a->layer, a->layer);
		a->ok = false;
	}
	sizes(a, l, "kernel", 1, l->kernel);
	sizes(a, l, "stride", 1, l->stride);
	sizes(a, l, "pad", 0, l->border);
	if (!a->ok)
		return;
	Type w = { .dt = DT_F32, .rank = 2 + axes, .dim = { l->out[0], l->in[0], l->kernel[0], l->kernel[1] } };
	layer_weight(a, l, w, WR_MATRIX);
	layer_bias(a, l, l->out[0]);
}

void make_conv1d(LayerArgs *a, Layer *l)
{
	make_conv(a, l, 1);
}

void make_conv2d(LayerArgs *a, Layer *l)
{
	make_conv(a, l, 2);
}

/* Calls */

/* Whether v, or its product with another of the unit's dims, is q. */
static bool tells_quotient(Elab *e, Unit *u, const Dim *v, const Dim *q)
{
	for (int i = 0; v != q && i < u->config.len; i++) {
		Val w = config_value(e, u, &u->config.at[i]);
		if (w.kind == V_INT && dim_mul(v, w.n) == q)
			return true;
	}
	return v == q;
}

/* Kernels that neither overlap nor leave gaps make n/kernel windows; where the file has a dim of that (R: dim = I / P, or
 * I / P / M), which says that the kernel divides n, it is that dim. NULL: it has none. */
static const Dim *declared_quotient(Elab *e, const Dim *n, const Dim *kernel)
{
	if (!e->symbolic || !e->frame)
		return NULL;
	const Dim *q = dim_div_exact(n, kernel);
	Unit *u = e->frame->unit;
	for (int i = 0; i < u->config.len; i++) {
		Val v = config_value(e, u, &u->config.at[i]);
		if (v.kind == V_INT && u->config.at[i].computed && tells_quotient(e, u, v.n, q))
			return q;
	}
	return NULL;
}

static const Dim *windows_along(Elab *e, const Layer *l, int axis, const Dim *n)
{
	const Dim *kernel = l->kernel[axis], *stride = l->stride[axis];
	const Dim *all = dim_add(n, dim_mul(dim_const(2), l->border[axis]));
	const Dim *q = kernel == stride ? declared_quotient(e, all, kernel) : NULL;
	return q ? q : dim_add(dim_div(dim_sub(all, kernel), stride), dim_const(1));
}

static bool check_input(Elab *e, Layer *l, Val x, Loc loc)
{
	bool good = x.kind == V_TENSOR && x.t->type.dt == DT_F32 && x.t->type.rank == 2 + l->axes && x.t->type.dim[1] == l->in[0];
	if (!good) {
		err(e, loc, "E0425", "`%s` wants [batch, %s, %s], got %s", l->name, show_dim(e, l->in[0]),
		    l->axes == 1 ? "length" : "rows, columns", val_describe(e, x));
		note(e, l->loc, "declared here");
		return false;
	}
	for (int i = 0; i < l->axes; i++) {
		const Dim *n = x.t->type.dim[2 + i], *rest = dim_sub(windows_along(e, l, i, n), dim_const(1));
		int64_t v;
		if (!dim_is_const(rest, &v) || v >= 0)
			continue;
		err(e, loc, "E0425", "`%s` has a kernel of %s, which does not fit %s with %s on both sides", l->name,
		    show_dim(e, l->kernel[i]), show_dim(e, n), show_dim(e, l->border[i]));
		note(e, l->loc, "declared here");
		return false;
	}
	return true;
}

static Type result_type(Elab *e, const Layer *l, Type t)
{
	t.dim[1] = l->out[0];
	for (int i = 0; i < l->axes; i++)
		t.dim[2 + i] = windows_along(e, l, i, t.dim[2 + i]);
	return t;
}

static Value *as_windows(Builder *b, const Layer *l, Value *x)
{
	for (int i = 0; i < l->axes; i++)
		if (!dim_is(l->border[i], 0))
			x = b_pad(b, x, 2 + i, l->border[i], l->border[i]);
	for (int i = l->axes - 1; i >= 0; i--) {
		int64_t step = 1;
		dim_is_const(l->stride[i], &step);
		x = b_windows(b, x, 2 + i, l->kernel[i], (int)step);
	}
	return x;
}

/* Check mode looks at shapes alone: its kernels have no numbers. */
Val apply_conv(Elab *e, Layer *l, Val x, Loc loc)
{
	static const char *const spec[] = { "bcxi,dci->bxd", "bcxiyj,dcij->bxyd" };
	static const int8_t channels_second[][4] = { { 0, 2, 1 }, { 0, 3, 1, 2 } };
	if (!check_input(e, l, x, loc))
		return poison;
	if (e->symbolic)
		return val_tensor(b_source(&e->b, OP_INPUT, "convolution", result_type(e, l, x.t->type)));
	Value *y = b_contract(&e->b, as_windows(&e->b, l, x.t), weight_value(e, l->weight), spec[l->axes - 1]);
	if (l->bias)
		y = b_binary(&e->b, OP_ADD, y, weight_value(e, l->bias));
	return val_tensor(b_transpose(&e->b, y, channels_second[l->axes - 1]));
}
