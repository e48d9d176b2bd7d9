/* topo_visible.c -- which GPUs CUDA_VISIBLE_DEVICES shows, by the rules of CUDA's programming guide (5.2.1.1):
 *
 *     not set        all                                        ""  none
 *     2,0            by number, in this order                   -1  no GPU, as any number that is none
 *     GPU-8932f937   by UUID, of which a beginning that only one has suffices
 *     MIG-…          one instance by its UUID, or by MIG-GPU-UUID/GPU instance/compute instance
 * The first word that names no GPU ends the list. CUDA shows one instance of a GPU that is cut up; here a number or UUID of such a GPU
 * is all of its instances, as each rank is shown one of them by its own UUID.
 */
#include "core/topo_io.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct word {
	const char *text;
	int len;
};

static bool is_number(struct word w)
{
	int i;

	for (i = 0; i < w.len && isdigit((unsigned char)w.text[i]); i++)
		;
	return w.len > 0 && i == w.len;
}

static bool begins(const char *uuid, struct word w)
{
	return !strncasecmp(uuid, w.text, (size_t)w.len);
}

static bool is_instance(const struct ls_gpu *gpu, struct word w)
{
	char old[128]; /* the name of drivers before 470, which newer ones still take */

	if (gpu->mig < 0)
		return false;
	snprintf(old, sizeof(old), "MIG-%s/%d/%d", gpu->parent, gpu->gi, gpu->ci);
	return (strlen(gpu->uuid) == (size_t)w.len && begins(gpu->uuid, w)) || (strlen(old) == (size_t)w.len && begins(old, w));
}

/* Does the word name this one? */
static bool names(const struct ls_gpu *gpu, struct word w)
{
	if (is_number(w))
		return w.len < 6 && gpu->index == atoi(w.text);
	if (w.len >= 4 && !strncmp(w.text, "MIG-", 4))
		return is_instance(gpu, w);
	return w.len > 4 && !strncmp(w.text, "GPU-", 4) && begins(gpu->mig < 0 ? gpu->uuid : gpu->parent, w);
}

/* Why the word is no GPU; "" if it is one, whose devices are from *ret_first to *ret_last. */
static void look_up(const struct ls_gpu *gpus, int n, struct word w, int *ret_first, int *ret_last, char *why, size_t size)
{
	bool uuids = false;
	int i;

	*ret_first = -1;
	why[0] = '\0';
	for (i = 0; i < n; i++) {
		uuids = uuids || gpus[i].uuid[0];
		if (!names(&gpus[i], w))
			continue;
		if (*ret_first >= 0 && gpus[i].index != gpus[*ret_first].index) {
			snprintf(why, size, "several GPUs here have UUIDs that begin with %.*s", w.len, w.text);
			return;
		}
		*ret_first = *ret_first < 0 ? i : *ret_first;
		*ret_last = i;
	}
	if (*ret_first >= 0 && gpus[*ret_first].problem[0])
		snprintf(why, size, "GPU %s cannot be used: %s", gpus[*ret_first].label, gpus[*ret_first].problem);
	else if (*ret_first < 0 && n && !uuids && (!strncmp(w.text, "GPU-", 4) || !strncmp(w.text, "MIG-", 4)))
		snprintf(why, size, "what UUIDs the GPUs here have is not known without NVIDIA's libnvidia-ml.so.1; name them by number");
	else if (*ret_first < 0)
		snprintf(why, size, "there is no GPU '%.*s' here", w.len < 60 ? w.len : 60, w.text);
}

static bool in_list(const struct ls_gpu **list, int n, const struct ls_gpu *gpu)
{
	while (n > 0 && list[n - 1] != gpu)
		n--;
	return n > 0;
}

