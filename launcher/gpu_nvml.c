/* gpu_nvml.c -- see gpu_nvml.h. The library (libnvidia-ml.so.1) comes with the driver and is opened when a host is asked what it has.
 *
 * Its functions are declared here, as few of them are needed and their form is fixed by their names (a new form gets a new _vN):
 * nvml.h of CUDA 13.0. All but those of REQUIRED may be missing in an old library; what they would have told stays unknown.
 */
#include "launcher/gpu_nvml.h"
#include "core/io.h"

#include <cjson/cJSON.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS, NO_PERMISSION = 4, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9, LOST = 15, RESET_REQUIRED = 16, MISMATCH = 18 };
enum { EXCLUSIVE_THREAD = 1, PROHIBITED, EXCLUSIVE_PROCESS };
enum { GPUS_MAX = 256, USERS_ROOM = 64, USERS_TOLD = 3, LINKS_MAX = 18 };

typedef struct gpu *gpu_t;
struct pci { char legacy[16]; unsigned domain, bus, device, id, subsystem; char busid[32]; };
struct memory { unsigned version; unsigned long long total, reserved, free, used; };
struct memory_v1 { unsigned long long total, free, used; };
struct user { unsigned pid; unsigned long long bytes; unsigned gi, ci; };

/* name in the library, our name, arguments */
#define FUNCTIONS(X)                                                                                                                       \
	X(nvmlInit_v2, init, (void)) X(nvmlShutdown, shutdown, (void)) X(nvmlDeviceGetCount_v2, count, (unsigned *))                        \
	X(nvmlDeviceGetHandleByIndex_v2, by_index, (unsigned, gpu_t *)) X(nvmlDeviceGetPciInfo_v3, pci, (gpu_t, struct pci *))             \
	X(nvmlDeviceGetHandleByPciBusId_v2, by_busid, (const char *, gpu_t *))                                                              \
	X(nvmlSystemGetDriverVersion, driver, (char *, unsigned)) X(nvmlSystemGetCudaDriverVersion_v2, cuda, (int *))                       \
	X(nvmlDeviceGetName, name, (gpu_t, char *, unsigned)) X(nvmlDeviceGetUUID, uuid, (gpu_t, char *, unsigned))                         \
	X(nvmlDeviceGetMemoryInfo_v2, memory, (gpu_t, struct memory *)) X(nvmlDeviceGetMemoryInfo, memory_v1, (gpu_t, struct memory_v1 *))  \
	X(nvmlDeviceGetComputeMode, mode, (gpu_t, int *))                                                                                   \
	X(nvmlDeviceGetComputeRunningProcesses_v3, users, (gpu_t, unsigned *, struct user *))                                               \
	X(nvmlDeviceGetMigMode, mig_mode, (gpu_t, unsigned *, unsigned *)) X(nvmlDeviceGetMaxMigDeviceCount, mig_max, (gpu_t, unsigned *))  \
	X(nvmlDeviceGetMigDeviceHandleByIndex, mig, (gpu_t, unsigned, gpu_t *)) X(nvmlDeviceGetGpuInstanceId, gi, (gpu_t, unsigned *))      \
	X(nvmlDeviceGetComputeInstanceId, ci, (gpu_t, unsigned *)) X(nvmlDeviceGetNvLinkState, nvlink, (gpu_t, unsigned, int *))            \
	X(nvmlDeviceGetMaxPcieLinkGeneration, pcie, (gpu_t, unsigned *)) X(nvmlDeviceGetCurrPcieLinkWidth, width, (gpu_t, unsigned *))      \
	X(nvmlDeviceGetMaxPcieLinkWidth, max_width, (gpu_t, unsigned *))

#define REQUIRED(n) ((n)->init && (n)->shutdown && (n)->count && (n)->by_index && (n)->pci)

struct nvml {
	void *lib;
#define X(symbol, field, arguments) int(*field) arguments;
	FUNCTIONS(X)
#undef X
};

/* Asks only if the library has it. */
#define ASK(n, field, ...) ((n)->field && (n)->field(__VA_ARGS__) == SUCCESS)

