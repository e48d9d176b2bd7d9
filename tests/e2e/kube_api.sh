#!/bin/bash
# limit: 240
# The TrainingJob as a real API server sees it: what it takes, what it refuses and in which words, defaults, explain, apply, columns. No node, no operator.
. "$(dirname "$0")/../lib.sh"
need_root "Kubernetes" || exit 0

cluster up 0 || { fail "an API server is up"; exit 1; }
k() { cluster kubectl "$@" 2>&1; }
crd=$(k apply --server-side -f "$ROOT/deploy/crd.yaml")
expect_match "the API server takes the CRD: its rules are cheap enough" "serverside-applied" "$crd"
k wait --for=condition=Established crd/trainingjobs.lockstep.dev --timeout=10s >/dev/null

# --- what is taken -----------------------------------------------------------------------------------------------------

for f in examples/digits/digits.yaml examples/pytorch/ddp.yaml tests/data/manifests/minimal.yaml tests/data/manifests/json.json; do
	expect_match "$f is taken as it is" "created \(server dry run\)" "$(k apply --dry-run=server --validate=strict -f "$ROOT/$f")"
done
sed 's/^  runPolicy:$/&\n    suspend: true/' "$ROOT/examples/digits/digits.yaml" >base.yaml
k apply --server-side -f base.yaml >/dev/null
get() { k get trainingjob digits -o "jsonpath={$1}"; }
version=$(get .metadata.resourceVersion)
k apply --server-side -f base.yaml >/dev/null
expect_eq "to apply once more changes nothing" "$version" "$(get .metadata.resourceVersion)"
cat >part.yaml <<'END'
apiVersion: lockstep.dev/v1alpha1
kind: TrainingJob
metadata: {name: digits}
spec: {workers: {template: {spec: {containers: [{name: train, imagePullPolicy: Never}]}}}}
END
expect_eq "another's apply adds to a container, by its name" "Never build/examples/digits" "$(k apply --server-side --field-manager=other --dry-run=server -f part.yaml \
	-o 'jsonpath={.spec.workers.template.spec.containers[0].imagePullPolicy} {.spec.workers.template.spec.containers[0].command[0]}')"
expect_eq "defaults are filled in" "10 Replace false" "$(get .spec.workers.template.spec.terminationGracePeriodSeconds) $(get .spec.checkpoint.whenBusy) $(
	k create --dry-run=server -o 'jsonpath={.spec.runPolicy.suspend}' -f "$ROOT/examples/pytorch/ddp.yaml")"
expect_eq "but not one that would be a wish" "" "$(get .spec.runPolicy.hangTimeoutSeconds)"
expect_match "explain teaches" "past the last one's step is[[:space:]]+not counted" "$(k explain trainingjob.spec.runPolicy.backoffLimit)"
expect_match "explain tells Kubernetes' own fields" "As in kubectl explain pod.spec.affinity" "$(k explain trainingjob.spec.workers.template.spec)"
expect_match "it is of the category all, and has a short name" "trainingjob.lockstep.dev/digits.*trainingjob.lockstep.dev/digits" "$(k get all -o name | tr '\n' ' ')$(k get tj -o name)"

# --- what is refused ---------------------------------------------------------------------------------------------------

