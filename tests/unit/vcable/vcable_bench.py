# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of the cable play with: a world, fake hosts, a linked pair of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import vcable.cable
from vcable.commands import Commands
from vcable.fakehost import DirectBus, FakeHost
from vcable.loop import Loop
from vcable.topology import parse
from vcable.trace import Level, Trace
from vcable.world import World

# Hundreds of tests wait for a link.
vcable.cable.TRAINING_TIME = 0.01

TWO_HOSTS = """
[[host]]
name = "a"
[[host]]
name = "b"
[[cable]]
ends = ["a:1", "b:1"]
"""


class Bench:
    """A world, fake hosts for its routers, and its commands."""

    def __init__(self, topology: str, folder: Path) -> None:
        self.loop = Loop()
        self.trace_file = folder / "cable.trace"
        self.trace = Trace(self.trace_file, Level.FRAMES)
        self.world = World(parse(topology), self.loop, self.trace)
        self.quits = 0
        self.commands = Commands(self.world, self._quit)
        self.hosts: list[FakeHost] = []

    def _quit(self) -> None:
        self.quits += 1

    def host(self, name: str, router: int = 1, start: bool = True) -> FakeHost:
        """A fake host behind that router; started, it has taken the router over."""
        device = self.world.routers[name, router]
        host = FakeHost(DirectBus(device), self.loop, device.nhi.count)
        self.hosts.append(host)
        if start:
            host.start()
        return host

    def wait(self, condition: Callable[[], bool], what: str = "the condition") -> None:
        """Run the loop, every host taking its control packets, until the condition holds."""

        def check() -> bool:
            # What a condition does, such as posting descriptors, wakes nobody.
            self.loop.call_later(0.01, lambda: None)
            for host in self.hosts:
                if host.control_rx.head or host.control_rx.tail:
                    host.pump()
            return condition()

        assert self.loop.run_until(check, 5), f"waited in vain for {what}"

    def linked(self, cable: str = "a:1-b:1") -> None:
        self.wait(lambda: self.world.cable(cable).state == "up", f"{cable} up")

    def command(self, **fields: object) -> dict[str, object]:
        answer = self.commands.execute(fields)
        assert answer["ok"], answer
        return answer

    def refused(self, **fields: object) -> str:
        answer = self.commands.execute(fields)
        assert not answer["ok"]
        return str(answer["error"])

    def traced(self, word: str) -> list[str]:
        """Lines of the trace that contain `word`."""
        self.trace.flush()
        return [line for line in self.trace_file.read_text().splitlines() if word in line]

    def close(self) -> None:
        for host in self.hosts:
            host.close()
        self.trace.close()
        self.loop.close()


class Pair:
    """Two started hosts, link up, ring 1 of each joined by HopID 8, not end-to-end controlled."""

    def __init__(self, bench: Bench, e2e: bool = False, size: int = 64) -> None:
        self.bench = bench
        self.a, self.b = bench.host("a"), bench.host("b")
        bench.linked()
        bench.wait(lambda: bool(self.a.events and self.b.events), "plug events")
        self.atx, self.arx = self.a.data_rings(1, size, e2e)
        self.btx, self.brx = self.b.data_rings(1, size, e2e)
        self.a.enable_path(1, 8, 1, 1)
        self.b.enable_path(1, 8, 1, 1)
        self.a.bus.irqs()
        self.b.bus.irqs()

    @property
    def vector(self) -> int:
        """The vector of b's RX ring 1."""
        return self.b.vector_of[self.brx.index]
