/* killat.c -- LD_PRELOAD: SIGKILL at the n-th call that touches a file or a socket.
 *
 *     KILLAT_N=17           die before the 17th call; 0 or unset: never
 *     KILLAT_AFTER=1        die after it instead
 *     KILLAT_COUNT_FILE=F   at killat_disarm() one line per call, its name, into F: as many lines as there are points
 *
 * Calls count, in all threads, between killat_arm() and killat_disarm(), which the program calls where they exist (weak symbols).
 * The killing call is named on standard error.
 *
 * Not seen: calls that libc makes for itself (getaddrinfo's sockets, stdio's writes); those of mkostemp and opendir count as one. */
#undef _FILE_OFFSET_BITS /* both names of each call are defined here, so none may be the other's alias */
#include "tests/kill/killat.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { NAMES = 1 << 16 };

static struct {
	atomic_bool armed;
	atomic_uint calls;
	unsigned n;
	bool after;
	const char *count_file;
	const char *names[NAMES];
} book;

static void die(unsigned turn, const char *name)
{
	char line[80];
	int len = snprintf(line, sizeof(line), "killat: %s call %u, %s\n", book.after ? "after" : "before", turn, name);

	syscall(SYS_write, STDERR_FILENO, line, len);
	syscall(SYS_kill, getpid(), SIGKILL);
	for (;;) /* the signal may reach another thread first */
		pause();
}

/* The number of this call; 0: it does not count. */
static unsigned turn_of(const char *name)
{
	unsigned turn;

	if (!atomic_load(&book.armed))
		return 0;
	turn = atomic_fetch_add(&book.calls, 1) + 1;
	if (turn <= NAMES)
		book.names[turn - 1] = name;
	if (turn == book.n && !book.after)
		die(turn, name);
	return turn;
}

static void done(unsigned turn, const char *name)
{
	if (turn && turn == book.n && book.after)
		die(turn, name);
}

void killat_arm(void)
{
	const char *n = getenv("KILLAT_N"), *after = getenv("KILLAT_AFTER");

	book.n = n ? (unsigned)strtoul(n, NULL, 10) : 0;
	book.after = after && !strcmp(after, "1");
	book.count_file = getenv("KILLAT_COUNT_FILE");
	atomic_store(&book.armed, true);
}

void killat_disarm(void)
{
	FILE *f;
	unsigned i, n;

	atomic_store(&book.armed, false);
	if (!book.count_file)
		return;
	f = fopen(book.count_file, "w");
	n = atomic_load(&book.calls);
	for (i = 0; f && i < n && i < NAMES; i++)
		fprintf(f, "%s\n", book.names[i]);
	if (!f || fclose(f) != 0 || n > NAMES) {
		fprintf(stderr, "killat: cannot write %u names to %s\n", n, book.count_file);
		exit(1);
	}
}

