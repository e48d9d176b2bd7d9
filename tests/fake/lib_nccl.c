/* lib_nccl.c -- a stand-in for NCCL (libnccl.so.2) on top of the stand-in for CUDA's driver (cuda.cc). It says nothing about the real one.
 *
 * It really reduces, between processes: the ranks meet in a file that is named by the unique id. An operation runs in its stream's turn, after
 * what is there before it, and waits there for the other ranks. As NCCL it is non-blocking, unless asked not to be: opening takes a thread; every operation
 * is put into the stream by a thread, the first when all ranks have called it. To call it meanwhile is an error, after which the group is good for
 * nothing; so is to put anything else into that stream. Two callers at once end the process. As NCCL, it does not notice a dead rank.
 * Sums begin with rank 1, averages scale first, and 16-bit floats are rounded after every addition: not our order of additions.
 *
 * FAKE_NCCL="VERB [rank=R] [op=N]" orders what goes wrong, on rank R (else all), in its N-th operation (else the first):
 *     duplicate init-never init-error     opening: refused; never ends; fails
 *     remote socket hang nomem            an operation fails because of another rank, of a connection; never ends; memory is refused
 *     wrong                               a bit of its result is not what it should be
 *     stuck                               as remote, and then ncclCommAbort never returns
 * FAKE_NCCL_VERSION: another version. FAKE_NCCL_DIR: where the file is; else /tmp. */
#include <nccl.h>

#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { RANKS = 16, AREA = 64 << 20 };

int cuLaunchHostFunc(void *stream, void (*function)(void *), void *data);
int cuMemcpyAsync(unsigned long long to, unsigned long long from, size_t bytes, void *stream);
int cuMemAlloc_v2(unsigned long long *ret, size_t bytes);
int cuMemFree_v2(unsigned long long p);
int cuStreamCreate(void **ret, unsigned flags);
int cuStreamDestroy_v2(void *stream);
void fake_cuda_reserve(void *stream, int on);

struct meeting {
	struct {
		_Alignas(64) atomic_int joined, connected, aborted;
		atomic_ullong arrived, read;    /* operations whose data is there; from which all was read */
	} rank[RANKS];
};

struct ncclComm {
	struct meeting *at;
	char path[200];
	int rank, world;
	atomic_int state, pending;
	atomic_bool aborted;
	unsigned long long ops;
	void *copies;                           /* a stream */
	pthread_t thread;
	void *reserved;                         /* the stream that is its alone */
	bool threaded, blocking;
};

struct op {
	struct ncclComm *c;
	enum { REDUCE, SCATTER, GATHER, BROADCAST } kind;
	const void *send;
	void *recv, *stream;
	size_t count;
	ncclDataType_t type;
	ncclRedOp_t red;
	int root;
	unsigned long long number;
};

static char last[300];
static atomic_int callers;

/* "It is safe to operate a communicator from multiple threads as long as users can guarantee only one thread operates the communicator at a
 * time" (NCCL's user guide, Thread Safety). */
static void enter(void)
{
	if (atomic_fetch_add(&callers, 1)) {
		fprintf(stderr, "the stand-in for NCCL: two threads call it at once\n");
		abort();
	}
}

static ncclResult_t leave(ncclResult_t rc)
{
	atomic_fetch_sub(&callers, 1);
	return rc;
}

static void nap(void)
{
	nanosleep(&(struct timespec){ 0, 50000 }, NULL);
}

static long word(const char *order, const char *key, long otherwise)
{
	const char *at = strstr(order, key);

	return at ? strtol(at + strlen(key), NULL, 10) : otherwise;
}

static bool ordered(const char *verb, int rank, unsigned long long op)
{
	const char *order = getenv("FAKE_NCCL");

	return order && !strncmp(order, verb, strlen(verb)) && word(order, "rank=", rank) == rank && (!op || word(order, "op=", 1) == (long)op);
}

