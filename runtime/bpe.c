/* bpe.c: byte-level byte-pair encoding as GPT-2, RoBERTa and Llama 3 use it, from a Hugging Face tokenizer.json.
 * Text is cut at added tokens, then into words by the tokenizer's pattern, then each word's bytes are merged. Tokens are
 * kept as the bytes they stand for, not in the file's printable alphabet. Whatever of the file would change ids and is
 * not known here is refused by name. */
#include "runtime/sn.h"

#include <stdlib.h>
#include <string.h>

/* The pattern GPT-2's byte-level pre-tokenizer stands for. */
#define GPT2_PATTERN "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

enum { MAX_ID = 1 << 24, CACHE = 1 << 15, CACHED_BYTES = 48 };

typedef struct Token { char *at; size_t n; } Token;
typedef struct Added { int32_t id; const char *text; size_t n; bool lstrip, rstrip; } Added;

struct SnBpe {
	Token *tokens;                /* size; at NULL: no token has this id */
	int32_t size;
	int32_t *slots;               /* hash of tokens' bytes -> id, -1 free */
	uint32_t mask;
	int32_t byte_id[256];         /* -1: the vocabulary lacks the byte */
	SnMerges *merges;
	Added *added;                 /* longest first */
	int nadded;
	bool starts[256];             /* first bytes of added tokens */
	bool prefix_space, whole_words;   /* add_prefix_space; ignore_merges */
	int32_t bos, eos;
	SnPattern *pattern;
};

/* --- the byte alphabet: printable bytes are themselves, the others 256, 257, .. in their order */

