/* gpt.c -- train a GPT on real text, data-parallel: gradients travel while backward goes on.
 *
 *     build/lockstep run -f examples/gpt/gpt.yaml
 *     mpirun -np 2 build/examples/gpt --steps 100
 *
 * The model's arithmetic is the device's (gpt.h); here is what a data-parallel program adds to it: every rank has the same weights, takes
 * its part of each step's windows, and marks each bucket of gradients as soon as backward has finished it. */
#include "data.h"
#include "dump.h"
#include "gpt.h"
#include "sample.h"
#include "settings.h"
#include "lockstep/lockstep.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EVAL_WINDOWS 256 /* of the held-out text, at most */

struct training {
	struct gpt_settings set;
	struct gpt_text text;
	const struct gpt_device *device;
	struct gpt_model *model;
	struct gpt_tensor *tensors;
	int n_tensors;
	struct gpt_bucket *buckets;
	int *bucket_ids, n_buckets;
	int batch;                     /* windows of this rank in a step */
	int64_t *windows;
	int32_t *tokens, *targets;
	int64_t step;
	double loss;                   /* of the last step that asked for it: the world's */
	double *step_ms;
	int n_timed;
	struct gpt_dump *dump;
	struct lockstep *ls;
	lockstep_status bucket_status; /* the first failure of a bucket in this step */
	struct lockstep_err err;
};

static lockstep_status fail(struct training *t, const char *why)
{
	snprintf(t->err.text, sizeof(t->err.text), "%s", why);
	return LOCKSTEP_USAGE;
}

static bool is_first(const struct training *t)
{
	return lockstep_rank(t->ls) == 0;
}

/* --- beginning --------------------------------------------------------------------------------------------------------------- */

/* The text may lie on every host for itself. */
static lockstep_status compare_texts(struct training *t)
{
	uint64_t mine = gpt_text_hash(&t->text), first = mine;
	lockstep_status st = lockstep_broadcast(t->ls, &first, sizeof(first), 0, &t->err);

	if (!st && first != mine)
		st = fail(t, "this rank's text is not that of rank 0; give all hosts the same file");
	return st;
}

static lockstep_status join(struct training *t)
{
	struct lockstep_options opt = { .seed = (uint64_t)t->set.seed, .total_steps = t->set.steps, .samples = t->text.train,
		.batch = t->set.rank_batch, .global_batch = t->set.rank_batch ? 0 : t->set.batch };
	size_t each;
	lockstep_status st = lockstep_start(&opt, &t->ls, &t->err);

	if (st)
		return st;
	t->batch = (int)(t->set.rank_batch ? t->set.rank_batch : t->set.batch / lockstep_world_size(t->ls));
	each = (size_t)t->batch * (size_t)t->set.model.context;
	t->windows = calloc((size_t)t->batch, sizeof(*t->windows));
	t->tokens = calloc(each, sizeof(*t->tokens));
	t->targets = calloc(each, sizeof(*t->targets));
	t->step_ms = calloc((size_t)t->set.steps + 1, sizeof(*t->step_ms));
	if (!t->windows || !t->tokens || !t->targets || !t->step_ms)
		return fail(t, "no memory for a batch and the times of so many steps; try fewer --steps, or a smaller --batch");
	return compare_texts(t);
}

static void *gradient_memory(void *ctx, size_t bytes)
{
	struct training *t = ctx;
	void *p = NULL;

	return lockstep_alloc(t->ls, bytes, &p, &t->err) ? NULL : p;
}

static int open_device(struct training *t, const struct gpt_device *device, const float *params, char *err)
{
	bool host = device == &gpt_cpu;

	t->device = device;
	return device->open(&t->set.model, t->batch, params, host ? gradient_memory : NULL, t, &t->model, err);
}

/* `auto` takes the CPU only where no GPU was given to this rank, and says so. */
static lockstep_status choose_device(struct training *t, const float *params)
{
	const char *why = "asked for", *given = getenv("CUDA_VISIBLE_DEVICES");
	char err[512] = "this build has no CUDA", text[1024];
	int bad = -1;

#ifdef GPT_CUDA
	if (t->set.device != GPT_CPU)
		bad = open_device(t, &gpt_cuda, params, err);
#endif
	if (bad && t->set.device != GPT_CPU && (t->set.device == GPT_CUDA_WANTED || (given && *given && *given != '-'))) {
		snprintf(text, sizeof(text), "%s: no cuda: %s; --device cpu trains without a GPU",
			t->set.device == GPT_CUDA_WANTED ? "--device cuda" : "this rank was given a GPU (CUDA_VISIBLE_DEVICES)", err);
		return fail(t, text);
	}
	if (t->set.device == GPT_AUTO)
		why = bad ? err : "it works";
	if (is_first(t))
		printf("device %s: %s\n", bad ? "cpu" : "cuda", why);
	if (bad && open_device(t, &gpt_cpu, params, text))
		return fail(t, text);
	lockstep_stream(t->ls, t->device->stream(t->model)); /* where a bucket's gradients are made */
	return LOCKSTEP_OK;
}

