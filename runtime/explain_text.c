/* explain_text.c: the text that is explained as an entry's inputs: ids with what the post-processor adds, which text each is of, and that
 * all are real. */
#include "runtime/explain.h"

#include <stdlib.h>
#include <string.h>

/* --- ids */

static int encode(SnExplain *x, const char *text, SnIds *out)
{
	size_t n = strlen(text);
	char *owned = NULL;
	if (!strcmp(text, "-")) {
		owned = sn_read_stdin(&n);
		if (!owned)
			return SN_DATA;
		while (n && (owned[n - 1] == '\n' || owned[n - 1] == '\r'))
			n--;
	}
	int code = sn_encode(x->data.tokenizer, owned ? owned : text, n, "the text", out);
	free(owned);
	return code;
}

static int make_ids(SnExplain *x)
{
	SnIds a = {0}, b = {0};
	bool pair = x->o->ntext > 1;
	int code = x->o->ntext ? encode(x, x->o->text[0], &a) : sn_fail(SN_USAGE, "%s wants a text: %s \"a text\" [\"a second text\"]", sn_text(x->entry->name), sn_text(x->entry->name));
	if (!code && pair)
		code = encode(x, x->o->text[1], &b);
	if (!code) {
		sn_post_process(x->data.tokenizer, &a, pair ? &b : NULL, &x->ids, &x->types);
		sn_places(x->data.tokenizer, a.n, pair ? b.n : -1, &x->places);
	}
	if (!code && !x->ids.n)
		code = sn_fail(SN_DATA, "a text without any token");
	free(a.at);
	free(b.at);
	return code ? code : sn_data_check(x->o, x->data.tokenizer, &x->ids, "the text");
}

/* --- labels */

static bool is_wordpiece(const SnExplain *x)
{
	return !strcmp(sn_tokenizer_kind(x->data.tokenizer), "wordpiece");
}

/* Blanks and ends of lines are to be seen. */
static void visible(SnStr *out, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];
		const char *as = c == ' ' ? "\u00B7" : c == '\n' ? "\u21B5" : c == '\t' ? "\u2192" : c < ' ' || c == 127 ? "\uFFFD" : NULL;
		sn_str_add(out, as ? as : s + i, as ? strlen(as) : 1);
	}
}

char *sn_explain_label(const SnExplain *x, int32_t id)
{
	SnStr raw = {0}, whole = {0}, out = {0};
	sn_str_add(&raw, "", 0);
	sn_str_add(&whole, "", 0);
	sn_str_add(&out, "", 0);
	if (!is_wordpiece(x))
		sn_decode_piece(x->data.tokenizer, id, false, &raw);
	if (!raw.n)   /* special tokens have no text, but a name */
		sn_token_text(x->data.tokenizer, id, &raw);
	sn_utf8_mend(&whole, raw.s, raw.n);
	visible(&out, whole.s, whole.n);
	free(raw.s);
	free(whole.s);
	return out.s;
}

static void make_labels(SnExplain *x)
{
	x->label = sn_alloc(sizeof *x->label * (size_t)x->T);
	for (int64_t i = 0; i < x->T; i++)
		x->label[i] = sn_explain_label(x, x->ids.at[i]);
}

const char *sn_explain_class(const SnExplain *x, int32_t id)
{
	return id < x->classes.n ? x->classes.at[id] : NULL;
}

/* --- dims and inputs */

static int64_t *dim_of(SnExplain *x, int axis)
{
	const SnAxis *a = x->tokens->axes;
	return a && a[axis].sym >= 0 && a[axis].scale == 1 && !a[axis].offset ? &x->s.dims[a[axis].sym] : NULL;
}

/* What helps: a program with a greater bound, as far as the model has positions; a shorter text. */
static int too_long(const SnExplain *x, const SnSym *t)
{
	const char *entry = sn_text(x->entry->name), *name = sn_text(t->name);
	char key[64];
	snprintf(key, sizeof key, "most.%s", name);
	int64_t most = (int64_t)sn_num(x->o, key, 0);
	SnStr s = {0};
	if (!most || x->T <= most)
		sn_str_printf(&s, "build it with --set %s.%s=%lld", entry, name, (long long)x->T);
	else if (most > t->bound)
		sn_str_printf(&s, "the model itself takes %lld: shorten the text, and build it with --set %s.%s=%lld", (long long)most, entry, name, (long long)most);
	else
		sn_str_printf(&s, "the model itself takes no more: shorten the text");
	int code = sn_fail(SN_DATA, "the text has %lld tokens; this program explains %lld at most: %s", (long long)x->T, (long long)t->bound, s.s);
	free(s.s);
	return code;
}

