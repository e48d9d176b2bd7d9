#!/bin/bash
# lockstep bench net and run --preflight on this machine alone: every figure is there, whatever it is; what is wrong is said; nothing stays.
# Which host or link is slow: tests/unit/test_net.c, tests/e2e/bench_net.sh.
. "$(dirname "$0")/../lib.sh"
[ ${#NOLEAKS[@]} = 0 ] || export "${NOLEAKS[1]}"
mkdir tmp && export TMPDIR=$PWD/tmp
bench() { timeout 100 "$B/lockstep" bench net "$@"; }
get() { python3 -c 'import json, sys; f = json.load(open(sys.argv[2])); print(eval(sys.argv[1]))' "$1" "${2:-net.json}"; }

# Below a thousandth of what is usual: of whatever else runs here meanwhile, nothing is.
bench -np 2 >out 2>err
expect_eq "an option that is none: the exit code" 2 $?
bench -N 3 --seconds 1 --below 0.001 --json net.json >out 2>err
expect_eq "three ranks: it ends well" 0 $?
expect_eq "every rank has its figures, and above 0" "" "$(get '[(r["rank"], k) for r in f["ranks"] for k in ("cpu", "memory", "memoryAlone")
	if not r[k]["median"] > 0 or not r[k]["best"] >= r[k]["median"] or r[k]["repeats"] != 5] or ""')" "$(cat out err)"
expect_eq "how many there are" "1 3 0" "$(get '" ".join(str(len(f[k])) for k in ("hosts", "ranks", "pairs"))')"
expect_eq "facts of the host" "$(uname -r) $(getconf _NPROCESSORS_ONLN)" "$(get 'f["hosts"][0]["kernel"] + " " + f["hosts"][0]["cores"]')"
expect_match "in one word, where no GPU is given" "localhost +1 .* no GPU"$'\n' "$(cat out)"
expect_match "the table ends with the verdict" $'\n'"verdict: nothing is slow$" "$(cat out)"
expect_match "what is under way is told" "lockstep bench net: memory bandwidth of every rank" "$(cat err)"
bench -N 1 --seconds 1 --json - >net.json 2>err
expect_eq "one rank is compared with nothing, and that is told" "False there is one rank: its figures are compared with nothing" \
	"$(get 'str(f["findings"][0]["slow"]) + " " + f["findings"][0]["text"]')"
expect_eq "JSON in the table's place" "1 nothing is slow" "$(get 'str(len(f["ranks"])) + " " + f["verdict"]')"

# NVIDIA's driver as tests/fake has it.
gpu() { # WORDS OF FAKE_CUDA
	FAKE_CUDA=$1 CUDA_VISIBLE_DEVICES=0 LD_LIBRARY_PATH=$B/tests${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} bench -N 1 --seconds 1 --json net.json >out 2>err
	code=$?
}
gpu ""
if grep -qa libcuda.so.1 "$B/bench/net_rank"; then
	expect_eq "a GPU: it ends well" 0 $code
	expect_eq "what it is, and its figures" "NVIDIA Stand-in True" "$(get 'f["hosts"][0]["gpu"] + " " + str(all(
		f["ranks"][0][k]["median"] > 0 for k in ("gpuMemory", "toGpu", "fromGpu")))')"
	gpu prohibited
	expect_eq "a GPU that cannot be used: the exit code" 1 $code
	expect_match "and why" "SLOW host localhost: the GPU of its rank 0 cannot be used: NVIDIA Stand-in at .*Prohibited" "$(cat out)"
else
	expect_eq "a GPU, and a build without CUDA: the exit code" 0 $code
	expect_match "and why it is not measured" "not measured: this build has no CUDA" "$(cat out)"
fi

refused() { expect_refused "$1" "$2" bench "${@:3}"; } # NAME REGEX ARGS...
refused "a part above 1" "--below 2: want a number above 0, at most 1" --below 2
refused "no time" "--seconds 0: want" --seconds 0
refused "one word too many" "'host' is one word too many" host
refused "a host that is none" "'-x' is not a host name" -H -x
refused "what run refuses" "--bind-to: 'socket' is not known" --bind-to socket
bench -N 1 --mpirun /no/mpirun >out 2>err
expect_eq "no mpirun: the exit code" 2 $?
expect_match "and which" "/no/mpirun" "$(cat err)"
out=$("$B/lockstep" run --preflight=maybe -np 1 -- true 2>&1)
expect_match "a way of preflight that is none" "--preflight=maybe: want warn, fail or none" "$out"

