# SPDX-License-Identifier: GPL-2.0-or-later
"""The known troubles of this PC, each with what cures it.

What the daemon knows is in linkchecks.py.

A check is a function (system) -> findings. It says "ok" too, so that the reader
knows what was looked at. Reads only; no command of a cure is ever run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from .. import __version__
from .system import System

MEMLOCK_WANTED = 64 << 20
MODULE = "usb4_rdma"
DRIVER = "/sys/module/usb4_rdma"
LIBRARIES = ("/usr/lib/*", "/usr/lib64", "/usr/lib")


class Level(StrEnum):
    """How bad."""

    OK = "ok"
    UNKNOWN = "unknown"
    """Could not be found out, mostly for lack of rights."""
    WARNING = "warning"
    TROUBLE = "trouble"


@dataclass(frozen=True)
class Finding:
    """What a check found; `id` is a stable word."""

    id: str
    level: Level
    text: str
    cure: str = ""


def ok(what: str, text: str) -> Finding:
    """Nothing wrong here."""
    return Finding(what, Level.OK, text)


def kernel(system: System) -> Iterable[Finding]:
    """Linux 6.12 or later?"""
    match = re.match(r"(\d+)\.(\d+)", system.kernel)
    if match and (int(match[1]), int(match[2])) < (6, 12):
        yield Finding(
            "kernel-too-old",
            Level.TROUBLE,
            f"the kernel {system.kernel} is older than 6.12",
            "install a newer kernel and reboot",
        )
    else:
        yield ok("kernel", f"Linux {system.kernel}")


def secure_boot(system: System) -> bool:
    """Does this kernel refuse unsigned modules?"""
    variable = next(iter(system.glob("/sys/firmware/efi/efivars/SecureBoot-*")), None)
    enabled = variable is not None and variable.read_bytes()[4:5] == b"\x01"
    lockdown = system.text("/sys/kernel/security/lockdown")
    enforced = system.text("/sys/module/module/parameters/sig_enforce") == "Y"
    locked = "[integrity]" in lockdown or "[confidentiality]" in lockdown
    return locked or enforced or (enabled and not lockdown)


def module(system: System) -> Iterable[Finding]:
    """Is the driver loaded, and if not, why?"""
    if system.exists(DRIVER):
        version = system.text(f"{DRIVER}/version")
        if version and version != __version__:
            yield Finding(
                "driver-version",
                Level.WARNING,
                f"the driver {version} is loaded, usb4rdma {__version__} is installed",
                "systemctl stop usb4rdmad && modprobe -r usb4_rdma && systemctl start usb4rdmad",
            )
        else:
            yield ok("module", f"the driver is loaded ({version or 'no version'})")
        return
    base = f"/lib/modules/{system.kernel}"
    built = [
        p
        for x in ("updates", "extra", "kernel/drivers")
        for p in system.glob(f"{base}/{x}/**/{MODULE}.ko*")
    ]
    if built:
        yield from _not_loaded(system)
    elif not system.glob("/usr/src/usb4rdma-*/dkms.conf"):
        yield Finding(
            "module-not-installed",
            Level.TROUBLE,
            "the driver's source is not installed",
            "apt install usb4rdma-dkms",
        )
    elif not system.exists(f"{base}/build/Makefile"):
        yield Finding(
            "headers-missing",
            Level.TROUBLE,
            f"the driver is not built for {system.kernel}: its headers are not installed",
            f"apt install linux-headers-{system.kernel} && dkms autoinstall",
        )
    else:
        log = next(iter(system.glob("/var/lib/dkms/usb4rdma/*/build/make.log")), None)
        where = f" (see {log})" if log else ""
        yield Finding(
            "module-not-built",
            Level.TROUBLE,
            f"the driver is not built for {system.kernel}{where}",
            "dkms autoinstall",
        )


# Where DKMS keeps the certificate of its key: its own place, and Ubuntu's.
_SIGNING_KEYS = ("/var/lib/dkms/mok.pub", "/var/lib/shim-signed/mok/MOK.der")


def _not_loaded(system: System) -> Iterable[Finding]:
    if not secure_boot(system):
        yield Finding(
            "module-not-loaded",
            Level.TROUBLE,
            "the driver is built and not loaded",
            "modprobe usb4_rdma",
        )
        return
    key = next((key for key in _SIGNING_KEYS if system.exists(key)), "")
    if not key:
        # Without openssl DKMS can make no key, and leaves its modules unsigned.
        yield Finding(
            "secure-boot-unsigned",
            Level.TROUBLE,
            "Secure Boot (or kernel lockdown) refuses the driver: DKMS had no key to sign it with",
            "install openssl and mokutil, then: dkms unbuild usb4rdma --all && dkms autoinstall",
        )
        return
    known = system.run("mokutil", "--test-key", key)
    if known is not None and "is already enrolled" in known[1]:
        yield Finding(
            "module-not-loaded",
            Level.TROUBLE,
            "the driver is built and not loaded; the key that signs it is enrolled",
            "modprobe usb4_rdma",
        )
        return
    yield Finding(
        "secure-boot",
        Level.TROUBLE,
        "Secure Boot (or kernel lockdown) refuses the driver: its signing key is not enrolled",
        f"mokutil --import {key}, then reboot and enrol it in the blue screen",
    )


def thunderbolt(system: System) -> Iterable[Finding]:
    """Is there a USB4 host, and may hosts be joined?"""
    if not system.glob("/sys/bus/thunderbolt/devices/domain*"):
        yield Finding(
            "no-usb4",
            Level.TROUBLE,
            "the kernel sees no USB4 or Thunderbolt host",
            "modprobe thunderbolt; else enable USB4/Thunderbolt in the firmware's setup",
        )
        return
    if system.text("/sys/module/thunderbolt/parameters/xdomain") == "N":
        yield Finding(
            "xdomain-off",
            Level.TROUBLE,
            "joining hosts is switched off in the kernel (thunderbolt.xdomain=0)",
            "remove thunderbolt.xdomain=0 from the kernel's command line and reboot",
        )
        return
    yield ok("usb4", "there is a USB4 or Thunderbolt host")


def iommu(system: System) -> Iterable[Finding]:
    """Does the IOMMU guard against what a cable may bring?"""
    states = [
        p.read_text().strip()
        for p in system.glob("/sys/bus/thunderbolt/devices/domain*/iommu_dma_protection")
    ]
    if not states:
        return
    if all(state == "1" for state in states):
        yield ok("iommu", "the IOMMU guards USB4 (DMA protection)")
    elif system.glob("/sys/kernel/iommu_groups/*"):
        yield Finding(
            "iommu-unprotected",
            Level.WARNING,
            "an IOMMU is on, but the firmware does not ask for DMA protection of USB4",
            "enable Kernel DMA Protection in the firmware's setup",
        )
    else:
        yield Finding(
            "iommu-off",
            Level.WARNING,
            "the IOMMU is off: a device at the cable can reach all memory",
            "enable VT-d or AMD-Vi in the firmware's setup (and boot with iommu=pt or strict)",
        )


def memlock(system: System) -> Iterable[Finding]:
    """May an ordinary program register memory?"""
    if system.uid == 0:
        yield ok("memlock", "root may lock any amount of memory; ask as the user who runs programs")
    elif system.memlock < MEMLOCK_WANTED:
        yield Finding(
            "memlock",
            Level.WARNING,
            f"this user may lock {int(system.memlock) >> 10} KiB of memory: programs cannot "
            "register buffers",
            "echo '* - memlock unlimited' > /etc/security/limits.d/rdma.conf, and log in again",
        )
    else:
        yield ok("memlock", "enough memory may be locked")


def provider(system: System) -> Iterable[Finding]:
    """Is there what programs talk to the device through?"""
    found = [p for lib in LIBRARIES for p in system.glob(f"{lib}/libibverbs/librxe-rdmav*.so")]
    if not found:
        yield Finding(
            "provider-missing",
            Level.TROUBLE,
            "libibverbs' provider (librxe) is not installed: programs see no device",
            "apt install ibverbs-providers",
        )
        return
    yield ok("provider", "the verbs provider is installed")
    closed = [p.name for p in system.glob("/dev/infiniband/uverbs*") if p.stat().st_mode & 0o6 != 6]
    if closed:
        yield Finding(
            "uverbs-permission",
            Level.WARNING,
            f"not everybody may use /dev/infiniband/{closed[0]}",
            "apt install rdma-core && udevadm trigger --subsystem-match=infiniband_verbs",
        )


def daemon(system: System) -> Iterable[Finding]:
    """Does the service manager have it running and enabled?"""
    shown = system.output(
        "systemctl", "show", "-p", "LoadState,ActiveState,UnitFileState,Result", "usb4rdmad.service"
    )
    values = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    if not values:
        yield Finding("daemon", Level.UNKNOWN, "systemctl gives no answer about usb4rdmad")
    elif values.get("LoadState") == "not-found":
        yield Finding(
            "daemon-not-installed",
            Level.TROUBLE,
            "usb4rdmad is not installed",
            "apt install usb4rdmad",
        )
    elif values.get("ActiveState") == "failed":
        yield Finding(
            "daemon-failed",
            Level.TROUBLE,
            f"usb4rdmad has failed ({values.get('Result', '?')})",
            "journalctl -u usb4rdmad -n 20; then systemctl restart usb4rdmad",
        )
    elif values.get("ActiveState") not in ("active", "reloading", "activating"):
        yield Finding(
            "daemon-not-running",
            Level.TROUBLE,
            "usb4rdmad does not run",
            "systemctl enable --now usb4rdmad",
        )
    elif values.get("UnitFileState") == "disabled":
        yield Finding(
            "daemon-not-enabled",
            Level.WARNING,
            "usb4rdmad runs, but will not after a reboot",
            "systemctl enable usb4rdmad",
        )
    else:
        yield ok("daemon", "usb4rdmad runs")


def configuration(system: System) -> Iterable[Finding]:
    """Can the files be used, and is the secret that they want there?"""
    try:
        from .. import config
        from ..errors import ConfigInvalid
    except ImportError:
        yield Finding("config", Level.UNKNOWN, "python3-pydantic is not installed")
        return
    try:
        values = config.load(system.path(str(config.DEFAULT)))
    except ConfigInvalid as error:
        yield Finding(
            "config-invalid",
            Level.TROUBLE,
            error.message.splitlines()[0],
            "usb4rdmactl config check; then systemctl reload usb4rdmad",
        )
        return
    yield ok("config", f"the configuration is fine (policy {values.pairing.policy})")
    if values.pairing.policy != "cluster":
        return
    stores = [
        f"/{root}/credstore{kind}/usb4rdma.cluster"
        for root in ("etc", "run", "usr/lib")
        for kind in ("", ".encrypted")
    ]
    if any(system.exists(path) for path in stores):
        yield ok("cluster-secret", "the cluster's secret is there")
    elif system.uid != 0:
        yield Finding(
            "cluster-secret", Level.UNKNOWN, "whether there is a cluster secret, root can see"
        )
    else:
        yield Finding(
            "cluster-secret-missing",
            Level.TROUBLE,
            'policy = "cluster", and this host has no secret',
            "copy /etc/credstore/usb4rdma.cluster from another host (the first one makes it with "
            "openssl rand -hex 32), then systemctl restart usb4rdmad",
        )


CHECKS: tuple[Callable[[System], Iterable[Finding]], ...] = (
    kernel,
    thunderbolt,
    iommu,
    module,
    provider,
    memlock,
    configuration,
    daemon,
)
