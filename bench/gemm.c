/* gemm.c: contraction kernels against the machine's peak, at the shapes of GPT-2's layers.
 *
 * Prints, for M rows (tokens) and a weight (K,N), stored as GPT-2 stores it: GFLOP/s and percent of the peak, on all threads, packing
 * included but where it says ahead. A line's forms and the peak take turns, a few milliseconds each, and what is printed is the median of
 * all turns: what else a machine does, and its clock, then fall on all alike.
 *   forward   X (M,K) W (K,N)           packed    the same, W packed ahead
 *   dX        dY (M,N) W^T              dW        X^T dY
 * and with -e how efficient the threads are: a thread's share of the rate, in percent of the rate of one alone, by turns as well.
 * With -d bf16 operands are bf16 (weights converted beforehand, as once a step), and the peak is that of the target's bf16 products.
 * With -b OpenBLAS and oneDNN (which alone has bf16) take their turns too; a last line says in how many cells we are ahead of both.
 * Usage: gemm [-b] [-d f32|bf16] [-w tiles|dot|convert] [-t threads] [-e] [-T target] [-r turns] [-m M] [-n N] [-S listing.s]
 *        [-c: count processor time, where other programs run] [-j: the turns themselves, as a JSON object a form] */
#include "bench/forms.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct Options { int threads, turns; const char *target, *way, *listing; int64_t only_m, only_n; bool cpu, bf16, efficiency, peers, json; } Options;
typedef struct Bench {
	Arena *a;
	Options o;
	Target t;
	char *arena;
	int64_t used, m;        /* bytes of the arena; rows */
	int cells, ahead;       /* with peers: measured, and where we are the fastest */
	double worst;           /* our rate to the better peer's, at worst */
} Bench;

enum { ARENA = 3LL << 30, MAX_TURNS = 1000 };
static const double turn_flops = 2e9;       /* of a turn; its fastest repetition counts, of two at least */

/* Memory in order of first mention, at the bound of M; panels may be padded by less than 64 columns. */
static bool bound(void *ctx, const char *sym, int64_t *value)
{
	*value = ((Bench *)ctx)->m;
	return true;
}

static int64_t place(void *ctx, Value *root)
{
	Bench *bench = ctx;
	int64_t n = 0;
	if (root->mark)
		return (int64_t)(intptr_t)root->mark;
	dim_eval(type_elems(root->type), bound, bench, &n);
	int64_t at = bench->used + 64;
	bench->used = at + (n + 64 * 4096) * 4 / 64 * 64;
	root->mark = (void *)(intptr_t)at;
	if (bench->used > ARENA)
		fatal("the bench's arena is too small");
	return at;
}

/* One turn of a form, GFLOP/s. */
static double turn(Bench *b, Shot *l, const Form *f, double flops, int threads)
{
	Shot *run[3];
	for (int j = 0; j < f->n; j++)
		run[j] = &l[f->timed[j]];
	return flops / bundle_run(run, f->n, b->arena, &b->m, threads, MAX(2, (int)(turn_flops / flops)), b->o.cpu) * 1e-9;
}

/* One turn of a peer, as turn(): the fastest of its repetitions. */
static double peer_turn(const Blas *l, const Product *p, double flops)
{
	double best = 1e30;
	for (int r = MAX(2, (int)(turn_flops / flops)); r >= 0; r--) {   /* one more than ours: it wakes threads */
		double start = now();
		l->run(l->sgemm, p);
		best = MIN(best, now() - start);
	}
	return flops / best * 1e-9;
}

static void print_peers(Bench *b, const double is[FORMS], double (*got)[FORMS][MAX_TURNS])
{
	for (int i = 0; i < FORMS; i++) {
		double best = 0;
		printf("\n%16s%-8s", "", form_name[i]);
		for (int l = 0; l < BLAS; l++) {
			if (!blas[l].sgemm)
				continue;
			double m = median(got[l][i], b->o.turns);
			printf("  %s %6.1f (%.2f)", blas[l].name, m, is[i] / m);
			best = MAX(best, m);
		}
		if (!best)
			continue;
		b->cells++;
		b->ahead += is[i] >= best;
		b->worst = MIN(b->worst, is[i] / best);
	}
}

static void print_turns(const char *name, const double *x, int n)
{
	printf(", \"%s\": [", name);
	for (int i = 0; i < n; i++)
		printf("%s%.1f", i ? ", " : "", x[i]);
	printf("]");
}

/* What turns gave, for bench/kernels.py. */
static void print_json(const Bench *b, const Shape *s, double (*got)[MAX_TURNS], double (*peer)[FORMS][MAX_TURNS])
{
	for (int i = 0; i < FORMS; i++) {
		printf("{\"m\": %ld, \"k\": %ld, \"n\": %ld, \"form\": \"%s\"", (long)b->m, (long)s->k, (long)s->n, form_name[i]);
		print_turns("sinter", got[i], b->o.turns);
		print_turns("limit", got[FORMS], b->o.turns);
		for (int l = 0; l < BLAS; l++)
			if (b->o.peers && blas[l].sgemm)
				print_turns(blas[l].name, peer[l][i], b->o.turns);
		printf("}\n");
	}
	fflush(stdout);
}

