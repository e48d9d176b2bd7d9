/* test_rank.c -- the life of a rank with real MPI processes: checkpoints that come back, are passed over or cannot
 * be written, and stops that all ranks make together. Every row runs on all ranks; each checks that all were told
 * the same. */
#include "core/event.h"
#include "core/hold.h"
#include "core/hold_wire.h"
#include "core/io.h"
#include "launcher/agents.h"
#include "launcher/commands.h"
#include "launcher/wire.h"
#include "tests/unit/world.h"
#include "worker/rank.h"
#include "tests/unit/agent.h"

#include <CUnit/Basic.h>
#include <cjson/cJSON.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { N = 24 };
#define AGENT_MODE "LOCKSTEP_TEST_AGENT_MODE"

static int failures;
static struct lockstep *world; /* open from first to last, so that MPI stays */
static char dir[256], uri[300];
static int events = -1;        /* what the library told its shim */

static struct {
	float weight[4][N];
	double mean[3];
	uint8_t private_bytes[7];
	int64_t shape[2];
	int64_t samples[4];
} mine;

static void check(bool ok, const char *says, const char *got)
{
	if (ok)
		return;
	fprintf(stderr, "  rank %d of %d: row: %s: %s\n", world->rank, world->world, says, got);
	failures++;
}

static void together(void)
{
	lockstep_barrier(world, NULL);
}

/* The events since the last call. */
static const char *told(void)
{
	static char text[65536];
	ssize_t n = ls_pread_all(events, text, sizeof(text) - 1, 0);

	text[n < 0 ? 0 : n] = '\0';
	if (ftruncate(events, 0) < 0 || lseek(events, 0, SEEK_SET) < 0)
		text[0] = '\0';
	return text;
}

static void set_values(int from)
{
	int i, k;

	for (k = 0; k < 4; k++)
		for (i = 0; i < N; i++)
			mine.weight[k][i] = (float)(from + 100 * k + i);
	for (i = 0; i < 3; i++)
		mine.mean[i] = from + 0.1 * i;
	memset(mine.private_bytes, from + world->rank, sizeof(mine.private_bytes));
}

static bool values_are(int from)
{
	static float weight[4][N];
	bool ok = true;
	int i, k;

	for (k = 0; k < 4; k++)
		for (i = 0; i < N; i++)
			weight[k][i] = (float)(from + 100 * k + i);
	ok = !memcmp(weight, mine.weight, sizeof(weight));
	for (i = 0; i < 3; i++)
		ok = ok && mine.mean[i] == from + 0.1 * i;
	for (i = 0; i < 7; i++)
		ok = ok && mine.private_bytes[i] == (uint8_t)(from + world->rank);
	return ok;
}

/* A handle with five replicated tensors and a private one, or with a model that differs. */
static struct lockstep *open_with(const char *where, const char *last_name, int64_t last_size)
{
	struct lockstep_options opt = { .seed = 5, .samples = 100, .batch = 4, .checkpoint_uri = where, .keep = 3 };
	const char *names[] = { "a", "b", "c", last_name };
	struct lockstep_err err = { 0 };
	struct lockstep *ls = NULL;
	int64_t shape[2] = { 2, N / 2 }, three = 3, seven = 7;
	lockstep_status st = lockstep_start(&opt, &ls, &err);
	int k;

	for (k = 0; !st && k < 4; k++) {
		shape[1] = k == 3 ? last_size : N / 2;
		st = lockstep_state_add(
			ls, names[k], mine.weight[k], LOCKSTEP_F32, 2, shape, LOCKSTEP_REPLICATED, &err);
	}
	if (!st)
		st = lockstep_state_add(ls, "mean", mine.mean, LOCKSTEP_F64, 1, &three, LOCKSTEP_REPLICATED, &err);
	if (!st)
		st = lockstep_state_add(ls, "rng", mine.private_bytes, LOCKSTEP_U8, 1, &seven, LOCKSTEP_PRIVATE, &err);
	check(!st, "open", err.text);
	return ls;
}

static struct lockstep *open_usual(void)
{
	return open_with(uri, "d", N / 2);
}

static void save_at(struct lockstep *ls, int64_t step)
{
	struct lockstep_err err = { 0 };

	set_values((int)step);
	check(!lockstep_save(ls, step, &err), "save", err.text);
}

/* Where the first tensor's name is in a shard. */
static off_t name_at(int fd)
{
	char head[1024] = "", *dtype;

	if (ls_pread_all(fd, head, sizeof(head) - 1, 8) < 0)
		return -1;
	dtype = strstr(head, "\":{\"dtype");
	return dtype ? dtype - head + 7 : -1;
}

/* Rank 0 spoils a file of a checkpoint: 'x' flips its last bit, 'n' one of a tensor's name, 't' cuts it, 'd' deletes it. */
static void spoil(unsigned generation, long long step, const char *file, char how)
{
	char path[600];
	off_t at;
	int fd;

	together();
	snprintf(path, sizeof(path), "%s/step-%012lld-g%08u/%s", dir, step, generation, file);
	if (world->rank == 0 && how == 'd') {
		check(!unlink(path), "spoil", path);
	} else if (world->rank == 0) {
		char byte = 0;

		fd = open(path, O_RDWR);
		at = how == 'n' ? name_at(fd) : lseek(fd, -1, SEEK_END);
		check(at > 0 && ls_pread_all(fd, &byte, 1, at) == 1, "spoil", path);
		byte ^= 1;
		check(how == 't' ? !ftruncate(fd, 200) : !ls_pwrite_all(fd, &byte, 1, at), "spoil", path);
		ls_fd_close(&fd);
	}
	together();
}

