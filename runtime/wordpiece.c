/* wordpiece.c: WordPiece as BERT has it: of what is left of a word the longest token, again and again; a word with a part that none
 * begins is unknown as a whole. And WordLevel: a token or unknown. */
#include "runtime/tokens.h"

#include <stdlib.h>
#include <string.h>

typedef struct Pieces { SnTrie *trie; int32_t going_on; int64_t most; } Pieces;   /* going_on: the node behind the prefix; -1; most: characters a word */

static int wordpiece_open(SnModel *m, json_t *json, const char *path)
{
	Pieces *p = m->own = sn_alloc(sizeof *p);
	int code = sn_lexicon_open(&m->lex, json_object_get(json, "vocab"), path);
	if (code)
		return code;
	json_t *most = json_object_get(json, "max_input_chars_per_word");
	p->most = json_is_integer(most) ? json_integer_value(most) : 100;
	p->trie = sn_trie_open();
	for (int32_t i = 0; i < m->lex.size; i++)
		if (m->lex.tokens[i].at)
			sn_trie_add(p->trie, m->lex.tokens[i].at, m->lex.tokens[i].n, i);
	SnSpan prefix = sn_text_of(json_object_get(json, "continuing_subword_prefix"));
	if (!prefix.at)
		prefix = (SnSpan){"##", 2};
	for (size_t i = 0; i < prefix.n && p->going_on >= 0; i++)
		p->going_on = sn_trie_step(p->trie, p->going_on, (unsigned char)prefix.at[i]);
	sn_model_unk(m, json);
	return SN_OK;
}

static void wordpiece_close(SnModel *m)
{
	Pieces *p = m->own;
	sn_trie_close(p->trie);
	free(p);
}

static int64_t characters(const char *s, size_t n)
{
	int64_t count = 0;
	for (size_t i = 0; i < n; i++)
		count += (s[i] & 0xC0) != 0x80;
	return count;
}

static void wordpiece_word(const SnModel *m, SnScratch *x, const char *s, size_t n, SnIds *out)
{
	const Pieces *p = m->own;
	int64_t first = out->n;
	size_t at = (int64_t)n > p->most && characters(s, n) > p->most ? n + 1 : 0;
	while (at < n) {
		size_t len = 0;
		int32_t node = at ? p->going_on : 0, id = node < 0 ? -1 : sn_trie_longest(p->trie, node, s + at, n - at, &len);
		if (id >= 0)
			sn_ids_add(out, id);
		at = id < 0 ? n + 1 : at + len;
	}
	if (at == n)
		return;
	out->n = first;
	if (m->unk < 0)
		sn_model_lacks(x, s, n);
	else
		sn_ids_add(out, m->unk);
}

const SnModelKind sn_wordpiece = {wordpiece_open, wordpiece_word, NULL, wordpiece_close};

static int wordlevel_open(SnModel *m, json_t *json, const char *path)
{
	int code = sn_lexicon_open(&m->lex, json_object_get(json, "vocab"), path);
	if (!code)
		sn_model_unk(m, json);
	return code;
}

static void wordlevel_word(const SnModel *m, SnScratch *x, const char *s, size_t n, SnIds *out)
{
	int32_t id = sn_lexicon_find(&m->lex, s, n);
	if (id < 0 && m->unk < 0)
		sn_model_lacks(x, s, n);
	else
		sn_ids_add(out, id < 0 ? m->unk : id);
}

const SnModelKind sn_wordlevel = {wordlevel_open, wordlevel_word, NULL, NULL};
