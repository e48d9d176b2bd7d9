#!/bin/bash
# limit: 400
# The communication hook for PyTorch's DDP: installed from the clone, with 2 and 3 ranks, under torchrun and lockstep run; ddp_rank.py has the checks.
. "$(dirname "$0")/../lib.sh"

PY=${LOCKSTEP_TEST_PYTHON:-$ROOT/build/venv-python/bin/python}
if ! "$PY" -c 'import torch' 2>/dev/null; then
	skip "the hook for PyTorch" "no torch in $PY: tests/setup-python.sh makes it"
	exit 0
fi
CHECKS=(losses rebuild dtypes unused two_nodes one_fails sparse group)

# A copy of what pip reads: it builds in the folder that it is given.
mkdir clone && cp -r "$ROOT"/{python,core,collectives,worker,include} clone/ && rm -rf clone/python/{build,*.egg-info}
out=$("$PY" -m pip install --disable-pip-version-check --no-deps --target "$TMP/site" clone/python 2>&1)
expect_match "pip installs it from a clone" "Successfully installed lockstep-ddp" "$out"
expect_eq "and nothing besides" "lockstep_ddp" "$(find site -mindepth 1 -maxdepth 1 -not -name '*.dist-info' -printf '%f\n')"
expect_eq "its library needs the C library alone" "" "$(ldd site/lockstep_ddp/liblockstep_ddp.so | grep -vE 'linux-vdso|libc\.so|libm\.so|libpthread|ld-linux')"
export PYTHONPATH=$TMP/site OMP_NUM_THREADS=1 GLOO_SOCKET_IFNAME=lo

checked() { # WHERE CODE FILE: every check of ddp_rank.py has passed
	local check
	expect_eq "$1" 0 "$2"
	for check in "${CHECKS[@]}"; do
		expect_match "$1: $check" "checked $check" "$(cat "$3")"
	done
}

# Without -r and -t the 1.13 launcher of Debian 12 fails on its Python 3.11.
LOCKSTEP_PROGRESS=thread timeout 120 "$PY" -m torch.distributed.run -r 1 -t 1 --log_dir "$TMP/torchrun" --master_port $((20000 + RANDOM % 10000)) --nproc_per_node 2 \
	"$ROOT/tests/e2e/ddp_rank.py" all >torchrun.out 2>&1
checked "two ranks under torchrun, with a progress thread" $? torchrun.out
timeout 120 lockstep run -np 3 --oversubscribe -- "$PY" "$ROOT/tests/e2e/ddp_rank.py" all >run.out 2>&1
checked "three ranks under lockstep run" $? run.out

timeout 60 lockstep run -np 3 --oversubscribe -- "$PY" "$ROOT/tests/e2e/ddp_rank.py" killed >killed.out 2>&1
expect_eq "a rank that dies in the middle ends the job" 137 $?
expect_match "the launcher names it" "rank 1 on host localhost was killed by signal 9" "$(cat killed.out)"

# Nobody but the library tells them, or ends them.
port=$((20000 + RANDOM % 10000))
for rank in 0 1 2; do
	RANK=$rank WORLD_SIZE=3 MASTER_ADDR=127.0.0.1 MASTER_PORT=$port timeout 60 "$PY" "$ROOT/tests/e2e/ddp_rank.py" killed >"alone.$rank" 2>&1 &
	pids[rank]=$!
done
for rank in 0 2; do
	wait "${pids[rank]}"
	expect_eq "rank $rank does not wait for the dead" 75 $?
	expect_match "and its backward() says who died" "rank 1 \(pid [0-9]+\).*is dead" "$(cat "alone.$rank")"
done
wait "${pids[1]}"
no_leftovers "nothing stays"
