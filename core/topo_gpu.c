/* topo_gpu.c -- GPUs of a topology: PCI objects, and the notes on them (topo_io.h).
 *
 * A note is a JSON object with the members busid, uuid, name, memory and used (bytes), mode ("exclusive", "prohibited"; else shared),
 * links, users, problem, and mig: the instances of a GPU that is cut up, each with uuid, name, memory, used, users, gi and ci. All but
 * busid may be absent.
 *
 * Invariant: GPUs are numbered by their PCI addresses; an instance follows the one before it and has its GPU's number. A GPU that is cut up
 * is no device itself; without instances it is one that has a problem, so that people see it.
 */
#include "core/json.h"
#include "core/topo_io.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PCI_CLASS_DISPLAY 0x03
#define PCI_VENDOR_NVIDIA 0x10de
#define BYTES_MAX 1e15 /* a whole number in a double, and more than any GPU has */

struct found {
	char busid[24];
	hwloc_obj_t pci;    /* or NULL */
	const char *note;   /* or NULL */
};

struct list {
	struct ls_gpu *v;
	int n, cap;
};

/* The value behind "Key:" in the driver's information file, or NULL. */
static const char *driver_says(const char *text, const char *key)
{
	const char *value = strstr(text, key);

	if (!value)
		return NULL;
	value += strlen(key);
	value += strspn(value, ": \t");
	return value;
}

bool ls_gpu_given(const char *root, const char *busid, char *name, size_t size)
{
	char path[512], text[1024];
	const char *value;
	ssize_t len;
	FILE *f;

	snprintf(path, sizeof(path), "%s/proc/driver/nvidia/gpus", root);
	if (access(path, X_OK) < 0)
		return true;
	snprintf(path, sizeof(path), "%s/proc/driver/nvidia/gpus/%s/information", root, busid);
	f = fopen(path, "re");
	if (!f)
		return errno != ENOENT; /* no entry: not ours; anything else is no answer */
	len = (ssize_t)fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[len] = '\0';
	value = driver_says(text, "Model");
	if (value)
		snprintf(name, size, "%.*s", (int)strcspn(value, "\n"), value);
	value = driver_says(text, "Device Minor");
	if (!value)
		return true;
	/* Device files appear at the first use of the driver; before that, none being there means nothing. */
	snprintf(path, sizeof(path), "%s/dev/nvidiactl", root);
	if (access(path, F_OK) < 0)
		return true;
	snprintf(path, sizeof(path), "%s/dev/nvidia%d", root, atoi(value));
	return access(path, F_OK) == 0;
}

/* This machine: ask the driver, and note its answers. */
static ls_status ask_driver(hwloc_obj_t pci, const char *busid, struct ls_err *err)
{
	char name[64] = "";

	if (!ls_gpu_given("", busid, name, sizeof(name)) && hwloc_obj_add_info(pci, LS_INFO_NOT_GIVEN, "1") < 0)
		return ls_fail_oom(err);
	if (name[0] && !hwloc_obj_get_info_by_name(pci, "PCIDevice") && hwloc_obj_add_info(pci, "PCIDevice", name) < 0)
		return ls_fail_oom(err);
	return LS_OK;
}

/* --- notes ------------------------------------------------------------------------------------------------------ */

static void text_of(const cJSON *note, const char *key, char *ret, size_t size)
{
	snprintf(ret, size, "%s", ls_json_text(note, key));
}

/* 0: absent, or not to be believed. */
static double number_of(const cJSON *note, const char *key, double most)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(note, key);

	return cJSON_IsNumber(item) && item->valuedouble > 0 && item->valuedouble <= most ? item->valuedouble : 0;
}

/* What a GPU and an instance have alike. */
static void read_note(const cJSON *note, struct ls_gpu *gpu)
{
	if (*ls_json_text(note, "uuid"))
		text_of(note, "uuid", gpu->uuid, sizeof(gpu->uuid));
	text_of(note, "users", gpu->users, sizeof(gpu->users));
	gpu->bytes = (uint64_t)number_of(note, "memory", BYTES_MAX);
	gpu->used_bytes = (uint64_t)number_of(note, "used", BYTES_MAX);
	if (*ls_json_text(note, "name"))
		text_of(note, "name", gpu->name, sizeof(gpu->name));
}

static struct ls_gpu *list_add(struct list *list, const struct ls_gpu *gpu)
{
	if (list->n == list->cap) {
		int cap = list->cap ? 2 * list->cap : 16;
		struct ls_gpu *v = realloc(list->v, (size_t)cap * sizeof(*v));

		if (!v)
			return NULL;
		list->v = v;
		list->cap = cap;
	}
	list->v[list->n] = *gpu;
	return &list->v[list->n++];
}

static bool add_instances(struct list *list, const struct ls_gpu *gpu, const cJSON *instances)
{
	const cJSON *note;
	int i = 0;

	cJSON_ArrayForEach(note, instances) {
		struct ls_gpu *one = list_add(list, gpu);

		if (!one)
			return false;
		memcpy(one->parent, gpu->uuid, sizeof(one->parent));
		read_note(note, one);
		one->mig = i++;
		one->gi = (int)number_of(note, "gi", INT16_MAX);
		one->ci = (int)number_of(note, "ci", INT16_MAX);
		snprintf(one->label, sizeof(one->label), "%d.%d", one->index, one->mig);
	}
	return true;
}

