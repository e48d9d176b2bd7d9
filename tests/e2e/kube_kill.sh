#!/bin/bash
# limit: 900
# The operator is killed at every call to the API of a job's life, right before the server sees it and right after it has answered. Another one goes on.
# Each time the job must succeed, each of its Pods must have been created exactly once, the job must not be charged for it, and nothing may stay. Nodes are
# simulated, and nothing runs in the Pods.
. "$(dirname "$0")/../lib.sh"
need_root "Kubernetes" || exit 0
. "$ROOT/tests/kube/lib.sh"

simulated 3
cluster exec python3 -B "$ROOT/tests/kube/lives.py" .kube 3 "$B/lockstep" operator --kubeconfig @KUBECONFIG@ --namespace @NAMESPACE@ \
	--image lockstep.test/lockstep:1 --leader-elect=false --metrics-address 127.0.0.1:0 >lives.out 2>&1
code=$?
cat lives.out
expect_eq "every life is told, and nothing stays of any" 0 $code
for when in before after; do
	read -r calls bad < <(sed -n "s/^killed $when: //p" lives.out)
	expect_eq "killed right $when each call: the job succeeds, each Pod is created once, and the job is not charged" "" "${bad-}"
	expect_eq "killed right $when each call: there were at least twenty" 1 "$((${calls:-0} >= 20))"
done
[ "$failures" = 0 ] || tail -n 5 lane-*.log
no_leftovers "nothing stays outside"
