"""ddp_rank.py -- one rank of tests/e2e/ddp.sh: DDP with lockstep_ddp's hook must train as DDP with gloo does.

    ddp_rank.py all        each check in turn; rank 0 prints "checked NAME". A check that fails ends the rank with an exception
    ddp_rank.py killed     rank 1 kills itself in the middle of a step; the others must be told, and not wait
"""
import contextlib
import os
import signal
import sys
import time
import warnings

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

import lockstep_ddp

STEPS = 6


def net():
    """Two layouts of gradients, and with buckets of 0.4 MB several of them."""
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last), torch.nn.Flatten(), torch.nn.Linear(288, 512),
                               torch.nn.ReLU(), torch.nn.Linear(512, 512), torch.nn.ReLU(), torch.nn.Linear(512, 10))


def train(model, to_none=True):
    """Losses, and the weights at the end. One step adds up two batches."""
    generator = torch.Generator().manual_seed(5 + dist.get_rank())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for step in range(STEPS):
        optimizer.zero_grad(set_to_none=to_none)
        for last in (False, True) if step == 3 else (True,):
            data, digit = torch.randn(8, 3, 8, 8, generator=generator), torch.randint(0, 10, (8,), generator=generator)
            with contextlib.nullcontext() if last else model.no_sync():
                loss = torch.nn.functional.cross_entropy(model(data), digit)
                loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return torch.tensor(losses), [p.detach().clone() for p in model.parameters()]


def same(ours, gloos):
    """Within rounding: gloo adds three ranks in another order."""
    for a, b in zip([ours[0], *ours[1]], [gloos[0], *gloos[1]]):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def in_place(state, model):
    """How many gradients lie in shared memory."""
    blocks = [(place.tensor.data_ptr(), place.tensor.numel() * place.tensor.element_size()) for _, place in state._places.values() if place]
    return sum(any(begin <= p.grad.data_ptr() < begin + size for begin, size in blocks) for p in model.parameters())


def check_losses():
    gloos = train(DistributedDataParallel(net(), bucket_cap_mb=0.4))
    for views in (True, False):
        for to_none in (True, False):
            model = DistributedDataParallel(net(), bucket_cap_mb=0.4, gradient_as_bucket_view=views)
            state = lockstep_ddp.attach(model)
            same(train(model, to_none), gloos)
            assert not state.why_not
            assert in_place(state, model) == (len(list(model.parameters())) if views else 0)
    model = DistributedDataParallel(net(), bucket_cap_mb=0.4, gradient_as_bucket_view=True)
    state = lockstep_ddp.attach(model, zero_copy=False)
    same(train(model), gloos)
    assert in_place(state, model) == 0


def check_rebuild():
    """DDP deals out its buckets anew after the first step: new sizes, new memory."""
    model = DistributedDataParallel(net(), bucket_cap_mb=0.4, gradient_as_bucket_view=True)
    state, seen = lockstep_ddp.attach(model), []
    for _ in range(3):
        model(torch.ones(1, 3, 8, 8)).sum().backward()
        seen.append([shape[0] for shape, _ in state._places.values()])
    assert seen[0] != seen[1] == seen[2], seen


class Weights(torch.nn.Module):
    def __init__(self, dtype):
        super().__init__()
        self.w = torch.nn.Parameter(torch.zeros(1000, dtype=dtype))

    def forward(self, x):
        return (self.w * x).sum()


def check_dtypes():
    world = dist.get_world_size()
    dtypes = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
    try:
        dist.broadcast(torch.zeros(1, dtype=torch.bfloat16), 0)
    except RuntimeError:  # before PyTorch 2.1 DDP itself cannot tell its weights over gloo
        dtypes.remove(torch.bfloat16)
    for dtype in dtypes:
        model = DistributedDataParallel(Weights(dtype), gradient_as_bucket_view=True)
        state = lockstep_ddp.attach(model)
        for step in range(3):
            model.zero_grad(set_to_none=True)
            ramp = torch.arange(1000, dtype=torch.float32) % 32
            model((ramp * (dist.get_rank() + 1 + step)).to(dtype)).backward()
            want = ramp * ((world + 1) / 2 + step)
            torch.testing.assert_close(model.module.w.grad.float(), want.to(dtype).float(), rtol=torch.finfo(dtype).eps, atol=0)
        assert in_place(state, model) == 1


