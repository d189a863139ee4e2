/* source.c: where a training entry's examples come from: windows of a text, a file of named inputs, or conversations (dialog.c). Of a file the
 * examples come in an order shuffled anew for each pass, a function of the seed and the pass's number alone; passes follow
 * one another without a break, so that each step is a whole batch and each example is seen equally often. */
#include "runtime/sn.h"

#include <stdlib.h>
#include <string.h>

enum { STREAM = 0x6F726472 };   /* apart from the streams of weights, windows and samples */

static void inputs_text(SnStr *out, const SnFunction *f)
{
	const SnSlot *s = f->slots;
	for (int64_t i = 0; i < f->nslot; i++)
		if (sn_slot_is_fed(&s[i])) {
			sn_str_printf(out, out->n ? ", " : "");
			sn_slot_text(out, &s[i]);
		}
}

/* One i32[B,n] input, and a loss a token. */
static bool takes_text(const SnFunction *f)
{
	const SnSlot *s = f->slots;
	int n = 0;
	bool fits = true;
	for (int64_t i = 0; i < f->nslot; i++)
		if (sn_slot_is_fed(&s[i])) {
			n++;
			fits &= s[i].dtype == SN_I32 && s[i].rank == 2;
		}
	return fits && n == 1 && sn_slot(f, "loss", true);
}

bool sn_takes_text(const SnOptions *o, const SnFunction *f)
{
	return o->entry->feeder || (takes_text(f) && !strcmp(sn_str(o, "data.kind", "text"), "text"));
}

int sn_source_kind(const SnOptions *o, const SnFunction *f, SnFed *fed)
{
	const char *kind = sn_str(o, "data.kind", "text");
	if (sn_given(o, "data.inputs") && sn_given(o, "data.file"))
		return sn_fail(SN_USAGE, "--inputs and --data exclude each other");
	bool inputs = sn_str(o, "data.inputs", NULL) && !sn_given(o, "data.file");
	const SnFeeder *feeder = o->entry->feeder;
	*fed = inputs ? SN_FED_INPUTS : feeder ? SN_FED_FEEDER : SN_FED_TEXT;
	if (sn_given(o, inputs ? "data.valid" : "data.valid_inputs"))
		return sn_fail(SN_USAGE, inputs ? "--valid is a text: --inputs goes with --valid-inputs" : "--valid-inputs goes with --inputs");
	const char *path = inputs ? sn_str(o, "data.inputs", NULL) : NULL;
	if (path && !sn_overridden(o, "data.inputs") && !sn_exists(path))
		return sn_fail(SN_DATA, "the model file's inputs %s are not here: give others with --inputs FILE", path);
	if (inputs || (feeder && sn_str(o, "data.file", NULL)))
		return SN_OK;
	if (!feeder && strcmp(kind, "text") && strcmp(kind, "inputs"))
		return sn_fail(SN_USAGE, "data source `%s` is not in this version: give --inputs FILE", kind);
	if (*fed == SN_FED_TEXT && sn_takes_text(o, f))
		return SN_OK;
	SnStr s = {0};
	inputs_text(&s, f);
	const char *why = sn_given(o, "data.file") ? "can't be fed from a text" : "has nothing to run on";
	int code = feeder ? sn_fail(SN_USAGE, "%s has no data: give --data FILE of %s, or --inputs FILE with %s", sn_text(o->entry->name), feeder->wants, s.s)
	                  : sn_fail(SN_USAGE, "%s %s: give --inputs FILE with %s", sn_text(o->entry->name), why, s.s ? s.s : "nothing");
	free(s.s);
	return code;
}

/* --- a text */

static int open_text(SnSource *src, SnSession *s, const SnOptions *o, const SnFunction *f, const char *checkpoint, const SnBatch *b)
{
	SnData *data = &src->data;
	int code = sn_data_open(data, o, checkpoint, false);
	if (code)
		return code;
	int64_t shape[SN_MAX_RANK] = {0}, *B = sn_dim(s, "B"), *T = sn_dim(s, "T");
	src->tokens = sn_tokens_slot(f);
	*B = b->rows;
	*T = b->context;
	sn_slot_shape(s, f, src->tokens, shape);
	src->context = b->context;
	src->len = shape[1];
	src->hash = data->hash;
	if (shape[0] != b->rows || src->len < 2)
		return sn_fail(SN_FAIL, "the input %s is [%lld,%lld]: not sequences of 2 or more tokens", sn_text(src->tokens->name), (long long)shape[0], (long long)shape[1]);
	if (data->train.n < src->len)
		return sn_fail(SN_DATA, "the training text has %lld tokens; one sequence needs %lld (or give a smaller --context)", (long long)data->train.n, (long long)src->len);
	src->unit = "tok";
	src->units = b->rows * (src->len - 1);
	src->pass = data->train.n / (src->len - 1);
	return SN_OK;
}

/* --- examples */

