# SPDX-License-Identifier: GPL-2.0-or-later
"""The outside end of a host's agent port: many commands at once over one stream of JSON lines.

The messages are those of guest/agent.py. A command's events are what the agent says of it,
without the id; when the host goes away the last event is {"op": "gone", "why": text}.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from typing import Any

Message = dict[str, Any]
LINE_MAX = 1 << 22


class Channel:
    """Talks to the agent of one host; lives as long as the host's QEMU."""

    def __init__(self, on_hello: Callable[[str], None], log: Callable[[str], None]) -> None:
        self._on_hello = on_hello
        self._log = log
        self._writer: asyncio.StreamWriter | None = None
        self._commands: dict[int, asyncio.Queue[Message]] = {}
        self._numbers = itertools.count(1)
        self.boot = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle one connection by QEMU until it ends."""
        self._writer = writer
        try:
            while line := await reader.readline():
                self._receive(line)
        except (ConnectionError, ValueError) as error:
            self._log(f"agent port: {error}")
        finally:
            self._writer = None
            writer.close()
            self.lost("the host's QEMU ended")

    def _receive(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            # The first line after a reset may be the rest of one that the reset cut off.
            self._log(f"agent: not a message: {line[:80]!r}")
            return
        if message["op"] == "hello":
            if self.boot and self.boot != message["boot"]:
                self.lost("the host rebooted")
            self.boot = message["boot"]
            self._log(f"agent says hello, boot {self.boot}")
            self._on_hello(self.boot)
            return
        queue = self._commands.get(message.pop("id"))
        if queue is not None:
            queue.put_nowait(message)

    def lost(self, why: str) -> None:
        """End all commands: nothing more will be heard of them."""
        self.boot = ""
        for queue in self._commands.values():
            queue.put_nowait({"op": "gone", "why": why})
        self._commands.clear()

    def start(self, request: Message) -> tuple[int, asyncio.Queue[Message]]:
        """Start a command; its number and the queue of its events."""
        number = next(self._numbers)
        queue: asyncio.Queue[Message] = asyncio.Queue()
        self._commands[number] = queue
        self._send({**request, "op": "start", "id": number})
        return number, queue

    def tell(self, number: int, message: Message) -> None:
        """Send input or a signal to a command; nothing happens if it has ended."""
        if number in self._commands:
            self._send({**message, "id": number})

    def forget(self, number: int) -> None:
        """No more events of this command are wanted."""
        self._commands.pop(number, None)

    def _send(self, message: Message) -> None:
        if self._writer is not None:
            self._writer.write(json.dumps(message).encode() + b"\n")
