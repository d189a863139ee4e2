/* contractions.h: contraction kernels of rounded operands against the reference evaluator: a case is a graph of one contraction, run in each way
 * this processor can multiply, on one thread and on more.
 *
 * Both sides round the same f32 alike, exactly. A sum of K products in f32 is then off by at most K 2^-24 sum |a||b| (Higham 2002, sec. 3.1),
 * and K 2^-125 where dot instructions take denormals as zero. */
#ifndef TESTS_CONTRACTIONS_H
#define TESTS_CONTRACTIONS_H

#include "backend/backend.h"
#include "passes/passes.h"
#include "tests/numeric.h"
#include "tests/targets.h"

enum { WAYS = 6 };

/* Each way that this processor can go; 0 where it can't. */
static inline bool way(int i, Target *t)
{
	static const char *const level[] = { "native", "native", "native", "x86-64-v2", "x86-64-v3", "x86-64-v4" };
	if (target_only())
		return i == 0 && target_find(target_only(), t);
	Target native;
	if (!target_find("native", &native) || !target_find(level[i], t) || t->lanes > native.lanes)
		return false;
	if (i == 1 && (native.lanes < 16 || !strstr(native.features, "+avx512bf16")))
		return false;
	t->bf16 = i == 1 ? BF16_DOT : i == 2 ? BF16_CONVERT : t->bf16;
	return true;
}

typedef struct Case {
	const char *spec;             /* "mk,kn->mn" */
	const char *stored[2];        /* the operands' axes as they lie in memory; NULL: as in spec */
	const char *extents;          /* "m12 n32 k256"; "m:5": a run-time dimension */
	bool ahead, tail;             /* operand 1 is a parameter, packed ahead; something follows */
	Quant format;                 /* of the parameter */
	bool f32;                     /* operands are not rounded to bf16 */
} Case;

typedef struct Build { Builder b; Dims dims; const Dim *extent[128]; } Build;

static inline void read_extents(Build *b, const char *text)
{
	while (*text) {
		int letter = *text++;
		bool symbolic = *text == ':';
		char *end;
		int64_t n = strtol(text + symbolic, &end, 10);
		b->extent[letter] = dim_const(n);
		if (symbolic) {
			const char *name = internf("D%c", letter);
			graph_sym(b->b.g, name, n);
			b->dims.at[b->dims.n++] = (Sym){ name, n };
			b->extent[letter] = dim_sym(name);
		}
		text = end + (*end == ' ');
	}
}

/* An operand as it is stored, seen in the order of the spec. */
static inline Value *operand(Build *b, const Case *c, int side, const char *letters, int n)
{
	const char *stored = c->stored[side] ? c->stored[side] : letters;
	const Dim *d[MAX_RANK];
	int8_t perm[MAX_RANK];
	bool same = true;
	for (int i = 0; i < n; i++) {
		d[i] = b->extent[(int)stored[i]];
		perm[i] = (int8_t)((const char *)memchr(stored, letters[i], (size_t)n) - stored);
		same &= perm[i] == i;
	}
	Type t = type_make(DT_F32, n, d);
	Attrs param = { .name = "y", .format = c->format };
	Value *v = side && c->ahead ? build(&b->b, OP_PARAM, NULL, 0, &param, &t) : b_source(&b->b, OP_INPUT, side ? "y" : "x", t);
	return same ? v : b_transpose(&b->b, v, perm);
}

static inline Value *in_blocks(Build *b, const Case *c, Value *v)
{
	Attrs a = { .side = 1, .spec = c->spec, .format = c->format };
	return build(&b->b, OP_PACK, &v, 1, &a, NULL);
}

static inline Graph *graph_of(Arena *a, const Case *c, Dims *dims, bool bound)
{
	Build b = { .b.g = graph_new(a, "bf16") };
	Spec s;
	assert_null(spec_parse(c->spec, &s));
	read_extents(&b, c->extents);
	Value *in[2];
	for (int side = 0; side < 2; side++)
		in[side] = operand(&b, c, side, s.at[side], s.n[side]);
	for (int side = 0; side < 2 && bound; side++)
		in[side] = b_unary(&b.b, OP_ABS, side && c->format ? in_blocks(&b, c, in[side]) : in[side]);
	Value *r = b_contract(&b.b, in[0], in[1], c->spec);
	if (c->tail && !bound) {
		Value *last = b_source(&b.b, OP_INPUT, "bias", type_make(DT_F32, 1, &r->type.dim[r->type.rank - 1]));
		r = b_binary(&b.b, OP_ADD, r, last);
		b_output(&b.b, "rounded", b_convert(&b.b, b_convert(&b.b, r, DT_BF16), DT_F32));
	}
	b_output(&b.b, "r", r);
	if (!bound && !c->f32)
		assert_true(passes_run(b.b.g, "precision,cse", NULL));
	*dims = b.dims;
	return b.b.g;
}

