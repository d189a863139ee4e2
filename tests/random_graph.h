/* random_graph.h: small random graphs for the tests: elementwise ops with broadcasting, reductions over any axes,
 * views, windows, contractions with random specs, concats, pads, gathers, scatters, counted rows, writes, and states that are read and stored.
 * The same seed gives the same graph. Sources are named so that tests/numeric.h can fill them. */
#ifndef TESTS_RANDOM_GRAPH_H
#define TESTS_RANDOM_GRAPH_H

#include "ir/ir.h"

typedef struct Rand {
	Builder b;
	uint64_t s;
	Vec(Value *) pool;       /* f32 values to choose operands from */
	int names;
} Rand;

static inline int rand_below(Rand *r, int n)
{
	r->s = r->s * 6364136223846793005u + 1442695040888963407u;
	return (int)((r->s >> 33) % (uint64_t)n);
}

/* One of a few extents: run-time and constant ones, one of them 1. */
static inline const Dim *rand_dim(Rand *r)
{
	switch (rand_below(r, 6)) {
	case 0: return dim_sym("B");
	case 1: return dim_sym("T");
	case 2: return dim_const(1);
	case 3: return dim_const(3);
	default: return dim_const(4);
	}
}

static inline Type rand_type(Rand *r, int most)
{
	const Dim *d[MAX_RANK];
	int rank = 1 + rand_below(r, most);
	for (int i = 0; i < rank; i++)
		d[i] = rand_dim(r);
	return type_make(DT_F32, rank, d);
}

static inline Value *rand_source(Rand *r, Op op, Type t)
{
	Value *v = b_source(&r->b, op, internf("%s%d", op_info[op].text, r->names++), t);
	if (t.dt == DT_F32)
		vec_push(r->b.g->arena, &r->pool, v);
	return v;
}

static inline Value *rand_value(Rand *r)
{
	int n = r->pool.len, recent = rand_below(r, 3) ? MIN(n, 6) : n;
	return r->pool.at[n - 1 - rand_below(r, recent)];
}

static inline Value *rand_unary(Rand *r)
{
	static const Op ops[] = { OP_NEG, OP_TANH, OP_ABS, OP_SIGMOID, OP_COPY, OP_SIN };
	return b_unary(&r->b, ops[rand_below(r, COUNT(ops))], rand_value(r));
}

static inline Value *rand_binary(Rand *r)
{
	static const Op ops[] = { OP_ADD, OP_SUB, OP_MUL, OP_MAX };
	Value *x = rand_value(r), *y = rand_value(r);
	Type t;
	if (!type_broadcast(x->type, y->type, &t) || t.rank > 5)
		y = b_const(&r->b, DT_F32, 0.5);
	return b_binary(&r->b, ops[rand_below(r, COUNT(ops))], x, y);
}

static inline Value *rand_reduce(Rand *r)
{
	Value *x = rand_value(r);
	uint32_t axes = (uint32_t)rand_below(r, 1 << x->type.rank);
	Value *s = b_reduce(&r->b, rand_below(r, 4) ? OP_SUM : OP_RMAX, x, axes ? axes : 1u << (x->type.rank - 1));
	return b_binary(&r->b, OP_MUL, s, b_const(&r->b, DT_F32, 0.25));
}

static inline Value *rand_transpose(Rand *r)
{
	Value *x = rand_value(r);
	int8_t perm[MAX_RANK];
	for (int i = 0; i < x->type.rank; i++)
		perm[i] = (int8_t)i;
	for (int i = x->type.rank - 1; i > 0; i--) {
		int k = rand_below(r, i + 1);
		int8_t t = perm[i];
		perm[i] = perm[k];
		perm[k] = t;
	}
	return b_transpose(&r->b, x, perm);
}

/* Joins two neighbouring axes, or inserts an axis of extent 1. */
static inline Value *rand_reshape(Rand *r)
{
	Value *x = rand_value(r);
	Type t = x->type;
	int at = rand_below(r, t.rank);
	if (at + 1 < t.rank && rand_below(r, 3)) {
		t.dim[at] = dim_mul(t.dim[at], t.dim[at + 1]);
		memmove(&t.dim[at + 1], &t.dim[at + 2], sizeof *t.dim * (size_t)(t.rank - at - 2));
		t.rank--;
	} else if (t.rank < 5) {
		memmove(&t.dim[at + 1], &t.dim[at], sizeof *t.dim * (size_t)(t.rank - at));
		t.dim[at] = dim_const(1);
		t.rank++;
	}
	return b_reshape(&r->b, x, t);
}

