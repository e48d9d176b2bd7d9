/* test_gpt_cuda.cc -- examples/gpt's CUDA device on the CPU, against its CPU device: loss, gradients, AdamW, logits, and what it refuses.
 *
 * The kernels run as fibres, CUDA's runtime and cuBLASLt are tests/fake/cudart and cublaslt_cuda.cc. Both devices begin with weights that
 * bf16 has: what differs is the rounding on the way. A tensor's error is ||cuda - cpu|| / ||cpu||. */
extern "C" {
#define GPT_CUDA
#include "examples/gpt/gpt.h"
}
#include "examples/gpt/kernels_cuda.h"

#include <CUnit/Basic.h>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

static const struct { const char *says; struct gpt_config config; int batch; size_t bucket_bytes; } models[] = {
	/* layers, heads, channels, vocabulary, context */
	{ "padding of the vocabulary in wpe's place",       { 2, 2, 128, 257, 130 }, 1, 100000 },
	{ "a context too short for padding, odd rows",      { 2, 3, 192, 250, 5   }, 3, 1      },
	{ "a vocabulary without padding, one bucket",       { 1, 1, 64,  256, 33  }, 1, 1u << 30 },
};

static float widen(bf16 v)
{
	uint32_t bits = static_cast<uint32_t>(v) << 16;
	float f;

	memcpy(&f, &bits, 4);
	return f;
}

struct pair {                  /* the same model on both devices */
	struct gpt_tensor *tensors = nullptr;
	struct gpt_bucket *buckets = nullptr;
	size_t count = 0;
	int n = 0, made = 0, rows = 0;
	struct gpt_model *cpu = nullptr, *cuda = nullptr;
	std::vector<int32_t> tokens, targets;
	std::vector<int> ready;
	char err[512] = "";

	pair(const struct gpt_config &c, int batch, size_t bucket_bytes)
	{
		std::vector<float> params;

		n = gpt_tensors(&c, &tensors, &count);
		made = gpt_buckets(&c, tensors, n, bucket_bytes, sizeof(bf16), &buckets);
		params.resize(count);
		gpt_init(&c, tensors, n, 7, params.data());
		for (float &p : params)
			p = __nv_bfloat16(p * 4); /* larger than at first: attention and GELU are far from linear */
		for (int i = 0; i < n; i++)
			if (strstr(tensors[i].name, "ln_")) /* first values are 1 and 0: too simple */
				for (size_t k = 0; k < tensors[i].count; k++) {
					float &p = params[tensors[i].offset + k];

					p = __nv_bfloat16(p / 4 + 0.01f * static_cast<float>(k % 17));
				}
		rows = batch * c.context;
		for (int i = 0; i < rows; i++) {
			tokens.push_back(i * i % 31 % c.vocab);
			targets.push_back((i * 7 + 3) % c.vocab);
		}
		if (gpt_cpu.open(&c, batch, params.data(), nullptr, nullptr, &cpu, err) ||
			gpt_cuda.open(&c, batch, params.data(), nullptr, nullptr, &cuda, err))
			fprintf(stderr, "\n%s\n", err);
		CU_ASSERT_FATAL(cpu && cuda);
	}

	~pair()
	{
		gpt_cpu.close(cpu);
		gpt_cuda.close(cuda);
		free(tensors);
		free(buckets);
	}

	const bf16 *grads() { return static_cast<const bf16 *>(gpt_cuda.grads(cuda)); }
};

static void is_ready(void *ctx, int bucket)
{
	static_cast<struct pair *>(ctx)->ready.push_back(bucket);
}

static double error_of(const float *want, const float *got, const bf16 *got16, size_t n)
{
	double wrong = 0, all = 0;

	for (size_t i = 0; i < n; i++) {
		double d = static_cast<double>(got ? got[i] : widen(got16[i])) - static_cast<double>(want[i]);

		wrong += d * d;
		all += static_cast<double>(want[i]) * static_cast<double>(want[i]);
	}
	return std::sqrt(wrong / (all > 0 ? all : 1));
}

static void within(const char *says, const char *what, double error, double limit)
{
	bool good = error <= limit; /* false for a NaN */

	if (!good || getenv("GPT_CUDA_ERRORS"))
		fprintf(stderr, "%s: %s: error %.2e, at most %.0e is right\n", says, what, error, limit);
	CU_ASSERT(good);
}

static void compare_gradients(const char *says, struct pair *p)
{
	const float *want = static_cast<const float *>(gpt_cpu.grads(p->cpu));

	for (int i = 0; i < p->n; i++) {
		const struct gpt_tensor *t = &p->tensors[i];
		/* A key's bias shifts all scores of a query alike: its gradient is 0 but for rounding. */
		bool keys = strstr(t->name, "c_attn.bias");
		size_t third = t->count / 3;

		for (int part = 0; part < (keys ? 3 : 1); part++)
			if (!keys || part != 1)
				within(says, t->name, error_of(want + t->offset + part * third, nullptr,
					p->grads() + t->offset + part * third, keys ? third : t->count), 2e-2);
	}
	for (int i = 0; i + 1 < p->n; i++)
		for (size_t k = p->tensors[i].offset + p->tensors[i].count; k < p->tensors[i + 1].offset; k++)
			CU_ASSERT(p->grads()[k] == 0); /* the gaps */
}

