/* copy.h -- bytes from and to wherever the program keeps its state: host memory, or a GPU's.
 *
 * A pointer is a GPU's if the CUDA driver says so. The driver is only asked if the program has loaded it: everybody else pays nothing.
 * Copies from a GPU run on a stream of their own, into memory that is pinned once (snapshots), after all work that the program has
 * started on the GPU is done: state that a kernel still writes is not saved half-way.
 *
 *   Threads    the training thread, whose CUDA context is current.
 *   Errors     LS_JOB_LOST: CUDA failed, with its own words. */
#ifndef LS_COPY_H
#define LS_COPY_H

#include "core/status.h"

#include <stdbool.h>
#include <stddef.h>

bool ls_on_gpu(const void *at);
ls_status ls_copy_to_gpu(void *gpu, const void *host, size_t bytes, struct ls_err *err); /* is done on return */
/* begin; any number of from_gpu; end waits for them. */
ls_status ls_copy_begin(struct ls_err *err);
ls_status ls_copy_from_gpu(void *host, const void *gpu, size_t bytes, struct ls_err *err);
ls_status ls_copy_end(struct ls_err *err);
ls_status ls_copy_pin(void *host, size_t bytes, struct ls_err *err); /* may be done twice */
void ls_copy_unpin(void *host);

#endif
