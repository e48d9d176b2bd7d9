/* lockstep.h -- what a training program written in C sees of Lockstep.
 *
 * The life of a rank:
 *
 *     lockstep_start(&opt, &ls, &err)               join the world; MPI is initialised if it is not
 *       lockstep_state_add(ls, "w", …)              name what a checkpoint must hold
 *       lockstep_bucket_add(ls, "w", grad, …)       name the gradients, in the order backward produces them
 *       lockstep_restore(ls, &step, &err)           newest checkpoint that verifies, or step = 0
 *       for (; step < total; step++) {
 *         lockstep_sampler_next(ls, idx, batch)     this rank's samples of the next global batch
 *         ... forward, backward ...
 *         lockstep_bucket_ready(ls, i)              may start to sum bucket i while backward goes on
 *         lockstep_bucket_wait(ls, &err)            all buckets hold the average of all ranks
 *         ... optimizer step ...
 *         lockstep_step_end(ls, step + 1, loss, samples, &err)   progress, heartbeat, due checkpoints, "stop soon?"
 *       }
 *     lockstep_finish(ls)
 *
 *   Shapes     counts are elements, sizes are bytes, steps and ranks count from 0; a step N that is reported or saved
 *              means "N optimizer steps are done".
 *   Ownership  buffers stay the caller's and must live until lockstep_finish(); names are copied.
 *   Threads    one handle, called from one thread.
 *   Errors     every call that can fail returns a status; `err` gets one sentence. LOCKSTEP_RANK_LOST and worse are
 *              final for this attempt: leave main() with lockstep_exit_code(status) and the launcher decides about the
 *              next one. LOCKSTEP_STOP is no error: save is done, leave with lockstep_exit_code (143).
 *   Linking    cc prog.c -llockstep; or, without installing: mpicc -Iinclude prog.c build/liblockstep.a -lhwloc -lyaml -lcjson -lexpat -lm
 *   Without the launcher the library works in a plain `mpirun ./prog`, and in a single process.
 *   Determinism: sums are made in rank order, so that one manifest, seed and world size give the same bits every time.
 */
#ifndef LOCKSTEP_H
#define LOCKSTEP_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#ifdef __GNUC__
#pragma GCC visibility push(default) /* liblockstep.so shows these names and no others */
#endif

#define LOCKSTEP_VERSION "0.1.0"

typedef enum {
	LOCKSTEP_OK = 0,
	LOCKSTEP_STOP,       /* a termination notice came, the checkpoint is written: leave now */
	LOCKSTEP_USAGE,      /* the program's mistake: err says which */
	LOCKSTEP_AGAIN,      /* nothing lost, e.g. a checkpoint could not be written: go on */
	LOCKSTEP_DATA_BAD,   /* no checkpoint verifies */
	LOCKSTEP_RANK_LOST,  /* another rank is gone */
	LOCKSTEP_JOB_LOST    /* the job cannot go on */
} lockstep_status;

struct lockstep_err {
	int rank;            /* the rank at fault, or -1 */
	char text[1024];
};

enum lockstep_dtype {
	LOCKSTEP_F64, LOCKSTEP_F32, LOCKSTEP_F16, LOCKSTEP_BF16, LOCKSTEP_I64, LOCKSTEP_I32, LOCKSTEP_U8
};

struct lockstep;         /* this rank's handle */

struct lockstep_options {     /* zero means the default; what the launcher set in the environment wins where noted */
	uint64_t seed;        /* of the sampler */
	int64_t total_steps;  /* for the ETA; 0: unknown */
	int64_t samples;      /* size of the data set, for the sampler */
	int64_t batch;        /* samples per step and rank */
	int64_t global_batch; /* instead of batch: samples per step over all ranks; each gets an equal part */
	const char *checkpoint_uri; /* LOCKSTEP_CHECKPOINT_URI wins */
	int64_t every_steps;  /* LOCKSTEP_CHECKPOINT_STEPS wins */
	int64_t every_seconds;/* LOCKSTEP_CHECKPOINT_SECONDS wins */
	int keep;             /* LOCKSTEP_CHECKPOINT_KEEP wins; default 3 */
};

lockstep_status lockstep_start(const struct lockstep_options *opt, struct lockstep **ret, struct lockstep_err *err);
/* NULL is fine. When all is well, all ranks call it; it finalises MPI if lockstep_start initialised it. After an
 * error that this handle returned it waits for nobody and leaves MPI as it is: mpirun then ends the others. A rank
 * that gives up for a reason of its own, alone, leaves main() with a non-zero code without calling it. */
void lockstep_finish(struct lockstep *ls);
/* 0, 143 for STOP, 2 for USAGE, 75 for AGAIN and RANK_LOST, 1 else. 75 < 128, yet the launcher treats a RANK_LOST as a
 * consequence, not a cause. */
int lockstep_exit_code(lockstep_status st);

int lockstep_rank(const struct lockstep *ls);
int lockstep_world_size(const struct lockstep *ls);
int lockstep_local_rank(const struct lockstep *ls);

