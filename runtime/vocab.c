/* vocab.c: a vocabulary as GGUF and llama2.c keep it (arrays of tokens, scores and types) as a Hugging Face
 * tokenizer.json, which tokenizer.c opens. Nothing of it is in a produced executable: importers call it. Types are
 * GGUF's: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte. */
#include "runtime/sn.h"

#include <stdlib.h>
#include <string.h>

#define SPACE "\xE2\x96\x81"   /* U+2581, SentencePiece's blank */
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define LLAMA3(digits) "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" digits \
	"| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

enum { NORMAL = 1, UNKNOWN, CONTROL, USER, UNUSED };

static int type_of(const SnVocab *v, int64_t i)
{
	return v->types ? v->types[i] : NORMAL;
}

static const char *token_at(const SnVocab *v, int32_t id)
{
	return id >= 0 && id < v->n ? v->tokens[id] : NULL;
}

static void add_token(json_t *list, const char *text, int64_t id, bool special)
{
	json_array_append_new(list, json_pack("{s:I, s:s, s:b, s:b, s:b, s:b, s:b}", "id", (json_int_t)id, "content", text, "single_word", 0, "lstrip", 0,
	                                      "rstrip", 0, "normalized", 0, "special", (int)special));
}

static json_t *added_tokens(const SnVocab *v)
{
	json_t *list = json_array();
	for (int64_t i = 0; i < v->n; i++) {
		int type = type_of(v, i);
		bool named = !v->types && (i == v->bos || i == v->eos || i == v->unk);
		if ((type == UNKNOWN || type == CONTROL || type == USER || named) && *v->tokens[i])
			add_token(list, v->tokens[i], i, type != USER);
	}
	return list;
}

/* token -> id; a token that occurs again keeps its first id. NULL after a message. */
static json_t *vocabulary(const SnVocab *v, const char *path, char *(*rewrite)(const SnVocab *, int64_t))
{
	json_t *map = json_object();
	for (int64_t i = 0; i < v->n; i++) {
		char *text = rewrite ? rewrite(v, i) : NULL;
		const char *token = text ? text : v->tokens[i];
		int bad = json_object_get(map, token) ? 0 : json_object_set_new(map, token, json_integer(i));
		free(text);
		if (bad) {
			sn_fail(SN_DATA, "%s: token %lld is not valid UTF-8", path, (long long)i);
			json_decref(map);
			return NULL;
		}
	}
	return map;
}

/* --- post-processors */

static void put_special(json_t *single, json_t *pair, json_t *specials, const char *token, int32_t id, int type)
{
	json_t *item = json_pack("{s:{s:s, s:i}}", "SpecialToken", "id", token, "type_id", type);
	if (single)
		json_array_append(single, item);
	json_array_append_new(pair, item);
	json_object_set_new(specials, token, json_pack("{s:s, s:[i], s:[s]}", "id", token, "ids", id, "tokens", token));
}

static void put_sequence(json_t *to, const char *name, int type)
{
	json_array_append_new(to, json_pack("{s:{s:s, s:i}}", "Sequence", "id", name, "type_id", type));
}

/* before A after, and of pairs before A (middle) B after. Ids below 0 are not there. */
static json_t *template(const SnVocab *v, int32_t before, int32_t after, bool middle, int second)
{
	json_t *single = json_array(), *pair = json_array(), *specials = json_object();
	if (token_at(v, before))
		put_special(single, pair, specials, v->tokens[before], before, 0);
	put_sequence(single, "A", 0);
	put_sequence(pair, "A", 0);
	if (middle && token_at(v, after))
		put_special(NULL, pair, specials, v->tokens[after], after, 0);
	put_sequence(pair, "B", second);
	if (token_at(v, after)) {
		put_special(NULL, pair, specials, v->tokens[after], after, second);
		json_array_append_new(single, json_pack("{s:{s:s, s:i}}", "SpecialToken", "id", v->tokens[after], "type_id", 0));
	}
	if (!json_object_size(specials)) {
		json_decref(single);
		json_decref(pair);
		json_decref(specials);
		return json_null();
	}
	return json_pack("{s:s, s:o, s:o, s:o}", "type", "TemplateProcessing", "single", single, "pair", pair, "special_tokens", specials);
}

