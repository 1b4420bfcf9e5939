# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables of programs that run as server on host a and client on host b, many of them in one go.

Starting each through the lab costs a second or two of emulated time; here guest/in_step.py starts
them. A row of a table is a Pair; judge() compares what it did with what it should do, and record()
puts it into the table of compatibility.

With USB4RDMA_COMPARE=1 in the environment each table is run on Soft-RoCE over the hosts'
Ethernet as well, and what worked there is kept for `make docs-data`. USB4RDMA_KERNEL=6.12 takes
another kernel than the usual one (`make test-programs KERNEL=6.12`).
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from typing import Any

import scenario
from compat import Compatibility, remember_soft_roce
from lab.api import Host, Lab
from lab.host import TIMED_OUT
from lab.progress import say
from scenario import DEVICE, NETDEV, ScenarioError

STEP_PORT = 18999
COMPARE = "USB4RDMA_COMPARE"
KERNEL = "USB4RDMA_KERNEL"
TRIES = 3
# The reason why a program cannot have memory that is paged on demand; "" where it can.
NO_ODP = "no on-demand paging before kernel 6.16" if os.environ.get(KERNEL) == "6.12" else ""
IPV6 = "fd75:7362:3472::{index}"


def lab_options() -> dict[str, Any]:
    """The lab that tables of programs want."""
    return {"install": "driver", "net": True, "extra": ("clients",)}


@dataclass(frozen=True)
class Pair:
    """A row. Commands may contain {device}, {gid} (index of the own IPv4 GID), {gid_ll} (of the
    fe80:: GID), {gid6} (of the IPv6 address), {address} and {address6} (of host a on the device's
    interface), {own} (the own IPv4 address there), {interface}.

    `says` is a pattern that one of them has printed if they worked, `never` one that then neither
    has. `fails` is the reason why it cannot work on our device, `error` the pattern in the output
    of either that shows this reason. `again` is a pattern of an error that is the program's own
    and comes by chance: a row that fails by it is run again. With an `excuse` it may fail so
    every time, and that is the reason then.
    """

    how: str
    server: str
    client: str
    ready: dict[str, Any] = field(default_factory=dict)
    timeout: float = 60.0
    grace: float = 15.0
    kill: bool = False
    says: str = ""
    never: str = ""
    fails: str = ""
    error: str = ""
    again: str = ""
    excuse: str = ""
    note: str = ""


@dataclass(frozen=True)
class Ran:
    """What a pair did. `server` and `client` are as in guest/in_step.py."""

    pair: Pair
    ready: bool
    server: dict[str, Any] | None
    client: dict[str, Any] | None

    @property
    def output(self) -> str:
        """What both said."""
        sides = (("server", self.server), ("client", self.client))
        return "\n".join(
            f"--- {name}, code {side['rc']}, {side['seconds']} s\n{side['out'].strip()}"
            for name, side in sides
            if side is not None
        )

    @property
    def worked(self) -> bool:
        """Whether both ended well and the client said what it should."""
        sides = [side for side in (self.server, self.client) if side is not None]
        said = "".join(side["out"] for side in sides)
        return (
            self.ready
            and all(side["rc"] == 0 for side in sides)
            and re.search(self.pair.says, said) is not None
            and not (self.pair.never and re.search(self.pair.never, said))
        )

    @property
    def seconds(self) -> float:
        """How long the whole pair took."""
        sides = [side for side in (self.server, self.client) if side is not None]
        return max(float(side["seconds"]) for side in sides)


def judge(ran: Ran) -> str:
    """What is wrong with how it ended; "" if nothing is."""
    pair = ran.pair
    if not pair.fails:
        excused = pair.excuse and unlucky(ran)
        return "" if ran.worked or excused else f"{pair.how}\n{ran.output}"
    if ran.worked:
        return f"{pair.how} works, but was to fail ({pair.fails})"
    if not re.search(pair.error, ran.output):
        return f"{pair.how} did not fail by {pair.error!r}:\n{ran.output}"
    return ""


def names(lab: Lab, host: Host, device: str, netdev: str) -> dict[str, str]:
    """What a row's placeholders stand for on this host, once it has its GIDs."""
    address = {
        one.name: one.address if netdev == NETDEV else one.net_address for one in lab.hosts.values()
    }
    own = address[host.name]
    wanted = {
        "gid": "ffff:{:02x}{:02x}:{:02x}{:02x}".format(*map(int, own.split("."))),
        "gid_ll": "fe80:",
        "gid6": IPV6.split("::")[0],
    }
    found: dict[str, str] = {}

    def complete() -> bool:
        for index, gid in sorted(scenario.gids(host, device).items(), reverse=True):
            found.update({name: str(index) for name, part in wanted.items() if part in gid})
        return found.keys() == wanted.keys()

    scenario.until(f"the GIDs of {device} in {host.name}", 30, complete)
    return {
        **found,
        "device": device,
        "interface": netdev,
        "address": address["a"],
        "address6": IPV6.format(index=1),
        "own": own,
    }


