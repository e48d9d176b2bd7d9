#!/bin/bash
# image.sh OUT.tar [REF] -- the runtime's image, an OCI archive: `ctr -n k8s.io image import OUT.tar`, `skopeo copy oci-archive:OUT.tar docker://…`
# image.sh -d DIR         -- only its root folder; deploy/Dockerfile uses that
#
# The image is two things: what the operator and the launcher run in, and what an init container copies into the Pods of workers. So
# everything is below /lockstep and brings its own C library and loader: programs have /lockstep/lib in their headers, not in
# LD_LIBRARY_PATH, which the user's program would inherit. It works inside any image, also without a C library or with another.
#
#   /lockstep/bin/lockstep       /lockstep/lib          shared libraries of all, and the loader
#   /lockstep/openmpi/bin        mpirun, orted          relocated by OPAL_PREFIX and PMIX_PREFIX
#   /lockstep/openmpi/lib/…      the plug-ins of Open MPI's runtime. Not those of its MPI library: a user's program brings its own libmpi.
#
# Made from this machine's build/lockstep (B=…) and Open MPI 4.1; needs patchelf (deploy/install-deps.sh image). No network, no daemon, no root.
set -euo pipefail

HERE=$(cd "$(dirname "$0")" && pwd)
B=${B:-$HERE/../build}
LIBS=/lockstep/lib
PREFIX=/lockstep/openmpi
USER_ID=65532
REF=lockstep.local/runtime:$(sed -n 's/^.define LOCKSTEP_VERSION "\(.*\)"/\1/p' "$HERE/../include/lockstep/lockstep.h") # as in deploy/*.yaml
# Frameworks of the MPI and SHMEM libraries, which mpirun and orted do not open.
MPI_ONLY='allocator|atomic|bml|btl|coll|fbtl|fcoll|fs|io|memheap|mpool|mtl|op|osc|pml|rcache|scoll|sharedfp|spml|sshmem|topo|vprotocol'
# Opened by name at run time: core/curl_api.c, core/crypto_api.c, core/psk*.c.
OPENED='libcurl.so.4 libssl.so.3 libcrypto.so.3'

die() { echo "image.sh: $*" >&2; exit 1; }

find_library() { # NAME: its path
	local path
	path=$(/sbin/ldconfig -p | awk -v n="$1" '$1 == n && /x86-64|AArch64/ { print $NF; exit }')
	[ -n "$path" ] || die "$1 is not on this machine; deploy/install-deps.sh build"
	echo "$path"
}

copy_programs() { # ROOT
	local mpirun
	[ -x "$B/lockstep" ] || die "$B/lockstep is not there; run make first"
	mpirun=$(command -v mpirun) || die "no mpirun; deploy/install-deps.sh build"
	[[ $("$mpirun" --version) == *"(Open MPI) 4.1"* ]] || die "$mpirun is not Open MPI 4.1, the version that this image is made from"
	mkdir -p "$1/lockstep/bin" "$1$PREFIX/bin"
	cp "$B/lockstep" "$1/lockstep/bin/"
	cp -L "$mpirun" "$1$PREFIX/bin/orterun"
	cp -L "$(dirname "$mpirun")/orted" "$1$PREFIX/bin/"
	ln -s orterun "$1$PREFIX/bin/mpirun"
}

copy_openmpi() { # ROOT: plug-ins and the texts of messages, to where OPAL_PREFIX makes them looked for
	local from to data plugin
	from=$(ompi_info --parsable --path pkglibdir | cut -d: -f3)
	to=$(OPAL_PREFIX=$PREFIX ompi_info --parsable --path pkglibdir | cut -d: -f3)
	data=$(ompi_info --parsable --path pkgdatadir | cut -d: -f3)
	[[ $to == "$PREFIX"/* && -d $from ]] || die "this Open MPI cannot be relocated: its plug-ins are in $from, and would be sought in $to"
	mkdir -p "$1$to" "$1$PREFIX/share/openmpi"
	for plugin in "$from"/mca_*.so; do
		[[ ${plugin##*/} =~ ^mca_($MPI_ONLY)_ ]] || cp "$plugin" "$1$to/"
	done
	cp "$data"/help-*.txt "$1$PREFIX/share/openmpi/"
}

