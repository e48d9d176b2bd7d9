/* cmd_runtime.c -- `lockstep runtime DIR`: copies the runtime, which is everything below the folder that holds bin/lockstep, for a Pod's init
 * container: the images need no cp. Files keep their modes, links stay links; DIR may exist, what is in the way is replaced. */
#include "launcher/commands.h"
#include "launcher/pod.h"
#include "launcher/probe.h"
#include "core/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static ls_status copy_bytes(int from, int to, const char *name, struct ls_err *err)
{
	enum { BLOCK = 1 << 18 };
	char *block = malloc(BLOCK);
	ls_status st = block ? LS_OK : ls_fail_oom(err);
	ssize_t n = 1;

	while (!st && n) {
		n = read(from, block, BLOCK);
		if (n < 0 && errno != EINTR)
			st = ls_fail(err, LS_AGAIN, errno, "cannot read %s", name);
		if (n > 0 && ls_write_all(to, block, (size_t)n) < 0)
			st = ls_fail(err, LS_AGAIN, errno, "cannot copy %s", name);
	}
	free(block);
	return st;
}

static ls_status copy_file(int from_dir, int to_dir, const char *name, mode_t mode, struct ls_err *err)
{
	int from = openat(from_dir, name, O_RDONLY | O_CLOEXEC), to = -1;
	ls_status st;

	unlinkat(to_dir, name, 0);
	if (from >= 0)
		to = openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	st = to < 0 ? ls_fail(err, LS_AGAIN, errno, "cannot copy %s", name) : copy_bytes(from, to, name, err);
	if (!st && fchmod(to, mode & 07777) < 0)
		st = ls_fail(err, LS_AGAIN, errno, "cannot copy %s", name);
	ls_fd_close(&from);
	if (to >= 0 && close(to) < 0 && !st) /* a full disk may say so only now */
		st = ls_fail(err, LS_AGAIN, errno, "cannot copy %s", name);
	return st;
}

static ls_status copy_link(int from_dir, int to_dir, const char *name, struct ls_err *err)
{
	char to[PATH_MAX];
	ssize_t n = readlinkat(from_dir, name, to, sizeof(to) - 1);

	if (n >= 0) {
		to[n] = '\0';
		unlinkat(to_dir, name, 0);
	}
	return n < 0 || symlinkat(to, to_dir, name) < 0 ? ls_fail(err, LS_AGAIN, errno, "cannot copy %s", name) : LS_OK;
}

/* Takes from_dir. */
static ls_status copy_tree(int from_dir, int to_dir, struct ls_err *err)
{
	DIR *dir = fdopendir(from_dir);
	struct dirent *d;
	ls_status st = dir ? LS_OK : ls_fail_oom(err);

	while (!st && (d = readdir(dir)) != NULL) {
		const char *name = d->d_name;
		struct stat s;

		if (!strcmp(name, ".") || !strcmp(name, ".."))
			continue;
		if (fstatat(from_dir, name, &s, AT_SYMLINK_NOFOLLOW) < 0) {
			st = ls_fail(err, LS_AGAIN, errno, "cannot read %s", name);
		} else if (S_ISLNK(s.st_mode)) {
			st = copy_link(from_dir, to_dir, name, err);
		} else if (S_ISREG(s.st_mode)) {
			st = copy_file(from_dir, to_dir, name, s.st_mode, err);
		} else if (S_ISDIR(s.st_mode)) {
			int from = openat(from_dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC), to = -1;

			if (from >= 0 && (mkdirat(to_dir, name, 0755) == 0 || errno == EEXIST))
				to = openat(to_dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			if (to < 0) {
				st = ls_fail(err, LS_AGAIN, errno, "cannot copy %s", name);
				ls_fd_close(&from);
			} else {
				st = copy_tree(from, to, err);
			}
			ls_fd_close(&to);
		}
	}
	if (dir)
		closedir(dir);
	else
		ls_fd_close(&from_dir);
	return st;
}

int cmd_runtime(int argc, char **argv)
{
	struct ls_err err = LS_ERR_INIT;
	char self[PATH_MAX], runtime[PATH_MAX];
	int from = -1, to = -1;
	ls_status st = ls_self_path(self, &err);

	if (argc != 2) {
		fputs("usage: lockstep runtime DIR\n", stderr);
		return 2;
	}
	if (!st)
		st = ls_pod_runtime(runtime, &err);
	if (!st && strcmp(self + strlen(runtime), "/bin/lockstep"))
		st = ls_fail(&err, LS_USAGE, 0, "%s is not the bin/lockstep of a runtime: nothing to copy", self);
	if (!st)
		st = ls_mkdir_p(argv[1], &err);
	if (!st) {
		from = open(runtime, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		to = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (from < 0 || to < 0)
			st = ls_fail(&err, LS_AGAIN, errno, "cannot open %s", from < 0 ? runtime : argv[1]);
	}
	if (!st) {
		st = copy_tree(from, to, &err);
		from = -1;
	}
	ls_fd_close(&from);
	ls_fd_close(&to);
	return st ? ls_command_fail("runtime", st, &err) : 0;
}
