/* rows.c -- a program for rows.sh: state of all kinds, a rank that dies, and another split of the rows after the restart.
 *
 * Every value says which step wrote it. Attempt 0 takes snapshots and rank 1 dies after step 23; later attempts restore, compare, and leave
 * with 0 if all is as it was after the last snapshot. */
#include "lockstep/lockstep.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ROWS = 12, WIDE = 4, N = 8, DIES_AT = 23, SNAPSHOT = 20 };

static float rows[ROWS][WIDE], common[N], private[N];
static int64_t first, count;
static int rank;

/* Write what belongs to `step`, or compare with it. */
static int touch(int64_t step, int compare)
{
	int wrong = 0, i, k;

	for (i = 0; i < count; i++)
		for (k = 0; k < WIDE; k++) {
			float want = (float)((first + i) * 100 + k + step);

			wrong += compare && rows[i][k] != want;
			rows[i][k] = want;
		}
	for (i = 0; i < N; i++) {
		wrong += compare && (common[i] != (float)(step + i) || private[i] != (float)(step + i + 1000 * rank));
		common[i] = (float)(step + i);
		private[i] = (float)(step + i + 1000 * rank);
	}
	return wrong;
}

int main(void)
{
	struct lockstep_options opt = { 0 };
	struct lockstep_err err = { 0 };
	int again = atoi(getenv("LOCKSTEP_ATTEMPT")) > 0, wrong;
	int64_t step, shape[2] = { 0, WIDE }, n = N;
	struct lockstep *ls;

	if (lockstep_start(&opt, &ls, &err))
		return 2;
	rank = lockstep_rank(ls);
	count = ROWS / lockstep_world_size(ls);
	first = rank * count;
	if (again) { /* 3 rows and the rest */
		count = rank == 0 ? 3 : rank == 1 ? ROWS - 3 : 0;
		first = rank == 0 ? 0 : rank == 1 ? 3 : ROWS;
	}
	shape[0] = count;
	if (lockstep_state_add_sharded(ls, "rows", rows, LOCKSTEP_F32, 2, shape, first, ROWS, &err) ||
		lockstep_state_add(ls, "common", common, LOCKSTEP_F32, 1, &n, LOCKSTEP_REPLICATED, &err) ||
		lockstep_state_add(ls, "private", private, LOCKSTEP_F32, 1, &n, LOCKSTEP_PRIVATE, &err) ||
		lockstep_restore(ls, &step, &err)) {
		fprintf(stderr, "rows: %s\n", err.text);
		return 3;
	}
	if (again) {
		wrong = touch(step, 1);
		printf("step %lld, %d wrong\n", (long long)step, wrong);
		lockstep_finish(ls);
		return step != SNAPSHOT || wrong;
	}
	for (step = 1; step <= DIES_AT + 1; step++) {
		touch(step, 0);
		if (lockstep_step_end(ls, step, 1, 1, &err))
			return 4;
		if (step == DIES_AT && rank == 1)
			raise(SIGKILL);
	}
	pause(); /* the launcher ends it */
	return 5;
}
