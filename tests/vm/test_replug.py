# SPDX-License-Identifier: GPL-2.0-or-later
"""Cables pulled, hosts that die, modules that go away: programs get their error, nothing hangs."""

from __future__ import annotations

import time

import pytest
import scenario
from lab.api import Host, Lab, Process
from lab.patience import patient
from scenario import CABLE, DEVICE, NETDEV

pytestmark = pytest.mark.timeout(600)

# A timeout of 268 ms (4.096 us * 2^16), tried 7 times: about 2 s.
TWO_SECONDS = 16
# 8.6 s, tried 7 times: a minute.
A_MINUTE = 21
# Long enough to be still at it when a host has booted again.
BIDIRECTIONAL = f"-b -s 65536 -D {round(patient(60))}"


def wait_traffic(lab: Lab, frames: int = 500, seconds: float = 60.0) -> None:
    """Until data flows over the cable."""
    start = scenario.data_frames(lab)
    scenario.until("traffic", seconds, lambda: scenario.data_frames(lab) > start + frames)


def ended_with_error(process: Process, seconds: float) -> None:
    result = process.wait(seconds)
    assert result.rc != 0, f"{result.command} ended well:\n{result.out}"


def link_downs(host: Host) -> int:
    path = f"/sys/class/infiniband/{DEVICE}/ports/1/counters/link_downed"
    return int(host.run(f"cat {path}").out)


def works_again(lab: Lab) -> None:
    scenario.run_perftest(lab, "ib_write_bw", "-b -s 65536 -n 50").check()


def test_unplugged_programs_end_with_an_error_and_work_again_after_replug(lab: Lab) -> None:
    downs = {host.name: link_downs(host) for host in lab.hosts.values()}
    with scenario.perftest(lab, "ib_write_bw", BIDIRECTIONAL, timeout_exponent=TWO_SECONDS) as (
        client,
        server,
    ):
        wait_traffic(lab)
        lab.unplug(*CABLE)
        pulled = time.monotonic()
        ended_with_error(client, 15)
        ended_with_error(server, 15)
        took = time.monotonic() - pulled
    for host in lab.hosts.values():
        scenario.wait_port(host, "DOWN", 20)
        assert host.run(f"cat /sys/class/net/{NETDEV}/carrier").out.strip() == "0"
        assert link_downs(host) == downs[host.name] + 1
    lab.plug(*CABLE)
    lab.wait_links()
    works_again(lab)
    assert took <= patient(10), f"the programs ended after {took:.1f} s"


def test_a_transfer_survives_a_replug_within_its_retry_time(lab: Lab) -> None:
    with scenario.integrity(
        lab, "--qps 4 --count 400 --large 0.1", qp_timeout=A_MINUTE, seconds=240
    ) as (client, server):
        wait_traffic(lab)
        lab.unplug(*CABLE)
        scenario.pause(3)
        assert client.running
        assert server.running
        lab.plug(*CABLE)
        scenario.check_integrity(client, server, 260)


def test_a_killed_host_comes_back_as_a_new_epoch(lab: Lab) -> None:
    a, b = lab["a"], lab["b"]
    with scenario.perftest(
        lab, "ib_write_bw", BIDIRECTIONAL, timeout_exponent=A_MINUTE, seconds=300
    ) as (_client, server):
        wait_traffic(lab)
        b.kill()
        scenario.wait_port(a, "DOWN", 20)
        b.power_on()
        lab.wait_links()
        ended_with_error(server, 20)
    works_again(lab)


def reload_module(host: Host) -> None:
    """Take the driver out and put it back, as an upgrade does; the gate opener stays."""
    host.run("rmmod usb4_rdma", timeout=30, check=True)
    assert not host.run(f"ls -d /sys/class/net/{NETDEV} 2>/dev/null").out
    host.run("modprobe usb4_rdma", timeout=30, check=True)


def test_a_reloaded_module_ends_the_other_sides_programs(lab: Lab) -> None:
    with scenario.perftest(
        lab, "ib_write_bw", BIDIRECTIONAL, timeout_exponent=A_MINUTE, seconds=300
    ) as (client, server):
        wait_traffic(lab)
        reload_module(lab["b"])
        lab.wait_links()
        ended_with_error(client, 20)
        ended_with_error(server, 20)
    works_again(lab)


def test_unloading_soft_roce_leaves_our_device_in_place(lab: Lab) -> None:
    a = lab["a"]
    a.run("modprobe rdma_rxe", check=True)
    a.run("rmmod rdma_rxe", timeout=30, check=True)
    took = scenario.wait_port(a, "ACTIVE", 10)
    works_again(lab)
    assert took <= patient(2)


def test_a_changing_mtu_with_soft_roce_loaded_corrupts_nothing(lab: Lab) -> None:
    a = lab["a"]
    a.run("modprobe rdma_rxe", check=True)
    usual = a.run(f"cat /sys/class/net/{NETDEV}/mtu", check=True).out.strip()
    try:
        with scenario.integrity(lab, "--qps 2 --count 200 --large 0.1", seconds=200) as (
            client,
            server,
        ):
            wait_traffic(lab)
            for mtu in (1500, 4192, 2044, usual):
                a.run(f"ip link set {NETDEV} mtu {mtu}", check=True)
            scenario.check_integrity(client, server, 220)
    finally:
        a.run(f"ip link set {NETDEV} mtu {usual}; rmmod rdma_rxe", timeout=30)
    scenario.wait_port(a, "ACTIVE", 10)


@pytest.mark.parametrize("what", ["drop", "crc", "nointr", "notxdone"])
def test_impaired_cables_lose_no_data(lab: Lab, what: str) -> None:
    lab.inject("a:1-b:1", what, rate=0.003, seed=7)
    with scenario.integrity(
        lab, "--qps 2 --count 60 --large 0.05", qp_timeout=18, seconds=150
    ) as ends:
        scenario.check_integrity(*ends, 170)
    lab.inject_off()


def test_the_port_is_active_within_two_seconds_of_the_services(lab: Lab) -> None:
    watches = {}
    program = {name: scenario.program(host, "link_times.py") for name, host in lab.hosts.items()}
    lab.unplug(*CABLE)
    for host in lab.hosts.values():
        scenario.wait_port(host, "DOWN")
    stamps: dict[str, dict[str, float]] = {name: {} for name in lab.hosts}

    def stamp(name: str, data: bytes) -> None:
        for word in data.decode().split():
            stamps[name].setdefault(word, time.monotonic())

    try:
        for name, host in lab.hosts.items():
            watches[name] = host.start(
                f"python3 {program[name]} {DEVICE}",
                timeout=90,
                sink=lambda fd, data, name=name: stamp(name, data),  # type: ignore[misc]
            )
            watches[name].wait_for("watching")
        lab.plug(*CABLE)
        for watch in watches.values():
            watch.wait_for("active", 60)
    finally:
        for watch in watches.values():
            watch.kill()
    appeared = max(times["service"] for times in stamps.values())
    active = max(times["active"] for times in stamps.values())
    assert active - appeared <= patient(2.0)
