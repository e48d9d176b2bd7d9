#!/usr/bin/env python3
"""ckpt_torch.py -- what a checkpoint costs with PyTorch: torch.save, and torch.distributed.checkpoint, sync and async.

    $(bench/setup-torch.sh)/bin/python bench/ckpt_torch.py --mib 256 --dir DIR [--repeats 5] [--modes A,B]

2 ranks (torchrun's; or as many as start it), gloo, one thread each, a replicated state. Prints a line of JSON per repeat and mode:

    stall_ms     the training thread is held so long: torch.save and dcp.save whole, async_save until it returns, and what the step after
                 it waits for the copy to end, if that is in the background. The slowest rank's.
    total_ms     from the same start until the bytes are durable. torch.save flushes nothing: an fsync behind it is counted here, not in
                 the stall. dcp flushes its files, not their directories.
    cpu_s        of all ranks and their children, beyond what the training steps meanwhile took
    memcpy_ms    a copy of the whole state into memory that is there already, all ranks at once: median of 5, the slowest rank's
    step_ms, step_ms_during      median of an undisturbed step, and of those during the write (null: none)
    written_mib  what lies in DIR afterwards

Modes alternate within a repeat. Dirty pages are flushed before each, and the directory is removed after it.
"""
import argparse
import json
import os
import shutil
import statistics
import time

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions
from torch.distributed.checkpoint.state_dict_saver import AsyncCheckpointerType

import torch_state

SETTLE = 5  # steps before and after a save


def cpu_s():
    """Of this process and its children that live (dcp's background process)."""
    ticks = 0
    for pid in [os.getpid(), *open(f"/proc/self/task/{os.getpid()}/children").read().split()]:
        with open(f"/proc/{pid}/stat") as f:
            ticks += sum(map(int, f.read().rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def worst(value):
    t = torch.tensor([value], dtype=torch.float64)
    dist.all_reduce(t, op=dist.ReduceOp.MAX)
    return t.item()


def summed(value):
    t = torch.tensor([value], dtype=torch.float64)
    dist.all_reduce(t)
    return t.item()


def torch_save(state, path):
    """Rank 0 writes all; the others meet it in their next step."""
    if dist.get_rank() == 0:
        torch.save(state, os.path.join(path, "state.pt"))
    stalled = time.perf_counter()
    if dist.get_rank() == 0:
        with open(os.path.join(path, "state.pt"), "rb") as f:
            os.fsync(f.fileno())
    dist.barrier()
    return stalled


def dcp_save(state, path):
    dcp.save(state, checkpoint_id=path)
    return time.perf_counter()


class Async:
    """dcp.async_save with a process group of its own, since training goes on in the other. With `options` the stager and its memory are kept."""

    def __init__(self, options=None, kind=AsyncCheckpointerType.THREAD):
        self.kind = kind
        self.stager = options and DefaultStager(options)
        self.group = dist.new_group(backend="gloo")

    def __call__(self, state, path):
        return dcp.async_save(state, checkpoint_id=path, process_group=self.group, async_checkpointer_type=self.kind,
                              async_stager=self.stager)


def modes():
    def copy(in_background=False, shared=False):
        return StagingOptions(use_pinned_memory=False, use_shared_memory=shared, use_async_staging=in_background,
                              use_non_blocking_copy=False)
    return {"torch.save": lambda: torch_save,
            "dcp.save": lambda: dcp_save,
            "dcp.async_save": Async,
            "dcp.async_save, memory kept": lambda: Async(copy()),
            "dcp.async_save, memory kept, copy in background": lambda: Async(copy(in_background=True)),
            "dcp.async_save, memory kept, in a process": lambda: Async(copy(shared=True), AsyncCheckpointerType.PROCESS)}


class Training:
    def __init__(self, ms):
        self.work = torch_state.step_maker(ms)
        self.one = torch.ones(1)

    def step(self, staged=None):
        """One step's ms, and how much of it waited for a copy: weights must not change under it."""
        begun = time.perf_counter()
        self.work()
        dist.all_reduce(self.one)
        computed = time.perf_counter()
        if staged:
            staged.result()
        return (time.perf_counter() - begun) * 1e3, (time.perf_counter() - computed) * 1e3

    def steps(self, n):
        return [self.step()[0] for _ in range(n)]


def agreed(done):
    """A loop's end must be the same step on all ranks."""
    return summed(float(done)) == dist.get_world_size()


def measure(save, state, training, path):
    if dist.get_rank() == 0:
        os.makedirs(path)
        os.sync()
    dist.barrier()
    before = cpu_s()
    undisturbed = training.steps(SETTLE)
    cpu_step = (cpu_s() - before) / SETTLE
    dist.barrier()
    before, begun = cpu_s(), time.perf_counter()
    answer = save(state, path)
    stall = (time.perf_counter() - begun) * 1e3
    during, total = [], []
    if isinstance(answer, float):
        total, stall = [stall], (answer - begun) * 1e3
    else:
        upload = getattr(answer, "upload_completion", answer)
        upload.add_done_callback(lambda _: total.append((time.perf_counter() - begun) * 1e3))
        ms, waited = training.step(getattr(answer, "staging_completion", None))
        during, stall = [ms - waited], stall + waited
        while not agreed(upload.done()):
            during.append(training.step()[0])
        upload.result()
    cpu = cpu_s() - before - cpu_step * len(during)
    undisturbed += training.steps(SETTLE)
    figures = {"stall_ms": worst(stall), "total_ms": worst(total[0]), "cpu_s": summed(cpu),
               "step_ms": worst(statistics.median(undisturbed)), "step_ms_during": worst(statistics.median(during)) if during else None}
    dist.barrier()
    figures["written_mib"] = sum(f.stat().st_size for f in os.scandir(path)) / 2**20
    dist.barrier()
    if dist.get_rank() == 0:
        shutil.rmtree(path)
    return figures


def memcpy_ms(state):
    target = {name: torch.zeros_like(t) for name, t in state.items()}
    times = []
    for _ in range(5):
        dist.barrier()
        begun = time.perf_counter()
        for name, t in state.items():
            target[name].copy_(t)
        times.append((time.perf_counter() - begun) * 1e3)
    return worst(statistics.median(times))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--dir", required=True, help="on a disk")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--step-ms", type=float, default=50)
    parser.add_argument("--modes", default="", help="separated by ';'; default: all")
    args = parser.parse_args()
    rank, world = torch_state.join()
    table = modes()
    savers = {name: table[name]() for name in (args.modes.split(";") if args.modes else table)}
    state, training = torch_state.state(args.mib), Training(args.step_ms)
    for repeat in range(args.repeats + 1):
        for name, save in savers.items():
            copy = memcpy_ms(state)
            figures = measure(save, state, training, os.path.join(args.dir, "ckpt_torch"))
            if rank == 0 and repeat:  # the first round warms up: a kept stager has its memory, the background process is there
                figures = {key: value if value is None else round(value, 2) for key, value in (figures | {"memcpy_ms": copy}).items()}
                print(json.dumps({"mode": name, "repeat": repeat, "ranks": world, "mib": args.mib, "torch": torch.__version__} | figures),
                      flush=True)
    dist.barrier()
    for save in savers.values():
        if isinstance(save, Async) and save.stager:
            save.stager.close()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