timeout 100 "$B/lockstep" run --preflight=fail --dir job -np 1 -- sh -c 'echo "rank $RANK"' >out 2>err
expect_eq "a job after its preflight" 0 $?
expect_eq "its rank's words, and of the preflight's nothing" "[0] rank 0" "$(<out)"
expect_match "it is told" "lockstep: preflight: measuring 1 host"$'\n'".*lockstep: preflight: nothing is slow \([0-9.]+ s\)" "$(cat err)"
expect_eq "and recorded" "Fail nothing is slow []" "$(get 'f["preflight"]["mode"] + " " + f["preflight"]["verdict"] + " " + str(f["preflight"]["leftOut"])' job/job.json)"
cat >job.yaml <<-'END'
	apiVersion: lockstep.dev/v1alpha1
	kind: TrainingJob
	metadata: {name: checked}
	spec:
	  workers: {replicas: 1, ranksPerWorker: 1, template: {spec: {containers: [{name: w, command: ["true"]}]}}}
	  runPolicy: {preflight: Warn}
END
timeout 100 "$B/lockstep" run -f job.yaml --dir checked >out 2>err
expect_eq "the field of a manifest" "0 Warn" "$? $(get 'f["preflight"]["mode"]' checked/job.json)"
timeout 100 "$B/lockstep" run -f job.yaml --preflight=none --dir unchecked >out 2>err
expect_eq "and the option, which counts more" "0 False" "$? $(get '"preflight" in f' unchecked/job.json)"

timeout 100 "$B/lockstep" run --preflight=fail --timeout 1 --dir late -np 1 -- true >out 2>err
expect_eq "the job's deadline passes meanwhile: exit code" 124 $?
timeout 20 "$B/lockstep" run -f job.yaml --workers none --dir pod >out 2>err
expect_match "in a launcher's Pod it is refused" "spec.runPolicy.preflight: not on Kubernetes" "$(cat err)"

# A preflight that cannot be made: its ranks end before they have said anything.
broken=(-x PMIX_MCA_gds=no-such -x OMPI_MCA_btl=no-such -x OMPI_MCA_pml=no-such)
timeout 100 "$B/lockstep" run --preflight=warn --dir warned "${broken[@]}" -np 2 -- true >out 2>err
expect_eq "that is no reason not to start, with warn" 0 $?
expect_match "but is told" "no preflight: .*rank [01]" "$(cat err)"
timeout 100 "$B/lockstep" run --preflight=fail --dir failed "${broken[@]}" -np 2 -- touch started >out 2>err
expect_eq "with fail it is one" 1 $?
expect_match "and told" "lockstep run: preflight: .*rank [01]" "$(cat err)"
expect_eq "nothing has started, and it is recorded" "Failed" "$([ ! -e started ] && get 'f["state"]' failed/job.json)"

bench -N 1 --json nowhere/net.json >out 2>err
expect_eq "figures that cannot be written: the exit code" 2 $?
expect_eq "is said before anything is measured" "lockstep bench: --json: cannot write nowhere/net.json: No such file or directory" "$(cat out err)"
bench -N 1 --seconds 60 --timeout 3 >out 2>err
expect_eq "a time limit: the exit code" 75 $?
expect_match "and what was under way" "lockstep bench: the preflight did not end within 3 s; under way was: [a-zA-Z]" "$(cat err)"
bench -N 1 --seconds 60 >out 2>err &
job=$!
wait_until 60 grep -q memory err
kill -TERM "$(pgrep -P $job)"
wait $job
expect_eq "SIGTERM: its exit code" 143 $?
timeout 100 "$B/lockstep" run --preflight --dir stopped -np 1 -- touch started >out 2>err &
job=$!
wait_until 60 grep -q measuring err
kill -INT "$(pgrep -P $job)"
wait $job
expect_eq "Ctrl-C during a preflight: its exit code" 130 $?
expect_eq "nothing has started" "Stopped" "$([ ! -e started ] && get 'f["state"]' stopped/job.json)"
expect_eq "no file stays" "" "$(ls tmp)"
no_leftovers "no process stays"
