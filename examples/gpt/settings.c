/* settings.c -- see settings.h: the options in one table. */
#include "settings.h"

#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
	"usage: gpt [options]\n"
	"  --data FILE         the text (default: the King James Bible, from the program `bible`)\n"
	"  --model NAME        tiny (4 layers of 128 channels, context 128; the default), small (6 of 384, 256),\n"
	"                      gpt2 (12 of 768, 1024, and GPT-2's vocabulary)\n"
	"  --layers N, --heads N, --channels N, --context N, --vocab N    instead of the model's\n"
	"  --batch N           windows per step, over all ranks (default 16)\n"
	"  --rank-batch N      windows per step and rank, instead\n"
	"  --steps N           optimizer steps (default 500)\n"
	"  --lr X              highest learning rate (default 1e-3): linear warm-up, then a cosine down to a tenth\n"
	"  --warmup N          steps (default 50)\n"
	"  --decay X           weight decay of the matrices (default 0.1)\n"
	"  --clip X            norm to which gradients are clipped (default 1; 0: not)\n"
	"  --seed N            of the weights, of the order of the windows and of the sample (default 1)\n"
	"  --device NAME       cpu, cuda, or auto (default): cuda where it works; says which and why\n"
	"  --bucket-kib N      gradients are summed in pieces of about N KiB (default 4096)\n"
	"  --eval-every N      steps between losses on the held-out text (default: after the last alone)\n"
	"  --loss-every N      steps between losses of the training (default 1; on a GPU each costs a wait)\n"
	"  --sample N          characters to write at the end (default 200), after --prompt TEXT\n"
	"for measuring and testing:\n"
	"  --step-ms N         sleep in every step, to watch or interrupt a run at leisure\n"
	"  --no-overlap        sum gradients after backward, not during it\n"
	"  --no-communication  sum no gradients: every rank trains for itself\n"
	"  --dump PREFIX       write PREFIX.RANK.safetensors: first weights, windows and losses of all steps, gradients of the first\n";

static const struct model { const char *name; struct gpt_config config; } models[] = {
	{ "tiny", { 4, 2, 128, 256, 128 } },
	{ "small", { 6, 6, 384, 256, 256 } },
	{ "gpt2", { 12, 12, 768, 50304, 1024 } }, /* 50257, padded to a multiple of 128 */
};

enum kind { TEXT, COUNT, SIZE, REAL, FLAG, MODEL, DEVICE };

#define AT(member) offsetof(struct gpt_settings, member)
static const struct row { const char *name; enum kind kind; size_t at; int64_t least; } rows[] = {
	{ "model", MODEL, 0, 0 }, /* first: the others change it, wherever they stand */
	{ "data", TEXT, AT(data), 0 }, { "dump", TEXT, AT(dump), 0 }, { "prompt", TEXT, AT(prompt), 0 },
	{ "layers", SIZE, AT(model.layers), 1 }, { "heads", SIZE, AT(model.heads), 1 }, { "channels", SIZE, AT(model.channels), 1 },
	{ "context", SIZE, AT(model.context), 1 }, { "vocab", SIZE, AT(model.vocab), 256 },
	{ "batch", COUNT, AT(batch), 1 }, { "rank-batch", COUNT, AT(rank_batch), 1 }, { "steps", COUNT, AT(steps), 0 },
	{ "warmup", COUNT, AT(warmup), 0 }, { "seed", COUNT, AT(seed), 0 }, { "bucket-kib", COUNT, AT(bucket_kib), 1 },
	{ "eval-every", COUNT, AT(eval_every), 1 }, { "loss-every", COUNT, AT(loss_every), 1 }, { "sample", COUNT, AT(sample), 0 },
	{ "step-ms", COUNT, AT(step_ms), 0 },
	{ "lr", REAL, AT(lr), 0 }, { "decay", REAL, AT(decay), 0 }, { "clip", REAL, AT(clip), 0 },
	{ "no-overlap", FLAG, AT(no_overlap), 0 }, { "no-communication", FLAG, AT(no_communication), 0 },
	{ "device", DEVICE, 0, 0 },
};
#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

