/* explain.c: explain entries: a text goes through the model once, and what is asked of it is explained: attention's weights and their rollout,
 * attributions to tokens, log-probabilities, the logit lens. As a table, as JSON, as SVG, or as one HTML page. */
#include "runtime/explain.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- what a call of run leaves */

static bool begins(const char *s, const char *with)
{
	return !strncmp(s, with, strlen(with));
}

static float *copied(SnExplain *x, const SnSlot *slot, int64_t *shape)
{
	int64_t n = 1;
	sn_slot_shape(&x->s, x->run, slot, shape);
	for (int i = 0; i < slot->rank; i++)
		n *= shape[i];
	float *out = sn_alloc(sizeof *out * (size_t)n);
	memcpy(out, x->s.arena + slot->offset, sizeof *out * (size_t)n);
	return out;
}

static void keep_score(SnExplain *x, const SnSlot *slot)
{
	int64_t shape[SN_MAX_RANK] = {0};
	char name[32];
	SnScores *s = &x->scores[x->nscores];
	snprintf(name, sizeof name, "attribute%d", x->nscores++);
	*s = (SnScores){.slot = slot, .attribute = sn_function(x->entry, name), .placed = slot->rank == 3, .at = copied(x, slot, shape)};
	s->C = shape[slot->rank - 1];
}

static void keep(SnExplain *x)
{
	const SnSlot *s = x->run->slots;
	int64_t shape[SN_MAX_RANK] = {0};
	x->maps = sn_alloc(sizeof *x->maps * (size_t)x->run->nslot);
	x->streams = sn_alloc(sizeof *x->streams * (size_t)x->run->nslot);
	for (int64_t i = 0; i < x->run->nslot; i++) {
		if (!s[i].output || sn_is_tap(&s[i]))
			continue;
		if (begins(s[i].name, "attention:")) {
			float *at = copied(x, &s[i], shape);
			x->maps[x->nmaps++] = (SnMap){sn_text(s[i].name) + 10, shape[1], shape[2], shape[3], at};
		} else if (begins(s[i].name, "residual:"))
			x->streams[x->nstreams++] = (SnStream){sn_text(s[i].name) + 9, copied(x, &s[i], shape)};
		else if (x->nscores < SN_MAX_SCORES)
			keep_score(x, &s[i]);
	}
}

/* --- the table */

static void print_name(const SnExplain *x, int32_t id)
{
	const char *name = x->target.of->placed ? NULL : sn_explain_class(x, id);
	char *label = x->target.of->placed ? sn_explain_label(x, id) : NULL;
	if (label || name)
		printf("\"%s\"", label ? label : name);
	else
		printf("%d", id);
	free(label);
}

static void print_target(const SnExplain *x)
{
	const SnTarget *t = &x->target;
	const SnAttribution *a = &x->a;
	printf("%s", sn_text(t->of->slot->name));
	if (t->place >= 0)
		printf(" at %lld", (long long)t->place);
	printf(": ");
	print_name(x, t->id);
	printf(", score %.4f", t->score);
	if (t->of->C > 1)
		printf(", probability %.4f; likeliest:", t->share);
	for (int i = 0; i < x->nlikely && t->of->C > 1; i++) {
		printf(" ");
		print_name(x, x->likely[i].id);
		printf(" %.4f", x->likely[i].share);
	}
	printf("\nfrom the baseline (%s) to the text: %.4f to %.4f; attributions sum to %.4f of %.4f\n", a->baseline, a->from, a->to, a->sum, a->to - a->from);
}

static int columns_of(const char *s)
{
	int n = 0;
	for (; *s; s++)
		n += ((unsigned char)*s & 0xC0) != 0x80;
	return n;
}

static void print_tokens(const SnExplain *x)
{
	int width = 5;
	double most = 0;
	for (int64_t i = 0; i < x->T; i++) {
		width = columns_of(x->label[i]) > width ? columns_of(x->label[i]) : width;
		most = fmax(most, fabs(x->a.integrated[i]));
	}
	printf("\n%4s  token%*s  %10s  %10s%s\n", "", width - 5, "", "integrated", "gradient", x->logprob ? "   log-prob   rank" : "");
	for (int64_t i = 0; i < x->T; i++) {
		double share = most > 0 ? x->a.integrated[i] / most : 0;
		printf("%4lld  %s%*s  %10.4g  %10.4g", (long long)i, x->label[i], width - columns_of(x->label[i]), "", x->a.integrated[i], x->a.gradient[i]);
		if (x->logprob && i)
			printf("  %9.4f  %5lld", x->logprob[i], (long long)x->rank[i]);
		else if (x->logprob)
			printf("  %9s  %5s", "", "");
		printf("  %.*s\n", (int)lround(20 * fabs(share)), share < 0 ? "--------------------" : "++++++++++++++++++++");
	}
}