def run(lab: Lab, pairs: list[Pair], device: str = DEVICE, netdev: str = NETDEV) -> list[Ran]:
    """All of them, in order, one after the other."""
    a, b = lab["a"], lab["b"]
    for host in (a, b):
        address = f"{IPV6.format(index=host.index)}/64"
        host.run(
            f"ip -6 address flush to {address}; ip address add {address} dev {netdev} nodad",
            check=True,
        )
    on_a, on_b = names(lab, a, device, netdev), names(lab, b, device, netdev)
    cases = [
        {
            "server": pair.server.format_map(on_a),
            "client": pair.client.format_map(on_b),
            "ready": pair.ready,
            "timeout": pair.timeout,
            "grace": pair.grace,
            "kill": pair.kill,
        }
        for pair in pairs
    ]
    path_a, path_b = (scenario.program(host, "in_step.py") for host in (a, b))
    limit = sum(pair.timeout + pair.grace + 10 for pair in pairs)
    with a.start(f"{path_a} server {STEP_PORT}", timeout=limit + 60) as server:
        server.wait_for("in step")
        words = f"{path_b} client {STEP_PORT} {a.net_address} -"
        ended = b.run(words, timeout=limit, stdin=json.dumps(cases).encode())
        if ended.rc != 0:
            raise ScenarioError(f"the guests' runner ended with {ended.rc}:\n{ended.err}")
    answers = [json.loads(line) for line in ended.out.splitlines()]
    return [Ran(pair, **answer) for pair, answer in zip(pairs, answers, strict=True)]


def unlucky(ran: Ran) -> bool:
    """Whether it failed by what comes by chance and is no fault of ours."""
    pair = ran.pair
    return bool(pair.again and not ran.worked and re.search(pair.again, ran.output))


def run_again(lab: Lab, results: list[Ran], *names: str) -> list[Ran]:
    """The results with those that were unlucky run again."""
    for _ in range(TRIES - 1):
        bad = [index for index, ran in enumerate(results) if unlucky(ran)]
        if not bad:
            break
        say(f"again: {', '.join(results[index].pair.how for index in bad)}")
        for index, ran in zip(bad, run(lab, [results[i].pair for i in bad], *names), strict=True):
            results[index] = ran
    return results


def check(lab: Lab, compat: Compatibility, area: str, pairs: list[Pair]) -> list[Ran]:
    """Run a table and record it; ScenarioError with all rows that did not do as they should."""
    results = run_again(lab, run(lab, pairs))
    for ran in results:
        if ran.worked:
            compat.works(area, ran.pair.how, ran.pair.note)
        else:
            compat.fails(area, ran.pair.how, ran.pair.fails or ran.pair.excuse)
    troubles = [trouble for trouble in map(judge, results) if trouble]
    slow = sorted(results, key=lambda ran: -ran.seconds)[:3]
    say(
        f"{area}: {len(results)} pairs in {sum(ran.seconds for ran in results):.0f} s; "
        + ", ".join(f"{ran.pair.how} {ran.seconds:.1f} s" for ran in slow)
    )
    if os.environ.get(COMPARE):
        compare(lab, area, pairs)
    if troubles:
        raise ScenarioError(f"{len(troubles)} of {len(results)} pairs:\n" + "\n\n".join(troubles))
    return results


def compare(lab: Lab, area: str, pairs: list[Pair]) -> None:
    """The same on Soft-RoCE over the Ethernet of the same hosts. Nothing is judged."""
    for host in lab.hosts.values():
        host.run("modprobe rdma_rxe && rdma link add rxe0 type rxe netdev eth0", check=True)
    try:
        names = ("rxe0", "eth0")
        results = run_again(lab, run(lab, pairs, *names), *names)
    finally:
        for host in lab.hosts.values():
            host.run("rdma link delete rxe0")
    for ran in results:
        if not ran.worked:
            say(f"Soft-RoCE: {ran.pair.how}\n{ran.output}")
    remember_soft_roce(area, {ran.pair.how: verdict(ran) for ran in results})


def verdict(ran: Ran) -> str:
    """How it ended, in a word or two."""
    if ran.worked:
        return "works"
    late = ran.client is not None and ran.client["rc"] == TIMED_OUT
    return f"no end in {ran.pair.timeout:.0f} s" if late else "fails"
