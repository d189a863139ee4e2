/* family.c: one table an architecture: its tensors' names and shapes in GGUF and in Hugging Face's checkpoints, and the sizes that
 * both configurations say. Import and export read the same rows. */
#include "convert/convert.h"

#include <math.h>

#define DECODER_LAYER(order) \
	{"blk.%d.attn_norm.weight", "model.layers.%d.input_layernorm.weight", "D", 0, 0}, \
	{"blk.%d.attn_q.weight", "model.layers.%d.self_attn.q_proj.weight", "QD", order, 0}, \
	{"blk.%d.attn_q.bias", "model.layers.%d.self_attn.q_proj.bias", "Q", order, 'b'}, \
	{"blk.%d.attn_k.weight", "model.layers.%d.self_attn.k_proj.weight", "PD", order, 0}, \
	{"blk.%d.attn_k.bias", "model.layers.%d.self_attn.k_proj.bias", "P", order, 'b'}, \
	{"blk.%d.attn_v.weight", "model.layers.%d.self_attn.v_proj.weight", "PD", 0, 0}, \
	{"blk.%d.attn_v.bias", "model.layers.%d.self_attn.v_proj.bias", "P", 0, 'b'}, \
	{"blk.%d.attn_output.weight", "model.layers.%d.self_attn.o_proj.weight", "DQ", 0, 0}, \
	{"blk.%d.attn_output.bias", "model.layers.%d.self_attn.o_proj.bias", "D", 0, 'p'}, \
	{"blk.%d.ffn_norm.weight", "model.layers.%d.post_attention_layernorm.weight", "D", 0, 0}, \
	{"blk.%d.ffn_gate.weight", "model.layers.%d.mlp.gate_proj.weight", "FD", 0, 0}, \
	{"blk.%d.ffn_up.weight", "model.layers.%d.mlp.up_proj.weight", "FD", 0, 0}, \
	{"blk.%d.ffn_down.weight", "model.layers.%d.mlp.down_proj.weight", "DF", 0, 0}
#define DECODER_ENDS \
	{"token_embd.weight", "model.embed_tokens.weight", "VD", 0, 0}, \
	{"output_norm.weight", "model.norm.weight", "D", 0, 0}, \
	{"output.weight", "lm_head.weight", "VD", 0, 'o'}

/* GGUF keeps the rotary pairs of llama's heads as neighbours, of others as they are. */
static const Row llama_rows[] = {DECODER_ENDS, DECODER_LAYER(ORDER_HALVES)};
static const Row qwen2_rows[] = {DECODER_ENDS, DECODER_LAYER(ORDER_SAME)};
/* Hugging Face stores GPT-2's matrices as [in, out]. */
static const Row gpt2_rows[] = {
	{"token_embd.weight", "wte.weight", "VD", 0, 0},
	{"position_embd.weight", "wpe.weight", "ND", 0, 0},
	{"output_norm.weight", "ln_f.weight", "D", 0, 0},
	{"output_norm.bias", "ln_f.bias", "D", 0, 0},
	{"blk.%d.attn_norm.weight", "h.%d.ln_1.weight", "D", 0, 0},
	{"blk.%d.attn_norm.bias", "h.%d.ln_1.bias", "D", 0, 0},
	{"blk.%d.attn_qkv.weight", "h.%d.attn.c_attn.weight", "DC", ORDER_TRANSPOSED, 0},
	{"blk.%d.attn_qkv.bias", "h.%d.attn.c_attn.bias", "C", 0, 0},
	{"blk.%d.attn_output.weight", "h.%d.attn.c_proj.weight", "DD", ORDER_TRANSPOSED, 0},
	{"blk.%d.attn_output.bias", "h.%d.attn.c_proj.bias", "D", 0, 0},
	{"blk.%d.ffn_norm.weight", "h.%d.ln_2.weight", "D", 0, 0},
	{"blk.%d.ffn_norm.bias", "h.%d.ln_2.bias", "D", 0, 0},
	{"blk.%d.ffn_up.weight", "h.%d.mlp.c_fc.weight", "DF", ORDER_TRANSPOSED, 0},
	{"blk.%d.ffn_up.bias", "h.%d.mlp.c_fc.bias", "F", 0, 0},
	{"blk.%d.ffn_down.weight", "h.%d.mlp.c_proj.weight", "FD", ORDER_TRANSPOSED, 0},
	{"blk.%d.ffn_down.bias", "h.%d.mlp.c_proj.bias", "D", 0, 0},
};