# PMIx has a prefix of its own, PMIX_PREFIX; below the distribution's are lib/pmix and share/pmix.
copy_pmix() { # ROOT
	local library prefix
	library=$(readlink -f "$(find_library libpmix.so.2)")
	prefix=${library%/lib/libpmix.so*}
	[ -d "$prefix/share/pmix" ] || die "no share/pmix beside $library"
	mkdir -p "$1$PREFIX/lib/pmix" "$1$PREFIX/share/pmix"
	cp "$prefix"/lib/pmix/pmix_mca_*.so "$1$PREFIX/lib/pmix/"
	cp "$prefix"/share/pmix/help-*.txt "$1$PREFIX/share/pmix/"
}

is_elf() { [ "$(head -c 4 "$1")" = $'\x7fELF' ]; }

elf_files() { # ROOT
	find "$1/lockstep" -type f | sort | while IFS= read -r f; do ! is_elf "$f" || echo "$f"; done
}

copy_libraries() { # ROOT: what the programs and plug-ins need, and what that needs
	local name path files opened=()
	mapfile -t files < <(elf_files "$1")
	for name in $OPENED; do opened+=("$(find_library "$name")"); done
	mkdir -p "$1$LIBS"
	cp -L "${opened[@]}" "$1$LIBS/"
	# "name => path (address)", and the loader alone: "path (address)".
	ldd "${files[@]}" "${opened[@]}" | awk '$2 == "=>" && $3 == "not" { print "missing", $1 }
		$2 == "=>" && $3 ~ /^\// { print $1, $3 }
		$1 ~ /^\/.*ld-.*\.so/ { n = split($1, a, "/"); print a[n], $1 }' | sort -u | while read -r name path; do
		[ "$name" != missing ] || die "the library $path is not on this machine"
		cp -L "$path" "$1$LIBS/$name"
	done
}

# DT_RPATH, not RUNPATH: it holds for the libraries' own needs and for dlopen, and goes before an LD_LIBRARY_PATH of the user's image.
relocate() { # ROOT
	local f loader
	loader=$(basename "$(patchelf --print-interpreter "$B/lockstep")")
	elf_files "$1" | while IFS= read -r f; do
		chmod u+w "$f"
		case ${f##*/} in "$loader" | libc.so.6) continue ;; esac
		strip --strip-debug "$f"
		patchelf --force-rpath --set-rpath "$LIBS" "$f"
		[[ $f != */bin/* ]] || patchelf --set-interpreter "$LIBS/$loader" "$f"
	done
}

copy_system() { # ROOT: the little that the image itself needs: who runs, whom to trust, and where to write
	mkdir -p "$1/etc/ssl/certs" "$1/tmp"
	chmod 1777 "$1/tmp"
	# bash is not there. mpirun looks at the name: it warns of one that it does not know, and puts a shell's command before orted for sh.
	printf 'root:x:0:0:root:/:/sbin/nologin\nlockstep:x:%s:%s:lockstep:/tmp:/bin/bash\n' $USER_ID $USER_ID >"$1/etc/passwd"
	printf 'root:x:0:\nlockstep:x:%s:\n' $USER_ID >"$1/etc/group"
	printf 'hosts: files dns\n' >"$1/etc/nsswitch.conf"
	cp -L /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/" || die "no CA certificates; install ca-certificates"
}

build_root() { # ROOT
	copy_programs "$1"
	copy_openmpi "$1"
	copy_pmix "$1"
	copy_libraries "$1"
	relocate "$1"
	copy_system "$1"
}

main() {
	[ $# -ge 1 ] || { sed -n '2,3s/^# //p' "$0" >&2; exit 2; }
	command -v patchelf >/dev/null || die "patchelf is missing; deploy/install-deps.sh image"
	if [ "$1" = -d ]; then
		mkdir -p "${2:?DIR}"
		build_root "$(realpath "$2")"
		return
	fi
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	build_root "$tmp"
	"$HERE/mkimage.py" "$1" "${2:-$REF}" "$tmp" --user $USER_ID --workdir /tmp \
		--env PATH=/lockstep/bin:/lockstep/openmpi/bin --env OPAL_PREFIX=$PREFIX --env PMIX_PREFIX=$PREFIX \
		--env LOCKSTEP_MPIRUN=$PREFIX/bin/mpirun --entrypoint /lockstep/bin/lockstep
}

main "$@"
