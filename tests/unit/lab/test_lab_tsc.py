# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine's time stamp counter is measured, also when the measurement is interrupted."""

from __future__ import annotations

import platform

import pytest
from lab import tsc

KHZ = 2_500_000


class Machine:
    """A clock that goes on by itself, and in jumps at each tenth look."""

    def __init__(self) -> None:
        self.now = 0
        self.looks = 0

    def clock(self) -> int:
        self.looks += 1
        self.now += 3_000_000 if self.looks % 10 == 0 else 200
        return self.now

    def counter(self) -> int:
        return 77 + self.now * KHZ // 1_000_000


def test_interruptions_do_not_change_what_is_measured() -> None:
    machine = Machine()
    assert tsc.measure(machine.counter, machine.clock) == pytest.approx(KHZ, rel=1e-5)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="no such counter")
def test_this_machines_counter_runs_evenly() -> None:
    assert tsc.khz() == pytest.approx(tsc.khz(), rel=1e-3)
    assert tsc.khz() > 100_000
