#!/bin/bash
# The host's agent: holds a snapshot while its rank dies and starts again, is nobody's burden who does not ask, and never outlives its
# launcher.
. "$(dirname "$0")/../lib.sh"
prog=(python3 "$ROOT/tests/run/agent.py")

agents() { # this test's
	local e
	for e in $(grep -lsF "LOCKSTEP_TEST_ID=$LOCKSTEP_TEST_ID" /proc/[0-9]*/environ); do
		grep -qsx lockstep-agent "${e%environ}comm" && basename "${e%/environ}"
	done
}
no_agents() { [ -z "$(agents)" ]; }
start() { # in the background, until all have given their snapshots
	rm -rf go kept.* address.* out job
	lockstep run --dir job --max-restarts 1 -np 2 "${prog[@]}" >out 2>&1 </dev/null &
	launcher=$!
	wait_until 20 eval '[ -e kept.0 ] && [ -e kept.1 ]' || fail "$1: both ranks' snapshots are held" "$(cat out)"
}

start restart
expect_eq "one agent serves both ranks of a host" 1 "$(agents | wc -l)"
expect_eq "it is in no attempt's reach" "" "$(tr '\0' '\n' <"/proc/$(agents)/environ" | grep LOCKSTEP_RUN_ID)"
expect_eq "its command line tells no secret" "lockstep agent " "$(tr '\0' ' ' <"/proc/$(agents)/cmdline")"
touch go
wait $launcher
expect_eq "a killed rank: the next attempt succeeds" 0 $?
expect_match "and finds both snapshots, whole" $'found 0/7 1/7\n' "$(cat out)"
no_leftovers "the job ended: nothing stays" 2

start "agent killed"
kill -9 $(agents)
touch go
wait $launcher
expect_eq "the agent is killed: the job goes on" 0 $?
expect_match "and its next attempt starts another, which is empty" $'found\n' "$(cat out)"
no_leftovers "after that nothing stays" 2

start "launcher killed"
kill -9 $launcher
wait $launcher 2>/dev/null
wait_until 2 no_agents
expect_eq "the launcher is killed: the agent goes with it" 0 $?
no_leftovers "the launcher is killed: nothing stays" 8

expect_eq "who does not ask gets no agent" "" "$(lockstep run -np 1 sh -c \
	'sleep 0.2; grep -lsF "LOCKSTEP_TEST_ID=$LOCKSTEP_TEST_ID" /proc/[0-9]*/environ | sed s/environ/comm/ | xargs grep -sx lockstep-agent')"
out=$(lockstep run -np 1 -x LOCKSTEP_AGENT=x true 2>&1)
expect_match "the agent's name is lockstep's to set" "LOCKSTEP_AGENT .*leave it out" "$out"
expect_match "nobody starts an agent by hand" "not by hand" "$(lockstep agent 2>&1 3</dev/null)"
