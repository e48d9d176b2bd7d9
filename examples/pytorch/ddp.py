"""Data-parallel training on handwritten digits with PyTorch alone: what any DDP tutorial would write.

    torchrun --nproc_per_node 2 ddp.py
    lockstep run -np 2 -- python3 ddp.py
"""
import argparse
import os
import time

import numpy
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

HERE = os.path.dirname(os.path.abspath(__file__))


def load(path):
    """8x8 grey pixels (0-16) and the digit; every fifth image is held out."""
    table = torch.from_numpy(numpy.loadtxt(path, delimiter=",", dtype=numpy.float32))
    pixels, digit = table[:, :64] / 16, table[:, 64].long()
    held_out = torch.arange(len(table)) % 5 == 4
    return TensorDataset(pixels[~held_out], digit[~held_out]), TensorDataset(pixels[held_out], digit[held_out])


def accuracy(model, data, rank, world):
    """Each rank judges its share; the counts are summed."""
    pixels, digit = data.tensors
    pixels, digit = pixels[rank::world], digit[rank::world]
    with torch.no_grad():
        right = (model(pixels).argmax(dim=1) == digit).sum()
    counts = torch.tensor([float(right), float(len(digit))])
    dist.all_reduce(counts)
    return (counts[0] / counts[1]).item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--batch", type=int, default=32, help="per rank")
    parser.add_argument("--data", default=os.path.join(HERE, "..", "digits", "digits.csv"))
    args = parser.parse_args()

    dist.init_process_group("gloo")  # RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT
    rank, world = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(0)
    torch.set_num_threads(1)

    train, test = load(args.data)
    sampler = DistributedSampler(train, seed=0)
    loader = DataLoader(train, batch_size=args.batch, sampler=sampler, drop_last=True)
    model = DistributedDataParallel(
        torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    for epoch in range(args.epochs):
        sampler.set_epoch(epoch)
        total = torch.zeros(1)
        for pixels, digit in loader:
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(pixels), digit)
            loss.backward()
            optimizer.step()
            total += loss.detach()
        dist.all_reduce(total)
        share = accuracy(model.module, test, rank, world)
        if rank == 0:
            print(f"epoch {epoch + 1} loss {total.item() / len(loader) / world:.6f} accuracy {share:.4f}", flush=True)
    # PyTorch 1.13 can deadlock here, with any launcher: gloo's thread needs the interpreter's lock to drop its last work, while
    # destroy_process_group() holds the lock and waits for that thread. A sleep lends it the lock.
    dist.barrier()
    time.sleep(0.2)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
