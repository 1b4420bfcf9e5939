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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from . import __version__, config, placed
from .bus.service import BusService
from .effects import Hub
from .errors import ConfigInvalid
from .events import AdminPolicy, KeysPlaced, SettingsChanged
from .log import MessageId, log, note, setup
from .model import LinkState, Peer, Policy, Settings, State, fingerprint
from .notify import Notifier
from .orders import Report
from .pairing import noise
from .ports import Driver, Machine, Networks, Prober, Rdma
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
    prober: Prober | None = None
    machine: Machine | None = None


def real_adapters() -> Adapters:
    """The machine we run on."""
    from .driver import SysfsDriver
    from .hardware import SysfsMachine
    from .net import HostNetworks
    from .rdma import SysfsRdma
    from .udev import Udev

    def watch(hub: Hub) -> Callable[[], None]:
        udev = Udev(hub.link_changed, hub.link_removed, hub.scan, hub.hardware_changed)
        udev.start()
        return udev.stop

    return Adapters(
        SysfsDriver(), HostNetworks(), SysfsRdma(), watch, _real_prober(), SysfsMachine()
    )


def _real_prober() -> Prober | None:
    """What carries tests out; None where it is not installed."""
    try:
        from .selftest.tester import ChildProber
    except ImportError:
        return None
    prober: Prober = ChildProber()
    return prober


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
        self._store: Store
        self._config = config.Config()

    async def run(self) -> None:
        """Until told to stop. Links stay as they are, before and after."""
        settings = config.load(self._options.config)
        setup(settings.log.level)
        credentials = os.environ.get("CREDENTIALS_DIRECTORY")
        store = self._store = Store(self._options.state, Path(credentials) if credentials else None)
        store.open()
        key = store.key()
        self._psk = store.cluster_key()
        self._config = settings
        in_force = self._in_force(store.policy())
        self._check_secret(in_force.policy)
        state = State(fingerprint(noise.public_key(key)), in_force, {}, store.load())
        hub = self.hub = Hub(
            state,
            key,
            self._options.hostname or socket.gethostname().split(".")[0],
            self._adapters.driver,
            self._adapters.networks,
            self._adapters.rdma,
            store,
            self._psk,
            self._adapters.prober,
            self._adapters.machine,
        )
        service = self.service = BusService(hub, noise.public_key(key), self)
        hub.changed = lambda now: self._changed(now, service)
        hub.reported = lambda report: self._reported(report, service)
        try:
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(hub.run(), name="hub")]
                hub.post(KeysPlaced(self._placed()))
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
            self._check_secret(self._store.policy() or Policy(settings.pairing.policy))
        except ConfigInvalid as error:
            note(MessageId.CONFIG_INVALID, f"{error}; the old configuration stays")
            raise
        finally:
            self._notifier.ready()
        self._config = settings
        log.setLevel(settings.log.level.upper())
        if self.hub is not None:
            self.hub.post(SettingsChanged(self._in_force(self._store.policy())))
            self.hub.post(KeysPlaced(self._placed()))

    async def set_policy(self, policy: Policy | None) -> None:
        """Choose at run time what happens with strangers; None: as configured."""
        self._check_secret(policy or Policy(self._config.pairing.policy))
        if self.hub is not None:
            await self.hub.ask(AdminPolicy(policy, self._in_force(policy)))

    def configuration(self) -> dict[str, Any]:
        """What is in force, by section, and whether the policy was set at run time."""
        policy = self._store.policy()
        found: dict[str, Any] = self._config.model_dump()
        found["pairing"]["policy"] = self._in_force(policy).policy.value
        found["pairing"]["policy_set_at_run_time"] = policy is not None
        found["pairing"]["cluster_secret"] = self._psk is not None
        return found

    def _in_force(self, policy: Policy | None) -> Settings:
        settings = self._config.settings()
        return settings if policy is None else replace(settings, policy=policy)

    def _placed(self) -> tuple[Peer, ...]:
        return placed.load(self._options.config.parent / placed.FOLDER)

    def _check_secret(self, policy: Policy) -> None:
        if policy is Policy.CLUSTER and self._psk is None:
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
