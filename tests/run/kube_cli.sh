#!/bin/bash
# The commands for a cluster, against tests/fakekube.py: what they ask of the API server, what they print, and their exit codes.
. "$(dirname "$0")/../lib.sh"

unset KUBECONFIG KUBERNETES_SERVICE_HOST
export HOME=$TMP
job=$ROOT/examples/digits/digits.yaml
python3 "$ROOT/tests/fakekube.py" "$TMP/port" &
fake=$!
trap 'kill "$fake" 2>/dev/null; finish' EXIT
wait_until 10 test -s "$TMP/port" || { fail "the API server's stand-in starts"; exit 1; }
url=http://127.0.0.1:$(<"$TMP/port")
jobs=/apis/lockstep.dev/v1alpha1/namespaces/team/trainingjobs
pods=/api/v1/namespaces/team/pods

# --- without a cluster -----------------------------------------------------------------------------------------------

for c in submit get describe logs wait suspend resume delete; do
	out=$(lockstep $c --help)
	expect_match "lockstep $c --help" "usage: lockstep $c" "$out"
done
out=$(lockstep submit -f "$job" --dry-run 2>&1); code=$?
expect_eq "a dry run needs no cluster" "0 trainingjob digits is valid (dry run: the cluster was not asked; --dry-run=server asks it)" "$code $out"
out=$(lockstep submit -f "$job" --set spec.workers.replica=2 2>&1); code=$?
expect_eq "a wrong field is named before anything is sent" \
	"2 lockstep submit: --set: spec.workers.replica: unknown field; did you mean replicas?" "$code $out"
out=$(lockstep submit -f "$job" --dryrun 2>&1); code=$?
expect_eq "a misspelt option" "2 lockstep submit: unknown option --dryrun; did you mean --dry-run? lockstep submit --help lists them" "$code $out"
out=$(lockstep get 2>&1); code=$?
expect_match "no cluster at all: it says where it looked" "^[12] lockstep get: .*kube" "$code $out"
out=$(lockstep agent --node --once 2>&1); code=$?
expect_eq "a node agent without a name" "2 lockstep agent --node: which node? set NODE_NAME from spec.nodeName, or give --node NAME" "$code $out"

# --- with one --------------------------------------------------------------------------------------------------------

cat >config <<EOF
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "$url"}}]
users: [{name: u, user: {}}]
contexts: [{name: x, context: {cluster: c, user: u, namespace: team}}]
current-context: x
EOF
export KUBECONFIG=$TMP/config

api() { # METHOD PATH: of the stand-in; with PUT the body is on stdin
	python3 -c 'import sys, urllib.request as u
put = sys.argv[1] == "PUT"
print(u.urlopen(u.Request(sys.argv[2], sys.stdin.buffer.read() if put else None, method=sys.argv[1])).read().decode())' "$1" "$url$2"
}
put() { api PUT "/set$1" >/dev/null; } # PATH, object on stdin
status() { # NAME STATUS: the job as its operator would have it
	api GET "$jobs/$1" | python3 -c 'import json, sys; o = json.load(sys.stdin); o["status"] = json.loads(sys.argv[1]); print(json.dumps(o))' "$2" | put "$jobs/$1"
}
launcher() { # SERIAL STATE: its Pod
	put "$pods/digits-launcher-$1" <<EOF
{"metadata": {"name": "digits-launcher-$1", "namespace": "team",
  "labels": {"lockstep.dev/job": "digits", "lockstep.dev/role": "launcher", "lockstep.dev/serial": "$1"}},
 "spec": {"containers": [{"name": "launcher"}]}, "status": {"containerStatuses": [{"name": "launcher", "state": $2}]}}
EOF
}
writes() { put "$pods/digits-launcher-$1/log" <<<"2026-01-01T00:00:0$2.000000000Z $3"; } # SERIAL SECOND LINE

out=$(lockstep get 2>&1)
expect_eq "no jobs yet" "no TrainingJobs in namespace team" "$out"
out=$(lockstep submit -f "$job" --dry-run=server 2>&1)
expect_eq "a dry run at the server" "trainingjob digits would be submitted (dry run: the API server agrees)" "$out"
out=$(lockstep submit -f "$job" -n other --set metadata.namespace=team 2>&1); code=$?
expect_match "two namespaces are one too many" "^2 .*says namespace team and -n says other; leave out one" "$code $out"
out=$(lockstep submit -f "$job" 2>&1)
expect_match "submit" "^trainingjob digits submitted"$'\n'"next: lockstep logs -f digits -n team" "$out"
out=$(api GET /requests | grep apply | tail -1; api GET /requests | grep PATCH | tail -1)
expect_match "by strict server-side apply" \
	"PATCH $jobs/digits\?fieldManager=lockstep&fieldValidation=Strict&force=false \{\"apiVersion\":\"lockstep.dev/v1alpha1\"" "$out"
