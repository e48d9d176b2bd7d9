#!/bin/bash
# `lockstep run` on this machine, by hand: exit codes, output, environment, refusals. Nothing here trains.
. "$(dirname "$0")/../lib.sh"

run() { out=$(timeout 60 lockstep run "${NOLEAKS[@]}" "$@" 2>err); code=$?; err=$(<err); }

run -np 2 -- sh -c 'echo hello from $RANK of $WORLD_SIZE'
expect_eq "a good run ends with 0" 0 "$code"
expect_eq "lines are prefixed by their rank" $'[0] hello from 0 of 2\n[1] hello from 1 of 2' "$(sort <<<"$out")"
expect_eq "and a program that said nothing of steps leaves stderr alone, but for sharing cores" "" "$(grep -v warning <<<"$err")"
expect_eq "each rank's output is kept in the job's directory" "hello from 1 of 2" "$(cat lockstep-runs/sh-*/attempt-0/rank-00001.log)"
no_leftovers "nothing stays after a good run"

run -np 2 --no-prefix -- sh -c 'echo plain; echo broken >&2; printf unfinished'
expect_eq "without prefix, and the last line needs no newline" $'plain\nplain\nunfinished\nunfinished' "$(sort <<<"$out")"
expect_eq "stderr stays stderr" 2 "$(grep -c '^broken$' <<<"$err")"

run -np 1 -q "$B/examples/hello"
expect_match "a plain MPI program runs unmodified" 'of 1' "$out"
run -np 2 "$B/examples/hello"
expect_eq "in a world of 2" 2 "$(grep -c 'of 2' <<<"$out")"

run -np 2 -x A=1 -x HOME -- sh -c 'echo $A $HOME'
expect_eq "-x sends variables" "[0] 1 $HOME" "$(grep '^.0' <<<"$out")"
run -np 2 --wdir / -- pwd
expect_eq "--wdir" "[0] /" "$(grep '^.0' <<<"$out")"
out=$(printf 'one\ntwo\n' | timeout 60 lockstep run -np 2 -- cat 2>&1)
expect_eq "stdin goes to rank 0" $'[0] one\n[0] two' "$out"
run -np 2 -- sh -c 'yes 0123456789 | head -200000'
expect_eq "much output arrives whole" 400000 "$(wc -l <<<"$out")"

run -np 2 -- sh -c 'echo last words >&2; exit $((RANK * 3))'
expect_eq "the program's own exit code" 3 "$code"
expect_match "and its story: rank, host, code" "failed: rank 1 on host .* exited with code 3" "$err"
expect_match "with its last lines" "last words" "$err"
run -np 2 -- sh -c '[ $RANK = 0 ] && kill -SEGV $$; sleep 60'
expect_eq "128 + signal" 139 "$code"
expect_match "the signal's name" 'killed by signal 11 \(SIGSEGV\)' "$err"
run -np 2 ./no-such-program
expect_eq "a program that is not there is 127" 127 "$code"
expect_match "and named" "cannot start the program ./no-such-program: No such file" "$err"
run -np 2 --wdir /no/such/dir true
expect_match "a working directory that is not there" "working directory /no/such/dir: No such file" "$err"
mkdir -p venv/bin && printf '#!/bin/sh\necho mine\n' >venv/bin/python3 && chmod +x venv/bin/python3
out=$(PATH=$PWD/venv/bin:$PATH timeout 60 lockstep run -np 1 -- python3 2>&1 </dev/null)
expect_eq "a virtual environment's programs come first for the ranks, too" "[0] mine" "$out"
out=$(env -i LOCKSTEP_TEST_ID="$LOCKSTEP_TEST_ID" timeout 60 "$B/lockstep" run -np 1 -- sh -c 'echo ${LD_LIBRARY_PATH-none}; ls -d /' 2>&1 </dev/null)
expect_eq "in an empty environment, as cron's nearly is" $'[0] none\n[0] /' "$out"
cat >early.c <<'C'
#include <mpi.h>
#include <stdlib.h>
int main(int argc, char **argv)
{
	int rank;
	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	if (rank == 1)
		exit(0);
	MPI_Barrier(MPI_COMM_WORLD);
	MPI_Finalize();
}
C
mpicc early.c -o early
run -np 2 ./early
expect_eq "a rank that leaves with 0 without MPI_Finalize: no success" 1 "$code"
expect_match "and it is named, not the one that waited" "rank 1 on host localhost exited with code 0 while other ranks were running.*MPI_Finalize" "$err"
run --dir shared --name a -np 1 true
run --dir shared --name b -np 1 true
expect_eq "another job in the same directory is refused" 2 "$code"
expect_match "with both names" "directory of job 'a', this is 'b'" "$err"
no_leftovers "nothing stays after failures"

