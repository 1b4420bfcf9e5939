# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows of a table of what verbs say, and the words that most of them are told in."""

from __future__ import annotations

from collections.abc import Callable

from pyverbs import enums as e
from verbs_pair import Device, End, Events, statuses

SEND, WRITE, READ = e.IBV_WR_SEND, e.IBV_WR_RDMA_WRITE, e.IBV_WR_RDMA_READ
WRITE_IMM = e.IBV_WR_RDMA_WRITE_WITH_IMM
FETCH_ADD = e.IBV_WR_ATOMIC_FETCH_AND_ADD
# So that giving up does not take long.
HASTY = {"timeout": 8, "retry_cnt": 1, "rnr_retry": 1}

Row = Callable[[Device, Events], str]
ROWS: list[tuple[str, str, Row]] = []


def row(name: str, wanted: str) -> Callable[[Row], Row]:
    """A line of the table."""

    def add(function: Row) -> Row:
        ROWS.append((name, wanted, function))
        return function

    return add


def remote(end: End, offset: int = 0, key: int | None = None) -> tuple[int, int]:
    """A place in the region of the other end."""
    return end.mr.buf + offset, end.mr.rkey if key is None else key


def one(a: End, b: End, opcode: int, length: int = 64, **options: object) -> str:
    """The status of one request of `a`."""
    target = options.pop("remote", remote(b))
    a.post(opcode, length, remote=target, **options)  # type: ignore[arg-type]
    return statuses(a.send_cq, 1)[0]


def both(a: End, b: End) -> str:
    """The statuses of one completion on each side."""
    return f"{statuses(a.send_cq, 1)[0]}; receiver: {statuses(b.recv_cq, 1)[0]}"
