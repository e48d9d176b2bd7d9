#!/bin/bash
# setup-s3.sh -- two real object stores to test against, versitygw and MinIO, in build/s3/bin (7 minutes on two cores, once).
# Prints that folder; quick when they are there. tests/s3server starts them.
#
# MinIO's releases are no Go versions, hence the pseudo-version; it is the newest, and the last.
. "$(dirname "$0")/setup-go.sh"

GO_MINOR=25 # what versitygw's go.mod asks for: 1.25
VERSITYGW=github.com/versity/versitygw/cmd/versitygw@v1.8.0
MINIO=github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c

build() { # GO: one after the other, since each fills both cores, and wants 1.5 GB of memory
	local module
	for module in "$VERSITYGW" "$MINIO"; do
		echo "== $module, $("$1" version)"
		go_twice "$1" install -p 2 -trimpath -ldflags="-s -w" "$module" || return
	done
}

go_built "$ROOT/build/s3" "$VERSITYGW $MINIO" "$GO_MINOR" "versitygw and MinIO: about 7 minutes" build
echo "$ROOT/build/s3/bin"
