/* adapter.c: low-rank adapters (Hu et al. 2021, sec. 4.1) as PEFT keeps them: a directory with adapter_model.safetensors, whose tensors are
 * base_model.model.<layer>.lora_A.weight [r,in] and .lora_B.weight [out,r], and adapter_config.json. Where an entry has such matrices of a
 * layer they are loaded; elsewhere the layer's weight becomes W + scale B A, summed in double and rounded once. Scale is alpha/r, or
 * alpha/sqrt(r). What else PEFT can do (DoRA, biases, layers saved whole) is refused by name. */
#include "runtime/sn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char model_name[] = "adapter_model.safetensors", config_name[] = "adapter_config.json", before[] = "base_model.model.";
static const char *const leaf[] = {".lora_A.weight", ".lora_B.weight"};
enum { SHOWN = 8 };   /* of each kind of trouble */

bool sn_adapter_is(const char *dir)
{
	char *path = sn_format("%s/%s", dir, model_name);
	bool is = sn_exists(path);
	free(path);
	return is;
}

/* --- reading */

static bool holds(const json_t *j)
{
	return json_is_true(j) || (json_is_string(j) && *json_string_value(j)) || json_array_size(j) || json_object_size(j);
}

/* What of the config would change results, and is not done here. */
static int check_config(const SnAdapter *a)
{
	static const char *const others[] = {"use_dora", "modules_to_save", "lora_bias", "trainable_token_indices", "layer_replication", "megatron_config",
		"alora_invocation_tokens", "use_qalora", "arrow_config", "target_parameters"};
	static const char *const starts[] = {"gaussian", "eva", "orthogonal"};   /* others (pissa, olora, ..) change the weights beneath, too */
	const char *type = json_string_value(json_object_get(a->config, "peft_type")), *bias = json_string_value(json_object_get(a->config, "bias"));
	if (!type || strcmp(type, "LORA"))
		return sn_fail(SN_DATA, "%s: an adapter of the type %s is not supported: LORA is", a->path, type ? type : "null");
	if (bias && strcmp(bias, "none"))
		return sn_fail(SN_DATA, "%s: bias \"%s\" is not supported: \"none\" is", a->path, bias);
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		if (holds(json_object_get(a->config, others[i])))
			return sn_fail(SN_DATA, "%s: %s is not supported", a->path, others[i]);
	const char *init = json_string_value(json_object_get(a->config, "init_lora_weights")), *key;
	for (size_t i = 0; init && i < sizeof starts / sizeof *starts; i++)
		if (!strcmp(init, starts[i]))
			init = NULL;
	if (init)
		return sn_fail(SN_DATA, "%s: init_lora_weights \"%s\" is not supported: the adapter belongs to other weights than the model's", a->path, init);
	json_t *value;
	json_object_foreach(json_object_get(a->config, "alpha_pattern"), key, value)
		if (!json_is_number(value) || strpbrk(key, "^$*+?()[]{}|\\"))
			return sn_fail(SN_DATA, "%s: alpha_pattern \"%s\" is not supported: a layer's name, or the end of one, and a number are", a->path, key);
	if (!json_is_number(json_object_get(a->config, "lora_alpha")))
		return sn_fail(SN_DATA, "%s: %s has no number lora_alpha", a->path, config_name);
	return SN_OK;
}

/* A pattern's key is the layer's name, or its last pieces. */
static double alpha_of(const SnAdapter *a, const char *layer)
{
	const char *key;
	json_t *value;
	size_t n = strlen(layer);
	json_object_foreach(json_object_get(a->config, "alpha_pattern"), key, value) {
		size_t k = strlen(key);
		if (k <= n && !strcmp(layer + n - k, key) && (k == n || layer[n - k - 1] == '.'))
			return json_number_value(value);
	}
	return json_number_value(json_object_get(a->config, "lora_alpha"));
}

static bool is_matrix(const SnStTensor *t)
{
	return t && t->rank == 2 && sn_st_is_weight(t);
}

static int add_pair(SnAdapter *a, const SnStTensor *A, const char *layer, size_t n)
{
	char *name = sn_format("%.*s%s", (int)(layer - A->name + (ptrdiff_t)n), A->name, leaf[1]);
	const SnStTensor *B = sn_st_find(&a->file, name);
	free(name);
	if (!is_matrix(A) || !is_matrix(B) || A->shape[0] != B->shape[1] || A->shape[0] < 1)
		return sn_fail(SN_DATA, "%s: %s and its lora_B.weight are no matrices [r,in] and [out,r] of F32, F16 or BF16", a->path, A->name);
	SnLora *l = &a->at[a->n++];
	*l = (SnLora){sn_format("%.*s", (int)n, layer), A, B, 0};
	double r = (double)A->shape[0];
	l->scale = alpha_of(a, l->layer) / (json_is_true(json_object_get(a->config, "use_rslora")) ? sqrt(r) : r);
	return SN_OK;
}

