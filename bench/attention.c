/* attention.c: attention as kernels without a matrix of scores (flash) against its expansion, in one run, at GPT-2's shapes.
 *
 * Prints, for B sequences of T positions and H heads of width K, milliseconds of both, GFLOP/s of flash as if no key were
 * masked, and the memory that the plan gives each:
 *   forward   y from x [B,T,3,H,K]           step    y and the gradient to x
 * Usage: attention [-t threads] [-T target] [-r repeats] [-n T: this one alone] [-m largest T] [-H heads] [-G key heads] [-K width]
 *        [-d dropout] [-w window] [-f: not causal] [-c: count processor time] [-j: JSON, an object a figure, with each turn] */
#include "bench/bundle.h"
#include "passes/passes.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct Options {
	int threads, reps;
	const char *target;
	int64_t only, most, heads, groups, width;
	double dropout;
	int window, causal;
	bool cpu, json;
} Options;

/* One graph of one shape, ready to run. */
typedef struct Job { Shot **shots; int n; double bytes; } Job;
static const int64_t ARENA = (int64_t)6 << 30;

static Value *part(Builder *b, Value *x, const Options *o, int64_t first, int64_t heads)
{
	return b_slice(b, x, 2, dim_const(first), dim_const(heads));
}

static Graph *graph(Arena *a, Module *m, const Options *o, int64_t B, int64_t T, Op op, bool step)
{
	Graph *g = graph_new(a, "bench");
	Builder b = { .g = g };
	int64_t H = o->heads, G = o->groups;
	graph_sym(g, "T", T);
	Type t = type_make(DT_F32, 4, (const Dim *[]){ dim_const(B), dim_sym("T"), dim_const(H + 2 * G), dim_const(o->width) });
	vec_push(a, &m->params, ((Param){ .name = intern("x"), .type = t }));
	Value *x = b_source(&b, OP_PARAM, "x", t), *seed = b_source(&b, OP_INPUT, "seed", type_scalar(DT_I32));
	Attrs at = { .causal = o->causal, .window = o->window, .scale = 0.125, .dropout = o->dropout };
	Value *y = build(&b, op, (Value *[]){ part(&b, x, o, 0, H), part(&b, x, o, H, G), part(&b, x, o, H + G, G), seed },
		o->dropout > 0 ? 4 : 3, &at, NULL);
	Value *w = b_source(&b, OP_INPUT, "w", y->type), *both = b_binary(&b, OP_MUL, y, w);
	b_output(&b, step ? "y" : "loss", y);
	if (step) {
		b_output(&b, "loss", b_reshape(&b, b_reduce(&b, OP_SUM, both, 15), type_scalar(DT_F32)));
		autodiff(g, m);
	}
	if (!passes_run(g, "expand,simplify,cse,simplify,cse,dce,layout,fuse,schedule", NULL))
		fatal("the graph does not compile");
	return g;
}

static Job job(Arena *a, const Options *o, const Target *target, int64_t B, int64_t T, Op op, bool step)
{
	Module *m = module_new(a);
	Entry *e = NEW(a, Entry);
	Graph *g = graph(a, m, o, B, T, op, step);
	*e = (Entry){ .kind = ENTRY_INFER, .name = "bench" };
	vec_push(a, &e->graphs, g);
	Plan *p = plan_entry(m, e, target);
	Bundle *k = bundle_new(a, target, g->syms.at, g->syms.len);
	ClusterList all = clusters_of(g);
	for (int i = 0; i < all.len; i++)
		bundle_add(k, all.at[i]);
	Shot *shots = bundle_finish(k, NULL);
	Job j = { .shots = NEW_ARRAY(a, Shot *, all.len), .n = all.len };
	for (int i = 0; i < j.n; i++) {
		j.shots[i] = &shots[i];
		for (int q = 0; q < shots[i].ka->at.len; q++)
			shots[i].args[q] = plan_argument(p, &shots[i].ka->at.at[q]);
	}
	if (p->persistent + p->arena > ARENA)
		fatal("the bench's arena is too small");
	j.bytes = (double)p->arena;
	return j;
}

enum { TURNS = 3 };

/* Each turn's ms, for bench/kernels.py. */
static void print_json(const Options *o, int64_t B, int64_t T, bool step, const double (*took)[TURNS])
{
	static const char *const name[2] = { "expansion", "sinter" };
	printf("{\"b\": %ld, \"t\": %ld, \"h\": %ld, \"width\": %ld, \"what\": \"%s\"", (long)B, (long)T, (long)o->heads, (long)o->width,
		step ? "with gradient" : "forward");
	for (int i = 0; i < 2; i++) {
		printf(", \"%s\": [", name[i]);
		for (int turn = 0; turn < TURNS; turn++)
			printf("%s%.4f", turn ? ", " : "", took[i][turn] * 1e3);
		printf("]");
	}
	printf("}\n");
	fflush(stdout);
}

