#!/bin/bash
# The smallest program on lockstep/collectives.h, started as users start it: on each backend, in a small /dev/shm, and told nonsense.
. "$(dirname "$0")/../lib.sh"
program=$B/examples/allreduce

sum() { # ENV...: what it says with these
	env "$@" lockstep run -q -np 2 -- "$program" 300000 2>&1
}

expect_match "on one node: shared memory" "2 ranks, 300000 floats, backend shm, algorithm direct: the sum is 3" "$(sum)"
expect_match "by messages" "backend mpi, algorithm owners: the sum is 3" "$(sum LOCKSTEP_BACKEND=mpi)"
expect_match "an algorithm by its name" "backend shm, algorithm slots: the sum is 3" "$(sum LOCKSTEP_ALGORITHM=slots)"
expect_match "with a progress thread" "backend shm, algorithm direct: the sum is 3" "$(sum LOCKSTEP_PROGRESS=thread)"
expect_match "two nodes of one rank each" "backend mpi, algorithm owners: the sum is 3" \
	"$(lockstep run -q -np 2 -- sh -c 'LOCKSTEP_NODE_KEY=n$RANK exec "$0" 300000' "$program" 2>&1)"
expect_match "two nodes of two ranks each" "4 ranks, 300000 floats, backend hier, algorithm rails: the sum is 10" \
	"$(lockstep run -q -np 4 -- sh -c 'LOCKSTEP_NODE_KEY=n$((RANK / 2)) exec "$0" 300000' "$program" 2>&1)"
expect_match "without a launcher" "1 ranks, 300000 floats, .*: the sum is 1" "$("$program" 300000 2>&1)"

refused() { # NAME VARIABLE TEXT
	out=$(env "$2" "$program" 2>&1)
	code=$?
	expect_eq "$1: code" 2 "$code"
	expect_match "$1: sentence" "$3" "$out"
}
refused "no such backend" LOCKSTEP_BACKEND=tcp "LOCKSTEP_BACKEND=tcp: there is no such backend; this build has: auto, shm, hier, mpi"
refused "no such algorithm" LOCKSTEP_ALGORITHM=ring "LOCKSTEP_ALGORITHM=ring: there is no such algorithm; .*shm:direct"
refused "no such progress" LOCKSTEP_PROGRESS=yes "LOCKSTEP_PROGRESS=yes: want"
refused "no such vectors" LOCKSTEP_CPU_VECTORS=mmx "mmx"
refused "a group of none" LOCKSTEP_SUM_GROUP=0 "LOCKSTEP_SUM_GROUP=0: want a whole number of at least 1"

if need_root "a small /dev/shm"; then
	out=$(unshare -m sh -c 'mount -t tmpfs -o size=64m tmpfs /dev/shm && exec lockstep run -q -np 2 -- "$0" 67108864' "$program" 2>&1)
	expect_match "256 MiB in a /dev/shm of 64" "67108864 floats, backend shm, algorithm direct: the sum is 3" "$out"
fi

no_leftovers "nothing stays"
