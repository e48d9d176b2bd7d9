/* gpt_step_cuda.cu -- a rank program of bench/gpt_torch.py: steps of examples/gpt's CUDA device, alone and with Lockstep around it.
 *
 *     lockstep run -np 1 -- build/bench/gpt_step FOLDER BATCH LAYERS HEADS CHANNELS VOCAB CONTEXT
 *
 * FOLDER has tokens.i32, windows of CONTEXT + 1 tokens, and the pipes `in` and `out`. It writes weights.f32, the first weights of both
 * models, and tensors.txt: what lies where. Then for each line "bare STEPS" or "lockstep STEPS" it answers "MS LOSS": milliseconds a step, by
 * CUDA events, and the loss of the last. `bare` calls the device and nothing else; `lockstep` does what examples/gpt does in a step: the
 * sampler, buckets, the average, the report. */
extern "C" {
#define GPT_CUDA
#include "examples/gpt/gpt.h"
}
#include "lockstep/lockstep.h"

#include <cuda_runtime.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUCKET_BYTES (25u << 20)
#define MOST_WINDOWS 100000

struct contender { struct gpt_model *model; int64_t step; };

struct bench {
	struct gpt_config config;
	int batch, windows, n, made;
	const char *folder;
	struct gpt_tensor *tensors;
	struct gpt_bucket *buckets;
	size_t count;
	int32_t *all, *tokens, *targets;
	int64_t *sampled;
	int *ids;
	struct contender bare, with;
	struct lockstep *ls;
	struct lockstep_err ls_err;
	char err[512];
	cudaEvent_t begin, end;
};

static int die(const struct bench *b, const char *what)
{
	fprintf(stderr, "gpt_step: %s: %s\n", what, *b->err ? b->err : b->ls_err.text);
	return 1;
}

static FILE *file_in(const struct bench *b, const char *name, const char *mode)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", b->folder, name);
	f = fopen(path, mode);
	if (!f)
		perror(path);
	return f;
}

static int read_tokens(struct bench *b)
{
	size_t each = (size_t)b->config.context + 1, got;
	FILE *f = file_in(b, "tokens.i32", "r");

	if (!f)
		return -1;
	b->all = (int32_t *)malloc(MOST_WINDOWS * each * sizeof(int32_t));
	got = b->all ? fread(b->all, each * sizeof(int32_t), MOST_WINDOWS, f) : 0;
	fclose(f);
	b->windows = (int)got;
	return got < (size_t)b->batch ? -1 : 0;
}

static int write_weights(const struct bench *b, const float *params)
{
	FILE *f = file_in(b, "weights.f32", "w"), *t = file_in(b, "tensors.txt", "w");
	int i, bad = !f || !t || fwrite(params, sizeof(float), b->count, f) != b->count;

	for (i = 0; !bad && i < b->n; i++)
		fprintf(t, "%s %zu %lld %lld\n", b->tensors[i].name, b->tensors[i].offset, (long long)b->tensors[i].shape[0],
			b->tensors[i].ndim == 2 ? (long long)b->tensors[i].shape[1] : 0);
	bad |= (f && fclose(f)) || (t && fclose(t));
	return bad ? -1 : 0;
}

static int open_models(struct bench *b)
{
	float *params;
	int bad;

	b->n = gpt_tensors(&b->config, &b->tensors, &b->count);
	b->made = b->n ? gpt_buckets(&b->config, b->tensors, b->n, BUCKET_BYTES, gpt_cuda.grad_elem, &b->buckets) : 0;
	params = (float *)malloc(b->count * sizeof(float));
	b->tokens = (int32_t *)malloc((size_t)b->batch * b->config.context * sizeof(int32_t));
	b->targets = (int32_t *)malloc((size_t)b->batch * b->config.context * sizeof(int32_t));
	b->sampled = (int64_t *)malloc((size_t)b->batch * sizeof(int64_t));
	b->ids = (int *)malloc((size_t)b->made * sizeof(int));
	if (!b->made || !params || !b->tokens || !b->targets || !b->sampled || !b->ids)
		return -1;
	gpt_init(&b->config, b->tensors, b->n, 1, params);
	bad = write_weights(b, params) || gpt_cuda.open(&b->config, b->batch, params, NULL, NULL, &b->bare.model, b->err) ||
		gpt_cuda.open(&b->config, b->batch, params, NULL, NULL, &b->with.model, b->err);
	free(params);
	return bad ? -1 : 0;
}

