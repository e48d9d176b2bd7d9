#!/bin/bash
# kube.sh -- from TrainingJobs to Pods: `lockstep operator` against mpi-operator and Kubeflow Trainer with JobSet, on one real API server with
# simulated nodes (kwok: Pods that do nothing), in one run, in turn. Root; builds what it compares with (tests/setup-kube*.sh: minutes, once).
#
#   bench/kube.sh [-j JOBS] [-p PODS] [-r REPEATS] [-o FOLDER] [CONTESTANT...]
#
# A contestant is PEER@QPS/BURST: lockstep, mpi or trainer with those limits of its client, or PEER alone: with its own default. Trainer has no option for
# its limit (client-go's 20/30), JobSet has 500/500; the Pods of both are created by Kubernetes' Job controller, here with 500/1000. The default
# list has them all. Simulated nodes say nothing about training: this measures controllers.
set -euo pipefail
cd "$(dirname "$0")/.."
B=${B:-build} jobs=200 pods=8 repeats=5 out=$PWD/$B/bench/kube
while getopts j:p:r:o: option; do
	case $option in
	j) jobs=$OPTARG ;;
	p) pods=$OPTARG ;;
	r) repeats=$OPTARG ;;
	o) out=$OPTARG ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || set -- lockstep@100/200 mpi@100/200 lockstep@500/1000 trainer

PATH=$(tests/setup-kube.sh):$PATH
peers=$(tests/setup-kube-peers.sh)
dir=$(mktemp -d /tmp/lockstep-bench-kube.XXXXXX)
cluster() { tests/kube/cluster "$1" "$dir" "${@:2}"; }
trap 'cluster down; rm -rf "$dir"' EXIT
mkdir -p "$out"
cluster up 0
cluster kwok $(((jobs * (pods + 1) + 7) / 8 + 10))
kubeconfig=$(cluster kubeconfig)
kube() { cluster kubectl "$@"; }

# --- what the peers need beside their processes ----------------------------------------------------------------------------