static bool load(struct nvml *n)
{
	n->lib = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
	if (!n->lib)
		return false;
#define X(symbol, field, arguments) *(void **)&n->field = dlsym(n->lib, #symbol);
	FUNCTIONS(X)
#undef X
	return true;
}

/* --- one GPU ---------------------------------------------------------------------------------------------------- */

static void add_text(cJSON *to, const char *key, int (*ask)(gpu_t, char *, unsigned), gpu_t gpu)
{
	char text[96] = "";

	if (ask && ask(gpu, text, sizeof(text)) == SUCCESS)
		cJSON_AddStringToObject(to, key, text);
}

/* The old form counts what the driver keeps for itself as used. */
static void add_memory(const struct nvml *n, cJSON *to, gpu_t gpu)
{
	struct memory m = { .version = sizeof(m) | 2u << 24 };
	struct memory_v1 old;

	if (!ASK(n, memory, gpu, &m)) {
		if (!ASK(n, memory_v1, gpu, &old))
			return;
		m.total = old.total;
		m.used = old.used;
	}
	cJSON_AddNumberToObject(to, "memory", (double)m.total);
	cJSON_AddNumberToObject(to, "used", (double)m.used);
}

/* The server that shares a GPU among processes (MPS) is nobody's job: it serves whoever comes. */
static bool is_server(const char *name)
{
	return !strncmp(name, "nvidia-cuda-mps", 15);
}

/* Anybody can name a process; what is printed on a terminal must not be an order to it. */
static void make_plain(struct ls_str *name)
{
	size_t i;

	if (name->len && name->s[name->len - 1] == '\n')
		name->s[--name->len] = '\0';
	for (i = 0; i < name->len; i++)
		if (name->s[i] < ' ' || name->s[i] > '~')
			name->s[i] = '?';
}

static void add_user(const struct user *u, struct ls_str *text)
{
	struct ls_str name = { 0 };
	char path[64];

	snprintf(path, sizeof(path), "/proc/%u/comm", u->pid);
	ls_file_read(path, 64, &name, NULL);
	make_plain(&name);
	if (!is_server(ls_str_text(&name))) {
		ls_str_addf(text, "%spid %u", text->len ? ", " : "", u->pid);
		if (name.len)
			ls_str_addf(text, " (%s)", name.s);
		if (u->bytes && u->bytes != ~0ULL)
			ls_str_addf(text, " with %.1f GiB", (double)u->bytes / (1 << 30));
	}
	ls_str_release(&name);
}

/* Where there are more than fit, NVML says how many, and fills in nothing. */
static struct user *users_of(const struct nvml *n, gpu_t gpu, unsigned *ret_count)
{
	struct user *users = NULL, *grown;
	unsigned room = 0, count = 0;
	int error = INSUFFICIENT_SIZE;

	while (n->users && error == INSUFFICIENT_SIZE && count >= room) {
		room = count + USERS_ROOM;
		grown = realloc(users, room * sizeof(*users));
		if (!grown)
			break;
		users = grown;
		count = room;
		error = n->users(gpu, &count, users);
	}
	*ret_count = error == SUCCESS ? count : 0;
	return users;
}

static void add_users(const struct nvml *n, cJSON *to, gpu_t gpu)
{
	unsigned i, count;
	struct user *users = users_of(n, gpu, &count);
	struct ls_str text = { 0 };

	for (i = 0; i < count && i < USERS_TOLD; i++)
		add_user(&users[i], &text);
	if (i < count)
		ls_str_addf(&text, ", and %u more", count - i);
	if (text.len)
		cJSON_AddStringToObject(to, "users", ls_str_text(&text));
	ls_str_release(&text);
	free(users);
}

static void add_mode(const struct nvml *n, cJSON *to, gpu_t gpu)
{
	int mode = 0;

	if (!ASK(n, mode, gpu, &mode))
		return;
	if (mode == EXCLUSIVE_THREAD || mode == EXCLUSIVE_PROCESS)
		cJSON_AddStringToObject(to, "mode", "exclusive");
	else if (mode == PROHIBITED)
		cJSON_AddStringToObject(to, "mode", "prohibited");
}

