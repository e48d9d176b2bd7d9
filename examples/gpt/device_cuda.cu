/* device_cuda.cu -- a GPT-2 on one GPU: gpt.h's device by cuBLASLt (blas_cuda.h) and own kernels (kernels_cuda.h).
 *
 * One stream has all of a step's work in the order of the calls; the host never waits in it, unless the loss or the norm is asked for. All
 * memory is had in open. Tokens go through two pinned buffers in turn: the host waits only if it is two steps ahead.
 *
 * Rounding: weights, activations and gradients are bf16, the residual stream as well; sums, statistics and the optimizer's state are f32.
 * The same input gives the same bits in every run on one kind of GPU with one version of cuBLASLt.
 *
 * wte with padding: products with the vocabulary run over `columns`, the vocabulary rounded up to a multiple of 128, for the tensor
 * cores' sake. The rows past wte's end are wpe's first rows, which is harmless: their logits are ignored and get the gradient 0, and what is
 * written to their place in the gradients is overwritten by wpe's own, which comes after it. wpe has to be large enough; else no padding. */
#include "blas_cuda.h"
#include "kernels_cuda.h"
extern "C" {
#define GPT_CUDA
#include "gpt.h"
}

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WTE, WPE, LAYERS }; /* tensors.c's order */
enum { LN1_W, LN1_B, QKV_W, QKV_B, PROJ_W, PROJ_B, LN2_W, LN2_B, FC_W, FC_B, OUT_W, OUT_B, PER_LAYER };

#define PADDING 128
#define MOST_CHANNELS 4096     /* layernorm_backward's block has 512 threads */
#define STAGES 2

struct norm { bf16 *out; float *mean, *rstd; };

struct layer {                 /* what backward needs of forward; `before` is the residual stream at the layer's beginning */
	bf16 *before, *qkv, *att, *middle, *fc, *gelu;
	float *lse;
	struct norm ln1, ln2;
};

struct gpt_model {
	struct gpt_config config;
	struct gpt_cuda_shape shape;
	int rows, padded, columns; /* tokens; a row of logits in memory; of it, what products compute */
	struct gpt_tensor *tensors;
	int n;
	size_t count;
	struct gpt_blas *blas;
	cudaStream_t stream;
	void *memory, *own_grads;
	float *params, *moments[2], *parts, *norm, *loss, *losses, *scratch, *delta;
	bf16 *rounded, *grads, *after, *logits, *dx, *dy, *wide;
	uint8_t *decays;
	struct layer *layers;
	struct norm last;
	int32_t *tokens, *targets, *order, *starts, *which;
	int32_t *stage[STAGES], *cursors;
	cudaEvent_t staged[STAGES], read;
	float *answers;            /* pinned: loss, norm */
	unsigned turn;
};

static int check(cudaError_t e, const char *what, char *err)
{
	if (e == cudaSuccess)
		return 0;
	snprintf(err, 512, "CUDA: %s: %s (%s)", what, cudaGetErrorString(e), cudaGetErrorName(e));
	return -1;
}

/* --- memory: one allocation, dealt out twice: once to count, once for real ------------------------------------------------------------ */

struct dealer { char *at; size_t used; };

template<class T> static void deal(struct dealer *d, T **ret, size_t n)
{
	*ret = d->at ? (T *)(d->at + d->used) : NULL;
	d->used += (n * sizeof(T) + 255) / 256 * 256;
}

static void deal_norm(struct dealer *d, struct norm *n, size_t rows, size_t channels)
{
	deal(d, &n->out, rows * channels);
	deal(d, &n->mean, rows);
	deal(d, &n->rstd, rows);
}

static void deal_layer(struct dealer *d, struct layer *l, const struct gpt_config *c, size_t rows)
{
	size_t width = (size_t)c->channels;

	deal(d, &l->before, rows * width);
	deal_norm(d, &l->ln1, rows, width);
	deal(d, &l->qkv, rows * 3 * width);
	deal(d, &l->att, rows * width);
	deal(d, &l->lse, rows * c->heads);
	deal(d, &l->middle, rows * width);
	deal_norm(d, &l->ln2, rows, width);
	deal(d, &l->fc, rows * 4 * width);
	deal(d, &l->gelu, rows * 4 * width);
}

