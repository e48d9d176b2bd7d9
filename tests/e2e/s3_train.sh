#!/bin/bash
# limit: 240
# Training whose checkpoints are in an object store: ranks die, the store dies, is away and comes back, requests are lost and land late.
# After each, the loss curve is the undisturbed one, the newest checkpoint is whole, and a clean-up leaves nothing but whole checkpoints.
. "$(dirname "$0")/../lib.sh"

tool=$B/tests/store_tool
PATH=$("$ROOT/tests/setup-s3.sh"):$PATH
unset http_proxy HTTP_PROXY
export LOCKSTEP_S3_RETRY_SECONDS=1 # for one request; what is due is tried again

server() { # start KIND [--tls] | stop
	case $1 in
	start) eval "$("$ROOT/tests/s3server" start "$2" "$TMP/$2${3-}" ${3-})"; running=$TMP/$2${3-} ;;
	stop) "$ROOT/tests/s3server" stop "$running"; unset AWS_CA_BUNDLE ;;
	esac
}
job() { # DIR STEP_MS EVERY ARGS...: 400 steps; its checkpoints are in s3://lockstep/DIR
	(cd "$ROOT" && exec timeout 100 "$B/lockstep" run -f examples/digits/digits.yaml --dir "$TMP/$1" "${NOLEAKS[@]}" \
		--set spec.workers.template.spec.containers.0.args="[\"--steps\", \"400\", \"--batch\", \"96\", \"--data\", \"examples/digits/digits.csv\", \"--step-ms\", \"$2\"]" \
		--set spec.workers.template.spec.containers.0.command="[\"$B/examples/digits\"]" \
		--set spec.checkpoint.uri="s3://lockstep/${1%.*}" --set spec.checkpoint.every.steps="$3" "${@:4}")
}
start() { # DIR STEP_MS EVERY ARGS...: in the background
	job "$@" >"$1.out" 2>&1 &
	job=$!
}
at() { wait_until 40 reached "$1" "$2" || fail "$1: it got to step $2" "$(cat "$1.out")"; }
agents() { # this test's
	local e
	for e in $(grep -lsF "LOCKSTEP_TEST_ID=$LOCKSTEP_TEST_ID" /proc/[0-9]*/environ); do
		grep -qsx lockstep-agent "${e%environ}comm" && basename "${e%/environ}"
	done
}
published() { "$tool" "s3://lockstep/$1" list step- | grep -q "$2.*manifest.json"; } # STORE PATTERN
same_curve() { # NAME DIR
	if cmp -s <(curve whole) <(curve "$2"); then ok "$1: the same loss curve"; else fail "$1: the same loss curve" "$(cat "$2.out")"; fi
}
# The newest is of the last step and whole; after a clean-up only whole ones are there, and no unfinished upload.
tidy() { # NAME STORE [STEP]
	local out
	out=$(lockstep ckpt verify "s3://lockstep/$2" 2>&1) || fail "$1: all verify" "$out"
	expect_match "$1: the newest checkpoint is whole" " ${3:-400} +[0-9]+ +2 +2 +22672 +whole" "$(sed -n 2p <<<"$out")"
	lockstep ckpt gc "s3://lockstep/$2" --keep 3 >gc.out 2>&1 || fail "$1: clean-up" "$(cat gc.out)"
	expect_eq "$1: nothing else is there after a clean-up" "1 3 6 0" "$("$tool" "s3://lockstep/$2" list "" | awk '
		/^generation-/ { c++ } /manifest.json/ { m++ } /safetensors/ { s++ } END { print c, m, s }') $("$tool" "s3://lockstep/$2" sweep "" "~" dry)"
}
end() { # NAME DIR [STORE]
	wait $job
	expect_eq "$1: the job succeeds" 0 $?
	same_curve "$1" "$2"
	tidy "$1" "${3:-$2}"
}
saved() { sed -n '/"checkpoints"/,/\]/ s/.*"step":[^0-9]*\([0-9]*\).*/\1/p' "$1/job.json" | tr '\n' ' '; }
resumed() { sed -n 's/^lockstep: resumed from step //p' "$1.out" | tr '\n' ' '; }

# --- servers as they are ---------------------------------------------------------------------------------------------

server start versitygw
mkdir aws
echo "$AWS_SECRET_ACCESS_KEY" >aws/secret
start whole 3 20
at whole 100
expect_eq "a rank has the keys from its environment" "/proc/$(rank_pid 1)/environ" "$(grep -lFf aws/secret "/proc/$(rank_pid 1)/environ")"
expect_eq "no command line tells a secret" "" "$(grep -laFf aws/secret /proc/[0-9]*/cmdline 2>/dev/null)"
end "versitygw" whole
expect_no_match "versitygw: it keeps its promises" "warning" "$(cat whole.out)"

