/* node_topology.c -- see node_topology.h. */
#include "operator/node_topology.h"
#include "core/crc32c.h"
#include "operator/kube.h"

#include <stdio.h>
#include <string.h>

static const char *info(hwloc_obj_t obj, const char *name)
{
	const char *text = obj ? hwloc_obj_get_info_by_name(obj, name) : NULL;

	return text ? text : "";
}

/* "DGX H100, Intel(R) Xeon(R) Platinum 8480C": the machine's name and the processor's, as far as the firmware says. */
static void model_of(hwloc_topology_t hw, char ret[160])
{
	const char *machine = info(hwloc_get_root_obj(hw), "DMIProductName");
	const char *cpu = info(hwloc_get_obj_by_type(hw, HWLOC_OBJ_PACKAGE, 0), "CPUModel");

	snprintf(ret, 160, "%.70s%s%.70s", machine, *machine && *cpu ? ", " : "", cpu);
}

static bool add_number(cJSON *to, const char *key, double n)
{
	return cJSON_AddNumberToObject(to, key, n) != NULL;
}

static bool add_text(cJSON *to, const char *key, const char *text)
{
	return !*text || cJSON_AddStringToObject(to, key, text) != NULL;
}

static cJSON *entry_of(cJSON *list)
{
	cJSON *entry = list ? cJSON_CreateObject() : NULL;

	if (entry && !cJSON_AddItemToArray(list, entry)) {
		cJSON_Delete(entry);
		return NULL;
	}
	return entry;
}

static bool add_numas(cJSON *list, const struct ls_topo *topo, uint64_t *ret_bytes)
{
	const struct ls_numa *numas;
	int i, n = ls_topo_numa_list(topo, &numas);
	bool good = list != NULL;
	char cpus[256];

	for (i = 0; i < n && good; i++) {
		cJSON *e = entry_of(list);

		hwloc_bitmap_list_snprintf(cpus, sizeof(cpus), numas[i].cpuset);
		good = e && add_number(e, "id", numas[i].os_index) && add_text(e, "cpus", cpus) && add_number(e, "memory", (double)numas[i].bytes);
		*ret_bytes += numas[i].bytes;
	}
	return good;
}

static bool add_gpus(cJSON *list, const struct ls_topo *topo)
{
	const struct ls_gpu *gpus;
	int i, n = ls_topo_gpus(topo, &gpus);
	bool good = list != NULL;

	for (i = 0; i < n && good; i++) {
		cJSON *e = entry_of(list);

		good = e && add_text(e, "address", gpus[i].busid) && add_number(e, "numa", gpus[i].numa) && add_text(e, "model", gpus[i].name);
	}
	return good;
}

/* Those with a driver and a place on the bus. In a network namespace of its own an agent does not see the names of interfaces, but
 * those of RDMA devices. */
static bool add_nics(cJSON *list, const struct ls_topo *topo)
{
	const struct ls_nic *nics;
	int i, n = ls_topo_nics(topo, &nics);
	bool good = list != NULL;

	for (i = 0; i < n && good; i++) {
		cJSON *e;

		if (!nics[i].pci || !nics[i].name[0])
			continue;
		e = entry_of(list);
		good = e && add_text(e, "name", nics[i].name) && add_text(e, "netdev", nics[i].netdev) && cJSON_AddBoolToObject(e, "rdma", nics[i].rdma) &&
			add_number(e, "numa", nics[i].numa);
	}
	return good;
}

static bool add_hash(cJSON *spec)
{
	char *text = cJSON_PrintUnformatted(spec), hash[16];
	bool good = text != NULL;

	if (good) {
		snprintf(hash, sizeof(hash), "%08x", (unsigned)ls_crc32c(0, text, strlen(text)));
		good = add_text(spec, "hash", hash);
	}
	cJSON_free(text);
	return good;
}

cJSON *ls_node_spec(const struct ls_topo *topo)
{
	cJSON *spec = cJSON_CreateObject();
	uint64_t bytes = 0;
	char model[160];
	bool good;

	model_of(ls_topo_hwloc(topo), model);
	good = spec && add_text(spec, "model", model) && add_number(spec, "sockets", ls_topo_packages(topo)) &&
		add_number(spec, "cores", ls_topo_cores(topo)) && add_numas(cJSON_AddArrayToObject(spec, "numa"), topo, &bytes) &&
		add_number(spec, "memory", (double)bytes) && add_gpus(cJSON_AddArrayToObject(spec, "gpus"), topo) &&
		add_nics(cJSON_AddArrayToObject(spec, "nics"), topo) && add_hash(spec);
	if (good)
		return spec;
	cJSON_Delete(spec);
	return NULL;
}

cJSON *ls_node_object(const char *node, const char *uid, cJSON *spec)
{
	cJSON *object = cJSON_CreateObject(), *metadata = object ? cJSON_AddObjectToObject(object, "metadata") : NULL;
	cJSON *owner = metadata ? entry_of(cJSON_AddArrayToObject(metadata, "ownerReferences")) : NULL;
	bool good = owner && spec && cJSON_AddItemToObject(object, "spec", spec);

	if (!good)
		cJSON_Delete(spec);
	good = good && add_text(object, "apiVersion", LS_KUBE_GROUP "/v1alpha1") && add_text(object, "kind", "NodeTopology") &&
		add_text(metadata, "name", node) && add_text(owner, "apiVersion", "v1") && add_text(owner, "kind", "Node") &&
		add_text(owner, "name", node) && add_text(owner, "uid", uid);
	if (good)
		return object;
	cJSON_Delete(object);
	return NULL;
}
