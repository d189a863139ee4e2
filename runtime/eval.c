/* eval.c: the mean loss over a text, in windows that follow one another and share one token with the next, so that
 * every token but the first is predicted exactly once. The last, shorter window counts by its length. */
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
	double sum;
	int64_t count;
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
	w->sum += (double)sn_get_f32(w->s, w->f, "loss") * (double)(rows * stride);
	w->count += rows * stride;
}

SnEvalResult sn_evaluate(SnSession *s, const SnFunction *f, const SnIds *ids, int64_t rows, int64_t context, int64_t batches)
{
	int64_t shape[SN_MAX_RANK] = {0};
	Windows w = {.s = s, .f = f, .tokens = sn_tokens_slot(f), .ids = ids};
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
	return (SnEvalResult){w.count ? w.sum / (double)w.count : NAN, w.count};
}

int sn_batch_read(SnBatch *b, const SnOptions *o)
{
	int64_t micro = sn_bound(o->entry, "B"), bound = sn_bound(o->entry, "T"), batch = (int64_t)sn_num(o, "batch", (double)micro);
	if (micro < 1 || bound < 1)
		return sn_fail(SN_FAIL, "%s has no dimensions B and T", sn_text(o->entry->name));
	b->context = (int64_t)sn_num(o, "T", (double)bound);
	if (b->context > bound || b->context < 1)
		return sn_fail(SN_USAGE, "--context %lld: the compiled bound is %lld", (long long)b->context, (long long)bound);
	b->rows = batch < micro ? batch : micro;
	if (batch < 1 || batch % b->rows)
		return sn_fail(SN_USAGE, "--batch %lld is not a multiple of the compiled micro-batch %lld", (long long)batch, (long long)micro);
	b->accumulate = batch / b->rows;
	return SN_OK;
}

int sn_model_find(const SnOptions *o, char **checkpoint)
{
	const char *model = sn_str(o, "model", NULL);
	*checkpoint = NULL;
	if (model && sn_given(o, "random"))
		return sn_fail(SN_USAGE, "-m and --random exclude each other: the weights are a file's or random");
	if (!model && !sn_given(o, "random"))
		return sn_fail(SN_USAGE, "no weights: train first, then give the run directory (or other safetensors) with -m DIR");
	*checkpoint = model ? sn_checkpoint_find(model, true) : NULL;
	return model && !*checkpoint ? SN_DATA : SN_OK;
}

static int load(SnSession *s, const SnOptions *o, const char *checkpoint)
{
	if (checkpoint)
		return sn_weights_load(s, o->program, checkpoint);
	sn_init_params(s, (uint32_t)sn_num(o, "seed", 1));
	return SN_OK;
}

static int evaluate_file(SnSession *s, const SnOptions *o, const SnFunction *f, const SnBatch *b, const char *checkpoint)
{
	SnData d;
	int code = sn_data_open(&d, o, checkpoint, true);
	if (code)
		return code;
	if (d.valid.n < 2)
		code = sn_fail(SN_DATA, "the text has %lld tokens; at least 2 are needed", (long long)d.valid.n);
	if (!code)
		code = load(s, o, checkpoint);
	if (!code) {
		double started = sn_clock();
		SnEvalResult r = sn_evaluate(s, f, &d.valid, b->rows, b->context, (int64_t)sn_num(o, "eval.batches", 0));
		printf("loss %.6f  perplexity %.4f  tokens %lld\n", r.loss, exp(r.loss), (long long)r.tokens);
		if (!sn_given(o, "quiet"))
			sn_note("%.2f s, %.0f tokens/s", sn_clock() - started, (double)r.tokens / (sn_clock() - started));
		if (!isfinite(r.loss))
			code = sn_fail(SN_FAIL, "the loss is not finite");
	}
	sn_data_close(&d);
	return code;
}

int sn_eval_main(const SnOptions *o)
{
	const SnFunction *f = sn_function(o->entry, "eval");
	if (!f)
		return sn_fail(SN_FAIL, "%s has no eval function", sn_text(o->entry->name));
	if (!sn_tokens_slot(f))
		return SN_FAIL;
	SnBatch b;
	char *checkpoint;
	int code = sn_batch_read(&b, o);
	if (!code)
		code = sn_model_find(o, &checkpoint);
	if (code)
		return code;
	SnSession s;
	code = sn_session_open(&s, o->entry, (int)sn_num(o, "threads", sn_cores()));
	if (!code)
		code = evaluate_file(&s, o, f, &b, checkpoint);
	sn_session_close(&s);
	free(checkpoint);
	return code;
}
