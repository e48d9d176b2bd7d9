/* snapshot.h -- what a rank saves, copied to where the background can read it and a restart can find it.
 *
 * The layout is the shard's file, made once: header and places of the tensors. A slot is one memfd (core/snap.h) with room for one image.
 * Filling it is all that training waits for: one memcpy of this rank's part of the state.
 *
 *   Threads    a slot has one user at a time (saver.h); layouts are read-only.
 *   Errors     LS_AGAIN: no memory; LS_JOB_LOST: CUDA failed. */
#ifndef LS_SNAPSHOT_H
#define LS_SNAPSHOT_H

#include "core/ckpt.h"
#include "core/snap.h"

struct lockstep;

struct ls_piece {
	const char *from;
	uint64_t at, bytes; /* in the image */
	bool on_gpu;
};

struct ls_layout {
	struct ls_str header;
	size_t step_at; /* where in it the 12 digits of the step are */
	struct ls_piece *pieces;
	size_t n;
	uint64_t bytes; /* of the image */
	bool on_gpu;    /* some of it */
};

struct ls_slot {
	int fd; /* -1: not made yet */
	struct ls_snap_head *head;
	char *image;
	bool pinned;
};

ls_status ls_layout_make(struct lockstep *ls, struct ls_layout *ret, struct ls_err *err);
void ls_layout_release(struct ls_layout *l);

/* Memory that is there: every page is touched here, not in the first save. */
ls_status ls_slot_open(struct ls_slot *s, uint64_t image_bytes, struct ls_err *err);
void ls_slot_close(struct ls_slot *s);
/* A failure (of a GPU) leaves it FILLING. */
ls_status ls_slot_fill(
	struct ls_slot *s, const struct ls_layout *l, const struct ls_snap_head *facts, struct ls_err *err);
/* The image's checksum, computed once; safe against itself in two threads. */
uint32_t ls_slot_crc32c(struct ls_slot *s);

#endif
