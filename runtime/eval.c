/* eval.c: the mean loss and metrics over a text or over a file of inputs. A text is read in windows that follow one another
 * and share one token with the next, so that every token but the first is predicted exactly once; the last, shorter window
 * counts by its length. Of a file every example counts alike. */
#include "runtime/sn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const SnSlot *sn_tokens_slot(const SnFunction *f)
{
	const SnSlot *found = NULL, *s = f->slots;
	for (int64_t i = 0; i < f->nslot; i++) {
		if (s[i].output || s[i].rank == 0)
			continue;
		if (found || s[i].dtype != SN_I32 || s[i].rank != 2) {
			sn_fail(SN_FAIL, "the input \"%s\" of %s can't be fed from a text (one i32[B,n] can)", sn_text(s[i].name), sn_text(f->name));
			return NULL;
		}
		found = &s[i];
	}
	if (!found)
		sn_fail(SN_FAIL, "%s has no input of tokens", sn_text(f->name));
	return found;
}

typedef struct Windows {
	SnSession *s;
	const SnFunction *f;
	const SnSlot *tokens;
	const SnIds *ids;
	int64_t stride;               /* predictions a window */
	int64_t len;                  /* tokens a window: stride + 1 */
	int64_t extra;                /* T - stride */
	SnMeans *means;
} Windows;

static void set_dim(SnSession *s, const char *name, int64_t value)
{
	int64_t *dim = sn_dim(s, name);
	if (dim)
		*dim = value;
}

/* rows windows of `stride` predictions from the window that starts at `at`. */
static void batch(Windows *w, int64_t at, int64_t rows, int64_t stride)
{
	int32_t *out = (int32_t *)(w->s->arena + w->tokens->offset);
	for (int64_t r = 0; r < rows; r++)
		memcpy(out + r * (stride + 1), w->ids->at + at + r * stride, sizeof *out * (size_t)(stride + 1));
	set_dim(w->s, "B", rows);
	set_dim(w->s, "T", stride + w->extra);
	sn_call(w->s, w->f);
	sn_means_add(w->means, w->s, (double)(rows * stride));
}

void sn_evaluate_text(SnSession *s, const SnFunction *f, const SnIds *ids, int64_t rows, int64_t context, int64_t batches, SnMeans *m)
{
	int64_t shape[SN_MAX_RANK] = {0};
	Windows w = {.s = s, .f = f, .tokens = sn_tokens_slot(f), .ids = ids, .means = m};
	set_dim(s, "B", rows);
	set_dim(s, "T", context);
	sn_slot_shape(s, f, w.tokens, shape);
	w.stride = shape[1] - 1;
	w.extra = context - w.stride;
	int64_t whole = ids->n > 0 ? (ids->n - 1) / w.stride : 0, rest = ids->n > 0 ? (ids->n - 1) % w.stride : 0, done = 0;
	bool all = batches <= 0 || batches * rows > whole;
	if (!all)
		whole = batches * rows;
	for (; done < whole; done += rows)
		batch(&w, done * w.stride, whole - done < rows ? whole - done : rows, w.stride);
	if (all && rest)
		batch(&w, whole * w.stride, 1, rest);
}

void sn_evaluate_inputs(SnSession *s, const SnFunction *f, const SnInputs *in, int64_t first, int64_t n, int64_t rows, int64_t batches, SnMeans *m)
{
	int64_t *pick = sn_alloc(sizeof *pick * (size_t)rows);
	if (batches > 0 && batches * rows < n)
		n = batches * rows;
	for (int64_t done = 0; done < n; done += rows) {
		int64_t now = n - done < rows ? n - done : rows;
		for (int64_t i = 0; i < now; i++)
			pick[i] = first + done + i;
		sn_inputs_fill(in, s, pick, now, SN_FIXED);
		sn_call(s, f);
		m->pick = pick;
		m->npick = now;
		sn_means_add(m, s, sn_inputs_weight(in, first + done, now));
	}
	free(pick);
}

