#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Make docs/compatibility.md from what the tests in virtual machines recorded (`make docs-data`).

Reads build/results/compatibility/*.json (a list of rows each, see tests/vm/compat.py) and
build/results/soft-roce/*.json (what Soft-RoCE did, by area). Writes nothing if there are no rows.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
RESULTS = TOP / "build/results"
OUTPUT = TOP / "docs/compatibility.md"
# Areas in the order that a reader wants them; others follow by name.
ORDER = (
    "rdma-core tests",
    "rdma-core",
    "rdma_cm",
    "perftest",
    "qperf",
    "libfabric",
    "mpi",
    "storage",
)

INTRODUCTION = """\
<!-- SPDX-License-Identifier: GPL-2.0-or-later -->
<!-- Made by `make docs-data` from test results: edit packaging/compatibility.py instead. -->
# What works

Every row is a program that a test ran between two hosts on the virtual cable, as the test left
it: driver {version}, kernel {kernels}, results of {date}. A row "works" if all that ran ended
well, and where the program can check the data, it did. A row that does not work has the reason;
the test fails when such a row begins to work, or fails in another way.

The column Soft-RoCE says what the same command did on Soft-RoCE (`rdma_rxe`) over the Ethernet of
the same hosts; it is empty where nobody ran that. Programs are those of Debian 13 (rdma-core 56.1,
perftest 25.01, libfabric 2.1, qperf 0.4.11), without any change, with stock libibverbs. Figures
that they print mean nothing on emulated processors and are not recorded.
"""


@dataclass
class Line:
    """A row of the table: one program, what it did, on which kernels."""

    area: str
    how: str
    works: bool
    remark: str = ""
    soft_roce: str = ""
    kernels: set[str] = field(default_factory=set)


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key by which "-q 4" stands before "-q 16", and digits before letters."""
    parts = re.findall(r"\d+|\D+", text)
    return tuple((0, int(p), "") if p.isdigit() else (1, 0, p.casefold()) for p in parts)


def place(line: Line) -> tuple[object, ...]:
    """Where a line stands among all; the same for the same lines in whatever order they came."""
    area = ORDER.index(line.area) if line.area in ORDER else len(ORDER)
    return (area, line.area, natural(line.how), line.how, line.works, line.remark)


def collect(results: Path) -> list[Line]:
    """All lines in order. Rows that differ by the kernel alone are one line."""
    soft_roce: dict[tuple[str, str], str] = {}
    for path in sorted((results / "soft-roce").glob("*.json")):
        known: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
        soft_roce |= {(path.stem, how): verdict for how, verdict in known.items()}
    lines: dict[tuple[str, str, bool, str], Line] = {}
    for path in sorted((results / "compatibility").glob("*.json")):
        for row in json.loads(path.read_text(encoding="utf-8")):
            area, how, works, note = row["area"], row["how"], row["works"], row.get("note", "")
            line = lines.setdefault((area, how, works, note), Line(area, how, works, note))
            line.kernels.add(short(row["kernel"]))
            line.soft_roce = (
                row.get("soft_roce") or line.soft_roce or soft_roce.get((area, how), "")
            )
    return sorted(lines.values(), key=place)


def short(kernel: str) -> str:
    """ "7.2" of "7.2.13+deb13-amd64"; a distribution's suffix says nothing to a reader."""
    match = re.match(r"\d+\.\d+", kernel)
    return match[0] if match else kernel


def listed(kernels: Iterable[str]) -> str:
    """Kernel versions, the oldest first."""
    return ", ".join(sorted(kernels, key=natural))


def cell(text: str) -> str:
    """Text that fits into one cell of a table."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")


def code(text: str) -> str:
    """A command in a cell, in code style, whatever is in it."""
    return f"`{' '.join(text.split()).replace('|', chr(92) + '|').replace('`', chr(39))}`"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """A Markdown table."""
    return [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]


def works(verdict: str) -> bool:
    """Whether Soft-RoCE did it: "works", or some of a module's tests, as in "7 of 9, 2 skipped"."""
    return verdict == "works" or bool(re.match(r"[1-9]\d* of ", verdict))


def render(lines: list[Line], version: str, date: str) -> str:
    """The whole page."""
    kernels = {kernel for line in lines for kernel in line.kernels}
    areas = list(dict.fromkeys(line.area for line in lines))
    page = [INTRODUCTION.format(version=version, kernels=listed(kernels), date=date)]
    summary = []
    for area in areas:
        own = [line for line in lines if line.area == area]
        compared = [line for line in own if line.soft_roce]
        as_well = sum(works(line.soft_roce) for line in compared)
        counts = (len(own), sum(line.works for line in own), sum(not line.works for line in own))
        summary.append(
            (area, *map(str, counts), f"{as_well} of {len(compared)}" if compared else "")
        )
    head = ("area", "rows", "work", "do not", "work on Soft-RoCE")
    page += [*table(head, summary), "", "## What does not work, and why", ""]
    failing = [line for line in lines if not line.works]
    page += table(
        ("area", "program and options", "Soft-RoCE", "kernel", "reason"),
        (
            (line.area, code(line.how), line.soft_roce, listed(line.kernels), cell(line.remark))
            for line in failing
        ),
    )
    for area in areas:
        page += ["", f"## {area}", ""]
        page += table(
            ("program and options", "usb4rdma", "Soft-RoCE", "kernel", "remark"),
            (
                (
                    code(line.how),
                    "works" if line.works else "does not work",
                    line.soft_roce,
                    listed(line.kernels),
                    cell(line.remark) if line.works else "see above",
                )
                for line in lines
                if line.area == area
            ),
        )
    return "\n".join(page) + "\n"


def driver_version(header: Path = TOP / "driver/verbs/verbs.h") -> str:
    """What modinfo says: MODULE_VERSION of driver/main.c."""
    match = re.search(r'#define U4_FW_VERSION\s+"([^"]+)"', header.read_text(encoding="utf-8"))
    if match is None:
        raise SystemExit(f"{header} has no U4_FW_VERSION")
    return match[1]


def last_result(results: Path) -> str:
    """The day of the newest result, in UTC."""
    newest = max(path.stat().st_mtime for path in (results / "compatibility").glob("*.json"))
    return datetime.fromtimestamp(newest, UTC).date().isoformat()


def main() -> int:
    """Write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    lines = collect(options.results)
    if not lines:
        print(f"no results in {options.results}: `make test-vm` makes them", file=sys.stderr)
        return 1
    text = render(lines, driver_version(), last_result(options.results))
    options.output.write_text(text, encoding="utf-8")
    print(f"{options.output}: {len(lines)} rows, {sum(not line.works for line in lines)} failing")
    return 0


if __name__ == "__main__":
    sys.exit(main())
