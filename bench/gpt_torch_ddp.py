#!/usr/bin/env python3
"""gpt_torch_ddp.py DUMP [--no-sync] [--compile] -- the training of examples/gpt as a user of PyTorch writes it: a rank program of gpt_ddp.py.

From the weights and windows of `gpt --dump DUMP`: the same model, batch, AdamW, clipping and learning rates. What PyTorch has that is quick is
used where this version has it: scaled_dot_product_attention, the fused AdamW. One thread; DDP over gloo with its defaults when WORLD_SIZE is set.
--no-sync: every rank trains for itself. Rank 0 prints one line of JSON: milliseconds of each step, and its losses.
"""
import argparse
import contextlib
import json
import math
import os
import struct
import time

import torch
import torch.distributed as dist
import torch.nn as nn
import torch.nn.functional as F

DTYPES = {"F32": torch.float32, "I32": torch.int32}
SDPA = getattr(F, "scaled_dot_product_attention", None)


def load(path):
    """A safetensors file; without the package, which not every PyTorch has beside it."""
    with open(path, "rb") as f:
        data = bytearray(f.read())
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    return {name: torch.frombuffer(data, dtype=DTYPES[t["dtype"]], offset=8 + size + t["data_offsets"][0],
                                   count=math.prod(t["shape"])).view(t["shape"]).clone() for name, t in header.items()}


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.c_attn, self.c_proj = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        batch, context, width = x.shape
        q, k, v = (part.view(batch, context, self.heads, width // self.heads).transpose(1, 2) for part in self.c_attn(x).split(width, dim=2))
        if SDPA:
            out = SDPA(q, k, v, is_causal=True)
        else:
            future = torch.ones(context, context, dtype=torch.bool).triu(1)
            out = (q @ k.transpose(2, 3) / math.sqrt(width // self.heads)).masked_fill(future, -math.inf).softmax(dim=3) @ v
        return self.c_proj(out.transpose(1, 2).reshape(batch, context, width))


class MLP(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.c_fc, self.c_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln_1, self.attn, self.ln_2, self.mlp = nn.LayerNorm(width), Attention(width, heads), nn.LayerNorm(width), MLP(width)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    def __init__(self, weights, heads):
        super().__init__()
        vocab, width = weights["wte.weight"].shape
        self.wte, self.wpe = nn.Embedding(vocab, width), nn.Embedding(len(weights["wpe.weight"]), width)
        self.h = nn.ModuleList(Block(width, heads) for _ in range(sum(name.endswith("ln_1.weight") for name in weights)))
        self.ln_f = nn.LayerNorm(width)
        self.load_state_dict(weights)

    def forward(self, tokens, targets):
        x = self.wte(tokens) + self.wpe.weight[:tokens.shape[1]]
        for block in self.h:
            x = block(x)
        logits = F.linear(self.ln_f(x), self.wte.weight)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def optimizer_of(model, rate, decay):
    parameters = list(model.parameters())
    groups = [{"params": [p for p in parameters if p.dim() == 2], "weight_decay": decay},
              {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0}]
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    quickest = {"fused": True} if version >= (2, 4) else {"foreach": True}  # the fused one runs on CPUs since 2.4
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95), eps=1e-8, **quickest)


def rate_of(step, steps, highest, warmup):
    if step < warmup:
        return highest * (step + 1) / warmup
    return highest * (0.1 + 0.45 * (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1))))


def train(args, data):
    weights = {name: value for name, value in data.items() if name.endswith((".weight", ".bias")) and not name.startswith("grad.")}
    model = GPT(weights, args.heads)
    whole = torch.nn.parallel.DistributedDataParallel(model) if dist.is_initialized() else model
    called = torch.compile(whole) if args.compile else whole
    sync = whole.no_sync if args.no_sync else contextlib.nullcontext
    optimizer = optimizer_of(model, args.lr, args.decay)
    tokens, targets = data["tokens"].long(), data["targets"].long()
    losses, took = [], []
    for step in range(len(tokens)):
        begun = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with sync():
            loss = called(tokens[step], targets[step])
            loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), args.clip)
        for group in optimizer.param_groups:
            group["lr"] = rate_of(step, len(tokens), args.lr, args.warmup)
        optimizer.step()
        losses.append(loss.item())
        took.append((time.perf_counter() - begun) * 1000)
    return losses, took


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dump")
    parser.add_argument("--no-sync", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--heads", type=int, required=True)
    parser.add_argument("--warmup", type=int, default=50)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--decay", type=float, default=0.1)
    parser.add_argument("--clip", type=float, default=1.0)
    args = parser.parse_args()

    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    torch.set_num_threads(1)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) >= world:
        os.sched_setaffinity(0, {cores[rank]})
    if world > 1:
        dist.init_process_group("gloo")
    losses, took = train(args, load(f"{args.dump}.{rank}.safetensors"))
    if world > 1:
        mean = torch.tensor(losses)
        dist.all_reduce(mean)
        losses = (mean / world).tolist()
    if rank == 0:
        print(json.dumps({"torch": torch.__version__, "losses": losses, "step_ms": took}), flush=True)
    if world > 1:
        dist.barrier()
        time.sleep(0.2)  # see examples/pytorch/ddp.py
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
