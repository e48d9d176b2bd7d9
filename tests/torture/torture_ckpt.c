/* torture_ckpt.c -- no fault at any one call loses a published checkpoint.
 *
 * For n = 1, 2, … until nothing is left to fail: the store holds checkpoint 100; checkpoint 200 is saved and 100 pruned
 * while the n-th call fails. Afterwards a reader finds a whole checkpoint, 100 or 200; nothing unfinished stays behind;
 * the next save succeeds and leaves a store with nothing in it but itself. */
#include "core/ckpt.h"
#include "core/crc32c.h"
#include "core/io.h"
#include "core/safetensors.h"
#include "tests/torture/fault.h"

#include <cjson/cJSON.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RANKS = 2, FLOATS = 300 };

static char dir[4200];
static char uri[4300];

static ls_status put_shard(struct ls_store *s, struct ls_ckpt_id id, int rank, struct ls_shard *ret, struct ls_err *err)
{
	struct ls_tensor tensors[] = {
		{ .name = (char *)"w", .dtype = LS_F32, .ndim = 1, .shape = { FLOATS } },
		{ .name = (char *)"rng", .dtype = LS_U8, .ndim = 1, .shape = { 3 } },
	};
	float w[FLOATS];
	struct ls_str head = { 0 };
	struct iovec iov[3] = { { NULL, 0 }, { w, sizeof(w) }, { (char *)"abc", 3 } };
	char key[LS_CKPT_KEY_MAX];
	ls_status st;
	int i;

	for (i = 0; i < FLOATS; i++)
		w[i] = (float)(id.step * 1000 + rank + i);
	st = ls_st_header(tensors, 2, NULL, &head, err);
	if (!st) {
		iov[0] = (struct iovec){ head.s, head.len };
		ls_ckpt_shard_key(id, rank, key);
		st = ls_store_put(s, key, iov, 3, false, NULL, err);
	}
	if (!st) {
		ret->bytes = head.len + sizeof(w) + 3;
		for (i = 0; i < 3; i++)
			ret->crc32c = ls_crc32c(ret->crc32c, iov[i].iov_base, iov[i].iov_len);
		ret->key = strdup(key);
		if (!ret->key)
			st = ls_fail_oom(err);
	}
	ls_str_release(&head);
	return st;
}

/* What a job does at a checkpoint, all ranks in one. */
static ls_status save(long long step, struct ls_err *err)
{
	struct ls_shard shards[RANKS] = { 0 };
	struct ls_ckpt c = { .job = (char *)"torture",
		.attempt = 1,
		.id = { 0, step },
		.world_size = RANKS,
		.time = "2026-01-31T12:00:00Z",
		.seed = 42,
		.shards = shards,
		.n_shards = RANKS };
	struct ls_ckpt_prune prune = { .keep = 1 };
	struct ls_store *s = NULL;
	ls_status st = ls_store_open(uri, &s, err);
	bool conditional = true;
	int rank;

	if (!st)
		st = ls_ckpt_claim(s, &(struct ls_claimant){ .who = "torture" }, &c.id.generation, &conditional, err);
	fault_check(conditional, "file:// refuses a name that is taken", "");
	for (rank = 0; rank < RANKS && !st; rank++)
		st = put_shard(s, c.id, rank, &shards[rank], err);
	if (!st)
		ls_strv_add(&c.versions, "lockstep=0");
	if (!st && c.versions.oom)
		st = ls_fail_oom(err);
	if (!st)
		st = ls_ckpt_publish(s, &c, err);
	prune.mine = c.id.generation;
	if (!st)
		st = ls_ckpt_prune(s, &prune, err);
	for (rank = 0; rank < RANKS; rank++)
		free(shards[rank].key);
	ls_strv_release(&c.versions);
	ls_store_close(s);
	return st;
}

