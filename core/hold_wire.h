/* hold_wire.h -- what ranks (hold.c) and agents (launcher/cmd_agent.c) say to each other. For these two, and the shim that listens first.
 *
 *     rank ──unix──> its host's agent     SOCK_SEQPACKET: a packet is a message, with at most one descriptor (SCM_RIGHTS)
 *        struct ls_hold_request                   HELLO; KEEP and a descriptor; LIST; FORGET
 *        <── struct ls_hold_reply                 LIST: one with `more` and a descriptor for each snapshot; then one without, for all
 *
 *     rank ──TCP──> another host's agent  a copy of one snapshot
 *        key (LS_HOLD_KEY characters), struct ls_snap_head
 *        <── struct ls_hold_verdict               wanted? A wrong key is answered by end of file
 *        the image
 *        <── struct ls_hold_verdict               whole, held
 *
 * Structs travel as they are: hosts of one job have one byte order and one version. What has another size, or makes no sense, is refused.
 *
 *   Blocking   all calls, as long as ls_hold_patience() allowed; then they fail with ETIMEDOUT, at end of file with errno 0. */
#ifndef LS_HOLD_WIRE_H
#define LS_HOLD_WIRE_H

#include "core/snap.h"
#include "core/status.h"

#include <stdbool.h>
#include <stddef.h>

#define LS_HOLD_KEY 64       /* hexadecimal digits: 32 random bytes of the run */
#define LS_HOLD_SILENCE_S 20 /* between hosts: who is silent for so long is lost */

enum ls_hold_ask { LS_HOLD_HELLO = 1, LS_HOLD_KEEP, LS_HOLD_LIST, LS_HOLD_FORGET };

struct ls_hold_request {
	uint32_t ask;
	uint32_t attempt, keep_attempt; /* FORGET */
	int64_t keep_step;
};

struct ls_hold_reply {
	uint32_t status; /* ls_status */
	uint32_t more;   /* 1: `head`, `copy` and the descriptor are one of a list */
	uint32_t copy;
	char text[256];  /* of a failure, why; after HELLO, the address for copies */
	struct ls_snap_head head;
};

struct ls_hold_verdict {
	uint8_t status;
	char text[255];
};

/* The name that LOCKSTEP_AGENT tells. LS_EXISTS: somebody listens there already. */
ls_status ls_hold_listen(const char *name, int *ret_fd, struct ls_err *err);
/* LS_NODE_LOST, also when the listener is another user's. */
ls_status ls_hold_connect(const char *name, int *ret_fd, struct ls_err *err);
bool ls_hold_same_user(int fd);
void ls_hold_patience(int fd, int recv_s, int send_s); /* 0: for ever */

bool ls_hold_packet_send(int fd, const void *packet, size_t len, int pass); /* pass: a descriptor, -1 none */
/* Exactly one packet of `len` bytes. *ret_pass: the caller's, or -1. */
bool ls_hold_packet_recv(int fd, void *packet, size_t len, int *ret_pass);
bool ls_hold_send_all(int fd, const void *bytes, size_t len);
bool ls_hold_recv_all(int fd, void *bytes, size_t len);

/* Can a snapshot with this header be in a file of so many bytes? `state` is not looked at. */
bool ls_snap_head_ok(const struct ls_snap_head *head, uint64_t file_bytes);

#endif
