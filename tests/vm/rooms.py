# SPDX-License-Identifier: GPL-2.0-or-later
"""A Debian root entered by chroot, as a host without a kernel of its own: for what dpkg does.

It runs at the machine's own speed, where a virtual host without KVM takes ten times as long.
What is changed goes to a scratch folder, so that the root in the cache stays as it is.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from lab import chroot

APT = "apt-get -q -y -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold"
# What any installation changes and no removal takes back.
_IDLE = (
    "/dev /proc /sys /run /tmp /var/tmp /var/log /var/cache /var/lib/apt /var/lib/dpkg "
    "/dist /packages /repository /root.spec"
).split()


@dataclass(frozen=True)
class Room:
    """A root, where its changes go, and folders of this machine that are seen in it."""

    root: Path
    scratch: Path
    binds: tuple[tuple[Path, str], ...] = ()

    def run(
        self, script: str, *, check: bool = True, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell script in it; standard output and error together are its `stdout`."""
        words = chroot.command(
            self.root,
            ["/bin/sh", "-euc", script],
            binds=[chroot.Bind(source, target) for source, target in self.binds],
            scratch=self.scratch,
            env=env,
        )
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"exit code {done.returncode} of: {script}\n{done.stdout}")
        return done

    def out(self, script: str) -> str:
        """The output of a script that ends well."""
        return self.run(script).stdout.strip()

    def files(self) -> set[str]:
        """Every file and folder that is there, but for what any installation changes."""
        pruned = " -o ".join(f"-path {folder}" for folder in _IDLE)
        listed = self.out(rf"find / -xdev \( {pruned} \) -prune -o -print")
        return set(listed.splitlines())

    def remove(self) -> None:
        """Forget all changes."""
        chroot.remove_tree(self.scratch)