static lockstep_status make_model(struct training *t)
{
	const struct gpt_config *c = &t->set.model;
	size_t count;
	float *params;
	lockstep_status st;

	t->n_tensors = gpt_tensors(c, &t->tensors, &count);
	params = t->n_tensors ? malloc(count * sizeof(*params)) : NULL;
	if (!params)
		return fail(t, "no memory for the weights");
	gpt_init(c, t->tensors, t->n_tensors, (uint64_t)t->set.seed, params);
	/* Hosts with different versions of libm begin with the same weights. */
	st = lockstep_broadcast(t->ls, params, count * sizeof(*params), 0, &t->err);
	if (!st)
		st = choose_device(t, params);
	if (!st && is_first(t))
		printf("%d layers, %d heads, %d channels, %.1f million parameters; %zu bytes of text; %d windows of %d in each rank's step\n",
			c->layers, c->heads, c->channels, (double)count / 1e6, t->text.n, t->batch, c->context);
	free(params);
	return st;
}

static lockstep_status add_buckets(struct training *t)
{
	char *grads = t->device->grads(t->model), name[32];
	size_t elem = t->device->grad_elem;
	lockstep_status st = LOCKSTEP_OK;
	int i;

	t->n_buckets = gpt_buckets(&t->set.model, t->tensors, t->n_tensors, (size_t)t->set.bucket_kib << 10, elem, &t->buckets);
	t->bucket_ids = calloc((size_t)t->n_buckets + 1, sizeof(*t->bucket_ids));
	if (!t->n_buckets || !t->bucket_ids)
		return fail(t, "no memory for buckets");
	if (t->set.no_communication) {
		if (is_first(t))
			printf("--no-communication: every rank trains for itself, and their models differ: for measuring alone\n");
		return LOCKSTEP_OK;
	}
	lockstep_stream(t->ls, t->device->stream(t->model));
	for (i = 0; !st && i < t->n_buckets; i++) {
		snprintf(name, sizeof(name), "gradients.%d", i);
		st = lockstep_bucket_add(t->ls, name, grads + t->buckets[i].offset * elem, t->buckets[i].count,
			elem == 2 ? LOCKSTEP_BF16 : LOCKSTEP_F32, &t->bucket_ids[i], &t->err);
	}
	return st;
}

/* Ranks that train apart have no state in common. */
static lockstep_status add_state(struct training *t)
{
	const struct { const char *prefix; float *data; } parts[] = {
		{ "", t->device->params(t->model) },
		{ "adam.m.", t->device->moments(t->model, 0) },
		{ "adam.v.", t->device->moments(t->model, 1) },
	};
	lockstep_status st = LOCKSTEP_OK;
	char name[64];
	size_t k;
	int i;

	for (k = 0; k < sizeof(parts) / sizeof(parts[0]) && !t->set.no_communication; k++)
		for (i = 0; !st && i < t->n_tensors; i++) {
			snprintf(name, sizeof(name), "%s%s", parts[k].prefix, t->tensors[i].name);
			st = lockstep_state_add(t->ls, name, parts[k].data + t->tensors[i].offset, LOCKSTEP_F32, t->tensors[i].ndim,
				t->tensors[i].shape, LOCKSTEP_REPLICATED, &t->err);
		}
	return st;
}

static lockstep_status restore(struct training *t)
{
	lockstep_status st = lockstep_restore(t->ls, &t->step, &t->err);
	char err[512];

	if (!st && t->device->refresh(t->model, err))
		st = fail(t, err);
	return st;
}

static lockstep_status start_dump(struct training *t)
{
	if (!t->set.dump)
		return LOCKSTEP_OK;
	if (t->device != &gpt_cpu)
		return fail(t, "--dump is for the cpu; add --device cpu");
	t->dump = gpt_dump_start(t->tensors, t->n_tensors, t->device->params(t->model), t->set.steps, t->batch, t->set.model.context);
	return t->dump ? LOCKSTEP_OK : fail(t, "no memory for --dump");
}

