/* agent_copy.c -- see agent_impl.h: take a copy of a snapshot from another host (core/hold_wire.h).
 *
 * Invariant: only what has arrived whole, with the checksum that its rank computed, gets into the table; the older copy stays until then.
 * A peer without the run's key learns nothing, and costs 64 bytes. */
#include "launcher/agent_impl.h"
#include "launcher/wire.h"
#include "core/crc32c.h"
#include "core/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PIECE = 1 << 20 };

/* Memory that programs of this host could still have, in bytes. 0: not known. */
static uint64_t available(void)
{
	struct ls_str text = { 0 };
	unsigned long long kib = 0;
	const char *at;

	ls_file_read("/proc/meminfo", 65536, &text, NULL);
	at = strstr(ls_str_text(&text), "MemAvailable:");
	if (at)
		sscanf(at, "MemAvailable: %llu", &kib);
	ls_str_release(&text);
	return kib * 1024;
}

/* Half of what is free, and not promised to other copies, may go into this one: training goes on here, too. */
static ls_status reserve(struct agent *a, const struct ls_snap_head *head, struct ls_err *err)
{
	uint64_t have = available(), coming;
	bool fits;

	pthread_mutex_lock(&a->lock);
	coming = a->coming;
	fits = have > coming && head->bytes <= (have - coming) / 2;
	if (fits)
		a->coming += head->bytes;
	pthread_mutex_unlock(&a->lock);
	if (fits)
		return LS_OK;
	return ls_fail(err, LS_AGAIN, 0, "no memory for a copy of %llu MiB of rank %d: %llu MiB are available here, of which %llu are "
		"promised; a copy may take half of the rest", (unsigned long long)head->bytes >> 20, head->rank,
		(unsigned long long)have >> 20, (unsigned long long)coming >> 20);
}

/* The image, from the connection to the file. On failure nothing of it is reserved any more, either. */
static ls_status take_image(struct agent *a, int peer, int fd, const struct ls_snap_head *head, struct ls_err *err)
{
	char *piece = malloc(PIECE);
	ls_status st = piece ? LS_OK : ls_fail_oom(err);
	uint64_t at = 0;
	uint32_t crc = 0;

	while (!st && at < head->bytes) {
		size_t n = head->bytes - at < PIECE ? (size_t)(head->bytes - at) : PIECE;

		if (!ls_hold_recv_all(peer, piece, n)) {
			st = ls_fail(err, LS_NODE_LOST, errno, "a copy of rank %d was cut off", head->rank);
			break;
		}
		crc = ls_crc32c(crc, piece, n);
		if (ls_pwrite_all(fd, piece, n, (off_t)(LS_SNAP_HEAD + at)) < 0)
			st = ls_fail(err, LS_AGAIN, errno, "no memory for a copy of rank %d", head->rank);
		a->coming -= n;
		at += n;
	}
	a->coming -= head->bytes - at;
	free(piece);
	if (!st && crc != head->crc32c)
		st = ls_fail(err, LS_DATA_BAD, 0, "a copy of rank %d has the checksum %08x instead of %08x", head->rank, crc, head->crc32c);
	return st;
}

/* From a header that is wanted to a copy in the table. */
static ls_status take_copy(struct agent *a, int peer, const struct ls_snap_head *head, struct ls_err *err)
{
	struct ls_snap_head sealed = *head;
	int fd = memfd_create("lockstep-copy", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ls_status st;

	sealed.state = LS_SNAP_SEALED;
	sealed.capacity = LS_SNAP_HEAD + head->bytes;
	st = take_image(a, peer, fd, head, err);
	if (!st && (ls_pwrite_all(fd, &sealed, sizeof(sealed), 0) < 0 || ftruncate(fd, (off_t)sealed.capacity) < 0 ||
			fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0))
		st = ls_fail(err, LS_AGAIN, errno, "no memory for a copy of rank %d", head->rank);
	if (!st)
		return agent_add_copy(a, fd, &sealed, err);
	ls_fd_close(&fd);
	return st;
}

static bool tell(int peer, ls_status st, const struct ls_err *err)
{
	struct ls_hold_verdict v = { .status = (uint8_t)st };

	snprintf(v.text, sizeof(v.text), "%.254s", err->text);
	return ls_hold_send_all(peer, &v, sizeof(v));
}

void agent_receive(struct agent *a, int peer)
{
	char key[LS_HOLD_KEY + 1] = "";
	struct ls_err err = LS_ERR_INIT;
	struct ls_snap_head head;
	ls_status st = LS_OK;

	ls_hold_patience(peer, LS_HOLD_SILENCE_S, LS_HOLD_SILENCE_S);
	if (!ls_hold_recv_all(peer, key, LS_HOLD_KEY) || !ls_wire_secret_is(a->key, key) ||
		!ls_hold_recv_all(peer, &head, sizeof(head)))
		return;
	if (!ls_snap_head_ok(&head, INT64_MAX) || !head.crc_known)
		st = ls_fail(&err, LS_USAGE, 0, "that is no snapshot whose checksum is known");
	if (!st)
		st = agent_wants_copy(a, &head, &err);
	if (!st)
		st = reserve(a, &head, &err);
	if (!tell(peer, st, &err) && !st)
		a->coming -= head.bytes;
	else if (!st)
		tell(peer, take_copy(a, peer, &head, &err), &err);
}
