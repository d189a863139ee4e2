/* tag.c: an infer entry that tags words: each word's tag is its first piece's. Against tags that the data has, the share of words that
 * are right, and precision, recall and F1 of entities. */
#include "runtime/tables.h"

#include <stdlib.h>
#include <string.h>

typedef struct Tagging {
	SnPredict p;
	SnWords w;
	SnIds pieces;
	const char **said;            /* (nword) tags; NULL: the word was cut off, or has no token */
	float *score;
	char (*numbers)[16];          /* of labels without names */
	int64_t right, judged;        /* words */
	SnEntities entities;
} Tagging;

/* --- texts */

static int take(Tagging *t)
{
	const SnOptions *o = t->p.o;
	const char *path = sn_str(o, "data.file", NULL);
	int code = SN_OK;
	if (path && o->ntext)
		return sn_fail(SN_USAGE, "texts on the command line and --data exclude each other");
	if (path || (o->ntext == 1 && !strcmp(o->text[0], "-")))
		return sn_words_read(&t->w, o, path ? path : "-", false);
	if (!o->ntext)
		return sn_fail(SN_USAGE, "%s has nothing to run on: give a text, --data FILE (a text a line, or words; - for standard input), or --inputs FILE",
		               sn_text(o->entry->name));
	for (int i = 0; i < o->ntext && !code; i++)
		code = sn_words_split(&t->w, o->text[i], 0);
	return code;
}

/* --- results */

static const char *name_of(const Tagging *t, int64_t k)
{
	return k < t->p.names.n ? t->p.names.at[k] : t->numbers[k];
}

static void take_tag(Tagging *t, int64_t row, int64_t k, int64_t word)
{
	const SnOut *out = &t->p.out[0];
	const float *scores = (const float *)out->rows[row] + k * out->inner;
	int64_t best = 0;
	for (int64_t c = 1; c < out->inner; c++)
		if (scores[c] > scores[best])
			best = c;
	t->said[word] = name_of(t, best);
	t->score[word] = scores[best];
}

static void take_tags(Tagging *t)
{
	const SnTexts *x = &t->p.x;
	int64_t C = t->p.out[0].inner;
	t->numbers = sn_alloc(sizeof *t->numbers * (size_t)C);
	for (int64_t c = 0; c < C; c++)
		snprintf(t->numbers[c], sizeof t->numbers[c], "%d", (int)c);
	t->said = sn_alloc(sizeof *t->said * (size_t)t->w.nword);
	t->score = sn_alloc(sizeof *t->score * (size_t)t->w.nword);
	for (int64_t i = 0; i < x->n; i++)
		for (int64_t k = 0; k < x->at[i].n[0]; k++)
			if (t->pieces.at[x->at[i].at[0] + k] >= 0)
				take_tag(t, i, k, t->pieces.at[x->at[i].at[0] + k]);
}

/* --- judging */

static int judge_row(Tagging *t, int64_t row)
{
	const SnWords *w = &t->w;
	int64_t from = w->first[row], n = w->first[row + 1] - from;
	const char **truth = sn_alloc(sizeof *truth * (size_t)n);
	int code = SN_OK;
	for (int64_t i = from; i < from + n && !code && w->tags[i].s; i++) {
		truth[i - from] = w->tags[i].s;
		if (t->p.names.n && sn_names_find(&t->p.names, w->tags[i].s, w->tags[i].n) < 0)
			code = sn_fail(SN_DATA, "%s:%lld: the tag \"%s\" is none of the model's", w->table.path, (long long)w->lines[row], w->tags[i].s);
		t->judged += t->said[i] != NULL;
		t->right += t->said[i] && !strcmp(t->said[i], w->tags[i].s);
	}
	if (!code && truth[0])
		sn_entities_add(&t->entities, truth, t->said + from, n);
	free(truth);
	return code;
}

static void put(SnStr *s, const char *name, double x)
{
	sn_str_printf(s, "%s\"%s\":", s->n > 1 ? "," : "", name);
	sn_json_number(s, x);
}

