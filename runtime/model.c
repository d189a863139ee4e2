/* model.c: the models of a tokenizer.json: a row each. */
#include "runtime/tokens.h"

#include <stdlib.h>
#include <string.h>

static const struct { const char *type, *name; const SnModelKind *kind; } kinds[] = {
	{"BPE", "bpe", &sn_bpe}, {"WordPiece", "wordpiece", &sn_wordpiece}, {"Unigram", "unigram", &sn_unigram}, {"WordLevel", "wordlevel", &sn_wordlevel},
};

/* Older files name no type: what there is tells. */
static int kind_of(json_t *model, const char *path)
{
	if (*sn_type_of(model))
		return sn_stage_find(model, "model", &kinds[0].type, sizeof *kinds, sizeof kinds / sizeof *kinds, path);
	if (json_is_array(json_object_get(model, "vocab")))
		return 2;
	if (json_object_get(model, "merges"))
		return 0;
	if (json_object_get(model, "continuing_subword_prefix"))
		return 1;
	sn_fail(SN_DATA, "%s: not a tokenizer.json: no model with a type that is known", path);
	return -1;
}

SnModel *sn_model_open(json_t *json, const char *path)
{
	int kind = kind_of(json, path);
	if (kind < 0)
		return NULL;
	SnModel *m = sn_alloc(sizeof *m);
	m->kind = kinds[kind].kind;
	m->unk = -1;
	if (!m->kind->open(m, json, path))
		return m;
	sn_model_close(m);
	return NULL;
}

void sn_model_close(SnModel *m)
{
	if (!m)
		return;
	if (m->own)
		m->kind->close(m);
	sn_lexicon_close(&m->lex);
	free(m);
}

const char *sn_model_name(const SnModel *m)
{
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (kinds[i].kind == m->kind)
			return kinds[i].name;
	return "";
}

void sn_model_unk(SnModel *m, json_t *json)
{
	SnSpan unk = sn_text_of(json_object_get(json, "unk_token"));
	m->unk = unk.at ? sn_lexicon_find(&m->lex, unk.at, unk.n) : -1;
}

void sn_model_lacks(SnScratch *x, const char *s, size_t n)
{
	if (!x->is_bad)
		sn_utf8_read(s, n, &x->bad);
	x->is_bad = true;
}

void sn_scratch_close(SnScratch *x)
{
	free(x->merge.symbols);
	free(x->merge.heap);
	free(x->nodes);
}
