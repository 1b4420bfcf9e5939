# SPDX-License-Identifier: GPL-2.0-or-later
"""`make docs-data`: gather what tests recorded, make every made page and part of docs/ anew."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import compatibility
import faults
import kernels
import lifecycle
import sanitizers
import unplugged

from . import build
from .kept import load, save


def main() -> int:
    """Write what has changed, and say which; with --check only say, and fail if there is any."""
    parser = argparse.ArgumentParser(prog="pages", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing")
    parser.add_argument("--results", type=Path, default=compatibility.RESULTS)
    options = parser.parse_args()
    if not options.check:
        kept = compatibility.load()
        gathered = compatibility.gather(kept, options.results)
        if gathered["tests"] != kept["tests"] or gathered["soft-roce"] != kept["soft-roce"]:
            compatibility.save(gathered)
            print(f"{compatibility.KEPT.relative_to(build.TOP)}: gathered")
        for part in (faults, kernels, lifecycle, sanitizers, unplugged):
            before = load(part.KEPT)
            if (found := part.gather(before, options.results)) != before:
                save(found, part.KEPT)
                print(f"{part.KEPT.relative_to(build.TOP)}: gathered")
    changed = build.changed()
    for path, text in changed.items():
        print(f"{path.relative_to(build.TOP)}: {'is not up to date' if options.check else 'made'}")
        if not options.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return 1 if options.check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