static bool printable(int b)
{
	return (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
}

enum { ALPHABET = 256 + 68 };

static void alphabet(int16_t byte_of[ALPHABET])
{
	for (int i = 0; i < ALPHABET; i++)
		byte_of[i] = -1;
	int next = 256;
	for (int b = 0; b < 256; b++)
		byte_of[printable(b) ? b : next++] = (int16_t)b;
}

/* Bytes that the file's text stands for; text with characters outside the alphabet (added tokens) stands for itself. */
static size_t to_bytes(const int16_t byte_of[ALPHABET], const char *text, size_t n, char *out)
{
	size_t len = 0;
	for (size_t at = 0; at < n;) {
		uint32_t c;
		int k = sn_utf8_read(text + at, n - at, &c);
		if (!k || c >= ALPHABET || byte_of[c] < 0) {
			memcpy(out, text, n);
			return n;
		}
		out[len++] = (char)byte_of[c];
		at += (size_t)k;
	}
	return len;
}

/* --- vocabulary */

static int32_t *slot_of(const SnBpe *b, const char *s, size_t n)
{
	uint32_t i = (uint32_t)sn_hash64(s, n, 0) & b->mask;
	while (b->slots[i] >= 0 && (b->tokens[b->slots[i]].n != n || memcmp(b->tokens[b->slots[i]].at, s, n)))
		i = (i + 1) & b->mask;
	return &b->slots[i];
}

static int32_t id_of(const SnBpe *b, const char *s, size_t n)
{
	return *slot_of(b, s, n);
}

static void token_set(SnBpe *b, int32_t id, const char *s, size_t n)
{
	free(b->tokens[id].at);
	b->tokens[id] = (Token){sn_alloc(n + 1), n};
	memcpy(b->tokens[id].at, s, n);
}

static bool id_ok(json_t *j)
{
	return json_is_integer(j) && json_integer_value(j) >= 0 && json_integer_value(j) < MAX_ID;
}

static int vocab_size(SnBpe *b, json_t *vocab, json_t *added, const char *path)
{
	const char *key;
	json_t *value;
	size_t i;
	json_object_foreach(vocab, key, value) {
		if (!id_ok(value))
			return sn_fail(SN_DATA, "%s: token \"%s\" has no valid id", path, key);
		if (json_integer_value(value) >= b->size)
			b->size = (int32_t)json_integer_value(value) + 1;
	}
	json_array_foreach(added, i, value) {
		json_t *id = json_object_get(value, "id");
		if (!id_ok(id) || !json_string_length(json_object_get(value, "content")))
			return sn_fail(SN_DATA, "%s: added token %zu has no valid id or content", path, i);
		if (json_integer_value(id) >= b->size)
			b->size = (int32_t)json_integer_value(id) + 1;
	}
	return SN_OK;
}

static int load_vocab(SnBpe *b, json_t *vocab, json_t *added, const char *path)
{
	int code = vocab_size(b, vocab, added, path);
	if (code)
		return code;
	uint32_t slots = 16;
	while (slots < (uint32_t)b->size * 2)
		slots *= 2;
	b->mask = slots - 1;
	b->tokens = sn_alloc(sizeof *b->tokens * (size_t)b->size);
	b->slots = sn_alloc(sizeof *b->slots * slots);
	memset(b->slots, -1, sizeof *b->slots * slots);
	int16_t byte_of[ALPHABET];
	alphabet(byte_of);
	const char *key;
	json_t *value;
	json_object_foreach(vocab, key, value) {
		size_t n = strlen(key);
		char *bytes = sn_alloc(n + 1);
		n = to_bytes(byte_of, key, n, bytes);
		int32_t id = (int32_t)json_integer_value(value);
		token_set(b, id, bytes, n);
		*slot_of(b, bytes, n) = id;
		free(bytes);
	}
	for (int c = 0; c < 256; c++)
		b->byte_id[c] = id_of(b, (char[]){(char)c}, 1);
	return SN_OK;
}

/* --- added tokens */

static int longer(const void *x, const void *y)
{
	const Added *a = x, *b = y;
	return a->n != b->n ? (a->n < b->n ? 1 : -1) : (a->id > b->id) - (a->id < b->id);
}

static int load_added(SnBpe *b, json_t *list, const char *path)
{
	b->added = sn_alloc(sizeof *b->added * (json_array_size(list) + 1));
	size_t i;
	json_t *j;
	json_array_foreach(list, i, j) {
		json_t *content = json_object_get(j, "content");
		const char *text = json_string_value(content);
		int32_t id = (int32_t)json_integer_value(json_object_get(j, "id"));
		if (json_is_true(json_object_get(j, "single_word")))
			return sn_fail(SN_DATA, "%s: added token \"%s\": single_word is not supported", path, text);
		token_set(b, id, text, json_string_length(content));
		b->added[b->nadded++] = (Added){id, b->tokens[id].at, b->tokens[id].n,
			json_is_true(json_object_get(j, "lstrip")), json_is_true(json_object_get(j, "rstrip"))};
		b->starts[(unsigned char)text[0]] = true;
	}
	qsort(b->added, (size_t)b->nadded, sizeof *b->added, longer);
	return SN_OK;
}

/* --- merges */

/* A merge is "a b" or ["a", "b"]. */
static bool merge_parts(json_t *j, const char *part[2], size_t n[2])
{
	if (json_is_string(j)) {
		part[0] = json_string_value(j);
		const char *space = strchr(part[0], ' ');
		if (!space || strchr(space + 1, ' '))
			return false;
		part[1] = space + 1;
		n[0] = (size_t)(space - part[0]);
		n[1] = strlen(part[1]);
		return n[0] && n[1];
	}
	for (int i = 0; i < 2; i++) {
		json_t *p = json_array_get(j, (size_t)i);
		if (!json_string_length(p))
			return false;
		part[i] = json_string_value(p);
		n[i] = json_string_length(p);
	}
	return json_array_size(j) == 2;
}

static int load_merges(SnBpe *b, json_t *list, const char *path)
{
	int16_t byte_of[ALPHABET];
	alphabet(byte_of);
	b->merges = sn_merges_open((int64_t)json_array_size(list));
	size_t rank;
	json_t *j;
	json_array_foreach(list, rank, j) {
		const char *part[2];
		size_t n[2];
		if (!merge_parts(j, part, n))
			return sn_fail(SN_DATA, "%s: merge %zu is not a pair", path, rank + 1);
		char *bytes = sn_alloc(n[0] + n[1] + 1);
		size_t left = to_bytes(byte_of, part[0], n[0], bytes), right = to_bytes(byte_of, part[1], n[1], bytes + left);
		int32_t a = id_of(b, bytes, left), c = id_of(b, bytes + left, right), merged = id_of(b, bytes, left + right);
		free(bytes);
		if (a < 0 || c < 0 || merged < 0)
			return sn_fail(SN_DATA, "%s: merge %zu, \"%.*s %.*s\": the vocabulary lacks a part or the result", path, rank + 1,
			               (int)n[0], part[0], (int)n[1], part[1]);
		sn_merges_add(b->merges, a, c, (int32_t)rank, merged);
	}
	return SN_OK;
}

/* --- the rest of the file: what is known, and refusal of the rest */

static const char *type_of(json_t *j)
{
	const char *type = json_string_value(json_object_get(j, "type"));
	return type ? type : "";
}

static bool empty(json_t *j)
{
	return !j || json_is_null(j) || (json_is_string(j) && !json_string_length(j)) || json_is_false(j)
		|| (json_is_number(j) && json_number_value(j) == 0);
}

static int check_model(json_t *model, json_t *root, const char *path)
{
	const char *type = type_of(model);
	if (*type && strcmp(type, "BPE"))
		return sn_fail(SN_DATA, "%s: tokenizer type %s is not supported (only byte-level BPE is)", path, type);
	if (!json_is_object(json_object_get(model, "vocab")) || !json_is_array(json_object_get(model, "merges")))
		return sn_fail(SN_DATA, "%s: not a BPE tokenizer.json: no model.vocab or model.merges", path);
	static const char *const refused[] = {"dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"};
	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
		if (!empty(json_object_get(model, refused[i])))
			return sn_fail(SN_DATA, "%s: model.%s is not supported (only byte-level BPE is)", path, refused[i]);
	json_t *normalizer = json_object_get(root, "normalizer");
	if (!empty(normalizer))
		return sn_fail(SN_DATA, "%s: normalizer %s is not supported", path, type_of(normalizer));
	return SN_OK;
}

static int set_pattern(SnBpe *b, const char *pattern, const char *path)
{
	b->pattern = sn_pattern_open(pattern, path);
	return b->pattern ? SN_OK : SN_DATA;
}

/* Split with a regular expression: matches and what lies between them are words. */
static int load_split(SnBpe *b, json_t *j, const char *path)
{
	const char *pattern = json_string_value(json_object_get(json_object_get(j, "pattern"), "Regex"));
	const char *behavior = json_string_value(json_object_get(j, "behavior"));
	bool invert = json_is_true(json_object_get(j, "invert"));
	bool isolated = behavior && (!strcmp(behavior, "Isolated") || (!strcmp(behavior, "Removed") && invert));
	if (!pattern || !isolated || b->pattern)
		return sn_fail(SN_DATA, "%s: this kind of Split pre-tokenizer is not supported", path);
	return set_pattern(b, pattern, path);
}

static int load_step(SnBpe *b, json_t *j, const char *path, bool *bytes)
{
	if (!strcmp(type_of(j), "Split"))
		return load_split(b, j, path);
	if (strcmp(type_of(j), "ByteLevel"))
		return sn_fail(SN_DATA, "%s: pre-tokenizer %s is not supported (ByteLevel, or Split before it, is)", path, type_of(j));
	*bytes = true;
	b->prefix_space = json_is_true(json_object_get(j, "add_prefix_space"));
	if (json_is_false(json_object_get(j, "use_regex")))
		return SN_OK;
	if (b->pattern)
		return sn_fail(SN_DATA, "%s: Split followed by ByteLevel with its own pattern is not supported", path);
	return set_pattern(b, GPT2_PATTERN, path);
}

static int load_pre_tokenizer(SnBpe *b, json_t *j, const char *path)
{
	bool bytes = false;
	int code = SN_OK;
	if (strcmp(type_of(j), "Sequence"))
		code = load_step(b, j, path, &bytes);
	json_t *steps = json_object_get(j, "pretokenizers"), *step;
	size_t i;
	json_array_foreach(steps, i, step)
		if (!code)
			code = load_step(b, step, path, &bytes);
	if (!code && !bytes)
		return sn_fail(SN_DATA, "%s: no ByteLevel pre-tokenizer: only byte-level BPE is supported", path);
	return code;
}

/* The special token that a TemplateProcessing puts first, which generation starts a text with, or last. */
static int32_t find_edge(json_t *j, bool last)
{
	json_t *list = json_object_get(j, "processors"), *step;
	size_t i;
	json_array_foreach(list, i, step) {
		int32_t id = find_edge(step, last);
		if (id >= 0)
			return id;
	}
	json_t *all = json_object_get(j, "single"), *edge = json_array_get(all, last ? json_array_size(all) - 1 : 0);
	const char *name = json_string_value(json_object_get(json_object_get(edge, "SpecialToken"), "id"));
	json_t *special = name ? json_object_get(json_object_get(j, "special_tokens"), name) : NULL;
	json_t *id = json_array_get(json_object_get(special, "ids"), 0);
	return id_ok(id) ? (int32_t)json_integer_value(id) : -1;
}

SnBpe *sn_bpe_open(json_t *root, const char *path)
{
	json_t *model = json_object_get(root, "model"), *added = json_object_get(root, "added_tokens");
	if (check_model(model, root, path))
		return NULL;
	SnBpe *b = sn_alloc(sizeof *b);
	int code = load_vocab(b, json_object_get(model, "vocab"), added, path);
	if (!code)
		code = load_merges(b, json_object_get(model, "merges"), path);
	if (!code)
		code = load_added(b, added, path);
	if (!code)
		code = load_pre_tokenizer(b, json_object_get(root, "pre_tokenizer"), path);
	if (code) {
		sn_bpe_close(b);
		return NULL;
	}
	b->whole_words = json_is_true(json_object_get(model, "ignore_merges"));
	b->bos = find_edge(json_object_get(root, "post_processor"), false);
	b->eos = find_edge(json_object_get(root, "post_processor"), true);
	if (b->bos >= b->size)
		b->bos = -1;
	if (b->eos >= b->size)
		b->eos = -1;
	return b;
}

void sn_bpe_close(SnBpe *b)
{
	if (!b)
		return;
	for (int32_t i = 0; b->tokens && i < b->size; i++)
		free(b->tokens[i].at);
	free(b->tokens);
	free(b->slots);
	free(b->added);
	sn_merges_close(b->merges);
	sn_pattern_close(b->pattern);
	free(b);
}

int32_t sn_bpe_size(const SnBpe *b)
{
	return b->size;
}

const char *sn_bpe_decode(const SnBpe *b, int32_t id, size_t *n)
{
	bool known = id >= 0 && id < b->size && b->tokens[id].at;
	*n = known ? b->tokens[id].n : 0;
	return known ? b->tokens[id].at : "";
}

int32_t sn_bpe_special(const SnBpe *b, const char *text)
{
	for (int i = 0; i < b->nadded; i++)
		if (strlen(text) == b->added[i].n && !memcmp(b->added[i].text, text, b->added[i].n))
			return b->added[i].id;
	return -1;
}

int32_t sn_bpe_eos(const SnBpe *b)
{
	return b->eos;
}

int32_t sn_bpe_bos(const SnBpe *b)
{
	return b->bos;
}

/* --- encoding */

typedef struct Seen { const char *word; uint32_t n, count; int64_t at; } Seen;   /* ids of word: out->at[at..at+count) */
typedef struct Encoder {
	const SnBpe *b;
	SnIds *out;
	SnWord work;
	Seen *seen;                   /* CACHE; words of this text already encoded, by hash */
	SnMatcher *matcher;
	int32_t bad;                  /* a byte the vocabulary lacks; -1 */
} Encoder;

static void word_ids(Encoder *e, const char *s, size_t n)
{
	const SnBpe *b = e->b;
	if (b->whole_words) {
		int32_t id = id_of(b, s, n);
		if (id >= 0) {
			sn_ids_add(e->out, id);
			return;
		}
	}
	int64_t first = e->out->n;
	for (size_t i = 0; i < n; i++) {
		int32_t id = b->byte_id[(unsigned char)s[i]];
		if (id < 0)
			e->bad = (unsigned char)s[i];
		sn_ids_add(e->out, id);
	}
	if (n > 1)
		e->out->n = first + sn_merges_apply(b->merges, &e->work, e->out->at + first, (int64_t)n);
}

static void word(Encoder *e, const char *s, size_t n)
{
	if (n > CACHED_BYTES) {
		word_ids(e, s, n);
		return;
	}
	Seen *seen = &e->seen[(sn_hash64(s, n, 0) >> 20) & (CACHE - 1)];
	if (seen->n == n && !memcmp(seen->word, s, n)) {
		for (uint32_t i = 0; i < seen->count; i++)
			sn_ids_add(e->out, e->out->at[seen->at + i]);
		return;
	}
	int64_t first = e->out->n;
	word_ids(e, s, n);
	*seen = (Seen){s, (uint32_t)n, (uint32_t)(e->out->n - first), first};
}

static int words(Encoder *e, const char *s, size_t n, const char *what)
{
	size_t at = 0, from, to;
	while (e->matcher && at < n) {
		int found = sn_matcher_next(e->matcher, s, n, at, &from, &to);
		if (found == 0)
			break;
		if (found < 0)
			return sn_fail(SN_DATA, "%s: the tokenizer's pattern failed (PCRE2 error %d)", what, found);
		if (to == at)
			return sn_fail(SN_DATA, "%s: the tokenizer's pattern matches the empty text", what);
		if (from > at)
			word(e, s + at, from - at);
		if (to > from)
			word(e, s + from, to - from);
		at = to;
	}
	if (at < n)
		word(e, s + at, n - at);
	return SN_OK;
}

/* Text between added tokens. */
static int stretch(Encoder *e, const char *s, size_t n, const char *what)
{
	if (!n)
		return SN_OK;
	if (!e->b->prefix_space || s[0] == ' ')
		return words(e, s, n, what);
	char *spaced = sn_alloc(n + 1);
	spaced[0] = ' ';
	memcpy(spaced + 1, s, n);
	int code = words(e, spaced, n + 1, what);
	memset(e->seen, 0, sizeof *e->seen * CACHE);   /* it points into the copy */
	free(spaced);
	return code;
}

static const Added *added_at(const SnBpe *b, const char *s, size_t n)
{
	for (int i = 0; i < b->nadded; i++)
		if (b->added[i].n <= n && !memcmp(b->added[i].text, s, b->added[i].n))
			return &b->added[i];
	return NULL;
}

static bool blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static int encode_all(Encoder *e, const char *s, size_t n, const char *what)
{
	const SnBpe *b = e->b;
	size_t from = 0, at = 0;
	while (at < n) {
		const Added *a = b->starts[(unsigned char)s[at]] ? added_at(b, s + at, n - at) : NULL;
		if (!a) {
			at++;
			continue;
		}
		size_t end = at;
		while (a->lstrip && end > from && blank(s[end - 1]))
			end--;
		int code = stretch(e, s + from, end - from, what);
		if (code)
			return code;
		sn_ids_add(e->out, a->id);
		at += a->n;
		while (a->rstrip && at < n && blank(s[at]))
			at++;
		from = at;
	}
	return stretch(e, s + from, n - from, what);
}

int sn_bpe_encode(const SnBpe *b, const char *text, size_t n, const char *what, SnIds *out)
{
	Encoder e = {.b = b, .out = out, .bad = -1};
	e.seen = sn_alloc(sizeof *e.seen * CACHE);
	e.matcher = b->pattern ? sn_matcher_open(b->pattern) : NULL;
	int code = encode_all(&e, text, n, what);
	if (!code && e.bad >= 0)
		code = sn_fail(SN_DATA, "%s: the tokenizer's vocabulary has no token for byte 0x%02X", what, (unsigned)e.bad);
	sn_matcher_close(e.matcher);
	free(e.work.symbols);
	free(e.work.heap);
	free(e.seen);
	return code;
}
