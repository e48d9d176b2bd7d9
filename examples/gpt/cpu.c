/* cpu.c -- the CPU device: all in float32.
 *
 * Everything that a step needs is allocated by open(), on huge pages where the kernel has them. The output layer works on HEAD_ROWS rows at
 * a time, forward and backward together, so that the logits of a large vocabulary never exist as a whole. */
#include "cpu.h"
#include "cpu_blas.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE ((size_t)2 << 20)
#define HEAD_ROWS 256
#define HEAD_LOGITS (1 << 20) /* or more rows, for a small vocabulary */

struct gpt_model {
	struct gpt_config c;
	struct gpt_sizes sizes;          /* of a whole batch */
	struct gpt_tensor *tensors;
	int n;
	size_t count;
	float *params, *grads, *moments[2], **w, **dw; /* w, dw: a pointer for each tensor */
	bool own_grads;
	struct gpt_activations *blocks;  /* the block after the last has only x: the last one's output */
	float *last, *last_stats, *dx, *logits;
	struct gpt_scratch scratch;
	float *arena;                    /* all of the activations */
	size_t arena_used;
	int head_rows;
	struct {
		const struct gpt_bucket *buckets;
		int n, next;
		void (*ready)(void *ctx, int bucket);
		void *ctx;
	} call;                          /* of the step under way */
};

__attribute__((format(printf, 2, 3))) static int fail(char *err, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(err, 512, format, ap);
	va_end(ap);
	return -1;
}

/* --- memory ------------------------------------------------------------------------------------------------------------------ */

