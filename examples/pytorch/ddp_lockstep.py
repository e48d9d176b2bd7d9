"""ddp.py's network on made-up data, its gradients averaged in shared memory: what DDP takes beyond itself is one import and one line.

    pip install ./python
    torchrun --nproc_per_node 2 examples/pytorch/ddp_lockstep.py
    lockstep run -np 2 -- python3 examples/pytorch/ddp_lockstep.py
"""
import time

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

import lockstep_ddp


def main():
    dist.init_process_group("gloo")  # RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT
    torch.manual_seed(0)
    torch.set_num_threads(1)

    model = DistributedDataParallel(
        torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10)), gradient_as_bucket_view=True)
    lockstep_ddp.attach(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    generator = torch.Generator().manual_seed(1 + dist.get_rank())
    for step in range(200):
        data = torch.randn(32, 64, generator=generator)
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(data), data[:, :10].argmax(dim=1))
        loss.backward()
        optimizer.step()
        if dist.get_rank() == 0 and step % 50 == 49:
            print(f"step {step + 1} loss {loss.item():.4f}", flush=True)
    dist.barrier()
    time.sleep(0.2)  # see ddp.py
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
