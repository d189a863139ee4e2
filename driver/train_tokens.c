/* train_tokens.c: byte-pair encoding learnt from texts (Sennrich et al. 2016): distinct words with their counts; again and again the most
 * frequent pair of neighbours becomes a symbol, in all words that have it. Counts of pairs are kept up to date, and a heap has them in
 * order; of equal counts the pair of the lower ids comes first, as in Hugging Face's library. WordPiece's vocabulary is learnt the
 * same way, with "##" before what goes on in a word. */
#include "driver/tokenizer.h"

#include <stdlib.h>
#include <string.h>

enum { LEAST = 2 };                           /* a pair that occurs once is no rule */

typedef struct Word { size_t at; uint32_t n; int32_t first, len; int64_t count; } Word;   /* text in `texts`; symbols first..first+len */
typedef struct Pair { uint64_t key; int64_t count; int32_t *words; int32_t n, cap; bool used; } Pair;   /* words that may have it */
typedef struct Waiting { int64_t count; uint64_t key; } Waiting;
typedef struct Learner {
	const Training *t;
	SnStr texts;                          /* of words */
	Word *words;
	int32_t nwords, cap_words;
	int32_t *slots;                       /* words by text; -1: free */
	uint32_t mask;
	int32_t *symbols;                     /* of all words, each with room for what it began with */
	json_t *vocab, *merges;               /* token -> id; ["a", "b"] */
	SnStr *names;                         /* of ids */
	int32_t nids, cap_ids;
	const char *prefix;                   /* of symbols that go on in a word */
	Pair *pairs;                          /* open addressing */
	uint64_t pair_mask, npairs;
	Waiting *heap;
	int64_t nheap, cap_heap;
} Learner;

/* --- words */

static void words_grow(Learner *l)
{
	free(l->slots);
	l->mask = l->mask ? l->mask * 2 + 1 : 0xFFFF;
	l->slots = sn_alloc(sizeof *l->slots * ((size_t)l->mask + 1));
	memset(l->slots, -1, sizeof *l->slots * ((size_t)l->mask + 1));
	for (int32_t w = 0; w < l->nwords; w++) {
		uint32_t i = (uint32_t)sn_hash64(l->texts.s + l->words[w].at, l->words[w].n, 0) & l->mask;
		while (l->slots[i] >= 0)
			i = (i + 1) & l->mask;
		l->slots[i] = w;
	}
}

static int count_word(void *ctx, SnPiece p)
{
	Learner *l = ctx;
	if (!l->slots || (uint32_t)l->nwords * 2 > l->mask)
		words_grow(l);
	uint32_t i = (uint32_t)sn_hash64(p.s, p.n, 0) & l->mask;
	for (; l->slots[i] >= 0; i = (i + 1) & l->mask) {
		Word *w = &l->words[l->slots[i]];
		if (w->n == p.n && !memcmp(l->texts.s + w->at, p.s, p.n)) {
			w->count++;
			return SN_OK;
		}
	}
	if (l->nwords == l->cap_words) {
		l->cap_words = l->cap_words ? l->cap_words * 2 : 1024;
		l->words = sn_realloc(l->words, sizeof *l->words * (size_t)l->cap_words);
	}
	l->slots[i] = l->nwords;
	l->words[l->nwords++] = (Word){.at = l->texts.n, .n = (uint32_t)p.n, .count = 1};
	sn_str_add(&l->texts, p.s, p.n);
	return SN_OK;
}

static int count_file(Learner *l, const SnNormalizer *z, SnSplitting *x, const char *path)
{
	SnFile f;
	SnStr normal = {0};
	int code = sn_file_map(&f, path);
	if (code)
		return code;
	if (sn_utf8_valid(f.at, f.n) < f.n)
		code = sn_fail(SN_DATA, "%s: not valid UTF-8 at byte %zu", path, sn_utf8_valid(f.at, f.n));
	SnPiece all = {f.at, f.n, true};
	if (!code && !sn_normalizer_is_empty(z)) {
		code = sn_normalize(z, f.at, f.n, &normal);
		all = (SnPiece){normal.s, normal.n, true};
	}
	if (!code)
		code = sn_split(x, all, count_word, l);
	free(normal.s);
	sn_file_unmap(&f);
	return code;
}

