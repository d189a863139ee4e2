/* incremental_keys.c: attention in the step. Keys, values, masks and biases are wanted for all positions so far: from
 * caches, or made again where they come of positions alone.
 *
 * A cache is a state at the bounds; a call writes its new positions from T.all - T on. Where every attention that reads
 * it has a window w, it is a ring of R positions: position p is at p mod R. R is a multiple of the step's bound C of T
 * and at least C + w - 1, so that a call's positions overwrite none that its queries see, and don't wrap around as
 * long as no call crosses a multiple of C (the runtime's part). Its extent is the symbol T.ring<R>: the lesser of
 * T.all and R. */
#include "passes/incremental.h"

Value *made(Inc *c, const Value *v, const char *how)
{
	for (int i = 0; i < c->made.len; i++)
		if (c->made.at[i].v == v && c->made.at[i].how == how)
			return c->made.at[i].is;
	return NULL;
}

Value *remember(Inc *c, const Value *v, const char *how, Value *is)
{
	vec_push(c->g->arena, &c->made, ((Made){ v, how, is }));
	return is;
}

/* Spans */

/* Positions that a cache for this attention must hold. */
static int64_t wanted(const Inc *c, const Value *v)
{
	if (!v->a.window || !v->a.causal)
		return c->longest;
	int64_t most = c->chunk + v->a.window - 1, ring = (most + c->chunk - 1) / c->chunk * c->chunk;
	return MIN(ring, c->longest);
}

static bool caches_keys(const Inc *c, const Value *v)
{
	return v->op == OP_ATTENTION && runs(c->dep[v->in[1]->id]);
}

/* Keys or values that several attentions read are kept as the most demanding wants; so are the others of those. */
void find_spans(Inc *c)
{
	bool changed = true;
	while (changed) {
		changed = false;
		for (int i = 0; i < c->g->vals.len; i++) {
			const Value *v = c->g->vals.at[i];
			if (!caches_keys(c, v))
				continue;
			int64_t *k = &c->span[v->in[1]->id], *x = &c->span[v->in[2]->id];
			int64_t most = MAX(MAX(*k, *x), wanted(c, v));
			changed |= *k != most || *x != most;
			*k = *x = most;
		}
	}
}

static Span span_of(Inc *c, const Value *v)
{
	int64_t most = c->span[v->in[1]->id];
	if (most == c->longest)
		return (Span){ c->all, 0 };
	const char *sym = internf("%s.ring%lld", c->sym, (long long)most);
	graph_sym(c->g, sym, most);
	return (Span){ dim_sym(sym), most };
}

/* d modulo the ring */
static const Dim *wrapped(const Dim *d, int64_t ring)
{
	const Dim *r = dim_const(ring);
	return dim_sub(d, dim_mul(r, dim_div(d, r)));
}

/* The position that each slot of a ring holds, of an index of slots: that of the newest, h = (T.all - 1) mod R, is
 * T.all - 1; those above h hold positions of the round before. */
static Value *ring_positions(Inc *c, Builder *b, Value *slot, int64_t ring)
{
	const Dim *newest = dim_sub(c->all, dim_const(1)), *h = wrapped(newest, ring), *round = dim_sub(newest, h);
	Value *now = b_dim(b, round), *before = b_binary(b, OP_SUB, now, b_const(b, DT_I32, (double)ring));
	return b_binary(b, OP_ADD, slot, b_select(b, b_binary(b, OP_LE, slot, b_dim(b, h)), now, before));
}

/* Caches */

static int place_of(const int8_t *order, int axis)
{
	int at = 0;
	while (order[at] != axis)
		at++;
	return at;
}

/* The state at its bounds, the new part padded to them where other extents vary. */
static Value *padded(Inc *c, Builder *b, Value *new, int at, int64_t positions, Type *bound)
{
	Type now = new->type;
	*bound = now;
	for (int i = 0; i < now.rank; i++) {
		int64_t most = positions;
		if (i != at && !graph_bound(c->g, now.dim[i], &most))
			bug("incremental: an extent of a cache has no bound");
		bound->dim[i] = dim_const(most);
		if (i != at && bound->dim[i] != now.dim[i])
			new = b_pad(b, new, i, dim_const(0), dim_sub(bound->dim[i], now.dim[i]));
	}
	return new;
}

