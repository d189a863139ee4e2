/* passes.h: everything between the frontend's graph and the backend's kernels. One file a pass, one function
 * `void pass(Graph *)`; passes.def lists them with what they need, break and may do to the numbers. */
#ifndef PASSES_H
#define PASSES_H

#include "ir/ir.h"

typedef enum NumericClass { EXACT, REASSOCIATES, PRECISION } NumericClass;
typedef struct PassInfo {
	const char *name, *needs, *breaks, *doc;   /* needs, breaks: names of properties, space-separated */
	NumericClass numerics;
	void (*run)(Graph *);                      /* NULL for a step of the road, and for a part of a pass */
	const char *part_of;                       /* the pass; NULL for what is no part */
	int part;                                  /* PassPart */
} PassInfo;
#define PASS(name, needs, breaks, numerics, doc) void name(Graph *);
#include "passes/passes.def"
typedef enum PassPart {
#define PART(name, pass, numerics, doc) PART_##name,
#include "passes/passes.def"
} PassPart;
extern const PassInfo pass_info[];                /* passes with their parts, then steps */
extern const int pass_count;                      /* of all */
bool part_runs(const Graph *, PassPart);
const PassInfo *pass_find(const char *name);      /* NULL after diag_error */

/* pipeline.c: the one place that knows the order. */
typedef struct PassOptions {
	const char *const *print_after;  /* pass names; NULL-terminated; may be NULL */
	const char *without;             /* passes and parts left out of the road, "cse,rows"; NULL: none */
	bool print_after_all, verify_each, stats;
	double *stats_seconds;           /* what counting for the statistics took is added; may be NULL */
	FILE *out;                       /* where dumps and statistics go; NULL: stderr */
	FILE *graphs;                    /* where those of print_after go instead; NULL: out */
} PassOptions;
bool passes_run(Graph *, const char *list, const PassOptions *);   /* "simplify,cse"; false after diag_error */
/* Everything for one module: makes each entry's functions from "<entry>.forward" and runs the road on each.
 * train:    step (loss, gradients into states "grad.<param>"), update (adamw), eval (no dropout)
 * generate: step (incremental), prepare (what depends on parameters only, e.g. packed weights, into states) */
bool passes_module(Module *, const PassOptions *);

/* gradients.c: fills dx[i] with the gradient of v's operand i (of its shape before broadcasting down), NULL for none. */
typedef void GradRule(Builder *, Value *v, Value *dy, Value **dx);
extern GradRule *const grad_rule[OP_COUNT];                        /* NULL: not differentiable */
bool grad_expands(Op);                                             /* differentiated through its expansion */

/* simplify.c asks these for each value whose operands are already simplified: what stands for v, built through b;
 * NULL where no rule applies. */
Value *simplify_const(Builder *b, Value *v);                       /* fold.c: of constants alone */
Value *simplify_algebra(Builder *b, Value *v);                     /* algebra.c: elementwise ops, reductions */
Value *simplify_movement(Builder *b, Value *v);                    /* movement.c: views, concat, pad, scatter */
Value *simplify_slice(Builder *b, Value *v);                       /* slices.c: of a value that is used no otherwise */
void simplify_note_slices(Graph *);                                /* before a round of simplify_slice */
bool const_value(const Value *v, double *x);                       /* v is a const; its value */

/* cse.c: same op, type, attributes and operands. */
bool same_computation(const Value *x, const Value *y);

/* chunk.c: with other sizes than chunk()'s own: a chunk has about `rows` rows, and a value of fewer than `bytes` or rows stays whole. */
typedef struct ChunkSizes { int64_t rows, chunks; double bytes; } ChunkSizes;   /* chunks: at most so many */
extern const ChunkSizes chunk_sizes;
void chunk_to(Graph *, const ChunkSizes *);

/* copy.c: a graph of its own with the same values (kernel numbers and destinations included). */
Graph *graph_copy(const Graph *, const char *name);
Graph *graph_copy_to(Arena *, const Graph *, const char *name);    /* in another arena than g's; it refers to nothing in g's */
void graph_redirect(Graph *);                                      /* operands and dest of all values to their repl */

/* Transformations from one graph to another (not `void pass(Graph *)`): */
/* autodiff.c: g computes the scalar output `loss`; adds, for each param in params, `store(state "grad.<p>", dloss/dp)`,
 * added to the state's old value where the input `accumulate` (bool[]) is true. */
void autodiff(Graph *g, const Module *);
void autodiff_input(Graph *g, const char *input, const char *output);   /* the same to an f32 input, as an output; nothing is stored */
/* explain.c: of copies of an explain entry's forward. Outputs "tap:.." stay in run alone, "residual:.." where they are wanted. */
int explain_scores(const Graph *forward);                          /* how many outputs there are to be explained */
bool explain_check(Module *, Entry *, const Graph *forward);       /* false after diag_error; sets explain.tokens, the input's name */
/* Scores, residual streams, and attention's weights "attention:<path>"; sets explain.causal; behind raise_attention. */
void explain_run(Graph *, Module *, Entry *);
void explain_attribute(Graph *, int which);                        /* the which-th score at a place, and its gradient to how much of each token is there */
Value *explain_row(Graph *, Value *scores, Value *position);       /* of [B,T,V] those at i32[B]: [B,1,V], the others not computed */
bool explain_lens(Graph *);                                        /* scores of an input in place of the last residual stream; false: there is none */
/* incremental.c: from the full-sequence graph to the step with caches; false after diag_error with the reason. What does
 * not depend on the generated axis but on other inputs becomes a further function "encode" of e, in g's arena. */
bool incremental(Graph *g, Module *m, Entry *e);
/* Of a copy of forward, before any pass: in place of `next` it gives `logits` [B,T,V], behind every token. False after diag_error. */
bool incremental_every(Graph *g, const Entry *e);
/* Of a graph that incremental() has made: calls take `most` new tokens at most. */
void incremental_most(Graph *g, int64_t most);
/* optimizer.c: the update function for all params of m. Inputs f32[]: lr beta1 beta2 eps decay clip scale c1 c2
 * (scale: 1/accumulation steps; c1, c2: 1 - beta^t), with the setting `ema` also ema; output grad_norm. */
Graph *optimizer_update(Arena *, const Module *, const Entry *);
/* hoist.c: moves what depends on parameters alone from n functions of e into a new one, "prepare": once, where several
 * of them use the same. */
Graph *hoist(Graph *const *functions, int n, const Entry *e);

#endif
