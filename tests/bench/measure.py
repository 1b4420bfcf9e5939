# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs cases between two hosts of a lab and counts what they cost."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from lab import qemu
from lab.api import Host, Lab, Process
from lab.progress import say

from . import counts
from .cases import EMPTY, Case, Device, Place, resends
from .counts import Counts
from .table import Sample

LOAD = "/run/verbsload"
IDLE_SECONDS = 2.0
EMPTIES = 3
PATIENCE = 180.0
TRIES = 4
RESET = "data path closed"


@dataclass(frozen=True)
class Cable:
    """The cable's and the host routers' counters, both hosts together."""

    frames: int
    bytes: int
    interrupts: int
    lost: int

    def __sub__(self, other: Cable) -> Cable:
        return Cable(
            self.frames - other.frames,
            self.bytes - other.bytes,
            self.interrupts - other.interrupts,
            self.lost - other.lost,
        )


def cable(lab: Lab) -> Cable:
    """Now."""
    stat = lab.stat()
    routers = stat["routers"].values()
    lost = sum(
        direction["lost"] for one in stat["cables"].values() for direction in one["from"].values()
    )
    return Cable(
        frames=sum(router["data"]["tx_frames"] for router in routers),
        bytes=sum(router["data"]["tx_bytes"] for router in routers),
        interrupts=sum(router["interrupts"] for router in routers),
        lost=lost,
    )


@dataclass(frozen=True)
class Raw:
    """One run of a case with all that surrounds it."""

    active: Counts
    passive: Counts
    cable: Cable
    seconds: float
    resends: int
    good: bool
    counters: tuple[dict[str, int], dict[str, int]]


class Side:
    """A running verbsload: its lines of JSON, one after the other."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self._read = 0

    def next(self) -> dict[str, Any]:
        """The next line."""
        wanted = self._read + 1
        waited = 0
        while self.process.out.count("\n") < wanted:
            # Its output comes in a thread; wait_for() would find an old line of the same text.
            if not self.process.running or waited > PATIENCE * 50:
                raise RuntimeError(f"verbsload: {self.process.out}{self.process.err}")
            threading.Event().wait(0.02)
            waited += 1
        self._read = wanted
        line: dict[str, Any] = json.loads(self.process.out.splitlines()[wanted - 1])
        return line


class Bench:
    """Both sides of a device, connected; the empty case and idle hosts measured."""

    def __init__(self, lab: Lab, device: Device, place: Place, sides: tuple[Side, Side]) -> None:
        self.lab, self.device, self.place = lab, device, place
        self.active, self.passive = sides
        self.marks: list[tuple[int, int]] = []
        self.discarded = 0
        self.idle = self._idle()
        empties = [self.raw(EMPTY) for _ in range(EMPTIES)]
        self.empty_active = median(one.active.instructions for one in empties)
        self.empty_passive = median(one.passive.instructions for one in empties)
        self.empty_cable = Cable(
            *(
                round(median(getattr(one.cable, name) for one in empties))
                for name in ("frames", "bytes", "interrupts", "lost")
            )
        )

    def counts(self) -> tuple[Counts, Counts]:
        """What the plugins of both hosts say."""
        return tuple(  # type: ignore[return-value]
            counts.read(qemu.plugin_socket(self.lab.run_dir, name)) for name in ("a", "b")
        )

    def _idle(self) -> tuple[float, float]:
        """Instructions a second of hosts that do nothing."""
        first = self.counts()
        threading.Event().wait(IDLE_SECONDS)
        second = self.counts()
        self.marks = [(one.begins, one.ends) for one in second]
        a, b = (after.now - before.now for before, after in zip(first, second, strict=True))
        return a / IDLE_SECONDS, b / IDLE_SECONDS

    def raw(self, case: Case) -> Raw:
        """Run a case once."""
        self.active.process.write(case.line)
        assert self.active.next() == {"warm": True}
        before = cable(self.lab)
        self.active.process.write("go\n")
        answer = self.active.next()
        other = self.passive.next()
        after = cable(self.lab)
        active, passive = self.counts()
        marks = [(one.begins, one.ends) for one in (active, passive)]
        if marks != [(begins + 1, ends + 1) for begins, ends in self.marks]:
            raise RuntimeError("a mark was missed")
        self.marks = marks
        return Raw(
            active=active,
            passive=passive,
            cable=after - before,
            seconds=answer["seconds"],
            resends=resends(answer["counters"], other["counters"]),
            good=answer["good"],
            counters=(answer["counters"], other["counters"]),
        )

    def resets(self) -> int:
        """How often a data path was closed and opened again so far."""
        return sum(host.console().count(RESET) for host in self.lab.hosts.values())

    def undisturbed(self, case: Case) -> Raw:
        """Run a case; again if the cable's process got no time for so long that a host took
        its ring for dead. That says something about this machine, not about the case."""
        for _ in range(TRIES):
            before = self.resets()
            raw = self.raw(case)
            if self.resets() == before:
                return raw
            say(f"{case.kind} {case.size}: the cable stood still, once more")
            self.discarded += 1
        return raw

    def sample(self, case: Case) -> tuple[Sample, Raw]:
        """Run a case once, and take off what is not its own."""
        raw = self.undisturbed(case)
        if raw.resends:
            say(f"{case.kind} {case.size}: sent again: {raw.counters}")
        extra = raw.cable - self.empty_cable
        idle_active, idle_passive = (rate * raw.seconds for rate in self.idle)
        sample = Sample(
            device=self.device.name,
            place=self.place.name,
            kind=case.kind,
            size=case.size,
            count=case.count,
            sender=round(raw.active.instructions - self.empty_active - idle_active),
            receiver=round(raw.passive.instructions - self.empty_passive - idle_passive),
            sender_copied=raw.active.kernel_copied,
            receiver_copied=raw.passive.kernel_copied,
            frames=extra.frames,
            wire_bytes=extra.bytes,
            interrupts=extra.interrupts,
            resends=raw.resends,
            lost=raw.cable.lost,
            seconds=raw.seconds,
            good=raw.good,
        )
        return sample, raw


def set_up(lab: Lab, device: Device, load: Path) -> None:
    """Make the device in both hosts and put the load there."""
    running = []
    for host in lab.hosts.values():
        host.put(load, LOAD)
        script = device.setup.replace("ADDRESS", device.address(host.index))
        if script:
            running.append(host.start(script, timeout=120))
    for process in running:
        process.wait(130).check()


def _start(host: Host, words: list[str]) -> Side:
    return Side(host.start([LOAD, *words], timeout=None))


@contextmanager
def bench(lab: Lab, device: Device, place: Place) -> Iterator[Bench]:
    """Both sides started and connected; ended afterwards."""
    words = [device.name, str(place.region), str(place.offset)]
    passive = _start(lab["b"], words)
    active = None
    try:
        passive.next()
        active = _start(lab["a"], [*words, device.address(2)])
        active.next()
        yield Bench(lab, device, place, (active, passive))
    finally:
        for side in (active, passive):
            if side is not None:
                side.process.kill()
