#!/bin/bash
# Two launchers, one URI: the one that began later owns it, also when the older one restarts a rank after that.
. "$(dirname "$0")/../lib.sh"

job() { # DIR ARGS...: 400 slow steps
	(cd "$ROOT" && exec timeout 90 "$B/lockstep" run -f examples/digits/digits.yaml --dir "$TMP/$1" "${NOLEAKS[@]}" \
		--set spec.workers.template.spec.containers.0.args="[--steps, '400', --batch, '96', --data, examples/digits/digits.csv, --step-ms, '20']" \
		--set spec.workers.template.spec.containers.0.command="[$B/examples/digits]" \
		--set spec.checkpoint.uri="file://$TMP/shared" "${@:2}")
}

job older --set spec.checkpoint.every.steps=200 --set spec.checkpoint.memory.everySteps=10 >older.out 2>&1 &
older=$!
wait_until 30 reached older 30 || fail "the older one trains" "$(<older.out)"
victim=$(rank_pid 1)
job newer --set spec.checkpoint.every.steps=20 >newer.out 2>&1 &
newer=$!
wait_until 30 reached newer 45 || fail "the newer one trains" "$(<newer.out)"
kill -9 "$victim"
wait $older
expect_eq "the older one, restarted, is fenced" 1 $?
expect_match "and says by whom" "generation 2 in file://.* was claimed after generation 1 \(by job digits, .*only a new start takes over" "$(<older.out)"
wait $newer
expect_eq "the newer one goes on to its end" 0 $?
expect_eq "and what is there is its own" "2 2 2" "$(lockstep ckpt ls shared | awk 'NR > 1 { print $2 }' | tr '\n' ' ' | sed 's/ $//')"
no_leftovers "nothing stays"