/* CUDA numbers GPUs by speed unless told otherwise: the same as by address only where all are alike. */
static bool ambiguous(const struct ls_gpu *gpus, int n, const char *order)
{
	int i;

	for (i = 1; i < n && !strcmp(gpus[i].model, gpus[0].model); i++)
		;
	return i < n && (!order || strcmp(order, "PCI_BUS_ID") != 0);
}

static void add(const struct ls_gpu *gpus, int first, int last, const struct ls_gpu **list, int *ret_n)
{
	int i;

	for (i = first; i <= last; i++)
		list[(*ret_n)++] = &gpus[i];
}

static bool take_word(const struct ls_gpu *gpus, int n, struct word w, const struct ls_gpu **list, int *ret_n, char *why,
	size_t size)
{
	int first, last = -1;

	look_up(gpus, n, w, &first, &last, why, size);
	if (!why[0] && in_list(list, *ret_n, &gpus[first]))
		snprintf(why, size, "it names GPU %s twice", gpus[first].label);
	if (why[0])
		return false;
	add(gpus, first, last, list, ret_n);
	return true;
}

/* Takes the words up to the first that is no GPU, for which `why` then has the reason. */
static void take_words(const struct ls_gpu *gpus, int n, const char *devices, const struct ls_gpu **list, int *ret_n, struct ls_visible *ret,
	bool *ret_numbers, char *why, size_t size)
{
	struct word w;

	for (w.text = devices;; w.text += w.len + (w.text[w.len] == ',')) {
		w.text += strspn(w.text, " ");
		w.len = (int)strcspn(w.text, ", ");
		if (!take_word(gpus, n, w, list, ret_n, why, size))
			return;
		ret->by_uuid = ret->by_uuid || !is_number(w);
		*ret_numbers = *ret_numbers || is_number(w);
		if (w.text[w.len] != ',')
			return;
	}
}

/* Not set: all that have no problem. */
static void show_all(const struct ls_gpu *gpus, int n, const struct ls_gpu **list, int *ret_n, struct ls_visible *ret)
{
	int i;

	for (i = 0; i < n; i++) {
		if (!gpus[i].problem[0])
			list[(*ret_n)++] = &gpus[i];
		else if (!ret->why[0])
			snprintf(ret->why, sizeof(ret->why), "GPU %s (%s) cannot be used: %s", gpus[i].label, gpus[i].busid, gpus[i].problem);
	}
	ret->odd = ret->why[0] != '\0';
}

void ls_gpus_visible(const struct ls_gpu *gpus, int n, const char *devices, const char *order, const struct ls_gpu **list, int *ret_n,
	struct ls_visible *ret)
{
	char why[200] = "";
	bool numbers = false, empty = devices && !devices[strspn(devices, " ")];

	*ret = (struct ls_visible){ 0 };
	*ret_n = 0;
	if (!devices)
		show_all(gpus, n, list, ret_n, ret);
	if (!devices || !n)
		return;
	if (!empty)
		take_words(gpus, n, devices, list, ret_n, ret, &numbers, why, sizeof(why));
	ret->odd = empty || why[0] || (numbers && ambiguous(gpus, n, order));
	if (empty)
		snprintf(ret->why, sizeof(ret->why), "CUDA_VISIBLE_DEVICES is empty, which hides every GPU; unset it, or name some");
	else if (why[0])
		snprintf(ret->why, sizeof(ret->why), "CUDA_VISIBLE_DEVICES=%.60s: %s, and CUDA sees %s", devices, why,
			*ret_n ? "only what stands before it" : "none");
	else if (ret->odd)
		snprintf(ret->why, sizeof(ret->why), "CUDA_VISIBLE_DEVICES=%.60s: taken by PCI address, while CUDA numbers different GPUs by speed "
			"unless CUDA_DEVICE_ORDER=PCI_BUS_ID; set that, or name them by UUID", devices);
	else if (*ret_n < n)
		snprintf(ret->why, sizeof(ret->why), "CUDA_VISIBLE_DEVICES=%.60s shows %d of this host's %d", devices, *ret_n, n);
}