C='"workers":{"template":{"spec":{"containers":[{"name":"a","command":["./a"]'
rows=(
	'a whole job with all there is|{"workers":{"replicas":4,"minReplicas":2,"ranksPerWorker":8},"placement":{"within":"rack","topologyKeys":["a","b"]},"checkpoint":{"uri":"s3://bucket/x","memory":{"everySteps":10,"copies":1}}}|patched'
	'ranks as a word|{"workers":{"ranksPerWorker":"auto"}}|patched'
	'a hundred thousand workers|{"workers":{"replicas":100000}}|spec.workers.replicas: Invalid value: 100000: .*less than or equal to 10000'
	'no worker|{"workers":{"replicas":0}}|spec.workers.replicas: .*greater than or equal to 1'
	'workers in quotes|{"workers":{"replicas":"4"}}|spec.workers.replicas: Invalid value: "string": .*must be of type integer'
	'more at least than at most|{"workers":{"minReplicas":2}}|spec.workers.minReplicas: .*is more than replicas; lower it or raise replicas'
	'another word for ranks|{"workers":{"ranksPerWorker":"all"}}|spec.workers.ranksPerWorker: .*write auto, or a number from 1 to 4096'
	'no ranks|{"workers":{"ranksPerWorker":0}}|spec.workers.ranksPerWorker: .*write auto, or a number from 1 to 4096'
	'no containers|{"workers":{"template":{"spec":{"containers":[]}}}}|spec.workers.template.spec.containers: .*should have at least 1'
	'a container without a command|{"workers":{"template":{"spec":{"containers":[{"name":"a","image":"x"}]}}}}|the first container needs a command'
	'a command in one word|{"workers":{"template":{"spec":{"containers":[{"name":"a","command":"./a"}]}}}}|containers\[0\].command: .*must be of type array'
	'a second container needs none|{'"$C"'},{"name":"b","image":"x"}]}}}}|patched'
	'two containers of one name|{'"$C"'},{"name":"a"}]}}}}|containers\[1\]: Duplicate value'
	'half a GPU|{'"$C"',"resources":{"limits":{"nvidia.com/gpu":"500m"}}}]}}}}|nvidia.com/gpu must be a whole number from 0 to 1024'
	'eight GPUs|{'"$C"',"resources":{"limits":{"nvidia.com/gpu":8,"memory":"64Gi"},"requests":{"cpu":"1500m"}}}]}}}}|patched'
	'memory that is no quantity|{'"$C"',"resources":{"limits":{"memory":"64Gx"}}}]}}}}|limits.memory: .*should match'
	'a variable named a=b|{'"$C"',"env":[{"name":"a=b"}]}]}}}}|env\[0\].name: .*should match'
	'restarts by the kubelet|{"workers":{"template":{"spec":{"restartPolicy":"Always"}}}}|restartPolicy: .*must be Never, or not there'
	'no restarts by the kubelet|{"workers":{"template":{"spec":{"restartPolicy":"Never"}}}}|patched'
	'the network of the host|{"workers":{"template":{"spec":{"hostNetwork":true}}}}|hostNetwork: .*must be false'
	'no binding of that name|{"placement":{"bind":"gpus"}}|spec.placement.bind: Unsupported value: "gpus": supported values: "auto", "gpu"'
	'another scheme|{"checkpoint":{"uri":"http://x/y"}}|spec.checkpoint.uri: .*write file:///absolute/path or s3://bucket/prefix'
	'steps and seconds|{"checkpoint":{"every":{"seconds":1}}}|spec.checkpoint.every: .*write either steps or seconds'
	'neither of them|{"checkpoint":{"every":{"steps":null}}}|spec.checkpoint.every: .*write either steps or seconds'
	'keep none|{"checkpoint":{"keep":0}}|spec.checkpoint.keep: .*greater than or equal to 1'
	'a Secret without name|{"checkpoint":{"credentialsSecretRef":{}}}|credentialsSecretRef.name: Required value'
	'success is not retried|{"runPolicy":{"retryableExitCodes":[0]}}|retryableExitCodes\[0\]: .*greater than or equal to 1'
	'a misspelt policy|{"runPolicy":{"cleanPodPolicy":"none"}}|cleanPodPolicy: Unsupported value: "none"'
	'a gang larger than the job|{"runPolicy":{"schedulingPolicy":{"minAvailable":2}}}|minAvailable is more than workers.replicas'
	'another controller later|{"managedBy":"example.com/other"}|spec.managedBy: .*cannot be changed'
	'other work while it is suspended|{"workers":{"replicas":3,"template":{"spec":{"nodeSelector":{"a":"b"}}}},"checkpoint":{"uri":"s3://bucket/y"}}|patched'
)
for row in "${rows[@]}"; do
	IFS='|' read -r says patch want <<<"$row"
	expect_match "$says" "$want" "$(k patch trainingjob digits --type=merge --dry-run=server -p "{\"spec\":$patch}" | tr '\n' ' ')"
done

# --- while it runs -----------------------------------------------------------------------------------------------------

k patch trainingjob digits --type=merge -p '{"spec":{"runPolicy":{"suspend":false}}}' >/dev/null
for row in 'workers.replicas|{"workers":{"replicas":3}}' 'workers.template|{"workers":{"template":{"spec":{"nodeSelector":{"a":"b"}}}}}' \
	'checkpoint|{"checkpoint":{"uri":"s3://bucket/y"}}' 'workers.replicas|{"workers":{"replicas":3},"runPolicy":{"suspend":true}}'; do
	IFS='|' read -r field patch <<<"$row"
	expect_match "spec.$field stays while the job runs: $patch" "spec.$field: .*set runPolicy.suspend to true first" \
		"$(k patch trainingjob digits --type=merge --dry-run=server -p "{\"spec\":$patch}")"
done
expect_match "a limit may change" "patched" "$(k patch trainingjob digits --type=merge --dry-run=server -p '{"spec":{"runPolicy":{"backoffLimit":9}}}')"

# --- misspelt, hostile -------------------------------------------------------------------------------------------------

