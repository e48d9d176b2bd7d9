#!/usr/bin/env python3
"""coll_torch.py -- a rank program of `lockstep bench` on torch.distributed with gloo; the protocol, and what a rank does, is coll_wire.h's.

It differs from the C programs in two points, which cost nothing inside the timed part: the payload of all operations is made once and copied
from there, and each operation is timed by itself at every size, for next to what a call from Python costs the clock is nothing."""
import os
import socket
import sys
import time

PERIOD, STRIDE = 1021, 17


def bind(rank):
    cpus = os.environ.get("LOCKSTEP_BENCH_CPUS", "none")
    if cpus in ("", "none"):
        return -1
    cpu = int(cpus.split(",")[rank % len(cpus.split(","))])
    try:
        os.sched_setaffinity(0, {cpu})
    except OSError:
        return -1
    return cpu


rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
cpu = bind(rank)

import torch  # noqa: E402  its threads follow the binding
import torch.distributed as dist  # noqa: E402

TYPES = {"f64": torch.float64, "f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16, "i64": torch.int64, "i32": torch.int32}
OPS = {"sum": dist.ReduceOp.SUM, "avg": None, "min": dist.ReduceOp.MIN, "max": dist.ReduceOp.MAX}


class Unsupported(Exception):
    pass


def payload(rank, first, n):
    """Of coll_data.h, for operation 0; operation k begins STRIDE k elements later. As 64-bit integers."""
    j = (torch.arange(n, dtype=torch.int64) + first) % PERIOD
    return ((j * 2654435761 % (1 << 32) >> 20) + rank) % 5 - 2


def reduced(first, n, op):
    sums = payload(0, first, n)
    for r in range(1, world):
        mine = payload(r, first, n)
        sums = sums + mine if op == "sum" else torch.minimum(sums, mine) if op == "min" else torch.maximum(sums, mine)
    return sums


def repeated(values, n, dtype):
    """One period and more, so that any operation's n elements are a slice."""
    return values.to(dtype).repeat((n + PERIOD - 1) // PERIOD + 1)


def tensors(count, element_bytes):
    """coll_tensors.h's parts of an all-reduce."""
    path, _, bucket = os.environ.get("LOCKSTEP_BENCH_TENSORS", "").partition(":")
    if not path:
        return [count]
    with open(path) as f:
        sizes = [int(line.rpartition(",")[2]) for line in f if line[0] != "#" and not line.startswith("tensor,")]
    parts, filled = [], 0
    for n in reversed(sizes):
        filled += n
        if filled * element_bytes >= int(bucket or 1):
            parts.append(filled)
            filled = 0
    return parts + [filled] if filled else parts


class Run:
    def __init__(self, kind, dtype, op, root, count, in_place):
        self.kind, self.op, self.root, self.n = kind, OPS[op], root, count
        if kind in ("all-reduce", "reduce-scatter") and self.op is None:
            raise Unsupported("gloo has no average")
        if kind in ("all-reduce", "broadcast") and not in_place:
            raise Unsupported(f"torch's {kind} is in place")
        if kind == "reduce-scatter" and not hasattr(dist, "reduce_scatter_tensor"):
            raise Unsupported("this torch has no reduce_scatter_tensor")
        self.type, everything = TYPES[dtype], count * world
        whole = torch.zeros(everything if kind in ("reduce-scatter", "all-gather") else count, dtype=self.type)
        if kind == "reduce-scatter":
            self.send, self.recv = whole, whole[rank * count:(rank + 1) * count] if in_place else torch.zeros(count, dtype=self.type)
        elif kind == "all-gather":
            self.send, self.recv = whole[rank * count:(rank + 1) * count] if in_place else torch.zeros(count, dtype=self.type), whole
        else:
            self.send = self.recv = whole
        self.writes = kind != "broadcast" or root == rank
        self.first_sent = rank * count if kind == "all-gather" else 0
        self.sent = repeated(payload(rank, 0, PERIOD), self.send.numel(), self.type)
        self.expected(kind, op)
        self.parts = self.recv.split(tensors(count, self.recv.element_size())) if kind == "all-reduce" else []

    def expected(self, kind, op):
        n = self.n
        if kind == "all-gather":
            self.wants = [(repeated(payload(r, 0, PERIOD), n, self.type), r * n, self.recv[r * n:(r + 1) * n]) for r in range(world)]
        elif kind == "broadcast":
            self.wants = [(repeated(payload(self.root, 0, PERIOD), n, self.type), 0, self.recv)]
        elif kind != "barrier":
            self.wants = [(repeated(reduced(0, PERIOD, op), n, self.type), rank * n if kind == "reduce-scatter" else 0, self.recv)]
        else:
            self.wants = []

    def operate(self):
        if self.kind == "all-reduce":
            for work in [dist.all_reduce(part, self.op, async_op=True) for part in self.parts]:
                work.wait()
        elif self.kind == "reduce-scatter":
            dist.reduce_scatter_tensor(self.recv, self.send, self.op)
        elif self.kind == "all-gather":
            dist.all_gather([part for _, _, part in self.wants], self.send)
        elif self.kind == "broadcast":
            dist.broadcast(self.recv, self.root)
        else:
            dist.barrier()

    def once(self, k):
        """Seconds, and how many elements are wrong."""
        if self.writes and self.kind != "barrier":
            at = (self.first_sent + k * STRIDE) % PERIOD
            self.send.copy_(self.sent[at:at + self.send.numel()])
        if self.kind != "barrier":
            dist.barrier()
        begin = time.perf_counter()
        self.operate()
        seconds, wrong = time.perf_counter() - begin, 0
        for want, first, got in self.wants:
            at = (first + k * STRIDE) % PERIOD
            if not torch.equal(got, want[at:at + got.numel()]):
                wrong += int((got != want[at:at + got.numel()]).sum())
        return seconds, wrong

    def loop(self, warm, iters):
        dist.barrier()
        for k in range(warm):
            self.once(k)
        dist.barrier()
        results = [self.once(k) for k in range(warm, warm + iters)]
        return sum(s for s, _ in results) / iters, sum(w for _, w in results)


def answer(words):
    kind, dtype, op, root, count, warm, iters, in_place = words
    try:
        seconds, wrong = Run(kind, dtype, op, int(root), int(count), in_place == "1").loop(int(warm), int(iters))
    except Unsupported as e:
        return f"unsupported {e}"
    except (RuntimeError, ValueError) as e: # gloo refuses types and operations so, on all ranks alike
        text = str(e).splitlines()[0]
        return f"unsupported {text}" if "support" in text.lower() or "invalid" in text.lower() else f"error {text}"
    return f"time {seconds:.9g} {wrong} gloo"


def connect():
    port, *addresses = os.environ["LOCKSTEP_BENCH_AT"].split()
    for address in addresses:
        try:
            sock = socket.create_connection((address, port), timeout=5)
        except OSError:
            continue
        sock.settimeout(None)
        return sock
    sys.exit(f"coll_torch.py: nobody answers at {os.environ['LOCKSTEP_BENCH_AT']}")


def main():
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    sock = connect()
    lines = sock.makefile("r")
    sock.sendall(f"hello {os.environ['LOCKSTEP_BENCH_TOKEN']} {os.environ['LOCKSTEP_BENCH_NAME']} {rank} {world} {os.getpid()} {cpu} "
                 f"{socket.gethostname()} PyTorch {torch.__version__}, gloo\n".encode())
    for line in lines:
        word, *words = line.split()
        if word != "run":
            break
        said = answer(words)
        sock.sendall((said + "\n").encode())
        if said.startswith("error"):
            os._exit(1)
    dist.destroy_process_group()


main()
