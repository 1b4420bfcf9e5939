# SPDX-License-Identifier: GPL-2.0-or-later
"""The XDomain side of a scripted peer: what a stock kernel asks a new host, and the answers.

Sources: USB4 Inter-Domain Service specification; packet layouts as in the kernel's
drivers/thunderbolt/tb_msgs.h, property blocks as in drivers/thunderbolt/property.c. Words are
given as the kernel holds them, behind the two route words.
"""

from __future__ import annotations

import struct

XDP_UUID = bytes.fromhex("b638d70e42ff40bb97c290e2c0b2ff07")
# Service "usb4rdma", as the driver announces it.
SERVICE_KEY = b"usb4rdma"
SERVICE_UUID = bytes.fromhex("2b7b9f5e8a394c4e9d1130f6a1c05e77")

UUID_REQUESTS = (1, 12)
UUID_RESPONSE = 2
PROPERTIES_REQUEST = 3
PROPERTIES_RESPONSE = 4
CHANGED_REQUEST = 5
CHANGED_RESPONSE = 6
ERROR_RESPONSE = 7
ERROR_NOT_SUPPORTED = 3

_ROOT_MAGIC = 0x55584401
_VALUE, _DIRECTORY = ord("v"), ord("D")
_PER_PACKET = 48


def to_words(data: bytes) -> list[int]:
    """Bytes in memory order to the words that hold them."""
    return list(struct.unpack(f"<{len(data) // 4}I", data))


def to_bytes(words: list[int]) -> bytes:
    """The reverse."""
    return struct.pack(f"<{len(words)}I", *words)


def packet(sn_word: int, uuid: bytes, kind: int, body: bytes) -> list[int]:
    """An XDomain packet with the sequence number of `sn_word`."""
    words = [*to_words(uuid), kind, *to_words(body)]
    return [sn_word & ~0x3F | len(words), *words]


def _entry(key: bytes, length: int, kind: int, value: int) -> list[int]:
    high, low = struct.unpack(">2I", key.ljust(8, b"\0"))
    return [high, low, length | kind << 24, value]


def property_block() -> list[int]:
    """A host that offers usb4rdma and nothing else."""
    numbers = {b"vendorid": 0x1D6B, b"deviceid": 0x4, b"devicerv": 1, b"maxhopid": 11}
    root = [word for key, value in numbers.items() for word in _entry(key, 1, _VALUE, value)]
    service = [*to_words(SERVICE_UUID)]
    for key, value in {b"prtcid": 1, b"prtcvers": 1, b"prtcrevs": 0, b"prtcstns": 0}.items():
        service += _entry(key, 1, _VALUE, value)
    at = 2 + len(root) + 4
    root += _entry(SERVICE_KEY, len(service), _DIRECTORY, at)
    return [_ROOT_MAGIC, len(root), *root, *service]


def answer(words: list[int], own_uuid: bytes) -> list[int] | None:
    """The reply to an XDomain discovery request; None for what is none."""
    if len(words) < 6 or to_bytes(words[1:5]) != XDP_UUID:
        return None
    kind, body = words[5], to_bytes(words[6:])
    if kind in UUID_REQUESTS:
        return packet(words[0], XDP_UUID, UUID_RESPONSE, own_uuid + bytes(8))
    if kind == PROPERTIES_REQUEST:
        block = property_block()
        offset = struct.unpack_from("<H", body, 32)[0]
        part = block[offset : offset + _PER_PACKET]
        head = own_uuid + body[:16] + struct.pack("<HHI", offset, len(block), 1)
        return packet(words[0], XDP_UUID, PROPERTIES_RESPONSE, head + to_bytes(part))
    if kind == CHANGED_REQUEST:
        return packet(words[0], XDP_UUID, CHANGED_RESPONSE, b"")
    if kind > CHANGED_RESPONSE and kind != ERROR_RESPONSE:
        return packet(words[0], XDP_UUID, ERROR_RESPONSE, struct.pack("<I", ERROR_NOT_SUPPORTED))
    return None


def asker_uuid(words: list[int]) -> bytes:
    """The XDomain UUID of the host that sent a properties request; b"" for other packets."""
    if len(words) < 14 or to_bytes(words[1:5]) != XDP_UUID or words[5] != PROPERTIES_REQUEST:
        return b""
    return to_bytes(words[6:10])
