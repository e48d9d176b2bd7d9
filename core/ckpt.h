/* ckpt.h -- checkpoints in a store: claim, publish, find, verify, keep.
 *
 *     PREFIX/generation-00000003.json                        who saves: one claim per attempt, made only if absent
 *     PREFIX/step-000000001200-g00000003/rank-00003.safetensors
 *     PREFIX/step-000000001200-g00000003/manifest.json       written last, only if absent
 *
 * A generation is a fencing token: an attempt claims the next free one before it lists or writes anything, and everything
 * it writes is in directories of its own. Checkpoints are ordered by generation, then by step: the newest is the last one of the newest
 * generation that has published anything.
 *
 * Invariants
 *   - A checkpoint without a manifest does not exist; a manifest is written only when every shard it names is durable.
 *   - A checkpoint is reported as published only if, after its manifest was written, there was still no newer claim. So whoever claims
 *     later and then lists sees it; and whoever is fenced never reports, and deletes nothing.
 *   - Nothing that a manifest names is deleted before that manifest is; a checkpoint goes only when a newer one is whole.
 * So at every instant, whatever dies and however late a write lands, a reader finds the newest checkpoint whole or the one before, and
 * no older attempt's write is ever taken for newer than a newer attempt's. tests/model/commit.pml checks this for every interleaving.
 *
 * manifest.json: docs/checkpoint-format.md. Directories without "-g…" were written by older versions: generation 0.
 * Not here: who saves what (worker/), and when.
 *
 *   Threads    one store handle per thread.
 *   Errors     as store.h; LS_DATA_BAD names the shard and both checksums; LS_JOB_LOST: fenced, says by whom. */
#ifndef LS_CKPT_H
#define LS_CKPT_H

#include "core/safetensors.h"
#include "core/store.h"

struct ls_ckpt_id {
	unsigned generation;
	long long step;
};

struct ls_shard {
	char *key; /* relative to the store */
	uint64_t bytes;
	uint32_t crc32c; /* of the whole object */
};

/* A tensor of which each rank holds some rows. In the shards its parts are named NAME[FIRST:LAST], rows of dimension 0. */
struct ls_sharded {
	char *name;
	enum ls_dtype dtype;
	int ndim;
	int64_t shape[LS_ST_MAX_DIMS]; /* of the whole */
};

struct ls_ckpt {
	char *job; /* who saved it; may be "" */
	unsigned attempt;
	struct ls_ckpt_id id;
	int world_size;
	char time[32]; /* RFC 3339, UTC */
	uint64_t seed; /* sampler state: seed, epoch, and samples of that epoch already used by the whole world */
	long long epoch, epoch_samples;
	struct ls_strv versions; /* "lockstep=0.1.0", "mpi=Open MPI v4.1.4", … */
	struct ls_shard *shards;
	size_t n_shards;
	struct ls_sharded *sharded;
	size_t n_sharded;
};

#define LS_CKPT_DIR_MAX 48
#define LS_CKPT_KEY_MAX 80
void ls_ckpt_dir(struct ls_ckpt_id id, char ret[LS_CKPT_DIR_MAX]);
void ls_ckpt_shard_key(struct ls_ckpt_id id, int rank, char ret[LS_CKPT_KEY_MAX]);
void ls_ckpt_part_name(const char *name, int64_t first, int64_t last, struct ls_str *ret); /* "m[0:1024]" */
/* The reverse: false if `name` does not end in [FIRST:LAST]. *ret_len: of the name before it. */
bool ls_ckpt_part_parse(const char *name, size_t *ret_len, int64_t *ret_first, int64_t *ret_last);
bool ls_ckpt_key_id(const char *key, struct ls_ckpt_id *ret); /* whose directory is the key in? */
int ls_ckpt_compare(struct ls_ckpt_id a, struct ls_ckpt_id b); /* <0: a is older */
void ls_ckpt_sort(struct ls_ckpt_id *ids, size_t n); /* newest first */