static int set_dims(SnExplain *x)
{
	const SnSym *syms = x->entry->syms;
	int64_t *batch = dim_of(x, 0), *time = dim_of(x, 1);
	if (!batch || !time)
		return sn_fail(SN_USAGE, "%s: the extents of its tokens are not run-time dims: a text can't be fed", sn_text(x->entry->name));
	const SnSym *t = &syms[time - x->s.dims];
	if (x->T > t->bound)
		return too_long(x, t);
	x->rows = syms[batch - x->s.dims].bound;
	*time = x->T;
	*batch = 1;
	return SN_OK;
}

static bool is_own(const char *name)
{
	static const char *const own[] = {"alpha", "baseline", "position", "target", "normalise", "residual"};
	for (size_t i = 0; i < sizeof own / sizeof *own; i++)
		if (!strcmp(name, own[i]))
			return true;
	return false;
}

static int fill(SnExplain *x, const SnSlot *slot, int64_t rows)
{
	char *at = x->s.arena + slot->offset;
	for (int64_t r = 0; r < rows; r++)
		for (int64_t i = 0; i < x->T; i++) {
			int64_t k = r * x->T + i;
			int32_t type = x->types.at[i];
			if (slot->dtype == SN_BOOL)
				at[k] = 1;
			else if (!strcmp(slot->name, x->tokens->name))
				((int32_t *)at)[k] = x->ids.at[i];
			else if (slot->rows && type >= slot->rows)
				return sn_fail(SN_DATA, "the tokenizer marks the second text with %d, but %s has %lld rows", type, sn_text(slot->name), (long long)slot->rows);
			else
				((int32_t *)at)[k] = type;
		}
	return SN_OK;
}

int sn_explain_inputs(SnExplain *x, const SnFunction *f, int64_t rows)
{
	const SnSlot *slots = f->slots;
	int code = SN_OK;
	*dim_of(x, 0) = rows;
	for (int64_t i = 0; i < f->nslot && !code; i++) {
		const SnSlot *s = &slots[i];
		int64_t shape[SN_MAX_RANK] = {0};
		SnStr text = {0};
		if (s->output || !sn_slot_is_fed(s) || is_own(s->name))
			continue;
		sn_slot_shape(&x->s, f, s, shape);
		if (s->rank == 2 && shape[0] == rows && shape[1] == x->T && s->dtype != SN_F32) {
			code = fill(x, s, rows);
			continue;
		}
		sn_slot_text(&text, s);
		code = sn_fail(SN_USAGE, "%s: its input %s can't be made of a text", sn_text(x->entry->name), text.s);
		free(text.s);
	}
	return code;
}

static const SnSlot *find_tokens(SnExplain *x)
{
	const SnSetting *s = sn_setting(x->entry->settings, x->entry->nsetting, "explain.tokens");
	return s && s->str ? sn_slot(x->run, s->str, false) : NULL;
}

int sn_explain_text(SnExplain *x)
{
	const SnSetting *causal = sn_setting(x->entry->settings, x->entry->nsetting, "explain.causal");
	x->causal = causal && causal->str && !strcmp(causal->str, "yes");
	x->tokens = find_tokens(x);
	if (!x->tokens)
		return sn_fail(SN_FAIL, "%s has no tokens", sn_text(x->entry->name));
	x->data.tokenizer = sn_data_weights_tokenizer(x->o, x->checkpoint, "");
	int code = x->data.tokenizer ? make_ids(x) : SN_DATA;
	if (!code)
		code = sn_names_read(&x->classes, x->checkpoint);
	if (code)
		return code;
	x->T = x->ids.n;
	make_labels(x);
	return set_dims(x);
}
