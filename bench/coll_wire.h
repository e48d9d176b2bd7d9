/* coll_wire.h -- how `lockstep bench` speaks with the ranks that it measures. Who speaks this can be a contender, in any language
 * (coll_torch.py does).
 *
 * A rank connects to LOCKSTEP_BENCH_AT, "port address [address…]" (the first that answers), and says who it is. Then it sleeps in read(),
 * out of any collective library, until a line comes; so contenders that wait use no processor. Lines end with '\n'.
 *
 *     rank          hello TOKEN CONTENDER RANK WORLD PID CPU HOST LIBRARY…   of LOCKSTEP_BENCH_TOKEN, LOCKSTEP_BENCH_NAME; CPU -1: not bound; LIBRARY may end in
 *                                                                            " @" and the name of the GPU that the rank computes on
 *     orchestrator  run KIND DTYPE OP ROOT COUNT WARM ITERS IN_PLACE         names of the tables below; COUNT: elements, as in
 *                                                                            lockstep/collectives.h; IN_PLACE 0 or 1; to all ranks alike
 *     rank          time SECONDS WRONG ALGORITHM                             of one operation, the mean of ITERS; elements that were wrong
 *                   unsupported TEXT                                         it can not do this one; all ranks say so
 *                   error TEXT                                               and leaves
 *     orchestrator  quit                                                     as does end of file
 *
 * What a rank does for one `run`, the same in every program, so that the only difference is the library:
 *     bind       before the library is opened where the rank is known from the environment, to the RANK-th core of LOCKSTEP_BENCH_CPUS (a list
 *                of numbers with commas, taken round and round; "none": no binding)
 *     buffers    of 2 MiB and more: at a multiple of 2 MiB, with madvise(MADV_HUGEPAGE); smaller ones: of 4 KiB
 *     together   a barrier of the library, then WARM operations, then a barrier, then ITERS operations
 *     touch      the whole payload is written before each operation, and the whole result is read, by comparing it, after it
 *     time       COLL_TIMED_BYTES of payload and more: the sum of the times of the operations alone, each after a barrier of the library. Less: the time of the loop, less that of
 *                the same loop with the writing and comparing and without the operation, for there the clock would cost as much as what it measures.
 * With buffers in a GPU's memory, as nccl-tests does it: the payload is written once, WARM operations, a barrier, then ITERS operations, each
 * on what the one before left, and the wait for all of them is the time; after it the payload is written anew, and the result of one more
 * operation is read and compared.
 * The payload changes with each operation; expected results are exact (coll_data.h). The orchestrator takes the slowest rank's time. */
#ifndef COLL_WIRE_H
#define COLL_WIRE_H

#define COLL_TIMED_BYTES 4096

/* code, name */
#define COLL_KIND_TABLE(X)                                                                                                           \
	X(COLL_ALL_REDUCE, "all-reduce") X(COLL_REDUCE_SCATTER, "reduce-scatter") X(COLL_ALL_GATHER, "all-gather")                    \
	X(COLL_BROADCAST, "broadcast") X(COLL_BARRIER, "barrier")
/* code, name, bytes */
#define COLL_DTYPE_TABLE(X)                                                                                                          \
	X(COLL_F64, "f64", 8) X(COLL_F32, "f32", 4) X(COLL_F16, "f16", 2) X(COLL_BF16, "bf16", 2) X(COLL_I64, "i64", 8) X(COLL_I32, "i32", 4)
/* code, name */
#define COLL_OP_TABLE(X) X(COLL_SUM, "sum") X(COLL_AVG, "avg") X(COLL_MIN, "min") X(COLL_MAX, "max")

#define X(code, ...) code,
enum coll_kind { COLL_KIND_TABLE(X) COLL_KINDS };
enum coll_dtype { COLL_DTYPE_TABLE(X) COLL_DTYPES };
enum coll_op { COLL_OP_TABLE(X) COLL_OPS };
#undef X

#endif
