/* shapes.c: contractions of random shapes: how far each is from what its neighbours reach, and from the machine's limits.
 *
 * M, K, N are log-uniform from 1 to 8192, a third of them primes; a shape's product is bounded. Its neighbours are the nearest shape
 * whose extents are multiples of the register tile's (if that is within a quarter of each) and those with one row, one column more or less.
 * All forms of a shape and of its neighbours (bench/forms.h) take turns; the best of a few turns counts.
 * What is compared is a form's share of the limit: the greater of FLOPs at the peak and operands and result, each once, at the bandwidth
 * of a cache that holds so many bytes, and an empty launch on top, over the time taken. In GFLOP/s, one column would have a cliff to two.
 * Prints the shapes furthest below their neighbours, with -b below the faster of OpenBLAS and oneDNN, and the shares' quantiles by form.
 * Usage: shapes [-b] [-c shapes] [-s seed] [-g GFLOP at most] [-d f32|bf16] [-t threads] [-T target] [-w how many of the worst]
 *        [-m M -k K -n N: this shape alone] [-v: all]
 *        [-p: processor time, where other programs run] */
#include "bench/forms.h"

#include <math.h>
#include <sys/mman.h>

enum { ARENA = 3LL << 30, MOST_EXTENT = 8192, LEVELS = 13, NEAR = 4, TURNS = 4, MORE_TURNS = 12 };
static const double turn_seconds = 2e-4, shape_seconds = 0.25;   /* of a form's turn, at least; of a shape, about at most */
static const double cliff = 0.75;                                /* of a neighbour's share; what reads lower is measured again */

typedef struct Options { int threads, count, worst; const char *target; int64_t m, k, n; uint64_t seed; double gflop; bool bf16, peers, cpu, all; } Options;
typedef struct Bench {
	Arena *a;
	Options o;
	Target t;
	char *arena;
	int64_t used, m;                             /* bytes of the arena; rows at most, of the bundle being placed */
	double peak, launch, read[LEVELS];           /* GFLOP/s; seconds of an empty launch; GB/s of 64 KiB << 1, 2.. */
	uint64_t random;
} Bench;

/* What one form of one shape reached. */
typedef struct Result { int64_t m, k, n; int form; double gflops, share, near, peer; char against[32]; } Result;

/* Inputs lie where those of all shapes lie, panels behind. */
enum { W, X, DY, OUT, SLOTS };
static const int64_t slot_bytes = 300 << 20;

static bool bound(void *ctx, const char *sym, int64_t *value)
{
	*value = ((Bench *)ctx)->m;
	return true;
}

static int64_t place(void *ctx, Value *root)
{
	Bench *b = ctx;
	int64_t n = 0, at = b->used;
	if (root->op == OP_CONTRACT)
		return OUT * slot_bytes;
	if (root->op != OP_PACK)
		return (root->op == OP_PARAM ? W : !strcmp(root->a.name, "x") ? X : DY) * slot_bytes;
	if (root->mark)
		return (int64_t)(intptr_t)root->mark;
	dim_eval(type_elems(root->type), bound, b, &n);
	root->mark = (void *)(intptr_t)at;
	b->used += (n + 64 * MOST_EXTENT + 64) * 4 / 64 * 64;
	if (b->used > ARENA)
		fatal("the bench's arena is too small");
	return at;
}

/* Piece by piece alike: most of it is never read. */
static void fill_all(Bench *b)
{
	enum { PIECE = 4 << 20 };
	fill(b->arena, PIECE, b->o.bf16);
	for (int64_t at = PIECE; at < ARENA; at += PIECE)
		memcpy(b->arena + at, b->arena, PIECE);
}

static void empty(const int64_t *args, char *arena, const int64_t *dims, int64_t tid, int64_t nth, char *scratch) { }

