#!/bin/bash
# lockstep ckpt, as people use it: import, ls, show, verify, gc, export.
. "$(dirname "$0")/../lib.sh"

"$B/tests/test_safetensors" --write model.safetensors
"$B/tests/test_safetensors" --read model.safetensors | grep -v __metadata__ | sort >want

for command in ckpt report; do
	expect_eq "$command: an option that is none" "lockstep $command: unrecognized option '--kepe'"$'\n'"lockstep $command --help lists the options" \
		"$(lockstep $command --kepe 2>&1)"
done
expect_eq "a value that reads like a command" "lockstep bench ckpt --help lists the options" "$(lockstep bench --uri ckpt 2>&1)"
out=$(lockstep ckpt import model.safetensors new/store 2>&1)
expect_eq "a store whose parent is not there is refused" 1 $((!!$?))
out=$(lockstep ckpt import model.safetensors store --step 300 2>&1)
expect_match "a file becomes a checkpoint" "10 tensors are step 300, generation 1 in file://$TMP/store" "$out"
lockstep ckpt import model.safetensors store --step 100 >/dev/null
expect_match "ls has the newest generation first" $'100 +2 +1 +1 +[0-9]+  whole\n +300 +1 +1' "$(lockstep ckpt ls store)"
expect_match "ls for programs" '"step": 100, "generation": 2, "state": "whole"' "$(lockstep ckpt ls store --json)"
expect_match "show has the newest" $'step        100\ngeneration  2' "$(lockstep ckpt show store)"
expect_match "or the one that is asked for" $'step        300\ngeneration  1' "$(lockstep ckpt show store --generation 1)"
out=$(lockstep ckpt show store --step 200 2>&1)
expect_eq "a step that is not there" 1 $?
expect_eq "and what is said" "lockstep ckpt show: file://$TMP/store has no checkpoint of step 200; lockstep ckpt ls shows those that are there" "$out"
expect_match "verify reads one" "300 +1 .* whole" "$(lockstep ckpt verify store --step 300)"

lockstep ckpt export store -o out.safetensors >/dev/null
"$B/tests/test_safetensors" --read out.safetensors | grep -v __metadata__ | sort >got
expect_eq "export gives the tensors back" "" "$(diff want got)"
out=$(lockstep ckpt export store -o out.safetensors 2>&1)
expect_eq "a file that is there stays" 1 $?
expect_match "and --force is named" "--force" "$out"
lockstep ckpt export store --step 300 -o out.safetensors --force >/dev/null
expect_eq "which replaces it" 0 $?

expect_eq "nothing to clean up but a claim" "would delete generation-00000001.json: an old claim" "$(lockstep ckpt gc store --dry-run)"
mkdir store/step-000000000250-g00000001
cp model.safetensors store/step-000000000250-g00000001/rank-00000.safetensors
touch store/step-000000000300-g00000001/.tmp-abcdef
before=$(find store | sort)
out=$(lockstep ckpt gc store --keep 1 --dry-run)
expect_match "a dry run names the shards without manifest" "would delete step-000000000250-g00000001: 1 objects, [0-9]+ bytes: no manifest" "$out"
expect_match "the checkpoint that is not kept" "would delete step-000000000300-g00000001: 2 objects, [0-9]+ bytes: older than all" "$out"
expect_match "and the put that never ended" "would delete 1 unfinished put" "$out"
expect_eq "and deletes nothing" "$before" "$(find store | sort)"
expect_eq "without --keep every whole one stays" 2 "$(lockstep ckpt gc store >/dev/null; ls -d store/step-* | wc -l)"
lockstep ckpt gc store --keep 1 >/dev/null
expect_eq "--keep 1" "generation-00000002.json step-000000000100-g00000002" "$(ls store | xargs)"
expect_eq "a second time" "nothing to delete in file://$TMP/store" "$(lockstep ckpt gc store)"

mkdir job && mv store job/checkpoints
out=$(lockstep ckpt ls job 2>&1)
expect_match "a job's directory is looked into" "job is a job's directory: looking into job/checkpoints" "$out"
expect_match "and its checkpoints are found" "100 +2 .* whole" "$out"

for words in "" "ls" "ls job job" "gc job --json" "gc job --keep 0" "export job" "import job" "import want job" "show job --force" \
	"show job --step x" "import model.safetensors job --step 1000000000000"; do
	# shellcheck disable=SC2086
	lockstep ckpt $words >/dev/null 2>&1
	expect_eq "lockstep ckpt $words" 1 $((!!$?))
done
expect_eq "what was refused has claimed nothing" "generation-00000002.json" "$(cd job/checkpoints && ls -d generation-*)"
no_leftovers "nothing stays"
