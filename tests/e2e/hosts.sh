#!/bin/bash
# limit: 500
# Two and three hosts with real ssh, with Open MPI 4 and 5: a job runs where it was planned; hosts that refuse, are slow, die, or are
# cut off; a killed launcher or engine leaves nothing on any host; a world that is not the planned one is refused.
. "$(dirname "$0")/../lib.sh"

need_root "hosts" || exit 0
hosts up 3 || { fail "three hosts are up"; exit 1; }
declare -A MPIRUN=([4]=mpirun [5]=$ROOT/build/venv-ompi5/bin/mpirun)
H=host0:2,host1:2

# On host0, with Open MPI $v.
run() { out=$(on host0 timeout 100 "$B/lockstep" run --mpirun "${MPIRUN[$v]}" "$@" 2>err </dev/null); code=$?; err=$(<err); }
start() { rm -f out err; on host0 "$B/lockstep" run --mpirun "${MPIRUN[$v]}" "$@" >out 2>err </dev/null & job=$!; }
up() { [ "$(grep -c ' up$' out)" = "$1" ]; }
cat >prog.sh <<'P'
#!/bin/sh
sleep 1000 &
setsid sleep 1000 &
echo up
wait
P
chmod +x prog.sh
hold() { # DIR: two hosts, each rank's snapshot in its agent, and a copy in the other's
	rm -f go kept.* address.*
	start --dir "$1" --max-restarts 1 -np 2 -H host0:1,host1:1 -- python3 "$ROOT/tests/run/agent.py" copy
	wait_until 20 eval '[ -e kept.0 ] && [ -e kept.1 ]' || fail "$1: snapshots are held and copied" "$(cat out err)"
}

out=$(on host0 "$B/lockstep" topo -H $H -np 4 2>&1)
expect_eq "lockstep topo asks the hosts themselves" 0 $?
expect_match "and shows where each rank would go" $'\n +3 +host1 +1 +1 ' "$out"

for v in 4 5; do
	t="Open MPI $v"
	run -np 4 -H $H "$B/examples/hello"
	expect_eq "$t: a plain MPI program on two hosts" 0 $code
	expect_eq "$t: two ranks on each, as planned" "2 2" "$(grep -c 'of 4 on host0' <<<"$out") $(grep -c 'of 4 on host1' <<<"$out")"
	expect_eq "$t: every rank on a core of its own" 2 "$(grep 'on host1' <<<"$out" | sed 's/.*CPUs//' | sort -u | wc -l)"
	no_leftovers "$t: nothing stays on any host"

	printf 'host0 slots=1 # comment\nhost1 slots=1\n' >hostfile
	run --hostfile hostfile --map-by node -x COLOR=blue -- sh -c 'echo $RANK $GROUP_RANK $LOCAL_RANK $MASTER_ADDR $COLOR $(hostname)'
	expect_match "$t: hostfile and -x" "1 1 0 10\.[0-9.]+ blue host1" "$out"

	for victim in launcher mpirun daemon shim rank; do
		start --dir job$v$victim -np 4 -H $H ./prog.sh
		wait_until 20 up 4 || fail "$t: $victim: up" "$(cat out err)"
		case $victim in
		launcher) kill -9 $(procs_on host0 lockstep | head -1) ;;
		mpirun) pkill -9 --ns "$(hosts pid host0)" --nslist pid -x 'mpirun|prterun' ;;
		daemon) pkill -9 --ns "$(hosts pid host1)" --nslist pid -x 'orted|prted' ;;
		shim) kill -9 $(pgrep --ns "$(hosts pid host1)" --nslist pid -f 'lockstep rank' | head -1) ;;
		rank) kill -9 $(pgrep --ns "$(hosts pid host1)" --nslist pid -x prog.sh | head -1) ;;
		esac
		wait $job 2>/dev/null
		case $victim in
		mpirun) expect_match "$t: $victim killed: it is named" "mpirun was killed by signal 9" "$(cat err)" ;;
		daemon) expect_match "$t: $victim killed: it is named" "daemon on host host1 was killed|lost communication with a remote daemon" "$(cat err)" ;;
		shim) expect_match "$t: $victim killed: it is named" "host1 vanished" "$(cat err)" ;;
		rank) expect_match "$t: $victim killed: it is named" "rank [23] on host host1 was killed by signal 9" "$(cat err)" ;;
		esac
		no_leftovers "$t: $victim killed: nothing stays on any host" 10
	done

	start --dir login$v -np 2 -H host1:1,host2:1 ./prog.sh
	wait_until 20 up 2
	kill -9 $(procs_on host0 lockstep | head -1)
	wait $job 2>/dev/null
	no_leftovers "$t: a launcher on a host without ranks is killed: nothing stays there either" 10

	# --- training over two hosts, one dies --------------------------------------------------------------------------------------
	digits() { # DIR HOSTS ARGS...
		(cd "$ROOT" && on host0 "$B/lockstep" run --mpirun "${MPIRUN[$v]}" -f examples/digits/digits.yaml --dir "$TMP/$1" -H "$2" \
			--set spec.workers.replicas=2 --set spec.workers.ranksPerWorker=1 --set spec.checkpoint.every.steps=40 \
			--set spec.workers.template.spec.containers.0.command="[\"$B/examples/digits\"]" \
			--set 'spec.workers.template.spec.containers.0.args=["--steps", "200", "--batch", "96", "--data", "examples/digits/digits.csv", "--step-ms", "5"]' \
			"${@:3}")
	}
	digits whole$v host0,host1 >whole.out 2>&1
	expect_eq "$t: digits over two hosts" 0 $?
	digits died$v host0,host1,host2 >died.out 2>&1 &
	job=$!
	wait_until 30 reached died$v 60
	hosts kill host1
	hosts start host1
	wait $job
	expect_eq "$t: a host dies in the middle, and comes back: the job succeeds" 0 $?
	expect_match "$t: the host is named" "host host1 was lost|host1 vanished|connection" "$(cat died.out)"
	if cmp -s <(curve whole$v) <(curve died$v); then ok "$t: the same loss curve"; else fail "$t: the same loss curve" "$(cat died.out)"; fi
	no_leftovers "$t: nothing stays after that" 10

	# --- snapshots in the hosts' agents --------------------------------------------------------------------------------------------
	hold agents$v
	touch go
	wait $job
	expect_eq "$t: a rank that had a snapshot held is killed: the next attempt succeeds" 0 $?
	expect_match "$t: each host's agent has its rank's snapshot, and a copy of the other's" \
		"\[0\] found 0/7 1/7\+.*\[1\] found 0/7\+ 1/7" "$(sort out | tr '\n' ' ')"
	no_leftovers "$t: no agent stays on any host" 2

	# --- a world that is not the planned one ---------------------------------------------------------------------------------------
	# An engine that does what Open MPI 5 does with host lists in OMPI_MCA_ variables: ignores them.
	cat >alone <<W
