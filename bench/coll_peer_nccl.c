/* coll_peer_nccl.c -- a rank program of `lockstep bench` on plain NCCL calls, as nccl-tests makes them: one blocking communicator, one
 * stream, call after call, and one wait at the end. `--wait`: a wait after each call, as a program needs it that looks at what it got.
 *
 * Of Lockstep it has how libraries and the driver are opened (api_nccl.h, api_cuda.h), so that both sides of a comparison run on the same
 * ones; nothing of that is between two calls. Rank 0 hands out the unique id at MASTER_ADDR and MASTER_PORT, as PyTorch's ranks meet. */
#include "bench/coll_rank.h"
#include "collectives/api_cuda.h"
#if __has_include(<cuda_runtime.h>) /* which NCCL's header wants */
#include "collectives/api_nccl.h"
#endif
#include "core/status.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef LS_HAVE_NCCL

static enum coll_answer open_nccl(int argc, char **argv, int *ret_rank, int *ret_world, char name[64], char *text)
{
	(void)argc, (void)argv, (void)ret_rank, (void)ret_world, (void)name;
	snprintf(text, COLL_TEXT, "this build has no NCCL: its header was not there (deploy/setup-cuda.sh brings it)");
	return COLL_FAILED;
}

int main(int argc, char **argv)
{
	static const struct coll_library nccl = { .open = open_nccl };

	return coll_rank_main(argc, argv, &nccl);
}

#else

enum { MEET_TRIES = 300, MEET_WAIT_US = 100000 };

static const struct ls_nccl *api;
static struct ls_cuda_device gpu;
static ncclComm_t comm;
static void *stream;
static float *token;           /* of the barrier */
static struct coll_call now;
static ncclDataType_t type;
static ncclRedOp_t op;
static struct coll_library nccl;

/* --- the unique id ---------------------------------------------------------------------------------------------------------------- */

static bool whole(int fd, void *buf, size_t n, bool out)
{
	size_t done;
	ssize_t k;

	for (done = 0; done < n; done += (size_t)k) {
		k = out ? send(fd, (char *)buf + done, n - done, MSG_NOSIGNAL) : recv(fd, (char *)buf + done, n - done, 0);
		if (k <= 0)
			return false;
	}
	return true;
}

static bool give_id(struct addrinfo *at, int others, ncclUniqueId *id)
{
	int on = 1, fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0), one, i;
	bool good = fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) && !bind(fd, at->ai_addr, at->ai_addrlen) &&
		!listen(fd, others + 1);

	for (i = 0; i < others && good; i++) {
		one = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
		good = one >= 0 && whole(one, id, sizeof(*id), true);
		close(one);
	}
	close(fd);
	return good;
}

/* Rank 0 may not listen yet. */
static bool take_id(struct addrinfo *at, ncclUniqueId *id)
{
	bool good = false;
	int fd, i;

	for (i = 0; i < MEET_TRIES && !good; i++) {
		fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		good = fd >= 0 && !connect(fd, at->ai_addr, at->ai_addrlen) && whole(fd, id, sizeof(*id), false);
		close(fd);
		if (!good)
			usleep(MEET_WAIT_US);
	}
	return good;
}

static bool meet(int rank, int world, ncclUniqueId *id)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *at = NULL;
	const char *host = getenv("MASTER_ADDR"), *port = getenv("MASTER_PORT");
	bool good;

	if (!host || !port || getaddrinfo(host, port, &hints, &at))
		return false;
	good = rank ? take_id(at, id) : give_id(at, world - 1, id);
	freeaddrinfo(at);
	return good;
}

/* --- NCCL ------------------------------------------------------------------------------------------------------------------------- */

static enum coll_answer failed(const char *what, ncclResult_t rc, char *text)
{
	if (rc != ncclSuccess)
		snprintf(text, COLL_TEXT, "%s: %s: %.300s", what, api->GetErrorString(rc), api->GetLastError(comm));
	return rc == ncclSuccess ? COLL_DONE : COLL_FAILED;
}

static enum coll_answer answer(ls_status st, const struct ls_err *err, char *text)
{
	if (st)
		snprintf(text, COLL_TEXT, "%.*s", COLL_TEXT - 1, err->text);
	return st ? COLL_FAILED : COLL_DONE;
}

static ls_status open_device(struct ls_err *err)
{
	ls_status st = ls_cuda_open(err);

	if (!st)
		st = ls_cuda_device(&gpu, err);
	if (!st)
		st = ls_nccl_open(&api, err);
	if (!st)
		st = ls_cuda_stream_make(false, &stream, err);
	if (!st)
		st = ls_cuda_alloc(sizeof(*token), (void **)&token, err);
	return st;
}

static int number(const char *name)
{
	const char *text = getenv(name);

	return text ? atoi(text) : -1;
}

