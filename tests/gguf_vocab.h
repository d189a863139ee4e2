/* gguf_vocab.h: a GGUF file's tokenizer as a tokenizer.json, read without care: the files are the tests' own. */
#ifndef GGUF_VOCAB_H
#define GGUF_VOCAB_H

#include "runtime/sn.h"

#include <stdlib.h>
#include <string.h>

typedef struct Gguf { const char *at; SnVocab v; char **tokens, **merges; float *scores; int32_t *types; char *kind, *pre; } Gguf;

static uint64_t number(Gguf *g, int bytes) {
	uint64_t v = 0;
	memcpy(&v, g->at, (size_t)bytes);
	g->at += bytes;
	return v;
}

static char *text(Gguf *g) {
	size_t n = number(g, 8);
	g->at += n;
	return sn_format("%.*s", (int)n, g->at - n);
}

static int size_of(uint32_t type) {
	static const int sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
	return sizes[type];
}

static void list(Gguf *g, const char *key) {
	uint32_t type = (uint32_t)number(g, 4);
	int64_t n = (int64_t)number(g, 8);
	char **strings = type == 8 ? sn_alloc(sizeof *strings * (size_t)n) : NULL;
	for (int64_t i = 0; strings && i < n; i++)
		strings[i] = text(g);
	if (!strcmp(key, "tokenizer.ggml.tokens")) {
		g->tokens = strings;
		g->v.n = n;
	} else if (!strcmp(key, "tokenizer.ggml.merges")) {
		g->merges = strings;
		g->v.nmerges = n;
	} else if (!strcmp(key, "tokenizer.ggml.scores") || !strcmp(key, "tokenizer.ggml.token_type")) {
		void *copy = sn_alloc(4 * (size_t)n);
		memcpy(copy, g->at, 4 * (size_t)n);
		if (type == 6)
			g->scores = copy;
		else
			g->types = copy;
	}
	if (type != 8)
		g->at += size_of(type) * n;
}

static void value(Gguf *g, const char *key) {
	uint32_t type = (uint32_t)number(g, 4);
	if (type == 9) {
		list(g, key);
		return;
	}
	if (type == 8) {
		char *s = text(g);
		char **place = !strcmp(key, "tokenizer.ggml.model") ? &g->kind : !strcmp(key, "tokenizer.ggml.pre") ? &g->pre : NULL;
		if (place)
			*place = s;
		else
			free(s);
		return;
	}
	uint64_t v = number(g, size_of(type));
	const struct { const char *key; int32_t *id; } ids[] = {{"bos", &g->v.bos}, {"eos", &g->v.eos}, {"unknown", &g->v.unk}, {"seperator", &g->v.sep}, {"cls", &g->v.cls}};
	for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
		char *name = sn_format("tokenizer.ggml.%s_token_id", ids[i].key);
		if (!strcmp(key, name))
			*ids[i].id = (int32_t)v;
		free(name);
	}
	if (!strcmp(key, "tokenizer.ggml.add_bos_token"))
		g->v.add_bos = v;
}

static inline void free_all(char **strings, int64_t n) {
	for (int64_t i = 0; i < n; i++)
		free(strings[i]);
	free(strings);
}

static inline json_t *gguf_vocab(const char *path) {
	SnFile f;
	if (sn_file_map(&f, path))
		return NULL;
	Gguf g = {.at = f.at + 16, .v = {.bos = -1, .eos = -1, .unk = -1, .sep = -1, .cls = -1}};
	for (uint64_t n = number(&g, 8); n > 0; n--) {
		char *key = text(&g);
		value(&g, key);
		free(key);
	}
	g.v.kind = g.kind;
	g.v.pre = g.pre;
	g.v.tokens = (const char *const *)g.tokens;
	g.v.merges = (const char *const *)g.merges;
	g.v.scores = g.scores;
	g.v.types = g.types;
	g.v.add_space_prefix = g.kind && !strcmp(g.kind, "llama");
	json_t *json = sn_vocab_json(&g.v, path);
	free_all(g.tokens, g.v.n);
	free_all(g.merges, g.v.nmerges);
	free(g.scores);
	free(g.types);
	free(g.kind);
	free(g.pre);
	sn_file_unmap(&f);
	return json;
}

#endif
