/* limits.c: what this machine can do at most: multiply-adds of f32 and of bf16 and int8 as it multiplies them fastest, in registers; and
 * reading memory that no cache holds, or (`again`) so many bytes again and again, from the caches that hold them. Each figure is
 * the best of a few short runs on all threads: called in turns with what it is to judge.
 * Prints one JSON object a limit: {"limit": NAME, "value": GFLOP/s or GB/s, "by": HOW}; nothing for what the machine has not.
 * Usage: limits [-t threads] [-T target] [-b bytes] [f32|bf16|int8|read|again ...] */
#include "bench/bundle.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct Limits { Arena *a; Target t; int threads; int64_t bytes; } Limits;
enum { RUNS = 5, READ = 1 << 30 };

/* Fastest of the runs, in units of 1e9 a second, of the one kernel in k. */
static double rate(Limits *l, Bundle *k, double work, int64_t rounds)
{
	Shot *s = bundle_finish(k, NULL);
	int64_t dim = 0;
	s->args[0] = rounds;
	return 1e-9 * work * (double)rounds * l->threads / bundle_run(&s, 1, NULL, &dim, l->threads, RUNS, false);
}

static void say(const char *name, double value, const char *by)
{
	printf("{\"limit\": \"%s\", \"value\": %.2f, \"by\": \"%s\"}\n", name, value, by);
	fflush(stdout);
}

static void f32(Limits *l)
{
	Bundle *k = bundle_new(l->a, &l->t, NULL, 0);
	bundle_add_peak(k);
	say("f32", rate(l, k, 2.0 * l->t.lanes * PEAK_CHAINS, 1000000), l->t.fma ? "multiply-adds" : "multiplications and additions");
}

static void narrow(Limits *l, const char *name, const Narrow *n, bool tiles, const char *by)
{
	Bundle *k = bundle_new(l->a, &l->t, NULL, 0);
	bundle_add_peak_narrow(k, n, tiles);
	say(name, rate(l, k, narrow_flops(&l->t, n, tiles), tiles ? 100000 : 1000000), by);
}

static void bf16(Limits *l)
{
	bool faster;
	if (l->t.bf16 != BF16_CONVERT)
		narrow(l, "bf16", &narrow_bf16, l->t.bf16 == BF16_TILES, target_bf16(&l->t, &faster));
}

/* AMX's tiles are granted for both types or for none (backend/target.c). */
static void int8(Limits *l)
{
	if (l->t.bf16 == BF16_TILES && strstr(l->t.features, "+amx-int8"))
		narrow(l, "int8", &narrow_int8, true, "AMX tiles");
	else if (l->t.lanes == 16 && strstr(l->t.features, "+avx512vnni"))
		narrow(l, "int8", &narrow_int8, false, "AVX-512 dot products");
}

static void reading(Limits *l)
{
	char *arena = mmap(NULL, READ, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (arena == MAP_FAILED)
		fatal("no memory for the bench");
	madvise(arena, READ, MADV_HUGEPAGE);
	memset(arena, 1, READ);
	say("read", bundle_reads(arena, READ, 0, l->threads), "all threads, a stretch each");
	munmap(arena, READ);
}

static void again(Limits *l)
{
	Bundle *k = bundle_new(l->a, &l->t, NULL, 0);
	char *arena = aligned_alloc(1 << 21, (size_t)(l->bytes + (1 << 21)) >> 21 << 21);
	if (!arena)
		fatal("no memory for the bench");
	madvise(arena, (size_t)l->bytes, MADV_HUGEPAGE);
	memset(arena, 1, (size_t)l->bytes);
	bundle_add_reader(k);
	Shot *s = bundle_finish(k, NULL);
	int64_t dim = 0, passes = MAX(1, ((int64_t)1 << 28) / l->bytes);
	s->args[0] = l->bytes;
	s->args[1] = passes;
	double took = bundle_run(&s, 1, arena, &dim, l->threads, RUNS, false);
	say("again", 1e-9 * (double)(l->bytes * passes) / took, "a share for each thread, which stays in its caches");
	free(arena);
}

static const struct { const char *name; void (*measure)(Limits *); } all[] = {
	{ "f32", f32 }, { "bf16", bf16 }, { "int8", int8 }, { "read", reading }, { "again", again },
};

static bool wanted(const char *name, int n, char **names)
{
	for (int i = 0; i < n; i++)
		if (!strcmp(names[i], name))
			return true;
	return n == 0;
}

int main(int argc, char **argv)
{
	Limits l = { .a = arena_new(), .threads = (int)sysconf(_SC_NPROCESSORS_ONLN), .bytes = 1 << 20 };
	const char *target = "native";
	for (int c; (c = getopt(argc, argv, "t:T:b:")) != -1;) {
		switch (c) {
		case 't': l.threads = atoi(optarg); break;
		case 'T': target = optarg; break;
		case 'b': l.bytes = atoll(optarg); break;
		default: return 2;
		}
	}
	if (!target_find(target, &l.t))
		return 1;
	for (int i = 0; i < COUNT(all); i++)
		if (wanted(all[i].name, argc - optind, argv + optind))
			all[i].measure(&l);
	return 0;
}
