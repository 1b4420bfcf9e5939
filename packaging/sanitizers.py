# SPDX-License-Identifier: GPL-2.0-or-later
"""Which tests passed on the sanitizer kernels: a part of docs/reliability.md.

`make test-debug` leaves build/results/sanitizers/*.json (tests/vm/sanitized.py); gather() keeps the
newest of each file of tests and kernel in docs/data/sanitizers.json.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pages.kept import load, newest
from pages.tables import code, table

TOP = Path(__file__).resolve().parents[1]
KEPT = TOP / "docs/data/sanitizers.json"


def gather(kept: dict[str, Any], results: Path) -> dict[str, Any]:
    """What is kept, with newer results in place of older ones."""
    paths = sorted((results / "sanitizers").glob("*.json"))
    return newest(kept, {path.stem: load(path) for path in paths}, "day")


def part(kept: dict[str, Any]) -> str:
    """The table: what ran, what failed."""
    body = []
    for name, result in sorted(kept.items()):
        file, _, label = name.partition("@")
        failed = ", ".join(map(code, result["failed"])) or "none"
        made_with = f"{result['driver']}, {result['day']}"
        body.append((code(f"{file}.py"), label, str(result["ran"]), failed, made_with))
    made = table(("tests", "kernel", "ran", "failed", "driver"), body, right=(2,))
    kernels = sorted({result["kernel"] for result in kept.values()})
    return f"{made}\n\nKernels: {', '.join(kernels)}." if kept else "Not recorded yet."
