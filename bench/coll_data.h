/* coll_data.h -- payloads whose results are known exactly.
 *
 * Element i of rank r in the k-th operation is (h((i + k s) mod P) + r) mod 5 - 2, with a scrambling h and a prime P: integers from -2 to 2, whose
 * sums over any set of ranks are exact in every type, in any order, and which no cut at a power of two repeats. One period of the payload
 * fits the first-level cache, so that writing and comparing cost the buffer's bandwidth and nothing else.
 *
 *   Threads    no shared state. */
#ifndef COLL_DATA_H
#define COLL_DATA_H

#include "bench/coll_wire.h"

#include <stddef.h>
#include <stdint.h>

#define COLL_PERIOD 1021

struct coll_tile {
	size_t size;                         /* of an element, bytes */
	unsigned char bytes[COLL_PERIOD * 8];
};

size_t coll_dtype_size(enum coll_dtype d);
/* What rank `rank` sends. */
void coll_tile_rank(struct coll_tile *t, enum coll_dtype d, int rank);
/* What all ranks' payloads are reduced to; an average as docs/collectives.md defines it. */
void coll_tile_reduced(struct coll_tile *t, enum coll_dtype d, enum coll_op op, int world);
/* Elements [first, first + n) of the k-th operation. */
void coll_tile_fill(const struct coll_tile *t, void *buf, size_t first, size_t n, uint64_t k);
size_t coll_tile_wrong(const struct coll_tile *t, const void *buf, size_t first, size_t n, uint64_t k);

#endif
