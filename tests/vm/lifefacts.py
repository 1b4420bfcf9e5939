# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes down what the tests of packages did and how long it took, for docs/ (`make docs-data`).

One file a test, in build/results/lifecycle/; a test that fails leaves none.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import versions

RESULTS = Path(__file__).resolve().parents[2] / "build/results/lifecycle"


class Facts:
    """What one test saw."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.rows: list[dict[str, object]] = []

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Time a step that ends well."""
        start = time.monotonic()
        yield
        self.add(what, time.monotonic() - start)

    def add(self, what: str, seconds: float | None = None, remark: str = "") -> None:
        """A step, and how long it took where that means something."""
        shown = None if seconds is None else round(seconds, 1)
        self.rows.append({"what": what, "seconds": shown, "remark": remark})
        print(f"  {what}: {'' if shown is None else f'{shown} s'} {remark}", flush=True)

    def write(self, name: str) -> None:
        """Keep it: the test went well."""
        RESULTS.mkdir(parents=True, exist_ok=True)
        data = {
            "where": self.where,
            "version": versions.current(),
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "rows": self.rows,
        }
        (RESULTS / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