static int join(struct bench *b)
{
	struct lockstep_options opt = { };
	char *grads = (char *)gpt_cuda.grads(b->with.model), name[32];
	int i, bad = 0;

	opt.samples = b->windows;
	opt.batch = b->batch;
	if (lockstep_start(&opt, &b->ls, &b->ls_err))
		return -1;
	lockstep_stream(b->ls, gpt_cuda.stream(b->with.model));
	for (i = 0; !bad && i < b->made; i++) {
		snprintf(name, sizeof(name), "gradients.%d", i);
		bad = lockstep_bucket_add(b->ls, name, grads + b->buckets[i].offset * gpt_cuda.grad_elem, b->buckets[i].count,
			LOCKSTEP_BF16, &b->ids[i], &b->ls_err);
	}
	return bad ? -1 : 0;
}

/* The windows in the order of the file, for both: the losses can be compared. */
static void next_batch(struct bench *b, int64_t step)
{
	size_t context = (size_t)b->config.context;
	int i;

	for (i = 0; i < b->batch; i++) {
		const int32_t *w = b->all + (step * b->batch + i) % b->windows * (context + 1);

		memcpy(b->tokens + i * context, w, context * sizeof(int32_t));
		memcpy(b->targets + i * context, w + 1, context * sizeof(int32_t));
	}
}

static void ready(void *ctx, int bucket)
{
	struct bench *b = (struct bench *)ctx;

	if (!b->ls_err.text[0])
		lockstep_bucket_ready(b->ls, b->ids[bucket], &b->ls_err);
}

static void nobody(void *, int)
{
}

static int step(struct bench *b, struct contender *c, float *ret_loss)
{
	const struct gpt_adamw o = { 1e-4f, 0.9f, 0.95f, 1e-8f, 0.1f, 1 };
	const bool with = c == &b->with;

	if (with)
		lockstep_sampler_next(b->ls, b->sampled);
	next_batch(b, c->step);
	if (gpt_cuda.step(c->model, b->tokens, b->targets, b->buckets, b->made, with ? ready : nobody, b, ret_loss, b->err))
		return -1;
	if (with && (b->ls_err.text[0] || lockstep_bucket_wait(b->ls, &b->ls_err)))
		return -1;
	c->step++;
	if (gpt_cuda.update(c->model, &o, c->step, NULL, b->err))
		return -1;
	return with && lockstep_step_end(b->ls, c->step, ret_loss ? *ret_loss : 0, b->batch, &b->ls_err) ? -1 : 0;
}

static int run(struct bench *b, struct contender *c, int steps, float *ret_ms, float *ret_loss)
{
	cudaStream_t stream = (cudaStream_t)gpt_cuda.stream(c->model);
	int i, bad;

	cudaStreamSynchronize(stream);
	bad = cudaEventRecord(b->begin, stream) != cudaSuccess;
	for (i = 0; !bad && i < steps; i++)
		bad = step(b, c, i + 1 == steps ? ret_loss : NULL);
	if (bad || cudaEventRecord(b->end, stream) != cudaSuccess || cudaEventSynchronize(b->end) != cudaSuccess ||
		cudaEventElapsedTime(ret_ms, b->begin, b->end) != cudaSuccess)
		return -1;
	*ret_ms /= (float)steps;
	return 0;
}

static int serve(struct bench *b)
{
	FILE *out = file_in(b, "out", "w"), *in;
	char line[64], name[32];
	float ms, loss;
	int steps;

	if (!out)
		return -1;
	setvbuf(out, NULL, _IOLBF, 0);
	fprintf(out, "ready\n");
	in = file_in(b, "in", "r");
	if (!in)
		return -1;
	while (fgets(line, sizeof(line), in)) {
		if (sscanf(line, "%31s %d", name, &steps) != 2 || steps < 1) {
			snprintf(b->err, sizeof(b->err), "cannot read: %.60s", line);
			return -1;
		}
		if (run(b, strcmp(name, "lockstep") ? &b->bare : &b->with, steps, &ms, &loss))
			return -1;
		fprintf(out, "%.6f %.6f\n", ms, loss);
	}
	return 0;
}

int main(int argc, char **argv)
{
	static struct bench b;

	if (argc != 8) {
		fprintf(stderr, "usage: gpt_step FOLDER BATCH LAYERS HEADS CHANNELS VOCAB CONTEXT\n");
		return 2;
	}
	b.folder = argv[1];
	b.batch = atoi(argv[2]);
	b.config = { atoi(argv[3]), atoi(argv[4]), atoi(argv[5]), atoi(argv[6]), atoi(argv[7]) };
	if (read_tokens(&b))
		return die(&b, "too few tokens in the folder");
	if (open_models(&b))
		return die(&b, "opening the models");
	if (cudaEventCreate(&b.begin) != cudaSuccess || cudaEventCreate(&b.end) != cudaSuccess)
		return die(&b, "making events");
	if (join(&b))
		return die(&b, "joining the job");
	if (serve(&b))
		return die(&b, "measuring");
	lockstep_finish(b.ls); /* all else is the kernel's to free */
	return 0;
}
