/* contract_form.c: contractions in canonical form (docs/ir.md, "Kernels").
 *
 * The letters of a spec fall into four groups: batch (in all three tensors), m (operand 0 and result), n (operand 1
 * and result), k (both operands). Afterwards the specs read "batch m k, batch k n -> outer n": n is innermost in
 * the result, m's letters are neighbours there, and each group's letters have the same order wherever they
 * appear and are walked as one axis with one stride. Operands that can't be walked so are copied. */
#include "passes/layout.h"

#include <stdlib.h>

typedef char Letters[MAX_RANK + 1];

typedef struct Form {
	Builder *b;
	Value *in[2];
	Spec s;
	Letters batch, m, n, k;
	bool ahead, maybe_none;
} Form;

static bool has(const char *letters, char c)
{
	return c && strchr(letters, c);
}

static void add(char *letters, char c)
{
	size_t n = strlen(letters);
	letters[n] = c;
	letters[n + 1] = 0;
}

/* Groups in the order of the result's letters; k in operand 1's. */
static void classify(Form *f)
{
	memset(f->batch, 0, sizeof(Letters));
	memset(f->m, 0, sizeof(Letters));
	memset(f->n, 0, sizeof(Letters));
	memset(f->k, 0, sizeof(Letters));
	for (const char *c = f->s.at[2]; *c; c++)
		add(!has(f->s.at[0], *c) ? f->n : has(f->s.at[1], *c) ? f->batch : f->m, *c);
	for (const char *c = f->s.at[1]; *c; c++)
		if (!has(f->s.at[2], *c))
			add(f->k, *c);
}

static const Dim *extent(const Form *f, char c)
{
	for (int side = 0; side < 2; side++)
		if (has(f->s.at[side], c))
			return f->in[side]->type.dim[strchr(f->s.at[side], c) - f->s.at[side]];
	bug("spec letter %c is in no operand", c);
}

/* x, whose axes are `have`, with its axes in the order `want` (the same letters). */
static Value *in_order(Builder *b, Value *x, const char *have, const char *want)
{
	int8_t perm[MAX_RANK];
	if (!strcmp(have, want))
		return x;
	for (int i = 0; want[i]; i++)
		perm[i] = (int8_t)(strchr(have, want[i]) - have);
	return b_transpose(b, x, perm);
}

static void set_order(Form *f, int side, const char *want)
{
	f->in[side] = in_order(f->b, f->in[side], f->s.at[side], want);
	strcpy(f->s.at[side], want);
}

static void join(char *out, const char *a, const char *b, const char *c)
{
	strcpy(out, a);
	strcat(out, b);
	strcat(out, c);
}

/* The letters of `from` that are in `which`, in their order. */
static void pick(char *out, const char *from, const char *which)
{
	*out = 0;
	for (; *from; from++)
		if (has(which, *from))
			add(out, *from);
}

/* Do these letters walk as one axis of v, whose axes are `of`? */
static bool one_axis(const Value *v, const char *of, const char *letters, const Dim **stride)
{
	View w;
	const Dim *e, *s;
	int axes[MAX_RANK], n = 0;
	for (; letters[n]; n++)
		axes[n] = (int)(strchr(of, letters[n]) - of);
	if (!view_of((Value *)v, &w) || !view_group(v, &w, axes, n, &e, &s))
		return false;
	if (stride)
		*stride = s;
	return true;
}

/* No contraction kernel gains on these: one operand has all the letters, or nothing is summed. */
static bool degenerate(const Form *f)
{
	return !*f->m || !*f->n || !*f->k;
}

static void rows_space(const Form *f, char *space)
{
	strcpy(space, !*f->k && *f->m && *f->n ? f->s.at[2] : *f->m ? f->s.at[0] : f->s.at[1]);
}

/* Operand `side` with an axis for each letter of the space, extent 1 where it has none. */
static Value *spread(Form *f, int side, const char *space)
{
	const Dim *dims[MAX_RANK];
	Letters order;
	pick(order, space, f->s.at[side]);
	set_order(f, side, order);
	int rank = (int)strlen(space);
	for (int i = 0; i < rank; i++)
		dims[i] = has(order, space[i]) ? extent(f, space[i]) : dim_const(1);
	return with_axes(f->b, f->in[side], rank, dims);
}

/* Operand 1 gets an axis for the letter, along which it repeats. */
static void stretch(Form *f, char c)
{
	Value *v = f->in[1];
	const Dim *dims[MAX_RANK] = { dim_const(1) };
	Letters old;
	for (int i = 0; i < v->type.rank; i++)
		dims[i + 1] = v->type.dim[i];
	v = with_axes(f->b, v, v->type.rank + 1, dims);
	Type t = v->type;
	t.dim[0] = extent(f, c);
	f->in[1] = b_expand(f->b, v, t);
	strcpy(old, f->s.at[1]);
	f->s.at[1][0] = c;
	strcpy(f->s.at[1] + 1, old);
}

