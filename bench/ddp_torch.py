#!/usr/bin/env python3
"""ddp_torch.py -- a step of PyTorch's DDP on CPUs: with lockstep_ddp's hook, with gloo, and without communication.

    python=$(bench/setup-torch.sh)/bin/python; $python -m pip install ./python
    $python -m torch.distributed.run --nproc_per_node 2 bench/ddp_torch.py [--batch 4,32] [--rounds 15] [--steps 10] [--json]
    lockstep run -np 2 -- $python bench/ddp_torch.py …

25 M parameters (six layers of 2048 x 2048, 100 MB of gradients in f32), SGD, gloo, one thread a rank, each rank on a core of its own where
there are enough. A step is zero_grad, forward, backward, optimizer. Contenders, each with a model and an optimizer of its own:

    no_sync        DDP, inside model.no_sync(): every rank trains for itself
    hook           lockstep_ddp.attach, gradient_as_bucket_view=True
    hook, copied   lockstep_ddp.attach, DDP's defaults
    gloo           DDP's defaults
    gloo, views    gradient_as_bucket_view=True

They alternate, in an order that turns from round to round: a busy machine hurts all alike. A round is --steps steps; what counts is the slowest
rank's. Printed: medians over the rounds, and of the rounds' ratios to no_sync of the same round median and middle half.
The losses of all contenders that communicate are compared at every step, with the same data and first weights; a difference beyond rounding
ends it with an error.
"""
import argparse
import contextlib
import json
import os
import statistics
import time

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

import lockstep_ddp

WIDTH, LAYERS = 2048, 6
CONTENDERS = {"no_sync": (False, False), "hook": (True, True), "hook, copied": (True, False), "gloo": (False, False), "gloo, views": (False, True)}
TOLERANCE = 1e-4  # of a loss; gloo adds in another order than we do from 3 ranks on


class Contender:
    def __init__(self, name):
        hook, views = CONTENDERS[name]
        torch.manual_seed(0)
        net = torch.nn.Sequential(*(layer for _ in range(LAYERS) for layer in (torch.nn.Linear(WIDTH, WIDTH), torch.nn.ReLU())))
        self.model = DistributedDataParallel(net, gradient_as_bucket_view=views)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)
        self.sync = contextlib.nullcontext if name != "no_sync" else self.model.no_sync
        self.losses = []
        if hook and lockstep_ddp.attach(self.model).why_not:
            raise SystemExit("ddp_torch.py: the hook does not serve here")

    def step(self, data, target):
        self.optimizer.zero_grad(set_to_none=True)
        with self.sync():
            loss = torch.nn.functional.mse_loss(self.model(data), target)
            loss.backward()
        self.optimizer.step()
        self.losses.append(loss.item())

    def round(self, data, target, steps):
        """Milliseconds a step, of the slowest rank."""
        dist.barrier()
        begun = time.perf_counter()
        for _ in range(steps):
            self.step(data, target)
        took = torch.tensor((time.perf_counter() - begun) / steps * 1000)
        dist.all_reduce(took, op=dist.ReduceOp.MAX)
        return took.item()


def compare(contenders):
    """The largest relative difference of a loss to gloo's."""
    worst = 0.0
    for name in ("hook", "hook, copied", "gloo, views"):
        for ours, gloos in zip(contenders[name].losses, contenders["gloo"].losses):
            worst = max(worst, abs(ours - gloos) / abs(gloos))
    if not worst <= TOLERANCE:
        raise SystemExit(f"ddp_torch.py: rank {dist.get_rank()}: losses differ by {worst:.1e} of gloo's")
    return worst


def measure(batch, rounds, steps):
    generator = torch.Generator().manual_seed(1 + dist.get_rank())
    data, target = (torch.randn(batch, WIDTH, generator=generator) for _ in range(2))
    contenders = {name: Contender(name) for name in CONTENDERS}
    took = {name: [] for name in CONTENDERS}
    names = list(CONTENDERS)
    for n in range(rounds + 1):
        names = names[1:] + names[:1]
        for name in names:
            ms = contenders[name].round(data, target, steps)
            if n:  # the first warms up
                took[name].append(ms)
    return took, compare(contenders)


def report(batch, took, difference, as_json):
    rows = []
    for name, ms in took.items():
        ratios = sorted(a / b for a, b in zip(ms, took["no_sync"]))
        rows.append({"batch": batch, "contender": name, "ms": statistics.median(ms), "ms_min": min(ms), "ratio": statistics.median(ratios),
                     "ratio_low": ratios[len(ratios) // 4], "ratio_high": ratios[len(ratios) * 3 // 4], "loss_difference": difference})
    if as_json:
        print("\n".join(map(json.dumps, rows)), flush=True)
        return
    print(f"\nbatch {batch}; losses differ from gloo's by at most {difference:.1e} of them\n{'':<14}{'ms':>8}{'least':>8}   to no_sync", flush=True)
    for row in rows:
        print("{contender:<14}{ms:8.1f}{ms_min:8.1f}   {ratio:.2f}  ({ratio_low:.2f}-{ratio_high:.2f})".format(**row), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", default="4,32")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()

    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    cores, local = sorted(os.sched_getaffinity(0)), int(os.environ.get("LOCAL_RANK", "0"))
    if len(cores) >= int(os.environ.get("LOCAL_WORLD_SIZE", "1")):
        os.sched_setaffinity(0, {cores[local]})
    for batch in map(int, args.batch.split(",")):
        took, difference = measure(batch, args.rounds, args.steps)
        if dist.get_rank() == 0:
            report(batch, took, difference, args.json)
    dist.barrier()
    time.sleep(0.2)  # see examples/pytorch/ddp.py
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
