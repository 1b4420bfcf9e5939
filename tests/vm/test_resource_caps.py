# SPDX-License-Identifier: GPL-2.0-or-later
"""What a program makes the kernel keep for it is counted as its own, and ends at its limits.

The limits of the device itself are reached in test_limits.py, what a peer can cause in
test_hostile_handshake.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import scenario
from lab.api import Host, Lab
from scenario import DEVICE

pytestmark = pytest.mark.timeout(600)
# RLIMIT_MEMLOCK: of what it allows a row has used all but less than one of its objects.
OBJECT_MOST = 256 << 10
LOCKED = ("locked_regions", "locked_qps", "locked_cqs", "locked_srqs", "locked_tables")
# A cgroup's count comes in lots for each processor; and the library has memory of its own.
INEXACT = 2 << 20


@pytest.fixture
def quiet(lab: Lab) -> Iterator[Host]:
    """Host a, whose kernel does not tell its console that a cgroup's process was killed."""
    host = lab["a"]
    level = host.run("cut -f1 /proc/sys/kernel/printk", check=True).out.strip()
    host.run("dmesg -n 1; dmesg -C", check=True)
    yield host
    host.run(f"dmesg -n {level}", check=True)


def rows(host: Host) -> dict[str, dict[str, Any]]:
    """What the program in the host has reached, by row."""
    words = f"python3 {scenario.program(host, 'resource_caps.py')} --device {DEVICE}"
    found = {}
    for line in host.run(words, timeout=300, check=True).out.splitlines():
        row = json.loads(line)
        found[row["what"]] = row
        print(f"  {row}")
    return found


def test_what_a_program_can_take_is_counted_and_capped(lab: Lab, quiet: Host) -> None:
    found = rows(quiet)
    for what in LOCKED:
        row = found[what]
        assert row["beyond"] == row["again"] == "ENOMEM", row
        assert row["cap"] - OBJECT_MOST < row["reached"] <= row["cap"], row
        assert row["number"] > 2 and row["left"] == 0, row
    assert found["locked_tables"]["whole"] == "ENOMEM"

    for what in ("CQ", "QP", "SRQ"):
        charged, locked = found["counted"][what]
        assert locked >= 8 << 20, (what, found["counted"])
        assert abs(charged - locked) < INEXACT, (what, found["counted"])
    row = found["capped"]
    assert row["beyond"] in ("ENOMEM", "SIGKILL"), row
    assert row["met"] and row["cap"] - INEXACT < row["peak"] <= row["cap"], row
    assert row["killed"] == (row["beyond"] == "SIGKILL"), row
    assert row["left"] < INEXACT, row

    for what in ("rdma_handles", "rdma_objects"):
        row = found[what]
        assert row["reached"] == row["cap"] and row["beyond"] == "EAGAIN", row

    # Nobody else was made to pay, and the device works.
    assert found["bystander"]["reached"] == 2
    told = quiet.run("dmesg").out
    for line in told.splitlines():
        assert "WARNING" not in line and "BUG" not in line, told
        if "Out of memory" in line or "oom-kill:" in line:
            assert "constraint=CONSTRAINT_MEMCG" in line or "Memory cgroup" in line, line
    scenario.run_rping(lab, count=3).check()
