# SPDX-License-Identifier: GPL-2.0-or-later
"""The state as D-Bus objects: (path, interface, property) -> plain value. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from .. import __version__
from ..model import HostPort, Identity, Link, LinkState, Pairing, Peer, State
from ..probing import CHECKS_MAX
from . import ROOT
from .interfaces import LINK, MANAGER, PAIRING, PEER_OBJECT, PORT, STATISTICS

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


def port_path(port: HostPort) -> str:
    """Domain and number of the port."""
    return f"{ROOT}/ports/p{port.domain:02x}_{port.number:02x}"


def pairing_path(number: int) -> str:
    """By the id of the pairing."""
    return f"{ROOT}/pairings/c{number:08x}"


def manager(state: State, public_key: bytes, driver: str) -> dict[str, Any]:
    """Properties of the root object."""
    present = {link.state for link in state.links.values()}
    missing = "locked-down" if state.hardware.locked_down else "missing"
    best = next((s.value for s in _BEST if s in present), "idle")
    return {
        "Version": __version__,
        "ApiVersion": API_VERSION,
        "Fingerprint": state.identity.hex(),
        "PublicKey": public_key,
        "State": best,
        "DriverVersion": driver,
        "DriverState": "loaded" if driver else missing,
        "IommuProtected": state.hardware.iommu,
        "DefaultPolicy": state.settings.policy.value,
    }


def link_properties(state: State, link: Link) -> dict[str, Any]:
    """Properties of one link."""
    kernel, plan = link.kernel, link.setup.plan
    peer = state.peers.get(link.identity)
    port = next((p for p in state.hardware.ports if p.carries(kernel)), None)
    return {
        "Name": kernel.place,
        "State": link.state.value,
        "StateReason": link.reason.value,
        "Peer": peer_path(link.identity) if peer else "/",
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
        "RequestedMtu": peer.mtu if peer else 0,
        "Port": port_path(port) if port else "/",
        "SelfTest": _self_test(link),
        "LatencyNanoseconds": link.measured.latency_ns if link.measured else 0,
        "KernelState": kernel.state.value,
        "ProtocolVersions": kernel.version,
        "PeerProtocolVersions": kernel.peer_version,
        "Since": link.since,
    }


def _self_test(link: Link) -> str:
    if link.measured is not None:
        return "failed" if link.measured.error else "passed"
    if link.probe is not None:
        return "running"
    return "unavailable" if link.checks >= CHECKS_MAX else ""


def port_properties(state: State, port: HostPort) -> dict[str, Any]:
    """Properties of one USB4 port."""
    link = next((x for x in state.links.values() if port.carries(x.kernel)), None)
    return {
        "Name": port.name,
        "Domain": port.domain,
        "SysfsPath": port.path,
        "Mode": port.mode,
        "Link": link_path(link) if link else "/",
    }


class Statistics(Mapping[str, Any]):
    """A link's counters, read when somebody looks: most calls are about other things."""

    def __init__(self, read: Callable[[], Mapping[str, int]]) -> None:
        self._read = read
        self._values: dict[str, Any] | None = None

    def _now(self) -> dict[str, Any]:
        if self._values is None:
            self._values = statistics(self._read())
        return self._values

    def __getitem__(self, name: str) -> Any:
        return self._now()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._now())


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
    state: State, public_key: bytes, driver: str, counters: Callable[[Link], Mapping[str, int]]
) -> Objects:
    """Everything."""
    found: dict[str, dict[str, Mapping[str, Any]]] = {
        ROOT: {MANAGER: manager(state, public_key, driver)}
    }
    for port in state.hardware.ports:
        found[port_path(port)] = {PORT: port_properties(state, port)}
    for link in state.links.values():
        found[link_path(link)] = {
            LINK: link_properties(state, link),
            STATISTICS: Statistics(partial(counters, link)),
        }
        if link.pairing is not None:
            found[pairing_path(link.pairing.id)] = {PAIRING: pairing_properties(link, link.pairing)}
    for peer in state.peers.values():
        found[peer_path(peer.identity)] = {PEER_OBJECT: peer_properties(state, peer)}
    return found
