/* link_server.h -- the launcher's end of core/link.h: whoever has the job's secret gets the newest report, and may send orders.
 *
 *   Threads    one; never blocks. */
#ifndef LS_LINK_SERVER_H
#define LS_LINK_SERVER_H

#include "core/status.h"

#include <cjson/cJSON.h>
#include <poll.h>
#include <stdbool.h>

enum { LS_LINK_GUESTS = 72, LS_LINK_POLLS = LS_LINK_GUESTS + 1 };

struct ls_link;

/* `serial`: of this launcher's Pod; orders for another are refused. */
ls_status ls_link_open(int serial, struct ls_link **ret, struct ls_err *err);
void ls_link_close(struct ls_link *l);
/* For poll(): fills p, LS_LINK_POLLS at most; the number of them. Then ls_link_serve(), whatever happened. */
int ls_link_polls(struct ls_link *l, struct pollfd *p);
/* The newest order that came, now the caller's; NULL: none. */
cJSON *ls_link_serve(struct ls_link *l);
/* To all that are connected, and to whoever connects later. */
void ls_link_tell(struct ls_link *l, const char *report);
bool ls_link_all_told(const struct ls_link *l);

#endif
