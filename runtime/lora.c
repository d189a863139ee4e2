/* lora.c: W + scale B A, as an adapter changes a weight: summed in double and rounded once, in an order that neither threads nor blocks change. */
#include "runtime/sn.h"

#include <stdlib.h>

bool sn_lora_fits(const SnLora *l, int rank, const int64_t *shape, bool *in_out)
{
	int64_t in = l->A->shape[1], out = l->B->shape[0];
	bool plain = rank >= 2 && shape[0] == out && shape[1] == in, turned = rank >= 2 && shape[0] == in && shape[1] == out;
	for (int i = 2; i < rank; i++)
		plain &= shape[i] == 1;   /* a linear layer's [out,in,1] */
	*in_out = turned && rank == 2 && (*in_out || !plain);
	return plain || *in_out;
}

enum { BLOCK = 16 };   /* columns that are summed together: a number that the compiler makes vectors of */

/* n columns of one row of w: of each the sum over k of x[k] times row k of m, whose rows are `stride` apart, in the order of k. */
static void add_columns(float *restrict w, const double *restrict x, const float *restrict m, int64_t r, int64_t stride, int64_t n)
{
	double sum[BLOCK];
	if (n < BLOCK) {
		for (int64_t i = 0; i < n; i++) {
			sum[0] = w[i];
			for (int64_t k = 0; k < r; k++)
				sum[0] += x[k] * (double)m[k * stride + i];
			w[i] = (float)sum[0];
		}
		return;
	}
	for (int i = 0; i < BLOCK; i++)
		sum[i] = w[i];
	for (int64_t k = 0; k < r; k++)
		for (int i = 0; i < BLOCK; i++)
			sum[i] += x[k] * (double)m[k * stride + i];
	for (int i = 0; i < BLOCK; i++)
		w[i] = (float)sum[i];
}

typedef struct Sum { const SnLora *l; const float *left, *right; bool in_out; float *w; } Sum;   /* left (rows,r) or, in_out, (r,rows); right (r,columns) */

static void add_share(void *ctx, int tid, int n)
{
	const Sum *s = ctx;
	int64_t r = s->l->A->shape[0], in = s->l->A->shape[1], out = s->l->B->shape[0];
	int64_t rows = s->in_out ? in : out, columns = s->in_out ? out : in, from = rows * tid / n, to = rows * (tid + 1) / n;
	double *x = sn_alloc(sizeof *x * (size_t)r);
	for (int64_t i = from; i < to; i++) {
		for (int64_t k = 0; k < r; k++)
			x[k] = s->l->scale * (double)(s->in_out ? s->left[k * rows + i] : s->left[i * r + k]);
		for (int64_t at = 0; at < columns; at += BLOCK)
			add_columns(s->w + i * columns + at, x, s->right + at, r, columns, columns - at);
	}
	free(x);
}

static float *turned(const float *m, int64_t rows, int64_t columns)
{
	float *t = sn_alloc(sizeof *t * (size_t)(rows * columns));
	for (int64_t i = 0; i < rows; i++)
		for (int64_t k = 0; k < columns; k++)
			t[k * rows + i] = m[i * columns + k];
	return t;
}

void sn_lora_add(const SnLora *l, float *w, bool in_out, SnPool *pool)
{
	float *A = sn_alloc(sizeof *A * (size_t)l->A->elems), *B = sn_alloc(sizeof *B * (size_t)l->B->elems);
	sn_st_read(l->A, A);
	sn_st_read(l->B, B);
	float *right = in_out ? turned(B, l->B->shape[0], l->B->shape[1]) : A;
	Sum s = {l, in_out ? A : B, right, in_out, w};
	if (pool)
		sn_pool_run(pool, add_share, &s);
	else
		add_share(&s, 0, 1);
	free(A);
	free(B);
	if (in_out)
		free(right);
}
