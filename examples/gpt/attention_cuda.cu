/* attention_cuda.cu -- causal attention without ever storing the scores, for heads of 64 channels (FlashAttention, Dao et al. 2022 and 2023).
 *
 * A block has 4 warps; each warp owns 16 or 32 rows of its block's tile and keeps their results in registers, while tiles of the other side
 * stream through shared memory, the next one on its way while one is used. Forward: rows are queries; it keeps, for each, the binary
 * logarithm of the softmax's denominator (lse), from which backward makes the probabilities again.
 *
 * Backward has two kernels: one by queries for dQ, one by keys for dK and dV. Each makes the scores anew: 7 products instead of the 5 of
 * one kernel that adds up dQ by atomics. In return no sum depends on the order in which blocks run: the same bits in every run.
 *
 * Rows past the end of the sequence are read as zeros and not written. Scores are in units of log 2. */
#include "fragments_cuda.cuh"

#define TILE 64
#define HEAD GPT_CUDA_HEAD
#define WARPS 4
#define THREADS (WARPS * 32)
#define LOG2E 1.4426950408889634f

struct rows { const bf16 *at; size_t stride; int end; }; /* of one head: row i is at + i * stride, up to `end` */

/* Of a tile's element in shared memory; columns in steps of 8. The order of a row's 16-byte pieces turns with the row: the 8 rows that
 * ldmatrix reads at once are in different banks. */
static __device__ inline int place(int row, int column)
{
	return row * HEAD + (column / 8 ^ row % 8) * 8;
}

template<int ROWS> static __device__ inline void load_tile(bf16 *tile, struct rows from, int first)
{
#pragma unroll
	for (int i = threadIdx.x; i < ROWS * HEAD / 8; i += THREADS) {
		int row = i / (HEAD / 8), column = i % (HEAD / 8) * 8;
		bool there = first + row < from.end;

		cp_async16(tile + place(row, column), from.at + (size_t)(there ? first + row : 0) * from.stride + column, there);
	}
}

/* A: 16 rows by 16 columns. */
static __device__ inline void load_a(uint32_t a[4], const bf16 *tile, int row, int column)
{
	int lane = threadIdx.x % 32;

	ldmatrix_x4(a, tile + place(row + lane % 16, column + lane / 16 * 8));
}

/* B of a product with the tile's transpose: 16 of its rows are two fragments' columns. */
static __device__ inline void load_b_of_transposed(uint32_t b[4], const bf16 *tile, int row, int column)
{
	int lane = threadIdx.x % 32;

	ldmatrix_x4(b, tile + place(row + lane / 16 * 8 + lane % 8, column + lane / 8 % 2 * 8));
}

/* B of a product with the tile itself: 16 of its columns are two fragments'. */
static __device__ inline void load_b(uint32_t b[4], const bf16 *tile, int row, int column)
{
	int lane = threadIdx.x % 32;

	ldmatrix_x4_trans(b, tile + place(row + lane % 16, column + lane / 16 * 8));
}

/* d[16][64] = a[16][64] * transpose of tile[64][64] */
static __device__ inline void multiply_transposed(float d[8][4], const uint32_t a[4][4], const bf16 *tile)
{
#pragma unroll
	for (int n = 0; n < 8; n++)
		d[n][0] = d[n][1] = d[n][2] = d[n][3] = 0;
#pragma unroll
	for (int k = 0; k < 4; k++) {
#pragma unroll
		for (int n = 0; n < 4; n++) {
			uint32_t b[4];

			load_b_of_transposed(b, tile, 16 * n, 16 * k);
			mma_16816(d[2 * n], a[k], b);
			mma_16816(d[2 * n + 1], a[k], b + 2);
		}
	}
}

/* Results of a product become the A of the next one: the layouts agree. */
static __device__ inline void make_a(uint32_t a[4], const float even[4], const float odd[4])
{
	a[0] = bf16_pair(even[0], even[1]);
	a[1] = bf16_pair(even[2], even[3]);
	a[2] = bf16_pair(odd[0], odd[1]);
	a[3] = bf16_pair(odd[2], odd[3]);
}

/* d[16][64] += p[16][64] * tile[64][64] */
static __device__ inline void multiply_add(float d[8][4], const float p[8][4], const bf16 *tile)
{
#pragma unroll
	for (int k = 0; k < 4; k++) {
		uint32_t a[4], b[4];

		make_a(a, p[2 * k], p[2 * k + 1]);
#pragma unroll
		for (int n = 0; n < 4; n++) {
			load_b(b, tile, 16 * k, 16 * n);
			mma_16816(d[2 * n], a, b);
			mma_16816(d[2 * n + 1], a, b + 2);
		}
	}
}

