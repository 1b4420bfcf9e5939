# SPDX-License-Identifier: GPL-2.0-or-later
"""The channels to the peers' daemons: sessions, comparisons and their clocks.

Alive things that the state only knows the outcome of. Decides nothing: what a
session brings is posted as events.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from . import events
from .errors import HandshakeInvalid
from .events import Event
from .model import KernelLink
from .pairing.compare import Comparison
from .pairing.session import End, Invalid, Mismatch, Notice, Output, Session, Stalled, Up
from .ports import Driver

EARLY_FRAMES = 8


class Channels:
    """One session a link at most."""

    def __init__(
        self, key: bytes, hostname: str, driver: Driver, post: Callable[[Event], None]
    ) -> None:
        self._key = key
        self._hostname = hostname
        self._driver = driver
        self._post = post
        self._sessions: dict[str, tuple[int, Session]] = {}
        self._early: dict[str, deque[bytes]] = {}
        self._comparisons: dict[str, Comparison] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def frame(self, name: str, frame: bytes) -> None:
        """A frame of the relay; one that comes before the session is kept for it."""
        entry = self._sessions.get(name)
        if entry is None:
            self._early.setdefault(name, deque(maxlen=EARLY_FRAMES)).append(frame)
            return
        self._output(name, entry[0], entry[1], entry[1].receive(frame, time.monotonic()))

    def _output(self, name: str, instance: int, session: Session, output: Output) -> None:
        for frame in output.frames:
            self._driver.send(name, frame)
        for notice in output.notices:
            self._post(_event(name, instance, notice))
        if session.deadline is None:
            self._stop_timer(name)
        else:
            loop = asyncio.get_running_loop()
            delay = max(0.0, session.deadline - time.monotonic())
            self._stop_timer(name)
            self._timers[name] = loop.call_later(delay, self._tick, name)

    def _tick(self, name: str) -> None:
        entry = self._sessions.get(name)
        if entry is not None:
            self._output(name, entry[0], entry[1], entry[1].tick(time.monotonic()))

    def start(self, kernel: KernelLink, psk: bytes | None) -> None:
        """Begin to authenticate the peer of this instance."""
        session = Session(
            self._key,
            self._hostname,
            End(kernel.local_host_id, kernel.local_epoch, kernel.local_uuid, kernel.version),
            End(kernel.host_id, kernel.epoch, kernel.peer_uuid, kernel.peer_version),
            psk=psk,
        )
        self._sessions[kernel.name] = (kernel.instance, session)
        self._output(kernel.name, kernel.instance, session, session.start(time.monotonic()))
        for frame in self._early.pop(kernel.name, ()):
            self.frame(kernel.name, frame)

    def end(self, name: str) -> None:
        """Wipe a link's session."""
        self._sessions.pop(name, None)
        self._comparisons.pop(name, None)
        self._stop_timer(name)

    def send(self, name: str, body: bytes) -> None:
        """Say something to the peer's daemon, if the channel stands."""
        entry = self._sessions.get(name)
        frame = entry[1].send(body) if entry else None
        if frame is not None:
            self._driver.send(name, frame)

    def compare(self, name: str, initiator: bool) -> None:
        """Begin the exchange that ends in a code."""
        entry = self._sessions.get(name)
        if entry is None:
            return
        comparison = Comparison(initiator, entry[1].handshake_hash)
        self._comparisons[name] = comparison
        first = comparison.start()
        if first is not None:
            self.send(name, first)

    def compare_input(self, name: str, body: bytes) -> None:
        """A message of that exchange."""
        comparison = self._comparisons.get(name)
        if comparison is None:
            return
        try:
            answer = comparison.receive(body)
        except HandshakeInvalid:
            del self._comparisons[name]
            self._post(events.ComparisonFailed(name))
            return
        if answer is not None:
            self.send(name, answer)
        if comparison.code:
            self._post(events.CodeReady(name, comparison.code))

    def forget(self, name: str) -> None:
        """The link is gone: so is what came too early on it."""
        self._early.pop(name, None)

    def _stop_timer(self, name: str) -> None:
        old = self._timers.pop(name, None)
        if old is not None:
            old.cancel()

    def close(self) -> None:
        """No clock runs any more."""
        for handle in self._timers.values():
            handle.cancel()
        self._timers.clear()


def _event(name: str, instance: int, notice: Notice) -> Event:
    match notice:
        case Up():
            return events.SessionUp(name, instance, notice.public_key, notice.name, notice.cluster)
        case Stalled():
            return events.SessionStalled(name, instance)
        case Mismatch():
            return events.SessionMismatch(name, instance)
        case Invalid():
            return events.SessionInvalid(name, instance)
        case bytes():
            return events.MessageReceived(name, notice)
