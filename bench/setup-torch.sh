#!/bin/bash
# setup-torch.sh -- a PyTorch with torch.distributed.checkpoint.async_save, in build/venv-torch, for bench/*_torch.py alone (the tests use
# the distribution's). Prints its folder; quick when it is there.
#
# The index has CUDA builds only (540 MB to fetch, 1.3 GB unpacked), whose libraries would be several GB more. On CPUs none of them is called, but
# the loader wants each: torch_stubs.py makes stand-ins.
. "$(dirname "$0")/../tests/setup-venv.sh"

venv_make torch "" --no-deps torch==2.15.0 typing-extensions filelock fsspec jinja2 MarkupSafe networkx sympy mpmath numpy
venv=$ROOT/build/venv-torch
[ -e "$venv/.stubs" ] || { "$venv/bin/python" "$ROOT/bench/torch_stubs.py" >&2 && touch "$venv/.stubs"; }
echo "$venv"
