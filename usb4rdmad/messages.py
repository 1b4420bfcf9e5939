# SPDX-License-Identifier: GPL-2.0-or-later
"""What two daemons say to each other once they are authenticated: a codec. Pure.

One byte of kind, then fixed fields, big-endian. Every field of the peer's is
checked here; decode() raises MessageInvalid and nothing else. A kind that is
not known is not an error: later versions may say more (decode() gives None).
docs/pairing-protocol.md has the layouts.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from .addressing import MTU_MAX, MTU_MIN, acceptable
from .errors import MessageInvalid
from .model import ENDPOINT_MAX, PROBE_COUNT_MAX, PROBE_SIZE_MAX, ProbeKind, Subnets

PROPOSE, ACCEPT, CLASH, RENEW = 0x01, 0x02, 0x03, 0x04
COMPARE_MIN, COMPARE_MAX = 0x10, 0x12
PAIR, CONFIRM, REJECT = 0x18, 0x19, 0x1A
REFUSED, ADMITTED = 0x20, 0x21
OFFER, ANSWER, DECLINE = 0x30, 0x31, 0x32

_PROPOSE = struct.Struct(">BHIB4s16s")
_ACCEPT = struct.Struct(">BHI")
_CLASH = struct.Struct(">BH")
_OFFER = struct.Struct(">BHBII")
_ANSWER = struct.Struct(">BH")
_HAS_V4, _HAS_V6 = 1, 2
_PROBES = {1: ProbeKind.PING, 2: ProbeKind.WRITE, 3: ProbeKind.READ}
_NO, _LATE = 0, 1
_PROBE_NUMBER = {kind: number for number, kind in _PROBES.items()}


@dataclass(frozen=True, slots=True)
class Propose:
    """Use these networks and at most this MTU."""

    seq: int
    mtu: int
    subnets: Subnets


@dataclass(frozen=True, slots=True)
class Accept:
    """Yes, with this MTU (not above the proposed one)."""

    seq: int
    mtu: int


@dataclass(frozen=True, slots=True)
class Clash:
    """The networks clash with something here; propose others."""

    seq: int


@dataclass(frozen=True, slots=True)
class Renew:
    """Propose again: ready for it now, or a wish changed."""


@dataclass(frozen=True, slots=True)
class PairRequest:
    """An administrator over here wants to compare codes."""


@dataclass(frozen=True, slots=True)
class Confirm:
    """The human over here says that the codes are the same."""


@dataclass(frozen=True, slots=True)
class Reject:
    """The human over here says no, or the comparison was given up; late: it took too long."""

    late: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """This side does not let you in (by policy or because you are blocked)."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """This side knows your key and opens its gate."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A step of the code comparison; pairing/compare.py knows what is in it."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Offer:
    """Let us measure: my end of the test is there."""

    serial: int
    kind: ProbeKind
    size: int
    count: int
    endpoint: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """Mine too, go ahead."""

    serial: int
    endpoint: bytes


@dataclass(frozen=True, slots=True)
class Decline:
    """No test now."""

    serial: int


Message = (
    Propose
    | Accept
    | Clash
    | Renew
    | PairRequest
    | Confirm
    | Reject
    | Refused
    | Admitted
    | Comparison
    | Offer
    | Answer
    | Decline
)

_PLAIN: dict[int, type[Renew | PairRequest | Confirm | Refused | Admitted]] = {
    RENEW: Renew,
    PAIR: PairRequest,
    CONFIRM: Confirm,
    REFUSED: Refused,
    ADMITTED: Admitted,
}
_KIND = {cls: kind for kind, cls in _PLAIN.items()}


