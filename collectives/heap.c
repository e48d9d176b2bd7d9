/* heap.c -- which bytes of an arena are taken: first fit in a sorted list. A rank allocates its gradients once; speed is no matter. */
#include "collectives/shm.h"

#include <string.h>

#define LINE 64

struct block {
	size_t at, bytes;
};

struct ls_heap {
	size_t begin, end;
	struct block *v; /* taken, in order */
	size_t n;
};

struct ls_heap *ls_heap_open(size_t begin, size_t end)
{
	struct ls_heap *h = calloc(1, sizeof(*h));

	if (h) {
		h->begin = begin;
		h->end = end;
	}
	return h;
}

void ls_heap_close(struct ls_heap *h)
{
	if (h)
		free(h->v);
	free(h);
}

bool ls_heap_take(struct ls_heap *h, size_t bytes, size_t *ret_at)
{
	struct block *grown;
	size_t i, at = h->begin;

	if (bytes > h->end - h->begin)
		return false;
	bytes = bytes ? (bytes + LINE - 1) / LINE * LINE : LINE;
	for (i = 0; i < h->n && h->v[i].at - at < bytes; i++)
		at = h->v[i].at + h->v[i].bytes;
	if (h->end - at < bytes)
		return false;
	grown = realloc(h->v, (h->n + 1) * sizeof(*grown));
	if (!grown)
		return false;
	h->v = grown;
	memmove(&grown[i + 1], &grown[i], (h->n - i) * sizeof(*grown));
	grown[i] = (struct block){ at, bytes };
	h->n++;
	*ret_at = at;
	return true;
}

size_t ls_heap_give(struct ls_heap *h, size_t at)
{
	size_t i, bytes;

	for (i = 0; i < h->n; i++) {
		if (h->v[i].at != at)
			continue;
		bytes = h->v[i].bytes;
		memmove(&h->v[i], &h->v[i + 1], (--h->n - i) * sizeof(*h->v));
		return bytes;
	}
	return 0;
}
