/* validate.c: what training is judged by between its steps: the train entry's own loss and metrics on a text or on a file of
 * inputs, or those of an entry of its own (`eval`), which then runs beside the training with the same weights. */
#include "runtime/sn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool puts_out(const SnFunction *f, const SnInputs *in, const char *name)
{
	SnMeans m = {0};
	if (f)
		sn_means_open(&m, f, in);
	for (int i = 0; i < m.n; i++)
		if (!strcmp(m.name[i], name))
			return true;
	return false;
}

/* The eval entry that puts out this metric. */
static const SnEntry *entry_with(const SnProgram *p, const char *name)
{
	const SnEntry *e = p->entries;
	for (int64_t i = 0; i < p->nentry; i++)
		if (e[i].kind == SN_EVAL && puts_out(sn_function(&e[i], "eval"), NULL, name))
			return &e[i];
	return NULL;
}

static int no_such_metric(const SnOptions *o, const SnFunction *f, const SnInputs *in, const char *name)
{
	const char *names[2 * SN_MAX_METRICS];
	int n = 0;
	SnMeans m;
	if (f) {
		sn_means_open(&m, f, in);
		for (int i = 0; i < m.n; i++)
			names[n++] = m.name[i];
	}
	const SnEntry *e = o->program->entries;
	for (int64_t k = 0; k < o->program->nentry; k++) {
		if (e[k].kind != SN_EVAL || !sn_function(&e[k], "eval"))
			continue;
		sn_means_open(&m, sn_function(&e[k], "eval"), NULL);
		for (int i = 0; i < m.n && n < 2 * SN_MAX_METRICS; i++)
			names[n++] = m.name[i];
	}
	const char *near = sn_nearest(name, names, n);
	return sn_fail(SN_USAGE, "there is no metric `%s` to be the best by%s%s", name, near ? "; did you mean " : "", near ? near : "");
}

/* --- an entry of its own */

static const SnTensor *param_like(const SnEntry *e, const SnTensor *like)
{
	const SnTensor *t = e->tensors;
	for (int64_t i = 0; i < e->ntensor; i++)
		if (t[i].kind == 0 && !strcmp(t[i].name, like->name) && t[i].bytes == like->bytes)
			return &t[i];
	return NULL;
}

static int open_own(SnValidation *v, const SnOptions *o, const SnEntry *e)
{
	const SnTensor *t = e->tensors;
	for (int64_t i = 0; i < e->ntensor; i++)
		if (t[i].kind == 0 && !param_like(o->entry, &t[i]))
			return sn_fail(SN_USAGE, "%s can't be validated by %s: it has the parameter %s, which is not trained", sn_text(o->entry->name),
			               sn_text(e->name), sn_text(t[i].name));
	int code = sn_session_start(&v->own, e, o);
	v->apart = !code;
	v->eval = sn_function(e, "eval");
	return code;
}

static void copy_weights(SnValidation *v)
{
	const SnTensor *t = v->own.entry->tensors;
	for (int64_t i = 0; i < v->own.entry->ntensor; i++)
		if (t[i].kind == 0) {
			const char *from = v->trained->arena + param_like(v->trained->entry, &t[i])->offset;
			if (t[i].external)
				sn_external_at(&v->own, &t[i], from);
			else
				memcpy(v->own.arena + t[i].offset, from, (size_t)t[i].bytes);
		}
	sn_prepare(&v->own, NULL);
}

/* --- opening */

static int open_file(SnValidation *v, const SnOptions *o, SnSource *src, const char *checkpoint)
{
	if (!(src->fed == SN_FED_FEEDER ? sn_data_valid(o) : sn_str(o, "data.valid_inputs", NULL))) {
		v->in = &src->in;
		v->first = src->ntrain;
		v->n = src->in.examples - src->ntrain;
		return SN_OK;
	}
	const SnEntry *e = v->apart ? v->own.entry : o->entry;
	SnAsked asked = {.o = o, .entry = e, .f = v->eval, .use = SN_USE_VALID, .checkpoint = checkpoint, .T = v->batch.context, .data = &src->data};
	int code = sn_source_examples(&v->file, asked, src->fed);
	v->in = &v->file;
	v->n = code ? 0 : v->file.examples;
	return code;
}

/* Is it judged by the texts of a feeder's examples (SnInputs.judge), and there are none? */
static bool wants_texts(const SnFunction *f, const SnInputs *in, const char *name)
{
	const SnSlot *s = f ? f->slots : NULL;
	for (int64_t i = 0; f && !in->judge && i < f->nslot; i++)
		if (!strncmp(s[i].name, "told:", 5) && !strcmp(strrchr(s[i].name, ':') + 1, name))
			return true;
	return false;
}

/* The loss decides, if the model file alone asked for what there is not. */
static int do_without(SnValidation *v, const SnOptions *o, const char *why)
{
	if (sn_given(o, "stop.best"))
		return sn_fail(SN_USAGE, "--best %s: %s", v->best, why);
	sn_note("`%s`: %s; the loss decides", v->best, why);
	v->best = "loss";
	return SN_OK;
}

/* Which function measures the metric that decides. */
static int choose(SnValidation *v, const SnOptions *o, const SnSource *src)
{
	v->best = sn_str(o, "stop.best", "loss");
	v->eval = sn_function(o->entry, "eval");
	if (puts_out(v->eval, &src->in, v->best))
		return SN_OK;
	if (wants_texts(v->eval, &src->in, v->best))
		return do_without(v, o, "it is judged by the texts of --data, and --inputs has none");
	const SnEntry *e = entry_with(o->program, v->best);
	if (!e)
		return no_such_metric(o, v->eval, &src->in, v->best);
	if (src->inputs && sn_str(o, "data.valid_inputs", NULL))
		return open_own(v, o, e);
	char *why = sn_format("it is measured by the entry %s, which wants its inputs, --valid-inputs FILE", sn_text(e->name));
	int code = do_without(v, o, why);
	free(why);
	return code;
}

int sn_validation_open(SnValidation *v, SnSession *s, const SnOptions *o, SnSource *src, const SnBatch *b, const char *checkpoint)
{
	*v = (SnValidation){.trained = s, .src = src, .batch = *b, .batches = (int64_t)sn_num(o, "eval.batches", 0)};
	int code = choose(v, o, src);
	if (!code && src->inputs)
		code = open_file(v, o, src, checkpoint);
	v->grows = sn_metric_grows(v->best);
	int64_t bound = sn_bound(v->apart ? v->own.entry : o->entry, "B");
	v->rows = v->apart ? (bound ? bound : 1) : b->rows;
	return code;
}

bool sn_validation_possible(const SnValidation *v)
{
	return v->eval && (v->src->inputs ? v->n > 0 : v->src->data.valid.n >= 2);
}

bool sn_validation_run(SnValidation *v, SnMeans *m)
{
	if (!sn_validation_possible(v))
		return false;
	sn_means_open(m, v->eval, v->in);
	if (v->apart)
		copy_weights(v);
	SnSession *s = v->apart ? &v->own : v->trained;
	if (v->src->inputs)
		sn_evaluate_inputs(s, v->eval, v->in, v->first, v->n, v->rows, v->batches, m);
	else
		sn_evaluate_text(s, v->eval, &v->src->data.valid, v->rows, v->batch.context, v->batches, m);
	return true;
}

void sn_validation_close(SnValidation *v)
{
	sn_inputs_close(&v->file);
	sn_session_close(&v->own);
	*v = (SnValidation){0};
}
