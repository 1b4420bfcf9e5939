# SPDX-License-Identifier: GPL-2.0-or-later
"""What the RPM packages' scripts do, by dnf, in a root with DKMS and a kernel's headers.

Three builds of the module: by `make test-rpms`, not by `make test`.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import build_foreign
import pytest
import versions
from lab import chroot, roots

pytestmark = [pytest.mark.timeout(1800), pytest.mark.long]

TOP = Path(__file__).resolve().parents[2]
NEWER = "0.99.0"


def test_install_upgrade_rebuild_and_remove_by_dnf(tmp_path: Path) -> None:
    builds = {"first": ("", 1), "second": (NEWER, 1), "third": (NEWER, 2)}
    for name, (version, release) in builds.items():
        build_foreign.build("rpm", tmp_path / "repos" / name, version=version, release=release)
    (scratch := tmp_path / "scratch").mkdir()
    done = subprocess.run(
        chroot.command(
            roots.ensure(build_foreign.ROOT),
            ["/bin/sh", "/rpm_life.sh", versions.current(), NEWER],
            binds=[
                chroot.Bind(tmp_path / "repos", "/repos"),
                chroot.Bind(TOP / "tests/packages/rpm_life.sh", "/rpm_life.sh"),
            ],
            scratch=scratch,
        ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    chroot.remove_tree(scratch)
    told = [line for line in done.stdout.splitlines() if line.startswith("LIFE ")]
    assert done.returncode == 0, done.stdout[-6000:]
    assert len(told) == 4, told
    print("\n".join(told))
