# SPDX-License-Identifier: GPL-2.0-or-later
"""usb4rdmactl's side of the bus."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Sequence
from typing import Any

from ..bus import NAME, ROOT
from ..bus.connection import Connection
from ..errors import BusLost, CallFailed
from .exits import Exit, Leave, for_error

MANAGER = f"{NAME}.Manager"
HINT = "systemctl status usb4rdmad"
INTERACTIVE = 130.0

Listener = Callable[[str, str, str, str, Sequence[Any]], None]


class Client:
    """A connection to the daemon. Failures end the program with the right code."""

    def __init__(self) -> None:
        self._connection = Connection(os.environ.get("DBUS_SYSTEM_BUS_ADDRESS"))

    async def open(self, listener: Listener | None = None) -> None:
        """Connect; `listener` gets every signal of the daemon."""
        try:
            await self._connection.open(lambda call: False, listener)
            if listener is not None:
                await self._connection.call(
                    "org.freedesktop.DBus",
                    "/org/freedesktop/DBus",
                    "org.freedesktop.DBus",
                    "AddMatch",
                    "s",
                    [f"type='signal',sender='{NAME}'"],
                )
        except (BusLost, CallFailed) as error:
            raise Leave(Exit.UNREACHABLE, error.message, HINT) from None

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()

    async def call(
        self, path: str, interface: str, member: str, signature: str = "", *body: Any
    ) -> Sequence[Any]:
        """Call a method of the daemon."""
        try:
            return await self._connection.call(
                NAME, path, interface, member, signature, body, INTERACTIVE, interactive=True
            )
        except BusLost as error:
            raise Leave(Exit.UNREACHABLE, error.message, HINT) from None
        except CallFailed as error:
            code = for_error(error.error)
            hints = {Exit.UNREACHABLE: HINT, Exit.DENIED: "the same with sudo"}
            hint = hints.get(code, "")
            raise Leave(code, error.message, hint) from None

    async def describe(self) -> dict[str, Any]:
        """Everything that the daemon knows."""
        (text,) = await self.call(ROOT, MANAGER, "Describe")
        found: dict[str, Any] = json.loads(text)
        return found

    async def link(self, name: str) -> str:
        """The path of a link by its name, or its peer's."""
        (path,) = await self.call(ROOT, MANAGER, "FindLink", "s", name)
        return str(path)

    async def peer(self, name: str) -> str:
        """The path of a peer."""
        (path,) = await self.call(ROOT, MANAGER, "FindPeer", "s", name)
        return str(path)


async def wait_for(
    client: Client,
    changed: asyncio.Event,
    good: Callable[[dict[str, Any]], bool],
    patience: float,
) -> dict[str, Any]:
    """Ask until `good` says yes, each time that `changed` is set."""
    try:
        async with asyncio.timeout(patience):
            while True:
                changed.clear()
                found = await client.describe()
                if good(found):
                    return found
                await changed.wait()
    except TimeoutError:
        raise Leave(Exit.TIMED_OUT, f"not within {patience:g} s") from None