static enum coll_answer finish(char *text)
{
	struct ls_err err = LS_ERR_INIT;

	return answer(ls_cuda_stream_sync(stream, &err), &err, text);
}

static enum coll_answer open_nccl(int argc, char **argv, int *ret_rank, int *ret_world, char name[64], char *text)
{
	struct ls_err err = LS_ERR_INIT;
	ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
	bool wait = argc == 2 && !strcmp(argv[1], "--wait");
	ncclUniqueId id = { 0 };
	enum coll_answer a = answer(open_device(&err), &err, text);

	config.blocking = 1;
	*ret_rank = number("RANK");
	*ret_world = number("WORLD_SIZE");
	if (!a && *ret_rank == 0)
		a = failed("ncclGetUniqueId", api->GetUniqueId(&id), text);
	if (!a && (*ret_rank < 0 || !meet(*ret_rank, *ret_world, &id))) {
		snprintf(text, COLL_TEXT, "the ranks do not meet at MASTER_ADDR, MASTER_PORT");
		a = COLL_FAILED;
	}
	if (!a)
		a = failed("ncclCommInitRank", api->CommInitRankConfig(&comm, *ret_world, id, *ret_rank, &config), text);
	if (!a)
		snprintf(name, 64, "NCCL %s%s", api->text, wait ? ", waits after each call" : "");
	nccl.device = gpu.uuid;
	nccl.finish = wait ? NULL : finish;
	return a;
}

static void close_nccl(bool orderly)
{
	if (orderly)
		api->CommDestroy(comm);
	else
		api->CommAbort(comm);
}

static enum coll_answer alloc(size_t bytes, void **ret, char *text)
{
	struct ls_err err = LS_ERR_INIT;

	return answer(ls_cuda_alloc(bytes, ret, &err), &err, text);
}

static enum coll_answer copy(void *to, const void *from, size_t bytes, char *text)
{
	struct ls_err err = LS_ERR_INIT;
	ls_status st = ls_cuda_copy(to, from, bytes, stream, &err);

	return answer(st ? st : ls_cuda_stream_sync(stream, &err), &err, text);
}

static enum coll_answer make(const struct coll_call *c, char algorithm[32], char *text)
{
	static const ncclDataType_t types[COLL_DTYPES] = { [COLL_F64] = ncclFloat64, [COLL_F32] = ncclFloat32, [COLL_F16] = ncclFloat16,
		[COLL_BF16] = ncclBfloat16, [COLL_I64] = ncclInt64, [COLL_I32] = ncclInt32 };
	static const ncclRedOp_t ops[COLL_OPS] = { [COLL_SUM] = ncclSum, [COLL_AVG] = ncclAvg, [COLL_MIN] = ncclMin, [COLL_MAX] = ncclMax };

	(void)text;
	now = *c;
	type = types[c->dtype];
	op = ops[c->op];
	snprintf(algorithm, 32, "-");
	return COLL_DONE;
}

static void unmake(void)
{
}

static ncclResult_t all_reduce(size_t size)
{
	ncclResult_t rc = ncclSuccess;
	size_t i, at = 0;

	for (i = 0; i < now.n_parts && rc == ncclSuccess; at += now.parts[i++] * size)
		rc = api->AllReduce((char *)now.send + at, (char *)now.recv + at, now.parts[i], type, op, comm, stream);
	return rc;
}

static enum coll_answer barrier(char *text)
{
	enum coll_answer a = failed("ncclAllReduce", api->AllReduce(token, token, 1, ncclFloat32, ncclMax, comm, stream), text);

	return a ? a : finish(text);
}

static enum coll_answer run(char *text)
{
	ncclResult_t rc;

	if (now.kind == COLL_BARRIER)
		return barrier(text);
	if (now.kind == COLL_ALL_REDUCE)
		rc = all_reduce(coll_dtype_size(now.dtype));
	else if (now.kind == COLL_REDUCE_SCATTER)
		rc = api->ReduceScatter(now.send, now.recv, now.count, type, op, comm, stream);
	else if (now.kind == COLL_ALL_GATHER)
		rc = api->AllGather(now.send, now.recv, now.count, type, comm, stream);
	else
		rc = api->Broadcast(now.send, now.recv, now.count, type, now.root, comm, stream);
	if (rc == ncclSuccess && !nccl.finish)
		return finish(text);
	return failed("the operation", rc, text);
}

static struct coll_library nccl = { .open = open_nccl, .alloc = alloc, .free = ls_cuda_free, .make = make, .run = run, .unmake = unmake,
	.barrier = barrier, .close = close_nccl, .put = copy, .get = copy };

int main(int argc, char **argv)
{
	return coll_rank_main(argc, argv, &nccl);
}

#endif