# SIGKILL of each rank, and of the agent that holds the snapshots: only the store has any.
for rank in 0 1; do
	start rank$rank 3 20
	at rank$rank 130
	kill -9 $(agents) "$(rank_pid $rank)"
	end "rank $rank and the agent killed" rank$rank
	expect_match "rank $rank and the agent killed: it resumed from the store" "^[1-9][0-9]0 $" "$(resumed rank$rank)"
done

# --- the store dies --------------------------------------------------------------------------------------------------

start dies 10 5
at dies 60
kill -9 "$S3SERVER_PID"
at dies 250
server start versitygw
end "the server dies in the middle of saves, and comes back two hundred steps later" dies
expect_match "the server dies: it is said, with the cause" "was not saved, training goes on: .*connect" "$(cat dies.out)"
expect_match "the server dies: once, by each rank, however many saves that were" "^[012]$" "$(grep -c "was not saved, training goes on" dies.out)"
expect_eq "the server dies: no rank did" "" "$(grep failed: dies.out)"

# Away when a rank dies: the snapshots in memory do.
start away 10 40
at away 100
kill -9 "$S3SERVER_PID" "$(rank_pid 1)"
wait_until 30 grep -q "resumed from" away.out
server start versitygw
end "the server dies, and then a rank" away
expect_match "the server dies, and then a rank: it resumed in memory" "^80, in memory $" "$(resumed away)"

# A save of many parts.
export OMPI_MCA_ess_singleton_isolated=1 # without a launcher, for the URI is the program's own
uploads() { timeout 60 "$tool" "s3://lockstep/$1" sweep "" "~" dry; }
killsave() { ASAN_OPTIONS=detect_leaks=0 exec timeout 60 "$B/tests/killsave" "$@"; } # leaks of MPI are other people's
killsave save s3://lockstep/parts 600000 >parts.out 2>&1 &
saver=$!
wait_until 30 published parts 001-g
wait_until 10 eval '[ "$(uploads parts)" != 0 ]'
kill -9 "$(pgrep -P $saver)"
wait $saver 2>/dev/null
expect_eq "a rank dies in the middle of an upload: it is unfinished" 1 "$(uploads parts)"
expect_eq "a rank dies in the middle of an upload: the checkpoint before is whole, and the next save works" 1 \
	"$(killsave next s3://lockstep/parts 600000)"
expect_eq "a rank dies in the middle of an upload: nothing of it is left" "0 step-000000000003-g00000002" \
	"$(uploads parts) $("$tool" s3://lockstep/parts list step- | cut -d/ -f1 | sort -u)"

# --- requests are lost -----------------------------------------------------------------------------------------------

server_url=$AWS_ENDPOINT_URL_S3
"$ROOT/tests/s3proxy.py" "$server_url" >proxy.url &
proxy=$!
wait_until 10 test -s proxy.url
AWS_ENDPOINT_URL_S3=$(head -1 proxy.url)
export AWS_ENDPOINT_URL_S3
rules() { printf '%s\n' "$@" | curl -sS --noproxy '*' "$AWS_ENDPOINT_URL_S3/__rules" --data-binary @- >/dev/null; }
seen() { curl -sS --noproxy '*' "$AWS_ENDPOINT_URL_S3/__log" | grep -o "{[^}]*\"action\": \"$1[^}]*}"; }
landed() { seen delay | grep "$1" | grep -q '"server": 200'; }

rules '{"every": 5, "action": "answer", "status": 503}' '{"every": 7, "action": "reset"}' \
	'{"every": 8, "action": "reset", "applied": true}' '{"method": "PUT", "every": 9, "action": "corrupt_body", "at": 100}'
start faults 10 10
at faults 150
kill -9 $(agents) "$(rank_pid 1)"
wait $job
expect_eq "one request in three fails: the job succeeds" 0 $?
same_curve "one request in three fails" faults
expect_eq "one request in three fails: each kind did" "answer corrupt_body reset" \
	"$(seen '[arc]' | grep -oE '"action": "[a-z_]+"' | cut -d'"' -f4 | sort -u | tr '\n' ' ' | sed 's/ $//')"
rules
tidy "one request in three fails" faults

# --- and land late ---------------------------------------------------------------------------------------------------

# A first attempt publishes up to step 100. Later manifests are refused; but one, of a step from 240 on, lands when a second attempt has gone
# on from step 100. Whoever comes then must go on from the second one's, although it is of fewer steps.
rules '{"method": "PUT", "path": "-000000000(2[4-9]|3.).-g00000001/manifest", "nth": 1, "action": "delay", "seconds": 6}' \
	'{"method": "PUT", "path": "-000000000(1[2-9]|[234].).-g00000001/manifest", "action": "answer", "status": 403, "code": "AccessDenied"}'
