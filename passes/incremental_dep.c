/* incremental_dep.c: how each value depends on the generated axis, or why generating can't go on from it. A rule an op;
 * what most ops share is where an operand's axes are in the result. Refusals are collected and reported once each:
 * what depends on a refused value is refused silently. */
#include "passes/incremental.h"

static const Dep constant = { 0 }, refused = { .refused = true };

static Dep along(int axis)
{
	return (Dep){ .n = 1, .axis = { { axis, dim_const(1), dim_const(1), false } } };
}

PRINTF(4, 5) Dep refuse(Inc *c, const Value *v, const char *code, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	Str s = { 0 };
	str_vprintf(&s, fmt, args);
	va_end(args);
	vec_push(c->g->arena, &c->refusals, ((Refusal){ v, code, intern(s.at) }));
	str_free(&s);
	return refused;
}

bool has_dim(const Dim *d, const char *sym)
{
	return d && dim_subst(d, sym, dim_const(1)) != d;
}

static bool has_T(const Inc *c, const Dim *d)
{
	return has_dim(d, c->sym);
}

/* The extents that have T in them, each a product with T. */
static Dep from_type(Inc *c, const Value *v)
{
	Dep d = { 0 };
	for (int i = 0; i < v->type.rank; i++) {
		const Dim *extent = v->type.dim[i], *outer;
		if (!has_T(c, extent))
			continue;
		outer = dim_div(extent, c->T);
		if (dim_mul(outer, c->T) != extent || has_T(c, outer) || d.n == 2)
			return refuse(c, v, "E0804", "the shape %s of %s does not run along %s on one axis", type_text(v->type),
				op_info[v->op].text, c->sym);
		d.axis[d.n++] = (Along){ i, outer, dim_const(1), false };
	}
	return d;
}

/* Where operands' axes go */

static int at_right(const Value *v, int i, int axis) { return axis + v->type.rank - v->in[i]->type.rank; }

static int in_reduce(const Value *v, int i, int axis) { return v->a.axes >> axis & 1 ? -1 : axis; }

static int but_its_own(const Value *v, int i, int axis) { return axis == v->a.axis ? -1 : axis; }

static int in_transpose(const Value *v, int i, int axis)
{
	for (int k = 0; k < v->type.rank; k++)
		if (v->a.perm[k] == axis)
			return k;
	return -1;
}

static int in_contract(const Value *v, int i, int axis)
{
	Spec s;
	if (spec_parse(v->a.spec, &s))
		bug("incremental: spec %s", v->a.spec);
	const char *at = strchr(s.at[2], s.at[i][axis]);
	return at ? (int)(at - s.at[2]) : -1;
}

static int in_gather(const Value *v, int i, int axis)
{
	if (i == 1)
		return axis;
	return axis == 0 ? -1 : axis - 1 + v->in[1]->type.rank;
}

static int in_windows(const Value *v, int i, int axis)
{
	return axis == v->a.axis ? -1 : axis + (axis > v->a.axis);
}

/* The axis with the same extent and as many elements before it. */
static int in_reshape(const Value *v, int i, int axis)
{
	Type from = v->in[0]->type;
	const Dim *before = dim_const(1), *sofar = dim_const(1);
	for (int k = 0; k < axis; k++)
		before = dim_mul(before, from.dim[k]);
	for (int k = 0; k < v->type.rank; k++) {
		if (sofar == before && v->type.dim[k] == from.dim[axis])
			return k;
		sofar = dim_mul(sofar, v->type.dim[k]);
	}
	return -1;
}

typedef int AxisRule(const Value *v, int operand, int axis);
typedef struct Moves { AxisRule *axis; const char *code, *why; } Moves;   /* why: where the axis goes nowhere */
static const Moves moves[OP_COUNT] = {
	[OP_SUM] = { in_reduce, "E0802", "sum runs over the whole sequence" },
	[OP_RMAX] = { in_reduce, "E0802", "rmax runs over the whole sequence" },
	[OP_SOFTMAX] = { but_its_own, "E0802", "softmax runs over the whole sequence" },
	[OP_RESHAPE] = { in_reshape, "E0804", "a reshape mixes the sequence with other axes" },
	[OP_TRANSPOSE] = { in_transpose, NULL, NULL },
	[OP_EXPAND] = { at_right, NULL, NULL },
	[OP_CONCAT] = { but_its_own, "E0805", "a concatenation runs along the sequence" },
	[OP_PAD] = { but_its_own, "E0805", "padding shifts positions along the sequence" },
	[OP_WINDOWS] = { in_windows, "E0805", "a convolution runs along the sequence" },
	[OP_CONTRACT] = { in_contract, "E0802", "a product is summed over the whole sequence" },
	[OP_GATHER] = { in_gather, "E0806", "positions are looked up by number" },
};

