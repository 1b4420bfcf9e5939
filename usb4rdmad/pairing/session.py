# SPDX-License-Identifier: GPL-2.0-or-later
"""One link's channel to the peer's daemon: handshake, retries, transport.

Frames on the relay, at most 192 bytes: kind, session number (4 bytes, chosen by
the initiator for each handshake), body. START carries no key: it asks the
initiator to begin (again), and is how a daemon that was restarted gets its
channel back. It names the handshake that the responder is in: an initiator that
is through with that one says THREE again instead, so that a START that was late
does not replace a channel that people may be comparing codes on. A new
handshake never disturbs the standing channel until it is complete, so an
unauthenticated frame cannot tear one down. Transport frames carry a counter of
4 bytes that only grows; a replayed or reordered one is dropped. Time is given
by the caller as seconds of a monotonic clock.

With a cluster secret the handshake is psk3 and has kinds of its own, so that two
ends of which one has none tell each other apart and never fall back. The end
that sends the third message takes the other as proved only after a first
transport message, which the other sends for this.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field

from ..errors import HandshakeInvalid
from ..naming import is_name
from .noise import Handshake, Keys

FRAME_MAX = 192
START, ONE, TWO, THREE, DATA = 0x01, 0x02, 0x03, 0x04, 0x10
PSK = 3
"""Added to ONE, TWO and THREE of a handshake with a cluster secret."""
PROOF = b"\0"
HEADER = 5
BODY_MAX = FRAME_MAX - HEADER - 4 - 16
"""The longest message that send() takes."""

RETRY_FIRST, RETRY_MAX = 0.2, 30.0
STALLED_AFTER = 3.0
RATE_WINDOW, RATE_MAX = 10.0, 16
"""Handshakes begun or answered in so many seconds; more are dropped."""

_PROLOGUE = b"usb4rdma pairing 1\0"


@dataclass(frozen=True, slots=True)
class End:
    """What both kernels know of one end of a link instance."""

    host_id: bytes
    epoch: int
    uuid: str
    """Of the XDomain at this end."""
    versions: str = "1-1"
    """The protocol versions that this end's kernel has announced."""

    @property
    def packed(self) -> bytes:
        """What the prologue binds: this boot of this host, this link, and no other versions."""
        link = f"{self.uuid.replace('-', '').lower()} {self.versions}"
        digest = hashlib.sha256(link.encode()).digest()[:16]
        return self.host_id + self.epoch.to_bytes(8, "big") + digest


@dataclass(frozen=True, slots=True)
class Up:
    """The peer holds this key, and gives this name (empty when it gave none we accept)."""

    public_key: bytes
    name: str
    cluster: bool = False
    """It holds the cluster secret, too."""


@dataclass(frozen=True, slots=True)
class Stalled:
    """No answer for a while."""


@dataclass(frozen=True, slots=True)
class Invalid:
    """An answer that does not fit."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One side has a cluster secret and the other has none."""


Notice = Up | Stalled | Invalid | Mismatch | bytes
"""What receive() and tick() find; bytes are a message of the peer's."""


@dataclass(slots=True)
class Output:
    """Frames to send and notices for the caller, in order."""

    frames: list[bytes] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)


class _Channel:
    """A finished handshake."""

    def __init__(self, sid: bytes, keys: Keys) -> None:
        self.sid = sid
        self.keys = keys
        self.sent = 0
        self.received = -1