/* What a job does at a start: the newest that verifies, and the tensors of its first shard. -1: there is none. */
static ls_status resume(long long *ret_step, size_t *ret_damaged, struct ls_err *err)
{
	struct ls_store *s = NULL;
	struct ls_ckpt_id *ids = NULL;
	size_t n = 0, i;
	ls_status st = ls_store_open(uri, &s, err);

	*ret_step = -1;
	*ret_damaged = 0;
	if (!st)
		st = ls_ckpt_list(s, &ids, &n, err);
	for (i = 0; i < n && !st && *ret_step < 0; i++) {
		struct ls_ckpt c = { 0 };
		struct ls_st table = { 0 };
		uint32_t crc32c;

		st = ls_ckpt_read(s, ids[i], &c, err);
		if (!st)
			st = ls_ckpt_verify(s, &c, 0, 1, err);
		if (!st)
			st = ls_ckpt_shard_open(s, &c.shards[0], &table, &crc32c, err);
		if (!st)
			*ret_step = table.n == 2 && c.seed == 42 ? c.id.step : -2;
		if (st == LS_DATA_BAD) {
			++*ret_damaged;
			st = LS_OK;
		}
		ls_st_release(&table);
		ls_ckpt_release(&c);
	}
	free(ids);
	ls_store_close(s);
	return st;
}

static size_t files, leftovers, entries;
static bool killed;

static int count_entry(const char *path, const struct stat *sb, int type, struct FTW *ftw)
{
	bool leftover = !strncmp(path + ftw->base, LS_STORE_LEFTOVER, strlen(LS_STORE_LEFTOVER));

	/* A claim that is killed leaves its small file, right where others may be claiming: nothing sweeps there. */
	if (leftover && ftw->level == 1 && sb->st_size < 200 && (killed || !strncmp(fault_call(), "unlink", 6)))
		return 0;
	entries++;
	files += type == FTW_F;
	leftovers += leftover;
	return 0;
}

static void count_entries(void)
{
	files = leftovers = entries = 0;
	nftw(dir, count_entry, 16, FTW_PHYS);
}

/* `with_old`: checkpoint 100 is there before. Otherwise not even the directory is. */
static void prepare(bool with_old)
{
	struct ls_err err = LS_ERR_INIT;

	fault_check(ls_remove_tree(dir, &err) == LS_OK, "the store is emptied", err.text);
	if (with_old)
		fault_check(save(100, &err) == LS_OK, "the old checkpoint is saved", err.text);
}

static void check_reader(bool with_old, bool saved)
{
	struct ls_err err = LS_ERR_INIT;
	long long step = -1;
	size_t damaged = 0;
	ls_status st = resume(&step, &damaged, &err);

	fault_check(st == LS_OK && !damaged, "what is published is whole", err.text);
	fault_check(step == 200 || (!saved && step == (with_old ? 100 : -1)), "a reader finds the old or the new one",
		step < 0      ? "none"
		: step == 100 ? "the old one"
			      : "the new one");
}

static void check_next_save(void)
{
	struct ls_err err = LS_ERR_INIT;
	long long step = -1;
	size_t damaged = 0;

	fault_check(save(300, &err) == LS_OK, "the next save succeeds", err.text);
	fault_check(resume(&step, &damaged, &err) == LS_OK && step == 300 && !damaged, "and is found", err.text);
	count_entries();
	fault_check(files == RANKS + 2 && entries == files + 2 && !leftovers, "and is all that there is", "by files");
}

static bool save_with_fault(enum fault_kind kind, unsigned n, bool with_old)
{
	struct ls_err err = LS_ERR_INIT;
	bool fired;
	ls_status st;

	fault_arm(kind, n);
	st = save(200, &err);
	fired = fault_disarm();
	fault_check(st == LS_OK || (fired && st == LS_AGAIN && err.text[0]), "a fault passes: LS_AGAIN and a sentence",
		err.text);
	fault_check(kind != FAULT_SHORT || st == LS_OK, "a short read or write is continued", err.text);
	count_entries();
	fault_check(!leftovers || !strncmp(fault_call(), "unlink", 6), "nothing unfinished stays", "by name");
	check_reader(with_old, st == LS_OK);
	return fired;
}

