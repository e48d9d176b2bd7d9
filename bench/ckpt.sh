#!/bin/bash
# ckpt.sh [-r ROUNDS] [-m MIB] [-d DIR] -- what a checkpoint costs: `lockstep bench ckpt` against torch.save and torch.distributed.checkpoint.
#
#   -r 5  -m 256  -d .     DIR: on a disk; what is written there is removed
#
# 2 ranks, a replicated state of MIB, steps of 50 ms of work. Each round runs all in turn, after one save of each that does not count, so that
# a busy machine hurts all alike. Median and middle half of the rounds; the ratios are to lockstep's of the same round.
#
#   stall      training stands still so long; the slower rank's            /memcpy   of the same bytes, in the same process, a moment before
#   total      from the same start until all bytes are durable (lockstep: and the manifest published)
#   cpu        of both ranks, beyond what their steps took
#   step       with a save on its way, for each undisturbed one
#
# Then lockstep with one rank: on two cores, one to spare.
set -euo pipefail
cd "$(dirname "$0")/.."

. bench/options.sh
dir=$(mktemp -d "$(realpath "$dir")/lockstep-ckpt-XXXXXX")
trap 'rm -rf "$dir"' EXIT
torch=$(bench/setup-torch.sh)/bin/python

quietly() { "$@" 2>"$dir/log" || { cat "$dir/log" >&2; exit 1; }; }
ours() { # RANKS
	quietly build/lockstep bench ckpt --json --uri "file://$dir" --mib "$mib" -np "$1" --saves 1 | python3 -c '
import json, sys
f = json.load(sys.stdin)
print(json.dumps({"mode": "lockstep", "stall_ms": f["stall_ms"], "total_ms": f["published_ms"], "cpu_s": f["cpu_s"], "memcpy_ms": f["memcpy_ms"],
                  "step_ms": f["step_ms"], "step_ms_during": f["saving_step_ms"]}))'
}

for ((n = 0; n < rounds; n++)); do
	ours 2
	PYTHONPATH=bench quietly "$torch" bench/ckpt_torch.py --mib "$mib" --dir "$dir" --repeats 1 \
		--modes "torch.save;dcp.save;dcp.async_save;dcp.async_save, memory kept" | grep '^{'
done >"$dir/two"
for ((n = 0; n < rounds; n++)); do
	ours 1
done >"$dir/one"
python3 - "$mib" "$rounds" "$(nproc)" "$dir/two" "$dir/one" <<'END'
import json, statistics, sys

def middle(v, digits):
    v = sorted(v)
    return f"{statistics.median(v):.{digits}f} ({v[len(v) // 4]:.{digits}f} to {v[-1 - len(v) // 4]:.{digits}f})"

def column(rows, what, digits=0):
    return f"{middle([r[what] for r in rows], digits):<23}"

def table(path):
    runs = {}
    for row in map(json.loads, open(path)):
        row["copies"], row["step"] = row["stall_ms"] / row["memcpy_ms"], (row["step_ms_during"] or 0) / row["step_ms"]
        runs.setdefault(row["mode"], []).append(row)
    print(f"{'':28}{'stall ms':<23}{'/memcpy':<23}{'total ms':<23}{'cpu s':<23}{'step':<23}{'stall ratio':<23}total ratio")
    for name, rows in runs.items():
        ratios = (f"{middle([r[what] / o[what] for r, o in zip(rows, runs['lockstep'])], 2):<23}" for what in ("stall_ms", "total_ms"))
        print(f"{name:<28}" + column(rows, "stall_ms") + column(rows, "copies", 2) + column(rows, "total_ms") + column(rows, "cpu_s", 2) +
              (column(rows, "step", 2) if rows[0]["step_ms_during"] else f"{'-':<23}") + "".join(ratios))

mib, rounds, cores, two, one = sys.argv[1:]
print(f"{mib} MiB, 2 ranks on {cores} cores, {rounds} rounds")
table(two)
print(f"1 rank on {cores} cores")
table(one)
END
