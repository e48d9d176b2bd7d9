/* cpu_blas.h -- products of row-major matrices: c = alpha a b + beta c, m x n, over k. _nt: b is transposed, _tn: a is. */
#ifndef GPT_CPU_BLAS_H
#define GPT_CPU_BLAS_H

#if defined(__has_include) && !__has_include(<cblas.h>)
#error "examples/gpt needs a BLAS with cblas.h: run deploy/install-deps.sh build, or give make BLAS_CFLAGS and BLAS_LIBS"
#endif
#include <cblas.h>
void openblas_set_num_threads(int n);

#define PRODUCT(name, ta, tb) \
	static inline void name(int m, int n, int k, float alpha, const float *a, int lda, const float *b, int ldb, float beta, float *c, \
		int ldc) \
	{ \
		cblas_sgemm(CblasRowMajor, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc); \
	}
PRODUCT(product_nn, CblasNoTrans, CblasNoTrans)
PRODUCT(product_nt, CblasNoTrans, CblasTrans)
PRODUCT(product_tn, CblasTrans, CblasNoTrans)
#undef PRODUCT

#endif
