/* cmd_ckpt_import.c -- `lockstep ckpt import FILE URI`: a model.safetensors becomes the newest checkpoint.
 *
 * The file is the one shard, byte for byte. It claims a generation, as an attempt does: a job that is at work there publishes nothing
 * more, and the next one goes on from here. */
#include "launcher/cmd_ckpt.h"
#include "launcher/commands.h"
#include "core/io.h"
#include "lockstep/lockstep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static ls_status map_file(const char *path, struct iovec *ret, struct ls_err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat sb;
	void *bytes;
	ls_status st = LS_OK;

	if (fd < 0)
		return ls_fail(err, errno == ENOENT ? LS_NOT_FOUND : LS_AGAIN, errno, "cannot open %s", path);
	if (fstat(fd, &sb) < 0 || !S_ISREG(sb.st_mode) || sb.st_size < 8)
		st = ls_fail(err, LS_USAGE, 0, "%s is no safetensors file", path);
	else if ((bytes = mmap(NULL, (size_t)sb.st_size, PROT_READ, MAP_PRIVATE, fd, 0)) == MAP_FAILED)
		st = ls_fail(err, LS_AGAIN, errno, "cannot map %s", path);
	else
		*ret = (struct iovec){ bytes, (size_t)sb.st_size };
	ls_fd_close(&fd);
	return st;
}

static ls_status check_file(const char *path, const struct iovec *file, size_t *ret_tensors, struct ls_err *err)
{
	struct ls_st table = { 0 };
	ls_status st = ls_st_parse(file->iov_base, file->iov_len, file->iov_len, &table, err);

	if (st == LS_DATA_BAD)
		ls_err_at(err, st, "%s: ", path);
	*ret_tensors = table.n;
	ls_st_release(&table);
	return st;
}

static ls_status publish(struct ls_store *s, const struct iovec *file, struct ls_ckpt_id id, struct ls_err *err)
{
	char key[LS_CKPT_KEY_MAX];
	struct ls_shard shard = { .key = key, .bytes = file->iov_len };
	struct ls_ckpt c = { .job = (char *)"", .id = id, .world_size = 1, .shards = &shard, .n_shards = 1 };
	ls_status st;

	ls_ckpt_shard_key(id, 0, key);
	ls_time_rfc3339(c.time);
	ls_strv_addf(&c.versions, "lockstep=%s", LOCKSTEP_VERSION);
	st = c.versions.oom ? ls_fail_oom(err) : ls_store_put(s, key, file, 1, false, &shard.crc32c, err);
	if (!st)
		st = ls_ckpt_publish(s, &c, err);
	ls_strv_release(&c.versions);
	return st;
}

int ls_cmd_ckpt_import(const struct ls_ckpt_request *rq)
{
	struct ls_ckpt_id id = { .step = rq->step < 0 ? 0 : rq->step };
	struct ls_err err = LS_ERR_INIT;
	struct iovec file = { 0 };
	size_t tensors = 0;
	bool conditional;
	ls_status st = map_file(rq->input, &file, &err);

	if (!st)
		st = check_file(rq->input, &file, &tensors, &err);
	if (!st)
		st = ls_ckpt_claim(rq->store, &(struct ls_claimant){ .who = "lockstep ckpt import" }, &id.generation, &conditional, &err);
	if (!st && !conditional)
		fprintf(stderr,
			"lockstep ckpt import: %s ignores the condition \"only if absent\": nobody else may save there now\n",
			ls_store_uri(rq->store));
	if (!st)
		st = publish(rq->store, &file, id, &err);
	if (file.iov_base)
		munmap(file.iov_base, file.iov_len);
	if (st)
		return ls_command_fail("ckpt import", st, &err);
	printf("%s: %zu tensors are step %lld, generation %u in %s\n", rq->input, tensors, id.step, id.generation,
		ls_store_uri(rq->store));
	return 0;
}
