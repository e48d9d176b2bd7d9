/* agent_table.c -- see agent_impl.h: what the agent holds. */
#include "launcher/agent_impl.h"
#include "core/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct held {
	struct held *next;
	int fd;
	dev_t dev;
	ino_t ino;
	uint64_t owner; /* the connection whose rank may be writing to it; 0: nobody does any more */
	bool copy;
};

/* The header, if the snapshot is whole. Its rank may begin another one while we read, and then what was read is of both. It says so in
 * `state` before it writes anything else: what reads the same twice, SEALED both times, was whole. (In between the checksum may come.) */
static bool read_sealed(int fd, struct ls_snap_head *ret)
{
	enum { TRIES = 16 };
	struct ls_snap_head before = { 0 };
	struct stat st;
	int i;

	for (i = 0; i < TRIES; i++) {
		if (ls_pread_all(fd, ret, sizeof(*ret), 0) != (ssize_t)sizeof(*ret) || ret->state != LS_SNAP_SEALED)
			return false;
		if (!memcmp(ret, &before, sizeof(before)))
			return fstat(fd, &st) == 0 && ls_snap_head_ok(ret, (uint64_t)st.st_size);
		before = *ret;
		atomic_thread_fence(memory_order_acquire);
	}
	return false;
}

static int compare(const struct ls_snap_head *h, uint32_t attempt, int64_t step)
{
	if (h->attempt != attempt)
		return h->attempt < attempt ? -1 : 1;
	return h->step < step ? -1 : h->step > step;
}

static void drop(struct held **at)
{
	struct held *h = *at;

	*at = h->next;
	ls_fd_close(&h->fd);
	free(h);
}

/* Takes fd. */
static ls_status add(struct agent *a, int fd, uint64_t owner, bool copy, struct ls_err *err)
{
	struct held *h = malloc(sizeof(*h));
	struct stat st;

	if (!h || fstat(fd, &st) < 0) {
		free(h);
		ls_fd_close(&fd);
		return ls_fail_oom(err);
	}
	*h = (struct held){ .next = a->held, .fd = fd, .dev = st.st_dev, .ino = st.st_ino, .owner = owner, .copy = copy };
	a->held = h;
	return LS_OK;
}

ls_status agent_keep(struct agent *a, int pass, uint64_t owner, struct ls_err *err)
{
	struct stat st = { 0 };
	struct held *h;
	ls_status ret = LS_OK;

	/* Seals are what only memory has; another file could block whoever reads it. */
	if (pass < 0 || fcntl(pass, F_GET_SEALS) < 0 || fstat(pass, &st) < 0 || st.st_size < LS_SNAP_HEAD) {
		ls_fd_close(&pass);
		return ls_fail(err, LS_USAGE, 0, "what it was given to hold is no memfd, or too small for a snapshot");
	}
	pthread_mutex_lock(&a->lock);
	for (h = a->held; h && (h->ino != st.st_ino || h->dev != st.st_dev); h = h->next)
		;
	if (h) {
		h->owner = owner;
		ls_fd_close(&pass);
	} else {
		ret = add(a, pass, owner, false, err);
	}
	pthread_mutex_unlock(&a->lock);
	return ret;
}

void agent_leave(struct agent *a, uint64_t owner)
{
	struct ls_snap_head head;
	struct held **at;

	pthread_mutex_lock(&a->lock);
	for (at = &a->held; *at;) {
		if ((*at)->owner == owner && !read_sealed((*at)->fd, &head)) {
			drop(at);
			continue;
		}
		if ((*at)->owner == owner)
			(*at)->owner = 0;
		at = &(*at)->next;
	}
	pthread_mutex_unlock(&a->lock);
}

/* What is not SEALED has no attempt yet: it is a living rank's, and goes with it. */
void agent_forget(struct agent *a, const struct ls_hold_request *what)
{
	struct ls_snap_head head;
	struct held **at;

	pthread_mutex_lock(&a->lock);
	for (at = &a->held; *at;) {
		if (read_sealed((*at)->fd, &head) && head.attempt < what->attempt &&
			compare(&head, what->keep_attempt, what->keep_step))
			drop(at);
		else
			at = &(*at)->next;
	}
	pthread_mutex_unlock(&a->lock);
}

ls_status agent_list(struct agent *a, struct ls_held **ret, size_t *ret_n, struct ls_err *err)
{
	struct ls_held *v;
	ls_status st = LS_OK;
	struct held *h;
	size_t n = 0;

	pthread_mutex_lock(&a->lock);
	for (h = a->held; h; h = h->next)
		n++;
	v = calloc(n + 1, sizeof(*v));
	n = 0;
	for (h = v ? a->held : NULL; h && !st; h = h->next) {
		if (!read_sealed(h->fd, &v[n].head))
			continue;
		v[n].copy = h->copy;
		v[n].fd = fcntl(h->fd, F_DUPFD_CLOEXEC, 0);
		if (v[n].fd < 0)
			st = ls_fail(err, LS_AGAIN, errno, "cannot show what it holds");
		else
			n++;
	}
	pthread_mutex_unlock(&a->lock);
	if (!v)
		return ls_fail_oom(err);
	if (st) {
		ls_held_release(v, n);
		return st;
	}
	*ret = v;
	*ret_n = n;
	return LS_OK;
}

/* --- copies ------------------------------------------------------------------------------------------------------------ */

/* Is this a copy of the same rank? *ret: its header. */
static bool is_copy_of(const struct held *h, const struct ls_snap_head *head, struct ls_snap_head *ret)
{
	return h->copy && read_sealed(h->fd, ret) && ret->rank == head->rank;
}

static bool has_newer(const struct agent *a, const struct ls_snap_head *head)
{
	const struct held *h;
	struct ls_snap_head have;

	for (h = a->held; h; h = h->next)
		if (is_copy_of(h, head, &have) && compare(&have, head->attempt, head->step) > 0)
			return true;
	return false;
}

static ls_status newer(const struct ls_snap_head *head, struct ls_err *err)
{
	return ls_fail(err, LS_EXISTS, 0, "a newer copy of rank %d is there already, than of step %lld", head->rank, (long long)head->step);
}

ls_status agent_wants_copy(struct agent *a, const struct ls_snap_head *head, struct ls_err *err)
{
	bool late;

	pthread_mutex_lock(&a->lock);
	late = has_newer(a, head);
	pthread_mutex_unlock(&a->lock);
	return late ? newer(head, err) : LS_OK;
}

ls_status agent_add_copy(struct agent *a, int fd, const struct ls_snap_head *head, struct ls_err *err)
{
	struct ls_snap_head have;
	struct held **at;
	ls_status st;

	pthread_mutex_lock(&a->lock);
	if (has_newer(a, head)) { /* it came while this one did */
		ls_fd_close(&fd);
		st = newer(head, err);
		goto out;
	}
	st = add(a, fd, 0, true, err);
	if (st)
		goto out;
	for (at = &a->held->next; *at;) {
		if (is_copy_of(*at, head, &have))
			drop(at);
		else
			at = &(*at)->next;
	}
out:
	pthread_mutex_unlock(&a->lock);
	return st;
}
