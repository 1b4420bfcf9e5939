# SPDX-License-Identifier: GPL-2.0-or-later
"""What integrity.py sends, and the memory where it is sent from and lies when it has come."""

from __future__ import annotations

import argparse
import ctypes
import random
from dataclasses import dataclass

from pyverbs import enums as e
from pyverbs.mr import MR
from pyverbs.pd import PD

LARGEST = 1 << 20
POOL = 4 << 20
GUARD = 64
GUARD_BYTES = b"\xa5" * GUARD
SLOT = GUARD + LARGEST + GUARD
WINDOW = 4
EDGES = (0, 1, 63, 64, 4031, 4032, 4095, 4096, 4097, 8192, 65535, 65536, LARGEST - 1, LARGEST)
ACCESS = e.IBV_ACCESS_LOCAL_WRITE | e.IBV_ACCESS_REMOTE_WRITE | e.IBV_ACCESS_REMOTE_READ

SEND, SEND_IMM, WRITE, WRITE_IMM, READ = "send", "send_imm", "write", "write_imm", "read"
KINDS = (SEND, SEND_IMM, WRITE, WRITE_IMM, READ)


@dataclass(frozen=True)
class Message:
    """One message: what, where in the pool, how long."""

    kind: str
    offset: int
    size: int


def schedule(seed: str, wanted: argparse.Namespace) -> list[Message]:
    """The messages of one direction of one queue pair; both sides compute the same."""
    rng = random.Random(seed)
    messages = []
    for number in range(wanted.count):
        if number < len(EDGES):
            size = EDGES[number]
        elif rng.random() < wanted.large:
            size = rng.randint(0, LARGEST)
        else:
            size = int(2 ** rng.uniform(0, 16)) - 1
        messages.append(Message(rng.choice(wanted.kinds), rng.randint(0, POOL - size), size))
    return messages


class Memory:
    """A registered region and a view of it."""

    def __init__(self, pd: PD, size: int) -> None:
        self.mr = MR(pd, size, ACCESS)
        self.address: int = self.mr.buf
        self.view = memoryview((ctypes.c_char * size).from_address(self.address)).cast("B")

    def key(self) -> tuple[int, int]:
        """What the peer needs to write here or to read from here."""
        return self.address, self.mr.rkey


def place(number: int) -> int:
    """Where in a memory of slots the message with this number lies."""
    return (number % WINDOW) * SLOT + GUARD
