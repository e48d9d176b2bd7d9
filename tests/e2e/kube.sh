#!/bin/bash
# limit: 1500
# TrainingJobs on three real nodes: from `kubectl apply` to Succeeded; a Pod, the launcher and a node lost; suspended; out of memory; strangers;
# PyTorch; and the commands. What a job learns is, bit for bit, what it learns on hosts.
. "$(dirname "$0")/../lib.sh"
need_root "Kubernetes" || exit 0
. "$ROOT/tests/kube/lib.sh"

cluster_up 3
reference 400
install_operator

# --- a job, from apply to the end ------------------------------------------------------------------------------------

expect_match "kubectl explain teaches" "backoffLimit" "$(cluster kubectl explain trainingjob.spec.runPolicy 2>&1)"
apply whole 400 20
running_at whole 50
freeze whole
expect_eq "each worker has a node of its own" 2 "$(k get pods -l lockstep.dev/job=whole,lockstep.dev/role=worker -o 'jsonpath={range .items[*]}{.spec.nodeName}{"\n"}{end}' | sort -u | wc -l)"
expect_eq "the launcher has no token of the API" false "$(k get pod "$(launcher whole)" -o 'jsonpath={.spec.automountServiceAccountToken}')"
expect_match "what belongs to it is owned by it" "^networkpolicy secret service $" "$(k get secrets,services,networkpolicies -o json | python3 -c '
import json, sys
for o in json.load(sys.stdin)["items"]:
    if any(r["kind"] == "TrainingJob" and r["name"] == "whole" and r.get("controller") for r in o["metadata"].get("ownerReferences", [])):
        print(o["kind"].lower())' | sort | tr '\n' ' ')"
expect_match "kubectl get shows it" "^NAME +STATE +STEP +LOSS +WORKERS +ATTEMPT +AGE whole +Running +[0-9]+ +[0-9.]+ +2/2 +0 " "$(k get tj whole | tr '\n' ' ')"
thaw whole
succeeded "an undisturbed job" whole
expect_match "kubectl get shows its end" "whole +Succeeded +400 +[0-9.]+ +[0-9]/2 +0 " "$(k get trainingjobs | tr '\n' ' ')"
expect_eq "by itself the workers' Pods go, the launcher's stays" whole-launcher "$(wait_until 60 eval '[ "$(pods_of whole)" = whole-launcher ]'; pods_of whole)"
expect_match "kubectl logs shows what it printed" "held-out accuracy 9[0-9]" "$(k logs whole-launcher)"
expect_no_match "and Open MPI has nothing to complain of" "errno|WARNING" "$(k logs whole-launcher)"
story() { k get events --field-selector involvedObject.kind=TrainingJob,involvedObject.name=whole -o 'jsonpath={range .items[*]}{.reason}{"\n"}{end}' | sort | tr '\n' ' '; }
wait_until 20 eval '[[ "$(story)" == *Succeeded* ]]'
expect_match "events tell its story" "Placed .*Started .*Succeeded " "$(story)"
expect_match "in ten lines" "^([0-9]|10)$" "$(k get events --field-selector involvedObject.kind=TrainingJob,involvedObject.name=whole --no-headers | wc -l)"
k delete trainingjob whole --timeout=90s >/dev/null
expect_eq "kubectl delete leaves nothing" "" "$(wait_until 60 eval '[ -z "$(k get pods,services,networkpolicies -o name | grep whole)" ]'; k get pods,services,networkpolicies -o name | grep whole)"

# --- what is lost ----------------------------------------------------------------------------------------------------

apply worker 400 20
if running_at worker 120; then
	freeze worker
	k delete pod "$(worker worker 1)" --grace-period=0 --force >/dev/null 2>&1
	wait_until 90 eval '[ "$(field worker .status.attempt)" -ge 1 ]' || fail "a worker's Pod deleted: another attempt" "$(tell worker 2>&1)"
	succeeded "a worker's Pod deleted" worker
	expect_match "a worker's Pod deleted: the status names it" "worker-1 PodDeleted" "$(field worker '.status.failures[0].worker') $(field worker '.status.failures[0].reason')"
	expect_eq "a worker's Pod deleted: it has another name now" 1 "$(cluster created | grep -c "^201 $NS/worker-worker-1-")"
	expect_eq "a worker's Pod deleted: the other stayed" 1 "$(cluster created | grep -c "^201 $NS/worker-worker-0")"
	expect_match "a worker's Pod deleted: it resumed from a checkpoint" "resumed from step [1-9]" "$(k logs "$(launcher worker)")"
