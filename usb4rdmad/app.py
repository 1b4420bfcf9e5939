# SPDX-License-Identifier: GPL-2.0-or-later
"""Wiring: adapters, hub, bus; signals, readiness, watchdog. No decisions."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import __version__, config
from .bus.service import BusService
from .effects import Hub
from .errors import ConfigInvalid
from .events import SettingsChanged
from .log import MessageId, log, note, setup
from .model import LinkState, State, fingerprint
from .notify import Notifier
from .orders import Report
from .pairing import noise
from .ports import Driver, Networks, Rdma
from .store import Store

WATCHDOG_PATIENCE = 10.0


@dataclass(frozen=True)
class Options:
    """The command line."""

    config: Path = config.DEFAULT
    state: Path = Path("/var/lib/usb4rdma")
    hostname: str = ""


@dataclass
class Adapters:
    """The outside, as app uses it; tests bring doubles."""

    driver: Driver
    networks: Networks
    rdma: Rdma
    watch: Callable[[Hub], Callable[[], None]]
    """Starts to feed link events into the hub; gives what stops that."""


def real_adapters() -> Adapters:
    """The machine we run on."""
    from .driver import SysfsDriver
    from .net import HostNetworks
    from .rdma import SysfsRdma
    from .udev import Udev

    def watch(hub: Hub) -> Callable[[], None]:
        udev = Udev(hub.link_changed, hub.link_removed, hub.scan)
        udev.start()
        return udev.stop

    return Adapters(SysfsDriver(), HostNetworks(), SysfsRdma(), watch)


class App:
    """One daemon."""

    def __init__(self, options: Options, adapters: Adapters, bus_address: str | None = None):
        self._options = options
        self._adapters = adapters
        self._bus_address = bus_address
        self._notifier = Notifier()
        self.stopping = asyncio.Event()
        self.ready = asyncio.Event()
        self.hub: Hub | None = None
        self.service: BusService
        self._psk: bytes | None = None

    async def run(self) -> None:
        """Until told to stop. Links stay as they are, before and after."""
        settings = config.load(self._options.config)
        setup(settings.log.level)
        credentials = os.environ.get("CREDENTIALS_DIRECTORY")
        store = Store(self._options.state, Path(credentials) if credentials else None)
        store.open()
        key = store.key()
        state = State(fingerprint(noise.public_key(key)), settings.settings(), {}, store.load())
        self._psk = store.cluster_key()
        self._check_secret(settings)
        hub = self.hub = Hub(
            state,
            key,
            self._options.hostname or socket.gethostname().split(".")[0],
            self._adapters.driver,
            self._adapters.networks,
            self._adapters.rdma,
            store,
            self._psk,
        )
        service = self.service = BusService(hub, noise.public_key(key), self.reload)
        hub.changed = lambda now: self._changed(now, service)
        hub.reported = lambda report: self._reported(report, service)
        try:
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(hub.run(), name="hub")]
                unwatch = self._adapters.watch(hub)
                hub.scan()
                await hub.flush()
                await service.start(self._bus_address)
                running.append(group.create_task(service.run(), name="bus"))
                running.append(group.create_task(self._watchdog(hub), name="watchdog"))
                self._status(hub.state)
                self._notifier.ready()
                self.ready.set()
                note(MessageId.STARTED, f"usb4rdmad {__version__} started")
                running.append(group.create_task(_raise(hub.failed), name="failure"))
                await self.stopping.wait()
                self._notifier.stopping()
                unwatch()
                for task in running:
                    task.cancel()
        finally:
            hub.close()
            await service.stop()
        note(MessageId.STOPPED, "usb4rdmad stopped, links stay as they are")

    def handle_signals(self) -> None:
        """SIGTERM and SIGINT stop, SIGHUP reads the configuration again."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._hangup)

    def _hangup(self) -> None:
        try:
            self.reload()
        except ConfigInvalid:
            pass  # said already, and the old configuration stays

    def reload(self) -> None:
        """Read the configuration again; a bad one is reported and changes nothing."""
        self._notifier.reloading(time.monotonic_ns() // 1000)
        try:
            settings = config.load(self._options.config)
            self._check_secret(settings)
        except ConfigInvalid as error:
            note(MessageId.CONFIG_INVALID, f"{error}; the old configuration stays")
            raise
        finally:
            self._notifier.ready()
        log.setLevel(settings.log.level.upper())
        if self.hub is not None:
            self.hub.post(SettingsChanged(settings.settings()))

    def _check_secret(self, settings: config.Config) -> None:
        if settings.pairing.policy == "cluster" and self._psk is None:
            raise ConfigInvalid(
                'policy = "cluster" without a secret',
                "put one into /etc/credstore/usb4rdma.cluster and restart usb4rdmad",
            )

    async def _watchdog(self, hub: Hub) -> None:
        """A sign of life, and only if the hub still takes events."""
        interval = self._notifier.watchdog_seconds()
        if not interval:
            return
        while not self.stopping.is_set():
            async with asyncio.timeout(WATCHDOG_PATIENCE):
                await hub.flush()
            self._notifier.alive()
            try:
                async with asyncio.timeout(interval):
                    await self.stopping.wait()
            except TimeoutError:
                continue

    def _changed(self, state: State, service: BusService) -> None:
        self._status(state)
        service.publish(state)

    def _status(self, state: State) -> None:
        counts = Counter(link.state for link in state.links.values())
        parts = [f"{counts[s]} {s.value}" for s in LinkState if counts[s]]
        self._notifier.status(
            f"{len(state.links)} links" + (": " if parts else "") + ", ".join(parts)
        )

    def _reported(self, report: Report, service: BusService) -> None:
        try:
            message = MessageId[report.message.replace("-", "_").upper()]
        except KeyError:
            return
        details = dict(report.details)
        who = details.pop("peer_name", "") or report.identity.hex()[:16]
        said = " ".join(f"{k}={v}" for k, v in details.items() if k != "code")
        text = f"{report.link or 'usb4rdmad'}: {message.text}"
        if who:
            text += f" ({who})"
        if report.reason:
            text += f": {report.reason.value}"
        if "code" in details:
            text += f": {details['code']}"
        note(
            message,
            f"{text} {said}".rstrip(),
            link=report.link,
            peer=report.identity.hex(),
            peer_name=who,
            reason=report.reason.value,
        )
        if report.link:
            service.link_event(report)


async def _raise(failed: asyncio.Future[None]) -> None:
    """Wait for what must end the daemon."""
    await asyncio.shield(failed)
