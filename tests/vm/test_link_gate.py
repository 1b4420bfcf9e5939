# SPDX-License-Identifier: GPL-2.0-or-later
"""A link that nobody authorised stays shut: no data frame, no device, no address."""

from __future__ import annotations

import pytest
import scenario
from lab.api import Host, Lab
from scenario import CABLE

pytestmark = pytest.mark.timeout(300)
GATE = "/usr/lib/usb4rdma-lab/gate.py"
# The bracket keeps pkill from finding the shell that runs it.
GATE_PATTERN = "lab/[g]ate.py"


def link_states(host: Host) -> list[str]:
    return host.run("cat /sys/class/usb4rdma/link*/state 2>/dev/null").out.split()


def test_an_unauthorised_link_carries_no_data_frame(lab: Lab) -> None:
    for host in lab.hosts.values():
        host.run(f"pkill -f {GATE_PATTERN}; rmmod usb4_rdma", timeout=60)
    lab.unplug(*CABLE)
    lab.cable("reset_stat")
    lab.trace("frames")
    lab.plug(*CABLE)
    for host in lab.hosts.values():
        host.run("modprobe usb4_rdma", timeout=60, check=True)
    for host in lab.hosts.values():
        scenario.until(f"{host.name} ready", 60, lambda host=host: link_states(host) == ["ready"])  # type: ignore[misc]
    # Long enough for anything that would be sent by a timer.
    scenario.pause(3)
    lab.trace("off")
    for host in lab.hosts.values():
        assert host.run("cat /sys/class/usb4rdma/link*/authorized").out.split() == ["0"]
        assert "usb4rdma0" not in host.run("ls /sys/class/infiniband 2>/dev/null").out
    assert scenario.data_frames(lab) == 0
    frames = [line for line in lab.trace_file.read_text().splitlines() if " FRAME " in line]
    assert frames == []
    # The same link with the gate open, so that the silence above means something.
    for host in lab.hosts.values():
        host.run(f"setsid {GATE} >>/run/usb4rdma-lab/gate.log 2>&1 </dev/null &")
    lab.wait_links()
    a, b = lab["a"], lab["b"]
    b.run(f"ping -c 1 -W 10 {scenario.rdma_address(a)}", check=True)
    assert scenario.data_frames(lab) > 0


def test_one_sided_authorisation_opens_nothing(lab: Lab) -> None:
    a, b = lab["a"], lab["b"]
    b.run(f"pkill -f {GATE_PATTERN}")
    lab.unplug(*CABLE)
    scenario.wait_port(a, "DOWN")
    lab.cable("reset_stat")
    lab.plug(*CABLE)
    scenario.until("a authorises", 60, lambda: link_states(a) == ["authorized"])
    scenario.until("b is ready", 60, lambda: link_states(b) == ["ready"])
    scenario.pause(2)
    assert scenario.port_state(a).endswith("DOWN")
    assert scenario.data_frames(lab) == 0
    b.run(f"setsid {GATE} >>/run/usb4rdma-lab/gate.log 2>&1 </dev/null &")
    lab.wait_links()
