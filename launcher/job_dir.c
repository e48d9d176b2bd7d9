/* job_dir.c -- see job_dir.h. */
#include "launcher/job_dir.h"
#include "core/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

static ls_status take_lock(const char *dir, int flags, int *ret, struct ls_err *err)
{
	struct ls_str path = { 0 };
	ls_status st = LS_OK;
	int fd;

	ls_str_addf(&path, "%s/lock", dir);
	fd = open(ls_str_text(&path), O_RDWR | O_CLOEXEC | flags, 0644);
	if (fd < 0) {
		st = ls_fail(err, errno == ENOENT ? LS_NOT_FOUND : LS_AGAIN, errno, "cannot open %s", ls_str_text(&path));
	} else if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		st = ls_fail(err, LS_USAGE, 0, "another lockstep run is at work in %s; wait for it, or choose another directory "
			"with --dir", dir);
		ls_fd_close(&fd);
	}
	ls_str_release(&path);
	if (!st)
		*ret = fd;
	return st;
}

/* --fresh: what is there is kept, under another name; but not taken away from a launcher that is at work in it. */
static ls_status set_aside(const char *dir, struct ls_err *err)
{
	struct ls_str old = { 0 };
	int i, lock = -1;
	ls_status st = take_lock(dir, 0, &lock, err);

	if (st == LS_NOT_FOUND)
		st = LS_OK;
	for (i = 1; i < 100000 && !st; i++) {
		ls_str_release(&old);
		ls_str_addf(&old, "%s.%d", dir, i);
		if (old.oom)
			st = ls_fail_oom(err);
		else if (access(old.s, F_OK))
			break;
	}
	if (!st && rename(dir, old.s) < 0 && errno != ENOENT)
		st = ls_fail(err, LS_AGAIN, errno, "cannot set %s aside", dir);
	ls_fd_close(&lock);
	ls_str_release(&old);
	return st;
}

ls_status ls_job_dir_take(const char *dir, bool fresh, int *ret_lock, struct ls_err *err)
{
	ls_status st = fresh ? set_aside(dir, err) : LS_OK;

	if (st)
		return st;
	st = ls_mkdir_p(dir, err);
	if (st)
		return ls_err_at(err, st, "the job's directory (choose another with --dir): ");
	return take_lock(dir, O_CREAT, ret_lock, err);
}
