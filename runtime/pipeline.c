/* pipeline.c: a tokenizer.json's stages put together. A text goes through once, piece by piece: added tokens, normalizers, added tokens
 * again, pre-tokenizers, model. Words that came before are not encoded again: a cache has their ids. */
#include "runtime/tokens.h"

#include <stdlib.h>
#include <string.h>

enum { CACHE = 1 << 15, CACHED_BYTES = 46, CACHED_IDS = 12 };

struct SnPipeline {
	SnNormalizer *normalizer;
	SnSplitter *splitter;
	SnModel *model;
	SnPost *post;
	SnDecoder *decoder;
	SnAddedTokens added;
	int32_t *added_of;            /* (size) index of the added token that has this id; -1 */
	int32_t size;
};

static int open_added(SnPipeline *p, json_t *list, const char *path)
{
	int code = sn_added_open(&p->added, list, p->normalizer, path);
	p->size = p->model->lex.size;
	for (int i = 0; i < p->added.n; i++)
		p->size = p->added.at[i].id >= p->size ? p->added.at[i].id + 1 : p->size;
	p->added_of = sn_alloc(sizeof *p->added_of * ((size_t)p->size + 1));
	memset(p->added_of, -1, sizeof *p->added_of * (size_t)p->size);
	for (int i = 0; i < p->added.n; i++)
		p->added_of[p->added.at[i].id] = i;
	return code;
}

SnPipeline *sn_pipeline_open(json_t *root, const char *path)
{
	SnPipeline *p = sn_alloc(sizeof *p);
	bool ok = (p->model = sn_model_open(json_object_get(root, "model"), path))
		&& (p->normalizer = sn_normalizer_open(json_object_get(root, "normalizer"), path))
		&& (p->splitter = sn_splitter_open(json_object_get(root, "pre_tokenizer"), path))
		&& (p->post = sn_post_open(json_object_get(root, "post_processor"), path))
		&& (p->decoder = sn_decoder_open(json_object_get(root, "decoder"), path))
		&& !open_added(p, json_object_get(root, "added_tokens"), path);
	if (ok)
		return p;
	sn_pipeline_close(p);
	return NULL;
}

void sn_pipeline_close(SnPipeline *p)
{
	if (!p)
		return;
	sn_model_close(p->model);
	sn_normalizer_close(p->normalizer);
	sn_splitter_close(p->splitter);
	sn_post_close(p->post);
	sn_decoder_close(p->decoder);
	sn_added_close(&p->added);
	free(p->added_of);
	free(p);
}

int32_t sn_pipeline_size(const SnPipeline *p)
{
	return p->size;
}

const char *sn_pipeline_kind(const SnPipeline *p)
{
	return sn_model_name(p->model);
}

SnStages sn_pipeline_stages(const SnPipeline *p)
{
	return (SnStages){p->normalizer, p->splitter, p->model, &p->added};
}

/* --- encoding */

typedef struct Seen { char word[CACHED_BYTES]; uint8_t n, count; int32_t ids[CACHED_IDS]; } Seen;   /* n 0: free */
struct SnRun {
	const SnPipeline *p;
	SnSplitting *splitting;
	SnScratch scratch;
	Seen *seen;                   /* CACHE, by hash */
	SnStr normal;
	SnIds *out;
};

static bool is_word(const Seen *seen, const char *s, size_t n)
{
	return seen->n == n && !memcmp(seen->word, s, n);
}

/* The word's place, or, with n 0, one for it: two are looked at, and of those the one that was there first is left. */
static Seen *lookup(SnRun *r, const char *s, size_t n)
{
	uint32_t i = (uint32_t)(sn_hash64(s, n, 0) >> 20) & (CACHE - 1);
	Seen *one = &r->seen[i], *two = &r->seen[i ^ 1];
	if (is_word(one, s, n))
		return one;
	if (is_word(two, s, n))
		return two;
	if (one->n && two->n)
		*two = *one;
	else if (one->n)
		one = two;
	one->n = 0;
	return one;
}

static void encode_part(SnRun *r, const char *s, size_t n)
{
	const SnModel *m = r->p->model;
	SnIds *out = r->out;
	if (n > CACHED_BYTES) {
		m->kind->word(m, &r->scratch, s, n, out);
		return;
	}
	Seen *seen = lookup(r, s, n);
	if (seen->n) {
		for (int i = 0; i < seen->count; i++)
			sn_ids_add(out, seen->ids[i]);
		return;
	}
	int64_t first = out->n;
	m->kind->word(m, &r->scratch, s, n, out);
	if (out->n - first > CACHED_IDS)
		return;
	seen->n = (uint8_t)n;
	seen->count = (uint8_t)(out->n - first);
	memcpy(seen->word, s, n);
	if (seen->count)
		memcpy(seen->ids, out->at + first, sizeof *seen->ids * seen->count);
}

