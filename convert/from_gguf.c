/* from_gguf.c: a GGUF file as a model in Hugging Face's terms. Every tensor that the architecture has must be there with the shape
 * that the keys say, and nothing else but what is listed here as known to be of no use. */
#include "convert/convert.h"

#include <stdlib.h>

enum { MOST_ERRORS = 8, MOST_NAMES = 2000 };   /* names: among which the nearest is looked for */

typedef struct Import { Model *m; Gguf g; const char *arch; int errors; } Import;

static const GgufKey *arch_key(const Import *x, const char *what)
{
	return gguf_key(&x->g, arena_printf(x->m->arena, "%s.%s", x->arch, what));
}

/* otherwise -1: it has to be there */
static int whole(Import *x, const char *what, int64_t otherwise, int64_t *out)
{
	const GgufKey *k = arch_key(x, what);
	if (!k && otherwise >= 0) {
		*out = otherwise;
		return SN_OK;
	}
	if (gguf_int(k, out))
		return SN_OK;
	return sn_fail(SN_DATA, k ? "%s: %s.%s is no single whole number" : "%s: the key %s.%s is missing", x->g.path, x->arch, what);
}

static int real(Import *x, const char *what, double otherwise, double *out)
{
	const GgufKey *k = arch_key(x, what);
	*out = otherwise;
	if (!k || gguf_float(k, out))
		return SN_OK;
	return sn_fail(SN_DATA, "%s: %s.%s is no number", x->g.path, x->arch, what);
}

static int64_t rows_of(const Import *x, const char *name)
{
	const GgufTensor *t = gguf_tensor(&x->g, name);
	return t && t->rank == 2 ? t->shape[0] : 0;
}

static bool same_bytes(const Import *x, const GgufTensor *a, const GgufTensor *b)
{
	const char *data = x->g.file.at + x->g.data;
	return a && b && a->type == b->type && a->bytes == b->bytes && memcmp(data + a->offset, data + b->offset, a->bytes) == 0;
}

/* Whether the output is the embedding. GPT-2's always is; files of old converters have it twice. */
static bool is_tied(Import *x)
{
	GgufTensor *output = gguf_tensor(&x->g, "output.weight");
	bool same = same_bytes(x, output, gguf_tensor(&x->g, "token_embd.weight"));
	if (output && !same && x->m->family->gpt)
		sn_note("output.weight is another form of token_embd.weight, which GPT-2 has for both: left out");
	bool tied = !output || same || x->m->family->gpt;
	if (output && tied)
		output->used = true;
	return tied;
}

