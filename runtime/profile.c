/* profile.c: where a program's time goes. Thread 0 looks at the clock behind each launch and its barrier; what a launch computes and
 * moves comes from the function's `costs`. Launches alike (one name but for numbers, as those of all layers, with equal
 * costs) make one line. Only a session that was asked for it has a profile: a call without one is one test a launch slower. */
#include "runtime/sn.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* least: seconds of the fastest launch, which another program's turns on the processor are not in. */
typedef struct Line { const SnLaunch *launch; int64_t n; double seconds, least, flops, bytes; } Line;
typedef struct Calls {
	const SnFunction *f;          /* NULL: not called yet */
	int64_t n;
	double began, least;          /* the call at hand; seconds of the fastest */
	Line *at;                     /* by launch */
	int64_t *costs;               /* flops and bytes, as the last call's dims have them */
} Calls;

#define LEAST_SHARE 0.002       /* of a call's time: shorter kinds share the last line */

typedef struct Stage { const char *name; double seconds; } Stage;
enum { MOST_STAGES = 8 };

struct SnProfile {
	const SnEntry *entry;
	Calls *of, *now;              /* by function */
	double last;                  /* the clock at the last lap */
	Stage stage[MOST_STAGES];     /* of starting */
	int nstage;
	double began, stage_began, first_kernel, first_result;   /* the last two after `began`; 0: not yet */
};

SnProfile *sn_profile_new(const SnEntry *e, double began)
{
	SnProfile *p = sn_alloc(sizeof *p);
	*p = (SnProfile){ .entry = e, .of = sn_alloc(sizeof(Calls) * (size_t)(e->nfunction + 1)), .began = began, .stage_began = began };
	return p;
}

void sn_profile_stage(SnProfile *p, const char *name)
{
	if (!p || p->nstage == MOST_STAGES)
		return;
	double now = sn_clock();
	p->stage[p->nstage++] = (Stage){ name, now - p->stage_began };
	p->stage_began = now;
}

static void print_start(const SnProfile *p)
{
	fprintf(stderr, "start:");
	for (int i = 0; i < p->nstage; i++)
		fprintf(stderr, "%s %s %.1f ms", i ? "," : "", p->stage[i].name, 1e3 * p->stage[i].seconds);
	if (p->first_kernel > 0)
		fprintf(stderr, "; the first kernel began after %.1f ms", 1e3 * p->first_kernel);
	if (p->first_result > 0)
		fprintf(stderr, ", the first result was there after %.1f ms", 1e3 * p->first_result);
	fprintf(stderr, "\n");
}

static Calls *calls_of(SnProfile *p, const SnFunction *f)
{
	Calls *c = &p->of[f - (const SnFunction *)p->entry->functions];
	if (c->f)
		return c;
	*c = (Calls){ .f = f, .at = sn_alloc(sizeof *c->at * (size_t)(f->nlaunch + 1)), .costs = sn_alloc(8 * (size_t)(2 * f->ncost + f->nproduct + 2)) };
	for (int64_t k = 0; k < f->nlaunch; k++)
		c->at[k].launch = (const SnLaunch *)f->launches + k;
	return c;
}

void sn_profile_begin(SnProfile *p, const SnFunction *f)
{
	p->now = calls_of(p, f);
	p->now->n++;
	p->last = p->now->began = sn_clock();
	if (p->first_kernel <= 0)
		p->first_kernel = p->last - p->began;
}

void sn_profile_lap(SnProfile *p, int64_t launch)
{
	Line *l = &p->now->at[launch];
	double now = sn_clock(), took = now - p->last;
	l->seconds += took;
	l->least = p->now->n == 1 || took < l->least ? took : l->least;
	p->last = now;
}

void sn_profile_end(SnProfile *p, const int64_t *dims)
{
	Calls *c = p->now;
	if (!c->f->nlaunch)
		return;
	sn_profile_lap(p, c->f->nlaunch - 1);   /* behind it was the call's end, no barrier of its own */
	double took = p->last - c->began;
	c->least = c->n == 1 || took < c->least ? took : c->least;
	if (p->first_result <= 0 && strcmp(c->f->name, "prepare"))
		p->first_result = p->last - p->began;
	sn_costs(c->f, dims, c->costs);
	for (int64_t i = 0; i < c->f->nlaunch; i++) {
		Line *l = &c->at[i];
		l->n++;
		l->flops += (double)c->costs[2 * l->launch->cost];
		l->bytes += (double)c->costs[2 * l->launch->cost + 1];
	}
}

