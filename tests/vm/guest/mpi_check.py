#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""An MPI program for mpirun: collectives, point to point and, with --rma, one-sided operations.

  mpi_check.py [--largest BYTES] [--rma]

Each result is compared with what it must be, whole. Rank 0 prints one line of JSON at the end; any
difference ends the program with an error, which ends all ranks. Without numpy, whose import costs
an emulated host seconds: patterns are long arrays made of short ones.
"""

import argparse
import array
import json
import socket
import time

from mpi4py import MPI

SHORT = 256
SMALLEST = 1024
WORD = 4


def pattern(factor: int, length: int) -> array.array:
    """Words of a pattern that no shift repeats within SHORT, times a factor."""
    return array.array("i", [(i * 2654435 % 1000003 - 500000) * factor for i in range(SHORT)]) * (
        length // WORD // SHORT
    )


def same(what: str, got: array.array, wanted: array.array) -> None:
    """Compare whole; the first difference is the error."""
    if got == wanted:
        return
    at = next(i for i, pair in enumerate(zip(got, wanted, strict=True)) if pair[0] != pair[1])
    raise SystemExit(f"{what}: word {at} of {len(got)} is {got[at]}, not {wanted[at]}")


def sizes(largest: int) -> list[int]:
    """From 1 KiB to the largest, by four."""
    found = [SMALLEST]
    while found[-1] * 4 <= largest:
        found.append(found[-1] * 4)
    if found[-1] != largest:
        found.append(largest)
    return found


def collectives(world: MPI.Comm, length: int) -> None:
    """allreduce, broadcast and allgather of this many bytes."""
    rank, ranks = world.rank, world.size
    empty = array.array("i", bytes(length))
    total = array.array("i", empty)
    world.Allreduce(pattern(rank + 1, length), total, MPI.SUM)
    same(f"allreduce of {length}", total, pattern(ranks * (ranks + 1) // 2, length))
    root = ranks - 1
    sent = pattern(7, length) if rank == root else array.array("i", empty)
    world.Bcast(sent, root)
    same(f"broadcast of {length}", sent, pattern(7, length))
    part = length // ranks
    gathered = array.array("i", bytes(part * ranks))
    if part % (SHORT * WORD) == 0:
        world.Allgather(pattern(rank + 1, part), gathered)
        wanted = array.array("i")
        for each in range(ranks):
            wanted += pattern(each + 1, part)
        same(f"allgather of {length}", gathered, wanted)


def ring(world: MPI.Comm, length: int) -> None:
    """Each rank sends to the next one and receives from the one before."""
    rank, ranks = world.rank, world.size
    got = array.array("i", bytes(length))
    world.Sendrecv(
        pattern(rank + 11, length), (rank + 1) % ranks, recvbuf=got, source=(rank - 1) % ranks
    )
    same(f"ring of {length}", got, pattern((rank - 1) % ranks + 11, length))


def one_sided(world: MPI.Comm, length: int) -> None:
    """put, get, accumulate, fetch-and-add and compare-and-swap in a window of each rank."""
    rank, ranks = world.rank, world.size
    memory = array.array("i", bytes(length))
    counters = array.array("q", [0, 0])
    window = MPI.Win.Create(memory, WORD, comm=world)
    counting = MPI.Win.Create(counters, 8, comm=world)
    # What is given to an operation must live until it is over.
    put = pattern(rank + 3, length)
    added = pattern(2, SHORT * WORD)
    one, mine, zero = (array.array("q", [value]) for value in (1, rank + 1, 0))
    window.Fence()
    window.Put(put, (rank + 1) % ranks)
    window.Fence()
    same("put", memory, pattern((rank - 1) % ranks + 3, length))
    got = array.array("i", bytes(length))
    window.Get(got, (rank + 2) % ranks)
    window.Fence()
    same("get", got, pattern((rank + 1) % ranks + 3, length))
    window.Accumulate(added, 0, op=MPI.SUM)
    window.Fence()
    if rank == 0:
        wanted = pattern(ranks - 1 + 3, SHORT * WORD)
        for _ in range(ranks):
            wanted = array.array("i", [a + b for a, b in zip(wanted, added, strict=True)])
        same("accumulate", memory[:SHORT], wanted)
    times = 10
    seen = array.array("q", [0])
    counting.Lock_all()
    for _ in range(times):
        counting.Fetch_and_op(one, seen, 0, 0, MPI.SUM)
        counting.Flush(0)
    swapped = array.array("q", [0])
    counting.Compare_and_swap(mine, zero, swapped, ranks - 1, 1)
    counting.Flush(ranks - 1)
    counting.Unlock_all()
    world.Barrier()
    winners = world.allgather(swapped[0] == 0)
    if winners.count(True) != 1:
        raise SystemExit(f"compare-and-swap: winners {winners}")
    counting.Lock_all()
    counting.Fetch_and_op(zero, seen, 0, 0, MPI.SUM)
    counting.Flush(0)
    counting.Unlock_all()
    if seen[0] != times * ranks:
        raise SystemExit(f"fetch-and-add: {seen[0]}, not {times * ranks}")
    world.Barrier()
    counting.Free()
    window.Free()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--largest", type=int, default=65536)
    parser.add_argument("--rma", action="store_true")
    options = parser.parse_args()
    world = MPI.COMM_WORLD
    started = time.monotonic()
    for length in sizes(options.largest):
        collectives(world, length)
        ring(world, min(length, 1 << 20))
    if options.rma:
        one_sided(world, 1 << 16)
    hosts = world.gather(socket.gethostname())
    if world.rank == 0:
        summary = {
            "ranks": world.size,
            "hosts": sorted(set(hosts)),
            "largest": options.largest,
            "rma": options.rma,
            "library": MPI.Get_library_version().split(",")[0].split("\n")[0],
            "seconds": round(time.monotonic() - started, 2),
        }
        print(json.dumps(summary), flush=True)


try:
    main()
except BaseException as error:
    print(f"rank {MPI.COMM_WORLD.rank}: {error!r}", flush=True)
    MPI.COMM_WORLD.Abort(1)
