/* cmd_ckpt_export.c -- `lockstep ckpt export URI -o FILE`: one model.safetensors out of all shards.
 *
 *     tensors of the shards              in FILE
 *     NAME                               NAME
 *     NAME[0:512] NAME[512:1024] …       NAME, if the manifest has it as sharded; the parts must make up the whole
 *     rank-00003/NAME                    left out, and named: it belongs to one rank
 *
 * Every byte of every shard is read once, in order, and its checksum compared before FILE gets its name. Memory is one block. */
#include "launcher/cmd_ckpt.h"
#include "launcher/commands.h"
#include "core/crc32c.h"
#include "core/io.h"
#include "lockstep/lockstep.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK (32u << 20)

struct part {
	size_t out; /* which tensor of FILE */
	int64_t first, last;
};

struct export {
	struct ls_store *s;
	struct ls_ckpt c;
	struct ls_st *tables; /* one per shard */
	uint32_t *heads;      /* checksums of their headers */
	struct ls_tensor *out; /* of FILE; names are borrowed */
	size_t n_out;
	size_t *place; /* of all shards' tensors, in order: their index in `out`; SIZE_MAX: left out */
	size_t n_place;
	struct part *parts;
	size_t n_parts;
};

static ls_status open_shards(struct export *x, struct ls_err *err)
{
	size_t i, n = 0;
	ls_status st = LS_OK;

	x->tables = calloc(x->c.n_shards, sizeof(*x->tables));
	x->heads = calloc(x->c.n_shards, sizeof(*x->heads));
	if (!x->tables || !x->heads)
		return ls_fail_oom(err);
	for (i = 0; i < x->c.n_shards && !st; i++) {
		st = ls_ckpt_shard_open(x->s, &x->c.shards[i], &x->tables[i], &x->heads[i], err);
		n += x->tables[i].n;
	}
	if (st)
		return st;
	x->out = calloc(n + x->c.n_sharded + 1, sizeof(*x->out));
	x->place = calloc(n + 1, sizeof(*x->place));
	x->parts = calloc(n + 1, sizeof(*x->parts));
	return x->out && x->place && x->parts ? LS_OK : ls_fail_oom(err);
}

/* rank-00003/NAME */
static bool is_private(const char *name)
{
	size_t digits = strncmp(name, "rank-", 5) ? 0 : strspn(name + 5, "0123456789");

	return digits >= 5 && name[5 + digits] == '/';
}

/* The sharded tensor that `t` is a part of; n_sharded: none. Sharded ones are the first in `out`. */
static size_t whole_of(const struct export *x, const struct ls_tensor *t, struct part *ret)
{
	size_t i, len;

	if (!ls_ckpt_part_parse(t->name, &len, &ret->first, &ret->last))
		return x->c.n_sharded;
	for (i = 0; i < x->c.n_sharded; i++)
		if (strlen(x->c.sharded[i].name) == len && !strncmp(x->c.sharded[i].name, t->name, len))
			break;
	ret->out = i;
	return i;
}

static ls_status place_tensor(struct export *x, const struct ls_tensor *t, struct ls_err *err)
{
	struct part *part = &x->parts[x->n_parts];
	size_t i = whole_of(x, t, part), *place = &x->place[x->n_place++];
	const struct ls_sharded *whole = &x->c.sharded[i];

	if (is_private(t->name)) {
		fprintf(stderr, "lockstep ckpt export: left out %s: it is private to one rank\n", t->name);
		*place = SIZE_MAX;
	} else if (i == x->c.n_sharded) {
		*place = x->n_out;
		x->out[x->n_out++] = *t;
	} else if (t->dtype != whole->dtype || t->ndim != whole->ndim || t->shape[0] != part->last - part->first ||
		   memcmp(&t->shape[1], &whole->shape[1], (size_t)(t->ndim - 1) * sizeof(t->shape[0]))) {
		return ls_fail(err, LS_DATA_BAD, 0, "tensor %s is no part of %s as the manifest describes it", t->name,
			whole->name);
	} else {
		*place = i;
		x->n_parts++;
	}
	return LS_OK;
}

static int compare_parts(const void *a, const void *b)
{
	const struct part *x = a, *y = b;

	if (x->out != y->out)
		return x->out < y->out ? -1 : 1;
	if (x->first != y->first)
		return x->first < y->first ? -1 : 1;
	return x->last < y->last ? -1 : x->last > y->last;
}

