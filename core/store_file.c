/* store_file.c -- file://: a store in a directory, which may be shared by many hosts.
 *
 * Invariant: a name without LS_STORE_LEFTOVER in front is a whole, flushed object. Bytes go to a temporary file in the
 * same directory; fsync comes before the name, and a flush of every directory up to the root after it: another rank may
 * have made a directory and died before it flushed that.
 *
 * Not here: locks. Two puts of one key are both whole; the last one stays, or the first with only_new. */
#include "core/store_file.h"
#include "core/crc32c.h"
#include "core/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BATCH 64   /* vectors for one call */
#define BLOCK ((size_t)1 << 20)
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

/* A place in a list of vectors, and the checksum of what lies before it. */
struct cursor {
	const struct iovec *iov;
	int n;
	size_t skip; /* bytes of iov[0] that are done */
	uint32_t crc32c;
};

/* The next vectors, at most BLOCK bytes: a checksum right after a copy finds the bytes in the cache. */
static int next_batch(const struct cursor *c, struct iovec batch[BATCH])
{
	size_t skip = c->skip, room = BLOCK, len;
	int i, used = 0;

	for (i = 0; i < c->n && used < BATCH && room; i++, skip = 0) {
		len = c->iov[i].iov_len - skip < room ? c->iov[i].iov_len - skip : room;
		if (len)
			batch[used++] = (struct iovec){ (char *)c->iov[i].iov_base + skip, len };
		room -= len;
	}
	return used;
}

static void advance(struct cursor *c, size_t done)
{
	while (done > 0) {
		size_t left = c->iov->iov_len - c->skip, part = left < done ? left : done;

		c->crc32c = ls_crc32c(c->crc32c, (char *)c->iov->iov_base + c->skip, part);
		c->skip += part;
		done -= part;
		if (c->skip == c->iov->iov_len) {
			c->iov++;
			c->n--;
			c->skip = 0;
		}
	}
}

typedef ssize_t move_fn(int fd, const struct iovec *iov, int n, off_t at);

/* Everything between the file and the vectors, by `move` (preadv, pwritev). 1: all; 0: the file ended; -1: errno. The kernel may move
 * less than asked, up to any byte. */
static int move_all(struct ls_store *s, int fd, move_fn *move, struct cursor *c, off_t at)
{
	struct iovec batch[BATCH];
	int used;

	while ((used = next_batch(c, batch)) > 0) {
		ssize_t done;

		if (atomic_load_explicit(&s->cancelled, memory_order_relaxed)) {
			errno = ECANCELED;
			return -1;
		}
		done = move(fd, batch, used, at);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return (int)done;
		at += done;
		advance(c, (size_t)done);
	}
	return 1;
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

/* The disk starts while the next block is copied: the flush at the end then has little left to wait for. */
static ssize_t write_through(int fd, const struct iovec *iov, int n, off_t at)
{
	ssize_t done = pwritev(fd, iov, n, at);

	if (done > 0)
		sync_file_range(fd, at, done, SYNC_FILE_RANGE_WRITE);
	return done;
}

static ls_status fill_temp(struct ls_store *s, int *fd, struct cursor *c, const char *path, struct ls_err *err)
{
	off_t bytes = 0;
	int rc, i;

	for (i = 0; i < c->n; i++)
		bytes += (off_t)c->iov[i].iov_len;
	if (bytes > (off_t)BLOCK)
		fallocate(*fd, 0, 0, bytes); /* one piece of the disk, where the file system can; that it is full, the writes find out */
	rc = fchmod(*fd, 0644) < 0 ? -1 : move_all(s, *fd, write_through, c, 0);
	if (rc == 0)
		errno = EIO; /* a write that takes nothing */
	if (rc <= 0 || TEMP_FAILURE_RETRY(fsync(*fd)) < 0)
		return io_fail(err, errno, "write", path);
	if (close(*fd) < 0 && errno != EINTR) {
		*fd = -1;
		return io_fail(err, errno, "write", path);
	}
	*fd = -1;
	return LS_OK;
}

static ls_status file_put(struct ls_store *s, const char *key, const struct iovec *iov, int n, bool only_new,
	uint32_t *ret_crc32c, struct ls_err *err)
{
	struct file_store *fs = (struct file_store *)s;
	struct cursor c = { iov, n, 0, 0 };
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
	st = fill_temp(s, &fd, &c, path, err);
	if (st)
		goto unlink_tmp;
	if ((only_new ? rename_new(tmp, path) : rename(tmp, path)) < 0) {
		st = errno == EEXIST && only_new ? ls_fail(err, LS_EXISTS, 0, "%s is already there", path)
						 : io_fail(err, errno, "publish", path);
		goto unlink_tmp;
	}
	st = sync_up(fs, dir, err);
	if (!st)
		*ret_crc32c = c.crc32c;
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

static ls_status file_read(struct ls_store *s, const char *key, uint64_t offset, const struct iovec *iov, int n,
	uint32_t *ret_crc32c, struct ls_err *err)
{
	struct cursor c = { iov, n, 0, 0 };
	uint64_t size = 0, bytes = 0;
	char *path;
	int fd = -1, rc = 0, i;
	ls_status st = key_path(s, key, &path, err);

	if (st)
		return st;
	for (i = 0; i < n; i++)
		bytes += iov[i].iov_len;
	st = open_object(path, &fd, &size, err);
	if (!st && offset <= size && bytes <= size - offset)
		rc = move_all(s, fd, preadv, &c, (off_t)offset);
	if (!st && rc < 0)
		st = io_fail(err, errno, "read", path);
	else if (!st && !rc)
		st = ls_fail(err, LS_DATA_BAD, 0, "%s is cut short: it has %llu bytes, wanted are %llu from byte %llu", path,
			(unsigned long long)size, (unsigned long long)bytes, (unsigned long long)offset);
	else if (!st)
		*ret_crc32c = c.crc32c;
	ls_fd_close(&fd);
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

static ls_status remove_one(struct ls_store *s, const char *key, struct ls_err *err)
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

static ls_status file_remove(struct ls_store *s, const char *const *keys, size_t n, struct ls_err *err)
{
	ls_status st = LS_OK;
	size_t i;

	for (i = 0; !st && i < n; i++)
		st = remove_one(s, keys[i], err);
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
	.read = file_read,
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
