/* infer.c: infer entries: a file of inputs goes through the model in calls of at most B's bound, and the results, put
 * together along B, leave as a safetensors file or as JSON. */
#include "runtime/sn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_PRINTED = 1 << 16 };   /* elements on standard output that nobody asked for */

/* One output of all examples. */
typedef struct Result {
	const SnSlot *slot;
	int axis;                     /* the one that counts examples; -1: none */
	int64_t shape[SN_MAX_RANK], elems;
	char *at;
} Result;

typedef struct Infer {
	const SnOptions *o;
	const SnFunction *run;
	SnSession s;
	SnInputs in;
	Result *results;              /* room for all outputs; taps the last `ntap` */
	int n, ntap;
	int64_t rows;                 /* examples a call */
} Infer;

static int64_t size_of(const SnSlot *s)
{
	return s->dtype == SN_BOOL ? 1 : 4;
}

/* --- results */

/* The one axis that grows with B, in proportion; -1 where there is none or several: results that exist only whole. */
static int example_axis(Infer *f, const Result *r)
{
	int64_t more[SN_MAX_RANK] = {0};
	const SnAxis *axes = r->slot->axes;
	int found = -1;
	if (f->in.batch < 0)
		return -1;
	f->s.dims[f->in.batch]++;
	sn_slot_shape(&f->s, f->run, r->slot, more);
	f->s.dims[f->in.batch]--;
	for (int i = 0; i < r->slot->rank; i++) {
		if (more[i] == r->shape[i])
			continue;
		if (found >= 0 || axes[i].sym != f->in.batch || axes[i].offset)
			return -1;
		found = i;
	}
	return found;
}

/* s->dims has the file's values, B the number of all examples. */
static int open_result(Infer *f, const SnSlot *slot)
{
	Result *r = &f->results[f->n++];
	*r = (Result){.slot = slot, .elems = 1};
	sn_slot_shape(&f->s, f->run, slot, r->shape);
	for (int i = 0; i < slot->rank; i++)
		r->elems *= r->shape[i];
	r->axis = example_axis(f, r);
	if (r->axis < 0 && f->in.examples > f->rows)
		return sn_fail(SN_DATA, "%s: the result %s belongs to all examples together, and they are %lld; this program takes %lld at a time: build it with --set %s.B=%lld",
		               f->in.file.path, sn_text(slot->name), (long long)f->in.examples, (long long)f->rows, sn_text(f->o->entry->name), (long long)f->in.examples);
	r->at = sn_alloc((size_t)(r->elems * size_of(slot)));
	return SN_OK;
}

static int open_results(Infer *f)
{
	const SnSlot *s = f->run->slots;
	int code = SN_OK;
	for (int64_t i = 0; i < f->s.entry->nsym; i++)
		if (f->in.dims[i])
			f->s.dims[i] = f->in.dims[i];
	f->results = sn_alloc(sizeof *f->results * (size_t)f->run->nslot);
	for (int64_t i = 0; i < f->run->nslot && !code; i++)
		if (s[i].output && !sn_is_tap(&s[i]))
			code = open_result(f, &s[i]);
	int n = f->n;
	for (int64_t i = 0; i < f->run->nslot && !code && sn_taps_asked(f->o); i++)
		if (sn_is_tap(&s[i]) && sn_glob(sn_str(f->o, "tap", "*"), sn_text(s[i].name) + SN_TAP))
			code = open_result(f, &s[i]);
	f->ntap = f->n - n;
	f->n = n;
	return code;
}

/* Copies what a call of n examples from `first` on put out. */
static void keep(Infer *f, Result *r, int64_t first, int64_t n)
{
	const char *from = f->s.arena + r->slot->offset;
	int64_t outer = 1, inner = size_of(r->slot), all = f->in.examples;
	if (r->axis < 0) {
		memcpy(r->at, from, (size_t)(r->elems * inner));
		return;
	}
	for (int i = 0; i < r->axis; i++)
		outer *= r->shape[i];
	for (int i = r->axis + 1; i < r->slot->rank; i++)
		inner *= r->shape[i];
	inner *= r->shape[r->axis] / all;
	for (int64_t o = 0; o < outer; o++)
		memcpy(r->at + (o * all + first) * inner, from + o * n * inner, (size_t)(n * inner));
}

static void run_all(Infer *f)
{
	int64_t *pick = sn_alloc(sizeof *pick * (size_t)f->rows);
	for (int64_t done = 0; done < f->in.examples; done += f->rows) {
		int64_t n = f->in.examples - done < f->rows ? f->in.examples - done : f->rows;
		for (int64_t i = 0; i < n; i++)
			pick[i] = done + i;
		sn_inputs_fill(&f->in, &f->s, pick, n, SN_FIXED);
		sn_call(&f->s, f->run);
		for (int i = 0; i < f->n + f->ntap; i++)
			keep(f, &f->results[i], done, n);
	}
	free(pick);
}

/* --- out */

