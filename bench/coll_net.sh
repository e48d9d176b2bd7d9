#!/bin/bash
# coll_net.sh B OUT ROUNDS -- all-reduce between two network namespaces, one rank in each, on its own core: Open MPI as it comes and with its
# segmented ring, gloo, and ours, against what iperf3 gets from the same link. Twice: the bare link, and one of 1 Gbit/s each way.
# Writes OUT/net-plain-*.json and OUT/net-limited-*.json; bench/peers.sh calls it. Needs root.
#
# The two hosts are those of the tests (tests/hosts), joined by one cable instead of the switch, whose hop would cost all of them alike.
# Open MPI's ranks must not be bound by mpirun: it would bind each namespace's first rank to core 0.
set -euo pipefail
cd "$(dirname "$0")/.."

B=$(realpath "$1") OUT=$(realpath "$2") ROUNDS=$3
ROOT=$PWD
PEERS=$ROOT/build/bench-peers
DIR=$(mktemp -d "$PEERS/net.XXXXXX")
PYTHON=$ROOT/build/venv-torch/bin/python
trap 'tests/hosts down "$DIR"; rm -rf "$DIR"' EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

on() { tests/hosts exec "$DIR" "$@"; } # HOST -- CMD...

cable() {
	local one two
	one=$(tests/hosts pid "$DIR" host0) two=$(tests/hosts pid "$DIR" host1)
	on host0 -- ip link del eth0
	on host1 -- ip link del eth0
	nsenter -t "$one" -n ip link add eth0 type veth peer name eth0 netns "$two"
	on host0 -- ip addr add 10.77.0.1/24 dev eth0
	on host1 -- ip addr add 10.77.0.2/24 dev eth0
	on host0 -- ip link set eth0 up
	on host1 -- ip link set eth0 up
}

limit() { # RATE: each way
	local h
	for h in host0 host1; do
		on $h -- tc qdisc replace dev eth0 root tbf rate "$1" burst 256kb latency 20ms
	done
}

listens() { on host1 -- ss -Htln sport = :5201 | grep -q .; }

iperf() { # FILE OPTIONS...
	local server file=$1
	shift
	on host1 -- taskset -c 1 "$PEERS/iperf3/iperf3" -s -1 >/dev/null &
	server=$!
	until listens; do
		kill -0 "$server" 2>/dev/null || { echo "bench/coll_net.sh: iperf3's server did not start on host1" >&2; return 1; }
		sleep 0.05
	done
	on host0 -- taskset -c 0 "$PEERS/iperf3/iperf3" -c host1 -t 3 -J "$@" >"$file"
	wait "$server"
}

bench() { # FILE OPTIONS...: ours, the distribution's Open MPI in both forms, gloo
	local file=$1 ring
	shift
	ring="$PEERS/ompi4/mpirun -np 2 -H host0:1,host1:1 --mca btl tcp,self --mca coll_tuned_use_dynamic_rules 1"
	ring+=" --mca coll_tuned_allreduce_algorithm 5 --mca coll_tuned_allreduce_algorithm_segmentsize 1048576"
	ring+=" -x LOCKSTEP_BENCH_AT -x LOCKSTEP_BENCH_TOKEN -x LOCKSTEP_BENCH_NAME -x LOCKSTEP_BENCH_CPUS $PEERS/ompi4/coll_peer"
	set -- -np 2 -H host0:1,host1:1 --compare hier,lockstep-mpi,mpi,torch --python "$PYTHON" "$@"
	echo "lockstep bench allreduce $*" >"${file%.json}.cmd"
	on host0 -- "$B/lockstep" bench allreduce "$@" --contender "ompi4-ring1m=$ring" --json >"$file"
}

measure() { # LINK
	local r
	for ((r = 1; r <= ROUNDS; r++)); do
		iperf "$OUT/net-$1-iperf-$r.json"
		iperf "$OUT/net-$1-iperf-bidir-$r.json" --bidir
		bench "$OUT/net-$1-small-$r.json" -b 4 -e 64K -f 16 --rounds 2
		bench "$OUT/net-$1-large-$r.json" -b 1M -e 64M -f 8 -w 1 --rounds 2
	done
}

tests/hosts up "$DIR" 2
cable
measure plain
limit 1gbit
measure limited