/* 16 rows of results from `first` on. */
static __device__ inline void store_rows(bf16 *at, size_t stride, int first, int end, const float d[8][4], float low, float high)
{
	int lane = threadIdx.x % 32, row = first + lane / 4;

#pragma unroll
	for (int n = 0; n < 8; n++) {
		bf16 *p = at + (size_t)row * stride + 8 * n + lane % 4 * 2;

		if (row < end)
			*(uint32_t *)p = bf16_pair(d[n][0] * low, d[n][1] * low);
		if (row + 8 < end)
			*(uint32_t *)(p + 8 * stride) = bf16_pair(d[n][2] * high, d[n][3] * high);
	}
}

/* A lane's value i of fragment n is of this row and column of 16 x 64 (fragments_cuda.cuh). */
static __device__ inline int row_of(int i)
{
	return threadIdx.x % 32 / 4 + i / 2 * 8;
}

static __device__ inline int column_of(int n, int i)
{
	return 8 * n + threadIdx.x % 4 * 2 + i % 2;
}

static __device__ inline float over_row(float v, bool greatest) /* the 4 lanes that share a row */
{
#pragma unroll
	for (int i = 1; i < 4; i *= 2) {
		float other = __shfl_xor_sync(0xffffffffu, v, i);

		v = greatest ? fmaxf(v, other) : v + other;
	}
	return v;
}

/* --- forward --------------------------------------------------------------------------------------------------------------------- */

/* Of 16 queries: what the tiles so far gave. `sum` is of the lane's own columns until the end. */
struct running { float out[8][4], top[2], sum[2]; };

/* Softmax of a tile's scores s, in place, with what came before made smaller by as much as the maximum grew. Key 0 is never masked and in
 * the first tile: from then on `top` is finite. */
static __device__ inline void soften(float s[8][4], struct running *r, float scale)
{
#pragma unroll
	for (int h = 0; h < 2; h++) {
		float top = -INFINITY, sum = 0, shrink;

#pragma unroll
		for (int n = 0; n < 8; n++)
			top = fmaxf(top, fmaxf(s[n][2 * h], s[n][2 * h + 1]));
		top = fmaxf(r->top[h], over_row(top, true) * scale);
		shrink = exp2_approx(r->top[h] - top);
#pragma unroll
		for (int n = 0; n < 8; n++) {
#pragma unroll
			for (int i = 2 * h; i < 2 * h + 2; i++) {
				s[n][i] = exp2_approx(s[n][i] * scale - top);
				sum += s[n][i];
				r->out[n][i] *= shrink;
			}
		}
		r->sum[h] = r->sum[h] * shrink + sum;
		r->top[h] = top;
	}
}

/* `first`: of the warp's 16 queries, `key`: of the tile's keys. */
static __device__ inline void mask(float s[8][4], int first, int key)
{
	if (key + TILE - 1 <= first)
		return;
#pragma unroll
	for (int n = 0; n < 8; n++) {
#pragma unroll
		for (int i = 0; i < 4; i++)
			s[n][i] = key + column_of(n, i) > first + row_of(i) ? -INFINITY : s[n][i];
	}
}

/* Each warp has M times 16 queries: a fragment of K or V that was read from shared memory serves M products. */
template<int M> static __device__ inline void forward_tile(struct running r[M], const uint32_t q[M][4][4], const bf16 *k, const bf16 *v,
	int first, int key, float scale)
{
	float s[M][8][4] = { };

#pragma unroll
	for (int i = 0; i < 4; i++) {
#pragma unroll
		for (int n = 0; n < 4; n++) {
			uint32_t b[4];

			load_b_of_transposed(b, k, 16 * n, 16 * i);
#pragma unroll
			for (int m = 0; m < M; m++) {
				mma_16816(s[m][2 * n], q[m][i], b);
				mma_16816(s[m][2 * n + 1], q[m][i], b + 2);
			}
		}
	}
#pragma unroll
	for (int m = 0; m < M; m++) {
		mask(s[m], first + 16 * m, key);
		soften(s[m], &r[m], scale);
	}
#pragma unroll
	for (int i = 0; i < 4; i++) {
		uint32_t a[M][4];

#pragma unroll
		for (int m = 0; m < M; m++)
			make_a(a[m], s[m][2 * i], s[m][2 * i + 1]);
#pragma unroll
		for (int n = 0; n < 4; n++) {
			uint32_t b[4];

			load_b(b, v, 16 * i, 16 * n);
#pragma unroll
			for (int m = 0; m < M; m++) {
				mma_16816(r[m].out[2 * n], a[m], b);
				mma_16816(r[m].out[2 * n + 1], a[m], b + 2);
			}
		}
	}
}

