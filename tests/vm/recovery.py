# SPDX-License-Identifier: GPL-2.0-or-later
"""How lost frames were made good, read from the cable's trace. Pure.

A frame that the cable has dropped belongs to a segment: a header frame, and the raw frames behind
it. Recovery is the time from the drop until a header that carries the same place of the same
message passes again. A round trip is the time from a SEND or WRITE that wants an answer to its
answer. READs and atomics wait for those before them, and what they bring queues at the requester:
there it is the time from a request to the one that takes its place in the window, so that both
sides' part in it is counted. All are times on the cable. Layouts: docs/wire-protocol.md.
"""

from __future__ import annotations

import re
import statistics
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

LINE = re.compile(
    r" *(?P<time>[0-9.]+) \S+ FRAME from=(?P<sender>\S+) .* eof=(?P<eof>\d+)"
    r" len=\d+ (?P<fate>\S+) (?P<head>[0-9a-f]+)$"
)
XP = struct.Struct("<BBHIIIIIIHHQII")
LINK_BYTES = 16
KIND_XP, EOF_HEADER, EOF_RAW = 3, 2, 8
ACKREQ = 0x04
SEND, WRITE, READ_REQ, CMP_SWAP, FETCH_ADD, PROBE = 0x01, 0x02, 0x03, 0x04, 0x05, 0x08
READ_RESP, ATOMIC_RESP, ACK, NAK = 0x10, 0x11, 0x12, 0x13
CARRIERS = (SEND, WRITE, READ_REQ, CMP_SWAP, FETCH_ADD, READ_RESP, ATOMIC_RESP)
ASKED = (READ_REQ, CMP_SWAP, FETCH_ADD)
PSN = 1 << 24


@dataclass(frozen=True)
class Segment:
    """What a header of the transport says, and when it passed."""

    time: float
    sender: str
    op: int
    flags: int
    dqpn: int
    sqpn: int
    psn: int
    offset: int
    length: int

    def carries(self, lost: Segment) -> bool:
        """Whether this brings what `lost` was to bring."""
        same = (self.sender, self.op, self.dqpn, self.psn)
        return (
            same == (lost.sender, lost.op, lost.dqpn, lost.psn)
            and self.offset <= lost.offset <= self.offset + self.length
        )


@dataclass
class Loss:
    """A lost frame of a segment, and what happened until it was sent again."""

    segment: Segment
    time: float
    raw: bool
    again: float | None = None
    told: bool = False  # by a sequence NAK, or by asking for the rest of a READ
    probed: bool = False
    frames: int = 0

    @property
    def seconds(self) -> float | None:
        """From the loss to the repetition."""
        return None if self.again is None else self.again - self.time


@dataclass
class Recovery:
    """All losses of a trace, its round trips; `other`: lost frames that carried no data."""

    losses: list[Loss] = field(default_factory=list)
    trips: list[float] = field(default_factory=list)
    other: int = 0

    @property
    def trip(self) -> float:
        """The median round trip in seconds."""
        return statistics.median(self.trips)

    def in_trips(self) -> list[float]:
        """How long each recovery took, in round trips."""
        done = [loss.seconds for loss in self.losses if loss.seconds is not None]
        return sorted(seconds / self.trip for seconds in done)


def read(lines: Iterable[str], window: int = 16) -> Recovery:
    """Losses and round trips of a trace; `window`: READs or atomics outstanding at once."""
    found = Recovery()
    last: dict[str, Segment | None] = {}
    waiting: list[Loss] = []
    asked: dict[tuple[str, int], list[Segment]] = {}
    for line in lines:
        match = LINE.match(line)
        if match is None:
            continue
        time, sender = float(match["time"]), match["sender"]
        raw = int(match["eof"]) >= EOF_RAW
        for loss in waiting:
            loss.frames += 1
        segment = last.get(sender) if raw else _header(time, sender, bytes.fromhex(match["head"]))
        last[sender] = segment
        if match["fate"] == "drop":
            if segment is None or segment.op not in CARRIERS:
                found.other += 1
            else:
                waiting.append(Loss(segment, time, raw))
                found.losses.append(waiting[-1])
            continue
        if segment is None or raw:
            continue
        for loss in waiting:
            _see(loss, segment)
        waiting = [loss for loss in waiting if loss.again is None]
        requests = asked.setdefault((sender, segment.sqpn), [])
        if segment.op in ASKED:
            found.trips.extend(_turned(requests, segment, window))
        elif segment.flags & ACKREQ:
            requests.append(segment)
        elif segment.op == ACK:
            found.trips.extend(_answered(asked, segment))
    return found


def _header(time: float, sender: str, head: bytes) -> Segment | None:
    if len(head) < LINK_BYTES + XP.size or head[0] != KIND_XP:
        return None
    fields = XP.unpack_from(head, LINK_BYTES)
    op, flags, _, dqpn, sqpn, psn, _, offset, length = fields[:9]
    return Segment(time, sender, op, flags, dqpn, sqpn, psn, offset, length)


def _see(loss: Loss, segment: Segment) -> None:
    lost = loss.segment
    if segment.carries(lost):
        loss.again = segment.time
    elif segment.sender != lost.sender and segment.dqpn == lost.sqpn:
        # The other side: a NAK, or for a READ's data the same request from where it broke off.
        missing = lost.op == READ_RESP and segment.op == READ_REQ and segment.psn == lost.psn
        loss.told = loss.told or segment.op == NAK or missing
    elif segment.sender == lost.sender and segment.op == PROBE:
        loss.probed = True


def _answered(asked: dict[tuple[str, int], list[Segment]], answer: Segment) -> Iterator[float]:
    """Round trips that end with this answer; what it refers to is not waited for any more."""
    for (sender, qpn), requests in asked.items():
        if sender == answer.sender or qpn != answer.dqpn:
            continue
        while requests and (answer.psn - requests[0].psn) % PSN < PSN // 2:
            yield answer.time - requests.pop(0).time


def _turned(requests: list[Segment], new: Segment, window: int) -> Iterator[float]:
    """Round trips that end with this request, which is asked for the first time or again."""
    if requests and (new.psn - requests[-1].psn - 1) % PSN >= PSN // 2:
        return
    while requests and (new.psn - requests[0].psn) % PSN >= window:
        yield new.time - requests.pop(0).time
    requests.append(new)