#define WITH_BIAS(gguf, name, shape, bias) {gguf ".weight", name ".weight", shape, 0, 0}, {gguf ".bias", name ".bias", bias, 0, 0}
/* The encoder alone: GGUF has no heads, and its names no "bert." before them, as those of sentence encoders. */
static const Row bert_rows[] = {
	{"token_embd.weight", "embeddings.word_embeddings.weight", "VD", 0, 0},
	{"position_embd.weight", "embeddings.position_embeddings.weight", "ND", 0, 0},
	{"token_types.weight", "embeddings.token_type_embeddings.weight", "SD", 0, 0},
	WITH_BIAS("token_embd_norm", "embeddings.LayerNorm", "D", "D"),
	WITH_BIAS("blk.%d.attn_q", "encoder.layer.%d.attention.self.query", "DD", "D"),
	WITH_BIAS("blk.%d.attn_k", "encoder.layer.%d.attention.self.key", "DD", "D"),
	WITH_BIAS("blk.%d.attn_v", "encoder.layer.%d.attention.self.value", "DD", "D"),
	WITH_BIAS("blk.%d.attn_output", "encoder.layer.%d.attention.output.dense", "DD", "D"),
	WITH_BIAS("blk.%d.attn_output_norm", "encoder.layer.%d.attention.output.LayerNorm", "D", "D"),
	WITH_BIAS("blk.%d.ffn_up", "encoder.layer.%d.intermediate.dense", "FD", "F"),
	WITH_BIAS("blk.%d.ffn_down", "encoder.layer.%d.output.dense", "DF", "D"),
	WITH_BIAS("blk.%d.layer_output_norm", "encoder.layer.%d.output.LayerNorm", "D", "D"),
};

const Family families[] = {
	{"llama", "llama", "LlamaForCausalLM", "", llama_rows, COUNT(llama_rows), false, false},
	{"qwen2", "qwen2", "Qwen2ForCausalLM", "", qwen2_rows, COUNT(qwen2_rows), false, false},
	{"gpt2", "gpt2", "GPT2LMHeadModel", "transformer.", gpt2_rows, COUNT(gpt2_rows), true, false},
	{"bert", "bert", "BertModel", "bert.", bert_rows, COUNT(bert_rows), false, true},
};
const int family_count = COUNT(families);

const Family *family_named(const char *gguf, const char *model_type)
{
	for (int i = 0; i < family_count; i++)
		if ((gguf && strcmp(gguf, families[i].gguf) == 0) || (model_type && strcmp(model_type, families[i].model_type) == 0))
			return &families[i];
	return NULL;
}

char *family_list(Arena *a, bool exported)
{
	char *text = "";
	for (int i = 0; i < family_count; i++)
		if (!exported || !families[i].bert)
			text = arena_printf(a, "%s%s%s", text, i ? ", " : "", families[i].gguf);
	return text;
}

bool row_applies(const Row *r, const Sizes *s)
{
	switch (r->when) {
	case 'o': return !s->tied;
	case 'b': return s->bias;
	case 'p': return s->biased_output;
	default: return true;
	}
}

static int64_t extent(char letter, const Sizes *s)
{
	switch (letter) {
	case 'V': return s->V;
	case 'N': return s->N;
	case 'D': return s->D;
	case 'F': return s->F;
	case 'K': return s->K;
	case 'S': return s->S;
	case 'Q': return s->H * s->K;
	case 'P': return s->G * s->K;
	case 'C': return 3 * s->D;
	default: bug("a row's shape has the letter %c", letter);
	}
}