static int read_sizes(Import *x)
{
	Sizes *s = &x->m->sizes;
	bool gpt = x->m->family->gpt, bert = x->m->family->bert;
	s->S = bert ? rows_of(x, "token_types.weight") : 1;
	s->V = rows_of(x, "token_embd.weight");
	if (!s->V)
		return sn_fail(SN_DATA, "%s: there is no matrix token_embd.weight: is it a model, or a vocabulary alone?", x->g.path);
	int code = whole(x, "context_length", -1, &s->N);
	if (!code)
		code = whole(x, "embedding_length", -1, &s->D);
	if (!code)
		code = whole(x, "block_count", -1, &s->L);
	if (!code)
		code = whole(x, "feed_forward_length", gpt && s->D < INT32_MAX ? 4 * s->D : -1, &s->F);
	if (!code)
		code = whole(x, "attention.head_count", -1, &s->H);
	if (!code)
		code = whole(x, "attention.head_count_kv", s->H, &s->G);
	if (!code)
		code = whole(x, "attention.key_length", s->H > 0 ? s->D / s->H : 0, &s->K);
	if (!code)
		code = real(x, gpt || bert ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon", 1e-5, &s->eps);
	if (!code)
		code = real(x, "rope.freq_base", 10000, &s->theta);
	if (code)
		return code;
	s->tied = is_tied(x);
	s->bias = !gpt && gguf_tensor(&x->g, "blk.0.attn_q.bias");
	s->biased_output = !gpt && gguf_tensor(&x->g, "blk.0.attn_output.bias");
	if (!gpt && strcmp(x->arch, "llama") == 0 && s->bias != s->biased_output)
		return sn_fail(SN_DATA, "%s: of attention only the %s has biases: LLaMA has all of them or none", x->g.path, s->bias ? "input" : "output");
	return sizes_check(s, x->g.path);
}

/* What would change the model's answers and is not taken over. */
static int check_supported(Import *x)
{
	const Sizes *s = &x->m->sizes;
	int64_t n, value;
	if (gguf_int(arch_key(x, "expert_count"), &n) && n > 0)
		return sn_fail(SN_DATA, "%s: a mixture of %lld experts, which is not imported", x->g.path, (long long)n);
	if (!x->m->family->gpt && gguf_int(arch_key(x, "rope.dimension_count"), &n) && n != s->K)
		return sn_fail(SN_DATA, "%s: rotary positions over %lld of %lld of a head, which is not imported", x->g.path, (long long)n, (long long)s->K);
	if (gguf_int(arch_key(x, "attention.value_length"), &value) && value != s->K)
		return sn_fail(SN_DATA, "%s: values as wide as %lld beside keys of %lld, which is not imported", x->g.path, (long long)value, (long long)s->K);
	if (gguf_int(arch_key(x, "attention.sliding_window"), &n) && n > 0 && n < s->N)
		return sn_fail(SN_DATA, "%s: a sliding window of %lld, which is not imported", x->g.path, (long long)n);
	return SN_OK;
}

/* --- tensors */

static void shape_text(Str *out, const int64_t *shape, int rank)
{
	str_puts(out, "[");
	for (int i = 0; i < rank; i++)
		str_printf(out, "%s%lld", i ? "," : "", (long long)shape[i]);
	str_puts(out, "]");
}

static bool same_shape(const GgufTensor *t, const int64_t *shape, int rank, Order order)
{
	if (t->rank != rank)
		return false;
	for (int i = 0; i < rank; i++)
		if (t->shape[order == ORDER_TRANSPOSED ? rank - 1 - i : i] != shape[i])
			return false;
	return true;
}

static void misfit(Import *x, const GgufTensor *t, const int64_t *shape, int rank, Order order)
{
	int64_t stored[MAX_AXES];
	for (int i = 0; i < rank; i++)
		stored[i] = shape[order == ORDER_TRANSPOSED ? rank - 1 - i : i];
	bool reversed = rank == 2 && t->rank == 2 && t->shape[0] == stored[1] && t->shape[1] == stored[0];
	Str s = {0};
	shape_text(&s, t->shape, t->rank);
	str_puts(&s, " in the file, ");
	shape_text(&s, stored, rank);
	sn_note("  %s: %s by its keys%s", t->name, s.at, reversed ? ": transposed?" : "");
	str_free(&s);
	x->errors++;
}

static void missing(Import *x, const char *name)
{
	const char *names[MOST_NAMES];
	int n = 0;
	for (int i = 0; i < x->g.tensors.len && n < MOST_NAMES; i++)
		if (!x->g.tensors.at[i].used)
			names[n++] = x->g.tensors.at[i].name;
	const char *near = sn_nearest(name, names, n);
	sn_note("  %s: not in the file%s%s", name, near ? "; nearest: " : "", near ? near : "");
	x->errors++;
}

static void take_row(Import *x, const Row *r, int layer)
{
	Model *m = x->m;
	const char *name = arena_printf(m->arena, r->gguf, layer);
	GgufTensor *t = gguf_tensor(&x->g, name);
	int64_t shape[MAX_AXES];
	int rank = row_shape(r, &m->sizes, shape);
	if (!t) {
		missing(x, name);
		return;
	}
	t->used = true;
	if (!same_shape(t, shape, rank, r->order)) {
		misfit(x, t, shape, rank, r->order);
		return;
	}
	if (rank == 1 && elem_info[t->elem].block > 1) {
		sn_note("  %s: a vector in blocks of %s, which no GGUF file has", t->name, elem_info[t->elem].name);
		x->errors++;
		return;
	}
	Weight out = {
		.name = arena_printf(m->arena, r->name, layer), .elem = t->elem, .rank = rank, .order = r->order, .at = x->g.file.at + x->g.data + t->offset,
		.heads = r->shape[0] == 'P' ? m->sizes.G : m->sizes.H,
	};
	memcpy(out.shape, shape, sizeof out.shape);
	vec_push(m->arena, &m->tensors, out);
}

/* Causal masks that old converters saved, and frequencies that follow from the keys. */
static bool of_no_use(const char *name)
{
	static const char *const globs[] = {"rope_freqs.weight", "blk.*.attn_rot_embd", "blk.*.attn.bias", "blk.*.attn.masked_bias"};
	for (int i = 0; i < COUNT(globs); i++)
		if (sn_glob(globs[i], name))
			return true;
	return false;
}

static int take_tensors(Import *x)
{
	const Family *f = x->m->family;
	const Sizes *s = &x->m->sizes;
	if (s->L > x->g.tensors.len)
		return sn_fail(SN_DATA, "%s: %s.block_count is %lld, but there are only %d tensors", x->g.path, x->arch, (long long)s->L, x->g.tensors.len);
	for (int i = 0; i < f->nrows && x->errors < MOST_ERRORS; i++)
		for (int64_t l = 0; l < (strchr(f->rows[i].gguf, '%') ? s->L : 1) && x->errors < MOST_ERRORS; l++)
			if (row_applies(&f->rows[i], s))
				take_row(x, &f->rows[i], (int)l);
	for (int i = 0; i < x->g.tensors.len && x->errors < MOST_ERRORS; i++)
		if (!x->g.tensors.at[i].used && !of_no_use(x->g.tensors.at[i].name)) {
			sn_note("  %s: %s has no such tensor", x->g.tensors.at[i].name, x->arch);
			x->errors++;
		}
	return x->errors ? sn_fail(SN_DATA, "%s: its tensors are not those of %s with %lld layers", x->g.path, x->arch, (long long)s->L) : SN_OK;
}

/* --- rotary scaling */

static int scaled_by_table(Import *x, GgufTensor *t)
{
	int64_t n = x->m->sizes.K / 2;
	if (t->elem != EL_F32 || t->rank != 1 || t->shape[0] != n)
		return sn_fail(SN_DATA, "%s: rope_freqs.weight is not %lld numbers of F32", x->g.path, (long long)n);
	float *factors = NEW_ARRAY(x->m->arena, float, n);
	memcpy(factors, x->g.file.at + x->g.data + t->offset, t->bytes);
	json_t *scaling = rope_of_factors(factors, n, &x->m->sizes);
	if (!scaling)
		return sn_fail(SN_DATA, "%s: rope_freqs.weight has factors other than LLaMA 3.1's, which are not imported", x->g.path);
	json_object_set_new(x->m->config, "rope_scaling", scaling);
	return SN_OK;
}

static int scaling(Import *x)
{
	const char *type = gguf_string(&x->g, arch_key(x, "rope.scaling.type"));
	GgufTensor *table = gguf_tensor(&x->g, "rope_freqs.weight");
	double factor;
	if (x->m->family->gpt)
		return SN_OK;
	if (table)
		return scaled_by_table(x, table);
	if (!type || strcmp(type, "none") == 0)
		return SN_OK;
	if (strcmp(type, "linear") != 0 || !gguf_float(arch_key(x, "rope.scaling.factor"), &factor))
		return sn_fail(SN_DATA, "%s: rotary scaling \"%s\" is not imported (linear and LLaMA 3.1's are)", x->g.path, type);
	json_object_set_new(x->m->config, "rope_scaling", json_pack("{s:s, s:f}", "rope_type", "linear", "factor", factor));
	return SN_OK;
}

/* --- tokenizer */

static const GgufKey *array_of(const Import *x, const char *name, uint32_t type)
{
	const GgufKey *k = gguf_key(&x->g, arena_printf(x->m->arena, "tokenizer.ggml.%s", name));
	return k && k->type == GG_ARRAY && k->of == type ? k : NULL;
}

static const char *const *strings(Import *x, const GgufKey *k)
{
	const char **out = NEW_ARRAY(x->m->arena, const char *, k->n + 1), *at = k->at;
	for (uint64_t i = 0; i < k->n; i++) {
		uint64_t n;
		const char *s = gguf_next_string(&at, &n);
		out[i] = arena_strndup(x->m->arena, s, n);
		if (memchr(s, 0, n)) {
			sn_fail(SN_DATA, "%s: at byte %llu: element %llu of %s has a byte 0", x->g.path, (unsigned long long)(s - x->g.file.at), (unsigned long long)i, k->name);
			return NULL;
		}
	}
	return out;
}

static int32_t special_id(Import *x, const char *what)
{
	int64_t id;
	bool there = gguf_int(gguf_key(&x->g, arena_printf(x->m->arena, "tokenizer.ggml.%s_token_id", what)), &id);
	return there && id >= 0 && id < x->m->sizes.V ? (int32_t)id : -1;
}

static bool switch_of(Import *x, const char *what, bool otherwise)
{
	bool on = otherwise;
	gguf_bool(gguf_key(&x->g, arena_printf(x->m->arena, "tokenizer.ggml.%s", what)), &on);
	return on;
}

static int tokenizer(Import *x)
{
	const GgufKey *tokens = array_of(x, "tokens", GG_STRING), *merges = array_of(x, "merges", GG_STRING);
	const GgufKey *scores = array_of(x, "scores", GG_F32), *types = array_of(x, "token_type", GG_I32);
	const char *kind = gguf_string(&x->g, gguf_key(&x->g, "tokenizer.ggml.model"));
	if (!tokens || !kind) {
		sn_note("there is no vocabulary in %s: no tokenizer.json is written", x->g.path);
		return SN_OK;
	}
	if (tokens->n > (uint64_t)x->m->sizes.V || (scores && scores->n != tokens->n) || (types && types->n != tokens->n))
		return sn_fail(SN_DATA, "%s: %llu tokens, %llu scores, %llu types and %lld rows of embedding don't agree", x->g.path, (unsigned long long)tokens->n,
		               (unsigned long long)(scores ? scores->n : 0), (unsigned long long)(types ? types->n : 0), (long long)x->m->sizes.V);
	bool llama = strcmp(kind, "llama") == 0;
	SnVocab v = {
		.kind = kind, .pre = gguf_string(&x->g, gguf_key(&x->g, "tokenizer.ggml.pre")), .n = (int64_t)tokens->n, .nmerges = merges ? (int64_t)merges->n : 0,
		.bos = special_id(x, "bos"), .eos = special_id(x, "eos"), .unk = special_id(x, "unknown"), .sep = special_id(x, "seperator"), .cls = special_id(x, "cls"),
		.add_bos = switch_of(x, "add_bos_token", llama), .add_eos = switch_of(x, "add_eos_token", false), .add_space_prefix = switch_of(x, "add_space_prefix", llama),
	};
	v.tokens = strings(x, tokens);
	v.merges = v.tokens && merges ? strings(x, merges) : NULL;
	if (!v.tokens || (merges && !v.merges))
		return SN_DATA;
	if (scores)
		v.scores = memcpy(NEW_ARRAY(x->m->arena, float, scores->n), scores->at, scores->n * sizeof(float));
	if (types)
		v.types = memcpy(NEW_ARRAY(x->m->arena, int32_t, types->n), types->at, types->n * sizeof(int32_t));
	x->m->tokenizer = sn_vocab_json(&v, x->g.path);
	return x->m->tokenizer ? SN_OK : SN_DATA;
}

static void chat_template(Import *x)
{
	const char *text = gguf_string(&x->g, gguf_key(&x->g, "tokenizer.chat_template"));
	json_t *j = text ? json_string(text) : NULL;   /* NULL also where it is not UTF-8 */
	if (j)
		x->m->chat = json_pack("{s:o}", "chat_template", j);
}

static void special_ids(Import *x)
{
	static const char *const ids[][2] = {{"bos", "bos_token_id"}, {"eos", "eos_token_id"}, {"padding", "pad_token_id"}};
	for (int i = 0; i < COUNT(ids); i++) {
		int32_t id = special_id(x, ids[i][0]);
		if (id >= 0)
			json_object_set_new(x->m->config, ids[i][1], json_integer(id));
	}
}

static int read_model(Import *x)
{
	Model *m = x->m;
	x->arch = gguf_string(&x->g, gguf_key(&x->g, "general.architecture"));
	if (!x->arch)
		return sn_fail(SN_DATA, "%s: the key general.architecture is missing", x->g.path);
	m->family = family_named(x->arch, NULL);
	if (!m->family)
		return sn_fail(SN_DATA, "%s: the architecture \"%.64s\" is not imported (%s are)", x->g.path, x->arch, family_list(m->arena, false));
	int code = read_sizes(x);
	if (!code)
		code = check_supported(x);
	if (!code)
		code = take_tensors(x);
	if (code)
		return code;
	m->config = config_of(m->family, &m->sizes);
	special_ids(x);
	chat_template(x);
	code = scaling(x);
	return code ? code : tokenizer(x);
}

int model_from_gguf(Model *m, Arena *a, const char *path)
{
	*m = (Model){.arena = a, .path = path, .file = {.at = ""}};
	Import x = {.m = m};
	int code = gguf_open(&x.g, a, path);
	if (code)
		return code;
	code = read_model(&x);
	m->file = x.g.file;   /* tensors are in its mapping */
	return code;
}