static void fresh_directory(void)
{
	together();
	if (world->rank == 0)
		ls_remove_tree(dir, NULL);
	together();
}

static const struct {
	const char *says;
	long long step;
	const char *file;
	char how;
	int64_t want;      /* resumed step */
	const char *why;   /* in the skipped event */
} spoilt[] = {
	{ "a whole one is taken", 0, NULL, 0, 30, NULL },
	{ "a flipped bit in a shard", 30, "rank-00000.safetensors", 'x', 20, "crc32c" },
	{ "a flipped bit in the last rank's shard", 30, "rank-0000L.safetensors", 'x', 20, "crc32c" },
	{ "a flipped bit in a tensor's name", 30, "rank-00000.safetensors", 'n', 20, "crc32c" },
	{ "a short shard", 30, "rank-00000.safetensors", 't', 20, "bytes" },
	{ "a missing shard", 30, "rank-00000.safetensors", 'd', 20, "missing" },
	{ "half a manifest", 30, "manifest.json", 't', 20, "manifest" },
	{ "no manifest: it does not exist", 30, "manifest.json", 'd', 20, NULL },
	{ "damage in an old one does not matter", 10, "rank-00000.safetensors", 'x', 30, NULL },
};

static void rows_restore(void)
{
	struct lockstep_err err = { 0 };
	size_t i;

	for (i = 0; i < sizeof(spoilt) / sizeof(spoilt[0]); i++) {
		struct lockstep *ls = open_usual();
		int64_t step = -1, expected[4];
		char file[64] = "";
		const char *text;
		unsigned generation;

		save_at(ls, 10);
		save_at(ls, 20);
		lockstep_sampler_next(ls, mine.samples);
		save_at(ls, 30);
		lockstep_sampler_next(ls, expected);
		generation = ls->generation;
		lockstep_finish(ls);
		if (spoilt[i].file) {
			snprintf(file, sizeof(file), "%s", spoilt[i].file);
			if (strchr(file, 'L'))
				*strchr(file, 'L') = (char)('0' + world->world - 1);
			spoil(generation, spoilt[i].step, file, spoilt[i].how);
		}
		told();
		set_values(0);
		ls = open_usual();
		check(!lockstep_restore(ls, &step, &err) && step == spoilt[i].want, spoilt[i].says, err.text);
		check(values_are((int)spoilt[i].want), spoilt[i].says, "other values came back");
		if (spoilt[i].want == 30) {
			lockstep_sampler_next(ls, mine.samples);
			check(!memcmp(mine.samples, expected, sizeof(expected)), spoilt[i].says,
				"other samples come next");
		}
		text = told();
		if (world->rank == 0)
			check(!spoilt[i].why == !strstr(text, "skipped") &&
					(!spoilt[i].why || strstr(text, spoilt[i].why)),
				spoilt[i].says, text);
		save_at(ls, 30); /* over the damaged one, or skipped when it is whole */
		lockstep_finish(ls);
		set_values(0);
		ls = open_usual();
		check(!lockstep_restore(ls, &step, &err) && step == 30 && values_are(30), spoilt[i].says,
			"saved again, not restored");
		lockstep_finish(ls);
		fresh_directory();
	}
}

static void rows_all_damaged(void)
{
	struct lockstep_err err = { 0 };
	struct lockstep *ls = open_usual();
	int64_t step = 7;

	check(!lockstep_restore(ls, &step, &err) && step == 0, "an empty directory is a beginning", err.text);
	save_at(ls, 10);
	lockstep_finish(ls);
	spoil(1, 10, "rank-00000.safetensors", 'x');
	ls = open_usual();
	check(lockstep_restore(ls, &step, &err) == LOCKSTEP_DATA_BAD && strstr(err.text, "none of the 1 checkpoints") &&
		strstr(err.text, "crc32c"), "all are damaged", err.text);
	lockstep_finish(ls);
	fresh_directory();
}

static const struct {
	const char *says, *name;
	int64_t size;
	const char *want;
} models[] = {
	{ "a tensor is new", "e", N / 2, "no tensor 'e' F32[2,12]" },
	{ "a tensor has another shape", "d", N / 4, "tensor 'd' is F32[2,12] in" },
};

static void rows_models(void)
{
	struct lockstep_err err = { 0 };
	struct lockstep *ls = open_usual();
	int64_t step;
	size_t i;

	save_at(ls, 10);
	lockstep_finish(ls);
	for (i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
		ls = open_with(uri, models[i].name, models[i].size);
		check(lockstep_restore(ls, &step, &err) == LOCKSTEP_USAGE && strstr(err.text, models[i].want),
			models[i].says, err.text);
		lockstep_finish(ls);
	}
	if (world->world > 1) {
		ls = open_with(uri, world->rank ? "d" : "D", N / 2);
		check(lockstep_restore(ls, &step, &err) == LOCKSTEP_USAGE &&
				strstr(err.text, "rank 1 registered replicated state 3 as 'd' F32[2,12], rank 0 as 'D' "
						 "F32[2,12]"),
			"the ranks' states differ", err.text);
		lockstep_finish(ls);
	}
	fresh_directory();
}