static inline int64_t products(const Case *c)
{
	int64_t k = 1;
	for (const char *p = c->extents; *p;) {
		int letter = *p++;
		char *end;
		int64_t n = strtol(p + (*p == ':'), &end, 10);
		k *= strchr(strchr(c->spec, '>'), letter) ? 1 : n;
		p = end + (*end == ' ');
	}
	return k;
}

/* What bytes beside blocks may add: half a step of 1/127 of the greatest x, times all |y|. Uniform x leave no block far below that. */
static inline Env *bytes_of_rows(Graph *bound, const Dims *dims)
{
	Env *e = fill_env(bound, dims, 1, 1);
	Tensor *x = env_get(e, "x");
	double most = 0;
	for (int64_t i = 0; i < x->n; i++)
		most = fmax(most, fabs(x->at[i]));
	for (int64_t i = 0; i < x->n; i++)
		x->at[i] = most * 1.01 / 254;
	assert_true(graph_eval(bound, e));
	return e;
}

static inline void within(const Case *c, const char *what, Env *got, Env *want, Env *scale, Env *bytes)
{
	Tensor *x = env_get(got, "r"), *y = env_get(want, "r"), *s = env_get(scale, "r"), *more = bytes ? env_get(bytes, "r") : NULL;
	double k = (double)products(c);
	assert_int_equal(x->n, y->n);
	for (int64_t i = 0; i < x->n; i++) {
		double bound = (k + 2) * 0x1p-24 * (s->at[i] * 1.01 + (c->tail ? 1 : 0)) + k * 0x1p-125;
		bound += c->format && !c->f32 ? 0x1p-8 * s->at[i] : 0;   /* tiles may read the elements of blocks rounded to bf16 */
		bound += more ? more->at[i] : 0;
		if (!(fabs(x->at[i] - y->at[i]) <= bound))
			fail_msg("%s %s on %s: element %ld is %.9g, must be %.9g +- %.2g", c->spec, c->extents, what, (long)i, x->at[i], y->at[i], bound);
	}
	Tensor *h = env_get(got, "rounded");
	for (int64_t i = 0; h && i < h->n; i++)
		assert_true(h->at[i] == round_bf16(x->at[i]));
}

static inline void check_case(const Case *c)
{
	Target t;
	for (int i = 0; i < WAYS; i++) {
		if (!way(i, &t))
			continue;
		Arena *a = arena_new();
		Dims dims;
		Graph *g = graph_of(a, c, &dims, false), *bound = graph_of(a, c, &dims, true);
		Env *want = fill_env(g, &dims, 1, 1), *scale = fill_env(bound, &dims, 1, 1), *got[3];
		assert_true(!c->format || passes_run(g, "layout_packed", &(PassOptions){ .verify_each = true }));   /* which makes the blocks */
		assert_true(graph_eval(g, want) && graph_eval(bound, scale));
		const char *rest = c->format ? "fuse,schedule" : c->ahead ? "layout_packed,fuse,schedule" : "layout,fuse,schedule";
		assert_true(passes_run(g, rest, &(PassOptions){ .verify_each = true }));
		Compiled *kernels = backend_load(g, &t);
		assert_non_null(kernels);
		Env *bytes = c->format && !c->f32 && t.dot8 ? bytes_of_rows(bound, &dims) : NULL;
		for (int n = 0; n < 3; n++) {
			got[n] = fill_env(g, &dims, 1, 1);
			assert_true(backend_call(kernels, got[n], n + 1));
			within(c, internf("%s, way %d, %d threads", t.name, t.bf16, n + 1), got[n], want, scale, bytes);
			assert_memory_equal(env_get(got[n], "r")->at, env_get(got[0], "r")->at, sizeof(double) * (size_t)env_get(got[0], "r")->n);
		}
		backend_unload(kernels);
		arena_free(a);
	}
}

#endif
