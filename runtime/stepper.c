/* stepper.c: a generate entry's functions. The prompt goes through the model in as few calls as the bound of new tokens
 * allows; no call crosses a multiple of that bound, which is what caches that are rings of positions rely on. */
#include "runtime/sn.h"

#include <stdlib.h>
#include <string.h>

/* --- symbols */

static const SnSym *sym_at(const SnEntry *e, int i)
{
	return (const SnSym *)e->syms + i;
}

/* Is symbol i <time>.something? */
static bool derived(const SnEntry *e, int i, const char *time)
{
	const char *name = sym_at(e, i)->name;
	size_t n = strlen(time);
	return !strncmp(name, time, n) && name[n] == '.';
}

/* The symbol that has a <T>.all beside it; -1. *room: that one's bound. */
static int find_time(const SnEntry *e, int64_t *room)
{
	for (int i = 0; i < e->nsym; i++)
		for (int k = 0; k < e->nsym; k++)
			if (derived(e, k, sym_at(e, i)->name) && !strcmp(strrchr(sym_at(e, k)->name, '.'), ".all")) {
				*room = sym_at(e, k)->bound;
				return i;
			}
	return -1;
}

static int axis_sym(const SnSlot *s, int64_t axis)
{
	return (int)((const SnAxis *)s->axes)[axis].sym;
}

static void set_length(SnStepper *m, int64_t n)
{
	const SnEntry *e = m->s->entry;
	const char *time = sym_at(e, m->time)->name;
	m->s->dims[m->time] = n;
	for (int i = 0; i < e->nsym; i++)
		if (derived(e, i, time))
			m->s->dims[i] = m->cached + n < sym_at(e, i)->bound ? m->cached + n : sym_at(e, i)->bound;
}

static void set_rows(SnStepper *m, int64_t rows)
{
	m->rows = rows;
	if (m->batch >= 0)
		m->s->dims[m->batch] = rows;
}

/* --- opening */

/* Inputs of the step all run along the sequence: ids, and bools that say of each token whether it is one. */
static int find_inputs(const SnStepper *m, const SnFunction *f, const SnSlot **tokens)
{
	const SnSlot *s = f->slots;
	for (int64_t i = 0; i < f->nslot; i++) {
		if (s[i].output)
			continue;
		bool fits = s[i].rank > 0 && s[i].rank <= 2 && axis_sym(&s[i], s[i].rank - 1) == m->time;
		if (fits && s[i].dtype == SN_I32 && !*tokens)
			*tokens = &s[i];
		else if (!fits || s[i].dtype != SN_BOOL)
			return sn_fail(SN_FAIL, "%s has the input %s beside its tokens, which nothing can give it", sn_text(m->s->entry->name), sn_text(s[i].name));
	}
	return *tokens ? SN_OK : sn_fail(SN_FAIL, "%s has no input of tokens", sn_text(m->s->entry->name));
}

static int find_verify(SnStepper *m)
{
	const SnEntry *e = m->s->entry;
	const SnSetting *drafts = sn_setting(e->settings, e->nsetting, "draft");
	m->verify = sn_function(e, "verify");
	if (!m->verify || !drafts)
		return SN_OK;
	m->drafts = (int64_t)drafts->num;
	m->logits = sn_slot(m->verify, "logits", true);
	return m->logits ? find_inputs(m, m->verify, &m->proposed) : sn_fail(SN_FAIL, "%s has no logits to verify", sn_text(e->name));
}

int sn_stepper_open(SnStepper *m, SnSession *s)
{
	const SnEntry *e = s->entry;
	*m = (SnStepper){.s = s, .step = sn_function(e, "step"), .encode = sn_function(e, "encode"), .batch = -1, .width = 1};
	if (!m->step)
		return sn_fail(SN_FAIL, "%s has no step", sn_text(e->name));
	m->next = sn_slot(m->step, "next", true);
	m->time = find_time(e, &m->room);
	if (!m->next || m->next->dtype != SN_F32 || m->time < 0)
		return sn_fail(SN_FAIL, "%s can't generate: it needs an output next f32[B,V] and a dimension of tokens", sn_text(e->name));
	int code = find_inputs(m, m->step, &m->tokens);
	if (!code)
		code = find_verify(m);
	if (code)
		return code;
	m->chunk = sym_at(e, m->time)->bound;
	if (m->tokens->rank == 2)
		m->batch = axis_sym(m->tokens, 0);
	if (m->batch >= 0)
		m->width = sym_at(e, m->batch)->bound;
	int64_t shape[SN_MAX_RANK] = {0};
	set_rows(m, 1);
	set_length(m, 1);
	sn_slot_shape(s, m->step, m->next, shape);
	m->V = shape[m->next->rank - 1];
	return SN_OK;
}

