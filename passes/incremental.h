/* incremental.h: what incremental*.c share: how values depend on the generated axis, and the state of the rewriting.
 *
 * T is the generated dimension. In the step T is the number of new tokens of a call, `all` (the symbol T.all) the
 * number of positions after the call. A value runs along the sequence on at most two axes:
 *
 *   n = 0, not last   constant: the same at each step
 *   n = 1, not last   element t depends on tokens up to t alone
 *   n = 0, last       made from the last position
 *   n = 2, or last and n = 1   pairs: something for each position against each other, or against the last. One axis is
 *                     the queries', one the keys'; only an attention's mask or bias can tell which. Nothing else takes it. */
#ifndef INCREMENTAL_H
#define INCREMENTAL_H

#include "passes/passes.h"

/* An axis that runs along the sequence: its extent is outer * T * inner, or, where `rows`, a run-time number of rows each
 * of which belongs to one place of such an axis. */
typedef struct Along { int at; const Dim *outer, *inner; bool rows; } Along;
typedef struct Dep {
	bool refused, last;
	bool places;             /* of ids: each is a place along the axis outer * T * inner */
	int n;
	Along axis[2];           /* ascending */
	Value *from;             /* what made pairs */
} Dep;

typedef struct Refusal { const Value *v; const char *code, *text; } Refusal;

/* What a key axis is in the step: all positions so far, or a ring that holds the last `ring` of them. */
typedef struct Span { const Dim *len; int64_t ring; } Span;   /* ring 0: all */

/* What has been made for a value in another role. */
typedef struct Made { const Value *v; const char *how; Value *is; } Made;

typedef struct Inc {
	Graph *g, *encode;
	const char *sym, *all_sym, *batch;   /* names of T, T.all, and the batch's dimension (NULL: it is constant) */
	const Dim *T, *all, *past;           /* past = all - T */
	int64_t longest, chunk;              /* bounds of all and of T in the step */
	DType kept;                          /* keys and values: setting `cache`; i8: in blocks with scales */
	Dep *dep;                            /* by id */
	bool *given;                         /* by id: depends on an input that does not run along T */
	bool *positional;                    /* by id: its run along T comes from positions and constants alone */
	int64_t *span;                       /* by id of keys and values: positions a cache must hold, longest for all */
	Value **twin;                        /* by id: the value in encode */
	Vec(Refusal) refusals;
	Vec(Made) made;
	int caches, onces, forward;          /* states made; values before the rewriting */
} Inc;

/* incremental_dep.c */
bool has_dim(const Dim *, const char *sym);
bool classify(Inc *);                /* fills dep, given, positional; false where something was refused */
PRINTF(4, 5) Dep refuse(Inc *, const Value *, const char *code, const char *fmt, ...);
static inline bool is_constant(Dep d) { return !d.refused && !d.last && !d.n; }
static inline bool runs(Dep d) { return !d.refused && !d.last && d.n == 1; }
static inline bool is_pair(Dep d) { return d.n + d.last == 2; }
/* Where the operand's axis is in the result of v; -1: it does not get there. */
int axis_in_result(const Value *v, int operand, int axis);

/* incremental_once.c */
void once_begin(Inc *, const char *name);
Value *once(Inc *, Builder *, Value *v, const int8_t *order);   /* v's value in the step, computed in encode */
Value *constant_in_step(Inc *, Builder *, Value *v, const Value *user, int operand);
Graph *once_end(Inc *);              /* the encode function; NULL if nothing needs one */

/* incremental_keys.c */
void find_spans(Inc *);
Value *step_attention(Inc *, Builder *, Value *v);
Value *made(Inc *, const Value *v, const char *how);
Value *remember(Inc *, const Value *v, const char *how, Value *is);

#endif
