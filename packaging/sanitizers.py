# SPDX-License-Identifier: GPL-2.0-or-later
"""Which tests passed on the sanitizer kernel: a part of docs/reliability.md.

`make test-debug` leaves build/results/sanitizers/*.json (tests/vm/sanitized.py); gather() keeps the
newest of each file of tests in docs/data/sanitizers.json.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pages.tables import code, table

TOP = Path(__file__).resolve().parents[1]
KEPT = TOP / "docs/data/sanitizers.json"


def load(path: Path = KEPT) -> dict[str, Any]:
    """What is kept, by file of tests; {} if there is nothing."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def save(kept: dict[str, Any], path: Path = KEPT) -> None:
    """Keep it."""
    path.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def gather(kept: dict[str, Any], results: Path) -> dict[str, Any]:
    """What is kept, with newer results in place of older ones."""
    merged = dict(kept)
    for path in sorted((results / "sanitizers").glob("*.json")):
        found = load(path)
        if found["day"] >= merged.get(path.stem, {}).get("day", ""):
            merged[path.stem] = found
    return merged


def part(kept: dict[str, Any]) -> str:
    """The table: what ran, what failed."""
    body = [
        (
            code(f"{file}.py"),
            str(result["ran"]),
            ", ".join(map(code, result["failed"])) or "none",
            f"{result['driver']}, {result['day']}",
        )
        for file, result in sorted(kept.items())
    ]
    made = table(("tests", "ran", "failed", "driver"), body, right=(1,))
    kernels = sorted({result["kernel"] for result in kept.values()})
    return f"{made}\n\nKernel {', '.join(kernels)}." if kept else "Not recorded yet."
