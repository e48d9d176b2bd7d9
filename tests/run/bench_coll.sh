#!/bin/bash
# lockstep bench of collectives: each operation on real ranks; comparisons of ranks that measure nothing, whose every figure is known; what is lost.
. "$(dirname "$0")/../lib.sh"
[ ${#NOLEAKS[@]} = 0 ] || export "${NOLEAKS[1]}" # its ranks get no -x
mkdir tmp && export TMPDIR=$PWD/tmp
bench() { timeout 100 "$B/lockstep" bench "$@"; }
fake() { echo "$1=exec python3 $ROOT/tests/run/bench_coll.py ${*:2}"; } # NAME MICROSECONDS... [FAULT]
get() { python3 -c 'import json, sys; f = json.load(open("out")); print(eval(sys.argv[1]))' "$1"; }
small=(-b 8 -e 64K -f 32 -n 3 -w 1 --oversubscribe)

for op in allreduce reduce-scatter all-gather broadcast barrier; do
	bench $op --compare shm,shm/user,mpi -np 3 -r 0 -d all -o all --rounds 1 --place both --json "${small[@]}" >out 2>err
	expect_eq "$op: 3 ranks, every type: it ends well" 0 $?
	expect_eq "$op: no contender is lost, every result is there or named, none is wrong" "" "$(get '[r for row in f["rows"] for r in row["results"]
		if "unsupported" not in r and (r["wrong"] != 0 or not r["time_us"] >= 0)] + [c for c in f["contenders"] if "lost" in c] or ""')" "$(cat err)"
	expect_eq "$op: what Lockstep cannot do" "" "$(get '[(row["type"], r) for row in f["rows"] for r in row["results"] if "unsupported" in r and r["contender"] != "mpi"] or ""')"
done
out=$(bench all-reduce --buffers user -np 2 -d bf16 "${small[@]}" 2>&1)
expect_match "the table of one: columns of nccl-tests" "size +count +type +redop +root +time +algbw +busbw +#wrong" "$out"
expect_match "a row of it" $'\n +256 +128 +bf16 +sum +-1 +[0-9.]+ +[0-9.]+ +[0-9.]+ +0 ' "$out"
expect_match "and its end" "# Wrong elements    : 0 OK"$'\n'"# Avg bus bandwidth : [0-9.]+$" "$out"

# Run 0 chooses the number of operations, 1 to 4 are rounds: 10 40 20 20 against 20 40 60 20.
bench all-reduce -np 2 -b 1000000 -e 1000000 --rounds 4 --json --contender "$(fake one 7 10 40 20 20)" --contender "$(fake two 7 20 40 60 20)" >out 2>err
expect_eq "medians, the slowest rank's" "[20, 30]" "$(get '[r["time_us"] for r in f["rows"][0]["results"]]')"
expect_eq "spread" "[10, 40, 20, 60]" "$(get 'sum([[r["min_us"], r["max_us"]] for r in f["rows"][0]["results"]], [])')"
expect_eq "ratios of rounds, to the first" "[1.5, 1, 3]" "$(get '[round(f["rows"][0]["results"][1][k], 6) for k in ("ratio", "ratio_min", "ratio_max")]')"
expect_eq "bus bandwidth of 1 MB" "[50, 33.333]" "$(get '[round(r["busbw"], 3) for r in f["rows"][0]["results"]]')"

bench all-reduce -np 2 -b 8 -e 2K -f 16 --rounds 2 --csv --plot p.svg --contender "$(fake a 5)" --contender "$(fake b 10)" >out 2>err
expect_eq "CSV: a line for each, and its head" 7 "$(wc -l <out)"
expect_match "a line of it" "2048,512,f32,sum,-1,b,in-place,10.0000,10.0000,10.0000,2,0.2048,0.2048,0,2.0000,2.0000,2.0000,fake" "$(cat out)"
expect_match "the picture" "^<svg .*</svg>" "$(cat p.svg)"

for fault in dies hangs says; do
	bench all-reduce -np 2 -b 8 -e 2K -f 16 --rounds 2 --timeout 5 --json --contender "$(fake good 5)" --contender "$(fake bad 5 $fault)" >out 2>err
	expect_eq "one $fault: the exit code" 1 $?
	case $fault in
	dies) why="rank 1 on here ended" ;;
	hangs) why="rank 0 on here did not answer within 5 s" ;;
	says) why="the cable is broken" ;;
	esac
	expect_match "one $fault: it is named, with the reason" "^lockstep bench: bad is lost: .*$why" "$(cat err)"
	expect_eq "one $fault: the other goes on" "[5, 5, 5]" "$(get '[round(row["results"][0]["time_us"], 6) for row in f["rows"]]')"
	expect_match "one $fault: in JSON, too" "$why" "$(get 'f["contenders"][1]["lost"]')"
done
bench all-reduce -np 2 -b 8 -e 8 --rounds 3 --contender "$(fake a 5 wrong)" >out 2>err
expect_eq "a wrong element: the exit code" 1 $?
expect_match "on each rank: counted" "# Wrong elements    : 2 FAILED" "$(cat out)"
bench all-reduce -np 2 -b 8 -e 8 --rounds 3 -c 0 --contender "$(fake a 5 wrong)" >out 2>err
expect_eq "-c 0: not counted" 0 $?
bench all-reduce -np 2 -b 8 -e 8 --contender "$(fake a 5)" --contender "$(fake b unsupported)" >out 2>err
expect_eq "what cannot be done is no failure" 0 $?
expect_match "but told" "b +in-place +n/a not today" "$(cat out)"
bench all-reduce -np 2 --contender "broken=echo no such thing >&2; exit 3" >out 2>err
expect_eq "none is left: the exit code" 1 $?
expect_match "and what it printed" "broken is lost: it ended before its ranks had said hello; it printed: no such thing" "$(cat err)"

refused() { expect_refused "$1" "$2" bench "${@:3}"; } # NAME REGEX ARGS...
refused "an operation that is none" "want one of: ckpt, all-reduce" gather
refused "a contender that is none" "'x' is no contender" allreduce --compare x
refused "a type that is none" "'f8' is no type; want some of f64" allreduce -d f8
refused "too many ranks" "--oversubscribe" allreduce -np 4096
refused "torch that is not there" "torch: /bin/false cannot import" allreduce --compare torch --python /bin/false

bench all-reduce -np 2 --contender "$(fake sleeper 5 hangs)" >out 2>err &
job=$!
wait_until 30 grep -q sleeper out
kill -TERM "$(pgrep -P $job)"
wait $job
expect_eq "SIGTERM: its exit code" 143 $?
expect_eq "no directory stays" "" "$(ls -d tmp/lockstep-bench-* 2>/dev/null)"
no_leftovers "no process stays"