static size_t stage_ints(const struct gpt_model *m)
{
	return 5 * (size_t)m->rows + 1;
}

static void deal_all(struct gpt_model *m, struct dealer *d, void **workspace)
{
	size_t rows = (size_t)m->rows, width = (size_t)m->config.channels;
	int i;

	deal(d, &m->params, m->count);
	deal(d, &m->moments[0], m->count);
	deal(d, &m->moments[1], m->count);
	deal(d, &m->rounded, m->count);
	deal(d, &m->decays, m->count / GPT_CUDA_CHUNK);
	for (i = 0; i < m->config.layers; i++)
		deal_layer(d, &m->layers[i], &m->config, rows);
	deal(d, &m->after, rows * width);
	deal_norm(d, &m->last, rows, width);
	deal(d, &m->logits, rows * m->padded);
	deal(d, &m->dx, rows * width);
	deal(d, &m->dy, rows * width);
	deal(d, &m->wide, rows * 4 * width);
	deal(d, &m->delta, rows * m->config.heads);
	deal(d, &m->losses, rows);
	deal(d, &m->loss, 1);
	deal(d, &m->norm, 1);
	deal(d, &m->parts, GPT_CUDA_NORM_PARTS);
	deal(d, &m->scratch, GPT_CUDA_PARTS * 2 * width);
	deal(d, &m->tokens, stage_ints(m));
	deal(d, (char **)workspace, GPT_BLAS_WORKSPACE);
}

/* --- open and close --------------------------------------------------------------------------------------------------------------------- */

static int check_config(const struct gpt_config *c, int batch, char *err)
{
	if (c->heads < 1 || c->channels != c->heads * GPT_CUDA_HEAD || c->channels > MOST_CHANNELS) {
		snprintf(err, 512, "%d channels in %d heads: on cuda a head has %d channels, and a model at most %d; try --heads %d",
			c->channels, c->heads, GPT_CUDA_HEAD, MOST_CHANNELS,
			c->channels >= GPT_CUDA_HEAD ? c->channels / GPT_CUDA_HEAD : 1);
		return -1;
	}
	if (c->layers < 1 || c->vocab < 1 || c->context < 1 || batch < 1 || (int64_t)batch * c->context > INT32_MAX / 8) {
		snprintf(err, 512, "%d layers, vocabulary %d, batch %d x context %d: each must be at least 1, and a batch at most %d tokens", c->layers,
			c->vocab, batch, c->context, INT32_MAX / 8);
		return -1;
	}
	return 0;
}

static int check_gpu(char *err)
{
	const char *visible = getenv("CUDA_VISIBLE_DEVICES");
	struct cudaDeviceProp p;
	int n = 0, device = 0, driver = 0;
	cudaError_t e = cudaGetDeviceCount(&n);

	if (e == cudaSuccess && n == 0)
		e = cudaErrorNoDevice;
	/* Where no driver is, the runtime says that it is too old; its version is 0 then. */
	if (e == cudaErrorInsufficientDriver && cudaDriverGetVersion(&driver) == cudaSuccess && driver == 0) {
		snprintf(err, 512, "no GPU to use: this host has no NVIDIA driver; --device cpu needs none");
		return -1;
	}
	if (e != cudaSuccess) {
		snprintf(err, 512, "no GPU to use: %s (%s); nvidia-smi says what the driver sees, CUDA_VISIBLE_DEVICES is \"%s\"; "
			"--device cpu needs none",
			cudaGetErrorString(e), cudaGetErrorName(e), visible ? visible : "not set");
		return -1;
	}
	if (check(cudaGetDevice(&device), "the current GPU", err) ||
		check(cudaGetDeviceProperties(&p, device), "the GPU's properties", err))
		return -1;
	if (p.major < 8) {
		snprintf(err, 512, "%s has compute capability %d.%d: bf16 on tensor cores needs 8.0 (A100) or newer; try --device cpu",
			p.name, p.major, p.minor);
		return -1;
	}
	return 0;
}