/* A save that fails on one rank, or on all, fails on all; what was there stays. */
static void rows_unwritable(void)
{
	struct lockstep_err err = { 0 };
	char other[512], path[512];
	struct lockstep *ls;
	int64_t step;

	ls = open_usual();
	save_at(ls, 10);
	told();
	snprintf(path, sizeof(path), "%s/step-%012d-g%08u", dir, 20, ls->generation);
	if (world->rank == 0)
		check(!ls_file_publish(path, "", 0, true, NULL), "block the way", path);
	together();
	check(lockstep_save(ls, 20, &err) == LOCKSTEP_AGAIN, "a file where the directory should be", err.text);
	if (world->rank == 0)
		check(strstr(told(), "savefailed step=20 text=") != NULL, "a failed save is told", err.text);
	together();
	if (world->rank == 0)
		check(!unlink(path), "clear the way", path);
	together();
	check(!lockstep_save(ls, 20, &err), "the next try succeeds", err.text);
	lockstep_finish(ls);
	if (world->world > 1) {
		snprintf(other, sizeof(other), "%s%s", uri, world->rank == world->world - 1 ? "/elsewhere" : "");
		ls = open_with(other, "d", N / 2);
		check(lockstep_save(ls, 30, &err) == LOCKSTEP_AGAIN && strstr(err.text, "that all hosts share"),
			"a directory that is not shared", err.text);
		lockstep_finish(ls);
	}
	ls = open_usual();
	check(!lockstep_restore(ls, &step, &err) && step == 20, "older checkpoints are whole", err.text);
	lockstep_finish(ls);
	fresh_directory();
}

/* Only `keep` stay; saves are due by steps, and by rank 0's clock one step late. */
static void rows_due(void)
{
	struct lockstep_err err = { 0 };
	struct lockstep *ls;
	struct ls_ckpt_id *ids = NULL;
	size_t n = 0;
	int step;

	setenv("LOCKSTEP_CHECKPOINT_STEPS", "2", 1);
	setenv("LOCKSTEP_CHECKPOINT_KEEP", "2", 1);
	setenv("LOCKSTEP_CHECKPOINT_WHEN_BUSY", "Wait", 1);
	ls = open_usual();
	for (step = 1; step <= 7; step++)
		check(!lockstep_step_end(ls, step, 0.5, 4, &err), "a step", err.text);
	lockstep_finish(ls);
	ls = open_usual();
	if (world->rank == 0)
		check(!ls_ckpt_list(ls->store, &ids, &n, NULL) && n == 2 && ids[0].step == 6 && ids[1].step == 4,
			"every second step, two kept", "");
	free(ids);
	lockstep_finish(ls);
	unsetenv("LOCKSTEP_CHECKPOINT_WHEN_BUSY");
	setenv("LOCKSTEP_CHECKPOINT_STEPS", "0", 1);
	setenv("LOCKSTEP_CHECKPOINT_SECONDS", "1", 1);
	ls = open_usual();
	for (step = 8; step <= 10; step++) {
		if (step == 9)
			usleep(1100 * 1000);
		check(!lockstep_step_end(ls, step, 0.5, 4, &err), "a step", err.text);
	}
	check(ls->head.step == 10, "a second passed in step 9: a save begins after step 10", "");
	lockstep_finish(ls);
	unsetenv("LOCKSTEP_CHECKPOINT_STEPS");
	unsetenv("LOCKSTEP_CHECKPOINT_SECONDS");
	unsetenv("LOCKSTEP_CHECKPOINT_KEEP");
	fresh_directory();
}

/* The store goes away while training goes on, and comes back: the newest snapshot is what is written then. */
static void rows_away(void)
{
	struct lockstep_err err = { 0 };
	char away[512];
	struct lockstep *ls;
	int64_t got;
	int step;

	setenv("LOCKSTEP_CHECKPOINT_STEPS", "1", 1);
	ls = open_usual();
	save_at(ls, 10);
	told();
	snprintf(away, sizeof(away), "%s.away", dir);
	together();
	if (world->rank == 0)
		check(!rename(dir, away) && !ls_file_publish(dir, "", 0, true, NULL), "the store goes away", dir);
	together();
	for (step = 11; step <= 30; step++) {
		check(!lockstep_step_end(ls, step, 0.5, 4, &err), "training goes on without its store", err.text);
		usleep(10000);
	}
	check(ls->newest == 10 && ls->head.step > 10, "nothing is published meanwhile", "");
	if (world->rank == 0) {
		const char *text = told();

		check(strstr(text, "savefailed step=11 text=") != NULL, "that is told", text);
		check(!strstr(text, "saved step=1"), "and nothing else", text);
	}
	together();
	if (world->rank == 0)
		check(!unlink(dir) && !rename(away, dir), "the store comes back", dir);
	together();
	check(!lockstep_save(ls, 31, &err), "a save works again", err.text);
	lockstep_finish(ls);
	unsetenv("LOCKSTEP_CHECKPOINT_STEPS");
	ls = open_usual();
	check(!lockstep_restore(ls, &got, &err) && got == 31, "the newest is there", err.text);
	lockstep_finish(ls);
	fresh_directory();
}

