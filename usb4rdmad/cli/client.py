# SPDX-License-Identifier: GPL-2.0-or-later
"""usb4rdmactl's side of the bus."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Sequence
from typing import Any

from ..bus import NAME, ROOT
from ..bus.connection import Connection, OnSignal
from ..bus.wire import Call, plain, variant
from ..errors import BusLost, CallFailed
from .exits import Exit, Leave, for_error

MANAGER = f"{NAME}.Manager"
LINK = f"{NAME}.Link"
PEER = f"{NAME}.Peer"
PAIRING = f"{NAME}.Pairing"
HINT = "systemctl status usb4rdmad"
INTERACTIVE = 130.0
_FINAL = ("blocked", "incompatible")


class Client:
    """A connection to the daemon. Failures end the program with the right code."""

    def __init__(self) -> None:
        self.connection = Connection(os.environ.get("DBUS_SYSTEM_BUS_ADDRESS"))
        self.changed = asyncio.Event()
        """Set by every signal, once listen() was called."""
        self.on_call: Callable[[Call], bool] = lambda call: False
        self.on_signal: OnSignal = lambda *signal: None

    async def open(self, listen: bool = False) -> None:
        """Connect; `listen` to every signal of the daemon."""

        def heard(*signal: Any) -> None:
            self.on_signal(*signal)
            self.changed.set()

        try:
            await self.connection.open(lambda call: self.on_call(call), heard if listen else None)
            if listen:
                await self.connection.call(
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
        self.connection.close()

    async def call(
        self, path: str, interface: str, member: str, signature: str = "", *body: Any
    ) -> Sequence[Any]:
        """Call a method of the daemon."""
        try:
            return await self.connection.call(
                NAME, path, interface, member, signature, body, INTERACTIVE, interactive=True
            )
        except BusLost as error:
            raise Leave(Exit.UNREACHABLE, error.message, HINT) from None
        except CallFailed as error:
            code = for_error(error.error)
            hints = {Exit.UNREACHABLE: HINT, Exit.DENIED: "the same with sudo"}
            raise Leave(code, error.message, hints.get(code, "")) from None

    async def set(self, path: str, interface: str, name: str, signature: str, value: Any) -> None:
        """Set a property."""
        await self.call(
            path,
            "org.freedesktop.DBus.Properties",
            "Set",
            "ssv",
            interface,
            name,
            variant(signature, value),
        )

    async def test(self, path: str, **options: str | int | None) -> dict[str, Any]:
        """Link.Test(); options that are None are left to the daemon."""
        given = {
            name: variant("s" if isinstance(value, str) else "u", value)
            for name, value in options.items()
            if value is not None
        }
        (found,) = await self.call(path, LINK, "Test", "a{sv}", given)
        return dict(plain(found))

    async def describe(self) -> dict[str, Any]:
        """Everything that the daemon knows."""
        (text,) = await self.call(ROOT, MANAGER, "Describe")
        found: dict[str, Any] = json.loads(text)
        return found

    async def configuration(self) -> dict[str, Any]:
        """What is in force."""
        (text,) = await self.call(ROOT, MANAGER, "Configuration")
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
        self, good: Callable[[dict[str, Any]], bool], patience: float
    ) -> dict[str, Any]:
        """Ask until `good` says yes, each time that something changed."""
        try:
            async with asyncio.timeout(patience):
                while True:
                    self.changed.clear()
                    found = await self.describe()
                    if good(found):
                        return found
                    await self.changed.wait()
        except TimeoutError:
            raise Leave(Exit.TIMED_OUT, f"not within {patience:g} s") from None


def matches(link: dict[str, Any], name: str | None) -> bool:
    """Does this name, or path, mean the link? None means all."""
    own = (link["Path"], link["Name"], link["PeerName"], link["RemoteName"])
    return name is None or name in own


def reached(wanted: str, name: str | None) -> Callable[[dict[str, Any]], bool]:
    """Are the links in the wanted state? Leaves when they cannot get there."""

    def good(found: dict[str, Any]) -> bool:
        links = [x for x in found["links"] if matches(x, name)]
        if wanted == "gone":
            return not links
        for link in links:
            if link["State"] in _FINAL and wanted != link["State"]:
                raise Leave(
                    Exit.REFUSED, f"{link['Name']} is {link['State']}: {link['StateReason']}"
                )
        return bool(links) and all(x["State"] == wanted for x in links)

    return good
