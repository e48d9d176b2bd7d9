#!/bin/bash
# limit: 600
# SIGKILL of a random rank at 20 random moments: 20 loss curves, all equal to the undisturbed one. KILLS=N changes the number, SEED=N
# repeats a choice of moments.
. "$(dirname "$0")/../lib.sh"

KILLS=${KILLS:-20}
SEED=${SEED:-$RANDOM}
RANDOM=$SEED
echo "SEED=$SEED"

job() { # DIR
	(cd "$ROOT" && exec timeout 100 "$B/lockstep" run -q -f examples/digits/digits.yaml --dir "$TMP/$1" \
		--set 'spec.workers.template.spec.containers.0.args=["--steps", "300", "--batch", "96", "--data", "examples/digits/digits.csv", "--step-ms", "4"]' \
		--set spec.workers.template.spec.containers.0.command="[\"$B/examples/digits\"]" --set spec.checkpoint.every.steps=40)
}

job whole >whole.out 2>&1
expect_eq "an undisturbed run" 0 $?
equal=0
for ((i = 1; i <= KILLS; i++)); do
	rank=$((RANDOM % 2)) ms=$((RANDOM % 1800))
	job run$i >run$i.out 2>&1 &
	job=$!
	# The moment counts from the start of the job: it may hit the start-up, a step, a save, or the end.
	sleep "$(printf '0.%03d' $((200 + ms % 800)))"
	[ $ms -lt 800 ] || sleep 0.8
	pid=$(rank_pid $rank)
	[ -n "$pid" ] && kill -9 "$pid" 2>/dev/null && killed=yes || killed="no: it was not running"
	wait $job
	code=$?
	at=$(awk -F, '$1 == 0 && $2 == 0 { s = $3 } END { print s + 0 }' run$i/steps.csv)
	if [ $code = 0 ] && cmp -s <(curve whole) <(curve run$i); then
		equal=$((equal + 1))
		echo "kill $i: rank $rank after $((200 + ms)) ms at step $at (killed: $killed): the same curve"
	else
		cat run$i.out
		diff <(curve whole) <(curve run$i) | head -5
		fail "kill $i: rank $rank after $((200 + ms)) ms at step $at (killed: $killed), exit code $code"
	fi
	rm -rf run$i
done
expect_eq "$KILLS kills at random moments, $KILLS equal loss curves" "$KILLS" "$equal"
no_leftovers "nothing stays"
