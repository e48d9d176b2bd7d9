/* test_gpt_kernels.cc -- the kernels of examples/gpt on the CPU (tests/fake/fibre_cuda.h), each against plain loops in double.
 *
 * Inputs are bf16 values, random, other ones for each row. A result's error is ||got - want|| / ||want||. Rows with more `orders` run again,
 * with warps far apart, then with threads and blocks reversed: the bits must be the same, or a barrier is missing or a sum depends on the
 * order. Every buffer is its own allocation, so that AddressSanitizer sees what lies beyond, and begins as NaNs: what is not written shows. */
#include "examples/gpt/kernels_cuda.h"

#include <CUnit/Basic.h>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <vector>

typedef std::vector<double> reals;
typedef std::vector<bf16> halves;
typedef std::vector<float> floats;

static const char *const orders[] = { "forward", "alone", "reverse" };
static const float NOTHING = NAN;
static const bf16 NO_BF16 = 0x7fff;

static double widen(bf16 v)
{
	uint32_t bits = static_cast<uint32_t>(v) << 16;
	float f;

	memcpy(&f, &bits, 4);
	return f;
}

static bf16 narrow(double v)
{
	return __nv_bfloat16(v).bits;
}

static halves random_bf16(std::mt19937 &gen, size_t n, double mean = 0)
{
	std::normal_distribution<double> normal(mean, 1);
	halves v(n);

	for (bf16 &x : v)
		x = narrow(normal(gen));
	return v;
}

static double error_of(const reals &want, const std::function<double(size_t)> &got)
{
	double wrong = 0, all = 0;
	size_t i;

	for (i = 0; i < want.size(); i++) {
		wrong += (got(i) - want[i]) * (got(i) - want[i]);
		all += want[i] * want[i];
	}
	return std::sqrt(wrong / (all > 0 ? all : 1)); /* a NaN stays one */
}

static double error_of(const reals &want, const halves &got)
{
	return error_of(want, [&](size_t i) { return widen(got[i]); });
}

static double error_of(const reals &want, const floats &got)
{
	return error_of(want, [&](size_t i) { return got[i]; });
}

static bool within(const char *says, const char *what, double error, double limit)
{
	bool good = error <= limit; /* false for a NaN */

	if (!good)
		fprintf(stderr, "\n%s: %s is wrong by %.2e, at most %.0e is right\n", says, what, error, limit);
	CU_ASSERT(good);
	return good;
}

/* Runs it, in `n` orders; it returns its outputs' bytes. */
static void run_in_orders(const char *says, int n, const std::function<std::vector<unsigned char>()> &run)
{
	std::vector<unsigned char> first;

	for (int i = 0; i < n; i++) {
		const char *order = orders[i];

		setenv("FIBRE_ORDER", order, 1);
		std::vector<unsigned char> now = run();

		if (first.empty())
			first = now;
		if (now != first)
			fprintf(stderr, "\n%s: other bits in the order %s\n", says, order);
		CU_ASSERT(now == first);
	}
	setenv("FIBRE_ORDER", orders[0], 1);
}

template<class T> static void append(std::vector<unsigned char> &to, const std::vector<T> &v)
{
	const unsigned char *p = reinterpret_cast<const unsigned char *>(v.data());

	to.insert(to.end(), p, p + v.size() * sizeof(T));
}

/* --- attention ------------------------------------------------------------------------------------------------------------------- */

static const struct { const char *says; int batch, heads, context, orders; } attentions[] = {
	{ "one token",                               1, 1, 1,   3 },
	{ "one tile, exactly",                       2, 2, 64,  1 },
	{ "a tile and one token",                    1, 1, 65,  1 },
	{ "forward's tile of queries, exactly",      1, 1, 128, 1 },
	{ "three tiles, the last one short",         1, 1, 150, 2 },
	{ "several tiles of queries and of keys",    1, 1, 260, 2 },
};

struct attention { reals out, lse, dqkv; };

