/* place_gpu.h -- the GPU of each seat, and whether others are in the way. */
#ifndef LS_PLACE_GPU_H
#define LS_PLACE_GPU_H

#include "core/place.h"

/* LS_USAGE: fewer than `ranks`, or one of the first `ranks` lets nobody in. */
ls_status ls_place_gpu_check(const struct ls_topo *topo, const struct ls_gpu *const *gpus, int n, int ranks, struct ls_err *err);
void ls_place_gpu(const struct ls_topo *topo, const struct ls_gpu *gpu, struct ls_seat *seat);
/* "" or a sentence: who else uses the first n, what is hidden. gpus NULL: the ranks get none. */
void ls_place_gpu_warning(const struct ls_topo *topo, const struct ls_gpu *const *gpus, int n, char *ret, size_t size);

#endif
