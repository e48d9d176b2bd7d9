#!/bin/bash
# Whatever ends the launcher or its engine, the whole job goes down within seconds, and leaves nothing on this machine.
. "$(dirname "$0")/../lib.sh"

# Programs that make it hard: children in other sessions, a deaf ear for SIGTERM.
cat >prog.sh <<'P'
#!/bin/bash
trap '' TERM HUP
sleep 1000 &
setsid sleep 1000 &
echo up
while :; do sleep 1; done
P
chmod +x prog.sh

start() {
	rm -f out # or the last run's words would count
	env --default-signal=INT,HUP lockstep run --dir job --grace 1 -np 2 ./prog.sh >out 2>&1 </dev/null &
	launcher=$!
	wait_until 20 eval '[ "$(grep -c up out)" = 2 ]' || fail "$1: the ranks are up" "$(cat out)"
}

ours() { # COMMAND REGEX: process ids of this test's processes
	local e
	for e in $(grep -lsF "LOCKSTEP_TEST_ID=$LOCKSTEP_TEST_ID" /proc/[0-9]*/environ); do
		[[ "$(tr '\0' ' ' <"${e%/environ}/cmdline")" =~ $1 ]] && echo "${e//[!0-9]/}"
	done 2>/dev/null
}

for sig in TERM INT HUP KILL; do
	start $sig
	kill -$sig $launcher
	wait $launcher 2>/dev/null
	code=$?
	expect_eq "SIG$sig to the launcher: its exit code" $((128 + $(kill -l $sig))) $code
	no_leftovers "SIG$sig to the launcher: nothing stays" 8
	rm -rf job
done

start mpirun
kill -9 $(ours '^[^ ]*mpirun ')
wait $launcher
expect_match "mpirun killed: it is said" "mpirun was killed by signal 9" "$(cat out)"
no_leftovers "mpirun killed: nothing stays" 8
rm -rf job

start both
kill -9 $launcher $(ours '^[^ ]*mpirun ')
wait $launcher 2>/dev/null
no_leftovers "launcher and mpirun killed at once: nothing stays" 8
rm -rf job

start all
kill -9 $launcher $(ours '^[^ ]*mpirun ') $(ours 'lockstep rank')
wait $launcher 2>/dev/null
# The reapers are among those killed: nobody is left who could remove the directories, but nothing may run.
sleep 1
expect_eq "everything of ours killed at once: no program runs on" "" "$(ours 'prog.sh' | head -1)"
rm -rf /dev/shm/lockstep-* /tmp/lockstep-[0-9]*
kill -9 $(ours 'sleep 1000') 2>/dev/null
rm -rf job

# A closed terminal: script(1) gives the launcher one, and is killed.
start=$SECONDS
python3 - <<'P'
import os, pty, signal, sys, time
pid, fd = pty.fork()
if pid == 0:
    os.execvp("lockstep", ["lockstep", "run", "--dir", "job", "--grace", "1", "-np", "2", "./prog.sh"])
seen = b""
until = time.monotonic() + 20
while seen.count(b"up") < 2 and time.monotonic() < until:
    seen += os.read(fd, 4096)
os.close(fd)                      # the terminal goes: SIGHUP
_, status = os.waitpid(pid, 0)
sys.exit(0 if os.waitstatus_to_exitcode(status) == 129 else 1)
P
expect_eq "a closed terminal ends the launcher with 129" 0 $?
no_leftovers "a closed terminal: nothing stays" 8
