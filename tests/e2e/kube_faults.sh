#!/bin/bash
# limit: 1200
# The control plane and the operator are killed under a job that runs; the ends that a runPolicy asks for; manifests that nobody should accept.
. "$(dirname "$0")/../lib.sh"
need_root "Kubernetes" || exit 0
. "$ROOT/tests/kube/lib.sh"

cluster_up 2
reference 400
install_operator

once() { # SAYS JOB: none of its Pods was made twice, none that was not needed
	expect_eq "$1: each Pod was created once" "$2-launcher $2-worker-0 $2-worker-1" "$(cluster created | sed -n "s#^201 $NS/\($2-[^ ]*\) .*#\1#p" | sort | tr '\n' ' ' | sed 's/ $//')"
}
leader() { # the operator's Pod that acts
	cluster kubectl -n lockstep-system get lease -o 'jsonpath={.items[0].spec.holderIdentity}' | cut -d_ -f1
}

# --- what is killed ---------------------------------------------------------------------------------------------------

for part in apiserver etcd; do
	apply $part 400 20
	running_at $part 60 || continue
	freeze $part
	cluster kill $part
	sleep 2
	[ $part != etcd ] || cluster kill apiserver
	cluster start $part
	[ $part != etcd ] || cluster start apiserver
	thaw $part
	# Kubernetes' own parts may wait for a minute until they look again; it is ours that is tested.
	for other in scheduler manager; do cluster kill $other && cluster start $other; done
	succeeded "$part killed and started again" $part
	once "$part killed and started again" $part
	expect_eq "$part killed and started again: the job did not notice" 0 "$(field $part .status.attempt)"
	k delete trainingjob $part --timeout=90s >/dev/null
done

apply operator 400 20
if running_at operator 60; then
	freeze operator
	old=$(leader)
	cluster kubectl -n lockstep-system delete pod "$old" --grace-period=0 --force >/dev/null 2>&1
	wait_until 60 eval 'new=$(leader) && [ -n "$new" ] && [ "$new" != "$old" ]' || fail "the operator killed: another one leads"
	thaw operator
	succeeded "the operator killed" operator
	once "the operator killed" operator
	expect_eq "the operator killed: the job did not notice" 0 "$(field operator .status.attempt)"
fi

# A job that begins while nobody is there.
cluster kubectl -n lockstep-system scale deployment lockstep-operator --replicas=0 >/dev/null
cluster kubectl -n lockstep-system wait --for=delete pod -l app.kubernetes.io/name=lockstep-operator --timeout=120s >/dev/null 2>&1
apply alone 400 10
sleep 2
expect_eq "without an operator nothing happens" "" "$(pods_of alone)"
cluster kubectl -n lockstep-system scale deployment lockstep-operator --replicas=2 >/dev/null
succeeded "the operator comes later" alone
k delete trainingjob operator alone --timeout=120s >/dev/null

# --- runPolicy --------------------------------------------------------------------------------------------------------

apply late 100000 20 2 "  runPolicy: {activeDeadlineSeconds: 12}"
k wait --for=condition=Failed trainingjob/late --timeout=120s >/dev/null || fail "a deadline: it fails" "$(tell late 2>&1)"
expect_eq "a deadline: the reason" DeadlineExceeded "$(condition late Failed reason)"
wait_until 60 eval '[ -z "$(pods_of late | grep worker)" ]'
expect_eq "a deadline: its workers are gone" "" "$(pods_of late | grep worker)"

apply short 60 0 2 "  runPolicy: {ttlSecondsAfterFinished: 2}"
expect_eq "a time to live: the job is gone, with all that was its" "" "$(wait_until 180 eval '! k get trainingjob short >/dev/null 2>&1'
	wait_until 60 eval '[ -z "$(k get pods,services,networkpolicies,secrets -o name | grep /short)" ]'
	k get trainingjobs,pods,services,networkpolicies,secrets -o name | grep /short)"

apply all 60 0 2 "  runPolicy: {cleanPodPolicy: All}"
apply none 60 0 2 "  runPolicy: {cleanPodPolicy: None}"
for job in all none; do k wait --for=condition=Succeeded trainingjob/$job --timeout=240s >/dev/null || fail "$job succeeds" "$(tell $job 2>&1)"; done
expect_eq "cleanPodPolicy All: no Pod stays" "" "$(wait_until 60 eval '[ -z "$(pods_of all)" ]'; pods_of all)"
expect_eq "cleanPodPolicy None: all stay" "none-launcher none-worker-0 none-worker-1 " "$(pods_of none | sort | tr '\n' ' ')"

digits big 60 0 2 | sed 's/cpu: [0-9]*m/cpu: "6400"/' | k apply -f - >/dev/null
wait_until 60 eval '[[ "$(condition big Created message)" == *needs* ]]'
expect_match "what does not fit says what it needs" "needs .*(core|CPU|cpu)" "$(condition big Created message)"
expect_eq "and has no Pod" "" "$(pods_of big)"

# --- manifests that nobody should accept --------------------------------------------------------------------------------

refused() { # SAYS REGEX FILE: by the API server, in words
	local out
	if out=$(k create -f "$3" 2>&1); then fail "$1 is refused" "it was accepted"; else expect_match "$1 is refused" "$2" "${out:0:2000}"; fi
}
digits hostile 1 0 100000 >hostile.yaml
refused "100,000 replicas" "replicas.*(less than or equal to|at most) *10,?000" hostile.yaml
digits "$(printf 'a%.0s' {1..60})" 1 0 >hostile.yaml
refused "a name of 60 letters" "at most 44" hostile.yaml
digits hostile 1 0 2 "  runPolicy: {backOffLimit: 1}" >hostile.yaml
refused "a misspelt field" "unknown field.*backOffLimit" hostile.yaml
python3 - >hostile.json <<-'END'
	import json
	text = json.dumps({"apiVersion": "lockstep.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": "hostile"}, "spec": "DEEP"})
	print(text.replace('"DEEP"', '{"a":' * 20000 + "1" + "}" * 20000))
END
refused "20,000 levels" "." hostile.json
python3 -c '
import json
print(json.dumps({"apiVersion": "lockstep.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": "hostile"},
                  "spec": {"workers": {"template": {"spec": {"containers": [{"name": "a", "image": "b", "command": ["x" * 10000000]}]}}}}}))' >hostile.json
refused "10 MB" "too large|limit" hostile.json
expect_eq "and the operators live, as they were started" "0 0" "$(cluster kubectl -n lockstep-system get pods -l app.kubernetes.io/name=lockstep-operator \
	-o 'jsonpath={.items[*].status.containerStatuses[0].restartCount}')"
all_down
no_leftovers "nothing stays"
