/* rank.h -- one rank as liblockstep's own files see it: the struct behind lockstep.h, and who does what to it.
 *
 *     context.c   start, finish, the plain collectives      sampler.c   whose turn is which sample
 *     options.c   options and environment                   state.c     what a checkpoint holds; who writes what
 *     vote.c      "did it work everywhere?"                 save.c      one checkpoint, all ranks
 *     bucket.c    gradients                                 restore.c   the newest checkpoint that verifies
 *     progress.c  the end of a step                         events.c    lines to the shim; errors to the caller
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

struct ls_settings {             /* options and environment, merged; strings are borrowed from whichever said it */
	const char *checkpoint_uri;  /* NULL: none */
	const char *job, *backend;
	int64_t total_steps, every_steps, every_seconds, attempt;
	int keep;
	int64_t planned_world, planned_rank; /* what the launcher started; -1: no launcher */
};

struct ls_events {
	int fd;                 /* -1: none */
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

enum ls_bucket_state { LS_BUCKET_IDLE, LS_BUCKET_ACTIVE, LS_BUCKET_DONE };

struct ls_bucket {
	char *name;
	void *grad;
	size_t count;
	enum ls_dtype dtype;
	enum ls_bucket_state state;
	struct ls_reduce *plan;  /* made once the ranks have agreed */
};

struct ls_state {
	char *name;              /* in the shard: NAME, or rank-00003/NAME of private state */
	char *data;
	bool replicated;
	enum ls_dtype dtype;
	int ndim;
	int64_t shape[LS_ST_MAX_DIMS];
	uint64_t bytes;
	int owner;               /* the rank that writes it */
	bool found;              /* scratch of restore.c */
};

/* Two numbers that every rank adds up with the others', in the background, one step behind. */
enum { LS_CONTROL_STOP, LS_CONTROL_SAVE, LS_CONTROL_N };

struct lockstep {
	struct ls_comm *comm;
	const struct ls_backend *ops;
	int rank, world, local_rank;
	char host[64];
	struct ls_settings set;
	struct ls_events events;
	struct ls_vote *votes;   /* one per rank; the last vote */
	bool failed;             /* this rank's collectives no longer match the others': it leaves alone */

	struct ls_bucket *buckets;
	size_t n_buckets;
	bool buckets_agreed;

	struct ls_state *states;
	size_t n_states;
	bool states_agreed;

	struct ls_store *store;  /* NULL: no checkpoints */
	bool told_no_place;
	long long newest;        /* the newest published step that this run knows to be good; -1: none */
	long long *bad;          /* published steps that did not verify: unpublished by the next save */
	size_t n_bad;
	double next_save_s;      /* rank 0's clock, for every_seconds */

	struct ls_sampler sampler;

	double control[LS_CONTROL_N];
	struct ls_reduce *control_plan;
	bool control_active;
	double step_began_s;
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
void ls_buckets_release(struct lockstep *ls);

/* state.c */
ls_status ls_states_agree(struct lockstep *ls, struct ls_err *err); /* and deal them out: sets owner */
ls_status ls_states_deal(struct ls_state *states, size_t n, int rank, int world, struct ls_err *err);
void ls_shape_text(enum ls_dtype dtype, int ndim, const int64_t *shape, struct ls_str *ret); /* "F32[64,128]" */
void ls_states_release(struct lockstep *ls);

/* save.c, restore.c */
ls_status ls_save(struct lockstep *ls, long long step, struct ls_err *err);
ls_status ls_restore(struct lockstep *ls, long long *ret_step, struct ls_err *err);

/* progress.c */
ls_status ls_control_open(struct lockstep *ls, struct ls_err *err);
ls_status ls_control_wait(struct lockstep *ls, bool *ret_stop, bool *ret_save, struct ls_err *err);
void ls_control_close(struct lockstep *ls);

/* events.c */
void ls_events_open(struct ls_events *ev);
void ls_event_send(struct lockstep *ls, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void ls_event_progress(struct lockstep *ls, long long step, double loss, long long samples, double seconds);
/* The caller's status and sentence; what is final is told to the shim, once, here. */
lockstep_status ls_give(struct lockstep *ls, ls_status st, const struct ls_err *e, struct lockstep_err *err);

/* signal.c */
void ls_signal_watch(void);   /* SIGTERM becomes a flag; calls nest */
void ls_signal_unwatch(void); /* the program's own handler is back after the last */
bool ls_signal_came(void);

#endif
