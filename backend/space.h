/* space.h: what rows.c and cols.c share: a cluster's members over an iteration space of few merged axes.
 *
 * A Read is where an operand, an output or a coordinate lies as a linear function of the space's index. A Node is a
 * member. Along the vector axis a value is narrow (one scalar) or wide (lanes at a time). */
#ifndef SPACE_H
#define SPACE_H

#include "backend/gen.h"

typedef struct Read {
	Value *v;                        /* in memory; NULL: the number itself (a coordinate or linear index) */
	const Dim *stride[MAX_RANK];     /* elements a step along each of the space's axes */
	LLVMValueRef offset;             /* i64: at the current row, without the vector axis */
	LLVMValueRef scalar, vec;        /* loaded for the current row, block */
} Read;

typedef struct Node Node;
struct Node {
	Value *v;
	int nin;
	Node *in[3];                     /* operands that are members (or constants made in place), */
	Read *mem[3];                    /* or in memory. gather: [0] the table's row, [1] ids; pad: [0] */
	Read *index;                     /* iota, pad: coordinate; random: linear index */
	Read *out;                       /* where it is stored; NULL: nowhere */
	bool wide, reduces;              /* a reduction along extents of 1 does not reduce; `wide` is of the result */
	int level;                       /* reductions that must be done before it */
	unsigned phases;                 /* bit p: computed in phase p */
	int stash;                       /* its place in scratch + 1; 0: recomputed where needed */
	LLVMValueRef scalar, vec;        /* computed for the current row, block */
	LLVMValueRef acc[4], sum[4];     /* reductions: stack slots of accumulators and of sums of blocks */
};

typedef struct Space {
	Gen *g;
	const Cluster *c;
	int n, vax;                      /* axes, outermost first, after merging; the vector axis */
	const Dim *extent[MAX_RANK];
	int first[MAX_RANK];             /* first axis of c->space in each (for cols' groups) */
	Vec(Read *) reads;
	Vec(Node *) nodes;
	int phase;
	LLVMValueRef i, mask;            /* current place along the vector axis; lanes in use, NULL: all */
	uint32_t reduced;                /* bit a: the reductions go along axis a */
	LLVMValueRef stash_pitch;        /* bytes of one stashed value */
} Space;

/* Axes a and a + 1 of c->space stay apart where bit a of `apart` is set. */
Space *space_make(Gen *, const Cluster *, uint32_t apart);
Node *space_node(Space *, const Value *);                      /* NULL */
int64_t space_bound(Space *, const Dim *);                     /* largest value */
bool space_transcendental(Op);
/* Goes to index at[a] on each axis but the vector axis: offsets are computed, what was loaded is forgotten. */
void space_row(Space *, const LLVMValueRef *at);
/* Goes to element i of the vector axis: vectors are forgotten. */
void space_block(Space *, LLVMValueRef i, LLVMValueRef mask);
LLVMValueRef space_scalar(Space *, Node *);                    /* of a narrow node */
LLVMValueRef space_vector(Space *, Node *);                    /* at the current block; narrow ones splat */
LLVMValueRef space_read(Space *, Read *);                      /* a vector at the current block */
void space_load_narrow(Space *, Read *);                       /* once a row, if it does not step along the vector axis */
/* Loads and computes here, once a row, everything narrow that the node needs. */
void space_prepare(Space *, Node *);
void space_store(Space *, Node *, LLVMValueRef value, bool vector);

/* reduce.c: the reductions of one level (Node.level), at most 4 accumulators each, a power of two of them. */
bool reduce_any(const Space *, int level);
void reduce_open(Space *, int level, int unroll);              /* empty accumulators and sums */
void reduce_take(Space *, int level, int u);                   /* the current block into accumulator u */
void reduce_fold(Space *, int level, int unroll);              /* accumulators into sums; they start again */
LLVMValueRef reduce_vector(Space *, const Node *, int u);      /* a sum, lane by lane */
void reduce_close(Space *, int level, int unroll);             /* all sums and lanes into the node's scalar */

#endif
