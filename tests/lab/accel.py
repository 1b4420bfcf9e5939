# SPDX-License-Identifier: GPL-2.0-or-later
"""KVM or TCG: decided by booting a stock kernel, since a /dev/kvm that opens proves nothing.

Some machines offer a /dev/kvm that creates a VM and then cannot run a stock kernel in it.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from . import tools
from .cache import locked
from .kernels import Kernel
from .paths import cache_root
from .progress import say

DEADLINE = 10.0
KVM, TCG = "kvm", "tcg"
_SIGN = b"lab-initrd: this kernel runs"


def choose(kernel: Kernel) -> str:
    """KVM if a stock kernel runs with it here, else TCG; tried once per boot of this machine."""
    forced = os.environ.get("USB4RDMA_ACCEL")
    if forced in (KVM, TCG):
        return forced
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return TCG
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    mark = cache_root() / f"accel-{os.getuid()}.json"
    known = _read(mark)
    if known.get("boot") == boot and known.get("accel") in (KVM, TCG):
        return known["accel"]
    with locked("accel"):
        known = _read(mark)
        if known.get("boot") != boot or known.get("accel") not in (KVM, TCG):
            known = {"boot": boot, "accel": KVM if _boots(kernel) else TCG}
            mark.write_text(json.dumps(known), encoding="ascii")
            if known["accel"] == TCG:
                say("/dev/kvm is there but runs no stock kernel: using TCG")
    return known["accel"]


def _read(mark: Path) -> dict[str, str]:
    try:
        known = json.loads(mark.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _boots(kernel: Kernel) -> bool:
    words, env = tools.qemu()
    words += ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", "q35"]
    words += ["-accel", "kvm", "-cpu", "host", "-m", "512", "-device", "virtio-serial-pci"]
    words += ["-chardev", "stdio,id=s", "-device", "virtconsole,chardev=s"]
    words += ["-kernel", str(kernel.vmlinux), "-initrd", str(kernel.initrd)]
    words += ["-append", "console=hvc0 panic=-1 lab.probe=1"]
    try:
        done = subprocess.run(
            words,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=DEADLINE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return _SIGN in done.stdout
