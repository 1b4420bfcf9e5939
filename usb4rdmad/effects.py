# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the machine: one queue of events in, orders out to the adapters.

One event at a time; its orders are carried out, in order, before the next event
is taken, and what they bring comes back as events. Nothing here decides.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from . import events, orders
from .channels import Channels
from .errors import DriverError, NetworkError, Usb4RdmaError
from .events import Event
from .log import MessageId, log, note
from .machine import step
from .model import Policy, State
from .ports import Driver, Machine, Networks, PeerStore, Prober, Rdma
from .probes import Probes

ATTACH_RETRY = 1.0
HARDWARE_PAUSE = 0.1
RESCAN_PAUSE = 0.5
EPERM, EIO = 1, 5


class Hub:
    """Holds the state and everything that is alive behind it.

    `changed(state)` is called after each step that changed something, `reported`
    for each order of that kind; both must not block.
    """

    def __init__(
        self,
        state: State,
        key: bytes,
        hostname: str,
        driver: Driver,
        networks: Networks,
        rdma: Rdma,
        store: PeerStore,
        psk: bytes | None = None,
        prober: Prober | None = None,
        machine: Machine | None = None,
    ) -> None:
        self._psk = psk
        self.state = state
        self.driver = driver
        self.rdma = rdma
        self.changed: Callable[[State], None] = lambda state: None
        self.reported: Callable[[orders.Report], None] = lambda report: None
        self.tested: Callable[[orders.ProbeResult], None] = lambda result: None
        self._machine = machine
        self._channels = Channels(key, hostname, driver, self.post)
        self._probes = Probes(prober, self.post)
        self._networks = networks
        self._store = store
        self._queue: asyncio.Queue[tuple[Event | None, asyncio.Future[None] | None]] = (
            asyncio.Queue()
        )
        self._timers: dict[tuple[str, str], asyncio.TimerHandle] = {}
        self._attached: set[str] = set()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Gets the exception that must end the daemon."""

    # Events

    def post(self, event: Event) -> None:
        """Queue an event."""
        self._queue.put_nowait((event, None))

    async def ask(self, event: Event) -> None:
        """Queue an event and wait until it is done; raises what the machine refuses."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((event, future))
        await future

    async def flush(self) -> None:
        """Wait until everything queued so far is done."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((None, future))
        await future

    async def run(self) -> None:
        """Take events for ever."""
        while True:
            event, future = await self._queue.get()
            try:
                if event is not None:
                    self._step(event)
            except Usb4RdmaError as error:
                if future is not None and not future.done():
                    future.set_exception(error)
                    continue
                log.warning("%s", error)
            except Exception as error:
                # A fault of ours in one event must not end all links' service.
                kind = type(event).__name__
                note(MessageId.EFFECT_FAILED, f"{kind}: {type(error).__name__}: {error}")
                log.debug("%s", event, exc_info=True)
            if future is not None and not future.done():
                future.set_result(None)

    def _step(self, event: Event) -> None:
        before = self.state
        self.state, todo = step(before, event, time.time_ns() // 1000)
        if log.isEnabledFor(10):
            log.debug("%s -> %s", event, ", ".join(type(o).__name__ for o in todo))
        for order in todo:
            try:
                self._do(order)
            except (Usb4RdmaError, OSError, ValueError) as error:
                note(MessageId.EFFECT_FAILED, f"{type(order).__name__}: {error}")
        if self.state != before:
            self.changed(self.state)

    # Links as the driver has them

    def hardware_changed(self) -> None:
        """Something about the PC's ports may have changed: read them, once a burst."""
        if self._machine is None or ("", "hardware") in self._timers:
            return
        loop = asyncio.get_running_loop()
        self._timer(("", "hardware"), loop.call_later(HARDWARE_PAUSE, self._read_hardware))

    def _read_hardware(self) -> None:
        self._timers.pop(("", "hardware"), None)
        if self._machine is not None:
            self.post(events.HardwareSeen(self._machine.hardware()))

    def rescan(self) -> None:
        """The machine has slept: scan soon, once for all who say so."""
        if ("", "rescan") not in self._timers:
            loop = asyncio.get_running_loop()
            self._timer(("", "rescan"), loop.call_later(RESCAN_PAUSE, self._rescan))

    def _rescan(self) -> None:
        self._timers.pop(("", "rescan"), None)
        self.scan()

    def scan(self) -> None:
        """Read all links again: at start, and when events were lost."""
        self._read_hardware()
        present = self.driver.names()
        for name in present:
            self.link_changed(name)
        for name in set(self.state.links) - set(present):
            self.link_removed(name)

    def link_changed(self, name: str) -> None:
        """The driver says that something about a link changed."""
        if not name.startswith("link"):
            return
        kernel = self.driver.read(name)
        if kernel is None:
            self.link_removed(name)
            return
        if name not in self._attached:
            self._attach(name)
        self.post(events.KernelSeen(kernel))

    def link_removed(self, name: str) -> None:
        """A link device is gone."""
        if name in self._attached:
            self._attached.discard(name)
            self.driver.detach(name)
        self._channels.forget(name)
        self.post(events.KernelGone(name))

    def _attach(self, name: str) -> None:
        try:
            self.driver.attach(
                name, lambda frame: self._channels.frame(name, frame), lambda: self._hangup(name)
            )
            self._attached.add(name)
        except DriverError as error:
            note(MessageId.EFFECT_FAILED, str(error), link=name)
            if error.errno == EPERM and not self.failed.done():
                # The service manager's device policy was made when the module was
                # not loaded, or loaded under another number: start again.
                self.failed.set_exception(error)
                return
            loop = asyncio.get_running_loop()
            self._timer((name, "attach"), loop.call_later(ATTACH_RETRY, self.link_changed, name))

    def _hangup(self, name: str) -> None:
        self._attached.discard(name)
        kernel = self.driver.read(name)
        if kernel is None:
            self.post(events.KernelGone(name))

    # Timers

    def _timer(self, key: tuple[str, str], handle: asyncio.TimerHandle) -> None:
        self._stop_timer(key)
        self._timers[key] = handle

    def _stop_timer(self, key: tuple[str, str]) -> None:
        old = self._timers.pop(key, None)
        if old is not None:
            old.cancel()

    def _fire(self, link: str, purpose: str) -> None:
        self._timers.pop((link, purpose), None)
        self.post(events.TimerFired(link, purpose))

    # Orders

    def _do(self, order: orders.Order) -> None:
        match order:
            case orders.StartSession():
                cluster = self.state.settings.policy is Policy.CLUSTER
                self._channels.start(order.kernel, self._psk if cluster else None)
            case orders.EndSession():
                self._channels.end(order.link)
            case orders.Send():
                self._channels.send(order.link, order.body)
            case orders.Compare():
                self._channels.compare(order.link, order.initiator)
            case orders.CompareInput():
                self._channels.compare_input(order.link, order.body)
            case orders.Authorize():
                self._authorize(order)
            case orders.Deauthorize():
                self.driver.deauthorize(order.link)
            case orders.ForgetPeer():
                self._store.delete(order.identity)
                self.driver.forget(order.identity)
            case orders.SavePeer():
                self._store.save(order.peer)
            case orders.Survey():
                self._survey(order)
            case orders.Configure():
                self._configure(order)
            case orders.ReadPort():
                self.post(events.PortRead(order.link, self.rdma.port(order.ibdev)))
            case orders.OpenProbe():
                self._probes.open(order)
            case orders.RunProbe():
                self._probes.run(order)
            case orders.CloseProbe():
                self._probes.close(order.link)
            case orders.ProbeResult():
                self.tested(order)
            case orders.SavePolicy():
                self._store.save_policy(order.policy)
            case orders.StartTimer():
                loop = asyncio.get_running_loop()
                self._timer(
                    (order.link, order.purpose),
                    loop.call_later(order.seconds, self._fire, order.link, order.purpose),
                )
            case orders.StopTimer():
                self._stop_timer((order.link, order.purpose))
            case orders.Report():
                self.reported(order)

    def _authorize(self, order: orders.Authorize) -> None:
        name, error = order.kernel.name, 0
        try:
            self.driver.authorize(order.kernel, order.peer, self.state.identity)
        except DriverError as failure:
            log.debug("%s", failure)
            error = failure.errno or EIO
        kernel = self.driver.read(name)
        self.post(events.AuthorizeDone(name, order.kernel.instance, error, kernel))

    def _survey(self, order: orders.Survey) -> None:
        try:
            used = self._networks.used(order.netdev)
            interface = self._networks.interface(order.netdev)
        except (NetworkError, OSError, ValueError) as error:
            self.post(events.Configured(order.link, str(error)))
            return
        self.post(events.NetworkSurveyed(order.link, used, interface))

    def _configure(self, order: orders.Configure) -> None:
        try:
            self._networks.configure(order.netdev, order.mtu, order.addresses)
        except (NetworkError, OSError, ValueError) as error:
            self.post(events.Configured(order.link, str(error)))
            return
        self.post(events.Configured(order.link, ""))

    def close(self) -> None:
        """Let go of everything; the kernel's gates stay as they are."""
        self._channels.close()
        self._probes.close_all()
        for handle in self._timers.values():
            handle.cancel()
        self._timers.clear()
        for name in self._attached:
            self.driver.detach(name)
        self._attached.clear()
