#!/bin/bash
# images.sh DIR -- what the e2e tests run, as OCI archives in DIR, made of this machine's files:
#
#   lockstep.tar  the runtime, by deploy/image.sh, with the name that deploy/operator.yaml has
#   digits.tar    lockstep.test/digits:1: busybox, examples/digits with its data, Open MPI's libraries, and libcurl for s3://; user 65532, no account, nothing of Lockstep
#   host.tar      lockstep.test/host:1: links for a Pod that mounts this machine's /usr and /etc/alternatives; for PyTorch, whose files are gigabytes
#
# B is the build folder.
set -euo pipefail

ROOT=$(cd "$(dirname "$0")/../.." && pwd)
B=${B:-$ROOT/build}
[[ $B == /* ]] || B=$ROOT/$B
MULTIARCH=/usr/lib/$(cc -print-multiarch)
[ $# = 1 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | sed '$d'; exit 2; }
mkdir -p "$1"
cd "$1"

busybox_in() { # ROOT COMMAND...: links
	local command
	install -D /bin/busybox "$1/bin/busybox"
	for command in "${@:2}"; do ln -s busybox "$1/bin/$command"; done
}

libraries() { # FILE...: whatever these need, one path a line
	ldd "$@" 2>/dev/null | grep -oE '/[^ :]+ \(0x' | cut -d' ' -f1 | sort -u
}

digits_root() { # ROOT: Open MPI's plugins are files that no ldd of the program knows
	local plugins=("$MULTIARCH/openmpi/lib/openmpi3" "$MULTIARCH/pmix2" /usr/share/openmpi /etc/openmpi) dir file
	busybox_in "$1" sh sleep cat ls kill mkdir dd tail env hostname sync
	install -D "$B/examples/digits" "$1/app/digits"
	cp "$ROOT/examples/digits/digits.csv" "$1/app/"
	for dir in "${plugins[@]}"; do
		[ -d "$dir" ] || continue
		mkdir -p "$1$dir"
		cp -a "$dir/." "$1$dir/"
	done
	libraries "$B/examples/digits" "$MULTIARCH"/{libcurl.so.4,openmpi/lib/openmpi3/*.so,pmix2/lib/pmix/*.so} | cat - <(echo "$MULTIARCH/libcurl.so.4") | while read -r file; do
		install -D "$file" "$1$file"
	done
	mkdir -p -m 1777 "$1/tmp"
}

host_root() { # ROOT
	local dir
	mkdir -p "$1"/usr "$1/etc/alternatives" "$1/repository"
	for dir in bin sbin lib lib64; do ln -s "usr/$dir" "$1/$dir"; done
	mkdir -p -m 1777 "$1/tmp"
}

rm -rf root
B=$B "$ROOT/deploy/image.sh" lockstep.tar "$(sed -n 's/^ *image: *//p' "$ROOT/deploy/operator.yaml")"
digits_root root/digits
host_root root/host
"$ROOT/deploy/mkimage.py" digits.tar lockstep.test/digits:1 root/digits --user 65532:65532
"$ROOT/deploy/mkimage.py" host.tar lockstep.test/host:1 root/host
rm -rf root