static void attend_head(struct attention *w, const halves &qkv, const halves &dout, struct gpt_cuda_shape s, int b, int h)
{
	const int heads = s.channels / GPT_CUDA_HEAD, C = s.channels, T = s.context;
	auto in = [&](int t, int part, int c) { return widen(qkv[((size_t)(b * T + t) * 3 + part) * C + h * GPT_CUDA_HEAD + c]); };
	auto d_in = [&](int t, int part, int c) -> double & {
		return w->dqkv[((size_t)(b * T + t) * 3 + part) * C + h * GPT_CUDA_HEAD + c];
	};
	auto row = [&](int t, int c) { return (size_t)(b * T + t) * C + h * GPT_CUDA_HEAD + c; };
	int q, k, c;

	for (q = 0; q < T; q++) {
		reals p(q + 1), dp(q + 1);
		double sum = 0, delta = 0;

		for (k = 0; k <= q; k++) {
			for (c = 0; c < GPT_CUDA_HEAD; c++)
				p[k] += in(q, 0, c) * in(k, 1, c) / 8;
			sum += p[k] = std::exp(p[k]);
		}
		w->lse[(size_t)(b * heads + h) * T + q] = std::log2(sum);
		for (k = 0; k <= q; k++) {
			p[k] /= sum;
			for (c = 0; c < GPT_CUDA_HEAD; c++) {
				w->out[row(q, c)] += p[k] * in(k, 2, c);
				dp[k] += widen(dout[row(q, c)]) * in(k, 2, c);
				d_in(k, 2, c) += p[k] * widen(dout[row(q, c)]);
			}
			delta += p[k] * dp[k];
		}
		for (k = 0; k <= q; k++) {
			for (c = 0; c < GPT_CUDA_HEAD; c++) {
				d_in(q, 0, c) += p[k] * (dp[k] - delta) * in(k, 1, c) / 8;
				d_in(k, 1, c) += p[k] * (dp[k] - delta) * in(q, 0, c) / 8;
			}
		}
	}
}

static void test_attention(void)
{
	std::mt19937 gen(1);

	for (const auto &r : attentions) {
		const struct gpt_cuda_shape s = { r.batch, r.context, r.heads * GPT_CUDA_HEAD };
		const size_t rows = (size_t)r.batch * r.context, n = rows * s.channels;
		const halves qkv = random_bf16(gen, 3 * n), dout = random_bf16(gen, n);
		struct attention want = { reals(n), reals(rows * r.heads), reals(3 * n) };
		halves out, dqkv;
		floats lse, delta;
		int b, h;

		for (b = 0; b < r.batch; b++)
			for (h = 0; h < r.heads; h++)
				attend_head(&want, qkv, dout, s, b, h);
		run_in_orders(r.says, r.orders, [&] {
			std::vector<unsigned char> all;

			out.assign(n, NO_BF16);
			dqkv.assign(3 * n, NO_BF16);
			lse.assign(rows * r.heads, NOTHING);
			delta.assign(rows * r.heads, NOTHING);
			gpt_cuda_attention(out.data(), lse.data(), qkv.data(), s, nullptr);
			gpt_cuda_attention_backward(dqkv.data(), delta.data(), dout.data(), out.data(), lse.data(), qkv.data(), s, nullptr);
			append(all, out);
			append(all, lse);
			append(all, dqkv);
			return all;
		});
		within(r.says, "out", error_of(want.out, out), 5e-3);
		within(r.says, "lse", error_of(want.lse, lse), 1e-5);
		within(r.says, "dqkv", error_of(want.dqkv, dqkv), 1e-2);
	}
}

/* A score far above the others: exp of it alone would overflow. */
static void test_attention_large_scores(void)
{
	const struct gpt_cuda_shape s = { 1, 70, GPT_CUDA_HEAD };
	const size_t n = (size_t)s.context * s.channels;
	std::mt19937 gen(2);
	halves qkv = random_bf16(gen, 3 * n), out(n, NO_BF16), dout = random_bf16(gen, n), dqkv(3 * n, NO_BF16);
	struct attention want = { reals(n), reals(s.context), reals(3 * n) };
	floats lse(s.context), delta(s.context);
	size_t i;

	for (i = 0; i < 3 * n; i += 3 * s.channels)
		for (int c = 0; c < 2 * s.channels; c++)
			qkv[i + c] = narrow(widen(qkv[i + c]) * 4);
	attend_head(&want, qkv, dout, s, 0, 0);
	gpt_cuda_attention(out.data(), lse.data(), qkv.data(), s, nullptr);
	gpt_cuda_attention_backward(dqkv.data(), delta.data(), dout.data(), out.data(), lse.data(), qkv.data(), s, nullptr);
	within("large scores", "out", error_of(want.out, out), 5e-3);
	within("large scores", "dqkv", error_of(want.dqkv, dqkv), 2e-2);
}

/* --- layer norm ------------------------------------------------------------------------------------------------------------------- */