/* Every row once. */
static ls_status check_parts(struct export *x, struct ls_err *err)
{
	size_t i, k = 0;

	qsort(x->parts, x->n_parts, sizeof(*x->parts), compare_parts);
	for (i = 0; i < x->c.n_sharded; i++) {
		int64_t at = 0;

		for (; k < x->n_parts && x->parts[k].out == i && x->parts[k].first == at; k++)
			at = x->parts[k].last;
		if (at != x->c.sharded[i].shape[0] || (k < x->n_parts && x->parts[k].out == i))
			return ls_fail(err, LS_DATA_BAD, 0,
				"the parts of tensor %s do not make up its %" PRId64 " rows: row %" PRId64
				" is missing, or there twice",
				x->c.sharded[i].name, x->c.sharded[i].shape[0], at);
	}
	return LS_OK;
}

static ls_status place_all(struct export *x, struct ls_err *err)
{
	ls_status st = LS_OK;
	size_t i, k;

	for (i = 0; i < x->c.n_sharded; i++) {
		const struct ls_sharded *w = &x->c.sharded[i];

		x->out[i] = (struct ls_tensor){ .name = w->name, .dtype = w->dtype, .ndim = w->ndim };
		memcpy(x->out[i].shape, w->shape, sizeof(w->shape));
	}
	x->n_out = x->c.n_sharded;
	for (i = 0; i < x->c.n_shards && !st; i++)
		for (k = 0; k < x->tables[i].n && !st; k++)
			st = place_tensor(x, &x->tables[i].tensors[k], err);
	return st ? st : check_parts(x, err);
}

/* The header wants wide elements first; `out` keeps its order, for `place` points into it. */
static ls_status make_header(struct export *x, struct ls_str *ret, struct ls_err *err)
{
	static const size_t sizes[] = { 8, 4, 2, 1 };
	struct ls_tensor *sorted = calloc(x->n_out + 1, sizeof(*sorted));
	size_t *from = calloc(x->n_out + 1, sizeof(*from)), n = 0, i, k;
	struct ls_strv metadata = { 0 };
	ls_status st = sorted && from ? LS_OK : ls_fail_oom(err);

	for (k = 0; !st && k < sizeof(sizes) / sizeof(sizes[0]); k++) {
		for (i = 0; i < x->n_out; i++) {
			if (ls_dtype_size(x->out[i].dtype) != sizes[k])
				continue;
			from[n] = i;
			sorted[n++] = x->out[i];
		}
	}
	ls_strv_add(&metadata, "format=pt"); /* transformers asks for it */
	ls_strv_addf(&metadata, "lockstep=%s", LOCKSTEP_VERSION);
	ls_strv_addf(&metadata, "step=%lld", x->c.id.step);
	if (!st)
		st = metadata.oom ? ls_fail_oom(err) : ls_st_header(sorted, n, &metadata, ret, err);
	for (i = 0; !st && i < n; i++)
		x->out[from[i]] = sorted[i];
	ls_strv_release(&metadata);
	free(sorted);
	free(from);
	return st;
}

/* Where the tensor's first byte belongs; -1: nowhere. */
static off_t target(const struct export *x, size_t place, const struct ls_tensor *t, size_t header)
{
	const struct ls_tensor *out = &x->out[place];
	struct part part;
	uint64_t at;

	if (place == SIZE_MAX)
		return -1;
	at = header + out->begin;
	if (place < x->c.n_sharded && whole_of(x, t, &part) == place && out->shape[0])
		at += (uint64_t)part.first * ((out->end - out->begin) / (uint64_t)out->shape[0]);
	return (off_t)at;
}

static ls_status copy_tensor(struct export *x, const struct ls_shard *shard, uint64_t from, uint64_t bytes, int fd, off_t to, char *block,
	uint32_t *crc, struct ls_err *err)
{
	uint64_t at;
	uint32_t part;
	ls_status st = LS_OK;

	for (at = 0; at < bytes && !st; at += BLOCK) {
		struct iovec iov = { block, bytes - at < BLOCK ? (size_t)(bytes - at) : BLOCK };

		st = ls_store_read(x->s, shard->key, from + at, &iov, 1, &part, err);
		if (st)
			break;
		*crc = ls_crc32c_combine(*crc, part, iov.iov_len);
		if (to >= 0 && ls_pwrite_all(fd, block, iov.iov_len, to + (off_t)at) < 0)
			st = ls_fail(err, LS_AGAIN, errno, "cannot write the tensors");
	}
	return st;
}

