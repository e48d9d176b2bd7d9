/* cmd_probe.c -- `lockstep probe`: this host in one line of JSON, for a launcher elsewhere (probe.c). */
#include "launcher/commands.h"
#include "launcher/probe.h"
#include "core/topo.h"
#include "lockstep/lockstep.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* sshd says who called, and which of our addresses was called: "client port server port". */
static void addresses(cJSON *json)
{
	const char *ssh = getenv("SSH_CONNECTION");
	char client[64] = "", server[64] = "", iface[32] = "";

	if (ssh && sscanf(ssh, "%63s %*s %63s", client, server) == 2)
		ls_iface_of(server, iface);
	cJSON_AddStringToObject(json, "launcherAddress", client);
	cJSON_AddStringToObject(json, "address", server);
	cJSON_AddStringToObject(json, "iface", iface);
}

/* Absent: not set, which is not the same as empty. */
static void own_value(cJSON *json, const char *key, const char *name)
{
	const char *value = getenv(name);

	if (value)
		cJSON_AddStringToObject(json, key, value);
}

int cmd_probe(int argc, char **argv)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_topo *topo = NULL;
	struct ls_str xml = { 0 };
	char id[128], hostname[64], *text;
	cJSON *json;
	ls_status st;

	(void)argc, (void)argv;
	st = ls_host_topo(&topo, &err);
	if (!st)
		st = ls_topo_export(topo, &xml, &err);
	ls_topo_close(topo);
	if (st)
		return ls_command_fail("probe", st, &err);
	json = cJSON_CreateObject();
	ls_host_id(id, hostname);
	cJSON_AddStringToObject(json, "version", LOCKSTEP_VERSION);
	cJSON_AddStringToObject(json, "id", id);
	cJSON_AddStringToObject(json, "hostname", hostname);
	cJSON_AddBoolToObject(json, "rdma", access("/sys/class/infiniband", F_OK) == 0);
	addresses(json);
	own_value(json, "cudaVisibleDevices", "CUDA_VISIBLE_DEVICES");
	own_value(json, "cudaDeviceOrder", "CUDA_DEVICE_ORDER");
	cJSON_AddStringToObject(json, "topology", ls_str_text(&xml));
	text = cJSON_PrintUnformatted(json);
	if (text)
		puts(text);
	cJSON_free(text);
	cJSON_Delete(json);
	ls_str_release(&xml);
	return text ? 0 : 1;
}
