/* sample.c -- see sample.h. Nothing is kept from one character to the next: each costs a forward pass over what came before. */
#include "sample.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEMPERATURE 0.8f
#define BYTES 256 /* of the vocabulary: what is above is padding */

static float uniform(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u; /* splitmix64 */

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (float)((z ^ z >> 31) >> 40) * 0x1p-24f;
}

static int draw(const float *logits, uint64_t *random)
{
	float most = logits[0], sum = 0, p[BYTES], at;
	int i;

	for (i = 1; i < BYTES; i++)
		most = fmaxf(most, logits[i]);
	for (i = 0; i < BYTES; i++)
		sum += p[i] = expf((logits[i] - most) / TEMPERATURE);
	at = uniform(random) * sum;
	for (i = 0; i < BYTES - 1 && at >= p[i]; i++)
		at -= p[i];
	return i;
}

/* A model that has learned little writes any byte: what would move a terminal's cursor is a question mark. */
static int write_on(const struct gpt_device *device, struct gpt_model *m, const struct gpt_config *c, int32_t *text, int64_t n, int64_t end,
	float *logits, uint64_t random, char *err)
{
	for (; n < end; n++) {
		int known = n < c->context ? (int)n : c->context;

		if (device->predict(m, text + n - known, known, logits, err))
			return -1;
		text[n] = draw(logits, &random);
		putchar((text[n] < ' ' && text[n] != '\n') || text[n] == 0x7f ? '?' : text[n]);
	}
	putchar('\n');
	return 0;
}

int gpt_sample(const struct gpt_device *device, struct gpt_model *m, const struct gpt_config *c, const char *prompt, int64_t count,
	uint64_t seed, char *err)
{
	int64_t n = (int64_t)strlen(prompt), i;
	int32_t *text = malloc((size_t)(n + count) * sizeof(*text));
	float *logits = malloc((size_t)c->vocab * sizeof(*logits));
	int code = -1;

	if (!text || !logits) {
		snprintf(err, 512, "no memory for a text of %lld characters", (long long)(n + count));
		goto out;
	}
	for (i = 0; i < n; i++)
		text[i] = (unsigned char)prompt[i];
	fputs(prompt, stdout);
	code = write_on(device, m, c, text, n, n + count, logits, seed, err);
out:
	free(logits);
	free(text);
	return code;
}