/* Rows of one tensor, dealt out differently by those who save and those who restore. */
static void rows_sharded(void)
{
	struct lockstep_options opt = { .checkpoint_uri = uri };
	struct lockstep_err err = { 0 };
	enum { ROWS = 12, WIDE = 3 };
	float data[ROWS][WIDE];
	int64_t shape[2] = { 0, WIDE }, first, step;
	struct lockstep *ls = NULL;
	int way, i, k;

	for (way = 0; way < 4; way++) { /* saved even, restored uneven; saved uneven, restored even and by its mirror */
		check(!lockstep_start(&opt, &ls, &err), "start", err.text);
		shape[0] = ROWS / world->world;
		first = shape[0] * (way == 3 ? world->world - 1 - world->rank : world->rank);
		if (way == 1 && world->world > 1) {
			shape[0] = world->rank == 0 ? ROWS - 1 : world->rank == 1 ? 1 : 0;
			first = world->rank == 0 ? 0 : world->rank == 1 ? ROWS - 1 : ROWS;
		}
		check(!lockstep_state_add_sharded(ls, "m", data, LOCKSTEP_F32, 2, shape, first, ROWS, &err), "add", err.text);
		memset(data, 0, sizeof(data));
		check(!lockstep_restore(ls, &step, &err) && step == way, "restore", err.text);
		for (i = 0; i < shape[0]; i++)
			for (k = 0; k < WIDE; k++) {
				check(way == 0 || data[i][k] == (float)((first + i) * 10 + k + way - 1), "each row is where it belongs", "");
				data[i][k] = (float)((first + i) * 10 + k + way);
			}
		check(!lockstep_save(ls, way + 1, &err), "save", err.text);
		lockstep_finish(ls);
	}
	if (world->world > 1) {
		check(!lockstep_start(&opt, &ls, &err), "start", err.text);
		shape[0] = 2;
		lockstep_state_add_sharded(ls, "m", data, LOCKSTEP_F32, 2, shape, 0, ROWS, &err);
		check(lockstep_restore(ls, &step, &err) == LOCKSTEP_USAGE && strstr(err.text, "do not tile"), "rows that overlap", err.text);
		lockstep_finish(ls);
	}
	fresh_directory();
}

/* A step has one checkpoint, however often it is said to be over: what is published is not written again. */
static void rows_twice(void)
{
	struct lockstep_err err = { 0 };
	struct lockstep *ls;
	int64_t got;

	setenv("LOCKSTEP_CHECKPOINT_STEPS", "1", 1);
	ls = open_usual();
	save_at(ls, 10);
	check(!lockstep_step_end(ls, 10, 0.5, 4, &err), "a step that is due, and saved already", err.text);
	set_values(11);
	check(!lockstep_step_end(ls, 11, 0.5, 4, &err), "a step", err.text);
	set_values(0);
	check(!lockstep_step_end(ls, 11, 0.5, 4, &err), "the same step, while it is being saved", err.text);
	check(lockstep_save(ls, 9, &err) == LOCKSTEP_USAGE && strstr(err.text, "steps only go up"), "an older step", err.text);
	check(!lockstep_step_end(ls, 11, 0.5, 4, &err), "the same step again", err.text);
	lockstep_finish(ls);
	unsetenv("LOCKSTEP_CHECKPOINT_STEPS");
	ls = open_usual();
	check(!lockstep_restore(ls, &got, &err) && got == 11 && values_are(11), "the first of two is there", err.text);
	lockstep_finish(ls);
	fresh_directory();
}

/* What the last rank cannot open is open nowhere: the next try finds all ranks at one place. */
static void rows_open_fails(void)
{
	struct lockstep_err err = { 0 };
	struct lockstep *ls = open_usual();
	int64_t step;

	if (world->rank == world->world - 1)
		ls->set.checkpoint_uri = "gopher://x";
	check(lockstep_restore(ls, &step, &err) == LOCKSTEP_USAGE && strstr(err.text, "gopher"), "a saver that cannot be opened", err.text);
	check(!ls->saver, "and so is on no rank", "");
	ls->set.checkpoint_uri = uri;
	save_at(ls, 10);
	lockstep_finish(ls);
	fresh_directory();
}

/* Back to an older step, and over the same ones again: what comes then is newer than what was there. */
static void rows_go_back(void)
{
	struct lockstep_err err = { 0 };
	struct lockstep *ls = open_usual();
	int64_t step;

	save_at(ls, 10);
	save_at(ls, 20);
	spoil(ls->generation, 20, "rank-00000.safetensors", 'x');
	check(!lockstep_step_end(ls, 25, 0.5, 4, &err), "a step", err.text); /* what the ranks say is on its way */
	check(!ls_save_begin(ls, 30, true, &(struct ls_err){ 0 }), "a save is on its way", "");
	check(!lockstep_restore(ls, &step, &err) && step == 30, "it is waited for", err.text);
	spoil(ls->generation - 1, 30, "rank-00000.safetensors", 'x');
	check(!lockstep_restore(ls, &step, &err) && step == 10 && values_are(10), "back", err.text);
	save_at(ls, 15);
	save_at(ls, 20);
	lockstep_finish(ls);
	ls = open_usual();
	check(!lockstep_restore(ls, &step, &err) && step == 20 && values_are(20), "the second 20 is the newest", err.text);
	lockstep_finish(ls);
	fresh_directory();
}

