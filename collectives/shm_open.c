/* shm_open.c -- the ranks of one node come to share their memory.
 *
 *     every rank    makes its arena; the node's lowest rank also the control file and a listening socket
 *     vote          all could; the sockets' names and the least arena are known
 *     other ranks   connect, and send their arena: nobody need listen yet
 *     vote          all could: from here on nobody waits for one that has died
 *     lowest rank   <- arena of each other rank;  -> control file and all arenas
 *     every rank    maps, locks its byte
 *     vote          all could
 *
 * A rank that cannot tells why, and all return the same sentence; after a vote that failed nobody votes again. The sockets have abstract names of 128 random bits, and the
 * user at the other end is compared: no file is left behind, whatever ends the ranks. */
#include "collectives/shm.h"
#include "core/io.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LIMIT_MS 60000
#define FDS_AT_ONCE 128            /* the kernel takes 253 in a message */
#define HUGE ((size_t)2 << 20)
#define PAGE ((size_t)4096)
#define ADDRESSES ((size_t)32 << 40) /* of the 128 TiB that a process has, for the arenas of a node */
#define COLOR (PAGE + 256)

struct opening {
	const struct ls_comm_options *opt;
	const struct ls_comm *layout;
	struct shm_comm *c;
	int door;                  /* of the node's lowest rank: listens; of another: to it */
	unsigned char name[16];    /* of the lowest rank's socket */
	int *fds;                  /* every rank's arena */
};

struct vote {
	int status;
	int node, local_rank;
	unsigned char name[16];
	size_t arena_bytes;
	char why[300];
};

/* All could do their part, or all return the first sentence. */
static ls_status vote(struct opening *o, ls_status st, struct ls_err *err)
{
	const struct ls_bootstrap *b = o->opt->bootstrap;
	struct vote mine = { .status = (int)st, .node = o->layout->node, .local_rank = o->layout->local_rank, .arena_bytes = o->c->arena_bytes }, *all;
	ls_status told = LS_OK;
	int r;

	memcpy(mine.name, o->name, sizeof(mine.name));
	if (st)
		snprintf(mine.why, sizeof(mine.why), "%.299s", err ? err->text : "");
	all = calloc((size_t)b->world, sizeof(*all));
	if (!all)
		return ls_fail_oom(err); /* the others wait for this rank's vote until the launcher ends them */
	told = b->allgather(b->ctx, &mine, all, sizeof(mine), err);
	for (r = 0; !told && r < b->world; r++) {
		if (all[r].status)
			told = ls_fail(err, (ls_status)all[r].status, 0,
				"rank %d cannot share memory with the other ranks of its node: %.299s; LOCKSTEP_BACKEND=mpi does without",
				r, all[r].why);
		else if (all[r].node == o->layout->node && all[r].local_rank == 0)
			memcpy(o->name, all[r].name, sizeof(o->name));
		if (all[r].node == o->layout->node && all[r].arena_bytes < o->c->arena_bytes)
			o->c->arena_bytes = all[r].arena_bytes; /* limits may differ; what one rank cannot map is of no use to it */
	}
	free(all);
	return told;
}

static size_t limit_of(int what)
{
	struct rlimit l;

	return getrlimit(what, &l) < 0 || l.rlim_cur == RLIM_INFINITY ? SIZE_MAX : l.rlim_cur;
}

static size_t round_to(size_t bytes, size_t to)
{
	return (bytes + to - 1) / to * to;
}

static ls_status make_file(const char *name, size_t bytes, int *ret, struct ls_err *err)
{
	int fd;

	if (bytes > limit_of(RLIMIT_FSIZE))
		return ls_fail(err, LS_NODE_LOST, 0, "the limit on the size of files (ulimit -f) is below the %zu MiB of shared memory", bytes >> 20);
	fd = memfd_create(name, MFD_CLOEXEC);
	if (fd < 0)
		return ls_fail(err, LS_NODE_LOST, errno, "memfd_create");
	if (ftruncate(fd, (off_t)bytes) < 0) {
		ls_status st = ls_fail(err, LS_NODE_LOST, errno, "%zu MiB of shared memory", bytes >> 20);

		close(fd);
		return st;
	}
	*ret = fd;
	return LS_OK;
}

static socklen_t address(const unsigned char name[16], struct sockaddr_un *ret)
{
	char *p = ret->sun_path + 1;
	int i;

	memset(ret, 0, sizeof(*ret));
	ret->sun_family = AF_UNIX;
	p += sprintf(p, "lockstep-");
	for (i = 0; i < 16; i++)
		p += sprintf(p, "%02x", name[i]);
	return (socklen_t)(p - (char *)ret);
}

