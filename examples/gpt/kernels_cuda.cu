/* kernels_cuda.cu -- embeddings, layer norm, loss and AdamW (kernels_cuda.h). All are bound by memory: 16 bytes an access, each value read
 * once where that can be. */
#include "fragments_cuda.cuh"

#define EIGHT 8                /* values in an access */
#define LOG2E 1.4426950408889634f
#define LN2 0.6931471805599453f

static unsigned blocks_for(size_t n, size_t each)
{
	return (unsigned)((n + each - 1) / each);
}

/* --- embeddings --------------------------------------------------------------------------------------------------------------------- */

static __global__ void embed(bf16 *x, const int32_t *tokens, const bf16 *wte, const bf16 *wpe, size_t rows, int context, int channels)
{
	size_t i = ((size_t)blockIdx.x * blockDim.x + threadIdx.x) * EIGHT, row = i / channels;
	int column = (int)(i % channels);
	struct gpt_eight a, b;

	if (row >= rows)
		return;
	a = load8(wte + (size_t)tokens[row] * channels + column);
	b = load8(wpe + row % context * channels + column);
	for (int e = 0; e < EIGHT; e++)
		a.v[e] += b.v[e];
	store8(x + i, a.v);
}

static __global__ void embed_backward_positions(bf16 *dwpe, const bf16 *dx, int batch, int context, int channels)
{
	size_t i = ((size_t)blockIdx.x * blockDim.x + threadIdx.x) * EIGHT, sequence = (size_t)context * channels;
	struct gpt_eight sum = { };

	if (i >= sequence)
		return;
	for (int b = 0; b < batch; b++) {
		struct gpt_eight d = load8(dx + b * sequence + i);

		for (int e = 0; e < EIGHT; e++)
			sum.v[e] += d.v[e];
	}
	store8(dwpe + i, sum.v);
}

#define EMBED_WARPS 8
#define EMBED_COLUMNS (32 * EIGHT)

/* A block has one token and 256 columns; its warps take the token's rows in turn and are then added up in their order. */
static __global__ __launch_bounds__(EMBED_WARPS * 32) void embed_backward_tokens(bf16 *dwte, const bf16 *dx, struct gpt_cuda_places p,
	int channels)
{
	__shared__ float sums[EMBED_WARPS][EMBED_COLUMNS];
	int warp = threadIdx.x / 32, lane = threadIdx.x % 32, first = blockIdx.y * EMBED_COLUMNS, column = first + lane * EIGHT;
	struct gpt_eight sum = { };

	for (int i = p.starts[blockIdx.x] + warp; column < channels && i < p.starts[blockIdx.x + 1]; i += EMBED_WARPS) {
		struct gpt_eight d = load8(dx + (size_t)p.order[i] * channels + column);

		for (int e = 0; e < EIGHT; e++)
			sum.v[e] += d.v[e];
	}
	for (int e = 0; e < EIGHT; e++)
		sums[warp][lane * EIGHT + e] = sum.v[e];
	__syncthreads();
	column = first + threadIdx.x;
	if (column < channels) {
		bf16 *to = dwte + (size_t)p.token[blockIdx.x] * channels + column;
		float all = bf16_float(*to);

		for (int w = 0; w < EMBED_WARPS; w++)
			all += sums[w][threadIdx.x];
		*to = (bf16)bf16_pair(all, 0);
	}
}

void gpt_cuda_embed(bf16 *x, const int32_t *tokens, const bf16 *wte, const bf16 *wpe, struct gpt_cuda_shape s, cudaStream_t stream)
{
	size_t rows = (size_t)s.batch * s.context;

	LS_LAUNCH(embed, dim3(blocks_for(rows * s.channels, 256 * EIGHT)), dim3(256), 0, stream, x, tokens, wte, wpe, rows, s.context,
		s.channels);
}

