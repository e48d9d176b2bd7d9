/* cpu.h -- the parts of the CPU device; cpu.c is what gpt.h promises, and owns all memory.
 *
 *     cpu.c             the device: memory, one step from tokens to gradients, AdamW
 *     cpu_block.c       one block forward and backward: which product, which row kernel, in which order
 *     cpu_attention.c   its attention
 *     cpu_rows.c        everything that is not a matrix product, a row at a time, in vectors
 *
 * Matrices are row-major; a row is a token of the batch (`rows` of them). Products are the BLAS's: it may have threads (OMP_NUM_THREADS), the
 * rest has none.
 * The same program on the same kind of CPU gives the same bits; kinds with wider vectors add in another order. */
#ifndef GPT_CPU_H
#define GPT_CPU_H

#include "gpt.h"

/* A block's tensors, in the order of gpt_tensors(): tensor FIRST_OF_BLOCKS + PER_BLOCK * layer + k. */
enum { LN_1_W, LN_1_B, QKV_W, QKV_B, OUT_W, OUT_B, LN_2_W, LN_2_B, FC_W, FC_B, PROJ_W, PROJ_B, PER_BLOCK };
enum { WTE, WPE, FIRST_OF_BLOCKS };

/* What backward needs of a block's forward: C channels, T tokens in a sequence. */
struct gpt_activations {
	float *x;           /* rows x C: its input */
	float *stats[2];    /* rows x 2: mean and 1 / deviation of each layer norm */
	float *normed[2];   /* rows x C: what the layer norms put out */
	float *qkv;         /* rows x 3C */
	float *weights;     /* batch x heads x T x T: attention's probabilities; above the diagonal undefined */
	float *attended;    /* rows x C: before its output layer */
	float *middle;      /* rows x C: x and attention */
	float *slope;       /* rows x 4C: GELU's derivative */
	float *active;      /* rows x 4C: GELU */
};

struct gpt_sizes { int batch, context, rows, channels, heads; }; /* of one pass: rows = batch * context */

struct gpt_scratch { float *wide, *narrow, *scores; }; /* rows x 4C, rows x C, GPT_QUERIES x T */
#define GPT_QUERIES 64 /* queries in one product: what lies above their diagonal is not computed */

/* A run of gradients, from this offset to the last reported, is final. */
struct gpt_finished { void (*report)(void *ctx, size_t offset); void *ctx; };

/* next: rows x C, the next block's x. w: PER_BLOCK pointers. */
void gpt_block_forward(const struct gpt_sizes *s, float *const *w, struct gpt_activations *a, float *next);
/* dx: the gradient of the block's output, then of its input. tensors: of the block. */
void gpt_block_backward(const struct gpt_sizes *s, float *const *w, float *const *dw, const struct gpt_tensor *tensors,
	const struct gpt_activations *a, const struct gpt_scratch *scratch, float *dx, const struct gpt_finished *finished);

void gpt_attention_forward(const struct gpt_sizes *s, const float *qkv, float *weights, float *out);
void gpt_attention_backward(const struct gpt_sizes *s, const float *qkv, const float *weights, const float *dout, float *scores,
	float *dqkv);

/* y = x w' + y;  dw = dy' x (+ dw if `add`);  dx = dy w. x: rows x in, y: rows x out, w: out x in. */
void gpt_linear(float *y, const float *x, const float *w, int rows, int out, int in);
void gpt_linear_weights(float *dw, const float *dy, const float *x, int rows, int out, int in, bool add);
void gpt_linear_input(float *dx, const float *dy, const float *w, int rows, int out, int in);

/* --- cpu_rows.c. rows x n, dense, unless a stride says otherwise ---------------------------------------------------------- */

/* out = in + bias, in each row; in = NULL: 0. */
void gpt_rows_bias(float *out, const float *in, const float *bias, int rows, int n);
/* sums = the sum of the rows. */
void gpt_rows_sum(float *sums, const float *in, int rows, int n);
void gpt_rows_norm(float *out, float *stats, const float *x, const float *w, const float *b, int rows, int n);
/* dx += the gradient through the layer norm; dw, db: written. */
void gpt_rows_norm_back(float *dx, float *dw, float *db, const float *dy, const float *x, const float *stats, const float *w,
	int rows, int n);
/* active = GELU(x + bias), x = its derivative there. */
void gpt_rows_gelu(float *active, float *x, const float *bias, int rows, int n);
/* d *= slope; sums = the sum of its rows. */
void gpt_rows_gelu_back(float *d, float *sums, const float *slope, int rows, int n);
/* Row r becomes the softmax of its first `first` + r + 1 elements, and 0 from there to n. */
void gpt_rows_softmax(float *x, int rows, int first, int n, int stride);
/* d = p * (d - sum(d * p)) * scale, each row's first `first` + r + 1 elements; 0 from there to n. d: dense. */
void gpt_rows_softmax_back(float *d, const float *p, int rows, int first, int n, int stride, float scale);
/* Returns the sum of the rows' cross-entropy; x becomes its gradient times `scale`. */
double gpt_rows_loss(float *x, const int32_t *targets, int rows, int n, float scale);
/* sum(x * x) */
double gpt_square_sum(const float *x, size_t n);
struct gpt_adamw_step { float step, beta1, beta2, eps, keep, clip, second; };
/* step: lr over the first moment's correction; keep: what weight decay leaves; clip: the gradient's factor; second: 1 / root of the second
 * moment's correction. */
void gpt_adamw(float *w, const float *g, float *m, float *v, size_t n, const struct gpt_adamw_step *s);

#endif