static Value *by_products(Form *f)
{
	const Dim *dims[MAX_RANK];
	Letters space, left;
	uint32_t axes = 0;
	int rank = 0;
	rows_space(f, space);
	Value *a = spread(f, 0, space), *c = spread(f, 1, space);
	for (int i = 0; space[i]; i++)
		if (has(f->k, space[i]))
			axes |= 1u << i;
		else
			dims[rank++] = extent(f, space[i]);
	Value *sum = legal_reduce(f->b, OP_SUM, b_binary(f->b, OP_MUL, a, c), axes);
	pick(left, space, f->s.at[2]);
	return in_order(f->b, with_axes(f->b, sum, rank, dims), left, f->s.at[2]);
}

/* The group that is innermost in the result is operand 1's. */
static void choose_sides(Form *f)
{
	const char *out = f->s.at[2];
	for (int i = f->s.n[2] - 1; i >= 0; i--) {
		if (has(f->batch, out[i]))
			continue;
		if (has(f->n, out[i]))
			return;
		Value *v = f->in[0];
		Spec s = f->s;
		f->in[0] = f->in[1];
		f->in[1] = v;
		memcpy(f->s.at[0], s.at[1], sizeof s.at[1]);
		memcpy(f->s.at[1], s.at[0], sizeof s.at[0]);
		f->s.n[0] = s.n[1];
		f->s.n[1] = s.n[0];
		classify(f);
		return;
	}
}

static bool n_innermost(const Form *f)
{
	const char *out = f->s.at[2];
	return !strcmp(out + strlen(out) - strlen(f->n), f->n);
}

/* The wanted order if n is innermost and m together in it; else batch, m, n. */
static void result_order(const Form *f, char *order)
{
	const char *out = f->s.at[2];
	size_t nm = strlen(f->m), first = strcspn(out, f->m);
	strcpy(order, out);
	if (n_innermost(f) && strspn(out + first, f->m) == nm)
		return;
	join(order, f->batch, f->m, f->n);
}

/* Finds an order of k in which the operands asked for walk it as one axis, and leaves it in f->k. */
static bool order_k(Form *f, int at, bool want0, bool want1)
{
	if (!f->k[at])
		return (!want0 || one_axis(f->in[0], f->s.at[0], f->k, NULL)) &&
		       (!want1 || one_axis(f->in[1], f->s.at[1], f->k, NULL));
	for (int i = at; f->k[i]; i++) {
		char c = f->k[at];
		f->k[at] = f->k[i];
		f->k[i] = c;
		if (order_k(f, at + 1, want0, want1))
			return true;
		f->k[i] = f->k[at];
		f->k[at] = c;
	}
	return false;
}

/* Does v show elements of its memory more than once, or cut it up (a convolution's input)? A copy of it would be larger
 * than what it shows; a pack reads it where it lies. */
static bool windowed(const Value *v)
{
	for (; op_info[v->op].flags & OPF_VIEW; v = v->in[0])
		if (v->op == OP_WINDOWS)
			return true;
	return false;
}

/* Brings the operands to [batch, m, k] and [batch, k, n], copying those that can't be walked. */
static void order_operands(Form *f)
{
	bool any0 = windowed(f->in[0]), any1 = windowed(f->in[1]);
	bool copy0 = !any0 && !one_axis(f->in[0], f->s.at[0], f->m, NULL);
	bool copy1 = !any1 && !one_axis(f->in[1], f->s.at[1], f->n, NULL);
	if (!order_k(f, 0, !copy0, !copy1) && !((any0 || any1) && order_k(f, 0, !copy0 && !any0, !copy1 && !any1))) {
		if (order_k(f, 0, false, !copy1))
			copy0 = true;
		else if (order_k(f, 0, !copy0, false))
			copy1 = true;
		else
			copy0 = copy1 = true;
	}
	Letters left, right;
	join(left, f->batch, f->m, f->k);
	join(right, f->batch, f->k, f->n);
	set_order(f, 0, left);
	set_order(f, 1, right);
	if (copy0)
		f->in[0] = b_unary(f->b, OP_COPY, f->in[0]);
	if (copy1)
		f->in[1] = b_unary(f->b, OP_COPY, f->in[1]);
}

static bool is_parameter(Value *v)
{
	View w;
	if (!view_of(v, &w))
		return false;
	for (int i = 0; w.root->op == OP_CONCAT && i < w.root->nin; i++)
		if (!is_parameter(w.root->in[i]))
			return false;
	return w.root->op == OP_PARAM || w.root->op == OP_CONCAT || ((w.root->op == OP_TO_BF16 || w.root->op == OP_COPY) && is_parameter(w.root->in[0]));
}