static json_t *template_of(const SnVocab *v)
{
	return template(v, v->add_bos ? v->bos : -1, v->add_eos ? v->eos : -1, false, 0);
}

/* --- SentencePiece's BPE: any two neighbours whose text together is a token may merge, the best score first. As merges: each way of
 * cutting a token in two. model.merges_by_result says that all ways to one token are one rule. */

typedef struct Scored { float score; int64_t id; } Scored;

static int better(const void *x, const void *y)
{
	const Scored *a = x, *b = y;
	return a->score != b->score ? (a->score < b->score ? 1 : -1) : (a->id > b->id) - (a->id < b->id);
}

static void cuts_of(json_t *merges, json_t *vocab, const char *token)
{
	size_t n = strlen(token);
	for (size_t k = 1; k < n; k++) {
		if (((unsigned char)token[k] & 0xC0) == 0x80)
			continue;
		char *left = sn_format("%.*s", (int)k, token);
		if (json_object_get(vocab, left) && json_object_get(vocab, token + k))
			json_array_append_new(merges, json_pack("[s, s]", left, token + k));
		free(left);
	}
}

static json_t *merges_by_score(const SnVocab *v, json_t *vocab)
{
	Scored *order = sn_alloc(sizeof *order * (size_t)v->n);
	int64_t n = 0;
	for (int64_t i = 0; i < v->n; i++) {
		int type = type_of(v, i);
		if (type == NORMAL || type == USER || type == UNUSED)
			order[n++] = (Scored){v->scores ? v->scores[i] : 0, i};
	}
	qsort(order, (size_t)n, sizeof *order, better);
	json_t *merges = json_array();
	for (int64_t i = 0; i < n; i++)
		cuts_of(merges, vocab, v->tokens[order[i].id]);
	free(order);
	return merges;
}

