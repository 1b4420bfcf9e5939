# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/kernels.md, from what `make dkms-matrix` found.

The matrix leaves build/results/dkms-matrix.json; gather() keeps that in docs/data/dkms-matrix.json,
the page is made from what is kept.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pages.kept import load

TOP = Path(__file__).resolve().parents[1]
RESULTS = TOP / "build/results"
KEPT = TOP / "docs/data/dkms-matrix.json"
# Where packages are asked for, see dkms_matrix.py.
RELEASES = ("bookworm", "trixie", "forky", "sid")

INTRODUCTION = """\
<!-- SPDX-License-Identifier: GPL-2.0-or-later -->
<!-- Made by `make docs-data` from docs/data/dkms-matrix.json, by packaging/kernels.py. -->
# Kernels

The module builds for Linux 6.12 and later. `make dkms-matrix` builds it by DKMS, each time in a
root of the Debian release with that release's own DKMS and compiler, for every kernel header
package for amd64 that Debian offers there: the release, its updates, its security updates and its
backports; for sid also experimental. Which packages there are is asked of apt.

This table is of {date}, driver {version}: {built} packages built, {excluded} refused, {failed}
failed. {complete}
Seconds are those of `dkms build` on {processors} processors with other work beside it.

A kernel that lacks what the driver needs is not an error: DKMS ends with "excluded", and an
upgrade goes on. dkms.conf asks for Linux 6.12 (`BUILD_EXCLUSIVE_KERNEL_MIN`, and
`BUILD_EXCLUSIVE_KERNEL` for the DKMS of Debian 12, which does not know the former) and for what
the kernel was configured with (`BUILD_EXCLUSIVE_CONFIG`). Debian's kernels for clouds have no
USB4. What DKMS says of a kernel that is too old:

    {message}
"""


def gather(kept: dict[str, Any], results: Path = RESULTS) -> dict[str, Any]:
    """What is kept, or the last run's table if that is newer."""
    found = load(results / "dkms-matrix.json")
    newer = bool(found.get("rows")) and found["date"] >= kept.get("date", "")
    return found if newer else kept


def complete(kept: dict[str, Any]) -> str:
    """Whether all that Debian offers was tried."""
    words = []
    for release in RELEASES:
        tried = sum(row["release"] == release for row in kept["rows"])
        offered = kept["offered"].get(release)
        if offered is None:
            words.append(f"{release} not yet")
        elif tried < offered:
            words.append(f"{release} {tried} of {offered}")
    if words:
        return f"**Not all were tried**: {', '.join(words)}; `make dkms-matrix` goes on there."
    return "That is all of them."


def version_key(version: str) -> tuple[int, ...]:
    """To sort by."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def page(kept: dict[str, Any]) -> str:
    """The whole page."""
    if not kept:
        return "# Kernels\n\nNobody has run `make dkms-matrix` yet.\n"
    rows = sorted(
        kept["rows"],
        key=lambda row: (version_key(row["kernel"]), row["kernel"], row["release"]),
        reverse=True,
    )
    counts = {
        name: sum(row["outcome"] == name for row in rows)
        for name in ("built", "excluded", "failed", "uninstallable")
    }
    old = next((row for row in rows if row["outcome"] == "excluded" and not row["missing"]), None)
    old = old or next((row for row in rows if row["outcome"] == "excluded"), None)
    text = INTRODUCTION.format(
        date=kept["date"],
        version=kept["version"],
        processors=kept["processors"],
        complete=complete(kept),
        message=old["note"] if old else "",
        built=counts["built"],
        excluded=counts["excluded"],
        failed=counts["failed"] + counts["uninstallable"],
    )
    lines = [
        "| kernel | package version | suite | compiler | DKMS | result | s |",
        "|---|---|---|---|---|---|---:|",
    ]
    lines += [
        f"| {row['kernel']} | {row['version']} | {row['suite']} | {row['compiler']}"
        f" | {row['dkms']} | {result(row)} | {row['seconds']} |"
        for row in rows
    ]
    return text + "\n" + "\n".join(lines) + "\n"


def result(row: dict[str, Any]) -> str:
    """What happened, for a cell."""
    if row["outcome"] != "excluded":
        note = row["note"].replace("|", "/")
        return row["outcome"] if row["outcome"] == "built" else f"{row['outcome']}: {note}"
    return f"excluded: no {row['missing'].replace(' ', ', ')}" if row["missing"] else "excluded"