static ncclResult_t failed(ncclResult_t rc, const char *why)
{
	snprintf(last, sizeof(last), "%s\n", why);
	return rc;
}

static bool all(struct ncclComm *c, size_t offset, unsigned long long least)
{
	int r;

	for (r = 0; r < c->world; r++)
		if (atomic_load((atomic_ullong *)((char *)&c->at->rank[r] + offset)) < least)
			return false;
	return true;
}

static bool all_came(struct ncclComm *c, bool connected)
{
	int r;

	for (r = 0; r < c->world; r++)
		if (!(connected ? atomic_load(&c->at->rank[r].connected) : atomic_load(&c->at->rank[r].joined)))
			return false;
	return true;
}

/* Its part of an operation may be missing. */
static bool any_aborted(struct ncclComm *c)
{
	int r;

	for (r = 0; r < c->world; r++)
		if (atomic_load(&c->at->rank[r].aborted))
			return true;
	return false;
}

static void join(struct ncclComm *c)
{
	if (c->threaded)
		pthread_join(c->thread, NULL);
	c->threaded = false;
}

static ncclResult_t in_thread(struct ncclComm *c, void *(*what)(void *), void *arg)
{
	join(c);
	if (c->blocking) {
		atomic_store(&c->state, ncclInProgress);
		what(arg);
		return (ncclResult_t)atomic_load(&c->state);
	}
	atomic_store(&c->state, ncclInProgress);
	if (pthread_create(&c->thread, NULL, what, arg))
		return failed(ncclSystemError, "no thread");
	c->threaded = true;
	return ncclInProgress;
}

/* --- the group --------------------------------------------------------------------------------------------------------- */

ncclResult_t ncclGetVersion(int *version)
{
	const char *other = getenv("FAKE_NCCL_VERSION");

	*version = other ? atoi(other) : NCCL_VERSION_CODE;
	return ncclSuccess;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
	return getrandom(id, sizeof(*id), 0) == sizeof(*id) ? ncclSuccess : ncclSystemError;
}

const char *ncclGetErrorString(ncclResult_t rc)
{
	static const char *const words[] = { "no error", "unhandled cuda error", "unhandled system error", "internal error", "invalid argument",
		"invalid usage", "remote process exited or there was a network error", "NCCL operation in progress" };

	return words[rc];
}

const char *ncclGetLastError(ncclComm_t c)
{
	(void)c;
	return last;
}

static void *open_group(void *arg)
{
	struct ncclComm *c = arg;

	if (ordered("init-error", c->rank, 0)) {
		atomic_store(&c->state, failed(ncclUnhandledCudaError, "Cuda failure 2 'out of memory'"));
		return NULL;
	}
	atomic_store(&c->at->rank[c->rank].joined, !ordered("init-never", c->rank, 0));
	while (!atomic_load(&c->aborted) && (ordered("init-never", c->rank, 0) || !all_came(c, false)))
		nap();
	unlink(c->path);
	if (!atomic_load(&c->aborted))
		atomic_store(&c->state, ncclSuccess);
	return NULL;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *ret, int world, ncclUniqueId id, int rank, ncclConfig_t *config)
{
	struct ncclComm *c = ordered("duplicate", rank, 0) ? NULL : calloc(1, sizeof(*c));
	const char *dir = getenv("FAKE_NCCL_DIR");
	size_t bytes = sizeof(struct meeting) + (size_t)RANKS * AREA;
	int fd;

	if (world > RANKS)
		return failed(ncclInvalidArgument, "the stand-in is for groups of at most 16 ranks");
	if (ordered("duplicate", rank, 0))
		return failed(ncclInvalidUsage, "Duplicate GPU detected : rank 0 and rank 1 both on CUDA device 1b000");
	snprintf(c->path, sizeof(c->path), "%s/lockstep-fake-nccl-%08x%08x", dir ? dir : "/tmp", *(unsigned *)id.internal, *(unsigned *)(id.internal + 4));
	fd = open(c->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0)
		return failed(ncclSystemError, "no file to meet in");
	c->at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	close(fd);
	if (c->at == MAP_FAILED || cuStreamCreate(&c->copies, 1))
		return failed(ncclSystemError, "no memory to meet in");
	c->rank = rank;
	c->world = world;
	c->blocking = config->blocking != 0;
	*ret = c;
	return in_thread(c, open_group, c);
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t c, ncclResult_t *ret)
{
	if (!c)
		return ncclInvalidArgument;
	enter();
	*ret = (ncclResult_t)atomic_load(&c->state);
	return leave(ncclSuccess);
}

