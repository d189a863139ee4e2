/* thin.c: contractions of few rows against what the machine reads, at the shapes of GPT-2 and LLaMA.
 *
 * Prints, for a weight (K,N) packed ahead and M rows: the GB/s at which the weight is read, and its share of the limit: the
 * bandwidth of plain reading, or (many rows) what the multiply-adds' peak allows, all measured in the same run on all
 * threads. A run goes through so many copies of the weight that caches do not hold them; a reader and the kernels take turns.
 * Usage: thin [-t threads] [-T target] [-r repeats] [-m M] [-k K] [-n N] [-S listing.s]
 *        [-d f32|bf16] [-w tiles|dot|convert: the way bf16 is multiplied, else the target's] [-j: JSON, an object a figure, with each repeat] */
#include "bench/bundle.h"
#include "passes/passes.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct Shape { const char *name; int64_t k, n; } Shape;
typedef struct Options { int threads, reps; const char *target, *way, *listing; int64_t m, k, n; bool bf16, json; } Options;
typedef struct Bench {
	Arena *a;
	Options o;
	Target t;
	char *arena;
	int64_t used, m;        /* bytes of the arena; rows */
	double reads, peak;     /* GB/s, GFLOP/s on o.threads */
} Bench;

enum { MOST = 128, ARENA = 3LL << 30, COPIES = 2LL << 30, FIRST = 64 << 20, MOST_COPIES = 4096, MOST_REPEATS = 100 };   /* FIRST: where the weights begin */
static const int64_t rows[] = { 1, 2, 3, 4, 8, 12, 16 };

static bool bound(void *ctx, const char *sym, int64_t *value)
{
	*value = ((Bench *)ctx)->m;
	return true;
}

/* Operand 0 and the result; weights are placed by copies(). */
static int64_t place(void *ctx, Value *root)
{
	Bench *b = ctx;
	int64_t n = 0;
	if (root->op == OP_PACK)
		return FIRST;
	if (root->mark)
		return (int64_t)(intptr_t)root->mark;
	dim_eval(type_elems(root->type), bound, b, &n);
	root->mark = (void *)(intptr_t)b->used;
	b->used += (n * 4 + 127) / 64 * 64;
	if (b->used > FIRST)
		fatal("the bench's arena is too small");
	return (int64_t)(intptr_t)root->mark;
}

/* Launch of X (M,K) W (K,N), W in panel order; M at run time. */
static int contraction(Bench *bench, Bundle *k, const Shape *s)
{
	Graph *g = graph_new(bench->a, "thin");
	Builder b = { .g = g };
	int at = -1;
	DType dt = bench->o.bf16 ? DT_BF16 : DT_F32;
	graph_sym(g, "M", MOST);
	Value *x = b_source(&b, OP_INPUT, "x", type_make(dt, 2, (const Dim *[]){ dim_sym("M"), dim_const(s->k) }));
	Value *w = b_source(&b, OP_PARAM, "w", type_make(dt, 2, (const Dim *[]){ dim_const(s->k), dim_const(s->n) }));
	b_output(&b, "y", b_contract(&b, x, w, "mk,kn->mn"));
	layout_packed(g);
	for (int i = 0; i < g->vals.len; i++) {
		Value *v = g->vals.at[i];
		v->mark = NULL;
		if (v->op != OP_CONTRACT)
			continue;
		Cluster *c = NEW(bench->a, Cluster);
		*c = (Cluster){ .kind = K_CONTRACT, .anchor = v, .space = v->type };
		vec_push(bench->a, &c->vals, v);
		vec_push(bench->a, &c->ins, v->in[0]);
		vec_push(bench->a, &c->ins, v->in[1]);
		vec_push(bench->a, &c->outs, v);
		at = bundle_add(k, c);
	}
	return at;
}

static double peak(Bench *b)
{
	Peak p = peak_of(b->a, &b->t, b->o.bf16);
	int64_t dim = 0;
	return 1e-9 * p.flops * b->o.threads / bundle_run(&p.launch, 1, b->arena, &dim, b->o.threads, 5, false);
}

/* The launch on `n` copies of the weight. */
static Shot **copies(Bench *b, const Shot *l, int64_t bytes, int *n)
{
	*n = (int)MIN((int64_t)MOST_COPIES, MAX((int64_t)1, COPIES / bytes));
	Shot **all = NEW_ARRAY(b->a, Shot *, *n);
	for (int i = 0; i < *n; i++) {
		all[i] = NEW(b->a, Shot);
		*all[i] = *l;
		all[i]->args = NEW_ARRAY(b->a, int64_t, l->ka->at.len + 1);
		for (int j = 0; j < l->ka->at.len; j++)
			all[i]->args[j] = l->args[j] + (l->ka->at.at[j].root && l->ka->at.at[j].root->op == OP_PACK ? i * bytes : 0);
	}
	return all;
}

/* GB/s of weights that reading, or the multiply-adds of m rows, allow. */
static double most_of(const Bench *b, double reads, int64_t m)
{
	return MIN(reads, b->peak * (b->o.bf16 ? 2 : 4) / 2 / (double)m);
}

