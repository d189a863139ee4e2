/* backend_contract.c: contraction kernels against the reference evaluator: awkward sizes, operands stored in any order,
 * batches, epilogues; on every vector width this processor has, and the same bits for any number of threads.
 *
 * Graphs are built as layout and fuse would leave them: packs, and kernel numbers. Error bound of a sum of K products
 * in one chain: K * 2^-24 * sum |a||b| (Higham 2002, "Accuracy and Stability of Numerical Algorithms", sec. 3.1). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "backend/backend.h"
#include "tests/numeric.h"
#include "tests/targets.h"

typedef enum Tail { PLAIN, GELU, SCALED, DROPOUT, CAUSAL, PLACED } Tail;

typedef struct Case {
	const char *spec;             /* "mk,kn->mn" */
	const char *stored[2];        /* the operands' axes as they lie in memory; NULL: as in spec */
	const char *extents;          /* "m=12 n=32 k=256"; "m:5" is a run-time dimension of that value */
	bool packed;                  /* operand 1 as well */
	int slice;                    /* operand 1 is this much longer along its first axis, and cut */
	Tail tail;
} Case;

typedef struct Build {
	Builder b;
	Dims dims;
	int kernel, index;            /* last kernel number; the case */
	const Dim *extent[128];
	bool reference;               /* adds what tolerances are computed from */
	bool raw;                     /* operand 0 as it lies, where that is allowed */
} Build;

/* One symbol for each value: few enough for Dims. */
static const Dim *symbol(Build *b, int64_t n)
{
	const char *name = internf("D%ld", (long)n);
	int64_t old;
	if (dims_look(&b->dims, name, &old))
		return dim_sym(name);
	if (b->dims.n == COUNT(b->dims.at))
		bug("too many run-time dimensions in one test");
	graph_sym(b->b.g, name, n);
	b->dims.at[b->dims.n++] = (Sym){ name, n };
	return dim_sym(name);
}

static void read_extents(Build *b, const char *text)
{
	for (const char *p = text; *p; p += *p == ' ') {
		char *end, letter = *p;
		bool symbolic = p[1] == ':';
		int64_t n = strtol(p + 2, &end, 10);
		b->extent[(int)letter] = dim_const(n);
		if (symbolic) {
			b->extent[(int)letter] = symbol(b, n);
		}
		p = end;
	}
}

static Type type_of(Build *b, const char *letters, size_t n)
{
	const Dim *d[MAX_RANK];
	for (size_t i = 0; i < n; i++)
		d[i] = b->extent[(int)letters[i]];
	return type_make(DT_F32, (int)n, d);
}

/* An input in the order it is stored, seen in the order of the spec. */
static Value *operand(Build *b, const Case *c, int side, const char *letters, size_t n)
{
	const char *stored = c->stored[side] ? c->stored[side] : letters;
	Type t = type_of(b, stored, n);
	int extra = side ? c->slice : 0;
	const Dim *len = t.dim[0];
	if (extra)
		t.dim[0] = dim_add(len, dim_const(extra));
	Value *v = b_source(&b->b, OP_INPUT, internf("in%d.%d", side, b->index), t);
	if (extra)
		v = b_slice(&b->b, v, 0, dim_const(extra), len);
	int8_t perm[MAX_RANK];
	bool same = true;
	for (size_t i = 0; i < n; i++) {
		perm[i] = (int8_t)((const char *)memchr(stored, letters[i], n) - stored);
		same &= perm[i] == (int)i;
	}
	return same ? v : b_transpose(&b->b, v, perm);
}

static Value *packed(Build *b, Value *v, int side, const char *spec)
{
	Attrs a = { .side = side, .spec = spec };
	Value *p = build(&b->b, OP_PACK, &v, 1, &a, NULL);
	p->kernel = ++b->kernel;
	return p;
}

static Value *scalar(Build *b, double x)
{
	return b_const(&b->b, DT_F32, x);
}