/* What is called before the one before is in its stream breaks the group. */
static bool is_ready(struct ncclComm *c)
{
	int state = atomic_load(&c->state);

	if (state == ncclInProgress) {
		failed(ncclInvalidArgument, "Attempt to use communicator before the previous operation returned ncclSuccess");
		atomic_store(&c->state, ncclInvalidArgument);
	}
	return state == ncclSuccess;
}

static void *quiet(void *arg)
{
	struct ncclComm *c = arg;

	while (atomic_load(&c->pending) && !atomic_load(&c->aborted))
		nap();
	atomic_store(&c->state, ncclSuccess);
	return NULL;
}

ncclResult_t ncclCommFinalize(ncclComm_t c)
{
	enter();
	return leave(is_ready(c) ? in_thread(c, quiet, c) : (ncclResult_t)atomic_load(&c->state));
}

static ncclResult_t destroy(struct ncclComm *c)
{
	join(c);
	fake_cuda_reserve(c->reserved, 0);
	while (atomic_load(&c->pending))
		nap();
	cuStreamDestroy_v2(c->copies);
	munmap(c->at, sizeof(struct meeting) + (size_t)RANKS * AREA);
	unlink(c->path);
	free(c);
	return ncclSuccess;
}

ncclResult_t ncclCommDestroy(ncclComm_t c)
{
	enter();
	return leave(destroy(c));
}

ncclResult_t ncclCommAbort(ncclComm_t c)
{
	enter();
	if (ordered("stuck", c->rank, 0))
		join(c);
	while (ordered("stuck", c->rank, 0))
		nap();
	atomic_store(&c->aborted, true);
	atomic_store(&c->at->rank[c->rank].aborted, 1);
	return leave(destroy(c));
}

ncclResult_t ncclMemAlloc(void **ret, size_t bytes)
{
	unsigned long long p = 0;
	int rc = ordered("nomem", -1, 0) ? 2 : cuMemAlloc_v2(&p, bytes);

	*ret = (void *)(uintptr_t)p;
	return rc ? failed(ncclUnhandledCudaError, "Cuda failure 2 'out of memory'") : ncclSuccess;
}

ncclResult_t ncclMemFree(void *p)
{
	return cuMemFree_v2((uintptr_t)p) ? ncclInvalidArgument : ncclSuccess;
}

/* --- operations -------------------------------------------------------------------------------------------------------- */

static size_t size_of(ncclDataType_t t)
{
	return t == ncclUint8 ? 1 : t == ncclFloat16 || t == ncclBfloat16 ? 2 : t == ncclFloat64 || t == ncclInt64 ? 8 : 4;
}

static double get(const void *at, ncclDataType_t t)
{
	float f;
	double d;

	if (t == ncclFloat64)
		return memcpy(&d, at, 8), d;
	if (t == ncclFloat16)
		return (double)*(const _Float16 *)at;
	if (t == ncclBfloat16)
		return memcpy(&f, &(uint32_t){ (uint32_t)*(const uint16_t *)at << 16 }, 4), f;
	return memcpy(&f, at, 4), f;
}

