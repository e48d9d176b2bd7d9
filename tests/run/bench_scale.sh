#!/bin/bash
# limit: 300
# lockstep bench scale: real jobs at 1, 2 and 4 ranks; weak or strong as the ranks tell it; what fails, and what stays behind.
. "$(dirname "$0")/../lib.sh"
mkdir tmp meet
export TMPDIR=$TMP/tmp MEET=$TMP/meet

bench() { timeout 200 "$B/lockstep" bench scale "$@"; }
job() { # NAME ARGS: a manifest of the python rank
	cat >"$1.yaml" <<-EOF
		apiVersion: lockstep.dev/v1alpha1
		kind: TrainingJob
		metadata: {name: $1}
		spec:
		  workers:
		    replicas: 1
		    template:
		      spec:
		        containers:
		        - name: train
		          command: [python3, $ROOT/tests/run/bench_scale.py]
		          args: [$2]
		          env: [{name: BATCH, value: "8"}]
		  checkpoint: {uri: "file://$TMP/mine", every: {steps: 5}}
		  runPolicy: {backoffLimit: 5}
	EOF
}
of() { python3 -c 'import json, sys
points = {p["ranks"]: p for p in json.load(open(sys.argv[1]))["series"][int(sys.argv[2])]["points"]}
print(" ".join(str(eval(sys.argv[3], {"p": points[r]})) for r in sorted(points)))' "$@"; } # FILE SERIES EXPRESSION-OF-p
small=(--warmup 3 --steps 5 --seconds 0.2 --repeats 2)
cores=$(lockstep topo -np 1 >/dev/null 2>&1; python3 -c 'import os; print(len(os.sched_getaffinity(0)))')

# The digits example, whose batch is global: as it is, it is strong scaling; its store stays as it was.
cp "$ROOT/examples/digits/digits.yaml" digits.yaml
ln -s "$ROOT/examples" examples && mkdir build && ln -s "$B/examples" build/examples
bench -f digits.yaml --ranks 1,2,4 "${small[@]}" --set --steps=100000 --json d.json --csv d.csv --report d.html >out 2>err
expect_eq "the digits example: the exit code" 0 $?
expect_match "its table" "digits, strong scaling: 96 samples a step over all ranks; 2 rounds" "$(cat out)"
expect_eq "each world is judged" "base strong strong" "$(of d.json 0 'p["scaling"]')"
expect_eq "each was run twice" "2 2 2" "$(of d.json 0 'len(p["runs"])')"
expect_eq "liblockstep tells how long it waited" "True True True" "$(of d.json 0 '0 <= p["communication"]["median"] < 1')"
expect_eq "throughput and step time are there" "True True True" "$(of d.json 0 'p["samples_per_second"]["min"] > 0 and p["step_ms"]["min"] > 0')"
expect_eq "a world larger than the machine is marked" "$(for r in 1 2 4; do ((r > cores)) && echo True || echo False; done | xargs)" "$(of d.json 0 'p["shares_core"]')"
if ((cores < 4)); then
	expect_match "in the table, too" $'\n'"    4\*" "$(cat out)"
	expect_no_match "and nothing is concluded from it" "efficiency at 4 ranks" "$(cat out)"
fi
expect_eq "a line of CSV for each" 4 "$(wc -l <d.csv)"
expect_match "a report" "<h2>Strong scaling: 96 samples a step over all ranks</h2>" "$(cat d.html)"
expect_eq "no run, no checkpoint stays here" "" "$(find . -name 'step-*' -o -name lockstep-runs)"

# Any program that tells steps. Two series; where the manifest has the variable or the argument, it is set there.
job plain '--batch, $(BATCH)'
bench -f plain.yaml --ranks 2,1 "${small[@]}" --weak 'BATCH=16' --strong '--batch={32/ranks}' --json p.json >out 2>err
expect_eq "a plain program: the exit code" 0 $?
expect_eq "weak: as many for each rank" "base weak" "$(of p.json 0 'p["scaling"]')"
expect_eq "by a variable that an argument takes up" "16 32" "$(of p.json 0 'p["samples_per_step"]')"
expect_eq "strong: as many for all" "base strong" "$(of p.json 1 'p["scaling"]')"
expect_eq "by an argument" "32 32" "$(of p.json 1 'p["samples_per_step"]')"
expect_eq "the program's own wait_ms" "0.25 0.25" "$(of p.json 1 'p["communication"]["median"]')"
expect_match "one line for each run" "round 2 of 2, strong, 2 ranks: [0-9]+ steps in" "$(cat err)"
bench -f plain.yaml --ranks 1,2 "${small[@]}" --repeats 1 --strong BATCH=16 >out 2>err
expect_match "asked for strong, told weak: it is said" "weak scaling: 16 samples a step for each rank.*note: --strong was asked for, but 2 ranks told 32 samples a step" "$(cat out)"
job zero zero
bench -f zero.yaml --ranks 1,2 "${small[@]}" --repeats 1 --json - >z.json 2>err
expect_eq "only rank 0 tells: weak or strong is not known" "base unknown" "$(of z.json 0 'p["scaling"]')"
expect_match "and why" "2 ranks: 1 of them told steps" "$(cat z.json)"
job short '--steps, "40"'
bench -f short.yaml --ranks 1 "${small[@]}" --steps 100 >out 2>err
expect_eq "a job that ends before is fine" 0 $?
expect_match "and it is said" "1 rank: the job ended by itself when 37 steps" "$(cat out)"
job saves saves
bench -f saves.yaml --ranks 1 "${small[@]}" >out 2>err
expect_eq "a program that saves by itself does it elsewhere" "0 " "$? $(ls mine 2>/dev/null)"

# What fails is named, and the others go on.
job dies dies2
bench -f dies.yaml --ranks 1,2,3 "${small[@]}" --json f.json >out 2>err
expect_eq "a world that fails: the exit code" 1 $?
expect_eq "the others keep their rows" "2 0 2" "$(of f.json 0 'len(p["runs"])')"
expect_match "it is named, with the cause" "note: 2 ranks failed: rank 1 on host .* exited with code 1" "$(cat out)"
expect_match "its last lines" "  \| this rank cannot go on" "$(cat err)"
expect_eq "it is tried once" 1 "$(grep -c ', 2 ranks: ' err)"
job silent silent
bench -f silent.yaml --ranks 1,2 "${small[@]}" >out 2>err
expect_eq "a program that tells no steps: the exit code" 1 $?
expect_match "and what to do" "no rank told a step: a program tells its steps with liblockstep, or by lines on LOCKSTEP_EVENT_FD" "$(cat err)"
job stays stays
bench -f stays.yaml --ranks 1 "${small[@]}" --timeout 2 >out 2>err
expect_match "one that does not end is ended" "it did not tell enough steps within 2 s" "$(cat err)"
bench -f plain.yaml --ranks 1 "${small[@]}" --set 'spec.workers.template.spec.containers.0.command=[./no-such-program]' >out 2>err
expect_eq "no program: the exit code" 1 $?
expect_match "and its name" "no-such-program" "$(cat err)"

refused() { expect_refused "$1" "$2" bench "${@:3}"; } # NAME REGEX ARGS...
refused "no job" "want a job: -f JOB.yaml" --ranks 1
refused "no world" "want world sizes" -f plain.yaml
refused "a world that is no number" "--ranks two: want a whole number" -f plain.yaml --ranks 1,two
refused "a world twice" "--ranks: 2 stands there twice" -f plain.yaml --ranks 2,2
refused "a batch that does not divide" "--strong: \{8/ranks\} with 3 ranks: it is 2.667, which is not whole" -f plain.yaml --ranks 1,3 --strong 'BATCH={8/ranks}'
refused "an argument that is not there" "--weak: --size stands neither in command nor in args" -f plain.yaml --ranks 1 --weak --size=1
refused "a field that is not there" "spec.workers.replica: unknown field" -f plain.yaml --ranks 1 --set spec.workers.replica=2
refused "a manifest that is not there" "nowhere.yaml" -f nowhere.yaml --ranks 1
refused "ranks that hosts cannot share" "--ranks 3: does not divide over up to 2 hosts" -f plain.yaml --ranks 3 -H a:2,b:2
refused "a place for figures that is not there, before anything runs" "^lockstep bench: --csv: cannot write nowhere/x.csv: No such file" -f plain.yaml --ranks 1 --csv nowhere/x.csv
refused "a directory for the report" "--report tmp is a directory" -f plain.yaml --ranks 1 --report tmp
refused "a word too many" "'also' is no option" -f plain.yaml --ranks 1 also

# A signal: the run is ended, and nothing stays. (SIGINT, as of Ctrl-C, is ignored in what a script starts with &.)
lockstep bench scale -f plain.yaml --ranks 2 --seconds 3000 --repeats 1 >out 2>err &
job=$!
wait_until 60 eval 'cat tmp/lockstep-bench-*/*/steps.csv 2>/dev/null | grep -q "^0,1,"'
kill -TERM $job
wait $job
expect_eq "a signal: its exit code" 143 $?
expect_eq "no directory stays" "" "$(ls tmp)"
no_leftovers "no process stays"
