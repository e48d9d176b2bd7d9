/* rank.h -- one rank as liblockstep's own files see it: the struct behind lockstep.h, and who does what to it.
 *
 *     context.c   start, finish, the plain collectives      sampler.c   whose turn is which sample
 *     options.c   options and environment                   state.c     what a checkpoint holds; who writes what
 *     vote.c      "did it work everywhere?"                 snapshot.c  the copy that training waits for
 *     bucket.c    gradients                                 saver.c     the thread that carries it to the store
 *     gpu.c       the group of what is in GPU memory        save.c      what the ranks agree on about saves
 *     progress.c  the end of a step                         restore.c   the newest checkpoint: which, and from where
 *     events.c    lines to the shim; errors to the caller   load.c      its bytes, into place
 *
 * Invariant: whatever one rank decides that the others must follow (a save, a stop, a skipped checkpoint) is agreed
 * by a collective before anybody acts on it, and a rank whose own part failed still takes part in that collective.
 * So a failure on one rank is an error on all of them, never a hang.
 * Inside, statuses are ls_status; ls_give() turns them into the caller's lockstep_status at the last moment. */
#ifndef LS_RANK_H
#define LS_RANK_H

#include "collectives/backend.h"
#include "core/ckpt.h"
#include "core/store.h"
#include "lockstep/lockstep.h"
#include "worker/sampler.h"
#include "worker/saver.h"

#include <stdatomic.h>

struct ls_settings {             /* options and environment, merged; strings are borrowed from whichever said it */
	const char *checkpoint_uri;  /* NULL: none */
	const char *job;
	struct ls_comm_options comm; /* of the host's group */
	const char *backend;         /* asked for by name, or NULL */
	size_t fuse_bytes;           /* gradients in GPU memory that are summed as one, at most; 0: each alone */
	int wire_dtype;              /* what they travel as: an ls_dtype; -1: as they are */
	int64_t total_steps, every_steps, every_seconds, attempt;
	int keep;
	int64_t memory_steps;        /* snapshots in memory between saves; 0: none */
	int64_t copies;              /* of snapshots, on another host: 0 or 1 */
	bool wait_when_busy;         /* a third save waits, instead of replacing the second */
	const char *agent;           /* NULL: nobody holds snapshots; else also names this run of the launcher */
	int64_t claimed;             /* the newest generation of its earlier attempts; 0: none */
	int64_t planned_world, planned_rank; /* what the launcher started; -1: no launcher */
};

struct ls_events {
	atomic_int fd;          /* -1: none; the saver speaks too */
	bool plain;             /* no shim: rank 0 tells a person */
	double next_line_s;     /* when the next plain progress line is due */
};

/* One rank's part in a vote; crosses the network as it is. */
struct ls_vote {
	int32_t status, sys, rank;
	uint32_t crc32c;
	uint64_t bytes, extra;   /* what else the vote is about */
	char host[64];
	char text[512];
};

struct ls_bucket {
	char *name;
	void *grad;
	size_t count;
	enum ls_dtype dtype;
	bool on_gpu, ready;
	bool joins;                 /* on all ranks: in GPU memory, right after the one before, of the same type */
};

/* Buckets that are summed by one operation: one, or consecutive ones in GPU memory. */
struct ls_unit {
	size_t first, n;
	struct ls_part *parts;      /* NULL: one bucket, where it is */
	struct ls_request *plan;
};

struct ls_state {
	char *name, *stored;     /* in the shard: NAME, rank-00003/NAME of private state, NAME[FIRST:LAST] of sharded */
	char *data;
	bool on_gpu;
	enum lockstep_state_kind kind;
	enum ls_dtype dtype;
	int ndim;
	int64_t shape[LS_ST_MAX_DIMS]; /* as this rank holds it */
	uint64_t bytes;
	int owner;               /* the rank that writes it */
	int64_t first, rows;     /* sharded: this rank's first row, and the rows of the whole */
	int64_t *bounds;         /* sharded, once agreed: first and last+1 of every rank */
	bool found;              /* scratch of load.c */
};

/* Numbers that every rank adds up with the others', in the background, one step behind. */
enum {
	LS_CONTROL_STOP,         /* has a notice come? */
	LS_CONTROL_SAVE,         /* rank 0: is a save due by the clock? */
	LS_CONTROL_ROOM,         /* have I a free slot? */
	LS_CONTROL_WRITTEN,      /* is my shard of the head save durable? */
	LS_CONTROL_COPYING,      /* is a copy of a snapshot on its way to another host? */
	LS_CONTROL_FAILING,      /* did its last try fail? */
	LS_CONTROL_PUBLISHED,    /* rank 0: is its manifest? */
	LS_CONTROL_FENCED,       /* rank 0: or has somebody claimed a newer generation? */
	LS_CONTROL_GENERATION,   /* rank 0: ours, once it is known */
	LS_CONTROL_N
};

