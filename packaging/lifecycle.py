# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/lifecycle.md, from what `make test-lifecycle` saw.

Its tests leave build/results/lifecycle/*.json (tests/vm/lifefacts.py); gather() keeps the newest
of each in docs/data/lifecycle.json, the page is made from what is kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pages.kept import load, newest

TOP = Path(__file__).resolve().parents[1]
RESULTS = TOP / "build/results"
KEPT = TOP / "docs/data/lifecycle.json"
# In the order of the page, with what each test is about.
TITLES = {
    "fresh-hosts": "Fresh hosts: two commands, then upgrade, downgrade and purge under traffic",
    "kernel-upgrade": "A kernel upgrade",
    "chroot": "What dpkg does, with DKMS compiling at each step",
    "repository": "From the signed repository",
}

INTRODUCTION = """\
<!-- SPDX-License-Identifier: GPL-2.0-or-later -->
<!-- Made by `make docs-data` from docs/data/lifecycle.json, by packaging/lifecycle.py. -->
# The life of the packages

What `make test-lifecycle` did with the Debian packages, and how long each step took. Virtual hosts
run without KVM here, about ten times slower than the machine, and other work was going on beside
them: the times say what the steps are, not how fast your PC is. On a PC, `apt install` takes about
as long as in a root entered by chroot.

While packages are exchanged `rping` sends messages from the one host to the other; each test fails
if one is lost or if the link was interrupted. What `purge` leaves is compared file by file with a
root that never had the packages.
"""


def gather(kept: dict[str, Any], results: Path = RESULTS) -> dict[str, Any]:
    """What is kept, with newer results in place of older ones."""
    paths = sorted((results / "lifecycle").glob("*.json"))
    return newest(kept, {path.stem: load(path) for path in paths}, "date")


def duration(seconds: float | None) -> str:
    """For people."""
    if seconds is None:
        return ""
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


def page(kept: dict[str, Any]) -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    if not kept:
        parts.append("Nobody has run `make test-lifecycle` yet.\n")
    for name in sorted(kept, key=lambda name: [*TITLES, name].index(name)):
        data = kept[name]
        parts.append(
            f"\n## {TITLES.get(name, name)}\n\n"
            f"{data['where']}; version {data['version']}, {data['date']}.\n\n"
            "| what | time | |\n|---|---:|---|\n"
        )
        parts += [
            f"| {row['what']} | {duration(row['seconds'])} | {row['remark']} |\n"
            for row in data["rows"]
        ]
    return "".join(parts)
