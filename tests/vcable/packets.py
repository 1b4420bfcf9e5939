# SPDX-License-Identifier: GPL-2.0-or-later
"""Control packets: words and checksum, the address word, and a decoder for the trace.

Pure functions.  A packet is its list of 32-bit words without the checksum; on the ring it is
big-endian with a CRC32C at the end, and its type travels in the frame's EOF field.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass

from .crc32c import crc32c

REPLY = 1 << 31
CONTROL_MAX = 256


class Kind(enum.IntEnum):
    """Type of a control packet."""

    READ = 1
    WRITE = 2
    ERROR = 3
    NOTIFY_ACK = 4
    EVENT = 5
    XDOMAIN_REQUEST = 6
    XDOMAIN_RESPONSE = 7
    OVERRIDE = 8
    RESET = 9


class Space(enum.IntEnum):
    """Configuration space of a router or adapter."""

    HOPS = 0
    PORT = 1
    SWITCH = 2
    COUNTERS = 3


class Error(enum.IntEnum):
    """Code in an ERROR packet."""

    NOT_CONNECTED = 0
    LINK_ERROR = 1
    INVALID_SPACE = 2
    NO_SUCH_PORT = 4
    ACK_PLUG_EVENT = 7
    LOCKED = 15


class PacketError(Exception):
    """A frame that is no control packet."""


@dataclass(frozen=True)
class Address:
    """The third word of reads and writes; offset and length in words."""

    offset: int
    length: int
    port: int
    space: int
    seq: int

    @classmethod
    def decode(cls, word: int) -> Address:
        return cls(
            word & 0x1FFF, word >> 13 & 0x3F, word >> 19 & 0x3F, word >> 25 & 3, word >> 27 & 3
        )

    def encode(self) -> int:
        return self.offset | self.length << 13 | self.port << 19 | self.space << 25 | self.seq << 27


def pack(words: list[int]) -> bytes:
    """Words to ring bytes, checksum added."""
    data = struct.pack(f">{len(words)}I", *words)
    return data + struct.pack(">I", crc32c(data))


def unpack(frame: bytes) -> list[int]:
    """Ring bytes to words, checksum checked and removed."""
    if not 12 <= len(frame) <= CONTROL_MAX or len(frame) % 4:
        raise PacketError(f"{len(frame)} bytes")
    words = list(struct.unpack(f">{len(frame) // 4}I", frame))
    if crc32c(frame[:-4]) != words[-1]:
        raise PacketError("checksum")
    return words[:-1]


def route_of(words: list[int]) -> int:
    """The route without the reply bit."""
    return (words[0] & 0x3FFFFF) << 32 | words[1]


XDOMAIN_NAMES = {
    1: "UUID_REQUEST_OLD",
    2: "UUID_RESPONSE",
    3: "PROPERTIES_REQUEST",
    4: "PROPERTIES_RESPONSE",
    5: "PROPERTIES_CHANGED_REQUEST",
    6: "PROPERTIES_CHANGED_RESPONSE",
    7: "ERROR_RESPONSE",
    12: "UUID_REQUEST",
    15: "LINK_STATE_STATUS_REQUEST",
    16: "LINK_STATE_STATUS_RESPONSE",
    17: "LINK_STATE_CHANGE_REQUEST",
    18: "LINK_STATE_CHANGE_RESPONSE",
}
NETWORK_NAMES = ("NETWORK_LOGIN", "NETWORK_LOGIN_RESPONSE", "NETWORK_LOGOUT", "NETWORK_STATUS")
# Protocol UUIDs as they appear in words 3 to 6 (low words first).
DISCOVERY_UUID = "b638d70e-42ff-40bb-97c2-90e2c0b2ff07"
NETWORK_UUID = "798f589e-3616-8a47-97c6-5664a920c8dd"


def uuid_text(words: list[int]) -> str:
    """Four words, as the kernel puts a uuid_t into a packet, in the usual notation."""
    text = struct.pack("<4I", *words).hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def describe(kind: int, words: list[int]) -> str:
    """One line for a person: type, route, and what the type's fields say."""
    try:
        name = Kind(kind).name
    except ValueError:
        name = f"TYPE{kind}"
    reply = "reply " if words and words[0] & REPLY else ""
    head = f"{reply}{name} route={route_of(words):x}" if len(words) > 1 else name
    if len(words) < 3:
        return head
    if kind in (Kind.READ, Kind.WRITE):
        a = Address.decode(words[2])
        text = (
            f"{head} {Space(a.space).name} port={a.port} off={a.offset:#x} len={a.length}"
            f" seq={a.seq}"
        )
        return text + (" " + _hex(words[3:]) if words[3:] else "")
    if kind == Kind.ERROR:
        code = words[2] & 0xFF
        known = code in Error.__members__.values()
        return f"{head} {Error(code).name if known else code} port={words[2] >> 8 & 0x3F}"
    if kind == Kind.EVENT:
        return f"{head} {'unplug' if words[2] & REPLY else 'plug'} port={words[2] & 0x3F}"
    if kind in (Kind.XDOMAIN_REQUEST, Kind.XDOMAIN_RESPONSE) and len(words) >= 8:
        return f"{head} {_describe_xdomain(words)}"
    return f"{head} {_hex(words[2:])}"


def _describe_xdomain(words: list[int]) -> str:
    length, serial = words[2] & 0x3F, words[2] >> 27 & 3
    protocol, rest = uuid_text(words[3:7]), words[7:]
    if protocol == DISCOVERY_UUID:
        what = XDOMAIN_NAMES.get(rest[0], f"XDP{rest[0]}")
        rest = rest[1:]
    elif protocol == NETWORK_UUID:
        # Both hosts' UUIDs come between the protocol and the type.
        known = len(rest) > 8 and rest[8] < len(NETWORK_NAMES)
        what = NETWORK_NAMES[rest[8]] if known else "NETWORK"
        rest = rest[9:]
    else:
        what = protocol
    return f"{what} sn={serial} len={length} {_hex(rest)}"


def _hex(words: list[int], most: int = 16) -> str:
    text = " ".join(f"{word:08x}" for word in words[:most])
    return text + (" ..." if len(words) > most else "")
