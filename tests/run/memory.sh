#!/bin/bash
# limit: 120
# Snapshots in memory: a restart resumes from the last one, without the store and on the same loss curve; what memory has lost, the store
# gives; nothing of it outlives the launcher.
. "$(dirname "$0")/../lib.sh"

job() { # DIR ARGS...: 400 steps, a snapshot every 10, a checkpoint every 150
	(cd "$ROOT" && exec timeout 60 "$B/lockstep" run -f examples/digits/digits.yaml --dir "$TMP/$1" "${NOLEAKS[@]}" \
		--set 'spec.workers.template.spec.containers.0.args=["--steps", "400", "--batch", "96", "--data", "examples/digits/digits.csv", "--step-ms", "'"${STEP_MS-3}"'"]' \
		--set spec.workers.template.spec.containers.0.command="[\"$B/examples/digits\"]" \
		--set spec.checkpoint.every.steps=150 --set spec.checkpoint.memory.everySteps=10 "${@:2}")
}
start() { # DIR ARGS...: until it is past step 213, with a checkpoint in the store
	job "$@" >"$1.out" 2>&1 &
	job=$!
	wait_until 30 reached "$1" 213 && wait_until 10 saved "$1" || fail "$1: it got to step 213" "$(cat "$1.out")"
}
saved() { compgen -G "$1/checkpoints/step-*150-*/manifest.json" >/dev/null; }
end() { # NAME: the job succeeds, on the undisturbed curve
	wait $job
	expect_eq "$1: the job succeeds" 0 $?
	if cmp -s <(curve whole) <(curve "$2"); then ok "$1: the same loss curve"; else fail "$1: the same loss curve" "$(cat "$2.out")"; fi
}
last_step() { awk -F, '$1 == 0 && $3 > s { s = $3 } END { print s + 0 }' "$1/steps.csv"; } # of attempt 0, on any rank
resumed() { sed -n 's/^lockstep: resumed from step //p' "$1.out" | tr '\n' ' '; }
# The last snapshot is whole when the next one is begun: what is lost is less than two intervals.
expect_memory() { # NAME DIR
	local from=$(resumed "$2") last=$(last_step "$2") step
	step=${from%%,*}
	if [[ $from == *", in memory " ]] && ((step % 10 == 0 && step <= last && last - step < 20)); then
		ok "$1: it resumed from the last snapshot"
	else
		fail "$1: it resumed from the last snapshot" "died at step $last, resumed from: $from"
	fi
}
agents() { # this test's
	local e
	for e in $(grep -lsF "LOCKSTEP_TEST_ID=$LOCKSTEP_TEST_ID" /proc/[0-9]*/environ); do
		grep -qsx lockstep-agent "${e%environ}comm" && basename "${e%/environ}"
	done
}

job whole >whole.out 2>&1
expect_eq "an undisturbed run" 0 $?
no_leftovers "no agent stays after it" 2

for rank in 0 1; do
	start kill$rank
	kill -9 "$(rank_pid $rank)"
	end "rank $rank killed" kill$rank
	expect_memory "rank $rank killed" kill$rank
done

start both
kill -9 "$(rank_pid 0)" "$(rank_pid 1)"
end "all ranks killed" both
expect_memory "all ranks killed" both

STEP_MS=10 start twice # slow enough to be killed twice before its end
kill -9 "$(rank_pid 1)"
wait_until 30 eval '[ "$(awk -F, "\$1 == 1" twice/steps.csv | wc -l)" -gt 80 ]'
kill -9 "$(rank_pid 0)"
end "killed in two attempts" twice
twice=$(resumed twice)
if [[ $twice =~ ^([0-9]+)0,\ in\ memory\ ([0-9]+)0,\ in\ memory\ $ ]] && ((BASH_REMATCH[1] < BASH_REMATCH[2])); then
	ok "killed in two attempts: each resumed in memory, the second from later"
else
	fail "killed in two attempts: each resumed in memory, the second from later" "resumed from: $twice"
fi

start agent
kill -9 $(agents)
end "the agent is killed alone: it is no loss to the ranks" agent
expect_eq "the agent is killed alone: no other attempt" 0 "$(awk -F, '$1 > n { n = $1 } END { print n + 0 }' <(tail -n +2 agent/steps.csv))"
expect_match "the agent is killed alone: it says what is lost" "snapshots in memory will not outlive rank [01]: " "$(cat agent.out)"

start nothing
kill -9 $(agents) "$(rank_pid 1)"
end "agent and rank killed" nothing
expect_match "agent and rank killed: the store has the newest checkpoint" "^(150|300) $" "$(resumed nothing)"

start launcher
pkill -KILL -f "^$B/lockstep run .*--dir $TMP/launcher"
wait $job 2>/dev/null
no_leftovers "the launcher is killed: nothing stays" 2
job launcher >launcher.out 2>&1
expect_eq "a later run: the job succeeds" 0 $?
expect_match "a later run: has the store, where the orphaned ranks left their last step" "^(2[0-9][0-9]|3[0-9][0-9]) $" "$(resumed launcher)"
expect_eq "a later run: the same losses, in what launchers saw" "" "$(diff <(curve whole) <(curve launcher) | grep '^>')"

start away --set spec.checkpoint.uri="file://$TMP/away/checkpoints"
mv away/checkpoints checkpoints
touch away/checkpoints
kill -9 "$(rank_pid 1)"
wait_until 30 grep -q "resumed from" away.out
rm away/checkpoints
mv checkpoints away/checkpoints
end "the store is away" away
expect_memory "the store is away" away
lockstep ckpt verify away/checkpoints >verify.out 2>&1
expect_eq "the store is away: once it is back, the saves are good" 0 $?
expect_match "the store is away: up to the last" $'\n +400 .* whole\n +300 .* whole' "$(cat verify.out)"
no_leftovers "nothing stays" 2
