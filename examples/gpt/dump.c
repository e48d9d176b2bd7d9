/* dump.c -- see dump.h; the format: https://github.com/huggingface/safetensors#format */
#include "dump.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct gpt_dump {
	const struct gpt_tensor *tensors;
	int n, batch, context;
	int64_t steps, done;
	float *params, *grads, *losses;
	int32_t *tokens, *targets;
};

static void dump_free(struct gpt_dump *d)
{
	free(d->params);
	free(d->grads);
	free(d->losses);
	free(d->tokens);
	free(d->targets);
	free(d);
}

static size_t elements(const struct gpt_dump *d)
{
	return d->tensors[d->n - 1].offset + d->tensors[d->n - 1].count;
}

struct gpt_dump *gpt_dump_start(const struct gpt_tensor *tensors, int n, const float *params, int64_t steps, int batch, int context)
{
	struct gpt_dump *d = calloc(1, sizeof(*d));
	size_t windows = (size_t)steps * (size_t)batch * (size_t)context * sizeof(int32_t);

	if (!d)
		return NULL;
	*d = (struct gpt_dump){ .tensors = tensors, .n = n, .batch = batch, .context = context, .steps = steps };
	d->params = malloc(elements(d) * sizeof(float));
	d->grads = calloc(elements(d), sizeof(float));
	d->losses = calloc((size_t)steps, sizeof(float));
	d->tokens = malloc(windows);
	d->targets = malloc(windows);
	if (!d->params || !d->grads || !d->losses || !d->tokens || !d->targets) {
		dump_free(d);
		return NULL;
	}
	memcpy(d->params, params, elements(d) * sizeof(float));
	return d;
}

void gpt_dump_step(struct gpt_dump *d, const int32_t *tokens, const int32_t *targets, float loss, const float *grads)
{
	size_t each = (size_t)d->batch * (size_t)d->context;

	if (d->done == d->steps)
		return;
	if (!d->done)
		memcpy(d->grads, grads, elements(d) * sizeof(float));
	memcpy(d->tokens + (size_t)d->done * each, tokens, each * sizeof(*tokens));
	memcpy(d->targets + (size_t)d->done * each, targets, each * sizeof(*targets));
	d->losses[d->done++] = loss;
}

/* A tensor's line in the header; *at moves behind its data. */
static void describe(FILE *header, const char *name, const char *type, const int64_t *shape, int ndim, size_t *at)
{
	size_t bytes = 4;
	int i;

	fprintf(header, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", *at ? "," : "{", name, type);
	for (i = 0; i < ndim; i++) {
		fprintf(header, "%s%" PRId64, i ? "," : "", shape[i]);
		bytes *= (size_t)shape[i];
	}
	fprintf(header, "],\"data_offsets\":[%zu,%zu]}", *at, *at + bytes);
	*at += bytes;
}

static void put_tensors(FILE *f, const struct gpt_dump *d, const float *from)
{
	int i;

	for (i = 0; i < d->n; i++)
		fwrite(from + d->tensors[i].offset, sizeof(float), d->tensors[i].count, f);
}

static int put(FILE *f, const struct gpt_dump *d)
{
	int64_t shape[3] = { d->done, d->batch, d->context };
	size_t each = (size_t)(d->done * d->batch * d->context), at = 0, size = 0;
	char *text = NULL, name[48];
	FILE *header = open_memstream(&text, &size);
	uint64_t length;
	int i;

	if (!header)
		return -1;
	for (i = 0; i < d->n; i++)
		describe(header, d->tensors[i].name, "F32", d->tensors[i].shape, d->tensors[i].ndim, &at);
	for (i = 0; i < d->n; i++) {
		snprintf(name, sizeof(name), "grad.%s", d->tensors[i].name);
		describe(header, name, "F32", d->tensors[i].shape, d->tensors[i].ndim, &at);
	}
	describe(header, "tokens", "I32", shape, 3, &at);
	describe(header, "targets", "I32", shape, 3, &at);
	describe(header, "loss", "F32", shape, 1, &at);
	fputc('}', header);
	fclose(header);
	length = size;
	fwrite(&length, sizeof(length), 1, f);
	fwrite(text, 1, size, f);
	free(text);
	put_tensors(f, d, d->params);
	put_tensors(f, d, d->grads);
	fwrite(d->tokens, sizeof(int32_t), each, f);
	fwrite(d->targets, sizeof(int32_t), each, f);
	fwrite(d->losses, sizeof(float), (size_t)d->done, f);
	return ferror(f);
}

int gpt_dump_write(struct gpt_dump *d, const char *prefix, int rank, char *err)
{
	char path[400];
	FILE *f;
	int bad = 0;

	if (!d)
		return 0;
	snprintf(path, sizeof(path), "%s.%d.safetensors", prefix, rank);
	f = fopen(path, "w");
	if (f) {
		bad = put(f, d);
		bad |= fclose(f);
	}
	if (!f || bad)
		snprintf(err, 512, "cannot write %s: %s", path, strerror(errno));
	dump_free(d);
	return !f || bad ? -1 : 0;
}