static ls_status copy_all(struct export *x, int fd, size_t header, struct ls_err *err)
{
	char *block = malloc(BLOCK);
	size_t i, k, n = 0;
	ls_status st = block ? LS_OK : ls_fail_oom(err);

	for (i = 0; i < x->c.n_shards && !st; i++) {
		const struct ls_shard *shard = &x->c.shards[i];
		uint32_t crc = x->heads[i];

		for (k = 0; k < x->tables[i].n && !st; k++, n++) {
			const struct ls_tensor *t = &x->tables[i].tensors[k];

			st = copy_tensor(x, shard, x->tables[i].data_at + t->begin, t->end - t->begin, fd,
				target(x, x->place[n], t, header), block, &crc, err);
		}
		if (!st && crc != shard->crc32c)
			st = ls_fail(err, LS_DATA_BAD, 0, "%s/%s has crc32c %08" PRIx32 ", its manifest says %08" PRIx32,
				ls_store_uri(x->s), shard->key, crc, shard->crc32c);
	}
	free(block);
	return st;
}

/* link() refuses a name that was taken meanwhile. */
static ls_status name_file(const char *tmp, const char *path, bool force, struct ls_err *err)
{
	struct ls_str dir = { 0 };
	const char *slash = strrchr(path, '/');
	ls_status st;

	if ((force ? rename(tmp, path) : link(tmp, path)) < 0)
		return ls_fail(err, errno == EEXIST ? LS_EXISTS : LS_AGAIN, errno, "cannot name the file %s", path);
	if (!force)
		unlink(tmp);
	ls_str_addn(&dir, slash ? path : ".", slash && slash > path ? (size_t)(slash - path) : 1);
	st = dir.oom ? ls_fail_oom(err) : ls_dir_sync(dir.s, err);
	ls_str_release(&dir);
	return st;
}

static ls_status write_file(struct export *x, const char *path, bool force, struct ls_err *err)
{
	struct ls_str header = { 0 }, tmp = { 0 };
	int fd = -1;
	ls_status st = make_header(x, &header, err);

	ls_str_addf(&tmp, "%s.tmp.XXXXXX", path);
	if (!st && tmp.oom)
		st = ls_fail_oom(err);
	if (!st && (fd = mkostemp(tmp.s, O_CLOEXEC)) < 0)
		st = ls_fail(err, LS_AGAIN, errno, "cannot create %s", tmp.s);
	if (fd >= 0) {
		if (fchmod(fd, 0644) < 0 || ls_pwrite_all(fd, header.s, header.len, 0) < 0)
			st = ls_fail(err, LS_AGAIN, errno, "cannot write %s", tmp.s);
		if (!st)
			st = copy_all(x, fd, header.len, err);
		if (!st && fsync(fd) < 0)
			st = ls_fail(err, LS_AGAIN, errno, "cannot write %s", tmp.s);
		if (!st)
			st = name_file(tmp.s, path, force, err);
		if (st)
			unlink(tmp.s);
	}
	ls_fd_close(&fd);
	ls_str_release(&tmp);
	ls_str_release(&header);
	return st;
}

static void release(struct export *x)
{
	size_t i;

	for (i = 0; x->tables && i < x->c.n_shards; i++)
		ls_st_release(&x->tables[i]);
	free(x->tables);
	free(x->heads);
	free(x->out);
	free(x->place);
	free(x->parts);
	ls_ckpt_release(&x->c);
}

int ls_cmd_ckpt_export(const struct ls_ckpt_request *rq)
{
	struct export x = { .s = rq->store };
	struct ls_err err = LS_ERR_INIT;
	struct ls_ckpt_id id;
	ls_status st = LS_OK;

	if (!rq->force && access(rq->output, F_OK) == 0)
		st = ls_fail(&err, LS_EXISTS, 0, "%s is there already: name another file, or replace it with --force",
			rq->output);
	if (!st)
		st = ls_cmd_ckpt_pick(rq, &id, &err);
	if (!st)
		st = ls_ckpt_read(x.s, id, &x.c, &err);
	if (!st)
		st = open_shards(&x, &err);
	if (!st)
		st = place_all(&x, &err);
	if (!st)
		st = write_file(&x, rq->output, rq->force, &err);
	if (!st)
		printf("%s: %zu tensors of step %lld, generation %u\n", rq->output, x.n_out, id.step, id.generation);
	release(&x);
	return st ? ls_command_fail("ckpt export", st, &err) : 0;
}
