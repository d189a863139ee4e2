/* describe.c: the program and its entries for who wants to feed them: inputs with their shapes, ids and bounds in each
 * command's --help, and all of it as JSON in `info --json`. */
#include "runtime/sn.h"

#include <stdlib.h>
#include <string.h>

static const char *const dtypes[] = {[SN_F32] = "f32", [SN_I32] = "i32", [SN_BOOL] = "bool"};
static const char *const kinds[] = {[SN_TRAIN] = "train", [SN_EVAL] = "eval", [SN_GENERATE] = "generate", [SN_INFER] = "infer", [SN_EXPLAIN] = "explain"};

enum { MOST = 2 * SN_MAX_INPUTS };
typedef struct Slots { const SnSlot *at[MOST]; int n; } Slots;

static void collect(Slots *out, const SnFunction *f, bool output)
{
	const SnSlot *s = f ? f->slots : NULL;
	for (int64_t i = 0; s && i < f->nslot; i++)
		if (!!s[i].output == output && (output || sn_slot_is_fed(&s[i])) && out->n < MOST)
			out->at[out->n++] = &s[i];
}

/* What the user gives (or gets). What generation's steps read comes from the prompt. */
static Slots slots_of(const SnEntry *e, bool output)
{
	static const char *const given[] = {[SN_TRAIN] = "step", [SN_EVAL] = "eval", [SN_GENERATE] = "encode", [SN_INFER] = "run", [SN_EXPLAIN] = "run"};
	Slots s = {0};
	collect(&s, sn_function(e, output && e->kind == SN_GENERATE ? "step" : given[e->kind]), output);
	return s;
}

static void print_input(FILE *out, const SnSlot *s)
{
	SnStr text = {0};
	sn_slot_text(&text, s);
	const char *shape = strchr(text.s, ' ') + 1;
	fprintf(out, s->rows ? "  %-14s %-20s" : "  %-14s %s", sn_text(s->name), shape);
	if (s->rows)
		fprintf(out, "  ids from 0 to %lld%s", (long long)s->rows - 1, s->optional ? ", or -100" : "");
	fputc('\n', out);
	free(text.s);
}

/* One of the inputs has it in its shape. */
static bool is_shown(const Slots *s, const char *sym)
{
	size_t n = strlen(sym);
	for (int i = 0; i < s->n; i++) {
		const SnAxis *axes = s->at[i]->axes;
		for (int64_t k = 0; axes && k < s->at[i]->rank; k++) {
			const char *text = axes[k].sym == -1 || !axes[k].text ? "" : sn_text(axes[k].text);
			for (const char *p = text; (p = strstr(p, sym)); p += n) {
				bool begins = p == text || strchr(" *+-/()", p[-1]);
				if (begins && (!p[n] || strchr(" *+-/()", p[n])))
					return true;
			}
		}
	}
	return false;
}

void sn_inputs_help(FILE *out, const SnEntry *e)
{
	const SnSym *syms = e->syms;
	Slots s = slots_of(e, false);
	int said = 0;
	if (!s.n)
		return;
	fprintf(out, "\nInputs (tensors of --inputs FILE, by name)\n");
	for (int i = 0; i < s.n; i++)
		print_input(out, s.at[i]);
	for (int64_t i = 0; i < e->nsym; i++) {
		bool examples = !strcmp(syms[i].name, "B");
		if (!is_shown(&s, syms[i].name))
			continue;
		fprintf(out, examples ? "%s%s: examples, %lld a call" : "%s%s: at most %lld", said++ ? "; " : "  ", sn_text(syms[i].name), (long long)syms[i].bound);
	}
	if (said)
		fputc('\n', out);
}

/* --- info --json */

static json_t *text_json(const void *s)
{
	json_t *j = s ? json_string(s) : NULL;
	return j ? j : json_null();
}

static json_t *settings_json(const SnSetting *s, int64_t n)
{
	json_t *out = json_object();
	for (int64_t i = 0; i < n; i++)
		json_object_set_new(out, s[i].key, !s[i].is_num ? text_json(s[i].str)
			: s[i].num == (double)(int64_t)s[i].num ? json_integer((json_int_t)s[i].num) : json_real(s[i].num));
	return out;
}

