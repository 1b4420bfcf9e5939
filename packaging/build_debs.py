#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Build the Debian packages in a clean Debian 13 root, from a copy of the work tree.

The packages land in dist/, with a stamp that names the sources they were made of: a second
call with the same sources builds nothing. Two builds of the same sources give the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / "tests"))

from lab import cache, chroot, roots  # noqa: E402
from lab.errors import LabError  # noqa: E402
from lab.progress import say, step  # noqa: E402

# Only what the packages are made of: a change in the tests builds no new package.
SOURCES = (
    "LICENSES", "README.md", "dkms.conf", "docs/man", "driver", "packaging/common",
    "packaging/debian",
    "packaging/install-common", "pyproject.toml", "usb4rdmad",
)  # fmt: skip

_BUILD = r"""
set -e
cp -r /source /tmp/build/usb4rdma
cd /tmp/build/usb4rdma
dpkg-buildpackage --no-sign --build=binary
mv ../*.deb ../*.changes ../*.buildinfo /out/
"""

_LINT = """
if command -v lintian >/dev/null; then
    lintian --fail-on error --suppress-tags initial-upload-closes-no-bugs /out/*.changes
else
    echo "the build root has no lintian: packages not checked"
fi
"""


def source_files() -> list[Path]:
    """The files that go into the packages: what git tracks or would track, never build products."""
    listed = subprocess.run(
        [
            "git",
            "-C",
            str(TOP),
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
            "--",
            *SOURCES,
        ],
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    names = sorted({name for name in listed.decode().split("\0") if name})
    return [TOP / name for name in names if (TOP / name).is_file()]


def digest(files: list[Path]) -> str:
    """One hash over names, modes and contents."""
    total = hashlib.sha256()
    for path in files:
        total.update(f"{path.relative_to(TOP)}\0{os.access(path, os.X_OK)}\0".encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def copy_tree(files: list[Path], target: Path) -> None:
    """Lay out the source package: the tree, with packaging/debian in its usual place."""
    for path in files:
        relative = path.relative_to(TOP)
        if relative.parts[:2] == ("packaging", "debian"):
            relative = Path(*relative.parts[1:])
        (target / relative).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target / relative)


def source_date() -> str:
    """The time that goes into the packages: that of the changelog, so that builds repeat."""
    text = (TOP / "packaging/debian/changelog").read_text(encoding="utf-8")
    match = re.search(r"^ -- .*>  (.+)$", text, re.MULTILINE)
    if match is None:
        raise SystemExit("packaging/debian/changelog has no date line")
    return subprocess.run(
        ["date", "--utc", "--date", match[1], "+%s"], check=True, capture_output=True, text=True
    ).stdout.strip()


def build(output: Path, *, lint: bool) -> None:
    """Build into `output`, which is replaced only when all went well."""
    files = source_files()
    stamp = digest(files)
    stamp_file = output / ".sources"
    if not lint and stamp_file.exists() and stamp_file.read_text() == stamp:
        say(f"packages in {output.name}/ are up to date")
        return
    root = roots.ensure(roots.BUILD)
    with step("building the Debian packages"), tempfile.TemporaryDirectory() as work:
        source, fresh = Path(work) / "source", Path(work) / "out"
        source.mkdir()
        fresh.mkdir()
        copy_tree(files, source)
        binds = [chroot.Bind(source, "/source"), chroot.Bind(fresh, "/out", writable=True)]
        log = Path(work) / "build.log"
        script = "mkdir /tmp/build\n" + _BUILD + (_LINT if lint else "")
        try:
            chroot.run(
                root,
                ["/bin/sh", "-c", script],
                binds=binds,
                env={"SOURCE_DATE_EPOCH": source_date(), "DEB_BUILD_OPTIONS": "nocheck"},
                log=log,
            )
        except BaseException:
            output.mkdir(exist_ok=True)
            if log.exists():
                shutil.copy(log, output / "build.log")
            raise
        if lint:
            print(log.read_text()[-4000:])
        shutil.rmtree(output, ignore_errors=True)
        shutil.copytree(fresh, output)
        shutil.copy(log, output / "build.log")
        stamp_file.write_text(stamp)
    for package in sorted(output.glob("*.deb")):
        say(f"{output.name}/{package.name} ({package.stat().st_size >> 10} KiB)")


def main() -> int:
    """Entry point of `make packages`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=TOP / "dist")
    parser.add_argument("--lint", action="store_true", help="run lintian; errors are fatal")
    arguments = parser.parse_args()
    with cache.locked("packages"):
        build(arguments.output, lint=arguments.lint)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        sys.exit(f"lab: {error}")
