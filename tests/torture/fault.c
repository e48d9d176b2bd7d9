/* fault.c -- see fault.h: the wrappers, and the book of what was injected and what went wrong. */
#include "tests/torture/fault.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* What a call needs; a kind of fault concerns some of these. */
enum { MEMORY = 1, KERNEL = 2, ROOM = 4, SLOW = 8, BYTES = 16 };

static struct {
	enum fault_kind kind;
	unsigned n, seen; /* n is 0 while disarmed */
	const char *call;
	unsigned long calls;
	unsigned faults, failures;
	bool without_renameat2;
} book = { .call = "" };

static bool concerns(unsigned needs)
{
	static const unsigned of[FAULT_KINDS] = { [FAULT_ONCE] = MEMORY | KERNEL, [FAULT_EINTR] = SLOW, [FAULT_FULL] = ROOM,
		[FAULT_SHORT] = BYTES, [FAULT_CRASH] = KERNEL };

	return of[book.kind] & needs;
}

/* Which one is this call? */
static bool count(const char *call, unsigned needs)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	bool is_hit = false;

	pthread_mutex_lock(&lock);
	book.calls++;
	if (concerns(needs)) {
		book.seen++;
		is_hit = book.seen == book.n || (book.seen > book.n && book.kind == FAULT_FULL);
	}
	if (is_hit && book.seen == book.n)
		book.call = call;
	pthread_mutex_unlock(&lock);
	return is_hit;
}

/* Shall this call fail? Then errno is set. For FAULT_SHORT the caller cuts the call instead. */
static bool hit(const char *call, unsigned needs)
{
	if (!book.n || !count(call, needs))
		return false;
	if (book.kind == FAULT_CRASH)
		_exit(FAULT_CRASH_CODE);
	errno = book.kind == FAULT_EINTR ? EINTR : needs & MEMORY ? ENOMEM : needs & ROOM ? ENOSPC : EIO;
	return true;
}

static bool hit_short(const char *call, unsigned needs, size_t bytes, bool *ret_cut)
{
	bool is_hit = (book.kind != FAULT_SHORT || bytes > 1) && hit(call, needs);

	*ret_cut = is_hit && book.kind == FAULT_SHORT;
	return is_hit && !*ret_cut;
}

void fault_arm(enum fault_kind kind, unsigned n)
{
	book.kind = kind;
	book.n = n;
	book.seen = 0;
	book.call = "";
}

void fault_without_renameat2(bool on)
{
	book.without_renameat2 = on;
}

bool fault_disarm(void)
{
	bool fired = book.n && book.seen >= book.n;

	book.n = 0;
	book.faults += fired;
	return fired;
}

const char *fault_call(void)
{
	return book.call;
}

void fault_check(bool ok, const char *says, const char *detail)
{
	static const char *const names[FAULT_KINDS] = { "failed", "was interrupted",
		"and later ones found the disk full", "was short", "was the end" };

	if (ok)
		return;
	book.failures++;
	printf("    failed: %s (%s), after %s %s\n", says, detail, book.call[0] ? book.call : "no call",
		names[book.kind]);
}

int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

void fault_check_leaks(void)
{
	static int first_free = -1;
	int fd = open("/dev/null", O_RDONLY);

	if (fd >= 0)
		close(fd);
	if (first_free < 0)
		first_free = fd;
	fault_check(fd == first_free, "a descriptor stayed open", "");
	if (__lsan_do_recoverable_leak_check)
		fault_check(!__lsan_do_recoverable_leak_check(), "memory stayed", "see the sanitizer's report");
}

void fault_count(const char *what, unsigned n)
{
	printf("  %-70s %4u faults\n", what, n);
	fflush(stdout);
}

void fault_add(unsigned faults, unsigned long calls)
{
	book.faults += faults;
	book.calls += calls;
}

unsigned long fault_calls(void)
{
	return book.calls;
}

int fault_report(const char *name)
{
	if (book.failures)
		printf("%s: %u checks failed, %u faults injected in %lu calls\n", name, book.failures, book.faults,
			book.calls);
	else
		printf("%s: ok %u faults injected in %lu calls\n", name, book.faults, book.calls);
	return book.failures != 0;
}

/* --- the wrappers ------------------------------------------------------------------------------------------ */

