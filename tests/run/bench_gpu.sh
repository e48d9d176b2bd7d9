#!/bin/bash
# lockstep bench --device cuda, with stand-ins for NVIDIA's driver, its management library and NCCL (tests/fake): that ranks, options and
# sentences are right. No figure here means anything; nothing runs on a GPU.
. "$(dirname "$0")/../lib.sh"
[ ${#NOLEAKS[@]} = 0 ] || export "${NOLEAKS[1]}" # its ranks get no -x
mkdir tmp lib && export TMPDIR=$PWD/tmp FAKE_NCCL_DIR=$PWD/tmp
unset CUDA_VISIBLE_DEVICES CUDA_DEVICE_ORDER
bench() { timeout 100 "$B/lockstep" bench "$@"; }
get() { python3 -c 'import json, sys; f = json.load(open("out")); print(eval(sys.argv[1]))' "$1" || echo "no such figure"; }
refused() { expect_refused "$1" "$2" bench "${@:3}"; } # NAME REGEX ARGS...

ln -s "$B/tests/libnvidia-ml.so.1" lib/ && export LD_LIBRARY_PATH=$PWD/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} FAKE_NVML=""
refused "no GPU: nothing is measured in its place" "this machine has no GPU that can be used; -H names hosts" all-reduce --device cuda
FAKE_NVML="init=9" refused "no driver" "no GPU that can be used: the driver is not loaded" all-reduce --device cuda
export FAKE_NVML="gpu=0000:1b:00.0"
CUDA_VISIBLE_DEVICES="" refused "hidden" "no GPU that can be used: CUDA_VISIBLE_DEVICES is empty" all-reduce --device cuda
refused "more ranks than GPUs" "-np 2: this machine has 1 GPU that can be used; --oversubscribe" all-reduce --device cuda -np 2
refused "a backend of cores" "--backend and --algorithm are for --device cpu" all-reduce --device cuda --backend shm
refused "a contender of cores" "'shm' is no contender with --device cuda; want nccl, nccl/user, peer-nccl or peer-nccl/wait" all-reduce --device cuda --compare shm
refused "a contender of GPUs" "'peer-nccl' computes on GPUs: --device cuda" all-reduce --compare peer-nccl
refused "a device that is none" "--device tpu: want cpu, cuda" all-reduce --device tpu

# nccl-tests, of which this knows the options and the table.
cat >all_reduce_perf <<'EOF'
#!/bin/sh
echo "$*" >>asked
while [ "$1" != -b ]; do shift; done
echo "# nThread 1 nGpus 1"
echo " $2  $(($2 / 4))  float  sum  -1   100.0  1.0  1.0  0   50.0  2.0  2.0  3"
EOF
chmod +x all_reduce_perf
bench all-reduce --device cuda --json -b 1M -e 1M --rounds 2 --place both -n 7 -w 3 \
	--contender "nccl-tests=exec python3 $ROOT/bench/coll_nccl_tests.py $PWD" >out 2>err
expect_eq "nccl-tests counts wrong elements: the exit code" 1 $?
expect_eq "its own figures, out of place and in place" "[100, 50]" "$(get '[round(r["time_us"], 6) for r in f["rows"][0]["results"]]')"
expect_eq "what it was asked" "-g 1 -b 1048576 -e 1048576 -n 7 -w 3 -d float -c 1 -o sum" "$(tail -n1 asked)"

if [ ! -e "$B/tests/libnccl.so.2" ]; then
	ln -s "$B/tests/libcuda.so.1" lib/
	bench all-reduce --device cuda --compare nccl,peer-nccl >out 2>err
	expect_eq "a build without NCCL: the exit code" 1 $?
	expect_match "and it says so" "nccl is lost: .*(built without|has no|no backend).*peer-nccl is lost: .*this build has no" "$(tr '\n' ' ' <err)"
	exit
fi

bench all-reduce --device cuda >out 2>err
expect_eq "no driver for ranks: the exit code" 1 $?
expect_match "and its sentence" "nccl is lost: .*this host has no NVIDIA driver" "$(cat err)"
ln -s "$B"/tests/lib{cuda.so.1,nccl.so.2} lib/

every=(--compare nccl,nccl/user,peer-nccl,peer-nccl/wait -b 8 -e 16K -f 64 -n 3 -w 1 --rounds 1 --place both)
for op in all-reduce reduce-scatter all-gather broadcast barrier; do
	bench $op --device cuda -np 2 --oversubscribe -d all -o all -r 1 --json "${every[@]}" >out 2>err
	expect_eq "$op: 2 ranks on one GPU, every type: it ends well" 0 $?
	expect_eq "$op: no contender is lost, none is wrong" "" "$(get '([r for row in f["rows"] for r in row["results"] if r.get("wrong") != 0 or not r["time_us"] > 0] +
		[c for c in f["contenders"] if "lost" in c]) or ""')" "$(cat err)"
	expect_eq "$op: labelled for what it is" 4 "$(grep -c "functional, not scaling: ranks 0, 1 share a GPU" err)"
done
expect_eq "in JSON, too" "['cuda', 'ranks 0, 1']" "$(get '[f["device"], f["contenders"][2]["shares_gpu"]]')"

bench all-reduce --device cuda -b 4K -e 4K -n 2 >out 2>err
expect_eq "a rank per GPU: it ends well" 0 $?
expect_match "the table" "1 ranks on .*; buffers in GPUs' memory, a GPU for each rank.*# Wrong elements    : 0 OK" "$(cat out)"
expect_eq "nobody shares" "" "$(grep functional out err)"
# The calibrating run: a barrier, three operations, a barrier, and the one that is checked.
for who in nccl peer-nccl; do
	FAKE_NCCL="wrong rank=1 op=6" bench all-reduce --device cuda -np 2 --oversubscribe --compare $who -b 4K -e 4K -n 2 -w 0 --rounds 1 >out 2>err
	expect_eq "$who: a wrong bit: the exit code" 1 $?
	expect_match "$who: it is counted" "# Wrong elements    : 1 FAILED" "$(cat out)"
done
no_leftovers "no process stays"
