# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/faults.md is what the long fault runs recorded."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[3] / "packaging"))

import faults

MADE = {"driver": "1.2", "kernel": "7.2.0", "day": "2030-01-02"}


def row(fault: str, kind: str, good: bool = True) -> dict[str, Any]:
    """A row of the matrix."""
    known = {"fault": fault, "kind": kind, "good": good}
    return known | {"operations": 9, "frames": 100, "hit": 2, "seconds": 1.5}


def test_the_newest_long_run_takes_the_place_of_what_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "faults"
    folder.mkdir()
    new = {"rate": 50, "rows": [], "counters": {}, **MADE}
    (folder / "matrix-50-long.json").write_text(json.dumps(new))
    (folder / "matrix-1000.json").write_text("{}")
    kept = {"matrix": {"50": {}, "1000": {"old": 1}}, "recovery": {"send": {}}}
    found = faults.gather(kept, tmp_path)
    assert found == {"matrix": {"50": new, "1000": {"old": 1}}, "recovery": {"send": {}}}


def test_the_page_has_a_line_for_each_fault_and_says_what_failed_and_when() -> None:
    rows = [row("drop", "send"), row("drop", "net", good=False), row("delay", "send")]
    result = {"rate": 50, "rows": rows, "counters": {"timeouts": 3}, **MADE}
    figures = {"losses": 5, "told": 5, "timeouts": 0, "probes": 0, "median": 1.2, "most": 3.0}
    stream = {**figures, "frames": 7, "trip_us": 900, **MADE}
    text = faults.page({"matrix": {"50": result}, "recovery": {"write": stream}})
    assert "| drop | 9 ops, 2 of 100 frames, 1.5 s |  |  |  |  | **failed** |" in text
    assert "| delay | 9 ops" in text
    assert "3 timeouts. Driver 1.2, kernel 7.2.0, 2030-01-02." in text
    assert "| WRITE | 5 | 5 | 0 | 0 | 1.2 | 3.0 | 7 | 900 |" in text