void gpt_cuda_embed_backward(bf16 *dwte, bf16 *dwpe, const bf16 *dx, struct gpt_cuda_places p, struct gpt_cuda_shape s, cudaStream_t stream)
{
	LS_LAUNCH(embed_backward_positions, dim3(blocks_for((size_t)s.context * s.channels, 256 * EIGHT)), dim3(256), 0, stream, dwpe, dx,
		s.batch, s.context, s.channels);
	LS_LAUNCH(embed_backward_tokens, dim3(p.n, blocks_for(s.channels, EMBED_COLUMNS)), dim3(EMBED_WARPS * 32), 0, stream, dwte, dx, p,
		s.channels);
}

/* --- layer norm --------------------------------------------------------------------------------------------------------------------- */

#define NORM_WARPS 4

/* A warp has a row; the second and third look at it find it in the cache. */
static __global__ __launch_bounds__(NORM_WARPS * 32) void layernorm(bf16 *out, float *mean, float *rstd, const bf16 *x, const bf16 *weight,
	const bf16 *bias, int rows, int channels)
{
	int row = blockIdx.x * NORM_WARPS + threadIdx.x / 32, lane = threadIdx.x % 32;
	float sum = 0, squares = 0, average, scale;

	if (row >= rows)
		return;
	x += (size_t)row * channels;
	out += (size_t)row * channels;
	for (int c = lane * EIGHT; c < channels; c += 32 * EIGHT) {
		struct gpt_eight v = load8(x + c);

		for (int e = 0; e < EIGHT; e++)
			sum += v.v[e];
	}
	average = warp_sum(sum) / channels;
	for (int c = lane * EIGHT; c < channels; c += 32 * EIGHT) {
		struct gpt_eight v = load8(x + c);

		for (int e = 0; e < EIGHT; e++)
			squares += (v.v[e] - average) * (v.v[e] - average);
	}
	scale = rsqrtf(warp_sum(squares) / channels + 1e-5f);
	for (int c = lane * EIGHT; c < channels; c += 32 * EIGHT) {
		struct gpt_eight v = load8(x + c), w = load8(weight + c), b = load8(bias + c);

		for (int e = 0; e < EIGHT; e++)
			v.v[e] = (v.v[e] - average) * scale * w.v[e] + b.v[e];
		store8(out + c, v.v);
	}
	if (lane == 0) {
		mean[row] = average;
		rstd[row] = scale;
	}
}

#define BACK_ROWS 4            /* that a block has at a time */
#define BACK_MAX_WARPS 16

/* A thread has the same 8 columns of all rows of its block: it keeps their sums for weight and bias. The rows' own two sums meet in shared
 * memory, in one of two places in turn, so that one barrier for each turn is enough. parts: [blocks][2][channels]. */
static __global__ __launch_bounds__(BACK_MAX_WARPS * 32) void layernorm_backward(bf16 *dx, bool add, float *parts, const bf16 *dout,
	const bf16 *x, const bf16 *weight, const float *mean, const float *rstd, int rows, int channels)
{
	__shared__ float sums[2][BACK_ROWS][2][BACK_MAX_WARPS];
	const int column = threadIdx.x * EIGHT, warps = blockDim.x / 32;
	const bool mine = column < channels;
	struct gpt_eight w = { }, dw = { }, db = { };
	int turn = 0;

	if (mine)
		w = load8(weight + column);
	for (int first = blockIdx.x * BACK_ROWS; first < rows; first += gridDim.x * BACK_ROWS, turn ^= 1) {
		struct gpt_eight d[BACK_ROWS], normal[BACK_ROWS];

#pragma unroll
		for (int r = 0; r < BACK_ROWS; r++) {
			int row = first + r;
			float sum = 0, product = 0;

			d[r] = normal[r] = { };
			if (mine && row < rows) {
				float average = mean[row], scale = rstd[row];

				d[r] = load8(dout + (size_t)row * channels + column);
				normal[r] = load8(x + (size_t)row * channels + column);
#pragma unroll
				for (int e = 0; e < EIGHT; e++) {
					normal[r].v[e] = (normal[r].v[e] - average) * scale;
					dw.v[e] += d[r].v[e] * normal[r].v[e];
					db.v[e] += d[r].v[e];
					d[r].v[e] *= w.v[e];
					sum += d[r].v[e];
					product += d[r].v[e] * normal[r].v[e];
				}
			}
			sum = warp_sum(sum);
			product = warp_sum(product);
			if (threadIdx.x % 32 == 0) {
				sums[turn][r][0][threadIdx.x / 32] = sum;
				sums[turn][r][1][threadIdx.x / 32] = product;
			}
		}
		__syncthreads();
#pragma unroll
		for (int r = 0; r < BACK_ROWS; r++) {
			int row = first + r;
			float sum = 0, product = 0, scale;
			struct gpt_eight before = { };
			bf16 *to = dx + (size_t)row * channels + column;

			if (!mine || row >= rows)
				continue;
			for (int i = 0; i < warps; i++) {
				sum += sums[turn][r][0][i];
				product += sums[turn][r][1][i];
			}
			scale = rstd[row];
			if (add)
				before = load8(to);
#pragma unroll
			for (int e = 0; e < EIGHT; e++)
				before.v[e] += scale * (d[r].v[e] - (sum + normal[r].v[e] * product) / channels);
			store8(to, before.v);
		}
	}
	if (mine) {
		float *to = parts + (size_t)blockIdx.x * 2 * channels + column;

		for (int e = 0; e < EIGHT; e++) {
			to[e] = dw.v[e];
			to[channels + e] = db.v[e];
		}
	}
}