run -np 1 --max-restarts 1 -- sh -c 'echo attempt $TORCHELASTIC_RESTART_COUNT of $TORCHELASTIC_MAX_RESTARTS; kill -9 $$'
expect_eq "75 when restarts are used up" 75 "$code"
expect_eq "there was one restart" 2 "$(grep -c '^.0. attempt' <<<"$out")"
run -np 2 --max-restarts 3 -- sh -c 'exit 5'
expect_eq "an exit code below 128 is not retried" "5 0" "$code $(grep -c restarting <<<"$err")"
run -np 1 --timeout 1 --grace 1 -- sleep 60
expect_eq "124 when the time is over" 124 "$code"
run -np 1 --timeout 1 -- sh -c 'trap "exit 0" TERM; sleep 60 & wait'
expect_eq "also for a program that leaves with 0 when told" 124 "$code"
(timeout 20 lockstep run -np 1 -- sh -c 'echo lost; exit 3' <&- >&- 2>&-)
expect_eq "without any standard stream: its own code" 3 $?
(timeout 40 lockstep run -np 1 -- sh -c 'echo first; sleep 0.3; seq 1 100000' 2>err; echo $? >code) | (sleep 12; tail -1 >last)
expect_eq "a reader that pauses loses nothing, and is no failure" "0 [0] 100000" "$(<code) $(<last)"
(timeout 20 lockstep run -np 1 --timeout 1 -- yes 2>err; echo $? >code) | sleep 4
expect_eq "a reader that never reads cannot hold up the deadline" 124 "$(<code)"
run -np 2 -- sh -c 'sleep 1000 & setsid sleep 1000 & exit 0'
expect_eq "children that a program leaves behind" 0 "$code"
no_leftovers "are ended with it"

run -np 2 --max-restarts 0 -x LS=1 --mca btl self,vader -- sh -c 'echo $OMPI_MCA_btl'
expect_match "the user's own Open MPI parameters win" "self,vader" "$out"

run -np 1 -- sh -c 'echo ${MALLOC_MMAP_MAX_-none} ${LOCKSTEP_PROGRESS-none}'
expect_match "ranks keep the memory that they free, and are told how sums go on" '^.0. 0 (calls|auto)$' "$out"
run -np 1 -x LOCKSTEP_MALLOC=default -x LOCKSTEP_PROGRESS=calls -- sh -c 'echo ${MALLOC_MMAP_MAX_-none} ${LOCKSTEP_PROGRESS_CPU-none}'
expect_eq "or not, when told so" "[0] none none" "$out"

# --- bad input: a clear word, exit code 2, nothing started ------------------------------------------------------------------

refused() { # NAME WORDS ARGS...
	run "${@:3}"
	expect_eq "$1: exit code" 2 "$code"
	expect_match "$1: words" "$2" "$err"
}
rm -rf lockstep-runs
refused "a misspelt option" "did you mean --hostfile" --hostfle x true
refused "a variable that says who a rank is" "RANK .*set by lockstep" -np 1 -x RANK=7 true
refused "memory settings of no known kind" "LOCKSTEP_MALLOC: 'of' is not known; want keep" -np 1 -x LOCKSTEP_MALLOC=of true
refused "no program" "what to run" -np 2
refused "more ranks than the slots that were given" "4 ranks asked for, but the hosts have 2 slots" -np 4 -H localhost:2 true
refused "an mpirun that is not there" "no /no/mpirun found" --mpirun /no/mpirun -np 1 true
printf '#!/bin/sh\necho "mpiexec (MPICH) 4.0"\n' >mpich && chmod +x mpich
refused "an mpirun of another kind" "is not Open MPI" --mpirun ./mpich -np 1 true
refused "a manifest that is not there" "nowhere.yaml" -f nowhere.yaml
sed 's/ranksPerWorker/ranksPerWorkr/' "$ROOT/examples/digits/digits.yaml" >bad.yaml
refused "a misspelt field: file, line, path, nearest name" "bad.yaml:[0-9]+.*spec.workers.ranksPerWorkr.*ranksPerWorker" -f bad.yaml
refused "two workers and one machine" "spec.workers.replicas is 2.*--local" -f "$ROOT/examples/digits/digits.yaml" --set spec.workers.replicas=2
refused "S3 is named as not there yet" "s3" -f "$ROOT/examples/digits/digits.yaml" --set spec.checkpoint.uri=s3://b/p
expect_eq "nothing was started, nothing was made" "" "$(ls -d lockstep-runs 2>/dev/null)"

# --- dry run -------------------------------------------------------------------------------------------------------------------

run -np 2 --dry-run -- prog --flag
expect_eq "a dry run" 0 "$code"
for want in "RANK +HOST" "WORLD_SIZE=2" "MASTER_ADDR=127.0.0.1" "--hostfile" "lockstep rank" "localhost slots=2" "prog --flag"; do
	expect_match "the plan shows $want" "$want" "$out"
done
expect_no_match "but no secret" "LOCKSTEP_TOKEN=" "$out"
run --local --dry-run -f "$ROOT/examples/digits/digits.yaml" --set spec.workers.replicas=2 --set spec.workers.ranksPerWorker=2
expect_match "two workers on one machine are added up as on two" "WORLD_SIZE=4.*LOCKSTEP_SUM_GROUP=2" "$out"
expect_eq "and nothing was made" "" "$(ls -d lockstep-runs 2>/dev/null)"

# --- one launcher per job directory ------------------------------------------------------------------------------------------------

env --default-signal=INT lockstep run --dir job -np 1 -- sleep 30 >/dev/null 2>&1 & # bash ignores INT in the background
first=$!
wait_until 10 test -s job/attempt-0/hosts
refused "a second launcher in the same directory" "another lockstep run is at work" --dir job -np 1 true
kill -INT $first
wait $first
expect_eq "Ctrl-C is 130" 130 $?
no_leftovers "nothing stays after Ctrl-C"
