/* unicode.c: properties of characters, lower case and the four normalisation forms (UAX 15), from tables of 19 KB that
 * gen/unicode.c prints when the runtime is built. They are unpacked once, when a tokenizer first asks for them, into arrays by code
 * point, of which only pages that have something are touched. */
#include "runtime/tokens.h"
#include "runtime/unicode.inc"

#include <stdlib.h>
#include <string.h>

enum { CODES = 0x110000, FORMS = 0x30000, LOWER = 0x20000, PAIRS = 4096 };
enum { HANGUL = 0xAC00, HANGUL_N = 11172, LEAD = 0x1100, LEAD_N = 19, VOWEL = 0x1161, VOWEL_N = 21, TRAIL = 0x11A7, TRAIL_N = 28 };
enum { FOR_GOOD, COMPOSES, COMPAT };                          /* kinds of forms, as gen/unicode.c has them */

typedef struct Pair { uint32_t a, b, c; } Pair;
static struct {
	uint8_t *classes, *marks;     /* (CODES) */
	uint32_t *forms, *parts;      /* (FORMS) where in parts: length * 4 + kind, then the code points; 0: none */
	int32_t *lower;               /* (LOWER) what is to be added */
	Pair *pairs;                  /* PAIRS, hashed; c 0: free */
} uni;

static uint32_t number(const unsigned char *p, size_t *at)
{
	uint32_t v = 0;
	for (int shift = 0;; shift += 7) {
		unsigned char b = p[(*at)++];
		v |= (uint32_t)(b & 0x7F) << shift;
		if (b < 0x80)
			return v;
	}
}

static int32_t difference(const unsigned char *p, size_t *at)
{
	uint32_t d = number(p, at);
	return d & 1 ? -(int32_t)((d + 1) / 2) : (int32_t)(d / 2);
}

/* An entry's first number; times: how often the entry comes. */
static uint32_t entry(const unsigned char *p, size_t *at, uint32_t *times)
{
	uint32_t first = number(p, at);
	*times = first & 1 ? number(p, at) + 1 : 1;
	return first / 2;
}

static uint8_t *load_runs(const unsigned char *p, size_t n, uint32_t base)
{
	uint8_t *all = sn_alloc(CODES);
	uint32_t c = 0;
	for (size_t at = 0; at < n;) {
		uint32_t v = number(p, &at), len = v / base;
		if (v % base)
			memset(all + c, (int)(v % base), len);
		c += len;
	}
	return all;
}

static Pair *pair_at(uint32_t a, uint32_t b)
{
	uint32_t i = (a * 0x9E3779B1u ^ b * 0x85EBCA6Bu) >> 7 & (PAIRS - 1);
	while (uni.pairs[i].c && (uni.pairs[i].a != a || uni.pairs[i].b != b))
		i = (i + 1) & (PAIRS - 1);
	return &uni.pairs[i];
}

static void load_forms(void)
{
	uni.forms = sn_alloc(sizeof *uni.forms * FORMS);
	uni.parts = sn_alloc(sizeof *uni.parts * UNI_PARTS);
	uni.pairs = sn_alloc(sizeof *uni.pairs * PAIRS);
	uint32_t c = 0, n = 1, last[32] = {0};
	for (size_t at = 0; at < sizeof uni_forms;) {
		int32_t more[32];
		uint32_t times, head = entry(uni_forms, &at, &times), far = head & 1 ? number(uni_forms, &at) : 1, len = head / 8;
		for (uint32_t i = 0; i < len; i++)
			more[i] = difference(uni_forms, &at);
		for (; times; times--) {
			c += far;
			uni.forms[c] = n;
			uni.parts[n++] = head / 2;
			for (uint32_t i = 0; i < len; i++)
				uni.parts[n++] = last[i] = (uint32_t)((int32_t)last[i] + more[i]);
			if (head / 2 % 4 == COMPOSES)
				*pair_at(last[0], last[1]) = (Pair){last[0], last[1], c};
		}
	}
}

static void load_lower(void)
{
	uni.lower = sn_alloc(sizeof *uni.lower * LOWER);
	uint32_t c = 0;
	for (size_t at = 0; at < sizeof uni_lower;) {
		uint32_t times, far = entry(uni_lower, &at, &times);
		int32_t more = difference(uni_lower, &at);
		for (; times; times--) {
			c += far;
			uni.lower[c] = more;
		}
	}
}

void sn_uni_load(void)
{
	if (uni.classes)
		return;
	uni.classes = load_runs(uni_classes, sizeof uni_classes, 8);
	uni.marks = load_runs(uni_marks, sizeof uni_marks, 256);
	load_forms();
	load_lower();
}

int sn_uni_class(uint32_t c)
{
	return uni.classes[c];
}

bool sn_uni_white(uint32_t c)
{
	return c < 0x80 ? c == ' ' || (c >= '\t' && c <= '\r') : c == 0x85 || uni.classes[c] == SN_U_SPACE;
}

bool sn_uni_punct(uint32_t c)
{
	if (c < 0x80)
		return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
	return uni.classes[c] == SN_U_PUNCT;
}

int sn_uni_mark(uint32_t c)
{
	return uni.marks[c];
}

