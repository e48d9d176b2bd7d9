/* hold.h -- a rank's side of the host's agent, which holds snapshots (snap.h) of this job while ranks die and start again.
 *
 * The agent (launcher/cmd_agent.c) listens on the abstract unix socket that LOCKSTEP_AGENT names, lives as long as the launcher, and dies
 * with it; the first ls_hold_open() on a host starts it. A copy can be sent to the agent of another host, so that the loss of a host does
 * not lose its snapshots. What they say to each other: core/hold_wire.h.
 *
 *   Ownership  descriptors given are the caller's to close, those received too.
 *   Threads    one handle per thread.
 *   Errors     LS_NODE_LOST: the agent is gone or never came; the job goes on without. Calls block at most 10 s, ls_hold_send() until
 *              the other side was silent for 20 s. */
#ifndef LS_HOLD_H
#define LS_HOLD_H

#include "core/snap.h"
#include "core/status.h"

#include <stdbool.h>
#include <stddef.h>

#define LS_AGENT_ENV "LOCKSTEP_AGENT" /* "NAME" of the abstract socket */

struct ls_hold;

struct ls_held {
	struct ls_snap_head head; /* a copy, taken when it was SEALED */
	int fd;                   /* the whole snapshot, read-only is enough; the caller's */
	bool copy;                /* of another host's */
};

ls_status ls_hold_open(const char *name, struct ls_hold **ret, struct ls_err *err);
/* NULL is fine. The agent keeps what is SEALED; what is not, it lets go: as when the rank dies, nobody is there to finish it. */
void ls_hold_close(struct ls_hold *h);
/* Where other hosts reach this agent, "ADDRESS:PORT KEY" as ls_hold_send() wants it; "" on a job of one host. */
const char *ls_hold_address(const struct ls_hold *h);
/* Hold this snapshot (a memfd) from now on, whatever is in it at any time. The same one given twice is held once, for the last giver. */
ls_status ls_hold_keep(struct ls_hold *h, int fd, struct ls_err *err);
/* All that are SEALED now, of every rank and attempt; *ret is the caller's to ls_held_release(). */
ls_status ls_hold_list(struct ls_hold *h, struct ls_held **ret, size_t *ret_n, struct ls_err *err);
void ls_held_release(struct ls_held *v, size_t n); /* closes the descriptors, too */
/* Let go of all that is SEALED and of an older attempt than `attempt`, except of (keep_attempt, keep_step). */
ls_status ls_hold_forget(
	struct ls_hold *h, uint32_t attempt, uint32_t keep_attempt, int64_t keep_step, struct ls_err *err);
/* Send a copy of a SEALED snapshot to the agent at `address`. It keeps the newest whole copy per rank and the one on its way: a copy that is
 * cut off leaves the one before. For a background thread; nobody may write to the snapshot meanwhile. LS_USAGE: it is not SEALED, or
 * its crc_known is not set. LS_AGAIN: the other host lacks the memory. LS_EXISTS: it has a newer one. LS_DATA_BAD: what arrived differs. */
ls_status ls_hold_send(const char *address, const struct ls_snap_head *snap, struct ls_err *err);

#endif
