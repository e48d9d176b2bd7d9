#!/bin/bash
# limit: 600
# lockstep bench net, and run --preflight, on three hosts: the one thing that is made slow, by 10 times and more, is named, and nothing else; when nothing
# is, nobody. The hosts share this machine's cores, and those with whatever else runs: hence a low bound of what is slow, and ranks that yield. Of three
# hosts one pair at a time is measured.
. "$(dirname "$0")/../lib.sh"

need_root "hosts of which one is slow" || exit 0
GROUP=/sys/fs/cgroup/cpu/lockstep-$LOCKSTEP_TEST_ID
cleanup() {
	local code=$?
	hosts down
	[ ! -d "$GROUP" ] || wait_until 5 rmdir "$GROUP" 2>/dev/null
	(exit $code)
	finish
}
trap cleanup EXIT
hosts up 3 || { fail "three hosts are up"; exit 1; }
ALL=host0,host1,host2
[ ${#NOLEAKS[@]} = 0 ] || export "${NOLEAKS[1]}"
how=(--bind-to none -x OMPI_MCA_mpi_yield_when_idle=1)

bench() { # HOSTS ARGS...
	on host0 timeout 170 "$B/lockstep" bench net -H "$1" "${how[@]}" --json "$PWD/net.json" "${@:2}" >out 2>err
	code=$?
}
run() { # NAME ARGS...: of lockstep run
	on host0 timeout 170 "$B/lockstep" run --dir "$PWD/$1" "${how[@]}" "${@:2}" >out 2>err
	code=$?
}
get() { python3 -c 'import json, sys; f = json.load(open(sys.argv[2])); print(eval(sys.argv[1]))' "$1" "${2:-net.json}"; }
said() { # NAME CODE VERDICT
	expect_eq "$1: exit code and verdict" "$2 verdict: $3" "$code $(tail -1 out)"
	[ "$code $(tail -1 out)" = "$2 verdict: $3" ] || cat out err
}
ran_on() { sed 's/^\[[0-9]*\] //' out | sort | xargs; }

# A cable of their own between two hosts, each way RATE.
cable() { # A B RATE
	local b
	b=$(hosts pid "$2")
	nsenter -t "$(hosts pid "$1")" -n ip link add own type veth peer name own netns "$b"
	on "$1" ip link set own up
	on "$2" ip link set own up
	on "$1" ip route add "10.77.0.$((${2#host} + 1))/32" dev own src "10.77.0.$((${1#host} + 1))"
	on "$2" ip route add "10.77.0.$((${1#host} + 1))/32" dev own src "10.77.0.$((${2#host} + 1))"
	slow_down "$1" own "$3"
	slow_down "$2" own "$3"
}
slow_down() { # HOST DEVICE RATE: of what it sends
	on "$1" tc qdisc replace dev "$2" root tbf rate "$3" burst 64kb latency 50ms
}

bench $ALL --below 0.1
said "all are equal" 0 "nothing is slow"
expect_eq "every pair has its figures" "3 []" "$(get 'str(len(f["pairs"])) + " " + str([p for p in f["pairs"] for k in ("latency", "allReduce", "there", "back")
	if not p[k]["median"] > 0])')"
expect_eq "and the hosts their names" "$ALL" "$(get '",".join(h["name"] for h in f["hosts"])')"

cable host1 host2 10mbit
bench $ALL --below 0.2
said "a slow link" 1 "slow: link host1 - host2"
expect_match "how slow it is" "SLOW link host1 - host2: the bandwidth of an all-reduce is 0.00[0-9]+ GB/s, [0-9]% of the usual" "$(cat out)"
expect_eq "it was measured again" "[(1, 2)]" "$(get '[(p["a"], p["b"]) for p in f["pairs"] if p["allReduce"]["median"] < 0.01 and p["again"]]')"
on host1 ip link del own

slow_down host2 eth0 10mbit
bench $ALL --below 0.2
said "a host that sends slowly" 1 "slow: host host2"
expect_match "which way" "SLOW host host2: .*; it sends 0.00[0-9]" "$(cat out)"
bench host0,host2 --below 0.2 --expect-gbps 1
expect_eq "two hosts, one way slower: exit code" 1 "$code"
expect_match "and which way" "SLOW link host2 - host0: one way is slower: host2 to host0 0.00[0-9]" "$(cat out)"
expect_match "and what is expected of their link" "SLOW link host0 - host2: .* Gbit/s, where 1 is expected" "$(cat out)"

run refused --preflight=fail,below=0.2 -H $ALL -- touch "$PWD/started"
expect_eq "a job on a slow host: exit code" 1 "$code"
expect_match "why" "lockstep run: preflight: .*host2" "$(cat err)"
expect_eq "it has not started" "Failed" "$([ ! -e started ] && get 'f["state"]' refused/job.json)"
run warned --preflight=warn,below=0.2 -H $ALL -- hostname
expect_eq "with warn it starts, on all" "0 host0 host1 host2" "$code $(ran_on)"
expect_match "and it is told" "preflight: host host2: .*"$'\n'".*preflight: slow: host host2 \(" "$(cat err)"
run spare --preflight=fail,below=0.2 -np 2 -H host0,host2,host1 -- hostname
expect_eq "with a host to spare it starts without the slow one" "0 host0 host1" "$code $(ran_on)"
expect_match "and says so" "preflight: going on without host2" "$(cat err)"
expect_eq "and records it" "['host2']" "$(get 'f["preflight"]["leftOut"]' spare/job.json)"
cat >job.yaml <<-'END'
	apiVersion: lockstep.dev/v1alpha1
	kind: TrainingJob
	metadata: {name: elastic}
	spec:
	  workers: {replicas: 3, minReplicas: 2, ranksPerWorker: 1, template: {spec: {containers: [{name: w, command: [hostname]}]}}}
END
run elastic -f job.yaml --preflight=fail,below=0.2 -H $ALL
expect_eq "an elastic job goes on with fewer" "0 host0 host1" "$code $(ran_on)"
on host2 tc qdisc del dev eth0 root

(bench $ALL --seconds 60; echo "$code" >code) &
wait_until 100 grep -q "round 1 of 3" err
hosts kill host1
wait $!
expect_eq "a host that dies meanwhile: exit code" 75 "$(<code)"
expect_match "it is named, and what was under way" "host1.*under way was: pairs of hosts" "$(cat err)"
hosts start host1

# Whoever logs in to the host is in its group.
if mkdir "$GROUP" 2>/dev/null && echo 15000 >"$GROUP/cpu.cfs_quota_us"; then
	pgrep --ns "$(hosts pid host2)" --nslist pid -x sshd >sshd
	while read -r pid; do echo "$pid" >"$GROUP/cgroup.procs"; done <sshd
	bench $ALL --below 0.4
	expect_eq "a throttled host: exit code" 1 "$code"
	[ "$code" = 1 ] || cat out err
	expect_match "it is named, and for its CPU" "SLOW host host2: CPU speed is .*% of the usual" "$(cat out)"
	expect_no_match "and no other host's CPU" "SLOW host host[01]: CPU" "$(cat out)"
else
	skip "a throttled host" "no control group of this machine's processors can be made"
fi
no_leftovers "nothing stays on any host" 10
