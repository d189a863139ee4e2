/* type.c: dtypes, broadcasting, the table of ops, and each op's type rule.
 *
 * A rule type_<rule>() looks at operands and attributes and gives the result's type, or says in the user's
 * terms why there is none. Rules never print and never abort: the frontend asks them first. */
#include "ir/ir.h"

const char *const dtype_name[DT_COUNT] = {[DT_F32] = "f32", [DT_I32] = "i32", [DT_BOOL] = "bool", [DT_BF16] = "bf16", [DT_F16] = "f16",
	[DT_I8] = "i8", [DT_NONE] = "none"};
const int dtype_size[DT_COUNT] = {[DT_F32] = 4, [DT_I32] = 4, [DT_BOOL] = 1, [DT_BF16] = 2, [DT_F16] = 2, [DT_I8] = 1, [DT_NONE] = 0};

const OpInfo op_info[OP_COUNT] = {
#define OP(NAME, text, lo, hi, attrs, type, grad, eval, lower, flags, doc) \
	[OP_##NAME] = {#NAME, text, doc, lo, hi, attrs, flags, lower},
#include "ir/ops.def"
};

Op op_find(const char *text)
{
	for (int i = 0; i < OP_COUNT; i++)
		if (!strcmp(op_info[i].text, text))
			return (Op)i;
	return OP_COUNT;
}

/* Types */

Type type_scalar(DType dt) { return (Type){.dt = dt}; }

Type type_make(DType dt, int rank, const Dim *const *dims)
{
	if (rank < 0 || rank > MAX_RANK)
		bug("a tensor of rank %d", rank);
	Type t = {.dt = dt, .rank = rank};
	for (int i = 0; i < rank; i++)
		t.dim[i] = dims[i];
	return t;
}

static bool same_shape(Type a, Type b)
{
	if (a.rank != b.rank)
		return false;
	for (int i = 0; i < a.rank; i++)
		if (a.dim[i] != b.dim[i])
			return false;
	return true;
}

bool type_eq(Type a, Type b) { return a.dt == b.dt && same_shape(a, b); }

void type_print(Str *s, Type t)
{
	str_puts(s, dtype_name[t.dt]);
	if (t.dt == DT_NONE)
		return;
	str_puts(s, "[");
	for (int i = 0; i < t.rank; i++) {
		str_puts(s, i ? "," : "");
		dim_print(s, t.dim[i]);
	}
	str_puts(s, "]");
}

const Dim *type_elems(Type t)
{
	const Dim *n = dim_const(1);
	for (int i = 0; i < t.rank; i++)
		n = dim_mul(n, t.dim[i]);
	return n;
}

bool type_broadcast(Type a, Type b, Type *out)
{
	Type r = {.dt = a.dt, .rank = MAX(a.rank, b.rank)};
	for (int i = 1; i <= r.rank; i++) {
		const Dim *x = i <= a.rank ? a.dim[a.rank - i] : NULL;
		const Dim *y = i <= b.rank ? b.dim[b.rank - i] : NULL;
		if (x && y && x != y && !dim_is(x, 1) && !dim_is(y, 1))
			return false;
		r.dim[r.rank - i] = !x || (y && dim_is(x, 1)) ? y : x;
	}
	*out = r;
	return true;
}

bool type_same_dims(const Type *a, const Type *b)
{
	bool same = a->rank == b->rank;
	for (int i = 0; same && i < a->rank; i++)
		same = a->dim[i] == b->dim[i];
	return same;
}

const char *type_text(Type t)
{
	Str s = {0};
	type_print(&s, t);
	const char *text = intern(s.at);
	str_free(&s);
	return text;
}

/* The rules. Each has the operands, their number, the attributes, and *out (the given type, if any). */
#define RULE(name) static const char *type_##name(Value *const *in, int nin, const Attrs *a, Type *out)

static const char *want(Value *v, DType dt)
{
	return v->type.dt == dt ? NULL : internf("operand is %s, must be %s", type_text(v->type), dtype_name[dt]);
}

static const char *misfit(Value *x, Value *y)
{
	return internf("shapes %s and %s do not fit", type_text(x->type), type_text(y->type));
}

static const char *bad_axis(int axis, int rank)
{
	if (axis >= 0 && axis < rank)
		return NULL;
	return internf("axis %d of a tensor of rank %d", axis, rank);
}

static bool negative(const Dim *d)
{
	int64_t v;
	return dim_is_const(d, &v) && v < 0;
}

RULE(given)
{
	if (out->dt >= DT_NONE)
		return "a type must be given";
	if (out->rank < 0 || out->rank > MAX_RANK)
		return "rank is above 8";
	for (int i = 0; i < out->rank; i++)
		if (!out->dim[i] || negative(out->dim[i]))
			return internf("extent of axis %d is negative", i);
	return NULL;
}

RULE(iota) { return out->dt == DT_I32 ? type_given(in, nin, a, out) : "iota makes i32"; }

RULE(random)
{
	if (out->dt != DT_F32)
		return "random makes f32";
	if (!type_eq(in[0]->type, type_scalar(DT_I32)))
		return "the seed must be i32[]";
	return type_given(in, nin, a, out);
}

RULE(dimval)
{
	*out = type_scalar(DT_I32);
	return a->size ? NULL : "no size";
}

RULE(same1)
{
	*out = in[0]->type;
	return NULL;
}

RULE(float1)
{
	*out = in[0]->type;
	return want(in[0], DT_F32);
}

RULE(bool1)
{
	*out = in[0]->type;
	return want(in[0], DT_BOOL);
}

RULE(to_f32)
{
	const char *e = type_same1(in, nin, a, out);
	out->dt = DT_F32;
	return e;
}

RULE(to_i32)
{
	const char *e = type_same1(in, nin, a, out);
	out->dt = DT_I32;
	return e;
}

static const char *rounded(Value *const *in, int nin, const Attrs *a, Type *out, DType dt)
{
	const char *e = type_float1(in, nin, a, out);
	out->dt = dt;
	return e;
}

RULE(to_bf16) { return rounded(in, nin, a, out, DT_BF16); }
RULE(to_f16) { return rounded(in, nin, a, out, DT_F16); }
RULE(to_i8) { return rounded(in, nin, a, out, DT_I8); }

RULE(dequant)
{
	Type q = in[0]->type, s = in[1]->type;
	*out = q;
	out->dt = DT_F32;
	if (q.dt != DT_I8 || s.dt != DT_F16 || q.rank < 1 || s.rank != q.rank || memcmp(q.dim, s.dim, (size_t)(q.rank - 1) * sizeof *q.dim) != 0)
		return internf("%s and %s are not i8 and a scale in f16 for each block of the last axis", type_text(q), type_text(s));
	return dim_div_exact(q.dim[q.rank - 1], s.dim[q.rank - 1]) ? NULL : internf("%s does not divide %s", dim_text(s.dim[q.rank - 1]), dim_text(q.dim[q.rank - 1]));
}

static const char *number(Value *v)
{
	if (v->type.dt == DT_F32 || v->type.dt == DT_I32)
		return NULL;
	return internf("operand is %s, must be f32 or i32", type_text(v->type));
}

RULE(arith2)
{
	const char *e = number(in[0]);
	if (e)
		return e;
	if (in[0]->type.dt != in[1]->type.dt)
		return internf("operands are %s and %s", type_text(in[0]->type), type_text(in[1]->type));
	return type_broadcast(in[0]->type, in[1]->type, out) ? NULL : misfit(in[0], in[1]);
}

RULE(float2)
{
	const char *e = want(in[0], DT_F32);
	return e ? e : type_arith2(in, nin, a, out);
}

RULE(compare)
{
	const char *e = type_arith2(in, nin, a, out);
	out->dt = DT_BOOL;
	return e;
}

RULE(bool2)
{
	for (int i = 0; i < 2; i++)
		if (in[i]->type.dt != DT_BOOL)
			return want(in[i], DT_BOOL);
	return type_broadcast(in[0]->type, in[1]->type, out) ? NULL : misfit(in[0], in[1]);
}

RULE(select)
{
	const char *e = want(in[0], DT_BOOL);
	if (e)
		return e;
	if (in[1]->type.dt != in[2]->type.dt)
		return internf("choices are %s and %s", type_text(in[1]->type), type_text(in[2]->type));
	Type both;
	if (!type_broadcast(in[1]->type, in[2]->type, &both))
		return misfit(in[1], in[2]);
	if (!type_broadcast(both, in[0]->type, out))
		return internf("condition %s does not fit %s", type_text(in[0]->type), type_text(both));
	return NULL;
}

RULE(reduce)
{
	const char *e = number(in[0]);
	if (e)
		return e;
	*out = in[0]->type;
	if (!a->axes || a->axes >> out->rank)
		return internf("axes %#x of a tensor of rank %d", a->axes, out->rank);
	for (int i = 0; i < out->rank; i++)
		if (a->axes >> i & 1)
			out->dim[i] = dim_const(1);
	return NULL;
}

RULE(reshape)
{
	const char *e = type_given(in, 0, a, out);
	if (e)
		return e;
	if (out->dt != in[0]->type.dt || type_elems(*out) != type_elems(in[0]->type))
		return internf("%s cannot be reshaped to %s", type_text(in[0]->type), type_text(*out));
	return NULL;
}

RULE(transpose)
{
	*out = in[0]->type;
	uint32_t seen = 0;
	for (int i = 0; i < out->rank; i++) {
		int p = a->perm[i];
		if (p < 0 || p >= out->rank || seen >> p & 1)
			return "perm is no permutation of the axes";
		seen |= 1u << p;
		out->dim[i] = in[0]->type.dim[p];
	}
	return NULL;
}

/* [start, start + len) within extent, as far as constants tell */
static const char *bad_range(const Dim *start, const Dim *len, const Dim *extent)
{
	if (!start || !len)
		return "start or length is missing";
	if (negative(start) || negative(len) || negative(dim_sub(extent, dim_add(start, len))))
		return internf("%s elements from %s on of an axis of %s", dim_text(len), dim_text(start), dim_text(extent));
	return NULL;
}

RULE(slice)
{
	*out = in[0]->type;
	const char *e = bad_axis(a->axis, out->rank);
	if (!e)
		e = bad_range(a->start, a->len, out->dim[a->axis]);
	if (e)
		return e;
	out->dim[a->axis] = a->len;
	return NULL;
}

/* Windows over a run-time axis: that it is never shorter than one is the caller's business. */
RULE(windows)
{
	*out = in[0]->type;
	const char *e = bad_axis(a->axis, out->rank);
	if (e)
		return e;
	if (out->rank == MAX_RANK)
		return "rank is above 8";
	const Dim *n = out->dim[a->axis], *rest = a->len ? dim_sub(n, a->len) : NULL;
	if (!rest || negative(rest) || !dim_is_const(a->len, NULL) || negative(dim_sub(a->len, dim_const(1))) || a->step < 1)
		return internf("windows of %s elements, %d apart, of an axis of %s", a->len ? dim_text(a->len) : "no", a->step, dim_text(n));
	for (int i = out->rank++; i > a->axis; i--)
		out->dim[i] = out->dim[i - 1];
	out->dim[a->axis] = dim_add(dim_div(rest, dim_const(a->step)), dim_const(1));
	out->dim[a->axis + 1] = a->len;
	return NULL;
}

RULE(expand)
{
	const char *e = type_given(in, 0, a, out);
	if (e)
		return e;
	Type r, from = in[0]->type;
	if (out->dt != from.dt || !type_broadcast(from, *out, &r) || !same_shape(r, *out))
		return internf("%s cannot be expanded to %s", type_text(from), type_text(*out));
	return NULL;
}

/* Equal in dtype, rank and all extents but the axis's. */
static bool agree_but(Type x, Type y, int axis)
{
	if (x.rank != y.rank)
		return false;
	x.dim[axis] = y.dim[axis];
	return type_eq(x, y);
}

RULE(concat)
{
	*out = in[0]->type;
	const char *e = bad_axis(a->axis, out->rank);
	if (e)
		return e;
	for (int i = 1; i < nin; i++) {
		if (!agree_but(in[i]->type, in[0]->type, a->axis))
			return misfit(in[0], in[i]);
		out->dim[a->axis] = dim_add(out->dim[a->axis], in[i]->type.dim[a->axis]);
	}
	return NULL;
}

RULE(pad)
{
	*out = in[0]->type;
	const char *e = bad_axis(a->axis, out->rank);
	if (e)
		return e;
	if (!a->lo || !a->hi || negative(a->lo) || negative(a->hi))
		return "padding must be given and not negative";
	out->dim[a->axis] = dim_add(dim_add(a->lo, out->dim[a->axis]), a->hi);
	return NULL;
}

RULE(write)
{
	*out = in[0]->type;
	const char *e = bad_axis(a->axis, out->rank);
	if (e)
		return e;
	if (!agree_but(in[1]->type, *out, a->axis))
		return misfit(in[0], in[1]);
	return bad_range(a->start, in[1]->type.dim[a->axis], out->dim[a->axis]);
}

static const char *spec_side(const char **p, char end, Spec *s, int side)
{
	int n = 0;
	for (; **p && **p != end; ++*p) {
		if (!((**p >= 'a' && **p <= 'z') || (**p >= 'A' && **p <= 'Z')))
			return "spec must be letters, as in \"mk,kn->mn\"";
		if (n == MAX_RANK)
			return "spec has more than 8 letters for one tensor";
		if (memchr(s->at[side], **p, (size_t)n))
			return "spec repeats a letter within one tensor";
		s->at[side][n++] = **p;
	}
	s->n[side] = n;
	if (**p != end)
		return "spec must be as in \"mk,kn->mn\"";
	*p += end != 0;
	return NULL;
}

const char *spec_parse(const char *text, Spec *s)
{
	*s = (Spec){0};
	if (!text)
		return "no spec";
	const char *e = spec_side(&text, ',', s, 0);
	if (!e)
		e = spec_side(&text, '-', s, 1);
	if (!e && *text++ != '>')
		e = "spec must be as in \"mk,kn->mn\"";
	if (!e)
		e = spec_side(&text, 0, s, 2);
	if (e)
		return e;
	for (int i = 0; i < s->n[2]; i++)
		if (!strchr(s->at[0], s->at[2][i]) && !strchr(s->at[1], s->at[2][i]))
			return internf("letter %c of the result is in no operand", s->at[2][i]);
	for (int side = 0; side < 2; side++)
		for (int i = 0; i < s->n[side]; i++)
			if (!strchr(s->at[!side], s->at[side][i]) && !strchr(s->at[2], s->at[side][i]))
				return internf("letter %c is in operand %d alone", s->at[side][i], side);
	return NULL;
}

RULE(contract)
{
	Spec s;
	const char *e = spec_parse(a->spec, &s);
	const Dim *of[128] = {0};
	for (int side = 0; !e && side < 2; side++) {
		bool rounded = in[0]->type.dt == DT_BF16 && !(side && weight_format(in[1]));
		e = want(in[side], rounded ? DT_BF16 : DT_F32);
		if (!e && s.n[side] != in[side]->type.rank)
			e = internf("operand %d is %s, \"%s\" gives it %d axes", side, type_text(in[side]->type), a->spec, s.n[side]);
		for (int i = 0; !e && i < s.n[side]; i++) {
			const Dim **d = &of[(int)s.at[side][i]], *extent = in[side]->type.dim[i];
			if (*d && *d != extent)
				e = internf("letter %c of \"%s\" is both %s and %s", s.at[side][i], a->spec, dim_text(*d), dim_text(extent));
			*d = extent;
		}
	}
	if (e)
		return e;
	*out = (Type){.dt = DT_F32, .rank = s.n[2]};
	for (int i = 0; i < s.n[2]; i++)
		out->dim[i] = of[(int)s.at[2][i]];
	return NULL;
}

RULE(gather)
{
	Type table = in[0]->type, ids = in[1]->type;
	const char *e = want(in[1], DT_I32);
	if (e)
		return e;
	if (table.rank < 1)
		return "the table must have an axis to index";
	if (ids.rank + table.rank - 1 > MAX_RANK)
		return "rank is above 8";
	*out = (Type){.dt = table.dt, .rank = ids.rank + table.rank - 1};
	for (int i = 0; i < ids.rank; i++)
		out->dim[i] = ids.dim[i];
	for (int i = 1; i < table.rank; i++)
		out->dim[ids.rank + i - 1] = table.dim[i];
	return NULL;
}

RULE(nonzero)
{
	if (in[0]->type.dt != DT_BOOL || in[0]->type.rank != 1)
		return internf("operand is %s, must be bool of rank 1", type_text(in[0]->type));
	Value v = {.op = OP_NONZERO, .type = *out};
	if (out->dt != DT_I32 || out->rank != 1 || !counted_sym(&v))
		return "nonzero makes i32 of one extent, a symbol";
	return NULL;
}

RULE(scatter_add)
{
	Type rows;
	const char *e = number(in[0]);
	if (!e)
		e = type_gather(in, 2, a, &rows);
	if (e)
		return e;
	if (!type_eq(rows, in[2]->type))
		return internf("rows are %s, must be %s", type_text(in[2]->type), type_text(rows));
	*out = in[0]->type;
	return NULL;
}

RULE(store)
{
	*out = type_scalar(DT_NONE);
	if (in[0]->op != OP_PARAM && in[0]->op != OP_STATE)
		return "only a param or a state can be stored to";
	if (!type_eq(in[0]->type, in[1]->type))
		return internf("%s stored to %s", type_text(in[1]->type), type_text(in[0]->type));
	return NULL;
}

RULE(output)
{
	*out = type_scalar(DT_NONE);
	return NULL;
}

static const char *bad_mask(Value *keys, Type q, Type k)
{
	Type t = type_make(DT_BOOL, 2, (const Dim *[]){q.dim[0], k.dim[1]});
	return type_eq(keys->type, t) ? NULL : internf("keys is %s, must be %s", type_text(keys->type), type_text(t));
}

static const char *bad_scores(const char *what, Value *x, DType dt, Type q, Type k)
{
	Type t = type_make(dt, 4, (const Dim *[]){q.dim[0], q.dim[2], q.dim[1], k.dim[1]}), r;
	bool fits = x->type.dt == dt && type_broadcast(t, x->type, &r) && same_shape(r, t);
	return fits ? NULL : internf("%s is %s, must broadcast to %s", what, type_text(x->type), type_text(t));
}

/* What keys and values can be beside f32: as a cache keeps them. */
static bool is_kept_dtype(DType dt) { return dt == DT_BF16 || dt == DT_F16 || dt == DT_I8; }

RULE(attention)
{
	Type q = in[0]->type, k = in[1]->type, v = in[2]->type;
	bool blocks = k.dt == DT_I8;
	for (int i = 0; i < 3; i++)
		if ((in[i]->type.dt != DT_F32 && (!i || !is_kept_dtype(in[i]->type.dt))) || in[i]->type.rank != 4)
			return internf("operand %d is %s, must be f32%s of rank 4", i, type_text(in[i]->type), i ? ", bf16, f16 or i8" : "");
	if (blocks != (v.dt == DT_I8))
		return "k and v must both be i8, or none";
	if (memcmp(k.dim, v.dim, 3 * sizeof *k.dim) != 0 || q.dim[0] != k.dim[0] || q.dim[3] != k.dim[3])
		return internf("q %s, k %s and v %s do not fit", type_text(q), type_text(k), type_text(v));
	const Dim *h = q.dim[2], *g = k.dim[2];
	if (dim_is(g, 0) || dim_mul(dim_div(h, g), g) != h)
		return internf("%s key heads do not divide %s query heads", dim_text(g), dim_text(h));
	if (nin != 3 + !!a->keys + !!a->mask + !!a->bias + (a->dropout > 0) + 2 * blocks)
		return "operands do not match keys, mask, bias, dropout and scales";
	if (a->window < 0 || a->softcap < 0)
		return "window and softcap must not be negative";
	const char *e = a->keys ? bad_mask(in[3], q, k) : NULL;
	if (!e && a->mask)
		e = bad_scores("mask", in[3 + !!a->keys], DT_BOOL, q, k);
	if (!e && a->bias)
		e = bad_scores("bias", in[3 + !!a->keys + !!a->mask], DT_F32, q, k);
	if (!e && a->dropout > 0 && !type_eq(in[nin - 1 - 2 * blocks]->type, type_scalar(DT_I32)))
		e = "the seed must be i32[]";
	for (int i = 0; i < 2 && !e && blocks; i++)
		e = type_dequant((Value *[]){in[1 + i], in[nin - 2 + i]}, 2, a, out);
	*out = q;
	out->dim[3] = v.dim[3];
	return e;
}

RULE(flash_lse)
{
	const char *e = type_attention(in, nin, a, out);
	Type q = in[0]->type;
	*out = type_make(DT_F32, 3, (const Dim *[]){q.dim[0], q.dim[2], q.dim[1]});
	return e;
}

static const char *bad_operand(const char *what, const Value *x, Type want)
{
	return type_eq(x->type, want) ? NULL : internf("%s is %s, must be %s", what, type_text(x->type), type_text(want));
}

RULE(flash_grad)
{
	Type y, lse, q = in[0]->type;
	const char *e = type_attention(in, nin - 3, a, &y);
	if (!e)
		e = type_flash_lse(in, nin - 3, a, &lse);
	if (e)
		return e;
	if (a->wrt < 0 || a->wrt > 2)
		return "wrt must be 0, 1 or 2";
	q.dim[3] = dim_const(1);
	*out = in[a->wrt]->type;
	Value *const *own = in + nin - 3;
	e = bad_operand("dy", own[FLASH_DY], y);
	e = e ? e : bad_operand("the flash_lse", own[FLASH_LSE], lse);
	return e ? e : bad_operand("d", own[FLASH_D], q);
}

typedef const char *TypeRule(Value *const *, int, const Attrs *, Type *);
static TypeRule *const rules[OP_COUNT] = {
#define OP(NAME, text, lo, hi, attrs, type, grad, eval, lower, flags, doc) [OP_##NAME] = type_##type,
#include "ir/ops.def"
};

bool op_type_given(Op op)
{
	return rules[op] == type_given || rules[op] == type_iota || rules[op] == type_random || rules[op] == type_nonzero ||
	       rules[op] == type_reshape || rules[op] == type_expand;
}

const char *op_type(Op op, Value *const *in, int nin, const Attrs *a, Type *out)
{
	static const Attrs none;
	const OpInfo *o = &op_info[op];
	if (nin < o->min_in || (o->max_in >= 0 && nin > o->max_in))
		return internf("%s with %d operands", o->text, nin);
	for (int i = 0; i < nin; i++)
		if (in[i]->type.dt == DT_NONE)
			return internf("operand %d has no value", i);
	a = a ? a : &none;
	const char *e = rules[op](in, nin, a, out);
	return e || !(o->attrs & A_axis) ? e : bad_axis(a->axis, out->rank);
}
