/* pretrain.c: the feeder of `data text(..), sentence_pairs(T), mask_tokens(share)`: raw texts (corpus.c) as examples (pairs.c) in the
 * entry's inputs, which their types tell apart. Special tokens stand where the tokenizer's post-processor puts them. What
 * training takes is drawn from the run's seed and the number of examples taken before; what judges it is always the same. */
#include "runtime/sn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { IGNORED = -100, LEAST_ROW = 8, OF_A = -1, OF_B = -2, MAX_LAYOUT = 64 };
enum { CHUNKS = 0x63686E6B, EXAMPLES = 0x6D61736B, JUDGED = 0x6A756467 };   /* streams */

typedef struct Pretrain {
	const SnSlot *tokens, *segment, *real, *labels, *next;   /* NULL but for tokens: the entry has none */
	int64_t T;
	SnCorpus corpus;
	SnPairs train, valid;         /* examples: those of the one, then those of the other */
	SnMasking masking;
	double share;                 /* of a row's tokens that are masked */
	int32_t pad;
	int32_t layout[MAX_LAYOUT], type[MAX_LAYOUT];   /* a row: OF_A, OF_B, or a special token; their segments */
	int64_t nlayout;
	int32_t *places;              /* (T) in the row at hand that may be masked */
	uint32_t key;
} Pretrain;

/* --- a row */

static int32_t *row_of(SnSession *s, const SnSlot *slot, int64_t row, int64_t T)
{
	return slot ? (int32_t *)(s->arena + slot->offset) + row * T : NULL;
}

/* The row's tokens and segments; returns how many. *nplace: places of tokens that aren't special. */
static int64_t put_text(const Pretrain *p, const SnPairDrawn *x, int32_t *tokens, int32_t *segment, int64_t *nplace)
{
	int64_t n = 0;
	*nplace = 0;
	for (int64_t i = 0; i < p->nlayout; i++) {
		int32_t id = p->layout[i];
		const SnStretch *of = id == OF_A ? &x->a : id == OF_B ? &x->b : NULL;
		const int32_t *from = of ? p->corpus.ids.at + of->at : &id;
		for (int64_t k = 0, end = of ? of->n : 1; k < end; k++, n++) {
			tokens[n] = from[k];
			if (segment)
				segment[n] = p->type[i];
			if (of && !p->masking.special[from[k]])
				p->places[(*nplace)++] = (int32_t)n;
		}
	}
	return n;
}

static void put_row(const Pretrain *p, SnSession *s, int64_t row, int64_t example, int64_t drawn)
{
	bool trained = example < p->train.n;
	const SnPairs *pairs = trained ? &p->train : &p->valid;
	int64_t number = trained ? example : example - p->train.n;
	SnDraws d = drawn < 0 || !trained ? sn_draws(JUDGED, number) : sn_draws(p->key, drawn + row);
	SnPairDrawn x = sn_pairs_draw(pairs, number, &d);
	int32_t *tokens = row_of(s, p->tokens, row, p->T), *segment = row_of(s, p->segment, row, p->T), *labels = row_of(s, p->labels, row, p->T);
	int64_t nplace, n = put_text(p, &x, tokens, segment, &nplace);
	for (int64_t i = n; i < p->T; i++) {
		tokens[i] = p->pad;
		if (segment)
			segment[i] = 0;
	}
	if (p->real)
		for (int64_t i = 0; i < p->T; i++)
			(s->arena + p->real->offset)[row * p->T + i] = i < n;
	for (int64_t i = 0; labels && i < p->T; i++)
		labels[i] = IGNORED;
	if (labels)
		sn_mask(&p->masking, tokens, labels, p->places, nplace, (int64_t)floor((double)n * p->share + 0.5), &d);
	if (p->next)
		((int32_t *)(s->arena + p->next->offset))[row] = x.other;
}

static void fill(const SnInputs *in, SnSession *s, const int64_t *pick, int64_t n, int64_t drawn)
{
	const Pretrain *p = in->own;
	int64_t *T = sn_dim(s, "T"), *B = sn_dim(s, "B");
	if (T)
		*T = p->T;
	if (B)
		*B = n;
	for (int64_t i = 0; i < n; i++)
		put_row(p, s, i, pick ? pick[i] : i, drawn);
}

