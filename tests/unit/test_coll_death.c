/* test_coll_death.c -- a rank that dies, wherever it is, is a sentence to all others, soon, and never a hang; one that is merely silent is
 * waited for.
 *
 * "Soon" is the world's time limit: no check here is faster or slower by the clock. The seed of what is random is printed. */
#include "tests/unit/coll_world.h"

#include <CUnit/Basic.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum { LARGE = 2 << 20 };

/* What kills the rank, and where it and the others are then. */
enum moment { BEFORE_OPEN, BEFORE_PLAN, BEFORE_START, STARTED, WHILE_OTHERS_SLEEP, EXITS, LEAVES, LEAVES_A_CHILD, FROM_OUTSIDE };

struct scene {
	const char *says;
	enum moment moment;
	int ranks, victim;
	enum ls_progress progress;
	size_t count;        /* of the all-reduces */
	long after_us;       /* FROM_OUTSIDE */
};

static const char *name_of(const struct scene *s)
{
	static char text[200];

	snprintf(text, sizeof(text), "%s; %d ranks, rank %d, count %zu%s, after %ld us", s->says, s->ranks, s->victim, s->count,
		s->progress ? ", a progress thread" : "", s->after_us);
	return text;
}

/* The child holds every descriptor and mapping of the victim, and lives until the whole world has ended. */
static void leave_a_child(struct world *w)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, 0);
		for (;;)
			pause();
	}
	w->flag[0] = pid;
}

static void die(struct world *w, const struct scene *s, enum moment now, struct ls_comm *c)
{
	if (my_rank != s->victim || now != s->moment)
		return;
	if (s->moment == EXITS)
		_exit(0);
	if (s->moment == LEAVES) {
		ls_comm_close(c, false);
		while (!w->flag[1]) /* alive until the others have noticed */
			nap_us(1000);
		exit(0);
	}
	if (s->moment == LEAVES_A_CHILD)
		leave_a_child(w);
	if (s->moment == WHILE_OTHERS_SLEEP)
		nap_us(300000); /* spinning ends long before */
	raise(SIGKILL);
}

static ls_status reduce_for_ever(struct world *w, const struct scene *s, struct ls_comm *c, float *buf, struct ls_err *err)
{
	struct ls_coll coll = { LS_ALL_REDUCE, LS_F32, LS_MAX, 0, s->count, buf, buf };
	static struct ls_request *p; /* in flight until the process ends: it cannot be freed */
	ls_status st;
	int i;

	die(w, s, BEFORE_PLAN, c);
	st = ls_request_make(c, &coll, &p, err);
	for (i = 0; !st; i++) {
		if (i == 3) {
			die(w, s, BEFORE_START, c);
			die(w, s, WHILE_OTHERS_SLEEP, c);
			die(w, s, EXITS, c);
			die(w, s, LEAVES, c);
			die(w, s, LEAVES_A_CHILD, c);
		}
		st = ls_request_start(p, err);
		if (i == 5)
			die(w, s, STARTED, c);
		if (!st)
			st = ls_request_wait(p, err);
	}
	return st;
}

static void until_death(struct world *w)
{
	const struct scene *s = w->arg;
	struct ls_err err = LS_ERR_INIT, later = LS_ERR_INIT;
	struct ls_comm *c = NULL;
	float *buf = calloc(LARGE, sizeof(*buf));
	ls_status st;

	doing("%s", name_of(s));
	die(w, s, BEFORE_OPEN, NULL);
	st = world_try_open(w, (struct ls_comm_options){ .progress = s->progress, .progress_cpu = -1 }, &c, &err);
	if (!st)
		st = reduce_for_ever(w, s, c, buf, &err);
	check(st == LS_RANK_LOST || (!c && st == LS_NODE_LOST), "%s: %s: %s", name_of(s), ls_status_name(st), err.text);
	if (c) {
		char named[16];

		snprintf(named, sizeof(named), "rank %d", s->victim);
		check(strstr(err.text, named) && err.rank == s->victim, "%s: %s (rank %d)", name_of(s), err.text, err.rank);
		check(ls_run_barrier(c, &later) == LS_RANK_LOST && strstr(later.text, named), "%s: afterwards: %s", name_of(s), later.text);
	}
	ls_comm_close(c, false);
	free(buf);
	w->flag[1] = 1;
}

