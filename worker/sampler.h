/* sampler.h -- which samples a step uses.
 *
 * The order of an epoch is a permutation of all samples that depends on seed and epoch alone. The world walks it
 * from the front, one global batch (world x batch) per step; rank r takes the r-th part. What is left at the end and
 * does not fill a global batch is dropped. So (seed, epoch, used) is the whole state, and a world of another size
 * goes on with exactly the unused samples.
 *
 *   Ownership  init/release; the permutation is allocated once, so that next() cannot fail.
 *   Limits     2^32 - 1 samples (4 bytes of memory each, on every rank). */
#ifndef LS_SAMPLER_H
#define LS_SAMPLER_H

#include "core/status.h"

#include <stdint.h>

struct ls_sampler {
	uint64_t seed;
	int64_t samples, batch;   /* both 0: no sampler, next() gives nothing */
	int64_t epoch, used;      /* samples of this epoch that the world has used */
	uint32_t *order;
	int64_t order_epoch;      /* whose permutation `order` holds; -1: none yet */
};

ls_status ls_sampler_init(
	struct ls_sampler *s, uint64_t seed, int64_t samples, int64_t batch, int world, struct ls_err *err);
void ls_sampler_seek(struct ls_sampler *s, uint64_t seed, int64_t epoch, int64_t used);
void ls_sampler_next(struct ls_sampler *s, int rank, int world, int64_t *ret_indices);
void ls_sampler_release(struct ls_sampler *s);

/* The permutation itself: order[0..n) of epoch `epoch`. */
void ls_permutation(uint64_t seed, int64_t epoch, uint32_t *order, uint32_t n);
/* splitmix64: the next number of the stream at *state. */
uint64_t ls_splitmix64(uint64_t *state);

#endif