struct ls_claimant {
	const char *who;   /* a job, an attempt, a host: one line in the claim, for people */
	const char *run;   /* the same for all attempts of one launcher, and for no other's; NULL: no launcher */
	unsigned ours;     /* the newest generation that an earlier attempt of this run is known to have claimed; 0: none */
	unsigned at_least; /* the next generation is not below; 0 will do */
};
/* The next generation. A restart does not take over from another run that claimed after ours: LS_JOB_LOST; a run that begins does.
 * *ret_conditional: false when the store was seen to ignore "only if absent", so that two claims at the same moment could be one. */
ls_status ls_ckpt_claim(struct ls_store *s, const struct ls_claimant *claimant, unsigned *ret_generation, bool *ret_conditional,
	struct ls_err *err);
/* LS_JOB_LOST if somebody claimed a newer generation than mine. */
ls_status ls_ckpt_fence(struct ls_store *s, unsigned mine, struct ls_err *err);

/* Every shard is durable. One attempt publishes in the order of its steps: a prune takes what is older than a whole one for abandoned.
 * To try again, pass the same *c (its time, too). LS_OK also when this very manifest is there already (an answer was lost). LS_EXISTS: another one is.
 * LS_JOB_LOST: fenced, before or after the write: nothing may be reported. */
ls_status ls_ckpt_publish(struct ls_store *s, const struct ls_ckpt *c, struct ls_err *err);
ls_status ls_ckpt_read(struct ls_store *s, struct ls_ckpt_id id, struct ls_ckpt *ret, struct ls_err *err);
void ls_ckpt_release(struct ls_ckpt *c);

/* Those that have a manifest, newest first, *ret is the caller's to free(). Never reads the manifests. Lists until two
 * lists agree. A reader takes the newest that is whole; when one is not, it lists again: if the list is another one, things were pruned
 * meanwhile, and it starts again; if it is the same, that one is damaged, and the next one's turn comes. */
ls_status ls_ckpt_list(struct ls_store *s, struct ls_ckpt_id **ret, size_t *ret_n, struct ls_err *err);
/* Read every `stride`-th shard from `first` on and compare size and checksum (everything: 0, 1). */
ls_status ls_ckpt_verify(struct ls_store *s, const struct ls_ckpt *c, size_t first, size_t stride, struct ls_err *err);
/* The cheap half of that: every shard is there, at its size. One listing. */
ls_status ls_ckpt_check(struct ls_store *s, const struct ls_ckpt *c, struct ls_err *err);
/* The header of one shard, as it is stored: the first bytes, up to the data. A shard that is missing is LS_DATA_BAD. */
ls_status ls_ckpt_shard_head(struct ls_store *s, const struct ls_shard *shard, struct ls_str *ret, struct ls_err *err);
/* The same, parsed: its tensors. */
ls_status ls_ckpt_shard_open(
	struct ls_store *s, const struct ls_shard *shard, struct ls_st *ret, uint32_t *ret_head_crc32c, struct ls_err *err);
/* Delete one checkpoint, its manifest first; what is not a checkpoint's stays. Missing is fine. */
ls_status ls_ckpt_delete(struct ls_store *s, struct ls_ckpt_id id, struct ls_err *err);

/* What nobody needs any more. Call it when the newest manifest is durable and not fenced; what was interrupted, the next call completes.
 * Stay: the newest `keep` published checkpoints that pass ls_ckpt_check() (a damaged one never pushes out a whole one), everything newer
 * than the newest of them (another save may be going on), and the newest claim. Go: all else that is a checkpoint's and older, i.e. other
 * checkpoints, shards without a manifest, claims, unfinished puts.
 * `dry`: only report. `gone` (may be NULL) is told each thing: "step-…: 3 objects, 1234 bytes: no manifest". */
struct ls_ckpt_prune {
	int keep;
	unsigned mine; /* my generation: nothing is deleted if there is a newer one (LS_JOB_LOST). 0: no generation, a person acts */
	bool dry;
	void (*gone)(void *arg, const char *what);
	void *arg;
};
ls_status ls_ckpt_prune(struct ls_store *s, const struct ls_ckpt_prune *opt, struct ls_err *err);

#endif