/* --- a step ------------------------------------------------------------------------------------------------------------------ */

static void bucket_final(void *ctx, int bucket)
{
	struct training *t = ctx;

	if (!t->bucket_status)
		t->bucket_status = lockstep_bucket_ready(t->ls, t->bucket_ids[bucket], &t->err);
}

static void bucket_kept(void *ctx, int bucket)
{
	(void)ctx, (void)bucket;
}

static void next_windows(struct training *t)
{
	int i, context = t->set.model.context;

	lockstep_sampler_next(t->ls, t->windows);
	for (i = 0; i < t->batch; i++)
		gpt_text_window(&t->text, false, t->windows[i], t->tokens + i * context, t->targets + i * context);
}

/* Gradients of this rank's windows, then the world's average. */
static lockstep_status find_gradients(struct training *t, float *loss)
{
	bool apart = t->set.no_communication, overlap = !apart && !t->set.no_overlap;
	char err[512];
	int i;

	t->bucket_status = LOCKSTEP_OK;
	if (t->device->step(t->model, t->tokens, t->targets, t->buckets, t->n_buckets, overlap ? bucket_final : bucket_kept, t, loss, err))
		return fail(t, err);
	for (i = 0; i < t->n_buckets && !apart && !overlap; i++)
		bucket_final(t, i);
	if (t->bucket_status || apart)
		return t->bucket_status;
	return lockstep_bucket_wait(t->ls, &t->err);
}

static lockstep_status average_loss(struct training *t, float mine)
{
	double sum = (double)mine;
	lockstep_status st = LOCKSTEP_OK;
	int world = t->set.no_communication ? 1 : lockstep_world_size(t->ls);

	if (world > 1)
		st = lockstep_sum_f64(t->ls, &sum, 1, &t->err);
	t->loss = sum / world;
	return st;
}

/* Warm-up to the highest rate, then half a cosine down to a tenth of it. */
static double rate(const struct gpt_settings *s, int64_t step)
{
	double at;

	if (step < s->warmup)
		return s->lr * (double)(step + 1) / (double)s->warmup;
	at = (double)(step - s->warmup) / (double)(s->steps > s->warmup ? s->steps - s->warmup : 1);
	return s->lr * (0.1 + 0.45 * (1 + cos(M_PI * at)));
}

static lockstep_status learn(struct training *t)
{
	struct gpt_adamw adamw = { (float)rate(&t->set, t->step), 0.9f, 0.95f, 1e-8f, (float)t->set.decay, (float)t->set.clip };
	bool tell = t->dump || t->step % t->set.loss_every == 0 || t->step + 1 == t->set.steps;
	lockstep_status st;
	float loss;
	char err[512];

	next_windows(t);
	st = find_gradients(t, tell ? &loss : NULL);
	if (!st && tell)
		st = average_loss(t, loss);
	if (st)
		return st;
	if (t->dump)
		gpt_dump_step(t->dump, t->tokens, t->targets, (float)t->loss, t->device->grads(t->model));
	return t->device->update(t->model, &adamw, t->step + 1, NULL, err) ? fail(t, err) : LOCKSTEP_OK;
}

/* --- what it has learned ----------------------------------------------------------------------------------------------------- */

