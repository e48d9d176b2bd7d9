/* net_gpu.c -- see net_local.h: a rank's GPU. Its memory by a copy inside it (read and written: twice the bytes), the way to it and back by pinned
 * host memory. Times are the GPU's own, by events. */
#include "bench/net_local.h"
#include "collectives/api_cuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB ((size_t)1 << 20)

struct gpu {
	void *from, *to, *host, *stream, *begun, *ended;
	size_t bytes;
};

static ls_status gpu_open(struct gpu *g, const struct ls_cuda_device *d, struct ls_err *err)
{
	ls_status st = ls_cuda_stream_make(false, &g->stream, err);

	g->bytes = 256 * MIB < d->free_bytes / 8 ? 256 * MIB : d->free_bytes / 8;
	if (!st)
		st = ls_cuda_event_make(true, &g->begun, err);
	if (!st)
		st = ls_cuda_event_make(true, &g->ended, err);
	if (!st)
		st = ls_cuda_alloc(g->bytes, &g->from, err);
	if (!st)
		st = ls_cuda_alloc(g->bytes, &g->to, err);
	return st ? st : ls_cuda_host_alloc(g->bytes, &g->host, err);
}

static void gpu_close(struct gpu *g)
{
	ls_cuda_host_free(g->host);
	ls_cuda_free(g->to);
	ls_cuda_free(g->from);
	ls_cuda_event_free(g->ended);
	ls_cuda_event_free(g->begun);
	ls_cuda_stream_free(g->stream);
}

static ls_status copies(struct gpu *g, void *to, const void *from, int n, double *ret_s, struct ls_err *err)
{
	double ms = 0;
	ls_status st = ls_cuda_event_record(g->begun, g->stream, err);

	for (; !st && n > 0; n--)
		st = ls_cuda_copy(to, from, g->bytes, g->stream, err);
	if (!st)
		st = ls_cuda_event_record(g->ended, g->stream, err);
	if (!st)
		st = ls_cuda_stream_sync(g->stream, err);
	if (!st)
		st = ls_cuda_event_ms(g->begun, g->ended, &ms, err);
	*ret_s = ms / 1e3;
	return st;
}

/* `times`: how often a copy touches a byte of what is measured. */
static ls_status copy_rate(struct gpu *g, void *to, const void *from, int times, double seconds, struct ls_net_stat *ret, struct ls_err *err)
{
	double v[NET_REPEATS], s = 0;
	ls_status st = copies(g, to, from, 1, &s, err);
	int n, i;

	if (!st) /* the first is for what is mapped lazily */
		st = copies(g, to, from, 1, &s, err);
	n = s > 0 && seconds / NET_REPEATS > s ? (int)(seconds / NET_REPEATS / s) : 1;
	for (i = 0; !st && i < NET_REPEATS; i++) {
		st = copies(g, to, from, n, &s, err);
		v[i] = s > 0 ? (double)times * n * (double)g->bytes / s / 1e9 : 0;
	}
	if (!st)
		*ret = ls_net_stat_of(v, NET_REPEATS, true);
	return st;
}

static ls_status measure(struct ls_net_rank *r, struct ls_net_host *h, double seconds, struct ls_err *err)
{
	struct ls_cuda_device d = { 0 };
	struct gpu g = { 0 };
	ls_status st = ls_cuda_open(err);

	if (!st)
		st = ls_cuda_device(&d, err);
	if (st)
		return st;
	snprintf(h->facts[LS_NET_GPU], sizeof(h->facts[0]), "%s", d.name);
	snprintf(h->facts[LS_NET_DRIVER], sizeof(h->facts[0]), "%d.%d", d.driver / 1000, d.driver % 1000 / 10);
	st = gpu_open(&g, &d, err);
	if (!st)
		st = copy_rate(&g, g.to, g.from, 2, seconds / 3, &r->stat[LS_NET_GPU_MEMORY], err);
	if (!st)
		st = copy_rate(&g, g.to, g.host, 1, seconds / 3, &r->stat[LS_NET_TO_GPU], err);
	if (!st)
		st = copy_rate(&g, g.host, g.from, 1, seconds / 3, &r->stat[LS_NET_FROM_GPU], err);
	gpu_close(&g);
	return st;
}

void net_gpu(struct ls_net_rank *r, struct ls_net_host *h, double seconds)
{
	const char *given = getenv("CUDA_VISIBLE_DEVICES");
	struct ls_err err = LS_ERR_INIT;

	if (!given || !*given) {
		snprintf(r->gpu, sizeof(r->gpu), "no GPU");
	} else if (!ls_cuda_built()) {
		snprintf(r->gpu, sizeof(r->gpu), "not measured: this build has no CUDA");
	} else if (measure(r, h, seconds, &err)) {
		r->gpu_bad = true;
		snprintf(r->gpu, sizeof(r->gpu), "%.255s", err.text);
	}
}