/* What hwloc's own NVML plug-in wrote into an XML file; a note knows better. */
static void read_osdev(struct ls_gpu *gpu)
{
	hwloc_obj_t dev;

	for (dev = gpu->pci ? gpu->pci->io_first_child : NULL; dev; dev = dev->next_sibling) {
		const char *model = hwloc_obj_get_info_by_name(dev, "GPUModel"), *uuid = hwloc_obj_get_info_by_name(dev, "NVIDIAUUID");

		if (model)
			snprintf(gpu->name, sizeof(gpu->name), "%s", model);
		if (uuid)
			snprintf(gpu->uuid, sizeof(gpu->uuid), "%s", uuid);
	}
}

/* The devices that a GPU is. A note that is no JSON came from another version: it says nothing. */
static bool add_gpu(struct list *list, struct ls_gpu *gpu, const char *text)
{
	cJSON *note = text ? cJSON_Parse(text) : NULL;
	const cJSON *instances = cJSON_GetObjectItemCaseSensitive(note, "mig");
	const char *mode = ls_json_text(note, "mode");
	bool good;

	read_note(note, gpu);
	memcpy(gpu->model, gpu->name, sizeof(gpu->model));
	text_of(note, "links", gpu->links, sizeof(gpu->links));
	text_of(note, "problem", gpu->problem, sizeof(gpu->problem));
	gpu->mode = !strcmp(mode, "exclusive") ? LS_GPU_EXCLUSIVE : !strcmp(mode, "prohibited") ? LS_GPU_PROHIBITED : LS_GPU_SHARED;
	if (cJSON_GetArraySize(instances) > 0) {
		good = add_instances(list, gpu, instances);
	} else {
		if (instances && !gpu->problem[0])
			snprintf(gpu->problem, sizeof(gpu->problem),
				"MIG is on, but it has no instance; `nvidia-smi mig -cgi … -C` makes some");
		good = list_add(list, gpu) != NULL;
	}
	cJSON_Delete(note);
	return good;
}

/* --- the list --------------------------------------------------------------------------------------------------- */

static int by_busid(const void *a, const void *b)
{
	return strcmp(((const struct found *)a)->busid, ((const struct found *)b)->busid);
}

/* Notes of the root, of GPUs that no PCI bus shows: some virtual machines and sandboxes have none. */
static int find_busless(hwloc_topology_t hw, struct found *ret)
{
	hwloc_obj_t root = hwloc_get_root_obj(hw);
	unsigned i;
	int n = 0;

	for (i = 0; i < root->infos_count; i++) {
		cJSON *note;

		if (strcmp(root->infos[i].name, LS_INFO_GPU) != 0)
			continue;
		if (ret) {
			note = cJSON_Parse(root->infos[i].value);
			ret[n] = (struct found){ .note = root->infos[i].value };
			text_of(note, "busid", ret[n].busid, sizeof(ret[n].busid));
			cJSON_Delete(note);
		}
		n++;
	}
	return n;
}

static ls_status find_all(hwloc_topology_t hw, bool local, struct found **ret, int *ret_n, struct ls_err *err)
{
	hwloc_obj_t *pci = NULL;
	struct found *found = NULL;
	int i, n_pci = 0, n = 0;
	ls_status st = ls_pci_list(hw, PCI_CLASS_DISPLAY, PCI_VENDOR_NVIDIA, &pci, &n_pci, err);

	if (st)
		return st;
	found = calloc((size_t)(n_pci + find_busless(hw, NULL)) + 1, sizeof(*found));
	if (!found)
		st = ls_fail_oom(err);
	for (i = 0; i < n_pci && !st; i++) {
		struct found *f = &found[n];

		f->pci = pci[i];
		ls_pci_busid(pci[i], f->busid, sizeof(f->busid));
		if (local)
			st = ask_driver(pci[i], f->busid, err);
		f->note = hwloc_obj_get_info_by_name(pci[i], LS_INFO_GPU);
		n += !hwloc_obj_get_info_by_name(pci[i], LS_INFO_NOT_GIVEN);
	}
	free(pci);
	if (st) {
		free(found);
		return st;
	}
	n += find_busless(hw, found + n);
	qsort(found, (size_t)n, sizeof(*found), by_busid);
	*ret = found;
	*ret_n = n;
	return LS_OK;
}

ls_status ls_topo_find_gpus(hwloc_topology_t hw, bool local, struct ls_gpu **ret, int *ret_n, struct ls_err *err)
{
	struct found *found = NULL;
	struct list list = { 0 };
	bool good = true;
	int i, n = 0;
	ls_status st = find_all(hw, local, &found, &n, err);

	for (i = 0; i < n && !st && good; i++) {
		struct ls_gpu gpu = { .index = i, .mig = -1, .numa = -1, .pci = found[i].pci };
		const char *name = gpu.pci ? hwloc_obj_get_info_by_name(gpu.pci, "PCIDevice") : NULL;

		memcpy(gpu.busid, found[i].busid, sizeof(gpu.busid));
		snprintf(gpu.label, sizeof(gpu.label), "%d", i);
		snprintf(gpu.name, sizeof(gpu.name), "%s", name ? name : "NVIDIA GPU");
		read_osdev(&gpu);
		good = add_gpu(&list, &gpu, found[i].note);
	}
	free(found);
	if (!good) {
		free(list.v);
		st = ls_fail_oom(err);
	}
	if (st)
		return st;
	*ret = list.v;
	*ret_n = list.n;
	return LS_OK;
}
