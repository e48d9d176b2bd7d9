"""Gradients of PyTorch's DistributedDataParallel, averaged on CPUs in shared memory: a communication hook.

    model = DistributedDataParallel(net, gradient_as_bucket_view=True)
    lockstep_ddp.attach(model)

The same as model.register_comm_hook(lockstep_ddp.State(group), lockstep_ddp.allreduce_hook).

Each of DDP's buckets gets a place in memory that all ranks share. With gradient_as_bucket_view=True the bucket itself is moved there, and
the sum is made where the gradients lie; otherwise they are copied in, and DDP copies the averages out as it does anyway. All buckets are
started when they are ready and waited for at the last one, when backward is all but done. What is served is decided by all ranks together:
the rest goes to PyTorch's own all-reduce, and rank 0 says so once.
"""
import os
import warnings

import torch
import torch.distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks

from ._library import Comm, DTYPES, LockstepError, RankLost

__all__ = ["LockstepError", "RankLost", "State", "allreduce_hook", "attach"]

_REASON_BYTES = 512
_INSIDE, _DONE = b"i", b"d"


class _Elsewhere(Exception):
    """Another rank failed."""


def attach(model, zero_copy=True):
    """Registers the hook with a DistributedDataParallel model, before its first backward, on all ranks. The State tells what became of it."""
    state = State(model.process_group, zero_copy)
    model.register_comm_hook(state, allreduce_hook)
    return state


def allreduce_hook(state, bucket):
    return state.reduce(bucket)


class State:
    """What one model's buckets need. Collective over the process group; one for each model.

    why_not: "", or why PyTorch's own all-reduce does the work.
    """

    def __init__(self, process_group=None, zero_copy=True):
        self.group = process_group if process_group is not None else dist.group.WORLD
        self.zero_copy = zero_copy
        self.why_not = ""
        self._places, self._started, self._said = {}, [], set()
        self._comm = None
        if "nccl" in str(dist.get_backend(self.group)):
            self.why_not = "the process group is NCCL's, which carries nothing between CPUs"
        else:
            self.why_not = self._try(self._open)
        if self.why_not:
            self._comm = None
            self._say(self.why_not)

    def reduce(self, bucket):
        buffer = bucket.buffer()
        place = self._place(bucket.index(), buffer)
        if place:
            place.take(bucket, buffer, self.zero_copy)
            place.sum.start()
            future = torch.futures.Future()
            self._started.append((place, future))
        else:
            future = default_hooks.allreduce_hook(self.group, bucket)
        if bucket.is_last():
            self._finish()
        return future

    def _finish(self):
        started, self._started = self._started, []
        for place, future in started:
            place.sum.wait()
            future.set_result(place.tensor)

    def _place(self, index, buffer):
        """The bucket's, or None: not ours to sum. New ones come with the first steps, as DDP deals out its buckets anew after the first.
        All that decides is the same on all ranks: a place must be made by all of them or by none."""
        shape = (buffer.numel(), str(buffer.dtype), str(buffer.device.type), str(buffer.layout))
        known, place = self._places.get(index, (None, None))
        if known != shape:
            if place:
                place.sum.free()
            place = self._new_place(buffer)
            self._places[index] = shape, place
        return place

    def _new_place(self, buffer):
        if not self._comm:
            return None
        reason, block = _unfit(buffer), []
        if not reason:
            reason = self._try(lambda: block.append(self._comm.alloc(buffer.numel() * buffer.element_size())))
        if reason:
            self._say(reason)
            return None
        return _Place(self._comm, block[0], buffer)

    # --- all ranks decide alike ---------------------------------------------------------------------------------------

    def _open(self):
        # A thread of its own for the sums where it takes no core from the ranks' computing. `lockstep run` knows better, and says so.
        here = int(os.environ.get("LOCAL_WORLD_SIZE", dist.get_world_size(self.group)))
        spare = len(os.sched_getaffinity(0)) >= here * (torch.get_num_threads() + 1)
        self._comm = Comm(dist.get_rank(self.group), dist.get_world_size(self.group), self._allgather, spare)

    def _try(self, action):
        """Do it on all ranks. "", or why it failed on the first rank where it did."""
        try:
            action()
            reason = ""
        except _Elsewhere:
            reason = ""
        except LockstepError as why:
            reason = str(why)
        while not self._meet(_DONE):  # some are still inside, and learn by this that one of us failed
            pass
        reasons = self._exchange(reason.encode()[:_REASON_BYTES].ljust(_REASON_BYTES, b"\0"))
        for rank, told in enumerate(reasons):
            if told.strip(b"\0"):
                return f"rank {rank}: {told.rstrip(bytes(1)).decode(errors='replace')}"
        return ""

    def _allgather(self, mine):
        """What the library asks for while it opens a group."""
        if not self._meet(_INSIDE):
            raise _Elsewhere
        return b"".join(self._exchange(mine))

    def _meet(self, where):
        """Are all ranks there?"""
        return self._exchange(where) == [where] * dist.get_world_size(self.group)

    def _exchange(self, mine):
        mine = torch.tensor(list(mine), dtype=torch.uint8)
        everyone = [torch.empty_like(mine) for _ in range(dist.get_world_size(self.group))]
        dist.all_gather(everyone, mine, group=self.group)
        return [bytes(theirs.tolist()) for theirs in everyone]

    def _say(self, reason):
        if dist.get_rank(self.group) == 0 and reason not in self._said:
            self._said.add(reason)
            warnings.warn(f"lockstep_ddp: PyTorch's own all-reduce is used: {reason}", RuntimeWarning, stacklevel=3)


def _unfit(buffer):
    if buffer.device.type != "cpu":
        return f"gradients are on {buffer.device.type}; only those on CPUs are summed here"
    if buffer.layout != torch.strided:
        return "sparse gradients are not summed here"
    if str(buffer.dtype).replace("torch.", "") not in DTYPES:
        return f"gradients of type {buffer.dtype} are not summed here, but {', '.join(DTYPES)}"
    return ""


class _Place:
    """Shared memory for one bucket, and the sum over it."""

    def __init__(self, comm, block, buffer):
        self.tensor = torch.frombuffer(block, dtype=buffer.dtype)
        self.sum = comm.all_reduce(block, buffer.numel(), str(buffer.dtype).replace("torch.", ""))
        self._moved = []  # [(parameter, address of its gradient)]

    def take(self, bucket, buffer, zero_copy):
        if buffer.data_ptr() != self.tensor.data_ptr():
            self.tensor.copy_(buffer)
            if zero_copy:
                self._move(bucket, buffer)
        elif any(p.grad is not None and p.grad.data_ptr() != address for p, address in self._moved):
            raise RuntimeError("lockstep_ddp: this version of DDP keeps gradients elsewhere than in its bucket; attach(model, zero_copy=False)")

    def _move(self, bucket, buffer):
        """With gradient_as_bucket_view=True, parameters' gradients are the very tensors that DDP keeps as the bucket's parts: given another
        storage, they and the bucket lie in shared memory from now on. Where it is not so, nothing is moved, and the next step copies again."""
        grads = [p.grad for p in bucket.parameters()]
        parts = bucket.gradients()
        if any(grad is None or grad.data_ptr() != part.data_ptr() for grad, part in zip(grads, parts)):
            return
        begin = buffer.data_ptr()
        with torch.no_grad():
            for grad, part in zip(grads, parts):
                at = (part.data_ptr() - begin) // part.element_size()
                grad.set_(self.tensor, at, grad.size(), grad.stride())
            buffer.set_(self.tensor)
        self._moved = [(p, p.grad.data_ptr()) for p in bucket.parameters()]