# Their webhooks are called at this host instead of in Pods; Trainer's only validate, and are left out, to its advantage.
hooks() { # < manifests as JSON, one after the other
	python3 -c '
import base64, json, sys
ca = base64.b64encode(open(sys.argv[1], "rb").read()).decode()
text, items = sys.stdin.read().strip(), []
while text:
    d, n = json.JSONDecoder().raw_decode(text)
    items += d["items"] if d["kind"] == "List" else [d]
    text = text[n:].strip()
items = [d for d in items if d["kind"] != "Deployment"]
for d in items:
    if "WebhookConfiguration" not in d["kind"]:
        continue
    for w in d["webhooks"]:
        if "trainer" in d["metadata"]["name"]:
            w["rules"] = [{"apiGroups": ["none.example"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["nones"]}]
        else:
            w["clientConfig"] = {"url": "https://127.0.0.1:9443" + w["clientConfig"]["service"]["path"], "caBundle": ca}
json.dump({"apiVersion": "v1", "kind": "List", "items": items}, sys.stdout)' "$dir/hooks/tls.crt"
}

setup_mpi() {
	kube apply --server-side -f "$peers/manifests/mpi-operator/base/kubeflow.org_mpijobs.yaml"
	kube create namespace mpi-operator
}

setup_trainer() {
	local f
	mkdir -p "$dir/hooks"
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$dir/hooks/tls.key" -out "$dir/hooks/tls.crt" -days 30 \
		-subj /CN=hooks -addext subjectAltName=IP:127.0.0.1 2>/dev/null
	cp -r "$peers/manifests" "$dir/manifests"
	sed -i '/third-party/d' "$dir/manifests/trainer/overlays/manager/kustomization.yaml"
	for f in jobset/default trainer/overlays/manager; do
		kubectl kustomize "$dir/manifests/$f" 2>/dev/null >"$dir/peer.yaml"
		kube create --dry-run=client --validate=false -o json -f "$dir/peer.yaml" | hooks >"$dir/peer.json"
		kube apply --server-side --force-conflicts -f "$dir/peer.json"
	done
	cat >"$dir/jobset.yaml" <<-END
		apiVersion: config.jobset.x-k8s.io/v1alpha1
		kind: Configuration
		leaderElection: {leaderElect: false}
		internalCertManagement: {enable: false}
		webhook: {port: 9443, certDir: $dir/hooks}
		metrics: {bindAddress: "127.0.0.1:8443"}
		health: {healthProbeBindAddress: "127.0.0.1:8081"}
	END
	kube apply -f - <<-END
		apiVersion: trainer.kubeflow.org/v1alpha1
		kind: ClusterTrainingRuntime
		metadata: {name: plain, labels: {trainer.kubeflow.org/framework: torch}}
		spec:
		  mlPolicy: {numNodes: 1, torch: {numProcPerNode: 1}}
		  template:
		    spec:
		      replicatedJobs:
		      - name: node
		        template:
		          metadata: {labels: {trainer.kubeflow.org/trainjob-ancestor-step: trainer}}
		          spec: {template: {spec: {tolerations: [{key: kwok.x-k8s.io/node, operator: Exists}], containers: [{name: node, image: none, command: ["true"]}]}}}
	END
	# It makes its own certificate, and reads it where a Pod would have the Secret mounted.
	cluster exec timeout 60 "$peers/bin/trainer-controller-manager" --kubeconfig "$kubeconfig" --webhook-server-port 9444 >"$out/trainer-first.log" 2>&1 &
	until kube -n kubeflow-system get secret kubeflow-trainer-webhook-cert -o json | grep -q tls.crt; do sleep 0.5; done
	sleep 1
	mkdir -p /tmp/k8s-webhook-server/serving-certs
	for f in ca.crt tls.crt tls.key; do
		kube -n kubeflow-system get secret kubeflow-trainer-webhook-cert -o "jsonpath={.data.${f/./\\.}}" | base64 -d >"/tmp/k8s-webhook-server/serving-certs/$f"
	done
	kill %1 2>/dev/null
	wait || true
}

# --- the jobs: 8 GPUs of simulated nodes each -----------------------------------------------------------------------------------

tolerate='"tolerations":[{"key":"kwok.x-k8s.io/node","operator":"Exists"}]'
gpu='"resources":{"limits":{"nvidia.com/gpu":"1"}}'
cat >"$dir/lockstep.json" <<END
{"apiVersion":"lockstep.dev/v1alpha1","kind":"TrainingJob","metadata":{"name":"@NAME@","namespace":"bench"},"spec":{"workers":{"replicas":$pods,"template":{"spec":{
$tolerate,"containers":[{"name":"w","image":"none","command":["true"],$gpu}]}}}}}
END
cat >"$dir/mpi.json" <<END
{"apiVersion":"kubeflow.org/v2beta1","kind":"MPIJob","metadata":{"name":"@NAME@","namespace":"bench"},"spec":{"mpiReplicaSpecs":{
"Launcher":{"replicas":1,"template":{"spec":{$tolerate,"containers":[{"name":"l","image":"none","command":["true"]}]}}},
"Worker":{"replicas":$pods,"template":{"spec":{$tolerate,"containers":[{"name":"w","image":"none",$gpu}]}}}}}}
END
cat >"$dir/trainer.json" <<END
{"apiVersion":"trainer.kubeflow.org/v1alpha1","kind":"TrainJob","metadata":{"name":"@NAME@","namespace":"bench"},"spec":{"runtimeRef":{"name":"plain"},
"trainer":{"numNodes":$pods,"image":"none","command":["true"],"resourcesPerNode":{"limits":{"nvidia.com/gpu":"1"}}}}}
END

contestant() { # PEER[@QPS/BURST]
	local peer=${1%%@*} limits=${1#*@} flags=
	[ "$limits" = "$1" ] || flags="-kube-api-qps ${limits%/*} -kube-api-burst ${limits#*/}"
	case $peer in
	lockstep) echo "$1=$dir/lockstep.json=/apis/lockstep.dev/v1alpha1/namespaces/bench/trainingjobs=$PWD/$B/lockstep operator --kubeconfig $kubeconfig --image none --leader-elect false --metrics-address 127.0.0.1:0 ${flags//-kube/--kube}" ;;
	mpi) echo "$1=$dir/mpi.json=/apis/kubeflow.org/v2beta1/namespaces/bench/mpijobs=$peers/bin/mpi-operator -kubeConfig $kubeconfig -lock-namespace mpi-operator $flags" ;;
	trainer) echo "$1=$dir/trainer.json=/apis/trainer.kubeflow.org/v1alpha1/namespaces/bench/trainjobs=$peers/bin/trainer-controller-manager --kubeconfig $kubeconfig --webhook-server-port 9444 --health-probe-bind-address 127.0.0.1:8082=$peers/bin/jobset --kubeconfig $kubeconfig --config $dir/jobset.yaml" ;;
	*) echo "bench/kube.sh: no contestant '$peer'; there are: lockstep mpi trainer" >&2; exit 2 ;;
	esac
}

kube apply --server-side -f deploy/crd.yaml >"$out/setup.log"
args=()
for c in "$@"; do args+=("$(contestant "$c")"); done
[[ " $* " != *" mpi"* ]] || setup_mpi >>"$out/setup.log"
[[ " $* " != *" trainer"* ]] || setup_trainer >>"$out/setup.log"
token=$(sed -n 's/.*token: \([0-9a-f]*\).*/\1/p' "$kubeconfig")
cluster exec python3 "$PWD/bench/kube_rate.py" --server https://198.18.0.1 --ca "$(dirname "$kubeconfig")/pki/ca.crt" --token "$token" \
	--jobs "$jobs" --pods "$pods" --repeat "$repeats" --out "$out" "${args[@]}" | tee "$out/result.txt"
