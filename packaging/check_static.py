#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Look over driver/ with Coccinelle and all semantic patches of the kernel that can report.

The patches are those of Debian's kernel source; sparse runs in the strict builds of `make lint`.
A finding is an error, unless JUSTIFIED says why it stays.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / "tests"))

from lab import cache, roots  # noqa: E402
from lab.debug_kernel import BASE, SOURCE  # noqa: E402
from lab.errors import LabError  # noqa: E402
from lab.progress import say  # noqa: E402

DRIVER = TOP / "driver"
SECONDS = 900
# Patch, text of a finding, why it stays.
JUSTIFIED: tuple[tuple[str, str, str], ...] = (
    (
        "locks-mini_lock",
        "driver/verbs/send.c",
        "u4_post_kernel() takes and drops the lock under the same condition, read once",
    ),
    (
        "misc-minmax",
        "driver/net/net_frame.h",
        "user space compiles this header, and has no min()",
    ),
)


def patches() -> Path:
    """The folder scripts/coccinelle of the kernel's source, in the cache."""
    root = roots.ensure(SOURCE)

    def unpack(target: Path) -> None:
        target.mkdir()
        packed = root / f"usr/src/linux-source-{BASE}.tar.xz"
        with packed.open("rb") as stream, tarfile.open(fileobj=stream, mode="r|xz") as archive:
            for member in archive:
                if "/scripts/coccinelle/" in member.name and member.name.endswith(".cocci"):
                    data = archive.extractfile(member)
                    assert data is not None
                    name = member.name.split("/scripts/coccinelle/")[1]
                    (target / name.replace("/", "-")).write_bytes(data.read())

    return cache.ensure("coccinelle", BASE, [root.name], unpack)


def can_report(patch: Path) -> bool:
    """Whether it has a mode that reports, and needs no compiler of OCaml."""
    text = patch.read_text(encoding="utf-8")
    return bool(re.search(r"^virtual .*\breport\b", text, re.M)) and ":ocaml" not in text


def findings(patch: Path) -> list[str]:
    """Lines that a patch reports. RuntimeError if it could not be applied."""
    text = patch.read_text(encoding="utf-8")
    options = re.findall(r"^///? Options:(.*)$", text, re.M)
    words = ["spatch", "-D", "report", "--very-quiet", "--cocci-file", str(patch)]
    words += [*shlex.split(" ".join(options)), "--dir", str(DRIVER)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{patch.name}: {done.stderr.strip()[-1000:]}")
    lines = [line for line in done.stdout.splitlines() if re.match(r"\S+\.[ch]:\d+", line)]
    return [line.replace(f"{DRIVER}/", "driver/") for line in lines]


def main() -> int:
    """Entry point of `make static`: 0 when nothing is found."""
    if shutil.which("spatch") is None:
        sys.exit("static: spatch is missing: make bootstrap installs it (Debian: coccinelle)")
    every = sorted(patches().iterdir())
    chosen = [patch for patch in every if can_report(patch)]
    say(f"coccinelle: {len(chosen)} of the {len(every)} patches of Linux {BASE} can report")
    bad = 0
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for patch, found in zip(chosen, pool.map(findings, chosen), strict=True):
            for line in found:
                if any(patch.stem.endswith(name) and words in line for name, words, _ in JUSTIFIED):
                    continue
                print(f"{patch.stem}: {line}")
                bad += 1
    say(f"coccinelle: {bad} findings, {len(JUSTIFIED)} justified")
    return 1 if bad else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        sys.exit(f"lab: {error}")