start late 6 20 --set spec.runPolicy.backoffLimit=0
wait_until 40 eval 'seen delay | grep -q manifest' || fail "late: the manifest is on its way" "$(cat late.out)"
kill -9 "$(rank_pid 0)" "$(rank_pid 1)"
wait $job
expect_eq "a manifest that lands late: it was not reported" "20 40 60 80 100 " "$(saved late)"
start late.2 6 20
wait_until 20 grep -q "resumed from" late.2.out
expect_eq "a manifest that lands late: the next launcher goes on from the one before" "100 " "$(resumed late.2)"
at late.2 130
pkill -TERM -f "^$B/lockstep run .*--dir $TMP/late.2"
wait $job
stopped=$(sed -n 's/.*stopped at step \([0-9]*\).*/\1/p' late.2.out)
wait_until 20 landed manifest
expect_match "a manifest that lands late: it is there now" "step-000000000[23].0-g00000001/manifest.json" "$("$tool" s3://lockstep/late list step-)"
rules
start late.3 3 20
wait $job
expect_eq "a manifest that lands late: who comes then goes on from the newer attempt's" "$stopped " "$(resumed late.3)"
expect_eq "a manifest that lands late: the same losses" "" "$(diff <(curve whole) <(curve late.3) | grep '^>')"
tidy "a manifest that lands late" late

# A shard lands when its save has been given up for the next one.
rules '{"method": "PUT", "path": "-000000000100-g00000001/rank-00001", "nth": 1, "action": "delay", "seconds": 8}' \
	'{"method": "PUT", "path": "-000000000100-g00000001/rank-00001", "action": "answer", "status": 503}'
start shard 40 20
wait_until 40 landed rank-00001
end "a shard that lands late" shard
expect_match "a shard that lands late: a newer save had taken its place" "^20 40 60 80 [23].0 " "$(saved shard)"
kill $proxy
wait $proxy 2>/dev/null
export AWS_ENDPOINT_URL_S3=$server_url

# --- two launchers ---------------------------------------------------------------------------------------------------

start two 25 20
older=$job
at two 50
start two.2 3 20
wait $older
expect_eq "two launchers: the older one ends with 1" 1 $?
expect_match "two launchers: and says who took its place" \
	"generation 2 in s3://lockstep/two was claimed after generation 1 \(by job digits, attempt 0, on .*\): this attempt publishes nothing more" "$(cat two.out)"
expect_no_match "two launchers: and is not started again" "restarting" "$(cat two.out)"
wait $job
expect_eq "two launchers: the newer one succeeds" 0 $?
tidy "two launchers" two

# --- secrets ---------------------------------------------------------------------------------------------------------

# In a file, so that the ranks' environment does not have it.
printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" >aws/credentials
key=$AWS_ACCESS_KEY_ID
unset AWS_SECRET_ACCESS_KEY AWS_ACCESS_KEY_ID
export AWS_SHARED_CREDENTIALS_FILE=$TMP/aws/credentials
start file 10 5
at file 50
if [[ $B == */address ]]; then
	skip "no core file tells a secret" "AddressSanitizer's shadow is terabytes"
elif command -v gcore >/dev/null; then
	gcore -o core "$(rank_pid 0)" >gcore.out 2>&1 || fail "a core file" "$(cat gcore.out)"
	expect_eq "no core file tells a secret" "1 0" "$(grep -lF "$AWS_ENDPOINT_URL_S3" core.* | wc -l) $(grep -lFf aws/secret core.* | wc -l)"
	rm -f core.*
else
	skip "no core file tells a secret" "no gcore: apt-get install gdb"
fi
end "credentials from a file" file
export AWS_ACCESS_KEY_ID=$key AWS_SECRET_ACCESS_KEY=$(<aws/secret)
expect_eq "no job directory, log or message tells a secret" "" "$(grep -rlFf aws/secret "$TMP" --exclude-dir=aws --exclude=state.json)"
server stop

# --- another server, and TLS -----------------------------------------------------------------------------------------

for kind in minio "versitygw --tls"; do
	server start $kind
	start other${#kind} 3 20
	at other${#kind} 130
	kill -9 $(agents) "$(rank_pid 0)"
	end "$kind" other${#kind}
	expect_match "$kind: it resumed from the store" "^[1-9][0-9]0 $" "$(resumed other${#kind})"
	server stop
done
no_leftovers "nothing stays" 5
