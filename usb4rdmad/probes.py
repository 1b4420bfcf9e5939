# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests that run: our ends of them, one a link. Decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from . import events, orders
from .events import Event
from .model import ENDPOINT_MAX, Measured
from .ports import Probe, Prober


class Probes:
    """What a link's test is carried out by. Without a prober each test is refused."""

    def __init__(self, prober: Prober | None, post: Callable[[Event], None]) -> None:
        self._prober = prober
        self._post = post
        self._open: dict[str, tuple[int, Probe]] = {}

    def open(self, order: orders.OpenProbe) -> None:
        """Make our end."""
        self.close(order.link)
        link, serial = order.link, order.serial

        def opened(result: bytes | str) -> None:
            if isinstance(result, str):
                self._post(events.ProbeOpened(link, serial, b"", result or "no endpoint"))
            elif 1 <= len(result) <= ENDPOINT_MAX:
                self._post(events.ProbeOpened(link, serial, result))
            else:
                self._post(events.ProbeOpened(link, serial, b"", "an endpoint of odd size"))

        # Not at once: who asked for the test has to learn its number first.
        soon = asyncio.get_running_loop().call_soon
        if self._prober is None:
            soon(opened, "tests are not available: install python3-pyverbs")
            return
        if not order.gid:
            soon(opened, "the port has no RoCE v2 GID")
            return
        self._open[link] = (
            serial,
            self._prober.open(order.ibdev, order.gid, order.plan, opened),
        )

    def run(self, order: orders.RunProbe) -> None:
        """Connect to the other end and measure."""
        link, serial = order.link, order.serial
        entry = self._open.get(link)
        if entry is None or entry[0] != serial:
            self._post(events.ProbeDone(link, serial, Measured("the test was ended")))
            return

        def done(measured: Measured) -> None:
            self._post(events.ProbeDone(link, serial, measured))

        entry[1].run(order.remote, done)

    def close(self, link: str) -> None:
        """End a link's test, if there is one."""
        entry = self._open.pop(link, None)
        if entry is not None:
            entry[1].close()

    def close_all(self) -> None:
        """End all."""
        for link in list(self._open):
            self.close(link)
