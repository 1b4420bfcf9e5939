# SPDX-License-Identifier: GPL-2.0-or-later
"""The four rtnetlink messages that the daemon needs: a codec and one socket.

pyroute2 would do this as well; its IPRoute costs 20 MB of memory and, from 0.9
on, a thread with an event loop of its own, for what is 150 lines here.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

from .errors import NetworkError
from .model import Address, LocalAddress, Network

_HEADER = struct.Struct("=IHHII")
_IFINFO = struct.Struct("=BxHiII")
_IFADDR = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_ATTR = struct.Struct("=HH")

NLMSG_ERROR, NLMSG_DONE = 2, 3
RTM_NEWLINK, RTM_GETLINK = 16, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_GETROUTE = 24, 26
REQUEST, ACK, DUMP, CREATE, REPLACE = 0x001, 0x004, 0x300, 0x400, 0x100
IFLA_MTU = 4
IFA_ADDRESS, IFA_LOCAL, IFA_FLAGS = 1, 2, 8
RTA_DST, RTA_OIF, RTA_TABLE = 1, 4, 15
IFF_UP = 1
IFA_F_NODAD, IFA_F_PERMANENT = 0x02, 0x80
RT_TABLE_MAIN = 254
RTN_UNICAST = 1
SCOPE_LINK, SCOPE_GLOBAL = 253, 0

_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes of a message; stops at the first that does not fit."""
    at = 0
    while at + _ATTR.size <= len(data):
        size, kind = _ATTR.unpack_from(data, at)
        if size < _ATTR.size or at + size > len(data):
            return
        yield kind & 0x3FFF, data[at + _ATTR.size : at + size]
        at += (size + 3) & ~3


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded."""
    return _ATTR.pack(_ATTR.size + len(value), kind) + value + bytes(-len(value) % 4)


class RouteSocket:
    """One NETLINK_ROUTE socket. The kernel answers at once, so calls do not block."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.settimeout(2)
        self._seq = 0

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _ask(self, kind: int, flags: int, body: bytes) -> Iterator[tuple[int, bytes]]:
        self._seq += 1
        size = _HEADER.size + len(body)
        self._socket.send(_HEADER.pack(size, kind, flags | REQUEST, self._seq, 0) + body)
        while True:
            data = self._socket.recv(1 << 16)
            at = 0
            while at + _HEADER.size <= len(data):
                size, answer, _, seq, _ = _HEADER.unpack_from(data, at)
                if size < _HEADER.size:
                    return
                payload = data[at + _HEADER.size : at + size]
                at += (size + 3) & ~3
                if seq != self._seq:
                    continue
                if answer == NLMSG_DONE:
                    return
                if answer == NLMSG_ERROR:
                    (code,) = struct.unpack_from("=i", payload)
                    if code:
                        raise OSError(-code, os.strerror(-code))
                    return
                yield answer, payload

    def _do(self, kind: int, flags: int, body: bytes, what: str) -> None:
        try:
            for _ in self._ask(kind, flags | ACK, body):
                pass
        except OSError as error:
            raise NetworkError(f"{what}: {error.strerror or error}") from None

    def _dump(self, kind: int, body: bytes, what: str) -> list[bytes]:
        try:
            return [payload for _, payload in self._ask(kind, DUMP, body)]
        except OSError as error:
            raise NetworkError(f"{what}: {error.strerror or error}") from None

    def set_link(self, index: int, mtu: int) -> None:
        """Bring an interface up with this MTU."""
        body = _IFINFO.pack(socket.AF_UNSPEC, 0, index, IFF_UP, IFF_UP)
        body += attribute(IFLA_MTU, struct.pack("=I", mtu))
        self._do(RTM_NEWLINK, 0, body, f"setting an MTU of {mtu}")

    def addresses(self) -> list[tuple[int, LocalAddress]]:
        """(interface index, address) of every address."""
        found = []
        for payload in self._dump(RTM_GETADDR, _IFADDR.pack(0, 0, 0, 0, 0), "reading addresses"):
            _, prefix, _, _, index = _IFADDR.unpack_from(payload)
            values = dict(attributes(payload[_IFADDR.size :]))
            raw = values.get(IFA_LOCAL) or values.get(IFA_ADDRESS)
            if raw and len(raw) in (4, 16):
                found.append((index, LocalAddress(ip_address(raw), prefix)))
        return found

    def routes(self) -> list[tuple[int, Network]]:
        """(interface index, destination) of every unicast route, any table."""
        found: list[tuple[int, Network]] = []
        for payload in self._dump(RTM_GETROUTE, _ROUTE.pack(*[0] * 9), "reading routes"):
            family, prefix, _, _, _, _, _, kind, _ = _ROUTE.unpack_from(payload)
            if kind != RTN_UNICAST or family not in (socket.AF_INET, socket.AF_INET6):
                continue
            values = dict(attributes(payload[_ROUTE.size :]))
            raw = values.get(RTA_DST, bytes(4 if family == socket.AF_INET else 16))
            oif = struct.unpack("=I", values[RTA_OIF])[0] if RTA_OIF in values else 0
            found.append((oif, ip_network((raw, prefix), strict=False)))
        return found

    def add_address(self, index: int, address: LocalAddress) -> None:
        """Add an address; no error when it is there."""
        link_local = address.ip.version == 4 and address.ip.is_link_local
        body = self._address(index, address, SCOPE_LINK if link_local else SCOPE_GLOBAL)
        if address.ip.version == 6:
            body += attribute(IFA_FLAGS, struct.pack("=I", IFA_F_NODAD | IFA_F_PERMANENT))
        self._do(RTM_NEWADDR, CREATE | REPLACE, body, f"adding {address}")

    def delete_address(self, index: int, address: LocalAddress) -> None:
        """Remove an address."""
        self._do(RTM_DELADDR, 0, self._address(index, address, 0), f"removing {address}")

    @staticmethod
    def _address(index: int, address: LocalAddress, scope: int) -> bytes:
        ip: Address = address.ip
        head = _IFADDR.pack(_FAMILY[ip.version], address.prefix, 0, scope, index)
        return head + attribute(IFA_LOCAL, ip.packed) + attribute(IFA_ADDRESS, ip.packed)
