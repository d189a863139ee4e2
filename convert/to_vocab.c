/* to_vocab.c: a tokenizer.json as GGUF's arrays of tokens, types, scores and merges: the reverse of the runtime's vocab.c, for
 * SentencePiece's BPE (byte fallback) and byte-level BPE. */
#include "convert/convert.h"

#include <stdlib.h>

enum { NORMAL = 1, UNKNOWN, CONTROL, USER, UNUSED, BYTE };   /* GGUF's types of tokens */

void put_number(Put *p, uint64_t x, int bytes)
{
	char out[8];
	for (int i = 0; i < bytes; i++)
		out[i] = (char)(x >> 8 * i);
	str_put(&p->s, out, (size_t)bytes);
}

void put_string(Put *p, const char *s, size_t n)
{
	put_number(p, n, 8);
	str_put(&p->s, s, n);
}

static void key(Put *p, const char *group, const char *name, uint32_t type)
{
	Str s = {0};
	str_printf(&s, "%s.%s", group, name);
	put_string(p, s.at, s.len);
	str_free(&s);
	put_number(p, type, 4);
	p->count++;
}

void put_u32(Put *p, const char *group, const char *name, int64_t x)
{
	key(p, group, name, GG_U32);
	put_number(p, (uint64_t)x, 4);
}

static void float_bits(Put *p, float f)
{
	uint32_t bits;
	memcpy(&bits, &f, sizeof bits);
	put_number(p, bits, 4);
}

void put_f32(Put *p, const char *group, const char *name, double x)
{
	key(p, group, name, GG_F32);
	float_bits(p, (float)x);
}

void put_bool(Put *p, const char *group, const char *name, bool on)
{
	key(p, group, name, GG_BOOL);
	put_number(p, on, 1);
}

void put_text(Put *p, const char *group, const char *name, const char *text)
{
	key(p, group, name, GG_STRING);
	put_string(p, text, strlen(text));
}

static void array(Put *p, const char *name, uint32_t of, int64_t n)
{
	key(p, "tokenizer.ggml", name, GG_ARRAY);
	put_number(p, of, 4);
	put_number(p, (uint64_t)n, 8);
}

/* --- tokenizer.json */

typedef struct Vocabulary {
	const char *path;
	json_t *root, *model, *vocab, *added, *merges;
	const char **tokens;          /* (n); NULL: no token has this id */
	int32_t *types;
	float *scores;
	int64_t n;
	bool bytes;                   /* byte fallback: SentencePiece's */
} Vocabulary;

static int name_token(Vocabulary *v, json_t *id, const char *text, int type)
{
	int64_t i = json_is_integer(id) ? json_integer_value(id) : -1;
	if (i < 0 || i >= v->n || !text)
		return sn_fail(SN_DATA, "%s: the token \"%.64s\" has no id below %lld, the rows of the embedding", v->path, text ? text : "", (long long)v->n);
	v->tokens[i] = text;
	v->types[i] = type;
	return SN_OK;
}

static bool is_byte(const char *s)
{
	return strlen(s) == 6 && memcmp(s, "<0x", 3) == 0 && s[5] == '>';
}

static int name_tokens(Vocabulary *v)
{
	const char *text, *unknown = json_string_value(json_object_get(v->model, "unk_token"));
	json_t *id, *t;
	size_t i;
	int code = SN_OK;
	json_object_foreach(v->vocab, text, id)
		if (!code)
			code = name_token(v, id, text, v->bytes && is_byte(text) ? BYTE : NORMAL);
	json_array_foreach(v->added, i, t) {
		const char *content = json_string_value(json_object_get(t, "content"));
		bool unk = content && unknown && strcmp(content, unknown) == 0;
		if (!code)
			code = name_token(v, json_object_get(t, "id"), content, unk ? UNKNOWN : json_is_true(json_object_get(t, "special")) ? CONTROL : USER);
	}
	return code;
}

/* A merge is "a b" or [a, b]. Its two halves; false where it is neither. */
static bool halves(Arena *a, json_t *merge, const char **left, const char **right)
{
	const char *text = json_string_value(merge), *blank = text ? strchr(text, ' ') : NULL;
	*left = blank ? arena_strndup(a, text, (size_t)(blank - text)) : json_string_value(json_array_get(merge, 0));
	*right = blank ? blank + 1 : json_string_value(json_array_get(merge, 1));
	return *left && *right;
}

