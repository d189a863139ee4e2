/* explain.h: an explain entry's text, scores and what explains them, as explain*.c share it. Whoever opens closes; positions are those of
 * tokens, from 0 on. */
#ifndef SN_EXPLAIN_H
#define SN_EXPLAIN_H

#include "runtime/tables.h"

enum { SN_MAX_SCORES = 32, SN_TOP = 5 };

typedef struct SnScores {
	const SnSlot *slot;
	const SnFunction *attribute;
	bool placed;                  /* [T,C]: of each position; else [C] */
	int64_t C;
	float *at;
} SnScores;
typedef struct SnMap { const char *layer; int64_t H, T, S; float *at; } SnMap;   /* attention's weights (H,T,S) */
typedef struct SnStream { const char *layer; float *at; } SnStream;              /* a residual stream (T,D) */
typedef struct SnLikely { int32_t id; double share; } SnLikely;                  /* its probability */

typedef struct SnTarget {
	const SnScores *of;
	int64_t place, row;           /* the token that is explained; the position that predicts it. -1: of the whole text */
	int32_t id;                   /* token or class */
	double score, share;          /* the score itself; its probability among all */
} SnTarget;

typedef struct SnAttribution {
	const char *baseline;
	double from, to;              /* F(baseline), F(text) */
	double *gradient, *integrated;   /* (T) gradient x input; integrated gradients */
	double sum, error;            /* of integrated; |sum - (to - from)| beside |to - from| */
	int evaluations;
	bool holds;
} SnAttribution;

typedef struct SnExplain {
	const SnOptions *o;           /* the command's, or `own` */
	const SnEntry *entry;         /* the command's, or the one whose weights the checkpoint has */
	SnOptions own;
	SnSession s;
	SnData data;
	char *checkpoint;             /* owned; NULL: random weights */
	const SnFunction *run, *lens; /* lens: NULL where the model has none */
	const SnSlot *tokens;
	int64_t T, rows;              /* tokens; texts a call */
	SnIds ids, types, places;     /* places: sn_places; -1 where the post-processor put the token */
	bool causal;                  /* a position predicts the token behind it */
	char **label;                 /* (T) tokens as they are shown; owned */
	SnScores scores[SN_MAX_SCORES];
	int nscores;
	SnMap *maps; SnStream *streams;
	int nmaps, nstreams;
	double *rollout;              /* (T,T); NULL: no layer attends to the text itself */
	SnTarget target;
	SnLikely likely[SN_TOP];      /* where the target is */
	int nlikely;
	SnAttribution a;
	double *logprob;              /* (T) of causal models, of each token by those before it; the first has none */
	int64_t *rank;                /* (T) 0: it was the likeliest */
	SnLikely (*through)[SN_TOP];  /* the lens at the target's row, by layer */
	double *shares;               /* the target's, by layer */
	SnNames classes;              /* of the checkpoint's config.json; none: numbers alone */
} SnExplain;

/* explain_text.c */
int sn_explain_text(SnExplain *);                             /* tokenizer, ids, labels, session's dims; SN_USAGE, SN_DATA */
char *sn_explain_label(const SnExplain *, int32_t id);        /* malloc'ed, valid UTF-8 without control characters */
const char *sn_explain_class(const SnExplain *, int32_t id);  /* NULL: it has no name */
int sn_explain_inputs(SnExplain *, const SnFunction *, int64_t rows);   /* the text into the inputs, `rows` times; SN_USAGE */

/* explain_target.c: which score */
int sn_explain_target(SnExplain *);                           /* as the flags say; SN_USAGE */
double sn_share(const float *scores, int64_t n, int32_t id);  /* of a softmax over them */
void sn_likeliest_few(const float *scores, int64_t n, SnLikely *, int *count);
const float *sn_explain_row(const SnScores *, int64_t row);   /* C scores */

/* explain_paths.c: attributions */
int sn_explain_attribute(SnExplain *);                        /* SN_USAGE */

/* explain_lens.c */
void sn_explain_rollout(SnExplain *);
void sn_explain_logprobs(SnExplain *);
int sn_explain_lens(SnExplain *);

/* explain_json.c, explain_svg.c, explain_html.c */
json_t *sn_explain_json(const SnExplain *);
void sn_explain_svg(SnStr *, const SnExplain *);
void sn_explain_html(SnStr *, const SnExplain *);
void sn_markup(SnStr *, const char *text);                    /* with <, >, & and " as entities */
void sn_base64(SnStr *, const char *, size_t n);

#endif