static const struct { const char *says; int rows, channels; bool add; int orders; } norms[] = {
	{ "one row",                              1,    64,   false, 3 },
	{ "rows that are no multiple of a block", 7,    64,   true,  3 },
	{ "columns that are no multiple of 256",  9,    192,  true,  3 },
	{ "GPT-2's channels",                     33,   768,  true,  3 },
	{ "the most channels",                    6,    4096, false, 1 },
	{ "more rows than blocks have at once",   2051, 320,  true,  2 },
};

static void test_layernorm(void)
{
	std::mt19937 gen(3);

	for (const auto &r : norms) {
		const int C = r.channels;
		const size_t n = (size_t)r.rows * C;
		const halves x = random_bf16(gen, n, 0.5), w = random_bf16(gen, C, 1), bias = random_bf16(gen, C), dy = random_bf16(gen, n),
			before = random_bf16(gen, n);
		reals out(n), dx(n), dw(C), db(C);
		halves got_out, got_dx, got_dw, got_db;
		floats mean, rstd, scratch;

		for (int i = 0; i < r.rows; i++) {
			double m = 0, v = 0, a = 0, b = 0, scale;
			auto at = [&](const halves &from, int c) { return widen(from[(size_t)i * C + c]); };

			for (int c = 0; c < C; c++)
				m += at(x, c) / C;
			for (int c = 0; c < C; c++)
				v += (at(x, c) - m) * (at(x, c) - m) / C;
			scale = 1 / std::sqrt(v + 1e-5);
			for (int c = 0; c < C; c++) {
				double normal = (at(x, c) - m) * scale;

				out[(size_t)i * C + c] = normal * widen(w[c]) + widen(bias[c]);
				dw[c] += at(dy, c) * normal;
				db[c] += at(dy, c);
				a += at(dy, c) * widen(w[c]) / C;
				b += at(dy, c) * widen(w[c]) * normal / C;
			}
			for (int c = 0; c < C; c++)
				dx[(size_t)i * C + c] = scale * (at(dy, c) * widen(w[c]) - a - (at(x, c) - m) * scale * b) +
					(r.add ? at(before, c) : 0);
		}
		run_in_orders(r.says, r.orders, [&] {
			std::vector<unsigned char> all;

			got_out.assign(n, NO_BF16);
			got_dx = r.add ? before : halves(n, NO_BF16);
			got_dw.assign(C, NO_BF16);
			got_db.assign(C, NO_BF16);
			mean.assign(r.rows, NOTHING);
			rstd.assign(r.rows, NOTHING);
			scratch.assign((size_t)GPT_CUDA_PARTS * 2 * C, NOTHING);
			gpt_cuda_layernorm(got_out.data(), mean.data(), rstd.data(), x.data(), w.data(), bias.data(), r.rows, C, nullptr);
			gpt_cuda_layernorm_backward(got_dx.data(), r.add, got_dw.data(), got_db.data(), scratch.data(), dy.data(), x.data(),
				w.data(), mean.data(), rstd.data(), r.rows, C, nullptr);
			append(all, got_out);
			append(all, got_dx);
			append(all, got_dw);
			append(all, got_db);
			return all;
		});
		within(r.says, "out", error_of(out, got_out), 4e-3);
		within(r.says, "dx", error_of(dx, got_dx), 4e-3);
		within(r.says, "dweight", error_of(dw, got_dw), 4e-3);
		within(r.says, "dbias", error_of(db, got_db), 4e-3);
	}
}

/* --- embeddings --------------------------------------------------------------------------------------------------------------------- */

static const struct { const char *says; int batch, context, channels, vocab, orders; } embeddings[] = {
	{ "one token of one",                     1, 1,  64,  1,  1 },
	{ "each token several times",             3, 37, 64,  5,  3 },
	{ "columns that are no multiple of 256",  2, 9,  320, 50, 3 },
	{ "GPT-2's channels",                     2, 5,  768, 7,  1 },
};

