/* ckpt.h -- checkpoints in a store: publish, find, verify, keep.
 *
 *     PREFIX/step-000000001200/rank-00003.safetensors
 *     PREFIX/step-000000001200/manifest.json      written last, only if absent
 *
 * Invariant: a checkpoint without a manifest does not exist; a manifest is written only when every shard it names is
 * durable; nothing that a manifest names is deleted before that manifest is. So at every instant, whatever dies, a
 * reader finds the newest checkpoint whole or the one before.
 *
 * manifest.json: {"format": "lockstep-checkpoint/1", "job", "attempt", "step", "worldSize", "time", "sampler": {...},
 *   "versions": {...}, "shards": [{"key", "bytes", "crc32c"}]}   (docs/checkpoint-format.md)
 *
 * A restore that passes over a damaged checkpoint should ls_ckpt_delete() it before the same step is saved again: its
 * shards would be overwritten under a manifest that no longer fits them, and the publish would be LS_EXISTS.
 *
 * Not here: who saves what (worker/), and when.
 *
 *   Threads    one store handle per thread.
 *   Errors     as store.h; LS_DATA_BAD names the shard and both checksums.
 */
#ifndef LS_CKPT_H
#define LS_CKPT_H

#include "core/store.h"

struct ls_shard {
	char *key; /* relative to the store */
	uint64_t bytes;
	uint32_t crc32c; /* of the whole object */
};

struct ls_ckpt {
	char *job; /* who saved it; may be "" */
	unsigned attempt;
	long long step;
	int world_size;
	char time[32]; /* RFC 3339, UTC */
	uint64_t seed; /* sampler state: seed, epoch, and samples of that epoch already used by the whole world */
	long long epoch, epoch_samples;
	struct ls_strv versions; /* "lockstep=0.1.0", "mpi=Open MPI v4.1.4", … */
	struct ls_shard *shards;
	size_t n_shards;
};

void ls_ckpt_dir(long long step, char ret[32]);                 /* "step-000000001200" */
void ls_ckpt_shard_key(long long step, int rank, char ret[64]); /* "step-…/rank-00003.safetensors" */
long long ls_ckpt_key_step(const char *key);                    /* the step whose directory the key is in, or -1 */

/* LS_EXISTS: already published. */
ls_status ls_ckpt_publish(struct ls_store *s, const struct ls_ckpt *c, struct ls_err *err);
ls_status ls_ckpt_read(struct ls_store *s, long long step, struct ls_ckpt *ret, struct ls_err *err);
void ls_ckpt_release(struct ls_ckpt *c);

/* Steps that have a manifest, newest first, *ret is the caller's to free(). Never reads the manifests. */
ls_status ls_ckpt_list(struct ls_store *s, long long **ret, size_t *ret_n, struct ls_err *err);
/* Read every `stride`-th shard from `first` on and compare size and checksum (ranks share the work: first = rank,
 * stride = world size; everything: 0, 1). */
ls_status ls_ckpt_verify(struct ls_store *s, const struct ls_ckpt *c, size_t first, size_t stride, struct ls_err *err);
/* The cheap half of that: every shard is there, at its size. */
ls_status ls_ckpt_check(struct ls_store *s, const struct ls_ckpt *c, struct ls_err *err);
/* Delete one checkpoint, its manifest first; what is not a checkpoint's stays. Missing is fine. */
ls_status ls_ckpt_delete(struct ls_store *s, long long step, struct ls_err *err);
/* Keep the newest `keep` published checkpoints that pass ls_ckpt_check(): a damaged one never pushes out a whole one.
 * What is older than the newest of them and not kept is deleted: other checkpoints, shards without a manifest,
 * leftovers of killed puts. What is newer stays: another save may be going on. Call it when the newest manifest is
 * durable; a prune that was interrupted is completed by the next. */
ls_status ls_ckpt_prune(struct ls_store *s, int keep, struct ls_err *err);

#endif