static int encode_word(void *ctx, SnPiece w)
{
	SnRun *r = ctx;
	const SnModel *m = r->p->model;
	for (size_t at = 0, n; at < w.n; at += n) {
		n = w.n - at;
		if (n > CACHED_BYTES && m->kind->part)
			n = m->kind->part(m, w.s + at, n);
		encode_part(r, w.s + at, n);
	}
	return SN_OK;
}

static int encode_normal(void *ctx, SnPiece t, const SnAdded *added)
{
	SnRun *r = ctx;
	if (added)
		sn_ids_add(r->out, added->id);
	return added ? SN_OK : sn_split(r->splitting, t, encode_word, r);
}

static int encode_raw(void *ctx, SnPiece t, const SnAdded *added)
{
	SnRun *r = ctx;
	if (added) {
		sn_ids_add(r->out, added->id);
		return SN_OK;
	}
	if (!sn_normalizer_is_empty(r->p->normalizer)) {
		int code = sn_normalize(r->p->normalizer, t.s, t.n, &r->normal);
		if (code)
			return code;
		t = (SnPiece){r->normal.s, r->normal.n, t.first};
	}
	return sn_added_cut(&r->p->added, false, t, encode_normal, r);
}

SnRun *sn_pipeline_start(const SnPipeline *p)
{
	SnRun *r = sn_alloc(sizeof *r);
	*r = (SnRun){.p = p, .splitting = sn_splitting_open(p->splitter), .seen = sn_alloc(sizeof *r->seen * CACHE)};
	return r;
}

int sn_pipeline_run(SnRun *r, const char *s, size_t n, const char *what, SnIds *out)
{
	r->out = out;
	r->scratch.is_bad = false;
	int code = sn_added_cut(&r->p->added, true, (SnPiece){s, n, true}, encode_raw, r);
	if (!code && r->scratch.is_bad)
		code = sn_fail(SN_DATA, "%s: the tokenizer's vocabulary has nothing for the character U+%04X, and no unknown token", what, (unsigned)r->scratch.bad);
	return code;
}

void sn_pipeline_end(SnRun *r)
{
	if (!r)
		return;
	sn_splitting_close(r->splitting);
	sn_scratch_close(&r->scratch);
	free(r->seen);
	free(r->normal.s);
	free(r);
}

int sn_pipeline_encode(const SnPipeline *p, const char *s, size_t n, const char *what, SnIds *out)
{
	SnRun *r = sn_pipeline_start(p);
	int code = sn_pipeline_run(r, s, n, what, out);
	sn_pipeline_end(r);
	return code;
}

void sn_pipeline_post(const SnPipeline *p, const SnIds *a, const SnIds *b, SnIds *ids, SnIds *types)
{
	sn_post_run(p->post, a, b, ids, types);
}

/* --- decoding */

SnSpan sn_pipeline_token(const SnPipeline *p, int32_t id)
{
	if (id < 0 || id >= p->size)
		return (SnSpan){NULL, 0};
	if (p->added_of[id] >= 0)
		return p->added.at[p->added_of[id]].text;
	return id < p->model->lex.size ? p->model->lex.tokens[id] : (SnSpan){NULL, 0};
}

void sn_pipeline_piece(const SnPipeline *p, int32_t id, bool first, SnStr *out)
{
	SnSpan token = sn_pipeline_token(p, id);
	SnStrings list = {0};
	if (!token.at)
		return;
	sn_strings_add(&list, token.at, token.n);
	sn_decoder_run(p->decoder, &list, true, first, out);
	sn_strings_close(&list);
}

bool sn_pipeline_is_special(const SnPipeline *p, int32_t id)
{
	return id >= 0 && id < p->size && p->added_of[id] >= 0 && p->added.at[p->added_of[id]].special;
}

int sn_pipeline_decode(const SnPipeline *p, const int32_t *ids, int64_t n, bool skip_special, SnStr *out)
{
	SnStrings list = {0};
	for (int64_t i = 0; i < n; i++) {
		SnSpan token = sn_pipeline_token(p, ids[i]);
		bool skip = skip_special && sn_pipeline_is_special(p, ids[i]);
		if (token.at && !skip)
			sn_strings_add(&list, token.at, token.n);
	}
	int code = list.n ? sn_decoder_run(p->decoder, &list, false, true, out) : SN_OK;
	sn_strings_close(&list);
	return code;
}

int32_t sn_pipeline_added(const SnPipeline *p, const char *text)
{
	for (int i = 0; i < p->added.n; i++)
		if (strlen(text) == p->added.at[i].text.n && !memcmp(p->added.at[i].text.at, text, p->added.at[i].text.n))
			return p->added.at[i].id;
	return -1;
}

int32_t sn_pipeline_edge(const SnPipeline *p, bool last)
{
	int32_t id = sn_post_edge(p->post, last);
	return id < p->size ? id : -1;
}
