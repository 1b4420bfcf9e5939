# SPDX-License-Identifier: GPL-2.0-or-later
"""Which tests ran on a sanitizer kernel and what came of them, for docs/reliability.md.

A file of tests has one file for each such kernel in build/results/sanitizers/, written anew by each
run that had tests of it; packaging/sanitizers.py makes the table.
"""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[2] / "build/results/sanitizers"


class Outcomes:
    """Of one run."""

    def __init__(self, folder: Path = RESULTS) -> None:
        self.folder = folder
        self.ran: defaultdict[str, set[str]] = defaultdict(set)
        self.failed: defaultdict[str, set[str]] = defaultdict(set)

    def note(self, test: str, when: str, outcome: str) -> None:
        """A part of a test (setup, call, teardown) has ended. What the sanitizers say fails its
        teardown, a leak that of the last one in its hosts."""
        file, _, name = test.partition("::")
        if outcome == "failed":
            self.failed[Path(file).name].add(name)
        if when == "call" and outcome != "skipped":
            self.ran[Path(file).name].add(name)

    def write(self, driver: str, label: str, kernel: str) -> None:
        """Keep it. `label` is what the lab calls the kernel, "debug" or "kcsan"."""
        for file in {*self.ran, *self.failed}:
            result = {
                "ran": len(self.ran[file]),
                "failed": sorted(self.failed[file]),
                "driver": driver,
                "kernel": kernel,
                "day": datetime.now(UTC).date().isoformat(),
            }
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f"{Path(file).stem}@{label}.json"
            path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