static void test_embedding(void)
{
	std::mt19937 gen(4);

	for (const auto &r : embeddings) {
		const struct gpt_cuda_shape s = { r.batch, r.context, r.channels };
		const int rows = r.batch * r.context, C = r.channels;
		const halves wte = random_bf16(gen, (size_t)r.vocab * C), wpe = random_bf16(gen, (size_t)r.context * C),
			dx = random_bf16(gen, (size_t)rows * C);
		const halves dwte_before = random_bf16(gen, (size_t)r.vocab * C);
		std::vector<int32_t> tokens(rows), order, starts, which;
		reals x((size_t)rows * C), dwte((size_t)r.vocab * C), dwpe((size_t)r.context * C);
		halves got, got_dwte, got_dwpe;

		for (int32_t &t : tokens)
			t = static_cast<int32_t>(gen() % static_cast<unsigned>(r.vocab));
		for (size_t i = 0; i < dwte.size(); i++)
			dwte[i] = widen(dwte_before[i]);
		for (size_t i = 0; i < x.size(); i++) {
			size_t row = i / C, c = i % C;

			x[i] = widen(wte[tokens[row] * C + c]) + widen(wpe[row % r.context * C + c]);
			dwte[tokens[row] * C + c] += widen(dx[i]);
			dwpe[row % r.context * C + c] += widen(dx[i]);
		}
		for (int t = 0; t < r.vocab; t++) {
			size_t before = order.size();

			for (int i = 0; i < rows; i++)
				if (tokens[i] == t)
					order.push_back(i);
			if (order.size() == before)
				continue;
			which.push_back(t);
			starts.push_back(static_cast<int32_t>(before));
		}
		starts.push_back(rows);
		run_in_orders(r.says, r.orders, [&] {
			std::vector<unsigned char> all;

			got.assign(x.size(), NO_BF16);
			got_dwte = dwte_before;
			got_dwpe.assign(dwpe.size(), NO_BF16);
			gpt_cuda_embed(got.data(), tokens.data(), wte.data(), wpe.data(), s, nullptr);
			gpt_cuda_embed_backward(got_dwte.data(), got_dwpe.data(), dx.data(),
				{ order.data(), starts.data(), which.data(), static_cast<int>(which.size()) }, s, nullptr);
			append(all, got);
			append(all, got_dwte);
			append(all, got_dwpe);
			return all;
		});
		within(r.says, "x", error_of(x, got), 4e-3);
		within(r.says, "dwte", error_of(dwte, got_dwte), 4e-3);
		within(r.says, "dwpe", error_of(dwpe, got_dwpe), 4e-3);
	}
}

/* --- loss ----------------------------------------------------------------------------------------------------------------------------- */

static const struct { const char *says; int rows, vocab, padded; double spread; int orders; } losses[] = {
	{ "one class",                            2,  1,     128,   1,  1 },
	{ "no padding",                           3,  256,   256,   1,  3 },
	{ "padding within an access",             5,  257,   384,   1,  3 },
	{ "logits of which exp would overflow",   3,  1000,  1024,  60, 3 },
	{ "GPT-2's vocabulary",                   2,  50257, 50304, 1,  1 },
	{ "more rows than a block has threads",   1030, 9,   16,    1,  1 },
};

static void test_classify(void)
{
	std::mt19937 gen(5);

	for (const auto &r : losses) {
		halves logits = random_bf16(gen, (size_t)r.rows * r.padded), got;
		std::vector<int32_t> targets(r.rows);
		reals gradient(logits.size()), each(r.rows), loss(1);
		floats got_each, got_loss;

		for (int i = 0; i < r.rows; i++) {
			bf16 *row = &logits[(size_t)i * r.padded];
			double top = -INFINITY, sum = 0;

			targets[i] = static_cast<int32_t>(gen() % static_cast<unsigned>(r.vocab));
			for (int c = 0; c < r.padded; c++)
				row[c] = c < r.vocab ? narrow(widen(row[c]) * r.spread) : narrow(1e4); /* what is there must not count */
			for (int c = 0; c < r.vocab; c++)
				top = std::fmax(top, widen(row[c]));
			for (int c = 0; c < r.vocab; c++)
				sum += std::exp(widen(row[c]) - top);
			each[i] = top + std::log(sum) - widen(row[targets[i]]);
			loss[0] += each[i] / r.rows;
			for (int c = 0; c < r.vocab; c++)
				gradient[(size_t)i * r.padded + c] = (std::exp(widen(row[c]) - top) / sum - (c == targets[i])) / r.rows;
		}
		run_in_orders(r.says, r.orders, [&] {
			std::vector<unsigned char> all;

			got = logits;
			got_each.assign(r.rows, NOTHING);
			got_loss.assign(1, NOTHING);
			gpt_cuda_classify(got.data(), got_each.data(), got_loss.data(), targets.data(), r.rows, r.vocab, r.padded, nullptr);
			append(all, got);
			append(all, got_each);
			append(all, got_loss);
			return all;
		});
		within(r.says, "the gradient", error_of(gradient, got), 4e-3);
		within(r.says, "a row's loss", error_of(each, got_each), 1e-5);
		within(r.says, "the loss", error_of(loss, got_loss), 1e-5);
		for (size_t i = 0; i < got.size(); i++)
			if (i % r.padded >= static_cast<size_t>(r.vocab))
				CU_ASSERT(got[i] == 0);
	}
}

