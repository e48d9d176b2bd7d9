#!/bin/bash
# limit: 300
# bench/gpt_gpu.sh: what it says where there is no GPU; and its two programs together, with ours on a CPU (tests/fake) and PyTorch on one: the same training.
. "$(dirname "$0")/../lib.sh"

PYTHON=$ROOT/build/venv-python/bin/python
case $B in */address) export ASAN_OPTIONS=detect_leaks=0 ;; esac # of the MPI library
out=$(CUDA_VISIBLE_DEVICES= PYTHON=$PYTHON "$ROOT/bench/gpt_gpu.sh" 2>&1)
code=$?
expect_eq "without a GPU it ends with 77" 77 "$code"
expect_match "and says that nothing was measured, and why" "nothing was measured: (this build has no CUDA|PyTorch finds no GPU: .)" "$out"

if [ ! -x "$B/tests/gpt_step" ]; then
	skip "the same training as PyTorch" "this build has no CUDA"
	exit
fi
tiny=(--batch 2 --layers 2 --heads 1 --channels 64 --vocab 300 --context 20 --rounds 2 --steps 3 --device cpu --no-compile --program "$B/tests/gpt_step")
out=$("$PYTHON" "$ROOT/bench/gpt_torch.py" "${tiny[@]}" 2>&1)
code=$?
expect_eq "the same losses as PyTorch's after 9 steps" 0 "$code"
expect_match "a row for each contender" "lockstep .*lockstep, bare .*torch eager " "$out"
expect_match "the runtime's own overhead" "own overhead: -?[0-9.]+% of a step" "$out"
[ "$code" = 0 ] || echo "$out"

out=$("$PYTHON" "$ROOT/bench/gpt_torch.py" "${tiny[@]}" --tolerance 0 2>&1)
code=$?
expect_eq "losses that differ are an error" 1 "$code"
expect_match "which says so" "they do not train the same" "$out"

out=$("$PYTHON" "$ROOT/bench/gpt_torch.py" "${tiny[@]}" --heads 2 2>&1)
code=$?
expect_eq "our program's failure is an error" 1 "$code"
expect_match "with its own words" "64 channels in 2 heads: on cuda a head has 64 channels" "$out"
