#!/bin/bash
# predict.sh [B [ROUNDS [STEPS]]] -- how far off `lockstep bench predict` is, where it can be measured on this machine, and beside published figures.
#
#   1  all-reduce of 2 ranks in shared memory: each size predicted from the fit of the others
#   2  a training step of 2 ranks with overlap, from the same fit and a run of 1 rank
#   3  all-reduce between two hosts (network namespaces): its latency fitted on the bare link, its bandwidth that of a limit of 1 Gbit/s: measured
#      there, size by size. Needs root
#   4  the published figures of bench/published.yaml
#
# Nothing else should run meanwhile. Files stay in B/bench-predict.
set -euo pipefail
cd "$(dirname "$0")/.."

B=$(realpath "${1:-build}") ROUNDS=${2:-5} STEPS=${3:-200}
OUT=$B/bench-predict
BUCKETS=10 BYTES=4194304 PASSES=8
[ -x "$B/bench/predict_step" ] || { echo "bench/predict.sh: $B/bench/predict_step is not there; make bench builds it, or: make build/bench/predict_step" >&2; exit 1; }
rm -rf "$OUT"
mkdir -p "$OUT"
hosts=
finish() { [ -z "$hosts" ] || tests/hosts down "$hosts"; }
trap finish EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

predict() { "$B/lockstep" bench predict "$@"; }
all_reduce() { "$B/lockstep" bench all-reduce -np 2 --place in -w 1 --rounds "$ROUNDS" --json "$@"; }

echo "## 1. 2 ranks in shared memory: the fit, and each size from the others"
all_reduce --backend shm -b 4K -e 64M -f 4 >"$OUT/shm.json"
predict --fit "$OUT/shm.json"

echo
echo "## 2. a step of 2 ranks: $BUCKETS buckets of $BYTES bytes under $PASSES passes of backward each"
step=("$B/bench/predict_step" "$STEPS" "$BUCKETS" "$BYTES" "$PASSES")
for np in 1 2; do
	"$B/lockstep" run -q -np $np --dir "$OUT/run$np" -- "${step[@]}" >"$OUT/run$np.log" 2>&1 || { cat "$OUT/run$np.log"; exit 1; }
done
predict --topology shm-host --fit "$OUT/shm.json" --run "$OUT/run1" --bytes $((BUCKETS * BYTES)) --bucket "$BYTES" --backward 1 --ranks 1,2 --json >"$OUT/step.json"
python3 - "$OUT" <<'P'
import csv, json, statistics, sys
out = sys.argv[1]
points = json.load(open(out + "/step.json"))["points"]
for p in points:
    rows = list(csv.DictReader(open(f"{out}/run{p['ranks']}/steps.csv")))
    ms = [float(r["ms"]) for r in rows if int(r["step"]) > 1]
    real = statistics.mean(ms)
    print(f"{p['ranks']} rank{'s' if p['ranks'] > 1 else ' '}: predicted {p['step_ms']:8.3f} ms ({p['low_ms']:.3f} to {p['high_ms']:.3f}, exposed {p['exposed_ms']:.3f}), "
          f"measured {real:8.3f} (median {statistics.median(ms):.3f}), error {100 * (p['step_ms'] / real - 1):+.1f}%")
P

echo
if [ "$(id -u)" = 0 ]; then
	echo "## 3. two hosts: latency from the bare link, bandwidth 1 Gbit/s"
	hosts=$(mktemp -d "$OUT/hosts.XXXXXX")
	tests/hosts up "$hosts" 2 >"$OUT/hosts.log"
	between() { tests/hosts exec "$hosts" host0 -- "$B/lockstep" bench all-reduce -np 2 -H host0:1,host1:1 --backend hier --place in -w 1 --rounds "$ROUNDS" --json "$@"; }
	between -b 4K -e 4M -f 4 >"$OUT/bare.json"
	predict --fit "$OUT/bare.json"
	for h in host0 host1; do
		tests/hosts exec "$hosts" $h -- tc qdisc replace dev eth0 root tbf rate 1gbit burst 256kb latency 20ms
	done
	between -b 16K -e 16M -f 4 >"$OUT/limited.json"
	predict --fit "$OUT/bare.json" --json >"$OUT/bare-fit.json"
	python3 - "$OUT" <<'P'
import json, sys
out = sys.argv[1]
fit = json.load(open(out + "/bare-fit.json"))["fits"][0]
open(out + "/limited.yaml", "w").write(f"""name: two hosts, 1 Gbit/s
ranksPerNode: 1
nodes: 2
error: {min(fit["rms_error"], 0.9)}
intra: {{GBps: 1}}
inter: {{GBps: 0.125, nics: 1, oversubscription: 1}}
ways: [{{algorithm: direct, intraUs: 0, interUs: {fit["latency_us"]}}}]
""")
points = "".join(f"      - {{ranks: 2, bytes: \"{r['size']}\", us: {r['results'][0]['time_us']}}}\n" for r in json.load(open(out + "/limited.json"))["rows"])
open(out + "/limited-points.yaml", "w").write(f"""collectives:
  - what: two hosts, 1 Gbit/s
    topology: {out}/limited.yaml
    source: measured here
    date: now
    points:
{points}""")
P
	predict --validate "$OUT/limited-points.yaml"
else
	echo "## 3. two hosts: left out, it needs root"
fi

echo
echo "## 4. published figures"
predict --validate
