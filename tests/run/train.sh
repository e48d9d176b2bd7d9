#!/bin/bash
# limit: 240
# Training the digits example: it learns; it survives a kill on the same loss curve; a termination notice, a damaged checkpoint and a
# full disk do it no harm.
. "$(dirname "$0")/../lib.sh"

job() { # DIR ARGS...: 400 steps, a checkpoint every 50
	(cd "$ROOT" && exec timeout 100 "$B/lockstep" run -f examples/digits/digits.yaml --dir "$TMP/$1" "${NOLEAKS[@]}" \
		--set 'spec.workers.template.spec.containers.0.args=["--steps", "400", "--batch", "96", "--data", "examples/digits/digits.csv", "--step-ms", "3"]' \
		--set spec.workers.template.spec.containers.0.command="[\"$B/examples/digits\"]" \
		--set spec.checkpoint.every.steps=50 "${@:2}")
}
same_curve() { # NAME DIR
	if cmp -s <(curve whole) <(curve "$2"); then
		ok "$1"
	else
		fail "$1" "$(diff <(curve whole) <(curve "$2") | head -5)"
	fi
}

job whole >whole.out 2>&1
expect_eq "an undisturbed run" 0 $?
expect_match "learns the digits" "accuracy 0\.9[5-9]" "$(tail -2 whole.out)"
expect_eq "every step of every rank is in the table" "400 400" "$(awk -F, 'NR > 1 { n[$2]++ } END { print n[0], n[1] }' whole/steps.csv)"
expect_eq "the newest 3 checkpoints stay, and the claim on them" \
	"generation-00000001.json step-000000000300-g00000001 step-000000000350-g00000001 step-000000000400-g00000001" \
	"$(ls whole/checkpoints | tr '\n' ' ' | sed 's/ $//')"
expect_match "they verify" "whole" "$(lockstep ckpt verify whole/checkpoints 2>&1)"
expect_match "the report is there" "<svg" "$(cat whole/report.html)"
job again >again.out 2>&1
same_curve "a second run gives the same losses bit for bit" again

# --- SIGKILL of each rank's program ---------------------------------------------------------------------------------------------

for rank in 0 1; do
	job kill$rank >kill$rank.out 2>&1 &
	wait_until 30 reached kill$rank 120
	kill -9 "$(rank_pid $rank)"
	wait $!
	expect_eq "rank $rank killed: the job succeeds all the same" 0 $?
	expect_match "rank $rank killed: the cause is named" "rank $rank on host localhost was killed by signal 9" "$(cat kill$rank.out)"
	expect_match "rank $rank killed: it went on from a checkpoint" "resumed from step (100|150)" "$(cat kill$rank.out)"
	same_curve "rank $rank killed: the same loss curve" kill$rank
done

# --- a termination notice ----------------------------------------------------------------------------------------------------------

job term >term.out 2>&1 &
wait_until 30 reached term 130
pkill -TERM -f "^$B/lockstep run .*--dir $TMP/term"
wait $!
expect_eq "SIGTERM: exit 143" 143 $?
expect_match "SIGTERM: it stopped at a step" "stopped at step [0-9]+, as asked" "$(cat term.out)"
at=$(sed -n 's/.*stopped at step \([0-9]*\).*/\1/p' term.out)
expect_eq "SIGTERM: a checkpoint of that step was written" "$(printf 'step-%012d-g00000001' "$at")" "$(ls term/checkpoints | tail -1)"
job term >term2.out 2>&1
expect_eq "a later run" 0 $?
expect_match "continues from there" "resumed from step $at" "$(cat term2.out)"
same_curve "on the same loss curve" term

# --- a damaged checkpoint ----------------------------------------------------------------------------------------------------------

job damaged >damaged.out 2>&1 &
wait_until 30 reached damaged 180
pkill -TERM -f "^$B/lockstep run .*--dir $TMP/damaged"
wait $!
newest=$(ls damaged/checkpoints | tail -1)
printf 'X' | dd of="damaged/checkpoints/$newest/rank-00001.safetensors" bs=1 seek=200 conv=notrunc 2>/dev/null
lockstep ckpt verify damaged/checkpoints >verify.out 2>&1
expect_eq "lockstep ckpt verify finds one flipped byte" 1 $?
expect_match "and names the shard" "rank-00001.safetensors" "$(cat verify.out)"
mkdir damaged/checkpoints/step-000000000999-g00000001
cp "damaged/checkpoints/$newest/rank-00000.safetensors" damaged/checkpoints/step-000000000999-g00000001/
step=${newest#step-}
job damaged >damaged2.out 2>&1
expect_eq "the job goes on" 0 $?
expect_match "the damaged checkpoint is passed over, by name and reason" "checkpoint of step $((10#${step%-g*})) is passed over: .*shard 1 of step" "$(cat damaged2.out)"
expect_match "the one before is used" "resumed from step 150" "$(cat damaged2.out)"
same_curve "on the same loss curve again" damaged

# --- a full disk -------------------------------------------------------------------------------------------------------------------

if need_root "a full disk"; then
	mkdir disk
	mount -t tmpfs -o size=400k tmpfs disk
	job full --set spec.checkpoint.uri="file://$TMP/disk/ck" --set spec.checkpoint.keep=2 >full.out 2>&1 &
	wait_until 30 reached full 70
	dd if=/dev/zero of=disk/ballast bs=1k 2>/dev/null
	wait $!
	code=$?
	rm -f disk/ballast
	expect_eq "a full disk does not end the job" 0 $code
	expect_match "it says so" "was not saved, training goes on: .*No space left" "$(cat full.out)"
	expect_match "the older checkpoint is good" "step-000000000050" "$(ls disk/ck)"
	lockstep ckpt verify "file://$TMP/disk/ck" >verify.out 2>&1
	expect_eq "and verifies" 0 $?
	same_curve "training was not disturbed" full
	umount disk
fi
no_leftovers "nothing stays"