static AxisRule *axis_rule(Op op)
{
	return moves[op].axis ? moves[op].axis : op_info[op].flags & OPF_ELEMENTWISE ? at_right : NULL;
}

int axis_in_result(const Value *v, int operand, int axis)
{
	if (v->op == OP_SLICE)
		return axis;
	AxisRule *rule = axis_rule(v->op);
	return rule ? rule(v, operand, axis) : -1;
}

/* Joining what operands bring */

static bool same_along(const Along *a, const Along *b)
{
	return a->outer == b->outer && a->inner == b->inner && a->rows == b->rows;
}

/* Adds one axis to d; refused where two things meet in one axis that are not one. */
static bool add_axis(Dep *d, Along a)
{
	int i = 0;
	while (i < d->n && d->axis[i].at < a.at)
		i++;
	if (i < d->n && d->axis[i].at == a.at)
		return same_along(&d->axis[i], &a);
	if (d->n == 2)
		return false;
	for (int k = d->n++; k > i; k--)
		d->axis[k] = d->axis[k - 1];
	d->axis[i] = a;
	return true;
}

static Dep against(Inc *c, const Value *v, bool last)
{
	return refuse(c, v, "E0806", last ? "%s gives the last position's value to earlier ones" : "%s sets every position against every other",
		op_info[v->op].text);
}

/* Refuses pairs where they are of no use, naming what made them. */
static Dep no_pairs(Inc *c, Dep d)
{
	return is_pair(d) ? against(c, d.from, c->dep[d.from->id].last) : d;
}

/* What two dependences, axes already the result's, give together. */
static Dep together(Inc *c, Value *v, Dep a, Dep b)
{
	if (a.refused || b.refused)
		return refused;
	Dep d = a;
	d.last |= b.last;
	d.places = false;
	if (!d.from)
		d.from = b.from;
	bool good = true;
	for (int i = 0; i < b.n; i++)
		good &= add_axis(&d, b.axis[i]);
	if (!good || d.n + d.last > 2)
		return against(c, v, d.last);
	if (is_pair(d) && !d.from)
		d.from = v;
	return d;
}

/* The operand's dependence with axes where they are in the result. */
static Dep moved(Inc *c, Value *v, int i)
{
	Dep d = c->dep[v->in[i]->id], r = d;
	r.n = 0;
	r.places = false;
	for (int k = 0; k < d.n && !d.refused; k++) {
		Along a = d.axis[k];
		a.at = axis_rule(v->op)(v, i, a.at);
		if (a.at < 0)
			return refuse(c, v, moves[v->op].code, "%s", moves[v->op].why);
		if (!add_axis(&r, a))
			return against(c, v, false);
	}
	return r;
}

static Dep dep_moved(Inc *c, Value *v)
{
	Dep d = constant;
	for (int i = 0; i < v->nin; i++)
		if (c->dep[v->in[i]->id].refused)
			return refused;
	for (int i = 0; i < v->nin; i++)
		d = together(c, v, d, moved(c, v, i));
	return d;
}

/* Rules of ops */

static Dep dep_source(Inc *c, Value *v)
{
	Dep d = from_type(c, v);
	d.from = d.n == 2 ? v : NULL;
	return v->op == OP_CONST ? d : no_pairs(c, d);
}

static Dep dep_iota(Inc *c, Value *v)
{
	Dep d = from_type(c, v);
	if (has_T(c, v->type.dim[v->a.axis]) && v->type.dim[v->a.axis] != c->T)
		return refuse(c, v, "E0804", "rows of several sequences are numbered together");
	d.from = d.n == 2 ? v : NULL;
	return d;
}

static Dep dep_dimval(Inc *c, Value *v)
{
	return has_T(c, v->a.size) ? refuse(c, v, "E0803", "the length of the whole sequence is used as a number") : constant;
}

