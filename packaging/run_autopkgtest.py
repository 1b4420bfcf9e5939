#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Run the tests of the Debian source package as Debian does, by autopkgtest (`make autopkgtest`).

In a Debian 13 root that has nothing of what the tests need: apt takes that from the archive, and
our packages from dist/. What they change goes away with the run. The tests are those of
debian/tests and the one of DKMS, which builds the module for all header packages of Debian 13.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / "tests"))

import build_debs  # noqa: E402
from lab import cache, chroot, roots  # noqa: E402
from lab.errors import LabError  # noqa: E402
from lab.progress import say, step  # noqa: E402

LOGS = TOP / "build/autopkgtest"
ROOT = roots.RootSpec(
    name="autopkgtest",
    packages=("apt-utils", "autodep8", "autopkgtest", "dpkg-dev"),
    suites=("trixie", "trixie-updates"),
)
# What autopkgtest must say of each test.
EXPECTED = {
    "installed-files": "PASS",
    "dkms-autopkgtest": "PASS",
    # It wants a booted machine. tests/vm/test_systemd_install.py runs it in one.
    "daemon-on-bus": "SKIP",
}
# The root is thrown away, so a test may break it. Sources are built in another root.
_RUN = """
apt-get update -q
exec autopkgtest --no-built-binaries --ignore-restrictions=breaks-testbed \
    --output-dir=/logs/run --summary-file=/logs/summary /packages/*.changes -- null
"""


def outcomes(summary: str) -> dict[str, str]:
    """What autopkgtest's summary says of each test: the first word, like PASS, FAIL, SKIP."""
    return dict(re.findall(r"^(\S+)\s+([A-Z]+)\b", summary, re.MULTILINE))


def kernels(output: str) -> dict[str, str]:
    """What DKMS's test says of each kernel: PASS, FAIL, or SKIP if dkms.conf excludes it."""
    lines = re.findall(r"^I: (PASS|FAIL|SKIP) \S+/\S+ (\S+)$", output, re.MULTILINE)
    return {kernel: outcome for outcome, kernel in lines}


def complaints(found: dict[str, str], built: dict[str, str]) -> list[str]:
    """What is not as it should be. DKMS's test passes also if all kernels are excluded."""
    nothing = [] if "PASS" in built.values() else ["the module was built for no kernel"]
    return nothing + [
        f"{name}: {found.get(name, 'not run')}, not {EXPECTED.get(name, 'expected at all')}"
        for name in sorted(EXPECTED | found)
        if found.get(name) != EXPECTED.get(name)
    ]


def written(name: str) -> str:
    """A file that autopkgtest left, "" if it left none."""
    return (LOGS / name).read_text(encoding="utf-8") if (LOGS / name).exists() else ""


def run(root: Path, work: Path) -> None:
    """Run all tests with the output on the terminal and in LOGS.

    `work` has the folder "packages"; what the tests change goes there too.
    """
    chroot.remove_tree(LOGS)
    LOGS.mkdir(parents=True)
    scratch = work / "scratch"
    scratch.mkdir()
    packages = chroot.Bind(work / "packages", "/packages")
    logs = chroot.Bind(LOGS, "/logs", writable=True)
    words = chroot.command(
        root,
        ["/bin/sh", "-euc", _RUN],
        binds=[packages, logs],
        scratch=scratch,
        # So that packages which are installed leave the settings of this machine's kernel alone.
        env={"container": "chroot"},
    )
    try:
        subprocess.run(words, stdin=subprocess.DEVNULL, check=False)
    finally:
        chroot.remove_tree(scratch)


def main() -> int:
    """Entry point."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    root = roots.ensure(ROOT)
    with tempfile.TemporaryDirectory(prefix="autopkgtest-", ignore_cleanup_errors=True) as work:
        with cache.locked("packages"):
            build_debs.build(TOP / "dist")
            shutil.copytree(TOP / "dist", Path(work) / "packages")
        with step("autopkgtest"):
            run(root, Path(work))
    summary, built = written("summary"), kernels(written("run/dkms-autopkgtest-stdout"))
    print(summary, *(f"  {kernel:<34} {outcome}\n" for kernel, outcome in built.items()), sep="")
    wrong = complaints(outcomes(summary), built)
    for line in wrong:
        say(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        sys.exit(f"lab: {error}")
