#!/bin/bash
# State of every kind comes back from memory, the rows of a sharded tensor dealt out in another way.
. "$(dirname "$0")/../lib.sh"

cat >job.yaml <<YAML
apiVersion: lockstep.dev/v1alpha1
kind: TrainingJob
metadata: {name: rows}
spec:
  workers: {ranksPerWorker: 2, template: {spec: {containers: [{name: rows, command: [$B/tests/rows]}]}}}
  checkpoint: {memory: {everySteps: 5}}
YAML
out=$(lockstep run -f job.yaml --dir job "${NOLEAKS[@]}" 2>&1)
expect_eq "a restart with other rows ends well" 0 $?
expect_match "from memory" "resumed from step 20, in memory" "$out"
expect_eq "every value is there, on both ranks" 2 "$(grep -c '\] step 20, 0 wrong' <<<"$out")"
no_leftovers "nothing stays"