static void put_score(const Tagging *t, SnStr *s)
{
	const SnEntities *e = &t->entities;
	sn_str_printf(s, "{");
	put(s, "accuracy", (double)t->right / (double)t->judged);
	if (e->true_ || e->told) {
		put(s, "precision", sn_entities_precision(e));
		put(s, "recall", sn_entities_recall(e));
		put(s, "f1", sn_entities_f1(e));
		sn_str_printf(s, ",\"entities\":%lld", (long long)e->true_);
	}
	sn_str_printf(s, ",\"words\":%lld}", (long long)t->judged);
}

static int judge(Tagging *t)
{
	int code = SN_OK;
	SnStr s = {0};
	for (int64_t i = 0; i < t->w.n && t->w.tagged && !code; i++)
		code = judge_row(t, i);
	if (!code && !t->judged && sn_given(t->p.o, "score"))
		code = sn_fail(SN_DATA, "--score wants --data with tags");
	if (!code && t->judged) {
		put_score(t, &s);
		sn_predict_score(&t->p, s.s);
	}
	free(s.s);
	return code;
}

/* --- out */

static void put_word(const Tagging *t, int64_t i, const char *text, int64_t *bytes, int64_t *chars, SnStr *s)
{
	const SnCell *word = &t->w.words[i];
	char *copy = sn_format("%.*s", (int)word->n, word->s);
	sn_str_printf(s, "{\"word\":");
	sn_json_string(s, copy);
	sn_str_printf(s, ",\"tag\":");
	if (t->said[i]) {
		sn_json_string(s, t->said[i]);
		sn_str_printf(s, ",\"score\":");
		sn_json_number(s, (double)t->score[i]);
	} else {
		sn_str_printf(s, "null");
	}
	if (text) {
		*chars += sn_characters(text + *bytes, t->w.at[i] - *bytes);
		*bytes = t->w.at[i];
		sn_str_printf(s, ",\"start\":%lld,\"end\":%lld", (long long)*chars, (long long)(*chars + sn_characters(word->s, (int64_t)word->n)));
	}
	sn_str_printf(s, "}");
	free(copy);
}

static void print(Tagging *t)
{
	SnStr s = {0};
	for (int64_t row = 0; row < t->w.n; row++) {
		const char *text = t->w.texts[row];
		int64_t bytes = 0, chars = 0;
		s.n = 0;
		sn_str_printf(&s, "{");
		if (text) {
			sn_str_printf(&s, "\"text\":");
			sn_json_string(&s, text);
			sn_str_printf(&s, ",");
		}
		sn_str_printf(&s, "\"words\":[");
		for (int64_t i = t->w.first[row]; i < t->w.first[row + 1]; i++) {
			sn_str_add(&s, ",", i > t->w.first[row]);
			put_word(t, i, text, &bytes, &chars, &s);
		}
		sn_str_printf(&s, "]}\n");
		sn_predict_put(&t->p, &s);
	}
	free(s.s);
}

/* --- the command */

static int encode(SnPredict *p)
{
	Tagging *t = p->own;
	int code = take(t);
	if (!code)
		code = sn_words_encode(&t->w, &p->x, &t->pieces);
	p->n = p->x.n;
	p->source = t->w.table.path;
	return code;
}

static bool fits(const SnPredict *p)
{
	return p->nout == 1 && p->out[0].along && p->out[0].slot->dtype == SN_F32;
}

static int show(SnPredict *p)
{
	Tagging *t = p->own;
	take_tags(t);
	int code = judge(t);
	if (!code && (p->filed || !sn_given(p->o, "score")))
		print(t);
	return code;
}

int sn_tag_main(const SnOptions *o)
{
	static const SnPredictWay way = {"tags", "words(..) is of one", encode, show, fits, "words(..) wants one result f32[B,T,C]", "sentences"};
	Tagging t = {.p = {.o = o, .own = &t}};
	int code = sn_predict(&t.p, &way);
	sn_words_close(&t.w);
	free(t.pieces.at);
	free(t.said);
	free(t.score);
	free(t.numbers);
	return code;
}