static int allocate(struct gpt_model *m, void *(*alloc)(void *ctx, size_t bytes), void *ctx, void **workspace, char *err)
{
	struct dealer d = { NULL, 0 };
	size_t grads = m->count * sizeof(bf16), free_bytes = 0, all = 0;
	cudaError_t e;
	int i;

	deal_all(m, &d, workspace);
	e = cudaMalloc(&m->memory, d.used);
	if (e == cudaSuccess && !alloc)
		e = cudaMalloc(&m->own_grads, grads);
	if (e != cudaSuccess) {
		cudaMemGetInfo(&free_bytes, &all);
		snprintf(err, 512, "the model needs %.1f GB of the GPU, %.1f of %.1f are free: %s; try a smaller --batch",
			(double)(d.used + grads) / 1e9, (double)free_bytes / 1e9, (double)all / 1e9, cudaGetErrorString(e));
		return -1;
	}
	m->grads = (bf16 *)(alloc ? alloc(ctx, grads) : m->own_grads);
	if (!m->grads) {
		snprintf(err, 512, "no memory for %zu bytes of gradients", grads);
		return -1;
	}
	d = { (char *)m->memory, 0 };
	deal_all(m, &d, workspace);
	m->targets = m->tokens + m->rows;
	m->order = m->targets + m->rows;
	m->which = m->order + m->rows;
	m->starts = m->which + m->rows;
	for (i = 0; i < STAGES; i++)
		if (check(cudaMallocHost((void **)&m->stage[i], stage_ints(m) * sizeof(int32_t)), "pinned memory for tokens", err) ||
			check(cudaEventCreateWithFlags(&m->staged[i], cudaEventDisableTiming), "an event", err))
			return -1;
	return check(cudaMallocHost((void **)&m->answers, 2 * sizeof(float)), "pinned memory for the loss", err) ||
		check(cudaEventCreateWithFlags(&m->read, cudaEventDisableTiming), "an event", err) ? -1 : 0;
}

/* The gaps between tensors are 0 in all buffers, and stay so. */
static int fill(struct gpt_model *m, const float *params, char *err)
{
	size_t chunks = m->count / GPT_CUDA_CHUNK, c;
	uint8_t *decays = (uint8_t *)calloc(chunks, 1);
	int i, failed;

	if (!decays) {
		snprintf(err, 512, "no memory for %zu bytes", chunks);
		return -1;
	}
	for (i = 0; i < m->n; i++)
		for (c = 0; m->tensors[i].decay && c * GPT_CUDA_CHUNK < m->tensors[i].count; c++)
			decays[m->tensors[i].offset / GPT_CUDA_CHUNK + c] = 1;
	failed = check(cudaMemcpy(m->decays, decays, chunks, cudaMemcpyHostToDevice), "copying to the GPU", err) ||
		check(cudaMemcpy(m->params, params, m->count * sizeof(float), cudaMemcpyHostToDevice), "copying to the GPU", err) ||
		check(cudaMemset(m->grads, 0, m->count * sizeof(bf16)), "clearing the gradients", err) ||
		check(cudaMemset(m->moments[0], 0, m->count * sizeof(float)), "clearing the moments", err) ||
		check(cudaMemset(m->moments[1], 0, m->count * sizeof(float)), "clearing the moments", err);
	free(decays);
	return failed ? -1 : 0;
}

static int refresh(struct gpt_model *m, char *err)
{
	gpt_cuda_round(m->rounded, m->params, m->count, m->stream);
	return check(cudaGetLastError(), "rounding the parameters", err);
}

static void close_model(struct gpt_model *m)
{
	int i;

	if (!m)
		return;
	if (m->stream)
		cudaStreamSynchronize(m->stream);
	gpt_blas_close(m->blas);
	for (i = 0; i < STAGES; i++) {
		if (m->staged[i])
			cudaEventDestroy(m->staged[i]);
		cudaFreeHost(m->stage[i]);
	}
	if (m->read)
		cudaEventDestroy(m->read);
	cudaFreeHost(m->answers);
	cudaFree(m->own_grads);
	cudaFree(m->memory);
	if (m->stream)
		cudaStreamDestroy(m->stream);
	free(m->tensors);
	free(m->layers);
	free(m->cursors);
	free(m);
}

