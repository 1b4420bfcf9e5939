# SPDX-License-Identifier: GPL-2.0-or-later
"""Multicast across the cable: datagrams to groups, and the connection manager's way to join one."""

from __future__ import annotations

import pytest
import scenario
from compat import Compatibility
from lab.api import Lab
from scenario import DEVICE

pytestmark = pytest.mark.timeout(600)

DATAGRAMS = 12


@pytest.mark.parametrize("group", ["239.5.6.7", "ff0e::4242"])
def test_each_member_of_a_group_gets_each_datagram_once(lab: Lab, group: str) -> None:
    """Also the sender's neighbour, but not the sender, nor who left, nor who has another key."""
    a, b = lab["a"], lab["b"]
    words = {}
    for host in (a, b):
        words[host.name] = (
            f"python3 {scenario.program(host, 'multicast.py')} %s --device {DEVICE}"
            f" --gid {scenario.gid_of(host)} --group {group} --datagrams {DATAGRAMS}"
        )
    with a.start(words["a"] % "receive", timeout=180) as receiver:
        receiver.wait_for("listening", 90)
        sent = b.run(words["b"] % "send", timeout=120, check=True)
        got = receiver.wait(120).check()
    assert scenario.last_json(sent)["received"] == {"sender": 0, "neighbour": DATAGRAMS}
    assert scenario.last_json(got)["received"] == {
        "first": DATAGRAMS, "second": DATAGRAMS, "left": 0, "other key": 0,
    }  # fmt: skip


def test_mckey_joins_an_ipv4_group_by_the_connection_manager(
    lab: Lab, compat: Compatibility
) -> None:
    a, b = lab["a"], lab["b"]
    words = "stdbuf -oL mckey -m 239.1.2.3 -C 20 -S 1000 -b"
    with a.start(f"{words} {scenario.rdma_address(a)}", timeout=120) as receiver:
        receiver.wait_for("receiving data transfers", 60)
        sent = b.run(f"{words} {scenario.rdma_address(b)} -s", timeout=60, check=True)
        got = receiver.wait(60).check()
    assert "return status 0" in sent.out
    assert "return status 0" in got.out
    compat.works("rdma_cm", "mckey -m 239.1.2.3 (two hosts)")


def test_mckey_with_an_ipv6_group_is_refused_by_the_kernel(lab: Lab, compat: Compatibility) -> None:
    """If a kernel learns it, this fails, and the row of the table is to be changed."""
    a = lab["a"]
    a.run("ip addr add fd00:4d43::1/64 dev u4rdma0 nodad", check=True)
    try:
        seen = a.run("mckey -m ff0e::1234 -b fd00:4d43::1 -s -C 1", timeout=60)
    finally:
        a.run("ip addr del fd00:4d43::1/64 dev u4rdma0", check=True)
    assert seen.rc != 0
    assert "failure joining" in seen.out + seen.err
    compat.fails(
        "rdma_cm",
        "mckey -m ff0e::1234 (IPv6 group)",
        "the kernel's rdma_cm refuses to join IPv6 groups on every RoCE v2 device (ENOTSUPP);"
        " ibv_attach_mcast with such a group works",
    )
