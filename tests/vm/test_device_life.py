# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that poll without sleeping, while their device goes away beneath them."""

from __future__ import annotations

import time

import pytest
import scenario
from lab.api import Lab
from lab.patience import patient
from scenario import DEVICE

pytestmark = pytest.mark.timeout(600)

POLLING = f"-b -s 65536 -D {round(patient(60))}"
# 268 ms, tried 8 times.
TWO_SECONDS = 16


def wait_traffic(lab: Lab, frames: int = 500) -> None:
    """Until data flows over the cable."""
    start = scenario.data_frames(lab)
    scenario.until("traffic", 60, lambda: scenario.data_frames(lab) > start + frames)


def test_programs_end_when_soft_roce_takes_the_device_along(lab: Lab) -> None:
    a = lab["a"]
    a.run("modprobe rdma_rxe", check=True)
    with scenario.perftest(lab, "ib_write_bw", POLLING, timeout_exponent=TWO_SECONDS) as ends:
        wait_traffic(lab)
        a.run("rmmod rdma_rxe", timeout=30, check=True)
        for end in ends:
            assert end.wait(20).rc != 0
    assert scenario.wait_port(a, "ACTIVE", 10) <= patient(2)
    scenario.run_rping(lab, count=3).check()


def test_the_module_is_unloaded_at_once_beneath_running_programs(lab: Lab) -> None:
    a = lab["a"]
    with scenario.perftest(lab, "ib_write_bw", POLLING, timeout_exponent=TWO_SECONDS) as ends:
        wait_traffic(lab)
        started = time.monotonic()
        a.run("rmmod usb4_rdma", timeout=30, check=True)
        took = time.monotonic() - started
        for end in ends:
            assert end.wait(20).rc != 0
    assert not a.run(f"ls -d /sys/class/infiniband/{DEVICE} 2>/dev/null").out
    a.run("modprobe usb4_rdma", timeout=30, check=True)
    lab.wait_links()
    scenario.run_rping(lab, count=3).check()
    # The programs would have polled for a minute.
    assert took <= patient(20), f"rmmod took {took:.1f} s"