static int open_model(const struct gpt_config *c, int batch, const float *params, void *(*alloc)(void *ctx, size_t bytes), void *ctx,
	struct gpt_model **ret, char *err)
{
	struct gpt_model *m;
	void *workspace;

	if (check_gpu(err) || check_config(c, batch, err))
		return -1;
	m = (struct gpt_model *)calloc(1, sizeof(*m));
	if (m) {
		m->config = *c;
		m->shape = { batch, c->context, c->channels };
		m->rows = batch * c->context;
		m->padded = (c->vocab + PADDING - 1) / PADDING * PADDING;
		m->columns = m->padded - c->vocab <= c->context ? m->padded : c->vocab;
		m->n = gpt_tensors(c, &m->tensors, &m->count);
		m->layers = (struct layer *)calloc((size_t)c->layers, sizeof(*m->layers));
		m->cursors = (int32_t *)malloc(sizeof(int32_t) * (size_t)c->vocab);
	}
	if (!m || !m->n || !m->layers || !m->cursors) {
		snprintf(err, 512, "no memory for the model's description");
		close_model(m);
		return -1;
	}
	if (check(cudaStreamCreate(&m->stream), "a stream", err) || allocate(m, alloc, ctx, &workspace, err) || fill(m, params, err) ||
		gpt_blas_open(workspace, &m->blas, err) || refresh(m, err)) {
		close_model(m);
		return -1;
	}
	*ret = m;
	return 0;
}

/* --- tokens ----------------------------------------------------------------------------------------------------------------------------- */

/* Where each token stands, by counting: gpt_cuda_places. Returns how many different ones there are. */
static int find_places(struct gpt_model *m, const int32_t *tokens, int32_t *stage)
{
	int32_t *order = stage + 2 * m->rows, *which = order + m->rows, *starts = which + m->rows;
	int different = 0, from = 0, i;

	memset(m->cursors, 0, sizeof(int32_t) * (size_t)m->config.vocab);
	for (i = 0; i < m->rows; i++)
		m->cursors[tokens[i]]++;
	for (i = 0; i < m->config.vocab; i++) {
		int there = m->cursors[i];

		if (!there)
			continue;
		which[different] = i;
		starts[different++] = m->cursors[i] = from;
		from += there;
	}
	starts[different] = from;
	for (i = 0; i < m->rows; i++)
		order[m->cursors[tokens[i]]++] = i;
	return different;
}

static int check_tokens(const struct gpt_model *m, const int32_t *tokens, int n, char *err)
{
	int i;

	for (i = 0; i < n; i++)
		if ((uint32_t)tokens[i] >= (uint32_t)m->config.vocab) {
			snprintf(err, 512, "token %d is %d: the vocabulary has %d", i, tokens[i], m->config.vocab);
			return -1;
		}
	return 0;
}

static int send_tokens(struct gpt_model *m, const int32_t *tokens, const int32_t *targets, struct gpt_cuda_places *ret, char *err)
{
	unsigned turn = m->turn++ % STAGES;
	int32_t *stage = m->stage[turn];

	if (check_tokens(m, tokens, m->rows, err) || check_tokens(m, targets, m->rows, err))
		return -1;
	if (check(cudaEventSynchronize(m->staged[turn]), "waiting for the last tokens' copy", err))
		return -1;
	memcpy(stage, tokens, sizeof(int32_t) * (size_t)m->rows);
	memcpy(stage + m->rows, targets, sizeof(int32_t) * (size_t)m->rows);
	*ret = { m->order, m->starts, m->which, find_places(m, tokens, stage) };
	return check(cudaMemcpyAsync(m->tokens, stage, stage_ints(m) * sizeof(int32_t), cudaMemcpyHostToDevice, m->stream),
		"copying tokens", err) || check(cudaEventRecord(m->staged[turn], m->stream), "recording an event", err) ? -1 : 0;
}

