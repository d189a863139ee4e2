/* squad.c: answers that scores of first and last tokens tell, and how they are judged: exact matches and the F1 of words, as the official evaluations
 * of SQuAD 1.1 and 2.0 have them (Rajpurkar et al. 2016, 2018). Of all spans of all windows of a question the one whose first and last token have the
 * greatest sum of scores is told; or that there is none, where that may be: no answer's score is the least of the windows' scores of their first place. */
#include "runtime/tables.h"
#include "runtime/tokens.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- what is told */

int sn_reading_settle(SnReading *r, const SnOptions *o, const char *checkpoint)
{
	json_t *config = sn_config_read(checkpoint);
	r->most = (int64_t)sn_num(o, "data.answer", 30);
	r->threshold = sn_num(o, "data.null_threshold", 0);
	r->nullable = sn_overridden(o, "data.null_threshold") || r->q.without || json_is_true(json_object_get(config, "no_answer"));
	json_decref(config);
	return config ? SN_OK : SN_DATA;
}

void sn_reading_remember(const SnReading *r, SnData *data)
{
	if (r->nullable)
		sn_data_remember(data, sn_json_pack("{s:b}", "no_answer", 1));
}

void sn_reading_close(SnReading *r)
{
	sn_windows_close(&r->w);
	sn_questions_close(&r->q);
}

static void add_span(SnFound *f, double score, int32_t from, int32_t to)
{
	if (!f->seen || score > f->best)
		*f = (SnFound){true, score, f->sum * exp(f->best - score) + 1, f->none, from, to};
	else
		f->sum += exp(score - f->best);
}

void sn_reading_look(const SnReading *r, int64_t row, const float *first, const float *last, SnFound *found)
{
	const SnWindow *w = &r->w.at[row];
	const float *starts = first + w->base, *ends = last + w->base;
	const int32_t *from = r->w.from.at + w->first, *to = r->w.to.at + w->first;
	SnFound *f = &found[w->question];
	double none = (double)first[0] + (double)last[0];
	f->none = f->seen ? fmin(f->none, none) : none;
	for (int64_t a = 0; a < w->n; a++)
		for (int64_t b = a; b < w->n && b < a + r->most; b++)
			add_span(f, (double)starts[a] + (double)ends[b], from[a], to[b]);
}

bool sn_reading_is_none(const SnReading *r, const SnFound *f)
{
	return r->nullable && f->none - f->best > r->threshold;
}

SnCell sn_reading_told(const SnReading *r, const SnFound *found, int64_t i)
{
	const SnFound *f = &found[i];
	return sn_reading_is_none(r, f) ? (SnCell){"", 0} : (SnCell){r->q.at[i].context.s + f->from, (size_t)(f->to - f->from)};
}

/* --- normalised answers */

typedef struct Word { const char *s; size_t n; } Word;
typedef struct Answer { SnStr text; Word *words; int64_t n; } Answer;

/* Lower case, without ASCII's punctuation, blanks as such. */
static void lower(const char *s, size_t n, SnStr *out)
{
	sn_str_add(out, "", 0);
	for (size_t at = 0, k; at < n; at += k) {
		uint32_t c, low[2];
		char text[4];
		k = (size_t)sn_utf8_read(s + at, n - at, &c);
		if (c < 0x80 && sn_uni_punct(c))
			continue;
		if (sn_uni_white(c)) {
			sn_str_add(out, " ", 1);
			continue;
		}
		int count = sn_uni_lower(c, low);
		for (int i = 0; i < count; i++)
			sn_str_add(out, text, (size_t)sn_utf8_write(text, low[i]));
	}
}

/* Bytes from s on of letters and digits, as \w of Python's regular expressions. */
static size_t letters(const char *s, size_t n)
{
	size_t at = 0;
	for (uint32_t c; at < n; at += (size_t)sn_utf8_read(s + at, n - at, &c)) {
		sn_utf8_read(s + at, n - at, &c);
		bool wordy = sn_uni_class(c) == SN_U_OTHER || sn_uni_class(c) == SN_U_NUMBER;
		if (!wordy)
			break;
	}
	return at;
}

static bool is_article(const char *s, size_t n)
{
	return (n == 1 && *s == 'a') || (n == 2 && !memcmp(s, "an", 2)) || (n == 3 && !memcmp(s, "the", 3));
}

/* \b(a|an|the)\b becomes blank. */
static void drop_articles(SnStr *text)
{
	for (size_t at = 0, k; at < text->n; at = k ? at + k : sn_utf8_after(text->s, text->n, at)) {
		k = letters(text->s + at, text->n - at);
		if (is_article(text->s + at, k))
			memset(text->s + at, ' ', k);
	}
}

static Answer answer_of(SnCell c)
{
	Answer a = {{0}, NULL, 0};
	lower(c.s, c.n, &a.text);
	drop_articles(&a.text);
	a.words = sn_alloc(sizeof *a.words * (a.text.n / 2 + 1));
	for (const char *at = a.text.s; *(at += strspn(at, " ")); at += a.words[a.n++].n)
		a.words[a.n] = (Word){at, strcspn(at, " ")};
	return a;
}

static void answer_free(Answer *a)
{
	free(a->text.s);
	free(a->words);
}

static bool same_word(Word a, Word b)
{
	return a.n == b.n && !memcmp(a.s, b.s, a.n);
}

static bool same_answer(const Answer *a, const Answer *b)
{
	bool same = a->n == b->n;
	for (int64_t i = 0; i < a->n && same; i++)
		same = same_word(a->words[i], b->words[i]);
	return same;
}

static double f1_of(const Answer *a, const Answer *b)
{
	bool *used = sn_alloc((size_t)b->n + 1);
	int64_t common = 0;
	for (int64_t i = 0; i < a->n; i++)
		for (int64_t k = 0; k < b->n; k++)
			if (!used[k] && same_word(a->words[i], b->words[k])) {
				used[k] = true;
				common++;
				break;
			}
	free(used);
	if (!a->n || !b->n)
		return a->n == b->n;
	return 2 * (double)common / (double)(a->n + b->n);
}

/* --- judging */

/* 2.0 leaves out answers of which normalising leaves nothing, beside others. */
void sn_squad_marks(const SnQuestion *q, SnCell told, bool second, double *exact, double *f1)
{
	Answer said = answer_of(told);
	int kept = 0;
	*exact = *f1 = 0;
	for (int k = 0; k < q->ngold; k++) {
		Answer gold = answer_of((SnCell){q->gold[k].text, strlen(q->gold[k].text)});
		if (gold.n || !second) {
			*exact = same_answer(&said, &gold) ? 1 : *exact;
			*f1 = fmax(*f1, f1_of(&said, &gold));
			kept++;
		}
		answer_free(&gold);
	}
	if (!kept)
		*exact = *f1 = !said.n;
	answer_free(&said);
}

SnMarks sn_reading_judge(const SnReading *r, const SnFound *found)
{
	SnMarks m = {{0}, {0}, {0}};
	sn_uni_load();
	for (int64_t i = 0; i < r->q.n; i++) {
		const SnQuestion *q = &r->q.at[i];
		double exact, f1;
		if (!found[i].seen || (!q->ngold && !q->none))
			continue;
		sn_squad_marks(q, sn_reading_told(r, found, i), r->q.without, &exact, &f1);
		m.n[q->none]++;
		m.exact[q->none] += exact;
		m.f1[q->none] += f1;
	}
	return m;
}
