/* kernels_cuda.h -- the GPT's own kernels: all that cuBLASLt does not do. Each function puts its kernels into the stream and returns at once.
 *
 *   Layouts    rows are tokens, batch x context of them, one after the other; bf16 unless it says float. bf16 is its 16 bits.
 *   Sizes      channels a multiple of 64; pointers to rows 16-byte aligned.
 *   Sums       in f32 and in an order that is the same in every run: no atomics.
 *   Errors     of a launch: cudaGetLastError, which the caller asks once for each step. */
#ifndef GPT_KERNELS_CUDA_H
#define GPT_KERNELS_CUDA_H

#include <cuda_runtime.h>
#include <stddef.h>
#include <stdint.h>

typedef uint16_t bf16;

#define GPT_CUDA_HEAD 64       /* channels of an attention head */
#define GPT_CUDA_CHUNK 64      /* parameters that share a byte of `decay` */
#define GPT_CUDA_PARTS 512     /* blocks of the layer norm's backward, each with sums of its own */
#define GPT_CUDA_NORM_PARTS 1024 /* the most blocks of the optimizer */

struct gpt_cuda_shape { int batch, context, channels; };

/* x = wte[token] + wpe[position] */
void gpt_cuda_embed(bf16 *x, const int32_t *tokens, const bf16 *wte, const bf16 *wpe, struct gpt_cuda_shape s, cudaStream_t stream);

/* Where each token stands: rows `order[starts[i]] … order[starts[i + 1] - 1]` have the token `token[i]`, for n different tokens. */
struct gpt_cuda_places { const int32_t *order, *starts, *token; int n; };
/* dwte[token] += the rows of dx that have it; dwpe[position] = the sum over the batch. */
void gpt_cuda_embed_backward(bf16 *dwte, bf16 *dwpe, const bf16 *dx, struct gpt_cuda_places p, struct gpt_cuda_shape s,
	cudaStream_t stream);

/* mean, rstd: float, of each row. */
void gpt_cuda_layernorm(bf16 *out, float *mean, float *rstd, const bf16 *x, const bf16 *weight, const bf16 *bias, int rows, int channels,
	cudaStream_t stream);
/* dx (+)= the gradient through the layer norm. scratch: GPT_CUDA_PARTS x 2 x channels floats. */
void gpt_cuda_layernorm_backward(bf16 *dx, bool add, bf16 *dweight, bf16 *dbias, float *scratch, const bf16 *dout, const bf16 *x,
	const bf16 *weight, const float *mean, const float *rstd, int rows, int channels, cudaStream_t stream);

/* qkv [rows][3][channels], out [rows][channels]; lse, delta: float [batch][heads][context]. */
void gpt_cuda_attention(bf16 *out, float *lse, const bf16 *qkv, struct gpt_cuda_shape s, cudaStream_t stream);
void gpt_cuda_attention_backward(bf16 *dqkv, float *delta, const bf16 *dout, const bf16 *out, const float *lse, const bf16 *qkv,
	struct gpt_cuda_shape s, cudaStream_t stream);

/* logits [rows][padded] become the gradient of the mean loss, 0 from column `vocab` on; losses: float, of each row; loss: their mean. */
void gpt_cuda_classify(bf16 *logits, float *losses, float *loss, const int32_t *targets, int rows, int vocab, int padded,
	cudaStream_t stream);

/* bf16 copies of n parameters, a multiple of 8. */
void gpt_cuda_round(bf16 *to, const float *from, size_t n, cudaStream_t stream);

struct gpt_cuda_update {
	float *params, *m, *v;     /* n each, a multiple of GPT_CUDA_CHUNK */
	bf16 *rounded;
	const bf16 *grads;
	const uint8_t *decays;     /* for each chunk: has it weight decay? */
	size_t n;
	float *parts, *norm;       /* GPT_CUDA_NORM_PARTS floats of scratch; the gradients' norm before clipping */
	float lr, beta1, beta2, eps, decay, clip;
	float unbias1, unbias2;    /* 1 / (1 - beta^t) */
};
/* A norm that is not finite changes nothing. */
void gpt_cuda_adamw(const struct gpt_cuda_update *a, cudaStream_t stream);

#endif
