# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything in docs/ that is made, as texts by path. Reads; writes nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
for folder in (TOP, TOP / "tests", TOP / "packaging"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))

import compatibility  # noqa: E402
import faults  # noqa: E402
import kernels  # noqa: E402
import lifecycle  # noqa: E402
import sanitizers  # noqa: E402
import unplugged  # noqa: E402
from bench import registration  # noqa: E402

from . import figures, limits, markers, pictures, reference  # noqa: E402
from .kept import load  # noqa: E402

DOCS = TOP / "docs"


def pages() -> list[Path]:
    """The pages with hand-written text that may have made parts."""
    return [TOP / "README.md", *sorted(DOCS.rglob("*.md"))]


def whole() -> dict[Path, str]:
    """Pages and pictures that are made as a whole."""
    bench = DOCS / "bench"
    counts = figures.Counts(json.loads((bench / "counts.json").read_text(encoding="utf-8")))
    raw = json.loads((bench / "mr-registration.json").read_text(encoding="utf-8"))
    manual = (DOCS / "man/usb4rdmad.toml.5").read_text(encoding="utf-8")
    return {
        DOCS / "compatibility.md": compatibility.page(compatibility.load()),
        DOCS / "faults.md": faults.page(load(faults.KEPT)),
        DOCS / "kernels.md": kernels.page(load(kernels.KEPT)),
        DOCS / "lifecycle.md": lifecycle.page(load(lifecycle.KEPT)),
        bench / "counts.md": counts.page(),
        bench / "mr-registration.md": registration.page(raw),
        DOCS / "reference/usb4rdmactl.md": reference.tool(),
        DOCS / "reference/dbus.md": reference.bus(),
        DOCS / "reference/configuration.md": reference.configuration(manual),
        DOCS / "images/architecture.svg": pictures.architecture(),
        DOCS / "images/costs.svg": pictures.costs(counts),
    }


def parts() -> dict[str, str]:
    """Parts of hand-written pages, by name."""
    return {
        **figures.parts(DOCS / "bench"),
        "limits": limits.limits(),
        "reasons": reference.reasons(),
        "sanitizers": sanitizers.part(load(sanitizers.KEPT)),
        **unplugged.parts(load(unplugged.KEPT)),
        "programs": compatibility.outline(compatibility.load()),
    }


def made() -> dict[Path, str]:
    """All of it: made pages, and pages with their made parts."""
    found = whole()
    known = parts()
    for path in pages():
        if path not in found and "<!-- made: " in (text := path.read_text(encoding="utf-8")):
            found[path] = markers.fill(text, known)
    return found


def changed() -> dict[Path, str]:
    """What would be another text than is there."""
    return {
        path: text
        for path, text in made().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    }
