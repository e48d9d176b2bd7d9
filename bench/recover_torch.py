#!/usr/bin/env python3
"""recover_torch.py -- from SIGKILL of a rank to the first new step, with torchrun's own restart and torch.save.

    $(bench/setup-torch.sh)/bin/python bench/recover_torch.py --mib 256 --dir DIR [--every 10] [--kill-at 25]

2 ranks under torchrun --max-restarts 3, gloo, one thread each. Rank 0 saves the replicated state every so many steps (torch.save to a
temporary name, then a rename; nothing is flushed); rank 1 kills itself in the step after --kill-at; torchrun's agent ends the other and
starts both anew; each loads the file. The last line is JSON: seconds since the kill until

    started      the slower rank's program began (the agent saw the death, and ended and started all)
    imported     torch was there, and the ranks had met
    loaded       the state was in place
    first_step   the first step was done, one that was done before
    new_step     the first step was done that had not been done before the kill
"""
import time

STARTED = time.time()

import argparse
import json
import os
import signal

import torch
import torch.distributed as dist

import torch_state


def slowest(seconds):
    t = torch.tensor(seconds, dtype=torch.float64)
    dist.all_reduce(t, op=dist.ReduceOp.MAX)
    return t.tolist()


def save(state, step, path):
    torch.save({"step": step, "state": state}, path + ".tmp")
    os.rename(path + ".tmp", path)


def restore(state, path):
    if not os.path.exists(path):
        return 0
    saved = torch.load(path, mmap=True)
    for name, t in saved["state"].items():
        state[name].copy_(t)
    return saved["step"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--dir", required=True, help="on a disk; empty")
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--kill-at", type=int, default=25, help="steps done before the kill")
    parser.add_argument("--step-ms", type=float, default=50)
    args = parser.parse_args()
    rank, _ = torch_state.join(restarts=3)
    dist.barrier()
    times = [STARTED, time.time()]
    path, killed = os.path.join(args.dir, "state.pt"), os.path.join(args.dir, "killed")
    again = int(os.environ["TORCHELASTIC_RESTART_COUNT"]) > 0
    state, work, one = torch_state.state(args.mib), torch_state.step_maker(args.step_ms), torch.ones(1)
    resumed = step = restore(state, path)
    times.append(time.time())
    while step <= args.kill_at:
        if not again and rank == 1 and step == args.kill_at:
            with open(killed, "w") as f:
                f.write(repr(time.time()))
            os.kill(os.getpid(), signal.SIGKILL)
        work()
        dist.all_reduce(one)
        step += 1
        if step == resumed + 1 or step == args.kill_at + 1:
            times.append(time.time())
        if step % args.every == 0 and rank == 0:
            save(state, step, path)
    if len(times) < 5:  # the kill came right behind a save: both are one step
        times.append(times[-1])
    with open(killed) as f:
        at = float(f.read())
    names = ("started", "imported", "loaded", "first_step", "new_step")
    figures = dict(zip(names, (round(t - at, 3) for t in slowest(times))))
    if rank == 0:
        print(json.dumps({"mode": "torchrun, torch.save", "mib": args.mib, "torch": torch.__version__, "killed_after_step": args.kill_at,
                          "resumed_from_step": resumed, **figures}), flush=True)
        for name in (path, killed):
            os.remove(name)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
