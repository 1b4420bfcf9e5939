# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables that long tests leave in build/results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import scenario
from lab.api import Lab
from lab.progress import say

RESULTS = Path(__file__).resolve().parents[2] / "build/results"


def report(name: str, lines: list[str]) -> None:
    """Keep a table under this name, and show it."""
    text = "\n".join(lines)
    say(text)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / name).write_text(text + "\n", encoding="utf-8")


def record(name: str, lab: Lab, result: dict[str, Any]) -> None:
    """Keep what docs/unplug.md says of this (packaging/unplugged.py), a file for each kernel."""
    made_with = scenario.made_with(lab)
    path = RESULTS / "unplug" / f"{name}-{made_with['kernel']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result | made_with, indent=1) + "\n", encoding="utf-8")