/* Each rank reads its part of the held-out windows, a batch at a time; what is left of the last batch does not count. */
static lockstep_status evaluate(struct training *t)
{
	int world = lockstep_world_size(t->ls), context = t->set.model.context, i;
	int64_t n = t->text.held_out < EVAL_WINDOWS ? t->text.held_out : EVAL_WINDOWS, at = (int64_t)lockstep_rank(t->ls) * t->batch;
	double sums[2] = { 0, 0 };
	lockstep_status st;
	char err[512];
	float loss;

	for (; at + t->batch <= n; at += (int64_t)world * t->batch) {
		for (i = 0; i < t->batch; i++)
			gpt_text_window(&t->text, true, at + i, t->tokens + i * context, t->targets + i * context);
		if (t->device->step(t->model, t->tokens, t->targets, NULL, 0, bucket_kept, t, &loss, err))
			return fail(t, err);
		sums[0] += (double)loss;
		sums[1] += 1;
	}
	st = lockstep_sum_f64(t->ls, sums, 2, &t->err);
	if (st || !is_first(t))
		return st;
	if (sums[1] == 0) {
		printf("the text is too short to hold a batch out: no loss on unseen text\n");
		return LOCKSTEP_OK;
	}
	printf("step %" PRId64 ": loss on held-out text %.4f, of %.0f windows\n", t->step, sums[0] / sums[1], sums[1] * t->batch);
	lockstep_result(t->ls, "held_out_loss", sums[0] / sums[1]);
	return LOCKSTEP_OK;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The first step of an attempt pays for first touches of memory. */
static lockstep_status tell_speed(struct training *t)
{
	int n = t->n_timed - 1;
	double median;

	if (n < 1 || !is_first(t))
		return LOCKSTEP_OK;
	qsort(t->step_ms + 1, (size_t)n, sizeof(*t->step_ms), by_size);
	median = t->step_ms[1 + n / 2];
	printf("a step takes %.2f ms (median of %d, fastest %.2f): %.0f tokens/s\n", median, n, t->step_ms[1],
		1000 / median * t->batch * t->set.model.context * lockstep_world_size(t->ls));
	lockstep_result(t->ls, "step_ms", median);
	return LOCKSTEP_OK;
}

static lockstep_status write_dump(struct training *t)
{
	char err[512];

	return gpt_dump_write(t->dump, t->set.dump, lockstep_rank(t->ls), err) ? fail(t, err) : LOCKSTEP_OK;
}

static lockstep_status sample(struct training *t)
{
	char err[512];

	if (!t->set.sample || !is_first(t))
		return LOCKSTEP_OK;
	if (!t->device->predict) {
		printf("no sample: device %s has no prediction\n", t->device->name);
		return LOCKSTEP_OK;
	}
	if (gpt_sample(t->device, t->model, &t->set.model, t->set.prompt, t->set.sample, (uint64_t)t->set.seed, err))
		return fail(t, err);
	return LOCKSTEP_OK;
}

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

static lockstep_status train(struct training *t)
{
	struct timespec pause = { t->set.step_ms / 1000, t->set.step_ms % 1000 * 1000000 };
	lockstep_status st = LOCKSTEP_OK;

	while (!st && t->step < t->set.steps) {
		double begun = now_ms();

		st = learn(t);
		if (st)
			break;
		t->step++;
		st = lockstep_step_end(t->ls, t->step, t->loss, t->batch, &t->err);
		t->step_ms[t->n_timed++] = now_ms() - begun;
		if (t->set.step_ms)
			nanosleep(&pause, NULL);
		if (!st && t->set.eval_every && t->step % t->set.eval_every == 0 && t->step < t->set.steps)
			st = evaluate(t);
	}
	if (!st && !t->set.no_communication)
		st = lockstep_save(t->ls, t->step, &t->err);
	if (st == LOCKSTEP_AGAIN) /* the library has warned; the model is trained all the same */
		st = LOCKSTEP_OK;
	return st;
}

static lockstep_status run(struct training *t)
{
	static lockstep_status (*const life[])(struct training *) = { join, make_model, add_buckets, add_state, restore, start_dump, train,
		write_dump, evaluate, sample, tell_speed };
	lockstep_status st = LOCKSTEP_OK;
	size_t i;

	for (i = 0; !st && i < sizeof(life) / sizeof(life[0]); i++)
		st = life[i](t);
	return st;
}

int main(int argc, char **argv)
{
	static struct training t;
	lockstep_status st;
	char why[512];
	int parsed = gpt_settings_parse(argc, argv, &t.set);

	if (parsed)
		return parsed < 0 ? 2 : 0;
	if (gpt_text_load(t.set.data, t.set.model.context, &t.text, why)) {
		fprintf(stderr, "gpt: %s\n", why);
		return 2;
	}
	st = run(&t);
	if (st && st != LOCKSTEP_STOP)
		fprintf(stderr, "gpt: %s\n", t.err.text);
	fflush(stdout);
	/* This rank may be alone in it: lockstep_finish() would wait for the others. */
	if (st == LOCKSTEP_USAGE && t.ls && lockstep_world_size(t.ls) > 1)
		exit(lockstep_exit_code(st));
	lockstep_finish(t.ls);
	if (t.model)
		t.device->close(t.model);
	free(t.bucket_ids);
	free(t.buckets);
	free(t.tensors);
	free(t.step_ms);
	free(t.targets);
	free(t.tokens);
	free(t.windows);
	gpt_text_free(&t.text);
	return lockstep_exit_code(st);
}
