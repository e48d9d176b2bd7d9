/* digits.c -- train a small network on handwritten digits, data-parallel: the whole of liblockstep in one program.
 *
 *     build/lockstep run -f examples/digits/digits.yaml
 *     mpirun -np 2 build/examples/digits --steps 500
 *
 * The batch is global: every rank learns from batch / ranks images of each step, and the gradients are averaged, so
 * that more ranks mean the same steps, sooner. The loss rides along as a gradient of one number: its average over
 * the ranks is the loss of the global batch. */
#include "data.h"
#include "model.h"
#include "lockstep/lockstep.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct settings {
	const char *data;
	int64_t steps, epochs, batch, seed, step_ms;
	double rate, momentum;
};

struct training {
	struct settings set;
	struct digits data;
	struct model model;
	struct trace *traces;            /* one per image of this rank's part of a batch */
	const struct image **images;
	int64_t *samples;
	int n;                           /* how many that are */
	double loss;                     /* of this rank's part, then of the global batch */
	int loss_bucket, dense, conv;
	int64_t step, total;
	struct lockstep *ls;
	struct lockstep_err err;
};

static const char usage[] =
	"usage: digits [options]\n"
	"  --data FILE     the images (default examples/digits/digits.csv)\n"
	"  --steps N       optimizer steps (default 1000)\n"
	"  --epochs N      passes over the data instead of steps\n"
	"  --batch N       images per step, over all ranks (default 96)\n"
	"  --lr X          learning rate (default 0.1, falls to 0 linearly)\n"
	"  --momentum X    (default 0.9)\n"
	"  --seed N        of the weights and of the order of the images (default 1)\n"
	"  --step-ms N     sleep in every step, to watch or interrupt a run at leisure\n";

static int parse_options(int argc, char **argv, struct settings *s)
{
	static const struct option options[] = {
		{ "data", required_argument, NULL, 'd' }, { "steps", required_argument, NULL, 's' },
		{ "epochs", required_argument, NULL, 'e' }, { "batch", required_argument, NULL, 'b' },
		{ "lr", required_argument, NULL, 'l' }, { "momentum", required_argument, NULL, 'm' },
		{ "seed", required_argument, NULL, 'r' }, { "step-ms", required_argument, NULL, 'w' },
		{ "help", no_argument, NULL, 'h' }, { 0 },
	};
	char *end = "";
	int c;

	*s = (struct settings){ .data = "examples/digits/digits.csv",
		.steps = 1000,
		.batch = 96,
		.seed = 1,
		.rate = 0.1,
		.momentum = 0.9 };
	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 'd': s->data = optarg; break;
		case 's': s->steps = strtoll(optarg, &end, 10); break;
		case 'e': s->epochs = strtoll(optarg, &end, 10); break;
		case 'b': s->batch = strtoll(optarg, &end, 10); break;
		case 'l': s->rate = strtod(optarg, &end); break;
		case 'm': s->momentum = strtod(optarg, &end); break;
		case 'r': s->seed = strtoll(optarg, &end, 10); break;
		case 'w': s->step_ms = strtoll(optarg, &end, 10); break;
		case 'h': fputs(usage, stdout); exit(0);
		default: fputs(usage, stderr); return -1;
		}
		if (*end) {
			fprintf(stderr, "digits: '%s' is not a number\n%s", optarg, usage);
			return -1;
		}
	}
	if (optind < argc || s->steps < 0 || s->epochs < 0 || s->batch < 1 || s->step_ms < 0) {
		fputs(usage, stderr);
		return -1;
	}
	return 0;
}

static lockstep_status join(struct training *t)
{
	struct lockstep_options opt = {
		.seed = (uint64_t)t->set.seed, .samples = t->data.n_train, .global_batch = t->set.batch};
	lockstep_status st;

	t->total = t->set.epochs ? t->set.epochs * (t->data.n_train / t->set.batch) : t->set.steps;
	opt.total_steps = t->total;
	st = lockstep_start(&opt, &t->ls, &t->err);
	if (st)
		return st;
	t->n = (int)(t->set.batch / lockstep_world_size(t->ls));
	t->traces = calloc((size_t)t->n, sizeof(*t->traces));
	t->images = calloc((size_t)t->n, sizeof(*t->images));
	t->samples = calloc((size_t)t->n, sizeof(*t->samples));
	if (!t->traces || !t->images || !t->samples) {
		fprintf(stderr, "digits: no memory for a batch of %d images\n", t->n);
		exit(75); /* alone: not through lockstep_finish(), which would wait for the other ranks */
	}
	model_init(&t->model, (uint64_t)t->set.seed);
	return LOCKSTEP_OK;
}

static lockstep_status add_buckets(struct training *t)
{
	struct params *g = &t->model.grad;
	lockstep_status st = lockstep_bucket_add(t->ls, "loss", &t->loss, 1, LOCKSTEP_F64, &t->loss_bucket, &t->err);

	if (!st)
		st = lockstep_bucket_add(
			t->ls, "dense", &g->dense, sizeof(g->dense) / sizeof(float), LOCKSTEP_F32, &t->dense, &t->err);
	if (!st)
		st = lockstep_bucket_add(
			t->ls, "conv", &g->conv, sizeof(g->conv) / sizeof(float), LOCKSTEP_F32, &t->conv, &t->err);
	return st;
}

