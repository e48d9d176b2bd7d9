/* snap.h -- a snapshot: one rank's shard in memory, in a form that outlives the rank.
 *
 * A memfd: a page with this header, then the image, byte for byte what the shard's file will hold. The rank fills it; the host's agent
 * keeps a descriptor of it, and so it is still there when the rank is not. Whoever has it mapped can tell from `state` alone whether it is
 * whole: a rank that dies while it copies leaves LS_SNAP_FILLING.
 *
 *     EMPTY ──begin──> FILLING ──the copy is done──> SEALED ──begin──> FILLING …
 *
 * Fields are written in FILLING only, before the store-release of SEALED; crc32c after it, before crc_known. */
#ifndef LS_SNAP_H
#define LS_SNAP_H

#include <stdatomic.h>
#include <stdint.h>

#define LS_SNAP_MAGIC "LSSNAP1"
#define LS_SNAP_HEAD 4096 /* bytes before the image */

enum { LS_SNAP_EMPTY, LS_SNAP_FILLING, LS_SNAP_SEALED };

struct ls_snap_head {
	char magic[8];
	_Atomic uint32_t state;
	_Atomic uint32_t crc_known;
	_Atomic uint32_t crc32c;     /* of the image */
	uint32_t generation, attempt;
	int32_t rank, world;
	int64_t step;
	uint64_t bytes;              /* of the image */
	uint64_t capacity;           /* of the mapping, header included */
	uint64_t seed;               /* the sampler's state, as in a manifest */
	int64_t epoch, epoch_samples;
	char job[128];
	char host[64];               /* where the rank ran */
};

_Static_assert(sizeof(struct ls_snap_head) <= LS_SNAP_HEAD, "the header has one page");

#endif
