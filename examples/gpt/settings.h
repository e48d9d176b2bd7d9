/* settings.h -- what gpt's command line says. */
#ifndef GPT_SETTINGS_H
#define GPT_SETTINGS_H

#include "gpt.h"

enum gpt_device_wish { GPT_AUTO, GPT_CPU, GPT_CUDA_WANTED };

struct gpt_settings {
	struct gpt_config model;
	const char *data, *dump, *prompt;
	enum gpt_device_wish device;
	int64_t steps, warmup, batch, rank_batch, seed, bucket_kib, eval_every, loss_every, sample, step_ms;
	double lr, decay, clip;
	bool no_overlap, no_communication;
};

/* 0; 1: --help, which is printed; -1: wrong, and said so on stderr. */
int gpt_settings_parse(int argc, char **argv, struct gpt_settings *ret);

#endif