static int find_pairs(SnAdapter *a)
{
	int code = SN_OK;
	a->at = sn_alloc(sizeof *a->at * (size_t)(a->file.n + 1));
	for (int i = 0; i < a->file.n && !code; i++) {
		const SnStTensor *t = &a->file.tensors[i];
		const char *layer = strncmp(t->name, before, sizeof before - 1) ? t->name : t->name + sizeof before - 1;
		size_t n = strlen(layer), k = strlen(leaf[0]);
		bool first = n > k && !strcmp(layer + n - k, leaf[0]), second = n > k && !strcmp(layer + n - k, leaf[1]);
		if (first)
			code = add_pair(a, t, layer, n - k);
		else if (!second)
			code = sn_fail(SN_DATA, "%s: tensor %s is not supported: lora_A.weight and lora_B.weight of linear layers are", a->path, t->name);
	}
	if (!code && (!a->n || a->file.n != 2 * a->n))
		code = sn_fail(SN_DATA, a->n ? "%s: some lora_B.weight have no lora_A.weight" : "%s: no lora_A.weight in it", a->path);
	return code;
}

int sn_adapter_open(SnAdapter *a, const char *dir)
{
	char *config = sn_format("%s/%s", dir, config_name);
	*a = (SnAdapter){.path = sn_format("%s/%s", dir, model_name), .config = sn_json_read(config)};
	free(config);
	int code = a->config ? check_config(a) : SN_DATA;
	if (!code)
		code = sn_st_open(&a->file, a->path);
	if (!code)
		code = sn_checkpoint_verify(a->path, &a->file.shards[0].file, false);
	if (!code)
		code = find_pairs(a);
	a->in_out = json_is_true(json_object_get(a->config, "fan_in_fan_out"));
	if (code)
		sn_adapter_close(a);
	return code;
}

void sn_adapter_close(SnAdapter *a)
{
	for (int i = 0; i < a->n; i++)
		free(a->at[i].layer);
	free(a->at);
	sn_st_close(&a->file);
	json_decref(a->config);
	free(a->path);
	*a = (SnAdapter){0};
}

/* --- into a session */

typedef struct Loading { SnSession *s; const SnProgram *p; const SnAdapter *a; int trouble, loaded, merged; } Loading;

static const SnTensor *named(const SnEntry *e, const char *name)
{
	const SnTensor *t = e->tensors;
	for (int64_t i = 0; i < e->ntensor; i++)
		if (t[i].kind == 0 && !strcmp(t[i].name, name))
			return &t[i];
	return NULL;
}

/* The layer's parameter of this leaf: by its name, or the program's prefix more or less. */
static const SnTensor *param_of(const SnEntry *e, const SnProgram *p, const char *layer, const char *end)
{
	const char *prefix = p->prefix ? sn_text(p->prefix) : "";
	size_t n = strlen(prefix);
	char *name = sn_format("%s%s%s", prefix, layer, end), *known = sn_renamed(p, name + n);
	const SnTensor *t = named(e, known ? known : name + n);
	if (!t && n)
		t = named(e, name);
	if (!t && n && !strncmp(layer, prefix, n))
		t = named(e, name + 2 * n);
	free(known);
	free(name);
	return t;
}

static bool same_shape(const SnTensor *p, const SnStTensor *t)
{
	return p->rank == t->rank && !memcmp(p->dims, t->shape, sizeof(int64_t) * (size_t)t->rank);
}

static void unknown_layer(Loading *g, const SnLora *l)
{
	const SnEntry *all = g->p->entries;
	for (int64_t i = 0; i < g->p->nentry; i++)
		if (param_of(&all[i], g->p, l->layer, ".weight"))
			return;   /* another entry has it */
	const SnEntry *e = g->s->entry;
	const SnTensor *t = e->tensors;
	const char **names = sn_alloc(sizeof *names * (size_t)(e->ntensor + 1));
	char *want = sn_format("%s.weight", l->layer);
	int n = 0;
	for (int64_t i = 0; i < e->ntensor; i++)
		if (t[i].kind == 0 && t[i].rank >= 2 && !t[i].adapter)
			names[n++] = t[i].name;
	const char *near = sn_nearest(want, names, n);
	if (g->trouble++ < SHOWN)
		sn_note("  %s: the model has no such layer%s%s", l->layer, near ? "; nearest: " : "", near ? near : "");
	free(want);
	free(names);
}

