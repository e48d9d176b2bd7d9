/* store_file.c -- file://: a store in a directory, which may be shared by many hosts.
 *
 * Invariant: a name without LS_STORE_LEFTOVER in front is a whole, flushed object. Bytes go to a temporary file in the
 * same directory; fsync comes before the name, and a flush of every directory up to the root after it: another rank may
 * have made a directory and died before it flushed that.
 *
 * Not here: locks. Two puts of one key are both whole; the last one stays, or the first with only_new. */
#include "core/store_file.h"
#include "core/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BATCH 64   /* vectors for one pwritev */
#define ATTEMPTS 3 /* at a directory that somebody else keeps removing */

static const char *remedy(int sys)
{
	if (sys == ENOSPC || sys == EDQUOT)
		return " (free space there, or keep fewer checkpoints: spec.checkpoint.keep)";
	if (sys == EACCES || sys == EPERM || sys == EROFS)
		return " (let this user write there, or choose another spec.checkpoint.uri)";
	return "";
}

static ls_status io_fail(struct ls_err *err, int sys, const char *doing, const char *path)
{
	return ls_fail(err, LS_AGAIN, sys, "cannot %s %s%s", doing, path, remedy(sys));
}

static ls_status key_path(struct ls_store *s, const char *key, char **ret, struct ls_err *err)
{
	const struct file_store *fs = (const struct file_store *)s;
	struct ls_str path = { 0 };

	ls_str_addf(&path, "%s/%s", fs->root, key);
	*ret = ls_str_steal(&path);
	return *ret ? LS_OK : ls_fail_oom(err);
}

/* Cut the last part; "/" stays. False when nothing is left to cut. */
static bool to_parent(char *path)
{
	char *slash = strrchr(path, '/');

	if (!slash || !path[1])
		return false;
	slash[slash == path] = '\0';
	return true;
}

/* mkdir -p, and each directory that is new is flushed into its parent. */
static ls_status make_dirs(char *dir, struct ls_err *err)
{
	char *p, end;
	ls_status st = LS_OK;

	for (p = dir + 1; !st; p++) {
		end = *p;
		if (end != '/' && end != '\0')
			continue;
		*p = '\0';
		if (mkdir(dir, 0755) == 0) {
			char *slash = strrchr(dir, '/');

			*slash = '\0';
			st = ls_dir_sync(*dir ? dir : "/", err);
			*slash = '/';
		} else if (errno != EEXIST) {
			st = io_fail(err, errno, "create directory", dir);
		}
		*p = end;
		if (end == '\0')
			break;
	}
	return st;
}

/* Remove directories that became empty, from `dir` up to the root, which stays. A put that meets this makes them again.
 */
static void trim_dirs(const struct file_store *fs, char *dir)
{
	while (strlen(dir) > strlen(fs->root) + 1 && rmdir(dir) == 0 && to_parent(dir))
		;
}

/* *tmp is "DIR/.tmp-XXXXXX" and becomes the name of the file. */
static ls_status open_temp(char *dir, char *tmp, int *ret_fd, struct ls_err *err)
{
	ls_status st = LS_OK;
	int attempt, fd = -1;

	for (attempt = 0; attempt < ATTEMPTS && !st; attempt++) {
		memset(tmp + strlen(tmp) - 6, 'X', 6);
		fd = mkostemp(tmp, O_CLOEXEC);
		if (fd >= 0 || (errno != ENOENT && errno != EINTR))
			break;
		st = make_dirs(dir, err);
	}
	if (!st && fd < 0)
		st = io_fail(err, errno, "create a file in", dir);
	*ret_fd = fd;
	return st;
}

/* The vectors from byte `skip` of iov[0] on, as many as one call takes. */
static int fill_batch(struct iovec batch[BATCH], const struct iovec *iov, int n, size_t skip)
{
	int i, used = 0;

	for (i = 0; i < n && used < BATCH; i++, skip = 0)
		if (iov[i].iov_len > skip)
			batch[used++] = (struct iovec){ (char *)iov[i].iov_base + skip, iov[i].iov_len - skip };
	return used;
}

/* -1 and errno on failure. The kernel may take less than asked, at any byte. */
static int write_vectors(int fd, const struct iovec *iov, int n)
{
	struct iovec batch[BATCH];
	size_t skip = 0;
	off_t at = 0;
	int used;

	while ((used = fill_batch(batch, iov, n, skip)) > 0) {
		ssize_t done = pwritev(fd, batch, used, at);

		if (done < 0 && errno == EINTR)
			continue;
		if (done == 0)
			errno = EIO;
		if (done <= 0)
			return -1;
		at += done;
		for (skip += (size_t)done; n > 0 && skip >= iov->iov_len; iov++, n--)
			skip -= iov->iov_len;
	}
	return 0;
}

/* Give the temporary its name, refusing one that is taken. NFS and FUSE lack RENAME_NOREPLACE: link() refuses as well
 * there. An NFS server whose answer was lost reports EEXIST for our own link: then the file has two names. */