static Value *gelu(Build *b, Value *x)
{
	Builder *u = &b->b;
	Value *cube = b_binary(u, OP_MUL, b_binary(u, OP_MUL, x, x), x);
	Value *inner = b_binary(u, OP_ADD, x, b_binary(u, OP_MUL, scalar(b, 0.044715), cube));
	Value *t = b_unary(u, OP_TANH, b_binary(u, OP_MUL, scalar(b, 0.7978845608028654), inner));
	return b_binary(u, OP_MUL, b_binary(u, OP_MUL, scalar(b, 0.5), x), b_binary(u, OP_ADD, scalar(b, 1), t));
}

/* A vector along the columns, or one number a row. */
static Value *side_input(Build *b, const char *name, Type t, bool columns)
{
	const Dim *last[1] = { t.dim[t.rank - 1] };
	if (columns)
		return b_source(&b->b, OP_INPUT, internf("%s.%d", name, b->index), type_make(DT_F32, 1, last));
	t.dim[t.rank - 1] = dim_const(1);
	return b_source(&b->b, OP_INPUT, internf("%s.%d", name, b->index), t);
}

static void give(Build *b, const char *name, Value *v)
{
	b_output(&b->b, internf("%s.%d", name, b->index), v);
}

static void tail(Build *b, const Case *c, Value *x)
{
	Builder *u = &b->b;
	Type t = x->type;
	Value *full = c->tail == PLAIN || c->tail == PLACED ? NULL : b_source(u, OP_INPUT, internf("full.%d", b->index), t);
	switch (c->tail) {
	case PLAIN:
		give(b, "y", x);
		break;
	case GELU:
		x = b_binary(u, OP_ADD, x, side_input(b, "bias", t, true));
		give(b, "y", b_binary(u, OP_ADD, gelu(b, x), full));
		give(b, "pre", x);
		break;
	case SCALED:
		x = b_binary(u, OP_MUL, x, side_input(b, "scale", t, false));
		give(b, "y", x);
		give(b, "less", b_binary(u, OP_LT, x, full));
		break;
	case DROPOUT: {
		Value *seed = b_source(u, OP_INPUT, internf("seed.%d", b->index), type_scalar(DT_I32));
		Value *kept = b_binary(u, OP_LE, scalar(b, 0.25), b_random(u, seed, 3, t));
		give(b, "y", b_binary(u, OP_ADD, b_select(u, kept, x, scalar(b, 0)), full));
		break;
	}
	case CAUSAL: {
		Type i = type_make(DT_I32, t.rank, t.dim);
		Value *seen = b_binary(u, OP_LE, b_iota(u, t.rank - 1, i), b_iota(u, t.rank - 2, i));
		give(b, "y", b_select(u, seen, b_binary(u, OP_MUL, x, full), scalar(b, -1)));
		break;
	}
	case PLACED: {
		Value *other = b_source(u, OP_INPUT, internf("other.%d", b->index), t);
		Value *copy = b_unary(u, OP_COPY, other);
		copy->kernel = ++b->kernel;
		x->dest = copy->dest = b_concat(u, (Value *[]){ copy, x }, 2, t.rank - 1);
		give(b, "y", x->dest);
		break;
	}
	}
}

static void one_case(Build *b, const Case *c)
{
	read_extents(b, c->extents);
	const char *comma = strchr(c->spec, ','), *arrow = strchr(c->spec, '-');
	Value *left = operand(b, c, 0, c->spec, (size_t)(comma - c->spec));
	Value *right = operand(b, c, 1, comma + 1, (size_t)(arrow - comma - 1));
	if (b->reference) {
		Value *l = b_unary(&b->b, OP_ABS, left), *r = b_unary(&b->b, OP_ABS, right);
		give(b, "sum", b_contract(&b->b, l, r, c->spec));
	}
	bool raw = b->raw && contract_laid_out(b_contract(&b->b, left, right, c->spec));
	b->b.g->vals.len -= b->raw;   /* what was asked about */
	left = raw ? left : packed(b, left, 0, c->spec);
	right = c->packed ? packed(b, right, 1, c->spec) : right;
	int first = b->b.g->vals.len, kernel = ++b->kernel;
	tail(b, c, b_contract(&b->b, left, right, c->spec));
	for (int i = first; i < b->b.g->vals.len; i++) {
		Value *v = b->b.g->vals.at[i];
		if (!v->kernel && v->op != OP_INPUT && v->op != OP_OUTPUT && v->op != OP_CONCAT)
			v->kernel = kernel;
	}
}

