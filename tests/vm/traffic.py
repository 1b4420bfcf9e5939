# SPDX-License-Identifier: GPL-2.0-or-later
"""guest/all_traffic.py on both hosts, as a scenario talks to it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import scenario
from lab.api import Host, Lab, Process
from scenario import DEVICE, gid_of, program, rdma_address

RELIABLE = ("SEND", "WRITE", "READ", "atomic")
KINDS = (*RELIABLE, "datagram", "net")
PATIENCE = 120.0
GOES_ON = "goes on"
# How each kind may end.
Ends = Mapping[str, tuple[str, ...]]
ALL_GO_ON: Ends = dict.fromkeys(KINDS, (GOES_ON,))


class Side:
    """The program on one host."""

    def __init__(self, host: Host, process: Process) -> None:
        self.host, self.process = host, process
        self.before = 0

    def said(self, what: str) -> list[dict[str, Any]]:
        """All that it has said of this kind."""
        text = self.process.out
        whole = text[: text.rfind("\n") + 1].splitlines()
        return [line for line in map(json.loads, whole) if line["say"] == what]

    def ended(self) -> set[str]:
        """The flows of this round that have failed, with nothing left to wait for."""
        return {line["flow"] for line in self.said("ended")[self.before :]}

    def wait(self, what: str, count: int, seconds: float = PATIENCE) -> dict[str, Any]:
        """Until it has said so `count` times; the last."""

        def reached() -> bool:
            if len(self.said(what)) >= count:
                return True
            if not self.process.running:
                raise scenario.ScenarioError(f"{self.process.out}{self.process.err}")
            return False

        where = f"{self.host.name} says {what!r}"
        try:
            scenario.until(where, seconds, reached)
        except scenario.ScenarioError as error:
            tail = self.process.out[-1500:] + self.process.err[-1500:]
            raise scenario.ScenarioError(f"{error}\n{tail}") from None
        return self.said(what)[count - 1]

    def tell(self, line: str) -> None:
        """Give it a command."""
        self.process.write(line + "\n")

    def ask(self, line: str, answer: str, seconds: float = PATIENCE) -> dict[str, Any]:
        """Give it a command, wait until it says this."""
        count = len(self.said(answer)) + 1
        self.tell(line)
        return self.wait(answer, count, seconds)


class Traffic:
    """Both sides. A side whose host has died is None."""

    def __init__(self, lab: Lab, stack: ExitStack) -> None:
        self.lab, self.stack = lab, stack
        self.sides: dict[str, Side] = {}
        self.cable_address = rdma_address(lab["a"])
        for name in ("a", "b"):
            self.start(name)

    def start(self, name: str) -> None:
        """Start the program on this host (again)."""
        host = self.lab[name]
        path = program(host, "all_traffic.py")
        words = f"python3 {path} --device {DEVICE} --cable-address {self.cable_address}"
        if name == "b":
            words += f" {self.lab['a'].net_address}"
        process = self.stack.enter_context(host.start(words, timeout=None))
        self.sides[name] = Side(host, process)
        self.sides[name].wait("listening", 1)

    def begin(self, timeout: int, net_seconds: float) -> None:
        """New flows of all kinds; returns when all of them flow."""
        counts = {name: len(side.said("flowing")) + 1 for name, side in self.sides.items()}
        for side in self.sides.values():
            side.before = len(side.said("ended"))
            side.tell(f"round {gid_of(side.host)} {timeout} {net_seconds}")
        for name, side in self.sides.items():
            side.wait("flowing", counts[name])

    def ask(self, line: str, answer: str, seconds: float = PATIENCE) -> dict[str, dict[str, Any]]:
        """Ask all sides at once; their answers."""
        counts = {name: len(side.said(answer)) + 1 for name, side in self.sides.items()}
        for side in self.sides.values():
            side.tell(line)
        return {name: side.wait(answer, counts[name], seconds) for name, side in self.sides.items()}

    def go_on(self, kinds: Iterable[str], seconds: float = PATIENCE) -> None:
        """Until each of these flows has done some more; at once an error if one has ended."""
        wanted = set(kinds)
        counts = {name: len(side.said("again")) + 1 for name, side in self.sides.items()}
        for side in self.sides.values():
            side.tell(f"again {' '.join(wanted)}")

        def all_have() -> bool:
            for name, side in self.sides.items():
                if wanted & side.ended() or not side.process.running:
                    raise scenario.ScenarioError(f"{name}: {side.process.out[-800:]}")
            return all(len(s.said("again")) >= counts[n] for n, s in self.sides.items())

        scenario.until(f"{sorted(wanted)} go on", seconds, all_have)


def judge(who: str, wanted: Ends, got: dict[str, Any]) -> list[str]:
    """What is wrong with a side's results."""
    wrong = []
    for kind, flow in got["flows"].items():
        if flow["end"] not in wanted[kind]:
            wrong.append(f"{who}, {kind}: {flow['end']!r} is none of {wanted[kind]}")
        # Receives that a program posts after its device has gone are heard of by nobody.
        left = 0 if "device fatal" in got["events"] else flow["left"]
        if left or flow["wrong"]:
            wrong.append(f"{who}, {kind}: {left} did not complete; {flow['wrong']}")
    return wrong


def heard(events: list[str]) -> list[str]:
    """Asynchronous events in the order in which they first came, with how often."""
    counts = Counter(events)
    return [name if times == 1 else f"{name} ({times})" for name, times in counts.items()]


def table(results: dict[str, dict[str, Any]]) -> list[str]:
    """The sides' results, a line each."""
    lines = []
    for name, result in results.items():
        cells = []
        for kind, flow in result["flows"].items():
            after = "" if flow["after"] is None else f" after {flow['after']:.1f} s"
            cells.append(f"{kind} {flow['operations']}: {flow['end']}{after}")
        events = ", ".join(heard(result["events"])) or "-"
        lines.append(f"  {name}: {'; '.join(cells)}. Events: {events}")
    return lines


def facts(results: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What is kept of the sides' results: how each flow ended, when, what the program heard."""
    return {
        name: {
            "flows": {
                kind: {key: flow[key] for key in ("operations", "end", "after")}
                for kind, flow in result["flows"].items()
            },
            "heard": heard(result["events"]),
        }
        for name, result in results.items()
    }


@contextmanager
def traffic(lab: Lab) -> Iterator[Traffic]:
    """The programs on both hosts, ended at the end."""
    with ExitStack() as stack:
        yield Traffic(lab, stack)