static void misfit(Loading *g, const SnLora *l, const SnTensor *t)
{
	const int64_t *d = t->dims;
	if (g->trouble++ < SHOWN)
		sn_note("  %s: the adapter is [%lld,%lld] of rank %lld, the model's %s [%lld,%lld]", l->layer, (long long)l->B->shape[0], (long long)l->A->shape[1],
		        (long long)l->A->shape[0], sn_text(t->name), (long long)d[0], t->rank > 1 ? (long long)d[1] : 1);
}

static void one(Loading *g, const SnLora *l)
{
	const SnEntry *e = g->s->entry;
	const SnTensor *A = param_of(e, g->p, l->layer, leaf[0]), *B = param_of(e, g->p, l->layer, leaf[1]), *w = param_of(e, g->p, l->layer, ".weight");
	bool in_out = g->a->in_out;
	if (A && B && same_shape(A, l->A) && same_shape(B, l->B) && fabs(B->b - l->scale) <= 1e-6 * fabs(l->scale)) {
		sn_st_read(l->A, sn_external_own(g->s, A));
		sn_st_read(l->B, sn_external_own(g->s, B));
		g->loaded++;
	} else if (A && B && e->kind == SN_TRAIN) {
		if (same_shape(A, l->A) && same_shape(B, l->B) && g->trouble++ < SHOWN)
			sn_note("  %s: the adapter is multiplied by %g, the program's by %g", l->layer, l->scale, B->b);
		else
			misfit(g, l, A);
	} else if (!w) {
		unknown_layer(g, l);
	} else if (!sn_lora_fits(l, (int)w->rank, w->dims, &in_out)) {
		misfit(g, l, w);
	} else {
		sn_lora_add(l, sn_external_own(g->s, w), in_out, g->s->pool);
		g->merged++;
	}
}

int sn_adapter_load(SnSession *s, const SnProgram *p, const char *dir)
{
	SnAdapter a;
	int code = sn_adapter_open(&a, dir);
	if (code)
		return code;
	Loading g = {s, p, &a, 0, 0, 0};
	const SnShard *shard = &a.file.shards[0];
	uint64_t parts[4] = {s->weights, shard->file.id, sn_sum(shard->file.at, shard->header_bytes), 0};
	for (int i = 0; i < a.n; i++) {
		one(&g, &a.at[i]);
		parts[3] = parts[3] * 31 + sn_sum(&a.at[i].scale, sizeof(double));
	}
	s->weights = sn_sum(parts, sizeof parts);   /* never the file's alone, for --pack-cache */
	s->altered |= g.merged > 0;
	if (g.trouble)
		code = sn_fail(SN_DATA, "%s: %d of the adapter's %d layers don't fit this program", a.path, g.trouble, a.n);
	else
		sn_note("an adapter of %d layers (rank %lld) from %s%s", g.loaded + g.merged, (long long)a.at[0].A->shape[0], dir, g.merged ? ", added to the weights" : "");
	sn_adapter_close(&a);
	return code;
}

/* --- writing */

static bool is_ours(const SnTensor *t)
{
	return t->kind == 0 && t->adapter && !t->frozen;
}

bool sn_adapter_trains(const SnEntry *e)
{
	const SnTensor *t = e->tensors;
	for (int64_t i = 0; i < e->ntensor && e->kind == SN_TRAIN; i++)
		if (is_ours(&t[i]))
			return true;
	return false;
}

/* Bytes of the name before the leaf; 0: the name is no lora_<which>'s. */
static size_t layer_length(const SnTensor *t, int which)
{
	size_t n = strlen(t->name), k = strlen(leaf[which]);
	return n > k && !strcmp((const char *)t->name + n - k, leaf[which]) ? n - k : 0;
}

/* The last piece of a layer's name says which are adapted, where all that are called so are; else the whole name does. */
static json_t *target(const SnEntry *e, const char *prefix, const char *layer, size_t n)
{
	const SnTensor *t = e->tensors;
	size_t k = n;
	while (k && layer[k - 1] != '.')
		k--;
	char *end = sn_format(".%.*s.weight", (int)(n - k), layer + k);
	bool all = true;
	for (int64_t i = 0; i < e->ntensor && all; i++) {
		size_t len = strlen(t[i].name), m = strlen(end);
		if (t[i].kind || t[i].rank < 2 || len <= m || strcmp((const char *)t[i].name + len - m, end))
			continue;
		char *A = sn_format("%.*s%s", (int)(len - strlen(".weight")), sn_text(t[i].name), leaf[0]);
		all = named(e, A) != NULL;
		free(A);
	}
	free(end);
	return all ? json_stringn(layer + k, n - k) : json_sprintf("%s%.*s", prefix, (int)n, layer);
}

