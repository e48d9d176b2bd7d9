/* test_gpt.c -- examples/gpt without PyTorch: buckets, the gradient against differences of the loss, AdamW against its formula, windows of
 * the text. */
#include "examples/gpt/data.h"
#include "examples/gpt/gpt.h"

#include <CUnit/Basic.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
	const char *says;
	struct gpt_config config; /* layers, heads, channels, vocabulary, context */
	int batch;
	size_t bucket_bytes;
} shapes[] = {
	{ "odd everything, a bucket for each tensor", { 2, 3, 33, 257, 13 }, 1, 1 },
	{ "more queries than are computed at once", { 1, 2, 24, 256, 70 }, 2, 4096 },
	{ "queries that fill their block", { 1, 1, 16, 256, 128 }, 1, 1 << 14 },
	{ "a vocabulary whose logits come in pieces, one bucket", { 1, 2, 16, 5000, 140 }, 2, 1 << 30 },
};
#define N_SHAPES (sizeof(shapes) / sizeof(shapes[0]))

static void note(size_t row, const char *what)
{
	fprintf(stderr, "\n  row: %s: %s\n", shapes[row].says, what);
}

/* --- buckets ----------------------------------------------------------------------------------------------------------------- */

static void test_buckets(void)
{
	size_t row, count, end;
	struct gpt_tensor *t;
	struct gpt_bucket *b;
	int n, made, i, k;

	for (row = 0; row < N_SHAPES; row++) {
		n = gpt_tensors(&shapes[row].config, &t, &count);
		made = gpt_buckets(&shapes[row].config, t, n, shapes[row].bucket_bytes, 4, &b);
		CU_ASSERT(made > 0);
		for (end = t[n - 1].offset + t[n - 1].count, i = 0, k = n - 1; i < made; i++) {
			if (b[i].offset + b[i].count != end)
				note(row, "buckets leave a hole or overlap");
			CU_ASSERT_EQUAL(b[i].offset + b[i].count, end);
			for (end = b[i].offset; k >= 0 && t[k].offset > end; k--)
				;
			CU_ASSERT_FATAL(k >= 0 && t[k--].offset == end); /* begins with a tensor */
		}
		CU_ASSERT_EQUAL(end, 0);
		free(b);
		free(t);
	}
}

/* --- a model with random weights and tokens ---------------------------------------------------------------------------------- */

struct trial {
	struct gpt_tensor *t;
	struct gpt_bucket *b;
	struct gpt_model *m;
	float *params, *at_report; /* at_report: each bucket as it was when it was reported */
	int32_t *tokens, *targets;
	size_t count, rows;
	int n, buckets, reported;
};

static void begin(size_t row, struct trial *r)
{
	const struct gpt_config *c = &shapes[row].config;
	char err[512];
	size_t i;

	memset(r, 0, sizeof(*r));
	r->n = gpt_tensors(c, &r->t, &r->count);
	r->buckets = gpt_buckets(c, r->t, r->n, shapes[row].bucket_bytes, 4, &r->b);
	r->rows = (size_t)(shapes[row].batch * c->context);
	r->params = calloc(r->count, sizeof(float));
	r->at_report = calloc(r->count, sizeof(float));
	r->tokens = calloc(r->rows, sizeof(int32_t));
	r->targets = calloc(r->rows, sizeof(int32_t));
	gpt_init(c, r->t, r->n, 7, r->params);
	for (i = 0; i < r->count; i++) /* larger than at first, so that nothing is nearly linear, and no bias is 0 */
		r->params[i] = r->params[i] * 10 + 0.1f * sinf((float)i);
	for (i = 0; i < r->rows; i++) {
		r->tokens[i] = (int32_t)(i * i * 31 + 7) % c->vocab;
		r->targets[i] = (int32_t)(i * 17 + 3) % c->vocab;
	}
	CU_ASSERT_FATAL(gpt_cpu.open(c, shapes[row].batch, r->params, NULL, NULL, &r->m, err) == 0);
}

static void end(struct trial *r)
{
	gpt_cpu.close(r->m);
	free(r->targets);
	free(r->tokens);
	free(r->at_report);
	free(r->params);
	free(r->b);
	free(r->t);
}

static void reported(void *ctx, int bucket)
{
	struct trial *r = ctx;
	const struct gpt_bucket *b = &r->b[bucket];

	CU_ASSERT_EQUAL(bucket, r->reported++);
	memcpy(r->at_report + b->offset, (float *)gpt_cpu.grads(r->m) + b->offset, b->count * sizeof(float));
}