/* Names in the order that takes numbers for equal. */
static int compare_names(const char *a, const char *b)
{
	for (; *a && *b; a++, b++) {
		if (isdigit((unsigned char)*a) && isdigit((unsigned char)*b)) {
			while (isdigit((unsigned char)a[1]))
				a++;
			while (isdigit((unsigned char)b[1]))
				b++;
		} else if (*a != *b)
			break;
	}
	return (unsigned char)*a - (unsigned char)*b;
}

static int compare_kind(const Line *a, const Line *b)
{
	int names = compare_names(sn_text(a->launch->name), sn_text(b->launch->name));
	if (names)
		return names;
	return (a->launch->cost > b->launch->cost) - (a->launch->cost < b->launch->cost);
}

static int by_kind(const void *a, const void *b)
{
	return compare_kind(a, b);
}

static int by_time(const void *a, const void *b)
{
	double x = ((const Line *)a)->seconds, y = ((const Line *)b)->seconds;
	return (x < y) - (x > y);
}

static void add(Line *to, const Line *l)
{
	to->n += l->n;
	to->seconds += l->seconds;
	to->least = to->n > l->n && to->least < l->least ? to->least : l->least;
	to->flops += l->flops;
	to->bytes += l->bytes;
}

/* Equal lines become one; returns how many are left. */
static int64_t merge(Line *at, int64_t n)
{
	int64_t kept = 0;
	qsort(at, (size_t)n, sizeof *at, by_kind);
	for (int64_t i = 0; i < n; i++) {
		if (!kept || compare_kind(&at[kept - 1], &at[i])) {
			at[kept++] = at[i];
			continue;
		}
		add(&at[kept - 1], &at[i]);
	}
	qsort(at, (size_t)kept, sizeof *at, by_time);
	return kept;
}

/* "h.*.attn:contract"; of a line of many kinds that there are others. */
static void print_name(const SnLaunch *l)
{
	const char *s = l ? sn_text(l->name) : "others";
	for (; *s; s++) {
		fputc(isdigit((unsigned char)*s) ? '*' : *s, stderr);
		while (isdigit((unsigned char)*s) && isdigit((unsigned char)s[1]))
			s++;
	}
	fputc('\n', stderr);
}

static void print_line(const Line *l, double all, double calls)
{
	double s = l->seconds > 0 ? l->seconds : 1e-12, each = (double)l->n;
	fprintf(stderr, "  %4.1f%% %11.3f %9.0f %9.1f %9.2f %10.3f %9.1f %9.1f  ", 100 * s / all, 1e3 * s / calls, each / calls, 1e6 * s / each,
		1e6 * l->least, 1e-6 * l->bytes / each, 1e-9 * l->flops / s, 1e-9 * l->bytes / s);
	print_name(l->launch);
}

static void print_calls(Calls *c)
{
	double all = 0, flops = 0, bytes = 0;
	for (int64_t i = 0; i < c->f->nlaunch; i++) {
		all += c->at[i].seconds;
		flops += c->at[i].flops;
		bytes += c->at[i].bytes;
	}
	if (!c->f->nlaunch || all <= 0)
		return;
	int64_t n = merge(c->at, c->f->nlaunch);
	double calls = (double)c->n;
	fprintf(stderr, "%s: %lld calls of %.3f ms (the fastest %.3f), %lld launches each, %.1f GFLOP/s, %.1f GB/s\n", sn_text(c->f->name), (long long)c->n,
		1e3 * all / calls, 1e3 * c->least, (long long)c->f->nlaunch, 1e-9 * flops / all, 1e-9 * bytes / all);
	fprintf(stderr, "  share   ms a call  launches   us each     least    MB each   GFLOP/s      GB/s  kernel\n");
	Line rest = {0};
	for (int64_t i = 0; i < n; i++) {
		if (c->at[i].seconds >= LEAST_SHARE * all)
			print_line(&c->at[i], all, calls);
		else
			add(&rest, &c->at[i]);
	}
	if (rest.n)
		print_line(&rest, all, calls);
}

void sn_profile_close(SnProfile *p)
{
	if (p)
		print_start(p);
	for (int64_t i = 0; p && i < p->entry->nfunction; i++) {
		if (p->of[i].f)
			print_calls(&p->of[i]);
		free(p->of[i].at);
		free(p->of[i].costs);
	}
	if (p)
		free(p->of);
	free(p);
}