static void limits(Bench *b)
{
	enum { LAUNCHES = 64 };
	int64_t dim = 0;
	Bundle *u = bundle_new(b->a, &b->t, NULL, 0);
	bundle_add_reader(u);
	Shot none = { .fn = empty, .scratch = 64 }, *launch[LAUNCHES], *read = bundle_finish(u, NULL);
	Peak p = peak_of(b->a, &b->t, b->o.bf16);
	for (int i = 0; i < LAUNCHES; i++)
		launch[i] = &none;
	b->launch = bundle_run(launch, LAUNCHES, b->arena, &dim, b->o.threads, 20, b->o.cpu) / LAUNCHES;
	b->peak = peak(&p, b->o.threads, 100, b->o.cpu);
	printf("%s, %d threads: peak %.0f GFLOP/s, empty launch %.2f us, reads GB/s:", b->t.name, b->o.threads, b->peak, b->launch * 1e6);
	for (int i = 0; i < LEVELS; i++) {
		read->args[0] = 65536LL << i;
		read->args[1] = MAX(1, (64 << 20) / read->args[0]);
		b->read[i] = (double)(read->args[0] * read->args[1]) * 1e-9 / bundle_run(&read, 1, b->arena, &dim, b->o.threads, 3, b->o.cpu);
		printf(" %.0f", b->read[i]);
	}
	printf(" (64 KiB, 128, .. 256 MiB)\n");
}

/* Seconds that no kernel can be faster than. */
static double limit(const Bench *b, int64_t m, int64_t k, int64_t n)
{
	double bytes = (double)(m * k + k * n + m * n) * (b->o.bf16 ? 3 : 4);   /* operands of 2 or 4, results of 4 */
	double flops = 2.0 * (double)m * (double)k * (double)n;
	int level = 0;
	while (level < LEVELS - 1 && bytes > 65536.0 * (double)(1 << level))
		level++;
	return b->launch + MAX(flops / b->peak, bytes / b->read[level]) * 1e-9;
}

/* xorshift64* (Vigna 2016, "An experimental exploration of Marsaglia's xorshift generators, scrambled"). */
static double uniform(Bench *b)
{
	b->random ^= b->random >> 12;
	b->random ^= b->random << 25;
	b->random ^= b->random >> 27;
	return (double)(b->random * 2685821657736338717u >> 11) * 0x1p-53;
}

static bool prime(int64_t n)
{
	for (int64_t d = 2; d * d <= n; d++)
		if (n % d == 0)
			return false;
	return n > 1;
}

static int64_t extent(Bench *b)
{
	int64_t n = (int64_t)exp(uniform(b) * log(MOST_EXTENT + 1));
	bool wanted = uniform(b) < 1.0 / 3;
	while (wanted && n > 2 && !prime(n))
		n--;
	return n;
}

/* A shape's kernels, launches first..end of a bundle: the M that they run at is free up to `most`. */
typedef struct Made { Shape s; Form f[FORMS]; Bundle *u; int first, end; int64_t most; } Made;

/* A shape as drawn, with one column more, and the nearest of whole tiles, `nice`. */
typedef struct Drawn { int64_t m, k, n, nice[3]; Made own, side, round; } Drawn;

/* Tiles are functions of the module: shapes that share one are compiled in a third of the time. */
enum { BUNDLES = 2, EACH = 5 };
typedef struct Batch { Bundle *u; Drawn at[EACH]; int n; pthread_t compiling; } Batch;

static void *compile(void *bundle)
{
	bundle_finish(bundle, NULL);
	return NULL;
}

static Made made(Bench *b, Bundle *u, int64_t most, int64_t k, int64_t n)
{
	Made d = { .s = { k, n, false }, .most = most, .u = u, .first = u->launch.len };
	for (int i = 0; i < FORMS; i++)
		d.f[i] = form(b->a, u, i, &d.s, most, b->o.bf16 ? DT_BF16 : DT_F32);
	d.end = u->launch.len;
	return d;
}