static float *take_pages(size_t floats)
{
	size_t bytes = (floats * sizeof(float) + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
	float *p = aligned_alloc(HUGE_PAGE, bytes);

	if (p) {
		madvise(p, bytes, MADV_HUGEPAGE); /* a wish */
		memset(p, 0, bytes);
	}
	return p;
}

/* Without an arena it only counts. */
static float *take(struct gpt_model *m, size_t floats)
{
	float *p = m->arena ? m->arena + m->arena_used : NULL;

	m->arena_used += (floats + 15) / 16 * 16 + 16; /* a line between, so that equal sizes do not share their sets of the cache */
	return p;
}

static void lay_out(struct gpt_model *m)
{
	size_t rows = (size_t)m->sizes.rows, c = (size_t)m->c.channels, context = (size_t)m->c.context;
	int i, k;

	m->arena_used = 0;
	for (i = 0; i < m->c.layers; i++) {
		struct gpt_activations *a = &m->blocks[i];

		a->x = take(m, rows * c);
		for (k = 0; k < 2; k++) {
			a->stats[k] = take(m, rows * 2);
			a->normed[k] = take(m, rows * c);
		}
		a->qkv = take(m, rows * 3 * c);
		a->weights = take(m, rows * (size_t)m->c.heads * context);
		a->attended = take(m, rows * c);
		a->middle = take(m, rows * c);
		a->slope = take(m, rows * 4 * c);
		a->active = take(m, rows * 4 * c);
	}
	m->blocks[m->c.layers].x = take(m, rows * c);
	m->last = take(m, rows * c);
	m->last_stats = take(m, rows * 2);
	m->dx = take(m, rows * c);
	m->scratch.wide = take(m, rows * 4 * c);
	m->scratch.narrow = take(m, rows * c);
	m->scratch.scores = take(m, GPT_QUERIES * context);
	m->logits = take(m, (size_t)m->head_rows * (size_t)m->c.vocab);
}

static void point_at_tensors(struct gpt_model *m)
{
	int i;

	for (i = 0; i < m->n; i++) {
		m->w[i] = m->params + m->tensors[i].offset;
		m->dw[i] = m->grads + m->tensors[i].offset;
	}
}

static void cpu_close(struct gpt_model *m)
{
	if (!m)
		return;
	free(m->arena);
	free(m->blocks);
	free(m->dw);
	free(m->w);
	free(m->moments[1]);
	free(m->moments[0]);
	if (m->own_grads)
		free(m->grads);
	free(m->params);
	free(m->tensors);
	free(m);
}

static int allocate(struct gpt_model *m, void *(*alloc)(void *ctx, size_t bytes), void *ctx)
{
	m->n = gpt_tensors(&m->c, &m->tensors, &m->count);
	if (!m->n)
		return -1;
	m->own_grads = !alloc;
	m->grads = alloc ? alloc(ctx, m->count * sizeof(float)) : take_pages(m->count);
	m->params = take_pages(m->count);
	m->moments[0] = take_pages(m->count);
	m->moments[1] = take_pages(m->count);
	m->w = calloc((size_t)m->n, sizeof(*m->w));
	m->dw = calloc((size_t)m->n, sizeof(*m->dw));
	m->blocks = calloc((size_t)m->c.layers + 1, sizeof(*m->blocks));
	if (!m->grads || !m->params || !m->moments[0] || !m->moments[1] || !m->w || !m->dw || !m->blocks)
		return -1;
	lay_out(m);
	m->arena = take_pages(m->arena_used);
	if (!m->arena)
		return -1;
	lay_out(m);
	return 0;
}

#pragma weak openblas_set_num_threads /* the BLAS may be another, which obeys OMP_NUM_THREADS by itself */

/* OpenBLAS takes all cores unless told otherwise, and every rank of a host would. */
static void one_thread_unless_asked(void)
{
	if (!getenv("OMP_NUM_THREADS") && !getenv("OPENBLAS_NUM_THREADS") && openblas_set_num_threads)
		openblas_set_num_threads(1);
}

static int cpu_open(const struct gpt_config *c, int batch, const float *params, void *(*alloc)(void *ctx, size_t bytes), void *ctx,
	struct gpt_model **ret, char *err)
{
	struct gpt_model *m = calloc(1, sizeof(*m));
	int rows = batch * c->context;

	if (!m)
		return fail(err, "no memory");
	m->c = *c;
	m->sizes = (struct gpt_sizes){ batch, c->context, rows, c->channels, c->heads };
	m->head_rows = HEAD_LOGITS / c->vocab > HEAD_ROWS ? HEAD_LOGITS / c->vocab : HEAD_ROWS;
	if (m->head_rows > rows)
		m->head_rows = rows;
	if (allocate(m, alloc, ctx)) {
		cpu_close(m);
		return fail(err, "no memory for %d layers of %d channels with a batch of %d x %d tokens; a smaller --batch needs less",
			c->layers, c->channels, batch, c->context);
	}
	one_thread_unless_asked();
	memcpy(m->params, params, m->count * sizeof(*params));
	point_at_tensors(m);
	*ret = m;
	return 0;
}

/* --- one step ---------------------------------------------------------------------------------------------------------------- */

static void finished(void *ctx, size_t offset)
{
	struct gpt_model *m = ctx;

	while (m->call.next < m->call.n && m->call.buckets[m->call.next].offset >= offset)
		m->call.ready(m->call.ctx, m->call.next++);
}

static void embed(const struct gpt_model *m, const struct gpt_sizes *s, const int32_t *tokens, float *x)
{
	size_t c = (size_t)s->channels;
	int r;

	for (r = 0; r < s->rows; r++) {
		const float *of_token = m->w[WTE] + (size_t)tokens[r] * c, *of_place = m->w[WPE] + (size_t)(r % s->context) * c;

		gpt_rows_bias(x + (size_t)r * c, of_token, of_place, 1, s->channels);
	}
}

static void embed_back(struct gpt_model *m, const int32_t *tokens)
{
	size_t c = (size_t)m->c.channels;
	int r;

	memset(m->dw[WPE], 0, (size_t)m->c.context * c * sizeof(float));
	for (r = 0; r < m->sizes.rows; r++) {
		float *of_token = m->dw[WTE] + (size_t)tokens[r] * c, *of_place = m->dw[WPE] + (size_t)(r % m->c.context) * c;
		const float *d = m->dx + (size_t)r * c;

		gpt_rows_bias(of_token, of_token, d, 1, m->c.channels);
		gpt_rows_bias(of_place, of_place, d, 1, m->c.channels);
	}
}

/* From tokens to what the output layer reads. */
static void forward(struct gpt_model *m, const struct gpt_sizes *s, const int32_t *tokens)
{
	int i;

	embed(m, s, tokens, m->blocks[0].x);
	for (i = 0; i < m->c.layers; i++)
		gpt_block_forward(s, m->w + FIRST_OF_BLOCKS + i * PER_BLOCK, &m->blocks[i], m->blocks[i + 1].x);
	gpt_rows_norm(m->last, m->last_stats, m->blocks[m->c.layers].x, m->w[m->n - 2], m->w[m->n - 1], s->rows, s->channels);
}

/* Output layer and loss, and back to the gradient of `last`, in narrow, if wanted. Returns the mean loss. */
static float head(struct gpt_model *m, const int32_t *targets, bool backward)
{
	int rows = m->sizes.rows, c = m->c.channels, vocab = m->c.vocab, at, n;
	double loss = 0;

	for (at = 0; at < rows; at += n) {
		const float *x = m->last + (size_t)at * c;

		n = rows - at < m->head_rows ? rows - at : m->head_rows;
		product_nt(n, vocab, c, 1, x, c, m->w[WTE], c, 0, m->logits, vocab);
		loss += gpt_rows_loss(m->logits, targets + at, n, vocab, 1 / (float)rows);
		if (!backward)
			continue;
		gpt_linear_weights(m->dw[WTE], m->logits, x, n, vocab, c, at > 0);
		gpt_linear_input(m->scratch.narrow + (size_t)at * c, m->logits, m->w[WTE], n, vocab, c);
	}
	return (float)(loss / rows);
}

static void backward(struct gpt_model *m, const int32_t *tokens)
{
	const struct gpt_finished report = { finished, m };
	int rows = m->sizes.rows, c = m->c.channels, i;

	memset(m->dx, 0, (size_t)rows * (size_t)c * sizeof(float));
	gpt_rows_norm_back(m->dx, m->dw[m->n - 2], m->dw[m->n - 1], m->scratch.narrow, m->blocks[m->c.layers].x, m->last_stats,
		m->w[m->n - 2], rows, c);
	finished(m, m->tensors[m->n - 2].offset);
	for (i = m->c.layers - 1; i >= 0; i--) {
		int first = FIRST_OF_BLOCKS + i * PER_BLOCK;

		gpt_block_backward(&m->sizes, m->w + first, m->dw + first, m->tensors + first, &m->blocks[i], &m->scratch, m->dx, &report);
	}
	embed_back(m, tokens);
	finished(m, 0);
}

static int check_tokens(const struct gpt_model *m, const int32_t *tokens, int n, char *err)
{
	int i;

	for (i = 0; i < n; i++)
		if (tokens[i] < 0 || tokens[i] >= m->c.vocab)
			return fail(err, "token %d is %d: outside the vocabulary of %d", i, tokens[i], m->c.vocab);
	return 0;
}

static int cpu_step(struct gpt_model *m, const int32_t *tokens, const int32_t *targets, const struct gpt_bucket *buckets, int n,
	void (*ready)(void *ctx, int bucket), void *ctx, float *ret_loss, char *err)
{
	float loss;

	if (check_tokens(m, tokens, m->sizes.rows, err) || check_tokens(m, targets, m->sizes.rows, err))
		return -1;
	m->call.buckets = buckets;
	m->call.n = n;
	m->call.next = 0;
	m->call.ready = ready;
	m->call.ctx = ctx;
	forward(m, &m->sizes, tokens);
	loss = head(m, targets, n > 0);
	if (n > 0)
		backward(m, tokens);
	if (ret_loss)
		*ret_loss = loss;
	return 0;
}

static int cpu_predict(struct gpt_model *m, const int32_t *tokens, int count, float *ret_logits, char *err)
{
	struct gpt_sizes s = { 1, count, count, m->c.channels, m->c.heads };
	int c = m->c.channels;

	if (count < 1 || count > m->c.context)
		return fail(err, "%d tokens to predict from: want 1 to %d", count, m->c.context);
	if (check_tokens(m, tokens, count, err))
		return -1;
	forward(m, &s, tokens);
	product_nt(1, m->c.vocab, c, 1, m->last + (size_t)(count - 1) * (size_t)c, c, m->w[WTE], c, 0, ret_logits, m->c.vocab);
	return 0;
}

/* --- optimizer --------------------------------------------------------------------------------------------------------------- */

static int cpu_update(struct gpt_model *m, const struct gpt_adamw *o, int64_t t, float *ret_norm, char *err)
{
	struct gpt_adamw_step s = { .beta1 = o->beta1, .beta2 = o->beta2, .eps = o->eps, .clip = 1 };
	double norm = 0;
	int i;

	if (o->clip > 0 || ret_norm)
		norm = sqrt(gpt_square_sum(m->grads, m->count));
	if (!isfinite(norm))
		return fail(err, "step %lld: the gradient is not finite; try a smaller learning rate", (long long)t);
	if (o->clip > 0 && norm > (double)o->clip)
		s.clip = (float)((double)o->clip / norm);
	s.step = (float)((double)o->lr / (1 - pow((double)o->beta1, (double)t)));
	s.second = (float)(1 / sqrt(1 - pow((double)o->beta2, (double)t)));
	for (i = 0; i < m->n; i++) {
		size_t at = m->tensors[i].offset;

		s.keep = m->tensors[i].decay ? 1 - o->lr * o->decay : 1;
		gpt_adamw(m->params + at, m->grads + at, m->moments[0] + at, m->moments[1] + at, m->tensors[i].count, &s);
	}
	if (ret_norm)
		*ret_norm = (float)norm;
	return 0;
}

static void *cpu_grads(struct gpt_model *m)
{
	return m->grads;
}

static float *cpu_params(struct gpt_model *m)
{
	return m->params;
}

static float *cpu_moments(struct gpt_model *m, int k)
{
	return m->moments[k];
}

static int cpu_refresh(struct gpt_model *m, char *err)
{
	(void)m, (void)err; /* there are no copies */
	return 0;
}

static void *cpu_stream(struct gpt_model *m)
{
	(void)m;
	return NULL;
}

const struct gpt_device gpt_cpu = { "cpu", cpu_open, cpu_close, cpu_step, cpu_update, cpu_grads, cpu_params, cpu_moments, cpu_refresh,
	cpu_stream, sizeof(float), cpu_predict };
