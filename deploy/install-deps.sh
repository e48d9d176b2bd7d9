#!/bin/bash
# install-deps.sh [-n] GROUP... -- what `make` needs from the distribution: build, test, python (PyTorch), bench, model, image, kube (a cluster on this machine).
#
# Everything there: silent, and quick enough to run before every make. Something missing: installed when root on
# Debian or Ubuntu; otherwise the one command to run is printed. -n prints that command in any case and installs
# nothing.
# Exit: 0 all there; 1 something is missing, and the command was printed; 2 the package manager failed.
#
# It looks for commands and headers, not for packages, so that what was built by hand counts. It starts no service: a
# machine that gets openssh-server for the tests does not begin to listen on port 22.
set -euo pipefail

# group kind thing package
NEEDS='
build   command cc                    gcc
build   command make                  make
build   header  stdlib.h              libc6-dev
build   command mpicc                 libopenmpi-dev
build   command mpirun                openmpi-bin
build   header  hwloc.h               libhwloc-dev
build   header  yaml.h                libyaml-dev
build   header  cjson/cJSON.h         libcjson-dev
build   header  openssl/evp.h         libssl-dev
build   header  curl/curl.h           libcurl4-openssl-dev
build   header  expat.h               libexpat1-dev
build   command ssh                   openssh-client
build   header  cblas.h               libopenblas-dev
test    header  CUnit/CUnit.h         libcunit1-dev
test    command c++                   g++
test    command /usr/sbin/sshd        openssh-server
test    command ip                    iproute2
test    command nsenter               util-linux
test    command pgrep                 procps
test    command python3               python3
test    venv    -                     python3-venv
test    command openssl               openssl
test    command bible                 bible-kjv
python  venv    -                     python3-venv
python  module  torch                 python3-torch
python  module  numpy                 python3-numpy
bench   module  torch                 python3-torch
model   command spin                  spin
kube    command containerd            containerd
kube    command /usr/sbin/runc        runc
kube    command /usr/lib/cni/bridge   containernetworking-plugins
kube    command busybox               busybox-static
kube    command curl                  curl
image   command patchelf              patchelf
image   command strip                 binutils
image   command ompi_info             openmpi-bin
image   command python3               python3
image   command /usr/sbin/update-ca-certificates ca-certificates
'

have() { # KIND THING
	case $1 in
	command) command -v "$2" >/dev/null ;;
	header) echo "#include <$2>" | cc -E - >/dev/null 2>&1 ;;
	venv) compgen -G '/usr/lib/python3.*/ensurepip/__init__.py' >/dev/null || python3 -c 'import ensurepip' 2>/dev/null ;;
	module) [ -e "/usr/lib/python3/dist-packages/$2" ] ;;
	esac
}

# One preprocessor run tells in the usual case that no header is missing.
have_headers() { # HEADER...
	printf '#include <%s>\n' "$@" | cc -E - >/dev/null 2>&1
}

find_missing() { # GROUP...: fills things and packages
	local group kind thing package headers=()
	while read -r group kind thing package; do
		[[ " $* " == *" $group "* && $kind = header ]] && headers+=("$thing")
	done <<<"$NEEDS"
	[ ${#headers[@]} -gt 0 ] && have_headers "${headers[@]}" && headers=()
	while read -r group kind thing package; do
		[[ " $* " == *" $group "* ]] || continue
		[ "$kind" != header ] || [ ${#headers[@]} -gt 0 ] || continue
		have "$kind" "$thing" && continue
		things+=("$kind ${thing/#-/python3 -m venv}")
		packages+=("$package")
	done <<<"$NEEDS"
}

no_services() { # CMD...: run it while package scripts may not start any
	local policy=/usr/sbin/policy-rc.d rc=0
	[ ! -e "$policy" ] || { "$@"; return; }
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod +x "$policy"
	"$@" || rc=$?
	rm -f "$policy"
	return "$rc"
}

apt_install() { # PACKAGE...
	local get=(apt-get -qq -y -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0)
	local install=("${get[@]}" install --no-install-recommends "$@") log rc=0
	export DEBIAN_FRONTEND=noninteractive
	log=$(mktemp)
	"${get[@]}" -s install "$@" >/dev/null 2>&1 || "${get[@]}" update >"$log" 2>&1 || rc=$?
	# A list of packages that is too old names files that are gone: refresh it once.
	no_services "${install[@]}" >>"$log" 2>&1 ||
		{ "${get[@]}" update && no_services "${install[@]}"; } >>"$log" 2>&1 || rc=2
	[ "$rc" != 2 ] || tail -20 "$log" >&2
	rm -f "$log"
	[ "$rc" != 2 ]
}

main() {
	local dry="" things=() packages=() had_sshd="" had_containerd="" command group
	[ "${1-}" != -n ] || { dry=1; shift; }
	[ $# -gt 0 ] || { echo "usage: deploy/install-deps.sh [-n] build|test|python|bench|model|image|kube..." >&2; exit 2; }
	for group in "$@"; do
		[[ $NEEDS == *$'\n'"$group "* ]] || { echo "install-deps.sh: no group '$group'" >&2; exit 2; }
	done
	find_missing "$@"
	[ ${#packages[@]} -gt 0 ] || exit 0
	# No <(...): a bare chroot has no /dev/fd.
	mapfile -t packages <<<"$(printf '%s\n' "${packages[@]}" | sort -u)"

	echo "missing: $(printf '%s, ' "${things[@]}" | sed 's/, $//')" >&2
	if ! command -v apt-get >/dev/null; then
		echo "install them with your package manager; on Debian the packages are: ${packages[*]}" >&2
		exit 1
	fi
	command="apt-get update && apt-get install -y --no-install-recommends ${packages[*]}"
	if [ -n "$dry" ] || [ "$(id -u)" != 0 ]; then
		echo "to install them, run:  sudo sh -c '$command'" >&2
		exit 1
	fi
	echo "installing: ${packages[*]}" >&2
	! command -v /usr/sbin/sshd >/dev/null || had_sshd=1
	! command -v containerd >/dev/null || had_containerd=1
	apt_install "${packages[@]}" || { echo "apt-get failed; try:  $command" >&2; exit 2; }
	[ -n "$had_sshd" ] || systemctl disable -q ssh.service ssh.socket 2>/dev/null || true
	[ -n "$had_containerd" ] || systemctl disable -q containerd.service 2>/dev/null || true
}

main "$@"