#define PARTS_ROWS 8

/* 32 columns and 8 runs of the parts a block. */
static __global__ void add_parts(bf16 *dweight, bf16 *dbias, const float *parts, int n, int channels)
{
	__shared__ float sums[PARTS_ROWS][32];
	int column = blockIdx.x * 32 + threadIdx.x;
	float sum = 0;

	for (int i = threadIdx.y; i < n; i += PARTS_ROWS)
		sum += parts[(size_t)i * 2 * channels + column];
	sums[threadIdx.y][threadIdx.x] = sum;
	__syncthreads();
	if (threadIdx.y > 0)
		return;
	for (int i = 1; i < PARTS_ROWS; i++)
		sum += sums[i][threadIdx.x];
	*(column < channels ? dweight + column : dbias + column - channels) = (bf16)bf16_pair(sum, 0);
}

void gpt_cuda_layernorm(bf16 *out, float *mean, float *rstd, const bf16 *x, const bf16 *weight, const bf16 *bias, int rows, int channels,
	cudaStream_t stream)
{
	LS_LAUNCH(layernorm, dim3(blocks_for(rows, NORM_WARPS)), dim3(NORM_WARPS * 32), 0, stream, out, mean, rstd, x, weight, bias, rows,
		channels);
}

void gpt_cuda_layernorm_backward(bf16 *dx, bool add, bf16 *dweight, bf16 *dbias, float *scratch, const bf16 *dout, const bf16 *x,
	const bf16 *weight, const float *mean, const float *rstd, int rows, int channels, cudaStream_t stream)
{
	unsigned blocks = blocks_for(rows, BACK_ROWS), threads = blocks_for(channels, 32 * EIGHT) * 32;

	if (blocks > GPT_CUDA_PARTS)
		blocks = GPT_CUDA_PARTS;
	LS_LAUNCH(layernorm_backward, dim3(blocks), dim3(threads), 0, stream, dx, add, scratch, dout, x, weight, mean, rstd, rows,
		channels);
	LS_LAUNCH(add_parts, dim3(2 * channels / 32), dim3(32, PARTS_ROWS), 0, stream, dweight, dbias, scratch, (int)blocks, channels);
}

/* --- loss --------------------------------------------------------------------------------------------------------------------------- */

#define CLASSIFY_WARPS 32      /* at most; a small vocabulary has fewer */

struct softmax { float top, sum; };    /* sum of 2^(x - top); top is the greatest */

static __device__ inline struct softmax join(struct softmax a, struct softmax b)
{
	float top = fmaxf(a.top, b.top);

	if (top == -INFINITY)
		return a;
	return { top, a.sum * exp2_approx(a.top - top) + b.sum * exp2_approx(b.top - top) };
}