static void print_text(const double (*took)[TURNS], double work, double old_bytes, double new_bytes)
{
	double best[2] = { 1e30, 1e30 };
	for (int i = 0; i < 2 * TURNS; i++)
		best[i % 2] = MIN(best[i % 2], took[i % 2][i / 2]);
	printf("   %8.3f %8.3f %5.2f %6.0f %7.1f %7.1f", best[0] * 1e3, best[1] * 1e3, best[1] / best[0], work / best[1] * 1e-9, old_bytes / 1048576,
		new_bytes / 1048576);
	fflush(stdout);
}

/* Several turns of either, one after the other; the least of each is printed. */
static void measure(const Options *o, const Target *t, char *arena, int64_t B, int64_t T, bool step)
{
	Arena *a = arena_new();
	Job old = job(a, o, t, B, T, OP_ATTENTION, step), new = job(a, o, t, B, T, OP_FLASH, step);
	double took[2][TURNS], work = 4.0 * (double)(B * o->heads * T * T * o->width) * (step ? 3 : 1);
	int reps = MIN(200, MAX(2, (int)(o->reps * 2e9 / work)));
	float *f = (float *)arena;
	for (int64_t i = 0; i < B * T * (o->heads + 2 * o->groups) * o->width * 2; i++)
		f[i] = (float)(i * 2654435761u % 1000) * 2e-3f - 1;
	for (int turn = 0; turn < TURNS; turn++) {
		took[0][turn] = bundle_run(old.shots, old.n, arena, &T, o->threads, reps, o->cpu);
		took[1][turn] = bundle_run(new.shots, new.n, arena, &T, o->threads, reps, o->cpu);
	}
	if (o->json)
		print_json(o, B, T, step, took);
	else
		print_text(took, work, old.bytes, new.bytes);
	arena_free(a);
}

static Options options(int argc, char **argv)
{
	Options o = { .threads = 2, .reps = 10, .target = "native", .heads = 12, .width = 64, .most = 8192, .causal = 1 };
	for (int c; (c = getopt(argc, argv, "t:T:r:n:m:H:G:K:d:w:fcj")) != -1;) {
		switch (c) {
		case 't': o.threads = atoi(optarg); break;
		case 'T': o.target = optarg; break;
		case 'r': o.reps = atoi(optarg); break;
		case 'n': o.only = atol(optarg); break;
		case 'm': o.most = atol(optarg); break;
		case 'H': o.heads = atol(optarg); break;
		case 'G': o.groups = atol(optarg); break;
		case 'K': o.width = atol(optarg); break;
		case 'd': o.dropout = atof(optarg); break;
		case 'w': o.window = atoi(optarg); break;
		case 'f': o.causal = 0; break;
		case 'c': o.cpu = true; break;
		case 'j': o.json = true; break;
		default: exit(2);
		}
	}
	o.groups = o.groups ? o.groups : o.heads;
	return o;
}

/* Heads are fewer where their scores would fill the memory. */
static void line(Options o, const Target *t, char *arena, int64_t T)
{
	int64_t B = MAX(1, MIN(8, 1024 / T)), ratio = o.heads / o.groups;
	if (T > 2048) {
		o.groups = MAX(1, MIN(o.groups, 2));
		o.heads = o.groups * ratio;
	}
	if (!o.json)
		printf("%3ld %5ld %3ld", (long)B, (long)T, (long)o.heads);
	measure(&o, t, arena, B, T, false);
	measure(&o, t, arena, B, T, true);
	if (!o.json)
		printf("\n");
}

int main(int argc, char **argv)
{
	Options o = options(argc, argv);
	Target t;
	if (!target_find(o.target, &t))
		return 1;
	char *arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (arena == MAP_FAILED)
		fatal("no memory for the bench");
	madvise(arena, ARENA, MADV_HUGEPAGE);
	printf("%s, %d threads, width %ld%s: ms of the expansion, of flash, their ratio, GFLOP/s of flash, MiB of both\n%13s %-50s step\n",
		t.name, o.threads, (long)o.width, o.causal ? ", causal" : "", "  B     T   H", "   forward");
	for (int64_t T = o.only ? o.only : 16; T <= (o.only ? o.only : o.most); T *= 2)
		line(o, &t, arena, T);
	return 0;
}
