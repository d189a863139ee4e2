/* gemm.c: contraction kernels against the machine's peak, at the shapes of GPT-2's layers.
 *
 * Prints, for M rows (tokens) and a weight (K,N), stored as GPT-2 stores it: GFLOP/s and percent of the peak measured in the same run, on all
 * threads, packing of the left operand included, for
 *   forward   X (M,K) W (K,N)           packed    the same, W packed ahead
 *   dX        dY (M,N) W^T              dW        X^T dY
 * Usage: gemm [-t threads] [-T target] [-r repeats] [-m M] [-n N] [-S listing.s]
 *        [-c: count processor time, where other programs run] */
#include "bench/bundle.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* tied: the weight is stored [N,K], as GPT-2's output layer is the token embedding. */
typedef struct Shape { int64_t k, n; bool tied; } Shape;
typedef struct Options { int threads, reps; const char *target, *listing; int64_t only_m, only_n; bool cpu; } Options;
enum { FORWARD, PACKED, DX, DW, FORMS };
static const char *const form_name[FORMS] = { "forward", "packed", "dX", "dW" };
static const char *const specs[2][FORMS] = {
	{ [FORWARD] = "mk,kn->mn", [PACKED] = "mk,kn->mn", [DX] = "mn,kn->mk", [DW] = "mk,mn->kn" },
	{ [FORWARD] = "mk,nk->mn", [PACKED] = "mk,nk->mn", [DX] = "mn,nk->mk", [DW] = "mn,mk->nk" },
};

typedef struct Bench {
	Arena *a;
	Options o;
	Target t;
	char *arena;
	int64_t used;           /* bytes of the arena */
	double peak;            /* GFLOP/s on o.threads */
} Bench;

enum { ARENA = 3LL << 30 };

static Cluster *cluster(Arena *a, KernelKind kind, Value *v)
{
	Cluster *c = NEW(a, Cluster);
	c->kind = kind;
	c->anchor = v;
	c->space = v->type;
	vec_push(a, &c->vals, v);
	for (int i = 0; i < v->nin; i++)
		vec_push(a, &c->ins, v->in[i]);
	vec_push(a, &c->outs, v);
	return c;
}

static Value *pack(Builder *b, Value *v, int side, const char *spec)
{
	Attrs a = { .side = side, .spec = spec };
	return build(b, OP_PACK, &v, 1, &a, NULL);
}

/* Memory in order of first mention, at the bound of M; panels may be padded by less than 64 columns. */
static bool bound(void *ctx, const char *sym, int64_t *value)
{
	*value = 1024;
	return true;
}

static int64_t place(void *ctx, Value *root)
{
	Bench *bench = ctx;
	int64_t n = 0;
	if (root->mark)
		return (int64_t)(intptr_t)root->mark;
	dim_eval(type_elems(root->type), bound, NULL, &n);
	int64_t at = bench->used + 64;
	bench->used = at + (n + 64 * 4096) * 4 / 64 * 64;
	root->mark = (void *)(intptr_t)at;
	if (bench->used > ARENA)
		fatal("the bench's arena is too small");
	return at;
}

static void fill(Bench *b)
{
	float *f = (float *)b->arena;
	for (int64_t i = 0; i < b->used / 4; i++)
		f[i] = (float)(i * 2654435761u % 1000) * 1e-3f - 0.5f;
}

/* Launches of one form: [0] packs the left operand, [1] contracts, [2] packs the right one (not timed). */
static int form(Bench *bench, Bundle *k, Graph *g, int which, const Shape *shape, int *launch)
{
	Builder b = { .g = g };
	const Dim *m = dim_sym("M"), *kd = dim_const(shape->k), *n = dim_const(shape->n);
	const Dim *stored[2] = { shape->tied ? n : kd, shape->tied ? kd : n };
	Value *x = b_source(&b, OP_INPUT, "x", type_make(DT_F32, 2, (const Dim *[]){ m, kd }));
	Value *dy = b_source(&b, OP_INPUT, "dy", type_make(DT_F32, 2, (const Dim *[]){ m, n }));
	Value *w = b_source(&b, OP_PARAM, "w", type_make(DT_F32, 2, stored));
	const char *spec = specs[shape->tied][which];
	bool dy_left = which == DX || (which == DW && shape->tied);
	Value *left = pack(&b, dy_left ? dy : x, 0, spec), *right = which != DW ? w : dy_left ? x : dy;
	launch[0] = bundle_add(k, cluster(bench->a, K_PACK, left));
	if (which == PACKED) {
		right = pack(&b, w, 1, spec);
		launch[2] = bundle_add(k, cluster(bench->a, K_PACK, right));
	}
	launch[1] = bundle_add(k, cluster(bench->a, K_CONTRACT, b_contract(&b, left, right, spec)));
	return which == PACKED ? 3 : 2;
}

