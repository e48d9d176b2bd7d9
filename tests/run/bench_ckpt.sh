#!/bin/bash
# lockstep bench ckpt: its figures are there, and nothing else stays, also when it is stopped in the middle.
. "$(dirname "$0")/../lib.sh"
[ ${#NOLEAKS[@]} = 0 ] || export "${NOLEAKS[1]}" # its ranks get no -x
small=(--mib 8 --step-ms 2 --saves 2)
bench() { timeout 100 "$B/lockstep" bench ckpt "$@"; }
left() { find . -mindepth 1 -not -name '.*' -not -name out -not -name err -not -name like.safetensors; }

bench --json -np 2 "${small[@]}" >out 2>err
expect_eq "it ends well" 0 $?
expect_eq "every figure is there, and above 0" "" "$(python3 -c '
import json
f = json.load(open("out"))
for name in ("state_mib", "ranks", "cores", "memcpy_ms", "stall_ms", "stall_ratio", "step_ms", "saving_step_ms", "step_ratio", "published_ms",
             "restore_memory_ms", "restore_store_ms"):
    if not f.get(name, 0) > 0:
        print(name, f.get(name))
')" "$(cat out err)"
expect_eq "of the state that was asked for" "8 2" "$(python3 -c 'import json; f = json.load(open("out")); print(round(f["state_mib"]), f["ranks"])')"
expect_eq "nothing stays" "" "$(left)"

mkdir store
python3 -c '
import json, struct
header = json.dumps({"a": {"dtype": "F32", "shape": [1024, 1024], "data_offsets": [0, 1 << 22]}}).encode()
open("like.safetensors", "wb").write(struct.pack("<Q", len(header)) + header + bytes(1 << 22))'
out=$(bench -np 1 "${small[@]:2}" --like like.safetensors --uri "file://$PWD/store" 2>&1)
expect_match "a state like that of a file" "^lockstep bench ckpt: saving below file://$PWD/store/.*"$'\n4 MiB of state, 1 rank' "$out"
expect_eq "the store is as it was" ./store "$(left)"
rmdir store

lockstep bench ckpt -np 2 --mib 8 --saves 1000 >out 2>err &
job=$!
wait_until 30 eval 'compgen -G "lockstep-bench-*/checkpoints/step-*/manifest.json" >/dev/null'
kill -TERM $job
wait $job
expect_eq "SIGTERM: its exit code" 143 $?
expect_eq "SIGTERM: nothing stays" "" "$(left)"

out=$(bench --uri ftp://x 2>&1)
expect_eq "a URI that is none: the exit code" 2 $?
expect_match "and what is wrong" "^lockstep bench: .*ftp://x" "$out"
no_leftovers "no process stays"