/* Two directories with checkpoints of one name: the last rank sees another one than the others. */
static void rows_mix(void)
{
	struct lockstep_err err = { 0 };
	char other[512];
	struct lockstep *ls;
	int64_t step;

	if (world->world == 1)
		return;
	snprintf(other, sizeof(other), "%s/elsewhere", uri);
	ls = open_with(other, "d", N / 2);
	save_at(ls, 10);
	lockstep_finish(ls);
	ls = open_usual();
	set_values(70);
	check(!lockstep_save(ls, 10, &err), "save", err.text);
	lockstep_finish(ls);
	ls = open_with(world->rank == world->world - 1 ? other : uri, "d", N / 2);
	check(lockstep_restore(ls, &step, &err) == LOCKSTEP_DATA_BAD && strstr(err.text, "that all hosts share"), "a mix of two", err.text);
	lockstep_finish(ls);
	fresh_directory();
}

/* The manifest could not be written: the save goes on where it was, and writes no shard a second time. */
static void rows_publish_again(void)
{
	struct lockstep_err err = { 0 };
	struct lockstep *ls = open_usual();
	char path[512], shard[512];
	struct stat before = { 0 }, after = { 0 };

	save_at(ls, 10);
	snprintf(shard, sizeof(shard), "%s/step-%012d-g%08u/rank-%05d.safetensors", dir, 20, ls->generation, world->rank);
	snprintf(path, sizeof(path), "%s/step-%012d-g%08u/manifest.json", dir, 20, ls->generation);
	if (world->rank == 0)
		check(!ls_mkdir_p(path, NULL), "block the way", path);
	together();
	check(lockstep_save(ls, 20, &err) == LOCKSTEP_AGAIN, "a directory where the manifest should be", err.text);
	check(!stat(shard, &before), "the shard is there", shard);
	together();
	if (world->rank == 0)
		check(!rmdir(path), "clear the way", path);
	together();
	check(!lockstep_save(ls, 20, &err), "the next try succeeds", err.text);
	check(!stat(shard, &after) && before.st_ino == after.st_ino, "with the same shard", shard);
	lockstep_finish(ls);
	fresh_directory();
}

/* A rank that leaves alone leaves its shard: rank 0 may be publishing it. A later prune finds what nobody published. */
static void rows_leave_alone(void)
{
	struct lockstep *ls = open_usual();
	struct ls_saver_view view;
	char shard[512];

	save_at(ls, 10); /* the generation is known */
	check(!ls_save_begin(ls, 20, true, &(struct ls_err){ 0 }), "begin", "");
	do
		ls_saver_look(ls->saver, &view);
	while (view.state == LS_SAVER_WRITING);
	snprintf(shard, sizeof(shard), "%s/step-%012d-g%08u/rank-%05d.safetensors", dir, 20, ls->generation, world->rank);
	ls->failed = true;
	lockstep_finish(ls);
	check(!access(shard, F_OK), "the shard stays", shard);
	together();
	ls = open_usual();
	save_at(ls, 30);
	lockstep_finish(ls);
	together();
	check(access(shard, F_OK) < 0, "until the next prune", shard);
	fresh_directory();
}

/* State without elements, with and without dimensions. */
static void rows_small(void)
{
	struct lockstep_options opt = { .checkpoint_uri = uri };
	int64_t none[2] = { 0, 3 }, step;
	struct lockstep_err err = { 0 };
	struct lockstep *ls = NULL;
	double scalar;
	int i;

	for (i = 0; i < 2; i++) {
		scalar = i ? 0 : 2.5;
		check(!lockstep_start(&opt, &ls, &err), "start", err.text);
		check(!lockstep_state_add(ls, "scalar", &scalar, LOCKSTEP_F64, 0, NULL, LOCKSTEP_REPLICATED, &err) &&
				!lockstep_state_add(ls, "none", NULL, LOCKSTEP_U8, 2, none, LOCKSTEP_REPLICATED, &err) &&
				!lockstep_state_add(ls, "mine", NULL, LOCKSTEP_F32, 2, none, LOCKSTEP_PRIVATE, &err) &&
				!lockstep_state_add_sharded(ls, "rows", NULL, LOCKSTEP_F16, 2, none, 0, 0, &err), "add", err.text);
		check(!lockstep_restore(ls, &step, &err) && step == 5 * i && scalar == 2.5, "restore", err.text);
		check(i || !lockstep_save(ls, 5, &err), "save", err.text);
		lockstep_finish(ls);
	}
	fresh_directory();
}

/* What a step waited for other ranks is told, and is a part of its time; a save ends the account. */
static void rows_waiting(void)
{
	struct lockstep *ls = open_with(NULL, "d", N / 2);
	struct lockstep_err err = { 0 };
	double value = 1, before = 0, ms, wait_ms;
	int bucket, call;
	char text[256];

	check(!lockstep_bucket_add(ls, "w", mine.weight[0], N, LOCKSTEP_F32, &bucket, &err), "a bucket", err.text);
	for (call = 0; call < 5; call++) {
		lockstep_status st = call == 0 ? lockstep_bucket_ready(ls, bucket, &err) : call == 1 ? lockstep_bucket_wait(ls, &err) :
			call == 2 ? lockstep_barrier(ls, &err) : call == 3 ? lockstep_sum_f64(ls, &value, 1, &err) :
			lockstep_broadcast(ls, &value, sizeof(value), 0, &err);

		check(!st && ls->waited_s > before, "every call that exchanges something counts", err.text);
		before = ls->waited_s;
	}
	told();
	check(!lockstep_step_end(ls, 1, 0.5, 4, &err), "a step", err.text);
	snprintf(text, sizeof(text), "%s", told());
	text[strcspn(text, "\n")] = '\0';
	ms = ls_event_num(text, "ms", -1);
	wait_ms = ls_event_num(text, "wait_ms", -1);
	check(wait_ms > 0 && wait_ms <= ms && wait_ms <= before * 1e3 && wait_ms > before * 1e3 - 0.01, "it is told, with the step", text);
	check(!lockstep_step_end(ls, 2, 0.5, 4, &err) && ls->waited_s < before + 1, "the next step's begins with the vote", "");
	check(ls_clock_s() - ls->step_began_s >= ls->waited_s, "which is a part of that step", "");
	check(!lockstep_save(ls, 2, &err) && ls->waited_s == 0, "and a save is a part of none", "");
	lockstep_finish(ls);
}

