#!/bin/bash
# run.sh BUILD -- what `make bench` prints: start-up against the peers, step overhead against bare MPI_Allreduce, places for gangs, sizes.
set -euo pipefail
cd "$(dirname "$0")/.."
B=${1:-build}
root=
[ "$(id -u)" != 0 ] || root=--allow-run-as-root

python3 bench/startup.py "$B" "${REPEATS:-11}"
echo
# Each rank on a core of its own, or the two loops would not be comparable.
mpirun $root --oversubscribe --bind-to core -np 2 "$B/bench/step_overhead" "${REPEATS:-41}"
echo
"$B/bench/place"
echo
echo "sizes: $(stat -c %s "$B/lockstep") bytes lockstep ($(t=$(mktemp); strip -o "$t" "$B/lockstep"; stat -c %s "$t"; rm -f "$t") stripped), $(stat -c %s "$B/liblockstep.so") bytes liblockstep.so"
echo "lines of C per folder:"
for d in include core collectives worker launcher operator examples; do
	printf '  %-12s %6d\n' $d "$(find $d -name '*.[ch]' -exec cat {} + | wc -l)"
done