static int count_words(Learner *l, json_t *root)
{
	SnNormalizer *z = sn_normalizer_open(json_object_get(root, "normalizer"), "train");
	SnSplitter *s = sn_splitter_open(json_object_get(root, "pre_tokenizer"), "train");
	int code = z && s ? SN_OK : SN_FAIL;
	SnSplitting *x = code ? NULL : sn_splitting_open(s);
	for (int i = 0; i < l->t->ntexts && !code; i++)
		code = count_file(l, z, x, l->t->texts[i]);
	if (x)
		sn_splitting_close(x);
	sn_splitter_close(s);
	sn_normalizer_close(z);
	return code;
}

/* --- symbols */

static int32_t symbol(Learner *l, const char *s, size_t n)
{
	char *name = sn_format("%.*s", (int)n, s);
	json_t *known = json_object_get(l->vocab, name);
	int32_t id = known ? (int32_t)json_integer_value(known) : l->nids;
	if (!known) {
		if (l->nids == l->cap_ids) {
			l->cap_ids = l->cap_ids ? l->cap_ids * 2 : 1024;
			l->names = sn_realloc(l->names, sizeof *l->names * (size_t)l->cap_ids);
		}
		l->names[l->nids] = (SnStr){0};
		sn_str_add(&l->names[l->nids++], s, n);
		json_object_set_new(l->vocab, name, json_integer(id));
	}
	free(name);
	return id;
}

static int by_code(const void *a, const void *b)
{
	return strcmp(((const SnStr *)a)->s, ((const SnStr *)b)->s);
}

/* A word's characters, with the prefix behind the first; visit sees each. */
static void each_symbol(const Learner *l, const Word *w, void (*visit)(void *, const char *, size_t), void *ctx)
{
	char name[16];
	size_t before = strlen(l->prefix);
	for (size_t at = 0, k; at < w->n; at += k) {
		uint32_t c;
		const char *s = l->texts.s + w->at + at;
		k = (size_t)sn_utf8_read(s, w->n - at, &c);
		size_t head = at ? before : 0;
		memcpy(name, l->prefix, head);
		memcpy(name + head, s, k);
		visit(ctx, name, head + k);
	}
}

typedef struct Alphabet { json_t *seen; SnStr *names; size_t n; } Alphabet;

static void see(void *ctx, const char *s, size_t n)
{
	Alphabet *a = ctx;
	char *name = sn_format("%.*s", (int)n, s);
	if (!json_object_get(a->seen, name)) {
		json_object_set_new(a->seen, name, json_true());
		a->names = sn_realloc(a->names, sizeof *a->names * (a->n + 1));
		a->names[a->n] = (SnStr){0};
		sn_str_add(&a->names[a->n++], s, n);
	}
	free(name);
}

/* The first ids: special tokens, then characters in their order: all bytes, or those of the texts. */
static void alphabet(Learner *l, bool bytes)
{
	for (int i = 0; i < l->t->nspecial; i++)
		symbol(l, l->t->special[i], strlen(l->t->special[i]));
	Alphabet a = {.seen = json_object()};
	for (int b = 0; bytes && b < 256; b++) {
		char text[4];
		see(&a, text, (size_t)sn_utf8_write(text, sn_byte_code((unsigned char)b)));
	}
	for (int32_t w = 0; !bytes && w < l->nwords; w++)
		each_symbol(l, &l->words[w], see, &a);
	qsort(a.names, a.n, sizeof *a.names, by_code);
	for (size_t i = 0; i < a.n; i++) {
		symbol(l, a.names[i].s, a.names[i].n);
		free(a.names[i].s);
	}
	free(a.names);
	json_decref(a.seen);
}

