#!/bin/bash
# limit: 400
# What runs inside the Pods of a job, on three hosts without sshd's help: a launcher, workers, and this script as the operator (core/link.h, by
# openssl s_client). With Open MPI 4 and 5: a job trains; a worker is replaced by one with another address; strangers get nothing; nothing stays.
. "$(dirname "$0")/../lib.sh"

need_root "pods" || exit 0
PATH=$("$ROOT/tests/setup-s3.sh"):$PATH
unset http_proxy HTTP_PROXY
NET=10.77.0
hosts up 4 || { fail "four hosts are up"; exit 1; }
boot() { # HOST: no sshd, and a resolver that never answers
	echo "nameserver $NET.200" >resolv
	hosts refuse "host$1"
	on "host$1" mount --bind "$TMP/resolv" /etc/resolv.conf
}
declare -A MPIRUN=([4]=$(command -v mpirun) [5]=$ROOT/build/venv-ompi5/bin/mpirun)
KEY=$(od -An -tx1 -N32 /dev/urandom | tr -d ' \n')
OTHER=$(od -An -tx1 -N32 /dev/urandom | tr -d ' \n')
echo "$KEY" >key
for h in 0 1 2 3; do boot $h; done
PIN=()
POD=(env LOCKSTEP_SECRET="$TMP/key" LOCKSTEP_JOB_UID=uid-1)
hex_client() { # HOST PORT KEY IDENTITY [OPTIONS]: what it gets for what comes in
	on host0 timeout 5 openssl s_client -connect $NET.$(($1 + 1)):$2 -tls1_3 -psk "$3" -psk_identity "$4" -quiet "${@:5}" 2>&1
}

agent() { # HOST WORKER
	on "host$1" "${PIN[@]}" "${POD[@]}" LOCKSTEP_WORKER="$2" LOCKSTEP_MPIRUN="${MPIRUN[$v]}" "$B/lockstep" agent --pod >"agent$1.out" 2>"agent$1.err" &
	pids[$1]=$!
	wait_until 10 grep -q ready "agent$1.out" || fail "the agent on host$1 is ready" "$(cat "agent$1".*)"
	agents[$1]=$(procs_on "host$1" lockstep | head -1)
}

launcher() { # DIR SERIAL
	mkdir -p "$1"
	: >"$1/final"
	on host0 "${POD[@]}" LOCKSTEP_POD_SERIAL="$2" LOCKSTEP_MPIRUN="${MPIRUN[$v]}" "$B/lockstep" launcher --dir "$TMP/$1" \
		--termination-log "$TMP/$1/final" >"$1/out" 2>"$1/err" &
	job=$!
	wait_until 10 grep -q ready "$1/out" || fail "the launcher is ready" "$(cat "$1/out" "$1/err")"
}

operator() { # DIR: connected until hang_up; orders go to descriptor 7, reports to DIR/reports
	rm -f "$1/orders"
	mkfifo "$1/orders"
	on host3 openssl s_client -connect $NET.1:7701 -tls1_3 -psk "$KEY" -psk_identity uid-1 -quiet <"$1/orders" >>"$1/reports" 2>"$1/link.err" &
	operator=$!
	exec 7>"$1/orders"
}

hang_up() { exec 7>&-; kill $operator 2>/dev/null; wait $operator 2>/dev/null; }

