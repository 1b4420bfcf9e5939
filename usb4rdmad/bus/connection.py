# SPDX-License-Identifier: GPL-2.0-or-later
"""The connection to the message bus, with the cures that dbus_next 0.2.3 needs.

A full socket buffer is not an error (the library closes the connection on
EAGAIN); calls have a deadline (the library waits for ever after a disconnect);
losing the bus ends the daemon, so that the service manager starts it again.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Any

from dbus_next import BusType, Message, MessageFlag, MessageType, NameFlag, RequestNameReply
from dbus_next.aio import MessageBus

from ..errors import BusLost, CallFailed
from .wire import Call, Value, plain

CALL_TIMEOUT = 25.0
UNSENT_MAX = 20_000
"""Messages waiting for a bus that does not read; beyond it signals are dropped."""


OnSignal = Callable[[str, str, str, str, Sequence[Value]], None]
"""(sender, path, interface, member, body)"""


class _PatientSocket:
    """A socket whose send() gives 0 when the buffer is full."""

    def __init__(self, inner: socket.socket) -> None:
        self._inner = inner

    def send(self, data: memoryview) -> int:
        try:
            return self._inner.send(data)
        except BlockingIOError:
            return 0


class Connection:
    """One connection; `on_call` gives a reply, or None for "not ours"."""

    def __init__(self, address: str | None = None) -> None:
        """`address` None is the system bus."""
        self._address = address
        self._bus: MessageBus

    async def open(
        self,
        on_call: Callable[[Call], bool],
        on_signal: OnSignal | None = None,
    ) -> None:
        """Connect; `on_call` says whether it took a call (and replies with send()).

        `on_signal` gets sender, path, interface, member and body of each signal.
        Anybody can send one to us alone, so the sender has to be looked at.
        """
        try:
            self._bus = MessageBus(bus_address=self._address, bus_type=BusType.SYSTEM)
            async with asyncio.timeout(CALL_TIMEOUT):
                await self._bus.connect()
        except (OSError, EOFError, TimeoutError) as error:
            raise BusLost(
                f"cannot connect to the message bus: {error}", "is dbus.service running?"
            ) from None
        writer: Any = self._bus._writer
        writer.sock = _PatientSocket(writer.sock)

        def handle(message: Message) -> bool:
            if message.message_type is MessageType.SIGNAL and on_signal is not None:
                on_signal(
                    message.sender or "",
                    message.path,
                    message.interface,
                    message.member,
                    plain(message.body),
                )
                return False
            call = Call.of(message)
            if call is None or call.interface == "org.freedesktop.DBus.Peer":
                return False
            return on_call(call)

        self._bus.add_message_handler(handle)

    async def own(self, name: str) -> None:
        """Take a well-known name."""
        async with asyncio.timeout(CALL_TIMEOUT):
            answer = await self._bus.request_name(name, NameFlag.DO_NOT_QUEUE)
        if answer is not RequestNameReply.PRIMARY_OWNER:
            raise BusLost(f"{name} has another owner", "is usb4rdmad running already?")

    async def lost(self) -> None:
        """Returns never; raises BusLost when the connection ends."""
        try:
            await self._bus.wait_for_disconnect()
        except Exception as error:
            raise BusLost(f"the message bus is gone: {error or type(error).__name__}") from None
        raise BusLost("the message bus is gone")

    def send(self, message: Message) -> bool:
        """Send a reply or signal; False when it was dropped."""
        if not hasattr(self, "_bus") or not self._bus.connected:
            return False
        writer: Any = self._bus._writer
        if message.message_type is MessageType.SIGNAL and writer.messages.qsize() > UNSENT_MAX:
            return False
        self._bus.send(message).add_done_callback(_ignore)
        return True

    def tell(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: Sequence[Value] = (),
    ) -> None:
        """Call a method without waiting for an answer."""
        self.send(
            Message(
                destination=destination,
                path=path,
                interface=interface,
                member=member,
                signature=signature,
                body=list(body),
                flags=MessageFlag.NO_REPLY_EXPECTED,
            )
        )

    async def call(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: Sequence[Value] = (),
        patience: float = CALL_TIMEOUT,
        interactive: bool = False,
    ) -> Sequence[Value]:
        """Call a method; CallFailed when it answers with an error, else BusLost.

        `interactive` lets the other side have polkit ask for a password.
        """
        message = Message(
            destination=destination,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=list(body),
            flags=MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION if interactive else MessageFlag.NONE,
        )
        if not self._bus.connected:
            raise BusLost("not connected to the message bus")
        try:
            async with asyncio.timeout(patience):
                answer = await self._bus.call(message)
        except (OSError, EOFError, TimeoutError) as error:
            raise BusLost(f"{destination} did not answer: {error}") from None
        if answer is None:
            raise BusLost(f"{destination} did not answer")
        if answer.message_type is MessageType.ERROR:
            text = str(answer.body[0]) if answer.body else answer.error_name
            raise CallFailed(text, answer.error_name)
        return list(answer.body)

    async def drain(self, patience: float = 1.0) -> None:
        """Wait until what was sent is out, but not for long."""
        if not hasattr(self, "_bus") or not self._bus.connected:
            return
        writer: Any = self._bus._writer
        if writer.messages.empty() and writer.buf is None:
            return
        try:
            async with asyncio.timeout(patience):
                await self.call(
                    "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "GetId"
                )
        except (TimeoutError, BusLost, CallFailed):
            pass

    def close(self) -> None:
        """Disconnect, if there was a connection."""
        if hasattr(self, "_bus") and self._bus.connected:
            self._bus.disconnect()


def _ignore(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