static inline Value *rand_slice(Rand *r)
{
	Value *x = rand_value(r);
	for (int i = 0; i < x->type.rank; i++)
		if (dim_is(x->type.dim[i], 4))
			return b_slice(&r->b, x, i, dim_const(1), dim_const(3));
	return b_pad(&r->b, x, rand_below(r, x->type.rank), dim_const(1), dim_const(rand_below(r, 2)));
}

static inline Value *rand_windows(Rand *r)
{
	Value *x = rand_value(r);
	int64_t n;
	for (int i = x->type.rank - 1; i >= 0 && x->type.rank < 6; i--)
		if (dim_is_const(x->type.dim[i], &n) && n >= 3)
			return b_windows(&r->b, x, i, dim_const(2 + rand_below(r, 2)), 1 + rand_below(r, 3));
	return b_unary(&r->b, OP_NEG, x);
}

/* Rows chosen by a mask, changed, and added where they came from or up: counted extents do not leave. */
static inline Value *rand_counted(Rand *r)
{
	Value *x = rand_value(r);
	Value *s = rand_source(r, OP_INPUT, type_make(DT_F32, 1, x->type.dim));
	Value *mask = b_binary(&r->b, OP_LT, s, b_const(&r->b, DT_F32, rand_below(r, 4) - 1.5));
	Value *at = b_nonzero(&r->b, mask, internf("rows.%d", r->names++));
	Value *rows = b_unary(&r->b, OP_SIN, b_gather(&r->b, x, at));
	if (rand_below(r, 2))
		return b_scatter_add(&r->b, x, at, rows);
	return b_reduce(&r->b, OP_SUM, rows, rand_below(r, 2) ? 1 : (1u << x->type.rank) - 1);
}

static inline Value *rand_expand(Rand *r)
{
	Value *x = rand_value(r);
	Type t = x->type;
	for (int i = 0; i < t.rank; i++)
		if (dim_is(t.dim[i], 1))
			t.dim[i] = dim_const(3);
	if (t.rank < 4) {
		memmove(&t.dim[1], &t.dim[0], sizeof *t.dim * (size_t)t.rank);
		t.dim[0] = dim_sym("B");
		t.rank++;
	}
	return b_expand(&r->b, x, t);
}

static inline Value *rand_concat(Rand *r)
{
	Value *x = rand_value(r), *in[3];
	int n = 2 + rand_below(r, 2), axis = rand_below(r, x->type.rank);
	in[0] = x;
	for (int i = 1; i < n; i++)
		in[i] = rand_below(r, 2) ? x : b_unary(&r->b, OP_NEG, x);
	return b_concat(&r->b, in, n, axis);
}

/* Letters by extent: the axes of both operands get random roles. */
static inline Value *rand_contract(Rand *r)
{
	Value *x = rand_value(r), *y = rand_value(r);
	char spec[64], out[16] = "";
	int n = 0, at = 0;
	bool paired[MAX_RANK] = {0};
	if (x->type.rank + y->type.rank > 7)
		return b_unary(&r->b, OP_NEG, x);
	for (int i = 0; i < x->type.rank; i++)
		spec[at++] = (char)('a' + i);
	spec[at++] = ',';
	for (int i = 0; i < y->type.rank; i++) {
		char c = (char)('m' + i);
		for (int k = 0; k < x->type.rank; k++)
			if (!paired[k] && x->type.dim[k] == y->type.dim[i] && rand_below(r, 4)) {
				c = (char)('a' + k);
				paired[k] = true;
				break;
			}
		spec[at++] = c;
	}
	char *comma = memchr(spec, ',', (size_t)at);
	for (int i = 0; i < at; i++) {
		if (spec[i] == ',')
			continue;
		bool left = &spec[i] < comma, both = left ? paired[i] : spec[i] < 'm';
		if (both ? left && rand_below(r, 2) : true)
			out[n++] = spec[i];
	}
	for (int i = n - 1; i > 0; i--) {
		int k = rand_below(r, i + 1);
		char t = out[i];
		out[i] = out[k];
		out[k] = t;
	}
	snprintf(spec + at, sizeof spec - (size_t)at, "->%s", out);
	Value *c = b_contract(&r->b, x, y, intern(spec));
	return b_unary(&r->b, OP_TANH, c);
}