static void print_lens(const SnExplain *x)
{
	if (!x->through)
		return;
	printf("\nwere it the last layer: the likeliest, and the probability of ");
	print_name(x, x->target.id);
	printf("\n");
	for (int i = 0; i < x->nstreams; i++) {
		printf("  %-24s  ", x->streams[i].layer);
		print_name(x, x->through[i][0].id);
		printf(" %.4f; %.4f\n", x->through[i][0].share, x->shares[i]);
	}
}

static void print(const SnExplain *x)
{
	print_target(x);
	print_tokens(x);
	print_lens(x);
}

/* --- files */

static void text_of_json(SnStr *out, const SnExplain *x)
{
	json_t *j = sn_explain_json(x);
	char *s = json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(9));
	sn_str_add(out, s, strlen(s));
	sn_str_add(out, "\n", 1);
	free(s);
	json_decref(j);
}

static const struct { const char *ending; void (*make)(SnStr *, const SnExplain *); } forms[] = {
	{".json", text_of_json}, {".svg", sn_explain_svg}, {".html", sn_explain_html},
};

static int form_of(const char *path)
{
	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
		size_t n = strlen(path), k = strlen(forms[i].ending);
		if (n > k && !strcmp(path + n - k, forms[i].ending))
			return (int)i;
	}
	return -1;
}

static int put_out(const SnExplain *x)
{
	const char *path = sn_str(x->o, "output", NULL);
	int code = SN_OK;
	if (path) {
		SnStr s = {0};
		forms[form_of(path)].make(&s, x);
		code = sn_file_replace(path, s.s, s.n);
		free(s.s);
	}
	if (!code && sn_given(x->o, "json")) {
		SnStr s = {0};
		text_of_json(&s, x);
		fwrite(s.s, 1, s.n, stdout);
		free(s.s);
	} else if (!code && (!path || !sn_given(x->o, "quiet")))
		print(x);
	return code;
}

/* --- which entry */

static int lacks_all(const SnExplain *x, const SnStr *names, int n)
{
	const SnEntry *e = x->o->program->entries;
	SnStr all = {0};
	for (int i = 0; i < n; i++)
		if (names[i].n)
			sn_str_printf(&all, "%s%s lacks %s", all.n ? "; " : "", sn_text(e[i].name), names[i].s);
	int code = sn_fail(SN_DATA, "%s: none of this program's explain entries has its weights there: %s", x->checkpoint, all.s);
	free(all.s);
	return code;
}

/* A program may explain several models, of which a checkpoint is one: a pre-training's, a classifier's. `explain` alone means the one that the
 * checkpoint has: itself if it may be, else the first in the file's order. */
static int choose(SnExplain *x)
{
	const SnProgram *p = x->o->program;
	const SnEntry *e = p->entries, *found = NULL;
	SnStr *lacks = sn_alloc(sizeof *lacks * (size_t)p->nentry);
	int code = SN_OK;
	for (int i = 0; i < p->nentry && !code && found != x->entry; i++) {
		if (e[i].kind != SN_EXPLAIN)
			continue;
		code = sn_weights_lack(&e[i], p, x->checkpoint, &lacks[i]);
		if (!code && !lacks[i].n && (!found || &e[i] == x->entry))
			found = &e[i];
	}
	if (!code && !found)
		code = lacks_all(x, lacks, (int)p->nentry);
	for (int i = 0; i < p->nentry; i++)
		free(lacks[i].s);
	free(lacks);
	if (code || found == x->entry)
		return code;
	if (!sn_given(x->o, "quiet"))
		sn_note("the weights are those of %s", sn_text(found->name));
	x->own = *x->o;
	x->own.entry = x->entry = found;
	x->o = &x->own;
	return SN_OK;
}

static bool may_choose(const SnExplain *x)
{
	const SnEntry *e = x->o->program->entries;
	int n = 0;
	for (int64_t i = 0; i < x->o->program->nentry; i++)
		n += e[i].kind == SN_EXPLAIN;
	return n > 1 && x->checkpoint && !strcmp(x->entry->name, "explain");
}

/* --- the command */

static int open_all(SnExplain *x)
{
	int code = sn_model_find(x->o, &x->checkpoint);
	if (!code && may_choose(x))
		code = choose(x);
	x->run = sn_function(x->entry, "run");
	x->lens = sn_function(x->entry, "lens");
	if (!code && !x->run)
		code = sn_fail(SN_FAIL, "%s has no run function", sn_text(x->entry->name));
	if (!code)
		code = sn_session_start(&x->s, x->entry, x->o);
	if (!code)
		code = sn_explain_text(x);
	if (!code)
		code = sn_model_load(&x->s, x->o, x->checkpoint);
	return code ? code : sn_prepare(&x->s, x->o);
}

