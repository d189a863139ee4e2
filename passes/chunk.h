/* chunk.h: what chunk's files share: a Region of values that are computed a chunk of rows at a time. */
#ifndef PASSES_CHUNK_H
#define PASSES_CHUNK_H

#include "passes/passes.h"

typedef enum Part {
	OUTSIDE,       /* does not depend on the region */
	INSIDE,        /* computed chunk by chunk */
	SUMMED,        /* over rows: each chunk's is added to what the ones before made */
	AFTER,         /* depends on the region as a whole */
} Part;

typedef enum Again { UNKNOWN, AGAIN, NOT_AGAIN } Again;

/* The rows are the axes of the seed's result but the last. Every value inside has them as neighbours in this order, from
 * axis first[id] on. Values are known by Value.id, positions in `old`. */
typedef struct Region {
	Graph *g;
	const Value *seed;   /* a contraction */
	Type wide;           /* its type: [rows.., V] */
	int nr;              /* how many axes rows have */
	const Dim *rows;     /* how many there are */
	Part *part;
	int *first;
	bool *whole;         /* inside, and nobody inside reads it: of a contraction that leaves the rows and not V */
	Again *again;        /* what is known of chunk_again() */
} Region;

/* chunk_region.c */
bool chunk_region(Graph *, const Value *seed, Region *);       /* false: nothing that can be done in chunks */
/* Outside, of the seed's shape, and what is inside can make the rows it wants of it. */
bool chunk_again(const Region *, const Value *);
/* From which axis on tensor t (0, 1: an operand, 2: the result) of the contraction v has the rows' letters; -1: it has none of them;
 * -2: not all as neighbours in their order. */
int chunk_letters(const Region *, const Value *v, const Spec *, int t);
bool chunk_varies(const Region *, const Value *operand);       /* along any of the rows, as an elementwise op broadcasts it */
bool chunk_is_wide(const Region *, const Value *);             /* [rows.., V] */

#endif