static inline Value *rand_gather(Rand *r)
{
	Value *x = rand_value(r);
	Value *ids = rand_source(r, OP_INPUT, type_make(DT_I32, 1, (const Dim *[]){ dim_sym("T") }));
	if (rand_below(r, 2) || x->type.rank < 2)
		return b_gather(&r->b, x, ids);
	Value *rows = b_gather(&r->b, x, ids);
	return b_scatter_add(&r->b, x, ids, b_unary(&r->b, OP_SIN, rows));
}

static inline Value *rand_random(Rand *r)
{
	Value *x = rand_value(r), *seed = rand_source(r, OP_INPUT, type_scalar(DT_I32));
	Value *u = b_random(&r->b, seed, rand_below(r, 9), x->type);
	Value *drop = b_binary(&r->b, OP_LT, u, b_const(&r->b, DT_F32, 0.3));
	return b_select(&r->b, drop, b_const(&r->b, DT_F32, 0), x);
}

static inline Value *rand_iota(Rand *r)
{
	Value *x = rand_value(r);
	Type t = x->type;
	t.dt = DT_I32;
	Value *at = b_iota(&r->b, rand_below(r, t.rank), t);
	return b_binary(&r->b, OP_MUL, x, b_unary(&r->b, OP_SIN, b_convert(&r->b, at, DT_F32)));
}

/* Reads a state, and gives it a new value that may be read too. */
static inline Value *rand_state(Rand *r)
{
	Value *x = rand_value(r), *s = rand_source(r, OP_STATE, x->type), *y;
	if (rand_below(r, 3) == 0 && dim_is(x->type.dim[0], 4)) {
		Value *part = b_slice(&r->b, x, 0, dim_const(1), dim_const(2));
		y = b_write(&r->b, s, rand_below(r, 2) ? part : b_unary(&r->b, OP_NEG, part), 0, dim_const(2));
	} else if (rand_below(r, 2)) {
		y = b_binary(&r->b, OP_ADD, s, x);
	} else {
		y = x;
	}
	Value *old = rand_below(r, 2) ? b_unary(&r->b, OP_NEG, s) : y;
	b_store(&r->b, s, y);
	return old;
}

static inline Graph *random_graph(Arena *a, uint64_t seed)
{
	static Value *(*const make[])(Rand *) = {
		rand_unary, rand_binary, rand_binary, rand_binary, rand_binary, rand_reduce, rand_reduce, rand_transpose, rand_reshape,
		rand_slice, rand_expand, rand_concat, rand_contract, rand_contract, rand_gather, rand_random, rand_iota, rand_state,
		rand_windows, rand_windows, rand_counted,
	};
	Rand r = { .s = seed * 0x9E3779B97F4A7C15u + 1 };
	r.b.g = graph_new(a, "random");
	graph_sym(r.b.g, "B", 3);
	graph_sym(r.b.g, "T", 6);
	for (int i = 0; i < 3; i++)
		rand_source(&r, i ? OP_INPUT : OP_PARAM, rand_type(&r, 3));
	int n = 6 + rand_below(&r, 20);
	for (int i = 0; i < n; i++) {
		Value *v = make[rand_below(&r, COUNT(make))](&r);
		int64_t size;
		if (graph_bound(r.b.g, type_elems(v->type), &size) && size <= 3000 && v->type.rank > 0)
			vec_push(a, &r.pool, v);
	}
	for (int i = 0; i < 3; i++)
		b_output(&r.b, internf("out%d", i), r.pool.at[r.pool.len - 1 - rand_below(&r, MIN(r.pool.len, 8))]);
	return r.b.g;
}

#endif
