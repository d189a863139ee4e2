/* layout.h: what layout's files share. */
#ifndef PASSES_LAYOUT_H
#define PASSES_LAYOUT_H

#include "passes/passes.h"

/* reduce.c: op (sum, rmax) of x over axes in steps that rows and cols kernels can do. Same result type as b_reduce(). */
Value *legal_reduce(Builder *, Op op, Value *x, uint32_t axes);
/* contract_form.c: the contraction in the form docs/ir.md asks for, with its packs; a matrix times a vector, an outer
 * or an inner product becomes multiplications and sums. ahead: parameters on the right are packed too. maybe_none: the result
 * has as many rows as were counted, and where there are none operand 1 must cost nothing. */
Value *legal_contract(Builder *, Value *a, Value *b, const char *spec, bool ahead, bool maybe_none);
/* layout_fold.c: views that need no memory: of constants and indices, below elementwise ops, around concat and contract. */
void layout_fold(Graph *);
/* layout_place.c: concat, write, scatter_add, store and output: who computes into whose memory. */
void layout_place(Graph *);
/* layout.c: x with other axes of the same elements: a reshape, or x itself. */
Value *with_axes(Builder *, Value *x, int rank, const Dim *const *dims);

#endif
