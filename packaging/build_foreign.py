#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Build the packages of other distributions with Debian's own rpmbuild and makepkg.

`build_foreign.py rpm` leaves packages in build/rpm/, `build_foreign.py arch` in build/arch/; each
has a stamp that names its sources, so that a second call builds nothing. Two builds of the same
sources give the same bytes. What these programs cannot show on Debian is in packaging/README.md.
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

import versions  # noqa: E402
from lab import cache, chroot, roots  # noqa: E402
from lab.errors import LabError  # noqa: E402
from lab.progress import say, step  # noqa: E402

OUTPUT = TOP / "build"

# What the packages are made of, beside their own folder.
SOURCES = (
    "CHANGELOG.md", "LICENSES", "README.md", "dkms.conf", "docs/man", "driver", "packaging/common",
    "packaging/install-common", "pyproject.toml", "usb4rdmad",
)  # fmt: skip

# Has DKMS and a kernel's headers too, since the scriptlets build the module there.
ROOT = roots.RootSpec(
    name="foreign-packages",
    packages=(
        *("rpm", "dnf", "createrepo-c", "rpmlint"),
        *("makepkg", "pacman-package-manager", "fakeroot", "libarchive-tools", "zstd"),
        *("python3-pip", "python3-build", "python3-installer", "python3-setuptools"),
        *("python3-wheel", "python-is-python3", "shellcheck", "systemd"),
        *("dkms", "gcc", "make", "linux-headers-amd64"),
    ),
)

# $LINT is empty or "yes". The archive's bytes depend on nothing but the files.
_ARCHIVE = r"""
set -e
cd /source
find . -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
tar -c --sort=name --owner=0 --group=0 --numeric-owner --format=ustar \
    --transform "s|^\.|usb4rdma-$VERSION|" . | gzip -n9 > "/tmp/usb4rdma-$VERSION.tar.gz"
"""

_RPM = r"""
mkdir -p /tmp/rpm/SOURCES
cp "/tmp/usb4rdma-$VERSION.tar.gz" packaging/common/usb4rdma.sysusers /tmp/rpm/SOURCES/
sed -i "s/^Release: .*/Release: $RELEASE%{?dist}/" packaging/rpm/usb4rdma.spec
# Not by --load, which a package for no architecture in particular forgets.
mkdir -p "$HOME/.config/rpm"
cp packaging/rpm/debian.macros "$HOME/.config/rpm/macros"
rpmbuild --nodeps -ba \
    --define '_topdir /tmp/rpm' --define '_buildhost localhost' \
    --define 'use_source_date_epoch_as_buildtime 1' \
    --define 'build_mtime_policy clamp_to_source_date_epoch' \
    packaging/rpm/usb4rdma.spec
if [ -n "$LINT" ]; then
    # Its sources stand beside the spec, for rpmlint.
    cp packaging/rpm/usb4rdma.spec /tmp/rpm/SOURCES/
    rpmlint --strict -c packaging/rpm/rpmlint.toml -r packaging/rpm/usb4rdma.rpmlintrc \
        /tmp/rpm/SOURCES/usb4rdma.spec /tmp/rpm/RPMS/noarch/*.rpm /tmp/rpm/SRPMS/*.rpm
fi
mv /tmp/rpm/RPMS/noarch/*.rpm /tmp/rpm/SRPMS/*.rpm /out/
"""

# makepkg refuses to run as root, so it runs as somebody without rights. The layout puts Python's
# files where this Python looks for them, as an Arch host's does with its own.
_ARCH = r"""
mkdir /tmp/arch
sed -i "s/^pkgrel=.*/pkgrel=$RELEASE/" packaging/arch/PKGBUILD
cp packaging/arch/* "/tmp/usb4rdma-$VERSION.tar.gz" /tmp/arch/
if [ -n "$LINT" ]; then shellcheck packaging/arch/PKGBUILD packaging/arch/*.install; fi
packager='usb4rdma developers <maintainers@usb4rdma.org>'
sed "s|^PKGEXT=.*|PKGEXT=.pkg.tar.zst|; s|^#*PACKAGER=.*|PACKAGER='$packager'|" \
    /etc/makepkg.conf > /tmp/makepkg.conf
chown -R 1000:1000 /tmp/arch
cd /tmp/arch
as_user() {
    setpriv --reuid=1000 --regid=1000 --clear-groups --bounding-set=-all \
        env HOME=/tmp/arch DEB_PYTHON_INSTALL_LAYOUT=deb "$@"
}
as_user makepkg --config /tmp/makepkg.conf --nodeps --noconfirm
as_user makepkg --config /tmp/makepkg.conf --printsrcinfo > .SRCINFO
mv ./*.pkg.tar.zst .SRCINFO /out/
"""