/* SentencePiece merges by the merged token's score: minus the place of the first merge that makes it. */
static int score_tokens(Arena *a, Vocabulary *v)
{
	size_t i, n = json_array_size(v->merges);
	json_t *merge;
	for (int64_t k = 0; k < v->n; k++)
		v->scores[k] = v->types[k] == NORMAL ? -(float)n - 1 : 0;
	json_array_foreach(v->merges, i, merge) {
		const char *left, *right;
		if (!halves(a, merge, &left, &right))
			return sn_fail(SN_DATA, "%s: merge %zu is no pair of tokens", v->path, i);
		int64_t id = json_integer_value(json_object_get(v->vocab, arena_printf(a, "%s%s", left, right)));
		if (id >= 0 && id < v->n && v->scores[id] < -(float)i)
			v->scores[id] = -(float)i;
	}
	return SN_OK;
}

/* What GGUF calls the pattern that cuts a text before a byte-level BPE; NULL: none of those known here. */
static const char *pattern_name(json_t *pre)
{
	static const struct { const char *in, *name; } known[] = {{"\\p{N}{1,3}", "llama-bpe"}, {"|\\p{N}| ?[", "qwen2"}, {"| ?\\p{L}+| ?\\p{N}+", "gpt-2"}};
	json_t *list = json_object_get(pre, "pretokenizers"), *step;
	size_t i;
	const char *found = NULL;
	json_array_foreach(list, i, step) {
		const char *name = pattern_name(step);
		found = found ? found : name;
	}
	const char *type = json_string_value(json_object_get(pre, "type")), *text = json_string_value(json_object_get(json_object_get(pre, "pattern"), "Regex"));
	if (!list && type && strcmp(type, "ByteLevel") == 0 && !json_is_false(json_object_get(pre, "use_regex")))
		return "gpt-2";
	for (int k = 0; text && !found && k < COUNT(known); k++)
		if (strstr(text, known[k].in))
			found = known[k].name;
	return found;
}

/* The token that a template puts before (or behind) a text. */
static bool puts_special(json_t *root, bool before)
{
	json_t *post = json_object_get(root, "post_processor"), *single = json_object_get(post, "single");
	size_t n = json_array_size(single);
	return n > 1 && json_object_get(json_array_get(single, before ? 0 : n - 1), "SpecialToken");
}

static void put_tokens(Put *p, const Vocabulary *v)
{
	array(p, "tokens", GG_STRING, v->n);
	for (int64_t i = 0; i < v->n; i++) {
		char pad[32];
		snprintf(pad, sizeof pad, "[PAD%lld]", (long long)i);
		const char *text = v->tokens[i] ? v->tokens[i] : pad;
		put_string(p, text, strlen(text));
	}
	array(p, "token_type", GG_I32, v->n);
	for (int64_t i = 0; i < v->n; i++)
		put_number(p, (uint64_t)(v->tokens[i] ? v->types[i] : UNUSED), 4);
}

static int put_merges(Put *p, Arena *a, const Vocabulary *v)
{
	size_t i;
	json_t *merge;
	array(p, "merges", GG_STRING, (int64_t)json_array_size(v->merges));
	json_array_foreach(v->merges, i, merge) {
		const char *left, *right;
		if (!halves(a, merge, &left, &right))
			return sn_fail(SN_DATA, "%s: merge %zu is no pair of tokens", v->path, i);
		const char *text = arena_printf(a, "%s %s", left, right);
		put_string(p, text, strlen(text));
	}
	return SN_OK;
}

static void put_ids(Put *p, json_t *config)
{
	static const char *const ids[][2] = {{"bos_token_id", "bos_token_id"}, {"eos_token_id", "eos_token_id"}, {"pad_token_id", "padding_token_id"}};
	for (int i = 0; i < COUNT(ids); i++) {
		json_t *id = json_object_get(config, ids[i][0]);
		if (json_is_array(id))
			id = json_array_get(id, 0);
		if (json_is_integer(id) && json_integer_value(id) >= 0)
			put_u32(p, "tokenizer.ggml", ids[i][1], json_integer_value(id));
	}
}

