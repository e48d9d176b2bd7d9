/* coll_peer_mpi.c -- a rank program of `lockstep bench` on plain MPI calls: what Lockstep is compared with.
 *
 *     mpicc -O2 -I. bench/coll_{peer_mpi,rank,data,tensors}.c -lm -o peer          any MPI-3 library
 *
 * MPI has neither an average nor 16-bit floats, and MPI_Bcast is in place; those are told as unsupported. */
#include "bench/coll_rank.h"

#include <mpi.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct coll_call now;
static MPI_Datatype type;
static MPI_Op op;

static enum coll_answer open_mpi(int argc, char **argv, int *ret_rank, int *ret_world, char name[64], char *text)
{
	char version[MPI_MAX_LIBRARY_VERSION_STRING];
	int len;

	(void)text; /* MPI ends the program by itself */
	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, ret_rank);
	MPI_Comm_size(MPI_COMM_WORLD, ret_world);
	MPI_Get_library_version(version, &len);
	version[strcspn(version, ",\n")] = '\0';
	for (len = 0; version[len]; len++)
		if (version[len] == '\t')
			version[len] = ' ';
	snprintf(name, 64, "%.63s", version);
	return COLL_DONE;
}

static void close_mpi(bool orderly)
{
	if (!orderly)
		MPI_Abort(MPI_COMM_WORLD, 1);
	MPI_Finalize();
}

static enum coll_answer unsupported(char *text, const char *why)
{
	snprintf(text, COLL_TEXT, "%s", why);
	return COLL_UNSUPPORTED;
}

static enum coll_answer make(const struct coll_call *c, char algorithm[32], char *text)
{
	MPI_Datatype types[COLL_DTYPES];
	MPI_Op ops[COLL_OPS];

	types[COLL_F64] = MPI_DOUBLE;
	types[COLL_F32] = MPI_FLOAT;
	types[COLL_F16] = types[COLL_BF16] = MPI_DATATYPE_NULL;
	types[COLL_I64] = MPI_INT64_T;
	types[COLL_I32] = MPI_INT32_T;
	ops[COLL_SUM] = MPI_SUM;
	ops[COLL_AVG] = MPI_OP_NULL;
	ops[COLL_MIN] = MPI_MIN;
	ops[COLL_MAX] = MPI_MAX;
	now = *c;
	type = types[c->dtype];
	op = ops[c->op];
	snprintf(algorithm, 32, "-");
	if (c->kind == COLL_BARRIER)
		return COLL_DONE;
	if (c->count > INT_MAX)
		return unsupported(text, "more elements than an int counts");
	if (type == MPI_DATATYPE_NULL && (c->kind == COLL_ALL_GATHER || c->kind == COLL_BROADCAST))
		type = MPI_UINT16_T; /* only moved */
	if (type == MPI_DATATYPE_NULL)
		return unsupported(text, "MPI has no 16-bit floats");
	if (op == MPI_OP_NULL && (c->kind == COLL_ALL_REDUCE || c->kind == COLL_REDUCE_SCATTER))
		return unsupported(text, "MPI has no average");
	if (c->kind == COLL_BROADCAST && !c->in_place)
		return unsupported(text, "MPI_Bcast is in place");
	return COLL_DONE;
}

static void unmake(void)
{
}

static void all_reduce(size_t size)
{
	size_t i, at = 0;

	for (i = 0; i < now.n_parts; at += now.parts[i++] * size)
		MPI_Allreduce(now.in_place ? MPI_IN_PLACE : (char *)now.send + at, (char *)now.recv + at, (int)now.parts[i], type, op, MPI_COMM_WORLD);
}

static enum coll_answer run(char *text)
{
	const void *send = now.in_place ? MPI_IN_PLACE : now.send;
	int n = (int)now.count;

	(void)text;
	if (now.kind == COLL_ALL_REDUCE)
		all_reduce(coll_dtype_size(now.dtype));
	else if (now.kind == COLL_REDUCE_SCATTER)
		MPI_Reduce_scatter_block(send, now.in_place ? now.send : now.recv, n, type, op, MPI_COMM_WORLD);
	else if (now.kind == COLL_ALL_GATHER)
		MPI_Allgather(send, n, type, now.recv, n, type, MPI_COMM_WORLD);
	else if (now.kind == COLL_BROADCAST)
		MPI_Bcast(now.recv, n, type, now.root, MPI_COMM_WORLD);
	else
		MPI_Barrier(MPI_COMM_WORLD);
	return COLL_DONE;
}

static enum coll_answer barrier(char *text)
{
	(void)text;
	MPI_Barrier(MPI_COMM_WORLD);
	return COLL_DONE;
}

int main(int argc, char **argv)
{
	static const struct coll_library mpi = { .open = open_mpi, .make = make, .run = run, .unmake = unmake, .barrier = barrier, .close = close_mpi,
		.scatters_to_front = true };

	return coll_rank_main(argc, argv, &mpi);
}