static void close_own(SnInputs *in)
{
	Pretrain *p = in->own;
	sn_pairs_close(&p->train);
	sn_pairs_close(&p->valid);
	sn_corpus_close(&p->corpus);
	free(p->masking.words);
	free(p->masking.special);
	free(p->places);
	free(p);
}

/* --- which input is which */

static bool has_axes(const SnSlot *s, int rank)
{
	static const char *const names[] = {"B", "T"};
	const SnAxis *a = s->axes;
	for (int i = 0; i < s->rank && i < rank; i++)
		if (!a || strcmp(a[i].text, names[i]))
			return false;
	return s->rank == rank;
}

/* The place that is free for an input of this type; NULL. */
static const SnSlot **place_for(Pretrain *p, const SnSlot *s)
{
	bool row = has_axes(s, 2), ids = s->dtype == SN_I32 && s->rows;
	if (row && s->dtype == SN_BOOL)
		return &p->real;
	if (row && ids && s->optional)
		return &p->labels;
	if (row && ids)
		return !p->tokens ? &p->tokens : &p->segment;
	return has_axes(s, 1) && ids && s->rows == 2 && !s->optional ? &p->next : NULL;
}

static int find_places(Pretrain *p, const SnAsked *a)
{
	const SnSlot *s = a->f->slots;
	for (int64_t i = 0; i < a->f->nslot; i++) {
		if (!sn_slot_is_fed(&s[i]))
			continue;
		const SnSlot **place = place_for(p, &s[i]);
		if (place && !*place) {
			*place = &s[i];
			continue;
		}
		SnStr text = {0};
		sn_slot_text(&text, &s[i]);
		int code = sn_fail(SN_USAGE, "%s can't be fed from raw texts: %s %s tokens id(V)[B,T], segments id(2)[B,T], what is real bool[B,T], masked tokens id(V)?[B,T] or "
		                   "what follows id(2)[B]; give --inputs FILE", sn_text(a->entry->name), text.s, place ? "is a second one of" : "is none of");
		free(text.s);
		return code;
	}
	if (p->segment && p->segment->rows > p->tokens->rows) {   /* in whichever order: segments are the fewer */
		const SnSlot *x = p->segment;
		p->segment = p->tokens;
		p->tokens = x;
	}
	return p->tokens ? SN_OK : sn_fail(SN_USAGE, "%s has no tokens id(V)[B,T] to be fed from raw texts", sn_text(a->entry->name));
}

/* --- settings */

static bool has_step(const SnOptions *o, const char *step)
{
	const char *steps = sn_str(o, "data.steps", "");
	return strstr(steps, step);
}

static int read_steps(Pretrain *p, const SnAsked *a, bool pairs)
{
	const SnOptions *o = a->o;
	const char *name = sn_text(a->entry->name), *kind = sn_str(o, "data.kind", "text");
	bool masks = has_step(o, "mask_tokens");
	p->share = sn_num(o, "data.mask_tokens.share", 0.15);
	p->T = a->T;
	int64_t length = (int64_t)sn_num(o, "data.sentence_pairs.length", 0);
	if (pairs && length > p->T)
		return sn_fail(SN_USAGE, "sentence_pairs(%lld): the rows of %s have %lld tokens", (long long)length, name, (long long)p->T);
	if (pairs && length > 0 && !sn_given(o, "T"))
		p->T = length;
	if (strcmp(kind, "text"))
		return sn_fail(SN_USAGE, "sentence_pairs and mask_tokens make examples of `data text(..)`, not of `%s`", kind);
	if (sn_num(o, "data.max", 0) > 0 || sn_str(o, "data.field", NULL) || sn_is_json_lines(a->path))
		return sn_fail(SN_USAGE, "%s: sentence_pairs and mask_tokens read plain texts, with blank lines between documents", a->path);
	if (masks != (p->labels != NULL))
		return sn_fail(SN_USAGE, masks ? "%s has no input id(V)?[B,T] for the tokens that mask_tokens hides" : "%s wants labels: mask_tokens would make them", name);
	if (!pairs && p->next)
		return sn_fail(SN_USAGE, "%s wants to know what follows: sentence_pairs would make it", name);
	if (masks && !(p->share > 0 && p->share <= 1))
		return sn_fail(SN_USAGE, "--mask-prob %g: a part above 0 and up to 1 of the tokens is masked", p->share);
	return p->T < LEAST_ROW ? sn_fail(SN_USAGE, "rows of %lld tokens are too short for pre-training: %d are the least", (long long)p->T, LEAST_ROW) : SN_OK;
}

