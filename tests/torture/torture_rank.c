/* torture_rank.c -- no fault at any one call makes a rank crash, hang, begin from nothing, or lose a published checkpoint.
 *
 * For n = 1, 2, … until nothing is left to fail: the store holds checkpoint 10; a rank starts, restores it, saves 20, ends a step and
 * finishes, while the n-th call fails, in whichever of its threads. Afterwards a reader finds 10 or 20 whole, 20 if that was said to be
 * saved; the next save succeeds and leaves a store with nothing in it but itself.
 *
 * A world of one, for MPI's own calls are not seen: what the others hear of a fault is tests/unit/test_rank.c's. */
#include "core/ckpt.h"
#include "core/io.h"
#include "lockstep/lockstep.h"
#include "tests/torture/fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FLOATS = 300, PATIENCE_S = 60 };

static char dir[4200], uri[4300];
static float weight[FLOATS];
static double mean;
static uint8_t rng[3];

static void set_values(int from)
{
	int i;

	for (i = 0; i < FLOATS; i++)
		weight[i] = (float)(from * 1000 + i);
	mean = from + 0.5;
	memset(rng, from, sizeof(rng));
}

static bool values_are(int from)
{
	int i;

	for (i = 0; i < FLOATS && weight[i] == (float)(from * 1000 + i); i++)
		;
	return i == FLOATS && mean == from + 0.5 && rng[0] == from && rng[2] == from;
}

static lockstep_status begin(struct lockstep **ret, int64_t *ret_step, struct lockstep_err *err)
{
	struct lockstep_options opt = { .seed = 7, .samples = 100, .batch = 2, .checkpoint_uri = uri, .keep = 1 };
	int64_t floats = FLOATS, rows[2] = { 1, 1 }, three = 3;
	lockstep_status st = lockstep_start(&opt, ret, err);

	if (!st)
		st = lockstep_state_add(*ret, "w", weight, LOCKSTEP_F32, 1, &floats, LOCKSTEP_REPLICATED, err);
	if (!st)
		st = lockstep_state_add_sharded(*ret, "m", &mean, LOCKSTEP_F64, 2, rows, 0, 1, err);
	if (!st)
		st = lockstep_state_add(*ret, "rng", rng, LOCKSTEP_U8, 1, &three, LOCKSTEP_PRIVATE, err);
	if (!st)
		st = lockstep_restore(*ret, ret_step, err);
	return st;
}

/* What a program does; true if checkpoint 20 was said to be saved. */
static bool life(enum fault_kind kind)
{
	struct lockstep_err err = { 0 };
	struct lockstep *ls = NULL;
	int64_t step = -1;
	bool saved = false;
	lockstep_status st = begin(&ls, &step, &err);

	if (!st) {
		fault_check(step == 10 && values_are(10), "what is restored is what is there", "");
		set_values(20);
		st = lockstep_save(ls, 20, &err);
		if (st == LOCKSTEP_AGAIN)
			st = lockstep_save(ls, 20, &err);
		saved = !st;
		fault_check(!st || (st == LOCKSTEP_AGAIN && kind == FAULT_FULL), "a save that fails is no more than that, and works the second time",
			err.text);
		st = lockstep_step_end(ls, 21, 0.5, 2, &err);
		fault_check(!st, "training goes on", err.text);
	}
	lockstep_finish(ls);
	return saved;
}

/* Without faults: what is there, one more save, and then only that. */
static void look(bool saved)
{
	struct ls_store *s = NULL;
	struct ls_objects all = { 0 };
	struct lockstep_err err = { 0 };
	struct lockstep *ls = NULL;
	int64_t step = -1;
	lockstep_status st;

	set_values(0);
	st = begin(&ls, &step, &err);
	fault_check(!st && (step == 20 || (step == 10 && !saved)) && values_are((int)step), "a whole checkpoint, and none is lost", err.text);
	set_values(30);
	fault_check(!st && !lockstep_save(ls, 30, &err), "the next save succeeds", err.text);
	lockstep_finish(ls);
	fault_check(!ls_store_open(uri, &s, NULL) && !ls_store_list(s, "", &all, NULL), "list", "");
	fault_check(all.n == 3, "a claim, a shard and a manifest are all that stays", all.n ? all.v[all.n - 1].key : "");
	ls_objects_release(&all);
	ls_store_close(s);
}

static void prepare(void)
{
	struct lockstep_err err = { 0 };
	struct lockstep *ls = NULL;
	int64_t step;

	ls_remove_tree(dir, NULL);
	fault_check(!begin(&ls, &step, &err), "prepare", err.text);
	set_values(10);
	fault_check(!lockstep_save(ls, 10, &err), "prepare", err.text);
	lockstep_finish(ls);
}

static void scene(const char *says, enum fault_kind kind)
{
	unsigned n;
	bool fired = true, saved;

	for (n = 1; fired; n++) {
		prepare();
		alarm(PATIENCE_S); /* its end is SIGALRM: a hang */
		fault_arm(kind, n);
		saved = life(kind);
		fired = fault_disarm();
		look(saved);
		alarm(0);
		fault_check_leaks();
	}
	fault_count(says, n - 1);
}

void __lsan_disable(void) __attribute__((weak));
void __lsan_enable(void) __attribute__((weak));

int main(void)
{
	const char *tmp = getenv("TMPDIR");
	struct lockstep *world = NULL;
	bool started;
	int failed;

	setenv("LOCKSTEP_EVENT_FD", "-1", 1); /* nothing is told, also not to people */
	snprintf(dir, sizeof(dir), "%s/torture-rank-%d", tmp ? tmp : "/tmp", (int)getpid());
	snprintf(uri, sizeof(uri), "file://%s", dir);
	if (__lsan_disable)
		__lsan_disable(); /* MPI's plug-ins keep memory, and are unloaded before it could be told whose */
	started = !lockstep_start(&(struct lockstep_options){ 0 }, &world, NULL); /* open throughout, so that MPI stays */
	if (__lsan_enable)
		__lsan_enable();
	if (!started)
		return 1;
	scene("start, restore, save, finish: a call fails", FAULT_ONCE);
	scene("start, restore, save, finish: a call is interrupted", FAULT_EINTR);
	scene("start, restore, save, finish: the disk is full from there on", FAULT_FULL);
	scene("start, restore, save, finish: a read or write is short", FAULT_SHORT);
	ls_remove_tree(dir, NULL);
	lockstep_finish(world);
	failed = fault_report("torture_rank");
	fflush(NULL);
	_exit(failed); /* what MPI's end leaves is not ours to account for, either */
}
