# SPDX-License-Identifier: GPL-2.0-or-later
"""A host without a machine: a Python object that speaks control packets and frames itself.

For peers that no kernel would be: hostile ones, old ones, half-dead ones.  Subclass `Peer`, name
the class in the topology (`kind = "script"`, `peer = "module:Class"`).
"""

from __future__ import annotations

import importlib
from collections import Counter
from typing import Any

from .cable import Cable, LinkState
from .direction import Direction
from .loop import Loop
from .packets import Kind
from .rings import Sink
from .wire import Batch, Work


class ScriptSink:
    """Takes the frames of one HopID for a peer; always has room."""

    def __init__(self, port: ScriptPort, hop: int) -> None:
        self.name = f"hop{hop}"
        self.e2e = False
        self.waiters: dict[Work, None] = {}
        self._port, self._hop = port, hop

    def has_room(self) -> bool:
        return True

    def receive(
        self, data: memoryview | bytes, sof: int, eof: int, crc_error: bool, quiet: bool
    ) -> str:
        peer = self._port.peer
        peer.stats["frames_in"] += 1
        peer.on_frame(self._port.number, self._hop, bytes(data), sof, eof, crc_error)
        return "ok"

    def interrupt(self) -> None:
        """Nobody is interrupted: a peer is called."""


class ScriptPort:
    """A cable end (see `CableEnd`) that belongs to a peer."""

    def __init__(self, peer: Peer, number: int, lanes: int, version: int) -> None:
        self.peer = peer
        self.number = number
        self.lanes = lanes
        self.version = version
        self.name = f"{peer.name}:{number}"
        self.cable: Cable | None = None
        self.out: Direction | None = None
        self.want_bond = True
        self._sinks: dict[int, ScriptSink] = {}

    @property
    def ready(self) -> bool:
        return self.peer.powered

    @property
    def bonding_targets(self) -> tuple[bool, bool]:
        return self.want_bond and self.lanes == 2, False

    def sink(self, hop: int) -> Sink | None:
        if hop not in self.peer.open_hops and self.peer.open_hops:
            return None
        return self._sinks.setdefault(hop, ScriptSink(self, hop))

    def link_changed(self, state: LinkState, width: int, speed: int, lanes: int) -> None:
        self.peer.on_link(self.number, state is LinkState.UP)

    def receive_xdomain(self, kind: int, words: list[int]) -> None:
        self.peer.stats["control_in"] += 1
        self.peer.on_control(self.number, kind, words)


class Peer:
    """Override the `on_` methods; call the others.  Runs inside the emulator: do not block."""

    def __init__(
        self, name: str, loop: Loop, batch: Batch, ports: int = 2, lanes: int = 2, version: int = 1
    ) -> None:
        self.name = name
        self.loop = loop
        self.batch = batch
        self.powered = True
        self.open_hops: set[int] = set()  # empty: every HopID is taken
        self.stats: Counter[str] = Counter()
        self.ports = [ScriptPort(self, n, lanes, version) for n in range(1, ports + 1)]

    def on_link(self, port: int, up: bool) -> None:
        """The link of `port` has changed, or its width has."""

    def on_control(self, port: int, kind: int, words: list[int]) -> None:
        """An XDomain packet (type 6 or 7) came; `words` begins after the route."""

    def on_frame(
        self, port: int, hop: int, data: bytes, sof: int, eof: int, crc_error: bool
    ) -> None:
        """A data frame came."""

    def command(self, request: dict[str, Any]) -> dict[str, Any]:
        """What the control socket's command "peer" asks of this peer; ValueError if it cannot."""
        raise ValueError(f"this peer takes no commands: {request.get('do')!r}")

    def send_control(self, port: int, words: list[int], kind: int = Kind.XDOMAIN_REQUEST) -> bool:
        """Send an XDomain packet (`words` without the route); False when the link is not up."""
        end = self.ports[port - 1]
        self.stats["control_out"] += 1
        return end.cable is not None and end.cable.forward_xdomain(end, kind, words)

    def send_frame(self, port: int, hop: int, data: bytes, sof: int, eof: int) -> bool:
        """Send a data frame of 1 to 4096 bytes; False when there is no link."""
        if not 1 <= len(data) <= 4096:
            raise ValueError(f"a frame of {len(data)} bytes")
        out = self.ports[port - 1].out
        if out is None or not out.up:
            return False
        self.stats["frames_out"] += 1
        out.send(hop, "script", data, sof, eof)
        # Raises the receiver's interrupt, at once or at the end of the batch that we are part of.
        self.batch.run()
        return True


def load(name: str) -> type[Peer]:
    """The peer class "module:Class"; a plain `Peer`, which only listens, for an empty name."""
    if not name:
        return Peer
    module, _, attribute = name.partition(":")
    found = getattr(importlib.import_module(module), attribute)
    if not (isinstance(found, type) and issubclass(found, Peer)):
        raise TypeError(f"{name} is no Peer")
    return found
