# SPDX-License-Identifier: GPL-2.0-or-later
"""One lost frame in the middle of a stream costs about a round trip, and never a timeout.

The cable drops single frames, far enough from each other that each is alone; its trace then says
when the loss was, when the same data passed again, and how long an undisturbed round trip takes.
`make faults` loses more of them.
"""

from __future__ import annotations

import json
import os
import random
import statistics
from pathlib import Path
from typing import Any

import pytest
import recovery
import scenario
from lab.api import Lab
from lab.progress import say
from scenario import CABLE, DEVICE

pytestmark = pytest.mark.timeout(1200)
LONG = bool(os.environ.get("USB4RDMA_LONG"))
RESULTS = Path(__file__).resolve().parents[2] / "build/results/faults"
LOSSES = 60 if LONG else 15
SECONDS = 600.0 if LONG else 240.0
# Emulated processors of a busy machine may stand still for longer than a round trip, which says
# nothing of the driver: then the stream is measured once more.
ATTEMPTS = 3
# Frames from one loss to the next, at least: more than are under way at once.
APART = 250
SETTLED = 200  # frames at the beginning of a stream that are left alone
# 4.096 us * 2^18, a second: what a timeout would cost.
TIMEOUT = 18
WINDOW = 16  # READs or atomics outstanding
FRAMES = SETTLED + LOSSES * 2 * APART
# Command, its options, frames of a message from the side that is impaired, that side.
STREAMS = {
    "send": ("ib_send_bw", "-s 16384", 5, "b:1"),
    "write": ("ib_write_bw", "-s 16384", 5, "b:1"),
    "read": ("ib_read_bw", f"-s 16384 -o {WINDOW}", 5, "a:1"),
    "atomic": ("ib_atomic_bw", f"-A FETCH_AND_ADD -o {WINDOW}", 1, "b:1"),
}


def losses(seed: str) -> list[int]:
    """Which frames are lost."""
    chance = random.Random(seed)
    return [SETTLED + APART * 2 * n + chance.randrange(APART) for n in range(LOSSES)]


def counters(lab: Lab) -> dict[str, int]:
    """Hardware counters of both hosts, added up."""
    total: dict[str, int] = {}
    for host in lab.hosts.values():
        path = f"/sys/class/infiniband/{DEVICE}/ports/1/hw_counters"
        shown = host.run(f"cd {path} && grep . timeouts probes retries", check=True).out
        for line in shown.splitlines():
            name, value = line.split(":")
            total[name] = total.get(name, 0) + int(value)
    return total


def traced(lab: Lab, start: int) -> list[str]:
    """The trace's lines since it was so many bytes long; it may have begun anew since."""
    text = lab.trace_file.read_bytes()
    if len(text) < start:
        earlier = lab.trace_file.with_name(lab.trace_file.name + ".1").read_bytes()
        text, start = earlier + text, min(start, len(earlier))
    return text[start:].decode("ascii").splitlines()


def stream(lab: Lab, kind: str) -> dict[str, Any]:
    """The figures of one stream whose frames are lost one by one."""
    command, options, per_message, sender = STREAMS[kind]
    before = counters(lab)
    start = lab.trace_file.stat().st_size
    lab.trace("frames")
    lab.cable("inject", cable="-".join(CABLE), what="drop", nth=losses(kind), **{"from": sender})
    words = f"{options} -n {FRAMES // per_message + 200}"
    with scenario.perftest(lab, command, words, timeout_exponent=TIMEOUT, seconds=SECONDS) as (
        client,
        server,
    ):
        client.wait(SECONDS).check()
        server.wait(SECONDS).check()
    lab.inject_off()
    lab.trace("control")
    found = recovery.read(traced(lab, start), WINDOW)
    spent = {name: value - before[name] for name, value in counters(lab).items()}
    return summary(found, spent)


@pytest.mark.parametrize("kind", STREAMS)
def test_a_lost_frame_costs_less_than_two_round_trips_and_no_timeout(lab: Lab, kind: str) -> None:
    for _ in range(ATTEMPTS):
        row = stream(lab, kind)
        say(f"{kind}: {row}")
        assert row["losses"] + row["others"] == LOSSES, row
        assert row["repeated"] == row["losses"] >= LOSSES * 3 // 4, row
        assert row["told"] >= 0.75 * row["repeated"], row
        assert row["timeouts"] == 0, row
        if row["median"] < 2:
            break
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"recovery-{kind}{'-long' if LONG else ''}.json"
    path.write_text(json.dumps(row | scenario.made_with(lab)), encoding="utf-8")
    assert row["median"] < 2, row


def summary(found: recovery.Recovery, spent: dict[str, int]) -> dict[str, Any]:
    """The figures of a stream."""
    trips = found.in_trips()
    frames = [loss.frames for loss in found.losses if loss.again is not None]
    return {
        "losses": len(found.losses),
        "others": found.other,
        "raw": sum(loss.raw for loss in found.losses),
        "repeated": len(trips),
        "told": sum(loss.told for loss in found.losses),
        "probed": sum(loss.probed for loss in found.losses),
        "median": round(statistics.median(trips), 2),
        "most": round(trips[-1], 2),
        "frames": statistics.median(frames),
        "trip_us": round(found.trip * 1e6),
        **spent,
    }
