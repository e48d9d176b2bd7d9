/* cpu_block.c -- one block, forward and backward:
 *
 *     middle = x + out(attention(qkv(norm 1(x))))        next = middle + proj(gelu(fc(norm 2(middle))))
 *
 * Backward computes each Linear's own gradients before it goes on to the Linear's input, so that they can travel early. */
#include "cpu.h"
#include "cpu_blas.h"

void gpt_linear(float *y, const float *x, const float *w, int rows, int out, int in)
{
	product_nt(rows, out, in, 1, x, in, w, in, 1, y, out);
}

void gpt_linear_weights(float *dw, const float *dy, const float *x, int rows, int out, int in, bool add)
{
	product_tn(out, in, rows, 1, dy, out, x, in, add, dw, in);
}

void gpt_linear_input(float *dx, const float *dy, const float *w, int rows, int out, int in)
{
	product_nn(rows, in, out, 1, dy, out, w, in, 0, dx, in);
}

void gpt_block_forward(const struct gpt_sizes *s, float *const *w, struct gpt_activations *a, float *next)
{
	int rows = s->rows, c = s->channels;

	gpt_rows_norm(a->normed[0], a->stats[0], a->x, w[LN_1_W], w[LN_1_B], rows, c);
	gpt_rows_bias(a->qkv, NULL, w[QKV_B], rows, 3 * c);
	gpt_linear(a->qkv, a->normed[0], w[QKV_W], rows, 3 * c, c);
	gpt_attention_forward(s, a->qkv, a->weights, a->attended);
	gpt_rows_bias(a->middle, a->x, w[OUT_B], rows, c);
	gpt_linear(a->middle, a->attended, w[OUT_W], rows, c, c);

	gpt_rows_norm(a->normed[1], a->stats[1], a->middle, w[LN_2_W], w[LN_2_B], rows, c);
	product_nt(rows, 4 * c, c, 1, a->normed[1], c, w[FC_W], c, 0, a->slope, 4 * c);
	gpt_rows_gelu(a->active, a->slope, w[FC_B], rows, 4 * c);
	gpt_rows_bias(next, a->middle, w[PROJ_B], rows, c);
	gpt_linear(next, a->active, w[PROJ_W], rows, c, 4 * c);
}

void gpt_block_backward(const struct gpt_sizes *s, float *const *w, float *const *dw, const struct gpt_tensor *tensors,
	const struct gpt_activations *a, const struct gpt_scratch *scratch, float *dx, const struct gpt_finished *finished)
{
	int rows = s->rows, c = s->channels;
	float *wide = scratch->wide, *narrow = scratch->narrow;

	gpt_linear_weights(dw[PROJ_W], dx, a->active, rows, c, 4 * c, false);
	gpt_rows_sum(dw[PROJ_B], dx, rows, c);
	finished->report(finished->ctx, tensors[PROJ_W].offset);
	gpt_linear_input(wide, dx, w[PROJ_W], rows, c, 4 * c);
	gpt_rows_gelu_back(wide, dw[FC_B], a->slope, rows, 4 * c);
	gpt_linear_weights(dw[FC_W], wide, a->normed[1], rows, 4 * c, c, false);
	finished->report(finished->ctx, tensors[FC_W].offset);
	gpt_linear_input(narrow, wide, w[FC_W], rows, 4 * c, c);
	gpt_rows_norm_back(dx, dw[LN_2_W], dw[LN_2_B], narrow, a->middle, a->stats[1], w[LN_2_W], rows, c);

	gpt_linear_weights(dw[OUT_W], dx, a->attended, rows, c, c, false);
	gpt_rows_sum(dw[OUT_B], dx, rows, c);
	finished->report(finished->ctx, tensors[OUT_W].offset);
	gpt_linear_input(narrow, dx, w[OUT_W], rows, c, c);
	gpt_attention_backward(s, a->qkv, a->weights, narrow, scratch->scores, wide);
	gpt_linear_weights(dw[QKV_W], wide, a->normed[0], rows, 3 * c, c, false);
	gpt_rows_sum(dw[QKV_B], wide, rows, 3 * c);
	finished->report(finished->ctx, tensors[QKV_W].offset);
	gpt_linear_input(narrow, wide, w[QKV_W], rows, 3 * c, c);
	gpt_rows_norm_back(dx, dw[LN_1_W], dw[LN_1_B], narrow, a->x, a->stats[0], w[LN_1_W], rows, c);
	finished->report(finished->ctx, tensors[LN_1_W].offset);
}
