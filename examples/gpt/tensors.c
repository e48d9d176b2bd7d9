/* tensors.c -- which tensors a GPT-2 has and where they lie, how they are dealt into buckets, and their first values.
 *
 * Every tensor begins at a multiple of ALIGN elements, so that vectors and tensor cores find their alignment also with odd sizes. What lies
 * between two tensors belongs to no model and is zero: in the parameters, the gradients and the moments. */
#include "gpt.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGN 64
#define PER_LAYER 12

struct list {
	struct gpt_tensor *tensors;
	int n;
	size_t end;
};

__attribute__((format(printf, 4, 5))) static void add(struct list *l, int64_t rows, int64_t columns, const char *name, ...)
{
	struct gpt_tensor *t = &l->tensors[l->n++];
	va_list ap;

	va_start(ap, name);
	vsnprintf(t->name, sizeof(t->name), name, ap);
	va_end(ap);
	t->ndim = columns ? 2 : 1;
	t->shape[0] = rows;
	t->shape[1] = columns ? columns : 1;
	t->offset = l->end;
	t->count = (size_t)(t->shape[0] * t->shape[1]);
	t->decay = columns != 0;
	l->end += (t->count + ALIGN - 1) / ALIGN * ALIGN;
}

static void add_pair(struct list *l, int layer, const char *name, int64_t rows, int64_t columns)
{
	add(l, rows, columns, "h.%d.%s.weight", layer, name);
	add(l, rows, 0, "h.%d.%s.bias", layer, name);
}

int gpt_tensors(const struct gpt_config *c, struct gpt_tensor **ret, size_t *ret_count)
{
	struct list l = { .tensors = calloc((size_t)c->layers * PER_LAYER + 4, sizeof(struct gpt_tensor)) };
	int64_t width = c->channels;
	int i;

	if (!l.tensors)
		return 0;
	add(&l, c->vocab, width, "wte.weight");
	add(&l, c->context, width, "wpe.weight");
	for (i = 0; i < c->layers; i++) {
		add_pair(&l, i, "ln_1", width, 0);
		add_pair(&l, i, "attn.c_attn", 3 * width, width);
		add_pair(&l, i, "attn.c_proj", width, width);
		add_pair(&l, i, "ln_2", width, 0);
		add_pair(&l, i, "mlp.c_fc", 4 * width, width);
		add_pair(&l, i, "mlp.c_proj", width, 4 * width);
	}
	add(&l, width, 0, "ln_f.weight");
	add(&l, width, 0, "ln_f.bias");
	*ret = l.tensors;
	*ret_count = l.end;
	return l.n;
}

/* From the last tensor to the first: a bucket is closed when it holds `bytes`, and before wpe: the gradients of wte and wpe are final at the
 * very end, and no other tensor should wait for them. A bucket reaches to the next one's beginning: the gap between is zero, and summed. */
int gpt_buckets(const struct gpt_config *c, const struct gpt_tensor *t, int n, size_t bytes, size_t elem, struct gpt_bucket **ret)
{
	struct gpt_bucket *buckets = calloc((size_t)n, sizeof(*buckets));
	size_t end = t[n - 1].offset + t[n - 1].count;
	int i, made = 0;

	(void)c;
	if (!buckets)
		return 0;
	for (i = n - 1; i >= 0; i--) {
		if ((end - t[i].offset) * elem < bytes && i != 2 && i != 0)
			continue;
		buckets[made++] = (struct gpt_bucket){ t[i].offset, end - t[i].offset };
		end = t[i].offset;
	}
	*ret = buckets;
	return made;
}

/* splitmix64 (Steele, Lea, Flood 2014) of a counter: element i of a tensor has the same value whoever asks. */
static double uniform(uint64_t key, uint64_t i)
{
	uint64_t z = key + (i + 1) * 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	z ^= z >> 31;
	return ((double)(z >> 11) + 0.5) * 0x1p-53;
}

static void fill_normal(float *p, size_t count, uint64_t key, double deviation)
{
	size_t i;

	for (i = 0; i < count; i++)
		p[i] = (float)(deviation * sqrt(-2 * log(uniform(key, 2 * i))) * cos(2 * M_PI * uniform(key, 2 * i + 1)));
}

static bool ends_in(const char *name, const char *end)
{
	size_t have = strlen(name), want = strlen(end);

	return have >= want && !strcmp(name + have - want, end);
}

void gpt_init(const struct gpt_config *c, const struct gpt_tensor *t, int n, uint64_t seed, float *params)
{
	size_t k;
	int i;

	memset(params, 0, (t[n - 1].offset + (t[n - 1].count + ALIGN - 1) / ALIGN * ALIGN) * sizeof(*params));
	for (i = 0; i < n; i++) {
		uint64_t key = (seed << 20 | (uint64_t)i) * 0xd1342543de82ef95u;
		bool residual = ends_in(t[i].name, "c_proj.weight");

		if (t[i].decay)
			fill_normal(params + t[i].offset, t[i].count, key, residual ? 0.02 / sqrt(2.0 * c->layers) : 0.02);
		else if (ends_in(t[i].name, ".weight")) /* of a layer norm */
			for (k = 0; k < t[i].count; k++)
				params[t[i].offset + k] = 1;
	}
}
