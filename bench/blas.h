/* blas.h: OpenBLAS' and oneDNN's products of f32, and oneDNN's of bf16 with f32 results, as peers of our contractions, in the same process, so that
 * they take turns. Neither is linked: each library is loaded if it is there, by the name that Debian's package gives it. They read the
 * matrices as they lie and pack inside the call, as our unpacked forms do. For one file to include. */
#ifndef BENCH_BLAS_H
#define BENCH_BLAS_H

#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* C (m,n) = A (m,k) B (k,n), all in rows; transposed operands lie (k,m) and (n,k). */
typedef struct Product { int64_t m, n, k; bool ta, tb; const void *a, *b; float *c; } Product;
typedef struct Blas {
	const char *name, *file, *symbol, *bf16, *threads, *package;   /* bf16: NULL, it has none; threads: the call that sets their number */
	void (*run)(void *sgemm, const Product *);
	void *sgemm;                                            /* NULL: not there */
} Blas;

typedef void Cblas(int order, int ta, int tb, int m, int n, int k, float alpha, const void *a, int lda, const void *b, int ldb,
	float beta, float *c, int ldc);
typedef int Onednn(char ta, char tb, int64_t m, int64_t n, int64_t k, float alpha, const void *a, int64_t lda, const void *b,
	int64_t ldb, float beta, float *c, int64_t ldc);

static void run_openblas(void *sgemm, const Product *p)
{
	enum { ROWS = 101, NO = 111, YES = 112 };               /* cblas.h's CBLAS_ORDER and CBLAS_TRANSPOSE */
	((Cblas *)sgemm)(ROWS, p->ta ? YES : NO, p->tb ? YES : NO, (int)p->m, (int)p->n, (int)p->k, 1, p->a, (int)(p->ta ? p->m : p->k),
		p->b, (int)(p->tb ? p->k : p->n), 0, p->c, (int)p->n);
}

static void run_onednn(void *sgemm, const Product *p)
{
	((Onednn *)sgemm)(p->ta ? 'T' : 'N', p->tb ? 'T' : 'N', p->m, p->n, p->k, 1, p->a, p->ta ? p->m : p->k, p->b,
		p->tb ? p->k : p->n, 0, p->c, p->n);
}

static Blas blas[] = {
	{ "OpenBLAS", "libopenblas.so.0", "cblas_sgemm", NULL, "openblas_set_num_threads", "libopenblas0-pthread", run_openblas, NULL },
	{ "oneDNN", "libdnnl.so.2", "dnnl_sgemm", "dnnl_gemm_bf16bf16f32", "omp_set_num_threads", "libdnnl2", run_onednn, NULL },
};
enum { BLAS = sizeof blas / sizeof *blas };

/* Loads what is there, says what is not; true if something is. oneDNN's threads keep OpenMP's default of waiting: passive, the second one often wakes on the
 * first one's processor and a call is half as fast; active, it spins through the turns of others. */
static bool blas_open(int threads, bool bf16)
{
	bool some = false;
	for (int i = 0; i < BLAS; i++) {
		const char *symbol = bf16 ? blas[i].bf16 : blas[i].symbol;
		if (!symbol)
			continue;
		void *so = dlopen(blas[i].file, RTLD_NOW | RTLD_GLOBAL);
		void (*set)(int) = so ? (void (*)(int))dlsym(RTLD_DEFAULT, blas[i].threads) : NULL;
		blas[i].sgemm = so ? dlsym(so, symbol) : NULL;
		if (!blas[i].sgemm)
			fprintf(stderr, "gemm: %s is not there, or without %s (Debian's %s)\n", blas[i].file, symbol, blas[i].package);
		else if (set)
			set(threads);
		some |= blas[i].sgemm != NULL;
	}
	return some;
}

#endif
