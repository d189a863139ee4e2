/* from_llama2c.c: llama2.c's two files (its README and export.py, version 0): seven int32 (width, feed-forward width, layers, heads,
 * key/value heads, vocabulary, context), then all weights in F32, a kind after the other. A vocabulary below 0 says that the
 * output has a matrix of its own, at the end. The tokenizer is the length of the longest token, then score, length and bytes of each. */
#include "convert/convert.h"

#include <stdlib.h>

enum { HEADER = 7 * 4 };

/* In the file's order; "": passed over. */
static const struct { const char *name, *shape; Order order; bool layers; } parts[] = {
	{"model.embed_tokens.weight", "VD", 0, false},
	{"model.layers.%d.input_layernorm.weight", "D", 0, true},
	{"model.layers.%d.self_attn.q_proj.weight", "QD", ORDER_HALVES, true},
	{"model.layers.%d.self_attn.k_proj.weight", "PD", ORDER_HALVES, true},
	{"model.layers.%d.self_attn.v_proj.weight", "PD", 0, true},
	{"model.layers.%d.self_attn.o_proj.weight", "DQ", 0, true},
	{"model.layers.%d.post_attention_layernorm.weight", "D", 0, true},
	{"model.layers.%d.mlp.gate_proj.weight", "FD", 0, true},
	{"model.layers.%d.mlp.down_proj.weight", "DF", 0, true},
	{"model.layers.%d.mlp.up_proj.weight", "FD", 0, true},
	{"model.norm.weight", "D", 0, false},
	{"", "NK", 0, false},   /* cosines and sines, of half a head each */
	{"lm_head.weight", "VD", 0, false},
};

static int read_header(Model *m)
{
	int32_t h[7];
	Sizes *s = &m->sizes;
	if (m->file.n < HEADER)
		return sn_fail(SN_DATA, "%s: shorter than llama2.c's header of %d bytes", m->path, HEADER);
	memcpy(h, m->file.at, sizeof h);
	if (h[5] == INT32_MIN)
		return sn_fail(SN_DATA, "%s: at byte 20: no size of a vocabulary", m->path);
	*s = (Sizes){.D = h[0], .F = h[1], .L = h[2], .H = h[3], .G = h[4], .V = abs(h[5]), .N = h[6], .S = 1, .eps = 1e-5, .theta = 10000, .tied = h[5] > 0};
	s->K = s->H > 0 && s->D > 0 ? s->D / s->H : 0;
	if (h[0] == 0x616B3432)   /* "ak42" */
		return sn_fail(SN_DATA, "%s: a llama2.c file of version %d; only those of version 0 are imported", m->path, h[1]);
	int code = sizes_check(s, m->path);
	if (!code && s->D % s->H)
		code = sn_fail(SN_DATA, "%s: a width of %lld is no multiple of %lld heads", m->path, (long long)s->D, (long long)s->H);
	return code;
}

/* One tensor at *at; false where the file ends before its end. */
static bool take(Model *m, int part, int64_t layer, uint64_t *at)
{
	Row r = {.shape = parts[part].shape};
	Weight t = {.elem = EL_F32, .order = parts[part].order, .heads = parts[part].shape[0] == 'P' ? m->sizes.G : m->sizes.H};
	uint64_t bytes = 4;
	t.rank = row_shape(&r, &m->sizes, t.shape);
	for (int i = 0; i < t.rank; i++)
		if (__builtin_mul_overflow(bytes, (uint64_t)t.shape[i], &bytes))
			return false;
	if (bytes > m->file.n - *at)
		return false;
	t.at = m->file.at + *at;
	*at += bytes;
	if (*parts[part].name) {
		t.name = arena_printf(m->arena, parts[part].name, (int)layer);
		vec_push(m->arena, &m->tensors, t);
	}
	return true;
}

static int read_weights(Model *m)
{
	uint64_t at = HEADER;
	for (int i = 0; i < COUNT(parts); i++)
		for (int64_t l = 0; l < (parts[i].layers ? m->sizes.L : 1); l++)
			if (!(i == COUNT(parts) - 1 && m->sizes.tied) && !take(m, i, l, &at))
				return sn_fail(SN_DATA, "%s: at byte %llu: the file ends before %s of layer %lld", m->path, (unsigned long long)at,
				               *parts[i].name ? parts[i].name : "the rotary tables", (long long)l);
	if (at != m->file.n)
		return sn_fail(SN_DATA, "%s: at byte %llu: %llu bytes more than its header says: no llama2.c file of version 0?", m->path, (unsigned long long)at,
		               (unsigned long long)(m->file.n - at));
	return SN_OK;
}

