#!/bin/bash
# setup-python.sh -- Python with safetensors, numpy and PyTorch (CPU, gloo), in build/venv-python. Prints its folder.
#
# PyTorch is the distribution's where that can be had (150 MB to fetch, 1 minute); the index's wheel is a CUDA build
# of several GB with its libraries, so it is the last resort. numpy then comes with it: PyTorch and numpy must match.
. "$(dirname "$0")/setup-venv.sh"

code=0
"$ROOT/deploy/install-deps.sh" python >&2 || code=$?
if [ "$code" = 0 ]; then
	venv_make python --system-site-packages safetensors==0.5.3
elif [ "$code" = 1 ] && command -v apt-get >/dev/null; then
	exit 1 # it said what to run
else
	echo "no PyTorch from the distribution; fetching the index's wheel (several GB)" >&2
	venv_make python "" safetensors numpy torch
fi
echo "$ROOT/build/venv-python"
