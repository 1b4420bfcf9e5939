# SPDX-License-Identifier: GPL-2.0-or-later
"""A peer that completes discovery and the handshake, and then sends what a test tells it to.

It is honest until told otherwise, so that a test reaches any depth of the protocol and lies at
one place. It runs in the emulator's process; tests drive it through the control socket's command
"peer". Messages and frames: docs/wire-protocol.md.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import Any

from vcable.loop import Loop
from vcable.packets import Kind
from vcable.scripted import Peer
from vcable.wire import Batch

from . import xdomain

HEADER = struct.Struct("<BBHIQQ")
LINK_HEADER = struct.Struct("<BBBBIII")
PATH = struct.Struct("<IIHHHHII")
HELLO, RELAY, OPEN, READY, CLOSE = range(1, 6)
REPLY = 0x80
OK, STALE = 0, 1
HEADER_EOF, RAW_EOF = 2, 8
FRAME = 4096
KEPT_FRAMES = 400
# As many as a router holds for a host that does not take them yet.
KEPT_PACKETS = 200
WINDOW = 239


def _protocol(lower: bool) -> bytes:
    # The UUID in its textual byte order is what travels: see driver/link/control.h.
    return bytes.fromhex("6c2f6a0e51d64ef39be04c7f12a4a8") + (b"\xd1" if lower else b"\xd2")


class Hostile(Peer):
    """One port, one lane: no bonding to go through."""

    def __init__(
        self, name: str, loop: Loop, batch: Batch, ports: int = 1, lanes: int = 1, version: int = 1
    ) -> None:
        super().__init__(name, loop, batch, ports, lanes, version)
        self.uuid = bytes([0xE0]) + name.encode().ljust(15, b"\0")[:15]
        self.host_id = b"hostile " + name.encode().ljust(8, b"\0")[:8]
        self.epoch, self.token, self.tag = 77, 0x7700770077, 0x7A6
        self.hop = 8
        self.versions = (1, 1)
        self.silent: set[int] = set()  # control types that get no answer
        self.answers: dict[int, bytes] = {}  # instead of the honest body of a reply
        self.their_uuid = b""
        self.their_token = 0
        self.their_request = 0
        self.their_tag = 0
        self.their_hop = 0
        self.limit = 0
        self.ready = False
        self.hasty = False  # each path that is ready is closed at once, and the next asked for
        self.paths = 0  # that the host has begun
        self.seq = 0
        self.request = 0
        self.got: deque[bytes] = deque(maxlen=KEPT_FRAMES)
        self.frames_seen = 0
        self.data_number = 0  # of the last frame that was neither credits nor a probe
        self.credit: int | None = None  # said in every header instead of the honest limit
        self.replies: deque[str] = deque(maxlen=KEPT_FRAMES)
        self.packets: deque[tuple[int, list[int]]] = deque(maxlen=KEPT_PACKETS)

    # ---- control ----

    def on_control(self, port: int, kind: int, words: list[int]) -> None:
        """Discovery and handshake requests are answered, replies kept."""
        body = xdomain.to_bytes(words[1:])
        if kind == Kind.XDOMAIN_RESPONSE:
            if body[:15] == _protocol(True)[:15] and len(body) >= 40:
                self.replies.append(body[16:].hex())
                self._learn(body)
            return
        self.their_uuid = xdomain.asker_uuid(words) or self.their_uuid
        reply = xdomain.answer(words, self.uuid)
        if reply is None and body[:15] == _protocol(True)[:15] and len(body) >= 40:
            reply = self._ours(words[0], body)
            if reply:
                self.packets.append((Kind.XDOMAIN_RESPONSE, reply))
        if reply:
            self.send_control(port, reply, Kind.XDOMAIN_RESPONSE)
        if self.hasty and body[:15] == _protocol(True)[:15] and body[16] == READY:
            self.ask(CLOSE, self.path_body(), {})
            self.ask(OPEN, self.path_body(), {})

    def _learn(self, body: bytes) -> None:
        kind, status, _, _, token, _ = HEADER.unpack_from(body, 16)
        if status == OK:
            self.their_token = token

    def _ours(self, sn_word: int, body: bytes) -> list[int] | None:
        kind, _, version, number, token, _ = HEADER.unpack_from(body, 16)
        if kind in self.silent:
            return None
        self.their_token, self.their_request = token, number
        rest = body[40:]
        if kind == HELLO:
            payload = self.hello_body()
            version = 0
        elif kind in (OPEN, READY, CLOSE):
            tag, _, hop, _, _, credits, _, _ = PATH.unpack_from(rest)
            if kind == CLOSE:
                self.ready = False
            else:
                if tag != self.their_tag:
                    self.seq, self.limit, self.frames_seen = 0, credits, 0
                    self.paths += 1
                self.their_tag, self.their_hop = tag, hop
                self.ready = self.ready or kind == READY
            payload = self.path_body()
        else:
            payload = b""
        payload = self.answers.get(kind, payload)
        head = HEADER.pack(kind | REPLY, OK, version, number, self.token, token)
        return self._packet(sn_word, body[:16], head + payload)

    @staticmethod
    def _packet(sn_word: int, uuid: bytes, data: bytes) -> list[int]:
        words = xdomain.to_words(uuid + data + bytes(-len(data) % 4))
        return [sn_word & ~0x3F | len(words), *words]

    def hello_body(self) -> bytes:
        """What an honest HELLO or its reply says of us."""
        low, high = self.versions
        return (
            self.uuid
            + self.their_uuid.ljust(16, b"\0")
            + self.host_id
            + struct.pack("<QHHI", self.epoch, low, high, 0)
        )

    def path_body(self) -> bytes:
        """Our end of the data path."""
        return PATH.pack(self.tag, self.their_tag, self.hop, 0, 256, WINDOW, 0, 0)

    def ask(self, kind: int, payload: bytes, head: dict[str, int]) -> bool:
        """Send a request of ours; fields of the header can be told."""
        self.request += 1
        header = HEADER.pack(
            head.get("type", kind),
            head.get("status", 0),
            head.get("version", 0 if kind == HELLO else 1),
            head.get("number", self.request),
            head.get("from", self.token),
            head.get("to", 0 if kind == HELLO else self.their_token),
        )
        # The exchange is one that we began, or "theirs".
        lower = (self.uuid < self.their_uuid) != bool(head.get("theirs"))
        words = self._packet(0, _protocol(lower), header + payload)
        if "length" in head:
            words[0] = words[0] & ~0x3F | head["length"]
        packet = head.get("packet", Kind.XDOMAIN_REQUEST)
        self.packets.append((packet, words))
        return self.send_control(1, words, packet)

    # ---- data ----

    def on_frame(
        self, port: int, hop: int, data: bytes, sof: int, eof: int, crc_error: bool
    ) -> None:
        """Header frames are kept from their kind on; credits are honoured by nobody."""
        self.frames_seen += 1
        if eof == HEADER_EOF and len(data) >= LINK_HEADER.size:
            kind, flags, nraw, _, _, number, self.limit = LINK_HEADER.unpack_from(data)
            if kind != 1:
                self.got.append(data[:512])
                self.data_number = number + nraw
            elif flags & 1:
                self.header(1, b"", {})

    def header(self, kind: int, payload: bytes, fields: dict[str, int]) -> bool:
        """A header frame with right number, tag and credits, unless told others."""
        head = LINK_HEADER.pack(
            kind,
            fields.get("flags", 0),
            fields.get("nraw", 0),
            fields.get("reserved", 0),
            fields.get("tag", self.their_tag),
            fields.get("seq", self.seq),
            fields.get("limit", self.honest_limit() if self.credit is None else self.credit),
        )
        self.seq = (self.seq + 1) & 0xFFFFFFFF
        return self.send_frame(1, self.hop, (head + payload)[:FRAME], 1, HEADER_EOF)

    def honest_limit(self) -> int:
        """The frame number that the host must not reach."""
        return (self.frames_seen + WINDOW) & 0xFFFFFFFF

    def raw(self, data: bytes) -> bool:
        """A raw frame with the number that is next."""
        eof = RAW_EOF + (self.seq & 7)
        self.seq = (self.seq + 1) & 0xFFFFFFFF
        return self.send_frame(1, self.hop, data, 1, eof)

    # ---- what tests ask for ----

    def command(self, request: dict[str, Any]) -> dict[str, Any]:
        """What tests/vm/attacker.py asks for."""
        what = request.get("do")
        if what == "state":
            return {
                "ready": self.ready,
                "their_tag": self.their_tag,
                "their_token": self.their_token,
                "their_request": self.their_request,
                "frames_seen": self.frames_seen,
                "data_number": self.data_number,
                "honest_limit": self.honest_limit(),
                "seq": self.seq,
                **{name: getattr(self, name).hex() for name in ("uuid", "their_uuid", "host_id")},
                **{name: getattr(self, name) for name in ("token", "tag", "epoch", "paths")},
            }
        if what == "set":
            for name, value in request["fields"].items():
                old = getattr(self, name)
                if isinstance(old, bytes):
                    value = bytes.fromhex(value)
                elif isinstance(old, set | tuple):
                    value = type(old)(value)
                elif isinstance(old, dict):
                    value = {int(key): bytes.fromhex(text) for key, text in value.items()}
                setattr(self, name, value)
            return {}
        if what == "run":
            sent = 0
            for _ in range(request.get("times", 1)):
                sent += self.header(
                    request.get("kind", 3),
                    bytes.fromhex(request.get("payload", "")),
                    request.get("fields", {}),
                )
                for length in request.get("raw", []):
                    sent += self.raw(bytes([request.get("fill", 0xBB)]) * length)
            if request.get("confirm"):
                sent += self.header(1, b"", {})
            return {"sent": sent}
        if what == "frame":
            data = bytes.fromhex(request["data"])
            sent = self.send_frame(
                1, request.get("hop", self.hop), data, request["sof"], request["eof"]
            )
            self.seq = (self.seq + 1) & 0xFFFFFFFF
            return {"sent": int(sent)}
        if what == "ask":
            payload = request.get("payload")
            kind = request["kind"]
            if payload is None:
                body = {HELLO: self.hello_body}.get(kind, self.path_body)()
            else:
                body = bytes.fromhex(payload)
            heads = [dict(request.get("head", {})) for _ in range(request.get("times", 1))]
            if request.get("vary"):
                # Each is from somebody else.
                for n, head in enumerate(heads):
                    head["from"] = head.get("from", self.token) + n
            return {"sent": sum(self.ask(kind, body, head) for head in heads)}
        if what == "replay":
            kept = list(self.packets)
            sent = sum(self.send_control(1, words, kind) for kind, words in kept)
            return {"sent": sent, "kinds": sorted({kind for kind, _ in kept})}
        if what == "received":
            found = {"frames": [data.hex() for data in self.got], "replies": list(self.replies)}
            self.got.clear()
            self.replies.clear()
            return found
        raise ValueError(f"do: {what!r} is not known")
