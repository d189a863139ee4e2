/* lexicon.c: a model's tokens, by id and by text. Ids need not follow one another; no two tokens share one. */
#include "runtime/tokens.h"

#include <stdlib.h>
#include <string.h>

static int32_t *slot_of(const SnLexicon *x, const char *s, size_t n)
{
	uint32_t i = (uint32_t)sn_hash64(s, n, 0) & x->mask;
	while (x->slots[i] >= 0 && (x->tokens[x->slots[i]].n != n || memcmp(x->tokens[x->slots[i]].at, s, n)))
		i = (i + 1) & x->mask;
	return &x->slots[i];
}

int32_t sn_lexicon_find(const SnLexicon *x, const char *s, size_t n)
{
	return *slot_of(x, s, n);
}

void sn_lexicon_start(SnLexicon *x, int64_t size)
{
	uint32_t slots = 16;
	while (slots < (uint64_t)size * 2)
		slots *= 2;
	*x = (SnLexicon){.size = (int32_t)size, .mask = slots - 1};
	x->tokens = sn_alloc(sizeof *x->tokens * (size_t)size);
	x->slots = sn_alloc(sizeof *x->slots * slots);
	memset(x->slots, -1, sizeof *x->slots * slots);
}

int sn_lexicon_add(SnLexicon *x, int64_t id, SnSpan text, const char *path)
{
	if (x->tokens[id].at)
		return sn_fail(SN_DATA, "%s: the tokens \"%s\" and \"%s\" have the same id %lld", path, x->tokens[id].at, text.at, (long long)id);
	char *copy = sn_alloc(text.n + 1);
	memcpy(copy, text.at, text.n);
	x->tokens[id] = (SnSpan){copy, text.n};
	*slot_of(x, text.at, text.n) = (int32_t)id;
	return SN_OK;
}

int sn_lexicon_open(SnLexicon *x, json_t *vocab, const char *path)
{
	if (!json_is_object(vocab))
		return sn_fail(SN_DATA, "%s: no model.vocab with ids by tokens", path);
	int64_t size = 0;
	const char *key;
	size_t len;
	json_t *value;
	json_object_keylen_foreach(vocab, key, len, value) {
		if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) >= SN_MAX_ID)
			return sn_fail(SN_DATA, "%s: token \"%s\" has no valid id", path, key);
		if (json_integer_value(value) >= size)
			size = json_integer_value(value) + 1;
	}
	sn_lexicon_start(x, size);
	int code = SN_OK;
	json_object_keylen_foreach(vocab, key, len, value)
		code = code ? code : sn_lexicon_add(x, json_integer_value(value), (SnSpan){key, len}, path);
	return code;
}

void sn_lexicon_close(SnLexicon *x)
{
	for (int32_t i = 0; x->tokens && i < x->size; i++)
		free((char *)x->tokens[i].at);
	free(x->tokens);
	free(x->slots);
}

void sn_lexicon_bytes(const SnLexicon *x, int32_t byte[256])
{
	for (int i = 0; i < 256; i++) {
		char name[8];
		snprintf(name, sizeof name, "<0x%02X>", (unsigned)i);
		byte[i] = sn_lexicon_find(x, name, 6);
	}
}