#define LS_NO_SAVING ((struct ls_saving){ .step = -1, .slot = -1 })

/* One save on its way; the same on all ranks, but for the slot. */
struct ls_saving {
	long long step;          /* -1: none */
	int slot;
	double began_s, stall_s; /* when, and how long training stood still for it */
};

struct lockstep {
	struct ls_comm *comm;    /* the host's group: what is in host memory, votes, control */
	int rank, world, local_rank;
	char host[64];
	struct ls_settings set;
	struct ls_events events;
	struct ls_vote *votes;   /* one per rank; the last vote */
	bool failed;             /* this rank's collectives no longer match the others': it leaves alone */

	struct ls_bucket *buckets;
	size_t n_buckets, n_ready;
	struct ls_unit *units;   /* made once the ranks have agreed */
	size_t n_units, next_unit; /* next: the first that is not started in this step */
	bool buckets_agreed;
	struct ls_comm *gpu;     /* NULL: nothing in GPU memory yet */
	void *stream, *ready_stream; /* the program's, for what it puts there; that of this step's gradients */

	struct ls_state *states;
	size_t n_states;
	bool states_agreed;

	struct ls_store *store;  /* NULL: no checkpoints */
	bool told_no_place;
	unsigned generation;     /* 0: not claimed yet */
	long long newest;        /* the newest step that this run published, or came from in the store; -1: none */
	long long resumed;       /* where restore began; 0: at the beginning */
	double next_save_s;      /* rank 0's clock, for every_seconds */

	struct ls_layout layout;
	struct ls_saver *saver;  /* made with the first snapshot */
	struct ls_saving head, next; /* being written; waiting for that */
	bool room;               /* every rank has a free slot, and its last snapshot is whole */
	bool publishing;         /* all shards of head are written */
	bool failing;            /* the last try to write head, on some rank */
	bool told_replaced;      /* since the last save that worked */
	long long top;           /* the newest step published in this generation; -1 */
	char who[256];           /* the line in our claim */
	int newest_slot;         /* the newest snapshot, whole on all ranks by the time another one begins; -1 */
	long long snapped;       /* its step; -1 */

	struct ls_hold *hold;    /* NULL: nobody holds snapshots */
	bool may_forget;         /* snapshots of earlier attempts are still held */
	char neighbour[256];     /* where copies go; "": nowhere */
	bool copying;            /* on some rank */
	bool told_skipped;       /* that snapshots in memory are */

	struct ls_sampler sampler;

	double control[LS_CONTROL_N];
	struct ls_request *control_plan;
	bool control_active, stop_wanted, save_wanted; /* wanted: agreed, and not acted upon yet */
	double step_began_s;
	double waited_s;         /* since then, inside calls that exchange something with other ranks */
};

/* options.c */
ls_status ls_settings_merge(const struct lockstep_options *opt, struct ls_settings *ret, struct ls_err *err);

/* vote.c */
/* All ranks learn whether it worked on all: returns LS_OK, or the worst status, with one rank's sentence, the same
 * everywhere. `mine` may carry data (crc32c, bytes, extra; NULL: none); after LS_OK they are in ls->votes. `err` is
 * in and out. */
ls_status ls_vote(struct lockstep *ls, const struct ls_vote *mine, ls_status st, struct ls_err *err);
/* Rank 0 alone acted: all learn how it went. */
ls_status ls_verdict(struct lockstep *ls, ls_status st, struct ls_err *err);
/* Every rank holds the same list of `what` ("bucket"), else LS_USAGE with the first difference. Takes part also when
 * building the list failed (st). */
ls_status ls_agree(struct lockstep *ls, const char *what, const struct ls_strv *list, ls_status st, struct ls_err *err);

/* bucket.c */
ls_status ls_buckets_agree(struct lockstep *ls, struct ls_err *err);
void ls_buckets_release(struct lockstep *ls, bool orderly);

/* gpu.c */
ls_status ls_gpu_settings(struct ls_settings *ret, struct ls_err *err);
/* Make ls->gpu, once. Collective. */
ls_status ls_gpu_open(struct lockstep *ls, struct ls_err *err);
/* The group for what is at `at`; collective the first time that this is GPU memory. */
ls_status ls_group_for(struct lockstep *ls, const void *at, struct ls_comm **ret, struct ls_err *err);

/* state.c */
ls_status ls_states_agree(struct lockstep *ls, struct ls_err *err); /* and deal them out: sets owner */
ls_status ls_states_deal(struct ls_state *states, size_t n, int rank, int world, struct ls_err *err);
void ls_shape_text(enum ls_dtype dtype, int ndim, const int64_t *shape, struct ls_str *ret); /* "F32[64,128]" */
void ls_states_release(struct lockstep *ls);

