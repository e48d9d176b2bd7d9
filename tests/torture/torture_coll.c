/* torture_coll.c -- no fault at any one call of one rank makes a group of two hang, crash, disagree about its end, or compute something wrong.
 *
 * For n = 1, 2, … until nothing is left to fail: two ranks open a group, allocate, make two operations, do them, and close, while the n-th call of
 * one of them fails. Either rank may fail only with a sentence. A rank that fails leaves, as programs do, and the other then ends too: with the right
 * result, or with a sentence of its own. Each world is two processes anew; what they hold at their end is compared with what they held before. */
#include "tests/torture/fault.h"
#include "tests/unit/coll_world.h"

#include <dirent.h>

enum { FLOATS = 50000 };

struct scene {
	enum fault_kind kind;
	unsigned n;
	int victim;
	enum ls_progress progress;
	bool library;
};

static struct {
	atomic_bool fired;
	char call[64];
	unsigned long calls;
	ls_status st[2];
} *told; /* by the ranks */

static int descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static ls_status one_sum(struct ls_comm *c, float *x, size_t n, struct ls_err *err)
{
	struct ls_coll coll = { LS_ALL_REDUCE, LS_F32, LS_SUM, 0, n, x, x };
	static struct ls_request *p; /* one that is in flight at the end cannot be freed */
	ls_status st;
	size_t i;

	for (i = 0; i < n; i++)
		x[i] = (float)(my_rank + 1);
	st = ls_request_make(c, &coll, &p, err);
	if (!st)
		st = ls_request_start(p, err);
	if (!st)
		st = ls_request_wait(p, err);
	for (i = 0; !st && i < n && x[i] == 3; i++)
		;
	check(st || i == n, "element %zu is %g", i, i < n ? x[i] : 0);
	ls_request_free(p);
	p = NULL;
	return st;
}

static ls_status life(struct world *w, const struct scene *s, struct ls_err *err)
{
	static float mine[FLOATS];
	struct ls_comm *c = NULL;
	void *x = mine;
	ls_status st = world_try_open(w, (struct ls_comm_options){ .progress = s->progress, .progress_cpu = -1 }, &c, err);

	if (!st && s->library)
		st = ls_comm_alloc(c, sizeof(mine), &x, err);
	if (!st)
		st = one_sum(c, x, 10, err);
	if (!st)
		st = one_sum(c, x, FLOATS, err);
	ls_comm_close(c, !st);
	return st;
}

static void rank(struct world *w)
{
	const struct scene *s = w->arg;
	struct ls_err err = LS_ERR_INIT;
	unsigned long calls = fault_calls();
	int before = descriptors();
	ls_status st;

	doing("fault %u of rank %d", s->n, s->victim);
	if (my_rank == s->victim)
		fault_arm(s->kind, s->n);
	st = life(w, s, &err);
	if (my_rank == s->victim) {
		snprintf(told->call, sizeof(told->call), "%s", fault_call());
		told->fired = fault_disarm();
		told->calls = fault_calls() - calls;
	}
	told->st[my_rank] = st;
	check(!st || err.text[0], "no sentence");
	check(descriptors() == before, "a descriptor stayed open; %s", err.text);
}

static void torture(const char *says, struct scene s)
{
	struct world_options opt = { .ranks = 2, .scene = rank, .arg = &s };
	bool fired = true;
	char detail[128];

	for (s.n = 1; fired; s.n++) {
		memset(told, 0, sizeof(*told));
		fault_check(world_run(&opt) == 0, says, "see above");
		fired = told->fired;
		fault_add(fired, told->calls);
		snprintf(detail, sizeof(detail), "fault %u, %s of rank %d: %s and %s", s.n, told->call, s.victim, ls_status_name(told->st[0]),
			ls_status_name(told->st[1]));
		fault_check(fired || (!told->st[0] && !told->st[1]), "without a fault all is well", detail);
		fault_check(!told->st[0] || told->st[1] || s.victim == 0, "a rank failed for nothing", detail);
	}
	fault_count(says, s.n - 2);
}

int main(void)
{
	told = world_shared(sizeof(*told));
	torture("a call of rank 0 fails", (struct scene){ FAULT_ONCE, 0, 0, LS_PROGRESS_CALLS, true });
	torture("a call of rank 1 fails", (struct scene){ FAULT_ONCE, 0, 1, LS_PROGRESS_CALLS, false });
	torture("a call of rank 1 fails, with a progress thread", (struct scene){ FAULT_ONCE, 0, 1, LS_PROGRESS_THREAD, true });
	torture("a call of rank 0 is interrupted", (struct scene){ FAULT_EINTR, 0, 0, LS_PROGRESS_CALLS, true });
	return fault_report("torture_coll");
}
