# lib.sh -- sourced by tests/e2e/kube*.sh after tests/lib.sh: TrainingJobs on a cluster of tests/kube/cluster.
#
#   k ARGS...             kubectl in namespace $NS; kl: `lockstep` there
#   digits NAME STEPS MS [REPLICAS [LINES]]   a manifest: 2 workers of 2 ranks, each worker on a node of its own, of which it wants $cpu, more than half; LINES are added to spec (two spaces deep)
#
# Jobs are in namespace `train`, where Pod security `restricted` is enforced.
NS=train
BINARIES=$ROOT/build/kube/bin
STORE=198.18.0.1 # the cluster's network, where Pods reach it

k() { cluster kubectl -n "$NS" "$@"; }
kl() { cluster exec env KUBECONFIG="$(cluster kubeconfig)" "$B/lockstep" "$@"; }

# --- what is installed -----------------------------------------------------------------------------------------------

cluster_up() { # NODES: with images, a namespace for jobs and one for the operator, and the object store
	PATH=$("$ROOT/tests/setup-s3.sh"):$PATH
	cluster up "$1" || { fail "a cluster of $1 nodes is up"; exit 1; }
	cpu=$(($(cluster kubectl get node node0 -o 'jsonpath={.status.allocatable.cpu}') * 600))m
	"$ROOT/tests/kube/images.sh" images >images.out && cluster image images/*.tar || { fail "images" "$(cat images.out)"; exit 1; }
	eval "$(cluster exec "$ROOT/tests/s3server" start versitygw "$TMP/s3" --address "$STORE")"
	unset http_proxy HTTP_PROXY
	cluster kubectl create namespace "$NS" >/dev/null
	cluster kubectl label namespace "$NS" pod-security.kubernetes.io/enforce=restricted >/dev/null
	k create secret generic s3 --from-literal=AWS_ENDPOINT_URL_S3="$AWS_ENDPOINT_URL_S3" --from-literal=AWS_ACCESS_KEY_ID="$AWS_ACCESS_KEY_ID" \
		--from-literal=AWS_SECRET_ACCESS_KEY="$AWS_SECRET_ACCESS_KEY" --from-literal=AWS_REGION="$AWS_REGION" >/dev/null
}

all_down() {
	cluster down
	"$ROOT/tests/s3server" stop "$TMP/s3"
}

# As a user does it.
install_operator() {
	local begun=$SECONDS
	cluster kubectl apply --server-side -k "$ROOT/deploy" >apply.out 2>&1 || { fail "deploy/ is applied" "$(cat apply.out)"; exit 1; }
	cluster kubectl -n lockstep-system wait --for=condition=Available deployment/lockstep-operator --timeout=120s >>apply.out 2>&1 || {
		fail "the operator is available" "$(cat apply.out; operator_says)"
		exit 1
	}
	echo "the operator was available after $((SECONDS - begun)) s"
}

operator_says() {
	cluster kubectl -n lockstep-system get pods -o wide
	cluster kubectl -n lockstep-system logs -l app.kubernetes.io/name=lockstep-operator --prefix --tail 40
}

# --- jobs ------------------------------------------------------------------------------------------------------------

digits() {
	cat <<-END
		apiVersion: lockstep.dev/v1alpha1
		kind: TrainingJob
		metadata: {name: $1, namespace: $NS}
		spec:
		  workers:
		    replicas: ${4:-2}
		    ranksPerWorker: 2
		    template:
		      spec:
		        securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
		        containers:
		        - name: train
		          image: lockstep.test/digits:1
		          command: [/app/digits]
		          args: [--steps, "$2", --batch, "96", --data, /app/digits.csv, --step-ms, "$3"]
		          resources: {requests: {cpu: $cpu, memory: 64Mi}}
		          securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
		  checkpoint: {uri: "s3://lockstep/$1", every: {steps: 50}, keep: 3, credentialsSecretRef: {name: s3}}
		${5-}
	END
}

apply() { # NAME ARGS OF digits...
	digits "$@" >"$1.yaml"
	k apply -f "$1.yaml" >"$1.out" 2>&1 || fail "$1 is applied" "$(cat "$1.out")"
}

field() { k get trainingjob "$1" -o "jsonpath={$2}" 2>/dev/null; } # NAME PATH
condition() { field "$1" ".status.conditions[?(@.type==\"$2\")].${3:-status}"; } # NAME TYPE [FIELD]
is() { [ "$(condition "$1" "$2")" = True ]; }
step_of() { local s; s=$(field "$1" .status.progress.step); echo "${s:-0}"; }
at_step() { [ "$(step_of "$1")" -ge "$2" ]; }
pods_of() { k get pods -l lockstep.dev/job="$1" --no-headers -o custom-columns=:.metadata.name; }
worker() { k get pods -l "lockstep.dev/job=$1,lockstep.dev/worker=$2" --field-selector=status.phase=Running --no-headers -o custom-columns=:.metadata.name | tail -1; } # NAME INDEX
launcher() { k get pods -l "lockstep.dev/job=$1,lockstep.dev/role=launcher" --no-headers --sort-by=.metadata.creationTimestamp -o custom-columns=:.metadata.name | tail -1; }
node_of() { k get pod "$1" -o 'jsonpath={.spec.nodeName}'; }

tell() { # NAME: all that helps to see why
	k get trainingjob "$1" -o json | python3 -c 'import json, sys; print(json.dumps(json.load(sys.stdin).get("status"), indent=1))'
	k get pods -o wide -l lockstep.dev/job="$1"
	k get events --sort-by=.lastTimestamp | grep -F "$1" | tail -15
	k logs "$(launcher "$1")" --tail 25
	operator_says | grep -F "$1" | tail -10
}

running_at() { # NAME STEP
	wait_until 240 at_step "$1" "$2" || { fail "$1: it got to step $2" "$(tell "$1" 2>&1)"; return 1; }
}

# A job whose ranks are stopped cannot end, however long the next commands take.
freeze() { signal_ranks "$1" STOP; } # NAME
thaw() { signal_ranks "$1" CONT; }
signal_ranks() { # NAME SIGNAL
	local pod
	for pod in $(k get pods -l "lockstep.dev/job=$1,lockstep.dev/role=worker" --field-selector=status.phase=Running --no-headers -o custom-columns=:.metadata.name); do
		k exec "$pod" -c train -- busybox killall "-$2" digits || fail "$1: its ranks get SIG$2"
	done
}

succeeded() { # SAYS NAME: and what it learnt is what it would have learnt on hosts, undisturbed
	if k wait --for=condition=Succeeded "trainingjob/$2" --timeout=240s >wait.out 2>&1; then ok "$1: it succeeds"; else
		fail "$1: it succeeds" "$(cat wait.out; tell "$2" 2>&1)"
		return 1
	fi
	cluster exec env "PATH=$PATH" "$B/lockstep" ckpt export "s3://lockstep/$2" -o "$2.safetensors" >export.out 2>&1 || fail "$1: export" "$(cat export.out)"
	if cmp -s reference.safetensors "$2.safetensors"; then ok "$1: the same state, bit for bit, as an undisturbed run on hosts"; else
		fail "$1: the same state, bit for bit, as an undisturbed run on hosts" "$(tell "$2" 2>&1)"
	fi
	expect_eq "$1: the same last loss" "$(printf %.4g "$(tail -1 reference.curve | cut -d' ' -f2)")" "$(field "$2" .status.progress.loss)"
}

# The same workers, both on this machine.
reference() { # STEPS
	(cd "$ROOT" && timeout 180 "$B/lockstep" run -f examples/digits/digits.yaml --local --dir "$TMP/reference" --set spec.workers.replicas=2 --set spec.workers.ranksPerWorker=2 "${NOLEAKS[@]}" \
		--set spec.workers.template.spec.containers.0.args="[\"--steps\", \"$1\", \"--batch\", \"96\", \"--data\", \"examples/digits/digits.csv\"]" \
		--set spec.workers.template.spec.containers.0.command="[\"$B/examples/digits\"]" --set spec.checkpoint.uri="file://$TMP/reference.store") >reference.out 2>&1 ||
		{ fail "the run on hosts" "$(cat reference.out)"; exit 1; }
	curve reference >reference.curve
	lockstep ckpt export "file://$TMP/reference.store" -o reference.safetensors >export.out 2>&1 || fail "export of the reference" "$(cat export.out)"
}

# --- the operator outside, nodes simulated ----------------------------------------------------------------------------------

simulated() { # NODES
	cluster up 0 && cluster kwok "$1" || { fail "a cluster of $1 simulated nodes is up"; exit 1; }
	cluster kubectl apply --server-side -f "$ROOT/deploy/crd.yaml" >crd.out 2>&1 &&
		cluster kubectl wait --for=condition=Established crd/trainingjobs.lockstep.dev --timeout=60s >>crd.out || { fail "the CRD is there" "$(cat crd.out)"; exit 1; }
	cluster kubectl create namespace "$NS" >/dev/null
}

# The function's caller knows it as $operator. WRAPPER, if any, is what executes it.
operate() { # KUBECONFIG [WRAPPER...]
	"$ROOT/tests/kube/cluster" exec "$TMP" "${@:2}" "$B/lockstep" operator --kubeconfig "$1" --image lockstep.test/lockstep:1 --leader-elect=false \
		--metrics-address 127.0.0.1:0 --kube-api-qps 500 --kube-api-burst 1000 2>>operator.log &
	operator=$!
}

simulated_job() { # NAME REPLICAS: its Pods run nowhere
	cat <<-END
		---
		apiVersion: lockstep.dev/v1alpha1
		kind: TrainingJob
		metadata: {name: $1, namespace: $NS}
		spec:
		  workers:
		    replicas: $2
		    ranksPerWorker: 1
		    template:
		      spec:
		        containers:
		        - {name: train, image: none, command: ["true"], resources: {limits: {cpu: "1", "nvidia.com/gpu": 1}}}
	END
}