static void measure(Bench *b, const Peak *p, const Shape *shape, int64_t m)
{
	Bundle *k = bundle_new(b->a, &b->t, (Sym[]){ { intern("M"), m } }, 1);
	Form f[FORMS];
	static double peers[BLAS][FORMS][MAX_TURNS];
	double got[FORMS + 1][MAX_TURNS], one[FORMS][MAX_TURNS], is[FORMS], flops = 2.0 * (double)m * (double)shape->k * (double)shape->n;
	for (int i = 0; i < FORMS; i++)
		f[i] = form(b->a, k, i, shape, m, b->o.bf16 ? DT_BF16 : DT_F32);
	Shot *l = bundle_finish(k, b->o.listing);
	b->used = 0;
	b->m = m;
	bundle_place(k, place, b);
	fill(b->arena, b->used, b->o.bf16);
	float *result = (float *)(b->arena + (b->used + 63) / 64 * 64);   /* of the peers */
	if (b->o.peers && b->used + MAX(shape->k * shape->n, m * MAX(shape->k, shape->n)) * 4 + 64 > ARENA)
		fatal("the bench's arena is too small");
	for (int i = 0; i < FORMS; i++)
		if (f[i].ahead >= 0)
			bundle_run((Shot *[]){ &l[f[i].ahead] }, 1, b->arena, &m, b->o.threads, 1, false);
	for (int r = 0; r < b->o.turns; r++) {
		got[FORMS][r] = peak(p, b->o.threads, 3, b->o.cpu);
		for (int i = 0; i < FORMS; i++)
			got[i][r] = turn(b, l, &f[i], flops, b->o.threads);
		for (int i = 0; i < FORMS && b->o.efficiency; i++)
			one[i][r] = turn(b, l, &f[i], flops, 1);
		for (int i = 0; i < FORMS * BLAS && b->o.peers; i++) {
			Product q = product(b->arena, result, b->o.bf16 ? 2 : 4, m, i % FORMS, shape);
			peers[i / FORMS][i % FORMS][r] = blas[i / FORMS].sgemm ? peer_turn(&blas[i / FORMS], &q, flops) : 0;
		}
	}
	if (b->o.json) {
		print_json(b, shape, got, peers);
		return;
	}
	double most = median(got[FORMS], b->o.turns);
	printf("%5ld %5ld %6ld ", (long)m, (long)shape->k, (long)shape->n);
	for (int i = 0; i < FORMS; i++) {
		is[i] = median(got[i], b->o.turns);
		printf("  %s %6.1f %3.0f%%", form_name[i], is[i], 100 * is[i] / most);
		if (b->o.efficiency)
			printf(" (threads %3.0f%%)", 100 * is[i] / b->o.threads / median(one[i], b->o.turns));
	}
	printf("   peak %.1f, compiled in %.2f s", most, bundle_compile_seconds(k));
	if (b->o.peers)
		print_peers(b, is, peers);
	printf("\n");
	fflush(stdout);
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
	Options o = { .threads = 2, .turns = 11, .target = "native" };
	for (int c; (c = getopt(argc, argv, "bd:w:t:T:r:m:n:S:cej")) != -1;) {
		switch (c) {
		case 'd': o.bf16 = strcmp(optarg, "bf16") == 0; break;
		case 'w': o.way = optarg; break;
		case 't': o.threads = atoi(optarg); break;
		case 'T': o.target = optarg; break;
		case 'r': o.turns = MIN(MAX_TURNS, MAX(1, atoi(optarg))); break;
		case 'm': o.only_m = atol(optarg); break;
		case 'n': o.only_n = atol(optarg); break;
		case 'S': o.listing = optarg; break;
		case 'c': o.cpu = true; break;
		case 'e': o.efficiency = true; break;
		case 'b': o.peers = true; break;
		case 'j': o.json = true; break;
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
	Bench b = { .a = arena_new(), .o = options(argc, argv), .worst = 1e30 };
	if (!target_find(b.o.target, &b.t))
		return 1;
	if (b.o.way && !bundle_way(&b.t, b.o.way))
		fatal("%s does not multiply bf16 by '%s'", b.t.name, b.o.way);
	b.arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (b.arena == MAP_FAILED)
		fatal("no memory for the bench");
	madvise(b.arena, ARENA, MADV_HUGEPAGE);
	b.o.peers = b.o.peers && blas_open(b.o.threads, b.o.bf16);
	Peak p = peak_of(b.a, &b.t, b.o.bf16);
	double one = peak(&p, 1, 100, b.o.cpu), all = peak(&p, b.o.threads, 100, b.o.cpu);
	printf("%s: peak %.1f GFLOP/s on 1 thread, %.1f on %d\n", b.t.name, one, all, b.o.threads);
	if (!b.o.bf16)
		printf("register tile %dx%d: %.0f%% at k = 64, %.0f%% at k = 256, %.0f%% at k = 768\n", b.t.mr, b.t.nr,
			tile(&b, 64, one), tile(&b, 256, one), tile(&b, 768, one));
	int64_t least = b.o.only_m ? b.o.only_m : 128, most = b.o.only_m ? b.o.only_m : 1024;
	for (int i = 0; i < COUNT(shape); i++)
		for (int64_t m = least; m <= most && (!b.o.only_n || b.o.only_n == shape[i].n); m *= 2)
			measure(&b, &p, &shape[i], m);
	if (b.cells)
		printf("as fast as the better of the libraries or faster in %d of %d cells, at worst %.2f of it\n", b.ahead, b.cells, b.worst);
	return 0;
}
