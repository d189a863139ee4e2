/* explain_json.c: all that was found, as one JSON object (docs/runtime.md, "Explaining"). */
#include "runtime/explain.h"

#include <math.h>
#include <stdlib.h>

static json_t *number(double x)
{
	return isfinite(x) ? json_real(x) : json_null();
}

static json_t *numbers(const double *at, int64_t n)
{
	json_t *list = json_array();
	for (int64_t i = 0; i < n; i++)
		json_array_append_new(list, number(at[i]));
	return list;
}

/* [T][S] */
static json_t *matrix(const float *at, int64_t T, int64_t S)
{
	json_t *rows = json_array();
	for (int64_t t = 0; t < T; t++) {
		json_t *row = json_array();
		for (int64_t s = 0; s < S; s++)
			json_array_append_new(row, number((double)at[t * S + s]));
		json_array_append_new(rows, row);
	}
	return rows;
}

/* A class or token: its number and what it is called. */
static json_t *named(const SnExplain *x, int32_t id)
{
	bool placed = x->target.of->placed;
	const char *name = placed ? NULL : sn_explain_class(x, id);
	char *label = placed ? sn_explain_label(x, id) : NULL;
	json_t *out = json_object();
	json_object_set_new(out, "id", json_integer(id));
	if (label || name)
		json_object_set_new(out, placed ? "token" : "class", json_string(label ? label : name));
	free(label);
	return out;
}

static json_t *likely(const SnExplain *x, const SnLikely *at, int n)
{
	json_t *list = json_array();
	for (int i = 0; i < n; i++) {
		json_t *one = named(x, at[i].id);
		json_object_set_new(one, "probability", number(at[i].share));
		json_array_append_new(list, one);
	}
	return list;
}

static json_t *target_json(const SnExplain *x)
{
	const SnTarget *t = &x->target;
	json_t *out = named(x, t->id);
	json_object_set_new(out, "of", json_string(t->of->slot->name));
	json_object_set_new(out, "position", t->place < 0 ? json_null() : json_integer(t->place));
	json_object_set_new(out, "score", number(t->score));
	json_object_set_new(out, "probability", t->of->C > 1 ? number(t->share) : json_null());
	json_object_set_new(out, "likeliest", likely(x, x->likely, x->nlikely));
	return out;
}

static json_t *tokens_json(const SnExplain *x)
{
	json_t *list = json_array();
	for (int64_t i = 0; i < x->T; i++) {
		json_t *one = json_object();
		json_object_set_new(one, "id", json_integer(x->ids.at[i]));
		json_object_set_new(one, "token", json_string(x->label[i]));
		json_object_set_new(one, "segment", json_integer(x->types.at[i]));
		if (x->logprob && i) {
			json_object_set_new(one, "logprob", number(x->logprob[i]));
			json_object_set_new(one, "rank", json_integer(x->rank[i]));
		}
		json_array_append_new(list, one);
	}
	return list;
}

static json_t *attribution_json(const SnExplain *x)
{
	const SnAttribution *a = &x->a;
	json_t *out = json_object(), *complete = json_object();
	json_object_set_new(out, "explains", json_string(sn_given(x->o, "log_probability") ? "log_probability" : "score"));
	json_object_set_new(out, "gradient_x_input", numbers(a->gradient, x->T));
	json_object_set_new(out, "integrated_gradients", numbers(a->integrated, x->T));
	json_object_set_new(out, "baseline", json_string(a->baseline));
	json_object_set_new(complete, "from", number(a->from));
	json_object_set_new(complete, "to", number(a->to));
	json_object_set_new(complete, "sum", number(a->sum));
	json_object_set_new(complete, "error", number(a->error));
	json_object_set_new(complete, "evaluations", json_integer(a->evaluations));
	json_object_set_new(complete, "holds", json_boolean(a->holds));
	json_object_set_new(out, "completeness", complete);
	return out;
}

static json_t *attention_json(const SnExplain *x)
{
	json_t *list = json_array();
	for (int i = 0; i < x->nmaps; i++) {
		const SnMap *m = &x->maps[i];
		json_t *one = json_object(), *heads = json_array();
		for (int64_t h = 0; h < m->H; h++)
			json_array_append_new(heads, matrix(m->at + h * m->T * m->S, m->T, m->S));
		json_object_set_new(one, "layer", json_string(m->layer));
		json_object_set_new(one, "heads", heads);
		json_array_append_new(list, one);
	}
	return list;
}

static json_t *rollout_json(const SnExplain *x)
{
	json_t *rows = json_array();
	for (int64_t t = 0; t < x->T; t++)
		json_array_append_new(rows, numbers(x->rollout + t * x->T, x->T));
	return rows;
}

static json_t *lens_json(const SnExplain *x)
{
	json_t *list = json_array();
	for (int i = 0; i < x->nstreams; i++) {
		json_t *one = json_object();
		json_object_set_new(one, "layer", json_string(x->streams[i].layer));
		json_object_set_new(one, "probability", number(x->shares[i]));
		json_object_set_new(one, "likeliest", likely(x, x->through[i], x->nlikely));
		json_array_append_new(list, one);
	}
	return list;
}

json_t *sn_explain_json(const SnExplain *x)
{
	json_t *out = json_object();
	json_object_set_new(out, "model", json_string(x->o->program->name));
	json_object_set_new(out, "causal", json_boolean(x->causal));
	json_object_set_new(out, "tokens", tokens_json(x));
	json_object_set_new(out, "target", target_json(x));
	json_object_set_new(out, "attributions", attribution_json(x));
	json_object_set_new(out, "attention", attention_json(x));
	if (x->rollout)
		json_object_set_new(out, "rollout", rollout_json(x));
	if (x->through)
		json_object_set_new(out, "lens", lens_json(x));
	return out;
}
