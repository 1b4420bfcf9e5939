# SPDX-License-Identifier: GPL-2.0-or-later
"""The RPM and Arch packages, built and installed by Debian's rpm and pacman, beside Debian's own.

Each kind is unpacked into an empty root of its own, and the three roots hold the same files with
the same bytes and modes, but for what is named here.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import build_foreign
import pytest
import versions
from lab import chroot, roots

TOP = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(900)

KINDS = ("debian", "rpm", "arch")
# Where a distribution has what another has elsewhere, or not at all.
RENAMED = {
    # Debian keeps Python's packages apart from those of the administrator's pip.
    "usr/lib/python3/dist-packages/": "usr/lib/python3/site-packages/",
    # Debian's zsh looks for packages' completions in a folder of its own.
    "usr/share/zsh/vendor-completions/": "usr/share/zsh/site-functions/",
}
LEFT_OUT = (
    # Each distribution has its own rules for licences, changelogs and READMEs.
    "usr/share/doc/",
    "usr/share/licenses/",
    # How dpkg and lintian are told to be content.
    "usr/share/lintian/",
    # Written by whichever program installed the wheel.
    "usr/lib/python3/site-packages/usb4rdmad-",
)

_UNPACK = r"""
set -e
mkdir -p /tmp/debian /tmp/rpm /tmp/arch/var/lib/pacman
for package in /packages/debian/*.deb; do dpkg-deb -x "$package" /tmp/debian; done
rpm --root /tmp/rpm --initdb
rpm --root /tmp/rpm --install --nodeps --noscripts /packages/rpm/*.noarch.rpm
rpm --root /tmp/rpm --verify --nodeps -a >&2
pacman --root /tmp/arch --config /dev/null -Udd --noconfirm --noscriptlet \
    --hookdir /never /packages/arch/*.pkg.tar.zst >&2
pacman --root /tmp/arch --config /dev/null -Qkk >&2
for kind in debian rpm arch; do python3 /manifest.py "/tmp/$kind"; done
"""


@pytest.fixture(scope="module")
def packages() -> dict[str, Path]:
    """The folders with the packages of each kind, of the sources as they are now."""
    subprocess.run(
        ["/usr/bin/python3", TOP / "packaging/build_debs.py"], check=True, stdin=subprocess.DEVNULL
    )
    return {
        "debian": TOP / "dist",
        "rpm": build_foreign.build("rpm", build_foreign.OUTPUT / "rpm"),
        "arch": build_foreign.build("arch", build_foreign.OUTPUT / "arch"),
    }


@pytest.fixture(scope="module")
def installed(packages: dict[str, Path]) -> dict[str, dict[str, list[Any]]]:
    """What each kind has installed: by path, the mode, owner, group and content."""
    done = subprocess.run(
        chroot.command(
            roots.ensure(build_foreign.ROOT),
            ["/bin/sh", "-c", _UNPACK],
            binds=[
                chroot.Bind(TOP / "tests/packages/manifest.py", "/manifest.py"),
                *(chroot.Bind(folder, f"/packages/{kind}") for kind, folder in packages.items()),
            ],
        ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    found = [json.loads(line) for line in done.stdout.splitlines()[-len(KINDS) :]]
    return {kind: comparable(files) for kind, files in zip(KINDS, found, strict=True)}


def comparable(files: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The files under the names that all kinds share, without what is left out."""
    renamed = {}
    for path, what in files.items():
        for old, new in RENAMED.items():
            path = path.replace(old, new) if path.startswith(old) else path
            path = new.rstrip("/") if path == old.rstrip("/") else path
        renamed[path] = what
    return {
        path: what
        for path, what in renamed.items()
        if not path.startswith(LEFT_OUT)
        and f"{path}/" not in LEFT_OUT
        # Debian compiles Python while it installs, others before.
        and "__pycache__" not in path
    }


def test_an_installation_has_all_parts(installed: dict[str, dict[str, list[Any]]]) -> None:
    for kind in KINDS:
        for path in (
            "etc/usb4rdma/usb4rdmad.toml",
            "usr/bin/usb4rdmactl",
            "usr/lib/systemd/system/usb4rdmad.service",
            "usr/lib/python3/site-packages/usb4rdmad/machine.py",
            "usr/share/man/man8/usb4rdmad.8",
            f"usr/src/usb4rdma-{versions.current()}/dkms.conf",
            f"usr/src/usb4rdma-{versions.current()}/driver/wire.h",
        ):
            assert path in installed[kind], f"{kind}: {path}"


@pytest.mark.parametrize("kind", ["rpm", "arch"])
def test_the_same_files_as_debian(installed: dict[str, dict[str, list[Any]]], kind: str) -> None:
    ours, theirs = installed["debian"], installed[kind]
    missing, more = sorted(ours.keys() - theirs.keys()), sorted(theirs.keys() - ours.keys())
    assert not missing, f"only in Debian's packages: {missing}"
    assert not more, f"not in Debian's packages: {more}"
    # The programs that pip and installer write differ in their comments.
    different = {
        path: (ours[path], theirs[path])
        for path in ours
        if ours[path] != theirs[path] and not path.startswith("usr/bin/")
    }
    assert not different
    for path in ("usr/bin/usb4rdmactl", "usr/bin/usb4rdmad"):
        assert theirs[path][:3] == ["-rwxr-xr-x", 0, 0]


def rpm_query(folder: Path, *words: str) -> str:
    """What rpm says of the packages in a folder."""
    return subprocess.run(
        chroot.command(
            roots.ensure(build_foreign.ROOT),
            ["/bin/sh", "-c", f"rpm -qp {' '.join(words)} /packages/*.noarch.rpm"],
            binds=[chroot.Bind(folder, "/packages")],
        ),
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def test_rpm_keeps_the_administrators_configuration(packages: dict[str, Path]) -> None:
    assert rpm_query(packages["rpm"], "--configfiles").split() == ["/etc/usb4rdma/usb4rdmad.toml"]


def test_rpm_meta_package_wants_both_in_its_own_version(packages: dict[str, Path]) -> None:
    release = f"{versions.current()}-1"
    told = rpm_query(packages["rpm"], "--qf '[%{=NAME} %{REQUIRENEVRS}\\n]'").splitlines()
    assert f"usb4rdma usb4rdma-dkms = {release}" in told
    assert f"usb4rdma usb4rdmad = {release}" in told
    assert "usb4rdma-dkms dkms" in told


def test_pacman_says_the_same(packages: dict[str, Path]) -> None:
    told = (packages["arch"] / ".SRCINFO").read_text(encoding="utf-8")
    release = f"{versions.current()}-1"
    assert f"depends = usb4rdma-dkms={release}" in told
    assert f"depends = usb4rdmad={release}" in told
    assert "backup = etc/usb4rdma/usb4rdmad.toml" in told


@pytest.mark.parametrize("kind", ["rpm", "arch"])
def test_another_build_gives_the_same_bytes(
    packages: dict[str, Path], kind: str, tmp_path: Path
) -> None:
    again = build_foreign.build(kind, tmp_path / kind)
    suffix = {"rpm": "*.rpm", "arch": "*.pkg.tar.zst"}[kind]
    first = {path.name: path.read_bytes() for path in packages[kind].glob(suffix)}
    assert len(first) >= 3
    assert {path.name: path.read_bytes() for path in again.glob(suffix)} == first