static float step(struct trial *r, bool backward)
{
	char err[512];
	float loss = NAN;

	r->reported = 0;
	CU_ASSERT_EQUAL(gpt_cpu.step(r->m, r->tokens, r->targets, r->b, backward ? r->buckets : 0, reported, r, &loss, err), 0);
	return loss;
}

/* The loss, `by` along `way` from the weights. */
static double loss_at(struct trial *r, const float *way, double by)
{
	float *p = gpt_cpu.params(r->m);
	size_t i;

	for (i = 0; i < r->count; i++)
		p[i] = (float)((double)r->params[i] + by * (double)way[i]);
	return (double)step(r, false);
}

static void test_gradient(void)
{
	struct trial r;
	double norm, slope, h;
	size_t row, i;
	float *way;
	int k;

	for (row = 0; row < N_SHAPES; row++) {
		begin(row, &r);
		CU_ASSERT(step(&r, true) == step(&r, false));
		step(&r, true);
		CU_ASSERT_EQUAL(r.reported, r.buckets);
		CU_ASSERT(!memcmp(r.at_report, gpt_cpu.grads(r.m), (r.t[r.n - 1].offset + r.t[r.n - 1].count) * sizeof(float)));
		way = calloc(r.count, sizeof(*way));
		for (k = 0; k < r.n; k++) { /* along each tensor's own gradient: its norm is the slope */
			for (norm = 0, i = r.t[k].offset; i < r.t[k].offset + r.t[k].count; i++)
				norm += (double)r.at_report[i] * (double)r.at_report[i];
			norm = sqrt(norm);
			memset(way, 0, r.count * sizeof(*way));
			for (i = r.t[k].offset; i < r.t[k].offset + r.t[k].count; i++)
				way[i] = (float)((double)r.at_report[i] / norm);
			h = fmin(0.02, 0.003 / norm); /* a change of the loss by 0.006 at most: little curvature, little rounding */
			slope = (loss_at(&r, way, h) - loss_at(&r, way, -h)) / (2 * h);
			if (!(fabs(slope - norm) <= 0.02 * norm + 5e-5)) {
				fprintf(stderr, "\n  row: %s: %s: slope %g, gradient %g\n", shapes[row].says, r.t[k].name, slope, norm);
				CU_FAIL("a gradient is wrong");
			}
		}
		free(way);
		end(&r);
	}
}

/* A prediction after k tokens sees what the loss saw at place k, and nothing behind it. */
static void test_predict(void)
{
	const struct gpt_config *c = &shapes[1].config;
	struct trial r;
	double sum = 0, most, total;
	float logits[256];
	char err[512];
	int i, v;

	begin(1, &r);
	for (i = 0; i < shapes[1].batch * c->context; i++) {
		int at = i % c->context;

		CU_ASSERT_EQUAL_FATAL(gpt_cpu.predict(r.m, r.tokens + i - at, at + 1, logits, err), 0);
		for (most = -INFINITY, v = 0; v < 256; v++)
			most = fmax(most, (double)logits[v]);
		for (total = 0, v = 0; v < 256; v++)
			total += exp((double)logits[v] - most);
		sum += most + log(total) - (double)logits[r.targets[i]];
	}
	CU_ASSERT_DOUBLE_EQUAL(sum / (double)r.rows, step(&r, false), 1e-5);
	CU_ASSERT_EQUAL(gpt_cpu.predict(r.m, r.tokens, c->context + 1, logits, err), -1);
	r.tokens[3] = 256;
	CU_ASSERT_EQUAL(gpt_cpu.step(r.m, r.tokens, r.targets, NULL, 0, reported, &r, NULL, err), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(err, "token 3 is 256"));
	end(&r);
}

/* --- AdamW ------------------------------------------------------------------------------------------------------------------- */

static const struct { const char *says; struct gpt_adamw o; } optimizers[] = {
	{ "as trained", { 1e-3f, 0.9f, 0.95f, 1e-8f, 0.1f, 1 } },
	{ "no clipping, no decay", { 1e-2f, 0.8f, 0.999f, 1e-6f, 0, 0 } },
	{ "all gradients clipped", { 1e-3f, 0.9f, 0.95f, 1e-8f, 0.5f, 1e-3f } },
};

