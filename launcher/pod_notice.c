/* pod_notice.c -- see pod.h: the ranks of a Pod that is about to go, found by descent: agent > Open MPI's daemon > shim. Nothing else in the Pod is
 * theirs, whatever it is called. */
#include "launcher/pod.h"
#include "launcher/reaper.h"
#include "core/io.h"

#include <ctype.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Is it this process's child by that name? */
static bool is_child(pid_t pid, const char *name)
{
	char its[16];

	return ls_process_parent(pid, its) == getpid() && !strcmp(its, name);
}

/* Open MPI 5's daemon has a parent of its own name. */
static bool is_below(pid_t pid, const char *daemon)
{
	char its[16];

	do {
		pid = ls_process_parent(pid, its);
		ls_process_parent(pid, its);
	} while (!strcmp(its, daemon) && !is_child(pid, daemon));
	return is_child(pid, daemon);
}

int ls_pod_notice(const struct ls_engine *engine, bool tell)
{
	const char *daemon = ls_pod_daemon(engine);
	DIR *proc = opendir("/proc");
	struct dirent *d;
	int n = 0;

	while (proc && (d = readdir(proc)) != NULL) {
		pid_t pid = isdigit((unsigned char)d->d_name[0]) ? atoi(d->d_name) : 0;

		if (pid <= 0)
			continue;
		if (is_child(pid, daemon) || is_child(pid, LS_REAPER_NAME))
			n++;
		else if (tell && ls_process_is_shim(pid) && is_below(pid, daemon))
			kill(pid, LS_SHIM_NOTICE);
	}
	if (proc)
		closedir(proc);
	return n;
}
