# SPDX-License-Identifier: GPL-2.0-or-later
"""Which link devices come, change and go: pyudev on the asyncio loop.

Changes of the stock thunderbolt devices are told as well, without a name: the
kernel sends none for its USB4 ports, but they change when something is plugged.

Only names leave this module; driver.py reads what is behind them. The monitor
runs before the first listing, so nothing falls between. After an overrun of the
socket's buffer events are lost: the monitor is made anew and `resync` is called.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pyudev

from .log import log

SUBSYSTEM = "usb4rdma"
ROUTERS = "thunderbolt"
BUFFER = 1 << 20


class Udev:
    """Calls `changed(name)` and `removed(name)` for links, `routers()` for the rest.

    `resync()` when all must be read again.
    """

    def __init__(
        self,
        changed: Callable[[str], None],
        removed: Callable[[str], None],
        resync: Callable[[], None],
        routers: Callable[[], None] = lambda: None,
    ) -> None:
        self._changed = changed
        self._removed = removed
        self._resync = resync
        self._routers = routers
        self._context = pyudev.Context()
        self._monitor: pyudev.Monitor | None = None

    def start(self) -> None:
        """Listen, on the running loop."""
        monitor = pyudev.Monitor.from_netlink(self._context)
        monitor.filter_by(SUBSYSTEM)
        monitor.filter_by(ROUTERS)
        try:
            monitor.set_receive_buffer_size(BUFFER)
        except OSError:
            log.debug("udev: the receive buffer keeps its size")
        monitor.start()
        self._monitor = monitor
        asyncio.get_running_loop().add_reader(monitor.fileno(), self._readable)

    def stop(self) -> None:
        """Listen no more."""
        if self._monitor is not None:
            asyncio.get_running_loop().remove_reader(self._monitor.fileno())
            self._monitor = None

    def _readable(self) -> None:
        while self._monitor is not None:
            try:
                device = self._monitor.poll(timeout=0)
            except OSError as error:
                log.warning("udev: %s; reading all links again", error)
                self.stop()
                self.start()
                self._resync()
                return
            if device is None:
                return
            if device.subsystem == ROUTERS:
                self._routers()
            elif device.action == "remove":
                self._removed(device.sys_name)
            else:
                self._changed(device.sys_name)
