/* io.h -- files, descriptors and clocks: the few calls that everybody would otherwise write again.
 *
 *   Threads    no shared state.
 *   Errors     err names the path; LS_AGAIN unless said otherwise (LS_NOT_FOUND for a missing file).
 */
#ifndef LS_IO_H
#define LS_IO_H

#include "core/status.h"
#include "core/str.h"

#include <stdbool.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

void ls_fd_close(int *fd); /* closes and sets to -1; -1 is fine; errno is kept */
/* `bytes` random bytes (at most 32) as 2 * bytes hexadecimal digits and a NUL. */
ls_status ls_random_hex(char *ret, size_t bytes, struct ls_err *err);
int64_t ls_clock_ms(void); /* monotonic */
double ls_clock_s(void);   /* monotonic */
void ls_time_rfc3339(char text[32]); /* now, UTC, as "2026-01-31T12:00:00Z" */
bool ls_time_parse(const char *text, time_t *ret); /* RFC 3339; false: is none */

/* All of it or an error; short writes and EINTR are continued. -1 and errno on failure. */
int ls_write_all(int fd, const void *bytes, size_t len);
int ls_pwrite_all(int fd, const void *bytes, size_t len, off_t at);
/* Exactly len bytes; returns the bytes read (fewer only at end of file), or -1 and errno. */
ssize_t ls_pread_all(int fd, void *bytes, size_t len, off_t at);

/* Append the whole file to *ret. Larger than `max` bytes is LS_USAGE. "-" is not special. */
ls_status ls_file_read(const char *path, size_t max, struct ls_str *ret, struct ls_err *err);

/* The file appears whole and durable, or not at all: temporary name in the same directory, fsync, rename, fsync of the
 * directory. With `only_new`, LS_EXISTS when the name is taken (nothing is replaced). On failure no temporary stays.
 * LS_USAGE: the name is that of a device, a pipe or a socket. */
ls_status ls_file_publish(const char *path, const void *bytes, size_t len, bool only_new, struct ls_err *err);
ls_status ls_dir_sync(const char *path, struct ls_err *err);

/* pthread_create() for a thread that takes none of the program's signals; its answer. */
int ls_thread_spawn(pthread_t *ret, void *(*run)(void *), void *arg);

ls_status ls_mkdir_p(const char *path, struct ls_err *err);
/* Remove a file or a whole tree; missing is fine; symbolic links are removed, not followed. */
ls_status ls_remove_tree(const char *path, struct ls_err *err);

#endif
