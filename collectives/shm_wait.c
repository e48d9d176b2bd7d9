/* shm_wait.c -- telling and waiting in shared memory; see shm.h.
 *
 * How long to spin before a yield, and to yield before sleep, depends on whether every rank of the node has a core: where it has
 * not, a spinning rank keeps the one it waits for from running. */
#include "collectives/shm.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define FIRST_SLEEP_NS 1000000L /* a tell without a fence may be missed for so long: ls_shm_cell's reader */
#define SLEEP_NS 50000000L

static void relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static void wake(atomic_uint *bell)
{
	atomic_fetch_add(bell, 1);
	syscall(SYS_futex, bell, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void ls_shm_tell(struct shm_comm *c, atomic_ullong *counter, uint64_t value)
{
	int r;

	atomic_exchange(counter, value); /* also the fence before the look at sleepers */
	for (r = 0; r < c->base.world; r++)
		if (atomic_load_explicit(&c->ranks[r].sleepers, memory_order_relaxed) && r != c->base.rank)
			wake(&c->ranks[r].bell);
}

bool ls_shm_all(struct shm_comm *c, size_t offset, uint64_t value)
{
	int r;

	for (r = 0; r < c->base.world; r++)
		if (r != c->base.rank &&
			atomic_load_explicit((atomic_ullong *)((char *)&c->ranks[r] + offset), memory_order_acquire) < value)
			return false;
	return true;
}

static bool alive(struct shm_comm *c, int rank)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = rank, .l_len = 1 };

	return fcntl(c->control_fd, F_GETLK, &l) < 0 || l.l_type != F_UNLCK;
}

/* What a dead rank told before it died must still be seen: the first look only remembers. And who finds one dead leaves, too: the
 * first finder's word is kept for the others, lest they blame him. */
ls_status ls_shm_look_for_dead(struct shm_comm *c, struct ls_pause *w, struct ls_err *err)
{
	const struct shm_rank *dead;
	int r, first = 0;

	for (r = 0; r < c->base.world && (r == c->base.rank || alive(c, r)); r++)
		;
	if (r == c->base.world)
		return LS_OK;
	if (!w->doomed) {
		w->doomed = true;
		return LS_OK;
	}
	if (!atomic_compare_exchange_strong(&c->ranks[0].lost, &first, r + 1))
		r = first - 1;
	dead = &c->ranks[r];
	ls_fail(err, LS_RANK_LOST, 0, "rank %d (pid %d), on this node, %s: this attempt cannot go on", dead->global, (int)dead->pid,
		atomic_load(&dead->left) ? "has left the group" : "is dead");
	if (err)
		err->rank = dead->global;
	return LS_RANK_LOST;
}

ls_status ls_shm_pause(struct ls_comm *base, struct ls_pause *w, struct ls_err *err)
{
	struct shm_comm *c = shm_of(base);
	struct shm_rank *me = &c->ranks[c->base.rank];
	struct timespec limit = { 0, w->slept < 3 ? FIRST_SLEEP_NS : SLEEP_NS };
	unsigned round = w->rounds++;

	if (round < c->spins) {
		relax();
		return LS_OK;
	}
	if (round < c->spins + c->yields) {
		sched_yield();
		return LS_OK;
	}
	if (!w->armed) {
		w->armed = true;
		w->bell = atomic_load(&me->bell);
		atomic_fetch_add(&me->sleepers, 1);
		return LS_OK;
	}
	if (syscall(SYS_futex, &me->bell, FUTEX_WAIT, w->bell, &limit, NULL, 0) < 0 && errno == ETIMEDOUT && w->slept++ >= 3)
		return ls_shm_look_for_dead(c, w, err);
	w->bell = atomic_load(&me->bell);
	return LS_OK;
}

void ls_shm_resume(struct ls_comm *base, struct ls_pause *w)
{
	if (w->armed)
		atomic_fetch_sub(&shm_of(base)->ranks[base->rank].sleepers, 1);
}

void ls_shm_kick(struct ls_comm *base)
{
	struct shm_rank *me = &shm_of(base)->ranks[base->rank];

	if (atomic_load(&me->sleepers))
		wake(&me->bell);
}
