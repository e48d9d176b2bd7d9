/* killsave.c -- the program that tests/e2e/kill_every_io.sh kills: one rank, one checkpoint kept.
 *
 *     killsave save URI [FLOATS]    save step 1; armed: save step 2 over it, which prunes step 1
 *     killsave next URI [FLOATS]    restore, check that it is one step's state and no mix, print that step; save step 3
 *
 * Each of TENSORS tensors has FLOATS elements, whose values tell step, tensor and place: more tensors than one pwritev takes, so
 * that a shard is also killed half-way. The sampler tells the step, too: its place is in the manifest, not in the shard. */
#include "lockstep/lockstep.h"
#include "tests/kill/killat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TENSORS = 70 };

static struct lockstep *ls;
static float *tensors[TENSORS];
static int64_t floats = 250;

static void need(lockstep_status st, const char *doing, const struct lockstep_err *err)
{
	if (!st)
		return;
	fprintf(stderr, "killsave: cannot %s: %s\n", doing, err->text);
	exit(1);
}

static float value(int64_t step, int tensor, int64_t i)
{
	return (float)(step * 1000000 + tensor * 1000 + i % 1000);
}

static void train_to(int64_t step)
{
	int64_t i, sample;
	int t;

	for (t = 0; t < TENSORS; t++)
		for (i = 0; i < floats; i++)
			tensors[t][i] = value(step, t, i);
	lockstep_sampler_next(ls, &sample);
}

static void save(int64_t step)
{
	struct lockstep_err err;

	train_to(step);
	need(lockstep_save(ls, step, &err), "save", &err);
}

static void start(const char *uri)
{
	/* One sample in the data: step N uses epoch N - 1. */
	struct lockstep_options opt = { .checkpoint_uri = uri, .keep = 1, .samples = 1, .batch = 1 };
	struct lockstep_err err;
	char name[16];
	int t;

	need(lockstep_start(&opt, &ls, &err), "start", &err);
	for (t = 0; t < TENSORS; t++) {
		tensors[t] = calloc((size_t)floats, sizeof(float));
		if (!tensors[t])
			abort();
		snprintf(name, sizeof(name), "t%d", t);
		need(lockstep_state_add(ls, name, tensors[t], LOCKSTEP_F32, 1, &floats,
			     t % 2 ? LOCKSTEP_REPLICATED : LOCKSTEP_PRIVATE, &err),
			"add state", &err);
	}
}

static int restore(void)
{
	struct lockstep_err err;
	int64_t step, i, bad = 0;
	int t;

	need(lockstep_restore(ls, &step, &err), "restore", &err);
	for (t = 0; t < TENSORS; t++)
		for (i = 0; i < floats; i++)
			bad += tensors[t][i] != value(step, t, i);
	printf("%lld\n", (long long)step);
	if (!bad && lockstep_sampler_epoch(ls) == step - 1)
		return 0;
	fprintf(stderr, "killsave: step %lld is a mix: %lld values of other steps, sampler in epoch %lld\n", (long long)step,
		(long long)bad, (long long)lockstep_sampler_epoch(ls));
	return 1;
}

int main(int argc, char **argv)
{
	int t, code = 0;

	if (argc < 3 || (strcmp(argv[1], "save") && strcmp(argv[1], "next")))
		return 2;
	if (argc > 3)
		floats = strtoll(argv[3], NULL, 10);
	start(argv[2]);
	if (!strcmp(argv[1], "save")) {
		save(1);
		if (killat_arm)
			killat_arm();
		save(2);
		if (killat_disarm)
			killat_disarm();
	} else {
		code = restore();
		if (!code)
			save(3);
	}
	lockstep_finish(ls);
	for (t = 0; t < TENSORS; t++)
		free(tensors[t]);
	return code;
}
