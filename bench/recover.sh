#!/bin/bash
# recover.sh [-r ROUNDS] [-m MIB] [-d DIR] -- from SIGKILL of a rank to the first step after it: lockstep from the agents' memory and from the
# store, and torchrun with torch.save.
#
#   -r 5  -m 256  -d .     DIR: on a disk; what is written there is removed
#
# 2 ranks, a replicated state of MIB, steps of 50 ms of work. The state is saved (durable, before training goes on; torch.save flushes
# nothing), five steps later the last rank kills itself. Each round runs all in turn; one that does not count comes before. Seconds since
# the kill, of the slower rank, median and middle half:
#
#   started       its program began again           met      the ranks had found each other (MPI_Init; import torch, and gloo)
#   loaded        the state was in place            step     the first step was done
#
# The store is file:// below DIR, and s3:// on versitygw where tests/setup-s3.sh has put it.
set -euo pipefail
cd "$(dirname "$0")/.."

. bench/options.sh
B=build
dir=$(mktemp -d "$(realpath "$dir")/lockstep-recover-XXXXXX")
server=
finish() {
	[ -z "$server" ] || tests/s3server stop "$server"
	rm -rf "$dir"
}
trap finish EXIT
if [ -x build/s3/bin/versitygw ]; then
	env=$(tests/s3server start versitygw "$dir/s3")
	eval "$env"
	server=$dir/s3
fi
torch=$(bench/setup-torch.sh)/bin/python

ours() { # NAME URI OPTION...: a line of JSON
	local name=$1 uri=$2
	shift 2
	rm -rf "$dir/job"
	$B/lockstep run -q -np 2 --oversubscribe --max-restarts 3 --dir "$dir/job" -x LOCKSTEP_CHECKPOINT_URI="$uri" -- \
		$B/bench/ckpt --recover --gap 20 --mib "$mib" "$@" >"$dir/log" 2>&1 || { cat "$dir/log" >&2; exit 1; }
	python3 - "$name" "$dir"/job/attempt-*/rank-*.log <<-'END'
		import json, sys
		moments = {}
		for path in sys.argv[2:]:
		    for line in open(path):
		        what, _, when = line.partition(" ")
		        if what == "killed" or "attempt-0" not in path:
		            moments[what] = max(moments.get(what, 0), float(when))
		killed = moments.pop("killed")
		print(json.dumps({"mode": sys.argv[1]} | {what: when - killed for what, when in moments.items()}))
	END
}

theirs() {
	mkdir -p "$dir/torch"
	PYTHONPATH=bench timeout 300 "$torch" bench/recover_torch.py --mib "$mib" --dir "$dir/torch" --every 20 --kill-at 25 2>"$dir/log" | tail -1 |
		sed 's/"imported"/"met"/' || { cat "$dir/log" >&2; exit 1; }
}

for ((n = 0; n <= rounds; n++)); do
	{
		ours "lockstep, memory" "file://$dir/memory$n"
		ours "lockstep, file://" "file://$dir/store$n" --no-agent
		[ -z "$server" ] || ours "lockstep, s3://" "s3://lockstep/recover$n" --no-agent
		theirs
	} >"$dir/round"
	rm -rf "$dir/memory$n" "$dir/store$n"
	[ $n = 0 ] || cat "$dir/round" >>"$dir/results"
done
echo "$mib MiB, 2 ranks, $rounds rounds on $(nproc) cores; seconds since SIGKILL, median (middle half)"
python3 - "$dir/results" <<'END'
import json, statistics, sys

def middle(v):
    v = sorted(v)
    return f"{statistics.median(v):6.2f} ({v[len(v) // 4]:.2f} to {v[-1 - len(v) // 4]:.2f})"

runs = {}
for row in map(json.loads, open(sys.argv[1])):
    runs.setdefault(row["mode"], []).append(row)
theirs = list(runs)[-1]
print(f"{'':24}{'started':<24}{'met':<24}{'loaded':<24}{'step':<24}torchrun's / this")
for name, rows in runs.items():
    cells = "".join(f"{middle([r[what] for r in rows]):<24}" for what in ("started", "met", "loaded", "first_step"))
    print(f"{name:<24}{cells}{middle([t['first_step'] / r['first_step'] for r, t in zip(rows, runs[theirs])])}")
END