digits() { # STEPS: the job, as one line
	local env="" command=${COMMAND:-"\"$B/examples/digits\", \"--steps\", \"$1\", \"--batch\", \"96\", \"--data\", \"$ROOT/examples/digits/digits.csv\", \"--step-ms\", \"15\""}
	[ ${#NOLEAKS[@]} = 0 ] || env=', "env": [{"name": "ASAN_OPTIONS", "value": "detect_leaks=0"}]'
	echo '{"apiVersion": "lockstep.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": "digits", "namespace": "ml"}, "spec": {"managedBy":
		"lockstep.dev/operator", "placement": {"within": "rack"}, "workers": {"replicas": 2, "ranksPerWorker": 1, "template": {"spec": {"containers":
		[{"name": "main", "image": "digits", "command": ['"$command"']'"$env"'}]}}}, "runPolicy": {"backoffLimit": 2},
		"checkpoint": {"uri": "'"${URI:-file://$TMP/ckpt$2}"'", "every": {"steps": 40}}}}' | tr -d '\n\t'
}

order() { # SERIAL COMPLETE WAITING JOB [WORKER=HOST]...
	local list="" w
	for w in "${@:5}"; do list+="${list:+, }{\"name\": \"${w%=*}\", \"pod\": \"${w%=*}\", \"address\": \"$NET.$((${w#*=} + 1))\", \"node\": \"n\"}"; done
	echo "{\"serial\": $1, \"attempt\": 3, \"losses\": 1, \"job\": $4, \"workers\": [$list], \"complete\": $2, \"waiting\": \"$3\", \"deadlineSeconds\": 200}" >&7
}

said() { grep -q "$2" "$1/reports"; } # DIR REGEX: a report has it

# --- the runtime, for Pods whose images have none ------------------------------------------------------------------------------

mkdir -p runtime/bin runtime/lib
cp "$B/lockstep" runtime/bin/lockstep
echo data >runtime/lib/x.so.1
chmod 640 runtime/lib/x.so.1
ln -s x.so.1 runtime/lib/x.so
runtime/bin/lockstep runtime "$TMP/volume/lockstep" && runtime/bin/lockstep runtime "$TMP/volume/lockstep"
expect_eq "lockstep runtime copies all of it, twice if it must" 0 $?
expect_eq "with modes and links" "$(cd runtime && find . -printf '%p %y %m %l\n' | sort)" "$(cd volume/lockstep && find . -printf '%p %y %m %l\n' | sort)"
expect_eq "and the bytes" "" "$(diff -r runtime volume/lockstep 2>&1)"
out=$(lockstep runtime "$TMP/volume/2" 2>&1)
expect_match "a lockstep that is in no runtime copies nothing" "nothing to copy" "$out"

for v in 4 5; do
	t="Open MPI $v" pids=() agents=()
	agent 1 digits-worker-0
	agent 2 digits-worker-1

	# --- undisturbed ------------------------------------------------------------------------------------------------------------
	launcher whole$v 5
	operator whole$v
	wait_until 5 said whole$v '"state":"Waiting"' || fail "$t: the launcher reports that it waits" "$(cat whole$v/*)"
	order 5 false "needs 2 GPUs; largest free is 1" "$(digits 200 whole$v)"
	wait_until 5 said whole$v 'needs 2 GPUs; largest free is 1' && ok "$t: it says what it waits for" || fail "$t: it says what it waits for" "$(cat whole$v/*)"
	order 4 true "" "$(digits 200 whole$v)" digits-worker-0=1 digits-worker-1=2
	sleep 1
	expect_match "$t: an order for another launcher's Pod is refused" "refused .*another launcher" "$(cat whole$v/err)"
	expect_no_match "$t: and starts nothing" '"state":"(Starting|Running)"' "$(cat whole$v/reports)"
	order 5 true "" "$(digits 200 whole$v)" digits-worker-0=1 digits-worker-1=2
	wait $job
	expect_eq "$t: digits on two workers, without ssh and without DNS" 0 $?
	hang_up
	expect_match "$t: a resolver that does not answer delays nothing" "succeeded in [0-9]\.[0-9] s" "$(cat whole$v/err)"
	expect_match "$t: the reports tell the story" 'Waiting.*Starting.*Running.*Succeeded' "$(grep -o '"state":"[A-Za-z]*"' whole$v/reports | tr '\n' ' ')"
	expect_no_match "$t: in this order" '(Starting|Running).*Waiting|Running.*Starting' "$(grep -o '"state":"[A-Za-z]*"' whole$v/reports | tr '\n' ' ')"
	expect_match "$t: with progress" '"step":200,"totalSteps":200,"loss":"0\.[0-9]+"' "$(tail -1 whole$v/reports)"
	expect_match "$t: and the newest checkpoint" '"lastCheckpoint":\{"step":200,"uri":"file://[^"]*ckptwhole' "$(tail -1 whole$v/reports)"
	expect_match "$t: attempts are numbered as the order says" '"attempt":3,' "$(tail -1 whole$v/reports)"
	expect_match "$t: the termination message is the last report" '"state":"Succeeded","exitCode":0' "$(cat whole$v/final)"
	expect_match "$t: what the program says is the container's log" "held-out accuracy" "$(cat whole$v/out)"
	expect_no_match "$t: nothing is said of fields that have no effect" "no effect" "$(cat whole$v/err)"

	expect_eq "$t: its logs are kept beside the checkpoints" "job.json rank-00000.log report.html steps.csv" \
		"$(cd ckptwhole$v/logs/attempt-3 && ls *.json rank-00000.log *.html *.csv | xargs)"
	expect_match "$t: whole" "held-out accuracy" "$(cat ckptwhole$v/logs/attempt-3/rank-00000.log)"
	out=$(lockstep ckpt ls "file://$TMP/ckptwhole$v" && lockstep ckpt verify "file://$TMP/ckptwhole$v" && lockstep ckpt gc "file://$TMP/ckptwhole$v")
	code=$?
	expect_eq "$t: and are no checkpoints" "0 0 4" "$code $(grep -c logs <<<"$out") $(ls ckptwhole$v/logs/attempt-3/{job.json,rank-00000.log,report.html,steps.csv} | wc -l)"

	# --- a worker is lost, and replaced under another address -------------------------------------------------------------------
	launcher died$v 6
	operator died$v
	order 6 true "" "$(digits 200 died$v)" digits-worker-0=1 digits-worker-1=2
	wait_until 30 reached died$v/job 60 || fail "$t: it trains" "$(cat died$v/*)"
	order 6 false "worker 1 is being replaced" "$(digits 200 died$v)" digits-worker-0=1
	kill -9 $(procs_on host2 lockstep) 2>/dev/null
	hosts kill host2
	hosts start host2
	boot 2
	wait_until 30 said died$v '"state":"Waiting"' || fail "$t: the launcher waits for the new worker" "$(cat died$v/*)"
	sleep 1
	agent 3 digits-worker-1
	order 6 true "" "$(digits 200 died$v)" digits-worker-0=1 digits-worker-1=3
	wait $job
	expect_eq "$t: a worker lost in the middle, and replaced: the job succeeds" 0 $?
	hang_up
	expect_match "$t: the failure names the worker" '"failures":\[\{"attempt":3,[^]]*"worker":"digits-worker-1"' "$(tail -1 died$v/reports)"
	expect_eq "$t: both attempts' logs are kept" 2 "$(ls ckptdied$v/logs/attempt-[34]/steps.csv | wc -l)"
	if cmp -s <(curve whole$v/job) <(curve died$v/job); then ok "$t: the same loss curve"; else fail "$t: the same loss curve" "$(cat died$v/err)"; fi

	# --- a worker is evicted ----------------------------------------------------------------------------------------------------
	launcher leave$v 8
	operator leave$v
	order 8 true "" "$(digits 200 leave$v)" digits-worker-0=1 digits-worker-1=3
	wait_until 30 reached leave$v/job 60 || fail "$t: it trains" "$(cat leave$v/*)"
	kill -TERM ${agents[3]}
	wait ${pids[3]}
	expect_eq "$t: SIGTERM to an agent with ranks: it stays until they have left, 143" 143 $?
	expect_match "$t: the ranks had a notice" "its ranks have a notice" "$(cat agent3.err)"
	agent 2 digits-worker-1
	order 8 true "" "$(digits 200 leave$v)" digits-worker-0=1 digits-worker-1=2
	wait $job
	expect_eq "$t: a worker evicted in the middle, and replaced: the job succeeds" 0 $?
	hang_up
	expect_match "$t: the failure says so" '"exitCode":143,"signal":0,"reason":"HostLeaves","message":"host digits-worker-1 is about to go' "$(tail -1 leave$v/reports)"
	expect_match "$t: and no step is lost" "^[0-9]+ yes$" "$(python3 -c 'import json, sys
first, second = json.load(open(sys.argv[1]))["attempts"]
print(second["resumedStep"], "yes" if second["resumedStep"] == first["lastStep"] >= 60 else first["lastStep"])' leave$v/job/job.json)"
	if cmp -s <(curve whole$v/job) <(curve leave$v/job); then ok "$t: still the same loss curve"; else fail "$t: still the same loss curve" "$(cat leave$v/err)"; fi

	# --- orders that are none, one for 4,000; a worker that does not answer, and is replaced while it is asked ------------------
	launcher ask$v 9
	operator ask$v
	job_json=$(COMMAND='"grep", "Cpus_allowed_list", "/proc/self/status"' digits 0 ask$v)
	python3 -c 'import json, sys
job = json.loads(sys.argv[1])
def order(**more): print(json.dumps(dict({"serial": 9, "job": job, "workers": [], "complete": False, "waiting": ""}, **more)))
many = [{"name": "w-%d" % i, "pod": "p" * 200, "address": "10.1.2.3", "unknown": [i]} for i in range(4000)]
print("[" * 100000); print("\x00\xff{"); print("null"); print("{}")
order(serial=1e300)
order(workers=[{"name": "a"}, {"name": "b"}, {"name": "a"}])
order(workers=[{"name": "../x"}])
order(workers=[7])
order(workers={"name": "a"})
order(workers=many, waiting="for 4,000", unknown={"a": None})' "$job_json" >&7
	wait_until 10 said ask$v '"state":"Waiting".*"message":"for 4,000"' && ok "$t: an order with 4,000 workers and unknown fields" ||
		fail "$t: an order with 4,000 workers and unknown fields" "$(cat ask$v/*)"
	expect_match "$t: nine that are none: refused" "refused $NET.4: .*no order.*\(1 so far\)" "$(cat ask$v/err)"
	order 9 true "" "$job_json" digits-worker-0=1 digits-worker-1=98
	wait_until 30 said ask$v '"state":"Starting".*"message":"waiting for host digits-worker-1' && ok "$t: the report says who does not answer" ||
		fail "$t: the report says who does not answer" "$(cat ask$v/*)"
	PIN=(taskset -c $(($(nproc) - 1)))
	agent 3 digits-worker-1
	PIN=()
	since=$SECONDS
	order 9 true "" "$job_json" digits-worker-0=1 digits-worker-1=3
	wait $job
	code=$?
	expect_eq "$t: another worker while one is asked: begun anew, at once" "0 yes" "$code $( ((SECONDS - since < 8)) && echo yes)"
	hang_up
	expect_match "$t: a rank is bound within its Pod's cores" "\[1\] Cpus_allowed_list:[[:space:]]*$(($(nproc) - 1))"$'\n' "$(cat ask$v/out)"$'\n'
	kill -TERM ${agents[3]}
	wait ${pids[3]}

	# --- logs in an object store, and one that is away ---------------------------------------------------------------------------
	eval "$(on host3 "$ROOT/tests/s3server" start versitygw "$TMP/s3$v" --address $NET.4)"
	export LOCKSTEP_S3_RETRY_SECONDS=1
	for n in there away; do
		launcher $n$v 10
		operator $n$v
		order 10 true "" "$(COMMAND='"echo", "kept"' URI=s3://lockstep/pods digits 0 $n$v)" digits-worker-0=1 digits-worker-1=2
		wait $job
		expect_eq "$t: with a store that is $n: done" 0 $?
		hang_up
		[ $n = away ] || on host3 "$ROOT/tests/s3server" stop "$TMP/s3$v"
	done
	expect_eq "$t: and the logs are there" "kept" "$(cat "$(find "s3$v" -path '*/pods/logs/attempt-3/rank-00001.log' | head -1)")"
	expect_match "$t: a store that is away is a warning" "not all logs are kept in s3://lockstep/pods/logs: " "$(cat away$v/err)"

	# --- a stop ---------------------------------------------------------------------------------------------------------------------
	launcher stop$v 7
	operator stop$v
	order 7 true "" "$(digits 5000 stop$v)" digits-worker-0=1 digits-worker-1=2
	wait_until 30 reached stop$v/job 60 || fail "$t: it trains" "$(cat stop$v/*)"
	kill -TERM $(procs_on host0 lockstep | head -1)
	wait $job
	expect_eq "$t: SIGTERM to the launcher: the ranks save and leave, 143" 143 $?
	hang_up
	expect_match "$t: and the report says Stopped" '"state":"Stopped","exitCode":143.*"lastCheckpoint":\{"step":[0-9]+' "$(cat stop$v/final)"

	# --- strangers --------------------------------------------------------------------------------------------------------------------
	probe='{"argv": ["probe"]}'
	expect_match "$t: who has the secret may ask what host it is" '"topology"' "$( (echo "$probe"; sleep 2) | hex_client 1 7702 "$KEY" uid-1)"
	expect_no_match "$t: another secret: nothing" 'topology' "$( (echo "$probe"; sleep 1) | hex_client 1 7702 "$OTHER" uid-1)"
	expect_no_match "$t: another job's name: nothing" 'topology' "$( (echo "$probe"; sleep 1) | hex_client 1 7702 "$KEY" uid-2)"
	expect_eq "$t: plain text: not a byte of ours" "" "$(on host0 bash -c "exec 3<>/dev/tcp/$NET.2/7702; echo '$probe' >&3; timeout 2 cat <&3" 2>/dev/null | grep -ao topology)"
	expect_match "$t: a forbidden command is refused, by its name" "'/bin/sh' is not allowed here" \
		"$( (echo '{"argv": ["/bin/sh", "-c", "id"]}'; sleep 1) | hex_client 1 7702 "$KEY" uid-1)"
	expect_match "$t: the agent tells of what it refused" "lockstep agent: refused $NET.1: .*so far" "$(cat agent1.err)"
	echo '{"workers": [{"name": "digits-worker-0", "address": "'$NET.2'"}, {"name": "gone", "address": "'$NET.99'"}]}' >list
	dial() { out=$(on host0 "${POD[@]}" LOCKSTEP_WORKERS="$TMP/list" "$B/lockstep" dial "$@" 2>&1); code=$?; }
	dial digits-worker-0 "'$B/lockstep' probe"
	expect_eq "$t: dial runs what probe.c asks for" 0 $code
	on host3 python3 -c 'import socket, sys, time
held = [socket.create_connection((sys.argv[1], 7702)) for i in range(200)]
print("held", flush=True); time.sleep(30)' $NET.2 >crowd.out & crowd=$!
	wait_until 10 grep -q held crowd.out
	since=$SECONDS
	dial digits-worker-0 "'$B/lockstep' probe"
	expect_eq "$t: 200 that say nothing do not keep out who has the secret" "0 yes" "$code $( ((SECONDS - since < 4)) && echo yes)"
	kill $(procs_on host3 python3)
	wait $crowd 2>/dev/null
	dial digits-worker-0 'sh -c "echo $HOME"'
	expect_match "$t: dial hands no shell command on" "255: .*only a program" "$code: $out"
	dial nobody probe
	expect_match "$t: an unknown worker" "255: lockstep dial: the newest order has no worker nobody" "$code: $out"

	kill -TERM $(procs_on host1 lockstep | head -1)
	wait ${pids[1]}
	expect_eq "$t: SIGTERM ends an agent with 143" 143 $?
	kill -TERM $(procs_on host2 lockstep | head -1)
	wait ${pids[2]}
	no_leftovers "$t: nothing stays on any host" 10
done