static __device__ inline void finish(struct running *r, bf16 *out, float *lse, int first, int context, size_t stride)
{
	float inverse[2];

#pragma unroll
	for (int h = 0; h < 2; h++) {
		float sum = over_row(r->sum[h], false);
		int row = first + row_of(2 * h);

		inverse[h] = 1 / sum;
		if (threadIdx.x % 4 == 0 && row < context)
			lse[row] = r->top[h] + log2f(sum);
	}
	store_rows(out, stride, first, context, r->out, inverse[0], inverse[1]);
}

/* Heads of one token lie side by side in qkv [batch][context][3][heads][64] and out [batch][context][heads][64]; lse [batch][heads][context].
 * Blocks with the most keys come first, so that the last to end are short ones. */
template<int M> static __global__ __launch_bounds__(THREADS) void attention_forward(bf16 *out, float *lse, const bf16 *qkv, int context,
	int channels, float scale)
{
	__shared__ __align__(16) bf16 k[2][TILE * HEAD];
	__shared__ __align__(16) bf16 v[2][TILE * HEAD];
	const int rows = WARPS * 16 * M, tile = gridDim.x - 1 - blockIdx.x, begin = tile * rows, first = begin + threadIdx.x / 32 * 16 * M;
	const size_t stride = 3 * (size_t)channels;
	const bf16 *head = qkv + (size_t)blockIdx.z * context * stride + blockIdx.y * HEAD;
	const struct rows queries = { head, stride, context }, keys = { head + channels, stride, context },
		values = { head + 2 * channels, stride, context };
	const int tiles = (min(begin + rows, context) + TILE - 1) / TILE;
	uint32_t q[M][4][4];
	struct running r[M];

	static_assert(WARPS * 16 * M <= 2 * TILE, "the queries pass through k");
	load_tile<WARPS * 16 * M>(k[0], queries, begin);
	cp_async_commit();
	cp_async_wait<0>();
	__syncthreads();
#pragma unroll
	for (int m = 0; m < M; m++) {
#pragma unroll
		for (int i = 0; i < 4; i++)
			load_a(q[m][i], k[0], first - begin + 16 * m, 16 * i);
#pragma unroll
		for (int n = 0; n < 8; n++)
			r[m].out[n][0] = r[m].out[n][1] = r[m].out[n][2] = r[m].out[n][3] = 0;
		r[m].top[0] = r[m].top[1] = -INFINITY;
		r[m].sum[0] = r[m].sum[1] = 0;
	}
	__syncthreads(); /* all have their queries: k may be overwritten */

	load_tile<TILE>(k[0], keys, 0);
	load_tile<TILE>(v[0], values, 0);
	cp_async_commit();
	for (int j = 0; j < tiles; j++) {
		if (j + 1 < tiles) {
			load_tile<TILE>(k[(j + 1) % 2], keys, (j + 1) * TILE);
			load_tile<TILE>(v[(j + 1) % 2], values, (j + 1) * TILE);
		}
		cp_async_commit();
		cp_async_wait<1>(); /* the newest group may be empty; the one before it is this tile */
		__syncthreads();
		if (j * TILE < first + 16 * M)
			forward_tile<M>(r, q, k[j % 2], v[j % 2], first, j * TILE, scale);
		__syncthreads(); /* all are done with this tile: its place takes the one after the next */
	}
	out += (size_t)blockIdx.z * context * channels + blockIdx.y * HEAD;
	lse += ((size_t)blockIdx.z * gridDim.y + blockIdx.y) * context;
#pragma unroll
	for (int m = 0; m < M; m++)
		finish(&r[m], out, lse, first + 16 * m, context, channels);
}

/* --- backward -------------------------------------------------------------------------------------------------------------------- */

