/* link.h -- the operator's side of core/link.h: one encrypted connection to the launcher of each job.
 *
 *     IDLE --due--> CONNECTING --> UP: the newest order is sent; reports are read
 *      ^                |           |
 *      +----ended: back-off 0.5 s doubling to 15 s ----+
 *
 *   Ownership  everything is copied in; on_report gets a borrowed line.
 *   Threads    one of its own for all links; on_report runs on it. The calls from any thread, but not from on_report, which runs with all links locked:
 *              what it locks itself must not be held around a call.
 *   Errors     a link that cannot be had is tried for ever: whether a launcher is lost is for its Pod's status to say. Trouble is logged once
 *              per change of words. */
#ifndef LS_OPERATOR_LINK_H
#define LS_OPERATOR_LINK_H

#include "core/psk.h"
#include "core/status.h"

struct ls_links;

/* `text`: a report, one line, NUL-terminated. */
typedef void (*ls_links_report)(void *arg, const char *job_uid, const char *text);

ls_status ls_links_open(ls_links_report on_report, void *arg, struct ls_links **ret, struct ls_err *err);
void ls_links_close(struct ls_links *l); /* NULL is fine */
/* The launcher of the job key->identity is at `address`, and is to know `order` (JSON, one line). What is the same as before is not sent again. */
ls_status ls_links_tell(struct ls_links *l, const struct ls_psk_key *key, const char *address, const char *order, struct ls_err *err);
void ls_links_drop(struct ls_links *l, const char *job_uid); /* unknown is fine */
void ls_links_count(struct ls_links *l, int *ret_links, int *ret_up);

#endif