/* --- tokenizer */

enum { NORMAL = 1, UNKNOWN, CONTROL, BYTE = 6 };

/* llama2.c has blanks for SentencePiece's U+2581, and lines around the texts of its special tokens. */
static const char *as_sentencepiece(Arena *a, const char *s, int32_t n, int64_t id)
{
	static const char *const special[] = {"<unk>", "<s>", "</s>"};
	Str out = {0};
	if (id < COUNT(special))
		return special[id];
	for (int32_t i = 0; i < n; i++)
		str_put(&out, s[i] == ' ' ? "\xE2\x96\x81" : s + i, s[i] == ' ' ? 3 : 1);
	const char *text = arena_strndup(a, out.at ? out.at : "", out.len);
	str_free(&out);
	return text;
}

static bool is_byte(const char *s)
{
	unsigned value;
	int end = 0;
	return sscanf(s, "<0x%2X>%n", &value, &end) == 1 && end == 6 && !s[6];
}

static int read_tokenizer(Model *m, const char *path, const SnFile *f)
{
	int64_t V = m->sizes.V;
	if (f->n < 4 || (f->n - 4) / 8 < (uint64_t)V)
		return sn_fail(SN_DATA, "%s: too short for %lld tokens", path, (long long)V);
	const char **tokens = NEW_ARRAY(m->arena, const char *, V);
	float *scores = NEW_ARRAY(m->arena, float, V);
	int32_t *types = NEW_ARRAY(m->arena, int32_t, V), length;
	uint64_t at = 4;
	for (int64_t i = 0; i < V; i++) {
		if (f->n - at < 8)
			return sn_fail(SN_DATA, "%s: at byte %llu: the file ends before token %lld of %lld", path, (unsigned long long)at, (long long)i, (long long)V);
		memcpy(&scores[i], f->at + at, 4);
		memcpy(&length, f->at + at + 4, 4);
		at += 8;
		if (length < 0 || (uint64_t)length > f->n - at || memchr(f->at + at, 0, (size_t)length))
			return sn_fail(SN_DATA, "%s: at byte %llu: token %lld is to have %d bytes: more than the file, or one of them is 0", path, (unsigned long long)at,
			               (long long)i, length);
		tokens[i] = as_sentencepiece(m->arena, f->at + at, length, i);
		types[i] = i == 0 ? UNKNOWN : i < 3 ? CONTROL : is_byte(tokens[i]) ? BYTE : NORMAL;
		at += (uint64_t)length;
	}
	if (at != f->n)
		return sn_fail(SN_DATA, "%s: at byte %llu: more than %lld tokens: it is another model's", path, (unsigned long long)at, (long long)V);
	SnVocab v = {
		.kind = "llama", .n = V, .tokens = tokens, .scores = scores, .types = types, .bos = 1, .eos = 2, .unk = 0, .sep = -1, .cls = -1,
		.add_bos = true, .add_space_prefix = true,
	};
	m->tokenizer = sn_vocab_json(&v, path);
	return m->tokenizer ? SN_OK : SN_DATA;
}

int model_from_llama2c(Model *m, Arena *a, const char *path, const char *tokenizer)
{
	SnFile f;
	*m = (Model){.arena = a, .path = path, .family = family_named("llama", NULL), .file = {.at = ""}};
	int code = sn_file_map(&m->file, path);
	if (!code)
		code = read_header(m);
	if (!code)
		code = read_weights(m);
	if (code)
		return code;
	m->config = config_of(m->family, &m->sizes);
	json_object_set_new(m->config, "bos_token_id", json_integer(1));
	json_object_set_new(m->config, "eos_token_id", json_integer(2));
	if (!tokenizer || (code = sn_file_map(&f, tokenizer)))
		return code;
	code = read_tokenizer(m, tokenizer, &f);
	sn_file_unmap(&f);
	return code;
}
