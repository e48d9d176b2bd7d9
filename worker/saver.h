/* saver.h -- the background half of a save: the slots, and the threads that carry them away. It knows no other rank: what the ranks
 * must agree on is save.c's, on the training thread.
 *
 * At any time one save is being written:
 *
 *     IDLE ──write──> WRITING ──shard durable──> WRITTEN ──publish (rank 0)──> PUBLISHING ──manifest durable──> PUBLISHED
 *       ^               │ a try failed: `failing`, tried again until it works        │ a newer claim: FENCED
 *       └── release ────┴──────────────────────── drop: the shard is taken back ─────┘
 *
 * A store that is away does not end a save: it is tried again, with pauses up to RETRY_MAX_MS, and told of once and then now and then.
 *
 *   Ownership  the saver owns slots and threads; close() waits for what cannot be interrupted (one block of a file, one packet).
 *   Threads    all calls from the training thread.
 *   Errors     as snapshot.h; what happens in the background is in the view. */
#ifndef LS_SAVER_H
#define LS_SAVER_H

#include "worker/snapshot.h"

#include <stdbool.h>

struct ls_saver;

#define LS_NOT_CONDITIONAL \
	"%s ignores \"only if absent\" (If-None-Match): two launchers that start one job at the same moment would not notice each other"

enum ls_saver_state {
	LS_SAVER_IDLE,
	LS_SAVER_WRITING,
	LS_SAVER_WRITTEN,
	LS_SAVER_PUBLISHING,
	LS_SAVER_PUBLISHED,
	LS_SAVER_FENCED
};

struct ls_saver_view {
	enum ls_saver_state state;
	bool failing;      /* the last try failed, with `why` */
	struct ls_err why;
	uint32_t crc32c;   /* WRITTEN: of the shard */
};

struct ls_saver_options {
	const char *uri;
	struct ls_claimant claimant;
	int rank, keep;
	unsigned generation;   /* 0: rank 0 claims one before it writes, the others wait for ls_saver_set_generation */
	const struct ls_layout *layout;
	const char *neighbour; /* where copies go (hold.h), or NULL */
	void (*tell)(void *arg, const char *line); /* events, from any thread */
	void *arg;
};

ls_status ls_saver_open(const struct ls_saver_options *opt, struct ls_saver **ret, struct ls_err *err);
void ls_saver_close(struct ls_saver *sv); /* NULL is fine; what is not published is lost, a later prune finds its shard */

unsigned ls_saver_generation(struct ls_saver *sv); /* 0: not known yet */
void ls_saver_set_generation(struct ls_saver *sv, unsigned generation);

/* A slot that nobody reads and that is not in `keep` (a bit mask of slots); made if there is none. May wait for a dropped save to let go. */
ls_status ls_saver_slot(struct ls_saver *sv, unsigned keep, int *ret_index, struct ls_slot **ret, struct ls_err *err);
/* No agent may offer what is in the slots now. */
void ls_saver_hide(struct ls_saver *sv);
/* Is there one already? Then it stays so until the training thread takes it: what happens in the background only frees slots. */
bool ls_saver_has_room(struct ls_saver *sv, unsigned keep);
const struct ls_snap_head *ls_saver_head(const struct ls_saver *sv, int slot);
/* A SEALED slot: send it to the neighbour, if there is one; the newest wins. */
void ls_saver_copy(struct ls_saver *sv, int slot);
bool ls_saver_copying(struct ls_saver *sv); /* is one on its way, or waiting? */
/* From IDLE, or after a drop: write this SEALED slot's shard. */
void ls_saver_write(struct ls_saver *sv, int slot);
void ls_saver_drop(struct ls_saver *sv);    /* does not wait */
void ls_saver_retry(struct ls_saver *sv);   /* what failed is tried now; until then it has not failed */
/* From WRITTEN, on all ranks. Rank 0 gives what is to be published, which is taken over; others NULL. `began_s`: when the save began, for
 * the event. */
void ls_saver_publish(struct ls_saver *sv, struct ls_ckpt *c, double began_s, double stall_s);
void ls_saver_release(struct ls_saver *sv); /* WRITTEN or PUBLISHED -> IDLE */
void ls_saver_look(struct ls_saver *sv, struct ls_saver_view *ret);
void ls_saver_wait(struct ls_saver *sv, int ms); /* until the view may have changed, or so long */

#endif
