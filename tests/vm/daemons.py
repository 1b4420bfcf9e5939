# SPDX-License-Identifier: GPL-2.0-or-later
"""The words for hosts with the daemon: what it says over its bus, what people ask of it.

busctl costs an emulated host a tenth of what usb4rdmactl does, so scenarios look and wait with
busctl, and use usb4rdmactl where a person would.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import scenario
from lab.api import Host, Lab, Result

SERVICE, ROOT = "org.usb4rdma1", "/org/usb4rdma1"
DROP_INS = "/etc/usb4rdma/usb4rdmad.toml.d"
TOPOLOGY = Path(__file__).with_name("interposed.toml")
# The hosts of all scenarios with the daemon, so that they can share one boot.
OPTIONS: dict[str, Any] = {
    "install": "all",
    "init": "systemd",
    "net": True,
    "topology": str(TOPOLOGY),
    "extra": ("glib",),
}
# Some work, and how long it takes.
_WORK = (
    "import time; start = time.{clock}(); x = 0\n"
    "for n in range(200000): x += n * n % 7\n"
    "print(time.{clock}() - start)"
)
T = TypeVar("T")


def both(lab: Lab, what: Callable[[Host], T]) -> list[T]:
    """Do it on all hosts at the same time; what came of it, in their order."""
    with ThreadPoolExecutor(len(lab.hosts)) as pool:
        return list(pool.map(what, lab.hosts.values()))


def slowness(lab: Lab) -> float:
    """How many times longer the hosts take for the same work than this machine with nothing else
    to do: what a time that was seen in them has to be divided by."""
    bare = []
    for _ in range(5):
        words = [sys.executable, "-c", _WORK.format(clock="process_time")]
        bare.append(float(subprocess.run(words, capture_output=True, check=True).stdout))
    words = ["python3", "-c", _WORK.format(clock="perf_counter")]
    seen = both(lab, lambda host: float(host.run(words, check=True).out))
    return max(1.0, max(seen) / min(bare))


def call(host: Host, path: str, interface: str, member: str, *words: str) -> Result:
    """A method of the daemon's; `interface` without its prefix."""
    command = ["busctl", "--system", "--json=short", "call", SERVICE, path]
    return host.run([*command, f"{SERVICE}.{interface}", member, *words])


def describe(host: Host) -> dict[str, Any]:
    """All that the daemon knows, see docs/daemon.md; without links, peers and "manager"
    while it is not there."""
    answer = call(host, ROOT, "Manager", "Describe")
    if answer.rc != 0:
        return {"links": [], "peers": [], "pairings": []}
    return dict(json.loads(json.loads(answer.out)["data"][0]))


def link(host: Host) -> dict[str, Any]:
    """The one link."""
    (found,) = describe(host)["links"]
    return dict(found)


def until_links(lab: Lab, state: str, reason: str | None = None, seconds: float = 60.0) -> None:
    """Until each host's one link is in this state, for this reason if one is given."""
    both(lab, lambda host: until_link(host, state, reason, seconds))


def until_link(host: Host, state: str, reason: str | None = None, seconds: float = 60.0) -> None:
    """Until the host's one link is in this state, for this reason; "gone" for none."""
    seen: list[str] = []

    def reached() -> bool:
        known = describe(host)
        links = known["links"]
        seen[:] = [f"{one['State']}/{one['StateReason']}" for one in links]
        if state == "gone":
            return "manager" in known and not links
        wanted = f"{state}/" + ("" if reason is None else reason)
        return len(links) == 1 and seen[0].startswith(wanted)

    try:
        scenario.until(f"link of {host.name} {state}/{reason}", seconds, reached)
    except scenario.ScenarioError as error:
        raise scenario.ScenarioError(f"{error}; it is {seen}") from None


def closed(host: Host, known: bool = False) -> None:
    """The kernel has let nobody in: the gate shut, and no RDMA device, or for a peer that is
    `known` one whose port is down."""
    shown = host.run(
        "cat /sys/class/usb4rdma/link*/authorized; "
        "for d in /sys/class/infiniband/*/ports/1/state; do [ ! -e $d ] || cat $d; done"
    ).out.split("\n")
    allowed = {"", "1: DOWN"} if known else {""}
    assert shown[0] == "0" and set(shown[1:]) <= allowed, f"{host.name} let somebody in: {shown}"


def configure(host: Host, text: str, name: str = "zz-test") -> None:
    """Give the daemon a piece of configuration; an empty one takes it away."""
    path = f"{DROP_INS}/{name}.toml"
    if text:
        host.run(f"mkdir -p {DROP_INS}; cat > {path}", stdin=text.encode(), check=True)
    else:
        host.run(f"rm -f {path}", check=True)
    host.run("systemctl reload usb4rdmad", timeout=60, check=True)


def forget_all(host: Host) -> None:
    """Forget every peer."""
    for peer in describe(host)["peers"]:
        call(host, peer["Path"], "Peer", "Forget").check()


def unplug_all(lab: Lab) -> None:
    """Pull out all cables; until both hosts have seen that."""
    for name, cable in lab.stat()["cables"].items():
        if cable["plugged"]:
            lab.unplug(name)
    until_links(lab, "gone")


def replug(lab: Lab, *cables: str) -> None:
    """Pull out all cables, and push these in once both hosts have seen that."""
    unplug_all(lab)
    for name in cables:
        lab.plug(name)


def strangers(lab: Lab) -> None:
    """Both hosts have forgotten each other and met anew: they wait for somebody to say yes."""

    def forget(host: Host) -> None:
        forget_all(host)
        call(host, link(host)["Path"], "Link", "Reset").check()

    both(lab, forget)
    until_links(lab, "waiting-approval", "unknown-peer")


def begin_pairing(lab: Lab) -> dict[str, tuple[str, str]]:
    """The person at a begins to pair; (path of the pairing, code) by host, once both have one."""
    a = lab["a"]
    call(a, ROOT, "Manager", "Pair", "oa{sv}", link(a)["Path"], "0").check()
    found: dict[str, tuple[str, str]] = {}

    def shown(host: Host) -> bool:
        for pairing in describe(host)["pairings"]:
            if re.fullmatch(r"\d{3} \d{3}", pairing["Code"]):
                found[host.name] = (pairing["Path"], pairing["Code"])
        return host.name in found

    both(lab, lambda host: scenario.until(f"code on {host.name}", 30, lambda: shown(host)))
    return found


def pair(lab: Lab) -> None:
    """Two people compare and confirm; until the link is active."""
    pairings = begin_pairing(lab)
    assert pairings["a"][1] == pairings["b"][1]
    both(lab, lambda host: call(host, pairings[host.name][0], "Pairing", "Confirm").check())
    until_links(lab, "active")
