# SPDX-License-Identifier: GPL-2.0-or-later
"""The PC's USB4 ports and what guards them, as sysfs shows them. Read only.

The kernel has port devices for USB4 host routers only; one of an older
Thunderbolt host has links and no ports here.
"""

from __future__ import annotations

import re
from pathlib import Path

from .model import Hardware, HostPort

_ROUTER = re.compile(r"([0-9a-f]+)-0")
_PORT = re.compile(r"usb4_port(\d+)")
_WORD = re.compile(r"[a-z0-9]{1,16}")


class SysfsMachine:
    """Reads below `sysfs`."""

    def __init__(self, sysfs: Path = Path("/sys")) -> None:
        self._devices = sysfs / "bus" / "thunderbolt" / "devices"
        self._lockdown = sysfs / "kernel" / "security" / "lockdown"
        self._enforced = sysfs / "module" / "module" / "parameters" / "sig_enforce"

    def hardware(self) -> Hardware:
        """As it is now."""
        ports: list[HostPort] = []
        guards: list[bool] = []
        for path in sorted(_entries(self._devices)):
            if path.name.startswith("domain"):
                guards.append(_text(path / "iommu_dma_protection") == "1")
            router = _ROUTER.fullmatch(path.name)
            if router is None:
                continue
            for entry in _entries(path):
                port = _PORT.fullmatch(entry.name)
                if port is None or int(port[1]) > 0xFF:
                    continue
                mode = _text(entry / "link")
                ports.append(
                    HostPort(
                        int(router[1], 16) & 0xFF,
                        int(port[1]),
                        entry.name,
                        str(entry.resolve()),
                        mode if _WORD.fullmatch(mode) else "",
                    )
                )
        ports.sort(key=lambda p: (p.domain, p.number))
        return Hardware(tuple(ports), bool(guards) and all(guards), self._refuses())

    def _refuses(self) -> bool:
        """Whether this kernel loads no module that is not signed by a key it knows."""
        if re.search(r"\[(integrity|confidentiality)\]", _text(self._lockdown)):
            return True
        return _text(self._enforced) == "Y"


def _entries(path: Path) -> list[Path]:
    try:
        return list(path.iterdir())
    except OSError:
        return []


def _text(path: Path) -> str:
    try:
        return path.read_bytes()[:256].decode("ascii", "replace").strip()
    except OSError:
        return ""