static Build graph_of(Arena *a, const Case *cases, int n, bool reference, bool raw)
{
	Build b = { .b.g = graph_new(a, "contract"), .reference = reference, .raw = raw };
	for (b.index = 0; b.index < n; b.index++)
		one_case(&b, &cases[b.index]);
	return b;
}

static int64_t depth(const Case *c)
{
	const char *arrow = strchr(c->spec, '>');
	int64_t k = 1;
	for (const char *p = c->extents; *p; p += strcspn(p, " "), p += *p == ' ')
		if (!strchr(arrow, *p))
			k *= strtol(p + 2, NULL, 10);
	return k;
}

/* Lipschitz constant of the tails is below 1.2 in x where |x's scale| <= 1; a few roundings of their own come on top. */
static void compare(const Case *c, Env *got, Env *want, int index, const char *target)
{
	static const char *const name[] = { "y", "pre", "less" };
	Tensor *sum = env_get(want, internf("sum.%d", index));
	for (int o = 0; o < COUNT(name); o++) {
		Tensor *w = env_get(want, internf("%s.%d", name[o], index)), *g = env_get(got, internf("%s.%d", name[o], index));
		for (int64_t i = 0; w && i < w->n; i++) {
			double bound = c->tail == PLACED ? (double)depth(c) : sum->at[i];
			double allowed = o == 2 ? 0 : 1.2 * (double)depth(c) * ldexp(bound, -24) + 1e-6 * (1 + fabs(w->at[i]));
			if (!(fabs(g->at[i] - w->at[i]) <= allowed))
				fail_msg("%s, %s, %s: %s[%ld] is %.9g, not %.9g (+- %.3g)", target, c->spec, c->extents, name[o],
					 (long)i, g->at[i], w->at[i], allowed);
		}
	}
}

static void same_bits(const Graph *g, Env *a, Env *b, int threads)
{
	for (int i = 0; i < g->vals.len; i++) {
		const Value *v = g->vals.at[i];
		if (v->op != OP_OUTPUT)
			continue;
		Tensor *x = env_get(a, v->a.name), *y = env_get(b, v->a.name);
		if (memcmp(x->at, y->at, sizeof(double) * (size_t)x->n) != 0)
			fail_msg("%s differs on %d threads", v->a.name, threads);
	}
}

/* Random inputs that f32 holds exactly. */
static Env *inputs(const Build *b)
{
	Env *e = fill_env(b->b.g, &b->dims, 1, 1000);
	for (int i = 0; i < b->b.g->vals.len; i++) {
		const Value *v = b->b.g->vals.at[i];
		Tensor *t = v->op == OP_INPUT ? env_get(e, v->a.name) : NULL;
		for (int64_t k = 0; t && k < t->n; k++)
			t->at[k] = (float)t->at[k];
	}
	return e;
}

static void check(const Case *cases, int n)
{
	Arena *a = arena_new();
	Build ref = graph_of(a, cases, n, true, false);
	Env *want = inputs(&ref);
	assert_true(graph_eval(ref.b.g, want));
	for (int i = 0; i < target_count(); i++) {
		Target t;
		Env *one = NULL;
		assert_true(target_find(target_name(i), &t));
		for (int run = 0; run < 6; run++) {
			int threads = 1 + run / 2;
			Build b = graph_of(a, cases, n, false, run % 2);
			Env *got = inputs(&b);
			assert_true(backend_run(b.b.g, got, &t, threads));
			one = one ? one : got;
			same_bits(b.b.g, one, got, threads);
		}
		for (int c = 0; c < n; c++)
			compare(&cases[c], one, want, c, target_name(i));
	}
	arena_free(a);
}

