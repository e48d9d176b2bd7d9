#!/bin/bash
# setup-mpi-peers.sh -- the MPI libraries that bench/peers.sh compares with, and iperf3, each in build/bench-peers/NAME: ompi4 (the
# distribution's), ompi5, mpich4, mpich5, impi, iperf3 (480 MB in all). Prints that folder; quick when it is there.
#
# Every NAME has scripts, mpirun and mpicc, that need no environment, so that all stand beside each other; Debian's MPICH would, installed,
# contend with its Open MPI for the name mpirun, so its packages are unpacked only. None binds ranks: the rank programs do it by themselves, alike.
#
# A peer that cannot be had is left out: said on stderr and in build/bench-peers/NAME.missing, which the page of results cites.
. "$(dirname "$0")/../tests/setup-venv.sh"
P=$ROOT/build/bench-peers
NAMES='ompi4 ompi5 mpich4 mpich5 impi iperf3'

script() { # FILE LINE...: an executable shell script
	local file=$1
	shift
	printf '%s\n' '#!/bin/sh' "$@" >"$file.new"
	chmod +x "$file.new"
	mv "$file.new" "$file"
}

unpack() { # DIR PACKAGE...: Debian packages, without installing them
	local dir=$1 deb
	shift
	mkdir -p "$dir"
	(
		cd "$dir"
		apt-get -qq download "$@" || { apt-get -qq update && apt-get -qq download "$@"; }
		for deb in *.deb; do dpkg -x "$deb" . && rm "$deb"; done
	)
}

open_mpi() { # DIR MPIRUN MPICC
	script "$1/mpirun" 'root=' "[ \"\$(id -u)\" != 0 ] || root=--allow-run-as-root" "exec $2 \$root --bind-to none \"\$@\""
	script "$1/mpicc" "exec $3 \"\$@\""
}

make_ompi4() { # DIR
	open_mpi "$1" "$(command -v mpirun)" "$(command -v mpicc)"
}

make_ompi5() {
	local venv
	venv=$("$ROOT/tests/setup-ompi5.sh")
	open_mpi "$1" "$venv/bin/mpirun" "$venv/bin/mpicc"
}

make_mpich4() {
	local lib=$1/usr/lib/x86_64-linux-gnu
	unpack "$1" mpich libmpich12 libmpich-dev libslurm38
	rm "$lib"/lib*.a # static libraries: 60 MB
	script "$1/mpirun" "export LD_LIBRARY_PATH=$lib" "exec $1/usr/bin/mpiexec.hydra \"\$@\""
	script "$1/mpicc" "exec cc -I$1/usr/include/x86_64-linux-gnu/mpich \"\$@\" -L$lib -Wl,-rpath,$lib -lmpich"
}

make_mpich5() {
	local venv=$ROOT/build/venv-mpich5
	venv_make mpich5 "" mpich==5.0.2
	script "$1/mpirun" "exec $venv/bin/mpirun \"\$@\""
	script "$1/mpicc" "exec $venv/bin/mpicc \"\$@\""
}

make_impi() {
	local venv=$ROOT/build/venv-impi
	venv_make impi "" impi-rt==2021.18.1 impi-devel==2021.18.1
	script "$1/mpirun" "export I_MPI_ROOT=$venv I_MPI_PIN=0" "exec $venv/bin/mpiexec.hydra \"\$@\""
	script "$1/mpicc" "exec cc -I$venv/include \"\$@\" -L$venv/lib -Wl,-rpath,$venv/lib -lmpi"
}

make_iperf3() {
	unpack "$1" iperf3 libiperf0 libsctp1
	script "$1/iperf3" "LD_LIBRARY_PATH=$1/usr/lib/x86_64-linux-gnu exec $1/usr/bin/iperf3 \"\$@\""
}

make_one() { # NAME; the stamp comes last
	rm -rf "${P:?}/$1"
	mkdir -p "$P/$1"
	"make_$1" "$P/$1"
	touch "$P/$1/.stamp"
}

main() {
	local name
	mkdir -p "$P"
	if [ $# -gt 0 ]; then # by itself, below: `set -e` does not hold inside a condition
		make_one "$1"
		return
	fi
	exec 9>"$P/.lock"
	flock 9
	for name in $NAMES; do
		[ ! -e "$P/$name/.stamp" ] || continue
		if "$0" "$name" >"$P/$name.log" 2>&1 9>&-; then
			rm -f "$P/$name.missing"
		else
			tail -1 "$P/$name.log" >"$P/$name.missing"
			echo "bench/setup-mpi-peers.sh: without $name: $(<"$P/$name.missing") (the whole log: $P/$name.log)" >&2
		fi
	done
	echo "$P"
}

main "$@"
