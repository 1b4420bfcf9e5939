# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon's service on the bus: the state published, calls answered, agents asked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from ..effects import Hub
from ..log import log
from ..model import Link, State
from ..orders import Report
from . import NAME, ROOT, polkit, present, wire
from .agents import Agents
from .connection import Connection
from .dispatch import Dispatcher
from .interfaces import MANAGER
from .methods import Methods, Settings, link_named
from .publish import Emission, Publisher

SLEEP_MATCH = (
    "type='signal',sender='org.freedesktop.login1',path='/org/freedesktop/login1',"
    "interface='org.freedesktop.login1.Manager',member='PrepareForSleep'"
)
DRIVER_AGE = 1.0
"""Seconds for which the driver's version is not looked up again."""


class BusService:
    """org.usb4rdma1. start() returns once the name is ours."""

    def __init__(self, hub: Hub, public_key: bytes, settings: Settings) -> None:
        self._hub = hub
        self._public_key = public_key
        self._connection: Connection | None = None
        self._driver = ("", float("-inf"))
        self._agents = Agents(hub.ask)
        self._questions = polkit.Questions()
        methods = Methods(hub, settings, self._agents, self._objects)
        self._publisher = Publisher(self._emit)
        self._dispatcher = Dispatcher(self._objects, self._send, self._allow, methods.perform)

    async def start(self, address: str | None) -> None:
        """Connect, answer calls, take the name."""
        self._connection = Connection(address)
        self._agents.use(self._connection)
        await self._connection.open(self._dispatcher.handle, self._heard)
        self._connection.tell(
            "org.freedesktop.DBus",
            "/org/freedesktop/DBus",
            "org.freedesktop.DBus",
            "AddMatch",
            "s",
            [SLEEP_MATCH],
        )
        self._publisher.reset(self._objects())
        await self._connection.own(NAME)

    async def run(self) -> None:
        """Raises BusLost when the bus goes away."""
        assert self._connection is not None
        await self._connection.lost()

    async def stop(self) -> None:
        """Leave the bus."""
        self._dispatcher.close()
        if self._connection is not None:
            self._agents.close()
            await self._connection.drain()
            self._connection.close()

    # Out

    def publish(self, state: State) -> None:
        """The state has changed."""
        if self._connection is not None:
            self._publisher.update(self._objects())
            self._agents.update(state)

    def link_event(self, report: Report) -> None:
        """Tell monitors what happened on a link."""
        link = link_named(self._hub.state, report.link)
        details = dict(report.details) | {
            "reason": report.reason.value,
            "peer": report.identity.hex(),
            "link": report.link,
        }
        body = [
            present.link_path(link) if link else "/",
            report.message,
            {k: wire.variant("s", v) for k, v in details.items() if v},
        ]
        self._emit(Emission(ROOT, MANAGER, "LinkEvent", "osa{sv}", body))

    def _emit(self, e: Emission) -> None:
        self._send(wire.signal(e.path, e.interface, e.member, e.signature, e.body))

    def _send(self, message: Any) -> None:
        if self._connection is not None:
            self._connection.send(message)

    def _objects(self) -> present.Objects:
        now = asyncio.get_running_loop().time()
        version, read = self._driver
        if now - read > DRIVER_AGE:
            version = self._hub.driver.version()
            self._driver = (version, now)
        return present.objects(self._hub.state, self._public_key, version, self._counters)

    def _counters(self, link: Link) -> Mapping[str, int]:
        if not link.kernel.ibdev:
            return {}
        try:
            return self._hub.rdma.counters(link.kernel.ibdev, link.kernel.netdev)
        except OSError as error:
            log.debug("counters of %s: %s", link.kernel.ibdev, error)
            return {}

    # In

    def _heard(
        self, sender: str, path: str, interface: str, member: str, body: Sequence[Any]
    ) -> None:
        if interface == "org.freedesktop.login1.Manager" and member == "PrepareForSleep":
            # Anybody can send this to us alone; hub.rescan() is cheap however often it is called.
            if list(body) == [False]:
                self._hub.rescan()
            return
        self._agents.heard(sender, member, body)

    async def _allow(self, call: wire.Call, action: str) -> int:
        assert self._connection is not None
        return await polkit.check(
            self._connection, self._questions, call.sender, action, call.interactive
        )
