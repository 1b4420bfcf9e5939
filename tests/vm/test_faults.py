# SPDX-License-Identifier: GPL-2.0-or-later
"""The fault matrix: each kind of traffic on a cable that fails in each way.

`make test` runs the frequent faults (one frame in 50); `make faults` the rare ones as well, with
more operations. Data is compared byte for byte, operations are counted; nothing may hang.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import scenario
from lab.api import Lab, Process
from lab.patience import patient
from lab.progress import say
from scenario import DEVICE, gid_of, program, rdma_address, until

LONG = bool(os.environ.get("USB4RDMA_LONG"))
SECONDS = 3400 if LONG else 1700
pytestmark = pytest.mark.timeout(SECONDS + 100)
CABLE = "a:1-b:1"
RESULTS = Path(__file__).resolve().parents[2] / "build/results/faults"
# What the cable does to a frame that is hit; more than one: all at once.
FAULTS: dict[str, list[dict[str, Any]]] = {
    "drop": [{"what": "drop"}],
    "CRC error": [{"what": "crc"}],
    "bit flip": [{"what": "flip"}],
    "duplicated interrupt": [{"what": "dupintr"}],
    "lost RX interrupt": [{"what": "nointr"}],
    "late TX completion": [{"what": "notxdone"}],
    "delay": [{"what": "delay", "us": 3000}],
    "all at once": [
        {"what": "drop"},
        {"what": "crc"},
        {"what": "flip"},
        {"what": "dupintr"},
        {"what": "nointr"},
        {"what": "notxdone"},
        {"what": "delay", "us": 1000},
    ],
}
RATES = (50, 1000) if LONG else (50,)
COUNTS = {"send": 30, "write": 30, "read": 30, "atomic": 60, "datagram": 80, "net": 512}
# Seconds that a queue pair waits without progress: 4.096 us * 2^18, about a second.
QP_TIMEOUT = 18


@pytest.fixture
def rounds(lab: Lab) -> Iterator[tuple[Process, Process]]:
    """Both sides of fault_rounds.py: (server on a, client on b)."""
    a, b = lab["a"], lab["b"]
    common = f"--device {DEVICE} --qps 2 --qp-timeout {QP_TIMEOUT} --large 0.1"
    common += f" --timeout {patient(280 if LONG else 150):.0f} --cable-address {rdma_address(a)}"
    path = program(a, "fault_rounds.py")
    with a.start(f"python3 {path} {common} --gid {gid_of(a)}", timeout=SECONDS) as server:
        server.wait_for("listening", 90)
        path = program(b, "fault_rounds.py")
        words = f"python3 {path} {common} --gid {gid_of(b)} {a.net_address}"
        with b.start(words, timeout=SECONDS) as client:
            yield server, client


def play(pair: tuple[Process, Process], line: str) -> list[dict[str, Any]]:
    """One round on both sides; their results."""
    before = [len(results(process)) for process in pair]
    for process in pair:
        process.write(line + "\n")

    def over() -> bool:
        for process in pair:
            if not process.running:
                raise scenario.ScenarioError(f"{line}: ended\n{process.out}{process.err}")
        return all(len(results(p)) > n for p, n in zip(pair, before, strict=True))

    until(f"both sides have finished {line}", 300, over)
    return [results(p)[n] for p, n in zip(pair, before, strict=True)]


def results(process: Process) -> list[dict[str, Any]]:
    """The JSON lines that a side has printed."""
    return [json.loads(text) for text in process.out.splitlines() if text.startswith("{")]


def counters(lab: Lab, host: str) -> dict[str, int]:
    """The device's hardware counters."""
    path = f"/sys/class/infiniband/{DEVICE}/ports/1/hw_counters"
    shown = lab[host].run(f"cd {path} && grep . retries timeouts probes", check=True).out
    return {name: int(value) for name, value in (line.split(":") for line in shown.splitlines())}


@pytest.mark.parametrize("rate", RATES, ids=lambda rate: f"one-in-{rate}")
def test_no_fault_costs_a_byte_or_hangs(
    lab: Lab, rounds: tuple[Process, Process], rate: int
) -> None:
    wrong, rows = [], []
    before = {host: counters(lab, host) for host in lab.hosts}
    factor = 10 if rate > 50 else 1
    for fault, impairments in FAULTS.items():
        for kind, count in COUNTS.items():
            lab.cable("reset_stat")
            for seed, impairment in enumerate(impairments):
                lab.inject(CABLE, rate=1 / rate, seed=seed, **impairment)
            sides = play(rounds, f"{kind} {count * factor} {kind}-{rate}")
            stat = lab.stat()["cables"][CABLE]["from"].values()
            lab.inject_off()
            frames = sum(end["frames"] for end in stat)
            hit = sum(sum(end["injected"].values()) for end in stat)
            rows.append({
                "fault": fault, "kind": kind,
                "operations": sum(side["operations"] for side in sides),
                "frames": frames, "hit": hit,
                "seconds": max(side["seconds"] for side in sides),
                "good": all(side["good"] for side in sides),
            })  # fmt: skip
            for side in sides:
                if not side["good"]:
                    wrong.append(f"{fault}, {kind}: {side}")
    spent = {
        name: sum(counters(lab, host)[name] - before[host][name] for host in lab.hosts)
        for name in before["a"]
    }
    text = "\n".join(
        f"{r['fault']:20} {r['kind']:9} {r['operations']:6} {r['frames']:7} {r['hit']:6} "
        f"{r['seconds']:6.1f} s"
        for r in rows
    )
    say(f"one frame in {rate}; fault, kind, operations, frames, hit, time\n{text}\n{spent}")
    RESULTS.mkdir(parents=True, exist_ok=True)
    result = {"rate": rate, "rows": rows, "counters": spent, **scenario.made_with(lab)}
    path = RESULTS / f"matrix-{rate}{'-long' if LONG else ''}.json"
    path.write_text(json.dumps(result), encoding="utf-8")
    assert not wrong, "\n".join(wrong)