#define COUNTED(ret, name, params, args) \
	ret name params \
	{ \
		static ret(*real) params; \
		unsigned turn = turn_of(#name); \
		ret result; \
\
		if (!real) \
			real = (ret(*) params)dlsym(RTLD_NEXT, #name); \
		result = real args; \
		done(turn, #name); \
		return result; \
	}

#define OPEN(name, first, first_args) \
	int name(first const char *path, int flags, ...) \
	{ \
		static int (*real)(first const char *, int, ...); \
		unsigned turn = turn_of(#name); \
		mode_t mode = 0; \
		va_list more; \
		int fd; \
\
		va_start(more, flags); \
		if (__OPEN_NEEDS_MODE(flags)) \
			mode = va_arg(more, mode_t); \
		va_end(more); \
		if (!real) \
			real = (int (*)(first const char *, int, ...))dlsym(RTLD_NEXT, #name); \
		fd = real(first_args path, flags, mode); \
		done(turn, #name); \
		return fd; \
	}
#define NOTHING
#define AT_DIR int dir,
#define AT_DIR_ARG dir,

/* What fortified programs call instead. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
ssize_t __read_chk(int fd, void *buf, size_t n, size_t room);
ssize_t __pread64_chk(int fd, void *buf, size_t n, off64_t at, size_t room);
ssize_t __recv_chk(int fd, void *buf, size_t n, size_t room, int flags);
ssize_t __recvfrom_chk(int fd, void *buf, size_t n, size_t room, int flags, struct sockaddr *from, socklen_t *len);

/* clang-format off */
OPEN(open, NOTHING, NOTHING)
OPEN(open64, NOTHING, NOTHING)
OPEN(openat, AT_DIR, AT_DIR_ARG)
OPEN(openat64, AT_DIR, AT_DIR_ARG)
COUNTED(int, __open_2, (const char *path, int flags), (path, flags))
COUNTED(int, __open64_2, (const char *path, int flags), (path, flags))
COUNTED(int, creat, (const char *path, mode_t mode), (path, mode))
COUNTED(int, creat64, (const char *path, mode_t mode), (path, mode))
COUNTED(int, mkostemp, (char *path, int flags), (path, flags))
COUNTED(int, mkostemp64, (char *path, int flags), (path, flags))
COUNTED(DIR *, opendir, (const char *path), (path))
COUNTED(int, close, (int fd), (fd))

COUNTED(ssize_t, read, (int fd, void *buf, size_t n), (fd, buf, n))
COUNTED(ssize_t, pread, (int fd, void *buf, size_t n, off_t at), (fd, buf, n, at))
COUNTED(ssize_t, pread64, (int fd, void *buf, size_t n, off64_t at), (fd, buf, n, at))
COUNTED(ssize_t, readv, (int fd, const struct iovec *v, int n), (fd, v, n))
COUNTED(ssize_t, __read_chk, (int fd, void *buf, size_t n, size_t room), (fd, buf, n, room))
COUNTED(ssize_t, __pread64_chk, (int fd, void *buf, size_t n, off64_t at, size_t room), (fd, buf, n, at, room))
COUNTED(ssize_t, write, (int fd, const void *buf, size_t n), (fd, buf, n))
COUNTED(ssize_t, writev, (int fd, const struct iovec *v, int n), (fd, v, n))
COUNTED(ssize_t, pwrite, (int fd, const void *buf, size_t n, off_t at), (fd, buf, n, at))
COUNTED(ssize_t, pwrite64, (int fd, const void *buf, size_t n, off64_t at), (fd, buf, n, at))
COUNTED(ssize_t, pwritev, (int fd, const struct iovec *v, int n, off_t at), (fd, v, n, at))
COUNTED(ssize_t, pwritev64, (int fd, const struct iovec *v, int n, off64_t at), (fd, v, n, at))
COUNTED(ssize_t, pwritev2, (int fd, const struct iovec *v, int n, off_t at, int flags), (fd, v, n, at, flags))
COUNTED(ssize_t, pwritev64v2, (int fd, const struct iovec *v, int n, off64_t at, int flags), (fd, v, n, at, flags))
COUNTED(ssize_t, sendfile, (int out, int in, off_t *at, size_t n), (out, in, at, n))
COUNTED(ssize_t, sendfile64, (int out, int in, off64_t *at, size_t n), (out, in, at, n))
COUNTED(ssize_t, copy_file_range, (int in, off64_t *at, int out, off64_t *to, size_t n, unsigned flags),
	(in, at, out, to, n, flags))
COUNTED(int, ftruncate, (int fd, off_t size), (fd, size))
COUNTED(int, ftruncate64, (int fd, off64_t size), (fd, size))
COUNTED(int, fallocate, (int fd, int mode, off_t at, off_t n), (fd, mode, at, n))
COUNTED(int, fallocate64, (int fd, int mode, off64_t at, off64_t n), (fd, mode, at, n))
COUNTED(int, posix_fallocate, (int fd, off_t at, off_t n), (fd, at, n))
COUNTED(int, posix_fallocate64, (int fd, off64_t at, off64_t n), (fd, at, n))
COUNTED(int, fsync, (int fd), (fd))
COUNTED(int, fdatasync, (int fd), (fd))
COUNTED(int, fchmod, (int fd, mode_t mode), (fd, mode))

COUNTED(int, rename, (const char *from, const char *to), (from, to))
COUNTED(int, renameat, (int at, const char *from, int dir, const char *to), (at, from, dir, to))
COUNTED(int, renameat2, (int at, const char *from, int dir, const char *to, unsigned flags), (at, from, dir, to, flags))
COUNTED(int, link, (const char *from, const char *to), (from, to))
COUNTED(int, linkat, (int at, const char *from, int dir, const char *to, int flags), (at, from, dir, to, flags))
COUNTED(int, unlink, (const char *path), (path))
COUNTED(int, unlinkat, (int dir, const char *path, int flags), (dir, path, flags))
COUNTED(int, mkdir, (const char *path, mode_t mode), (path, mode))
COUNTED(int, mkdirat, (int dir, const char *path, mode_t mode), (dir, path, mode))
COUNTED(int, rmdir, (const char *path), (path))

COUNTED(int, socket, (int domain, int type, int protocol), (domain, type, protocol))
COUNTED(int, connect, (int fd, const struct sockaddr *to, socklen_t len), (fd, to, len))
COUNTED(int, shutdown, (int fd, int how), (fd, how))
COUNTED(ssize_t, send, (int fd, const void *buf, size_t n, int flags), (fd, buf, n, flags))
COUNTED(ssize_t, sendto, (int fd, const void *buf, size_t n, int flags, const struct sockaddr *to, socklen_t len),
	(fd, buf, n, flags, to, len))
COUNTED(ssize_t, sendmsg, (int fd, const struct msghdr *msg, int flags), (fd, msg, flags))
COUNTED(int, sendmmsg, (int fd, struct mmsghdr *msgs, unsigned n, int flags), (fd, msgs, n, flags))
COUNTED(ssize_t, recv, (int fd, void *buf, size_t n, int flags), (fd, buf, n, flags))
COUNTED(ssize_t, recvfrom, (int fd, void *buf, size_t n, int flags, struct sockaddr *from, socklen_t *len),
	(fd, buf, n, flags, from, len))
COUNTED(ssize_t, recvmsg, (int fd, struct msghdr *msg, int flags), (fd, msg, flags))
COUNTED(ssize_t, __recv_chk, (int fd, void *buf, size_t n, size_t room, int flags), (fd, buf, n, room, flags))
COUNTED(ssize_t, __recvfrom_chk,
	(int fd, void *buf, size_t n, size_t room, int flags, struct sockaddr *from, socklen_t *len),
	(fd, buf, n, room, flags, from, len))
