# SPDX-License-Identifier: GPL-2.0-or-later
"""Hosts that keep all they change, on a disk of their own (`lab up --disk GIB`).

What other hosts write to a tmpfs over the images goes to an ext4 file system here. Such a host
can be powered off and booted again, also into a kernel that was installed in it: the lab stands
in for the boot loader, and its initramfs for the distribution's.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from . import cache, kernels, roots
from .errors import BuildError, MissingTool
from .kernels import Kernel
from .paths import GUEST_FILES

_REVISION = 1
_ON_TMPFS = (
    "busybox mount -t tmpfs -o size=60%,mode=755 tmpfs /rw\nbusybox mkdir /rw/upper /rw/work\n"
)
_ON_DISK = (
    'busybox mount -t ext4 "/dev/$(option lab.disk)" /rw || fail "cannot mount the disk"\n'
    "busybox mkdir -p /rw/upper /rw/work\n"
)


def path(run_dir: Path, host: str) -> Path:
    """A host's disk."""
    return run_dir / f"{host}.disk"


def make(target: Path, gib: int) -> None:
    """Make an empty disk; it takes room only as it is filled."""
    program = shutil.which("mkfs.ext4", path="/usr/sbin:/sbin:/usr/bin")
    if program is None:
        raise MissingTool("mkfs.ext4 is missing", "apt-get install e2fsprogs")
    with target.open("wb") as handle:
        handle.truncate(gib << 30)
    # No journal and no lazy work: nobody reads the disk after the lab.
    words = [program, "-q", "-F", "-O", "^has_journal", "-E", "nodiscard", str(target)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"mkfs.ext4 failed:\n{done.stderr}")


def initrd(kernel: Kernel) -> Path:
    """The initramfs of `kernel` for hosts with a disk."""
    init = (GUEST_FILES / "initrd-init").read_text(encoding="utf-8")
    if _ON_TMPFS not in init:
        raise BuildError("guest/initrd-init does not mount a tmpfs as disk.py expects")
    init = init.replace(_ON_TMPFS, _ON_DISK)

    def write(target: Path) -> None:
        target.write_bytes(
            kernels.initrd(
                kernel.modules_tree,
                kernel.version,
                roots.ensure(roots.TOOLS),
                init.encode(),
                ("ext4",),
            )
        )

    key = [_REVISION, kernel.folder.name, init]
    return cache.ensure("layers", f"initrd-disk-{kernel.label}", key, write)