/* --- forward and backward ------------------------------------------------------------------------------------------------------------- */

static bf16 *weight(struct gpt_model *m, int tensor)
{
	return m->rounded + m->tensors[tensor].offset;
}

static bf16 *grad(struct gpt_model *m, int tensor)
{
	return m->grads + m->tensors[tensor].offset;
}

static int at(int layer, int tensor)
{
	return LAYERS + layer * PER_LAYER + tensor;
}

static struct gpt_linear linear(struct gpt_model *m, int in, int out)
{
	return { m->rows, in * m->config.channels, out * m->config.channels, out * m->config.channels };
}

static struct gpt_linear classifier(struct gpt_model *m)
{
	return { m->rows, m->config.channels, m->columns, m->padded };
}

static void normalise(struct gpt_model *m, const struct norm *n, const bf16 *x, int tensor)
{
	gpt_cuda_layernorm(n->out, n->mean, n->rstd, x, weight(m, tensor), weight(m, tensor + 1), m->rows, m->config.channels, m->stream);
}

static int forward(struct gpt_model *m, char *err)
{
	int i, failed = 0;

	gpt_cuda_embed(m->layers[0].before, m->tokens, weight(m, WTE), weight(m, WPE), m->shape, m->stream);
	for (i = 0; !failed && i < m->config.layers; i++) {
		struct layer *l = &m->layers[i];
		bf16 *next = i + 1 < m->config.layers ? m->layers[i + 1].before : m->after;

		normalise(m, &l->ln1, l->before, at(i, LN1_W));
		failed = gpt_blas_forward(m->blas, linear(m, 1, 3), l->qkv, l->ln1.out, weight(m, at(i, QKV_W)), weight(m, at(i, QKV_B)),
			NULL, NULL, m->stream, err);
		gpt_cuda_attention(l->att, l->lse, l->qkv, m->shape, m->stream);
		failed = failed || gpt_blas_forward(m->blas, linear(m, 1, 1), l->middle, l->att, weight(m, at(i, PROJ_W)),
			weight(m, at(i, PROJ_B)), l->before, NULL, m->stream, err);
		normalise(m, &l->ln2, l->middle, at(i, LN2_W));
		failed = failed || gpt_blas_forward(m->blas, linear(m, 1, 4), l->gelu, l->ln2.out, weight(m, at(i, FC_W)),
			weight(m, at(i, FC_B)), NULL, l->fc, m->stream, err) ||
			gpt_blas_forward(m->blas, linear(m, 4, 1), next, l->gelu, weight(m, at(i, OUT_W)), weight(m, at(i, OUT_B)),
				l->middle, NULL, m->stream, err);
	}
	if (failed)
		return -1;
	normalise(m, &m->last, m->after, at(m->config.layers, 0));
	return gpt_blas_forward(m->blas, classifier(m), m->logits, m->last.out, weight(m, WTE), NULL, NULL, NULL, m->stream, err);
}

static void normalise_backward(struct gpt_model *m, const struct norm *n, const bf16 *x, int tensor, bool add)
{
	gpt_cuda_layernorm_backward(m->dx, add, grad(m, tensor), grad(m, tensor + 1), m->scratch, m->dy, x, weight(m, tensor), n->mean,
		n->rstd, m->rows, m->config.channels, m->stream);
}

/* dx is the gradient of the residual stream, from the layer's end to its beginning. */
static int backward_mlp(struct gpt_model *m, int i, char *err)
{
	struct layer *l = &m->layers[i];

	if (gpt_blas_backward_weight(m->blas, linear(m, 4, 1), grad(m, at(i, OUT_W)), grad(m, at(i, OUT_B)), m->dx, l->gelu,
			m->stream, err) ||
		gpt_blas_backward(m->blas, linear(m, 4, 1), m->wide, m->dx, weight(m, at(i, OUT_W)), l->fc, m->stream, err) ||
		gpt_blas_backward_weight(m->blas, linear(m, 1, 4), grad(m, at(i, FC_W)), grad(m, at(i, FC_B)), m->wide, l->ln2.out,
			m->stream, err) ||
		gpt_blas_backward(m->blas, linear(m, 1, 4), m->dy, m->wide, weight(m, at(i, FC_W)), NULL, m->stream, err))
		return -1;
	normalise_backward(m, &l->ln2, l->middle, at(i, LN2_W), true);
	return 0;
}