static json_t *llama(const SnVocab *v, const char *path)
{
	json_t *vocab = vocabulary(v, path, NULL);
	if (!vocab)
		return NULL;
	json_t *merges = merges_by_score(v, vocab), *normalizers = json_array();
	json_t *decoders = json_pack("[{s:s, s:{s:s}, s:s}, {s:s}, {s:s}]", "type", "Replace", "pattern", "String", SPACE, "content", " ", "type", "ByteFallback",
	                             "type", "Fuse");
	if (v->add_space_prefix) {
		json_array_append_new(normalizers, json_pack("{s:s, s:s}", "type", "Prepend", "prepend", SPACE));
		json_array_append_new(decoders, json_pack("{s:s, s:s, s:i, s:i}", "type", "Strip", "content", " ", "start", 1, "stop", 0));
	}
	json_array_append_new(normalizers, json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", "String", " ", "content", SPACE));
	json_t *model = json_pack("{s:s, s:s?, s:b, s:b, s:b, s:o, s:o}", "type", "BPE", "unk_token", token_at(v, v->unk), "fuse_unk", 1, "byte_fallback", 1,
	                          "merges_by_result", 1, "vocab", vocab, "merges", merges);
	return json_pack("{s:s, s:o, s:{s:s, s:o}, s:n, s:o, s:{s:s, s:o}, s:o}", "version", "1.0", "added_tokens", added_tokens(v), "normalizer", "type", "Sequence",
	                 "normalizers", normalizers, "pre_tokenizer", "post_processor", template_of(v), "decoder", "type", "Sequence", "decoders", decoders,
	                 "model", model);
}

/* --- byte-level BPE; patterns by the names that GGUF's tokenizer.ggml.pre has for them */

static const struct { const char *names, *pattern; bool whole_words, digits; } patterns[] = {
	{" gpt-2 phi-2 mpt olmo jais trillion jina-es jina-de jina-v2-es jina-v2-de roberta-bpe modern-bert exaone4 ", GPT2, false, false},
	{" starcoder refact command-r smollm codeshell exaone minerva-7b ", GPT2, false, true},
	{" llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 ", LLAMA3("{1,3}"), true, false},
	{" dbrx smaug-bpe ", LLAMA3("{1,3}"), false, false},
	{" qwen2 deepseek-r1-qwen stablelm2 megrez ", LLAMA3(""), false, false},
};

static int pattern_of(const char *pre)
{
	char name[64];
	snprintf(name, sizeof name, " %s ", pre ? pre : "gpt-2");
	for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
		if (strstr(patterns[i].names, name))
			return (int)i;
	return -1;
}

static json_t *gpt2(const SnVocab *v, const char *path)
{
	int at = pattern_of(v->pre);
	if (at < 0) {
		sn_fail(SN_DATA, "%s: the pre-tokenizer \"%s\" of a byte-level BPE is not known", path, v->pre);
		return NULL;
	}
	json_t *vocab = vocabulary(v, path, NULL), *merges = json_array(), *steps = json_array();
	for (int64_t i = 0; i < v->nmerges && vocab; i++)
		json_array_append_new(merges, json_string(v->merges[i]));
	if (patterns[at].digits)
		json_array_append_new(steps, json_pack("{s:s, s:b}", "type", "Digits", "individual_digits", 1));
	json_array_append_new(steps, json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split", "pattern", "Regex", patterns[at].pattern, "behavior", "Isolated", "invert", 0));
	json_array_append_new(steps, json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 1,
	                                       "use_regex", 0));
	if (!vocab) {
		json_decref(merges);
		json_decref(steps);
		return NULL;
	}
	json_t *model = json_pack("{s:s, s:n, s:b, s:o, s:o}", "type", "BPE", "unk_token", "ignore_merges", (int)patterns[at].whole_words, "vocab", vocab, "merges", merges);
	return json_pack("{s:s, s:o, s:n, s:{s:s, s:o}, s:o, s:{s:s}, s:o}", "version", "1.0", "added_tokens", added_tokens(v), "normalizer", "pre_tokenizer", "type",
	                 "Sequence", "pretokenizers", steps, "post_processor", template_of(v), "decoder", "type", "ByteLevel", "model", model);
}

/* --- WordPiece: GGUF marks the words' beginnings, not their continuations */

static char *wordpiece_token(const SnVocab *v, int64_t i)
{
	const char *token = v->tokens[i];
	size_t n = strlen(token), k = sizeof SPACE - 1;
	if (!strncmp(token, SPACE, k))
		return sn_format("%s", token + k);
	if (!n || type_of(v, i) != NORMAL || (token[0] == '[' && token[n - 1] == ']' && n > 1))
		return NULL;
	return sn_format("##%s", token);
}

static json_t *bert(const SnVocab *v, const char *path)
{
	json_t *vocab = vocabulary(v, path, wordpiece_token);
	if (!vocab)
		return NULL;
	int32_t cls = v->cls >= 0 ? v->cls : v->bos, sep = v->sep >= 0 ? v->sep : v->eos;
	json_t *model = json_pack("{s:s, s:s, s:s, s:i, s:o}", "type", "WordPiece", "unk_token", token_at(v, v->unk) ? token_at(v, v->unk) : "[UNK]",
	                          "continuing_subword_prefix", "##", "max_input_chars_per_word", 100, "vocab", vocab);
	return json_pack("{s:s, s:o, s:{s:s, s:b, s:b, s:n, s:b}, s:{s:s}, s:o, s:{s:s, s:s, s:b}, s:o}", "version", "1.0", "added_tokens", added_tokens(v), "normalizer",
	                 "type", "BertNormalizer", "clean_text", 1, "handle_chinese_chars", 1, "strip_accents", "lowercase", 1, "pre_tokenizer", "type",
	                 "BertPreTokenizer", "post_processor", template(v, cls, sep, true, 1), "decoder", "type", "WordPiece", "prefix", "##", "cleanup", 1, "model", model);
}

json_t *sn_vocab_json(const SnVocab *v, const char *path)
{
	static const struct { const char *name; json_t *(*make)(const SnVocab *, const char *); } kinds[] = {{"llama", llama}, {"gpt2", gpt2}, {"bert", bert}};
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (v->kind && !strcmp(v->kind, kinds[i].name))
			return kinds[i].make(v, path);
	sn_fail(SN_DATA, "%s: the tokenizer \"%s\" is not known (llama, gpt2 and bert are)", path, v->kind ? v->kind : "");
	return NULL;
}