int sn_source_examples(SnInputs *in, SnAsked a, SnFed fed)
{
	const SnOptions *o = a.o;
	const SnFeeder *feeder = o->entry->feeder;
	bool own = a.use == SN_USE_EVAL && sn_data_valid(o) && !sn_given(o, "data.file");   /* what the training was judged by */
	if (fed == SN_FED_INPUTS)
		return sn_inputs_open(in, a.entry, a.f, sn_str(o, a.use == SN_USE_VALID ? "data.valid_inputs" : "data.inputs", NULL), NULL);
	a.path = a.use == SN_USE_VALID || own ? sn_data_valid(o) : sn_str(o, "data.file", NULL);
	if (a.path && !sn_overridden(o, "data.file") && !sn_overridden(o, "data.valid") && !sn_exists(a.path) && !strpbrk(a.path, "*?["))
		return sn_fail(SN_DATA, "the model file's %s is not here: give other %s with --data FILE", a.path, feeder->wants);
	return feeder->open(in, &a);
}

static int open_examples(SnSource *src, const SnOptions *o, const SnFunction *f, const char *checkpoint, const SnBatch *b)
{
	int64_t wanted = b->rows * b->accumulate;
	SnAsked asked = {.o = o, .entry = o->entry, .f = f, .use = SN_USE_TRAIN, .checkpoint = checkpoint, .T = b->context, .data = &src->data};
	int code = sn_source_examples(&src->in, asked, src->fed);
	if (code)
		return code;
	bool valid = src->fed == SN_FED_FEEDER ? sn_data_valid(o) : sn_str(o, "data.valid_inputs", NULL);
	double share = valid ? 0 : sn_num(o, "data.valid_fraction", 0.1);
	src->ntrain = src->in.trained ? src->in.trained : src->in.examples - (int64_t)((double)src->in.examples * share);
	if (src->ntrain < 1)
		return sn_fail(SN_DATA, "%s: all %lld examples are kept for validation", src->in.file.path, (long long)src->in.examples);
	if (src->ntrain < wanted)
		return sn_fail(SN_DATA, "%s: %lld examples to train on, a step takes %lld: give a smaller --batch", src->in.file.path, (long long)src->ntrain, (long long)wanted);
	src->hash = src->in.hash;
	for (int i = 0; i < src->in.file.nshard; i++)
		src->hash = src->hash * 31 + sn_sum(src->in.file.shards[i].file.at, src->in.file.shards[i].file.n);
	src->order = sn_alloc(sizeof *src->order * (size_t)src->ntrain);
	src->pick = sn_alloc(sizeof *src->pick * (size_t)b->rows);
	src->epoch = -1;
	src->step = wanted;
	src->unit = "examples";
	src->units = b->rows;
	src->pass = src->ntrain;
	return SN_OK;
}

/* Fisher and Yates' shuffle (Durstenfeld 1964), drawn from the pass's own stream. */
static void shuffle(SnSource *src, int64_t epoch)
{
	uint32_t key = sn_hash32(&epoch, sizeof epoch, sn_hash32(&src->seed, sizeof src->seed, STREAM));
	for (int64_t i = 0; i < src->ntrain; i++)
		src->order[i] = i;
	for (int64_t i = src->ntrain - 1; i > 0; i--) {
		int64_t k = sn_below(i + 1, (uint32_t)i, (uint32_t)(i >> 32), key), x = src->order[i];
		src->order[i] = src->order[k];
		src->order[k] = x;
	}
	src->epoch = epoch;
	int64_t over = epoch * src->ntrain % src->step;
	if (src->in.arrange)
		src->in.arrange(&src->in, src->order, src->ntrain, src->step, over ? src->step - over : 0, key);
}

int sn_source_open(SnSource *src, SnSession *s, const SnOptions *o, const SnFunction *f, const char *checkpoint, const SnBatch *b)
{
	*src = (SnSource){.rows = b->rows, .seed = (uint32_t)sn_num(o, "seed", 1), .epoch = -1};
	int code = sn_source_kind(o, f, &src->fed);
	src->inputs = src->fed != SN_FED_TEXT;
	if (code)
		return code;
	return src->inputs ? open_examples(src, o, f, checkpoint, b) : open_text(src, s, o, f, checkpoint, b);
}

void sn_source_fill(SnSource *src, SnSession *s, int64_t micro, int64_t example)
{
	if (!src->inputs) {
		*sn_dim(s, "B") = src->rows;
		*sn_dim(s, "T") = src->context;
		sn_data_batch(&src->data.train, (int32_t *)(s->arena + src->tokens->offset), src->rows, src->len, src->seed, micro);
		return;
	}
	for (int64_t i = 0; i < src->rows; i++) {
		int64_t epoch = (example + i) / src->ntrain;
		if (epoch != src->epoch)
			shuffle(src, epoch);
		src->pick[i] = src->order[(example + i) % src->ntrain];
	}
	sn_inputs_fill(&src->in, s, src->pick, src->rows, example);
}

void sn_source_close(SnSource *src)
{
	sn_inputs_close(&src->in);   /* may have an encoder of the tokenizer's */
	sn_data_close(&src->data);
	free(src->order);
	free(src->pick);
	*src = (SnSource){0};
}
