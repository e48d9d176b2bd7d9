#!/bin/bash
# limit: 600
# SIGKILL at every I/O call of a save, one after the other: then a reader finds the checkpoint from before or the new one, whole and no
# mix; the next save, by a new process, succeeds and leaves nothing but itself. See tests/kill/.
. "$(dirname "$0")/../lib.sh"

# A singleton of Open MPI 4 that starts no daemon; the session directory of a killed one goes with $TMP.
export OMPI_MCA_ess_singleton_isolated=1 TMPDIR=$TMP
# The preloaded library stands before AddressSanitizer's, which is fine: it only counts.
case $B in */address) export ASAN_OPTIONS=detect_leaks=0:verify_asan_link_order=0 ;; esac

killsave() { timeout 60 "$B/tests/killsave" "$@"; }

objects() { # URI: everything below it, also what is no checkpoint's
	case $1 in
	file://*) (cd "${1#file://}" && find . -type f -printf '%P\n' | sort) ;;
	*) "$B/tests/store_tool" "$1" list "" | cut -d' ' -f1 && "$B/tests/store_tool" "$1" sweep "" "~" dry | sed '/^0$/d' ;;
	esac
}
only_3=$(printf '%s\n' generation-00000002.json step-000000000003-g00000002/{manifest.json,rank-00000.safetensors})

# What must hold after a kill. Prints the step that was found, or what is wrong.
judge() { # URI
	local step out
	out=$(lockstep ckpt verify "$1" 2>&1) || { echo "published, yet damaged: $out"; return; }
	step=$(killsave next "$1" 2>next.out) || { echo "next: $(<next.out)"; return; }
	out=$(lockstep ckpt verify "$1" 2>&1) || { echo "after the next save: $out"; return; }
	out=$(lockstep ckpt ls "$1" | awk 'NR > 1 { print $1, $6 }')
	[ "$out" = "3 whole" ] || { echo "the next save leaves: $out"; return; }
	out=$(objects "$1")
	[ "$out" = "$only_3" ] || { echo "the next save leaves: $out"; return; }
	echo "$step"
}

# Points are counted until three saves in a row have come to their end unkilled: with threads and sockets their number varies.
kill_everywhere() { # NAME URI [after]
	local n=0 points=0 ended=0 wrong=0 old=0 new=0 uri code found after=0
	[ "${3:-}" != after ] || after=1
	while [ $ended -lt 3 ]; do
		n=$((n + 1)) uri=$2/$n
		KILLAT_N=$n KILLAT_AFTER=$after LD_PRELOAD=$B/tests/killat.so killsave save "$uri" >save.out 2>&1
		code=$?
		case $code in
		137) ended=0 points=$n ;;
		0) ended=$((ended + 1)) ;;
		*) fail "$1: a save that is to be killed" "exit code $code: $(<save.out)"; return ;;
		esac
		found=$(judge "$uri")
		case $found$code in
		1137) old=$((old + 1)) ;;
		2137 | 20) new=$((new + 1)) ;;
		*) wrong=$((wrong + 1)); echo "$1: call $n, exit code $code: $(grep killat: save.out): $found" ;;
		esac
	done
	echo "$1: $points kill points; found after them: the old checkpoint $old times, the new one $((new - ended)) times"
	expect_eq "$1: SIGKILL ${3:-before} every I/O call of a save loses nothing" 0 $wrong
	[ $old -gt 0 ] && [ $new -gt $ended ] || fail "$1: kills before and behind the moment of publication" "old $old, new $new"
}

kill_everywhere "file://" "file://$TMP/store"
server=$("$ROOT/tests/s3server" start versitygw "$TMP/s3") && eval "$server"
kill_everywhere "s3://" s3://lockstep/killed
"$ROOT/tests/s3server" stop "$TMP/s3"
no_leftovers "nothing stays"
