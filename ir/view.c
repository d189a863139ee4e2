/* view.c: where a value's elements lie. A chain of views is followed to the value that owns the memory,
 * composing offset and strides as Dim polynomials; a value with `dest` continues in its concat's or write's
 * memory, and a write in its operand's. */
#include "ir/ir.h"

static const Dim *zero(void) { return dim_const(0); }

static void dense(Value *v, View *w)
{
	*w = (View){.root = v, .offset = zero()};
	const Dim *step = dim_const(1);
	for (int i = v->type.rank - 1; i >= 0; i--) {
		w->stride[i] = step;
		step = dim_mul(step, v->type.dim[i]);
	}
}

static void through_transpose(const Value *v, View *w)
{
	View from = *w;
	for (int i = 0; i < v->type.rank; i++)
		w->stride[i] = from.stride[v->a.perm[i]];
}

static void shift(View *w, int axis, const Dim *start)
{
	w->offset = dim_add(w->offset, dim_mul(start, w->stride[axis]));
}

static void through_expand(const Value *v, View *w)
{
	Type from = v->in[0]->type;
	int new = v->type.rank - from.rank;
	View old = *w;
	for (int i = 0; i < v->type.rank; i++) {
		bool kept = i >= new && from.dim[i - new] == v->type.dim[i];
		w->stride[i] = kept ? old.stride[i - new] : zero();
	}
}

/* Windows overlap in memory: nothing is ever written through them. */
static void through_windows(const Value *v, View *w)
{
	int axis = v->a.axis;
	for (int i = v->type.rank - 1; i > axis + 1; i--)
		w->stride[i] = w->stride[i - 1];
	w->stride[axis + 1] = w->stride[axis];
	w->stride[axis] = dim_mul(w->stride[axis], dim_const(v->a.step));
}

typedef struct Axis { const Dim *extent, *stride; } Axis;

/* The axes that matter, neighbours joined where the outer's stride is the inner's times its extent. */
static int joined_axes(const Type *t, const View *w, Axis *out)
{
	int n = 0;
	for (int i = 0; i < t->rank; i++) {
		if (dim_is(t->dim[i], 1))
			continue;
		Axis a = {t->dim[i], w->stride[i]};
		if (n && out[n - 1].stride == dim_mul(a.stride, a.extent)) {
			a.extent = dim_mul(out[n - 1].extent, a.extent);
			n--;
		}
		out[n++] = a;
	}
	return n;
}

/* Lays the axes from[0..nfrom) of the new shape, innermost last, over one joined axis; the count used, or -1.
 * An axis that would cut the joined one in the middle does not fit. */
static int cover(const Type *t, View *w, int last, Axis a)
{
	const Dim *left = a.extent, *step = a.stride;
	int i = last;
	while (!dim_is(left, 1)) {
		while (i >= 0 && dim_is(t->dim[i], 1))
			w->stride[i--] = zero();
		if (i < 0)
			return -2;
		const Dim *outer = dim_div(left, t->dim[i]);
		if (dim_mul(outer, t->dim[i]) != left)
			return -2;
		w->stride[i] = step;
		step = dim_mul(step, t->dim[i]);
		left = outer;
		i--;
	}
	return i;
}

static bool through_reshape(const Value *v, View *w)
{
	Axis axes[MAX_RANK];
	int n = joined_axes(&v->in[0]->type, w, axes);
	View to = {.root = w->root, .offset = w->offset};
	for (int i = 0; i < v->type.rank; i++)
		if (dim_is(v->type.dim[i], 0)) {   /* no elements: any strides do */
			dense((Value *)v, &to);
			to.root = w->root;
			*w = to;
			return true;
		}
	int i = v->type.rank - 1;
	for (int k = n - 1; k >= 0; k--) {
		i = cover(&v->type, &to, i, axes[k]);
		if (i < -1)
			return false;
	}
	for (; i >= 0; i--)
		to.stride[i] = zero();   /* what is left has extent 1 */
	*w = to;
	return true;
}

/* The place of operand v in the concat c: after the operands before it. */
static bool concat_start(const Value *c, const Value *v, const Dim **start)
{
	*start = zero();
	for (int i = 0; i < c->nin; i++) {
		if (c->in[i] == v)
			return true;
		*start = dim_add(*start, c->in[i]->type.dim[c->a.axis]);
	}
	return false;
}

static bool through_dest(Value *v, View *w)
{
	Value *d = v->dest;
	const Dim *start = d->a.start;
	if (d->op == OP_CONCAT ? !concat_start(d, v, &start) : d->op != OP_WRITE || d->in[1] != v)
		bug("%s is placed in a %s it is no operand of", op_info[v->op].text, op_info[d->op].text);
	if (!view_of(d, w))
		return false;
	shift(w, d->a.axis, start);
	return true;
}

bool view_of(Value *v, View *w)
{
	if (v->dest)
		return through_dest(v, w);
	if (v->op == OP_WRITE)
		return view_of(v->in[0], w);
	if (!(op_info[v->op].flags & OPF_VIEW)) {
		dense(v, w);
		return true;
	}
	if (!view_of(v->in[0], w))
		return false;
	switch (v->op) {
	case OP_TRANSPOSE: through_transpose(v, w); return true;
	case OP_EXPAND: through_expand(v, w); return true;
	case OP_RESHAPE: return through_reshape(v, w);
	case OP_SLICE: shift(w, v->a.axis, v->a.start); return true;
	case OP_WINDOWS: through_windows(v, w); return true;
	default: bug("view op %s has no strides", op_info[v->op].text);
	}
}

bool view_contiguous(const View *w, Type t)
{
	const Dim *step = dim_const(1);
	for (int i = t.rank - 1; i >= 0; i--) {
		if (dim_is(t.dim[i], 1))
			continue;
		if (w->stride[i] != step)
			return false;
		step = dim_mul(step, t.dim[i]);
	}
	return true;
}

bool view_group(const Value *v, const View *w, const int *axes, int n, const Dim **extent, const Dim **stride)
{
	*extent = dim_const(1);
	*stride = zero();
	for (int i = n - 1; i >= 0; i--) {
		const Dim *e = v->type.dim[axes[i]], *s = w->stride[axes[i]];
		if (dim_is(e, 1))
			continue;
		if (dim_is(*extent, 1))
			*stride = s;
		else if (s != dim_mul(*stride, *extent))
			return false;
		*extent = dim_mul(*extent, e);
	}
	return true;
}

Value *view_root(Value *v)
{
	for (;;) {
		if (v->dest)
			v = v->dest;
		else if (v->op == OP_WRITE || op_info[v->op].flags & OPF_VIEW)
			v = v->in[0];
		else
			return v;
	}
}

bool in_panels(const Value *v)
{
	return v->op == OP_PACK || (v->op == OP_STATE && v->a.spec);
}

Quant weight_format(Value *v)
{
	v = view_base(v);
	return v->op == OP_COPY ? weight_format(v->in[0]) : v->a.format;
}

Value *view_base(Value *v)
{
	while (op_info[v->op].flags & OPF_VIEW)
		v = v->in[0];
	return v;
}

Value *store_target(Value *v)
{
	View w;
	Value *root = view_root(v);
	bool kept = root->op == OP_PARAM || root->op == OP_STATE;
	return kept && view_of(v, &w) ? root : v;
}
