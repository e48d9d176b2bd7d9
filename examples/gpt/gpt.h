/* gpt.h -- a GPT-2 with a backward pass written by hand: what both devices' implementations promise.
 *
 * The model is GPT-2's (Radford et al. 2019): pre-norm blocks, learned positions, GELU by tanh, the output layer tied to wte; every Linear has
 * a bias but the output layer. No dropout. Loss: mean cross-entropy over batch x context tokens.
 *
 * Parameters lie in one buffer in the order of gpt_tensors(), which is the order of the forward pass; gradients in another of the same
 * layout. Backward finishes gradients from the end of the buffer to its beginning, but for wte and wpe, which are first in the buffer and
 * finished last. A bucket is a run of whole tensors: backward reports each as soon as all of its gradients are final.
 *
 *   Shapes     Linear weights are [out][in], as torch.nn.Linear has them (Hugging Face's Conv1D has them transposed).
 *   Numbers    cpu: all f32. cuda: bf16 weights, activations and gradients; f32 master weights, moments, layer-norm statistics and loss.
 *   Threads    one model, one thread; the BLAS may have its own. */
#ifndef GPT_H
#define GPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gpt_config {
	int layers, heads, channels, vocab, context; /* GPT-2 124M: 12, 12, 768, 50257 (50304 padded), 1024 */
};

struct gpt_tensor {
	char name[40];           /* "h.0.attn.c_attn.weight", as Hugging Face's GPT-2 names it */
	int ndim;
	int64_t shape[2];
	size_t offset, count;    /* elements, in the buffer */
	bool decay;              /* weight decay: the matrices */
};

struct gpt_bucket { size_t offset, count; }; /* elements; in the order in which backward finishes them */

struct gpt_adamw { float lr, beta1, beta2, eps, decay, clip; }; /* clip: of the global gradient norm; 0: none */

/* Returns the number of tensors; *ret is malloc'ed, *ret_count the elements of the buffer. 0: no memory. */
int gpt_tensors(const struct gpt_config *c, struct gpt_tensor **ret, size_t *ret_count);
/* Deals the tensors into buckets of about `bytes` (of gradients), in the order of backward. Same ownership. */
int gpt_buckets(const struct gpt_config *c, const struct gpt_tensor *t, int n, size_t bytes, size_t elem, struct gpt_bucket **ret);
/* GPT-2's initialisation (normal 0.02, residual projections scaled by 1/sqrt(2 layers)) from a seed: the same on every device. f32. */
void gpt_init(const struct gpt_config *c, const struct gpt_tensor *t, int n, uint64_t seed, float *params);

/* A device: cpu.c, device_cuda.cu. Functions return 0, or -1 with one sentence in `err` (of 512 bytes). */
struct gpt_model;
struct gpt_device {
	const char *name;        /* "cpu", "cuda" */
	/* `alloc`: where gradients should lie, e.g. lockstep_alloc (cpu); NULL: the device's own choice. params: f32, host memory, copied. */
	int (*open)(const struct gpt_config *c, int batch, const float *params, void *(*alloc)(void *ctx, size_t bytes), void *ctx,
		struct gpt_model **ret, char *err);
	void (*close)(struct gpt_model *m);
	/* tokens, targets: [batch][context], host memory. ready(ctx, i) is called when bucket i is final (cuda: when the kernels that make
	 * it are in the stream). n = 0: the loss alone is wanted, and gradients may hold anything afterwards. ret_loss: of this batch; NULL:
	 * not wanted, and on cuda nobody waits for it. */
	int (*step)(struct gpt_model *m, const int32_t *tokens, const int32_t *targets, const struct gpt_bucket *buckets, int n,
		void (*ready)(void *ctx, int bucket), void *ctx, float *ret_loss, char *err);
	/* t counts from 1. Gradients are the average by now. ret_norm: the gradients' before clipping; may be NULL. */
	int (*update)(struct gpt_model *m, const struct gpt_adamw *o, int64_t t, float *ret_norm, char *err);
	/* Buffers of the device, for buckets and checkpoints: host or GPU memory. */
	void *(*grads)(struct gpt_model *m);           /* elements of grad_elem bytes: 4 = f32, 2 = bf16 */
	float *(*params)(struct gpt_model *m);         /* master weights, f32 */
	float *(*moments)(struct gpt_model *m, int k); /* k: 0 = first, 1 = second; f32 */
	/* After parameters were written from outside (restored): the device's copies follow. */
	int (*refresh)(struct gpt_model *m, char *err);
	void *(*stream)(struct gpt_model *m);          /* cudaStream_t, or NULL */
	size_t grad_elem;
	/* Logits (vocab of them) of the token after `count` <= context tokens; host memory. NULL: this device has none. */
	int (*predict)(struct gpt_model *m, const int32_t *tokens, int count, float *ret_logits, char *err);
};
extern const struct gpt_device gpt_cpu;
#ifdef GPT_CUDA
extern const struct gpt_device gpt_cuda;
#endif

#endif
