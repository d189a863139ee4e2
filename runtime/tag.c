/* tag.c: an infer entry that tags words: each word's tag is its first piece's. Against tags that the data has, the share of words that
 * are right, and of entities: spans of B-X I-X .. as CoNLL's evaluation has them (Tjong Kim Sang and De Meulder 2003). */
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
	int64_t right, judged, entities[3];   /* words; entities of the data, of the model, of both */
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

/* --- entities */

typedef struct Span { int64_t from, to; const char *type; } Span;

static const char *type_of(const char *tag)
{
	const char *dash = tag && (tag[0] == 'B' || tag[0] == 'I') && tag[1] == '-' ? tag + 2 : NULL;
	return dash;
}

/* The entity that begins at *at or behind it, before n; an I without a B before it begins one. */
static bool next_entity(const char *const *tags, int64_t n, int64_t *at, Span *e)
{
	while (*at < n && !type_of(tags[*at]))
		++*at;
	if (*at == n)
		return false;
	*e = (Span){*at, *at + 1, type_of(tags[*at])};
	while (e->to < n && tags[e->to] && tags[e->to][0] == 'I' && type_of(tags[e->to]) && !strcmp(type_of(tags[e->to]), e->type))
		e->to++;
	*at = e->to;
	return true;
}

static void count_entities(Tagging *t, const char *const *truth, const char *const *said, int64_t n)
{
	int64_t i = 0, k = 0;
	Span a, b;
	bool x = next_entity(truth, n, &i, &a), y = next_entity(said, n, &k, &b);
	while (x || y) {
		bool both = x && y && a.from == b.from;
		t->entities[2] += both && a.to == b.to && !strcmp(a.type, b.type);
		bool first = both || (x && (!y || a.from < b.from)), second = both || !first;
		t->entities[0] += first;
		t->entities[1] += second;
		if (first)
			x = next_entity(truth, n, &i, &a);
		if (second)
			y = next_entity(said, n, &k, &b);
	}
}

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
		count_entities(t, truth, t->said + from, n);
	free(truth);
	return code;
}

static void put_score(const Tagging *t, SnStr *s)
{
	const int64_t *e = t->entities;
	sn_str_printf(s, "{\"accuracy\":");
	sn_json_number(s, (double)t->right / (double)t->judged);
	if (e[0] || e[1]) {
		sn_str_printf(s, ",\"precision\":");
		sn_json_number(s, e[1] ? (double)e[2] / (double)e[1] : 0);
		sn_str_printf(s, ",\"recall\":");
		sn_json_number(s, e[0] ? (double)e[2] / (double)e[0] : 0);
		sn_str_printf(s, ",\"f1\":");
		sn_json_number(s, 2 * (double)e[2] / (double)(e[0] + e[1]));
		sn_str_printf(s, ",\"entities\":%lld", (long long)e[0]);
	}
	sn_str_printf(s, ",\"words\":%lld}", (long long)t->judged);
}

static int judge(Tagging *t)
{
	bool asked = sn_given(t->p.o, "score");
	int code = SN_OK;
	SnStr s = {0};
	for (int64_t i = 0; i < t->w.n && t->w.tagged && !code; i++)
		code = judge_row(t, i);
	if (!code && asked && !t->judged)
		code = sn_fail(SN_DATA, "--score wants --data with tags");
	if (!code && t->judged) {
		put_score(t, &s);
		if (asked)
			printf("%s\n", s.s);
		else if (!sn_given(t->p.o, "quiet"))
			sn_note("%s", s.s);
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

static void print(const Tagging *t)
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
		fwrite(s.s, 1, s.n, stdout);
	}
	free(s.s);
}

/* --- the command */

static int ready(Tagging *t, const char *checkpoint)
{
	SnPredict *p = &t->p;
	int code = sn_given(p->o, "output") ? sn_fail(SN_USAGE, "tags are printed: -o FILE is for the results of --inputs FILE") : sn_predict_open(p, checkpoint);
	if (!code && p->x.ids[1])
		code = sn_fail(SN_USAGE, "%s has two texts: words(..) is of one", sn_text(p->o->entry->name));
	if (!code)
		code = take(t);
	if (!code)
		code = sn_words_encode(&t->w, &p->x, &t->pieces);
	p->n = p->x.n;
	if (!code)
		code = sn_data_check(p->o, p->x.tokenizer, &p->x.pool, t->w.table.path ? t->w.table.path : "the text");
	if (!code)
		code = sn_predict_ready(p, checkpoint);
	if (!code && (p->nout != 1 || !p->out[0].along || p->out[0].slot->dtype != SN_F32))
		code = sn_fail(SN_USAGE, "%s: words(..) wants one result f32[B,T,C]", sn_text(p->o->entry->name));
	return code;
}

int sn_tag_main(const SnOptions *o)
{
	Tagging t = {.p = {.o = o, .run = sn_function(o->entry, "run")}};
	char *checkpoint = NULL;
	int code = sn_model_find(o, &checkpoint);
	if (!code)
		code = ready(&t, checkpoint);
	if (!code) {
		sn_predict_run(&t.p);
		take_tags(&t);
		code = judge(&t);
	}
	if (!code && !sn_given(o, "score"))
		print(&t);
	if (!code)
		sn_predict_note(&t.p, t.p.n, "sentences");
	sn_words_close(&t.w);
	sn_predict_close(&t.p);
	free(t.pieces.at);
	free(t.said);
	free(t.score);
	free(t.numbers);
	free(checkpoint);
	return code;
}
