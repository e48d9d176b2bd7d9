#!/bin/bash
# setup-cuda.sh -- what `make` needs for CUDA and NCCL, in build/cuda: NVIDIA's compiler, headers and NCCL, without root and without a GPU.
#
# A toolkit of version 12 or newer that is there wins: $CUDA_HOME, else /usr/local/cuda, else an nvcc on PATH; then only what it lacks (NCCL,
# cuBLAS' headers) is fetched. From the package index: NVIDIA's wheels, which hold the same files (760 MB to fetch once; 420 MB of it is
# cuBLAS, of which only the headers are kept).
# Prints the folder to give as CUDA_HOME; quick when all is there. NVIDIA's licence for these files: https://docs.nvidia.com/cuda/eula/
# Invariant: build/cuda/.stamp holds the list of packages, and is written last. A lock lets concurrent builds wait for the one that fetches.
. "$(dirname "$0")/../tests/setup-venv.sh"
cd "$ROOT"

# As the driver of version 580 (CUDA 13.0) serves them all. NCCL 2.30 is the first that takes two ranks on one GPU.
NVCC="nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85"
CUBLAS="nvidia-cublas==13.0.2.14"
NCCL="nvidia-nccl-cu13==2.30.7"
DIR=build/cuda

is_new() { # CUDA.H
	[ "$(sed -n 's/^#define CUDA_VERSION //p' "$1" 2>/dev/null)0" -ge 120000 ]
}

home=
for nvcc in ${CUDA_HOME:+"$CUDA_HOME/bin/nvcc"} /usr/local/cuda/bin/nvcc "$(command -v nvcc || true)"; do
	dir=${nvcc%/bin/nvcc}
	[ -x "$nvcc" ] && [ "$(realpath "$dir")" != "$ROOT/$DIR" ] && is_new "$dir/include/cuda.h" || continue
	home=$dir
	break
done
want=
if [ -z "$home" ]; then
	want="$NVCC $CUBLAS $NCCL"
else
	[ -e "$home/include/cublasLt.h" ] || want+=" $CUBLAS"
	[ -e "$home/include/nccl.h" ] || [ -e /usr/include/nccl.h ] || want+=" $NCCL"
	want=${want# }
fi

fetch() { # PACKAGE...: into $DIR.new
	local wheels=$DIR.new/wheels python tag platforms=()
	python=$(venv_python) || return
	for tag in _2_27 _2_18 _2_17 2014 2010; do platforms+=(--platform "manylinux${tag}_$(uname -m)"); done
	"$python" -m venv $DIR.new/venv &&
		$DIR.new/venv/bin/pip download --disable-pip-version-check --no-deps --only-binary=:all: --dest "$wheels" "${platforms[@]}" "$@" &&
		"$python" - "$wheels" "$DIR.new" <<-'UNPACK'
			import pathlib, sys, zipfile
			wheels, to = map(pathlib.Path, sys.argv[1:])
			for wheel in wheels.iterdir():
			    with zipfile.ZipFile(wheel) as z:
			        for name in z.namelist():
			            # nvidia/cu13/bin/nvcc, nvidia/nccl/include/nccl.h
			            parts = name.split("/")
			            if parts[0] != "nvidia" or len(parts) < 4 or parts[2].startswith(".") or name.endswith("/"):
			                continue
			            if "/lib/libcublas" in name or "/lib/libnvblas" in name:
			                continue
			            at = to.joinpath(*parts[2:])
			            at.parent.mkdir(parents=True, exist_ok=True)
			            at.write_bytes(z.read(name))
			            if "bin" in parts[2:-1]:
			                at.chmod(0o755)
		UNPACK
}

if [ -n "$want" ] && [ "$(cat $DIR/.stamp 2>/dev/null)" != "$want" ]; then
	mkdir -p build
	(
		flock 9
		[ "$(cat $DIR/.stamp 2>/dev/null)" != "$want" ] || exit 0
		rm -rf $DIR.new
		mkdir $DIR.new
		# shellcheck disable=SC2086
		echo "fetching NVIDIA's wheels, up to 760 MB: minutes; the log is $DIR.log" >&2
		fetch $want >$DIR.log 2>&1 9>&- || {
			tail -20 $DIR.log >&2
			rm -rf $DIR.new
			echo "could not fetch CUDA; is a package index reachable? The whole log: $DIR.log." >&2
			echo "Without CUDA, make builds everything else." >&2
			exit 1
		}
		rm -rf $DIR.new/wheels $DIR.new/venv $DIR
		[ ! -d $DIR.new/lib ] || ln -s lib $DIR.new/lib64
		for lib in cudart nccl; do # the names that linkers look for
			for f in $DIR.new/lib/lib$lib.so.[0-9]*; do
				[ ! -e "$f" ] || ln -s "${f##*/}" $DIR.new/lib/lib$lib.so
			done
		done
		echo "$want" >$DIR.new/.stamp
		mv $DIR.new $DIR
	) 9>$DIR.lock
fi
echo "${home:-$PWD/$DIR}"
