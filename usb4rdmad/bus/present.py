# SPDX-License-Identifier: GPL-2.0-or-later
"""The state as D-Bus objects: (path, interface, property) -> plain value. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .. import __version__
from ..model import Identity, Link, LinkState, Pairing, Peer, State
from . import ROOT
from .interfaces import LINK, MANAGER, PAIRING, PEER_OBJECT, STATISTICS

Objects = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""path -> interface -> property -> value."""

API_VERSION = 1

_BEST = (
    LinkState.ACTIVE,
    LinkState.DEGRADED,
    LinkState.CONFIGURING,
    LinkState.AUTHORIZING,
    LinkState.PAIRING,
    LinkState.WAITING_APPROVAL,
    LinkState.HANDSHAKING,
    LinkState.DISCOVERED,
    LinkState.FAILED,
    LinkState.INCOMPATIBLE,
    LinkState.BLOCKED,
)


def link_path(link: Link) -> str:
    """Fixed width, so that no name is the start of another."""
    return f"{ROOT}/links/l{link.kernel.domain & 0xFF:02x}_{link.kernel.route:016x}"


def peer_path(identity: Identity) -> str:
    """The first half of the fingerprint."""
    return f"{ROOT}/peers/p{identity.hex()[:32]}"


def pairing_path(pairing: Pairing) -> str:
    """The number of the pairing."""
    return f"{ROOT}/pairings/c{pairing.id:08x}"


def manager(state: State, public_key: bytes, driver: str) -> dict[str, Any]:
    """Properties of the root object."""
    present = {link.state for link in state.links.values()}
    best = next((s.value for s in _BEST if s in present), "idle")
    return {
        "Version": __version__,
        "ApiVersion": API_VERSION,
        "Fingerprint": state.identity.hex(),
        "PublicKey": public_key,
        "State": best,
        "DriverVersion": driver,
        "DriverState": "loaded" if driver else "missing",
        "DefaultPolicy": state.settings.policy.value,
    }


def link_properties(state: State, link: Link) -> dict[str, Any]:
    """Properties of one link."""
    kernel, plan = link.kernel, link.setup.plan
    known = link.identity in state.peers
    return {
        "Name": kernel.place,
        "State": link.state.value,
        "StateReason": link.reason.value,
        "Peer": peer_path(link.identity) if known else "/",
        "PeerName": link.peer_name,
        "PeerFingerprint": link.identity.hex(),
        "RemoteName": kernel.remote_name,
        "RemoteVendor": kernel.remote_vendor,
        "RemoteUuid": kernel.peer_uuid,
        "Speed": min(kernel.speed * max(kernel.width, 1), 2**64 - 1),
        "Lanes": min(kernel.width, 2**32 - 1),
        "RdmaDevice": kernel.ibdev,
        "RdmaPort": 1 if kernel.ibdev else 0,
        "NetworkInterface": kernel.netdev,
        "Gids": [[index, gid] for index, gid, kind in link.port.gids if kind == "RoCE v2"],
        "Addresses": [str(a) for a in plan.local] if plan else [],
        "PeerAddresses": [str(a) for a in plan.remote] if plan else [],
        "Mtu": plan.mtu if plan else 0,
        "KernelState": kernel.state.value,
        "ProtocolVersions": kernel.version,
        "PeerProtocolVersions": kernel.peer_version,
        "Since": link.since,
    }


def statistics(counters: Mapping[str, int]) -> dict[str, Any]:
    """Properties of the counters; `counters` as ports.Rdma gives them."""
    names = ("RxBytes", "TxBytes", "RxPackets", "TxPackets")
    return {name: counters.get(name, 0) for name in names} | {
        "Counters": {k: v for k, v in counters.items() if k not in names}
    }


def peer_properties(state: State, peer: Peer) -> dict[str, Any]:
    """Properties of one peer."""
    links = [x for x in state.links.values() if x.identity == peer.identity]
    return {
        "Fingerprint": peer.identity.hex(),
        "PublicKey": peer.public_key,
        "Name": peer.name,
        "Label": peer.label,
        "Trust": peer.trust.value,
        "Online": any(x.secured for x in links),
        "Links": [link_path(x) for x in links],
        "FirstSeen": peer.first_seen,
        "LastSeen": peer.last_seen,
        "PairedBy": peer.paired_by,
    }


def pairing_properties(link: Link, pairing: Pairing) -> dict[str, Any]:
    """Properties of one comparison."""
    phase = "starting"
    if pairing.code:
        phase = "waiting-peer" if pairing.confirmed_here else "compare"
    return {
        "Link": link_path(link),
        "State": phase,
        "Code": pairing.code,
        "Initiator": pairing.initiator,
        "ExpiresAt": pairing.expires,
    }


def objects(
    state: State,
    public_key: bytes,
    driver: str,
    counters: Callable[[Link], Mapping[str, int]] | None = None,
) -> Objects:
    """Everything. Without `counters` the statistics are zero (enough for signals)."""
    found: dict[str, dict[str, dict[str, Any]]] = {
        ROOT: {MANAGER: manager(state, public_key, driver)}
    }
    for link in state.links.values():
        found[link_path(link)] = {
            LINK: link_properties(state, link),
            STATISTICS: statistics(counters(link) if counters else {}),
        }
        if link.pairing is not None:
            found[pairing_path(link.pairing)] = {PAIRING: pairing_properties(link, link.pairing)}
    for peer in state.peers.values():
        found[peer_path(peer.identity)] = {PEER_OBJECT: peer_properties(state, peer)}
    return found
