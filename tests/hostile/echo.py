# SPDX-License-Identifier: GPL-2.0-or-later
"""A peer that sends a reply nobody asked for to each reply of the host, and asks again.

It speaks Thunderbolt's own discovery protocol only: see tests/vm/test_thunderbolt_core.py.
"""

from __future__ import annotations

import struct
from typing import Any

from vcable.loop import Loop
from vcable.packets import Kind
from vcable.scripted import Peer
from vcable.wire import Batch

from . import xdomain

# Packets of an XDomain protocol are numbered with these bits of the word before them.
NUMBER_SHIFT, NUMBERS = 27, 4


class Echo(Peer):
    """One port, one lane, a host that offers usb4rdma and answers discovery honestly."""

    def __init__(
        self, name: str, loop: Loop, batch: Batch, ports: int = 1, lanes: int = 1, version: int = 1
    ) -> None:
        super().__init__(name, loop, batch, ports, lanes, version)
        self.uuid = bytes([0xE0]) + name.encode().ljust(15, b"\0")[:15]
        self.their_uuid = b""
        self.copies = 0  # of the reply that nobody asked for
        self.asked = self.answers = 0

    def on_control(self, port: int, kind: int, words: list[int]) -> None:
        """What the host asks is answered; what it answers is answered, too."""
        if kind == Kind.XDOMAIN_RESPONSE:
            self.answers += 1
            stray = xdomain.packet(words[0], xdomain.XDP_UUID, xdomain.CHANGED_RESPONSE, b"")
            for _ in range(self.copies):
                self.send_control(port, stray, Kind.XDOMAIN_RESPONSE)
            if self.copies:
                self._ask()
            return
        self.their_uuid = xdomain.asker_uuid(words) or self.their_uuid
        reply = xdomain.answer(words, self.uuid)
        if reply:
            self.send_control(port, reply, Kind.XDOMAIN_RESPONSE)

    def _ask(self) -> None:
        self.asked += 1
        number = self.asked % NUMBERS << NUMBER_SHIFT
        body = self.uuid + self.their_uuid.ljust(16, b"\0") + struct.pack("<HH", 0, 0)
        self.send_control(
            1, xdomain.packet(number, xdomain.XDP_UUID, xdomain.PROPERTIES_REQUEST, body)
        )

    def command(self, request: dict[str, Any]) -> dict[str, Any]:
        """{"do": "ask", "times": of requests in flight, "copies": of stray replies to each answer,
        0 for none}, {"do": "state"}."""
        if request.get("do") not in ("ask", "state"):
            raise ValueError(f"do: {request.get('do')!r} is not known")
        if request["do"] == "ask":
            self.copies = request["copies"]
            for _ in range(request["times"]):
                self._ask()
        return {"asked": self.asked, "answers": self.answers, "known": bool(self.their_uuid)}
