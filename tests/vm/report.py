# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables that long tests leave in build/results."""

from __future__ import annotations

from pathlib import Path

from lab.progress import say

RESULTS = Path(__file__).resolve().parents[2] / "build/results"


def report(name: str, lines: list[str]) -> None:
    """Keep a table under this name, and show it."""
    text = "\n".join(lines)
    say(text)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / name).write_text(text + "\n", encoding="utf-8")