/* PEFT writes whole numbers as such. */
static json_t *number(double x)
{
	return x == floor(x) && fabs(x) < 0x1p53 ? json_integer((json_int_t)x) : json_real(x);
}

static void add_once(json_t *list, json_t *text)
{
	size_t i;
	json_t *have;
	json_array_foreach(list, i, have)
		if (json_equal(have, text)) {
			json_decref(text);
			return;
		}
	json_array_append_new(list, text);
}

/* As PEFT writes it. base: NULL, or where the weights came from; texts: the model goes on with texts. */
static json_t *config_of(const SnEntry *e, const char *prefix, const char *base, bool texts)
{
	const SnTensor *t = e->tensors;
	const SnSetting *dropout = sn_setting(e->settings, e->nsetting, "adapter.dropout");
	json_t *targets = json_array(), *ranks = json_object(), *alphas = json_object();
	int64_t r = 0;
	double alpha = 0;
	bool in_out = false;
	for (int64_t i = 0; i < e->ntensor; i++) {
		size_t n = is_ours(&t[i]) ? layer_length(&t[i], 1) : 0;
		if (!n)
			continue;
		int64_t rank = ((const int64_t *)t[i].dims)[1];
		double scaled = t[i].b * (double)rank;
		char *layer = sn_format("%s%.*s", prefix, (int)n, sn_text(t[i].name));
		if (!r)
			r = rank, alpha = scaled;
		if (rank != r)
			json_object_set_new(ranks, layer, json_integer(rank));
		if (scaled != alpha)
			json_object_set_new(alphas, layer, number(scaled));
		in_out |= t[i].a != 0;
		add_once(targets, target(e, prefix, t[i].name, n));
		free(layer);
	}
	json_t *j = sn_json_pack("{s:s, s:I, s:o, s:f, s:s, s:b, s:o, s:o, s:o, s:b, s:b, s:b}", "peft_type", "LORA", "r", (json_int_t)r, "lora_alpha", number(alpha),
	                      "lora_dropout", dropout ? dropout->num : 0.0, "bias", "none", "fan_in_fan_out", in_out, "target_modules", targets, "rank_pattern", ranks,
	                      "alpha_pattern", alphas, "use_rslora", 0, "use_dora", 0, "inference_mode", 1);
	json_object_set_new(j, "modules_to_save", json_null());
	json_object_set_new(j, "task_type", texts ? json_string("CAUSAL_LM") : json_null());
	const char *slash = base ? strrchr(base, '/') : NULL;
	bool whole = slash && !strncmp(slash + 1, "model.safetensors", strlen("model.safetensors"));   /* the directory has all of the model */
	json_object_set_new(j, "base_model_name_or_path", base ? json_stringn(base, whole ? (size_t)(slash - base) : strlen(base)) : json_null());
	return j;
}

int sn_adapter_save(const SnSession *s, const SnProgram *p, const char *dir, bool texts, uint64_t *sum)
{
	const SnEntry *e = s->entry;
	const SnTensor *t = e->tensors;
	const char *prefix = p->prefix ? sn_text(p->prefix) : "";
	SnStPart *parts = sn_alloc(sizeof *parts * (size_t)(e->ntensor + 1));
	char *path = sn_format("%s/%s", dir, model_name);
	int n = 0;
	for (int64_t i = 0; i < e->ntensor; i++)
		if (is_ours(&t[i]))
			parts[n++] = (SnStPart){sn_format("%s%s%s", before, prefix, sn_text(t[i].name)), SN_F32, (int)t[i].rank, t[i].dims, s->arena + t[i].offset};
	int code = sn_st_put(path, parts, n, sum);
	free(path);
	path = sn_format("%s/%s", dir, config_name);
	json_t *config = config_of(e, prefix, s->base, texts);
	char *text = json_dumps(config, JSON_INDENT(2) | JSON_SORT_KEYS);
	if (!code)
		code = sn_file_write(path, text, strlen(text));
	free(text);
	json_decref(config);
	free(path);
	for (int i = 0; i < n; i++)
		free((char *)parts[i].name);
	free(parts);
	return code;
}