int sn_batch_read(SnBatch *b, const SnOptions *o, SnFed fed)
{
	bool inputs = fed == SN_FED_INPUTS;
	int64_t micro = sn_bound(o->entry, "B"), bound = sn_bound(o->entry, "T"), batch;
	if (!inputs && (micro < 1 || bound < 1))
		return sn_fail(SN_FAIL, "%s has no dimensions B and T", sn_text(o->entry->name));
	if (inputs && sn_given(o, "T"))
		return sn_fail(SN_USAGE, "--context is for texts: a file of inputs has its own extents");
	micro = micro < 1 ? 1 : micro;
	batch = (int64_t)sn_num(o, "batch", (double)micro);
	b->context = inputs ? 0 : (int64_t)sn_num(o, "T", (double)bound);
	if (!inputs && (b->context > bound || b->context < 1))
		return sn_fail(SN_USAGE, "--context %lld: the compiled bound is %lld", (long long)b->context, (long long)bound);
	b->rows = batch < micro ? batch : micro;
	if (batch < 1 || batch % b->rows)
		return sn_fail(SN_USAGE, "--batch %lld is not a multiple of the compiled micro-batch %lld", (long long)batch, (long long)micro);
	b->accumulate = batch / b->rows;
	return SN_OK;
}

static bool is_gguf(const char *path)
{
	char magic[4] = "";
	FILE *f = sn_is_dir(path) ? NULL : fopen(path, "rb");
	bool is = f && fread(magic, 1, 4, f) == 4 && !memcmp(magic, "GGUF", 4);
	if (f)
		fclose(f);
	return is;
}

int sn_model_find(const SnOptions *o, char **checkpoint)
{
	const char *model = sn_str(o, "model", NULL);
	*checkpoint = NULL;
	if (model && sn_given(o, "random"))
		return sn_fail(SN_USAGE, "-m and --random exclude each other: the weights are a file's or random");
	if (!model && !sn_given(o, "random") && sn_exists(SN_INSIDE))
		model = SN_INSIDE;
	if (!model && !sn_given(o, "random"))
		return sn_fail(SN_USAGE, "no weights: train first, then give the run directory (or other safetensors) with -m DIR");
	*checkpoint = model ? sn_checkpoint_find(model, true) : NULL;
	if (*checkpoint && is_gguf(*checkpoint))
		return sn_fail(SN_DATA, "%s is a GGUF file: `sinter import %s -o DIR` makes a folder of it for -m", model, model);
	return model && !*checkpoint ? SN_DATA : SN_OK;
}

int sn_model_load(SnSession *s, const SnOptions *o, const char *checkpoint)
{
	char *adapter = NULL;
	if (sn_given(o, "adapter") && !checkpoint)
		return sn_fail(SN_USAGE, "--adapter adds to the weights of -m");
	if (sn_given(o, "adapter") && !(adapter = sn_checkpoint_find(sn_str(o, "adapter", ""), true)))
		return SN_DATA;
	s->adapter = adapter;
	int code = checkpoint ? sn_weights_load(s, o->program, checkpoint) : SN_OK;
	s->adapter = NULL;
	free(adapter);
	if (checkpoint)
		return code;
	sn_init_params(s, (uint32_t)sn_num(o, "seed", 1));
	return SN_OK;
}

/* --- the command */

typedef struct Eval {
	const SnOptions *o;
	const SnFunction *f;
	SnSession s;
	SnBatch b;
	SnFed fed;
	const char *unit;             /* what is counted */
	SnData data;
	SnInputs file;
	SnMeans means;
	int64_t count;                /* tokens predicted, or examples */
} Eval;

static int open_data(Eval *e, const char *checkpoint)
{
	if (e->fed != SN_FED_TEXT) {
		SnAsked asked = {.o = e->o, .entry = e->o->entry, .f = e->f, .use = SN_USE_EVAL, .checkpoint = checkpoint, .T = e->b.context, .data = &e->data};
		int code = sn_source_examples(&e->file, asked, e->fed);
		e->unit = e->file.unit ? e->file.unit : "examples";
		return code;
	}
	int code = sn_data_open(&e->data, e->o, checkpoint, true);
	if (!code && e->data.valid.n < 2)
		code = sn_fail(SN_DATA, "the text has %lld tokens; at least 2 are needed", (long long)e->data.valid.n);
	return code;
}

