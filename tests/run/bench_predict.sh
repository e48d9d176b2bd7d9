#!/bin/bash
# lockstep bench predict: from real measurements, and from a run whose step times are known; the published figures; what is refused, and why.
. "$(dirname "$0")/../lib.sh"
[ ${#NOLEAKS[@]} = 0 ] || export "${NOLEAKS[1]}" # ranks of the bench get no -x
predict() { timeout 60 "$B/lockstep" bench predict "$@"; }
get() { python3 -c 'import json, sys; f = json.load(open("out")); print(eval(sys.argv[1]))' "$1"; }

# A program whose every step computes 40 ms and says so; of 2 ranks, too.
cat >steps.sh <<'P'
for s in $(seq 1 21); do echo "progress step=$s loss=1 samples=32 ms=40" >&"$LOCKSTEP_EVENT_FD"; done
P
lockstep run -q -np 1 --dir one -- bash steps.sh >out 2>&1
expect_eq "a run with known steps" 0 $?
cat >net.yaml <<'Y'
name: two in a node
ranksPerNode: 2
nodes: 4
error: 0.25
intra: {GBps: 1}
inter: {GBps: 0.5, nics: 1, oversubscription: 1}
ways: [{algorithm: ring, intraUs: 0, interUs: 0}]
Y
predict --topology net.yaml --run one --bytes 20000000 --bucket 10000000 --backward 0.5 --ranks 1,2,4 --json >out 2>err
expect_eq "from a run: it ends well" 0 $?
# 2 buckets of 10 MB: between 2 ranks 10 ms each at 1 GB/s, between 4 on 2 nodes 1.5 x 10 MB / 0.5 GB/s = 30 ms. Ready at 30 and 40 ms.
expect_eq "steps of 1, 2 and 4 ranks" "40.000 50.000 90.000" "$(get '" ".join("%.3f" % p["step_ms"] for p in f["points"])')"
expect_eq "exposed" "0.000 10.000 50.000" "$(get '" ".join("%.3f" % p["exposed_ms"] for p in f["points"])')"
expect_eq "samples a second, from the run's batch" "[800, 1280, 1422]" "$(get '[round(p["samples_per_s"]) for p in f["points"]]')"
expect_eq "the interval of collectives 25% off" "40.0-40.0 47.5-55.0 75.0-105.0" "$(get '" ".join("%.1f-%.1f" % (p["low_ms"], p["high_ms"]) for p in f["points"])')"
expect_match "what was assumed is said" "Backward is 0.5 of compute" "$(get 'f["assumptions"]')"
out=$(predict --topology net.yaml --run one --bytes 20000000 --bucket 10000000 --backward 0.5 --nodes 1,2)
expect_match "the table, by nodes" $'\n +2 +1 +40.00 +0.00 +20.00 +10.00 +50.00 +47.50 +55.00 +80.0% +1280  ring\n +4 +2 ' "$out"
expect_match "assumptions behind it" $'\n# Data-parallel only' "$out"

timeout 100 "$B/lockstep" bench all-reduce --backend shm -np 2 --oversubscribe --place in -b 4K -e 4M -f 8 -n 3 -w 1 --json >shm.json 2>err
expect_eq "2 real ranks are measured" 0 $?
predict --fit shm.json --json >out 2>err
expect_eq "their link is fitted: inside a node, with Lockstep's algorithm" "intra direct 4 True" "$(get 'f["fits"][0]["link"], f["fits"][0]["algorithm"], f["fits"][0]["samples"], f["fits"][0]["gbps"] > 0' |
	tr -d "(),'")"
out=$(predict --topology shm-host --fit shm.json --compute-ms 10 --spread 1 --model "$ROOT/bench/models/resnet50.csv" --ranks 1,2,4)
expect_match "a preset, with the measured link in it" "The figures inside a node are measured ones" "$out"
expect_match "buckets of a model" "gradients: 102.2 MB in 5 buckets" "$out"

predict --validate >out 2>err
expect_eq "published figures: it ends well" 0 $?
expect_match "each with its error" "8 x H100, 8G +8 +[0-9.]+ +479.72 GB/s +[+-][0-9.]+%" "$(cat out)"
expect_match "training at 512 GPUs" "MPT-1B, [^%]* 512 +[0-9.]+ +39837 tok/s +[+-][0-9.]+%" "$(cat out)"
expect_match "what a fit makes of the same figures" "# a fit to these 9 sizes: [0-9.]+ us and [0-9.]+ GB/s, rms error [0-9.]+%" "$(cat out)"
expect_match "and the sum of it" "# training: [0-9]+ figures; the error is [0-9.]+% in the median" "$(cat out)"
for t in "$ROOT"/bench/topologies/*.yaml; do
	predict --topology "$t" --compute-ms 10 --spread 0 --bytes 100M --nodes 1 >out 2>err
	expect_eq "preset $(basename "$t")" 0 $?
done

refused() { expect_refused "$1" "$2" predict "${@:3}"; } # NAME REGEX ARGS...
job=(--compute-ms 10 --bytes 1M --ranks 2)
sed 's/intra:/intar:/' net.yaml >bad.yaml
refused "no topology" "--topology is missing" "${job[@]}" --spread 0
refused "no such topology" "--topology: cannot open none.yaml" --topology none.yaml "${job[@]}" --spread 0
refused "a topology that is a folder" "--topology: cannot read \." --topology ./ "${job[@]}" --spread 0
refused "no such measurement" "--fit: cannot open none.json" --fit none.json
refused "no such figures" "--validate: cannot open none.yaml" --validate none.yaml
predict --validate >/dev/full 2>err
expect_eq "a full disk: the exit code" "1 lockstep bench: cannot write to standard output: No space left on device" "$? $(cat err)"
refused "ranks and nodes" "give one of them" --topology net.yaml "${job[@]}" --spread 0 --nodes 1
refused "an option that is none" "^lockstep bench: unrecognized option '--topologie'"$'\n'"lockstep bench predict --help lists the options$" --topologie x
refused "no spread" "--compute-ms without --spread" --topology net.yaml "${job[@]}"
refused "no worlds" "--ranks or --nodes is missing" --topology net.yaml --compute-ms 10 --spread 0 --bytes 1M
refused "no gradients" "want --model FILE.csv or --bytes SIZE" --topology net.yaml --compute-ms 10 --spread 0 --ranks 2
refused "no compute time" "want --run DIR, whose steps were measured, or --compute-ms" --topology net.yaml --bytes 1M --ranks 2
refused "a wrong key, with its line" "bad.yaml:5: intar: unknown key; did you mean intra\?" --topology bad.yaml "${job[@]}" --spread 0
refused "a world that does not fit" "3 ranks: two in a node has 2 in a node" --topology net.yaml "${job[@]}" --spread 0 --ranks 3
refused "more nodes than there are" "need 8 nodes; two in a node has 4" --topology net.yaml "${job[@]}" --spread 0 --ranks 16
refused "a preset that is none" "--topology dgx is no preset" --topology dgx "${job[@]}" --spread 0
refused "a file that is no measurement" "want what .lockstep bench all-reduce --json. prints" --fit net.yaml
printf 'collectives:\n  - {what: x, topology: dgx-a100, source: y}\n' >bad.yaml
refused "a published figure without its date" "bad.yaml:2: .date. is missing here" --validate bad.yaml
lockstep run -q -np 2 --oversubscribe --dir two -- bash steps.sh >out 2>&1
[ "$(head -1 two/steps.csv | grep -c wait_ms)" = 1 ] && sed -i 's/,wait_ms//' two/steps.csv
refused "ranks that waited for each other" "run the job with -np 1, or give --compute-ms" --topology net.yaml --run two --bytes 1M --ranks 2
no_leftovers "no process stays"
