# SPDX-License-Identifier: GPL-2.0-or-later
"""What tests recorded, as docs/data/ keeps it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def load(path: Path) -> dict[str, Any]:
    """What is there; {} if there is nothing."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def save(kept: dict[str, Any], path: Path) -> None:
    """Keep it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def newest(kept: dict[str, Any], found: dict[str, dict[str, Any]], day: str) -> dict[str, Any]:
    """What is kept, with what was found since in its place; `day` names when each is from."""
    newer = {
        name: result
        for name, result in found.items()
        if result[day] >= kept.get(name, {}).get(day, "")
    }
    return kept | newer
