/* nvml.c -- a stand-in for NVIDIA's management library: the GPUs that FAKE_NVML orders, read anew at each nvmlInit_v2.
 *
 *     init=9 count=999           the library cannot start, or count GPUs, with this error
 *     gpu=0000:1b:00.0           one more GPU; what follows is its own:
 *     gib=80 used=38             memory                              user=4711:38    a process, with so many GiB
 *     mode=3                     compute mode                        links=18 width=8   NVLinks; lanes, of 16
 *     name=NVIDIA_T4             its name, without spaces            lost, handle=8  it has no handle: error 15, or this one
 *     crowd=100                  so many processes, with 1 GiB each
 *     mig                        MIG is on                           mig=1g.10gb     an instance; gib, used, user after it are its own
 *
 * UUIDs are made of the bus number: GPU-1b000000-…, MIG-1b000000-…-i. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MANY = 16, CROWD = 200, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, LOST = 15 };

struct user { unsigned pid; unsigned long long bytes; unsigned gi, ci; };

struct gpu {
	char busid[32], name[64], uuid[64];
	unsigned long long total, used;
	struct user users[CROWD];
	unsigned n_users, bus, width;
	int mode, links, error, mig_on, n_mig;
	struct gpu *mig[MANY], *parent;
	int number;
};

static struct gpu gpus[MANY], instances[MANY * MANY];
static int n_gpus, n_instances, count_error;

static const unsigned long long GIB = 1ULL << 30;

static struct gpu *new_gpu(const char *busid)
{
	struct gpu *g = &gpus[n_gpus++];
	unsigned domain;

	memset(g, 0, sizeof(*g));
	snprintf(g->busid, sizeof(g->busid), "%s", busid);
	sscanf(busid, "%x:%x:", &domain, &g->bus);
	snprintf(g->name, sizeof(g->name), "NVIDIA H100 80GB HBM3");
	snprintf(g->uuid, sizeof(g->uuid), "GPU-%02x000000-0000-4000-8000-000000000000", g->bus);
	g->total = 80 * GIB;
	g->width = 16;
	return g;
}

static struct gpu *new_instance(struct gpu *parent, const char *profile)
{
	struct gpu *g = &instances[n_instances++];

	memset(g, 0, sizeof(*g));
	g->parent = parent;
	g->number = parent->n_mig;
	parent->mig[parent->n_mig++] = g;
	snprintf(g->name, sizeof(g->name), "%.40s MIG %s", parent->name, profile);
	snprintf(g->uuid, sizeof(g->uuid), "MIG-%02x000000-0000-4000-8000-00000000000%d", parent->bus, g->number);
	g->total = 10 * GIB;
	return g;
}

static void set(struct gpu *g, const char *key, const char *value)
{
	struct gpu *whole = g->parent ? g->parent : g;
	unsigned n;

	if (!strcmp(key, "gib"))
		g->total = strtoull(value, NULL, 10) * GIB;
	else if (!strcmp(key, "used"))
		g->used = strtoull(value, NULL, 10) * GIB;
	else if (!strcmp(key, "user") && sscanf(value, "%u:%llu", &g->users[g->n_users].pid, &g->users[g->n_users].bytes) == 2)
		g->users[g->n_users++].bytes *= GIB;
	else if (!strcmp(key, "crowd"))
		for (n = (unsigned)atoi(value); n > 0; n--)
			g->users[g->n_users++] = (struct user){ .pid = 4194304 + n, .bytes = GIB };
	else if (!strcmp(key, "mode"))
		whole->mode = atoi(value);
	else if (!strcmp(key, "links"))
		whole->links = atoi(value);
	else if (!strcmp(key, "width"))
		whole->width = (unsigned)atoi(value);
	else if (!strcmp(key, "name"))
		snprintf(g->name, sizeof(g->name), "%s", value);
	else if (!strcmp(key, "lost"))
		whole->error = LOST;
	else if (!strcmp(key, "handle"))
		whole->error = atoi(value);
}

int nvmlInit_v2(void)
{
	const char *order = getenv("FAKE_NVML");
	char text[2048], *word, *rest = NULL, *value, none[] = "";
	struct gpu *g = NULL;
	int error = 0;

	n_gpus = n_instances = count_error = 0;
	snprintf(text, sizeof(text), "%s", order ? order : "");
	for (word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
		value = strchr(word, '=');
		if (value)
			*value++ = '\0';
		if (!strcmp(word, "init"))
			error = atoi(value);
		else if (!strcmp(word, "count"))
			count_error = atoi(value);
		else if (!strcmp(word, "gpu"))
			g = new_gpu(value);
		else if (!strcmp(word, "mig") && g) {
			struct gpu *whole = g->parent ? g->parent : g;

			whole->mig_on = 1;
			g = value ? new_instance(whole, value) : g;
		} else if (g)
			set(g, word, value ? value : none);
	}
	return error;
}

int nvmlShutdown(void)
{
	return 0;
}

int nvmlSystemGetDriverVersion(char *ret, unsigned size)
{
	snprintf(ret, size, "580.82.07");
	return 0;
}

int nvmlSystemGetCudaDriverVersion_v2(int *ret)
{
	*ret = 13000;
	return 0;
}

int nvmlDeviceGetCount_v2(unsigned *ret)
{
	*ret = (unsigned)n_gpus;
	return count_error;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned i, struct gpu **ret)
{
	if (i >= (unsigned)n_gpus)
		return INVALID;
	*ret = &gpus[i];
	return gpus[i].error;
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *busid, struct gpu **ret)
{
	int i;

	for (i = 0; i < n_gpus; i++)
		if (!strcasecmp(gpus[i].busid, busid))
			return nvmlDeviceGetHandleByIndex_v2((unsigned)i, ret);
	return NOT_FOUND;
}

struct pci { char legacy[16]; unsigned domain, bus, device, id, subsystem; char busid[32]; };

int nvmlDeviceGetPciInfo_v3(const struct gpu *g, struct pci *ret)
{
	memset(ret, 0, sizeof(*ret));
	sscanf(g->busid, "%x:%x:%x", &ret->domain, &ret->bus, &ret->device);
	return 0;
}

int nvmlDeviceGetName(const struct gpu *g, char *ret, unsigned size)
{
	snprintf(ret, size, "%s", g->name);
	return 0;
}

int nvmlDeviceGetUUID(const struct gpu *g, char *ret, unsigned size)
{
	snprintf(ret, size, "%s", g->uuid);
	return 0;
}

struct memory { unsigned version; unsigned long long total, reserved, free, used; };

int nvmlDeviceGetMemoryInfo_v2(const struct gpu *g, struct memory *ret)
{
	if (ret->version != (sizeof(*ret) | 2u << 24))
		return 25; /* as NVML does */
	ret->total = g->total;
	ret->used = g->used;
	ret->reserved = 0;
	ret->free = g->total - g->used;
	return 0;
}

