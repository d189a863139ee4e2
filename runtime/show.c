/* show.c: what of an example's results is printed, by the `show` of the entry's data: "labels" (scores of all labels, and the best), "masks" (of each
 * masked token the likeliest), else the results' numbers. */
#include "runtime/tables.h"

#include <stdlib.h>
#include <string.h>

static const float *floats(const SnOut *out, int64_t i)
{
	return out->rows[i];
}

static const int32_t *integers(const SnOut *out, int64_t i)
{
	return out->rows[i];
}

/* --- numbers */

static int show_numbers(const SnPredict *p, int64_t i, SnStr *s)
{
	for (int k = 0; k < p->nout; k++) {
		const SnOut *out = &p->out[k];
		const SnAxis *x = out->slot->axes;
		int64_t shape[SN_MAX_RANK];
		for (int axis = 1; axis < out->slot->rank; axis++)
			shape[axis] = axis == 1 && (out->along || out->masks) ? sn_out_length(p, out, i) : x[axis].offset;
		sn_str_printf(s, ",");
		sn_json_string(s, out->slot->name);
		sn_str_printf(s, ":");
		sn_json_lists(s, (int)out->slot->dtype, out->rows[i], shape + 1, (int)out->slot->rank - 1);
	}
	return SN_OK;
}

/* --- labels */

/* The name of label k; buf: room for its number. */
static const char *name_of(const SnPredict *p, int64_t k, char buf[16])
{
	snprintf(buf, 16, "%d", (int)k);
	return k < p->names.n ? p->names.at[k] : buf;
}

static int show_labels(const SnPredict *p, int64_t i, SnStr *s)
{
	const SnOut *out = &p->out[0];
	const float *scores = floats(out, i);
	int64_t best = 0;
	char buf[16];
	for (int64_t k = 1; k < out->inner; k++)
		if (scores[k] > scores[best])
			best = k;
	sn_str_printf(s, ",\"label\":");
	sn_json_string(s, name_of(p, best, buf));
	sn_str_printf(s, ",\"score\":");
	sn_json_number(s, (double)scores[best]);
	sn_str_printf(s, ",\"scores\":{");
	for (int64_t k = 0; k < out->inner; k++) {
		sn_str_printf(s, k ? "," : "");
		sn_json_string(s, name_of(p, k, buf));
		sn_str_printf(s, ":");
		sn_json_number(s, (double)scores[k]);
	}
	sn_str_printf(s, "}");
	return SN_OK;
}

/* --- masks */

static void token(SnStr *s, const SnPredict *p, int32_t id, double share)
{
	SnStr text = {0}, clean = {0};
	sn_decode_piece(p->x.tokenizer, id, true, &text);
	sn_utf8_mend(&clean, text.s ? text.s : "", text.n);
	sn_str_printf(s, "{\"token\":");
	sn_json_string(s, clean.s ? clean.s : "");
	sn_str_printf(s, ",\"id\":%d,\"score\":", id);
	sn_json_number(s, share);
	sn_str_printf(s, "}");
	free(text.s);
	free(clean.s);
}

static int show_masks(const SnPredict *p, int64_t i, SnStr *s)
{
	const SnOut *ids = &p->out[0], *shares = &p->out[1];
	const int32_t *tokens = p->x.pool.at + p->x.at[i].at[0];
	int64_t most = (int64_t)sn_num(p->o, "top", (double)ids->inner), found = 0;
	if (most > ids->inner)
		return sn_fail(SN_USAGE, "--top %lld: %s finds %lld tokens for each mask, as its top_k says", (long long)most, sn_text(p->o->entry->name), (long long)ids->inner);
	sn_str_printf(s, ",\"masks\":[");
	for (int64_t k = 0; k < p->x.at[i].n[0]; k++) {
		if (tokens[k] != p->x.mask)
			continue;
		int64_t row = ids->inner * (ids->masks ? found : k);
		sn_str_printf(s, "%s{\"position\":%lld,\"tokens\":[", found++ ? "," : "", (long long)k);
		for (int64_t j = 0; j < ids->inner && j < most; j++) {
			sn_str_printf(s, j ? "," : "");
			token(s, p, integers(ids, i)[row + j], (double)floats(shares, i)[row + j]);
		}
		sn_str_printf(s, "]}");
	}
	sn_str_printf(s, "]");
	if (found)
		return SN_OK;
	char *place = sn_predict_place(p, i);
	int code = sn_fail(SN_DATA, "%s: no mask in it: write %s where a word is to be found%s", place, sn_special(p->x.tokenizer, "[MASK]") >= 0 ? "[MASK]" : "<mask>",
	                   p->x.cut ? " (texts that are too long were cut)" : "");
	free(place);
	return code;
}

/* --- which */

static bool fits(const SnPredict *p, int k, int dtype, bool varies)
{
	return k < p->nout && (int)p->out[k].slot->dtype == dtype && (p->out[k].along || p->out[k].masks) == varies;
}

int sn_show_find(const SnPredict *p, SnShow **show)
{
	const char *kind = sn_str(p->o, "data.show", "numbers");
	const char *entry = p->o->entry->name;
	if (!strcmp(kind, "labels")) {
		*show = show_labels;
		if (p->nout == 1 && p->out[0].inner == 1)
			return sn_fail(SN_USAGE, "%s: the model has one output, which is a number and no label", entry);
		return fits(p, 0, SN_F32, false) && p->nout == 1 ? SN_OK : sn_fail(SN_USAGE, "%s: show=\"labels\" wants one result f32[B,C]", entry);
	}
	if (!strcmp(kind, "masks")) {
		*show = show_masks;
		if (!fits(p, 0, SN_I32, true) || !fits(p, 1, SN_F32, true) || p->out[0].inner != p->out[1].inner || p->out[0].masks != p->out[1].masks)
			return sn_fail(SN_USAGE, "%s: show=\"masks\" wants the results id(V)[B,T,n] and f32[B,T,n], or [B,M,n] with an input of places id(T)[B,M]", entry);
		return p->x.mask >= 0 ? SN_OK : sn_fail(SN_DATA, "%s: the tokenizer has neither [MASK] nor <mask>", entry);
	}
	*show = show_numbers;
	return !strcmp(kind, "numbers") ? SN_OK : sn_fail(SN_USAGE, "%s: show=\"%s\" is not known: labels, masks and numbers are", entry, kind);
}
