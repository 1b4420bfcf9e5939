# SPDX-License-Identifier: GPL-2.0-or-later
"""What the port and the device tell of themselves, after traffic that is known."""

from __future__ import annotations

import json
import re

import pytest
import scenario
from lab.api import Host, Lab
from scenario import DEVICE

pytestmark = pytest.mark.timeout(600)

PORT = f"/sys/class/infiniband/{DEVICE}/ports/1"
MESSAGES, SIZE = 50, 65536
TOTAL = MESSAGES * SIZE


def counters(host: Host, folder: str) -> dict[str, int]:
    """All counters of a folder of the port; what they count is up to date."""
    words = f"echo 0 > {PORT}/hw_counters/lifespan; grep -H . {PORT}/{folder}/*"
    found = re.findall(r"/(\w+):(\d+)$", host.run(words, check=True).out, re.MULTILINE)
    return {name: int(value) for name, value in found if name != "lifespan"}


def difference(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """How far each went."""
    return {name: after[name] - before[name] for name in before}


@pytest.mark.parametrize(("command", "sender"), [("ib_write_bw", "b"), ("ib_read_bw", "a")])
def test_counters_say_what_was_sent(lab: Lab, command: str, sender: str) -> None:
    """The client is on b; READs bring the data the other way."""
    hosts = lab["a"], lab["b"]
    before = {h.name: [counters(h, f) for f in ("counters", "hw_counters")] for h in hosts}
    scenario.run_perftest(lab, command, f"-s {SIZE} -n {MESSAGES}").check()
    after = {h.name: [counters(h, f) for f in ("counters", "hw_counters")] for h in hosts}
    port, own = (
        {name: difference(before[name][i], after[name][i]) for name in before} for i in (0, 1)
    )
    receiver = "ab".replace(sender, "")
    assert own[sender]["tx_bytes"] == own[receiver]["rx_bytes"] == TOTAL
    assert own[receiver]["tx_bytes"] == own[sender]["rx_bytes"] == 0
    assert own[sender]["tx_segments"] == own[receiver]["rx_segments"] >= MESSAGES
    assert port[sender]["port_xmit_data"] == port[receiver]["port_rcv_data"] == TOTAL // 4
    # What comes for a queue pair that is gone already is counted elsewhere.
    for one, other in (("a", "b"), ("b", "a")):
        missed = port[one]["port_xmit_packets"] - port[other]["port_rcv_packets"]
        assert 0 <= missed <= 2 < port[one]["port_xmit_packets"]
    for name in ("symbol_error", "port_rcv_errors", "multicast_xmit_packets"):
        assert port[sender][name] == port[receiver][name] == 0
    for host in hosts:
        shown = json.loads(host.run(f"rdma -j statistic show link {DEVICE}/1", check=True).out)
        told = {name: value for name, value in shown[0].items() if name in own[host.name]}
        assert told == counters(host, "hw_counters")
        assert len(told) >= 20


def test_resources_are_listed_with_their_owner(lab: Lab) -> None:
    a = lab["a"]
    words = f"ibv_rc_pingpong -d {DEVICE} -g {scenario.gid_of(a)}"
    with a.start(words, timeout=120) as server:
        scenario.wait_listening(a, server, 18515)
        for kind in ("qp", "cq", "mr", "pd"):
            shown = json.loads(a.run(f"rdma -j -d resource show {kind}", check=True).out)
            mine = [one for one in shown if one.get("comm") == "ibv_rc_pingpong"]
            assert len(mine) == 1, (kind, shown)
            assert mine[0]["ifname"] == DEVICE
            if kind == "qp":
                assert (mine[0]["type"], mine[0]["state"]) == ("RC", "INIT")
            if kind == "mr":
                assert mine[0]["mrlen"] == 4096
        server.kill()
    scenario.until("the server's queue pair is gone", 20, lambda: "pingpong" not in a.run(
        "rdma resource show qp", check=True).out)  # fmt: skip


def test_speed_and_width_come_from_the_link(lab: Lab) -> None:
    a = lab["a"]
    link = a.run("cat /sys/bus/thunderbolt/devices/0-1/{tx_speed,tx_lanes}", check=True).out
    speed, lanes = link.split("\n")[:2]
    wanted = round(float(speed.split()[0]) * int(lanes))
    rate = a.run(f"cat {PORT}/rate", check=True).out
    assert re.match(rf"{wanted} Gb/sec \(\d+X \w+\)", rate), (link, rate)
    shown = a.run(f"ibv_devinfo -v -d {DEVICE}", check=True).out
    width = int(re.search(r"active_width:\s+(\d+)X", shown)[1])  # type: ignore[index]
    lane = float(re.search(r"active_speed:\s+([\d.]+) Gbps", shown)[1])  # type: ignore[index]
    assert width * lane == wanted
    assert re.search(r"max_mcast_grp:\s+[1-9]", shown)