/* `now`, which is v in the step or has its axes, over all positions of the span that v runs along; in memory its axis order[i] is axis i. */
static Value *cached_as(Inc *c, Builder *b, Value *v, Value *now, const char *how, const int8_t *order, Span s)
{
	int8_t back[MAX_RANK] = { 0 };
	for (int i = 0; i < v->type.rank; i++) {
		back[order[i]] = (int8_t)i;
		how = internf("%s %d", how, order[i]);
	}
	how = internf("%s %lld", how, (long long)s.ring);
	Value *all = made(c, v, how);
	if (all)
		return all;
	int at = place_of(order, c->dep[v->id].axis[0].at);
	now = b_transpose(b, now, order);
	Type t = now->type, bound;
	Value *new = padded(c, b, now, at, s.ring ? s.ring : c->longest, &bound);
	Value *state = b_source(b, OP_STATE, internf("cache.%d", c->caches++), bound);
	all = b_write(b, state, new, at, s.ring ? wrapped(c->past, s.ring) : c->past);
	b_store(b, state, all);
	t.dim[at] = s.len;
	for (int i = 0; i < t.rank; i++)
		if (t.dim[i] != bound.dim[i])
			all = b_slice(b, all, i, dim_const(0), t.dim[i]);
	return remember(c, v, how, b_transpose(b, all, back));
}

static Value *cached(Inc *c, Builder *b, Value *v, const int8_t *order, Span s)
{
	return cached_as(c, b, v, v->repl, "cache", order, s);
}

/* The batch's axis before the others, so that a sequence's part of every cache is one piece of memory. */
static void batch_first(const Inc *c, Type t, int8_t *order)
{
	int n = 0;
	for (int first = 1; first >= 0; first--)
		for (int i = 0; i < t.rank; i++)
			if ((c->batch && has_dim(t.dim[i], c->batch)) == first)
				order[n++] = (int8_t)i;
}

/* Roles */

static Value *as_keys(Inc *c, Builder *b, Value *v, int key, Span s);

static Value *rebuilt_iota(Inc *c, Builder *b, Value *v, int key, Span s, Type t)
{
	Value *i = b_iota(b, v->a.axis, t);
	if (v->a.axis == key)
		return s.ring ? ring_positions(c, b, i, s.ring) : i;
	return has_dim(t.dim[v->a.axis], c->sym) ? b_binary(b, OP_ADD, i, b_dim(b, c->past)) : i;
}

/* v's op over operands in their roles. */
static Value *rebuilt(Inc *c, Builder *b, Value *v, int key, Span s)
{
	Value **in = NEW_ARRAY(c->g->arena, Value *, v->nin + 1);
	Type t = v->type;
	Attrs a = v->a;
	if (key >= 0)
		t.dim[key] = dim_subst(t.dim[key], c->sym, s.len);
	if (v->op == OP_IOTA)
		return rebuilt_iota(c, b, v, key, s, t);
	if (v->op == OP_SLICE && v->a.axis == key)
		a.len = s.len;
	for (int i = 0; i < v->nin; i++) {
		Dep d = c->dep[v->in[i]->id];
		int own = -1;
		for (int k = 0; k < d.n; k++)
			if (axis_in_result(v, i, d.axis[k].at) == key)
				own = d.axis[k].at;
		in[i] = is_constant(d) ? constant_in_step(c, b, v->in[i], v, i) : as_keys(c, b, v->in[i], own, s);
	}
	return build(b, v->op, in, v->nin, &a, op_type_given(v->op) ? &t : NULL);
}

/* v with its axis `key` over the span's positions; -1: it has none, and is as in the step. */
static Value *as_keys(Inc *c, Builder *b, Value *v, int key, Span s)
{
	Dep d = c->dep[v->id];
	if (is_constant(d))
		return constant_in_step(c, b, v, NULL, 0);
	if (!is_pair(d) && key < 0)
		return v->repl;
	if (!is_pair(d) && !c->positional[v->id]) {
		int8_t order[MAX_RANK];
		batch_first(c, v->type, order);
		return cached(c, b, v, order, s);
	}
	const char *how = internf("keys %d %lld", key, (long long)s.ring);
	Value *r = made(c, v, how);
	return r ? r : remember(c, v, how, rebuilt(c, b, v, key, s));
}

/* A mask or bias: keys are its last axis. */
static Value *scores_in_step(Inc *c, Builder *b, Value *x, Span s)
{
	Dep d = c->dep[x->id];
	bool key = d.n && d.axis[d.n - 1].at == x->type.rank - 1;
	return as_keys(c, b, x, key ? x->type.rank - 1 : -1, s);
}

