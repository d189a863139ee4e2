/* texts.c: texts as rows of ids. All rows lie in one pool; a call takes some of them, as long as the longest of these: what is behind the
 * others' ends is the padding token and not real. */
#include "runtime/tables.h"

#include <stdlib.h>
#include <string.h>

enum { STREAM = 0x6275636B };   /* apart from the streams of weights, orders and windows */

/* --- which input is what */

static int wrong(const SnAsked *a, const SnSlot *s, const char *why)
{
	SnStr text = {0};
	sn_slot_text(&text, s);
	int code = sn_fail(SN_USAGE, "%s can't be fed with texts: its input %s %s; give --inputs FILE", sn_text(a->entry->name), text.s, why);
	free(text.s);
	return code;
}

static bool take(const SnSlot **place, const SnSlot *s)
{
	if (*place)
		return false;
	*place = s;
	return true;
}

static bool place_row(SnTexts *t, const SnSlot *s)
{
	if (s->dtype == SN_BOOL)
		return take(&t->real[0], s) || take(&t->real[1], s);
	if (s->dtype != SN_I32)
		return false;
	if (s->optional)
		return take(&t->tags, s);
	if (take(&t->ids[0], s))
		return true;
	return s->rows == t->ids[0]->rows ? take(&t->ids[1], s) : take(&t->types, s);
}

/* The places of masks: whole numbers along an axis of their own, where masks are what is shown. */
static bool take_masks(SnTexts *t, const SnAsked *a, const SnSlot *s)
{
	bool shown = !strcmp(sn_str(a->o, "data.show", ""), "masks");
	const SnAxis *x = s->axes;
	if (!shown || s->dtype != SN_I32 || s->optional || !take(&t->masks, s))
		return false;
	t->M = (int)x[1].sym;
	return true;
}

static int place(SnTexts *t, const SnAsked *a, const SnSlot *s)
{
	const SnAxis *x = s->axes;
	const SnSym *syms = a->entry->syms;
	for (int i = 0; i < s->rank; i++)
		if (x[i].sym < 0 || x[i].scale != 1 || x[i].offset)
			return wrong(a, s, "has an axis that is not just B or T");
	if (s->rank < 1 || s->rank > 2 || strcmp(syms[x[0].sym].name, "B"))
		return wrong(a, s, "is neither [B,T] nor [B]");
	t->B = (int)x[0].sym;
	if (s->rank == 1)
		return (s->dtype == SN_I32 && (take(&t->label, s) || take(&t->last, s))) || (s->dtype == SN_F32 && take(&t->value, s)) ? SN_OK
			 : wrong(a, s, "is one too many, or of another type");
	if (t->T >= 0 && t->T != x[1].sym)
		return take_masks(t, a, s) ? SN_OK : wrong(a, s, "has an axis of its own");
	t->T = (int)x[1].sym;
	return place_row(t, s) ? SN_OK : wrong(a, s, "is one too many, or of another type");
}