/* Weights packed ahead are kept as their parameter says. */
static Value *packed(Form *f, int side, const char *spec)
{
	Attrs a = { .side = side, .spec = spec };
	if (side && f->ahead && f->in[1]->type.dt == DT_F32 && is_parameter(f->in[1]))
		a.format = weight_format(f->in[1]);
	return build(f->b, OP_PACK, &f->in[side], 1, &a, NULL);
}

/* The kernel packs a raw operand 1 by itself, again for each block of rows. With so many rows that an operand not dense
 * along n is better packed once. */
enum { MANY_ROWS = 4096 };

/* Largest product of the letters' extents. */
static int64_t most(const Form *f, const char *letters)
{
	int64_t n;
	const Dim *d = dim_const(1);
	for (const char *c = letters; *c; c++)
		d = dim_mul(d, extent(f, *c));
	return graph_bound(f->b->g, d, &n) ? n : INT64_MAX;
}

/* The kernel reads an operand 0 whose rows are consecutive in k as it lies, and packs one whose columns are, again for each few
 * hundred columns of the result. With so many of those, and so many of k that a block is not all of it, it is better packed once. */
enum { MANY_COLUMNS = 1280, ONE_BLOCK = 256 };

static bool single(const Form *f, const char *letters)
{
	for (; *letters; letters++)
		if (!dim_is(extent(f, *letters), 1))
			return false;
	return true;
}

/* Kernels read a bf16 operand 0 as it lies where the pairs of k that they multiply together are neighbours; a pack has it so. */
static bool pairs_lie(const Form *f, const Dim *sk)
{
	const Dim *k = dim_const(1);
	int64_t n;
	for (const char *c = f->k; *c; c++)
		k = dim_mul(k, extent(f, *c));
	return dim_is(sk, 1) && dim_is_const(k, &n) && n % 2 == 0;
}

static bool pack_left(const Form *f)
{
	const Dim *sm, *sk;
	if (!one_axis(f->in[0], f->s.at[0], f->m, &sm) || !one_axis(f->in[0], f->s.at[0], f->k, &sk))
		return true;
	if (f->in[0]->type.dt == DT_BF16)
		return !pairs_lie(f, sk);
	if (dim_is(sk, 1) || single(f, f->k))
		return false;
	if (!dim_is(sm, 1) && !single(f, f->m))
		return true;
	return most(f, f->n) >= MANY_COLUMNS && most(f, f->k) > ONE_BLOCK;
}

static bool pack_right(Form *f)
{
	const Dim *stride;
	if (f->ahead && is_parameter(f->in[1]))
		return true;
	if (windowed(f->in[1]) && (!one_axis(f->in[1], f->s.at[1], f->n, NULL) || !one_axis(f->in[1], f->s.at[1], f->k, NULL)))
		return true;
	if (!one_axis(f->in[1], f->s.at[1], f->n, &stride))
		bug("contract \"%s,%s->%s\": operand 1 does not lie as one axis", f->s.at[0], f->s.at[1], f->s.at[2]);
	return !dim_is(stride, 1) && !f->maybe_none && most(f, f->m) >= MANY_ROWS;
}

/* m's letters that are not neighbours in the result, but for the one with most elements: they become batch letters, with
 * stride 0 in operand 1. Only where that is not packed, so that nothing is packed more than once. */
static void surplus_to_batch(Form *f)
{
	size_t nm = strlen(f->m), first = strcspn(f->s.at[2], f->m);
	int64_t best = -1, n;
	char keep = 0;
	if (strspn(f->s.at[2] + first, f->m) == nm || !n_innermost(f))
		return;
	for (const char *c = f->m; *c; c++)
		if (graph_bound(f->b->g, extent(f, *c), &n) && n > best) {
			best = n;
			keep = *c;
		}
	for (const char *c = f->m; *c; c++)
		if (*c != keep)
			stretch(f, *c);
	classify(f);
}

Value *legal_contract(Builder *b, Value *a, Value *c, const char *spec, bool ahead, bool maybe_none)
{
	Form f = { .b = b, .in = { a, c }, .ahead = ahead, .maybe_none = maybe_none };
	Letters order;
	const char *e = spec_parse(spec, &f.s);
	if (e)
		bug("contract \"%s\": %s", spec, e);
	classify(&f);
	if (degenerate(&f))
		return by_products(&f);
	choose_sides(&f);
	if (!(ahead && is_parameter(f.in[1])))
		surplus_to_batch(&f);
	result_order(&f, order);
	order_operands(&f);
	spec = internf("%s,%s->%s", f.s.at[0], f.s.at[1], order);
	if (pack_right(&f))
		f.in[1] = packed(&f, 1, spec);
	if (pack_left(&f))
		f.in[0] = packed(&f, 0, spec);
	return in_order(b, b_contract(b, f.in[0], f.in[1], spec), order, f.s.at[2]);
}
