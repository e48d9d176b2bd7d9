#!/bin/bash
# limit: 900
# Many jobs at once on simulated nodes (kwok): every Pod is created, none twice, and the operator stays small. Nothing is trained here.
. "$(dirname "$0")/../lib.sh"
need_root "Kubernetes" || exit 0
. "$ROOT/tests/kube/lib.sh"

JOBS=100 WORKERS=8 NODES=128
simulated $NODES

# In KB: its own, and with the shared libraries that it has touched.
memory() { awk '/^RssAnon:/ { own = $2 } /^VmRSS:/ { all = $2 } END { print own, all }' "/proc/$operator/status"; }
created() { cluster created | grep -c "^201 $NS/"; }
all_created() { [ "$(created)" -ge $((JOBS * (WORKERS + 1))) ]; }

operate "$(cluster kubeconfig)"
sleep 5
rest=$(memory)
for ((i = 0; i < JOBS; i++)); do simulated_job "scale-$i" $WORKERS; done >jobs.yaml
begun=$(date +%s%N)
cluster kubectl create -f jobs.yaml >jobs.out 2>&1 || fail "the jobs are accepted" "$(tail -3 jobs.out)"
if wait_until 300 eval 'sleep 0.5; all_created'; then ok "$JOBS jobs of $WORKERS workers: all Pods are created"; else
	fail "$JOBS jobs of $WORKERS workers: all Pods are created" "$(created) of $((JOBS * (WORKERS + 1)))"$'\n'"$(tail -5 operator.log)"
fi
took=$((($(date +%s%N) - begun) / 1000000))
sleep 3
expect_eq "no Pod was created twice, and none that was not asked for" "$((JOBS * (WORKERS + 1))) 0" \
	"$(created) $(cluster created | grep "^201 $NS/" | sort | uniq -d | wc -l)"
k get pods -l lockstep.dev/role=worker -o 'jsonpath={range .items[*]}{.spec.nodeName} {.metadata.labels.lockstep\.dev/job}{"\n"}{end}' >placed
expect_eq "no node has more than it can hold" 0 "$(cut -d' ' -f1 placed | sort | uniq -c | awk '$1 > 8' | wc -l)"
expect_eq "each job is on one node" "$JOBS" "$(sort -u placed | wc -l)"
peak=$(memory)
echo "$JOBS jobs x $WORKERS workers: $took ms until all Pods were created; operator: ${rest% *} KB of its own at rest, ${peak% *} KB with them (with shared libraries ${rest#* } and ${peak#* } KB), CPU $(ps -o cputime= -p $operator)"
if [[ $B != */address ]]; then
	expect_eq "the operator has at most 10 MB at rest" 1 "$((${rest#* } <= 10240))"
	expect_eq "and at most 16 MB with them" 1 "$((${peak% *} <= 16384))"
fi
cluster kubectl -n "$NS" delete trainingjobs --all --wait=false >/dev/null
left() { k get pods,trainingjobs -o name 2>/dev/null | wc -l; }
wait_until 300 eval 'sleep 1; [ "$(left)" = 0 ]'
expect_eq "deleted: no Pod and no job is left" 0 "$(left)"
kill -TERM $operator
wait $operator
expect_eq "SIGTERM ends the operator well" 0 $?
no_leftovers "nothing stays outside"