static int explain(SnExplain *x)
{
	int code = open_all(x);
	if (!code)
		code = sn_explain_inputs(x, x->run, 1);
	if (code)
		return code;
	sn_call(&x->s, x->run);
	keep(x);
	code = sn_taps_asked(x->o) ? sn_taps_write(x->o, &x->s, x->run) : SN_OK;
	if (code)
		return code;
	sn_explain_rollout(x);
	code = sn_explain_target(x);
	if (!code)
		code = sn_explain_attribute(x);
	if (!code)
		code = sn_explain_lens(x);
	const SnAttribution *a = &x->a;
	if (!code && !isfinite(x->target.score + a->sum + a->from))
		code = sn_fail(SN_FAIL, "the score is not finite: of the text %g, of the baseline %g", x->target.score, a->from);
	if (code)
		return code;
	sn_explain_logprobs(x);
	code = put_out(x);
	double difference = a->to - a->from;
	if (!code && !a->holds)
		sn_note("integrated gradients are not complete: after %d evaluations their sum %.6g is %.3g away from the difference %.6g "
		        "(1%% is %.3g); more --steps, or another --baseline", a->evaluations, a->sum, a->error, difference, 0.01 * fabs(difference));
	else if (!code && !sn_given(x->o, "quiet"))
		sn_note("%lld tokens, %d evaluations; attributions are within %.2g%% of the difference", (long long)x->T, a->evaluations,
		        a->error > 0 ? 100 * a->error / fabs(difference) : 0);
	return code;
}

static void close_all(SnExplain *x)
{
	for (int i = 0; i < x->nscores; i++)
		free(x->scores[i].at);
	for (int i = 0; i < x->nmaps; i++)
		free(x->maps[i].at);
	for (int i = 0; i < x->nstreams; i++)
		free(x->streams[i].at);
	for (int64_t i = 0; i < x->T && x->label; i++)
		free(x->label[i]);
	void *const owned[] = {x->maps, x->streams, x->label, x->rollout, x->a.gradient, x->a.integrated, x->logprob, x->rank, x->through, x->shares,
		x->ids.at, x->types.at, x->places.at, x->checkpoint};
	for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
		free(owned[i]);
	sn_names_close(&x->classes);
	sn_data_close(&x->data);
	sn_session_close(&x->s);
}

static int explain_main(const SnOptions *o)
{
	SnExplain x = {.o = o, .entry = o->entry};
	const char *path = sn_str(o, "output", NULL);
	if (path && form_of(path) < 0)
		return sn_fail(SN_USAGE, "-o %s: the name ends in .json, .svg or .html, which says what to write", path);
	int code = explain(&x);
	close_all(&x);
	return code;
}

static const SnFlag flags[] = {
	{"out", 'o', SN_T_STR, "output", SN_F_EXPLAIN, "FILE", "a page, a picture or data, as the name ends in .html, .svg or .json (without: a table)"},
	{"of", 0, SN_T_STR, "of", SN_F_EXPLAIN, "NAME", "which of the entry's results is explained (classes, or the masked word; else the first)"},
	{"class", 0, SN_T_STR, "class", SN_F_EXPLAIN, "NAME", "a class, by its name in the checkpoint's config.json or its number (the likeliest)"},
	{"position", 0, SN_T_COUNT, "position", SN_F_EXPLAIN, "P", "the place of the token that is explained (the first masked one; of texts that go on, the next)"},
	{"token", 0, SN_T_STR, "token", SN_F_EXPLAIN, "TOKEN", "the token there (the one that stands there, if the model predicts it from those before; else the likeliest)"},
	{"baseline", 0, SN_T_STR, "baseline", SN_F_EXPLAIN, "NAME", "what integrated gradients start from: zero, mask, pad, unk or a special token (mask; zero where there is none)"},
	{"steps", 's', SN_T_POSITIVE, "steps", SN_F_EXPLAIN, "N", "gradients along the way to begin with; up to 16 times as many where they are too few (32)"},
	{"log-probability", 0, SN_T_SWITCH, "log_probability", SN_F_EXPLAIN, NULL, "attribute the logarithm of the probability, not the score"},
};

const SnRunner sn_runner_explain = {"say why: attention, attributions of tokens, what each layer knows", explain_main, {flags, sizeof flags / sizeof *flags, 2}};
