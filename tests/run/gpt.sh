#!/bin/bash
# limit: 300
# The GPT example: its gradients and losses are PyTorch's; it learns; overlap changes no bit; it survives a kill on the same loss curve; what
# it refuses.
. "$(dirname "$0")/../lib.sh"

LIKE=(--layers 2 --heads 2 --channels 32 --context 64 --batch 4 --device cpu --sample 0)
gpt() { # RANKS ARGS...
	timeout 100 lockstep run -np "$1" --oversubscribe --dir "$TMP/runs/$RANDOM" "${NOLEAKS[@]}" -- "$B/examples/gpt" "${LIKE[@]}" "${@:2}"
}

# --- against PyTorch ---------------------------------------------------------------------------------------------------------------

gpt 2 --layers 3 --heads 3 --channels 48 --context 70 --steps 8 --warmup 2 --lr 3e-3 --bucket-kib 16 --dump "$TMP/dump" >dump.out 2>&1
expect_eq "two ranks train, with a bucket for every few tensors" 0 $?
expect_match "it says which device, and why" "device cpu: asked for" "$(cat dump.out)"
python=${LOCKSTEP_TEST_PYTHON:-$ROOT/build/venv-python/bin/python3}
if "$python" -c 'import torch, safetensors' 2>/dev/null; then
	out=$("$python" "$ROOT/tests/run/gpt_torch.py" 3 8 3e-3 dump.0.safetensors dump.1.safetensors 2>&1)
	expect_match "gradients are PyTorch's, averaged over the ranks" "gradients of 40 tensors: the worst" "$out"
	expect_match "and so are the losses of the steps after it" "losses of 8 steps: off by" "$out"
	echo "$out"
else
	skip "gradients are PyTorch's" "no torch or safetensors in $python: tests/setup-python.sh makes it"
fi

# --- the same bits -----------------------------------------------------------------------------------------------------------------

job() { # DIR ARGS...: 60 steps, a checkpoint every 10
	local args
	args=$(printf '"%s", ' "${LIKE[@]}" --steps 60 --lr 1e-2 --warmup 5 --bucket-kib 16 "${@:2}")
	(cd "$ROOT" && exec timeout 100 "$B/lockstep" run -f examples/gpt/gpt.yaml --dir "$TMP/$1" --oversubscribe "${NOLEAKS[@]}" \
		--set "spec.workers.template.spec.containers.0.command=[\"$B/examples/gpt\"]" \
		--set "spec.workers.template.spec.containers.0.args=[${args%, }]" \
		--set spec.checkpoint.every.steps=10)
}
same_curve() { # NAME DIR
	if cmp -s <(curve whole) <(curve "$2"); then ok "$1"; else fail "$1" "$(diff <(curve whole) <(curve "$2") | head -5)"; fi
}

job whole --sample 20 >whole.out 2>&1
expect_eq "an undisturbed run" 0 $?
expect_eq "has a loss for each step" 60 "$(curve whole | wc -l)"
expect_match "learns: below 4 nats a byte on text that it has not seen, from 5.5" "held-out text [123]\." "$(cat whole.out)"
expect_match "writes what it was asked for" "In the beginning ." "$(cat whole.out)"
expect_match "and says how quick it was" "a step takes [0-9.]+ ms" "$(cat whole.out)"
job apart --no-overlap >apart.out 2>&1
same_curve "without overlap: the same losses bit for bit" apart
job killed --step-ms 50 >killed.out 2>&1 &
wait_until 60 reached killed 25
kill -9 "$(rank_pid 1)"
wait $!
expect_eq "rank 1 killed: the job succeeds all the same" 0 $?
expect_match "it went on from a checkpoint" "resumed from step [2-5]0" "$(cat killed.out)"
same_curve "and on the same loss curve" killed

# --- what it refuses ---------------------------------------------------------------------------------------------------------------

refused() { # NAME REGEX ARGS...
	out=$("$B/examples/gpt" --sample 0 "${@:3}" 2>&1)
	expect_eq "$1: exit 2" 2 $?
	expect_match "$1: says why" "$2" "$out"
}
refused "heads that do not divide the channels" "100 channels are no multiple of 3 heads" --channels 100 --heads 3
refused "a number that is none" "--steps 12x: want a whole number from 0" --steps 12x
refused "no such file" "cannot open no-such-file" --data no-such-file
refused "a sample of nothing" "--prompt '': want at least one character" --sample 10 --prompt ''
printf 'too short' >short.txt
refused "a text shorter than a window" "short.txt has 9 bytes: fewer than one window of 128" --data short.txt
CUDA_VISIBLE_DEVICES='' refused "cuda where there is none" "--device cuda: no cuda: .+; --device cpu trains without a GPU" --device cuda
# A rank that was given a GPU which does not work does not train on the CPU in silence.
if [ -e /dev/nvidiactl ]; then
	skip "a GPU that was given and does not work" "here is one that may work"
else
	CUDA_VISIBLE_DEVICES=0 refused "a GPU that was given and does not work" "this rank was given a GPU .*: no cuda: " --steps 1
fi
expect_match "--no-communication is loud" "every rank trains for itself, and their models differ" "$(gpt 2 --steps 2 --no-communication 2>&1)"
no_leftovers "nothing stays"
