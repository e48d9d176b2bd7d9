# lib.sh -- sourced by tests/run/*.sh and tests/e2e/*.sh; tests/runner counts the lines that these functions print.
#
#   . "$(dirname "$0")/../lib.sh"
#   out=$(lockstep run -np 2 -- echo hi 2>&1); code=$?
#   expect_eq "a good run ends with 0" 0 "$code"
#   no_leftovers "after a good run"
#
# Gives $ROOT (the repository), $B (its build folder), $TMP (removed at the end), the functions `hosts` and `cluster` (tests/hosts and
# tests/kube/cluster of $TMP, ended at the end), and `lockstep` on PATH. The working directory is $TMP, which all hosts see.
# Invariant: the script's exit code is 0 only if no test failed and the script itself reached its end.
set -u -o pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
B=${B:-$ROOT/build}
[[ $B == /* ]] || B=$ROOT/$B
TMP=${LS_TEST_TMP:-$(mktemp -d /tmp/ground.XXXXXX)}
PATH=$B:$PATH
export LOCKSTEP_TEST_ID=$$-$RANDOM # in the environment of every process started here: whose leftovers are ours
failures=0
# Leaks of MPI ranks are other people's; those of the launcher and the shims are ours.
NOLEAKS=()
case $B in */address) NOLEAKS=(-x ASAN_OPTIONS=detect_leaks=0) ;; esac

ok() { echo "ok $1"; }

fail() { # NAME [WHY]
	[ $# -lt 2 ] || echo "$2"
	echo "FAIL $1"
	failures=$((failures + 1))
}

skip() { # NAME REASON
	echo "skip $1: $2"
}

expect_eq() { # NAME WANT GOT
	if [ "$2" = "$3" ]; then ok "$1"; else fail "$1" "want: $2"$'\n'"got:  $3"; fi
}

expect_match() { # NAME REGEX TEXT
	if [[ $3 =~ $2 ]]; then ok "$1"; else fail "$1" "want a match of: $2"$'\n'"in: $3"; fi
}

expect_no_match() { # NAME REGEX TEXT
	if [[ $3 =~ $2 ]]; then fail "$1" "want no match of: $2"$'\n'"in: $3"; else ok "$1"; fi
}

expect_refused() { # NAME REGEX CMD...: it ends with 2, and says why
	local out code
	out=$("${@:3}" 2>&1)
	code=$?
	expect_eq "$1: the exit code" 2 $code
	expect_match "$1: why" "$2" "$out"
}

wait_until() { # SECONDS CMD...: true as soon as CMD is
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		((SECONDS <= end)) || return 1
		sleep 0.05
	done
}

need_root() { # NAME: false, and a loud skip, where namespaces cannot be made
	[ "$(id -u)" = 0 ] || { skip "$1" "needs root for network namespaces"; return 1; }
}

# --- hosts -----------------------------------------------------------------------------------------------------------

hosts() { # VERB ARGS...: of tests/hosts, without its DIR
	local verb=$1
	shift
	"$ROOT/tests/hosts" "$verb" "$TMP" "$@"
}

cluster() { # VERB ARGS...: of tests/kube/cluster, without its DIR
	local verb=$1
	shift
	"$ROOT/tests/kube/cluster" "$verb" "$TMP" "$@"
}

on() { hosts exec "$1" -- "${@:2}"; } # NAME CMD...

# The processes of a host beside its own (process 1, its sleep, sshd), by their ids as seen from here.
procs_on() { # NAME [COMMAND]
	local init pid
	init=$(hosts pid "$1") || return
	for pid in $(pgrep --ns "$init" --nslist pid ${2:+-x "$2"}); do
		[[ "$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null)" =~ hosts\ init|^sleep\ infinity|sshd:.*\[listener\]|^$ ]] ||
			echo "$pid"
	done
}

# --- leftovers -------------------------------------------------------------------------------------------------------

# Files of MPI libraries and of Lockstep below a root. Shared memory that a process has mapped belongs to that process.
stray_files() { # ROOT
	local f
	for f in "$1"/dev/shm/lockstep-[0-9]* "$1"/dev/shm/vader* "$1"/dev/shm/sm_segment* "$1"/dev/shm/pmix* \
		"$1"/tmp/lockstep-[0-9]* "$1"/tmp/ompi.* "$1"/tmp/prte* "$1"/tmp/pmix*; do
		[ -e "$f" ] || continue
		[[ $f == */shm/* ]] && grep -qsF "${f#"$1"}" /proc/[0-9]*/maps && continue
		# A session directory of a run that lives, somebody else's, is no leftover.
		[[ $f == */lockstep-* ]] && grep -qsF "LOCKSTEP_RUN_ID=${f##*-}" /proc/[0-9]*/environ && continue
		echo "file $f"
	done
}

describe() { # WHERE PID...
	local where=$1 pid
	shift
	for pid in "$@"; do
		echo "process $pid$where: $(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | cut -c1-120)"
	done
}

leftovers() { # everything of this test that is still there, a line each
	local e pid h
	for e in $(grep -lsF "LOCKSTEP_TEST_ID=$LOCKSTEP_TEST_ID" /proc/[0-9]*/environ); do
		pid=${e//[!0-9]/}
		{ grep -qsz '^LOCKSTEP_RUN_ID=' "$e" || grep -qsxE 'lockstep|lockstep-agent|mpirun|orted|prte|prted|prterun' "/proc/$pid/comm"; } &&
			describe "" "$pid"
	done
	comm -13 "$TMP/.stray" <(stray_files "" | sort)
	for h in "$TMP"/.hosts/host*/; do
		h=$(basename "$h")
		pid=$(hosts pid "$h" 2>/dev/null) || continue
		# shellcheck disable=SC2046
		describe " on $h" $(procs_on "$h")
		stray_files "/proc/$pid/root"
	done
}

nothing_left() { [ -z "$(leftovers)" ]; }

no_leftovers() { # NAME [SECONDS]: nothing remains, at the latest after so long
	if wait_until "${2:-5}" nothing_left; then ok "$1"; else fail "$1" "$(leftovers)"; fi
}

# --- runs ------------------------------------------------------------------------------------------------------------

# The loss curve of a job directory: "STEP LOSS" of rank 0, of each step's last attempt, in the order of the steps.
curve() { # DIR
	awk -F, 'NR > 1 && $2 == 0 && $1 >= a[$3] + 0 { a[$3] = $1; loss[$3] = $5 } END { for (s in loss) print s, loss[s] }' \
		"$1/steps.csv" | sort -n
}

steps_done() { # DIR: how many steps rank 0 has finished in the newest attempt
	awk -F, '$2 == 0 { s = $3 } END { print s + 0 }' "$1/steps.csv" 2>/dev/null || echo 0
}

reached() { # DIR STEP
	[ "$(steps_done "$1")" -ge "$2" ]
}

# The process id of a rank's program: its shim's child, wherever this test started it.
rank_pid() { # RANK
	local shim
	shim=$(grep -lsz "^LOCKSTEP_TEST_ID=$LOCKSTEP_TEST_ID" /proc/[0-9]*/environ | while read -r e; do
		pid=${e//[!0-9]/}
		grep -qsz '^OMPI_COMM_WORLD_RANK='"$1"'$' "$e" && [ "$(tr '\0' ' ' <"/proc/$pid/cmdline")" = "$B/lockstep rank " ] &&
			[ -n "$(pgrep -P "$pid")" ] && echo "$pid"
	done | head -1)
	[ -n "$shim" ] && pgrep -P "$shim" | head -1
}

# ---------------------------------------------------------------------------------------------------------------------

finish() {
	local code=$?
	trap - EXIT
	cd /
	"$ROOT/tests/hosts" down "$TMP"
	"$ROOT/tests/kube/cluster" down "$TMP"
	rm -rf "$TMP"
	[ "$code" != 0 ] || [ "$failures" = 0 ] || code=1
	exit "$code"
}
trap finish EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
stray_files "" | sort >"$TMP/.stray"
cd "$TMP" || exit 1
