# SPDX-License-Identifier: GPL-2.0-or-later
"""The virtual cable under a stock kernel alone: discovery, bonding, thunderbolt_net, replug.

If these fail, nothing that stands on the cable means anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import scenario
from lab.api import Host, Lab

pytestmark = pytest.mark.timeout(300)

# Host a: a plain router and a single-lane one; b: a plain one and a USB4 v2 one with few rings;
# c: v2 and plain. So one lab has two cables between two hosts, and a triangle.
TOPOLOGY = """
[[host]]
name = "a"
[[host.router]]
[[host.router]]
lanes = 1
[[host]]
name = "b"
[[host.router]]
[[host.router]]
version = 2
rings = 3
[[host]]
name = "c"
[[host.router]]
version = 2
[[host.router]]
[[cable]]
ends = ["a:1", "b:1"]
[[cable]]
ends = ["a:2", "b:2"]
[[cable]]
ends = ["b.2:1", "c:1"]
[[cable]]
ends = ["a.2:1", "c.2:1"]
"""
CABLES = {
    "a:1-b:1": (2, 20),
    "a:2-b:2": (2, 20),
    "b.2:1-c:1": (2, 40),
    "a.2:1-c.2:1": (1, 20),
}
DISCOVERY = 90.0


@pytest.fixture(scope="module")
def lab_options(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    file: Path = tmp_path_factory.mktemp("topology") / "topology.toml"
    file.write_text(TOPOLOGY, encoding="utf-8")
    return {"install": "none", "topology": str(file), "mem": 512}


def netdev(host: Host, end: str) -> str:
    """The thunderbolt_net interface of the port `end` ("a.2:1"); "" while there is none."""
    match = re.fullmatch(r"[a-z](?:\.(\d))?:(\d)", end)
    assert match is not None
    domain, route = int(match[1] or 1) - 1, 2 * int(match[2]) - 1
    found = host.run(f"ls /sys/bus/thunderbolt/devices/{domain}-{route}.*/net 2>/dev/null").out
    return found.strip()


def carrier(host: Host, name: str) -> bool:
    return host.run(f"cat /sys/class/net/{name}/carrier 2>/dev/null").out.strip() == "1"


def ends_of(lab: Lab, cable: str) -> list[tuple[Host, str]]:
    return [(lab[end[0]], end) for end in cable.split("-")]


def discover(ends: list[tuple[Host, str]], seconds: float) -> None:
    """Until both ends have their interface."""
    for host, end in ends:
        scenario.until(f"interface of {end}", seconds, lambda h=host, e=end: bool(netdev(h, e)))  # type: ignore[misc]


def connect(lab: Lab, cable: str, net: int) -> None:
    """Both ends get an interface, an address 10.9.<net>.1 or .2, and carrier."""
    ends = ends_of(lab, cable)
    for host, _end in ends:
        host.run("modprobe thunderbolt_net", check=True)
    try:
        discover(ends, DISCOVERY / 2)
    except scenario.ScenarioError:
        # Starved of time, a stock kernel may never end its discovery: push the cable in again.
        lab.unplug(cable)
        lab.plug(cable)
        discover(ends, DISCOVERY)
    for number, (host, end) in enumerate(ends, 1):
        name = netdev(host, end)
        host.run(f"ip addr flush dev {name}; ip addr add 10.9.{net}.{number}/24 dev {name}")
        host.run(f"ip link set {name} up", check=True)
    for host, end in ends:
        name = netdev(host, end)
        scenario.until(f"carrier of {end}", 30, lambda h=host, n=name: carrier(h, n))  # type: ignore[misc]


def ping(lab: Lab, cable: str, net: int, more: str = "") -> int:
    """How many of 5 pings over the cable come back."""
    host = ends_of(lab, cable)[0][0]
    out = host.run(f"ping -c 5 -i 0.2 -W 2 {more} 10.9.{net}.2", timeout=60).out
    match = re.search(r"(\d+) (?:packets )?received", out)
    assert match is not None, out
    return int(match[1])


def assert_answered(lab: Lab, cable: str, net: int, more: str = "") -> None:
    """All of 5 pings come back; on a starved machine one may be late, so not at the first try."""
    scenario.until(f"pings over {cable}", 60, lambda: ping(lab, cable, net, more) == 5)


@pytest.fixture
def cables(lab: Lab) -> Iterator[dict[str, int]]:
    """All cables connected: their names and the number of their net."""
    numbers = {cable: number for number, cable in enumerate(CABLES, 1)}
    for cable, number in numbers.items():
        connect(lab, cable, number)
    yield numbers


def test_every_kind_of_link_comes_up_and_carries_packets(lab: Lab, cables: dict[str, int]) -> None:
    stat = lab.stat()["cables"]
    for cable, (width, speed) in CABLES.items():
        assert (stat[cable]["width"], stat[cable]["speed"]) == (width, speed), cable
        assert_answered(lab, cable, cables[cable])


def test_unplug_takes_the_interface_and_plug_brings_it_back(
    lab: Lab, cables: dict[str, int]
) -> None:
    cable = "a:1-b:1"
    lab.unplug(cable)
    for host, end in ends_of(lab, cable):
        scenario.until(f"{end} gone", 20, lambda h=host, e=end: not netdev(h, e))  # type: ignore[misc]
    assert_answered(lab, "a:2-b:2", cables["a:2-b:2"])
    lab.plug(cable)
    connect(lab, cable, cables[cable])
    assert_answered(lab, cable, cables[cable])


def rx_crc_errors(host: Host, end: str) -> int:
    out = host.run(f"cat /sys/class/net/{netdev(host, end)}/statistics/rx_crc_errors").out
    return int(out)


@pytest.mark.parametrize("what", ["crc", "flip"])
def test_a_damaged_frame_is_flagged_and_counted_by_the_kernel(
    lab: Lab, cables: dict[str, int], what: str
) -> None:
    cable = "a:1-b:1"
    b, end = ends_of(lab, cable)[1]
    before = rx_crc_errors(b, end)
    lab.inject(cable, what, nth=1, **{"from": "a:1"})
    ping(lab, cable, cables[cable])
    assert rx_crc_errors(b, end) == before + 1


def test_a_dropped_frame_is_a_lost_ping(lab: Lab, cables: dict[str, int]) -> None:
    cable = "a:1-b:1"
    lab.inject(cable, "drop", rate=1.0, **{"from": "b:1"})
    assert ping(lab, cable, cables[cable]) == 0
    lab.inject_off()
    assert_answered(lab, cable, cables[cable])


def test_a_lost_interrupt_delays_a_frame_until_the_next_one(
    lab: Lab, cables: dict[str, int]
) -> None:
    cable = "a:1-b:1"
    host = ends_of(lab, cable)[0][0]
    net = cables[cable]
    ping(lab, cable, net)
    lab.inject(cable, "nointr", nth=1, **{"from": "a:1"})
    out = host.run(f"ping -c 3 -i 1 -W 5 10.9.{net}.2", timeout=60, check=True).out
    times = [float(time) for time in re.findall(r"time=([\d.]+)", out)]
    assert len(times) == 3
    assert times[0] > 700 > times[1]


def test_a_killed_host_is_an_unplug_and_comes_back(lab: Lab, cables: dict[str, int]) -> None:
    lab["c"].kill()
    a = lab["a"]
    scenario.until("a.2:1 gone", 20, lambda: not netdev(a, "a.2:1"))
    lab["c"].power_on()
    scenario.until("c up", 90, lambda: lab.status()["c"] == "up")
    for cable in ("b.2:1-c:1", "a.2:1-c.2:1"):
        connect(lab, cable, cables[cable])
        assert_answered(lab, cable, cables[cable])
