# SPDX-License-Identifier: GPL-2.0-or-later
"""What stock verbs programs see and do across the cable, with the driver alone."""

from __future__ import annotations

import re

import pytest
import scenario
from lab.api import Lab
from lab.patience import patient
from scenario import DEVICE, NETDEV

pytestmark = pytest.mark.timeout(600)


def test_the_device_is_an_active_ethernet_port_with_gids(lab: Lab) -> None:
    for host in lab.hosts.values():
        shown = host.run(f"ibv_devinfo -v -d {DEVICE}", check=True).out
        assert re.search(r"state:\s+PORT_ACTIVE", shown), shown
        assert re.search(r"link_layer:\s+Ethernet", shown), shown
        table = scenario.gids(host)
        assert any(gid.startswith("fe80:") for gid in table.values()), table
        assert any(":ffff:" in gid for gid in table.values()), table


def test_the_interface_carries_ip_packets_of_every_size(lab: Lab) -> None:
    a, b = lab["a"], lab["b"]
    mtu = int(a.run(f"cat /sys/class/net/{NETDEV}/mtu", check=True).out)
    assert mtu >= 4192
    for size in (0, 56, 1472, mtu - 28):
        b.run(f"ping -c 3 -i 0.2 -W 10 -M do -s {size} {scenario.rdma_address(a)}", check=True)


def test_rping_over_the_connection_manager(lab: Lab) -> None:
    scenario.run_rping(lab, count=10).check()


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("ib_write_bw", "-a -n 20"),
        ("ib_read_bw", "-s 65536 -n 100"),
        ("ib_send_bw", "-s 65536 -n 100"),
        ("ib_write_lat", "-s 64 -n 100"),
    ],
)
def test_perftest(lab: Lab, command: str, extra: str) -> None:
    scenario.run_perftest(lab, command, extra).check()


def test_ten_thousand_messages_arrive_without_a_difference(lab: Lab) -> None:
    with scenario.integrity(lab, "--qps 8 --count 640", seconds=400) as (client, server):
        total = scenario.check_integrity(client, server, 420)
    assert total["messages"] >= 10_000
    assert total["qps"] == 8


def test_loopback_between_queue_pairs_of_one_device(lab: Lab) -> None:
    a = lab["a"]
    path, gid = scenario.program(a, "integrity.py"), scenario.gid_of(a)
    common = f"python3 {path} --device {DEVICE} --gid {gid} --qps 2 --count 40"
    common += f" --timeout {patient(100):.0f}"
    with a.start(common, timeout=120) as server:
        server.wait_for("listening")
        with a.start(f"{common} 127.0.0.1", timeout=120) as client:
            total = scenario.check_integrity(client, server, 120)
    assert total["messages"] == 2 * 2 * 40
    assert scenario.data_frames(lab) < 50, "loopback went over the wire"


def test_completion_events_wake_a_sleeping_program(lab: Lab) -> None:
    a, b = lab["a"], lab["b"]
    words = f"ibv_rc_pingpong -d {DEVICE} -e -n 100"
    with a.start(f"{words} -g {scenario.gid_of(a)}", timeout=60) as server:
        scenario.wait_listening(a, server, 18515)
        b.run(f"{words} -g {scenario.gid_of(b)} {a.net_address}", timeout=60, check=True)
        server.wait().check()


def test_rdma_commands_name_the_device_and_its_interface(lab: Lab) -> None:
    for host in lab.hosts.values():
        shown = host.run("rdma link show", check=True).out
        assert re.search(rf"link {DEVICE}/1 state ACTIVE .*netdev {NETDEV}", shown), shown
