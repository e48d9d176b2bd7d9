/* coll_world.h -- a group of real processes on this machine, without MPI: what tests of the collectives fork.
 *
 *     static void scene(struct world *w) { struct ls_comm *c = world_open(w, &opt); …; check(ok, "what it means"); ls_comm_close(c, true); }
 *     CU_ASSERT_EQUAL(world_run(&(struct world_options){ .ranks = 3, .scene = scene }), 0);
 *
 * Every rank is a process of its own, with `my_rank`, its own end (so that a sanitizer looks for leaks in it), and a time limit. Its first
 * failed check is printed; of one that hangs, what it did last. The ranks find each other by shared memory that existed before them.
 * Invariant: no rank outlives world_run. */
#ifndef LS_TEST_COLL_WORLD_H
#define LS_TEST_COLL_WORLD_H

#include "collectives/backend.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORLD_MAX = 8, WORLD_SLOT = 16 << 10, WORLD_TEXT = 1400, WORLD_LIMIT_S = 100 };

struct world {
	int ranks;
	const void *arg;                 /* the scene's */
	atomic_int flag[WORLD_MAX];      /* the scene's */
	atomic_int pid[WORLD_MAX];
	atomic_bool gone[WORLD_MAX];
	atomic_uint arrived[WORLD_MAX];  /* how many all-gathers this rank has come to */
	int failed[WORLD_MAX];
	char said[WORLD_MAX][WORLD_TEXT], doing[WORLD_MAX][WORLD_TEXT];
	char slot[2][WORLD_MAX][WORLD_SLOT]; /* a rank comes to the n+2nd when all have read the nth */
};

struct world_options {
	int ranks;
	void (*scene)(struct world *w);  /* in each rank */
	void (*meddle)(struct world *w); /* in the process that waits for them; or NULL */
	void (*after)(struct world *w);  /* the same, when all have ended */
	const void *arg;
	bool may_die[WORLD_MAX];         /* by a signal */
};

static struct world *here; /* in a rank */
static int my_rank = -1;

__attribute__((format(printf, 2, 3))) static inline bool check(bool ok, const char *format, ...)
{
	va_list ap;

	if (ok || here->failed[my_rank]++)
		return ok;
	va_start(ap, format);
	vsnprintf(here->said[my_rank], WORLD_TEXT, format, ap);
	va_end(ap);
	return false;
}

__attribute__((format(printf, 1, 2))) static inline void doing(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(here->doing[my_rank], WORLD_TEXT, format, ap);
	va_end(ap);
}

static inline void nap_us(long us)
{
	nanosleep(&(struct timespec){ us / 1000000, us % 1000000 * 1000 }, NULL);
}

static inline ls_status world_allgather(void *ctx, const void *mine, void *ret_all, size_t bytes, struct ls_err *err)
{
	static bool failed;
	struct world *w = ctx;
	unsigned nth = w->arrived[my_rank];
	int r;

	if (failed) /* what the others gather is no longer in step with this rank */
		check(false, "an all-gather after one that failed");
	if (bytes > WORLD_SLOT)
		return ls_fail(err, LS_USAGE, 0, "coll_world.h: more than %d bytes", WORLD_SLOT);
	memcpy(w->slot[nth % 2][my_rank], mine, bytes);
	w->arrived[my_rank]++;
	for (r = 0; r < w->ranks; r++) {
		while (w->arrived[r] <= nth) {
			failed = w->gone[r];
			if (failed)
				return ls_fail(err, LS_RANK_LOST, 0, "coll_world.h: rank %d is gone", r);
			nap_us(50);
		}
		memcpy((char *)ret_all + (size_t)r * bytes, w->slot[nth % 2][r], bytes);
	}
	return LS_OK;
}

/* All ranks are here: also where no comm is, or none works. */
static inline void world_meet(struct world *w)
{
	char mine = 0, all[WORLD_MAX];

	world_allgather(w, &mine, all, 1, NULL);
}

static inline ls_status world_try_open(struct world *w, struct ls_comm_options opt, struct ls_comm **ret, struct ls_err *err)
{
	static struct ls_bootstrap boot;

	boot = (struct ls_bootstrap){ my_rank, w->ranks, world_allgather, w };
	opt.bootstrap = &boot;
	if (!opt.progress)
		opt.progress_cpu = -1;
	return ls_comm_open(&opt, ret, err);
}

/* Without a group a scene has nothing to test. */
static inline struct ls_comm *world_open(struct world *w, struct ls_comm_options opt)
{
	struct ls_err err = LS_ERR_INIT;
	struct ls_comm *c = NULL;

	if (!check(!world_try_open(w, opt, &c, &err), "open: %s", err.text))
		exit(1);
	return c;
}

static inline void world_rank(struct world *w, int rank, const struct world_options *opt)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	here = w;
	my_rank = rank;
	opt->scene(w);
	exit(w->failed[rank] != 0);
}

/* Says what is wrong with a rank that ended; 1 if anything is. */
static inline int world_verdict(struct world *w, int rank, int status, bool may_die)
{
	if (w->failed[rank])
		printf("\n    rank %d of %d: %s", rank, w->ranks, w->said[rank]);
	else if (WIFSIGNALED(status) && !may_die)
		printf("\n    rank %d of %d: killed by %s; it did: %s", rank, w->ranks, strsignal(WTERMSIG(status)), w->doing[rank]);
	else if (WIFEXITED(status) && WEXITSTATUS(status))
		printf("\n    rank %d of %d: exit code %d; it did: %s", rank, w->ranks, WEXITSTATUS(status), w->doing[rank]);
	else
		return 0;
	return 1;
}

static inline int world_reap(struct world *w, const struct world_options *opt)
{
	time_t end = time(NULL) + WORLD_LIMIT_S;
	int r, left = w->ranks, failed = 0, status;

	while (left > 0) {
		for (r = 0; r < w->ranks; r++) {
			if (w->gone[r] || waitpid(w->pid[r], &status, WNOHANG) <= 0)
				continue;
			failed += world_verdict(w, r, status, opt->may_die[r]);
			w->gone[r] = true;
			left--;
		}
		if (time(NULL) > end) {
			end += WORLD_LIMIT_S;
			for (r = 0; r < w->ranks; r++) {
				if (w->gone[r])
					continue;
				printf("\n    rank %d of %d: hangs; it did: %s", r, w->ranks, w->doing[r]);
				failed++;
				kill(w->pid[r], SIGKILL);
			}
		}
		nap_us(500);
	}
	return failed;
}

/* Memory that all ranks of the worlds to come see. */
static inline void *world_shared(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		abort();
	return p;
}

/* How many ranks failed. */
static inline int world_run(const struct world_options *opt)
{
	struct world *w = world_shared(sizeof(*w));
	int r, failed;

	w->ranks = opt->ranks;
	w->arg = opt->arg;
	fflush(NULL);
	for (r = 0; r < w->ranks; r++) {
		pid_t pid = fork();

		if (pid < 0)
			abort();
		if (!pid)
			world_rank(w, r, opt);
		w->pid[r] = pid;
	}
	if (opt->meddle)
		opt->meddle(w);
	failed = world_reap(w, opt);
	if (opt->after)
		opt->after(w);
	munmap(w, sizeof(*w));
	return failed;
}

#endif