static void sizes(void **state)
{
	static const Case cases[] = {
		{ .spec = "mk,kn->mn", .extents = "m=1 n=1 k=1" },
		{ .spec = "mk,kn->mn", .extents = "m=1 n=7 k=3" },
		{ .spec = "mk,kn->mn", .extents = "m=12 n=32 k=256" },
		{ .spec = "mk,kn->mn", .extents = "m=13 n=33 k=257" },
		{ .spec = "mk,kn->mn", .extents = "m:29 n:65 k:17" },
		{ .spec = "mk,kn->mn", .extents = "m=7 n=17 k:17" },
		{ .spec = "mk,kn->mn", .extents = "m:1 n=101 k=64" },
		{ .spec = "mk,kn->mn", .extents = "m:37 n=131 k=1031" },
		{ .spec = "mk,kn->mn", .extents = "m=601 n=37 k:17" },
		{ .spec = "mk,kn->mn", .extents = "m=13 n=33 k=257", .packed = true },
		{ .spec = "mk,kn->mn", .extents = "m:29 n:65 k:531", .packed = true },
		{ .spec = "mk,kn->mn", .extents = "m=5 n=1 k=2", .packed = true },
	};
	check(cases, COUNT(cases));
}

/* Work that threads share tile by tile, or row by row; last panels of one vector and of several; low tiles of each height. */
static void edges(void **state)
{
	static const Case cases[] = {
		{ .spec = "mk,kn->mn", .extents = "m=75 n=5 k=300" },
		{ .spec = "mk,kn->mn", .extents = "m:75 n:5 k:300", .tail = GELU },
		{ .spec = "mk,kn->mn", .stored = { "km", NULL }, .extents = "m=151 n=61 k=531" },
		{ .spec = "mk,kn->mn", .stored = { "km", "nk" }, .extents = "m:43 n:149 k:531" },
		{ .spec = "mk,kn->mn", .stored = { NULL, "nk" }, .extents = "m=43 n=52 k=2", .tail = SCALED },
		{ .spec = "mk,kn->mn", .extents = "m=22 n=85 k=1031", .packed = true },
		{ .spec = "mk,kn->mn", .extents = "m:21 n:98 k=7", .packed = true, .tail = DROPOUT },
		{ .spec = "mk,kn->mn", .extents = "m=3 n=145 k=65" },
		{ .spec = "bmk,bkn->bmn", .extents = "b=5 m=14 n=67 k=21" },
		{ .spec = "bmk,bkn->bmn", .stored = { "bkm", NULL }, .extents = "b:3 m:31 n:17 k:77" },
	};
	check(cases, COUNT(cases) / 2);
	check(cases + COUNT(cases) / 2, COUNT(cases) - COUNT(cases) / 2);
}

