#!/usr/bin/env python3
"""gpt_ddp.py -- a step of examples/gpt on two ranks against PyTorch's DDP (gloo): the same weights, windows, optimizer, one thread a rank.

    make && bench/setup-torch.sh && bench/gpt_ddp.py [--rounds 5] [--steps 14] [--sizes small,tiny] [--python P[,P…]] [--compile] [--markdown]

Contenders take turns, in an order that turns from round to round; each is two processes under `lockstep run`, which binds each to a core of its own:

    lockstep                    examples/gpt: buckets are summed while backward goes on
    lockstep, after backward    --no-overlap
    lockstep, none              --no-communication: the floor
    torch V DDP                 bench/gpt_torch_ddp.py with each --python: DDP's defaults
    torch V none                DDP inside no_sync(): the floor
    torch V compile …           --compile: the same with torch.compile, which needs g++ and minutes

A round's figure is the median of its steps without the first (PyTorch: without the first two). Printed: the median over the rounds, the least
and the greatest; the ratio to lockstep in the same round; and what communication adds to a step, the difference to the same program's floor in
the same round. The mean loss of the ranks at each step is compared with ours: a difference of more than 1e-3 of it ends it with an error.
"""
import argparse
import csv
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
B = os.environ.get("B", os.path.join(ROOT, "build"))
SIZES = {"small": ["--rank-batch", "4"], "tiny": ["--rank-batch", "8"]}
HEADS = {"small": 6, "tiny": 2}
TOLERANCE = 1e-3
LIMIT = "900"  # seconds: torch.compile takes minutes, once


def run(directory, name, command):
    """Its stdout, and rank 0's losses from steps.csv; None where it failed, which is told."""
    env = dict(os.environ, OMP_NUM_THREADS="1", GLOO_SOCKET_IFNAME="lo", TORCHINDUCTOR_CACHE_DIR=f"{directory}/inductor",
               PYTHONWARNINGS="ignore")
    shutil.rmtree(f"{directory}/run", ignore_errors=True)
    done = subprocess.run([f"{B}/lockstep", "run", "-np", "2", "--no-prefix", "--timeout", LIMIT, "--dir", f"{directory}/run", "--", *command],
                          env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        print(f"gpt_ddp.py: {name}: exit code {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}", file=sys.stderr)
        return None
    return done.stdout


def gpt(size, steps, *options):
    return [f"{B}/examples/gpt", "--model", size, *SIZES[size], "--steps", str(steps), "--device", "cpu", "--sample", "0", *options]


def ours(size, *options):
    """A function of directory and steps that runs one round: milliseconds a step, losses."""
    def play(directory, steps):
        out = run(directory, "lockstep", gpt(size, steps, *options))
        if out is None:
            return None
        with open(f"{directory}/run/steps.csv", encoding="utf-8") as f:
            losses = [float(row["loss"]) for row in csv.DictReader(f) if row["rank"] == "0"]
        return float(re.search(r"a step takes ([0-9.]+) ms", out)[1]), losses
    return play


def torchs(size, python, *options):
    def play(directory, _steps):
        program = [python, f"{ROOT}/bench/gpt_torch_ddp.py", f"{directory}/first", "--heads", str(HEADS[size]), *options]
        out = run(directory, "torch", program)
        if out is None:
            return None
        told = json.loads(next(line for line in out.splitlines() if line.startswith("{")))
        return statistics.median(told["step_ms"][2:]), told["losses"]
    return play


def version(python):
    done = subprocess.run([python, "-c", "import torch; print(torch.__version__)"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return done.stdout.strip().split("+")[0] if done.returncode == 0 else None


def contenders(size, pythons, compiled):
    """(name, the name of its floor, play)."""
    yield "lockstep", "lockstep, none", ours(size)
    yield "lockstep, after backward", "lockstep, none", ours(size, "--no-overlap")
    yield "lockstep, none", None, ours(size, "--no-communication")
    for python, v in pythons:
        yield f"torch {v} DDP", f"torch {v} none", torchs(size, python)
        yield f"torch {v} none", None, torchs(size, python, "--no-sync")
        if compiled and v >= "2":
            yield f"torch {v} compile DDP", f"torch {v} compile none", torchs(size, python, "--compile")
            yield f"torch {v} compile none", None, torchs(size, python, "--compile", "--no-sync")


def check_losses(name, losses, reference):
    for step, (got, want) in enumerate(zip(losses, reference, strict=True)):
        if not abs(got - want) <= TOLERANCE * want:
            sys.exit(f"gpt_ddp.py: {name}: step {step}: loss {got}, ours {want}: not the same training")


def measure(todo, size, rounds, steps, directory):
    """{name: milliseconds in each round}, the losses of the last step; a contender that fails is told once and left out."""
    lost, took, last = set(), {}, {}
    if run(directory, "lockstep", gpt(size, steps, "--dump", f"{directory}/first")) is None:
        sys.exit(1)
    _, reference = ours(size)(directory, steps)
    for n in range(rounds):
        todo = todo[1:] + todo[:1]
        for name, floor, play in todo:
            if name in lost:
                continue
            got = play(directory, steps)
            if got is None:
                lost.add(name)
                continue
            print(f"{size}: round {n + 1}: {name}: {got[0]:.1f} ms", file=sys.stderr)
            took.setdefault(name, []).append(got[0])
            last[name] = got[1][-1]
            if floor:
                check_losses(name, got[1], reference)
    return {name: ms for name, ms in took.items() if name not in lost}, last


def spread(values, digits):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def rows(all_of_them, took, last):
    for name, floor, _ in all_of_them:
        if name not in took:
            continue
        ratios = [a / b for a, b in zip(took[name], took["lockstep"])]
        exposed = spread([a - b for a, b in zip(took[name], took[floor])], 1) if floor in took else ""
        yield [name, spread(took[name], 1), spread(ratios, 2), exposed, f"{last[name]:.5f}"]


def report(size, table, rounds, markdown):
    head = [f"{size}, {rounds} rounds", "ms a step", "to lockstep", "communication adds, ms", "last loss"]
    if markdown:
        print("\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *table]) + "\n", flush=True)
    else:
        print("\n".join("".join(f"{cell:<28}" for cell in cells).rstrip() for cells in [head, *table]) + "\n", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=14)
    parser.add_argument("--sizes", default="small,tiny")
    parser.add_argument("--python", default=f"{ROOT}/build/venv-torch/bin/python,{ROOT}/build/venv-python/bin/python")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()

    pythons = [(p, v) for p in args.python.split(",") if (v := version(p))]
    if not pythons:
        sys.exit(f"gpt_ddp.py: no PyTorch in {args.python}; bench/setup-torch.sh makes one")
    for size in args.sizes.split(","):
        with tempfile.TemporaryDirectory(prefix="gpt_ddp.") as directory:
            todo = list(contenders(size, pythons, args.compile))
            took, last = measure(todo, size, args.rounds, args.steps, directory)
            report(size, rows(todo, took, last), args.rounds, args.markdown)


if __name__ == "__main__":
    main()
