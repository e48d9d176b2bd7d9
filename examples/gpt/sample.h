/* sample.h -- what the trained model writes. */
#ifndef GPT_SAMPLE_H
#define GPT_SAMPLE_H

#include "gpt.h"

/* `prompt` and `count` bytes after it, to stdout; random at temperature 0.8. 0, or -1 with a sentence. */
int gpt_sample(const struct gpt_device *device, struct gpt_model *m, const struct gpt_config *c, const char *prompt, int64_t count,
	uint64_t seed, char *err);

#endif
