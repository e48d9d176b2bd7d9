#!/bin/bash
# limit: 150
# Snapshots in memory on several hosts: a lost host's are with its neighbour, if copies were asked for; else the store has the newest
# checkpoint. What a job resumes from is one step's on all ranks, as its loss curve shows.
. "$(dirname "$0")/../lib.sh"

need_root "hosts" || exit 0
hosts up 3 || { fail "three hosts are up"; exit 1; }

job() { # DIR HOSTS ARGS...: 300 steps, a snapshot every 10, a checkpoint every 110
	(cd "$ROOT" && on host0 timeout 100 "$B/lockstep" run -f examples/digits/digits.yaml --dir "$TMP/$1" -H "$2" \
		--set spec.workers.replicas="$(tr , '\n' <<<"$2" | wc -l)" --set spec.workers.ranksPerWorker=1 \
		--set spec.checkpoint.every.steps=110 --set spec.checkpoint.memory.everySteps=10 \
		--set spec.workers.template.spec.containers.0.command="[\"$B/examples/digits\"]" \
		--set 'spec.workers.template.spec.containers.0.args=["--steps", "300", "--batch", "96", "--data", "examples/digits/digits.csv", "--step-ms", "8"]' \
		"${@:3}")
}
start() { # DIR HOSTS ARGS...: until it is past step 163
	job "$@" >"$1.out" 2>&1 &
	job=$!
	wait_until 40 reached "$1" 163 || fail "$1: it got to step 163" "$(cat "$1.out")"
}
end() { # NAME DIR WHOLE
	wait $job
	expect_eq "$1: the job succeeds" 0 $?
	if cmp -s <(curve "$3") <(curve "$2"); then ok "$1: the same loss curve"; else fail "$1: the same loss curve" "$(cat "$2.out")"; fi
}
resumed() { sed -n 's/^lockstep: resumed from step //p' "$1.out" | tr '\n' ' '; }

job whole2 host0,host1 >whole2.out 2>&1
expect_eq "two hosts, undisturbed" 0 $?
job whole3 host0,host1,host2 >whole3.out 2>&1
expect_eq "three hosts, undisturbed" 0 $?

start back host0,host1 --set spec.checkpoint.memory.copies=1
hosts kill host1
hosts start host1
end "a host dies and comes back empty" back whole2
expect_match "a host dies and comes back empty: its neighbour had the copy" '^(1[5-9]|[2-9][0-9])0, in memory $' "$(resumed back)"
no_leftovers "a host dies and comes back empty: nothing stays" 10

start first host0,host1,host2 --set spec.checkpoint.memory.copies=1
hosts kill host1
hosts start host1
end "one of three" first whole3
expect_match "one of three: its neighbour had the copy" '^(1[5-9]|[2-9][0-9])0, in memory $' "$(resumed first)"

start store host0,host1
hosts kill host1
hosts start host1
end "without copies" store whole2
expect_match "without copies: the store has the newest checkpoint" '^(110|220) $' "$(resumed store)"

# host2's copy is with host0, host1's with host2.
start two host0,host1,host2 --set spec.checkpoint.memory.copies=1
hosts kill host1
hosts kill host2
hosts start host1
hosts start host2
end "a host and the neighbour with its copy" two whole3
expect_match "a host and the neighbour with its copy: the store has the newest checkpoint" '^(110|220) $' "$(resumed two)"

# Elastic: half the ranks are left, and all shards are on their host.
job elastic host0:2,host1:2 --start-timeout 3 --set spec.workers.minReplicas=1 --set spec.workers.ranksPerWorker=2 \
	--set spec.checkpoint.memory.copies=1 >elastic.out 2>&1 &
job=$!
wait_until 40 reached elastic 163
hosts kill host1
wait $job
expect_eq "a host stays away: the job succeeds with two ranks of four" 0 $?
expect_match "a host stays away: two ranks resume in memory what four saved" \
	"attempt 1, 2 ranks on .*resumed from step (1[5-9]|[2-9][0-9])0, in memory" "$(tr '\n' ' ' <elastic.out)"
expect_match "a host stays away: it has learned the digits" "accuracy 0\.9[5-9]" "$(tail -2 elastic.out)"
hosts start host1
no_leftovers "nothing stays" 10
