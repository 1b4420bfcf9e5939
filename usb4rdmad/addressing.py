# SPDX-License-Identifier: GPL-2.0-or-later
"""Which addresses two hosts give the interfaces of their link. Pure.

The candidates are drawn from a hash of both identities, so both ends and every
later boot come to the same list; the first one that clashes with nothing on
either host is taken. The host with the smaller identity has the lower address.

IPv4: a /31 (RFC 3021) of the pool. The default pool is the link-local range,
since it is routed nowhere and no site uses it for something else; its first and
last 256 addresses (reserved by RFC 3927) and the /24 of the clouds' metadata
service are left out. IPv6: a ULA /64 (RFC 4193).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from .model import Address, Identity, LocalAddress, Network, Plan, Settings, Subnets

ATTEMPTS = 32
MTU_MIN = 1280
MTU_MAX = 65520
"""Limits of what an administrator may wish and of what a peer may propose."""

_LINK_LOCAL = IPv4Network("169.254.0.0/16")
_RESERVED = (
    IPv4Network("169.254.0.0/24"),
    IPv4Network("169.254.169.0/24"),
    IPv4Network("169.254.255.0/24"),
)
_ULA = IPv6Network("fd00::/8")
POOLS = (
    _LINK_LOCAL,
    IPv4Network("10.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    IPv4Network("100.64.0.0/10"),
)
"""Where IPv4 networks of links may lie, on either host."""


def _digest(one: Identity, other: Identity, attempt: int) -> bytes:
    low, high = sorted((one, other))
    return hashlib.sha256(b"usb4rdma addresses 1\0" + low + high + bytes([attempt])).digest()


def candidate(settings: Settings, one: Identity, other: Identity, attempt: int) -> Subnets:
    """The networks to try at this attempt, 0 <= attempt < ATTEMPTS."""
    digest = _digest(one, other, attempt)
    ipv4: IPv4Network | None = None
    pool = settings.ipv4_pool
    if pool is not None:
        offset = int.from_bytes(digest[:8], "big") % (pool.num_addresses // 2)
        base = int(pool.network_address)
        for step in range(1024):
            at = base + 2 * ((offset + step) % (pool.num_addresses // 2))
            ipv4 = IPv4Network((at, 31))
            if not any(ipv4.subnet_of(r) for r in _RESERVED):
                break
    ipv6: IPv6Network | None = None
    if settings.ipv6:
        ipv6 = IPv6Network((b"\xfd" + digest[8:15] + bytes(8), 64))
    return Subnets(ipv4, ipv6)


def clashes(subnet: Network, used: Iterable[Network]) -> bool:
    """Does a network of this host stand against using the subnet?

    A network that holds the subnet and is much larger (a default route, a VPN's
    10/8, another interface's link-local /16) does not: the longer prefix wins,
    and all it shadows are these two addresses. IPv4 networks count as much
    larger up to /16, IPv6 ones up to /56.
    """
    limit = 16 if subnet.version == 4 else 56
    for network in used:
        if network.version == subnet.version and network.prefixlen > limit:
            if network.overlaps(subnet):
                return True
    return False


def usable_pool(pool: IPv4Network) -> bool:
    """Would a peer accept what is drawn from this pool?"""
    if not any(pool.subnet_of(allowed) for allowed in POOLS):
        return False
    return not any(pool.subnet_of(reserved) for reserved in _RESERVED)


def acceptable(subnets: Subnets) -> bool:
    """May a peer propose this at all? Private ranges and our prefix lengths only."""
    v4, v6 = subnets.ipv4, subnets.ipv6
    if v4 is not None:
        if v4.prefixlen != 31 or not any(v4.subnet_of(a) for a in POOLS):
            return False
        if any(v4.subnet_of(r) for r in _RESERVED):
            return False
    return v6 is None or (v6.prefixlen == 64 and v6.subnet_of(_ULA))


def free(subnets: Subnets, used: Iterable[Network]) -> bool:
    """Neither network clashes with what this host has."""
    used = tuple(used)
    return not any(n is not None and clashes(n, used) for n in (subnets.ipv4, subnets.ipv6))


def plan(subnets: Subnets, own: Identity, other: Identity, mtu: int) -> Plan:
    """Our side of agreed networks."""
    mine, theirs = (0, 1) if own < other else (1, 0)
    local: list[LocalAddress] = []
    remote: list[Address] = []
    if subnets.ipv4 is not None:
        base4 = int(subnets.ipv4.network_address)
        local.append(LocalAddress(IPv4Address(base4 + mine), 31))
        remote.append(IPv4Address(base4 + theirs))
    if subnets.ipv6 is not None:
        base6 = int(subnets.ipv6.network_address)
        local.append(LocalAddress(IPv6Address(base6 + 1 + mine), 64))
        remote.append(IPv6Address(base6 + 1 + theirs))
    return Plan(subnets, tuple(local), tuple(remote), mtu)
