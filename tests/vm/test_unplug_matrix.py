# SPDX-License-Identifier: GPL-2.0-or-later
"""The unplug matrix: what each kind of traffic gets when something is pulled from under it.

`make test` runs the events that no other test has; `make unplug` all of them, with an account of
every object that the driver holds.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
import scenario
from holdings import OTHERS_COME, SLAB_TRACES, Ledger
from lab.api import Lab
from report import record, report
from traffic import facts, table, traffic
from unplug import play
from unplug_events import events_on, reload

pytestmark = pytest.mark.timeout(1800)
LONG = bool(os.environ.get("USB4RDMA_LONG"))

if LONG:

    @pytest.fixture(scope="module")
    def lab_options() -> dict[str, Any]:
        kernel = os.environ.get("USB4RDMA_KERNEL", "7.2")
        return {"install": "driver", "net": True, "kernel": kernel, "append": SLAB_TRACES}


def test_each_kind_of_traffic_ends_as_promised_or_goes_on(lab: Lab) -> None:
    events = [e for e in events_on(lab.plan.kernel_version) if LONG or e.short]
    lines: list[str] = []
    rows: list[dict[str, Any]] = []
    wrong: list[str] = []
    if LONG:
        reload(lab)
    with traffic(lab) as both:
        ledger = Ledger.open(lab, but=OTHERS_COME)
        for event in events:
            results, faults = play(lab, both, event)
            lines += [event.name, *table(results)]
            rows.append({"event": event.name, "hosts": facts(results)})
            wrong += faults
            report("unplug.txt" if LONG else "unplug-short.txt", lines)
            ledger.settle()
    scenario.run_rping(lab, count=3).check()
    assert not wrong, "\n".join(wrong)
    if LONG:
        record("matrix", lab, {"rows": rows})