fi

apply launcher 400 20
if running_at launcher 120; then
	freeze launcher
	k delete pod "$(launcher launcher)" --grace-period=0 --force >/dev/null 2>&1
	succeeded "the launcher's Pod deleted" launcher
	expect_eq "the launcher's Pod deleted: the workers' stayed" 2 "$(cluster created | grep -c "^201 $NS/launcher-worker-")"
	expect_eq "the launcher's Pod deleted: there were two" 2 "$(cluster created | grep -c "^201 $NS/launcher-launcher")"
	expect_match "the launcher's Pod deleted: it resumed from a checkpoint" "resumed from step [1-9]" "$(k logs "$(launcher launcher)")"
fi

apply paused 400 20
if running_at paused 120; then
	freeze paused
	k patch trainingjob paused --type=merge -p '{"spec": {"runPolicy": {"suspend": true}}}' >/dev/null
	thaw paused
	wait_until 120 is paused Suspended || fail "suspended" "$(tell paused 2>&1)"
	wait_until 60 eval '[ -z "$(pods_of paused)" ]'
	expect_eq "suspended: its Pods are gone" "" "$(pods_of paused)"
	expect_match "suspended: what it did is saved" "^[1-9][0-9]+$" "$(field paused .status.lastCheckpoint.step)"
	k patch trainingjob paused --type=merge -p '{"spec": {"runPolicy": {"suspend": false}}}' >/dev/null
	succeeded "suspended and resumed" paused
	expect_match "suspended and resumed: from its checkpoint" "resumed from step [1-9]" "$(k logs "$(launcher paused)")"
fi

apply node 400 20
if running_at node 120; then
	freeze node
	dead=$(node_of "$(worker node 1)")
	begun=$SECONDS
	cluster node-kill "$dead"
	wait_until 180 eval '[ -n "$(worker node 1)" ] && [ "$(node_of "$(worker node 1)")" != "$dead" ]' || fail "a node dies: its worker is replaced" "$(tell node 2>&1)"
	echo "a node died; its worker ran on another one after $((SECONDS - begun)) s"
	wait_until 90 eval 'k get trainingjob node -o json | grep -q "\"reason\": \"NodeLost\""' || fail "a node dies: the status says so" "$(tell node 2>&1)"
	succeeded "a node dies" node
	expect_match "a node dies: its old Pod blocks nobody" "^[0-9]+$" "$(field node .status.attempt)"
	cluster node-start "$dead"
fi

# --- failures of the program ------------------------------------------------------------------------------------------

# The kernel kills what allocates without end.
digits oom 400 20 2 "  runPolicy: {backoffLimit: 0}" | sed -E 's#command: .*#command: [sh, -c, "[ $RANK != 1 ] || exec tail /dev/zero; sleep 300"]#; s#args: .*##; s#(requests: \{cpu: )[0-9]+m(, memory: 64Mi\})#\110m\2, limits: {memory: 192Mi}#' >oom.yaml
k apply -f oom.yaml >/dev/null
digits wrong 400 20 2 | sed -E 's#cpu: [0-9]+m#cpu: 10m#; s#command: .*#command: [sh, -c, "echo cannot open the data >\&2; exit 3"]#; s#args: .*##' | k apply -f - >/dev/null
k wait --for=condition=Failed trainingjob/oom --timeout=120s >/dev/null || fail "out of memory: it fails" "$(tell oom 2>&1)"
expect_match "out of memory: the status says so" "OOMKilled|OutOfMemory" "$(field oom '.status.failures[*].reason')"
k wait --for=condition=Failed trainingjob/wrong --timeout=120s >/dev/null || fail "exit code 3: it fails" "$(tell wrong 2>&1)"
expect_match "a program's own failure: code and last words are in the status" "^3 .*cannot open the data" "$(field wrong '.status.failures[0].exitCode') $(field wrong '.status.failures[0].logTail')"
expect_eq "a program's own failure: it was not started again" 0 "$(field wrong .status.attempt)"

# --- strangers --------------------------------------------------------------------------------------------------------

