/* io.c -- see io.h. */
#include "core/io.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

void ls_fd_close(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved;
}

double ls_clock_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

int64_t ls_clock_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void ls_time_rfc3339(char text[32])
{
	time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

/* "Z", "+02:00", "-0230": seconds east of Greenwich. */
static bool parse_zone(const char *s, long *ret)
{
	int hours, minutes, used = 0;

	if (!strcmp(s, "Z")) {
		*ret = 0;
		return true;
	}
	if ((*s != '+' && *s != '-') || (sscanf(s + 1, "%2d:%2d%n", &hours, &minutes, &used) != 2 &&
						sscanf(s + 1, "%2d%2d%n", &hours, &minutes, &used) != 2))
		return false;
	*ret = (*s == '-' ? -1 : 1) * (hours * 3600L + minutes * 60L);
	return s[1 + used] == '\0';
}

bool ls_time_parse(const char *text, time_t *ret)
{
	struct tm tm = { 0 };
	const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	long east;

	if (rest && *rest == '.')
		rest += 1 + strspn(rest + 1, "0123456789");
	if (!rest || !parse_zone(rest, &east))
		return false;
	*ret = timegm(&tm) - east;
	return true;
}

int ls_write_all(int fd, const void *bytes, size_t len)
{
	const char *p = bytes;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int ls_pwrite_all(int fd, const void *bytes, size_t len, off_t at)
{
	const char *p = bytes;

	while (len > 0) {
		ssize_t n = pwrite(fd, p, len, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		p += n;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

ssize_t ls_pread_all(int fd, void *bytes, size_t len, off_t at)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, (char *)bytes + done, len - done, at + (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

ls_status ls_file_read(const char *path, size_t max, struct ls_str *ret, struct ls_err *err)
{
	ls_status st = LS_OK;
	char block[16384];
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return ls_fail(err, errno == ENOENT ? LS_NOT_FOUND : LS_AGAIN, errno, "cannot open %s", path);
	for (;;) {
		ssize_t n = read(fd, block, sizeof(block));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			st = ls_fail(err, LS_AGAIN, errno, "cannot read %s", path);
		if (n <= 0)
			break;
		if (ret->len + (size_t)n > max) {
			st = ls_fail(err, LS_USAGE, 0, "%s is larger than %zu bytes", path, max);
			break;
		}
		ls_str_addn(ret, block, (size_t)n);
	}
	ls_fd_close(&fd);
	if (!st && ret->oom)
		st = ls_fail_oom(err);
	return st;
}

ls_status ls_dir_sync(const char *path, struct ls_err *err)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ls_status st = LS_OK;

	if (fd < 0)
		return ls_fail(err, LS_AGAIN, errno, "cannot open directory %s", path);
	if (fsync(fd) < 0)
		st = ls_fail(err, LS_AGAIN, errno, "cannot sync directory %s", path);
	ls_fd_close(&fd);
	return st;
}

static ls_status parent_sync(const char *path, struct ls_err *err)
{
	char *dir = strdup(path), *slash;
	ls_status st;

	if (!dir)
		return ls_fail_oom(err);
	slash = strrchr(dir, '/');
	if (slash)
		slash[slash == dir] = '\0';
	st = ls_dir_sync(slash ? dir : ".", err);
	free(dir);
	return st;
}

/* A device, a pipe, a socket. rename() would put a file in its place: over /dev/null, to the harm of the whole machine. */
static bool is_special(const char *path)
{
	struct stat sb;

	return stat(path, &sb) == 0 && !S_ISREG(sb.st_mode) && !S_ISDIR(sb.st_mode);
}

ls_status ls_file_publish(const char *path, const void *bytes, size_t len, bool only_new, struct ls_err *err)
{
	struct ls_str tmp = { 0 };
	ls_status st = LS_OK;
	int fd = -1;

	if (is_special(path))
		return ls_fail(err, LS_USAGE, 0, "%s is no regular file, and is not replaced; give another name", path);
	ls_str_addf(&tmp, "%s.tmp.XXXXXX", path);
	if (tmp.oom) {
		st = ls_fail_oom(err);
		goto out;
	}
	fd = mkostemp(tmp.s, O_CLOEXEC);
	if (fd < 0) {
		st = ls_fail(err, LS_AGAIN, errno, "cannot create %s", tmp.s);
		goto out;
	}
	if (fchmod(fd, 0644) < 0 || ls_write_all(fd, bytes, len) < 0 || fsync(fd) < 0) {
		st = ls_fail(err, LS_AGAIN, errno, "cannot write %s", path);
		goto unlink_tmp;
	}
	if (only_new) {
		/* link() refuses an existing name, on every file system that has hard links; rename() would replace. */
		if (link(tmp.s, path) < 0) {
			st = ls_fail(err, errno == EEXIST ? LS_EXISTS : LS_AGAIN, errno, "cannot publish %s", path);
			goto unlink_tmp;
		}
		unlink(tmp.s);
	} else if (rename(tmp.s, path) < 0) {
		st = ls_fail(err, LS_AGAIN, errno, "cannot publish %s", path);
		goto unlink_tmp;
	}
	st = parent_sync(path, err);
	goto out;
unlink_tmp:
	unlink(tmp.s);
out:
	ls_fd_close(&fd);
	ls_str_release(&tmp);
	return st;
}

ls_status ls_mkdir_p(const char *path, struct ls_err *err)
{
	char *copy = strdup(path), *p;
	ls_status st = LS_OK;

	if (!copy)
		return ls_fail_oom(err);
	for (p = copy + 1;; p++) {
		char end = *p;

		if (end != '/' && end != '\0')
			continue;
		*p = '\0';
		if (mkdir(copy, 0755) < 0 && errno != EEXIST) {
			st = ls_fail(err, LS_AGAIN, errno, "cannot create directory %s", copy);
			break;
		}
		*p = end;
		if (end == '\0')
			break;
	}
	free(copy);
	return st;
}

static int remove_one(const char *path, const struct stat *sb, int type, struct FTW *ftw)
{
	(void)sb, (void)type, (void)ftw;
	return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

/* Somebody else may be removing the same tree: a name that is gone when its turn comes ends the walk early, and then it
 * is walked again. */
ls_status ls_remove_tree(const char *path, struct ls_err *err)
{
	struct stat sb;
	int round;

	for (round = 0; round < 100; round++) {
		if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) < 0 && errno != ENOENT)
			break;
		if (lstat(path, &sb) < 0 && errno == ENOENT)
			return LS_OK;
	}
	return ls_fail(err, LS_AGAIN, errno, "cannot remove %s", path);
}

ls_status ls_random_hex(char *ret, size_t bytes, struct ls_err *err)
{
	unsigned char raw[32];
	size_t i;

	if (getrandom(raw, bytes, 0) != (ssize_t)bytes)
		return ls_fail(err, LS_AGAIN, errno, "no random numbers");
	for (i = 0; i < bytes; i++)
		sprintf(ret + 2 * i, "%02x", raw[i]);
	return LS_OK;
}

int ls_thread_spawn(pthread_t *ret, void *(*run)(void *), void *arg)
{
	sigset_t all, saved;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &saved);
	rc = pthread_create(ret, NULL, run, arg);
	pthread_sigmask(SIG_SETMASK, &saved, NULL);
	return rc;
}
