/* status.h -- what every function that can fail returns.
 *
 * A status answers one question: what is lost, and who acts? The sentence in `struct ls_err` is written once, by whoever
 * first knows the cause; callers may put the place in front of it (ls_err_at), nobody rewrites it. Libraries never print
 * and never exit: each main() reports the sentence, once.
 *
 *   Ownership  struct ls_err is plain data in the caller's storage; `err` may be NULL everywhere.
 *   Threads    no shared state.
 */
#ifndef LS_STATUS_H
#define LS_STATUS_H

/* code, name, what is lost and who acts */
#define LS_STATUS_TABLE(X)                                                                                             \
	X(LS_OK, "ok", "nothing is lost")                                                                              \
	X(LS_USAGE, "usage", "the request is wrong: its author mends it; nothing was started")                         \
	X(LS_AGAIN, "again", "nothing is lost: a shortage or a busy peer; the same call may succeed later")            \
	X(LS_NOT_FOUND, "not found", "nothing is lost: the thing asked for does not exist")                            \
	X(LS_EXISTS, "exists", "nothing is lost: somebody else was first")                                             \
	X(LS_DATA_BAD, "bad data", "one stored object is damaged; fall back to an older one")                          \
	X(LS_RANK_LOST, "rank lost", "this attempt is lost; the launcher starts another")                              \
	X(LS_NODE_LOST, "node lost", "this attempt and a host are lost; the launcher places the ranks elsewhere")      \
	X(LS_JOB_LOST, "job lost", "the job cannot go on; a person acts")

typedef enum {
#define X(code, name, text) code,
	LS_STATUS_TABLE(X)
#undef X
} ls_status;

struct ls_err {
	ls_status status;
	int sys;          /* errno, or 0 */
	int rank;         /* the rank at fault, or -1 */
	char host[64];    /* the host at fault, or "" */
	char text[1024];  /* one sentence: what was wrong, where, what to try; no newline at the end */
};

#define LS_ERR_INIT { .rank = -1 }

const char *ls_status_name(ls_status st);
const char *ls_status_text(ls_status st);

/* Fill *err and return `st`, so that a failure is one statement: `return ls_fail(&err, LS_USAGE, 0, "...")`.
 * `sys`, when not 0, is an errno: ": strerror" is appended. The format may use err->text of the same err. */
ls_status ls_fail(struct ls_err *err, ls_status st, int sys, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Put a place in front of an existing sentence: "job.yaml:3: " + text. Returns err->status (or `st` if err is NULL). */
ls_status ls_err_at(struct ls_err *err, ls_status st, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Out of memory, everywhere the same words. */
ls_status ls_fail_oom(struct ls_err *err);

#endif
