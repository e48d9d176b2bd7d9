#!/bin/bash
# limit: 200
# lockstep bench scale over two hosts with real ssh: worlds spread as their ranks divide, and no host keeps anything of it.
. "$(dirname "$0")/../lib.sh"

need_root "bench scale on hosts" || exit 0
hosts up 2 || { fail "two hosts are up"; exit 1; }
ln -s "$ROOT/examples" examples && mkdir build && ln -s "$B/examples" build/examples
on host0 timeout 150 "$B/lockstep" bench scale -f examples/digits/digits.yaml --ranks 1,2,4 -H host0:2,host1:2 --warmup 3 --steps 5 --seconds 0.2 --repeats 1 \
	--set --steps=100000 --json "$TMP/s.json" >out 2>err </dev/null
expect_eq "three worlds on two hosts: the exit code" 0 $?
expect_eq "each on as few hosts as hold it" "1 1 2" "$(python3 -c 'import json
print(*(p["hosts"] for p in json.load(open("s.json"))["series"][0]["points"]))')"
expect_match "the table has a column for it" "ranks +hosts samples/step" "$(cat out)"
of_runs() { on host1 sh -c 'ls -d /tmp/lockstep-* /dev/shm/lockstep-*' 2>/dev/null; }
none_left() { [ -z "$(of_runs)" ]; }
wait_until 10 none_left # that host's reaper ends after the launcher
expect_eq "nothing stays on the other host" "" "$(of_runs)"
expect_eq "nor on the launcher's" "" "$(on host0 sh -c 'ls -d /tmp/lockstep-bench-*' 2>/dev/null)"
no_leftovers "no process stays"
