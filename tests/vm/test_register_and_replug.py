# SPDX-License-Identifier: GPL-2.0-or-later
"""Regions are registered at any time, whatever the cable does meanwhile."""

from __future__ import annotations

import pytest
import scenario
from lab.api import Lab
from scenario import CABLE, DEVICE

pytestmark = pytest.mark.timeout(600)

ROUNDS = 3


def test_regions_are_registered_while_the_cable_comes_and_goes(lab: Lab) -> None:
    """Mapping for a router that goes away ends early; no mapping is left behind (the router's
    DMA faults and the kernel's warnings would tell), and neither side waits for the other."""
    a = lab["a"]
    path = scenario.program(a, "mr_churn.py")
    with a.start(f"python3 {path} --device {DEVICE} --mib 96", timeout=400) as churn:
        churn.wait_for("registering", 60)
        for _round in range(ROUNDS):
            lab.unplug(*CABLE)
            scenario.wait_port(a, "DOWN")
            lab.plug(*CABLE)
            scenario.wait_port(a, "ACTIVE", 120)
            scenario.wait_port(lab["b"], "ACTIVE", 120)
        churn.write("end\n")
        ended = scenario.last_json(churn.wait(60).check())
    assert ended["registered"] >= ROUNDS
    scenario.run_perftest(lab, "ib_write_bw", "-s 65536 -n 50").check()
