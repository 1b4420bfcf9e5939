# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/faults.md, from what `make faults` recorded (`make docs-data`).

The long forms of tests/vm/test_faults.py and test_recovery.py leave
build/results/faults/*-long.json.
gather() keeps that in docs/data/faults.json; the page is made from what is kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pages.kept import load
from pages.tables import table

TOP = Path(__file__).resolve().parents[1]
KEPT = TOP / "docs/data/faults.json"
KINDS = {
    "send": "SEND", "write": "WRITE", "read": "READ", "atomic": "atomic",
    "datagram": "UD", "net": "netdev",
}  # fmt: skip

INTRODUCTION = """\
<!-- SPDX-License-Identifier: GPL-2.0-or-later -->
<!-- Made by `make docs-data` from docs/data/faults.json, by packaging/faults.py. -->
# Traffic on a cable that fails

Each row is a kind of traffic between two hosts while the virtual cable does something to some of
its frames, in both directions (`make faults`). Bytes are compared, operations counted; a row is in
the table because nothing differed, nothing hung and all operations of reliable connections ended
well. Times are those of emulated processors and say only that nothing waited for long; frames are
those of both directions. What each fault does to a frame: `tests/vcable/README.md`.
"""

RECOVERY = """\
## One lost frame

A frame is lost in the middle of a stream, again and again, each time alone. The cable's trace says
when it was lost, when the same data passed again, and how long an undisturbed round trip takes
at that load; the first divided by the second is the recovery. "Told" are those that the receiver
asked for again (by a sequence NAK, or for a READ by a request for the rest) before they were
repeated. Lost frames that carry no data (confirmations of runs, credits) cost nothing and are not
counted. Timeouts and probes are the hardware counters of both hosts.
"""


def gather(kept: dict[str, Any], results: Path) -> dict[str, Any]:
    """What is kept, with what the last long runs recorded in its place."""
    found = {part: dict(kept.get(part, {})) for part in ("matrix", "recovery")}
    for path in sorted((results / "faults").glob("*-long.json")):
        part, name, _ = path.stem.split("-")
        found[part][name] = load(path)
    return found


def made_by(result: dict[str, Any]) -> str:
    """With what, and when."""
    return f"Driver {result['driver']}, kernel {result['kernel']}, {result['day']}."


def matrix(result: dict[str, Any]) -> str:
    """The table of one rate: a line for each fault, a column for each kind of traffic."""
    faults = list(dict.fromkeys(row["fault"] for row in result["rows"]))
    cells = {
        (row["fault"], row["kind"]): (
            f"{row['operations']} ops, {row['hit']} of {row['frames']} frames, {row['seconds']} s"
            if row["good"]
            else "**failed**"
        )
        for row in result["rows"]
    }
    head = ("fault", *KINDS.values())
    body = [(fault, *(cells.get((fault, kind), "") for kind in KINDS)) for fault in faults]
    spent = ", ".join(f"{value} {name}" for name, value in sorted(result["counters"].items()))
    return f"{table(head, body)}\n\nOn both hosts, all rows together: {spent}. {made_by(result)}"


def recovery(results: dict[str, Any]) -> str:
    """The table of recoveries."""
    head = (
        "stream", "frames lost", "told", "timeouts", "probes",
        "median recovery, round trips", "longest", "frames between", "round trip, us",
    )  # fmt: skip
    body = [
        (
            KINDS[kind],
            *(str(results[kind][key]) for key in ("losses", "told", "timeouts", "probes")),
            *(str(results[kind][key]) for key in ("median", "most", "frames", "trip_us")),
        )
        for kind in KINDS
        if kind in results
    ]
    first = next(iter(results.values()))
    return f"{table(head, body, right=range(1, len(head)))}\n\n{made_by(first)}"


def page(kept: dict[str, Any]) -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for rate, result in sorted(kept.get("matrix", {}).items(), key=lambda item: int(item[0])):
        parts += [f"## One frame in {rate}\n", matrix(result), ""]
    if kept.get("recovery"):
        parts += [RECOVERY, recovery(kept["recovery"]), ""]
    return "\n".join(parts).rstrip() + "\n"
