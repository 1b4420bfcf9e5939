# SPDX-License-Identifier: GPL-2.0-or-later
"""What the device says it can hold is what it holds; one more is refused properly."""

from __future__ import annotations

import json

import pytest
import scenario
from lab.api import Lab
from scenario import DEVICE

pytestmark = pytest.mark.timeout(1200)

# What there must be at least.
AT_LEAST = {
    "QPs": 4096,
    "CQs": 16384,
    "MRs": 65536,
    "PDs": 1024,
    "SRQs": 1024,
    "AHs": 1024,
    "QPs of a multicast group": 16,
    "WRs of a send queue": 16384,
    "WRs of a receive queue": 16384,
    "WRs of an SRQ": 16384,
    "receives posted": 16384,
    "SGEs of a send": 32,
    "SGEs of a receive": 32,
    "SGEs of an SRQ's receive": 32,
    "SGEs in one message": 32,
    "inline bytes": 512,
    "inline bytes in one message": 512,
    "CQEs": 1 << 20 >> 1,
    "bytes of a message": 1 << 30,
}
# Objects of these kinds that the kernel has of its own count for the device as well.
COUNTED = ("PDs", "QPs", "CQs", "MRs", "SRQs", "AHs", "QPs of a multicast group")
KERNELS_OWN = 16
# Objects that can't be made so large, where the others can't be made so often.
TOO_LARGE = (
    "WRs of a send queue", "WRs of a receive queue", "WRs of an SRQ", "SGEs of a send",
    "SGEs of a receive", "SGEs of an SRQ's receive", "inline bytes", "CQEs",
)  # fmt: skip
UNSUPPORTED = ("XRC queue pair", "raw packet queue pair", "zero-based region")


def test_limits_are_reached_and_kept(lab: Lab) -> None:
    words = {}
    for part, host in enumerate((lab["a"], lab["b"]), 1):
        path = scenario.program(host, "limits.py")
        options = f"--device {DEVICE} --gid {scenario.gid_of(host)} --part {part}"
        words[host.name] = f"python3 {path} {options}"
    with lab["a"].start(words["a"], timeout=900) as other:
        lines = lab["b"].run(words["b"], timeout=900, check=True).out.splitlines()
        lines += other.wait(900).check().out.splitlines()
    rows = {row["what"]: row for row in map(json.loads, lines)}
    print()
    for row in rows.values():
        print(f"  {row['what']}: {row['reached']} of {row['limit']}, then {row['beyond'] or '-'},"
              f" {row['seconds']} s")  # fmt: skip
    for what, least in AT_LEAST.items():
        row = rows[what]
        assert row["limit"] >= least, row
        if what in COUNTED:
            assert row["limit"] - KERNELS_OWN <= row["reached"] <= row["limit"], row
            assert row["beyond"] == "ENOMEM", row
        else:
            assert row["reached"] == row["limit"], row
    for what in TOO_LARGE:
        assert rows[what]["beyond"] == "EINVAL", rows[what]
    assert rows["receives posted"]["beyond"] == "ENOMEM"
    assert rows["bytes of a message"]["beyond"] == "local length"
    for what in UNSUPPORTED:
        assert rows[what]["beyond"] in ("EOPNOTSUPP", "ENOTSUP"), rows[what]
    assert rows["queue pair of type 99"]["beyond"] == "EINVAL"
    # Nothing of it is left, and the device still does its work.
    scenario.run_rping(lab, count=3).check()
