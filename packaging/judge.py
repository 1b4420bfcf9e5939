#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Have the distribution's own programs judge the packages and the tree (part of `make lint`).

Lintian on source and packages, appstreamcli on the metainfo, reuse on the licences, udevadm and
systemd-analyze on what they read. Anything that one of them finds is a failure.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / "tests"))

import build_debs  # noqa: E402
import check_root  # noqa: E402
from lab import cache, chroot  # noqa: E402
from lab.errors import LabError  # noqa: E402
from lab.progress import step  # noqa: E402

# The tree is /tree, the packages are /out.
CHECKS: dict[str, str] = {
    # It was uploaded nowhere yet, so there is no bug to close.
    "lintian": "lintian --allow-root --pedantic --tag-display-limit 0 "
    "--fail-on error,warning,pedantic "
    "--suppress-tags initial-upload-closes-no-bugs,bad-distribution-in-changes-file "
    "/out/*.changes",
    "appstream": "appstreamcli validate --no-net --pedantic /tree/packaging/common/*.metainfo.xml",
    "licences": "cd /tree && reuse lint --quiet || reuse lint",
    "udev rules": "udevadm verify --resolve-names=late --root=/ "
    "/tree/packaging/common/70-usb4rdma.rules",
    "shell": "shellcheck /tree/packaging/install-common /tree/driver/dkms-prebuild "
    "/tree/packaging/debian/tests/installed-files /tree/packaging/debian/tests/daemon-on-bus "
    "$(ls /tree/packaging/debian/*.postinst /tree/packaging/debian/*.prerm "
    "/tree/packaging/debian/*.postrm)",
}


def copy_of_tree(target: Path) -> None:
    """What git tracks, without git."""
    words = ["git", "-C", str(TOP), "ls-files", "-z"]
    listed = subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if (TOP / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(TOP / name, target / name)


def judge(packages: Path) -> list[str]:
    """Run all checks; which failed."""
    root = check_root.ensure()
    failed = []
    with tempfile.TemporaryDirectory(prefix="judge-") as work:
        copy_of_tree(Path(work))
        binds = [chroot.Bind(packages.resolve(), "/out"), chroot.Bind(Path(work), "/tree")]
        for name, script in CHECKS.items():
            with step(name):
                words = chroot.command(root, ["/bin/sh", "-c", script], binds=binds)
                done = subprocess.run(
                    words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
                )
            if done.returncode != 0:
                print(f"{name}:\n{done.stdout}{done.stderr}")
                failed.append(name)
    return failed


def main() -> int:
    """Entry point."""
    with cache.locked("packages"):
        build_debs.build(TOP / "dist")
        failed = judge(TOP / "dist")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        sys.exit(f"lab: {error}")
