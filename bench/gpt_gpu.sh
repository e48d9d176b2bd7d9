#!/bin/bash
# gpt_gpu.sh [OPTIONS of gpt_torch.py] -- GPT-2 124M on a GPU: examples/gpt against PyTorch, in one run. Without a GPU it says so and ends with 77.
# The Python is $PYTHON, else python3: it needs a PyTorch with CUDA, and a C compiler for torch.compile.
set -euo pipefail
cd "$(dirname "$0")/.."
export B=${B:-build}
[[ $B == /* ]] || B=$PWD/$B
PYTHON=${PYTHON:-python3}

none() {
	echo "bench/gpt_gpu.sh: nothing was measured: $1"
	exit 77
}

[ -x "$B/bench/gpt_step" ] || none "this build has no CUDA (deploy/setup-cuda.sh, then make)"
"$PYTHON" -c 'import torch' 2>/dev/null || none "$PYTHON has no PyTorch (PYTHON=... names another)"
why=$("$PYTHON" -c 'import torch
torch.zeros(1, device="cuda")' 2>&1 >/dev/null) || none "PyTorch finds no GPU: ${why##*$'\n'}"
exec "$PYTHON" bench/gpt_torch.py "$@"