void sn_stepper_close(SnStepper *m)
{
	free(m->spare);
	m->spare = NULL;
}

/* --- encode */

/* The one input of ids a text can be given to, and bools of the same shape; NULL: there are others, or none. */
static const SnSlot *source_slot(const SnFunction *f)
{
	const SnSlot *s = f->slots, *found = NULL;
	for (int64_t i = 0; i < f->nslot; i++)
		if (!s[i].output && s[i].dtype == SN_I32) {
			if (found || !s[i].rank || axis_sym(&s[i], s[i].rank - 1) < 0)
				return NULL;
			found = &s[i];
		}
	for (int64_t i = 0; i < f->nslot && found; i++) {
		bool mask = s[i].dtype == SN_BOOL && s[i].rank == found->rank && axis_sym(&s[i], s[i].rank - 1) == axis_sym(found, found->rank - 1);
		if (!s[i].output && &s[i] != found && !mask)
			return NULL;
	}
	return found;
}

static void wanted(SnStr *out, const SnFunction *f)
{
	const SnSlot *s = f->slots;
	for (int64_t i = 0; i < f->nslot; i++)
		if (sn_slot_is_fed(&s[i])) {
			sn_str_printf(out, out->n ? ", " : "");
			sn_slot_text(out, &s[i]);
		}
}

static int feed_source(SnStepper *m, const SnTokenizer *t, const char *text)
{
	const SnSlot *ids = source_slot(m->encode), *s = m->encode->slots;
	SnIds source = {0};
	if (!ids)
		return sn_fail(SN_USAGE, "%s does not read a text: give --inputs FILE", sn_text(m->s->entry->name));
	if (sn_bos(t) >= 0)
		sn_ids_add(&source, sn_bos(t));
	int code = sn_encode(t, text, strlen(text), "the source", &source);
	if (sn_eos(t) >= 0)
		sn_ids_add(&source, sn_eos(t));
	int sym = axis_sym(ids, ids->rank - 1);
	int64_t bound = sym_at(m->s->entry, sym)->bound;
	if (!code && !source.n)
		code = sn_fail(SN_DATA, "the source is empty");
	if (!code && source.n > bound)
		code = sn_fail(SN_DATA, "the source has %lld tokens; this program was compiled for %lld at most", (long long)source.n, (long long)bound);
	for (int64_t i = 0; i < source.n && !code; i++)
		if (ids->rows && source.at[i] >= ids->rows)
			code = sn_fail(SN_DATA, "the source has token id %d, but the model's vocabulary is %lld: is it the model's tokenizer?", source.at[i], (long long)ids->rows);
	if (!code) {
		m->s->dims[sym] = source.n;
		memcpy(m->s->arena + ids->offset, source.at, sizeof *source.at * (size_t)source.n);
		for (int64_t i = 0; i < m->encode->nslot; i++)
			if (!s[i].output && s[i].dtype == SN_BOOL)
				memset(m->s->arena + s[i].offset, 1, (size_t)source.n);
	}
	free(source.at);
	return code;
}

static int feed_file(SnStepper *m, const char *path)
{
	SnInputs in;
	int code = sn_inputs_open(&in, m->s->entry, m->encode, path, NULL);
	if (code)
		return code;
	if (in.examples != 1)
		code = sn_fail(SN_DATA, "%s has %lld examples; one is generated from at a time", path, (long long)in.examples);
	else
		sn_inputs_fill(&in, m->s, NULL, 1, SN_FIXED);
	sn_inputs_close(&in);
	return code;
}

int sn_stepper_encode(SnStepper *m, const SnOptions *o, const SnTokenizer *t)
{
	const char *file = sn_str(o, "data.inputs", NULL), *source = sn_str(o, "source", NULL);
	SnStr want = {0};
	int code;
	if (!m->encode)
		return file || source ? sn_fail(SN_USAGE, "%s has no inputs but its tokens: give --prompt", sn_text(o->entry->name)) : SN_OK;
	if (file && source)
		return sn_fail(SN_USAGE, "--inputs and --source exclude each other");
	if (!file && !source) {
		wanted(&want, m->encode);
		code = sn_fail(SN_USAGE, "%s needs %s: give %s--inputs FILE", sn_text(o->entry->name), want.s ? want.s : "its inputs",
		               source_slot(m->encode) ? "--source TEXT or " : "");
		free(want.s);
		return code;
	}
	set_rows(m, 1);
	code = file ? feed_file(m, file) : feed_source(m, t, source);
	if (!code)
		sn_call(m->s, m->encode);
	return code;
}

