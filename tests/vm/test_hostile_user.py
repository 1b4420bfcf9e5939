# SPDX-License-Identifier: GPL-2.0-or-later
"""A program that writes anything into the queues it shares with the kernel harms only itself."""

from __future__ import annotations

import pytest
import scenario
from lab.api import Lab

pytestmark = pytest.mark.timeout(600)


def test_scribbling_on_mapped_queues_reaches_no_other_memory(lab: Lab) -> None:
    a = lab["a"]
    words = f"python3 {scenario.program(a, 'hostile_queues.py')} --gid {scenario.gid_of(a)}"
    seen = a.run(f"{words} --batches 10 --seed 7", timeout=300, check=True)
    assert scenario.last_json(seen)["batches"] == [0] * 10
    scenario.run_rping(lab, count=3).check()


def test_the_kernel_comes_back_from_a_program_killed_while_it_scribbles(lab: Lab) -> None:
    a = lab["a"]
    words = f"python3 {scenario.program(a, 'hostile_queues.py')} --gid {scenario.gid_of(a)}"
    for seconds in (1, 2, 3):
        assert a.run(f"timeout -s KILL {seconds} {words} --batches 1000", timeout=60).rc != 0
    left = scenario.until("no queue pair is left but the MADs'", 20, lambda: user_qps(a) == 0)
    assert left < 20
    scenario.run_rping(lab, count=3).check()


def user_qps(host: scenario.Host) -> int:
    """Queue pairs that programs have, as `rdma resource` counts them."""
    shown = host.run("rdma resource show qp", check=True).out
    return sum("type GSI" not in line for line in shown.splitlines() if "lqpn" in line)