static __device__ inline struct softmax join_warp(struct softmax s)
{
	for (int i = 16; i > 0; i /= 2)
		s = join(s, { __shfl_xor_sync(0xffffffffu, s.top, i), __shfl_xor_sync(0xffffffffu, s.sum, i) });
	return s;
}

/* Probabilities are never stored: the row's greatest and sum are found in one look, the gradient replaces the logits in a second, which finds
 * most of the row in L2. */
static __global__ __launch_bounds__(CLASSIFY_WARPS * 32) void classify(bf16 *logits, float *losses, const int32_t *targets, int vocab,
	int padded, float weight)
{
	__shared__ struct softmax warps[CLASSIFY_WARPS];
	const int target = targets[blockIdx.x], lane = threadIdx.x % 32;
	struct softmax s = { -INFINITY, 0 };
	float of_target, inverse;

	logits += (size_t)blockIdx.x * padded;
	for (int c = threadIdx.x * EIGHT; c < vocab; c += blockDim.x * EIGHT) {
		struct gpt_eight x = load8(logits + c);
		float top = -INFINITY, sum = 0;

#pragma unroll
		for (int e = 0; e < EIGHT; e++) {
			x.v[e] = c + e < vocab ? x.v[e] * LOG2E : -INFINITY;
			top = fmaxf(top, x.v[e]);
		}
#pragma unroll
		for (int e = 0; e < EIGHT; e++)
			sum += exp2_approx(x.v[e] - top);
		s = join(s, { top, sum });
	}
	s = join_warp(s);
	if (lane == 0)
		warps[threadIdx.x / 32] = s;
	__syncthreads();
	s = join_warp(lane < (int)blockDim.x / 32 ? warps[lane] : softmax{ -INFINITY, 0 });
	of_target = bf16_float(logits[target]) * LOG2E;
	inverse = 1 / s.sum;
	__syncthreads(); /* all have read the target's logit */
	if (threadIdx.x == 0)
		losses[blockIdx.x] = (s.top + log2f(s.sum) - of_target) * LN2;
	for (int c = threadIdx.x * EIGHT; c < padded; c += blockDim.x * EIGHT) {
		struct gpt_eight x = load8(logits + c);

#pragma unroll
		for (int e = 0; e < EIGHT; e++)
			x.v[e] = c + e < vocab ? (exp2_approx(x.v[e] * LOG2E - s.top) * inverse - (c + e == target)) * weight : 0;
		store8(logits + c, x.v);
	}
}

/* One block, of MEAN_THREADS. */
#define MEAN_THREADS 1024

static __device__ inline float block_sum(float v, float *warps)
{
	int warp = threadIdx.x / 32;
	float sum = 0;

	v = warp_sum(v);
	if (threadIdx.x % 32 == 0)
		warps[warp] = v;
	__syncthreads();
	for (int i = 0; i < (int)blockDim.x / 32; i++)
		sum += warps[i];
	return sum;
}

static __global__ __launch_bounds__(MEAN_THREADS) void mean_of(float *loss, const float *losses, int n)
{
	__shared__ float warps[MEAN_THREADS / 32];
	float sum = 0;

	for (int i = threadIdx.x; i < n; i += blockDim.x)
		sum += losses[i];
	sum = block_sum(sum, warps);
	if (threadIdx.x == 0)
		*loss = sum / n;
}

void gpt_cuda_classify(bf16 *logits, float *losses, float *loss, const int32_t *targets, int rows, int vocab, int padded,
	cudaStream_t stream)
{
	unsigned warps = blocks_for(padded, 32 * EIGHT);

	LS_LAUNCH(classify, dim3(rows), dim3((warps < CLASSIFY_WARPS ? warps : CLASSIFY_WARPS) * 32), 0, stream, logits, losses, targets,
		vocab, padded, 1 / (float)rows);
	LS_LAUNCH(mean_of, dim3(1), dim3(MEAN_THREADS), 0, stream, loss, losses, rows);
}

