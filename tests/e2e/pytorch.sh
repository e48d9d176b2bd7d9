#!/bin/bash
# limit: 400
# An unmodified PyTorch DDP script (gloo): on this machine, on two hosts, with both Open MPIs, and after a kill.
. "$(dirname "$0")/../lib.sh"

PY=$ROOT/build/venv-python/bin/python
"$PY" -c 'import torch' || { fail "PyTorch is there"; exit 1; }
job() { # ARGS...
	(cd "$ROOT" && "${ON[@]}" timeout 100 "$B/lockstep" run -f examples/pytorch/ddp.yaml \
		--set spec.workers.template.spec.containers.0.command="[\"$PY\", \"examples/pytorch/ddp.py\"]" "$@")
}
last() { grep -o 'epoch 15 .*' "$1"; }

ON=()
job --dir "$TMP/one" >one.out 2>&1
expect_eq "on this machine" 0 $?
expect_match "it learns" "accuracy 0.9[0-9]" "$(last one.out)"
if need_root "two hosts"; then
	hosts up 2 || { fail "two hosts are up"; exit 1; }
	ON=(on host0)
	for mpirun in mpirun "$ROOT/build/venv-ompi5/bin/mpirun"; do
		job --dir "$TMP/two" --fresh --mpirun "$mpirun" -H host0,host1 --set spec.workers.replicas=2 --set spec.workers.ranksPerWorker=1 >two.out 2>&1
		code=$?
		expect_eq "on two hosts, $("$mpirun" --version | head -1)" 0 $code
		expect_eq "the same result as on one" "$(last one.out)" "$(last two.out)"
	done
	no_leftovers "nothing stays" 10
fi
ON=()
job --dir "$TMP/killed" >killed.out 2>&1 &
wait_until 60 grep -q 'epoch 3 ' killed.out
kill -9 "$(rank_pid 1)"
wait $!
expect_eq "a killed rank: the job comes back" 0 $?
expect_match "the killed rank is named, not the one whose connection broke" "rank 1 on host localhost was killed by signal 9" "$(cat killed.out)"
expect_eq "and ends with the same result" "$(last one.out)" "$(last killed.out | tail -1)"
