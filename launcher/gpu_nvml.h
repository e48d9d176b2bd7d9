/* gpu_nvml.h -- what NVIDIA's management library knows of this machine's GPUs, put into its topology. */
#ifndef LS_GPU_NVML_H
#define LS_GPU_NVML_H

#include "core/topo.h"

/* A machine without the library and without GPUs is left as it is; one where the library fails gets the reason. Opens no GPU for
 * computing, so that one in exclusive mode stays free. */
ls_status ls_nvml_describe(struct ls_topo *topo, struct ls_err *err);

#endif
