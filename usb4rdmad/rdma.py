# SPDX-License-Identifier: GPL-2.0-or-later
"""RDMA devices as sysfs shows them: port state, GIDs, counters. Read only.

pyverbs is not needed for this, and an open verbs context would hold up the
removal of a device.
"""

from __future__ import annotations

import os
from ipaddress import IPv6Address
from pathlib import Path

from .model import Port

GIDS_MAX = 256

_NET = {
    "RxBytes": "rx_bytes",
    "TxBytes": "tx_bytes",
    "RxPackets": "rx_packets",
    "TxPackets": "tx_packets",
}


class SysfsRdma:
    """Reads below `sysfs`."""

    def __init__(self, sysfs: Path = Path("/sys")) -> None:
        self._infiniband = sysfs / "class" / "infiniband"
        self._net = sysfs / "class" / "net"

    def port(self, ibdev: str) -> Port:
        """Port 1; an empty Port when the device is not there."""
        base = self._infiniband / ibdev / "ports" / "1"
        active = _read(base / "state").startswith("4:")
        gids: list[tuple[int, str, str]] = []
        for index, text in _table(base / "gids"):
            try:
                gid = IPv6Address(text)
            except ValueError:
                continue
            kind = _read(base / "gid_attrs" / "types" / str(index))
            gids.append((index, gid.packed.hex(":", 2), kind))
        return Port(active, tuple(gids))

    def counters(self, ibdev: str, netdev: str) -> dict[str, int]:
        """Bytes (RDMA and IP), packets of the interface, and the port's hardware counters."""
        found = {
            name: _count(self._net / netdev / "statistics" / file) for name, file in _NET.items()
        }
        folder = self._infiniband / ibdev / "ports" / "1" / "hw_counters"
        try:
            files = sorted(folder.iterdir())
        except OSError:
            files = []
        for path in files:
            if path.name != "lifespan":
                found[path.name] = _count(path)
        found["RxBytes"] += found.get("rx_bytes", 0)
        found["TxBytes"] += found.get("tx_bytes", 0)
        return found


def _table(folder: Path) -> list[tuple[int, str]]:
    """The non-zero GIDs. Nearly all of the table is empty and it is read often, so this is done
    with as little as can be."""
    found = []
    try:
        at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        for index in sorted(int(name) for name in os.listdir(at) if name.isdigit())[:GIDS_MAX]:
            try:
                fd = os.open(str(index), os.O_RDONLY | os.O_CLOEXEC, dir_fd=at)
            except OSError:
                continue
            try:
                raw = os.read(fd, 64).strip()
            except OSError:
                raw = b""
            finally:
                os.close(fd)
            if raw.strip(b"0:"):
                found.append((index, raw.decode("ascii", "replace")))
    finally:
        os.close(at)
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace").strip()
    except OSError:
        return ""


def _count(path: Path) -> int:
    try:
        return max(0, int(_read(path)))
    except ValueError:
        return 0