/* GFLOP/s of multiply-adds in registers. */
static double peak(Bench *b, int threads)
{
	Bundle *k = bundle_new(b->a, &b->t, NULL, 0);
	bundle_add_peak(k);
	Shot *l = bundle_finish(k, NULL);
	int64_t rounds = 4000000, dim = 0;
	l->args[0] = rounds;
	double s = bundle_run(&l, 1, b->arena, &dim, threads, 10, b->o.cpu);
	return 2e-9 * b->t.lanes * PEAK_CHAINS * (double)rounds * threads / s;
}

static void measure(Bench *b, const Shape *shape)
{
	Bundle *k = bundle_new(b->a, &b->t, (Sym[]){ { intern("M"), 1024 } }, 1);
	Graph *g = graph_new(b->a, "gemm");
	graph_sym(g, "M", 1024);
	int at[FORMS][3], n[FORMS];
	for (int f = 0; f < FORMS; f++)
		n[f] = form(b, k, g, f, shape, at[f]);
	Shot *l = bundle_finish(k, b->o.listing);
	b->used = 0;
	bundle_place(k, place, b);
	fill(b);
	b->peak = MAX(b->peak, peak(b, b->o.threads));   /* other programs may have been in the way of the first */
	int64_t least = b->o.only_m ? b->o.only_m : 128, most = b->o.only_m ? b->o.only_m : 1024;
	for (int64_t m = least; m <= most; m *= 2) {
		printf("%5ld %5ld %6ld ", (long)m, (long)shape->k, (long)shape->n);
		for (int f = 0; f < FORMS; f++) {
			Shot *run[] = { &l[at[f][0]], &l[at[f][1]] };
			double flops = 2.0 * (double)m * (double)shape->k * (double)shape->n;
			int reps = MIN(1000, MAX(3, (int)(b->o.reps * 2e9 / flops)));
			if (n[f] == 3)
				bundle_run((Shot *[]){ &l[at[f][2]] }, 1, b->arena, &m, b->o.threads, 1, false);
			double s = bundle_run(run, 2, b->arena, &m, b->o.threads, reps, b->o.cpu);
			double p = bundle_run(run, 1, b->arena, &m, b->o.threads, reps, b->o.cpu);
			printf("  %s %6.1f %3.0f%% (pack %2.0f%%)", form_name[f], flops / s * 1e-9, flops / s * 1e-7 / b->peak, p / s * 100);
			fflush(stdout);
		}
		printf("   compiled in %.2f s\n", bundle_compile_seconds(k));
	}
}

/* Percent of one thread's peak the register tile reaches where nothing else is in its way. */
static double tile(Bench *b, int64_t depth, double one)
{
	Bundle *k = bundle_new(b->a, &b->t, NULL, 0);
	bundle_add_tile(k, depth);
	Shot *l = bundle_finish(k, NULL);
	int64_t rounds = 20000000 / (depth * b->t.mr), dim = 0;
	l->args[0] = rounds;
	double s = bundle_run(&l, 1, b->arena, &dim, 1, 10, b->o.cpu);
	return 2e-7 * b->t.mr * b->t.nr * (double)depth * (double)rounds / s / one;
}

static Options options(int argc, char **argv)
{
	Options o = { .threads = 2, .reps = 10, .target = "native" };
	for (int c; (c = getopt(argc, argv, "t:T:r:m:n:S:c")) != -1;) {
		switch (c) {
		case 't': o.threads = atoi(optarg); break;
		case 'T': o.target = optarg; break;
		case 'r': o.reps = atoi(optarg); break;
		case 'm': o.only_m = atol(optarg); break;
		case 'n': o.only_n = atol(optarg); break;
		case 'S': o.listing = optarg; break;
		case 'c': o.cpu = true; break;
		default: exit(2);
		}
	}
	return o;
}

int main(int argc, char **argv)
{
	static const Shape shape[] = {
		{ 768, 2304, false }, { 768, 768, false }, { 768, 3072, false }, { 3072, 768, false }, { 768, 50257, true },
	};
	Bench b = { .a = arena_new(), .o = options(argc, argv) };
	if (!target_find(b.o.target, &b.t))
		return 1;
	b.arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (b.arena == MAP_FAILED)
		fatal("no memory for the bench");
	madvise(b.arena, ARENA, MADV_HUGEPAGE);
	double one = peak(&b, 1);
	b.peak = peak(&b, b.o.threads);
	printf("%s: peak %.1f GFLOP/s on 1 thread, %.1f on %d\n", b.t.name, one, b.peak, b.o.threads);
	printf("register tile %dx%d: %.0f%% at k = 64, %.0f%% at k = 256, %.0f%% at k = 768\n", b.t.mr, b.t.nr,
		tile(&b, 64, one), tile(&b, 256, one), tile(&b, 768, one));
	for (int i = 0; i < COUNT(shape); i++)
		if (!b.o.only_n || b.o.only_n == shape[i].n)
			measure(&b, &shape[i]);
	return 0;
}
