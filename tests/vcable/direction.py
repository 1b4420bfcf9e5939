# SPDX-License-Identifier: GPL-2.0-or-later
"""One direction of a cable: from a TX ring to the sink at the far end, impairments between.

Frames of one direction stay in order, delayed ones included, unless a delay asks for reordering.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from .impair import Impairment, Kind
from .loop import Loop, Timer
from .rings import Sink
from .trace import Level, Trace
from .wire import Batch, Work

if TYPE_CHECKING:
    from .rings import TxRing

IN_FLIGHT_MAX = 4096
# After this a duplicated interrupt comes again: late enough to be one of its own.
AGAIN_SECONDS = 200e-6


class FarEnd(Protocol):
    """The port that frames of this direction arrive at."""

    def sink(self, hop: int) -> Sink | None:
        """Where frames with link HopID `hop` end; None when no path is enabled."""


@dataclass
class Flight:
    """A frame on its way: a copy, since the sender's buffer is free already."""

    due: float
    hop: int
    data: bytes
    sof: int
    eof: int
    crc_error: bool
    quiet: bool
    again: bool
    ring: str


class Direction:
    """Counts, impairs and delivers frames.  `up` follows the link."""

    def __init__(
        self, cable: str, sender: str, far: FarEnd, loop: Loop, batch: Batch, trace: Trace
    ) -> None:
        self.cable = cable
        self.sender = sender
        self.far = far
        self.up = False
        self.impairments: list[Impairment] = []
        self.stats: Counter[str] = Counter()
        self.injected: Counter[str] = Counter()
        self.hops: Counter[int] = Counter()
        self.frames = self.bytes = 0
        self._loop, self._batch, self._trace = loop, batch, trace
        self._sinks: dict[int, Sink | None] = {}
        self._outlets: dict[int, HopOutlet] = {}
        self._flights: deque[Flight] = deque()
        self._flights_full: dict[Work, None] = {}
        self._timer: Timer | None = None

    def outlet(self, hop: int) -> HopOutlet:
        """What a TX ring sends into to reach link HopID `hop`."""
        found = self._outlets.get(hop)
        if found is None:
            found = self._outlets[hop] = HopOutlet(self, hop)
        return found

    def forget_paths(self) -> None:
        self._sinks.clear()
        if self._flights:
            self._batch.add(self)

    def set_up(self, up: bool) -> None:
        """The link came or went; frames in flight are lost when it goes."""
        self.up = up
        self._sinks.clear()
        if not up and self._flights:
            self.stats["lost_in_flight"] += len(self._flights)
            self._flights.clear()
            if self._timer is not None:
                self._timer.cancel()
            self._release_waiters()

    def sink(self, hop: int) -> Sink | None:
        try:
            return self._sinks[hop]
        except KeyError:
            found = self._sinks[hop] = self.far.sink(hop) if self.up else None
            return found

    def ready(self, hop: int, waiter: Work, e2e: bool) -> bool:
        """False while an end-to-end controlled path has no descriptor, or too much is in
        flight; `waiter` is processed when that changes."""
        if self._flights:
            if len(self._flights) < IN_FLIGHT_MAX:
                return True
            self._flights_full[waiter] = None
            return False
        sink = self.sink(hop)
        if not e2e or sink is None or not sink.e2e or sink.has_room():
            return True
        sink.waiters[waiter] = None
        return False

    def send(self, hop: int, ring: str, data: memoryview | bytes, sof: int, eof: int) -> bool:
        """One frame goes onto the cable; False: hold back the sender's completion."""
        self.frames += 1
        self.bytes += len(data)
        self.hops[hop] += 1
        crc_error = quiet = again = held = False
        delay = -1.0
        reorder = False
        for impairment in self.impairments:
            if not impairment.hit():
                continue
            kind = impairment.kind
            self.injected[kind] += 1
            if kind is Kind.DROP:
                self.stats["drop"] += 1
                self._show(ring, "-", hop, sof, eof, data, "drop")
                return True
            if kind is Kind.CRC or kind is Kind.FLIP:
                data = flip_bit(data, impairment.choose(8 * len(data)))
                crc_error = crc_error or not impairment.silent
            elif kind is Kind.DELAY:
                delay = impairment.delay_us / 1e6
                reorder = impairment.reorder
            elif kind is Kind.NOINTR:
                quiet = True
            elif kind is Kind.DUPINTR:
                again = True
            elif kind is Kind.NOTXDONE:
                held = True
        if delay < 0 and not self._flights:
            self._deliver(hop, ring, data, sof, eof, crc_error, quiet, again)
        else:
            due = max(delay, 0.0)
            flight = Flight(due, hop, bytes(data), sof, eof, crc_error, quiet, again, ring)
            self._launch(flight, reorder)
        return not held

    def process(self) -> None:
        """Deliver the frames in flight that are due, oldest first."""
        now = self._loop.now()
        while self._flights:
            flight = self._flights[0]
            if flight.due > now:
                break
            sink = self.sink(flight.hop)
            if sink is not None and sink.e2e and not sink.has_room():
                sink.waiters[self] = None
                return
            self._flights.popleft()
            self._land(flight)
        self._release_waiters()
        self._arm()

    def in_flight(self) -> int:
        return len(self._flights)

    def reset_stats(self) -> None:
        self.stats.clear()
        self.injected.clear()
        self.hops.clear()
        self.frames = self.bytes = 0

    # Inside

    def _launch(self, flight: Flight, reorder: bool) -> None:
        flight.due += self._loop.now()
        if reorder:
            self._loop.call_later(flight.due - self._loop.now(), lambda: self._late(flight))
            return
        if self._flights:
            flight.due = max(flight.due, self._flights[-1].due)
        self._flights.append(flight)
        self._arm()

    def _late(self, f: Flight) -> None:
        if self.up:
            self._land(f)
        else:
            self.stats["lost_in_flight"] += 1

    def _land(self, f: Flight) -> None:
        self._deliver(f.hop, f.ring, f.data, f.sof, f.eof, f.crc_error, f.quiet, f.again)

    def _release_waiters(self) -> None:
        for waiter in self._flights_full:
            self._batch.add(waiter)
        self._flights_full.clear()

    def _arm(self) -> None:
        if self._flights and (self._timer is None or self._timer.cancelled):
            self._timer = self._loop.call_later(
                self._flights[0].due - self._loop.now(), self.process
            )

    def _deliver(
        self,
        hop: int,
        ring: str,
        data: memoryview | bytes,
        sof: int,
        eof: int,
        crc_error: bool,
        quiet: bool,
        again: bool,
    ) -> None:
        sink = self.sink(hop)
        if sink is None:
            fate = "no-path" if self.up else "link-down"
        else:
            fate = sink.receive(data, sof, eof, crc_error, quiet)
            if again:
                self._loop.call_later(AGAIN_SECONDS, sink.interrupt)
        if fate != "ok":
            self.stats[fate] += 1
        if self._trace.level >= Level.FRAMES:
            if crc_error:
                fate += ",crc"
            if quiet:
                fate += ",nointr"
            if again:
                fate += ",dupintr"
            self._show(ring, "-" if sink is None else sink.name, hop, sof, eof, data, fate)

    def _show(
        self, ring: str, to: str, hop: int, sof: int, eof: int, data: memoryview | bytes, fate: str
    ) -> None:
        if self._trace.level >= Level.FRAMES:
            self._trace.frame(self.cable, self.sender, f"{ring}>{to}", hop, sof, eof, data, fate)


class HopOutlet:
    """A direction at one link HopID, as a TX ring uses it."""

    __slots__ = ("_direction", "_hop")

    def __init__(self, direction: Direction, hop: int) -> None:
        self._direction = direction
        self._hop = hop

    def ready(self, waiter: Work, e2e: bool) -> bool:
        return self._direction.ready(self._hop, waiter, e2e)

    def send(self, ring: TxRing, data: memoryview | bytes, sof: int, eof: int) -> bool:
        return self._direction.send(self._hop, ring.name, data, sof, eof)


def flip_bit(data: memoryview | bytes, bit: int) -> bytes:
    """A copy of `data` with bit number `bit` inverted."""
    copy = bytearray(data)
    copy[bit // 8] ^= 1 << bit % 8
    return bytes(copy)