static void measure(Eval *e)
{
	int64_t batches = (int64_t)sn_num(e->o, "eval.batches", 0);
	sn_means_open(&e->means, e->f, &e->file);
	if (e->fed != SN_FED_TEXT)
		sn_evaluate_inputs(&e->s, e->f, &e->file, 0, e->file.examples, e->b.rows, batches, &e->means);
	else
		sn_evaluate_text(&e->s, e->f, &e->data.valid, e->b.rows, e->b.context, batches, &e->means);
	e->count = (int64_t)e->means.weight;
}

static void print(const Eval *e)
{
	SnStr s = {0};
	double loss = sn_means_find(&e->means, "loss");
	bool json = sn_given(e->o, "json"), has_loss = sn_slot(e->f, "loss", true), perplexity = has_loss && !strcmp(e->unit, "tokens") && !sn_slot(e->f, "perplexity", true);
	if (json) {
		sn_str_printf(&s, "{");
		sn_means_json(&s, &e->means, NULL);
		if (perplexity) {
			sn_str_printf(&s, ",\"perplexity\":");
			sn_json_number(&s, exp(loss));
		}
		sn_str_printf(&s, "%s\"%s\":%lld}", e->means.n ? "," : "", e->unit, (long long)e->count);
	} else {
		if (has_loss)
			sn_str_printf(&s, "loss %.6f  ", loss);
		if (perplexity)
			sn_str_printf(&s, "perplexity %.4f  ", exp(loss));
		sn_means_text(&s, &e->means, "loss", 6);
		sn_str_printf(&s, "%s%s %lld", e->means.n > has_loss ? "  " : "", e->unit, (long long)e->count);
	}
	printf("%s\n", s.s);
	free(s.s);
}

static int evaluate(Eval *e, const char *checkpoint)
{
	int code = sn_session_start(&e->s, e->o->entry, e->o);
	if (!code)
		code = open_data(e, checkpoint);
	sn_profile_stage(e->s.profile, "data");
	if (!code)
		code = sn_model_load(&e->s, e->o, checkpoint);
	if (!code)
		code = sn_prepare(&e->s, e->o);
	if (code)
		return code;
	double started = sn_clock();
	measure(e);
	double seconds = sn_clock() - started;
	print(e);
	code = sn_taps_asked(e->o) ? ((SnTapsWrite *)e->o->entry->taps)(e->o, &e->s, e->f) : SN_OK;
	if (code)
		return code;
	if (!sn_given(e->o, "quiet"))
		sn_note("%.2f s, %.0f %s/s", seconds, (double)e->count / seconds, e->unit);
	if (sn_slot(e->f, "loss", true) && !isfinite(sn_means_find(&e->means, "loss")))
		return sn_fail(SN_FAIL, "the loss is not finite");
	return SN_OK;
}

/* Data is read as the run that the weights are of was told to. */
static int take_settings(SnOptions *o, const char *checkpoint)
{
	SnState st = {0};
	char *path = checkpoint && sn_is_dir(checkpoint) ? sn_format("%s/state.json", checkpoint) : NULL;
	int code = path && sn_exists(path) ? sn_state_read(&st, checkpoint) : SN_OK;
	if (!code)
		sn_options_take(o, st.options, SN_F_EVAL);
	json_decref(st.options);
	free(path);
	return code;
}

int sn_eval_main(SnOptions *o)
{
	Eval e = {.o = o, .f = sn_function(o->entry, "eval"), .unit = "tokens"};
	if (!e.f)
		return sn_fail(SN_FAIL, "%s has no eval function", sn_text(o->entry->name));
	char *checkpoint = NULL;
	int code = sn_source_kind(o, e.f, &e.fed);
	if (!code)
		code = sn_model_find(o, &checkpoint);
	if (!code)
		code = take_settings(o, checkpoint);
	if (!code)
		code = sn_batch_read(&e.b, o, e.fed);
	if (!code)
		code = evaluate(&e, checkpoint);
	sn_inputs_close(&e.file);   /* may have an encoder of the tokenizer's */
	sn_data_close(&e.data);
	sn_means_close(&e.means);
	sn_session_close(&e.s);
	free(checkpoint);
	return code;
}
