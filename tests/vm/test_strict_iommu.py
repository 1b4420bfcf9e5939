# SPDX-License-Identifier: GPL-2.0-or-later
"""The same traffic with every buffer mapped through an IOMMU, each mapping gone when it is done.

The fixture `lab` fails a test that had a DMA fault. Mapping is slow here, so amounts are small.
"""

from __future__ import annotations

from typing import Any

import pytest
import scenario
from lab.api import Lab
from scenario import CABLE

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def lab_options() -> dict[str, Any]:
    return {"install": "driver", "net": True, "iommu": "strict"}


def test_messages_arrive_without_a_difference(lab: Lab) -> None:
    with scenario.integrity(lab, "--qps 2 --count 100 --large 0.02", seconds=300) as ends:
        scenario.check_integrity(*ends, 320)


@pytest.mark.parametrize("command", ["ib_write_bw", "ib_read_bw", "ib_send_bw"])
def test_perftest(lab: Lab, command: str) -> None:
    scenario.run_perftest(lab, command, "-s 65536 -n 50").check()


def test_unplug_under_traffic_and_replug(lab: Lab) -> None:
    with scenario.perftest(lab, "ib_write_bw", "-b -s 65536 -D 60", timeout_exponent=16) as ends:
        start = scenario.data_frames(lab)
        scenario.until("traffic", 60, lambda: scenario.data_frames(lab) > start + 200)
        lab.unplug(*CABLE)
        for process in ends:
            assert process.wait(20).rc != 0
    lab.plug(*CABLE)
    lab.wait_links()
    scenario.run_perftest(lab, "ib_write_bw", "-b -s 65536 -n 20").check()


def test_module_reload(lab: Lab) -> None:
    for host in lab.hosts.values():
        host.run("rmmod usb4_rdma && modprobe usb4_rdma", timeout=60, check=True)
    lab.wait_links()
    scenario.run_rping(lab).check()
