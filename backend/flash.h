/* flash.h: what the two kernels of attention without a matrix of scores share: shapes, where rows are, a row's scores.
 * Emission only; everything belongs to the kernel being generated. */
#ifndef FLASH_H
#define FLASH_H

#include "backend/gen.h"

/* Columns as register tiles take them: panels of nr, nv vectors each. `t` is the target with that tile. */
typedef struct Width { Target t; int64_t extent; int nv, nr, panels; } Width;

typedef struct Flash {
	Gen *g;
	const Cluster *c;
	Value *v, *q, *k, *val;    /* the anchor; its first operands */
	FlashExtras in;
	int mr;                    /* rows of a tile */
	int keys;                  /* of a block: keys.panels whole panels */
	Width block, wk, ww;       /* a block of keys; K; W */
	int64_t R;                 /* query heads to a key head */
	int64_t used;              /* bytes of scratch */
	LLVMValueRef B, T, S, G, past;   /* extents; S - T */
} Flash;

/* A query's row of scores: its batch, query head, index; the block's first key and number of keys. All i64. */
typedef struct Row { LLVMValueRef b, h, t, key, count; } Row;

Flash flash_of(Gen *, const Cluster *);
Width flash_width(const Target *, int64_t extent);
LLVMValueRef flash_take(Flash *, int64_t floats);              /* scratch, aligned to lines */
int64_t width_floats(const Width *);                           /* a row of all panels */

/* Address of the row of x ([B,T,H,X], or what broadcasts to [B,H,T,S] for masks) with these indices, last index 0. */
LLVMValueRef flash_row(Flash *, Value *x, const LLVMValueRef *at, int rank);
LLVMValueRef flash_stride(Flash *, Value *x, int axis);        /* elements, i64 */

/* The v-th vector of scores from the scaled products. `edge`: the block may have fewer keys than it could, or keys
 * that the query's position hides. */
typedef struct Score {
	LLVMValueRef x;            /* -1e30 where masked, -inf behind the last key */
	LLVMValueRef tanh;         /* under a cap; else NULL */
	LLVMValueRef inside;       /* the lanes that are keys; NULL: all */
} Score;
Score flash_score(Flash *, LLVMValueRef product, const Row *, int v, bool edge);
LLVMValueRef flash_edge(Flash *, LLVMValueRef t, LLVMValueRef h, LLVMValueRef key, LLVMValueRef count);   /* i1: of rows t..t+h */
LLVMValueRef flash_kept(Flash *, const Row *, int v);          /* dropout's factor, 0 or 1/(1 - p); NULL without dropout */
/* The same row from its v-th vector of keys on, v counted at run time. */
Row flash_row_from(Flash *, Row, LLVMValueRef v);
/* Are vectors of a row gone through by a loop? Random numbers are many instructions, too many for each vector to have its own. */
bool flash_loops(const Flash *);

/* A block's packed operands: keys transposed (K,keys), keys (keys,K) or values (keys,W), panel after panel. */
void flash_pack_transposed(Flash *, Value *x, LLVMValueRef fn, int64_t k, LLVMValueRef from, LLVMValueRef to, LLVMValueRef count);
void flash_pack_rows(Flash *, Value *x, const Width *, LLVMValueRef from, LLVMValueRef to, LLVMValueRef rows);
/* The same of keys and values in i8 (flash_kept.c); at: batch, first key, key head. */
void flash_dequant_keys(Flash *, const LLVMValueRef *at, LLVMValueRef to, LLVMValueRef count);
void flash_dequant_values(Flash *, const LLVMValueRef *at, LLVMValueRef to, LLVMValueRef count);
LLVMValueRef flash_panels_along(Flash *, Value *x, const Width *, bool transposed);  /* the function for the two */
/* acc (h,width) = or += A (h,k) B (k,width), A's rows lda apart, or its columns if `columns`; acc: panel after panel, mr rows each. */
typedef struct Product { LLVMValueRef a, lda, b, k, acc, h, panels; bool first, columns; } Product;
void flash_multiply(Flash *, const Width *, const Product *);

LLVMValueRef f_load(Gen *, LLVMValueRef p, int64_t element);   /* a vector */
void f_store(Gen *, LLVMValueRef vector, LLVMValueRef p, int64_t element);
/* A row's vector v of a width: where it is in the panels of a tile, and its mask behind the last column (NULL: whole). */
int64_t width_at(const Flash *, const Width *, int v);
LLVMValueRef width_at_any(Flash *, const Width *, LLVMValueRef v);
int width_vectors(const Flash *, const Width *);
LLVMValueRef width_mask(Flash *, const Width *, int v);

void flash_clear(Gen *, LLVMValueRef p, int64_t floats);       /* whole vectors */

void gen_flash_forward(Flash *);                               /* flash_forward.c */
void gen_flash_backward(Flash *);                              /* flash_grad.c */

#endif
