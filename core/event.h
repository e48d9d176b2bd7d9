/* event.h -- what a rank's program tells its shim, in any language: lines of text on the descriptor
 * LOCKSTEP_EVENT_FD.
 *
 * A pipe, so that what was written before a SIGKILL still arrives. One write() per line, at most 4096 bytes
 * (PIPE_BUF: atomic). A line is VERB and key=value words; the last key of a verb may be `text=` and takes the rest
 * of the line.
 *
 *     hello lib=0.1.0 world=4 rank=2              the program linked liblockstep; its MPI world as it sees it
 *     progress step=12 total=500 loss=0x1.8p-2 samples=64 ms=3.21 epoch=0 wait_ms=0.4    one finished step; loss by %a or
 *                                                 decimal; wait_ms of the ms in communication
 *     resumed step=200 from=store uri=file:///…   state was restored; from=memory: from the agents
 *     claimed generation=3                        what this attempt saves is fenced by this number (rank 0)
 *     skipped step=300 text=why                   a checkpoint was passed over
 *     saved step=200 bytes=123456 ms=12.5 stall=1.2 uri=…   a checkpoint is published (rank 0); training stood still for stall ms
 *     savefailed step=400 text=why
 *     result name=accuracy value=0.974
 *     warning text=…
 *     error status=rank_lost rank=3 text=…        why the program is about to leave; becomes the failure's message
 *     stopping step=250                           a termination notice was honoured
 *
 * Unknown verbs and keys are ignored by the reader, so that either side may be newer. A value that holds white space
 * (a name, a URI) is percent-encoded by the writer and shown as it is. */
#ifndef LS_EVENT_H
#define LS_EVENT_H

#define LS_EVENT_FD_ENV "LOCKSTEP_EVENT_FD"
#define LS_EVENT_MAX 4096

#include <stdbool.h>
#include <stddef.h>

/* Find key= in a line (NUL-terminated, no newline). `text` takes the rest of the line. False: absent. Values are cut
 * to size. */
bool ls_event_word(const char *line, const char *key, char *ret, size_t size);
bool ls_event_is(const char *line, const char *verb);
long long ls_event_int(const char *line, const char *key, long long otherwise);
double ls_event_num(const char *line, const char *key, double otherwise);

/* The writer's side. A line with its newline, ready for one write(): control characters become spaces, what is too
 * long is cut between characters. Returns its length. */
size_t ls_event_line(char ret[LS_EVENT_MAX], const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A number as text whatever the program's locale: every bit (%a), or nine digits for people. */
const char *ls_event_exact(char ret[40], double value);
const char *ls_event_digits(char ret[40], double value);
/* White space and control characters as %XX; cut to size. */
const char *ls_event_quote(char *ret, size_t size, const char *value);

#endif