/* For measurements: nothing is saved nor looked for, wherever the program wants it. */
static void rows_keep_none(void)
{
	struct lockstep_err err = { 0 };
	struct lockstep *ls;
	int64_t step = -1;

	setenv("LOCKSTEP_CHECKPOINT_KEEP", "0", 1);
	told();
	ls = open_usual();
	check(!ls->store && !lockstep_restore(ls, &step, &err) && step == 0, "nothing is restored", err.text);
	check(!lockstep_save(ls, 1, &err), "a save is no error", err.text);
	check(!strstr(told(), "warning"), "and no reason to warn", "");
	lockstep_finish(ls);
	unsetenv("LOCKSTEP_CHECKPOINT_KEEP");
}

static const struct {
	const char *says;
	struct { const char *name; int64_t rows; } parts[2];
	lockstep_status want;
	const char *why;
} forged[] = {
	{ "parts that tile it", { { "m[0:5]", 5 }, { "m[5:12]", 7 } }, LOCKSTEP_OK, "" },
	{ "in any order", { { "m[5:12]", 7 }, { "m[0:5]", 5 } }, LOCKSTEP_OK, "" },
	{ "more rows than the name says", { { "m[0:12]", 4000 }, { "m[12:12]", 0 } }, LOCKSTEP_DATA_BAD, "'m[0:12]' has 4000 rows" },
	{ "fewer rows than the name says", { { "m[0:5]", 5 }, { "m[5:12]", 1 } }, LOCKSTEP_DATA_BAD, "'m[5:12]' has 1 rows" },
	{ "rows that are there twice, others never", { { "m[0:6]", 6 }, { "m[0:6]", 6 } }, LOCKSTEP_USAGE, "other rows of 'm'" },
	{ "a hole", { { "m[0:5]", 5 }, { "m[6:12]", 6 } }, LOCKSTEP_USAGE, "other rows of 'm' than F32[12,3]" },
	{ "a tensor that had more rows", { { "m[0:12]", 12 }, { "m[12:24]", 12 } }, LOCKSTEP_USAGE, "other rows of 'm' than F32[12,3]" },
	{ "a tensor that had fewer rows", { { "m[0:5]", 5 }, { "m[5:11]", 6 } }, LOCKSTEP_USAGE, "other rows of 'm' than F32[12,3]" },
};

/* Rank 0 publishes a checkpoint of two shards, each with one part. */
static void forge(size_t row)
{
	static float zeros[4000][3];
	struct ls_ckpt c = { .id = { 1, 7 }, .job = (char *)"", .time = "2026-01-31T12:00:00Z", .world_size = 2, .n_shards = 2 };
	struct ls_shard shards[2] = { 0 };
	struct ls_err err = { 0 };
	struct ls_store *s = NULL;
	ls_status st = ls_store_open(uri, &s, &err);
	int i;

	c.shards = shards;
	for (i = 0; !st && i < 2; i++) {
		struct ls_tensor t = { (char *)forged[row].parts[i].name, LS_F32, 2, { forged[row].parts[i].rows, 3 }, 0, 0 };
		struct ls_str head = { 0 };
		char key[LS_CKPT_KEY_MAX];

		st = ls_st_header(&t, 1, NULL, &head, &err);
		if (!st) {
			struct iovec iov[2] = { { head.s, head.len }, { zeros, t.end } };

			ls_ckpt_shard_key(c.id, i, key);
			shards[i].key = strdup(key);
			shards[i].bytes = head.len + t.end;
			st = ls_store_put(s, key, iov, 2, false, &shards[i].crc32c, &err);
		}
		ls_str_release(&head);
	}
	if (!st)
		st = ls_ckpt_publish(s, &c, &err);
	check(!st, forged[row].says, err.text);
	free(shards[0].key);
	free(shards[1].key);
	ls_store_close(s);
}

static void rows_forged(void)
{
	struct lockstep_options opt = { .checkpoint_uri = uri };
	int64_t shape[2] = { 12 / world->world, 3 }, step;
	struct lockstep_err err = { 0 };
	struct lockstep *ls = NULL;
	size_t i;

	for (i = 0; i < sizeof(forged) / sizeof(forged[0]); i++) {
		float *data = calloc((size_t)shape[0], 3 * sizeof(*data)); /* a write behind its end is seen by the sanitizers */

		if (world->rank == 0)
			forge(i);
		together();
		check(!lockstep_start(&opt, &ls, &err), "start", err.text);
		lockstep_state_add_sharded(ls, "m", data, LOCKSTEP_F32, 2, shape, shape[0] * world->rank, 12, &err);
		check(lockstep_restore(ls, &step, &err) == forged[i].want &&
				(!forged[i].want || strstr(err.text, forged[i].why)), forged[i].says, err.text);
		lockstep_finish(ls);
		free(data);
		fresh_directory();
	}
}