/* A slot that is too narrow is worth a word; speed is not, as an idle link runs slowly to save power. */
static void add_links(const struct nvml *n, cJSON *to, gpu_t gpu)
{
	unsigned link, links = 0, generation, width, max = 0;
	struct ls_str text = { 0 };
	int active;

	for (link = 0; link < LINKS_MAX; link++)
		links += ASK(n, nvlink, gpu, link, &active) && active;
	if (links)
		ls_str_addf(&text, "%u NVLink%s", links, links == 1 ? "" : "s");
	if (ASK(n, pcie, gpu, &generation) && ASK(n, width, gpu, &width)) {
		ls_str_addf(&text, "%sPCIe %u x%u", links ? ", " : "", generation, width);
		if (ASK(n, max_width, gpu, &max) && max > width)
			ls_str_addf(&text, " of x%u", max);
	}
	if (text.len)
		cJSON_AddStringToObject(to, "links", ls_str_text(&text));
	ls_str_release(&text);
}

/* "NVIDIA A100-SXM4-80GB MIG 1g.10gb": its GPU's line has the first part. */
static void add_instance_name(const struct nvml *n, cJSON *to, gpu_t instance)
{
	char name[96] = "", *mig;

	if (!ASK(n, name, instance, name, sizeof(name)))
		return;
	mig = strstr(name, "MIG ");
	cJSON_AddStringToObject(to, "name", mig ? mig + 4 : name);
}

static void add_instances(const struct nvml *n, cJSON *to, gpu_t gpu)
{
	unsigned mode = 0, pending, max = 0, i, id;
	cJSON *list, *one;
	gpu_t instance;

	if (!ASK(n, mig_mode, gpu, &mode, &pending) || !mode)
		return;
	list = cJSON_AddArrayToObject(to, "mig");
	if (!ASK(n, mig_max, gpu, &max))
		return;
	for (i = 0; i < max; i++) {
		if (!ASK(n, mig, gpu, i, &instance)) /* a gap, or one that this container was not given */
			continue;
		one = cJSON_CreateObject();
		cJSON_AddItemToArray(list, one);
		add_text(one, "uuid", n->uuid, instance);
		add_instance_name(n, one, instance);
		add_memory(n, one, instance);
		add_users(n, one, instance);
		if (ASK(n, gi, instance, &id))
			cJSON_AddNumberToObject(one, "gi", id);
		if (ASK(n, ci, instance, &id))
			cJSON_AddNumberToObject(one, "ci", id);
	}
}

/* A GPU that is not ours is no problem. */
static bool is_problem(int error)
{
	return error != SUCCESS && error != NO_PERMISSION && error != NOT_FOUND;
}

static char *describe_lost(const char *busid, int error)
{
	cJSON *note = cJSON_CreateObject();
	char *text, problem[100];

	if (error == LOST)
		snprintf(problem, sizeof(problem), "it is lost (fallen off the bus); see dmesg for Xid errors, then reset it or reboot");
	else if (error == RESET_REQUIRED)
		snprintf(problem, sizeof(problem), "it needs a reset: `nvidia-smi -r` as root, when nobody uses it");
	else
		snprintf(problem, sizeof(problem), "the driver answers with error %d of its library; see dmesg and nvidia-smi", error);
	cJSON_AddStringToObject(note, "busid", busid);
	cJSON_AddStringToObject(note, "problem", problem);
	text = cJSON_PrintUnformatted(note);
	cJSON_Delete(note);
	return text;
}

static char *describe(const struct nvml *n, gpu_t gpu)
{
	struct pci pci = { 0 };
	cJSON *note;
	char busid[24], *text;

	if (n->pci(gpu, &pci) != SUCCESS)
		return NULL;
	note = cJSON_CreateObject();
	snprintf(busid, sizeof(busid), "%04x:%02x:%02x.0", pci.domain, pci.bus, pci.device);
	cJSON_AddStringToObject(note, "busid", busid);
	add_text(note, "name", n->name, gpu);
	add_text(note, "uuid", n->uuid, gpu);
	add_memory(n, note, gpu);
	add_mode(n, note, gpu);
	add_users(n, note, gpu);
	add_links(n, note, gpu);
	add_instances(n, note, gpu);
	text = cJSON_PrintUnformatted(note);
	cJSON_Delete(note);
	return text;
}