def check_unused():
    """A parameter that no rank, or one rank alone, uses in a step."""
    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)

        def forward(self, x, both):
            return (self.b(self.a(x)) if both else self.a(x)).sum()

    def grads(hook):
        model, out = DistributedDataParallel(Two(), find_unused_parameters=True, gradient_as_bucket_view=True), []
        if hook:
            lockstep_ddp.attach(model)
        for step in range(5):
            model.zero_grad(set_to_none=True)
            model(torch.full((2, 8), 1.0 + dist.get_rank() + step), step == 1 or step == 3 and dist.get_rank() == 0).backward()
            out += [torch.zeros(1) if p.grad is None else p.grad.clone() for p in model.parameters()]
        return out

    torch.testing.assert_close(grads(True), grads(False))


def warned(action):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        result = action()
    return result, [str(w.message) for w in said if "lockstep_ddp" in str(w.message)]


def falls_back(words):
    """All ranks take PyTorch's all-reduce; rank 0 says why, once."""
    model = DistributedDataParallel(net(), bucket_cap_mb=0.4, gradient_as_bucket_view=True)
    (state, losses), said = warned(lambda: (lockstep_ddp.attach(model), train(model)))
    assert words in state.why_not, state.why_not
    assert len(said) == (dist.get_rank() == 0) and all(words in line for line in said), said
    same(losses, train(DistributedDataParallel(net(), bucket_cap_mb=0.4)))


def check_two_nodes():
    os.environ["LOCKSTEP_NODE_KEY"] = f"node {dist.get_rank()}"
    falls_back("node")
    del os.environ["LOCKSTEP_NODE_KEY"]


def check_one_fails():
    """The library refuses on rank 1 alone."""
    told = os.environ.pop("LOCKSTEP_PROGRESS", None)
    if dist.get_rank() == 1:
        os.environ["LOCKSTEP_PROGRESS"] = "nonsense"
    falls_back("rank 1: environment: LOCKSTEP_PROGRESS=nonsense")
    os.environ.pop("LOCKSTEP_PROGRESS", None)
    if told is not None:
        os.environ["LOCKSTEP_PROGRESS"] = told


def check_sparse():
    """One bucket is not ours, the other is."""
    def grads(hook):
        torch.manual_seed(0)
        model = DistributedDataParallel(torch.nn.Sequential(torch.nn.Embedding(20, 64, sparse=True), torch.nn.Linear(64, 512)), bucket_cap_mb=0.1)
        if hook:
            lockstep_ddp.attach(model)
        for _ in range(3):
            model.zero_grad(set_to_none=True)
            model(torch.tensor([1 + dist.get_rank(), 4])).sum().backward()
        return [p.grad.to_dense() if p.grad.is_sparse else p.grad for p in model.parameters()]

    ours, said = warned(lambda: grads(True))
    assert len(said) == (dist.get_rank() == 0) and all("sparse" in line for line in said), said
    torch.testing.assert_close(ours, grads(False))


def check_group():
    """Not the world's ranks, but a group of some."""
    ranks = list(range(1, dist.get_world_size()))
    group = dist.new_group(ranks)
    if dist.get_rank() in ranks:
        model = DistributedDataParallel(Weights(torch.float32), process_group=group)
        assert not lockstep_ddp.attach(model).why_not
        model(torch.full((1000,), float(dist.get_rank()))).backward()
        assert (model.module.w.grad == sum(ranks) / len(ranks)).all()


def killed():
    model = DistributedDataParallel(net(), bucket_cap_mb=0.4, gradient_as_bucket_view=True)
    lockstep_ddp.attach(model)
    for step in range(STEPS):
        loss = model(torch.ones(1, 3, 8, 8)).sum()
        if step == 3 and dist.get_rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            loss.backward()
        except RuntimeError as why:  # RankLost; PyTorch 1.13 makes a RuntimeError with its name and text of it
            print(f"rank {dist.get_rank()} step {step}: {str(why).splitlines()[0]}", flush=True)
            os._exit(75)


def main():
    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    if sys.argv[1] == "killed":
        return killed()
    for name, check in list(globals().items()):
        if name.startswith("check_"):
            check()
            dist.barrier()
            if dist.get_rank() == 0:
                print(f"checked {name[6:]}", flush=True)
    time.sleep(0.2)  # see examples/pytorch/ddp.py
    dist.destroy_process_group()


main()