def encode(message: Message) -> bytes:
    """The bytes of a message."""
    if isinstance(message, Propose):
        v4, v6 = message.subnets.ipv4, message.subnets.ipv6
        flags = (_HAS_V4 if v4 else 0) | (_HAS_V6 if v6 else 0)
        return _PROPOSE.pack(
            PROPOSE,
            message.seq,
            message.mtu,
            flags,
            v4.network_address.packed if v4 else bytes(4),
            v6.network_address.packed if v6 else bytes(16),
        )
    if isinstance(message, Accept):
        return _ACCEPT.pack(ACCEPT, message.seq, message.mtu)
    if isinstance(message, Clash):
        return _CLASH.pack(CLASH, message.seq)
    if isinstance(message, Comparison):
        return message.body
    if isinstance(message, Reject):
        return bytes([REJECT, _LATE if message.late else _NO])
    if isinstance(message, Offer):
        kind = _PROBE_NUMBER[message.kind]
        head = _OFFER.pack(OFFER, message.serial, kind, message.size, message.count)
        return head + message.endpoint
    if isinstance(message, Answer):
        return _ANSWER.pack(ANSWER, message.serial) + message.endpoint
    if isinstance(message, Decline):
        return _ANSWER.pack(DECLINE, message.serial)
    return bytes([_KIND[type(message)]])


def _exactly(body: bytes, size: int, what: str) -> None:
    if len(body) != size:
        raise MessageInvalid(f"{what}: {len(body)} bytes, expected {size}")


def _mtu(value: int) -> int:
    if not MTU_MIN <= value <= MTU_MAX:
        raise MessageInvalid(f"MTU {value} outside {MTU_MIN}..{MTU_MAX}")
    return value


def decode(body: bytes) -> Message | None:
    """The message in `body`; None for a kind of a later version."""
    if not body:
        raise MessageInvalid("empty message")
    kind = body[0]
    if kind == PROPOSE:
        _exactly(body, _PROPOSE.size, "proposal")
        _, seq, mtu, flags, raw4, raw6 = _PROPOSE.unpack(body)
        if flags & ~(_HAS_V4 | _HAS_V6):
            raise MessageInvalid(f"proposal: flags {flags:#x}")
        try:
            subnets = Subnets(
                IPv4Network((raw4, 31)) if flags & _HAS_V4 else None,
                IPv6Network((raw6, 64)) if flags & _HAS_V6 else None,
            )
        except ValueError:
            raise MessageInvalid("proposal: host bits set in a network") from None
        if not acceptable(subnets):
            raise MessageInvalid("proposal: networks outside the private ranges")
        return Propose(seq, _mtu(mtu), subnets)
    if kind == ACCEPT:
        _exactly(body, _ACCEPT.size, "acceptance")
        _, seq, mtu = _ACCEPT.unpack(body)
        return Accept(seq, _mtu(mtu))
    if kind == CLASH:
        _exactly(body, _CLASH.size, "clash")
        return Clash(_CLASH.unpack(body)[1])
    if COMPARE_MIN <= kind <= COMPARE_MAX:
        _exactly(body, 33, "comparison")
        return Comparison(body)
    if kind == REJECT:
        _exactly(body, 2, "rejection")
        return Reject(late=body[1] == _LATE)
    if kind in (OFFER, ANSWER, DECLINE):
        return _probe(body)
    plain = _PLAIN.get(kind)
    if plain is not None:
        _exactly(body, 1, plain.__name__)
        return plain()
    return None


def _probe(body: bytes) -> Offer | Answer | Decline:
    if body[0] == DECLINE:
        _exactly(body, _ANSWER.size, "decline")
        return Decline(_ANSWER.unpack(body)[1])
    head = _OFFER if body[0] == OFFER else _ANSWER
    endpoint = body[head.size :]
    if not 1 <= len(endpoint) <= ENDPOINT_MAX:
        raise MessageInvalid(f"test: {len(body)} bytes")
    if body[0] == ANSWER:
        return Answer(_ANSWER.unpack_from(body)[1], endpoint)
    _, serial, number, size, count = _OFFER.unpack_from(body)
    kind = _PROBES.get(number)
    if kind is None or not 1 <= size <= PROBE_SIZE_MAX or not 1 <= count <= PROBE_COUNT_MAX:
        raise MessageInvalid(f"test: kind {number}, {count} operations of {size} bytes")
    return Offer(serial, kind, size, count, endpoint)
