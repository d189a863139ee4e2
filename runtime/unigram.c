/* unigram.c: a unigram language model (Kudo 2018): of all ways to cut a word into tokens the one with the greatest sum of scores, found
 * by Viterbi's algorithm over the word's bytes; of equals the one whose last token begins first, as SentencePiece's own. */
#include "runtime/tokens.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Unigram { SnTrie *trie; double *scores, unknown; bool fallback; int32_t byte_id[256]; } Unigram;
typedef struct Node { double score; int64_t from; int32_t id; } Node;   /* the best way to here; from -1: none yet */

static int load(SnModel *m, json_t *vocab, const char *path)
{
	Unigram *u = m->own;
	size_t i;
	json_t *j;
	double least = INFINITY;
	json_array_foreach(vocab, i, j) {
		SnSpan text = sn_text_of(json_array_get(j, 0));
		json_t *score = json_array_get(j, 1);
		if (!text.at || !json_is_number(score))
			return sn_fail(SN_DATA, "%s: token %zu of model.vocab is not a text and a score", path, i);
		int code = sn_lexicon_add(&m->lex, (int64_t)i, text, path);
		if (code)
			return code;
		u->scores[i] = json_number_value(score);
		least = u->scores[i] < least ? u->scores[i] : least;
		sn_trie_add(u->trie, text.at, text.n, (int32_t)i);
	}
	u->unknown = least - 10;
	return SN_OK;
}

static int unigram_open(SnModel *m, json_t *json, const char *path)
{
	Unigram *u = m->own = sn_alloc(sizeof *u);
	json_t *vocab = json_object_get(json, "vocab"), *unk = json_object_get(json, "unk_id");
	size_t n = json_array_size(vocab);
	if (!n || n > SN_MAX_ID)
		return sn_fail(SN_DATA, "%s: no model.vocab with tokens and scores", path);
	sn_lexicon_start(&m->lex, (int64_t)n);
	u->trie = sn_trie_open();
	u->scores = sn_alloc(sizeof *u->scores * n);
	int code = load(m, vocab, path);
	if (code)
		return code;
	if (unk && !json_is_null(unk)) {
		if (!json_is_integer(unk) || json_integer_value(unk) < 0 || json_integer_value(unk) >= (json_int_t)n)
			return sn_fail(SN_DATA, "%s: model.unk_id is not the id of a token", path);
		m->unk = (int32_t)json_integer_value(unk);
	}
	u->fallback = sn_flag_of(json, "byte_fallback", false);
	sn_lexicon_bytes(&m->lex, u->byte_id);
	return SN_OK;
}

static void unigram_close(SnModel *m)
{
	Unigram *u = m->own;
	sn_trie_close(u->trie);
	free(u->scores);
	free(u);
}

static void offer(Node *to, double score, int64_t from, int32_t id)
{
	if (to->from < 0 || score > to->score)
		*to = (Node){score, from, id};
}

static void forward(const SnModel *m, Node *nodes, const char *s, size_t n)
{
	const Unigram *u = m->own;
	for (size_t i = 0; i <= n; i++)
		nodes[i] = (Node){0, -1, -1};
	for (size_t at = 0, k; at < n; at += k) {
		uint32_t c;
		k = (size_t)sn_utf8_read(s + at, n - at, &c);
		bool whole = false;           /* a token is just this character */
		int32_t node = 0;
		for (size_t i = at; i < n && (node = sn_trie_step(u->trie, node, (unsigned char)s[i])) >= 0; i++) {
			int32_t id = sn_trie_value(u->trie, node);
			if (id < 0)
				continue;
			offer(&nodes[i + 1], nodes[at].score + u->scores[id], (int64_t)at, id);
			whole |= i + 1 == at + k;
		}
		if (!whole)
			offer(&nodes[at + k], nodes[at].score + u->unknown, (int64_t)at, m->unk);
	}
}

/* What no token is: bytes, where all have one, else one unknown token. */
static void unknown(const SnModel *m, SnScratch *x, const char *s, size_t n, SnIds *out)
{
	const Unigram *u = m->own;
	bool bytes = u->fallback;
	for (size_t i = 0; i < n && bytes; i++)
		bytes = u->byte_id[(unsigned char)s[i]] >= 0;
	for (size_t i = n; i-- > 0 && bytes;)
		sn_ids_add(out, u->byte_id[(unsigned char)s[i]]);
	if (!bytes && m->unk < 0)
		sn_model_lacks(x, s, n);
	else if (!bytes)
		sn_ids_add(out, m->unk);
}

static void unigram_word(const SnModel *m, SnScratch *x, const char *s, size_t n, SnIds *out)
{
	if (n + 1 > x->nnodes) {
		x->nnodes = (n + 1) * 2;
		x->nodes = sn_realloc(x->nodes, sizeof(Node) * x->nnodes);
	}
	Node *nodes = x->nodes;
	forward(m, nodes, s, n);
	int64_t first = out->n, end = -1;             /* backwards; end: of the unknown that comes together; -1 */
	for (int64_t at = (int64_t)n; at > 0; at = nodes[at].from) {
		bool lacks = nodes[at].id == m->unk;
		if (!lacks)
			sn_ids_add(out, nodes[at].id);
		else if (end < 0)
			end = at;
		int64_t from = nodes[at].from;
		if (end >= 0 && (!from || nodes[from].id != m->unk)) {
			unknown(m, x, s + from, (size_t)(end - from), out);
			end = -1;
		}
	}
	for (int64_t i = first, k = out->n - 1; i < k; i++, k--) {
		int32_t id = out->at[i];
		out->at[i] = out->at[k];
		out->at[k] = id;
	}
}

const SnModelKind sn_unigram = {unigram_open, unigram_word, NULL, unigram_close};