static void put(void *at, ncclDataType_t t, double x)
{
	float f = (float)x;
	uint32_t bits;

	memcpy(&bits, &f, 4);
	if (t == ncclFloat64)
		memcpy(at, &x, 8);
	else if (t == ncclFloat16)
		*(_Float16 *)at = (_Float16)x;
	else if (t == ncclBfloat16)
		*(uint16_t *)at = isnan(x) ? 0x7fc0 : (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
	else
		memcpy(at, &f, 4);
}

static void reduce_float(const struct op *o, char *const *in, size_t i, char *out)
{
	size_t size = size_of(o->type);
	double scale = o->red == ncclAvg ? 1.0 / o->c->world : 1, x, sum = 0;
	char rounded[8];
	int k;

	for (k = 0; k < o->c->world; k++) {
		put(rounded, o->type, get(in[(k + 1) % o->c->world] + i * size, o->type) * scale);
		x = get(rounded, o->type);
		sum = k == 0 ? x : o->red == ncclMin ? fmin(sum, x) : o->red == ncclMax ? fmax(sum, x) : sum + x;
		put(rounded, o->type, sum);
		sum = get(rounded, o->type);
	}
	memcpy(out, rounded, size);
}

static void reduce_int(const struct op *o, char *const *in, size_t i, char *out)
{
	size_t size = size_of(o->type);
	int64_t sum = 0, x;
	int k;

	for (k = 0; k < o->c->world; k++) {
		const char *at = in[(k + 1) % o->c->world] + i * size;

		x = size == 4 ? *(const int32_t *)at : *(const int64_t *)at;
		sum = k == 0 ? x : o->red == ncclMin ? (x < sum ? x : sum) : o->red == ncclMax ? (x > sum ? x : sum) : (int64_t)((uint64_t)sum + (uint64_t)x);
	}
	sum = size == 4 ? (int32_t)sum : sum;
	sum = o->red == ncclAvg ? sum / o->c->world : sum;
	memcpy(out, &sum, size);
}

static void result(const struct op *o, char *const *in, char *out)
{
	bool real = o->type == ncclFloat16 || o->type == ncclBfloat16 || o->type == ncclFloat32 || o->type == ncclFloat64;
	size_t size = size_of(o->type), from = o->kind == SCATTER ? (size_t)o->c->rank * o->count : 0, i;
	int r;

	if (o->kind == BROADCAST)
		memcpy(out, in[o->root], o->count * size);
	for (r = 0; o->kind == GATHER && r < o->c->world; r++)
		memcpy(out + (size_t)r * o->count * size, in[r], o->count * size);
	for (i = 0; o->kind <= SCATTER && i < o->count; i++)
		(real ? reduce_float : reduce_int)(o, in, from + i, out + i * size);
}

/* In the stream's turn. */
static void run(void *arg)
{
	struct op *o = arg;
	struct ncclComm *c = o->c;
	size_t bytes = o->count * size_of(o->type), n = (size_t)c->world;
	size_t send = o->kind == SCATTER ? bytes * n : bytes, recv = o->kind == GATHER ? bytes * n : bytes;
	char *in[RANKS], *out = malloc(recv + 1);
	bool stuck = true;
	int r;

	for (r = 0; r < c->world; r++)
		in[r] = (char *)(c->at + 1) + (size_t)r * AREA;
	if (ordered("remote", c->rank, o->number) || ordered("stuck", c->rank, o->number))
		atomic_store(&c->state, failed(ncclRemoteError, "NET/IB : Got completion from peer with status=12"));
	else if (ordered("socket", c->rank, o->number))
		atomic_store(&c->state, failed(ncclSystemError, "Call to connect to 10.0.0.7<4711> failed : Connection refused"));
	else
		stuck = ordered("hang", c->rank, o->number);
	while (!atomic_load(&c->aborted) && (stuck || !all(c, offsetof(struct meeting, rank[0].read), o->number - 1)))
		nap();
	if (!atomic_load(&c->aborted) && send && (o->kind != BROADCAST || o->root == c->rank))
		cuMemcpyAsync((uintptr_t)in[c->rank], (uintptr_t)o->send, send, c->copies);
	if (!atomic_load(&c->aborted))
		atomic_store(&c->at->rank[c->rank].arrived, o->number);
	while (!atomic_load(&c->aborted) && (!all(c, offsetof(struct meeting, rank[0].arrived), o->number) || any_aborted(c)))
		nap();
	if (!atomic_load(&c->aborted)) {
		result(o, in, out);
		if (ordered("wrong", c->rank, o->number))
			out[0] ^= 1;
		atomic_store(&c->at->rank[c->rank].read, o->number);
		if (recv)
			cuMemcpyAsync((uintptr_t)o->recv, (uintptr_t)out, recv, c->copies);
	}
	free(out);
	free(o);
	atomic_fetch_sub(&c->pending, 1);
}

static ncclResult_t put_into_stream(struct op *o)
{
	atomic_fetch_add(&o->c->pending, 1);
	fake_cuda_reserve(o->stream, 0);
	return cuLaunchHostFunc(o->stream, run, o) ? failed(ncclUnhandledCudaError, "Cuda failure 400 'invalid resource handle'") : ncclSuccess;
}

static void *launch(void *arg)
{
	struct op *o = arg;
	struct ncclComm *c = o->c;
	int busy = ncclInProgress;
	ncclResult_t rc;

	atomic_store(&c->at->rank[c->rank].connected, 1);
	while (!atomic_load(&c->aborted) && !all_came(c, true))
		nap();
	if (atomic_load(&c->aborted)) {
		free(o);
		return NULL;
	}
	rc = put_into_stream(o);
	atomic_compare_exchange_strong(&c->state, &busy, rc); /* it may have failed already */
	return NULL;
}

static ncclResult_t begin(struct op what)
{
	struct ncclComm *c = what.c;
	size_t bytes = what.count * size_of(what.type) * (what.kind == SCATTER ? (size_t)c->world : 1);
	struct op *o;

	enter();
	if (!is_ready(c))
		return leave((ncclResult_t)atomic_load(&c->state));
	if (bytes > AREA)
		return leave(failed(ncclInvalidUsage, "more than the stand-in has room for"));
	if (!what.count)
		return leave(ncclSuccess);
	what.number = ++c->ops;
	o = malloc(sizeof(*o));
	*o = what;
	c->reserved = o->stream;
	fake_cuda_reserve(o->stream, 1);
	return leave(in_thread(c, launch, o));
}

ncclResult_t ncclAllReduce(const void *send, void *recv, size_t count, ncclDataType_t type, ncclRedOp_t op, ncclComm_t c, cudaStream_t stream)
{
	return begin((struct op){ .c = c, .kind = REDUCE, .send = send, .recv = recv, .count = count, .type = type, .red = op, .stream = stream });
}

ncclResult_t ncclReduceScatter(const void *send, void *recv, size_t count, ncclDataType_t type, ncclRedOp_t op, ncclComm_t c, cudaStream_t stream)
{
	return begin((struct op){ .c = c, .kind = SCATTER, .send = send, .recv = recv, .count = count, .type = type, .red = op, .stream = stream });
}

ncclResult_t ncclAllGather(const void *send, void *recv, size_t count, ncclDataType_t type, ncclComm_t c, cudaStream_t stream)
{
	return begin((struct op){ .c = c, .kind = GATHER, .send = send, .recv = recv, .count = count, .type = type, .stream = stream });
}

ncclResult_t ncclBroadcast(const void *send, void *recv, size_t count, ncclDataType_t type, int root, ncclComm_t c, cudaStream_t stream)
{
	return begin((struct op){ .c = c, .kind = BROADCAST, .send = send, .recv = recv, .count = count, .type = type, .root = root, .stream = stream });
}
