#!/usr/bin/env python3
"""gpt_torch.py -- a step of examples/gpt on one GPU against PyTorch's, eager and compiled: the same model, weights, batches and optimizer, in one run.

    bench/gpt_gpu.sh [--batch 16] [--rounds 7] [--steps 10] [--no-compile]        finds a Python with PyTorch, and says where there is no GPU

Contenders take turns, forwards and backwards; a round is --steps steps, between two CUDA events on the contender's stream:

    lockstep         examples/gpt's CUDA device with all of the runtime: sampler, buckets and their average, the report of a step
    lockstep, bare   the device alone; the difference is the runtime's own overhead
    torch eager      bf16 autocast over f32 weights, scaled_dot_product_attention, fused AdamW, clipping: no wait for the host in a step
    torch compile    the same through torch.compile

All have GPT-2 124M's shape with the vocabulary rounded up to 50304, which PyTorch's products like better. All do the same number of steps on the same windows; the
losses of the last one must agree within --tolerance, or it ends with an error. Printed: medians over the rounds, their least and greatest; tokens a
second; the share of the chip's dense bf16 peak by the formula in docs/gpus.md; the ratio to torch compile in the same round.
"""
import argparse
import os
import random
import statistics
import struct
import subprocess
import sys
import tempfile
import time

import torch
import torch.nn as nn

from gpt_torch_ddp import GPT, optimizer_of

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
B = os.environ.get("B", os.path.join(ROOT, "build"))
PEAKS = {"H100 80GB HBM3": 989.4e12, "H200": 989.4e12, "A100": 312e12}  # NVIDIA's data sheets: dense bf16, SXM


class Ours:
    """bench/gpt_step_cuda.cu as a process; a round is a line to it and a line back."""
    def __init__(self, folder, args, program):
        self.folder, self.log = folder, open(f"{folder}/log", "w+", encoding="utf-8")
        for pipe in "in", "out":
            os.mkfifo(f"{folder}/{pipe}")
        # Both ends here first, or the other program would wait for ever if this one died before; O_RDWR does not wait for a reader.
        self.out = os.fdopen(os.open(f"{folder}/out", os.O_RDONLY | os.O_NONBLOCK), "r", encoding="ascii")
        os.set_blocking(self.out.fileno(), True)
        self.pipe = os.fdopen(os.open(f"{folder}/in", os.O_RDWR), "w", buffering=1, encoding="ascii")
        shape = [args.batch, args.layers, args.heads, args.channels, args.vocab, args.context]
        self.process = subprocess.Popen([*program, folder, *map(str, shape)], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.expect("ready")

    def line(self):
        while True:
            line = self.out.readline()
            if line:
                return line
            if self.process.poll() is not None:
                self.log.seek(0)
                raise SystemExit(f"gpt_torch.py: {self.process.args[0]} ended with {self.process.returncode}:\n{self.log.read()}")
            time.sleep(0.01)  # nobody has opened the other end yet

    def expect(self, what):
        line = self.line()
        if line.strip() != what:
            raise SystemExit(f"gpt_torch.py: our program says {line!r}")

    def contender(self, name):
        def play(steps):
            self.pipe.write(f"{name} {steps}\n")
            ms, loss = map(float, self.line().split())
            return ms, loss
        return play

    def weights(self):
        data = torch.frombuffer(bytearray(open(f"{self.folder}/weights.f32", "rb").read()), dtype=torch.float32)
        found = {}
        for line in open(f"{self.folder}/tensors.txt", encoding="ascii"):
            name, offset, rows, columns = line.split()
            shape = [int(rows)] + [int(columns)] * (columns != "0")
            found[name] = data[int(offset):int(offset) + torch.Size(shape).numel()].view(shape).clone()
        return found

    def close(self):
        self.pipe.close()
        if self.process.wait(60):
            self.log.seek(0)
            raise SystemExit(f"gpt_torch.py: our program ended badly:\n{self.log.read()}")


class Torch:
    def __init__(self, weights, windows, args, compiled):
        self.model = GPT(weights, args.heads).to(args.device)
        self.optimizer = optimizer_of(self.model, 1e-4, 0.1)
        self.called = torch.compile(self.model) if compiled else self.model
        self.windows, self.batch, self.device, self.done = windows, args.batch, args.device, 0

    def step(self):
        rows = torch.arange(self.done * self.batch, (self.done + 1) * self.batch) % len(self.windows)
        window = self.windows[rows].to(self.device, non_blocking=True).long()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device, dtype=torch.bfloat16):
            loss = self.called(window[:, :-1], window[:, 1:])
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.done += 1
        return loss

    def play(self, steps):
        if self.device == "cpu":  # for a test of this file
            begun = time.perf_counter()
            for _ in range(steps):
                loss = self.step()
            return (time.perf_counter() - begun) / steps * 1000, loss.item()
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        begin.record()
        for _ in range(steps):
            loss = self.step()
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end) / steps, loss.item()