static int wrong(const char *name, const char *value, const char *want)
{
	fprintf(stderr, "gpt: --%s %s: want %s; gpt --help lists the options\n", name, value, want);
	return -1;
}

static int take_number(const struct row *row, const char *text, struct gpt_settings *s)
{
	char *end, *at = (char *)s + row->at, want[40];
	long long n = strtoll(text, &end, 10);

	if (end == text || *end || n < row->least || (row->kind == SIZE && n > INT_MAX / 4)) {
		snprintf(want, sizeof(want), "a whole number from %lld", (long long)row->least);
		return wrong(row->name, text, want);
	}
	if (row->kind == SIZE)
		*(int *)at = (int)n;
	else
		*(int64_t *)at = n;
	return 0;
}

static int take_real(const struct row *row, const char *text, struct gpt_settings *s)
{
	char *end;
	double x = strtod(text, &end);

	if (end == text || *end || !(x >= 0 && x < 1e9))
		return wrong(row->name, text, "a number that is not negative");
	*(double *)((char *)s + row->at) = x;
	return 0;
}

static int take_model(const char *text, struct gpt_settings *s)
{
	size_t i;

	for (i = 0; i < sizeof(models) / sizeof(models[0]); i++)
		if (!strcmp(text, models[i].name)) {
			s->model = models[i].config;
			return 0;
		}
	return wrong("model", text, "tiny, small or gpt2");
}

static int take_device(const char *text, struct gpt_settings *s)
{
	static const char *const names[] = { [GPT_AUTO] = "auto", [GPT_CPU] = "cpu", [GPT_CUDA_WANTED] = "cuda" };
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(text, names[i])) {
			s->device = (enum gpt_device_wish)i;
			return 0;
		}
	return wrong("device", text, "cpu, cuda or auto");
}

static int take(const struct row *row, const char *text, struct gpt_settings *s)
{
	switch (row->kind) {
	case TEXT: *(const char **)((char *)s + row->at) = text; return 0;
	case FLAG: *(bool *)((char *)s + row->at) = true; return 0;
	case REAL: return take_real(row, text, s);
	case MODEL: return take_model(text, s);
	case DEVICE: return take_device(text, s);
	default: return take_number(row, text, s);
	}
}

static int check(const struct gpt_settings *s)
{
	if (s->sample && !*s->prompt)
		return wrong("prompt", "''", "at least one character, to go on from, or --sample 0");
	if (s->model.channels % s->model.heads) {
		fprintf(stderr, "gpt: %d channels are no multiple of %d heads\n", s->model.channels, s->model.heads);
		return -1;
	}
	return 0;
}

int gpt_settings_parse(int argc, char **argv, struct gpt_settings *ret)
{
	struct gpt_settings s = { .model = models[0].config, .prompt = "In the beginning ", .steps = 500, .warmup = 50, .batch = 16, .seed = 1,
		.bucket_kib = 4096, .loss_every = 1, .sample = 200, .lr = 1e-3, .decay = 0.1, .clip = 1 };
	struct option options[N_ROWS + 2] = { { "help", no_argument, NULL, 'h' } };
	const char *given[N_ROWS] = { 0 };
	size_t i;
	int c, at;

	for (i = 0; i < N_ROWS; i++)
		options[i + 1] = (struct option){ rows[i].name, rows[i].kind == FLAG ? no_argument : required_argument, NULL, 0 };
	while ((c = getopt_long(argc, argv, "h", options, &at)) != -1) {
		if (c == 'h')
			return fputs(usage, stdout) < 0 ? -1 : 1;
		if (c != 0)
			return -1; /* getopt has said it */
		given[at - 1] = optarg ? optarg : "";
	}
	if (optind < argc)
		return fprintf(stderr, "gpt: %s: what is this? gpt --help lists the options\n", argv[optind]), -1;
	for (i = 0; i < N_ROWS; i++)
		if (given[i] && take(&rows[i], given[i], &s))
			return -1;
	if (check(&s))
		return -1;
	*ret = s;
	return 0;
}