static Dep dep_random(Inc *c, Value *v)
{
	Dep d = from_type(c, v);
	return d.n ? refuse(c, v, "E0807", "random numbers are drawn over the sequence") : d;
}

/* The last position of axis `at` alone. */
static Dep take_last(Inc *c, Value *v, Dep d, int i)
{
	if (d.last)
		return no_pairs(c, d);
	d.last = true;
	d.n--;
	if (i == 0)
		d.axis[0] = d.axis[1];
	return d;
}

static Dep dep_slice(Inc *c, Value *v)
{
	Dep d = c->dep[v->in[0]->id];
	bool over = has_T(c, v->a.start) || has_T(c, v->a.len);
	for (int i = 0; i < d.n; i++) {
		if (d.axis[i].at != v->a.axis)
			continue;
		if (v->a.len == v->in[0]->type.dim[v->a.axis] && dim_is(v->a.start, 0))
			return d;
		bool plain = v->in[0]->type.dim[v->a.axis] == c->T;
		if (plain && dim_is(v->a.len, 1) && v->a.start == dim_sub(c->T, dim_const(1)))
			return take_last(c, v, d, i);
		return refuse(c, v, "E0805", "a slice along the sequence is neither all of it nor its last position");
	}
	if (!over || d.refused)
		return d;
	if (is_constant(d) && v->a.len == c->T && !has_T(c, v->a.start))   /* the first T rows of a table: moves along with the offset */
		return along(v->a.axis);
	return refuse(c, v, "E0805", "a slice of another axis depends on %s", c->sym);
}

static Dep dep_expand(Inc *c, Value *v)
{
	Dep d = moved(c, v, 0), to = from_type(c, v);
	if (d.refused || to.refused)
		return refused;
	for (int i = 0; i < to.n; i++) {
		bool had = false;
		for (int k = 0; k < d.n; k++)
			had |= d.axis[k].at == to.axis[i].at;
		if (!had)
			d = together(c, v, d, (Dep){ .n = 1, .axis = { to.axis[i] } });
	}
	return d;
}

static Dep dep_pad(Inc *c, Value *v)
{
	Dep d = moved(c, v, 0);
	if (!d.refused && (has_T(c, v->a.lo) || has_T(c, v->a.hi)))
		return refuse(c, v, "E0805", "padding depends on %s", c->sym);
	return d;
}

/* The axis of the result where before * outer elements stand before T, and how its extent is made of T. */
static bool find_along(const Inc *c, Type t, const Dim *before, Along *a)
{
	const Dim *sofar = dim_const(1);
	for (int k = 0; k < t.rank; k++) {
		const Dim *outer = dim_div(before, sofar), *unit = dim_mul(outer, c->T);
		const Dim *inner = dim_is(unit, 0) ? unit : dim_div(t.dim[k], unit);
		if (!dim_is(outer, 0) && dim_mul(outer, sofar) == before && dim_mul(inner, unit) == t.dim[k] && !has_T(c, inner)) {
			*a = (Along){ k, outer, inner, false };
			return true;
		}
		sofar = dim_mul(sofar, t.dim[k]);
	}
	return false;
}

/* The axis may be merged with others and taken apart again. */
static Dep dep_reshape(Inc *c, Value *v)
{
	Dep d = c->dep[v->in[0]->id], r = d;
	Type from = v->in[0]->type;
	r.n = 0;
	r.places = d.places;
	for (int i = 0; i < d.n && !d.refused; i++) {
		Along a = d.axis[i];
		const Dim *before = a.outer;
		for (int k = 0; k < a.at; k++)
			before = dim_mul(before, from.dim[k]);
		int same = in_reshape(v, 0, a.at);
		bool found = same >= 0;
		if (found)
			a.at = same;
		else if (!a.rows && d.n == 1)
			found = find_along(c, v->type, before, &a);
		if (!found || !add_axis(&r, a))
			return refuse(c, v, "E0804", "a reshape mixes %s with other axes", c->sym);
	}
	return r;
}

/* Ids that are places along the table's own axis pick rows of the sequence. */
static bool picks_places(const Inc *c, const Value *v)
{
	Dep table = c->dep[v->in[0]->id], ids = c->dep[v->in[1]->id];
	return ids.places && table.n == 1 && !table.last && table.axis[0].at == 0 && !table.axis[0].rows &&
		ids.n == 1 && table.axis[0].outer == ids.axis[0].outer && table.axis[0].inner == ids.axis[0].inner;
}