/* Each repeat's GB/s and limit, for bench/kernels.py. */
static void print_json(const Bench *b, const Shape *s, int64_t m, const double *took, const double *reads, double need)
{
	printf("{\"name\": \"%s\", \"k\": %ld, \"n\": %ld, \"m\": %ld, \"sinter\": [", s->name, (long)s->k, (long)s->n, (long)m);
	for (int r = 0; r < b->o.reps; r++)
		printf("%s%.2f", r ? ", " : "", need / took[r]);
	printf("], \"limit\": [");
	for (int r = 0; r < b->o.reps; r++)
		printf("%s%.2f", r ? ", " : "", most_of(b, reads[r], m));
	printf("]}\n");
	fflush(stdout);
}

static void print_text(Bench *b, int64_t m, const double *took, const double *reads, double need)
{
	double best = 1e30, most = 0;
	for (int r = 0; r < b->o.reps; r++) {
		best = MIN(best, took[r]);
		most = MAX(most, reads[r]);
	}
	double limit = most_of(b, most, m);
	printf(" %5.1f %3.0f%%", need / best, 100 * need / best / limit);
	b->reads = MAX(b->reads, most);
	fflush(stdout);
}

static void measure(Bench *b, const Shape *s)
{
	Bundle *k = bundle_new(b->a, &b->t, (Sym[]){ { intern("M"), MOST } }, 1);
	int at = contraction(b, k, s), n;
	Shot *l = bundle_finish(k, b->o.listing);
	int64_t nr = tile_columns(&b->t, b->o.bf16 ? DT_BF16 : DT_F32), size = b->o.bf16 ? 2 : 4;
	int64_t bytes = (s->n + nr - 1) / nr * nr * s->k * size;
	b->used = 0;
	b->m = MOST;
	bundle_place(k, place, b);
	Shot **run = copies(b, &l[at], bytes, &n);
	if (!b->o.json)
		printf("%-22s %5ld %6ld ", s->name, (long)s->k, (long)s->n);
	for (int i = 0; i < COUNT(rows); i++) {
		int64_t m = rows[i];
		if (b->o.m && m != b->o.m)
			continue;
		double took[MOST_REPEATS], reads[MOST_REPEATS], need = (double)(s->k * s->n * size) * 1e-9;
		for (int r = 0; r < b->o.reps; r++) {
			reads[r] = bundle_reads(b->arena, COPIES, FIRST, b->o.threads);
			took[r] = bundle_run(run, n, b->arena, &m, b->o.threads, 2, false) / n;
		}
		if (b->o.json)
			print_json(b, s, m, took, reads, need);
		else
			print_text(b, m, took, reads, need);
	}
	if (!b->o.json)
		printf("\n");
}

static Options options(int argc, char **argv)
{
	Options o = { .threads = 2, .reps = 2, .target = "native" };
	for (int c; (c = getopt(argc, argv, "d:w:t:T:r:m:k:n:S:j")) != -1;) {
		switch (c) {
		case 'd': o.bf16 = strcmp(optarg, "bf16") == 0; break;
		case 'w': o.way = optarg; break;
		case 't': o.threads = atoi(optarg); break;
		case 'T': o.target = optarg; break;
		case 'r': o.reps = MIN(MOST_REPEATS, MAX(1, atoi(optarg))); break;
		case 'm': o.m = atol(optarg); break;
		case 'k': o.k = atol(optarg); break;
		case 'n': o.n = atol(optarg); break;
		case 'S': o.listing = optarg; break;
		case 'j': o.json = true; break;
		default: exit(2);
		}
	}
	return o;
}

int main(int argc, char **argv)
{
	static const Shape shape[] = {
		{ "GPT-2 q, k, v", 768, 2304 }, { "GPT-2 attention out", 768, 768 }, { "GPT-2 up", 768, 3072 }, { "GPT-2 down", 3072, 768 },
		{ "GPT-2 logits", 768, 50257 }, { "LLaMA 110M gate", 768, 2048 }, { "LLaMA 110M down", 2048, 768 },
		{ "LLaMA 1.1B q", 2048, 2048 }, { "LLaMA 1.1B k", 2048, 256 }, { "LLaMA 1.1B gate", 2048, 5632 },
		{ "LLaMA 1.1B down", 5632, 2048 }, { "LLaMA 1.1B logits", 2048, 32000 },
	};
	Bench b = { .a = arena_new(), .o = options(argc, argv) };
	if (!target_find(b.o.target, &b.t))
		return 1;
	if (b.o.way && !bundle_way(&b.t, b.o.way))
		fatal("%s does not multiply bf16 by '%s'", b.t.name, b.o.way);
	b.arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (b.arena == MAP_FAILED)
		fatal("no memory for the bench");
	madvise(b.arena, ARENA, MADV_HUGEPAGE);
	fill(b.arena, ARENA, b.o.bf16);
	b.peak = peak(&b);
	printf("%s, %d threads: reads %.1f GB/s, peak %.1f GFLOP/s; GB/s of weights and share of the limit at M =", b.t.name, b.o.threads,
		bundle_reads(b.arena, COPIES, FIRST, b.o.threads), b.peak);
	for (int i = 0; i < COUNT(rows); i++)
		if (!b.o.m || rows[i] == b.o.m)
			printf(" %ld", (long)rows[i]);
	printf("\n");
	for (int i = 0; i < COUNT(shape); i++)
		if ((!b.o.k || b.o.k == shape[i].k) && (!b.o.n || b.o.n == shape[i].n))
			measure(&b, &shape[i]);
	printf("fastest reading %.1f GB/s\n", b.reads);
	return 0;
}
