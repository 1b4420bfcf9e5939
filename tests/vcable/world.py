# SPDX-License-Identifier: GPL-2.0-or-later
"""All hosts and cables of one run, and what can be done to them by name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from .cable import Cable, CableEnd, LinkState
from .direction import Direction
from .hostrouter import HostRouter
from .impair import Impairment
from .loop import Loop
from .scripted import Peer, load
from .topology import End, HostSpec, RouterSpec, Topology, TopologyError, check_end
from .trace import Trace
from .wire import Batch


class WorldError(Exception):
    """What was asked for cannot be done; the text says why."""


class World:
    """Built from a topology; cables may be added later."""

    def __init__(self, topology: Topology, loop: Loop, trace: Trace) -> None:
        self.topology = topology
        self.loop = loop
        self.trace = trace
        self.batch = Batch()
        loop.after_each = self.batch.run
        self.routers: dict[tuple[str, int], HostRouter] = {}
        self.peers: dict[str, Peer] = {}
        self.cables: dict[str, Cable] = {}
        for host in topology.hosts:
            if host.kind == "script":
                self._add_peer(host)
            else:
                for number, spec in enumerate(host.routers, 1):
                    self._add_router(host.name, number, spec)
        for cable in topology.cables:
            made = self._make_cable(*cable.ends)
            if cable.plugged:
                made.plug()
        self.batch.run()

    # Cables

    def cable(self, name: object, create: bool = False) -> Cable:
        """The cable with these ends, in either order; made on demand between existing ports."""
        a, b = self._ends(name)
        for text in (f"{a}-{b}", f"{b}-{a}"):
            if text in self.cables:
                return self.cables[text]
        if not create:
            known = ", ".join(self.cables) or "none"
            raise WorldError(f"cable: {name!r} does not exist, known: {known}")
        if a == b:
            raise WorldError(f"cable: both ends are {a}")
        return self._make_cable(a, b)

    def plug(self, name: object) -> Cable:
        cable = self.cable(name, create=True)
        for end in cable.ends:
            if end.cable not in (None, cable):
                assert end.cable is not None
                raise WorldError(f"cable: {end.name} is taken by {end.cable.name}")
        cable.plug()
        return cable

    def unplug(self, name: object) -> Cable:
        cable = self.cable(name)
        cable.unplug()
        return cable

    def inject(self, cable: Cable, impairment: Impairment) -> None:
        """Add an impairment; its sender, if any, must be an end of the cable."""
        names = [end.name for end in cable.ends]
        if impairment.sender is not None and impairment.sender not in names:
            raise WorldError(f"from: must be {' or '.join(names)}, not {impairment.sender!r}")
        cable.inject(impairment)

    def _ends(self, name: object) -> tuple[End, End]:
        parts = name.split("-") if isinstance(name, str) else []
        if len(parts) != 2:
            raise WorldError(f"cable: must look like a:1-b:1, not {name!r}")
        try:
            a, b = (End.parse(part) for part in parts)
            check_end(a, self.topology.hosts)
            check_end(b, self.topology.hosts)
        except TopologyError as error:
            raise WorldError(f"cable: {error}") from error
        return a, b

    def _make_cable(self, a: End, b: End) -> Cable:
        cable = Cable(self._end(a), self._end(b), self.loop, self.batch, self.trace)
        self.cables[cable.name] = cable
        return cable

    def _end(self, end: End) -> CableEnd:
        if end.host in self.peers:
            return self.peers[end.host].ports[end.port - 1]
        return self.routers[end.host, end.router].router.ports[end.port - 1]

    # Hosts

    def _add_router(self, host: str, number: int, spec: RouterSpec) -> None:
        name = host if number == 1 else f"{host}.{number}"
        # The id becomes the host's UUID: different for each router, the same in every run.
        uid = int.from_bytes(hashlib.sha256(f"vcable {name}".encode()).digest()[:8], "little")
        self.routers[host, number] = HostRouter(
            name,
            spec.version,
            spec.ports,
            spec.lanes,
            spec.rings,
            uid,
            self.loop,
            self.batch,
            self.trace,
        )

    def _add_peer(self, host: HostSpec) -> None:
        spec = host.routers[0]
        peer = load(host.peer)
        self.peers[host.name] = peer(
            host.name, self.loop, self.batch, spec.ports, spec.lanes, spec.version
        )

    # Figures

    def stat(self) -> dict[str, Any]:
        """All counters, as the control socket gives them out."""
        return {
            "routers": {r.name: router_stat(r) for r in self.routers.values()},
            "peers": {name: dict(peer.stats) for name, peer in self.peers.items()},
            "cables": {name: cable_stat(cable) for name, cable in self.cables.items()},
        }

    def reset_stat(self) -> None:
        for router in self.routers.values():
            router.dma.faults.clear()
            router.dma.fault_count = 0
            router.mmio.update({"reads": -router.mmio["reads"], "writes": -router.mmio["writes"]})
            router.nhi.vector_counts = [0] * len(router.nhi.vector_counts)
            router.nhi.stats.clear()
            router.router.stats.clear()
            router.pci.lost_vectors = 0
            for ring in (*router.nhi.tx, *router.nhi.rx):
                ring.frames = ring.bytes = ring.dropped = 0
            for rx in router.nhi.rx:
                rx.crc_errors = 0
        for peer in self.peers.values():
            peer.stats.clear()
        for direction in self._directions():
            direction.reset_stats()
        for cable in self.cables.values():
            cable.downs = 0

    def _directions(self) -> Iterator[Direction]:
        for cable in self.cables.values():
            yield from cable.directions


def router_stat(router: HostRouter) -> dict[str, Any]:
    """`data` sums up the rings above 0: what the services' own frames cost."""
    nhi = router.nhi
    rings: dict[str, Any] = {}
    for ring in (*nhi.tx, *nhi.rx):
        if ring.frames or ring.dropped or ring.enabled:
            rings[ring.name] = {
                "enabled": ring.enabled,
                "frames": ring.frames,
                "bytes": ring.bytes,
                "dropped": ring.dropped,
            }
    for rx in nhi.rx:
        if rx.crc_errors:
            rings[rx.name]["crc_errors"] = rx.crc_errors
    return {
        "powered": router.router.powered,
        "asleep": router.pci.asleep,
        "dma_faults": router.dma.fault_count,
        "dma_faults_by_ring": dict(router.dma.faults),
        "dma_maps": len(router.dma),
        "mmio_reads": router.mmio["reads"],
        "mmio_writes": router.mmio["writes"],
        "interrupts": sum(nhi.vector_counts),
        "interrupts_by_vector": {str(n): c for n, c in enumerate(nhi.vector_counts) if c},
        "rings": rings,
        "data": {
            "tx_frames": sum(ring.frames for ring in nhi.tx[1:]),
            "tx_bytes": sum(ring.bytes for ring in nhi.tx[1:]),
            "rx_frames": sum(ring.frames for ring in nhi.rx[1:]),
            "rx_bytes": sum(ring.bytes for ring in nhi.rx[1:]),
        },
        "control": dict(router.router.stats),
        "other": dict(nhi.stats),
    }


def cable_stat(cable: Cable) -> dict[str, Any]:
    """`from` has the figures of each direction by its sender."""
    return {
        "plugged": cable.plugged,
        "state": str(cable.state),
        "up": cable.state is LinkState.UP,
        "width": cable.width,
        "speed": cable.gbps,
        "downs": cable.downs,
        "from": {
            direction.sender: {
                "frames": direction.frames,
                "bytes": direction.bytes,
                "lost": sum(direction.stats.values()),
                "lost_by_reason": dict(direction.stats),
                "in_flight": direction.in_flight(),
                "injected": {str(kind): n for kind, n in direction.injected.items()},
                "frames_by_hop": {str(hop): n for hop, n in direction.hops.items()},
                "impairments": [
                    {"what": str(i.kind), "seen": i.seen, "hits": i.hits, "spent": i.spent}
                    for i in direction.impairments
                ],
            }
            for direction in cable.directions
        },
    }
