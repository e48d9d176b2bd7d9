/* serve.h -- a tiny HTTP server for probes and metrics: GET, one request a connection.
 *
 * At most 16 connections; the oldest makes room for the newest, and each has 5 s: whoever dawdles cannot keep a probe out.
 *
 *   Threads    one of its own, which calls `answer`.
 *   Errors     LS_USAGE: the address. LS_EXISTS: it is in use. */
#ifndef LS_SERVE_H
#define LS_SERVE_H

#include "core/status.h"
#include "core/str.h"

struct ls_serve;

/* The body for `path` ("/healthz") is appended to *ret; returns HTTP's status. */
typedef int (*ls_serve_answer)(void *arg, const char *path, struct ls_str *ret);

/* ":8080", "127.0.0.1:8080", "[::1]:8080"; port 0: any. */
ls_status ls_serve_start(const char *address, ls_serve_answer answer, void *arg, struct ls_serve **ret, struct ls_err *err);
void ls_serve_stop(struct ls_serve *s); /* NULL is fine */
int ls_serve_port(const struct ls_serve *s);

#endif
