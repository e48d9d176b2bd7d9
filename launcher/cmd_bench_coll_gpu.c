/* cmd_bench_coll_gpu.c -- `lockstep bench all-reduce --device cuda`: what is different from ranks on cores.
 *
 * It is measured on GPUs or not at all. Ranks are bound by the launcher, each near its GPU; they do not bind themselves. */
#include "launcher/cmd_bench_coll.h"
#include "core/topo.h"
#include "launcher/probe.h"

#include <stdlib.h>
#include <string.h>

static ls_status none_here(const struct ls_topo *topo, struct ls_err *err)
{
	bool odd, answers;
	const char *hidden = ls_topo_hidden_gpus(topo, &odd), *driver = ls_topo_gpu_driver(topo, &answers);
	const char *why = hidden[0] ? hidden : answers ? "" : driver;

	return ls_fail(err, LS_USAGE, 0, "--device cuda: this machine has no GPU that can be used%s%s; -H names hosts that have, "
		"--device cpu measures on cores", why[0] ? ": " : "", why);
}

static ls_status count(struct ls_bench *b, struct ls_err *err)
{
	const struct ls_gpu *const *gpus;
	struct ls_topo *topo = NULL;
	ls_status st = ls_host_topo(&topo, err);

	if (!st)
		st = ls_topo_set_visible(topo, getenv("CUDA_VISIBLE_DEVICES"), getenv("CUDA_DEVICE_ORDER"), err);
	if (!st) {
		b->gpus = ls_topo_usable_gpus(topo, &gpus);
		if (!b->gpus)
			st = none_here(topo, err);
	}
	ls_topo_close(topo);
	return st;
}

ls_status ls_bench_gpu_options(struct ls_bench *b, struct ls_err *err)
{
	struct ls_bench_options *opt = &b->opt;
	ls_status st = opt->hosts || opt->hostfile ? LS_OK : count(b, err);

	if (st)
		return st;
	if (strcmp(opt->backend, "auto") != 0 || opt->algorithm)
		return ls_fail(err, LS_USAGE, 0, "--device cuda is NCCL's: --backend and --algorithm are for --device cpu");
	if (!opt->np && !b->gpus)
		return ls_fail(err, LS_USAGE, 0, "--device cuda: say how many ranks with -np, one for each GPU of the hosts");
	if (!opt->np)
		opt->np = b->gpus;
	if (b->gpus && opt->np > b->gpus && !opt->oversubscribe)
		return ls_fail(err, LS_USAGE, 0, "-np %d: this machine has %d GPU%s that can be used; --oversubscribe puts all ranks on the first one, "
			"to see that it works", opt->np, b->gpus, b->gpus == 1 ? "" : "s");
	opt->bind = false;
	return LS_OK;
}

static bool same(const struct ls_bench_rank *a, const struct ls_bench_rank *b)
{
	return a->device[0] && !strcmp(a->device, b->device) && !strcmp(a->host, b->host);
}

/* All that share the GPU of the first rank that shares one. */
void ls_bench_gpu_shared(const struct ls_bench *b, const struct ls_bench_contender *c, struct ls_str *ret)
{
	int i, k, n;

	for (i = 0; i < b->opt.np && !ret->len; i++) {
		for (k = n = 0; k < b->opt.np; k++)
			n += same(&c->ranks[i], &c->ranks[k]);
		for (k = i; k < b->opt.np && n > 1; k++)
			if (same(&c->ranks[i], &c->ranks[k]))
				ls_str_addf(ret, "%s%d", k == i ? "ranks " : ", ", k);
	}
}