static int backward_attention(struct gpt_model *m, int i, char *err)
{
	struct layer *l = &m->layers[i];

	if (gpt_blas_backward_weight(m->blas, linear(m, 1, 1), grad(m, at(i, PROJ_W)), grad(m, at(i, PROJ_B)), m->dx, l->att,
			m->stream, err) ||
		gpt_blas_backward(m->blas, linear(m, 1, 1), m->dy, m->dx, weight(m, at(i, PROJ_W)), NULL, m->stream, err))
		return -1;
	gpt_cuda_attention_backward(m->wide, m->delta, m->dy, l->att, l->lse, l->qkv, m->shape, m->stream);
	if (gpt_blas_backward_weight(m->blas, linear(m, 1, 3), grad(m, at(i, QKV_W)), grad(m, at(i, QKV_B)), m->wide, l->ln1.out,
			m->stream, err) ||
		gpt_blas_backward(m->blas, linear(m, 1, 3), m->dy, m->wide, weight(m, at(i, QKV_W)), NULL, m->stream, err))
		return -1;
	normalise_backward(m, &l->ln1, l->before, at(i, LN1_W), true);
	return 0;
}

struct report {                /* to the caller, bucket by bucket */
	const struct gpt_bucket *buckets;
	int n, told;
	void (*ready)(void *ctx, int bucket);
	void *ctx;
};

/* All gradients from `offset` on are in the stream: so are these buckets. */
static void done_from(struct report *r, size_t offset)
{
	for (; r->told < r->n && r->buckets[r->told].offset >= offset; r->told++)
		if (r->ready)
			r->ready(r->ctx, r->told);
}

static int backward(struct gpt_model *m, struct gpt_cuda_places places, struct report *r, char *err)
{
	int last = at(m->config.layers, 0), i;

	/* wte's first part; embed_backward adds the second. */
	if (gpt_blas_backward_weight(m->blas, classifier(m), grad(m, WTE), NULL, m->logits, m->last.out, m->stream, err) ||
		gpt_blas_backward(m->blas, classifier(m), m->dy, m->logits, weight(m, WTE), NULL, m->stream, err))
		return -1;
	normalise_backward(m, &m->last, m->after, last, false);
	done_from(r, m->tensors[last].offset);
	for (i = m->config.layers - 1; i >= 0; i--) {
		if (backward_mlp(m, i, err))
			return -1;
		done_from(r, m->tensors[at(i, LN2_W)].offset);
		if (backward_attention(m, i, err))
			return -1;
		done_from(r, m->tensors[at(i, LN1_W)].offset);
	}
	gpt_cuda_embed_backward(grad(m, WTE), grad(m, WPE), m->dx, places, m->shape, m->stream);
	done_from(r, 0);
	return 0;
}

static int step(struct gpt_model *m, const int32_t *tokens, const int32_t *targets, const struct gpt_bucket *buckets, int n,
	void (*ready)(void *ctx, int bucket), void *ctx, float *ret_loss, char *err)
{
	struct report r = { buckets, n, 0, ready, ctx };
	struct gpt_cuda_places places;

	if (send_tokens(m, tokens, targets, &places, err) || forward(m, err))
		return -1;
	gpt_cuda_classify(m->logits, m->losses, m->loss, m->targets, m->rows, m->config.vocab, m->padded, m->stream);
	if (ret_loss && (check(cudaMemcpyAsync(&m->answers[0], m->loss, sizeof(float), cudaMemcpyDeviceToHost, m->stream),
		"copying the loss", err) || check(cudaEventRecord(m->read, m->stream), "recording an event", err)))
		return -1;
	if ((n > 0 && backward(m, places, &r, err)) || check(cudaGetLastError(), "a kernel of the step", err))
		return -1;
	if (ret_loss) {
		if (check(cudaEventSynchronize(m->read), "waiting for the loss", err))
			return -1;
		*ret_loss = m->answers[0];
	}
	return 0;
}