def write_windows(folder, args):
    """Random tokens, but not without order: each follows from the one before, or is new."""
    random.seed(1)
    windows = []
    for _ in range(args.batch * 8):
        token, window = 0, []
        for _ in range(args.context + 1):
            token = (token * 5 + 1) % args.vocab if random.random() < 0.5 else random.randrange(args.vocab)
            window.append(token)
        windows.append(window)
    with open(f"{folder}/tokens.i32", "wb") as f:
        for window in windows:
            f.write(struct.pack(f"={len(window)}i", *window))
    return torch.tensor(windows, dtype=torch.int32)


def flops_a_token(weights, args):
    """6 N + 12 L C T (PaLM, appendix B), N without the positions, which no product has."""
    n = sum(w.numel() for name, w in weights.items() if name != "wpe.weight")
    return 6 * n + 12 * args.layers * args.channels * args.context


def report(took, weights, args):
    tokens, flops, gpu = args.batch * args.context, flops_a_token(weights, args), "CPU" if args.device == "cpu" else torch.cuda.get_device_name()
    peak = next((peak for name, peak in PEAKS.items() if name in gpu), None)
    base = "torch compile" if "torch compile" in took else "torch eager"
    print(f"{gpu}, PyTorch {torch.__version__}, batch {args.batch} x {args.context}, {flops / 1e9:.3f} GFLOP a token, {len(took[base])} rounds of {args.steps} steps")
    print(f"{'':<16}{'ms a step':>10}{'least':>9}{'greatest':>9}{'tokens/s':>11}{'TFLOP/s':>9}{'of peak':>9}   to {base}")
    for name, ms in took.items():
        median, ratios = statistics.median(ms), [a / b for a, b in zip(ms, took[base])]
        rate = tokens / median * 1000
        share = f"{rate * flops / peak:9.1%}" if peak else f"{'?':>9}"
        print(f"{name:<16}{median:10.3f}{min(ms):9.3f}{max(ms):9.3f}{rate:11.0f}{rate * flops / 1e12:9.1f}{share}   "
              f"{statistics.median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f})")
    over = [a / b - 1 for a, b in zip(took["lockstep"], took["lockstep, bare"])]
    print(f"the runtime's own overhead: {statistics.median(over):.2%} of a step ({min(over):.2%} to {max(over):.2%})")
    print("its largest part is fixed: a larger batch makes the share smaller")


def compare(losses, tolerance):
    ours = losses["lockstep, bare"]
    print("losses of the last step: " + ", ".join(f"{name} {loss:.4f}" for name, loss in losses.items()))
    for name, loss in losses.items():
        if not abs(loss - ours) <= tolerance * ours:
            raise SystemExit(f"gpt_torch.py: {name}'s loss is not ours: they do not train the same")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in {"batch": 16, "rounds": 7, "steps": 10, "layers": 12, "heads": 12, "channels": 768, "vocab": 50304, "context": 1024}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--tolerance", type=float, default=0.02)
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--device", default="cuda", help="cpu: for a test of this program, with --program")
    parser.add_argument("--program", help="instead of lockstep run -np 1 -- build/bench/gpt_step")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        windows = write_windows(folder, args)
        program = [args.program] if args.program else [f"{B}/lockstep", "run", "-np", "1", "--no-prefix", "--dir", f"{folder}/run", "--", f"{B}/bench/gpt_step"]
        ours = Ours(folder, args, program)
        weights = ours.weights()
        players = {"lockstep": ours.contender("lockstep"), "lockstep, bare": ours.contender("bare"), "torch eager": Torch(weights, windows, args, False).play}
        if not args.no_compile:
            players["torch compile"] = Torch(weights, windows, args, True).play
        took, losses = {name: [] for name in players}, {}
        for n in range(args.rounds + 1):
            for name in list(players)[::-1 if n % 2 else 1]:
                ms, losses[name] = players[name](args.steps)
                if n:  # the first compiles, chooses algorithms, and warms up
                    took[name].append(ms)
        report(took, weights, args)
        compare(losses, args.tolerance)
        ours.close()


if __name__ == "__main__":
    sys.exit(main())
