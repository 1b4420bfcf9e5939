# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory regions that are paged on demand follow what the process does with its memory."""

from __future__ import annotations

import pytest
import scenario
from lab.api import Lab

CASES = {
    "first_touch",
    "pages_given_back",
    "memory_replaced",
    "child_keeps_its_copy",
    "own_side",
    "pages_vanish_meanwhile",
    "unmapped",
}


@pytest.mark.timeout(600)
def test_paged_memory_is_for_the_device_what_it_is_for_the_process(lab: Lab) -> None:
    a = lab["a"]
    command = f"python3 {scenario.program(a, 'paging.py')} --device {scenario.DEVICE}"
    told = scenario.last_json(
        a.run(f"{command} --gid {scenario.gid_of(a)}", timeout=300.0, check=True)
    )
    assert told["supported"]
    assert set(told["done"]) == CASES
    counted = a.run(f"rdma -j statistic show link {scenario.DEVICE}/1", check=True).out
    assert '"page_faults":0' not in counted.replace(" ", "")