/* Forward of one sequence, with token 0 where there is none yet: what is later changes nothing before it. */
static int predict(struct gpt_model *m, const int32_t *tokens, int count, float *ret_logits, char *err)
{
	const int rows = m->rows, batch = m->shape.batch;
	int32_t *padded = (int32_t *)calloc((size_t)m->config.context, sizeof(int32_t));
	bf16 *logits = (bf16 *)malloc((size_t)m->config.vocab * sizeof(bf16));
	int failed = -1, i;

	if (count < 1 || count > m->config.context)
		snprintf(err, 512, "%d tokens to predict from: want 1 to %d", count, m->config.context);
	else if (!padded || !logits)
		snprintf(err, 512, "no memory for a row of logits");
	else if (!check_tokens(m, tokens, count, err)) {
		memcpy(padded, tokens, sizeof(int32_t) * (size_t)count);
		m->shape.batch = 1;
		m->rows = m->config.context;
		failed = check(cudaMemcpyAsync(m->tokens, padded, sizeof(int32_t) * (size_t)m->rows, cudaMemcpyHostToDevice, m->stream),
			"copying tokens", err) || forward(m, err) || check(cudaGetLastError(), "a kernel", err) ||
			check(cudaMemcpyAsync(logits, m->logits + (size_t)(count - 1) * m->padded, (size_t)m->config.vocab * sizeof(bf16),
				cudaMemcpyDeviceToHost, m->stream), "copying the logits", err) ||
				check(cudaStreamSynchronize(m->stream), "waiting for the logits", err) ? -1 : 0;
		m->shape.batch = batch;
		m->rows = rows;
	}
	for (i = 0; !failed && i < m->config.vocab; i++) {
		uint32_t bits = (uint32_t)logits[i] << 16;

		memcpy(&ret_logits[i], &bits, sizeof(bits));
	}
	free(padded);
	free(logits);
	return failed;
}

static int update(struct gpt_model *m, const struct gpt_adamw *o, int64_t t, float *ret_norm, char *err)
{
	struct gpt_cuda_update a = { m->params, m->moments[0], m->moments[1], m->rounded, m->grads, m->decays, m->count, m->parts, m->norm,
		o->lr, o->beta1, o->beta2, o->eps, o->decay, o->clip, (float)(1 / (1 - pow(o->beta1, (double)t))),
		(float)(1 / (1 - pow(o->beta2, (double)t))) };

	gpt_cuda_adamw(&a, m->stream);
	if (check(cudaGetLastError(), "the optimizer's kernels", err))
		return -1;
	if (!ret_norm)
		return 0;
	if (check(cudaMemcpyAsync(&m->answers[1], m->norm, sizeof(float), cudaMemcpyDeviceToHost, m->stream), "copying the norm", err) ||
		check(cudaStreamSynchronize(m->stream), "waiting for the optimizer", err))
		return -1;
	*ret_norm = m->answers[1];
	if (isfinite(*ret_norm))
		return 0;
	snprintf(err, 512, "step %lld: the gradient is not finite; try a smaller learning rate", (long long)t);
	return -1;
}

/* --- the table ---------------------------------------------------------------------------------------------------------------------------- */

static void *grads_of(struct gpt_model *m)
{
	return m->grads;
}

static float *params_of(struct gpt_model *m)
{
	return m->params;
}

static float *moments_of(struct gpt_model *m, int k)
{
	return m->moments[k];
}

static void *stream_of(struct gpt_model *m)
{
	return m->stream;
}

const struct gpt_device gpt_cuda = { "cuda", open_model, close_model, step, update, grads_of, params_of, moments_of, refresh, stream_of,
	sizeof(bf16), predict };