static void test_adamw(void)
{
	size_t row, i;
	struct trial r;
	int t, k;

	for (row = 0; row < sizeof(optimizers) / sizeof(optimizers[0]); row++) {
		const struct gpt_adamw *o = &optimizers[row].o;
		double *w, *m, *v, norm, worst = 0;
		char err[512];
		float told;

		begin(0, &r);
		w = calloc(r.count, sizeof(*w));
		m = calloc(r.count, sizeof(*m));
		v = calloc(r.count, sizeof(*v));
		for (i = 0; i < r.count; i++)
			w[i] = (double)r.params[i];
		for (t = 1; t <= 3; t++) {
			const float *g = gpt_cpu.grads(r.m);

			step(&r, true);
			for (norm = 0, i = 0; i < r.count; i++)
				norm += (double)g[i] * (double)g[i];
			norm = sqrt(norm);
			for (k = 0; k < r.n; k++)
				for (i = r.t[k].offset; i < r.t[k].offset + r.t[k].count; i++) {
					double first = 1 - pow((double)o->beta1, t), second = 1 - pow((double)o->beta2, t);
					double d = (double)g[i] * (o->clip > 0 && norm > (double)o->clip ? (double)o->clip / norm : 1);

					m[i] = (double)o->beta1 * m[i] + (1 - (double)o->beta1) * d;
					v[i] = (double)o->beta2 * v[i] + (1 - (double)o->beta2) * d * d;
					w[i] -= (double)o->lr * (r.t[k].decay ? (double)o->decay * w[i] : 0);
					w[i] -= (double)o->lr * m[i] / first / (sqrt(v[i] / second) + (double)o->eps);
				}
			CU_ASSERT_EQUAL(gpt_cpu.update(r.m, o, t, &told, err), 0);
			CU_ASSERT_DOUBLE_EQUAL(told / norm, 1, 1e-5);
		}
		for (i = 0; i < r.count; i++)
			worst = fmax(worst, fabs(w[i] - (double)gpt_cpu.params(r.m)[i]));
		if (!(worst <= 2e-6)) {
			fprintf(stderr, "\n  row: %s: off by %g\n", optimizers[row].says, worst);
			CU_FAIL("AdamW is not its formula");
		}
		free(v);
		free(m);
		free(w);
		end(&r);
	}
}

/* --- the text ---------------------------------------------------------------------------------------------------------------- */

static void test_windows(void)
{
	enum { CONTEXT = 4, WINDOWS = 45, BYTES = CONTEXT * WINDOWS + 1 };
	char path[] = "/tmp/test_gpt.XXXXXX", why[512];
	int fd = mkstemp(path), seen[BYTES] = { 0 }, kind;
	int32_t tokens[CONTEXT], targets[CONTEXT], k;
	unsigned char text[BYTES];
	struct gpt_text t;
	int64_t i;

	for (k = 0; k < BYTES; k++)
		text[k] = (unsigned char)k;
	CU_ASSERT_EQUAL_FATAL(write(fd, text, BYTES), BYTES);
	close(fd);
	CU_ASSERT_EQUAL_FATAL(gpt_text_load(path, CONTEXT, &t, why), 0);
	CU_ASSERT_EQUAL(t.train, 43);
	CU_ASSERT_EQUAL(t.held_out, 2);
	for (kind = 0; kind < 2; kind++)
		for (i = 0; i < (kind ? t.held_out : t.train); i++) {
			gpt_text_window(&t, kind, i, tokens, targets);
			for (k = 0; k < CONTEXT; k++) {
				seen[tokens[k]]++;
				CU_ASSERT_EQUAL(targets[k], tokens[k] + 1);
			}
		}
	for (k = 0; k < BYTES; k++)
		CU_ASSERT_EQUAL(seen[k], k < CONTEXT * WINDOWS);
	gpt_text_free(&t);
	CU_ASSERT_EQUAL(gpt_text_load(path, BYTES, &t, why), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(why, "fewer than one window"));
	unlink(path);
	CU_ASSERT_EQUAL(gpt_text_load(path, CONTEXT, &t, why), -1);
	CU_ASSERT_PTR_NOT_NULL(strstr(why, "cannot open"));
}

int main(void)
{
	CU_pSuite suite;
	unsigned failed;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	suite = CU_add_suite("gpt", NULL, NULL);
	CU_add_test(suite, "buckets tile the gradients", test_buckets);
	CU_add_test(suite, "gradients are the slopes of the loss, and final when reported", test_gradient);
	CU_add_test(suite, "predictions see the past alone", test_predict);
	CU_add_test(suite, "AdamW is its formula", test_adamw);
	CU_add_test(suite, "windows: every byte once, some held out", test_windows);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures() + (CU_get_number_of_tests_run() == 0);
	CU_cleanup_registry();
	return failed != 0;
}