static int32_t padding(const SnTokenizer *t)
{
	static const char *const names[] = {"[PAD]", "<pad>", "<|pad|>", "<|endoftext|>"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (sn_special(t, names[i]) >= 0)
			return sn_special(t, names[i]);
	return 0;
}

static int32_t mask_of(const SnTokenizer *t)
{
	int32_t id = sn_special(t, "[MASK]");
	return id >= 0 ? id : sn_special(t, "<mask>");
}

static void count_special(SnTexts *t)
{
	SnIds none = {0}, ids = {0}, types = {0};
	sn_post_process(t->tokenizer, &none, NULL, &ids, &types);
	t->special[0] = (int)ids.n;
	ids.n = types.n = 0;
	sn_post_process(t->tokenizer, &none, &none, &ids, &types);
	t->special[1] = (int)ids.n;
	free(ids.at);
	free(types.at);
}

int sn_texts_open(SnTexts *t, const SnAsked *a)
{
	*t = (SnTexts){.B = -1, .T = -1, .M = -1, .tokenizer = a->data->tokenizer, .mask = mask_of(a->data->tokenizer), .encoder = sn_encoder_open(a->data->tokenizer)};
	const SnSlot *s = a->f->slots;
	int code = SN_OK;
	for (int64_t i = 0; i < a->f->nslot && !code; i++)
		if (sn_slot_is_fed(&s[i]))
			code = place(t, a, &s[i]);
	if (!code && !t->ids[0])
		code = sn_fail(SN_USAGE, "%s has no input of tokens: give --inputs FILE", sn_text(a->entry->name));
	if (!code && !t->real[0])
		code = sn_fail(SN_USAGE, "%s has no input bool[B,T] that tells what is real of texts of several lengths: give --inputs FILE", sn_text(a->entry->name));
	if (code)
		return code;
	const SnSym *syms = t->syms = a->entry->syms;
	double max = sn_num(a->o, "data.max", 0);
	t->most = a->T > 0 && a->T < syms[t->T].bound ? a->T : syms[t->T].bound;
	if (max >= 1 && max < (double)t->most)
		t->most = (int64_t)max;
	t->pad = padding(t->tokenizer);
	count_special(t);
	return t->special[1] < t->most ? SN_OK : sn_fail(SN_USAGE, "rows of %lld tokens have no room for a text: build it with a greater T", (long long)t->most);
}

void sn_texts_close(SnTexts *t)
{
	sn_encoder_close(t->encoder);
	free(t->pool.at);
	free(t->kinds.at);
	free(t->at);
	free(t->labels);
	free(t->values);
	free(t->lasts);
	if (t->truth)
		t->forget(t->truth);
	*t = (SnTexts){0};
}

/* --- rows */

/* Takes ids from the longer text's end, one after the other, until both fit. */
static bool cut(SnIds *a, SnIds *b, int64_t room)
{
	bool any = false;
	for (; a->n + (b ? b->n : 0) > room; any = true)
		(b && b->n > a->n ? b : a)->n--;
	return any;
}

static SnText *add_row(SnTexts *t)
{
	if (t->n == t->cap) {
		t->cap = t->cap ? t->cap * 2 : 256;
		t->at = sn_realloc(t->at, sizeof *t->at * (size_t)t->cap);
	}
	t->at[t->n] = (SnText){.row = t->n};
	return &t->at[t->n++];
}

static void put(SnTexts *t, SnText *x, int which, SnIds *a, SnIds *b)
{
	x->at[which] = t->pool.n;
	sn_post_process(t->tokenizer, a, b, &t->pool, &t->kinds);
	x->n[which] = (int32_t)(t->pool.n - x->at[which]);
	for (int64_t i = x->at[which]; i < t->pool.n && which == 0; i++)
		x->masks += t->pool.at[i] == t->mask;
}

static int too_many_masks(const SnTexts *t, const SnText *x, const char *what)
{
	const SnSym *m = &t->syms[t->M];
	return sn_fail(SN_DATA, "%s: %d masks in it, and this program looks at %lld of a text: build it with --set %s=%d", what, (int)x->masks, (long long)m->bound,
	               sn_text(m->name), (int)x->masks);
}

int sn_texts_add(SnTexts *t, SnCell a, SnCell b, const char *what)
{
	SnIds ids[2] = {{0}};
	bool apart = t->ids[1], pair = b.s && !apart, shorter;
	int code = sn_encoder_add(t->encoder, a.s, a.n, what, &ids[0]);
	if (!code && b.s)
		code = sn_encoder_add(t->encoder, b.s, b.n, what, &ids[1]);
	if (!code) {
		SnText *x = add_row(t);
		shorter = cut(&ids[0], pair ? &ids[1] : NULL, t->most - t->special[pair]);
		if (apart)
			shorter |= cut(&ids[1], NULL, t->most - t->special[0]);
		put(t, x, 0, &ids[0], pair ? &ids[1] : NULL);
		if (apart)
			put(t, x, 1, &ids[1], NULL);
		t->cut += shorter;
		if (!x->n[0] || (apart && !x->n[1]))
			code = sn_fail(SN_DATA, "%s: a text without any token", what);
		if (!code && t->masks && x->masks > t->syms[t->M].bound)
			code = too_many_masks(t, x, what);
	}
	free(ids[0].at);
	free(ids[1].at);
	return code;
}

void sn_texts_put(SnTexts *t, SnIds *a, SnIds *b)
{
	put(t, add_row(t), 0, a, b);
}

int64_t sn_texts_length(const SnTexts *t, int64_t i)
{
	return t->at[i].n[0] > t->at[i].n[1] ? t->at[i].n[0] : t->at[i].n[1];
}

/* --- calls */

static void fill_ids(const SnTexts *t, SnSession *s, const SnSlot *slot, const int32_t *from, int which, const int64_t *pick, int64_t n, int64_t T, int32_t rest)
{
	int32_t *out = slot ? (int32_t *)(s->arena + slot->offset) : NULL;
	for (int64_t i = 0; i < n && slot; i++, out += T) {
		const SnText *x = &t->at[pick[i]];
		memcpy(out, from + x->at[which], sizeof *out * (size_t)x->n[which]);
		for (int64_t k = x->n[which]; k < T; k++)
			out[k] = rest;
	}
}

static void fill_real(const SnTexts *t, SnSession *s, int which, const int64_t *pick, int64_t n, int64_t T)
{
	char *out = t->real[which] ? s->arena + t->real[which]->offset : NULL;
	for (int64_t i = 0; i < n && out; i++, out += T) {
		int32_t len = t->at[pick[i]].n[which];
		memset(out, 1, (size_t)len);
		memset(out + len, 0, (size_t)(T - len));
	}
}

static void fill_masks(const SnTexts *t, SnSession *s, const int64_t *pick, int64_t n)
{
	int64_t M = 1;
	int32_t *out = (int32_t *)(s->arena + t->masks->offset);
	for (int64_t i = 0; i < n; i++)
		M = t->at[pick[i]].masks > M ? t->at[pick[i]].masks : M;
	s->dims[t->M] = M;
	for (int64_t i = 0; i < n; i++, out += M) {
		const SnText *x = &t->at[pick[i]];
		int64_t found = 0;
		for (int32_t k = 0; k < x->n[0]; k++)
			if (t->pool.at[x->at[0] + k] == t->mask)
				out[found++] = k;
		for (; found < M; found++)
			out[found] = 0;
	}
}

void sn_texts_fill(const SnTexts *t, SnSession *s, const int64_t *pick, int64_t n)
{
	enum { IGNORED = -100 };
	int64_t T = 1;
	for (int64_t i = 0; i < n; i++)
		T = sn_texts_length(t, pick[i]) > T ? sn_texts_length(t, pick[i]) : T;
	s->dims[t->B] = n;
	s->dims[t->T] = T;
	for (int which = 0; which < 2; which++) {
		fill_ids(t, s, t->ids[which], t->pool.at, which, pick, n, T, t->pad);
		fill_real(t, s, which, pick, n, T);
	}
	fill_ids(t, s, t->types, t->kinds.at, 0, pick, n, T, 0);
	fill_ids(t, s, t->tags, t->labels, 0, pick, n, T, IGNORED);
	if (t->masks)
		fill_masks(t, s, pick, n);
	for (int64_t i = 0; i < n; i++) {
		if (t->label)
			((int32_t *)(s->arena + t->label->offset))[i] = t->labels[t->at[pick[i]].row];
		if (t->last)
			((int32_t *)(s->arena + t->last->offset))[i] = t->lasts[t->at[pick[i]].row];
		if (t->value)
			((float *)(s->arena + t->value->offset))[i] = t->values[t->at[pick[i]].row];
	}
}

/* --- orders */

typedef struct Place { int64_t length, i; } Place;

static int by_length(const void *a, const void *b)
{
	const Place *x = a, *y = b;
	return x->length != y->length ? (x->length < y->length) - (x->length > y->length) : (x->i > y->i) - (x->i < y->i);
}

/* order[0..n) with the longest first; of equals the first first. */
static void sort(const SnTexts *t, int64_t *order, int64_t n)
{
	Place *p = sn_alloc(sizeof *p * (size_t)(n + 1));
	int64_t *old = sn_alloc(sizeof *old * (size_t)(n + 1));
	for (int64_t i = 0; i < n; i++) {
		old[i] = order[i];
		p[i] = (Place){sn_texts_length(t, order[i]), i};
	}
	qsort(p, (size_t)n, sizeof *p, by_length);
	for (int64_t i = 0; i < n; i++)
		order[i] = old[p[i].i];
	free(old);
	free(p);
}

int64_t *sn_texts_sorted(const SnTexts *t, int64_t first, int64_t n)
{
	int64_t *order = sn_alloc(sizeof *order * (size_t)(n + 1));
	for (int64_t i = 0; i < n; i++)
		order[i] = first + i;
	sort(t, order, n);
	return order;
}

void sn_texts_order(SnTexts *t, int64_t first)
{
	int64_t *order = sn_texts_sorted(t, first, t->n - first);
	SnText *old = sn_alloc(sizeof *old * (size_t)(t->n + 1));
	memcpy(old, t->at, sizeof *old * (size_t)t->n);
	for (int64_t i = first; i < t->n; i++)
		t->at[i] = old[order[i - first]];
	free(old);
	free(order);
}

/* Batches of one window change places, so that lengths don't come in order. */
static void shuffle_batches(int64_t *order, int64_t batches, int64_t batch, int64_t at, uint32_t key)
{
	for (int64_t i = batches - 1; i > 0; i--) {
		int64_t k = sn_below(i + 1, (uint32_t)(at + i), (uint32_t)((at + i) >> 32), key);
		for (int64_t j = 0; j < batch && k != i; j++) {
			int64_t x = order[i * batch + j];
			order[i * batch + j] = order[k * batch + j];
			order[k * batch + j] = x;
		}
	}
}

/* order[0..n) is a pass's; its first whole batch begins at `offset`, since passes follow one another without a break. Within windows of 64
 * batches examples are put by length, so that a batch has rows of nearly equal length. */
void sn_texts_bucket(const SnTexts *t, int64_t *order, int64_t n, int64_t batch, int64_t offset, uint32_t key)
{
	enum { WINDOW = 64 };
	key = sn_hash32(&key, sizeof key, STREAM);
	for (int64_t at = offset, now; at + batch <= n; at += now) {
		int64_t batches = (n - at) / batch < WINDOW ? (n - at) / batch : WINDOW;
		now = batches * batch;
		sort(t, order + at, now);
		shuffle_batches(order + at, batches, batch, at, key);
	}
}
