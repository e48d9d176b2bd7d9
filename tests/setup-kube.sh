#!/bin/bash
# setup-kube.sh -- a real Kubernetes to test against, in build/kube/bin: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubelet
# and kubectl 1.34.4 (one program of many names), CoreDNS, kwok. 13 minutes on two cores and 4 GB of disk, once; 300 MB stay.
# Prints that folder; quick when they are there. tests/kube/cluster starts them.
. "$(dirname "$0")/setup-go.sh"

GO_MINOR=24
VERSION=v1.34.4
NAMES=(etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl)

build() { # GO
	local name v=k8s.io/component-base/version flags
	go_room 4 || return
	# Without a version kubectl cannot read its own.
	flags="-X $v.gitVersion=$VERSION -X $v.gitMajor=1 -X $v.gitMinor=34 -X $v.gitTreeState=clean -X k8s.io/client-go/pkg/version.gitVersion=$VERSION"
	# With cgo, as the kubelet is released.
	CGO_ENABLED=1 go_module "$1" hyper . k8s "$flags" &&
		go_module "$1" coredns . coredns &&
		go_module "$1" kwok sigs.k8s.io/kwok/cmd/kwok kwok || return
	for name in "${NAMES[@]}"; do ln -sfn k8s "$GOBIN/$name"; done
}

go_built "$ROOT/build/kube" "$VERSION $(go_modules_sum hyper coredns kwok)" "$GO_MINOR" "Kubernetes, CoreDNS and kwok: about 13 minutes" build
echo "$ROOT/build/kube/bin"