static lockstep_status add_state(struct training *t)
{
	static const int64_t filters[] = { 3, 3, FILTERS }, filter[] = { FILTERS };
	static const int64_t features[] = { FEATURES, CLASSES }, classes[] = { CLASSES };
	struct params *v = &t->model.value, *m = &t->model.momentum;
	const struct {
		const char *name;
		void *data;
		int ndim;
		const int64_t *shape;
	} rows[] = {
		{ "conv.weight", v->conv.weight, 3, filters },
		{ "conv.bias", v->conv.bias, 1, filter },
		{ "dense.weight", v->dense.weight, 2, features },
		{ "dense.bias", v->dense.bias, 1, classes },
		{ "momentum.conv.weight", m->conv.weight, 3, filters },
		{ "momentum.conv.bias", m->conv.bias, 1, filter },
		{ "momentum.dense.weight", m->dense.weight, 2, features },
		{ "momentum.dense.bias", m->dense.bias, 1, classes },
	};
	lockstep_status st = LOCKSTEP_OK;
	size_t i;

	for (i = 0; !st && i < sizeof(rows) / sizeof(rows[0]); i++)
		st = lockstep_state_add(t->ls, rows[i].name, rows[i].data, LOCKSTEP_F32, rows[i].ndim, rows[i].shape,
			LOCKSTEP_REPLICATED, &t->err);
	return st;
}

/* The dense layer's gradients travel while those of the filters are computed. */
static lockstep_status learn(struct training *t)
{
	lockstep_status st;
	int k;

	lockstep_sampler_next(t->ls, t->samples);
	t->loss = 0;
	for (k = 0; k < t->n; k++) {
		t->images[k] = &t->data.train[t->samples[k]];
		t->loss += model_forward(&t->model, t->images[k], &t->traces[k]) / t->n;
	}
	st = lockstep_bucket_ready(t->ls, t->loss_bucket, &t->err);
	if (st)
		return st;
	model_backward_dense(&t->model, t->traces, t->n);
	st = lockstep_bucket_ready(t->ls, t->dense, &t->err);
	if (st)
		return st;
	model_backward_conv(&t->model, t->images, t->traces, t->n);
	st = lockstep_bucket_ready(t->ls, t->conv, &t->err);
	return st ? st : lockstep_bucket_wait(t->ls, &t->err);
}

static lockstep_status train(struct training *t)
{
	struct timespec pause = { t->set.step_ms / 1000, t->set.step_ms % 1000 * 1000000 };
	lockstep_status st = LOCKSTEP_OK;

	while (!st && t->step < t->total) {
		st = learn(t);
		if (st)
			break;
		model_step(&t->model, (float)(t->set.rate * (1.0 - (double)t->step / (double)t->total)),
			(float)t->set.momentum);
		if (t->set.step_ms)
			nanosleep(&pause, NULL);
		st = lockstep_step_end(t->ls, ++t->step, t->loss, t->n, &t->err);
	}
	if (!st)
		st = lockstep_save(t->ls, t->step, &t->err);
	if (st == LOCKSTEP_AGAIN) /* the library has warned; the model is trained all the same */
		st = LOCKSTEP_OK;
	return st;
}

/* Each rank tries its part of the held-out images. */
static lockstep_status evaluate(struct training *t)
{
	int rank = lockstep_rank(t->ls), world = lockstep_world_size(t->ls), i;
	lockstep_status st;
	double right = 0;

	for (i = rank; i < t->data.n_held_out; i += world)
		right += model_guess(&t->model, &t->data.held_out[i]) == t->data.held_out[i].label;
	st = lockstep_sum_f64(t->ls, &right, 1, &t->err);
	if (st || rank != 0)
		return st;
	printf("held-out accuracy %.1f%%: %.0f of %d images that training never saw\n",
		100 * right / t->data.n_held_out, right, t->data.n_held_out);
	lockstep_result(t->ls, "accuracy", right / t->data.n_held_out);
	return LOCKSTEP_OK;
}

static lockstep_status run(struct training *t)
{
	lockstep_status st = join(t);

	if (!st)
		st = add_buckets(t);
	if (!st)
		st = add_state(t);
	if (!st)
		st = lockstep_restore(t->ls, &t->step, &t->err);
	if (!st)
		st = train(t);
	return st ? st : evaluate(t);
}

int main(int argc, char **argv)
{
	static struct training t;
	lockstep_status st;
	char why[256];

	if (parse_options(argc, argv, &t.set))
		return 2;
	if (digits_load(t.set.data, &t.data, why)) {
		fprintf(stderr, "digits: %s\n", why);
		return 2;
	}
	st = run(&t);
	if (st && st != LOCKSTEP_STOP)
		fprintf(stderr, "digits: %s\n", t.err.text);
	lockstep_finish(t.ls);
	free(t.samples);
	free(t.images);
	free(t.traces);
	digits_free(&t.data);
	return lockstep_exit_code(st);
}