/* --- steps */

void sn_stepper_restart(SnStepper *m, int64_t rows)
{
	m->cached = 0;
	set_rows(m, rows);
}

static void call(SnStepper *m, const SnFunction *f, const SnSlot *tokens, const int32_t *ids, int64_t n)
{
	const SnSlot *s = f->slots;
	set_rows(m, m->rows);
	set_length(m, n);
	for (int64_t i = 0; i < f->nslot; i++)
		if (!s[i].output && s[i].dtype == SN_BOOL)
			memset(m->s->arena + s[i].offset, 1, (size_t)(m->rows * n));
	memcpy(m->s->arena + tokens->offset, ids, sizeof *ids * (size_t)(m->rows * n));
	sn_call(m->s, f);
	m->cached += n;
}

const float *sn_stepper_feed(SnStepper *m, const int32_t *ids, int64_t n)
{
	call(m, m->step, m->tokens, ids, n);
	if (m->taps)
		((const SnStepTaps *)m->s->entry->taps)->take(m);
	return (const float *)(m->s->arena + m->next->offset);
}

const float *sn_stepper_verify(SnStepper *m, const int32_t *ids, int64_t n)
{
	call(m, m->verify, m->proposed, ids, n);
	return (const float *)(m->s->arena + m->logits->offset);
}

const float *sn_stepper_prefill(SnStepper *m, const int32_t *ids, int64_t n)
{
	const float *next = NULL;
	for (int64_t at = 0, now; at < n; at += now) {
		now = m->chunk - m->cached % m->chunk;
		if (now > n - at)
			now = n - at;
		next = sn_stepper_feed(m, ids + at, now);
	}
	return next;
}

/* --- sequences */

static const int8_t bytes_of[] = {[SN_F32] = 4, [SN_I32] = 4, [SN_BOOL] = 1, [SN_BF16] = 2, [SN_F16] = 2, [SN_I8] = 1};
static const char *const by_row[] = {"cache.", "once."};

/* Bytes of a state that belong to one sequence, which are together; 0: it has none, or they are not. */
static int64_t row_bytes(const SnStepper *m, const SnTensor *t)
{
	const SnAxis *a = t->axes;
	const int64_t *dims = t->dims;
	int64_t n = bytes_of[t->dtype];
	if (!a)
		return t->rank && dims[0] == m->width ? t->bytes / m->width : 0;
	for (int64_t i = 0; i < t->rank; i++) {
		if (a[i].sym == -2 || (i == 0 ? a[i].sym != m->batch || a[i].offset : a[i].sym == m->batch))
			return 0;
		n *= i == 0 ? a[i].scale : a[i].sym < 0 ? a[i].offset : a[i].scale * m->s->dims[a[i].sym] + a[i].offset;
	}
	return n;
}

static bool is_kept(const SnTensor *t, int from)
{
	for (int k = 0; k <= from; k++)
		if (t->kind && !strncmp(t->name, by_row[k], strlen(by_row[k])))
			return true;
	return false;
}

/* Rows that only move up need no copy beside: none is written before it is read. */
static void move_rows(SnStepper *m, const SnTensor *t, int64_t bytes, const int32_t *from, int64_t rows, bool up)
{
	char *at = m->s->arena + t->offset, *source = up ? at : m->spare;
	if (!up)
		memcpy(m->spare, at, (size_t)(bytes * m->rows));
	for (int64_t i = 0; i < rows; i++)
		if (from[i] != i)
			memcpy(at + i * bytes, source + from[i] * bytes, (size_t)bytes);
}

bool sn_stepper_branch(SnStepper *m, const int32_t *from, int64_t rows)
{
	const SnEntry *e = m->s->entry;
	const SnTensor *t = e->tensors;
	size_t most = 1;
	bool spread = m->rows == 1;     /* what encode left is the same for all sequences from then on */
	bool up = true;
	for (int64_t i = 0; i < rows; i++)
		up &= from[i] >= i;
	for (int64_t i = 0; i < e->ntensor; i++) {
		if (is_kept(&t[i], 1) && !row_bytes(m, &t[i]))
			return false;
		if (is_kept(&t[i], 1) && (size_t)t[i].bytes > most)
			most = (size_t)t[i].bytes;
	}
	if (!up && !m->spare)
		m->spare = sn_alloc(most);
	for (int64_t i = 0; i < e->ntensor; i++)
		if (is_kept(&t[i], spread))
			move_rows(m, &t[i], row_bytes(m, &t[i]), from, rows, up);
	set_rows(m, rows);
	return true;
}
