# SPDX-License-Identifier: GPL-2.0-or-later
"""A plain client of the bus, for tests: calls with the answer's error name, and signals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from dbus_next import Message, MessageFlag, MessageType, Variant
from dbus_next.aio import MessageBus

from usb4rdmad.bus.connection import _PatientSocket

NAME = "org.usb4rdma1"
ROOT = "/org/usb4rdma1"
LINK = f"{ROOT}/links/l00_0000000000000001"
"""The first cable's."""
PROPERTIES = "org.freedesktop.DBus.Properties"
MANAGER = "org.freedesktop.DBus.ObjectManager"


class BusError(Exception):
    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name
        self.text = text


class BusClient:
    def __init__(self, bus: MessageBus) -> None:
        self.bus = bus
        self.signals: list[tuple[str, str, str, list[Any]]] = []
        self.heard = asyncio.Event()

    async def call(
        self,
        path: str,
        interface: str | None,
        member: str,
        signature: str = "",
        *body: Any,
        destination: str = NAME,
        flags: MessageFlag = MessageFlag.NONE,
    ) -> list[Any]:
        message = Message(
            destination=destination,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=list(body),
            flags=flags,
        )
        async with asyncio.timeout(60):
            answer = await self.bus.call(message)
        assert answer is not None
        if answer.message_type is MessageType.ERROR:
            raise BusError(answer.error_name, answer.body[0] if answer.body else "")
        return list(answer.body)

    async def get(self, path: str, interface: str, name: str) -> Any:
        (value,) = await self.call(path, PROPERTIES, "Get", "ss", f"{NAME}.{interface}", name)
        return value.value

    async def objects(self) -> dict[str, Any]:
        (found,) = await self.call(ROOT, MANAGER, "GetManagedObjects")
        return dict(found)

    async def listen(self) -> None:
        def handle(message: Message) -> bool:
            if message.message_type is MessageType.SIGNAL and message.path.startswith(ROOT):
                self.signals.append((message.path, message.interface, message.member, message.body))
                self.heard.set()
            return False

        self.bus.add_message_handler(handle)
        await self.call(
            "/org/freedesktop/DBus",
            "org.freedesktop.DBus",
            "AddMatch",
            "s",
            f"type='signal',sender='{NAME}'",
            destination="org.freedesktop.DBus",
        )

    async def until_signal(self, member: str, path: str = "") -> tuple[str, str, str, list[Any]]:
        async with asyncio.timeout(60):
            while True:
                for signal in self.signals:
                    if signal[2] == member and signal[0].startswith(path):
                        return signal
                self.heard.clear()
                await self.heard.wait()


@asynccontextmanager
async def client(address: str) -> AsyncIterator[BusClient]:
    bus = await MessageBus(bus_address=address).connect()
    bus._writer.sock = _PatientSocket(bus._writer.sock)
    try:
        yield BusClient(bus)
    finally:
        bus.disconnect()


__all__ = [
    "LINK",
    "MANAGER",
    "NAME",
    "PROPERTIES",
    "ROOT",
    "BusClient",
    "BusError",
    "Variant",
    "client",
]
