#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Build the Debian packages in a clean Debian 13 root, from a copy of the work tree.

The packages and their source land in dist/, with a stamp that names the sources they were made
of: a second call with the same sources builds nothing. Two builds of the same sources give the
same bytes, whenever and in whatever folder they are made.
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

import sbom  # noqa: E402
import versions  # noqa: E402
from lab import cache, chroot, roots  # noqa: E402
from lab.errors import LabError  # noqa: E402
from lab.progress import say, step  # noqa: E402

# Only what the packages are made of: a change in the tests builds no new package.
SOURCES = (
    "LICENSES", "README.md", "dkms.conf", "docs/man", "driver", "packaging/common",
    "packaging/debian",
    "packaging/install-common", "pyproject.toml", "usb4rdmad",
)  # fmt: skip

BUILD_FOLDER = "/tmp/build"

_BUILD = r"""
set -e
umask "$UMASK"
mkdir -p "$FOLDER"
cp -r /source "$FOLDER/usb4rdma"
cd "$FOLDER/usb4rdma"
# The archive of the source has these modes and times.
chmod -R u=rwX,go=rX .
find . -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +
dpkg-buildpackage --no-sign
mv ../*.deb ../*.dsc ../*.tar.* ../*.changes ../*.buildinfo /out/
"""


def source_files() -> list[Path]:
    """The files that go into the packages: what git tracks or would track, never build products."""
    words = ["git", "-C", str(TOP), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run([*words, "--", *SOURCES], check=True, stdout=subprocess.PIPE).stdout
    names = sorted({name for name in listed.decode().split("\0") if name})
    return [TOP / name for name in names if (TOP / name).is_file()]


def digest(files: list[Path]) -> str:
    """One hash over names, modes and contents, and over how they are built."""
    total = hashlib.sha256(_BUILD.encode())
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


def compile_to(
    fresh: Path,
    log: Path,
    *,
    version: str = "",
    folder: str = BUILD_FOLDER,
    umask: str = "022",
    clock: str = "",
) -> None:
    """Build all packages into the empty folder `fresh`.

    `version` makes them of another one. `folder`, `umask` and `clock` (the time that the sources
    have, in seconds) may not change a byte; tests vary them.
    """
    root = roots.ensure(roots.BUILD)
    with tempfile.TemporaryDirectory() as work:
        source = Path(work) / "source"
        source.mkdir()
        copy_tree(source_files(), source)
        if version:
            versions.rewrite(source, version)
        if clock:
            for path in source.rglob("*"):
                os.utime(path, (int(clock), int(clock)))
        chroot.run(
            root,
            ["/bin/sh", "-c", _BUILD],
            binds=[chroot.Bind(source, "/source"), chroot.Bind(fresh, "/out", writable=True)],
            env={
                "SOURCE_DATE_EPOCH": source_date(),
                "DEB_BUILD_OPTIONS": "nocheck",
                "FOLDER": folder,
                "UMASK": umask,
                "TZ": "UTC" if not clock else "Asia/Tokyo",
            },
            log=log,
        )


def build(output: Path, *, version: str = "") -> None:
    """Build into `output`, whose files are replaced only when all went well."""
    stamp = digest(source_files()) + version
    stamp_file = output / ".sources"
    if stamp_file.exists() and stamp_file.read_text() == stamp:
        say(f"packages in {output.name}/ are up to date")
        return
    with step("building the Debian packages"), tempfile.TemporaryDirectory() as work:
        fresh, log = Path(work) / "out", Path(work) / "build.log"
        fresh.mkdir()
        try:
            compile_to(fresh, log, version=version)
        except BaseException:
            output.mkdir(parents=True, exist_ok=True)
            if log.exists():
                shutil.copy(log, output / "build.log")
            raise
        if not version:
            names = [str(path.relative_to(TOP)) for path in source_files()]
            sbom.write(fresh / f"usb4rdma-{versions.current()}.spdx.json", names, source_date())
        if output.is_dir():
            for old in filter(Path.is_file, output.iterdir()):
                old.unlink()
        shutil.copytree(fresh, output, dirs_exist_ok=True)
        shutil.copy(log, output / "build.log")
        stamp_file.write_text(stamp)
    for package in sorted(output.glob("*.deb")):
        say(f"{output.name}/{package.name} ({package.stat().st_size >> 10} KiB)")


def main() -> int:
    """Entry point of `make packages`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=TOP / "dist")
    parser.add_argument("--version", default="", help="build them of another version")
    arguments = parser.parse_args()
    with cache.locked("packages"):
        build(arguments.output, version=arguments.version)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        sys.exit(f"lab: {error}")
