/* wait_nccl.c -- waiting for NCCL, and how a group ends when somebody is lost; see comm_nccl.h.
 *
 * NCCL notices a lost rank only where a connection to it breaks, and then does not say which it was; on NVLink it may not notice at all. So
 * who waits also looks at the ranks of its node, and at the clock. */
#include "collectives/comm_nccl.h"

#include "core/io.h"
#include "core/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define POLLS 2000      /* before the core is given to others: some 100 us to 1 ms */
#define NAP_NS 20000L   /* the first naps, then longer ones */
#define NAPS 10000
#define LONG_NAP_NS 500000L
#define LOOK_EVERY 200  /* naps: some 100 ms at most */
#define GRACE_S 1.0     /* for a rank that breaks connections while it dies to be found dead */
#define ABORT_S 15.0    /* it frees memory, and joins threads */

static void nap(long ns)
{
	nanosleep(&(struct timespec){ 0, ns }, NULL);
}

struct aborting {
	const struct ls_nccl *nccl;
	ncclComm_t comm;
	atomic_bool done;
};

static void *abort_it(void *arg)
{
	struct aborting *a = arg;

	a->nccl->CommAbort(a->comm);
	atomic_store(&a->done, true);
	return NULL;
}

/* ncclCommAbort may itself never return, where a peer, a proxy thread or the GPU does not answer (github.com/NVIDIA/nccl issues 549, 863,
 * 1777): who waits for a sentence gets it nevertheless. That thread is then left to the end of the process, with what it works on. */
void ls_nccl_abort(struct nccl_comm *c)
{
	struct aborting *a = c->comm ? calloc(1, sizeof(*a)) : NULL;
	double end = ls_clock_s() + ABORT_S;
	pthread_t thread;

	if (a) {
		a->nccl = c->nccl;
		a->comm = c->comm;
	}
	if (!a || ls_thread_spawn(&thread, abort_it, a)) { /* then its kernels end with the process */
		free(a);
	} else {
		while (!atomic_load(&a->done) && ls_clock_s() < end)
			nap(NAP_NS);
		if (atomic_load(&a->done)) {
			pthread_join(thread, NULL);
			free(a);
		} else {
			pthread_detach(thread);
		}
	}
	c->comm = NULL;
}

ls_status ls_nccl_give_up(struct nccl_comm *c, ls_status st, const struct ls_err *err)
{
	if (c->word && err) {
		*c->word = (struct nccl_word){ .status = st, .rank = err->rank };
		snprintf(c->word->text, sizeof(c->word->text), "%.*s", (int)sizeof(c->word->text) - 1, err->text);
		ls_shm_tell(c->shm, &c->shm->ranks[c->shm->base.rank].out, 1);
	}
	if (!c->base.failure) { /* also when it was a start or a plan that failed */
		c->base.failure = st;
		if (err)
			c->base.why = *err;
	}
	ls_nccl_abort(c);
	return st;
}

/* Has another rank of the node given up? Its sentence is ours. */
static ls_status hear(struct nccl_comm *c, struct ls_err *err)
{
	int r;

	for (r = 0; r < c->shm->base.world; r++) {
		const struct shm_rank *other = &c->shm->ranks[r];
		const struct nccl_word *word;

		if (r == c->shm->base.rank || !atomic_load_explicit(&other->out, memory_order_acquire))
			continue;
		word = ls_shm_at(c->shm, r, c->ranks[other->global].word);
		if (word->rank < 0)
			ls_fail(err, (ls_status)word->status, 0, "rank %d on %s: %s", other->global, c->ranks[other->global].host, word->text);
		else
			ls_fail(err, (ls_status)word->status, 0, "%s", word->text);
		if (err)
			err->rank = word->rank;
		return (ls_status)word->status;
	}
	return LS_OK;
}

/* A word before a death: who gave up also leaves. */
static ls_status look(struct nccl_comm *c, struct ls_pause *w, struct ls_err *err)
{
	ls_status st = hear(c, err);

	return st ? st : ls_shm_look_for_dead(c->shm, w, err);
}

/* The progress thread comes without the lock, lest it sleep with it: the caller may be calling NCCL just now, and only one thread may. */
ls_status ls_nccl_pause(struct ls_comm *base, struct ls_pause *w, struct ls_err *err)
{
	bool is_thread = base->threaded && w != &base->waiting;
	struct nccl_comm *c = nccl_of(base);
	struct ls_err own = LS_ERR_INIT;
	ls_status st;

	if (++w->rounds < POLLS)
		return LS_OK;
	nap(w->slept < NAPS ? NAP_NS : LONG_NAP_NS);
	if (++w->slept % LOOK_EVERY)
		return LS_OK;
	err = err ? err : &own; /* the others want to know, even if the caller does not */
	if (is_thread)
		pthread_mutex_lock(&base->lock);
	st = base->failure ? LS_OK : look(c, w, err);
	if (st)
		ls_nccl_give_up(c, st, err);
	if (is_thread)
		pthread_mutex_unlock(&base->lock);
	return st;
}

ls_status ls_nccl_broke(struct nccl_comm *c, ncclResult_t rc, const char *what, struct ls_err *err)
{
	struct ls_err own = LS_ERR_INIT, said = LS_ERR_INIT;
	double end = ls_clock_s() + GRACE_S;
	struct ls_pause w = { 0 };
	ls_status st = ls_nccl_fail(c->nccl, c->comm, rc, what, &said), lost = LS_OK;

	err = err ? err : &own;
	while (st == LS_RANK_LOST && !lost && c->shm->base.world > 1 && ls_clock_s() < end) {
		lost = look(c, &w, err);
		if (!lost)
			nap(10000000L);
	}
	if (!lost)
		*err = said;
	return ls_nccl_give_up(c, lost ? lost : st, err);
}

/* The ranks of this node that have not come to operation `number`. */
static int late_ranks(struct nccl_comm *c, uint64_t number, struct ls_str *ret_names)
{
	int r, n = 0, last = -1;

	for (r = 0; number && r < c->shm->base.world; r++) {
		const struct shm_rank *other = &c->shm->ranks[r];

		if (r == c->shm->base.rank || atomic_load_explicit(&other->in, memory_order_acquire) >= number)
			continue;
		ls_str_addf(ret_names, "%s%d", n++ ? ", " : "", other->global);
		last = other->global;
	}
	return n == 1 ? last : -1;
}

ls_status ls_nccl_late(struct nccl_comm *c, const char *what, uint64_t number, struct ls_err *err)
{
	const char *why = "all ranks are in it: NCCL, a GPU or the network hangs";
	struct ls_err own = LS_ERR_INIT;
	struct ls_str names = { 0 };
	int rank = late_ranks(c, number, &names);

	err = err ? err : &own;
	if (names.len)
		why = "it waits for rank ";
	else if (c->base.nodes > 1)
		why = "all ranks of this node are in it: one of another node is late, or NCCL, a GPU or the network hangs";
	ls_fail(err, LS_RANK_LOST, 0,
		"%s did not end within %.0f s (LOCKSTEP_NCCL_TIMEOUT): %s%s; NCCL_DEBUG=INFO tells more; this attempt cannot go on", what,
		c->limit_s, why, ls_str_text(&names));
	err->rank = rank;
	ls_str_release(&names);
	return ls_nccl_give_up(c, LS_RANK_LOST, err);
}
