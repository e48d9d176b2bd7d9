/* test_rank.c -- the life of a rank with real MPI processes: checkpoints that come back, are passed over or cannot
 * be written, and stops that all ranks make together. Every row runs on all ranks; each checks that all were told
 * the same. */
#include "core/io.h"
#include "tests/unit/world.h"
#include "worker/rank.h"

#include <CUnit/Basic.h>

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

enum { N = 24 };

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

/* Rank 0 spoils a file of a checkpoint: 'x' flips a byte, 't' cuts it, 'd' deletes it. */
static void spoil(long long step, const char *file, char how)
{
	char path[600];
	int fd;

	together();
	snprintf(path, sizeof(path), "%s/step-%012lld/%s", dir, step, file);
	if (world->rank == 0 && how == 'd') {
		check(!unlink(path), "spoil", path);
	} else if (world->rank == 0) {
		char byte = 0;

		fd = open(path, O_RDWR);
		check(fd >= 0 && ls_pread_all(fd, &byte, 1, 300) == 1, "spoil", path);
		byte ^= 1;
		check(how == 'x' ? !ls_pwrite_all(fd, &byte, 1, 300) : !ftruncate(fd, 200), "spoil", path);
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

		save_at(ls, 10);
		save_at(ls, 20);
		lockstep_sampler_next(ls, mine.samples);
		save_at(ls, 30);
		lockstep_sampler_next(ls, expected);
		lockstep_finish(ls);
		if (spoilt[i].file) {
			snprintf(file, sizeof(file), "%s", spoilt[i].file);
			if (strchr(file, 'L'))
				*strchr(file, 'L') = (char)('0' + world->world - 1);
			spoil(spoilt[i].step, file, spoilt[i].how);
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
	spoil(10, "rank-00000.safetensors", 'x');
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
	snprintf(path, sizeof(path), "%s/step-%012d", dir, 20);
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
		check(lockstep_save(ls, 30, &err) == LOCKSTEP_AGAIN && strstr(err.text, "does not see it") &&
				err.rank == world->world - 1,
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
	long long *steps = NULL;
	size_t n = 0;
	int step;

	setenv("LOCKSTEP_CHECKPOINT_STEPS", "2", 1);
	setenv("LOCKSTEP_CHECKPOINT_KEEP", "2", 1);
	ls = open_usual();
	for (step = 1; step <= 7; step++)
		check(!lockstep_step_end(ls, step, 0.5, 4, &err), "a step", err.text);
	if (world->rank == 0)
		check(!ls_ckpt_list(ls->store, &steps, &n, NULL) && n == 2 && steps[0] == 6 && steps[1] == 4,
			"every second step, two kept", "");
	free(steps);
	lockstep_finish(ls);
	setenv("LOCKSTEP_CHECKPOINT_STEPS", "0", 1);
	setenv("LOCKSTEP_CHECKPOINT_SECONDS", "1", 1);
	ls = open_usual();
	for (step = 8; step <= 10; step++) {
		if (step == 9)
			usleep(1100 * 1000);
		check(!lockstep_step_end(ls, step, 0.5, 4, &err), "a step", err.text);
	}
	check(ls->newest == 10, "a second passed in step 9: saved after step 10", "");
	lockstep_finish(ls);
	unsetenv("LOCKSTEP_CHECKPOINT_STEPS");
	unsetenv("LOCKSTEP_CHECKPOINT_SECONDS");
	unsetenv("LOCKSTEP_CHECKPOINT_KEEP");
	fresh_directory();
}

static const struct {
	const char *says, *name, *value, *want;
} environments[] = {
	{ "another world than planned", "WORLD_SIZE", "99", "the launcher planned WORLD_SIZE=99" },
	{ "other ranks than planned", "RANK", "98", "the launcher planned RANK=98" },
	{ "an interval that is no number", "LOCKSTEP_CHECKPOINT_STEPS", "1O0",
		"LOCKSTEP_CHECKPOINT_STEPS=1O0: want a whole number" },
	{ "an unknown backend", "LOCKSTEP_BACKEND", "nvlink", "no such backend; this build has: mpi" },
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
		states[i] = (struct ls_state){ .bytes = bytes[i], .replicated = true };
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