apply door 100000 20
if running_at door 20; then
	address=$(k get pod "$(worker door 0)" -o 'jsonpath={.status.podIP}')
	uid=$(field door .metadata.uid)
	stranger() { cluster exec timeout 30 "$@" </dev/null 2>&1; }
	for port in "$address:7702" "$(k get pod "$(launcher door)" -o 'jsonpath={.status.podIP}'):7701"; do
		expect_match "$port: who has no secret is refused" "alert|error|unexpected eof" "$(stranger openssl s_client -tls1_3 -connect "$port")"
		expect_match "$port: who has another secret is refused" "alert|error|unexpected eof" \
			"$(stranger openssl s_client -tls1_3 -connect "$port" -psk_identity "$uid" -psk "$(printf '%064d' 7)")"
		expect_no_match "$port: plain text gets no answer" "[a-z]{4}" "$(cluster exec bash -c "exec 3<>/dev/tcp/${port/://}; printf 'lockstep probe\n' >&3; timeout 5 cat <&3" 2>/dev/null | tr -d '\0')"
	done
	expect_eq "the job did not notice" Running "$(field door .status.state)"
fi
k delete trainingjob door oom wrong --timeout=120s >/dev/null || fail "they are deleted"

# --- the commands -----------------------------------------------------------------------------------------------------

digits told 400 5 >told.yaml
kl submit -f told.yaml -n "$NS" --follow >told.out 2>&1
expect_eq "lockstep submit --follow ends as the job does" 0 $?
expect_match "it shows what a local run shows" "held-out accuracy 9[0-9]" "$(cat told.out)"
expect_match "lockstep get" "told +Succeeded +400/400 " "$(kl get -n "$NS")"
expect_match "lockstep describe" "State +Succeeded.*step 400 of 400.*Placed.*Started" "$(kl describe told -n "$NS" | tr '\n' ' ')"
expect_match "lockstep logs" "held-out accuracy" "$(kl logs told -n "$NS")"
kl wait told --for=Succeeded --timeout 30s -n "$NS" >/dev/null 2>&1
expect_eq "lockstep wait" 0 $?
digits told 400 20 2 | sed 's#command: .*#command: [sh, -c, "exit 7"]#; s#args: .*##; s#name: told#name: fails#' >fails.yaml
kl submit -f fails.yaml -n "$NS" --follow >fails.out 2>&1
expect_eq "lockstep submit --follow of a job that fails ends with its code" 7 $?
kl delete told fails -n "$NS" >/dev/null 2>&1
expect_eq "lockstep delete" "" "$(wait_until 60 eval '[ -z "$(k get tj --no-headers 2>/dev/null | grep -E "told|fails")" ]'; k get tj --no-headers 2>/dev/null | grep -E "told|fails")"

expect_match "lockstep get nodes: the nodes' agents have published them" "node0 .*node1 .*node2 " "$(kl get nodes | tr '\n' ' ')"

# --- PyTorch: the example's manifest, with two workers; their image is this machine's files -----------------------------------------------------

cluster kubectl create namespace pytorch >/dev/null
NS=pytorch
sed -E 's/replicas: 1/replicas: 2/; s/ranksPerWorker: 2/ranksPerWorker: 1/; /image:/d' "$ROOT/examples/pytorch/ddp.yaml" >ddp.yaml
k create --dry-run=client -o json -f ddp.yaml | python3 -c '
import json, sys
job, root, cpu = json.load(sys.stdin), *sys.argv[1:]
places = {"usr": ("/usr", "/usr"), "alternatives": ("/etc/alternatives", "/etc/alternatives"), "repository": (root, "/repository")}
pod = job["spec"]["workers"]["template"]["spec"]
pod["containers"][0].update(image="lockstep.test/host:1", workingDir="/repository", resources={"requests": {"cpu": cpu}},
    volumeMounts=[{"name": name, "mountPath": there, "readOnly": True} for name, (here, there) in places.items()])
pod["volumes"] = [{"name": name, "hostPath": {"path": here}} for name, (here, there) in places.items()]
json.dump(job, sys.stdout)' "$ROOT" "$cpu" | k apply -f - >/dev/null
if k wait --for=condition=Succeeded trainingjob/ddp --timeout=300s >wait.out 2>&1; then ok "PyTorch on two nodes"; else fail "PyTorch on two nodes" "$(tell ddp 2>&1)"; fi
(cd "$ROOT" && timeout 300 "$B/lockstep" run -f examples/pytorch/ddp.yaml --dir "$TMP/ddp" \
	--set spec.workers.template.spec.containers.0.command='["/usr/bin/python3", "examples/pytorch/ddp.py"]' "${NOLEAKS[@]}") >ddp.out 2>&1
expect_eq "PyTorch: the same result as on this machine" "$(grep -o 'epoch 15 .*' ddp.out)" "$(k logs "$(launcher ddp)" | grep -o 'epoch 15 .*')"
all_down
no_leftovers "nothing stays"
