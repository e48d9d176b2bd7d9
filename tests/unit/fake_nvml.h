/* fake_nvml.h -- machines of tests/data/topo with GPUs as tests/fake/nvml.c is ordered to have them. */
#ifndef FAKE_NVML_H
#define FAKE_NVML_H

#include "core/topo.h"
#include "launcher/gpu_nvml.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Beside this program. Once loaded, it is what dlopen() finds by that name. */
static inline void fake_nvml_load(void)
{
	char path[4200] = "";

	if (readlink("/proc/self/exe", path, 4000) < 0)
		abort();
	strcpy(strrchr(path, '/') + 1, "libnvidia-ml.so.1");
	if (!dlopen(path, RTLD_NOW))
		abort();
}

/* `nvml`: the order, or NULL: nobody is asked. `visible`: CUDA_VISIBLE_DEVICES, or NULL. */
static inline ls_status fake_nvml_open(const char *machine, const char *nvml, const char *visible, const char *order, struct ls_topo **ret,
	struct ls_err *err)
{
	ls_status st = ls_topo_open(machine, true, ret, err);

	if (!st && nvml) {
		setenv("FAKE_NVML", nvml, 1);
		st = ls_nvml_describe(*ret, err);
	}
	return st ? st : ls_topo_set_visible(*ret, visible, order, err);
}

#endif
