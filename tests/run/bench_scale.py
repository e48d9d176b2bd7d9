#!/usr/bin/env python3
"""bench_scale.py [--batch N] [--steps N] [FAULT] -- a rank that trains nothing, and tells steps as docs/environment.md has it.

FAULT: "dies2" (rank 1 of a world of 2), "silent" (tells nothing), "zero" (only rank 0 tells), "saves" (writes a file below
LOCKSTEP_CHECKPOINT_URI), "stays" (tells nothing, and does not end)."""
import argparse
import os
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("--batch", type=int, default=int(os.environ.get("BATCH", 8)))
parser.add_argument("--steps", type=int, default=1000000)
parser.add_argument("fault", nargs="?", default="")
args = parser.parse_args()
rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])

# Training steps together: nobody begins before all are there.
meet = f"{os.environ['MEET']}/meet-{os.environ['LOCKSTEP_RUN_ID']}"
open(f"{meet}-{rank}", "w").close()
while not all(os.path.exists(f"{meet}-{r}") for r in range(world)):
    time.sleep(0.01)

if args.fault == "dies2" and world == 2 and rank == 1:
    sys.exit("this rank cannot go on")
if args.fault == "saves":
    path = os.environ["LOCKSTEP_CHECKPOINT_URI"].removeprefix("file://")
    os.makedirs(path, exist_ok=True)
    open(f"{path}/mine", "w").close()
    print(path)
with os.fdopen(int(os.environ["LOCKSTEP_EVENT_FD"]), "w", buffering=1) as events:
    print("hello", file=events)
    for step in range(1, args.steps + 1):
        time.sleep(0.002)
        if args.fault not in ("silent", "stays") and (rank == 0 or args.fault != "zero"):
            print(f"progress step={step} samples={args.batch} ms=2 wait_ms=0.5", file=events)
        if args.fault == "silent" and step == 20:
            break