static ls_status make_door(struct opening *o, struct ls_err *err)
{
	struct sockaddr_un at;
	socklen_t len;

	if (getrandom(o->name, sizeof(o->name), 0) != sizeof(o->name))
		return ls_fail(err, LS_NODE_LOST, errno, "getrandom");
	len = address(o->name, &at);
	o->door = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (o->door < 0 || bind(o->door, (struct sockaddr *)&at, len) < 0 || listen(o->door, o->layout->local_world) < 0)
		return ls_fail(err, LS_NODE_LOST, errno, "a socket for the ranks of this node");
	return LS_OK;
}

static size_t control_size(const struct shm_comm *c)
{
	size_t n = (size_t)c->base.world;

	return round_to(n * sizeof(struct shm_rank) + n * SHM_RING * sizeof(struct shm_cell) + HUGE + n * (ls_shm_staging_bytes(c) + COLOR), HUGE);
}

/* As much as the machine has, so that no allocation fails for an address; nothing is taken before it is touched. */
static size_t arena_size(int world)
{
	size_t bytes = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE), most = ADDRESSES / (size_t)world;
	size_t files = limit_of(RLIMIT_FSIZE), addresses = limit_of(RLIMIT_AS);

	if (addresses != SIZE_MAX && addresses / 4 / (size_t)world < most)
		most = addresses / 4 / (size_t)world;
	if (files < most)
		most = files;
	return (bytes < most ? bytes : most) / HUGE * HUGE;
}

static ls_status make(struct opening *o, struct ls_err *err)
{
	struct shm_comm *c = o->c;
	ls_status st;

	o->fds = malloc((size_t)c->base.world * sizeof(*o->fds));
	c->arenas = calloc((size_t)c->base.world, sizeof(*c->arenas));
	if (o->fds)
		memset(o->fds, -1, (size_t)c->base.world * sizeof(*o->fds));
	c->records = malloc((size_t)c->base.world * sizeof(*c->records));
	c->src = malloc((size_t)c->base.world * sizeof(*c->src));
	c->dst = malloc((size_t)c->base.world * sizeof(*c->dst));
	if (!o->fds || !c->arenas || !c->records || !c->src || !c->dst)
		return ls_fail_oom(err);
	if (c->arena_bytes == 0)
		return ls_fail(err, LS_NODE_LOST, 0, "the limits on the size of files (ulimit -f) or on addresses (ulimit -v) leave no memory to share");
	st = make_file("lockstep-arena", c->arena_bytes, &c->arena_fd, err);
	o->fds[c->base.rank] = c->arena_fd;
	if (!st && c->base.rank == 0)
		st = make_file("lockstep-control", c->control_bytes, &c->control_fd, err);
	if (!st && c->base.rank == 0)
		st = make_door(o, err);
	return st;
}

/* --- descriptors through a socket ------------------------------------------------------------------------------------ */

union control_message {
	struct cmsghdr head;
	char room[CMSG_SPACE(FDS_AT_ONCE * sizeof(int))];
};

