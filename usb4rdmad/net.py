# SPDX-License-Identifier: GPL-2.0-or-later
"""Addresses and MTU of the links' network interfaces.

Only addresses that can be ours are ever removed: those that an earlier plan of
this daemon put there, told by the /31 and ULA /64 form and by being on an
interface named u4rdma*. What an administrator adds stays.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Network, ip_network
from pathlib import Path

from .errors import NetworkError
from .model import Interface, LocalAddress, Network
from .netlink import RouteSocket

PREFIX = "u4rdma"
_ULA = IPv6Network("fd00::/8")


class HostNetworks:
    """The real host, by rtnetlink."""

    def __init__(self, sysfs: Path = Path("/sys")) -> None:
        self._net = sysfs / "class" / "net"
        self._route = RouteSocket()

    def used(self, exclude: str) -> frozenset[Network]:
        """Addresses and unicast routes of all other interfaces."""
        own = self._index(exclude)
        found: set[Network] = set()
        for index, address in self._route.addresses():
            if index != own and not address.ip.is_loopback:
                found.add(ip_network(address.ip))
                if not (address.ip.version == 6 and address.ip.is_link_local):
                    found.add(ip_network(f"{address.ip}/{address.prefix}", strict=False))
        for index, network in self._route.routes():
            if index != own and not (network.version == 6 and network.is_link_local):
                found.add(network)
        return frozenset(found)

    def interface(self, netdev: str) -> Interface:
        """MTU and addresses."""
        index = self._index(netdev)
        try:
            mtu = int((self._net / netdev / "mtu").read_text())
        except (OSError, ValueError):
            raise NetworkError(f"{netdev} is gone") from None
        return Interface(mtu, tuple(a for i, a in self._route.addresses() if i == index))

    def configure(self, netdev: str, mtu: int, addresses: Iterable[LocalAddress]) -> None:
        """Up, MTU, our addresses and no older ones of ours."""
        index = self._index(netdev)
        wanted = set(addresses)
        self._route.set_link(index, mtu)
        present = {a for i, a in self._route.addresses() if i == index}
        for address in wanted - present:
            self._route.add_address(index, address)
        for address in present - wanted:
            if netdev.startswith(PREFIX) and _ours(address):
                self._route.delete_address(index, address)

    def _index(self, netdev: str) -> int:
        # From sysfs: if_nametoindex() may want a socket that the unit forbids.
        try:
            return int((self._net / netdev / "ifindex").read_text())
        except (OSError, ValueError):
            raise NetworkError(f"no interface {netdev!r}") from None


def _ours(address: LocalAddress) -> bool:
    if isinstance(address.ip, IPv4Address):
        return address.prefix == 31
    return address.prefix == 64 and address.ip in _ULA