static void ready(Bench *b, Made *d)
{
	b->m = d->most;
	bundle_place_some(d->u, d->first, d->end, place, b);
	for (int i = 0; i < FORMS; i++)
		if (d->f[i].ahead >= 0)
			bundle_run((Shot *[]){ &d->u->launch.at[d->f[i].ahead] }, 1, b->arena, &d->most, b->o.threads, 1, false);
}

/* Seconds of a form, the best of a turn. */
static double turn(Bench *b, const Made *d, int form, int64_t m)
{
	enum { MOST = 256 };
	const Form *f = &d->f[form];
	Shot *run[MOST];
	double about = 1.5 * limit(b, m, d->s.k, d->s.n);
	int times = (int)MIN((double)(MOST / f->n), MAX(1, turn_seconds / 4 / about)), reps = (int)MIN(8, MAX(2, turn_seconds / (about * times)));
	for (int i = 0; i < times * f->n; i++)
		run[i] = &d->u->launch.at[f->timed[i % f->n]];
	return bundle_run(run, times * f->n, b->arena, &m, b->o.threads, reps, b->o.cpu) / times;
}

static double peer(Bench *b, const Made *d, int form, int64_t m)
{
	Product p = product(b->arena, (float *)(b->arena + OUT * slot_bytes), b->o.bf16 ? 2 : 4, m, form, &d->s);
	double best = 1e30, about = 1.5 * limit(b, m, d->s.k, d->s.n);
	int times = (int)MAX(1, turn_seconds / 4 / about);
	for (int i = 0; i < BLAS; i++)
		for (int r = 0; blas[i].sgemm && r < 3; r++) {
			double start = now();
			for (int t = 0; t < times; t++)
				blas[i].run(blas[i].sgemm, &p);
			best = MIN(best, (now() - start) / times);
		}
	return best;
}

/* The nearest multiple of `unit`, or n where that is further than a quarter of n. */
static int64_t round_near(int64_t n, int64_t unit)
{
	int64_t to = (n + unit / 2) / unit * unit;
	return 4 * llabs(to - n) <= n ? to : n;
}

typedef struct Point { Made *made; int64_t m; const char *what; double best[FORMS]; } Point;
typedef Vec(Result) Results;

static void take_turns(Bench *b, Point *p, int n, double peers[FORMS])
{
	double begin = now();
	for (int i = 0; i < FORMS; i++) {
		peers[i] = 1e30;
		for (int j = 0; j < n; j++)
			p[j].best[i] = 1e30;
	}
	for (int r = 0; r < TURNS && (r < 2 || now() - begin < shape_seconds); r++)
		for (int i = 0; i < FORMS; i++) {
			for (int j = 0; j < n; j++)
				p[j].best[i] = MIN(p[j].best[i], turn(b, p[j].made, i, p[j].m));
			if (b->o.peers)
				peers[i] = MIN(peers[i], peer(b, p[0].made, i, p[0].m));
		}
}

static double share(const Bench *b, const Point *p, int form)
{
	return limit(b, p->m, p->made->s.k, p->made->s.n) / p->best[form];
}

/* What seems to be a cliff has more turns: a neighbour program's time slice looks like one. */
static void turns_again(Bench *b, Point *p, int n)
{
	double begin = now();
	for (int i = 0; i < FORMS; i++)
		for (int r = 0; r < MORE_TURNS && now() - begin < 2 * shape_seconds; r++) {
			double most = 0;
			for (int j = 1; j < n; j++)
				most = MAX(most, share(b, &p[j], i));
			if (share(b, p, i) >= cliff * most)
				break;
			for (int j = 0; j < n; j++)
				p[j].best[i] = MIN(p[j].best[i], turn(b, p[j].made, i, p[j].m));
		}
}

