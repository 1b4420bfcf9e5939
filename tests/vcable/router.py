# SPDX-License-Identifier: GPL-2.0-or-later
"""A USB4 host router: answers control packets, keeps paths, and stands between NHI and cables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from . import confspace as cs
from .hotplug import HotplugEvents
from .loop import Loop
from .nhi import Nhi
from .packets import (
    NETWORK_UUID,
    REPLY,
    Address,
    Error,
    Kind,
    PacketError,
    Space,
    describe,
    pack,
    route_of,
    unpack,
    uuid_text,
)
from .ports import UsbPort
from .rings import Outlet, Sink
from .trace import Level, Trace

NETWORK_LOGIN, NETWORK_LOGOUT = 0, 2


class Router:
    """Configuration spaces and paths of one router.  The NHI is its highest adapter; USB4 port n
    has adapters 2n - 1 (lane 0) and 2n (lane 1)."""

    def __init__(
        self,
        name: str,
        version: int,
        ports: int,
        lanes: int,
        rings: int,
        uid: int,
        loop: Loop,
        trace: Trace,
    ) -> None:
        self.name = name
        self.version = version
        self.lanes = lanes
        self.uid = uid
        self.rings = rings
        self.powered = False
        self.stats: Counter[str] = Counter()
        self.nhi: Nhi | None = None
        self.nhi_adapter = 2 * ports + 1
        self.ports = [UsbPort(self, n) for n in range(1, ports + 1)]
        self.events = HotplugEvents(self, loop)
        self.on_wake: Callable[[], None] = lambda: None
        self._trace = trace
        self._make_spaces()

    def attach(self, nhi: Nhi) -> None:
        """Join the router with its host interface."""
        self.nhi = nhi
        nhi.on_control = self.control
        nhi.on_control_ready = self.events.ring_ready
        nhi.on_reset = self.reset

    # Life

    def set_power(self, powered: bool) -> None:
        """The host is there, or gone; links follow."""
        self.powered = powered
        self._refresh_links()

    def reset(self) -> None:
        """Host router reset: links go down, everything is forgotten, links train anew."""
        powered, self.powered = self.powered, False
        self._refresh_links()
        self._make_spaces()
        self.events.reset()
        for port in self.ports:
            port.resetting = False
        self.powered = powered
        self._refresh_links()

    def _make_spaces(self) -> None:
        self.words = cs.make_router(self.version, self.nhi_adapter, self.uid)
        self.adapters: dict[int, cs.Adapter] = {}
        for port in self.ports:
            for lane in (0, 1):
                number = port.adapter + lane
                self.adapters[number] = cs.make_lane(number, lane, self.lanes, self.version)
        self.adapters[self.nhi_adapter] = cs.make_nhi(self.nhi_adapter, self.rings)
        self.paths_changed()

    def _refresh_links(self) -> None:
        for port in self.ports:
            if port.cable is not None:
                port.cable.refresh()

    @property
    def valid(self) -> bool:
        """A connection manager has taken the router over."""
        return bool(self.words[cs.CS_VALID] & cs.VALID)

    # Paths

    def paths_changed(self) -> None:
        """Drop every cached way from a TX ring to an RX ring through this router."""
        if self.nhi is not None:
            for ring in self.nhi.tx:
                ring.forget_path()
        for port in self.ports:
            if port.cable is not None:
                port.cable.incoming(port).forget_paths()

    def outlet(self, ring: int) -> Outlet | None:
        """Where frames of TX ring `ring` leave; see `DataPort`."""
        path = self.adapters[self.nhi_adapter].path(ring)
        if path is None:
            return None
        adapter, hop = path
        port = self.port_of(adapter)
        if port is None or port.out is None:
            return None
        return port.out.outlet(hop)

    def sink(self, port: UsbPort, hop: int) -> Sink | None:
        """Where frames that arrive at `port` with HopID `hop` end."""
        path = self.adapters[port.adapter].path(hop)
        if path is None or self.nhi is None:
            return None
        adapter, ring = path
        if adapter != self.nhi_adapter or not 0 < ring < self.rings:
            return None
        return self.nhi.rx[ring]

    def port_of(self, adapter: int) -> UsbPort | None:
        """The port whose lane 0 adapter this is."""
        for port in self.ports:
            if port.adapter == adapter:
                return port
        return None

    # Control packets

    def control(self, frame: bytes, kind: int) -> None:
        """A control packet of the driver."""
        try:
            words = unpack(frame)
        except PacketError as error:
            self.stats["control_bad"] += 1
            self._trace.control(f"{self.name} >", f"BAD {error} {frame[:32].hex()}")
            return
        self.stats["control_out"] += 1
        if self._trace.level >= Level.CONTROL:
            self._trace.control(f"{self.name} >", describe(kind, words))
        if kind in (Kind.XDOMAIN_REQUEST, Kind.XDOMAIN_RESPONSE):
            self._xdomain(kind, words)
        elif kind in (Kind.READ, Kind.WRITE) and len(words) >= 3:
            self._access(kind, words)
        elif kind == Kind.ERROR and len(words) >= 3:
            if words[2] & 0xFF == Error.ACK_PLUG_EVENT:
                self.events.acknowledged(words[2] >> 8 & 0x3F)
        elif kind != Kind.NOTIFY_ACK:
            self.stats["control_unknown"] += 1

    def send_control(self, kind: int, words: list[int]) -> bool:
        """A control packet to the driver; False when it cannot be taken now."""
        if self.nhi is None:
            return False
        sent = self.nhi.control_to_host(pack(words), kind)
        self.stats["control_in" if sent else "control_lost"] += 1
        if self._trace.level >= Level.CONTROL:
            lost = "" if sent else "LOST "
            self._trace.control(f"{self.name} <", lost + describe(kind, words))
        return sent

    def _error(self, words: list[int], code: Error, port: int = 0) -> None:
        self.send_control(Kind.ERROR, [words[0] | REPLY, words[1], code | port << 8])

    def _xdomain(self, kind: int, words: list[int]) -> None:
        port = self.port_of(route_of(words) & 0xFF)
        if port is not None and port.cable is not None:
            if port.cable.forward_xdomain(port, kind, words[2:]):
                return
        # An error ends whatever request of the driver is outstanding, so only requests get one.
        if kind == Kind.XDOMAIN_REQUEST or _is_network_request(words):
            self._error(words, Error.NOT_CONNECTED)

    def _access(self, kind: int, words: list[int]) -> None:
        route = route_of(words)
        if route:
            port = self.port_of(route & 0xFF)
            if port is None:
                self._error(words, Error.NO_SUCH_PORT)
            elif not port.up:
                self._error(words, Error.NOT_CONNECTED, port.adapter)
            else:
                # The next router belongs to another domain and keeps out strangers.
                self._error(words, Error.LOCKED, port.adapter)
            return
        address = Address.decode(words[2])
        values = words[3:]
        if kind == Kind.WRITE and len(values) != address.length:
            self._error(words, Error.INVALID_SPACE)
            return
        data = self._read(address) if kind == Kind.READ else self._write(address, values)
        if data is None:
            self._error(words, Error.INVALID_SPACE, address.port)
            return
        answer = Address(
            address.offset, address.length, self.nhi_adapter, address.space, address.seq
        )
        self.send_control(kind, [words[0] | REPLY, words[1], answer.encode(), *data])

    def _space(self, address: Address) -> list[int] | None:
        if address.space == Space.SWITCH:
            return self.words
        adapter = self.adapters.get(address.port)
        if adapter is None or address.space == Space.COUNTERS:
            return None
        if address.space == Space.PORT:
            return adapter.words
        return [word for entry in adapter.hops for word in entry]

    def _read(self, address: Address) -> list[int] | None:
        """The words, or None when they do not exist."""
        words = self._space(address)
        if words is None or not 0 < address.length <= 60:
            return None
        if address.offset + address.length > len(words):
            return None
        return words[address.offset : address.offset + address.length]

    def _write(self, address: Address, values: list[int]) -> list[int] | None:
        """Apply; [] (what the answer carries), or None when the words do not exist."""
        if self._read(address) is None:
            return None
        if address.space == Space.SWITCH:
            cs.write_router(self.words, address.offset, values, len(self.ports))
            if self.valid:
                self.events.check()
            return []
        adapter = self.adapters[address.port]
        if address.space == Space.HOPS:
            for n, value in enumerate(values, address.offset):
                adapter.hops[n // 2][n % 2] = value
            self.paths_changed()
            return []
        cs.write_adapter(adapter, address.offset, values)
        if adapter.type == cs.TYPE_LANE:
            self._lane_written(adapter, range(address.offset, address.offset + address.length))
        return []

    def _lane_written(self, adapter: cs.Adapter, words: range) -> None:
        port = self.ports[(adapter.number - 1) // 2]
        if adapter.lane == 0 and cs.PORT_CONTROL in words:
            port.set_reset(bool(adapter.words[cs.PORT_CONTROL] & cs.PORT_RESET))
        if cs.LANE_STATUS in words:
            if port.cable is not None:
                port.cable.lanes_changed()
            else:
                port.show()
        if cs.ADAPTER_HOPS in words:
            self.events.check()


def _is_network_request(words: list[int]) -> bool:
    """thunderbolt_net sends its requests as responses."""
    return (
        len(words) > 15
        and uuid_text(words[3:7]) == NETWORK_UUID
        and words[15] in (NETWORK_LOGIN, NETWORK_LOGOUT)
    )