int sn_uni_lower(uint32_t c, uint32_t out[2])
{
	if (c == 0x130) {             /* the one letter whose lower case is two */
		out[0] = 'i';
		out[1] = 0x307;
		return 2;
	}
	out[0] = c < LOWER ? (uint32_t)((int32_t)c + uni.lower[c]) : c;
	return 1;
}

/* --- normalisation forms: a starter (combining class 0) waits with the marks behind it until the next starter comes. */

typedef struct Waiting {
	uint32_t *at;
	size_t n, cap;
	bool compat, compose;
	SnStr *out;
} Waiting;

static void put(SnStr *out, uint32_t c)
{
	char text[4];
	sn_str_add(out, text, (size_t)sn_utf8_write(text, c));
}

/* Canonical order: a stable sort by class; insertion for the few marks there are, counting where someone wrote many. */
static void order(uint32_t *at, size_t n)
{
	if (n <= 32) {
		for (size_t i = 1; i < n; i++)
			for (size_t k = i; k && uni.marks[at[k - 1]] > uni.marks[at[k]]; k--) {
				uint32_t c = at[k];
				at[k] = at[k - 1];
				at[k - 1] = c;
			}
		return;
	}
	size_t place[257] = {0};
	uint32_t *copy = sn_alloc(sizeof *copy * n);
	memcpy(copy, at, sizeof *copy * n);
	for (size_t i = 0; i < n; i++)
		place[uni.marks[at[i]] + 1]++;
	for (int m = 1; m < 257; m++)
		place[m] += place[m - 1];
	for (size_t i = 0; i < n; i++)
		at[place[uni.marks[copy[i]]]++] = copy[i];
	free(copy);
}

/* What two code points compose to; 0: nothing. */
static uint32_t composed(uint32_t a, uint32_t b)
{
	if (a >= LEAD && a < LEAD + LEAD_N && b >= VOWEL && b < VOWEL + VOWEL_N)
		return HANGUL + ((a - LEAD) * VOWEL_N + (b - VOWEL)) * TRAIL_N;
	if (a >= HANGUL && a < HANGUL + HANGUL_N && (a - HANGUL) % TRAIL_N == 0 && b > TRAIL && b < TRAIL + TRAIL_N)
		return a + (b - TRAIL);
	return pair_at(a, b)->c;
}

/* Marks that compose with the starter go into it: each that no other of its class or above stands before. */
static void compose(Waiting *w)
{
	size_t kept = 1;
	int last = 0;
	for (size_t i = 1; i < w->n; i++) {
		int mark = uni.marks[w->at[i]];
		uint32_t c = last < mark || kept == 1 ? composed(w->at[0], w->at[i]) : 0;
		if (c) {
			w->at[0] = c;
		} else {
			w->at[kept++] = w->at[i];
			last = mark;
		}
	}
	w->n = kept;
}

/* Orders and composes what waits. */
static void settle(Waiting *w)
{
	bool starts = w->n && !uni.marks[w->at[0]];
	if (w->n > (size_t)starts + 1)
		order(w->at + starts, w->n - starts);
	if (w->compose && starts && w->n > 1)
		compose(w);
}

static void flush(Waiting *w)
{
	for (size_t i = 0; i < w->n; i++)
		put(w->out, w->at[i]);
	w->n = 0;
}

static void wait(Waiting *w, uint32_t c)
{
	if (!uni.marks[c]) {
		settle(w);
		uint32_t both = w->compose && w->n == 1 && !uni.marks[w->at[0]] ? composed(w->at[0], c) : 0;
		if (both) {
			w->at[0] = both;
			return;
		}
		flush(w);
	}
	if (w->n == w->cap) {
		w->cap = w->cap ? w->cap * 2 : 64;
		w->at = sn_realloc(w->at, sizeof *w->at * w->cap);
	}
	w->at[w->n++] = c;
}

static void decompose(Waiting *w, uint32_t c)
{
	if (c >= HANGUL && c < HANGUL + HANGUL_N) {
		uint32_t i = c - HANGUL;
		wait(w, LEAD + i / (VOWEL_N * TRAIL_N));
		wait(w, VOWEL + i / TRAIL_N % VOWEL_N);
		if (i % TRAIL_N)
			wait(w, TRAIL + i % TRAIL_N);
		return;
	}
	const uint32_t *form = uni.parts + (c < FORMS ? uni.forms[c] : 0);
	if (!form[0] || (form[0] % 4 == COMPAT && !w->compat)) {
		wait(w, c);
		return;
	}
	for (uint32_t i = 0; i < form[0] / 4; i++)
		decompose(w, form[1 + i]);
}

void sn_uni_normal(SnStr *out, const char *s, size_t n, bool compat, bool compose)
{
	Waiting w = {.compat = compat, .compose = compose, .out = out};
	for (size_t at = 0, from; at < n;) {
		for (from = at; at < n && (unsigned char)s[at] < 0x80; at++)
			;
		if (at > from) {              /* ASCII stays; its last may compose with what follows */
			settle(&w);
			flush(&w);
			size_t plain = at - from - (at < n);
			sn_str_add(out, s + from, plain);
			if (at < n)
				wait(&w, (unsigned char)s[at - 1]);
			continue;
		}
		uint32_t c;
		at += (size_t)sn_utf8_read(s + at, n - at, &c);
		decompose(&w, c);
	}
	settle(&w);
	flush(&w);
	free(w.at);
}
