# SPDX-License-Identifier: GPL-2.0-or-later
"""A man in the middle: the host at port 1 takes it for the one at port 2, and the other way round.

It passes on all that the kernels say to each other, so each host sees the other's XDomain UUID,
host id and epoch. What their daemons say it takes for itself: to each it plays the other daemon,
by the other's name, with a key of its own, and passes on the contents of the messages. When
people compare codes it runs a comparison with each side. That is the most that somebody can do
who does not have the hosts' keys.

Runs in the emulator, which loads it by name from the topology (interposed.toml).
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vcable.packets import Kind
from vcable.scripted import Peer

sys.path.append(str(Path(__file__).resolve().parents[2]))

PROTOCOL = bytes.fromhex("6c2f6a0e51d64ef39be04c7f12a4a8")
"""Of both protocol UUIDs: the last byte is d1 in exchanges that the lower UUID begins, else d2."""
HELLO, RELAY, REPLY = 1, 2, 0x80
OK = 0
REPEAT_SECONDS = 1.0
DATA_MAX = 192
NAMES = {1: "b", 2: "a"}
"""Whom the host at this port takes us for."""
PAIR, COMMITMENT, REVEAL = 0x18, 0x10, 0x12

# From the length word on, as a message lies in memory: length, protocol, type, status, version,
# number, from, to; then HELLO's uuids, host id, epoch; or RELAY's number, length, zero, data.
HEADER = struct.Struct("<I16sBBHIQQ")
HELLO_BODY = struct.Struct("<16s16s16sQHHI")
RELAY_BODY = struct.Struct("<IHH192s")


@dataclass(frozen=True)
class Who:
    """What a kernel has said of itself."""

    token: int
    uuid: bytes
    host_id: bytes
    epoch: int


@dataclass
class Side:
    """One port: the host behind it, and our part towards its daemon."""

    who: Who | None = None
    session: Any = None
    key: bytes = b""  # that the daemon has proved
    comparison: Any = None
    queue: list[bytes] = field(default_factory=list)
    sequence: int = 1  # of the message at the head of the queue
    seen: int = 0  # of the last one that came
    request: int = 0
    waiting: bool = False  # for the answer to the head of the queue
    timer: Any = None
    tick: Any = None


class Interposer(Peer):
    """Its ports 1 and 2 are joined."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.sides = {1: Side(), 2: Side()}
        self._keys: dict[int, bytes] = {}

    # The kernels

    def on_link(self, port: int, up: bool) -> None:
        if not up:
            for number in self.sides:
                self._forget(number)
                self.sides[number].who = None

    def on_frame(
        self, port: int, hop: int, data: bytes, sof: int, eof: int, crc_error: bool
    ) -> None:
        self.send_frame(3 - port, hop, data, sof, eof)

    def on_control(self, port: int, kind: int, words: list[int]) -> None:
        data = struct.pack(f"<{len(words)}I", *words)
        if len(data) >= HEADER.size and data[4:19] == PROTOCOL:
            message = data[20] & ~REPLY
            if message == HELLO and len(data) >= HEADER.size + HELLO_BODY.size:
                self._met(port, data)
            elif message == RELAY:
                if data[20] & REPLY:
                    self._answered(port, data)
                else:
                    self._relayed(port, data)
                return
        self.send_control(3 - port, words, kind)

    def _met(self, port: int, data: bytes) -> None:
        """A kernel says who it is: the host at the other port has a new peer if that changed."""
        token = HEADER.unpack_from(data)[6]
        uuid, _, host_id, epoch, *_ = HELLO_BODY.unpack_from(data, HEADER.size)
        who = Who(token, uuid, host_id, epoch)
        if who != self.sides[port].who:
            self.sides[port].who = who
            self._forget(1)
            self._forget(2)

    # Messages from daemon to daemon

    def _relayed(self, port: int, data: bytes) -> None:
        side = self.sides[port]
        length, protocol, kind, _, version, number, sender, receiver = HEADER.unpack_from(data)
        reply = HEADER.pack(
            HEADER.size // 4 - 1, protocol, kind | REPLY, OK, version, number, receiver, sender
        )
        self._send(port, reply, Kind.XDOMAIN_RESPONSE)
        sequence, size, _, content = RELAY_BODY.unpack_from(data, HEADER.size)
        if sequence == side.seen:
            return
        side.seen = sequence
        self.stats["relayed"] += 1
        session = self._session(port)
        if session is not None:
            self._output(port, session.receive(content[:size], self.loop.now()))

    def _queue(self, port: int, frame: bytes) -> None:
        self.sides[port].queue.append(frame)
        self._next(port)

    def _next(self, port: int) -> None:
        """Send the first message of the queue, again and again until it is answered."""
        side, other = self.sides[port], self.sides[3 - port]
        if side.timer is not None:
            side.timer.cancel()
        if not side.queue or side.who is None or other.who is None:
            return
        side.request += 1
        lower = other.who.uuid < side.who.uuid
        header = HEADER.pack(
            (HEADER.size + RELAY_BODY.size) // 4 - 1,
            PROTOCOL + (b"\xd1" if lower else b"\xd2"),
            RELAY,
            0,
            1,
            side.request,
            other.who.token,
            side.who.token,
        )
        frame = side.queue[0]
        body = RELAY_BODY.pack(side.sequence, len(frame), 0, frame)
        self._send(port, header + body, Kind.XDOMAIN_REQUEST)
        side.timer = self.loop.call_later(REPEAT_SECONDS, lambda: self._next(port))

    def _answered(self, port: int, data: bytes) -> None:
        side = self.sides[port]
        if HEADER.unpack_from(data)[5] != side.request or not side.queue:
            return
        if data[21] == OK:
            side.queue.pop(0)
            side.sequence += 1
            self._next(port)

    def _send(self, port: int, data: bytes, kind: int) -> None:
        self.send_control(port, list(struct.unpack(f"<{len(data) // 4}I", data)), kind)

    # The daemons

    def _forget(self, port: int) -> None:
        old = self.sides[port]
        for timer in (old.timer, old.tick):
            if timer is not None:
                timer.cancel()
        self.sides[port] = Side(old.who, request=old.request)

    def _session(self, port: int) -> Any:
        """Our part towards the daemon at this port, as the host at the other port."""
        from usb4rdmad.pairing import noise
        from usb4rdmad.pairing.session import End, Session

        side, played = self.sides[port], self.sides[3 - port].who
        if side.session is None and side.who is not None and played is not None:
            key = self._keys.setdefault(port, noise.generate())
            side.session = Session(
                key,
                NAMES[port],
                End(played.host_id, played.epoch, played.uuid.hex()),
                End(side.who.host_id, side.who.epoch, side.who.uuid.hex()),
            )
            self._output(port, side.session.start(self.loop.now()))
        return side.session

    def _output(self, port: int, output: Any) -> None:
        from usb4rdmad.pairing.session import Up

        side = self.sides[port]
        for frame in output.frames:
            self._queue(port, frame)
        for notice in output.notices:
            if isinstance(notice, bytes):
                self._message(port, notice)
            else:
                self.stats[type(notice).__name__.lower()] += 1
                if isinstance(notice, Up):
                    side.key, side.comparison = notice.public_key, None
        if side.tick is not None:
            side.tick.cancel()
        if side.session is not None and side.session.deadline is not None:
            delay = max(0.0, side.session.deadline - self.loop.now())
            side.tick = self.loop.call_later(delay, lambda: self._tick(port))

    def _tick(self, port: int) -> None:
        session = self.sides[port].session
        if session is not None:
            self._output(port, session.tick(self.loop.now()))

    def _say(self, port: int, body: bytes) -> None:
        session = self.sides[port].session
        frame = session.send(body) if session is not None else None
        if frame is not None:
            self._queue(port, frame)

    def _message(self, port: int, body: bytes) -> None:
        """One daemon says something to the other: pass it on; the comparison is ours."""
        if body[0] == PAIR:
            self._say(3 - port, body)
            self._compare(port)
            self._compare(3 - port)
        elif COMMITMENT <= body[0] <= REVEAL:
            comparison = self.sides[port].comparison
            answer = comparison.receive(body) if comparison is not None else None
            if answer is not None:
                self._say(port, answer)
            if comparison is not None and comparison.code:
                self.stats["codes"] += 1
        else:
            self._say(3 - port, body)

    def _compare(self, port: int) -> None:
        """Begin a comparison with the daemon at this port."""
        from usb4rdmad.model import fingerprint
        from usb4rdmad.pairing import noise
        from usb4rdmad.pairing.compare import Comparison

        side = self.sides[port]
        ours = fingerprint(noise.public_key(self._keys[port]))
        theirs = fingerprint(side.key)
        side.comparison = Comparison(ours < theirs, side.session.handshake_hash)
        first = side.comparison.start()
        if first is not None:
            self._say(port, first)
