/* generate.h: ways of going on from a prompt, as generate.c chooses among them: several sequences at once, with tokens that another program
 * proposes, or by a beam. Whoever opens closes. */
#ifndef SN_GENERATE_H
#define SN_GENERATE_H

#include "runtime/sn.h"

/* draft.c: another program that proposes tokens */
typedef struct SnDraft {
	int pid, fd;
	int64_t most, V;              /* tokens at a time; ids that there are */
	int64_t proposed, taken;      /* so far */
	SnIds theirs;                 /* what it has cached */
} SnDraft;
int sn_draft_open(SnDraft *, const SnOptions *, const SnTokenizer *, int64_t V, int64_t most);   /* pid 0: the options ask for none; SN_USAGE, SN_DATA, SN_FAIL */
void sn_draft_close(SnDraft *);
int sn_draft_propose(SnDraft *, const SnIds *ids, int64_t want, int32_t *out, int64_t *count);   /* what follows ids; SN_FAIL */
int sn_draft_serve(SnStepper *, const SnTokenizer *, int64_t V);   /* the other side: until nobody asks any more */

/* sequences.c: several of them through a generate entry's step at once */
typedef struct SnSequences {
	SnStepper *m;
	const SnTokenizer *tokenizer; /* NULL: ids alone */
	SnSampler *sampler;
	const SnStops *stops;
	int64_t V, limit;             /* ids that can be drawn; tokens to draw for each at most */
	int64_t logprobs;             /* how many of the likeliest beside each; -1: none are kept */
	void (*said)(void *ctx, SnAnswer *);   /* a token was drawn, or the sequence ended; may be NULL */
	void *ctx;
	const volatile int *interrupted;   /* becomes nonzero: all end; may be NULL */
	SnDraft *draft;               /* NULL: none; serves single sequences */
	int64_t drawn;                /* tokens in all */
} SnSequences;
/* Until each has ended; all have m->cached tokens in the caches, and more to feed. Changes the order of row. SN_FAIL */
int sn_sequences_run(SnSequences *, SnAnswer **row, int64_t n);

/* beam.c: beam search; scores are sums of log-probabilities divided by length (Wu et al. 2016, sec. 7, alpha = 1). */
typedef struct SnBeam {
	int64_t width, limit;         /* sequences followed; tokens at most */
	int64_t V;                    /* ids that can be drawn */
	bool (*ends)(void *ctx, const int32_t *ids, int64_t n);   /* does a sequence end with its last id? */
	void *ctx;
} SnBeam;
/* logits: behind the prompt, of one row. The best sequence's ids are added to out. */
int sn_beam_search(SnStepper *, const SnBeam *, const float *logits, SnIds *out);   /* SN_FAIL */

#endif