static Dep dep_gather(Inc *c, Value *v)
{
	if (picks_places(c, v)) {
		Dep d = c->dep[v->in[1]->id];
		d.places = false;
		return d;
	}
	return dep_moved(c, v);
}

/* The places at which something is true of each position. */
static Dep dep_nonzero(Inc *c, Value *v)
{
	Dep d = c->dep[v->in[0]->id];
	if (!runs(d) || d.axis[0].rows)
		return is_constant(d) || d.refused ? d : refuse(c, v, "E0806", "positions are counted together");
	d.places = d.axis[0].rows = true;
	return d;
}

/* Rows added where they came from. */
static Dep dep_scatter_add(Inc *c, Value *v)
{
	Dep base = c->dep[v->in[0]->id], rows = c->dep[v->in[2]->id];
	if (base.refused || rows.refused || c->dep[v->in[1]->id].refused)
		return refused;
	if (is_constant(base) && is_constant(rows) && is_constant(c->dep[v->in[1]->id]))
		return constant;
	if (picks_places(c, v) && runs(rows) && rows.axis[0].at == 0 && rows.axis[0].rows)
		return base;
	return refuse(c, v, "E0806", "rows are added up across positions");
}

/* Attention */

/* The operands behind q, k, v: a mask or bias of pairs has queries' axis before keys' axis, which is last. */
static bool scores_fit(Inc *c, Value *v, const Value *x, bool cached)
{
	Dep d = c->dep[x->id], q = c->dep[v->in[0]->id];
	if (d.refused)
		return false;
	bool good = !d.last || q.last;
	for (int i = 0; i < d.n; i++) {
		bool key = d.axis[i].at == x->type.rank - 1, query = d.axis[i].at == x->type.rank - 2;
		good &= !d.axis[i].rows && ((key && cached) || (query && !q.last));
	}
	if (!good)
		refuse(c, v, "E0807", "attention at line %d has a mask or bias that does not run along queries and keys", v->loc.line);
	return good;
}

static bool extras_fit(Inc *c, Value *v, bool cached)
{
	int at = 3;
	if (v->a.dropout > 0) {
		refuse(c, v, "E0807", "attention at line %d has dropout", v->loc.line);
		return false;
	}
	if (v->a.keys) {
		Dep d = c->dep[v->in[at++]->id];
		if (d.refused || is_pair(d) || d.last || (d.n && (!cached || d.axis[0].at != 1))) {
			if (!d.refused)
				refuse(c, v, "E0807", "attention at line %d has a mask of keys of another sequence", v->loc.line);
			return false;
		}
	}
	for (int left = !!v->a.mask + !!v->a.bias; left > 0; left--)
		if (!scores_fit(c, v, v->in[at++], cached))
			return false;
	return true;
}

static bool plain_axis(Dep d)
{
	return !d.n || (d.axis[0].at == 1 && !d.axis[0].rows && dim_is(d.axis[0].outer, 1) && dim_is(d.axis[0].inner, 1));
}

static Dep dep_attention(Inc *c, Value *v)
{
	Dep q = no_pairs(c, c->dep[v->in[0]->id]), k = no_pairs(c, together(c, v, c->dep[v->in[1]->id], c->dep[v->in[2]->id]));
	if (q.refused || k.refused)
		return refused;
	int line = v->loc.line;
	if (!plain_axis(q) || !plain_axis(k) || k.last)
		return refuse(c, v, "E0806", "attention at line %d does not have %s as its second axis", line, c->sym);
	if (!k.n && (v->a.causal || v->a.window) && q.n)
		return refuse(c, v, "E0801", "attention at line %d is %s over keys of another sequence", line,
			v->a.causal ? "causal" : "windowed");
	if (k.n && q.n && !v->a.causal)
		return refuse(c, v, "E0801", "attention at line %d has no causal mask", line);
	if (!extras_fit(c, v, k.n))
		return refused;
	if (!k.n || q.n)
		return q;
	return (Dep){ .last = true };
}