/* --- all of them ------------------------------------------------------------------------------------------------ */

struct notes {
	char *v[2 * GPUS_MAX];
	int n;
};

static void add_note(struct notes *notes, char *note)
{
	if (note)
		notes->v[notes->n++] = note;
}

/* A GPU that is lost has no handle, and would be taken for one that is not ours. If no PCI bus shows it, nobody knows its address. */
static void add_lost(const struct nvml *n, const struct ls_topo *topo, int lost, int error, struct notes *notes)
{
	const struct ls_gpu *gpus;
	int i, e, n_gpus = ls_topo_gpus(topo, &gpus);
	gpu_t gpu;

	for (i = 0; i < n_gpus && i < GPUS_MAX && n->by_busid; i++) {
		e = n->by_busid(gpus[i].busid, &gpu);
		if (!is_problem(e))
			continue;
		add_note(notes, describe_lost(gpus[i].busid, e));
		lost--;
	}
	for (; lost > 0; lost--)
		add_note(notes, describe_lost("no known address", error));
}

static ls_status describe_all(const struct nvml *n, struct ls_topo *topo, struct ls_err *err)
{
	struct notes notes = { .n = 0 };
	char driver[80] = "?", text[160];
	int cuda = 0, lost = 0, why = 0, e;
	unsigned i, count = 0;
	gpu_t gpu;
	ls_status st;

	e = n->count(&count);
	if (e != SUCCESS) {
		snprintf(text, sizeof(text), "the driver's libnvidia-ml.so.1 fails with error %d; `nvidia-smi` may tell more", e);
		return ls_topo_describe_none(topo, text, err);
	}
	for (i = 0; i < count && i < GPUS_MAX; i++) {
		e = n->by_index(i, &gpu);
		if (e == SUCCESS) {
			add_note(&notes, describe(n, gpu));
		} else if (is_problem(e)) {
			lost++;
			why = e;
		}
	}
	if (lost)
		add_lost(n, topo, lost, why, &notes);
	if (n->driver)
		n->driver(driver, sizeof(driver));
	if (n->cuda)
		n->cuda(&cuda);
	snprintf(text, sizeof(text), "driver %s, CUDA %d.%d", driver, cuda / 1000, cuda % 1000 / 10);
	st = ls_topo_describe_gpus(topo, text, notes.v, notes.n, err);
	while (notes.n > 0)
		cJSON_free(notes.v[--notes.n]);
	return st;
}

static void init_failed(int error, char *ret, size_t size)
{
	if (error == DRIVER_NOT_LOADED)
		snprintf(ret, size, "the driver is not loaded (`modprobe nvidia` loads it; dmesg tells why it fails)");
	else if (error == MISMATCH)
		snprintf(ret, size, "the driver in the kernel and its libraries are of different versions, as after an update; reboot, or load "
			"the module anew");
	else
		snprintf(ret, size, "the driver's libnvidia-ml.so.1 fails with error %d; `nvidia-smi` may tell more", error);
}

ls_status ls_nvml_describe(struct ls_topo *topo, struct ls_err *err)
{
	const struct ls_gpu *gpus;
	struct nvml n = { 0 };
	char why[200] = "no libnvidia-ml.so.1, which comes with the driver: who uses GPUs, their memory and MIG are not known";
	int error;
	ls_status st;

	if (!load(&n))
		return ls_topo_gpus(topo, &gpus) ? ls_topo_describe_none(topo, why, err) : LS_OK;
	error = REQUIRED(&n) ? n.init() : -1;
	if (error == SUCCESS) {
		st = describe_all(&n, topo, err);
		n.shutdown();
	} else {
		if (error != -1)
			init_failed(error, why, sizeof(why));
		else
			snprintf(why, sizeof(why), "a libnvidia-ml.so.1 that is older than CUDA 11: who uses GPUs, their memory and MIG are not known");
		st = ls_topo_describe_none(topo, why, err);
	}
	dlclose(n.lib);
	return st;
}
