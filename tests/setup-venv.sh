# setup-venv.sh -- sourced by setup-*.sh: one Python environment in build/, made once.
#
# Invariant: build/venv-NAME/.stamp holds the list of packages, and is written last: without it the environment is
# rebuilt. A lock lets concurrent test runs wait for the one that builds.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# The distribution's python first: its packages are visible with --system-site-packages.
venv_python() {
	local p
	for p in /usr/bin/python3 python3; do
		"$p" -c 'import ensurepip, venv' 2>/dev/null && echo "$p" && return
	done
	echo "no python3 with venv; run: deploy/install-deps.sh test" >&2
	return 1
}

venv_make() { # NAME "OPTIONS OF VENV" PACKAGE...
	local dir=$ROOT/build/venv-$1 options=$2 log=$ROOT/build/venv-$1.log python
	shift 2
	[ "$(cat "$dir/.stamp" 2>/dev/null)" != "$*" ] || return 0
	mkdir -p "$ROOT/build"
	(
		flock 9
		[ "$(cat "$dir/.stamp" 2>/dev/null)" != "$*" ] || exit 0
		python=$(venv_python)
		rm -rf "$dir"
		# The options are words, or none.
		# shellcheck disable=SC2086
		"$python" -m venv $options "$dir" >"$log" 2>&1 9>&- &&
			"$dir/bin/pip" install --disable-pip-version-check --no-compile "$@" >>"$log" 2>&1 9>&- || {
			tail -20 "$log" >&2
			echo "could not install $* into $dir; is a package index reachable? The whole log: $log" >&2
			exit 1
		}
		echo "$*" >"$dir/.stamp"
	) 9>"$dir.lock"
}