SCRIPTS = {"rpm": _RPM, "arch": _ARCH}


def copy_sources(kind: str, target: Path) -> str:
    """Lay out what the packages are made of, as git tracks or would track it; its digest."""
    words = ["git", "-C", str(TOP), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(
        [*words, "--", *SOURCES, f"packaging/{kind}"], check=True, stdout=subprocess.PIPE
    ).stdout.decode()
    total = hashlib.sha256(SCRIPTS[kind].encode() + _ARCHIVE.encode())
    for name in sorted(set(listed.split("\0"))):
        if name and (TOP / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(TOP / name, target / name)
            executable = os.access(TOP / name, os.X_OK)
            (target / name).chmod(0o755 if executable else 0o644)
            total.update(f"{name}\0{executable}\0".encode())
            total.update(hashlib.sha256((TOP / name).read_bytes()).digest())
    return total.hexdigest()


def source_date() -> str:
    """The time that goes into the packages: that of Debian's changelog, so that builds repeat."""
    text = (TOP / "packaging/debian/changelog").read_text(encoding="utf-8")
    match = re.search(r"^ -- .*>  (.+)$", text, re.MULTILINE)
    if match is None:
        raise SystemExit("packaging/debian/changelog has no date line")
    return subprocess.run(
        ["date", "--utc", "--date", match[1], "+%s"], check=True, capture_output=True, text=True
    ).stdout.strip()


def build(
    kind: str, output: Path, *, lint: bool = False, version: str = "", release: int = 1
) -> Path:
    """Build into `output`, which is replaced only when all went well; of another version or
    release if that is asked for."""
    with cache.locked(f"packages-{kind}"), tempfile.TemporaryDirectory() as work:
        source, fresh = Path(work) / "source", Path(work) / "out"
        fresh.mkdir()
        stamp = f"{copy_sources(kind, source)} {version} {release}"
        stamp_file = output / ".sources"
        if not lint and stamp_file.exists() and stamp_file.read_text() == stamp:
            return output
        versions.rewrite(source, version or versions.current())
        root = roots.ensure(ROOT)
        with step(f"building the {kind} packages"):
            log = Path(work) / "build.log"
            output.mkdir(parents=True, exist_ok=True)
            try:
                chroot.run(
                    root,
                    ["/bin/sh", "-c", _ARCHIVE + SCRIPTS[kind]],
                    binds=[
                        chroot.Bind(source, "/source", writable=True),
                        chroot.Bind(fresh, "/out", writable=True),
                    ],
                    env={
                        "SOURCE_DATE_EPOCH": source_date(),
                        "VERSION": version or versions.current(),
                        "RELEASE": str(release),
                        "LINT": "yes" if lint else "",
                        "PYTHONDONTWRITEBYTECODE": "1",
                    },
                    log=log,
                )
            finally:
                if log.exists():
                    shutil.copy(log, output / "build.log")
            shutil.copy(log, fresh / "build.log")
            (fresh / ".sources").write_text(stamp)
            shutil.rmtree(output)
            shutil.copytree(fresh, output)
    return output


def main() -> int:
    """Entry point of `make rpms` and `make arch`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kind", choices=SCRIPTS)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--lint", action="store_true", help="judge them too; errors are fatal")
    options = parser.parse_args()
    output = build(options.kind, options.output or OUTPUT / options.kind, lint=options.lint)
    for package in sorted(output.glob("*.*")):
        if package.suffix in (".rpm", ".zst"):
            say(f"{package} ({package.stat().st_size >> 10} KiB)")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        sys.exit(f"lab: {error}")
