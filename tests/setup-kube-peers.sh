#!/bin/bash
# setup-kube-peers.sh -- what bench/ compares the operator with, in build/kube-peers/bin: mpi-operator v0.6.0, and Kubeflow Trainer v2.0.0 with
# JobSet v0.8.2. Minutes, once. Their manifests come from the same modules, in build/kube-peers/manifests.
# Prints the folder; quick when they are there.
. "$(dirname "$0")/setup-go.sh"

GO_MINOR=24

manifests() { # GO NAME MODULE FOLDER
	local dir
	dir=$("$1" -C "$ROOT/tests/kube/go/$2" list -m -f '{{.Dir}}' "$3") && mkdir -p "manifests/$2" && cp -r "$dir/$4/." "manifests/$2/" &&
		chmod -R u+w "manifests/$2"
}

build() { # GO
	go_module "$1" mpi-operator github.com/kubeflow/mpi-operator/cmd/mpi-operator mpi-operator &&
		go_module "$1" jobset sigs.k8s.io/jobset jobset &&
		go_module "$1" trainer github.com/kubeflow/trainer/v2/cmd/trainer-controller-manager trainer-controller-manager &&
		manifests "$1" mpi-operator github.com/kubeflow/mpi-operator manifests &&
		manifests "$1" jobset sigs.k8s.io/jobset config &&
		manifests "$1" trainer github.com/kubeflow/trainer/v2 manifests
}

go_built "$ROOT/build/kube-peers" "$(go_modules_sum mpi-operator jobset trainer)" "$GO_MINOR" "mpi-operator, JobSet and Trainer: some minutes" build
echo "$ROOT/build/kube-peers"