/* --- AdamW -------------------------------------------------------------------------------------------------------------------------- */

#define ADAMW_THREADS 256

static unsigned adamw_blocks(size_t n)
{
	size_t blocks = blocks_for(n, ADAMW_THREADS * EIGHT);

	return blocks < GPT_CUDA_NORM_PARTS ? (unsigned)blocks : GPT_CUDA_NORM_PARTS;
}

static __global__ void round_all(bf16 *to, const float *from, size_t n)
{
	size_t step = (size_t)gridDim.x * blockDim.x * EIGHT;

	for (size_t i = ((size_t)blockIdx.x * blockDim.x + threadIdx.x) * EIGHT; i < n; i += step)
		store8(to + i, from + i);
}

static __global__ __launch_bounds__(ADAMW_THREADS) void norm_parts(float *parts, const bf16 *grads, size_t n)
{
	__shared__ float warps[ADAMW_THREADS / 32];
	size_t step = (size_t)gridDim.x * blockDim.x * EIGHT;
	float sum = 0;

	for (size_t i = ((size_t)blockIdx.x * blockDim.x + threadIdx.x) * EIGHT; i < n; i += step) {
		struct gpt_eight g = load8(grads + i);

#pragma unroll
		for (int e = 0; e < EIGHT; e++)
			sum += g.v[e] * g.v[e];
	}
	sum = block_sum(sum, warps);
	if (threadIdx.x == 0)
		parts[blockIdx.x] = sum;
}

/* Every block adds up the parts of the norm by itself, in the same order: nobody waits for a host or for another block. */
static __global__ __launch_bounds__(ADAMW_THREADS) void adamw(struct gpt_cuda_update a)
{
	__shared__ float warps[ADAMW_THREADS / 32];
	size_t step = (size_t)gridDim.x * blockDim.x * EIGHT;
	float sum = 0, norm, scale = 1;

	for (int i = threadIdx.x; i < (int)gridDim.x; i += blockDim.x) /* norm_parts had as many blocks */
		sum += a.parts[i];
	norm = sqrtf(block_sum(sum, warps));
	if (a.clip > 0 && norm > a.clip)
		scale = a.clip / norm;
	if (blockIdx.x == 0 && threadIdx.x == 0)
		*a.norm = norm;
	if (!isfinite(norm))
		return; /* all blocks see the same norm: the state stays what it was */
	for (size_t i = ((size_t)blockIdx.x * blockDim.x + threadIdx.x) * EIGHT; i < a.n; i += step) {
		struct gpt_eight g = load8(a.grads + i), p = load8(a.params + i), m = load8(a.m + i), v = load8(a.v + i);
		float keep = a.decays[i / GPT_CUDA_CHUNK] ? 1 - a.lr * a.decay : 1;

#pragma unroll
		for (int e = 0; e < EIGHT; e++) {
			float d = g.v[e] * scale;

			m.v[e] += (1 - a.beta1) * (d - m.v[e]);
			v.v[e] += (1 - a.beta2) * (d * d - v.v[e]);
			p.v[e] = p.v[e] * keep - a.lr * (m.v[e] * a.unbias1) / (sqrtf(v.v[e] * a.unbias2) + a.eps);
		}
		store8(a.params + i, p.v);
		store8(a.m + i, m.v);
		store8(a.v + i, v.v);
		store8(a.rounded + i, p.v);
	}
}

void gpt_cuda_round(bf16 *to, const float *from, size_t n, cudaStream_t stream)
{
	LS_LAUNCH(round_all, dim3(adamw_blocks(n)), dim3(ADAMW_THREADS), 0, stream, to, from, n);
}

void gpt_cuda_adamw(const struct gpt_cuda_update *a, cudaStream_t stream)
{
	dim3 blocks(adamw_blocks(a->n));

	LS_LAUNCH(norm_parts, blocks, dim3(ADAMW_THREADS), 0, stream, a->parts, a->grads, a->n);
	LS_LAUNCH(adamw, blocks, dim3(ADAMW_THREADS), 0, stream, *a);
}
