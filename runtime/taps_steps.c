/* taps_steps.c: values of a generate entry that `sinter build --tap` has made outputs of its step. A step sees new tokens alone, so what
 * runs along them is put together of all calls: the value as one call over the whole sequence would have it. Others (of the last position,
 * of what is encoded once) are as the last call left them. Programs without taps have nothing of this (SnEntry.taps). */
#include "runtime/sn.h"

#include <stdlib.h>
#include <string.h>

typedef struct Piece { int64_t n; char *at; } Piece;   /* of one call: so many positions */
typedef struct Tap {
	const SnSlot *slot;
	int axis;                     /* that runs along the new tokens; -1: none */
	Piece *piece;
	int64_t n, cap;
} Tap;
typedef struct Taps { const SnOptions *o; Tap *tap; int n; } Taps;

static const int8_t bytes_of[] = {[SN_F32] = 4, [SN_I32] = 4, [SN_BOOL] = 1, [SN_BF16] = 2, [SN_F16] = 2, [SN_I8] = 1};

static int axis_of(const SnSlot *s, int time)
{
	const SnAxis *x = s->axes;
	for (int i = 0; i < s->rank; i++)
		if (x[i].sym == time && x[i].scale == 1 && !x[i].offset)
			return i;
	return -1;
}

static int64_t product(const int64_t *shape, int from, int to)
{
	int64_t n = 1;
	for (int i = from; i < to; i++)
		n *= shape[i];
	return n;
}

static int refuse(const SnOptions *o, const SnStepper *m)
{
	static const char *const others[] = {"prompts", "chat", "draft_program", "propose"};
	bool many = sn_num(o, "sample.beam", 0) > 1 && m->width > 1;
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		many |= sn_given(o, others[i]);
	return many ? sn_fail(SN_USAGE, "--taps writes the values of one sequence: it goes with one prompt, without --chat and --draft, and with --beam 1") : SN_OK;
}

static int open(const SnOptions *o, SnStepper *m)
{
	const SnSlot *s = m->step->slots;
	int code = refuse(o, m);
	if (code)
		return code;
	Taps *t = sn_alloc(sizeof *t);
	*t = (Taps){.o = o, .tap = sn_alloc(sizeof *t->tap * (size_t)(m->step->nslot + 1))};
	for (int64_t i = 0; i < m->step->nslot; i++)
		if (sn_is_tap(&s[i]) && sn_glob(sn_str(o, "tap", "*"), sn_text(s[i].name) + SN_TAP))
			t->tap[t->n++] = (Tap){.slot = &s[i], .axis = axis_of(&s[i], m->time)};
	m->taps = t;
	return t->n ? SN_OK : sn_fail(SN_USAGE, "--tap %s: %s has no tap of such a name", sn_str(o, "tap", "*"), sn_text(o->entry->name));
}

static void take(SnStepper *m)
{
	Taps *t = m->taps;
	for (int i = 0; i < t->n; i++) {
		Tap *p = &t->tap[i];
		int64_t shape[SN_MAX_RANK] = {0};
		sn_slot_shape(m->s, m->step, p->slot, shape);
		size_t bytes = (size_t)(product(shape, 0, (int)p->slot->rank) * bytes_of[p->slot->dtype]);
		if (p->axis < 0 && p->n)
			free(p->piece[--p->n].at);
		if (p->n == p->cap) {
			p->cap = p->cap ? p->cap * 2 : 64;
			p->piece = sn_realloc(p->piece, sizeof *p->piece * (size_t)p->cap);
		}
		p->piece[p->n++] = (Piece){p->axis < 0 ? 1 : shape[p->axis], sn_alloc(bytes + 1)};
		memcpy(p->piece[p->n - 1].at, m->s->arena + p->slot->offset, bytes);
	}
}

/* All calls' positions one behind the other. shape: that of the last call's; becomes the whole's. */
static char *joined(const Tap *p, int64_t *shape)
{
	int64_t total = 0, outer = p->axis < 0 ? 1 : product(shape, 0, p->axis), inner = product(shape, p->axis + 1, (int)p->slot->rank) * bytes_of[p->slot->dtype];
	for (int64_t i = 0; i < p->n; i++)
		total += p->piece[i].n;
	char *all = sn_alloc((size_t)(outer * total * inner + 1)), *to = all;
	for (int64_t k = 0; k < outer; k++)
		for (int64_t i = 0; i < p->n; i++) {
			int64_t bytes = p->piece[i].n * inner;
			memcpy(to, p->piece[i].at + k * bytes, (size_t)bytes);
			to += bytes;
		}
	if (p->axis >= 0)
		shape[p->axis] = total;
	return all;
}

static int write(const SnStepper *m)
{
	const Taps *t = m->taps;
	SnStPart *parts = sn_alloc(sizeof *parts * (size_t)(t->n + 1));
	int64_t (*shapes)[SN_MAX_RANK] = sn_alloc(sizeof *shapes * (size_t)(t->n + 1));
	for (int i = 0; i < t->n; i++) {
		const SnSlot *s = t->tap[i].slot;
		sn_slot_shape(m->s, m->step, s, shapes[i]);
		parts[i] = (SnStPart){sn_text(s->name) + SN_TAP, (int)s->dtype, (int)s->rank, shapes[i], joined(&t->tap[i], shapes[i])};
	}
	int code = sn_st_write_parts(sn_str(t->o, "taps", "taps.safetensors"), parts, t->n);
	for (int i = 0; i < t->n; i++)
		free((void *)parts[i].at);
	free(parts);
	free(shapes);
	return code;
}

static void close(SnStepper *m)
{
	Taps *t = m->taps;
	for (int i = 0; t && i < t->n; i++) {
		for (int64_t k = 0; k < t->tap[i].n; k++)
			free(t->tap[i].piece[k].at);
		free(t->tap[i].piece);
	}
	if (t)
		free(t->tap);
	free(t);
	m->taps = NULL;
}

const SnStepTaps sn_taps_steps = {open, take, write, close};
