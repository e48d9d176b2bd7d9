"""torch_state.py -- what the benches against PyTorch train: a state of GPT-2's shapes, and a step of a known length."""
import math
import os
import sys
import time

import torch
import torch.distributed as dist

BLOCK = {"ln_1.weight": (768,), "ln_1.bias": (768,), "attn.c_attn.weight": (768, 2304), "attn.c_attn.bias": (2304,),
         "attn.c_proj.weight": (768, 768), "attn.c_proj.bias": (768,), "ln_2.weight": (768,), "ln_2.bias": (768,),
         "mlp.c_fc.weight": (768, 3072), "mlp.c_fc.bias": (3072,), "mlp.c_proj.weight": (3072, 768), "mlp.c_proj.bias": (768,)}


def shapes():
    """GPT-2 124M, its blocks first, so that a part of it still looks like a model; then the same again, for ever."""
    copy = 0
    while True:
        for layer in range(12):
            yield from ((f"{copy}.h.{layer}.{name}", shape) for name, shape in BLOCK.items())
        yield from ((f"{copy}.{name}", shape) for name, shape in
                    {"ln_f.weight": (768,), "ln_f.bias": (768,), "wpe.weight": (1024, 768), "wte.weight": (50257, 768)}.items())
        copy += 1


def state(mib):
    """{"model.NAME", "exp_avg.NAME", "exp_avg_sq.NAME": tensor}, f32, the same on all ranks; the last parameter is cut to fit."""
    left, tensors = mib * 2**20 // 4 // 3, {}
    for name, shape in shapes():
        row = math.prod(shape[1:])
        shape = (min(shape[0], left // row), *shape[1:])
        if not shape[0]:
            return tensors
        for part in ("model", "exp_avg", "exp_avg_sq"):
            tensors[f"{part}.{name}"] = torch.arange(math.prod(shape), dtype=torch.float32).reshape(shape)
        left -= math.prod(shape)


def step_maker(ms):
    """A function that computes for about so long, in one thread: the same work each time."""
    a, b = torch.randn(512, 512), torch.randn(512, 512)

    def work(n):
        for _ in range(n):
            torch.mm(a, b)

    work(20)
    each = []
    for _ in range(10):  # the fastest: others use this machine, too
        begun = time.perf_counter()
        work(10)
        each.append((time.perf_counter() - begun) / 10)
    n = torch.tensor([max(1, round(ms / 1e3 / min(each)))])
    dist.broadcast(n, 0)
    return lambda: work(int(n))


def join(restarts=0):
    """This process as a rank; started by hand it becomes two, under torchrun."""
    if "RANK" not in os.environ:
        os.environ["OMP_NUM_THREADS"] = "1"
        # Without it 2 of 6 runs did not come back from a restart here: the ranks went to addresses where nobody listened any more,
        # as from the store that all attempts share (pytorch issue 135712).
        os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
        os.execv(sys.executable, [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
                                  "--max-restarts", str(restarts), *sys.argv])
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    return dist.get_rank(), dist.get_world_size()
