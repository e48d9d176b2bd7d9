#!/bin/bash
# run.sh DIR -- check tests/model/commit.pml exhaustively, within limits of size; and that a protocol with a hole is found out.
# DIR is where the checkers are built. A few minutes; at most 4 GB. Ends with 1 if anything is not as it must be.
set -u -o pipefail
model=$(cd "$(dirname "$0")" && pwd)/commit.pml
dir=$1
failures=0

check() { # NAME WANT OPTION...: WANT is "errors: 0", or the assertion that must be found violated
	local name=$1 want=$2 out states seconds
	shift 2
	mkdir -p "$dir/$name" && cd "$dir/$name" || exit 1
	if ! { spin "${@/#/-D}" -a "$model" && cc -O2 -w -DSAFETY -DCOLLAPSE -DMEMLIM=4000 -o pan pan.c; } >build.log 2>&1; then
		cat build.log
		echo "FAIL $name: it does not build"
		failures=$((failures + 1))
		return
	fi
	out=$(timeout 600 ./pan -E -m10000 2>&1)
	states=$(sed -nE 's/ *([0-9.e+]+) states, stored.*/\1/p' <<<"$out" | tail -1)
	seconds=$(sed -nE 's/.*elapsed time ([0-9.]+) seconds.*/\1/p' <<<"$out")
	if [[ $out == *"$want"* ]] && { [ "$want" != "errors: 0" ] || ! [[ $out =~ "not completed"|"depth too small"|"out of memory" ]]; }; then
		echo "ok $name: $want, ${states:-?} states, ${seconds:-?} s"
	else
		echo "$out" | head -20
		echo "FAIL $name: want $want"
		failures=$((failures + 1))
	fi
}

check all-of-it "errors: 0" ATTEMPTS=2 SAVES=1 SHARDS=1 READERS=1 GCS=1 DUPS=1
check two-shards "errors: 0" ATTEMPTS=2 SAVES=1 SHARDS=2 READERS=1 GCS=1 DUPS=0
check two-saves "errors: 0" ATTEMPTS=2 SAVES=2 SHARDS=1 READERS=1 GCS=0 DUPS=0
check two-saves-and-gc "errors: 0" ATTEMPTS=2 SAVES=2 SHARDS=1 READERS=0 GCS=1 DUPS=0
check three-attempts "errors: 0" ATTEMPTS=3 SAVES=1 SHARDS=1 READERS=0 GCS=0 DUPS=0
# Holes: nobody looks for newer claims after the manifest; a list is believed that was taken across a prune.
check hole-second-fence "assertion violated ((picked" ATTEMPTS=2 SAVES=1 SHARDS=1 READERS=0 GCS=0 DUPS=0 NO_SECOND_FENCE
check hole-one-list "assertion violated (c>=floor)" ATTEMPTS=2 SAVES=1 SHARDS=1 READERS=1 GCS=0 DUPS=0 ONE_LIST
exit $((failures > 0))
