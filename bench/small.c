/* small.c: what calls, launches and barriers take, apart from what kernels do: barriers between 1 and N threads, empty launches
 * that all threads or thread 0 alone runs, and a call that wakes the threads for nothing. Medians of rounds.
 * Usage: small [-t threads] [-r rounds] */
#include "runtime/sn.h"

#include <stdlib.h>
#include <unistd.h>

enum { BARRIERS = 20000, LAUNCHES = 1000, CALLS = 20 };

static void nothing(const int64_t *args, char *arena, const int64_t *dims, int64_t tid, int64_t n, char *scratch)
{
}

static void barriers(void *ctx, int tid, int n)
{
	for (int i = 0; i < BARRIERS; i++)
		sn_pool_barrier(ctx, tid);
}

static void one(const int64_t *dims, int64_t *out)
{
	out[0] = 1;
}

enum { LARGE = 1 << 30 };              /* worth all threads */
static const int64_t costs[] = { (int64_t)LARGE << 16 | 1, (int64_t)LARGE << 16 | 1 };

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

typedef double Measure(SnSession *, const SnFunction *);

static double median(Measure *m, SnSession *s, const SnFunction *f, int rounds)
{
	double *t = sn_alloc(sizeof *t * (size_t)rounds);
	for (int i = 0; i < rounds; i++)
		t[i] = m(s, f);
	qsort(t, (size_t)rounds, sizeof *t, ascending);
	double middle = t[rounds / 2];
	free(t);
	return middle;
}

static double barrier_time(SnSession *s, const SnFunction *f)
{
	double began = sn_clock();
	sn_pool_run(s->pool, barriers, s->pool);
	return (sn_clock() - began) / BARRIERS;
}

static double launch_time(SnSession *s, const SnFunction *f)
{
	double began = sn_clock();
	for (int i = 0; i < CALLS; i++)
		sn_call(s, f);
	return (sn_clock() - began) / CALLS / (double)f->nlaunch;
}

static void measure(int threads, int rounds)
{
	static SnLaunch all[LAUNCHES], alone[LAUNCHES];
	for (int i = 0; i < LAUNCHES; i++) {
		all[i] = (SnLaunch){ .fn = nothing, .name = "", .threads = 0 };
		alone[i] = (SnLaunch){ .fn = nothing, .name = "", .threads = 1 };
	}
	const SnFunction f[] = {
		{ .name = "all", .launches = all, .nlaunch = LAUNCHES, .costs = costs, .ncost = 1, .products = one, .nproduct = 1 },
		{ .name = "alone", .launches = alone, .nlaunch = LAUNCHES, .costs = costs, .ncost = 1, .products = one, .nproduct = 1 },
		{ .name = "one", .launches = all, .nlaunch = 1, .costs = costs, .ncost = 1, .products = one, .nproduct = 1 },
		{ .name = "one alone", .launches = alone, .nlaunch = 1, .costs = costs, .ncost = 1, .products = one, .nproduct = 1 },
	};
	const SnEntry e = { .name = "small", .functions = f, .nfunction = 4, .arena_bytes = 4096 };
	SnSession s;
	if (sn_session_open(&s, &e, threads))
		exit(1);
	printf("%7d", threads);
	printf(" %12.1f", 1e9 * median(barrier_time, &s, f, rounds));
	for (int i = 0; i < 4; i++)
		printf(" %12.1f", 1e9 * median(launch_time, &s, &f[i], rounds));
	printf("\n");
	sn_session_close(&s);
}

const SnProgram sn_program;

int main(int argc, char **argv)
{
	int most = sn_cores(), rounds = 11;
	for (int c; (c = getopt(argc, argv, "t:r:")) != -1;) {
		switch (c) {
		case 't': most = atoi(optarg); break;
		case 'r': rounds = atoi(optarg); break;
		default: return 2;
		}
	}
	printf("ns      barrier   launch, all  launch alone  call of one  call of one alone\n");
	for (int t = 1; t <= most; t++)
		measure(t, rounds);
	return 0;
}
