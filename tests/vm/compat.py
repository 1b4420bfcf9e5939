# SPDX-License-Identifier: GPL-2.0-or-later
"""What real programs did on the device, as the tests saw it: the source of docs/compatibility.md.

Each test that runs a program says so here; `make docs-data` makes the table from what the last
run of each test recorded. A program that does not work is a row too, with the reason.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[2] / "build/results/compatibility"
# What Soft-RoCE did is seldom asked, so it outlives the results of our own runs.
SOFT_ROCE = RESULTS.parent / "soft-roce"


@dataclass(frozen=True)
class Row:
    """One program and how it was run. `soft_roce` is what the same command did on Soft-RoCE in
    the same hosts: "works", "fails", or "" when that was not run."""

    area: str
    how: str
    works: bool
    kernel: str
    note: str = ""
    soft_roce: str = ""


class Compatibility:
    """The rows of one test; written to a file of its own when the test ends."""

    def __init__(self, test: str, kernel: str, folder: Path = RESULTS) -> None:
        # A run on another kernel adds its rows and does not replace these.
        self.path = folder / f"{test}.{'.'.join(kernel.split('.')[:2])}.json"
        self.kernel = kernel
        self.rows: list[Row] = []

    def works(self, area: str, how: str, note: str = "", soft_roce: str = "") -> None:
        """The program did its work; say so after it was checked."""
        self.rows.append(Row(area, how, True, self.kernel, note, soft_roce))

    def fails(self, area: str, how: str, reason: str, soft_roce: str = "") -> None:
        """The program does not work, and why: what is missing, and where."""
        self.rows.append(Row(area, how, False, self.kernel, reason, soft_roce))

    def write(self) -> None:
        """Replace what an earlier run of this test recorded."""
        if self.rows:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps([asdict(row) for row in self.rows], indent=1)
            self.path.write_text(text + "\n", encoding="utf-8")


def remember_soft_roce(area: str, verdicts: dict[str, str], folder: Path = SOFT_ROCE) -> None:
    """What Soft-RoCE did with rows of an area ("works", "fails", ...), by how they were run; adds
    to what is known."""
    path = folder / f"{area}.json"
    known: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(known | verdicts, indent=1) + "\n", encoding="utf-8")