static ls_status send_fds(int s, int number, const int *fds, int n, struct ls_err *err)
{
	union control_message u = { .head = { .cmsg_len = CMSG_LEN((size_t)n * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS } };
	struct iovec iov = { &number, sizeof(number) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = CMSG_SPACE((size_t)n * sizeof(int)) };

	memcpy(CMSG_DATA(&u.head), fds, (size_t)n * sizeof(int));
	return sendmsg(s, &m, MSG_NOSIGNAL) == sizeof(number) ? LS_OK : ls_fail(err, LS_NODE_LOST, errno, "sending shared memory to a rank of this node");
}

static ls_status receive_fds(int s, int *ret_number, int *ret, int n, struct ls_err *err)
{
	union control_message u;
	struct iovec iov = { ret_number, sizeof(*ret_number) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = sizeof(u) };
	struct cmsghdr *head;
	ssize_t len = recvmsg(s, &m, MSG_CMSG_CLOEXEC);

	if (len != sizeof(*ret_number))
		return ls_fail(err, LS_NODE_LOST, len < 0 ? errno : 0, "a rank of this node sent no shared memory: it ended, or waits for more than %d s", LIMIT_MS / 1000);
	head = CMSG_FIRSTHDR(&m);
	if (!head || head->cmsg_type != SCM_RIGHTS || head->cmsg_len != CMSG_LEN((size_t)n * sizeof(int)))
		return ls_fail(err, LS_NODE_LOST, 0, "no room for the descriptors of this node's %d ranks: raise ulimit -n", n);
	memcpy(ret, CMSG_DATA(head), (size_t)n * sizeof(int));
	return LS_OK;
}

static void set_limits(int s)
{
	struct timeval limit = { LIMIT_MS / 1000, 0 };

	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

/* The next rank at the door. Others than this user's are sent away. */
static ls_status admit(struct opening *o, int *ret, struct ls_err *err)
{
	struct pollfd p = { o->door, POLLIN, 0 };
	struct ucred who;
	socklen_t len = sizeof(who);
	int s;

	for (;;) {
		if (poll(&p, 1, LIMIT_MS) <= 0)
			return ls_fail(err, LS_NODE_LOST, 0, "a rank of this node did not come for its memory within %d s", LIMIT_MS / 1000);
		s = accept4(o->door, NULL, NULL, SOCK_CLOEXEC);
		if (s < 0)
			return ls_fail(err, LS_NODE_LOST, errno, "accepting a rank of this node");
		if (getsockopt(s, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 && who.uid == geteuid()) {
			set_limits(s);
			*ret = s;
			return LS_OK;
		}
		close(s);
	}
}

static ls_status give_all(struct opening *o, int s, struct ls_err *err)
{
	int world = o->c->base.world, at, n;
	ls_status st = send_fds(s, 0, &o->c->control_fd, 1, err);

	for (at = 0; !st && at < world; at += n) {
		n = world - at < FDS_AT_ONCE ? world - at : FDS_AT_ONCE;
		st = send_fds(s, at, o->fds + at, n, err);
	}
	return st;
}

static ls_status deal(struct opening *o, struct ls_err *err)
{
	int world = o->c->base.world, n = 0, rank, fd, i;
	int *socks = malloc((size_t)world * sizeof(*socks));
	ls_status st = socks ? LS_OK : ls_fail_oom(err);

	while (!st && n < world - 1) {
		st = admit(o, &socks[n], err);
		if (st)
			break;
		n++;
		st = receive_fds(socks[n - 1], &rank, &fd, 1, err);
		if (!st && (rank < 1 || rank >= world || o->fds[rank] >= 0)) {
			close(fd);
			st = ls_fail(err, LS_NODE_LOST, 0, "a process that is not a rank of this group came for its memory");
		} else if (!st) {
			o->fds[rank] = fd;
		}
	}
	for (i = 0; !st && i < n; i++)
		st = give_all(o, socks[i], err);
	for (i = 0; i < n; i++)
		close(socks[i]);
	close(o->door); /* who still waits behind it must not wait longer */
	o->door = -1;
	free(socks);
	return st;
}

static ls_status knock(struct opening *o, struct ls_err *err)
{
	struct sockaddr_un to;
	socklen_t len = address(o->name, &to);

	if (o->c->base.rank == 0)
		return LS_OK;
	o->door = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (o->door < 0)
		return ls_fail(err, LS_NODE_LOST, errno, "a socket to the lowest rank of this node");
	set_limits(o->door);
	if (connect(o->door, (struct sockaddr *)&to, len) < 0)
		return ls_fail(err, LS_NODE_LOST, errno, "the lowest rank of this node cannot be reached");
	return send_fds(o->door, o->c->base.rank, &o->c->arena_fd, 1, err);
}

static ls_status fetch(struct opening *o, struct ls_err *err)
{
	int world = o->c->base.world, own = o->c->base.rank, at, n, first;
	ls_status st = receive_fds(o->door, &first, &o->c->control_fd, 1, err);

	for (at = 0; !st && at < world; at += n) {
		n = world - at < FDS_AT_ONCE ? world - at : FDS_AT_ONCE;
		st = receive_fds(o->door, &first, o->fds + at, n, err);
		if (!st && at <= own && own < at + n) { /* the one that came back is another name of ours */
			close(o->fds[own]);
			o->fds[own] = o->c->arena_fd;
		}
	}
	return st;
}

/* --- mapping --------------------------------------------------------------------------------------------------------- */

static ls_status map(int fd, size_t bytes, char **ret, struct ls_err *err)
{
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);

	if (p == MAP_FAILED)
		return ls_fail(err, LS_NODE_LOST, errno, "mapping %zu MiB of shared memory", bytes >> 20);
	madvise(p, bytes, MADV_HUGEPAGE); /* where the kernel has them */
	madvise(p, bytes, MADV_DONTDUMP); /* a core dump would touch, and so take, all of it */
	*ret = p;
	return LS_OK;
}

/* The lock is this process's, not the descriptor's: children do not keep it. No other descriptor of the file may ever be closed
 * here, or it would be gone. */
static ls_status sign(struct shm_comm *c, int global, struct ls_err *err)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = c->base.rank, .l_len = 1 };

	c->ranks[c->base.rank].pid = getpid();
	c->ranks[c->base.rank].global = global;
	sched_getaffinity(0, sizeof(cpu_set_t), &c->ranks[c->base.rank].cpus);
	return fcntl(c->control_fd, F_SETLK, &l) == 0 ? LS_OK : ls_fail(err, LS_NODE_LOST, errno, "locking a byte of shared memory");
}

