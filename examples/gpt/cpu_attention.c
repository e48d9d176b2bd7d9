/* cpu_attention.c -- causal attention: GPT_QUERIES queries of one head at a time against all keys up to the last of them.
 *
 * What a block of queries needs stays in the cache from one product to the next. The probabilities are kept for backward: quicker than to
 * compute them again, at batch x heads x context^2 floats a layer. */
#include "cpu.h"
#include "cpu_blas.h"

#include <math.h>

struct head { const float *q, *k, *v; int size, stride; };

static struct head head_at(const struct gpt_sizes *s, const float *qkv, int sequence, int h)
{
	int size = s->channels / s->heads;
	const float *q = qkv + (size_t)sequence * s->context * 3 * s->channels + h * size;

	return (struct head){ q, q + s->channels, q + 2 * s->channels, size, 3 * s->channels };
}

static void forward_head(const struct gpt_sizes *s, const struct head *h, float *weights, float *out)
{
	float scale = 1 / sqrtf((float)h->size);
	int at, n, keys;

	for (at = 0; at < s->context; at += n) {
		n = s->context - at < GPT_QUERIES ? s->context - at : GPT_QUERIES;
		keys = at + n;
		const float *q = h->q + (size_t)at * h->stride;
		float *p = weights + (size_t)at * s->context;

		product_nt(n, keys, h->size, scale, q, h->stride, h->k, h->stride, 0, p, s->context);
		gpt_rows_softmax(p, n, at, keys, s->context);
		product_nn(n, h->size, keys, 1, p, s->context, h->v, h->stride, 0, out + (size_t)at * s->channels, s->channels);
	}
}

void gpt_attention_forward(const struct gpt_sizes *s, const float *qkv, float *weights, float *out)
{
	int i, h;

	for (i = 0; i < s->batch; i++)
		for (h = 0; h < s->heads; h++) {
			struct head head = head_at(s, qkv, i, h);

			forward_head(s, &head, weights + ((size_t)i * s->heads + h) * s->context * s->context,
				out + (size_t)i * s->context * s->channels + h * head.size);
		}
}

/* From the last queries, which see every key and therefore write all of dk and dv, to the first, which add. */
static void backward_head(const struct gpt_sizes *s, const struct head *h, const float *weights, const float *dout, float *scores,
	float *dq)
{
	float *dk = dq + s->channels, *dv = dk + s->channels, scale = 1 / sqrtf((float)h->size);
	int at, n, keys;

	for (keys = s->context; keys > 0; keys = at) {
		at = (keys - 1) / GPT_QUERIES * GPT_QUERIES;
		n = keys - at;
		float add = keys == s->context ? 0 : 1;
		const float *p = weights + (size_t)at * s->context, *d = dout + (size_t)at * s->channels;
		const float *q = h->q + (size_t)at * h->stride;

		product_tn(keys, h->size, n, 1, p, s->context, d, s->channels, add, dv, h->stride);
		product_nt(n, keys, h->size, 1, d, s->channels, h->v, h->stride, 0, scores, keys);
		gpt_rows_softmax_back(scores, p, n, at, keys, s->context, scale);
		product_nn(n, h->size, keys, 1, scores, keys, h->k, h->stride, 0, dq + (size_t)at * h->stride, h->stride);
		product_tn(keys, h->size, n, 1, scores, keys, q, h->stride, add, dk, h->stride);
	}
}

void gpt_attention_backward(const struct gpt_sizes *s, const float *qkv, const float *weights, const float *dout, float *scores,
	float *dqkv)
{
	int i, h;

	for (i = 0; i < s->batch; i++)
		for (h = 0; h < s->heads; h++) {
			struct head head = head_at(s, qkv, i, h);

			backward_head(s, &head, weights + ((size_t)i * s->heads + h) * s->context * s->context,
				dout + (size_t)i * s->context * s->channels + h * head.size, scores, dqkv + (head.q - qkv));
		}
}
