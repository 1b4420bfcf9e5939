# SPDX-License-Identifier: GPL-2.0-or-later
"""The oldest kernel that we support, Linux 6.12."""

from __future__ import annotations

from typing import Any

import pytest
import scenario
from lab.api import Lab
from scenario import CABLE

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def lab_options() -> dict[str, Any]:
    return {"install": "driver", "net": True, "kernel": "6.12"}


def test_the_hosts_run_linux_6_12(lab: Lab) -> None:
    for host in lab.hosts.values():
        assert host.run("uname -r").out.startswith("6.12.")


def test_messages_arrive_without_a_difference(lab: Lab) -> None:
    with scenario.integrity(lab, "--qps 4 --count 150", seconds=200) as ends:
        scenario.check_integrity(*ends, 220)


def test_rping_and_perftest(lab: Lab) -> None:
    scenario.run_rping(lab).check()
    scenario.run_perftest(lab, "ib_write_bw", "-s 65536 -n 100").check()


def test_unplug_and_replug(lab: Lab) -> None:
    with scenario.perftest(lab, "ib_write_bw", "-b -s 65536 -D 60", timeout_exponent=16) as ends:
        start = scenario.data_frames(lab)
        scenario.until("traffic", 60, lambda: scenario.data_frames(lab) > start + 200)
        lab.unplug(*CABLE)
        for process in ends:
            assert process.wait(20).rc != 0
    lab.plug(*CABLE)
    lab.wait_links()
    scenario.run_rping(lab).check()


def test_module_reload(lab: Lab) -> None:
    lab["b"].run("rmmod usb4_rdma && modprobe usb4_rdma", timeout=60, check=True)
    lab.wait_links()
    scenario.run_rping(lab).check()
