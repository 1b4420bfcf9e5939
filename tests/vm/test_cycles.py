# SPDX-License-Identifier: GPL-2.0-or-later
"""Load cycles of the module and plug cycles under load: many, and nothing is left behind.

Part of `make unplug`. USB4RDMA_CYCLES and USB4RDMA_LOADS say how many, 200 and 50 by default.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Any

import pytest
import scenario
from holdings import OTHERS_GO, SLAB_TRACES, Ledger, Memory, settle
from lab.api import Lab
from report import record, report
from traffic import ALL_GO_ON, KINDS, facts, judge, table, traffic
from unplug_events import A_MINUTE, pull_and_push

pytestmark = [pytest.mark.timeout(7200), pytest.mark.long]
CYCLES = int(os.environ.get("USB4RDMA_CYCLES", "200"))
LOADS = int(os.environ.get("USB4RDMA_LOADS", "50"))
# The flows of all cycles are the same ones, TCP among them.
NET_SECONDS = 600


@pytest.fixture(scope="module")
def lab_options() -> dict[str, Any]:
    kernel = os.environ.get("USB4RDMA_KERNEL", "7.2")
    return {"install": "driver", "net": True, "kernel": kernel, "append": SLAB_TRACES}


def active(lab: Lab) -> None:
    """Until the link is there again; asked for in the cheapest way."""
    for host in lab.hosts.values():
        scenario.wait_port(host, "ACTIVE", 120)


def cycle(lab: Lab) -> None:
    """Out, until both have seen it, in, until the link is there again."""
    pull_and_push(lab)
    active(lab)


def told(
    what: str, number: int, started: float, lab: Lab, memory: Memory, more: Iterable[str] = ()
) -> None:
    """Say and keep how far it is."""
    took, kernel = time.monotonic() - started, lab.plan.kernel_version
    lines = [f"{number} {what} in {took:.0f} s, kernel {kernel}", f"  {memory.told()}", *more]
    report(f"{what.split()[0]}-cycles.txt", lines)


def keep(name: str, number: int, started: float, lab: Lab, memory: Memory, **more: object) -> None:
    """They went well: so much for the documentation."""
    lost = {host: -kib for host, kib in memory.lost().items()}
    took = round(time.monotonic() - started)
    record(name, lab, {"number": number, "seconds": took, "memory": lost, **more})


def unload(lab: Lab) -> None:
    for host in lab.hosts.values():
        host.run("rmmod usb4_rdma", timeout=30, check=True)


def load(lab: Lab) -> None:
    for host in lab.hosts.values():
        host.run("modprobe usb4_rdma", timeout=30, check=True)
    active(lab)


def test_load_cycles_leave_nothing_behind(lab: Lab) -> None:
    unload(lab)
    for host in lab.hosts.values():
        settle(host, {}, but=OTHERS_GO)
    unloaded = Ledger.open(lab)
    load(lab)
    lab.wait_links()
    loaded, memory = Ledger.open(lab), Memory(lab)
    started = time.monotonic()
    for number in range(1, LOADS + 1):
        unload(lab)
        unloaded.settle()
        load(lab)
        if number % 5 == 0:
            lab.wait_links()
            loaded.settle()
            scenario.run_rping(lab, count=1).check()
            memory.sample()
            told("load cycles on both hosts", number, started, lab, memory)
    memory.check()
    keep("load-cycles", LOADS, started, lab, memory)


def test_plug_cycles_under_load_leave_nothing_behind(lab: Lab) -> None:
    with traffic(lab) as both:
        cycle(lab)
        ledger, memory = Ledger.open(lab), Memory(lab)
        both.begin(A_MINUTE, NET_SECONDS)
        started = time.monotonic()
        for number in range(1, CYCLES + 1):
            cycle(lab)
            both.go_on(KINDS)
            if number % 20 == 0:
                memory.sample()
                told("plug cycles under load", number, started, lab, memory)
        results = both.ask("stop", "result")
        both.ask("close", "closed")
    ledger.settle()
    told("plug cycles under load", CYCLES, started, lab, memory, table(results))
    wrong = [text for name, got in results.items() for text in judge(name, ALL_GO_ON, got)]
    assert not wrong, "\n".join(wrong)
    memory.check()
    keep("plug-cycles", CYCLES, started, lab, memory, hosts=facts(results))
