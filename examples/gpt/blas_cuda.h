/* blas_cuda.h -- the three products of a Linear layer by cuBLASLt, with bias, GELU and their gradients in the same kernels.
 *
 * A layer has weights [out][in] and bias [out]; its input x is [rows][in], its output y [rows][out] with `stride` >= out elements from row to
 * row. All is bf16; sums are f32. cuBLASLt is opened at run time: a program starts on hosts without it.
 *
 *   Plans      the first call for a shape asks cuBLASLt for the algorithm and keeps it; it is asked, not timed: the same in every run.
 *   Pointers   of the GPU, 128-byte aligned. */
#ifndef GPT_BLAS_CUDA_H
#define GPT_BLAS_CUDA_H

#include <stddef.h>

#define GPT_BLAS_WORKSPACE (32u << 20) /* what NVIDIA's documentation names for Hopper */

struct gpt_blas;
struct gpt_linear { int rows, in, out, stride; };

/* workspace: GPT_BLAS_WORKSPACE bytes of the GPU. Functions return 0, or -1 and a sentence in err, of 512 bytes. */
int gpt_blas_open(void *workspace, struct gpt_blas **ret, char *err);
void gpt_blas_close(struct gpt_blas *b); /* NULL is fine */

/* y = x W^T + bias + add. Those that are NULL are not added. With gelu_in: that is put there, and y is its GELU (by tanh). */
int gpt_blas_forward(struct gpt_blas *b, struct gpt_linear l, void *y, const void *x, const void *weight, const void *bias, const void *add,
	void *gelu_in, void *stream, char *err);
/* dx = dy W; with gelu_in: times GELU's derivative there. */
int gpt_blas_backward(struct gpt_blas *b, struct gpt_linear l, void *dx, const void *dy, const void *weight, const void *gelu_in,
	void *stream, char *err);
/* dW = dy^T x, and dbias, unless NULL, the sum of dy's rows. */
int gpt_blas_backward_weight(struct gpt_blas *b, struct gpt_linear l, void *dweight, void *dbias, const void *dy, const void *x,
	void *stream, char *err);

#endif
