#!/usr/bin/env python3
"""gpt_torch.py HEADS STEPS RATE FILE... -- the training of examples/gpt, again, by PyTorch: what `gpt --dump` wrote on each rank against autograd.

The reference is the same model in float64, from the same weights, on all ranks' windows together. For the gradient of each tensor the error is
|ours - reference| / |reference| (2-norms). It may be four times that of PyTorch's own float32, and an absolute 1e-6 of the whole gradient's
norm: some gradients are zero but for rounding (attention's bias of the keys). Then STEPS steps of torch.optim.AdamW in float64: every loss
agrees to 2e-4 of it: gradients near AdamW's eps make rounding errors weights, in PyTorch's float32 as in ours.
"""
import math
import sys

import safetensors.torch
import torch
import torch.nn.functional as F

LEAST = 1e-6
CLIP, DECAY, BETAS, EPS = 1.0, 0.1, (0.9, 0.95), 1e-8


def norm(x, w, name):
    return F.layer_norm(x, x.shape[-1:], w[name + ".weight"], w[name + ".bias"], 1e-5)


def linear(x, w, name):
    return F.linear(x, w[name + ".weight"], w[name + ".bias"])


def attention(x, w, name, heads):
    batch, context, width = x.shape
    q, k, v = (part.view(batch, context, heads, width // heads).transpose(1, 2) for part in linear(x, w, name + ".c_attn").split(width, dim=2))
    scores = q @ k.transpose(2, 3) / math.sqrt(width // heads)
    future = torch.ones(context, context, dtype=torch.bool).triu(1)
    out = scores.masked_fill(future, -math.inf).softmax(dim=3) @ v
    return linear(out.transpose(1, 2).reshape(batch, context, width), w, name + ".c_proj")


def gelu(x):  # F.gelu(approximate="tanh"), written out: not every version has it in float64
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))


def loss_of(w, tokens, targets, heads):
    x = w["wte.weight"][tokens] + w["wpe.weight"][: tokens.shape[1]]
    layers = sum(name.endswith("ln_1.weight") for name in w)
    for layer in (f"h.{i}" for i in range(layers)):
        x = x + attention(norm(x, w, layer + ".ln_1"), w, layer + ".attn", heads)
        x = x + linear(gelu(linear(norm(x, w, layer + ".ln_2"), w, layer + ".mlp.c_fc")), w, layer + ".mlp.c_proj")
    logits = norm(x, w, "ln_f") @ w["wte.weight"].t()
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def gradients(weights, tokens, targets, heads, dtype):
    w = {name: value.to(dtype, copy=True).requires_grad_() for name, value in weights.items()}
    loss = loss_of(w, tokens, targets, heads)
    loss.backward()
    return loss.item(), {name: value.grad.double() for name, value in w.items()}


def compare_gradients(weights, ours, tokens, targets, heads):
    loss, reference = gradients(weights, tokens, targets, heads, torch.float64)
    _, single = gradients(weights, tokens, targets, heads, torch.float32)
    whole = math.sqrt(sum(g.norm().item() ** 2 for g in reference.values()))
    worst = (0, 0, "")
    for name, want in reference.items():
        error = (ours["grad." + name].double() - want).norm().item()
        allowed = 4 * (single[name] - want).norm().item() + LEAST * whole
        relative = error / max(want.norm().item(), LEAST * whole)
        if not error <= allowed:
            sys.exit(f"gpt_torch.py: {name}: gradient off by {error:.2e} ({relative:.1e} of it), allowed {allowed:.2e}")
        worst = max(worst, (relative, (single[name] - want).norm().item() / max(want.norm().item(), LEAST * whole), name))
    print(f"gradients of {len(reference)} tensors: the worst, {worst[2]}, is off by {worst[0]:.1e}; PyTorch's float32 by {worst[1]:.1e}")
    return loss


def rate(step, steps, highest, warmup):
    if step < warmup:
        return highest * (step + 1) / warmup
    return highest * (0.1 + 0.45 * (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1))))


def train(weights, tokens, targets, heads, steps, highest):
    w = {name: value.double().requires_grad_() for name, value in weights.items()}
    groups = [{"params": [x for x in w.values() if x.dim() == 2], "weight_decay": DECAY},
              {"params": [x for x in w.values() if x.dim() == 1], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=highest, betas=BETAS, eps=EPS)
    for step in range(steps):
        optimizer.zero_grad()
        loss = loss_of(w, tokens[step], targets[step], heads)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(w.values()), CLIP)
        for group in optimizer.param_groups:
            group["lr"] = rate(step, steps, highest, 2)
        optimizer.step()
        yield loss.item()


def main():
    heads, steps, highest = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    ranks = [safetensors.torch.load_file(path) for path in sys.argv[4:]]
    weights = {name: value for name, value in ranks[0].items() if name.endswith(("weight", "bias")) and not name.startswith("grad.")}
    tokens, targets = (torch.cat([rank[name].long() for rank in ranks], dim=1) for name in ("tokens", "targets"))
    for rank in ranks[1:]:
        if not all(torch.equal(value, rank[name]) for name, value in ranks[0].items() if name.startswith("grad.") or name in weights):
            sys.exit("gpt_torch.py: ranks differ in their weights or averaged gradients")
    loss = compare_gradients(weights, ranks[0], tokens[0], targets[0], heads)
    worst = abs(ranks[0]["loss"][0].item() - loss) / loss
    for step, want in enumerate(train(weights, tokens, targets, heads, steps, highest)):
        worst = max(worst, abs(ranks[0]["loss"][step].item() - want) / want)
        if not worst <= 2e-4:
            sys.exit(f"gpt_torch.py: step {step}: loss {ranks[0]['loss'][step].item()}, PyTorch's {want}")
    print(f"losses of {steps} steps: off by {worst:.1e} at most")


if __name__ == "__main__":
    main()
