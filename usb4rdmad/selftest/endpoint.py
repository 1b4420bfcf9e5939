# SPDX-License-Identifier: GPL-2.0-or-later
"""What one end of a test tells the other, in 48 bytes. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv6Address

VERSION = 1
QPN_MAX = PSN_MAX = 0xFFFFFF
_LAYOUT = struct.Struct(">BBHII16sIIQ4x")
SIZE = _LAYOUT.size


class EndpointInvalid(Exception):
    """The other end sent what no end sends."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A queue pair, and memory that the other end may write to or read from."""

    qpn: int
    psn: int
    gid: IPv6Address
    mtu: int
    """The verbs' number for the port's path MTU, 1 (256 bytes) to 5 (4096)."""
    address: int = 0
    rkey: int = 0
    length: int = 0

    def pack(self) -> bytes:
        """For the other end."""
        return _LAYOUT.pack(
            VERSION,
            self.mtu,
            0,
            self.qpn,
            self.psn,
            self.gid.packed,
            self.rkey,
            self.length,
            self.address,
        )

    @staticmethod
    def parse(data: bytes) -> Endpoint:
        """The reverse; EndpointInvalid for what could not be of use to an honest end."""
        if len(data) != SIZE:
            raise EndpointInvalid(f"an endpoint of {len(data)} bytes")
        version, mtu, zero, qpn, psn, raw, rkey, length, address = _LAYOUT.unpack(data)
        if version != VERSION or zero or any(data[-4:]):
            raise EndpointInvalid(f"an endpoint of version {version}")
        if not 1 <= mtu <= 5:
            raise EndpointInvalid(f"path MTU number {mtu}")
        if not 2 <= qpn <= QPN_MAX or psn > PSN_MAX:
            raise EndpointInvalid(f"queue pair {qpn}, packet number {psn}")
        gid = IPv6Address(raw)
        target = gid.ipv4_mapped or gid
        if target.is_multicast or target.is_unspecified or target.is_loopback:
            raise EndpointInvalid(f"GID {gid}")
        return Endpoint(qpn, psn, gid, mtu, address, rkey, length)
