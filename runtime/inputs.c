/* inputs.c: named tensors of a safetensors file as the inputs of a function. Opening matches names, dtypes and shapes, finds
 * the run-time dims from the extents, and looks at every id and bool once; filling converts the examples asked for from
 * the mapped file straight into the arena. The axis B counts examples; an input without it is the same for all. */
#include "runtime/sn.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const char *const dtype_text[] = {[SN_F32] = "f32", [SN_I32] = "i32", [SN_BOOL] = "bool"};
static const char *const dtype_reads[] = {[SN_F32] = "F32, F16, BF16 or F64", [SN_I32] = "I32, I64 or another integer type", [SN_BOOL] = "BOOL or U8"};

bool sn_slot_is_fed(const SnSlot *s)
{
	return !s->output && !(s->rank == 0 && (!strcmp(s->name, "seed") || !strcmp(s->name, "accumulate")));
}

static const SnAxis *axis_of(const SnSlot *s, int64_t i)
{
	static const SnAxis unknown = {-2, 0, 0, "?"};
	return s->axes ? (const SnAxis *)s->axes + i : &unknown;
}

void sn_slot_text(SnStr *out, const SnSlot *s)
{
	sn_str_printf(out, "%s %s[", sn_text(s->name), dtype_text[s->dtype]);
	for (int64_t i = 0; i < s->rank; i++)
		sn_str_printf(out, "%s%s", i ? "," : "", sn_text(axis_of(s, i)->text));
	sn_str_printf(out, "]");
}

/* --- trouble: each on a line of its own, counted */

typedef struct Check {
	SnInputs *in;
	const SnEntry *e;
	const SnFunction *f;
	const char *said_by[SN_MAX_SYMS];   /* the input whose extent said the symbol's value */
	int trouble;
} Check;

