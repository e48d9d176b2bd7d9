/* pod_door.h -- a listening port of a job's Pod: who has the job's secret comes in, strangers are shown out.
 *
 *     accept ──> guest, handshake within LS_DOOR_SHAKE_MS ──┬─> in: the caller's
 *                (of LS_DOOR_STRANGERS the eldest goes)     └─> refused, closed, counted; one line a second says so, on stderr
 *
 *   Ownership  the caller owns the guests, which stay where they are; one whose chan is closed is free.
 *   Threads    one. */
#ifndef LS_POD_DOOR_H
#define LS_POD_DOOR_H

#include "launcher/pod_chan.h"

#include <stdint.h>

enum { LS_DOOR_SHAKE_MS = 10000, LS_DOOR_STRANGERS = 64 };

struct ls_door {
	int fd;
	const char *who;         /* "agent": for its lines */
	struct ls_psk_key key;
	struct ls_guest *strangers[LS_DOOR_STRANGERS]; /* connected, and not in yet */
	int n_strangers;
	unsigned long refused, said;
	int64_t said_ms;
};

struct ls_guest {
	struct ls_chan chan;
	bool in;
	int64_t since_ms;
	char peer[64], here[64]; /* numeric addresses of both sides, an IPv4 one as such */
	int peer_port, here_port;
};

/* `port` 0: a free one. The job's secret and identity as link.h has them. */
ls_status ls_door_open(struct ls_door *d, int port, const char *who, int *ret_port, struct ls_err *err);
void ls_door_close(struct ls_door *d);
/* Somebody knocks. False: nobody came in, *g is untouched. */
bool ls_door_accept(struct ls_door *d, struct ls_guest *g);
/* Goes on with the handshake of one who is not in; true once it is. Closes g->chan of one refused, or too slow. */
bool ls_door_shake(struct ls_door *d, struct ls_guest *g);
/* Counted, and said: what a guest, in or not, wanted and did not get. */
void ls_door_refuse(struct ls_door *d, const struct ls_guest *g, const char *why);
/* Closes it; use this and not ls_chan_close(). */
void ls_door_leave(struct ls_door *d, struct ls_guest *g);

/* The job's secret: LOCKSTEP_SECRET, else where the Pods have it; its identity from LOCKSTEP_JOB_UID. */
ls_status ls_pod_key(struct ls_psk_key *ret, struct ls_err *err);

#endif