static void kill_it(struct world *w)
{
	const struct scene *s = w->arg;

	if (s->moment != FROM_OUTSIDE)
		return;
	nap_us(s->after_us);
	kill(w->pid[s->victim], SIGKILL);
}

static void end_the_child(struct world *w)
{
	if (w->flag[0])
		kill(w->flag[0], SIGKILL);
}

static void run(struct scene s)
{
	struct world_options opt = { .ranks = s.ranks, .scene = until_death, .meddle = kill_it, .after = end_the_child, .arg = &s };
	int failed;

	opt.may_die[s.victim] = true;
	failed = world_run(&opt);
	CU_ASSERT_EQUAL(failed, 0);
}

static const struct scene moments[] = {
	{ "dies before the group is open", BEFORE_OPEN, 3, 1, LS_PROGRESS_CALLS, 10, 0 },
	{ "dies before it plans", BEFORE_PLAN, 3, 2, LS_PROGRESS_CALLS, 10, 0 },
	{ "dies before it starts", BEFORE_START, 2, 0, LS_PROGRESS_CALLS, 10, 0 },
	{ "the same, of many", BEFORE_START, 5, 3, LS_PROGRESS_CALLS, LARGE, 0 },
	{ "dies after it started", STARTED, 2, 1, LS_PROGRESS_CALLS, LARGE, 0 },
	{ "the same, with a thread", STARTED, 3, 1, LS_PROGRESS_THREAD, LARGE, 0 },
	{ "dies while the others sleep", WHILE_OTHERS_SLEEP, 3, 0, LS_PROGRESS_CALLS, 10, 0 },
	{ "the same, with a thread", WHILE_OTHERS_SLEEP, 3, 2, LS_PROGRESS_THREAD, LARGE, 0 },
	{ "ends as if all were well", EXITS, 3, 1, LS_PROGRESS_CALLS, 10, 0 },
	{ "leaves the group, and lives", LEAVES, 3, 1, LS_PROGRESS_CALLS, 10, 0 },
	{ "a child of it lives on", LEAVES_A_CHILD, 3, 1, LS_PROGRESS_CALLS, 10, 0 },
};

static void test_moments(void)
{
	size_t i;

	for (i = 0; i < COUNT(moments); i++)
		run(moments[i]);
}

/* From before the group is open until deep in the operations. */
static void test_any_moment(void)
{
	unsigned seed = (unsigned)getpid();
	int i;

	srand(seed);
	for (i = 0; i < 40; i++) {
		struct scene s = { "killed from outside", FROM_OUTSIDE, 2 + rand() % 4, 0, rand() % 3 == 0 ? LS_PROGRESS_THREAD : LS_PROGRESS_CALLS,
			rand() % 2 ? 10 : (size_t)(rand() % LARGE), rand() % (i % 2 ? 40000 : 4000) };

		s.victim = rand() % s.ranks;
		run(s);
	}
}

/* --- silence ----------------------------------------------------------------------------------------------------------------- */

static void through_silence(struct world *w)
{
	struct ls_comm *c = world_open(w, (struct ls_comm_options){ .progress_cpu = -1 });
	struct ls_err err = LS_ERR_INIT;
	ls_status st = LS_OK;
	int i;

	for (i = 0; !st && i < 2000; i++) {
		w->flag[my_rank] = i;
		st = ls_run_barrier(c, &err);
	}
	check(!st, "a stopped rank was given up: %s", err.text);
	ls_comm_close(c, true);
}

/* Long enough for the others to look for the dead many times. */
static void stop_it(struct world *w)
{
	while (w->flag[1] < 10 && !w->gone[1])
		nap_us(1000);
	kill(w->pid[1], SIGSTOP);
	nap_us(2500000);
	kill(w->pid[1], SIGCONT);
}

static void test_silence(void)
{
	CU_ASSERT_EQUAL(world_run(&(struct world_options){ .ranks = 3, .scene = through_silence, .meddle = stop_it }), 0);
}

int main(void)
{
	unsigned failed;

	CU_initialize_registry();
	CU_pSuite suite = CU_add_suite("coll_death", NULL, NULL);

	CU_add_test(suite, "a rank dies, at every moment of its life", test_moments);
	CU_add_test(suite, "a rank dies, at any moment", test_any_moment);
	CU_add_test(suite, "a stopped rank is waited for", test_silence);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed > 0;
}