expect_match "the context's namespace is written down" '"namespace":"team"' "$out"
out=$(lockstep get 2>&1)
expect_match "get" "^NAME +STATE +STEP +LOSS +WORKERS +ATTEMPT +AGE"$'\n'"digits +Pending +- +- +- +- +[0-9]+d" "$out"
out=$(lockstep get digit 2>&1); code=$?
expect_eq "a job that is not there" "1 lockstep get: no TrainingJob 'digit' in namespace team; did you mean digits? there are: digits" "$code $out"
out=$(lockstep get digits -o json | python3 -c 'import json, sys; print(json.load(sys.stdin)["spec"]["runPolicy"]["backoffLimit"])')
expect_eq "get -o json" 3 "$out"
out=$(lockstep suspend digits 2>&1; lockstep suspend digits 2>&1; lockstep resume digits 2>&1)
expect_eq "suspend, again, and resume" "trainingjob digits suspended: its ranks save, then its Pods go
trainingjob digits is suspended already
trainingjob digits resumed: it goes on from its newest checkpoint" "$out"
out=$(lockstep resume digits 2>&1)
expect_eq "and again" "trainingjob digits is not suspended" "$out"
out=$(lockstep describe digits 2>&1)
expect_match "a job that nobody took: what to look at" "Operator +none has taken it yet" "$out"
out=$(lockstep wait digits --for=Running --timeout=1s 2>&1); code=$?
expect_eq "a wait that ends in vain" "1 lockstep wait: digits is not Running after 1 s; it is Pending" "$code $out"

# --- a job's life, followed ------------------------------------------------------------------------------------------

put /api/v1/namespaces/team/events/e1 <<<'{"metadata": {"name": "e1"}, "reason": "Placed", "message": "1 worker on 1 node", "lastTimestamp": "2026-01-01T00:00:00Z"}'
lockstep submit -f "$job" -F >follow 2>&1 &
follow=$!
(lockstep wait digits; echo "code $?") >waited 2>&1 &
waiting=$!
said() { grep -qF -- "$1" follow; }
status digits '{"state": "Running", "workers": "1/1", "pods": {"launcher": 0}}'
writes 0 1 "lockstep: digits: attempt 0, 2 ranks on a (2)"
launcher 0 '{"running": {}}'
wait_until 10 said "attempt 0, 2 ranks" || fail "the log is shown while it is written" "$(<follow)"
writes 0 2 "[1] dies"
wait_until 10 said "[1] dies" || fail "a further line is shown at once" "$(<follow)"
launcher 0 '{"terminated": {"exitCode": 255}}'
writes 1 3 "lockstep: digits: attempt 1, 2 ranks on b (2)"
launcher 1 '{"running": {}}'
status digits '{"state": "Restarting", "workers": "0/1", "pods": {"launcher": 1}}'
wait_until 10 said "attempt 1, 2 ranks" || fail "the next launcher's log follows" "$(<follow)"
writes 1 4 "[0] cannot open data.bin"
launcher 1 '{"terminated": {"exitCode": 3}}'
status digits '{"state": "Failed", "conditions": [{"type": "Failed", "status": "True", "reason": "ExitCode", "message": "rank 0 exited with code 3"}],
 "failures": [{"attempt": 1, "rank": 0, "exitCode": 3, "message": "rank 0 exited with code 3", "logTail": "cannot open data.bin"}]}'
wait "$follow"; code=$?
expect_eq "follow ends with the exit code of a local run" 3 "$code"
expect_eq "the log is whole, and each line is there once" "lockstep: digits: attempt 0, 2 ranks on a (2)
[1] dies
lockstep: digits: attempt 1, 2 ranks on b (2)
[0] cannot open data.bin" "$(grep -E 'attempt|^\[' follow)"
expect_match "and the cause" "lockstep: digits failed: rank 0 exited with code 3" "$(<follow)"
wait "$waiting"
expect_eq "who waits for success hears of the failure" "lockstep wait: digits has failed, and never will be Succeeded: rank 0 exited with code 3
code 1" "$(<waited)"

# --- logs afterwards -------------------------------------------------------------------------------------------------