/* Few rows of packed weights: each height of tiles, k of no step, of one block and of several, a last panel that isn't whole. */
static void thin(void **state)
{
	static const Case cases[] = {
		{ .spec = "mk,kn->mn", .extents = "m:1 n=101 k=1031", .packed = true },
		{ .spec = "mk,kn->mn", .extents = "m=1 n=33 k=3", .packed = true },
		{ .spec = "mk,kn->mn", .extents = "m:2 n=101 k=1031", .packed = true },
		{ .spec = "mk,kn->mn", .extents = "m:3 n=48 k=1024", .packed = true },
		{ .spec = "mk,kn->mn", .extents = "m:4 n=101 k=1030", .packed = true, .tail = GELU },
		{ .spec = "mk,kn->mn", .extents = "m=7 n=47 k=259", .packed = true },
		{ .spec = "mk,kn->mn", .extents = "m:8 n=49 k=517", .packed = true, .tail = DROPOUT },
		{ .spec = "mk,kn->mn", .extents = "m:11 n=145 k=77", .packed = true },
		{ .spec = "mk,kn->mn", .extents = "m:16 n=145 k=1031", .packed = true },
		{ .spec = "mk,kn->mn", .extents = "m:17 n=145 k=1031", .packed = true },
		{ .spec = "mk,kn->mn", .stored = { "km", NULL }, .extents = "m:3 n=37 k=83", .packed = true },
		{ .spec = "bmk,bkn->bmn", .extents = "b:3 m:2 n:35 k:21", .packed = true },
	};
	check(cases, COUNT(cases) / 2);
	check(cases + COUNT(cases) / 2, COUNT(cases) - COUNT(cases) / 2);
}

/* Few rows of right operands as they lie: each height of low tiles, rows behind a full tile, k of several blocks, a last panel that isn't whole. */
static void thin_raw(void **state)
{
	static const Case cases[] = {
		{ .spec = "mk,kn->mn", .extents = "m:1 n=149 k=1031" },
		{ .spec = "mk,kn->mn", .extents = "m=2 n=96 k=3", .tail = GELU },
		{ .spec = "mk,kn->mn", .extents = "m:3 n:53 k:531", .tail = DROPOUT },
		{ .spec = "mk,kn->mn", .extents = "m=5 n=97 k=257", .slice = 5 },
		{ .spec = "mk,kn->mn", .extents = "m:7 n:151 k:77" },
		{ .spec = "mk,kn->mn", .extents = "m:11 n=145 k=301" },
		{ .spec = "mk,kn->mn", .stored = { "km", NULL }, .extents = "m=3 n=101 k=61" },
		{ .spec = "bmk,bkn->bmn", .extents = "b:3 m:2 n:103 k:21" },
	};
	check(cases, COUNT(cases) / 2);
	check(cases + COUNT(cases) / 2, COUNT(cases) - COUNT(cases) / 2);
}

/* Few steps of k, where strips of tiles take turns over groups of panels: more tiles than a strip has, more panels than a group. */
static void few_steps(void **state)
{
	static const Case cases[] = {
		{ .spec = "mk,kn->mn", .extents = "m:45 n:817 k:5" },
		{ .spec = "mk,kn->mn", .extents = "m=75 n=149 k=1", .tail = SCALED },
		{ .spec = "mk,kn->mn", .stored = { NULL, "nk" }, .extents = "m=43 n=817 k=32" },
		{ .spec = "mk,kn->mn", .stored = { "km", NULL }, .extents = "m=101 n=151 k=7" },
		{ .spec = "mk,kn->mn", .extents = "m=67 n=817 k=3", .packed = true },
		{ .spec = "bmk,bkn->bmn", .extents = "b=2 m:35 n=97 k:5" },
	};
	check(cases, COUNT(cases));
}