/* The first point against the others. */
static void conclude(Bench *b, const Point *p, int n, const double peers[FORMS], Results *to)
{
	for (int i = 0; i < FORMS; i++) {
		Result r = { p->m, p->made->s.k, p->made->s.n, i, .share = share(b, p, i), .near = 1e30, .peer = peers[i] / p->best[i] };
		r.gflops = 2e-9 * (double)r.m * (double)r.k * (double)r.n / p->best[i];
		for (int j = 1; j < n; j++) {
			double ratio = r.share / share(b, &p[j], i);
			if (ratio < r.near)
				snprintf(r.against, sizeof r.against, "%s", p[j].what);
			r.near = MIN(r.near, ratio);
		}
		vec_push(b->a, to, r);
	}
}

static void draw(Bench *b, Batch *to, int64_t m, int64_t k, int64_t n)
{
	DType dt = b->o.bf16 ? DT_BF16 : DT_F32;
	Drawn *d = &to->at[to->n++];
	*d = (Drawn){ .m = m, .k = k, .n = n, .nice = { round_near(m, tile_rows(&b->t, dt)), round_near(k, b->t.lanes), round_near(n, tile_columns(&b->t, dt)) } };
	d->own = made(b, to->u, MAX(m + 1, d->nice[0]), k, n);
	d->side = made(b, to->u, m, k, n + 1);
	d->round = made(b, to->u, MAX(m, d->nice[0]), d->nice[1], d->nice[2]);
}

static void measure(Bench *b, Drawn *d, Results *to)
{
	double peers[FORMS];
	b->used = SLOTS * slot_bytes;
	ready(b, &d->own);
	ready(b, &d->side);
	ready(b, &d->round);
	Point p[NEAR + 1] = { { &d->own, d->m, "", { 0 } }, { &d->round, d->nice[0], "multiples", { 0 } },
		{ &d->side, d->m, "N + 1", { 0 } }, { &d->own, d->m + 1, "M + 1", { 0 } } };
	int points = 4;
	if (d->m > 1)
		p[points++] = (Point){ &d->own, d->m - 1, "M - 1", { 0 } };
	take_turns(b, p, points, peers);
	turns_again(b, p, points);
	conclude(b, p, points, peers, to);
}

static int by_near(const void *a, const void *b)
{
	double x = ((const Result *)a)->near, y = ((const Result *)b)->near;
	return (x > y) - (x < y);
}

static int by_peer(const void *a, const void *b)
{
	double x = ((const Result *)a)->peer, y = ((const Result *)b)->peer;
	return (x > y) - (x < y);
}

static void print_worst(const Bench *b, Results *r, int (*order)(const void *, const void *), const char *title)
{
	qsort(r->at, (size_t)r->len, sizeof *r->at, order);
	printf("%s\n%6s %6s %6s  %-8s %8s %7s %11s%s\n", title, "M", "K", "N", "form", "GFLOP/s", "limit's", "neighbours'", b->o.peers ? "   peers'" : "");
	for (int i = 0; i < MIN(r->len, b->o.worst); i++) {
		const Result *x = &r->at[i];
		printf("%6ld %6ld %6ld  %-8s %8.1f %6.0f%% %11.2f", (long)x->m, (long)x->k, (long)x->n, form_name[x->form], x->gflops, 100 * x->share, x->near);
		if (b->o.peers)
			printf(" %8.2f", x->peer);
		printf("  %s\n", x->against);
	}
}

static void print_forms(Bench *b, const Results *r)
{
	double *x[3];
	for (int j = 0; j < 3; j++)
		x[j] = NEW_ARRAY(b->a, double, r->len);
	for (int f = 0; f < FORMS; f++) {
		int n = 0, cliffs = 0;
		for (int i = 0; i < r->len; i++)
			if (r->at[i].form == f) {
				cliffs += r->at[i].near < cliff;
				x[0][n] = r->at[i].share;
				x[1][n] = r->at[i].near;
				x[2][n++] = r->at[i].peer;
			}
		for (int j = 0; j < 3; j++)
			qsort(x[j], (size_t)n, sizeof *x[j], ascending);
		printf("%-8s share of the limit %3.0f%% (a tenth below %3.0f%%), of the best neighbour's %.2f (%.2f), under 0.75 in %d of %d", form_name[f],
			100 * median(x[0], n), 100 * x[0][n / 10], median(x[1], n), x[1][n / 10], cliffs, n);
		if (b->o.peers)
			printf(", of the peers' speed %.2f (%.2f)", median(x[2], n), x[2][n / 10]);
		printf("\n");
	}
}

