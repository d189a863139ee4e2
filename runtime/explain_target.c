/* explain_target.c: which score is explained: of the results that the entry returns, the place, and the class or token there. What no flag
 * says is the likeliest. */
#include "runtime/explain.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const float *sn_explain_row(const SnScores *s, int64_t row)
{
	return s->at + (s->placed ? row * s->C : 0);
}

double sn_share(const float *scores, int64_t n, int32_t id)
{
	return n > 1 ? exp((double)scores[id] - sn_log_sum(scores, n)) : 1;
}

void sn_likeliest_few(const float *scores, int64_t n, SnLikely *out, int *count)
{
	*count = 0;
	double sum = n > 1 ? sn_log_sum(scores, n) : 0;
	for (int64_t i = 0; i < n; i++) {
		int at = *count < SN_TOP ? (*count)++ : SN_TOP - 1;
		if (at == SN_TOP - 1 && *count == SN_TOP && i >= SN_TOP && !(scores[i] > scores[out[at].id]))
			continue;
		for (; at > 0 && scores[i] > scores[out[at - 1].id]; at--)
			out[at] = out[at - 1];
		out[at].id = (int32_t)i;
	}
	for (int i = 0; i < *count; i++)
		out[i].share = n > 1 ? exp((double)scores[out[i].id] - sum) : 1;
}

/* --- which result */

static int64_t first_mask(const SnExplain *x)
{
	static const char *const names[] = {"[MASK]", "<mask>"};
	for (int k = 0; k < 2; k++) {
		int32_t mask = sn_special(x->data.tokenizer, names[k]);
		for (int64_t i = 0; mask >= 0 && i < x->T; i++)
			if (x->ids.at[i] == mask)
				return i;
	}
	return -1;
}

