# SPDX-License-Identifier: GPL-2.0-or-later
"""Each completion status and each asynchronous event, reached by a program: one row each."""

from __future__ import annotations

import json

import pytest
import scenario
from lab.api import Lab
from scenario import CABLE, DEVICE, NETDEV

pytestmark = pytest.mark.timeout(900)

ADDRESS = "10.43.0.1/24"
# IBV_WC_BAD_RESP_ERR has no row: an answer that does not fit what was asked is dropped and
# counted (rx_malformed), and the request goes on by being asked again.
AT_LEAST = 40


def test_each_status_and_event_is_reached(lab: Lab) -> None:
    a = lab["a"]
    path = scenario.program(a, "completion_status.py")
    words = f"python3 {path} --device {DEVICE} --gid {scenario.gid_of(a)}"
    with a.start(words, timeout=600) as process:
        process.wait_for('"ready": "GID change"', 400)
        a.run(f"ip addr add {ADDRESS} dev {NETDEV}", check=True)
        process.wait_for('"ready": "port error"', 120)
        lab.unplug(*CABLE)
        process.wait_for('"ready": "port active"', 120)
        lab.plug(*CABLE)
        ended = process.wait(150).check()
    a.run(f"ip addr del {ADDRESS} dev {NETDEV}", check=True)
    rows = [row for row in map(json.loads, ended.out.splitlines()) if "row" in row]
    print()
    for row in rows:
        mark = "ok  " if row["got"] == row["wanted"] else "FAIL"
        print(f"  {mark} {row['row']}: {row['got']}")
    wrong = [row for row in rows if row["got"] != row["wanted"]]
    assert not wrong, wrong
    assert len(rows) >= AT_LEAST