#!/bin/bash
args=()
while [ \$# -gt 0 ]; do
	if [ "\$1" = --hostfile ]; then shift 2; args+=(--host localhost:9); else args+=("\$1"); shift; fi
done
exec ${MPIRUN[$v]} "\${args[@]}"
W
	chmod +x alone
	out=$(on host0 env OMPI_MCA_orte_default_hostfile=/etc/hosts "$B/lockstep" run --mpirun "$TMP/alone" -np 4 -H $H -- echo ran 2>err); code=$?
	expect_eq "$t: all on one host: the job fails" 1 $code
	expect_match "$t: it says which rank and host, and what may be the reason" \
		"rank [23] was planned on host host1, but the engine started it on host0.*OMPI_MCA_orte_default_hostfile" "$(cat err)"
	expect_eq "$t: and no program was started" "" "$out"
	no_leftovers "$t: nor is anything left"

	printf 'host0 slots=1\nhost1 slots=1\n' >list
	out=$(on host0 env OMPI_MCA_orte_default_hostfile="$TMP/list" "$B/lockstep" run --mpirun "${MPIRUN[$v]}" -- hostname 2>err)
	expect_eq "$t: a host list in Open MPI 4's variable is honoured" "host0 host1" "$(sed 's/.* //' <<<"$out" | sort | tr '\n' ' ' | sed 's/ $//')"
done

# --- an elastic job goes on with the hosts that are left ------------------------------------------------------------------------

v=4
digits shrunk host0,host1 --start-timeout 3 --set spec.workers.minReplicas=1 >shrunk.out 2>&1 &
job=$!
wait_until 30 reached shrunk 60
hosts kill host1
wait $job
expect_eq "minReplicas: a lost host that stays away does not end the job" 0 $?
expect_match "it says without whom it goes on" "host1: no answer within 3 s; going on without" "$(cat shrunk.out)"
expect_match "and with how many ranks, from a checkpoint" "attempt 1, 1 rank on .*resumed from step (40|80|120)" "$(tr '\n' ' ' <shrunk.out)"
hosts start host1

# --- a lost host's snapshot is with its neighbour ---------------------------------------------------------------------------------

hold neighbour
hosts kill host1
hosts start host1
wait $job
expect_eq "a host with a held snapshot dies: the next attempt succeeds" 0 $?
expect_match "its rank's snapshot is with the neighbour" "\[0\] found 0/7 1/7\+.*\[1\] found \[1\]" "$(sort out | tr '\n' ' ')"
no_leftovers "and no agent stays on any host" 2
hold orphans
kill -9 $(procs_on host0 lockstep | head -1)
wait $job 2>/dev/null
no_leftovers "the launcher of two hosts' agents is killed: none stays" 10

# --- hosts that do not answer -------------------------------------------------------------------------------------------------------

v=4
hosts refuse host1
start --start-timeout 30 -np 2 -H host0,host1 -- hostname
wait_until 10 grep -q "waiting for host host1" err
hosts accept host1
wait $job
expect_eq "a host whose sshd is not up yet is waited for" 0 $?
expect_match "and it says so" "waiting for host host1, up to 30 s.*refused" "$(cat err)"
hosts refuse host1
run --start-timeout 2 -np 2 -H host0,host1 -- hostname
expect_match "a host that goes on refusing is named" "host host1 did not answer within 2 s: .*refused" "$err"
expect_eq "and nothing was started" "" "$out"
hosts accept host1
hosts slow host1 3
run -np 2 -H host0,host1 -- hostname
expect_eq "a slow host is waited for" 0 $code
hosts accept host1
run --start-timeout 3 -np 2 -H host0,nohost -- hostname
expect_match "a name that nobody knows" "host nohost .*(resolve|known)" "$err"
run --remote-path /no/lockstep -np 2 -H host0,host1 -- hostname
expect_match "a host without lockstep" "host host1 has no /no/lockstep" "$err"

# --- a cable is cut: no FIN, no RST, only silence ---------------------------------------------------------------------------------

start --dir cut -np 4 -H $H ./prog.sh
wait_until 20 up 4
since=$SECONDS
hosts cut host1
wait $job
expect_match "a host that is cut off is noticed in bounded time ($((SECONDS - since)) s)" "host host1 was lost|lost communication" "$(cat err)"
hosts heal host1
no_leftovers "and both sides clean up" 40