static int put_vocabulary(Put *p, Arena *a, Vocabulary *v)
{
	const char *pre = v->bytes ? "default" : pattern_name(json_object_get(v->root, "pre_tokenizer"));
	int code = name_tokens(v);
	if (!code && !pre)
		code = sn_fail(SN_DATA, "%s: GGUF has no name for its pre_tokenizer (GPT-2's, LLaMA 3's and Qwen2's are known)", v->path);
	if (!code)
		code = score_tokens(a, v);
	if (code)
		return code;
	put_text(p, "tokenizer.ggml", "model", v->bytes ? "llama" : "gpt2");
	put_text(p, "tokenizer.ggml", "pre", pre);
	put_tokens(p, v);
	if (v->bytes) {
		array(p, "scores", GG_F32, v->n);
		for (int64_t i = 0; i < v->n; i++)
			float_bits(p, v->scores[i]);
		json_t *prepend = json_object_get(v->root, "normalizer");
		char *text = json_dumps(prepend, JSON_ENCODE_ANY);
		put_bool(p, "tokenizer.ggml", "add_space_prefix", text && strstr(text, "Prepend"));
		free(text);
	} else {
		code = put_merges(p, a, v);
	}
	put_bool(p, "tokenizer.ggml", "add_bos_token", puts_special(v->root, true));
	put_bool(p, "tokenizer.ggml", "add_eos_token", puts_special(v->root, false));
	const char *unknown = json_string_value(json_object_get(v->model, "unk_token"));
	json_t *id = unknown ? json_object_get(v->vocab, unknown) : NULL;
	if (json_is_integer(id))
		put_u32(p, "tokenizer.ggml", "unknown_token_id", json_integer_value(id));
	return code;
}

/* Of tokenizer_config.json, or as a file of its own. */
static void put_chat(Put *p, Arena *a, const char *dir)
{
	const char *jinja = arena_printf(a, "%s/chat_template.jinja", dir), *config = arena_printf(a, "%s/tokenizer_config.json", dir);
	SnFile f;
	if (sn_exists(jinja) && sn_file_map(&f, jinja) == SN_OK) {
		put_text(p, "tokenizer", "chat_template", arena_strndup(a, f.at, f.n));
		sn_file_unmap(&f);
		return;
	}
	json_t *j = sn_exists(config) ? sn_json_read(config) : NULL;
	const char *text = json_string_value(json_object_get(j, "chat_template"));
	if (text)
		put_text(p, "tokenizer", "chat_template", text);
	json_decref(j);
}

int put_tokenizer(Put *p, Arena *a, const char *dir, json_t *config, int64_t V)
{
	Vocabulary v = {.path = arena_printf(a, "%s/tokenizer.json", dir), .n = V};
	put_ids(p, config);
	put_chat(p, a, dir);
	if (!sn_exists(v.path)) {
		sn_note("%s has no tokenizer.json: the file has no vocabulary", dir);
		put_text(p, "tokenizer.ggml", "model", "no_vocab");
		return SN_OK;
	}
	v.root = sn_json_read(v.path);
	v.model = json_object_get(v.root, "model");
	v.vocab = json_object_get(v.model, "vocab");
	v.merges = json_object_get(v.model, "merges");
	v.added = json_object_get(v.root, "added_tokens");
	v.bytes = json_is_true(json_object_get(v.model, "byte_fallback"));
	const char *type = json_string_value(json_object_get(v.model, "type"));
	int code = v.root ? SN_OK : SN_DATA;
	bool bpe = json_is_object(v.vocab) && json_is_array(v.merges) && (!type || strcmp(type, "BPE") == 0);   /* older files have no type */
	if (!code && !bpe)
		code = sn_fail(SN_DATA, "%s: a tokenizer of type %s, which is not exported (BPE is)", v.path, type ? type : "unknown");
	v.tokens = NEW_ARRAY(a, const char *, V);
	v.types = NEW_ARRAY(a, int32_t, V);
	v.scores = NEW_ARRAY(a, float, V);
	if (!code)
		code = put_vocabulary(p, a, &v);
	json_decref(v.root);
	return code;
}
