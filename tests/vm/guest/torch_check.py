#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""PyTorch's distributed package on its MPI backend, for mpirun: collectives, then a training.

Each rank trains the same small model on its share of each batch with averaged gradients; rank 0
trains it once more alone, on whole batches, from the same seed. The losses must be equal but for
the order of the sums: TOLERANCE, relative. Rank 0 prints one line of JSON.
"""

import json
import socket
import time

import torch
import torch.distributed as dist

STEPS = 20
BATCH = 32
FEATURES = 64
TOLERANCE = 1e-5
SEED = 20
LENGTHS = (256, 65536, 1 << 20)


def collectives(rank: int, ranks: int) -> None:
    """all_reduce, broadcast and all_gather, compared whole."""
    for length in LENGTHS:
        base = torch.arange(length, dtype=torch.float32) % 1000
        total = base * (rank + 1)
        dist.all_reduce(total)
        assert torch.equal(total, base * (ranks * (ranks + 1) // 2)), f"all_reduce of {length}"
        sent = base + 5 if rank == ranks - 1 else torch.zeros(length)
        dist.broadcast(sent, ranks - 1)
        assert torch.equal(sent, base + 5), f"broadcast of {length}"
        parts = [torch.zeros(length) for _ in range(ranks)]
        dist.all_gather(parts, base - rank)
        for each, part in enumerate(parts):
            assert torch.equal(part, base - each), f"all_gather of {length}, part {each}"


def model() -> torch.nn.Module:
    """The same for all who call it: 64 to 128 to 32 to 1."""
    torch.manual_seed(SEED)
    return torch.nn.Sequential(
        torch.nn.Linear(FEATURES, 128),
        torch.nn.Tanh(),
        torch.nn.Linear(128, 32),
        torch.nn.Tanh(),
        torch.nn.Linear(32, 1),
    )


def train(rank: int, ranks: int) -> list[float]:
    """The loss of each step, over the whole batch."""
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    data = torch.Generator().manual_seed(SEED + 1)
    losses = []
    for _ in range(STEPS):
        features = torch.randn(BATCH, FEATURES, generator=data)
        wanted = torch.sin(features.sum(dim=1, keepdim=True) / 8)
        share = slice(rank * BATCH // ranks, (rank + 1) * BATCH // ranks)
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(net(features[share]), wanted[share])
        loss.backward()
        mean = loss.detach().clone()
        if ranks > 1:
            for parameter in net.parameters():
                dist.all_reduce(parameter.grad)
                parameter.grad /= ranks
            dist.all_reduce(mean)
            mean /= ranks
        optimizer.step()
        losses.append(mean.item())
    return losses


def main() -> None:
    started = time.monotonic()
    torch.set_num_threads(1)
    dist.init_process_group("mpi")
    rank, ranks = dist.get_rank(), dist.get_world_size()
    collectives(rank, ranks)
    together = train(rank, ranks)
    if rank == 0:
        alone = train(0, 1)
        for step, (one, other) in enumerate(zip(together, alone, strict=True)):
            assert abs(one - other) <= TOLERANCE * abs(other), f"step {step}: {one}, alone {other}"
        assert alone[-1] < alone[0] / 2, f"it learned nothing: {alone[0]} to {alone[-1]}"
        summary = {
            "ranks": ranks,
            "host": socket.gethostname(),
            "first": alone[0],
            "last": alone[-1],
            "largest difference": max(
                abs(one - other) / abs(other) for one, other in zip(together, alone, strict=True)
            ),
            "seconds": round(time.monotonic() - started, 1),
        }
        print(json.dumps(summary), flush=True)
    dist.barrier()
    dist.destroy_process_group()


main()
