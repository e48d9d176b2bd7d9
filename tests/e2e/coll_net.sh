#!/bin/bash
# limit: 600
# Collectives between two and three hosts, with Open MPI 4 and 5: messages alone (mpi), and memory inside a host (hier); every operation
# against the plain order of additions, and a rank that dies.
. "$(dirname "$0")/../lib.sh"

need_root "collectives between hosts" || exit 0
hosts up 3 || { fail "three hosts are up"; exit 1; }
declare -A MPIRUN=([4]=mpirun [5]=$ROOT/build/venv-ompi5/bin/mpirun)

run() { # HOSTS RANKS VARIABLE... -- ARGS...: on Open MPI $v
	local list=$1 ranks=$2 x=()
	shift 2
	for (( ; $# > 0; )); do
		[ "$1" != -- ] || { shift; break; }
		x+=(-x "$1")
		shift
	done
	out=$(on host0 timeout 250 "$B/lockstep" run --mpirun "${MPIRUN[$v]}" -np "$ranks" -H "$list" "${x[@]}" "${NOLEAKS[@]}" \
		-- "$B/tests/coll_net" "$@" 2>err </dev/null)
	code=$?
	err=$(<err)
}
right() { # NAME BACKEND NODES GROUP RANKS: each rank says that nothing was wrong
	expect_eq "$1: all ranks end well" 0 "$code"
	expect_eq "$1: every rank had $2 on $3 nodes, sums in groups of $4, and no wrong result" "$5" \
		"$(grep -cE "$2, $3 nodes, group $4: [1-9][0-9]* operations, 0 wrong" <<<"$out")"
	[ "$code" = 0 ] || echo "$out$err"
}

for v in 4 5; do
	t="Open MPI $v"
	run host0:1,host1:1 2 LOCKSTEP_SUM_GROUP=1 --
	right "$t: one rank on each of two hosts" mpi 2 1 2
	run host0:2,host1:2 4 LOCKSTEP_SUM_GROUP=2 -- 0 1 15 16385
	right "$t: two ranks on each of two hosts" hier 2 2 4
	run host0:2,host1:2 4 LOCKSTEP_SUM_GROUP=2 LOCKSTEP_BACKEND=mpi -- 15 16385
	right "$t: the same by messages alone" mpi 2 2 4
	run host0:2,host1:1,host2:1 4 LOCKSTEP_SUM_GROUP=3 LOCKSTEP_PROGRESS=thread -- 15 8200
	right "$t: three hosts of different size, groups across hosts, a thread that communicates" hier 3 3 4
	run host0:2,host1:2 4 -- die 3
	expect_match "$t: a rank is killed in the middle: it is named" "rank 3 on host host1 was killed by signal 9" "$err"
	no_leftovers "$t: nothing stays on any host" 10
done

v=4
run host0:2,host1:2 4 LOCKSTEP_SUM_GROUP=2 -- 700001
right "several segments of each part" hier 2 2 4