/* --- the tokenizer */

static int32_t named(const SnTokenizer *t, const char *const *names, int n)
{
	int32_t id = -1;
	for (int i = 0; i < n && id < 0; i++)
		id = sn_special(t, names[i]);
	return id;
}

/* Where the post-processor puts A, B and its own; where it has none, [CLS] A [SEP] B [SEP] all the same. */
static int read_layout(Pretrain *p, const SnTokenizer *t, const char *path, bool pairs)
{
	static const char *const starts[] = {"[CLS]", "<s>"}, *const ends[] = {"[SEP]", "</s>"};
	SnIds a = {(int32_t[]){OF_A}, 1, 1}, b = {(int32_t[]){OF_B}, 1, 1}, ids = {0}, types = {0};
	sn_post_process(t, &a, pairs ? &b : NULL, &ids, &types);
	int32_t cls = named(t, starts, 2), sep = named(t, ends, 2);
	bool bare = ids.n == 1 + pairs;
	int code = bare && (cls < 0 || sep < 0) ? sn_fail(SN_DATA, "%s: the tokenizer has no [CLS] and [SEP] to put around sentences", path) : SN_OK;
	if (!code && bare) {
		int32_t whole[] = {cls, OF_A, sep, OF_B, sep}, type[] = {0, 0, 0, 1, 1};
		p->nlayout = pairs ? 5 : 3;
		memcpy(p->layout, whole, sizeof whole);
		memcpy(p->type, type, sizeof type);
	} else if (!code && ids.n > MAX_LAYOUT) {
		code = sn_fail(SN_DATA, "%s: the tokenizer's post-processor adds more than %d tokens", path, MAX_LAYOUT);
	} else if (!code) {
		p->nlayout = ids.n;
		memcpy(p->layout, ids.at, sizeof *ids.at * (size_t)ids.n);
		memcpy(p->type, types.at, sizeof *types.at * (size_t)ids.n);
	}
	for (int64_t i = 0; i < p->nlayout && !code; i++)
		if (p->segment && p->type[i] >= p->segment->rows)
			code = sn_fail(SN_DATA, "%s: the tokenizer's post-processor has segment %d, the model %lld segments", path, p->type[i], (long long)p->segment->rows);
	free(ids.at);
	free(types.at);
	return code;
}

static int read_tokenizer(Pretrain *p, const SnAsked *a, bool pairs)
{
	static const char *const masks[] = {"[MASK]", "<mask>"}, *const pads[] = {"[PAD]", "<pad>"};
	int code = a->data->tokenizer ? SN_OK : sn_data_tokenizer(a->data, a->o, a->checkpoint, a->path);
	if (code)
		return code;
	const SnTokenizer *t = a->data->tokenizer;
	const char *name = sn_str(a->o, "data.tokenizer", "the tokenizer");
	int32_t size = sn_tokenizer_size(t), pad = named(t, pads, 2);
	p->masking.mask = named(t, masks, 2);
	p->pad = pad < 0 ? 0 : pad;
	if (p->labels && p->masking.mask < 0)
		return sn_fail(SN_DATA, "%s: the tokenizer has no [MASK] (or <mask>): `sinter tokenizer train --kind wordpiece` makes one with it", name);
	if (size > p->tokens->rows)
		return sn_fail(SN_DATA, "%s: the tokenizer has %d ids, the model's vocabulary %lld: build it with --set V=%d", name, size, (long long)p->tokens->rows, size);
	p->masking.words = sn_alloc(sizeof *p->masking.words * (size_t)size);
	p->masking.special = sn_alloc((size_t)size);
	for (int32_t i = 0; i < size; i++) {
		p->masking.special[i] = sn_is_special(t, i);
		if (!p->masking.special[i])
			p->masking.words[p->masking.nword++] = i;
	}
	return p->masking.nword ? read_layout(p, t, name, pairs) : sn_fail(SN_DATA, "%s: the tokenizer has special tokens alone", name);
}