/* dQ of 64 queries; before it delta = sum over a head's channels of out times dout, which the other kernel needs as well. */
static __global__ __launch_bounds__(THREADS) void attention_backward_q(bf16 *dqkv, float *delta, const bf16 *dout, const bf16 *out,
	const float *lse, const bf16 *qkv, int context, int channels, float scale)
{
	__shared__ __align__(16) bf16 k[2][TILE * HEAD];
	__shared__ __align__(16) bf16 v[2][TILE * HEAD];
	__shared__ float deltas[TILE];
	const int begin = (gridDim.x - 1 - blockIdx.x) * TILE, own = threadIdx.x / 32 * 16, first = begin + own;
	const size_t stride = 3 * (size_t)channels, sequence = (size_t)blockIdx.z * context;
	const bf16 *head = qkv + sequence * stride + blockIdx.y * HEAD;
	const struct rows queries = { head, stride, context }, keys = { head + channels, stride, context },
		values = { head + 2 * channels, stride, context };
	const size_t out_head = sequence * channels + blockIdx.y * HEAD, row_head = ((size_t)blockIdx.z * gridDim.y + blockIdx.y) * context;
	const int tiles = (min(begin + TILE, context) + TILE - 1) / TILE;
	const struct rows douts = { dout + out_head, (size_t)channels, context };
	uint32_t q[4][4], d[4][4];
	float dq[8][4] = { }, lse_of[2], delta_of[2];

	load_tile<TILE>(k[0], queries, begin);
	load_tile<TILE>(k[1], douts, begin);
	cp_async_commit();
	{ /* two threads for a row */
		int row = begin + threadIdx.x / 2;
		size_t at = out_head + (size_t)row * channels + threadIdx.x % 2 * 32;
		float sum = 0;

		for (int i = 0; row < context && i < 32; i += 8) {
			struct gpt_eight a = load8(out + at + i), b = load8(dout + at + i);

			for (int e = 0; e < 8; e++)
				sum += a.v[e] * b.v[e];
		}
		sum += __shfl_xor_sync(0xffffffffu, sum, 1);
		deltas[threadIdx.x / 2] = sum;
		if (row < context && threadIdx.x % 2 == 0)
			delta[row_head + row] = sum;
	}
	cp_async_wait<0>();
	__syncthreads();
#pragma unroll
	for (int i = 0; i < 4; i++) {
		load_a(q[i], k[0], own, 16 * i);
		load_a(d[i], k[1], own, 16 * i);
	}
#pragma unroll
	for (int h = 0; h < 2; h++) {
		int row = row_of(2 * h);

		lse_of[h] = first + row < context ? lse[row_head + first + row] : INFINITY;
		delta_of[h] = deltas[own + row];
	}
	__syncthreads();

	load_tile<TILE>(k[0], keys, 0);
	load_tile<TILE>(v[0], values, 0);
	cp_async_commit();
	for (int j = 0; j < tiles; j++) {
		float s[8][4], dp[8][4];

		if (j + 1 < tiles) {
			load_tile<TILE>(k[(j + 1) % 2], keys, (j + 1) * TILE);
			load_tile<TILE>(v[(j + 1) % 2], values, (j + 1) * TILE);
		}
		cp_async_commit();
		cp_async_wait<1>();
		__syncthreads();
		multiply_transposed(s, q, k[j % 2]);
		mask(s, first, j * TILE);
		multiply_transposed(dp, d, v[j % 2]);
#pragma unroll
		for (int n = 0; n < 8; n++) {
#pragma unroll
			for (int i = 0; i < 4; i++)
				s[n][i] = exp2_approx(s[n][i] * (scale * LOG2E) - lse_of[i / 2]) * (dp[n][i] - delta_of[i / 2]);
		}
		multiply_add(dq, s, k[j % 2]);
		__syncthreads();
	}
	store_rows(dqkv + sequence * stride + blockIdx.y * HEAD, stride, first, context, dq, scale, scale);
}