create() { k create --dry-run=server --validate=strict -f - | tr '\n' ' ' | tail -c 600; }
job() { # NAME [MORE OF THE POD'S SPEC]
	printf '{"apiVersion":"lockstep.dev/v1alpha1","kind":"TrainingJob","metadata":{"name":"%s"},"spec":{"workers":{"template":{"spec":{"containers":[{"command":["./a"]}]%s}}}}}' "$1" "${2-}"
}
for path in replica:spec.workers.replica continers:spec.workers.template.spec.continers imagee:spec.workers.template.spec.containers\\[0\\].imagee runpolicy:spec.runpolicy; do
	said=$(job typo | case ${path%%:*} in
		replica) sed 's/"template"/"replica":2,"template"/' ;;
		continers) sed 's/"containers"/"continers":[],"containers"/' ;;
		imagee) sed 's/"command"/"imagee":"x","command"/' ;;
		runpolicy) sed 's/"workers"/"runpolicy":{},"workers"/' ;;
		esac | create)
	expect_match "misspelt: ${path%%:*}" "unknown field \"${path#*:}\"" "$said"
done
letters() { printf "%0$1d" 0 | tr 0 a; }
expect_match "a name of 44" "created" "$(job "$(letters 44)" | create)"
expect_match "a name of 45" "at most 44 of a-z, 0-9 and '-'" "$(job "$(letters 45)" | create)"
expect_match "a name that begins with a digit" "begin with a letter" "$(job 1a | create)"
expect_match "a name with a dot" "begin with a letter" "$(job a.b | create)"
expect_match "a container gets a name" '"name":"worker"' "$(job named | k create --dry-run=server -o json -f - | tr -d ' \n')"
expect_match "10 MB" "too large|limit is 3145728" "$(job big ",\"affinity\":{\"x\":\"$(head -c 10000000 /dev/zero | tr '\0' x)\"}" | create)"
expect_match "20,000 levels" "depth|nest" "$(job deep ",\"affinity\":$(printf '{"a":%.0s' {1..20000})1$(printf '}%.0s' {1..20000})" | create)"

# --- the status --------------------------------------------------------------------------------------------------------

cat >status.json <<'END'
{"status":{"conditions":[{"type":"Running","status":"True","reason":"AllRanks","message":"4 ranks","lastTransitionTime":"2026-01-02T03:04:05Z","observedGeneration":2}],
 "state":"Running","workers":"2/2","replicaStatuses":{"Worker":{"active":2,"succeeded":0,"failed":1}},"attempt":1,"worldSize":{"requested":4,"actual":4},
 "progress":{"step":1200,"totalSteps":5000,"loss":"0.41","samplesPerSecond":"5210","etaSeconds":93},
 "lastCheckpoint":{"step":1200,"uri":"s3://bucket/x","time":"2026-01-02T03:04:05Z"},
 "failures":[{"attempt":0,"rank":3,"worker":"digits-worker-1","node":"n2","exitCode":137,"signal":9,"reason":"OOMKilled","message":"m","logTail":"a\nb","time":"2026-01-02T03:04:05Z"}],
 "startTime":"2026-01-02T03:04:05Z","completionTime":"2026-01-02T03:04:05Z","observedGeneration":2,"launcherLosses":1,"bestStep":1300,
 "pods":{"serial":2,"base":0,"launcher":1,"size":2,"replaced":[{"index":0,"serial":2},{"index":1}]}}}
END
k patch trainingjob digits --subresource=status --type=merge --patch-file status.json >/dev/null
same=$(k get trainingjob digits -o json | python3 -c '
import json, sys
print(json.load(sys.stdin)["status"] == json.load(open("status.json"))["status"])')
expect_eq "every field of the status is kept" True "$same"
expect_match "columns" "^NAME +STATE +STEP +LOSS +WORKERS +ATTEMPT +AGE digits +Running +1200 +0.41 +2/2 +1 +[0-9]+s" "$(k get trainingjobs | tr '\n' ' ')"
expect_match "kubectl wait" "condition met" "$(k wait --for=condition=Running trainingjob/digits --timeout=5s)"
expect_eq "the status is no way to the spec" "" "$(k patch trainingjob digits --subresource=status --type=merge -p '{"spec":{"placement":{"within":"rack"}}}' >/dev/null; get .spec.placement.within)"

# --- the manifests -----------------------------------------------------------------------------------------------------

k create namespace training >/dev/null
for f in operator namespaced agent; do
	expect_match "deploy/$f.yaml is taken" "serverside-applied" "$(k apply --server-side --validate=strict -f "$ROOT/deploy/$f.yaml" | grep -v serverside-applied || echo all serverside-applied)"
done
may() { k auth can-i "$@" --as=system:serviceaccount:lockstep-system:lockstep-operator --all-namespaces; }
for what in 'yes watch trainingjobs.lockstep.dev' 'yes patch trainingjobs.lockstep.dev/status' 'yes create pods' 'yes delete pods' 'yes watch nodes' 'yes get secrets' \
	'no list secrets' 'no update pods' 'no create pods/exec' 'no delete secrets' 'no patch nodes' 'no create trainingjobs.lockstep.dev'; do
	read -r want verb resource <<<"$what"
	expect_match "may the operator $verb $resource: $want" "$want" "$(may "$verb" "${resource%%/*}" $([[ $resource != */* ]] || echo "--subresource=${resource#*/}") | tail -1)"
done
