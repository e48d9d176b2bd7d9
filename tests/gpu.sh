#!/bin/bash
# limit: 400
# gpu.sh -- what only a machine with a GPU can show, in under 6 minutes: `make gpu`. Without a GPU it says why, and ends with 77.
#
#   driver and kernels   the unit test of api_cuda.h and kernels_cuda.h on the real driver: values against the CPU's, bit by bit; then GB/s
#   NCCL, a rank a GPU   all-reduce through Lockstep's API beside plain NCCL calls, in turn, in one run
#   NCCL, 2 ranks, 1 GPU functional, not scaling: NCCL 2.30 or newer allows it
#   the GPT example      trains on the GPU; then its speed beside PyTorch's (bench/gpt_gpu.sh)
#
# Not part of `make test`: no figure here is a pass or a failure. $GPU_OUT, if set, gets the figures. NCCL: $LOCKSTEP_NCCL_LIB, else
# build/cuda's, else that of python3's environment, else the loader's; which one is printed.
. "$(dirname "$0")/lib.sh"

OUT=${GPU_OUT:-$TMP/out}
mkdir -p "$OUT"

tool() { timeout "$1" "${@:2}"; } # SECONDS CMD...

if ! "$B/tests/test_cuda" probe >"$OUT/gpu.txt" 2>&1; then
	echo "nothing was run on a GPU: $(<"$OUT/gpu.txt")"
	exit 77
fi
cat "$OUT/gpu.txt"

python_folder() { # SUBFOLDER of the wheels of python3's environment
	python3 -c 'import nvidia, os, sys
for at in nvidia.__path__:
    if os.path.isdir(os.path.join(at, sys.argv[1])): print(os.path.join(at, sys.argv[1])); break' "$1" 2>/dev/null
}

find_nccl() {
	local at
	[ -z "${LOCKSTEP_NCCL_LIB:-}" ] || return 0
	for at in "$ROOT/build/cuda/lib/libnccl.so.2" "$(python_folder nccl/lib)/libnccl.so.2"; do
		[ ! -e "$at" ] || { export LOCKSTEP_NCCL_LIB=$at; return; }
	done
}

show() { # NAME SECONDS CMD...: ok if it ends well; its output is shown and kept
	local name=$1 code=0
	shift
	echo "--- $name: ${*:2}"
	tool "$@" 2>&1 | tee "$OUT/${name//[^a-z0-9]/_}.txt" || code=1
	expect_eq "$name" 0 "$code"
}

# --- the driver, and our kernels -------------------------------------------------------------------------------------------------

show "unit tests on the GPU" 60 "$B/tests/test_cuda" gpu
show "pack and unpack" 30 "$B/tests/test_cuda" speed

# --- NCCL ------------------------------------------------------------------------------------------------------------------------

gpus=$(nvidia-smi -L 2>/dev/null | grep -c ^GPU)
[ "$gpus" -gt 0 ] || gpus=1
find_nccl
echo "NCCL: ${LOCKSTEP_NCCL_LIB:-libnccl.so.2 as the loader finds it}"
if ! lockstep bench all-reduce --help 2>&1 | grep -q -- --device; then
	skip "NCCL" "this build's bench has no --device"
else
	all_reduce=(lockstep bench all-reduce --device cuda --compare nccl,peer-nccl --rounds 5 -f 8)
	show "all-reduce of 1 rank" 60 "${all_reduce[@]}" -np 1 -b 1K -e 256M
	[ "$gpus" = 1 ] || show "all-reduce of $gpus ranks on $gpus GPUs" 60 "${all_reduce[@]}" -np "$gpus" -b 1K -e 256M
	NCCL_MULTI_RANK_GPU_ENABLE=1 show "all-reduce of 2 ranks on one GPU: functional, not scaling" 60 \
		"${all_reduce[@]}" -np 2 --oversubscribe -b 1K -e 16M
fi

grads() { # RANKS WHERE: a training loop's checksum, exact in any order of additions
	NCCL_MULTI_RANK_GPU_ENABLE=1 tool 60 lockstep run -q -np "$1" --oversubscribe --dir "grads-$1-$2" -- "$B/tests/gpu_train" 20 "$2" 2>&1
}
for np in 1 2; do
	expect_eq "gradients in GPU memory, $np ranks on one GPU: as in host memory" "$(grads "$np" host)" "$(grads "$np" gpu)"
done

# --- the GPT example -------------------------------------------------------------------------------------------------------------

cublas=$(python_folder cu13/lib)
[ -n "$cublas" ] || cublas=$(python_folder cublas/lib)
export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}${CUDA_HOME:-/usr/local/cuda}/lib64${cublas:+:$cublas}
if [ -x "$B/examples/gpt" ]; then
	seq 20000 | sed 's/$/ is a number, and the next is larger./' >text.txt
	show "the GPT example trains on the GPU" 60 lockstep run -np 1 --dir gpt -- "$B/examples/gpt" --device cuda --data "$TMP/text.txt" --steps 20
else
	skip "the GPT example" "not in this build"
fi
if [ -x "$ROOT/bench/gpt_gpu.sh" ]; then
	B=$B show "GPT-2 124M beside PyTorch" 150 "$ROOT/bench/gpt_gpu.sh"
else
	skip "GPT-2 124M beside PyTorch" "no bench/gpt_gpu.sh"
fi
