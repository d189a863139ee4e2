/* beam.c: beam search. Of the `width` best sequences each is continued by each token; the best continuations go on, those
 * that end are kept with their score by length. It ends when none of those that go on can get above the worst of
 * `width` that have ended (as far as their score by length now says), or at the limit. */
#include "runtime/generate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Path { int32_t *ids; int64_t n; double sum; } Path;
typedef struct Next { int32_t row, id; double sum; } Next;
typedef struct Search {
	SnStepper *m;
	const SnBeam *b;
	Path *alive, *other, *ended;  /* width each; other: those of the next step; ended: best first */
	int64_t nalive, nended;
	Next *best;                   /* 2 width, best first */
	int64_t nbest;
	int32_t *from, *ids;
} Search;

static double by_length(const Path *p)
{
	return p->n ? p->sum / (double)p->n : -INFINITY;
}

static Path *paths(const SnBeam *b)
{
	Path *p = sn_alloc(sizeof *p * (size_t)b->width);
	for (int64_t i = 0; i < b->width; i++)
		p[i].ids = sn_alloc(sizeof *p->ids * (size_t)(b->limit + 1));
	return p;
}

static void free_paths(Path *p, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		free(p[i].ids);
	free(p);
}

static void offer(Search *s, Next x)
{
	int64_t most = 2 * s->b->width, i = s->nbest;
	if (i == most && x.sum <= s->best[i - 1].sum)
		return;
	if (i < most)
		s->nbest++;
	else
		i--;
	for (; i > 0 && s->best[i - 1].sum < x.sum; i--)
		s->best[i] = s->best[i - 1];
	s->best[i] = x;
}

/* The 2 width best continuations: width of them at least don't end. */
static bool continue_all(Search *s, const float *logits)
{
	s->nbest = 0;
	for (int64_t r = 0; r < s->nalive; r++) {
		const float *z = logits + r * s->m->V;
		double log_z = sn_log_sum(z, s->b->V);
		if (isnan(log_z))
			return false;
		for (int64_t i = 0; i < s->b->V; i++)
			offer(s, (Next){(int32_t)r, (int32_t)i, s->alive[r].sum + z[i] - log_z});
	}
	return true;
}

static void copy_path(Path *to, const Path *from)
{
	memcpy(to->ids, from->ids, sizeof *to->ids * (size_t)from->n);
	to->n = from->n;
	to->sum = from->sum;
}

static void keep_ended(Search *s, const Path *p)
{
	int64_t i = s->nended;
	if (i == s->b->width && by_length(p) <= by_length(&s->ended[i - 1]))
		return;
	if (i < s->b->width)
		s->nended++;
	else
		i--;
	Path room = s->ended[i];
	for (; i > 0 && by_length(&s->ended[i - 1]) < by_length(p); i--)
		s->ended[i] = s->ended[i - 1];
	s->ended[i] = room;
	copy_path(&s->ended[i], p);
}

/* Those that go on become `alive`; a path under way is built in the place of the next. */
static void choose(Search *s)
{
	int64_t n = 0;
	for (int64_t k = 0; k < s->nbest && n < s->b->width; k++) {
		Path *p = &s->other[n];
		copy_path(p, &s->alive[s->best[k].row]);
		p->ids[p->n++] = s->best[k].id;
		p->sum = s->best[k].sum;
		if (s->b->ends(s->b->ctx, p->ids, p->n)) {
			if (k < s->b->width)    /* as good as those that go on */
				keep_ended(s, p);
			continue;
		}
		s->from[n] = s->best[k].row;
		s->ids[n++] = s->best[k].id;
	}
	Path *t = s->alive;
	s->alive = s->other;
	s->other = t;
	s->nalive = n;
}

static bool settled(const Search *s)
{
	return s->nended == s->b->width && (!s->nalive || by_length(&s->alive[0]) <= by_length(&s->ended[s->nended - 1]));
}

static int run(Search *s, const float *logits)
{
	s->nalive = 1;
	for (int64_t step = 0; step < s->b->limit; step++) {
		if (!continue_all(s, logits))
			return sn_fail(SN_FAIL, "the model's output is not a number");
		choose(s);
		if (settled(s) || !s->nalive || step + 1 == s->b->limit || s->m->cached == s->m->room)
			break;
		if (!sn_stepper_branch(s->m, s->from, s->nalive))
			return sn_fail(SN_FAIL, "%s can't follow several sequences: its states don't tell them apart", sn_text(s->m->s->entry->name));
		logits = sn_stepper_feed(s->m, s->ids, 1);
	}
	for (int64_t i = 0; i < s->nalive; i++)
		keep_ended(s, &s->alive[i]);
	return SN_OK;
}

int sn_beam_search(SnStepper *m, const SnBeam *b, const float *logits, SnIds *out)
{
	size_t width = (size_t)b->width;
	Search s = {.m = m, .b = b, .alive = paths(b), .other = paths(b), .ended = paths(b), .best = sn_alloc(sizeof(Next) * 2 * width),
		.from = sn_alloc(sizeof(int32_t) * width), .ids = sn_alloc(sizeof(int32_t) * width)};
	int code = run(&s, logits);
	for (int64_t i = 0; !code && s.nended && i < s.ended[0].n; i++)
		sn_ids_add(out, s.ended[0].ids[i]);
	free_paths(s.alive, b->width);
	free_paths(s.other, b->width);
	free_paths(s.ended, b->width);
	free(s.best);
	free(s.from);
	free(s.ids);
	return code;
}
