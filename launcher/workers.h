/* workers.h -- the newest order of the operator (core/link.h): which worker Pods there are, and where. The launcher's Pod writes it to a file, for
 * `lockstep run --workers` and `lockstep dial`, which read it anew whenever they need to know.
 *
 *   Errors     LS_NOT_FOUND: no order has come yet, or it has no such worker. LS_USAGE: it is none. */
#ifndef LS_WORKERS_H
#define LS_WORKERS_H

#include "launcher/plan.h"

#include <cjson/cJSON.h>

struct ls_workers {
	struct ls_hosts hosts; /* names, in rank order; none is looked up in DNS */
	bool complete;
	uint32_t mark;         /* of names, Pods and addresses: another one, other workers */
	char waiting[512];     /* why it is not complete; "" */
};

/* LS_USAGE: a sentence about what is no worker, or comes twice. */
ls_status ls_workers_parse(const cJSON *order, struct ls_workers *ret, struct ls_err *err);
ls_status ls_workers_read(const char *path, struct ls_workers *ret, struct ls_err *err);
void ls_workers_release(struct ls_workers *w);

/* Waits, however long, until the order is complete: it is in *ret. Says `waiting` whenever that changes. LS_AGAIN: *stop, or
 * until_ms (ls_clock_ms(); 0: never) has passed. */
ls_status ls_workers_wait(const char *path, void (*say)(const char *sentence), const volatile int *stop, int64_t until_ms, struct ls_workers *ret,
	struct ls_err *err);

/* The address that the worker has now. */
ls_status ls_workers_address(const char *path, const char *name, char ret[64], struct ls_err *err);

#endif