static void layouts(void **state)
{
	static const Case cases[] = {
		{ .spec = "mk,kn->mn", .stored = { "km", NULL }, .extents = "m=29 n=37 k=83" },
		{ .spec = "mk,kn->mn", .stored = { "km", NULL }, .extents = "m=701 n=430 k:530" },
		{ .spec = "mk,kn->mn", .stored = { "km", "nk" }, .extents = "m:37 n=131 k=300" },
		{ .spec = "mk,kn->mn", .stored = { "km", NULL }, .extents = "m=701 n=43 k=1031", .packed = true },
		{ .spec = "bmk,bkn->bmn", .stored = { "kbm", NULL }, .extents = "b=3 m=13 n=35 k=21" },
		{ .spec = "mk,kn->mn", .stored = { NULL, "nk" }, .extents = "m=29 n:37 k=83" },
		{ .spec = "mk,kn->mn", .stored = { "km", "nk" }, .extents = "m:3 n=3 k:5" },
		{ .spec = "mk,kn->mn", .stored = { NULL, "nk" }, .extents = "m=29 n=37 k=7" },
		{ .spec = "mk,kn->mn", .stored = { NULL, "nk" }, .extents = "m=15 n=67 k=530", .slice = 3 },
		{ .spec = "mk,kn->mn", .stored = { NULL, "nk" }, .extents = "m=15 n=67 k=53", .slice = 3, .packed = true },
		{ .spec = "mk,kn->mn", .extents = "m=15 n=67 k=53", .slice = 5 },
		{ .spec = "bmk,bkn->bmn", .extents = "b=3 m=13 n=35 k=21" },
		{ .spec = "bmk,bkn->bmn", .extents = "b:3 m:13 n:35 k:21", .packed = true },
		{ .spec = "bhmk,bhnk->bhmn", .stored = { "bmhk", "bnhk" }, .extents = "b=2 h:3 m:17 n:17 k=8" },
		{ .spec = "bhmk,bhkn->bmhn", .stored = { NULL, "bkhn" }, .extents = "b=2 h=3 m=11 n=16 k:17" },
		{ .spec = "abk,kcd->abcd", .extents = "a:3 b=5 k=40 c=4 d=9" },
	};
	check(cases, COUNT(cases));
}

static void tails(void **state)
{
	static const Case cases[] = {
		{ .spec = "mk,kn->mn", .extents = "m:29 n=67 k=19", .tail = GELU },
		{ .spec = "mk,kn->mn", .extents = "m=14 n=33 k=300", .tail = GELU, .packed = true },
		{ .spec = "bmk,bkn->bmn", .extents = "b=2 m:9 n:40 k=19", .tail = SCALED },
		{ .spec = "bmk,bkn->bmn", .extents = "b=2 m:9 n:40 k=19", .tail = DROPOUT },
		{ .spec = "mk,kn->mn", .extents = "m=27 n=45 k=513", .tail = DROPOUT },
		{ .spec = "bhmk,bhnk->bhmn", .stored = { "bmhk", "bnhk" }, .extents = "b=2 h=2 m:19 n:19 k=8", .tail = CAUSAL },
		{ .spec = "mk,kn->mn", .extents = "m:29 n=67 k=19", .tail = PLACED },
	};
	check(cases, COUNT(cases));
}

/* Outputs so large that they are stored past the caches; the last panel is not whole. In one chain of k, to the bit. */
static void large(void **state)
{
	static const Case c = { .spec = "mk,kn->mn", .stored = { "km", NULL }, .extents = "m=1041 n=16144 k=3" };
	Arena *a = arena_new();
	Target t;
	assert_true(target_find(target_main(), &t));
	Build b = graph_of(a, &c, 1, false, true);
	Env *e = inputs(&b);
	assert_true(backend_run(b.b.g, e, &t, 2));
	Tensor *x = env_get(e, "in0.0"), *w = env_get(e, "in1.0"), *y = env_get(e, "y.0");
	for (int64_t i = 0; i < y->n; i++) {
		float sum = 0;
		for (int64_t k = 0; k < 3; k++) {
			float l = (float)x->at[k * 1041 + i / 16144], r = (float)w->at[k * 16144 + i % 16144];
			sum = t.fma ? fmaf(l, r, sum) : sum + l * r;
		}
		if ((float)y->at[i] != sum)
			fail_msg("y[%ld] is %.9g, not %.9g", (long)i, y->at[i], sum);
	}
	arena_free(a);
}

/* Deep contractions: more than one block of k, however k is blocked, with so many tiles and panels that they are gone through in
 * groups. Operand 0 as it lies or by columns, operand 1 across, along and packed: what layers and their gradients make. */
