# SPDX-License-Identifier: GPL-2.0-or-later
"""The tables of docs/unplug.md are made of what the tests recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import unplugged

MADE = {"driver": "0.1.0", "kernel": "7.2.12+deb13-amd64", "day": "2026-11-22"}


def flow(end: str, after: float | None, operations: int = 7) -> dict[str, Any]:
    return {"end": end, "after": after, "operations": operations}


FLOWS = {
    "SEND": flow("flushed", 1.2),
    "WRITE": flow("refused: EIO", 1.94),
    "READ": flow("flushed", 0.1),
    "atomic": flow("flushed", 0.2),
    "datagram": flow("goes on", None),
    "net": flow("ETIMEDOUT", 8.6),
}
SIDE = {"flows": FLOWS, "heard": ["port error", "port active (2)"]}
MATRIX = {"rows": [{"event": "cable pulled", "hosts": {"b": SIDE, "a": SIDE}}], **MADE}


def write(folder: Path, name: str, result: dict[str, Any]) -> None:
    path = folder / "unplug" / f"{name}-{result['kernel']}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result))


def test_results_of_the_usual_kernel_are_kept_and_no_others(tmp_path: Path) -> None:
    old = {"seconds": 1, **MADE, "day": "2026-11-20"}
    newer = {"seconds": 2, **MADE, "day": "2026-12-01"}
    write(tmp_path, "matrix", MATRIX)
    write(tmp_path, "matrix", MATRIX | {"kernel": "6.12.107+deb13-amd64"})
    write(tmp_path, "server", {"seconds": 3, **MADE})
    write(tmp_path, "storage", {"rows": [], **MADE, "kernel": "7.2.12-usb4rdma-debug"})
    assert unplugged.gather({"server": old}, tmp_path) == {
        "matrix": MATRIX,
        "server": {"seconds": 3, **MADE},
    }
    assert unplugged.gather({"server": newer}, tmp_path)["server"] == newer


def test_an_event_has_a_line_for_each_host() -> None:
    lines = unplugged.matrix(MATRIX).splitlines()
    ends = (
        "flushed or refused: EIO, 1.9 s | goes on | ETIMEDOUT, 8.6 s | port error, port active (2)"
    )
    assert lines[2] == f"| cable pulled | a | {ends} |"
    assert lines[3] == f"|  | b | {ends} |"
    assert lines[-1] == "Driver 0.1.0, Linux 7.2.12+deb13-amd64, 2026-11-22."


def test_storage_cycles_and_soak_are_told_whole() -> None:
    nfs = {"end": "goes on", "after": 27.2}
    work = {"nvme": {"end": "error", "after": 7.4}, "nfs3": nfs, "nfs4": nfs}
    told = unplugged.storage({"rows": [{"event": "rmmod usb4_rdma", "work": work}], **MADE})
    assert "| rmmod usb4_rdma | error, 7 s | goes on, 27 s | goes on, 27 s |" in told
    plugs = {"number": 200, "seconds": 3026, "memory": {"b": -300, "a": 20}, **MADE}
    told = unplugged.cycles({"plug-cycles": plugs | {"hosts": {"a": SIDE, "b": SIDE}}})
    assert "| 200 plug cycles | 3,026 s | 84 operations | a +20 KiB, b -300 KiB |" in told
    soak = {"minutes": 60.0, "seed": "5", "chapters": 9, "done": {"replug": 12}}
    soak |= {
        "operations": {"SEND": 70000, "READ": 5},
        "latency_us": [900, 1000],
        "memory": {"a": 1},
    }
    told = unplugged.soak(soak | MADE)
    assert "| time | 60 minutes, seed 5 |" in told
    assert "| compared | READ: 5; SEND: 70,000 |" in told
    assert "900 us before, 1,000 us after" in told


def test_nothing_kept_is_said() -> None:
    assert set(unplugged.parts({}).values()) == {"Not recorded yet."}