/* save.c */
/* Make layout and saver, once. */
ls_status ls_saves_open(struct lockstep *ls, struct ls_err *err);
/* Take a snapshot, and have it written in the background. LS_AGAIN: no snapshot. */
ls_status ls_save_begin(struct lockstep *ls, long long step, bool to_store, struct ls_err *err);
/* The same, and wait until it is published: LS_AGAIN if a try to write it failed; it is given up then. */
ls_status ls_save_now(struct lockstep *ls, long long step, struct ls_err *err);
/* What is on its way is published, or its last try failed. */
ls_status ls_saves_flush(struct lockstep *ls, struct ls_err *err);
void ls_saves_say(struct lockstep *ls, double *control);               /* this rank's numbers */
/* The snapshot of a step between saves, unless copies of the one before are still on their way: if a host were lost then, neither step
 * would be whole. */
ls_status ls_save_memory(struct lockstep *ls, long long step, struct ls_err *err);
ls_status ls_saves_hear(struct lockstep *ls, const double *control, struct ls_err *err); /* act on the sums */
/* Before older state comes back: what is on its way is published, or given up. */
ls_status ls_saves_end(struct lockstep *ls, struct ls_err *err);
void ls_saves_close(struct lockstep *ls);

struct ls_claimant ls_claimant_of(const struct lockstep *ls);

/* restore.c */
ls_status ls_restore(struct lockstep *ls, long long *ret_step, struct ls_err *err);
/* State is in place: the sampler follows, and people are told. `from`: "store", "memory". */
void ls_restored(struct lockstep *ls, long long step, uint64_t seed, int64_t epoch, int64_t used, const char *from);

/* load.c -- what restore.c has chosen: shards, and which rank reads which. */
struct ls_source {
	int world;                     /* ranks that saved it */
	size_t n;                      /* shards */
	uint64_t *bytes;               /* [n] of each; set by open */
	bool everywhere;               /* every rank reads every shard itself, and nothing is broadcast; the same on all */
	int (*reader)(const struct ls_source *src, size_t shard);
	/* On its reader: the shard's header; then all its data, in order, checksum and all. everywhere: a NULL vector is passed over. */
	ls_status (*open)(struct ls_source *src, size_t shard, struct ls_str *ret_header, struct ls_err *err);
	ls_status (*read)(struct ls_source *src, size_t shard, const struct iovec *iov, int n, struct ls_err *err);
	/* Every rank its part: are the shards what was saved? Asked when a header, whose checksum is not known alone, does not fit the
	 * program. NULL: open was sure already. */
	ls_status (*verify)(struct ls_source *src, struct ls_err *err);
	const char *name;              /* "step 40 in file:///…", for messages */
};
ls_status ls_load(struct lockstep *ls, struct ls_source *src, struct ls_err *err);

/* memory.c -- snapshots that agents hold. */
/* The newest snapshot that is whole over all hosts, into place. LS_NOT_FOUND: there is none. Also finds the agents, for what comes. */
ls_status ls_memory_restore(struct lockstep *ls, struct ls_err *err);

/* progress.c */
/* A step begins: now, or so long ago, when the ranks were agreeing on something that this step had to wait for. */
void ls_step_begin(struct lockstep *ls, double waited_s);
ls_status ls_control_open(struct lockstep *ls, struct ls_err *err);
ls_status ls_control_start(struct lockstep *ls, struct ls_err *err);
ls_status ls_control_wait(struct lockstep *ls, struct ls_err *err); /* and act on it, or set stop_wanted, save_wanted */
void ls_control_close(struct lockstep *ls);

/* events.c */
void ls_events_open(struct ls_events *ev);
void ls_event_send(struct lockstep *ls, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void ls_event_progress(struct lockstep *ls, long long step, double loss, long long samples, double seconds, double waited_s);
/* The caller's status and sentence; what is final is told to the shim, once, here. */
/* comm.c: what a status is to the program. */
lockstep_status ls_status_public(ls_status st);
lockstep_status ls_give(struct lockstep *ls, ls_status st, const struct ls_err *e, struct lockstep_err *err);
/* The same after a call that exchanged something with other ranks: training stood in it since `began_s`. */
lockstep_status ls_give_waited(struct lockstep *ls, double began_s, ls_status st, const struct ls_err *e, struct lockstep_err *err);

/* signal.c */
void ls_signal_watch(void);   /* SIGTERM becomes a flag; calls nest */
void ls_signal_unwatch(void); /* the program's own handler is back after the last */
bool ls_signal_came(void);

#endif
