#!/bin/bash
# Ranks on GPUs that NVIDIA's library tells of: a stand-in (tests/fake/nvml.c), so nothing here runs on one. What each rank's program finds in
# CUDA_VISIBLE_DEVICES, and what is refused before any program starts.
. "$(dirname "$0")/../lib.sh"
mkdir lib && ln -s "$B/tests/libnvidia-ml.so.1" lib/ && export LD_LIBRARY_PATH=$PWD/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
unset CUDA_VISIBLE_DEVICES CUDA_DEVICE_ORDER
two="gpu=0000:1b:00.0 gpu=0000:43:00.0"
show='echo "$RANK=$CUDA_VISIBLE_DEVICES,$CUDA_DEVICE_ORDER"'
ranks() { # ORDER VISIBLE|- ARGS...: what the ranks say, in their order
	local visible=()
	[ "$2" = - ] || visible=("CUDA_VISIBLE_DEVICES=$2")
	env "FAKE_NVML=$1" "${visible[@]}" "$B/lockstep" run --no-prefix "${@:3}" -- sh -c "$show" 2>err | sort | xargs
}

expect_eq "a GPU each" "0=0,PCI_BUS_ID 1=1,PCI_BUS_ID" "$(ranks "$two" - -np 2)"
expect_eq "in the order of CUDA_VISIBLE_DEVICES" "0=1,PCI_BUS_ID 1=0,PCI_BUS_ID" "$(ranks "$two" 1,0 -np 2)"
expect_eq "by UUID where it names them so" "0=GPU-43000000-0000-4000-8000-000000000000,PCI_BUS_ID" "$(ranks "$two" GPU-43 -np 1)"
expect_eq "instances of one that is cut up, by UUID" \
	"0=MIG-1b000000-0000-4000-8000-000000000000,PCI_BUS_ID 1=MIG-1b000000-0000-4000-8000-000000000001,PCI_BUS_ID" \
	"$(ranks "gpu=0000:1b:00.0 mig=3g.40gb mig=3g.40gb" - -np 2)"
expect_eq "-x wins: a program that chooses by itself" "0=0,1,PCI_BUS_ID 1=0,1,PCI_BUS_ID" "$(ranks "$two" - -np 2 -x CUDA_VISIBLE_DEVICES=0,1)"
expect_eq "bound to cores: as the launcher has it" "0=1, 1=1," "$(ranks "$two" 1 -np 2 --bind-to core)"
expect_eq "hidden: on cores" "0=, 1=," "$(ranks "$two" "" -np 2)"
expect_match "and it says so" "warning: host localhost: CUDA_VISIBLE_DEVICES is empty, which hides every GPU" "$(cat err)"

sleep 1000 &
other=$!
expect_eq "one that another process uses is given" "0=0,PCI_BUS_ID" "$(ranks "gpu=0000:1b:00.0 user=$other:38" - -np 1)"
expect_match "with a warning that names it" "others use GPU 0 \(pid $other \(sleep\) with 38.0 GiB\): ranks there are slower" "$(cat err)"
expect_eq "in exclusive mode it is not" "" "$(ranks "gpu=0000:1b:00.0 mode=3 user=$other:38" - -np 1)"
expect_match "and it says who has it" "host localhost: GPU 0 \(0000:1b:00.0\) is in exclusive use by pid $other \(sleep\)" "$(cat err)"
kill $other
mkfifo hold
(printf 'a\033[2J' >/proc/self/comm && read -r _ <hold) &
other=$!
wait_until 10 grep -q 2J /proc/$other/comm
ranks "gpu=0000:1b:00.0 user=$other:38" - -np 1 >/dev/null
expect_match "a name that is an order to the terminal is none" "pid $other \(a\?\[2J\) with 38.0 GiB" "$(cat err)"
kill $other

cat >job.yaml <<'EOF'
apiVersion: lockstep.dev/v1alpha1
kind: TrainingJob
metadata: {name: gpus}
spec:
  workers:
    replicas: 1
    template:
      spec:
        containers:
        - name: main
          command: [touch, ran]
          resources: {limits: {nvidia.com/gpu: 2}}
EOF
refused() { # NAME REGEX ORDER VISIBLE|-
	local visible=() code
	[ "$4" = - ] || visible=("CUDA_VISIBLE_DEVICES=$4")
	env "FAKE_NVML=$3" "${visible[@]}" "$B/lockstep" run -f job.yaml >out 2>&1
	code=$?
	expect_eq "$1: the exit code" 2 $code
	expect_match "$1: why" "$2" "$(cat out)"
	expect_eq "$1: nothing ran" "" "$(ls ran 2>/dev/null)"
}
refused "a job for two GPUs, and none is visible" "CUDA_VISIBLE_DEVICES is empty, which hides every GPU" "$two" ""
refused "one of two" "CUDA_VISIBLE_DEVICES=1 shows 1 of this host's 2" "$two" 1
refused "a number that is none" "there is no GPU '7' here, and CUDA sees only what stands before it" "$two" 0,7
refused "a host without GPUs" "asks for 2 GPUs \(nvidia.com/gpu\), host localhost has 0|2 ranks want a GPU" "" -
refused "one is lost" "GPU 1 \(no known address\) cannot be used: it is lost" "$two lost" -
FAKE_NVML="gpu=0000:1b:00.0 mig=3g.40gb mig=3g.40gb" "$B/lockstep" run -f job.yaml --dry-run >out 2>&1
expect_eq "a dry run: the exit code" 0 $?
expect_match "a dry run shows each rank's device" "1 +localhost +1 .* 0.1 .*rank 1: CUDA_VISIBLE_DEVICES=MIG-1b000000-0000-4000-8000-000000000001" "$(cat out)"
FAKE_NVML=$two "$B/lockstep" run -f job.yaml >out 2>&1
expect_eq "two of two: it runs" "0 ran" "$? $(ls ran)"
expect_match "another host's launcher is told all of it" "cudaVisibleDevices\":\"\".*LockstepGPU.*GPU-1b000000-" \
	"$(FAKE_NVML=$two CUDA_VISIBLE_DEVICES='' "$B/lockstep" probe)"

# Another host, by a remote shell that sets its environment.
cat >remote <<'EOF'
#!/bin/sh
FAKE_NVML="gpu=0000:61:00.0 gpu=0000:c1:00.0 mig=3g.40gb" CUDA_VISIBLE_DEVICES=1 exec sh -c "$2"
EOF
chmod +x remote
there() { "$B/lockstep" topo -H elsewhere:1 --ssh ./remote -np 1 2>&1; }
expect_match "another host's instances, and its own CUDA_VISIBLE_DEVICES" \
	" 0 +elsewhere +0 .* GPU 1.0 \(0000:c1:00.0\).*rank 0: CUDA_VISIBLE_DEVICES=MIG-c1000000" "$(there)"
expect_match "the launcher's holds there, too" "hidden by CUDA_VISIBLE_DEVICES.*GPU 0 \(0000:61:00.0\)" "$(CUDA_VISIBLE_DEVICES=0 there)"
no_leftovers "no process stays"