/* bool[T,len]: the slots of a ring that a query sees. */
static Value *ring_mask(Inc *c, Builder *b, const Dim *T, Span s, int window)
{
	Type rows = type_make(DT_I32, 2, (const Dim *[]){ T, dim_const(1) }), cols = type_make(DT_I32, 2, (const Dim *[]){ dim_const(1), s.len });
	Value *p = ring_positions(c, b, b_iota(b, 1, cols), s.ring);
	Value *t = b_binary(b, OP_ADD, b_iota(b, 0, rows), b_dim(b, dim_sub(c->all, T)));
	Value *near = b_binary(b, OP_LT, b_binary(b, OP_SUB, t, b_const(b, DT_I32, window)), p);
	return b_binary(b, OP_AND, b_binary(b, OP_LE, p, t), near);
}

/* How a cache lies: axis i of it is axis order[i] of (B,T,G,K). Keys have positions innermost, as the product with
 * queries runs along them side by side; values have them outside of K. */
static const int8_t cache_order[2][4] = { { 0, 2, 3, 1 }, { 0, 2, 1, 3 } };

/* Heads of a multiple of 32 in blocks of those, others whole. As ggml's q8_0 has it: 127 is the block's greatest magnitude, the scale is in f16. */
enum { BLOCK = 32 };

static Value *cached_blocks(Inc *c, Builder *b, Value *v, const int8_t *order, Span s)
{
	Type t = v->repl->type, whole = t, scales;
	int64_t K = 0;
	dim_is_const(t.dim[3], &K);
	const Dim *n = K && K % BLOCK == 0 ? dim_const(BLOCK) : t.dim[3];
	t.dim[4] = n;
	t.dim[3] = dim_div_exact(t.dim[3], n);
	t.rank = 5;
	scales = t;
	scales.rank = 4;
	scales.dt = DT_F16;
	whole.dt = DT_I8;
	Value *x = b_reshape(b, v->repl, t), *top = b_reduce(b, OP_RMAX, b_unary(b, OP_ABS, x), 1u << 4);
	Value *scale = b_binary(b, OP_DIV, top, b_const(b, DT_F32, 127)), *none = b_binary(b, OP_LE, scale, b_const(b, DT_F32, 0));
	Value *q = b_unary(b, OP_TO_I8, b_binary(b, OP_DIV, x, b_select(b, none, b_const(b, DT_F32, 1), scale)));
	Value *values = cached_as(c, b, v, b_reshape(b, q, whole), "blocks", order, s);
	Value *by = cached_as(c, b, v, b_reshape(b, b_unary(b, OP_TO_F16, scale), scales), "scales", order, s);
	return build(b, OP_DEQUANT, (Value *[]){ values, by }, 2, NULL, NULL);
}

/* Rounded when they are kept and exact when they are read. */
static Value *cached_rounded(Inc *c, Builder *b, Value *v, const int8_t *order, Span s)
{
	return b_unary(b, OP_TO_F32, cached_as(c, b, v, b_convert(b, v->repl, c->kept), "rounded", order, s));
}

static Value *cached_kept(Inc *c, Builder *b, Value *v, const int8_t *order, Span s)
{
	if (c->kept == DT_F32)
		return cached(c, b, v, order, s);
	Value *all = made(c, v, "kept");
	return all ? all : remember(c, v, "kept", (c->kept == DT_I8 ? cached_blocks : cached_rounded)(c, b, v, order, s));
}

Value *step_attention(Inc *c, Builder *b, Value *v)
{
	Value *in[7], *mask = NULL;
	Attrs a = v->a;
	bool cache = caches_keys(c, v);
	Span s = cache ? span_of(c, v) : (Span){ 0 };
	int at = 3, n = 3;
	in[0] = is_constant(c->dep[v->in[0]->id]) ? constant_in_step(c, b, v->in[0], v, 0) : v->in[0]->repl;
	for (int i = 0; i < 2; i++)
		in[1 + i] = cache ? cached_kept(c, b, v->in[1 + i], cache_order[i], s) : once(c, b, v->in[1 + i], cache_order[i]);
	if (a.keys) {
		Value *keys = v->in[at++];
		in[n++] = as_keys(c, b, keys, is_constant(c->dep[keys->id]) ? -1 : 1, s);
	}
	if (a.mask)
		mask = scores_in_step(c, b, v->in[at++], s);
	if (s.ring) {
		Value *seen = ring_mask(c, b, in[0]->type.dim[1], s, a.window);
		mask = mask ? b_binary(b, OP_AND, mask, seen) : seen;
		a.causal = a.window = 0;
		a.mask = 1;
	}
	if (mask)
		in[n++] = mask;
	if (a.bias)
		in[n++] = scores_in_step(c, b, v->in[at++], s);
	return build(b, OP_ATTENTION, in, n, &a, NULL);
}