int nvmlDeviceGetComputeMode(const struct gpu *g, int *ret)
{
	*ret = g->mode;
	return 0;
}

int nvmlDeviceGetComputeRunningProcesses_v3(const struct gpu *g, unsigned *count, struct user *ret)
{
	if (*count < g->n_users) {
		*count = g->n_users;
		return 7;
	}
	*count = g->n_users;
	memcpy(ret, g->users, g->n_users * sizeof(*ret));
	return 0;
}

int nvmlDeviceGetMigMode(const struct gpu *g, unsigned *ret, unsigned *pending)
{
	*ret = *pending = (unsigned)g->mig_on;
	return 0;
}

int nvmlDeviceGetMaxMigDeviceCount(const struct gpu *g, unsigned *ret)
{
	(void)g;
	*ret = 2 * MANY;
	return 0;
}

/* With gaps, as NVML's have where an instance was destroyed. */
int nvmlDeviceGetMigDeviceHandleByIndex(const struct gpu *g, unsigned i, struct gpu **ret)
{
	if (i % 2 || i / 2 >= (unsigned)g->n_mig)
		return NOT_FOUND;
	*ret = g->mig[i / 2];
	return 0;
}

int nvmlDeviceGetGpuInstanceId(const struct gpu *g, unsigned *ret)
{
	*ret = (unsigned)g->number + 7;
	return g->parent ? 0 : INVALID;
}

int nvmlDeviceGetComputeInstanceId(const struct gpu *g, unsigned *ret)
{
	*ret = 0;
	return g->parent ? 0 : INVALID;
}

int nvmlDeviceGetNvLinkState(const struct gpu *g, unsigned link, int *ret)
{
	if (!g->links)
		return NOT_SUPPORTED;
	*ret = link < (unsigned)g->links;
	return 0;
}

int nvmlDeviceGetMaxPcieLinkGeneration(const struct gpu *g, unsigned *ret)
{
	(void)g;
	*ret = 5;
	return 0;
}

int nvmlDeviceGetCurrPcieLinkWidth(const struct gpu *g, unsigned *ret)
{
	*ret = g->width;
	return 0;
}

int nvmlDeviceGetMaxPcieLinkWidth(const struct gpu *g, unsigned *ret)
{
	(void)g;
	*ret = 16;
	return 0;
}