/* --- snapshots in memory ------------------------------------------------------------------------------------------------------ */

static char agent_name[64];
static pid_t agent = -1;
static struct ls_wire launcher; /* our end of the agent's connection */

/* This program again: one that MPI has given threads must not fork and go on. */
static void become_agent(int listener, const char *ctl)
{
	agent_takes(listener, ctl);
	setenv(AGENT_MODE, "1", 1);
	execl("/proc/self/exe", "agent", (char *)NULL);
	_exit(127);
}

/* Rank 0 has a real agent, and is its launcher. All ranks are on one host. */
static void start_agent(void)
{
	char ctl[64], key[LS_HOLD_KEY + 1] = "";
	int listener = -1, ctl_fd = -1;

	snprintf(agent_name, sizeof(agent_name), "lockstep-test-rank-%d", (int)getpid());
	if (world->rank == 0) {
		cJSON *go = cJSON_CreateObject();

		snprintf(ctl, sizeof(ctl), "lockstep-test-rank-ctl-%d", (int)getpid());
		check(!ls_random_hex(key, LS_HOLD_KEY / 2, NULL) && !ls_hold_listen(agent_name, &listener, NULL) &&
				!ls_wire_listen_unix(ctl, &ctl_fd, NULL), "listen", ctl);
		agent = fork();
		if (agent == 0)
			become_agent(listener, ctl);
		check(poll(&(struct pollfd){ .fd = ctl_fd, .events = POLLIN }, 1, 5000) == 1, "the agent comes", ctl);
		ls_wire_init(&launcher, accept(ctl_fd, NULL, NULL));
		cJSON_AddStringToObject(go, "key", key);
		cJSON_AddStringToObject(go, "address", "127.0.0.1");
		check(!ls_wire_send_json(&launcher, LS_MSG_GO, go), "the agent is told", "");
		cJSON_Delete(go);
		ls_fd_close(&listener);
		ls_fd_close(&ctl_fd);
	}
	lockstep_broadcast(world, agent_name, sizeof(agent_name), 0, NULL);
	setenv("LOCKSTEP_AGENT", agent_name, 1);
}

static void end_agent(void)
{
	together();
	if (world->rank == 0) {
		ls_wire_close(&launcher);
		waitpid(agent, NULL, 0);
	}
	together();
}

static struct lockstep *begin_attempt(const char *number, int64_t want)
{
	struct lockstep *ls;
	struct lockstep_err err = { 0 };
	int64_t step = -1;

	setenv("LOCKSTEP_ATTEMPT", number, 1);
	set_values(0);
	ls = open_usual();
	check(!lockstep_restore(ls, &step, &err) && step == want && values_are((int)want), "an attempt begins where memory ends", err.text);
	return ls;
}

static void rows_memory(void)
{
	struct lockstep_err err = { 0 };
	struct ls_ckpt_id *ids = NULL;
	struct lockstep *ls;
	size_t n = 0;
	int step;

	start_agent();
	setenv("LOCKSTEP_CHECKPOINT_MEMORY_STEPS", "1", 1);
	ls = begin_attempt("0", 0);
	for (step = 1; step <= 7; step++) {
		set_values(step);
		check(!lockstep_step_end(ls, step, 0.5, 4, &err), "a step", err.text);
	}
	lockstep_finish(ls);
	ls = begin_attempt("1", 7);
	check(!lockstep_save(ls, 7, &err), "a step that only memory holds is saved", err.text);
	if (world->rank == 0)
		check(!ls_ckpt_list(ls->store, &ids, &n, NULL) && n == 1 && ids[0].step == 7, "and is in the store then", "");
	free(ids);
	lockstep_finish(ls);
	ls = begin_attempt("2", 7);
	end_agent();
	for (step = 8; step <= 12; step++)
		check(!lockstep_step_end(ls, step, 0.5, 4, &err), "a step without the agent", err.text);
	check(strstr(told(), "will not outlive rank") != NULL, "that it is gone is told", "");
	lockstep_finish(ls);
	unsetenv("LOCKSTEP_CHECKPOINT_MEMORY_STEPS");
	unsetenv("LOCKSTEP_ATTEMPT");
	unsetenv("LOCKSTEP_AGENT");
	fresh_directory();
}

static const struct {
	const char *says, *name, *value, *want;
} environments[] = {
	{ "another world than planned", "WORLD_SIZE", "99", "the launcher planned WORLD_SIZE=99" },
	{ "other ranks than planned", "RANK", "98", "the launcher planned RANK=98" },
	{ "an interval that is no number", "LOCKSTEP_CHECKPOINT_STEPS", "1O0",
		"LOCKSTEP_CHECKPOINT_STEPS=1O0: want a whole number" },
	{ "an unknown backend", "LOCKSTEP_BACKEND", "nvlink", "no such backend; this build has: auto, shm, hier, mpi" },
	{ "an unknown kind of store", "LOCKSTEP_CHECKPOINT_URI", "gopher://x", "is no checkpoint URI" },
};

