# SPDX-License-Identifier: GPL-2.0-or-later
"""What tests/vm/recovery.py reads from a trace."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "vm"))

import recovery
from recovery import ACK, ACKREQ, NAK, READ_REQ, READ_RESP, WRITE

REQUESTER, RESPONDER = (7, "b:1"), (9, "a:1")


def line(time: float, end: tuple[int, str], op: int, psn: int, **more: int | str) -> str:
    """A header frame as the trace shows it."""
    qpn, sender = end
    other = RESPONDER[0] if qpn == REQUESTER[0] else REQUESTER[0]
    fields = (
        op, more.get("flags", 0), 0, other, qpn, psn, 9000,
        more.get("offset", 0), more.get("length", 4000), 0, 0, 0, 0, 0,
    )  # fmt: skip
    head = bytes([3]) + bytes(15) + recovery.XP.pack(*fields)
    fate = more.get("fate", "ok")
    return (
        f"{time:12.6f} a:1-b:1 FRAME from={sender} ring=tx1>rx1 hop=8 sof=1 eof=2"
        f" len=4096 {fate} {head.hex()}"
    )


def raw(time: float, end: tuple[int, str], fate: str = "ok") -> str:
    """A raw frame."""
    return (
        f"{time:12.6f} a:1-b:1 FRAME from={end[1]} ring=tx1>rx1 hop=8 sof=1 eof=9"
        f" len=4096 {fate} {bytes(64).hex()}"
    )


def test_recovery_is_from_the_loss_to_the_same_segment_in_round_trips() -> None:
    found = recovery.read(
        [
            "    1.000000 a > CTL something else",
            line(1.0, REQUESTER, WRITE, 1, flags=ACKREQ),
            line(1.2, RESPONDER, ACK, 1),
            line(2.0, REQUESTER, WRITE, 2, fate="drop"),
            line(2.1, REQUESTER, WRITE, 3),
            line(2.2, RESPONDER, NAK, 2),
            line(2.3, REQUESTER, WRITE, 2),
        ]
    )
    (loss,) = found.losses
    assert found.trips == [pytest.approx(0.2)]
    assert found.in_trips() == [pytest.approx(1.5)]
    assert loss.told and not loss.raw and not loss.probed
    assert loss.frames == 3


def test_a_raw_frame_belongs_to_the_header_before_it_on_its_side() -> None:
    found = recovery.read(
        [
            line(1.0, REQUESTER, WRITE, 5),
            line(1.1, RESPONDER, ACK, 4),
            raw(1.2, REQUESTER, "drop"),
            raw(1.3, REQUESTER),
            line(1.4, REQUESTER, WRITE, 6),
            line(1.5, REQUESTER, recovery.PROBE, 6),
            line(1.6, REQUESTER, WRITE, 5),
        ]
    )
    (loss,) = found.losses
    assert loss.raw and loss.probed and not loss.told
    assert loss.seconds == pytest.approx(0.4)


def test_a_round_trip_of_reads_is_until_the_next_one_in_the_window() -> None:
    found = recovery.read(
        [
            line(1.0, REQUESTER, READ_REQ, 8),
            line(1.1, REQUESTER, READ_REQ, 9),
            line(1.3, RESPONDER, READ_RESP, 8),
            line(1.4, REQUESTER, READ_REQ, 10),
            # Asked again: no turn of the window.
            line(1.5, REQUESTER, READ_REQ, 9),
            line(1.6, REQUESTER, READ_REQ, 11),
        ],
        window=2,
    )
    assert found.trips == [pytest.approx(0.4), pytest.approx(0.5)]


def test_a_lost_part_of_a_read_is_recovered_by_whatever_brings_its_place() -> None:
    found = recovery.read(
        [
            line(1.0, REQUESTER, READ_REQ, 8),
            line(1.1, RESPONDER, READ_RESP, 8, offset=0),
            line(1.2, RESPONDER, READ_RESP, 8, offset=4000, fate="drop"),
            line(1.3, RESPONDER, READ_RESP, 8, offset=8000),
            line(1.4, REQUESTER, READ_REQ, 8, offset=4000),
            line(1.5, RESPONDER, READ_RESP, 8, offset=4000),
        ]
    )
    (loss,) = found.losses
    assert loss.told
    assert loss.seconds == pytest.approx(0.3)


def test_what_carries_no_data_and_what_never_comes_again_is_told_apart() -> None:
    found = recovery.read(
        [
            line(1.0, RESPONDER, ACK, 1, fate="drop"),
            line(2.0, REQUESTER, WRITE, 2, fate="drop"),
            line(2.1, REQUESTER, WRITE, 3),
        ]
    )
    assert found.other == 1
    assert [loss.seconds for loss in found.losses] == [None]
    assert found.in_trips() == []
