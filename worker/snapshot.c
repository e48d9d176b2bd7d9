/* snapshot.c -- see snapshot.h. */
#include "worker/snapshot.h"
#include "core/crc32c.h"
#include "worker/copy.h"
#include "worker/rank.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define STEP_KEY "\"step\":\""

void ls_layout_release(struct ls_layout *l)
{
	ls_str_release(&l->header);
	free(l->pieces);
	*l = (struct ls_layout){ 0 };
}

/* Wide elements first: then each tensor starts at a multiple of its element's size, which other readers need. */
static size_t my_tensors(struct lockstep *ls, struct ls_tensor *tensors, struct ls_piece *pieces)
{
	static const size_t sizes[] = { 8, 4, 2, 1 };
	size_t i, k, n = 0;

	for (k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
		for (i = 0; i < ls->n_states; i++) {
			struct ls_state *s = &ls->states[i];

			if (s->owner != ls->rank || ls_dtype_size(s->dtype) != sizes[k])
				continue;
			tensors[n].name = s->stored;
			tensors[n].dtype = s->dtype;
			tensors[n].ndim = s->ndim;
			memcpy(tensors[n].shape, s->shape, sizeof(s->shape));
			pieces[n++] = (struct ls_piece){ s->data, 0, s->bytes, s->on_gpu };
		}
	}
	return n;
}

ls_status ls_layout_make(struct lockstep *ls, struct ls_layout *ret, struct ls_err *err)
{
	struct ls_tensor *tensors = calloc(ls->n_states + 1, sizeof(*tensors));
	struct ls_layout l = { .pieces = calloc(ls->n_states + 1, sizeof(*l.pieces)) };
	struct ls_strv metadata = { 0 };
	char *step;
	size_t i;
	ls_status st = LS_OK;

	if (!tensors || !l.pieces) {
		st = ls_fail_oom(err);
		goto out;
	}
	l.n = my_tensors(ls, tensors, l.pieces);
	ls_strv_addf(&metadata, "lockstep=%s", LOCKSTEP_VERSION);
	ls_strv_addf(&metadata, "rank=%d", ls->rank);
	ls_strv_addf(&metadata, "step=%012d", 0);
	st = metadata.oom ? ls_fail_oom(err) : ls_st_header(tensors, l.n, &metadata, &l.header, err);
	if (st)
		goto out;
	step = memmem(l.header.s, l.header.len, STEP_KEY, strlen(STEP_KEY));
	l.step_at = (size_t)(step - l.header.s) + strlen(STEP_KEY);
	l.bytes = l.header.len;
	for (i = 0; i < l.n; i++) {
		l.pieces[i].at = l.bytes;
		l.bytes += l.pieces[i].bytes;
		l.on_gpu |= l.pieces[i].on_gpu;
	}
	*ret = l;
out:
	if (st)
		ls_layout_release(&l);
	ls_strv_release(&metadata);
	free(tensors);
	return st;
}

/* MADV_POPULATE_WRITE (Linux 5.14) fails with an error where a touch would be a SIGBUS: a full /dev/shm limit, no huge page. */
static int touch_all(void *at, size_t bytes)
{
	madvise(at, bytes, MADV_HUGEPAGE); /* where the kernel has them for shared memory; else nothing is lost */
	if (madvise(at, bytes, MADV_POPULATE_WRITE) == 0)
		return 0;
	return errno == EINVAL ? 0 : -1; /* an older kernel: the first save faults the pages in */
}

ls_status ls_slot_open(struct ls_slot *s, uint64_t image_bytes, struct ls_err *err)
{
	uint64_t capacity = LS_SNAP_HEAD + image_bytes;
	void *at = MAP_FAILED;
	int fd = memfd_create("lockstep-snapshot", MFD_CLOEXEC);

	if (fd >= 0 && ftruncate(fd, (off_t)capacity) == 0)
		at = mmap(NULL, capacity, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at != MAP_FAILED && touch_all(at, capacity) < 0) {
		int sys = errno;

		munmap(at, capacity);
		at = MAP_FAILED;
		errno = sys;
	}
	if (at == MAP_FAILED) {
		ls_fail(err, LS_AGAIN, errno,
			"no memory for a snapshot of %" PRIu64 " MiB (each rank needs its part of the state twice or more)",
			capacity >> 20);
		if (fd >= 0)
			close(fd);
		return LS_AGAIN;
	}
	s->fd = fd;
	s->head = at;
	s->image = (char *)at + LS_SNAP_HEAD;
	memcpy(s->head->magic, LS_SNAP_MAGIC, sizeof(s->head->magic));
	s->head->capacity = capacity;
	return LS_OK;
}

void ls_slot_close(struct ls_slot *s)
{
	if (s->fd < 0)
		return;
	if (s->pinned)
		ls_copy_unpin(s->head);
	munmap(s->head, s->head->capacity);
	close(s->fd);
	s->fd = -1;
}

/* The fields of `facts` that describe the snapshot; state, checksum and capacity are the slot's own. */
static void describe(struct ls_snap_head *h, const struct ls_snap_head *facts, uint64_t bytes)
{
	h->generation = facts->generation;
	h->attempt = facts->attempt;
	h->rank = facts->rank;
	h->world = facts->world;
	h->step = facts->step;
	h->bytes = bytes;
	h->seed = facts->seed;
	h->epoch = facts->epoch;
	h->epoch_samples = facts->epoch_samples;
	memcpy(h->job, facts->job, sizeof(h->job));
	memcpy(h->host, facts->host, sizeof(h->host));
}

static ls_status copy_from_gpu(struct ls_slot *s, const struct ls_layout *l, struct ls_err *err)
{
	ls_status st = s->pinned ? LS_OK : ls_copy_pin(s->head, s->head->capacity, err);
	size_t i;

	s->pinned = !st;
	if (!st)
		st = ls_copy_begin(err);
	for (i = 0; !st && i < l->n; i++)
		if (l->pieces[i].on_gpu && l->pieces[i].bytes)
			st = ls_copy_from_gpu(s->image + l->pieces[i].at, l->pieces[i].from, l->pieces[i].bytes, err);
	return st;
}

ls_status ls_slot_fill(struct ls_slot *s, const struct ls_layout *l, const struct ls_snap_head *facts, struct ls_err *err)
{
	char digits[32];
	size_t i;
	ls_status st = LS_OK;

	atomic_store(&s->head->state, LS_SNAP_FILLING);
	atomic_store(&s->head->crc_known, 0);
	describe(s->head, facts, l->bytes);
	memcpy(s->image, l->header.s, l->header.len);
	snprintf(digits, sizeof(digits), "%012" PRId64, facts->step);
	memcpy(s->image + l->step_at, digits, 12);
	if (l->on_gpu)
		st = copy_from_gpu(s, l, err);
	for (i = 0; i < l->n; i++)
		if (!l->pieces[i].on_gpu && l->pieces[i].bytes)
			memcpy(s->image + l->pieces[i].at, l->pieces[i].from, l->pieces[i].bytes);
	if (!st && l->on_gpu)
		st = ls_copy_end(err);
	if (!st)
		atomic_store(&s->head->state, LS_SNAP_SEALED);
	return st;
}

uint32_t ls_slot_crc32c(struct ls_slot *s)
{
	if (!atomic_load(&s->head->crc_known)) {
		s->head->crc32c = ls_crc32c(0, s->image, s->head->bytes); /* of two threads, both write the same */
		atomic_store(&s->head->crc_known, 1);
	}
	return s->head->crc32c;
}