static void rows_environment(void)
{
	struct lockstep_err err = { 0 };
	struct lockstep *ls = NULL;
	size_t i;

	setenv("LOCKSTEP_JOB", "test", 1);
	for (i = 0; i < sizeof(environments) / sizeof(environments[0]); i++) {
		setenv(environments[i].name, environments[i].value, 1);
		check(lockstep_start(&(struct lockstep_options){ 0 }, &ls, &err) == LOCKSTEP_USAGE &&
				strstr(err.text, environments[i].want),
			environments[i].says, err.text);
		unsetenv(environments[i].name);
	}
	unsetenv("LOCKSTEP_JOB");
	check(lockstep_start(&(struct lockstep_options){ .samples = 100, .global_batch = world->world * 2 + 1 }, &ls,
		      &err) == (world->world > 1 ? LOCKSTEP_USAGE : LOCKSTEP_OK),
		"a global batch that does not divide", err.text);
	if (world->world == 1)
		lockstep_finish(ls);
}

/* A notice that reaches one rank stops all after the same step, with the checkpoint written. The flag stays: these
 * rows are last. */
static void rows_stop(void)
{
	struct lockstep_err err = { 0 };
	struct lockstep *ls = open_usual();
	lockstep_status st = LOCKSTEP_OK;
	const char *text;
	int step;

	told();
	for (step = 1; !st && step < 6; step++) {
		if (step == 3 && world->rank == world->world - 1)
			raise(SIGTERM);
		st = lockstep_step_end(ls, step, 0.25, 4, &err);
	}
	check(st == LOCKSTEP_STOP && step - 1 == 4 && ls->newest == 4, "a notice in step 3 stops all after step 4",
		err.text);
	text = told();
	if (world->rank == 0)
		check(strstr(text, "progress step=4 total=0 loss=0x1p-2 samples=4 ms=") &&
				strstr(text, "saved step=4") && strstr(text, "stopping step=4\n"),
			"the stop is told", text);
	check(lockstep_exit_code(st) == 143, "its exit code", "");
	lockstep_finish(ls);
}

/* The shim is gone: nothing is told, and nothing breaks. */
static void rows_no_shim(void)
{
	struct lockstep_err err = { 0 };
	struct lockstep *ls = NULL;
	char number[16];
	int ends[2];

	if (pipe2(ends, 0) < 0)
		return check(false, "pipe", "");
	ls_fd_close(&ends[0]);
	snprintf(number, sizeof(number), "%d", ends[1]);
	setenv("LOCKSTEP_EVENT_FD", number, 1);
	check(!lockstep_start(&(struct lockstep_options){ 0 }, &ls, &err), "start without a reader", err.text);
	check(!lockstep_step_end(ls, 1, 0.5, 1, &err), "a step without a reader", err.text);
	check(ls->events.fd < 0 && (fcntl(ends[1], F_GETFD) & FD_CLOEXEC), "closed on exec, and given up", "");
	lockstep_finish(ls);
	ls_fd_close(&ends[1]);
}

static int rank_mode(void)
{
	struct lockstep_err err = { 0 };
	char number[16];

	events = memfd_create("events", MFD_CLOEXEC);
	snprintf(number, sizeof(number), "%d", events);
	setenv("LOCKSTEP_EVENT_FD", number, 1);
	if (lockstep_start(&(struct lockstep_options){ 0 }, &world, &err)) {
		fprintf(stderr, "  start: %s\n", err.text);
		return 1;
	}
	snprintf(dir, sizeof(dir), "/tmp/test_rank.XXXXXX");
	check(world->rank != 0 || mkdtemp(dir), "mkdtemp", dir);
	lockstep_broadcast(world, dir, sizeof(dir), 0, NULL);
	snprintf(uri, sizeof(uri), "file://%s", dir);
	rows_restore();
	rows_all_damaged();
	rows_models();
	rows_unwritable();
	rows_due();
	rows_away();
	rows_sharded();
	rows_twice();
	rows_open_fails();
	rows_go_back();
	rows_mix();
	rows_publish_again();
	rows_leave_alone();
	rows_small();
	rows_waiting();
	rows_keep_none();
	rows_forged();
	rows_memory();
	rows_environment();
	rows_stop();
	rows_no_shim();
	fresh_directory();
	lockstep_finish(world);
	return failures != 0;
}

/* Whole tensors, largest first, to whom has least. */
static void test_deal(void)
{
	static const uint64_t bytes[] = { 10, 80, 30, 30, 20, 0, 5 };
	static const int want[] = { 2, 0, 1, 2, 1, 2, 2 }; /* of three ranks: 80 | 30 + 20 | 30 + 10 + 5 + 0 */
	struct ls_state states[7] = { 0 };
	size_t i;

	for (i = 0; i < 7; i++)
		states[i] = (struct ls_state){ .bytes = bytes[i], .kind = LOCKSTEP_REPLICATED };
	CU_ASSERT(!ls_states_deal(states, 7, 1, 3, NULL));
	for (i = 0; i < 7; i++)
		CU_ASSERT_EQUAL(states[i].owner, want[i]);
}

static void world_1(void)
{
	CU_ASSERT_EQUAL(world_run(1), 0);
}

static void world_3(void)
{
	CU_ASSERT_EQUAL(world_run(3), 0);
}

int main(void)
{
	CU_pSuite suite;
	unsigned failed;

	if (getenv(AGENT_MODE))
		return cmd_agent(1, (char *[]){ "agent", NULL });
	if (getenv(RANK_MODE))
		return rank_mode();
	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	suite = CU_add_suite("rank", NULL, NULL);
	CU_add_test(suite, "who writes what", test_deal);
	CU_add_test(suite, "a world of 1", world_1);
	CU_add_test(suite, "a world of 3", world_3);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures() + (CU_get_number_of_tests_run() == 0);
	CU_cleanup_registry();
	return failed != 0;
}
