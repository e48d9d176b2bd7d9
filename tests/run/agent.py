"""A rank's side of its host's agent (core/hold_wire.h), in Python. Under `lockstep run`, by agent.sh and e2e/hosts.sh:

    agent.py        attempt 0: have a snapshot held; when all ranks have, and a file "go" is there, rank 1 kills itself
                    later: print what is held, "RANK/STEP", "+" for a copy, "damaged" if it is
    agent.py copy   the same, and a copy goes to the agent of the next rank's host
"""
import os
import signal
import socket
import struct
import sys
import time

REQUEST, HEAD, PAGE = "=III4xq", "=8sIIIIIii4xqQQQqq128s64s", 4096
HELLO, KEEP, LIST = 1, 2, 3
SEALED, STEP, IMAGE = 2, 7, 300000
rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


def crc32c(data):
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    crc = 0xFFFFFFFF
    for b in data:
        crc = crc >> 8 ^ table[(crc ^ b) & 0xFF]
    return crc ^ 0xFFFFFFFF


def image(r):
    return bytes([r + 1, 2, 3]) * (IMAGE // 3)


def head(r):
    return struct.pack(HEAD, b"LSSNAP1", SEALED, 1, crc32c(image(r)), 1, 0, r, world, STEP, IMAGE, PAGE + IMAGE, 0, 0, 0, b"", b"")


def ask(agent, what, fds=()):
    socket.send_fds(agent, [struct.pack(REQUEST, what, 0, 0, 0)], list(fds))
    while True:
        reply, got, _, _ = socket.recv_fds(agent, 4096, 1)
        status, more, copy, text = struct.unpack_from("=III256s", reply)
        assert reply and status == 0, text
        yield text.rstrip(b"\0").decode(), reply[272:], copy, got
        if not more:
            return


def wait_for(names):
    until = time.monotonic() + 30
    while not all(map(os.path.exists, names)):
        assert time.monotonic() < until, names
        time.sleep(0.02)


def name_file(name, text=""):
    with open(name + ".new", "w") as f:
        f.write(text)
    os.rename(name + ".new", name)


def send_copy(address):
    where, key = address.split()
    with socket.create_connection(where.rsplit(":", 1), 10) as s:
        s.sendall(key.encode() + head(rank))
        assert s.recv(256, socket.MSG_WAITALL)[:1] == b"\0"
        s.sendall(image(rank))
        assert s.recv(256, socket.MSG_WAITALL)[:1] == b"\0"


def hold(agent, address):
    fd = os.memfd_create("snap")
    os.write(fd, head(rank).ljust(PAGE, b"\0") + image(rank))
    list(ask(agent, KEEP, [fd]))
    name_file(f"address.{rank}", address)
    if len(sys.argv) > 1:
        wait_for([f"address.{r}" for r in range(world)])
        with open(f"address.{(rank + 1) % world}") as f:
            send_copy(f.read())
    name_file(f"kept.{rank}")
    print("kept", flush=True)
    wait_for([f"kept.{r}" for r in range(world)] + ["go"])
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def show(agent):
    found = []
    for _, h, copy, fds in ask(agent, LIST):
        if fds:
            v = struct.unpack_from(HEAD, h)
            whole = os.pread(fds[0], IMAGE, PAGE) == image(v[6])
            found.append(f"{v[6]}/{v[8]}" + "+" * copy + (" damaged" if not whole else ""))
    print("found", *sorted(found))


with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
    s.settimeout(10)
    s.connect("\0" + os.environ["LOCKSTEP_AGENT"])
    (where, _, _, _), = ask(s, HELLO)
    if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        hold(s, where)
    show(s)