static void test_step(void)
{
	for (const auto &r : models) {
		struct pair p(r.config, r.batch, r.bucket_bytes);
		float want = 0, got = 0, again = 0;
		std::vector<bf16> first;

		CU_ASSERT(!gpt_cpu.step(p.cpu, p.tokens.data(), p.targets.data(), p.buckets, p.made, is_ready, &p, &want, p.err));
		p.ready.clear();
		CU_ASSERT(!gpt_cuda.step(p.cuda, p.tokens.data(), p.targets.data(), p.buckets, p.made, is_ready, &p, &got, p.err));
		CU_ASSERT(p.ready.size() == static_cast<size_t>(p.made));
		for (size_t i = 0; i < p.ready.size(); i++)
			CU_ASSERT(p.ready[i] == static_cast<int>(i));
		within(r.says, "loss", std::fabs(got - want) / want, 3e-3);
		compare_gradients(r.says, &p);
		/* Again, in another order of blocks and threads: the same bits. */
		first.assign(p.grads(), p.grads() + p.count);
		setenv("FIBRE_ORDER", "reverse", 1);
		CU_ASSERT(!gpt_cuda.step(p.cuda, p.tokens.data(), p.targets.data(), p.buckets, p.made, is_ready, &p, &again, p.err));
		unsetenv("FIBRE_ORDER");
		CU_ASSERT(again == got && !memcmp(first.data(), p.grads(), p.count * sizeof(bf16)));
	}
}

/* What another order of launches would break: a bucket's gradients may not change after it was said to be final. */
struct frozen { struct pair *p; std::vector<bf16> seen; };

static void keep(void *ctx, int bucket)
{
	struct frozen *f = static_cast<struct frozen *>(ctx);
	const struct gpt_bucket *b = &f->p->buckets[bucket];

	memcpy(&f->seen[b->offset], f->p->grads() + b->offset, b->count * sizeof(bf16));
}

static void test_ready_is_final(void)
{
	struct pair p(models[1].config, models[1].batch, 1);
	struct frozen f = { &p, std::vector<bf16>(p.count, 0x7fff) };
	float loss = 0;

	CU_ASSERT(!gpt_cuda.step(p.cuda, p.tokens.data(), p.targets.data(), p.buckets, p.made, keep, &f, &loss, p.err));
	for (int i = 0; i < p.made; i++)
		CU_ASSERT(!memcmp(&f.seen[p.buckets[i].offset], p.grads() + p.buckets[i].offset, p.buckets[i].count * sizeof(bf16)));
}

static void test_update(void)
{
	const struct gpt_adamw o = { 1e-2f, 0.9f, 0.95f, 1e-8f, 0.1f, 1 };
	struct pair p(models[2].config, models[2].batch, models[2].bucket_bytes);
	float *want = static_cast<float *>(gpt_cpu.grads(p.cpu)), norm = 0, norm_cpu = 0, loss = 0, after = 0;

	for (int t = 1; t <= 3; t++) {
		CU_ASSERT(!gpt_cuda.step(p.cuda, p.tokens.data(), p.targets.data(), p.buckets, p.made, is_ready, &p,
			t == 1 ? &loss : nullptr, p.err));
		for (size_t i = 0; i < p.count; i++)
			want[i] = widen(p.grads()[i]);
		CU_ASSERT(!gpt_cuda.update(p.cuda, &o, t, t == 2 ? nullptr : &norm, p.err));
		CU_ASSERT(!gpt_cpu.update(p.cpu, &o, t, &norm_cpu, p.err));
		if (t != 2)
			within("AdamW", "the norm", std::fabs(norm - norm_cpu) / norm_cpu, 1e-5);
		within("AdamW", "parameters", error_of(gpt_cpu.params(p.cpu), gpt_cuda.params(p.cuda), nullptr, p.count), 1e-5);
		within("AdamW", "first moments", error_of(gpt_cpu.moments(p.cpu, 0), gpt_cuda.moments(p.cuda, 0), nullptr, p.count), 1e-5);
		within("AdamW", "second moments", error_of(gpt_cpu.moments(p.cpu, 1), gpt_cuda.moments(p.cuda, 1), nullptr, p.count), 1e-5);
	}
	/* n = 0: the loss alone. It fell; and it is that of the parameters, also after they came from outside. */
	CU_ASSERT(!gpt_cuda.step(p.cuda, p.tokens.data(), p.targets.data(), nullptr, 0, nullptr, nullptr, &after, p.err));
	CU_ASSERT(after < loss);
	memcpy(gpt_cuda.params(p.cuda), gpt_cpu.params(p.cpu), p.count * sizeof(float));
	memset(gpt_cuda.params(p.cuda), 0, p.tensors[0].count * sizeof(float)); /* wte = 0: all logits are 0 */
	CU_ASSERT(!gpt_cuda.refresh(p.cuda, p.err));
	CU_ASSERT(!gpt_cuda.step(p.cuda, p.tokens.data(), p.targets.data(), nullptr, 0, nullptr, nullptr, &after, p.err));
	CU_ASSERT_DOUBLE_EQUAL(after, std::log(256.0), 1e-5);
	static_cast<bf16 *>(gpt_cuda.grads(p.cuda))[5] = 0x7fc0; /* a NaN */
	CU_ASSERT(gpt_cuda.update(p.cuda, &o, 4, &norm, p.err));
	CU_ASSERT(strstr(p.err, "not finite") != nullptr);
}