enum { DEEP_M = 797, DEEP_N = 531, DEEP_K = 1031, DEEP_SHARES = 19 };
static const Case deep_cases[] = {
	{ .spec = "mk,kn->mn", .extents = "m:797 n=531 k=1031" },
	{ .spec = "mk,kn->mn", .stored = { NULL, "nk" }, .extents = "m:797 n=531 k=1031" },
	{ .spec = "mk,kn->mn", .extents = "m:797 n=531 k=1031", .packed = true },
	{ .spec = "mk,kn->mn", .stored = { "km", NULL }, .extents = "m=797 n=531 k:1031" },
};

/* What case c's operand `side` holds at (row, column) of the spec's order. */
static float deep_operand(const Case *c, int side, const Tensor *t, int64_t row, int64_t column)
{
	int64_t rows = side ? DEEP_K : DEEP_M, columns = side ? DEEP_N : DEEP_K;
	return (float)t->at[c->stored[side] ? column * rows + row : row * columns + column];
}

/* Of each row one share of the columns, which takes turns: sums in ascending k, in one chain. */
static void deep_row(const Case *c, const Tensor *x, const Tensor *w, const Tensor *y, int64_t i, bool fma)
{
	enum { MOST = DEEP_N / DEEP_SHARES + 1 };
	int64_t from = i % DEEP_SHARES * DEEP_N / DEEP_SHARES, end = (i % DEEP_SHARES + 1) * DEEP_N / DEEP_SHARES;
	float sum[MOST] = { 0 };
	for (int64_t k = 0; k < DEEP_K; k++) {
		float l = deep_operand(c, 0, x, i, k);
		for (int64_t j = from; j < end; j++) {
			float r = deep_operand(c, 1, w, k, j);
			sum[j - from] = fma ? fmaf(l, r, sum[j - from]) : sum[j - from] + l * r;
		}
	}
	for (int64_t j = from; j < end; j++)
		if ((float)y->at[i * DEEP_N + j] != sum[j - from])
			fail_msg("%s, right %s%s: y[%ld,%ld] is %.9g, not %.9g", c->stored[0] ? "left by columns" : "left by rows",
			         c->stored[1] ? "along" : "across", c->packed ? ", packed" : "", (long)i, (long)j, y->at[i * DEEP_N + j], sum[j - from]);
}

static void deep(void **state)
{
	Arena *a = arena_new();
	for (int r = 0; r < target_count(); r++) {
		Target t;
		assert_true(target_find(target_name(r), &t));
		Build b = graph_of(a, deep_cases, COUNT(deep_cases), false, true);
		Env *e = inputs(&b);
		assert_true(backend_run(b.b.g, e, &t, 2 - r % 2));
		for (int c = 0; c < COUNT(deep_cases); c++)
			for (int64_t i = 0; i < DEEP_M; i++)
				deep_row(&deep_cases[c], env_get(e, internf("in0.%d", c)), env_get(e, internf("in1.%d", c)),
				         env_get(e, internf("y.%d", c)), i, t.fma);
	}
	arena_free(a);
}

/* What the register tile relies on: whole vectors a row, accumulators and operands in registers. */
static void targets_fit(void **state)
{
	static const char *const names[] = { "x86-64-v2", "x86-64-v3", "x86-64-v4", "aarch64", "native" };
	Target t;
	for (int i = 0; i < COUNT(names); i++) {
		assert_true(target_find(names[i], &t));
		assert_int_equal(t.nr % t.lanes, 0);
		assert_true(t.mr * (t.nr / t.lanes) + t.nr / t.lanes + (t.by_lane ? t.mr / t.lanes : 1) <= t.vregs);
	}
	assert_false(target_find("x86-64-v5", &t));
	diag_reset();
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(targets_fit), cmocka_unit_test(sizes), cmocka_unit_test(edges),
		cmocka_unit_test(thin), cmocka_unit_test(thin_raw), cmocka_unit_test(few_steps),
		cmocka_unit_test(layouts), cmocka_unit_test(tails), cmocka_unit_test(large), cmocka_unit_test(deep) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