static Options options(int argc, char **argv)
{
	Options o = { .threads = 2, .count = 200, .worst = 12, .seed = 1, .gflop = 20, .target = "native" };
	for (int c; (c = getopt(argc, argv, "bc:s:g:d:t:T:w:m:k:n:pv")) != -1;) {
		switch (c) {
		case 'b': o.peers = true; break;
		case 'c': o.count = atoi(optarg); break;
		case 's': o.seed = strtoull(optarg, NULL, 10); break;
		case 'g': o.gflop = atof(optarg); break;
		case 'd': o.bf16 = !strcmp(optarg, "bf16"); break;
		case 't': o.threads = atoi(optarg); break;
		case 'T': o.target = optarg; break;
		case 'w': o.worst = atoi(optarg); break;
		case 'm': o.m = atol(optarg); break;
		case 'k': o.k = atol(optarg); break;
		case 'n': o.n = atol(optarg); break;
		case 'p': o.cpu = true; break;
		case 'v': o.all = true; break;
		default: exit(2);
		}
	}
	return o;
}

static void draw_any(Bench *b, Batch *to)
{
	int64_t m, k, n;
	do {
		m = extent(b);
		k = extent(b);
		n = extent(b);
	} while (2e-9 * (double)m * (double)k * (double)n > b->o.gflop);
	draw(b, to, m, k, n);
}

/* Up to `most` shapes, bundle by bundle: compiled side by side, then measured. */
static void some_shapes(Bench *b, int most, Results *to)
{
	Batch batch[BUNDLES];
	for (int i = 0; i < BUNDLES; i++) {
		batch[i] = (Batch){ .u = bundle_new(b->a, &b->t, (Sym[]){ { intern("M"), MOST_EXTENT + 64 } }, 1) };
		for (int j = 0; j < EACH && most > 0; j++, most--)
			if (b->o.m)
				draw(b, &batch[i], b->o.m, b->o.k, b->o.n);
			else
				draw_any(b, &batch[i]);
		if (pthread_create(&batch[i].compiling, NULL, compile, batch[i].u))
			fatal("no thread");
	}
	for (int i = 0; i < BUNDLES; i++)
		pthread_join(batch[i].compiling, NULL);
	for (int i = 0; i < BUNDLES; i++)
		for (int j = 0; j < batch[i].n; j++)
			measure(b, &batch[i].at[j], to);
}

int main(int argc, char **argv)
{
	Bench b = { .a = arena_new(), .o = options(argc, argv) };
	Results r = { 0 };
	if (!target_find(b.o.target, &b.t))
		return 1;
	b.arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (b.arena == MAP_FAILED)
		fatal("no memory for the bench");
	madvise(b.arena, ARENA, MADV_HUGEPAGE);
	fill_all(&b);
	b.random = b.o.seed * 0x9e3779b97f4a7c15u + 1;
	b.o.peers = b.o.peers && blas_open(b.o.threads, b.o.bf16);
	limits(&b);
	for (int left = b.o.m ? 1 : b.o.count; left > 0; left -= BUNDLES * EACH)
		some_shapes(&b, MIN(left, BUNDLES * EACH), &r);
	b.o.worst = b.o.all || b.o.m ? r.len : b.o.worst;
	print_forms(&b, &r);
	print_worst(&b, &r, by_near, "Furthest below a neighbour:");
	if (b.o.peers)
		print_worst(&b, &r, by_peer, "Furthest below OpenBLAS or oneDNN:");
	return 0;
}