static json_t *slots_json(const SnEntry *e, bool output)
{
	Slots s = slots_of(e, output);
	json_t *out = json_array();
	for (int i = 0; i < s.n; i++) {
		const SnAxis *axes = s.at[i]->axes;
		json_t *shape = json_array(), *slot;
		for (int64_t k = 0; axes && k < s.at[i]->rank; k++)
			json_array_append_new(shape, axes[k].sym == -1 ? json_integer(axes[k].offset) : text_json(axes[k].text));
		slot = sn_json_pack("{s:s, s:s, s:o}", "name", sn_text(s.at[i]->name), "dtype", dtypes[s.at[i]->dtype], "shape", shape);
		if (s.at[i]->rows)
			json_object_set_new(slot, "ids_below", json_integer(s.at[i]->rows));
		if (s.at[i]->rows)
			json_object_set_new(slot, "may_be_ignored", json_boolean(s.at[i]->optional));
		json_array_append_new(out, slot);
	}
	return out;
}

static json_t *entry_json(const SnEntry *e, int threads)
{
	const SnSym *syms = e->syms;
	const SnFunction *f = e->functions;
	json_t *bounds = json_object(), *functions = json_object();
	for (int64_t i = 0; i < e->nsym; i++)
		json_object_set_new(bounds, syms[i].name, json_integer(syms[i].bound));
	for (int64_t i = 0; i < e->nfunction; i++)
		json_object_set_new(functions, f[i].name, json_integer(f[i].nlaunch));
	json_t *out = sn_json_pack("{s:s, s:s, s:o}", "name", sn_text(e->name), "kind", kinds[e->kind], "doc", text_json(e->doc));
	json_object_set_new(out, "memory_bytes", json_integer(e->arena_bytes + e->scratch_bytes * threads));
	json_object_set_new(out, "bounds", bounds);
	json_object_set_new(out, "inputs", slots_json(e, false));
	json_object_set_new(out, "outputs", slots_json(e, true));
	json_object_set_new(out, "launches", functions);
	json_object_set_new(out, "settings", settings_json(e->settings, e->nsetting));
	return out;
}

static json_t *tensors_json(const SnEntry *e, int64_t *elems)
{
	const SnTensor *t = e->tensors;
	json_t *out = json_array();
	*elems = 0;
	for (int64_t i = 0; i < e->ntensor; i++) {
		const int64_t *dims = t[i].dims;
		if (t[i].kind != 0)
			continue;
		json_t *shape = json_array();
		for (int64_t k = 0; k < t[i].rank; k++)
			json_array_append_new(shape, json_integer(dims[k]));
		json_array_append_new(out, sn_json_pack("{s:s, s:o, s:b, s:b}", "name", sn_text(t[i].name), "shape", shape, "decay", t[i].decay & 1, "frozen", (int)t[i].frozen));
		*elems += sn_tensor_elems(&t[i]);
	}
	return out;
}

int sn_info_json(FILE *out, const SnProgram *p, const SnEntry *full, int threads, bool tensors)
{
	const SnEntry *e = p->entries;
	int64_t elems = 0;
	json_t *all = full ? tensors_json(full, &elems) : json_array(), *entries = json_array();
	for (int64_t i = 0; i < p->nentry; i++)
		json_array_append_new(entries, entry_json(&e[i], threads));
	json_t *j = sn_json_pack("{s:s, s:o, s:o, s:o, s:I, s:I, s:o}", "name", sn_text(p->name), "doc", text_json(p->doc), "version", text_json(p->version),
	                      "target", text_json(p->target), "parameters", (json_int_t)elems, "tensors", (json_int_t)json_array_size(all), "config",
	                      settings_json(p->config, p->nconfig));
	json_object_set_new(j, "entries", entries);
	if (tensors)
		json_object_set(j, "parameter_list", all);
	char *text = json_dumps(j, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
	json_decref(all);
	json_decref(j);
	if (!text)
		return sn_fail(SN_FAIL, "out of memory");
	fprintf(out, "%s\n", text);
	free(text);
	return SN_OK;
}
