/* store_file_list.c -- file://: what is there, and what killed puts left behind.
 *
 * Other processes put and delete meanwhile: a directory that vanishes in the middle is empty, not an error.
 * Symbolic links to files are listed; those to directories are not followed. */
#include "core/store_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One directory, entry by entry; `relative` is "" or ends with '/'. */
struct listing {
	struct ls_store *store;
	const char *relative;
	DIR *dir; /* NULL: it does not exist */
	struct dirent *entry;
	bool is_dir;
	struct stat sb; /* of a file */
};

static bool is_leftover(const char *name)
{
	return !strncmp(name, LS_STORE_LEFTOVER, strlen(LS_STORE_LEFTOVER));
}

static ls_status listing_fail(const struct listing *l, int sys, struct ls_err *err)
{
	return ls_fail(err, LS_AGAIN, sys, "cannot list %s/%s", l->store->uri, l->relative);
}

static ls_status listing_open(struct listing *l, struct ls_store *s, const char *relative, struct ls_err *err)
{
	struct ls_str path = { 0 };
	ls_status st = LS_OK;

	*l = (struct listing){ .store = s, .relative = relative };
	ls_str_addf(&path, "%s/%s", ((struct file_store *)s)->root, relative);
	if (path.oom) {
		st = ls_fail_oom(err);
	} else {
		l->dir = opendir(path.s);
		if (!l->dir && errno != ENOENT && errno != ENOTDIR)
			st = listing_fail(l, errno, err);
	}
	ls_str_release(&path);
	return st;
}

/* l->entry is NULL at the end. Anything but files and directories is passed over. */
static ls_status listing_next(struct listing *l, struct ls_err *err)
{
	while (l->dir) {
		errno = 0;
		l->entry = readdir(l->dir);
		if (!l->entry)
			return errno ? listing_fail(l, errno, err) : LS_OK;
		if (!strcmp(l->entry->d_name, ".") || !strcmp(l->entry->d_name, ".."))
			continue;
		l->is_dir = l->entry->d_type == DT_DIR;
		if (l->is_dir)
			return LS_OK;
		if (l->entry->d_type != DT_REG && l->entry->d_type != DT_UNKNOWN && l->entry->d_type != DT_LNK)
			continue;
		if (fstatat(dirfd(l->dir), l->entry->d_name, &l->sb, 0) < 0) {
			if (errno == ENOENT)
				continue;
			return listing_fail(l, errno, err);
		}
		l->is_dir = S_ISDIR(l->sb.st_mode) && l->entry->d_type == DT_UNKNOWN;
		if (l->is_dir || S_ISREG(l->sb.st_mode))
			return LS_OK;
	}
	return LS_OK;
}

static void listing_close(struct listing *l)
{
	if (l->dir)
		closedir(l->dir);
	l->dir = NULL;
}

static bool starts_alike(const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b);

	return !strncmp(a, b, la < lb ? la : lb);
}

/* Only where the prefix leads; keys have at most 1024 bytes, which bounds the depth. */
static ls_status list_below(
	struct ls_store *s, const char *relative, const char *prefix, struct ls_objects *ret, struct ls_err *err)
{
	struct ls_str key = { 0 };
	struct listing l;
	ls_status st = listing_open(&l, s, relative, err);

	while (!st) {
		st = listing_next(&l, err);
		if (st || !l.entry)
			break;
		if (is_leftover(l.entry->d_name))
			continue;
		ls_str_cut(&key, key.len);
		ls_str_addf(&key, "%s%s%s", relative, l.entry->d_name, l.is_dir ? "/" : "");
		if (key.oom)
			st = ls_fail_oom(err);
		else if (l.is_dir && key.len <= LS_STORE_KEY_MAX && starts_alike(key.s, prefix))
			st = list_below(s, key.s, prefix, ret, err);
		else if (!l.is_dir && !strncmp(key.s, prefix, strlen(prefix)))
			st = ls_objects_add(ret, key.s, (uint64_t)l.sb.st_size, err);
	}
	listing_close(&l);
	ls_str_release(&key);
	return st;
}

ls_status ls_store_file_list(struct ls_store *s, const char *prefix, struct ls_objects *ret, struct ls_err *err)
{
	return list_below(s, "", prefix, ret, err);
}

/* The rmdir says by itself whether the directory is empty: no look before, so no race with a put. */
static ls_status sweep_dir(
	struct ls_store *s, int parent, const char *name, bool dry, size_t *n, struct ls_err *err)
{
	struct ls_str relative = { 0 };
	struct listing l = { 0 };
	ls_status st = LS_OK;

	ls_str_addf(&relative, "%s/", name);
	if (relative.oom)
		st = ls_fail_oom(err);
	else
		st = listing_open(&l, s, relative.s, err);
	while (!st) {
		st = listing_next(&l, err);
		if (st || !l.entry)
			break;
		if (!is_leftover(l.entry->d_name))
			continue;
		++*n;
		if (!dry && unlinkat(dirfd(l.dir), l.entry->d_name, 0) < 0 && errno != ENOENT)
			st = ls_fail(
				err, LS_AGAIN, errno, "cannot delete %s/%s%s", s->uri, relative.s, l.entry->d_name);
	}
	listing_close(&l);
	if (!st && !dry && unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOTEMPTY && errno != EEXIST &&
		errno != ENOENT)
		st = ls_fail(err, LS_AGAIN, errno, "cannot remove the empty directory %s/%s", s->uri, relative.s);
	ls_str_release(&relative);
	return st;
}

ls_status ls_store_file_sweep(struct ls_store *s, bool (*old)(void *arg, const char *dir), void *arg, bool dry,
	size_t *ret_n, struct ls_err *err)
{
	struct listing l;
	size_t n = 0;
	ls_status st = listing_open(&l, s, "", err);

	while (!st) {
		st = listing_next(&l, err);
		if (st || !l.entry)
			break;
		if (l.is_dir && old(arg, l.entry->d_name))
			st = sweep_dir(s, dirfd(l.dir), l.entry->d_name, dry, &n, err);
	}
	listing_close(&l);
	if (!st)
		*ret_n = n;
	return st;
}
