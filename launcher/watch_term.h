/* watch_term.h -- the terminal: lines that scroll, and one progress line that stays below them. Used by watch.c only. */
#ifndef LS_WATCH_TERM_H
#define LS_WATCH_TERM_H

#include <stdbool.h>
#include <stdint.h>

struct ls_term;
struct ls_facts;

struct ls_term *ls_term_new(bool quiet, const volatile int *stop, int64_t deadline_ms); /* NULL: no memory */
void ls_term_free(struct ls_term *t); /* leaves the cursor on a fresh line */
void ls_term_line(struct ls_term *t, int stream, const char *prefix, const char *line); /* 1: stdout, 2: stderr */
/* At most ten times a second on a terminal; every 5 s, and only when the step moved, elsewhere. */
void ls_term_progress(struct ls_term *t, const struct ls_facts *f);

#endif
