# SPDX-License-Identifier: GPL-2.0-or-later
"""Hot plug events of a router: told until acknowledged, kept while the host sleeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .loop import Loop, Timer
from .packets import REPLY, Kind

if TYPE_CHECKING:
    from .ports import UsbPort
    from .router import Router

REPEAT_TIME = 1.0
REPEAT_MAX = 30


class _Told:
    """What the driver knows of one port, and the event on its way."""

    def __init__(self) -> None:
        self.plugged = False
        self.flapped = False
        self.sent: bool | None = None  # the event in flight: True plug, False unplug
        self.repeats = 0
        self.timer: Timer | None = None

    def stop(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.timer = None
        self.sent = None
        self.repeats = 0


class HotplugEvents:
    """Brings the driver's knowledge in line with the links, one acknowledged event at a time.

    A link that went down and came back while nobody could be told is an unplug and a plug.
    """

    def __init__(self, router: Router, loop: Loop) -> None:
        self._router = router
        self._loop = loop
        self._told: dict[int, _Told] = {}
        self.reset()

    def reset(self) -> None:
        for told in self._told.values():
            told.stop()
        self._told = {port.adapter: _Told() for port in self._router.ports}

    def link_changed(self, port: UsbPort) -> None:
        told = self._told[port.adapter]
        if not port.up and told.plugged:
            told.flapped = True
        self._check(port)

    def check(self) -> None:
        """Something that allows or forbids events has changed."""
        for port in self._router.ports:
            self._check(port)

    def ring_ready(self) -> None:
        """The driver has started ring 0: what was in flight before is lost."""
        for told in self._told.values():
            told.stop()
        self.check()

    def acknowledged(self, adapter: int) -> None:
        told = self._told.get(adapter)
        port = self._router.port_of(adapter)
        if told is None or port is None or told.sent is None:
            return
        told.plugged = told.sent
        if not told.sent:
            told.flapped = False
        told.stop()
        self._check(port)

    def _check(self, port: UsbPort) -> None:
        told = self._told[port.adapter]
        if told.sent is not None or not self._router.valid:
            return
        if told.plugged and (told.flapped or not port.up):
            event = False
        elif not told.plugged and port.up:
            event = True
        else:
            return
        if not self._router.adapters[port.adapter].hotplug_enabled:
            return
        nhi = self._router.nhi
        if nhi is None or not nhi.control_ready():
            self._router.on_wake()
            return
        told.sent = event
        told.repeats = 0
        self._send(port)

    def _send(self, port: UsbPort) -> None:
        told = self._told[port.adapter]
        if told.sent is None:
            return
        word = port.adapter | (0 if told.sent else REPLY)
        self._router.send_control(Kind.EVENT, [REPLY, 0, word])
        told.repeats += 1
        if told.repeats < REPEAT_MAX:
            told.timer = self._loop.call_later(REPEAT_TIME, lambda: self._send(port))
        else:
            told.stop()