/* Collectives beside the gradients; every rank calls them in the same order. In place. In GPU memory, too (by NCCL), if it is so on
 * all ranks. */
lockstep_status lockstep_broadcast(struct lockstep *ls, void *buf, size_t bytes, int root, struct lockstep_err *err);
lockstep_status lockstep_sum_f64(struct lockstep *ls, double *values, size_t count, struct lockstep_err *err);
lockstep_status lockstep_barrier(struct lockstep *ls, struct lockstep_err *err);

/* Host memory that ranks of one node can reach in each other: gradients in it are summed without a copy (docs/collectives.md). 64-byte
 * aligned, zeroed; it lives until lockstep_free or lockstep_finish. Not collective. Elsewhere it is ordinary memory. */
lockstep_status lockstep_alloc(struct lockstep *ls, size_t bytes, void **ret, struct lockstep_err *err);
void lockstep_free(struct lockstep *ls, void *p);

/* The CUDA stream (cudaStream_t) in which the program makes its gradients, from now on. NULL, the default: the legacy default stream. */
void lockstep_stream(struct lockstep *ls, void *stream);

/* Gradient buckets: register all once, before the first lockstep_bucket_ready; the ranks then compare what they
 * registered, and a mismatch is LOCKSTEP_USAGE with the rank and tensor on every rank. F64, F32, F16 and BF16. *ret is the
 * bucket's index.
 *
 * Gradients in GPU memory (on every rank, or on none) are averaged by NCCL. lockstep_bucket_ready then means: what is in the stream now makes
 * the gradient. The sum begins when that is done, on a stream of the library's; the call itself waits for nothing. lockstep_bucket_wait returns
 * when all sums are done: the host waits, so that a rank that is lost is an error here and not a hang. docs/collectives.md: nccl. */
lockstep_status lockstep_bucket_add(struct lockstep *ls, const char *name, void *grad, size_t count,
	enum lockstep_dtype dtype, int *ret, struct lockstep_err *err);
lockstep_status lockstep_bucket_ready(struct lockstep *ls, int bucket, struct lockstep_err *err);
/* Waits for all buckets of this step; each then holds the average over the ranks. Every bucket must have been marked
 * ready. */
lockstep_status lockstep_bucket_wait(struct lockstep *ls, struct lockstep_err *err);

/* Checkpointed state. Replicated: equal on all ranks, stored once. Private: stored per rank (a restore needs the
 * same world size). Sharded: each rank holds some rows of one tensor (an optimizer's state, ZeRO); a restore deals them
 * out anew over any number of ranks. RNG state and step counters are state like any other. */
enum lockstep_state_kind { LOCKSTEP_REPLICATED, LOCKSTEP_PRIVATE, LOCKSTEP_SHARDED };
lockstep_status lockstep_state_add(struct lockstep *ls, const char *name, void *data, enum lockstep_dtype dtype,
	int ndim, const int64_t *shape, enum lockstep_state_kind kind, struct lockstep_err *err);
/* Rows [first_row, first_row + shape[0]) of a tensor of `rows` rows; over all ranks they must tile it. shape[0] may be 0. */
lockstep_status lockstep_state_add_sharded(struct lockstep *ls, const char *name, void *data, enum lockstep_dtype dtype,
	int ndim, const int64_t *shape, int64_t first_row, int64_t rows, struct lockstep_err *err);
/* Collective. Saves and waits until the checkpoint is published. LOCKSTEP_AGAIN: not saved (disk full, …); older
 * checkpoints are whole; training may go on. A step that is published already is not written again; without a
 * checkpoint URI nothing is, which is a warning and LOCKSTEP_OK. */
lockstep_status lockstep_save(struct lockstep *ls, int64_t step, struct lockstep_err *err);
/* Collective; also later, to go back: what is being saved is waited for. The newest snapshot that the hosts' agents hold whole, else the newest checkpoint whose every shard verifies; those
 * skipped are reported as warnings. *ret_step = 0: none yet. After an error the registered state may hold anything. */
lockstep_status lockstep_restore(struct lockstep *ls, int64_t *ret_step, struct lockstep_err *err);

/* The next `batch` sample indices of this rank. The order of an epoch depends on seed and epoch alone: the world
 * walks one permutation, global batch by global batch, rank r takes the r-th part. The last, incomplete global batch
 * of an epoch is dropped. */
void lockstep_sampler_next(struct lockstep *ls, int64_t *ret_indices);
int64_t lockstep_sampler_epoch(const struct lockstep *ls);

/* End of a step: report it (loss as this rank knows it; samples this rank used), beat the heart, begin a save when due, and
 * agree with the others on a termination notice: LOCKSTEP_STOP after the checkpoint is written. Collective. A save
 * takes a copy of the state here and is written in the background while training goes on; one that fails is a warning, and is
 * tried again. */
lockstep_status lockstep_step_end(struct lockstep *ls, int64_t step, double loss, int64_t samples,
	struct lockstep_err *err);

/* A named result for the run's report and the terminal ("accuracy", 0.974). Rank 0's counts. */
void lockstep_result(struct lockstep *ls, const char *name, double value);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif
