# SPDX-License-Identifier: GPL-2.0-or-later
"""The service manager's notification socket: readiness, status, watchdog."""

from __future__ import annotations

import os
import socket


class Notifier:
    """Speaks to $NOTIFY_SOCKET; does nothing without one."""

    def __init__(self) -> None:
        self._address = os.environ.pop("NOTIFY_SOCKET", "")
        self._status = ""

    @staticmethod
    def watchdog_seconds() -> float:
        """Half of the interval in which the service manager wants a sign of life; 0 for none."""
        if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
            return 0
        try:
            return int(os.environ.get("WATCHDOG_USEC", "0")) / 2e6
        except ValueError:
            return 0

    def send(self, text: str) -> None:
        """One datagram; a manager that does not listen is no error."""
        if not self._address:
            return
        address = self._address
        if address.startswith("@"):
            address = "\0" + address[1:]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as s:
                s.connect(address)
                s.sendall(text.encode())
        except OSError:
            pass

    def ready(self) -> None:
        """Start-up is done."""
        self.send("READY=1")

    def stopping(self) -> None:
        """Shutting down."""
        self.send("STOPPING=1")

    def reloading(self, monotonic: int) -> None:
        """Reading the configuration again; ready() ends it."""
        self.send(f"RELOADING=1\nMONOTONIC_USEC={monotonic}")

    def alive(self) -> None:
        """The event queue moves."""
        self.send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`, sent when it differs from the last."""
        if text != self._status:
            self._status = text
            self.send(f"STATUS={text}")
