#!/usr/bin/env python3
"""bench_coll.py MICROSECONDS... [FAULT] -- ranks of `lockstep bench` that measure nothing: the n-th run takes so long, round and round.

FAULT, at the fourth run: "dies", "hangs", "says" (an error), "wrong" (one element on each rank); "unsupported" at each."""
import os
import signal
import socket
import sys

times = [float(a) for a in sys.argv[1:] if a[0].isdigit()]
fault = sys.argv[-1] if not sys.argv[-1][0].isdigit() else ""
world = int(os.environ["LOCKSTEP_BENCH_NP"])


def rank(r):
    port, *addresses = os.environ["LOCKSTEP_BENCH_AT"].split()
    sock = socket.create_connection((addresses[0], port))
    sock.sendall(f"hello {os.environ['LOCKSTEP_BENCH_TOKEN']} {os.environ['LOCKSTEP_BENCH_NAME']} {r} {world} {os.getpid()} -1 here No library\n".encode())
    for n, line in enumerate(sock.makefile("r")):
        if line == "quit\n":
            return
        now = fault if n == 3 else ""
        if now == "dies" and r == world - 1:
            os._exit(3)
        if now == "hangs" and r == 0:
            signal.pause()
        if now == "says":
            sock.sendall(b"error the cable is broken\n")
            return
        if fault == "unsupported":
            sock.sendall(b"unsupported not today\n")
            continue
        # The slowest rank counts.
        sock.sendall(f"time {times[n % len(times)] * (1 if r == 0 else 0.5) / 1e6} {int(now == 'wrong')} fake\n".encode())


ranks = []
for r in range(world):
    pid = os.fork()
    if pid == 0:
        rank(r)
        os._exit(0)
    ranks.append(pid)
signal.signal(signal.SIGTERM, lambda *_: [os.kill(p, signal.SIGKILL) for p in ranks] and sys.exit(1))
for pid in ranks:
    os.waitpid(pid, 0)
