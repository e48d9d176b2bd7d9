#!/bin/bash
# limit: 120
# Failures that nobody reports: a rank that hangs, a rank that the kernel kills for want of memory. And a job's cores are those of the
# cgroup it was started in. The programs are scripts that speak the event protocol, as any language can.
. "$(dirname "$0")/../lib.sh"

# Both ranks do 3 steps; in the first attempt rank 1 then stops making progress.
cat >stuck.sh <<'P'
#!/bin/bash
exec {fd}>&"$LOCKSTEP_EVENT_FD"
for s in 1 2 3; do echo "progress step=$s total=5 loss=0.$s samples=8" >&$fd; sleep 0.1; done
[ "$RANK" = 0 ] || [ "$LOCKSTEP_ATTEMPT" != 0 ] || sleep 1000
for s in 4 5; do echo "progress step=$s total=5 loss=0.$s samples=8" >&$fd; sleep 0.1; done
[ "$RANK" = 0 ] && [ "$LOCKSTEP_ATTEMPT" = 0 ] && sleep 1000
exit 0
P
chmod +x stuck.sh
cat >job.yaml <<'Y'
apiVersion: lockstep.dev/v1alpha1
kind: TrainingJob
metadata: {name: stuck}
spec:
  workers:
    ranksPerWorker: 2
    template: {spec: {containers: [{name: train, command: [./stuck.sh]}]}}
  runPolicy: {hangTimeoutSeconds: 2}
Y
timeout 60 lockstep run -f job.yaml --dir stuck >out 2>&1 </dev/null
expect_eq "a hang is noticed, and the next attempt succeeds" 0 $?
expect_match "the rank that lags is named, with its step" "hang: rank 1 on host localhost made no progress for 2 s after step 3" "$(cat out)"
expect_match "what its threads waited in is in its log" "threads when it hung.*thread [0-9]+:" "$(cat stuck/attempt-0/rank-00001.log)"
expect_eq "the steps of both attempts are in the table" "5 5" "$(awk -F, '$2 == 0 { n[$1]++ } END { print n[0], n[1] }' stuck/steps.csv)"
no_leftovers "nothing stays after a hang"

# --- out of memory ---------------------------------------------------------------------------------------------------------------

group=/sys/fs/cgroup/memory/lockstep-test-$$
if mkdir "$group" 2>/dev/null; then
	echo 80M >"$group/memory.limit_in_bytes"
	cat >hungry.sh <<'P'
#!/bin/bash
[ "$RANK" = 1 ] || exec sleep 100
echo $$ >"$1/cgroup.procs"
exec python3 -c 'b = bytearray(400 << 20); print(len(b))'
P
	chmod +x hungry.sh
	timeout 60 lockstep run -np 2 -- ./hungry.sh "$group" >out 2>&1 </dev/null
	expect_eq "killed for want of memory: 128 + 9" 137 $?
	expect_match "and it says so" "rank 1 on host localhost was killed by the kernel for want of memory \(OOM" "$(cat out)"
	rmdir "$group"
else
	skip "killed for want of memory" "needs a memory cgroup (version 1) that can be written"
fi

# --- the cpuset it is started in ----------------------------------------------------------------------------------------------------

out=$(taskset -c 1 timeout 60 lockstep run -np 2 -- sh -c 'grep Cpus_allowed_list /proc/self/status' 2>err </dev/null)
expect_eq "ranks stay within the cores that the launcher was given" 2 "$(grep -cP 'list:\t1$' <<<"$out")"
expect_match "and sharing one is said" "warning: .*(share|core)" "$(cat err)"
no_leftovers "nothing stays"