/* --- optimizer ------------------------------------------------------------------------------------------------------------------------ */

static const struct { const char *says; size_t n; float clip, decay; bool not_finite; } updates[] = {
	{ "one chunk",                        64,               0,    0.1f, false },
	{ "clipped",                          64 * 33,          0.5f, 0.1f, false },
	{ "a clip that is not reached",       64 * 33,          1e9f, 0,    false },
	{ "a gradient that is not finite",    64 * 3,           1,    0.1f, true  },
	{ "more than all threads at once",    GPT_CUDA_NORM_PARTS * 256 * 8 + 64 * 5, 1, 0.1f, false },
};

static void test_adamw(void)
{
	std::mt19937 gen(6);
	std::normal_distribution<float> normal;

	for (const auto &r : updates) {
		halves grads = random_bf16(gen, r.n), rounded(r.n, NO_BF16);
		floats p(r.n), m(r.n), v(r.n), parts(GPT_CUDA_NORM_PARTS, NOTHING), norm(1, NOTHING);
		std::vector<uint8_t> decays(r.n / GPT_CUDA_CHUNK);
		reals want_p(r.n), want_m(r.n), want_v(r.n), want_norm(1);
		struct gpt_cuda_update u = { p.data(), m.data(), v.data(), rounded.data(), grads.data(), decays.data(), r.n, parts.data(),
			norm.data(), 0.01f, 0.9f, 0.95f, 1e-8f, r.decay, r.clip, 1 / (1 - 0.81f), 1 / (1 - 0.9025f) };
		double scale;
		size_t i;

		for (i = 0; i < decays.size(); i++)
			decays[i] = gen() % 2;
		if (r.not_finite)
			grads[r.n - 1] = 0x7f80;
		for (i = 0; i < r.n; i++) {
			p[i] = normal(gen);
			m[i] = normal(gen);
			v[i] = normal(gen) * normal(gen);
			v[i] = v[i] < 0 ? -v[i] : v[i];
			want_norm[0] += widen(grads[i]) * widen(grads[i]);
		}
		want_norm[0] = std::sqrt(want_norm[0]);
		scale = r.clip > 0 && want_norm[0] > r.clip ? r.clip / want_norm[0] : 1;
		for (i = 0; i < r.n; i++) {
			double g = widen(grads[i]) * scale;

			want_m[i] = 0.9f * (double)m[i] + (1 - 0.9f) * g;
			want_v[i] = 0.95f * (double)v[i] + (1 - 0.95f) * g * g;
			want_p[i] = p[i] * (decays[i / GPT_CUDA_CHUNK] ? 1 - 0.01 * r.decay : 1) -
				0.01 * (want_m[i] / (1 - 0.81)) / (std::sqrt(want_v[i] / (1 - 0.9025)) + 1e-8);
		}
		if (r.not_finite) {
			want_p.assign(p.begin(), p.end());
			want_m.assign(m.begin(), m.end());
			want_v.assign(v.begin(), v.end());
		}
		gpt_cuda_adamw(&u, nullptr);
		CU_ASSERT(std::isfinite(norm[0]) == !r.not_finite);
		if (!r.not_finite)
			within(r.says, "the norm", error_of(want_norm, norm), 1e-5);
		within(r.says, "parameters", error_of(want_p, p), 1e-6);
		within(r.says, "first moments", error_of(want_m, m), 1e-6);
		within(r.says, "second moments", error_of(want_v, v), 1e-6);
		for (i = 0; i < r.n && !r.not_finite; i++)
			if (rounded[i] != narrow(p[i]))
				break;
		CU_ASSERT(r.not_finite || i == r.n);
		gpt_cuda_round(rounded.data(), p.data(), r.n, nullptr);
		for (i = 0; i < r.n && rounded[i] == narrow(p[i]); i++)
			;
		CU_ASSERT(i == r.n);
	}
}

int main(void)
{
	unsigned failed;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	CU_pSuite suite = CU_add_suite("gpt_kernels", nullptr, nullptr);

	CU_add_test(suite, "attention, forward and backward", test_attention);
	CU_add_test(suite, "attention with large scores", test_attention_large_scores);
	CU_add_test(suite, "layer norm, forward and backward", test_layernorm);
	CU_add_test(suite, "embeddings, forward and backward", test_embedding);
	CU_add_test(suite, "softmax and cross-entropy", test_classify);
	CU_add_test(suite, "AdamW, clipping, rounding", test_adamw);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed != 0;
}