int row_shape(const Row *r, const Sizes *s, int64_t shape[MAX_AXES])
{
	int rank = 0;
	for (const char *p = r->shape; *p; p++)
		shape[rank++] = extent(*p, s);
	return rank;
}

int sizes_check(const Sizes *s, const char *path)
{
	const struct { const char *name; int64_t n; } all[] = {
		{"vocabulary", s->V}, {"context length", s->N}, {"width", s->D}, {"feed-forward width", s->F}, {"number of heads", s->H},
		{"number of key/value heads", s->G}, {"width of a head", s->K}, {"number of layers", s->L}, {"number of segments", s->S},
	};
	for (int i = 0; i < COUNT(all); i++)
		if (all[i].n < 1 || all[i].n > INT32_MAX)
			return sn_fail(SN_DATA, "%s: the %s is %lld: from 1 to below 2^31 is wanted", path, all[i].name, (long long)all[i].n);
	if (s->H % s->G)
		return sn_fail(SN_DATA, "%s: %lld heads are no multiple of %lld key/value heads", path, (long long)s->H, (long long)s->G);
	if (s->K % 2)
		return sn_fail(SN_DATA, "%s: a head's width of %lld is odd", path, (long long)s->K);
	if (!(s->eps > 0) || !isfinite(s->eps) || !(s->theta > 0) || !isfinite(s->theta))
		return sn_fail(SN_DATA, "%s: the norms' epsilon or the rotary base is no number above 0", path);
	return SN_OK;
}

/* --- config.json */

typedef struct Key { const char *name; size_t field; } Key;
#define FIELD(name, letter) {name, offsetof(Sizes, letter)}
static const Key decoder_keys[] = {
	FIELD("vocab_size", V), FIELD("max_position_embeddings", N), FIELD("hidden_size", D), FIELD("intermediate_size", F), FIELD("num_hidden_layers", L),
	FIELD("num_attention_heads", H), FIELD("num_key_value_heads", G), FIELD("head_dim", K), {NULL, 0},
};
static const Key gpt_keys[] = {
	FIELD("vocab_size", V), FIELD("n_positions", N), FIELD("n_embd", D), FIELD("n_layer", L), FIELD("n_head", H), FIELD("n_inner", F), {NULL, 0},
};

static const Key bert_keys[] = {
	FIELD("vocab_size", V), FIELD("max_position_embeddings", N), FIELD("hidden_size", D), FIELD("intermediate_size", F), FIELD("num_hidden_layers", L),
	FIELD("num_attention_heads", H), FIELD("type_vocab_size", S), {NULL, 0},
};

static const Key *keys_of(const Family *f)
{
	return f->gpt ? gpt_keys : f->bert ? bert_keys : decoder_keys;
}

static int64_t *field(const Sizes *s, const Key *k)
{
	return (int64_t *)((char *)s + k->field);
}

/* The shortest decimal that is this float: 1e-05, not 9.99999975e-06. */
static json_t *short_real(double x)
{
	char text[32];
	for (int digits = 1; digits <= 9; digits++) {
		snprintf(text, sizeof text, "%.*g", digits, x);
		if (strtof(text, NULL) == (float)x)
			break;
	}
	return json_real(strtod(text, NULL));
}

json_t *config_of(const Family *f, const Sizes *s)
{
	json_t *j = json_pack("{s:[s], s:s}", "architectures", f->class_name, "model_type", f->model_type);
	for (const Key *k = keys_of(f); k->name; k++)
		json_object_set_new(j, k->name, json_integer(*field(s, k)));
	if (f->gpt) {
		json_object_set_new(j, "n_ctx", json_integer(s->N));
		json_object_set_new(j, "activation_function", json_string("gelu_new"));
		json_object_set_new(j, "layer_norm_epsilon", short_real(s->eps));
		json_object_set_new(j, "resid_pdrop", json_real(0.1));   /* no file says it: GPT-2's own */
	} else if (f->bert) {
		json_object_set_new(j, "hidden_act", json_string("gelu"));
		json_object_set_new(j, "layer_norm_eps", short_real(s->eps));
		json_object_set_new(j, "hidden_dropout_prob", json_real(0.1));   /* as above */
		return j;
	} else {
		json_object_set_new(j, "hidden_act", json_string("silu"));
		json_object_set_new(j, "rms_norm_eps", short_real(s->eps));
		json_object_set_new(j, "rope_theta", short_real(s->theta));
		json_object_set_new(j, "rope_scaling", json_null());
	}
	if (strcmp(f->model_type, "llama") == 0) {
		json_object_set_new(j, "attention_bias", json_boolean(s->bias));
		json_object_set_new(j, "mlp_bias", json_false());
	}
	json_object_set_new(j, "tie_word_embeddings", json_boolean(s->tied));
	return j;
}

