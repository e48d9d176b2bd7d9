/* secret.c -- see secret.h.
 *
 * Not here: what others keep. libcurl's buffers, and the environment itself, are ordinary memory. */
#include "core/secret.h"
#include "core/io.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

ls_status ls_secret_new(size_t cap, struct ls_secret *ret, struct ls_err *err)
{
	void *at = mmap(NULL, cap, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		return ls_fail(err, LS_AGAIN, errno, "no memory for credentials");
	if (madvise(at, cap, MADV_DONTDUMP) < 0) {
		munmap(at, cap);
		return ls_fail(err, LS_AGAIN, errno, "cannot keep credentials out of core files");
	}
	/* Not an error: RLIMIT_MEMLOCK may be 0 in a container, and swap is less public than a core file. */
	(void)mlock2(at, cap, MLOCK_ONFAULT);
	*ret = (struct ls_secret){ .s = at, .cap = cap };
	return LS_OK;
}

void ls_secret_free(struct ls_secret *s)
{
	if (!s->s)
		return;
	explicit_bzero(s->s, s->cap);
	munmap(s->s, s->cap);
	*s = (struct ls_secret){ 0 };
}

/* Files are always readable; for pipes, poll() keeps the limit. */
static ls_status wait_readable(int fd, int64_t until_ms, const char *name, struct ls_err *err)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	for (;;) {
		int64_t left = until_ms - ls_clock_ms();
		int n = poll(&p, 1, left < 0 ? 0 : (int)left);

		if (n > 0)
			return LS_OK;
		if (n == 0)
			return ls_fail(err, LS_AGAIN, 0, "%s did not end in time", name);
		if (errno != EINTR)
			return ls_fail(err, LS_AGAIN, errno, "cannot wait for %s", name);
	}
}

ls_status ls_secret_read(int fd, int64_t until_ms, struct ls_secret *s, const char *name, struct ls_err *err)
{
	ls_status st;
	ssize_t n;

	for (;;) {
		st = wait_readable(fd, until_ms, name, err);
		if (st)
			return st;
		n = read(fd, s->s + s->len, s->cap - s->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ls_fail(err, LS_AGAIN, errno, "cannot read %s", name);
		s->len += (size_t)n;
		if (s->len == s->cap)
			return ls_fail(err, LS_USAGE, 0, "%s is larger than %zu bytes", name, s->cap - 1);
		if (n == 0)
			break;
	}
	s->s[s->len] = '\0';
	return LS_OK;
}

ls_status ls_secret_file(const char *path, size_t max, struct ls_secret *ret, struct ls_err *err)
{
	struct ls_secret s = { 0 };
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ls_status st;

	if (fd < 0)
		return ls_fail(err, errno == ENOENT ? LS_NOT_FOUND : LS_USAGE, errno, "cannot read %s", path);
	st = ls_secret_new(max + 1, &s, err);
	if (!st)
		st = ls_secret_read(fd, ls_clock_ms() + 10000, &s, path, err);
	ls_fd_close(&fd);
	if (st)
		ls_secret_free(&s);
	else
		*ret = s;
	return st;
}

void ls_str_wipe(struct ls_str *str)
{
	if (str->s)
		explicit_bzero(str->s, str->cap);
	ls_str_release(str);
}

void ls_strv_wipe(struct ls_strv *list)
{
	size_t i;

	for (i = 0; i < list->n; i++)
		explicit_bzero(list->v[i], strlen(list->v[i]));
	ls_strv_release(list);
}