static void wrong(Check *c, const char *name, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void wrong(Check *c, const char *name, const char *fmt, ...)
{
	char text[400];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	c->trouble++;
	sn_note("  %s: %s", name, text);
}

static void wrong_shape(Check *c, const SnFeed *f, const char *why)
{
	SnStr s = {0}, want = {0};
	for (int i = 0; i < f->tensor->rank; i++)
		sn_str_printf(&s, "%s%lld", i ? "," : "", (long long)f->tensor->shape[i]);
	sn_slot_text(&want, f->slot);
	wrong(c, f->slot->name, "the file has [%s], wanted is %s: %s", s.s ? s.s : "", want.s, why);
	free(s.s);
	free(want.s);
}

/* --- names */

static bool excepted(const char *const *except, const char *name)
{
	for (; except && *except; except++)
		if (!strcmp(*except, name))
			return true;
	return false;
}

static bool known(const SnInputs *in, const char *name)
{
	for (int i = 0; i < in->n; i++)
		if (!strcmp(in->feed[i].slot->name, name))
			return true;
	return false;
}

static void report_missing(Check *c, const SnFeed *f)
{
	const SnSafetensors *file = &c->in->file;
	const char **names = sn_alloc(sizeof *names * (size_t)(file->n + 1));
	int n = 0;
	for (int i = 0; i < file->n; i++)
		if (!known(c->in, file->tensors[i].name))
			names[n++] = file->tensors[i].name;
	const char *near = sn_nearest(f->slot->name, names, n);
	SnStr want = {0};
	sn_slot_text(&want, f->slot);
	wrong(c, f->slot->name, "not in the file; wanted is %s%s%s", want.s, near ? "; nearest: " : "", near ? near : "");
	free(want.s);
	free(names);
}

/* Files made for training have the tokens too. */
static bool of_prompt(const Check *c, const char *name)
{
	const SnFunction *step = c->e->kind == SN_GENERATE ? sn_function(c->e, "step") : NULL;
	return step && sn_slot(step, name, false);
}

static void report_extra(Check *c)
{
	const char *names[SN_MAX_INPUTS];
	for (int i = 0; i < c->in->n; i++)
		names[i] = c->in->feed[i].slot->name;
	for (int i = 0; i < c->in->file.n; i++) {
		const char *name = c->in->file.tensors[i].name;
		if (known(c->in, name))
			continue;
		if (of_prompt(c, name)) {
			wrong(c, name, "%s takes it from --prompt or --prompt-ids, not from a file", sn_text(c->e->name));
			continue;
		}
		const char *near = sn_nearest(name, names, c->in->n);
		wrong(c, name, "%s has no such input%s%s", sn_text(c->e->name), near ? "; nearest: " : "", near ? near : "");
	}
}

static int match_names(Check *c, const char *const *except)
{
	const SnSlot *s = c->f->slots;
	SnInputs *in = c->in;
	for (int64_t i = 0; i < c->f->nslot; i++) {
		if (!sn_slot_is_fed(&s[i]) || excepted(except, s[i].name))
			continue;
		if (in->n == SN_MAX_INPUTS)
			return sn_fail(SN_FAIL, "%s has more than %d inputs", sn_text(c->e->name), SN_MAX_INPUTS);
		in->feed[in->n++] = (SnFeed){&s[i], sn_st_find(&in->file, s[i].name), -1, 1};
	}
	for (int i = 0; i < in->n; i++)
		if (!in->feed[i].tensor)
			report_missing(c, &in->feed[i]);
	report_extra(c);
	return SN_OK;
}

/* --- dtypes and shapes */

static bool reads(const SnSlot *s, const SnStTensor *t)
{
	switch (s->dtype) {
	case SN_F32: return t->kind <= SN_ST_F64;
	case SN_I32: return sn_st_is_integer(t);
	default: return t->kind == SN_ST_BOOL || t->kind == SN_ST_U8;
	}
}

/* One extent against what the model says of it. */
static void match_axis(Check *c, const SnFeed *f, int i)
{
	const SnAxis *a = axis_of(f->slot, i);
	int64_t n = f->tensor->shape[i], v;
	const SnSym *syms = c->e->syms;
	char text[200];
	if (a->sym == -1 && n != a->offset) {
		snprintf(text, sizeof text, "axis %d is %lld, not %lld", i, (long long)n, (long long)a->offset);
		wrong_shape(c, f, text);
	}
	if (a->sym < 0)
		return;
	v = (n - a->offset) / a->scale;
	if (v < 1 || v * a->scale + a->offset != n) {
		snprintf(text, sizeof text, "axis %d can't be %lld with %s at least 1", i, (long long)n, sn_text(syms[a->sym].name));
		wrong_shape(c, f, text);
	} else if (!c->in->dims[a->sym]) {
		c->in->dims[a->sym] = v;
		c->said_by[a->sym] = f->slot->name;
	} else if (c->in->dims[a->sym] != v) {
		snprintf(text, sizeof text, "%s is %lld here and %lld in %s", sn_text(syms[a->sym].name), (long long)v,
		         (long long)c->in->dims[a->sym], c->said_by[a->sym]);
		wrong_shape(c, f, text);
	}
}

static void match_types(Check *c)
{
	for (int i = 0; i < c->in->n; i++) {
		const SnFeed *f = &c->in->feed[i];
		if (!f->tensor)
			continue;
		if (!reads(f->slot, f->tensor))
			wrong(c, f->slot->name, "dtype %s; wanted is %s: %s", f->tensor->dtype, dtype_text[f->slot->dtype], dtype_reads[f->slot->dtype]);
		if (f->tensor->rank != f->slot->rank)
			wrong_shape(c, f, "another number of axes");
		for (int k = 0; k < f->slot->rank && f->tensor->rank == f->slot->rank; k++)
			match_axis(c, f, k);
	}
}

/* Extents that are no plain function of one symbol, now that the symbols are known. */
static void match_rest(Check *c)
{
	SnSession at = {.entry = c->e};
	const SnSym *syms = c->e->syms;
	for (int64_t i = 0; i < c->e->nsym; i++)
		at.dims[i] = c->in->dims[i] ? c->in->dims[i] : syms[i].bound;
	for (int i = 0; i < c->in->n; i++) {
		const SnFeed *f = &c->in->feed[i];
		int64_t shape[SN_MAX_RANK] = {0}, more[SN_MAX_RANK] = {0};
		sn_slot_shape(&at, c->f, f->slot, shape);
		if (c->in->batch >= 0) {
			at.dims[c->in->batch]++;
			sn_slot_shape(&at, c->f, f->slot, more);
			at.dims[c->in->batch]--;
		}
		for (int k = 0; k < f->slot->rank; k++) {
			const SnAxis *a = axis_of(f->slot, k);
			char text[160];
			snprintf(text, sizeof text, "axis %d is %lld; %s is %lld", k, (long long)f->tensor->shape[k], sn_text(a->text), (long long)shape[k]);
			if (a->sym == -2 && shape[k] != f->tensor->shape[k])
				wrong_shape(c, f, text);
			else if (a->sym == -2 && c->in->batch >= 0 && more[k] != shape[k])
				wrong_shape(c, f, "B counts examples: it stands alone or multiplied by a number");
		}
	}
}

static void match_bounds(Check *c)
{
	const SnSym *syms = c->e->syms;
	for (int64_t i = 0; i < c->e->nsym; i++) {
		int64_t v = c->in->dims[i];
		const char *name = syms[i].name;
		if (i != c->in->batch && v > syms[i].bound)
			wrong(c, c->said_by[i], "%s is %lld; this program was compiled for %s <= %lld: build it with --set %s.%s=%lld", name, (long long)v, name,
			      (long long)syms[i].bound, sn_text(c->e->name), name, (long long)v);
	}
}

/* --- examples */

static void find_batch(Check *c)
{
	SnInputs *in = c->in;
	const SnSym *syms = c->e->syms;
	in->batch = -1;
	for (int i = 0; i < c->e->nsym && i < SN_MAX_SYMS; i++)
		if (!strcmp(syms[i].name, "B") && in->dims[i])
			in->batch = i;
	in->examples = in->batch < 0 ? 1 : in->dims[in->batch];
	for (int i = 0; i < in->n && in->batch >= 0; i++) {
		SnFeed *f = &in->feed[i];
		for (int k = 0; f->tensor && k < f->slot->rank; k++) {
			const SnAxis *a = axis_of(f->slot, k);
			if (a->sym != in->batch)
				continue;
			if (f->axis >= 0 || a->offset)
				wrong_shape(c, f, f->axis >= 0 ? "B counts examples, on one axis alone" : "B counts examples: it stands alone or multiplied by a number");
			f->axis = k;
			f->width = a->scale;
		}
	}
}

/* --- values */

static void place_text(char *out, size_t size, const SnStTensor *t, int64_t at)
{
	int64_t index[SN_MAX_RANK];
	size_t n = 0;
	for (int i = t->rank - 1; i >= 0; i--) {
		index[i] = at % t->shape[i];
		at /= t->shape[i];
	}
	out[0] = 0;
	for (int i = 0; i < t->rank && n < size; i++)
		n += (size_t)snprintf(out + n, size - n, "%s%lld%s", i ? "," : "[", (long long)index[i], i + 1 == t->rank ? "]" : "");
}

static bool id_fits(const SnSlot *s, int64_t x)
{
	if (!s->rows)
		return x >= INT32_MIN && x <= INT32_MAX;
	return (x >= 0 && x < s->rows) || (s->optional && x == -100);
}

static void match_values(Check *c, const SnFeed *f)
{
	const SnSlot *s = f->slot;
	const SnStTensor *t = f->tensor;
	char place[200];
	for (int64_t i = 0; s->dtype != SN_F32 && i < t->elems; i++) {
		int64_t x = sn_st_integer(t, i);
		if (s->dtype == SN_BOOL ? (x & ~(int64_t)1) == 0 : id_fits(s, x))
			continue;
		place_text(place, sizeof place, t, i);
		if (s->dtype == SN_BOOL)
			wrong(c, s->name, "%s%s is %lld: neither 0 nor 1", sn_text(s->name), place, (long long)x);
		else if (s->rows)
			wrong(c, s->name, "%s%s is %lld: not an id from 0 to %lld%s", sn_text(s->name), place, (long long)x, (long long)s->rows - 1, s->optional ? ", nor -100" : "");
		else
			wrong(c, s->name, "%s%s is %lld: beyond 32 bits", sn_text(s->name), place, (long long)x);
		return;
	}
}

static int match(Check *c, const char *const *except)
{
	int code = match_names(c, except);
	if (code)
		return code;
	match_types(c);
	find_batch(c);
	if (!c->trouble)
		match_bounds(c);
	if (!c->trouble)
		match_rest(c);
	for (int i = 0; i < c->in->n && !c->trouble; i++)
		match_values(c, &c->in->feed[i]);
	return c->trouble ? sn_fail(SN_DATA, "%s does not fit the inputs of %s", c->in->file.path, sn_text(c->e->name)) : SN_OK;
}

static int match_or_close(SnInputs *in, const SnEntry *e, const SnFunction *f, const char *const *except)
{
	Check c = {.in = in, .e = e, .f = f};
	int code = match(&c, except);
	if (code)
		sn_inputs_close(in);
	return code;
}

int sn_inputs_match(SnInputs *in, const SnEntry *e, const SnFunction *f)
{
	return match_or_close(in, e, f, NULL);
}

int sn_inputs_open(SnInputs *in, const SnEntry *e, const SnFunction *f, const char *path, const char *const *except)
{
	*in = (SnInputs){.batch = -1};
	int code = sn_st_open(&in->file, path);
	return code ? code : match_or_close(in, e, f, except);
}

void sn_inputs_close(SnInputs *in)
{
	if (in->close)
		in->close(in);
	sn_st_close(&in->file);
	*in = (SnInputs){.batch = -1};
}

/* --- filling */

static void convert(const SnFeed *f, int64_t first, int64_t n, char *out)
{
	if (f->slot->dtype == SN_F32)
		sn_st_floats(f->tensor, first, n, (float *)out);
	else if (f->slot->dtype == SN_BOOL)
		memcpy(out, f->tensor->at + first, (size_t)n);
	else
		for (int64_t i = 0; i < n; i++)
			((int32_t *)out)[i] = (int32_t)sn_st_integer(f->tensor, first + i);
}

/* [outer][examples * width][inner]: of each outer part, the pieces of the examples wanted. */
static void fill(const SnFeed *f, char *out, int64_t examples, const int64_t *pick, int64_t n)
{
	int64_t outer = 1, piece = f->width, size = f->slot->dtype == SN_BOOL ? 1 : 4;
	if (f->axis < 0) {
		convert(f, 0, f->tensor->elems, out);
		return;
	}
	for (int k = 0; k < f->axis; k++)
		outer *= f->tensor->shape[k];
	for (int k = f->axis + 1; k < f->tensor->rank; k++)
		piece *= f->tensor->shape[k];
	for (int64_t o = 0; o < outer; o++)
		for (int64_t i = 0; i < n; i++, out += piece * size)
			convert(f, (o * examples + (pick ? pick[i] : i)) * piece, piece, out);
}

double sn_inputs_weight(const SnInputs *in, int64_t first, int64_t n)
{
	return in->weight ? in->weight(in, first, n) : (double)n;
}

void sn_inputs_fill(const SnInputs *in, SnSession *s, const int64_t *examples, int64_t n, int64_t drawn)
{
	if (in->fill) {
		in->fill(in, s, examples, n, drawn);
		return;
	}
	for (int64_t i = 0; i < s->entry->nsym; i++)
		if (in->dims[i])
			s->dims[i] = in->dims[i];
	if (in->batch >= 0)
		s->dims[in->batch] = n;
	for (int i = 0; i < in->n; i++)
		fill(&in->feed[i], s->arena + in->feed[i].slot->offset, in->examples, examples, n);
}
