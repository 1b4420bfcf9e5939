# SPDX-License-Identifier: GPL-2.0-or-later
"""What integrity.py sends, the memory it lies in, and how far a queue pair is with it."""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import random
from dataclasses import dataclass, field
from typing import Any

from pyverbs import enums as e
from pyverbs.mr import MR
from pyverbs.pd import PD
from pyverbs.qp import QP

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
OPCODES = {
    SEND: e.IBV_WR_SEND,
    SEND_IMM: e.IBV_WR_SEND_WITH_IMM,
    WRITE: e.IBV_WR_RDMA_WRITE,
    WRITE_IMM: e.IBV_WR_RDMA_WRITE_WITH_IMM,
    READ: e.IBV_WR_RDMA_READ,
}


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


@dataclass
class Pair:
    """One queue pair: our messages, and those of the peer."""

    qp: QP
    slots: Memory
    reads: Memory
    outgoing: list[Message]
    incoming: list[Message]
    remote: dict[str, Any] = field(default_factory=dict)
    next: int = 0  # index into outgoing
    told: int = 0  # own messages, other than READs, given to the queue pair
    credited: int = 0  # how many of them the peer has checked
    reading: list[Message] = field(default_factory=list)  # READs in the order they were posted
    read_done: int = 0
    in_queue: int = 0  # work requests not completed
    arrived: int = 0  # the peer's messages checked
    owed: int = 0  # credits not yet given
    sent_digest: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=16))
    got_digest: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=16))