/* The parent sees what a process leaves that is killed right before the n-th call. */
static bool save_with_crash(enum fault_kind kind, unsigned n, bool with_old)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		fault_arm(kind, n);
		_exit(save(200, NULL) != LS_OK);
	}
	fault_check(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
			    (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == FAULT_CRASH_CODE),
		"a child saves until it is killed", "fork");
	check_reader(with_old, WEXITSTATUS(status) == 0);
	return WEXITSTATUS(status) == FAULT_CRASH_CODE;
}

static bool resume_with_fault(enum fault_kind kind, unsigned n, bool with_old)
{
	struct ls_err err = LS_ERR_INIT;
	long long step = -1;
	size_t damaged = 0;
	bool fired;
	ls_status st;

	fault_arm(kind, n);
	st = resume(&step, &damaged, &err);
	fired = fault_disarm();
	fault_check(!damaged, "a shortage never calls a good checkpoint damaged", err.text);
	fault_check(st == LS_OK ? step == (with_old ? 100 : -1) : fired && st == LS_AGAIN && err.text[0],
		"found, or LS_AGAIN", err.text);
	return fired;
}

static const struct {
	const char *says;
	enum fault_kind kind;
	bool (*run)(enum fault_kind kind, unsigned n, bool with_old);
	bool with_old, without_renameat2;
} scenes[] = {
	{ "save over an older one, each call fails once", FAULT_ONCE, save_with_fault, true, false },
	{ "save over an older one, each call is interrupted", FAULT_EINTR, save_with_fault, true, false },
	{ "save over an older one, the disk fills up at each call", FAULT_FULL, save_with_fault, true, false },
	{ "save over an older one, each read or write is short", FAULT_SHORT, save_with_fault, true, false },
	{ "save over an older one, killed before each call", FAULT_CRASH, save_with_crash, true, false },
	{ "the first save, each call fails once", FAULT_ONCE, save_with_fault, false, false },
	{ "the first save, the disk fills up at each call", FAULT_FULL, save_with_fault, false, false },
	{ "the first save, killed before each call", FAULT_CRASH, save_with_crash, false, false },
	{ "save where only link() refuses a taken name, each call fails once", FAULT_ONCE, save_with_fault, true,
		true },
	{ "save where only link() refuses a taken name, killed before each call", FAULT_CRASH, save_with_crash, true,
		true },
	{ "resume, each call fails once", FAULT_ONCE, resume_with_fault, true, false },
	{ "resume, each call is interrupted", FAULT_EINTR, resume_with_fault, true, false },
	{ "resume, each read is short", FAULT_SHORT, resume_with_fault, true, false },
	{ "resume with nothing there, each call fails once", FAULT_ONCE, resume_with_fault, false, false },
};

int main(void)
{
	cJSON_Hooks hooks = { malloc, free }; /* the wrapped ones */
	const char *tmp = getenv("TMPDIR");
	char base[4096];
	size_t i;

	cJSON_InitHooks(&hooks);
	snprintf(base, sizeof(base), "%.4000s/torture_ckpt.XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(base))
		return 1;
	snprintf(dir, sizeof(dir), "%s/store", base);
	snprintf(uri, sizeof(uri), "file://%s", dir);
	for (i = 0; i < sizeof(scenes) / sizeof(scenes[0]); i++) {
		bool fired = true;
		unsigned n;

		killed = scenes[i].kind == FAULT_CRASH;
		fault_without_renameat2(scenes[i].without_renameat2);
		for (n = 1; fired; n++) {
			prepare(scenes[i].with_old);
			fired = scenes[i].run(scenes[i].kind, n, scenes[i].with_old);
			check_next_save();
			fault_check_leaks();
		}
		fault_count(scenes[i].says, n - 2);
	}
	ls_remove_tree(base, NULL);
	return fault_report("torture_ckpt");
}
