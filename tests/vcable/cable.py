# SPDX-License-Identifier: GPL-2.0-or-later
"""A cable between two ports: plugging, training, bonding, and the two directions of data."""

from __future__ import annotations

import enum
from typing import Protocol

from .confspace import SPEED_GEN3, SPEED_GEN4
from .direction import Direction
from .impair import Impairment
from .loop import Loop, Timer
from .rings import Sink
from .trace import Trace
from .wire import Batch

TRAINING_TIME = 0.1


class LinkState(enum.StrEnum):
    """DOWN: plugged, but an end has no power or is in reset."""

    UNPLUGGED = "unplugged"
    DOWN = "down"
    TRAINING = "training"
    UP = "up"


class CableEnd(Protocol):
    """A port as a cable sees it: of an emulated router, or of a scripted peer."""

    name: str
    cable: Cable | None
    out: Direction | None

    @property
    def lanes(self) -> int:
        """How many lanes it can use, 1 or 2."""

    @property
    def version(self) -> int:
        """USB4 version, 1 or 2."""

    @property
    def ready(self) -> bool:
        """Powered and not in reset."""

    @property
    def bonding_targets(self) -> tuple[bool, bool]:
        """(both lanes want to be bonded, this end has asked for it)."""

    def sink(self, hop: int) -> Sink | None:
        """Where data frames with link HopID `hop` end."""

    def link_changed(self, state: LinkState, width: int, speed: int, lanes: int) -> None:
        """State, width or lanes have changed."""

    def receive_xdomain(self, kind: int, words: list[int]) -> None:
        """A control packet of the other host; `words` begins after the route."""


class Cable:
    """Joins two ends for as long as it exists; `plug()` and `unplug()` are the hand on it."""

    def __init__(self, a: CableEnd, b: CableEnd, loop: Loop, batch: Batch, trace: Trace) -> None:
        self.name = f"{a.name}-{b.name}"
        self.ends = (a, b)
        self.state = LinkState.UNPLUGGED
        self.plugged = False
        self.width = 1
        self.lanes = min(a.lanes, b.lanes)
        self.speed = SPEED_GEN4 if min(a.version, b.version) >= 2 else SPEED_GEN3
        self.directions = (
            Direction(self.name, a.name, b, loop, batch, trace),
            Direction(self.name, b.name, a, loop, batch, trace),
        )
        self.downs = 0
        self._loop, self._trace = loop, trace
        self._timer: Timer | None = None

    @property
    def gbps(self) -> int:
        """Speed of one lane."""
        return 40 if self.speed == SPEED_GEN4 else 20

    def other(self, end: CableEnd) -> CableEnd:
        return self.ends[1] if end is self.ends[0] else self.ends[0]

    def incoming(self, end: CableEnd) -> Direction:
        """The direction whose frames arrive at `end`."""
        return self.directions[1] if end is self.ends[0] else self.directions[0]

    def plug(self) -> None:
        """Put both plugs in; the ends must be free (the caller checks)."""
        if self.plugged:
            return
        self.plugged = True
        for end, direction in zip(self.ends, self.directions, strict=True):
            end.cable, end.out = self, direction
        self.refresh()

    def unplug(self) -> None:
        if not self.plugged:
            return
        self.plugged = False
        self.refresh()
        for end in self.ends:
            end.cable = end.out = None

    def refresh(self) -> None:
        """An end's power or reset has changed, or the plugs have: find the new state."""
        if not self.plugged:
            self._enter(LinkState.UNPLUGGED)
        elif not all(end.ready for end in self.ends):
            self._enter(LinkState.DOWN)
        elif self.state in (LinkState.UNPLUGGED, LinkState.DOWN):
            self._enter(LinkState.TRAINING)
            self._timer = self._loop.call_later(TRAINING_TIME, self._trained)

    def lanes_changed(self) -> None:
        """An end has written its lane registers: bond, unbond, or only show it."""
        width = self.width
        if self.state is LinkState.UP and self.speed != SPEED_GEN4:
            (dual_a, ask_a), (dual_b, ask_b) = (end.bonding_targets for end in self.ends)
            if width == 1 and self.lanes == 2 and dual_a and dual_b and (ask_a or ask_b):
                width = 2
            elif width == 2 and not (dual_a and dual_b):
                width = 1
        if width != self.width:
            self.width = width
            self._trace.line(f"{self.name} LINK {self.state} width={width}")
        self._show()

    def forward_xdomain(self, sender: CableEnd, kind: int, words: list[int]) -> bool:
        """Carry a control packet to the other host; False when the link is not up."""
        if self.state is not LinkState.UP:
            return False
        self.other(sender).receive_xdomain(kind, words)
        return True

    def inject(self, impairment: Impairment) -> None:
        """Add an impairment to the directions its sender names (both without one)."""
        for direction in self.directions:
            if impairment.sender in (None, direction.sender):
                direction.impairments.append(impairment)

    def inject_off(self) -> None:
        for direction in self.directions:
            direction.impairments.clear()

    # Inside

    def _enter(self, state: LinkState) -> None:
        if state is self.state:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.state is LinkState.UP:
            self.downs += 1
        self.state = state
        up = state is LinkState.UP
        self.width = 2 if up and self.speed == SPEED_GEN4 and self.lanes == 2 else 1
        self._trace.line(f"{self.name} LINK {state} width={self.width} speed={self.gbps}")
        for direction in self.directions:
            direction.set_up(up)
        self._show()

    def _trained(self) -> None:
        self._timer = None
        self._enter(LinkState.UP)
        self.lanes_changed()

    def _show(self) -> None:
        for end in self.ends:
            lanes = self.lanes if self.plugged else end.lanes
            end.link_changed(self.state, self.width, self.speed, lanes)