#define WRAP(type, name, needs, failed, params, args)                                                                  \
	type __real_##name params;                                                                                     \
	type __wrap_##name params;                                                                                     \
	type __wrap_##name params                                                                                      \
	{                                                                                                              \
		return hit(#name, needs) ? failed : __real_##name args;                                                \
	}

WRAP(void *, malloc, MEMORY, NULL, (size_t size), (size))
WRAP(void *, calloc, MEMORY, NULL, (size_t n, size_t size), (n, size))
WRAP(void *, realloc, MEMORY, NULL, (void *old, size_t size), (old, size))
WRAP(char *, strdup, MEMORY, NULL, (const char *text), (text))
WRAP(char *, strndup, MEMORY, NULL, (const char *text, size_t n), (text, n))
WRAP(void *, aligned_alloc, MEMORY, NULL, (size_t align, size_t size), (align, size))
WRAP(int, socket, MEMORY, -1, (int domain, int type, int protocol), (domain, type, protocol))
WRAP(ssize_t, sendmsg, MEMORY, -1, (int fd, const struct msghdr *m, int flags), (fd, m, flags))
WRAP(ssize_t, recvmsg, MEMORY, -1, (int fd, struct msghdr *m, int flags), (fd, m, flags))
WRAP(int, memfd_create, MEMORY, -1, (const char *name, unsigned flags), (name, flags))
WRAP(int, ftruncate64, MEMORY, -1, (int fd, off64_t size), (fd, size))
WRAP(int, madvise, MEMORY, -1, (void *at, size_t len, int advice), (at, len, advice))
WRAP(void *, mmap64, MEMORY, MAP_FAILED, (void *at, size_t len, int prot, int flags, int fd, off64_t from), (at, len, prot, flags, fd, from))
WRAP(int, pthread_create, MEMORY, EAGAIN, (pthread_t *ret, const pthread_attr_t *attr, void *(*run)(void *), void *arg),
	(ret, attr, run, arg))
WRAP(int, mkostemp64, KERNEL | ROOM | SLOW, -1, (char *name, int flags), (name, flags))
WRAP(int, fsync, KERNEL | ROOM | SLOW, -1, (int fd), (fd))
WRAP(int, fchmod, KERNEL, -1, (int fd, mode_t mode), (fd, mode))
WRAP(int, fstat64, KERNEL, -1, (int fd, struct stat64 *sb), (fd, sb))
WRAP(int, stat64, KERNEL, -1, (const char *path, struct stat64 *sb), (path, sb))
WRAP(int, fstatat64, KERNEL, -1, (int fd, const char *path, struct stat64 *sb, int flags), (fd, path, sb, flags))
WRAP(int, rename, KERNEL | ROOM, -1, (const char *from, const char *to), (from, to))
WRAP(int, link, KERNEL | ROOM, -1, (const char *from, const char *to), (from, to))
WRAP(int, mkdir, KERNEL | ROOM, -1, (const char *path, mode_t mode), (path, mode))
WRAP(int, unlink, KERNEL, -1, (const char *path), (path))
WRAP(int, unlinkat, KERNEL, -1, (int fd, const char *path, int flags), (fd, path, flags))
WRAP(int, rmdir, KERNEL, -1, (const char *path), (path))
WRAP(DIR *, opendir, KERNEL, NULL, (const char *path), (path))
WRAP(struct dirent64 *, readdir64, KERNEL, NULL, (DIR *dir), (dir))

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	va_start(ap, flags);
	if (flags & O_CREAT)
		mode = va_arg(ap, mode_t);
	va_end(ap);
	return hit("open", KERNEL | SLOW | (flags & O_CREAT ? ROOM : 0)) ? -1 : __real_open64(path, flags, mode);
}

int __real_renameat2(int fd, const char *from, int to_fd, const char *to, unsigned flags);
int __wrap_renameat2(int fd, const char *from, int to_fd, const char *to, unsigned flags);
int __wrap_renameat2(int fd, const char *from, int to_fd, const char *to, unsigned flags)
{
	if (hit("renameat2", KERNEL | ROOM))
		return -1;
	if (!book.without_renameat2)
		return __real_renameat2(fd, from, to_fd, to, flags);
	errno = EINVAL;
	return -1;
}

/* The descriptor is gone, whatever close() says. */
int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd)
{
	bool is_hit = hit("close", KERNEL | SLOW);
	int sys = errno, result = __real_close(fd);

	if (!is_hit)
		return result;
	errno = sys;
	return -1;
}

#define WRAP_BYTES(name, needs, params, whole, half)                                                         \
	ssize_t __real_##name params;                                                                                  \
	ssize_t __wrap_##name params;                                                                                  \
	ssize_t __wrap_##name params                                                                                   \
	{                                                                                                              \
		bool cut;                                                                                              \
                                                                                                                       \
		if (hit_short(#name, needs | KERNEL | SLOW | BYTES, len, &cut))                                        \
			return -1;                                                                                     \
		return cut ? __real_##name half : __real_##name whole;                                                 \
	}

WRAP_BYTES(read, 0, (int fd, void *buf, size_t len), (fd, buf, len), (fd, buf, len / 2))
WRAP_BYTES(pread64, 0, (int fd, void *buf, size_t len, off64_t at), (fd, buf, len, at), (fd, buf, len / 2, at))
WRAP_BYTES(write, ROOM, (int fd, const void *buf, size_t len), (fd, buf, len), (fd, buf, len / 2))
WRAP_BYTES(pwrite64, ROOM, (int fd, const void *buf, size_t len, off64_t at), (fd, buf, len, at),
	(fd, buf, len / 2, at))

#define WRAP_VECTORS(name, needs)                                                                                      \
	ssize_t __real_##name(int fd, const struct iovec *iov, int n, off64_t at);                                     \
	ssize_t __wrap_##name(int fd, const struct iovec *iov, int n, off64_t at);                                     \
	ssize_t __wrap_##name(int fd, const struct iovec *iov, int n, off64_t at)                                      \
	{                                                                                                              \
		struct iovec half;                                                                                     \
		size_t bytes = 0;                                                                                      \
		bool cut;                                                                                              \
		int i;                                                                                                 \
                                                                                                                       \
		for (i = 0; i < n; i++)                                                                                \
			bytes += iov[i].iov_len;                                                                       \
		if (hit_short(#name, needs | KERNEL | SLOW | BYTES, bytes, &cut))                                      \
			return -1;                                                                                     \
		if (!cut)                                                                                              \
			return __real_##name(fd, iov, n, at);                                                          \
		half = (struct iovec){ iov[0].iov_base, (iov[0].iov_len + 1) / 2 };                                    \
		return __real_##name(fd, &half, 1, at);                                                                \
	}

WRAP_VECTORS(preadv64, 0)
WRAP_VECTORS(pwritev64, ROOM)
