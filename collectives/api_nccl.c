/* api_nccl.c -- see api_nccl.h. */
#include "collectives/api_nccl.h"
#include "core/env.h"
#include "core/symbols.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char *const symbols[] = {
#define X(name) "nccl" #name,
	LS_NCCL_FUNCTIONS(X)
#undef X
};

void ls_nccl_version_text(int version, char *ret, size_t size)
{
	int major = version < 10000 ? version / 1000 : version / 10000;
	int minor = version < 10000 ? version / 100 % 10 : version / 100 % 100;

	snprintf(ret, size, "%d.%d.%d", major, minor, version % 100);
}

ls_status ls_nccl_open(const struct ls_nccl **ret, struct ls_err *err)
{
	static struct ls_nccl nccl;
	static bool open;
	const char *path = ls_env_text("LOCKSTEP_NCCL_LIB", "libnccl.so.2"), *lacks;
	char least[24];
	void *lib;

	if (open) {
		*ret = &nccl;
		return LS_OK;
	}
	lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!lib)
		return ls_fail(err, LS_USAGE, 0,
			"NCCL cannot be opened: %s; install libnccl2, or set LOCKSTEP_NCCL_LIB to the path of a libnccl.so.2 (Python's package "
			"has it as nvidia/nccl/lib/libnccl.so.2)", dlerror());
	lacks = ls_symbols(lib, symbols, COUNT(symbols), &nccl);
	if (!nccl.GetVersion || nccl.GetVersion(&nccl.version) != ncclSuccess) {
		dlclose(lib);
		return ls_fail(err, LS_USAGE, 0, "%s is not NCCL: it tells no version; LOCKSTEP_NCCL_LIB names another", path);
	}
	ls_nccl_version_text(nccl.version, nccl.text, sizeof(nccl.text));
	ls_nccl_version_text(LS_NCCL_LEAST, least, sizeof(least));
	if (nccl.version < LS_NCCL_LEAST || lacks) {
		ls_fail(err, LS_USAGE, 0, "%s is NCCL %s%s%s: Lockstep needs %s or newer; LOCKSTEP_NCCL_LIB names another", path, nccl.text,
			lacks ? ", without " : "", lacks ? lacks : "", least);
		memset(&nccl, 0, sizeof(nccl));
		dlclose(lib);
		return LS_USAGE;
	}
	open = true;
	*ret = &nccl;
	return LS_OK;
}

/* What NCCL's last message, or else its code, points to. The first that fits. */
static const struct { int rc; const char *says, *hint; } hints[] = {
	{ -1, "Duplicate GPU", "give each rank a GPU of its own; before NCCL 2.30, instances of one GPU (MIG) count as one" },
	{ -1, "using the same GPU", "give each rank a GPU of its own; NCCL_MULTI_RANK_GPU_ENABLE=1 lets them share one, to try things" },
	{ -1, "No space left", "/dev/shm is too small: in a container, raise its --shm-size, or mount an emptyDir of medium Memory" },
	{ -1, "socket interface", "NCCL_SOCKET_IFNAME must name an interface that this host has" },
	{ -1, "Connection refused", "a rank ended, or NCCL_SOCKET_IFNAME chose an interface that the others cannot reach" },
	{ -1, "No route to host", "NCCL_SOCKET_IFNAME must name an interface that the other hosts can reach" },
	{ ncclUnhandledCudaError, "", "the driver may be too old for this NCCL's CUDA, or the GPU's memory full; NCCL_DEBUG=INFO names the call" },
	{ ncclSystemError, "", "a socket, shared memory or the network failed; NCCL_DEBUG=INFO names the call" },
	{ ncclRemoteError, "", "another rank or the network to it is gone" },
	{ ncclInvalidUsage, "", "NCCL_DEBUG=WARN says why" },
	{ -1, "", "NCCL_DEBUG=INFO tells more" },
};

static ls_status status_of(ncclResult_t rc)
{
	switch (rc) {
	case ncclInvalidArgument:
	case ncclInvalidUsage:
		return LS_USAGE;
	case ncclUnhandledCudaError:
		return LS_JOB_LOST;
	default:
		return LS_RANK_LOST;
	}
}

ls_status ls_nccl_fail(const struct ls_nccl *n, ncclComm_t comm, ncclResult_t rc, const char *what, struct ls_err *err)
{
	const char *last = n->GetLastError(comm);
	size_t i = 0, len;

	last = last ? last : "";
	while (!strstr(last, hints[i].says) || (hints[i].rc >= 0 && hints[i].rc != (int)rc))
		i++;
	len = strcspn(last, "\n");
	return ls_fail(err, status_of(rc), 0, "%s: NCCL %s says: %s%s%.*s; %s", what, n->text, n->GetErrorString(rc), len ? ": " : "",
		(int)(len > 400 ? 400 : len), last, hints[i].hint);
}
