# SPDX-License-Identifier: GPL-2.0-or-later
"""A Debian root entered by chroot, as a host without a kernel of its own: for what dpkg does.

It runs at the machine's own speed, where a virtual host without KVM takes ten times as long.
What is changed goes to a scratch folder, so that the root in the cache stays as it is.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lab import cache, chroot, images
from lab.api import Host
from lab.kernels import Kernel
from lab.progress import step

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


_COMPILE = rf"""
touch /etc/dkms/no-autoinstall
{APT} install --no-install-recommends /packages/*.deb
rm /etc/dkms/no-autoinstall
source=$(echo /usr/src/usb4rdma-*)
dkms add "usb4rdma/${{source#*-}}"
dkms build "usb4rdma/${{source#*-}}" -k "$KERNEL" -j "$(nproc)"
cp /var/lib/dkms/usb4rdma/*/"$KERNEL"/*/module/usb4_rdma.ko* /tmp/
xz -d /tmp/usb4_rdma.ko.xz 2>/dev/null || zstd -d --rm -q /tmp/usb4_rdma.ko.zst 2>/dev/null || true
cp /tmp/usb4_rdma.ko /made/
"""
# Stands for make in a host; DKMS strips, signs and installs what it leaves.
_STAND_IN = r"""#!/bin/sh
module= kernel=
for word; do
    case $word in M=*) module=${word#M=} ;; KERNELRELEASE=*) kernel=${word#*=} ;; esac
done
[ -n "$module" ] || exit 0
version=$(sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' "$module/../dkms.conf")
cp "/root/compiled/$kernel/$version.ko" "$module/usb4_rdma.ko" && echo "taken from /root/compiled"
"""


def compiled(kernel: Kernel, packages: Path) -> Path:
    """The module that DKMS makes of these packages for this kernel, made at the machine's speed.

    It is made in the root that the hosts have, with their compiler and headers.
    """
    files = sorted(packages.glob("*.deb"))
    root = images.dkms_root(kernel, images.extended_root(()), "")

    def make(target: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="compile-", ignore_cleanup_errors=True) as work:
            made = Path(work) / "made"
            made.mkdir()
            (Path(work) / "scratch").mkdir()
            words = chroot.command(
                root,
                ["/bin/sh", "-euc", _COMPILE],
                binds=[chroot.Bind(packages, "/packages"), chroot.Bind(made, "/made", True)],
                scratch=Path(work) / "scratch",
                env={"KERNEL": kernel.version},
            )
            with step(f"DKMS compiles the module of {packages.name} for {kernel.version}"):
                chroot.run_logged(words, what="dkms build")
            shutil.copy(made / "usb4_rdma.ko", target)
            chroot.remove_tree(Path(work) / "scratch")

    key = [root.name, cache.digest_of_files(files, packages), _COMPILE]
    return cache.ensure("modules", f"dkms-{kernel.label}-{packages.name}", key, make)


def spare_compiling(host: Host, modules: dict[tuple[str, str], Path]) -> None:
    """Have DKMS in a host take modules compiled before, by (kernel, version): an emulated
    processor needs minutes for what DKMS has shown elsewhere. All else it does itself."""
    for (kernel, version), path in modules.items():
        host.run(f"mkdir -p /root/compiled/{kernel}", check=True)
        host.put(path, f"/root/compiled/{kernel}/{version}.ko")
    host.run(
        # DKMS has a PATH of its own, without /usr/local.
        "rm /usr/bin/make && cat > /usr/bin/make && chmod 755 /usr/bin/make",
        stdin=_STAND_IN.encode(),
        check=True,
    )