/* Roots. Anything may leave but pairs; `next` is what follows the last position. */
static Dep dep_output(Inc *c, Value *v)
{
	Dep d = no_pairs(c, c->dep[v->in[0]->id]);
	if (runs(d) && strcmp(v->a.name, "next") == 0)
		return refuse(c, v, "E0809", "`next` is made for every position, not for the last alone");
	return d.refused ? refused : constant;
}

static Dep dep_effect(Inc *c, Value *v)
{
	for (int i = 0; i < v->nin; i++) {
		Dep d = c->dep[v->in[i]->id];
		if (!is_constant(d))
			return d.refused ? refused : refuse(c, v, "E0808", "%s depends on the sequence", op_info[v->op].text);
	}
	return constant;
}

typedef Dep DepRule(Inc *, Value *);
static DepRule *const dep_rule[OP_COUNT] = {
	[OP_PARAM] = dep_source, [OP_STATE] = dep_source, [OP_INPUT] = dep_source, [OP_CONST] = dep_source,
	[OP_IOTA] = dep_iota, [OP_DIMVAL] = dep_dimval, [OP_RANDOM] = dep_random, [OP_RESHAPE] = dep_reshape,
	[OP_SLICE] = dep_slice, [OP_EXPAND] = dep_expand, [OP_PAD] = dep_pad, [OP_GATHER] = dep_gather,
	[OP_SCATTER_ADD] = dep_scatter_add, [OP_NONZERO] = dep_nonzero, [OP_ATTENTION] = dep_attention, [OP_OUTPUT] = dep_output,
};

/* Does v's run along T come from positions alone, so that it can be made again for any of them? */
static bool by_position(const Inc *c, const Value *v)
{
	if (v->op == OP_IOTA || v->op == OP_CONST)
		return true;
	if (v->op == OP_SLICE ? is_constant(c->dep[v->in[0]->id]) : !axis_rule(v->op))
		return false;
	for (int i = 0; i < v->nin; i++)
		if (!is_constant(c->dep[v->in[i]->id]) && !c->positional[v->in[i]->id])
			return false;
	return true;
}

static bool report(const Inc *c);

bool classify(Inc *c)
{
	for (int i = 0; i < c->g->vals.len; i++) {
		Value *v = c->g->vals.at[i];
		DepRule *rule = dep_rule[v->op];
		if (!rule)
			rule = axis_rule(v->op) ? dep_moved : dep_effect;
		c->dep[i] = rule(c, v);
		c->given[i] = v->op == OP_INPUT && is_constant(c->dep[i]);
		for (int k = 0; k < v->nin; k++)
			c->given[i] |= c->given[v->in[k]->id];
		c->positional[i] = !is_constant(c->dep[i]) && by_position(c, v);
	}
	return report(c);
}

/* Reporting. One cause gives one error: layers of one line are one, and a length that is used as a number where the
 * sequence is refused already (a mean's divisor) is not another. */

static bool same_place(const Value *a, const Value *b)
{
	return a->loc.line == b->loc.line && a->loc.col == b->loc.col && a->loc.file == b->loc.file;
}

static bool said(const Inc *c, int at)
{
	const Refusal *r = &c->refusals.at[at];
	for (int i = 0; i < c->refusals.len; i++) {
		const Refusal *o = &c->refusals.at[i];
		bool equal = strcmp(o->code, r->code) == 0, placed = same_place(o->v, r->v);
		if (i < at && placed && (o->v->loc.file || o->v == r->v) && equal && strcmp(o->text, r->text) == 0)
			return true;
		if (i != at && placed && r->v->op == OP_DIMVAL && o->v->op != OP_DIMVAL)
			return true;
	}
	return false;
}

static bool report(const Inc *c)
{
	for (int i = 0; i < c->refusals.len; i++) {
		const Refusal *r = &c->refusals.at[i];
		const Value *v = r->v;
		if (said(c, i))
			continue;
		if (v->loc.range.src)
			diag_error(v->loc.range, r->code, "generating needs a cache, but %s", r->text);
		else
			diag_error((Loc){ 0 }, r->code, "%s:%d:%d: generating needs a cache, but %s", v->loc.file ? v->loc.file : "?",
				v->loc.line, v->loc.col, r->text);
		if (v->path)
			diag_note((Loc){ 0 }, "in %s", v->path);
	}
	return !c->refusals.len;
}