typedef struct Filling { Learner *l; int32_t at; } Filling;

static void fill_one(void *ctx, const char *s, size_t n)
{
	Filling *f = ctx;
	f->l->symbols[f->at++] = symbol(f->l, s, n);
}

static void fill_words(Learner *l)
{
	l->symbols = sn_alloc(sizeof *l->symbols * (l->texts.n + 1));
	Filling f = {l, 0};
	for (int32_t w = 0; w < l->nwords; w++) {
		l->words[w].first = f.at;
		each_symbol(l, &l->words[w], fill_one, &f);
		l->words[w].len = f.at - l->words[w].first;
	}
}

/* --- pairs */

static uint64_t key_of(int32_t left, int32_t right)
{
	return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

static Pair *pair_at(Learner *l, uint64_t key)
{
	uint64_t i = (key * 0x9E3779B97F4A7C15u) >> 20 & l->pair_mask;
	while (l->pairs[i].used && l->pairs[i].key != key)
		i = (i + 1) & l->pair_mask;
	return &l->pairs[i];
}

static void pairs_grow(Learner *l)
{
	Pair *old = l->pairs;
	uint64_t n = l->pair_mask ? l->pair_mask + 1 : 0;
	l->pair_mask = n ? n * 2 - 1 : 0xFFFF;
	l->pairs = sn_alloc(sizeof *l->pairs * (l->pair_mask + 1));
	for (uint64_t i = 0; i < n; i++)
		if (old[i].used)
			*pair_at(l, old[i].key) = old[i];
	free(old);
}

static void pair_add(Learner *l, int32_t left, int32_t right, int32_t word, int64_t count)
{
	if (l->npairs * 2 >= l->pair_mask)
		pairs_grow(l);
	Pair *p = pair_at(l, key_of(left, right));
	if (!p->used) {
		*p = (Pair){.key = key_of(left, right), .used = true};
		l->npairs++;
	}
	p->count += count;
	if (count < 0 || (p->n && p->words[p->n - 1] == word))
		return;
	if (p->n == p->cap) {
		p->cap = p->cap ? p->cap * 2 : 4;
		p->words = sn_realloc(p->words, sizeof *p->words * (size_t)p->cap);
	}
	p->words[p->n++] = word;
}

static bool sooner(const Waiting *a, const Waiting *b)
{
	return a->count != b->count ? a->count > b->count : a->key < b->key;
}

static void push(Learner *l, Waiting w)
{
	if (l->nheap == l->cap_heap) {
		l->cap_heap = l->cap_heap ? l->cap_heap * 2 : 4096;
		l->heap = sn_realloc(l->heap, sizeof *l->heap * (size_t)l->cap_heap);
	}
	int64_t at = l->nheap++;
	for (; at > 0 && sooner(&w, &l->heap[(at - 1) / 2]); at = (at - 1) / 2)
		l->heap[at] = l->heap[(at - 1) / 2];
	l->heap[at] = w;
}

static Waiting pop(Learner *l)
{
	Waiting top = l->heap[0], last = l->heap[--l->nheap];
	int64_t at = 0;
	for (int64_t child; (child = 2 * at + 1) < l->nheap; at = child) {
		child += child + 1 < l->nheap && sooner(&l->heap[child + 1], &l->heap[child]);
		if (!sooner(&l->heap[child], &last))
			break;
		l->heap[at] = l->heap[child];
	}
	l->heap[at] = last;
	return top;
}

static void push_pair(Learner *l, int32_t left, int32_t right)
{
	Pair *p = pair_at(l, key_of(left, right));
	if (p->used && p->count >= LEAST)
		push(l, (Waiting){p->count, p->key});
}

static void count_pairs(Learner *l)
{
	pairs_grow(l);
	for (int32_t w = 0; w < l->nwords; w++)
		for (int32_t i = 0; i + 1 < l->words[w].len; i++)
			pair_add(l, l->symbols[l->words[w].first + i], l->symbols[l->words[w].first + i + 1], w, l->words[w].count);
	for (uint64_t i = 0; i <= l->pair_mask; i++)
		if (l->pairs[i].used && l->pairs[i].count >= LEAST)
			push(l, (Waiting){l->pairs[i].count, l->pairs[i].key});
}

/* Merges the pair in one word; the counts of the pairs around it change. made: pairs that are new or more. */
static void merge_in(Learner *l, int32_t w, int32_t left, int32_t right, int32_t merged, SnIds *made)
{
	Word *word = &l->words[w];
	int32_t *s = l->symbols + word->first, n = 0;
	for (int32_t i = 0; i < word->len; i++) {
		if (i + 1 >= word->len || s[i] != left || s[i + 1] != right) {
			s[n++] = s[i];
			continue;
		}
		if (n) {
			pair_add(l, s[n - 1], left, w, -word->count);
			pair_add(l, s[n - 1], merged, w, word->count);
			sn_ids_add(made, s[n - 1]);
			sn_ids_add(made, merged);
		}
		if (i + 2 < word->len) {
			pair_add(l, right, s[i + 2], w, -word->count);
			pair_add(l, merged, s[i + 2], w, word->count);
			sn_ids_add(made, merged);
			sn_ids_add(made, s[i + 2]);
		}
		s[n++] = merged;
		i++;
	}
	word->len = n;
}

static int by_key(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

/* Pushes each pair of `made` (two ids a pair) once. */
static void push_made(Learner *l, const SnIds *made)
{
	int64_t n = made->n / 2;
	uint64_t *keys = sn_alloc(sizeof *keys * (size_t)(n + 1));
	for (int64_t i = 0; i < n; i++)
		keys[i] = key_of(made->at[2 * i], made->at[2 * i + 1]);
	qsort(keys, (size_t)n, sizeof *keys, by_key);
	for (int64_t i = 0; i < n; i++)
		if (!i || keys[i] != keys[i - 1])
			push_pair(l, (int32_t)(keys[i] >> 32), (int32_t)(uint32_t)keys[i]);
	free(keys);
}

static void learn(Learner *l)
{
	SnIds made = {0};
	while (l->nids < l->t->vocab && l->nheap) {
		Waiting top = pop(l);
		Pair *p = pair_at(l, top.key);
		if (p->count != top.count) {          /* it has changed since: it waits again with what it has now, unless it does already */
			if (p->count < top.count && p->count >= LEAST)
				push(l, (Waiting){p->count, p->key});
			continue;
		}
		int32_t left = (int32_t)(top.key >> 32), right = (int32_t)(uint32_t)top.key, *words = p->words, n = p->n;
		SnStr name = {0};
		size_t cut = strlen(l->prefix);
		sn_str_add(&name, l->names[left].s, l->names[left].n);
		sn_str_add(&name, l->names[right].s + cut, l->names[right].n - cut);
		json_array_append_new(l->merges, json_pack("[s, s]", l->names[left].s, l->names[right].s));
		int32_t merged = symbol(l, name.s, name.n);
		free(name.s);
		p->words = NULL;
		p->n = p->cap = 0;
		p->count = 0;
		made.n = 0;
		for (int32_t i = 0; i < n; i++)
			merge_in(l, words[i], left, right, merged, &made);
		free(words);
		pair_at(l, top.key)->count = 0;
		push_made(l, &made);
	}
	free(made.at);
}

/* --- the file */

static json_t *special_tokens(const Learner *l)
{
	json_t *list = json_array();
	for (int i = 0; i < l->t->nspecial; i++)
		json_array_append_new(list, json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", i, "content", l->t->special[i], "single_word", 0, "lstrip", 0, "rstrip", 0,
		                                      "normalized", 0, "special", 1));
	return list;
}

static json_t *byte_level(void)
{
	return json_pack("{s:s, s:n, s:n, s:{s:s, s:b, s:b, s:b}, s:n, s:{s:s, s:b, s:b, s:b}}", "version", "1.0", "truncation", "padding", "pre_tokenizer", "type",
	                 "ByteLevel", "add_prefix_space", 0, "trim_offsets", 1, "use_regex", 1, "post_processor", "decoder", "type", "ByteLevel", "add_prefix_space", 0,
	                 "trim_offsets", 1, "use_regex", 1);
}

static json_t *bert(void)
{
	return json_pack("{s:s, s:n, s:n, s:{s:s, s:b, s:b, s:n, s:b}, s:{s:s}, s:n, s:{s:s, s:s, s:b}}", "version", "1.0", "truncation", "padding", "normalizer", "type",
	                 "BertNormalizer", "clean_text", 1, "handle_chinese_chars", 1, "strip_accents", "lowercase", 1, "pre_tokenizer", "type", "BertPreTokenizer",
	                 "post_processor", "decoder", "type", "WordPiece", "prefix", "##", "cleanup", 1);
}

/* [CLS] A [SEP], [CLS] A [SEP] B [SEP], where both are among the special tokens. */
static json_t *bert_template(const Learner *l)
{
	json_t *cls = json_object_get(l->vocab, "[CLS]"), *sep = json_object_get(l->vocab, "[SEP]");
	if (!cls || !sep)
		return json_null();
	return json_pack("{s:s, s:[s, O], s:[s, O]}", "type", "BertProcessing", "sep", "[SEP]", sep, "cls", "[CLS]", cls);
}

static json_t *file_of(Learner *l, json_t *root, bool bytes)
{
	json_object_set_new(root, "added_tokens", special_tokens(l));
	if (bytes) {
		json_object_set_new(root, "model", json_pack("{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b, s:O, s:O}", "type", "BPE", "dropout", "unk_token",
		                                             "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", 0, "byte_fallback", 0, "ignore_merges", 0, "vocab",
		                                             l->vocab, "merges", l->merges));
		return root;
	}
	json_object_set_new(root, "post_processor", bert_template(l));
	json_object_set_new(root, "model", json_pack("{s:s, s:s, s:s, s:i, s:O}", "type", "WordPiece", "unk_token", "[UNK]", "continuing_subword_prefix", l->prefix,
	                                             "max_input_chars_per_word", 100, "vocab", l->vocab));
	return root;
}

static void release(Learner *l)
{
	for (int32_t i = 0; i < l->nids; i++)
		free(l->names[i].s);
	for (uint64_t i = 0; l->pairs && i <= l->pair_mask; i++)
		free(l->pairs[i].words);
	free(l->names);
	free(l->pairs);
	free(l->heap);
	free(l->symbols);
	free(l->slots);
	free(l->words);
	free(l->texts.s);
	json_decref(l->vocab);
	json_decref(l->merges);
}

int train_tokens(const Training *t, json_t **out, int64_t *size)
{
	bool bytes = !strcmp(t->kind, "bpe");
	Learner l = {.t = t, .vocab = json_object(), .merges = json_array(), .prefix = bytes ? "" : "##"};
	json_t *root = bytes ? byte_level() : bert();
	int code = count_words(&l, root);
	if (!code && l.texts.n > INT32_MAX)
		code = sn_fail(SN_DATA, "the distinct words of the texts have over 2 GB");
	if (!code && !l.nwords)
		code = sn_fail(SN_DATA, "the texts have no words");
	if (!code) {
		alphabet(&l, bytes);
		fill_words(&l);
		if (l.nids > t->vocab)
			code = sn_fail(SN_USAGE, "--vocab %lld is less than the %d special tokens and characters alone", (long long)t->vocab, l.nids);
	}
	if (!code) {
		count_pairs(&l);
		learn(&l);
		file_of(&l, root, bytes);
		*size = l.nids;
	}
	release(&l);
	if (code)
		json_decref(root);
	*out = code ? NULL : root;
	return code;
}
