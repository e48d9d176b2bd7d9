#!/bin/bash
# The real safetensors package and our reader and writer understand each other, and whole checkpoints can be read without us; see ckpt_python.py.
. "$(dirname "$0")/../lib.sh"

python=${LOCKSTEP_TEST_PYTHON:-$ROOT/build/venv-python/bin/python3}
if [ -x "$python" ]; then
	out=$("$python" "$ROOT/tests/run/ckpt_python.py" "$B/tests/test_safetensors" "$B/lockstep" 2>&1)
	expect_match "the safetensors package and ours read each other's files" "^ckpt_python: ok" "$out"
	echo "$out" | tail -1
else
	skip "the safetensors package and ours read each other's files" "no $python: tests/setup-python.sh makes it"
fi