class Session:
    """One end. All methods are cheap and never block."""

    def __init__(
        self,
        static: bytes,
        name: str,
        local: End,
        remote: End,
        random: Callable[[int], bytes] = os.urandom,
        psk: bytes | None = None,
    ) -> None:
        self._psk = psk
        self._base = PSK if psk is not None else 0
        self._static = static
        self._payload = b"\x01" + name.encode()[:63]
        self._initiator = (local.host_id, local.uuid) < (remote.host_id, remote.uuid)
        ends = (local, remote) if self._initiator else (remote, local)
        self._prologue = _PROLOGUE + ends[0].packed + ends[1].packed
        self._random = random
        self._channel: _Channel | None = None
        self._unproved: tuple[_Channel, Up] | None = None
        self._pending: tuple[bytes, Handshake] | None = None
        self._third = b""
        self._delay = RETRY_FIRST
        self._begun = 0.0
        self._last = 0.0
        self._told_stalled = False
        self._tries: list[float] = []
        self.deadline: float | None = None
        """When tick() wants to be called; None for not at all."""

    @property
    def handshake_hash(self) -> bytes:
        """The hash of the standing channel's handshake; empty without one."""
        return self._channel.keys.hash if self._channel else b""

    def start(self, now: float) -> Output:
        """Begin; the retries end with the channel."""
        self._begun = now
        return self._begin(now)

    def _begin(self, now: float) -> Output:
        out = Output()
        self.deadline = now + self._delay
        self._delay = min(RETRY_MAX, self._delay * 2)
        if not self._initiator:
            out.frames.append(self._call())
        elif self._allowed(now):
            self._last = now
            sid = self._random(4)
            handshake = self._handshake()
            self._pending = (sid, handshake)
            out.frames.append(bytes([ONE + self._base]) + sid + handshake.write1())
        return out

    def _call(self) -> bytes:
        named = self._pending[0][:3] if self._pending is not None else bytes(3)
        return bytes([START, self._base]) + named

    def _handshake(self) -> Handshake:
        ephemeral = self._random(32)
        return Handshake(self._initiator, self._static, self._prologue, ephemeral, self._psk)

    def _allowed(self, now: float) -> bool:
        self._tries = [t for t in self._tries if t > now - RATE_WINDOW]
        if len(self._tries) >= RATE_MAX:
            return False
        self._tries.append(now)
        return True

    def tick(self, now: float) -> Output:
        """The deadline has come."""
        if self.deadline is None or now < self.deadline:
            return Output()
        out = self._begin(now)
        if not self._told_stalled and now - self._begun >= STALLED_AFTER:
            self._told_stalled = True
            out.notices.append(Stalled())
        return out

    def send(self, body: bytes) -> bytes | None:
        """The frame of a message; None while no channel stands."""
        channel = self._channel
        if channel is None:
            return None
        if len(body) > BODY_MAX:
            raise ValueError(f"message of {len(body)} bytes, at most {BODY_MAX}")
        head = bytes([DATA]) + channel.sid + channel.sent.to_bytes(4, "big")
        sealed = channel.keys.send.seal(channel.sent, body, head)
        channel.sent += 1
        return head + sealed

    def receive(self, frame: bytes, now: float) -> Output:
        """A frame of the relay; whatever it is, the session stands after it."""
        out = Output()
        if not HEADER <= len(frame) <= FRAME_MAX:
            return out
        kind, sid, body = frame[0], frame[1:HEADER], frame[HEADER:]
        if ONE <= kind <= THREE + PSK:
            if (kind > THREE) != bool(self._base):
                return self._mismatched(kind, now)
            kind -= self._base
        try:
            if kind == START:
                return self._poked(sid[0], sid[1:], now)
            if kind == ONE and not self._initiator:
                self._answer(sid, body, now, out)
            elif kind in (TWO, THREE) and (kind == TWO) == self._initiator:
                self._finish(sid, body, out)
            elif kind == DATA:
                self._data(frame, sid, now, out)
        except HandshakeInvalid:
            if kind != DATA:
                self._pending = None
                out.notices.append(Invalid())
        return out

    def _mismatched(self, kind: int, now: float) -> Output:
        out = Output(notices=[Mismatch()])
        if not self._initiator and kind in (ONE, ONE + PSK) and self._allowed(now):
            out.frames.append(self._call())
        return out

    def _poked(self, mode: int, named: bytes, now: float) -> Output:
        if mode != self._base:
            return Output(notices=[Mismatch()])
        if self._pending is None and any(named) and self._third[1:4] == named:
            return Output(frames=[self._third] if self._allowed(now) else [])
        if not self._initiator or (self._pending is not None and now - self._last < RETRY_FIRST):
            return Output()
        self._delay = RETRY_FIRST
        return self._begin(now)

    def _answer(self, sid: bytes, body: bytes, now: float, out: Output) -> None:
        if not self._allowed(now):
            return
        handshake = self._handshake()
        handshake.read1(body)
        self._pending = (sid, handshake)
        out.frames.append(bytes([TWO + self._base]) + sid + handshake.write2(self._payload))

    def _finish(self, sid: bytes, body: bytes, out: Output) -> None:
        if self._pending is None or self._pending[0] != sid:
            return
        handshake = self._pending[1]
        if self._initiator:
            payload = handshake.read2(body)
            third = handshake.write3(self._payload)
            self._third = bytes([THREE + self._base]) + sid + third
            out.frames.append(self._third)
        else:
            payload = handshake.read3(body)
        keys = handshake.split()
        self._pending = None
        up = Up(keys.remote_static, _name(payload), self._psk is not None)
        if self._initiator and self._psk is not None:
            self._unproved = (_Channel(sid, keys), up)
            return
        self._stand(_Channel(sid, keys), up, out)
        if self._psk is not None:
            proof = self.send(PROOF)
            out.frames += [proof] if proof else []

    def _stand(self, channel: _Channel, up: Up, out: Output) -> None:
        self._channel = channel
        self._unproved = None
        self.deadline = None
        self._delay = RETRY_FIRST
        self._told_stalled = False
        out.notices.append(up)

    def _data(self, frame: bytes, sid: bytes, now: float, out: Output) -> None:
        channel, up = self._channel, None
        if self._unproved is not None and self._unproved[0].sid == sid:
            channel, up = self._unproved
        if channel is None or channel.sid != sid:
            if self._pending is None and self._allowed(now):
                out.frames += [self._call()] if not self._initiator else []
                if self._initiator:
                    out.frames += self._begin(now).frames
            return
        head, sealed = frame[: HEADER + 4], frame[HEADER + 4 :]
        counter = int.from_bytes(head[HEADER:], "big")
        if len(head) < HEADER + 4 or counter <= channel.received:
            return
        body = channel.keys.receive.open(counter, sealed, head)
        channel.received = counter
        if up is not None:
            self._stand(channel, up, out)
        if body != PROOF:
            out.notices.append(body)


def _name(payload: bytes) -> str:
    """The host name in a handshake's payload, if it is one."""
    try:
        name = payload[1:].decode("ascii")
    except UnicodeDecodeError:
        return ""
    return name if is_name(name) else ""
