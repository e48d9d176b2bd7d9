#!/bin/bash
# Gradients in GPU memory, under the launcher. The driver and NCCL are stand-ins (tests/fake): no GPU is used, and none is needed.
. "$(dirname "$0")/../lib.sh"
if [ ! -e "$B/tests/libnccl.so.2" ]; then
	skip "gradients in GPU memory" "this build has no NCCL (deploy/setup-cuda.sh fetches its headers)"
	finish
fi
export LOCKSTEP_NCCL_LIB=$B/tests/libnccl.so.2 NCCL_MULTI_RANK_GPU_ENABLE=1 FAKE_NCCL_DIR=$TMP
export LD_LIBRARY_PATH=$B/tests${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

train() { # WHERE [ENV...]: 20 steps
	env "${@:2}" lockstep run -q -np 2 --dir "$(mktemp -d "$TMP/run.XXXXXX")" -- "$B/tests/gpu_train" 20 "$1" 2>&1
}

want=$(train host)
expect_match "a sum to compare with" "checksum [-0]" "$want"
expect_eq "in GPU memory: the same" "$want" "$(train gpu)"
expect_eq "every other tensor in host memory: the same" "$want" "$(train both)"
expect_eq "in one piece of memory, in place: the same" "$want" "$(train row)"
expect_eq "in one piece on one rank only: the same" "$want" "$(train half)"
expect_eq "each tensor alone: the same" "$want" "$(train gpu LOCKSTEP_FUSE_BYTES=0)"
expect_eq "few together: the same" "$want" "$(train gpu LOCKSTEP_FUSE_BYTES=3000)"
expect_eq "as BF16: the same, for these values" "$want" "$(train gpu LOCKSTEP_WIRE_DTYPE=BF16)"
expect_eq "NCCL asked for by its name: the same" "$want" "$(train gpu LOCKSTEP_BACKEND=nccl)"
expect_eq "the program never touches GPU memory, nor does the library" "$want" "$(train gpu FAKE_CUDA=guard)"
expect_eq "two nodes, as NCCL sees them: the same" "$want" \
	"$(lockstep run -q -np 2 --dir "$TMP/nodes" -- sh -c 'LOCKSTEP_NODE_KEY=n$RANK exec "$0" 20 gpu' "$B/tests/gpu_train" 2>&1)"
expect_eq "without a launcher, one rank" "$("$B/tests/gpu_train" 3 host 2>&1 | grep checksum)" \
	"$("$B/tests/gpu_train" 3 gpu 2>&1 | grep checksum)"

refused() { # NAME WHERE TEXT [ENV...]
	local out
	out=$(train "$2" "${@:4}") && fail "$1" "it worked: $out" && return
	expect_match "$1" "$3" "$out"
}
refused "gradients on the GPU on some ranks only" mixed "rank 1 registered bucket 0 as 'embed' F32\[30000\], rank 0 as 'embed' F32\[30000\] in GPU memory"
refused "the stream changes in a step" streams "lockstep_stream was called between the buckets of one step"
refused "a backend of host memory is asked for" gpu "LOCKSTEP_BACKEND=shm works in host memory, and the program's data is in GPU memory" LOCKSTEP_BACKEND=shm
refused "NCCL is asked for, and gradients are in host memory" host "LOCKSTEP_BACKEND=nccl, and gradient bucket 'embed' is in host memory" LOCKSTEP_BACKEND=nccl
refused "no such type" gpu "LOCKSTEP_WIRE_DTYPE=FP8: want F64, F32, F16 or BF16" LOCKSTEP_WIRE_DTYPE=FP8
refused "two ranks on one GPU" gpu "ranks 0 and 1 on .* have one GPU, NVIDIA Stand-in at 0000:.*NCCL_MULTI_RANK_GPU_ENABLE=1" NCCL_MULTI_RANK_GPU_ENABLE=0
refused "no NCCL" gpu "NCCL cannot be opened: /nowhere.so: .*install libnccl2" LOCKSTEP_NCCL_LIB=/nowhere.so
refused "an old NCCL" gpu "libnccl.so.2 is NCCL 2.18.5: Lockstep needs 2.19.0 or newer" FAKE_NCCL_VERSION=21805
expect_match "a host without a driver" "rank 0 on .*: .*driver" "$(LD_LIBRARY_PATH= LOCKSTEP_BACKEND=nccl lockstep run -q -np 2 --dir "$TMP/none" -- "$B/examples/allreduce" 2>&1)"
expect_match "a program that writes to its memory from the host" "allreduce: .*GPU memory" "$(LOCKSTEP_BACKEND=nccl "$B/examples/allreduce" 2>&1)"
refused "NCCL fails in a step" gpu "gradient bucket.* 'embed'.*: all-reduce: NCCL .* says: .*NET/IB.*; another rank or the network to it is gone" "FAKE_NCCL=remote rank=1 op=9"

# A rank is killed in the middle: it is named, and the job goes on from its checkpoint, to the same result.
cat >job.yaml <<EOF
apiVersion: lockstep.dev/v1alpha1
kind: TrainingJob
metadata: {name: gpu}
spec:
  workers:
    ranksPerWorker: 2
    template: {spec: {containers: [{name: train, image: none, command: ["$B/tests/gpu_train", "60", "gpu", "20"]}]}}
  checkpoint: {every: {steps: 5}}
  runPolicy: {backoffLimit: 3}
EOF
lockstep run -f job.yaml --local --dir "$TMP/killed" >killed.out 2>&1 &
launcher=$!
if wait_until 60 reached killed 12; then
	kill -9 "$(rank_pid 1)"
	wait "$launcher"
	expect_match "killed with kill -9: it is named" "rank 1 on host .* was killed by signal 9" "$(<killed.out)"
	expect_match "the checkpoint names NCCL" '"nccl":[[:space:]]*"NCCL 2' "$(cat killed/checkpoints/*/manifest.json | tail -40)"
	expect_match "it resumes" "resumed from step" "$(<killed.out)"
	expect_eq "to the same result" "$(lockstep run -q -np 2 --dir "$TMP/whole" -- "$B/tests/gpu_train" 60 host 2>&1 | grep -o "checksum.*")" \
		"$(grep -o 'checksum.*' killed.out)"
else
	fail "killed with kill -9" "$(<killed.out)"
	kill "$launcher"
	wait "$launcher"
fi

no_leftovers "nothing stays"
expect_eq "nor a file of the stand-in's" "" "$(ls | grep fake-nccl)"
