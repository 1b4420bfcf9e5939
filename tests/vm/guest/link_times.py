#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Say when things happen: "watching", "service" once the peer's service is there, "active" once
the RDMA port named by the argument is. The reader takes the time. Ends after "active".
"""

from __future__ import annotations

import contextlib
import socket
import sys
from pathlib import Path

NETLINK_KOBJECT_UEVENT = 15
PATIENCE = 0.02


def port_is_active(device: str) -> bool:
    """Whether sysfs says so now."""
    state = Path(f"/sys/class/infiniband/{device}/ports/1/state")
    try:
        return state.read_text(encoding="ascii").strip().endswith("ACTIVE")
    except OSError:
        return False


def main(device: str) -> int:
    """Entry point."""
    events = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_KOBJECT_UEVENT)
    events.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    events.bind((0, 1))
    print("watching", flush=True)
    while not appearance(events.recv(16384).split(b"\0")):
        pass
    print("service", flush=True)
    # The port's state has no event in this group, the link's has one just before or after it.
    events.settimeout(PATIENCE)
    while not port_is_active(device):
        with contextlib.suppress(TimeoutError):
            events.recv(16384)
    print("active", flush=True)
    return 0


def appearance(fields: list[bytes]) -> bool:
    """Whether a uevent announces the peer's service."""
    return (
        fields[0].startswith(b"add@")
        and b"DEVTYPE=thunderbolt_service" in fields
        and any(field.startswith(b"MODALIAS=tbsvc:kusb4rdma") for field in fields)
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