/* --- examples */

/* How many of the documents, the last, are kept for validation; -1 after a message. */
static int64_t kept(const Pretrain *p, const SnAsked *a, bool pairs)
{
	int64_t n = p->corpus.ndocument, least = pairs ? 2 : 1;
	double share = a->use == SN_USE_TRAIN && !sn_data_valid(a->o) ? sn_num(a->o, "data.valid_fraction", 0.1) : 0;
	int64_t valid = (int64_t)((double)n * share);
	if (share > 0 && valid < least)
		valid = least;
	if (n - valid >= least)
		return valid;
	if (!n)
		sn_fail(SN_DATA, "%s: there is no sentence in it", a->path);
	else if (valid)
		sn_fail(SN_DATA, "%s: %lld document%s (blank lines are between them): %lld to train on and %lld to validate on are the least", a->path, (long long)n,
		        n == 1 ? "" : "s", (long long)least, (long long)least);
	else
		sn_fail(SN_DATA, "%s: one document (blank lines are between them): sentences of another one are what does not follow", a->path);
	return -1;
}

static int plan(Pretrain *p, SnInputs *in, const SnAsked *a, bool pairs)
{
	uint32_t seed = (uint32_t)sn_num(a->o, "seed", 1), chunks = sn_hash32(&seed, sizeof seed, CHUNKS);
	int64_t valid = kept(p, a, pairs), room = p->T - p->nlayout + 1 + pairs, n = p->corpus.ndocument;
	bool judged = a->use != SN_USE_TRAIN;
	if (valid < 0)
		return SN_DATA;
	if (room < 2)
		return sn_fail(SN_USAGE, "rows of %lld tokens have no room beside the tokenizer's special ones", (long long)p->T);
	sn_pairs_plan(&p->train, &p->corpus, 0, n - valid, room, !pairs, judged ? JUDGED : chunks);
	sn_pairs_plan(&p->valid, &p->corpus, n - valid, n, room, !pairs, JUDGED);
	p->key = sn_hash32(&seed, sizeof seed, EXAMPLES);
	p->places = sn_alloc(sizeof *p->places * (size_t)p->T);
	in->trained = p->train.n;
	in->examples = p->train.n + p->valid.n;
	in->hash = sn_sum(p->corpus.ids.at, sizeof *p->corpus.ids.at * (size_t)p->corpus.ids.n);
	return SN_OK;
}

static void say(const Pretrain *p, const SnAsked *a)
{
	int64_t alone = p->train.alone + p->valid.alone, n = p->train.n + p->valid.n;
	if (sn_given(a->o, "quiet"))
		return;
	sn_note("%s: %lld tokens, %lld sentences, %lld documents: %lld examples", a->path, (long long)p->corpus.ids.n, (long long)p->corpus.nsentence,
	        (long long)p->corpus.ndocument, (long long)n);
	if (alone * 10 > n)
		sn_note("%lld of them are of documents of one sentence: what follows it is another document's always", (long long)alone);
}

static int open_own(Pretrain *p, SnInputs *in, const SnAsked *a)
{
	bool pairs = has_step(a->o, "sentence_pairs");
	int code = find_places(p, a);
	if (!code)
		code = read_steps(p, a, pairs);
	if (!code)
		code = read_tokenizer(p, a, pairs);
	if (!code)
		code = sn_corpus_read(&p->corpus, a->data->tokenizer, a->path);
	if (!code)
		code = plan(p, in, a, pairs);
	if (!code)
		say(p, a);
	return code;
}

static int open_pretrain(SnInputs *in, const SnAsked *a)
{
	Pretrain *p = sn_alloc(sizeof *p);
	*in = (SnInputs){.file.path = a->path, .batch = -1, .fill = fill, .close = close_own, .own = p, .unit = "examples"};
	int code = open_own(p, in, a);
	if (code)
		sn_inputs_close(in);
	return code;
}

static const SnFlag flags[] = {
	{"mask-prob", 0, SN_T_SHARE, "data.mask_tokens.share", SN_F_KEPT | SN_F_EVAL, "X", "part of the tokens that are masked"},
};

const SnFeeder sn_feeder_pretrain = {"texts", open_pretrain, {flags, sizeof flags / sizeof *flags, 0}, NULL};
