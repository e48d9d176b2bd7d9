/* place_gpu.c -- see place_gpu.h and the rules in place.h.
 *
 * A job that wants GPUs and cannot have them is refused with the reason; that it then ran on CPUs would be found out by its slowness alone.
 */
#include "core/place_gpu.h"

#include <stdio.h>
#include <string.h>

/* Used by nobody whom we see: more than this part of its memory is not the driver's own. */
enum { MUCH = 8 };

static ls_status too_few(const struct ls_topo *topo, int n, int ranks, struct ls_err *err)
{
	bool odd;
	const char *hidden = ls_topo_hidden_gpus(topo, &odd);

	if (!n && hidden[0])
		return ls_fail(err, LS_USAGE, 0, "ranks are to be bound to GPUs, but %s", hidden);
	if (!n)
		return ls_fail(err, LS_USAGE, 0, "ranks are to be bound to GPUs, but this host has none; bind them to core or numa");
	return ls_fail(err, LS_USAGE, 0, "%d ranks want a GPU each, but this host has %d%s%s%s; ask for at most %d ranks per host, or bind them "
		"to core or numa", ranks, n, hidden[0] ? " (" : "", hidden, hidden[0] ? ")" : "", n);
}

ls_status ls_place_gpu_check(const struct ls_topo *topo, const struct ls_gpu *const *gpus, int n, int ranks, struct ls_err *err)
{
	int i;

	if (ranks > n)
		return too_few(topo, n, ranks, err);
	for (i = 0; i < ranks; i++) {
		const struct ls_gpu *g = gpus[i];

		if (g->mode == LS_GPU_PROHIBITED)
			return ls_fail(err, LS_USAGE, 0, "GPU %s (%s) lets nobody compute (its compute mode is Prohibited); `nvidia-smi -i %s -c DEFAULT` "
				"as root changes that, CUDA_VISIBLE_DEVICES leaves it out", g->label, g->busid, g->busid);
		if (g->mode == LS_GPU_EXCLUSIVE && g->users[0])
			return ls_fail(err, LS_USAGE, 0, "GPU %s (%s) is in exclusive use by %s; wait for its end, or leave it out with "
				"CUDA_VISIBLE_DEVICES", g->label, g->busid, g->users);
	}
	return LS_OK;
}

void ls_place_gpu(const struct ls_topo *topo, const struct ls_gpu *gpu, struct ls_seat *seat)
{
	seat->gpu = gpu->index;
	memcpy(seat->gpu_label, gpu->label, sizeof(seat->gpu_label));
	memcpy(seat->gpu_busid, gpu->busid, sizeof(seat->gpu_busid));
	ls_topo_gpu_id(topo, gpu, seat->gpu_id);
}

static void add_users(const struct ls_gpu *g, struct ls_str *text)
{
	const char *before = text->len ? ", " : "others use ";

	if (g->users[0])
		ls_str_addf(text, "%sGPU %s (%s)", before, g->label, g->users);
	else if (g->used_bytes > g->bytes / MUCH)
		ls_str_addf(text, "%sGPU %s (%.0f of %.0f GiB, by processes that are not seen from here)", before, g->label,
			(double)g->used_bytes / (1 << 30), (double)g->bytes / (1 << 30));
}

void ls_place_gpu_warning(const struct ls_topo *topo, const struct ls_gpu *const *gpus, int n, char *ret, size_t size)
{
	struct ls_str users = { 0 };
	bool odd;
	const char *hidden = ls_topo_hidden_gpus(topo, &odd);
	int i;

	for (i = 0; gpus && i < n; i++)
		add_users(gpus[i], &users);
	snprintf(ret, size, "%s%s%s%s%s", odd ? hidden : "", odd && !gpus ? "; ranks are placed on cores" : "", odd && users.len ? "; " : "",
		ls_str_text(&users), users.len ? ": ranks there are slower, and may find too little memory" : "");
	ls_str_release(&users);
}