static int rename_new(const char *tmp, const char *path)
{
	struct stat sb;
	int sys;

	if (renameat2(AT_FDCWD, tmp, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -1;
	if (link(tmp, path) < 0) {
		sys = errno;
		if (stat(tmp, &sb) < 0 || sb.st_nlink < 2) {
			errno = sys;
			return -1;
		}
	}
	unlink(tmp); /* if this fails, a sweep finds it: the object itself is in place */
	return 0;
}

static ls_status sync_up(const struct file_store *fs, char *dir, struct ls_err *err)
{
	ls_status st;

	do
		st = ls_dir_sync(dir, err);
	while (!st && strlen(dir) > strlen(fs->root) && to_parent(dir));
	return st;
}

static ls_status fill_temp(int *fd, const struct iovec *iov, int n, const char *path, struct ls_err *err)
{
	if (fchmod(*fd, 0644) < 0 || write_vectors(*fd, iov, n) < 0 || TEMP_FAILURE_RETRY(fsync(*fd)) < 0)
		return io_fail(err, errno, "write", path);
	if (close(*fd) < 0 && errno != EINTR) {
		*fd = -1;
		return io_fail(err, errno, "write", path);
	}
	*fd = -1;
	return LS_OK;
}

static ls_status file_put(
	struct ls_store *s, const char *key, const struct iovec *iov, int n, bool only_new, struct ls_err *err)
{
	struct file_store *fs = (struct file_store *)s;
	char *path = NULL, *dir = NULL, *tmp = NULL;
	struct ls_str text = { 0 };
	int fd = -1;
	ls_status st = key_path(s, key, &path, err);

	if (st)
		return st;
	dir = strdup(path);
	if (dir) {
		to_parent(dir);
		ls_str_addf(&text, "%s/" LS_STORE_LEFTOVER "XXXXXX", dir);
		tmp = ls_str_steal(&text);
	}
	if (!tmp) {
		st = ls_fail_oom(err);
		goto out;
	}
	st = open_temp(dir, tmp, &fd, err);
	if (st)
		goto trim;
	st = fill_temp(&fd, iov, n, path, err);
	if (st)
		goto unlink_tmp;
	if ((only_new ? rename_new(tmp, path) : rename(tmp, path)) < 0) {
		st = errno == EEXIST && only_new ? ls_fail(err, LS_EXISTS, 0, "%s is already there", path)
						 : io_fail(err, errno, "publish", path);
		goto unlink_tmp;
	}
	st = sync_up(fs, dir, err);
	goto out;
unlink_tmp:
	unlink(tmp);
trim:
	trim_dirs(fs, dir);
out:
	ls_fd_close(&fd);
	free(tmp);
	free(dir);
	free(path);
	return st;
}

static ls_status open_object(const char *path, int *ret_fd, uint64_t *ret_bytes, struct ls_err *err)
{
	int fd = TEMP_FAILURE_RETRY(open(path, O_RDONLY | O_CLOEXEC));
	struct stat sb;
	ls_status st = LS_OK;

	if (fd < 0)
		return ls_fail(err, errno == ENOENT || errno == ENOTDIR ? LS_NOT_FOUND : LS_AGAIN, errno,
			"cannot open %s", path);
	if (fstat(fd, &sb) < 0)
		st = io_fail(err, errno, "look at", path);
	else if (!S_ISREG(sb.st_mode))
		st = ls_fail(err, LS_DATA_BAD, 0, "%s is not a regular file", path);
	if (st) {
		ls_fd_close(&fd);
		return st;
	}
	*ret_fd = fd;
	*ret_bytes = (uint64_t)sb.st_size;
	return LS_OK;
}

static ls_status file_get(
	struct ls_store *s, const char *key, uint64_t offset, void *buf, size_t bytes, struct ls_err *err)
{
	char *path;
	uint64_t size;
	int fd;
	ls_status st = key_path(s, key, &path, err);

	if (st)
		return st;
	st = open_object(path, &fd, &size, err);
	if (!st) {
		ssize_t n = 0;

		if (offset <= size && bytes <= size - offset)
			n = ls_pread_all(fd, buf, bytes, (off_t)offset);
		if (n < 0)
			st = io_fail(err, errno, "read", path);
		else if ((size_t)n < bytes)
			st = ls_fail(err, LS_DATA_BAD, 0,
				"%s is cut short: it has %llu bytes, wanted are %zu from byte %llu", path,
				(unsigned long long)size, bytes, (unsigned long long)offset);
		ls_fd_close(&fd);
	}
	free(path);
	return st;
}

static ls_status file_size(struct ls_store *s, const char *key, uint64_t *ret_bytes, struct ls_err *err)
{
	char *path;
	int fd;
	ls_status st = key_path(s, key, &path, err);

	if (st)
		return st;
	st = open_object(path, &fd, ret_bytes, err);
	if (!st)
		ls_fd_close(&fd);
	free(path);
	return st;
}

static ls_status file_remove(struct ls_store *s, const char *key, struct ls_err *err)
{
	char *path;
	ls_status st = key_path(s, key, &path, err);

	if (st)
		return st;
	if (unlink(path) < 0 && errno != ENOENT && errno != ENOTDIR) {
		st = io_fail(err, errno, "delete", path);
	} else {
		to_parent(path);
		trim_dirs((struct file_store *)s, path);
	}
	free(path);
	return st;
}

static void file_close(struct ls_store *s)
{
	struct file_store *fs = (struct file_store *)s;

	free(fs->root);
	free(fs);
}

static const struct ls_store_ops file_ops = {
	.put = file_put,
	.get = file_get,
	.size = file_size,
	.remove = file_remove,
	.list = ls_store_file_list,
	.sweep = ls_store_file_sweep,
	.close = file_close,
};

ls_status ls_store_file_open(const char *rest, struct ls_store **ret, struct ls_err *err)
{
	struct file_store *fs;

	if (rest[0] != '/')
		return ls_fail(err, LS_USAGE, 0,
			"file://%s: the path must be absolute: file:///DIRECTORY, with three slashes", rest);
	fs = calloc(1, sizeof(*fs));
	if (fs)
		fs->root = strdup(rest[1] ? rest : "");
	if (!fs || !fs->root) {
		free(fs);
		return ls_fail_oom(err);
	}
	fs->base.ops = &file_ops;
	*ret = &fs->base;
	return LS_OK;
}
