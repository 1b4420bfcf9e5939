#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""An allreduce for mpiexec.mpich, without mpi4py, which Debian builds for Open MPI alone.

  mpich_check.py LARGEST

Calls libmpich.so through ctypes; its handles are the integers of the MPICH ABI. Sums words of 1 KiB
to LARGEST bytes over all ranks and compares the sums whole. Rank 0 prints one line of JSON.
"""

import array
import ctypes
import json
import sys

WORLD = 0x44000000
INT = 0x4C000405
SUM = 0x58000003
SHORT = 256
WORD = 4


def words(factor: int, count: int) -> array.array:
    """A pattern times a factor."""
    return array.array("i", [(i * 2654435 % 1000003 - 500000) * factor for i in range(SHORT)]) * (
        count // SHORT
    )


def pointer(data: array.array) -> ctypes.c_void_p:
    return ctypes.c_void_p(data.buffer_info()[0])


def main() -> None:
    largest = int(sys.argv[1])
    mpi = ctypes.CDLL("libmpich.so.12")
    mpi.MPI_Init(None, None)
    rank, ranks = ctypes.c_int(), ctypes.c_int()
    mpi.MPI_Comm_rank(WORLD, ctypes.byref(rank))
    mpi.MPI_Comm_size(WORLD, ctypes.byref(ranks))
    length = 1024
    done = []
    while length <= largest:
        count = length // WORD
        mine = words(rank.value + 1, count)
        total = array.array("i", bytes(length))
        if mpi.MPI_Allreduce(pointer(mine), pointer(total), count, INT, SUM, WORLD):
            mpi.MPI_Abort(WORLD, 1)
        if total != words(ranks.value * (ranks.value + 1) // 2, count):
            print(f"rank {rank.value}: allreduce of {length} is wrong", flush=True)
            mpi.MPI_Abort(WORLD, 1)
        done.append(length)
        length *= 4
    mpi.MPI_Barrier(WORLD)
    if rank.value == 0:
        print(json.dumps({"ranks": ranks.value, "lengths": done}), flush=True)
    mpi.MPI_Finalize()


main()