/* dK and dV of 64 keys: all products are of transposed scores, keys by queries. A query past the end has lse infinite: probability 0. */
static __global__ __launch_bounds__(THREADS) void attention_backward_kv(bf16 *dqkv, const float *delta, const bf16 *dout, const float *lse,
	const bf16 *qkv, int context, int channels, float scale)
{
	__shared__ __align__(16) bf16 q[2][TILE * HEAD];
	__shared__ __align__(16) bf16 d[2][TILE * HEAD];
	__shared__ float lses[2][TILE], deltas[2][TILE];
	const int begin = blockIdx.x * TILE, own = threadIdx.x / 32 * 16, first = begin + own;
	const size_t stride = 3 * (size_t)channels, sequence = (size_t)blockIdx.z * context;
	const bf16 *head = qkv + sequence * stride + blockIdx.y * HEAD;
	const struct rows queries = { head, stride, context }, keys = { head + channels, stride, context },
		values = { head + 2 * channels, stride, context },
		douts = { dout + sequence * channels + blockIdx.y * HEAD, (size_t)channels, context };
	const int tiles = (context + TILE - 1) / TILE;
	bf16 *result = dqkv + sequence * stride + blockIdx.y * HEAD;
	uint32_t k[4][4], v[4][4];
	float dk[8][4] = { }, dv[8][4] = { };

	lse += ((size_t)blockIdx.z * gridDim.y + blockIdx.y) * context;
	delta += ((size_t)blockIdx.z * gridDim.y + blockIdx.y) * context;
	load_tile<TILE>(q[0], keys, begin);
	load_tile<TILE>(q[1], values, begin);
	cp_async_commit();
	cp_async_wait<0>();
	__syncthreads();
#pragma unroll
	for (int i = 0; i < 4; i++) {
		load_a(k[i], q[0], own, 16 * i);
		load_a(v[i], q[1], own, 16 * i);
	}
	__syncthreads();

	for (int j = blockIdx.x - 1; j < tiles; j++) { /* the first turn only loads */
		float p[8][4], dp[8][4];

		if (j + 1 < tiles) {
			int next = (j + 1) % 2, row = (j + 1) * TILE + threadIdx.x % TILE;

			load_tile<TILE>(q[next], queries, (j + 1) * TILE);
			load_tile<TILE>(d[next], douts, (j + 1) * TILE);
			if (threadIdx.x < TILE)
				lses[next][threadIdx.x] = row < context ? lse[row] : INFINITY;
			else
				deltas[next][threadIdx.x - TILE] = row < context ? delta[row] : 0;
		}
		cp_async_commit();
		if (j < (int)blockIdx.x)
			continue;
		cp_async_wait<1>();
		__syncthreads();
		multiply_transposed(p, k, q[j % 2]);
#pragma unroll
		for (int n = 0; n < 8; n++) {
#pragma unroll
			for (int i = 0; i < 4; i++) {
				bool later = first + row_of(i) > j * TILE + column_of(n, i); /* a key that the query must not see */

				p[n][i] = later ? 0 : exp2_approx(p[n][i] * (scale * LOG2E) - lses[j % 2][column_of(n, i)]);
			}
		}
		multiply_add(dv, p, d[j % 2]);
		multiply_transposed(dp, v, d[j % 2]);
#pragma unroll
		for (int n = 0; n < 8; n++) {
#pragma unroll
			for (int i = 0; i < 4; i++)
				p[n][i] *= dp[n][i] - deltas[j % 2][column_of(n, i)];
		}
		multiply_add(dk, p, q[j % 2]);
		__syncthreads();
	}
	store_rows(result + channels, stride, first, context, dk, scale, scale);
	store_rows(result + 2 * channels, stride, first, context, dv, 1, 1);
}

/* --- launches -------------------------------------------------------------------------------------------------------------------- */

static float scale_of_head(void)
{
	return 1 / sqrtf((float)HEAD);
}

void gpt_cuda_attention(bf16 *out, float *lse, const bf16 *qkv, struct gpt_cuda_shape s, cudaStream_t stream)
{
	const int rows = WARPS * 16 * 2;

	LS_LAUNCH(attention_forward<2>, dim3((s.context + rows - 1) / rows, s.channels / HEAD, s.batch), dim3(THREADS), 0, stream, out, lse,
		qkv, s.context, s.channels, scale_of_head() * LOG2E);
}

void gpt_cuda_attention_backward(bf16 *dqkv, float *delta, const bf16 *dout, const bf16 *out, const float *lse, const bf16 *qkv,
	struct gpt_cuda_shape s, cudaStream_t stream)
{
	dim3 grid((s.context + TILE - 1) / TILE, s.channels / HEAD, s.batch);

	LS_LAUNCH(attention_backward_q, grid, dim3(THREADS), 0, stream, dqkv, delta, dout, out, lse, qkv, s.context, s.channels,
		scale_of_head());
	LS_LAUNCH(attention_backward_kv, grid, dim3(THREADS), 0, stream, dqkv, delta, dout, lse, qkv, s.context, s.channels,
		scale_of_head());
}
