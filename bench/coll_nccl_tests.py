#!/usr/bin/env python3
"""coll_nccl_tests.py FOLDER -- NVIDIA's nccl-tests as a contender of `lockstep bench --device cuda`:

    lockstep bench all-reduce --device cuda --compare nccl,peer-nccl --contender "nccl-tests=python3 coll_nccl_tests.py /path/to/nccl-tests/build"

FOLDER has its all_reduce_perf and the others. One process drives all GPUs (-g), on this host; each `run` of bench/coll_wire.h is one start of
the program, whose own figure is told. So its ranks do not wait between two runs as others do: they are not there."""
import os
import socket
import subprocess
import sys

PROGRAMS = {"all-reduce": "all_reduce_perf", "reduce-scatter": "reduce_scatter_perf", "all-gather": "all_gather_perf", "broadcast": "broadcast_perf"}
TYPES = {"f64": ("double", 8), "f32": ("float", 4), "f16": ("half", 2), "bf16": ("bfloat16", 2), "i64": ("int64", 8), "i32": ("int32", 4)}
# A row: size count type redop root, then time algbw busbw #wrong out of place and in place.
FIRST = 5
world = int(os.environ["LOCKSTEP_BENCH_NP"])


def whole_bytes(kind, dtype, count):
    return count * TYPES[dtype][1] * (world if kind in ("reduce-scatter", "all-gather") else 1)


def measure(folder, kind, dtype, op, root, count, warm, iters, in_place):
    """What each rank answers; rank 0 alone tells wrong elements, as they are not known by rank."""
    if kind not in PROGRAMS:
        return ["unsupported nccl-tests has no barrier"] * world
    size = str(whole_bytes(kind, dtype, int(count)))
    command = [os.path.join(folder, PROGRAMS[kind]), "-g", str(world), "-b", size, "-e", size, "-n", iters, "-w", warm, "-d", TYPES[dtype][0], "-c", "1"]
    command += ["-o", op] if kind in ("all-reduce", "reduce-scatter") else ["-r", root] if kind == "broadcast" else []
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in done.stdout.splitlines():
        row = line.split()
        if len(row) >= FIRST + 8 and row[0] == size:
            time, _, _, wrong = row[FIRST + 4 * int(in_place):][:4]
            wrong = wrong if wrong.isdigit() else "0"
            return [f"time {float(time) * 1e-6:.9g} {wrong if rank == 0 else 0} -" for rank in range(world)]
    last = (done.stdout.strip().splitlines() or [f"no output, exit code {done.returncode}"])[-1]
    return [f"error {' '.join(command)}: {last}"] * world


def main(folder):
    port, *addresses = os.environ["LOCKSTEP_BENCH_AT"].split()
    ranks = []
    for rank in range(world):
        sock = socket.create_connection((addresses[0], port))
        sock.sendall(f"hello {os.environ['LOCKSTEP_BENCH_TOKEN']} {os.environ['LOCKSTEP_BENCH_NAME']} {rank} {world} {os.getpid()} -1 "
                     f"{socket.gethostname()} nccl-tests\n".encode())
        ranks.append(sock.makefile("rw"))
    while True:
        lines = [rank.readline() for rank in ranks]
        if not all(line.startswith("run ") for line in lines):
            return
        for rank, answer in zip(ranks, measure(folder, *lines[0].split()[1:])):
            rank.write(answer + "\n")
            rank.flush()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
