# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/compatibility.md, from what the tests in virtual machines recorded (`make docs-data`).

The tests leave build/results/compatibility/*.json (a list of rows each, see tests/vm/compat.py)
and build/results/soft-roce/*.json (what Soft-RoCE did, by area). gather() keeps that in
docs/data/compatibility.json; the page is made from what is kept, so that it can be made anywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[1]
RESULTS = TOP / "build/results"
KEPT = TOP / "docs/data/compatibility.json"
TESTS = TOP / "tests/vm"
# Areas in the order that a reader wants them; others follow by name.
ORDER = (
    "rdma-core",
    "rdma_cm",
    "perftest",
    "qperf",
    "libfabric",
    "UCX",
    "MPI",
    "PyTorch, MPI backend over UCX",
    "kernel storage",
)

INTRODUCTION = """\
<!-- SPDX-License-Identifier: GPL-2.0-or-later -->
<!-- Made by `make docs-data` from docs/data/compatibility.json, by packaging/compatibility.py. -->
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


def gather(kept: dict[str, Any], results: Path, tests: Path = TESTS) -> dict[str, Any]:
    """What is kept, with what the last runs recorded in its place. What a test said that is not
    there any more goes; what Soft-RoCE did stays until it is asked anew."""
    found: dict[str, Any] = dict(kept.get("tests", {}))
    for path in (results / "compatibility").glob("*.json"):
        date = datetime.fromtimestamp(path.stat().st_mtime, UTC).date().isoformat()
        rows = json.loads(path.read_text(encoding="utf-8"))
        found[path.stem] = {"date": date, "rows": rows}
    soft_roce: dict[str, dict[str, str]] = {
        area: dict(known) for area, known in kept.get("soft-roce", {}).items()
    }
    for path in (results / "soft-roce").glob("*.json"):
        soft_roce.setdefault(path.stem, {}).update(json.loads(path.read_text(encoding="utf-8")))
    there = {name: found[name] for name in sorted(found) if is_there(name, tests)}
    return {
        "driver": driver_version(),
        "tests": there,
        "soft-roce": {area: soft_roce[area] for area in sorted(soft_roce)},
    }


def is_there(name: str, tests: Path = TESTS) -> bool:
    """Whether the test is still there whose rows are kept as MODULE.TEST[-PARAMETERS-].KERNEL."""
    module, _, rest = name.partition(".")
    path = tests / f"{module}.py"
    test = re.match(r"\w+", rest)
    return (
        path.is_file()
        and test is not None
        and f"def {test[0]}(" in path.read_text(encoding="utf-8")
    )


def collect(kept: dict[str, Any]) -> list[Line]:
    """All lines in order. Rows that differ by the kernel alone are one line."""
    soft_roce = {
        (area, how): verdict
        for area, known in kept["soft-roce"].items()
        for how, verdict in known.items()
    }
    lines: dict[tuple[str, str, bool, str], Line] = {}
    for one in kept["tests"].values():
        for row in one["rows"]:
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


def summary(lines: list[Line]) -> list[str]:
    """A table with a line for each area."""
    rows = []
    for area in dict.fromkeys(line.area for line in lines):
        own = [line for line in lines if line.area == area]
        compared = [line for line in own if line.soft_roce]
        as_well = sum(works(line.soft_roce) for line in compared)
        counts = (len(own), sum(line.works for line in own), sum(not line.works for line in own))
        rows.append((area, *map(str, counts), f"{as_well} of {len(compared)}" if compared else ""))
    return table(("area", "rows", "work", "do not", "work on Soft-RoCE"), rows)


def outline(kept: dict[str, Any]) -> str:
    """The summary alone, for another page."""
    return "\n".join(summary(collect(kept)))


def render(lines: list[Line], version: str, date: str) -> str:
    """The whole page."""
    kernels = {kernel for line in lines for kernel in line.kernels}
    areas = list(dict.fromkeys(line.area for line in lines))
    page = [INTRODUCTION.format(version=version, kernels=listed(kernels), date=date)]
    page += [*summary(lines), "", "## What does not work, and why", ""]
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


def dates(kept: dict[str, Any]) -> str:
    """The days of the results that are kept: the first and the last."""
    days = sorted({one["date"] for one in kept["tests"].values()})
    return days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"


def page(kept: dict[str, Any]) -> str:
    """docs/compatibility.md."""
    return render(collect(kept), kept["driver"], dates(kept))


def load(path: Path = KEPT) -> dict[str, Any]:
    """What is kept; empty at first."""
    found: dict[str, Any] = {"driver": "", "tests": {}, "soft-roce": {}}
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
    return found


def save(kept: dict[str, Any], path: Path = KEPT) -> None:
    """Keep it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