/* What the keys don't say, as Hugging Face's classes fill it in. */
static void fill_in(Sizes *s, const Family *f, json_t *config)
{
	json_t *rope = json_object_get(config, "rope_parameters");
	json_t *theta = json_object_get(config, "rope_theta") ? json_object_get(config, "rope_theta") : json_object_get(rope, "rope_theta");
	json_t *eps = json_object_get(config, f->gpt ? "layer_norm_epsilon" : "rms_norm_eps");
	if (s->G == -1)
		s->G = s->H;
	if (s->K == -1)
		s->K = s->H > 0 ? s->D / s->H : 0;
	if (s->F == -1 && f->gpt && s->D <= INT32_MAX)
		s->F = 4 * s->D;
	s->theta = json_is_number(theta) ? json_number_value(theta) : 10000;
	s->eps = json_is_number(eps) ? json_number_value(eps) : f->gpt ? 1e-5 : 1e-6;
	json_t *tied = json_object_get(config, "tie_word_embeddings");
	s->tied = tied ? json_is_true(tied) : f->gpt;
	bool own = json_is_true(json_object_get(config, "attention_bias"));
	s->bias = strcmp(f->model_type, "qwen2") == 0 || own;
	s->biased_output = strcmp(f->model_type, "llama") == 0 && own;
}

/* What the numbers of a GGUF file can't say. */
static int unsupported(const Family *f, const Sizes *s, json_t *config, const char *path)
{
	static const struct { const char *key, *only; } texts[] = {{"hidden_act", "silu"}, {"activation_function", "gelu_new"}};
	static const char *const flags[] = {"mlp_bias", "use_sliding_window", "scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn"};
	for (int i = 0; i < COUNT(texts); i++) {
		const char *text = json_string_value(json_object_get(config, texts[i].key));
		if (text && strcmp(text, texts[i].only) != 0)
			return sn_fail(SN_DATA, "%s: %s is \"%s\"; GGUF's %s is always %s", path, texts[i].key, text, f->gguf, texts[i].only);
	}
	json_t *window = json_object_get(config, "sliding_window"), *type = json_object_get(config, "model_type");
	if (json_is_integer(window) && json_integer_value(window) < s->N && json_is_string(type) && strcmp(json_string_value(type), "mistral") == 0)
		return sn_fail(SN_DATA, "%s: sliding_window is shorter than the context, which is not exported", path);
	for (int i = 0; i < COUNT(flags); i++)
		if (json_is_true(json_object_get(config, flags[i])))
			return sn_fail(SN_DATA, "%s: %s is true, which is not exported", path, flags[i]);
	return SN_OK;
}

int config_sizes(Sizes *s, const Family *f, json_t *config, const char *path)
{
	*s = (Sizes){.G = -1, .K = -1, .F = -1, .S = 1};
	for (const Key *k = keys_of(f); k->name; k++) {
		json_t *j = json_object_get(config, k->name);
		if (json_is_integer(j))
			*field(s, k) = json_integer_value(j);
		else if (j && !json_is_null(j))
			return sn_fail(SN_DATA, "%s: %s is no whole number", path, k->name);
		else if (*field(s, k) != -1)
			return sn_fail(SN_DATA, "%s: %s is missing", path, k->name);
	}
	fill_in(s, f, config);
	int code = unsupported(f, s, config, path);
	return code ? code : sizes_check(s, path);
}