static const SnScores *named(const SnExplain *x, const char *name)
{
	const char *names[SN_MAX_SCORES];
	for (int i = 0; i < x->nscores; i++) {
		names[i] = x->scores[i].slot->name;
		if (!strcmp(names[i], name))
			return &x->scores[i];
	}
	const char *near = sn_nearest(name, names, x->nscores);
	SnStr all = {0};
	for (int i = 0; i < x->nscores; i++)
		sn_str_printf(&all, "%s%s", i ? ", " : "", names[i]);
	sn_fail(SN_USAGE, "--of %s: %s returns %s%s%s%s", name, sn_text(x->entry->name), all.s, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
	free(all.s);
	return NULL;
}

/* Where no flag says: classes if a class is asked for, or if no place is and no word is masked; else the first result. */
static const SnScores *result_of(const SnExplain *x)
{
	const SnOptions *o = x->o;
	bool placed = sn_given(o, "position") || sn_given(o, "token") || (!x->causal && first_mask(x) >= 0);
	if (sn_given(o, "of"))
		return named(x, sn_str(o, "of", ""));
	for (int i = 0; i < x->nscores; i++)
		if (sn_given(o, "class") ? !x->scores[i].placed : x->causal || x->scores[i].placed == placed)
			return &x->scores[i];
	return &x->scores[0];
}

/* --- where */

static int find_place(SnExplain *x, SnTarget *t)
{
	int64_t last = x->T - 1 + x->causal, mask = first_mask(x);
	t->place = t->row = -1;
	if (!t->of->placed)
		return sn_given(x->o, "position") ? sn_fail(SN_USAGE, "--position is for scores of each place; %s has one for the whole text", sn_text(t->of->slot->name)) : SN_OK;
	t->place = x->causal || mask < 0 ? last : mask;
	for (; !x->causal && mask < 0 && t->place > 0 && x->places.at[t->place] < 0; t->place--)
		;
	t->place = (int64_t)sn_num(x->o, "position", (double)t->place);
	if (t->place > last || t->place < x->causal)
		return sn_fail(SN_USAGE, "--position %lld: the text has tokens 0 to %lld%s", (long long)t->place, (long long)x->T - 1,
		               x->causal ? "; the first is predicted by none, the one behind the last is what would be generated" : "");
	t->row = t->place - x->causal;
	return SN_OK;
}

/* --- which */

/* A number in range; -1. */
static int32_t number(const char *text, int64_t n)
{
	char *end;
	errno = 0;
	long v = strtol(text, &end, 10);
	return *text && !*end && !errno && v >= 0 && v < n ? (int32_t)v : -1;
}

static int no_class(const SnExplain *x, const SnTarget *t, const char *text)
{
	enum { SHOWN = 8 };
	const SnNames *names = &x->classes;
	const char *near = sn_nearest(text, (const char *const *)names->at, names->n);
	SnStr s = {0};
	sn_str_printf(&s, "--class %s: there are classes 0 to %lld", text, (long long)t->of->C - 1);
	for (int i = 0; i < names->n && i < SHOWN; i++)
		sn_str_printf(&s, "%s%s", i ? ", " : ", by name ", names->at[i]);
	int code = sn_fail(SN_USAGE, "%s%s%s%s%s", s.s, names->n > SHOWN ? ", .." : "", near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
	free(s.s);
	return code;
}

static int find_class(const SnExplain *x, SnTarget *t, const char *text)
{
	for (int32_t i = 0; i < t->of->C; i++) {
		const char *name = sn_explain_class(x, i);
		if (name && !strcmp(name, text))
			return t->id = i, SN_OK;
	}
	t->id = number(text, t->of->C);
	return t->id >= 0 ? SN_OK : no_class(x, t, text);
}

static bool is_unknown(const SnTokenizer *t, int32_t id)
{
	return id == sn_special(t, "[UNK]") || id == sn_special(t, "<unk>");
}

/* A token's own text, as the vocabulary or the label has it; one token's worth of text; an id. */
static int find_token(const SnExplain *x, SnTarget *t, const char *text)
{
	SnIds ids = {0};
	t->id = sn_special(x->data.tokenizer, text);
	for (int32_t i = 0; t->id < 0 && i < sn_tokenizer_size(x->data.tokenizer) && i < t->of->C; i++) {
		SnStr token = {0};
		sn_token_text(x->data.tokenizer, i, &token);
		char *label = sn_explain_label(x, i);
		if ((token.n == strlen(text) && !memcmp(token.s, text, token.n)) || !strcmp(label, text))
			t->id = i;
		free(token.s);
		free(label);
	}
	if (t->id < 0 && !sn_encode(x->data.tokenizer, text, strlen(text), "--token", &ids) && ids.n == 1 && !is_unknown(x->data.tokenizer, ids.at[0]))
		t->id = ids.at[0];
	free(ids.at);
	if (t->id < 0)
		t->id = number(text, t->of->C);
	return t->id >= 0 && t->id < t->of->C ? SN_OK : sn_fail(SN_USAGE, "--token %s: the vocabulary has no such token", text);
}

static int find_id(SnExplain *x, SnTarget *t)
{
	const SnOptions *o = x->o;
	const float *scores = sn_explain_row(t->of, t->row);
	if (sn_given(o, "class") && t->of->placed)
		return sn_fail(SN_USAGE, "--class is for scores of classes; %s has one for each token: --token", sn_text(t->of->slot->name));
	if (sn_given(o, "token") && !t->of->placed)
		return sn_fail(SN_USAGE, "--token is for scores of each place; %s has classes: --class", sn_text(t->of->slot->name));
	if (sn_given(o, "class"))
		return find_class(x, t, sn_str(o, "class", ""));
	if (sn_given(o, "token"))
		return find_token(x, t, sn_str(o, "token", ""));
	t->id = x->causal && t->of->placed && t->place < x->T ? x->ids.at[t->place] : sn_likeliest(scores, t->of->C);
	return SN_OK;
}

int sn_explain_target(SnExplain *x)
{
	SnTarget *t = &x->target;
	if (!(t->of = result_of(x)))
		return SN_USAGE;
	int code = find_place(x, t);
	if (!code)
		code = find_id(x, t);
	if (code)
		return code;
	const float *scores = sn_explain_row(t->of, t->row);
	t->score = (double)scores[t->id];
	t->share = sn_share(scores, t->of->C, t->id);
	sn_likeliest_few(scores, t->of->C, x->likely, &x->nlikely);
	return SN_OK;
}