static void test_predict(void)
{
	struct pair p(models[1].config, models[1].batch, models[1].bucket_bytes);
	std::vector<float> want(250), got(250);
	float loss = 0;

	for (int count : { 1, 3, 5 }) {
		CU_ASSERT(!gpt_cpu.predict(p.cpu, p.tokens.data(), count, want.data(), p.err));
		CU_ASSERT(!gpt_cuda.predict(p.cuda, p.tokens.data(), count, got.data(), p.err));
		within("predict", "logits", error_of(want.data(), got.data(), nullptr, want.size()), 2e-2);
	}
	/* A whole batch after it is as before. */
	CU_ASSERT(!gpt_cpu.step(p.cpu, p.tokens.data(), p.targets.data(), nullptr, 0, nullptr, nullptr, &want[0], p.err));
	CU_ASSERT(!gpt_cuda.step(p.cuda, p.tokens.data(), p.targets.data(), nullptr, 0, nullptr, nullptr, &loss, p.err));
	within("predict", "loss afterwards", std::fabs(loss - want[0]) / want[0], 3e-3);
}

static const struct { const char *says, *variable, *value; struct gpt_config config; int token; const char *sentence; } refusals[] = {
	{ "heads of another size",  "X", "x", { 1, 4, 128, 256, 8 }, 0,
		"128 channels in 4 heads: on cuda a head has 64 channels, and a model at most 4096; try --heads 2" },
	{ "no layers",              "X", "x", { 0, 1, 64, 256, 8 }, 0, "each must be at least 1" },
	{ "a driver that is too old", "FAKE_CUDART", "old-driver", { 1, 1, 64, 256, 8 }, 0,
		"no GPU to use: CUDA driver version is insufficient for CUDA runtime version (cudaErrorInsufficientDriver)" },
	{ "no driver",              "FAKE_CUDART", "no-driver", { 1, 1, 64, 256, 8 }, 0, "no GPU to use: this host has no NVIDIA driver" },
	{ "no GPU",                 "FAKE_CUDART", "no-device", { 1, 1, 64, 256, 8 }, 0, "nvidia-smi says what the driver sees, CUDA_VISIBLE_DEVICES is " },
	{ "a GPU without bf16",     "FAKE_CUDART", "old-gpu", { 1, 1, 64, 256, 8 }, 0, "compute capability 7.0" },
	{ "a full GPU",             "FAKE_CUDART", "no-memory", { 1, 1, 64, 256, 8 }, 0, "out of memory; try a smaller --batch" },
	{ "no algorithm",           "FAKE_CUBLASLT", "none", { 1, 1, 64, 256, 8 }, 0,
		"cuBLASLt: no algorithm for a product of 192 x 8 x 64 (epilogue 4): CUBLAS_STATUS_NOT_SUPPORTED" },
	{ "a token too large",      "X", "x", { 1, 1, 64, 256, 8 }, 256, "token 7 is 256: the vocabulary has 256" },
	{ "a token below 0",        "X", "x", { 1, 1, 64, 256, 8 }, -1, "token 7 is -1: the vocabulary has 256" },
};

static void test_refusals(void)
{
	for (const auto &r : refusals) {
		struct gpt_tensor *tensors = nullptr;
		struct gpt_model *m = nullptr;
		size_t count = 0;
		std::vector<int32_t> tokens(r.config.context), targets(r.config.context);
		char err[512] = "";
		int failed;

		gpt_tensors(&r.config, &tensors, &count);
		std::vector<float> params(count);
		tokens.back() = r.token;
		setenv(r.variable, r.value, 1);
		failed = gpt_cuda.open(&r.config, 1, params.data(), nullptr, nullptr, &m, err) ||
			gpt_cuda.step(m, tokens.data(), targets.data(), nullptr, 0, nullptr, nullptr, nullptr, err);
		unsetenv(r.variable);
		if (!failed || !strstr(err, r.sentence))
			fprintf(stderr, "\n%s: %s\n", r.says, err);
		CU_ASSERT(failed && strstr(err, r.sentence));
		gpt_cuda.close(m);
		free(tensors);
	}
}

int main(void)
{
	unsigned failed;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	CU_pSuite suite = CU_add_suite("gpt_cuda", nullptr, nullptr);

	CU_add_test(suite, "loss and gradients are the CPU's, the same bits each time", test_step);
	CU_add_test(suite, "a bucket that is ready stays as it is", test_ready_is_final);
	CU_add_test(suite, "AdamW, refresh, the loss alone", test_update);
	CU_add_test(suite, "logits", test_predict);
	CU_add_test(suite, "what it refuses, and in which words", test_refusals);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed != 0;
}