out=$(lockstep logs digits --rank 0 2>&1)
expect_eq "logs of one rank" "[0] cannot open data.bin" "$out"
out=$(lockstep logs digits --attempt 0 2>&1)
expect_eq "logs of an attempt of an earlier launcher" "lockstep: digits: attempt 0, 2 ranks on a (2)"$'\n'"[1] dies" "$out"
out=$(lockstep logs digits -p 2>&1)
expect_match "logs of the launcher before" "attempt 0.*dies" "$out"
for p in 0 1; do api DELETE "/set$pods/digits-launcher-$p" >/dev/null; done
out=$(lockstep logs digits 2>&1); code=$?
expect_eq "when the Pods are gone: what the status kept" "0 lockstep: the Pods of digits are gone; these are the last lines of its failures, kept in its status
attempt 1, rank 0: rank 0 exited with code 3
cannot open data.bin" "$code $out"
mkdir -p store/logs/attempt-0 store/logs/attempt-1
echo "early" >store/logs/attempt-0/rank-00000.log
echo "from rank 0" >store/logs/attempt-1/rank-00000.log
echo "from rank 1" >store/logs/attempt-1/rank-00001.log
echo "not a rank's" >store/logs/attempt-1/engine.log
api GET "$jobs/digits" | python3 -c 'import json, sys; o = json.load(sys.stdin); o["spec"]["checkpoint"]["uri"] = sys.argv[1]; o["status"]["attempt"] = 1
print(json.dumps(o))' "file://$TMP/store" | put "$jobs/digits"
gone="lockstep: the launcher's Pod of digits is gone; its logs are kept in file://$TMP/store/logs"
out=$(lockstep logs digits 2>&1); code=$?
expect_eq "the newest attempt's logs beside the checkpoints" "0 $gone
==> attempt 1, rank 0
from rank 0
==> attempt 1, rank 1
from rank 1" "$code $out"
out=$(lockstep logs digits --attempt 0 --rank 0 2>/dev/null)
expect_eq "another attempt's, one rank's" "early" "$out"
out=$(lockstep describe digits 2>&1)
expect_match "describe says where logs are" "Logs +of attempts that are over: file://$TMP/store/logs/attempt-N/rank-R.log" "$out"
mv store elsewhere
out=$(lockstep logs digits 2>&1); code=$?
expect_match "not to be seen from here: the place, and what the status kept" "^0 $gone"$'\n'".*seen from here"$'\n'".*cannot open data.bin" "$code $out"
out=$(lockstep describe digits 2>&1)
expect_match "describe" "State +Failed.*FAILURES.*rank 0.*\| cannot open data.bin" "$out"
out=$(lockstep submit -f "$job" 2>&1); code=$?
expect_eq "a job that is over does not run again" "0 trainingjob digits configured
it is over (Failed) and does not run again; to run it anew, before you submit it: lockstep delete digits -n team" "$code $out"
out=$(lockstep logs digits --worker 1 2>&1); code=$?
expect_eq "a worker that it never had" "2 lockstep logs: --worker 1: TrainingJob 'digits' has 1; the first is 0" "$code $out"
out=$(lockstep logs digits --worker 0 2>&1); code=$?
expect_match "a worker's Pod that is gone" "^1 lockstep logs: the workers' Pods of TrainingJob 'digits' are gone, as it is Failed" "$code $out"
out=$(lockstep suspend digits 2>&1); code=$?
expect_eq "a job that is over" "2 lockstep suspend: TrainingJob 'digits' is over (Failed): there is nothing to suspend" "$code $out"

# --- Ctrl-C, conflicts, the end --------------------------------------------------------------------------------------

status digits '{"state": "Running", "workers": "1/1"}'
: >follow
lockstep submit -f "$job" -F >>follow 2>&1 &
follow=$!
wait_until 10 said "digits: Running" || fail "follow shows the state" "$(<follow)"
kill -INT "$follow"
wait "$follow"; code=$?
expect_eq "Ctrl-C" 130 "$code"
expect_match "ends the following, not the job" "no longer following digits, which goes on" "$(<follow)"
api GET "$jobs/digits" | sed 's/"metadata": {/"metadata": {"annotations": {"other": ""}, /' | put "$jobs/digits"
out=$(lockstep submit -f "$job" 2>&1); code=$?
expect_match "another's fields are named, not taken" "^2 .*conflict with \"other\": .spec.workers.replicas; these fields were set by somebody else" "$code $out"
lockstep wait digits --for=delete >waited 2>&1 &
waiting=$!
out=$(lockstep delete digits other 2>&1); code=$?
expect_eq "delete" "1 trainingjob digits deleted
lockstep delete: no TrainingJob 'other' in namespace team; there are none; -n names another, lockstep get -A shows all" "$code $out"
wait "$waiting"; code=$?
expect_eq "and its wait" "0 trainingjob digits: deleted" "$code $(<waited)"
out=$(lockstep delete --all 2>&1)
expect_eq "nothing is left to delete" "no TrainingJobs in namespace team" "$out"

# A finalizer holds it, as the operator's does while ranks save.
put "$jobs/digits" <<<'{"metadata": {"name": "digits", "finalizers": ["x"]}, "spec": {}}'
(lockstep delete digits; echo "code $?") >deleted 2>&1 &
deleting=$!
wait_until 10 grep -q "digits deleted" deleted
out=$(lockstep get 2>&1)
expect_match "what is being deleted" "digits +Deleting" "$out"
out=$(lockstep submit -f "$job" 2>&1); code=$?
expect_match "is not submitted into its own end" "^1 lockstep submit: the former digits is still being deleted" "$code $out"
out=$(lockstep suspend digits 2>&1); code=$?
expect_match "nor suspended" "^2 .*'digits' is being deleted" "$code $out"
expect_eq "delete waits" 1 "$(wc -l <deleted)"
api DELETE "/set$jobs/digits" >/dev/null
wait "$deleting"
expect_eq "until it is gone" "trainingjob digits deleted"$'\n'"code 0" "$(<deleted)"
out=$(lockstep get nodes 2>&1); code=$?
expect_eq "no such kind in this cluster" "2 lockstep get: this cluster has no NodeTopologies; install them: kubectl apply --server-side -k deploy" "$code $out"
no_leftovers "after the commands"