static ls_status map_all(struct opening *o, struct ls_err *err)
{
	struct shm_comm *c = o->c;
	size_t page = 0;
	ls_status st = map(c->control_fd, c->control_bytes, &c->control, err);
	int r;

	for (r = 0; !st && r < c->base.world; r++) {
		c->arenas[r].color = (size_t)r * COLOR % HUGE;
		st = map(o->fds[r], c->arena_bytes, &c->arenas[r].base, err);
	}
	if (st)
		return st;
	c->ranks = (struct shm_rank *)c->control;
	c->heap = ls_heap_open(c->arenas[c->base.rank].color, c->arena_bytes);
	if (!c->heap)
		return ls_fail_oom(err);
	for (page = 0; page < SHM_RING * sizeof(struct shm_cell); page += PAGE) /* the kernel hands memory out now, not in the first step */
		((volatile char *)ls_shm_cell(c, c->base.rank, 0))[page] = 0;
	return sign(c, o->layout->rank, err);
}

/* More ranks than cores that they may run on: who spins keeps the one it waits for from running. */
static void set_patience(struct shm_comm *c)
{
	cpu_set_t all;
	int r;

	CPU_ZERO(&all);
	for (r = 0; r < c->base.world; r++)
		CPU_OR(&all, &all, &c->ranks[r].cpus);
	c->spins = CPU_COUNT(&all) < c->base.world ? 20 : 4000;
	c->yields = 200;
}

static void release(struct opening *o)
{
	int r;

	if (o->door >= 0)
		close(o->door);
	for (r = 0; o->fds && r < o->c->base.world; r++)
		if (o->fds[r] >= 0 && o->fds[r] != o->c->arena_fd)
			close(o->fds[r]);
	free(o->fds);
}

ls_status ls_shm_open_node(const struct ls_comm_options *opt, const struct ls_comm *layout, struct shm_comm **ret, struct ls_err *err)
{
	struct opening o = { .opt = opt, .layout = layout, .door = -1 };
	struct shm_comm *c = aligned_alloc(128, round_to(sizeof(*c), 128));
	ls_status st;

	if (!c)
		return ls_fail_oom(err);
	memset(c, 0, sizeof(*c));
	o.c = c;
	c->base.backend = &ls_backend_shm;
	c->base.rank = c->base.local_rank = layout->local_rank;
	c->base.world = c->base.local_world = layout->local_world;
	c->base.nodes = 1;
	c->base.group = layout->group;
	snprintf(c->base.library, sizeof(c->base.library), "shared memory");
	c->control_fd = c->arena_fd = -1;
	c->part_bytes = ls_shm_part_bytes(c->base.world);
	c->control_bytes = control_size(c);
	c->arena_bytes = arena_size(c->base.world);
	st = vote(&o, make(&o, err), err);
	if (!st)
		st = vote(&o, knock(&o, err), err);
	if (!st) {
		st = c->base.rank == 0 ? deal(&o, err) : fetch(&o, err);
		if (!st)
			st = map_all(&o, err);
		st = vote(&o, st, err);
	}
	release(&o);
	if (st) {
		ls_shm_close(&c->base, false);
		return st;
	}
	set_patience(c);
	*ret = c;
	return LS_OK;
}

void ls_shm_close(struct ls_comm *base, bool orderly)
{
	struct shm_comm *c = shm_of(base);
	int r;

	(void)orderly;
	if (c->ranks)
		atomic_store(&c->ranks[base->rank].left, 1);
	for (r = 0; c->arenas && r < base->world; r++)
		if (c->arenas[r].base)
			munmap(c->arenas[r].base, c->arena_bytes);
	if (c->control)
		munmap(c->control, c->control_bytes);
	if (c->control_fd >= 0)
		close(c->control_fd);
	if (c->arena_fd >= 0)
		close(c->arena_fd);
	ls_heap_close(c->heap);
	free(c->arenas);
	free(c->records);
	free(c->src);
	free(c->dst);
	free(c);
}