/* The first number, or list, of `rank` axes; returns where the next one begins. */
static const char *put_lists(SnStr *out, int dtype, const char *at, const int64_t *shape, int rank)
{
	if (!rank) {
		if (dtype == SN_F32)
			sn_json_number(out, (double)*(const float *)(const void *)at);
		else if (dtype == SN_I32)
			sn_str_printf(out, "%d", *(const int32_t *)(const void *)at);
		else
			sn_str_printf(out, *at ? "true" : "false");
		return at + (dtype == SN_BOOL ? 1 : 4);
	}
	sn_str_printf(out, "[");
	for (int64_t i = 0; i < shape[0]; i++) {
		sn_str_printf(out, i ? "," : "");
		at = put_lists(out, dtype, at, shape + 1, rank - 1);
	}
	sn_str_printf(out, "]");
	return at;
}

void sn_json_lists(SnStr *out, int dtype, const void *at, const int64_t *shape, int rank)
{
	put_lists(out, dtype, at, shape, rank);
}

static int print(const Infer *f)
{
	SnStr s = {0};
	int64_t elems = 0;
	for (int i = 0; i < f->n; i++)
		elems += f->results[i].elems;
	if (elems > MOST_PRINTED && !sn_given(f->o, "json"))
		return sn_fail(SN_USAGE, "the results have %lld numbers: give -o FILE, or --json to have them printed all the same", (long long)elems);
	sn_str_printf(&s, "{");
	for (int i = 0; i < f->n; i++) {
		sn_str_printf(&s, i ? "," : "");
		sn_json_string(&s, f->results[i].slot->name);
		sn_str_printf(&s, ":");
		sn_json_lists(&s, (int)f->results[i].slot->dtype, f->results[i].at, f->results[i].shape, (int)f->results[i].slot->rank);
	}
	sn_str_printf(&s, "}\n");
	fwrite(s.s, 1, s.n, stdout);
	free(s.s);
	return SN_OK;
}

/* n results from r on; skip: letters of their names left out. */
static int write_file(const Result *r, int n, const char *path, int skip)
{
	SnStPart *parts = sn_alloc(sizeof *parts * (size_t)(n + 1));
	for (int i = 0; i < n; i++)
		parts[i] = (SnStPart){sn_text(r[i].slot->name) + skip, (int)r[i].slot->dtype, (int)r[i].slot->rank, r[i].shape, r[i].at};
	int code = sn_st_write_parts(path, parts, n);
	free(parts);
	return code;
}

static int write_taps(const Infer *f)
{
	const char *path = sn_str(f->o, "taps", "taps.safetensors");
	if (!f->ntap)
		return sn_fail(SN_USAGE, "--tap %s: %s has no tap of such a name", sn_str(f->o, "tap", "*"), sn_text(f->o->entry->name));
	return write_file(f->results + f->n, f->ntap, path, SN_TAP);
}

/* --- the command */

static int open_all(Infer *f, const char *checkpoint)
{
	const SnOptions *o = f->o;
	int64_t bound = sn_bound(o->entry, "B");
	f->rows = bound > 0 ? bound : 1;
	int code = sn_inputs_open(&f->in, o->entry, f->run, sn_str(o, "data.inputs", NULL), NULL);
	if (!code)
		code = sn_session_start(&f->s, o->entry, o);
	if (!code)
		code = open_results(f);
	if (!code)
		code = sn_model_load(&f->s, o, checkpoint);
	return code ? code : sn_prepare(&f->s, o);
}

static int infer(Infer *f, const char *checkpoint)
{
	const char *path = sn_str(f->o, "output", NULL);
	if (path && sn_is_json_lines(path))
		return sn_fail(SN_USAGE, "%s: results of --inputs FILE are tensors (-o FILE.safetensors); --json prints them", path);
	int code = open_all(f, checkpoint);
	if (code)
		return code;
	double started = sn_clock();
	run_all(f);
	double seconds = sn_clock() - started;
	if (path)
		code = write_file(f->results, f->n, path, 0);
	if (!code && sn_taps_asked(f->o))
		code = write_taps(f);
	if (!code && (!path || sn_given(f->o, "json")))
		code = print(f);
	if (!code && !sn_given(f->o, "quiet"))
		sn_note("%lld examples, %.4f s, %.1f/s", (long long)f->in.examples, seconds, (double)f->in.examples / seconds);
	return code;
}

int sn_infer_main(const SnOptions *o)
{
	Infer f = {.o = o, .run = sn_function(o->entry, "run")};
	char *checkpoint = NULL;
	SnFed fed;
	const SnFeeder *feeder = o->entry->feeder;
	if (!f.run)
		return sn_fail(SN_FAIL, "%s has no run function", sn_text(o->entry->name));
	if (feeder && feeder->infer && !sn_given(o, "data.inputs"))
		return feeder->infer(o);
	int code = sn_source_kind(o, f.run, &fed);
	if (!code)
		code = sn_model_find(o, &checkpoint);
	if (!code)
		code = infer(&f, checkpoint);
	for (int i = 0; i < f.n + f.ntap; i++)
		free(f.results[i].at);
	free(f.results);
	sn_inputs_close(&f.in);
	sn_session_close(&f.s);
	free(checkpoint);
	return code;
}
